//! One session: its keys, its nonces, and where its packets go.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

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

/// How many received frames wait for the reader; what comes beyond is dropped, as the network might have.
const QUEUE_FRAMES: usize = 256;

pub(crate) struct Session {
    theirs: SessionId,
    pub(crate) channel: Channel,
    next_nonce: AtomicU64,
    live: Mutex<Live>,
    frames: mpsc::Sender<Bytes>,
    max_frame: usize,
    pub(crate) ending: Ending,
    /// The third message of the handshake, if we are the listener: who repeats it lacks our proof.
    pub(crate) third: Option<[u8; THIRD]>,
}

/// What changes with each packet.
struct Live {
    window: ReplayWindow,
    /// Where the other end is. It moves, but only with an authentic packet that is newer than all before.
    place: SocketAddr,
    last_sent: Instant,
    last_heard: Instant,
}

/// What was in an authentic packet.
pub(crate) enum Opened {
    Frame(Bytes),
    Close(CloseReason),
    Alive,
    Proof(Bytes),
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
        let live = Live { window: ReplayWindow::new(), place, last_sent: now, last_heard: now };
        let session = Self {
            theirs,
            channel,
            next_nonce: AtomicU64::new(0),
            live: Mutex::new(live),
            frames,
            max_frame,
            ending: Ending::default(),
            third,
        };
        (session, received)
    }

    /// A packet with this content, sealed under a nonce that is never used again, and where it is to be sent.
    pub(crate) fn seal(&self, kind: u8, content: &[u8]) -> Result<(Vec<u8>, SocketAddr), LinkError> {
        let (nonce, sealed) = self.seal_only(kind, content)?;
        let packet = Packet::Data { to: self.theirs, nonce, sealed: &sealed }.write();
        let mut live = self.live();
        live.last_sent = Instant::now();
        Ok((packet, live.place))
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

    /// Opens a packet that came from `from`. None if it is not authentic, or not new.
    pub(crate) fn open(&self, nonce: u64, sealed: &[u8], from: SocketAddr) -> Option<Opened> {
        if !self.live().window.is_fresh(nonce) {
            return None;
        }
        let mut plain = BytesMut::zeroed(sealed.len().checked_sub(TAG)?);
        self.channel.open(nonce, sealed, &mut plain).ok()?;
        let mut live = self.live();
        // Looked at again, since the lock was not held meanwhile.
        if !live.window.is_fresh(nonce) {
            return None;
        }
        if live.window.take(nonce) && live.place != from {
            tracing::debug!(%from, "the other end of a session has moved");
            live.place = from;
        }
        live.last_heard = Instant::now();
        drop(live);
        if plain.is_empty() {
            return Some(Opened::Unknown);
        }
        let kind = plain.get_u8();
        Some(match (kind, &plain[..]) {
            (FRAME, frame) if frame.len() <= self.max_frame => Opened::Frame(plain.freeze()),
            (CLOSE, [code]) => Opened::Close(CloseReason::from_code(*code)),
            (ALIVE, []) => Opened::Alive,
            (PROVE, _) => Opened::Proof(plain.freeze()),
            _ => Opened::Unknown,
        })
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

    fn open(session: &Session, packet: &[u8], from: &str) -> Option<Opened> {
        let Some(Packet::Data { nonce, sealed, .. }) = Packet::read(packet) else { panic!("no data packet") };
        session.open(nonce, sealed, from.parse().unwrap())
    }

    #[test]
    fn the_other_end_moves_only_with_the_newest_authentic_packet() {
        let (a, b) = pair();
        let packets: Vec<_> = (0..3).map(|_| a.seal(FRAME, b"x").unwrap().0).collect();
        let place = |session: &Session| session.live().place.to_string();
        assert!(open(&b, &packets[1], "127.0.0.1:2").is_some());
        assert_eq!(place(&b), "127.0.0.1:2");
        // Older than the newest: taken, but it moves nothing.
        assert!(open(&b, &packets[0], "127.0.0.1:3").is_some());
        assert_eq!(place(&b), "127.0.0.1:2");
        // A copy from elsewhere.
        assert!(open(&b, &packets[1], "127.0.0.1:4").is_none());
        // A forged one.
        let mut forged = packets[2].clone();
        *forged.last_mut().unwrap() ^= 1;
        assert!(open(&b, &forged, "127.0.0.1:5").is_none());
        assert_eq!(place(&b), "127.0.0.1:2");
        assert!(open(&b, &packets[2], "127.0.0.1:6").is_some());
        assert_eq!(place(&b), "127.0.0.1:6");
    }

    #[test]
    fn every_flipped_bit_is_refused_and_harms_nothing() {
        let (a, b) = pair();
        let (packet, _) = a.seal(FRAME, b"hello").unwrap();
        for bit in 5 * 8..packet.len() * 8 {
            let mut forged = packet.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(open(&b, &forged, "127.0.0.1:1").is_none(), "bit {bit}");
        }
        assert!(matches!(open(&b, &packet, "127.0.0.1:1"), Some(Opened::Frame(frame)) if frame == "hello"));
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
