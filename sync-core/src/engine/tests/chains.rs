//! Chain values that are left out, and offers that cross.

use hedgerow_proto::{Ack, Frame, GroupId, GroupRef, MessageId, Offer, OfferItem, Span};

use super::faults::{Liar, message};
use crate::order::chain;
use crate::testing::by_hand::{batch, wire};
use crate::testing::{CLEAN, Faults, Net, Sent, peer};
use crate::{LinkProfile, PushPolicy};

/// The highest position of another one's log for which node `n` knows the chain value, and that value.
fn mark(net: &Net, n: usize, other: usize) -> (u64, u64) {
    let engine = &net.engines[n];
    let pair = engine.peers[&engine.peer_nums[&peer(other)]].groups.values().next().unwrap();
    (pair.mark, pair.mark_chain)
}

fn chain_of(net: &Net, n: usize, group: GroupId) -> u64 {
    net.log(n, group).iter().fold(0, |value, entry| chain(value, &entry.id))
}

/// Every chain value that a frame says.
fn said(tap: &[Sent]) -> Vec<u64> {
    let frames = || tap.iter().map(|sent| &sent.frame);
    let batches = frames().flat_map(|frame| &frame.batches).map(|batch| batch.chain);
    let offers = frames().flat_map(|frame| &frame.offers).map(|offer| offer.chain);
    let acks = frames().flat_map(|frame| &frame.acks).map(|ack| ack.chain);
    batches.chain(offers).chain(acks).collect()
}

// spec: chain-reckoned
#[test]
fn two_that_talk_say_no_chain_values_and_know_them() {
    for push in [PushPolicy::Always, PushPolicy::OfferFirst] {
        let mut net = Net::new(2, 1);
        let group = net.group("g", false);
        let profile = LinkProfile { push, ..LinkProfile::reliable() };
        let link = net.connect_with(0, 1, profile.clone(), CLEAN);
        net.run(1_000);
        net.tap = Some(Vec::new());
        for n in 0..20 {
            net.publish(n % 2, group, &format!("message {n}"));
            net.run(1_000);
        }
        assert!(said(&net.tap.take().unwrap()).iter().all(|&value| value == 0));
        for (n, other) in [(0, 1), (1, 0)] {
            assert_eq!(mark(&net, n, other), (20, chain_of(&net, other, group)));
        }
        // Both write at once, several at a time, and go on one by one: whatever can be reckoned is right.
        for k in 0..30 {
            net.publish(0, group, &format!("0 wrote {k}"));
            net.publish(1, group, &format!("1 wrote {k}"));
            net.run([0, 5, 1_000][k % 3]);
        }
        net.run(1_000);
        net.publish(0, group, "one more");
        net.run(1_000);
        let before = net.messages_sent();
        net.disconnect(link);
        net.connect_with(0, 1, profile, CLEAN);
        net.run(1_000);
        net.assert_converged(group, 81);
        assert_eq!(net.messages_sent(), before);
        for (n, other) in [(0, 1), (1, 0)] {
            let (at, value) = mark(&net, n, other);
            let log = net.log(other, group);
            let right =
                log.iter().take(usize::try_from(at).unwrap()).fold(0, |value, entry| chain(value, &entry.id));
            assert_eq!(value, right, "at {at}");
        }
    }
}

// spec: chain-reckoned
#[test]
fn chain_values_are_said_where_frames_are_lost_or_a_second_link_is_up() {
    for second in [false, true] {
        let mut net = Net::new(2, 2);
        let group = net.group("g", false);
        if second {
            net.connect(0, 1);
            net.connect(0, 1);
        } else {
            net.connect_lossy(0, 1, CLEAN);
        }
        net.run(1_000);
        net.tap = Some(Vec::new());
        net.publish(0, group, "x");
        net.run(1_000);
        assert_eq!(said(&net.tap.take().unwrap())[0], chain_of(&net, 0, group), "second link: {second}");
    }
}

fn offer(position: u64, id: MessageId) -> Frame {
    let items = vec![OfferItem { position: Some(position), id }];
    Frame { offers: vec![Offer { group: GroupRef::Number(1), items, chain: 0 }], ..Frame::default() }
}

// spec: chain-reckoned
#[test]
fn a_value_that_is_left_out_is_reckoned_only_where_it_follows() {
    let mut net = Net::new(1, 3);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    let known = |net: &Net| {
        let pair = net.engines[0].peers.values().next().unwrap().groups.values().next().unwrap();
        (pair.mark, pair.mark_chain)
    };
    let one = message(group, "one", &[]);
    liar.say(&mut net, &batch(1, vec![wire(&one, Some(1))])).unwrap();
    let mut value = chain(0, &one.id());
    assert_eq!(known(&net), (1, value));
    let ours = net.publish(0, group, "ours");
    liar.hear(&mut net);
    // It has what we sent it, at its second position.
    let at = net.log(0, group).iter().position(|entry| entry.id == ours).unwrap() as u64 + 1;
    let ack = |held: Span, known: Span| {
        let acks = vec![Ack {
            group: GroupRef::Number(1),
            held: vec![held],
            known: vec![known],
            ids: vec![],
            duplicates: 0,
            chain: 0,
            reset: 0,
        }];
        Frame { acks, ..Frame::default() }
    };
    for (held, known_there) in [
        (Span { first: 1, last: at }, Span::one(2)),
        (Span::one(at), Span { first: 2, last: 3 }),
        (Span::one(at + 1), Span::one(2)),
    ] {
        liar.say(&mut net, &ack(held, known_there)).unwrap();
        assert_eq!(known(&net), (1, value), "which message stands there is not said");
    }
    liar.say(&mut net, &ack(Span::one(at), Span::one(2))).unwrap();
    value = chain(value, &ours);
    assert_eq!(known(&net), (2, value));
    for position in [2, 1, 4, u64::MAX] {
        liar.say(&mut net, &offer(position, ours)).unwrap();
        assert_eq!(known(&net), (2, value), "offered at {position}");
    }
    liar.say(&mut net, &offer(3, one.id())).unwrap();
    assert_eq!(known(&net), (3, chain(value, &one.id())));
    assert_eq!(net.engines[0].audit(), Vec::<String>::new());
}

/// Nodes 1 and 2 got a message from node 0 at the same time and offer it to each other.
fn crossing(profile: &LinkProfile) -> (Net, GroupId, usize) {
    let mut net = Net::new(3, 4);
    let group = net.group("g", false);
    let slow = Faults { delay_ms: (40, 40), ..CLEAN };
    net.connect(0, 1);
    net.connect(0, 2);
    let between = net.connect_with(1, 2, profile.clone(), slow);
    net.run(1_000);
    net.tap = Some(Vec::new());
    net.publish(0, group, "for both");
    (net, group, between)
}

// spec: crossed-offers
#[test]
fn offers_that_cross_answer_each_other() {
    for (profile, acks) in [(LinkProfile::reliable(), 0), (LinkProfile::lossy(1_200), 2)] {
        let (mut net, group, between) = crossing(&profile);
        net.run(5_000);
        let tap = net.tap.take().unwrap();
        let on_it: Vec<&Frame> =
            tap.iter().filter(|sent| sent.wire == between).map(|sent| &sent.frame).collect();
        assert_eq!(on_it.iter().map(|frame| frame.offers.len()).sum::<usize>(), 2);
        let said = on_it.iter().flat_map(|frame| &frame.acks).filter(|ack| !ack.held.is_empty()).count();
        if profile.reliable {
            assert_eq!(said, acks);
        } else {
            assert!(said >= acks, "{said}");
        }
        assert_eq!(net.messages_sent(), 2);
        net.assert_converged(group, 1);
        assert!(net.engines.iter().all(|engine| engine.outstanding().iter().all(|one| one.is_settled())));
        for (n, other) in [(1, 2), (2, 1)] {
            let engine = &net.engines[n];
            let pair = engine.peers[&engine.peer_nums[&peer(other)]].groups.values().next().unwrap();
            assert!(pair.has.contains(1) && pair.got.contains(1), "node {n}");
            assert_eq!(mark(&net, n, other), (1, chain_of(&net, other, group)));
        }
        // The next contact needs nothing.
        net.disconnect(between);
        net.tap = Some(Vec::new());
        net.connect_with(1, 2, profile.clone(), CLEAN);
        net.run(5_000);
        let tap = net.tap.take().unwrap();
        assert!(tap.iter().all(|sent| sent.frame.offers.is_empty() && sent.frame.acks.is_empty()));
        net.assert_silent();
    }
}

#[test]
fn offers_that_cross_on_a_link_that_dies_cost_nothing_but_another_word() {
    // Offered 110 ms after it was written, and 40 ms on the way.
    for cut in 100..170 {
        let (mut net, group, between) = crossing(&LinkProfile::reliable());
        net.run(cut);
        net.disconnect(between);
        net.connect(1, 2);
        net.run(5_000);
        assert_eq!(net.messages_sent(), 2, "cut at {cut}");
        net.assert_converged(group, 1);
        assert!(net.engines.iter().all(|engine| engine.outstanding().iter().all(|one| one.is_settled())));
        assert_eq!(net.engines[1].audit(), Vec::<String>::new());
        net.assert_silent();
    }
}
