//! How a node stands, as values that can be written as JSON.

use hedgerow_sync_core::Traffic;
use serde::Serialize;

/// How a node stands. Ids are hexadecimal text, times are ms since 1970-01-01 UTC, sizes are bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeStatus {
    /// Who it is.
    pub peer_id: String,
    /// What it calls itself.
    pub name: Option<String>,
    /// Where it listens.
    pub listening: Vec<String>,
    /// Every group.
    pub groups: Vec<GroupReport>,
    /// Every contact in every group that is shared with it.
    pub peers: Vec<PeerReport>,
    /// Every link.
    pub links: Vec<LinkReport>,
    /// How many strangers wait to become contacts.
    pub waiting: u64,
    /// What all messages take: their bodies, and 128 bytes for each.
    pub bytes: u64,
    /// What they may take; `null`: there is no cap.
    pub max_bytes: Option<u64>,
    /// What crossed all links since the node was started, or since its store was opened again.
    pub traffic: TrafficReport,
}

/// How a group stands. What is not said to be bytes are counts of messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupReport {
    /// Its id.
    pub id: String,
    /// Its name, or that of the contact.
    pub name: String,
    /// `direct`, `private`, `public` or `carried`.
    pub kind: &'static str,
    /// With their bodies.
    pub held: u64,
    /// In the delivery order.
    pub delivered: u64,
    /// Valid, waiting for those that they depend on.
    pub waiting: u64,
    /// Waiting for a verdict.
    pub unvalidated: u64,
    /// Waiting for their time.
    pub early: u64,
    /// Depended on, and not here.
    pub missing: u64,
    /// Found invalid.
    pub invalid: u64,
    /// Without a successor.
    pub heads: u64,
    /// Delivered, and not held any more.
    pub pruned: u64,
    /// Missing in the history, and passed over.
    pub gaps: u64,
    /// Delivered, and not readable.
    pub quarantined: u64,
    /// What those with their bodies take, in bytes.
    pub bytes: u64,
    /// What they may take, in bytes; `null`: there is no cap.
    pub max_bytes: Option<u64>,
}

/// How a contact stands in a group. All counts are messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeerReport {
    /// The contact.
    pub peer_id: String,
    /// What it is called here.
    pub peer: String,
    /// The group's id.
    pub group: String,
    /// The group's name.
    pub group_name: String,
    /// Known to be held by the contact.
    pub acked: u64,
    /// Sent and not acknowledged.
    pub in_flight: u64,
    /// Offered and not answered.
    pub offered: u64,
    /// Asked of the contact.
    pub requested: u64,
    /// Whether the contact holds all that is delivered here.
    pub settled: bool,
    /// Whether there is a link to the contact.
    pub connected: bool,
}

/// How a link stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LinkReport {
    /// Who is at the other end.
    pub peer_id: String,
    /// Where the other end is.
    pub address: String,
    /// Whether we dialled.
    pub dialled: bool,
    /// Whether the carrier is reliable.
    pub reliable: bool,
    /// Whether both sides said HELLO.
    pub ready: bool,
    /// Round trip, where it is measured.
    pub round_trip_ms: Option<u64>,
    /// What crossed it.
    pub traffic: TrafficReport,
}

/// What crossed a link, or all of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct TrafficReport {
    /// Frames taken.
    pub frames_in: u64,
    /// Frames made.
    pub frames_out: u64,
    /// Bytes of the frames taken.
    pub bytes_in: u64,
    /// Bytes of the frames made.
    pub bytes_out: u64,
    /// Messages taken.
    pub messages_in: u64,
    /// Messages sent.
    pub messages_out: u64,
    /// Messages taken that were held already.
    pub duplicates_in: u64,
    /// Records refused.
    pub refused: u64,
    /// Messages and offers sent that the peer was given before.
    pub repeats_out: u64,
    /// How often something to be sent again had to wait, as the peer was sent too much again already.
    pub held_back: u64,
}

impl From<Traffic> for TrafficReport {
    fn from(traffic: Traffic) -> Self {
        Self {
            frames_in: traffic.frames_in,
            frames_out: traffic.frames_out,
            bytes_in: traffic.bytes_in,
            bytes_out: traffic.bytes_out,
            messages_in: traffic.messages_in,
            messages_out: traffic.messages_out,
            duplicates_in: traffic.duplicates_in,
            refused: traffic.refused,
            repeats_out: traffic.repeats_out,
            held_back: traffic.held_back,
        }
    }
}
