//! What will happen in a run, drawn from scenario and seed before it begins: who meets whom when, who is on when, who
//! is in which group, who says what.

mod mobility;
mod topology;
mod trace;
mod uptime;
mod workload;

use std::path::{Path, PathBuf};

pub use self::trace::{TraceError, read_trace};
pub(crate) use self::workload::drawn_size;
pub use self::workload::{Draft, Replies};
use crate::random::stream;
use crate::scenario::{Scenario, Topology};
use crate::units::Span;
use rand::seq::IteratorRandom as _;

/// Two nodes can hear each other, from a time to a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// From when.
    pub start: Span,
    /// Until when.
    pub end: Span,
}

/// What will happen in a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How long the run may last.
    pub length: Span,
    /// By how much each clock is off, in ms.
    pub skew_ms: Vec<i64>,
    /// When each node is on, in order, apart from each other.
    pub windows: Vec<Vec<Window>>,
    /// Who meets whom, by start. Two contacts of one pair never overlap.
    pub contacts: Vec<Contact>,
    /// The members of each group.
    pub groups: Vec<(String, Vec<usize>)>,
    /// What is said, by time.
    pub drafts: Vec<Draft>,
    /// Who answers whom, by group.
    pub replies: Vec<Replies>,
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
        let skew = i64::try_from(scenario.nodes.clock_skew.ms()).unwrap_or(i64::MAX);
        let mut rng = stream(seed, "skew", 0);
        let skew_ms = (0..count).map(|_| rand::RngExt::random_range(&mut rng, -skew..=skew)).collect();
        let contacts = match &scenario.topology {
            Topology::Trace { file, format, scan } => {
                let file = folder.join(file);
                let failed = |source| PlanError::Trace { file: file.clone(), source };
                let text = std::fs::read_to_string(&file).map_err(|e| failed(e.into()))?;
                let contacts = read_trace(&text, *format, *scan).map_err(failed)?;
                trace::cut(contacts, count, length)?
            }
            Topology::RandomWaypoint { .. } => mobility::walk(&scenario.topology, count, length, seed)?,
            fixed => {
                let edges = topology::edges(fixed, count, seed)?;
                edges
                    .into_iter()
                    .map(|(a, b)| Contact { start: Span::default(), end: length, a, b })
                    .collect()
            }
        };
        let groups = draw_groups(scenario, seed)?;
        let (drafts, replies) = workload::draw(scenario, &groups, seed)?;
        let windows = uptime::draw(scenario, seed)?;
        Ok(Self { length, skew_ms, windows, contacts, groups, drafts, replies })
    }
}

fn draw_groups(scenario: &Scenario, seed: u64) -> Result<Vec<(String, Vec<usize>)>, PlanError> {
    let count = scenario.nodes.count;
    if scenario.groups.is_empty() {
        return Ok(vec![("all".to_owned(), (0..count).collect())]);
    }
    let mut groups: Vec<(String, Vec<usize>)> = Vec::new();
    for (index, group) in scenario.groups.iter().enumerate() {
        let key = |name: &str| format!("group.{index}.{name}");
        if groups.iter().any(|(name, _)| *name == group.name) {
            return Err(impossible(&key("name"), format!("there are two groups `{}`", group.name)));
        }
        let members = match (&group.members, group.draw) {
            (Some(_), Some(_)) => {
                return Err(impossible(&key("draw"), "either `members` or `draw`, not both"));
            }
            (Some(members), None) => {
                if let Some(node) = members.iter().find(|node| **node >= count) {
                    return Err(impossible(&key("members"), no_node(*node, count)));
                }
                let mut members = members.clone();
                members.sort_unstable();
                members.dedup();
                members
            }
            (None, Some(size)) if size > count => {
                return Err(impossible(&key("draw"), format!("there are {count} nodes only")));
            }
            (None, Some(size)) => {
                let mut members = (0..count).sample(&mut stream(seed, "members", index as u64), size);
                members.sort_unstable();
                members
            }
            (None, None) => (0..count).collect(),
        };
        groups.push((group.name.clone(), members));
    }
    Ok(groups)
}

pub(crate) fn no_node(node: usize, count: usize) -> String {
    format!("there is no node {node}: they are 0 to {}", count.saturating_sub(1))
}
