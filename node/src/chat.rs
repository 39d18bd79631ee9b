//! A chat: sending, reading, and what there is to know of it.

use std::time::Duration;

use hedgerow_clients::{Content, GroupInvite};
use hedgerow_proto::{GroupId, MessageId, PeerId};
use hedgerow_sync_core::OrderKey;
use hedgerow_sync_core::store::Direction;

use crate::core::Session;
use crate::error::NodeError;
use crate::limits::PAGE_BYTES;
use crate::node::Node;
use crate::stream::ChatStream;
use crate::view::View;

/// What kind of chat a group is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ChatKind {
    /// With this peer alone.
    Direct(PeerId),
    /// A group of invited members.
    Private {
        /// Who made it, and invites.
        creator: PeerId,
    },
    /// Whoever has the link reads and posts.
    Public,
    /// A group that the node stores and passes on, and has no idea of.
    Carried,
}

/// A chat as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatInfo {
    /// Its group.
    pub group: GroupId,
    /// What kind it is.
    pub kind: ChatKind,
    /// The name of the group, or of the contact. Not unique.
    pub name: String,
    /// Whether the node has the client that reads it; if not, it only stores and passes on.
    pub can_read: bool,
    /// The last position of its delivery order that can be read; 0 when empty.
    pub last_position: u64,
    /// When it was joined, in ms since 1970-01-01 UTC.
    pub joined_ms: u64,
}

/// Somebody in a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The device.
    pub peer: PeerId,
    /// What it is called there, as far as anybody said.
    pub name: Option<String>,
}

/// An invitation that came in a direct chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Into which group.
    pub group: GroupId,
    /// What the group is called.
    pub name: String,
    /// Who sent it.
    pub from: PeerId,
    /// When it came, in ms since 1970-01-01 UTC.
    pub at_ms: u64,
    /// The invitation itself; its text is a group ticket.
    pub invite: GroupInvite,
}

/// A message that could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its position in the delivery order.
    pub position: u64,
    /// Its id.
    pub id: MessageId,
    /// Why it cannot be read.
    pub reason: String,
}

/// The unreadable messages of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantine {
    /// How many there are in all.
    pub count: u64,
    /// The last ones, at most [`MAX_QUARANTINE`](crate::limits::MAX_QUARANTINE), ascending.
    pub last: Vec<Quarantined>,
}

/// What became of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchAnswer {
    /// The line that is due next: all before it are published.
    pub next_line: u64,
    /// The ids of those that this very call published.
    pub ids: Vec<MessageId>,
}

/// A message in a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatItem {
    /// Its place in the delivery order of this node, from 1. It never changes.
    pub position: u64,
    /// Its id, the same everywhere.
    pub id: MessageId,
    /// Its place in the canonical order, the same everywhere.
    pub key: OrderKey,
    /// Who signed it.
    pub author: PeerId,
    /// What the author is called here, as far as known.
    pub author_name: Option<String>,
    /// The author's running number in this chat, from 1.
    pub number: u64,
    /// When the author says it was written, in ms since 1970-01-01 UTC.
    pub timestamp_ms: i64,
    /// What it says.
    pub content: Content,
    /// From when on it is gone on every device, in ms since 1970-01-01 UTC; `None`: never.
    pub expires_ms: Option<i64>,
    /// What its author had seen when it was written: the messages that it comes directly after.
    pub deps: Vec<MessageId>,
    /// The author passed over numbers just before this one: something is missing, and may come late.
    pub gap: bool,
    /// The author said two things under this number, and this is one of them: the same on every node that holds both.
    /// An item that was read before the other one came does not say so; [`NodeEvent::Forked`](crate::NodeEvent) tells.
    pub fork: bool,
}

/// Why there is nothing to read in the place of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Gone {
    /// Its author set a time, which has passed.
    Expired,
    /// It was pruned here for lack of room.
    Pruned,
    /// It was pruned everywhere in reach before it came here.
    Missing,
}

/// A message that is not held any more, or never was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoneItem {
    /// Its place in the delivery order of this node, from 1.
    pub position: u64,
    /// Its id, the same everywhere.
    pub id: MessageId,
    /// Its place in the canonical order.
    pub key: OrderKey,
    /// Who signed it, as far as known.
    pub author: Option<PeerId>,
    /// What the author is called here, as far as known.
    pub author_name: Option<String>,
    /// When the author says it was written, in ms since 1970-01-01 UTC; 0 if that is not known.
    pub timestamp_ms: i64,
    /// When its time was over or will be, in ms since 1970-01-01 UTC.
    pub expires_ms: Option<i64>,
    /// Why it is not there.
    pub why: Gone,
}

/// What stands in one place of a chat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatLine {
    /// A message.
    Message(Box<ChatItem>),
    /// What is left of one.
    Gone(Box<GoneItem>),
}

impl ChatLine {
    /// The message, if it is held.
    #[must_use]
    pub fn into_message(self) -> Option<ChatItem> {
        match self {
            Self::Message(item) => Some(*item),
            Self::Gone(_) => None,
        }
    }

    /// Its place in the delivery order of this node, from 1.
    #[must_use]
    pub fn position(&self) -> u64 {
        match self {
            Self::Message(item) => item.position,
            Self::Gone(item) => item.position,
        }
    }

    /// Its place in the canonical order.
    #[must_use]
    pub fn key(&self) -> OrderKey {
        match self {
            Self::Message(item) => item.key,
            Self::Gone(item) => item.key,
        }
    }
}

impl ChatItem {
    /// The text, if it is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What to show for the author: the name, or the start of the key.
    #[must_use]
    pub fn shown_author(&self) -> String {
        self.author_name.clone().unwrap_or_else(|| self.author.short())
    }
}

/// A chat of a node: direct, private or public. Clones are the same chat.
#[derive(Debug, Clone)]
pub struct Chat {
    pub(crate) node: Node,
    pub(crate) group: GroupId,
    pub(crate) kind: ChatKind,
}

impl Chat {
    /// Its group.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// What kind of chat it is.
    #[must_use]
    pub fn kind(&self) -> ChatKind {
        self.kind
    }

    /// What a list shows of it, as it is now.
    ///
    /// # Errors
    /// When the chat was left, or the node does not work.
    pub async fn info(&self) -> Result<ChatInfo, NodeError> {
        let group = self.group;
        self.node.call(move |core| core.chat_info(group)).await
    }

    /// Sends a text of 1 to 30,000 bytes. When this returns the message is durable here, and goes to whoever shares the
    /// chat whenever they are met.
    ///
    /// # Errors
    /// When the text or the sender breaks a rule, or the node does not work.
    ///
    /// # Cancel safety
    /// When the future is dropped early the message may or may not be sent. Where that matters use
    /// [`Chat::send_batch`].
    pub async fn send(&self, text: &str) -> Result<MessageId, NodeError> {
        self.send_text(text, None).await
    }

    /// The same for a text that is gone after this time, on every device whose client knows of expiry; in whole ms, at
    /// least one.
    ///
    /// # Errors
    /// As [`Chat::send`].
    ///
    /// # Cancel safety
    /// As [`Chat::send`].
    pub async fn send_expiring(&self, text: &str, after: Duration) -> Result<MessageId, NodeError> {
        self.send_text(text, Some(after)).await
    }

    async fn send_text(&self, text: &str, after: Option<Duration>) -> Result<MessageId, NodeError> {
        let group = self.group;
        let texts = vec![text.to_owned()];
        let ids = self.node.call(move |core| core.post_texts(group, texts, after)).await?;
        ids.into_iter().next().ok_or(NodeError::Stopped)
    }

    /// Sends texts in order in one transaction: all or none. At most 1,024 texts and 4 MiB.
    ///
    /// # Errors
    /// As [`Chat::send`].
    ///
    /// # Cancel safety
    /// As [`Chat::send`].
    pub async fn send_many(&self, texts: Vec<String>) -> Result<Vec<MessageId>, NodeError> {
        let group = self.group;
        self.node.call(move |core| core.post_texts(group, texts, None)).await
    }

    /// Sends numbered lines exactly once, however often it is tried: those that this sending session has sent before
    /// are passed over, also after a crash of either side. A session is 16 bytes that the sender makes up and keeps
    /// until it is done; its lines are numbered on from any number. At most 1,024 lines and 4 MiB at a time.
    ///
    /// A session is remembered for 30 days after its last batch, and 1,024 of them at a time.
    ///
    /// # Errors
    /// [`NodeError::BatchGap`] if lines are missing before these; else as [`Chat::send`].
    ///
    /// # Cancel safety
    /// Safe: try again with the same numbers.
    pub async fn send_batch(
        &self,
        session: [u8; 16],
        first_line: u64,
        lines: Vec<String>,
    ) -> Result<BatchAnswer, NodeError> {
        self.send_batch_expiring(session, first_line, lines, None).await
    }

    /// The same for lines that are gone after this time, counted from when each is published; `None`: never.
    ///
    /// # Errors
    /// As [`Chat::send_batch`].
    ///
    /// # Cancel safety
    /// As [`Chat::send_batch`].
    pub async fn send_batch_expiring(
        &self,
        session: [u8; 16],
        first_line: u64,
        lines: Vec<String>,
        after: Option<Duration>,
    ) -> Result<BatchAnswer, NodeError> {
        let group = self.group;
        let session = Session { id: session, first_line };
        self.node.call(move |core| core.post_batch(group, session, lines, after)).await
    }

    /// Sets what the messages of this chat may take here, in bytes, instead of what the node was built with
    /// ([`Builder::max_group_bytes`](crate::Builder::max_group_bytes)); `None` goes back to that. It is kept. What is
    /// above it is pruned at once.
    ///
    /// # Errors
    /// When the cap is below 263,168 bytes, the chat was left, or the node does not work.
    pub async fn set_max_bytes(&self, max_bytes: Option<u64>) -> Result<(), NodeError> {
        let group = self.group;
        self.node.call(move |core| core.set_max_bytes(group, max_bytes)).await
    }

    /// All messages in delivery order, those to come included, from where the durable cursor of this name stands (from
    /// the first message if it is new). A name has 1 to 128 bytes. Two streams of one name get the same messages.
    ///
    /// # Errors
    /// When the chat cannot be read here, or the node does not work.
    pub async fn stream(&self, cursor: &str) -> Result<ChatStream, NodeError> {
        let (group, name) = (self.group, cursor.to_owned());
        let after = self.node.call(move |core| core.cursor(group, &name)).await?;
        Ok(ChatStream::new(self.node.clone(), group, after, Some(cursor.to_owned())))
    }

    /// All messages in delivery order, those to come included, from the one after this position (0: from the first).
    ///
    /// # Errors
    /// When the chat cannot be read here, or the node does not work.
    pub async fn stream_from(&self, after: u64) -> Result<ChatStream, NodeError> {
        let group = self.group;
        self.node.read(move |view| view.read_log(group, after, 0, 0).map(drop)).await?;
        Ok(ChatStream::new(self.node.clone(), group, after, None))
    }

    /// Up to `limit` messages that are there, in delivery order, from the one after this position. Fewer come when there
    /// are no more.
    ///
    /// # Errors
    /// When the chat cannot be read here, or the node does not work.
    pub async fn history(&self, after: u64, limit: usize) -> Result<Vec<ChatItem>, NodeError> {
        self.read(after, limit, ChatLine::into_message).await
    }

    /// The same with what is left of messages that are gone.
    ///
    /// # Errors
    /// As [`Chat::history`].
    pub async fn lines(&self, after: u64, limit: usize) -> Result<Vec<ChatLine>, NodeError> {
        self.read(after, limit, Some).await
    }

    async fn read<T>(
        &self,
        after: u64,
        limit: usize,
        pick: fn(ChatLine) -> Option<T>,
    ) -> Result<Vec<T>, NodeError> {
        let group = self.group;
        let (mut after, mut found) = (after, Vec::new());
        loop {
            let room = limit - found.len();
            let page = self.node.read(move |view| view.read_log(group, after, room, PAGE_BYTES)).await?;
            found.extend(page.items.into_iter().filter_map(pick));
            if page.to == after || found.len() >= limit {
                return Ok(found);
            }
            after = page.to;
        }
    }

    /// Up to `limit` messages in canonical order, which is the same on every node that holds the same messages: from after
    /// this key (from the first or last one if `None`), forwards or backwards. Something that comes late has its place
    /// in the middle.
    ///
    /// # Errors
    /// When the chat cannot be read here, or the node does not work.
    pub async fn page(
        &self,
        after: Option<OrderKey>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<ChatItem>, NodeError> {
        let lines = self.read_page(after, direction, limit, false).await?;
        Ok(lines.into_iter().filter_map(ChatLine::into_message).collect())
    }

    /// The same with what is left of messages that are gone.
    ///
    /// # Errors
    /// As [`Chat::page`].
    pub async fn line_page(
        &self,
        after: Option<OrderKey>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<ChatLine>, NodeError> {
        self.read_page(after, direction, limit, true).await
    }

    async fn read_page(
        &self,
        after: Option<OrderKey>,
        direction: Direction,
        limit: usize,
        with_gone: bool,
    ) -> Result<Vec<ChatLine>, NodeError> {
        let group = self.group;
        // In parts, so that a large page does not hold up other readers.
        let (mut after, mut found) = (after, Vec::new());
        loop {
            let room = (limit - found.len()).min(crate::limits::PAGE_MESSAGES);
            let read = move |view: &View<'_>| view.read_page(group, after, direction, room, with_gone);
            let items = self.node.read(read).await?;
            let (count, last) = (items.len(), items.last().map(ChatLine::key));
            found.extend(items);
            if count < room || found.len() >= limit {
                return Ok(found);
            }
            after = last;
        }
    }

    /// Who is known to be in the chat.
    ///
    /// # Errors
    /// When the chat was left, or the node does not work.
    pub async fn members(&self) -> Result<Vec<Member>, NodeError> {
        let group = self.group;
        self.node.read(move |view| view.members(group)).await
    }

    /// The messages that could not be read.
    ///
    /// # Errors
    /// When the chat was left, or the node does not work.
    pub async fn quarantine(&self) -> Result<Quarantine, NodeError> {
        let group = self.group;
        let (count, last) = self.node.read(move |view| view.quarantined(group)).await?;
        Ok(Quarantine { count, last })
    }
}
