//! Stores of older schemas are opened, brought up to date, and sound.

use hedgerow_sync_core::Store as _;
use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::{MessageNum, MessageRow, MessageState};
use hedgerow_sync_sqlite::{Options, SqliteStore};

use crate::content::{assert_clean, head, write_batch};

/// A store of schema 1, as text: 8 delivered messages, and two of each of the other states.
const V1: &str = include_str!("v1.sql");

/// The same store in schema 2, with a value.
const V2: &str = include_str!("v2.sql");

fn schema(path: &std::path::Path) -> Vec<(String, String)> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let sql = "SELECT name, ifnull(sql, '') FROM sqlite_schema ORDER BY name";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_store_of_schema_1_is_brought_up_to_date() {
    bring_up_to_date(V1);
}

#[test]
fn a_store_of_schema_2_is_brought_up_to_date() {
    let path = bring_up_to_date(V2);
    let store = SqliteStore::open(&path.path().join("store.db"), Options::default()).unwrap();
    assert_eq!(store.value("cursor", b"old").unwrap(), Some(b"v".to_vec()));
}

fn bring_up_to_date(old: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(old).unwrap();
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
    // What schema 3 brought: nothing is known of what was there before, but what it weighs.
    let group = store.load().unwrap().groups.remove(0);
    let rows = store.scan(MessageNum(0), 99).unwrap();
    assert!(rows.iter().all(|row| (row.author, row.expires_ms) == (None, None)));
    let bodies = rows.iter().filter(|row| row.state == MessageState::Delivered);
    assert_eq!(group.body_bytes, bodies.map(|row| u64::from(row.body_len)).sum::<u64>());
    assert_eq!(group.max_bytes, None);
    let author = store.add_author(group.num, &[1; 32]).unwrap();
    let row = rows.into_iter().find(|row| row.state == MessageState::Delivered).unwrap();
    store.update(&MessageRow { author: Some(author), expires_ms: Some(5), ..row }).unwrap();
    // What schema 2 brought, and what was there before.
    store.set_value("cursor", b"k", Some(b"v")).unwrap();
    write_batch(&mut store, 4, 2_000).unwrap();
    store.commit().unwrap();
    drop(store);
    let store = SqliteStore::open(&path, Options::default()).unwrap();
    assert_eq!(store.value("cursor", b"k").unwrap(), Some(b"v".to_vec()));
    assert_eq!(head(&store), 12);
    assert_eq!(store.expiring(5, 9).unwrap().len(), 1);
    assert_clean(&store);
    drop(store);

    let new = folder.path().join("new.db");
    drop(SqliteStore::open(&new, Options::default()).unwrap());
    assert_eq!(schema(&path), schema(&new));
    folder
}
