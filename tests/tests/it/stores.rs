//! Stores that this program cannot use: it says why, and changes nothing.

use std::fs;

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
    let connection = Connection::open(ada.home().join("store.db")).unwrap();
    let altered = altered_bodies(&connection);
    assert!(altered > 0, "no body was found to alter");
    drop(connection);
    let output = ada.run(&["check", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["clean"], false);
    assert!(report["problems"][0].as_str().is_some_and(|problem| problem.contains("message")), "{report}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("not in order"));
}

/// Alters a byte of the text in every body.
fn altered_bodies(connection: &Connection) -> usize {
    let alter = "UPDATE message SET body = CAST(substr(body, 1, 59) || x'01' || substr(body, 61) AS BLOB)
                 WHERE length(body) > 60";
    connection.execute(alter, []).unwrap()
}
