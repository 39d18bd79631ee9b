//! The two orders of a group: by position, and by canonical key.

use hedgerow_sync_core::store::{Direction, GroupNum, MessageNum, MessageRow};
use hedgerow_sync_core::{OrderKey, StoreError};
use rusqlite::Connection;

use super::{CLEAN_PLACES, Held, Log, Tail, execute, select};
use crate::block::broken;
use crate::error::{corrupt, store_error};
use crate::places::{Place, PlaceKey, Stand, place_of};
use crate::rows::signed;
use crate::tag;

/// A main message: its position and its row.
type Main = (u64, MessageRow);

impl Log {
    /// The number of the message at a position.
    pub(crate) fn at(
        &mut self,
        db: &Connection,
        group: GroupNum,
        position: u64,
    ) -> Result<Option<u64>, StoreError> {
        let (part, slot) = place_of(position);
        if position == 0 || i64::try_from(position).is_err() {
            return Ok(None);
        }
        Ok(self.place(db, (group, part))?.map(|place| place.get(slot).num).filter(|num| *num > 0))
    }

    fn place(&mut self, db: &Connection, key: PlaceKey) -> Result<Option<&mut Place>, StoreError> {
        if !self.places.contains_key(&key) {
            let part = signed(key.1, "position")?;
            let sql = "SELECT top, nums FROM place WHERE grp = ?1 AND part = ?2";
            let read = |row: &rusqlite::Row<'_>| Ok(read_place(row, 0));
            let Some(place) = select(db, sql, (key.0.0, part), read)? else { return Ok(None) };
            while self.places.len() >= CLEAN_PLACES + self.dirty_places && self.forget_place() {}
            self.places.insert(key, Held { value: place?, dirty: false, used: 0 });
        }
        self.clock += 1;
        let clock = self.clock;
        Ok(self.places.get_mut(&key).map(|held| {
            held.used = clock;
            &mut held.value
        }))
    }

    fn soil_place(&mut self, key: PlaceKey) {
        if let Some(held) = self.places.get_mut(&key) {
            let was = std::mem::replace(&mut held.dirty, true);
            self.dirty_places += usize::from(!was);
        }
    }

    /// Where the delivery order of a group ends.
    fn tail(&mut self, db: &Connection, group: GroupNum) -> Result<Tail, StoreError> {
        if let Some(tail) = self.tails.get(&group) {
            return Ok(*tail);
        }
        let sql = "SELECT part, top, nums FROM place WHERE grp = ?1 ORDER BY part DESC LIMIT 1";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, read_place(row, 1)));
        let mut tail = Tail::default();
        if let Some((part, place)) = select(db, sql, [group.0], read)? {
            let place = place?;
            let highest = place.stands(part.unsigned_abs()).next_back();
            tail.highest = highest.map_or(0, |(position, _)| position).max(place.top);
            tail.top = place.top;
            if tail.top > 0 {
                tail.key = Some(self.row_at(db, group, tail.top)?.key());
            }
        }
        self.tails.insert(group, tail);
        Ok(tail)
    }

    fn row_at(&mut self, db: &Connection, group: GroupNum, position: u64) -> Result<MessageRow, StoreError> {
        let num = self.at(db, group, position)?;
        let num = num.ok_or_else(|| corrupt(format!("group {} has nothing at {position}", group.0)))?;
        self.row_of(db, group, position, num)
    }

    fn row_of(
        &mut self,
        db: &Connection,
        group: GroupNum,
        position: u64,
        num: u64,
    ) -> Result<MessageRow, StoreError> {
        let row = self.entry(db, num)?.map(|entry| entry.row);
        row.filter(|row| row.group == group && row.position == position)
            .ok_or_else(|| corrupt(format!("message {num} is not at {position} of group {}", group.0)))
    }

    /// A message was delivered.
    pub(crate) fn take_place(&mut self, db: &Connection, row: &MessageRow) -> Result<(), StoreError> {
        let position = row.position;
        let mut tail = self.tail(db, row.group)?;
        let main = position > tail.highest && tail.key.is_none_or(|key| row.key() > key);
        let (part, slot) = place_of(position);
        let key = (row.group, part);
        if self.place(db, key)?.is_none() {
            let top = if position > tail.highest { tail.top } else { self.top_before(db, key)? };
            self.places.insert(key, Held { value: Place::new(top), dirty: false, used: self.clock });
        }
        if let Some(place) = self.place(db, key)? {
            if place.get(slot).num > 0 {
                return Err(corrupt(format!("two messages at {position} of group {}", row.group.0)));
            }
            place.set(slot, row.num.0, !main);
            if main {
                place.top = position;
            }
        }
        self.soil_place(key);
        if main {
            (tail.top, tail.key) = (position, Some(row.key()));
        } else {
            let sql = "INSERT INTO late VALUES (?1, ?2, ?3, ?4, ?5)";
            execute(db, sql, late_key(row)?)?;
        }
        tail.highest = tail.highest.max(position);
        self.tails.insert(row.group, tail);
        Ok(())
    }

    /// The highest position of a main message in the rows before this one.
    fn top_before(&mut self, db: &Connection, key: PlaceKey) -> Result<u64, StoreError> {
        let held = self.places.range((key.0, 0)..key).next_back().map(|(key, held)| (key.1, held.value.top));
        let part = signed(key.1, "position")?;
        let sql = "SELECT part, top FROM place WHERE grp = ?1 AND part < ?2 ORDER BY part DESC LIMIT 1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok((row.get::<_, i64>(0)?.unsigned_abs(), row.get::<_, i64>(1)?.unsigned_abs()))
        };
        let written = select(db, sql, (key.0.0, part), read)?;
        // What is held is newer.
        Ok(match (held, written) {
            (Some(held), Some(written)) if written.0 > held.0 => written.1,
            (Some(held), _) => held.1,
            (None, written) => written.map_or(0, |written| written.1),
        })
    }

    /// A message is not delivered any more, or has another key. An engine does not do that.
    pub(super) fn leave(&mut self, db: &Connection, row: &MessageRow) -> Result<(), StoreError> {
        let (part, slot) = place_of(row.position);
        let key = (row.group, part);
        let mut stood = Stand { num: 0, late: false };
        if let Some(place) = self.place(db, key)? {
            stood = place.get(slot);
            place.set(slot, 0, false);
        }
        if stood.num != row.num.0 {
            return Err(broken(row.num.0));
        }
        self.soil_place(key);
        if stood.late {
            let sql =
                "DELETE FROM late WHERE grp = ?1 AND eff = ?2 AND height = ?3 AND id_head = ?4 AND num = ?5";
            execute(db, sql, late_key(row)?)?;
            // The highest one is found again.
            self.tails.remove(&row.group);
            return self.flush(db);
        }
        self.place_again(db, row.group)
    }

    /// Finds out anew which messages of a group are main ones.
    fn place_again(&mut self, db: &Connection, group: GroupNum) -> Result<(), StoreError> {
        self.flush(db)?;
        let mut all = Vec::new();
        self.each_place(db, group, &mut |_, part, place| {
            all.extend(place.stands(part).map(|(position, stand)| (position, stand.num)));
            Ok(())
        })?;
        self.remove_places(db, group)?;
        for (position, num) in all {
            let row = self.row_of(db, group, position, num)?;
            self.take_place(db, &row)?;
        }
        Ok(())
    }

    pub(crate) fn remove_places(&mut self, db: &Connection, group: GroupNum) -> Result<(), StoreError> {
        self.flush(db)?;
        execute(db, "DELETE FROM place WHERE grp = ?1", [group.0])?;
        execute(db, "DELETE FROM late WHERE grp = ?1", [group.0])?;
        self.places.retain(|key, _| key.0 != group);
        self.tails.remove(&group);
        Ok(())
    }

    /// Gives the rows of positions of a group, in order. Everything must have been written.
    pub(crate) fn each_place(
        &self,
        db: &Connection,
        group: GroupNum,
        take: &mut dyn FnMut(GroupNum, u64, Place) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let sql = "SELECT part, top, nums FROM place WHERE grp = ?1 ORDER BY part";
        let mut statement = db.prepare_cached(sql).map_err(store_error)?;
        let mut rows = statement.query([group.0]).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let part: i64 = row.get(0).map_err(store_error)?;
            take(group, part.unsigned_abs(), read_place(row, 1)?)?;
        }
        Ok(())
    }

    /// Delivered messages by key, from after one.
    pub(crate) fn page(
        &mut self,
        db: &Connection,
        group: GroupNum,
        from: Option<&OrderKey>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        self.flush(db)?;
        let mut late = self.late_page(db, group, from, direction, limit)?.into_iter().peekable();
        let mut main = self.first_main(db, group, from, direction)?;
        let mut page = Vec::new();
        while page.len() < limit {
            let late_first = match (&main, late.peek()) {
                (None, None) => break,
                (None, Some(_)) => true,
                (Some(_), None) => false,
                (Some((_, main)), Some(late)) => match direction {
                    Direction::Forward => late.key() < main.key(),
                    Direction::Backward => late.key() > main.key(),
                },
            };
            if late_first {
                page.extend(late.next());
            } else if let Some((position, row)) = main {
                page.push(row);
                main = self.next_main(db, group, position, direction)?;
            }
        }
        Ok(page)
    }

    /// Where a page begins among the main messages.
    fn first_main(
        &mut self,
        db: &Connection,
        group: GroupNum,
        from: Option<&OrderKey>,
        direction: Direction,
    ) -> Result<Option<Main>, StoreError> {
        let Some(from) = from else {
            let end = match direction {
                Direction::Forward => 0,
                Direction::Backward => i64::MAX.unsigned_abs(),
            };
            return self.next_main(db, group, end, direction);
        };
        // The keys of main messages ascend with their positions: below `low` all are lower, from `high` on none is.
        let (mut low, mut high) = (0, self.tail(db, group)?.top.saturating_add(1));
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            match self.next_main(db, group, middle - 1, Direction::Forward)? {
                Some((position, row)) if position < high => {
                    if row.key() < *from {
                        low = position;
                    } else {
                        high = middle;
                    }
                }
                _ => high = middle,
            }
        }
        match direction {
            Direction::Backward if low == 0 => Ok(None),
            Direction::Backward => self.next_main(db, group, low.saturating_add(1), direction),
            Direction::Forward => match self.next_main(db, group, low, direction)? {
                Some((position, row)) if row.key() == *from => self.next_main(db, group, position, direction),
                main => Ok(main),
            },
        }
    }

    /// The main message nearest after a position, or before it.
    fn next_main(
        &mut self,
        db: &Connection,
        group: GroupNum,
        position: u64,
        direction: Direction,
    ) -> Result<Option<Main>, StoreError> {
        let found = match direction {
            Direction::Forward => self.main_after(db, group, position)?,
            Direction::Backward => self.main_before(db, group, position)?,
        };
        let Some((position, num)) = found else { return Ok(None) };
        self.row_of(db, group, position, num).map(|row| Some((position, row)))
    }

    fn main_after(
        &mut self,
        db: &Connection,
        group: GroupNum,
        position: u64,
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let main = |place: &mut Place, part| {
            place.stands(part).find(|(at, stand)| *at > position && !stand.late).map(|(at, it)| (at, it.num))
        };
        let (part, _) = place_of(position.saturating_add(1));
        if let Some(found) = self.place(db, (group, part))?.and_then(|place| main(place, part)) {
            return Ok(Some(found));
        }
        let sql = "SELECT part FROM place INDEXED BY place_by_top WHERE grp = ?1 AND top > ?2
            ORDER BY top, part LIMIT 1";
        let part = select(db, sql, (group.0, signed(position, "position")?), |row| row.get::<_, i64>(0))?;
        let Some(part) = part.map(i64::unsigned_abs) else { return Ok(None) };
        Ok(self.place(db, (group, part))?.and_then(|place| main(place, part)))
    }

    fn main_before(
        &mut self,
        db: &Connection,
        group: GroupNum,
        position: u64,
    ) -> Result<Option<(u64, u64)>, StoreError> {
        let (part, _) = place_of(position.saturating_sub(1));
        let found = self.place(db, (group, part))?.and_then(|place| {
            let mut stands = place.stands(part).rev();
            stands.find(|(at, stand)| *at < position && !stand.late).map(|(at, it)| (at, it.num))
        });
        if found.is_some() {
            return Ok(found);
        }
        let top = self.top_before(db, (group, part))?;
        Ok(self.at(db, group, top)?.map(|num| (top, num)))
    }

    /// Late messages by key, from after one.
    fn late_page(
        &mut self,
        db: &Connection,
        group: GroupNum,
        from: Option<&OrderKey>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let backward = direction == Direction::Backward;
        let (eff, height, head) = match from {
            // No height in the store is above the highest signed one: a key with such a height is after them all.
            Some(key) => match i64::try_from(key.height) {
                Ok(height) => (key.eff_ms, height, tag::split(&key.id).0),
                Err(_) => (key.eff_ms, i64::MAX, i32::MAX),
            },
            None if backward => (i64::MAX, i64::MAX, i32::MAX),
            None => (i64::MIN, i64::MIN, i32::MIN),
        };
        let sql = match direction {
            Direction::Forward => LATE_FORWARD,
            Direction::Backward => LATE_BACKWARD,
        };
        let mut statement = db.prepare_cached(sql).map_err(store_error)?;
        let mut rows = statement.query((group.0, eff, height, head)).map_err(store_error)?;
        let mut page: Vec<MessageRow> = Vec::new();
        let mut equal = None;
        while let Some(found) = rows.next().map_err(store_error)? {
            let column = |at| found.get::<_, i64>(at).map_err(store_error);
            let key = (column(0)?, column(1)?, column(2)?);
            // Those with equal columns are told apart by their ids: all of them, or none.
            if page.len() >= limit && equal != Some(key) {
                break;
            }
            equal = Some(key);
            let num = column(3)?.unsigned_abs();
            let row = self.entry(db, num)?.map(|entry| entry.row);
            let row = row
                .filter(|row| row.group == group && row.num == MessageNum(num) && row.state.is_delivered())
                .ok_or_else(|| corrupt(format!("message {num} is not in group {}", group.0)))?;
            let wanted = from.is_none_or(|from| if backward { row.key() < *from } else { row.key() > *from });
            if wanted {
                page.push(row);
            }
        }
        page.sort_unstable_by_key(MessageRow::key);
        if backward {
            page.reverse();
        }
        page.truncate(limit);
        Ok(page)
    }
}

pub(crate) const LATE_FORWARD: &str = "SELECT eff, height, id_head, num FROM late
    WHERE grp = ?1 AND (eff, height, id_head) >= (?2, ?3, ?4) ORDER BY eff, height, id_head, num";
pub(crate) const LATE_BACKWARD: &str = "SELECT eff, height, id_head, num FROM late
    WHERE grp = ?1 AND (eff, height, id_head) <= (?2, ?3, ?4) ORDER BY eff DESC, height DESC, id_head DESC, num DESC";

pub(crate) fn late_key(row: &MessageRow) -> Result<(u32, i64, i64, i32, i64), StoreError> {
    let height = signed(row.height, "height")?;
    Ok((row.group.0, row.eff_ms, height, tag::split(&row.id).0, signed(row.num.0, "message number")?))
}

fn read_place(row: &rusqlite::Row<'_>, column: usize) -> Result<Place, StoreError> {
    let top: i64 = row.get(column).map_err(store_error)?;
    let nums = row.get_ref(column + 1).map_err(store_error)?.as_blob().ok();
    let top = u64::try_from(top).ok();
    top.zip(nums)
        .and_then(|(top, nums)| Place::decode(nums, top))
        .ok_or_else(|| corrupt("a row of positions cannot be read"))
}
