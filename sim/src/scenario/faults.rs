//! What goes wrong beside the links, and who lies.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Span;

/// What goes wrong beside the links.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Fault {
    /// The nodes are split: links between `nodes` and the others are down.
    Partition {
        /// One side.
        nodes: Vec<usize>,
        /// From when.
        from: Span,
        /// Until when.
        to: Span,
    },
    /// A device stops as when its battery dies, and starts again: what was not committed is lost.
    Crash {
        /// Which.
        node: usize,
        /// When.
        at: Span,
        /// How long it is off.
        #[serde(default)]
        off: Span,
    },
    /// Devices crash again and again, each time another one.
    Crashes {
        /// Which; any if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nodes: Option<Vec<usize>>,
        /// Mean time between two crashes of all together.
        every: Span,
        /// How long a device is off.
        #[serde(default)]
        off: Span,
    },
    /// A device loses its disk, and starts with an empty one.
    LostDisk {
        /// Which.
        node: usize,
        /// When.
        at: Span,
    },
    /// A device is restored from a backup.
    Restore {
        /// Which.
        node: usize,
        /// When the backup was made.
        backup: Span,
        /// When it is restored.
        at: Span,
    },
}

/// Nodes that lie. They run the engine, and what they send is altered. They count as no members: it does not matter what
/// they get, nor what they write.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Adversary {
    /// Which.
    pub nodes: Vec<usize>,
    /// What they do.
    pub deeds: Vec<Deed>,
    /// How often each of them does something of its own accord on each of its links.
    #[serde(default = "second")]
    pub every: Span,
}

fn second() -> Span {
    Span::from_s(1)
}

/// What an adversary does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// It takes messages, acknowledges them, and passes nothing on: a black hole.
    Withhold,
    /// It offers what does not exist.
    EmptyOffers,
    /// It acknowledges what it never got.
    LyingAcks,
    /// It sends messages that depend on what does not exist.
    FloodOrphans,
    /// It sends messages without end. They are valid, so they are delivered.
    FloodMessages,
    /// It asks for everything, again and again.
    AskForAll,
    /// It sends what is no frame. Its links end by that.
    Garbage,
    /// It sends old frames again.
    Replay,
}
