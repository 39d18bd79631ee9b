//! Two peers that do not know what they differ by in a group find it out, where that costs less than to offer
//! everything (`docs/protocol.md`, section 11).
//!
//! One side says symbols of its set, the other solves. While that runs, neither offers what is in its set; afterwards
//! each knows what the other lacks, and that it holds all the rest. Whatever goes wrong ends in offers.

mod say;
mod sets;
mod take;

use std::collections::{BTreeSet, VecDeque};

use hedgerow_proto::limits::{MAX_SHORT_ID, MIN_SHORT_ID, NONCE_LEN};
use hedgerow_proto::{Announce, Span, Visibility};

use self::sets::Set;
use super::state::{Group, PeerGroup};
use super::{Engine, LinkId, Timer};
use crate::error::EngineError;
use crate::reconcile::{Key, Sample, Sketch, Solver, symbols_for};
use crate::spanset::SpanSet;
use crate::store::{GroupNum, PeerNum, Store};
use crate::time::Time;

/// Under so many keys it is tried, one after the other.
const MAX_SALTS: u32 = 3;
/// The first salt of each is a multiple of this: what is under way of one before has another.
const SALTS_EACH: u32 = 4;
/// So many differences are expected where nothing is known.
const EXPECTED: u64 = 16;
/// Up to so many differences, a sample tells them well.
const COUNTED: u64 = 20;
/// Most symbols that are said before it is known of symbols how many are needed.
const MOST_AT_FIRST: u64 = 256;

/// A reconciliation with a peer in a group.
#[derive(Debug, Clone)]
pub(super) struct Run {
    /// The link that it runs over.
    link: LinkId,
    salt: u32,
    /// Every position of ours up to this one is in our set, or will be when it is made.
    snapshot: u64,
    role: Role,
    /// When it is given up, unless something comes or goes before.
    deadline: Time,
}

/// Our part in it.
#[derive(Debug, Clone)]
enum Role {
    /// The peer is to say symbols; `said`: it was asked to.
    Asking { said: bool },
    /// Symbols under another key are wanted, so many of them, to be said.
    Again { more: Option<u32> },
    /// We say symbols.
    Saying(Saying),
    /// We solve.
    Solving(Solving),
    /// We know, and say what we lack.
    Telling(Telling),
}

#[derive(Debug, Clone)]
struct Saying {
    set: Set<Sketch>,
    /// Symbols that are asked for and not said, in bytes.
    ready: VecDeque<u8>,
    /// The place of the first of these.
    first: u32,
    max_symbols: u32,
    /// What the peer said so far that it lacks: cut to so many bytes.
    lacks: BTreeSet<u64>,
    cut: u8,
}

#[derive(Debug, Clone)]
struct Solving {
    set: Set<Solver>,
    /// How many symbols are to come that were asked for.
    open: u32,
    /// How many more we want, to be said.
    more: Option<u32>,
}

#[derive(Debug, Clone)]
struct Telling {
    cut: u8,
    lacks: VecDeque<u64>,
}

impl<S: Store> Engine<S> {
    /// A peer announced a group: finds out what we differ by if that pays.
    pub(super) fn consider_reconcile(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        announce: &Announce,
        agreed: bool,
    ) -> Result<(), EngineError> {
        if let Some(run) = self.reconciles.get(&(peer, group)) {
            // It goes on, whatever was believed before.
            let next = run.snapshot + 1;
            if let Some(pair) = self.pair_mut(peer, group) {
                pair.session.next = next;
            }
            return Ok(());
        }
        let least = self.config.reconcile_from;
        let summary = announce.summary;
        let Some((state, pair)) = self.group_and_pair(peer, group) else { return Ok(()) };
        let theirs = summary.map_or(0, |summary| summary.count.saturating_sub(pair.got.len()));
        // Whoever says nothing of what it has either knows our log, or has next to nothing, or does not speak of this.
        let unclear = summary.is_some() || !agreed;
        let needed = unclear && (lacking(state, pair) > least || theirs > least);
        let head = state.head;
        if !needed || head <= least || !self.may_reconcile(id, peer, group, self.config.reconcile_interval_ms)
        {
            return Ok(());
        }
        let expected = match summary {
            Some(_) => {
                let expected = self.expected_difference(id, group, announce)?;
                if expected.saturating_mul(2) > head.max(summary.map_or(0, |summary| summary.count)) {
                    return Ok(());
                }
                expected
            }
            None => EXPECTED,
        };
        let Some(link) = self.links.get(&id) else { return Ok(()) };
        let theirs = link.hello.as_ref().map(|hello| hello.nonce);
        // Nothing is said to us before our HELLO, so that the peer has not begun.
        if link.hello_due || theirs.is_some_and(|theirs| link.nonce < theirs) {
            self.begin_anew(id, peer, group, first_for(expected))?;
        } else {
            self.set_run(id, peer, group, 0, head, Role::Asking { said: false });
        }
        Ok(())
    }

    /// Whether a reconciliation may begin now. `interval_ms`: how long after the one before.
    fn may_reconcile(&self, id: LinkId, peer: PeerNum, group: GroupNum, interval_ms: u64) -> bool {
        let Some(link) = self.links.get(&id) else { return false };
        let Some((state, pair)) = self.group_and_pair(peer, group) else { return false };
        let rested = pair.reconciled_at.is_none_or(|at| self.now >= at + interval_ms);
        link.caps.sessions
            && link.lossy.is_none()
            && link.hello.is_some()
            && self.config.reconcile_from < u64::MAX
            && pair.visibility == Visibility::Shared
            && link.stances.get(&group) == Some(&Visibility::Shared)
            && state.head > 0
            && rested
            && (self.reconciles.len() < self.config.max_reconciles || self.crowding(peer).is_some())
    }

    /// Where one more of a peer has no room: the one that gives way, the longest silent of whichever peer has most, if
    /// that one still has more than this peer afterwards. So a peer that is silent in many groups keeps out nobody else.
    fn crowding(&self, peer: PeerNum) -> Option<(PeerNum, GroupNum)> {
        let has = |peer: PeerNum| self.reconciles.keys().filter(|(of, _)| *of == peer).count();
        let (&(most, _), _) = self.reconciles.iter().max_by_key(|((of, _), _)| has(*of))?;
        if has(most) < has(peer) + 2 {
            return None;
        }
        let of_most = self.reconciles.iter().filter(|((of, _), _)| *of == most);
        of_most.min_by_key(|(_, run)| run.deadline).map(|(&pair, _)| pair)
    }

    fn group_and_pair(&self, peer: PeerNum, group: GroupNum) -> Option<(&Group, &PeerGroup)> {
        let pair = self.peers.get(&peer)?.groups.get(&group)?;
        Some((self.groups.get(&group)?, pair))
    }

    /// By how much our log and the peer's are likely to differ, as far as it said something of its own.
    fn expected_difference(
        &mut self,
        id: LinkId,
        group: GroupNum,
        announce: &Announce,
    ) -> Result<u64, EngineError> {
        let Some(summary) = announce.summary else { return Ok(EXPECTED) };
        let ours = self.sample_of(group)?;
        let nonce = self.links.get(&id).and_then(|link| link.hello.as_ref()).map(|hello| hello.nonce);
        let (Some(state), Some(nonce)) = (self.groups.get(&group), nonce) else { return Ok(EXPECTED) };
        let theirs = Sample(summary.sample ^ Announce::mask_of(&nonce, state.id));
        Ok(ours.difference(theirs).max(state.head.abs_diff(summary.count)))
    }

    /// The key of one salt for a link: of the nonces of the side that says symbols and of the other.
    fn reconcile_key(&self, id: LinkId, group: GroupNum, salt: u32, saying: bool) -> Option<Key> {
        let link = self.links.get(&id)?;
        let theirs: &[u8; NONCE_LEN] = &link.hello.as_ref()?.nonce;
        let (sayer, solver) = if saying { (&link.nonce, theirs) } else { (theirs, &link.nonce) };
        let group = self.groups.get(&group)?.id;
        Some(Key::new(hedgerow_proto::Reconcile::secret_of(sayer, solver, group, salt)))
    }

    /// Begins with a salt of its own.
    fn begin_anew(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        first: u64,
    ) -> Result<(), EngineError> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(()) };
        let salt = link.reconciles.wrapping_mul(SALTS_EACH);
        link.reconciles = link.reconciles.wrapping_add(1);
        self.begin_saying(id, peer, group, salt, first)
    }

    /// Makes our set and its first symbols, so many of them.
    fn begin_saying(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        salt: u32,
        first: u64,
    ) -> Result<(), EngineError> {
        let Some(key) = self.reconcile_key(id, group, salt, true) else { return Ok(()) };
        let width = width_for(first);
        let Some(set) = self.set_of(group, key, width)? else { return Ok(()) };
        let set = set.map(|short_ids| Sketch::new(key, short_ids));
        let max_symbols = self.most_symbols(set.count);
        let mut saying =
            Saying { first: 0, ready: VecDeque::new(), max_symbols, lacks: BTreeSet::new(), cut: 0, set };
        saying.prepare(u32::try_from(first).unwrap_or(u32::MAX).clamp(1, max_symbols));
        let snapshot = saying.set.head;
        self.set_run(id, peer, group, salt, snapshot, Role::Saying(saying));
        self.note_reconciled(peer, group);
        Ok(())
    }

    /// Most symbols that are said or taken for a set of so many messages.
    fn most_symbols(&self, count: u64) -> u32 {
        let most = count.saturating_mul(2).saturating_add(64);
        u32::try_from(most).unwrap_or(u32::MAX).min(self.config.max_symbols).max(1)
    }

    fn note_reconciled(&mut self, peer: PeerNum, group: GroupNum) {
        let now = self.now;
        if let Some(pair) = self.pair_mut(peer, group) {
            pair.reconciled_at = Some(now);
        }
    }

    /// Begins, or goes on in another part. Nothing up to `snapshot` is offered meanwhile.
    fn set_run(&mut self, id: LinkId, peer: PeerNum, group: GroupNum, salt: u32, snapshot: u64, role: Role) {
        let deadline = self.now + self.config.reconcile_timeout_ms.max(1);
        if let Some(before) = self.reconciles.remove(&(peer, group)) {
            self.timers.remove(&(before.deadline, Timer::Reconcile(peer, group)));
        } else if self.reconciles.len() >= self.config.max_reconciles
            && let Some((crowding, of)) = self.crowding(peer)
        {
            self.give_up_reconcile(crowding, of, true);
        }
        self.timers.insert((deadline, Timer::Reconcile(peer, group)));
        self.reconciles.insert((peer, group), Run { link: id, salt, snapshot, role, deadline });
        if let Some(pair) = self.pair_mut(peer, group) {
            pair.session.next = pair.session.next.max(snapshot + 1);
            pair.session.reconcile_stop = false;
        }
        self.wake(peer, group);
    }

    /// Something came or went: it goes on.
    fn put_off_deadline(&mut self, peer: PeerNum, group: GroupNum) {
        let deadline = self.now + self.config.reconcile_timeout_ms.max(1);
        if let Some(run) = self.reconciles.get_mut(&(peer, group)) {
            self.timers.remove(&(run.deadline, Timer::Reconcile(peer, group)));
            run.deadline = deadline;
            self.timers.insert((deadline, Timer::Reconcile(peer, group)));
        }
    }

    /// Ends a reconciliation, with nothing learned; true if there was one. What is lacking is to be offered by the caller.
    pub(super) fn end_reconcile(&mut self, peer: PeerNum, group: GroupNum) -> bool {
        let Some(run) = self.reconciles.remove(&(peer, group)) else { return false };
        self.timers.remove(&(run.deadline, Timer::Reconcile(peer, group)));
        true
    }

    /// Ends a reconciliation without a result: everything is offered that the peer is not known to have. `told`: the
    /// peer does not know.
    pub(super) fn give_up_reconcile(&mut self, peer: PeerNum, group: GroupNum, told: bool) {
        if !self.end_reconcile(peer, group) {
            return;
        }
        tracing::debug!(?peer, ?group, "reconciliation without a result");
        if let Some(pair) = self.pair_mut(peer, group) {
            pair.session.next = 1;
            pair.session.reconcile_stop |= told;
        }
        self.wake(peer, group);
    }

    /// Ends those that ran over a link.
    pub(super) fn end_reconciles_of(&mut self, peer: PeerNum, id: LinkId) {
        let of_peer = (peer, GroupNum(0))..=(peer, GroupNum(u32::MAX));
        let ended = self.reconciles.range(of_peer).filter(|(_, run)| run.link == id);
        let ended: Vec<GroupNum> = ended.map(|(&(_, group), _)| group).collect();
        for group in ended {
            self.give_up_reconcile(peer, group, false);
        }
    }

    /// A peer was silent for too long.
    pub(super) fn reconcile_timeout(&mut self, peer: PeerNum, group: GroupNum) {
        self.give_up_reconcile(peer, group, true);
    }

    /// It is known what a peer lacks of our set; all the rest it holds. `lacking` are positions, `others` messages without
    /// one that it holds.
    fn settle_reconciled(
        &mut self,
        (peer, group): (PeerNum, GroupNum),
        (id, salt): (LinkId, u32),
        snapshot: u64,
        lacking: &[u64],
        others: &[crate::store::MessageNum],
    ) {
        let now = self.now;
        let session_now = self.peers.get(&peer).map_or(0, |state| state.session);
        let Some(gone) = self.groups.get(&group).map(|state| &state.gone) else { return };
        // Of what is gone here it lacks nothing, but it does not hold it either.
        let due: Vec<u64> = lacking.iter().copied().filter(|at| !gone.contains(*at)).collect();
        let Some(pair) = self.pair_mut(peer, group) else { return };
        // What it acknowledged since its set was made, it holds.
        let lacked = |pair: &PeerGroup, at: &u64| !pair.has.contains(*at);
        let lacking: Vec<u64> = lacking.iter().copied().filter(|at| lacked(pair, at)).collect();
        let due: Vec<u64> = due.into_iter().filter(|at| lacked(pair, at)).collect();
        let mut held = SpanSet::new();
        if snapshot > 0 {
            held.insert_span(Span { first: 1, last: snapshot });
        }
        lacking.iter().for_each(|&at| {
            held.remove(at);
        });
        for span in held.spans() {
            pair.has.insert_span(span);
            pair.session.again.remove_span(span);
        }
        for &at in &due {
            pair.session.again.insert(at);
            pair.session.surely_lacks.insert(at);
        }
        pair.session.reconciled = Some((id, salt));
        pair.session.tell_known = Some(snapshot);
        pair.settled_to = 0;
        pair.has_grew = true;
        for &num in others {
            let holders = self.holders.entry(num).or_default();
            holders.retain(|(known, since)| *known != peer || *since == session_now);
            if !holders.contains(&(peer, session_now)) {
                holders.push((peer, session_now));
            }
        }
        self.grown_pairs.insert((peer, group));
        self.changed_pairs.insert((peer, group));
        self.settle_in_flight(peer, group);
        self.note_behind(peer, group, now);
        self.wake(peer, group);
        self.traffic.reconciled += 1;
        tracing::debug!(?peer, ?group, lacks = due.len(), "reconciled");
    }
}

/// How many of our messages a peer is not known to have, and could get.
fn lacking(group: &Group, pair: &PeerGroup) -> u64 {
    let there = if group.gone.is_empty() {
        pair.has.len()
    } else {
        let mut there = pair.has.clone();
        group.gone.spans().for_each(|span| there.insert_span(span));
        there.len()
    };
    group.head.saturating_sub(there)
}

/// How many symbols to say at first. A sample counts few differences one by one; of many it takes some only, and is off by
/// a third as often as not: then a few symbols too many save a round trip.
fn first_for(expected: u64) -> u64 {
    let slack = if expected <= COUNTED { 0 } else { expected / 2 };
    symbols_for(expected.saturating_add(slack)).min(MOST_AT_FIRST)
}

/// How many bytes a short id has, so that two messages that differ have the same one with a chance below 2^-30.
fn width_for(symbols: u64) -> u8 {
    let bits = 64 - symbols.leading_zeros();
    u8::try_from((2 * bits + 29).div_ceil(8)).unwrap_or(MAX_SHORT_ID).clamp(MIN_SHORT_ID, MAX_SHORT_ID)
}

/// How many bytes of a short id tell messages apart among so many, for a list in which one too many does no harm.
fn cut_for(count: u64, width: u8) -> u8 {
    let bits = 64 - count.leading_zeros() + 10;
    u8::try_from(bits.div_ceil(8)).unwrap_or(MAX_SHORT_ID).min(width)
}
