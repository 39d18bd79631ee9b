//! A file: what it holds, and what of that would survive a power failure.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use crate::locks::Locks;

/// What a disk writes at once: a write that is under way when the power fails may have reached any of its sectors.
const SECTOR: usize = 512;

/// One page of memory that connections share. Atomics may be written through shared references.
pub(crate) type Region = Arc<[AtomicU64]>;

/// A change that was not synced.
#[derive(Debug, Clone)]
enum Change {
    Write { at: usize, data: Vec<u8> },
    Truncate(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, data } => {
                let end = at.saturating_add(data.len());
                if content.len() < end {
                    content.resize(end, 0);
                }
                if let Some(place) = content.get_mut(*at..end) {
                    place.copy_from_slice(data);
                }
            }
            Self::Truncate(len) => content.truncate(*len),
        }
    }
}

/// A file, by whatever name.
#[derive(Debug, Default)]
pub(crate) struct File {
    /// What is read.
    content: Vec<u8>,
    /// What is on the medium.
    durable: Vec<u8>,
    /// What came since, in order.
    changes: Vec<Change>,
    pub(crate) locks: Locks,
    pub(crate) shared: Vec<Region>,
}

impl File {
    pub(crate) fn len(&self) -> usize {
        self.content.len()
    }

    /// Reads, and fills with zeros what is beyond the end; how many bytes there were.
    pub(crate) fn read(&self, at: usize, out: &mut [u8]) -> usize {
        let there = self.content.get(at..).unwrap_or_default();
        let count = there.len().min(out.len());
        let (found, beyond) = out.split_at_mut(count);
        found.copy_from_slice(there.get(..count).unwrap_or_default());
        beyond.fill(0);
        count
    }

    pub(crate) fn write(&mut self, at: usize, data: &[u8]) {
        self.change(Change::Write { at, data: data.to_vec() });
    }

    pub(crate) fn truncate(&mut self, len: usize) {
        self.change(Change::Truncate(len));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.content);
        self.changes.push(change);
    }

    pub(crate) fn sync(&mut self) {
        for change in self.changes.drain(..) {
            change.apply(&mut self.durable);
        }
    }

    /// A sync failed and the system has forgotten what was to be written: it is read still, from memory, but it
    /// will never reach the medium.
    pub(crate) fn forget_changes(&mut self) {
        self.changes.clear();
    }

    /// The power failed: nothing is left but what is on the medium.
    pub(crate) fn lose_unsynced(&mut self) {
        self.changes.clear();
        self.content.clone_from(&self.durable);
    }

    /// The power failed: of each change that was not synced, some sectors may have reached the medium.
    pub(crate) fn lose_some(&mut self, dice: &mut ChaCha12Rng) {
        // Now and then nearly all or nearly nothing.
        let kept = [0.1, 0.5, 0.9].get(dice.random_range(0..3)).copied().unwrap_or(0.5);
        for change in std::mem::take(&mut self.changes) {
            match change {
                Change::Write { at, data } => {
                    let mut from = 0;
                    while from < data.len() {
                        // Sectors begin at multiples of their size in the file.
                        let to = (from + SECTOR - (at + from) % SECTOR).min(data.len());
                        if dice.random_bool(kept) {
                            let part = data.get(from..to).unwrap_or_default().to_vec();
                            Change::Write { at: at + from, data: part }.apply(&mut self.durable);
                        }
                        from = to;
                    }
                }
                Change::Truncate(_) => {
                    if dice.random_bool(kept) {
                        change.apply(&mut self.durable);
                    }
                }
            }
        }
        self.content.clone_from(&self.durable);
    }

    /// A copy with everything in it synced, or not, as here.
    pub(crate) fn copy(&self) -> Self {
        Self {
            content: self.content.clone(),
            durable: self.durable.clone(),
            changes: self.changes.clone(),
            locks: Locks::default(),
            shared: Vec::new(),
        }
    }
}
