//! A door for tests: messages changed in the file by somebody who knows how it is written.

use std::path::Path;

use bytes::Bytes;
use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::MessageRow;
use rusqlite::Connection;

use crate::block::{Entry, Slot};
use crate::error::{absent, corrupt, store_error};
use crate::log::Log;
use crate::rows::signed;
use crate::tag::TagKey;

/// A message as its block has it.
#[derive(Debug, Clone)]
pub struct Forged {
    /// Its row.
    pub row: MessageRow,
    /// Its dependencies, in the form of the block.
    pub deps: Vec<u8>,
    /// Its body, if that is in the block.
    pub body: Option<Bytes>,
}

/// Changes a message in a store that nobody has open, or removes it (`None`): its block alone, with the right sum.
/// Nothing that follows from the message is changed with it.
///
/// # Errors
/// When there is no such message or the file cannot be written.
pub fn forge(path: &Path, num: u64, change: impl FnOnce(&mut Option<Forged>)) -> Result<(), StoreError> {
    let db = Connection::open(path).map_err(store_error)?;
    let key: Vec<u8> =
        db.query_row("SELECT tag_key FROM store", [], |row| row.get(0)).map_err(store_error)?;
    let key = TagKey::new(&<[u8; 16]>::try_from(key).map_err(|_| corrupt("there is no key"))?);
    let sql = "SELECT first, sum, data FROM block WHERE first <= ?1 ORDER BY first DESC LIMIT 1";
    let found = Log::new(key.clone(), false).read_blocks(&db, sql, [signed(num, "message number")?])?;
    let mut block = found.into_iter().next().ok_or_else(|| absent("message", num))?;
    let slot = block.slot_mut(num).ok_or_else(|| absent("message", num))?;
    let Slot::Entry(Entry { row, deps, body }) = slot.clone() else { return Err(absent("message", num)) };
    let mut forged = Some(Forged { row, deps: deps.to_vec(), body });
    change(&mut forged);
    *slot = forged.map_or(Slot::Hole, |forged| {
        Slot::Entry(Entry { row: forged.row, deps: forged.deps.into(), body: forged.body })
    });
    let data = block.encode();
    let sum = key.sum(block.first, &data);
    let sql = "UPDATE block SET sum = ?2, data = ?3 WHERE first = ?1";
    db.execute(sql, (signed(block.first, "message number")?, sum, data)).map(drop).map_err(store_error)
}
