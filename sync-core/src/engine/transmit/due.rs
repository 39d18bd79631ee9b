//! What is due to a peer next, and through which link.

use hedgerow_proto::{Span, Visibility};

use crate::config::PushPolicy;
use crate::engine::state::PeerGroup;
use crate::engine::{Engine, LinkId};
use crate::event::Event;
use crate::store::{GroupNum, MessageRow, PeerNum, Store};

impl<S: Store> Engine<S> {
    /// Whether another link to a peer is up that can carry a record of this size.
    pub(in crate::engine) fn has_wider_link(&self, peer: PeerNum, group: GroupNum, size: usize) -> bool {
        let scheme = self.groups.get(&group).map(|group| group.scheme);
        let links = self.peers.get(&peer).into_iter().flat_map(|peer| peer.links.iter());
        let mut links = links.filter_map(|id| self.links.get(id));
        links.any(|link| link.is_ready() && Some(link.scheme) == scheme && link.record_room() >= size)
    }

    /// The next of our positions that the peer may lack and that nothing is under way for; with its size if it
    /// was too large for another link, where it was to be sent or was asked for: it is not offered again.
    pub(in crate::engine) fn next_due(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
    ) -> Option<(u64, Option<usize>)> {
        let state = self.groups.get(&group)?;
        let (head, gone) = (state.head, &state.gone);
        let record_room = self.links.get(&id)?.record_room();
        let stuck = !self.may_repeat(peer, group);
        let pair = self.peers.get_mut(&peer)?.groups.get_mut(&group)?;
        let theirs = pair.session.theirs.unwrap_or(Visibility::Invisible);
        if pair.visibility != Visibility::Shared || theirs == Visibility::Invisible {
            return None;
        }
        let PeerGroup { session, has, repeats, .. } = pair.as_mut();
        // What was said before waits for the allowance, and what was not goes on.
        let but = stuck.then(|| repeats.shown());
        let again = loop {
            let again = match but {
                Some(shown) => session.again.first_outside(shown, 1),
                None => session.again.first(),
            };
            match again {
                Some(position) if session.is_dealt_with(has, gone, position) => {
                    session.again.remove(position);
                }
                _ => break again,
            }
        };
        let large = loop {
            let large = session.first_large(record_room, but).map(|(position, _)| position);
            match large {
                Some(position) if session.is_dealt_with(has, gone, position) => {
                    session.too_large.remove(&position);
                }
                _ => break large,
            }
        };
        let fresh = loop {
            session.next = has.first_absent_of_both(gone, session.next.max(1));
            if session.next > head {
                break None;
            }
            if let Some(shown) = but.filter(|shown| shown.contains(session.next)) {
                let last = (shown.first_absent(session.next) - 1).min(head);
                session.again.insert_span(Span { first: session.next, last });
                session.next = last + 1;
                continue;
            }
            if !session.is_dealt_with(has, gone, session.next)
                && !session.too_large.contains_key(&session.next)
            {
                break Some(session.next);
            }
            session.next += 1;
        };
        // The lowest first: the others may depend on it.
        let first = [again, large, fresh].into_iter().flatten().min()?;
        if fresh == Some(first) {
            session.next = first + 1;
        }
        session.again.remove(first);
        let size = session.too_large.remove(&first);
        Some((first, size))
    }

    /// Whether a message is better sent at once than offered: when the peer most likely lacks it. `alone` are
    /// positions that were found to be held by no peer, and is kept from one message to the next.
    pub(in crate::engine) fn prefers_push(
        &self,
        id: LinkId,
        peer: PeerNum,
        row: &MessageRow,
        alone: &mut Option<Span>,
    ) -> bool {
        let Some(link) = self.links.get(&id) else { return false };
        match link.profile.push {
            PushPolicy::Always => true,
            PushPolicy::OfferFirst => false,
            PushPolicy::Adaptive => {
                let pair = self.peers.get(&peer).and_then(|state| state.groups.get(&row.group));
                let Some(session) = pair.map(|pair| &pair.session) else { return false };
                if session.lacks_everything() || session.surely_lacks.contains(row.position) {
                    return true;
                }
                // Whoever has it may have given it to the peer.
                row.origin.is_none() && session.lacks >= 0 && {
                    if alone.is_none_or(|span| !(span.first..=span.last).contains(&row.position)) {
                        *alone = self.held_by_nobody(row.group, row.position);
                    }
                    alone.is_some()
                }
            }
        }
    }

    /// The positions from this one on of which no peer is known to hold any; `None` if one holds this one.
    fn held_by_nobody(&self, group: GroupNum, position: u64) -> Option<Span> {
        let mut end = u64::MAX;
        for peer in self.groups.get(&group)?.peers.iter() {
            let pair = self.peers.get(peer).and_then(|state| state.groups.get(&group));
            if let Some(held) = pair.and_then(|pair| pair.has.first_from(position)) {
                end = end.min(held);
            }
            if end == position {
                return None;
            }
        }
        Some(Span { first: position, last: end - 1 })
    }

    pub(in crate::engine) fn has_in_flight_room(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|link| link.in_flight_bytes < self.config.max_in_flight_bytes)
    }

    /// A message does not fit through this link: it waits for another, and the others go on.
    pub(in crate::engine) fn too_large(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group_num: GroupNum,
        row: &MessageRow,
        size: usize,
    ) {
        if let Some(pair) = self.pair_mut(peer, group_num)
            && row.position > 0
        {
            pair.session.put_off(size, row.position);
            pair.session.again.remove(row.position);
            self.wake(peer, group_num);
        }
        // Once for each link: a peer that waits for it asks for it again and again.
        let first = self.links.get_mut(&id).is_some_and(|link| link.large_told.insert(row.num));
        if let (true, Some(group), Some(peer)) = (first, self.groups.get(&group_num), self.peers.get(&peer)) {
            self.events.push_back(Event::TooLarge { link: id, peer: peer.id, group: group.id, id: row.id });
        }
    }
}
