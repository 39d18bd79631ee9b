//! The nodes, their disks and the links between them.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use hedgerow_faulty_vfs::{Disk, Op, VFS};
use hedgerow_proto::{GroupDescriptor, GroupId, PeerId, Visibility};
use hedgerow_sync_core::{
    Config, Draft, Engine, EngineError, Event, LinkId, LinkProfile, ReceiveError, StoreError, Time, Verdict,
};
use hedgerow_sync_sqlite::{Options, SqliteStore};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::script::{GROUPS, LIAR, NODES, Step};
use super::witness::{CURSORS, Witness, effect_key, effects};
use super::{Failure, Kind, Medium, Mode, Point, Script};

/// The engine of a node.
pub(super) type Node = Engine<SqliteStore>;

/// How often opening is tried while faults go on.
const TRIES: usize = 500;

/// The network of a session.
pub(super) struct Network {
    nodes: Vec<Option<Node>>,
    disks: [Disk; 2],
    /// The disk of each node.
    homes: [usize; NODES],
    /// The groups that each node is to be in.
    wanted: [BTreeSet<usize>; NODES],
    options: Options,
    links: Vec<Link>,
    now: Time,
    dice: ChaCha12Rng,
    witness: Witness,
    point: Option<Point>,
    second: Second,
    /// How often a node was opened.
    opened: u64,
    texts: Vec<String>,
    ops: Vec<Op>,
}

/// The power failure that follows some disturbances later.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Second {
    Unplanned,
    After(u64),
    Done,
}

struct Link {
    ends: [usize; 2],
    ids: [LinkId; 2],
    lossy: bool,
    /// Frames to each end.
    flying: [VecDeque<Bytes>; 2],
}

pub(super) fn peer(node: usize) -> PeerId {
    PeerId::from_bytes([u8::try_from(node + 1).unwrap(); 32])
}

fn descriptor(group: usize) -> GroupDescriptor {
    GroupDescriptor::new("org.example.crash", 0, vec![u8::try_from(group).unwrap()]).unwrap()
}

fn group_id(group: usize) -> GroupId {
    descriptor(group).id()
}

fn taken(result: Result<(), ReceiveError>) -> Result<(), EngineError> {
    match result {
        Ok(()) => Ok(()),
        Err(ReceiveError::Engine(error)) => Err(error),
        Err(other) => panic!("an honest peer is blamed: {other}"),
    }
}

impl Network {
    pub(super) fn new(script: &Script, medium: Medium) -> Self {
        let disks = [Disk::new(), Disk::new()];
        disks[0].lie(medium == Medium::Lying);
        let mut options = Options::default();
        options.vfs = Some(VFS.to_owned());
        options.busy_timeout = std::time::Duration::ZERO;
        options.checkpoint_pages = script.checkpoint_pages;
        options.cached_rows = 8;
        options.recent_ids = 8;
        let mut network = Self {
            nodes: (0..NODES).map(|_| None).collect(),
            disks,
            homes: [0, usize::from(!script.shared_disk), 1, 1],
            wanted: std::array::from_fn(|_| (0..GROUPS - 1).collect()),
            options,
            links: Vec::new(),
            now: Time(1_700_000_000_000),
            dice: ChaCha12Rng::seed_from_u64(script.number ^ 0x6372_6173),
            witness: Witness::default(),
            point: None,
            second: Second::Unplanned,
            opened: 0,
            texts: Vec::new(),
            ops: Vec::new(),
        };
        if !script.from_birth {
            network.disks[0].pause(true);
            network.recover().expect("nothing disturbs this");
            network.disks[0].pause(false);
        }
        network
    }

    pub(super) fn list_ops(&mut self) {
        self.disks[0].list_ops();
    }

    /// The operations up to the last look, in which nothing is disturbed.
    pub(super) fn ops(self) -> Vec<Op> {
        self.ops
    }

    pub(super) fn disturb(&mut self, point: Point) {
        self.disks[0].plan(point.at, point.mode.fault(point.at));
        self.point = Some(point);
    }

    pub(super) fn was_met(&self) -> bool {
        self.disks[0].met()
    }

    pub(super) fn play(&mut self, script: &Script) -> Result<(), Failure> {
        self.recover()?;
        for step in &script.steps {
            self.step(step);
            self.after_step()?;
        }
        Ok(())
    }

    fn after_step(&mut self) -> Result<(), Failure> {
        self.recover()?;
        let twice = self.point.is_some_and(|p| matches!(p.mode, Mode::KillThenPower | Mode::SyncForgets));
        self.second = match self.second {
            Second::Unplanned if twice && self.disks[0].met() => {
                Second::After(self.point.map_or(0, |point| point.at % 4))
            }
            Second::After(0) => {
                self.second = Second::Done;
                self.fail_power()?;
                Second::Done
            }
            Second::After(steps) => Second::After(steps - 1),
            other => other,
        };
        Ok(())
    }

    fn fail_power(&mut self) -> Result<(), Failure> {
        self.disks[0].stop_now();
        self.point = self.point.map(|point| Point { mode: Mode::Power, ..point });
        self.recover()
    }

    /// Does something with a node. If the store fails, the node is gone.
    fn call<T>(&mut self, node: usize, act: impl FnOnce(&mut Node) -> Result<T, EngineError>) -> Option<T> {
        let engine = self.nodes[node].as_mut()?;
        let result = act(engine);
        // Whoever is dead says nothing any more, although SQLite may not have noticed yet.
        if self.disks[self.homes[node]].is_stopped() {
            self.lose(node, None);
            return None;
        }
        match result {
            Ok(value) => Some(value),
            Err(EngineError::Store(error)) => {
                self.lose(node, Some(&error));
                None
            }
            Err(EngineError::Poisoned) => {
                panic!("a store has failed, and the call that met it gave no error")
            }
            // A group that this node is not in.
            Err(EngineError::UnknownGroup(_)) => None,
            Err(other) => panic!("{other}"),
        }
    }

    /// A node is gone; with which error, if it heard of one.
    fn lose(&mut self, node: usize, error: Option<&StoreError>) {
        if self.nodes[node].take().is_none() {
            return;
        }
        if let Some(error) = error {
            self.texts.push(format!("node {node}: {error}"));
        }
        self.witness.node_lost(node, matches!(error, Some(StoreError::Full | StoreError::Busy)));
        let gone: Vec<Link> = self.links.extract_if(.., |link| link.ends.contains(&node)).collect();
        for mut link in gone {
            let other = usize::from(link.ends[0] == node);
            let (end, id, now) = (link.ends[other], link.ids[other], self.now);
            // What it has said may arrive after its end.
            while let Some(frame) = link.flying[other].pop_front() {
                self.call(end, |engine| taken(engine.receive(id, frame, now)));
            }
            self.call(end, |engine| {
                engine.link_down(id, now);
                Ok(())
            });
            self.commit(end);
        }
        self.note_beliefs(node);
    }

    /// What the others were told that a node has.
    fn note_beliefs(&mut self, about: usize) {
        for node in (0..NODES).filter(|node| *node != about && self.homes[*node] == 1) {
            let Some(engine) = &self.nodes[node] else { continue };
            self.witness.note_beliefs(about, peer(about), engine);
        }
    }

    /// Opens again what is gone, until all nodes are there.
    fn recover(&mut self) -> Result<(), Failure> {
        for _ in 0..TRIES {
            if self.disks[0].is_stopped() {
                for node in 0..NODES {
                    if self.homes[node] == 0 {
                        self.lose(node, None);
                    }
                }
                let point = self.point.expect("only a point stops a disk");
                self.disks[0].restart(point.mode.loss(point.at));
            }
            let Some(node) = (0..NODES).find(|node| self.nodes[*node].is_none()) else { return Ok(()) };
            if self.open(node) && self.ensure(node) {
                self.disks[0].pause(true);
                let result = self.witness.verify(node, self.nodes[node].as_ref().unwrap());
                self.disks[0].pause(false);
                result.map_err(|failure| self.explain(failure))?;
            }
        }
        Err(self
            .explain(Failure::new(Kind::Corrupt, "a node cannot be opened, although nothing fails any more")))
    }

    fn explain(&self, mut failure: Failure) -> Failure {
        if !self.texts.is_empty() {
            failure.detail = format!("{} (errors before: {})", failure.detail, self.texts.join("; "));
        }
        failure
    }

    fn open(&mut self, node: usize) -> bool {
        let disk = &self.disks[self.homes[node]];
        self.opened += 1;
        let mut seed = [u8::try_from(node).unwrap(); 32];
        seed[..8].copy_from_slice(&self.opened.to_le_bytes());
        let opened = SqliteStore::open(&disk.path(&format!("{node}.db")), self.options.clone())
            .map_err(EngineError::from)
            .and_then(|store| Engine::open(store, Config::default(), seed, self.now));
        if disk.is_stopped() {
            return false;
        }
        match opened {
            Ok(engine) => {
                self.nodes[node] = Some(engine);
                true
            }
            Err(error) => {
                self.texts.push(format!("node {node} does not open: {error}"));
                false
            }
        }
    }

    /// Brings a node where its application wants it; whether it is there.
    fn ensure(&mut self, node: usize) -> bool {
        let wanted = self.wanted[node].clone();
        for group in 0..GROUPS {
            if wanted.contains(&group) {
                self.call(node, |engine| {
                    engine.add_group(&descriptor(group), true)?;
                    for other in (0..NODES).filter(|other| *other != node) {
                        engine.set_visibility(peer(other), group_id(group), Visibility::Shared)?;
                    }
                    Ok(())
                });
            } else {
                self.call(node, |engine| {
                    if engine.group(group_id(group)).is_none() {
                        return Ok(());
                    }
                    engine.remove_group(group_id(group))?;
                    engine.set_value(CURSORS, group_id(group).as_bytes(), None)?;
                    for (key, _) in engine.values(&effects(group_id(group)), None, 10_000)? {
                        engine.set_value(&effects(group_id(group)), &key, None)?;
                    }
                    Ok(())
                });
            }
        }
        self.commit(node)
    }

    fn commit(&mut self, node: usize) -> bool {
        let done = self.call(node, Engine::commit).is_some();
        if done {
            self.witness.committed(node);
        }
        done
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Publish { node, group, bodies } => {
                for body in bodies {
                    self.publish(*node, group_id(*group), body);
                }
                self.commit(*node);
            }
            Step::Connect { a, b, lossy } => self.connect(*a, *b, *lossy),
            Step::Disconnect { a, b } => self.disconnect(*a, *b),
            Step::Exchange { rounds } => {
                for _ in 0..*rounds {
                    self.exchange();
                }
            }
            Step::Wait { ms } => self.wait(*ms),
            Step::Read { node, most } => self.read(*node, *most),
            Step::Join { node, group } => {
                self.wanted[*node].insert(*group);
                self.ensure(*node);
            }
            Step::Leave { node, group } => {
                self.wanted[*node].remove(group);
                self.witness.left(*node, group_id(*group));
                self.ensure(*node);
            }
            Step::Reopen { node } => {
                if self.commit(*node) {
                    self.lose(*node, None);
                }
            }
            Step::Forget { node, peer: of } => {
                for at in 0..self.links.len() {
                    if self.links[at].ends == [*node, *of] {
                        self.disconnect(*node, *of);
                        break;
                    }
                }
                let now = self.now;
                self.call(*node, |engine| engine.remove_peer(peer(*of), now));
                self.commit(*node);
                self.ensure(*node);
            }
        }
    }

    fn publish(&mut self, node: usize, group: GroupId, body: &[u8]) {
        let now = self.now;
        let body = Bytes::copy_from_slice(body);
        self.now = now + 1;
        let id = self.call(node, |engine| {
            let deps = engine.heads(group, 8)?;
            engine.publish(group, Draft { timestamp_ms: now.as_timestamp_ms(), deps, body }, now)
        });
        if let Some(id) = id {
            self.witness.published(node, group, id);
        }
    }

    fn connect(&mut self, a: usize, b: usize, lossy: bool) {
        self.disconnect(a, b);
        let profile = if lossy { LinkProfile::lossy(1_200) } else { LinkProfile::reliable() };
        let now = self.now;
        let Some(to_b) = self.call(a, |engine| engine.link_up(peer(b), profile.clone(), now)) else { return };
        let Some(to_a) = self.call(b, |engine| engine.link_up(peer(a), profile, now)) else { return };
        self.links.push(Link { ends: [a, b], ids: [to_b, to_a], lossy, flying: Default::default() });
    }

    fn disconnect(&mut self, a: usize, b: usize) {
        let gone: Vec<Link> = self.links.extract_if(.., |link| link.ends == [a, b]).collect();
        let now = self.now;
        for (end, id) in gone.iter().flat_map(|link| link.ends.into_iter().zip(link.ids)) {
            self.call(end, |engine| {
                engine.link_down(id, now);
                Ok(())
            });
            self.commit(end);
        }
    }

    fn wait(&mut self, ms: u64) {
        self.now = self.now + ms;
        let now = self.now;
        for node in 0..NODES {
            self.call(node, |engine| engine.handle_timeout(now));
            self.commit(node);
        }
    }

    /// Every node says what it has to say, and hears it. Whether anything was said.
    fn exchange(&mut self) -> bool {
        for node in 0..NODES {
            self.pump(node);
        }
        let mut said = false;
        for at in 0..self.links.len() {
            for end in 0..2 {
                let Some(link) = self.links.get_mut(at) else { continue };
                let (node, id, lossy) = (link.ends[end], link.ids[end], link.lossy);
                let mut frames = std::mem::take(&mut link.flying[end]);
                said |= !frames.is_empty();
                while !frames.is_empty() {
                    let which = if lossy { self.dice.random_range(0..frames.len()) } else { 0 };
                    let frame = frames.remove(which).unwrap();
                    if lossy && self.dice.random_bool(0.2) {
                        continue;
                    }
                    let copies = if lossy && self.dice.random_bool(0.1) { 2 } else { 1 };
                    for frame in std::iter::repeat_n(frame, copies) {
                        let now = self.now;
                        // The link is gone with the node.
                        if !self.links.iter().any(|link| link.ids[end] == id && link.ends[end] == node) {
                            break;
                        }
                        self.call(node, |engine| taken(engine.receive(id, frame, now)));
                    }
                }
            }
        }
        said
    }

    fn pump(&mut self, node: usize) {
        self.commit(node);
        let now = self.now;
        while let Some(Some(event)) = self.call(node, Engine::poll_event) {
            if let Event::Validate { id, message } = event {
                let verdict =
                    if message.body().starts_with(b"bad ") { Verdict::Invalid } else { Verdict::VALID };
                self.call(node, |engine| engine.judge(id, verdict, now));
            }
        }
        for at in 0..self.links.len() {
            let Some(link) = self.links.get(at) else { break };
            let Some(end) = link.ends.iter().position(|end| *end == node) else { continue };
            let id = link.ids[end];
            while let Some(Some(frame)) = self.call(node, |engine| engine.poll_transmit(id, now, usize::MAX))
            {
                self.links[at].flying[1 - end].push_back(frame);
            }
        }
    }

    /// A client takes what is new, and commits its cursor with what it did.
    fn read(&mut self, node: usize, most: usize) {
        let groups: Vec<GroupId> = self.wanted[node].iter().map(|group| group_id(*group)).collect();
        for group in groups {
            let taken = self.call(node, |engine| {
                let cursor = engine.value(CURSORS, group.as_bytes())?;
                let cursor = cursor.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
                let entries = engine.log(group, cursor, most, usize::MAX)?;
                for entry in &entries {
                    engine.set_value(
                        &effects(group),
                        &effect_key(entry.position),
                        Some(entry.id.as_bytes()),
                    )?;
                    engine.set_value(CURSORS, group.as_bytes(), Some(&effect_key(entry.position)))?;
                }
                Ok(entries)
            });
            if let Some(entries) = taken {
                self.witness.read(node, group, entries);
            }
        }
        self.commit(node);
    }

    /// All meet and say everything; then all must have the same.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        while matches!(self.second, Second::After(_)) {
            self.after_step()?;
        }
        for _ in 0..3 {
            for a in 0..NODES {
                for b in a + 1..NODES {
                    self.connect(a, b, false);
                }
            }
            for _ in 0..100 {
                if !self.exchange() {
                    break;
                }
                self.after_step()?;
            }
            self.wait(11_000);
            self.read(0, usize::MAX >> 1);
            self.after_step()?;
        }
        // A second failure that came due at the very end.
        while matches!(self.second, Second::After(_)) {
            self.after_step()?;
        }
        self.ops = self.disks[0].ops();
        self.disks[0].heal();
        self.finish_quietly().map_err(|failure| self.explain(failure))
    }

    fn finish_quietly(&mut self) -> Result<(), Failure> {
        self.recover()?;
        for a in 0..NODES {
            for b in a + 1..NODES {
                self.connect(a, b, false);
            }
        }
        let mut rounds = 0;
        while self.exchange() {
            rounds += 1;
            if rounds > 200 {
                return Err(Failure::new(Kind::Lost, "the network does not come to rest"));
            }
        }
        self.read(0, usize::MAX >> 1);
        self.recover()?;
        for node in 0..NODES {
            self.note_beliefs(node);
        }
        for node in 0..NODES {
            self.witness.verify(node, self.nodes[node].as_ref().unwrap())?;
        }
        for group in 0..GROUPS {
            let members: Vec<&Node> = (0..LIAR)
                .filter(|node| self.wanted[*node].contains(&group))
                .map(|node| self.nodes[node].as_ref().unwrap())
                .collect();
            self.witness.verify_agreement(group_id(group), &members)?;
        }
        Ok(())
    }
}
