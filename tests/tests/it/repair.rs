//! A store that somebody has changed, repaired by the real binary.

use std::fs;

use rusqlite::Connection;
use serde_json::Value;

use crate::support::{Device, befriend, eventually};

/// Changes the first of these bytes that there are in the messages of a device whose daemon does not run.
fn change(device: &Device, from: &[u8], to: &[u8]) {
    let connection = Connection::open(device.home().join("store.db")).unwrap();
    let mut statement = connection.prepare("SELECT first, data FROM block ORDER BY first").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let blocks: Vec<(i64, Vec<u8>)> = rows.map(Result::unwrap).collect();
    let (first, data, at) = blocks
        .into_iter()
        .find_map(|(first, data)| {
            let at = data.windows(from.len()).position(|bytes| bytes == from)?;
            Some((first, data, at))
        })
        .expect("the bytes are there");
    let mut changed = data;
    changed[at..at + to.len()].copy_from_slice(to);
    let sql = "UPDATE block SET data = ?2 WHERE first = ?1";
    assert_eq!(connection.execute(sql, (first, changed)).unwrap(), 1);
}

#[test]
fn a_damaged_store_is_repaired_and_catches_up_with_a_friend() {
    let (mut ada, mut ben) = (Device::new("Ada"), Device::new("Ben"));
    befriend(&ada, &ben);
    ada.start();
    ben.start();
    befriend(&ada, &ben);
    let mut said = Vec::new();
    for number in 0..6 {
        for (device, to) in [(&ada, "Ben"), (&ben, "Ada")] {
            let text = format!("{number} to {to}");
            device.ok(&["send", to, &text]);
            said.push(text);
        }
    }
    said.sort();
    let all_there = |device: &Device, chat: &str, said: &[String]| {
        let mut texts = device.texts(chat);
        texts.sort();
        texts == said
    };
    eventually("all is at Ada", || all_there(&ada, "Ben", &said));
    eventually("all is at Ben", || all_there(&ben, "Ada", &said));
    let while_it_runs = ada.fails(1, &["repair"]);
    assert!(while_it_runs.contains("in use by a daemon"), "{while_it_runs}");
    assert!(ada.stop().success());
    let sound = &ada.json(&["repair"])[0];
    assert_eq!(sound["repaired"], false);
    ada.ok(&["send", "Ben", "alone"]);
    said.push("alone".to_owned());
    said.sort();

    // The first text there is: much of the rest comes after it.
    change(&ada, b"0 to", b"9 to");
    for command in [&["check"][..], &["read", "Ben"]] {
        let error = ada.fails(1, command);
        assert!(error.contains("hedgerow repair"), "{command:?}: {error}");
        assert!(!error.contains("9 to"), "{command:?}: {error}");
    }
    let report = &ada.json(&["repair"])[0];
    assert_eq!((&report["repaired"], &report["quarantined_count"]), (&Value::Bool(true), &Value::from(1)));
    assert!(fs::metadata(ada.home().join("store.db.damaged-1")).unwrap().len() > 0);
    ada.check();
    assert!(ada.texts("Ben").iter().all(|text| said.contains(text)), "what is shown was said");
    assert_eq!(ada.json(&["repair"])[0]["repaired"], false, "it is in order now");

    ada.start();
    eventually("all is at Ada again", || all_there(&ada, "Ben", &said));
    eventually("what only Ada had is at Ben", || all_there(&ben, "Ada", &said));
    ada.ok(&["send", "Ben", "after"]);
    eventually("it goes on", || ben.texts("Ada").contains(&"after".to_owned()));
    for device in [&ada, &ben] {
        device.check();
        let lines = device.json(&["read", if device.home() == ada.home() { "Ben" } else { "Ada" }]);
        assert!(lines.iter().all(|line| line["fork"] != true), "nobody is said to have forked: {lines:?}");
    }
    assert!(ada.stop().success());
    assert!(ben.stop().success());
}
