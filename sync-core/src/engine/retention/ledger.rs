//! Who takes how much of the store: what is held is charged to *shares*, and the largest pays first.

use std::collections::{BTreeMap, BTreeSet};

use crate::spanset::SpanSet;
use crate::store::{AuthorNum, GroupNum, MessageRow, MessageState, PeerNum};

/// On whose account a message is held: its author, where the group's client names one; else the peer that it came
/// from; else ourselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::engine) enum Share {
    Author(AuthorNum),
    Peer(PeerNum),
    Ours,
}

impl Share {
    pub(in crate::engine) fn of(row: &MessageRow) -> Self {
        match (row.author, row.origin) {
            (Some(author), _) => Self::Author(author),
            (None, Some(peer)) => Self::Peer(peer),
            (None, None) => Self::Ours,
        }
    }
}

/// The bytes of all messages with a body, and where the delivered ones are. There is one only while a cap is set.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Ledger {
    /// What all messages with a body count for.
    pub(super) total: u64,
    /// Of it: those not delivered yet.
    pub(super) parked: u64,
    /// Of it: delivered, and not written here.
    pub(super) from_others: u64,
    groups: BTreeMap<GroupNum, GroupLedger>,
    /// Groups by the bytes of what is delivered.
    by_bytes: BTreeSet<(u64, GroupNum)>,
}

#[derive(Debug, Clone, Default)]
struct GroupLedger {
    delivered: u64,
    /// Of it: not written here.
    from_others: u64,
    shares: BTreeMap<Share, ShareLedger>,
    /// Shares by the bytes of what is delivered.
    by_bytes: BTreeSet<(u64, Share)>,
}

/// Positions of delivered messages with a body. They ascend in the order in which the messages came to be delivered
/// here, and no clock can change that.
#[derive(Debug, Clone, Default)]
pub(super) struct ShareLedger {
    bytes: u64,
    /// Written here.
    pub(super) own: SpanSet,
    pub(super) from_others: SpanSet,
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
        let group = self.groups.entry(row.group).or_default();
        self.by_bytes.remove(&(group.delivered, row.group));
        group.delivered += weight;
        self.by_bytes.insert((group.delivered, row.group));
        let name = Share::of(row);
        let share = group.shares.entry(name).or_default();
        group.by_bytes.remove(&(share.bytes, name));
        share.bytes += weight;
        group.by_bytes.insert((share.bytes, name));
        if row.origin.is_none() {
            share.own.insert(row.position);
        } else {
            group.from_others += weight;
            self.from_others += weight;
            share.from_others.insert(row.position);
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
        let Some(group) = self.groups.get_mut(&row.group) else { return };
        self.by_bytes.remove(&(group.delivered, row.group));
        group.delivered = group.delivered.saturating_sub(weight);
        self.by_bytes.insert((group.delivered, row.group));
        let name = Share::of(row);
        let Some(share) = group.shares.get_mut(&name) else { return };
        group.by_bytes.remove(&(share.bytes, name));
        share.bytes = share.bytes.saturating_sub(weight);
        if row.origin.is_none() {
            share.own.remove(row.position);
        } else {
            group.from_others = group.from_others.saturating_sub(weight);
            self.from_others = self.from_others.saturating_sub(weight);
            share.from_others.remove(row.position);
        }
        if share.own.is_empty() && share.from_others.is_empty() {
            group.shares.remove(&name);
        } else {
            group.by_bytes.insert((share.bytes, name));
        }
    }

    /// A group was removed, with `parked` bytes that were not delivered yet.
    pub(in crate::engine) fn remove_group(&mut self, group: GroupNum, parked: u64) {
        let (delivered, from_others) =
            self.groups.remove(&group).map_or((0, 0), |group| (group.delivered, group.from_others));
        self.from_others = self.from_others.saturating_sub(from_others);
        self.by_bytes.remove(&(delivered, group));
        self.parked = self.parked.saturating_sub(parked);
        self.total = self.total.saturating_sub(parked + delivered);
    }

    /// How much of what others wrote can be pruned in a group.
    pub(super) fn prunable_in(&self, group: GroupNum) -> u64 {
        self.groups.get(&group).map_or(0, |group| group.from_others)
    }

    /// Shares with delivered messages in the order in which they pay: the group with the most bytes first, and in it
    /// the share with the most bytes. In one group, or in all.
    pub(super) fn payers(
        &self,
        only: Option<GroupNum>,
        incoming: Incoming,
    ) -> impl Iterator<Item = (GroupNum, &ShareLedger)> {
        let grown = incoming
            .and_then(|(group, _, weight)| Some((self.groups.get(&group)?.delivered + weight, group)));
        let groups: Box<dyn Iterator<Item = GroupNum>> = match only {
            Some(group) => Box::new(std::iter::once(group)),
            None => Box::new(descending(&self.by_bytes, grown)),
        };
        groups.filter_map(|num| Some((num, self.groups.get(&num)?))).flat_map(move |(num, group)| {
            let grown = incoming.filter(|(of, ..)| *of == num);
            let grown =
                grown.and_then(|(_, share, weight)| Some((group.shares.get(&share)?.bytes + weight, share)));
            let shares = descending(&group.by_bytes, grown);
            shares.filter_map(move |share| Some((num, group.shares.get(&share)?)))
        })
    }
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
