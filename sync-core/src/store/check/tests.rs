use std::collections::BTreeSet;

use bytes::Bytes;
use hedgerow_proto::{GroupDescriptor, Message, MessageId, PeerId, Span, Visibility};
use smallvec::SmallVec;

use super::*;
use crate::order::{OrderKey, chain};
use crate::spanset::SpanSet;
use crate::store::memory::places::Places;
use crate::store::memory::tables::{Change, Entry};
use crate::store::{MemoryStore, PeerGroupRow, PeerNum, PeerRow};
use crate::time::Time;

const GROUP: GroupNum = GroupNum(1);
const OTHER: GroupNum = GroupNum(2);

// The numbers of the messages that `sound` inserts.
const ROOT: MessageNum = MessageNum(1);
const TRUNK: MessageNum = MessageNum(2);
const WANTED: MessageNum = MessageNum(3);
const WAITING: MessageNum = MessageNum(4);
const UNVALIDATED: MessageNum = MessageNum(5);
const EARLY: MessageNum = MessageNum(6);
const INVALID: MessageNum = MessageNum(7);
const PRUNED: MessageNum = MessageNum(8);
const TIP: MessageNum = MessageNum(9);
const FOREIGN: MessageNum = MessageNum(10);
const LAPSED: MessageNum = MessageNum(11);
const GAP: MessageNum = MessageNum(12);

fn places(store: &mut MemoryStore) -> &mut Places {
    store.tables().places.get_mut(&GROUP).unwrap()
}

fn group(num: GroupNum) -> GroupRow {
    let descriptor = GroupDescriptor::new("org.example.check", num.0, vec![]).unwrap();
    GroupRow {
        num,
        id: descriptor.id(),
        scheme: 1,
        client_id: descriptor.client_id().to_owned(),
        major_version: num.0,
        descriptor: vec![],
        judged: true,
        head: 0,
        chain: 0,
        body_bytes: 0,
        max_bytes: None,
    }
}

/// Inserts a message as an engine does, and returns its number.
fn put(
    store: &mut MemoryStore,
    in_group: GroupNum,
    state: MessageState,
    timestamp_ms: i64,
    deps: &[MessageNum],
) -> MessageNum {
    let mut deps: Vec<_> = deps.iter().map(|&dep| store.row(dep).unwrap().unwrap()).collect();
    deps.sort_by_key(|dep| dep.id);
    let body = Bytes::from(format!("body at {timestamp_ms}"));
    let ids = deps.iter().map(|dep| dep.id).collect();
    let message = Message::new(group(in_group).id, timestamp_ms, ids, body.clone()).unwrap();
    let row = store.load().unwrap().groups.into_iter().find(|group| group.num == in_group).unwrap();
    let delivered = state.is_delivered();
    let id = message.id();
    let key = OrderKey::of(timestamp_ms, id, deps.iter().map(|dep| (dep.eff_ms, dep.height)));
    let undelivered: Vec<_> = deps.iter().filter(|dep| !dep.state.is_delivered()).collect();
    let waits = edges::waits(state);
    let num = store
        .insert(
            &MessageRow {
                num: MessageNum(0),
                group: in_group,
                id,
                state,
                timestamp_ms,
                eff_ms: if delivered { key.eff_ms } else { 0 },
                height: if delivered { key.height } else { 0 },
                position: if delivered { row.head + 1 } else { 0 },
                chain: if delivered { chain(row.chain, &id) } else { 0 },
                origin: None,
                arrived: Time(1),
                body_len: body.len().try_into().unwrap(),
                missing: undelivered.len().try_into().unwrap(),
                reason: u8::from(state == MessageState::Invalid),
                author: None,
                expires_ms: None,
            },
            &deps.iter().map(|dep| dep.num).collect::<Vec<_>>(),
            Some(&body),
        )
        .unwrap();
    if delivered {
        let bytes = if state == MessageState::Delivered { body.len() as u64 } else { 0 };
        store.set_head(in_group, row.head + 1, chain(row.chain, &id), row.body_bytes + bytes).unwrap();
        let parents: Vec<_> = deps.iter().map(|dep| dep.num).collect();
        store.change_heads(in_group, &parents, &[num]).unwrap();
    }
    for dep in undelivered.iter().filter(|_| waits) {
        store.add_edge(dep.num, num).unwrap();
    }
    num
}

/// A store with a message in each state and a peer, in which nothing is wrong.
fn sound() -> MemoryStore {
    let mut store = MemoryStore::new();
    store.put_group(&group(GROUP)).unwrap();
    store.put_group(&group(OTHER)).unwrap();
    let (s, g) = (&mut store, GROUP);
    assert_eq!(put(s, g, MessageState::Delivered, 10, &[]), ROOT);
    assert_eq!(put(s, g, MessageState::Delivered, 5, &[ROOT]), TRUNK);
    let wanted = MessageRow::wanted(MessageId::from_bytes([0xee; 32]), g);
    assert_eq!(s.insert(&wanted, &[], None).unwrap(), WANTED);
    assert_eq!(put(s, g, MessageState::Waiting, 20, &[TRUNK, WANTED]), WAITING);
    assert_eq!(put(s, g, MessageState::Unvalidated, 21, &[ROOT, WAITING, WANTED]), UNVALIDATED);
    assert_eq!(put(s, g, MessageState::Early, 9_000, &[TRUNK]), EARLY);
    assert_eq!(put(s, g, MessageState::Invalid, 22, &[ROOT, WANTED]), INVALID);
    assert_eq!(put(s, g, MessageState::Pruned, 23, &[TRUNK]), PRUNED);
    assert_eq!(put(s, g, MessageState::Delivered, 24, &[ROOT, TRUNK]), TIP);
    assert_eq!(put(s, OTHER, MessageState::Delivered, 10, &[]), FOREIGN);
    let s = &mut store;
    assert_eq!(put(s, g, MessageState::Lapsed, 25, &[TRUNK, WANTED]), LAPSED);
    let id = MessageId::from_bytes([0xdd; 32]);
    let group = s.load().unwrap().groups.remove(0);
    let (position, value) = (group.head + 1, chain(group.chain, &id));
    let state = MessageState::Gap;
    let gap = MessageRow { id, state, position, chain: value, eff_ms: 3, height: 99, ..wanted };
    assert_eq!(s.insert(&gap, &[], None).unwrap(), GAP);
    s.set_head(g, position, value, group.body_bytes).unwrap();
    s.change_heads(g, &[], &[GAP]).unwrap();
    let author = s.add_author(g, &[7; 32]).unwrap();
    let tip = s.row(TIP).unwrap().unwrap();
    s.update(&MessageRow { author: Some(author), expires_ms: Some(99), ..tip }).unwrap();
    store.put_peer(&PeerRow { num: PeerNum(1), id: PeerId::from_bytes([1; 32]), install: None }).unwrap();
    let known = |last| SpanSet::from_iter([Span { first: 1, last }]).to_bytes();
    store
        .put_peer_group(&PeerGroupRow {
            peer: PeerNum(1),
            group: GROUP,
            visibility: Visibility::Shared,
            has: known(4),
            got: known(99),
            mark: 0,
            mark_chain: 0,
        })
        .unwrap();
    store
}

/// Changes a row behind the store's back; the indexes follow.
fn with(num: MessageNum, change: impl Fn(&mut Entry) + 'static) -> Box<dyn Fn(&mut MemoryStore)> {
    Box::new(move |store| {
        let mut entry = store.tables().message(num).unwrap().clone();
        change(&mut entry);
        store.tables().apply(Change::Message(num, Some(entry.into())));
    })
}

fn with_group(change: impl Fn(&mut GroupRow) + 'static) -> Box<dyn Fn(&mut MemoryStore)> {
    Box::new(move |store| change(store.tables().groups.get_mut(&GROUP).unwrap()))
}

fn with_peer(change: impl Fn(&mut PeerGroupRow) + 'static) -> Box<dyn Fn(&mut MemoryStore)> {
    Box::new(move |store| change(store.tables().peer_groups.first_entry().unwrap().get_mut()))
}

fn does(change: Change) -> Box<dyn Fn(&mut MemoryStore)> {
    Box::new(move |store| drop(store.tables().apply(change.clone())))
}

type Breakage = (Invariant, &'static str, Box<dyn Fn(&mut MemoryStore)>);

fn breakages() -> Vec<Breakage> {
    use Invariant::*;
    vec![
        (Readable, "a dependency is gone", with(TIP, |e| e.deps = SmallVec::from_slice(&[MessageNum(77)]))),
        (Readable, "a message is gone", does(Change::Message(ROOT, None))),
        (GroupId, "the descriptor is another", with_group(|group| group.descriptor.push(1))),
        (GroupId, "the scheme is unknown", with_group(|group| group.scheme = 99)),
        (GroupId, "the client id is empty", with_group(|group| group.client_id.clear())),
        (Group, "the group is gone", with(EARLY, |e| e.row.group = GroupNum(7))),
        (MessageId, "the body is another", with(ROOT, |e| e.body = Some("body xx 10".into()))),
        (MessageId, "the timestamp is another", with(EARLY, |e| e.row.timestamp_ms += 1)),
        (MessageId, "the timestamp is not legal", with(EARLY, |e| e.row.timestamp_ms = -1)),
        (MessageId, "the dependencies are others", with(EARLY, |e| e.deps = SmallVec::from_slice(&[ROOT]))),
        (MessageId, "the group is another", with(EARLY, |e| e.row.group = OTHER)),
        (Body, "a held message has none", with(WAITING, |e| e.body = None)),
        (Body, "a tombstone has one", with(PRUNED, |e| e.body = Some("x".into()))),
        (Body, "the length is another", with(ROOT, |e| e.row.body_len += 1)),
        (Deps, "they do not ascend", with(TIP, |e| e.deps = e.deps.iter().rev().copied().collect())),
        (Deps, "one stands there twice", with(EARLY, |e| e.deps = SmallVec::from_slice(&[TRUNK, TRUNK]))),
        (Positions, "one is skipped", with(TIP, |e| e.row.position = 9)),
        (Positions, "the head is beyond", with_group(|group| group.head += 1)),
        (Positions, "the head is behind", with_group(|group| group.head -= 1)),
        (Positions, "the head is wild", with_group(|group| group.head = u64::MAX)),
        (Positions, "one waits at a position", with(EARLY, |e| e.row.position = 5)),
        (Positions, "one waits with a height", with(EARLY, |e| e.row.height = 3)),
        (Positions, "a delivered one has none", with(TIP, |e| e.row.position = 0)),
        (Chain, "a message's is another", with(TRUNK, |e| e.row.chain += 1)),
        (Chain, "the group's is another", with_group(|group| group.chain += 1)),
        (DeliveryOrder, "a dependency waits", with(ROOT, |e| e.row.state = MessageState::Waiting)),
        (
            DeliveryOrder,
            "a dependency comes later",
            Box::new(|store| {
                for (num, position) in [(ROOT, 99), (TRUNK, 1), (ROOT, 2)] {
                    with(num, move |e| e.row.position = position)(store);
                }
            }),
        ),
        (
            DeliveryOrder,
            "a dependency is foreign",
            with(EARLY, |e| e.deps = SmallVec::from_slice(&[FOREIGN])),
        ),
        (OrderKey, "the effective time is another", with(TRUNK, |e| e.row.eff_ms = 5)),
        (OrderKey, "the height is another", with(TIP, |e| e.row.height = 2)),
        (
            CanonicalOrder,
            "one is not listed",
            Box::new(|store| assert!(places(store).ascending.remove(0).1 > MessageNum(0))),
        ),
        (
            CanonicalOrder,
            "one is listed in its place",
            Box::new(|store| places(store).ascending[0].1 = EARLY),
        ),
        (Missing, "too many are counted", with(WAITING, |e| e.row.missing = 2)),
        (Missing, "none is counted", with(UNVALIDATED, |e| e.row.missing = 0)),
        (Missing, "one waits for nothing", with(EARLY, |e| e.row.state = MessageState::Waiting)),
        (Missing, "an early one waits", with(WAITING, |e| e.row.state = MessageState::Early)),
        (Missing, "a delivered one waits", with(TIP, |e| e.row.missing = 1)),
        (Edges, "one is not there", does(Change::Edge((WAITING, UNVALIDATED), false))),
        (Edges, "one leads to nothing", does(Change::Edge((WANTED, MessageNum(77)), true))),
        (Edges, "one leads to a tombstone", does(Change::Edge((WANTED, INVALID), true))),
        (Edges, "one is of a delivered dependency", does(Change::Edge((TRUNK, WAITING), true))),
        (Edges, "one is of no dependency", does(Change::Edge((WANTED, EARLY), true))),
        (
            Wanted,
            "nothing waits for it",
            Box::new(|store| {
                let edges = &mut store.tables().edges;
                edges.retain(|edge| edge.0 != WANTED);
            }),
        ),
        (Wanted, "it has a timestamp", with(WANTED, |e| e.row.timestamp_ms = 1)),
        (Wanted, "it has dependencies", with(WANTED, |e| e.deps = SmallVec::from_slice(&[ROOT]))),
        (Reason, "an invalid one has none", with(INVALID, |e| e.row.reason = 0)),
        (Reason, "an invalid one has an unknown one", with(INVALID, |e| e.row.reason = 200)),
        (Reason, "another has one", with(ROOT, |e| e.row.reason = 1)),
        (Reason, "another has an unknown one", with(ROOT, |e| e.row.reason = 200)),
        (
            InvalidDependency,
            "a waiting one has one",
            with(WAITING, |e| e.deps = SmallVec::from_slice(&[INVALID])),
        ),
        (
            InvalidDependency,
            "a delivered one has one",
            with(TIP, |e| e.deps = SmallVec::from_slice(&[INVALID])),
        ),
        (Heads, "one is not listed", does(Change::Head(GROUP, TIP, false))),
        (Heads, "one has a child", does(Change::Head(GROUP, TRUNK, true))),
        (Heads, "one is not delivered", does(Change::Head(GROUP, EARLY, true))),
        (Heads, "one is of another group", does(Change::Head(GROUP, FOREIGN, true))),
        (Heads, "one is not there", does(Change::Head(GROUP, MessageNum(77), true))),
        (PeerGroup, "the peer is gone", does(Change::Peer(PeerNum(1), None))),
        (PeerGroup, "the group is not there", with_peer(|row| row.group = GroupNum(7))),
        (PeerGroup, "`has` is beyond the head", with_peer(|row| row.has = vec![6, 0])),
        (PeerGroup, "`has` is no set", with_peer(|row| row.has = vec![0])),
        (PeerGroup, "`got` is no set", with_peer(|row| row.got = vec![1])),
        (Numbers, "one is above the last", does(Change::LastNums((1, 1)))),
        (Numbers, "a peer is above the last", does(Change::LastNums((2, 0)))),
        (
            Numbers,
            "two have the same id",
            Box::new(|store| {
                let row = store.tables().groups.get(&OTHER).unwrap().clone();
                store.tables().groups.insert(GROUP, GroupRow { num: GROUP, ..row });
            }),
        ),
        (
            Lookup,
            "an id is not found",
            Box::new(|store| {
                let id = store.row(TIP).unwrap().unwrap().id;
                store.tables().message_ids.remove(&id);
            }),
        ),
        (
            Lookup,
            "a state does not list one",
            Box::new(|store| assert!(store.tables().states.remove(&(MessageState::Early, EARLY)))),
        ),
        (
            Lookup,
            "what expires is not listed",
            Box::new(|store| assert!(store.tables().expiries.remove(&(99, TIP)))),
        ),
        (
            Lookup,
            "what does not expire is listed",
            Box::new(|store| assert!(store.tables().expiries.insert((99, ROOT)))),
        ),
        (BytesHeld, "there are more", with_group(|group| group.body_bytes -= 1)),
        (BytesHeld, "there are less", with_group(|group| group.body_bytes += 1)),
        (Author, "it is not there", with(TIP, |e| e.row.author = Some(AuthorNum(7)))),
        (Author, "it is in another group", with(FOREIGN, |e| e.row.author = Some(AuthorNum(1)))),
        (Body, "a lapsed one has one", with(LAPSED, |e| e.body = Some("x".into()))),
        (OrderKey, "a gap has no height", with(GAP, |e| e.row.height = 0)),
        (
            Lookup,
            "a state lists another's",
            Box::new(|store| assert!(store.tables().states.insert((MessageState::Early, TIP)))),
        ),
    ]
}

#[test]
fn nothing_is_wrong_with_a_sound_store() {
    assert_eq!(check(&MemoryStore::new()).unwrap(), CheckReport::default());
    let report = check(&sound()).unwrap();
    let counts = CheckReport {
        messages: 12,
        wanted: 1,
        unvalidated: 1,
        waiting: 1,
        early: 1,
        delivered: 4,
        invalid: 1,
        pruned: 1,
        lapsed: 1,
        gaps: 1,
        bytes: 967,
        group_bytes: vec![(group(GROUP).id, 829), (group(OTHER).id, 138)],
        edges: 4,
        groups: 2,
        peers: 1,
        ..CheckReport::default()
    };
    assert_eq!(report, counts, "{report}");
}

#[test]
fn each_breakage_is_found() {
    for (invariant, what, break_it) in breakages() {
        let mut store = sound();
        break_it(&mut store);
        let report = check(&store).unwrap();
        let found = report.problems.iter().any(|problem| problem.invariant == invariant);
        assert!(found, "{invariant:?}, {what}: {report}");
        assert!(report.problem_count >= report.problems.len() as u64 && !report.is_clean());
    }
}

#[test]
fn every_invariant_is_broken_once() {
    let broken: BTreeSet<_> = breakages().into_iter().map(|(invariant, ..)| invariant).collect();
    let mut all: BTreeSet<_> = Invariant::ALL.iter().copied().collect();
    // That one is for stores on a storage engine.
    all.remove(&Invariant::Storage);
    assert_eq!(broken, all);
}

#[test]
fn a_large_store_is_read_in_batches() {
    let mut store = sound();
    let mut last = TIP;
    for n in 0..3 * BATCH as i64 {
        last = put(&mut store, GROUP, MessageState::Delivered, 100 + n % 7, &[last]);
        put(&mut store, GROUP, MessageState::Waiting, 5_000 + n, &[WANTED]);
    }
    let report = check(&store).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.messages, report.edges), (12 + 6 * BATCH as u64, 4 + 3 * BATCH as u64));
    with(last, |e| e.row.height -= 1)(&mut store);
    assert_eq!(check(&store).unwrap().problem_count, 1);
}
