//! Random networks under random caps: whatever happens, every cap holds, every store is in order, what two nodes have
//! in common stands in the same order on both, and in the end there is silence.

use std::collections::BTreeMap;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng as Rng;

use super::{CAP, checked, judge};
use crate::testing::{Faults, Net};
use crate::{Draft, EngineError, Entry, LinkProfile, MessageFacts, PushPolicy};

struct World {
    seed: u64,
    net: Net,
    rng: Rng,
    groups: Vec<hedgerow_proto::GroupId>,
    caps: Vec<u64>,
    refused: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::seed_from_u64(seed);
        let nodes = rng.random_range(2..5);
        let mut net = Net::new(nodes, seed);
        net.config.horizon_patience_ms = rng.random_range(0..120_000);
        net.config.max_parked_messages = rng.random_range(5..200);
        net.judge = judge;
        net.verdict_delay_ms = (0, rng.random_range(0..500));
        let groups: Vec<_> =
            (0..rng.random_range(1..3)).map(|n| net.group(&format!("g{n}"), rng.random_bool(0.7))).collect();
        // Some groups are capped, some nodes as a whole.
        let caps: Vec<u64> = (0..nodes)
            .map(|_| if rng.random_bool(0.3) { u64::MAX } else { rng.random_range(CAP..2 * CAP) })
            .collect();
        let mut world = Self { seed, net, rng, groups, caps, refused: 0 };
        for n in 0..nodes {
            world.net.drain(n);
            world.open(n, 1);
            if world.rng.random_bool(0.3) {
                let group = world.groups[0];
                world.net.engines[n].set_max_bytes(group, Some(CAP)).unwrap();
            }
        }
        world
    }

    /// Restarts a node under its own cap.
    fn open(&mut self, n: usize, seed: u64) {
        self.net.config.max_store_bytes = self.caps[n];
        self.net.restart(n, seed);
        self.net.config.max_store_bytes = u64::MAX;
    }

    fn connect(&mut self) {
        let nodes = self.net.engines.len();
        let a = self.rng.random_range(0..nodes);
        let b = (a + self.rng.random_range(1..nodes)) % nodes;
        let loss = self.rng.random_range(0.0..0.4);
        let faults = Faults { loss, duplication: 0.1, delay_ms: (1, 300) };
        let push =
            [PushPolicy::Adaptive, PushPolicy::Always, PushPolicy::OfferFirst][self.rng.random_range(0..3)];
        if self.rng.random_bool(0.5) {
            let profile = LinkProfile { push, ..LinkProfile::reliable() };
            self.net.connect_with(a, b, profile, Faults { loss: 0.0, duplication: 0.0, ..faults });
        } else {
            self.net.connect_with(a, b, LinkProfile { push, ..LinkProfile::lossy(40_000) }, faults);
        }
    }

    fn publish(&mut self) {
        let n = self.rng.random_range(0..self.net.engines.len());
        let group = self.groups[self.rng.random_range(0..self.groups.len())];
        let now = self.net.now;
        let expires_ms =
            self.rng.random_bool(0.2).then(|| now.as_timestamp_ms() + self.rng.random_range(1..400_000));
        let until = expires_ms.map_or("-".to_owned(), |at| at.to_string());
        let mut body = format!("n{n}:{until}:{} ", self.rng.random::<u64>());
        body.extend(std::iter::repeat_n('.', self.rng.random_range(100..9_000)));
        let deps = match self.rng.random_bool(0.8) {
            true => self.net.engines[n].heads(group, 4).unwrap(),
            false => vec![],
        };
        let draft = Draft { timestamp_ms: now.as_timestamp_ms(), deps, body: body.into() };
        let mut author = [0; 32];
        author[..2].copy_from_slice(format!("n{n}").as_bytes());
        let facts = MessageFacts { author: Some(author), expires_ms };
        match self.net.engines[n].publish_with(group, draft, facts, now) {
            Ok(_) => {}
            Err(EngineError::NoRoom { .. }) => self.refused += 1,
            Err(error) => panic!("seed {}: {error}", self.seed),
        }
        self.net.drain(n);
    }

    fn step(&mut self) {
        match self.rng.random_range(0..20) {
            0..10 => self.publish(),
            10..12 => self.connect(),
            12 => {
                let wire = self.rng.random_range(0..self.net.wires.len().max(1));
                if wire < self.net.wires.len() {
                    self.net.disconnect(wire);
                }
            }
            13 => {
                let n = self.rng.random_range(0..self.net.engines.len());
                let seed = self.rng.random();
                self.open(n, seed);
            }
            _ => {
                let ms = self.rng.random_range(1..60_000);
                self.net.run(ms);
            }
        }
        for n in 0..self.net.engines.len() {
            self.net.drain(n);
            let report = checked(&self.net, n);
            assert!(
                report.bytes <= self.caps[n],
                "seed {}: {} bytes of {}",
                self.seed,
                report.bytes,
                self.caps[n]
            );
            for group in self.net.engines[n].status().groups {
                assert!(group.bytes <= group.max_bytes, "seed {}: {group:?}", self.seed);
            }
        }
    }

    fn end(&mut self) {
        for wire in 0..self.net.wires.len() {
            self.net.disconnect(wire);
        }
        let nodes = self.net.engines.len();
        for a in 0..nodes {
            for b in 0..a {
                self.net.connect(a, b);
            }
        }
        self.net.run(2 * 3_600_000);
        for &group in &self.groups.clone() {
            let mut keys = BTreeMap::new();
            for n in 0..nodes {
                assert!(self.net.engines[n].missing(group).is_empty(), "seed {}, node {n}", self.seed);
                for Entry { id, key, .. } in self.net.log(n, group) {
                    assert_eq!(*keys.entry(id).or_insert(key), key, "seed {}", self.seed);
                }
            }
            // What anybody still holds, everybody knows.
            let holds = |n: usize| self.net.log(n, group).into_iter().filter(|entry| entry.body.is_some());
            for n in 0..nodes {
                for entry in (0..nodes).flat_map(holds) {
                    let known = self.net.engines[n].message(&entry.id).unwrap();
                    let known = known.is_some_and(|known| known.position > 0);
                    // Where nothing of our own may be pruned, there is no room for it.
                    assert!(known || self.refused > 0, "seed {}: node {n} lacks {}", self.seed, entry.id);
                }
            }
        }
        for n in 0..nodes {
            checked(&self.net, n);
        }
        self.net.run(60_000);
        let before = self.net.frames;
        self.net.run(6 * 3_600_000);
        assert_eq!(self.net.frames, before, "seed {}: frames without end", self.seed);
    }
}

/// Every seed says what repeats it; `HEDGEROW_RETENTION_SEEDS=5` or `=100..300` runs others.
#[test]
fn random_networks_under_caps() {
    let named = std::env::var("HEDGEROW_RETENTION_SEEDS").ok();
    let range = named.as_deref().map(|text| {
        let (first, last) = text.split_once("..").unwrap_or((text, ""));
        let first: u64 = first.parse().unwrap();
        first..last.parse().unwrap_or(first + 1)
    });
    let (mut pruned, mut gaps, mut refused) = (0, 0, 0);
    for seed in range.clone().unwrap_or(1..9) {
        let mut world = World::new(seed);
        for _ in 0..150 {
            world.step();
        }
        world.end();
        let groups = world.net.engines.iter().flat_map(|engine| engine.status().groups);
        (pruned, gaps) = groups.fold((pruned, gaps), |sum, group| (sum.0 + group.pruned, sum.1 + group.gaps));
        refused += world.refused;
    }
    // A test of caps in which nothing is ever pruned would prove nothing.
    assert!(range.is_some() || (pruned > 100 && gaps > 0), "{pruned} pruned, {gaps} gaps, {refused} refused");
    println!("{pruned} pruned, {gaps} gaps, {refused} refused");
}
