//! What became of a request: it was refused, unavailable, without room, answered, or a guess.

use hedgerow_proto::MessageId;

use super::{Engine, GroupNum, PeerNum, Store};
use crate::engine::Timer;
use crate::engine::state::Session;

impl<S: Store> Engine<S> {
    /// A peer says that it does not have what we asked it for, or offered.
    pub(in crate::engine) fn want_refused(&mut self, id: MessageId, peer: PeerNum) {
        let Some(want) = self.wants.map.get_mut(&id) else { return };
        let group = want.group;
        want.sources.retain(|(source, _)| *source != peer);
        if let Some(state) = self.peers.get_mut(&peer) {
            state.forget(&id, want.origin);
        }
        if want.asked == Some(peer) {
            want.asked = None;
            self.answered(peer, group, &id);
        }
        self.look_further(id);
        self.drop_if_idle(&id);
        self.dispatch(id);
    }

    /// A message came and could not be kept, for lack of room. If its position is known it is called back;
    /// if a held message depends on it, it is asked for again later.
    pub(in crate::engine) fn want_without_room(&mut self, id: MessageId, peer: PeerNum, has_position: bool) {
        let timeout = self.config.request_timeout_ms.max(1);
        let Some(want) = self.wants.map.get_mut(&id) else { return };
        if !want.needed && has_position {
            self.want_refused(id, peer);
        } else if want.asked == Some(peer) {
            let group = want.group;
            let moves = self.groups.get(&group).map_or(0, |g| g.moves);
            let times = if want.no_room.1 == moves { want.no_room.0 + 1 } else { 1 };
            want.asked = None;
            want.no_room = (times, moves);
            // Its offer is over, so that UNAVAILABLE for its position would not be heard: the id is asked for.
            for (_, theirs) in want.sources.iter_mut().filter(|(source, _)| *source == peer) {
                *theirs = None;
            }
            // Nothing moved since the last time: it would find no room again.
            want.not_before = self.now + (timeout << (times - 1).min(12));
            self.answered(peer, group, &id);
            self.dispatch(id);
        }
    }

    /// A peer says that it does not have what goes by this id.
    pub(in crate::engine) fn want_unavailable(&mut self, id: MessageId, peer: PeerNum) {
        let Some(want) = self.wants.map.get_mut(&id) else { return };
        if !want.sources.contains(&(peer, None)) {
            // It has offered it since.
            if want.asked != Some(peer) || !want.by_id {
                return;
            }
            want.asked = None;
            let group = want.group;
            self.answered(peer, group, &id);
            self.dispatch(id);
            return;
        }
        self.want_refused(id, peer);
    }

    /// A request to a peer is over, one way or another.
    pub(super) fn answered(&mut self, peer: PeerNum, group: GroupNum, id: &MessageId) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.requested = state.requested.saturating_sub(1);
        if let Some(pair) = state.groups.get_mut(&group) {
            pair.session.to_request.remove(id);
        }
        while let Some(state) = self.peers.get_mut(&peer)
            && state.requested < self.config.max_requests
            && let Some(next) = state.next_waiting()
        {
            self.dispatch(next);
        }
        self.guess(peer);
        let turned = self.peers.get_mut(&peer).map(|state| std::mem::take(&mut state.turned));
        for group in turned.unwrap_or_default() {
            let pair = self.pair_mut(peer, group);
            let open = |session: &Session| {
                !session.turned_away.is_empty()
                    || !session.called_back.is_empty()
                    || !session.turned_ids.is_empty()
            };
            if pair.is_some_and(|pair| open(&pair.session)) {
                self.peers.get_mut(&peer).map(|state| state.turned.insert(group));
                self.wake(peer, group);
            }
        }
    }

    /// A message has come from a peer: it answers, if it was asked for it.
    pub(in crate::engine) fn note_answer(&mut self, id: &MessageId, peer: PeerNum) {
        let Some(want) = self.wants.map.get(id) else { return };
        let asked = want.asked == Some(peer);
        if !asked && !want.tried.contains_key(&peer) {
            return;
        }
        let hit = asked && want.guessed;
        if let Some(state) = self.peers.get_mut(&peer) {
            // Whatever else it did not answer, it may now.
            state.answers += u64::from(state.unanswering);
            state.unanswering = false;
            let resting = std::mem::take(&mut state.resting);
            resting.into_iter().filter(|other| other != id).for_each(|other| self.dispatch(other));
        }
        if hit && let Some(state) = self.peers.get_mut(&peer) {
            // The timer that was set with the first guess stays, and finds nothing to do. An answer that comes after
            // it counts for nothing: there would be a guess without a timer.
            state.guesses = state.guesses.saturating_sub(1).max(state.guesses.min(1));
            self.guess(peer);
        }
    }

    /// A second is over: a peer may be asked for more on a guess.
    pub(in crate::engine) fn guess_timeout(&mut self, peer: PeerNum) {
        if let Some(state) = self.peers.get_mut(&peer) {
            state.guesses = 0;
            self.guess(peer);
        }
    }

    /// Asks a peer for more on a guess, as long as it may be.
    pub(super) fn guess(&mut self, peer: PeerNum) {
        while let Some(state) = self.peers.get_mut(&peer)
            && state.guesses < self.config.max_guesses
            && state.requested < self.config.max_requests
            && let Some(next) = state.next_guess()
        {
            self.dispatch(next);
        }
    }

    /// The message has come: nobody is asked any more. Returns who offered it, in which group, and with their
    /// positions.
    pub(in crate::engine) fn take_want(&mut self, id: &MessageId) -> Vec<(PeerNum, GroupNum, u64)> {
        if self.wants.map.is_empty() {
            return Vec::new();
        }
        let Some(want) = self.wants.map.remove(id) else { return Vec::new() };
        if let Some(at) = want.timer {
            self.timers.remove(&(at, Timer::Want(*id)));
        }
        self.note_unwanted(want.group, id);
        self.wants.exhausted.remove(&(want.group, *id));
        if let Some(ids) = self.wants.by_group.get_mut(&want.group) {
            ids.remove(id);
            if ids.is_empty() {
                self.wants.by_group.remove(&want.group);
            }
        }
        for (peer, _) in &want.sources {
            if let Some(state) = self.peers.get_mut(peer) {
                state.forget(id, want.origin);
            }
        }
        if let Some(peer) = want.asked {
            self.answered(peer, want.group, id);
        }
        want.sources.into_iter().filter_map(|(peer, theirs)| Some((peer, want.group, theirs?))).collect()
    }

    /// Nothing held depends on the message any more; who offered it still does.
    pub(in crate::engine) fn forget_want(&mut self, id: &MessageId) {
        if let Some(want) = self.wants.map.get_mut(id) {
            want.needed = false;
            for (peer, _) in want.sources.iter().filter(|(_, theirs)| theirs.is_none()) {
                if let Some(state) = self.peers.get_mut(peer) {
                    state.forget(id, want.origin);
                }
            }
            want.sources.retain(|(_, theirs)| theirs.is_some());
        }
        self.drop_if_idle(id);
    }

    pub(super) fn drop_if_idle(&mut self, id: &MessageId) {
        if self.wants.map.get(id).is_some_and(|want| !want.needed && want.sources.is_empty()) {
            self.take_want(id);
        }
    }
}
