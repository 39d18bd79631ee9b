//! The dialler's part of the handshake.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hedgerow_proto::PeerId;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::endpoint::{Core, Datagram, Endpoint};
use super::link::UdpLink;
use super::packet::{COOKIE, Packet, SessionId};
use super::session::{CLOSE, Opened, PROVE, Session, Unopened};
use crate::noise::{Carrier, FIRST, Handshake, THIRD, VERSION};
use crate::{Address, CloseReason, Link, LinkInfo, TransportError};

/// The longest wait before something is said again, in ms.
const MAX_RETRY_MS: u64 = 1_000;
/// How many cookies are shown at once between two repetitions. More than one, since whoever sees the dial can send
/// cookies that are no good; not many, since who does so must not have us send as much as he likes.
const HURRIED_HELLOS: u32 = 4;

pub(super) async fn dial(
    endpoint: Arc<Endpoint>,
    place: SocketAddr,
    to: &Address,
    expect: PeerId,
    seed: u64,
    until: Instant,
) -> Result<Box<dyn Link>, TransportError> {
    let core = endpoint.core().clone();
    let (id, packets) = core.begin_dial()?;
    let mut talk = Talk {
        until,
        id: Reserved { core: core.clone(), id, kept: false },
        core,
        place,
        packets,
        doubt: None,
        dice: ChaCha8Rng::seed_from_u64(seed),
    };
    let mut handshake = Handshake::initiator(&talk.core.identity, Carrier::Datagram)?;
    let theirs = talk.hello(&mut handshake).await?;
    let third = handshake.write::<THIRD>(&[])?;
    let channel = handshake.finish()?;
    // What the listener takes is not known yet; nothing is delivered before it is.
    let (session, frames) = Session::new(channel, theirs, place, talk.core.config.max_frame(), None);
    let session = Arc::new(session);
    let mut tried = Tried { core: talk.core.clone(), session: Some(session.clone()) };
    let (peer, max_frame) = talk.finish(&session, theirs, &third).await?;
    if peer != expect {
        return Err(TransportError::WrongPeer { expected: expect, found: peer });
    }
    tried.session = None;
    talk.id.kept = true;
    let max_frame = talk.core.config.max_frame().min(max_frame);
    session.limit_frames(max_frame);
    talk.core.finish_dial(id, session.clone());
    let info = LinkInfo { peer, reliable: false, max_frame, initiator: true, address: to.clone() };
    Ok(Box::new(UdpLink::new(endpoint, id, info, session, frames)))
}

/// Says close if the dial comes to nothing or is dropped, since the listener may hold us for a link by now.
struct Tried {
    core: Arc<Core>,
    session: Option<Arc<Session>>,
}

impl Drop for Tried {
    fn drop(&mut self) {
        if let Some(session) = self.session.take() {
            session.send_now(&self.core.socket, CLOSE, &[CloseReason::Done.code()]);
        }
    }
}

/// Gives the session id back if the dial comes to nothing or is dropped.
struct Reserved {
    core: Arc<Core>,
    id: SessionId,
    kept: bool,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if !self.kept {
            self.core.remove(self.id);
        }
    }
}

struct Talk {
    core: Arc<Core>,
    id: Reserved,
    place: SocketAddr,
    packets: mpsc::Receiver<Datagram>,
    until: Instant,
    /// What was wrong with an answer. Anybody may have forged it, so it is the reason of the failure only if no
    /// better answer comes in time.
    doubt: Option<TransportError>,
    dice: ChaCha8Rng,
}

impl Talk {
    /// Says hello until there is a reply to go on with; returns the listener's session id.
    async fn hello(&mut self, handshake: &mut Handshake) -> Result<SessionId, TransportError> {
        let first = handshake.write::<FIRST>(&[])?;
        let mut cookie = [0; COOKIE];
        let mut wait_ms = self.core.config.retry_ms;
        loop {
            self.say_hello(&first, &cookie);
            let mut again_at = self.next_try(&mut wait_ms);
            let mut hurried = 0;
            while let Some(bytes) = self.answer(again_at).await? {
                match Packet::read(&bytes) {
                    Some(Packet::Retry { cookie: fresh, .. })
                        if *fresh != cookie && hurried < HURRIED_HELLOS =>
                    {
                        if cookie == [0; COOKIE] {
                            wait_ms = self.core.config.retry_ms;
                            again_at = self.next_try(&mut wait_ms);
                        }
                        cookie = *fresh;
                        hurried += 1;
                        self.say_hello(&first, &cookie);
                    }
                    Some(Packet::OtherVersion { version, .. }) => {
                        self.doubt = Some(TransportError::ForeignVersion { ours: VERSION, theirs: version });
                    }
                    Some(Packet::Reply { second, .. }) => match handshake.read(second) {
                        Ok(id) => return Ok(SessionId::from_be_bytes(id)),
                        Err(error) => self.doubt = Some(error),
                    },
                    _ => {}
                }
            }
        }
    }

    fn say_hello(&self, first: &[u8; FIRST], cookie: &[u8; COOKIE]) {
        self.core.send_now(self.place, &Packet::Hello { from: self.id.id, first, cookie });
    }

    /// Shows our proof until the listener shows its own; returns who it is and the largest frame that it takes.
    async fn finish(
        &mut self,
        session: &Session,
        theirs: SessionId,
        third: &[u8; THIRD],
    ) -> Result<(PeerId, usize), TransportError> {
        let proof = session.channel.prove(&self.core.identity, self.core.config.max_frame());
        let mut wait_ms = self.core.config.retry_ms;
        loop {
            let (nonce, sealed) =
                session.seal_only(PROVE, &proof).map_err(|_| TransportError::KeyAgreement)?;
            self.core.send_now(self.place, &Packet::Finish { to: theirs, third, nonce, sealed: &sealed });
            let again_at = self.next_try(&mut wait_ms);
            while let Some(bytes) = self.answer(again_at).await? {
                let Some(Packet::Data { nonce, sealed, .. }) = Packet::read(&bytes) else { continue };
                match session.open(nonce, sealed, self.place) {
                    Ok((Opened::Proof(proof), _)) => return session.channel.check(&proof),
                    Ok((Opened::Close(_), _)) => return Err(TransportError::Interrupted),
                    // Frames that overtook the proof are lost, as frames may be.
                    Ok(_) | Err(Unopened::Stale) => {}
                    Err(Unopened::Forged) => self.doubt = Some(TransportError::KeyAgreement),
                }
            }
        }
    }

    /// The next packet from where we dial, or None if it is time to say it again.
    async fn answer(&mut self, again_at: Instant) -> Result<Option<Vec<u8>>, TransportError> {
        loop {
            if Instant::now() >= self.until {
                let limit_ms = self.core.config.handshake_limit_ms;
                return Err(self.doubt.take().unwrap_or(TransportError::HandshakeTimeout { limit_ms }));
            }
            match timeout_at(again_at.min(self.until), self.packets.recv()).await {
                Ok(Some((from, bytes))) if from == self.place => return Ok(Some(bytes)),
                Ok(Some(_)) => {}
                Ok(None) => return Err(TransportError::Shutdown),
                Err(_) if Instant::now() >= self.until => {}
                Err(_) => return Ok(None),
            }
        }
    }

    /// When to say it again. The waits double, and are spread by a quarter either way.
    fn next_try(&mut self, wait_ms: &mut u64) -> Instant {
        let wait = (*wait_ms).clamp(4, MAX_RETRY_MS);
        *wait_ms = wait * 2;
        let spread = self.dice.random_range(wait - wait / 4..=wait + wait / 4);
        Instant::now() + Duration::from_millis(spread)
    }
}
