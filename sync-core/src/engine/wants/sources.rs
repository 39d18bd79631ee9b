//! Who may have what is awaited: offers that end, sessions that begin and end, logs that have grown.

use std::ops::Bound;

use hedgerow_proto::MessageId;

use super::{AGAIN, Engine, GroupNum, MAX_SOURCES, PeerNum, Store, Time, Tried};

impl<S: Store> Engine<S> {
    /// An offer is answered.
    pub(in crate::engine) fn close_offer(&mut self, peer: PeerNum, group: GroupNum, theirs: u64) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        if let Some(pair) = state.groups.get_mut(&group)
            && pair.session.offered.remove(&theirs).is_some()
        {
            state.offered = state.offered.saturating_sub(1);
        }
    }

    /// A peer's session in a group is over: it cannot be asked, and its offers are void.
    pub(in crate::engine) fn drop_sources(&mut self, peer: PeerNum, group: GroupNum) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let Some(pair) = state.groups.get_mut(&group) else { return };
        let offered = std::mem::take(&mut pair.session.offered);
        state.offered = state.offered.saturating_sub(offered.len());
        for id in self.wants.of_group(group) {
            let want = self.wants.map.get(&id);
            if want.is_some_and(|want| want.sources.iter().any(|(source, _)| *source == peer)) {
                self.want_refused(id, peer);
            }
        }
    }

    /// A peer's log has grown: of what it did not have when it was asked it may know now that it is gone. (What it
    /// has it offers.) The same message is looked for at longer and longer intervals.
    pub(in crate::engine) fn look_again(&mut self, peer: PeerNum, group: GroupNum) {
        if !self.takes_gaps() || !self.may_serve(peer, group) {
            return;
        }
        let least = MessageId::from_bytes([0; 32]);
        let after = self.wants.again_after.filter(|(of, _)| *of == group).unwrap_or((group, least));
        let of_group = |(of, _): &&(GroupNum, MessageId)| *of == group;
        let behind =
            self.wants.exhausted.range((Bound::Excluded(after), Bound::Unbounded)).take_while(of_group);
        let before = self.wants.exhausted.range((group, least)..=after);
        let ids: Vec<_> = behind.chain(before).take(AGAIN).copied().collect();
        self.wants.again_after = ids.last().copied();
        for (_, id) in ids {
            let Some(want) = self.wants.map.get_mut(&id).filter(|want| want.needed) else { continue };
            if want.sources.len() >= MAX_SOURCES || want.sources.iter().any(|(source, _)| *source == peer) {
                continue;
            }
            // Others that are to be asked again wait already.
            if want.sources.is_empty() {
                let (times, at) = want.again;
                want.not_before = want.not_before.max(at);
                let pause_ms = self.config.request_timeout_ms.max(1) << times.min(12);
                want.again = (times.saturating_add(1), self.now.max(at) + pause_ms);
            }
            want.sources.push_back((peer, None));
            self.dispatch(id);
        }
    }

    pub(super) fn is_claimed(&self, id: &MessageId) -> bool {
        self.wants.map.get(id).is_some_and(|want| want.claim.is_some())
    }

    /// A link to a peer went down: what it was asked over it is asked again.
    pub(in crate::engine) fn retry_wants_of(&mut self, peer: PeerNum, now: Time) {
        self.now = now;
        let mut asked: Vec<MessageId> =
            self.wants.map.iter().filter(|(_, want)| want.asked == Some(peer)).map(|(&id, _)| id).collect();
        asked.sort_unstable();
        for id in asked {
            if let Some(want) = self.wants.map.get_mut(&id) {
                want.asked = None;
                let group = want.group;
                self.answered(peer, group, &id);
            }
            self.dispatch(id);
        }
    }

    /// A peer shares a group with us now: it may have what is awaited there.
    pub(in crate::engine) fn add_source_to_wants(&mut self, peer: PeerNum, group: GroupNum) {
        if !self.may_serve(peer, group) {
            return;
        }
        for id in self.wants.of_group(group) {
            if let Some(want) = self.wants.map.get_mut(&id) {
                // What it left unanswered was another session's.
                if let Some(tried) = want.tried.get_mut(&peer) {
                    *tried = Tried::default();
                }
                let known = want.sources.iter().any(|(source, _)| *source == peer);
                if want.needed && want.sources.len() < MAX_SOURCES && !known {
                    want.sources.push_back((peer, None));
                }
            }
            self.dispatch(id);
        }
    }
}
