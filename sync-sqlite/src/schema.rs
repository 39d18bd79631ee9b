//! The schema and the way from older ones to it.

mod moved;

use std::sync::LazyLock;

use hedgerow_sync_core::StoreError;
use rusqlite::{Connection, Transaction};
use rusqlite_migration::{M, Migrations};

use crate::error::{backend, corrupt, store_error};

/// Says in the file's header that it is a store of ours.
pub(crate) const APPLICATION_ID: i64 = 0x4867_726f;

/// A schema that was released is never changed, only followed by another.
const LADDER: &[&str] = &[
    include_str!("sql/v1.sql"),
    include_str!("sql/v2.sql"),
    include_str!("sql/v3.sql"),
    include_str!("sql/v4.sql"),
];
/// The schema that has messages in blocks: what is before it in the way is moved by [`moved::to_blocks`].
const BLOCKS: usize = 4;

static MIGRATIONS: LazyLock<Migrations<'static>> = LazyLock::new(|| {
    Migrations::from_iter((1..).zip(LADDER).map(|(schema, sql)| match schema {
        BLOCKS => M::up_with_hook(sql, |transaction: &Transaction<'_>| moved::to_blocks(transaction)),
        _ => M::up(sql),
    }))
});

/// The schema that this code writes.
pub(crate) fn current() -> u64 {
    u64::try_from(LADDER.len()).unwrap_or(u64::MAX)
}

/// Refuses what is not a store, or one of a newer version; reads only.
pub(crate) fn admit(connection: &Connection) -> Result<(), StoreError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let version = pragma("user_version").map_err(store_error)?;
    let application = pragma("application_id").map_err(store_error)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(store_error)?;
    if application != APPLICATION_ID && (application, version, tables) != (0, 0, 0) {
        return Err(StoreError::Corrupt("the file is a database of another program".to_owned()));
    }
    let found = u64::try_from(version).unwrap_or(u64::MAX);
    if found > current() {
        return Err(StoreError::Newer { found, known: current() });
    }
    Ok(())
}

/// Whether the store has the schema that this code reads.
pub(crate) fn is_current(connection: &Connection) -> Result<bool, StoreError> {
    let version = connection.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
    Ok(u64::try_from(version.map_err(store_error)?).ok() == Some(current()))
}

/// Brings the store to the current schema, each step in a transaction of its own.
pub(crate) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    MIGRATIONS.to_latest(connection).map_err(|error| match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => store_error(err),
        rusqlite_migration::Error::Hook(what) => corrupt(what),
        other => backend(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ladder_stands() {
        MIGRATIONS.validate().unwrap();
    }
}
