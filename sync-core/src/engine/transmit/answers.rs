//! What is said to a peer about its own records: acknowledgements, answers to requests, and requests.

use hedgerow_proto::{Ack, Batch, GroupRef, Request, Span, Tombstone, Unavailable, Visibility};

use super::news::Put;
use super::{Draft, ID_SIZE, RECORD_OVERHEAD, SPAN_SIZE, TOMBSTONE_SIZE};
use crate::engine::facts::MAX_OWED;
use crate::engine::lossy::Item;
use crate::engine::receive::{MAX_ASKED_IDS, MAX_ASKED_SPANS};
use crate::engine::state::{Link, PeerGroup};
use crate::engine::wants::pause_ms;
use crate::engine::{Engine, LinkId, Timer};
use crate::error::EngineError;
use crate::record::InFlight;
use crate::store::{GroupNum, MessageRow, MessageState, PeerNum, Store};

impl<S: Store> Engine<S> {
    pub(super) fn put_acks(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        name: GroupRef,
        draft: &mut Draft,
    ) -> Result<(), EngineError> {
        let Some(pair) = self.peers.get_mut(&peer).and_then(|state| state.groups.get_mut(&group)) else {
            return Ok(());
        };
        let session = &mut pair.session;
        if session.acks.is_empty() && session.ack_ids.is_empty() {
            return Ok(());
        }
        let room = draft.room.saturating_sub(RECORD_OVERHEAD);
        let spans = room / SPAN_SIZE;
        if session.by_id && room < ID_SIZE {
            return Ok(());
        }
        if spans == 0 || (session.acks.is_empty() && room < ID_SIZE) {
            return Ok(());
        }
        let held = session.acks.take_spans(spans);
        let known = session.known.take_spans(spans - held.len());
        let room = room - (held.len() + known.len()) * SPAN_SIZE;
        let ids = session.ack_ids.take(room / ID_SIZE);
        draft.take(RECORD_OVERHEAD + (held.len() + known.len()) * SPAN_SIZE + ids.len() * ID_SIZE);
        let duplicates = std::mem::take(&mut session.duplicates);
        let last_owed = session.last_owed.take();
        // Without the right value the peer would take our log for another one.
        let marked = match known.last() {
            Some(span) => self.store.at(group, span.last)?,
            None => None,
        };
        let chain = marked.map_or(0, |row| {
            // The peer knows what stands at its own position.
            let one = held.iter().map(|span| (span.first, span.last)).eq(last_owed.map(|(at, _)| (at, at)));
            let named = one && last_owed.is_some_and(|(_, id)| id == row.id);
            let alone = named && known.iter().map(|span| span.count()).eq([1]);
            self.chain_said(id, peer, group, (row.position, row.chain), alone)
        });
        draft.items.push(Item::Ack {
            group,
            held: held.clone(),
            known: known.clone(),
            ids: ids.clone(),
            duplicates,
        });
        let spans = held.clone();
        let reset = self.links.get(&id).and_then(|link| link.resets.get(&group)).copied().unwrap_or(0);
        draft.frame.acks.push(Ack { group: name, held, known, ids, duplicates, chain, reset });
        let alone = self.peers.get(&peer).is_none_or(|state| state.links.len() < 2);
        if let Some(link) = self.links.get_mut(&id) {
            link.traffic.acks_out += 1;
            if !alone && link.lossy.is_none() {
                let acked = link.acked.or_default(group);
                spans.iter().for_each(|span| acked.insert_span(*span));
                while acked.span_count() > MAX_OWED {
                    acked.forget_lowest();
                }
            }
        }
        Ok(())
    }

    /// What the peer asked for in vain; of what was delivered here, with its place in the canonical order.
    pub(super) fn put_unavailable(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        name: GroupRef,
        draft: &mut Draft,
    ) -> Result<(), EngineError> {
        if !self.links.get(&id).is_some_and(|link| link.caps.unavailable) {
            // There is no word for it: who asked asks again, or not.
            if let Some(pair) = self.pair_mut(peer, group) {
                pair.session.unavailable.clear();
                pair.session.unavailable_ids.clear();
            }
            return Ok(());
        }
        self.name_unavailable(peer, group)?;
        let (mut positions, mut ids, mut tombstones) = (crate::SpanSet::new(), Vec::new(), Vec::new());
        let mut room = draft.room.saturating_sub(RECORD_OVERHEAD);
        let before = room;
        while room >= SPAN_SIZE + TOMBSTONE_SIZE
            && let Some((span, is_gone)) = self.next_gone(peer, group)
        {
            room -= SPAN_SIZE;
            positions.insert_span(span);
            if is_gone && let Some(row) = self.store.at(group, span.first)? {
                room -= TOMBSTONE_SIZE;
                tombstones.push(tombstone_of(&row));
            }
        }
        while room >= ID_SIZE + TOMBSTONE_SIZE
            && let Some(id) =
                self.pair_mut(peer, group).and_then(|pair| pair.session.unavailable_ids.pop_front())
        {
            room -= ID_SIZE;
            ids.push(id);
            let row = self.store.find(&id)?.filter(|row| row.group == group);
            let pair = self.pair_mut(peer, group).filter(|pair| pair.visibility == Visibility::Shared);
            let (Some(row), Some(pair)) = (row, pair) else { continue };
            if row.state.is_delivered() && !row.state.has_body() {
                room -= TOMBSTONE_SIZE;
                tombstones.push(tombstone_of(&row));
            } else if matches!(row.state, MessageState::Wanted | MessageState::Lapsed) {
                pair.session.in_vain.remove(&id);
                pair.session.in_vain.push_back(id);
                if pair.session.in_vain.len() > MAX_ASKED_IDS {
                    pair.session.in_vain.pop_front();
                }
            }
        }
        if !positions.is_empty()
            && let Some(pair) = self.pair_mut(peer, group)
        {
            // It may not get to know what stands there.
            pair.session.told = 0;
        }
        if positions.is_empty() && ids.is_empty() {
            return Ok(());
        }
        draft.take(RECORD_OVERHEAD + before - room);
        let positions: Vec<Span> = positions.spans().collect();
        draft.items.push(Item::Unavailable { group, positions: positions.clone(), ids: ids.clone() });
        let group = name;
        draft.frame.unavailables.push(Unavailable { group, positions, ids, tombstones });
        Ok(())
    }

    /// Where records have no positions, what was asked for in vain goes by its id.
    fn name_unavailable(&mut self, peer: PeerNum, group: GroupNum) -> Result<(), EngineError> {
        while let Some(pair) = self.pair_mut(peer, group).filter(|pair| pair.session.by_id)
            && let Some(position) = pair.session.unavailable.pop_first()
        {
            let row = self.store.at(group, position)?;
            if let (Some(row), Some(pair)) = (row, self.pair_mut(peer, group)) {
                pair.session.unavailable_ids.push_back(row.id);
            }
        }
        Ok(())
    }

    /// What the peer asked for that is not here, where it did not say of which group.
    pub(super) fn put_unknown(&mut self, id: LinkId, draft: &mut Draft) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let count = draft.room.saturating_sub(RECORD_OVERHEAD) / ID_SIZE;
        let count = count.min(link.unavailable_ids.len());
        if count > 0 && draft.take(RECORD_OVERHEAD + count * ID_SIZE) {
            let ids = link.unavailable_ids.take(count);
            let (group, positions, tombstones) = (GroupRef::Unnamed, Vec::new(), Vec::new());
            draft.frame.unavailables.push(Unavailable { group, positions, ids, tombstones });
        }
    }

    /// Messages that the peer asked for.
    pub(super) fn put_answers(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        name: GroupRef,
        draft: &mut Draft,
    ) -> Result<(), EngineError> {
        if let Some(pair) = self.pair_mut(peer, group).filter(|pair| pair.visibility != Visibility::Shared) {
            // It was shared when the peer asked.
            let session = &mut pair.session;
            for span in session.asked.spans() {
                session.unavailable.insert_span(span);
                session.again.insert_span(span);
            }
            session.asked.clear();
            session.asked_large.clear();
            session.unavailable_ids.append(&mut session.asked_ids);
        }
        self.part_gone(peer, group);
        let record_room = self.links.get(&id).map_or(0, Link::record_room);
        if let Some(pair) = self.pair_mut(peer, group) {
            let PeerGroup { session, has, .. } = pair;
            while let Some(&(size, position)) = session.asked_large.first()
                && size <= record_room
            {
                session.asked_large.pop_first();
                let sent = session.in_flight.get(&position).is_some_and(|s| s.kind == InFlight::Message);
                if !has.contains(position) && !sent {
                    session.asked.insert(position);
                }
            }
        }
        let mut batch = Batch { group: name, messages: Vec::new(), chain: 0 };
        while let Some(position) = self.next_asked(peer, group) {
            let row = self.store.at(group, position)?;
            let Some(row) = row.filter(|row| row.state == MessageState::Delivered) else {
                if let Some(pair) = self.pair_mut(peer, group) {
                    pair.session.again.remove(position);
                    pair.session.unavailable.insert(position);
                }
                continue;
            };
            match self.put_message(id, peer, &row, &mut batch, draft)? {
                Put::Done => self.sent(id, peer, &row, InFlight::Message, draft),
                Put::TooLarge(size) => {
                    if self.has_wider_link(peer, group, size) {
                        if let Some(pair) = self.pair_mut(peer, group) {
                            pair.session.asked_large.insert((size, position));
                            pair.session.again.remove(position);
                        }
                        self.wake(peer, group);
                    } else {
                        self.too_large(id, peer, group, &row, size);
                        if let Some(pair) = self.pair_mut(peer, group) {
                            pair.session.unavailable.insert(position);
                            // Who asked by id does not know the position, and would ask again and again.
                            pair.session.unavailable_ids.push_back(row.id);
                        }
                    }
                }
                Put::Full => {
                    if let Some(pair) = self.pair_mut(peer, group) {
                        pair.session.asked.insert(position);
                    }
                    break;
                }
            }
        }
        self.close_batch(id, peer, group, batch, draft);
        let mut loose = Batch { group: name, messages: Vec::new(), chain: 0 };
        while self.may_repeat(peer, group)
            && let Some(wanted) =
                self.pair_mut(peer, group).and_then(|pair| pair.session.asked_ids.pop_front())
        {
            let row = self.store.find(&wanted)?.filter(|row| row.state.has_body() && row.group == group);
            let Some(row) = row else {
                if let Some(pair) = self.pair_mut(peer, group) {
                    pair.session.unavailable_ids.push_back(wanted);
                }
                continue;
            };
            match self.put_message(id, peer, &MessageRow { position: 0, ..row }, &mut loose, draft)? {
                Put::Done => {
                    self.pay_unplaced(peer, group, row.body_len);
                    draft.items.push(Item::Answer { group, id: wanted });
                }
                Put::TooLarge(size) => {
                    self.too_large(id, peer, group, &row, size);
                    if let Some(pair) = self.pair_mut(peer, group) {
                        pair.session.unavailable_ids.push_back(wanted);
                    }
                }
                Put::Full => {
                    if let Some(pair) = self.pair_mut(peer, group) {
                        pair.session.asked_ids.push_front(wanted);
                    }
                    break;
                }
            }
        }
        self.close_batch(id, peer, group, loose, draft);
        Ok(())
    }

    /// What the peer asked for that has no body any more is not looked up, one by one, to find that out.
    fn part_gone(&mut self, peer: PeerNum, group_num: GroupNum) {
        let Some(group) = self.groups.get(&group_num) else { return };
        let pair = self.peers.get_mut(&peer).and_then(|state| state.groups.get_mut(&group_num));
        let Some(pair) = pair else { return };
        let session = &mut pair.session;
        while session.unavailable.span_count() < MAX_ASKED_SPANS
            && let Some(span) = session.asked.common_from(&group.gone, 1)
        {
            session.asked.remove_span(span);
            session.again.remove_span(span);
            session.unavailable.insert_span(span);
        }
    }

    pub(super) fn put_requests(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        name: GroupRef,
        draft: &mut Draft,
    ) -> Result<(), EngineError> {
        self.take_up_turned_ids(peer, group)?;
        let by_id = self.pair_mut(peer, group).is_some_and(|pair| pair.session.by_id);
        let mut positions = crate::SpanSet::new();
        let mut ids = Vec::new();
        let mut opened = false;
        while let Some((wanted, theirs)) =
            self.pair_mut(peer, group).and_then(|pair| pair.session.to_request.pop_front_with())
        {
            if !self.wants.is_asked(&wanted, peer) {
                continue;
            }
            let size = ID_SIZE + if opened { 0 } else { RECORD_OVERHEAD };
            if !draft.take(size) {
                if let Some(pair) = self.pair_mut(peer, group) {
                    pair.session.to_request.push_front_with(wanted, theirs);
                }
                break;
            }
            opened = true;
            match theirs {
                Some(theirs) if !by_id => {
                    positions.insert(theirs);
                }
                _ => ids.push(wanted),
            }
            self.wants.set_said(&wanted, true);
            draft.items.push(Item::Request { group, id: wanted, theirs });
        }
        let called_back = self.call_back(peer, group, opened, draft);
        if !called_back.is_empty() {
            let in_vain = self.pair_mut(peer, group).map_or(0, |pair| pair.session.calls_in_vain);
            let deadline = self.now + pause_ms(self.config.request_timeout_ms.max(1), in_vain);
            if let Some(pair) = self.pair_mut(peer, group)
                && let Some(before) = pair.session.call_timer.replace(deadline)
            {
                self.timers.remove(&(before, Timer::CallBack(peer, group)));
            }
            self.timers.insert((deadline, Timer::CallBack(peer, group)));
            opened = true;
            called_back.iter().for_each(|&span| positions.insert_span(span));
            draft.items.push(Item::CallBack { group, positions: called_back });
        }
        if opened {
            if let Some(link) = self.links.get_mut(&id) {
                link.traffic.requests_out += positions.len() + ids.len() as u64;
            }
            let positions = positions.spans().collect();
            draft.frame.requests.push(Request { group: name, positions, ids });
        }
        Ok(())
    }
}

fn tombstone_of(row: &MessageRow) -> Tombstone {
    Tombstone { id: row.id, eff_ms: row.eff_ms, height: row.height }
}
