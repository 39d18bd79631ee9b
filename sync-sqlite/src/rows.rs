//! Message rows out of SQLite.

use hedgerow_proto::MessageId;
use hedgerow_sync_core::store::{AuthorNum, GroupNum, MessageNum, MessageRow, MessageState, PeerNum};
use hedgerow_sync_core::{StoreError, Time};
use rusqlite::{Params, Row};

use crate::error::{corrupt, store_error};
use crate::store::SqliteStore;
use crate::tag;

/// A query for message rows; [`read`] takes them.
macro_rules! select_message {
    ($tail:literal) => {
        concat!(
            "SELECT num, grp, state, position, eff, lead, height, chain, origin, delay, body_len, missing, ",
            "reason, id_head, id_tail, author, expires FROM message ",
            $tail
        )
    };
}
pub(crate) use select_message;

impl SqliteStore {
    pub(crate) fn select_one(
        &self,
        sql: &str,
        params: impl Params,
    ) -> Result<Option<MessageRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        let mut rows = statement.query(params).map_err(store_error)?;
        rows.next().map_err(store_error)?.map(read).transpose()
    }

    pub(crate) fn select_all(&self, sql: &str, params: impl Params) -> Result<Vec<MessageRow>, StoreError> {
        self.list(sql, params, read)
    }
}

/// The row of a query made with [`select_message`].
fn read(row: &Row<'_>) -> Result<MessageRow, StoreError> {
    let num = MessageNum(unsigned(row, 0)?);
    let damaged = |what: &str| corrupt(format!("message {} has a wrong {what}", num.0));
    let state = u8::try_from(integer(row, 2)?).ok().and_then(MessageState::from_code);
    let id = read_id(row, 13)?;
    let eff_ms = integer(row, 4)?;
    let timestamp_ms = eff_ms.wrapping_sub(integer(row, 5)?);
    let origin: Option<u32> = row.get(8).map_err(store_error)?;
    Ok(MessageRow {
        num,
        group: GroupNum(row.get(1).map_err(store_error)?),
        id,
        state: state.ok_or_else(|| damaged("state"))?,
        timestamp_ms,
        eff_ms,
        height: unsigned(row, 6)?,
        position: unsigned(row, 3)?,
        chain: integer(row, 7)?.cast_unsigned(),
        origin: origin.map(PeerNum),
        arrived: Time(timestamp_ms.wrapping_add(integer(row, 9)?).cast_unsigned()),
        body_len: row.get(10).map_err(store_error)?,
        missing: row.get(11).map_err(store_error)?,
        reason: row.get(12).map_err(store_error)?,
        author: row.get::<_, Option<u32>>(15).map_err(store_error)?.map(AuthorNum),
        expires_ms: row.get(16).map_err(store_error)?,
    })
}

/// The id in two columns from `column` on.
pub(crate) fn read_id(row: &Row<'_>, column: usize) -> Result<MessageId, StoreError> {
    let head: i32 = row.get(column).map_err(store_error)?;
    let tail = row.get_ref(column + 1).map_err(store_error)?.as_blob().ok();
    tail.and_then(|tail| tag::join(head, tail)).ok_or_else(|| corrupt("a message has a wrong id"))
}

/// The columns `lead` and `delay` of a row.
pub(crate) fn offsets(row: &MessageRow) -> (i64, i64) {
    let timestamp = row.timestamp_ms;
    (row.eff_ms.wrapping_sub(timestamp), row.arrived.0.cast_signed().wrapping_sub(timestamp))
}

fn integer(row: &Row<'_>, column: usize) -> Result<i64, StoreError> {
    row.get(column).map_err(store_error)
}

fn unsigned(row: &Row<'_>, column: usize) -> Result<u64, StoreError> {
    u64::try_from(integer(row, column)?)
        .map_err(|_| corrupt(format!("column {column} of a message is negative")))
}

/// A number that SQLite compares, so that it has to keep its order as a signed one.
pub(crate) fn signed(n: u64, what: &str) -> Result<i64, StoreError> {
    i64::try_from(n).map_err(|_| corrupt(format!("a {what} of {n} is out of range")))
}

/// How many rows at most.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// Where a list goes on. No number is above the highest signed one.
pub(crate) fn after(num: MessageNum) -> i64 {
    i64::try_from(num.0).unwrap_or(i64::MAX)
}
