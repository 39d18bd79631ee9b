//! What a fair network does from a state on, and what must come of it: everything is delivered everywhere and
//! acknowledged, and then nothing is said any more.

use std::collections::HashSet;

use super::actions::{Action, apply, describe, letter, step};
use super::node::{Input, Set};
use super::safety;
use super::table::Table;
use super::world::World;

/// How often the clock may go on before rest.
const MOST_WAITS: usize = 400;
/// How many steps there may be between two of those, in the small worlds that are explored.
const MOST_STEPS: usize = 2_000;

/// Runs fair continuations, and remembers from where they came to rest.
#[derive(Default)]
pub(super) struct Fair {
    good: HashSet<u128>,
    /// How many were run.
    pub(super) runs: u64,
}

impl Fair {
    /// Everything that broke is noticed, every pair of honest nodes has a link, every frame arrives at once, and the
    /// clocks go on together whenever nothing else happens. The liar keeps its links and falls silent, which is the
    /// worst that it can do then; when the honest nodes are done it goes, and all must come to rest.
    pub(super) fn run(&mut self, table: &mut Table, from: &World) -> Result<(), String> {
        self.runs += 1;
        self.walk(table, from, &mut None)
    }

    /// The steps of a continuation that fails, in words.
    pub(super) fn trace(&mut self, table: &mut Table, from: &World) -> Vec<String> {
        let mut log = Some(vec!["from here on, the network is fair".into()]);
        // It fails again; why is known.
        let _known = self.walk(table, from, &mut log);
        log.unwrap_or_default()
    }

    fn walk(&mut self, table: &mut Table, from: &World, log: &mut Log) -> Result<(), String> {
        let mut world = from.clone();
        let mut path = Vec::new();
        let mut waits = 0;
        let mut without_liar = !table.setup.scenario.liar;
        mend(table, &mut world, log)?;
        loop {
            // What follows depends on the state alone, so it need not be walked twice.
            let print = world.print(false) ^ u128::from(without_liar);
            if self.good.contains(&print) {
                break;
            }
            path.push(print);
            settle(table, &mut world, log)?;
            safety::state(table, &world)?;
            let rests = world.nodes.iter().all(|&node| table.view(node).timeout.is_none());
            if !without_liar && (rests || agreed(table, &world).is_ok()) {
                agreed(table, &world)?;
                dismiss(table, &mut world, log)?;
                without_liar = true;
                continue;
            }
            if rests {
                agreed(table, &world)?;
                break;
            }
            waits += 1;
            if waits > MOST_WAITS {
                agreed(table, &world)?;
                return Err("in a fair network, it does not fall silent".into());
            }
            wait(table, &mut world, log)?;
        }
        self.good.extend(path);
        Ok(())
    }
}

/// What is done, in words, for those who want to read it.
type Log = Option<Vec<String>>;

fn act(table: &mut Table, world: &mut World, action: Action, log: &mut Log) -> Result<(), String> {
    let next = apply(table, world, action);
    if let Some(log) = log {
        log.push(describe(table, world, action));
    }
    *world = next?;
    Ok(())
}

/// Every end learns of broken links; honest nodes that have none meet again.
fn mend(table: &mut Table, world: &mut World, log: &mut Log) -> Result<(), String> {
    while let Some((slot, end)) = broken(world) {
        act(table, world, Action::Notice { slot, end }, log)?;
    }
    for pair in 0..table.setup.scenario.pairs.len() as u8 {
        let linked = world.sessions.iter().any(|session| session.pair == pair && session.alive);
        if !linked && !table.setup.is_lying(pair) {
            act(table, world, Action::Up { pair }, log)?;
        }
    }
    Ok(())
}

fn broken(world: &World) -> Option<(u8, u8)> {
    let session = world.sessions.iter().find(|session| !session.alive)?;
    Some((session.slot, u8::from(!session.open[0])))
}

/// The liar is gone.
fn dismiss(table: &mut Table, world: &mut World, log: &mut Log) -> Result<(), String> {
    let lying: Vec<u8> = world
        .sessions
        .iter()
        .filter(|session| table.setup.is_lying(session.pair))
        .map(|session| session.slot)
        .collect();
    for slot in lying {
        world.cut(slot);
    }
    while let Some((slot, end)) = broken(world) {
        act(table, world, Action::Notice { slot, end }, log)?;
    }
    Ok(())
}

/// Everything that can happen at this instant happens.
fn settle(table: &mut Table, world: &mut World, log: &mut Log) -> Result<(), String> {
    for _ in 0..MOST_STEPS {
        let Some(action) = next(table, world) else { return Ok(()) };
        act(table, world, action, log)?;
    }
    Err("in a fair network, it talks without end".into())
}

/// The first thing to happen: polls, then what is under way arrives, then new frames.
fn next(table: &Table, world: &World) -> Option<Action> {
    let polls = (0..).zip(&world.nodes).find(|(_, id)| table.view(**id).fed);
    if let Some((node, _)) = polls {
        return Some(Action::Poll { node });
    }
    for session in &world.sessions {
        if let Some(from) = (0..2).find(|&from: &u8| !session.queues[usize::from(from)].is_empty()) {
            return Some(Action::Deliver { slot: session.slot, from, at: 0 });
        }
    }
    for session in &world.sessions {
        for end in (0..2).filter(|&end: &u8| session.open[usize::from(end)]) {
            let node = table.setup.node_at(session.pair, end)?;
            if table.view(world.nodes[usize::from(node)]).ready & 1 << session.slot != 0 {
                return Some(Action::Pull { slot: session.slot, end });
            }
        }
    }
    None
}

/// All clocks go on to the next timer of any.
fn wait(table: &mut Table, world: &mut World, log: &mut Log) -> Result<(), String> {
    let ms = world.nodes.iter().filter_map(|&node| table.view(node).timeout).min().unwrap_or(0);
    if let Some(log) = log {
        log.push(format!("{ms} ms pass"));
    }
    for node in 0..world.nodes.len() as u8 {
        step(table, world, node, Input::Wait(ms))?;
    }
    Ok(())
}

/// All that anybody delivered and still holds is delivered by all, and everybody knows it.
fn agreed(table: &Table, world: &World) -> Result<(), String> {
    let all: Set = world.nodes.iter().map(|&node| table.view(node).held).fold(0, |all, set| all | set);
    for (node, &id) in (0..).zip(&world.nodes) {
        let view = table.view(id);
        let lacks = all & !view.delivered;
        if lacks != 0 {
            let rows = table.node(id).describe(&table.setup);
            return Err(format!(
                "in a fair network, {} never delivers {}\n    {rows}",
                letter(node),
                safety::names(lacks)
            ));
        }
        for pair in &table.setup.scenario.pairs {
            let other = match *pair {
                (a, b) if a == node => b,
                (a, b) if b == node => a,
                _ => continue,
            };
            if other >= table.setup.scenario.peers {
                continue;
            }
            let unacked = view.held & !view.believed[usize::from(other)];
            if unacked != 0 {
                let rows = table.node(id).describe(&table.setup);
                return Err(format!(
                    "in a fair network, {} never learns that {} holds {}\n    {rows}",
                    letter(node),
                    letter(other),
                    safety::names(unacked)
                ));
            }
        }
    }
    Ok(())
}
