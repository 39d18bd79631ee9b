//! A world: engines, links and clocks on one queue of events. Nothing in it knows of real time.

mod carrier;
mod end;
mod liar;
mod nodes;

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};

use bytes::Bytes;
use hedgerow_sync_core::{EngineError, LinkId};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use self::carrier::Conn;
use self::nodes::{Known, Node};
use crate::plan::{Plan, drawn_size};
use crate::random::{exponential, stream};
use crate::record::{Ended, Happening, Record, number};
use crate::run::Detail;
use crate::scenario::{Carrier, Fault, Links, Scenario};
use crate::units::Span;

/// A world between two events.
pub(crate) struct World<'a> {
    scenario: &'a Scenario,
    plan: &'a Plan,
    seed: u64,
    /// In us since the start.
    now: u64,
    queue: BinaryHeap<Reverse<Due>>,
    /// How many events were ever queued: those of one time happen in this order.
    queued: u64,
    /// Groups by their place in the plan.
    groups: Vec<Option<Known>>,
    nodes: Vec<Node>,
    nodes_on: usize,
    /// By number; `None` once they are down.
    conns: Vec<Option<Box<Conn>>>,
    links_up: usize,
    /// Which links differ: by pair, and by node; the place in the scenario's exceptions.
    odd_pairs: HashMap<(usize, usize), usize>,
    odd_nodes: HashMap<usize, usize>,
    /// The side of each node, while there are partitions.
    cuts: Vec<BTreeSet<usize>>,
    answers: ChaCha12Rng,
    drafts_left: usize,
    changes_left: usize,
    answers_due: usize,
    /// When something last happened that is a reason to talk, in us.
    stirred_us: u64,
    /// Whether nothing was such a reason for so long that silence is due.
    was_still: bool,
    /// Whether there is silence some time after that: no adversary talks, and no room comes back with time.
    owes_silence: bool,
    /// For so long after that there may be talk, in us.
    patience_us: u64,
    /// Which node is looked at next, for its memory.
    look_at: usize,
    pub(crate) record: Record,
}

/// Something that will happen.
#[derive(Debug, PartialEq, Eq)]
struct Due {
    at: u64,
    order: u64,
    what: What,
}

#[derive(Debug, PartialEq, Eq)]
enum What {
    /// The contact of this number begins; the next one is queued then.
    Contact(usize),
    Part(usize, usize),
    Connect(usize, usize),
    /// A node's window begins or ends.
    Window(usize, bool),
    /// On its own, so that what moves about in the queue is small.
    Frame(Box<Flight>),
    /// The carrier takes the next frame.
    Free {
        conn: usize,
        end: usize,
    },
    Timer(usize),
    /// The draft of this number is written; the next one is queued then.
    Write(usize),
    Answer {
        node: usize,
        group: usize,
        size: usize,
    },
    Fault(usize, bool),
    /// The crash of this number happens; the next one is queued then.
    Crash(usize),
    Restart(usize),
    /// The change of membership of this number happens; the next one is queued then.
    Change(usize),
    /// A node learns that the other end of a link is gone.
    HangUp {
        node: usize,
        link: LinkId,
    },
    /// A link breaks.
    Break(usize),
    /// An adversary does something on each of its links.
    Lie(usize),
}

/// A frame under way.
#[derive(Debug, PartialEq, Eq)]
struct Flight {
    conn: usize,
    /// Where it arrives.
    end: usize,
    /// The how-manieth of a chain of frames it is, of which each answers the one before.
    round: u64,
    /// Its place in the log.
    log: Option<u32>,
    frame: Bytes,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.order).cmp(&(other.at, other.order))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// When nothing gives reason to talk, there is silence after so long: on streams, and on datagrams, where a line that
/// loses nine frames of ten takes long to settle.
const PATIENCE_STREAM: Span = Span::from_s(600);
const PATIENCE_DATAGRAM: Span = Span::from_s(3_600);

impl<'a> World<'a> {
    pub(crate) fn new(
        scenario: &'a Scenario,
        plan: &'a Plan,
        seed: u64,
        detail: Detail,
    ) -> Result<Self, EngineError> {
        let room = match detail {
            Detail::Sums => None,
            Detail::Events { most } => Some(most),
        };
        let odd = || (0..).zip(&scenario.links.exceptions);
        let ordered = |(a, b): &(usize, usize)| (*a.min(b), *a.max(b));
        let mut all_links = std::iter::once(&scenario.links).chain(odd().map(|(_, one)| &one.links));
        let datagrams = all_links.any(|links| links.carrier == Carrier::Datagram);
        let mut world = Self {
            scenario,
            plan,
            seed,
            now: 0,
            queue: BinaryHeap::new(),
            queued: 0,
            groups: nodes::groups_of(scenario, plan),
            nodes: nodes::of_plan(scenario, plan, seed),
            nodes_on: 0,
            conns: Vec::new(),
            links_up: 0,
            odd_pairs: odd().flat_map(|(at, one)| one.pairs.iter().map(move |p| (ordered(p), at))).collect(),
            odd_nodes: odd().flat_map(|(at, one)| one.nodes.iter().map(move |n| (*n, at))).collect(),
            cuts: Vec::new(),
            answers: stream(seed, "answers", 0),
            drafts_left: plan.drafts.len(),
            changes_left: plan.changes.len(),
            answers_due: 0,
            stirred_us: 0,
            was_still: false,
            owes_silence: false,
            patience_us: if datagrams { PATIENCE_DATAGRAM } else { PATIENCE_STREAM }.us(),
            look_at: 0,
            record: Record::new(plan, room),
        };
        world.owes_silence = plan.adversaries.is_empty() && !world.lets_go() && !scenario.links.any_simplex();
        for (node, windows) in plan.windows.iter().enumerate() {
            for window in windows {
                world.at(window.start, What::Window(node, true));
                if window.end < plan.length {
                    world.at(window.end, What::Window(node, false));
                }
            }
        }
        world.queue_contact(0);
        world.queue_draft(0);
        world.queue_crash(0);
        world.queue_change(0);
        for (&node, lies) in &plan.adversaries {
            world.at(lies.every, What::Lie(node));
        }
        for (index, fault) in scenario.faults.iter().enumerate() {
            let (first, second) = match fault {
                Fault::Partition { from, to, .. } => (*from, Some(*to)),
                Fault::LostDisk { at, .. } => (*at, None),
                Fault::Restore { backup, at, .. } => (*backup, Some(*at)),
                Fault::Crash { .. } | Fault::Crashes { .. } => continue,
            };
            world.at(first, What::Fault(index, true));
            if let Some(second) = second {
                world.at(second, What::Fault(index, false));
            }
        }
        Ok(world)
    }

    /// Runs until the scenario says stop. `watch` is called now and then with the time, in us.
    pub(crate) fn run(&mut self, mut watch: impl FnMut(u64) -> bool) -> Result<(), EngineError> {
        let length = self.plan.length.us();
        self.record.ended = Ended::Rest;
        while let Some(Reverse(due)) = self.queue.pop() {
            if due.at > length {
                self.now = length;
                self.record.ended = Ended::After;
                break;
            }
            if let Some(ended) = self.is_quiet(due.at) {
                self.record.ended = ended;
                break;
            }
            self.record.totals.events += 1;
            if self.record.totals.events.is_multiple_of(4_096) && !watch(due.at) {
                self.record.ended = Ended::Interrupted;
                break;
            }
            if self.record.sample_is_due(due.at) {
                self.sample(due.at);
            }
            self.now = due.at;
            self.happen(due.what)?;
            if let Some(ended) = self.is_done() {
                self.record.ended = ended;
                break;
            }
        }
        if self.record.ended == Ended::Rest {
            // Nothing would happen until the end of its time.
            self.note_stillness(length);
        }
        self.finish()
    }

    fn is_done(&self) -> Option<Ended> {
        if self.drafts_left + self.changes_left + self.answers_due > 0 {
            return None;
        }
        let stop = &self.scenario.stop;
        if stop.when_acknowledged && self.record.unacknowledged() == 0 {
            return Some(Ended::Acknowledged);
        }
        (stop.when_delivered && self.record.lacking() == 0).then_some(Ended::Delivered)
    }

    /// Whether nothing was sent for as long as the scenario says, when the next thing is to happen at `next`.
    fn is_quiet(&mut self, next: u64) -> Option<Ended> {
        let quiet = self.scenario.stop.when_quiet?.us();
        let since = self.record.last_frame_us().max(self.stirred_us);
        if next < since + quiet || self.drafts_left + self.changes_left + self.answers_due > 0 {
            return None;
        }
        self.now = since + quiet;
        Some(Ended::Quiet)
    }

    fn sample(&mut self, at: u64) {
        self.record.sample(at, self.nodes_on, self.links_up);
        for _ in 0..8.min(self.nodes.len()) {
            self.look(self.look_at);
            self.look_at = (self.look_at + 1) % self.nodes.len();
        }
    }

    fn at(&mut self, at: Span, what: What) {
        self.at_us(at.us(), what);
    }

    fn at_us(&mut self, at: u64, what: What) {
        self.queued += 1;
        self.queue.push(Reverse(Due { at: at.max(self.now), order: self.queued, what }));
    }

    fn queue_contact(&mut self, index: usize) {
        if let Some(contact) = self.plan.contacts.get(index) {
            self.at(contact.start, What::Contact(index));
        }
    }

    fn queue_draft(&mut self, index: usize) {
        if let Some(draft) = self.plan.drafts.get(index) {
            self.at(draft.at, What::Write(index));
        }
    }

    fn queue_crash(&mut self, index: usize) {
        if let Some(crash) = self.plan.crashes.get(index) {
            self.at(crash.at, What::Crash(index));
        }
    }

    fn queue_change(&mut self, index: usize) {
        if let Some(change) = self.plan.changes.get(index) {
            self.at(change.at, What::Change(index));
        }
    }

    fn happen(&mut self, what: What) -> Result<(), EngineError> {
        match what {
            What::Contact(index) => {
                if let Some(&contact) = self.plan.contacts.get(index) {
                    self.set_near(contact.a, contact.b, true);
                    self.record.totals.contacts += 1;
                    if contact.end < self.plan.length {
                        self.at(contact.end, What::Part(contact.a, contact.b));
                    }
                    self.meet(contact.a, contact.b);
                }
                self.queue_contact(index + 1);
                Ok(())
            }
            What::Part(a, b) => {
                self.set_near(a, b, false);
                self.disconnect(a, b)
            }
            What::Connect(a, b) => self.connect(a, b),
            What::Window(node, on) => self.switch(node, |node| node.is_awake = on),
            What::Frame(flight) => self.arrive(*flight),
            What::Free { conn, end } => self.free(conn, end),
            What::Timer(node) => self.tick(node),
            What::Write(index) => {
                self.queue_draft(index + 1);
                let Some(draft) = self.plan.drafts.get(index) else { return Ok(()) };
                self.drafts_left -= 1;
                self.write(draft.author, draft.group, draft.size)
            }
            What::Answer { node, group, size } => {
                self.answers_due -= 1;
                self.write(node, group, size)
            }
            What::Fault(index, first) => self.fault(index, first),
            What::Crash(index) => {
                self.queue_crash(index + 1);
                let Some(crash) = self.plan.crashes.get(index) else { return Ok(()) };
                self.at(Span::from_us(crash.at.us() + crash.off.us()), What::Restart(crash.node));
                self.switch(crash.node, |node| node.crashes += 1)
            }
            What::Restart(node) => self.switch(node, |node| node.crashes = node.crashes.saturating_sub(1)),
            What::Change(index) => {
                self.queue_change(index + 1);
                self.changes_left -= 1;
                match self.plan.changes.get(index) {
                    Some(change) => self.change(*change),
                    None => Ok(()),
                }
            }
            What::HangUp { node, link } => self.hang_up(node, link),
            What::Break(conn) => match self.conns.get(conn) {
                Some(Some(state)) => {
                    let (a, b) = state.pair();
                    self.disconnect(a, b)?;
                    self.meet_after(a, b, Span::from_s(1));
                    Ok(())
                }
                _ => Ok(()),
            },
            What::Lie(node) => self.lie(node),
        }
    }

    /// Something happened that is a reason to talk.
    fn stir(&mut self) {
        self.note_stillness(self.now);
        self.stirred_us = self.now;
    }

    /// Notes whether there was a time up to `until` in which silence was due.
    fn note_stillness(&mut self, until: u64) {
        self.was_still |= until >= self.stirred_us + 2 * self.patience_us;
    }

    /// Who read a message may answer it.
    fn consider_answer(&mut self, node: usize, group: usize, written_us: u64) {
        let Some(replies) = self.plan.replies.iter().find(|replies| replies.group == group).copied() else {
            return;
        };
        if replies.patience.is_some_and(|patience| self.now - written_us > patience.us()) {
            return;
        }
        if self.answers.random_bool(replies.share.value()) {
            let at = self.now + exponential(&mut self.answers, replies.think).us();
            let size = drawn_size(&mut self.answers, replies.size, replies.longest);
            if at < self.plan.length.us() {
                self.answers_due += 1;
                self.at_us(at, What::Answer { node, group, size });
            }
        }
    }

    fn fault(&mut self, index: usize, first: bool) -> Result<(), EngineError> {
        self.stir();
        let numbers = |nodes: &[usize]| nodes.iter().copied().map(number).collect();
        match (self.scenario.faults.get(index), first) {
            (Some(Fault::Partition { nodes, .. }), true) => {
                self.record.note(self.now, Happening::Split { nodes: numbers(nodes) });
                self.cuts.push(nodes.iter().copied().collect());
                let mut apart = Vec::new();
                for &node in nodes {
                    let open = self.nodes.get(node).map(|node| &node.open).into_iter().flatten();
                    apart.extend(open.map(|(other, _)| (node, *other)).filter(|&(a, b)| self.is_cut(a, b)));
                }
                apart.into_iter().try_for_each(|(a, b)| self.disconnect(a, b))
            }
            (Some(Fault::Partition { nodes, .. }), false) => {
                self.record.note(self.now, Happening::Healed { nodes: numbers(nodes) });
                let side: BTreeSet<usize> = nodes.iter().copied().collect();
                if let Some(at) = self.cuts.iter().position(|cut| *cut == side) {
                    self.cuts.swap_remove(at);
                }
                side.into_iter().for_each(|node| self.meet_all(node));
                Ok(())
            }
            (Some(Fault::LostDisk { node, .. }), _) => self.lose_disk(*node),
            (Some(Fault::Restore { node, .. }), true) => {
                self.back_up(*node);
                Ok(())
            }
            (Some(Fault::Restore { node, .. }), false) => self.restore(*node),
            (Some(Fault::Crash { .. } | Fault::Crashes { .. }) | None, _) => Ok(()),
        }
    }

    /// Whether a partition lies between two nodes.
    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cuts.iter().any(|side| side.contains(&a) != side.contains(&b))
    }

    /// What a link between two nodes is like.
    fn links_of(&self, a: usize, b: usize) -> &'a Links {
        let odd = self.odd_pairs.get(&(a.min(b), a.max(b)));
        let odd = odd.or_else(|| self.odd_nodes.get(&a)).or_else(|| self.odd_nodes.get(&b));
        let odd = odd.and_then(|at| self.scenario.links.exceptions.get(*at));
        odd.map_or(&self.scenario.links, |odd| &odd.links)
    }
}
