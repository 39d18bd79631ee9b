//! Durable receiving: the engine over SQLite beside a file, a plain table, and rows for each message and peer.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use bytes::Bytes;
use hedgerow_proto::Message;
use hedgerow_sync_core::{Config, MemoryStore};
use hedgerow_sync_sqlite::{Options, SqliteStore};
use rusqlite::Connection;

use super::measure::{Scale, alternate, cpu, median, size_f64, wall};
use super::row::{Goal, Row};
use super::workload::{Receiver, frames, line};
use crate::Failure;

const SIZE: usize = 200;

/// How long by the clock it takes to receive these frames on a new file, each durable before the next, in s.
fn receive(path: &Path, frames: &[Bytes], count: usize, peers: u64) -> Result<f64, Failure> {
    let store = SqliteStore::open(path, Options::default())?;
    let mut receiver = Receiver::new(store, Config::default(), peers, false)?;
    let ((), seconds) = wall(|| frames.iter().try_for_each(|frame| receiver.feed(frame)))?;
    receiver.verify(count)?;
    Ok(seconds)
}

/// The least: ids and bodies at the end of a file, synced after each batch. In s by the clock.
fn append(path: &Path, messages: &[Message], batch: usize) -> Result<f64, Failure> {
    let mut file = File::create(path)?;
    let batches: Vec<Vec<u8>> = messages
        .chunks(batch)
        .map(|chunk| {
            let parts = chunk.iter().map(|message| (message.id(), message.body()));
            parts
                .flat_map(|(id, body)| id.as_bytes().iter().chain(body).copied().collect::<Vec<_>>())
                .collect()
        })
        .collect();
    let ((), seconds) = wall(|| {
        for bytes in &batches {
            file.write_all(bytes)?;
            file.sync_data()?;
        }
        Ok(())
    })?;
    Ok(seconds)
}

fn connect(path: &Path) -> Result<Connection, Failure> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// A table that rows are appended to, as durably: CPU time in s.
fn plain_table(path: &Path, messages: &[Message], batch: usize) -> Result<f64, Failure> {
    let connection = connect(path)?;
    connection.execute("CREATE TABLE plain (num INTEGER PRIMARY KEY, id BLOB, body BLOB)", [])?;
    let ids: Vec<_> = messages.iter().map(Message::id).collect();
    let mut insert = connection.prepare("INSERT INTO plain (id, body) VALUES (?1, ?2)")?;
    let ((), seconds) = cpu(|| {
        for (ids, messages) in ids.chunks(batch).zip(messages.chunks(batch)) {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            for (id, message) in ids.iter().zip(messages) {
                insert.execute((id.as_bytes(), &message.body()[..]))?;
            }
            connection.execute_batch("COMMIT")?;
        }
        Ok(())
    })?;
    Ok(seconds)
}

/// Tables as messengers have them that keep a row for each message and peer: the columns and indexes of Briar's.
const ROWS_FOR_ALL: &str = "
    CREATE TABLE messages (messageId BLOB NOT NULL PRIMARY KEY, groupId BLOB NOT NULL, timestamp INTEGER NOT NULL,
        state INTEGER NOT NULL, shared INTEGER NOT NULL, temporary INTEGER NOT NULL, length INTEGER NOT NULL,
        raw BLOB) WITHOUT ROWID;
    CREATE TABLE messageDependencies (groupId BLOB NOT NULL, messageId BLOB NOT NULL, dependencyId BLOB NOT NULL,
        messageState INTEGER NOT NULL, dependencyState INTEGER);
    CREATE TABLE statuses (messageId BLOB NOT NULL, contactId INTEGER NOT NULL, groupId BLOB NOT NULL,
        timestamp INTEGER NOT NULL, length INTEGER NOT NULL, state INTEGER NOT NULL, groupShared INTEGER NOT NULL,
        messageShared INTEGER NOT NULL, deleted INTEGER NOT NULL, ack INTEGER NOT NULL, seen INTEGER NOT NULL,
        requested INTEGER NOT NULL, expiry INTEGER NOT NULL, txCount INTEGER NOT NULL, maxLatency INTEGER,
        PRIMARY KEY (messageId, contactId)) WITHOUT ROWID;
    CREATE INDEX dependenciesByMessage ON messageDependencies (messageId);
    CREATE INDEX dependenciesByDependency ON messageDependencies (dependencyId);
    CREATE INDEX statusesByContactGroup ON statuses (contactId, groupId);
    CREATE INDEX statusesByContactTimestamp ON statuses (contactId, timestamp);
    CREATE INDEX statusesByContactTx ON statuses (contactId, txCount, timestamp);";

/// Receiving into such tables: looked up, inserted, its dependency noted, a status for each of `peers`, and the
/// acknowledgement owed to the one that it came from. In s by the clock.
pub(crate) fn rows_for_all(
    path: &Path,
    messages: &[Message],
    batch: usize,
    peers: u32,
) -> Result<f64, Failure> {
    let connection = connect(path)?;
    connection.execute_batch(ROWS_FOR_ALL)?;
    let ids: Vec<_> = messages.iter().map(Message::id).collect();
    let mut find = connection.prepare("SELECT state FROM messages WHERE messageId = ?1")?;
    let mut insert = connection.prepare("INSERT INTO messages VALUES (?1, ?2, ?3, 3, 1, 0, ?4, ?5)")?;
    let mut depend = connection.prepare("INSERT INTO messageDependencies VALUES (?1, ?2, ?3, 3, ?4)")?;
    let mut status = connection
        .prepare("INSERT INTO statuses VALUES (?1, ?2, ?3, ?4, ?5, 3, 1, 1, 0, ?6, ?6, 0, 0, 0, NULL)")?;
    let ((), seconds) = wall(|| {
        for (ids, messages) in ids.chunks(batch).zip(messages.chunks(batch)) {
            connection.execute_batch("BEGIN IMMEDIATE")?;
            for (id, message) in ids.iter().zip(messages) {
                let (group, raw) = (message.group(), message.body());
                if find.exists([id.as_bytes()])? {
                    continue;
                }
                let length = i64::try_from(raw.len())?;
                insert.execute((
                    id.as_bytes(),
                    group.as_bytes(),
                    message.timestamp_ms(),
                    length,
                    &raw[..],
                ))?;
                for dep in message.deps() {
                    let state: Option<i64> = find.query_row([dep.as_bytes()], |row| row.get(0)).ok();
                    depend.execute((group.as_bytes(), id.as_bytes(), dep.as_bytes(), state))?;
                }
                for contact in 0..peers {
                    let from = contact == 0;
                    let at = message.timestamp_ms();
                    status.execute((id.as_bytes(), contact, group.as_bytes(), at, length, from))?;
                }
            }
            connection.execute_batch("COMMIT")?;
        }
        Ok(())
    })?;
    Ok(seconds)
}

/// Durable receiving at batches of 1, 100 and 1,000, beside the same batches appended to a file.
pub(crate) fn receive_durably(scale: Scale) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (name, batch, count, goal) in [
        ("durable-1", 1, scale.pick(100, 1_000), 0.9),
        ("durable-100", 100, scale.pick(5_000, 50_000), 0.75),
        ("durable-1000", 1_000, scale.pick(20_000, 100_000), 0.2),
    ] {
        let messages = line(count, SIZE)?;
        let frames = frames_of_batches(&messages, batch)?;
        let folder = tempfile::tempdir()?;
        let run = std::cell::Cell::new(0);
        let fresh = |what: &str| {
            run.set(run.get() + 1);
            folder.path().join(format!("{what}-{}", run.get()))
        };
        let rate = |seconds: f64| size_f64(messages.len()) / seconds;
        let (anchor, ours) = alternate(
            scale.times(),
            || Ok(rate(append(&fresh("file"), &messages, batch)?)),
            || {
                let path = fresh("store");
                let seconds = receive_batches(&path, &frames, messages.len())?;
                std::fs::remove_file(path)?;
                Ok(rate(seconds))
            },
        )?;
        let what = format!(
            "messages of 200 B a second by the clock into SQLite, synchronous=FULL, one commit for {batch}"
        );
        let anchor = ("the same bytes appended to a file, fdatasync after each batch", anchor);
        rows.push(Row::new(name, Goal::TimesAtLeast(goal), "/s", ours, anchor, what));
    }
    Ok(rows)
}

/// Frames in groups that are one commit each: a frame holds no more than some 300 messages of 200 B.
fn frames_of_batches(messages: &[Message], batch: usize) -> Result<Vec<Vec<Bytes>>, Failure> {
    let each = batch.min(250);
    let all = frames(messages, each)?;
    Ok(all.chunks((batch / each).max(1)).map(<[Bytes]>::to_vec).collect())
}

fn receive_batches(path: &Path, batches: &[Vec<Bytes>], count: usize) -> Result<f64, Failure> {
    let store = SqliteStore::open(path, Options::default())?;
    let mut receiver = Receiver::new(store, Config::default(), 1, false)?;
    let ((), seconds) = wall(|| batches.iter().try_for_each(|frames| receiver.feed_all(frames)))?;
    receiver.verify(count)?;
    Ok(seconds)
}

/// Beside a schema with a row for each message and peer, with eight peers.
pub(crate) fn beside_rows(scale: Scale) -> Result<Vec<Row>, Failure> {
    let messages = line(scale.pick(8_000, 50_000), SIZE)?;
    let frames = frames(&messages, 100)?;
    let folder = tempfile::tempdir()?;
    let run = std::cell::Cell::new(0);
    let fresh = || {
        run.set(run.get() + 1);
        folder.path().join(run.get().to_string())
    };
    let rate = |seconds: f64| size_f64(messages.len()) / seconds;
    let (anchor, ours) = alternate(
        scale.pick(3, 5),
        || Ok(rate(rows_for_all(&fresh(), &messages, 100, 8)?)),
        || Ok(rate(receive(&fresh(), &frames, messages.len(), 8)?)),
    )?;
    let anchor = ("a row for each (message, peer) in SQLite, Briar's columns and indexes", anchor);
    let what =
        "messages of 200 B a second by the clock into SQLite, one commit for 100, 8 peers share the group";
    Ok(vec![Row::new("durable-rows", Goal::TimesAtLeast(8.0), "/s", ours, anchor, what)])
}

/// CPU for each message, of what SQLite adds to the engine, beside a plain table.
pub(crate) fn sqlite_cpu(scale: Scale) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (name, batch) in [("sqlite-cpu-100", 100), ("sqlite-cpu-1000", 1_000)] {
        let messages = line(scale.pick(10_000, 100_000), SIZE)?;
        let batches = frames_of_batches(&messages, batch)?;
        let folder = tempfile::tempdir()?;
        let run = std::cell::Cell::new(0);
        let fresh = || {
            run.set(run.get() + 1);
            folder.path().join(run.get().to_string())
        };
        let each = |seconds: f64| seconds * 1e6 / size_f64(messages.len());
        let mut memory = Vec::new();
        let (anchor, whole) = alternate(
            scale.pick(3, 7),
            || Ok(each(plain_table(&fresh(), &messages, batch)?)),
            || {
                let mut receiver = Receiver::new(MemoryStore::new(), Config::default(), 1, false)?;
                let work = || batches.iter().try_for_each(|frames| receiver.feed_all(frames));
                memory.push(each(cpu(work)?.1));
                let store = SqliteStore::open(&fresh(), Options::default())?;
                let mut receiver = Receiver::new(store, Config::default(), 1, false)?;
                let ((), seconds) = cpu(|| batches.iter().try_for_each(|frames| receiver.feed_all(frames)))?;
                receiver.verify(messages.len())?;
                Ok(each(seconds))
            },
        )?;
        let memory = median(memory);
        let what = format!(
            "CPU for each message of 200 B, one commit for {batch}: engine over SQLite ({whole:.2} us) less the \
             same in memory ({memory:.2} us)"
        );
        let anchor = ("append-only rowid table with the same ids and bodies", anchor);
        rows.push(Row::new(name, Goal::TimesAtMost(5.0), "us", whole - memory, anchor, what));
    }
    Ok(rows)
}

/// Bytes on the disk for each message, and for what is known of peers.
pub(crate) fn disk(scale: Scale) -> Result<Vec<Row>, Failure> {
    let count = scale.pick(10_000, 100_000);
    let messages = line(count, SIZE)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.db");
    receive(&path, &frames(&messages, 250)?, messages.len(), 1)?;
    let file = size_f64(usize::try_from(std::fs::metadata(&path)?.len())?);
    let ours = file / size_f64(messages.len());
    let least = size_f64(SIZE + 32);
    let disk = Row::new(
        "disk",
        Goal::TimesAtMost(1.1),
        "B",
        ours,
        ("body and id, 232 B", least),
        format!("the database file for each of {count} messages of 200 B"),
    );
    Ok(vec![disk, peers_in_step(&folder.path().join("peers.db"), scale)?])
}

/// What a store keeps of peers that are in step with it, for each message and peer.
fn peers_in_step(path: &Path, scale: Scale) -> Result<Row, Failure> {
    let count = scale.pick(2_000, 20_000);
    let messages = line(count, SIZE)?;
    let peers = 8;
    let store = SqliteStore::open(path, Options::default())?;
    let mut receiver = Receiver::new(store, Config::default(), peers, false)?;
    for frame in frames(&messages, 250)? {
        receiver.feed(&frame)?;
    }
    receiver.verify(messages.len())?;
    let known = receiver.bring_into_step()?;
    if known != peers {
        return Err(format!("{known} of {peers} peers are in step").into());
    }
    super::workload::sound(receiver.engine.store())?;
    let rows = hedgerow_sync_core::Store::load(receiver.engine.store())?.peer_groups;
    // The two sets, and the row around them: two numbers, visibility, mark and chain value, lengths.
    let bytes: usize = rows.iter().map(|row| row.has.len() + row.got.len() + 32).sum();
    let pairs = size_f64(messages.len()) * size_f64(rows.len());
    let mut statuses: HashMap<&str, f64> = HashMap::new();
    for (name, peers) in [("none", 0), ("all", 8)] {
        let path = path.with_extension(name);
        rows_for_all(&path, &messages, 250, peers)?;
        statuses.insert(name, size_f64(usize::try_from(std::fs::metadata(&path)?.len())?));
    }
    let theirs =
        (statuses.get("all").unwrap_or(&f64::NAN) - statuses.get("none").unwrap_or(&f64::NAN)) / pairs;
    Ok(Row::new(
        "disk-peers",
        Goal::AtMost(0.5),
        "B",
        size_f64(bytes) / pairs,
        ("rows for each (message, peer), Briar's columns and indexes", theirs),
        format!("bytes in rows of peers for each (message, peer), {peers} peers in step, {count} messages"),
    ))
}
