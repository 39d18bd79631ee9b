//! Lists of messages: by number, by state, in canonical order.
//!
//! The indexes are named, since SQLite would rather sort all messages of a group. The conditions `position > 0`
//! and `state <> 4` say that a partial index holds what is asked for.

use hedgerow_proto::MessageId;
use hedgerow_sync_core::store::{Direction, GroupNum, MessageNum, MessageRow, MessageState};
use hedgerow_sync_core::{OrderKey, StoreError};
use rusqlite::params;

use crate::rows::{after, limit, select_message};
use crate::store::SqliteStore;
use crate::tag;

const SCAN: &str = select_message!("WHERE num > ?1 ORDER BY num LIMIT ?2");
const DELIVERED: &str = select_message!("WHERE num > ?1 AND +state = 4 ORDER BY num LIMIT ?2");
const IN_STATE: &str = select_message!(
    "INDEXED BY message_by_state WHERE state = ?3 AND state <> 4 AND num > ?1 ORDER BY num LIMIT ?2"
);
const EXPIRING: &str = select_message!(
    "INDEXED BY message_by_expiry WHERE expires IS NOT NULL AND state BETWEEN 1 AND 4 AND expires <= ?1
     ORDER BY expires, num LIMIT ?2"
);
const FIRST: &str = select_message!(
    "INDEXED BY message_by_key WHERE grp = ?1 AND position > 0 ORDER BY eff, height, id_head, id_tail LIMIT ?2"
);
const LAST: &str = select_message!(
    "INDEXED BY message_by_key WHERE grp = ?1 AND position > 0
     ORDER BY eff DESC, height DESC, id_head DESC, id_tail DESC LIMIT ?2"
);
const FORWARD: &str = select_message!(
    "INDEXED BY message_by_key WHERE grp = ?1 AND position > 0 AND (eff, height, id_head, id_tail) > (?3, ?4, ?5, ?6)
     ORDER BY eff, height, id_head, id_tail LIMIT ?2"
);
const BACKWARD: &str = select_message!(
    "INDEXED BY message_by_key WHERE grp = ?1 AND position > 0 AND (eff, height, id_head, id_tail) < (?3, ?4, ?5, ?6)
     ORDER BY eff DESC, height DESC, id_head DESC, id_tail DESC LIMIT ?2"
);

impl SqliteStore {
    pub(crate) fn scan_list(&self, from: MessageNum, rows: usize) -> Result<Vec<MessageRow>, StoreError> {
        self.select_all(SCAN, (after(from), limit(rows)))
    }

    pub(crate) fn state_list(
        &self,
        state: MessageState,
        from: MessageNum,
        rows: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        match state {
            MessageState::Delivered => self.select_all(DELIVERED, (after(from), limit(rows))),
            _ => self.select_all(IN_STATE, (after(from), limit(rows), state as u8)),
        }
    }

    pub(crate) fn expiry_list(&self, until_ms: i64, rows: usize) -> Result<Vec<MessageRow>, StoreError> {
        self.select_all(EXPIRING, (until_ms, limit(rows)))
    }

    pub(crate) fn canonical_page(
        &self,
        group: GroupNum,
        from: Option<&OrderKey>,
        direction: Direction,
        rows: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let Some(key) = from else {
            let sql = match direction {
                Direction::Forward => FIRST,
                Direction::Backward => LAST,
            };
            return self.select_all(sql, (group.0, limit(rows)));
        };
        let sql = match direction {
            Direction::Forward => FORWARD,
            Direction::Backward => BACKWARD,
        };
        // No height in the store is above the highest signed one: a key with such a height is after them all.
        let last = MessageId::from_bytes([0xff; 32]);
        let (height, id) = i64::try_from(key.height).map_or((i64::MAX, &last), |height| (height, &key.id));
        let (head, tail) = tag::split(id);
        self.select_all(sql, params![group.0, limit(rows), key.eff_ms, height, head, tail])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let by_num = "SEARCH message USING INTEGER PRIMARY KEY (rowid>?)";
        let by_key = "SEARCH message USING INDEX message_by_key (grp=?";
        let of_equal_keys = "USE TEMP B-TREE FOR LAST TERM OF ORDER BY";
        for sql in [SCAN, DELIVERED] {
            assert_eq!(plan(&store, sql), by_num, "{sql}");
        }
        let by_state = "SEARCH message USING INDEX message_by_state (state=? AND rowid>?)";
        assert_eq!(plan(&store, IN_STATE), by_state);
        let by_expiry = "SEARCH message USING INDEX message_by_expiry (expires>? AND expires<?)";
        assert_eq!(plan(&store, EXPIRING), by_expiry);
        for (sql, range) in [
            (FIRST, ""),
            (LAST, ""),
            (FORWARD, " AND (eff,height,id_head)>(?,?,?)"),
            (BACKWARD, " AND (eff,height,id_head)<(?,?,?)"),
        ] {
            assert_eq!(plan(&store, sql), format!("{by_key}{range}); {of_equal_keys}"), "{sql}");
        }
    }
}
