//! What is held for how long: caps in bytes and who pays for them, messages that expire, and what was pruned
//! before it came here.
//!
//! A cap holds after every commit. Room is made when a message comes, from what is delivered: of the group with the
//! most bytes from others, or of what was written here if that is more, the share with the most, its oldest. So a
//! share loses something only while none is larger, and a flood pays for itself.

mod expiry;
mod horizon;
mod ledger;

use hedgerow_proto::GroupId;

pub(super) use self::horizon::Claim;
pub(super) use self::ledger::{Ledger, Share};
use super::Engine;
use super::groups::row_of;
use super::state::Group;
use crate::error::EngineError;
use crate::spanset::SpanSet;
use crate::store::{AuthorNum, GroupNum, MESSAGE_WEIGHT, MessageNum, MessageRow, MessageState, Store};

/// What the largest message counts for, in bytes.
pub(super) const MAX_WEIGHT: u64 = hedgerow_proto::limits::MAX_BODY as u64 + MESSAGE_WEIGHT;
/// Of a cap, messages that are not delivered yet may take one byte in so many: nothing of theirs can be pruned, and
/// nobody knows on whose account they come.
const UNDELIVERED_PART: u64 = 4;
/// Beyond one byte in so many, none is kept that has to wait for others or its time: so those that wait only for a
/// verdict have a part of their own, whatever else waits.
const PARKED_PART: u64 = 8;
/// The least cap, in bytes: the largest message fits into each part of it.
pub(super) const MIN_CAP: u64 = PARKED_PART * MAX_WEIGHT;
/// How many numbers of authors are remembered.
const KNOWN_AUTHORS: usize = 4096;
/// How many rows are read at a time.
const CHUNK: usize = 512;

impl<S: Store> Engine<S> {
    /// Sets what the messages of a group may count for, in bytes, instead of
    /// [`Config::max_group_bytes`](crate::Config::max_group_bytes); `None` goes back to that. It is kept in the
    /// store. What is above it is pruned at once.
    ///
    /// # Errors
    /// When there is no such group, the cap is too small, or the store fails.
    pub fn set_max_bytes(&mut self, group: GroupId, max_bytes: Option<u64>) -> Result<(), EngineError> {
        self.usable()?;
        let num = self.group_num(group)?;
        check_cap(max_bytes.unwrap_or(u64::MAX))?;
        let Some(state) = self.groups.get_mut(&num) else { return Ok(()) };
        state.max_bytes = max_bytes;
        let row = row_of(state);
        self.dirty = true;
        let result = self.store.put_group(&row).map_err(EngineError::from);
        self.guard(result)?;
        let result = self.open_ledger().and_then(|()| self.enforce_caps());
        self.guard(result)
    }

    /// What a group may count for, in bytes.
    pub(super) fn cap_of(&self, group: &Group) -> u64 {
        group.max_bytes.unwrap_or(self.config.max_group_bytes)
    }

    /// Reads who holds what, if a cap is set and that was not done yet.
    pub(super) fn open_ledger(&mut self) -> Result<(), EngineError> {
        // Groups that are added later come under the cap of the configuration too.
        let capped = self.config.max_store_bytes < u64::MAX
            || self.config.max_group_bytes < u64::MAX
            || self.groups.values().any(|group| self.cap_of(group) < u64::MAX);
        if !capped || self.ledger.is_some() {
            return Ok(());
        }
        let mut ledger = Ledger::default();
        let mut after = MessageNum(0);
        loop {
            let rows = self.store.scan(after, CHUNK)?;
            let Some(last) = rows.last() else { break };
            after = last.num;
            rows.iter().for_each(|row| ledger.enter(row));
        }
        self.ledger = Some(ledger);
        Ok(())
    }

    /// The number of an author in a group, a new one if need be.
    pub(super) fn author_num(&mut self, group: GroupNum, key: &[u8; 32]) -> Result<AuthorNum, EngineError> {
        if let Some(&num) = self.authors.get(&(group, *key)) {
            return Ok(num);
        }
        let num = match self.store.author_num(group, key)? {
            Some(num) => num,
            None => {
                self.dirty = true;
                self.store.add_author(group, key)?
            }
        };
        if self.authors.len() >= KNOWN_AUTHORS {
            self.authors.clear();
        }
        self.authors.insert((group, *key), num);
        Ok(num)
    }

    /// Counts a message that is held from now on, or stands elsewhere than before.
    pub(super) fn count_in(&mut self, row: &MessageRow) {
        let skew_ms = self.config.max_clock_skew_ms;
        if let Some(group) = self.groups.get_mut(&row.group) {
            group.counts.enter(row.state, row.body_len);
            group.quota.change(None, Some(row), skew_ms);
            if matches!(row.state, MessageState::Pruned | MessageState::Gap) {
                group.gone.insert(row.position);
            }
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.enter(row);
        }
    }

    /// Counts a message that stands elsewhere from now on. It moved: there may be room for another.
    pub(super) fn count_change(&mut self, before: &MessageRow, after: &MessageRow) {
        let skew_ms = self.config.max_clock_skew_ms;
        if let Some(group) = self.groups.get_mut(&after.group) {
            group.counts.leave(before.state, before.body_len);
            group.counts.enter(after.state, after.body_len);
            group.quota.change(Some(before), Some(after), skew_ms);
            group.quota.unwant(after.num);
            group.moves += 1;
            if matches!(after.state, MessageState::Pruned | MessageState::Gap) {
                group.gone.insert(after.position);
            }
        }
        if let Some(ledger) = &mut self.ledger {
            ledger.leave(before);
            ledger.enter(after);
        }
    }

    /// Makes room for a message that is about to be held; false if there is none, and then nothing was pruned.
    /// `parks`: it has to wait for others, or for its time; `last`: as for [`has_room_for`](Self::has_room_for), one in
    /// all.
    pub(super) fn make_room(
        &mut self,
        row: &MessageRow,
        parks: bool,
        last: bool,
    ) -> Result<bool, EngineError> {
        let weight = row.weight();
        let delivered = row.state == MessageState::Delivered;
        let node_cap = self.config.max_store_bytes;
        let (Some(ledger), Some(group)) = (&self.ledger, self.groups.get(&row.group)) else {
            return Ok(true);
        };
        let group_cap = self.cap_of(group);
        let counts = group.counts;
        let part = if parks && !last { PARKED_PART } else { UNDELIVERED_PART };
        let spare = if last { MAX_WEIGHT } else { 0 };
        let exceeds = |parked: u64, cap: u64| parked + weight > part_of(cap, part).saturating_add(spare);
        if !delivered && (exceeds(ledger.parked, node_cap) || exceeds(counts.parked_weight, group_cap)) {
            return Ok(false);
        }
        let incoming = delivered.then(|| (row.group, Share::of(row), weight));
        let group_total = counts.weight + weight;
        let over = (group_total.saturating_sub(group_cap), weight);
        let Some(victims) = self.find_victims(row.group, over, incoming)? else { return Ok(false) };
        for row in victims {
            self.prune(row)?;
        }
        Ok(true)
    }

    /// Whether messages of our own of this weight could be delivered in a group.
    pub(super) fn has_room_for_own(&mut self, group: GroupNum, weight: u64) -> Result<bool, EngineError> {
        let Some(state) = self.groups.get(&group) else { return Ok(false) };
        let over = state.counts.weight.saturating_add(weight).saturating_sub(self.cap_of(state));
        Ok(self.find_victims(group, (over, weight), None)?.is_some())
    }

    /// What has to be pruned for a group to count for `of_group` bytes less, and for the node to have room for
    /// `weight` more bytes; `None` if that cannot be.
    fn find_victims(
        &mut self,
        group: GroupNum,
        (of_group, weight): (u64, u64),
        incoming: Option<(GroupNum, Share, u64)>,
    ) -> Result<Option<Vec<MessageRow>>, EngineError> {
        let node_cap = self.config.max_store_bytes;
        let mut victims: Vec<MessageRow> = Vec::new();
        let mut freed = 0;
        let enough = loop {
            let Some(ledger) = &self.ledger else { break true };
            let only = (freed < of_group).then_some(group);
            if only.is_none() && ledger.total.saturating_add(weight) <= node_cap {
                break true;
            }
            let Some((of, position)) = self.oldest_of_largest(only, incoming) else { break false };
            let Some(row) = self.store.at(of, position)? else { break false };
            if of == group {
                freed += row.weight();
            }
            if let Some(ledger) = &mut self.ledger {
                ledger.leave(&row);
            }
            victims.push(row);
        };
        // They are still there.
        if let Some(ledger) = &mut self.ledger {
            victims.iter().for_each(|row| ledger.enter(row));
        }
        Ok(enough.then_some(victims))
    }

    /// The message that is pruned next: of those that pay, the first that has one which may go.
    fn oldest_of_largest(
        &self,
        only: Option<GroupNum>,
        incoming: Option<(GroupNum, Share, u64)>,
    ) -> Option<(GroupNum, u64)> {
        self.ledger.as_ref()?.payers(only, incoming).find_map(|(group, share, positions)| {
            let oldest = match share {
                Share::Ours => self.first_held_elsewhere(group, positions),
                _ => positions.first(),
            };
            Some((group, oldest?))
        })
    }

    /// The first of our own messages that a peer is known to hold too: others are not pruned.
    fn first_held_elsewhere(&self, group: GroupNum, own: &SpanSet) -> Option<u64> {
        let peers = &self.groups.get(&group)?.peers;
        let sets = peers.iter().filter_map(|peer| Some(&self.peers.get(peer)?.groups.get(&group)?.has));
        sets.filter_map(|has| own.first_common(has)).min()
    }

    /// Takes the body of a delivered message away.
    pub(super) fn prune(&mut self, mut row: MessageRow) -> Result<(), EngineError> {
        self.note_pruned(row.group, row.position);
        self.change_state(&mut row, MessageState::Pruned)
    }

    /// Notes for the application that a body is gone.
    pub(super) fn note_pruned(&mut self, group: GroupNum, position: u64) {
        if let Some(state) = self.groups.get_mut(&group) {
            state.fresh_pruned.insert(position);
            self.pruned_groups.insert(group);
        }
    }

    /// Prunes what is above a cap: one that was just set, or that held more than could be pruned when it was.
    pub(super) fn enforce_caps(&mut self) -> Result<(), EngineError> {
        if self.ledger.is_none() {
            return Ok(());
        }
        let over = |group: &Group| group.counts.weight.saturating_sub(self.cap_of(group));
        let groups: Vec<(GroupNum, u64)> = self
            .groups
            .values()
            .map(|group| (group.num, over(group)))
            .filter(|&(_, over)| over > 0)
            .collect();
        for (group, over) in groups {
            self.free_what_can_be(Some(group), over)?;
        }
        let total = self.ledger.as_ref().map_or(0, |ledger| ledger.total);
        self.free_what_can_be(None, total.saturating_sub(self.config.max_store_bytes))
    }

    /// Prunes until so many bytes are free, or nothing is left that may go.
    fn free_what_can_be(&mut self, only: Option<GroupNum>, bytes: u64) -> Result<(), EngineError> {
        let mut freed = 0;
        while freed < bytes
            && let Some((group, position)) = self.oldest_of_largest(only, None)
            && let Some(row) = self.store.at(group, position)?
        {
            freed += row.weight();
            self.prune(row)?;
        }
        Ok(())
    }

    /// Whether any cap is exceeded. It can be only after a cap was lowered below what waits.
    pub(super) fn is_over_cap(&self) -> bool {
        self.ledger.as_ref().is_some_and(|ledger| {
            ledger.total > self.config.max_store_bytes
                || self
                    .changed_groups
                    .iter()
                    .filter_map(|num| self.groups.get(num))
                    .any(|group| group.counts.weight > self.cap_of(group))
        })
    }

    /// Whether a message of any size that has to wait has room under the caps.
    pub(super) fn has_room_under_caps(&self, group: &Group) -> bool {
        let Some(ledger) = &self.ledger else { return true };
        let (counts, cap) = (group.counts, self.cap_of(group));
        self.has_room_in_store()
            && fits(counts.parked_weight, counts.weight, ledger.prunable_in(group.num), cap)
    }

    /// The same for the cap of the store, which all groups share.
    pub(super) fn has_room_in_store(&self) -> bool {
        let fits_in = |ledger: &Ledger| {
            fits(ledger.parked, ledger.total, ledger.prunable(), self.config.max_store_bytes)
        };
        self.ledger.as_ref().is_none_or(fits_in)
    }
}

/// Whether the largest message has room under a cap if it has to wait.
fn fits(parked: u64, total: u64, prunable: u64, cap: u64) -> bool {
    parked + MAX_WEIGHT <= part_of(cap, PARKED_PART) && total.saturating_sub(prunable) + MAX_WEIGHT <= cap
}

/// One byte in `part` of a cap.
fn part_of(cap: u64, part: u64) -> u64 {
    if cap == u64::MAX { cap } else { cap / part }
}

/// Refuses a cap that the largest message does not fit under.
pub(super) fn check_cap(found: u64) -> Result<(), EngineError> {
    if found < MIN_CAP { Err(EngineError::CapTooSmall { found, least: MIN_CAP }) } else { Ok(()) }
}
