//! The figures of a run.

use serde::Serialize;

use crate::record::Record;
use crate::scenario::Scenario;

/// A distribution of times, in ms.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
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
}

impl Times {
    /// From times in us, in any order.
    #[must_use]
    pub fn of(mut us: Vec<u64>) -> Self {
        us.sort_unstable();
        let sum: u128 = us.iter().map(|us| u128::from(*us)).sum();
        // The nearest rank: the least value that so many of a hundred do not exceed.
        let rank = |percent: usize| {
            let rank = (us.len() * percent).div_ceil(100).saturating_sub(1);
            us.get(rank).copied().unwrap_or_default() as f64 / 1_000.0
        };
        Self {
            count: us.len() as u64,
            mean_ms: if us.is_empty() { 0.0 } else { rounded(sum as f64 / us.len() as f64 / 1_000.0) },
            p50_ms: rank(50),
            p90_ms: rank(90),
            p99_ms: rank(99),
            max_ms: rank(100),
        }
    }
}

/// A rule that must hold in every run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// The rule.
    pub rule: &'static str,
    /// How often it was broken.
    pub broken: u64,
    /// The first cases, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<String>,
}

/// What came of a run. Two runs of one scenario and seed have the same, byte for byte.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Summary {
    /// Name of the scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Version of this software.
    pub build: &'static str,
    /// How many nodes.
    pub nodes: usize,
    /// Simulated time, in s.
    pub simulated_s: f64,
    /// Whether nothing was left to happen.
    pub came_to_rest: bool,
    /// Whether somebody stopped it.
    pub interrupted: bool,
    /// Events on the queue.
    pub events: u64,
    /// How often two nodes came into reach of each other.
    pub contacts: u64,
    /// How many links came up.
    pub links: u64,
    /// Messages written.
    pub messages: u64,
    /// Messages that were due but whose author was never on again.
    pub unwritten: u64,
    /// (message, member) pairs with a delivery, out of `wanted`.
    pub delivered: u64,
    /// (message, member) pairs.
    pub wanted: u64,
    /// `delivered` / `wanted`.
    pub delivery_ratio: f64,
    /// From writing to delivery.
    pub delivery: Times,
    /// From writing to delivery at the last member, of the messages that reached all.
    pub delivery_to_all: Times,
    /// From writing until the author knew that a peer it met holds it.
    pub acknowledgement: Times,
    /// Bytes of all bodies written.
    pub body_bytes: u64,
    /// Bytes of all frames that went into links.
    pub wire_bytes: u64,
    /// Frames that went into links.
    pub frames: u64,
    /// Frames that links lost.
    pub frames_lost: u64,
    /// `wire_bytes` over the bodies that were delivered.
    pub overhead: f64,
    /// MESSAGE records sent.
    pub messages_sent: u64,
    /// MESSAGE records sent, for each delivery.
    pub sends_per_delivery: f64,
    /// MESSAGE records received by somebody who had the message.
    pub duplicates: u64,
    /// Messages offered.
    pub offers: u64,
    /// Messages requested.
    pub requests: u64,
    /// ACK records sent.
    pub acks: u64,
    /// Messages that waited for dependencies when the run ended.
    pub waiting_at_end: u64,
    /// Links that ended because a peer broke a rule.
    pub violations: u64,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// The rules that are checked in every run.
const RULES: [&str; 3] = ["nothing is made up", "nothing is delivered twice", "dependencies come first"];

impl Summary {
    pub(crate) fn of(scenario: &Scenario, seed: u64, record: &Record) -> Self {
        let traffic = record.traffic.iter().fold(hedgerow_sync_core::Traffic::default(), |mut sum, one| {
            sum += *one;
            sum
        });
        let delivered = record.reached.len() as u64;
        let wanted = delivered + record.undelivered as u64;
        let body_of = |message: u32| record.messages.get(message as usize).map_or(0, |said| said.size as u64);
        let delivered_bytes: u64 = record.reached.iter().map(|reached| body_of(reached.message)).sum();
        let all = record.messages.iter().filter(|said| said.lacking == 0 && said.last > said.at);
        let ways = || record.wires.values().flatten();
        let wire_bytes = ways().map(|(_, bytes)| bytes).sum();
        Self {
            scenario: scenario.name.clone(),
            seed,
            build: env!("CARGO_PKG_VERSION"),
            nodes: scenario.nodes.count,
            simulated_s: record.stopped_us as f64 / 1e6,
            came_to_rest: record.came_to_rest,
            interrupted: record.interrupted,
            events: record.events,
            contacts: record.contacts,
            links: record.links,
            messages: record.messages.len() as u64,
            unwritten: record.unwritten,
            delivered,
            wanted,
            delivery_ratio: ratio(delivered, wanted),
            delivery: Times::of(record.reached.iter().map(|reached| reached.after).collect()),
            delivery_to_all: Times::of(all.map(|said| said.last - said.at).collect()),
            acknowledgement: Times::of(record.acknowledged.clone()),
            body_bytes: record.messages.iter().map(|said| said.size as u64).sum(),
            wire_bytes,
            frames: ways().map(|(frames, _)| frames).sum(),
            frames_lost: record.frames_lost,
            overhead: ratio(wire_bytes, delivered_bytes),
            messages_sent: traffic.messages_out,
            sends_per_delivery: ratio(traffic.messages_out, delivered),
            duplicates: traffic.duplicates_in,
            offers: traffic.offers_out,
            requests: traffic.requests_out,
            acks: traffic.acks_out,
            waiting_at_end: record.waiting_at_end,
            violations: record.violations,
            checks: RULES
                .iter()
                .map(|rule| {
                    let broken = record.broken.iter().filter(|broken| broken.rule == *rule);
                    let cases: Vec<String> = broken.map(|broken| broken.what.clone()).collect();
                    Check { rule, broken: cases.len() as u64, cases }
                })
                .collect(),
        }
    }

    /// Whether every rule holds.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.broken == 0) && self.violations == 0
    }
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { rounded(part as f64 / whole as f64) }
}

/// To six digits after the point.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}
