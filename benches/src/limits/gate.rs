//! What comes out of order: the gate, both orders, and that they cost the same for each message however many wait.

use bytes::Bytes;
use hedgerow_proto::{Codec as _, Message, NativeCodec};
use hedgerow_sync_core::{Config, MemoryStore, Store};
use hedgerow_sync_sqlite::{Options, SqliteStore};

use super::measure::{Scale, alternate, cpu, median, size_f64};
use super::row::{Goal, Row};
use super::workload::{Receiver, frames, graph};
use crate::Failure;

/// Messages, who comes after whom, and in which order they arrive.
struct Arrival {
    messages: Vec<Message>,
    /// Of each message in order of arrival, the places of its parents in that order.
    parents: Vec<Vec<u32>>,
    frames: Vec<Bytes>,
}

impl Arrival {
    fn new(count: u64, parents: impl Fn(u64) -> Vec<u64>, order: Vec<usize>) -> Result<Self, Failure> {
        let all = graph(count, 32, &parents)?;
        let mut place = vec![0_u32; all.len()];
        for (at, &n) in (0_u32..).zip(&order) {
            if let Some(place) = place.get_mut(n) {
                *place = at;
            }
        }
        let at = |n: u64| place.get(usize::try_from(n).ok()?).copied();
        let messages: Vec<Message> = order.iter().filter_map(|&n| all.get(n).cloned()).collect();
        let of = |&n: &usize| parents(n as u64).into_iter().filter_map(at).collect();
        let parents = order.iter().map(of).collect();
        let frames = frames(&messages, usize::MAX)?;
        Ok(Self { messages, parents, frames })
    }

    /// One to three parents among the 50 before, in windows of 1,000 that are shuffled.
    fn windows(count: u64) -> Result<Self, Failure> {
        let parents = |n: u64| {
            let mut draw = Draw(n + 1);
            let some = 1 + draw.below(3);
            let mut all: Vec<u64> = (0..some).filter_map(|_| n.checked_sub(1 + draw.below(50))).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let mut order: Vec<usize> = (0..usize::try_from(count)?).collect();
        let mut draw = Draw(42);
        for window in order.chunks_mut(1_000) {
            for last in (1..window.len()).rev() {
                let other = usize::try_from(draw.below(last as u64 + 1))?;
                window.swap(last, other);
            }
        }
        Self::new(count, parents, order)
    }

    /// Each after the one before; the last comes first.
    fn chain(count: u64) -> Result<Self, Failure> {
        let order = (0..usize::try_from(count)?).rev().collect();
        Self::new(count, |n| n.checked_sub(1).into_iter().collect(), order)
    }

    /// All after one, which comes last.
    fn fan(count: u64) -> Result<Self, Failure> {
        let order = (0..usize::try_from(count)?).rev().collect();
        Self::new(count, |n| if n == 0 { vec![] } else { vec![0] }, order)
    }

    /// CPU us for each message, from frame to event.
    fn receive<S: Store + std::fmt::Debug>(&self, store: S) -> Result<f64, Failure> {
        let mut config = Config::default();
        let all = self.messages.len() as u64;
        config.max_parked_messages = config.max_parked_messages.max(2 * all);
        config.max_parked_deps = config.max_parked_deps.max(8 * all);
        let mut receiver = Receiver::new(store, config, 1, false)?;
        let ((), seconds) = cpu(|| self.frames.iter().try_for_each(|frame| receiver.feed(frame)))?;
        receiver.verify(self.messages.len())?;
        Ok(self.each(seconds))
    }

    /// CPU us for each message to decode the frames and to hash: what comes before the gate.
    fn before_gate(&self) -> Result<f64, Failure> {
        let (count, seconds) = cpu(|| {
            let mut count = 0;
            for frame in &self.frames {
                count += NativeCodec::new()
                    .decode(frame.clone())?
                    .batches
                    .iter()
                    .map(|b| b.messages.len())
                    .sum::<usize>();
            }
            let ids = self.messages.iter().map(|message| u64::from(message.id().as_bytes()[0])).sum::<u64>();
            Ok(count + usize::from(ids == 0))
        })?;
        if count < self.messages.len() {
            return Err("messages are missing from the frames".into());
        }
        Ok(self.each(seconds))
    }

    /// The least: a loop over dense integers that counts what is missing, delivers what lacks nothing, and reckons
    /// height and effective time. CPU us for each message.
    fn pending_count(&self) -> Result<f64, Failure> {
        let count = self.parents.len();
        let times: Vec<i64> = self.messages.iter().map(Message::timestamp_ms).collect();
        let (delivered, seconds) = cpu(|| Ok(deliver(&self.parents, &times)))?;
        if delivered != count {
            return Err(format!("the bare loop delivered {delivered} of {count}").into());
        }
        Ok(self.each(seconds))
    }

    fn each(&self, seconds: f64) -> f64 {
        seconds * 1e6 / size_f64(self.messages.len())
    }
}

#[derive(Clone, Default)]
struct Slot {
    come: bool,
    delivered: bool,
    missing: u32,
    eff: i64,
    height: u64,
    children: Vec<u32>,
}

/// Delivers messages as they arrive, by their places in the order of arrival; how many.
#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation)]
fn deliver(parents: &[Vec<u32>], times: &[i64]) -> usize {
    let mut slots = vec![Slot::default(); parents.len()];
    let mut log: Vec<u32> = Vec::with_capacity(parents.len());
    let mut ready = Vec::new();
    for n in 0..parents.len() {
        slots[n].come = true;
        for &parent in &parents[n] {
            if !slots[parent as usize].delivered {
                slots[n].missing += 1;
                slots[parent as usize].children.push(n as u32);
            }
        }
        if slots[n].missing == 0 {
            ready.push(n as u32);
        }
        while let Some(next) = ready.pop() {
            let (mut eff, mut height) = (times[next as usize], 0);
            for &parent in &parents[next as usize] {
                eff = eff.max(slots[parent as usize].eff);
                height = height.max(slots[parent as usize].height);
            }
            let slot = &mut slots[next as usize];
            (slot.eff, slot.height, slot.delivered) = (eff, height + 1, true);
            log.push(next);
            for child in std::mem::take(&mut slot.children) {
                slots[child as usize].missing -= 1;
                if slots[child as usize].missing == 0 && slots[child as usize].come {
                    ready.push(child);
                }
            }
        }
    }
    log.len()
}

/// xorshift64 (Marsaglia, 2003), from a seed that is not 0.
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

/// The gate and both orders beside a pending-count loop.
pub(crate) fn gate(scale: Scale) -> Result<Vec<Row>, Failure> {
    let arrival = Arrival::windows(scale.pick(20_000, 100_000))?;
    let mut before = Vec::new();
    let (anchor, whole) = alternate(
        scale.times(),
        || arrival.pending_count(),
        || {
            before.push(arrival.before_gate()?);
            arrival.receive(MemoryStore::new())
        },
    )?;
    let before = median(before);
    let what = format!(
        "CPU for each message, windows of 1,000 shuffled: receiving in memory ({whole:.2} us) less decoding and \
         hashing ({before:.2} us)"
    );
    let anchor = ("pending-count loop over dense integers", anchor);
    Ok(vec![Row::new("gate", Goal::TimesAtMost(5.0), "us", whole - before, anchor, what)])
}

/// A chain that comes last first, and a fan whose root comes last, at N and 4 N.
pub(crate) fn linear(scale: Scale) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let chain = scale.pick(10_000, 250_000);
    for (name, what, count, make) in [
        (
            "gate-chain",
            "a chain, the last first",
            chain,
            Arrival::chain as fn(u64) -> Result<Arrival, Failure>,
        ),
        ("gate-fan", "a fan, the root last", scale.pick(10_000, 25_000), Arrival::fan),
    ] {
        let (few, many) = (make(count)?, make(4 * count)?);
        let (anchor, ours) =
            alternate(3, || few.receive(MemoryStore::new()), || many.receive(MemoryStore::new()))?;
        let what = format!("{what}: CPU for each of {} messages; linear: at most 1.2", 4 * count);
        let anchor = ("the same with a quarter of the messages", anchor);
        rows.push(Row::new(name, Goal::TimesAtMost(1.2), "us", ours, anchor, what));
    }
    Ok(rows)
}

/// Messages out of order, in memory and in SQLite.
pub(crate) fn shuffled(scale: Scale) -> Result<Vec<Row>, Failure> {
    let arrival = Arrival::windows(scale.pick(10_000, 100_000))?;
    let folder = tempfile::tempdir()?;
    let (mut memory, mut file) = (Vec::new(), Vec::new());
    for run in 0..scale.pick(3, 7) {
        memory.push(arrival.receive(MemoryStore::new())?);
        let path = folder.path().join(run.to_string());
        file.push(arrival.receive(SqliteStore::open(&path, Options::default())?)?);
    }
    let row = |name, goal, what: &str, figure| {
        let what = format!("CPU for each message from frame to event, windows of 1,000 shuffled, {what}");
        Row::alone(name, Goal::AtMost(goal), "us", figure, what).published("loro, fastest of the peers", 40.0)
    };
    Ok(vec![
        row("shuffled-memory", 4.0, "in memory", median(memory)),
        row("shuffled-sqlite", 20.0, "SQLite, one commit a frame", median(file)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bare_loop_delivers_what_the_engine_delivers() -> Result<(), Failure> {
        for arrival in [Arrival::windows(2_500)?, Arrival::chain(300)?, Arrival::fan(300)?] {
            arrival.pending_count()?;
            arrival.before_gate()?;
            // Fails by itself unless all are delivered and the store is sound.
            arrival.receive(MemoryStore::new())?;
        }
        Ok(())
    }

    #[test]
    fn what_waits_for_what_never_comes_is_not_delivered() {
        assert_eq!(deliver(&[vec![2], vec![], vec![2]], &[1, 2, 3]), 1);
    }
}
