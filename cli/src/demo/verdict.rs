//! Whether all peers have the same in the end.

use std::collections::BTreeMap;

use hedgerow::{ChatItem, Direction, MessageId, NodeError, PeerId};
use serde::Serialize;

use super::peer::Peer;
use super::plan::Talk;

/// How many messages are read at a time for a digest.
const PAGE: usize = 1024;

/// The canonical order of a chat on one peer, as a hash over the ids of all its messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct OrderDigest {
    pub(super) group: &'static str,
    pub(super) node: String,
    pub(super) digest: String,
}

/// What was said in each chat.
pub(super) type Said = BTreeMap<Talk, Vec<MessageId>>;

/// Whether every peer has read every message of its chats.
pub(super) fn all_arrived(peers: &[Peer], said: &Said) -> bool {
    lacking(peers, said).is_empty()
}

/// Who lacks how many messages of which chat.
pub(super) fn lacking(peers: &[Peer], said: &Said) -> Vec<(usize, Talk, usize)> {
    let mut lacking = Vec::new();
    for peer in peers {
        for (talk, ids) in said {
            let Some(log) = peer.log(*talk) else { continue };
            let count = ids.iter().filter(|id| !log.has(id)).count();
            if count > 0 {
                lacking.push((peer.index, *talk, count));
            }
        }
    }
    lacking
}

/// The digests of all chats on all peers, by chat and then by peer.
pub(super) async fn digests(
    peers: &[Peer],
    name: impl Fn(usize) -> String,
) -> Result<Vec<OrderDigest>, NodeError> {
    let mut digests = Vec::new();
    for talk in Talk::ALL {
        for peer in peers {
            if let Some(digest) = digest(peer, talk).await? {
                digests.push(OrderDigest { group: talk.name(), node: name(peer.index), digest });
            }
        }
    }
    Ok(digests)
}

async fn digest(peer: &Peer, talk: Talk) -> Result<Option<String>, NodeError> {
    let mut hasher = blake3::Hasher::new();
    let there = in_order(peer, talk, |item| {
        hasher.update(item.id.as_bytes());
    });
    let there = there.await?;
    let hex = hasher.finalize().to_hex();
    Ok(there.then(|| hex.chars().take(16).collect()))
}

/// Who says what in a chat, in canonical order.
pub(super) async fn conversation(peer: &Peer, talk: Talk) -> Result<Vec<(PeerId, String)>, NodeError> {
    let mut lines = Vec::new();
    in_order(peer, talk, |item| lines.extend(item.text().map(|text| (item.author, text.to_owned())))).await?;
    Ok(lines)
}

/// Goes through a chat in canonical order; `false` if the peer is not in it.
async fn in_order(peer: &Peer, talk: Talk, mut take: impl FnMut(&ChatItem)) -> Result<bool, NodeError> {
    let Some(group) = peer.groups.get(&talk) else { return Ok(false) };
    let chat = peer.node.chat(*group).await?;
    let mut after = None;
    loop {
        let items = chat.page(after, Direction::Forward, PAGE).await?;
        let Some(last) = items.last() else { return Ok(true) };
        after = Some(last.key);
        items.iter().for_each(&mut take);
    }
}

/// Whether the peers agree on every chat.
pub(super) fn agree(digests: &[OrderDigest]) -> bool {
    digests.windows(2).all(|pair| match pair {
        [one, other] => one.group != other.group || one.digest == other.digest,
        _ => true,
    })
}

/// What the checks of all stores find, and what is missing or unreadable in them.
pub(super) async fn problems(
    peers: &[Peer],
    name: impl Fn(usize) -> String,
) -> Result<Vec<String>, NodeError> {
    let mut problems = Vec::new();
    for peer in peers {
        let name = name(peer.index);
        let report = peer.node.check().await?;
        problems.extend(report.problems.iter().map(|problem| format!("store of {name}: {problem}")));
        for group in peer.node.status().await?.groups {
            for (count, what) in
                [(group.missing, "missing"), (group.invalid, "invalid"), (group.quarantined, "unreadable")]
            {
                if count > 0 {
                    problems.push(format!("{name}, {}: {count} messages are {what}", group.name));
                }
            }
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_compared_within_a_chat() {
        let digest =
            |group, digest: &str| OrderDigest { group, node: String::new(), digest: digest.to_owned() };
        assert!(agree(&[digest("a", "1"), digest("a", "1"), digest("b", "2"), digest("b", "2")]));
        assert!(!agree(&[digest("a", "1"), digest("a", "1"), digest("b", "2"), digest("b", "3")]));
    }
}
