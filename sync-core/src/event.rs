//! What the engine tells its driver, and what can be asked of it.

use bytes::Bytes;
use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, Message, MessageId, PeerId, Span, Visibility};

use crate::engine::LinkId;
use crate::order::OrderKey;
use crate::store::MessageState;
use crate::time::Time;
use crate::verdict::InvalidReason;

/// Something happened. Everything an event speaks of is durable when it is polled.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A message of a judged group is held: say what it is with [`Engine::judge`](crate::Engine::judge). It is
    /// asked again after the engine is opened again.
    Validate {
        /// Its id.
        id: MessageId,
        /// The whole message.
        message: Message,
    },
    /// The delivery order of a group grew. Runs are merged; read them with [`Engine::log`](crate::Engine::log).
    Delivered {
        /// The group.
        group: GroupId,
        /// The first new position.
        first: u64,
        /// The last new position.
        last: u64,
    },
    /// A message became a tombstone.
    Invalid {
        /// The group.
        group: GroupId,
        /// The message.
        id: MessageId,
        /// Why.
        reason: InvalidReason,
    },
    /// A dependency has been awaited for longer than [`Config::missing_report_ms`](crate::Config). It is still
    /// asked for whenever a peer is met.
    Missing {
        /// The group.
        group: GroupId,
        /// The dependency.
        id: MessageId,
        /// Since when.
        since: Time,
    },
    /// Bodies of delivered messages are gone, for lack of room or because their time was over. Runs are merged.
    Pruned {
        /// The group.
        group: GroupId,
        /// The positions of the messages, ascending.
        positions: Vec<Span>,
    },
    /// A dependency that no peer in reach holds any more is taken as delivered, at a peer's word: something is
    /// missing here in the history of the group. It has a position as any other, and no body.
    HistoryGap {
        /// The group.
        group: GroupId,
        /// The dependency.
        id: MessageId,
        /// Who said that it was delivered and is held no longer.
        peer: PeerId,
    },
    /// A message that is not stored.
    Ephemeral {
        /// The group.
        group: GroupId,
        /// Who sent it.
        peer: PeerId,
        /// When the sender says that it was said, in ms since 1970-01-01 UTC.
        timestamp_ms: i64,
        /// What it says.
        body: Bytes,
    },
    /// The session on a link is open: both sides said HELLO, or the wire does not know it.
    LinkReady {
        /// The link.
        link: LinkId,
        /// Who is at the other end.
        peer: PeerId,
    },
    /// A peer is known to hold more of a group than before. Runs are merged.
    PeerHas {
        /// The peer.
        peer: PeerId,
        /// The group.
        group: GroupId,
        /// How many of our delivered messages it holds.
        count: u64,
    },
    /// A peer lacks something for longer than [`Config::undelivered_report_ms`](crate::Config). Sending goes on
    /// whenever it is met.
    Undelivered {
        /// The peer.
        peer: PeerId,
        /// The group.
        group: GroupId,
        /// Since when it lacks something.
        since: Time,
        /// How many messages it lacks.
        count: u64,
    },
    /// A message does not fit through a link; others go on, and it goes over another link when there is one. Told
    /// once for each link.
    TooLarge {
        /// The link.
        link: LinkId,
        /// Who is at the other end.
        peer: PeerId,
        /// The group.
        group: GroupId,
        /// The message.
        id: MessageId,
    },
}

/// A group as the engine knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupInfo {
    /// Its id.
    pub id: GroupId,
    /// How it and its messages are named.
    pub scheme: IdScheme,
    /// What it is.
    pub descriptor: GroupDescriptor,
    /// Whether a client here judges its messages.
    pub judged: bool,
    /// The last position of its delivery order.
    pub head: u64,
}

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// When it is written, in ms since 1970-01-01 UTC.
    pub timestamp_ms: i64,
    /// What it comes after: delivered here, in the same group, at most 64. In any order.
    pub deps: Vec<MessageId>,
    /// What it says, at most 32,768 bytes.
    pub body: Bytes,
}

/// A message as it stands in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: MessageId,
    /// Its position in the delivery order; 0 before delivery.
    pub position: u64,
    /// Its place in the canonical order; meaningful once delivered.
    pub key: OrderKey,
    /// Where it stands: [`MessageState::Pruned`] and [`MessageState::Gap`] say why there is no body.
    pub state: MessageState,
    /// The author's timestamp, in ms since 1970-01-01 UTC; 0 where it is not known ([`MessageState::Gap`]).
    pub timestamp_ms: i64,
    /// What it comes after, ascending.
    pub deps: Vec<MessageId>,
    /// What it says; `None` where the body is no longer held.
    pub body: Option<Bytes>,
    /// Which peer it came from first; `None` if it was written here, or the peer was removed.
    pub origin: Option<PeerId>,
    /// When it came.
    pub arrived: Time,
    /// From when on its body is gone everywhere, in ms since 1970-01-01 UTC; `None`: never.
    pub expires_ms: Option<i64>,
    /// Who wrote what is gone, if the group's client named an author. Not looked up where the body is held, which
    /// says it.
    pub author: Option<[u8; 32]>,
}

impl Entry {
    /// The message itself, if its body is held.
    #[must_use]
    pub fn to_message(&self, group: GroupId) -> Option<Message> {
        Message::new(group, self.timestamp_ms, self.deps.clone(), self.body.clone()?).ok()
    }
}

/// A dependency that is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// Its id.
    pub id: MessageId,
    /// Since when.
    pub since: Time,
}

/// How everything stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Every group.
    pub groups: Vec<GroupStatus>,
    /// Every peer in every group that is not invisible to it.
    pub peers: Vec<PeerGroupStatus>,
    /// Every link.
    pub links: Vec<LinkStatus>,
    /// What all messages with a body count for, in bytes.
    pub bytes: u64,
    /// What they may count for, in bytes; `u64::MAX`: no cap.
    pub max_bytes: u64,
}

/// How a group stands. What is not said to be bytes are counts of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupStatus {
    /// The group.
    pub id: GroupId,
    /// With their bodies.
    pub held: u64,
    /// In the delivery order, bodies held or not.
    pub delivered: u64,
    /// Valid, waiting for dependencies.
    pub waiting: u64,
    /// Waiting for the client's verdict.
    pub unvalidated: u64,
    /// Waiting for their time.
    pub early: u64,
    /// Known by id only, and awaited.
    pub missing: u64,
    /// Tombstones of invalid ones.
    pub invalid: u64,
    /// Delivered, their bodies no longer held.
    pub pruned: u64,
    /// Taken as delivered, never held.
    pub gaps: u64,
    /// Without a successor.
    pub heads: u64,
    /// What those with their bodies count for, in bytes.
    pub bytes: u64,
    /// What they may count for, in bytes; `u64::MAX`: no cap.
    pub max_bytes: u64,
}

/// How a peer stands in a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerGroupStatus {
    /// The peer.
    pub peer: PeerId,
    /// The group.
    pub group: GroupId,
    /// Our side of the sharing.
    pub visibility: Visibility,
    /// The peer's side; `None` before it said so in this session.
    pub peer_visibility: Option<Visibility>,
    /// How many of our delivered messages the peer is known to hold.
    pub acked: u64,
    /// How many messages are sent and not acknowledged.
    pub in_flight: u64,
    /// How many offers are unanswered.
    pub offered: u64,
    /// How many messages we have asked of it.
    pub requested: u64,
    /// How many messages that came from it first wait here for dependencies or their time.
    pub parked: u64,
    /// How many of those wait here for a verdict.
    pub unvalidated: u64,
    /// How many messages it asked for again that wait, since it was sent so many again already.
    pub held_back: u64,
    /// Whether the peer is known to hold all that is delivered here.
    pub settled: bool,
}

/// How a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkStatus {
    /// The link.
    pub link: LinkId,
    /// Who is at the other end.
    pub peer: PeerId,
    /// Whether the carrier is reliable.
    pub reliable: bool,
    /// Whether both sides said HELLO; on wires without it, always.
    pub ready: bool,
    /// What crossed it.
    pub traffic: Traffic,
    /// Measured round trip in ms; links that lose frames only.
    pub round_trip_ms: Option<u64>,
}

/// Counts of what crossed a link, or all links.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames taken.
    pub frames_in: u64,
    /// Frames made.
    pub frames_out: u64,
    /// Bytes of the frames taken.
    pub bytes_in: u64,
    /// Bytes of the frames made.
    pub bytes_out: u64,
    /// MESSAGE records taken.
    pub messages_in: u64,
    /// MESSAGE records made.
    pub messages_out: u64,
    /// Messages among those taken that were held already.
    pub duplicates_in: u64,
    /// Offered ids taken.
    pub offers_in: u64,
    /// Offered ids made.
    pub offers_out: u64,
    /// Requested messages in REQUEST records made.
    pub requests_out: u64,
    /// ACK records made.
    pub acks_out: u64,
    /// Records ignored or refused because they broke a rule that does not end the link.
    pub refused: u64,
    /// Messages and offers made that the peer was given before, on a link that is not known to have lost them.
    pub repeats_out: u64,
    /// How often there was something to be sent again and the peer's allowance for that was used up
    /// ([`Config::repeats`](crate::Config::repeats)): it was sent later.
    pub held_back: u64,
    /// Messages that came again with other dependencies, where their ids do not cover these. The first ones stay.
    pub changed_deps: u64,
    /// How often it was found out what a peer and we differ by in a group. Of all links together only.
    pub reconciled: u64,
}

impl std::ops::AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.frames_in += other.frames_in;
        self.frames_out += other.frames_out;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.messages_in += other.messages_in;
        self.messages_out += other.messages_out;
        self.duplicates_in += other.duplicates_in;
        self.offers_in += other.offers_in;
        self.offers_out += other.offers_out;
        self.requests_out += other.requests_out;
        self.acks_out += other.acks_out;
        self.refused += other.refused;
        self.repeats_out += other.repeats_out;
        self.held_back += other.held_back;
        self.changed_deps += other.changed_deps;
        self.reconciled += other.reconciled;
    }
}
