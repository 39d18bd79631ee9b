//! What commands print: with `--json` each of these is one line, just as it stands here.
//!
//! Ids are hexadecimal text, times are ms since 1970-01-01 UTC.

use std::collections::BTreeMap;

use hedgerow::{
    ChatInfo, ChatItem, ChatKind, ChatLine, Contact, Content, ForeignMessage, ForeignPeer, ForeignWire, Gone,
    GoneItem, Invitation, WaitingPeer,
};
use serde::{Deserialize, Serialize};

/// What `id` prints.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct IdItem {
    pub(crate) peer_id: String,
    pub(crate) name: Option<String>,
    pub(crate) ticket: String,
    /// Where the daemon can be dialled; empty while none runs.
    pub(crate) addresses: Vec<String>,
}

/// What `peer list` prints.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum PeerItem {
    /// A friend; also what `peer add` prints.
    Contact {
        peer_id: String,
        alias: Option<String>,
        name: Option<String>,
        addresses: Vec<String>,
        connected: bool,
        direct_group: String,
        added_ms: u64,
    },
    /// A stranger that was refused and waits to be added or removed.
    Waiting { peer_id: String, address: String, first_ms: u64, last_ms: u64, attempts: u64 },
}

impl From<Contact> for PeerItem {
    fn from(contact: Contact) -> Self {
        Self::Contact {
            peer_id: contact.peer.to_string(),
            alias: contact.alias,
            name: contact.name,
            addresses: contact.addresses.iter().map(ToString::to_string).collect(),
            connected: contact.connected,
            direct_group: contact.direct.to_string(),
            added_ms: contact.added_ms,
        }
    }
}

impl From<WaitingPeer> for PeerItem {
    fn from(stranger: WaitingPeer) -> Self {
        Self::Waiting {
            peer_id: stranger.peer.to_string(),
            address: stranger.address,
            first_ms: stranger.first_ms,
            last_ms: stranger.last_ms,
            attempts: stranger.attempts,
        }
    }
}

/// What `peer remove` prints.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct RemovedItem {
    pub(crate) removed: String,
}

/// What `foreign list` and `foreign add` print.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum ForeignItem {
    /// What this device is known by to MVDS peers, in hexadecimal.
    Own { mvds_key: String },
    Peer {
        peer_id: String,
        name: String,
        wire: ForeignWire,
        addresses: Vec<String>,
        connected: bool,
        groups: Vec<String>,
    },
}

impl From<ForeignPeer> for ForeignItem {
    fn from(peer: ForeignPeer) -> Self {
        Self::Peer {
            peer_id: peer.peer.to_string(),
            name: peer.name,
            wire: peer.wire,
            addresses: peer.addresses.iter().map(ToString::to_string).collect(),
            connected: peer.connected,
            groups: peer.groups.iter().map(ToString::to_string).collect(),
        }
    }
}

/// What `foreign share` prints.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForeignGroupItem {
    pub(crate) group: String,
}

/// What `foreign send` prints.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForeignSentItem {
    pub(crate) group: String,
    pub(crate) id: String,
}

/// What `foreign read` prints; the body is in hexadecimal.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ForeignMessageItem {
    pub(crate) position: u64,
    pub(crate) id: String,
    pub(crate) timestamp_ms: i64,
    pub(crate) deps: Vec<String>,
    pub(crate) body: Option<String>,
}

impl From<ForeignMessage> for ForeignMessageItem {
    fn from(message: ForeignMessage) -> Self {
        Self {
            position: message.position,
            id: message.id.to_string(),
            timestamp_ms: message.timestamp_ms,
            deps: message.deps.iter().map(ToString::to_string).collect(),
            body: message.body.map(|body| data_encoding::HEXLOWER.encode(&body)),
        }
    }
}

/// What `group list` prints; `group create` and `group join` print the first kind.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum GroupItem {
    Joined { group: String, name: String, kind: String, can_read: bool, last_position: u64, joined_ms: u64 },
    Invited { group: String, name: String, from: String, at_ms: u64, ticket: String },
}

impl From<ChatInfo> for GroupItem {
    fn from(chat: ChatInfo) -> Self {
        let kind = match chat.kind {
            ChatKind::Direct(_) => "direct",
            ChatKind::Private { .. } => "private",
            ChatKind::Public => "public",
            _ => "carried",
        };
        Self::Joined {
            group: chat.group.to_string(),
            name: chat.name,
            kind: kind.to_owned(),
            can_read: chat.can_read,
            last_position: chat.last_position,
            joined_ms: chat.joined_ms,
        }
    }
}

impl From<Invitation> for GroupItem {
    fn from(invitation: Invitation) -> Self {
        Self::Invited {
            group: invitation.group.to_string(),
            name: invitation.name,
            from: invitation.from.to_string(),
            at_ms: invitation.at_ms,
            ticket: invitation.invite.to_string(),
        }
    }
}

/// What `group invite` and `group link` print.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct TicketItem {
    pub(crate) group: String,
    pub(crate) name: String,
    pub(crate) ticket: String,
}

/// What `group cap` prints.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CapItem {
    pub(crate) group: String,
    /// In bytes; `null`: what the daemon was started with.
    pub(crate) max_bytes: Option<u64>,
}

/// How far a sending session has come.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SentItem {
    pub(crate) group: String,
    /// All lines before this one are published.
    pub(crate) next_line: u64,
    /// The ids of those that this request published.
    pub(crate) ids: Vec<String>,
}

/// What `read` prints.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct MessageItem {
    /// In the delivery order of this device, from 1.
    pub(crate) position: u64,
    pub(crate) id: String,
    /// Empty if nobody here knows, of a message that is gone.
    pub(crate) author: String,
    pub(crate) author_name: Option<String>,
    /// The author's running number in this chat; 0 of a message that is gone.
    pub(crate) number: u64,
    pub(crate) timestamp_ms: i64,
    /// `text`, `joined`, `added`, `invite` or `other`; or what became of a message that is gone: `expired`, `pruned`, or
    /// `missing` if it never came.
    pub(crate) kind: String,
    /// Empty if the kind is not `text`.
    pub(crate) text: String,
    /// What else the message says, if the kind is not `text`; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) notice: Option<String>,
    pub(crate) deps: Vec<String>,
    /// The canonical order goes by these two, and then by the id.
    pub(crate) eff_ms: i64,
    pub(crate) height: u64,
    /// The author passed over numbers just before this one.
    pub(crate) gap: bool,
    /// The author said two things under this number, and this is one of them.
    pub(crate) fork: bool,
    /// When it is gone everywhere; missing: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_ms: Option<i64>,
}

impl From<ChatLine> for MessageItem {
    fn from(line: ChatLine) -> Self {
        match line {
            ChatLine::Message(item) => (*item).into(),
            ChatLine::Gone(item) => (*item).into(),
        }
    }
}

impl From<GoneItem> for MessageItem {
    fn from(item: GoneItem) -> Self {
        let (kind, notice) = match item.why {
            Gone::Expired => ("expired", "[this message has expired]"),
            Gone::Missing => ("missing", "[a message is missing here: nobody in reach has it any more]"),
            _ => ("pruned", "[this message was removed here to make room]"),
        };
        Self {
            position: item.position,
            id: item.id.to_string(),
            author: item.author.map(|author| author.to_string()).unwrap_or_default(),
            author_name: item.author_name,
            number: 0,
            timestamp_ms: item.timestamp_ms,
            kind: kind.to_owned(),
            text: String::new(),
            notice: Some(notice.to_owned()),
            deps: Vec::new(),
            eff_ms: item.key.eff_ms,
            height: item.key.height,
            gap: false,
            fork: false,
            expires_ms: item.expires_ms,
        }
    }
}

impl From<ChatItem> for MessageItem {
    fn from(item: ChatItem) -> Self {
        let (kind, text, notice) = match item.content {
            Content::Text(text) => ("text", text, None),
            Content::Joined { name } => ("joined", String::new(), Some(format!("is here as {name}"))),
            Content::Added { member, name } => {
                ("added", String::new(), Some(format!("has invited {name} ({})", member.short())))
            }
            Content::Invite(invite) => {
                ("invite", String::new(), Some(format!("invites to the group {}: {invite}", invite.name())))
            }
            _ => ("other", String::new(), Some("says what this version does not know".to_owned())),
        };
        Self {
            position: item.position,
            id: item.id.to_string(),
            author: item.author.to_string(),
            author_name: item.author_name,
            number: item.number,
            timestamp_ms: item.timestamp_ms,
            kind: kind.to_owned(),
            text,
            notice,
            deps: item.deps.iter().map(ToString::to_string).collect(),
            eff_ms: item.key.eff_ms,
            height: item.key.height,
            gap: item.gap,
            fork: item.fork,
            expires_ms: item.expires_ms,
        }
    }
}

/// What `check` prints.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CheckItem {
    pub(crate) clean: bool,
    pub(crate) messages: u64,
    pub(crate) delivered: u64,
    pub(crate) waiting: u64,
    pub(crate) wanted: u64,
    pub(crate) invalid: u64,
    /// Delivered, and not held any more.
    pub(crate) pruned: u64,
    /// Missing in the history, and passed over.
    pub(crate) gaps: u64,
    /// What all messages take: their bodies, and 128 bytes for each.
    pub(crate) bytes: u64,
    /// The same for each group, by id.
    pub(crate) group_bytes: BTreeMap<String, u64>,
    pub(crate) groups: u64,
    pub(crate) peers: u64,
    pub(crate) problem_count: u64,
    /// The first thousand.
    pub(crate) problems: Vec<String>,
}
