//! Messages whose time is over are gone everywhere, and are not sent any more.

use hedgerow_proto::{Frame, GroupRef, PeerId, Request, Tombstone, Unavailable};

use super::{checked, held, judge, pruned, state_of};
use crate::engine::tests::faults::{Liar, message};
use crate::store::{MessageState, Store as _};
use crate::testing::Net;
use crate::{Draft, EngineError, Event, MessageFacts};

/// A message of a node that expires so many ms from now.
fn publish(
    net: &mut Net,
    n: usize,
    group: hedgerow_proto::GroupId,
    text: &str,
    ms: u64,
) -> hedgerow_proto::MessageId {
    let expires_ms = (net.now + ms).as_timestamp_ms();
    let body = format!("me:{expires_ms}:{text}").into();
    let deps = net.engines[n].heads(group, 16).unwrap();
    let draft = Draft { timestamp_ms: net.now.as_timestamp_ms(), deps, body };
    let facts = MessageFacts { author: Some([1; 32]), expires_ms: Some(expires_ms) };
    let now = net.now;
    let id = net.engines[n].publish_with(group, draft, facts, now).unwrap();
    net.drain(n);
    id
}

#[test]
fn it_is_gone_on_every_device_when_its_time_is_over() {
    let mut net = Net::new(3, 1);
    net.judge = judge;
    let group = net.group("g", true);
    net.connect(0, 1);
    net.connect(1, 2);
    let stays = net.publish(0, group, "a:-:stays");
    let goes = publish(&mut net, 0, group, "goes", 3_600_000);
    let later = publish(&mut net, 0, group, "later", 7_200_000);
    net.run(60_000);
    for n in 0..3 {
        assert_eq!(held(&net, n, group).len(), 3);
        let entry = net.engines[n].message(&goes).unwrap().unwrap();
        assert_eq!(entry.expires_ms, Some((net.now + 3_540_000).as_timestamp_ms()));
    }
    net.run(3_539_000);
    assert_eq!(held(&net, 2, group).len(), 3);
    net.run(1_000);
    for n in 0..3 {
        assert_eq!((state_of(&net, n, &goes), pruned(&net, n)), (Some(MessageState::Pruned), 1), "node {n}");
        assert_eq!(state_of(&net, n, &stays), Some(MessageState::Delivered));
        checked(&net, n);
        let pairs = net.engines[n].status().peers;
        assert!(pairs.iter().all(|pair| pair.settled || pair.peer_visibility.is_none()));
    }
    net.run(7_200_000);
    assert!((0..3).all(|n| state_of(&net, n, &later) == Some(MessageState::Pruned)));
    assert!((0..3).all(|n| net.engines[n].store().expiring(i64::MAX, 1).unwrap().is_empty()));
    net.assert_silent();
}

#[test]
fn its_time_passes_while_the_device_is_off() {
    let mut net = Net::new(2, 1);
    net.judge = judge;
    let group = net.group("g", true);
    let goes = publish(&mut net, 0, group, "goes", 1_000);
    let later = publish(&mut net, 0, group, "later", 100_000);
    net.now = net.now + 5_000;
    net.restart(0, 3);
    net.drain(0);
    assert_eq!(state_of(&net, 0, &goes), Some(MessageState::Pruned));
    assert_eq!(state_of(&net, 0, &later), Some(MessageState::Delivered));
    net.run(100_000);
    assert_eq!(state_of(&net, 0, &later), Some(MessageState::Pruned));
    checked(&net, 0);
}

// spec: expired-unsent
#[test]
fn it_is_not_sent_after_that_though_no_timer_ran() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    publish(&mut net, 0, group, "goes", 1_000);
    // The carrier had no room before.
    net.now = net.now + 1_000;
    let frames = liar.hear(&mut net);
    assert!(frames.iter().all(|frame| frame.batches.is_empty() && frame.offers.is_empty()));
    assert_eq!(held(&net, 0, group).len(), 0);
}

#[test]
fn who_asks_for_it_afterwards_hears_that_it_is_gone() {
    let mut net = Net::new(2, 1);
    net.judge = judge;
    let group = net.group("g", true);
    publish(&mut net, 0, group, "goes", 1_000);
    let child = net.publish(0, group, "a:-:child");
    net.run(2_000);
    net.connect(0, 1);
    net.run(1_000);
    assert_eq!(state_of(&net, 1, &child), Some(MessageState::Waiting));
    net.run(120_000);
    assert_eq!(state_of(&net, 1, &child), Some(MessageState::Delivered));
    assert!(net.events[1].iter().any(|event| matches!(event, Event::HistoryGap { .. })));
    checked(&net, 1);
    net.assert_silent();
}

// spec: unavailable-later
#[test]
fn who_asked_for_it_too_early_hears_of_it_when_it_is_gone() {
    let mut net = Net::new(1, 1);
    net.judge = judge;
    let group = net.group("g", true);
    let at = (net.now + 1_000).as_timestamp_ms();
    let root = message(group, &format!("a:{at}:root"), &[]);
    let waits = message(group, &format!("a:{at}:waits"), &[&root]);
    let teller = Liar::named(&mut net, PeerId::from_bytes([98; 32]), &[group]);
    teller.send(&mut net, 1, &waits);
    net.run(1_000);
    assert_eq!(state_of(&net, 0, &waits.id()), Some(MessageState::Lapsed));
    // What it holds waits for this one, which will never be offered.
    let asks = Liar::new(&mut net, &[group]);
    let request = Request { group: GroupRef::Number(1), positions: vec![], ids: vec![waits.id(), root.id()] };
    asks.say(&mut net, &Frame { requests: vec![request], ..Frame::default() }).unwrap();
    let hear = |net: &mut Net| -> Vec<_> {
        asks.hear(net).into_iter().flat_map(|frame| frame.unavailables).collect()
    };
    let said = hear(&mut net);
    assert_eq!(said.iter().map(|said| (said.ids.len(), said.tombstones.len())).collect::<Vec<_>>(), [(2, 0)]);
    net.run(10_000);
    assert_eq!(hear(&mut net), []);
    teller.send(&mut net, 1, &root);
    let said = hear(&mut net);
    let gone: Vec<_> = said.iter().flat_map(|said| &said.tombstones).map(|tombstone| tombstone.id).collect();
    assert_eq!(gone, [root.id(), waits.id()]);
    checked(&net, 0);
    net.run(10_000);
    assert_eq!(hear(&mut net), []);
}

#[test]
fn a_tombstone_counts_though_the_answer_before_it_was_no() {
    let mut net = Net::new(1, 1);
    net.judge = judge;
    let group = net.group("g", true);
    let gone = message(group, "a:-:gone", &[]);
    let child = message(group, "a:-:child", &[&gone]);
    let liar = Liar::new(&mut net, &[group]);
    liar.send(&mut net, 1, &child);
    let asked = liar.hear(&mut net).into_iter().flat_map(|frame| frame.requests).flat_map(|asked| asked.ids);
    assert_eq!(asked.collect::<Vec<_>>(), [gone.id()]);
    let (group_ref, ids) = (GroupRef::Number(1), vec![gone.id()]);
    let no = Unavailable { group: group_ref, positions: vec![], ids: ids.clone(), tombstones: vec![] };
    liar.say(&mut net, &Frame { unavailables: vec![no.clone()], ..Frame::default() }).unwrap();
    net.run(3_600_000);
    assert_eq!(state_of(&net, 0, &child.id()), Some(MessageState::Waiting));
    let tombstones = vec![Tombstone { id: gone.id(), eff_ms: 5, height: 1 }];
    liar.say(&mut net, &Frame { unavailables: vec![Unavailable { tombstones, ..no }], ..Frame::default() })
        .unwrap();
    net.run(120_000);
    assert_eq!(state_of(&net, 0, &child.id()), Some(MessageState::Delivered));
    assert!(net.events[0].iter().any(|event| matches!(event, Event::HistoryGap { .. })));
    checked(&net, 0);
}

#[test]
fn one_that_waits_goes_too_and_its_children_are_delivered_in_turn() {
    for restart in [false, true] {
        let mut net = Net::new(1, 1);
        net.judge = judge;
        let group = net.group("g", true);
        let at = (net.now + 1_000).as_timestamp_ms();
        let root = message(group, "a:-:root", &[]);
        let waits = message(group, &format!("a:{at}:waits"), &[&root]);
        let child = message(group, "a:-:child", &[&waits]);
        let liar = Liar::new(&mut net, &[group]);
        liar.send(&mut net, 1, &waits);
        liar.send(&mut net, 1, &child);
        assert_eq!(state_of(&net, 0, &waits.id()), Some(MessageState::Waiting));
        net.run(1_000);
        assert_eq!(state_of(&net, 0, &waits.id()), Some(MessageState::Lapsed));
        assert_eq!(net.engines[0].message(&waits.id()).unwrap().unwrap().body, None);
        checked(&net, 0);
        let liar = if restart {
            net.restart(0, 8);
            Liar::new(&mut net, &[group])
        } else {
            liar
        };
        liar.send(&mut net, 1, &root);
        assert_eq!(state_of(&net, 0, &waits.id()), Some(MessageState::Pruned));
        assert_eq!(held(&net, 0, group), ["a:-:root", "a:-:child"]);
        assert_eq!(pruned(&net, 0), 1);
        // It is there as far as the peer is concerned.
        liar.send(&mut net, 1, &waits);
        assert_eq!(state_of(&net, 0, &waits.id()), Some(MessageState::Pruned));
        checked(&net, 0);
    }
}

#[test]
fn one_from_the_future_goes_before_its_time_comes() {
    let mut net = Net::new(1, 1);
    net.judge = judge;
    let group = net.group("g", true);
    let at = (net.now + 1_000).as_timestamp_ms();
    let early = hedgerow_proto::Message::new(
        group,
        (net.now + 48 * 3_600_000).as_timestamp_ms(),
        vec![],
        format!("a:{at}:early").into(),
    )
    .unwrap();
    Liar::new(&mut net, &[group]).send(&mut net, 1, &early);
    assert_eq!(state_of(&net, 0, &early.id()), Some(MessageState::Early));
    net.run(1_000);
    assert_eq!(state_of(&net, 0, &early.id()), Some(MessageState::Lapsed));
    net.restart(0, 3);
    net.run(24 * 3_600_000);
    assert_eq!(state_of(&net, 0, &early.id()), Some(MessageState::Pruned));
    checked(&net, 0);
}

#[test]
fn one_that_comes_too_late_is_delivered_without_a_body() {
    let mut net = Net::new(1, 1);
    net.judge = judge;
    let group = net.group("g", true);
    let at = net.now.as_timestamp_ms();
    let late = message(group, &format!("a:{at}:late"), &[]);
    let child = message(group, "a:-:child", &[&late]);
    let liar = Liar::new(&mut net, &[group]);
    liar.send(&mut net, 1, &late);
    liar.send(&mut net, 1, &child);
    assert_eq!(state_of(&net, 0, &late.id()), Some(MessageState::Pruned));
    assert_eq!(held(&net, 0, group), ["a:-:child"]);
    checked(&net, 0);
    let draft = Draft { timestamp_ms: at, deps: vec![], body: "a:0:x".into() };
    let facts = MessageFacts { author: None, expires_ms: Some(at) };
    let now = net.now;
    let error = net.engines[0].publish_with(group, draft, facts, now).unwrap_err();
    assert!(matches!(error, EngineError::Expired { expires_ms } if expires_ms == at));
    assert_eq!(net.engines[0].store().expiring(i64::MAX, 9).unwrap(), []);
}
