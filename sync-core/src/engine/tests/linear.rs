//! Work for each message is the same however many there are: with four times the messages, no more than a fifth more of
//! it for each. What is counted is rows of the store that are read or written, and places in lines that are gone
//! through; both are the same on every machine.

use hedgerow_proto::{
    Batch, DepRef, Frame, GroupDescriptor, GroupRef, Message, MessageId, PeerId, Visibility, WireMessage,
};

use crate::engine::idqueue;
use crate::testing::by_hand;
use crate::{Config, Draft, Engine, LinkId, LinkProfile, MemoryStore, Time};

const NOW: Time = Time(1_700_000_000_000);

fn descriptor() -> GroupDescriptor {
    GroupDescriptor::new("org.example.linear", 0, vec![]).unwrap()
}

fn opened(peer: u8) -> (Engine<MemoryStore>, hedgerow_proto::GroupId) {
    let config = Config {
        max_parked_messages: 1 << 20,
        max_parked_deps: 1 << 20,
        max_wanted: 1 << 20,
        ..Config::default()
    };
    let mut engine = Engine::open(MemoryStore::new(), config, [9; 32], NOW).unwrap();
    let group = engine.add_group(&descriptor(), false).unwrap();
    engine.set_visibility(PeerId::from_bytes([peer; 32]), group, Visibility::Shared).unwrap();
    (engine, group)
}

fn work(engine: &Engine<MemoryStore>) -> u64 {
    engine.store().touched() + idqueue::tests::WALKED.with(std::cell::Cell::get)
}

fn drain(engine: &mut Engine<MemoryStore>) {
    while engine.poll_event().unwrap().is_some() {}
}

/// Message `n` after those that `parents` names, all below `n`.
fn graph(count: u64, parents: impl Fn(u64) -> Vec<u64>) -> Vec<Message> {
    let mut ids: Vec<MessageId> = Vec::new();
    (0..count)
        .map(|n| {
            let mut deps: Vec<MessageId> =
                parents(n).into_iter().map(|at| ids[usize::try_from(at).unwrap()]).collect();
            deps.sort_unstable();
            deps.dedup();
            let at = NOW.as_timestamp_ms() + n as i64;
            let message = Message::new(descriptor().id(), at, deps, n.to_string().into()).unwrap();
            ids.push(message.id());
            message
        })
        .collect()
}

/// What it costs to receive each of these, 100 in a frame, from a peer that is asked for what is missing.
fn cost_of_arrival(messages: &[Message]) -> f64 {
    let (mut engine, group) = opened(1);
    let link: LinkId = engine.link_up(PeerId::from_bytes([1; 32]), LinkProfile::reliable(), NOW).unwrap();
    engine.receive(link, by_hand::encode(&by_hand::greeting(&[group])), NOW).unwrap();
    let before = work(&engine);
    for (some, first) in messages.chunks(100).zip((1..).step_by(100)) {
        let wire = |(message, position): (&Message, u64)| WireMessage {
            position: Some(position),
            timestamp_ms: message.timestamp_ms(),
            deps: message.deps().iter().copied().map(DepRef::Id).collect(),
            body: message.body().clone(),
        };
        let messages = some.iter().zip(first..).map(wire).collect();
        let batch = Batch { group: GroupRef::Number(1), messages, chain: 0 };
        let frame = Frame { batches: vec![batch], ..Frame::default() };
        engine.receive(link, by_hand::encode(&frame), NOW).unwrap();
        drain(&mut engine);
        while engine.poll_transmit(link, NOW, usize::MAX).unwrap().is_some() {}
    }
    assert_eq!(engine.group(group).unwrap().head, messages.len() as u64);
    (work(&engine) - before) as f64 / messages.len() as f64
}

/// What it costs both sides to bring each of so many messages from one to the other.
fn cost_of_sync(count: u64) -> f64 {
    let (mut a, group) = opened(2);
    let (mut b, _) = opened(1);
    for n in 0..count {
        let deps = a.heads(group, 1).unwrap();
        let draft = Draft { timestamp_ms: NOW.as_timestamp_ms(), deps, body: n.to_string().into() };
        a.publish(group, draft, NOW).unwrap();
    }
    drain(&mut a);
    let before = work(&a) + b.store().touched();
    let to_b = a.link_up(PeerId::from_bytes([2; 32]), LinkProfile::reliable(), NOW).unwrap();
    let to_a = b.link_up(PeerId::from_bytes([1; 32]), LinkProfile::reliable(), NOW).unwrap();
    loop {
        let there = a.poll_transmit(to_b, NOW, usize::MAX).unwrap();
        let back = b.poll_transmit(to_a, NOW, usize::MAX).unwrap();
        if there.is_none() && back.is_none() {
            break;
        }
        there.into_iter().for_each(|frame| b.receive(to_a, frame, NOW).unwrap());
        back.into_iter().for_each(|frame| a.receive(to_b, frame, NOW).unwrap());
        drain(&mut b);
        drain(&mut a);
    }
    assert_eq!(b.group(group).unwrap().head, count);
    (work(&a) + b.store().touched() - before) as f64 / count as f64
}

fn assert_linear(what: &str, few: f64, many: f64) {
    assert!(few > 1.0, "{what}: nothing is counted");
    assert!(many <= 1.2 * few, "{what}: {few:.1} steps for each message, {many:.1} with four times as many");
}

const COUNT: u64 = 1_000;

#[test]
fn a_sync_of_four_times_as_much_takes_four_times_the_work() {
    assert_linear("a sync", cost_of_sync(COUNT), cost_of_sync(4 * COUNT));
}

#[test]
fn a_chain_that_comes_backwards_takes_work_in_proportion() {
    let chain = |count| {
        let mut messages = graph(count, |n| n.checked_sub(1).into_iter().collect());
        messages.reverse();
        cost_of_arrival(&messages)
    };
    assert_linear("a chain", chain(COUNT), chain(4 * COUNT));
}

#[test]
fn a_fan_whose_root_comes_last_takes_work_in_proportion() {
    let fan = |count| {
        let mut messages = graph(count, |n| if n == 0 { vec![] } else { vec![0] });
        messages.reverse();
        cost_of_arrival(&messages)
    };
    assert_linear("a fan", fan(COUNT), fan(4 * COUNT));
}

#[test]
fn what_comes_in_no_order_takes_work_in_proportion() {
    let shuffled = |count| {
        let mut state = 11_u64;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let parents: Vec<Vec<u64>> =
            (0..count).map(|n: u64| (0..2).filter_map(|_| n.checked_sub(1 + draw(50))).collect()).collect();
        let mut messages = graph(count, |n| parents[usize::try_from(n).unwrap()].clone());
        // All of them: what waits grows with the number.
        for last in (1..messages.len()).rev() {
            messages.swap(last, usize::try_from(draw(last as u64 + 1)).unwrap());
        }
        cost_of_arrival(&messages)
    };
    assert_linear("a shuffled graph", shuffled(COUNT), shuffled(4 * COUNT));
}
