//! What comes from a peer: one frame at a time, record by record.

use bytes::Bytes;
use hedgerow_proto::{
    Ack, Batch, DepRef, Ephemeral, Frame, GroupRef, Message, MessageId, Offer, Request, Span, Unavailable,
    Visibility, WireMessage, limits,
};
use smallvec::SmallVec;

use super::facts::Named;
use super::gate::Kept;
use super::state::Sent;
use super::{Engine, LinkId, Taken};
use crate::config::Direction;
use crate::error::{EngineError, ReceiveError, Rule, Violation};
use crate::event::Event;
use crate::record::{InFlight, Input};
use crate::store::{GroupNum, MessageState, PeerNum, Store};
use crate::time::Time;

/// How many separate spans of positions a peer may have asked for at a time.
pub(super) const MAX_ASKED_SPANS: usize = 16_384;
/// Most messages outside our log that a peer may have asked for at a time.
pub(super) const MAX_ASKED_IDS: usize = 4096;

impl<S: Store> Engine<S> {
    /// Takes one frame from a link. Each record in it is judged alone: one that breaks a rule is counted
    /// ([`Traffic::refused`](crate::Traffic)) and ignored, and the rest of the frame counts. Nothing is
    /// acknowledged before it is durable.
    ///
    /// # Errors
    /// [`ReceiveError::Violation`] when the peer broke a rule that ends the link; the link is down then, and the
    /// caller closes the carrier. A frame for a link that is not up is ignored.
    pub fn receive(&mut self, id: LinkId, frame: Bytes, now: Time) -> Result<(), ReceiveError> {
        self.usable()?;
        self.now = now;
        let taken = self.take_bytes(id, frame);
        match self.guard(taken)? {
            Ok(()) => Ok(()),
            Err(rule) => {
                let peer =
                    self.links.get(&id).and_then(|link| self.peers.get(&link.peer)).map(|peer| peer.id);
                self.link_down(id, now);
                let Some(peer) = peer else { return Ok(()) };
                tracing::warn!(peer = %peer.short(), %rule, "link ended");
                Err(Violation { peer, rule }.into())
            }
        }
    }

    fn take_bytes(&mut self, id: LinkId, bytes: Bytes) -> Taken {
        // The peer may have made the frame before it knew our limit.
        let limit = self.config.max_frame.max(limits::DEFAULT_MAX_FRAME);
        let Some(link) = self.links.get_mut(&id) else { return Ok(Ok(())) };
        if link.profile.direction == Direction::Out {
            return Err(EngineError::OutOnly);
        }
        // Where there is no HELLO it never gets to know it.
        let limit = if link.caps.sessions { limit } else { limit.max(limits::MAX_FRAME) };
        if bytes.len() > limit {
            return Ok(Err(Rule::OversizedFrame { found: bytes.len(), limit }));
        }
        link.traffic.frames_in += 1;
        link.traffic.bytes_in += bytes.len() as u64;
        let frame = match link.codec.decode(bytes) {
            Ok(frame) => frame,
            Err(error) => return Ok(Err(error.into())),
        };
        if !link.is_ready() && frame.hello.is_none() {
            // On a lossy link the HELLO may come later; what came before it is sent again.
            return Ok(if link.lossy.is_some() { Ok(()) } else { Err(Rule::NoHello) });
        }
        if link.lossy.is_none() && (frame.number.is_some() || frame.ping || !frame.frame_acks.is_empty()) {
            return Ok(Err(Rule::FrameNumber));
        }
        self.take_frame(id, frame)
    }

    fn take_frame(&mut self, id: LinkId, frame: Frame) -> Taken {
        if let Some(hello) = frame.hello
            && let Err(rule) = self.take_hello(id, hello)?
        {
            return Ok(Err(rule));
        }
        if let Some(lossy) = self.links.get_mut(&id).and_then(|link| link.lossy.as_mut()) {
            let (arrived, lost) = lossy.acknowledged(&frame.frame_acks, frame.ack_delay_ms, self.now);
            let fresh = match frame.number {
                Some(number) => lossy.receive(number, self.now),
                None => false,
            };
            self.items_arrived(id, arrived);
            self.items_lost(id, lost);
            if let Some(link) = self.links.get_mut(&id) {
                link.names_in_vain = false;
            }
            self.arm_link(id);
            self.wake_link(id);
            if !fresh {
                return Ok(Ok(()));
            }
        }
        if let Some(in_step) = &frame.in_step
            && let Err(rule) = self.take_in_step(id, in_step)?
        {
            return Ok(Err(rule));
        }
        for announce in frame.announces {
            if let Err(rule) = self.take_announce(id, announce, frame.number.unwrap_or(0))? {
                return Ok(Err(rule));
            }
        }
        self.take_step_answers(id, &frame.matched, &frame.unmatched);
        for ack in frame.acks {
            self.take_ack(id, ack)?;
        }
        for unavailable in frame.unavailables {
            self.take_unavailable(id, &unavailable)?;
        }
        for batch in frame.batches {
            self.take_batch(id, batch)?;
        }
        for request in frame.requests {
            if request.group == GroupRef::Unnamed {
                self.take_requests_by_id(id, request.ids)?;
                continue;
            }
            self.take_request(id, &request)?;
        }
        for record in frame.reconciles {
            self.take_reconcile(id, record)?;
        }
        for offer in frame.offers {
            self.take_offer(id, offer)?;
        }
        for offer in &frame.short_offers {
            self.take_short_offer(id, offer)?;
        }
        for ephemeral in frame.ephemerals {
            self.take_ephemeral(id, ephemeral);
        }
        Ok(Ok(()))
    }

    /// The peer and the group that a record speaks of, if the peer may speak of it.
    pub(super) fn group_of(&mut self, id: LinkId, group: GroupRef) -> Option<(PeerNum, GroupNum)> {
        let link = self.links.get(&id)?;
        let num = match group {
            GroupRef::Number(number) => link.theirs.get(&number).copied().flatten(),
            GroupRef::Id(group) => {
                self.group_nums.get(&group).copied().filter(|num| link.carried.contains_key(num))
            }
            GroupRef::Unnamed => None,
        };
        let peer = link.peer;
        let pair = num.and_then(|num| self.peers.get(&peer)?.groups.get(&num));
        if pair.is_none_or(|pair| pair.visibility == Visibility::Invisible) {
            self.refuse(id);
            return None;
        }
        Some((peer, num?))
    }

    /// Counts a record that is ignored.
    pub(super) fn refuse(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.traffic.refused += 1;
        }
    }

    fn take_batch(&mut self, id: LinkId, batch: Batch) -> Result<(), EngineError> {
        let Some((peer, group)) = self.group_of(id, batch.group) else { return Ok(()) };
        let last = batch.messages.last().and_then(|message| message.position);
        // References within a frame are sound on every link; between frames only where none is lost.
        let keep_refs = self.links.get(&id).is_some_and(|link| link.lossy.is_none());
        let alone = batch.messages.len() == 1;
        self.begin_batch(peer, group);
        for message in batch.messages {
            self.take_message(id, peer, group, message)?;
        }
        self.end_batch()?;
        let refs = self.links.get(&id).and_then(|link| link.refs.get(&group)).filter(|_| alone);
        let named = refs.zip(last).and_then(|(refs, last)| refs.received.get(last).copied());
        if !keep_refs && let Some(link) = self.links.get_mut(&id) {
            link.refs.remove(&group);
        }
        if let Some(last) = last {
            self.note_mark(peer, group, (last, batch.chain), named);
        }
        Ok(())
    }

    fn take_message(
        &mut self,
        link_id: LinkId,
        peer: PeerNum,
        group_num: GroupNum,
        wire: WireMessage,
    ) -> Result<(), EngineError> {
        let Some(group) = self.groups.get(&group_num) else { return Ok(()) };
        let (group_id, scheme) = (group.id, group.scheme);
        let Some(link) = self.links.get_mut(&link_id) else { return Ok(()) };
        link.traffic.messages_in += 1;
        let refs = link.refs.or_default(group_num);
        let mut deps: SmallVec<[MessageId; 4]> = SmallVec::new();
        let mut ascends = true;
        let mut last_id: Option<MessageId> = None;
        for dep in wire.deps.iter().take(limits::MAX_DEPS + 1) {
            match dep {
                DepRef::Id(id) => {
                    ascends &= last_id < Some(*id);
                    last_id = Some(*id);
                    deps.push(*id);
                }
                DepRef::Position(position) => match refs.received.get(*position) {
                    Some(id) => deps.push(*id),
                    None => ascends = false,
                },
            }
        }
        deps.sort_unstable();
        let message = match Message::after(group_id, wire.timestamp_ms, &deps, wire.body) {
            Ok(message) if ascends && scheme.admit(&message).is_ok() => message,
            Ok(_) | Err(_) => {
                self.refuse(link_id);
                return Ok(());
            }
        };
        let id = scheme.message_id(&message);
        self.take_sound_message(link_id, peer, group_num, id, message, wire.position)
    }

    /// Takes a message that is within the limits.
    fn take_sound_message(
        &mut self,
        link_id: LinkId,
        peer: PeerNum,
        group_num: GroupNum,
        id: MessageId,
        message: Message,
        position: Option<u64>,
    ) -> Result<(), EngineError> {
        if let Some(stand_in) = self.stand_in_of(group_num, &id) {
            self.rename_want(&stand_in, id);
        }
        if let Some(position) = position {
            if let Some(link) = self.links.get_mut(&link_id) {
                link.refs.or_default(group_num).received.push(position, id);
            }
            self.note_position(peer, group_num, position, id);
        }
        let asked = self.wants.is_asked(&id, peer) || self.is_called_back(peer, group_num, position);
        self.note_answer(&id, peer);
        let found = self.store.find(&id)?;
        let asked = asked || self.is_awaited_later(&id, found.as_ref());
        let row = match found {
            Some(row) if row.state != MessageState::Wanted => {
                if let Some(link) = self.links.get_mut(&link_id) {
                    link.traffic.duplicates_in += 1;
                }
                if let Some(pair) = self.pair_mut(peer, group_num) {
                    pair.session.duplicates = pair.session.duplicates.saturating_add(1);
                }
                self.close_want_of(&id, peer);
                self.compare_deps(link_id, &row, &message)?;
                row
            }
            wanted => {
                let message = self.with_sound_deps(link_id, group_num, &id, message)?;
                let last = self.is_lowest_called_back(peer, group_num, position);
                match self.keep_message(peer, group_num, (id, &message), wanted, last)? {
                    Kept::Row(row) => {
                        if !asked {
                            self.note_unasked(&row);
                        }
                        row
                    }
                    Kept::NoRoom => {
                        self.refuse(link_id);
                        self.no_room_for(peer, group_num, id, position);
                        return Ok(());
                    }
                }
            }
        };
        let named = Named { id, theirs: position, row: Some(row) };
        self.apply(peer, group_num, &named, Input::Message);
        if let Some(theirs) = position {
            self.close_offer(peer, group_num, theirs);
        }
        Ok(())
    }

    /// A message came and could not be kept.
    fn no_room_for(&mut self, peer: PeerNum, group: GroupNum, id: MessageId, position: Option<u64>) {
        if let Some(theirs) = position {
            self.close_offer(peer, group, theirs);
            self.turn_away(peer, group, theirs);
        } else if let (Some(noted), Some(number)) =
            (self.wants.group_of(&id), self.wants.number_of(&id, peer))
        {
            self.close_offer(peer, noted, number);
        } else if self.pair_mut(peer, group).is_some_and(|pair| pair.session.by_id) {
            self.turn_away_id(peer, group, id);
        }
        self.want_without_room(id, peer, position.is_some());
    }

    /// What the peer offered under a position is not there, if something else is.
    fn note_position(&mut self, peer: PeerNum, group: GroupNum, theirs: u64, id: MessageId) {
        let pair = self.peers.get(&peer).and_then(|state| state.groups.get(&group));
        if let Some(&other) = pair.and_then(|pair| pair.session.offered.get(&theirs))
            && other != id
        {
            self.close_offer(peer, group, theirs);
            self.want_refused(other, peer);
        }
    }

    /// A message that was held already came again: its sender need not be asked for it.
    fn close_want_of(&mut self, id: &MessageId, peer: PeerNum) {
        if self.wants.is_asked(id, peer) {
            self.want_refused(*id, peer);
        }
    }

    fn take_offer(&mut self, link_id: LinkId, offer: Offer) -> Result<(), EngineError> {
        if offer.group == GroupRef::Unnamed {
            return self.take_offers_by_id(link_id, None, offer.items);
        }
        let Some((peer, group)) = self.group_of(link_id, offer.group) else { return Ok(()) };
        if self.pair_mut(peer, group).is_some_and(|pair| pair.session.by_id) {
            return self.take_offers_by_id(link_id, Some(group), offer.items);
        }
        let last = offer.items.last().and_then(|item| item.position);
        let named = offer.items.first().filter(|_| offer.items.len() == 1).map(|item| item.id);
        for item in offer.items {
            // Where there are no positions, the session speaks by ids.
            self.take_offered(link_id, peer, group, item.id, item.position.unwrap_or_default())?;
        }
        if let Some(last) = last {
            self.note_mark(peer, group, (last, offer.chain), named);
        }
        Ok(())
    }

    /// Takes the offer of one message at a position of the peer.
    pub(super) fn take_offered(
        &mut self,
        link_id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        id: MessageId,
        theirs: u64,
    ) -> Result<(), EngineError> {
        if let Some(link) = self.links.get_mut(&link_id) {
            link.traffic.offers_in += 1;
        }
        // What another group holds is unknown here: a peer must not learn of it, and its position is another one's.
        let row = self.store.find(&id)?.filter(|row| row.group == group && row.state != MessageState::Wanted);
        if let Some(row) = &row {
            self.note_crossed(peer, group, row.position);
            self.apply(peer, group, &Named { id, theirs: Some(theirs), row: Some(*row) }, Input::Offer);
        } else if !self.note_offer(peer, group, id, theirs) {
            self.refuse(link_id);
            self.turn_away(peer, group, theirs);
        }
        Ok(())
    }

    /// A peer offers what we have: if we offered it too, it got it from somebody else.
    pub(super) fn note_crossed(&mut self, peer: PeerNum, group: GroupNum, position: u64) {
        if let Some(pair) = self.pair_mut(peer, group)
            && pair.session.is_offered(position)
        {
            pair.session.note_had();
        }
    }

    /// Keeps an offer of what we lack; false if there is no room for it.
    pub(super) fn note_offer(&mut self, peer: PeerNum, group: GroupNum, id: MessageId, theirs: u64) -> bool {
        // What was asked for is answered in the eyes of the peer, and counts here until it comes.
        let limit = usize::try_from(self.config.max_offers).unwrap_or(usize::MAX);
        let limit = limit.saturating_add(self.config.max_requests);
        // It is awaited in another group, by somebody who is wrong about it: it is asked for by its position here.
        if self.wants.group_of(&id).is_some_and(|awaited_in| awaited_in != group) {
            return false;
        }
        let Some(state) = self.peers.get_mut(&peer) else { return false };
        let Some(pair) = state.groups.get_mut(&group) else { return false };
        if !pair.session.offered.contains_key(&theirs) {
            if state.offered >= limit {
                return false;
            }
            state.offered += 1;
        }
        if let Some(other) = pair.session.offered.insert(theirs, id)
            && other != id
        {
            self.want_refused(other, peer);
        }
        self.want_offered(id, group, peer, theirs);
        true
    }

    fn take_ack(&mut self, link_id: LinkId, ack: Ack) -> Result<(), EngineError> {
        if ack.group == GroupRef::Unnamed {
            return self.take_acks_by_id(link_id, ack.ids);
        }
        let Some((peer, group)) = self.group_of(link_id, ack.group) else { return Ok(()) };
        let head = self.groups.get(&group).map_or(0, |g| g.head);
        // It may not have heard yet that our log is another one than the one it speaks of.
        let voided = self.pair_mut(peer, group).map_or(0, |pair| pair.session.voided);
        let ack = if ack.reset == voided { ack } else { Ack { held: Vec::new(), known: Vec::new(), ..ack } };
        let mut settled: Vec<Sent> = Vec::new();
        let max_spans = self.config.max_spans;
        // What a lossy link lets arrive twice may have been sent twice.
        let once = self.links.get(&link_id).is_some_and(|link| link.lossy.is_none());
        if let Some(pair) = self.pair_mut(peer, group) {
            let session = &mut pair.session;
            for span in ack.held.iter().filter_map(|span| within(*span, head)) {
                pair.has.insert_span(span);
                session.again.remove_span(span);
                session.asked.remove_span(span);
                let positions: Vec<u64> =
                    session.in_flight.range(span.first..=span.last).map(|(&p, _)| p).collect();
                for position in positions {
                    if let Some(sent) = session.in_flight.remove(&position) {
                        pair.repeats.confirm(position, &sent);
                        settled.push(sent);
                    }
                }
            }
            if settled.iter().any(|sent| sent.kind == InFlight::Offer) {
                session.note_had();
            }
            if ack.duplicates > 0 {
                session.note_duplicate(once);
            }
            pair.has_grew |= !ack.held.is_empty();
            for span in ack.known.iter().take(max_spans.saturating_sub(pair.got.span_count())) {
                pair.note_got(*span);
            }
        }
        if let Some(last) = ack.known.last() {
            let named = self.named_by(group, &ack)?;
            self.note_mark(peer, group, (last.last, ack.chain), named);
        }
        for sent in settled {
            self.release(&sent);
        }
        for id in ack.ids {
            let row = self.store.find(&id)?.filter(|row| row.group == group);
            self.apply(peer, group, &Named { id, theirs: None, row }, Input::Ack);
        }
        self.grown_pairs.insert((peer, group));
        self.changed_pairs.insert((peer, group));
        self.note_behind(peer, group, self.now);
        self.wake(peer, group);
        Ok(())
    }

    fn take_request(&mut self, link_id: LinkId, request: &Request) -> Result<(), EngineError> {
        let Some((peer, group)) = self.group_of(link_id, request.group) else { return Ok(()) };
        let head = self.groups.get(&group).map_or(0, |g| g.head);
        let mut released: Vec<Sent> = Vec::new();
        let Some(pair) = self.pair_mut(peer, group) else { return Ok(()) };
        if pair.visibility != Visibility::Shared {
            self.refuse(link_id);
            return Ok(());
        }
        for &span in &request.positions {
            let session = &mut pair.session;
            if let Some(span) = within(span, head)
                && session.asked.span_count() < MAX_ASKED_SPANS
            {
                // What the state machine does on a REQUEST, for a whole span at once.
                pair.has.remove_span(span);
                pair.settled_to = pair.settled_to.min(span.first.saturating_sub(1));
                session.asked.insert_span(span);
                session.again.insert_span(span);
                let positions: Vec<u64> =
                    session.in_flight.range(span.first..=span.last).map(|(&p, _)| p).collect();
                released.extend(positions.iter().filter_map(|p| session.in_flight.remove(p)));
            }
            if span.last > head && session.unavailable.span_count() < MAX_ASKED_SPANS {
                session.unavailable.insert_span(Span { first: span.first.max(head + 1), last: span.last });
            }
        }
        if released.iter().any(|sent| sent.kind == InFlight::Offer) {
            pair.session.note_lacked();
        }
        for sent in released {
            self.release(&sent);
        }
        for &id in &request.ids {
            let row =
                self.store.find(&id)?.filter(|row| row.group == group && row.state != MessageState::Wanted);
            let full = self.pair_mut(peer, group).is_some_and(|pair| {
                pair.session.asked_ids.len() + pair.session.unavailable_ids.len() >= MAX_ASKED_IDS
            });
            if full {
                self.refuse(link_id);
                break;
            }
            self.apply(peer, group, &Named { id, theirs: None, row }, Input::Request);
        }
        self.changed_pairs.insert((peer, group));
        self.wake(peer, group);
        Ok(())
    }

    fn take_unavailable(&mut self, link_id: LinkId, unavailable: &Unavailable) -> Result<(), EngineError> {
        if unavailable.group == GroupRef::Unnamed {
            if let Some(peer) = self.links.get(&link_id).map(|link| link.peer) {
                self.take_unavailable_by_id(peer, &unavailable.ids);
            }
            return Ok(());
        }
        let Some((peer, group)) = self.group_of(link_id, unavailable.group) else { return Ok(()) };
        for &tombstone in &unavailable.tombstones {
            self.take_claim(link_id, peer, group, tombstone)?;
        }
        let mut refused = Vec::new();
        if let Some(pair) = self.peers.get_mut(&peer).and_then(|state| state.groups.get_mut(&group)) {
            let session = &mut pair.session;
            for span in &unavailable.positions {
                // What is turned away and not asked for came after this was said: links overtake one another.
                session.came_back(*span);
                let offered = session.offered.range(span.first..=span.last).map(|(&at, &id)| (at, id));
                // What is not asked for yet was offered after this was said.
                refused.extend(offered.filter(|(_, id)| self.wants.is_said(id, peer)));
            }
        }
        for (theirs, id) in refused {
            self.close_offer(peer, group, theirs);
            self.want_refused(id, peer);
        }
        for &id in &unavailable.ids {
            self.want_unavailable(id, peer);
        }
        self.wake(peer, group);
        Ok(())
    }

    fn take_ephemeral(&mut self, link_id: LinkId, ephemeral: Ephemeral) {
        let Some((peer, group)) = self.group_of(link_id, ephemeral.group) else { return };
        let (Some(peer), Some(group)) = (self.peers.get(&peer), self.groups.get(&group)) else { return };
        let Ephemeral { timestamp_ms, body, .. } = ephemeral;
        if body.len() > limits::MAX_BODY {
            self.refuse(link_id);
            return;
        }
        self.events.push_back(Event::Ephemeral { group: group.id, peer: peer.id, timestamp_ms, body });
    }
}

/// The part of a span that lies within our log.
fn within(span: Span, head: u64) -> Option<Span> {
    (span.first <= head).then(|| Span { first: span.first, last: span.last.min(head) })
}
