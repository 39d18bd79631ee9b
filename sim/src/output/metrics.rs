//! The figures that runs are told and compared by.

use serde::{Deserialize, Serialize};

use super::show::{Unit, rounded};
use crate::Summary;

/// A figure of a run.
pub(crate) struct Metric {
    /// Its name in files.
    pub(crate) key: &'static str,
    /// Its name on pages.
    pub(crate) name: &'static str,
    pub(crate) unit: Unit,
    /// `None` if a run has none.
    pub(crate) of: fn(&Summary) -> Option<f64>,
}

const fn metric(
    key: &'static str,
    name: &'static str,
    unit: Unit,
    of: fn(&Summary) -> Option<f64>,
) -> Metric {
    Metric { key, name, unit, of }
}

fn if_any(count: u64, value: f64) -> Option<f64> {
    (count > 0).then_some(value)
}

/// All, in the order in which they are told.
pub(crate) const METRICS: [Metric; 29] = [
    metric("delivery_ratio", "delivery ratio", Unit::Share, |s| if_any(s.wanted, s.delivery_ratio)),
    metric("delivery_mean_ms", "delivery, mean", Unit::Ms, |s| if_any(s.delivery.count, s.delivery.mean_ms)),
    metric("delivery_p50_ms", "delivery, median", Unit::Ms, |s| if_any(s.delivery.count, s.delivery.p50_ms)),
    metric("delivery_p90_ms", "delivery, 90 %", Unit::Ms, |s| if_any(s.delivery.count, s.delivery.p90_ms)),
    metric("delivery_p99_ms", "delivery, 99 %", Unit::Ms, |s| if_any(s.delivery.count, s.delivery.p99_ms)),
    metric("delivery_max_ms", "delivery, longest", Unit::Ms, |s| if_any(s.delivery.count, s.delivery.max_ms)),
    metric("storing_p50_ms", "storing, median", Unit::Ms, |s| if_any(s.storing.count, s.storing.p50_ms)),
    metric("to_all_p50_ms", "delivery to all, median", Unit::Ms, |s| {
        if_any(s.delivery_to_all.count, s.delivery_to_all.p50_ms)
    }),
    metric("acknowledgement_mean_ms", "acknowledged, mean", Unit::Ms, |s| {
        if_any(s.acknowledgement.count, s.acknowledgement.mean_ms)
    }),
    metric("acknowledgement_p50_ms", "acknowledged, median", Unit::Ms, |s| {
        if_any(s.acknowledgement.count, s.acknowledgement.p50_ms)
    }),
    metric("acknowledgement_p90_ms", "acknowledged, 90 %", Unit::Ms, |s| {
        if_any(s.acknowledgement.count, s.acknowledgement.p90_ms)
    }),
    metric("converged_after_ms", "converged after the last message", Unit::Ms, |s| {
        s.convergence.after_last_message_ms
    }),
    metric("sends_per_delivery", "sends per delivery", Unit::Number, |s| {
        if_any(s.delivered, s.sends_per_delivery)
    }),
    metric("sends_lower_bound", "least sends per delivery (1 / (1 - loss))", Unit::Number, |s| {
        if_any(s.frames, s.sends_lower_bound)
    }),
    metric("overhead", "bytes on the wire over bytes of bodies", Unit::Number, |s| {
        if_any(s.delivered_bytes, s.overhead)
    }),
    metric("wire_bytes", "bytes on the wire", Unit::Bytes, |s| Some(s.wire_bytes as f64)),
    metric("frames", "frames", Unit::Number, |s| Some(s.frames as f64)),
    metric("frames_lost", "frames lost", Unit::Number, |s| Some(s.frames_lost as f64)),
    metric("duplicates", "duplicates", Unit::Number, |s| Some(s.duplicates as f64)),
    metric("rounds_mean", "rounds of a link, mean", Unit::Number, |s| if_any(s.rounds.count, s.rounds.mean)),
    metric("parked_most", "most parked at a node", Unit::Number, |s| Some(s.parking.most_at_a_node as f64)),
    metric("parked_p90_ms", "time parked, 90 %", Unit::Ms, |s| {
        if_any(s.parking.time.count, s.parking.time.p90_ms)
    }),
    metric("state_max_bytes", "memory of sync state, largest node", Unit::Bytes, |s| {
        Some(s.state.most.max as f64)
    }),
    metric("node_bytes_max", "bytes sent, busiest node", Unit::Bytes, |s| {
        if_any(s.node_bytes.count, s.node_bytes.max as f64)
    }),
    metric("fairness_bytes", "fairness of bytes sent (Jain)", Unit::Number, |s| Some(s.fairness.bytes_sent)),
    metric("fairness_delivery", "fairness of delivery (Jain)", Unit::Number, |s| Some(s.fairness.delivery)),
    metric("oracle_reached_ratio", "delivered of what any protocol could", Unit::Share, |s| {
        s.oracle.as_ref().map(|best| best.reached_ratio)
    }),
    metric("simulated_ms", "simulated time", Unit::Ms, |s| Some(s.simulated_s * 1e3)),
    metric("events", "events", Unit::Number, |s| Some(s.events as f64)),
];

/// A figure over several runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Stat {
    /// Of how many runs.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Standard deviation (of a sample).
    pub sd: f64,
    /// The least.
    pub min: f64,
    /// Half of them are at most this.
    pub p50: f64,
    /// Nine of ten are at most this.
    pub p90: f64,
    /// The most.
    pub max: f64,
}

impl Stat {
    /// From values, in any order but always the same one. `None` if there is none.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        let count = values.len();
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        values.sort_by(f64::total_cmp);
        let rank = |percent: usize| values.get((count * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self {
            count: count as u64,
            mean: rounded(mean),
            sd: if count > 1 { rounded((squares / (count - 1) as f64).sqrt()) } else { 0.0 },
            min: values.first().copied()?,
            p50: rank(50)?,
            p90: rank(90)?,
            max: values.last().copied()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_over_runs_are_those_of_a_sample() {
        assert_eq!(Stat::of(std::iter::empty()), None);
        let stat = Stat::of([4.0, 2.0, 6.0].into_iter()).unwrap();
        assert_eq!((stat.count, stat.mean, stat.sd), (3, 4.0, 2.0));
        assert_eq!((stat.min, stat.p50, stat.p90, stat.max), (2.0, 4.0, 6.0, 6.0));
        assert_eq!(Stat::of([5.0].into_iter()).unwrap().sd, 0.0);
    }

    #[test]
    fn names_differ() {
        for (n, metric) in METRICS.iter().enumerate() {
            assert!(
                METRICS.iter().skip(n + 1).all(|other| other.key != metric.key && other.name != metric.name)
            );
        }
    }
}
