//! MVDS payloads over TCP.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes, BytesMut};
use hedgerow_proto::PeerId;
use hedgerow_proto::limits::MVDS_PEER_LEN;
use hedgerow_proto::mvds::peer_id;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;

use super::link::{Framing, PlainLink};
use super::{Accept, connect, listen};
use crate::limits::MAX_FRAME;
use crate::{Address, Link, LinkConfig, LinkError, LinkInfo, Listener, Transport, TransportError};

pub(super) const SCHEME: &str = "mvds+tcp";

/// Length of the length field, in bytes.
const LENGTH_LEN: usize = 4;

/// What this device is known by to MVDS peers: 65 bytes that look like an uncompressed point and are none, derived from
/// its key. Nothing is signed with it.
#[must_use]
pub fn mvds_key_of(peer: PeerId) -> [u8; MVDS_PEER_LEN] {
    let mut key = [0; MVDS_PEER_LEN];
    let mut hasher = blake3::Hasher::new_derive_key("hedgerow 2026-11 mvds key");
    hasher.update(peer.as_bytes());
    hasher.finalize_xof().fill(&mut key);
    if let Some(first) = key.first_mut() {
        *first = 4;
    }
    key
}

/// MVDS payloads over plain TCP, for addresses like `mvds+tcp://127.0.0.1:4711`.
///
/// Who dials says first who it is, be it with an empty payload; every frame of a link says the same.
#[derive(Debug, Clone)]
pub struct MvdsTcpTransport {
    key: [u8; MVDS_PEER_LEN],
    config: LinkConfig,
}

impl MvdsTcpTransport {
    /// The transport of a device that is known by this key.
    #[must_use]
    pub fn new(key: [u8; MVDS_PEER_LEN], config: LinkConfig) -> Self {
        Self { key, config }
    }

    fn link(
        &self,
        stream: TcpStream,
        theirs: Theirs,
        address: Address,
        initiator: bool,
    ) -> PlainLink<MvdsFraming> {
        let peer = match theirs {
            Theirs::Key(key) => peer_id(&key),
            Theirs::Expected(peer) => peer,
        };
        let info = LinkInfo { peer, reliable: true, max_frame: MAX_FRAME, initiator, address };
        PlainLink { info, stream, framing: MvdsFraming { ours: self.key, theirs }, read: BytesMut::new() }
    }
}

#[async_trait]
impl Transport for MvdsTcpTransport {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    async fn listen(&self, at: &Address) -> Result<Box<dyn Listener>, TransportError> {
        listen(SCHEME, at, at, "", &self.config, Arc::new(self.clone())).await
    }

    async fn dial(&self, to: &Address, expect: PeerId) -> Result<Box<dyn Link>, TransportError> {
        let mut stream = connect(SCHEME, to, to, &self.config).await?;
        // An empty payload, so that the other end knows who calls.
        let hello = MvdsFraming { ours: self.key, theirs: Theirs::Expected(expect) }.header(&Bytes::new());
        let written = tokio::io::AsyncWriteExt::write_all(&mut stream, &hello).await;
        written.map_err(|error| TransportError::io(to, error))?;
        Ok(Box::new(self.link(stream, Theirs::Expected(expect), to.clone(), true)))
    }
}

#[async_trait]
impl Accept for MvdsTcpTransport {
    async fn accept(&self, mut stream: TcpStream, from: Address) -> Result<Box<dyn Link>, TransportError> {
        let mut head = [0; LENGTH_LEN + MVDS_PEER_LEN];
        stream.read_exact(&mut head).await.map_err(|_| TransportError::Interrupted)?;
        let (length, key) = head.split_at(LENGTH_LEN);
        let length = <[u8; LENGTH_LEN]>::try_from(length).map(u32::from_be_bytes).unwrap_or_default();
        let key = <[u8; MVDS_PEER_LEN]>::try_from(key).map_err(|_| TransportError::Malformed("no key"))?;
        if check_length(length).is_err() {
            return Err(TransportError::Malformed("a frame has 65 to 1,048,641 bytes"));
        }
        let mut link = self.link(stream, Theirs::Key(key), from, false);
        link.read.extend_from_slice(&head);
        Ok(Box::new(link))
    }
}

/// Who has to be the sender of what comes.
#[derive(Debug, Clone, Copy)]
enum Theirs {
    Key([u8; MVDS_PEER_LEN]),
    Expected(PeerId),
}

#[derive(Clone)]
pub(super) struct MvdsFraming {
    ours: [u8; MVDS_PEER_LEN],
    theirs: Theirs,
}

impl MvdsFraming {
    /// Takes what comes from this sender.
    #[cfg(feature = "fuzzing")]
    pub(super) const fn from_sender(theirs: [u8; MVDS_PEER_LEN]) -> Self {
        Self { ours: [0; MVDS_PEER_LEN], theirs: Theirs::Key(theirs) }
    }
}

/// How long the payload of a frame is, whose length field says this.
fn check_length(length: u32) -> Result<usize, LinkError> {
    let len = usize::try_from(length).unwrap_or(usize::MAX);
    match len.checked_sub(MVDS_PEER_LEN) {
        None => Err(LinkError::Malformed("a frame without the id of its sender")),
        Some(payload) if payload > MAX_FRAME => Err(LinkError::TooLarge { len: payload, max: MAX_FRAME }),
        Some(payload) => Ok(payload),
    }
}

impl Framing for MvdsFraming {
    fn header(&self, frame: &Bytes) -> Vec<u8> {
        // A frame is not longer than MAX_FRAME.
        let length = u32::try_from(MVDS_PEER_LEN + frame.len()).unwrap_or(u32::MAX);
        let mut header = length.to_be_bytes().to_vec();
        header.extend_from_slice(&self.ours);
        header
    }

    fn next(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, LinkError> {
        let Some(length) = read.first_chunk::<LENGTH_LEN>() else { return Ok(None) };
        let payload = check_length(u32::from_be_bytes(*length))?;
        if read.len() < LENGTH_LEN + MVDS_PEER_LEN + payload {
            return Ok(None);
        }
        read.advance(LENGTH_LEN);
        let key = read.split_to(MVDS_PEER_LEN);
        let Some(key) = key.first_chunk::<MVDS_PEER_LEN>() else { return Ok(None) };
        let right = match &self.theirs {
            Theirs::Key(theirs) => theirs == key,
            Theirs::Expected(peer) => peer_id(key) == *peer,
        };
        if !right {
            return Err(LinkError::Malformed("a frame of another sender"));
        }
        Ok(Some(read.split_to(payload).freeze()))
    }
}
