//! What is said on the wire: rules that end a link, floods of small records, claims of 2^63 positions, replays,
//! probes and requests.

use bytes::Bytes;
use hedgerow_proto::{Announce, Frame, GroupRef, Hello, Message, Request, Span, Unavailable, Visibility};
use hedgerow_sync_core::store::check;
use hedgerow_sync_core::testing::{Net, descriptor, peer};
use hedgerow_sync_core::{LinkProfile, ReceiveError, Rule};
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use crate::support::{
    Hand, ack, announce, batch, encode, hello, message, no_id, offer, request, unavailable,
};

/// Everything that there can be, in two pairs of numbers on the wire.
const HUGE: Span = Span { first: 1, last: u64::MAX };

fn violation(result: Result<(), ReceiveError>) -> Rule {
    match result {
        Err(ReceiveError::Violation(violation)) => violation.rule,
        other => panic!("no violation: {other:?}"),
    }
}

/// The rule that these bytes on a fresh link of a known peer break; the link is down then, and an honest link works.
fn broken_rule(frames: &[Bytes]) -> Rule {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    net.connect(0, 1);
    net.run(1_000);
    let id = hedgerow_proto::PeerId::from_bytes([99; 32]);
    net.engines[0].set_visibility(id, group, Visibility::Shared).unwrap();
    let link = net.engines[0].link_up(id, LinkProfile::reliable(), net.now).unwrap();
    let mut rule = None;
    for frame in frames {
        assert_eq!(rule, None);
        let taken = net.engines[0].receive(link, frame.clone(), net.now);
        rule = taken.is_err().then(|| violation(taken));
    }
    assert_eq!(net.engines[0].status().links.len(), 1);
    // What comes after is ignored.
    net.engines[0].receive(link, frames[0].clone(), net.now).unwrap();
    net.publish(1, group, "honest");
    net.run(1_000);
    net.assert_converged(group, 1);
    rule.unwrap()
}

#[test]
fn an_oversized_frame_ends_its_link_alone() {
    let hello = encode(&Frame { hello: Some(hello(1)), ..Frame::default() });
    let rule = broken_rule(&[hello, Bytes::from(vec![0; 65_537])]);
    assert_eq!(rule, Rule::OversizedFrame { found: 65_537, limit: 65_536 });
}

#[test]
fn records_before_hello_end_their_link_alone() {
    let frame = batch(1, &[]);
    assert_eq!(broken_rule(&[encode(&frame)]), Rule::NoHello);
}

#[test]
fn another_major_version_ends_its_link_alone() {
    let hello = Hello { major: 2, ..hello(1) };
    let frame = encode(&Frame { hello: Some(hello), ..Frame::default() });
    assert_eq!(broken_rule(&[frame]), Rule::Version { found: 2, ours: 1 });
}

#[test]
fn a_second_hello_that_differs_ends_its_link_alone() {
    let one = encode(&Frame { hello: Some(hello(1)), ..Frame::default() });
    let two = encode(&Frame { hello: Some(hello(2)), ..Frame::default() });
    assert_eq!(broken_rule(&[one.clone(), one, two]), Rule::SecondHello);
}

#[test]
fn announcing_too_many_groups_ends_its_link_alone() {
    let hello = Frame { hello: Some(hello(1)), ..Frame::default() };
    let mut frames = vec![encode(&hello)];
    for from in (1..=16_385_u32).step_by(1_024) {
        let announces = (from..from + 1_024).map(|number| {
            let mut tag = [0xaa; 8];
            tag[..4].copy_from_slice(&number.to_le_bytes());
            Announce { number, tag, ..announce(descriptor("g").id(), 0) }
        });
        frames.push(encode(&Frame { announces: announces.collect(), ..Frame::default() }));
    }
    assert_eq!(frames.len(), 18, "16,384 are taken, one more is not");
    assert_eq!(broken_rule(&frames), Rule::TooManyAnnounces(16_384));
}

#[test]
fn garbage_ends_its_link_and_harms_nobody_else() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    net.connect(0, 1);
    let mut rng = ChaCha12Rng::seed_from_u64(7);
    let good = encode(&batch(1, &[message(group, "good", 0, &[no_id(1)]), message(group, "good", 1, &[])]));
    for round in 0..3_000_u64 {
        let hand = Hand::new(&mut net, 99, &[group]);
        let bytes = if round % 2 == 0 {
            let mut bytes = vec![0; rng.random_range(1..400)];
            rng.fill_bytes(&mut bytes);
            bytes
        } else {
            // A good frame with a few bytes changed.
            let mut bytes = good.to_vec();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                bytes[at] = rng.random();
            }
            bytes
        };
        match net.engines[0].receive(hand.link, bytes.into(), net.now) {
            Ok(()) => net.engines[0].link_down(hand.link, net.now),
            Err(error) => drop(violation(Err(error))),
        }
        net.drain(0);
    }
    net.publish(1, group, "honest");
    net.run(1_000);
    assert!(net.log(1, group).iter().any(|entry| entry.body == Some("honest".into())));
    assert_eq!(net.log(0, group).len(), net.log(1, group).len());
    assert!(check(net.engines[0].store()).unwrap().is_clean());
}

/// Claims of 2^64 positions cost what their bytes cost: were any of them counted out, this would not end.
#[test]
fn a_claim_of_every_position_costs_no_more_than_its_bytes() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    for n in 0..100 {
        net.publish(0, group, &format!("message {n}"));
    }
    let hand = Hand::new(&mut net, 99, &[group]);
    hand.hear(&mut net);
    let wide = Announce { held: vec![HUGE], mark: u64::MAX, ..announce(group, 1) };
    let late = Span { first: 1 << 40, last: u64::MAX };
    for frame in [
        ack(&[HUGE], &[HUGE], &[]),
        request(&[HUGE], &[]),
        request(&[late], &[]),
        unavailable(&[HUGE], &[]),
        Frame { announces: vec![wide], ..Frame::default() },
        offer(u64::MAX, [no_id(1)]),
        batch(u64::MAX - 1, &[message(group, "far", 1, &[])]),
        ack(&[late], &[late], &[]),
        unavailable(&[late], &[]),
    ] {
        for _ in 0..1_000 {
            hand.say(&mut net, &frame);
        }
        // All that is asked for is sent, once, and what is not there is answered with a span.
        let answers = hand.hear(&mut net);
        let messages: usize = answers.iter().flat_map(|f| &f.batches).map(|b| b.messages.len()).sum();
        assert!(messages <= 100, "{messages} messages");
        let spans: usize = answers.iter().flat_map(|f| &f.unavailables).map(|u| u.positions.len()).sum();
        assert!(spans <= 2, "{spans} spans");
    }
    // It may be in the dark about itself; nobody else is.
    net.engines[0].link_down(hand.link, net.now);
    net.connect(0, 1);
    net.run(5_000);
    assert_eq!(net.log(1, group).len(), 101);
    net.restart(0, 3);
    assert!(check(net.engines[0].store()).unwrap().is_clean());
}

/// The same record again and again, as many as fit into frames of 64 KiB.
#[test]
fn floods_of_small_records_are_taken_and_change_nothing() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    net.connect(0, 1);
    for n in 0..500 {
        net.publish(0, group, &format!("message {n}"));
    }
    net.run(5_000);
    let hand = Hand::new(&mut net, 99, &[group]);
    hand.hear(&mut net);
    hand.say(&mut net, &offer(1, (0..512).map(no_id)));
    let none = Unavailable { group: GroupRef::Number(1), positions: vec![], ids: vec![], tombstones: vec![] };
    let offered = Unavailable { positions: vec![Span::one(7)], ..none.clone() };
    let same = announce(group, 1);
    let floods = [
        Frame { unavailables: vec![none; 10_000], ..Frame::default() },
        Frame { unavailables: vec![offered; 8_000], ..Frame::default() },
        Frame { announces: vec![same; 3_000], ..Frame::default() },
        Frame { acks: vec![ack(&[], &[], &[]).acks.remove(0); 4_000], ..Frame::default() },
        Frame { offers: vec![offer(1, []).offers.remove(0); 10_000], ..Frame::default() },
        Frame { requests: vec![request(&[], &[]).requests.remove(0); 10_000], ..Frame::default() },
        Frame { batches: vec![batch(0, &[]).batches.remove(0); 10_000], ..Frame::default() },
        Frame { hello: Some(hello(99)), ..Frame::default() },
    ];
    for frame in floods {
        assert!(encode(&frame).len() <= 65_536, "{} bytes", encode(&frame).len());
        for _ in 0..20 {
            hand.say(&mut net, &frame);
        }
    }
    hand.hear(&mut net);
    net.publish(1, group, "honest");
    net.run(20_000);
    assert_eq!(net.log(0, group).len(), 501);
    assert_eq!(net.log(1, group).len(), 501);
    assert!(check(net.engines[0].store()).unwrap().is_clean());
}

/// Frames of an earlier session, byte for byte, on a new link of the same peer.
#[test]
fn replayed_frames_of_another_session_bring_nothing_back() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    net.publish(0, group, "before");
    let hand = Hand::new(&mut net, 99, &[group]);
    hand.hear(&mut net);
    let kept = message(group, "theirs", 1, &[]);
    let recorded = [
        encode(&batch(1, std::slice::from_ref(&kept))),
        encode(&ack(&[Span::one(1)], &[], &[])),
        encode(&offer(2, [no_id(1)])),
        encode(&request(&[Span::one(1)], &[kept.id()])),
    ];
    for bytes in &recorded {
        net.engines[0].receive(hand.link, bytes.clone(), net.now).unwrap();
    }
    hand.hear(&mut net);
    net.engines[0].link_down(hand.link, net.now);
    let delivered = net.log(0, group).len();
    // Without the HELLO of the new session they end the link; tags of the old one name no group.
    let link = net.engines[0].link_up(hand.id, LinkProfile::reliable(), net.now).unwrap();
    assert_eq!(violation(net.engines[0].receive(link, recorded[0].clone(), net.now)), Rule::NoHello);
    let link = net.engines[0].link_up(hand.id, LinkProfile::reliable(), net.now).unwrap();
    let fresh = Hello { nonce: [4; 16], ..hello(99) };
    let opening = Frame { hello: Some(fresh), announces: vec![announce(group, 1)], ..Frame::default() };
    net.engines[0].receive(link, encode(&opening), net.now).unwrap();
    for bytes in recorded.iter().cycle().take(4_000) {
        net.engines[0].receive(link, bytes.clone(), net.now).unwrap();
    }
    net.drain(0);
    assert_eq!(net.log(0, group).len(), delivered);
    let status = net.engines[0].status();
    assert_eq!(status.links[0].traffic.refused, 4_000);
    // A replay within its own session changes nothing either.
    let hand = Hand::new(&mut net, 98, &[group]);
    for bytes in recorded.iter().cycle().take(4_000) {
        net.engines[0].receive(hand.link, bytes.clone(), net.now).unwrap();
    }
    net.drain(0);
    assert_eq!(net.log(0, group).len(), delivered);
    assert!(check(net.engines[0].store()).unwrap().is_clean());
}

#[test]
fn timestamps_at_both_ends_are_refused_or_held_back() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let hand = Hand::new(&mut net, 99, &[group]);
    let mut frame = batch(1, &[message(group, "n", 1, &[]), message(group, "n", 2, &[])]);
    for (n, timestamp_ms) in [i64::MIN, -1].into_iter().enumerate() {
        frame.batches[0].messages[n].timestamp_ms = timestamp_ms;
    }
    // The codec has no form for the two ends in one batch: their difference has 65 bits.
    for wire in frame.batches[0].messages.clone() {
        let mut frame = frame.clone();
        frame.batches[0].messages = vec![wire];
        hand.say(&mut net, &frame);
    }
    assert_eq!(hand.traffic(&net).refused, 2);
    let last = Message::new(group, i64::MAX, vec![], "the end of time".into()).unwrap();
    let child = message(group, "child", 1, &[last.id()]);
    let first = Message::new(group, 0, vec![], "the beginning".into()).unwrap();
    hand.send(&mut net, 3, &[last, child, first]);
    assert_eq!(net.bodies(0, group), ["the beginning"]);
    net.run(1_000 * 365 * 24 * 3_600_000);
    assert_eq!(net.bodies(0, group), ["the beginning"]);
    net.restart(0, 2);
    let status = net.engines[0].status().groups[0];
    assert_eq!((status.early, status.waiting), (1, 1));
    net.publish(0, group, "and so on");
    assert!(check(net.engines[0].store()).unwrap().is_clean());
}

/// What node 0 says, in bytes, to a peer that asks for these things in a group that it names by this tag.
fn answers_to_probe(setup: impl Fn(&mut Net), probe: &[Frame], tagged: &str) -> Vec<Bytes> {
    let mut net = Net::new(1, 1);
    net.group("open", false);
    setup(&mut net);
    let id = hedgerow_proto::PeerId::from_bytes([99; 32]);
    net.engines[0].set_visibility(id, descriptor("open").id(), Visibility::Shared).unwrap();
    let link = net.engines[0].link_up(id, LinkProfile::reliable(), net.now).unwrap();
    let hello = Some(hello(99));
    let announces = vec![announce(descriptor(tagged).id(), 1)];
    let opening = Frame { hello, announces, ..Frame::default() };
    let mut heard = Vec::new();
    for frame in std::iter::once(&opening).chain(probe) {
        net.engines[0].receive(link, encode(frame), net.now).unwrap();
        while let Some(bytes) = net.engines[0].poll_transmit(link, net.now, usize::MAX).unwrap() {
            heard.push(bytes);
        }
    }
    heard
}

/// A peer that knows a group's id but does not share it cannot tell whether we are in it, nor what we hold of it.
#[test]
fn a_probe_cannot_tell_what_is_not_shared_from_what_is_not_there() {
    let secret = descriptor("secret").id();
    let held = message(secret, "held", 1, &[]);
    let probes = vec![
        request(&[Span { first: 1, last: 9 }], &[held.id(), no_id(1)]),
        offer(1, [held.id(), no_id(2)]),
        ack(&[Span::one(1)], &[], &[held.id()]),
        batch(1, &[held.clone(), message(secret, "child", 1, &[held.id()])]),
        unavailable(&[HUGE], &[held.id()]),
    ];
    let with_secret = |net: &mut Net| {
        net.engines[0].add_group(&descriptor("secret"), false).unwrap();
        let draft = hedgerow_sync_core::Draft { timestamp_ms: 5, deps: vec![], body: "held 1".into() };
        assert_eq!(net.engines[0].publish(secret, draft, net.now).unwrap(), held.id());
        // Another one is in it; the one that asks is not.
        net.engines[0].set_visibility(peer(7), secret, Visibility::Shared).unwrap();
    };
    let absent = answers_to_probe(|_| {}, &probes, "secret");
    let hidden = answers_to_probe(with_secret, &probes, "secret");
    // The HELLO and one ANNOUNCE, of the group that is shared: nothing else in either case, byte for byte.
    assert_eq!(absent, hidden);
    assert_eq!(absent.len(), 1);
}

/// In a group that is shared, a message of another group is as unknown as one that does not exist, and so is one that
/// is only named by others. All are answered alike, once each.
#[test]
fn a_probe_by_id_cannot_tell_other_groups_messages_from_unknown_ones() {
    let secret = descriptor("secret").id();
    let held = message(secret, "held", 1, &[]);
    let probe = |id| vec![request(&[], &[id]), request(&[Span::one(77)], &[])];
    let with_secret = |net: &mut Net| {
        net.engines[0].add_group(&descriptor("secret"), false).unwrap();
        let draft = hedgerow_sync_core::Draft { timestamp_ms: 5, deps: vec![], body: "held 1".into() };
        net.engines[0].publish(secret, draft, net.now).unwrap();
    };
    let unknown = answers_to_probe(|_| {}, &probe(held.id()), "open");
    let hidden = answers_to_probe(with_secret, &probe(held.id()), "open");
    assert_eq!(unknown, hidden);
    assert_eq!(unknown.len(), 3);
}

/// A million requests for one large message, more than a thousand to a frame.
#[test]
fn a_million_requests_get_one_answer() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let id = net.publish(0, group, &"x".repeat(32_000));
    let hand = Hand::new(&mut net, 99, &[group]);
    hand.hear(&mut net);
    let one = Request { group: GroupRef::Number(1), positions: vec![Span::one(1)], ids: vec![] };
    let by_id = Request { group: GroupRef::Number(1), positions: vec![], ids: vec![id] };
    let frame = Frame { requests: [vec![one; 4_000], vec![by_id; 700]].concat(), ..Frame::default() };
    let bytes = encode(&frame);
    assert!(bytes.len() <= 65_536, "{}", bytes.len());
    let before = hand.traffic(&net);
    let mut asked = 0;
    while asked < 1_000_000 {
        net.engines[0].receive(hand.link, bytes.clone(), net.now).unwrap();
        asked += frame.requests.len();
    }
    let answers = hand.hear(&mut net);
    let messages: usize = answers.iter().flat_map(|f| &f.batches).map(|b| b.messages.len()).sum();
    assert_eq!(messages, 1);
    let after = hand.traffic(&net);
    let (sent, taken) = (after.bytes_out - before.bytes_out, after.bytes_in - before.bytes_in);
    assert!(sent < 33_000 && taken > 100 * sent, "{sent} bytes for {taken}");
    // What is not there gets as many answers as were asked for, up to a bound.
    let unknown = request(&[], &(0..1_500).map(no_id).collect::<Vec<_>>());
    for _ in 0..700 {
        hand.say(&mut net, &unknown);
    }
    let answers = hand.hear(&mut net);
    let ids: usize = answers.iter().flat_map(|f| &f.unavailables).map(|u| u.ids.len()).sum();
    assert!(ids <= 4_096, "{ids} answers");
}
