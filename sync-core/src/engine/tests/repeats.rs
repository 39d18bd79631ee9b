//! Who asks again is served again, twice at once; who asks without end is not served without end.

use hedgerow_proto::{
    Ack, Announce, Frame, GroupId, GroupRef, Hello, MessageId, Offer, PeerId, Request, Span, Visibility,
};

use super::faults::{LIAR, Liar, message};
use crate::store::{MESSAGE_WEIGHT, MemoryStore};
use crate::testing::by_hand::{announce, encode, greeting, hello, offers_in};
use crate::testing::{Faults, Net, open};
use crate::{Config, LinkProfile, Time};

const ALL: Span = Span { first: 1, last: u64::MAX };
const HOUR: u64 = 3_600_000;
/// How many messages there are.
const MANY: u64 = 100;

/// Without the least allowance, so that twice what is held is all.
fn strict() -> Config {
    Config { min_repeat_bytes: 0, ..Config::default() }
}

/// Node 0 with messages of 1,000 bytes of its own.
fn holder() -> (Net, GroupId, Vec<MessageId>) {
    let mut net = Net::with(1, 1, strict());
    let group = net.group("g", false);
    let ids = (0..MANY).map(|n| net.publish(0, group, &format!("{n:01000}"))).collect();
    (net, group, ids)
}

fn request(positions: Vec<Span>, ids: Vec<MessageId>) -> Request {
    Request { group: GroupRef::Number(1), positions, ids }
}

fn ack_all() -> Ack {
    let (group, held) = (GroupRef::Number(1), vec![ALL]);
    Ack { group, held, known: vec![], ids: vec![], duplicates: 0, chain: 0, reset: 0 }
}

fn bodies(frames: &[Frame]) -> u64 {
    frames.iter().flat_map(|frame| &frame.batches).map(|batch| batch.messages.len() as u64).sum()
}

fn says(frames: &[Frame], text: &str) -> bool {
    let mut messages = frames.iter().flat_map(|frame| &frame.batches).flat_map(|batch| &batch.messages);
    messages.any(|message| message.body == text)
}

/// What an attacker does again and again; it may take another link.
type Attack = fn(&mut Net, &mut Liar, GroupId, &[MessageId], u64);

fn acks_and_asks(net: &mut Net, liar: &mut Liar, _: GroupId, _: &[MessageId], _: u64) {
    let requests = vec![request(vec![ALL], vec![])];
    liar.say(net, &Frame { acks: vec![ack_all()], requests, ..Frame::default() }).unwrap();
}

fn asks_by_id(net: &mut Net, liar: &mut Liar, _: GroupId, ids: &[MessageId], _: u64) {
    let requests = vec![request(vec![], ids.to_vec())];
    liar.say(net, &Frame { acks: vec![ack_all()], requests, ..Frame::default() }).unwrap();
}

fn never_acks(net: &mut Net, liar: &mut Liar, _: GroupId, _: &[MessageId], _: u64) {
    liar.say(net, &Frame { requests: vec![request(vec![ALL], vec![])], ..Frame::default() }).unwrap();
}

fn states_that_it_holds_nothing(net: &mut Net, liar: &mut Liar, group: GroupId, _: &[MessageId], _: u64) {
    let announces = vec![announce(group, 1)];
    liar.say(net, &Frame { acks: vec![ack_all()], ..Frame::default() }).unwrap();
    liar.say(net, &Frame { announces, ..Frame::default() }).unwrap();
}

fn leaves_and_comes(net: &mut Net, liar: &mut Liar, group: GroupId, _: &[MessageId], n: u64) {
    let number = u32::try_from(n).unwrap() + 2;
    let announces = vec![announce(group, number)];
    liar.say(net, &Frame { announces, ..Frame::default() }).unwrap();
}

fn comes_with_a_new_store(net: &mut Net, liar: &mut Liar, group: GroupId, _: &[MessageId], n: u64) {
    net.engines[0].link_down(liar.link, net.now);
    liar.link = net.engines[0].link_up(PeerId::from_bytes(LIAR), LinkProfile::reliable(), net.now).unwrap();
    let hello = Some(Hello { ..hello(n + 2) });
    liar.say(net, &Frame { hello, ..greeting(&[group]) }).unwrap();
}

fn resets(net: &mut Net, liar: &mut Liar, group: GroupId, _: &[MessageId], _: u64) {
    let announces = vec![Announce { reset: 1, ..announce(group, 1) }];
    liar.say(net, &Frame { acks: vec![ack_all()], ..Frame::default() }).unwrap();
    liar.say(net, &Frame { announces, ..Frame::default() }).unwrap();
}

/// How many messages it is sent in each of some hours, asking every ten seconds.
fn sent_by_hour(attack: Attack, hours: u64) -> Vec<u64> {
    let (mut net, group, ids) = holder();
    let mut liar = Liar::new(&mut net, &[group]);
    let mut sent = Vec::new();
    for hour in 0..hours {
        let mut count = 0;
        for round in 0..360 {
            count += bodies(&liar.hear(&mut net));
            attack(&mut net, &mut liar, group, &ids, hour * 360 + round);
            count += bodies(&liar.hear(&mut net));
            net.run(10_000);
        }
        sent.push(count);
    }
    assert!(net.engines[0].audit().is_empty());
    sent
}

// spec: repeats-bounded
#[test]
fn who_asks_for_everything_again_and_again_gets_a_bounded_part() {
    let attacks: [(&str, Attack); 7] = [
        ("acknowledges and asks", acks_and_asks),
        ("asks by id", asks_by_id),
        ("never acknowledges", never_acks),
        ("holds nothing", states_that_it_holds_nothing),
        ("leaves and comes", leaves_and_comes),
        ("a new store", comes_with_a_new_store),
        ("resets", resets),
    ];
    for (name, attack) in attacks {
        let sent = sent_by_hour(attack, 12);
        println!("{name}: {sent:?}");
        // Once, twice again, and what an hour gives back.
        assert!(sent[0] >= 3 * MANY, "{name}: what it may have is not withheld: {sent:?}");
        assert!(sent[0] <= 3 * MANY + MANY / 3 + 2, "{name}: {sent:?}");
        for hour in &sent[1..] {
            assert!((MANY / 4..=MANY / 3 + 2).contains(hour), "{name}: {sent:?}");
        }
    }
}

/// The same on a carrier that loses frames: what was acknowledged there is not lost.
// spec: repeats-bounded
#[test]
fn who_asks_again_on_a_lossy_link_gets_a_bounded_part() {
    let (mut net, group, _) = holder();
    let liar = Liar::with(&mut net, &[group], LinkProfile::lossy(60_000));
    let (mut seen, mut number, mut count) = (crate::SpanSet::new(), 1, 0);
    for _ in 0..720 {
        let frames = liar.hear(&mut net);
        count += bodies(&frames);
        frames.iter().filter_map(|frame| frame.number).for_each(|number| {
            seen.insert(number);
        });
        let requests = vec![request(vec![ALL], vec![])];
        let frame = Frame {
            number: Some(number),
            frame_acks: seen.spans().collect(),
            acks: vec![ack_all()],
            requests,
            ..Frame::default()
        };
        // Its HELLO came without a number.
        let greeting = Frame { hello: None, number: Some(1), ..greeting(&[group]) };
        let frame = if number == 1 { greeting } else { frame };
        liar.say(&mut net, &frame).unwrap();
        number += 1;
        net.run(10_000);
    }
    assert!((3 * MANY..=3 * MANY + 2 * MANY / 3 + 2).contains(&count), "{count}");
}

/// It hears every frame but those with messages, so that these seem lost again and again.
// spec: repeats-bounded
#[test]
fn who_lets_all_messages_be_lost_gets_a_bounded_part() {
    let (mut net, group, _) = holder();
    let liar = Liar::with(&mut net, &[group], LinkProfile::lossy(60_000));
    let (mut seen, mut number, mut count) = (crate::SpanSet::new(), 1, vec![0]);
    for round in 1..=20_000 {
        let frames = liar.hear(&mut net);
        if round % 2_000 == 0 {
            count.push(0);
        }
        *count.last_mut().unwrap() += bodies(&frames);
        let heard = frames.iter().filter(|frame| frame.batches.is_empty()).filter_map(|frame| frame.number);
        heard.for_each(|number| {
            seen.insert(number);
        });
        let hello = if number == 1 { greeting(&[group]) } else { Frame::default() };
        let frame = Frame {
            number: Some(number),
            frame_acks: seen.spans().collect(),
            // What it hears has to be answered.
            ping: true,
            hello: None,
            ..hello
        };
        liar.say(&mut net, &frame).unwrap();
        number += 1;
        net.run(500);
    }
    assert!(count[0] >= 2 * MANY, "a bad link costs nothing: {count:?}");
    // In a quarter of an hour a twenty-fourth of the allowance comes back.
    assert!(count[5..].iter().all(|&sent| sent <= MANY / 12 + 8), "{count:?}");
    assert!(net.engines[0].audit().is_empty());
}

#[test]
fn what_waits_goes_out_when_the_allowance_comes_back_and_nothing_is_left_to_do() {
    let (mut net, group, _) = holder();
    let mut liar = Liar::new(&mut net, &[group]);
    for n in 0..5 {
        liar.hear(&mut net);
        acks_and_asks(&mut net, &mut liar, group, &[], n);
    }
    liar.hear(&mut net);
    let status = net.engines[0].status();
    assert!(status.peers[0].held_back >= 2, "{:?}", status.peers[0]);
    assert_eq!(net.engines[0].outstanding()[0].asked, status.peers[0].held_back);
    let traffic = net.engines[0].traffic();
    assert_eq!(traffic.held_back, 1);
    assert_eq!(traffic.repeats_out, traffic.messages_out - MANY);
    // It says nothing more; and gets what it asked for.
    let mut count = 0;
    for _ in 0..360 {
        net.run(60_000);
        count += bodies(&liar.hear(&mut net));
    }
    assert!(count >= 2, "{count}");
    let status = net.engines[0].status();
    assert_eq!(status.peers[0].held_back, 0);
    assert_eq!(net.engines[0].traffic().repeats_out, 2 * MANY + count);
    net.engines[0].link_down(liar.link, net.now);
    net.run(6 * HOUR);
    // But for the report that it lacks something.
    let week = Time(1_700_000_000_000) + 7 * 24 * HOUR;
    assert!(net.engines[0].poll_timeout().is_none_or(|at| at >= week), "{:?}", net.engines[0].poll_timeout());
}

#[test]
fn what_is_new_does_not_wait_for_what_is_sent_again() {
    let (mut net, group, _) = holder();
    let mut liar = Liar::new(&mut net, &[group]);
    for n in 0..6 {
        liar.hear(&mut net);
        states_that_it_holds_nothing(&mut net, &mut liar, group, &[], n);
    }
    liar.hear(&mut net);
    for n in 0..50 {
        let text = format!("new {n}");
        net.publish(0, group, &text);
        assert!(says(&liar.hear(&mut net), &text), "{n}");
    }
    // Also what it asks for the first time.
    let other = Liar::named(&mut net, PeerId::from_bytes([98; 32]), &[group]);
    other.hear(&mut net);
    for n in 0..5 {
        other.send_at(&mut net, n + 1, &message(group, &format!("of another {n}"), &[]));
        // It came unasked, so that it is offered a moment later.
        net.run(200);
        let offers: Vec<Offer> = liar.hear(&mut net).into_iter().flat_map(|frame| frame.offers).collect();
        let position = offers.iter().flat_map(|offer| &offer.items).filter_map(|item| item.position).max();
        let positions = vec![Span::one(position.unwrap())];
        liar.say(&mut net, &Frame { requests: vec![request(positions, vec![])], ..Frame::default() })
            .unwrap();
        assert!(says(&liar.hear(&mut net), &format!("of another {n}")), "{n}");
    }
}

/// What another peer's offers cost is small, and a request for all of what is gone is a small record too.
#[test]
fn offers_and_tombstones_are_not_repeated_without_end_either() {
    let mut net = Net::with(1, 1, Config { max_group_bytes: 263_168, ..strict() });
    let group = net.group("g", false);
    let other = Liar::named(&mut net, PeerId::from_bytes([98; 32]), &[group]);
    for n in 1..=600 {
        other.send_at(&mut net, n, &message(group, &format!("{n:01000}"), &[]));
        other.hear(&mut net);
    }
    let pruned = net.engines[0].status().groups[0].pruned;
    assert!(pruned > 300, "{pruned}");
    net.run(200);
    let mut liar = Liar::new(&mut net, &[group]);
    let (mut offers, mut tombstones) = (0, 0);
    for n in 0..2_000 {
        for frame in liar.hear(&mut net) {
            offers += offers_in(&frame) as u64;
            tombstones += frame.unavailables.iter().map(|gone| gone.tombstones.len() as u64).sum::<u64>();
        }
        states_that_it_holds_nothing(&mut net, &mut liar, group, &[], n);
        let positions = vec![Span { first: 1, last: pruned }];
        liar.say(&mut net, &Frame { requests: vec![request(positions, vec![])], ..Frame::default() })
            .unwrap();
    }
    // 64 bytes for each, of twice what the group counts for.
    let allowance = 2 * (263_168 + pruned * MESSAGE_WEIGHT);
    assert!(tombstones >= pruned && offers >= 200, "{tombstones} {offers}");
    assert!((offers + tombstones) * 64 <= allowance + 600 * 64, "{tombstones} {offers}");
    assert!(net.engines[0].audit().is_empty());
}

/// What waits here has no position, so that nobody notes who was sent it.
#[test]
fn what_is_not_delivered_is_not_sent_without_end() {
    let mut net = Net::with(1, 1, strict());
    let group = net.group("g", false);
    let other = Liar::named(&mut net, PeerId::from_bytes([98; 32]), &[group]);
    let waits = message(group, &"w".repeat(1_000), &[&message(group, "never comes", &[])]);
    other.send_at(&mut net, 2, &waits);
    let liar = Liar::new(&mut net, &[group]);
    liar.hear(&mut net);
    let mut count = 0;
    for _ in 0..360 {
        let requests = vec![request(vec![], vec![waits.id()])];
        liar.say(&mut net, &Frame { requests, ..Frame::default() }).unwrap();
        count += bodies(&liar.hear(&mut net));
        net.run(10_000);
    }
    assert!((2..=4).contains(&count), "{count}");
    assert_eq!(net.engines[0].status().peers.iter().map(|peer| peer.held_back).max(), Some(1));
}

/// Node 1 loses its store, whatever else is there.
fn lose_store(net: &mut Net, group: &str, seed: u64) {
    for wire in 0..net.wires.len() {
        net.disconnect(wire);
    }
    net.engines[1] = open(MemoryStore::new(), &net.config, 1, seed, net.now);
    net.delivered[1].clear();
    net.group(group, false);
}

// spec: repeats-bounded, hello-install
#[test]
fn who_lost_its_store_is_served_all_of_it_at_once_and_twice() {
    let mut net = Net::with(2, 1, strict());
    let group = net.group("g", false);
    for n in 0..300 {
        net.publish(0, group, &format!("{n:01000}"));
    }
    net.connect(0, 1);
    net.run(5_000);
    for seed in [7, 8] {
        lose_store(&mut net, "g", seed);
        net.connect(0, 1);
        net.run(1_000);
        net.assert_converged(group, 300);
    }
    let traffic = net.engines[0].traffic();
    assert_eq!((traffic.messages_out, traffic.repeats_out, traffic.held_back), (900, 600, 0));
    // Whoever loses it again and again has to wait, and not for ever: a half of the allowance is there in three hours.
    lose_store(&mut net, "g", 9);
    net.connect(0, 1);
    net.run(1_000);
    assert!(net.log(1, group).len() < 10);
    net.run(3 * HOUR + 10 * 60_000);
    net.assert_converged(group, 300);
    assert!(net.engines[0].traffic().held_back > 0);
    net.run(HOUR);
    net.assert_silent();
}

#[test]
fn who_lost_its_store_is_served_over_the_worst_links() {
    for seed in 1..=3 {
        let mut net = Net::new(2, seed);
        let group = net.group("g", false);
        for n in 0..60 {
            net.publish(0, group, &format!("{n:0200}"));
        }
        let faults = Faults { loss: 0.9, duplication: 0.1, delay_ms: (5, 60) };
        net.connect_lossy(0, 1, faults);
        net.run(HOUR);
        for again in [7, 8] {
            lose_store(&mut net, "g", again);
            net.connect_lossy(0, 1, faults);
            // What the link lost takes nothing.
            net.run(HOUR);
            net.assert_converged(group, 60);
        }
        assert_eq!(net.engines[0].traffic().held_back, 0, "{seed}");
    }
}

/// Links that end before an acknowledgement comes cost sends; and what gets through gives them back.
#[test]
fn links_that_end_all_the_time_do_not_keep_anything_back_for_long() {
    let mut net = Net::with(2, 1, strict());
    let group = net.group("g", false);
    for n in 0..200 {
        net.publish(0, group, &format!("{n:01000}"));
    }
    for _ in 0..50 {
        // It takes 20 ms until the first message has gone, and 20 more until that is known.
        let wire = net.connect(0, 1);
        net.run(21);
        net.disconnect(wire);
        assert!(net.engines[0].traffic().messages_out <= 3 * 200 + 1);
    }
    for _ in 0..20 {
        let wire = net.connect(0, 1);
        net.run(HOUR / 4);
        net.disconnect(wire);
    }
    net.connect(0, 1);
    net.run(HOUR);
    net.assert_converged(group, 200);
}

#[test]
fn a_shared_group_that_is_hidden_and_shown_again_fills_no_allowance() {
    let (mut net, group, _) = holder();
    let mut liar = Liar::new(&mut net, &[group]);
    for n in 0..5 {
        liar.hear(&mut net);
        acks_and_asks(&mut net, &mut liar, group, &[], n);
    }
    liar.hear(&mut net);
    let me = PeerId::from_bytes(LIAR);
    net.engines[0].set_visibility(me, group, Visibility::Invisible).unwrap();
    net.engines[0].set_visibility(me, group, Visibility::Shared).unwrap();
    let announces = vec![announce(group, 5)];
    net.engines[0].receive(liar.link, encode(&Frame { announces, ..Frame::default() }), net.now).unwrap();
    assert_eq!(bodies(&liar.hear(&mut net)), 0);
}
