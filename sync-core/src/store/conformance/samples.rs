//! Rows to test with. Stores do not look into them: ids are any bytes here.

use bytes::Bytes;
use hedgerow_proto::{GroupDescriptor, MessageId, PeerId, Visibility};

use super::Harness;
use crate::store::{
    GroupNum, GroupRow, MessageNum, MessageRow, MessageState, PeerGroupRow, PeerNum, PeerRow, Store,
};
use crate::time::Time;

pub(super) const A: GroupNum = GroupNum(1);
pub(super) const B: GroupNum = GroupNum(2);

pub(super) fn group(num: GroupNum) -> GroupRow {
    let descriptor = GroupDescriptor::new("org.example.test", num.0, b"descriptor".to_vec()).unwrap();
    GroupRow {
        num,
        id: descriptor.id(),
        scheme: 1,
        client_id: descriptor.client_id().to_owned(),
        major_version: descriptor.major_version(),
        descriptor: descriptor.descriptor().to_vec(),
        judged: num == A,
        head: 0,
        chain: 0,
        body_bytes: 0,
        max_bytes: None,
    }
}

pub(super) fn peer(num: u32) -> PeerRow {
    let id = PeerId::from_bytes([num.to_be_bytes()[3]; 32]);
    PeerRow { num: PeerNum(num), id, install: Some(u64::MAX - u64::from(num)) }
}

pub(super) fn peer_group(peer: u32, group: GroupNum) -> PeerGroupRow {
    PeerGroupRow {
        peer: PeerNum(peer),
        group,
        visibility: Visibility::Shared,
        has: vec![1, 2],
        got: vec![],
        mark: u64::MAX,
        mark_chain: u64::MAX - 1,
    }
}

/// A place whose store has the groups A and B.
pub(super) fn with_groups<H: Harness>() -> H {
    let mut harness = H::new();
    harness.store().put_group(&group(A)).unwrap();
    harness.store().put_group(&group(B)).unwrap();
    harness
}

pub(super) fn id(n: u8) -> MessageId {
    MessageId::from_bytes([n; 32])
}

/// A message with extreme values in its row.
pub(super) fn message(group: GroupNum, n: u8, state: MessageState) -> MessageRow {
    MessageRow {
        num: MessageNum(0),
        group,
        id: id(n),
        state,
        timestamp_ms: i64::MAX - i64::from(n),
        eff_ms: 0,
        height: 0,
        position: 0,
        chain: 0,
        origin: (!n.is_multiple_of(2)).then_some(PeerNum(u32::MAX)),
        arrived: Time(u64::MAX - u64::from(n)),
        body_len: 4,
        missing: u32::from(n),
        reason: 0,
        author: None,
        expires_ms: None,
    }
}

pub(super) fn delivered(group: GroupNum, n: u8, position: u64) -> MessageRow {
    MessageRow {
        position,
        eff_ms: i64::MAX,
        height: position,
        chain: u64::MAX - position,
        ..message(group, n, MessageState::Delivered)
    }
}

/// Inserts a message with the body that the samples have, and gives the row back with its number.
pub(super) fn insert<S: Store>(store: &mut S, row: MessageRow, deps: &[MessageNum]) -> MessageRow {
    let body = Bytes::from_static(b"body");
    let num = store.insert(&row, deps, row.state.has_body().then_some(&body)).unwrap();
    MessageRow { num, ..row }
}
