//! What can go wrong for an application.

use std::sync::Arc;

use hedgerow_clients::{DraftError, GroupError, InviteError, NameError, TicketError};
use hedgerow_proto::{GroupId, PeerId};
use hedgerow_sync_core::{EngineError, StoreError};
use hedgerow_transports::{Address, AddressError, TransportError};

use crate::home::HomeError;
use crate::limits::{MAX_BATCH_BYTES, MAX_BATCH_LINES, MAX_CURSOR_NAME};

/// Why a node did not do what it was asked. Nothing was changed, if not said otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The node was shut down, or its engine is gone.
    #[error("the node is shut down")]
    Stopped,
    /// The store failed. Unless it is [`StoreError::Full`] or [`StoreError::Busy`], which keep nothing, it is unknown
    /// whether the change was kept. The node has dropped its links, opens the store again by itself, and
    /// then goes on; until then every call ends with this error.
    #[error("the store failed, the node opens it again by itself: {0}")]
    Store(#[source] Arc<StoreError>),
    /// The home cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// A text is not an address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// No transport of this node serves the scheme of the address.
    #[error("this node has no transport for {0}")]
    NoTransport(Address),
    /// The node cannot listen where it should.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The node's own ticket cannot be made: an address is too long for it.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// The system gave no randomness.
    #[error("the system gave no randomness: {0}")]
    Random(getrandom::Error),
    /// The system gave no thread for the engine.
    #[error("the system gave no thread for the engine: {0}")]
    Thread(#[source] std::io::Error),
    /// What was said of a foreign peer or group does not go together.
    #[error("{0}")]
    Foreign(&'static str),
    /// The ticket is the node's own.
    #[error("this is the node's own ticket")]
    OwnTicket,
    /// No such contact.
    #[error("{0} is not a contact")]
    UnknownPeer(PeerId),
    /// No such chat here.
    #[error("group {0} is not known here")]
    UnknownGroup(GroupId),
    /// Nothing here goes by this name.
    #[error("no {what} goes by the name {text:?}")]
    NotFound {
        /// What was looked for: a peer, a chat.
        what: &'static str,
        /// By which name.
        text: String,
    },
    /// More than one thing goes by this name.
    #[error("{text:?} may mean {}", candidates.join(" or "))]
    Ambiguous {
        /// The name.
        text: String,
        /// What it may mean; each can be named by its id.
        candidates: Vec<String>,
    },
    /// Another contact has this alias.
    #[error("the alias {alias:?} belongs to {peer}")]
    AliasTaken {
        /// The alias.
        alias: String,
        /// Whose it is.
        peer: PeerId,
    },
    /// There is no room for more.
    #[error("no room for more than {limit} {what}")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        limit: usize,
    },
    /// The node has no client that reads the group: it stores and forwards it.
    #[error(
        "this node has no client for {client_id}, group {group}: it stores and forwards, and reads nothing"
    )]
    NoClient {
        /// The group.
        group: GroupId,
        /// The client that is missing.
        client_id: String,
    },
    /// A direct chat lasts as long as the contact: it cannot be left, and nobody can be invited.
    #[error("group {0} is a direct chat, this is for groups")]
    DirectChat(GroupId),
    /// A private group has no link that lets anybody in: invite a peer by name.
    #[error("group {0} is private: it has no link, invite each peer")]
    PrivateGroup(GroupId),
    /// There is no invitation into this group.
    #[error("there is no invitation into group {0}")]
    NoInvitation(GroupId),
    /// What is to be said breaks a rule.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// The invitation breaks a rule.
    #[error(transparent)]
    Invite(#[from] InviteError),
    /// The group breaks a rule.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The name of a cursor is empty or too long.
    #[error("the name of a cursor has 1 to {MAX_CURSOR_NAME} bytes, this one has {0}")]
    CursorName(usize),
    /// A batch is too large: send it in parts.
    #[error(
        "a batch has at most {MAX_BATCH_LINES} messages and {MAX_BATCH_BYTES} bytes, this one has {messages} and {bytes}"
    )]
    BatchTooLarge {
        /// How many messages.
        messages: usize,
        /// How many bytes of text.
        bytes: usize,
    },
    /// Lines between the last accepted one and this batch are missing.
    #[error("the next line of this sending session is {expected}, the batch begins with {found}")]
    BatchGap {
        /// The line that is due.
        expected: u64,
        /// The first line of the batch.
        found: u64,
    },
    /// There is no room for the messages under a cap, and nothing may be pruned for them: what is held was written
    /// here and nobody else holds it yet, or is not delivered yet.
    #[error(
        "no room for {messages} more messages under the cap of the store or the group: nothing that others hold too is left to prune"
    )]
    NoRoom {
        /// How many messages there were.
        messages: u64,
    },
    /// The sending session belongs to another chat.
    #[error("this sending session belongs to group {0}")]
    BatchElsewhere(GroupId),
    /// So much was written while the store was checked that the check was given up: until it ends, the log of the store
    /// only grows. Try again when less comes in, or when the node is down.
    #[error("the check was given up: {log_bytes} bytes were written meanwhile; try again when less comes in")]
    CheckOutrun {
        /// What the log had grown to.
        log_bytes: u64,
    },
    /// A row that the node itself wrote cannot be read.
    #[error("a {what} in the store is damaged: {reason}")]
    Damaged {
        /// What kind of row.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The engine refused.
    #[error(transparent)]
    Engine(EngineError),
}

impl From<EngineError> for NodeError {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::Store(error) => Self::Store(Arc::new(error)),
            EngineError::Poisoned => {
                Self::Store(Arc::new(StoreError::Backend(Box::new(EngineError::Poisoned))))
            }
            EngineError::UnknownGroup(group) => Self::UnknownGroup(group),
            other => Self::Engine(other),
        }
    }
}

impl From<StoreError> for NodeError {
    fn from(error: StoreError) -> Self {
        Self::Store(Arc::new(error))
    }
}
