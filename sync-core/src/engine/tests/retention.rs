//! Caps, fair shares, expiry, and the horizon of who comes later.

mod caps;
mod expiry;
mod horizon;
mod random;

use hedgerow_proto::{GroupId, Message, MessageId};

use crate::store::{CheckReport, MESSAGE_WEIGHT, MessageState, check};
use crate::testing::Net;
use crate::{Config, Event, MessageFacts, Verdict};

/// The least cap there is, in bytes.
const CAP: u64 = super::super::retention::MIN_CAP;

/// Messages in these tests say who wrote them and until when they are to be held: `author:expires_ms:text`, with
/// `-` for never.
fn judge(message: &Message) -> Verdict {
    let text = std::str::from_utf8(message.body()).unwrap();
    let mut parts = text.splitn(3, ':');
    let (author, expires) = (parts.next().unwrap(), parts.next().unwrap());
    let mut key = [0; 32];
    key[..author.len()].copy_from_slice(author.as_bytes());
    Verdict::Valid(MessageFacts { author: Some(key), expires_ms: expires.parse().ok() })
}

/// A body of this author, of `len` bytes in all.
fn said(author: &str, n: usize, len: usize) -> String {
    let mut text = format!("{author}:-:{n} ");
    let more = len.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('.', more));
    text
}

fn capped(max_store_bytes: u64) -> Config {
    Config { max_store_bytes, ..Config::default() }
}

/// The check of a node's store is clean, and the engine counts as it does.
fn checked(net: &Net, n: usize) -> CheckReport {
    let report = check(net.engines[n].store()).unwrap();
    assert!(report.is_clean(), "{report}");
    let status = net.engines[n].status();
    assert_eq!(status.bytes, report.bytes);
    let groups: Vec<(GroupId, u64)> = status.groups.iter().map(|group| (group.id, group.bytes)).collect();
    assert_eq!(groups, report.group_bytes);
    report
}

/// What a node holds of a group with a body, as text, in delivery order.
fn held(net: &Net, n: usize, group: GroupId) -> Vec<String> {
    let bodies = net.log(n, group).into_iter().filter_map(|entry| entry.body);
    bodies.map(|body| String::from_utf8(body.to_vec()).unwrap()).collect()
}

fn held_of(net: &Net, n: usize, group: GroupId, author: &str) -> usize {
    held(net, n, group).iter().filter(|text| text.starts_with(&format!("{author}:"))).count()
}

fn state_of(net: &Net, n: usize, id: &MessageId) -> Option<MessageState> {
    net.engines[n].message(id).unwrap().map(|entry| entry.state)
}

/// What the `Pruned` events of a node say, in all.
fn pruned(net: &Net, n: usize) -> u64 {
    let spans = net.events[n].iter().filter_map(|event| match event {
        Event::Pruned { positions, .. } => Some(positions.iter().map(|span| span.count()).sum::<u64>()),
        _ => None,
    });
    spans.sum()
}

/// What a message of this many bytes counts for.
fn weight(len: usize) -> u64 {
    len as u64 + MESSAGE_WEIGHT
}
