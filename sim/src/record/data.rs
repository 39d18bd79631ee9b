//! What a record consists of. Times are in us since the start of the run, nodes and messages are named by number.

use hedgerow_sync_core::proto::MessageId;
use serde::{Serialize, Serializer};

use super::kinds::Kinds;

/// A message that was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageRecord {
    /// Its id, as 64 hexadecimal digits.
    #[serde(serialize_with = "hex")]
    pub id: MessageId,
    /// Who wrote it.
    pub author: u32,
    /// The group, by its place in the plan.
    pub group: u32,
    /// Its body, in bytes.
    pub size: u32,
    /// When it was written.
    pub at_us: u64,
    /// How many other members are to have it.
    pub wanted: u32,
    /// How many have it.
    pub delivered: u32,
    /// When the latest of them had it; `at_us` if nobody has it.
    pub last_us: u64,
    /// How many MESSAGE records carried it.
    pub sends: u64,
}

fn hex<S: Serializer>(id: &MessageId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

/// A message came to a member that had not written it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Delivery {
    /// The message.
    pub message: u32,
    /// The member.
    pub node: u32,
    /// Since when the member was to have it: when it was written, or when the member came into the group.
    pub wanted_us: u64,
    /// When it was stored there. To the ms; never after `delivered_us`.
    pub stored_us: u64,
    /// When it was delivered: from `stored_us` until then it was parked.
    pub delivered_us: u64,
}

/// An author learned that a peer holds a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Acknowledgement {
    /// The message.
    pub message: u32,
    /// Who holds it.
    pub peer: u32,
    /// When its author learned that.
    pub at_us: u64,
}

/// A message that is stored at a member and not delivered when the run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Parked {
    /// The message.
    pub message: u32,
    /// The member.
    pub node: u32,
    /// Since when.
    pub stored_us: u64,
}

/// A node and what it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct NodeRecord {
    /// How often it was switched on.
    pub starts: u64,
    /// How long it was on.
    pub on_us: u64,
    /// Messages that it wrote.
    pub published: u64,
    /// Messages of others that were delivered to it.
    pub delivered: u64,
    /// What it sent.
    pub sent: Kinds,
    /// What arrived at it.
    pub received: Kinds,
    /// MESSAGE records of what it had already.
    pub duplicates: u64,
    /// Records that it refused or ignored.
    pub refused: u64,
    /// The most messages that were parked at a time.
    pub parked_most: u64,
    /// The most memory for what it knows of others, when it was looked at. An estimate, in bytes.
    pub state_most: u64,
    /// The same at the end of the run.
    pub state_end: u64,
}

/// One direction of the links between two nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct WayRecord {
    /// What went into it.
    pub sent: Kinds,
    /// Frames that were lost.
    pub lost: u64,
    /// Frames that were damaged on the way, and dropped.
    pub corrupted: u64,
    /// Frames that came twice.
    pub repeated: u64,
    /// Frames that were under way when the link ended.
    pub cut_off: u64,
}

/// All links between two nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LinkRecord {
    /// The node with the lower number.
    pub a: u32,
    /// The other.
    pub b: u32,
    /// How often a link came up.
    pub ups: u64,
    /// How long there was one.
    pub up_us: u64,
    /// From `a` to `b`.
    pub forth: WayRecord,
    /// From `b` to `a`.
    pub back: WayRecord,
}

/// How everything stood at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// When.
    pub at_us: u64,
    /// Nodes that are on.
    pub nodes_on: u64,
    /// Links that are up.
    pub links_up: u64,
    /// Messages written so far.
    pub messages: u64,
    /// (message, member) pairs so far that are to have a delivery.
    pub wanted: u64,
    /// (message, member) pairs so far with a delivery.
    pub delivered: u64,
    /// Messages that are parked, at all nodes.
    pub parked: u64,
    /// Frames sent so far.
    pub frames: u64,
    /// Bytes of these.
    pub wire_bytes: u64,
    /// Frames lost so far.
    pub frames_lost: u64,
}

/// Counts of a whole run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Events on the queue.
    pub events: u64,
    /// How often two nodes came into reach of each other.
    pub contacts: u64,
    /// How many links came up.
    pub links: u64,
    /// How often nodes were switched on.
    pub power_ups: u64,
    /// Links that ended because an honest peer broke a rule of the wire.
    pub violations: u64,
    /// Links that ended because an adversary broke a rule of the wire.
    pub adversary_links_ended: u64,
    /// Messages of adversaries that were delivered: they are members, and may write what they like.
    pub junk_delivered: u64,
    /// How often an engine reported a dependency as missing.
    pub missing_reports: u64,
    /// Messages that were due and never written: their author was never on again, or had left.
    pub unwritten: u64,
    /// Messages that were not written because there was no room for them under a cap.
    pub no_room: u64,
    /// How often a message did not fit through a link, because of the link's MTU.
    pub too_large: u64,
    /// Bodies that nodes let go, for lack of room or because their time was over.
    pub pruned: u64,
    /// Places of messages that nodes took for gone.
    pub gaps: u64,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ended {
    /// Its time was over.
    #[default]
    After,
    /// Everybody had everything.
    Delivered,
    /// Every author knew that everybody had everything.
    Acknowledged,
    /// Nothing was sent for as long as the scenario says.
    Quiet,
    /// Nothing was left to happen.
    Rest,
    /// Somebody stopped it.
    Interrupted,
}
