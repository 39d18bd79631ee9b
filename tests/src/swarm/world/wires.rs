//! Links between nodes: how they begin and end, and what becomes of the frames on them.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hedgerow_proto::{GroupId, limits};
use hedgerow_sync_core::{EngineError, LinkId, LinkProfile};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::{World, peer};
use crate::swarm::options::pick;
use crate::swarm::run::Broken;
use crate::swarm::trace::Fate;

/// How many frames are kept to be replayed.
const MAX_OLD_FRAMES: usize = 256;

/// A link between two nodes, or a node and a liar.
pub(in crate::swarm) struct Wire {
    pub(in crate::swarm) ends: [End; 2],
    pub(in crate::swarm) profile: LinkProfile,
    loss: f64,
    delay_ms: (u64, u64),
    /// When the latest frame to each end arrives: a reliable carrier keeps the order.
    latest: [u64; 2],
    /// Whether what each end sends is cut off, and what a reliable carrier holds back meanwhile.
    pub(in crate::swarm) blocked: [bool; 2],
    stalled: [VecDeque<Bytes>; 2],
    pub(in crate::swarm) up_since: u64,
}

/// One end of a link.
pub(in crate::swarm) struct End {
    pub(in crate::swarm) node: usize,
    /// The link of an engine; `None` at a liar.
    pub(in crate::swarm) link: Option<LinkId>,
    /// Nobody is there any more, and the other end does not know.
    pub(in crate::swarm) gone: bool,
    /// What the sender at this end calls itself and its groups.
    pub(in crate::swarm) nonce: Option<[u8; limits::NONCE_LEN]>,
    pub(in crate::swarm) names: BTreeMap<u32, GroupId>,
}

impl Wire {
    /// The share of frames that it loses.
    pub(in crate::swarm) fn loss(&self) -> f64 {
        if self.profile.reliable { 0.0 } else { self.loss }
    }
}

impl World {
    /// Ends a link at both ends.
    pub(in crate::swarm) fn disconnect(&mut self, at: usize) {
        let Some(wire) = self.wires[at].take() else { return };
        self.count("links down");
        for end in wire.ends.into_iter().filter(|end| !end.gone) {
            if let Some(link) = end.link {
                self.by_link.remove(&(end.node, link));
                let clock = self.clock(end.node);
                self.engine(end.node).link_down(link, clock);
            } else if self.is_liar(end.node) {
                self.liars[end.node - self.options.nodes].forget(at);
            }
        }
    }

    /// The wires of which one end is gone.
    pub(in crate::swarm) fn half_open(&self) -> Vec<usize> {
        let open = |wire: &Wire| wire.ends.iter().any(|end| end.gone);
        (0..self.wires.len()).filter(|at| self.wires[*at].as_ref().is_some_and(open)).collect()
    }

    pub(in crate::swarm) fn up(&self) -> Vec<usize> {
        (0..self.wires.len()).filter(|at| self.wires[*at].is_some()).collect()
    }

    /// A link between two nodes, one of which may be a liar, unless one of them has too many links to the other.
    pub(in crate::swarm) fn connect_with(
        &mut self,
        a: usize,
        b: usize,
        profile: LinkProfile,
        loss: f64,
        delay_ms: (u64, u64),
    ) -> Result<(), Broken> {
        let at = self.wires.len();
        let mut ends: Vec<End> = Vec::with_capacity(2);
        for (n, other) in [(a, b), (b, a)] {
            let link = if self.is_liar(n) {
                None
            } else {
                let clock = self.clock(n);
                let link = match self.engine(n).link_up(peer(other), profile.clone(), clock) {
                    Ok(link) => link,
                    Err(EngineError::TooManyLinks { .. }) => {
                        self.count("links refused");
                        for End { node, link, .. } in ends {
                            if let Some(link) = link {
                                self.by_link.remove(&(node, link));
                                let clock = self.clock(node);
                                self.engine(node).link_down(link, clock);
                            }
                        }
                        return Ok(());
                    }
                    Err(error) => return Err(error.into()),
                };
                self.by_link.insert((n, link), at);
                Some(link)
            };
            ends.push(End { node: n, link, gone: false, nonce: None, names: BTreeMap::new() });
        }
        let Ok(ends) = <[End; 2]>::try_from(ends) else { unreachable!("two ends") };
        let (now, reliable) = (self.now, profile.reliable);
        self.note(|| format!("link {at} between {a} and {b}, reliable {reliable}, loss {loss}"));
        self.count("links up");
        self.wires.push(Some(Wire {
            ends,
            profile,
            loss,
            delay_ms,
            latest: [now; 2],
            blocked: [false; 2],
            stalled: Default::default(),
            up_since: now,
        }));
        for (n, other) in [(a, b), (b, a)] {
            if self.is_liar(n) {
                let groups = self.groups.clone();
                let frames = self.liars[n - self.options.nodes].greet(at, reliable, &groups);
                let _ = other;
                self.liar_sends(n, at, frames)?;
            }
        }
        Ok(())
    }

    /// Frames that a liar made go over a wire.
    pub(in crate::swarm) fn liar_sends(
        &mut self,
        n: usize,
        at: usize,
        frames: Vec<Bytes>,
    ) -> Result<(), Broken> {
        for frame in frames {
            let Some(wire) = &self.wires[at] else { break };
            let end = usize::from(wire.ends[1].node == n);
            self.count("frames of liars");
            self.fly(at, end, frame)?;
        }
        Ok(())
    }

    /// Puts every frame of a link on its wire, as far as the carrier takes them.
    pub(super) fn pull(&mut self, n: usize, link: LinkId) -> Result<(), Broken> {
        loop {
            let Some(&at) = self.by_link.get(&(n, link)) else { return Ok(()) };
            let mut room = usize::MAX;
            if self.options.links.congestion > 0.0 && self.rng.random_bool(self.options.links.congestion) {
                self.count("carriers without room");
                if self.rng.random_bool(0.5) {
                    self.counter += 1;
                    self.congested.insert((self.now + 7, self.counter), (n, link));
                    return Ok(());
                }
                room = self.rng.random_range(0..2_000);
            }
            let clock = self.clock(n);
            let mut frame = self.engine(n).poll_transmit(link, clock, room)?;
            if frame.is_none() && room < usize::MAX {
                room = usize::MAX;
                frame = self.engine(n).poll_transmit(link, clock, room)?;
            }
            let Some(frame) = frame else { return Ok(()) };
            let Some(wire) = &self.wires[at] else { return Ok(()) };
            if frame.len() > room.min(wire.profile.max_frame) {
                let text = format!("node {n}: {} bytes for a carrier with room for {room}", frame.len());
                return Err(Broken::new("frames fit", text));
            }
            let end = usize::from(wire.ends[1].node == n && wire.ends[1].link == Some(link));
            self.look_at_frame(at, end, &frame)?;
            self.fly(at, end, frame)?;
        }
    }

    /// A frame leaves an end of a wire.
    fn fly(&mut self, at: usize, end: usize, frame: Bytes) -> Result<(), Broken> {
        let mut options = self.options.links;
        let Some(wire) = &mut self.wires[at] else { return Ok(()) };
        let (from, to) = (wire.ends[end].node, wire.ends[1 - end].node);
        if self.healed.contains(&from) && self.healed.contains(&to) {
            options.corruption = 0.0;
            options.replay = 0.0;
        }
        let (reliable, loss, delay_ms) = (wire.profile.reliable, wire.loss, wire.delay_ms);
        let gone = wire.ends[1 - end].gone;
        let blocked = wire.blocked[end];
        if blocked && reliable && !gone {
            wire.stalled[end].push_back(frame.clone());
        }
        self.count("frames");
        self.count_many("bytes", frame.len() as u64);
        if self.rng.random_bool(0.1) {
            if self.old_frames.len() >= MAX_OLD_FRAMES {
                self.old_frames.pop_front();
            }
            self.old_frames.push_back((from, to, frame.clone()));
        }
        let fate = if gone {
            Fate::Nobody
        } else if blocked {
            Fate::Cut
        } else if !reliable && self.rng.random_bool(loss) {
            Fate::Lost
        } else if options.corruption > 0.0
            && self.rng.random_bool(options.corruption * if reliable { 0.1 } else { 1.0 })
        {
            Fate::Damaged
        } else {
            Fate::Sent
        };
        self.log.frame(self.now, from, to, at, fate, &frame);
        match fate {
            Fate::Nobody => self.count("frames to nobody"),
            Fate::Cut => self.count("frames cut off"),
            Fate::Lost => self.count("frames lost"),
            Fate::Damaged => self.damage(at, end, &frame, delay_ms),
            Fate::Sent => {
                let copies = if !reliable && self.rng.random_bool(options.duplication) {
                    self.count("frames repeated");
                    self.rng.random_range(2..4)
                } else {
                    1
                };
                for copy in 0..copies {
                    let late = if copy > 0 && self.rng.random_bool(0.2) { 100 } else { 1 };
                    self.send(at, end, frame.clone(), (delay_ms.0, delay_ms.1 * late));
                }
                if options.replay > 0.0
                    && self.rng.random_bool(options.replay * if reliable { 0.02 } else { 1.0 })
                {
                    self.replay(at, end, delay_ms);
                }
            }
        }
        Ok(())
    }

    /// A frame is on its way.
    fn send(&mut self, at: usize, end: usize, frame: Bytes, delay_ms: (u64, u64)) {
        let Some(wire) = &mut self.wires[at] else { return };
        let mut when = self.now + self.rng.random_range(delay_ms.0..=delay_ms.1);
        if wire.profile.reliable {
            when = when.max(wire.latest[1 - end]);
            wire.latest[1 - end] = when;
        }
        self.counter += 1;
        self.flying.insert((when, self.counter), (at, 1 - end, frame));
    }

    /// Something went wrong with a frame on its way. A cipher drops it, or ends the link of a reliable carrier.
    fn damage(&mut self, at: usize, end: usize, frame: &Bytes, delay_ms: (u64, u64)) {
        let Some(wire) = &self.wires[at] else { return };
        let nodes = (wire.ends[0].node, wire.ends[1].node);
        let reliable = wire.profile.reliable;
        if !self.options.links.bare {
            self.count("damaged frames dropped");
            if reliable {
                self.disconnect(at);
            }
            return;
        }
        let damaged = damage(&mut self.rng, frame);
        self.count("damaged frames delivered");
        self.tainted.insert((nodes.0.min(nodes.1), nodes.0.max(nodes.1)));
        self.send(at, end, damaged, delay_ms);
    }

    /// A frame of an earlier session between the two comes again.
    fn replay(&mut self, at: usize, end: usize, delay_ms: (u64, u64)) {
        let Some(wire) = &self.wires[at] else { return };
        let (from, to) = (wire.ends[end].node, wire.ends[1 - end].node);
        let old: Vec<Bytes> = self
            .old_frames
            .iter()
            .filter(|(a, b, _)| (*a, *b) == (from, to))
            .map(|(.., frame)| frame.clone())
            .collect();
        if old.is_empty() {
            return;
        }
        let frame = pick(&mut self.rng, &old).clone();
        if self.options.links.bare {
            self.count("old frames replayed");
            self.tainted.insert((from.min(to), from.max(to)));
            self.send(at, end, frame, delay_ms);
        } else {
            self.count("old frames dropped");
        }
    }

    pub(in crate::swarm) fn is_tainted(&self, a: usize, b: usize) -> bool {
        self.tainted.contains(&(a.min(b), a.max(b)))
    }

    /// Lets frames through again, or holds them back.
    pub(in crate::swarm) fn block(&mut self, at: usize, end: usize, blocked: bool) {
        let Some(wire) = &mut self.wires[at] else { return };
        if std::mem::replace(&mut wire.blocked[end], blocked) == blocked {
            return;
        }
        let delay_ms = wire.delay_ms;
        let stalled = if blocked { VecDeque::new() } else { std::mem::take(&mut wire.stalled[end]) };
        if blocked {
            self.count("directions of links cut");
        }
        for frame in stalled {
            self.send(at, end, frame, delay_ms);
        }
    }
}

/// Flips bits, cuts off, or adds bytes.
pub(in crate::swarm) fn damage(rng: &mut ChaCha12Rng, frame: &Bytes) -> Bytes {
    let mut bytes = frame.to_vec();
    match rng.random_range(0..8) {
        0 => bytes.truncate(rng.random_range(0..bytes.len().max(1))),
        1 => bytes.extend((0..rng.random_range(1..40)).map(|_| rng.random::<u8>())),
        _ => {
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len().max(1));
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << rng.random_range(0..8);
                }
            }
        }
    }
    bytes.into()
}
