//! Links: who can have one, and what happens to the frames on it.

use bytes::Bytes;
use hedgerow_sync_core::{Direction, EngineError, LinkId, LinkProfile, PushPolicy, ReceiveError};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::nodes::peer_of;
use super::{Flight, What, World};
use crate::checks::Rule;
use crate::random::{exponential, log_normal, stream};
use crate::record::{FrameEnd, FrameLog, Happening, LinkLog, number, number_of};
use crate::scenario::{Carrier, Latency, Links, Loss, Push};
use crate::units::Span;

/// So many links to one peer an engine takes; more are tried again later.
const MAX_LINKS: usize = 16;

/// A link that is up.
pub(super) struct Conn {
    ends: [(usize, LinkId); 2],
    ways: [Way; 2],
    up_us: u64,
    /// The record of its pair, and of this link in the log.
    record: u32,
    log: Option<u32>,
}

impl Conn {
    pub(super) fn pair(&self) -> (usize, usize) {
        let [(a, _), (b, _)] = self.ends;
        (a, b)
    }

    /// When something was last sent on it, or it came up, in us.
    pub(super) fn quiet_since(&self) -> u64 {
        self.ways.iter().map(|way| way.sent_us).fold(self.up_us, u64::max)
    }
}

/// One direction of a link.
struct Way {
    rng: ChaCha12Rng,
    loss: Loss,
    /// Whether the channel is bad at the moment.
    bad: bool,
    /// Until when the carrier sends what it took, in us.
    busy: u64,
    /// It was asked to come again then.
    waiting: bool,
    /// When the latest frame arrives, in us: a stream keeps the order.
    latest: u64,
    /// When something was last sent, in us.
    sent_us: u64,
    /// The longest chain of frames that arrived at the sender's end.
    heard: u64,
    /// Frames under way.
    flying: u64,
}

impl Way {
    fn is_lost(&mut self) -> bool {
        let share = match &self.loss {
            Loss::Independent(share) => *share,
            Loss::Bursts { good, bad, to_bad, to_good } => {
                let turn = if self.bad { to_good } else { to_bad };
                self.bad ^= self.rng.random_bool(turn.value());
                if self.bad { *bad } else { *good }
            }
        };
        self.rng.random_bool(share.value())
    }

    fn delay(&mut self, latency: &Latency) -> u64 {
        match latency {
            Latency::Fixed(span) => span.us(),
            Latency::Uniform { from, to } => self.rng.random_range(from.us()..=to.us().max(from.us())),
            Latency::LogNormal { median, sigma } => log_normal(&mut self.rng, *median, *sigma).us(),
        }
    }
}

/// What an engine is told of a link; `end` 0 is that of the node with the lower number.
fn profile_of(links: &Links, push: Option<Push>, end: usize) -> LinkProfile {
    let mtu = usize::try_from(links.mtu.bytes()).unwrap_or(usize::MAX);
    if links.simplex {
        let direction = if end == 0 { Direction::Out } else { Direction::In };
        return LinkProfile::one_way(direction, links.carrier == Carrier::Stream, mtu);
    }
    let mut profile = match links.carrier {
        Carrier::Stream => LinkProfile { max_frame: mtu, ..LinkProfile::reliable() },
        Carrier::Datagram => LinkProfile::lossy(mtu),
    };
    profile.push = match push {
        None | Some(Push::Adaptive) => PushPolicy::Adaptive,
        Some(Push::Always) => PushPolicy::Always,
        Some(Push::OfferFirst) => PushPolicy::OfferFirst,
    };
    profile
}

impl World<'_> {
    /// Two nodes begin or cease to hear each other.
    pub(super) fn set_near(&mut self, a: usize, b: usize, near: bool) {
        for (node, other) in [(a, b), (b, a)] {
            if let Some(node) = self.nodes.get_mut(node) {
                if near {
                    node.near.insert(other)
                } else {
                    node.near.remove(&other)
                };
            }
        }
    }

    /// Two nodes that can hear each other get a link, if they can have one.
    pub(super) fn meet(&mut self, a: usize, b: usize) {
        self.meet_after(a, b, Span::default());
    }

    /// The same, not before so long from now.
    pub(super) fn meet_after(&mut self, a: usize, b: usize, least: Span) {
        let (a, b) = (a.min(b), a.max(b));
        if self.may_connect(a, b) {
            let wait = self.links_of(a, b).setup.us().max(least.us());
            self.at_us(self.now + wait, What::Connect(a, b));
        }
    }

    fn may_connect(&self, a: usize, b: usize) -> bool {
        let (Some(one), Some(other)) = (self.nodes.get(a), self.nodes.get(b)) else { return false };
        one.near.contains(&b)
            && one.engine.is_some()
            && other.engine.is_some()
            && !one.open.contains_key(&b)
            && !self.is_cut(a, b)
    }

    /// A node meets all who are near.
    pub(super) fn meet_all(&mut self, node: usize) {
        let near: Vec<usize> =
            self.nodes.get(node).map(|n| n.near.iter().copied().collect()).unwrap_or_default();
        near.into_iter().for_each(|other| self.meet(node, other));
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) -> Result<(), EngineError> {
        if !self.may_connect(a, b) {
            return Ok(());
        }
        let has_room = |node: usize, other: usize| {
            let to = |link: &&(usize, usize, usize)| link.2 == other;
            self.nodes.get(node).is_some_and(|node| node.links.values().filter(to).count() < MAX_LINKS)
        };
        if !has_room(a, b) || !has_room(b, a) {
            // They believe in old links still, whose other ends are gone.
            self.meet_after(a, b, Span::from_s(1));
            return Ok(());
        }
        self.stir();
        self.share(a, b)?;
        let conn = self.conns.len();
        let links = self.links_of(a, b);
        let mut ends = Vec::with_capacity(2);
        for (node, other, end) in [(a, b, 0), (b, a, 1)] {
            let now = self.local(node);
            let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
            let Some(engine) = &mut state.engine else { return Ok(()) };
            let profile = profile_of(links, self.scenario.engine.push, end);
            let link = engine.link_up(peer_of(other), profile, now)?;
            state.links.insert(link, (conn, end, other));
            state.open.insert(other, conn);
            ends.push((node, link));
        }
        let &[first, second] = ends.as_slice() else { return Ok(()) };
        let way = |end: u64, loss: &Loss| Way {
            rng: stream(self.seed, "frames", 2 * conn as u64 + end),
            loss: loss.clone(),
            bad: false,
            busy: 0,
            waiting: false,
            latest: 0,
            sent_us: 0,
            heard: 0,
            flying: 0,
        };
        let ways = [way(0, &links.loss), way(1, links.loss_back.as_ref().unwrap_or(&links.loss))];
        let record = self.record.link_between(a, b);
        if let Some(pair) = self.record.links.get_mut(record as usize) {
            pair.ups += 1;
        }
        let log = self.record.log.as_mut().map(|log| {
            log.links.push(LinkLog { a: number(a), b: number(b), up_us: self.now, down_us: None });
            number(log.links.len() - 1)
        });
        if let Some(link) = log {
            self.record.note(self.now, Happening::LinkUp { link });
        }
        let state = Conn { ends: [first, second], ways, up_us: self.now, record, log };
        self.conns.push(Some(Box::new(state)));
        self.links_up += 1;
        self.record.totals.links += 1;
        if let Some(mean) = links.breaks {
            let after = exponential(&mut stream(self.seed, "breaks", conn as u64), mean);
            self.at_us(self.now + after.us(), What::Break(conn));
        }
        self.touch(a)?;
        self.touch(b)
    }

    /// A link ends. Both ends know at once, or after a while.
    pub(super) fn disconnect(&mut self, a: usize, b: usize) -> Result<(), EngineError> {
        let conn = self.nodes.get(a).and_then(|node| node.open.get(&b).copied());
        let Some(state) = conn.and_then(|conn| self.conns.get_mut(conn)?.take()) else { return Ok(()) };
        self.stir();
        for (node, other) in [(a, b), (b, a)] {
            if let Some(node) = self.nodes.get_mut(node) {
                node.open.remove(&other);
            }
        }
        self.account(&state);
        self.links_up -= 1;
        let late = self.links_of(a, b).half_open;
        for (node, link) in state.ends {
            if late.us() > 0 {
                self.at_us(self.now + late.us(), What::HangUp { node, link });
            } else {
                self.hang_up(node, link)?;
            }
        }
        Ok(())
    }

    /// A link is over, or the run is: notes what there is to note of it.
    pub(super) fn account(&mut self, conn: &Conn) {
        let rounds = conn.ways.iter().map(|way| way.heard).max().unwrap_or_default();
        self.record.rounds.push(rounds);
        if let Some(pair) = self.record.links.get_mut(conn.record as usize) {
            pair.up_us += self.now - conn.up_us;
        }
        for (end, way) in conn.ways.iter().enumerate() {
            if let Some(record) = self.record.way(conn.record, end) {
                record.cut_off += way.flying;
            }
        }
        if let Some(link) = conn.log {
            let log = self.record.log.as_mut().and_then(|log| log.links.get_mut(link as usize));
            if let Some(log) = log {
                log.down_us = Some(self.now);
            }
            self.record.note(self.now, Happening::LinkDown { link });
        }
    }

    pub(super) fn hang_up(&mut self, node: usize, link: LinkId) -> Result<(), EngineError> {
        let now = self.local(node);
        let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
        if state.links.remove(&link).is_some()
            && let Some(engine) = &mut state.engine
        {
            engine.link_down(link, now);
        }
        self.touch(node)
    }

    /// The carrier has room again.
    pub(super) fn free(&mut self, conn: usize, end: usize) -> Result<(), EngineError> {
        self.pull(conn, end)?;
        let state = self.conns.get(conn).and_then(Option::as_ref);
        let Some(&(node, _)) = state.and_then(|state| state.ends.get(end)) else { return Ok(()) };
        // What was sent may have moved the engine's timer.
        self.touch(node)
    }

    /// Takes frames from a node for one of its links, as far as the carrier has room.
    pub(super) fn pull(&mut self, conn: usize, end: usize) -> Result<(), EngineError> {
        loop {
            let now = self.now;
            let Some(Some(state)) = self.conns.get_mut(conn) else { return Ok(()) };
            let (Some(&(node, link)), Some(way)) = (state.ends.get(end), state.ways.get_mut(end)) else {
                return Ok(());
            };
            if way.busy > now {
                if !way.waiting {
                    way.waiting = true;
                    let at = way.busy;
                    self.at_us(at, What::Free { conn, end });
                }
                return Ok(());
            }
            way.waiting = false;
            let local = self.local(node);
            let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
            let engine = state.engine.as_mut();
            let Some(frame) = engine.map_or(Ok(None), |e| e.poll_transmit(link, local, usize::MAX))? else {
                return Ok(());
            };
            match &mut state.liar {
                None => self.send(conn, end, &frame),
                Some(liar) => {
                    for frame in liar.alter(link, &frame, local.as_timestamp_ms()) {
                        self.send(conn, end, &frame);
                    }
                }
            }
        }
    }

    pub(super) fn send(&mut self, conn: usize, end: usize, frame: &Bytes) {
        let now = self.now;
        let Some(Some(state)) = self.conns.get_mut(conn) else { return };
        let ((a, b), record, link) = (state.pair(), state.record, state.log);
        let from = if end == 0 { a } else { b };
        let links = self.links_of(a, b);
        let Some(Some(state)) = self.conns.get_mut(conn) else { return };
        let Some(way) = state.ways.get_mut(end) else { return };
        way.busy = now.max(way.busy) + links.bandwidth.map_or(0, |rate| rate.us_for(frame.len()));
        way.sent_us = now;
        let round = way.heard + 1;
        let kinds = self.record.sent(record, end, from, frame, now);
        if self.owes_silence {
            let still = now > self.stirred_us + self.patience_us;
            if still {
                self.record.checks.expect(Rule::Silence, false, || {
                    format!("node {from} sent {} bytes at {} s", frame.len(), now as f64 / 1e6)
                });
            }
        }
        let log = self.record.log_frame(|| {
            let mut messages = Vec::new();
            crate::record::scan(frame, |body| messages.extend(number_of(body)));
            let (bytes, to) = (number(frame.len()), number(if end == 0 { b } else { a }));
            let (link, from) = (link.unwrap_or_default(), number(from));
            FrameLog { link, from, to, sent_us: now, bytes, kinds, messages, fates: Vec::new() }
        });
        // A frame that comes twice is lost and delayed twice, each time anew.
        let mut arrivals = Vec::with_capacity(2);
        match links.carrier {
            Carrier::Stream => {
                way.latest = way.latest.max(way.busy + way.delay(&links.latency));
                arrivals.push((way.latest, FrameEnd::UnderWay));
            }
            Carrier::Datagram => {
                let twice = way.rng.random_bool(links.duplication.value());
                for copy in 0..1 + usize::from(twice) {
                    let lost = copy == 0 && way.is_lost();
                    let altered = way.rng.random_bool(links.corruption.value());
                    let late = way.rng.random_bool(links.reordering.value());
                    let extra = if late { links.reordering_delay.us() } else { 0 };
                    let at = way.busy + way.delay(&links.latency) + extra;
                    arrivals.push(match (lost, altered) {
                        (true, _) => (at, FrameEnd::Lost),
                        (_, true) => (at, FrameEnd::Corrupted),
                        _ => (at, FrameEnd::UnderWay),
                    });
                }
                if let Some(way) = self.record.way(record, end).filter(|_| twice) {
                    way.repeated += 1;
                }
            }
        }
        for (at, fate) in arrivals {
            self.record.fate(log, at, fate);
            match fate {
                FrameEnd::Lost => self.record.lost(record, end),
                FrameEnd::Corrupted => {
                    if let Some(way) = self.record.way(record, end) {
                        way.corrupted += 1;
                    }
                }
                _ => {
                    if let Some(Some(state)) = self.conns.get_mut(conn)
                        && let Some(way) = state.ways.get_mut(end)
                    {
                        way.flying += 1;
                    }
                    let frame = frame.clone();
                    let flight = Flight { conn, end: 1 - end, round, log, frame };
                    self.at_us(at, What::Frame(Box::new(flight)));
                }
            }
        }
    }

    pub(super) fn arrive(&mut self, flight: Flight) -> Result<(), EngineError> {
        let Flight { conn, end, round, log, frame } = flight;
        let Some(Some(state)) = self.conns.get_mut(conn) else {
            self.record.settle(log, self.now, FrameEnd::CutOff);
            return Ok(());
        };
        let (a, b) = state.pair();
        let [forth, back] = &mut state.ways;
        let (sent_by, heard_by) = if end == 1 { (forth, back) } else { (back, forth) };
        sent_by.flying = sent_by.flying.saturating_sub(1);
        heard_by.heard = heard_by.heard.max(round);
        let Some(&(node, link)) = state.ends.get(end) else { return Ok(()) };
        self.record.settle(log, self.now, FrameEnd::Arrived);
        self.record.received(node, &frame);
        let now = self.local(node);
        let engine = self.nodes.get_mut(node).and_then(|node| node.engine.as_mut());
        match engine.map_or(Ok(()), |engine| engine.receive(link, frame, now)) {
            Ok(()) => self.touch(node),
            Err(ReceiveError::Engine(error)) => Err(error),
            Err(rule) => {
                let sender = if end == 0 { b } else { a };
                if self.record.is_adversary(sender) {
                    self.record.totals.adversary_links_ended += 1;
                } else {
                    self.record.totals.violations += 1;
                    self.record.checks.expect(Rule::Conformance, false, || {
                        format!("node {node} ended its link to node {sender}: {rule}")
                    });
                }
                // The engine has ended the link already.
                self.disconnect(a, b)?;
                self.meet_after(a, b, Span::from_s(1));
                Ok(())
            }
        }
    }
}
