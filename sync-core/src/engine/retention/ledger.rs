//! Who takes how much of the store: what is held is charged to *shares*, and the largest pays first.

use std::collections::{BTreeMap, BTreeSet};

use crate::spanset::SpanSet;
use crate::store::{AuthorNum, GroupNum, MessageRow, MessageState, PeerNum};

/// On whose account a message is held: ourselves, if we wrote it; else its author, where the group's client names
/// one; else the peer that it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::engine) enum Share {
    Author(AuthorNum),
    Peer(PeerNum),
    Ours,
}

impl Share {
    pub(in crate::engine) fn of(row: &MessageRow) -> Self {
        match (row.origin, row.author) {
            (None, _) => Self::Ours,
            (Some(_), Some(author)) => Self::Author(author),
            (Some(peer), None) => Self::Peer(peer),
        }
    }
}

/// The bytes of all messages with a body, and where the delivered ones are. There is one only while a cap is set.
///
/// What we wrote in all groups together pays as if it were one more group. It would not do to count it with the group
/// that it is in: it may be that none of it can go, for no peer has it, and then that group's others would pay first,
/// however little they have.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Ledger {
    /// What all messages with a body count for.
    pub(super) total: u64,
    /// Of it: those not delivered yet.
    pub(super) parked: u64,
    /// Of it: delivered, and written here.
    own: u64,
    groups: BTreeMap<GroupNum, GroupLedger>,
    /// Who pays, by bytes.
    by_bytes: BTreeSet<(u64, Payer)>,
    /// Groups by the bytes of what was written here.
    by_own: BTreeSet<(u64, GroupNum)>,
}

/// Who pays when the node has no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Payer {
    /// What others wrote in a group.
    Group(GroupNum),
    /// What was written here, in all groups.
    Ours,
}

#[derive(Debug, Clone, Default)]
struct GroupLedger {
    from_others: u64,
    own: u64,
    /// Positions of delivered messages with a body. They ascend in the order in which the messages came to be
    /// delivered here, and no clock can change that.
    shares: BTreeMap<Share, (u64, SpanSet)>,
    /// Shares by the bytes of what is delivered.
    by_bytes: BTreeSet<(u64, Share)>,
}

/// What is about to be delivered: it counts when the largest is looked for.
pub(in crate::engine) type Incoming = Option<(GroupNum, Share, u64)>;

impl Ledger {
    /// A message is held.
    pub(super) fn enter(&mut self, row: &MessageRow) {
        let weight = row.weight();
        self.total += weight;
        if row.state != MessageState::Delivered {
            self.parked += weight;
            return;
        }
        let share = Share::of(row);
        self.shift(row.group, share, |bytes| bytes + weight);
        let Some(group) = self.groups.get_mut(&row.group) else { return };
        if let Some((_, positions)) = group.shares.get_mut(&share) {
            positions.insert(row.position);
        }
    }

    /// A message that was entered with this row is no longer held, or is about to be entered anew.
    pub(super) fn leave(&mut self, row: &MessageRow) {
        let weight = row.weight();
        self.total = self.total.saturating_sub(weight);
        if row.state != MessageState::Delivered {
            self.parked = self.parked.saturating_sub(weight);
            return;
        }
        let share = Share::of(row);
        self.shift(row.group, share, |bytes| bytes.saturating_sub(weight));
        let Some(group) = self.groups.get_mut(&row.group) else { return };
        let Some((bytes, positions)) = group.shares.get_mut(&share) else { return };
        positions.remove(row.position);
        if positions.is_empty() {
            group.by_bytes.remove(&(*bytes, share));
            group.shares.remove(&share);
        }
    }

    /// Changes the bytes of a share, and of all that it is part of.
    fn shift(&mut self, num: GroupNum, name: Share, change: impl Fn(u64) -> u64) {
        let group = self.groups.entry(num).or_default();
        let (bytes, _) = group.shares.entry(name).or_default();
        reorder(&mut group.by_bytes, name, bytes, &change);
        if name == Share::Ours {
            reorder(&mut self.by_own, num, &mut group.own, &change);
            reorder(&mut self.by_bytes, Payer::Ours, &mut self.own, &change);
        } else {
            reorder(&mut self.by_bytes, Payer::Group(num), &mut group.from_others, &change);
        }
    }

    /// A group was removed, with `parked` bytes that were not delivered yet.
    pub(in crate::engine) fn remove_group(&mut self, num: GroupNum, parked: u64) {
        let group = self.groups.remove(&num).unwrap_or_default();
        self.by_bytes.remove(&(group.from_others, Payer::Group(num)));
        self.by_own.remove(&(group.own, num));
        reorder(&mut self.by_bytes, Payer::Ours, &mut self.own, |own| own.saturating_sub(group.own));
        self.parked = self.parked.saturating_sub(parked);
        self.total = self.total.saturating_sub(parked + group.from_others + group.own);
    }

    /// How much of what others wrote can be pruned in a group.
    pub(super) fn prunable_in(&self, group: GroupNum) -> u64 {
        self.groups.get(&group).map_or(0, |group| group.from_others)
    }

    /// How much of what others wrote can be pruned.
    pub(super) fn prunable(&self) -> u64 {
        self.total.saturating_sub(self.parked + self.own)
    }

    /// Shares with delivered messages in the order in which they pay, and where these are.
    ///
    /// In one group: the share with the most bytes first. In all: the group with the most bytes from others first,
    /// with its shares in the same order; what we wrote ourselves stands among the groups, by all its bytes.
    pub(super) fn payers(
        &self,
        only: Option<GroupNum>,
        incoming: Incoming,
    ) -> Box<dyn Iterator<Item = (GroupNum, Share, &SpanSet)> + '_> {
        if let Some(group) = only {
            return Box::new(self.shares_of(group, incoming));
        }
        let grown = incoming.and_then(|(num, share, weight)| match share {
            Share::Ours => Some((self.own + weight, Payer::Ours)),
            _ => Some((self.groups.get(&num)?.from_others + weight, Payer::Group(num))),
        });
        Box::new(descending(&self.by_bytes, grown).flat_map(
            move |payer| -> Box<dyn Iterator<Item = (GroupNum, Share, &SpanSet)>> {
                match payer {
                    Payer::Group(num) => {
                        Box::new(self.shares_of(num, incoming).filter(|&(_, share, _)| share != Share::Ours))
                    }
                    Payer::Ours => Box::new(self.own_shares(incoming)),
                }
            },
        ))
    }

    /// The shares of a group, the one with the most bytes first.
    fn shares_of(
        &self,
        num: GroupNum,
        incoming: Incoming,
    ) -> impl Iterator<Item = (GroupNum, Share, &SpanSet)> {
        self.groups.get(&num).into_iter().flat_map(move |group| {
            let grown = incoming.filter(|(of, ..)| *of == num);
            let grown =
                grown.and_then(|(_, share, weight)| Some((group.shares.get(&share)?.0 + weight, share)));
            descending(&group.by_bytes, grown)
                .filter_map(move |share| Some((num, share, &group.shares.get(&share)?.1)))
        })
    }

    /// What was written here, of the group with the most of it first.
    fn own_shares(&self, incoming: Incoming) -> impl Iterator<Item = (GroupNum, Share, &SpanSet)> {
        let grown = incoming.filter(|(_, share, _)| *share == Share::Ours);
        let grown = grown.and_then(|(num, _, weight)| Some((self.groups.get(&num)?.own + weight, num)));
        descending(&self.by_own, grown)
            .filter_map(|num| Some((num, Share::Ours, &self.groups.get(&num)?.shares.get(&Share::Ours)?.1)))
    }
}

/// Gives a name another count, in the order too.
fn reorder<K: Copy + Ord>(
    by_bytes: &mut BTreeSet<(u64, K)>,
    name: K,
    count: &mut u64,
    change: impl Fn(u64) -> u64,
) {
    by_bytes.remove(&(*count, name));
    *count = change(*count);
    by_bytes.insert((*count, name));
}

/// Names from the most bytes to the least, as if one of them had `grown` to so many.
fn descending<K: Copy + Ord>(
    by_bytes: &BTreeSet<(u64, K)>,
    mut grown: Option<(u64, K)>,
) -> impl Iterator<Item = K> {
    let name = grown.map(|(_, name)| name);
    let others = by_bytes.iter().rev().copied().filter(move |(_, other)| name != Some(*other));
    let mut others = others.peekable();
    std::iter::from_fn(move || {
        let next = others.peek().copied();
        if grown.is_some_and(|grown| next.is_none_or(|next| grown >= next)) {
            return grown.take().map(|(_, name)| name);
        }
        others.next().map(|(_, name)| name)
    })
}
