//! Peers that lie about what they hold, withhold what they offer, or say two things.

use bytes::Bytes;
use hedgerow_proto::{Message, MessageId, PeerId, Span, Visibility};
use hedgerow_sync_core::store::check;
use hedgerow_sync_core::testing::{CLEAN, Net};
use hedgerow_sync_core::{LinkProfile, PushPolicy};

use crate::support::{Hand, ack, batch, message, no_id, offer, request, unavailable};

/// A peer acknowledges all that there is and will be: it gets nothing, and everybody else gets everything.
#[test]
fn a_peer_that_acknowledges_everything_harms_itself_alone() {
    let mut net = Net::new(3, 1);
    let group = net.group("g", false);
    net.connect(0, 1);
    let hand = Hand::new(&mut net, 99, &[group]);
    for n in 0..200 {
        let id = net.publish(0, group, &format!("message {n}"));
        hand.say(&mut net, &ack(&[Span { first: 1, last: u64::MAX }], &[], &[id, no_id(n)]));
        net.run(20);
    }
    net.run(60_000);
    assert_eq!(net.log(1, group).len(), 200);
    // Not known to hold what was delivered after it said so: claims count for what there was.
    net.publish(0, group, "after");
    let heard = hand.hear(&mut net);
    assert_eq!(heard.iter().flat_map(|f| &f.batches).map(|b| b.messages.len()).sum::<usize>(), 1);
    net.connect(1, 2);
    net.run(60_000);
    net.assert_converged(group, 201);
}

/// A peer never acknowledges: what is under way to it is bounded in bytes, and the others get everything.
#[test]
fn a_peer_that_never_acknowledges_holds_up_nobody() {
    let mut net = Net::new(2, 1);
    net.config.max_in_flight_bytes = 100_000;
    net.restart(0, 1);
    let group = net.group("g", false);
    net.connect(0, 1);
    let hand = Hand::new(&mut net, 99, &[group]);
    let mut body_bytes = 0;
    for n in 0..300 {
        net.publish(0, group, &format!("{n} {}", "x".repeat(1_000)));
        net.run(20);
        let heard = hand.hear(&mut net);
        body_bytes += heard
            .iter()
            .flat_map(|f| &f.batches)
            .flat_map(|b| &b.messages)
            .map(|m| m.body.len())
            .sum::<usize>();
    }
    net.run(60_000);
    assert!(body_bytes < 102_000, "{body_bytes} bytes under way");
    net.assert_converged(group, 300);
}

/// Acknowledgements of what was never sent, by position and by id, of held and unheld things.
#[test]
fn acknowledging_what_was_never_sent_hides_nothing_from_others() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", true);
    let hand = Hand::new(&mut net, 99, &[group]);
    let parent = message(group, "parent", 1, &[]);
    let child = message(group, "child", 1, &[parent.id()]);
    // Held, and not delivered: it has no position.
    hand.send(&mut net, 1, std::slice::from_ref(&child));
    let ids: Vec<MessageId> = (0..1_000).map(no_id).chain([child.id(), parent.id()]).collect();
    for _ in 0..50 {
        hand.say(
            &mut net,
            &ack(&[Span { first: 1, last: 1 << 50 }], &[Span { first: 1, last: 1 << 50 }], &ids),
        );
    }
    let other = Hand::new(&mut net, 98, &[group]);
    other.send(&mut net, 1, std::slice::from_ref(&parent));
    for n in 0..10 {
        net.publish(0, group, &format!("message {n}"));
    }
    net.connect(0, 1);
    net.run(60_000);
    assert_eq!(net.log(0, group).len(), 12);
    net.assert_converged(group, 12);
}

/// Offers every message and sends none: each is asked for once more, elsewhere, and arrives.
#[test]
fn what_one_peer_withholds_comes_from_another() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    let ids: Vec<MessageId> = (0..400).map(|n| net.publish(1, group, &format!("message {n}"))).collect();
    let thief = Hand::new(&mut net, 99, &[group]);
    thief.say(&mut net, &offer(1, ids));
    let asked: u64 = thief
        .hear(&mut net)
        .iter()
        .flat_map(|f| &f.requests)
        .flat_map(|r| &r.positions)
        .map(|s| s.count())
        .sum();
    assert_eq!(asked, 400);
    // The honest one offers too, and waits to be asked.
    let profile = LinkProfile { push: PushPolicy::OfferFirst, ..LinkProfile::reliable() };
    net.connect_with(0, 1, profile, CLEAN);
    net.run(12_000);
    net.assert_converged(group, 400);
    let one_each = net.engines[1].traffic().messages_out;
    assert_eq!(one_each, 400);
}

/// A peer that withheld once is asked last from then on, as long as it sends nothing that it was asked for.
#[test]
fn a_peer_that_withholds_delays_only_what_it_was_asked_for_first() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    let thief = Hand::new(&mut net, 99, &[group]);
    let profile = LinkProfile { push: PushPolicy::OfferFirst, ..LinkProfile::reliable() };
    net.connect_with(0, 1, profile, CLEAN);
    net.run(1_000);
    let mut late = 0;
    for n in 1..=200 {
        let id = net.publish_after(1, group, &format!("message {n}"), vec![]);
        // It has heard of the message before node 0 has, every time.
        thief.say(&mut net, &offer(n, [id]));
        thief.hear(&mut net);
        net.run(500);
        late += usize::from(net.engines[0].message(&id).unwrap().is_none());
    }
    net.run(15_000);
    net.assert_converged(group, 200);
    // 20 intervals pass until the first timeout; what was asked for in them is late, and nothing later is.
    assert!(late <= 25, "{late} late");
}

/// A dependency that only the last of forty peers has, and none offers, while the peer that named it says nothing:
/// it is found.
#[test]
fn what_one_peer_withholds_is_found_among_many() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let hands: Vec<Hand> = (1..=40).map(|name| Hand::new(&mut net, name, &[group])).collect();
    let liar = Hand::new(&mut net, 99, &[group]);
    let parent = message(group, "parent", 1, &[]);
    liar.send(&mut net, 1, &[message(group, "child", 1, &[parent.id()])]);
    let mut asked = 0;
    for _ in 0..300 {
        net.run(100);
        liar.hear(&mut net);
        for (n, hand) in (1..).zip(&hands) {
            let requests = hand.hear(&mut net).into_iter().flat_map(|frame| frame.requests);
            let ids: Vec<MessageId> = requests.flat_map(|request| request.ids).collect();
            asked += ids.len();
            match ids.is_empty() {
                true => {}
                false if n < 40 => hand.say(&mut net, &unavailable(&[], &ids)),
                false => hand.send(&mut net, 1, std::slice::from_ref(&parent)),
            }
        }
    }
    assert_eq!(net.log(0, group).len(), 2);
    assert_eq!(asked, 40, "each is asked once");
}

/// Ids that never come, a hundred thousand of them, under new positions: what is remembered and asked for stays
/// bounded, and others are asked and answered as before.
#[test]
fn offers_of_ids_that_never_come_are_bounded_and_harm_nobody() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    let profile = LinkProfile { push: PushPolicy::OfferFirst, ..LinkProfile::reliable() };
    net.connect_with(0, 1, profile, CLEAN);
    net.run(1_000);
    let hand = Hand::new(&mut net, 99, &[group]);
    hand.hear(&mut net);
    let before = hand.traffic(&net);
    let mut asked = 0;
    for chunk in 0..100 {
        let from = chunk * 1_000;
        hand.say(&mut net, &offer(from + 1, (from..from + 1_000).map(no_id)));
        net.publish(1, group, &format!("honest {chunk}"));
        net.run(100);
        assert_eq!(net.log(0, group).len() as u64, chunk + 1);
        let heard = hand.hear(&mut net);
        asked +=
            heard.iter().flat_map(|f| &f.requests).flat_map(|r| &r.positions).map(|s| s.count()).sum::<u64>();
        let status = net.engines[0].status();
        assert!(status.peers.iter().all(|pair| pair.requested <= 512));
    }
    // One window of requests for each time that they are given up, and no rows.
    let after = hand.traffic(&net);
    assert!(asked <= 512 * 3, "{asked} asked for in 10 s");
    assert!(after.bytes_out - before.bytes_out < (after.bytes_in - before.bytes_in) / 10);
    let report = check(net.engines[0].store()).unwrap();
    assert_eq!(report.messages, 100);
}

#[test]
fn the_same_message_a_hundred_thousand_times_is_delivered_once() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", true);
    let hand = Hand::new(&mut net, 99, &[group]);
    let again = message(group, "again", 1, &[]);
    let many: Vec<Message> = vec![again; 1_000];
    for round in 0..100_u64 {
        // Under one position, under many, and under none.
        let mut frame = batch(round % 3, &many);
        if round % 3 == 1 {
            for at in 0..50 {
                frame.batches[0].messages.truncate(1);
                frame.batches[0].messages[0].position = Some(1 + at % 2);
                hand.say(&mut net, &frame);
            }
        }
        hand.say(&mut net, &frame);
        hand.hear(&mut net);
    }
    assert_eq!(net.log(0, group).len(), 1);
    assert_eq!(net.delivered[0][&group].len(), 1);
    let report = check(net.engines[0].store()).unwrap();
    assert_eq!((report.messages, report.delivered), (1, 1));
    assert!(report.is_clean());
}

/// One peer tells two others different things under the same positions, with chain values that fit neither. All
/// honest peers end with both messages, in one canonical order.
#[test]
fn two_things_under_one_position_reach_everybody() {
    let mut net = Net::new(3, 1);
    let group = net.group("g", false);
    let one = message(group, "left", 1, &[]);
    let two = message(group, "right", 1, &[]);
    let after_one = message(group, "after left", 1, &[one.id()]);
    let after_two = message(group, "after right", 1, &[two.id()]);
    let me = PeerId::from_bytes([99; 32]);
    let hand = Hand::new(&mut net, 99, &[group]);
    hand.send(&mut net, 1, &[one.clone(), after_one.clone()]);
    let other = Hand::meet(&mut net.engines[1], 99, &[group], net.now);
    other.tell(&mut net.engines[1], &batch(1, &[two.clone(), after_two.clone()]), net.now).unwrap();
    // The same positions again, the other way round, on the same links.
    hand.say(&mut net, &offer(1, [two.id(), after_two.id()]));
    hand.hear(&mut net);
    hand.say(&mut net, &batch(1, &[two, after_two]));
    hand.say(&mut net, &request(&[Span { first: 1, last: 4 }], &[]));
    net.drain(1);
    net.connect(0, 1);
    net.connect(1, 2);
    net.run(60_000);
    net.assert_converged(group, 4);
    // It cannot make them forget one by claiming that it was the other: content decides.
    net.engines[0].set_visibility(me, group, Visibility::Invisible).unwrap();
    net.restart(0, 2);
    assert_eq!(net.log(0, group).len(), 4);
}

/// Bodies that differ in one byte, timestamps in one ms, dependencies in their number: never the same id.
#[test]
fn what_differs_anywhere_is_another_message() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let hand = Hand::new(&mut net, 99, &[group]);
    let root = Message::new(group, 5, vec![], Bytes::from_static(b"a")).unwrap();
    let later = Message::new(group, 6, vec![], Bytes::from_static(b"a")).unwrap();
    let longer = Message::new(group, 5, vec![], Bytes::from_static(b"a\0")).unwrap();
    let child = Message::new(group, 5, vec![root.id()], Bytes::from_static(b"a")).unwrap();
    hand.send(&mut net, 1, &[root, later, longer, child]);
    assert_eq!(net.log(0, group).len(), 4);
}
