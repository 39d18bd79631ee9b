//! Offline-first message sync: spawn a node, open a chat, send and receive.
//!
//! ```
#![doc = include_str!("../examples/two_nodes.rs")]
//! ```
//!
//! A [`Node`] keeps messages in a store, and links to its contacts whenever they can be reached. A [`Chat`] is direct,
//! private or public; what is sent there is signed, durable before [`Chat::send`] returns, and goes, also by way of others
//! who share the chat, to everybody in it. A [`ChatStream`] gives the messages of a chat in delivery order: those that a
//! message answers to come before it, each comes once, and what was given never changes. [`Chat::page`] gives them in the
//! canonical order, which is the same on every node that holds the same messages.
//!
//! # What to rely on
//! - A crash loses nothing that a call has returned for, and nothing that a peer was told we hold.
//!   [`Chat::send_batch`] sends exactly once over crashes of either side; a stream's durable cursor goes on where it was.
//! - A reader that is slow slows down nothing, and misses nothing: it reads from the store. Only notifications
//!   ([`Node::events`]) can be missed, and then it is told how many.
//! - A store that fails (a full disk) costs nothing but time: the node drops its links, opens the store again, and goes on
//!   when it works; until then every call says so ([`NodeError::Store`]).
//! - A peer can make the node hold no more than its [limits](crate::limits) and its [`Config`] say.
//! - Only contacts get a link. Strangers that prove their key are [listed](Node::waiting). Peers of other makers
//!   ([`ForeignPeer`]) get plain links, and see nothing but the groups that are shared with them.
//!
//! # Threads
//! One thread runs the engine and its store, one checks signatures, one reads chats and one checks the store, beside the
//! engine and with connections of their own; links are tasks of the tokio runtime in which the node was spawned. Calls that
//! wait together are one transaction; a read finds all that any call has returned for.

mod builder;
mod chat;
mod clock;
mod contact;
mod core;
mod driver;
mod error;
mod events;
mod foreign;
mod home;
mod judge;
pub mod limits;
mod net;
mod node;
mod pace;
mod reads;
mod repair;
mod shared;
mod status;
mod store;
mod stream;
mod view;

pub use builder::Builder;
pub use chat::{
    BatchAnswer, Chat, ChatInfo, ChatItem, ChatKind, ChatLine, Gone, GoneItem, Invitation, Member,
    Quarantine, Quarantined,
};
pub use contact::{Contact, WaitingPeer};
pub use error::NodeError;
pub use events::{Events, NodeEvent};
pub use foreign::{ForeignDraft, ForeignGroup, ForeignMessage, ForeignPeer, ForeignWire};
pub use home::{Holder, Home, HomeError, Role};
pub use node::Node;
pub use repair::repair_store;
pub use status::{GroupReport, LinkReport, NodeStatus, PeerReport, TrafficReport};
pub use stream::ChatStream;

pub use hedgerow_clients::{self as clients, Content, GroupInvite, PeerTicket};
pub use hedgerow_proto::{GroupDescriptor, GroupId, MessageId, PeerId};
pub use hedgerow_sync_core::store::{CheckReport, Direction, LeftBehind, RepairReport, RepairedGroup};
pub use hedgerow_sync_core::{Config, Horizon, OrderKey, StoreError, Time};
pub use hedgerow_sync_sqlite::Repaired;
pub use hedgerow_transports::{
    self as transports, Address, Identity, Link, LossProfile, Lossy, MemoryNetwork, RedialConfig, Transport,
};

/// The examples in the project's README are compiled and run with the documentation's.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
