//! Links over TCP.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use hedgerow_proto::PeerId;
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout_at};

use crate::crowd::{Origin, who_makes_room};
use crate::resolve::{first_link, resolve};
use crate::stream::{accept_over, dial_over};
use crate::{Address, Identity, Link, LinkConfig, Listener, Rejections, Transport, TransportError};

const SCHEME: &str = "tcp";

/// Rest after the system refused to accept (too many open files, mostly).
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// The so-many-th refusal in a row ends the listener.
const ACCEPT_FAILURES: u32 = 100;

/// Settings of a [`TcpTransport`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpConfig {
    /// Settings of each link.
    pub link: LinkConfig,
    /// How many handshakes a listener has going at the same time. When there are so many, one of the address that has
    /// the most (of IPv6: the network, 64 bits) makes room for a dialler from another one; when all addresses have
    /// about as many, the oldest does once it is a second old, and until then further diallers are turned away.
    /// Default: 256.
    pub max_handshakes: usize,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self { link: LinkConfig::default(), max_handshakes: 256 }
    }
}

/// Links over TCP with Noise XX, for addresses like `tcp://127.0.0.1:4711`, `tcp://[::1]:4711` and
/// `tcp://host.example:4711`. With port 0 a listener takes any free port.
#[derive(Debug, Clone)]
pub struct TcpTransport {
    identity: Identity,
    config: TcpConfig,
}

impl TcpTransport {
    /// The transport of this device with the default settings.
    #[must_use]
    pub fn new(identity: Identity) -> Self {
        Self::with_config(identity, TcpConfig::default())
    }

    /// The transport of this device.
    #[must_use]
    pub const fn with_config(identity: Identity, config: TcpConfig) -> Self {
        Self { identity, config }
    }

    async fn dial_socket(
        &self,
        to: &Address,
        socket: SocketAddr,
        expect: PeerId,
    ) -> Result<Box<dyn Link>, TransportError> {
        let failed = |error| TransportError::io(to, error);
        let stream = TcpStream::connect(socket).await.map_err(failed)?;
        // Frames are whole when they are written; waiting for more only delays them.
        stream.set_nodelay(true).map_err(failed)?;
        let (reader, writer) = stream.into_split();
        dial_over(reader, writer, to.clone(), &self.identity, expect, &self.config.link).await
    }

    async fn dial_sockets(
        &self,
        to: &Address,
        sockets: &[SocketAddr],
        expect: PeerId,
        until: Instant,
    ) -> Result<Box<dyn Link>, TransportError> {
        let dial = |socket, until| async move {
            let dialled = timeout_at(until, self.dial_socket(to, socket, expect)).await;
            dialled.unwrap_or_else(|_| Err(self.out_of_time()))
        };
        first_link(to, sockets, until, dial).await
    }

    const fn out_of_time(&self) -> TransportError {
        TransportError::HandshakeTimeout { limit_ms: self.config.link.handshake_limit_ms }
    }
}

#[async_trait]
impl Transport for TcpTransport {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    async fn listen(&self, at: &Address) -> Result<Box<dyn Listener>, TransportError> {
        let sockets = resolve(SCHEME, at).await?;
        let listener = tokio::net::TcpListener::bind(&sockets[..])
            .await
            .map_err(|error| TransportError::io(at, error))?;
        let address = listener.local_addr().map_err(|error| TransportError::io(at, error))?;
        Ok(Box::new(TcpListener {
            listener,
            address: Address::of_socket(SCHEME, address),
            identity: self.identity.clone(),
            config: self.config.clone(),
            handshakes: JoinSet::new(),
            running: VecDeque::new(),
            refusals: Refusals::default(),
            rejections: Rejections::default(),
        }))
    }

    async fn dial(&self, to: &Address, expect: PeerId) -> Result<Box<dyn Link>, TransportError> {
        let until = Instant::now() + self.config.link.handshake_limit();
        let sockets = timeout_at(until, resolve(SCHEME, to)).await.map_err(|_| self.out_of_time())??;
        self.dial_sockets(to, &sockets, expect, until).await
    }
}

/// How a handshake ended, and with whom.
type Done = (Address, Result<Box<dyn Link>, TransportError>);

/// A handshake that has not come to its end.
struct Running {
    address: Address,
    origin: Origin,
    since: Instant,
    task: AbortHandle,
}

struct TcpListener {
    listener: tokio::net::TcpListener,
    address: Address,
    identity: Identity,
    config: TcpConfig,
    handshakes: JoinSet<Done>,
    /// Oldest first.
    running: VecDeque<Running>,
    refusals: Refusals,
    rejections: Rejections,
}

/// Refusals of the system to accept, one after the other.
#[derive(Default)]
struct Refusals(u32);

impl Refusals {
    fn accepted(&mut self) {
        self.0 = 0;
    }

    /// Counts one; whether it is the last that is borne with.
    fn refused(&mut self) -> bool {
        self.0 = self.0.saturating_add(1);
        self.0 >= ACCEPT_FAILURES
    }
}

impl TcpListener {
    fn begin(&mut self, stream: TcpStream, from: SocketAddr) {
        let address = Address::of_socket(SCHEME, from);
        let origin = Origin::of(from.ip());
        self.running.retain(|handshake| !handshake.task.is_finished());
        if self.running.len() >= self.config.max_handshakes.max(1) && !self.make_room(origin) {
            return self.rejections.add(address, TransportError::Full("too many handshakes at once"));
        }
        let (identity, config) = (self.identity.clone(), self.config.link.clone());
        let handshake = {
            let address = address.clone();
            async move {
                if let Err(error) = stream.set_nodelay(true) {
                    return (address.clone(), Err(TransportError::io(&address, error)));
                }
                let (reader, writer) = stream.into_split();
                let link = accept_over(reader, writer, address.clone(), &identity, &config).await;
                (address, link)
            }
        };
        let task = self.handshakes.spawn(handshake);
        self.running.push_back(Running { address, origin, since: Instant::now(), task });
    }

    /// Ends the handshake that has to make room for one from this origin; whether there was any.
    fn make_room(&mut self, origin: Origin) -> bool {
        let held: Vec<_> =
            self.running.iter().enumerate().map(|(at, one)| (at, one.origin, one.since)).collect();
        let leaves = who_makes_room(&held, origin, Instant::now());
        let Some(leaves) = leaves.and_then(|at| self.running.remove(at)) else { return false };
        leaves.task.abort();
        self.rejections.add(leaves.address, TransportError::Full("too many handshakes at once"));
        true
    }
}

#[async_trait]
impl Listener for TcpListener {
    fn address(&self) -> Address {
        self.address.clone()
    }

    async fn accept(&mut self) -> Result<Box<dyn Link>, TransportError> {
        loop {
            tokio::select! {
                biased;
                Some(done) = self.handshakes.join_next() => match done {
                    Ok((_, Ok(link))) => return Ok(link),
                    Ok((address, Err(error))) => self.rejections.add(address, error),
                    // It had to make room, and was counted then.
                    Err(_) => {}
                },
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        self.refusals.accepted();
                        self.begin(stream, from);
                    }
                    Err(error) if self.refusals.refused() => {
                        return Err(TransportError::io(&self.address, error));
                    }
                    Err(error) => {
                        tracing::warn!(%error, address = %self.address, "cannot accept at present");
                        sleep(ACCEPT_REST).await;
                    }
                },
            }
        }
    }

    fn rejections(&self) -> Rejections {
        self.rejections.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hundredth_refusal_in_a_row_is_the_last() {
        let mut refusals = Refusals::default();
        for _ in 0..2 {
            assert!((1..ACCEPT_FAILURES).all(|_| !refusals.refused()));
            refusals.accepted();
        }
        assert!((1..ACCEPT_FAILURES).all(|_| !refusals.refused()));
        assert!(refusals.refused());
    }

    #[tokio::test]
    async fn where_the_handshake_fails_the_next_socket_of_the_name_is_dialled() {
        let identity = |n| Identity::from_seed(&[n; 32]);
        let (a, b, c) = (identity(1), identity(2), identity(3));
        let anywhere = "tcp://127.0.0.1:0".parse().unwrap();
        // Somebody else, somebody who says nothing, and the one who is looked for.
        let mut other = TcpTransport::new(c).listen(&anywhere).await.unwrap();
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut right = TcpTransport::new(b.clone()).listen(&anywhere).await.unwrap();
        let socket = |address: Address| address.rest().parse::<SocketAddr>().unwrap();
        let sockets = [socket(other.address()), silent.local_addr().unwrap(), socket(right.address())];
        let transport = TcpTransport::new(a);
        let until = Instant::now() + Duration::from_secs(1);
        let dial = transport.dial_sockets(&anywhere, &sockets, b.peer_id(), until);
        tokio::select! {
            dialled = dial => assert_eq!(dialled.unwrap().info().peer, b.peer_id()),
            _ = async { loop { other.accept().await.unwrap(); } } => {}
            _ = async { loop { right.accept().await.unwrap(); } } => {}
        }
    }
}
