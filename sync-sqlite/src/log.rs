//! The messages of a store as its transaction sees them: blocks and rows of positions that were read lately, and those
//! that were changed and are written when the transaction ends.

mod order;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hedgerow_sync_core::store::{GroupNum, MessageRow, MessageState};
use hedgerow_sync_core::{OrderKey, StoreError};
use rusqlite::{Connection, OptionalExtension as _, Params};

use crate::block::{Block, Entry, MOST, Slot, broken};
use crate::error::{corrupt, store_error};
use crate::places::{Place, PlaceKey};
use crate::rows::signed;
use crate::tag::TagKey;

pub(crate) use self::order::late_key;
#[cfg(test)]
pub(crate) use self::order::{LATE_BACKWARD, LATE_FORWARD};

/// How many blocks that are on the disk as they are here are kept at most, of 4 to 16 KiB.
const CLEAN_BLOCKS: usize = 32;
/// The same of rows of positions, of 1 KiB.
const CLEAN_PLACES: usize = 64;
/// How many changed ones are kept at most before they are written.
const DIRTY: usize = 96;

/// How many changes of the table of the unsettled are kept at most before they are written.
const UNSETTLED: usize = 4_096;

/// Something that was read, or changed since.
struct Held<T> {
    value: T,
    dirty: bool,
    used: u64,
}

/// Where the delivery order of a group ends.
#[derive(Debug, Clone, Copy, Default)]
struct Tail {
    /// The highest position.
    highest: u64,
    /// The highest one of a main message; 0 for none.
    top: u64,
    /// The key of the message there.
    key: Option<OrderKey>,
}

/// See the module.
pub(crate) struct Log {
    sums: TagKey,
    /// Blocks are read whatever their sums are.
    lenient: bool,
    blocks: BTreeMap<u64, Held<Block>>,
    places: BTreeMap<PlaceKey, Held<Place>>,
    dirty_blocks: usize,
    dirty_places: usize,
    tails: BTreeMap<GroupNum, Tail>,
    /// What is to be inserted into the table of the unsettled (true) or removed from it.
    unsettled: BTreeMap<(u8, u64), bool>,
    /// Blocks begun in this transaction.
    begun: BTreeSet<u64>,
    /// The last block, and how much of it is taken.
    last: Option<(u64, usize)>,
    clock: u64,
    /// Writing failed: the transaction is to be given up.
    pub(crate) lost: bool,
}

impl Log {
    pub(crate) fn new(sums: TagKey, lenient: bool) -> Self {
        Self {
            sums,
            lenient,
            blocks: BTreeMap::new(),
            places: BTreeMap::new(),
            dirty_blocks: 0,
            dirty_places: 0,
            tails: BTreeMap::new(),
            unsettled: BTreeMap::new(),
            begun: BTreeSet::new(),
            last: None,
            clock: 0,
            lost: false,
        }
    }

    /// Forgets everything, what was not written too.
    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.sums.clone(), self.lenient);
    }

    /// The message with this number.
    pub(crate) fn entry(&mut self, db: &Connection, num: u64) -> Result<Option<&Entry>, StoreError> {
        match self.block_of(db, num)?.and_then(|block| block.slot(num)) {
            None | Some(Slot::Hole) => Ok(None),
            Some(Slot::Entry(entry)) => Ok(Some(entry)),
            Some(Slot::Broken) => Err(broken(num)),
        }
    }

    /// The block that a number is in.
    fn block_of(&mut self, db: &Connection, num: u64) -> Result<Option<&Block>, StoreError> {
        Ok(self.held_block(db, num)?.map(|held| &held.value))
    }

    fn held_block(&mut self, db: &Connection, num: u64) -> Result<Option<&mut Held<Block>>, StoreError> {
        let near = self.blocks.range(..=num).next_back();
        let first = match near.filter(|(_, held)| num < held.value.end()) {
            Some((&first, _)) => first,
            None => {
                let Ok(number) = i64::try_from(num) else { return Ok(None) };
                let sql = "SELECT first, sum, data FROM block WHERE first <= ?1 ORDER BY first DESC LIMIT 1";
                let found = match self.read_blocks(db, sql, [number]) {
                    Err(StoreError::Corrupt(_)) if self.lenient => self.find_block(db, num),
                    found => found?.pop(),
                };
                let Some(block) = found else { return Ok(None) };
                let (first, covers) = (block.first, num < block.end());
                // What is held already is newer.
                if self.blocks.contains_key(&first) || !covers {
                    return Ok(None);
                }
                self.make_room();
                self.blocks.insert(first, Held { value: block, dirty: false, used: 0 });
                first
            }
        };
        self.clock += 1;
        let clock = self.clock;
        let Some(held) = self.blocks.get_mut(&first) else { return Ok(None) };
        held.used = clock;
        Ok(Some(held))
    }

    /// The block of a number where the way to it leads over a page that is damaged: it begins somewhere before.
    fn find_block(&self, db: &Connection, num: u64) -> Option<Block> {
        let sql = "SELECT first, sum, data FROM block WHERE first = ?1";
        let firsts = (num.saturating_sub(MOST as u64)..=num).rev();
        firsts
            .filter_map(|first| self.read_blocks(db, sql, [i64::try_from(first).ok()?]).ok()?.pop())
            .find(|block| num < block.end())
    }

    /// Blocks by a query for number, sum and data.
    pub(crate) fn read_blocks(
        &self,
        db: &Connection,
        sql: &str,
        params: impl Params,
    ) -> Result<Vec<Block>, StoreError> {
        let mut statement = db.prepare_cached(sql).map_err(store_error)?;
        let mut rows = statement.query(params).map_err(store_error)?;
        let mut blocks = Vec::new();
        while let Some(row) = rows.next().map_err(store_error)? {
            let first: i64 = row.get(0).map_err(store_error)?;
            let sum: i64 = row.get(1).map_err(store_error)?;
            let data = row.get_ref(2).map_err(store_error)?.as_blob().map_err(|e| corrupt(e.to_string()))?;
            let first = u64::try_from(first).map_err(|_| corrupt("a message has a negative number"))?;
            let sound = self.sums.sum(first, data) == sum;
            if !sound && !self.lenient {
                return Err(corrupt(format!("the messages from {first} on were changed by others")));
            }
            let block = Block::decode(first, &Bytes::copy_from_slice(data), sound);
            // Without its beginning nothing of it can be read.
            blocks.push(block.unwrap_or_else(|| Block { first, slots: vec![Slot::Broken] }));
        }
        Ok(blocks)
    }

    fn make_room(&mut self) {
        while self.blocks.len() >= CLEAN_BLOCKS + self.dirty_blocks {
            let oldest = self.blocks.iter().filter(|(_, held)| !held.dirty).min_by_key(|(_, held)| held.used);
            let Some((&first, _)) = oldest else { return };
            self.blocks.remove(&first);
        }
    }

    /// Adds a message with a number above all others.
    pub(crate) fn append(&mut self, db: &Connection, entry: Entry) -> Result<(), StoreError> {
        let row = entry.row;
        self.push_entry(db, entry)?;
        self.note(db, None, Some(&row))
    }

    /// The same, without its place in the delivery order, which it is given later.
    pub(crate) fn push(&mut self, db: &Connection, entry: Entry) -> Result<(), StoreError> {
        let row = MessageRow { position: 0, ..entry.row };
        self.push_entry(db, entry)?;
        self.note(db, None, Some(&row))
    }

    fn push_entry(&mut self, db: &Connection, entry: Entry) -> Result<(), StoreError> {
        let num = entry.row.num.0;
        let (last, used) = match self.last {
            Some(last) => last,
            None => match self.block_of(db, num.saturating_sub(1))? {
                Some(block) => (block.first, block.used()),
                None => (num, 0),
            },
        };
        let limit = Block::limit(used, self.begun.contains(&last));
        let mut taken = None;
        if let Some(held) = self.held_block(db, last)?
            && held.value.end() == num
        {
            let block = &held.value;
            let quick = used + block.quick_room_for(&entry);
            // Near the end it is looked at closely, as what was reckoned is a little too much.
            let used = if quick <= limit { quick } else { block.used() + block.room_for(&entry) };
            if used <= limit && block.slots.len() < MOST {
                taken = Some(used);
            }
        }
        let first = if taken.is_some() { last } else { num };
        if taken.is_none() {
            self.blocks.insert(num, Held { value: Block::new(num), dirty: false, used: 0 });
            self.begun.insert(num);
        }
        let held = self.held_block_at(first)?;
        let used = taken.unwrap_or_else(|| held.value.used() + held.value.room_for(&entry));
        held.value.slots.push(Slot::Entry(entry));
        self.soil_block(first)?;
        self.last = Some((first, used));
        Ok(())
    }

    fn held_block_at(&mut self, first: u64) -> Result<&mut Held<Block>, StoreError> {
        self.blocks.get_mut(&first).ok_or_else(|| corrupt(format!("there is no block {first}")))
    }

    fn soil_block(&mut self, first: u64) -> Result<(), StoreError> {
        let held = self.held_block_at(first)?;
        let was = std::mem::replace(&mut held.dirty, true);
        self.dirty_blocks += usize::from(!was);
        Ok(())
    }

    /// Writes a message that is there in another form.
    pub(crate) fn replace(&mut self, db: &Connection, entry: Entry) -> Result<(), StoreError> {
        let row = entry.row;
        let old = self.swap(db, row.num.0, Slot::Entry(entry))?;
        self.note(db, Some(&old), Some(&row))
    }

    /// Removes a message. Whether it has its place in the delivery order still is for the caller to know.
    pub(crate) fn remove(&mut self, db: &Connection, num: u64, is_placed: bool) -> Result<(), StoreError> {
        let old = self.swap(db, num, Slot::Hole)?;
        let position = if is_placed { old.position } else { 0 };
        self.note(db, Some(&MessageRow { position, ..old }), None)
    }

    /// Puts something else in the place of a message; what its row was.
    fn swap(&mut self, db: &Connection, num: u64, by: Slot) -> Result<MessageRow, StoreError> {
        let Some(held) = self.held_block(db, num)? else { return Err(broken(num)) };
        let block = &mut held.value;
        // What cannot be read could not be written again.
        if let Some(bad) = (block.first..).zip(&block.slots).find(|(_, slot)| **slot == Slot::Broken) {
            return Err(broken(bad.0));
        }
        let first = block.first;
        let new = by.expected();
        let old_size = block.slot(num).map_or(0, Slot::expected);
        let old = block.slot_mut(num).map(|slot| std::mem::replace(slot, by));
        let Some(Slot::Entry(old)) = old else { return Err(broken(num)) };
        if let Some((_, used)) = self.last.as_mut().filter(|(last, _)| *last == first) {
            *used = used.saturating_sub(old_size).saturating_add(new);
        }
        self.soil_block(first)?;
        Ok(old.row)
    }

    /// Everything that follows from the row of a message having become another one.
    fn note(
        &mut self,
        db: &Connection,
        old: Option<&MessageRow>,
        new: Option<&MessageRow>,
    ) -> Result<(), StoreError> {
        let unsettled =
            |row: &MessageRow| (row.state != MessageState::Delivered).then_some((row.state as u8, row.num.0));
        let (was, is) = (old.and_then(unsettled), new.and_then(unsettled));
        if was != is {
            for (entry, inserted) in [(was, false), (is, true)] {
                let Some(entry) = entry else { continue };
                // The opposite of what was to be done is to do nothing.
                if self.unsettled.get(&entry) == Some(&!inserted) {
                    self.unsettled.remove(&entry);
                } else {
                    self.unsettled.insert(entry, inserted);
                }
            }
        }
        let expires =
            |row: &MessageRow| row.expires_ms.filter(|_| row.state.has_body()).map(|at| (at, row.num.0));
        let (was, is) = (old.and_then(expires), new.and_then(expires));
        if was != is {
            for (entry, sql) in [
                (was, "DELETE FROM expiry WHERE at = ?1 AND num = ?2"),
                (is, "INSERT INTO expiry VALUES (?1, ?2)"),
            ] {
                if let Some((at, num)) = entry {
                    execute(db, sql, (at, signed(num, "message number")?))?;
                }
            }
        }
        let placed = |row: &&MessageRow| row.state.is_delivered() && row.position > 0;
        let (was, is) = (old.filter(placed), new.filter(placed));
        let stand = |row: &MessageRow| (row.group, row.position, row.key());
        if was.map(stand) != is.map(stand) {
            if let Some(row) = was {
                self.leave(db, row)?;
            }
            if let Some(row) = is {
                self.take_place(db, row)?;
            }
        }
        self.flush_some(db)
    }

    /// Writes what was changed, if it is much.
    pub(crate) fn flush_some(&mut self, db: &Connection) -> Result<(), StoreError> {
        if self.dirty_blocks + self.dirty_places > DIRTY || self.unsettled.len() > UNSETTLED {
            self.flush(db)?;
        }
        Ok(())
    }

    /// Writes everything that was changed.
    pub(crate) fn flush(&mut self, db: &Connection) -> Result<(), StoreError> {
        self.write_all(db).inspect_err(|_| self.lost = true)
    }

    fn write_all(&mut self, db: &Connection) -> Result<(), StoreError> {
        if self.dirty_blocks > 0 {
            let last = self.blocks.last_key_value().map(|(&first, _)| first);
            for (&first, held) in self.blocks.iter_mut().filter(|(_, held)| held.dirty) {
                let number = signed(first, "message number")?;
                if held.value.is_empty() {
                    execute(db, "DELETE FROM block WHERE first = ?1", [number])?;
                } else {
                    let data = held.value.encode();
                    let sum = self.sums.sum(first, &data);
                    execute(db, "INSERT OR REPLACE INTO block VALUES (?1, ?2, ?3)", (number, sum, data))?;
                }
            }
            // Bodies that came in frames hold these in memory.
            self.blocks.retain(|&first, held| !held.dirty || (Some(first) == last && !held.value.is_empty()));
            self.blocks.values_mut().for_each(|held| held.dirty = false);
            self.dirty_blocks = 0;
            if self.last.is_some_and(|(first, _)| !self.blocks.contains_key(&first)) {
                self.last = None;
            }
        }
        if self.dirty_places > 0 {
            for ((group, part), held) in self.places.iter_mut().filter(|(_, held)| held.dirty) {
                let part = signed(*part, "position")?;
                if held.value.is_empty() {
                    execute(db, "DELETE FROM place WHERE grp = ?1 AND part = ?2", (group.0, part))?;
                } else {
                    let top = signed(held.value.top, "position")?;
                    let sql = "INSERT OR REPLACE INTO place VALUES (?1, ?2, ?3, ?4)";
                    execute(db, sql, (group.0, part, top, held.value.encode()))?;
                }
                held.dirty = false;
            }
            self.places.retain(|_, held| !held.value.is_empty());
            self.dirty_places = 0;
            while self.places.len() > CLEAN_PLACES && self.forget_place() {}
        }
        for ((state, num), inserted) in std::mem::take(&mut self.unsettled) {
            let sql = if inserted {
                "INSERT INTO unsettled VALUES (?1, ?2)"
            } else {
                "DELETE FROM unsettled WHERE state = ?1 AND num = ?2"
            };
            execute(db, sql, (state, signed(num, "message number")?))?;
        }
        Ok(())
    }

    /// The transaction ends: what is written again with each small commit from here on is one page.
    pub(crate) fn end_block(&mut self) {
        let Some((first, used)) = self.last else { return };
        let Some(held) = self.blocks.get_mut(&first).filter(|held| held.dirty) else { return };
        let Some(end) = held.value.end_of_full_pages(used) else { return };
        let slots = held.value.slots.split_off(end);
        let next = held.value.end();
        let block = Block { first: next, slots };
        if block.is_empty() {
            held.value.slots.extend(block.slots);
            return;
        }
        self.last = Some((next, block.used()));
        self.blocks.insert(next, Held { value: block, dirty: true, used: 0 });
        self.dirty_blocks += 1;
    }

    /// The transaction was committed: what was begun in it is begun.
    pub(crate) fn committed(&mut self) {
        self.begun.clear();
    }

    /// Forgets the row of positions that was not used for the longest time; false if there is none to forget.
    fn forget_place(&mut self) -> bool {
        let oldest = self.places.iter().filter(|(_, held)| !held.dirty).min_by_key(|(_, held)| held.used);
        let Some((&key, _)) = oldest else { return false };
        self.places.remove(&key).is_some()
    }
}

fn execute(db: &Connection, sql: &str, params: impl Params) -> Result<usize, StoreError> {
    db.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).map_err(store_error)
}

/// One row of a query, if there is one.
fn select<T>(
    db: &Connection,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    let mut statement = db.prepare_cached(sql).map_err(store_error)?;
    statement.query_row(params, read).optional().map_err(store_error)
}
