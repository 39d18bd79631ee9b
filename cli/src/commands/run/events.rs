//! What the daemon prints: a line per event.

use hedgerow::{GroupId, Node, NodeEvent, PeerId};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::output::{Output, on_one_line};

/// How many lines wait for a slow reader of the output.
const WAITING_LINES: usize = 256;
/// How long the end of the daemon waits for a slow reader of the output.
const LAST_LINES: std::time::Duration = std::time::Duration::from_secs(1);

/// A line of the daemon.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Line {
    Listening {
        address: String,
    },
    /// Commands reach the daemon from now on.
    Ready {
        peer_id: String,
        ticket: String,
    },
    PeerUp {
        peer_id: String,
        peer: String,
    },
    PeerDown {
        peer_id: String,
        peer: String,
    },
    Waiting {
        peer_id: String,
    },
    Refused {
        peer_id: String,
        peer: String,
        reason: String,
    },
    SameKey {
        peer_id: String,
        peer: String,
        ours: bool,
    },
    Violation {
        peer_id: String,
        peer: String,
        rule: String,
    },
    Arrived {
        group: String,
        name: String,
        position: u64,
    },
    Forked {
        group: String,
        author: String,
        number: u64,
        position: u64,
    },
    Quarantined {
        group: String,
        id: String,
        position: u64,
        reason: String,
    },
    Invalid {
        group: String,
        id: String,
        reason: String,
    },
    Missing {
        group: String,
        id: String,
        since_ms: u64,
    },
    Undelivered {
        peer_id: String,
        peer: String,
        group: String,
        since_ms: u64,
        count: u64,
    },
    TooLarge {
        peer_id: String,
        peer: String,
        group: String,
        id: String,
    },
    Pruned {
        group: String,
        name: String,
        count: u64,
    },
    HistoryGap {
        group: String,
        name: String,
        id: String,
        peer_id: String,
        peer: String,
    },
    Invited {
        from: String,
        peer: String,
        group: String,
    },
    StoreFailed {
        error: String,
    },
    StoreBack {},
    ListenerDied {
        address: String,
        reason: String,
    },
    Skipped {
        count: u64,
    },
    Stopped {},
}

impl Line {
    fn text(&self) -> String {
        match self {
            Self::Listening { address } => format!("listening at {address}"),
            Self::Ready { peer_id, ticket } => format!("ready as {peer_id}\nticket {ticket}"),
            Self::PeerUp { peer, .. } => format!("{peer} is linked"),
            Self::PeerDown { peer, .. } => format!("{peer} is gone"),
            Self::Waiting { peer_id } => {
                format!(
                    "stranger {peer_id} wants a link: add the ticket, or remove it from `hedgerow peer list`"
                )
            }
            Self::Refused { peer, reason, .. } => format!("{peer} refused our link: {reason}"),
            Self::SameKey { ours: true, .. } => {
                "another device seems to use the key of this one: each needs a home of its own".to_owned()
            }
            Self::SameKey { peer, .. } => format!("two devices seem to use the key of {peer}"),
            Self::Violation { peer, rule, .. } => format!("the link to {peer} was closed: {rule}"),
            Self::Arrived { name, position, .. } => format!("{name}: message {position}"),
            Self::Forked { group, author, number, .. } => {
                format!("{author} said two things under number {number} in group {group}")
            }
            Self::Quarantined { id, reason, .. } => format!("message {id} cannot be read: {reason}"),
            Self::Invalid { id, reason, .. } => format!("message {id} is not valid: {reason}"),
            Self::Missing { id, .. } => format!("message {id} is missing for long"),
            Self::Undelivered { peer, count, .. } => format!("{peer} lacks {count} messages for long"),
            Self::TooLarge { peer, id, .. } => {
                format!("message {id} does not fit through the link to {peer}")
            }
            Self::Pruned { name, count, .. } => format!("{name}: {count} messages are gone"),
            Self::HistoryGap { name, id, peer, .. } => {
                format!("{name}: message {id} is missing in the history, {peer} no longer has it either")
            }
            Self::Invited { peer, group, .. } => {
                format!("{peer} invites to group {group}: see `hedgerow group list`")
            }
            Self::StoreFailed { error } => format!("the store failed: {error}"),
            Self::StoreBack {} => "the store works again".to_owned(),
            Self::ListenerDied { address, reason } => {
                format!("nobody can reach {address} any more: {reason}")
            }
            Self::Skipped { count } => format!("{count} events are not shown"),
            Self::Stopped {} => "stopped".to_owned(),
        }
    }
}

/// Prints lines from a thread of its own: a reader of our output that stops reading stops nothing else.
pub(super) struct Printer {
    lines: mpsc::Sender<Line>,
    thread: JoinHandle<()>,
}

impl Printer {
    pub(super) fn start(output: Output) -> Self {
        let (lines, mut waiting) = mpsc::channel::<Line>(WAITING_LINES);
        let print = move || {
            while let Some(line) = waiting.blocking_recv() {
                let printed = match output.is_json() {
                    true => output.json(&line),
                    false => line.text().split('\n').try_for_each(|line| output.text(&on_one_line(line))),
                };
                // Nobody reads it: the daemon goes on without.
                if let Err(error) = printed {
                    tracing::debug!(%error, "no events are printed any more");
                    return;
                }
            }
        };
        Self { lines, thread: tokio::task::spawn_blocking(print) }
    }

    pub(super) async fn print(&self, line: Line) {
        let _ = self.lines.send(line).await;
    }

    /// Prints the last line, if the reader of the output takes it.
    pub(super) async fn end(self, line: Line) {
        let Self { lines, thread } = self;
        let _ = lines.try_send(line);
        drop(lines);
        let _ = timeout(LAST_LINES, thread).await;
    }
}

/// Prints an event of the node.
pub(super) async fn print(node: &Node, event: &NodeEvent, printer: &Printer) {
    if let Some(line) = line(node, event).await {
        printer.print(line).await;
    }
}

async fn line(node: &Node, event: &NodeEvent) -> Option<Line> {
    Some(match event {
        NodeEvent::PeerUp { peer } => {
            Line::PeerUp { peer_id: peer.to_string(), peer: called(node, *peer).await }
        }
        NodeEvent::PeerDown { peer } => {
            Line::PeerDown { peer_id: peer.to_string(), peer: called(node, *peer).await }
        }
        NodeEvent::Waiting { peer } => Line::Waiting { peer_id: peer.to_string() },
        NodeEvent::Refused { peer, reason } => Line::Refused {
            peer_id: peer.to_string(),
            peer: called(node, *peer).await,
            reason: reason.to_string(),
        },
        NodeEvent::SameKey { peer } => Line::SameKey {
            peer_id: peer.to_string(),
            peer: called(node, *peer).await,
            ours: *peer == node.peer_id(),
        },
        NodeEvent::Violation { peer, rule } => {
            Line::Violation { peer_id: peer.to_string(), peer: called(node, *peer).await, rule: rule.clone() }
        }
        NodeEvent::Arrived { group, position } => {
            Line::Arrived { group: group.to_string(), name: name(node, *group).await, position: *position }
        }
        NodeEvent::Forked { group, author, number, position } => Line::Forked {
            group: group.to_string(),
            author: author.to_string(),
            number: *number,
            position: *position,
        },
        NodeEvent::Quarantined { group, id, position, reason } => Line::Quarantined {
            group: group.to_string(),
            id: id.to_string(),
            position: *position,
            reason: reason.clone(),
        },
        NodeEvent::Invalid { group, id, reason } => {
            Line::Invalid { group: group.to_string(), id: id.to_string(), reason: format!("{reason:?}") }
        }
        NodeEvent::Missing { group, id, since } => {
            Line::Missing { group: group.to_string(), id: id.to_string(), since_ms: since.0 }
        }
        NodeEvent::Undelivered { peer, group, since, count } => Line::Undelivered {
            peer_id: peer.to_string(),
            peer: called(node, *peer).await,
            group: group.to_string(),
            since_ms: since.0,
            count: *count,
        },
        NodeEvent::TooLarge { peer, group, id } => Line::TooLarge {
            peer_id: peer.to_string(),
            peer: called(node, *peer).await,
            group: group.to_string(),
            id: id.to_string(),
        },
        NodeEvent::Pruned { group, count } => {
            Line::Pruned { group: group.to_string(), name: name(node, *group).await, count: *count }
        }
        NodeEvent::HistoryGap { group, id, peer } => Line::HistoryGap {
            group: group.to_string(),
            name: name(node, *group).await,
            id: id.to_string(),
            peer_id: peer.to_string(),
            peer: called(node, *peer).await,
        },
        NodeEvent::Invited { from, group } => Line::Invited {
            from: from.to_string(),
            peer: called(node, *from).await,
            group: group.to_string(),
        },
        NodeEvent::StoreFailed { error } => Line::StoreFailed { error: error.to_string() },
        NodeEvent::StoreBack => Line::StoreBack {},
        NodeEvent::ListenerDied { address, reason } => {
            Line::ListenerDied { address: address.clone(), reason: reason.clone() }
        }
        NodeEvent::Skipped(count) => Line::Skipped { count: *count },
        // Acknowledgements are too many for a line each; `status` shows them.
        _ => return None,
    })
}

async fn called(node: &Node, peer: PeerId) -> String {
    let contacts = node.peers().await.unwrap_or_default();
    let contact = contacts.iter().find(|contact| contact.peer == peer);
    contact.map_or_else(|| peer.short(), hedgerow::Contact::shown)
}

async fn name(node: &Node, group: GroupId) -> String {
    match node.chat(group).await {
        Ok(chat) => chat.info().await.map_or_else(|_| group.short(), |info| info.name),
        Err(_) => group.short(),
    }
}
