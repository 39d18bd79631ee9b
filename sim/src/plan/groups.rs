//! Who is in which group, at the start and later.

use std::collections::BTreeSet;

use rand::RngExt as _;
use rand::seq::IteratorRandom as _;

use super::workload::who;
use super::{Change, PlanError, impossible, no_node};
use crate::random::{exponential, stream};
use crate::scenario::{Scenario, Workload};
use crate::units::Span;

pub(super) fn draw(scenario: &Scenario, seed: u64) -> Result<Vec<(String, Vec<usize>)>, PlanError> {
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

/// Who comes and who leaves, by time.
pub(super) fn changes(
    scenario: &Scenario,
    groups: &[(String, Vec<usize>)],
    seed: u64,
) -> Result<Vec<Change>, PlanError> {
    let (count, length) = (scenario.nodes.count, scenario.stop.after);
    let mut changes = Vec::new();
    for (index, workload) in scenario.workloads.iter().enumerate() {
        let key = |name: &str| format!("workload.{index}.{name}");
        match workload {
            Workload::Join { group, nodes, at } | Workload::Leave { group, nodes, at } => {
                let (group, _) = who(groups, group.as_deref(), None, &key)?;
                if let Some(node) = nodes.iter().find(|node| **node >= count) {
                    return Err(impossible(&key("nodes"), no_node(*node, count)));
                }
                let joins = matches!(workload, Workload::Join { .. });
                changes.extend(nodes.iter().map(|&node| Change { at: *at, node, group, joins }));
            }
            Workload::Churn { group, every, end } => {
                let (group, members) = who(groups, group.as_deref(), None, &key)?;
                if every.us() == 0 {
                    return Err(impossible(&key("every"), "must be above 0"));
                }
                let mut rng = stream(seed, "churn", index as u64);
                let mut members: BTreeSet<usize> = members.into_iter().collect();
                let end = end.unwrap_or(length).min(length);
                let mut at = exponential(&mut rng, *every).us();
                while at < end.us() {
                    // As many come as leave, but a group never dies out.
                    let joins = members.len() < count && (members.len() < 2 || rng.random_bool(0.5));
                    let node = match joins {
                        true => (0..count).filter(|node| !members.contains(node)).choose(&mut rng),
                        false => members.iter().copied().choose(&mut rng),
                    };
                    if let Some(node) = node {
                        if joins {
                            members.insert(node)
                        } else {
                            members.remove(&node)
                        };
                        changes.push(Change { at: Span::from_us(at), node, group, joins });
                    }
                    at += exponential(&mut rng, *every).us().max(1);
                }
            }
            _ => {}
        }
    }
    changes.sort_by_key(|change| change.at);
    if scenario.oracle && !changes.is_empty() {
        return Err(impossible("oracle", "knows of no nodes that join or leave"));
    }
    Ok(changes)
}
