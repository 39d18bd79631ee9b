//! Any sequence of operations gives the answers that the model gives.

use bytes::Bytes;
use hedgerow_proto::MessageId;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};

use super::Harness;
use super::naive::NaiveStore;
use super::samples::{group, message, peer, peer_group};
use crate::order::OrderKey;
use crate::store::{
    AuthorNum, AuthorRow, Content, Direction, Edge, GroupNum, GroupRow, KeyValue, MessageNum, MessageRow,
    MessageState, PeerGroupRow, PeerNum, Snapshot, Store, StoreError,
};

/// Operations on a handful of groups, peers and messages, so that they meet.
#[derive(Debug, Clone)]
enum Op {
    PutGroup(u32, bool),
    SetHead(u32, u64),
    RemoveGroup(u32),
    PutPeer(u32),
    RemovePeer(u32),
    PutPeerGroup(u32, u32, u64),
    Insert(Row, Vec<u64>, Option<usize>),
    Fill(u64, Row, Vec<u64>, usize),
    Update(u64, Row),
    SetDeps(u64, Vec<u64>),
    Remove(u64),
    AddEdge(u64, u64),
    RemoveEdge(u64, u64),
    ChangeHeads(u32, Vec<u64>, Vec<u64>),
    SetValue(u8, Option<u8>),
    AddAuthor(u32, u8),
    Commit,
    Rollback,
    Crash,
}

/// What a message row is made of. A position of 0 stands for the next one that is free.
#[derive(Debug, Clone)]
struct Row {
    group: u32,
    id: u8,
    state: u8,
    eff: i64,
    height: u64,
    position: u64,
    author: Option<u32>,
    expires: Option<i64>,
}

const MESSAGES: std::ops::Range<u64> = 1..16;

fn op() -> impl Strategy<Value = Op> {
    let row = (1_u32..4, 0_u8..40, 0_u8..9, 0_i64..3, 0_u64..3, 0_u64..9, 0_u32..3, -2_i64..4)
        // Taken positions are tried now and then.
        .prop_map(|(group, id, state, eff, height, position, author, expires)| Row {
            group,
            id,
            state,
            eff,
            height,
            position: if position < 8 { 0 } else { 1 + eff.unsigned_abs() },
            author: (author > 0).then_some(author),
            expires: (expires >= 0).then_some(expires),
        });
    let body = prop_oneof![0_usize..10, 1_020_usize..1_030, Just(5_000_usize)];
    let deps = vec(MESSAGES, 0..4);
    prop_oneof![
        2 => (1_u32..4, any::<bool>()).prop_map(|(g, judged)| Op::PutGroup(g, judged)),
        1 => (1_u32..4, 0_u64..9).prop_map(|(g, head)| Op::SetHead(g, head)),
        1 => (1_u32..4).prop_map(Op::RemoveGroup),
        2 => (1_u32..4).prop_map(Op::PutPeer),
        1 => (1_u32..4).prop_map(Op::RemovePeer),
        2 => (1_u32..4, 1_u32..4, 0_u64..9).prop_map(|(p, g, mark)| Op::PutPeerGroup(p, g, mark)),
        20 => (row.clone(), deps.clone(), proptest::option::weighted(0.9, body.clone()))
            .prop_map(|(row, deps, body)| Op::Insert(row, deps, body)),
        6 => (MESSAGES, row.clone(), deps.clone(), body).prop_map(|(n, row, d, b)| Op::Fill(n, row, d, b)),
        10 => (MESSAGES, row).prop_map(|(n, row)| Op::Update(n, row)),
        4 => (MESSAGES, deps.clone()).prop_map(|(n, deps)| Op::SetDeps(n, deps)),
        3 => MESSAGES.prop_map(Op::Remove),
        5 => (MESSAGES, MESSAGES).prop_map(|(p, c)| Op::AddEdge(p, c)),
        2 => (MESSAGES, MESSAGES).prop_map(|(p, c)| Op::RemoveEdge(p, c)),
        3 => (1_u32..4, deps.clone(), deps).prop_map(|(g, r, a)| Op::ChangeHeads(g, r, a)),
        2 => (0_u8..4, proptest::option::of(any::<u8>())).prop_map(|(k, v)| Op::SetValue(k, v)),
        2 => (1_u32..4, 0_u8..3).prop_map(|(g, key)| Op::AddAuthor(g, key)),
        5 => Just(Op::Commit),
        1 => Just(Op::Rollback),
        1 => Just(Op::Crash),
    ]
}

/// Random sequences of operations, wrong ones among them, on the store and on a simple model: each operation is
/// refused by both or by none, and everything that can be read is equal.
pub fn any_sequence_as_the_model<H: Harness>() {
    // A fixed seed: a failure repeats, here and elsewhere.
    let config = Config { cases: 60, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let result = TestRunner::new_with_rng(config, rng).run(&vec(op(), 1..80), |ops| {
        let mut harness = H::new();
        let mut model = NaiveStore::default();
        // Most operations need a group.
        for num in [1, 2] {
            harness.store().put_group(&group(GroupNum(num))).unwrap();
            model.put_group(&group(GroupNum(num))).unwrap();
        }
        for op in ops {
            if let Op::Crash = op {
                harness.crash();
                model.rollback().unwrap();
            } else {
                let expected = apply(&mut model, &op);
                let result = apply(harness.store(), &op);
                prop_assert_eq!(expected.is_ok(), result.is_ok(), "{:?}: {:?}", &op, result);
                if expected.is_err() {
                    model.rollback().unwrap();
                    harness.store().rollback().unwrap();
                }
            }
            compare(harness.store(), &model)?;
        }
        Ok(())
    });
    assert!(result.is_ok(), "{}", result.unwrap_err());
}

fn apply<S: Store>(store: &mut S, op: &Op) -> Result<(), StoreError> {
    match op {
        Op::PutGroup(num, judged) => store.put_group(&GroupRow { judged: *judged, ..group(GroupNum(*num)) }),
        Op::SetHead(num, head) => store.set_head(GroupNum(*num), *head, head << 60, head << 61),
        Op::RemoveGroup(num) => store.remove_group(GroupNum(*num)),
        Op::PutPeer(num) => store.put_peer(&peer(*num)),
        Op::RemovePeer(num) => store.remove_peer(PeerNum(*num)),
        Op::PutPeerGroup(peer, group, mark) => {
            store.put_peer_group(&PeerGroupRow { mark: *mark, ..peer_group(*peer, GroupNum(*group)) })
        }
        Op::Insert(row, deps, body) => {
            let row = row_of(store, row, MessageNum(0));
            store.insert(&row, &nums(deps), body.map(body_of).as_ref()).map(drop)
        }
        Op::Fill(num, row, deps, body) => {
            let row = row_of(store, row, MessageNum(*num));
            store.fill(&row, &nums(deps), &body_of(*body))
        }
        Op::Update(num, row) => {
            let row = row_of(store, row, MessageNum(*num));
            store.update(&row)
        }
        Op::SetDeps(num, deps) => store.set_deps(MessageNum(*num), &nums(deps)),
        Op::Remove(num) => store.remove(MessageNum(*num)),
        Op::AddEdge(parent, child) => store.add_edge(MessageNum(*parent), MessageNum(*child)),
        Op::RemoveEdge(parent, child) => store.remove_edge(MessageNum(*parent), MessageNum(*child)),
        Op::ChangeHeads(group, removed, added) => {
            store.change_heads(GroupNum(*group), &nums(removed), &nums(added))
        }
        Op::SetValue(key, value) => {
            store.set_value("space", &[*key], value.map(|value| vec![value; value.into()]).as_deref())
        }
        Op::AddAuthor(group, key) => store.add_author(GroupNum(*group), &[*key; 32]).map(drop),
        Op::Commit => store.commit(),
        Op::Rollback | Op::Crash => store.rollback(),
    }
}

fn nums(nums: &[u64]) -> Vec<MessageNum> {
    nums.iter().copied().map(MessageNum).collect()
}

fn body_of(len: usize) -> Bytes {
    Bytes::from(vec![7; len])
}

fn row_of<S: Store>(store: &S, row: &Row, num: MessageNum) -> MessageRow {
    let state = MessageState::from_code(row.state).unwrap();
    let free = store.scan(MessageNum(0), usize::MAX).unwrap().iter().map(|row| row.position).max();
    let position = if row.position == 0 { free.unwrap_or(0) + 1 } else { row.position };
    let mut id = [3; 32];
    id[usize::from(row.id % 2) * 31] = row.id;
    MessageRow {
        num,
        id: MessageId::from_bytes(id),
        eff_ms: row.eff,
        height: row.height,
        position: if state.is_delivered() { position } else { 0 },
        chain: row.height << 62,
        author: row.author.map(AuthorNum),
        expires_ms: row.expires,
        ..message(GroupNum(row.group), row.id, state)
    }
}

/// Everything that a store says when it is asked everything.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    small: Snapshot,
    rows: Vec<MessageRow>,
    contents: Vec<Option<Content>>,
    edges: Vec<Edge>,
    children: Vec<Vec<MessageNum>>,
    states: Vec<Vec<MessageRow>>,
    heads: Vec<Vec<MessageNum>>,
    pages: Vec<Vec<MessageRow>>,
    found: Vec<Option<MessageRow>>,
    values: Vec<KeyValue>,
    authors: Vec<Option<AuthorRow>>,
    author_nums: Vec<Option<AuthorNum>>,
    expiring: Vec<Vec<MessageRow>>,
}

fn compare<S: Store>(store: &S, model: &NaiveStore) -> Result<(), TestCaseError> {
    prop_assert_eq!(ask(store), ask(model));
    Ok(())
}

fn ask<S: Store>(store: &S) -> Answers {
    let rows = store.scan(MessageNum(0), usize::MAX).unwrap();
    let groups = || (1..4).map(GroupNum);
    let mut pages = Vec::new();
    let keys = rows.iter().map(MessageRow::key).step_by(3).map(Some);
    let between = OrderKey { eff_ms: 1, height: 1, id: MessageId::from_bytes([3; 32]) };
    for key in keys.chain([None, Some(between)]) {
        for group in groups() {
            pages.push(store.page(group, key.as_ref(), Direction::Forward, 5).unwrap());
            pages.push(store.page(group, key.as_ref(), Direction::Backward, 5).unwrap());
        }
    }
    Answers {
        small: store.load().unwrap(),
        // A dependency that was removed is damage, which both see.
        contents: rows.iter().map(|row| store.content(row.num).unwrap_or_default()).collect(),
        edges: store.edges((MessageNum(0), MessageNum(0)), usize::MAX).unwrap(),
        children: MESSAGES.map(|n| store.children(MessageNum(n), MessageNum(2), 3).unwrap()).collect(),
        states: (0..9)
            .map(|code| store.in_state(MessageState::from_code(code).unwrap(), MessageNum(2), 4).unwrap())
            .collect(),
        heads: groups().map(|group| store.heads(group).unwrap()).collect(),
        pages,
        found: groups()
            .flat_map(|group| (0..9).map(move |position| store.at(group, position).unwrap()))
            .chain(rows.iter().map(|row| store.find(&row.id).unwrap()))
            .chain(MESSAGES.map(|n| store.row(MessageNum(n)).unwrap()))
            .collect(),
        values: store.values("space", None, usize::MAX).unwrap(),
        authors: (0..9).map(|num| store.author(AuthorNum(num)).unwrap()).collect(),
        author_nums: groups()
            .flat_map(|group| (0..3).map(move |key| store.author_num(group, &[key; 32]).unwrap()))
            .collect(),
        expiring: (-1..4).map(|until| store.expiring(until, 4).unwrap()).collect(),
        rows,
    }
}
