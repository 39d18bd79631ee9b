//! One session: its keys, its nonces, and where its packets go.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::packet::{Packet, SessionId};
use super::window::ReplayWindow;
use crate::link::Ending;
use crate::noise::{Channel, TAG, THIRD};
use crate::{CloseReason, LinkError};

pub(crate) const FRAME: u8 = 0;
pub(crate) const CLOSE: u8 = 1;
pub(crate) const ALIVE: u8 = 2;
pub(crate) const PROVE: u8 = 3;
pub(crate) const CHALLENGE: u8 = 4;
pub(crate) const ANSWER: u8 = 5;

/// Random bytes that show, when they come back, that the other end receives at an address.
pub(crate) type Token = [u8; 8];

/// How soon an address is challenged again.
const CHALLENGE_REST: Duration = Duration::from_millis(250);

/// How many received frames wait for the reader; what comes beyond is dropped, as the network might have.
const QUEUE_FRAMES: usize = 256;

pub(crate) struct Session {
    theirs: SessionId,
    pub(crate) channel: Channel,
    next_nonce: AtomicU64,
    live: Mutex<Live>,
    frames: mpsc::Sender<Bytes>,
    max_frame: AtomicUsize,
    pub(crate) ending: Ending,
    /// The third message of the handshake, if we are the listener: who repeats it lacks our proof.
    pub(crate) third: Option<[u8; THIRD]>,
}

/// What changes with each packet.
struct Live {
    window: ReplayWindow,
    /// Where the other end has shown that it receives.
    place: SocketAddr,
    /// Where it seems to have moved.
    moving: Option<Moving>,
    last_sent: Instant,
    last_heard: Instant,
}

/// An address from which the newest packet came. Anybody can deliver a packet of the other end's from any address, so that
/// nothing but a challenge is sent there before it is answered.
struct Moving {
    to: SocketAddr,
    token: Token,
    asked: Instant,
}

impl Live {
    /// Takes note of where the newest packet came from; returns a challenge that is to be sent there.
    fn seen_at(&mut self, from: SocketAddr, now: Instant) -> Option<Challenge> {
        if self.place == from {
            self.moving = None;
            return None;
        }
        let known = self.moving.as_ref().filter(|moving| moving.to == from);
        if known.is_some_and(|moving| now.duration_since(moving.asked) < CHALLENGE_REST) {
            return None;
        }
        let token = match known {
            // An answer that is late counts too.
            Some(moving) => moving.token,
            None => getrandom::u64().ok()?.to_be_bytes(),
        };
        self.moving = Some(Moving { to: from, token, asked: now });
        Some(Challenge { to: from, token })
    }

    fn answered(&mut self, token: &Token) {
        if let Some(moving) = self.moving.take_if(|moving| moving.token == *token) {
            tracing::debug!(to = %moving.to, "the other end of a session has moved");
            self.place = moving.to;
        }
    }
}

/// What is to be sent to an address at which the other end may be.
#[derive(Debug)]
pub(crate) struct Challenge {
    pub(crate) to: SocketAddr,
    pub(crate) token: Token,
}

/// Why a packet was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unopened {
    /// Its nonce was taken before, or is too old.
    Stale,
    /// It is not authentic.
    Forged,
}

/// What was in an authentic packet.
#[derive(Debug)]
pub(crate) enum Opened {
    Frame(Bytes),
    Close(CloseReason),
    Alive,
    Proof(Bytes),
    /// To be answered where it came from.
    Challenge(Token),
    /// Authentic, but of a kind or form that this version does not know: ignored.
    Unknown,
}

impl Session {
    pub(crate) fn new(
        channel: Channel,
        theirs: SessionId,
        place: SocketAddr,
        max_frame: usize,
        third: Option<[u8; THIRD]>,
    ) -> (Self, mpsc::Receiver<Bytes>) {
        let (frames, received) = mpsc::channel(QUEUE_FRAMES);
        let now = Instant::now();
        let live = Live { window: ReplayWindow::new(), place, moving: None, last_sent: now, last_heard: now };
        let session = Self {
            theirs,
            channel,
            next_nonce: AtomicU64::new(0),
            live: Mutex::new(live),
            frames,
            max_frame: AtomicUsize::new(max_frame),
            ending: Ending::default(),
            third,
        };
        (session, received)
    }

    /// Larger frames than this are ignored from now on.
    pub(crate) fn limit_frames(&self, max_frame: usize) {
        self.max_frame.store(max_frame, Ordering::Relaxed);
    }

    /// A packet with this content, sealed under a nonce that is never used again, and where it is to be sent.
    pub(crate) fn seal(&self, kind: u8, content: &[u8]) -> Result<(Vec<u8>, SocketAddr), LinkError> {
        let packet = self.seal_packet(kind, content)?;
        let mut live = self.live();
        live.last_sent = Instant::now();
        Ok((packet, live.place))
    }

    fn seal_packet(&self, kind: u8, content: &[u8]) -> Result<Vec<u8>, LinkError> {
        let (nonce, sealed) = self.seal_only(kind, content)?;
        Ok(Packet::Data { to: self.theirs, nonce, sealed: &sealed }.write())
    }

    /// The nonce and the sealed content alone.
    pub(crate) fn seal_only(&self, kind: u8, content: &[u8]) -> Result<(u64, Vec<u8>), LinkError> {
        let used_up = LinkError::Malformed("the nonces of this link are used up");
        let next = |nonce: u64| nonce.checked_add(1);
        let Ok(nonce) = self.next_nonce.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next) else {
            return Err(used_up);
        };
        let plain = [&[kind], content].concat();
        let mut sealed = vec![0; plain.len() + TAG];
        self.channel.seal(nonce, &plain, &mut sealed).map_err(|_| used_up)?;
        Ok((nonce, sealed))
    }

    /// Opens a packet that came from `from`. There is a challenge with it if the other end seems to have moved there.
    pub(crate) fn open(
        &self,
        nonce: u64,
        sealed: &[u8],
        from: SocketAddr,
    ) -> Result<(Opened, Option<Challenge>), Unopened> {
        if !self.live().window.is_fresh(nonce) {
            return Err(Unopened::Stale);
        }
        let mut plain = BytesMut::zeroed(sealed.len().checked_sub(TAG).ok_or(Unopened::Forged)?);
        self.channel.open(nonce, sealed, &mut plain).map_err(|_| Unopened::Forged)?;
        let mut live = self.live();
        // Looked at again, since the lock was not held meanwhile.
        if !live.window.is_fresh(nonce) {
            return Err(Unopened::Stale);
        }
        let now = Instant::now();
        live.last_heard = now;
        let challenge = if live.window.take(nonce) { live.seen_at(from, now) } else { None };
        if plain.is_empty() {
            return Ok((Opened::Unknown, challenge));
        }
        let kind = plain.get_u8();
        let opened = match (kind, &plain[..]) {
            (FRAME, frame) if frame.len() <= self.max_frame.load(Ordering::Relaxed) => {
                Opened::Frame(plain.freeze())
            }
            (CLOSE, [code]) => Opened::Close(CloseReason::from_code(*code)),
            (ALIVE, []) => Opened::Alive,
            (PROVE, _) => Opened::Proof(plain.freeze()),
            (CHALLENGE, token) => token.try_into().map_or(Opened::Unknown, Opened::Challenge),
            (ANSWER, token) => {
                if let Ok(token) = token.try_into() {
                    live.answered(token);
                }
                Opened::Alive
            }
            _ => Opened::Unknown,
        };
        Ok((opened, challenge))
    }

    /// Marks a nonce of the other end as taken, which was opened before there was a session.
    pub(crate) fn spend(&self, nonce: u64) {
        self.live().window.take(nonce);
    }

    /// Hands a frame to the reader, or drops it if too many wait.
    pub(crate) fn deliver(&self, frame: Bytes) {
        if self.frames.try_send(frame).is_err() {
            tracing::trace!("a frame was dropped: the reader is behind");
        }
    }

    pub(crate) fn last_sent(&self) -> Instant {
        self.live().last_sent
    }

    pub(crate) fn last_heard(&self) -> Instant {
        self.live().last_heard
    }

    /// Sends without waiting; what the system does not take at once is lost.
    pub(crate) fn send_now(&self, socket: &UdpSocket, kind: u8, content: &[u8]) {
        if let Ok((packet, place)) = self.seal(kind, content)
            && let Err(error) = socket.try_send_to(&packet, place)
        {
            tracing::trace!(%error, "a packet was not sent");
        }
    }

    /// The same, to an address that need not be where the other end is.
    pub(crate) fn send_now_to(&self, socket: &UdpSocket, to: SocketAddr, kind: u8, content: &[u8]) {
        if let Ok(packet) = self.seal_packet(kind, content)
            && let Err(error) = socket.try_send_to(&packet, to)
        {
            tracing::trace!(%error, "a packet was not sent");
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;
    use crate::noise::{Carrier, FIRST, Handshake, SECOND};

    fn pair() -> (Session, Session) {
        let (a, b) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let mut a = Handshake::initiator(&a, Carrier::Datagram).unwrap();
        let mut b = Handshake::responder(&b, Carrier::Datagram).unwrap();
        b.read::<0>(&a.write::<FIRST>(&[]).unwrap()).unwrap();
        a.read::<0>(&b.write::<SECOND>(&[]).unwrap()).unwrap();
        b.read::<0>(&a.write::<THIRD>(&[]).unwrap()).unwrap();
        let session = |channel| Session::new(channel, 7, "127.0.0.1:1".parse().unwrap(), 1000, None).0;
        (session(a.finish().unwrap()), session(b.finish().unwrap()))
    }

    fn open(session: &Session, packet: &[u8], from: &str) -> Result<(Opened, Option<Challenge>), Unopened> {
        let Some(Packet::Data { nonce, sealed, .. }) = Packet::read(packet) else { panic!("no data packet") };
        session.open(nonce, sealed, from.parse().unwrap())
    }

    fn place(session: &Session) -> String {
        session.live().place.to_string()
    }

    #[test]
    fn the_other_end_moves_only_when_the_challenge_is_answered() {
        let (a, b) = pair();
        let packets: Vec<_> = (0..4).map(|_| a.seal(FRAME, b"x").unwrap().0).collect();
        let (_, challenge) = open(&b, &packets[1], "127.0.0.1:2").unwrap();
        let challenge = challenge.expect("the newest packet came from elsewhere");
        assert_eq!(challenge.to.to_string(), "127.0.0.1:2");
        // Older than the newest: taken, but it moves nothing.
        assert!(open(&b, &packets[0], "127.0.0.1:3").unwrap().1.is_none());
        // A copy from elsewhere, and a forged one.
        assert_eq!(open(&b, &packets[1], "127.0.0.1:4").unwrap_err(), Unopened::Stale);
        let mut forged = packets[2].clone();
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(open(&b, &forged, "127.0.0.1:5").unwrap_err(), Unopened::Forged);
        // The same address is not asked again at once.
        assert!(open(&b, &packets[2], "127.0.0.1:2").unwrap().1.is_none());
        assert_eq!(place(&b), "127.0.0.1:1");
        // A wrong answer, and the right one.
        for (token, at) in [([0; 8], "127.0.0.1:1"), (challenge.token, "127.0.0.1:2")] {
            let answer = a.seal(ANSWER, &token).unwrap().0;
            open(&b, &answer, "127.0.0.1:2").unwrap();
            assert_eq!(place(&b), at);
        }
        // The answer counts once.
        assert!(open(&b, &a.seal(ALIVE, &[]).unwrap().0, "127.0.0.1:7").unwrap().1.is_some());
        open(&b, &a.seal(ANSWER, &challenge.token).unwrap().0, "127.0.0.1:7").unwrap();
        assert_eq!(place(&b), "127.0.0.1:2");
    }

    #[test]
    fn who_is_heard_again_where_it_was_has_not_moved() {
        let (a, b) = pair();
        let seal = || a.seal(ALIVE, &[]).unwrap().0;
        let challenge = open(&b, &seal(), "127.0.0.1:2").unwrap().1.unwrap();
        assert!(open(&b, &seal(), "127.0.0.1:1").unwrap().1.is_none());
        open(&b, &a.seal(ANSWER, &challenge.token).unwrap().0, "127.0.0.1:1").unwrap();
        assert_eq!(place(&b), "127.0.0.1:1");
    }

    #[test]
    fn frames_over_the_agreed_limit_are_ignored() {
        let (a, b) = pair();
        b.limit_frames(600);
        for (len, is_frame) in [(600, true), (601, false)] {
            let packet = a.seal(FRAME, &vec![0; len]).unwrap().0;
            let opened = open(&b, &packet, "127.0.0.1:1").unwrap().0;
            assert_eq!(matches!(opened, Opened::Frame(_)), is_frame, "{len}");
        }
    }

    #[test]
    fn every_flipped_bit_is_refused_and_harms_nothing() {
        let (a, b) = pair();
        let (packet, _) = a.seal(FRAME, b"hello").unwrap();
        for bit in 5 * 8..packet.len() * 8 {
            let mut forged = packet.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&b, &forged, "127.0.0.1:1").is_err(), "bit {bit}");
        }
        let opened = open(&b, &packet, "127.0.0.1:1");
        assert!(matches!(opened, Ok((Opened::Frame(frame), None)) if frame == "hello"));
    }

    #[test]
    fn no_nonce_is_used_twice() {
        let (a, _) = pair();
        let nonces: std::collections::HashSet<_> = (0..1000)
            .map(|_| {
                let (packet, _) = a.seal(ALIVE, &[]).unwrap();
                let Some(Packet::Data { nonce, .. }) = Packet::read(&packet) else {
                    panic!("no data packet")
                };
                nonce
            })
            .collect();
        assert_eq!(nonces.len(), 1000);
        a.next_nonce.store(u64::MAX - 1, Ordering::Relaxed);
        assert!(a.seal(ALIVE, &[]).is_ok());
        assert!(matches!(a.seal(ALIVE, &[]), Err(LinkError::Malformed(_))));
        assert!(matches!(a.seal(ALIVE, &[]), Err(LinkError::Malformed(_))));
    }
}
