//! What will happen in a run, drawn from scenario and seed before it begins: who meets whom when, who is on when, who
//! is in which group, who says what.

mod groups;
mod mobility;
mod synthetic;
mod topology;
mod trace;
mod uptime;
mod workload;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rand::RngExt as _;
use serde::Serialize;

pub use self::synthetic::{Synthetic, synthetic};
pub use self::trace::{TraceError, read_trace, write_trace};
pub(crate) use self::workload::drawn_size;
pub use self::workload::{Draft, MIN_BODY, Replies};
use crate::random::{exponential, stream};
use crate::scenario::{Adversary, Carrier, Deed, Fault, Links, Scenario, Topology};
use crate::units::Span;

/// Two nodes can hear each other, from a time to a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Contact {
    /// From when.
    pub start: Span,
    /// Until when; never before `start`.
    pub end: Span,
    /// The node with the lower number.
    pub a: usize,
    /// The other.
    pub b: usize,
}

/// A node is on, from a time to a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Window {
    /// From when.
    pub start: Span,
    /// Until when.
    pub end: Span,
}

/// Where a node is at a time. Between two points it walks straight, at an even speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Point {
    /// When, in us.
    pub at_us: u64,
    /// To the right, in mm.
    pub x_mm: i64,
    /// Upwards, in mm.
    pub y_mm: i64,
}

/// A node comes into a group, or leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Change {
    /// When.
    pub at: Span,
    /// Who.
    pub node: usize,
    /// The group, by its place in the plan.
    pub group: usize,
    /// Whether it comes.
    pub joins: bool,
}

/// A node crashes and starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Crash {
    /// When.
    pub at: Span,
    /// Who.
    pub node: usize,
    /// How long it is off.
    pub off: Span,
}

/// What an adversary does, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lies {
    /// What.
    pub deeds: BTreeSet<Deed>,
    /// How often.
    pub every: Span,
}

/// What will happen in a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// How long the run may last.
    pub length: Span,
    /// By how much each clock is off, in ms.
    pub skew_ms: Vec<i64>,
    /// What each node may keep, in bytes.
    pub storage: Vec<Option<u64>>,
    /// When each node is on, in order, apart from each other.
    pub windows: Vec<Vec<Window>>,
    /// Who meets whom, by start. Two contacts of one pair never overlap.
    pub contacts: Vec<Contact>,
    /// Where each node is, by time, if nodes have places; else empty.
    pub positions: Vec<Vec<Point>>,
    /// The members of each group at the start, ascending.
    pub groups: Vec<(String, Vec<usize>)>,
    /// Who comes into groups and leaves them, by time.
    pub changes: Vec<Change>,
    /// What is said, by time.
    pub drafts: Vec<Draft>,
    /// Who answers whom, by group.
    pub replies: Vec<Replies>,
    /// Who crashes when, by time.
    pub crashes: Vec<Crash>,
    /// Members that carry messages for others.
    pub relays: BTreeSet<usize>,
    /// Nodes that lie.
    pub adversaries: BTreeMap<usize, Lies>,
}

/// Why there is no plan for a scenario.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A value does not go with another.
    #[error("{key}: {message}")]
    Impossible {
        /// Which key of the scenario.
        key: String,
        /// What is wrong, and what is allowed.
        message: String,
    },
    /// The trace of contacts is not what it should be.
    #[error("{file}: {source}", file = file.display())]
    Trace {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        source: TraceError,
    },
}

pub(crate) fn impossible(key: &str, message: impl Into<String>) -> PlanError {
    PlanError::Impossible { key: key.to_owned(), message: message.into() }
}

impl Plan {
    /// Draws everything. `folder` is where files named by the scenario are.
    ///
    /// # Errors
    /// When values do not go together, or a trace cannot be read.
    pub fn draw(scenario: &Scenario, seed: u64, folder: &Path) -> Result<Self, PlanError> {
        let length = scenario.stop.after;
        let count = scenario.nodes.count;
        if count == 0 {
            return Err(impossible("nodes.count", "there must be one node at least"));
        }
        check_exceptions(scenario)?;
        let (contacts, positions) = draw_contacts(scenario, seed, folder)?;
        let groups = groups::draw(scenario, seed)?;
        let changes = groups::changes(scenario, &groups, seed)?;
        let (drafts, replies) = workload::draw(scenario, &groups, &changes, seed)?;
        let known = |key: &str, nodes: &[usize]| match nodes.iter().find(|node| **node >= count) {
            Some(node) => Err(impossible(key, no_node(*node, count))),
            None => Ok(()),
        };
        known("nodes.relays", &scenario.nodes.relays)?;
        let mut adversaries = BTreeMap::new();
        for (index, Adversary { nodes, deeds, every }) in scenario.adversaries.iter().enumerate() {
            known(&format!("adversary.{index}.nodes"), nodes)?;
            if every.us() == 0 {
                return Err(impossible(&format!("adversary.{index}.every"), "must be above 0"));
            }
            let lies = Lies { deeds: deeds.iter().copied().collect(), every: *every };
            adversaries.extend(nodes.iter().map(|node| (*node, lies.clone())));
        }
        Ok(Self {
            length,
            skew_ms: draw_clocks(scenario, seed),
            storage: storage(scenario)?,
            windows: uptime::draw(scenario, seed, folder)?,
            contacts,
            positions,
            groups,
            changes,
            drafts,
            replies,
            crashes: draw_crashes(scenario, seed)?,
            relays: scenario.nodes.relays.iter().copied().collect(),
            adversaries,
        })
    }
}

type Meetings = (Vec<Contact>, Vec<Vec<Point>>);

fn draw_contacts(scenario: &Scenario, seed: u64, folder: &Path) -> Result<Meetings, PlanError> {
    let (length, count) = (scenario.stop.after, scenario.nodes.count);
    Ok(match &scenario.topology {
        Topology::Trace { file, format, scan } => {
            let file = folder.join(file);
            let text = read(&file)?;
            let contacts = read_trace(&text, *format, *scan)
                .map_err(|source| PlanError::Trace { file: file.clone(), source })?;
            (trace::cut(contacts, count, length)?, Vec::new())
        }
        Topology::Contacts { contacts } => (trace::explicit(contacts, count, length)?, Vec::new()),
        Topology::RandomWaypoint { .. } => mobility::walk(&scenario.topology, count, length, seed)?,
        Topology::Courier { .. } => (mobility::rounds(&scenario.topology, count, length)?, Vec::new()),
        Topology::HeavyTailed { contacts, exponent, pairs, mean, night } => {
            let (exponent, pairs) = (*exponent, *pairs);
            let wish = Synthetic {
                nodes: count,
                length,
                contacts: *contacts,
                exponent,
                pairs,
                mean: *mean,
                night: *night,
            };
            (synthetic(&wish, seed)?, Vec::new())
        }
        fixed => {
            let (edges, positions) = topology::edges(fixed, count, seed)?;
            let all = |(a, b)| Contact { start: Span::default(), end: length, a, b };
            (edges.into_iter().map(all).collect(), positions)
        }
    })
}

fn read(file: &Path) -> Result<String, PlanError> {
    std::fs::read_to_string(file)
        .map_err(|error| PlanError::Trace { file: file.to_owned(), source: error.into() })
}

fn draw_clocks(scenario: &Scenario, seed: u64) -> Vec<i64> {
    let most = i64::try_from(scenario.nodes.clock_skew.ms()).unwrap_or(i64::MAX);
    let mut rng = stream(seed, "skew", 0);
    let mut skew: Vec<i64> = (0..scenario.nodes.count).map(|_| rng.random_range(-most..=most)).collect();
    for exception in &scenario.nodes.exceptions {
        let Some(offset) = exception.clock_offset else { continue };
        for node in &exception.nodes {
            if let Some(skew) = skew.get_mut(*node) {
                *skew = offset.ms();
            }
        }
    }
    skew
}

/// The least that a store may be capped at, in bytes.
const MIN_CAP: u64 = 263_168;

fn storage(scenario: &Scenario) -> Result<Vec<Option<u64>>, PlanError> {
    let mut caps = vec![scenario.nodes.storage; scenario.nodes.count];
    for exception in &scenario.nodes.exceptions {
        for node in exception.nodes.iter().filter(|_| exception.storage.is_some()) {
            if let Some(cap) = caps.get_mut(*node) {
                *cap = exception.storage;
            }
        }
    }
    let groups = scenario.engine.max_group_bytes;
    if let Some(cap) = caps.iter().flatten().chain(&groups).find(|cap| cap.bytes() < MIN_CAP) {
        return Err(impossible("nodes.storage", format!("{cap}: a cap is at least {MIN_CAP} B")));
    }
    Ok(caps.into_iter().map(|cap| cap.map(crate::units::Size::bytes)).collect())
}

fn draw_crashes(scenario: &Scenario, seed: u64) -> Result<Vec<Crash>, PlanError> {
    let (count, length) = (scenario.nodes.count, scenario.stop.after);
    let mut crashes = Vec::new();
    for (index, fault) in scenario.faults.iter().enumerate() {
        let key = |name: &str| format!("fault.{index}.{name}");
        let nodes = match fault {
            Fault::Partition { nodes, .. } => nodes.as_slice(),
            Fault::Crashes { nodes, .. } => nodes.as_deref().unwrap_or_default(),
            Fault::Crash { node, .. } | Fault::LostDisk { node, .. } | Fault::Restore { node, .. } => {
                std::slice::from_ref(node)
            }
        };
        if let Some(node) = nodes.iter().find(|node| **node >= count) {
            return Err(impossible(&key("node"), no_node(*node, count)));
        }
        match fault {
            Fault::Partition { from, to, .. } if to < from => {
                return Err(impossible(&key("to"), "a partition does not end before it begins"));
            }
            Fault::Restore { backup, at, .. } if at < backup => {
                return Err(impossible(&key("at"), "nothing is restored before the backup is made"));
            }
            Fault::Crash { node, at, off } => crashes.push(Crash { at: *at, node: *node, off: *off }),
            Fault::Crashes { nodes, every, off } => {
                if every.us() == 0 {
                    return Err(impossible(&key("every"), "must be above 0"));
                }
                let mut rng = stream(seed, "crashes", index as u64);
                let mut at = exponential(&mut rng, *every).us();
                while at < length.us() {
                    let which = rng.random_range(0..nodes.as_ref().map_or(count, Vec::len).max(1));
                    let node = nodes.as_ref().map_or(Some(which), |nodes| nodes.get(which).copied());
                    crashes.extend(node.map(|node| Crash { at: Span::from_us(at), node, off: *off }));
                    at += exponential(&mut rng, *every).us().max(1);
                }
            }
            _ => {}
        }
    }
    crashes.sort_by_key(|crash| (crash.at, crash.node));
    Ok(crashes)
}

/// What `except` names must be there.
fn check_exceptions(scenario: &Scenario) -> Result<(), PlanError> {
    let count = scenario.nodes.count;
    for (index, exception) in scenario.nodes.exceptions.iter().enumerate() {
        if let Some(node) = exception.nodes.iter().find(|node| **node >= count) {
            return Err(impossible(&format!("nodes.except.{index}.nodes"), no_node(*node, count)));
        }
    }
    for (index, exception) in scenario.links.exceptions.iter().enumerate() {
        let key = |name: &str| format!("links.except.{index}.{name}");
        let paired = exception.pairs.iter().flat_map(|(a, b)| [a, b]);
        if let Some(node) = paired.chain(&exception.nodes).find(|node| **node >= count) {
            return Err(impossible(&key("pairs"), no_node(*node, count)));
        }
        if exception.pairs.is_empty() && exception.nodes.is_empty() {
            return Err(impossible(&key("pairs"), "says which links differ: `pairs` or `nodes`"));
        }
        check_links(&exception.links, &key("links"))?;
    }
    check_links(&scenario.links, "links")
}

/// The smallest and the largest frame that the wire has.
const FRAMES: std::ops::RangeInclusive<u64> = 256..=1_048_576;

/// What one dependency takes in a frame, in bytes.
pub(crate) const DEP_ROOM: usize = 33;

/// What a body and the dependencies of its message may take together in a frame of a link, in bytes.
pub(crate) fn message_room(links: &Links) -> usize {
    let mtu = usize::try_from(links.mtu.bytes()).unwrap_or(usize::MAX);
    // Datagrams acknowledge each other.
    let acks = if links.carrier == Carrier::Datagram { (mtu / 16).clamp(64, 512) } else { 0 };
    mtu.saturating_sub(112 + acks)
}

/// The links of a scenario, with their keys.
fn all_links(scenario: &Scenario) -> impl Iterator<Item = (String, &Links)> {
    let odd = scenario.links.exceptions.iter().enumerate();
    let odd = odd.map(|(index, one)| (format!("links.except.{index}.links"), &one.links));
    std::iter::once(("links".to_owned(), &scenario.links)).chain(odd)
}

/// The longest body that goes through every link, in bytes, and the narrowest links.
fn longest_body(scenario: &Scenario) -> (usize, String) {
    // A message depends on another one at least.
    let room = |links: &Links| message_room(links).saturating_sub(DEP_ROOM);
    let all = all_links(scenario)
        .map(|(key, links)| (room(links), format!("`{key}` with an MTU of {}", links.mtu)));
    all.min_by_key(|(room, _)| *room).unwrap_or_default()
}

fn check_links(links: &Links, key: &str) -> Result<(), PlanError> {
    if !FRAMES.contains(&links.mtu.bytes()) {
        let message = format!("{}: frames have 256 B to 1 MiB at most", links.mtu);
        return Err(impossible(&format!("{key}.mtu"), message));
    }
    if let crate::scenario::Latency::Uniform { from, to } = &links.latency
        && to < from
    {
        return Err(impossible(&format!("{key}.latency.to"), "must not be below `from`"));
    }
    if links.breaks.is_some_and(|breaks| breaks.us() == 0) {
        return Err(impossible(&format!("{key}.breaks"), "must be above 0"));
    }
    let loss = |loss: &crate::scenario::Loss| *loss != crate::scenario::Loss::default();
    let unreliable = loss(&links.loss)
        || links.loss_back.as_ref().is_some_and(loss)
        || [links.duplication, links.reordering, links.corruption].iter().any(|share| share.value() > 0.0);
    if links.carrier == crate::scenario::Carrier::Stream && unreliable {
        let message = "a stream loses, repeats and alters nothing: `carrier` must be \"datagram\" for that";
        return Err(impossible(&format!("{key}.carrier"), message));
    }
    Ok(())
}

pub(crate) fn no_node(node: usize, count: usize) -> String {
    format!("there is no node {node}: they are 0 to {}", count.saturating_sub(1))
}
