//! Groups, peers, peers in groups, values.

use hedgerow_proto::Visibility;

use super::Harness;
use super::samples::{A, B, delivered, group, insert, message, peer, peer_group, with_groups};
use crate::store::{
    AuthorNum, AuthorRow, Direction, GroupRow, MessageNum, MessageState, PeerGroupRow, PeerNum, PeerRow,
    Snapshot, Store, StoreError,
};

/// A store that nothing was written to has nothing.
pub fn a_new_store_is_empty<H: Harness>() {
    let mut harness = H::new();
    let store = harness.store();
    assert_eq!(store.load().unwrap(), Snapshot::default());
    assert_eq!(store.scan(MessageNum(0), usize::MAX).unwrap(), []);
    assert_eq!(store.edges((MessageNum(0), MessageNum(0)), usize::MAX).unwrap(), []);
    assert_eq!(store.heads(A).unwrap(), []);
    assert_eq!(store.page(A, None, Direction::Forward, usize::MAX).unwrap(), []);
    assert_eq!(store.values("", None, usize::MAX).unwrap(), []);
    assert_eq!(store.value("", b"").unwrap(), None);
    assert_eq!(store.row(MessageNum(0)).unwrap(), None);
}

/// Group rows are kept, replaced, and their heads set.
pub fn groups_and_their_heads<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    let b = GroupRow {
        judged: true,
        descriptor: vec![],
        client_id: "ü".into(),
        max_bytes: Some(u64::MAX),
        body_bytes: 1,
        ..group(B)
    };
    store.put_group(&b).unwrap();
    store.set_head(A, u64::MAX >> 1, u64::MAX, u64::MAX).unwrap();
    let a = GroupRow { head: u64::MAX >> 1, chain: u64::MAX, body_bytes: u64::MAX, ..group(A) };
    for row in [&a, &b] {
        assert_eq!(store.group(&row.id).unwrap().as_ref(), Some(row));
    }
    assert_eq!(store.group(&hedgerow_proto::GroupId::from_bytes([0xfe; 32])).unwrap(), None);
    assert_eq!(store.load().unwrap().groups, [a, b]);
    assert!(matches!(store.set_head(crate::store::GroupNum(9), 1, 1, 1), Err(StoreError::Corrupt(_))));
}

/// Peer rows and the rows of peers in groups are kept, replaced, removed.
pub fn peers_and_their_groups<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    store.set_install(u64::MAX).unwrap();
    for n in [2, 1] {
        store.put_peer(&peer(n)).unwrap();
        store.put_peer_group(&peer_group(n, B)).unwrap();
        store.put_peer_group(&peer_group(n, A)).unwrap();
    }
    let changed = PeerGroupRow {
        visibility: Visibility::Visible,
        has: vec![],
        got: vec![0xff; 3_000],
        mark: 0,
        mark_chain: 0,
        ..peer_group(1, B)
    };
    store.put_peer_group(&changed).unwrap();
    let silent = PeerRow { install: None, ..peer(2) };
    store.put_peer(&silent).unwrap();
    let all = store.load().unwrap();
    assert_eq!(all.install, Some(u64::MAX));
    assert_eq!(all.peers, [peer(1), silent]);
    assert_eq!(store.peer(PeerNum(2)).unwrap(), Some(silent));
    assert_eq!(all.peer_groups, [peer_group(1, A), changed, peer_group(2, A), peer_group(2, B)]);

    store.remove_peer(PeerNum(2)).unwrap();
    store.remove_peer(PeerNum(1)).unwrap();
    assert_eq!(store.peer(PeerNum(2)).unwrap(), None);
    let none = store.load().unwrap();
    assert_eq!((none.peers, none.peer_groups, none.last_nums), (vec![], vec![], (2, 2)));
}

/// A group takes its messages, edges, heads and peer rows with it, and nothing else.
pub fn removal_of_groups<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    store.put_peer(&peer(1)).unwrap();
    store.put_peer_group(&peer_group(1, A)).unwrap();
    store.put_peer_group(&peer_group(1, B)).unwrap();
    let mut kept = Vec::new();
    for (g, base) in [(A, 0), (B, 100)] {
        let first = insert(store, delivered(g, base + 1, 1), &[]);
        let wanted = insert(store, message(g, base + 2, MessageState::Wanted), &[]);
        let waits = insert(store, message(g, base + 3, MessageState::Waiting), &[first.num, wanted.num]);
        store.add_edge(wanted.num, waits.num).unwrap();
        store.change_heads(g, &[], &[first.num]).unwrap();
        kept = vec![first, wanted, waits];
    }
    let foreign = insert(store, message(B, 200, MessageState::Invalid), &[MessageNum(1), kept[0].num]);
    store.remove_group(A).unwrap();
    store.commit().unwrap();
    harness.crash();
    let store = harness.store();
    assert_eq!(store.scan(MessageNum(0), 9).unwrap(), [kept[0], kept[1], kept[2], foreign]);
    assert_eq!(store.edges((MessageNum(0), MessageNum(0)), 9).unwrap(), [(kept[1].num, kept[2].num)]);
    assert_eq!((store.heads(A).unwrap(), store.heads(B).unwrap()), (vec![], vec![kept[0].num]));
    assert_eq!(store.page(A, None, Direction::Forward, 9).unwrap(), []);
    assert_eq!(store.at(A, 1).unwrap(), None);
    assert_eq!(store.find(&delivered(A, 1, 1).id).unwrap(), None);
    let all = store.load().unwrap();
    assert_eq!((all.groups, all.peer_groups), (vec![group(B)], vec![peer_group(1, B)]));
    assert_eq!(all.last_nums, (2, 1));
    // What an invalid message named of the other group is gone.
    let deps = store.content(foreign.num).unwrap().unwrap().deps;
    assert_eq!(deps.iter().map(|dep| dep.num).collect::<Vec<_>>(), [kept[0].num]);
    store.remove_group(B).unwrap();
    assert_eq!(store.load().unwrap().last_nums, (2, 1));
    assert!(matches!(store.remove_group(B), Err(StoreError::Corrupt(_))));
}

/// Authors have numbers in their groups, and go with these.
pub fn authors_of_groups<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    let keys = [[1; 32], [2; 32]];
    for (n, (group, key)) in (1..).zip([(A, keys[0]), (B, keys[0]), (A, keys[1])]) {
        assert_eq!(store.author_num(group, &key).unwrap(), None);
        assert_eq!(store.add_author(group, &key).unwrap(), AuthorNum(n));
    }
    store.commit().unwrap();
    harness.crash();
    let store = harness.store();
    for (n, (group, key)) in (1..).zip([(A, keys[0]), (B, keys[0]), (A, keys[1])]) {
        let num = AuthorNum(n);
        assert_eq!(store.author_num(group, &key).unwrap(), Some(num));
        assert_eq!(store.author(num).unwrap(), Some(AuthorRow { num, group, key }));
    }
    assert_eq!(store.author(AuthorNum(0)).unwrap(), None);
    assert_eq!(store.author(AuthorNum(u32::MAX)).unwrap(), None);
    assert!(matches!(store.add_author(B, &keys[0]), Err(StoreError::Corrupt(_))));
    store.rollback().unwrap();
    assert!(matches!(store.add_author(crate::store::GroupNum(9), &keys[0]), Err(StoreError::Corrupt(_))));
    store.rollback().unwrap();
    store.remove_group(A).unwrap();
    assert_eq!((store.author(AuthorNum(1)).unwrap(), store.author(AuthorNum(3)).unwrap()), (None, None));
    assert_eq!(store.author_num(B, &keys[0]).unwrap(), Some(AuthorNum(2)));
    // The number after the highest one there is.
    assert_eq!(store.add_author(B, &keys[1]).unwrap(), AuthorNum(3));
    store.rollback().unwrap();
    assert_eq!(store.author(AuthorNum(3)).unwrap().map(|row| row.group), Some(A));
}

/// Values are kept by space and key, and listed by key.
pub fn values_in_spaces<H: Harness>() {
    let mut harness = H::new();
    let store = harness.store();
    for key in [&b"b"[..], b"", b"\xff\xff", b"a", b"\xff", b"a\0"] {
        store.set_value("x", key, Some(key)).unwrap();
    }
    store.set_value("y", b"a", Some(&[7; 40_000])).unwrap();
    store.set_value("x", b"b", Some(b"")).unwrap();
    store.set_value("x", b"\xff", None).unwrap();
    store.set_value("x", b"never", None).unwrap();
    assert_eq!(store.value("x", b"b").unwrap(), Some(vec![]));
    assert_eq!(store.value("x", b"\xff").unwrap(), None);
    assert_eq!(store.value("y", b"a").unwrap(), Some(vec![7; 40_000]));
    let pair = |key: &[u8], value: &[u8]| (key.to_vec(), value.to_vec());
    let all = [
        pair(b"", b""),
        pair(b"a", b"a"),
        pair(b"a\0", b"a\0"),
        pair(b"b", b""),
        pair(b"\xff\xff", b"\xff\xff"),
    ];
    assert_eq!(store.values("x", None, usize::MAX).unwrap(), all);
    assert_eq!(store.values("x", None, 2).unwrap(), all[..2]);
    assert_eq!(store.values("x", Some(b""), 2).unwrap(), all[1..3]);
    assert_eq!(store.values("x", Some(b"a!"), 9).unwrap(), all[3..]);
    assert_eq!(store.values("x", Some(b"\xff\xff"), 9).unwrap(), []);
    assert_eq!(store.values("X", None, 9).unwrap(), []);
}
