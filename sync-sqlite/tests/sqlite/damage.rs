//! The check finds what is wrong in the file.

use hedgerow_sync_core::Store as _;
use hedgerow_sync_core::store::Invariant::{self, *};
use hedgerow_sync_sqlite::{Options, SqliteStore};

use crate::content::{assert_clean, prepare, write_batch};

/// Statements that break a store, and what is broken by them. Message 35 is delivered, and has its body in its row.
const DAMAGES: &[(&str, Invariant)] = &[
    ("UPDATE message SET body = zeroblob(length(body)) WHERE num = 35", MessageId),
    ("UPDATE body SET body = zeroblob(length(body)) WHERE num = (SELECT max(num) FROM body)", MessageId),
    ("UPDATE message SET body = NULL WHERE num = 35", Body),
    ("UPDATE message SET deps = x'80' WHERE num = 35", Readable),
    ("UPDATE message SET deps = x'ff01' WHERE num = 35", Readable),
    ("UPDATE message SET state = 99 WHERE num = 35", Readable),
    ("UPDATE message SET id_tail = x'00' WHERE num = 35", Readable),
    ("UPDATE message SET height = -1 WHERE num = 35", Readable),
    ("UPDATE message SET missing = 1 << 40 WHERE num = 35", Readable),
    ("UPDATE message SET chain = chain + 1 WHERE num = 35", Chain),
    ("UPDATE message SET eff = eff + 1, lead = lead + 1 WHERE num = 35", OrderKey),
    ("UPDATE message SET reason = 1 WHERE num = 35", Reason),
    ("UPDATE message SET author = 9 WHERE num = 35", Author),
    ("UPDATE message SET author = -1 WHERE num = 35", Readable),
    ("UPDATE grp SET body_bytes = body_bytes - 1", BytesHeld),
    ("INSERT INTO author VALUES (1, 9, zeroblob(32))", Storage),
    ("UPDATE peer_group SET has = x'00'", PeerGroup),
    ("UPDATE peer_group SET visibility = 9", Readable),
    ("UPDATE store SET last_group = 0", Numbers),
    ("UPDATE grp SET head = head + 1", Positions),
    ("DELETE FROM head", Heads),
    ("DELETE FROM edge", Edges),
    ("DELETE FROM message WHERE state = 0", Readable),
    ("UPDATE store SET tagged = 1", Lookup),
    ("UPDATE store SET tagged = 1", Storage),
    ("INSERT INTO message_tag VALUES (1, 1)", Storage),
    ("INSERT INTO message_tag VALUES (1, 999)", Storage),
    ("INSERT INTO body VALUES (35, x'00')", Storage),
    ("INSERT INTO body VALUES (999, x'00')", Storage),
    ("INSERT INTO head VALUES (9, 35)", Storage),
    ("INSERT INTO edge VALUES (999, 35)", Storage),
    ("INSERT INTO peer_group SELECT 9, grp, visibility, has, got, mark, mark_chain FROM peer_group", Storage),
];

#[test]
fn each_damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound.db");
    let mut store = SqliteStore::open(&sound, Options::default()).unwrap();
    prepare(&mut store).unwrap();
    write_batch(&mut store, 30, 1_030).unwrap();
    write_batch(&mut store, 30, 100).unwrap();
    store.commit().unwrap();
    assert_clean(&store);
    drop(store);
    let path = folder.path().join("damaged.db");
    for (sql, invariant) in DAMAGES {
        std::fs::copy(&sound, &path).unwrap();
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.pragma_update(None, "foreign_keys", 0).unwrap();
        connection.pragma_update(None, "journal_mode", "DELETE").unwrap();
        assert!(connection.execute(sql, []).unwrap() > 0, "{sql}");
        drop(connection);
        match SqliteStore::open(&path, Options::default()) {
            // Already opening it reads the latest rows.
            Err(error) => assert_eq!((invariant, is_corrupt(&error)), (&Readable, true), "{sql}: {error}"),
            Ok(store) => match store.check() {
                // The small rows are needed for everything.
                Err(error) => {
                    assert_eq!((invariant, is_corrupt(&error)), (&Readable, true), "{sql}: {error}")
                }
                Ok(report) => {
                    let found = report.problems.iter().any(|problem| problem.invariant == *invariant);
                    assert!(found, "{sql}: {report}");
                }
            },
        }
    }
}

fn is_corrupt(error: &hedgerow_sync_core::StoreError) -> bool {
    matches!(error, hedgerow_sync_core::StoreError::Corrupt(_))
}

/// Pages of the file that were overwritten: an error or a problem, never a panic and never a clean report.
#[test]
fn overwritten_pages_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound.db");
    let mut store = SqliteStore::open(&sound, Options::default()).unwrap();
    prepare(&mut store).unwrap();
    write_batch(&mut store, 100, 100).unwrap();
    store.commit().unwrap();
    drop(store);
    let bytes = std::fs::read(&sound).unwrap();
    let path = folder.path().join("damaged.db");
    for page in 0..bytes.len() / 4_096 {
        let mut damaged = bytes.clone();
        damaged[page * 4_096..][..2_048].fill(0xa5);
        std::fs::write(&path, damaged).unwrap();
        let report = SqliteStore::open(&path, Options::default()).and_then(|store| store.check());
        match report {
            Ok(report) => assert!(!report.is_clean(), "page {page}"),
            Err(error) => assert!(is_corrupt(&error), "page {page}: {error}"),
        }
        for companion in ["damaged.db-wal", "damaged.db-shm"] {
            let _none = std::fs::remove_file(folder.path().join(companion));
        }
    }
}

#[test]
fn the_check_does_not_believe_what_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut store = SqliteStore::open(&path, Options::default()).unwrap();
    prepare(&mut store).unwrap();
    write_batch(&mut store, 3, 100).unwrap();
    store.commit().unwrap();
    assert_clean(&store);
    let other = rusqlite::Connection::open(&path).unwrap();
    assert_eq!(other.execute("UPDATE message SET reason = 1 WHERE num = 1", []).unwrap(), 1);
    assert!(!store.check().unwrap().is_clean());
}
