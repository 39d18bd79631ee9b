//! What a message costs: CPU time and bytes on disk, beside a plain table that rows are appended to.
//!
//! `cargo run --release -p hedgerow-sync-sqlite --example rate -- [MESSAGES] [BODY_BYTES]`
//!
//! Messages have one dependency, the one before. CPU time is that of this thread (user and system, Linux only).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use hedgerow_proto::{GroupDescriptor, MessageId, PeerId, Visibility};
use hedgerow_sync_core::store::{
    GroupNum, GroupRow, MessageNum, MessageRow, MessageState, PeerGroupRow, PeerNum, PeerRow,
};
use hedgerow_sync_core::{MemoryStore, Store, Time, chain};
use hedgerow_sync_sqlite::{Options, SqliteStore};

const GROUP: GroupNum = GroupNum(1);
const PEER: PeerNum = PeerNum(1);

fn main() {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>().unwrap());
    let messages = arguments.next().unwrap_or(100_000);
    let body_len = arguments.next().unwrap_or(200);
    println!("{messages} messages of {body_len} bytes, an id of 32 bytes each");
    println!("{:32} {:>7} {:>12} {:>12} {:>10}", "", "batch", "CPU us each", "wall us each", "bytes each");
    for batch in [1, 100, 1_000] {
        // Alone, a commit costs so much more than its message that fewer do.
        let messages = if batch == 1 { messages.div_ceil(50) } else { messages };
        let input = Input::new(messages, body_len);
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);

        let plain = measure(messages, || append(&path("plain.db"), &input, batch));
        line("append to a plain table", batch, &plain, size(&path("plain.db"), messages));

        let mut memory = MemoryStore::new();
        prepare(&mut memory);
        let cost = measure(messages, || receive(&mut memory, &input, batch));
        line("receive, MemoryStore", batch, &cost, None);

        let mut store = SqliteStore::open(&path("received.db"), Options::default()).unwrap();
        prepare(&mut store);
        let received = measure(messages, || {
            receive(&mut store, &input, batch);
        });
        let close = measure(messages, || drop(store));
        let received = (received.0 + close.0, received.1 + close.1);
        line("receive", batch, &received, size(&path("received.db"), messages));
        println!("{:32} {:>20.2} times the plain table", "", received.0 / plain.0);

        let mut store = SqliteStore::open(&path("judged.db"), Options::default()).unwrap();
        prepare(&mut store);
        let cost = measure(messages, || {
            receive_and_judge(&mut store, &input, batch);
            drop(store);
        });
        line("receive, judge later", batch, &cost, size(&path("judged.db"), messages));

        let store = SqliteStore::open(&path("received.db"), Options::default()).unwrap();
        line("send: row, body, ids of deps", batch, &measure(messages, || send(&store, messages)), None);
        line("find an id that is not there", batch, &measure(messages, || find_absent(&store, &input)), None);
        line("check", batch, &measure(messages, || check(&store)), None);
    }
}

/// CPU and wall microseconds for each message.
fn measure(messages: usize, work: impl FnOnce()) -> (f64, f64) {
    let (cpu, wall) = (cpu_ns(), Instant::now());
    work();
    let each = |ns: f64| ns / 1_000.0 / messages as f64;
    (each((cpu_ns() - cpu) as f64), each(wall.elapsed().as_nanos() as f64))
}

/// What this thread has run, in ns; 0 where the system does not say.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

fn size(path: &Path, messages: usize) -> Option<f64> {
    Some(std::fs::metadata(path).unwrap().len() as f64 / messages as f64)
}

fn line(what: &str, batch: usize, (cpu, wall): &(f64, f64), bytes: Option<f64>) {
    let bytes = bytes.map_or(String::new(), |bytes| format!("{bytes:.1}"));
    println!("{what:32} {batch:>7} {cpu:>12.2} {wall:>12.2} {bytes:>10}");
}

/// Ids and bodies, made before anything is measured.
struct Input {
    ids: Vec<MessageId>,
    absent: Vec<MessageId>,
    bodies: Vec<Bytes>,
}

impl Input {
    fn new(messages: usize, body_len: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut word = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()
        };
        let mut id = || {
            let bytes: Vec<u8> = (0..4).flat_map(|_| word()).collect();
            MessageId::try_from(&bytes[..]).unwrap()
        };
        let ids = (0..messages).map(|_| id()).collect();
        let absent = (0..messages).map(|_| id()).collect();
        let body: Bytes = (0..body_len).map(|i| i.to_le_bytes()[0]).collect::<Vec<_>>().into();
        Self { ids, absent, bodies: vec![body; messages] }
    }
}

/// The least that any store has to do: the same bytes, into a table in order of arrival, as durably.
fn append(path: &Path, input: &Input, batch: usize) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    connection.execute("CREATE TABLE plain (num INTEGER PRIMARY KEY, id BLOB, body BLOB)", []).unwrap();
    let mut insert = connection.prepare("INSERT INTO plain (id, body) VALUES (?1, ?2)").unwrap();
    for (ids, bodies) in input.ids.chunks(batch).zip(input.bodies.chunks(batch)) {
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for (id, body) in ids.iter().zip(bodies) {
            insert.execute((id.as_bytes(), &body[..])).unwrap();
        }
        connection.execute_batch("COMMIT").unwrap();
    }
}

fn prepare<S: Store>(store: &mut S) {
    let group = GroupDescriptor::new("org.example.rate", 0, vec![]).unwrap();
    store
        .put_group(&GroupRow {
            num: GROUP,
            id: group.id(),
            scheme: 1,
            client_id: group.client_id().to_owned(),
            major_version: 0,
            descriptor: vec![],
            judged: true,
            head: 0,
            chain: 0,
            body_bytes: 0,
            max_bytes: None,
        })
        .unwrap();
    store.put_peer(&PeerRow { num: PEER, id: PeerId::from_bytes([1; 32]), install: Some(1) }).unwrap();
    store.commit().unwrap();
}

/// Message `n` (from 0), which came within a second of its writing.
fn row(input: &Input, n: usize, chain: u64) -> MessageRow {
    let position = n as u64 + 1;
    let timestamp_ms = 1_790_000_000_000 + n as i64 * 500;
    MessageRow {
        num: MessageNum(0),
        group: GROUP,
        id: input.ids[n],
        state: MessageState::Delivered,
        timestamp_ms,
        eff_ms: timestamp_ms,
        height: position,
        position,
        chain,
        origin: Some(PEER),
        arrived: Time(timestamp_ms.unsigned_abs() + n as u64 % 1_000),
        body_len: input.bodies[n].len().try_into().unwrap(),
        missing: 0,
        reason: 0,
        author: None,
        expires_ms: None,
    }
}

/// As the engine writes what comes in order.
fn receive<S: Store>(store: &mut S, input: &Input, batch: usize) {
    let (mut value, mut bodies) = (0, 0);
    let mut last = None;
    for start in (0..input.ids.len()).step_by(batch) {
        let head = last;
        let end = (start + batch).min(input.ids.len());
        for n in start..end {
            assert_eq!(store.find(&input.ids[n]).unwrap(), None);
            let deps = last.as_slice();
            if n > 0 {
                assert!(store.find(&input.ids[n - 1]).unwrap().is_some());
            }
            value = chain(value, &input.ids[n]);
            last = Some(store.insert(&row(input, n, value), deps, Some(&input.bodies[n])).unwrap());
        }
        bodies += input.bodies[start..end].iter().map(|body| body.len() as u64).sum::<u64>();
        end_batch(store, (end as u64, value, bodies), head.as_slice(), last.as_slice());
    }
}

/// As the engine writes what is judged after it was stored; here in the same batch.
fn receive_and_judge<S: Store>(store: &mut S, input: &Input, batch: usize) {
    let (mut value, mut bodies) = (0, 0);
    let mut last = None;
    for start in (0..input.ids.len()).step_by(batch) {
        let head = last;
        let end = (start + batch).min(input.ids.len());
        for n in start..end {
            assert_eq!(store.find(&input.ids[n]).unwrap(), None);
            let held = MessageRow {
                state: MessageState::Unvalidated,
                eff_ms: 0,
                height: 0,
                position: 0,
                chain: 0,
                ..row(input, n, 0)
            };
            last = Some(store.insert(&held, last.as_slice(), Some(&input.bodies[n])).unwrap());
        }
        for n in start..end {
            let held = store.find(&input.ids[n]).unwrap().unwrap();
            value = chain(value, &input.ids[n]);
            store.update(&MessageRow { num: held.num, ..row(input, n, value) }).unwrap();
        }
        bodies += input.bodies[start..end].iter().map(|body| body.len() as u64).sum::<u64>();
        end_batch(store, (end as u64, value, bodies), head.as_slice(), last.as_slice());
    }
}

fn end_batch<S: Store>(
    store: &mut S,
    (head, chain, bodies): (u64, u64, u64),
    removed: &[MessageNum],
    added: &[MessageNum],
) {
    store.set_head(GROUP, head, chain, bodies).unwrap();
    store.change_heads(GROUP, removed, added).unwrap();
    store
        .put_peer_group(&PeerGroupRow {
            peer: PEER,
            group: GROUP,
            visibility: Visibility::Shared,
            has: vec![1, 0xff, 0xff, 0x03],
            got: vec![1, 0xff, 0xff, 0x03],
            mark: head,
            mark_chain: chain,
        })
        .unwrap();
    store.commit().unwrap();
}

fn send(store: &SqliteStore, messages: usize) {
    for position in 1..=messages as u64 {
        let row = store.at(GROUP, position).unwrap().unwrap();
        let content = store.content(row.num).unwrap().unwrap();
        assert_eq!(content.body.unwrap().len(), row.body_len as usize);
    }
}

fn find_absent(store: &SqliteStore, input: &Input) {
    for id in &input.absent {
        assert_eq!(store.find(id).unwrap(), None);
    }
}

/// The ids here are no hashes, which the check sees; it costs the same.
fn check(store: &SqliteStore) {
    let report = store.check().unwrap();
    assert_eq!(report.delivered, report.messages);
}
