//! Links: who can have one, and what happens to the frames on it.

use bytes::Bytes;
use hedgerow_sync_core::{EngineError, LinkId, LinkProfile, PushPolicy, ReceiveError};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::nodes::peer_of;
use super::{What, World};
use crate::random::{log_normal, stream};
use crate::scenario::{Carrier, Latency, Loss, Push, Scenario};
use crate::units::Span;

/// A link that is up.
pub(super) struct Conn {
    ends: [(usize, LinkId); 2],
    ways: [Way; 2],
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

/// What engines are told of links.
pub(super) fn profile_of(scenario: &Scenario) -> LinkProfile {
    let mtu = usize::try_from(scenario.links.mtu.bytes()).unwrap_or(usize::MAX);
    let mut profile = match scenario.links.carrier {
        Carrier::Stream => LinkProfile { max_frame: mtu, ..LinkProfile::reliable() },
        Carrier::Datagram => LinkProfile::lossy(mtu),
    };
    profile.push = match scenario.engine.push {
        None | Some(Push::Adaptive) => PushPolicy::Adaptive,
        Some(Push::Always) => PushPolicy::Always,
        Some(Push::OfferFirst) => PushPolicy::OfferFirst,
    };
    profile
}

impl World<'_> {
    /// Two nodes that can hear each other get a link, if they can have one.
    pub(super) fn meet(&mut self, a: usize, b: usize) {
        if self.may_connect(a, b) {
            self.at_us(self.now + self.scenario.links.setup.us(), What::Connect(a, b));
        }
    }

    fn may_connect(&self, a: usize, b: usize) -> bool {
        let on = |node: usize| self.nodes.get(node).is_some_and(|node| node.engine.is_some());
        self.near.contains(&(a, b))
            && on(a)
            && on(b)
            && !self.is_cut(a, b)
            && !self.open.contains_key(&(a, b))
    }

    /// A node came on: it meets all who are near.
    pub(super) fn meet_all(&mut self, node: usize) {
        let near: Vec<(usize, usize)> =
            self.near.iter().copied().filter(|&(a, b)| a == node || b == node).collect();
        near.into_iter().for_each(|(a, b)| self.meet(a, b));
    }

    pub(super) fn connect(&mut self, a: usize, b: usize) -> Result<(), EngineError> {
        if !self.may_connect(a, b) {
            return Ok(());
        }
        self.share(a, b)?;
        let conn = self.conns.len();
        let mut ends = Vec::with_capacity(2);
        for (node, other, end) in [(a, b, 0), (b, a, 1)] {
            let now = self.local(node);
            let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
            let Some(engine) = &mut state.engine else { return Ok(()) };
            let link = engine.link_up(peer_of(other), state.profile.clone(), now)?;
            state.links.insert(link, (conn, end));
            ends.push((node, link));
        }
        let &[first, second] = ends.as_slice() else { return Ok(()) };
        let links = &self.scenario.links;
        let way = |end: u64, loss: &Loss| Way {
            rng: stream(self.seed, "frames", 2 * conn as u64 + end),
            loss: loss.clone(),
            bad: false,
            busy: 0,
            waiting: false,
            latest: 0,
        };
        let ways = [way(0, &links.loss), way(1, links.loss_back.as_ref().unwrap_or(&links.loss))];
        self.conns.push(Some(Conn { ends: [first, second], ways }));
        self.open.insert((a, b), conn);
        self.record.links += 1;
        self.touch(a)?;
        self.touch(b)
    }

    /// A link ends. Both ends know at once, or after a while.
    pub(super) fn disconnect(&mut self, a: usize, b: usize) -> Result<(), EngineError> {
        let Some(conn) = self.open.remove(&(a, b)).and_then(|conn| self.conns.get_mut(conn)?.take()) else {
            return Ok(());
        };
        let late = self.scenario.links.half_open;
        for (node, link) in conn.ends {
            if late.us() > 0 {
                self.at_us(self.now + late.us(), What::HangUp { node, link });
            } else {
                self.hang_up(node, link)?;
            }
        }
        Ok(())
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
            let engine = self.nodes.get_mut(node).and_then(|node| node.engine.as_mut());
            let Some(frame) = engine.map_or(Ok(None), |e| e.poll_transmit(link, local, usize::MAX))? else {
                return Ok(());
            };
            self.send(conn, end, &frame);
        }
    }

    fn send(&mut self, conn: usize, end: usize, frame: &Bytes) {
        let links = &self.scenario.links;
        let now = self.now;
        let Some(Some(state)) = self.conns.get_mut(conn) else { return };
        let [(a, _), (b, _)] = state.ends;
        let Some(way) = state.ways.get_mut(end) else { return };
        way.busy = now + links.bandwidth.map_or(0, |rate| rate.us_for(frame.len()));
        self.record.sent(a, b, end, frame.len());
        let mut arrivals = Vec::with_capacity(2);
        match links.carrier {
            Carrier::Stream => {
                way.latest = way.latest.max(way.busy + way.delay(&links.latency));
                arrivals.push(way.latest);
            }
            Carrier::Datagram => {
                let copies = 1 + usize::from(way.rng.random_bool(links.duplication.value()));
                for copy in 0..copies {
                    let lost = copy == 0 && way.is_lost();
                    let altered = way.rng.random_bool(links.corruption.value());
                    let at = way.busy + way.delay(&links.latency);
                    if lost || altered {
                        self.record.frames_lost += 1;
                    } else {
                        arrivals.push(at);
                    }
                }
            }
        }
        for at in arrivals {
            self.at_us(at, What::Frame { conn, end: 1 - end, frame: frame.clone() });
        }
    }

    pub(super) fn arrive(&mut self, conn: usize, end: usize, frame: Bytes) -> Result<(), EngineError> {
        let Some(Some(state)) = self.conns.get(conn) else { return Ok(()) };
        let Some(&(node, link)) = state.ends.get(end) else { return Ok(()) };
        let [(a, _), (b, _)] = state.ends;
        let now = self.local(node);
        let engine = self.nodes.get_mut(node).and_then(|node| node.engine.as_mut());
        match engine.map_or(Ok(()), |engine| engine.receive(link, frame, now)) {
            Ok(()) => self.touch(node),
            Err(ReceiveError::Engine(error)) => Err(error),
            Err(_) => {
                // The engine has ended the link already.
                self.record.violations += 1;
                self.disconnect(a, b)?;
                let again = self.now + self.scenario.links.setup.us().max(Span::from_s(1).us());
                self.at_us(again, What::Connect(a, b));
                Ok(())
            }
        }
    }
}
