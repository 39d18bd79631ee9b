//! The links that are up: which are kept, and what goes out on them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hedgerow_proto::PeerId;
use hedgerow_sync_core::{EngineError, LinkId, ReceiveError};
use hedgerow_transports::plain::is_plain;
use hedgerow_transports::{CloseReason, LinkInfo};
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::oneshot;

use super::Core;
use super::takeover::Takeover;
use crate::error::NodeError;
use crate::events::NodeEvent;
use crate::limits::{LINK_QUEUE_BYTES, MAX_LINKS};

/// Names a link for the life of the node, also when the engine under it is another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WireId(pub(crate) u64);

/// A link that wants to be kept, with the ends that reach its tasks.
pub(crate) struct NewWire {
    pub(crate) id: WireId,
    pub(crate) info: LinkInfo,
    pub(crate) frames: mpsc::Sender<Bytes>,
    /// How many bytes wait in `frames`.
    pub(crate) queued: Arc<AtomicUsize>,
    pub(crate) close: oneshot::Sender<Closing>,
}

/// How a link is to end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Closing {
    pub(crate) reason: CloseReason,
    /// Whether to write what waits first.
    pub(crate) flush: bool,
}

/// What became of a link that wanted to be kept.
pub(crate) enum Admission {
    Kept,
    Refused(CloseReason),
}

#[derive(Default)]
pub(super) struct Wires {
    by_id: BTreeMap<WireId, Wire>,
    by_link: HashMap<LinkId, WireId>,
    /// Links that may have something to say and had no room for it.
    blocked: BTreeSet<WireId>,
}

struct Wire {
    link: LinkId,
    info: LinkInfo,
    frames: mpsc::Sender<Bytes>,
    queued: Arc<AtomicUsize>,
    close: oneshot::Sender<Closing>,
    ready: bool,
}

impl Core {
    /// Decides on a new link, and brings it up if it is kept.
    pub(crate) fn admit(&mut self, new: NewWire) -> Result<Admission, NodeError> {
        let peer = new.info.peer;
        let Some(profile) = self.profile_of(&new.info)? else {
            if is_plain(&new.info.address) {
                tracing::warn!(peer = %peer, address = %new.info.address, "not a foreign peer that is known here");
            } else {
                self.stranger(peer, &new.info.address)?;
            }
            return Ok(Admission::Refused(CloseReason::NotAContact));
        };
        let rival = self.wires.by_id.iter().find(|(_, wire)| is_rival(&wire.info, &new.info));
        match rival.map(|(id, wire)| (*id, wire.info.initiator)) {
            // On a plain stream nobody can say why a link ends: who comes again has lost the one before.
            Some((id, _)) if is_plain(&new.info.address) => {
                if id > new.id {
                    return Ok(Admission::Refused(CloseReason::Duplicate));
                }
                self.drop_wire(id, CloseReason::Duplicate);
            }
            Some((_, old)) if !takes_over(self.me.peer, peer, old, new.info.initiator) => {
                return Ok(Admission::Refused(CloseReason::Duplicate));
            }
            Some((id, old)) => {
                // Both dialled by the peer: nothing but the peer's own word says that the old one is dead.
                if !old && !new.info.initiator && !self.grants_takeover(peer) {
                    return Ok(Admission::Refused(CloseReason::Duplicate));
                }
                self.drop_wire(id, CloseReason::Duplicate);
            }
            None if self.wires.by_id.len() >= MAX_LINKS => return Ok(Admission::Refused(CloseReason::Busy)),
            None => {}
        }
        let now = self.now();
        let link = match self.engine.link_up(peer, profile, now) {
            Err(EngineError::TooManyLinks { .. }) => return Ok(Admission::Refused(CloseReason::Busy)),
            link => link?,
        };
        let NewWire { id, info, frames, queued, close } = new;
        self.wires.by_link.insert(link, id);
        self.wires.by_id.insert(id, Wire { link, info, frames, queued, close, ready: false });
        self.shared.set_linked(peer, true);
        Ok(Admission::Kept)
    }

    fn grants_takeover(&mut self, peer: PeerId) -> bool {
        let now = self.now();
        let takeover = self.takeovers.decide(peer, now);
        if takeover == Takeover::Suspicious {
            tracing::warn!(peer = %peer.short(), "links take each other's place: do two devices use this key?");
            self.notices.push(NodeEvent::SameKey { peer });
        }
        takeover != Takeover::Refused
    }

    /// Takes a frame from a link.
    pub(crate) fn receive(&mut self, id: WireId, frame: Bytes) -> Result<(), NodeError> {
        let Some(wire) = self.wires.by_id.get(&id) else { return Ok(()) };
        let now = self.me.clock.now();
        match self.engine.receive(wire.link, frame, now) {
            Ok(()) => Ok(()),
            Err(ReceiveError::Violation(violation)) => {
                tracing::warn!(peer = %violation.peer.short(), rule = %violation.rule, "link closed");
                self.notices
                    .push(NodeEvent::Violation { peer: violation.peer, rule: violation.rule.to_string() });
                self.drop_wire(id, CloseReason::Violation);
                Ok(())
            }
            Err(ReceiveError::Engine(error)) => self.link_failed(id, error),
            Err(error) => {
                tracing::error!(%error, "link dropped");
                self.drop_wire(id, CloseReason::Violation);
                Ok(())
            }
        }
    }

    /// Ends a link on which the engine failed, and passes on what concerns more than the link.
    fn link_failed(&mut self, id: WireId, error: EngineError) -> Result<(), NodeError> {
        match error.into() {
            error @ NodeError::Store(_) => Err(error),
            error => {
                tracing::error!(%error, "link dropped");
                self.drop_wire(id, CloseReason::Busy);
                Ok(())
            }
        }
    }

    /// A link has ended by itself.
    pub(crate) fn wire_ended(&mut self, id: WireId, why: Option<CloseReason>) {
        let peer = self.wires.by_id.get(&id).map(|wire| wire.info.peer);
        if let (Some(peer), Some(reason @ (CloseReason::NotAContact | CloseReason::Busy))) = (peer, why) {
            self.notices.push(NodeEvent::Refused { peer, reason });
        }
        self.drop_wire(id, CloseReason::Done);
    }

    /// Ends all links of a peer.
    pub(super) fn drop_peer(&mut self, peer: PeerId, reason: CloseReason) {
        let ids: Vec<_> =
            self.wires.by_id.iter().filter(|(_, wire)| wire.info.peer == peer).map(|(id, _)| *id).collect();
        for id in ids {
            self.drop_wire(id, reason);
        }
    }

    /// Ends all links.
    pub(crate) fn drop_all(&mut self, closing: Closing) {
        for (_, wire) in std::mem::take(&mut self.wires.by_id) {
            let _ = wire.close.send(closing);
            self.shared.set_linked(wire.info.peer, false);
        }
    }

    fn drop_wire(&mut self, id: WireId, reason: CloseReason) {
        let Some(wire) = self.wires.by_id.remove(&id) else { return };
        self.wires.by_link.remove(&wire.link);
        self.wires.blocked.remove(&id);
        let now = self.now();
        self.engine.link_down(wire.link, now);
        // It may have ended by itself.
        let _ = wire.close.send(Closing { reason, flush: false });
        let peer = wire.info.peer;
        if !self.wires.by_id.values().any(|other| other.info.peer == peer) {
            self.shared.set_linked(peer, false);
        }
        if wire.ready && !self.is_connected(peer) {
            self.notices.push(NodeEvent::PeerDown { peer });
        }
    }

    pub(super) fn link_ready(&mut self, link: LinkId) {
        let Some(id) = self.wires.by_link.get(&link) else { return };
        let Some(peer) = self.wires.by_id.get(id).map(|wire| wire.info.peer) else { return };
        let was = self.is_connected(peer);
        if let Some(wire) = self.wires.by_id.get_mut(id) {
            wire.ready = true;
        }
        if !was {
            self.tell(NodeEvent::PeerUp { peer });
        }
    }

    /// Whether there is a link to the peer on which both sides said HELLO.
    pub(super) fn is_connected(&self, peer: PeerId) -> bool {
        self.wires.by_id.values().any(|wire| wire.ready && wire.info.peer == peer)
    }

    pub(super) fn link_info(&self, link: LinkId) -> Option<&LinkInfo> {
        let wire = self.wires.by_link.get(&link)?;
        self.wires.by_id.get(wire).map(|wire| &wire.info)
    }

    /// Lets every link that has something to say, and room, pull frames.
    pub(super) fn transmit(&mut self) -> Result<(), NodeError> {
        for id in std::mem::take(&mut self.wires.blocked) {
            self.pull(id)?;
        }
        while let Some(link) = self.engine.poll_link() {
            if let Some(id) = self.wires.by_link.get(&link) {
                self.pull(*id)?;
            }
        }
        Ok(())
    }

    /// Makes frames for one link until there is nothing to say or no room.
    fn pull(&mut self, id: WireId) -> Result<(), NodeError> {
        let Some(wire) = self.wires.by_id.get(&id) else { return Ok(()) };
        let now = self.me.clock.now();
        loop {
            if wire.queued.load(Ordering::Acquire) >= LINK_QUEUE_BYTES {
                break;
            }
            let place = match wire.frames.try_reserve() {
                Ok(place) => place,
                Err(TrySendError::Full(())) => break,
                // It is about to end.
                Err(TrySendError::Closed(())) => return Ok(()),
            };
            match self.engine.poll_transmit(wire.link, now, wire.info.max_frame) {
                Ok(Some(frame)) => {
                    wire.queued.fetch_add(frame.len(), Ordering::AcqRel);
                    place.send(frame);
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    drop(place);
                    return self.link_failed(id, error);
                }
            }
        }
        self.wires.blocked.insert(id);
        Ok(())
    }
}

/// Whether two links do the same for the same two peers, so that one is enough.
fn is_rival(old: &LinkInfo, new: &LinkInfo) -> bool {
    old.peer == new.peer && old.reliable == new.reliable
}

/// Whether a new link to a peer takes the place of an old one. `old` and `new` say whether we dialled it.
///
/// Of two links that cross, the one that the lesser of the two peers dialled is kept: both sides come to the same,
/// whichever they saw first. Two that the same side dialled do not cross: the dialler has given up the old one, so
/// the new one is kept.
fn takes_over(me: PeerId, peer: PeerId, old: bool, new: bool) -> bool {
    old == new || new == (me < peer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_keep_the_same_of_two_links_that_cross_whatever_the_order() {
        let (a, b) = (PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]));
        // For each side and each order: whether the link that a dialled is the one that stays.
        let a_keeps_its_own = |me: PeerId, peer: PeerId, first_by_a: bool| {
            let i_dialled = |by_a: bool| by_a == (me == a);
            let second_stays = takes_over(me, peer, i_dialled(first_by_a), i_dialled(!first_by_a));
            second_stays != first_by_a
        };
        for first_by_a in [true, false] {
            assert!(a_keeps_its_own(a, b, first_by_a));
            assert!(a_keeps_its_own(b, a, first_by_a));
        }
    }

    #[test]
    fn who_dials_again_has_given_up_the_old_link() {
        let (a, b) = (PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]));
        for dialled in [true, false] {
            assert!(takes_over(a, b, dialled, dialled));
            assert!(takes_over(b, a, dialled, dialled));
        }
    }
}
