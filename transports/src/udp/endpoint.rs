//! One socket and everything that goes through it.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::greet::Greeter;
use super::packet::{Packet, SessionId};
use super::session::{ALIVE, ANSWER, CHALLENGE, Challenge, Opened, PROVE, Session};
use super::{SCHEME, UdpConfig};
use crate::{Address, Identity, LinkError, Rejections, TransportError};

/// A datagram and where it came from.
pub(super) type Datagram = (SocketAddr, Vec<u8>);

/// Ids of sessions that were dialled have this bit, those of the others have not, so that the two tables in which an
/// id can be free never give out the same one.
const DIALLED: SessionId = 1 << 31;

/// How many packets wait for a dial that is in progress.
const DIAL_QUEUE: usize = 16;
/// Rest after the system refused to receive.
const RECEIVE_REST: Duration = Duration::from_millis(10);

/// A socket in use. The last one who drops it ends it: listener, links and dials in progress each hold it.
pub(super) struct Endpoint {
    core: Arc<Core>,
    stop: CancellationToken,
}

/// What the task of the socket works with.
pub(super) struct Core {
    pub(super) socket: UdpSocket,
    pub(super) identity: Identity,
    pub(super) config: Arc<UdpConfig>,
    pub(super) rejections: Rejections,
    local: SocketAddr,
    sessions: Mutex<HashMap<SessionId, Entry>>,
    pub(super) greeter: Mutex<Greeter>,
}

/// Who a session id belongs to.
enum Entry {
    /// A dial in progress, which reads the packets itself.
    Dialling(mpsc::Sender<Datagram>),
    Up(Arc<Session>),
}

impl Endpoint {
    pub(super) async fn bind(
        at: &[SocketAddr],
        address: &Address,
        identity: Identity,
        config: Arc<UdpConfig>,
    ) -> Result<Arc<Self>, TransportError> {
        let failed = |error| TransportError::io(address, error);
        let socket = UdpSocket::bind(at).await.map_err(failed)?;
        let local = socket.local_addr().map_err(failed)?;
        let greeter = Greeter::new().map_err(|error| failed(std::io::Error::other(error)))?;
        let core = Arc::new(Core {
            socket,
            identity,
            config,
            rejections: Rejections::default(),
            local,
            sessions: Mutex::default(),
            greeter: Mutex::new(greeter),
        });
        let stop = CancellationToken::new();
        tokio::spawn(run(core.clone(), stop.clone()));
        Ok(Arc::new(Self { core, stop }))
    }

    pub(super) fn local(&self) -> SocketAddr {
        self.core.local
    }

    /// Whether this is the socket at one of these places, and nobody listens on it any more.
    pub(super) fn can_listen(&self, at: &[SocketAddr]) -> bool {
        at.contains(&self.core.local) && !self.core.greeter().is_listening()
    }

    pub(super) fn address(&self) -> Address {
        Address::of_socket(SCHEME, self.core.local)
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("local", &self.core.local).finish_non_exhaustive()
    }
}

impl Core {
    /// Reserves a session id for a dial.
    pub(super) fn begin_dial(&self) -> Result<(SessionId, mpsc::Receiver<Datagram>), TransportError> {
        let (sender, packets) = mpsc::channel(DIAL_QUEUE);
        let mut sessions = self.sessions();
        if sessions.len() >= self.config.max_sessions {
            return Err(TransportError::Full("too many links on this socket"));
        }
        loop {
            let id = random_id()? | DIALLED;
            if let Slot::Vacant(slot) = sessions.entry(id) {
                slot.insert(Entry::Dialling(sender));
                return Ok((id, packets));
            }
        }
    }

    /// Puts the session in the place of the dial that has made it.
    pub(super) fn finish_dial(&self, id: SessionId, session: Arc<Session>) {
        self.sessions().insert(id, Entry::Up(session));
    }

    /// Whether one more session fits.
    pub(super) fn has_room(&self) -> bool {
        self.sessions().len() < self.config.max_sessions
    }

    /// Puts in a session under the id that it was given when its handshake began.
    pub(super) fn insert_session(&self, id: SessionId, session: Arc<Session>) {
        self.sessions().insert(id, Entry::Up(session));
    }

    pub(super) fn remove(&self, id: SessionId) {
        self.sessions().remove(&id);
    }

    pub(super) fn session(&self, id: SessionId) -> Option<Arc<Session>> {
        match self.sessions().get(&id) {
            Some(Entry::Up(session)) => Some(session.clone()),
            _ => None,
        }
    }

    /// Sends without waiting; what the system does not take at once is lost, as on any other part of the way.
    pub(super) fn send_now(&self, to: SocketAddr, packet: &Packet<'_>) {
        if let Err(error) = self.socket.try_send_to(&packet.write(), to) {
            tracing::trace!(%error, "a packet was not sent");
        }
    }

    /// An id for a handshake that a dialler begins, which no session has.
    pub(super) fn free_id(&self) -> Result<SessionId, TransportError> {
        let sessions = self.sessions();
        loop {
            let id = random_id()? & !DIALLED;
            if !sessions.contains_key(&id) {
                return Ok(id);
            }
        }
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Entry>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn greeter(&self) -> MutexGuard<'_, Greeter> {
        self.greeter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings a packet to whom it belongs.
    fn sort(&self, from: SocketAddr, bytes: &[u8]) {
        let Some(packet) = Packet::read(bytes) else {
            if self.greeter().is_listening() {
                self.rejections.add(Address::of_socket(SCHEME, from), TransportError::NotHedgerow);
            }
            return;
        };
        match packet {
            Packet::Hello { .. } | Packet::ForeignHello { .. } | Packet::Finish { .. } => {
                self.greeter().handle(self, from, packet);
            }
            Packet::Retry { to, .. } | Packet::OtherVersion { to, .. } | Packet::Reply { to, .. } => {
                if let Some(Entry::Dialling(dial)) = self.sessions().get(&to) {
                    // A dial that is behind says its part again and gets another answer.
                    let _ = dial.try_send((from, bytes.to_vec()));
                }
            }
            Packet::Data { to, nonce, sealed } => {
                let session = match self.sessions().get(&to) {
                    Some(Entry::Up(session)) => session.clone(),
                    Some(Entry::Dialling(dial)) => {
                        let _ = dial.try_send((from, bytes.to_vec()));
                        return;
                    }
                    None => return,
                };
                match session.open(nonce, sealed, from) {
                    Ok((opened, challenge)) => self.data(to, &session, from, opened, challenge),
                    Err(why) => tracing::trace!(?why, "a packet was ignored"),
                }
            }
        }
    }

    fn data(
        &self,
        id: SessionId,
        session: &Session,
        from: SocketAddr,
        opened: Opened,
        challenge: Option<Challenge>,
    ) {
        if let Some(Challenge { to, token }) = challenge {
            session.send_now_to(&self.socket, to, CHALLENGE, &token);
        }
        match opened {
            Opened::Frame(frame) => session.deliver(frame),
            Opened::Close(reason) => {
                session.ending.end(LinkError::Closed(reason));
                self.remove(id);
            }
            // As long as what it answers, so that nothing is gained by having it sent elsewhere.
            Opened::Challenge(token) => session.send_now_to(&self.socket, from, ANSWER, &token),
            Opened::Alive | Opened::Proof(_) | Opened::Unknown => {}
        }
    }

    /// Sends the proof of the listener again, to a dialler that has not got it.
    pub(super) fn prove_again(&self, session: &Session) {
        let proof = session.channel.prove(&self.identity, self.config.max_frame());
        session.send_now(&self.socket, PROVE, &proof);
    }

    /// Signs of life, and the end of those that give none. `late` says that this task itself was held up, so that
    /// what was sent to it may not have been read yet.
    fn tick(&self, late: bool) {
        let now = Instant::now();
        self.greeter().tick(self, now);
        let up: Vec<_> = self
            .sessions()
            .iter()
            .filter_map(|(id, entry)| match entry {
                Entry::Up(session) => Some((*id, session.clone())),
                Entry::Dialling(_) => None,
            })
            .collect();
        let silence = Duration::from_millis(self.config.silence_ms);
        let keepalive = Duration::from_millis(self.config.keepalive_ms);
        for (id, session) in up {
            if !late && now.duration_since(session.last_heard()) >= silence {
                session.ending.end(LinkError::Timeout { silence_ms: self.config.silence_ms });
                self.remove(id);
            } else if now.duration_since(session.last_sent()) >= keepalive {
                session.send_now(&self.socket, ALIVE, &[]);
            }
        }
    }
}

/// Not to be guessed, so that nobody off the path can speak to a dial in progress.
fn random_id() -> Result<SessionId, TransportError> {
    getrandom::u32().map_err(|_| TransportError::Full("the system gives no randomness"))
}

async fn run(core: Arc<Core>, stop: CancellationToken) {
    let config = &core.config;
    let least = config.keepalive_ms.min(config.silence_ms).min(config.handshake_limit_ms);
    let period = Duration::from_millis((least / 8).clamp(5, 1_000));
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last_tick = Instant::now();
    let mut room = vec![0; 65_536];
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {
                core.tick(last_tick.elapsed() > period * 3);
                last_tick = Instant::now();
            }
            received = core.socket.recv_from(&mut room) => match received {
                Ok((len, from)) => core.sort(from, room.get(..len).unwrap_or_default()),
                Err(error) => {
                    // Some systems report here that an earlier packet was refused. It says nothing of the next.
                    tracing::debug!(%error, "receiving failed");
                    sleep(RECEIVE_REST).await;
                }
            },
        }
    }
}
