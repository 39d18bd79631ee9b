//! The work of the comparison with other libraries: 10,000 messages of 600 bytes to an empty peer, and 100 of them to
//! one that has the rest; beside a plain loop that exchanges all ids.

use std::collections::{HashMap, HashSet};
use std::fmt::Debug;
use std::path::Path;

use bytes::Bytes;
use hedgerow_proto::Message;
use hedgerow_sync_core::{MemoryStore, Store};
use hedgerow_sync_sqlite::{Options, SqliteStore};

use super::measure::{Scale, cpu, median, size_f64, to_f64};
use super::row::{Goal, Row};
use super::workload::line;
use crate::{Failure, Pair};

const COUNT: u64 = 10_000;
const SIZE: usize = 600;
const MISSING: u64 = 100;

/// CPU ms and bytes both ways.
#[derive(Debug, Clone, Copy)]
struct Work {
    ms: f64,
    bytes: u64,
}

/// A sync of everything, and one of the last hundred.
fn ours<S: Store + Debug>(a: S, b: S, count: u64) -> Result<(Work, Work), Failure> {
    let mut pair = Pair::new(a, b)?;
    let mut sync = |messages: u64, all: u64| -> Result<Work, Failure> {
        pair.publish(messages, SIZE, 1000)?;
        pair.part();
        let (cost, seconds) = cpu(|| pair.sync(&mut |_| {}))?;
        pair.verify(all)?;
        Ok(Work { ms: seconds * 1e3, bytes: cost.bytes })
    };
    let cold = sync(count, count)?;
    Ok((cold, sync(MISSING, count + MISSING)?))
}

/// Where the plain loop keeps what it has.
enum Kept {
    Memory(HashMap<[u8; 32], Bytes>),
    File(rusqlite::Connection),
}

impl Kept {
    fn in_file(path: &Path) -> Result<Self, Failure> {
        let connection = rusqlite::Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute("CREATE TABLE message (id BLOB PRIMARY KEY, body BLOB) WITHOUT ROWID", [])?;
        Ok(Self::File(connection))
    }

    fn add(&mut self, all: &[(&[u8], Bytes)]) -> Result<(), Failure> {
        match self {
            Self::Memory(map) => {
                for (id, body) in all {
                    map.insert(<[u8; 32]>::try_from(*id)?, body.clone());
                }
            }
            Self::File(connection) => {
                let transaction = connection.transaction()?;
                let mut insert =
                    transaction.prepare_cached("INSERT OR IGNORE INTO message VALUES (?1, ?2)")?;
                for (id, body) in all {
                    insert.execute((id, &body[..]))?;
                }
                drop(insert);
                transaction.commit()?;
            }
        }
        Ok(())
    }

    fn ids(&self) -> Result<Vec<[u8; 32]>, Failure> {
        Ok(match self {
            Self::Memory(map) => map.keys().copied().collect(),
            Self::File(connection) => {
                let mut select = connection.prepare_cached("SELECT id FROM message")?;
                select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?
            }
        })
    }

    fn body(&self, id: &[u8; 32]) -> Result<Bytes, Failure> {
        Ok(match self {
            Self::Memory(map) => map.get(id).cloned().ok_or("no such message")?,
            Self::File(connection) => {
                let mut select = connection.prepare_cached("SELECT body FROM message WHERE id = ?1")?;
                select.query_row([&id[..]], |row| row.get::<_, Vec<u8>>(0))?.into()
            }
        })
    }
}

/// The plain loop: all ids, what of them is lacking, those messages; each is hashed again where it arrives.
fn plain(a: &mut Kept, b: &mut Kept) -> Result<Work, Failure> {
    let (bytes, seconds) = cpu(|| {
        let offer = a.ids()?.concat();
        let known: HashSet<[u8; 32]> = b.ids()?.into_iter().collect();
        let (chunks, _) = offer.as_chunks::<32>();
        let request: Vec<[u8; 32]> = chunks.iter().filter(|id| !known.contains(*id)).copied().collect();
        let mut bytes = offer.len() + 32 * request.len();
        for ids in request.chunks(1000) {
            let mut wire = Vec::new();
            for id in ids {
                let body = a.body(id)?;
                wire.extend_from_slice(&u32::try_from(body.len())?.to_be_bytes());
                wire.extend_from_slice(&body);
            }
            bytes += wire.len();
            let (mut rest, mut arrived) = (&wire[..], Vec::new());
            while let Some((len, after)) = rest.split_first_chunk::<4>() {
                let len = u32::from_be_bytes(*len) as usize;
                let (body, after) = after.split_at_checked(len).ok_or("cut off")?;
                arrived.push((blake3::hash(body), Bytes::copy_from_slice(body)));
                rest = after;
            }
            let arrived: Vec<(&[u8], Bytes)> =
                arrived.iter().map(|(id, body)| (&id.as_bytes()[..], body.clone())).collect();
            b.add(&arrived)?;
        }
        Ok(bytes as u64)
    })?;
    if a.ids()?.len() != b.ids()?.len() {
        return Err("the plain loop did not bring all over".into());
    }
    Ok(Work { ms: seconds * 1e3, bytes })
}

fn theirs(mut a: Kept, mut b: Kept, messages: &[Message], first: usize) -> Result<(Work, Work), Failure> {
    let hashes: Vec<_> = messages.iter().map(|message| blake3::hash(message.body())).collect();
    let all: Vec<(&[u8], Bytes)> = hashes
        .iter()
        .zip(messages)
        .map(|(id, message)| (&id.as_bytes()[..], message.body().clone()))
        .collect();
    let (before, after) = all.split_at_checked(first).ok_or("too few messages")?;
    a.add(before)?;
    let cold = plain(&mut a, &mut b)?;
    a.add(after)?;
    Ok((cold, plain(&mut a, &mut b)?))
}

fn median_of(all: &[(Work, Work)], which: impl Fn(&(Work, Work)) -> f64) -> f64 {
    median(all.iter().map(which).collect())
}

/// Cold and delta, in memory and on file.
pub(crate) fn cold(scale: Scale) -> Result<Vec<Row>, Failure> {
    let messages = line(COUNT + MISSING, SIZE)?;
    let first = usize::try_from(COUNT)?;
    let folder = tempfile::tempdir()?;
    let run = std::cell::Cell::new(0);
    let fresh = || {
        run.set(run.get() + 1);
        folder.path().join(run.get().to_string())
    };
    let store = || SqliteStore::open(&fresh(), Options::default());
    let (mut memory, mut file, mut plain_memory, mut plain_file) = (vec![], vec![], vec![], vec![]);
    for _ in 0..scale.pick(3, 7) {
        let none = || Kept::Memory(HashMap::new());
        plain_memory.push(theirs(none(), none(), &messages, first)?);
        memory.push(ours(MemoryStore::new(), MemoryStore::new(), COUNT)?);
        plain_file.push(theirs(Kept::in_file(&fresh())?, Kept::in_file(&fresh())?, &messages, first)?);
        file.push(ours(store()?, store()?, COUNT)?);
    }
    let loop_of = "plain loop: OFFER of all ids, REQUEST, bodies, one hash each";
    let cpu_row = |name, goal, what: &str, ours: &[(Work, Work)], theirs: &[(Work, Work)], delta: bool| {
        let which = move |work: &(Work, Work)| if delta { work.1.ms } else { work.0.ms };
        let anchor = (loop_of, median_of(theirs, which));
        Row::new(name, Goal::AtMost(goal), "ms", median_of(ours, which), anchor, what)
    };
    let bytes = |name, goal, what: &str, count: u64, delta: bool| {
        let which = move |work: &(Work, Work)| to_f64(if delta { work.1.bytes } else { work.0.bytes });
        let anchor = ("the bodies", to_f64(count) * size_f64(SIZE));
        Row::new(name, Goal::TimesAtMost(goal), "B", median_of(&memory, which), anchor, what)
    };
    let ten = ours(MemoryStore::new(), MemoryStore::new(), 10 * COUNT)?.0.ms;
    let one = median_of(&memory, |work| work.0.ms);
    Ok(vec![
        cpu_row("cold-memory", 50.0, "CPU of both, 10,000 x 600 B, in memory", &memory, &plain_memory, false),
        cpu_row("cold-file", 150.0, "CPU of both, 10,000 x 600 B, SQLite", &file, &plain_file, false),
        cpu_row(
            "delta-memory",
            2.0,
            "CPU of both, 100 new of 10,100, in memory",
            &memory,
            &plain_memory,
            true,
        ),
        cpu_row("delta-file", 2.0, "CPU of both, 100 new of 10,100, SQLite", &file, &plain_file, true),
        bytes("cold-bytes", 1.05, "bytes both ways, 10,000 x 600 B", COUNT, false),
        bytes("delta-bytes", 1.10, "bytes both ways, 100 new of 10,100", MISSING, true),
        Row::new(
            "cold-linear",
            Goal::TimesAtMost(10.5),
            "ms",
            ten,
            ("the same with 10,000", one),
            "CPU of both, 100,000 x 600 B, in memory",
        ),
    ])
}
