//! Distributions, and how they are told: numbers that are the same, byte for byte, on every machine.

use serde::{Deserialize, Serialize};

/// Points of a distribution are told up to this many; beyond it, every so-and-so-many-th.
const MAX_POINTS: usize = 200;

/// A distribution of times, in ms.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Times {
    /// How many.
    pub count: u64,
    /// Their mean.
    pub mean_ms: f64,
    /// Half of them are at most this.
    pub p50_ms: f64,
    /// Nine of ten are at most this.
    pub p90_ms: f64,
    /// 99 of 100 are at most this.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
    /// The cumulative distribution: rising pairs of a time in ms and the share of all that is at most it. All values
    /// if there are at most 200, else 200 of them, evenly by rank, and the last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cdf: Vec<(f64, f64)>,
}

impl Times {
    /// From times in us, in any order.
    #[must_use]
    pub fn of(mut us: Vec<u64>) -> Self {
        us.sort_unstable();
        let sum: u128 = us.iter().map(|us| u128::from(*us)).sum();
        let rank = |percent| nearest_rank(&us, percent).unwrap_or_default() as f64 / 1_000.0;
        Self {
            count: us.len() as u64,
            mean_ms: if us.is_empty() { 0.0 } else { rounded(sum as f64 / us.len() as f64 / 1_000.0) },
            p50_ms: rank(50),
            p90_ms: rank(90),
            p99_ms: rank(99),
            max_ms: rank(100),
            cdf: cdf_of(&us),
        }
    }
}

fn cdf_of(sorted: &[u64]) -> Vec<(f64, f64)> {
    let count = sorted.len();
    let step = count.div_ceil(MAX_POINTS).max(1);
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (rank, us) in (1..=count).zip(sorted).filter(|(rank, _)| rank % step == 0 || *rank == count) {
        let (ms, share) = (*us as f64 / 1_000.0, rounded(rank as f64 / count as f64));
        match points.last_mut() {
            Some(last) if last.0 == ms => last.1 = share,
            _ => points.push((ms, share)),
        }
    }
    points
}

/// A distribution of counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// The least.
    pub min: u64,
    /// Their mean.
    pub mean: f64,
    /// Half of them are at most this.
    pub p50: u64,
    /// Nine of ten are at most this.
    pub p90: u64,
    /// 99 of 100 are at most this.
    pub p99: u64,
    /// The most.
    pub max: u64,
}

impl Spread {
    /// From counts in any order.
    #[must_use]
    pub fn of(mut counts: Vec<u64>) -> Self {
        counts.sort_unstable();
        let sum: u128 = counts.iter().map(|count| u128::from(*count)).sum();
        let rank = |percent| nearest_rank(&counts, percent).unwrap_or_default();
        Self {
            count: counts.len() as u64,
            min: counts.first().copied().unwrap_or_default(),
            mean: if counts.is_empty() { 0.0 } else { rounded(sum as f64 / counts.len() as f64) },
            p50: rank(50),
            p90: rank(90),
            p99: rank(99),
            max: rank(100),
        }
    }
}

/// The least value that so many of a hundred do not exceed.
fn nearest_rank(sorted: &[u64], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied()
}

/// Jain's index of fairness: (sum x)² / (n · sum x²). 1 if all are equal, 1/n if one has all; 1 of nothing.
#[must_use]
pub fn jain(values: &[u64]) -> f64 {
    let sum: u128 = values.iter().map(|x| u128::from(*x)).sum();
    let squares: u128 = values.iter().map(|x| u128::from(*x).saturating_mul(u128::from(*x))).sum();
    if squares == 0 { 1.0 } else { rounded(sum as f64 * sum as f64 / (values.len() as f64 * squares as f64)) }
}

pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { rounded(part as f64 / whole as f64) }
}

/// To six digits after the point.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_the_nearest_ones() {
        let times = Times::of((1..=10).map(|n| n * 1_000).rev().collect());
        assert_eq!((times.p50_ms, times.p90_ms, times.p99_ms, times.max_ms), (5.0, 9.0, 10.0, 10.0));
        assert_eq!((times.count, times.mean_ms), (10, 5.5));
        assert_eq!(times.cdf.first(), Some(&(1.0, 0.1)));
        assert_eq!(times.cdf.last(), Some(&(10.0, 1.0)));
        assert_eq!(Times::of(Vec::new()), Times::default());
    }

    #[test]
    fn a_long_distribution_is_told_in_few_points() {
        let times = Times::of((0..100_001).collect());
        assert!(times.cdf.len() <= MAX_POINTS + 1, "{}", times.cdf.len());
        assert_eq!(times.cdf.last(), Some(&(100.0, 1.0)));
        assert!(times.cdf.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 < pair[1].1));
        let same = Times::of(vec![7_000; 5_000]);
        assert_eq!(same.cdf, [(7.0, 1.0)]);
    }

    #[test]
    fn fairness_is_that_of_jain() {
        assert_eq!(jain(&[5, 5, 5]), 1.0);
        assert_eq!(jain(&[9, 0, 0, 0]), 0.25);
        assert_eq!(jain(&[]), 1.0);
        assert_eq!(jain(&[0, 0]), 1.0);
    }
}
