//! Frames are made when a carrier asks for one: acknowledgements first, then answers to requests, then requests,
//! then messages and offers, the groups taking turns.

mod due;
mod items;

use bytes::Bytes;
use hedgerow_proto::{
    Ack, Announce, Batch, DepRef, Ephemeral, Frame, GroupRef, Hello, MessageId, Offer, OfferItem, Request,
    Span, Tombstone, Unavailable, Visibility, WireMessage, limits,
};

use super::facts::MAX_OWED;
use super::lossy::Item;
use super::state::{Link, PeerGroup, Sent};
use super::{Engine, LinkId, Timer};
use crate::error::EngineError;
use crate::record::InFlight;
use crate::store::{GroupNum, MessageRow, MessageState, PeerNum, Store};
use crate::time::Time;

/// What a frame itself takes at most beside acknowledgements of frames: its number and the rest, in bytes.
const FRAME_OVERHEAD: usize = 24;
/// What any record takes at most beside its spans, ids and bodies, in bytes.
pub(super) const RECORD_OVERHEAD: usize = 48;
/// What one span takes at most, in bytes.
const SPAN_SIZE: usize = 20;
/// What one id takes at most, in bytes, with the room that its position takes.
pub(super) const ID_SIZE: usize = 32 + SPAN_SIZE;
/// What one tombstone takes at most, in bytes.
const TOMBSTONE_SIZE: usize = 60;
/// How many groups are looked at for one frame.
const GROUPS_PER_FRAME: usize = 256;
/// What a group may put into a frame before the next one has its turn, in bytes, at least.
const LEAST_TURN: usize = 2048;

/// How many bytes of frame acknowledgements a frame of a lossy link holds at most.
fn ack_room(max_frame: usize) -> usize {
    (max_frame / 16).clamp(64, 512)
}

/// A frame in the making.
pub(super) struct Draft {
    frame: Frame,
    items: Vec<Item>,
    room: usize,
    /// There is something in it besides acknowledgements of frames.
    filled: bool,
}

impl Draft {
    /// Takes `size` bytes of the room, if they are there.
    pub(super) fn take(&mut self, size: usize) -> bool {
        let fits = size <= self.room;
        if fits {
            self.room -= size;
            self.filled = true;
        }
        fits
    }
}

impl Link {
    /// What a frame of this link takes for itself, in bytes.
    fn overhead(&self) -> usize {
        if self.lossy.is_some() { FRAME_OVERHEAD + ack_room(self.max_frame) } else { FRAME_OVERHEAD }
    }

    /// The longest record that a frame of this link can hold, in bytes.
    fn record_room(&self) -> usize {
        self.max_frame.saturating_sub(RECORD_OVERHEAD + self.overhead())
    }
}

impl<S: Store> Engine<S> {
    /// The next frame for a link, of at most `max_bytes`; `None` when there is nothing to say, or nothing that
    /// fits, or the link is not up. What was fed before is committed first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn poll_transmit(
        &mut self,
        id: LinkId,
        now: Time,
        max_bytes: usize,
    ) -> Result<Option<Bytes>, EngineError> {
        self.now = now;
        // What expired since the last input does not go out any more.
        let result = self.usable().and_then(|()| self.expire());
        self.guard(result)?;
        self.commit()?;
        let result = self.make_frame(id, max_bytes);
        self.guard(result)
    }

    fn make_frame(&mut self, id: LinkId, max_bytes: usize) -> Result<Option<Bytes>, EngineError> {
        let Some(link) = self.links.get(&id) else { return Ok(None) };
        let overhead = link.overhead();
        let Some(room) = link.frame_room(max_bytes).checked_sub(overhead) else { return Ok(None) };
        let mut draft = Draft { frame: Frame::default(), items: Vec::new(), room, filled: false };
        let sessions = link.caps.sessions;
        if sessions {
            self.put_hello(id, &mut draft);
            self.put_announces(id, &mut draft);
        }
        let Some(link) = self.links.get(&id) else { return Ok(None) };
        if link.is_ready() || !sessions {
            self.put_ephemerals(id, &mut draft);
            self.put_records(id, &mut draft)?;
        }
        self.finish(id, draft, max_bytes)
    }

    /// Numbers the frame where frames are numbered, and writes it.
    fn finish(
        &mut self,
        id: LinkId,
        mut draft: Draft,
        max_bytes: usize,
    ) -> Result<Option<Bytes>, EngineError> {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else { return Ok(None) };
        if let Some(lossy) = &mut link.lossy {
            let ping = !draft.filled && lossy.pings_due > 0;
            if !draft.filled && !ping && !lossy.ack_due {
                return Ok(None);
            }
            draft.frame.ping = ping;
            draft.frame.ack_delay_ms = lossy.ack_delay_ms(now);
            draft.frame.frame_acks = lossy.acks(ack_room(link.max_frame));
            if draft.filled || ping {
                lossy.pings_due = lossy.pings_due.saturating_sub(1);
                draft.frame.number = Some(lossy.send(draft.items, now));
            }
            lossy.ack_due = false;
        } else if !draft.filled {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(1024);
        link.codec.encode(&draft.frame, &mut bytes)?;
        debug_assert!(bytes.len() <= link.frame_room(max_bytes), "a frame of {} bytes", bytes.len());
        link.traffic.frames_out += 1;
        link.traffic.bytes_out += bytes.len() as u64;
        self.arm_link(id);
        Ok(Some(bytes.into()))
    }

    fn put_hello(&mut self, id: LinkId, draft: &mut Draft) {
        let (install, config) = (self.install, &self.config);
        let Some(link) = self.links.get_mut(&id) else { return };
        // Nothing else is heard before HELLO, so that it goes with every probe until it has arrived.
        let probing = !link.hello_arrived && link.lossy.as_ref().is_some_and(|lossy| lossy.pings_due > 0);
        if !(link.hello_due || probing) || !draft.take(RECORD_OVERHEAD + limits::NONCE_LEN) {
            return;
        }
        link.hello_due = false;
        let max_frame = config.max_frame.min(link.profile.max_frame);
        draft.frame.hello = Some(Hello {
            major: limits::MAJOR,
            minor: limits::MINOR,
            nonce: link.nonce,
            install,
            max_frame: u32::try_from(max_frame).unwrap_or(u32::MAX),
            max_offers: config.max_offers,
        });
        draft.items.push(Item::Hello);
    }

    fn put_announces(&mut self, id: LinkId, draft: &mut Draft) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.hello_due {
            return;
        }
        while let Some(&(number, tag)) = link.farewells.front() {
            if !draft.take(RECORD_OVERHEAD) {
                return;
            }
            link.farewells.pop_front();
            draft.items.push(Item::Farewell(number, tag));
            draft.frame.announces.push(Announce {
                number,
                tag,
                visibility: Visibility::Invisible,
                held: Vec::new(),
                mark: 0,
                mark_chain: 0,
                reset: false,
            });
        }
        while let Some(&group_num) = link.announce_due.first() {
            let pair = self.peers.get(&link.peer).and_then(|peer| peer.groups.get(&group_num));
            let (Some(group), Some(pair)) = (self.groups.get(&group_num), pair) else {
                link.announce_due.pop_first();
                continue;
            };
            let held: Vec<Span> = pair.got.spans().collect();
            // Too many spans for one frame: the lowest matter most, and the rest is offered and acknowledged.
            let most = (draft.room.saturating_sub(RECORD_OVERHEAD) / SPAN_SIZE).min(held.len());
            let whole = most == held.len() || draft.room >= link.max_frame / 2;
            if !whole || !draft.take(RECORD_OVERHEAD + most * SPAN_SIZE) {
                return;
            }
            link.announce_due.pop_first();
            let lossy = link.lossy.is_some();
            let name = link.ours.entry(group_num).or_insert(super::state::OurName {
                number: 0,
                reset: false,
                usable: false,
            });
            if name.number == 0 {
                name.number = link.next_number;
                link.next_number = link.next_number.saturating_add(1);
            }
            let reset = name.reset;
            if !lossy {
                name.usable = true;
                name.reset = false;
            }
            draft.frame.announces.push(Announce {
                number: name.number,
                tag: Announce::tag_of(&link.nonce, group.id),
                visibility: pair.visibility,
                held: held.into_iter().take(most).collect(),
                mark: pair.mark,
                mark_chain: pair.mark_chain,
                reset,
            });
            draft.items.push(Item::Announce(group_num, name.number, reset));
            link.mark(group_num);
        }
    }

    fn put_ephemerals(&mut self, id: LinkId, draft: &mut Draft) {
        let Some(link) = self.links.get_mut(&id) else { return };
        while let Some((group, timestamp_ms, body)) = link.ephemerals.pop_front() {
            let Some(name) = link.name_of(group) else { continue };
            if !draft.take(RECORD_OVERHEAD + body.len()) {
                // It fits into the next frame, or through no frame at all.
                if body.len() + RECORD_OVERHEAD + link.overhead() < link.max_frame {
                    link.ephemerals.push_front((group, timestamp_ms, body));
                    return;
                }
                continue;
            }
            draft.frame.ephemerals.push(Ephemeral { group: GroupRef::Number(name), timestamp_ms, body });
        }
    }

    /// Everything about groups. A group stays in line until it has nothing to say.
    fn put_records(&mut self, id: LinkId, draft: &mut Draft) -> Result<(), EngineError> {
        let mut left = self.links.get(&id).map_or(0, |link| link.ready.len());
        while left > 0 && self.put_turn(id, draft)? {
            // All of these only wait; somebody behind them may have something to say.
            left = left.saturating_sub(GROUPS_PER_FRAME);
        }
        Ok(())
    }

    /// The next groups in line; true if others may try.
    fn put_turn(&mut self, id: LinkId, draft: &mut Draft) -> Result<bool, EngineError> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(false) };
        let peer = link.peer;
        let can_send = link.lossy.as_ref().is_none_or(super::lossy::Lossy::has_room);
        let count = link.ready.len().min(GROUPS_PER_FRAME);
        let turn: Vec<(GroupNum, u32)> =
            link.ready.iter().take(count).filter_map(|&group| Some((group, link.name_of(group)?))).collect();
        // Groups without a name that can be used have to wait; they are marked again when they get one.
        let waiting: Vec<GroupNum> = link.ready.drain(..count).collect();
        for group in &waiting {
            link.ready_set.remove(group);
        }
        let mut served = std::collections::BTreeMap::new();
        let mut more = Vec::new();
        if can_send {
            for &(group, name) in &turn {
                self.put_acks(id, peer, group, name, draft)?;
            }
            for &(group, name) in &turn {
                let before = draft.room;
                self.put_answers(id, peer, group, name, draft)?;
                served.insert(group, before - draft.room);
                // What turned out not to be there is said at once: there may be no other frame for long.
                self.put_unavailable(peer, group, name, draft)?;
            }
            for &(group, name) in &turn {
                self.put_requests(id, peer, group, name, draft);
            }
            let share = (draft.room / turn.len().max(1)).max(LEAST_TURN);
            for &(group, name) in &turn {
                let before = draft.room;
                self.put_news(id, peer, group, name, draft, share)?;
                *served.entry(group).or_default() += before - draft.room;
            }
        }
        for &(group, _) in &turn {
            if !can_send || self.has_more(id, peer, group) {
                more.push(group);
            }
        }
        // Whoever got little of this frame has its turn first in the next one.
        more.sort_by_key(|group| served.get(group).copied().unwrap_or(0));
        if let Some(link) = self.links.get_mut(&id) {
            for group in more {
                link.mark(group);
            }
        }
        Ok(can_send && !draft.filled)
    }

    /// Whether a group has something to say to a peer still. What waits for room on the link counts.
    fn has_more(&self, id: LinkId, peer: PeerNum, group_num: GroupNum) -> bool {
        let Some(group) = self.groups.get(&group_num) else { return false };
        let Some(pair) = self.peers.get(&peer).and_then(|state| state.groups.get(&group_num)) else {
            return false;
        };
        let session = &pair.session;
        let owes = !session.acks.is_empty()
            || !session.ack_ids.is_empty()
            || !session.asked.is_empty()
            || !session.asked_ids.is_empty()
            || !session.unavailable.is_empty()
            || !session.unavailable_ids.is_empty()
            || !session.to_request.is_empty()
            || self.call_back_quota(peer, group_num) > 0;
        let Some(link) = self.links.get(&id) else { return false };
        let room = link.record_room();
        let owes = owes || session.asked_large.first().is_some_and(|&(size, _)| size <= room);
        let wider = !session.too_large.is_empty() && session.least_large <= room;
        let sends = pair.visibility == Visibility::Shared
            && session.theirs.is_some_and(|theirs| theirs != Visibility::Invisible)
            && (session.next <= group.head || !session.again.is_empty() || wider);
        owes || sends
    }

    fn put_acks(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        name: u32,
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
        if spans == 0 || (session.acks.is_empty() && room < ID_SIZE) {
            return Ok(());
        }
        let held = session.acks.take_spans(spans);
        let known = session.known.take_spans(spans - held.len());
        let room = room - (held.len() + known.len()) * SPAN_SIZE;
        let ids: Vec<MessageId> =
            session.ack_ids.drain(..session.ack_ids.len().min(room / ID_SIZE)).collect();
        draft.take(RECORD_OVERHEAD + (held.len() + known.len()) * SPAN_SIZE + ids.len() * ID_SIZE);
        let duplicates = std::mem::take(&mut session.duplicates);
        // Without the right value the peer would take our log for another one.
        let marked = match known.last() {
            Some(span) => self.store.at(group, span.last)?,
            None => None,
        };
        let chain = marked.map_or(0, |row| row.chain);
        draft.items.push(Item::Ack {
            group,
            held: held.clone(),
            known: known.clone(),
            ids: ids.clone(),
            duplicates,
        });
        let spans = held.clone();
        draft.frame.acks.push(Ack { group: GroupRef::Number(name), held, known, ids, duplicates, chain });
        let alone = self.peers.get(&peer).is_none_or(|state| state.links.len() < 2);
        if let Some(link) = self.links.get_mut(&id) {
            link.traffic.acks_out += 1;
            if !alone && link.lossy.is_none() {
                let acked = link.acked.entry(group).or_default();
                spans.iter().for_each(|span| acked.insert_span(*span));
                while acked.span_count() > MAX_OWED {
                    acked.forget_lowest();
                }
            }
        }
        Ok(())
    }

    /// What the peer asked for in vain; of what was delivered here, with its place in the canonical order.
    fn put_unavailable(
        &mut self,
        peer: PeerNum,
        group: GroupNum,
        name: u32,
        draft: &mut Draft,
    ) -> Result<(), EngineError> {
        let (mut positions, mut ids, mut tombstones) = (crate::SpanSet::new(), Vec::new(), Vec::new());
        let mut room = draft.room.saturating_sub(RECORD_OVERHEAD);
        let before = room;
        while room >= SPAN_SIZE + TOMBSTONE_SIZE
            && let Some((span, is_gone)) = self.next_unavailable(peer, group)
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
            let shared = self.pair_mut(peer, group).is_some_and(|pair| pair.visibility == Visibility::Shared);
            if let Some(row) = row.filter(|row| shared && row.state.is_delivered() && !row.state.has_body()) {
                room -= TOMBSTONE_SIZE;
                tombstones.push(tombstone_of(&row));
            }
        }
        if positions.is_empty() && ids.is_empty() {
            return Ok(());
        }
        draft.take(RECORD_OVERHEAD + before - room);
        let positions: Vec<Span> = positions.spans().collect();
        draft.items.push(Item::Unavailable { group, positions: positions.clone(), ids: ids.clone() });
        let group = GroupRef::Number(name);
        draft.frame.unavailables.push(Unavailable { group, positions, ids, tombstones });
        Ok(())
    }

    /// The next of what a peer asked for in vain: a position of what is gone, or a span of others.
    fn next_unavailable(&mut self, peer: PeerNum, group: GroupNum) -> Option<(Span, bool)> {
        let gone = &self.groups.get(&group)?.gone;
        let pair = self.peers.get_mut(&peer)?.groups.get_mut(&group)?;
        let shared = pair.visibility == Visibility::Shared;
        let mut span = pair.session.unavailable.spans().next()?;
        let is_gone = shared && gone.contains(span.first);
        if is_gone {
            span.last = span.first;
        } else if shared && let Some(next) = gone.first_from(span.first).filter(|&next| next <= span.last) {
            span.last = next - 1;
        }
        pair.session.unavailable.remove_span(span);
        Some((span, is_gone))
    }

    /// Messages that the peer asked for.
    fn put_answers(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        name: u32,
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
        let mut batch = Batch { group: GroupRef::Number(name), messages: Vec::new(), chain: 0 };
        while let Some(position) = self.pair_mut(peer, group).and_then(|pair| pair.session.asked.pop_first())
        {
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
                    if self.has_wider_link(peer, size) {
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
        self.close_batch(batch, draft);
        let mut loose = Batch { group: GroupRef::Number(name), messages: Vec::new(), chain: 0 };
        while let Some(wanted) =
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
                Put::Done => draft.items.push(Item::Answer { group, id: wanted }),
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
        self.close_batch(loose, draft);
        Ok(())
    }

    fn put_requests(&mut self, id: LinkId, peer: PeerNum, group: GroupNum, name: u32, draft: &mut Draft) {
        let mut positions = crate::SpanSet::new();
        let mut ids = Vec::new();
        let mut opened = false;
        while let Some((wanted, theirs)) =
            self.pair_mut(peer, group).and_then(|pair| pair.session.to_request.pop_front())
        {
            if !self.wants.is_asked(&wanted, peer) {
                continue;
            }
            let size = ID_SIZE + if opened { 0 } else { RECORD_OVERHEAD };
            if !draft.take(size) {
                if let Some(pair) = self.pair_mut(peer, group) {
                    pair.session.to_request.push_front((wanted, theirs));
                }
                break;
            }
            opened = true;
            match theirs {
                Some(theirs) => {
                    positions.insert(theirs);
                }
                None => ids.push(wanted),
            }
            self.wants.set_said(&wanted, true);
            draft.items.push(Item::Request { group, id: wanted });
        }
        let called_back = self.call_back(peer, group, opened, draft);
        if !called_back.is_empty() {
            let deadline = self.now + self.config.request_timeout_ms.max(1);
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
            draft.frame.requests.push(Request { group: GroupRef::Number(name), positions, ids });
        }
    }

    /// Messages and offers that the peer is not known to have, in delivery order.
    fn put_news(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        name: u32,
        draft: &mut Draft,
        share: usize,
    ) -> Result<(), EngineError> {
        let mut batch = Batch { group: GroupRef::Number(name), messages: Vec::new(), chain: 0 };
        let mut offer = Offer { group: GroupRef::Number(name), items: Vec::new(), chain: 0 };
        let least = draft.room.saturating_sub(share);
        while draft.room > least
            && let Some((position, large)) = self.next_due(id, peer, group)
        {
            let row = self.store.at(group, position)?;
            let Some(row) = row.filter(|row| row.state == MessageState::Delivered) else {
                // Pruned: nothing to send.
                continue;
            };
            // What stands below all that is under way may be what the peer waits for to take any of it.
            let pair = self.peers.get(&peer).and_then(|state| state.groups.get(&group));
            let urgent = pair
                .and_then(|pair| pair.session.in_flight.first_key_value())
                .is_some_and(|(&first, _)| position < first);
            let done = if large.is_some() || self.prefers_push(id, peer, group, &row) {
                if !urgent && !self.has_in_flight_room(id) {
                    Put::Full
                } else {
                    let put = self.put_message(id, peer, &row, &mut batch, draft)?;
                    if matches!(put, Put::Done) {
                        self.sent(id, peer, &row, InFlight::Message, draft);
                    }
                    put
                }
            } else {
                let put = self.put_offer(id, &row, urgent, &mut offer, draft);
                if matches!(put, Put::Done) {
                    self.sent(id, peer, &row, InFlight::Offer, draft);
                }
                put
            };
            match done {
                Put::Done => {}
                Put::TooLarge(size) => self.too_large(id, peer, group, &row, size),
                Put::Full => {
                    if let Some(pair) = self.pair_mut(peer, group) {
                        match large {
                            Some(size) => pair.session.put_off(size, position),
                            None => pair.session.again.insert_span(Span::one(position)),
                        }
                    }
                    break;
                }
            }
        }
        self.close_batch(batch, draft);
        if !offer.items.is_empty() {
            if let Some(link) = self.links.get_mut(&id) {
                link.traffic.offers_out += offer.items.len() as u64;
            }
            draft.frame.offers.push(offer);
        }
        Ok(())
    }

    fn put_offer(
        &mut self,
        id: LinkId,
        row: &MessageRow,
        urgent: bool,
        offer: &mut Offer,
        draft: &mut Draft,
    ) -> Put {
        let Some(link) = self.links.get(&id) else { return Put::Full };
        // The peer counts the offers of all links together.
        let links = self.peers.get(&link.peer).into_iter().flat_map(|peer| &peer.links);
        let open: usize = links.filter_map(|id| self.links.get(id)).map(|link| link.open_offers).sum();
        if open >= link.max_offers && !urgent {
            return Put::Full;
        }
        // Positions in a record ascend; what is due again may lie below.
        if offer.items.last().is_some_and(|last| last.position >= Some(row.position)) {
            return Put::Full;
        }
        let size = ID_SIZE + if offer.items.is_empty() { RECORD_OVERHEAD } else { 0 };
        if !draft.take(size) {
            return Put::Full;
        }
        offer.items.push(OfferItem { position: Some(row.position), id: row.id });
        offer.chain = row.chain;
        Put::Done
    }

    /// Puts a message into a batch, naming parents that the peer got on this link by their distance.
    fn put_message(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        row: &MessageRow,
        batch: &mut Batch,
        draft: &mut Draft,
    ) -> Result<Put, EngineError> {
        let Some(content) = self.sound_content(row)? else { return Ok(Put::TooLarge(usize::MAX)) };
        let Some(body) = content.body else { return Ok(Put::TooLarge(usize::MAX)) };
        let Some(link) = self.links.get_mut(&id) else { return Ok(Put::Full) };
        debug_assert_eq!(link.peer, peer);
        let size = limits::MESSAGE_OVERHEAD + body.len() + content.deps.len() * 33;
        if size > link.record_room() {
            return Ok(Put::TooLarge(size));
        }
        if batch.messages.last().is_some_and(|last| row.position > 0 && last.position >= Some(row.position)) {
            return Ok(Put::Full);
        }
        if !draft.take(size + if batch.messages.is_empty() { RECORD_OVERHEAD } else { 0 }) {
            return Ok(Put::Full);
        }
        let lossy = link.lossy.is_some();
        let refs = link.refs.entry(row.group).or_default();
        let deps = content.deps.iter().map(|dep| {
            let in_frame = || batch.messages.iter().any(|message| message.position == Some(dep.position));
            let known = dep.position > 0
                && row.position > dep.position
                && if lossy { in_frame() } else { refs.sent.get(dep.position).is_some() };
            if known { DepRef::Position(dep.position) } else { DepRef::Id(dep.id) }
        });
        // Positions stand before ids on the wire.
        let (mut named, ids): (Vec<_>, Vec<_>) = deps.partition(|dep| matches!(dep, DepRef::Position(_)));
        named.extend(ids);
        let position = (row.position > 0).then_some(row.position);
        batch.messages.push(WireMessage { position, timestamp_ms: row.timestamp_ms, deps: named, body });
        batch.chain = if row.position > 0 { row.chain } else { 0 };
        if row.position > 0 {
            refs.sent.push(row.position, ());
        }
        link.traffic.messages_out += 1;
        Ok(Put::Done)
    }

    fn close_batch(&mut self, batch: Batch, draft: &mut Draft) {
        if !batch.messages.is_empty() {
            draft.frame.batches.push(batch);
        }
    }

    /// Notes what went out about one of our positions.
    fn sent(&mut self, id: LinkId, peer: PeerNum, row: &MessageRow, kind: InFlight, draft: &mut Draft) {
        let (group, position) = (row.group, row.position);
        let bytes = if kind == InFlight::Message { row.body_len } else { 0 };
        let frame =
            self.links.get(&id).and_then(|link| link.lossy.as_ref()).map_or(0, |lossy| lossy.next_number());
        let sent = Sent { link: id, frame, kind, bytes };
        let Some(pair) = self.pair_mut(peer, group) else { return };
        let before = pair.session.in_flight.insert(position, sent);
        if let Some(before) = before {
            self.release(&before);
        }
        if let Some(link) = self.links.get_mut(&id) {
            match kind {
                InFlight::Message => link.in_flight_bytes += u64::from(bytes),
                InFlight::Offer => link.open_offers += 1,
                InFlight::Nothing => {}
            }
        }
        draft.items.push(Item::Sent { group, position, frame });
    }

    /// Sets the timer of a lossy link.
    pub(super) fn arm_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(lossy) = &mut link.lossy else { return };
        let at = lossy.timeout();
        if lossy.armed != at {
            if let Some(before) = lossy.armed {
                self.timers.remove(&(before, Timer::Link(id)));
            }
            if let Some(at) = at {
                self.timers.insert((at, Timer::Link(id)));
            }
            lossy.armed = at;
        }
    }

    pub(super) fn link_timeout(&mut self, id: LinkId, now: Time) {
        let Some(lossy) = self.links.get_mut(&id).and_then(|link| link.lossy.as_mut()) else { return };
        lossy.armed = None;
        let lost = lossy.handle_timeout(now);
        self.items_lost(id, lost);
        self.arm_link(id);
        self.wake_link(id);
    }
}

fn tombstone_of(row: &MessageRow) -> Tombstone {
    Tombstone { id: row.id, eff_ms: row.eff_ms, height: row.height }
}

/// What came of putting something into a frame.
enum Put {
    Done,
    /// Not into this frame.
    Full,
    /// Into no frame of this link: the record takes so many bytes.
    TooLarge(usize),
}
