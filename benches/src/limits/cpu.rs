//! CPU time in memory: whole syncs, and receiving beside a bare loop.

use std::collections::HashMap;

use hedgerow_proto::Message;
use hedgerow_sync_core::{Config, MemoryStore};

use super::measure::{Scale, alternate, cpu, size_f64, to_f64};
use super::row::{Goal, Row};
use super::workload::{Receiver, frames, line};
use crate::{Failure, Pair};

/// CPU seconds of both engines for `count` messages of `size` bytes, from one to the other in memory.
fn whole_sync(count: u64, size: usize) -> Result<f64, Failure> {
    let mut pair = Pair::new(MemoryStore::new(), MemoryStore::new())?;
    pair.publish(count, size, 1000)?;
    let (_, seconds) = cpu(|| pair.sync(&mut |_| {}))?;
    pair.verify(count)?;
    Ok(seconds)
}

/// A whole sync of 10,000 messages, both engines together.
pub(crate) fn sync(scale: Scale) -> Result<Vec<Row>, Failure> {
    let input = bare_input(&line(10_000, 200)?);
    let (anchor, ours) = alternate(
        scale.times(),
        || Ok(cpu(|| bare_loop(&input))?.1 * 1e3),
        || Ok(whole_sync(10_000, 200)? * 1e3),
    )?;
    Ok(vec![Row::new(
        "sync",
        Goal::AtMost(100.0),
        "ms",
        ours,
        ("bare loop: parse, BLAKE3, one hash-map entry", anchor),
        "CPU of both engines, 10,000 x 200 B from one to the other (MVDS Go, published: 21,500 ms)",
    )])
}

/// Four times the messages take four times as long.
pub(crate) fn linear(scale: Scale) -> Result<Vec<Row>, Failure> {
    let count = scale.pick(20_000, 250_000);
    let (few, many) = alternate(
        3,
        || Ok(whole_sync(count, 200)? * 1e6 / to_f64(count)),
        || Ok(whole_sync(4 * count, 200)? * 1e6 / to_f64(4 * count)),
    )?;
    let what = format!("CPU of a whole sync for each message, at N = {}; linear: at most 1.2", 4 * count);
    let anchor = (if scale.quick { "the same at 20,000" } else { "the same at 250,000" }, few);
    Ok(vec![Row::new("sync-linear", Goal::TimesAtMost(1.2), "us", many, anchor, what)])
}

/// Messages one after the other, as plainly as can be: length, timestamp, one parent as a number, body.
fn bare_input(messages: &[Message]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for message in messages {
        let len = u32::try_from(message.body().len()).unwrap_or(u32::MAX);
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&message.timestamp_ms().to_be_bytes());
        bytes.extend_from_slice(message.body());
    }
    bytes
}

/// The least that receiving can be: take each message out of the bytes, hash it, and note it. What is hashed is as long
/// as for a message with one parent: group, timestamp, count, parent, body.
fn bare_loop(mut bytes: &[u8]) -> Result<usize, Failure> {
    let mut known: HashMap<[u8; 32], u64> = HashMap::new();
    let mut last = [0; 32];
    let base = blake3::Hasher::new_derive_key("hedgerow bench bare loop");
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (timestamp, rest) = rest.split_first_chunk::<8>().ok_or("cut off")?;
        let (body, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize).ok_or("cut off")?;
        bytes = rest;
        let mut hasher = base.clone();
        hasher.update(&[1; 32]).update(timestamp).update(&[0, 1]).update(&last).update(body);
        last = *hasher.finalize().as_bytes();
        known.insert(last, u64::from_be_bytes(*timestamp));
    }
    Ok(known.len())
}

/// Receiving in memory: frame in, id computed, gate, event out.
pub(crate) fn receive(scale: Scale) -> Result<Vec<Row>, Failure> {
    let messages = line(20_000, 200)?;
    let (input, frames) = (bare_input(&messages), frames(&messages, usize::MAX)?);
    let rate = |seconds: f64| size_f64(messages.len()) / seconds;
    let (anchor, ours) = alternate(
        scale.times(),
        || Ok(rate(cpu(|| bare_loop(&input))?.1)),
        || {
            let mut receiver = Receiver::new(MemoryStore::new(), Config::default(), 1, false)?;
            let ((), seconds) = cpu(|| frames.iter().try_for_each(|frame| receiver.feed(frame)))?;
            receiver.verify(messages.len())?;
            Ok(rate(seconds))
        },
    )?;
    let what = format!("messages of 200 B received in memory in a CPU second, of {}", messages.len());
    let anchor = ("bare loop: parse, BLAKE3, one hash-map entry", anchor);
    Ok(vec![Row::new("receive", Goal::TimesAtLeast(0.5), "/s", ours, anchor, what)])
}
