//! A network of engines, links and one clock, for tests; everything follows from a seed.
//!
//! Behind the feature `testing`. It panics when an engine or a store fails: that is what a test wants.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod by_hand;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hedgerow_proto::{
    Codec as _, Frame, GroupDescriptor, GroupId, MessageId, NativeCodec, PeerId, Visibility, WireMessage,
};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha12Rng;

#[cfg(feature = "testing")]
pub use crate::engine::fingerprint_rows;
use crate::engine::{Engine, LinkId};
use crate::store::{MemoryStore, check};
use crate::{Config, Draft, Entry, Event, LinkProfile, Time, Verdict};

/// What a lossy link does to frames. Delays are drawn between the two, in ms.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// The share of frames that is lost, 0 to 1.
    pub loss: f64,
    /// The share of frames that comes twice, 0 to 1.
    pub duplication: f64,
    /// How long a frame takes.
    pub delay_ms: (u64, u64),
}

/// Nothing is lost; 10 ms each way.
pub const CLEAN: Faults = Faults { loss: 0.0, duplication: 0.0, delay_ms: (10, 10) };

/// A link between two engines.
pub struct Wire {
    /// The node and its link, at both ends.
    pub ends: [(usize, LinkId); 2],
    /// What it does to frames, if it is lossy.
    pub faults: Faults,
    /// What both engines were told of it.
    pub profile: LinkProfile,
    /// How many bytes it carries in a second, each way; `None`: any number. A carrier that is busy takes no frame.
    pub bytes_per_second: Option<u64>,
    /// When the latest frame to each end arrives: a reliable carrier keeps the order.
    latest: [Time; 2],
    /// When the frames taken from each end are on their way.
    free_at: [Time; 2],
}

/// A frame as it was put on a wire, lost or not.
#[derive(Debug, Clone)]
pub struct Sent {
    /// When.
    pub at: Time,
    /// Who sent it.
    pub from: usize,
    /// To whom.
    pub to: usize,
    /// Over which wire.
    pub wire: usize,
    /// How long it is, in bytes.
    pub bytes: usize,
    /// What it says.
    pub frame: Frame,
}

impl Sent {
    /// The messages in it.
    pub fn messages(&self) -> impl Iterator<Item = &WireMessage> {
        self.frame.batches.iter().flat_map(|batch| &batch.messages)
    }
}

/// What a node's client will say of a message, with the dependencies that it found in it.
type Answer = (usize, MessageId, Verdict, Option<Vec<MessageId>>);

/// Engines, the links between them, and the clock.
pub struct Net {
    /// The nodes.
    pub engines: Vec<Engine<MemoryStore>>,
    /// What nodes are opened with.
    pub config: Config,
    /// The time.
    pub now: Time,
    rng: ChaCha12Rng,
    /// Every link ever made; `None` where it is down.
    pub wires: Vec<Option<Wire>>,
    /// (when, order, to, link, frame)
    flying: BTreeMap<(Time, u64), (usize, LinkId, Bytes)>,
    counter: u64,
    /// How many frames were sent.
    pub frames: u64,
    /// Ids as each node delivered them, by group.
    pub delivered: Vec<BTreeMap<GroupId, Vec<MessageId>>>,
    /// Every other event of each node.
    pub events: Vec<Vec<Event>>,
    /// What each node's clients say of messages; `None`: no client.
    pub judge: fn(&hedgerow_proto::Message) -> Verdict,
    /// For groups whose ids do not cover dependencies: what a client finds in the body of a valid message.
    pub deps_of: Option<fn(&Bytes) -> Vec<MessageId>>,
    /// How long clients think about a message, in ms: drawn between the two.
    pub verdict_delay_ms: (u64, u64),
    /// By (when, order).
    verdicts: BTreeMap<(Time, u64), Answer>,
    /// How often a carrier has no room for the next frame, and takes it a little later.
    pub congestion: f64,
    congested: BTreeMap<(Time, u64), (usize, LinkId)>,
    /// Ends of wires whose other end is gone, which their node does not know yet.
    pub half_open: Vec<(usize, LinkId)>,
    /// Prints every frame.
    pub trace: bool,
    /// Every frame that was sent since this was set to an empty list.
    pub tap: Option<Vec<Sent>>,
}

/// The id of a node.
pub fn peer(n: usize) -> PeerId {
    PeerId::from_bytes([u8::try_from(n + 1).unwrap(); 32])
}

/// A group by name.
pub fn descriptor(name: &str) -> GroupDescriptor {
    GroupDescriptor::new("org.example.test", 0, name.into()).unwrap()
}

impl Net {
    /// Nodes with empty stores and the default configuration.
    pub fn new(count: usize, seed: u64) -> Self {
        Self::with(count, seed, Config::default())
    }

    /// Nodes with empty stores.
    pub fn with(count: usize, seed: u64, config: Config) -> Self {
        let now = Time(1_700_000_000_000);
        let engines = (0..count).map(|n| open(MemoryStore::new(), &config, n, seed, now)).collect();
        Self {
            engines,
            config,
            now,
            rng: ChaCha12Rng::seed_from_u64(seed),
            wires: Vec::new(),
            flying: BTreeMap::new(),
            counter: 0,
            frames: 0,
            delivered: vec![BTreeMap::new(); count],
            events: vec![Vec::new(); count],
            judge: |_| Verdict::VALID,
            deps_of: None,
            verdict_delay_ms: (0, 0),
            verdicts: BTreeMap::new(),
            congestion: 0.0,
            congested: BTreeMap::new(),
            half_open: Vec::new(),
            trace: false,
            tap: None,
        }
    }

    /// A group that every node has and shares with every other.
    pub fn group(&mut self, name: &str, judged: bool) -> GroupId {
        let count = self.engines.len();
        let id = descriptor(name).id();
        for n in 0..count {
            self.engines[n].add_group(&descriptor(name), judged).unwrap();
            for other in (0..count).filter(|other| *other != n) {
                self.engines[n].set_visibility(peer(other), id, Visibility::Shared).unwrap();
            }
        }
        id
    }

    /// A message of a node after all that it holds.
    pub fn publish(&mut self, n: usize, group: GroupId, body: &str) -> MessageId {
        let deps = self.engines[n].heads(group, 16).unwrap();
        self.publish_after(n, group, body, deps)
    }

    /// A message of a node after some others.
    pub fn publish_after(&mut self, n: usize, group: GroupId, body: &str, deps: Vec<MessageId>) -> MessageId {
        let timestamp_ms = self.now.as_timestamp_ms();
        let draft = Draft { timestamp_ms, deps, body: Bytes::copy_from_slice(body.as_bytes()) };
        let id = self.engines[n].publish(group, draft, self.now).unwrap();
        self.drain(n);
        id
    }

    /// A reliable link; its number.
    pub fn connect(&mut self, a: usize, b: usize) -> usize {
        self.connect_with(a, b, LinkProfile::reliable(), CLEAN)
    }

    /// A lossy link with frames of 1,200 bytes; its number.
    pub fn connect_lossy(&mut self, a: usize, b: usize, faults: Faults) -> usize {
        self.connect_with(a, b, LinkProfile::lossy(1200), faults)
    }

    /// A link; its number.
    pub fn connect_with(&mut self, a: usize, b: usize, profile: LinkProfile, faults: Faults) -> usize {
        let to_b = self.engines[a].link_up(peer(b), profile.clone(), self.now).unwrap();
        let to_a = self.engines[b].link_up(peer(a), profile.clone(), self.now).unwrap();
        let (latest, free_at) = ([self.now; 2], [self.now; 2]);
        let ends = [(a, to_b), (b, to_a)];
        self.wires.push(Some(Wire { ends, faults, profile, bytes_per_second: None, latest, free_at }));
        self.wires.len() - 1
    }

    /// Takes a link down at both ends.
    pub fn disconnect(&mut self, wire: usize) {
        if let Some(wire) = self.wires[wire].take() {
            for (n, link) in wire.ends {
                self.engines[n].link_down(link, self.now);
                self.flying.retain(|_, (to, at, _)| (*to, *at) != (n, link));
            }
        }
    }

    /// A node is gone as a crash or a dead battery takes it; the other ends of its wires learn of it later.
    pub fn vanish(&mut self, n: usize) {
        for wire in 0..self.wires.len() {
            if let Some(gone) = self.wires[wire].take_if(|wire| wire.ends.iter().any(|(end, _)| *end == n)) {
                self.flying.retain(|_, (to, at, _)| !gone.ends.contains(&(*to, *at)));
                self.half_open.extend(gone.ends.iter().filter(|(end, _)| *end != n));
            }
        }
        self.half_open.retain(|(end, _)| *end != n);
        self.verdicts.retain(|_, (node, ..)| *node != n);
    }

    /// A node learns that the wire of a link is dead.
    pub fn hang_up(&mut self, at: usize) {
        let (n, link) = self.half_open.swap_remove(at);
        self.engines[n].link_down(link, self.now);
    }

    /// Takes events, gives verdicts, and notes what was delivered.
    pub fn drain(&mut self, n: usize) {
        while let Some(event) = self.engines[n].poll_event().unwrap() {
            match &event {
                Event::Validate { id, message } => {
                    let verdict = (self.judge)(message);
                    let (least, most) = self.verdict_delay_ms;
                    let deps = self.deps_of.map(|deps_of| deps_of(message.body()));
                    if most == 0 {
                        self.tell_verdict(n, *id, verdict, deps);
                    } else {
                        self.counter += 1;
                        let at = self.now + self.rng.random_range(least..=most);
                        self.verdicts.insert((at, self.counter), (n, *id, verdict, deps));
                    }
                }
                Event::Delivered { group, first, last } => {
                    for position in *first..=*last {
                        let entry = self.engines[n].entry(*group, position).unwrap().unwrap();
                        self.delivered[n].entry(*group).or_default().push(entry.id);
                    }
                }
                _ => {}
            }
            if !matches!(event, Event::Validate { .. } | Event::Delivered { .. } | Event::PeerHas { .. }) {
                self.events[n].push(event);
            }
        }
    }

    fn tell_verdict(&mut self, n: usize, id: MessageId, verdict: Verdict, deps: Option<Vec<MessageId>>) {
        match (verdict, deps) {
            (Verdict::Valid(facts), Some(deps)) => {
                self.engines[n].judge_after(id, facts, &deps, self.now).unwrap();
            }
            (verdict, _) => self.engines[n].judge(id, verdict, self.now).unwrap(),
        }
    }

    /// Puts every frame that is ready on its wire.
    pub fn pump(&mut self) {
        for n in 0..self.engines.len() {
            self.drain(n);
            let mut links = VecDeque::new();
            while let Some(link) = self.engines[n].poll_link() {
                // Links without a wire belong to peers made by hand.
                let wired = self.wires.iter().flatten().any(|wire| wire.ends.contains(&(n, link)));
                if wired || self.half_open.contains(&(n, link)) {
                    links.push_back(link);
                }
            }
            for link in links {
                self.pull(n, link);
            }
        }
    }

    /// Puts every frame of a link on its wire, as far as the carrier takes them.
    fn pull(&mut self, n: usize, link: LinkId) {
        loop {
            if let Some(at) = self.busy_until(n, link) {
                if !self.congested.values().any(|waits| *waits == (n, link)) {
                    self.counter += 1;
                    self.congested.insert((at, self.counter), (n, link));
                }
                return;
            }
            let mut room = usize::MAX;
            if self.congestion > 0.0 && self.rng.random_bool(self.congestion) {
                if self.rng.random_bool(0.5) {
                    self.counter += 1;
                    self.congested.insert((self.now + 7, self.counter), (n, link));
                    return;
                }
                room = self.rng.random_range(0..2_000);
            }
            let mut frame = self.engines[n].poll_transmit(link, self.now, room).unwrap();
            if frame.is_none() && room < usize::MAX {
                room = usize::MAX;
                frame = self.engines[n].poll_transmit(link, self.now, room).unwrap();
            }
            let Some(frame) = frame else { return };
            assert!(frame.len() <= room, "{} bytes for a carrier with room for {room}", frame.len());
            self.fly(n, link, frame);
        }
    }

    /// Until when the carrier of a link takes no frame, if it takes none now.
    fn busy_until(&self, n: usize, link: LinkId) -> Option<Time> {
        let wire = self.wires.iter().flatten().find(|wire| wire.ends.contains(&(n, link)))?;
        let free_at = wire.free_at[usize::from(wire.ends[0] == (n, link))];
        (free_at > self.now).then_some(free_at)
    }

    fn fly(&mut self, from: usize, link: LinkId, frame: Bytes) {
        self.frames += 1;
        let mut wires = self.wires.iter_mut().enumerate();
        let found = wires.find_map(|(at, wire)| {
            let wire = wire.as_mut()?;
            wire.ends.contains(&(from, link)).then_some((at, wire))
        });
        let Some((at_wire, wire)) = found else { return };
        let end = usize::from(wire.ends[0] == (from, link));
        let to = wire.ends[end];
        if let Some(tap) = &mut self.tap {
            let decoded = NativeCodec::new().decode(frame.clone()).unwrap();
            let (at, bytes) = (self.now, frame.len());
            tap.push(Sent { at, from, to: to.0, wire: at_wire, bytes, frame: decoded });
        }
        let Faults { loss, duplication, delay_ms } = wire.faults;
        if self.trace {
            let decoded = NativeCodec::new().decode(frame.clone()).unwrap();
            eprintln!("{} {from} -> {}, {link:?}, loss {loss}: {decoded:?}", self.now, to.0);
        }
        assert!(frame.len() <= wire.profile.max_frame, "{} bytes", frame.len());
        let mut leaves = self.now;
        if let Some(rate) = wire.bytes_per_second {
            let ms = (frame.len() as u64 * 1000).div_ceil(rate.max(1));
            leaves = wire.free_at[end].max(self.now) + ms;
            wire.free_at[end] = leaves;
        }
        let copies = if self.rng.random_bool(loss) {
            0
        } else if self.rng.random_bool(duplication) {
            2
        } else {
            1
        };
        for _ in 0..copies {
            let mut at = leaves + self.rng.random_range(delay_ms.0..=delay_ms.1);
            if wire.profile.reliable {
                at = at.max(wire.latest[end]);
                wire.latest[end] = at;
            }
            self.counter += 1;
            self.flying.insert((at, self.counter), (to.0, to.1, frame.clone()));
        }
    }

    /// When something happens next.
    fn next(&self) -> Option<Time> {
        let timers = self.engines.iter().filter_map(Engine::poll_timeout).min();
        let frame = self.flying.first_key_value().map(|(&(at, _), _)| at);
        let verdict = self.verdicts.first_key_value().map(|(&(at, _), _)| at);
        let carrier = self.congested.first_key_value().map(|(&(at, _), _)| at);
        [timers, frame, verdict, carrier].into_iter().flatten().min()
    }

    /// Lets time pass for at most `ms`, until nothing is left to happen; whether it came to rest.
    pub fn run(&mut self, ms: u64) -> bool {
        let end = self.now + ms;
        self.pump();
        while let Some(at) = self.next() {
            if at > end {
                self.now = end;
                return false;
            }
            self.now = self.now.max(at);
            while let Some(entry) = self.flying.first_entry()
                && entry.key().0 <= self.now
            {
                let (n, link, frame) = entry.remove();
                self.engines[n].receive(link, frame, self.now).unwrap();
            }
            while let Some(entry) = self.verdicts.first_entry()
                && entry.key().0 <= self.now
            {
                let (n, id, verdict, deps) = entry.remove();
                self.tell_verdict(n, id, verdict, deps);
            }
            while let Some(entry) = self.congested.first_entry()
                && entry.key().0 <= self.now
            {
                let (n, link) = entry.remove();
                self.pull(n, link);
            }
            for engine in &mut self.engines {
                engine.handle_timeout(self.now).unwrap();
            }
            self.pump();
        }
        true
    }

    /// Stops a node as a crash does, and opens it again; its links are gone.
    pub fn restart(&mut self, n: usize, seed: u64) {
        for wire in 0..self.wires.len() {
            if self.wires[wire].as_ref().is_some_and(|wire| wire.ends.iter().any(|(end, _)| *end == n)) {
                self.disconnect(wire);
            }
        }
        let blank = open(MemoryStore::new(), &self.config, n, seed, self.now);
        let mut store = std::mem::replace(&mut self.engines[n], blank).into_store();
        store.crash();
        self.engines[n] = open(store, &self.config, n, seed, self.now);
    }

    /// What a node delivered, in its order.
    pub fn log(&self, n: usize, group: GroupId) -> Vec<Entry> {
        self.engines[n].log(group, 0, usize::MAX, usize::MAX).unwrap()
    }

    /// What a node delivered, in canonical order.
    pub fn canonical(&self, n: usize, group: GroupId) -> Vec<MessageId> {
        let page =
            self.engines[n].page(group, None, crate::store::Direction::Forward, usize::MAX >> 1).unwrap();
        page.into_iter().map(|entry| entry.id).collect()
    }

    /// What a node delivered, as text.
    pub fn bodies(&self, n: usize, group: GroupId) -> Vec<String> {
        let body = |entry: Entry| String::from_utf8(entry.body.unwrap().to_vec()).unwrap();
        self.log(n, group).into_iter().map(body).collect()
    }

    /// Every store is sound, all nodes have the same messages in the same canonical order, and what each node was
    /// told is its log.
    pub fn assert_converged(&self, group: GroupId, count: usize) {
        for n in 0..self.engines.len() {
            let report = check(self.engines[n].store()).unwrap();
            assert!(report.problems.is_empty(), "node {n}: {:?}", report.problems);
            let canonical = self.canonical(n, group);
            assert_eq!(canonical.len(), count, "node {n}");
            assert_eq!(canonical, self.canonical(0, group), "node {n}");
            let log: Vec<MessageId> = self.log(n, group).into_iter().map(|entry| entry.id).collect();
            assert_eq!(self.delivered[n].get(&group), Some(&log), "node {n}");
        }
    }

    /// For an hour, not one frame.
    pub fn assert_silent(&mut self) {
        self.run(60_000);
        let before = self.frames;
        self.run(3_600_000);
        assert_eq!(self.frames - before, 0, "frames in a settled hour");
    }

    /// MESSAGE records made by all nodes.
    pub fn messages_sent(&self) -> u64 {
        self.engines.iter().map(|engine| engine.traffic().messages_out).sum()
    }
}

/// Opens a node on a store.
pub fn open(store: MemoryStore, config: &Config, n: usize, seed: u64, now: Time) -> Engine<MemoryStore> {
    let mut bytes = [u8::try_from(n).unwrap(); 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    Engine::open(store, config.clone(), bytes, now).unwrap()
}
