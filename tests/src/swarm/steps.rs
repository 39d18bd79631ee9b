//! The steps of the safety phase: what users, devices and carriers do.

use bytes::Bytes;
use hedgerow_proto::{MessageId, Visibility};
use hedgerow_sync_core::store::MESSAGE_WEIGHT;
use hedgerow_sync_core::{Draft, EngineError, LinkProfile, MessageFacts, PushPolicy};
use rand::RngExt as _;

use super::options::{Happening, YEAR_MS, pick};
use super::retention::signature;
use super::run::Broken;
use super::store::SwarmStore;
use super::world::{BAD, BODY_MARK, World, descriptor, peer};

impl World {
    /// One step, and a look at everything.
    pub(super) fn step(&mut self) -> Result<(), Broken> {
        match self.rng.random_range(0..100) {
            0..30 => self.publish_some()?,
            30..48 => self.connect_some()?,
            48..56 => self.disconnect_some(),
            56..76 => {
                let happens: Vec<Happening> = self.options.happens.iter().copied().collect();
                if !happens.is_empty() {
                    let what = *pick(&mut self.rng, &happens);
                    self.happen(what)?;
                }
            }
            76..92 => self.lie(6)?,
            _ => {}
        }
        let half_open = self.half_open();
        if !half_open.is_empty() && self.rng.random_bool(0.5) {
            let at = *pick(&mut self.rng, &half_open);
            self.disconnect(at);
        }
        self.cut_some();
        let ms = *pick(&mut self.rng, &[0, 0, 5, 20, 100, 1_000, 20_000]);
        if self.rng.random_bool(0.8) {
            self.run(ms)?;
        }
        self.look()
    }

    fn node(&mut self) -> usize {
        self.rng.random_range(0..self.options.nodes)
    }

    fn membership(&mut self) -> Option<(usize, usize)> {
        let n = self.node();
        let groups: Vec<usize> = self.nodes[n].member.iter().copied().collect();
        (!groups.is_empty()).then(|| (n, *pick(&mut self.rng, &groups)))
    }

    fn publish_some(&mut self) -> Result<(), Broken> {
        let Some((n, group)) = self.membership() else { return Ok(()) };
        let count = *pick(&mut self.rng, &[1, 1, 2, 5, 40]);
        self.note(|| format!("node {n} publishes {count} in group {group}"));
        for _ in 0..count {
            self.publish(n, group, "")?;
            if self.rng.random_bool(0.5) {
                self.drain(n)?;
            }
        }
        Ok(())
    }

    fn publish(&mut self, n: usize, group: usize, begins: &str) -> Result<(), Broken> {
        let id = self.groups[group];
        let most = if self.options.tiny { 2 } else { 16 };
        let mut deps = self.reads(n).heads(id, most)?;
        let head = self.reads(n).group(id).map_or(0, |info| info.head);
        match self.rng.random_range(0..10) {
            0 => deps.clear(),
            // Any of the past: redundant edges, and edges over long distances.
            1..4 if head > 0 => {
                deps = self.some_of_log(n, group, head, most)?;
            }
            4 if head > 0 && !self.options.tiny => deps.extend(self.some_of_log(n, group, head, most)?),
            _ => {}
        }
        self.published += 1;
        let clock = self.clock(n);
        let expires = self.options.expiring && self.rng.random_bool(0.3);
        let periods_ms = [1, 1_000, 60_000, 3_600_000, 86_400_000];
        let expires_ms = expires.then(|| clock.as_timestamp_ms() + *pick(&mut self.rng, &periods_ms));
        let signed = signature(n, expires_ms);
        let body = format!("{begins}{BODY_MARK} {} {signed}", self.published);
        let length = match (self.options.tiny, self.options.capped) {
            (true, _) => 40,
            (false, false) => *pick(&mut self.rng, &[20, 20, 200, 3_000]),
            (false, true) => *pick(&mut self.rng, &[20, 200, 3_000, 12_000, 30_000]),
        };
        let body = format!("{body:<length$}");
        let weight = body.len() as u64 + MESSAGE_WEIGHT;
        let draft = Draft { timestamp_ms: clock.as_timestamp_ms(), deps, body: body.into() };
        // Who only relays a group knows nothing of its messages.
        let facts = match self.options.groups[group].by(n) {
            true => MessageFacts { author: Some(*peer(n).as_bytes()), expires_ms },
            false => MessageFacts::default(),
        };
        match self.engine(n).publish_with(id, draft, facts, clock) {
            Ok(message) => {
                self.count("messages published");
                self.written.insert(message, (n, weight));
                if !begins.is_empty() {
                    self.valid.insert(message, false);
                }
            }
            Err(EngineError::NoRoom { .. }) if self.options.capped => {
                self.count("messages not written for lack of room");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn some_of_log(
        &mut self,
        n: usize,
        group: usize,
        head: u64,
        most: usize,
    ) -> Result<Vec<MessageId>, Broken> {
        let count = self.rng.random_range(0..most);
        let positions: Vec<u64> = (0..count).map(|_| self.rng.random_range(1..=head)).collect();
        let mut ids = Vec::new();
        for position in positions {
            let entry = self.reads(n).entry(self.groups[group], position)?;
            ids.extend(entry.map(|entry| entry.id));
        }
        Ok(ids)
    }

    pub(super) fn connect_some(&mut self) -> Result<(), Broken> {
        let (a, b) = (self.node(), self.rng.random_range(0..self.options.nodes + self.options.liars));
        if a != b {
            self.connect(a, b)?;
            if self.rng.random_bool(0.2) {
                self.connect(a, b)?;
            }
        }
        Ok(())
    }

    fn connect(&mut self, a: usize, b: usize) -> Result<(), Broken> {
        let push = *pick(
            &mut self.rng,
            &[PushPolicy::Adaptive, PushPolicy::Adaptive, PushPolicy::Always, PushPolicy::OfferFirst],
        );
        let base = self.rng.random_range(1..100);
        if self.rng.random_bool(self.options.links.reliable) {
            let delay_ms = (base, base * self.rng.random_range(1..3));
            let profile = LinkProfile { push, ..LinkProfile::reliable() };
            self.connect_with(a, b, profile, 0.0, delay_ms)?;
        } else {
            let delay_ms = (base, base * self.rng.random_range(1..10));
            let losses: [f64; 5] = [0.0, 0.1, 0.5, 0.8, 0.95];
            let loss = pick(&mut self.rng, &losses).min(self.options.links.max_loss);
            let max_frame = self.rng.random_range(256..1_500);
            let profile = LinkProfile { push, ..LinkProfile::lossy(max_frame) };
            self.connect_with(a, b, profile, loss, delay_ms)?;
        }
        Ok(())
    }

    fn disconnect_some(&mut self) {
        let up = self.up();
        if up.is_empty() {
            return;
        }
        if self.rng.random_bool(0.2) {
            let side = self.node();
            self.note(|| format!("no link between nodes to {side} and the others"));
            for at in up {
                let ends = self.wires[at].as_ref().map(|wire| [wire.ends[0].node, wire.ends[1].node]);
                if ends.is_some_and(|[a, b]| (a <= side) != (b <= side)) {
                    self.disconnect(at);
                }
            }
        } else {
            let at = *pick(&mut self.rng, &up);
            self.note(|| format!("link {at} ends"));
            self.disconnect(at);
        }
    }

    /// Each direction of each link is cut or not, anew in every step.
    fn cut_some(&mut self) {
        let share = self.options.links.partitioned;
        if share == 0.0 {
            return;
        }
        for at in self.up() {
            for end in 0..2 {
                let blocked = self.rng.random_bool(share);
                self.block(at, end, blocked);
            }
        }
    }

    fn happen(&mut self, what: Happening) -> Result<(), Broken> {
        let n = self.node();
        self.note(|| format!("node {n}: {what:?}"));
        match what {
            Happening::Crash => {
                self.count("crashes");
                self.crash(n)?;
                self.hang_up_all(n);
            }
            Happening::CrashInside => {
                self.nodes[n].crash_after = Some(self.rng.random_range(0..30));
            }
            Happening::Backup => self.backup(n)?,
            Happening::LostStore => {
                self.count("stores lost");
                let groups = self.nodes[n].member.clone();
                drop(self.vanish(n)?);
                let store = self.new_store(n)?;
                self.start(n, store, true)?;
                for group in groups {
                    self.join(n, group, 1.0)?;
                }
                self.hang_up_all(n);
            }
            Happening::Leave => {
                let group = self.rng.random_range(0..self.groups.len());
                self.leave_or_join(n, group)?;
            }
            Happening::Visibility => {
                let Some((n, group)) = self.membership() else { return Ok(()) };
                let other = self.node();
                if other != n {
                    self.count("visibilities changed");
                    let to = *pick(
                        &mut self.rng,
                        &[Visibility::Invisible, Visibility::Visible, Visibility::Shared, Visibility::Shared],
                    );
                    let id = self.groups[group];
                    self.note(|| format!("group {group} is {to:?} to {other}"));
                    self.engine(n).set_visibility(peer(other), id, to)?;
                }
            }
            Happening::ClockJump => self.set_clock(n),
            Happening::HalfOpen => {
                self.count("crashes that others do not see");
                self.crash(n)?;
                // The others are not told yet, and are met again meanwhile.
                let other = self.node();
                if other != n {
                    self.connect(n, other)?;
                }
            }
            Happening::Forget => self.forget(n)?,
            Happening::Ephemeral => {
                let Some((n, group)) = self.membership() else { return Ok(()) };
                let (id, clock) = (self.groups[group], self.clock(n));
                let body = Bytes::from(format!("{BODY_MARK} soon forgotten"));
                self.engine(n).publish_ephemeral(id, body, clock)?;
                self.count("ephemeral messages");
            }
            Happening::Invalid => {
                let Some((n, group)) = self.membership() else { return Ok(()) };
                // Only one that does not judge can publish what others refuse.
                if !self.options.groups[group].by(n) {
                    let bad = String::from_utf8_lossy(BAD).into_owned();
                    self.publish(n, group, &format!("{bad} "))?;
                    self.count("messages published that clients refuse");
                }
            }
        }
        Ok(())
    }

    /// Sets a clock. Forwards it shows at once; backwards only after a restart, as drivers have it.
    fn set_clock(&mut self, n: usize) {
        self.count("clocks set");
        let ms = *pick(&mut self.rng, &[1_000, 60_000, 86_400_000, YEAR_MS, 40 * YEAR_MS]);
        let skew = if self.rng.random_bool(0.5) { ms } else { -ms };
        if skew > self.nodes[n].skew_ms {
            self.nodes[n].skew_ms = skew;
            self.latest_skew_ms = self.latest_skew_ms.max(skew);
        } else {
            self.nodes[n].next_skew_ms = Some(skew);
        }
    }

    fn backup(&mut self, mut n: usize) -> Result<(), Broken> {
        let with: Vec<usize> = (0..self.nodes.len()).filter(|n| self.nodes[*n].backup.is_some()).collect();
        if !with.is_empty() && self.rng.random_bool(0.5) {
            n = *pick(&mut self.rng, &with);
        }
        if let Some(backup) = self.nodes[n].backup.take() {
            self.count("backups restored");
            let store = self.vanish(n)?.restore(backup)?;
            self.start(n, store, true)?;
            self.hang_up_all(n);
        } else {
            self.engine(n).commit()?;
            self.nodes[n].backup = self.reads(n).store().backup()?;
            self.count("backups made");
        }
        Ok(())
    }

    fn leave_or_join(&mut self, n: usize, group: usize) -> Result<(), Broken> {
        if self.nodes[n].member.remove(&group) {
            self.count("groups left");
            let id = self.groups[group];
            self.engine(n).remove_group(id)?;
            let now = self.now;
            let node = &mut self.nodes[n];
            node.logs.remove(&id);
            node.seen.remove(&id);
            // What waited for a message of it goes too, in other groups also.
            node.acked.clear();
            node.rewound_at = Some(now);
            // A crash may undo it.
            self.engine(n).commit()?;
            Ok(())
        } else {
            self.count("groups joined");
            self.join(n, group, 0.9)
        }
    }

    /// A node forgets a peer with all that it knew of it, and adds it again.
    fn forget(&mut self, n: usize) -> Result<(), Broken> {
        let other = self.node();
        if other == n {
            return Ok(());
        }
        self.count("peers forgotten");
        self.note(|| format!("forgets {other}"));
        for at in self.up() {
            let ends = self.wires[at].as_ref().map(|wire| [wire.ends[0].node, wire.ends[1].node]);
            if ends.is_some_and(|[a, b]| (a == n && b == other) || (a == other && b == n)) {
                self.disconnect(at);
            }
        }
        let clock = self.clock(n);
        self.engine(n).remove_peer(peer(other), clock)?;
        let groups: Vec<usize> = self.nodes[n].member.iter().copied().collect();
        for group in groups {
            let id = self.groups[group];
            self.engine(n).set_visibility(peer(other), id, Visibility::Shared)?;
        }
        Ok(())
    }

    /// A crash, and a restart from what was committed.
    pub(super) fn crash(&mut self, n: usize) -> Result<(), Broken> {
        let store = self.vanish(n)?.crash()?;
        self.start(n, store, false)
    }

    /// Opens a node again. `other_store`: its past is another one.
    fn start(&mut self, n: usize, store: SwarmStore, other_store: bool) -> Result<(), Broken> {
        self.open(n, store)?;
        let engine = self.reads(n);
        let groups = 0..self.groups.len();
        let member = groups.filter(|&g| engine.group(self.groups[g]).is_some()).collect();
        self.nodes[n].member = member;
        if !other_store {
            self.look_after_crash(n)?;
        } else {
            let now = self.now;
            let node = &mut self.nodes[n];
            node.seen.clear();
            node.acked.clear();
            node.logs.clear();
            node.rewound_at = Some(now);
        }
        let groups: Vec<usize> = self.nodes[n].member.iter().copied().collect();
        for group in groups {
            let id = self.groups[group];
            let log = self.read_log(n, id)?;
            self.nodes[n].logs.insert(id, log);
            let judged = self.options.groups[group].by(n);
            self.engine(n).add_group(&descriptor(group), judged)?;
        }
        Ok(())
    }

    /// The others learn that the links of a node are dead.
    pub(super) fn hang_up_all(&mut self, n: usize) {
        for at in self.half_open() {
            if self.wires[at].as_ref().is_some_and(|wire| wire.ends.iter().any(|end| end.node == n)) {
                self.disconnect(at);
            }
        }
    }
}
