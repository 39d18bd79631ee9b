//! Two peers that hold nearly the same and do not know it of each other: what it takes to find out.

use bytes::Bytes;
use hedgerow_proto::{Message, Visibility};
use hedgerow_sync_core::{Config, Engine, LinkProfile, MemoryStore};
use negentropy::{Id, Negentropy, NegentropyStorageVector};

use super::measure::{Scale, cpu, to_f64};
use super::row::{Goal, Row};
use super::wire::metadata;
use super::workload::{Receiver, START, frames, graph, peer, sound};
use crate::Failure;

/// What a reconciliation took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Bytes both ways, without the messages.
    pub(crate) bytes: u64,
    /// Round trips.
    pub(crate) rounds: u64,
    /// CPU time of both sides to be ready for it, in s.
    pub(crate) build: f64,
    /// CPU time of both sides for the rest, in s.
    pub(crate) talk: f64,
}

/// The peer: range-based reconciliation by the `negentropy` crate, of `shared` and what only one of the two has.
pub(crate) fn negentropy(
    shared: &[Message],
    only_a: &[Message],
    only_b: &[Message],
) -> Result<Cost, Failure> {
    // Hashing is no work of the crate's.
    let items = |own: &[Message]| -> Vec<(u64, Id)> {
        let item = |message: &Message| {
            (message.timestamp_ms().unsigned_abs(), Id::from_byte_array(*message.id().as_bytes()))
        };
        shared.iter().chain(own).map(item).collect()
    };
    let (of_a, of_b) = (items(only_a), items(only_b));
    let set = |items: Vec<(u64, Id)>| -> Result<NegentropyStorageVector, Failure> {
        let mut set = NegentropyStorageVector::with_capacity(items.len());
        for (at, id) in items {
            set.insert(at, id)?;
        }
        set.seal()?;
        Ok(set)
    };
    let ((a, b), build) = cpu(|| Ok((set(of_a)?, set(of_b)?)))?;
    let mut cost = Cost { build, ..Cost::default() };
    let (found, talk) = cpu(|| {
        let (mut client, mut server) = (Negentropy::owned(a, 0)?, Negentropy::owned(b, 0)?);
        let (mut have, mut need) = (Vec::new(), Vec::new());
        let mut query = Some(client.initiate()?);
        while let Some(message) = query {
            let answer = server.reconcile(&message)?;
            cost.bytes += (message.len() + answer.len()) as u64;
            cost.rounds += 1;
            query = client.reconcile_with_ids(&answer, &mut have, &mut need)?;
        }
        Ok(have.len() + need.len())
    })?;
    if found != only_a.len() + only_b.len() {
        return Err(format!("negentropy found {found} differences").into());
    }
    cost.talk = talk;
    Ok(cost)
}

/// Both have these messages, and each some that the other has not; both got all of them from somebody else.
pub(crate) struct Sets {
    shared: Vec<Message>,
    only_a: Vec<Message>,
    only_b: Vec<Message>,
}

impl Sets {
    /// `count` messages on each side, `differences` in all that one of them lacks.
    pub(crate) fn new(count: u64, differences: u64) -> Result<Self, Failure> {
        let common = count - differences / 2;
        // What differs was written all along, not at the end.
        let step = (common / differences.max(1)).max(1);
        let all = graph(common + differences, 32, |n| {
            let before = if n < common { n } else { (n - common) * step };
            before.checked_sub(1).into_iter().collect()
        })?;
        let (mut shared, mut only_a, mut only_b) = (Vec::new(), Vec::new(), Vec::new());
        for (n, message) in (0..).zip(all) {
            if n < common {
                shared.push(message);
            } else if n % 2 == 0 {
                only_a.push(message);
            } else {
                only_b.push(message);
            }
        }
        Ok(Self { shared, only_a, only_b })
    }

    fn engine(&self, own: &[Message]) -> Result<Engine<MemoryStore>, Failure> {
        let mut receiver = Receiver::new(MemoryStore::new(), Config::default(), 1, false)?;
        let all: Vec<Message> = self.shared.iter().chain(own).cloned().collect();
        for frame in frames(&all, usize::MAX)? {
            receiver.feed(&frame)?;
        }
        if receiver.delivered != all.len() as u64 {
            return Err("the sets are not as they should be".into());
        }
        Ok(receiver.leave())
    }

    /// The first contact of the two.
    pub(crate) fn meet(&self) -> Result<Cost, Failure> {
        let (mut a, mut b) = (self.engine(&self.only_a)?, self.engine(&self.only_b)?);
        let group = super::workload::descriptor()?.id();
        a.set_visibility(peer(2), group, Visibility::Shared)?;
        b.set_visibility(peer(1), group, Visibility::Shared)?;
        let now = START + 90_000_000;
        let goal = (self.shared.len() + self.only_a.len() + self.only_b.len()) as u64;
        let mut cost = Cost::default();
        let ((), talk) = cpu(|| {
            let to_b = a.link_up(peer(2), LinkProfile::reliable(), now)?;
            let to_a = b.link_up(peer(1), LinkProfile::reliable(), now)?;
            let mut rounds = 0;
            loop {
                let there = all_frames(&mut a, to_b, now)?;
                for frame in &there {
                    b.receive(to_a, frame.clone(), now)?;
                }
                while b.poll_event()?.is_some() {}
                let back = all_frames(&mut b, to_a, now)?;
                for frame in &back {
                    a.receive(to_b, frame.clone(), now)?;
                }
                while a.poll_event()?.is_some() {}
                for frame in there.iter().chain(&back) {
                    cost.bytes += metadata(frame)?;
                }
                if there.is_empty() && back.is_empty() {
                    return Ok(());
                }
                rounds += 1;
                let head = |engine: &Engine<MemoryStore>| engine.groups().first().map_or(0, |info| info.head);
                if cost.rounds == 0 && head(&a) == goal && head(&b) == goal {
                    cost.rounds = rounds;
                }
            }
        })?;
        cost.talk = talk;
        if cost.rounds == 0 {
            return Err("the two did not get all of each other's messages".into());
        }
        sound(a.store())?;
        sound(b.store())?;
        Ok(cost)
    }

    /// Negentropy over the same sets.
    pub(crate) fn peer(&self) -> Result<Cost, Failure> {
        negentropy(&self.shared, &self.only_a, &self.only_b)
    }
}

fn all_frames(
    engine: &mut Engine<MemoryStore>,
    link: hedgerow_sync_core::LinkId,
    now: hedgerow_sync_core::Time,
) -> Result<Vec<Bytes>, Failure> {
    let mut frames = Vec::new();
    while let Some(frame) = engine.poll_transmit(link, now, usize::MAX)? {
        frames.push(frame);
    }
    Ok(frames)
}

/// Metadata of `d` differences among `count` messages.
fn row(name: &'static str, count: u64, d: u64) -> Result<(Row, Cost), Failure> {
    let sets = Sets::new(count, d)?;
    let (ours, theirs) = (sets.meet()?, sets.peer()?);
    let what = format!(
        "first contact at {count} messages, {d} differ: {:.1} B a difference (negentropy {:.1}), {} round trips \
         to hold all (negentropy {} to know)",
        to_f64(ours.bytes) / to_f64(d),
        to_f64(theirs.bytes) / to_f64(d),
        ours.rounds,
        theirs.rounds
    );
    let anchor = ("negentropy, same sets", to_f64(theirs.bytes));
    let goal = Goal::AtMost(to_f64(24 * d + 64));
    Ok((Row::new(name, goal, "B", to_f64(ours.bytes), anchor, what), ours))
}

/// What it takes to find 10, 100 and 1,000 differences among 10,000 messages; in a full run also among more.
pub(crate) fn differences(scale: Scale) -> Result<Vec<Row>, Failure> {
    let (few, _) = row("diff-10k-10", 10_000, 10)?;
    let (some, cost) = row("diff-10k-100", 10_000, 100)?;
    let (many, _) = row("diff-10k-1000", 10_000, 1_000)?;
    let rounds = Row::alone(
        "diff-rounds",
        Goal::AtMost(2.0),
        "",
        to_f64(cost.rounds),
        "round trips until both hold all, 100 of 10,000 differ, HELLO included",
    );
    let mut rows = vec![few, some, many, rounds];
    if !scale.quick {
        rows.push(row("diff-100k-100", 100_000, 100)?.0);
        rows.push(row("diff-1m-1000", 1_000_000, 1_000)?.0);
    }
    Ok(rows)
}
