//! What becomes of the contents of frames on lossy links.

use crate::engine::lossy::Item;
use crate::engine::{Engine, LinkId};
use crate::record::InFlight;
use crate::store::Store;

impl<S: Store> Engine<S> {
    /// The peer has processed what was in a frame.
    pub(in crate::engine) fn items_arrived(&mut self, id: LinkId, items: Vec<Item>) {
        for item in items {
            if item == Item::Hello
                && let Some(link) = self.links.get_mut(&id)
            {
                link.hello_arrived = true;
            }
            if let Item::Announce(group, number, reset) = item
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
                Item::Announce(group, ..) => {
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
            let asked = match &item {
                Item::Request { id, .. } => self.wants.is_asked(id, peer),
                _ => false,
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
                        pair.repeats.unsay(position, sent);
                    }
                    if lost.is_some_and(|sent| sent.kind == InFlight::Message) {
                        // Not offered instead: whoever asked for it would wait for the body.
                        session.asked.insert(position);
                    } else {
                        session.again.insert(position);
                    }
                }
                Item::Answer { id, .. } => session.asked_ids.push_back(id),
                Item::Request { id, .. } if asked => {
                    let theirs = session.offered.iter().find(|(_, offered)| **offered == id).map(|(&p, _)| p);
                    session.to_request.push_back((id, theirs));
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
