//! BSP records over TCP.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use hedgerow_proto::PeerId;
use hedgerow_proto::bramble::record_len;
use tokio::net::TcpStream;

use super::link::{Framing, PlainLink};
use super::{Accept, connect, listen};
use crate::limits::DEFAULT_MAX_FRAME;
use crate::{Address, Link, LinkConfig, LinkError, LinkInfo, Listener, Transport, TransportError};

pub(super) const SCHEME: &str = "bsp+tcp";

/// How a peer is called at an address without a name.
const NO_NAME: &str = "bsp";

/// What the peer is called here whose name stands in an address: a stream has no word for who is at its other end.
#[must_use]
pub fn bsp_peer_id(name: &str) -> PeerId {
    PeerId::from_bytes(blake3::derive_key("hedgerow 2026-11 bsp peer", name.as_bytes()))
}

/// BSP records over plain TCP, for addresses like `bsp+tcp://127.0.0.1:4711/anna`: whoever comes to, or answers at, this
/// address is taken for the peer of that name. Without a name it is `bsp`.
#[derive(Debug, Clone)]
pub struct BspTcpTransport {
    config: LinkConfig,
}

impl BspTcpTransport {
    /// The transport.
    #[must_use]
    pub const fn new(config: LinkConfig) -> Self {
        Self { config }
    }
}

/// The socket of an address, and the name of the peer.
fn parts(address: &Address) -> (Address, String) {
    match address.rest().split_once('/') {
        Some((socket, name)) if !name.is_empty() => (Address::of_text(SCHEME, socket), name.to_owned()),
        Some((socket, _)) => (Address::of_text(SCHEME, socket), NO_NAME.to_owned()),
        None => (address.clone(), NO_NAME.to_owned()),
    }
}

fn link(stream: TcpStream, peer: PeerId, address: Address, initiator: bool) -> Box<dyn Link> {
    let info = LinkInfo { peer, reliable: true, max_frame: DEFAULT_MAX_FRAME, initiator, address };
    Box::new(PlainLink { info, stream, framing: BspFraming, read: BytesMut::new() })
}

#[async_trait]
impl Transport for BspTcpTransport {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    async fn listen(&self, at: &Address) -> Result<Box<dyn Listener>, TransportError> {
        let (socket, name) = parts(at);
        let suffix = if socket == *at { String::new() } else { format!("/{name}") };
        let accept = Arc::new(BspAccept { peer: bsp_peer_id(&name) });
        listen(SCHEME, at, &socket, &suffix, &self.config, accept).await
    }

    async fn dial(&self, to: &Address, expect: PeerId) -> Result<Box<dyn Link>, TransportError> {
        let (socket, name) = parts(to);
        let found = bsp_peer_id(&name);
        if found != expect {
            return Err(TransportError::WrongPeer { expected: expect, found });
        }
        let stream = connect(SCHEME, to, &socket, &self.config).await?;
        Ok(link(stream, expect, to.clone(), true))
    }
}

struct BspAccept {
    peer: PeerId,
}

#[async_trait]
impl Accept for BspAccept {
    async fn accept(&self, stream: TcpStream, from: Address) -> Result<Box<dyn Link>, TransportError> {
        Ok(link(stream, self.peer, from, false))
    }
}

#[derive(Clone)]
pub(super) struct BspFraming;

impl Framing for BspFraming {
    fn header(&self, _frame: &Bytes) -> Vec<u8> {
        Vec::new()
    }

    fn next(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, LinkError> {
        let wrong = |_| LinkError::Malformed("no record of BSP version 0");
        // As many whole records as are there, within the size of a frame.
        let mut len = 0;
        while let Some(rest) = read.get(len..) {
            let record = match record_len(rest) {
                Ok(record) => record,
                // What came before it counts.
                Err(_) if len > 0 => break,
                Err(error) => return Err(wrong(error)),
            };
            let fits =
                |record: &usize| *record <= rest.len() && (len == 0 || len + record <= DEFAULT_MAX_FRAME);
            let Some(record) = record.filter(fits) else { break };
            len += record;
        }
        Ok((len > 0).then(|| read.split_to(len).freeze()))
    }
}
