//! What an application asks for that is not there or does not fit, and stores whose rows cannot be.

use bytes::Bytes;
use hedgerow_proto::{GroupId, MessageError, MessageId, PeerId, Visibility, limits};

use crate::store::{Direction, GroupRow, PeerGroupRow, Store as _};
use crate::testing::{Net, descriptor, open, peer};
use crate::{Config, Draft, Engine, EngineError, Event, LinkProfile, MemoryStore, StoreError, Time};

#[test]
fn an_unknown_group_is_named_by_every_question() {
    let mut net = Net::new(1, 1);
    let nowhere = GroupId::from_bytes([1; 32]);
    let (engine, now) = (&mut net.engines[0], net.now);
    let draft = Draft { timestamp_ms: 5, deps: vec![], body: "x".into() };
    let told = [
        engine.publish(nowhere, draft, now).err(),
        engine.publish_ephemeral(nowhere, "x".into(), now).err(),
        engine.has_room(nowhere, 1, 1).err(),
        engine.heads(nowhere, 1).err(),
        engine.entry(nowhere, 1).err(),
        engine.log(nowhere, 0, 1, 1).err(),
        engine.page(nowhere, None, Direction::Forward, 1).err(),
        engine.set_visibility(peer(5), nowhere, Visibility::Shared).err(),
        engine.set_max_bytes(nowhere, None).err(),
        engine.remove_group(nowhere).err(),
    ];
    for (at, error) in told.iter().enumerate() {
        assert!(
            matches!(error, Some(EngineError::UnknownGroup(group)) if *group == nowhere),
            "question {at}: {error:?}"
        );
    }
    assert!(engine.missing(nowhere).is_empty() && engine.group(nowhere).is_none());
    assert_eq!(engine.visibility(peer(5), nowhere), Visibility::Invisible);
    assert_eq!(engine.message(&MessageId::from_bytes([1; 32])).unwrap(), None);
    assert_eq!(engine.status().peers, [], "no peer was noted for it");
    engine.commit().unwrap();
    assert!(engine.store().load().unwrap().peers.is_empty());
}

#[test]
fn pages_of_the_log_end_at_their_limits() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    for n in 0..6 {
        net.publish(0, group, &format!("{n}{}", "x".repeat(99)));
    }
    let count = |after, count, bytes| net.engines[0].log(group, after, count, bytes).unwrap().len();
    assert_eq!(count(0, 4, usize::MAX), 4);
    assert_eq!(count(4, 4, usize::MAX), 2);
    assert_eq!(count(0, 9, 250), 3, "no more once so many bytes are reached");
    assert_eq!(count(0, 0, 0), 1, "at least one");
    assert_eq!((count(6, 9, 9), count(70, 9, 9)), (0, 0), "after the last");
    let group_heads = |limit| net.engines[0].heads(group, limit).unwrap();
    assert_eq!(group_heads(9).len(), 1);
    assert!(group_heads(0).is_empty());
}

#[test]
fn of_many_heads_the_newest_are_told() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let mut ids: Vec<MessageId> =
        (0..40).map(|n| net.publish_after(0, group, &format!("head {n}"), vec![])).collect();
    let mut newest = ids.split_off(30);
    newest.sort_unstable();
    assert_eq!(net.engines[0].heads(group, 10).unwrap(), newest);
    assert_eq!(net.engines[0].heads(group, 100).unwrap().len(), 40);
}

#[test]
fn ephemerals_are_bounded_and_one_that_fits_nowhere_holds_up_none() {
    let config = Config { max_ephemerals: 3, ..Config::default() };
    let mut net = Net::with(2, 1, config);
    let group = net.group("g", false);
    net.connect_with(
        0,
        1,
        LinkProfile { max_frame: 1_000, ..LinkProfile::reliable() },
        crate::testing::CLEAN,
    );
    net.run(1_000);
    let now = net.now;
    let long = Bytes::from(vec![0; limits::MAX_BODY + 1]);
    let refused = net.engines[0].publish_ephemeral(group, long, now);
    assert!(
        matches!(refused, Err(EngineError::Message(MessageError::BodyTooLong(len))) if len == limits::MAX_BODY + 1)
    );
    // The first is pushed out; the second fits through no frame of this link; both others need a frame of their own.
    for body in [vec![1; 10], vec![2; 2_000], vec![3; 600], vec![4; 600]] {
        net.engines[0].publish_ephemeral(group, body.into(), now).unwrap();
    }
    net.run(1_000);
    let got: Vec<u8> = net.events[1]
        .iter()
        .filter_map(|event| match event {
            Event::Ephemeral { body, .. } => Some(body[0]),
            _ => None,
        })
        .collect();
    assert_eq!(got, [3, 4]);
    net.assert_silent();
}

#[test]
fn a_peer_that_is_removed_is_gone_with_its_links() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    net.publish(0, group, "x");
    net.connect(0, 1);
    net.run(1_000);
    let now = net.now;
    net.engines[0].remove_peer(peer(1), now).unwrap();
    net.engines[0].remove_peer(peer(1), now).unwrap();
    let status = net.engines[0].status();
    assert!(status.links.is_empty() && status.peers.is_empty());
    assert_eq!(net.engines[0].visibility(peer(1), group), Visibility::Invisible);
    assert_eq!(net.engines[0].audit(), Vec::<String>::new());
    assert_eq!(net.bodies(0, group), ["x"], "what there is stays");
}

#[test]
fn links_that_cannot_be_are_refused() {
    let config = Config { max_links: 2, ..Config::default() };
    let mut net = Net::with(1, 1, config);
    let (engine, now) = (&mut net.engines[0], net.now);
    let small = engine.link_up(peer(1), LinkProfile::lossy(limits::MIN_MAX_FRAME - 1), now);
    let least = limits::MIN_MAX_FRAME;
    assert!(
        matches!(small, Err(EngineError::FrameTooSmall { least: l, found }) if l == least && found == l - 1)
    );
    for _ in 0..2 {
        engine.link_up(peer(1), LinkProfile::reliable(), now).unwrap();
    }
    let third = engine.link_up(peer(1), LinkProfile::reliable(), now);
    assert!(matches!(third, Err(EngineError::TooManyLinks { most: 2, .. })), "{third:?}");
    engine.link_up(peer(2), LinkProfile::reliable(), now).unwrap();
    assert_eq!(engine.status().links.len(), 3);
}

#[test]
fn room_for_own_messages_is_told_before_they_are_written() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let cap = 1 << 20;
    assert!(net.engines[0].has_room(group, 1_000, u64::MAX >> 1).unwrap(), "there is no cap");
    net.engines[0].set_max_bytes(group, Some(cap)).unwrap();
    assert!(net.engines[0].has_room(group, 1, cap - 128).unwrap());
    assert!(!net.engines[0].has_room(group, 1, cap - 127).unwrap());
    assert!(!net.engines[0].has_room(group, 2, cap - 128).unwrap(), "each counts for 128 bytes more");
    assert!(!net.engines[0].has_room(group, u64::MAX, 1).unwrap());
}

/// Opens an engine on a store with a group, a peer, and one row that a test has changed.
fn opened(change: impl FnOnce(&mut MemoryStore, GroupRow, PeerGroupRow)) -> Result<(), EngineError> {
    let mut engine = open(MemoryStore::new(), &Config::default(), 0, 1, Time(0));
    let group = engine.add_group(&descriptor("g"), false).unwrap();
    engine.set_visibility(PeerId::from_bytes([7; 32]), group, Visibility::Shared).unwrap();
    engine.commit().unwrap();
    let mut store = engine.into_store();
    let rows = store.load().unwrap();
    change(&mut store, rows.groups[0].clone(), rows.peer_groups[0].clone());
    store.commit().unwrap();
    Engine::open(store, Config::default(), [0; 32], Time(0)).map(drop)
}

#[test]
fn rows_that_cannot_be_are_named_when_the_engine_is_opened() {
    assert!(opened(|_, _, _| {}).is_ok());
    let said = |result: Result<(), EngineError>| match result {
        Err(EngineError::Store(StoreError::Corrupt(what))) => what,
        other => panic!("{other:?}"),
    };
    let scheme = opened(|store, group, _| store.put_group(&GroupRow { scheme: 99, ..group }).unwrap());
    assert!(said(scheme).contains("unknown id scheme"));
    let other = opened(|store, group, _| store.put_group(&GroupRow { major_version: 9, ..group }).unwrap());
    assert!(said(other).contains("its descriptor is not what its id names"));
    let nameless =
        opened(|store, group, _| store.put_group(&GroupRow { client_id: String::new(), ..group }).unwrap());
    assert!(said(nameless).contains("client id"));
    let has = opened(|store, _, pair| store.put_peer_group(&PeerGroupRow { has: vec![9], ..pair }).unwrap());
    assert!(said(has).contains("the positions of"));
    let got = opened(|store, _, pair| store.put_peer_group(&PeerGroupRow { got: vec![9], ..pair }).unwrap());
    assert!(said(got).contains("the positions of"));
}
