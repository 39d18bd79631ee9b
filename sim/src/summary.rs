//! The figures of a run.

mod figures;

use serde::{Deserialize, Serialize};

pub(crate) use self::figures::ratio;
pub use self::figures::{Spread, Times, jain};
use crate::checks::{Check, Verdict};
use crate::oracle::Best;
use crate::record::{Delivery, Ended, Kinds, NodeRecord, Record};
use crate::scenario::Scenario;

/// What came of a run. Two runs of one scenario and seed have the same, byte for byte.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// Name of the scenario.
    pub scenario: String,
    /// The seed.
    pub seed: u64,
    /// Version of this software.
    pub build: String,
    /// How many nodes.
    pub nodes: u64,
    /// Simulated time, in s.
    pub simulated_s: f64,
    /// Why the run ended.
    pub ended: Ended,
    /// Events on the queue.
    pub events: u64,
    /// How often two nodes came into reach of each other.
    pub contacts: u64,
    /// How many links came up.
    pub links: u64,
    /// Messages written.
    pub messages: u64,
    /// Messages that were due and never written: their author was never on again, or had left.
    pub unwritten: u64,
    /// Messages that were not written because there was no room for them under a cap.
    pub no_room: u64,
    /// (message, member) pairs that are to have a delivery.
    pub wanted: u64,
    /// (message, member) pairs with a delivery.
    pub delivered: u64,
    /// `delivered` / `wanted`; 0 of nothing.
    pub delivery_ratio: f64,
    /// (message, member) pairs of which the author knows the delivery.
    pub acknowledged: u64,
    /// From writing until a member has it stored; from joining, if that was later.
    pub storing: Times,
    /// From writing until it is delivered at a member.
    pub delivery: Times,
    /// From writing until it is delivered at the last member; of the messages that reached all.
    pub delivery_to_all: Times,
    /// From writing until the author knows that a peer holds it; of peers that it met.
    pub acknowledgement: Times,
    /// Bytes of all bodies written.
    pub body_bytes: u64,
    /// Bytes of all bodies delivered.
    pub delivered_bytes: u64,
    /// Bytes of all frames that went into links.
    pub wire_bytes: u64,
    /// Frames that went into links.
    pub frames: u64,
    /// Frames that links lost, as they lose frames.
    pub frames_lost: u64,
    /// Frames that were damaged on the way, and dropped.
    pub frames_corrupted: u64,
    /// Frames that came twice.
    pub frames_repeated: u64,
    /// Frames that were under way when their link ended.
    pub frames_cut_off: u64,
    /// `wire_bytes` over `delivered_bytes`.
    pub overhead: f64,
    /// What all that consists of.
    pub kinds: Kinds,
    /// Bytes sent by each node.
    pub node_bytes: Spread,
    /// Bytes sent over the links of each pair that had one, in both directions.
    pub link_bytes: Spread,
    /// MESSAGE records sent, for each delivery.
    pub sends_per_delivery: f64,
    /// The least that this can be on these links: 1, and as many more as links lose frames.
    pub sends_lower_bound: f64,
    /// MESSAGE records received by somebody who had the message.
    pub duplicates: u64,
    /// How often talk went forth and back on each link, while it was up: the longest chain of frames of which each
    /// was sent after the one before had arrived.
    pub rounds: Spread,
    /// Messages that waited for dependencies.
    pub parking: Parking,
    /// Memory for what nodes know of each other.
    pub state: StateMemory,
    /// When everybody had everything.
    pub convergence: Convergence,
    /// Whether all carry and get the same.
    pub fairness: Fairness,
    /// Links that ended because an honest peer broke a rule of the wire.
    pub violations: u64,
    /// Links that ended because an adversary broke a rule of the wire.
    pub adversary_links_ended: u64,
    /// Messages of adversaries that were delivered: they are members, and may write what they like.
    pub junk_delivered: u64,
    /// How often an engine reported a dependency as missing.
    pub missing_reports: u64,
    /// How often a message did not fit through a link, because of the link's MTU.
    pub too_large: u64,
    /// Bodies that nodes let go, for lack of room or because their time was over.
    pub pruned: u64,
    /// Messages that nodes took for gone.
    pub gaps: u64,
    /// The best that any protocol could do, if the scenario asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oracle: Option<Best>,
    /// What must hold.
    pub checks: Vec<Check>,
}

/// Messages that waited for dependencies.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Parking {
    /// Deliveries that waited for a ms or more.
    pub deliveries: u64,
    /// How long they waited.
    pub time: Times,
    /// The most at one node at a time.
    pub most_at_a_node: u64,
    /// How many wait when the run ends, at all nodes.
    pub at_end: u64,
}

/// Memory for what nodes know of each other: an estimate, in bytes. 256 for each peer and group, 16 for each span of
/// positions, 48 for each message that is under way, offered, asked for or owed an acknowledgement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StateMemory {
    /// The most that was seen at each node. Nodes are looked at in turns, a few at each sample of the timeline.
    pub most: Spread,
    /// At each node at the end.
    pub end: Spread,
}

/// When everybody had everything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Convergence {
    /// Whether every member has every message.
    pub complete: bool,
    /// Since when, in s; if complete.
    pub at_s: Option<f64>,
    /// How long after the last message was written, in ms; if complete.
    pub after_last_message_ms: Option<f64>,
}

/// Jain's index: 1 if all are equal, 1/n if one has all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Fairness {
    /// Of the bytes that nodes sent.
    pub bytes_sent: f64,
    /// Of the share of what it was to have that each node got.
    pub delivery: f64,
    /// Of the mean time from writing to delivery at each node.
    pub latency: f64,
}

impl Summary {
    pub(crate) fn of(scenario: &Scenario, seed: u64, record: &Record, oracle: Option<Best>) -> Self {
        let totals = &record.totals;
        let delivered = record.deliveries.len() as u64;
        let wanted: u64 = record.messages.iter().map(|message| u64::from(message.wanted)).sum();
        let written = |message: u32| record.messages.get(message as usize);
        let waited = |until: fn(&Delivery) -> u64| {
            Times::of(record.deliveries.iter().map(|one| until(one) - one.wanted_us).collect())
        };
        let answered = record.acknowledgements.iter().map(|one| {
            one.at_us.saturating_sub(written(one.message).map_or(one.at_us, |message| message.at_us))
        });
        let delivered_bytes: u64 =
            record.deliveries.iter().filter_map(|one| written(one.message)).map(|m| u64::from(m.size)).sum();
        let to_all = record.messages.iter().filter(|m| m.wanted > 0 && m.delivered == m.wanted);
        let parked: Vec<u64> = record.waits().map(|(start, end)| end - start).collect();
        let ways = || record.links.iter().flat_map(|link| [&link.forth, &link.back]);
        let mut kinds = Kinds::default();
        ways().for_each(|way| kinds += way.sent);
        let wire_bytes = kinds.bytes();
        let frames_lost: u64 = ways().map(|way| way.lost).sum();
        let frames_corrupted = ways().map(|way| way.corrupted).sum();
        let gone = frames_lost + frames_corrupted;
        let of_nodes = |f: fn(&NodeRecord) -> u64| Spread::of(record.nodes.iter().map(f).collect());
        Self {
            scenario: scenario.name.clone(),
            seed,
            build: env!("CARGO_PKG_VERSION").to_owned(),
            nodes: record.nodes.len() as u64,
            simulated_s: record.stopped_us as f64 / 1e6,
            ended: record.ended,
            events: totals.events,
            contacts: totals.contacts,
            links: totals.links,
            messages: record.messages.len() as u64,
            unwritten: totals.unwritten,
            no_room: totals.no_room,
            wanted,
            delivered,
            delivery_ratio: ratio(delivered, wanted),
            acknowledged: record.acknowledgements.len() as u64,
            storing: waited(|one| one.stored_us),
            delivery: waited(|one| one.delivered_us),
            delivery_to_all: Times::of(to_all.map(|m| m.last_us - m.at_us).collect()),
            acknowledgement: Times::of(answered.collect()),
            body_bytes: record.messages.iter().map(|m| u64::from(m.size)).sum(),
            delivered_bytes,
            wire_bytes,
            frames: kinds.frame.records,
            frames_lost,
            frames_corrupted,
            frames_repeated: ways().map(|way| way.repeated).sum(),
            frames_cut_off: ways().map(|way| way.cut_off).sum(),
            overhead: ratio(wire_bytes, delivered_bytes),
            kinds,
            node_bytes: of_nodes(|node| node.sent.bytes()),
            link_bytes: Spread::of(
                record.links.iter().map(|link| link.forth.sent.bytes() + link.back.sent.bytes()).collect(),
            ),
            sends_per_delivery: ratio(kinds.message.records, delivered),
            sends_lower_bound: ratio(kinds.frame.records, kinds.frame.records - gone),
            duplicates: record.nodes.iter().map(|node| node.duplicates).sum(),
            rounds: Spread::of(record.rounds.clone()),
            parking: Parking {
                deliveries: parked.len() as u64,
                time: Times::of(parked),
                most_at_a_node: record.nodes.iter().map(|node| node.parked_most).max().unwrap_or_default(),
                at_end: record.parked_at_end.len() as u64,
            },
            state: StateMemory {
                most: of_nodes(|node| node.state_most),
                end: of_nodes(|node| node.state_end),
            },
            convergence: Convergence::of(record),
            fairness: Fairness::of(record),
            violations: totals.violations,
            adversary_links_ended: totals.adversary_links_ended,
            junk_delivered: totals.junk_delivered,
            missing_reports: totals.missing_reports,
            too_large: totals.too_large,
            pruned: totals.pruned,
            gaps: totals.gaps,
            oracle,
            checks: record.checks.verdicts(),
        }
    }

    /// Whether no rule was broken.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Broken)
    }
}

impl Convergence {
    fn of(record: &Record) -> Self {
        let complete = record.messages.iter().all(|m| m.delivered == m.wanted);
        let (Some(last), Some(had), true) = (
            record.messages.iter().map(|m| m.at_us).max(),
            record.messages.iter().map(|m| m.last_us).max(),
            complete,
        ) else {
            return Self { complete, at_s: None, after_last_message_ms: None };
        };
        let after = had.saturating_sub(last) as f64 / 1e3;
        Self { complete, at_s: Some(had as f64 / 1e6), after_last_message_ms: Some(after) }
    }
}

impl Fairness {
    fn of(record: &Record) -> Self {
        let sent: Vec<u64> = record.nodes.iter().map(|node| node.sent.bytes()).collect();
        let mut sums = vec![(0_u64, 0_u64); record.nodes.len()];
        for one in &record.deliveries {
            if let Some((count, us)) = sums.get_mut(one.node as usize) {
                *count += 1;
                *us += one.delivered_us - one.wanted_us;
            }
        }
        // Shares in millionths, so that whole numbers are summed.
        let shares = sums.iter().zip(&record.wanted_of).filter(|(_, wanted)| **wanted > 0);
        let shares: Vec<u64> = shares.map(|((count, _), wanted)| count * 1_000_000 / wanted).collect();
        let means: Vec<u64> =
            sums.iter().filter(|(count, _)| *count > 0).map(|(count, us)| us / count).collect();
        Self { bytes_sent: jain(&sent), delivery: jain(&shares), latency: jain(&means) }
    }
}
