//! Room for what waits. A peer has a share of its own in every limit, so that nothing another peer sends can turn
//! away what comes within it; what is over the shares takes from a common rest.
//!
//! What a held message takes follows from its row, and a row keeps who sent it; a dependency that is not even held is
//! counted for the peer whose message named it first. So the account is the same after a restart.

use hedgerow_proto::limits;

use super::Engine;
use super::state::Group;
use crate::config::Config;
use crate::error::EngineError;
use crate::seeded::SeededMap;
use crate::small::SmallMap;
use crate::store::{GroupNum, MessageNum, MessageRow, MessageState, PeerNum, Store};

/// How many kinds of room there are.
const KINDS: usize = 6;

/// Room, taken or given: messages that wait for dependencies or their time; their bytes; the dependencies that they
/// lack; messages that wait for a verdict; their bytes; dependencies that are not held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Load([u64; KINDS]);

impl Load {
    /// Whether a message in this state takes nothing, as most do: they are delivered.
    fn is_none_in(state: MessageState) -> bool {
        !matches!(
            state,
            MessageState::Unvalidated | MessageState::Waiting | MessageState::Early | MessageState::Lapsed
        )
    }

    /// What a message takes as it stands. One that only waits for its verdict takes none of the room of those that
    /// wait for others: it may be what they wait for.
    pub(super) fn of(row: &MessageRow, max_clock_skew_ms: u64) -> Self {
        if Self::is_none_in(row.state) {
            return Self::default();
        }
        let unvalidated = row.state == MessageState::Unvalidated;
        let waits = match row.state {
            MessageState::Waiting | MessageState::Early | MessageState::Lapsed => true,
            MessageState::Unvalidated => {
                row.missing > 0 || row.timestamp_ms > (row.arrived + max_clock_skew_ms).as_timestamp_ms()
            }
            _ => false,
        };
        let bytes = if row.state.has_body() { u64::from(row.body_len) } else { 0 };
        let (waits, judged) = (u64::from(waits), u64::from(unvalidated));
        Self([waits, waits * bytes, waits * u64::from(row.missing), judged, judged * bytes, 0])
    }

    /// The most that one message can take.
    pub(super) fn largest(judged: bool) -> Self {
        let (bytes, judged) = (limits::MAX_BODY as u64, u64::from(judged));
        let deps = limits::MAX_DEPS as u64;
        Self([1, bytes, deps, judged, judged * bytes, deps])
    }

    /// The same, with so many dependencies that were never heard of.
    pub(super) fn naming(mut self, unheard: u64) -> Self {
        let [.., wanted] = &mut self.0;
        *wanted = unheard;
        self
    }

    /// All the room of a group, beside what is reserved.
    fn limits(config: &Config) -> Self {
        Self([
            config.max_parked_messages,
            config.max_parked_bytes,
            config.max_parked_deps,
            config.max_unvalidated,
            config.max_parked_bytes,
            config.max_wanted,
        ])
    }

    #[inline]
    fn map2(self, other: Self, f: impl Fn(u64, u64) -> u64) -> Self {
        let mut out = self;
        out.0.iter_mut().zip(other.0).for_each(|(to, from)| *to = f(*to, from));
        out
    }

    fn plus(self, other: Self) -> Self {
        self.map2(other, u64::saturating_add)
    }

    /// What is left when the other is taken away.
    fn over(self, other: Self) -> Self {
        self.map2(other, u64::saturating_sub)
    }
}

/// What waits in one group, by the peer that it came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Quota {
    by_peer: SmallMap<PeerNum, Load>,
    /// For whom each dependency is counted that is not held.
    wanted: SeededMap<MessageNum, PeerNum>,
}

impl Quota {
    /// A message waits, or no longer, as its row stands.
    pub(super) fn change(&mut self, before: Option<&MessageRow>, after: Option<&MessageRow>, skew_ms: u64) {
        if before.is_none_or(|row| Load::is_none_in(row.state))
            && after.is_none_or(|row| Load::is_none_in(row.state))
        {
            return;
        }
        let load = |row: Option<&MessageRow>| row.map_or(Load::default(), |row| Load::of(row, skew_ms));
        let (gone, come) = (load(before), load(after));
        if gone == come {
            return;
        }
        // What was written here never waits.
        let Some(origin) = after.or(before).and_then(|row| row.origin) else { return };
        self.book(origin, come, gone);
    }

    fn book(&mut self, peer: PeerNum, come: Load, gone: Load) {
        let taken = self.by_peer.or_default(peer);
        let mut any = 0;
        for ((taken, come), gone) in taken.0.iter_mut().zip(come.0).zip(gone.0) {
            *taken = taken.saturating_add(come).saturating_sub(gone);
            any |= *taken;
        }
        if any == 0 {
            self.by_peer.remove(&peer);
        }
    }

    /// A row for a dependency that is not held was made for a message of this peer.
    pub(super) fn want(&mut self, num: MessageNum, peer: PeerNum) {
        if self.wanted.insert(num, peer).is_none() {
            self.book(peer, Load::default().naming(1), Load::default());
        }
    }

    /// It came, or nothing that is held depends on it any more.
    pub(super) fn unwant(&mut self, num: MessageNum) {
        if let Some(peer) = self.wanted.remove(&num) {
            self.book(peer, Load::default(), Load::default().naming(1));
        }
    }

    /// For whom a dependency that is not held is counted.
    #[cfg(feature = "testing")]
    pub(super) fn who_wants(&self, num: MessageNum) -> Option<PeerNum> {
        self.wanted.get(&num).copied()
    }

    /// How many peers there are whose messages wait.
    pub(super) fn peers(&self) -> u64 {
        self.by_peer.len() as u64
    }

    /// How many messages of a peer wait for dependencies or their time, and for a verdict.
    pub(super) fn messages_of(&self, peer: PeerNum) -> (u64, u64) {
        let [parked, _, _, unvalidated, ..] = self.by_peer.get(&peer).copied().unwrap_or_default().0;
        (parked, unvalidated)
    }

    /// Whether a peer's message lies within one of so many parts of all room, as most do.
    fn is_within(&self, peer: PeerNum, load: Load, all: Load, parts: u64) -> bool {
        let own = self.by_peer.get(&peer).copied().unwrap_or_default();
        let kinds = load.0.iter().zip(own.0).zip(all.0);
        kinds.into_iter().all(|((&takes, own), all)| takes == 0 || own.saturating_add(takes) <= all / parts)
    }

    /// Whether a peer's message finds room. Each kind of room is looked at alone: first in the peer's share, which
    /// only itself can fill, then in the rest.
    fn fits(&self, peer: PeerNum, load: Load, all: Load, share: Load) -> bool {
        let own = self.by_peer.get(&peer).copied().unwrap_or_default();
        let beyond = own.plus(load).over(share);
        // Of a kind that the message takes nothing of, there may be too little.
        let from_rest = load.map2(beyond, |takes, beyond| if takes > 0 { beyond } else { 0 });
        if from_rest == Load::default() {
            return true;
        }
        let others = self.by_peer.iter().filter(|(of, _)| **of != peer);
        let rest = others.fold(Load::default(), |sum, (_, taken)| sum.plus(taken.over(share)));
        let lacks = rest.plus(from_rest).over(all);
        from_rest.map2(lacks, |takes, lacks| if takes > 0 { lacks } else { 0 }) == Load::default()
    }

    /// How many messages of a peer find room to wait for a verdict, if they are small.
    fn verdicts_free(&self, peer: PeerNum, all: Load, share: Load) -> u64 {
        let count = |Load([_, _, _, judged, ..]): Load| judged;
        let own = self.by_peer.get(&peer).copied().unwrap_or_default();
        let taken = self.by_peer.values().map(|taken| count(taken.over(share))).fold(0, u64::saturating_add);
        count(share.over(own)).saturating_add(count(all).saturating_sub(taken))
    }
}

impl<S: Store> Engine<S> {
    /// Whether what a peer sent finds room in a group; `last`: even if it is the last that does.
    ///
    /// Whatever waits may wait for the lowest position that a peer's messages were turned away at, and that one for
    /// what nobody holds any more. Who keeps it learns what that is, and can ask for it; so each peer may have one
    /// message beyond the bounds.
    pub(super) fn has_room_for(&self, peer: PeerNum, group: GroupNum, load: Load, last: bool) -> bool {
        if load == Load::default() {
            return true;
        }
        let Some(group) = self.groups.get(&group) else { return false };
        let (all, parts) = self.room_and_parts(group);
        if group.quota.is_within(peer, load, all, parts) {
            return true;
        }
        let share = Load(all.0.map(|limit| limit / parts));
        let largest = Load::largest(group.judged);
        group.quota.fits(peer, load, all, share)
            || (last && group.quota.fits(peer, load, all, share.plus(largest)))
    }

    /// All the room of a group, and how many parts of it are peers' own.
    fn room_and_parts(&self, group: &Group) -> (Load, u64) {
        (Load::limits(&self.config), self.config.peer_shares.max(group.peers.len() as u64).max(1))
    }

    /// How many messages of a peer can be taken at a time: as many as find room to wait for their verdicts.
    pub(super) fn verdict_room(&self, peer: PeerNum, group: GroupNum) -> u64 {
        let Some(group) = self.groups.get(&group).filter(|group| group.judged) else { return u64::MAX };
        let (all, parts) = self.room_and_parts(group);
        group.quota.verdicts_free(peer, all, Load(all.0.map(|limit| limit / parts)))
    }

    /// Whether any message that comes from a peer can be kept, even if it must wait.
    pub(super) fn has_parking_room(&self, peer: PeerNum, group: GroupNum) -> bool {
        let Some(state) = self.groups.get(&group) else { return false };
        self.has_room_for(peer, group, Load::largest(state.judged), false) && self.has_room_under_caps(state)
    }

    /// Counts a dependency that is not held, once its row and who waits for it are in the store. Returns for whom.
    pub(super) fn count_wanted(&mut self, row: &MessageRow) -> Result<Option<PeerNum>, EngineError> {
        let first = self.children(row.num, MessageNum(0), 1)?;
        let child = first.first().map(|&child| self.store.row(child)).transpose()?.flatten();
        let origin = child.and_then(|child| child.origin);
        if let Some(peer) = origin
            && let Some(group) = self.groups.get_mut(&row.group)
        {
            group.quota.want(row.num, peer);
        }
        Ok(origin)
    }

    /// A held message's row changed in a way that may change what it takes.
    pub(super) fn recount(&mut self, before: &MessageRow, after: &MessageRow) {
        let skew_ms = self.config.max_clock_skew_ms;
        if let Some(group) = self.groups.get_mut(&after.group) {
            group.quota.change(Some(before), Some(after), skew_ms);
        }
    }
}
