//! What it takes to begin: a session with a known contact, and a store that is opened again.

use bytes::Bytes;
use hedgerow_sync_core::{Config, Engine, MemoryStore};
use hedgerow_sync_sqlite::{Options, SqliteStore};

use super::difference::negentropy;
use super::measure::{Scale, alternate, cpu, median, size_f64};
use super::row::{Goal, Row};
use super::workload::{Receiver, START, frames, line, sound};
use crate::{Failure, Pair};

/// CPU ms of a contact of two that are in step, both sides together.
fn contact(pair: &mut Pair<MemoryStore>) -> Result<f64, Failure> {
    pair.part();
    let (cost, seconds) = cpu(|| pair.sync(&mut |_| {}))?;
    if cost.delivered != 0 {
        return Err("the two were not in step".into());
    }
    Ok(seconds * 1e3)
}

fn settled(count: u64) -> Result<Pair<MemoryStore>, Failure> {
    let mut pair = Pair::new(MemoryStore::new(), MemoryStore::new())?;
    pair.publish(count, 32, 1000)?;
    pair.sync(&mut |_| {})?;
    pair.verify(count)?;
    Ok(pair)
}

/// A session with a known contact, beside negentropy over as many.
pub(crate) fn start(scale: Scale) -> Result<Vec<Row>, Failure> {
    let count = scale.pick(100_000, 1_000_000);
    let mut few = settled(count / 4)?;
    let mut many = settled(count)?;
    let sets = line(count, 32)?;
    let mut of_few = Vec::new();
    let (anchor, ours) = alternate(
        scale.pick(3, 5),
        || {
            let cost = negentropy(&sets, &[], &[])?;
            Ok((cost.build + cost.talk) * 1e3)
        },
        || {
            of_few.push(contact(&mut few)?);
            contact(&mut many)
        },
    )?;
    let what = format!(
        "CPU of both sides for a contact in step, {count} messages; with a quarter of them {:.4} ms",
        median(of_few)
    );
    let anchor = ("negentropy, same set: build and one round trip", anchor);
    Ok(vec![Row::new("session-start", Goal::AtMost(1.0), "ms", ours, anchor, what)])
}

/// A store that is opened again, with the engine on it.
pub(crate) fn open(scale: Scale) -> Result<Vec<Row>, Failure> {
    let count = scale.pick(50_000, 1_000_000);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("store.db");
    let messages = line(count, 200)?;
    let mut receiver =
        Receiver::new(SqliteStore::open(&path, Options::default())?, Config::default(), 1, false)?;
    let all: Vec<Bytes> = frames(&messages, 250)?;
    for frames in all.chunks(4) {
        receiver.feed_all(frames)?;
    }
    receiver.verify(messages.len())?;
    drop(receiver);
    let mut times = Vec::new();
    for _ in 0..scale.times() {
        let (engine, seconds) = cpu(|| {
            let store = SqliteStore::open(&path, Options::default())?;
            Ok(Engine::open(store, Config::default(), [7; 32], START)?)
        })?;
        times.push(seconds * 1e3);
        if engine.groups().first().map(|group| group.head) != Some(count) {
            return Err("the store was not read".into());
        }
    }
    sound(&SqliteStore::open(&path, Options::default())?)?;
    let factor = 1_000_000.0 / size_f64(messages.len());
    let what =
        format!("CPU to open a SQLite store with 1,000,000 messages; {factor} times what {count} take");
    Ok(vec![Row::alone("open", Goal::AtMost(1_000.0), "ms", median(times) * factor, what)])
}
