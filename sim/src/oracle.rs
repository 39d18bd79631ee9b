//! The best that any protocol could do: a message spreads at once along every path of contacts that respects time.
//!
//! Links take no time here and lose nothing, and everything goes over them at once. So nothing real is better, and with
//! enough bandwidth a protocol that passes on everything reaches the same nodes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use serde::{Deserialize, Serialize};

use crate::plan::{Contact, Plan};
use crate::record::Record;
use crate::scenario::{Fault, Scenario};
use crate::summary::{Times, ratio};

/// What the best protocol would reach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// (message, member) pairs that can be reached at all before the run ends.
    pub reachable: u64,
    /// Of those that are to have a delivery.
    pub delivery_ratio: f64,
    /// How many of the reachable ones the run reached.
    pub reached: u64,
    /// `reached` / `reachable`: 1 if nothing could be better.
    pub reached_ratio: f64,
    /// From writing until the earliest possible delivery, of the reachable ones.
    pub delivery: Times,
    /// From the earliest possible delivery to ours.
    pub lag: Times,
}

/// When two nodes can talk: both on, near, and on one side of every partition.
#[derive(Debug, Clone, Copy)]
struct Chance {
    start: u64,
    end: u64,
    other: usize,
}

pub(crate) fn best(plan: &Plan, scenario: &Scenario, record: &Record) -> Best {
    let chances = chances(plan, scenario);
    let stop = record.stopped_us;
    let mut delivered: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for one in &record.deliveries {
        delivered.insert((one.message, one.node), one.delivered_us);
    }
    let (mut reachable, mut reached) = (0, 0);
    let (mut earliest, mut lags) = (Vec::new(), Vec::new());
    for (message, written) in (0_u32..).zip(&record.messages) {
        let Some((_, members)) = plan.groups.get(written.group as usize) else { continue };
        let passes =
            |node: usize| members.binary_search(&node).is_ok() && !plan.adversaries.contains_key(&node);
        let times = spread(&chances, written.author as usize, written.at_us, passes);
        for (node, at) in times.into_iter().enumerate() {
            let Some(at) = at.filter(|at| *at < stop) else { continue };
            if node == written.author as usize || plan.relays.contains(&node) {
                continue;
            }
            reachable += 1;
            earliest.push(at - written.at_us);
            if let Some(ours) = u32::try_from(node).ok().and_then(|node| delivered.get(&(message, node))) {
                reached += 1;
                lags.push(ours.saturating_sub(at));
            }
        }
    }
    let wanted: u64 = record.messages.iter().map(|message| u64::from(message.wanted)).sum();
    Best {
        reachable,
        delivery_ratio: ratio(reachable, wanted),
        reached,
        reached_ratio: ratio(reached, reachable),
        delivery: Times::of(earliest),
        lag: Times::of(lags),
    }
}

/// When a message that is written at a time can be at each node: the earliest first, as Dijkstra (1959) does.
fn spread(
    chances: &[Vec<Chance>],
    author: usize,
    written: u64,
    passes: impl Fn(usize) -> bool,
) -> Vec<Option<u64>> {
    let mut times: Vec<Option<u64>> = vec![None; chances.len()];
    let mut queue = BinaryHeap::from([Reverse((written, author))]);
    while let Some(Reverse((at, node))) = queue.pop() {
        match times.get_mut(node) {
            Some(time @ None) => *time = Some(at),
            _ => continue,
        }
        for chance in chances.get(node).into_iter().flatten().filter(|chance| chance.end > at) {
            let there = times.get(chance.other).copied().flatten();
            if there.is_none() && passes(chance.other) {
                queue.push(Reverse((at.max(chance.start), chance.other)));
            }
        }
    }
    times
}

fn chances(plan: &Plan, scenario: &Scenario) -> Vec<Vec<Chance>> {
    let setup = scenario.links.setup.us();
    let mut chances = vec![Vec::new(); plan.windows.len()];
    for contact in &plan.contacts {
        // The way from the node with the lower number is always there.
        let one_way = scenario.links.between(contact.a, contact.b).simplex;
        for (start, end) in common(plan, scenario, contact) {
            let start = start + setup;
            if start < end {
                for (node, other) in [(contact.a, contact.b), (contact.b, contact.a)] {
                    if one_way && node > other {
                        continue;
                    }
                    if let Some(chances) = chances.get_mut(node) {
                        chances.push(Chance { start, end, other });
                    }
                }
            }
        }
    }
    chances
}

/// The parts of a contact in which both nodes are on and nothing keeps them apart.
fn common(plan: &Plan, scenario: &Scenario, contact: &Contact) -> Vec<(u64, u64)> {
    let mut parts = vec![(contact.start.us(), contact.end.us())];
    for node in [contact.a, contact.b] {
        let on: Vec<(u64, u64)> =
            plan.windows.get(node).into_iter().flatten().map(|w| (w.start.us(), w.end.us())).collect();
        let mut both = Vec::new();
        for (start, end) in parts {
            // Windows are in order and apart, so those that matter stand together.
            let first = on.partition_point(|window| window.1 <= start);
            let near = on.iter().skip(first).take_while(|window| window.0 < end);
            both.extend(near.map(|window| (start.max(window.0), end.min(window.1))));
        }
        parts = both;
    }
    let (a, b) = (contact.a, contact.b);
    let cuts = scenario.faults.iter().filter_map(|fault| match fault {
        Fault::Partition { nodes, from, to } if nodes.contains(&a) != nodes.contains(&b) => {
            Some((from.us(), to.us()))
        }
        _ => None,
    });
    let crashes = plan.crashes.iter().filter(|crash| crash.node == a || crash.node == b);
    let crashes = crashes.map(|crash| (crash.at.us(), crash.at.us() + crash.off.us()));
    for (from, to) in cuts.chain(crashes) {
        parts = parts
            .into_iter()
            .flat_map(|(start, end)| [(start, end.min(from)), (start.max(to), end)])
            .filter(|(start, end)| start < end)
            .collect();
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chance(start: u64, end: u64, other: usize) -> Chance {
        Chance { start, end, other }
    }

    #[test]
    fn paths_respect_time() {
        // 0 and 1 meet from 10 to 20, 1 and 2 from 5 to 15, 2 and 3 from 0 to 8.
        let chances = vec![
            vec![chance(10, 20, 1)],
            vec![chance(10, 20, 0), chance(5, 15, 2)],
            vec![chance(5, 15, 1), chance(0, 8, 3)],
            vec![chance(0, 8, 2)],
        ];
        assert_eq!(spread(&chances, 0, 0, |_| true), [Some(0), Some(10), Some(10), None]);
        assert_eq!(spread(&chances, 3, 6, |_| true), [Some(10), Some(6), Some(6), Some(6)]);
        assert_eq!(spread(&chances, 0, 16, |_| true), [Some(16), Some(16), None, None]);
        assert_eq!(spread(&chances, 0, 0, |node| node != 1), [Some(0), None, None, None]);
    }
}
