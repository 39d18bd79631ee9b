//! What a record tells of the peer that it comes from: what it holds, and what it need not be sent.

use hedgerow_proto::{
    Ack, Frame, GroupId, GroupRef, Message, MessageId, Offer, OfferItem, PeerId, Request, Span,
};

use super::faults::{LIAR, Liar, message};
use crate::engine::facts::MAX_OWED;
use crate::testing::Net;
use crate::testing::by_hand::{batch, encode, greeting, hear, hello, wire};
use crate::{Event, LinkProfile, Outstanding};

fn node() -> (Net, GroupId) {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    (net, group)
}

fn offer(items: &[(u64, MessageId)]) -> Frame {
    let items = items.iter().map(|&(position, id)| OfferItem { position: Some(position), id }).collect();
    Frame { offers: vec![Offer { group: GroupRef::Number(1), items, chain: 0 }], ..Frame::default() }
}

fn request(ids: Vec<MessageId>) -> Frame {
    let request = Request { group: GroupRef::Number(1), positions: vec![], ids };
    Frame { requests: vec![request], ..Frame::default() }
}

fn ack(ids: Vec<MessageId>) -> Frame {
    let (group, held, known) = (GroupRef::Number(1), vec![], vec![]);
    Frame {
        acks: vec![Ack { group, held, known, ids, duplicates: 0, chain: 0, reset: 0 }],
        ..Frame::default()
    }
}

/// The bodies in some frames, as text, and the positions and ids that they offer or acknowledge.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    bodies: Vec<String>,
    offered: Vec<MessageId>,
    held: Vec<u64>,
    known: Vec<u64>,
    ids: Vec<MessageId>,
}

fn heard(frames: Vec<Frame>) -> Heard {
    let numbers = |spans: &[Span]| -> Vec<u64> { spans.iter().flat_map(|s| s.first..=s.last).collect() };
    let mut all = Heard::default();
    for frame in frames {
        for message in frame.batches.iter().flat_map(|batch| &batch.messages) {
            all.bodies.push(String::from_utf8(message.body.to_vec()).unwrap());
        }
        all.offered.extend(frame.offers.iter().flat_map(|offer| &offer.items).map(|item| item.id));
        for ack in frame.acks {
            all.held.extend(numbers(&ack.held));
            all.known.extend(numbers(&ack.known));
            all.ids.extend(ack.ids);
        }
    }
    all
}

fn outstanding(net: &Net, peer: [u8; 32]) -> Outstanding {
    let all = net.engines[0].outstanding();
    assert_eq!(net.engines[0].audit(), Vec::<String>::new());
    all.into_iter().find(|pair| pair.peer == PeerId::from_bytes(peer)).unwrap()
}

/// A peer meets node 0 anew.
fn meet(net: &mut Net, liar: &mut Liar, name: [u8; 32], group: GroupId, install: u64) {
    net.engines[0].link_down(liar.link, net.now);
    liar.link = net.engines[0].link_up(PeerId::from_bytes(name), LinkProfile::reliable(), net.now).unwrap();
    let hello = Some(hello(install));
    liar.say(net, &Frame { hello, ..greeting(&[group]) }).unwrap();
}

// spec: ack-of-held-offer
#[test]
fn who_offers_what_we_hold_before_it_was_told_is_told_our_position_and_sent_nothing() {
    let (mut net, group) = node();
    let ours = net.publish(0, group, "ours");
    let liar = Liar::new(&mut net, &[group]);
    let engine = &mut net.engines[0];
    engine.receive(liar.link, encode(&offer(&[(7, ours)])), net.now).unwrap();
    let mut has = Vec::new();
    while let Some(event) = engine.poll_event().unwrap() {
        if let Event::PeerHas { count, .. } = event {
            has.push(count);
        }
    }
    assert_eq!(has.last(), Some(&1), "the application is told that it holds it");
    assert!(engine.is_held_by(PeerId::from_bytes(LIAR), group, 1));
    let said = heard(liar.hear(&mut net));
    assert_eq!(said, Heard { held: vec![7], known: vec![1], ..Heard::default() });
    assert!(outstanding(&net, LIAR).is_settled());
    // What it did not offer is sent to it all the same, and this when it asks for it: it lost it.
    net.publish(0, group, "more");
    assert_eq!(heard(liar.hear(&mut net)).bodies, ["more"]);
    liar.say(&mut net, &request(vec![ours])).unwrap();
    assert!(!net.engines[0].is_held_by(PeerId::from_bytes(LIAR), group, 1));
    assert_eq!(outstanding(&net, LIAR).asked, 1);
    assert_eq!(heard(liar.hear(&mut net)).bodies, ["ours"]);
}

#[test]
fn an_offer_of_what_is_under_way_ends_the_wait_for_it() {
    let (mut net, group) = node();
    let ids = [net.publish(0, group, "one"), net.publish(0, group, "two")];
    let liar = Liar::new(&mut net, &[group]);
    assert_eq!(heard(liar.hear(&mut net)).bodies.len(), 2);
    assert_eq!(outstanding(&net, LIAR).in_flight, 2);
    liar.say(&mut net, &offer(&[(1, ids[0])])).unwrap();
    assert_eq!(outstanding(&net, LIAR).in_flight, 1);
    // The same message from it is as good, and so is its acknowledgement by the id.
    liar.say(&mut net, &ack(vec![ids[1]])).unwrap();
    let left = outstanding(&net, LIAR);
    assert_eq!((left.in_flight, left.lacking), (0, 0));
    assert_eq!(heard(liar.hear(&mut net)), Heard { held: vec![1], known: vec![1], ..Heard::default() });
}

#[test]
fn who_asks_and_then_offers_is_not_sent_it() {
    let (mut net, group) = node();
    let ours = net.publish(0, group, "ours");
    let other = Liar::named(&mut net, PeerId::from_bytes([98; 32]), &[group]);
    let missing = message(group, "missing", &[]);
    let waits = message(group, "waits", &[&missing]);
    other.send_at(&mut net, 1, &waits);
    let liar = Liar::new(&mut net, &[group]);
    liar.hear(&mut net);
    liar.say(&mut net, &request(vec![ours, waits.id()])).unwrap();
    assert_eq!(outstanding(&net, LIAR).asked, 2);
    liar.say(&mut net, &offer(&[(1, ours), (2, waits.id())])).unwrap();
    assert_eq!(outstanding(&net, LIAR).asked, 0);
    let said = heard(liar.hear(&mut net));
    assert_eq!(said, Heard { held: vec![1, 2], known: vec![1], ..Heard::default() });
    // What is asked for and stays so is sent once, with a position or without.
    liar.say(&mut net, &request(vec![ours, waits.id()])).unwrap();
    assert_eq!(heard(liar.hear(&mut net)).bodies, ["ours", "waits"]);
    assert_eq!(outstanding(&net, LIAR).asked, 0);
}

/// A message that waits has no position, so that what is known of it is kept by its number until it gets one.
#[test]
fn who_holds_what_waits_here_is_not_sent_it_when_it_is_delivered() {
    let (mut net, group) = node();
    let parent = message(group, "parent", &[]);
    let child = message(group, "child", &[&parent]);
    let source = Liar::named(&mut net, PeerId::from_bytes([97; 32]), &[group]);
    source.send_at(&mut net, 2, &child);
    let mut often = Liar::named(&mut net, PeerId::from_bytes([98; 32]), &[group]);
    for _ in 0..4 {
        // Each session of its own says it again, and counts alone.
        meet(&mut net, &mut often, [98; 32], group, 1);
        often.say(&mut net, &ack(vec![child.id()])).unwrap();
        often.say(&mut net, &ack(vec![child.id()])).unwrap();
        assert_eq!(net.engines[0].audit(), Vec::<String>::new());
    }
    let liar = Liar::new(&mut net, &[group]);
    let mut forgot = Liar::named(&mut net, PeerId::from_bytes([96; 32]), &[group]);
    forgot.say(&mut net, &ack(vec![child.id()])).unwrap();
    // One that has come again since may have lost it.
    meet(&mut net, &mut forgot, [96; 32], group, 1);
    liar.say(&mut net, &ack(vec![child.id()])).unwrap();
    for peer in [&source, &often, &liar, &forgot] {
        peer.hear(&mut net);
    }
    source.send_at(&mut net, 1, &parent);
    assert_eq!(net.bodies(0, group), ["parent", "child"]);
    // What came unasked is offered a moment later.
    net.run(200);
    let offered = |peer: &Liar, net: &mut Net| heard(peer.hear(net)).offered;
    assert_eq!(offered(&liar, &mut net), [parent.id()]);
    assert_eq!(offered(&often, &mut net), [parent.id()]);
    assert_eq!(offered(&source, &mut net), []);
    assert_eq!(offered(&forgot, &mut net), [parent.id(), child.id()]);
    assert_eq!(net.engines[0].audit(), Vec::<String>::new());
}

/// What has no position here is not among the positions that a peer holds, in memory or in the store.
#[test]
fn an_acknowledgement_of_what_waits_is_none_of_a_position() {
    let (mut net, group) = node();
    let missing = message(group, "missing", &[]);
    let waits = message(group, "waits", &[&missing]);
    let source = Liar::named(&mut net, PeerId::from_bytes([97; 32]), &[group]);
    source.send_at(&mut net, 2, &waits);
    let liar = Liar::new(&mut net, &[group]);
    for frame in [ack(vec![waits.id()]), request(vec![waits.id()]), ack(vec![waits.id()])] {
        liar.say(&mut net, &frame).unwrap();
        assert_eq!(outstanding(&net, LIAR).spans, 0);
        assert!(net.engines[0].status().peers.iter().all(|peer| peer.acked == 0));
    }
    net.restart(0, 2);
    assert_eq!(net.engines[0].status().groups[0].waiting, 1);
}

/// The acknowledgement may have died with a link; our position is told with it again.
#[test]
fn what_is_acknowledged_again_is_told_with_our_position() {
    for again in [false, true] {
        let (mut net, group) = node();
        let said = message(group, "said", &[]);
        let one = Liar::new(&mut net, &[group]);
        let other = Liar::new(&mut net, &[group]);
        one.hear(&mut net);
        other.hear(&mut net);
        let at_1 = batch(1, vec![wire(&said, Some(1))]);
        one.say(&mut net, &at_1).unwrap();
        assert_eq!(heard(other.hear(&mut net)).known, [1]);
        let now = net.now;
        net.engines[0].link_down(other.link, now);
        one.say(&mut net, &if again { at_1 } else { offer(&[(1, said.id())]) }).unwrap();
        let frames = heard(one.hear(&mut net));
        assert_eq!((frames.held, frames.known), (vec![1], vec![1]), "{again}");
    }
}

/// It waited when it came first, so that there was no position to name.
#[test]
fn what_comes_again_when_it_has_a_position_here_is_told_with_it() {
    for again in [false, true] {
        let (mut net, group) = node();
        let parent = message(group, "parent", &[]);
        let child = message(group, "child", &[&parent]);
        let liar = Liar::new(&mut net, &[group]);
        let child_at_2 = batch(1, vec![wire(&child, Some(2))]);
        liar.say(&mut net, &child_at_2).unwrap();
        liar.send_at(&mut net, 1, &parent);
        // Nothing else has changed: its acknowledgement is owed already.
        let second = if again { child_at_2 } else { offer(&[(2, child.id())]) };
        liar.say(&mut net, &second).unwrap();
        let said = heard(liar.hear(&mut net));
        assert_eq!((said.held, said.known), (vec![1, 2], vec![1, 2]));
    }
}

#[test]
fn what_is_to_be_acknowledged_is_bounded() {
    let (mut net, group) = node();
    let held = message(group, "held", &[]);
    let liar = Liar::new(&mut net, &[group]);
    liar.send_at(&mut net, 1, &held);
    liar.hear(&mut net);
    let many = MAX_OWED as u64 + 10;
    let items: Vec<(u64, MessageId)> = (1..=many).map(|n| (2 * n + 1, held.id())).collect();
    for some in items.chunks(1_000) {
        liar.say(&mut net, &offer(some)).unwrap();
    }
    assert_eq!(outstanding(&net, LIAR).acks_owed, MAX_OWED as u64);
    let all: Vec<Message> = (0..many).map(|n| message(group, &format!("{n}"), &[])).collect();
    for some in all.chunks(500) {
        liar.say(&mut net, &batch(1, some.iter().map(|message| wire(message, None)).collect())).unwrap();
    }
    assert_eq!(outstanding(&net, LIAR).acks_owed, 2 * MAX_OWED as u64);
    let said = heard(hear(&mut net.engines[0], liar.link, net.now));
    assert_eq!((said.held.len(), said.ids.len()), (MAX_OWED, MAX_OWED));
    // What was left out is acknowledged when it comes again.
    liar.say(&mut net, &offer(&[(2 * many + 1, held.id())])).unwrap();
    liar.send(&mut net, 1, all.last().unwrap());
    let said = heard(liar.hear(&mut net));
    assert_eq!((said.held, said.ids), (vec![2 * many + 1], vec![all.last().unwrap().id()]));
}
