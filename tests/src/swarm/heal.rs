//! The liveness phase: a core of the honest nodes is well again, and must agree and fall silent.

use std::collections::BTreeSet;

use hedgerow_proto::{GroupId, MessageId, Visibility};
use hedgerow_sync_core::store::Direction;
use hedgerow_sync_core::{Horizon, LinkProfile};
use rand::RngExt as _;

use super::options::{Happening, pick};
use super::run::Broken;
use super::world::{Wire, World, peer};

/// How long the core may take to agree once it is well again, in ms.
const PATIENCE_MS: u64 = 30 * 60_000;
/// The longest time from one request to the next for the same message, to a peer that does not answer, in ms.
const LONGEST_PAUSE_MS: u64 = 600_000;
/// How long the settled core is watched, in ms.
const WATCH_MS: u64 = 3_600_000;
/// By when the time of every message is over, in ms.
const LONGEST_EXPIRY_MS: u64 = 86_400_000;
/// How far the clocks of the core are off at most, in ms.
const CORE_SKEW_MS: i64 = 600_000;

/// What the core does not agree on.
enum Difference {
    /// A group, and two members that do not have the same.
    Members(usize, usize, usize),
    /// Where bodies go: what somebody lacks that another one holds.
    Lacks(String),
}

impl World {
    /// Heals a core, waits until it agrees, and watches it being silent. Returns how long it took to agree, in ms.
    pub(super) fn come_to_rest(&mut self) -> Result<u64, Broken> {
        let core = self.heal()?;
        let took = self.converge(&core, true)?;
        // Whoever is not well, or lies, may talk for ever.
        for at in self.up() {
            let ends = self.wires[at].as_ref().map(|wire| [wire.ends[0].node, wire.ends[1].node]);
            if ends.is_some_and(|ends| ends.iter().any(|n| !core.contains(n))) {
                self.disconnect(at);
            }
        }
        self.converge(&core, false)?;
        self.watch(&core)?;
        let reconciled = core.iter().map(|n| self.reads(*n).traffic().reconciled).sum();
        self.count_many("differences found out by symbols, since the last crash", reconciled);
        Ok(took)
    }

    /// The core is up, shares everything, and a path of reliable links leads from each to each.
    fn heal(&mut self) -> Result<BTreeSet<usize>, Broken> {
        let mut core: Vec<usize> = (0..self.options.nodes).collect();
        if self.rng.random_bool(0.5) {
            let size = self.rng.random_range(2..=core.len());
            while core.len() > size {
                let at = self.rng.random_range(0..core.len());
                core.swap_remove(at);
            }
            core.sort_unstable();
        }
        self.note(|| format!("the core is {core:?}"));
        for n in 0..self.nodes.len() {
            self.nodes[n].crash_after = None;
        }
        self.set_core_clocks(&core);
        self.end_bad_links(&core);
        self.forget_tainted(&core)?;
        let everywhere = self.rng.random_bool(0.5);
        for &n in &core {
            for group in 0..self.groups.len() {
                if everywhere || self.nodes[n].member.contains(&group) {
                    self.join(n, group, 1.0)?;
                }
            }
        }
        // A random tree among the members of each group.
        for group in 0..self.groups.len() {
            let members = self.members(&core, group);
            for at in 1..members.len() {
                let other = members[self.rng.random_range(0..at)];
                if !self.reliably_linked(members[at], other) {
                    self.make_room_for_link(members[at], other);
                    self.connect_with(members[at], other, LinkProfile::reliable(), 0.0, (10, 10))?;
                }
            }
        }
        Ok(core.into_iter().collect())
    }

    /// All clocks of the core show about the same, and no message of the core is from the future. Clocks that run are
    /// not set back.
    fn set_core_clocks(&mut self, core: &[usize]) {
        let latest = self.latest_skew_ms;
        for &n in core {
            let skew = latest + self.rng.random_range(0..=CORE_SKEW_MS);
            self.nodes[n].next_skew_ms = None;
            self.nodes[n].skew_ms = self.nodes[n].skew_ms.max(skew);
        }
    }

    /// Links inside the core are whole, or end. A line so bad that it takes hours is no sign of health.
    fn end_bad_links(&mut self, core: &[usize]) {
        let most = *pick(&mut self.rng, &[-1.0, 0.0, 0.5]);
        for at in self.up() {
            let Some(wire) = &self.wires[at] else { continue };
            let open = wire.ends.iter().any(|end| end.gone);
            let within = wire.ends.iter().filter(|end| core.contains(&end.node)).count();
            let lossy = !wire.profile.reliable && wire.loss() > most;
            let corrupt = self.options.links.bare && self.options.links.corruption > 0.0;
            if (within == 2 && (lossy || corrupt)) || (within > 0 && open) {
                self.disconnect(at);
            } else if within == 2 {
                self.block(at, 0, false);
                self.block(at, 1, false);
            }
        }
        self.healed = core.iter().copied().collect();
    }

    /// Between two of the core that were told lies in each other's name, all is forgotten.
    fn forget_tainted(&mut self, core: &[usize]) -> Result<(), Broken> {
        for (a, b) in self.tainted.clone() {
            if !(core.contains(&a) && core.contains(&b)) {
                continue;
            }
            for at in self.up() {
                let ends = self.wires[at].as_ref().map(|wire| [wire.ends[0].node, wire.ends[1].node]);
                if ends.is_some_and(|[x, y]| (x, y) == (a, b) || (x, y) == (b, a)) {
                    self.disconnect(at);
                }
            }
            for (n, other) in [(a, b), (b, a)] {
                let clock = self.clock(n);
                self.engine(n).remove_peer(peer(other), clock)?;
            }
            self.tainted.remove(&(a, b));
        }
        Ok(())
    }

    /// Ends the links between two nodes, if they have as many as one of them takes.
    fn make_room_for_link(&mut self, a: usize, b: usize) {
        let is_between = |wire: &Wire| wire.ends.iter().all(|end| end.node == a || end.node == b);
        let between: Vec<usize> =
            self.up().into_iter().filter(|at| self.wires[*at].as_ref().is_some_and(is_between)).collect();
        let most = self.options.configs[a].max_links.min(self.options.configs[b].max_links);
        if between.len() >= most {
            between.into_iter().for_each(|at| self.disconnect(at));
        }
    }

    pub(super) fn members(&self, core: &[usize], group: usize) -> Vec<usize> {
        core.iter().copied().filter(|n| self.nodes[*n].member.contains(&group)).collect()
    }

    pub(super) fn reliably_linked(&self, a: usize, b: usize) -> bool {
        self.wires.iter().flatten().any(|wire| {
            let ends = (wire.ends[0].node, wire.ends[1].node);
            wire.profile.reliable && (ends == (a, b) || ends == (b, a))
        })
    }

    /// What a node delivered, in canonical order, without what judging clients refuse.
    fn canonical(&self, n: usize, group: GroupId) -> Result<Vec<MessageId>, Broken> {
        let page = self.reads(n).page(group, None, Direction::Forward, usize::MAX >> 1)?;
        let ids = page.into_iter().map(|entry| entry.id);
        Ok(ids.filter(|id| self.valid.get(id).copied().unwrap_or(true)).collect())
    }

    /// The first two members of a group that do not have the same, if there are such.
    fn disagreement(&self, core: &BTreeSet<usize>) -> Result<Option<(usize, usize, usize)>, Broken> {
        let core: Vec<usize> = core.iter().copied().collect();
        for (group, &id) in self.groups.iter().enumerate() {
            let members = self.members(&core, group);
            let Some(&first) = members.first() else { continue };
            let expected = if self.is_mixed(group) || self.options.groups[group].by(first) {
                self.canonical(first, id)?
            } else {
                self.everything(first, id)?
            };
            for &n in &members[1..] {
                let found = if self.is_mixed(group) || self.options.groups[group].by(n) {
                    self.canonical(n, id)?
                } else {
                    self.everything(n, id)?
                };
                if found != expected {
                    return Ok(Some((group, first, n)));
                }
            }
        }
        Ok(None)
    }

    fn everything(&self, n: usize, group: GroupId) -> Result<Vec<MessageId>, Broken> {
        let page = self.reads(n).page(group, None, Direction::Forward, usize::MAX >> 1)?;
        Ok(page.into_iter().map(|entry| entry.id).collect())
    }

    /// What the core does not agree on yet.
    fn difference(&self, core: &BTreeSet<usize>) -> Result<Option<Difference>, Broken> {
        if self.options.prunes() {
            return Ok(self.lacks_after_pruning(core)?.map(Difference::Lacks));
        }
        Ok(self.disagreement(core)?.map(|(group, a, b)| Difference::Members(group, a, b)))
    }

    fn tell(&self, difference: &Difference) -> Result<String, Broken> {
        let (group, a, b) = match difference {
            Difference::Lacks(lacks) => return Ok(lacks.clone()),
            Difference::Members(group, a, b) => (*group, *a, *b),
        };
        let id = self.groups[group];
        let set_a: BTreeSet<_> = self.canonical(a, id)?.into_iter().collect();
        let set_b: BTreeSet<_> = self.canonical(b, id)?.into_iter().collect();
        let (lacks_a, lacks_b) = (set_b.difference(&set_a).count(), set_a.difference(&set_b).count());
        Ok(format!("group {group}: {a} lacks {lacks_a} of {b}, {b} lacks {lacks_b} of {a}"))
    }

    /// Waits until the core agrees; returns how long that took, in ms.
    fn converge(&mut self, core: &BTreeSet<usize>, liars_too: bool) -> Result<u64, Broken> {
        for n in 0..self.nodes.len() {
            self.drain(n)?;
        }
        self.look()?;
        let mut held = Vec::new();
        for (group, &id) in self.groups.iter().enumerate() {
            for &n in core.iter().filter(|n| self.nodes[**n].member.contains(&group)) {
                held.extend(self.canonical(n, id)?.into_iter().map(|id| (group, id)));
            }
        }
        let start = self.now;
        let mut step = 50;
        while let Some(difference) = self.difference(core)? {
            if liars_too && self.rng.random_bool(0.2) {
                self.lie(2)?;
            }
            let rests = self.run(step)?;
            self.look()?;
            step = (step * 5 / 4).min(5_000);
            let late = self.now - start > PATIENCE_MS;
            if late || (rests && self.difference(core)?.is_some()) {
                let when = if late { "after all patience" } else { "and nothing more is going to happen" };
                let text = format!("{}, {when}\n{}", self.tell(&difference)?, self.report(core));
                return Err(Broken::new("the core agrees", text));
            }
        }
        let took = self.now - start;
        // Where bodies go, only what somebody still holds comes to all.
        for n in core.iter().filter(|_| !self.options.prunes()) {
            for (group, id) in &held {
                if self.nodes[*n].member.contains(group) && !self.canonical_has(*n, *group, id)? {
                    let text = format!("node {n}: {id} of group {group} was held by one of the core");
                    return Err(Broken::new("what the core holds stays", text));
                }
            }
        }
        Ok(took)
    }

    fn canonical_has(&self, n: usize, group: usize, id: &MessageId) -> Result<bool, Broken> {
        let log = self.nodes[n].seen.get(&self.groups[group]);
        Ok(log.is_some_and(|(_, set)| set.contains(id)) || self.holds(n, id)?)
    }

    /// Whether messages wait at a node for others that are not there.
    fn waits_in_vain(&self, n: usize, group: GroupId) -> bool {
        let groups = self.reads(n).status().groups;
        groups.iter().any(|status| status.id == group && status.missing > 0 && status.waiting > 0)
    }

    /// For an hour not one frame, nothing is outstanding, and nothing waits that could be had.
    fn watch(&mut self, core: &BTreeSet<usize>) -> Result<(), Broken> {
        // When a message expires there is room for others: until the last has gone, there is always something new.
        self.run(if self.options.expiring { LONGEST_EXPIRY_MS + PATIENCE_MS } else { PATIENCE_MS })?;
        self.look()?;
        let frames = |world: &Self| world.stats.get("frames").copied().unwrap_or(0);
        let (before, allowed) = (frames(self), self.allowed_frames(core)?);
        self.run(WATCH_MS)?;
        let count = frames(self) - before;
        if count > self.allowed_frames(core)?.max(allowed) {
            let text = format!("{count} frames in a settled hour\n{}", self.report(core));
            return Err(Broken::new("the settled are silent", text));
        }
        self.look()?;
        self.check_stores(1.0)?;
        for &n in core {
            for (&group, log) in &self.nodes[n].logs {
                if *log != self.read_log(n, group)? {
                    let text = format!("node {n}: the log of {group} is not what events told");
                    return Err(Broken::new("events tell every delivery", text));
                }
            }
            let inside = |other| core.iter().any(|n| peer(*n) == other);
            for pair in self.reads(n).outstanding() {
                let open = self.options.prunes() && (self.is_stuffed() || self.gaps_stay_open());
                // What was turned away comes when what is missing has come; that may be too large for every link. To its
                // sender it is under way until then.
                let mut rest = pair;
                if self.waits_in_vain(n, pair.group) {
                    (rest.turned_away, rest.called_back) = (0, 0);
                }
                if core.iter().any(|&n| peer(n) == pair.peer && self.waits_in_vain(n, pair.group)) {
                    rest.lacking = rest.lacking.saturating_sub(rest.in_flight);
                    rest.in_flight = 0;
                }
                let settled = rest.is_settled();
                if !open && pair.links > 0 && pair.shared && inside(pair.peer) && !settled {
                    let text = format!("node {n}: {pair:?}\n{}", self.report(core));
                    return Err(Broken::new("nothing is outstanding at rest", text));
                }
            }
            if self.is_lossless(core) {
                for group in self.reads(n).status().groups {
                    if group.waiting + group.unvalidated + group.early + group.missing > 0 {
                        let text = format!("node {n}: {group:?}\n{}", self.report(core));
                        return Err(Broken::new("nothing waits at rest", text));
                    }
                }
            }
        }
        Ok(())
    }

    /// What came in vain, for what waits leaves it no room, is asked for again, ever less often: twice in a watched
    /// hour at most, with an answer each, of every node that lacks it. What nobody holds is not. On lossy links each
    /// of these frames is lost, acknowledged and asked about too. Who was sent too much in vain waits for its allowance,
    /// and asks again after ten minutes at most, more often at first.
    fn allowed_frames(&self, core: &BTreeSet<usize>) -> Result<u64, Broken> {
        let mut vain = 0;
        for &n in core {
            if self.options.prunes() {
                let peers = self.reads(n).status().peers;
                let waiting: u64 = peers.iter().map(|pair| pair.held_back).sum();
                vain += waiting * WATCH_MS / LONGEST_PAUSE_MS;
            }
            for &group in &self.groups {
                for missing in self.reads(n).missing(group) {
                    let mut held = false;
                    for &other in core.iter().filter(|other| **other != n) {
                        let entry = self.reads(other).message(&missing.id)?;
                        held |= entry.is_some_and(|entry| entry.body.is_some());
                    }
                    // What nobody has is looked for again, at longer and longer intervals, after the logs of peers grew.
                    let again = self.options.configs[n].horizon == Horizon::Accept;
                    vain += u64::from(held || again);
                }
            }
            // What waits for ever for what was pruned fills its room for ever; nothing else is turned away at rest.
            if self.options.prunes() && (self.is_stuffed() || self.gaps_stay_open()) {
                vain += self.reads(n).outstanding().iter().map(|pair| pair.turned_away).sum::<u64>();
            }
        }
        let lossy = self.wires.iter().flatten().any(|wire| !wire.profile.reliable);
        // A question for which there is no room is asked twice in an hour at most by then; over a line that loses half of all
        // frames, it and its answer take up to sixteen, as both sides say again that they heard.
        Ok(4 * vain * if lossy { 10 } else { 1 })
    }

    /// Whether everything that ever was can still be had inside the core.
    fn is_lossless(&self, core: &BTreeSet<usize>) -> bool {
        let lost = [
            Happening::Leave,
            Happening::LostStore,
            Happening::Backup,
            Happening::Visibility,
            Happening::Crash,
            Happening::CrashInside,
            Happening::HalfOpen,
        ];
        core.len() == self.options.nodes
            && self.options.liars == 0
            && !self.options.links.bare
            && !self.is_stuffed()
            && !self.gaps_stay_open()
            && !lost.iter().any(|what| self.options.happens.contains(what))
            && (0..self.groups.len()).all(|group| !self.is_mixed(group))
    }

    /// Everything that is not settled, for whoever has to find out why.
    fn report(&self, core: &BTreeSet<usize>) -> String {
        let mut lines = Vec::new();
        for &n in core {
            let status = self.reads(n).status();
            lines.extend(status.groups.iter().map(|group| format!("node {n}: {group:?}")));
            lines.extend(status.links.iter().map(|link| format!("node {n}: {link:?}")));
            let outstanding = self.reads(n).outstanding();
            let open = outstanding.iter().filter(|pair| pair.links > 0 && !pair.is_settled());
            lines.extend(open.map(|pair| format!("node {n}: {pair:?}")));
            let hidden = status.peers.iter().filter(|pair| pair.visibility != Visibility::Shared);
            lines.extend(hidden.map(|pair| format!("node {n}: {pair:?}")));
        }
        lines.join("\n")
    }
}
