//! Engines, liars, the links between them, and the clocks.

mod wires;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use bytes::Bytes;
use hedgerow_proto::{GroupDescriptor, GroupId, MessageId, PeerId, Visibility};
use hedgerow_sync_core::store::MessageState;
use hedgerow_sync_core::{Engine, EngineError, Event, LinkId, ReceiveError, Time, Verdict};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha12Rng;

use self::wires::End;
pub(super) use self::wires::{Wire, damage};
use super::liar::Liar;
use super::options::Options;
use super::retention::judge;
use super::run::{Broken, Setup};
use super::store::{Backup, SwarmStore};
use super::trace::Log;

/// Every body of the swarm holds it, so that one can look for bodies where none may be.
pub const BODY_MARK: &str = "hedgerow-swarm-body";
/// What begins the bodies that clients refuse.
pub(super) const BAD: &[u8] = b"bad";
/// The true time at which every swarm begins, in ms since 1970-01-01 UTC.
const START_MS: i64 = 1_700_000_000_000;
/// How much may happen at one moment before it is called a busy loop.
const MAX_AT_ONCE: u32 = 200_000;

/// What happened, by kind.
pub type Stats = BTreeMap<&'static str, u64>;

/// One honest node.
pub(super) struct Node {
    /// `None` only while it is opened again.
    engine: Option<Engine<SwarmStore>>,
    /// How far its clock is ahead of the true time, in ms.
    pub(super) skew_ms: i64,
    /// What its clock will show after a restart: a driver never lets it go back before.
    pub(super) next_skew_ms: Option<i64>,
    /// Which groups it is in.
    pub(super) member: BTreeSet<usize>,
    /// Its delivery orders, as its events told them.
    pub(super) logs: BTreeMap<GroupId, Vec<MessageId>>,
    /// How much of each was looked at, and what is in it.
    pub(super) seen: BTreeMap<GroupId, (usize, BTreeSet<MessageId>)>,
    /// What it acknowledged to others, and so must hold.
    pub(super) acked: BTreeMap<GroupId, BTreeSet<MessageId>>,
    pub(super) backup: Option<Backup>,
    /// When its logs became other ones last: a backup, a new store, a group that was left.
    pub(super) rewound_at: Option<u64>,
    /// It crashes when it has taken so many more frames.
    pub(super) crash_after: Option<u32>,
}

/// A swarm as it goes.
pub(super) struct World {
    pub(super) options: Options,
    pub(super) rng: ChaCha12Rng,
    /// True time since the start, in ms.
    pub(super) now: u64,
    pub(super) nodes: Vec<Node>,
    pub(super) liars: Vec<Liar>,
    pub(super) groups: Vec<GroupId>,
    /// Every link ever made; `None` where it is down.
    pub(super) wires: Vec<Option<Wire>>,
    by_link: BTreeMap<(usize, LinkId), usize>,
    /// (when, order) to the wire, the end and the frame.
    flying: BTreeMap<(u64, u64), (usize, usize, Bytes)>,
    verdicts: BTreeMap<(u64, u64), (usize, MessageId, Verdict)>,
    congested: BTreeMap<(u64, u64), (usize, LinkId)>,
    counter: u64,
    /// Nodes to which something happened since they were polled.
    touched: BTreeSet<usize>,
    /// Frames of the past, with who sent them to whom.
    pub(super) old_frames: VecDeque<(usize, usize, Bytes)>,
    /// Pairs of nodes between which a damaged or foreign frame reached an engine: their word is worth nothing.
    pub(super) tainted: BTreeSet<(usize, usize)>,
    /// Whether each message ever delivered is one that judging clients take.
    pub(super) valid: BTreeMap<MessageId, bool>,
    pub(super) published: u64,
    /// Who wrote each message, and what it counts for under a cap.
    pub(super) written: BTreeMap<MessageId, (usize, u64)>,
    pub(super) stats: Stats,
    pub(super) log: Log,
    pub(super) setup: Setup,
    /// How far ahead any clock ever was, in ms: messages may be so far from the future.
    pub(super) latest_skew_ms: i64,
    /// The core, once it is healed: nothing happens to the links inside it any more.
    pub(super) healed: BTreeSet<usize>,
    /// Nonces of sessions and seeds of engines, and texts of errors: none of the one may stand in the other.
    pub(super) secrets: Vec<Vec<u8>>,
    pub(super) errors: Vec<String>,
    folder: Option<tempfile::TempDir>,
}

/// The id of a node.
pub(super) fn peer(n: usize) -> PeerId {
    PeerId::from_bytes([u8::try_from(n + 1).unwrap_or(u8::MAX); 32])
}

pub(super) fn descriptor(group: usize) -> GroupDescriptor {
    GroupDescriptor::new("org.example.swarm", 0, format!("group {group}").into_bytes()).unwrap()
}

impl World {
    pub(super) fn new(options: Options, rng: ChaCha12Rng, setup: Setup) -> Result<Self, Broken> {
        let groups = (0..options.groups.len()).map(|g| descriptor(g).id()).collect();
        let liars = (0..options.liars)
            .map(|at| Liar::new(options.nodes + at, setup.seed, options.false_tombstones))
            .collect();
        let folder = if options.stores.contains(&super::store::StoreKind::File) {
            let memory = PathBuf::from("/dev/shm");
            let builder = tempfile::Builder::new();
            let folder = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
            Some(folder.map_err(|error| Broken::new("a folder for stores", error.to_string()))?)
        } else {
            None
        };
        let mut world = Self {
            rng,
            now: 0,
            nodes: Vec::new(),
            liars,
            groups,
            wires: Vec::new(),
            by_link: BTreeMap::new(),
            flying: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            congested: BTreeMap::new(),
            counter: 0,
            touched: BTreeSet::new(),
            old_frames: VecDeque::new(),
            tainted: BTreeSet::new(),
            valid: BTreeMap::new(),
            published: 0,
            written: BTreeMap::new(),
            stats: Stats::new(),
            log: Log::new(setup.digest, setup.trace),
            setup,
            latest_skew_ms: 0,
            healed: BTreeSet::new(),
            secrets: Vec::new(),
            errors: Vec::new(),
            folder,
            options,
        };
        for n in 0..world.options.nodes {
            world.nodes.push(Node {
                engine: None,
                skew_ms: world.options.skews_ms[n],
                next_skew_ms: None,
                member: BTreeSet::new(),
                logs: BTreeMap::new(),
                seen: BTreeMap::new(),
                acked: BTreeMap::new(),
                backup: None,
                rewound_at: None,
                crash_after: None,
            });
            let store = world.new_store(n)?;
            world.open(n, store)?;
        }
        for n in 0..world.options.nodes {
            for group in 0..world.groups.len() {
                if group == 0 || world.rng.random_bool(0.8) {
                    world.join(n, group, 0.9)?;
                }
            }
        }
        Ok(world)
    }

    pub(super) fn count(&mut self, what: &'static str) {
        self.count_many(what, 1);
    }

    pub(super) fn count_many(&mut self, what: &'static str, many: u64) {
        *self.stats.entry(what).or_default() += many;
    }

    /// Notes what happens, for the trace and the digest.
    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        self.log.note(self.now, text);
    }

    /// The engine of a node, which is about to be told something.
    pub(super) fn engine(&mut self, n: usize) -> &mut Engine<SwarmStore> {
        self.touched.insert(n);
        self.nodes[n].engine.as_mut().unwrap()
    }

    /// The engine of a node, to be read.
    pub(super) fn reads(&self, n: usize) -> &Engine<SwarmStore> {
        self.nodes[n].engine.as_ref().unwrap()
    }

    pub(super) fn is_liar(&self, n: usize) -> bool {
        n >= self.options.nodes
    }

    /// What the clock of a node shows.
    pub(super) fn clock(&self, n: usize) -> Time {
        let ms = i64::try_from(self.now).unwrap_or(i64::MAX) + START_MS + self.nodes[n].skew_ms;
        Time(u64::try_from(ms).unwrap_or(0))
    }

    /// The true time at which a node's clock shows something.
    fn true_time(&self, n: usize, at: Time) -> u64 {
        let ms = i128::from(at.0) - i128::from(START_MS) - i128::from(self.nodes[n].skew_ms);
        u64::try_from(ms.max(0)).unwrap_or(u64::MAX)
    }

    pub(super) fn new_store(&mut self, n: usize) -> Result<SwarmStore, Broken> {
        self.counter += 1;
        let name = format!("store-{n}-{}.db", self.counter);
        let path = self.folder.as_ref().map(|folder| folder.path().join(name)).unwrap_or_default();
        let sabotage = self.setup.sabotage.filter(|_| n == 0);
        Ok(SwarmStore::new(self.options.stores[n], path, sabotage)?)
    }

    /// Opens the engine of a node on a store.
    pub(super) fn open(&mut self, n: usize, store: SwarmStore) -> Result<(), Broken> {
        let seed: [u8; 32] = self.rng.random();
        self.secrets.push(seed.to_vec());
        let config = self.options.configs[n].clone();
        if let Some(skew) = self.nodes[n].next_skew_ms.take() {
            self.nodes[n].skew_ms = skew;
        }
        self.latest_skew_ms = self.latest_skew_ms.max(self.nodes[n].skew_ms);
        let engine = Engine::open(store, config, seed, self.clock(n))?;
        self.nodes[n].engine = Some(engine);
        self.touched.insert(n);
        Ok(())
    }

    /// A node is gone as a crash or a dead battery takes it: the other ends of its links learn of it later.
    pub(super) fn vanish(&mut self, n: usize) -> Result<SwarmStore, Broken> {
        for at in 0..self.wires.len() {
            let Some(wire) = &mut self.wires[at] else { continue };
            for end in wire.ends.iter_mut().filter(|end| end.node == n) {
                end.gone = true;
                if let Some(link) = end.link {
                    self.by_link.remove(&(n, link));
                }
            }
            if wire.ends.iter().all(|end| end.gone || end.link.is_none()) {
                self.wires[at] = None;
            }
        }
        self.verdicts.retain(|_, (node, ..)| *node != n);
        self.touched.remove(&n);
        self.nodes[n].crash_after = None;
        let engine = self.nodes[n].engine.take();
        engine.map(Engine::into_store).ok_or_else(|| Broken::new("the swarm itself", "no engine".into()))
    }

    /// Takes events, gives verdicts, and notes what was delivered.
    pub(super) fn drain(&mut self, n: usize) -> Result<(), Broken> {
        while let Some(event) = self.engine(n).poll_event()? {
            self.log.event(n, &event);
            match event {
                Event::Validate { id, message } => {
                    let verdict = judge(&message);
                    let (least, most) = self.options.verdict_delay_ms;
                    if most == 0 {
                        let clock = self.clock(n);
                        self.engine(n).judge(id, verdict, clock)?;
                    } else {
                        self.counter += 1;
                        let at = self.now + self.rng.random_range(least..=most);
                        self.verdicts.insert((at, self.counter), (n, id, verdict));
                    }
                }
                Event::Delivered { group, first, last } => self.note_delivered(n, group, first, last)?,
                Event::Pruned { group, positions } => self.look_at_pruned(n, group, &positions)?,
                Event::HistoryGap { .. } => self.count("gaps taken"),
                Event::Invalid { .. } => self.count("messages refused by clients or rules"),
                Event::Missing { .. } => self.count("missing dependencies reported"),
                Event::Undelivered { .. } => self.count("undelivered messages reported"),
                Event::TooLarge { .. } => self.count("messages too large for a link"),
                Event::Ephemeral { .. } => self.count("ephemeral messages received"),
                _ => {}
            }
        }
        Ok(())
    }

    fn note_delivered(&mut self, n: usize, group: GroupId, first: u64, last: u64) -> Result<(), Broken> {
        let known = self.nodes[n].logs.entry(group).or_default().len() as u64;
        if first != known + 1 || last < first {
            let text = format!("node {n}: positions {first} to {last} of {group} after {known}");
            return Err(Broken::new("positions have no gaps", text));
        }
        for position in first..=last {
            let Some(entry) = self.reads(n).entry(group, position)? else {
                let text = format!("node {n}: nothing at position {position} of {group}");
                return Err(Broken::new("positions have no gaps", text));
            };
            self.nodes[n].logs.entry(group).or_default().push(entry.id);
        }
        self.count_many("messages delivered", last - first + 1);
        Ok(())
    }

    /// Puts every frame that is ready on its wire.
    pub(super) fn pump(&mut self) -> Result<(), Broken> {
        while let Some(n) = self.touched.pop_first() {
            self.drain(n)?;
            let mut links = Vec::new();
            while let Some(link) = self.engine(n).poll_link() {
                links.push(link);
            }
            for link in links {
                self.pull(n, link)?;
            }
            self.touched.remove(&n);
        }
        Ok(())
    }

    /// A frame arrives at an end of a wire.
    fn arrive(&mut self, at: usize, end: usize, frame: Bytes) -> Result<(), Broken> {
        let Some(wire) = &self.wires[at] else { return Ok(()) };
        let End { node: n, link, gone, .. } = wire.ends[end];
        if gone {
            return Ok(());
        }
        let Some(link) = link else {
            self.liars[n - self.options.nodes].take(at, &frame);
            return Ok(());
        };
        let clock = self.clock(n);
        match self.engine(n).receive(link, frame, clock) {
            Ok(()) => {}
            Err(ReceiveError::Violation(violation)) => {
                let from = self.wires[at].as_ref().map_or(0, |wire| wire.ends[1 - end].node);
                if !self.is_liar(from) && !self.is_tainted(n, from) {
                    let text = format!("node {n} says of honest {from}: {violation}");
                    return Err(Broken::new("honest peers break no rule", text));
                }
                self.count("links ended for a broken rule");
                self.errors.push(violation.to_string());
                self.note(|| format!("node {n} ends link {at}: {violation}"));
                self.disconnect(at);
            }
            Err(ReceiveError::Engine(error)) => return Err(error.into()),
            Err(error) => return Err(Broken::new("no engine fails", error.to_string())),
        }
        if let Some(left) = self.nodes[n].crash_after {
            self.nodes[n].crash_after = left.checked_sub(1);
            if left == 0 {
                self.count("crashes between frames");
                self.crash(n)?;
                self.hang_up_all(n);
            }
        }
        Ok(())
    }

    /// When something happens next.
    fn next(&self) -> Option<u64> {
        let timers = (0..self.nodes.len())
            .filter_map(|n| Some(self.true_time(n, self.reads(n).poll_timeout()?)))
            .min();
        let frame = self.flying.first_key_value().map(|(&(at, _), _)| at);
        let verdict = self.verdicts.first_key_value().map(|(&(at, _), _)| at);
        let carrier = self.congested.first_key_value().map(|(&(at, _), _)| at);
        [timers, frame, verdict, carrier].into_iter().flatten().min()
    }

    /// Lets time pass for `ms`; whether it came to rest, so that nothing more is going to happen by itself.
    pub(super) fn run(&mut self, ms: u64) -> Result<bool, Broken> {
        let end = self.now + ms;
        let mut at_once = 0;
        self.pump()?;
        while let Some(at) = self.next() {
            if at > end {
                self.now = end;
                return Ok(false);
            }
            at_once = if at > self.now { 0 } else { at_once + 1 };
            if at_once > MAX_AT_ONCE {
                return Err(Broken::new("time goes on", "too much happens at one moment".into()));
            }
            self.now = self.now.max(at);
            while let Some(entry) = self.flying.first_entry()
                && entry.key().0 <= self.now
            {
                let (at, end, frame) = entry.remove();
                self.arrive(at, end, frame)?;
            }
            while let Some(entry) = self.verdicts.first_entry()
                && entry.key().0 <= self.now
            {
                let (n, id, verdict) = entry.remove();
                let clock = self.clock(n);
                self.engine(n).judge(id, verdict, clock)?;
            }
            while let Some(entry) = self.congested.first_entry()
                && entry.key().0 <= self.now
            {
                let (n, link) = entry.remove();
                self.touched.insert(n);
                self.pull(n, link)?;
            }
            for n in 0..self.nodes.len() {
                let clock = self.clock(n);
                if self.reads(n).poll_timeout().is_some_and(|at| at <= clock) {
                    self.engine(n).handle_timeout(clock)?;
                }
            }
            self.pump()?;
        }
        self.now = end;
        Ok(true)
    }

    /// A node joins a group, and shares it with a share of the others.
    pub(super) fn join(&mut self, n: usize, group: usize, shared: f64) -> Result<(), Broken> {
        self.nodes[n].member.insert(group);
        let id = self.groups[group];
        let judged = self.options.groups[group].by(n);
        self.engine(n).add_group(&descriptor(group), judged)?;
        let all = self.options.nodes + self.options.liars;
        for other in (0..all).filter(|other| *other != n) {
            if self.rng.random_bool(shared) {
                self.engine(n).set_visibility(peer(other), id, Visibility::Shared)?;
            }
        }
        Ok(())
    }

    /// Everything in the stores, for the digest.
    pub(super) fn digest_stores(&mut self) -> Result<(), Broken> {
        for n in 0..self.nodes.len() {
            self.engine(n).commit()?;
            let engine = self.nodes[n].engine.as_ref().unwrap();
            self.log.store(n, engine.store())?;
        }
        Ok(())
    }

    /// Whether a node holds a message, or its tombstone.
    pub(super) fn holds(&self, n: usize, id: &MessageId) -> Result<bool, EngineError> {
        Ok(self.reads(n).message(id)?.is_some_and(|entry| entry.state != MessageState::Wanted))
    }
}

/// Randomness that follows from a seed and a use.
pub(super) fn rng_of(seed: u64, usage: u64) -> ChaCha12Rng {
    ChaCha12Rng::seed_from_u64(seed ^ usage.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
