//! What was offered by a short id goes by its own id once that is known.

use hedgerow_proto::MessageId;

use super::{Engine, Store};
use crate::engine::Timer;

impl<S: Store> Engine<S> {
    /// A message that is awaited under a stand-in is known by its id now.
    pub(in crate::engine) fn rename_want(&mut self, stand_in: &MessageId, id: MessageId) {
        let Some(want) = self.wants.map.remove(stand_in) else { return };
        let group = want.group;
        self.note_unwanted(group, stand_in);
        if let Some(at) = want.timer {
            self.timers.remove(&(at, Timer::Want(*stand_in)));
        }
        if let Some(ids) = self.wants.by_group.get_mut(&group) {
            ids.remove(stand_in);
            if ids.is_empty() {
                self.wants.by_group.remove(&group);
            }
        }
        let other = self.wants.map.get(&id).map(|other| other.group);
        let sources: Vec<_> =
            want.sources.iter().filter_map(|&(peer, theirs)| Some((peer, theirs?))).collect();
        let mut named = Vec::new();
        for &(peer, theirs) in &sources {
            let Some(state) = self.peers.get_mut(&peer) else { continue };
            state.forget(stand_in, None);
            let Some(pair) = state.groups.get_mut(&group) else { continue };
            if let Some(offered) = pair.session.offered.get_mut(&theirs).filter(|id| **id == *stand_in) {
                *offered = id;
            }
            if pair.session.unreckoned.rename(theirs, stand_in, id) {
                named.push(peer);
            }
            let to_request = &mut pair.session.to_request;
            if other.is_none() && to_request.contains(stand_in) {
                to_request.remove(stand_in);
                to_request.push_back_with(id, Some(theirs));
            }
        }
        named.into_iter().for_each(|peer| self.reckon(peer, group));
        if let Some(of) = other {
            if let Some(asked) = want.asked {
                self.answered(asked, group, stand_in);
            }
            for (peer, theirs) in sources {
                if of == group {
                    self.want_offered(id, group, peer, theirs);
                } else {
                    // Somebody is wrong about its group: it is asked for by its position here.
                    self.close_offer(peer, group, theirs);
                    self.turn_away(peer, group, theirs);
                }
            }
            return;
        }
        let at = want.timer;
        self.wants.by_group.entry(group).or_default().insert(id, ());
        self.wants.map.insert(id, super::Want { timer: None, ..want });
        self.note_wanted(group, &id);
        self.set_want_timer(id, at);
        self.dispatch(id);
    }
}
