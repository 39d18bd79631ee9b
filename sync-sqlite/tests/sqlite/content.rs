//! Writes content as an engine does: every id, position, key and edge is right.

use bytes::Bytes;
use hedgerow_proto::{GroupDescriptor, Message, MessageId, PeerId, Visibility};
use hedgerow_sync_core::store::{
    GroupNum, GroupRow, MessageNum, MessageRow, MessageState, PeerGroupRow, PeerNum, PeerRow,
};
use hedgerow_sync_core::{OrderKey, SpanSet, Store, StoreError, Time, chain};
use hedgerow_sync_sqlite::SqliteStore;

pub(crate) const GROUP: GroupNum = GroupNum(1);

/// A group and a peer, if they are not there.
pub(crate) fn prepare(store: &mut SqliteStore) -> Result<(), StoreError> {
    if store.load()?.groups.is_empty() {
        let descriptor = GroupDescriptor::new("org.example.disk", 1, b"x".to_vec()).unwrap();
        store.set_install(7)?;
        store.put_group(&GroupRow {
            num: GROUP,
            id: descriptor.id(),
            scheme: 1,
            client_id: descriptor.client_id().to_owned(),
            major_version: 1,
            descriptor: b"x".to_vec(),
            judged: true,
            head: 0,
            chain: 0,
            body_bytes: 0,
            max_bytes: None,
        })?;
        store.put_peer(&PeerRow { num: PeerNum(1), id: PeerId::from_bytes([1; 32]), install: None })?;
    }
    Ok(())
}

/// Writes a batch on top of what is there, and does not commit it: `count` delivered messages in a chain, and in
/// front of them one of each other state.
pub(crate) fn write_batch(store: &mut SqliteStore, count: usize, body_len: usize) -> Result<(), StoreError> {
    let group = store.load()?.groups.remove(0);
    let (mut head, mut value) = (group.head, group.chain);
    let mut tip = store.at(GROUP, head)?;
    let first_tip = tip;
    for n in 0..count {
        let (id, row, body) = message(&group, head + 1, tip.as_slice(), body_len);
        (head, value) = (head + 1, chain(value, &id));
        let state = MessageState::Delivered;
        let row = MessageRow { state, position: head, chain: value, ..row };
        let deps: Vec<_> = tip.iter().map(|tip| tip.num).collect();
        // Every other one is judged after it was stored.
        let num = if n % 2 == 0 {
            store.insert(&row, &deps, Some(&body))?
        } else {
            let state = MessageState::Unvalidated;
            let held = MessageRow { state, position: 0, chain: 0, eff_ms: 0, height: 0, ..row };
            let num = store.insert(&held, &deps, Some(&body))?;
            store.update(&MessageRow { num, ..row })?;
            num
        };
        tip = Some(MessageRow { num, ..row });
    }
    beside(store, &group, tip.unwrap())?;
    let bodies = group.body_bytes + (count * body_len) as u64;
    store.set_head(GROUP, head, value, bodies)?;
    let (removed, added) = (first_tip.map(|row| row.num), tip.map(|row| row.num));
    store.change_heads(GROUP, removed.as_slice(), added.as_slice())?;
    let mut has = SpanSet::new();
    has.insert(head);
    store.put_peer_group(&PeerGroupRow {
        peer: PeerNum(1),
        group: GROUP,
        visibility: Visibility::Shared,
        has: has.to_bytes(),
        got: vec![],
        mark: head,
        mark_chain: value,
    })
}

/// One message that is wanted, one that waits for it, an early and an invalid one.
fn beside(store: &mut SqliteStore, group: &GroupRow, tip: MessageRow) -> Result<(), StoreError> {
    let mut wanted = [0xee; 32];
    wanted[..8].copy_from_slice(&tip.position.to_be_bytes());
    let wanted = MessageRow::wanted(MessageId::from_bytes(wanted), tip.group);
    let wanted = MessageRow { num: store.insert(&wanted, &[], None)?, ..wanted };
    for (state, deps, missing, reason) in [
        (MessageState::Waiting, vec![wanted, tip], 1, 0),
        (MessageState::Early, vec![tip], 0, 0),
        (MessageState::Invalid, vec![tip], 0, 1),
    ] {
        let mut deps = deps;
        deps.sort_by_key(|dep| dep.id);
        let (_, row, body) = message(group, tip.position * 10 + state as u64, &deps, 2_000);
        let row = MessageRow { state, eff_ms: 0, height: 0, missing, reason, ..row };
        let nums: Vec<_> = deps.iter().map(|dep| dep.num).collect();
        let child = store.insert(&row, &nums, Some(&body))?;
        if missing > 0 {
            store.add_edge(wanted.num, child)?;
        }
    }
    Ok(())
}

fn message(
    group: &GroupRow,
    seed: u64,
    deps: &[MessageRow],
    body_len: usize,
) -> (MessageId, MessageRow, Bytes) {
    let body: Bytes = seed.to_be_bytes().into_iter().cycle().take(body_len).collect::<Vec<_>>().into();
    let timestamp_ms = 1_700_000_000_000 + seed as i64 % 50;
    let ids = deps.iter().map(|dep| dep.id).collect();
    let id = Message::new(group.id, timestamp_ms, ids, body.clone()).unwrap().id();
    let key = OrderKey::of(timestamp_ms, id, deps.iter().map(|dep| (dep.eff_ms, dep.height)));
    let row = MessageRow {
        num: MessageNum(0),
        group: GROUP,
        id,
        state: MessageState::Wanted,
        timestamp_ms,
        eff_ms: key.eff_ms,
        height: key.height,
        position: 0,
        chain: 0,
        origin: (seed.is_multiple_of(2)).then_some(PeerNum(1)),
        arrived: Time(1_700_000_000_500),
        body_len: body.len().try_into().unwrap(),
        missing: 0,
        reason: 0,
        author: None,
        expires_ms: None,
    };
    (id, row, body)
}

/// The number of the message at a position of a store that nobody has open.
pub(crate) fn num_at(path: &std::path::Path, group: u32, position: u64) -> u64 {
    let store = SqliteStore::open_read_only(path, hedgerow_sync_sqlite::Options::default()).unwrap();
    store.at(GroupNum(group), position).unwrap().unwrap().num.0
}

pub(crate) fn head(store: &SqliteStore) -> u64 {
    store.load().unwrap().groups.first().map_or(0, |group| group.head)
}

pub(crate) fn assert_clean(store: &SqliteStore) {
    let report = store.check().unwrap();
    assert!(report.is_clean(), "{report}");
}
