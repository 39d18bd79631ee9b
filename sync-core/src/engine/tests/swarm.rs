//! Swarms: some nodes, all kinds of links between them, and everything that happens to devices, drawn from a seed.
//! Whatever happens no store breaks and no delivery order does; once all is well again, all agree and fall silent.
//!
//! `HEDGEROW_SWARM_SEEDS=10000` runs that many seeds, `HEDGEROW_SWARM_SEED=17` one of them,
//! `HEDGEROW_SWARM_STEPS=5` its first five steps only.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use hedgerow_proto::{
    Announce, Batch, Codec, DepRef, Frame, GroupId, GroupRef, Hello, Message, MessageId, NativeCodec, PeerId,
    Visibility, WireMessage,
};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha12Rng;

use crate::engine::state::Session;
use crate::store::{MemoryStore, check};
use crate::testing::{CLEAN, Faults, Net, descriptor, open, peer};
use crate::{Config, Draft, LinkProfile, PushPolicy, Verdict};

/// How long all may take to agree once everything is well again, in ms.
const PATIENCE_MS: u64 = 10 * 60_000;

/// What is drawn once for a seed.
#[derive(Debug)]
struct Options {
    nodes: usize,
    /// Whether each group is judged.
    groups: Vec<bool>,
    steps: usize,
    configs: Vec<Config>,
    /// All bodies and frames are tiny.
    tiny: bool,
    congestion: f64,
    verdict_delay_ms: (u64, u64),
    /// What happens in this swarm beside publishing, connecting and waiting.
    happens: BTreeSet<Happening>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Crash,
    Backup,
    LostStore,
    Leave,
    Visibility,
    ClockJump,
    Invalid,
    HalfOpen,
}

const HAPPENINGS: [Happening; 8] = [
    Happening::Crash,
    Happening::Backup,
    Happening::LostStore,
    Happening::Leave,
    Happening::Visibility,
    Happening::ClockJump,
    Happening::Invalid,
    Happening::HalfOpen,
];

impl Options {
    fn draw(rng: &mut ChaCha12Rng) -> Self {
        let nodes = rng.random_range(2..=6);
        let tiny = rng.random_bool(0.15);
        let groups = (0..rng.random_range(1..=3)).map(|_| rng.random_bool(0.5)).collect();
        let config = draw_config(rng, tiny);
        let alike = rng.random_bool(0.4);
        let configs =
            (0..nodes).map(|_| if alike { config.clone() } else { draw_config(rng, tiny) }).collect();
        let often = *pick(rng, &[0.0, 0.2, 0.5]);
        Self {
            nodes,
            groups,
            steps: rng.random_range(5..60),
            configs,
            tiny,
            congestion: *pick(rng, &[0.0, 0.0, 0.1, 0.4]),
            verdict_delay_ms: *pick(rng, &[(0, 0), (0, 0), (0, 500), (100, 5_000)]),
            happens: HAPPENINGS.into_iter().filter(|_| rng.random_bool(often)).collect(),
        }
    }
}

fn draw_config(rng: &mut ChaCha12Rng, tiny: bool) -> Config {
    let mut config = Config::default();
    if tiny {
        config.max_frame = rng.random_range(256..1_200);
    } else if rng.random_bool(0.3) {
        config.max_frame = rng.random_range(4_096..20_000);
    }
    if rng.random_bool(0.4) {
        config.max_offers = rng.random_range(2..600);
    }
    if rng.random_bool(0.2) {
        config.max_offers = rng.random_range(2..6);
    }
    if rng.random_bool(0.4) {
        config.max_requests = rng.random_range(1..20);
    }
    if rng.random_bool(0.3) {
        config.max_parked_messages = rng.random_range(3..40);
    }
    if rng.random_bool(0.1) {
        config.max_parked_bytes = rng.random_range(3_000..20_000);
    }
    if rng.random_bool(0.2) {
        config.max_unvalidated = rng.random_range(2..20);
    }
    if rng.random_bool(0.3) {
        config.max_in_flight_bytes = rng.random_range(1..20_000);
    }
    if rng.random_bool(0.2) {
        config.max_spans = rng.random_range(1..10);
    }
    config
}

fn pick<'a, T>(rng: &mut ChaCha12Rng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}

/// One swarm as it goes.
struct Swarm {
    net: Net,
    rng: ChaCha12Rng,
    options: Options,
    seed: u64,
    groups: Vec<GroupId>,
    /// Which groups each node is in.
    member: Vec<BTreeSet<usize>>,
    backups: Vec<Option<MemoryStore>>,
    /// How much of each delivery order was looked at, and what is in it.
    seen: Vec<BTreeMap<GroupId, (usize, BTreeSet<MessageId>)>>,
    published: u64,
    liars: u8,
}

fn judge(message: &Message) -> Verdict {
    if message.body().starts_with(b"bad") { Verdict::Invalid } else { Verdict::VALID }
}

fn group_name(group: usize) -> String {
    format!("group {group}")
}

impl Swarm {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let options = Options::draw(&mut rng);
        let mut net = Net::new(options.nodes, seed);
        for (n, config) in options.configs.iter().enumerate() {
            net.engines[n] = open(MemoryStore::new(), config, n, seed, net.now);
        }
        net.judge = judge;
        net.congestion = options.congestion;
        net.verdict_delay_ms = options.verdict_delay_ms;
        let groups: Vec<GroupId> =
            (0..options.groups.len()).map(|g| descriptor(&group_name(g)).id()).collect();
        let nodes = options.nodes;
        let mut swarm = Self {
            net,
            rng,
            seed,
            groups,
            member: vec![BTreeSet::new(); nodes],
            backups: vec![None; nodes],
            seen: vec![BTreeMap::new(); nodes],
            published: 0,
            liars: 0,
            options,
        };
        for n in 0..nodes {
            for group in 0..swarm.groups.len() {
                if group == 0 || swarm.rng.random_bool(0.8) {
                    swarm.join(n, group, 0.9);
                }
            }
        }
        swarm
    }

    fn join(&mut self, n: usize, group: usize, shared: f64) {
        self.member[n].insert(group);
        let id = self.groups[group];
        let judged = self.options.groups[group];
        self.net.engines[n].add_group(&descriptor(&group_name(group)), judged).unwrap();
        for other in (0..self.options.nodes).filter(|other| *other != n) {
            if self.rng.random_bool(shared) {
                self.net.engines[n].set_visibility(peer(other), id, Visibility::Shared).unwrap();
            }
        }
    }

    fn node(&mut self) -> usize {
        self.rng.random_range(0..self.options.nodes)
    }

    fn membership(&mut self) -> Option<(usize, usize)> {
        let n = self.node();
        let groups: Vec<usize> = self.member[n].iter().copied().collect();
        (!groups.is_empty()).then(|| (n, *pick(&mut self.rng, &groups)))
    }

    fn step(&mut self) {
        match self.rng.random_range(0..100) {
            0..35 => self.publish_some(),
            35..50 => self.connect_some(),
            50..60 => self.disconnect_some(),
            60..75 => {
                let happens: Vec<Happening> = self.options.happens.iter().copied().collect();
                if !happens.is_empty() {
                    let what = *pick(&mut self.rng, &happens);
                    self.happen(what);
                }
            }
            _ => {}
        }
        if !self.net.half_open.is_empty() && self.rng.random_bool(0.5) {
            let at = self.rng.random_range(0..self.net.half_open.len());
            self.net.hang_up(at);
        }
        let ms = *pick(&mut self.rng, &[0, 0, 5, 20, 100, 1_000, 20_000]);
        if self.rng.random_bool(0.8) {
            self.net.run(ms);
        }
        self.look();
    }

    fn publish_some(&mut self) {
        let Some((n, group)) = self.membership() else { return };
        let id = self.groups[group];
        for _ in 0..*pick(&mut self.rng, &[1, 1, 2, 5, 40]) {
            let most = if self.options.tiny { 2 } else { 16 };
            let mut deps = self.net.engines[n].heads(id, most).unwrap();
            let head = self.net.engines[n].group(id).unwrap().head;
            match self.rng.random_range(0..10) {
                0 => deps.clear(),
                1..4 if head > 0 => {
                    deps = (0..self.rng.random_range(0..most))
                        .map(|_| self.rng.random_range(1..=head))
                        .map(|at| self.net.engines[n].entry(id, at).unwrap().unwrap().id)
                        .collect();
                }
                _ => {}
            }
            self.published += 1;
            let body = format!("message {} of {n}", self.published);
            let length = if self.options.tiny { 40 } else { *pick(&mut self.rng, &[20, 20, 200, 3_000]) };
            let body = format!("{body:<length$}");
            let draft = Draft { timestamp_ms: self.net.now.as_timestamp_ms(), deps, body: body.into() };
            self.net.engines[n].publish(id, draft, self.net.now).unwrap();
            if self.rng.random_bool(0.5) {
                self.net.drain(n);
            }
        }
    }

    fn connect_some(&mut self) {
        let (a, b) = (self.node(), self.node());
        if a != b {
            self.connect(a, b);
            if self.rng.random_bool(0.2) {
                self.connect(a, b);
            }
        }
    }

    fn connect(&mut self, a: usize, b: usize) {
        let push = *pick(
            &mut self.rng,
            &[PushPolicy::Adaptive, PushPolicy::Adaptive, PushPolicy::Always, PushPolicy::OfferFirst],
        );
        let base = self.rng.random_range(1..100);
        if self.rng.random_bool(0.5) {
            let delay_ms = (base, base * self.rng.random_range(1..3));
            let profile = LinkProfile { push, ..LinkProfile::reliable() };
            self.net.connect_with(a, b, profile, Faults { delay_ms, ..CLEAN });
        } else {
            let delay_ms = (base, base * self.rng.random_range(1..10));
            let loss = *pick(&mut self.rng, &[0.0, 0.1, 0.5, 0.95]);
            let duplication = *pick(&mut self.rng, &[0.0, 0.1, 0.5]);
            let max_frame = self.rng.random_range(256..1_500);
            let profile = LinkProfile { push, ..LinkProfile::lossy(max_frame) };
            self.net.connect_with(a, b, profile, Faults { loss, duplication, delay_ms });
        }
    }

    fn disconnect_some(&mut self) {
        let up: Vec<usize> = (0..self.net.wires.len()).filter(|at| self.net.wires[*at].is_some()).collect();
        if up.is_empty() {
            return;
        }
        if self.rng.random_bool(0.2) {
            let side = self.node();
            for at in up {
                let wire = self.net.wires[at].as_ref().unwrap();
                if (wire.ends[0].0 <= side) != (wire.ends[1].0 <= side) {
                    self.net.disconnect(at);
                }
            }
        } else {
            let at = *pick(&mut self.rng, &up);
            self.net.disconnect(at);
        }
    }

    fn happen(&mut self, what: Happening) {
        let n = self.node();
        if std::env::var("HEDGEROW_SWARM_SEED").is_ok() {
            eprintln!("{} node {n}: {what:?}", self.net.now);
        }
        match what {
            Happening::Crash => {
                let store = self.stop(n);
                self.start(n, store, false);
            }
            Happening::Backup => {
                if let Some(store) = self.backups[n].take() {
                    self.stop(n);
                    self.start(n, store, true);
                } else {
                    self.net.engines[n].commit().unwrap();
                    self.backups[n] = Some(self.net.engines[n].store().clone());
                }
            }
            Happening::LostStore => {
                let groups = self.member[n].clone();
                self.stop(n);
                self.start(n, MemoryStore::new(), true);
                for group in groups {
                    self.join(n, group, 1.0);
                }
            }
            Happening::Leave => {
                let group = self.rng.random_range(0..self.groups.len());
                if self.member[n].remove(&group) {
                    self.net.engines[n].remove_group(self.groups[group]).unwrap();
                    self.net.delivered[n].remove(&self.groups[group]);
                    self.seen[n].remove(&self.groups[group]);
                } else {
                    self.join(n, group, 0.9);
                }
            }
            Happening::Visibility => {
                let Some((n, group)) = self.membership() else { return };
                let other = self.node();
                if other != n {
                    let to = *pick(
                        &mut self.rng,
                        &[Visibility::Invisible, Visibility::Visible, Visibility::Shared, Visibility::Shared],
                    );
                    self.net.engines[n].set_visibility(peer(other), self.groups[group], to).unwrap();
                }
            }
            Happening::ClockJump => {
                let ms = *pick(&mut self.rng, &[1_000, 60_000, 86_400_000, 40 * 86_400_000]);
                self.net.now = self.net.now + ms;
            }
            Happening::Invalid => self.inject_invalid(n),
            Happening::HalfOpen => {
                let store = self.stop(n);
                self.start(n, store, false);
                // The others are not told yet, and are met again meanwhile.
                let other = self.node();
                if other != n {
                    self.connect(n, other);
                }
            }
        }
        if what != Happening::HalfOpen {
            while !self.net.half_open.is_empty() {
                self.net.hang_up(0);
            }
        }
    }

    /// A crash: what was not committed is lost.
    fn stop(&mut self, n: usize) -> MemoryStore {
        self.net.vanish(n);
        let blank = open(MemoryStore::new(), &self.options.configs[n], n, self.seed, self.net.now);
        let mut store = std::mem::replace(&mut self.net.engines[n], blank).into_store();
        store.crash();
        store
    }

    fn start(&mut self, n: usize, store: MemoryStore, other_store: bool) {
        let seed = self.rng.random();
        self.net.engines[n] = open(store, &self.options.configs[n], n, seed, self.net.now);
        if other_store {
            self.seen[n].clear();
        }
        self.member[n] =
            (0..self.groups.len()).filter(|&g| self.net.engines[n].group(self.groups[g]).is_some()).collect();
        self.net.delivered[n].clear();
        for &group in &self.member[n] {
            let id = self.groups[group];
            if self.net.engines[n].group(id).is_some() {
                let log = self.net.log(n, id).into_iter().map(|entry| entry.id).collect();
                self.net.delivered[n].insert(id, log);
            }
        }
    }

    /// Somebody who is no part of the swarm gives one node invalid messages, and messages that depend on them.
    fn inject_invalid(&mut self, n: usize) {
        let groups: Vec<usize> =
            self.member[n].iter().copied().filter(|group| self.options.groups[*group]).collect();
        if groups.is_empty() {
            return;
        }
        let group = self.groups[*pick(&mut self.rng, &groups)];
        self.liars = self.liars.wrapping_add(1);
        let liar = PeerId::from_bytes([100 + self.liars % 100; 32]);
        let heads = self.net.engines[n].heads(group, 2).unwrap();
        let bad = Message::new(group, 5, heads, format!("bad {}", self.liars).into()).unwrap();
        let child = Message::new(group, 6, vec![bad.id()], Bytes::from_static(b"child of bad")).unwrap();
        let mut messages = [bad, child];
        if self.rng.random_bool(0.5) {
            messages.reverse();
        }
        let nonce = [7; 16];
        let wire = |message: &Message| WireMessage {
            position: None,
            timestamp_ms: message.timestamp_ms(),
            deps: message.deps().iter().copied().map(DepRef::Id).collect(),
            body: message.body().clone(),
        };
        let frame = Frame {
            hello: Some(Hello { major: 1, minor: 0, nonce, install: 1, max_frame: 65_536, max_offers: 9 }),
            announces: vec![Announce {
                number: 1,
                tag: Announce::tag_of(&nonce, group),
                visibility: Visibility::Visible,
                held: vec![],
                mark: 0,
                mark_chain: 0,
                reset: false,
            }],
            batches: vec![Batch {
                group: GroupRef::Number(1),
                messages: messages.iter().map(wire).collect(),
                chain: 0,
            }],
            ..Frame::default()
        };
        let mut bytes = Vec::new();
        NativeCodec::new().encode(&frame, &mut bytes).unwrap();
        let engine = &mut self.net.engines[n];
        engine.set_visibility(liar, group, Visibility::Shared).unwrap();
        let link = engine.link_up(liar, LinkProfile::reliable(), self.net.now).unwrap();
        engine.receive(link, bytes.into(), self.net.now).unwrap();
        self.net.drain(n);
        self.net.engines[n].remove_peer(liar, self.net.now).unwrap();
    }

    /// Each delivery order has only grown, each message stands in it once, after its dependencies.
    fn look(&mut self) {
        for n in 0..self.options.nodes {
            for (&group, delivered) in &self.net.delivered[n] {
                let (looked, set) = self.seen[n].entry(group).or_default();
                assert!(delivered.len() >= *looked, "node {n}: the delivery order shrank");
                for (at, id) in delivered.iter().enumerate().skip(*looked) {
                    let entry = self.net.engines[n].entry(group, at as u64 + 1).unwrap();
                    let Some(entry) = entry else { panic!("node {n}: nothing at position {}", at + 1) };
                    assert_eq!(entry.id, *id, "node {n}: position {} of {group}", at + 1);
                    assert!(entry.deps.iter().all(|dep| set.contains(dep)), "node {n}: {id} before a parent");
                    assert!(set.insert(*id), "node {n}: {id} is delivered twice");
                    assert!(!entry.body.unwrap().starts_with(b"bad"), "node {n}: an invalid message");
                }
                *looked = delivered.len();
            }
        }
        if self.rng.random_bool(0.1) {
            self.check_stores();
        }
    }

    fn check_stores(&mut self) {
        for n in 0..self.options.nodes {
            self.net.engines[n].commit().unwrap();
            let report = check(self.net.engines[n].store()).unwrap();
            assert!(report.problems.is_empty(), "node {n}: {:?}", report.problems);
        }
    }

    /// Everybody is up, shares everything, and a path of reliable links leads from each to each.
    fn heal(&mut self) {
        while !self.net.half_open.is_empty() {
            self.net.hang_up(0);
        }
        let everywhere = self.rng.random_bool(0.5);
        for n in 0..self.options.nodes {
            for group in 0..self.groups.len() {
                if everywhere || self.member[n].contains(&group) {
                    self.join(n, group, 1.0);
                }
            }
        }
        // A line so bad that it takes hours is no sign of health.
        let most = *pick(&mut self.rng, &[-1.0, 0.0, 0.5]);
        for at in 0..self.net.wires.len() {
            if self.net.wires[at].as_ref().is_some_and(|wire| wire.faults.loss > most) {
                self.net.disconnect(at);
            }
        }
        // A random tree among the members of each group.
        for group in 0..self.groups.len() {
            let members: Vec<usize> =
                (0..self.options.nodes).filter(|n| self.member[*n].contains(&group)).collect();
            for at in 1..members.len() {
                let other = members[self.rng.random_range(0..at)];
                if !self.reliably_linked(members[at], other) {
                    self.net.connect(members[at], other);
                }
            }
        }
    }

    fn reliably_linked(&self, a: usize, b: usize) -> bool {
        self.net.wires.iter().flatten().any(|wire| {
            let [x, y] = wire.ends.map(|(n, _)| n);
            wire.profile.reliable && ((x, y) == (a, b) || (x, y) == (b, a))
        })
    }

    fn ids(&self, n: usize, group: GroupId) -> BTreeSet<MessageId> {
        self.net.canonical(n, group).into_iter().collect()
    }

    fn agrees(&self) -> bool {
        self.groups.iter().enumerate().all(|(group, &id)| {
            let mut sets = (0..self.options.nodes)
                .filter(|n| self.member[*n].contains(&group))
                .map(|n| self.net.canonical(n, id));
            let first = sets.next();
            sets.all(|other| Some(other) == first)
        })
    }

    /// How long it took until all agreed, in ms.
    fn converge(&mut self) -> u64 {
        for n in 0..self.options.nodes {
            self.net.drain(n);
        }
        let held: Vec<BTreeSet<MessageId>> = (0..self.groups.len())
            .map(|group| {
                let members = (0..self.options.nodes).filter(|n| self.member[*n].contains(&group));
                members.flat_map(|n| self.ids(n, self.groups[group])).collect()
            })
            .collect();
        let start = self.net.now;
        let mut step = 50;
        while !self.agrees() {
            if self.net.run(step) && !self.agrees() {
                self.report();
                panic!("not agreed, and nothing more is going to happen");
            }
            step = (step * 5 / 4).min(5_000);
            self.net.trace =
                self.net.now.since(start) > 60_000 && std::env::var("HEDGEROW_SWARM_SEED").is_ok();
            if self.net.now.since(start) > PATIENCE_MS {
                self.report();
                panic!("not agreed after {} s", PATIENCE_MS / 1_000);
            }
        }
        let took = self.net.now.since(start);
        for (group, held) in held.iter().enumerate() {
            for n in (0..self.options.nodes).filter(|n| self.member[*n].contains(&group)) {
                let missing = held.difference(&self.ids(n, self.groups[group])).count();
                assert_eq!(missing, 0, "node {n}, group {group}: messages that were held are gone");
            }
        }
        took
    }

    /// Everything that is not settled, for whoever has to find out why.
    fn report(&self) {
        for (n, engine) in self.net.engines.iter().enumerate() {
            for group in engine.status().groups {
                eprintln!("node {n}: {group:?}");
            }
            eprintln!("node {n}: {:?}", engine.wants);
            for (id, link) in &engine.links {
                eprintln!(
                    "node {n}: {id:?} to {:?}, ready {}, {:?}, lossy {}, ours {:?}, theirs {:?}, announces due {:?}, bytes {} offers {} frame {}",
                    engine.peers[&link.peer].id,
                    link.is_ready(),
                    link.ready,
                    link.lossy.is_some(),
                    link.ours,
                    link.theirs,
                    link.announce_due,
                    link.in_flight_bytes,
                    link.open_offers,
                    link.max_frame,
                );
            }
            for peer in engine.peers.values().filter(|peer| !peer.links.is_empty()) {
                let (requested, offered, waiting) = (peer.requested, peer.offered, &peer.waiting);
                eprintln!(
                    "node {n} with {:?}: {requested} requested, {offered} offered, {waiting:?}",
                    peer.id
                );
                for (group, pair) in &peer.groups {
                    let settled = pair.has.first_absent(1) > engine.groups[group].head;
                    let Session { in_flight, offered, turned_away, called_back, .. } = &pair.session;
                    if !settled
                        || !in_flight.is_empty()
                        || !offered.is_empty()
                        || !turned_away.is_empty()
                        || !called_back.is_empty()
                    {
                        eprintln!("node {n} with {:?}: {group:?} {pair:?}", peer.id);
                    }
                }
            }
        }
    }

    fn assert_at_rest(&mut self) {
        self.net.run(PATIENCE_MS);
        self.look();
        let before = self.net.frames;
        self.net.run(20_000);
        self.net.trace = self.net.frames > before && std::env::var("HEDGEROW_SWARM_SEED").is_ok();
        self.net.run(3_600_000);
        if self.net.frames > before {
            self.report();
            panic!("{} frames in a settled hour", self.net.frames - before);
        }
        self.check_stores();
        for n in 0..self.options.nodes {
            for &group in &self.member[n] {
                let id = self.groups[group];
                let log: Vec<MessageId> = self.net.log(n, id).into_iter().map(|entry| entry.id).collect();
                assert_eq!(self.net.delivered[n].get(&id).cloned().unwrap_or_default(), log, "node {n}");
            }
            let status = self.net.engines[n].status();
            let lost = [Happening::Leave, Happening::LostStore, Happening::Backup];
            let lossless = !lost.iter().any(|what| self.options.happens.contains(what));
            for group in status.groups.iter().filter(|_| lossless) {
                let parked = group.waiting + group.unvalidated + group.early + group.missing;
                assert_eq!(parked, 0, "node {n}: {group:?}");
            }
            for peer in self.net.engines[n].peers.values().filter(|peer| !peer.links.is_empty()) {
                for (group, pair) in &peer.groups {
                    let head = self.net.engines[n].groups[group].head;
                    let Session { in_flight, offered, turned_away, called_back, too_large, .. } =
                        &pair.session;
                    // What fits through no link between the two came on other ways.
                    let settled = pair.has.first_absent(1) > head || !too_large.is_empty();
                    let nothing = in_flight.is_empty() && offered.is_empty() && peer.requested == 0;
                    let kept = turned_away.is_empty() && called_back.is_empty();
                    let shared = pair.session.theirs == Some(Visibility::Shared);
                    assert!(!shared || (settled && nothing && kept), "node {n} with {:?}: {pair:?}", peer.id);
                }
            }
        }
    }
}

/// Runs a seed, or the first steps of it; returns how long it took to converge, in ms.
fn run(seed: u64, steps: usize) -> u64 {
    let mut swarm = Swarm::new(seed);
    for _ in 0..swarm.options.steps.min(steps) {
        swarm.step();
    }
    swarm.heal();
    let took = swarm.converge();
    swarm.assert_at_rest();
    took
}

#[test]
fn swarms_converge_and_fall_silent() {
    let number = |name: &str| std::env::var(name).ok().map(|value| value.parse::<u64>().unwrap());
    if let Some(seed) = number("HEDGEROW_SWARM_SEED") {
        let steps = number("HEDGEROW_SWARM_STEPS").map_or(usize::MAX, |steps| steps.try_into().unwrap());
        let options = Swarm::new(seed).options;
        eprintln!("{options:#?}");
        eprintln!("{} ms", run(seed, steps));
        return;
    }
    let first = number("HEDGEROW_SWARM_FIRST").unwrap_or(0);
    let mut slowest = (0, 0);
    let mut failed = Vec::new();
    for seed in first..first + number("HEDGEROW_SWARM_SEEDS").unwrap_or(60) {
        if number("HEDGEROW_SWARM_VERBOSE").is_some() {
            eprintln!("seed {seed}");
        }
        match catch_unwind(AssertUnwindSafe(|| run(seed, usize::MAX))) {
            Ok(took) => slowest = slowest.max((took, seed)),
            Err(_) => failed.push(seed),
        }
    }
    eprintln!("slowest to agree: {} ms with seed {}", slowest.0, slowest.1);
    if let Some(&seed) = failed.first() {
        let all = Swarm::new(seed).options.steps;
        let fails = |steps: &usize| catch_unwind(AssertUnwindSafe(|| run(seed, *steps))).is_err();
        let steps = (0..all).find(fails).unwrap_or(all);
        let options = Swarm::new(seed).options;
        panic!("seeds {failed:?} fail; seed {seed} with its first {steps} steps, of {options:#?}");
    }
}
