//! Links that go one way: what arrives, what is said again, and what is learned when there is a way back.

use bytes::Bytes;
use hedgerow_proto::{GroupDescriptor, GroupId, PeerId, Visibility};

use crate::error::ReceiveError;
use crate::store::check;
use crate::{Config, Direction, Draft, Engine, EngineError, LinkId, LinkProfile, MemoryStore, Time};

const START: Time = Time(1_700_000_000_000);

fn peer(n: usize) -> PeerId {
    PeerId::from_bytes([u8::try_from(n).unwrap() + 1; 32])
}

/// Some engines that share a group, and a clock.
struct World {
    engines: Vec<Engine<MemoryStore>>,
    group: GroupId,
    now: Time,
}

impl World {
    fn new(count: usize) -> Self {
        let descriptor = GroupDescriptor::new("org.example.drive", 0, vec![]).unwrap();
        let group = descriptor.id();
        let mut engines = Vec::new();
        for n in 0..count {
            let seed = [u8::try_from(n).unwrap(); 32];
            let mut engine = Engine::open(MemoryStore::new(), Config::default(), seed, START).unwrap();
            engine.add_group(&descriptor, false).unwrap();
            for other in (0..count).filter(|&other| other != n) {
                engine.set_visibility(peer(other), group, Visibility::Shared).unwrap();
            }
            engines.push(engine);
        }
        Self { engines, group, now: START }
    }

    fn write(&mut self, node: usize, count: usize) {
        for n in 0..count {
            let deps = self.engines[node].heads(self.group, 1).unwrap();
            let body = format!("{n} of {node}").into();
            let draft = Draft { timestamp_ms: self.now.as_timestamp_ms(), deps, body };
            self.engines[node].publish(self.group, draft, self.now).unwrap();
            self.drain(node);
        }
    }

    fn drain(&mut self, node: usize) {
        while self.engines[node].poll_event().unwrap().is_some() {}
    }

    fn up(&mut self, node: usize, other: usize, direction: Direction, reliable: bool) -> LinkId {
        let profile = LinkProfile::one_way(direction, reliable, 1200);
        self.engines[node].link_up(peer(other), profile, self.now).unwrap()
    }

    /// A way from one node to another: the link of each.
    fn way(&mut self, from: usize, to: usize, reliable: bool) -> Way {
        let (out, into) = (Direction::Out, Direction::In);
        Way { from, to, out: self.up(from, to, out, reliable), into: self.up(to, from, into, reliable) }
    }

    fn frames(&mut self, way: &Way) -> Vec<Bytes> {
        let mut frames = Vec::new();
        while let Some(frame) = self.engines[way.from].poll_transmit(way.out, self.now, 1200).unwrap() {
            assert!(frame.len() <= 1200);
            frames.push(frame);
        }
        frames
    }

    /// Brings everything over that is due, but what `lost` says; how many frames were sent.
    fn carry(&mut self, way: &Way, mut lost: impl FnMut() -> bool) -> usize {
        let frames = self.frames(way);
        for frame in &frames {
            if !lost() {
                self.engines[way.to].receive(way.into, frame.clone(), self.now).unwrap();
                self.drain(way.to);
            }
        }
        assert_eq!(self.engines[way.to].poll_transmit(way.into, self.now, 1200).unwrap(), None);
        frames.len()
    }

    fn end(&mut self, way: &Way) {
        self.engines[way.from].link_down(way.out, self.now);
        self.engines[way.to].link_down(way.into, self.now);
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + ms;
        for n in 0..self.engines.len() {
            self.engines[n].handle_timeout(self.now).unwrap();
            self.drain(n);
        }
    }

    fn head(&self, node: usize) -> u64 {
        self.engines[node].groups()[0].head
    }

    /// How many messages of its own log a node does not know another one to have.
    fn unknown(&self, node: usize, of: usize) -> u64 {
        let status = self.engines[node].status();
        let pair = status.peers.iter().find(|pair| pair.peer == peer(of)).unwrap();
        self.head(node) - pair.acked
    }

    fn sound(&self) {
        for engine in &self.engines {
            assert!(engine.audit().is_empty(), "{:?}", engine.audit());
            assert!(check(engine.store()).unwrap().is_clean());
        }
    }
}

struct Way {
    from: usize,
    to: usize,
    out: LinkId,
    into: LinkId,
}

// spec: bundle-one-way
#[test]
fn everything_goes_over_in_order_and_nothing_comes_back() {
    let mut world = World::new(2);
    world.write(0, 300);
    let way = world.way(0, 1, true);
    assert!(world.carry(&way, || false) > 10);
    assert_eq!((world.head(0), world.head(1)), (300, 300));
    // What is written meanwhile goes over too; once.
    world.write(0, 5);
    assert!(world.carry(&way, || false) > 0);
    assert_eq!(world.head(1), 305);
    for _ in 0..100 {
        world.pass(60_000);
        assert_eq!(world.carry(&way, || false), 0);
    }
    assert_eq!(world.engines[0].traffic().messages_out, 305);
    world.sound();
}

// spec: bundle-repeated
#[test]
fn what_is_not_acknowledged_goes_over_again_at_each_contact() {
    let mut world = World::new(2);
    world.write(0, 20);
    for contact in 1..=3 {
        let way = world.way(0, 1, true);
        world.carry(&way, || false);
        world.end(&way);
        world.pass(60_000);
        assert_eq!(world.engines[0].traffic().messages_out, 20 * contact);
        assert_eq!(world.head(1), 20);
    }
    assert_eq!(world.unknown(0, 1), 20);
    world.sound();
}

// spec: bundle-one-way
#[test]
fn a_way_back_brings_the_acknowledgements_and_then_all_is_silent() {
    let mut world = World::new(2);
    world.write(0, 40);
    world.write(1, 30);
    let (there, back) = (world.way(0, 1, true), world.way(1, 0, true));
    for _ in 0..6 {
        world.carry(&there, || false);
        world.carry(&back, || false);
        world.pass(100);
    }
    assert_eq!((world.head(0), world.head(1)), (70, 70));
    assert_eq!((world.unknown(0, 1), world.unknown(1, 0)), (0, 0));
    for _ in 0..50 {
        world.pass(600_000);
        assert_eq!(world.carry(&there, || false) + world.carry(&back, || false), 0);
    }
    // At the next contact nobody sends anything again.
    world.end(&there);
    world.end(&back);
    let (there, back) = (world.way(0, 1, true), world.way(1, 0, true));
    assert_eq!(world.carry(&there, || false) + world.carry(&back, || false), 0);
    world.sound();
}

// spec: bundle-repeated
#[test]
fn on_a_way_that_loses_everything_arrives_in_the_end() {
    for seed in 0..20_u64 {
        let mut world = World::new(2);
        world.write(0, 12);
        let way = world.way(0, 1, false);
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut lost = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % 2 == 0
        };
        let mut rounds = 0;
        while world.head(1) < 12 {
            world.carry(&way, &mut lost);
            world.pass(1000);
            rounds += 1;
            assert!(rounds < 24 * 3600, "seed {seed}: {} of 12 in a day", world.head(1));
        }
        // Without a word of the other side, a minute passes between two of them.
        let before = world.engines[0].traffic().messages_out;
        for _ in 0..60 {
            world.carry(&way, &mut lost);
            world.pass(60_000);
        }
        let in_an_hour = world.engines[0].traffic().messages_out - before;
        assert!(in_an_hour <= 60 + 12, "seed {seed}: {in_an_hour} in an hour");
        world.sound();
    }
}

// spec: bundle-one-way
#[test]
fn who_cannot_hear_us_is_not_asked() {
    let mut world = World::new(3);
    world.write(0, 2);
    let way = world.way(0, 1, false);
    let frames = world.frames(&way);
    // Both are in one frame: the first one is cut out by a contact with another link.
    assert_eq!(frames.len(), 1);
    let both = way;
    world.end(&both);
    let mut codec = hedgerow_proto::Dialect::Bundle.codec();
    let mut frame = codec.decode(frames[0].clone()).unwrap();
    frame.batches[0].messages.remove(0);
    let mut bytes = Vec::new();
    codec.encode(&frame, &mut bytes).unwrap();
    let from_0 = world.up(1, 0, Direction::In, true);
    world.engines[1].receive(from_0, bytes.into(), world.now).unwrap();
    world.drain(1);
    world.pass(120_000);
    assert_eq!((world.head(1), world.engines[1].missing(world.group).len()), (0, 1));
    // The third one has both, and is asked at once.
    let way = world.way(0, 2, true);
    world.carry(&way, || false);
    let (to_1, to_2) = (
        world.engines[2].link_up(peer(1), LinkProfile::reliable(), world.now).unwrap(),
        world.engines[1].link_up(peer(2), LinkProfile::reliable(), world.now).unwrap(),
    );
    for _ in 0..4 {
        while let Some(frame) = world.engines[1].poll_transmit(to_2, world.now, 65_536).unwrap() {
            world.engines[2].receive(to_1, frame, world.now).unwrap();
            world.drain(2);
        }
        while let Some(frame) = world.engines[2].poll_transmit(to_1, world.now, 65_536).unwrap() {
            world.engines[1].receive(to_2, frame, world.now).unwrap();
            world.drain(1);
        }
    }
    assert_eq!(world.head(1), 2);
    assert_eq!(world.engines[1].poll_transmit(from_0, world.now, 1200).unwrap(), None);
    world.sound();
}

#[test]
fn wrong_uses_get_an_error_and_change_nothing() {
    let mut world = World::new(2);
    world.write(0, 1);
    let sessions = LinkProfile { direction: Direction::Out, ..LinkProfile::reliable() };
    let refused = world.engines[0].link_up(peer(1), sessions, world.now).unwrap_err();
    assert!(matches!(refused, EngineError::OneWaySessions));
    let out = world.up(0, 1, Direction::Out, true);
    let refused = world.engines[0].link_up(peer(1), LinkProfile::reliable(), world.now).unwrap_err();
    assert!(matches!(refused, EngineError::MixedLinks { peer: who } if who == peer(1)));
    let frame = world.engines[0].poll_transmit(out, world.now, 1200).unwrap().unwrap();
    let refused = world.engines[0].receive(out, frame.clone(), world.now).unwrap_err();
    assert!(matches!(refused, ReceiveError::Engine(EngineError::OutOnly)));
    let usual = world.engines[1].link_up(peer(0), LinkProfile::reliable(), world.now).unwrap();
    let one_way = LinkProfile::one_way(Direction::In, true, 1200);
    let refused = world.engines[1].link_up(peer(0), one_way.clone(), world.now).unwrap_err();
    assert!(matches!(refused, EngineError::MixedLinks { peer: who } if who == peer(0)));
    world.engines[1].link_down(usual, world.now);
    let into = world.engines[1].link_up(peer(0), one_way, world.now).unwrap();
    world.engines[1].receive(into, frame, world.now).unwrap();
    world.drain(1);
    assert_eq!(world.head(1), 1);
    world.sound();
}

#[test]
fn what_went_one_way_is_no_news_when_the_two_meet() {
    let mut world = World::new(2);
    world.write(0, 25);
    let way = world.way(0, 1, true);
    world.carry(&way, || false);
    world.end(&way);
    world.pass(60_000);
    let to_1 = world.engines[0].link_up(peer(1), LinkProfile::reliable(), world.now).unwrap();
    let to_0 = world.engines[1].link_up(peer(0), LinkProfile::reliable(), world.now).unwrap();
    loop {
        let there = world.engines[0].poll_transmit(to_1, world.now, 65_536).unwrap();
        if let Some(frame) = there.clone() {
            world.engines[1].receive(to_0, frame, world.now).unwrap();
            world.drain(1);
        }
        let back = world.engines[1].poll_transmit(to_0, world.now, 65_536).unwrap();
        if let Some(frame) = back.clone() {
            world.engines[0].receive(to_1, frame, world.now).unwrap();
            world.drain(0);
        }
        if there.is_none() && back.is_none() {
            break;
        }
    }
    assert_eq!(world.unknown(0, 1), 0);
    assert_eq!(world.head(1), 25);
    world.sound();
}
