//! Files: how they are made, when they are full, whose they are.

use hedgerow_sync_core::{Store as _, StoreError};
use hedgerow_sync_sqlite::{Options, SqliteStore};

use crate::content::{assert_clean, head, prepare, write_batch};

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let mut store = SqliteStore::open(&folder.path().join("store.db"), Options::default()).unwrap();
    prepare(&mut store).unwrap();
    store.commit().unwrap();
    let files: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() >= 2, "the database and its log");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[test]
fn a_full_disk_keeps_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut small = Options::default();
    small.max_bytes = Some(400_000);
    let mut store = SqliteStore::open(&path, small).unwrap();
    prepare(&mut store).unwrap();
    let mut committed = 0;
    let error = loop {
        match write_batch(&mut store, 50, 500).and_then(|()| store.commit()) {
            Ok(()) => committed = head(&store),
            Err(error) => break error,
        }
        assert!(committed < 10_000, "it never gets full");
    };
    assert!(matches!(error, StoreError::Full), "{error}");
    assert!(committed > 0);
    // What was begun cannot be gone on with, nor committed.
    assert!(matches!(store.set_install(1), Err(StoreError::Backend(_))));
    assert!(matches!(store.commit(), Err(StoreError::Backend(_))));
    assert_eq!(head(&store), committed);
    store.rollback().unwrap();
    assert_clean(&store);
    assert_eq!(head(&store), committed);
    // Small things may still fit, the same batch does not.
    let again = write_batch(&mut store, 50, 500).and_then(|()| store.commit());
    assert!(matches!(again, Err(StoreError::Full)));
    drop(store);
    assert!(std::fs::metadata(&path).unwrap().len() <= 400_000);

    let mut store = SqliteStore::open(&path, Options::default()).unwrap();
    assert_eq!(head(&store), committed);
    write_batch(&mut store, 50, 500).unwrap();
    store.commit().unwrap();
    assert_clean(&store);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    drop(SqliteStore::open(&path, Options::default()).unwrap());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let before = std::fs::read(&path).unwrap();
    for open in [SqliteStore::open, SqliteStore::open_read_only] {
        let error = open(&path, Options::default()).unwrap_err();
        assert!(matches!(error, StoreError::Newer { found: 99, known: 4 }), "{error}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_no_store_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text"), "These are my notes. ".repeat(500)).unwrap();
    let other = rusqlite::Connection::open(path("other")).unwrap();
    other.execute_batch("CREATE TABLE message (text)").unwrap();
    drop(other);
    for name in ["text", "other"] {
        let before = std::fs::read(path(name)).unwrap();
        for open in [SqliteStore::open, SqliteStore::open_read_only] {
            let error = open(&path(name), Options::default()).unwrap_err();
            assert!(matches!(error, StoreError::Corrupt(_)), "{name}: {error}");
        }
        assert_eq!(std::fs::read(path(name)).unwrap(), before, "{name}");
    }
    // Nothing is made by reading, and nothing where there is no folder.
    let missing = path("missing");
    assert!(matches!(SqliteStore::open_read_only(&missing, Options::default()), Err(StoreError::Backend(_))));
    assert!(!missing.exists());
    let nowhere = path("no folder").join("store.db");
    assert!(matches!(SqliteStore::open(&nowhere, Options::default()), Err(StoreError::Backend(_))));
}
