//! Two or three engines, the carriers between them, and what must hold whatever happens.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use hedgerow_proto::limits::MAX_BODY;
use hedgerow_proto::{GroupId, Message, MessageId, Visibility};
use hedgerow_sync_core::store::check;
use hedgerow_sync_core::testing::{descriptor, open, peer};
use hedgerow_sync_core::{
    Config, Engine, Event, LinkId, LinkProfile, MemoryStore, ReceiveError, Time, Verdict,
};

/// The groups; the first one is judged.
pub(super) const GROUPS: [&str; 2] = ["judged", "not judged"];
const DAY_MS: u64 = 24 * 3600 * 1000;
/// Most frames under way in one direction of a wire, and most wires at a time.
const MAX_QUEUE: usize = 32;
const MAX_WIRES: usize = 8;

/// One engine and what it was asked and told.
pub(super) struct Node {
    pub(super) engine: Engine<MemoryStore>,
    /// How far its clock is ahead, in ms.
    pub(super) skew_ms: u64,
    pub(super) verdicts: VecDeque<(MessageId, Verdict)>,
    /// What was delivered, in order, by group.
    pub(super) log: BTreeMap<GroupId, Vec<MessageId>>,
    seen: BTreeMap<GroupId, BTreeSet<MessageId>>,
    pub(super) backup: Option<MemoryStore>,
}

/// A carrier between two engines; each queue holds what is under way to the end of the same index.
pub(super) struct Wire {
    pub(super) ends: [(usize, LinkId); 2],
    pub(super) reliable: bool,
    pub(super) queues: [VecDeque<Bytes>; 2],
}

pub(super) struct World {
    pub(super) nodes: Vec<Node>,
    pub(super) config: Config,
    pub(super) now: Time,
    pub(super) wires: Vec<Wire>,
    pub(super) groups: [GroupId; 2],
    /// Ids that were seen anywhere, and some that nobody has.
    pub(super) ids: Vec<MessageId>,
    /// Longest body in bytes: what fits through every link.
    pub(super) max_body: usize,
    pub(super) published: u64,
    reopened: u64,
}

/// What clients say of messages in the judged group.
fn judge(message: &Message) -> Verdict {
    if message.body().starts_with(b"bad") { Verdict::Invalid } else { Verdict::VALID }
}

impl World {
    pub(super) fn new(count: usize, config: Config) -> Self {
        let now = Time(1_700_000_000_000);
        let node = |n| Node {
            engine: open(MemoryStore::new(), &config, n, 0, now),
            skew_ms: 0,
            verdicts: VecDeque::new(),
            log: BTreeMap::new(),
            seen: BTreeMap::new(),
            backup: None,
        };
        let mut world = Self {
            nodes: (0..count).map(node).collect(),
            config: config.clone(),
            now,
            wires: Vec::new(),
            groups: GROUPS.map(|name| descriptor(name).id()),
            ids: vec![MessageId::from_bytes([0; 32]), MessageId::from_bytes([255; 32])],
            max_body: if config.max_frame < 10_000 { 400 } else { MAX_BODY },
            published: 0,
            reopened: 0,
        };
        for n in 0..count {
            for group in 0..GROUPS.len() {
                world.join(n, group);
            }
        }
        world
    }

    /// A node has a group, and shares it with all others.
    pub(super) fn join(&mut self, n: usize, group: usize) {
        let count = self.nodes.len();
        let engine = &mut self.nodes[n].engine;
        let id = engine.add_group(&descriptor(GROUPS[group]), group == 0).unwrap();
        for other in (0..count).filter(|other| *other != n) {
            engine.set_visibility(peer(other), id, Visibility::Shared).unwrap();
        }
    }

    pub(super) fn leave(&mut self, n: usize, group: usize) {
        let id = self.groups[group];
        let node = &mut self.nodes[n];
        if node.engine.group(id).is_some() {
            node.engine.remove_group(id).unwrap();
            node.log.remove(&id);
            node.seen.remove(&id);
        }
    }

    /// What a node's clock shows.
    pub(super) fn clock(&self, n: usize) -> Time {
        self.now + self.nodes[n].skew_ms
    }

    pub(super) fn connect(&mut self, a: usize, b: usize, profile: &LinkProfile) {
        if a == b || self.wires.len() >= MAX_WIRES {
            return;
        }
        let (at_a, at_b) = (self.clock(a), self.clock(b));
        let to_b = self.nodes[a].engine.link_up(peer(b), profile.clone(), at_a).unwrap();
        let to_a = self.nodes[b].engine.link_up(peer(a), profile.clone(), at_b).unwrap();
        let reliable = profile.reliable;
        self.wires.push(Wire { ends: [(a, to_b), (b, to_a)], reliable, queues: Default::default() });
    }

    /// A wire is gone, and both ends know it.
    pub(super) fn cut(&mut self, wire: usize) {
        for (n, link) in self.wires.swap_remove(wire).ends {
            let now = self.clock(n);
            self.nodes[n].engine.link_down(link, now);
        }
    }

    /// Puts the next frame of one end on its way, if there is one and room for it.
    pub(super) fn pull(&mut self, wire: usize, end: usize, room: usize) -> bool {
        let (n, link) = self.wires[wire].ends[end];
        if self.wires[wire].queues[1 - end].len() >= MAX_QUEUE {
            return false;
        }
        let now = self.clock(n);
        let Some(frame) = self.nodes[n].engine.poll_transmit(link, now, room).unwrap() else { return false };
        assert!(frame.len() <= room, "{} bytes for a carrier with room for {room}", frame.len());
        self.wires[wire].queues[1 - end].push_back(frame);
        true
    }

    /// A frame that is under way arrives. An end that finds a rule broken closes the wire.
    pub(super) fn deliver(&mut self, wire: usize, end: usize, at: usize) -> bool {
        let Some(frame) = self.wires[wire].queues[end].remove(at) else { return false };
        let (n, link) = self.wires[wire].ends[end];
        if !self.receive(n, link, frame) {
            self.cut(wire);
        }
        true
    }

    /// Whether the link goes on.
    pub(super) fn receive(&mut self, n: usize, link: LinkId, frame: Bytes) -> bool {
        let now = self.clock(n);
        match self.nodes[n].engine.receive(link, frame, now) {
            Ok(()) => true,
            Err(ReceiveError::Violation(violation)) => {
                assert!(!violation.to_string().is_empty());
                false
            }
            Err(ReceiveError::Engine(error)) => panic!("node {n}: {error}"),
            Err(error) => panic!("node {n}: {error}"),
        }
    }

    /// Everything that is ready crosses a wire, at most so many frames; how many did.
    pub(super) fn flow(&mut self, wire: usize, most: usize) -> usize {
        let mut count = 0;
        loop {
            let before = count;
            for end in 0..2 {
                if count >= most || self.wires.len() <= wire {
                    return count;
                }
                self.pull(wire, end, usize::MAX);
                let wires = self.wires.len();
                count += usize::from(self.deliver(wire, 1 - end, 0));
                if self.wires.len() < wires {
                    return count;
                }
                self.listen();
            }
            if count == before {
                return count;
            }
        }
    }

    /// Time passes, and what is due by then is done.
    pub(super) fn wait(&mut self, ms: u64) {
        self.now = self.now + ms;
        for n in 0..self.nodes.len() {
            let now = self.clock(n);
            self.nodes[n].engine.handle_timeout(now).unwrap();
        }
    }

    pub(super) fn judge_one(&mut self, n: usize, at: usize) {
        let now = self.clock(n);
        let node = &mut self.nodes[n];
        if let Some((id, verdict)) = node.verdicts.remove(at) {
            node.engine.judge(id, verdict, now).unwrap();
        }
    }

    /// Every node tells what happened.
    pub(super) fn listen(&mut self) {
        for n in 0..self.nodes.len() {
            self.listen_to(n);
        }
    }

    fn listen_to(&mut self, n: usize) {
        let latest = self.clock(n).as_timestamp_ms() + i64::try_from(DAY_MS).unwrap();
        let judged = self.groups[0];
        let Node { engine, verdicts, log, seen, .. } = &mut self.nodes[n];
        while let Some(event) = engine.poll_event().unwrap() {
            match event {
                Event::Validate { id, message } => {
                    assert_eq!(message.id(), id);
                    assert_eq!(message.group(), judged, "a verdict is asked where nobody judges");
                    verdicts.push_back((id, judge(&message)));
                }
                Event::Delivered { group, first, last } => {
                    let (log, seen) = (log.entry(group).or_default(), seen.entry(group).or_default());
                    assert_eq!(first, log.len() as u64 + 1, "node {n}: the delivery order has a gap");
                    for position in first..=last {
                        let entry = engine.entry(group, position).unwrap();
                        let entry = entry.unwrap_or_else(|| panic!("node {n}: nothing at {position}"));
                        assert!(entry.deps.iter().all(|dep| seen.contains(dep)), "node {n}: before a parent");
                        assert!(seen.insert(entry.id), "node {n}: {} is delivered twice", entry.id);
                        assert!(entry.timestamp_ms <= latest, "node {n}: {} before its time", entry.id);
                        let body = entry.body.clone().unwrap();
                        assert!(group != judged || !body.starts_with(b"bad"), "node {n}: an invalid message");
                        assert_eq!(entry.to_message(group).unwrap().id(), entry.id);
                        log.push(entry.id);
                        if self.ids.len() < 256 {
                            self.ids.push(entry.id);
                        }
                    }
                }
                _ => {}
            }
        }
    }

    /// A node stops as a crash stops it, and is opened again on what was durable, or on another store.
    pub(super) fn crash(&mut self, n: usize, other_store: Option<MemoryStore>) {
        for wire in (0..self.wires.len()).rev() {
            if self.wires[wire].ends.iter().any(|(end, _)| *end == n) {
                self.cut(wire);
            }
        }
        self.reopened += 1;
        let (now, restored) = (self.clock(n), other_store.is_some());
        let blank = open(MemoryStore::new(), &self.config, n, self.reopened, now);
        let mut store = std::mem::replace(&mut self.nodes[n].engine, blank).into_store();
        store.crash();
        let engine = open(other_store.unwrap_or(store), &self.config, n, self.reopened, now);
        let node = &mut self.nodes[n];
        node.verdicts.clear();
        let told = std::mem::take(&mut node.log);
        node.seen.clear();
        for group in self.groups {
            if engine.group(group).is_none() {
                assert!(restored || !told.contains_key(&group), "node {n}: a group is gone");
                continue;
            }
            let log = engine.log(group, 0, usize::MAX, usize::MAX).unwrap();
            let log: Vec<MessageId> = log.into_iter().map(|entry| entry.id).collect();
            let told = told.get(&group).map_or(&[][..], Vec::as_slice);
            assert!(restored || log.starts_with(told), "node {n}: what was told was not durable");
            node.seen.insert(group, log.iter().copied().collect());
            node.log.insert(group, log);
        }
        node.engine = engine;
    }

    /// Every store is sound.
    pub(super) fn check(&mut self) {
        for (n, node) in self.nodes.iter_mut().enumerate() {
            node.engine.commit().unwrap();
            let report = check(node.engine.store()).unwrap();
            assert!(report.problems.is_empty(), "node {n}: {:?}", report.problems);
        }
    }
}
