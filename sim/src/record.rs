//! What happened in a run, as far as it is measured.

mod data;
mod kinds;
mod log;
mod timeline;

use std::collections::{BTreeMap, HashMap, HashSet};

use hedgerow_sync_core::Entry;
use hedgerow_sync_core::proto::{GroupId, MessageId};
use serde::Serialize;

pub use self::data::{
    Acknowledgement, Delivery, Ended, LinkRecord, MessageRecord, NodeRecord, Parked, Sample, Totals,
    WayRecord,
};
pub(crate) use self::kinds::scan;
pub use self::kinds::{Count, Kinds};
pub use self::log::{Event, Fate, FrameEnd, FrameLog, Happening, LinkLog, Log};
use self::timeline::Timeline;
use crate::checks::{Checks, Rule};
use crate::plan::Plan;

/// Everything that is measured in a run. Two runs of one scenario and seed have the same.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Record {
    /// Counts of the whole run.
    pub totals: Totals,
    /// Why it ended.
    pub ended: Ended,
    /// When it ended, in us.
    pub stopped_us: u64,
    /// Messages, in the order in which they were written: their numbers are their places here.
    pub messages: Vec<MessageRecord>,
    /// Deliveries to others than the authors, by time.
    pub deliveries: Vec<Delivery>,
    /// What authors learned, by time.
    pub acknowledgements: Vec<Acknowledgement>,
    /// What is stored and not delivered at the end, by node.
    pub parked_at_end: Vec<Parked>,
    /// Nodes, by number.
    pub nodes: Vec<NodeRecord>,
    /// Pairs of nodes that had a link, ascending.
    pub links: Vec<LinkRecord>,
    /// The rounds of each link while it was up ([`Summary::rounds`](crate::Summary)), in the order in which they ended.
    pub rounds: Vec<u64>,
    /// How everything stood, at even intervals: as many as the run had time for, at most 512.
    pub timeline: Vec<Sample>,
    /// Everything one by one, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log: Option<Log>,
    /// How many messages each node is to have, of others.
    #[serde(skip)]
    pub(crate) wanted_of: Vec<u64>,
    #[serde(skip)]
    pub(crate) checks: Checks,
    #[serde(skip)]
    books: Books,
}

/// What is needed while the run goes on.
#[derive(Debug, Default)]
struct Books {
    timeline: Timeline,
    /// How much the log may hold.
    log_room: u64,
    pairs: HashMap<(u32, u32), u32>,
    /// (message, member) pairs that are to have a delivery, and those that have none.
    wanted: u64,
    lacking: u64,
    unacknowledged: u64,
    frames: u64,
    wire_bytes: u64,
    frames_lost: u64,
    /// The time of the last frame.
    last_frame_us: u64,
    /// Honest members of each group, and since when.
    members: Vec<BTreeMap<usize, u64>>,
    /// Who lies, and counts for nothing.
    adversaries: HashSet<usize>,
    ids: HashMap<MessageId, u32>,
    /// Messages of each group.
    of_group: Vec<Vec<u32>>,
    /// Which messages each node has delivered, as bits by message.
    has: Vec<Vec<u64>>,
    /// Which messages each node is known to hold by their authors, as bits by message.
    known: Vec<Vec<u64>>,
    /// Messages and nodes that had a delivery before the node lost its disk: (message << 32 | node).
    again: HashSet<u64>,
    /// What each node wrote.
    own: Vec<Vec<Own>>,
    /// Which of them are not known to be held by a peer: how many of `own` were looked at, and those left.
    owed: HashMap<(u32, u32), Owed>,
    /// The place of each message in the canonical order: effective time and height.
    keys: Vec<Option<(i64, u64)>>,
}

/// A message at its author: group, position in the delivery order, number.
type Own = (GroupId, u64, u32);
/// How many of a node's own messages were looked at, and which of them a peer is not known to hold.
type Owed = (usize, Vec<Own>);

/// Somebody wrote a message.
pub(crate) struct Writing {
    pub(crate) id: MessageId,
    pub(crate) node: usize,
    pub(crate) group: usize,
    pub(crate) size: usize,
}

impl Record {
    pub(crate) fn new(plan: &Plan, log_room: Option<u64>) -> Self {
        let nodes = plan.windows.len();
        let counted = |node: &usize| !plan.relays.contains(node) && !plan.adversaries.contains_key(node);
        let members = |members: &Vec<usize>| members.iter().filter(|n| counted(n)).map(|n| (*n, 0)).collect();
        let books = Books {
            log_room: log_room.unwrap_or_default(),
            members: plan.groups.iter().map(|(_, all)| members(all)).collect(),
            adversaries: plan.adversaries.keys().copied().collect(),
            of_group: vec![Vec::new(); plan.groups.len()],
            has: vec![Vec::new(); nodes],
            known: vec![Vec::new(); nodes],
            own: vec![Vec::new(); nodes],
            ..Books::default()
        };
        Self {
            totals: Totals::default(),
            ended: Ended::default(),
            stopped_us: 0,
            messages: Vec::new(),
            deliveries: Vec::new(),
            acknowledgements: Vec::new(),
            parked_at_end: Vec::new(),
            nodes: vec![NodeRecord::default(); nodes],
            links: Vec::new(),
            rounds: Vec::new(),
            timeline: Vec::new(),
            log: log_room.map(|_| Log::default()),
            wanted_of: vec![0; nodes],
            checks: Checks::default(),
            books,
        }
    }

    /// Something happened that the log tells, if there is one.
    pub(crate) fn note(&mut self, at_us: u64, what: Happening) {
        if let Some(log) = &mut self.log {
            match self.books.log_room.checked_sub(1) {
                Some(room) => {
                    self.books.log_room = room;
                    log.events.push(Event { at_us, what });
                }
                None => log.left_out += 1,
            }
        }
    }

    /// Whether a node lies.
    pub(crate) fn is_adversary(&self, node: usize) -> bool {
        self.books.adversaries.contains(&node)
    }

    /// (message, member) pairs without a delivery.
    pub(crate) fn lacking(&self) -> u64 {
        self.books.lacking
    }

    /// (message, member) pairs of which the author does not know the delivery.
    pub(crate) fn unacknowledged(&self) -> u64 {
        self.books.unacknowledged
    }

    /// When the last frame was sent, in us.
    pub(crate) fn last_frame_us(&self) -> u64 {
        self.books.last_frame_us
    }

    /// A message was written.
    pub(crate) fn wrote(&mut self, writing: &Writing, now: u64) {
        let Writing { id, node, group, size } = *writing;
        let message = number(self.messages.len());
        let mut others = 0;
        if let Some(members) = self.books.members.get(group) {
            for member in members.keys().filter(|member| **member != node) {
                others += 1;
                if let Some(wanted) = self.wanted_of.get_mut(*member) {
                    *wanted += 1;
                }
            }
        }
        self.books.wanted += others;
        self.books.lacking += others;
        self.books.unacknowledged += others;
        self.books.ids.insert(id, message);
        self.books.keys.push(None);
        if let Some(messages) = self.books.of_group.get_mut(group) {
            messages.push(message);
        }
        if let Some(record) = self.nodes.get_mut(node) {
            record.published += 1;
        }
        self.messages.push(MessageRecord {
            id,
            author: number(node),
            group: number(group),
            size: number(size),
            at_us: now,
            wanted: u32::try_from(others).unwrap_or(u32::MAX),
            delivered: 0,
            last_us: now,
            sends: 0,
        });
        self.note(now, Happening::Published { message, node: number(node) });
    }

    /// A node comes into a group: it is to have everything that was ever said there.
    pub(crate) fn joined(&mut self, node: usize, group: usize, now: u64) {
        self.note(now, Happening::Joined { node: number(node), group: number(group) });
        let Some(members) = self.books.members.get_mut(group) else { return };
        if members.insert(node, now).is_none() {
            self.want(node, group, true);
        }
    }

    /// A node leaves a group: it is to have nothing more.
    pub(crate) fn left(&mut self, node: usize, group: usize, now: u64) {
        self.note(now, Happening::Left { node: number(node), group: number(group) });
        let Some(members) = self.books.members.get_mut(group) else { return };
        if members.remove(&node).is_some() {
            self.want(node, group, false);
        }
        // Should it come back, it begins anew.
        self.again_in(node, Some(group));
    }

    /// A node is to have, or not to have, the messages of a group that it lacks.
    fn want(&mut self, node: usize, group: usize, wants: bool) {
        let messages = self.books.of_group.get(group).cloned().unwrap_or_default();
        for message in messages {
            let has = self.has(node, message) || self.books.again.contains(&pair(message, node));
            let knows = is_set(&self.books.known, node, message);
            let Some(record) = self.messages.get_mut(message as usize) else { continue };
            if record.author as usize == node || has {
                continue;
            }
            let change = |count: &mut u64| *count = if wants { *count + 1 } else { count.saturating_sub(1) };
            record.wanted = if wants { record.wanted + 1 } else { record.wanted.saturating_sub(1) };
            change(&mut self.books.wanted);
            change(&mut self.books.lacking);
            if !knows {
                change(&mut self.books.unacknowledged);
            }
            if let Some(wanted) = self.wanted_of.get_mut(node) {
                change(wanted);
            }
        }
    }

    /// A message is in a node's delivery order. If it is news there, gives back its group, by its place in the
    /// plan, and when it was written.
    pub(crate) fn delivered(
        &mut self,
        node: usize,
        group: GroupId,
        entry: &Entry,
        stored: u64,
        now: u64,
    ) -> Option<(usize, u64)> {
        let Some(&message) = self.books.ids.get(&entry.id) else {
            // What adversaries write is a message as any other. They mark it, as bodies are numbered.
            let junk = entry.body.as_ref().is_some_and(|body| body.starts_with(&JUNK));
            self.totals.junk_delivered += u64::from(junk);
            self.checks.expect(Rule::NothingMadeUp, junk, || format!("node {node} delivered {}", entry.id));
            return None;
        };
        self.checks.expect(Rule::NothingMadeUp, true, String::new);
        let twice = self.has(node, message);
        self.checks.expect(Rule::NoRepeat, !twice, || format!("node {node}, message {message}"));
        if twice {
            return None;
        }
        for dep in &entry.deps {
            let first = self.books.ids.get(dep).is_none_or(|&dep| self.has(node, dep));
            self.checks.expect(Rule::CausalOrder, first, || {
                format!("node {node} delivered message {message} before {dep}, on which it depends")
            });
        }
        let key = (entry.key.eff_ms, entry.key.height);
        if let Some(place) = self.books.keys.get_mut(message as usize) {
            let first = *place.get_or_insert(key);
            self.checks.expect(Rule::EqualCanonicalOrder, first == key, || {
                format!("node {node} has message {message} at {key:?}, others at {first:?}")
            });
        }
        set(&mut self.books.has, node, message);
        let record = self.messages.get_mut(message as usize)?;
        if record.author as usize == node {
            if let Some(own) = self.books.own.get_mut(node) {
                own.push((group, entry.position, message));
            }
            return None;
        }
        let since = self.books.members.get(record.group as usize).and_then(|members| members.get(&node));
        if since.is_none() || self.books.again.contains(&pair(message, node)) {
            return None;
        }
        let wanted_us = since.copied().unwrap_or_default().max(record.at_us);
        let stored_us = stored.clamp(wanted_us.min(now), now);
        let (group, at_us) = (record.group as usize, record.at_us);
        record.delivered += 1;
        record.last_us = now;
        self.books.lacking = self.books.lacking.saturating_sub(1);
        if let Some(record) = self.nodes.get_mut(node) {
            record.delivered += 1;
        }
        self.deliveries.push(Delivery {
            message,
            node: number(node),
            wanted_us,
            stored_us,
            delivered_us: now,
        });
        self.note(stored_us, Happening::Stored { message, node: number(node) });
        self.note(now, Happening::Delivered { message, node: number(node), position: entry.position });
        Some((group, at_us))
    }

    /// A message stands in the log of a disk that a node was given.
    pub(crate) fn recall(&mut self, node: usize, group: GroupId, entry: &Entry) {
        let Some(&message) = self.books.ids.get(&entry.id) else { return };
        set(&mut self.books.has, node, message);
        let is_own = self.messages.get(message as usize).is_some_and(|record| record.author as usize == node);
        if let Some(own) = self.books.own.get_mut(node).filter(|_| is_own) {
            own.push((group, entry.position, message));
        }
    }

    /// A peer is known to hold more of what a node wrote.
    pub(crate) fn peer_has(
        &mut self,
        node: usize,
        peer: usize,
        group: GroupId,
        now: u64,
        held: impl Fn(u64) -> bool,
    ) {
        let Some(own) = self.books.own.get(node) else { return };
        let (seen, owed) = self.books.owed.entry((number(node), number(peer))).or_default();
        owed.extend(own.iter().skip(*seen));
        *seen = own.len();
        let mut news = Vec::new();
        owed.retain(|&(of, position, message)| {
            let is_news = of == group && held(position);
            if is_news {
                news.push(message);
            }
            !is_news
        });
        for message in news {
            let of = self.messages.get(message as usize).map_or(usize::MAX, |record| record.group as usize);
            let counts = self.books.members.get(of).is_some_and(|members| members.contains_key(&peer));
            if counts && !is_set(&self.books.known, peer, message) {
                set(&mut self.books.known, peer, message);
                self.books.unacknowledged = self.books.unacknowledged.saturating_sub(1);
                self.acknowledgements.push(Acknowledgement { message, peer: number(peer), at_us: now });
                let (node, peer) = (number(node), number(peer));
                self.note(now, Happening::Acknowledged { message, node, peer });
            }
        }
    }

    /// A node's disk was replaced: what it delivered, it may deliver again.
    pub(crate) fn forget(&mut self, node: usize) {
        self.again_in(node, None);
        if let Some(own) = self.books.own.get_mut(node) {
            own.clear();
        }
        self.books.owed.retain(|(of, _), _| *of != number(node));
    }

    fn again_in(&mut self, node: usize, group: Option<usize>) {
        let Some(has) = self.books.has.get_mut(node) else { return };
        for (word, bits) in (0_u32..).zip(has.iter_mut()) {
            let set = *bits;
            for message in (0..64).filter(|bit| set >> bit & 1 == 1).map(|bit| word * 64 + bit) {
                let record = self.messages.get(message as usize);
                if group.is_none_or(|group| record.is_some_and(|record| record.group as usize == group)) {
                    self.books.again.insert(pair(message, node));
                    *bits &= !(1 << (message % 64));
                }
            }
        }
    }

    /// The place of the record of the links between two nodes.
    pub(crate) fn link_between(&mut self, a: usize, b: usize) -> u32 {
        let (a, b) = (number(a), number(b));
        let next = number(self.links.len());
        let place = *self.books.pairs.entry((a, b)).or_insert(next);
        if place == next {
            self.links.push(LinkRecord { a, b, ..LinkRecord::default() });
        }
        place
    }

    /// A direction of the links of a pair.
    pub(crate) fn way(&mut self, pair: u32, end: usize) -> Option<&mut WayRecord> {
        let link = self.links.get_mut(pair as usize)?;
        Some(if end == 0 { &mut link.forth } else { &mut link.back })
    }

    /// A frame went into a link. Gives back what is in it, and the messages that it carries.
    pub(crate) fn sent(&mut self, pair: u32, end: usize, from: usize, frame: &[u8], now: u64) -> Kinds {
        let messages = &mut self.messages;
        let kinds = scan(frame, |body| {
            if let Some(record) = number_of(body).and_then(|number| messages.get_mut(number as usize)) {
                record.sends += 1;
            }
        });
        self.books.frames += 1;
        self.books.wire_bytes += frame.len() as u64;
        self.books.last_frame_us = now;
        if let Some(way) = self.way(pair, end) {
            way.sent += kinds;
        }
        if let Some(node) = self.nodes.get_mut(from) {
            node.sent += kinds;
        }
        kinds
    }

    /// A frame that was lost in the manner of its link.
    pub(crate) fn lost(&mut self, pair: u32, end: usize) {
        self.books.frames_lost += 1;
        if let Some(way) = self.way(pair, end) {
            way.lost += 1;
        }
    }

    /// A frame came to a node.
    pub(crate) fn received(&mut self, node: usize, frame: &[u8]) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.received += scan(frame, |_| ());
        }
    }

    /// A frame for the log, with its place there.
    pub(crate) fn log_frame(&mut self, frame: impl FnOnce() -> FrameLog) -> Option<u32> {
        let log = self.log.as_mut()?;
        let Some(room) = self.books.log_room.checked_sub(1) else {
            log.left_out += 1;
            return None;
        };
        self.books.log_room = room;
        log.frames.push(frame());
        Some(number(log.frames.len() - 1))
    }

    /// A frame of the log got a fate.
    pub(crate) fn fate(&mut self, frame: Option<u32>, at_us: u64, end: FrameEnd) {
        let frame = frame.and_then(|frame| self.log.as_mut()?.frames.get_mut(frame as usize));
        if let Some(frame) = frame {
            frame.fates.push(Fate { at_us, end });
        }
    }

    /// What becomes of a frame that was under way.
    pub(crate) fn settle(&mut self, frame: Option<u32>, at_us: u64, end: FrameEnd) {
        let frame = frame.and_then(|frame| self.log.as_mut()?.frames.get_mut(frame as usize));
        let fates = frame.map(|frame| frame.fates.iter_mut()).into_iter().flatten();
        if let Some(fate) =
            fates.into_iter().find(|fate| fate.at_us == at_us && fate.end == FrameEnd::UnderWay)
        {
            fate.end = end;
        }
    }

    /// Whether a sample of the timeline is due.
    pub(crate) fn sample_is_due(&self, now: u64) -> bool {
        self.books.timeline.is_due(now)
    }

    /// Takes a sample.
    pub(crate) fn sample(&mut self, now: u64, nodes_on: usize, links_up: usize) {
        let sample = self.sample_of(nodes_on, links_up);
        self.books.timeline.take(now, sample);
    }

    fn sample_of(&self, nodes_on: usize, links_up: usize) -> Sample {
        Sample {
            at_us: 0,
            nodes_on: nodes_on as u64,
            links_up: links_up as u64,
            messages: self.messages.len() as u64,
            wanted: self.books.wanted,
            delivered: self.books.wanted.saturating_sub(self.books.lacking),
            parked: 0,
            frames: self.books.frames,
            wire_bytes: self.books.wire_bytes,
            frames_lost: self.books.frames_lost,
        }
    }

    /// Everything is over.
    pub(crate) fn finish(&mut self, now: u64, nodes_on: usize, links_up: usize) {
        self.stopped_us = now;
        let sample = self.sample_of(nodes_on, links_up);
        self.timeline = self.books.timeline.finish(now, sample);
        self.links.sort_unstable_by_key(|link| (link.a, link.b));
        if let Some(log) = &mut self.log {
            // Storing is learned at delivery.
            log.events.sort_by_key(|event| event.at_us);
        }
        self.count_parked();
    }

    /// When each message that was parked began and ceased to be.
    pub(crate) fn waits(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        // Storing is known to the ms only.
        let apart = |from: u64, to: u64| to / 1_000 > from / 1_000;
        self.deliveries
            .iter()
            .map(|one| (one.stored_us, one.delivered_us))
            .filter(move |(from, to)| apart(*from, *to))
    }

    fn count_parked(&mut self) {
        let mut changes: Vec<(u64, i8, u32)> = Vec::new();
        for one in self.deliveries.iter().filter(|one| one.delivered_us / 1_000 > one.stored_us / 1_000) {
            changes.extend([(one.stored_us, 1, one.node), (one.delivered_us, -1, one.node)]);
        }
        changes.extend(self.parked_at_end.iter().map(|one| (one.stored_us, 1, one.node)));
        changes.sort_unstable();
        let mut at = vec![0_i64; self.nodes.len()];
        let mut all = 0_i64;
        let mut changes = changes.into_iter().peekable();
        for sample in &mut self.timeline {
            while let Some((_, change, node)) = changes.next_if(|(us, ..)| *us <= sample.at_us) {
                all += i64::from(change);
                let Some(count) = at.get_mut(node as usize) else { continue };
                *count += i64::from(change);
                if let Some(node) = self.nodes.get_mut(node as usize) {
                    node.parked_most = node.parked_most.max(count.unsigned_abs());
                }
            }
            sample.parked = all.unsigned_abs();
        }
    }

    /// Which messages a node has delivered.
    pub(crate) fn held(&self, node: usize) -> impl Iterator<Item = (u32, &MessageRecord)> {
        (0_u32..).zip(&self.messages).filter(move |(message, _)| self.has(node, *message))
    }

    /// The messages of a group that just one of two nodes has delivered.
    pub(crate) fn difference(&self, group: usize, a: usize, b: usize) -> Vec<u32> {
        let messages = self.books.of_group.get(group).map(Vec::as_slice).unwrap_or_default();
        messages.iter().copied().filter(|m| self.has(a, *m) != self.has(b, *m)).collect()
    }

    /// Whether a node has delivered a message.
    pub(crate) fn has_delivered(&self, node: usize, message: u32) -> bool {
        self.has(node, message)
    }

    fn has(&self, node: usize, message: u32) -> bool {
        is_set(&self.books.has, node, message)
    }

    /// How many messages were written.
    pub(crate) fn said(&self) -> usize {
        self.messages.len()
    }
}

/// How bodies of adversaries begin, where those of others have their number.
pub(crate) const JUNK: [u8; 4] = [0xff; 4];

/// The number of the message that a body belongs to.
pub(crate) fn number_of(body: &[u8]) -> Option<u32> {
    body.first_chunk().filter(|start| **start != JUNK).map(|start| u32::from_le_bytes(*start))
}

/// Nodes, links and messages are counted in 32 bits: of more there is no memory to keep a record.
pub(crate) fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn pair(message: u32, node: usize) -> u64 {
    u64::from(message) << 32 | node as u64
}

fn is_set(bits: &[Vec<u64>], node: usize, message: u32) -> bool {
    let word = bits.get(node).and_then(|bits| bits.get(message as usize / 64));
    word.is_some_and(|word| word >> (message % 64) & 1 == 1)
}

fn set(bits: &mut [Vec<u64>], node: usize, message: u32) {
    let Some(bits) = bits.get_mut(node) else { return };
    let word = message as usize / 64;
    if bits.len() <= word {
        bits.resize(word + 1, 0);
    }
    if let Some(word) = bits.get_mut(word) {
        *word |= 1 << (message % 64);
    }
}
