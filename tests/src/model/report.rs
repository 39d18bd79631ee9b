//! What an exploration found.

use std::time::Duration;

/// A property that does not hold, and the shortest way there.
#[derive(Debug, Clone)]
pub struct Breach {
    /// What is wrong.
    pub what: String,
    /// The steps from the start, in words.
    pub path: Vec<String>,
}

/// Why a search ended before it had seen every state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// There were as many distinct states of the world as it may have.
    States(u64),
    /// There were as many distinct states of single nodes as it may have.
    Nodes(u64),
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::States(limit) => write!(f, "stopped at the limit of {limit} states"),
            Self::Nodes(limit) => write!(f, "stopped at the limit of {limit} node states"),
        }
    }
}

/// One explored scenario.
#[derive(Debug, Clone)]
pub struct Report {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// How often each fault could happen.
    pub budgets: super::Budgets,
    /// Distinct states of the world.
    pub states: u64,
    /// Steps from one state to another, or to the same.
    pub transitions: u64,
    /// The longest of the shortest paths to a state.
    pub depth: u32,
    /// Whether there are no other states within the budgets.
    pub complete: bool,
    /// The limit at which the search ended, if it is one that ended it.
    pub stopped: Option<Stopped>,
    /// Distinct states of single nodes: engine, store, driver and application.
    pub nodes: u64,
    /// How often an engine was run from one of them to another.
    pub engine_steps: u64,
    /// Distinct frames.
    pub frames: u64,
    /// From how many states the fair continuation was run.
    pub fair_runs: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// What is wrong, if something is.
    pub breach: Option<Breach>,
}

impl Report {
    /// The report as JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let budgets = self.budgets;
        serde_json::json!({
            "scenario": self.name,
            "budgets": {
                "cuts": budgets.cuts, "crashes": budgets.crashes, "losses": budgets.losses,
                "repeats": budgets.repeats, "timers": budgets.timers, "lies": budgets.lies,
                "capacity": budgets.capacity,
            },
            "states": self.states,
            "transitions": self.transitions,
            "depth": self.depth,
            "complete": self.complete,
            "stopped": self.stopped.map(|stopped| stopped.to_string()),
            "node_states": self.nodes,
            "engine_steps": self.engine_steps,
            "frames": self.frames,
            "fair_runs": self.fair_runs,
            "seconds": self.elapsed.as_secs_f64(),
            "breach": self.breach.as_ref().map(|breach| serde_json::json!({
                "what": breach.what, "path": breach.path,
            })),
        })
    }
}
