//! From schema 3 to 4: the rows of messages go into blocks.

use bytes::Bytes;
use hedgerow_sync_core::store::{AuthorNum, GroupNum, MessageNum, MessageRow, MessageState, PeerNum};
use hedgerow_sync_core::{StoreError, Time};
use rusqlite::{Connection, Row, ffi};
use rusqlite_migration::HookError;

use crate::block::{Entry, INLINE_BODY};
use crate::error::{corrupt, store_error};
use crate::log::Log;
use crate::tag::{TagKey, join};

/// Moves all messages. What cannot be read is left out: the check finds that it is missing, and a repair has it sent
/// again.
pub(super) fn to_blocks(db: &Connection) -> Result<(), HookError> {
    move_all(db).map_err(|error| match error {
        StoreError::Full => sqlite(ffi::SQLITE_FULL),
        StoreError::Busy => sqlite(ffi::SQLITE_BUSY),
        StoreError::Backend(error) => match error.downcast::<rusqlite::Error>() {
            Ok(error) => HookError::RusqliteError(*error),
            Err(error) => HookError::Hook(error.to_string()),
        },
        other => HookError::Hook(other.to_string()),
    })
}

fn sqlite(code: std::ffi::c_int) -> HookError {
    HookError::RusqliteError(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None))
}

fn move_all(db: &Connection) -> Result<(), StoreError> {
    let key: Vec<u8> =
        db.query_row("SELECT tag_key FROM store", [], |row| row.get(0)).map_err(store_error)?;
    let key = <[u8; 16]>::try_from(key).map_err(|_| corrupt("the key for tags has not 16 bytes"))?;
    let mut log = Log::new(TagKey::new(&key), false);
    {
        let sql =
            "SELECT num, grp, state, position, eff, lead, height, chain, origin, delay, body_len, missing,
            reason, id_head, id_tail, author, expires, deps, body FROM message WHERE num > 0 ORDER BY num";
        let mut statement = db.prepare(sql).map_err(store_error)?;
        let mut rows = statement.query([]).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            if let Some(entry) = read(row) {
                log.push(db, entry)?;
            }
        }
    }
    {
        // In the order in which they were delivered, which is not that of their numbers.
        let sql = "SELECT num FROM message WHERE position > 0 ORDER BY grp, position";
        let mut statement = db.prepare(sql).map_err(store_error)?;
        let mut rows = statement.query([]).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let num: i64 = row.get(0).map_err(store_error)?;
            let row = log.entry(db, num.unsigned_abs())?.map(|entry| entry.row);
            if let Some(row) = row.filter(|row| row.position > 0) {
                log.take_place(db, &row)?;
                log.flush_some(db)?;
            }
        }
    }
    log.flush(db)?;
    db.execute_batch("DROP TABLE message").map_err(store_error)
}

/// A row of schema 3; `None` if it is damaged.
fn read(row: &Row<'_>) -> Option<Entry> {
    let integer = |column| row.get::<_, i64>(column).ok();
    let unsigned = |column| u64::try_from(integer(column)?).ok();
    let blob = |column| row.get_ref(column).ok()?.as_blob_or_null().ok();
    let state = MessageState::from_code(u8::try_from(integer(2)?).ok()?)?;
    let eff_ms = integer(4)?;
    let timestamp_ms = eff_ms.wrapping_sub(integer(5)?);
    let position = unsigned(3)?;
    let body_len = row.get(10).ok()?;
    let row = MessageRow {
        num: MessageNum(unsigned(0)?),
        group: GroupNum(row.get(1).ok()?),
        id: join(row.get(13).ok()?, blob(14)??)?,
        state,
        timestamp_ms,
        eff_ms,
        height: unsigned(6)?,
        position,
        chain: integer(7)?.cast_unsigned(),
        origin: row.get::<_, Option<u32>>(8).ok()?.map(PeerNum),
        arrived: Time(timestamp_ms.wrapping_add(integer(9)?).cast_unsigned()),
        body_len,
        missing: row.get(11).ok()?,
        reason: row.get(12).ok()?,
        author: row.get::<_, Option<u32>>(15).ok()?.map(AuthorNum),
        expires_ms: row.get(16).ok()?,
    };
    let body = blob(18)?.filter(|body| body.len() <= INLINE_BODY && state.has_body());
    // What was delivered had a position, and nothing else had.
    (state.is_delivered() == (position > 0)).then_some(())?;
    Some(Entry { row, deps: Bytes::copy_from_slice(blob(17)??), body: body.map(Bytes::copy_from_slice) })
}
