//! Lists of messages: by number, by state, by expiry, in canonical order.

use hedgerow_sync_core::store::{Direction, GroupNum, MessageNum, MessageRow, MessageState};
use hedgerow_sync_core::{OrderKey, StoreError};

use crate::block::{Block, Entry};
use crate::error::corrupt;
use crate::rows::{after, limit};
use crate::small::message_num;
use crate::store::SqliteStore;

const IN_STATE: &str = "SELECT num FROM unsettled WHERE state = ?1 AND num > ?2 ORDER BY num LIMIT ?3";
const EXPIRING: &str = "SELECT num FROM expiry WHERE at <= ?1 ORDER BY at, num LIMIT ?2";
const BEGIN: &str = "SELECT first FROM block WHERE first <= ?1 ORDER BY first DESC LIMIT 1";
const BLOCKS: &str = "SELECT first, sum, data FROM block WHERE first >= ?1 ORDER BY first LIMIT ?2";
/// How many blocks are read at a time.
const AT_A_TIME: usize = 4;

impl SqliteStore {
    /// Gives the blocks from the one that `from` is in, or would be, until `take` has enough.
    pub(crate) fn each_block(
        &self,
        from: u64,
        mut take: impl FnMut(Block) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        self.log().flush(&self.connection)?;
        let begin = self.list(BEGIN, [after(MessageNum(from))], |row| message_num(row, 0))?;
        let mut next = begin.first().map_or(0, |num| num.0);
        loop {
            let at = after(MessageNum(next));
            let blocks = self.log().read_blocks(&self.connection, BLOCKS, (at, limit(AT_A_TIME)))?;
            let Some(last) = blocks.last() else { return Ok(()) };
            next = last.first.saturating_add(1);
            for block in blocks {
                if !take(block)? {
                    return Ok(());
                }
            }
        }
    }

    fn scan_for(
        &self,
        from: MessageNum,
        rows: usize,
        wanted: impl Fn(&MessageRow) -> bool,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let mut all = Vec::new();
        if rows == 0 {
            return Ok(all);
        }
        self.each_block(from.0.saturating_add(1), |block| {
            for entry in block.entries() {
                let Entry { row, .. } = entry?;
                if row.num > from && wanted(row) {
                    all.push(*row);
                    if all.len() >= rows {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        })?;
        Ok(all)
    }

    pub(crate) fn scan_list(&self, from: MessageNum, rows: usize) -> Result<Vec<MessageRow>, StoreError> {
        self.scan_for(from, rows, |_| true)
    }

    pub(crate) fn state_list(
        &self,
        state: MessageState,
        from: MessageNum,
        rows: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        if state == MessageState::Delivered {
            return self.scan_for(from, rows, |row| row.state == state);
        }
        self.log().flush(&self.connection)?;
        let found =
            self.list(IN_STATE, (state as u8, after(from), limit(rows)), |row| message_num(row, 0))?;
        self.listed(&found, "in its state", |row| row.state == state)
    }

    pub(crate) fn expiry_list(&self, until_ms: i64, rows: usize) -> Result<Vec<MessageRow>, StoreError> {
        self.log().flush(&self.connection)?;
        let found = self.list(EXPIRING, (until_ms, limit(rows)), |row| message_num(row, 0))?;
        self.listed(&found, "expiring then", |row| {
            row.state.has_body() && row.expires_ms.is_some_and(|at| at <= until_ms)
        })
    }

    /// The messages of a list, which must be what the list says.
    fn listed(
        &self,
        nums: &[MessageNum],
        what: &str,
        is: impl Fn(&MessageRow) -> bool,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let rows = nums.iter().map(|&num| {
            let row = self.message(num)?.filter(&is);
            row.ok_or_else(|| corrupt(format!("message {} is listed and not {what}", num.0)))
        });
        rows.collect()
    }

    pub(crate) fn canonical_page(
        &self,
        group: GroupNum,
        from: Option<&OrderKey>,
        direction: Direction,
        rows: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        self.log().page(&self.connection, group, from, direction, rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::{LATE_BACKWARD, LATE_FORWARD};

    fn plan(store: &SqliteStore, sql: &str) -> String {
        let mut statement = store.connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let values = vec![rusqlite::types::Null; statement.parameter_count()];
        let rows =
            statement.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
        rows.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    }

    /// A list that sorted or scanned all messages would answer right and slowly.
    #[test]
    fn lists_are_read_from_indexes() {
        let store = SqliteStore::in_memory().unwrap();
        assert_eq!(plan(&store, IN_STATE), "SEARCH unsettled USING PRIMARY KEY (state=? AND num>?)");
        assert_eq!(plan(&store, EXPIRING), "SEARCH expiry USING PRIMARY KEY (at<?)");
        let blocks = "SEARCH block USING INTEGER PRIMARY KEY (rowid>?)";
        assert!(plan(&store, BLOCKS).starts_with(blocks), "{}", plan(&store, BLOCKS));
        for (sql, range) in
            [(LATE_FORWARD, "(eff,height,id_head)>(?,?,?)"), (LATE_BACKWARD, "(eff,height,id_head)<(?,?,?)")]
        {
            assert_eq!(plan(&store, sql), format!("SEARCH late USING PRIMARY KEY (grp=? AND {range})"));
        }
    }
}
