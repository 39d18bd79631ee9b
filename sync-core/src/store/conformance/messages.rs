//! Single messages: looked up, written, removed.

use bytes::Bytes;

use super::Harness;
use super::samples::{A, B, delivered, group, id, insert, message, peer_group, with_groups};
use crate::store::{AuthorNum, Content, MessageNum, MessageRow, MessageState, Store, StoreError, StoredDep};

/// A message is found by id, number and position, with every field as it was written.
pub fn lookups<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    let rows = [
        insert(store, delivered(A, 1, 1), &[]),
        insert(store, message(A, 2, MessageState::Early), &[]),
        insert(store, delivered(B, 3, 1), &[]),
        insert(store, delivered(A, 4, 2), &[]),
        insert(store, MessageRow { timestamp_ms: 0, eff_ms: i64::MIN, ..delivered(A, 5, 3) }, &[]),
    ];
    store.commit().unwrap();
    for crash in [false, true] {
        if crash {
            harness.crash();
        }
        let store = harness.store();
        for row in &rows {
            assert_eq!(store.find(&row.id).unwrap().as_ref(), Some(row));
            assert_eq!(store.row(row.num).unwrap().as_ref(), Some(row));
            if row.position > 0 {
                assert_eq!(store.at(row.group, row.position).unwrap().as_ref(), Some(row));
            }
        }
        for position in [0, 4, u64::MAX] {
            assert_eq!(store.at(A, position).unwrap(), None);
        }
        for num in [0, 6, u64::MAX] {
            assert_eq!(store.row(MessageNum(num)).unwrap(), None);
            assert_eq!(store.content(MessageNum(num)).unwrap(), None);
        }
        // Ids that begin or end as one that is there.
        for byte in [0, 31] {
            let mut other = *id(1).as_bytes();
            other[byte] ^= 0x80;
            assert_eq!(store.find(&hedgerow_proto::MessageId::from_bytes(other)).unwrap(), None);
        }
    }
}

/// Dependencies come back in the order in which they were given, with ids, and positions as they are now.
pub fn contents_and_dependencies<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    // Numbers do not ascend as ids do.
    let parents: Vec<_> =
        (1..=64).map(|n| insert(store, message(A, 65 - n, MessageState::Wanted), &[])).collect();
    let nums: Vec<_> = parents.iter().rev().map(|row| row.num).collect();
    let child = insert(store, message(A, 100, MessageState::Unvalidated), &nums);
    store.fill(&delivered_as(&parents[0], 1), &[], &Bytes::from_static(b"now")).unwrap();
    let content = store.content(child.num).unwrap().unwrap();
    let expected: Vec<_> = parents
        .iter()
        .rev()
        .map(|row| StoredDep { num: row.num, id: row.id, position: u64::from(row.num == parents[0].num) })
        .collect();
    assert_eq!(content, Content { deps: expected, body: Some(Bytes::from_static(b"body")) });
    assert_eq!(store.content(parents[1].num).unwrap(), Some(Content { deps: vec![], body: None }));
}

fn delivered_as(row: &MessageRow, position: u64) -> MessageRow {
    MessageRow { num: row.num, id: row.id, ..delivered(row.group, 0, position) }
}

/// Bodies from nothing to the longest, kept as they were; an empty body is not no body.
pub fn bodies_large_and_empty<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    let lengths = [0, 1, 200, 1_023, 1_024, 1_025, 4_096, 32_768];
    let bodies: Vec<Bytes> = lengths
        .iter()
        .map(|&len| (0..len).map(|i: u32| i.to_le_bytes()[0]).collect::<Vec<_>>().into())
        .collect();
    for (n, body) in (1..).zip(&bodies) {
        let state = if n % 2 == 0 { MessageState::Unvalidated } else { MessageState::Waiting };
        let row = MessageRow { body_len: body.len().try_into().unwrap(), ..message(A, n, state) };
        store.insert(&row, &[], Some(body)).unwrap();
        let wanted = insert(store, message(A, 100 + n, MessageState::Wanted), &[]);
        store.fill(&MessageRow { num: wanted.num, id: wanted.id, ..row }, &[], body).unwrap();
    }
    store.commit().unwrap();
    harness.crash();
    let store = harness.store();
    for (n, body) in (1..).zip(&bodies) {
        for n in [n, 100 + n] {
            let row = store.find(&id(n)).unwrap().unwrap();
            assert_eq!(store.content(row.num).unwrap().unwrap().body.as_ref(), Some(body));
            store.update(&MessageRow { state: MessageState::Invalid, reason: 1, ..row }).unwrap();
            assert_eq!(store.content(row.num).unwrap(), Some(Content { deps: vec![], body: None }));
            let tombstone = store.row(row.num).unwrap().unwrap();
            assert_eq!(tombstone.body_len as usize, body.len());
        }
    }
}

/// A wanted message gets everything but its number and id when it comes.
pub fn wanted_messages_are_filled<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    let parent = insert(store, delivered(A, 1, 1), &[]);
    let wanted = insert(store, message(B, 2, MessageState::Wanted), &[]);
    let row = MessageRow { id: id(99), num: wanted.num, ..delivered(A, 98, 2) };
    store.fill(&row, &[parent.num], &Bytes::from_static(b"came")).unwrap();
    let filled = MessageRow { id: wanted.id, ..row };
    assert_eq!(store.row(wanted.num).unwrap(), Some(filled));
    assert_eq!(store.find(&wanted.id).unwrap(), Some(filled));
    assert_eq!(store.find(&row.id).unwrap(), None);
    assert_eq!(store.at(A, 2).unwrap(), Some(filled));
    assert_eq!(store.in_state(MessageState::Wanted, MessageNum(0), 9).unwrap(), []);
    let content = store.content(wanted.num).unwrap().unwrap();
    assert_eq!(content.deps, [StoredDep { num: parent.num, id: parent.id, position: 1 }]);
    assert_eq!(content.body, Some(Bytes::from_static(b"came")));
    // It came: it cannot come again.
    assert!(matches!(store.fill(&filled, &[], &Bytes::new()), Err(StoreError::Corrupt(_))));
}

/// An update writes the fields that it is said to write, and removes the body where the state has none.
pub fn updates<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    let parent = insert(store, delivered(A, 1, 1), &[]);
    let row = insert(store, message(A, 2, MessageState::Unvalidated), &[parent.num]);
    let other = MessageRow {
        num: row.num,
        arrived: crate::Time(1),
        body_len: 0,
        author: Some(AuthorNum(u32::MAX)),
        expires_ms: Some(i64::MIN),
        ..delivered(B, 3, 2)
    };
    store.update(&other).unwrap();
    let updated = MessageRow {
        group: B,
        state: MessageState::Delivered,
        eff_ms: other.eff_ms,
        height: other.height,
        position: other.position,
        chain: other.chain,
        missing: other.missing,
        author: other.author,
        expires_ms: other.expires_ms,
        ..row
    };
    assert_eq!(store.find(&row.id).unwrap(), Some(updated));
    assert_eq!((store.at(A, 2).unwrap(), store.at(B, 2).unwrap()), (None, Some(updated)));
    assert_eq!(store.content(row.num).unwrap().unwrap().body, Some(Bytes::from_static(b"body")));
    let pruned = MessageRow { state: MessageState::Pruned, ..updated };
    store.update(&pruned).unwrap();
    assert_eq!(store.at(B, 2).unwrap(), Some(pruned));
    let content = store.content(row.num).unwrap().unwrap();
    assert_eq!((content.deps.len(), content.body), (1, None));
    let buried = insert(store, message(A, 4, MessageState::Waiting), &[parent.num]);
    store.update(&MessageRow { state: MessageState::Invalid, reason: 1, ..buried }).unwrap();
    let content = store.content(buried.num).unwrap().unwrap();
    assert_eq!((content.deps.len(), content.body), (0, None));
}

/// A removed message is gone with its edges and as a head; one that is waited for stays.
pub fn removal_of_messages<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    let wanted = insert(store, message(A, 1, MessageState::Wanted), &[]);
    let child = insert(store, message(A, 2, MessageState::Unvalidated), &[wanted.num]);
    store.add_edge(wanted.num, child.num).unwrap();
    let head = insert(store, delivered(A, 3, 1), &[]);
    store.change_heads(A, &[], &[head.num]).unwrap();
    store.commit().unwrap();
    assert!(matches!(store.remove(wanted.num), Err(StoreError::Corrupt(_))));
    store.rollback().unwrap();
    for num in [child.num, wanted.num, head.num] {
        store.remove(num).unwrap();
    }
    assert_eq!(store.scan(MessageNum(0), 9).unwrap(), []);
    assert_eq!(store.edges((MessageNum(0), MessageNum(0)), 9).unwrap(), []);
    assert_eq!(store.heads(A).unwrap(), []);
    assert_eq!((store.find(&id(3)).unwrap(), store.at(A, 1).unwrap()), (None, None));
    assert_eq!(store.content(child.num).unwrap(), None);
    // The id and the position are free again.
    let again = insert(store, delivered(A, 3, 1), &[]);
    assert_eq!(store.at(A, 1).unwrap(), Some(again));
}

/// Numbers go on after those of removed messages, also when the store was closed in between.
pub fn numbers_are_not_reused<H: Harness>() {
    let mut harness = with_groups::<H>();
    let store = harness.store();
    let nums: Vec<u64> =
        (1..=3).map(|n| insert(store, message(A, n, MessageState::Wanted), &[]).num.0).collect();
    assert_eq!(nums, [1, 2, 3]);
    store.remove(MessageNum(3)).unwrap();
    store.commit().unwrap();
    harness.crash();
    let store = harness.store();
    assert_eq!(insert(store, message(A, 4, MessageState::Wanted), &[]).num, MessageNum(4));
    store.remove_group(A).unwrap();
    store.commit().unwrap();
    harness.crash();
    let store = harness.store();
    assert_eq!(insert(store, message(B, 5, MessageState::Wanted), &[]).num, MessageNum(5));
}

/// What contradicts itself or names what is not there is refused, and nothing of it is kept.
pub fn wrong_writes_are_refused<H: Harness>() {
    let nowhere = MessageNum(9);
    let body = Bytes::from_static(b"body");
    let mut harness = with_groups::<H>();
    let held = insert(harness.store(), delivered(A, 1, 1), &[]);
    harness.store().commit().unwrap();
    let mut refused = |what: &str, write: &dyn Fn(&mut H::Store) -> Result<(), StoreError>| {
        let result = write(harness.store());
        assert!(matches!(result, Err(StoreError::Corrupt(_))), "{what}: {result:?}");
        harness.store().rollback().unwrap();
        assert_eq!(harness.store().scan(MessageNum(0), 9).unwrap(), [held], "{what}");
        assert_eq!(harness.store().heads(A).unwrap(), [], "{what}");
    };
    let waiting = message(A, 2, MessageState::Waiting);
    let insert = |row: MessageRow, deps: Vec<MessageNum>| {
        let body = body.clone();
        move |store: &mut H::Store| store.insert(&row, &deps, Some(&body)).map(drop)
    };
    refused("an id twice", &insert(message(B, 1, MessageState::Waiting), vec![]));
    refused("a position twice", &insert(delivered(A, 2, 1), vec![]));
    refused("delivered without a position", &insert(delivered(A, 2, 0), vec![]));
    refused("waiting at a position", &insert(MessageRow { position: 2, ..waiting }, vec![]));
    refused("a dependency on nothing", &insert(waiting, vec![nowhere]));
    refused(
        "a group that is not there",
        &insert(message(crate::store::GroupNum(9), 2, waiting.state), vec![]),
    );
    refused("held without a body", &|store| store.insert(&waiting, &[], None).map(drop));
    refused("filling nothing", &|store| store.fill(&MessageRow { num: nowhere, ..waiting }, &[], &body));
    refused("updating nothing", &|store| store.update(&MessageRow { num: nowhere, ..waiting }));
    refused("undelivered at a position", &|store| {
        store.update(&MessageRow { state: MessageState::Waiting, ..held })
    });
    refused("removing nothing", &|store| store.remove(nowhere));
    refused("an edge to nothing", &|store| store.add_edge(held.num, nowhere));
    refused("an edge from nothing", &|store| store.add_edge(nowhere, held.num));
    refused("nothing as a head", &|store| store.change_heads(A, &[], &[held.num, nowhere]));
    refused("heads of no group", &|store| store.change_heads(crate::store::GroupNum(9), &[], &[]));
    refused("a peer that is not there", &|store| store.put_peer_group(&peer_group(9, A)));
    refused("a peer removed that is not there", &|store| store.remove_peer(crate::store::PeerNum(9)));
    let twice = crate::store::GroupRow { num: crate::store::GroupNum(3), ..group(A) };
    refused("a group under two numbers", &|store| store.put_group(&twice));
}
