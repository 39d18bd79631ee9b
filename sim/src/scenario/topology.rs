//! Who is linked to whom, and where contacts come from.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::{Share, Span};

/// Who is linked to whom, or meets whom.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Topology {
    /// Everybody with everybody.
    #[default]
    Full,
    /// Each with the next, the last with the first.
    Ring,
    /// Each with the next.
    Line,
    /// Rows of `width` nodes; each with those beside, above and below.
    Grid {
        /// Nodes in a row.
        width: usize,
    },
    /// Everybody with node `hub`.
    Star {
        /// The one in the middle.
        #[serde(default)]
        hub: usize,
    },
    /// Points in a unit square; those closer than `radius` are linked.
    Geometric {
        /// From 0 to 1.4.
        radius: f64,
    },
    /// A ring where each is linked to `degree` neighbours, each link moved elsewhere with probability `rewire`
    /// (Watts, Strogatz 1998).
    SmallWorld {
        /// Links of a node, even.
        degree: usize,
        /// How many links are moved.
        rewire: Share,
    },
    /// Each new node is linked to `links` others, popular ones more likely (Barabási, Albert 1999).
    ScaleFree {
        /// Links of a new node.
        links: usize,
    },
    /// These.
    Edges {
        /// Pairs of nodes.
        edges: Vec<(usize, usize)>,
    },
    /// At these times.
    Contacts {
        /// Who meets whom when.
        contacts: Vec<ContactRow>,
    },
    /// Couriers go round the places of all others, and are linked to who is there while they stay: the sneakernet.
    /// They are nodes as the others, so they carry what their groups have.
    Courier {
        /// Who goes round. They start evenly spread over the round.
        couriers: Vec<usize>,
        /// How long a courier stays at a place.
        stay: Span,
        /// How long it takes to the next.
        travel: Span,
        /// Nodes at each place, which are linked to each other at all times.
        #[serde(default = "one")]
        place_size: usize,
    },
    /// Contacts drawn as they are among people: times between contacts have a heavy tail, some pairs meet often, most
    /// never.
    HeavyTailed {
        /// How many contacts there are to be, about.
        contacts: usize,
        /// The exponent of the tail of times between two contacts of a pair; 1 to 3, people have about 1.4 to 1.9.
        #[serde(default = "tail")]
        exponent: f64,
        /// The share of pairs that ever meet.
        #[serde(default = "half")]
        pairs: Share,
        /// How long a contact is on average, exponentially distributed.
        mean: Span,
        /// Nobody meets anybody for this part of each day, at its end.
        #[serde(default)]
        night: Span,
    },
    /// Contacts from a file.
    Trace {
        /// The file, as seen from the scenario's folder.
        file: PathBuf,
        /// How it is written.
        #[serde(default)]
        format: TraceFormat,
        /// What a contact of no length counts as: such traces come of periodic scans.
        #[serde(default)]
        scan: Span,
    },
    /// Nodes walk to random places, one after the other, and are linked while they are near.
    RandomWaypoint {
        /// The side of the square, in m.
        side: f64,
        /// How far a radio reaches, in m.
        range: f64,
        /// The slowest walk, in m/s.
        slowest: f64,
        /// The fastest walk, in m/s.
        fastest: f64,
        /// The longest pause at a place.
        #[serde(default)]
        pause: Span,
    },
}

fn one() -> usize {
    1
}

fn half() -> Share {
    Share::new(0.5)
}

fn tail() -> f64 {
    1.5
}

/// Two nodes meet.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContactRow {
    /// From when.
    pub from: Span,
    /// Until when.
    pub to: Span,
    /// One.
    pub a: usize,
    /// The other.
    pub b: usize,
}

/// How a trace of contacts is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TraceFormat {
    /// Lines `time CONN a b up` and `… down`, as the ONE simulator reads them; time in s.
    #[default]
    One,
    /// Lines `start,end,a,b`; times in s.
    Csv,
}
