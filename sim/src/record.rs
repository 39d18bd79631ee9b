//! What happened in a run, as far as it is measured, and what must hold of it.

use std::collections::{BTreeMap, HashMap, HashSet};

use hedgerow_sync_core::proto::{GroupId, MessageId, PeerId};
use hedgerow_sync_core::{Entry, Traffic};

use crate::plan::Plan;

/// A message that was written.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) author: usize,
    pub(crate) group: usize,
    pub(crate) size: usize,
    /// In us.
    pub(crate) at: u64,
    /// Members that did not have it so far.
    pub(crate) lacking: usize,
    /// When the last of them had it, in us.
    pub(crate) last: u64,
}

/// A message reached a member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reached {
    pub(crate) message: u32,
    pub(crate) node: u32,
    /// Since it was written, in us.
    pub(crate) after: u64,
}

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) rule: &'static str,
    pub(crate) what: String,
}

/// Counts and times of a run.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) events: u64,
    pub(crate) contacts: u64,
    pub(crate) links: u64,
    pub(crate) power_ups: u64,
    pub(crate) violations: u64,
    pub(crate) frames_lost: u64,
    pub(crate) missing_reports: u64,
    pub(crate) waiting_at_end: u64,
    /// Drafts that were never written: their author was never on again.
    pub(crate) unwritten: u64,
    pub(crate) drafts_left: usize,
    pub(crate) answers_due: usize,
    /// (message, member) pairs without a delivery.
    pub(crate) undelivered: usize,
    /// (message, peer) pairs that the author does not know to be held; of peers it met.
    pub(crate) unacknowledged: usize,
    pub(crate) stopped_us: u64,
    pub(crate) came_to_rest: bool,
    pub(crate) interrupted: bool,
    pub(crate) messages: Vec<Said>,
    pub(crate) reached: Vec<Reached>,
    /// From writing to the author's knowing that a member holds it, in us.
    pub(crate) acknowledged: Vec<u64>,
    pub(crate) traffic: Vec<Traffic>,
    /// Frames and bytes, by pair of nodes and direction.
    pub(crate) wires: BTreeMap<(usize, usize), [(u64, u64); 2]>,
    pub(crate) broken: Vec<Broken>,
    pub(crate) broken_count: u64,
    /// What was delivered by a node before it lost its disk: (message << 32 | node).
    again: HashSet<u64>,
    members: Vec<usize>,
    ids: HashMap<MessageId, u32>,
    /// Which messages each node has delivered, as bits by message.
    has: Vec<Vec<u64>>,
    /// What each node wrote: group, position in its delivery order, message.
    own: Vec<Vec<(GroupId, u64, u32)>>,
    /// Which of them are not known to be held by a peer: how many of `own` were looked at, and those left.
    owed: HashMap<(usize, PeerId), (usize, Vec<(GroupId, u64, u32)>)>,
}

/// So many broken rules are kept in words.
const KEPT: usize = 100;

impl Record {
    pub(crate) fn new(plan: &Plan) -> Self {
        let nodes = plan.windows.len();
        Self {
            events: 0,
            contacts: 0,
            links: 0,
            power_ups: 0,
            violations: 0,
            frames_lost: 0,
            missing_reports: 0,
            waiting_at_end: 0,
            unwritten: 0,
            drafts_left: plan.drafts.len(),
            answers_due: 0,
            undelivered: 0,
            unacknowledged: 0,
            stopped_us: 0,
            came_to_rest: false,
            interrupted: false,
            messages: Vec::new(),
            reached: Vec::new(),
            acknowledged: Vec::new(),
            traffic: vec![Traffic::default(); nodes],
            wires: BTreeMap::new(),
            broken: Vec::new(),
            broken_count: 0,
            again: HashSet::new(),
            members: plan.groups.iter().map(|(_, members)| members.len()).collect(),
            ids: HashMap::new(),
            has: vec![Vec::new(); nodes],
            own: vec![Vec::new(); nodes],
            owed: HashMap::new(),
        }
    }

    /// A message was written.
    pub(crate) fn wrote(&mut self, id: MessageId, author: usize, group: usize, size: usize, now: u64) {
        let message = u32::try_from(self.messages.len()).unwrap_or(u32::MAX);
        let others = self.members.get(group).map_or(0, |members| members.saturating_sub(1));
        self.undelivered += others;
        self.unacknowledged += others;
        self.ids.insert(id, message);
        self.messages.push(Said { author, group, size, at: now, lacking: others, last: now });
    }

    /// A message is in a node's delivery order. Gives back its group if it came from another.
    pub(crate) fn delivered(
        &mut self,
        node: usize,
        group: GroupId,
        entry: &Entry,
        position: u64,
        now: u64,
    ) -> Option<usize> {
        let Some(&message) = self.ids.get(&entry.id) else {
            self.break_rule("nothing is made up", format!("node {node} delivered {:?}", entry.id));
            return None;
        };
        if self.holds(node, message) {
            self.break_rule("nothing is delivered twice", format!("node {node}, message {message}"));
            return None;
        }
        for dep in &entry.deps {
            if !self.ids.get(dep).is_some_and(|&dep| self.holds(node, dep)) {
                self.break_rule("dependencies come first", format!("node {node}, message {message}"));
            }
        }
        self.set(node, message);
        let said = self.messages.get_mut(message as usize)?;
        if said.author == node {
            if let Some(own) = self.own.get_mut(node) {
                own.push((group, position, message));
            }
            return None;
        }
        let key = u64::from(message) << 32 | node as u64;
        if self.again.contains(&key) {
            return None;
        }
        let after = now - said.at;
        said.lacking = said.lacking.saturating_sub(1);
        said.last = now;
        self.undelivered = self.undelivered.saturating_sub(1);
        self.reached.push(Reached { message, node: u32::try_from(node).unwrap_or(u32::MAX), after });
        Some(said.group)
    }

    /// A peer is known to hold more of what a node wrote.
    pub(crate) fn peer_has(
        &mut self,
        node: usize,
        peer: PeerId,
        group: GroupId,
        now: u64,
        held: impl Fn(u64) -> bool,
    ) {
        let Some(own) = self.own.get(node) else { return };
        let (seen, owed) = self.owed.entry((node, peer)).or_default();
        owed.extend(own.iter().skip(*seen));
        *seen = own.len();
        owed.retain(|&(of, position, message)| {
            if of != group || !held(position) {
                return true;
            }
            let at = self.messages.get(message as usize).map_or(now, |said| said.at);
            self.acknowledged.push(now - at);
            self.unacknowledged = self.unacknowledged.saturating_sub(1);
            false
        });
    }

    /// A node's disk was replaced: what it delivered, it may deliver again.
    pub(crate) fn forget(&mut self, node: usize) {
        if let Some(has) = self.has.get_mut(node) {
            for (word, bits) in has.iter().enumerate() {
                let of_word = (0..64).filter(|bit| bits >> bit & 1 == 1);
                self.again.extend(of_word.map(|bit| (word as u64 * 64 + bit) << 32 | node as u64));
            }
            has.clear();
        }
        if let Some(own) = self.own.get_mut(node) {
            own.clear();
        }
        self.owed.retain(|(of, _), _| *of != node);
    }

    /// What crossed a node's links until it went off.
    pub(crate) fn traffic_of(&mut self, node: usize, traffic: &Traffic) {
        if let Some(sum) = self.traffic.get_mut(node) {
            *sum += *traffic;
        }
    }

    /// A frame went into a link between two nodes, from the end of this number.
    pub(crate) fn sent(&mut self, a: usize, b: usize, end: usize, bytes: usize) {
        if let Some((frames, sum)) = self.wires.entry((a, b)).or_default().get_mut(end) {
            *frames += 1;
            *sum += bytes as u64;
        }
    }

    /// A rule does not hold.
    pub(crate) fn break_rule(&mut self, rule: &'static str, what: String) {
        self.broken_count += 1;
        if self.broken.len() < KEPT {
            self.broken.push(Broken { rule, what });
        }
    }

    fn holds(&self, node: usize, message: u32) -> bool {
        let word = self.has.get(node).and_then(|has| has.get(message as usize / 64));
        word.is_some_and(|word| word >> (message % 64) & 1 == 1)
    }

    fn set(&mut self, node: usize, message: u32) {
        let Some(has) = self.has.get_mut(node) else { return };
        let word = message as usize / 64;
        if has.len() <= word {
            has.resize(word + 1, 0);
        }
        if let Some(word) = has.get_mut(word) {
            *word |= 1 << (message % 64);
        }
    }

    /// How many messages were written.
    pub(crate) fn said(&self) -> usize {
        self.messages.len()
    }
}
