//! Peers of other makers, and the groups that are shared with them.
//!
//! Nothing of this is authenticated: such a peer is whoever the carrier says it is ([`hedgerow_transports::plain`]). So it
//! never is a contact, sees none of the node's own groups, and shares what it is configured to share.

use bytes::Bytes;
use hedgerow_proto::limits::MVDS_PEER_LEN;
use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, MessageId, PeerId};
use hedgerow_sync_core::OrderKey;
use hedgerow_transports::Address;
use serde::{Deserialize, Serialize};

/// What is spoken with a foreign peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ForeignWire {
    /// MVDS payloads.
    Mvds {
        /// Messages are offered first (interactive mode); if not, they are sent at once (batch mode).
        interactive: bool,
        /// Dependencies are written.
        parents: bool,
    },
    /// BSP records.
    Bsp {
        /// Messages are sent at once; if not, they are offered first, as deployed peers do.
        batch: bool,
    },
}

impl ForeignWire {
    /// How the groups are named that can be shared over it.
    #[must_use]
    pub const fn scheme(&self) -> IdScheme {
        match self {
            Self::Mvds { .. } => IdScheme::Mvds,
            Self::Bsp { .. } => IdScheme::Bramble,
        }
    }
}

/// A foreign peer to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignDraft {
    /// What it is called here, 1 to 64 bytes. A BSP peer is known by its name alone, which stands in addresses.
    pub name: String,
    /// What is spoken with it.
    pub wire: ForeignWire,
    /// MVDS: the 65 bytes that it is known by. BSP has none.
    pub key: Option<[u8; MVDS_PEER_LEN]>,
    /// Where it is dialled.
    pub addresses: Vec<Address>,
}

/// A foreign peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignPeer {
    /// What the engine calls it: a hash of its key or name.
    pub peer: PeerId,
    /// What it is called here.
    pub name: String,
    /// What is spoken with it.
    pub wire: ForeignWire,
    /// Where it is dialled.
    pub addresses: Vec<Address>,
    /// Whether a link is up.
    pub connected: bool,
    /// The groups that are shared with it.
    pub groups: Vec<GroupId>,
}

/// Which group is to be shared with a foreign peer.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ForeignGroup {
    /// A group of MVDS, by its id.
    Id(GroupId),
    /// A group of BSP, by what it is.
    Descriptor(GroupDescriptor),
}

/// A message of a foreign group, as it was delivered. What its body means is not known here.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForeignMessage {
    /// Its position in the delivery order.
    pub position: u64,
    /// Its id.
    pub id: MessageId,
    /// Its place in the canonical order.
    pub key: OrderKey,
    /// The author's timestamp, in ms since 1970-01-01 UTC.
    pub timestamp_ms: i64,
    /// What it comes after.
    pub deps: Vec<MessageId>,
    /// What it says; `None` where the body is no longer held.
    pub body: Option<Bytes>,
    /// Which peer it came from first; `None` if it was written here.
    pub origin: Option<PeerId>,
}
