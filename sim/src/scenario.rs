//! What a scenario says. Each struct is a table of the TOML file, each field a key; `docs/simulation.md` explains them.

mod faults;
mod file;
mod links;
mod schema;
mod topology;
mod workload;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::faults::{Adversary, Deed, Fault};
pub use self::file::{ScenarioError, Setting, load, load_text};
pub use self::links::{Carrier, Latency, LinkException, Links, Loss};
pub use self::schema::schema;
pub use self::topology::{ContactRow, Topology, TraceFormat};
pub use self::workload::Workload;
use crate::units::{Offset, Share, Size, Span};

/// A whole scenario. A run is a pure function of it and of a seed.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// A short name.
    pub name: String,
    /// What question it answers, in a sentence.
    #[serde(default)]
    pub question: String,
    /// When the run stops.
    pub stop: Stop,
    /// The devices.
    pub nodes: Nodes,
    /// What every link is like.
    #[serde(default)]
    pub links: Links,
    /// Who is linked to whom.
    #[serde(default)]
    pub topology: Topology,
    /// The groups; one group `all` of all nodes if there is none.
    #[serde(default, rename = "group", skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<Group>,
    /// Who says what when.
    #[serde(default, rename = "workload")]
    pub workloads: Vec<Workload>,
    /// What goes wrong beside the links.
    #[serde(default, rename = "fault", skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// Who lies.
    #[serde(default, rename = "adversary", skip_serializing_if = "Vec::is_empty")]
    pub adversaries: Vec<Adversary>,
    /// Whether the best that any protocol could do is worked out too. It takes time for each message and contact.
    #[serde(default)]
    pub oracle: bool,
    /// Short names for keys, as `loss = "links.loss"`: they can be set and varied as the keys themselves.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, String>,
    /// The engine's limits, where they differ from its defaults.
    #[serde(default)]
    pub engine: EngineLimits,
}

/// When a run stops: at the first of these.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// After so much simulated time.
    pub after: Span,
    /// As soon as everybody who is to have a message has it.
    #[serde(default)]
    pub when_delivered: bool,
    /// As soon as every author knows that everybody has its messages. Authors learn that of peers that they meet.
    #[serde(default)]
    pub when_acknowledged: bool,
    /// As soon as nothing was sent for so long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when_quiet: Option<Span>,
}

/// The devices.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nodes {
    /// How many.
    pub count: usize,
    /// By how much each clock is off, at most, either way.
    #[serde(default)]
    pub clock_skew: Span,
    /// When they are on.
    #[serde(default)]
    pub uptime: Uptime,
    /// What each may keep; no limit if absent. At least 263,168 B.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Size>,
    /// Members that carry messages for the others: it does not count what they get.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub relays: Vec<usize>,
    /// Nodes that differ from that.
    #[serde(default, rename = "except", skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<NodeException>,
}

/// Nodes that differ from the others. What is absent is as with the others.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeException {
    /// Which.
    pub nodes: Vec<usize>,
    /// When they are on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uptime: Option<Uptime>,
    /// What each may keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Size>,
    /// By how much each clock is ahead, exactly; behind with a minus sign, as `-5 min`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_offset: Option<Offset>,
}

/// When a device is on.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "model", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Uptime {
    /// At all times.
    #[default]
    Always,
    /// In windows of random length, with random pauses, both exponentially distributed.
    Windows {
        /// The share of the time that it is on.
        share: Share,
        /// How long a window is on average.
        mean: Span,
    },
    /// A window each day at the same time, which differs between devices.
    Diurnal {
        /// How long it is on each day.
        length: Span,
    },
    /// At these times.
    Times {
        /// From when until when each.
        on: Vec<(Span, Span)>,
    },
    /// As a file says, in lines `start,end,node`; times in s.
    Trace {
        /// The file, as seen from the scenario's folder.
        file: PathBuf,
    },
}

/// A group.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Its name, by which workloads refer to it.
    pub name: String,
    /// Who is in it; everybody if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<Vec<usize>>,
    /// So many members drawn at random instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw: Option<usize>,
    /// After so long messages expire: nobody may hold or send them any more. Never if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Span>,
}

/// The engine's limits, where they differ from its defaults ([`hedgerow_sync_core::Config`]).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EngineLimits {
    /// `max_parked_messages`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parked_messages: Option<u64>,
    /// `max_offers`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_offers: Option<u32>,
    /// `max_requests`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<usize>,
    /// `max_in_flight_bytes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_in_flight_bytes: Option<u64>,
    /// `request_timeout_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_timeout: Option<Span>,
    /// `max_group_bytes`: what one group may keep. At least 263,168 B.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_group_bytes: Option<Size>,
    /// `horizon_patience_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizon_patience: Option<Span>,
    /// `max_probe_ms`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_probe: Option<Span>,
    /// What is sent at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub push: Option<Push>,
}

/// Whether messages are sent at once or offered first ([`hedgerow_sync_core::PushPolicy`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Push {
    /// Learned from the answers of peers.
    Adaptive,
    /// At once.
    Always,
    /// Offered first.
    OfferFirst,
}
