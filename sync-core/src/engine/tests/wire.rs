//! What stands in frames and in which order, and what a peer made by hand finds out about it.

use hedgerow_proto::{
    Ack, Codec as _, DepRef, Frame, GroupId, GroupRef, Message, MessageId, NativeCodec, Offer, OfferItem,
    PeerId, Request, Span, Visibility, WireMessage,
};

use super::faults::{LIAR, Liar, message};
use crate::store::check;
use crate::testing::by_hand::{batch, encode, greeting, wire};
use crate::testing::{Net, open};
use crate::{Draft, EngineError, LinkId, LinkProfile};

/// A message that names its parent by its position.
fn after(message: &Message, position: u64, parent: u64) -> WireMessage {
    WireMessage { deps: vec![DepRef::Position(parent)], ..wire(message, Some(position)) }
}

fn poll(net: &mut Net, link: LinkId) -> Option<Frame> {
    let bytes = net.engines[0].poll_transmit(link, net.now, usize::MAX).unwrap();
    bytes.map(|bytes| NativeCodec::new().decode(bytes).unwrap())
}

fn say(net: &mut Net, link: LinkId, frame: &Frame) {
    net.engines[0].receive(link, encode(frame), net.now).unwrap();
    net.drain(0);
}

/// A node with a group that it shares with the liar.
fn node() -> (Net, GroupId) {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    net.engines[0].set_visibility(PeerId::from_bytes(LIAR), group, Visibility::Shared).unwrap();
    (net, group)
}

fn link_up(net: &mut Net, profile: LinkProfile) -> LinkId {
    net.engines[0].link_up(PeerId::from_bytes(LIAR), profile, net.now).unwrap()
}

// spec: hello-first, hello-nonce
#[test]
fn a_session_begins_with_hello_and_announcements_alone() {
    let (mut net, group) = node();
    net.publish(0, group, "waits");
    let mut nonces = Vec::new();
    for profile in [LinkProfile::reliable(), LinkProfile::lossy(1_200), LinkProfile::reliable()] {
        let link = link_up(&mut net, profile);
        let mut first = poll(&mut net, link).unwrap();
        nonces.push(first.hello.take().unwrap().nonce);
        assert_eq!(first.announces.len(), 1);
        first.announces.clear();
        first.number = None;
        assert_eq!(first, Frame::default(), "nothing else");
        assert_eq!(poll(&mut net, link), None, "and nothing more before the other side's HELLO");
        say(&mut net, link, &Frame { number: None, ..greeting(&[group]) });
        net.engines[0].link_down(link, net.now);
    }
    nonces.sort_unstable();
    nonces.dedup();
    assert_eq!(nonces.len(), 3, "a nonce stands in two sessions");
}

// spec: message-id-computed
#[test]
fn a_message_is_named_by_what_it_says_whoever_brings_it() {
    let (mut net, group) = node();
    let honest = message(group, "pay 1", &[]);
    let liar = Liar::new(&mut net, &[group]);
    let offer = Offer {
        group: GroupRef::Number(1),
        items: vec![OfferItem { position: Some(1), id: honest.id() }],
        chain: 0,
    };
    liar.say(&mut net, &Frame { offers: vec![offer], ..Frame::default() }).unwrap();
    // What comes at the position that was offered is another message.
    let altered = message(group, "pay 9", &[]);
    liar.say(&mut net, &batch(1, vec![wire(&altered, Some(1))])).unwrap();
    assert_eq!(net.delivered[0][&group], [altered.id()]);
    assert!(net.engines[0].message(&honest.id()).unwrap().is_none());
}

// spec: frame-order
#[test]
fn records_of_one_frame_are_taken_in_their_order() {
    let (mut net, group) = node();
    let link = link_up(&mut net, LinkProfile::reliable());
    let said = message(group, "said", &[]);
    let request = Request { group: GroupRef::Number(1), positions: vec![], ids: vec![said.id()] };
    let batches = batch(1, vec![wire(&said, None)]).batches;
    say(&mut net, link, &Frame { requests: vec![request], batches, ..greeting(&[group]) });
    // HELLO and ANNOUNCE came before the message, and the message before the request for it.
    assert_eq!(net.bodies(0, group), ["said"]);
    let frames: Vec<Frame> = std::iter::from_fn(|| poll(&mut net, link)).collect();
    let answers = frames.iter().flat_map(|f| &f.batches).flat_map(|b| &b.messages).count();
    assert_eq!(answers, 1, "the request is answered: {frames:?}");
    assert!(frames.iter().all(|f| f.unavailables.is_empty()));
}

// spec: frame-order, ack-of-held-offer
#[test]
fn an_offer_of_what_is_held_is_acknowledged_and_not_asked_for() {
    let (mut net, group) = node();
    let liar = Liar::new(&mut net, &[group]);
    liar.hear(&mut net);
    let (early, said) = (message(group, "early", &[]), message(group, "said", &[]));
    liar.send(&mut net, 1, &early);
    liar.hear(&mut net);
    let item = |position, m: &Message| OfferItem { position: Some(position), id: m.id() };
    let items = vec![item(4, &early), item(9, &said)];
    // The message comes in the same frame as the offer of it, and is taken first.
    let batches = batch(1, vec![wire(&said, None)]).batches;
    let offers = vec![Offer { group: GroupRef::Number(1), items, chain: 0 }];
    liar.say(&mut net, &Frame { offers, batches, ..Frame::default() }).unwrap();
    let frames = liar.hear(&mut net);
    let held: Vec<Span> = frames.iter().flat_map(|f| &f.acks).flat_map(|ack| ack.held.clone()).collect();
    assert_eq!(held, [Span::one(4), Span::one(9)]);
    assert!(frames.iter().all(|f| f.requests.is_empty()), "{frames:?}");
}

// spec: not-announced
#[test]
fn an_offer_does_not_tell_what_is_held_in_another_group() {
    let (mut net, secret) = node();
    let secret_id = net.publish(0, secret, "secret");
    net.engines[0].set_visibility(PeerId::from_bytes(LIAR), secret, Visibility::Invisible).unwrap();
    let shared = net.group("shared", false);
    let mut answers = Vec::new();
    for id in [secret_id, MessageId::from_bytes([8; 32])] {
        let liar = Liar::new(&mut net, &[shared]);
        liar.hear(&mut net);
        let items = vec![OfferItem { position: Some(1), id }];
        let offer = Offer { group: GroupRef::Number(1), items, chain: 0 };
        liar.say(&mut net, &Frame { offers: vec![offer], ..Frame::default() }).unwrap();
        answers.push(liar.hear(&mut net));
        let report = check(net.engines[0].store()).unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        net.engines[0].remove_peer(PeerId::from_bytes(LIAR), net.now).unwrap();
    }
    assert!(answers[0].iter().all(|frame| frame.acks.is_empty()), "{answers:?}");
    assert_eq!(answers[0], answers[1], "held in another group, and unknown");
}

// spec: ack-durable, ack
#[test]
fn an_ack_leaves_after_the_commit() {
    let (mut net, group) = node();
    let liar = Liar::new(&mut net, &[group]);
    liar.hear(&mut net);
    let said = message(group, "said", &[]);
    let frame = encode(&batch(1, vec![wire(&said, Some(1))]));
    net.engines[0].receive(liar.link, frame, net.now).unwrap();
    assert!(net.engines[0].store().is_dirty(), "not committed yet");
    let acks: Vec<Ack> = poll(&mut net, liar.link).unwrap().acks;
    assert_eq!(acks[0].held, [Span::one(1)]);
    assert!(!net.engines[0].store().is_dirty(), "said before it was durable");
    let blank = open(crate::MemoryStore::new(), &net.config, 0, 9, net.now);
    let mut store = std::mem::replace(&mut net.engines[0], blank).into_store();
    store.crash();
    net.engines[0] = open(store, &net.config, 0, 9, net.now);
    assert_eq!(net.bodies(0, group), ["said"]);
}

// spec: ack-unsent, announce-held
#[test]
fn what_was_never_sent_cannot_be_acknowledged() {
    let (mut net, group) = node();
    net.publish(0, group, "one");
    let liar = Liar::new(&mut net, &[group]);
    liar.hear(&mut net);
    let everything = vec![Span { first: 1, last: u64::MAX }];
    let ack = Ack {
        group: GroupRef::Number(1),
        held: everything.clone(),
        known: everything,
        ids: vec![MessageId::from_bytes([8; 32])],
        duplicates: 0,
        chain: 1,
        reset: 0,
    };
    liar.say(&mut net, &Frame { acks: vec![ack], ..Frame::default() }).unwrap();
    net.publish(0, group, "two");
    let sent: Vec<_> =
        liar.hear(&mut net).into_iter().flat_map(|f| f.batches).flat_map(|b| b.messages).collect();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].body, "two");
}

// spec: requests-bounded
#[test]
fn requests_by_id_are_bounded() {
    let (mut net, group) = node();
    let liar = Liar::new(&mut net, &[group]);
    liar.hear(&mut net);
    let before = net.engines[0].status().links[0].traffic.refused;
    for round in 0_u8..5 {
        let ids = (0_u16..1_000).map(|n| {
            let mut id = [round; 32];
            id[..2].copy_from_slice(&n.to_be_bytes());
            MessageId::from_bytes(id)
        });
        let request = Request { group: GroupRef::Number(1), positions: vec![], ids: ids.collect() };
        liar.say(&mut net, &Frame { requests: vec![request], ..Frame::default() }).unwrap();
    }
    assert_eq!(net.engines[0].status().links[0].traffic.refused - before, 1);
    let answers = |net: &mut Net| -> usize {
        liar.hear(net).iter().flat_map(|f| &f.unavailables).map(|u| u.ids.len()).sum()
    };
    assert_eq!(answers(&mut net), 4_096);
    // Those that were answered make room.
    let ids = vec![MessageId::from_bytes([99; 32])];
    let request = Request { group: GroupRef::Number(1), positions: vec![], ids };
    liar.say(&mut net, &Frame { requests: vec![request], ..Frame::default() }).unwrap();
    assert_eq!(answers(&mut net), 1);
}

// spec: back-window, back-wrong
#[test]
fn back_references_reach_over_the_last_messages_of_the_session() {
    let (mut net, group) = node();
    let liar = Liar::new(&mut net, &[group]);
    let sent: Vec<Message> = (0..1_100).map(|n| message(group, &format!("message {n}"), &[])).collect();
    for (part, start) in sent.chunks(100).zip((1_u64..).step_by(100)) {
        let messages = part.iter().zip(start..).map(|(m, at)| wire(m, Some(at))).collect();
        liar.say(&mut net, &batch(1, messages)).unwrap();
    }
    let refused = |net: &Net| net.engines[0].status().links[0].traffic.refused;
    let mut child = |position: u64, back: u64| {
        let before = (net.bodies(0, group).len(), refused(&net));
        let child = message(group, &format!("child of {back}"), &[]);
        liar.say(&mut net, &batch(1, vec![after(&child, position, back)])).unwrap();
        (net.bodies(0, group).len() - before.0, refused(&net) - before.1)
    };
    // 1,100 crossed: the oldest of the last 1,024 is the 77th. Each child is one more.
    assert_eq!(child(1_101, 77), (1, 0));
    assert_eq!(child(1_102, 77), (0, 1), "too far back by now");
    assert_eq!(child(1_110, 1_105), (0, 1), "nothing crossed there");
    assert_eq!(child(1_111, 1_100), (1, 0));
}

// spec: back-window
#[test]
fn back_references_on_lossy_links_reach_over_one_batch() {
    let (mut net, group) = node();
    let link = link_up(&mut net, LinkProfile::lossy(1_200));
    let (one, two) = (message(group, "one", &[]), message(group, "two", &[]));
    say(&mut net, link, &Frame { number: Some(1), ..greeting(&[group]) });
    let both = vec![wire(&one, Some(1)), after(&two, 2, 1)];
    say(&mut net, link, &Frame { number: Some(2), ..batch(1, both) });
    assert_eq!(net.bodies(0, group), ["one", "two"]);
    let before = net.engines[0].status().links[0].traffic.refused;
    let three = after(&message(group, "three", &[]), 3, 2);
    say(&mut net, link, &Frame { number: Some(3), ..batch(1, vec![three]) });
    assert_eq!(net.bodies(0, group).len(), 2);
    assert_eq!(net.engines[0].status().links[0].traffic.refused, before + 1);
}

// spec: frame-number, frame-acks-only, lossy-announce, lossy-hello
#[test]
fn a_lossy_session_waits_for_what_it_must_know() {
    let (mut net, group) = node();
    net.publish(0, group, "waits");
    let link = link_up(&mut net, LinkProfile::lossy(1_200));
    // Before HELLO nothing else is taken, and nothing ends.
    let early = wire(&message(group, "early", &[]), Some(1));
    say(&mut net, link, &Frame { number: Some(7), ..batch(1, vec![early]) });
    assert_eq!(net.bodies(0, group), ["waits"]);
    let first = poll(&mut net, link).unwrap();
    assert_eq!((first.number, first.hello.is_some(), first.announces.len()), (Some(1), true, 1));
    say(&mut net, link, &Frame { number: Some(8), ..greeting(&[group]) });
    let answer = poll(&mut net, link).unwrap();
    assert_eq!(answer.frame_acks, [Span::one(8)]);
    // The name may not have arrived, so that it stands in the frame that uses it, with HELLO.
    assert_eq!((answer.hello.is_some(), answer.announces.len(), answer.batches.len()), (true, 1, 1));
    while poll(&mut net, link).is_some() {}
    // Only now it is known to have arrived. What says only that has no number, and asks for no answer.
    say(&mut net, link, &Frame { frame_acks: vec![Span::one(1)], ..Frame::default() });
    net.publish(0, group, "next");
    let next = poll(&mut net, link).unwrap();
    assert_eq!((next.hello.is_some(), next.announces.len(), next.batches.len()), (false, 0, 1));
    assert!(next.number.is_some_and(|number| number > 1), "a number was used twice");
    while poll(&mut net, link).is_some() {}
    say(
        &mut net,
        link,
        &Frame { frame_acks: vec![Span { first: 1, last: next.number.unwrap() }], ..Frame::default() },
    );
    say(
        &mut net,
        link,
        &Frame { frame_acks: vec![Span { first: 1, last: next.number.unwrap() }], ..Frame::default() },
    );
    assert_eq!(poll(&mut net, link), None, "an acknowledgement alone was answered");
}

// spec: one-request
#[test]
fn a_message_is_requested_of_one_peer_at_a_time() {
    let mut net = Net::new(4, 1);
    let group = net.group("g", false);
    net.publish(1, group, "wanted");
    for n in 1..3 {
        net.connect(n, n + 1);
    }
    net.run(10_000);
    // Three offer it at once, none of them being its author but one.
    for n in 1..4 {
        let profile = LinkProfile { push: crate::PushPolicy::OfferFirst, ..LinkProfile::reliable() };
        net.connect_with(0, n, profile, crate::testing::CLEAN);
    }
    let before = net.messages_sent();
    net.run(10_000);
    net.assert_converged(group, 1);
    assert_eq!(net.messages_sent() - before, 1);
    net.assert_silent();
}

// spec: announce-visibility
#[test]
fn who_is_only_heard_is_answered_nothing() {
    let (mut net, group) = node();
    net.publish(0, group, "mine");
    let me = PeerId::from_bytes(LIAR);
    let liar = Liar::new(&mut net, &[group]);
    net.engines[0].set_visibility(me, group, Visibility::Visible).unwrap();
    assert_eq!(net.engines[0].visibility(me, group), Visibility::Visible);
    assert_eq!(net.engines[0].visibility(me, GroupId::from_bytes([1; 32])), Visibility::Invisible);
    let refused = |net: &Net| net.engines[0].status().links[0].traffic.refused;
    let before = refused(&net);
    let request = Request { group: GroupRef::Number(1), positions: vec![Span::one(1)], ids: vec![] };
    liar.say(&mut net, &Frame { requests: vec![request], ..Frame::default() }).unwrap();
    assert_eq!(refused(&net), before + 1);
    assert!(
        liar.hear(&mut net).iter().all(|frame| frame.batches.is_empty() && frame.unavailables.is_empty())
    );
}

// spec: deliver-in-time
#[test]
fn what_waited_is_still_held_back_until_its_time() {
    let (mut net, group) = node();
    let liar = Liar::new(&mut net, &[group]);
    let parent = message(group, "parent", &[]);
    let ahead = net.now.as_timestamp_ms() + 30 * 3_600_000;
    let child = Message::new(group, ahead, vec![parent.id()], "child".into()).unwrap();
    liar.send(&mut net, 1, &child);
    liar.send(&mut net, 1, &parent);
    assert_eq!(net.bodies(0, group), ["parent"]);
    assert_eq!(net.engines[0].status().groups[0].early, 1);
    net.run(5 * 3_600_000);
    assert_eq!(net.bodies(0, group), ["parent"]);
    net.run(2 * 3_600_000);
    assert_eq!(net.bodies(0, group), ["parent", "child"]);
}

// spec: deliver-own, deps-one-group
#[test]
fn what_cannot_be_delivered_at_birth_is_not_published() {
    let (mut net, group) = node();
    let other = net.group("other", false);
    let elsewhere = net.publish(0, other, "elsewhere");
    let liar = Liar::new(&mut net, &[group]);
    let waiting = message(group, "waiting", &[&message(group, "never comes", &[])]);
    liar.send(&mut net, 1, &waiting);
    let now = net.now;
    let mut publish = |group, deps| {
        let draft = Draft { timestamp_ms: 5, deps, body: "again".into() };
        net.engines[0].publish(group, draft, now)
    };
    for dep in [elsewhere, waiting.id(), MessageId::from_bytes([9; 32])] {
        let refused = publish(group, vec![dep]);
        assert!(matches!(refused, Err(EngineError::UnknownDependency(id)) if id == dep), "{refused:?}");
    }
    let nowhere = GroupId::from_bytes([1; 32]);
    assert!(matches!(publish(nowhere, vec![]), Err(EngineError::UnknownGroup(id)) if id == nowhere));
    let id = publish(group, vec![]).unwrap();
    assert!(matches!(publish(group, vec![]), Err(EngineError::Exists(same)) if same == id));
    assert_eq!(net.bodies(0, group), ["again"]);
}
