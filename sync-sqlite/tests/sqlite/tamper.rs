//! A store that somebody has changed: an engine never gives out what is not the message that its id names, nor a
//! message in another one's place.

use std::collections::BTreeMap;
use std::path::Path;

use hedgerow_sync_core::{Config, Engine, Entry, Store as _, StoreError, Time};
use hedgerow_sync_sqlite::{Options, SqliteStore};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::content::{prepare, write_batch};

/// How many values of each column are changed, from the lowest and from the highest.
const ROWS: usize = 2;
/// How many bytes of a long value are changed.
const BYTES: usize = 8;

/// What came of a change.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Outcomes {
    /// The store or the engine did not open.
    refused: usize,
    /// Reading the log gave an error.
    at_reading: usize,
    /// The log was as before, and the check finds the change.
    by_check: usize,
    /// The log was as before, and nothing finds the change.
    unseen: usize,
}

#[test]
fn a_changed_byte_is_never_delivered() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound.db");
    let mut options = Options::default();
    options.recent_ids = 20;
    let mut store = SqliteStore::open(&sound, options.clone()).unwrap();
    prepare(&mut store).unwrap();
    write_batch(&mut store, 6, 1_030).unwrap();
    write_batch(&mut store, 8, 60).unwrap();
    store.set_value("cursor", b"key", Some(b"value")).unwrap();
    store.commit().unwrap();
    drop(store);
    let before = read(&sound, &options).unwrap();
    assert_eq!(before.len(), 14);

    let mut outcomes: BTreeMap<String, Outcomes> = BTreeMap::new();
    for (table, column) in columns(&sound) {
        let rows = Connection::open(&sound).unwrap();
        let values = values(&rows, &table, &column);
        let most = values.len();
        let chosen = (0..most).filter(|at| *at < ROWS || *at + ROWS >= most);
        for (at, changed) in chosen.flat_map(|at| flips(&values[at]).into_iter().map(move |v| (at, v))) {
            let path = folder.path().join("changed.db");
            for name in ["changed.db", "changed.db-wal", "changed.db-shm"] {
                let _none = std::fs::remove_file(folder.path().join(name));
            }
            std::fs::copy(&sound, &path).unwrap();
            if !change(&path, &table, &column, &values[at], &changed) {
                // The database itself does not take it.
                continue;
            }
            let outcome = outcomes.entry(format!("{table}.{column}")).or_default();
            match read(&path, &options) {
                Ok(after) => {
                    let what = format!("{table}.{column}, value {at}, now {changed:?}");
                    assert!(before.starts_with(&after), "{what}: another log");
                    let store = SqliteStore::open(&path, options.clone()).unwrap();
                    match store.check() {
                        Ok(report) if report.is_clean() => outcome.unseen += 1,
                        _ => outcome.by_check += 1,
                    }
                }
                Err(None) => outcome.refused += 1,
                Err(Some(error)) => {
                    assert!(matches!(error, StoreError::Corrupt(_)), "{error}");
                    outcome.at_reading += 1;
                }
            }
        }
    }
    for (column, outcome) in &outcomes {
        println!("{column}: {outcome:?}");
    }
    // Nothing of a message can change unseen, nor of what leads to it.
    for column in [
        "block.first",
        "block.sum",
        "block.data",
        "body.body",
        "place.grp",
        "place.part",
        "place.top",
        "place.nums",
        "unsettled.state",
        "unsettled.num",
        "edge.parent",
        "edge.child",
        "head.grp",
        "head.num",
        "message_tag.tag",
        "message_tag.num",
    ] {
        assert_eq!(outcomes[column].unseen, 0, "{column}: {:?}", outcomes[column]);
    }
    for column in ["grp.id", "grp.descriptor", "grp.head", "grp.chain"] {
        assert_eq!(outcomes[column].unseen, 0, "{column}: {:?}", outcomes[column]);
    }
}

/// The log as an application reads it; `None` if it does not come so far.
fn read(path: &Path, options: &Options) -> Result<Vec<Entry>, Option<StoreError>> {
    let store = SqliteStore::open(path, options.clone()).map_err(|_| None)?;
    let engine =
        Engine::open(store, Config::default(), [7; 32], Time(1_700_000_000_000)).map_err(|_| None)?;
    let mut all = Vec::new();
    for group in engine.groups() {
        let entries = engine.log(group.id, 0, usize::MAX >> 1, usize::MAX).map_err(|error| match error {
            hedgerow_sync_core::EngineError::Store(error) => Some(error),
            other => panic!("{other}"),
        })?;
        // Canonical key, origin and arrival are not of the message, nor of its place in the log.
        all.extend(entries.into_iter().map(|entry| Entry {
            key: hedgerow_sync_core::OrderKey { eff_ms: 0, height: 0, id: entry.id },
            origin: None,
            arrived: Time(0),
            ..entry
        }));
    }
    Ok(all)
}

pub(crate) fn columns(path: &Path) -> Vec<(String, String)> {
    let connection = Connection::open(path).unwrap();
    let sql = "SELECT m.name, c.name FROM sqlite_schema AS m, pragma_table_info(m.name) AS c WHERE m.type = 'table'";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

/// The values of a column, each once.
pub(crate) fn values(connection: &Connection, table: &str, column: &str) -> Vec<Value> {
    let sql = format!("SELECT DISTINCT {column} FROM {table} ORDER BY 1");
    let mut statement = connection.prepare(&sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

/// A value with one byte changed, in several ways.
pub(crate) fn flips(value: &Value) -> Vec<Value> {
    let changed = |bytes: &[u8]| -> Vec<Vec<u8>> {
        let step = bytes.len().div_ceil(BYTES).max(1);
        let flip = |at: usize| {
            let mut copy = bytes.to_vec();
            copy[at] ^= 1;
            copy
        };
        (0..bytes.len()).step_by(step).map(flip).collect()
    };
    match value {
        Value::Integer(number) => (0..64).step_by(8).map(|bit| Value::Integer(number ^ (1 << bit))).collect(),
        Value::Blob(bytes) => changed(bytes).into_iter().map(Value::Blob).collect(),
        Value::Text(text) => {
            let texts = changed(text.as_bytes()).into_iter();
            texts.map(|bytes| Value::Text(String::from_utf8(bytes).unwrap())).collect()
        }
        Value::Null | Value::Real(_) => Vec::new(),
    }
}

/// Changes a value in the first row that has it, or in all of a table without row numbers; whether the database takes
/// it.
pub(crate) fn change(path: &Path, table: &str, column: &str, old: &Value, to: &Value) -> bool {
    let connection = Connection::open(path).unwrap();
    connection.pragma_update(None, "foreign_keys", 0).unwrap();
    connection.pragma_update(None, "ignore_check_constraints", 1).unwrap();
    let one = format!("rowid = (SELECT min(rowid) FROM {table} WHERE {column} IS ?2)");
    let by_row = format!("UPDATE {table} SET {column} = ?1 WHERE {one}");
    let by_value = format!("UPDATE {table} SET {column} = ?1 WHERE {column} IS ?2");
    let sql = if connection.prepare(&by_row).is_ok() { by_row } else { by_value };
    connection.execute(&sql, (to, old)).is_ok()
}
