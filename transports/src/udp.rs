//! Links over UDP: every frame is one datagram, which may be lost, repeated or overtaken.
//!
//! ```text
//! dialler                                          listener
//!   HELLO: e                                  ->
//!                                             <-   RETRY: cookie           (nothing is remembered yet)
//!   HELLO: e, cookie                          ->
//!                                             <-   REPLY: e, ee, s, es     (Noise XX)
//!   FINISH: s, se, sealed proof of the dialler ->
//!                                             <-   DATA: sealed proof of the listener
//!   DATA                                     <->   DATA
//! ```
//! The dialler repeats what it said last until it is answered. Packets (integers are big-endian; a session id is a
//! u32 that its owner chose, and is the one of the receiver unless it says "own"):
//!
//! | kind | content after the byte of kind |
//! |---|---|
//! | 1 HELLO | `E8 48 47 52 4F 57`, version u16, own session id, 32 bytes of handshake, cookie of 16 bytes (first all zero), zeros up to 192 bytes in all |
//! | 2 RETRY | session id, cookie |
//! | 3 OTHER VERSION | session id, version u16 |
//! | 4 REPLY | session id, 100 bytes of handshake, in them sealed the own session id |
//! | 5 FINISH | session id, 64 bytes of handshake, nonce u64, sealed content |
//! | 6 DATA | session id, nonce u64, sealed content |
//!
//! Sealed content is a byte and what belongs to it: 0 a frame, 1 close (one byte of reason), 2 sign of life, 3 proof,
//! 4 challenge (8 bytes), 5 answer (the 8 bytes of a challenge). Each side counts its nonces up from 0. A receiver takes
//! each nonce once, and none that is 2,048 or more behind the newest. A packet that is not authentic changes nothing.
//! The other end may move to another address: when an authentic packet comes from there that is newer than all before
//! it, a challenge is sent to that address, and the session follows when it is answered.

mod cookie;
mod dial;
mod endpoint;
mod greet;
mod link;
pub(crate) mod packet;
pub(crate) mod session;
mod window;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use hedgerow_proto::PeerId;
use tokio::time::{Instant, timeout};

use crate::limits::MIN_MAX_FRAME;
use crate::noise::TAG;
use crate::resolve::{first_link, resolve};
use crate::{Address, Identity, Link, Listener, Transport, TransportError};
use endpoint::Endpoint;

const SCHEME: &str = "udp";

/// What a datagram holds beside the frame, in bytes.
const OVERHEAD: usize = packet::DATA_HEADER + 1 + TAG;
/// The largest datagram that may be configured, in bytes.
const MAX_DATAGRAM: usize = 65_000;

/// Settings of a [`UdpTransport`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UdpConfig {
    /// The largest datagram that is sent, in bytes of UDP payload; must fit the path. A frame has 30 bytes less.
    /// Brought into 542 to 65,000. What a link really carries is the lesser of what its two ends say.
    /// Default: 1,200.
    pub datagram: usize,
    /// How long a handshake may take, in ms. Default: 10,000.
    pub handshake_limit_ms: u64,
    /// When nothing was sent for this many ms, a sign of life is. Default: 15,000.
    pub keepalive_ms: u64,
    /// When nothing was heard for this many ms, the link is over. Default: 45,000.
    pub silence_ms: u64,
    /// After how long, in ms, the dialler first repeats itself; each time after that the wait doubles, up to a
    /// second, with a random part. Default: 250.
    pub retry_ms: u64,
    /// How many links one socket serves. Default: 1,024.
    pub max_sessions: usize,
    /// How many handshakes of diallers that have shown where they are one listener has going. When there are so many,
    /// one of the address that has the most (of IPv6: the network, 64 bits) makes room for a dialler from another one;
    /// when all addresses have about as many, the oldest does once it is a second old, and until then further diallers
    /// are turned away. Default: 256.
    pub max_half_open: usize,
    /// How many finished links wait to be accepted. Default: 64.
    pub backlog: usize,
    /// What the random part of the waits is drawn from.
    pub seed: u64,
}

impl Default for UdpConfig {
    fn default() -> Self {
        Self {
            datagram: 1_200,
            handshake_limit_ms: 10_000,
            keepalive_ms: 15_000,
            silence_ms: 45_000,
            retry_ms: 250,
            max_sessions: 1_024,
            max_half_open: 256,
            backlog: 64,
            seed: 0,
        }
    }
}

impl UdpConfig {
    fn max_frame(&self) -> usize {
        self.datagram.clamp(MIN_MAX_FRAME + OVERHEAD, MAX_DATAGRAM) - OVERHEAD
    }

    const fn handshake_limit(&self) -> Duration {
        Duration::from_millis(self.handshake_limit_ms)
    }
}

/// Links over UDP with Noise XX, for addresses like `udp://127.0.0.1:4711`. One socket serves many links: what is
/// dialled goes out by the socket that listens, if there is one that can reach the address, so that the other end
/// sees the port where this device can be reached.
///
/// A listener that does not exist cannot be told from one that does not answer: dialling it ends with
/// [`TransportError::HandshakeTimeout`].
#[derive(Debug, Clone)]
pub struct UdpTransport {
    identity: Identity,
    config: Arc<UdpConfig>,
    endpoints: Arc<Mutex<Vec<Weak<Endpoint>>>>,
    dials: Arc<AtomicU64>,
}

impl UdpTransport {
    /// The transport of this device with the default settings.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self::with_config(identity, UdpConfig::default())
    }

    /// The transport of this device.
    #[must_use]
    pub fn with_config(identity: Identity, config: UdpConfig) -> Self {
        Self { identity, config: Arc::new(config), endpoints: Arc::default(), dials: Arc::default() }
    }

    /// A socket from which `to` can be reached.
    async fn endpoint_for(&self, to: SocketAddr, address: &Address) -> Result<Arc<Endpoint>, TransportError> {
        let fits = |local: SocketAddr| {
            local.is_ipv4() == to.is_ipv4()
                && (local.ip().is_unspecified() || local.ip().is_loopback() == to.ip().is_loopback())
        };
        let found = self.endpoints().iter().filter_map(Weak::upgrade).find(|endpoint| fits(endpoint.local()));
        if let Some(endpoint) = found {
            return Ok(endpoint);
        }
        let any: IpAddr = match (to.is_ipv4(), to.ip().is_loopback()) {
            (true, true) => Ipv4Addr::LOCALHOST.into(),
            (true, false) => Ipv4Addr::UNSPECIFIED.into(),
            (false, true) => Ipv6Addr::LOCALHOST.into(),
            (false, false) => Ipv6Addr::UNSPECIFIED.into(),
        };
        self.bind(&[SocketAddr::new(any, 0)], address).await
    }

    async fn bind(&self, at: &[SocketAddr], address: &Address) -> Result<Arc<Endpoint>, TransportError> {
        let endpoint = Endpoint::bind(at, address, self.identity.clone(), self.config.clone()).await?;
        let mut endpoints = self.endpoints();
        endpoints.retain(|endpoint| endpoint.strong_count() > 0);
        endpoints.push(Arc::downgrade(&endpoint));
        Ok(endpoint)
    }

    fn endpoints(&self) -> MutexGuard<'_, Vec<Weak<Endpoint>>> {
        self.endpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn dial_socket(
        &self,
        to: &Address,
        socket: SocketAddr,
        expect: PeerId,
        until: Instant,
    ) -> Result<Box<dyn Link>, TransportError> {
        let endpoint = self.endpoint_for(socket, to).await?;
        let seed = self.config.seed.wrapping_add(self.dials.fetch_add(1, Ordering::Relaxed));
        dial::dial(endpoint, socket, to, expect, seed, until).await
    }

    async fn dial_sockets(
        &self,
        to: &Address,
        sockets: &[SocketAddr],
        expect: PeerId,
    ) -> Result<Box<dyn Link>, TransportError> {
        let until = Instant::now() + self.config.handshake_limit();
        let dial = |socket, until| self.dial_socket(to, socket, expect, until);
        first_link(to, sockets, until, dial).await
    }
}

#[async_trait]
impl Transport for UdpTransport {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    async fn listen(&self, at: &Address) -> Result<Box<dyn Listener>, TransportError> {
        let sockets = resolve(SCHEME, at).await?;
        // Links of a former listener may still hold the socket.
        let held = self.endpoints().iter().filter_map(Weak::upgrade).find(|held| held.can_listen(&sockets));
        let endpoint = match held {
            Some(endpoint) => endpoint,
            None => self.bind(&sockets, at).await?,
        };
        Ok(Box::new(greet::UdpListener::new(endpoint)))
    }

    async fn dial(&self, to: &Address, expect: PeerId) -> Result<Box<dyn Link>, TransportError> {
        let limit_ms = self.config.handshake_limit_ms;
        let resolved = timeout(self.config.handshake_limit(), resolve(SCHEME, to)).await;
        let sockets = resolved.map_err(|_| TransportError::HandshakeTimeout { limit_ms })??;
        self.dial_sockets(to, &sockets, expect).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_nobody_answers_the_next_socket_of_the_name_is_dialled() {
        let identity = |n| Identity::from_seed(&[n; 32]);
        let anywhere = "udp://127.0.0.1:0".parse().unwrap();
        let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut listener = UdpTransport::new(identity(2)).listen(&anywhere).await.unwrap();
        let right = listener.address().rest().parse().unwrap();
        let sockets = [silent.local_addr().unwrap(), right];
        let config = UdpConfig { handshake_limit_ms: 1_000, ..UdpConfig::default() };
        let transport = UdpTransport::with_config(identity(1), config);
        let dial = transport.dial_sockets(&anywhere, &sockets, identity(2).peer_id());
        let (dialled, accepted) = tokio::join!(dial, listener.accept());
        assert_eq!(dialled.unwrap().info().peer, identity(2).peer_id());
        accepted.unwrap();
    }
}
