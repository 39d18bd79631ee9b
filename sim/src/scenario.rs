//! What a scenario says. Each struct is a table of the TOML file, each field a key; `docs/simulation.md` explains them.

mod file;
mod schema;

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::file::{ScenarioError, Setting, load, load_text};
pub use self::schema::schema;
use crate::units::{Offset, Rate, Share, Size, Span};

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

/// What links are like.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Links {
    /// `stream`: in order, nothing is lost while the link is up. `datagram`: frames are lost, repeated, overtaken.
    pub carrier: Carrier,
    /// How long a frame takes beside its transmission.
    pub latency: Latency,
    /// How fast bytes go into it; no limit if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bandwidth: Option<Rate>,
    /// The largest frame.
    pub mtu: Size,
    /// Which frames are lost; datagrams only.
    pub loss: Loss,
    /// Loss on the way from the node with the higher number, if it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss_back: Option<Loss>,
    /// Whether nothing comes from the node with the higher number: what the other one has goes over in bundles, nobody
    /// says HELLO, and nothing is acknowledged.
    pub simplex: bool,
    /// The share of frames that come twice; datagrams only.
    pub duplication: Share,
    /// The share of frames that are held back, so that others overtake them; datagrams only.
    pub reordering: Share,
    /// How long they are held back.
    pub reordering_delay: Span,
    /// The share of frames that arrive with a flipped bit, and are dropped by the seal; datagrams only.
    pub corruption: Share,
    /// How long it takes until two devices that meet have a link.
    pub setup: Span,
    /// How long a device goes on believing in a link whose other end is gone.
    pub half_open: Span,
    /// Links break after this time on average, exponentially distributed, and come up again; never if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaks: Option<Span>,
    /// Links that differ from that.
    #[serde(rename = "except", skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<LinkException>,
}

/// Links that differ from the others.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LinkException {
    /// Those between these pairs of nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<(usize, usize)>,
    /// And all of these nodes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<usize>,
    /// What they are like. A key that is absent here has its default.
    pub links: Links,
}

impl Links {
    /// What a link between two nodes is like: as the last exception for the pair says, or the last one for either node.
    pub(crate) fn between(&self, a: usize, b: usize) -> &Self {
        let of_pair =
            |one: &&LinkException| one.pairs.iter().any(|&(c, d)| (c, d) == (a, b) || (d, c) == (a, b));
        let of = |node| move |one: &&LinkException| one.nodes.contains(&node);
        let all = || self.exceptions.iter();
        let odd = all().rfind(of_pair).or_else(|| all().rfind(of(a))).or_else(|| all().rfind(of(b)));
        odd.map_or(self, |odd| &odd.links)
    }

    /// Whether there is a link that goes one way.
    pub(crate) fn any_simplex(&self) -> bool {
        self.simplex || self.exceptions.iter().any(|one| one.links.simplex)
    }
}

impl Default for Links {
    fn default() -> Self {
        Self {
            carrier: Carrier::Stream,
            latency: Latency::Fixed(Span::from_ms(30)),
            bandwidth: None,
            mtu: Size::from_bytes(65_536),
            loss: Loss::default(),
            loss_back: None,
            simplex: false,
            duplication: Share::default(),
            reordering: Share::default(),
            reordering_delay: Span::from_ms(100),
            corruption: Share::default(),
            setup: Span::default(),
            half_open: Span::default(),
            breaks: None,
            exceptions: Vec::new(),
        }
    }
}

/// What a link does with frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Carrier {
    /// In order, once each, until the link ends.
    Stream,
    /// Frames are lost, repeated and overtaken.
    Datagram,
}

/// How long a frame is under way.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Latency {
    /// Always the same.
    Fixed(Span),
    /// Drawn evenly.
    Uniform {
        /// At least.
        from: Span,
        /// At most.
        to: Span,
    },
    /// Drawn from a log-normal distribution: most are short, few are long.
    LogNormal {
        /// Half of the frames take less.
        median: Span,
        /// Standard deviation of the logarithm.
        sigma: f64,
    },
}

/// Which frames are lost.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Loss {
    /// Each frame with this probability.
    Independent(Share),
    /// Bursts (Gilbert 1960, Elliott 1963): a channel that is good or bad, and changes from frame to frame.
    Bursts {
        /// Loss while it is good.
        good: Share,
        /// Loss while it is bad.
        bad: Share,
        /// Probability to become bad, each frame.
        to_bad: Share,
        /// Probability to become good again, each frame.
        to_good: Share,
    },
}

impl Default for Loss {
    fn default() -> Self {
        Self::Independent(Share::default())
    }
}

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

/// Who says what when.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Workload {
    /// So many messages of each author at one time.
    Burst {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// The authors; every member if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Vec<usize>>,
        /// When.
        #[serde(default)]
        at: Span,
        /// Messages of each author.
        count: usize,
        /// Body of each.
        size: Size,
    },
    /// Messages at random times, at a rate.
    Poisson {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// The authors, one drawn for each message; every member if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Vec<usize>>,
        /// Mean time between two messages of all authors together.
        every: Span,
        /// Body of each.
        size: Size,
        /// From when.
        #[serde(default)]
        start: Span,
        /// Until when; to the end if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<Span>,
    },
    /// A conversation: somebody begins, and who reads a message answers it with some probability, after a while.
    Chat {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Mean time between two beginnings.
        every: Span,
        /// Probability that a reader answers.
        reply: Share,
        /// Mean time to an answer.
        think: Span,
        /// Bodies are this long on average, and exponentially distributed.
        size: Size,
        /// No answer is given to what is older than this when it is read; without a limit if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        patience: Option<Span>,
    },
    /// Much at once: a file, or a history.
    Bulk {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// The authors; every member if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Vec<usize>>,
        /// When.
        #[serde(default)]
        at: Span,
        /// How many bytes each author writes.
        total: Size,
        /// In bodies of this size; the last one may be smaller.
        size: Size,
    },
    /// A long public chat: few write most, and most write little (the author of rank r with a weight of r^-skew).
    PublicChat {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Mean time between two messages of all authors together.
        every: Span,
        /// Bodies are this long on average, and exponentially distributed.
        size: Size,
        /// How unequal authors are: 0 for equal ones.
        #[serde(default = "skew")]
        skew: f64,
        /// Until when; to the end if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<Span>,
    },
    /// Nodes come into a group. They are to get all that was ever said there.
    Join {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Who.
        nodes: Vec<usize>,
        /// When.
        at: Span,
    },
    /// Nodes leave a group, and forget it.
    Leave {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Who.
        nodes: Vec<usize>,
        /// When.
        at: Span,
    },
    /// Again and again somebody comes into a group or leaves it.
    Churn {
        /// The group; the first if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        group: Option<String>,
        /// Mean time between two changes.
        every: Span,
        /// Until when; to the end if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        end: Option<Span>,
    },
}

fn skew() -> f64 {
    1.0
}

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
