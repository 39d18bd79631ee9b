//! Wires on which records name messages by their ids alone, and sessions are not spoken of.
//!
//! Which groups such a peer shares is what was configured; what it holds of our log is learned from its
//! acknowledgements, kept as positions of ours, and remembered over contacts. What an unknown id belongs to is not said
//! by an offer: it is noted under a group that the peer shares, and goes where it belongs when it comes.

use hedgerow_proto::{MessageId, OfferItem, Visibility};

use super::facts::Named;
use super::receive::MAX_ASKED_IDS;
use super::turned::MAX_TURNED_AWAY;
use super::{Engine, LinkId};
use crate::SpanSet;
use crate::config::Direction;
use crate::error::EngineError;
use crate::event::Event;
use crate::record::Input;
use crate::store::{GroupNum, MessageRow, MessageState, PeerNum, Store};

impl<S: Store> Engine<S> {
    /// Begins to speak on a link without sessions: of every group of its scheme that is visible to the peer.
    pub(super) fn open_without_session(&mut self, id: LinkId) {
        let Some(link) = self.links.get(&id) else { return };
        let peer = link.peer;
        let Some(state) = self.peers.get(&peer) else { return };
        let (peer_id, groups): (_, Vec<GroupNum>) = (state.id, state.groups.keys().copied().collect());
        for group in groups {
            self.carry(id, group);
        }
        self.events.push_back(Event::LinkReady { link: id, peer: peer_id });
        self.wake_link(id);
    }

    /// Begins to speak of a group on a link without sessions, if the link carries it and it is visible to the peer.
    /// All that the peer has not acknowledged is due, once.
    pub(super) fn carry(&mut self, id: LinkId, group_num: GroupNum) {
        let (Some(link), Some(group)) = (self.links.get_mut(&id), self.groups.get(&group_num)) else {
            return;
        };
        if link.caps.sessions || link.scheme != group.scheme {
            return;
        }
        let peer = link.peer;
        let pair = self.peers.get_mut(&peer).and_then(|state| state.groups.get_mut(&group_num));
        let Some(pair) = pair.filter(|pair| pair.visibility != Visibility::Invisible) else { return };
        link.carried.insert(group_num, group.id);
        // What the peer does with what it gets is its own affair. If nothing gets to it here, it is nobody to ask.
        if link.profile.direction != Direction::In {
            link.stances.insert(group_num, Visibility::Shared);
        }
        pair.session.by_id = !link.caps.positions;
        if pair.session.by_id {
            // A verdict that came between two sessions left positions here, which have no place on this wire.
            pair.session.known = SpanSet::new();
        }
        pair.session.next = 1;
        pair.session.again.clear();
        self.renew_stance(peer, group_num);
        self.note_behind(peer, group_num, self.now);
        self.add_source_to_wants(peer, group_num);
        self.wake(peer, group_num);
    }

    /// The row of a message, if the link carries its group. Of what another group holds a peer must learn nothing.
    fn carried_row(&self, id: LinkId, message: &MessageId) -> Result<Option<MessageRow>, EngineError> {
        let Some(link) = self.links.get(&id) else { return Ok(None) };
        let row = self.store.find(message)?;
        Ok(row.filter(|row| row.state != MessageState::Wanted && link.carried.contains_key(&row.group)))
    }

    pub(super) fn take_acks_by_id(&mut self, id: LinkId, ids: Vec<MessageId>) -> Result<(), EngineError> {
        let Some(peer) = self.links.get(&id).map(|link| link.peer) else { return Ok(()) };
        for message in ids {
            let Some(row) = self.carried_row(id, &message)? else {
                self.refuse(id);
                continue;
            };
            self.note_crossed(peer, row.group, row.position);
            self.answered_by_id(peer, &row);
            self.apply(peer, row.group, &Named { id: message, theirs: None, row: Some(row) }, Input::Ack);
            self.note_behind(peer, row.group, self.now);
        }
        Ok(())
    }

    pub(super) fn take_requests_by_id(&mut self, id: LinkId, ids: Vec<MessageId>) -> Result<(), EngineError> {
        let Some(peer) = self.links.get(&id).map(|link| link.peer) else { return Ok(()) };
        for message in ids {
            let row = self.carried_row(id, &message)?;
            let shared = row.filter(|row| {
                self.pair_mut(peer, row.group).is_some_and(|pair| pair.visibility == Visibility::Shared)
            });
            let Some(row) = shared else {
                self.unknown_asked(id, message);
                continue;
            };
            self.answered_by_id(peer, &row);
            if let Some(pair) = self.pair_mut(peer, row.group) {
                let session = &mut pair.session;
                if session.asked_ids.len() + session.unavailable_ids.len() >= MAX_ASKED_IDS {
                    self.refuse(id);
                    continue;
                }
                if session.is_offered(row.position) {
                    session.note_lacked();
                }
            }
            self.apply(peer, row.group, &Named { id: message, theirs: None, row: Some(row) }, Input::Request);
        }
        Ok(())
    }

    /// What was asked for is not here, or not for this peer: both are answered alike, if the wire has a word for it.
    fn unknown_asked(&mut self, id: LinkId, message: MessageId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        if !link.caps.unavailable || link.unavailable_ids.len() >= MAX_ASKED_IDS {
            return self.refuse(id);
        }
        link.unavailable_ids.push_back(message);
        self.wake_link(id);
    }

    /// Takes offers; `group` is where they say that they belong.
    pub(super) fn take_offers_by_id(
        &mut self,
        id: LinkId,
        group: Option<GroupNum>,
        items: Vec<OfferItem>,
    ) -> Result<(), EngineError> {
        let Some(peer) = self.links.get(&id).map(|link| link.peer) else { return Ok(()) };
        for item in items {
            if let Some(link) = self.links.get_mut(&id) {
                link.traffic.offers_in += 1;
            }
            if let Some(row) = self.carried_row(id, &item.id)? {
                self.note_crossed(peer, row.group, row.position);
                self.answered_by_id(peer, &row);
                self.apply(
                    peer,
                    row.group,
                    &Named { id: item.id, theirs: None, row: Some(row) },
                    Input::Offer,
                );
                continue;
            }
            let foreign = self.store.find(&item.id)?.is_some_and(|row| row.state != MessageState::Wanted);
            let Some(group) = self.group_for_offer(id, &item.id, group).filter(|_| !foreign) else {
                self.refuse(id);
                continue;
            };
            if !self.note_offer_by_id(peer, group, item.id) {
                self.refuse(id);
                self.turn_away_id(peer, group, item.id);
            }
        }
        Ok(())
    }

    /// The group under which an offer is noted: the one that it names, the one in which the message is awaited, or any
    /// that the link carries. `None` if the peer cannot know of it.
    fn group_for_offer(&self, id: LinkId, message: &MessageId, named: Option<GroupNum>) -> Option<GroupNum> {
        let carried = &self.links.get(&id)?.carried;
        let group = match self.wants.group_of(message) {
            Some(group) => Some(group),
            None => named.or_else(|| carried.keys().next().copied()),
        };
        group.filter(|group| carried.contains_key(group))
    }

    /// Keeps an offer of what we lack, under a number of our own; false if there is no room for it.
    fn note_offer_by_id(&mut self, peer: PeerNum, group: GroupNum, id: MessageId) -> bool {
        let number = self.wants.number_of(&id, peer);
        let Some(pair) = self.pair_mut(peer, group) else { return false };
        let number = number.unwrap_or(pair.session.next_offer + 1);
        pair.session.next_offer = pair.session.next_offer.max(number);
        self.note_offer(peer, group, id, number)
    }

    /// Notes something for which there was no room: it is asked for when there is.
    pub(super) fn turn_away_id(&mut self, peer: PeerNum, group: GroupNum, id: MessageId) {
        self.store_full |= !self.has_room_in_store();
        let Some(pair) = self.pair_mut(peer, group) else { return };
        if pair.session.turned_ids.len() < MAX_TURNED_AWAY {
            pair.session.turned_ids.push_back(id);
        }
        self.peers.get_mut(&peer).map(|state| state.turned.insert(group));
        self.wake(peer, group);
    }

    /// How much of what was turned away can be taken up now.
    pub(super) fn turned_ids_quota(&self, peer: PeerNum, group: GroupNum) -> usize {
        let Some(state) = self.peers.get(&peer) else { return 0 };
        let waits = state.groups.get(&group).map_or(0, |pair| pair.session.turned_ids.len());
        if waits == 0 || !self.has_parking_room(peer, group) {
            return 0;
        }
        let room = usize::try_from(self.verdict_room(peer, group)).unwrap_or(usize::MAX);
        self.config.max_requests.saturating_sub(state.requested).min(waits).min(room)
    }

    /// Takes up what was turned away, as far as there is room now.
    pub(super) fn take_up_turned_ids(&mut self, peer: PeerNum, group: GroupNum) -> Result<(), EngineError> {
        for _ in 0..self.turned_ids_quota(peer, group) {
            let Some(id) = self.pair_mut(peer, group).and_then(|pair| pair.session.turned_ids.pop_front())
            else {
                break;
            };
            let held = self.store.find(&id)?.is_some_and(|row| row.state != MessageState::Wanted);
            if !held && !self.note_offer_by_id(peer, group, id) {
                if let Some(pair) = self.pair_mut(peer, group) {
                    pair.session.turned_ids.push_front(id);
                }
                break;
            }
        }
        Ok(())
    }

    /// Whether no answer of a peer is one: it may have no word for what it does not have, and its links lose nothing.
    pub(super) fn is_mute(&self, peer: PeerNum, group: GroupNum) -> bool {
        let links = self.peers.get(&peer).into_iter().flat_map(|state| state.links.iter());
        let mut links =
            links.filter_map(|id| self.links.get(id)).filter(|link| link.carried.contains_key(&group));
        links.all(|link| link.profile.reliable)
            && self
                .peers
                .get(&peer)
                .and_then(|state| state.groups.get(&group))
                .is_some_and(|pair| pair.session.by_id)
    }

    /// A peer that is mute did not answer: it is asked again when it offers the message, or at the next contact.
    pub(super) fn unanswered_by_id(&mut self, id: MessageId, peer: PeerNum) {
        if let (Some(group), Some(number)) = (self.wants.group_of(&id), self.wants.number_of(&id, peer)) {
            self.close_offer(peer, group, number);
        }
        self.want_refused(id, peer);
    }

    /// A peer says that it does not have what it was asked for.
    pub(super) fn take_unavailable_by_id(&mut self, peer: PeerNum, ids: &[MessageId]) {
        for id in ids {
            let (group, number) = (self.wants.group_of(id), self.wants.number_of(id, peer));
            match (group, number) {
                (Some(group), Some(number)) if self.wants.is_said(id, peer) => {
                    self.close_offer(peer, group, number);
                    self.want_refused(*id, peer);
                }
                // What is not asked for yet was offered after this was said.
                (_, Some(_)) => {}
                _ => self.want_unavailable(*id, peer),
            }
        }
    }

    /// Something under way to a peer was answered.
    fn answered_by_id(&mut self, peer: PeerNum, row: &MessageRow) {
        let now = self.now;
        let pair = self.peers.get(&peer).and_then(|state| state.groups.get(&row.group));
        let Some(sent) = pair.and_then(|pair| pair.session.in_flight.get(&row.position)) else { return };
        let id = sent.link;
        if let Some(resend) = self.links.get_mut(&id).and_then(|link| link.resend.as_mut()) {
            resend.answered(row.group, row.position, now);
            self.arm_resend(id);
        }
    }
}
