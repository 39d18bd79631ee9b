//! The listener's part of the handshake.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::SCHEME;
use super::cookie::Cookies;
use super::endpoint::{Core, Endpoint};
use super::link::UdpLink;
use super::packet::{Packet, SessionId};
use super::session::{PROVE, Session};
use crate::crowd::{Origin, who_makes_room};
use crate::noise::{Carrier, Channel, FIRST, Handshake, PROOF, SECOND_WITH_ID, THIRD, VERSION};
use crate::{Address, Link, LinkInfo, Listener, Rejections, TransportError};

/// Accepts the links of one socket.
pub(super) struct UdpListener {
    endpoint: Arc<Endpoint>,
    links: mpsc::Receiver<Ready>,
}

/// A link whose handshake is done. It becomes a link when it is accepted, since it must not hold the socket open.
pub(super) struct Ready {
    id: SessionId,
    info: LinkInfo,
    session: Arc<Session>,
    frames: mpsc::Receiver<bytes::Bytes>,
}

impl UdpListener {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        let (sender, links) = mpsc::channel(endpoint.core().config.backlog.max(1));
        endpoint.core().greeter.lock().unwrap_or_else(PoisonError::into_inner).ready = Some(sender);
        Self { endpoint, links }
    }
}

#[async_trait]
impl Listener for UdpListener {
    fn address(&self) -> Address {
        self.endpoint.address()
    }

    async fn accept(&mut self) -> Result<Box<dyn Link>, TransportError> {
        let Ready { id, info, session, frames } = self.links.recv().await.ok_or(TransportError::Shutdown)?;
        Ok(Box::new(UdpLink::new(self.endpoint.clone(), id, info, session, frames)))
    }

    fn rejections(&self) -> Rejections {
        self.endpoint.core().rejections.clone()
    }
}

impl Drop for UdpListener {
    fn drop(&mut self) {
        let core = self.endpoint.core();
        let mut greeter = core.greeter.lock().unwrap_or_else(PoisonError::into_inner);
        greeter.ready = None;
        greeter.half_open.clear();
        drop(greeter);
        self.links.close();
        while let Ok(ready) = self.links.try_recv() {
            core.remove(ready.id);
        }
    }
}

/// Handshakes of those who dial this socket.
pub(super) struct Greeter {
    cookies: Cookies,
    half_open: HashMap<SessionId, HalfOpen>,
    /// Where finished links go; None if nobody listens on this socket.
    ready: Option<mpsc::Sender<Ready>>,
}

/// A dialler that has shown that it receives where it says it is.
struct HalfOpen {
    place: SocketAddr,
    theirs: SessionId,
    first: [u8; FIRST],
    second: [u8; SECOND_WITH_ID],
    since: Instant,
    stage: Stage,
}

enum Stage {
    Waiting(Box<Handshake>),
    /// The keys are agreed on by this third message, but the proof has not been checked.
    Keyed(Box<Channel>, [u8; THIRD]),
    /// For the moment between the two.
    Moving,
}

impl Greeter {
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        Ok(Self { cookies: Cookies::new(Instant::now())?, half_open: HashMap::new(), ready: None })
    }

    pub(super) const fn is_listening(&self) -> bool {
        self.ready.is_some()
    }

    pub(super) fn handle(&mut self, core: &Core, from: SocketAddr, packet: Packet<'_>) {
        let result = match packet {
            // Also when nobody listens any more: the dialler of a link that lives on may lack our proof.
            Packet::Finish { to, third, nonce, sealed } => self.finish(core, from, to, third, nonce, sealed),
            _ if !self.is_listening() => Ok(()),
            Packet::Hello { from: theirs, first, cookie } => {
                if self.cookies.is_good(cookie, from, theirs, first) {
                    self.hello(core, from, theirs, first)
                } else {
                    let cookie = self.cookies.make(from, theirs, first);
                    core.send_now(from, &Packet::Retry { to: theirs, cookie: &cookie });
                    Ok(())
                }
            }
            Packet::ForeignHello { from: theirs, version } => {
                core.send_now(from, &Packet::OtherVersion { to: theirs, version: VERSION });
                Err(TransportError::ForeignVersion { ours: VERSION, theirs: version })
            }
            _ => Ok(()),
        };
        if let Err(error) = result {
            core.rejections.add(Address::of_socket(SCHEME, from), error);
        }
    }

    pub(super) fn tick(&mut self, core: &Core, now: Instant) {
        self.cookies.rotate(now);
        let limit = core.config.handshake_limit();
        self.half_open.retain(|_, half| {
            let in_time = now.duration_since(half.since) < limit;
            if !in_time {
                let error = TransportError::HandshakeTimeout { limit_ms: core.config.handshake_limit_ms };
                core.rejections.add(Address::of_socket(SCHEME, half.place), error);
            }
            in_time
        });
    }

    fn hello(
        &mut self,
        core: &Core,
        place: SocketAddr,
        theirs: SessionId,
        first: &[u8; FIRST],
    ) -> Result<(), TransportError> {
        let known = self
            .half_open
            .values()
            .find(|half| half.place == place && half.theirs == theirs && half.first == *first);
        if let Some(half) = known {
            core.send_now(place, &Packet::Reply { to: theirs, second: &half.second });
            return Ok(());
        }
        if !core.has_room() {
            return Err(TransportError::Full("too many links on this socket"));
        }
        if self.half_open.len() >= core.config.max_half_open.max(1) {
            self.make_room(core, Origin::of(place.ip()))?;
        }
        let mut handshake = Handshake::responder(&core.identity, Carrier::Datagram)?;
        handshake.read::<0>(first)?;
        let ours = loop {
            let id = core.free_id()?;
            if !self.half_open.contains_key(&id) {
                break id;
            }
        };
        let second = handshake.write::<SECOND_WITH_ID>(&ours.to_be_bytes())?;
        core.send_now(place, &Packet::Reply { to: theirs, second: &second });
        let stage = Stage::Waiting(Box::new(handshake));
        let half = HalfOpen { place, theirs, first: *first, second, since: Instant::now(), stage };
        self.half_open.insert(ours, half);
        Ok(())
    }

    /// Ends the handshake that has to make room for one from this origin.
    fn make_room(&mut self, core: &Core, origin: Origin) -> Result<(), TransportError> {
        let held: Vec<_> =
            self.half_open.iter().map(|(id, half)| (*id, Origin::of(half.place.ip()), half.since)).collect();
        let leaves = who_makes_room(&held, origin, Instant::now());
        let full = TransportError::Full("too many handshakes at once");
        let Some(half) = leaves.and_then(|id| self.half_open.remove(&id)) else { return Err(full) };
        core.rejections.add(Address::of_socket(SCHEME, half.place), full);
        Ok(())
    }

    fn finish(
        &mut self,
        core: &Core,
        from: SocketAddr,
        ours: SessionId,
        third: &[u8; THIRD],
        nonce: u64,
        sealed: &[u8],
    ) -> Result<(), TransportError> {
        let Some(half) = self.half_open.get_mut(&ours) else {
            // The dialler says it again because our proof was lost.
            if let Some(session) = core.session(ours).filter(|session| session.third == Some(*third)) {
                core.prove_again(&session);
            }
            return Ok(());
        };
        if half.place != from {
            return Ok(());
        }
        half.take_third(third)?;
        let Stage::Keyed(channel, _) = &half.stage else { return Err(TransportError::KeyAgreement) };
        let mut plain = [0; 1 + PROOF];
        channel.open(nonce, sealed, &mut plain).map_err(|_| TransportError::KeyAgreement)?;
        let Some(ready) = &self.ready else { return Ok(()) };
        // With no room to accept it the dialler waits, saying this again, until there is or its time is over.
        let Ok(place) = ready.try_reserve() else { return Ok(()) };
        if !core.has_room() {
            return Err(TransportError::Full("too many links on this socket"));
        }
        // From here on it is decided: the bytes are the dialler's own.
        let Some(half) = self.half_open.remove(&ours) else { return Ok(()) };
        let Stage::Keyed(channel, third) = half.stage else { return Ok(()) };
        let [PROVE, proof @ ..] = &plain else {
            return Err(TransportError::Malformed("something else than a proof"));
        };
        let (peer, theirs) = channel.check(proof)?;
        let max_frame = core.config.max_frame().min(theirs);
        let (session, frames) = Session::new(*channel, half.theirs, half.place, max_frame, Some(third));
        // So that the dialler's proof, played back as a packet, is not new.
        session.spend(nonce);
        let session = Arc::new(session);
        core.insert_session(ours, session.clone());
        core.prove_again(&session);
        let address = Address::of_socket(SCHEME, half.place);
        let info = LinkInfo { peer, reliable: false, max_frame, initiator: false, address };
        place.send(Ready { id: ours, info, session, frames });
        Ok(())
    }
}

impl HalfOpen {
    /// A message that does not fit, or is another than the one that fitted, changes nothing.
    fn take_third(&mut self, third: &[u8; THIRD]) -> Result<(), TransportError> {
        match &mut self.stage {
            Stage::Waiting(handshake) => {
                handshake.read::<0>(third)?;
            }
            Stage::Keyed(_, known) if known == third => return Ok(()),
            _ => return Err(TransportError::KeyAgreement),
        }
        if let Stage::Waiting(handshake) = std::mem::replace(&mut self.stage, Stage::Moving) {
            self.stage = Stage::Keyed(Box::new(handshake.finish()?), *third);
        }
        Ok(())
    }
}
