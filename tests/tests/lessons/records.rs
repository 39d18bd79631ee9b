//! Acknowledgements, offers and requests: what is said once ends the matter.

use hedgerow_proto::{MessageId, Span, Visibility};
use hedgerow_sync_core::Verdict;
use hedgerow_sync_core::testing::Net;

use crate::support::{FAKE, Fake, acked, assert_sound, batch, bodies, message, offered, requested, wire};

const UNKNOWN: MessageId = MessageId::from_bytes([5; 32]);

fn one(position: u64) -> Span {
    Span { first: position, last: position }
}

/// MVDS without acknowledged offers sends bodies again and again, and in its consistent mode delivers one twice.
/// Here a repeated message is delivered, stored and passed on once, and owes one acknowledgement however often it
/// comes.
#[test]
fn the_same_message_again_is_delivered_again() {
    for (times, in_frame) in [(3, 1), (100_000, 1_000)] {
        let mut net = Net::new(2, 1);
        let group = net.group("g", true);
        net.connect(0, 1);
        net.run(1_000);
        let fake = Fake::new(&mut net, &[group]);
        fake.hear(&mut net);
        let parent = message(group, "parent", &[]);
        let again = message(group, "again", &[&parent]);
        fake.send(&mut net, &[&parent]);
        fake.hear(&mut net);
        for _ in 0..times / in_frame {
            let copies = (0..in_frame).map(|_| wire(&again, None)).collect();
            fake.say(&mut net, batch(1, copies));
            // Even a sender that reads nothing makes us owe one acknowledgement, not one for each copy.
            assert_eq!(acked(&fake.hear(&mut net)), (0, vec![again.id()]));
        }
        net.run(10_000);
        assert_eq!(net.bodies(0, group), ["parent", "again"]);
        assert_eq!(net.delivered[0][&group].len(), 2, "told once");
        assert_eq!(net.bodies(1, group), ["parent", "again"]);
        assert_eq!(net.messages_sent(), 2, "passed on once");
        assert_eq!(net.engines[0].status().links.last().unwrap().traffic.duplicates_in, times - 1);
        assert_sound(&net, 0);
    }
}

/// MVDS does not answer the offer of a message that it holds, so that the offer comes again for ever: 50 times the
/// least in a mesh of 20. Here it is acknowledged, and between two engines nothing is offered a second time.
#[test]
fn an_offer_of_a_held_message_is_not_answered_and_never_ends() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let fake = Fake::new(&mut net, &[group]);
    let held = message(group, "held", &[]);
    fake.send(&mut net, &[&held]);
    fake.hear(&mut net);
    fake.offer(&mut net, &[(7, held.id())]);
    let frames = fake.hear(&mut net);
    assert_eq!(acked(&frames).0, 1, "the offer at position 7");
    assert_eq!(requested(&frames), (vec![], vec![]));

    // Three nodes in a ring: whoever has a message from one neighbour offers it to the other.
    let mut net = Net::new(3, 1);
    let group = net.group("g", false);
    for (a, b) in [(0, 1), (1, 2), (2, 0)] {
        net.connect(a, b);
    }
    net.run(1_000);
    for n in 0..30 {
        net.publish(n % 3, group, &format!("message {n}"));
        net.run(500);
    }
    net.assert_converged(group, 30);
    let offers: u64 = net.engines.iter().map(|engine| engine.traffic().offers_out).sum();
    assert!(offers <= 60, "at most one offer by each of the two receivers, not {offers}");
    assert_eq!(net.messages_sent(), 60);
    net.assert_silent();
}

/// BSP requests what it is offered although it holds it, if it does not share it with that contact or found it
/// invalid, and the body crosses again. Here both are acknowledged, and no body is asked for.
#[test]
fn an_offer_of_what_is_held_unshared_or_invalid_brings_the_body_again() {
    let mut net = Net::new(1, 1);
    net.judge = |m| if m.body().starts_with(b"bad") { Verdict::Invalid } else { Verdict::VALID };
    let group = net.group("g", true);
    let fake = Fake::new(&mut net, &[group]);
    let good = message(group, "good", &[]);
    let bad = message(group, "bad", &[]);
    let below = message(group, "below bad", &[&bad]);
    fake.send(&mut net, &[&good, &bad, &below]);
    fake.hear(&mut net);
    // From now on the group is only visible to the fake: it may give, and gets nothing.
    net.engines[0].set_visibility(FAKE, group, Visibility::Visible).unwrap();
    fake.offer(&mut net, &[(1, good.id()), (2, bad.id()), (3, below.id())]);
    let frames = fake.hear(&mut net);
    assert_eq!(acked(&frames).0, 3, "all three");
    assert_eq!(requested(&frames), (vec![], vec![]), "none of the bodies");
    net.run(60_000);
    assert_eq!(requested(&fake.hear(&mut net)), (vec![], vec![]));
    // The same after a restart: a tombstone is remembered.
    net.restart(0, 9);
    let fake = Fake::link(&mut net, &[group]);
    fake.hear(&mut net);
    fake.offer(&mut net, &[(1, good.id()), (2, bad.id()), (3, below.id())]);
    let frames = fake.hear(&mut net);
    assert_eq!((acked(&frames).0, requested(&frames)), (3, (vec![], vec![])));
}

/// BSP has no way to say "I do not have it", so who asks starves in silence. Here the rest of a REQUEST is served,
/// and the unknown id is answered with UNAVAILABLE.
#[test]
fn one_unknown_id_in_a_request_spoils_the_others() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let ids = ["one", "two", "three"].map(|body| net.publish(0, group, body));
    let fake = Fake::new(&mut net, &[group]);
    fake.hear(&mut net);
    fake.ack(&mut net, vec![Span { first: 1, last: 3 }], vec![]);
    fake.request(&mut net, vec![], vec![ids[2], UNKNOWN, ids[0]]);
    let frames = fake.hear(&mut net);
    let mut sent = bodies(&frames);
    sent.sort();
    assert_eq!(sent, ["one", "three"]);
    let unavailable: Vec<_> = frames.iter().flat_map(|f| &f.unavailables).flat_map(|u| &u.ids).collect();
    assert_eq!(unavailable, [&UNKNOWN]);
    // The same by position.
    fake.ack(&mut net, vec![Span { first: 1, last: 3 }], vec![]);
    fake.request(&mut net, vec![one(2), one(9)], vec![]);
    let frames = fake.hear(&mut net);
    assert_eq!(bodies(&frames), ["two"]);
    let unavailable: Vec<_> =
        frames.iter().flat_map(|f| &f.unavailables).flat_map(|u| &u.positions).collect();
    assert_eq!(unavailable, [&one(9)]);
}

/// MVDS panics at a message without metadata: one odd entry takes the rest with it. Here each id of an ACK is judged
/// alone: the rest counts, and what was never sent has no effect.
#[test]
fn one_unknown_id_in_an_acknowledgement_spoils_the_others() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let ids = ["one", "two", "three"].map(|body| net.publish(0, group, body));
    let fake = Fake::new(&mut net, &[group]);
    assert_eq!(bodies(&fake.hear(&mut net)).len(), 3);
    let acknowledged = |net: &Net| {
        let pairs = net.engines[0].status().peers;
        pairs.iter().map(|pair| (pair.acked, pair.in_flight)).next().unwrap()
    };
    assert_eq!(acknowledged(&net), (0, 3));
    fake.ack(&mut net, vec![], vec![ids[0], UNKNOWN, ids[2]]);
    assert_eq!(acknowledged(&net), (2, 1));
    fake.ack(&mut net, vec![one(2), Span { first: 40, last: 50 }], vec![]);
    assert_eq!(acknowledged(&net), (3, 0));
    // A new contact: nothing is sent again.
    net.engines[0].link_down(fake.link, net.now);
    assert_sound(&net, 0);
}

/// MVDS answers what needs no answer, empty payloads with empty payloads. Here an acknowledgement that came before
/// changes nothing and is not answered, and neither is one for what came from the very peer.
#[test]
fn a_duplicate_acknowledgement_upsets_the_counts() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let id = net.publish(0, group, "one");
    let fake = Fake::new(&mut net, &[group]);
    fake.hear(&mut net);
    let theirs = message(group, "theirs", &[]);
    fake.send(&mut net, &[&theirs]);
    fake.hear(&mut net);
    fake.ack(&mut net, vec![one(1)], vec![]);
    let before = net.engines[0].status().peers;
    assert!(before[0].settled);
    while net.engines[0].poll_event().unwrap().is_some() {}
    for _ in 0..3 {
        fake.ack(&mut net, vec![one(1), one(2)], vec![id, theirs.id()]);
        assert_eq!(net.engines[0].status().peers, before);
        assert!(fake.hear(&mut net).is_empty(), "nothing is said to it");
    }
    // A further message is sent as ever.
    net.publish(0, group, "another");
    let frames = fake.hear(&mut net);
    assert_eq!(bodies(&frames), ["another"]);
    assert!(offered(&frames).is_empty());
    assert_sound(&net, 0);
}
