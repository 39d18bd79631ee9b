//! A world: engines, links and clocks on one queue of events. Nothing in it knows of real time.

mod carrier;
mod nodes;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use bytes::Bytes;
use hedgerow_sync_core::{EngineError, LinkId};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use self::carrier::Conn;
use self::nodes::Node;
use crate::plan::{Plan, drawn_size};
use crate::random::{exponential, stream};
use crate::record::Record;
use crate::scenario::{Fault, Scenario};
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
    nodes: Vec<Node>,
    /// By number; `None` once they are down.
    conns: Vec<Option<Conn>>,
    open: BTreeMap<(usize, usize), usize>,
    /// Pairs that can hear each other.
    near: BTreeSet<(usize, usize)>,
    /// The side of each node, while there are partitions.
    cuts: Vec<BTreeSet<usize>>,
    answers: ChaCha12Rng,
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
    Power(usize, bool),
    Frame {
        conn: usize,
        end: usize,
        frame: Bytes,
    },
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
    /// A node learns that the other end of a link is gone.
    HangUp {
        node: usize,
        link: LinkId,
    },
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

impl<'a> World<'a> {
    pub(crate) fn new(scenario: &'a Scenario, plan: &'a Plan, seed: u64) -> Result<Self, EngineError> {
        let mut world = Self {
            scenario,
            plan,
            seed,
            now: 0,
            queue: BinaryHeap::new(),
            queued: 0,
            nodes: Vec::new(),
            conns: Vec::new(),
            open: BTreeMap::new(),
            near: BTreeSet::new(),
            cuts: Vec::new(),
            answers: stream(seed, "answers", 0),
            record: Record::new(plan),
        };
        for node in 0..scenario.nodes.count {
            world.nodes.push(Node::new(scenario, plan, seed, node)?);
        }
        for (node, windows) in plan.windows.iter().enumerate() {
            for window in windows {
                world.at(window.start, What::Power(node, true));
                if window.end < plan.length {
                    world.at(window.end, What::Power(node, false));
                }
            }
        }
        world.queue_contact(0);
        world.queue_draft(0);
        for (index, fault) in scenario.faults.iter().enumerate() {
            let (first, second) = match fault {
                Fault::Partition { from, to, .. } => (*from, Some(*to)),
                Fault::Crash { at, off, .. } => (*at, Some(Span::from_us(at.us() + off.us()))),
                Fault::LostDisk { at, .. } => (*at, None),
                Fault::Restore { backup, at, .. } => (*backup, Some(*at)),
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
        while let Some(Reverse(due)) = self.queue.pop() {
            if due.at > self.plan.length.us() {
                self.now = self.plan.length.us();
                break;
            }
            self.now = due.at;
            self.record.events += 1;
            if self.record.events.is_multiple_of(4_096) && !watch(self.now) {
                self.record.interrupted = true;
                break;
            }
            self.happen(due.what)?;
            if self.is_done() {
                break;
            }
        }
        if self.queue.is_empty() {
            self.record.came_to_rest = true;
        }
        self.finish()
    }

    fn is_done(&self) -> bool {
        let stop = &self.scenario.stop;
        let said = self.record.drafts_left == 0 && self.record.answers_due == 0;
        said && ((stop.when_delivered && self.record.undelivered == 0)
            || (stop.when_acknowledged && self.record.unacknowledged == 0))
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

    fn happen(&mut self, what: What) -> Result<(), EngineError> {
        match what {
            What::Contact(index) => {
                if let Some(&contact) = self.plan.contacts.get(index) {
                    self.near.insert((contact.a, contact.b));
                    self.record.contacts += 1;
                    if contact.end < self.plan.length {
                        self.at(contact.end, What::Part(contact.a, contact.b));
                    }
                    self.meet(contact.a, contact.b);
                }
                self.queue_contact(index + 1);
                Ok(())
            }
            What::Part(a, b) => {
                self.near.remove(&(a, b));
                self.disconnect(a, b)
            }
            What::Connect(a, b) => self.connect(a, b),
            What::Power(node, on) => self.power(node, on),
            What::Frame { conn, end, frame } => self.arrive(conn, end, frame),
            What::Free { conn, end } => self.pull(conn, end),
            What::Timer(node) => self.tick(node),
            What::Write(index) => {
                self.queue_draft(index + 1);
                let Some(draft) = self.plan.drafts.get(index) else { return Ok(()) };
                self.record.drafts_left -= 1;
                self.write(draft.author, draft.group, draft.size)
            }
            What::Answer { node, group, size } => {
                self.record.answers_due -= 1;
                self.write(node, group, size)
            }
            What::Fault(index, first) => self.fault(index, first),
            What::HangUp { node, link } => self.hang_up(node, link),
        }
    }

    /// Who read a message may answer it.
    fn consider_answer(&mut self, node: usize, group: usize) {
        let Some(replies) = self.plan.replies.iter().find(|replies| replies.group == group).copied() else {
            return;
        };
        if self.answers.random_bool(replies.share.value()) {
            let at = self.now + exponential(&mut self.answers, replies.think).us();
            let size = drawn_size(&mut self.answers, replies.size);
            if at < self.plan.length.us() {
                self.record.answers_due += 1;
                self.at_us(at, What::Answer { node, group, size });
            }
        }
    }

    fn fault(&mut self, index: usize, first: bool) -> Result<(), EngineError> {
        match (self.scenario.faults.get(index), first) {
            (Some(Fault::Partition { nodes, .. }), true) => {
                self.cuts.push(nodes.iter().copied().collect());
                let apart: Vec<(usize, usize)> =
                    self.open.keys().copied().filter(|&(a, b)| self.is_cut(a, b)).collect();
                apart.into_iter().try_for_each(|(a, b)| self.disconnect(a, b))
            }
            (Some(Fault::Partition { nodes, .. }), false) => {
                let side: BTreeSet<usize> = nodes.iter().copied().collect();
                if let Some(at) = self.cuts.iter().position(|cut| *cut == side) {
                    self.cuts.swap_remove(at);
                }
                let pairs: Vec<(usize, usize)> = self.near.iter().copied().collect();
                pairs.into_iter().for_each(|(a, b)| self.meet(a, b));
                Ok(())
            }
            (Some(Fault::Crash { node, .. }), true) => self.power(*node, false),
            (Some(Fault::Crash { node, .. }), false) => self.power(*node, true),
            (Some(Fault::LostDisk { node, .. }), _) => self.lose_disk(*node),
            (Some(Fault::Restore { node, .. }), true) => {
                self.back_up(*node);
                Ok(())
            }
            (Some(Fault::Restore { node, .. }), false) => self.restore(*node),
            (None, _) => Ok(()),
        }
    }

    /// Whether a partition lies between two nodes.
    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.cuts.iter().any(|side| side.contains(&a) != side.contains(&b))
    }
}
