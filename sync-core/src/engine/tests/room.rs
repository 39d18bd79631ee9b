//! Small limits: what finds no room comes later, and nothing grows that a peer can make grow.

use hedgerow_proto::{
    Announce, Frame, GroupRef, Message, Offer, OfferItem, PeerId, Request, Span, Unavailable, Visibility,
};

use super::faults::{LIAR, Liar, message};
use crate::testing::by_hand::{batch, wire};
use crate::testing::{CLEAN, Net};
use crate::{Config, LinkProfile, PushPolicy, ReceiveError, Rule};

#[test]
fn any_limit_of_requests_is_used_again_and_again() {
    for max_requests in 1..8 {
        let config = Config { max_requests, ..Config::default() };
        let mut net = Net::with(2, 1, config);
        let group = net.group("g", false);
        for n in 0..100 {
            net.publish(0, group, &format!("message {n}"));
        }
        let profile = LinkProfile { push: PushPolicy::OfferFirst, ..LinkProfile::reliable() };
        net.connect_with(0, 1, profile, CLEAN);
        // A round trip of 20 ms for each request, and no timer.
        net.run(5_000);
        net.assert_converged(group, 100);
    }
}

// spec: waiting-bounded
#[test]
fn what_found_no_room_and_is_gone_now_is_not_asked_for_without_end() {
    let config = Config { max_parked_messages: 2, ..Config::default() };
    let mut net = Net::with(1, 1, config);
    let group = net.group("g", false);
    let [first, second] = ["first", "second"].map(|text| message(group, text, &[]));
    let parent = message(group, "parent", &[&first]);
    let liar = Liar::new(&mut net, &[group]);
    liar.send_at(&mut net, 7, &message(group, "child", &[&parent]));
    liar.send_at(&mut net, 8, &message(group, "other", &[&second]));
    // What the child waits for is offered, and comes, and must wait itself: there is no room for it.
    let items = vec![OfferItem { position: Some(6), id: parent.id() }];
    let offers = vec![Offer { group: GroupRef::Number(1), items, chain: 0 }];
    liar.say(&mut net, &Frame { offers, ..Frame::default() }).unwrap();
    liar.hear(&mut net);
    liar.send_at(&mut net, 6, &parent);
    assert_eq!(net.engines[0].status().groups[0].waiting, 2);
    // Then it is pruned over there.
    let mut asked = 0;
    for _ in 0..360 {
        net.run(10_000);
        for request in liar.hear(&mut net).into_iter().flat_map(|frame| frame.requests) {
            asked += 1;
            let Request { positions, ids, .. } = request;
            let gone = Unavailable { group: GroupRef::Number(1), positions, ids, tombstones: vec![] };
            liar.say(&mut net, &Frame { unavailables: vec![gone], ..Frame::default() }).unwrap();
        }
    }
    assert!((1..20).contains(&asked), "{asked} requests");
}

#[test]
fn what_was_turned_away_is_called_back_and_nothing_is_forgotten() {
    let config = Config { max_parked_messages: 10, max_offers: 8, max_requests: 8, ..Config::default() };
    let mut net = Net::with(1, 1, config);
    let group = net.group("g", false);
    let root = message(group, "root", &[]);
    let children: Vec<Message> = (0..200).map(|n| message(group, &format!("child {n}"), &[&root])).collect();
    let liar = Liar::new(&mut net, &[group]);
    for (child, position) in children.iter().zip(2..) {
        liar.send_at(&mut net, position, child);
    }
    assert_eq!(net.engines[0].status().groups[0].waiting, 10);
    liar.send_at(&mut net, 1, &root);
    loop {
        let asked: Vec<Span> =
            liar.hear(&mut net).into_iter().flat_map(|f| f.requests).flat_map(|r| r.positions).collect();
        assert!(asked.iter().map(|span| span.count()).sum::<u64>() <= 8);
        if asked.is_empty() {
            break;
        }
        for position in asked.into_iter().flat_map(|span| span.first..=span.last) {
            let child = &children[usize::try_from(position - 2).unwrap()];
            liar.send_at(&mut net, position, child);
        }
    }
    assert_eq!(net.bodies(0, group).len(), 201);
}

#[test]
fn no_more_is_called_back_than_finds_room_to_wait_for_its_verdict() {
    for max_unvalidated in [1, 2, 7] {
        let mut net = Net::with(2, 1, Config { max_unvalidated, ..Config::default() });
        net.verdict_delay_ms = (20, 200);
        let group = net.group("g", true);
        for n in 0..150 {
            net.publish(0, group, &format!("message {n}"));
        }
        net.connect(0, 1);
        net.run(600_000);
        net.assert_converged(group, 150);
        // All of it is pushed once, and what was turned away is sent once more, but for some that cross.
        let sent = net.messages_sent();
        assert!(sent <= 330, "{sent} sent, room for {max_unvalidated}");
    }
}

#[test]
fn what_another_group_left_no_room_for_is_called_back_when_it_has_made_some() {
    // An eighth may be taken by what waits for others.
    let mut net = Net::with(1, 1, Config { max_store_bytes: 400_000, ..Config::default() });
    let (first, second) = (net.group("g", false), net.group("h", false));
    let liar = Liar::new(&mut net, &[first, second]);
    let parent = message(first, "parent", &[]);
    for (position, x) in [(2, "x"), (3, "y")] {
        liar.send_at(&mut net, position, &message(first, &x.repeat(22_000), &[&parent]));
    }
    // It has to wait for its time.
    let at = net.now.as_timestamp_ms() + 48 * 3_600_000;
    let early = Message::new(second, at, vec![], "z".repeat(8_000).into()).unwrap();
    let send = |net: &mut Net| liar.say(net, &batch(2, vec![wire(&early, Some(1))])).unwrap();
    let asked = |net: &mut Net| -> Vec<(GroupRef, Vec<Span>)> {
        let requests = liar.hear(net).into_iter().flat_map(|frame| frame.requests);
        requests.filter(|r| !r.positions.is_empty()).map(|r| (r.group, r.positions)).collect()
    };
    let again = [(GroupRef::Number(2), vec![Span::one(1)])];
    send(&mut net);
    // It is tried once more, in vain.
    assert_eq!(asked(&mut net), again);
    send(&mut net);
    assert_eq!(asked(&mut net), []);
    liar.send_at(&mut net, 1, &parent);
    assert_eq!(asked(&mut net), again);
    send(&mut net);
    assert_eq!(net.engines[0].status().groups.iter().map(|group| group.early).sum::<u64>(), 1);
}

// spec: waiting-lowest
#[test]
fn without_room_only_what_may_make_room_is_called_back() {
    let config = Config { max_parked_messages: 5, ..Config::default() };
    let mut net = Net::with(1, 1, config);
    let group = net.group("g", false);
    let root = message(group, "root", &[]);
    let liar = Liar::new(&mut net, &[group]);
    for n in 0..50 {
        liar.send_at(&mut net, n + 2, &message(group, &format!("child {n}"), &[&root]));
    }
    // The lowest is kept beyond the bound, the next is tried once, in vain; nothing is asked for in circles.
    let mut asked = Vec::new();
    for _ in 0..20 {
        let requests = liar.hear(&mut net).into_iter().flat_map(|frame| frame.requests);
        let positions: Vec<Span> = requests.flat_map(|request| request.positions).collect();
        for span in &positions {
            let child = message(group, &format!("child {}", span.first - 2), &[&root]);
            liar.send_at(&mut net, span.first, &child);
        }
        asked.extend(positions);
    }
    assert_eq!(asked, [Span::one(7), Span::one(8)]);
}

#[test]
fn a_stale_refusal_does_not_end_a_newer_offer() {
    let config = Config { max_requests: 1, ..Config::default() };
    let mut net = Net::with(1, 1, config);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    let messages: Vec<Message> = (0..2).map(|n| message(group, &format!("message {n}"), &[])).collect();
    let items = messages.iter().zip(1..).map(|(m, at)| OfferItem { position: Some(at), id: m.id() });
    let offer = Offer { group: GroupRef::Number(1), items: items.collect(), chain: 0 };
    liar.say(&mut net, &Frame { offers: vec![offer], ..Frame::default() }).unwrap();
    // Said before the offer, and late.
    let late = Unavailable {
        group: GroupRef::Number(1),
        positions: vec![Span { first: 1, last: 2 }],
        ids: vec![],
        tombstones: vec![],
    };
    liar.say(&mut net, &Frame { unavailables: vec![late], ..Frame::default() }).unwrap();
    for _ in 0..2 {
        let requests = liar.hear(&mut net).into_iter().flat_map(|frame| frame.requests);
        let asked: Vec<Span> = requests.flat_map(|request| request.positions).collect();
        let at = asked[0].first;
        liar.send_at(&mut net, at, &messages[usize::try_from(at - 1).unwrap()]);
    }
    assert_eq!(net.bodies(0, group).len(), 2);
}

// spec: ends-link
#[test]
fn announcements_are_bounded_under_one_number_too() {
    let config = Config { max_announces: 100, ..Config::default() };
    let mut net = Net::with(1, 1, config);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    let announce = |n: u8| Announce {
        number: 2,
        tag: [n; 8],
        visibility: Visibility::Shared,
        held: vec![],
        mark: 0,
        mark_chain: 0,
        reset: 0,
        summary: None,
    };
    let frame = Frame { announces: (0..200).map(announce).collect(), ..Frame::default() };
    let Err(ReceiveError::Violation(violation)) = liar.say(&mut net, &frame) else { panic!("taken") };
    assert_eq!((violation.peer, violation.rule), (PeerId::from_bytes(LIAR), Rule::TooManyAnnounces(100)));
}

#[test]
fn what_is_no_longer_shared_is_not_sent_to_who_asked_before() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    net.publish(0, group, "secret");
    let liar = Liar::new(&mut net, &[group]);
    liar.hear(&mut net);
    let request = Request { group: GroupRef::Number(1), positions: vec![Span::one(1)], ids: vec![] };
    liar.say(&mut net, &Frame { requests: vec![request], ..Frame::default() }).unwrap();
    net.engines[0].set_visibility(PeerId::from_bytes(LIAR), group, Visibility::Visible).unwrap();
    let frames = liar.hear(&mut net);
    assert!(frames.iter().all(|frame| frame.batches.is_empty()));
    assert!(frames.iter().any(|frame| frame.unavailables.iter().any(|u| u.positions == [Span::one(1)])));
}

// spec: links-pull
#[test]
fn a_carrier_with_little_room_gets_no_empty_records() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    liar.hear(&mut net);
    liar.send(&mut net, 1, &message(group, "hello", &[]));
    // Room for a record and a span, but not for the id that is owed.
    let mut frames = 0;
    for room in 0..110 {
        while net.engines[0].poll_transmit(liar.link, net.now, room).unwrap().is_some() {
            frames += 1;
            assert!(frames < 10, "frames without end for a carrier with room for {room} bytes");
        }
    }
    let acked: usize = liar.hear(&mut net).iter().flat_map(|f| &f.acks).map(|ack| ack.ids.len()).sum();
    assert_eq!(acked, 1);
}
