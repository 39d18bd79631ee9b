//! Contacts as an application sees them.

use hedgerow_proto::{GroupId, PeerId};
use hedgerow_transports::Address;

/// A peer with which this node keeps links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contact {
    /// Its public key.
    pub peer: PeerId,
    /// What the user of this node calls it; no two contacts have the same.
    pub alias: Option<String>,
    /// What it calls itself in its ticket.
    pub name: Option<String>,
    /// Where it is dialled.
    pub addresses: Vec<Address>,
    /// Whether there is a link on which both sides said HELLO.
    pub connected: bool,
    /// The group of the direct chat with it.
    pub direct: GroupId,
    /// When it was added, in ms since 1970-01-01 UTC.
    pub added_ms: u64,
}

impl Contact {
    /// What to show: the alias, the name, or the start of the key.
    #[must_use]
    pub fn shown(&self) -> String {
        self.alias.clone().or_else(|| self.name.clone()).unwrap_or_else(|| self.peer.short())
    }
}

/// A stranger that has proven its key and wanted a link, which was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingPeer {
    /// Its public key.
    pub peer: PeerId,
    /// From where it dialled last.
    pub address: String,
    /// When it came first, in ms since 1970-01-01 UTC.
    pub first_ms: u64,
    /// When it came last, in ms since 1970-01-01 UTC, give or take a minute.
    pub last_ms: u64,
    /// How often it came; attempts within a minute count as one.
    pub attempts: u64,
}
