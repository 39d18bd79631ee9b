//! What a peer sends when there is no room for it is turned away, its position noted, and called back when there is
//! room: within a session the peer does not send it again by itself.

use hedgerow_proto::{Span, Visibility};

use super::Engine;
use super::state::Peer;
use super::transmit::{Draft, ID_SIZE, RECORD_OVERHEAD};
use crate::spanset::SpanSet;
use crate::store::{GroupNum, PeerNum, Store};

/// How many separate spans of a peer's positions are noted, at most. What is left out comes with a later session.
pub(super) const MAX_TURNED_AWAY: usize = 16_384;

impl<S: Store> Engine<S> {
    /// Notes a position of the peer that came when there was no room for it.
    pub(super) fn turn_away(&mut self, peer: PeerNum, group: GroupNum, theirs: u64) {
        let moves = self.groups.get(&group).map_or(0, |g| g.moves);
        self.store_full |= !self.has_room_in_store();
        let Some(pair) = self.pair_mut(peer, group) else { return };
        let session = &mut pair.session;
        if session.called_back.contains(theirs) {
            session.came_back(Span::one(theirs));
            session.turned_at = Some((theirs, moves));
        }
        if session.turned_away.span_count() < MAX_TURNED_AWAY {
            session.turned_away.insert(theirs);
        }
        self.peers.get_mut(&peer).map(|state| state.turned.insert(group));
        self.wake(peer, group);
    }

    /// Whether a message was asked for again although there is no room, for nothing below it was turned away.
    pub(super) fn is_lowest_called_back(&self, peer: PeerNum, group: GroupNum, theirs: Option<u64>) -> bool {
        let pair = self.peers.get(&peer).and_then(|state| state.groups.get(&group));
        let (Some(pair), Some(theirs)) = (pair, theirs) else { return false };
        let session = &pair.session;
        session.called_back.contains(theirs)
            && session.turned_away.first().is_none_or(|lowest| theirs < lowest)
    }

    /// Whether a peer's position was turned away and is asked for.
    pub(super) fn is_called_back(&self, peer: PeerNum, group: GroupNum, theirs: Option<u64>) -> bool {
        let pair = self.peers.get(&peer).and_then(|state| state.groups.get(&group));
        pair.zip(theirs).is_some_and(|(pair, theirs)| pair.session.called_back.contains(theirs))
    }

    /// What was turned away for lack of room and is asked for now.
    pub(super) fn call_back(
        &mut self,
        peer: PeerNum,
        group: GroupNum,
        opened: bool,
        draft: &mut Draft,
    ) -> Vec<Span> {
        let mut quota = self.call_back_quota(peer, group);
        let mut called = SpanSet::new();
        let Some(pair) = self.pair_mut(peer, group) else { return Vec::new() };
        let session = &mut pair.session;
        while quota > 0
            && let Some(position) = session.turned_away.pop_first()
        {
            let size = ID_SIZE + if opened || !called.is_empty() { 0 } else { RECORD_OVERHEAD };
            if !draft.take(size) {
                session.turned_away.insert(position);
                break;
            }
            session.called_back.insert(position);
            called.insert(position);
            quota -= 1;
        }
        called.spans().collect()
    }

    /// How many of the peer's positions that were turned away can be asked for now. Without room for what must
    /// wait, one at a time is tried, the lowest: what it depends on stands below it, so that it may be what
    /// everything waits for. One that comes in vain is not tried again before another message moved on.
    pub(super) fn call_back_quota(&self, peer: PeerNum, group_num: GroupNum) -> u64 {
        let (Some(state), Some(group)) = (self.peers.get(&peer), self.groups.get(&group_num)) else {
            return 0;
        };
        let Some(session) = state.groups.get(&group_num).map(|pair| &pair.session) else { return 0 };
        let Some(lowest) = session.turned_away.first() else { return 0 };
        if session.theirs != Some(Visibility::Shared) {
            return 0;
        }
        let open = session.called_back.len();
        let requests = (self.config.max_requests as u64).saturating_sub(state.requested as u64);
        // What finds no room is sent in vain, and the peer does not send it any number of times. Verdicts come whatever
        // else is held.
        let verdicts = self.verdict_room(peer, group_num);
        if verdicts == 0 || self.has_parking_room(peer, group_num) {
            return requests.min(verdicts).saturating_sub(open);
        }
        let news = session.turned_at.is_none_or(|(at, moves)| lowest < at || group.moves > moves);
        u64::from(news && open == 0)
    }

    /// There may be room in the store again, for what was turned away in any group.
    pub(super) fn note_store_room(&mut self) {
        if !self.store_full || !self.has_room_in_store() {
            return;
        }
        self.store_full = false;
        let turned = |(&peer, state): (&PeerNum, &Peer)| -> Vec<(PeerNum, GroupNum)> {
            state.turned.iter().map(|&group| (peer, group)).collect()
        };
        let turned: Vec<_> = self.peers.iter().flat_map(turned).collect();
        for (peer, group) in turned {
            if let Some(pair) = self.pair_mut(peer, group) {
                pair.session.turned_at = None;
            }
            self.wake(peer, group);
        }
    }

    /// What was called back has not come: it is called back again.
    pub(super) fn call_timeout(&mut self, peer: PeerNum, group: GroupNum) {
        let Some(pair) = self.pair_mut(peer, group) else { return };
        pair.session.call_timer = None;
        pair.session.calls_in_vain = pair.session.calls_in_vain.saturating_add(1);
        pair.session.call_back_again();
        self.wake(peer, group);
    }
}
