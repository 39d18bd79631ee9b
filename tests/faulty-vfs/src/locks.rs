//! Who has locked a file, as SQLite's own file systems have it.

use std::collections::BTreeMap;

/// How many locks there are on the memory that connections share.
const SLOTS: usize = 8;

/// SQLite's levels of the lock on a database: 0 none, 1 shared, 2 reserved, 3 pending, 4 exclusive.
const SHARED: i32 = 1;
const RESERVED: i32 = 2;
const PENDING: i32 = 3;
const EXCLUSIVE: i32 = 4;

/// One lock on the shared memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Slot {
    #[default]
    Free,
    Shared,
    Exclusive,
}

/// The locks on one file, by connection.
#[derive(Debug, Default)]
pub(crate) struct Locks {
    levels: BTreeMap<u64, i32>,
    slots: BTreeMap<u64, [Slot; SLOTS]>,
}

impl Locks {
    /// Takes a lock; false if others stand in its way.
    pub(crate) fn raise(&mut self, who: u64, level: i32) -> bool {
        let own = self.levels.get(&who).copied().unwrap_or(0);
        if own >= level {
            return true;
        }
        let highest = self.highest_of_others(who);
        let free = match level {
            SHARED => highest < PENDING,
            RESERVED => highest < RESERVED,
            _ => highest == 0,
        };
        if free {
            self.levels.insert(who, level);
        } else if level == EXCLUSIVE && highest < RESERVED {
            // Those who read may finish, nobody else begins.
            self.levels.insert(who, PENDING);
        }
        free
    }

    pub(crate) fn lower(&mut self, who: u64, level: i32) {
        self.levels.insert(who, level);
    }

    /// Whether anybody is about to write.
    pub(crate) fn is_reserved(&self) -> bool {
        self.levels.values().any(|&level| level >= RESERVED)
    }

    fn highest_of_others(&self, who: u64) -> i32 {
        self.levels.iter().filter(|(other, _)| **other != who).map(|(_, &level)| level).max().unwrap_or(0)
    }

    /// Takes locks on the shared memory; false if others stand in the way.
    pub(crate) fn take_slots(&mut self, who: u64, first: usize, count: usize, exclusive: bool) -> bool {
        let wanted = first..first.saturating_add(count);
        let in_the_way = |slot: &Slot| *slot == Slot::Exclusive || (exclusive && *slot != Slot::Free);
        let others = self.slots.iter().filter(|(other, _)| **other != who);
        let free = others.flat_map(|(_, slots)| slots.get(wanted.clone())).flatten().all(|s| !in_the_way(s));
        if free && let Some(own) = self.slots.entry(who).or_default().get_mut(wanted) {
            own.fill(if exclusive { Slot::Exclusive } else { Slot::Shared });
        }
        free
    }

    pub(crate) fn free_slots(&mut self, who: u64, first: usize, count: usize) {
        if let Some(own) = self.slots.entry(who).or_default().get_mut(first..first.saturating_add(count)) {
            own.fill(Slot::Free);
        }
    }

    /// A connection uses the shared memory from now on.
    pub(crate) fn join(&mut self, who: u64) {
        self.slots.entry(who).or_default();
    }

    /// A connection uses it no longer; whether it was the last.
    pub(crate) fn leave(&mut self, who: u64) -> bool {
        self.slots.remove(&who);
        self.slots.is_empty()
    }

    /// A connection is closed.
    pub(crate) fn forget(&mut self, who: u64) {
        self.levels.remove(&who);
    }
}
