//! Room for what waits: an engine against a model that works everything out anew from a list of what is held.

use std::collections::{BTreeMap, BTreeSet};

use hedgerow_proto::{GroupId, Message, MessageId};
use hedgerow_sync_core::store::{MessageState, Store as _};
use hedgerow_sync_core::testing::descriptor;
use hedgerow_sync_core::{Config, Engine, Event, MemoryStore, Time, Verdict};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::support::{Hand, batch};

const NOW: Time = Time(1_700_000_000_000);
const PEERS: usize = 4;

/// What a message of the pool is.
#[derive(Debug, Clone)]
struct Plan {
    /// Earlier messages of the pool that it depends on.
    deps: Vec<Index>,
    body_len: usize,
    early: bool,
}

#[derive(Debug, Clone)]
enum Op {
    Send(usize, Index),
    Judge(Index, bool),
    Restart,
}

fn plan() -> impl Strategy<Value = Plan> {
    let early = prop::bool::weighted(0.1);
    let deps = prop::collection::vec(any::<Index>(), 0..4);
    (deps, 0_usize..300, early).prop_map(|(deps, body_len, early)| Plan { deps, body_len, early })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => (0..PEERS, any::<Index>()).prop_map(|(peer, message)| Op::Send(peer, message)),
        4 => (any::<Index>(), prop::bool::weighted(0.9)).prop_map(|(which, valid)| Op::Judge(which, valid)),
        1 => Just(Op::Restart),
    ]
}

/// Limits so small that each of them matters: messages, bytes, dependencies, verdicts, unheard of, parts.
fn limits() -> impl Strategy<Value = [u64; 6]> {
    (1_u64..12, 50_u64..2_000, 1_u64..20, 1_u64..10, 1_u64..16, 1_u64..10).prop_map(
        |(messages, bytes, deps, verdicts, wanted, parts)| [messages, bytes, deps, verdicts, wanted, parts],
    )
}

fn config(limits: [u64; 6]) -> Config {
    let mut config = Config::default();
    [
        config.max_parked_messages,
        config.max_parked_bytes,
        config.max_parked_deps,
        config.max_unvalidated,
        config.max_wanted,
        config.peer_shares,
    ] = limits;
    config
}

fn pool(group: GroupId, plans: &[Plan]) -> Vec<Message> {
    let mut pool: Vec<Message> = Vec::new();
    for (n, plan) in plans.iter().enumerate() {
        let deps = plan.deps.iter().filter(|_| n > 0).map(|dep| pool[dep.index(n)].id());
        let deps: BTreeSet<MessageId> = deps.collect();
        let timestamp = if plan.early { NOW.as_timestamp_ms() + 2 * 24 * 3_600_000 } else { 5 };
        let mut body = format!("{n} ").into_bytes();
        body.resize(body.len() + plan.body_len, b'x');
        pool.push(Message::new(group, timestamp, deps.into_iter().collect(), body.into()).unwrap());
    }
    pool
}

/// A message that is held and not delivered.
#[derive(Debug, Clone)]
struct Held {
    peer: usize,
    message: Message,
    judged: bool,
}

/// What the room of each kind is taken by, worked out from lists.
#[derive(Debug, Default)]
struct Model {
    judged: bool,
    limits: [u64; 6],
    held: BTreeMap<MessageId, Held>,
    /// Dependencies that are not held, and for which peer each is counted.
    wanted: BTreeMap<MessageId, usize>,
    delivered: BTreeSet<MessageId>,
    invalid: BTreeSet<MessageId>,
}

impl Model {
    fn missing(&self, message: &Message) -> u64 {
        message.deps().iter().filter(|dep| !self.delivered.contains(dep)).count() as u64
    }

    fn is_early(message: &Message) -> bool {
        message.timestamp_ms() > NOW.as_timestamp_ms()
    }

    /// What a message takes of each kind of room but the last.
    fn takes(&self, held: &Held) -> [u64; 5] {
        let bytes = held.message.body().len() as u64;
        let missing = self.missing(&held.message);
        let mut takes = [0; 5];
        if missing > 0 || Self::is_early(&held.message) {
            takes[..3].copy_from_slice(&[1, bytes, missing]);
        }
        if !held.judged {
            takes[3..].copy_from_slice(&[1, bytes]);
        }
        takes
    }

    /// What a peer has taken of each kind.
    fn taken(&self, peer: usize) -> [u64; 6] {
        let mut sum = [0; 6];
        for held in self.held.values().filter(|held| held.peer == peer) {
            sum.iter_mut().zip(self.takes(held)).for_each(|(sum, takes)| *sum += takes);
        }
        sum[5] = self.wanted.values().filter(|of| **of == peer).count() as u64;
        sum
    }

    /// The common limit of each kind, and a share of it.
    fn room(&self) -> [(u64, u64); 6] {
        let [messages, bytes, deps, verdicts, wanted, parts] = self.limits;
        let parts = parts.max(PEERS as u64);
        [messages, bytes, deps, verdicts, bytes, wanted].map(|limit| (limit, limit / parts))
    }

    /// What a message that comes would take.
    fn needs(&self, peer: usize, message: &Message) -> [u64; 6] {
        let held = Held { peer, message: message.clone(), judged: !self.judged };
        let mut needs = [0; 6];
        needs[..5].copy_from_slice(&self.takes(&held));
        needs[5] = message.deps().iter().filter(|dep| !self.is_known(dep)).count() as u64;
        needs
    }

    fn is_known(&self, id: &MessageId) -> bool {
        self.held.contains_key(id)
            || self.wanted.contains_key(id)
            || self.delivered.contains(id)
            || self.invalid.contains(id)
    }

    /// Whether it stays within the peer's own share.
    fn is_within_share(&self, peer: usize, message: &Message) -> bool {
        let after = self.taken(peer).into_iter().zip(self.needs(peer, message)).map(|(a, b)| a + b);
        after.zip(self.room()).all(|(after, (_, share))| after <= share)
    }

    /// Whether there is room for it.
    fn has_room(&self, peer: usize, message: &Message) -> bool {
        let needs = self.needs(peer, message);
        (0..6).filter(|&kind| needs[kind] > 0).all(|kind| {
            let (limit, share) = self.room()[kind];
            let after = |of: usize| self.taken(of)[kind] + if of == peer { needs[kind] } else { 0 };
            let beyond: u64 = (0..PEERS).map(|of| after(of).saturating_sub(share)).sum();
            after(peer) <= share || beyond <= limit
        })
    }

    fn come(&mut self, peer: usize, message: &Message) {
        let id = message.id();
        if self.held.contains_key(&id) || self.delivered.contains(&id) || self.invalid.contains(&id) {
            return;
        }
        if message.deps().iter().any(|dep| self.invalid.contains(dep)) {
            self.wanted.remove(&id);
            self.bury(id);
        } else if self.has_room(peer, message) {
            for dep in message.deps() {
                if !self.is_known(dep) {
                    self.wanted.insert(*dep, peer);
                }
            }
            self.wanted.remove(&id);
            self.held.insert(id, Held { peer, message: message.clone(), judged: !self.judged });
            self.settle();
        }
    }

    fn judge(&mut self, id: MessageId, valid: bool) {
        let Some(held) = self.held.get_mut(&id).filter(|held| !held.judged) else { return };
        if valid {
            held.judged = true;
            self.settle();
        } else {
            self.held.remove(&id);
            self.bury(id);
        }
    }

    fn settle(&mut self) {
        loop {
            let ready = self.held.iter().find(|(_, held)| {
                held.judged && self.missing(&held.message) == 0 && !Self::is_early(&held.message)
            });
            let Some(id) = ready.map(|(&id, _)| id) else { return };
            self.held.remove(&id);
            self.delivered.insert(id);
        }
    }

    fn bury(&mut self, id: MessageId) {
        self.invalid.insert(id);
        loop {
            let child = self
                .held
                .iter()
                .find(|(_, held)| held.message.deps().iter().any(|dep| self.invalid.contains(dep)));
            let Some(child) = child.map(|(&id, _)| id) else { break };
            self.held.remove(&child);
            self.invalid.insert(child);
        }
        let needed: BTreeSet<MessageId> =
            self.held.values().flat_map(|held| held.message.deps().to_vec()).collect();
        self.wanted.retain(|id, _| needed.contains(id));
    }
}

struct Run {
    engine: Engine<MemoryStore>,
    hands: Vec<Hand>,
    group: GroupId,
    judged: bool,
    limits: [u64; 6],
}

impl Run {
    fn new(limits: [u64; 6], judged: bool) -> Self {
        let mut engine = Engine::open(MemoryStore::new(), config(limits), [1; 32], NOW).unwrap();
        let group = engine.add_group(&descriptor("g"), judged).unwrap();
        let mut run = Self { engine, hands: Vec::new(), group, judged, limits };
        run.meet();
        run
    }

    fn meet(&mut self) {
        let names = 1..=u8::try_from(PEERS).unwrap();
        self.hands = names.map(|name| Hand::meet(&mut self.engine, name, &[self.group], NOW)).collect();
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(event) = self.engine.poll_event().unwrap() {
            assert!(self.judged || !matches!(event, Event::Validate { .. }));
        }
    }

    fn send(&mut self, peer: usize, message: &Message) {
        let frame = batch(0, std::slice::from_ref(message));
        self.hands[peer].tell(&mut self.engine, &frame, NOW).unwrap();
        self.drain();
    }

    fn judge(&mut self, id: MessageId, valid: bool) {
        let verdict = if valid { Verdict::VALID } else { Verdict::Invalid };
        self.engine.judge(id, verdict, NOW).unwrap();
        self.drain();
    }

    fn restart(&mut self) {
        let blank = Engine::open(MemoryStore::new(), Config::default(), [1; 32], NOW).unwrap();
        let mut store = std::mem::replace(&mut self.engine, blank).into_store();
        store.crash();
        self.engine = Engine::open(store, config(self.limits), [2; 32], NOW).unwrap();
        self.meet();
    }

    fn state(&self, id: &MessageId) -> Option<MessageState> {
        self.engine.store().find(id).unwrap().map(|row| row.state)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// What is kept and what is turned away is what the model says, whoever sends what in which order, with verdicts
    /// and restarts between; and what comes within a peer's share is always kept.
    #[test]
    fn what_is_turned_away_is_what_the_model_says(
        plans in prop::collection::vec(plan(), 1..40),
        ops in prop::collection::vec(op(), 0..120),
        limits in limits(),
        judged in any::<bool>(),
    ) {
        let mut run = Run::new(limits, judged);
        let mut model = Model { judged, limits, ..Model::default() };
        let pool = pool(run.group, &plans);
        for op in ops {
            match op {
                Op::Send(peer, which) => {
                    let message = which.get(&pool);
                    let sure = model.is_within_share(peer, message);
                    run.send(peer, message);
                    model.come(peer, message);
                    let kept = run.state(&message.id()).is_some_and(|state| state != MessageState::Wanted);
                    prop_assert!(kept || !sure, "turned away within its share: {:?}", message.id());
                }
                Op::Judge(which, valid) => {
                    let id = which.get(&pool).id();
                    run.judge(id, valid);
                    model.judge(id, valid);
                }
                Op::Restart => {
                    run.restart();
                    // What is not held is counted for the first that waits for it in the order of rows.
                    let store = run.engine.store();
                    for (id, peer) in &mut model.wanted {
                        let waits = model.held.values().filter(|held| held.message.deps().contains(id));
                        let num = |held: &&Held| store.find(&held.message.id()).unwrap().unwrap().num;
                        *peer = waits.min_by_key(num).unwrap().peer;
                    }
                }
            }
            for message in &pool {
                let id = message.id();
                let state = run.state(&id);
                prop_assert_eq!(state == Some(MessageState::Delivered), model.delivered.contains(&id));
                prop_assert_eq!(state == Some(MessageState::Invalid), model.invalid.contains(&id));
                prop_assert_eq!(state == Some(MessageState::Wanted), model.wanted.contains_key(&id));
                prop_assert_eq!(state.is_some(), model.is_known(&id), "{:?}", state);
            }
            for kind in 0..6 {
                let sum: u64 = (0..PEERS).map(|peer| model.taken(peer)[kind]).sum();
                prop_assert!(sum <= 2 * model.room()[kind].0, "kind {kind}: {sum}");
            }
        }
    }
}
