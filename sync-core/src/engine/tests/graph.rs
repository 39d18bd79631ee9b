//! Random graphs, any order of arrival, any repetition, any split into sessions.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use hedgerow_proto::limits::MAX_DEPS;
use hedgerow_proto::{GroupId, Message, MessageId};
use petgraph::algo::is_cyclic_directed;
use petgraph::graph::DiGraph;
use proptest::prelude::*;

use crate::store::check;
use crate::testing::{Net, descriptor};
use crate::{Config, Draft, Engine, MemoryStore, Time};

/// A graph as a list of messages, parents first: for each, the seeds of its parents and its time.
fn graphs(max: usize) -> impl Strategy<Value = Vec<(Vec<prop::sample::Index>, u8)>> {
    prop::collection::vec((prop::collection::vec(any::<prop::sample::Index>(), 0..5), any::<u8>()), 1..max)
}

fn build(group: GroupId, shape: &[(Vec<prop::sample::Index>, u8)]) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for (n, (parents, time)) in shape.iter().enumerate() {
        let mut deps: Vec<MessageId> = Vec::new();
        if !messages.is_empty() {
            deps.extend(parents.iter().map(|index| messages[index.index(messages.len())].id()));
        }
        deps.sort_unstable();
        deps.dedup();
        deps.truncate(MAX_DEPS);
        messages.push(Message::new(group, i64::from(*time), deps, Bytes::from(format!("{n}"))).unwrap());
    }
    messages
}

/// What petgraph says of an order: every edge goes forward, and each message stands once.
fn assert_linear_extension(messages: &[Message], order: &[MessageId]) {
    let mut graph = DiGraph::<MessageId, ()>::new();
    let nodes: HashMap<MessageId, _> = messages.iter().map(|m| (m.id(), graph.add_node(m.id()))).collect();
    for message in messages {
        for dep in message.deps() {
            graph.add_edge(nodes[dep], nodes[&message.id()], ());
        }
    }
    assert!(!is_cyclic_directed(&graph));
    let place: HashMap<MessageId, usize> = order.iter().enumerate().map(|(n, id)| (*id, n)).collect();
    assert_eq!(place.len(), order.len(), "each once");
    for edge in graph.edge_indices() {
        let (parent, child) = graph.edge_endpoints(edge).unwrap();
        if let Some(child_at) = place.get(&graph[child]) {
            assert!(place.get(&graph[parent]).is_some_and(|parent_at| parent_at < child_at));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    // spec: deliver-after-parents, delivery-order, canonical-order
    #[test]
    fn any_graph_any_arrival(
        shape in graphs(40),
        arrivals in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..3, any::<bool>()), 0..160),
        judged in any::<bool>(),
        seed in any::<u64>(),
    ) {
        // Each node gets the messages by its own hand, in its own order, from a faker of peers; then they meet.
        let mut net = Net::new(3, seed);
        let group = net.group("g", judged);
        let messages = build(group, &shape);
        let mut fakers = (0..3).map(|n| Faker::new(&mut net, n)).collect::<Vec<_>>();
        for (index, to, again) in arrivals {
            let message = &messages[index.index(messages.len())];
            fakers[to].send(&mut net, message);
            if again {
                fakers[to].new_session(&mut net);
                fakers[to].send(&mut net, message);
            }
            net.drain(to);
        }
        // Whatever is still lacking everywhere comes in the end, backwards, to node 0.
        for message in messages.iter().rev() {
            fakers[0].send(&mut net, message);
        }
        for n in 0..3 {
            net.drain(n);
        }
        for faker in &fakers {
            faker.leave(&mut net);
        }
        net.connect(0, 1);
        net.connect(1, 2);
        net.run(600_000);
        net.assert_converged(group, messages.len());
        for n in 0..3 {
            assert_linear_extension(&messages, &net.delivered[n][&group]);
            assert_linear_extension(&messages, &net.canonical(n, group));
        }
        net.assert_silent();
    }
}

/// Feeds frames made by hand to one node.
struct Faker {
    node: usize,
    link: crate::LinkId,
    fresh: bool,
}

impl Faker {
    fn new(net: &mut Net, node: usize) -> Self {
        let link =
            net.engines[node].link_up(Self::peer(node), crate::LinkProfile::reliable(), net.now).unwrap();
        Self { node, link, fresh: true }
    }

    fn peer(node: usize) -> hedgerow_proto::PeerId {
        hedgerow_proto::PeerId::from_bytes([200 + u8::try_from(node).unwrap(); 32])
    }

    fn leave(&self, net: &mut Net) {
        net.engines[self.node].remove_peer(Self::peer(self.node), net.now).unwrap();
    }

    fn new_session(&mut self, net: &mut Net) {
        net.engines[self.node].link_down(self.link, net.now);
        *self = Self::new(net, self.node);
    }

    fn send(&mut self, net: &mut Net, message: &Message) {
        use hedgerow_proto::{
            Announce, Batch, Codec, DepRef, Frame, GroupRef, Hello, NativeCodec, Visibility, WireMessage,
        };
        let engine = &mut net.engines[self.node];
        engine.set_visibility(Self::peer(self.node), message.group(), Visibility::Shared).unwrap();
        let mut frame = Frame::default();
        if std::mem::take(&mut self.fresh) {
            let nonce = [7; 16];
            frame.hello =
                Some(Hello { major: 1, minor: 0, nonce, install: 1, max_frame: 65_536, max_offers: 100 });
            frame.announces.push(Announce {
                number: 1,
                tag: Announce::tag_of(&nonce, message.group()),
                visibility: Visibility::Visible,
                held: vec![],
                mark: 0,
                mark_chain: 0,
                reset: 0,
                summary: None,
            });
        }
        frame.batches.push(Batch {
            group: GroupRef::Number(1),
            messages: vec![WireMessage {
                position: None,
                timestamp_ms: message.timestamp_ms(),
                deps: message.deps().iter().copied().map(DepRef::Id).collect(),
                body: message.body().clone(),
            }],
            chain: 0,
        });
        let mut bytes = Vec::new();
        NativeCodec::new().encode(&frame, &mut bytes).unwrap();
        engine.receive(self.link, bytes.into(), net.now).unwrap();
    }
}

fn lone() -> (Engine<MemoryStore>, GroupId) {
    let mut engine = Engine::open(MemoryStore::new(), Config::default(), [1; 32], Time(1)).unwrap();
    let group = engine.add_group(&descriptor("g"), false).unwrap();
    (engine, group)
}

// spec: deliver-cascade
#[test]
fn a_long_chain_backwards_is_delivered_forwards() {
    let count = 20_000;
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let mut messages: Vec<Message> = Vec::new();
    for n in 0..count {
        let deps = messages.last().map(|m| vec![m.id()]).unwrap_or_default();
        messages.push(Message::new(group, n, deps, Bytes::from("x")).unwrap());
    }
    let mut faker = Faker::new(&mut net, 0);
    for message in messages.iter().rev() {
        faker.send(&mut net, message);
    }
    net.drain(0);
    let ids: Vec<MessageId> = messages.iter().map(Message::id).collect();
    assert_eq!(net.delivered[0][&group], ids);
}

#[test]
fn heads_are_what_nobody_came_after() {
    let (mut engine, group) = lone();
    let now = Time(1);
    let mut publish = |body: &'static str, deps: Vec<MessageId>| {
        engine.publish(group, Draft { timestamp_ms: 1, deps, body: body.into() }, now).unwrap()
    };
    let a = publish("a", vec![]);
    let b = publish("b", vec![a]);
    let c = publish("c", vec![a]);
    let heads: BTreeSet<MessageId> = engine.heads(group, 16).unwrap().into_iter().collect();
    assert_eq!(heads, BTreeSet::from([b, c]));
    assert_eq!(engine.heads(group, 1).unwrap(), vec![c], "the newest");
    engine.commit().unwrap();
    let mut store = engine.into_store();
    store.crash();
    assert!(check(&store).unwrap().problems.is_empty());
    let engine = Engine::open(store, Config::default(), [1; 32], Time(1)).unwrap();
    assert_eq!(engine.heads(group, 16).unwrap().len(), 2, "also after a restart");
}
