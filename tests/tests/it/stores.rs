//! Stores that this program cannot use: it says why, and changes nothing.

use std::fs;

use hedgerow_sync_core::Store as _;
use hedgerow_sync_core::store::MessageNum;
use hedgerow_sync_sqlite::forge::forge;
use hedgerow_sync_sqlite::{Options, SqliteStore};
use rusqlite::Connection;

use crate::support::{Device, befriend};

const COMMANDS: [&[&str]; 5] = [&["status"], &["read", "Ben"], &["send", "Ben", "x"], &["check"], &["run"]];

#[test]
fn a_store_of_a_newer_schema_is_refused_and_left_alone() {
    let (ada, ben) = (Device::new("Ada"), Device::new("Ben"));
    befriend(&ada, &ben);
    ada.ok(&["send", "Ben", "kept"]);
    let path = ada.home().join("store.db");
    let version = |to: Option<i64>| -> i64 {
        let connection = Connection::open(&path).unwrap();
        let from = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
        if let Some(to) = to {
            connection.pragma_update(None, "user_version", to).unwrap();
        }
        from
    };
    let real = version(Some(9_999));
    for command in COMMANDS {
        let error = ada.fails(1, command);
        assert!(error.contains("schema 9999") && error.contains("newer"), "{command:?}: {error}");
    }
    assert_eq!(version(Some(real)), 9_999, "it was not touched");
    assert_eq!(ada.texts("Ben"), ["kept"]);
    ada.check();
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let ada = Device::new("Ada");
    let path = ada.home().join("store.db");
    for companion in ["store.db-wal", "store.db-shm"] {
        let _ = fs::remove_file(ada.home().join(companion));
    }
    let garbage = b"this is no database at all. ".repeat(1000);
    fs::write(&path, &garbage).unwrap();
    for command in COMMANDS {
        let error = ada.fails(1, command);
        assert!(error.contains("store"), "{command:?}: {error}");
    }
    assert!(fs::read(&path).unwrap() == garbage, "it was not touched");
}

#[test]
fn a_damaged_identity_is_refused_and_left_alone() {
    let ada = Device::new("Ada");
    let path = ada.home().join("identity");
    let real = fs::read(&path).unwrap();
    fs::write(&path, "not a key").unwrap();
    let error = ada.fails(1, &["id"]);
    assert!(error.contains("identity") && error.contains("damaged"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), b"not a key");
    fs::write(&path, real).unwrap();
    ada.ok(&["id"]);
}

#[test]
fn a_message_that_was_altered_on_the_disk_is_found_by_check() {
    let (ada, ben) = (Device::new("Ada"), Device::new("Ben"));
    befriend(&ada, &ben);
    ada.ok(&["send", "Ben", "a text that is long enough to be found"]);
    ada.check();
    let altered = alter_bodies(&ada.home().join("store.db"));
    assert!(altered > 0, "no body was found to alter");
    let output = ada.run(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["clean"], false);
    assert!(report["problems"][0].as_str().is_some_and(|problem| problem.contains("message")), "{report}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("not in order"));
}

/// Alters a byte of the text in every body; how many.
fn alter_bodies(path: &std::path::Path) -> usize {
    let mut altered = 0;
    let store = SqliteStore::open(path, Options::default()).unwrap();
    let rows = store.scan(MessageNum(0), usize::MAX).unwrap();
    drop(store);
    for row in rows {
        forge(path, row.num.0, |message| {
            let body =
                message.as_mut().and_then(|message| message.body.as_mut()).filter(|body| body.len() > 60);
            if let Some(body) = body {
                let mut bytes = body.to_vec();
                bytes[59] = 1;
                *body = bytes.into();
                altered += 1;
            }
        })
        .unwrap();
    }
    altered
}
