//! Everything that happened in a run, one by one: for timelines, pictures and comparison. Kept on demand only.

use serde::Serialize;

use super::kinds::Kinds;

/// Everything that happened, by time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Log {
    /// What happened, by time.
    pub events: Vec<Event>,
    /// Every frame, by the time at which it was sent.
    pub frames: Vec<FrameLog>,
    /// Links by number, each for as long as it was up.
    pub links: Vec<LinkLog>,
    /// How many events and frames there was no room for ([`Detail::Events`](crate::Detail::Events)).
    pub left_out: u64,
}

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When, in us.
    pub at_us: u64,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Happening {
    /// A node was switched on.
    NodeOn {
        /// Which.
        node: u32,
    },
    /// A node went off.
    NodeOff {
        /// Which.
        node: u32,
    },
    /// A node lost its disk.
    DiskLost {
        /// Which.
        node: u32,
    },
    /// A node was restored from a backup.
    Restored {
        /// Which.
        node: u32,
    },
    /// A link came up.
    LinkUp {
        /// Its number in [`Log::links`].
        link: u32,
    },
    /// A link went down.
    LinkDown {
        /// Its number in [`Log::links`].
        link: u32,
    },
    /// A partition began.
    Split {
        /// One side.
        nodes: Vec<u32>,
    },
    /// A partition ended.
    Healed {
        /// One side.
        nodes: Vec<u32>,
    },
    /// A node came into a group.
    Joined {
        /// Which.
        node: u32,
        /// The group, by its place in the plan.
        group: u32,
    },
    /// A node left a group.
    Left {
        /// Which.
        node: u32,
        /// The group, by its place in the plan.
        group: u32,
    },
    /// A message was written.
    Published {
        /// The message.
        message: u32,
        /// Its author.
        node: u32,
    },
    /// A message came to a node, and is durable there.
    Stored {
        /// The message.
        message: u32,
        /// Where.
        node: u32,
    },
    /// A message was delivered to a node's application.
    Delivered {
        /// The message.
        message: u32,
        /// Where.
        node: u32,
        /// Its position in that node's delivery order of the group.
        position: u64,
    },
    /// An author learned that a peer holds a message.
    Acknowledged {
        /// The message.
        message: u32,
        /// Its author.
        node: u32,
        /// Who holds it.
        peer: u32,
    },
    /// A node reported a dependency as missing.
    Missing {
        /// Which node.
        node: u32,
    },
}

/// A link, from when it came up until it went down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LinkLog {
    /// The node with the lower number.
    pub a: u32,
    /// The other.
    pub b: u32,
    /// When it came up, in us.
    pub up_us: u64,
    /// When it went down, in us; `None` if it never did.
    pub down_us: Option<u64>,
}

/// A frame and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FrameLog {
    /// Its link, by number in [`Log::links`].
    pub link: u32,
    /// Who sent it.
    pub from: u32,
    /// To whom.
    pub to: u32,
    /// When, in us.
    pub sent_us: u64,
    /// Its length.
    pub bytes: u32,
    /// What is in it.
    pub kinds: Kinds,
    /// The messages that it carries.
    pub messages: Vec<u32>,
    /// What became of it, once for each copy.
    pub fates: Vec<Fate>,
}

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Fate {
    /// When it arrived, or would have arrived, in us.
    pub at_us: u64,
    /// What happened.
    pub end: FrameEnd,
}

/// How a frame's way ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum FrameEnd {
    /// It is under way.
    UnderWay,
    /// It arrived.
    Arrived,
    /// The link lost it.
    Lost,
    /// It was damaged on the way, and dropped.
    Corrupted,
    /// The link ended before it arrived, or the receiver was off.
    CutOff,
}
