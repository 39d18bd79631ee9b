//! What the engine asks of a store: durable rows and transactions, and no rules.
//!
//! Inside a store everything is named by integers: [`GroupNum`], [`PeerNum`], [`MessageNum`]. The 32-byte id of
//! a message stands in it once. `docs/storage.md` in the repository gives the rows and their invariants.

mod check;
#[cfg(feature = "conformance")]
pub mod conformance;
mod memory;
mod repair;
mod writing;

use bytes::Bytes;
use hedgerow_proto::{GroupId, MessageId, PeerId, Visibility};

pub use self::check::{CheckReport, Invariant, Problem, Subject, check};
pub use self::memory::MemoryStore;
pub use self::repair::{LeftBehind, RepairReport, RepairedGroup, Salvage, TakeValue, repair};
use crate::order::OrderKey;
use crate::time::Time;

/// A group inside one store. Given by the engine, never used again for another group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupNum(pub u32);

/// A peer inside one store. Given by the engine, never used again for another peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerNum(pub u32);

/// A message inside one store, from 1. Given by the store, ascending, never used again for another message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageNum(pub u64);

/// An author inside one store. Given by the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AuthorNum(pub u32);

/// What a held message counts for beside the bytes of its body, in bytes: its row and what leads to it.
pub const MESSAGE_WEIGHT: u64 = 128;

/// Why a store could not do what it was asked. After any of these the engine stops until it is opened again
/// from the store, since it cannot know what was written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room on the disk. Nothing of the transaction was kept.
    #[error("the store cannot grow: no space left on its disk")]
    Full,
    /// Another process holds the store.
    #[error("the store is in use by another process")]
    Busy,
    /// The store was written by a newer version of this software. Nothing was changed.
    #[error("the store has schema {found}, this version knows up to {known}: use the newer software")]
    Newer {
        /// The schema version of the store.
        found: u64,
        /// The newest schema version that this code knows.
        known: u64,
    },
    /// The store's content breaks one of its own invariants.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
    /// Anything else that the storage engine or the file system says. Whether the transaction was kept is unknown.
    #[error("the store failed: {0}")]
    Backend(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Where a message stands. The number is the one in stores; it never changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum MessageState {
    /// A dependency of something held: only its id is known.
    Wanted = 0,
    /// Held; its client has not judged it.
    Unvalidated = 1,
    /// Held and valid; at least one dependency is not delivered.
    Waiting = 2,
    /// Held, valid, its dependencies delivered; its timestamp is too far ahead.
    Early = 3,
    /// In the delivery order.
    Delivered = 4,
    /// Tombstone: judged invalid, or a descendant of such; no body.
    Invalid = 5,
    /// Tombstone: delivered, its body no longer held.
    Pruned = 6,
    /// Tombstone that is not delivered yet: valid, its body gone because its time was over before its
    /// dependencies or its timestamp had come. It becomes [`Pruned`](Self::Pruned) when they have.
    Lapsed = 7,
    /// Tombstone: never held here, and taken as delivered, because a peer said that it had been and is no longer
    /// held. Its place in the canonical order is what the peer said; its dependencies are not known.
    Gap = 8,
}

impl MessageState {
    /// The state that a store's number stands for.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Self::Wanted,
            1 => Self::Unvalidated,
            2 => Self::Waiting,
            3 => Self::Early,
            4 => Self::Delivered,
            5 => Self::Invalid,
            6 => Self::Pruned,
            7 => Self::Lapsed,
            8 => Self::Gap,
            _ => return None,
        })
    }

    /// Whether it is in the delivery order, with a body or without.
    #[must_use]
    pub const fn is_delivered(self) -> bool {
        matches!(self, Self::Delivered | Self::Pruned | Self::Gap)
    }

    /// Whether there is a body.
    #[must_use]
    pub const fn has_body(self) -> bool {
        matches!(self, Self::Unvalidated | Self::Waiting | Self::Early | Self::Delivered)
    }
}

/// One message without its dependencies and body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageRow {
    /// Its number.
    pub num: MessageNum,
    /// Its group.
    pub group: GroupNum,
    /// Its id.
    pub id: MessageId,
    /// Where it stands.
    pub state: MessageState,
    /// The author's timestamp in ms since 1970-01-01 UTC; 0 for [`MessageState::Wanted`] and
    /// [`MessageState::Gap`].
    pub timestamp_ms: i64,
    /// Effective timestamp ([`OrderKey`]); set at delivery.
    pub eff_ms: i64,
    /// Height ([`OrderKey`]); set at delivery, 0 before.
    pub height: u64,
    /// Position in the delivery order, from 1; 0 before delivery.
    pub position: u64,
    /// Chain value of the log up to here ([`crate::chain`]); set at delivery.
    pub chain: u64,
    /// Who sent it to us first; `None`: written here.
    pub origin: Option<PeerNum>,
    /// When it came.
    pub arrived: Time,
    /// Length of the body in bytes, as it was when it came.
    pub body_len: u32,
    /// How many of its dependencies are not delivered.
    pub missing: u32,
    /// Why it is [`MessageState::Invalid`]: [`crate::InvalidReason::code`]; 0 in every other state.
    pub reason: u8,
    /// Who wrote it, as its group's client named the author; `None` if it named none.
    pub author: Option<AuthorNum>,
    /// From when on its body may no longer be held or sent, in ms since 1970-01-01 UTC; `None`: for ever.
    pub expires_ms: Option<i64>,
}

impl MessageRow {
    /// What it counts for against a cap, in bytes: its body and [`MESSAGE_WEIGHT`]; 0 without a body.
    #[must_use]
    pub const fn weight(&self) -> u64 {
        // A conversion that loses nothing; `From` is not const.
        if self.state.has_body() { self.body_len as u64 + MESSAGE_WEIGHT } else { 0 }
    }

    /// Whether its time is over, so that its body is not to be shown any more.
    #[must_use]
    pub fn is_over(&self, now: Time) -> bool {
        self.expires_ms.is_some_and(|at| at <= now.as_timestamp_ms())
    }

    /// Its canonical key; meaningful once it is delivered.
    #[must_use]
    pub const fn key(&self) -> OrderKey {
        OrderKey { eff_ms: self.eff_ms, height: self.height, id: self.id }
    }
}

/// A dependency as a store gives it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredDep {
    /// Its number in the store.
    pub num: MessageNum,
    /// Its id.
    pub id: MessageId,
    /// Its position in the delivery order; 0 before delivery.
    pub position: u64,
}

/// Dependencies and body of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The dependencies, ascending by id. Tombstones keep theirs; only those of an [`MessageState::Invalid`] one
    /// that were removed with another group are left out.
    pub deps: Vec<StoredDep>,
    /// The body; `None` where the state has none.
    pub body: Option<Bytes>,
}

/// A group's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRow {
    /// Its number.
    pub num: GroupNum,
    /// Its id.
    pub id: GroupId,
    /// [`hedgerow_proto::IdScheme::code`] of the scheme that names it and its messages.
    pub scheme: u8,
    /// The client that reads it.
    pub client_id: String,
    /// That client's major version.
    pub major_version: u32,
    /// The client's own bytes.
    pub descriptor: Vec<u8>,
    /// Whether a client here judges its messages; if not, all are taken as valid.
    pub judged: bool,
    /// The last position of its delivery order; 0 when empty.
    pub head: u64,
    /// The chain value at that position; 0 when empty.
    pub chain: u64,
    /// How many bytes the bodies of its messages in [`MessageState::Delivered`] have.
    pub body_bytes: u64,
    /// What its messages may count for, in bytes; `None`: what the configuration says.
    pub max_bytes: Option<u64>,
}

/// A peer's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerRow {
    /// Its number.
    pub num: PeerNum,
    /// Its id.
    pub id: PeerId,
    /// The install number of its last HELLO; `None` if there was none.
    pub install: Option<u64>,
}

/// What is known of one peer in one group. `has` and `got` are [`crate::SpanSet`]s in their byte form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerGroupRow {
    /// The peer.
    pub peer: PeerNum,
    /// The group.
    pub group: GroupNum,
    /// How the group stands between us and the peer.
    pub visibility: Visibility,
    /// Our positions that the peer is known to hold.
    pub has: Vec<u8>,
    /// The peer's positions that we hold durably.
    pub got: Vec<u8>,
    /// The highest of the peer's positions with a known chain value; 0 for none.
    pub mark: u64,
    /// That chain value.
    pub mark_chain: u64,
}

/// All small rows, read once when the engine opens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The random number of this store; `None` in a new one.
    pub install: Option<u64>,
    /// Every group, by number.
    pub groups: Vec<GroupRow>,
    /// Every peer, by number.
    pub peers: Vec<PeerRow>,
    /// Every (peer, group) pair, by peer and group.
    pub peer_groups: Vec<PeerGroupRow>,
    /// Highest group and peer numbers ever given, 0 for none: numbers of removed ones are not given again.
    pub last_nums: (u32, u32),
}

/// An author's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuthorRow {
    /// Its number.
    pub num: AuthorNum,
    /// The group that it writes in.
    pub group: GroupNum,
    /// What the group's client calls it.
    pub key: [u8; 32],
}

/// A dependency that is waited for, and who waits for it: (parent, child).
pub type Edge = (MessageNum, MessageNum);

/// A key and its value, in a name space of the layers above.
pub type KeyValue = (Vec<u8>, Vec<u8>);

/// Which way to read the canonical order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From old to new.
    Forward,
    /// From new to old.
    Backward,
}

/// Durable rows and transactions.
///
/// Everything written since the last [`Store::commit`] is one transaction, begun by the first write. Reads see
/// it. A crash, or dropping the store, undoes what is not committed. Methods panic never; numbers that do not
/// exist read as `None` and are errors ([`StoreError::Corrupt`]) to write.
pub trait Store {
    /// Whether all rows are in the memory of this process alone, so that what is read is what was written. Of a store
    /// of which that is not so, the engine looks at what it reads before it uses it.
    fn keeps_in_memory(&self) -> bool {
        false
    }

    /// Makes the open transaction durable: when this returns, a power failure loses nothing of it. Does nothing
    /// (and touches no disk) when nothing was written.
    ///
    /// # Errors
    /// [`StoreError::Full`] and [`StoreError::Busy`] promise that nothing was kept; after others that is unknown.
    fn commit(&mut self) -> Result<(), StoreError>;

    /// Undoes the open transaction.
    ///
    /// # Errors
    /// When the backend fails.
    fn rollback(&mut self) -> Result<(), StoreError>;

    /// All small rows.
    ///
    /// # Errors
    /// When the backend fails or a row is damaged.
    fn load(&self) -> Result<Snapshot, StoreError>;

    /// A group by its id.
    ///
    /// # Errors
    /// When the backend fails or the row is damaged.
    fn group(&self, id: &GroupId) -> Result<Option<GroupRow>, StoreError> {
        Ok(self.load()?.groups.into_iter().find(|row| row.id == *id))
    }

    /// A peer by its number.
    ///
    /// # Errors
    /// When the backend fails or the row is damaged.
    fn peer(&self, num: PeerNum) -> Result<Option<PeerRow>, StoreError> {
        Ok(self.load()?.peers.into_iter().find(|row| row.num == num))
    }

    /// Sets the random number of this store.
    ///
    /// # Errors
    /// When the backend fails.
    fn set_install(&mut self, install: u64) -> Result<(), StoreError>;

    /// Inserts or replaces a group's row.
    ///
    /// # Errors
    /// When the backend fails.
    fn put_group(&mut self, group: &GroupRow) -> Result<(), StoreError>;

    /// Sets `head`, `chain` and `body_bytes` of a group that is there: the small write of every batch.
    ///
    /// # Errors
    /// When the backend fails or there is no such group.
    fn set_head(&mut self, group: GroupNum, head: u64, chain: u64, body_bytes: u64)
    -> Result<(), StoreError>;

    /// Removes a group with its messages, edges, heads, authors and peer rows.
    ///
    /// # Errors
    /// When the backend fails.
    fn remove_group(&mut self, group: GroupNum) -> Result<(), StoreError>;

    /// Inserts or replaces a peer's row.
    ///
    /// # Errors
    /// When the backend fails.
    fn put_peer(&mut self, peer: &PeerRow) -> Result<(), StoreError>;

    /// Removes a peer and its (peer, group) rows. Messages keep its number as their origin.
    ///
    /// # Errors
    /// When the backend fails.
    fn remove_peer(&mut self, peer: PeerNum) -> Result<(), StoreError>;

    /// Inserts or replaces the row of a peer in a group.
    ///
    /// # Errors
    /// When the backend fails.
    fn put_peer_group(&mut self, row: &PeerGroupRow) -> Result<(), StoreError>;

    /// The number of an author in a group, if it has one.
    ///
    /// # Errors
    /// When the backend fails.
    fn author_num(&self, group: GroupNum, key: &[u8; 32]) -> Result<Option<AuthorNum>, StoreError>;

    /// Gives an author the number after the highest one there is. Numbers of a removed group may be given again.
    ///
    /// # Errors
    /// When the backend fails, there is no such group, or the author has a number ([`StoreError::Corrupt`]).
    fn add_author(&mut self, group: GroupNum, key: &[u8; 32]) -> Result<AuthorNum, StoreError>;

    /// The author with this number.
    ///
    /// # Errors
    /// When the backend fails.
    fn author(&self, num: AuthorNum) -> Result<Option<AuthorRow>, StoreError>;

    /// The message with this id.
    ///
    /// # Errors
    /// When the backend fails.
    fn find(&self, id: &MessageId) -> Result<Option<MessageRow>, StoreError>;

    /// The message with this number.
    ///
    /// # Errors
    /// When the backend fails.
    fn row(&self, num: MessageNum) -> Result<Option<MessageRow>, StoreError>;

    /// The message at this position of a group's delivery order.
    ///
    /// # Errors
    /// When the backend fails.
    fn at(&self, group: GroupNum, position: u64) -> Result<Option<MessageRow>, StoreError>;

    /// Dependencies and body of a message.
    ///
    /// # Errors
    /// When the backend fails.
    fn content(&self, num: MessageNum) -> Result<Option<Content>, StoreError>;

    /// Inserts a message under a new number (the `num` of `row` is ignored) and returns that number.
    /// `deps` are in ascending order of id.
    ///
    /// # Errors
    /// When the backend fails, or the id is there already ([`StoreError::Corrupt`]).
    fn insert(
        &mut self,
        row: &MessageRow,
        deps: &[MessageNum],
        body: Option<&Bytes>,
    ) -> Result<MessageNum, StoreError>;

    /// Gives a [`MessageState::Wanted`] row its content: all of `row` but number and id is written. The group too:
    /// who wants a message by its id may be wrong about its group.
    ///
    /// # Errors
    /// When the backend fails, there is no such row, or it is not wanted.
    fn fill(&mut self, row: &MessageRow, deps: &[MessageNum], body: &Bytes) -> Result<(), StoreError>;

    /// Writes `group`, `state`, `eff_ms`, `height`, `position`, `chain`, `missing`, `reason`, `author` and
    /// `expires_ms` of a row. A state without a body removes the body; [`MessageState::Invalid`] removes the
    /// dependencies too.
    ///
    /// # Errors
    /// When the backend fails or there is no such row.
    fn update(&mut self, row: &MessageRow) -> Result<(), StoreError>;

    /// Gives a message in [`MessageState::Unvalidated`] other dependencies, in ascending order of id. Its edges stay as
    /// they are.
    ///
    /// # Errors
    /// When the backend fails, there is no such row or dependency, or the message is in another state.
    fn set_deps(&mut self, num: MessageNum, deps: &[MessageNum]) -> Result<(), StoreError>;

    /// Removes a message; not one that others depend on.
    ///
    /// # Errors
    /// When the backend fails.
    fn remove(&mut self, num: MessageNum) -> Result<(), StoreError>;

    /// Notes that `child` waits for `parent`. Noting it twice is noting it once.
    ///
    /// # Errors
    /// When the backend fails.
    fn add_edge(&mut self, parent: MessageNum, child: MessageNum) -> Result<(), StoreError>;

    /// Removes one edge; nothing happens if it is not there.
    ///
    /// # Errors
    /// When the backend fails.
    fn remove_edge(&mut self, parent: MessageNum, child: MessageNum) -> Result<(), StoreError>;

    /// Up to `limit` children that wait for `parent`, ascending, from after `after`.
    ///
    /// # Errors
    /// When the backend fails.
    fn children(
        &self,
        parent: MessageNum,
        after: MessageNum,
        limit: usize,
    ) -> Result<Vec<MessageNum>, StoreError>;

    /// Up to `limit` messages in `state`, ascending by number, from after `after`. For every state but
    /// [`MessageState::Delivered`] this costs in proportion to the messages in that state.
    ///
    /// # Errors
    /// When the backend fails.
    fn in_state(
        &self,
        state: MessageState,
        after: MessageNum,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError>;

    /// Up to `limit` messages with a body that expire at `until_ms` or before, ascending by `expires_ms` and number.
    /// Costs in proportion to what it returns.
    ///
    /// # Errors
    /// When the backend fails.
    fn expiring(&self, until_ms: i64, limit: usize) -> Result<Vec<MessageRow>, StoreError>;

    /// Up to `limit` delivered messages of a group in canonical order, from after `after` (from the first or
    /// last one if `None`) in the given direction. Costs in proportion to what it returns.
    ///
    /// # Errors
    /// When the backend fails.
    fn page(
        &self,
        group: GroupNum,
        after: Option<&OrderKey>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError>;

    /// The heads of a group (delivered messages that no delivered message depends on), ascending by number.
    ///
    /// # Errors
    /// When the backend fails.
    fn heads(&self, group: GroupNum) -> Result<Vec<MessageNum>, StoreError>;

    /// Changes the heads of a group.
    ///
    /// # Errors
    /// When the backend fails.
    fn change_heads(
        &mut self,
        group: GroupNum,
        removed: &[MessageNum],
        added: &[MessageNum],
    ) -> Result<(), StoreError>;

    /// Up to `limit` messages of any state, ascending by number, from after `after`.
    ///
    /// # Errors
    /// When the backend fails.
    fn scan(&self, after: MessageNum, limit: usize) -> Result<Vec<MessageRow>, StoreError>;

    /// Up to `limit` edges (parent, child), ascending, from after `after`.
    ///
    /// # Errors
    /// When the backend fails.
    fn edges(&self, after: Edge, limit: usize) -> Result<Vec<Edge>, StoreError>;

    /// A value that the layers above keep in the same transactions (cursors, contacts): by a name space of
    /// theirs and a key.
    ///
    /// # Errors
    /// When the backend fails.
    fn value(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Sets such a value, or removes it with `None`.
    ///
    /// # Errors
    /// When the backend fails.
    fn set_value(&mut self, space: &str, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError>;

    /// Up to `limit` keys and values of a name space, ascending by key, from after `after` (from the first if
    /// `None`).
    ///
    /// # Errors
    /// When the backend fails.
    fn values(&self, space: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>, StoreError>;
}
