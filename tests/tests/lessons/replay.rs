//! Restarts: what was delivered stays where it is, and the rest follows in the order in which it would have come.

use hedgerow_proto::{Frame, Message, MessageId, Visibility};
use hedgerow_sync_core::testing::descriptor;
use hedgerow_sync_core::{
    Config, Engine, Event, LinkId, LinkProfile, MemoryStore, Store, Time, Verdict, store,
};
use hedgerow_sync_sqlite::{Options, SqliteStore};
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use crate::support::{FAKE, announce, batch, encode, hello, message, wire};

const NOW: Time = Time(1_700_000_000_000);
const COUNT: usize = 40;

/// A graph with gaps, in the order in which it arrives; a few come twice, one is invalid and one depends on it.
fn script() -> Vec<Message> {
    let mut rng = ChaCha12Rng::seed_from_u64(7);
    let group = descriptor("g").id();
    let mut graph: Vec<Message> = Vec::new();
    for n in 0..COUNT {
        let parents: Vec<&Message> = graph.iter().rev().take(6).filter(|_| rng.random_bool(0.4)).collect();
        let body = if n == 25 { "bad".to_owned() } else { format!("message {n}") };
        graph.push(message(group, &body, &parents));
    }
    let again = graph[3].clone();
    graph.push(again);
    graph.shuffle(&mut rng);
    graph
}

/// One device that gets the messages one by one. Between two of them it may crash.
struct Device<S> {
    engine: Engine<S>,
    link: LinkId,
}

impl<S: Store> Device<S> {
    fn open(store: S) -> Self {
        let mut engine = Engine::open(store, Config::default(), [1; 32], NOW).unwrap();
        let group = engine.add_group(&descriptor("g"), true).unwrap();
        engine.set_visibility(FAKE, group, Visibility::Shared).unwrap();
        let link = engine.link_up(FAKE, LinkProfile::reliable(), NOW).unwrap();
        let frame = Frame { hello: Some(hello()), announces: vec![announce(group, 1)], ..Frame::default() };
        engine.receive(link, encode(&frame), NOW).unwrap();
        let mut device = Self { engine, link };
        device.judge();
        device
    }

    fn feed(&mut self, message: &Message) {
        self.engine.receive(self.link, encode(&batch(1, vec![wire(message, None)])), NOW).unwrap();
    }

    /// Gives verdicts; what polling gives is committed.
    fn judge(&mut self) {
        while let Some(event) = self.engine.poll_event().unwrap() {
            if let Event::Validate { id, message } = event {
                let verdict = if message.body() == "bad" { Verdict::Invalid } else { Verdict::VALID };
                self.engine.judge(id, verdict, NOW).unwrap();
            }
        }
    }

    fn order(&self) -> Vec<MessageId> {
        let log = self.engine.log(descriptor("g").id(), 0, usize::MAX, usize::MAX).unwrap();
        log.into_iter().map(|entry| entry.id).collect()
    }
}

/// How a device dies in the middle of the replay.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Death {
    /// After the message was judged and committed.
    Settled,
    /// After it was committed, before its verdict.
    Unjudged,
    /// Before the commit: the peer, which has no acknowledgement, sends it again.
    Uncommitted,
}

/// The replay with a death after each message of `at`; what was delivered never moves.
fn replay<S: Store>(
    fresh: S,
    reopen: impl Fn(S) -> S,
    at: impl Fn(usize) -> bool,
    death: Death,
) -> Vec<MessageId> {
    let mut device = Device::open(fresh);
    let mut before: Vec<MessageId> = Vec::new();
    for (n, message) in script().iter().enumerate() {
        device.feed(message);
        match death {
            _ if !at(n) => device.judge(),
            Death::Settled => device.judge(),
            Death::Unjudged => device.engine.commit().unwrap(),
            Death::Uncommitted => {}
        }
        if at(n) {
            let committed = device.order();
            let store = reopen(device.engine.into_store());
            let report = store::check(&store).unwrap();
            assert!(report.problems.is_empty(), "{death:?} after {n}: {:?}", report.problems);
            device = Device::open(store);
            if death == Death::Uncommitted {
                assert_eq!(device.order(), before, "{death:?} after {n}");
                device.feed(message);
                device.judge();
            } else {
                assert!(device.order().starts_with(&committed), "{death:?} after {n}");
            }
        }
        let order = device.order();
        assert!(order.starts_with(&before), "{death:?} after {n}: what was delivered has moved");
        before = order;
    }
    before
}

fn in_memory(mut store: MemoryStore) -> MemoryStore {
    store.crash();
    store
}

/// A delivery order that lives in memory comes out differently after a restart, as it does where it is computed anew
/// from what is held. Here it is the same whenever and however often the device dies in between, in both stores.
#[test]
fn a_restart_in_the_middle_of_a_replay_changes_the_order() {
    let steps = script().len();
    let straight = replay(MemoryStore::new(), in_memory, |_| false, Death::Settled);
    // What depends on the invalid one is not delivered.
    assert!((20..COUNT).contains(&straight.len()), "{}", straight.len());
    let folder = tempfile::tempdir().unwrap();
    let sqlite = |name: &str| {
        let path = folder.path().join(name);
        SqliteStore::open(&path, Options::default()).unwrap()
    };
    for death in [Death::Settled, Death::Unjudged, Death::Uncommitted] {
        for cut in 0..steps {
            assert_eq!(replay(MemoryStore::new(), in_memory, |n| n == cut, death), straight);
        }
        assert_eq!(replay(MemoryStore::new(), in_memory, |_| true, death), straight);
        for every in [1, 7] {
            let name = format!("{death:?}-{every}");
            let reopen = |store: SqliteStore| {
                drop(store);
                sqlite(&name)
            };
            let order = replay(sqlite(&name), reopen, |n| n % every == 0, death);
            assert_eq!(order, straight, "SQLite, {death:?}");
        }
    }
}
