//! Devices: their engine, clock and disk, and what they read and write.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use hedgerow_sync_core::proto::{GroupDescriptor, GroupId, Message, PeerId, Visibility};
use hedgerow_sync_core::{
    Config, Draft, Engine, EngineError, Event, LinkId, MemoryStore, MessageFacts, Time, Verdict,
};
use rand::RngExt as _;

use super::liar::{Liar, author_of_junk};
use super::{What, World};
use crate::plan::{Change, DEP_ROOM, Plan, message_room};
use crate::random::stream;
use crate::record::{Happening, Writing, number, number_of};
use crate::scenario::Scenario;

/// When every run begins, in ms since 1970-01-01 UTC.
const START_MS: u64 = 1_700_000_000_000;

/// So many dependencies a client names at most.
const MAX_DEPS: usize = 16;

/// A device.
pub(super) struct Node {
    /// While it is on.
    pub(super) engine: Option<Engine<MemoryStore>>,
    /// Its disk, while it is off.
    pub(super) store: Option<MemoryStore>,
    backup: Option<MemoryStore>,
    config: Config,
    /// Each link's number in the world, which end of it this is, and who is at the other.
    pub(super) links: BTreeMap<LinkId, (usize, usize, usize)>,
    /// Whom it can hear.
    pub(super) near: BTreeSet<usize>,
    /// To whom it has a link, with its number in the world.
    pub(super) open: BTreeMap<usize, usize>,
    skew_ms: i64,
    /// Whether it is to be on, if it does not crash.
    pub(super) is_awake: bool,
    /// How many crashes keep it off.
    pub(super) crashes: usize,
    on_since: u64,
    /// When its timer event is queued, in us.
    timer: Option<u64>,
    /// How often it was started: engines get new randomness each time.
    starts: u64,
    /// The groups it is in, by their place in the plan.
    pub(super) groups: BTreeSet<usize>,
    /// Which groups it shares with whom: the peer, and the group by its place in the plan.
    shared: BTreeSet<(usize, usize)>,
    /// What is to be written when it is on again: group and size.
    unsaid: Vec<(usize, usize)>,
    /// What makes it an adversary.
    pub(super) liar: Option<Box<Liar>>,
    /// Its disk was replaced: what it had is lost for other reasons than the protocol.
    pub(super) has_lost: bool,
}

impl Node {
    /// Since when it is on, in us.
    pub(super) fn on_since(&self) -> u64 {
        self.on_since
    }

    /// How many messages its user could not write.
    pub(super) fn unsaid_count(&self) -> u64 {
        self.unsaid.len() as u64
    }
}

/// All devices, off, with empty disks.
pub(super) fn of_plan(scenario: &Scenario, plan: &Plan, seed: u64) -> Vec<Node> {
    let mut groups = vec![BTreeSet::new(); plan.windows.len()];
    for (index, (_, members)) in plan.groups.iter().enumerate() {
        for member in members {
            if let Some(groups) = groups.get_mut(*member) {
                groups.insert(index);
            }
        }
    }
    let nodes = groups.into_iter().enumerate().map(|(node, groups)| Node {
        engine: None,
        store: Some(MemoryStore::new()),
        backup: None,
        config: config_of(scenario, plan.storage.get(node).copied().flatten()),
        links: BTreeMap::new(),
        near: BTreeSet::new(),
        open: BTreeMap::new(),
        skew_ms: plan.skew_ms.get(node).copied().unwrap_or_default(),
        is_awake: false,
        crashes: 0,
        on_since: 0,
        timer: None,
        starts: 0,
        groups,
        shared: BTreeSet::new(),
        unsaid: Vec::new(),
        liar: plan.adversaries.get(&node).map(|lies| Box::new(Liar::new(node, lies, seed))),
        has_lost: false,
    });
    nodes.collect()
}

/// The id of a node.
pub(super) fn peer_of(node: usize) -> PeerId {
    let mut bytes = [0_u8; 32];
    for (to, from) in bytes.iter_mut().zip((node as u64 + 1).to_be_bytes()) {
        *to = from;
    }
    PeerId::from_bytes(bytes)
}

/// Which node has an id.
fn node_of(peer: &PeerId) -> usize {
    let number = peer.as_bytes().first_chunk().map_or(0, |start| u64::from_be_bytes(*start));
    usize::try_from(number.saturating_sub(1)).unwrap_or(usize::MAX)
}

/// A group as engines know it.
#[derive(Debug, Clone)]
pub(super) struct Known {
    descriptor: GroupDescriptor,
    id: GroupId,
    /// Whether its messages are judged: where the client has something to say of them.
    judged: bool,
}

/// The groups of a plan, by their place there.
pub(super) fn groups_of(scenario: &Scenario, plan: &Plan) -> Vec<Option<Known>> {
    let capped = plan.storage.iter().any(Option::is_some) || scenario.engine.max_group_bytes.is_some();
    let groups = plan.groups.iter().enumerate().map(|(index, (name, _))| {
        let descriptor = GroupDescriptor::new("hedgerow.sim", 1, name.clone().into()).ok()?;
        let judged = capped || scenario.groups.get(index).is_some_and(|group| group.lifetime.is_some());
        Some(Known { id: descriptor.id(), descriptor, judged })
    });
    groups.collect()
}

fn config_of(scenario: &Scenario, storage: Option<u64>) -> Config {
    let mut config = Config::default();
    let limits = &scenario.engine;
    config.max_parked_messages = limits.max_parked_messages.unwrap_or(config.max_parked_messages);
    config.max_offers = limits.max_offers.unwrap_or(config.max_offers);
    config.max_requests = limits.max_requests.unwrap_or(config.max_requests);
    config.max_in_flight_bytes = limits.max_in_flight_bytes.unwrap_or(config.max_in_flight_bytes);
    config.request_timeout_ms = limits.request_timeout.map_or(config.request_timeout_ms, |span| span.ms());
    config.max_probe_ms = limits.max_probe.map_or(config.max_probe_ms, |span| span.ms());
    config.horizon_patience_ms = limits.horizon_patience.map_or(config.horizon_patience_ms, |span| span.ms());
    config.max_group_bytes = limits.max_group_bytes.map_or(config.max_group_bytes, |size| size.bytes());
    config.max_store_bytes = storage.unwrap_or(config.max_store_bytes);
    config
}

impl World<'_> {
    /// The time on a node's own clock.
    pub(super) fn local(&self, node: usize) -> Time {
        let skew = self.nodes.get(node).map_or(0, |node| node.skew_ms);
        Time((START_MS + self.now / 1_000).saturating_add_signed(skew))
    }

    /// The world's time, in us, when a node's own clock shows a time.
    pub(super) fn world_us(&self, node: usize, local: Time) -> u64 {
        let skew = self.nodes.get(node).map_or(0, |node| node.skew_ms);
        local.0.saturating_add_signed(-skew).saturating_sub(START_MS).saturating_mul(1_000)
    }

    fn group(&self, group: usize) -> Option<&Known> {
        self.groups.get(group)?.as_ref()
    }

    fn lifetime_ms(&self, group: usize) -> Option<i64> {
        let lifetime = self.scenario.groups.get(group)?.lifetime?;
        i64::try_from(lifetime.ms()).ok()
    }

    /// Changes whether a node is to be on, and switches it. Off is off: what was not committed is lost, and the others
    /// are not told.
    pub(super) fn switch(&mut self, node: usize, change: impl FnOnce(&mut Node)) -> Result<(), EngineError> {
        let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
        change(state);
        let on = state.is_awake && state.crashes == 0;
        if on == state.engine.is_some() { Ok(()) } else { self.power(node, on) }
    }

    fn power(&mut self, node: usize, on: bool) -> Result<(), EngineError> {
        let now = self.local(node);
        self.stir();
        if !on {
            let open: Vec<usize> =
                self.nodes.get(node).map(|node| node.open.keys().copied().collect()).unwrap_or_default();
            self.turn_off(node);
            return open.into_iter().try_for_each(|other| self.disconnect(node, other));
        }
        let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
        let Some(store) = state.store.take() else { return Ok(()) };
        let mut seed = [0_u8; 32];
        stream(self.seed, "engine", node as u64 | (state.starts << 32)).fill(&mut seed);
        state.starts += 1;
        let (config, groups) = (state.config.clone(), state.groups.clone());
        let mut engine = Engine::open(store, config, seed, now)?;
        let mut member_of = BTreeSet::new();
        for group in groups {
            if let Some(known) = self.group(group) {
                member_of.insert(engine.add_group(&known.descriptor, known.judged)?);
            }
        }
        // A backup may be older than the leaving of a group.
        for old in engine.groups().into_iter().filter(|info| !member_of.contains(&info.id)) {
            engine.remove_group(old.id)?;
        }
        engine.commit()?;
        let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
        state.engine = Some(engine);
        state.on_since = self.now;
        let unsaid = std::mem::take(&mut state.unsaid);
        self.nodes_on += 1;
        self.record.totals.power_ups += 1;
        if let Some(record) = self.record.nodes.get_mut(node) {
            record.starts += 1;
        }
        self.record.note(self.now, Happening::NodeOn { node: number(node) });
        self.answers_due -= unsaid.len();
        for (group, size) in unsaid {
            self.write(node, group, size)?;
        }
        self.meet_all(node);
        self.touch(node)
    }

    fn turn_off(&mut self, node: usize) {
        let Some(state) = self.nodes.get_mut(node) else { return };
        let Some(engine) = state.engine.take() else { return };
        let traffic = engine.traffic();
        let mut store = engine.into_store();
        store.crash();
        state.store = Some(store);
        state.links.clear();
        state.timer = None;
        let on_us = self.now - state.on_since;
        self.nodes_on -= 1;
        if let Some(record) = self.record.nodes.get_mut(node) {
            record.on_us += on_us;
            record.duplicates += traffic.duplicates_in;
            record.refused += traffic.refused;
        }
        self.record.note(self.now, Happening::NodeOff { node: number(node) });
    }

    pub(super) fn lose_disk(&mut self, node: usize) -> Result<(), EngineError> {
        self.record.note(self.now, Happening::DiskLost { node: number(node) });
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
            Some(backup) => {
                self.record.note(self.now, Happening::Restored { node: number(node) });
                self.swap_disk(node, backup)
            }
            None => Ok(()),
        }
    }

    fn swap_disk(&mut self, node: usize, store: MemoryStore) -> Result<(), EngineError> {
        self.switch(node, |state| state.crashes += 1)?;
        if let Some(state) = self.nodes.get_mut(node) {
            state.store = Some(store);
            state.shared.clear();
            state.has_lost = true;
        }
        self.record.forget(node);
        // What the backup has was delivered before it was made: its log is told as it stands.
        self.recall(node)?;
        self.switch(node, |state| state.crashes = state.crashes.saturating_sub(1))
    }

    /// Two nodes that meet share the groups that both are in.
    pub(super) fn share(&mut self, a: usize, b: usize) -> Result<(), EngineError> {
        let both: Vec<usize> = {
            let (Some(one), Some(other)) = (self.nodes.get(a), self.nodes.get(b)) else { return Ok(()) };
            one.groups.intersection(&other.groups).copied().collect()
        };
        for group in both {
            let Some(id) = self.group(group).map(|known| known.id) else { continue };
            for (node, other) in [(a, b), (b, a)] {
                let Some(state) = self.nodes.get_mut(node) else { continue };
                if let Some(engine) = &mut state.engine
                    && state.shared.insert((other, group))
                {
                    engine.set_visibility(peer_of(other), id, Visibility::Shared)?;
                }
            }
        }
        Ok(())
    }

    /// A node comes into a group, or leaves it and forgets it. Those that it has a link to see that at once, the others
    /// when they meet it.
    pub(super) fn change(&mut self, change: Change) -> Result<(), EngineError> {
        let Change { node, group, joins, .. } = change;
        self.stir();
        let Some(Known { descriptor, id, judged }) = self.group(group).cloned() else { return Ok(()) };
        let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
        let changed = if joins { state.groups.insert(group) } else { state.groups.remove(&group) };
        if !changed {
            return Ok(());
        }
        let open: Vec<usize> = state.open.keys().copied().collect();
        state.shared.retain(|(_, of)| *of != group);
        match (&mut state.engine, &mut state.store) {
            (Some(engine), _) if joins => engine.add_group(&descriptor, judged).map(drop)?,
            (Some(engine), _) => engine.remove_group(id)?,
            (None, _) if joins => {}
            (None, store) => {
                // It does so before it is switched off, so to speak.
                let disk = store.take().unwrap_or_default();
                let mut engine = Engine::open(disk, state.config.clone(), [0; 32], Time(START_MS))?;
                if engine.group(id).is_some() {
                    engine.remove_group(id)?;
                }
                engine.commit()?;
                *store = Some(engine.into_store());
            }
        }
        if joins {
            self.record.joined(node, group, self.now);
            open.iter().try_for_each(|other| self.share(node, *other))?;
        } else {
            self.record.left(node, group, self.now);
            for other in &open {
                let Some(state) = self.nodes.get_mut(*other) else { continue };
                if let Some(engine) = &mut state.engine
                    && state.shared.remove(&(node, group))
                {
                    engine.set_visibility(peer_of(node), id, Visibility::Invisible)?;
                }
            }
        }
        open.into_iter().try_for_each(|other| self.touch(other))?;
        self.touch(node)
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
        let Some(id) = self.group(group).map(|known| known.id) else { return Ok(()) };
        let (lifetime, most_deps) = (self.lifetime_ms(group), self.most_deps(size));
        let number = number(self.record.said());
        let mut body = vec![0_u8; size];
        // Bodies do not compress, and no two messages are the same.
        stream(self.seed, "body", number.into()).fill(body.as_mut_slice());
        for (to, from) in body.iter_mut().zip(number.to_le_bytes()) {
            *to = from;
        }
        let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
        if !state.groups.contains(&group) {
            self.record.totals.unwritten += 1;
            return Ok(());
        }
        let Some(engine) = &state.engine else {
            // It is off: the user writes when it is on again.
            let windows = self.plan.windows.get(node).into_iter().flatten();
            let later = windows.into_iter().any(|window| window.start.us() > self.now);
            if later || (state.crashes > 0 && state.is_awake) {
                state.unsaid.push((group, size));
                self.answers_due += 1;
            } else {
                self.record.totals.unwritten += 1;
            }
            return Ok(());
        };
        self.stirred_us = self.now;
        let timestamp_ms = now.as_timestamp_ms();
        let deps = engine.heads(id, most_deps)?;
        let draft = Draft { timestamp_ms, deps, body: Bytes::from(body) };
        let expires_ms = lifetime.map(|ms| timestamp_ms.saturating_add(ms));
        let facts = MessageFacts { author: Some(author_key(node)), expires_ms };
        let Some(engine) = self.nodes.get_mut(node).and_then(|node| node.engine.as_mut()) else {
            return Ok(());
        };
        match engine.publish_with(id, draft, facts, now) {
            Ok(id) => self.record.wrote(&Writing { id, node, group, size }, self.now),
            Err(EngineError::NoRoom { .. }) => self.record.totals.no_room += 1,
            Err(error) => return Err(error),
        }
        self.touch(node)
    }

    /// How many dependencies a message names: as many as a client would, and no more than go through the narrowest link
    /// together with its body.
    fn most_deps(&self, size: usize) -> usize {
        let all = self.scenario.links.exceptions.iter().map(|one| &one.links).chain([&self.scenario.links]);
        let room = all.map(message_room).min().unwrap_or_default().saturating_sub(size);
        (room / DEP_ROOM).clamp(1, MAX_DEPS)
    }

    /// Takes what a node has to say after something happened to it: events, frames, its next timer.
    pub(super) fn touch(&mut self, node: usize) -> Result<(), EngineError> {
        self.drain(node)?;
        loop {
            let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
            let Some(link) = state.engine.as_mut().and_then(Engine::poll_link) else { break };
            if let Some(&(conn, end, _)) = state.links.get(&link) {
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
        let now = self.local(node);
        loop {
            let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
            let Some(engine) = &mut state.engine else { return Ok(()) };
            let Some(event) = engine.poll_event()? else { return Ok(()) };
            match event {
                Event::Validate { id, message } => {
                    let verdict = self.judge(&message);
                    let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
                    if let Some(engine) = &mut state.engine {
                        engine.judge(id, verdict, now)?;
                    }
                }
                // What becomes of adversaries does not matter.
                _ if state.liar.is_some() => {}
                Event::Delivered { group, first, last } => self.take_deliveries(node, group, first, last)?,
                Event::PeerHas { peer, group, .. } => {
                    let held = |position| engine.is_held_by(peer, group, position);
                    self.record.peer_has(node, node_of(&peer), group, self.now, held);
                }
                Event::Missing { .. } => {
                    self.record.totals.missing_reports += 1;
                    self.record.note(self.now, Happening::Missing { node: number(node) });
                }
                Event::Pruned { positions, .. } => {
                    // There is room for what there was none for.
                    self.stirred_us = self.now;
                    self.record.totals.pruned += positions.iter().map(|span| span.count()).sum::<u64>();
                }
                Event::TooLarge { .. } => self.record.totals.too_large += 1,
                Event::HistoryGap { .. } => self.record.totals.gaps += 1,
                _ => {}
            }
        }
    }

    /// What the client says of a message. Of which author it is, is certain: signatures would say it.
    fn judge(&self, message: &Message) -> Verdict {
        let written = number_of(message.body()).and_then(|number| self.record.messages.get(number as usize));
        let junk = || author_of_junk(message.body());
        let author = written.map(|record| record.author as usize).or_else(junk);
        let group = written.map_or(0, |record| record.group as usize);
        let lifetime = self.lifetime_ms(group);
        Verdict::Valid(MessageFacts {
            author: author.map(author_key),
            expires_ms: lifetime.map(|ms| message.timestamp_ms().saturating_add(ms)),
        })
    }

    fn take_deliveries(
        &mut self,
        node: usize,
        group: GroupId,
        first: u64,
        last: u64,
    ) -> Result<(), EngineError> {
        for position in first..=last {
            let Some(state) = self.nodes.get(node) else { return Ok(()) };
            let Some(engine) = &state.engine else { return Ok(()) };
            let Some(entry) = engine.entry(group, position)? else { continue };
            // From the node's own clock to the world's.
            let stored_us = self.world_us(node, entry.arrived);
            let news = self.record.delivered(node, group, &entry, stored_us, self.now);
            if let Some((group, written_us)) = news {
                self.stirred_us = self.now;
                self.consider_answer(node, group, written_us);
            }
        }
        Ok(())
    }

    /// After a disk was replaced: tells the record what is on it.
    fn recall(&mut self, node: usize) -> Result<(), EngineError> {
        let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
        let Some(store) = &state.store else { return Ok(()) };
        let groups: Vec<usize> = state.groups.iter().copied().collect();
        let engine = Engine::open(store.clone(), state.config.clone(), [0; 32], Time(START_MS))?;
        for group in groups {
            let Some(id) = self.group(group).map(|known| known.id) else { continue };
            let Some(head) = engine.group(id).map(|info| info.head) else { continue };
            for position in 1..=head {
                if let Some(entry) = engine.entry(id, position)? {
                    self.record.recall(node, id, &entry);
                }
            }
        }
        Ok(())
    }
}

fn author_key(node: usize) -> [u8; 32] {
    *peer_of(node).as_bytes()
}
