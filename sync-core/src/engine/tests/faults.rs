//! Gaps, invalid messages, clocks, limits, and peers that lie.

use bytes::Bytes;
use hedgerow_proto::{
    Batch, Codec, DepRef, Frame, GroupId, GroupRef, Hello, Message, MessageId, NativeCodec, Offer, OfferItem,
    PeerId, Request, Span, Visibility, WireMessage,
};

use crate::store::check;
pub(super) use crate::testing::by_hand::message;
use crate::testing::by_hand::{batch, encode, greeting, hear, hello, wire};
use crate::testing::{Faults, Net, descriptor, peer};
use crate::{Config, Event, InvalidReason, LinkId, LinkProfile, ReceiveError, Rule, Verdict};

/// A peer whose frames are made by hand.
pub(super) struct Liar {
    pub(super) link: LinkId,
}

pub(super) const LIAR: [u8; 32] = [99; 32];

impl Liar {
    pub(super) fn new(net: &mut Net, groups: &[GroupId]) -> Self {
        Self::named(net, PeerId::from_bytes(LIAR), groups)
    }

    pub(super) fn with(net: &mut Net, groups: &[GroupId], profile: LinkProfile) -> Self {
        Self::connect(net, PeerId::from_bytes(LIAR), groups, profile)
    }

    pub(super) fn named(net: &mut Net, me: PeerId, groups: &[GroupId]) -> Self {
        Self::connect(net, me, groups, LinkProfile::reliable())
    }

    fn connect(net: &mut Net, me: PeerId, groups: &[GroupId], profile: LinkProfile) -> Self {
        for &group in groups {
            net.engines[0].set_visibility(me, group, Visibility::Shared).unwrap();
        }
        let link = net.engines[0].link_up(me, profile, net.now).unwrap();
        let liar = Self { link };
        // Of a later minor version, which changes nothing.
        let hello = Some(Hello { minor: 7, ..hello(1) });
        liar.say(net, &Frame { hello, ..greeting(groups) }).unwrap();
        liar
    }

    pub(super) fn say(&self, net: &mut Net, frame: &Frame) -> Result<(), ReceiveError> {
        let result = net.engines[0].receive(self.link, encode(frame), net.now);
        net.drain(0);
        result
    }

    pub(super) fn send(&self, net: &mut Net, number: u32, message: &Message) {
        self.say(net, &batch(number, vec![wire(message, None)])).unwrap();
    }

    /// The same in its first group, under a position.
    pub(super) fn send_at(&self, net: &mut Net, position: u64, message: &Message) {
        self.say(net, &batch(1, vec![wire(message, Some(position))])).unwrap();
    }

    /// What node 0 has to say to it.
    pub(super) fn hear(&self, net: &mut Net) -> Vec<Frame> {
        hear(&mut net.engines[0], self.link, net.now)
    }
}

// spec: deps-requested, full-ids, one-request
#[test]
fn a_missing_dependency_is_pulled_from_whoever_has_it() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", true);
    let parent = message(group, "parent", &[]);
    let child = message(group, "child", &[&parent]);
    let liar = Liar::new(&mut net, &[group]);
    liar.send(&mut net, 1, &child);
    assert_eq!(net.engines[0].missing(group).len(), 1);
    let asked: Vec<_> = liar.hear(&mut net).into_iter().flat_map(|f| f.requests).collect();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].ids, vec![parent.id()]);
    // It does not answer. Node 1 has it, and is asked when the request has timed out.
    let faker = net.engines[1].publish(
        group,
        crate::Draft { timestamp_ms: 5, deps: vec![], body: "parent".into() },
        net.now,
    );
    assert_eq!(faker.unwrap(), parent.id());
    net.connect(0, 1);
    net.run(60_000);
    assert_eq!(net.bodies(0, group), ["parent", "child"]);
    assert!(net.engines[0].missing(group).is_empty());
}

#[test]
fn a_gap_is_reported_after_its_time() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", true);
    let parent = message(group, "parent", &[]);
    let liar = Liar::new(&mut net, &[group]);
    liar.send(&mut net, 1, &message(group, "child", &[&parent]));
    net.run(10 * 60_000);
    let missing =
        net.events[0].iter().filter(|e| matches!(e, Event::Missing { id, .. } if *id == parent.id()));
    assert_eq!(missing.count(), 1);
    liar.send(&mut net, 1, &parent);
    assert_eq!(net.bodies(0, group), ["parent", "child"]);
}

// spec: invalid-descendants, tombstone
#[test]
fn invalid_messages_and_all_that_follows_are_never_delivered_nor_passed_on() {
    let mut net = Net::new(2, 1);
    net.judge = |m| if m.body().starts_with(b"bad") { Verdict::Invalid } else { Verdict::VALID };
    let group = net.group("g", true);
    let good = message(group, "good", &[]);
    let bad = message(group, "bad", &[&good]);
    let child = message(group, "child", &[&bad]);
    let grandchild = message(group, "grandchild", &[&child, &good]);
    let liar = Liar::new(&mut net, &[group]);
    for m in [&grandchild, &child, &bad, &good] {
        liar.send(&mut net, 1, m);
    }
    let late = message(group, "late child", &[&bad]);
    liar.send(&mut net, 1, &late);
    assert_eq!(net.bodies(0, group), ["good"]);
    let reasons: Vec<_> = net.events[0]
        .iter()
        .filter_map(|e| match e {
            Event::Invalid { id, reason, .. } => Some((*id, *reason)),
            _ => None,
        })
        .collect();
    assert_eq!(reasons.len(), 4);
    assert!(reasons.contains(&(bad.id(), InvalidReason::Client)));
    assert!(reasons.contains(&(grandchild.id(), InvalidReason::InvalidDependency)));
    assert!(reasons.contains(&(late.id(), InvalidReason::InvalidDependency)));
    net.connect(0, 1);
    net.run(60_000);
    assert_eq!(net.bodies(1, group), ["good"]);
    assert_eq!(net.engines[1].status().groups[0].held, 1);
    assert!(check(net.engines[0].store()).unwrap().problems.is_empty());
    // It is acknowledged, so that it is not sent again.
    let acked: usize = liar.hear(&mut net).iter().flat_map(|f| &f.acks).map(|a| a.ids.len()).sum();
    assert_eq!(acked, 5);
}

// spec: deps-one-group
#[test]
fn a_dependency_in_another_group_is_invalid_as_soon_as_it_is_known() {
    let mut net = Net::new(1, 1);
    let one = net.group("one", true);
    let two = net.group("two", true);
    let liar = Liar::new(&mut net, &[one, two]);
    let here = message(one, "here", &[]);
    let there = message(two, "there", &[&here]);
    // The child first: nobody can tell yet.
    liar.send(&mut net, 2, &there);
    assert_eq!(net.engines[0].missing(two).len(), 1);
    liar.send(&mut net, 1, &here);
    let child = message(two, "child", &[&there]);
    liar.send(&mut net, 2, &child);
    // The parent first.
    let other = message(two, "other", &[&here]);
    liar.send(&mut net, 2, &other);
    assert_eq!(net.bodies(0, one), ["here"]);
    assert!(net.bodies(0, two).is_empty());
    let foreign = net.events[0]
        .iter()
        .filter(|e| matches!(e, Event::Invalid { reason: InvalidReason::ForeignDependency, .. }));
    assert_eq!(foreign.count(), 2);
    let report = check(net.engines[0].store()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert!(net.engines[0].missing(two).is_empty());
}

// spec: deliver-in-time
/// A message and one of another group that names it may await the same thing: that it is not awaited for the other any
/// more does not make it unawaited.
#[test]
fn what_a_foreign_child_awaited_too_is_still_awaited() {
    let mut net = Net::new(1, 3);
    let (one, two) = (net.group("one", false), net.group("two", false));
    let liar = Liar::new(&mut net, &[one, two]);
    let root = message(one, "root", &[]);
    let parent = message(one, "parent", &[&root]);
    let foreign = message(two, "foreign", &[&parent, &root]);
    liar.send(&mut net, 2, &foreign);
    liar.send(&mut net, 1, &parent);
    net.drain(0);
    liar.send(&mut net, 1, &root);
    net.drain(0);
    assert_eq!(net.bodies(0, one), ["root", "parent"]);
    assert!(net.log(0, two).is_empty());
    let report = check(net.engines[0].store()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

#[test]
fn what_is_ahead_of_its_time_is_held_back() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", true);
    let day = 24 * 3_600_000;
    let early = Message::new(group, net.now.as_timestamp_ms() + 2 * day, vec![], "early".into()).unwrap();
    let child = message(group, "child", &[&early]);
    let liar = Liar::new(&mut net, &[group]);
    liar.send(&mut net, 1, &early);
    liar.send(&mut net, 1, &child);
    net.run(3_600_000);
    assert!(net.bodies(0, group).is_empty());
    assert_eq!(net.engines[0].status().groups[0].early, 1);
    net.restart(0, 5);
    net.run(2 * 24 * 3_600_000);
    assert_eq!(net.bodies(0, group), ["early", "child"]);
    let last = Message::new(group, i64::MAX, vec![], "the end of time".into()).unwrap();
    let liar = Liar::new(&mut net, &[group]);
    liar.send(&mut net, 1, &last);
    assert_eq!(net.bodies(0, group).len(), 2);
}

// spec: waiting-bounded
#[test]
fn what_waits_is_bounded_and_fetched_when_there_is_room() {
    let config = Config { max_parked_messages: 10, ..Config::default() };
    let mut net = Net::with(2, 1, config);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    let root = message(group, "root", &[]);
    let mut children = Vec::new();
    for n in 0..100 {
        let child = message(group, &format!("child {n}"), &[&root]);
        let wire = WireMessage {
            position: Some(n + 2),
            timestamp_ms: 5,
            deps: vec![DepRef::Id(root.id())],
            body: child.body().clone(),
        };
        let batch = Batch { group: GroupRef::Number(1), messages: vec![wire], chain: 0 };
        liar.say(&mut net, &Frame { batches: vec![batch], ..Frame::default() }).unwrap();
        children.push(child);
    }
    assert_eq!(net.engines[0].status().groups[0].waiting, 10);
    let acked: u64 =
        liar.hear(&mut net).iter().flat_map(|f| &f.acks).flat_map(|a| &a.held).map(|s| s.count()).sum();
    assert_eq!(acked, 10, "what was not kept is not acknowledged");
    liar.send(&mut net, 1, &root);
    net.run(15_000);
    let asked: u64 = liar
        .hear(&mut net)
        .iter()
        .flat_map(|f| &f.requests)
        .flat_map(|r| &r.positions)
        .map(|s| s.count())
        .sum();
    assert_eq!(asked, 90, "the rest is asked for");
}

// spec: offers-beyond
#[test]
fn offers_of_what_never_comes_are_bounded() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    for round in 0_u64..200 {
        let items = (0..500).map(|n| {
            let position = round * 500 + n + 1;
            let mut id = [0; 32];
            id[..8].copy_from_slice(&position.to_be_bytes());
            OfferItem { position: Some(position), id: MessageId::from_bytes(id) }
        });
        let offer = Offer { group: GroupRef::Number(1), items: items.collect(), chain: 0 };
        liar.say(&mut net, &Frame { offers: vec![offer], ..Frame::default() }).unwrap();
    }
    let asked: u64 = liar
        .hear(&mut net)
        .iter()
        .flat_map(|f| &f.requests)
        .flat_map(|r| &r.positions)
        .map(|s| s.count())
        .sum();
    assert_eq!(asked, 512);
    net.connect(0, 1);
    net.publish(1, group, "honest");
    net.run(120_000);
    assert_eq!(net.bodies(0, group), ["honest"], "others are served");
    assert_eq!(check(net.engines[0].store()).unwrap().messages, 1, "no rows for what is not held");
}

// spec: request-unknown, full-ids
#[test]
fn requests_for_what_is_not_there_are_answered_and_the_rest_is_served() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    net.publish(0, group, "one");
    net.publish(0, group, "two");
    let liar = Liar::new(&mut net, &[group]);
    liar.hear(&mut net);
    let unknown = MessageId::from_bytes([5; 32]);
    let request = Request {
        group: GroupRef::Number(1),
        positions: vec![Span { first: 2, last: u64::MAX }],
        ids: vec![unknown],
    };
    liar.say(&mut net, &Frame { requests: vec![request], ..Frame::default() }).unwrap();
    let frames = liar.hear(&mut net);
    let bodies: Vec<_> =
        frames.iter().flat_map(|f| &f.batches).flat_map(|b| &b.messages).map(|m| &m.body).collect();
    assert_eq!(bodies, ["two"]);
    let unavailable: Vec<_> = frames.iter().flat_map(|f| &f.unavailables).collect();
    assert_eq!(unavailable.len(), 1);
    assert_eq!(unavailable[0].ids, [unknown]);
    assert_eq!(unavailable[0].positions, [Span { first: 3, last: u64::MAX }]);
}

// spec: message-refused, not-announced
#[test]
fn one_bad_message_does_not_take_the_rest_with_it() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    let wire = |body: Bytes, deps| WireMessage { position: None, timestamp_ms: 1, deps, body };
    let one = MessageId::from_bytes([1; 32]);
    let two = MessageId::from_bytes([2; 32]);
    let many = (0..65).map(|n| DepRef::Id(MessageId::from_bytes([n; 32]))).collect();
    let messages = vec![
        wire(vec![0; 32_769].into(), vec![]),
        wire("unsorted".into(), vec![DepRef::Id(two), DepRef::Id(one)]),
        wire("repeated".into(), vec![DepRef::Id(one), DepRef::Id(one)]),
        wire("too many".into(), many),
        WireMessage { timestamp_ms: -1, ..wire("before time".into(), vec![]) },
        wire("good".into(), vec![]),
    ];
    let batch = Batch { group: GroupRef::Number(1), messages, chain: 0 };
    let elsewhere =
        Batch { group: GroupRef::Number(77), messages: vec![wire("lost".into(), vec![])], chain: 0 };
    liar.say(&mut net, &Frame { batches: vec![elsewhere, batch], ..Frame::default() }).unwrap();
    assert_eq!(net.bodies(0, group), ["good"]);
    assert_eq!(net.engines[0].status().links[0].traffic.refused, 6);
}

// spec: ends-link, hello-major, hello-max-frame
#[test]
fn rules_that_end_a_link_are_named() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let hello = Hello { major: 1, minor: 0, nonce: [0; 16], install: 1, max_frame: 65_536, max_offers: 1 };
    let batch = Batch { group: GroupRef::Number(1), messages: vec![], chain: 0 };
    let mut rule = |frames: &[Frame]| -> Rule {
        let id = PeerId::from_bytes(LIAR);
        let link = net.engines[0].link_up(id, LinkProfile::reliable(), net.now).unwrap();
        let mut last = None;
        for frame in frames {
            let mut bytes = Vec::new();
            NativeCodec::new().encode(frame, &mut bytes).unwrap();
            last = Some(net.engines[0].receive(link, bytes.into(), net.now));
        }
        let Some(Err(ReceiveError::Violation(violation))) = last else { panic!("no violation") };
        assert_eq!(violation.peer, id);
        assert!(net.engines[0].status().links.is_empty(), "the link is down");
        violation.rule
    };
    let with = |hello: &Hello| Frame { hello: Some(hello.clone()), ..Frame::default() };
    assert_eq!(rule(&[Frame { batches: vec![batch], ..Frame::default() }]), Rule::NoHello);
    assert_eq!(rule(&[with(&Hello { major: 2, ..hello.clone() })]), Rule::Version { found: 2, ours: 1 });
    assert!(matches!(rule(&[with(&Hello { max_frame: 9, ..hello.clone() })]), Rule::BadHello(_)));
    assert_eq!(rule(&[with(&hello), with(&Hello { install: 2, ..hello.clone() })]), Rule::SecondHello);
    assert_eq!(rule(&[Frame { number: Some(1), ..with(&hello) }]), Rule::FrameNumber);
    let link = net.engines[0].link_up(peer(5), LinkProfile::reliable(), net.now).unwrap();
    let garbage = net.engines[0].receive(link, Bytes::from_static(&[0xff; 40]), net.now);
    assert!(matches!(garbage, Err(ReceiveError::Violation(v)) if matches!(v.rule, Rule::Garbage(_))));
    let link = net.engines[0].link_up(peer(5), LinkProfile::reliable(), net.now).unwrap();
    let huge = net.engines[0].receive(link, Bytes::from(vec![0; 65_537]), net.now);
    assert!(matches!(huge, Err(ReceiveError::Violation(v)) if matches!(v.rule, Rule::OversizedFrame { .. })));
    let _ = group;
}

// spec: too-large
#[test]
fn a_message_too_large_for_a_link_does_not_hold_up_the_others() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    net.publish_after(0, group, &"x".repeat(5_000), vec![]);
    net.publish_after(0, group, "small", vec![]);
    net.connect_lossy(0, 1, Faults { loss: 0.0, duplication: 0.0, delay_ms: (10, 10) });
    net.run(60_000);
    assert_eq!(net.bodies(1, group), ["small"]);
    assert!(net.events[0].iter().any(|e| matches!(e, Event::TooLarge { .. })));
    net.assert_silent();
    net.connect(0, 1);
    net.run(60_000);
    net.assert_converged(group, 2);
}

// spec: message-again
#[test]
fn the_same_message_many_times_is_delivered_once() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", true);
    let liar = Liar::new(&mut net, &[group]);
    let one = message(group, "again", &[]);
    for _ in 0..1_000 {
        liar.send(&mut net, 1, &one);
    }
    assert_eq!(net.bodies(0, group), ["again"]);
    assert_eq!(net.delivered[0][&group].len(), 1);
}

#[test]
fn a_peer_that_lacks_something_for_long_is_reported() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    net.publish(0, group, "hello?");
    net.run(8 * 24 * 3_600_000);
    let report = net.events[0].iter().find_map(|e| match e {
        Event::Undelivered { peer, count, .. } => Some((*peer, *count)),
        _ => None,
    });
    assert_eq!(report, Some((peer(1), 1)));
    net.connect(0, 1);
    net.run(60_000);
    net.assert_converged(group, 1);
}

// spec: announce-visible, announce-tag
#[test]
fn groups_that_a_peer_is_not_in_stay_hidden() {
    let mut net = Net::new(1, 1);
    let open = net.group("open", false);
    net.engines[0].add_group(&descriptor("secret"), false).unwrap();
    let liar = Liar::new(&mut net, &[open]);
    let announces: Vec<_> = liar.hear(&mut net).into_iter().flat_map(|f| f.announces).collect();
    assert_eq!(announces.len(), 1);
    assert!(!format!("{announces:?}").contains(&descriptor("secret").id().to_string()));
}

#[test]
fn a_group_whose_client_goes_is_taken_as_valid() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", true);
    let parent = message(group, "parent", &[]);
    let child = message(group, "child", &[&parent]);
    let liar = Liar::new(&mut net, &[group]);
    // Stored, and nobody answers for the client.
    for m in [&child, &parent] {
        let frame = encode(&batch(1, vec![wire(m, None)]));
        net.engines[0].receive(liar.link, frame, net.now).unwrap();
    }
    assert_eq!(net.engines[0].unvalidated(), 2);
    net.engines[0].add_group(&descriptor("g"), false).unwrap();
    net.drain(0);
    assert_eq!(net.bodies(0, group), ["parent", "child"]);
    assert!(check(net.engines[0].store()).unwrap().problems.is_empty());
}

#[test]
fn a_group_can_go_while_another_waits_for_a_name_in_it() {
    let mut net = Net::new(1, 1);
    let one = net.group("one", false);
    let two = net.group("two", false);
    let liar = Liar::new(&mut net, &[one, two]);
    let parent = message(two, "parent", &[]);
    liar.send(&mut net, 1, &message(one, "stray", &[&parent]));
    liar.send(&mut net, 2, &message(two, "child", &[&parent]));
    net.engines[0].remove_group(one).unwrap();
    net.engines[0].commit().unwrap();
    let report = check(net.engines[0].store()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    liar.send(&mut net, 2, &parent);
    assert_eq!(net.bodies(0, two), ["parent", "child"]);
    let report = check(net.engines[0].store()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}
