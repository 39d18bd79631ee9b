//! What becomes of the contents of frames on lossy links.

use std::collections::BTreeSet;

use hedgerow_proto::Visibility;

use super::GROUPS_PER_FRAME;
use crate::engine::lossy::Item;
use crate::engine::{Engine, LinkId};
use crate::record::InFlight;
use crate::store::{GroupNum, PeerNum, Store};

impl<S: Store> Engine<S> {
    /// The peer has processed what was in a frame.
    pub(in crate::engine) fn items_arrived(&mut self, id: LinkId, items: Vec<Item>) {
        for item in items {
            if item == Item::Hello
                && let Some(link) = self.links.get_mut(&id)
            {
                link.hello_arrived = true;
            }
            if let Item::Announce { group, number, reset, .. } = item
                && let Some(link) = self.links.get_mut(&id)
            {
                if let Some(name) = link.ours.get_mut(&group).filter(|name| name.number == number) {
                    name.reset &= !reset;
                    name.usable = !name.reset;
                }
                link.mark(group);
                self.wake_link(id);
            }
        }
    }

    /// What the next frame of a lossy link says although it may have been heard: what is small, while answers stay
    /// out; and what a peer must have heard before it can understand the rest, as long as it is not known to have.
    pub(super) fn say_again(&mut self, id: LinkId) {
        let Some(lossy) = self.links.get_mut(&id).and_then(|link| link.lossy.as_mut()) else { return };
        let (announces, others): (Vec<Item>, Vec<Item>) =
            lossy.again().into_iter().partition(|item| matches!(item, Item::Announce { .. }));
        // What is known to have arrived is not among them.
        self.items_lost(id, others);
        let Some(link) = self.links.get(&id) else { return };
        let unheard = |group: &GroupNum| link.ours.get(group).is_some_and(|name| !name.usable);
        let mut groups: BTreeSet<GroupNum> = announces
            .iter()
            .filter_map(|item| if let Item::Announce { group, .. } = item { Some(*group) } else { None })
            .filter(unheard)
            .collect();
        let mut hello = false;
        if link.is_ready() && !link.names_in_vain {
            let waiting = link.ready.iter().take(GROUPS_PER_FRAME).copied();
            let may_go = |group: &GroupNum| link.ours.get(group).is_none_or(|n| !n.usable && !n.reset);
            for group in waiting.filter(|group| may_go(group) && self.has_urgent(link.peer, *group)) {
                hello = true;
                groups.insert(group);
            }
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.announce_again.extend(groups);
            link.hello_due |= hello && !link.hello_arrived;
        }
    }

    /// Whether there is something for a peer that does not wait for its names to be known.
    pub(super) fn has_urgent(&self, peer: PeerNum, group: GroupNum) -> bool {
        let (Some(state), Some(pair)) =
            (self.groups.get(&group), self.peers.get(&peer).and_then(|peer| peer.groups.get(&group)))
        else {
            return false;
        };
        let session = &pair.session;
        let taken = session.theirs.is_some_and(|theirs| theirs != Visibility::Invisible);
        let lacking = pair.has.first_absent_of_both(&state.gone, session.next.max(1)) <= state.head;
        let news = lacking || !session.again.is_empty() || !session.asked.is_empty();
        let answers = !session.acks.is_empty() || !session.to_request.is_empty();
        answers || (news && taken && pair.visibility == Visibility::Shared)
    }

    /// What was in a lost frame is due again, unless it has become needless.
    pub(in crate::engine) fn items_lost(&mut self, id: LinkId, items: Vec<Item>) {
        for item in items {
            let Some(link) = self.links.get_mut(&id) else { return };
            let peer = link.peer;
            let group = match item {
                Item::Hello => {
                    link.hello_due = !link.hello_arrived;
                    continue;
                }
                Item::Announce { group, .. } => {
                    link.announce_due.insert(group);
                    continue;
                }
                Item::Farewell(number, tag) => {
                    link.farewells.push_back((number, tag));
                    continue;
                }
                Item::Ack { group, .. }
                | Item::Sent { group, .. }
                | Item::Answer { group, .. }
                | Item::Request { group, .. }
                | Item::CallBack { group, .. }
                | Item::Unavailable { group, .. } => group,
            };
            // What was asked for under a stand-in may be known by its id now.
            let asked = match &item {
                Item::Request { id, theirs, .. } => {
                    let session = self.pair_mut(peer, group).map(|pair| &pair.session);
                    let noted = theirs.and_then(|theirs| session?.offered.get(&theirs)).copied();
                    Some(noted.unwrap_or(*id)).filter(|id| self.wants.is_asked(id, peer))
                }
                _ => None,
            };
            let Some(allowance) = self.groups.get(&group).map(|group| self.allowance(group)) else {
                continue;
            };
            let Some(pair) = self.pair_mut(peer, group) else { continue };
            let session = &mut pair.session;
            let mut lost = None;
            match item {
                Item::Ack { held, known, ids, duplicates, .. } => {
                    held.into_iter().for_each(|span| session.acks.insert_span(span));
                    known.into_iter().for_each(|span| session.known.insert_span(span));
                    session.ack_ids.extend(ids);
                    session.duplicates = session.duplicates.saturating_add(duplicates);
                }
                // It may have been sent again since, in another frame or over another link.
                Item::Sent { position, frame, .. }
                    if session.in_flight.get(&position).is_some_and(|s| s.link == id && s.frame == frame) =>
                {
                    lost = session.in_flight.remove(&position);
                    if let Some(sent) = &lost {
                        pair.repeats.unsay(position, sent, allowance);
                    }
                    if lost.is_some_and(|sent| sent.kind == InFlight::Message) {
                        // Not offered instead: whoever asked for it would wait for the body.
                        session.asked.insert(position);
                    } else {
                        session.again.insert(position);
                    }
                }
                Item::Answer { id, .. } => session.asked_ids.push_back(id),
                Item::Request { theirs, .. } => {
                    let Some(id) = asked else { continue };
                    let theirs = theirs.filter(|theirs| session.offered.get(theirs) == Some(&id));
                    session.to_request.push_back_with(id, theirs);
                    self.wants.set_said(&id, false);
                }
                Item::CallBack { positions, .. } => {
                    let open = positions.into_iter().flat_map(|span| span.first..=span.last);
                    for position in open {
                        if session.called_back.remove(position) {
                            session.turned_away.insert(position);
                        }
                    }
                }
                Item::Unavailable { positions, ids, .. } => {
                    positions.into_iter().for_each(|span| session.unavailable.insert_span(span));
                    session.unavailable_ids.extend(ids);
                }
                _ => {}
            }
            if let Some(sent) = lost {
                self.release(&sent);
            }
            self.wake(peer, group);
        }
    }
}
