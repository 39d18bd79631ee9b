//! Doors for fuzzers to what is private otherwise: what an end that has the keys can send. Behind the feature
//! `fuzzing`, for tests alone; it panics when a handshake with itself fails.
#![allow(clippy::expect_used)]

use std::cell::OnceCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::noise::{Carrier, Channel, FIRST, Handshake, SECOND, THIRD};
pub use crate::plain::plain_frames;
use crate::stream::chunk::{Arrival, Opener, Sealer};
use crate::udp::packet::Packet;
use crate::udp::session::{Opened, Session};
use crate::{CloseReason, Identity, LinkError};

/// Reads a datagram and writes it again; `None` if it is no packet.
#[must_use]
pub fn rewrite_packet(datagram: &[u8]) -> Option<Vec<u8>> {
    Packet::read(datagram).map(|packet| packet.write())
}

/// What an end took from the other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Taken {
    /// A whole frame.
    Frame(Bytes),
    /// The other end closed the link.
    Close(CloseReason),
    /// Authentic, and nothing to the layer above.
    Nothing,
}

/// Both ends of a stream after the handshake: a sender that has the keys and says what it likes, and a receiver.
pub struct StreamPair {
    sealer: Sealer,
    opener: Opener,
    input: BytesMut,
}

impl StreamPair {
    /// A pair whose receiver takes frames of `max_frame` bytes. All pairs of a thread share their keys: a handshake
    /// for each would take most of the time.
    #[must_use]
    pub fn new(max_frame: usize) -> Self {
        thread_local! {
            static CHANNELS: OnceCell<(Arc<Channel>, Arc<Channel>)> = const { OnceCell::new() };
        }
        let (ours, theirs) = CHANNELS.with(|channels| {
            let both = channels.get_or_init(|| {
                let (ours, theirs) = agree(Carrier::Stream);
                (Arc::new(ours), Arc::new(theirs))
            });
            both.clone()
        });
        Self { sealer: Sealer::new(ours), opener: Opener::new(theirs, max_frame), input: BytesMut::new() }
    }

    /// A chunk of any kind and content as it crosses the wire.
    ///
    /// # Errors
    /// The content is longer than a chunk can be.
    pub fn seal(&mut self, kind: u8, content: &[u8]) -> Result<Bytes, LinkError> {
        self.sealer.chunk(kind, content)?;
        Ok(self.sealer.pending.split().freeze())
    }

    /// A whole frame as it crosses the wire.
    ///
    /// # Errors
    /// As [`seal`](Self::seal).
    pub fn seal_frame(&mut self, frame: &[u8]) -> Result<Bytes, LinkError> {
        self.sealer.frame(frame)?;
        Ok(self.sealer.pending.split().freeze())
    }

    /// Bytes arrive. What was taken of them is in `taken`, also when an error ends the link.
    ///
    /// # Errors
    /// The rule that the sender broke.
    pub fn arrive(&mut self, bytes: &[u8], taken: &mut Vec<Taken>) -> Result<(), LinkError> {
        self.input.extend_from_slice(bytes);
        while let Some(arrival) = self.opener.next(&mut self.input)? {
            taken.push(match arrival {
                Arrival::Frame(frame) => Taken::Frame(frame),
                Arrival::Close(reason) => Taken::Close(reason),
            });
        }
        Ok(())
    }
}

/// Both ends of a session over datagrams after the handshake.
pub struct DatagramPair {
    sender: Session,
    receiver: Session,
}

impl DatagramPair {
    /// A pair whose receiver takes frames of `max_frame` bytes, with keys of its own.
    #[must_use]
    pub fn new(max_frame: usize) -> Self {
        let (ours, theirs) = agree(Carrier::Datagram);
        let session = |channel| Session::new(channel, 1, PLACE, max_frame, None).0;
        Self { sender: session(ours), receiver: session(theirs) }
    }

    /// A packet of any kind and content.
    ///
    /// # Errors
    /// All nonces are used up.
    pub fn seal(&self, kind: u8, content: &[u8]) -> Result<Vec<u8>, LinkError> {
        Ok(self.sender.seal(kind, content)?.0)
    }

    /// A datagram arrives; `None` if it is ignored.
    #[must_use]
    pub fn arrive(&self, datagram: &[u8]) -> Option<Taken> {
        let Packet::Data { nonce, sealed, .. } = Packet::read(datagram)? else { return None };
        Some(match self.receiver.open(nonce, sealed, PLACE).ok()?.0 {
            Opened::Frame(frame) => Taken::Frame(frame),
            Opened::Close(reason) => Taken::Close(reason),
            Opened::Alive | Opened::Proof(_) | Opened::Challenge(_) | Opened::Unknown => Taken::Nothing,
        })
    }
}

const PLACE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

fn agree(carrier: Carrier) -> (Channel, Channel) {
    let talk = || -> Result<_, crate::TransportError> {
        let mut a = Handshake::initiator(&Identity::from_seed(&[1; 32]), carrier)?;
        let mut b = Handshake::responder(&Identity::from_seed(&[2; 32]), carrier)?;
        b.read::<0>(&a.write::<FIRST>(&[])?)?;
        a.read::<0>(&b.write::<SECOND>(&[])?)?;
        b.read::<0>(&a.write::<THIRD>(&[])?)?;
        Ok((a.finish()?, b.finish()?))
    };
    talk().expect("two honest ends agree")
}
