//! Stores of older schemas are opened, brought up to date, and sound.

use hedgerow_sync_core::Store as _;
use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::{MessageNum, MessageState};
use hedgerow_sync_sqlite::{Options, SqliteStore};

use crate::content::{assert_clean, head, write_batch};

/// A store of schema 1, as text: 8 delivered messages, and two of each of the other states.
const V1: &str = include_str!("v1.sql");

fn schema(path: &std::path::Path) -> Vec<(String, String)> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let sql = "SELECT name, ifnull(sql, '') FROM sqlite_schema ORDER BY name";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_store_of_schema_1_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(V1).unwrap();
    // Reading alone cannot bring it up to date.
    let error = SqliteStore::open_read_only(&path, Options::default()).unwrap_err();
    assert!(matches!(error, StoreError::Backend(_)) && error.to_string().contains("older schema"), "{error}");

    let mut store = SqliteStore::open(&path, Options::default()).unwrap();
    assert_clean(&store);
    let report = store.check().unwrap();
    assert_eq!((report.messages, report.delivered, report.waiting, report.invalid), (16, 8, 2, 2));
    assert_eq!(head(&store), 8);
    assert_eq!(store.load().unwrap().install, Some(7));
    assert_eq!(store.in_state(MessageState::Early, MessageNum(0), 9).unwrap().len(), 2);
    // What schema 2 brought, and what was there before.
    store.set_value("cursor", b"k", Some(b"v")).unwrap();
    write_batch(&mut store, 4, 2_000).unwrap();
    store.commit().unwrap();
    drop(store);
    let store = SqliteStore::open(&path, Options::default()).unwrap();
    assert_eq!(store.value("cursor", b"k").unwrap(), Some(b"v".to_vec()));
    assert_eq!(head(&store), 12);
    assert_clean(&store);
    drop(store);

    let new = folder.path().join("new.db");
    drop(SqliteStore::open(&new, Options::default()).unwrap());
    assert_eq!(schema(&path), schema(&new));
}
