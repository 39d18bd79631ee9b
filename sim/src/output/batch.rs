//! The runs of one scenario with several seeds, taken together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metrics::{METRICS, Stat};
use super::options::options;
use super::show::rounded;
use crate::checks::{Check, Rule, Verdict};
use crate::scenario::Scenario;
use crate::{Summary, Times};

/// What stands in `summary.json`. The same scenario and seeds give the same, byte for byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Batch {
    /// Name of the scenario.
    pub scenario: String,
    /// What question it answers.
    pub question: String,
    /// Version of this software.
    pub build: String,
    /// What was set on the command line.
    pub settings: Vec<String>,
    /// Every key of the scenario with its value.
    pub options: BTreeMap<String, String>,
    /// The first seed; the others follow it.
    pub first_seed: u64,
    /// How many seeds were asked for.
    pub seeds: u64,
    /// Whether no rule was broken.
    pub passed: bool,
    /// The rules over all runs.
    pub checks: Vec<Check>,
    /// Each figure over the runs that have it.
    pub totals: BTreeMap<String, Stat>,
    /// The times of all runs together.
    pub pooled: Pooled,
    /// The runs, by seed: fewer than were asked for if somebody stopped them.
    pub runs: Vec<Summary>,
}

/// The times of several runs together. Exact as long as no run has more than 200 of a kind.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Pooled {
    /// From writing until stored.
    pub storing: Times,
    /// From writing until delivered.
    pub delivery: Times,
    /// From writing until delivered to the last.
    pub delivery_to_all: Times,
    /// From writing until the author knew.
    pub acknowledgement: Times,
}

impl Pooled {
    pub(crate) fn of(runs: &[Summary]) -> Self {
        Self {
            storing: pool(runs.iter().map(|run| &run.storing)),
            delivery: pool(runs.iter().map(|run| &run.delivery)),
            delivery_to_all: pool(runs.iter().map(|run| &run.delivery_to_all)),
            acknowledgement: pool(runs.iter().map(|run| &run.acknowledgement)),
        }
    }
}

impl Batch {
    /// Of runs in the order of their seeds.
    #[must_use]
    pub fn of(
        scenario: &Scenario,
        settings: &[String],
        first_seed: u64,
        seeds: u64,
        runs: Vec<Summary>,
    ) -> Self {
        let checks = merged(&runs);
        Self {
            scenario: scenario.name.clone(),
            question: scenario.question.clone(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            settings: settings.to_vec(),
            options: options(scenario),
            first_seed,
            seeds,
            passed: checks.iter().all(|check| check.verdict != Verdict::Broken),
            checks,
            totals: totals(&runs),
            pooled: Pooled::of(&runs),
            runs,
        }
    }

    /// The text of `summary.json`.
    ///
    /// # Errors
    /// When a figure cannot be written as JSON, which none of a run is.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        Ok(text)
    }
}

pub(crate) fn totals(runs: &[Summary]) -> BTreeMap<String, Stat> {
    let of = |metric: &super::metrics::Metric| {
        Some((metric.key.to_owned(), Stat::of(runs.iter().filter_map(metric.of))?))
    };
    METRICS.iter().filter_map(of).collect()
}

/// The rules over several runs: broken if one of them broke it.
pub(crate) fn merged(runs: &[Summary]) -> Vec<Check> {
    let one = |rule: Rule| {
        let of_rule = || {
            runs.iter().flat_map(move |run| {
                run.checks.iter().filter(move |check| check.rule == rule).map(move |check| (run.seed, check))
            })
        };
        of_rule().next()?;
        let looked = of_rule().map(|(_, check)| check.looked).sum();
        let broken = of_rule().map(|(_, check)| check.broken).sum();
        let verdict = match (looked, broken) {
            (0, _) => Verdict::Untested,
            (_, 0) => Verdict::Passed,
            _ => Verdict::Broken,
        };
        // The cases of a broken rule, with the seeds that show them; of an untested one, why.
        let told = of_rule().filter(|(_, check)| verdict == Verdict::Untested || check.broken > 0);
        let mut cases: Vec<String> = Vec::new();
        for (seed, check) in told {
            for case in &check.cases {
                let text = if check.broken > 0 { format!("seed {seed}: {case}") } else { case.clone() };
                if cases.len() < 10 && !cases.contains(&text) {
                    cases.push(text);
                }
            }
        }
        Some(Check { rule, verdict, looked, broken, cases })
    };
    Rule::ALL.into_iter().filter_map(one).collect()
}

/// The values of several distributions together.
fn pool<'a>(all: impl Iterator<Item = &'a Times> + Clone) -> Times {
    let count: u64 = all.clone().map(|times| times.count).sum();
    if count == 0 {
        return Times::default();
    }
    let sum: f64 = all.clone().map(|times| times.mean_ms * times.count as f64).sum();
    let longest = all.clone().map(|times| times.max_ms).fold(0.0, f64::max);
    // Each point stands for the values since the one before it.
    let mut points: Vec<(f64, u64)> = Vec::new();
    for times in all {
        let mut before = 0;
        for &(ms, share) in &times.cdf {
            let rank = (share * times.count as f64).round();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of values")]
            let rank = rank as u64;
            points.push((ms, rank.saturating_sub(before)));
            before = rank;
        }
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    let at_rank = |wanted: u64| {
        let mut seen = 0;
        let found = points.iter().find(|(_, values)| {
            seen += values;
            seen >= wanted
        });
        found.map_or(longest, |(ms, _)| *ms)
    };
    // The least rank that so many of a hundred do not exceed.
    let percent = |share: u64| at_rank(count / 100 * share + (count % 100 * share).div_ceil(100));
    let mut cdf: Vec<(f64, f64)> = Vec::new();
    let (mut seen, mut told) = (0_u64, 0_u64);
    let step = count.div_ceil(MAX_POINTS);
    for (n, &(ms, values)) in points.iter().enumerate() {
        seen += values;
        let last_of_its_time = points.get(n + 1).is_none_or(|(next, _)| *next > ms);
        if last_of_its_time && (seen >= told + step || n + 1 == points.len()) {
            told = seen;
            cdf.push((ms, rounded(seen as f64 / count as f64)));
        }
    }
    Times {
        count,
        mean_ms: rounded(sum / count as f64),
        p50_ms: percent(50),
        p90_ms: percent(90),
        p99_ms: percent(99),
        max_ms: longest,
        cdf,
    }
}

/// A pooled distribution is told in about so many points.
const MAX_POINTS: u64 = 400;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pooled_times_are_those_of_all_values() {
        let parts: [Vec<u64>; 4] =
            [vec![5_000, 1_000, 3_000], vec![], vec![2_000; 7], (1..=150).map(|n| n * 1_000).collect()];
        let all: Vec<u64> = parts.iter().flatten().copied().collect();
        let times: Vec<Times> = parts.into_iter().map(Times::of).collect();
        let (pooled, whole) = (pool(times.iter()), Times::of(all));
        assert_eq!(pooled, whole);
        assert_eq!(pool(std::iter::empty()), Times::default());
    }

    #[test]
    fn pooled_times_of_many_values_are_close() {
        let parts: Vec<Vec<u64>> =
            (0..5).map(|n| (0..10_000).map(|k| (k * 7_919 + n) % 1_000_003).collect()).collect();
        let whole = Times::of(parts.iter().flatten().copied().collect());
        let times: Vec<Times> = parts.into_iter().map(Times::of).collect();
        let pooled = pool(times.iter());
        assert_eq!((pooled.count, pooled.max_ms), (whole.count, whole.max_ms));
        assert!((pooled.mean_ms - whole.mean_ms).abs() < 1e-3);
        for (ours, exact) in [(pooled.p50_ms, whole.p50_ms), (pooled.p90_ms, whole.p90_ms)] {
            assert!((ours - exact).abs() < 0.01 * whole.max_ms, "{ours} {exact}");
        }
        assert!(pooled.cdf.len() <= 402);
    }
}
