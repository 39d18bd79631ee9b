//! Lists: what stands in them, in which order, and how they are paged through.

use hedgerow_proto::MessageId;

use super::Harness;
use super::samples::{A, B, delivered, insert, message, with_groups};
use crate::order::OrderKey;
use crate::store::{Direction, Edge, MessageNum, MessageRow, MessageState, Store};

/// Pages in canonical order, both ways: by effective timestamp, height, id; from keys that are there or not.
pub fn pages_in_canonical_order<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    let mut rows = Vec::new();
    // Ids that are equal in the first 31 bytes, in 7, in none; arriving in no order.
    for (n, (eff, height, first, last)) in (1_u8..).zip([
        (5, 1, 1, 9),
        (-3, 7, 1, 1),
        (5, 1, 1, 2),
        (5, 2, 0, 3),
        (i64::MAX, 1, 0, 4),
        (5, 1, 0x80, 0),
        (i64::MIN, 1, 0, 5),
        (5, 1, 1, 0x80),
        (5, 1, 0, 0xff),
        (5, u64::MAX >> 1, 0xff, 0xff),
    ]) {
        let mut id = [1; 32];
        (id[0], id[7], id[31]) = (first, n % 2, last);
        let row = MessageRow {
            id: MessageId::from_bytes(id),
            eff_ms: eff,
            height,
            ..delivered(A, n, u64::from(n))
        };
        rows.push(insert(store, row, &[]));
    }
    insert(store, delivered(B, 100, 1), &[]);
    insert(store, message(A, 101, MessageState::Waiting), &[]);
    // A tombstone is in the order too.
    rows[3].state = MessageState::Pruned;
    store.update(&rows[3]).unwrap();
    rows.sort_by_key(MessageRow::key);
    let reversed: Vec<_> = rows.iter().rev().copied().collect();

    assert_eq!(store.page(A, None, Direction::Forward, usize::MAX).unwrap(), rows);
    assert_eq!(store.page(A, None, Direction::Backward, usize::MAX).unwrap(), reversed);
    assert_eq!(store.page(A, None, Direction::Forward, 3).unwrap(), rows[..3]);
    assert_eq!(store.page(A, None, Direction::Forward, 0).unwrap(), []);
    assert_eq!(store.page(A, None, Direction::Backward, 3).unwrap(), reversed[..3]);
    let ids =
        [MessageId::from_bytes([0; 32]), MessageId::from_bytes([1; 32]), MessageId::from_bytes([0xff; 32])];
    let there = rows.iter().map(MessageRow::key);
    let not_there = [i64::MIN, -3, 0, 5, i64::MAX].into_iter().flat_map(|eff_ms| {
        [0, 1, 2, 99, u64::MAX]
            .into_iter()
            .flat_map(move |height| ids.into_iter().map(move |id| OrderKey { eff_ms, height, id }))
    });
    for key in there.chain(not_there) {
        let later: Vec<_> = rows.iter().filter(|row| row.key() > key).copied().collect();
        let earlier: Vec<_> = reversed.iter().filter(|row| row.key() < key).copied().collect();
        for limit in [1, 4, 100] {
            let page = store.page(A, Some(&key), Direction::Forward, limit).unwrap();
            assert_eq!(page, later[..limit.min(later.len())], "after {key:?}");
            let page = store.page(A, Some(&key), Direction::Backward, limit).unwrap();
            assert_eq!(page, earlier[..limit.min(earlier.len())], "before {key:?}");
        }
    }
}

/// Each state has its list, which follows every change of state.
pub fn lists_by_state<H: Harness>() {
    const STATES: [MessageState; 7] = [
        MessageState::Wanted,
        MessageState::Unvalidated,
        MessageState::Waiting,
        MessageState::Early,
        MessageState::Delivered,
        MessageState::Invalid,
        MessageState::Pruned,
    ];
    let mut harness = with_groups::<H>();
    let store = harness.store();
    let mut rows: Vec<MessageRow> = (0..35_u8)
        .map(|n| {
            let state = STATES[usize::from(n) % 7];
            let group = if n < 20 { A } else { B };
            let position = if state.is_delivered() { u64::from(n) } else { 0 };
            insert(store, MessageRow { state, ..delivered(group, n, position) }, &[])
        })
        .collect();
    for pass in 0..2 {
        for state in STATES {
            let listed: Vec<_> = rows.iter().filter(|row| row.state == state).copied().collect();
            assert_eq!(store.in_state(state, MessageNum(0), usize::MAX).unwrap(), listed, "{state:?} {pass}");
            for after in [0, 1, 17, 34, 35, u64::MAX] {
                let rest: Vec<_> = listed.iter().filter(|row| row.num.0 > after).take(2).copied().collect();
                assert_eq!(store.in_state(state, MessageNum(after), 2).unwrap(), rest, "{state:?} {after}");
            }
        }
        for row in rows.iter_mut().filter(|row| row.state.has_body() && row.num.0 % 2 == 0) {
            (row.state, row.position) = (MessageState::Invalid, 0);
            store.update(row).unwrap();
        }
    }
}

/// A scan lists every message of every group by number.
pub fn scans<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    let mut rows: Vec<_> = (1..10)
        .map(|n| insert(store, message(if n % 2 == 0 { A } else { B }, n, MessageState::Early), &[]))
        .collect();
    store.remove(rows.remove(4).num).unwrap();
    assert_eq!(store.scan(MessageNum(0), usize::MAX).unwrap(), rows);
    assert_eq!(store.scan(MessageNum(0), 0).unwrap(), []);
    assert_eq!(store.scan(MessageNum(4), 2).unwrap(), rows[4..6]);
    assert_eq!(store.scan(MessageNum(5), 2).unwrap(), rows[4..6]);
    assert_eq!(store.scan(MessageNum(9), 2).unwrap(), []);
    assert_eq!(store.scan(MessageNum(u64::MAX), 2).unwrap(), []);
}

/// Edges are a set, listed by parent and child.
pub fn edges_and_children<H: Harness>() {
    const START: Edge = (MessageNum(0), MessageNum(0));
    let mut harness = with_groups::<H>();
    let store = harness.store();
    for n in 1..=6 {
        insert(store, message(A, n, MessageState::Wanted), &[]);
    }
    let edge = |parent, child| (MessageNum(parent), MessageNum(child));
    let edges = [edge(1, 4), edge(2, 1), edge(2, 4), edge(2, 6), edge(5, 3)];
    for (parent, child) in edges.into_iter().rev().chain([edge(2, 4), edge(3, 3)]) {
        store.add_edge(parent, child).unwrap();
    }
    for (parent, child) in [edge(3, 3), edge(3, 3), edge(8, 9)] {
        store.remove_edge(parent, child).unwrap();
    }
    assert_eq!(store.edges(START, usize::MAX).unwrap(), edges);
    assert_eq!(store.edges(START, 2).unwrap(), edges[..2]);
    assert_eq!(store.edges(edge(2, 1), 2).unwrap(), edges[2..4]);
    assert_eq!(store.edges(edge(2, 2), 2).unwrap(), edges[2..4]);
    assert_eq!(store.edges(edge(2, u64::MAX), 2).unwrap(), edges[4..]);
    assert_eq!(store.edges(edge(5, 3), 2).unwrap(), []);
    let children = |after, limit| store.children(MessageNum(2), MessageNum(after), limit).unwrap();
    assert_eq!(children(0, usize::MAX), [1, 4, 6].map(MessageNum));
    assert_eq!(children(1, 1), [MessageNum(4)]);
    assert_eq!(children(5, 9), [MessageNum(6)]);
    assert_eq!(children(6, 9), []);
    assert_eq!(store.children(MessageNum(9), MessageNum(0), 9).unwrap(), []);
}

/// Heads are a set for each group; what is removed and added at once is there.
pub fn heads_of_groups<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    for n in 1..=5 {
        insert(store, delivered(if n < 4 { A } else { B }, n, u64::from(n)), &[]);
    }
    let nums = |nums: &[u64]| nums.iter().copied().map(MessageNum).collect::<Vec<_>>();
    store.change_heads(A, &[], &nums(&[3, 1])).unwrap();
    store.change_heads(B, &nums(&[1]), &nums(&[4, 4])).unwrap();
    assert_eq!((store.heads(A).unwrap(), store.heads(B).unwrap()), (nums(&[1, 3]), nums(&[4])));
    store.change_heads(A, &nums(&[3, 1, 9]), &nums(&[2, 3])).unwrap();
    store.change_heads(B, &nums(&[4]), &[]).unwrap();
    assert_eq!((store.heads(A).unwrap(), store.heads(B).unwrap()), (nums(&[2, 3]), vec![]));
}

/// What expires: soonest first, only what has a body, as rows change.
pub fn lists_by_expiry<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    let expires = |expires_ms: i64, row: MessageRow| MessageRow { expires_ms: Some(expires_ms), ..row };
    let late = insert(store, expires(i64::MAX, delivered(A, 1, 1)), &[]);
    let soon = insert(store, expires(5, message(B, 2, MessageState::Waiting)), &[]);
    let also = insert(store, expires(5, message(A, 3, MessageState::Early)), &[]);
    insert(store, delivered(A, 4, 2), &[]);
    insert(store, expires(1, MessageRow { state: MessageState::Pruned, ..delivered(A, 5, 3) }), &[]);
    let never = insert(store, message(A, 6, MessageState::Unvalidated), &[]);
    store.commit().unwrap();
    harness.crash();
    let store = harness.store();
    assert_eq!(store.expiring(i64::MAX, 9).unwrap(), [soon, also, late]);
    assert_eq!(store.expiring(i64::MAX, 2).unwrap(), [soon, also]);
    assert_eq!(store.expiring(5, 9).unwrap(), [soon, also]);
    assert_eq!(store.expiring(4, 9).unwrap(), []);
    store.update(&MessageRow { state: MessageState::Lapsed, ..soon }).unwrap();
    let now = expires(-1, MessageRow { state: MessageState::Waiting, ..never });
    store.update(&now).unwrap();
    assert_eq!(store.expiring(i64::MAX, 9).unwrap(), [now, also, late]);
    store.remove_group(A).unwrap();
    assert_eq!(store.expiring(i64::MAX, 9).unwrap(), []);
}
