//! Chain values that are left out: they are reckoned, and say of every log what those that are said do.

use hedgerow_proto::{
    Ack, Frame, GroupId, GroupRef, MessageId, Offer, OfferItem, PeerId, Request, ShortOffer, Span,
};

use super::faults::{Liar, message};
use crate::engine::chains::MAX_UNRECKONED;
use crate::engine::state::PeerGroup;
use crate::order::chain;
use crate::reconcile::Key;
use crate::testing::by_hand::{batch, offers_in, wire};
use crate::testing::{CLEAN, Faults, Net, Sent, peer};
use crate::{LinkProfile, PushPolicy};

const ONE: GroupRef = GroupRef::Number(1);

fn pair_of(net: &Net, n: usize, other: PeerId) -> &PeerGroup {
    let engine = &net.engines[n];
    engine.peers.get(&engine.peer_nums[&other]).unwrap().groups.values().next().unwrap()
}

/// The highest position of another one's log for which node `n` knows the chain value, and that value.
fn mark(net: &Net, n: usize, other: PeerId) -> (u64, u64) {
    let pair = pair_of(net, n, other);
    (pair.mark, pair.mark_chain)
}

/// The chain value of a node's log at a position.
fn chain_at(net: &Net, n: usize, group: GroupId, at: u64) -> u64 {
    let log = net.log(n, group);
    log.iter().take(usize::try_from(at).unwrap()).fold(0, |value, entry| chain(value, &entry.id))
}

/// Every chain value that a frame says of positions of its sender, 0 where one is left out.
fn said(tap: &[Sent]) -> Vec<u64> {
    let frames = || tap.iter().map(|sent| &sent.frame);
    let batches = frames().flat_map(|frame| &frame.batches).map(|batch| batch.chain);
    let offers = frames().flat_map(|frame| &frame.offers).map(|offer| offer.chain);
    let short = frames().flat_map(|frame| &frame.short_offers).map(|offer| offer.chain);
    let acks = frames().flat_map(|frame| &frame.acks).filter(|ack| !ack.known.is_empty());
    batches.chain(offers).chain(short).chain(acks.map(|ack| ack.chain)).collect()
}

fn assert_marks_are_right(net: &Net, group: GroupId) {
    let nodes = net.engines.len();
    for (n, other) in (0..nodes).flat_map(|n| (0..nodes).map(move |other| (n, other))) {
        if n != other && net.engines[n].peer_nums.contains_key(&peer(other)) {
            let (at, value) = mark(net, n, peer(other));
            assert_eq!(value, chain_at(net, other, group, at), "node {n} of node {other}, at {at}");
        }
    }
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
        let said = said(&net.tap.take().unwrap());
        assert!(said.len() >= 40 && said.iter().all(|&value| value == 0), "{said:?}");
        for (n, other) in [(0, 1), (1, 0)] {
            assert_eq!(mark(&net, n, peer(other)), (20, chain_at(&net, other, group, 20)));
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
        for (n, other) in [(0, 1), (1, 0)] {
            assert_eq!(mark(&net, n, peer(other)).0, 81);
        }
        assert_marks_are_right(&net, group);
        // So the next contact needs neither messages nor offers.
        let before = net.messages_sent();
        net.disconnect(link);
        net.tap = Some(Vec::new());
        net.connect_with(0, 1, profile, CLEAN);
        net.run(1_000);
        net.assert_converged(group, 81);
        assert_eq!(net.messages_sent(), before);
        assert!(net.tap.take().unwrap().iter().all(|sent| offers_in(&sent.frame) == 0));
    }
}

#[test]
fn a_value_is_said_now_and_then_should_one_have_got_lost() {
    let mut net = Net::new(2, 7);
    let group = net.group("g", false);
    net.connect(0, 1);
    net.run(1_000);
    net.tap = Some(Vec::new());
    for n in 0..70 {
        net.publish(0, group, &format!("message {n}"));
        net.run(100);
    }
    let values: Vec<u64> = said(&net.tap.take().unwrap()).into_iter().filter(|&value| value != 0).collect();
    // Both logs are the same, and each side says it once.
    assert_eq!(values, [chain_at(&net, 0, group, 64); 2]);
    assert_eq!(mark(&net, 0, peer(1)).0, 70);
}

// spec: chain-reckoned
#[test]
fn in_a_network_marks_follow_whoever_a_body_comes_from() {
    for seed in 0..20_usize {
        let mut net = Net::new(6, seed as u64);
        let group = net.group("g", false);
        let faults = Faults { delay_ms: (1, 90), ..CLEAN };
        let edges = [(0, 1), (0, 2), (1, 2), (1, 3), (2, 4), (3, 4), (3, 5), (4, 5), (0, 5)];
        let mut wires = Vec::new();
        for (a, b) in edges {
            wires.push(net.connect_with(a, b, LinkProfile::reliable(), faults));
        }
        net.run(1_000);
        for n in 0..12 {
            net.publish((n * 5 + seed) % 6, group, &format!("message {n}"));
            net.run([3_000, 40, 0][n % 3]);
        }
        net.run(60_000);
        assert_marks_are_right(&net, group);
        for &(a, b) in &edges {
            assert_eq!(
                (mark(&net, a, peer(b)).0, mark(&net, b, peer(a)).0),
                (12, 12),
                "seed {seed}: {a}, {b}"
            );
        }
        // All know of each other that they hold everything.
        wires.into_iter().for_each(|wire| net.disconnect(wire));
        net.tap = Some(Vec::new());
        for (a, b) in edges {
            net.connect(a, b);
        }
        net.run(10_000);
        assert!(net.tap.take().unwrap().iter().all(|sent| offers_in(&sent.frame) == 0), "seed {seed}");
        net.assert_converged(group, 12);
        net.assert_silent();
    }
}

// spec: chain-said
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
        let said = said(&net.tap.take().unwrap());
        assert!(said.len() > 1 && said.iter().all(|&value| value != 0), "second link: {second}, {said:?}");
        assert_marks_are_right(&net, group);
    }
}

// spec: chain-said
#[test]
fn what_was_said_on_a_link_that_ended_counts_for_nothing() {
    // A frame is 40 ms under way on the first link.
    for cut in 0..100 {
        let mut net = Net::new(2, 3);
        let group = net.group("g", false);
        let first = net.connect_with(0, 1, LinkProfile::reliable(), Faults { delay_ms: (40, 40), ..CLEAN });
        net.run(1_000);
        net.publish(0, group, "before");
        net.run(1_000);
        net.publish(0, group, "under way");
        net.run(cut);
        net.connect(0, 1);
        net.disconnect(first);
        net.run(20);
        net.publish(1, group, "on the second link");
        net.publish(0, group, "there too");
        net.run(5_000);
        net.assert_converged(group, 4);
        assert_marks_are_right(&net, group);
        assert_eq!((mark(&net, 0, peer(1)).0, mark(&net, 1, peer(0)).0), (4, 4), "cut at {cut}");
    }
}

// spec: chain-said
#[test]
fn after_unavailable_the_next_value_is_said() {
    let mut net = Net::new(1, 8);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    liar.hear(&mut net);
    let mut said = Vec::new();
    for n in 0..4 {
        if n == 2 {
            let requests = vec![Request { group: ONE, positions: vec![Span::one(9)], ids: vec![] }];
            liar.say(&mut net, &Frame { requests, ..Frame::default() }).unwrap();
            assert_eq!(liar.hear(&mut net)[0].unavailables.len(), 1);
        }
        net.publish(0, group, &format!("message {n}"));
        said.extend(liar.hear(&mut net).into_iter().flat_map(|frame| frame.batches).map(|batch| batch.chain));
    }
    assert_eq!(said, [0, 0, chain_at(&net, 0, group, 3), 0]);
}

// spec: chain-reset
#[test]
fn a_restored_backup_is_noticed_by_values_that_were_never_said() {
    for push in [PushPolicy::Always, PushPolicy::OfferFirst] {
        let mut net = Net::new(2, 4);
        let group = net.group("g", false);
        let profile = LinkProfile { push, ..LinkProfile::reliable() };
        let link = net.connect_with(0, 1, profile.clone(), CLEAN);
        net.run(1_000);
        net.tap = Some(Vec::new());
        for n in 0..3 {
            net.publish(0, group, &format!("kept {n}"));
            net.run(1_000);
        }
        let backup = net.engines[0].store().clone();
        let delivered = net.delivered[0].clone();
        for n in 0..3 {
            net.publish(0, group, &format!("lost here {n}"));
            net.run(1_000);
        }
        assert!(said(&net.tap.take().unwrap()).iter().all(|&value| value == 0));
        assert_eq!(mark(&net, 1, peer(0)).0, 6);
        net.disconnect(link);
        net.engines[0] = crate::testing::open(backup, &net.config, 0, 77, net.now);
        net.delivered[0] = delivered;
        // As many positions as the peer remembers, and other messages in them.
        for n in 0..3 {
            net.publish(0, group, &format!("written instead {n}"));
        }
        net.connect_with(0, 1, profile, CLEAN);
        net.run(60_000);
        net.assert_converged(group, 9);
        assert_marks_are_right(&net, group);
    }
}

fn offer(position: u64, id: MessageId) -> Frame {
    let items = vec![OfferItem { position: Some(position), id }];
    Frame { offers: vec![Offer { group: ONE, items, chain: 0 }], ..Frame::default() }
}

// spec: chain-reckoned
#[test]
fn a_value_that_is_left_out_is_reckoned_only_where_it_follows() {
    let mut net = Net::new(1, 3);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    let name = PeerId::from_bytes(super::faults::LIAR);
    let known = |net: &Net| mark(net, 0, name);
    let one = message(group, "one", &[]);
    liar.say(&mut net, &batch(1, vec![wire(&one, Some(1))])).unwrap();
    let mut value = chain(0, &one.id());
    assert_eq!(known(&net), (1, value));
    let ours = net.publish(0, group, "ours");
    liar.hear(&mut net);
    // It has what we sent it, at its second position.
    let at = net.log(0, group).iter().position(|entry| entry.id == ours).unwrap() as u64 + 1;
    let ack = |held: Span, known: Span| {
        let (held, known) = (vec![held], vec![known]);
        let ack = Ack { group: ONE, held, known, ids: vec![], duplicates: 0, chain: 0, reset: 0 };
        Frame { acks: vec![ack], ..Frame::default() }
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
    // What stood between is named: it goes on as far as it is known what stands there.
    liar.say(&mut net, &offer(3, one.id())).unwrap();
    value = chain(chain(value, &one.id()), &ours);
    assert_eq!(known(&net), (4, value));
    // A value that is said counts, and what stands below it no more.
    liar.say(&mut net, &offer(6, one.id())).unwrap();
    let mut said = offer(7, ours);
    said.offers[0].chain = 5;
    liar.say(&mut net, &said).unwrap();
    assert_eq!(known(&net), (7, 5));
    assert_eq!(net.engines[0].audit(), Vec::<String>::new());
}

fn short_offer(position: u64, short: u64) -> Frame {
    let offer = ShortOffer { group: ONE, items: vec![(position, short)], chain: 0 };
    Frame { short_offers: vec![offer], ..Frame::default() }
}

/// Two peers, and the key by which node 0 understands their short ids.
fn two_liars(net: &mut Net, group: GroupId) -> ([Liar; 2], [PeerId; 2], Key) {
    let names = [70, 71].map(|name| PeerId::from_bytes([name; 32]));
    let liars = names.map(|name| Liar::named(net, name, &[group]));
    let hello = liars[0].hear(net).into_iter().find_map(|frame| frame.hello).unwrap();
    (liars, names, Key::of_offers(hello.install, &group))
}

// spec: chain-reckoned
#[test]
fn what_was_offered_by_a_short_id_is_reckoned_when_its_id_is_known() {
    let mut net = Net::new(1, 5);
    let group = net.group("g", false);
    let ([ann, bob], [ann_is, bob_is], key) = two_liars(&mut net, group);
    let [one, two] = ["one", "two"].map(|text| message(group, text, &[]));
    // Both offer both, the one the other way round; all comes from the first.
    for (position, of_ann, of_bob) in [(1, &one, &two), (2, &two, &one)] {
        ann.say(&mut net, &short_offer(position, key.short_id(&of_ann.id(), 8))).unwrap();
        bob.say(&mut net, &short_offer(position, key.short_id(&of_bob.id(), 8))).unwrap();
    }
    assert_eq!((mark(&net, 0, ann_is).0, mark(&net, 0, bob_is).0), (0, 0));
    ann.send_at(&mut net, 1, &one);
    assert_eq!(mark(&net, 0, ann_is), (1, chain(0, &one.id())));
    assert_eq!(mark(&net, 0, bob_is).0, 0, "what stands at its first position is not known yet");
    ann.send_at(&mut net, 2, &two);
    assert_eq!(mark(&net, 0, ann_is), (2, chain(chain(0, &one.id()), &two.id())));
    assert_eq!(mark(&net, 0, bob_is), (2, chain(chain(0, &two.id()), &one.id())));
    // What is held already is known at once.
    bob.say(&mut net, &short_offer(3, key.short_id(&one.id(), 8))).unwrap();
    assert_eq!(mark(&net, 0, bob_is).0, 3);
    assert_eq!(net.engines[0].audit(), Vec::<String>::new());
}

#[test]
fn a_peer_that_leaves_out_values_of_anything_takes_bounded_memory() {
    let mut net = Net::new(1, 6);
    let group = net.group("g", false);
    let ([ann, _], [ann_is, _], _) = two_liars(&mut net, group);
    let known = net.publish(0, group, "known");
    for position in 2..2_000 {
        ann.say(&mut net, &offer(position, known)).unwrap();
    }
    assert_eq!(pair_of(&net, 0, ann_is).session.unreckoned.len(), MAX_UNRECKONED);
    let mut said = offer(3_000, known);
    said.offers[0].chain = 9;
    ann.say(&mut net, &said).unwrap();
    assert_eq!(mark(&net, 0, ann_is), (3_000, 9));
    assert_eq!(pair_of(&net, 0, ann_is).session.unreckoned.len(), 0);
}
