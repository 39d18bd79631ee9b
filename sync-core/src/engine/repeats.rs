//! What a peer was sent or offered before and is to be sent or offered again draws on an allowance, so that whoever
//! asks without end is not served without end.
//!
//! There are good reasons to ask again: a link that ended, a lost store, a restored backup. The allowance is twice what
//! the group holds, so that they cost nobody any time, and it comes back with acknowledgements and with time, so that
//! nobody waits for ever. It belongs to the peer and the group: no new session, link or store of the peer fills it.

use std::fmt;

use hedgerow_proto::Span;

use super::state::{Group, Sent};
use super::{Engine, LinkId, Timer};
use crate::record::InFlight;
use crate::spanset::SpanSet;
use crate::store::{GroupNum, MESSAGE_WEIGHT, PeerNum, Store};
use crate::time::Time;

/// What an offer that is repeated, or a tombstone, counts for, in bytes.
const SMALL: u64 = 64;
/// In how many parts an allowance that was used up comes back.
const PARTS: u64 = 64;
/// Into how many spans of positions each of the sets may fall. Beyond it gaps are closed: what stands there counts
/// as sent before.
const MAX_SPANS: usize = 16_384;
/// How far, at most, an allowance is overdrawn, in bytes: by the last thing that it was enough for.
const MAX_DEBT: u64 = 64 << 10;
/// How many allowances, of this many bytes at least, may be lost on the way beyond what is explained by what arrives. So
/// many losses for each message that arrives are explained: an honest link is of no use long before.
const LOST_ALLOWANCES: u64 = 16;
const LEAST_LOST: u64 = 64 << 10;
const LOSSES_EXPLAINED: u64 = 64;

/// What a peer was sent and offered of a group, and how much of its allowance is used up. In memory only: the peer
/// cannot make us open our store again.
#[derive(Clone, Default)]
pub(super) struct Repeats {
    /// Our positions of which it was sent the message, on a link that is not known to have lost it.
    given: SpanSet,
    /// Those, and the ones that it was offered or told to be gone.
    shown: SpanSet,
    /// Those of which it acknowledged what it was sent.
    confirmed: SpanSet,
    /// How much of the allowance was used up at `at`, in bytes.
    spent: u64,
    at: Time,
    /// What was lost on the way, less what is explained by what it acknowledged, in bytes.
    lost: u64,
    /// When what waits for the allowance is looked at again.
    armed: Option<Time>,
}

/// How something that is under way was paid for.
#[derive(Clone, Copy, Default)]
pub(super) struct Paid {
    /// It was said for the first time.
    fresh: bool,
    /// What was drawn on the allowance for it, in bytes.
    cost: u64,
}

/// How much a peer may be sent again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allowance {
    /// At once, in bytes.
    bytes: u64,
    /// In so many ms all of it comes back.
    period_ms: u64,
}

impl Repeats {
    /// What is used up now, and from when on time that passes counts.
    fn spent_at(&self, now: Time, allowance: Allowance) -> (u64, Time) {
        if self.spent == 0 {
            return (0, now);
        }
        let Allowance { bytes, period_ms } = allowance;
        let elapsed = now.since(self.at);
        let back = share(bytes, elapsed, period_ms);
        if back >= self.spent {
            return (0, now);
        }
        // A clock that is set back gives nothing, and takes nothing for longer than once.
        let used = if now < self.at { now } else { self.at + share(back, period_ms, bytes).min(elapsed) };
        // The group may hold less than it did.
        ((self.spent - back).min(bytes.saturating_add(MAX_DEBT)), used)
    }

    fn has_room(&self, now: Time, allowance: Allowance) -> bool {
        self.spent_at(now, allowance).0 < allowance.bytes
    }

    fn draw(&mut self, bytes: u64, now: Time, allowance: Allowance) {
        (self.spent, self.at) = self.spent_at(now, allowance);
        self.spent = self.spent.saturating_add(bytes);
    }

    fn give_back(&mut self, bytes: u64) {
        self.spent = self.spent.saturating_sub(bytes);
    }

    /// When a part of the allowance will be there again.
    fn next_part(&self, now: Time, allowance: Allowance) -> Time {
        let (spent, since) = self.spent_at(now, allowance);
        let part = (allowance.bytes / PARTS).max(1);
        let lacks = spent.saturating_sub(allowance.bytes.saturating_sub(part));
        let wait = share_up(lacks, allowance.period_ms, allowance.bytes);
        (since + wait).max(now + 1)
    }

    fn set_of(&mut self, kind: InFlight) -> &mut SpanSet {
        if kind == InFlight::Message { &mut self.given } else { &mut self.shown }
    }

    /// The first of these positions that may be sent, if the allowance is used up.
    pub(super) fn first_not_given(&self, among: &SpanSet) -> Option<u64> {
        among.first_outside(&self.given, 1)
    }

    /// What was never sent, offered or said to be gone.
    pub(super) fn shown(&self) -> &SpanSet {
        &self.shown
    }

    /// Notes that something is said; what it costs is drawn.
    fn say(&mut self, position: u64, kind: InFlight, bytes: u64, now: Time, allowance: Allowance) -> Paid {
        let set = self.set_of(kind);
        let fresh = set.insert(position);
        keep_small(set);
        if kind == InFlight::Message {
            self.shown.insert(position);
            keep_small(&mut self.shown);
        }
        let cost = if fresh { 0 } else { bytes };
        if !fresh {
            self.draw(cost, now, allowance);
        }
        Paid { fresh, cost }
    }

    /// What was said is known to be lost: it was not said. But who lets everything be lost that it is sent, and hears the
    /// rest, asks again by that.
    pub(super) fn unsay(&mut self, position: u64, sent: &Sent, allowance: Allowance) {
        self.lost = self.lost.saturating_add(weight(sent.kind, sent.bytes));
        if self.lost > LOST_ALLOWANCES.saturating_mul(allowance.bytes.max(LEAST_LOST)) {
            return;
        }
        self.give_back(sent.paid.cost);
        let set = self.set_of(sent.kind);
        if sent.paid.fresh && set.span_count() < MAX_SPANS {
            set.remove(position);
        }
    }

    /// The peer acknowledged what it was sent: the first time, that gives back twice what the message counts for. So
    /// whoever was sent much over links that ended too soon gets the rest ever faster once one stays.
    pub(super) fn confirm(&mut self, position: u64, sent: &Sent) {
        if sent.kind == InFlight::Message && self.confirmed.insert(position) {
            keep_small(&mut self.confirmed);
            let weight = weight(sent.kind, sent.bytes);
            self.give_back(2 * weight);
            self.lost = self.lost.saturating_sub(LOSSES_EXPLAINED * weight);
        }
    }
}

/// What a message with so many body bytes, or its offer, counts for, in bytes.
fn weight(kind: InFlight, body: u32) -> u64 {
    if kind == InFlight::Message { u64::from(body) + MESSAGE_WEIGHT } else { SMALL }
}

fn keep_small(set: &mut SpanSet) {
    if set.span_count() > MAX_SPANS {
        set.close_first_gap();
    }
}

/// `of * part / whole`.
fn share(of: u64, part: u64, whole: u64) -> u64 {
    let share = u128::from(of) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// The same, rounded up.
fn share_up(of: u64, part: u64, whole: u64) -> u64 {
    let share = (u128::from(of) * u128::from(part)).div_ceil(u128::from(whole.max(1)));
    u64::try_from(share).unwrap_or(u64::MAX)
}

/// As long as the allowance is not used up, nothing follows from what is noted here. The programs that explore states
/// have too little time to use it up.
impl fmt::Debug for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Repeats")
    }
}

impl fmt::Debug for Paid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Paid")
    }
}

impl<S: Store> Engine<S> {
    /// How much of a group a peer may be sent again.
    pub(super) fn allowance(&self, group: &Group) -> Allowance {
        let counts = group.counts;
        let gone = (counts.pruned + counts.gaps).saturating_mul(MESSAGE_WEIGHT);
        let held = counts.weight.saturating_add(gone);
        let bytes = held.saturating_mul(self.config.repeats).max(self.config.min_repeat_bytes).max(1);
        Allowance { bytes, period_ms: self.config.repeat_period_ms.max(1) }
    }

    /// Whether a peer may be sent something again.
    pub(super) fn may_repeat(&self, peer: PeerNum, group: GroupNum) -> bool {
        let pair = self.peers.get(&peer).and_then(|state| state.groups.get(&group));
        let (Some(pair), Some(group)) = (pair, self.groups.get(&group)) else { return true };
        pair.repeats.has_room(self.now, self.allowance(group))
    }

    /// Notes that a message, of so many body bytes, or an offer goes out.
    pub(super) fn pay(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group_num: GroupNum,
        position: u64,
        kind: InFlight,
        body: u32,
    ) -> Paid {
        let now = self.now;
        let Some(allowance) = self.groups.get(&group_num).map(|group| self.allowance(group)) else {
            return Paid::default();
        };
        let Some(pair) = self.pair_mut(peer, group_num) else { return Paid::default() };
        let paid = pair.repeats.say(position, kind, weight(kind, body), now, allowance);
        if let Some(link) = self.links.get_mut(&id).filter(|_| !paid.fresh) {
            link.traffic.repeats_out += 1;
        }
        paid
    }

    /// Notes that a message goes out of which it is not kept to whom it was sent: one that is not delivered here.
    pub(super) fn pay_unplaced(&mut self, peer: PeerNum, group_num: GroupNum, body: u32) {
        let now = self.now;
        let Some(allowance) = self.groups.get(&group_num).map(|group| self.allowance(group)) else { return };
        if let Some(pair) = self.pair_mut(peer, group_num) {
            pair.repeats.draw(u64::from(body) + MESSAGE_WEIGHT, now, allowance);
        }
    }

    /// The link ends: whether what is under way on it came nobody knows, so that it counts as said.
    pub(super) fn keep_paid(&mut self, id: LinkId) {
        let Some(peer) = self.links.get(&id).and_then(|link| self.peers.get_mut(&link.peer)) else { return };
        for pair in peer.groups.values_mut() {
            for sent in pair.session.in_flight.values_mut().filter(|sent| sent.link == id) {
                sent.paid = Paid::default();
            }
        }
    }

    /// The next position that a peer asked for and may be sent.
    pub(super) fn next_asked(&mut self, peer: PeerNum, group: GroupNum) -> Option<u64> {
        let free = self.may_repeat(peer, group);
        let pair = self.pair_mut(peer, group)?;
        let asked = &mut pair.session.asked;
        let next = if free { asked.first() } else { pair.repeats.first_not_given(asked) }?;
        asked.remove(next);
        Some(next)
    }

    /// The next of what a peer asked for in vain and may be told: a position of what is gone, or a span of others.
    pub(super) fn next_gone(&mut self, peer: PeerNum, group_num: GroupNum) -> Option<(Span, bool)> {
        let now = self.now;
        let group = self.groups.get(&group_num)?;
        let (gone, allowance) = (&group.gone, self.allowance(group));
        let pair = self.peers.get_mut(&peer)?.groups.get_mut(&group_num)?;
        let shared = pair.visibility == hedgerow_proto::Visibility::Shared;
        let unavailable = &mut pair.session.unavailable;
        let mut first = unavailable.first()?;
        let is_gone = |at| shared && gone.contains(at);
        if !pair.repeats.has_room(now, allowance) {
            while is_gone(first) && pair.repeats.shown.contains(first) {
                let after = gone.first_absent(first).min(pair.repeats.shown.first_absent(first));
                first = unavailable.first_from(after)?;
            }
        }
        let mut span = unavailable.span_from(first)?;
        let tombstone = is_gone(first);
        if tombstone {
            span.last = first;
            pair.repeats.say(first, InFlight::Offer, SMALL, now, allowance);
        } else if shared && let Some(next) = gone.first_from(first).filter(|&next| next <= span.last) {
            span.last = next - 1;
        }
        unavailable.remove_span(span);
        Some((span, tombstone))
    }

    /// How many messages a peer has asked for, by position, that wait for its allowance.
    pub(super) fn held_back(&self, peer: PeerNum, group: GroupNum) -> u64 {
        if self.may_repeat(peer, group) {
            return 0;
        }
        let pair = self.peers.get(&peer).and_then(|state| state.groups.get(&group));
        pair.map_or(0, |pair| {
            let (asked, given) = (&pair.session.asked, &pair.repeats.given);
            let (mut at, mut count) = (1, pair.session.asked_ids.len() as u64);
            while let Some(span) = asked.common_from(given, at) {
                count += span.count();
                at = span.last.saturating_add(1);
            }
            count
        })
    }

    /// If something waits for a peer's allowance, sees to it that it does not wait for ever.
    pub(super) fn await_allowance(&mut self, id: LinkId, peer: PeerNum, group_num: GroupNum) {
        if self.may_repeat(peer, group_num) {
            return;
        }
        let Some(group) = self.groups.get(&group_num) else { return };
        let (now, allowance) = (self.now, self.allowance(group));
        let pair = self.peers.get_mut(&peer).and_then(|state| state.groups.get_mut(&group_num));
        let Some(pair) = pair.filter(|pair| pair.repeats.armed.is_none()) else { return };
        let (session, repeats) = (&pair.session, &mut pair.repeats);
        let waits = session.asked.common_from(&repeats.given, 1).is_some()
            || session.again.common_from(&repeats.shown, 1).is_some()
            || session.unavailable.common_from(&repeats.shown, 1).is_some()
            || !session.asked_ids.is_empty();
        if waits {
            let at = repeats.next_part(now, allowance);
            repeats.armed = Some(at);
            self.timers.insert((at, Timer::Repeat(peer, group_num)));
            if let Some(link) = self.links.get_mut(&id) {
                link.traffic.held_back += 1;
            }
        }
    }

    /// A part of the allowance is there again.
    pub(super) fn repeat_timeout(&mut self, peer: PeerNum, group: GroupNum) {
        if let Some(pair) = self.pair_mut(peer, group) {
            pair.repeats.armed = None;
        }
        self.wake(peer, group);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::LinkId;

    const DAY: Allowance = Allowance { bytes: 6_400, period_ms: 64_000 };

    fn sent(kind: InFlight, paid: Paid) -> Sent {
        Sent { link: LinkId(1), frame: 0, kind, bytes: 100, paid }
    }

    #[test]
    fn only_what_was_said_before_is_paid_for() {
        let mut peer = Repeats::default();
        let now = Time(5);
        let said = [
            (1, InFlight::Offer, true),
            (1, InFlight::Offer, false),
            // A message is no repetition of its offer, and an offer is one of its message.
            (1, InFlight::Message, true),
            (1, InFlight::Message, false),
            (2, InFlight::Message, true),
            (2, InFlight::Offer, false),
        ];
        let mut sum = 0;
        for (position, kind, fresh) in said {
            let paid = peer.say(position, kind, 100, now, DAY);
            sum += if fresh { 0 } else { 100 };
            assert_eq!((paid.fresh, paid.cost, peer.spent), (fresh, if fresh { 0 } else { 100 }, sum));
        }
    }

    #[test]
    fn what_was_lost_was_not_said() {
        let mut peer = Repeats::default();
        let first = peer.say(1, InFlight::Message, 100, Time(0), DAY);
        peer.unsay(1, &sent(InFlight::Message, first), DAY);
        let again = peer.say(1, InFlight::Message, 100, Time(0), DAY);
        assert!(again.fresh && peer.spent == 0);
        let paid = peer.say(1, InFlight::Message, 100, Time(0), DAY);
        peer.unsay(1, &sent(InFlight::Message, paid), DAY);
        assert_eq!(peer.spent, 0);
        assert!(!peer.say(1, InFlight::Message, 100, Time(0), DAY).fresh, "it came once");
    }

    #[test]
    fn losses_without_end_that_nothing_explains_were_said() {
        let (mut peer, lost) = (Repeats::default(), 100 + MESSAGE_WEIGHT);
        let lose = |peer: &mut Repeats, position| {
            let paid = peer.say(position, InFlight::Message, lost, Time(0), DAY);
            peer.unsay(position, &sent(InFlight::Message, paid), DAY);
            paid.fresh
        };
        let free = LOST_ALLOWANCES * LEAST_LOST / lost;
        assert!((0..=free).all(|_| lose(&mut peer, 1)), "a bad link costs nothing");
        assert_eq!(peer.spent, 0);
        assert!(!lose(&mut peer, 1) && !lose(&mut peer, 1));
        assert_eq!(peer.spent, 2 * lost);
        // Something arrives after all: that much was to be expected.
        let paid = peer.say(2, InFlight::Message, lost, Time(0), DAY);
        peer.confirm(2, &sent(InFlight::Message, paid));
        assert!((0..LOSSES_EXPLAINED - 3).all(|_| lose(&mut peer, 3)));
    }

    #[test]
    fn the_first_acknowledgement_gives_back_twice_what_the_message_counts_for() {
        let mut peer = Repeats::default();
        peer.draw(1_000, Time(0), DAY);
        let offered = peer.say(1, InFlight::Offer, 0, Time(0), DAY);
        peer.confirm(1, &sent(InFlight::Offer, offered));
        assert_eq!(peer.spent, 1_000);
        let paid = peer.say(1, InFlight::Message, 0, Time(0), DAY);
        peer.confirm(1, &sent(InFlight::Message, paid));
        assert_eq!(peer.spent, 1_000 - 2 * (100 + MESSAGE_WEIGHT));
        peer.confirm(1, &sent(InFlight::Message, paid));
        assert_eq!(peer.spent, 1_000 - 2 * (100 + MESSAGE_WEIGHT));
    }

    #[test]
    fn it_comes_back_steadily_however_often_one_looks() {
        let mut looked_at = Repeats::default();
        looked_at.draw(6_400, Time(0), DAY);
        assert!(!looked_at.has_room(Time(9), DAY) && looked_at.has_room(Time(10), DAY));
        let left_alone = looked_at.clone();
        for ms in 1..=32_000 {
            looked_at.draw(0, Time(ms), DAY);
        }
        assert_eq!(looked_at.spent, 3_200);
        assert_eq!(left_alone.spent_at(Time(32_000), DAY).0, 3_200);
        assert_eq!(left_alone.spent_at(Time(64_000), DAY), (0, Time(64_000)));
        // A part of 100 bytes is there in a second.
        assert_eq!(left_alone.next_part(Time(0), DAY), Time(1_000));
        assert_eq!(left_alone.next_part(Time(400), DAY), Time(1_000));
    }

    #[test]
    fn neither_clocks_nor_less_in_the_group_make_it_wait_for_long() {
        let mut peer = Repeats::default();
        peer.draw(1 << 40, Time(1_000_000), DAY);
        // The clock is set back.
        peer.draw(0, Time(10), DAY);
        assert_eq!(peer.spent, DAY.bytes + MAX_DEBT);
        assert!(peer.next_part(Time(10), DAY) <= Time(10 + 12 * 64_000));
        let at = peer.next_part(Time(10), DAY);
        assert!(peer.has_room(at, DAY) && !peer.has_room(Time(at.0 / 2), DAY));
    }

    #[test]
    fn the_sets_stay_small_and_what_is_closed_counts_as_said() {
        let mut peer = Repeats::default();
        let most = MAX_SPANS as u64;
        for n in 0..=most {
            peer.say(2 * n + 1, InFlight::Message, 1, Time(0), DAY);
        }
        assert_eq!((peer.given.span_count(), peer.shown.span_count()), (MAX_SPANS, MAX_SPANS));
        assert!(!peer.say(2, InFlight::Message, 1, Time(0), DAY).fresh);
        assert!(peer.say(2 * most, InFlight::Message, 1, Time(0), DAY).fresh);
        // Losses make no more of them.
        let paid = Paid { fresh: true, cost: 0 };
        (0..=most).for_each(|n| peer.unsay(4 * n + 1, &sent(InFlight::Message, paid), DAY));
        assert!(peer.given.span_count() <= MAX_SPANS);
    }
}
