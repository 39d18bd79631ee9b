//! Breadth-first search over all states of a scenario.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

use bytes::Bytes;
use hedgerow_sync_core::Draft;
use hedgerow_sync_core::testing::descriptor;

use super::actions::{Action, apply, describe, possible};
use super::fair::Fair;
use super::node::{Message, Node, START, Setup};
use super::report::{Breach, Report, Stopped};
use super::scenario::Scenario;
use super::table::Table;
use super::world::World;
use super::{liar, safety};

/// How to explore.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// After so many states the search stops, and says that it is not complete.
    pub max_states: u64,
    /// The same for distinct states of single nodes, which take most of the memory: 20 to 40 kB each.
    pub max_nodes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { max_states: u64::MAX, max_nodes: 120_000 }
    }
}

/// A state in the order in which it was found: the one before it, and the step from there.
type Origin = (u32, Action);

struct Search {
    table: Table,
    fair: Fair,
    seen: HashSet<u128>,
    origins: Vec<Origin>,
    frontier: VecDeque<(u32, World)>,
    transitions: u64,
    stopped: Option<Stopped>,
    /// Whether what happens now is a fair continuation.
    in_fair: bool,
}

/// Visits every state of a scenario. `tick` is told now and then how many states were found and how many of them wait.
pub fn explore(scenario: &Scenario, options: Options, mut tick: impl FnMut(u64, u64)) -> Report {
    let began = Instant::now();
    let mut search = Search {
        table: Table::new(setup(scenario)),
        fair: Fair::default(),
        seen: HashSet::new(),
        origins: Vec::new(),
        frontier: VecDeque::new(),
        transitions: 0,
        stopped: None,
        in_fair: false,
    };
    let breach = search.run(options, &mut tick);
    let depth = search.depth();
    Report {
        name: scenario.name,
        about: scenario.about,
        budgets: scenario.budgets,
        states: search.origins.len() as u64,
        transitions: search.transitions,
        depth,
        complete: breach.is_none() && search.frontier.is_empty(),
        stopped: search.stopped,
        nodes: search.table.nodes() as u64,
        engine_steps: search.table.steps() as u64,
        frames: search.table.frames.len() as u64,
        fair_runs: search.fair.runs,
        elapsed: began.elapsed(),
        breach,
    }
}

/// Names, ids and texts of everything that is published.
fn setup(scenario: &Scenario) -> Setup {
    let group = descriptor("model").id();
    let mut messages: Vec<Message> = Vec::new();
    for (at, post) in scenario.posts.iter().enumerate() {
        let deps = post.deps.iter().map(|&dep| messages[dep].id).collect();
        let draft = Draft {
            timestamp_ms: START.as_timestamp_ms() - 1000 + at as i64,
            deps,
            body: Bytes::from(format!("m{}", at + 1)),
        };
        let mut sorted = draft.deps.clone();
        sorted.sort_unstable();
        let message = hedgerow_proto::Message::new(group, draft.timestamp_ms, sorted, draft.body.clone());
        let deps = post.deps.iter().map(|&dep| dep as u8).collect();
        messages.push(Message { id: message.unwrap().id(), deps, draft, by: Some(post.by) });
    }
    if scenario.liar {
        messages.extend(liar::own(group, messages.len() as u8));
    }
    Setup { scenario: scenario.clone(), group, messages }
}

impl Search {
    fn run(&mut self, options: Options, tick: &mut impl FnMut(u64, u64)) -> Option<Breach> {
        let mut world = World::default();
        for me in 0..self.table.setup.scenario.peers {
            match Node::new(me, &self.table.setup) {
                Ok(node) => {
                    let id = self.table.add(node);
                    world.nodes.push(id);
                }
                Err(what) => return Some(Breach { what, path: Vec::new() }),
            }
        }
        let start = world.clone();
        if let Err(what) = self.found(world, (u32::MAX, Action::Poll { node: 0 })) {
            return Some(Breach { what, path: Vec::new() });
        }
        let mut actions = Vec::new();
        while let Some((index, world)) = self.frontier.pop_front() {
            if self.origins.len() as u64 >= options.max_states {
                self.stopped = Some(Stopped::States(options.max_states));
            } else if self.table.nodes() as u64 >= options.max_nodes {
                self.stopped = Some(Stopped::Nodes(options.max_nodes));
            }
            if self.stopped.is_some() {
                self.frontier.push_front((index, world));
                return None;
            }
            possible(&self.table, &world, &mut actions);
            for &action in &actions {
                self.transitions += 1;
                let next = apply(&mut self.table, &world, action);
                if let Err(what) = next.and_then(|next| self.found(next, (index, action))) {
                    let (mut path, last) = self.path(&start, (index, action));
                    if let Some(last) = last.filter(|_| self.in_fair) {
                        path.extend(self.fair.trace(&mut self.table, &last));
                    }
                    return Some(Breach { what, path });
                }
            }
            if index % 1024 == 0 {
                tick(self.origins.len() as u64, self.frontier.len() as u64);
            }
        }
        None
    }

    /// Takes up a state, if it is new.
    fn found(&mut self, world: World, origin: Origin) -> Result<(), String> {
        if !self.seen.insert(world.print(true)) {
            return Ok(());
        }
        let index = self.origins.len();
        self.origins.push(origin);
        safety::state(&self.table, &world)?;
        if (index as u64).is_multiple_of(self.table.setup.scenario.fair_every.max(1)) {
            self.in_fair = true;
            self.fair.run(&mut self.table, &world)?;
            self.in_fair = false;
        }
        self.frontier.push_back((index as u32, world));
        Ok(())
    }

    /// The steps from the start to a state and one further, in words, and where that leads to.
    fn path(&mut self, start: &World, last: Origin) -> (Vec<String>, Option<World>) {
        let mut actions = vec![last.1];
        let mut at = last.0;
        while let Some(&(before, action)) =
            self.origins.get(at as usize).filter(|(before, _)| *before != u32::MAX)
        {
            actions.push(action);
            at = before;
        }
        actions.reverse();
        let mut world = start.clone();
        let mut path = Vec::new();
        for action in actions {
            let next = apply(&mut self.table, &world, action);
            path.push(describe(&self.table, &world, action));
            match next {
                Ok(next) => world = next,
                Err(_) => return (path, None),
            }
        }
        (path, Some(world))
    }

    fn depth(&self) -> u32 {
        let mut depths: Vec<u32> = Vec::with_capacity(self.origins.len());
        for &(before, _) in &self.origins {
            depths.push(depths.get(before as usize).map_or(0, |depth| depth + 1));
        }
        depths.last().copied().unwrap_or(0)
    }
}
