//! What a peer is not known to have: messages and offers, in delivery order; and how a message is written.

use hedgerow_proto::{Batch, DepRef, GroupRef, Offer, OfferItem, ShortOffer, Span, WireMessage};

use super::{Draft, ID_SIZE, RECORD_OVERHEAD, SHORT_ID_SIZE};
use crate::engine::lossy::{Item, Lossy};
use crate::engine::state::Sent;
use crate::engine::{Engine, LinkId};
use crate::error::EngineError;
use crate::record::InFlight;
use crate::store::{GroupNum, MessageRow, MessageState, PeerNum, Store};

/// What came of putting something into a frame.
pub(super) enum Put {
    Done,
    /// Not into this frame.
    Full,
    /// Into no frame of this link: the record takes so many bytes.
    TooLarge(usize),
}

impl<S: Store> Engine<S> {
    /// Messages and offers that the peer is not known to have, in delivery order.
    pub(super) fn put_news(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        name: GroupRef,
        draft: &mut Draft,
        share: usize,
    ) -> Result<(), EngineError> {
        let mut batch = Batch { group: name, messages: Vec::new(), chain: 0 };
        let mut offer = Offer { group: name, items: Vec::new(), chain: 0 };
        let mut short = ShortOffer { group: name, items: Vec::new(), chain: 0 };
        let least = draft.room.saturating_sub(share);
        self.look_at_unasked(group);
        let mut alone = None;
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
            let done = if large.is_some() || self.prefers_push(id, peer, &row, &mut alone) {
                if !urgent && !self.has_in_flight_room(id) {
                    Put::Full
                } else {
                    let put = self.put_message(id, peer, &row, &mut batch, draft)?;
                    if matches!(put, Put::Done) {
                        self.sent(id, peer, &row, InFlight::Message, draft);
                    }
                    put
                }
            } else if self.is_too_fresh(group, position) {
                if let Some(pair) = self.pair_mut(peer, group) {
                    pair.session.too_fresh.insert(position);
                }
                continue;
            } else {
                let put = self.put_offer(id, &row, urgent, (&mut offer, &mut short), draft);
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
        self.close_batch(id, peer, group, batch, draft);
        if let Some(link) = self.links.get_mut(&id) {
            link.traffic.offers_out += (offer.items.len() + short.items.len()) as u64;
        }
        if let Some(last) = offer.items.last() {
            if let Some(position) = last.position {
                let alone = offer.items.len() == 1;
                offer.chain = self.chain_said(id, peer, group, (position, offer.chain), alone);
            }
            draft.frame.offers.push(offer);
        }
        if let Some(&(position, _)) = short.items.last() {
            let alone = short.items.len() == 1;
            short.chain = self.chain_said(id, peer, group, (position, short.chain), alone);
            draft.frame.short_offers.push(short);
        }
        Ok(())
    }

    fn put_offer(
        &mut self,
        id: LinkId,
        row: &MessageRow,
        urgent: bool,
        (offer, short): (&mut Offer, &mut ShortOffer),
        draft: &mut Draft,
    ) -> Put {
        let Some(link) = self.links.get(&id) else { return Put::Full };
        // The peer counts the offers of all links together.
        let links = self.peers.get(&link.peer).into_iter().flat_map(|peer| peer.links.iter());
        let open: usize = links.filter_map(|id| self.links.get(id)).map(|link| link.open_offers).sum();
        if open >= link.max_offers && (!urgent || open >= link.caps.max_offers) {
            return Put::Full;
        }
        // Positions in a record ascend; what is due again may lie below.
        let positions = link.caps.positions;
        if let Some(key) = self.short_ids_for(link, row) {
            if short.items.last().is_some_and(|&(last, _)| last >= row.position) {
                return Put::Full;
            }
            if !draft.take(SHORT_ID_SIZE + if short.items.is_empty() { RECORD_OVERHEAD } else { 0 }) {
                return Put::Full;
            }
            short.items.push((row.position, key.short_id(&row.id, 8)));
            short.chain = row.chain;
            return Put::Done;
        }
        if positions && offer.items.last().is_some_and(|last| last.position >= Some(row.position)) {
            return Put::Full;
        }
        let size = ID_SIZE + if offer.items.is_empty() { RECORD_OVERHEAD } else { 0 };
        if !draft.take(size) {
            return Put::Full;
        }
        offer.items.push(OfferItem { position: positions.then_some(row.position), id: row.id });
        offer.chain = if positions { row.chain } else { 0 };
        Put::Done
    }

    /// Puts a message into a batch, naming parents that the peer got on this link by their distance.
    pub(super) fn put_message(
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
        let caps = link.caps;
        let deps = if caps.deps { content.deps.as_slice() } else { &[] };
        let size = caps.message_overhead + body.len() + deps.len() * caps.dep_size;
        let position = (caps.positions && row.position > 0).then_some(row.position);
        if size > link.record_room() {
            return Ok(Put::TooLarge(size));
        }
        if batch.messages.last().is_some_and(|last| position.is_some() && last.position >= position) {
            return Ok(Put::Full);
        }
        if !draft.take(size + if batch.messages.is_empty() { RECORD_OVERHEAD } else { 0 }) {
            return Ok(Put::Full);
        }
        let lossy = link.lossy.is_some();
        let refs = link.refs.or_default(row.group);
        let deps = deps.iter().map(|dep| {
            let in_frame = || batch.messages.iter().any(|message| message.position == Some(dep.position));
            let known = position.is_some_and(|position| position > dep.position)
                && dep.position > 0
                && if lossy { in_frame() } else { refs.sent.get(dep.position).is_some() };
            if known { DepRef::Position(dep.position) } else { DepRef::Id(dep.id) }
        });
        // Positions stand before ids on the wire.
        let (mut named, ids): (Vec<_>, Vec<_>) = deps.partition(|dep| matches!(dep, DepRef::Position(_)));
        named.extend(ids);
        batch.messages.push(WireMessage { position, timestamp_ms: row.timestamp_ms, deps: named, body });
        batch.chain = if position.is_some() { row.chain } else { 0 };
        if let Some(position) = position {
            refs.sent.push(position, ());
        }
        link.traffic.messages_out += 1;
        Ok(Put::Done)
    }

    pub(super) fn close_batch(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        mut batch: Batch,
        draft: &mut Draft,
    ) {
        let Some(last) = batch.messages.last() else { return };
        if let Some(position) = last.position {
            let alone = batch.messages.len() == 1;
            batch.chain = self.chain_said(id, peer, group, (position, batch.chain), alone);
        }
        draft.frame.batches.push(batch);
    }

    /// Notes what went out about one of our positions.
    pub(super) fn sent(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        row: &MessageRow,
        kind: InFlight,
        draft: &mut Draft,
    ) {
        let (group, position, now) = (row.group, row.position, self.now);
        let bytes = if kind == InFlight::Message { row.body_len } else { 0 };
        let number = self.links.get(&id).and_then(|link| link.lossy.as_ref()).map(Lossy::next_number);
        let (lossy, frame) = (number.is_some(), number.unwrap_or_default());
        let paid = self.pay(id, peer, group, position, kind, bytes);
        let sent = Sent { link: id, frame, kind, bytes, paid };
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
            if let Some(resend) = &mut link.resend {
                resend.sent(group, position, now);
            }
        }
        // Only of what may be lost it has to be known in which frame it was.
        if lossy {
            draft.items.push(Item::Sent { group, position, frame });
        }
    }
}
