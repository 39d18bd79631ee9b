//! What is looked at while a run goes on, and at its end.

use hedgerow_sync_core::{EngineError, MemoryStore, Status, Store as _};

use super::World;
use crate::checks::{Checks, Rule};
use crate::plan::Plan;
use crate::record::{Happening, Parked, number};
use crate::units::Span;

/// A link that was idle for so long has nothing more to say.
const IDLE: Span = Span::from_s(30);

/// Bytes of memory that a peer's state in a group, a span of positions, and something outstanding take, about.
const PAIR: u64 = 256;
const SPAN: u64 = 16;
const OUTSTANDING: u64 = 48;

impl World<'_> {
    /// Looks at what a node keeps in memory.
    pub(super) fn look(&mut self, node: usize) {
        let Some(engine) = self.nodes.get(node).and_then(|node| node.engine.as_ref()) else { return };
        let mut state = 0;
        for one in engine.outstanding() {
            let facts =
                [one.in_flight, one.asked, one.offered, one.turned_away, one.called_back, one.acks_owed];
            state += PAIR + SPAN * one.spans + OUTSTANDING * facts.iter().sum::<u64>();
        }
        let wrong = engine.audit();
        // What is told of all peers takes long, and matters under caps only.
        let status = self.is_capped(node).then(|| engine.status());
        let checks = &mut self.record.checks;
        checks.expect(Rule::BoundedMemory, wrong.is_empty(), || {
            format!("node {node}: {}", wrong.first().map_or("", String::as_str))
        });
        if let Some(status) = status {
            expect_caps(checks, node, &status);
        }
        if let Some(record) = self.record.nodes.get_mut(node) {
            record.state_most = record.state_most.max(state);
            record.state_end = state;
        }
    }

    /// Whether a node may not keep everything.
    fn is_capped(&self, node: usize) -> bool {
        self.scenario.engine.max_group_bytes.is_some()
            || self.plan.storage.get(node).is_some_and(Option::is_some)
    }

    /// Counts and checks what is left at the end.
    pub(super) fn finish(&mut self) -> Result<(), EngineError> {
        self.note_stillness(self.now);
        self.check_convergence();
        for at in 0..self.conns.len() {
            if let Some(conn) = self.conns.get_mut(at).and_then(Option::take) {
                self.account(&conn);
            }
        }
        for node in 0..self.nodes.len() {
            self.finish_node(node)?;
        }
        self.check_acknowledged()?;
        self.check_silence();
        let record = &mut self.record;
        record.totals.unwritten += self.nodes.iter().map(|node| node.unsaid_count()).sum::<u64>();
        record.checks.expect(Rule::Conformance, true, String::new);
        let links_up = self.links_up;
        record.finish(self.now, self.nodes_on, links_up);
        Ok(())
    }

    fn finish_node(&mut self, node: usize) -> Result<(), EngineError> {
        if let Some(record) = self.record.nodes.get_mut(node) {
            record.state_end = 0;
        }
        self.look(node);
        let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
        if let Some(engine) = &mut state.engine {
            engine.commit()?;
            let traffic = engine.traffic();
            let on_us = self.now - state.on_since();
            if let Some(record) = self.record.nodes.get_mut(node) {
                record.on_us += on_us;
                record.duplicates += traffic.duplicates_in;
                record.refused += traffic.refused;
            }
        }
        if state.liar.is_some() {
            return Ok(());
        }
        let Some(state) = self.nodes.get(node) else { return Ok(()) };
        let Some(store) = disk(state.engine.as_ref().map(|engine| engine.store()), state.store.as_ref())
        else {
            return Ok(());
        };
        // What it delivered is there, unless its disk was replaced.
        let mut lost = Vec::new();
        let mut looked = 0;
        for (message, record) in self.record.held(node) {
            looked += 1;
            let row = store.find(&record.id)?;
            if !row.is_some_and(|row| row.state.is_delivered()) {
                lost.push(message);
            }
        }
        let parked = self.parked(node, store)?;
        for _ in 0..looked - lost.len() {
            self.record.checks.expect(Rule::NoLoss, true, String::new);
        }
        for message in lost {
            let case = || format!("node {node} delivered message {message}, and does not have it");
            self.record.checks.expect(Rule::NoLoss, false, case);
        }
        for one in &parked {
            let what = Happening::Stored { message: one.message, node: one.node };
            self.record.note(one.stored_us, what);
        }
        self.record.parked_at_end.extend(parked);
        Ok(())
    }

    /// What is stored at a node and not delivered.
    fn parked(&self, node: usize, store: &MemoryStore) -> Result<Vec<Parked>, EngineError> {
        let mut parked = Vec::new();
        let waits = |plan: &Plan| -> Result<bool, EngineError> {
            // Few nodes have any: their counts say so.
            let engine = self.nodes.get(node).and_then(|node| node.engine.as_ref());
            Ok(match engine {
                Some(engine) => engine.status().groups.iter().any(|group| group.waiting + group.early > 0),
                None => !plan.groups.is_empty(),
            })
        };
        if !waits(self.plan)? {
            return Ok(parked);
        }
        for (message, record) in (0_usize..).zip(&self.record.messages) {
            let message = number(message);
            if self.record.has_delivered(node, message) {
                continue;
            }
            if let Some(row) =
                store.find(&record.id)?.filter(|row| row.state.has_body() && !row.state.is_delivered())
            {
                let stored_us =
                    self.world_us(node, row.arrived).clamp(record.at_us, self.now.max(record.at_us));
                parked.push(Parked { message, node: number(node), stored_us });
            }
        }
        Ok(parked)
    }

    /// What was acknowledged is held by who acknowledged it.
    fn check_acknowledged(&mut self) -> Result<(), EngineError> {
        let mut cases = Vec::new();
        for one in &self.record.acknowledgements {
            let Some(state) = self.nodes.get(one.peer as usize).filter(|state| !state.has_lost) else {
                continue;
            };
            let Some(record) = self.record.messages.get(one.message as usize) else { continue };
            let Some(store) = disk(state.engine.as_ref().map(|e| e.store()), state.store.as_ref()) else {
                continue;
            };
            let left = !state.groups.contains(&(record.group as usize));
            cases.push((*one, left || store.find(&record.id)?.is_some()));
        }
        for (one, holds) in cases {
            self.record.checks.expect(Rule::NoLoss, holds, || {
                format!("node {} acknowledged message {}, and does not have it", one.peer, one.message)
            });
        }
        Ok(())
    }

    /// Nodes whose link is idle hold the same.
    fn check_convergence(&mut self) {
        if self.lets_go() {
            let why = "nodes let messages go, each its own: they need not hold the same";
            self.record.checks.untested(Rule::Convergence, why);
            return;
        }
        let mut pairs = Vec::new();
        for (a, node) in self.nodes.iter().enumerate() {
            for (&b, &conn) in node.open.range(a + 1..) {
                let quiet = self.conns.get(conn).and_then(Option::as_ref).map(|conn| conn.quiet_since());
                let honest = !self.record.is_adversary(a) && !self.record.is_adversary(b);
                let answers = !self.links_of(a, b).simplex;
                if honest && answers && quiet.is_some_and(|at| at + IDLE.us() <= self.now) {
                    pairs.push((a, b));
                }
            }
        }
        for (a, b) in pairs {
            let (Some(one), Some(other)) = (self.nodes.get(a), self.nodes.get(b)) else { continue };
            let both: Vec<usize> = one.groups.intersection(&other.groups).copied().collect();
            for group in both {
                let differ = self.record.difference(group, a, b);
                self.record.checks.expect(Rule::Convergence, differ.is_empty(), || {
                    format!(
                        "the link of nodes {a} and {b} is idle, and one of them lacks messages {differ:?}"
                    )
                });
            }
        }
        let why = "no link was idle when the run ended";
        self.record.checks.untested(Rule::Convergence, why);
    }

    /// Whether nodes let messages go.
    pub(super) fn lets_go(&self) -> bool {
        self.plan.storage.iter().any(Option::is_some)
            || self.scenario.engine.max_group_bytes.is_some()
            || self.scenario.groups.iter().any(|group| group.lifetime.is_some())
    }

    fn check_silence(&mut self) {
        if self.lets_go() {
            let why = "with time there is room again for what there was none for";
            self.record.checks.untested(Rule::Silence, why);
        } else if !self.plan.adversaries.is_empty() {
            self.record.checks.untested(Rule::Silence, "adversaries are never silent");
        } else if self.scenario.links.any_simplex() {
            let why = "what nobody can acknowledge is said again";
            self.record.checks.untested(Rule::Silence, why);
        } else if self.was_still {
            self.record.checks.expect(Rule::Silence, true, String::new);
        } else {
            let why = "something was always going on: a contact, a message, a fault";
            self.record.checks.untested(Rule::Silence, why);
        }
    }
}

fn disk<'a>(on: Option<&'a MemoryStore>, off: Option<&'a MemoryStore>) -> Option<&'a MemoryStore> {
    on.or(off)
}

fn expect_caps(checks: &mut Checks, node: usize, status: &Status) {
    checks.expect(Rule::BoundedMemory, status.bytes <= status.max_bytes, || {
        format!("node {node} holds {} bytes under a cap of {}", status.bytes, status.max_bytes)
    });
    for group in &status.groups {
        checks.expect(Rule::BoundedMemory, group.bytes <= group.max_bytes, || {
            format!("node {node} holds {} bytes of a group under a cap of {}", group.bytes, group.max_bytes)
        });
    }
}
