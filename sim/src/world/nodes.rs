//! Devices: their engine, clock and disk, and what they read and write.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hedgerow_sync_core::proto::{GroupDescriptor, GroupId, PeerId, Visibility};
use hedgerow_sync_core::{Config, Draft, Engine, EngineError, Event, LinkId, LinkProfile, MemoryStore, Time};
use rand::RngExt as _;

use super::carrier::profile_of;
use super::{What, World};
use crate::plan::Plan;
use crate::random::stream;
use crate::scenario::Scenario;

/// When every run begins, in ms since 1970-01-01 UTC.
const START_MS: u64 = 1_700_000_000_000;

/// A device.
pub(super) struct Node {
    /// While it is on.
    pub(super) engine: Option<Engine<MemoryStore>>,
    /// Its disk, while it is off.
    store: Option<MemoryStore>,
    backup: Option<MemoryStore>,
    pub(super) profile: LinkProfile,
    /// The link's number in the world, and which end of it this is.
    pub(super) links: BTreeMap<LinkId, (usize, usize)>,
    skew_ms: i64,
    /// When its timer event is queued, in us.
    timer: Option<u64>,
    /// How often it was started: engines get new randomness each time.
    starts: u64,
    /// The groups it is in, by their place in the plan.
    groups: BTreeSet<usize>,
    /// Peers that it shares its groups with.
    peers: BTreeSet<usize>,
}

/// The id of a node.
pub(super) fn peer_of(node: usize) -> PeerId {
    let mut bytes = [0_u8; 32];
    for (to, from) in bytes.iter_mut().zip((node as u64 + 1).to_be_bytes()) {
        *to = from;
    }
    PeerId::from_bytes(bytes)
}

fn descriptor(name: &str) -> Option<GroupDescriptor> {
    GroupDescriptor::new("hedgerow.sim", 1, name.into()).ok()
}

fn config_of(scenario: &Scenario) -> Config {
    let mut config = Config::default();
    let limits = &scenario.engine;
    config.max_parked_messages = limits.max_parked_messages.unwrap_or(config.max_parked_messages);
    config.max_offers = limits.max_offers.unwrap_or(config.max_offers);
    config.max_requests = limits.max_requests.unwrap_or(config.max_requests);
    config.max_in_flight_bytes = limits.max_in_flight_bytes.unwrap_or(config.max_in_flight_bytes);
    config.request_timeout_ms = limits.request_timeout.map_or(config.request_timeout_ms, |span| span.ms());
    config.max_probe_ms = limits.max_probe.map_or(config.max_probe_ms, |span| span.ms());
    config
}

impl Node {
    /// A device that is off, with an empty disk.
    pub(super) fn new(
        scenario: &Scenario,
        plan: &Plan,
        _seed: u64,
        node: usize,
    ) -> Result<Self, EngineError> {
        let groups = plan.groups.iter().enumerate().filter(|(_, (_, members))| members.contains(&node));
        Ok(Self {
            engine: None,
            store: Some(MemoryStore::new()),
            backup: None,
            profile: profile_of(scenario),
            links: BTreeMap::new(),
            skew_ms: plan.skew_ms.get(node).copied().unwrap_or_default(),
            timer: None,
            starts: 0,
            groups: groups.map(|(index, _)| index).collect(),
            peers: BTreeSet::new(),
        })
    }
}

impl World<'_> {
    /// The time on a node's own clock.
    pub(super) fn local(&self, node: usize) -> Time {
        let skew = self.nodes.get(node).map_or(0, |node| node.skew_ms);
        Time((START_MS + self.now / 1_000).saturating_add_signed(skew))
    }

    /// Switches a node on or off. Off is off: what was not committed is lost, and the others are not told.
    pub(super) fn power(&mut self, node: usize, on: bool) -> Result<(), EngineError> {
        let now = self.local(node);
        if on {
            let config = config_of(self.scenario);
            let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
            let Some(store) = state.store.take() else { return Ok(()) };
            let mut seed = [0_u8; 32];
            stream(self.seed, "engine", node as u64 | (state.starts << 32)).fill(&mut seed);
            state.starts += 1;
            let mut engine = Engine::open(store, config, seed, now)?;
            for &group in &state.groups {
                let name = self.plan.groups.get(group).map(|(name, _)| name.as_str()).unwrap_or_default();
                if let Some(descriptor) = descriptor(name) {
                    engine.add_group(&descriptor, false)?;
                }
            }
            engine.commit()?;
            state.engine = Some(engine);
            self.record.power_ups += 1;
            self.meet_all(node);
            return self.touch(node);
        }
        let open: Vec<(usize, usize)> =
            self.open.keys().copied().filter(|&(a, b)| a == node || b == node).collect();
        if let Some(state) = self.nodes.get_mut(node)
            && let Some(engine) = state.engine.take()
        {
            self.record.traffic_of(node, &engine.traffic());
            let mut store = engine.into_store();
            store.crash();
            state.store = Some(store);
            state.links.clear();
            state.timer = None;
        }
        open.into_iter().try_for_each(|(a, b)| self.disconnect(a, b))
    }

    pub(super) fn lose_disk(&mut self, node: usize) -> Result<(), EngineError> {
        self.swap_disk(node, MemoryStore::new())
    }

    pub(super) fn back_up(&mut self, node: usize) {
        if let Some(state) = self.nodes.get_mut(node) {
            state.backup = match &state.engine {
                Some(engine) => Some(engine.store().clone()),
                None => state.store.clone(),
            };
        }
    }

    pub(super) fn restore(&mut self, node: usize) -> Result<(), EngineError> {
        match self.nodes.get_mut(node).and_then(|state| state.backup.take()) {
            Some(backup) => self.swap_disk(node, backup),
            None => Ok(()),
        }
    }

    fn swap_disk(&mut self, node: usize, store: MemoryStore) -> Result<(), EngineError> {
        let was_on = self.nodes.get(node).is_some_and(|state| state.engine.is_some());
        self.power(node, false)?;
        if let Some(state) = self.nodes.get_mut(node) {
            state.store = Some(store);
            state.peers.clear();
        }
        self.record.forget(node);
        if was_on { self.power(node, true) } else { Ok(()) }
    }

    /// Two nodes that meet share the groups that both are in.
    pub(super) fn share(&mut self, a: usize, b: usize) -> Result<(), EngineError> {
        let both: Vec<GroupId> = {
            let (Some(one), Some(other)) = (self.nodes.get(a), self.nodes.get(b)) else { return Ok(()) };
            let names =
                one.groups.intersection(&other.groups).filter_map(|group| self.plan.groups.get(*group));
            names.filter_map(|(name, _)| Some(descriptor(name)?.id())).collect()
        };
        for (node, other) in [(a, b), (b, a)] {
            let Some(state) = self.nodes.get_mut(node) else { continue };
            if let Some(engine) = &mut state.engine
                && state.peers.insert(other)
            {
                for &group in &both {
                    engine.set_visibility(peer_of(other), group, Visibility::Shared)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn tick(&mut self, node: usize) -> Result<(), EngineError> {
        let now = self.local(node);
        let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
        if state.timer.take_if(|at| *at <= self.now).is_none() {
            // It was queued for an engine that is gone, or moved.
            return Ok(());
        }
        if let Some(engine) = &mut state.engine {
            engine.handle_timeout(now)?;
        }
        self.touch(node)
    }

    pub(super) fn write(&mut self, node: usize, group: usize, size: usize) -> Result<(), EngineError> {
        let now = self.local(node);
        let Some(name) = self.plan.groups.get(group).map(|(name, _)| name.as_str()) else { return Ok(()) };
        let Some(descriptor) = descriptor(name) else { return Ok(()) };
        let said = self.record.said();
        let mut body = vec![0_u8; size];
        // Bodies do not compress, and no two messages are the same.
        stream(self.seed, "body", said as u64).fill(body.as_mut_slice());
        let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
        let Some(engine) = &mut state.engine else {
            // It is off: the user writes when it is on again.
            let next = self.plan.windows.get(node).and_then(|windows| {
                windows.iter().map(|window| window.start.us()).find(|start| *start > self.now)
            });
            match next {
                Some(at) => {
                    self.record.answers_due += 1;
                    self.at_us(at, What::Answer { node, group, size });
                }
                None => self.record.unwritten += 1,
            }
            return Ok(());
        };
        let deps = engine.heads(descriptor.id(), 16)?;
        let draft = Draft { timestamp_ms: now.as_timestamp_ms(), deps, body: Bytes::from(body) };
        match engine.publish(descriptor.id(), draft, now) {
            Ok(id) => self.record.wrote(id, node, group, size, self.now),
            // The body of a message is all its own, unless it is of a few bytes only.
            Err(EngineError::Exists(_)) => self.record.unwritten += 1,
            Err(error) => return Err(error),
        }
        self.touch(node)
    }

    /// Takes what a node has to say after something happened to it: events, frames, its next timer.
    pub(super) fn touch(&mut self, node: usize) -> Result<(), EngineError> {
        self.drain(node)?;
        loop {
            let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
            let Some(link) = state.engine.as_mut().and_then(Engine::poll_link) else { break };
            if let Some(&(conn, end)) = state.links.get(&link) {
                self.pull(conn, end)?;
            }
        }
        let local = self.local(node);
        let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
        let next = state.engine.as_ref().and_then(Engine::poll_timeout);
        if let Some(next) = next {
            let at = self.now + next.since(local).saturating_mul(1_000);
            // On the engine's own scale of ms.
            let at = at - at % 1_000 + if at.is_multiple_of(1_000) { 0 } else { 1_000 };
            if state.timer.is_none_or(|queued| at < queued) {
                state.timer = Some(at);
                self.at_us(at, What::Timer(node));
            }
        }
        Ok(())
    }

    fn drain(&mut self, node: usize) -> Result<(), EngineError> {
        loop {
            let Some(engine) = self.nodes.get_mut(node).and_then(|state| state.engine.as_mut()) else {
                return Ok(());
            };
            let Some(event) = engine.poll_event()? else { return Ok(()) };
            match event {
                Event::Delivered { group, first, last } => {
                    let mut fresh = Vec::new();
                    for position in first..=last {
                        if let Some(entry) = engine.entry(group, position)? {
                            fresh.push((position, entry));
                        }
                    }
                    for (position, entry) in fresh {
                        let news = self.record.delivered(node, group, &entry, position, self.now);
                        if let Some(group) = news {
                            self.consider_answer(node, group);
                        }
                    }
                }
                Event::PeerHas { peer, group, .. } => {
                    let held = |position| engine.is_held_by(peer, group, position);
                    self.record.peer_has(node, peer, group, self.now, held);
                }
                Event::Missing { .. } => self.record.missing_reports += 1,
                _ => {}
            }
        }
    }

    /// What is left to be counted at the end.
    pub(super) fn finish(&mut self) -> Result<(), EngineError> {
        for node in 0..self.nodes.len() {
            let Some(state) = self.nodes.get_mut(node) else { continue };
            let Some(engine) = &mut state.engine else { continue };
            engine.commit()?;
            self.record.traffic_of(node, &engine.traffic());
            let waiting: u64 = engine.status().groups.iter().map(|group| group.waiting).sum();
            self.record.waiting_at_end += waiting;
        }
        self.record.stopped_us = self.now;
        Ok(())
    }
}
