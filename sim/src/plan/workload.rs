//! What is said, as far as it does not depend on what is read.

use rand::RngExt as _;
use rand::distr::weighted::WeightedIndex;
use rand::seq::IndexedRandom as _;
use rand_distr::Distribution as _;
use serde::Serialize;

use super::{Change, PlanError, impossible, longest_body, no_node};
use crate::random::{exponential, stream};
use crate::scenario::{Scenario, Workload};
use crate::units::{Share, Size, Span};

/// The longest body, in bytes.
const MAX_BODY: usize = 32_768;

/// The shortest body, in bytes: each begins with the number of its message.
pub const MIN_BODY: usize = 4;

/// A message that will be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Draft {
    /// When.
    pub at: Span,
    /// By whom.
    pub author: usize,
    /// In which group, by its place in the plan.
    pub group: usize,
    /// Its body, in bytes.
    pub size: usize,
}

/// Who reads a message of a group may answer it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Replies {
    /// The group, by its place in the plan.
    pub group: usize,
    /// The probability for each reader.
    pub share: Share,
    /// Mean time to an answer.
    pub think: Span,
    /// Mean size of a body.
    pub size: Size,
    /// The longest body, in bytes.
    pub longest: usize,
    /// What is older than this is not answered.
    pub patience: Option<Span>,
}

type Groups = [(String, Vec<usize>)];

pub(super) fn draw(
    scenario: &Scenario,
    members: &Groups,
    changes: &[Change],
    seed: u64,
) -> Result<(Vec<Draft>, Vec<Replies>), PlanError> {
    let length = scenario.stop.after;
    // Relays and adversaries write nothing, unless they are named.
    let lies = |node: &usize| scenario.adversaries.iter().any(|adversary| adversary.nodes.contains(node));
    let silent = |node: &usize| scenario.nodes.relays.contains(node) || lies(node);
    let honest = |nodes: &[usize]| nodes.iter().copied().filter(|node| !silent(node)).collect::<Vec<_>>();
    let authors: Vec<(String, Vec<usize>)> =
        members.iter().map(|(name, nodes)| (name.clone(), honest(nodes))).collect();
    let groups = authors.as_slice();
    let mut drafts = Vec::new();
    let mut replies = Vec::new();
    let (fits, narrowest) = longest_body(scenario);
    let longest = fits.min(MAX_BODY);
    for (index, workload) in scenario.workloads.iter().enumerate() {
        let key = |name: &str| format!("workload.{index}.{name}");
        let body = |size: Size| match usize::try_from(size.bytes()).unwrap_or(usize::MAX) {
            bytes if !(MIN_BODY..=MAX_BODY).contains(&bytes) => {
                Err(impossible(&key("size"), format!("{size}: a body has {MIN_BODY} to {MAX_BODY} B")))
            }
            bytes if bytes > fits => {
                let message = format!("{size}: a body of at most {fits} B goes through {narrowest}");
                Err(impossible(&key("size"), message))
            }
            bytes => Ok(bytes),
        };
        let mut rng = stream(seed, "workload", index as u64);
        match workload {
            Workload::Burst { group, from, at, count, size } => {
                let (group, authors) =
                    authors_of((members, groups), changes, group.as_deref(), from.as_deref(), &key)?;
                let size = body(*size)?;
                for author in authors {
                    drafts.extend(std::iter::repeat_n(Draft { at: *at, author, group, size }, *count));
                }
            }
            Workload::Poisson { group, from, every, size, start, end } => {
                let (group, authors) =
                    authors_of((members, groups), changes, group.as_deref(), from.as_deref(), &key)?;
                let size = body(*size)?;
                let end = end.unwrap_or(length).min(length);
                let mut at = start.us();
                loop {
                    at += spaced(&mut rng, *every, &key)?;
                    let Some(&author) = authors.choose(&mut rng).filter(|_| at < end.us()) else { break };
                    drafts.push(Draft { at: Span::from_us(at), author, group, size });
                }
            }
            Workload::Chat { group, every, reply, think, size, patience } => {
                body(*size)?;
                let (group, authors) = who(groups, group.as_deref(), None, &key)?;
                let mut at = 0;
                loop {
                    at += spaced(&mut rng, *every, &key)?;
                    let Some(&author) = authors.choose(&mut rng).filter(|_| at < length.us()) else { break };
                    let size = drawn_size(&mut rng, *size, longest);
                    drafts.push(Draft { at: Span::from_us(at), author, group, size });
                }
                let (share, think, size, patience) = (*reply, *think, *size, *patience);
                replies.push(Replies { group, share, think, size, longest, patience });
            }
            Workload::Bulk { group, from, at, total, size } => {
                let (group, authors) =
                    authors_of((members, groups), changes, group.as_deref(), from.as_deref(), &key)?;
                let size = body(*size)?;
                for author in authors {
                    let mut left = usize::try_from(total.bytes()).unwrap_or(usize::MAX);
                    while left > 0 {
                        let size = size.min(left).max(MIN_BODY);
                        drafts.push(Draft { at: *at, author, group, size });
                        left = left.saturating_sub(size);
                    }
                }
            }
            Workload::PublicChat { group, every, size, skew, end } => {
                body(*size)?;
                let (group, authors) = who(groups, group.as_deref(), None, &key)?;
                let weights = (1..=authors.len()).map(|rank| power(rank, *skew));
                let weights = WeightedIndex::new(weights)
                    .map_err(|_| impossible(&key("skew"), format!("{skew}: must be from 0 to 10")))?;
                let end = end.unwrap_or(length).min(length);
                let mut at = 0;
                loop {
                    at += spaced(&mut rng, *every, &key)?;
                    if at >= end.us() {
                        break;
                    }
                    let Some(&author) = authors.get(weights.sample(&mut rng)) else { break };
                    let size = drawn_size(&mut rng, *size, longest);
                    drafts.push(Draft { at: Span::from_us(at), author, group, size });
                }
            }
            Workload::Join { .. } | Workload::Leave { .. } | Workload::Churn { .. } => {}
        }
    }
    drafts.sort_by_key(|draft| draft.at);
    Ok((drafts, replies))
}

/// rank^-skew, with the same bits on every machine.
fn power(rank: usize, skew: f64) -> f64 {
    if (0.0..=10.0).contains(&skew) { libm::pow(rank as f64, -skew) } else { f64::NAN }
}

/// An exponentially distributed body length, of at most `longest` bytes.
pub(crate) fn drawn_size(rng: &mut rand_chacha::ChaCha12Rng, mean: Size, longest: usize) -> usize {
    let drawn = exponential(rng, Span::from_us(mean.bytes())).us();
    usize::try_from(drawn).unwrap_or(usize::MAX).min(longest).max(MIN_BODY)
}

fn spaced(
    rng: &mut rand_chacha::ChaCha12Rng,
    every: Span,
    key: &impl Fn(&str) -> String,
) -> Result<u64, PlanError> {
    if every.us() == 0 {
        return Err(impossible(&key("every"), "must be above 0"));
    }
    // Two at once would be one event.
    Ok(exponential(rng, every).us().max(1) + rng.random_range(0..2))
}

/// The group by its name, and those of `from`, who are members at some time, or all of its members.
fn authors_of(
    (groups, authors): (&Groups, &Groups),
    changes: &[Change],
    name: Option<&str>,
    from: Option<&[usize]>,
    key: &impl Fn(&str) -> String,
) -> Result<(usize, Vec<usize>), PlanError> {
    let (group, members) = who(groups, name, None, key)?;
    let joins = |node: usize| changes.iter().any(|c| c.joins && c.group == group && c.node == node);
    match from {
        Some(from) if from.iter().all(|node| members.contains(node) || joins(*node)) => {
            Ok((group, from.to_vec()))
        }
        None => who(authors, name, None, key),
        from => who(groups, name, from, key),
    }
}

/// The group by its name, and those of `from`, or all of its members.
pub(super) fn who(
    groups: &Groups,
    name: Option<&str>,
    from: Option<&[usize]>,
    key: &impl Fn(&str) -> String,
) -> Result<(usize, Vec<usize>), PlanError> {
    let index = match name {
        None => 0,
        Some(name) => groups.iter().position(|(group, _)| group == name).ok_or_else(|| {
            let names: Vec<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
            impossible(&key("group"), format!("there is no group `{name}`; there are {}", names.join(", ")))
        })?,
    };
    let members = groups.get(index).map(|(_, members)| members.as_slice()).unwrap_or_default();
    match from {
        None => Ok((index, members.to_vec())),
        Some(authors) => match authors.iter().find(|author| !members.contains(author)) {
            None => Ok((index, authors.to_vec())),
            Some(author) => {
                let most = members.iter().max().copied().unwrap_or_default() + 1;
                let message = if *author >= most {
                    no_node(*author, most)
                } else {
                    format!("node {author} is not in the group")
                };
                Err(impossible(&key("from"), message))
            }
        },
    }
}
