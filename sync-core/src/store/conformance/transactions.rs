//! Transactions: what is seen, what stays, what is undone.

use super::Harness;
use super::samples::{A, delivered, group, insert, message, peer, peer_group, with_groups};
use crate::store::{MessageNum, MessageRow, MessageState, Snapshot, Store};

/// Everything that can be read of the sample rows.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    small: Snapshot,
    messages: Vec<MessageRow>,
    heads: Vec<MessageNum>,
    edges: Vec<(MessageNum, MessageNum)>,
    value: Option<Vec<u8>>,
    first: Option<MessageRow>,
}

fn see<S: Store>(store: &S) -> Seen {
    Seen {
        small: store.load().unwrap(),
        messages: store.scan(MessageNum(0), 99).unwrap(),
        heads: store.heads(A).unwrap(),
        edges: store.edges((MessageNum(0), MessageNum(0)), 99).unwrap(),
        value: store.value("x", b"k").unwrap(),
        first: store.find(&delivered(A, 1, 1).id).unwrap(),
    }
}

/// Groups and a little of everything, uncommitted.
fn first_batch<H: Harness>() -> H {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    let first = insert(store, delivered(A, 1, 1), &[]);
    let wanted = insert(store, message(A, 2, MessageState::Wanted), &[]);
    let waits = insert(store, message(A, 3, MessageState::Waiting), &[first.num, wanted.num]);
    store.add_edge(wanted.num, waits.num).unwrap();
    store.change_heads(A, &[], &[first.num]).unwrap();
    store.set_value("x", b"k", Some(b"v")).unwrap();
    store.put_peer(&peer(1)).unwrap();
    store.put_peer_group(&peer_group(1, A)).unwrap();
    store.set_install(1).unwrap();
    store.set_head(A, 1, 1, 4).unwrap();
    harness
}

/// Changes and removes what the first batch wrote.
fn second_batch<S: Store>(store: &mut S) {
    let first = store.row(MessageNum(1)).unwrap().unwrap();
    store.update(&MessageRow { state: MessageState::Pruned, ..first }).unwrap();
    store.remove(MessageNum(3)).unwrap();
    store.remove(MessageNum(2)).unwrap();
    let next = insert(store, delivered(A, 4, 2), &[first.num]);
    store.change_heads(A, &[first.num], &[next.num]).unwrap();
    store.set_head(A, 2, 2, 8).unwrap();
    store.set_value("x", b"k", None).unwrap();
    store.remove_peer(peer(1).num).unwrap();
    store.set_install(2).unwrap();
    store.remove_group(super::samples::B).unwrap();
    store
        .put_group(&crate::store::GroupRow { num: crate::store::GroupNum(7), ..group(super::samples::B) })
        .unwrap();
}

/// Reads see what was written and not yet committed.
pub fn read_your_writes<H: Harness>() {
    let mut harness = first_batch::<H>();
    let first = see(harness.store());
    assert_eq!((first.small.install, first.messages.len(), first.heads.len()), (Some(1), 3, 1));
    assert_eq!((first.edges.len(), first.value.as_deref()), (1, Some(&b"v"[..])));
    second_batch(harness.store());
    let second = see(harness.store());
    assert_eq!(second.messages.iter().map(|row| row.num.0).collect::<Vec<_>>(), [1, 4]);
    assert_eq!((second.first.unwrap().state, second.small.last_nums), (MessageState::Pruned, (7, 1)));
    assert_eq!((second.heads, second.edges, second.value), (vec![MessageNum(4)], vec![], None));
}

/// What is committed is there after a crash, the rest is as it was.
pub fn a_crash_undoes_what_is_not_committed<H: Harness>() {
    let mut harness = first_batch::<H>();
    harness.crash();
    assert_eq!(harness.store().load().unwrap(), Snapshot::default());
    assert_eq!(harness.store().scan(MessageNum(0), 99).unwrap(), []);

    let mut harness = first_batch::<H>();
    harness.store().commit().unwrap();
    let first = see(harness.store());
    second_batch(harness.store());
    harness.crash();
    assert_eq!(see(harness.store()), first);
    second_batch(harness.store());
    harness.store().commit().unwrap();
    let second = see(harness.store());
    harness.crash();
    assert_eq!(see(harness.store()), second);
}

/// A rollback undoes as a crash does, and writing goes on after it.
pub fn rollback_undoes<H: Harness>() {
    let mut harness = first_batch::<H>();
    let store = harness.store();
    store.commit().unwrap();
    let first = see(store);
    second_batch(store);
    store.rollback().unwrap();
    assert_eq!(see(store), first);
    store.rollback().unwrap();
    second_batch(store);
    let second = see(store);
    store.commit().unwrap();
    store.rollback().unwrap();
    assert_eq!(see(store), second);
}

/// Commits without writes do nothing.
pub fn commit_without_writes<H: Harness>() {
    let mut harness = H::new();
    for _ in 0..3 {
        harness.store().commit().unwrap();
    }
    assert_eq!(harness.store().load().unwrap(), Snapshot::default());
    harness.crash();
    harness.store().commit().unwrap();
}
