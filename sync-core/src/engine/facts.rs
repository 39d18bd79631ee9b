//! Between the compact form in which the engine keeps what it knows of peers and messages, and the [`Facts`] that
//! the state machine speaks of.

use hedgerow_proto::{MessageId, Span};

use super::Engine;
use super::state::{Sent, Session};
use crate::record::{AckState, Facts, Hold, InFlight, Input, step};
use crate::store::{GroupNum, MessageRow, MessageState, PeerNum, Store};

/// How many acknowledgements wait for a link to take them, at most, in spans or ids.
pub(super) const MAX_OWED: usize = 8192;

/// A message as a record of a peer names it, with what we know of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    pub(super) id: MessageId,
    /// The peer's position of it, if the record names one.
    pub(super) theirs: Option<u64>,
    /// Our row, if we have one.
    pub(super) row: Option<MessageRow>,
}

impl Named {
    fn hold(&self) -> Hold {
        match self.row.map(|row| row.state) {
            None | Some(MessageState::Wanted) => Hold::Absent,
            Some(MessageState::Invalid | MessageState::Pruned | MessageState::Lapsed | MessageState::Gap) => {
                Hold::Tombstone
            }
            Some(_) => Hold::Held,
        }
    }

    /// Our position; 0 for none.
    fn ours(&self) -> u64 {
        self.row.map_or(0, |row| row.position)
    }
}

impl<S: Store> Engine<S> {
    /// Runs the state machine for one peer and one message, and keeps what came of it.
    pub(super) fn apply(&mut self, peer: PeerNum, group: GroupNum, named: &Named, input: Input) {
        let before = self.facts(peer, group, named);
        let after = step(before, input);
        if before == after && input != Input::Message && input != Input::Offer {
            return;
        }
        self.keep(peer, group, named, before, after);
        if matches!(input, Input::Message | Input::Offer)
            && named.ours() > 0
            && let Some(pair) = self.pair_mut(peer, group)
            && !pair.session.by_id
        {
            // The peer does not know our position of what it sent or offered.
            pair.session.known.insert(named.ours());
        }
    }

    fn facts(&self, peer: PeerNum, group: GroupNum, named: &Named) -> Facts {
        let Some(pair) = self.peers.get(&peer).and_then(|state| state.groups.get(&group)) else {
            return Facts { hold: named.hold(), ..Facts::default() };
        };
        let ours = named.ours();
        let session_now = self.peers.get(&peer).map_or(0, |state| state.session);
        let holder = || {
            let num = named.row.map(|row| row.num);
            num.and_then(|num| self.holders.get(&num))
                .is_some_and(|peers| peers.contains(&(peer, session_now)))
        };
        let Session { in_flight, acks, ack_ids, asked, asked_ids, offered, .. } = &pair.session;
        let owed = match named.theirs {
            Some(theirs) => acks.contains(theirs),
            None => ack_ids.contains(&named.id),
        };
        Facts {
            hold: named.hold(),
            peer_has: if ours > 0 { pair.has.contains(ours) } else { holder() },
            ack: if owed { AckState::Owed } else { AckState::Settled },
            requested_by_peer: if ours > 0 { asked.contains(ours) } else { asked_ids.contains(&named.id) },
            offered_by_peer: named.theirs.is_some_and(|theirs| offered.contains_key(&theirs)),
            requested: self.wants.is_asked(&named.id, peer),
            in_flight: in_flight.get(&ours).map_or(InFlight::Nothing, |sent| sent.kind),
        }
    }

    fn keep(&mut self, peer: PeerNum, group: GroupNum, named: &Named, before: Facts, after: Facts) {
        let ours = named.ours();
        let mut released = None;
        if let Some(pair) = self.pair_mut(peer, group) {
            if ours > 0 && before.peer_has != after.peer_has {
                if after.peer_has {
                    pair.has.insert(ours);
                    pair.has_grew = true;
                    pair.session.again.remove(ours);
                } else {
                    pair.has.remove(ours);
                    pair.settled_to = pair.settled_to.min(ours.saturating_sub(1));
                    pair.session.again.insert(ours);
                }
            }
            if after.ack == AckState::Owed {
                match named.theirs {
                    // A peer that sends and never reads cannot make these grow without end; what is left out is
                    // stated at the next contact, or acknowledged when it is offered again.
                    Some(theirs) => {
                        pair.note_got(Span::one(theirs));
                        if pair.session.acks.span_count() < MAX_OWED {
                            pair.session.acks.insert(theirs);
                            pair.session.last_owed = Some((theirs, named.id));
                        }
                    }
                    None => {
                        let ids = &mut pair.session.ack_ids;
                        if ids.len() < MAX_OWED {
                            ids.push_back(named.id);
                        }
                    }
                }
            }
            let session = &mut pair.session;
            if before.in_flight != after.in_flight && after.in_flight == InFlight::Nothing {
                released = session.in_flight.remove(&ours);
                if let Some(sent) = released.as_ref().filter(|_| after.peer_has) {
                    pair.repeats.confirm(ours, sent);
                }
            }
            if !before.requested_by_peer && after.requested_by_peer {
                if ours > 0 && after.hold == Hold::Held {
                    session.asked.insert(ours);
                } else if after.hold == Hold::Held {
                    session.asked_ids.push_back(named.id);
                } else {
                    session.unavailable_ids.push_back(named.id);
                }
            }
            if before.requested_by_peer && !after.requested_by_peer {
                session.asked.remove(ours);
                session.asked_ids.remove(&named.id);
            }
        }
        if let Some(sent) = released {
            self.release(&sent);
        }
        if ours == 0
            && let Some(row) = named.row
            && after.hold == Hold::Held
            && after.peer_has
        {
            let session = self.peers.get(&peer).map_or(0, |state| state.session);
            let holders = self.holders.entry(row.num).or_default();
            holders.retain(|(known, since)| *known != peer || *since == session);
            if !holders.contains(&(peer, session)) {
                holders.push((peer, session));
            }
        }
        if before.peer_has != after.peer_has {
            self.grown_pairs.insert((peer, group));
        }
        self.changed_pairs.insert((peer, group));
        self.wake(peer, group);
    }

    /// Gives back the room that something under way took on its link.
    pub(super) fn release(&mut self, sent: &Sent) {
        let Some(link) = self.links.get_mut(&sent.link) else { return };
        match sent.kind {
            InFlight::Message => {
                link.in_flight_bytes = link.in_flight_bytes.saturating_sub(u64::from(sent.bytes));
            }
            InFlight::Offer => link.open_offers = link.open_offers.saturating_sub(1),
            InFlight::Nothing => {}
        }
        // Offers are counted over all links to the peer.
        let peer = link.peer;
        for id in self.peers.get(&peer).into_iter().flat_map(|peer| peer.links.iter()) {
            if let Some(link) = self.links.get_mut(id)
                && !link.queued
            {
                link.queued = true;
                self.link_queue.push_back(*id);
            }
        }
    }
}
