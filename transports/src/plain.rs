//! Plain TCP streams to peers of other makers. **Nothing is encrypted and nobody is authenticated here**: for use on a
//! loopback, in a test, or inside a tunnel that does both.
//!
//! | | scheme | what is on the stream |
//! |---|---|---|
//! | [`MvdsTcpTransport`] | `mvds+tcp` | frames: length of what follows (4 bytes, big-endian), 65 bytes that the sender is known by, an MVDS payload |
//! | [`BspTcpTransport`] | `bsp+tcp` | BSP records, one after the other |
//!
//! A link is to whom the other end says that it is (MVDS), or to the peer whose name stands in the address (BSP). What
//! such a peer may see is for the layers above, which must never take it for a peer that has proven its key.

mod bsp;
mod link;
mod mvds;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep, timeout_at};

pub use self::bsp::{BspTcpTransport, bsp_peer_id};
pub use self::mvds::{MvdsTcpTransport, mvds_key_of};
use crate::limits::PLAIN_HANDSHAKES;
use crate::resolve::resolve;
use crate::{Address, Link, LinkConfig, Listener, Rejections, TransportError};

/// Rest after the system refused to accept.
const ACCEPT_REST: Duration = Duration::from_millis(100);

/// Whether links at an address of this scheme are plain: neither encrypted nor authenticated.
#[must_use]
pub fn is_plain(address: &Address) -> bool {
    matches!(address.scheme(), mvds::SCHEME | bsp::SCHEME)
}

/// Makes a link of a stream that was accepted at an address.
#[async_trait]
trait Accept: Send + Sync + 'static {
    async fn accept(&self, stream: TcpStream, from: Address) -> Result<Box<dyn Link>, TransportError>;
}

/// How a handshake ended, and with whom.
type Done = (Address, Result<Box<dyn Link>, TransportError>);

struct PlainListener {
    listener: TcpListener,
    address: Address,
    scheme: &'static str,
    accept: Arc<dyn Accept>,
    limit: Duration,
    handshakes: JoinSet<Done>,
    rejections: Rejections,
}

/// Listens at `socket`, whose address is shown with `suffix` behind it.
async fn listen(
    scheme: &'static str,
    at: &Address,
    socket: &Address,
    suffix: &str,
    config: &LinkConfig,
    accept: Arc<dyn Accept>,
) -> Result<Box<dyn Listener>, TransportError> {
    let sockets = resolve(scheme, socket).await?;
    let listener = TcpListener::bind(&sockets[..]).await.map_err(|error| TransportError::io(at, error))?;
    let local = listener.local_addr().map_err(|error| TransportError::io(at, error))?;
    tracing::info!(address = %at, "links here are neither encrypted nor authenticated");
    Ok(Box::new(PlainListener {
        listener,
        address: Address::of_text(scheme, &format!("{local}{suffix}")),
        scheme,
        accept,
        limit: config.handshake_limit(),
        handshakes: JoinSet::new(),
        rejections: Rejections::default(),
    }))
}

/// Connects to the first socket of a name that answers.
async fn connect(
    scheme: &'static str,
    to: &Address,
    socket: &Address,
    config: &LinkConfig,
) -> Result<TcpStream, TransportError> {
    let limit_ms = config.handshake_limit_ms;
    let connect = async {
        let sockets = resolve(scheme, socket).await?;
        TcpStream::connect(&sockets[..]).await.map_err(|error| TransportError::io(to, error))
    };
    let connected = timeout_at(Instant::now() + config.handshake_limit(), connect).await;
    let stream = connected.map_err(|_| TransportError::HandshakeTimeout { limit_ms })??;
    stream.set_nodelay(true).map_err(|error| TransportError::io(to, error))?;
    Ok(stream)
}

#[async_trait]
impl Listener for PlainListener {
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
                    Err(_) => {}
                },
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, from)) => self.begin(stream, Address::of_socket(self.scheme, from)),
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

impl PlainListener {
    fn begin(&mut self, stream: TcpStream, from: Address) {
        if self.handshakes.len() >= PLAIN_HANDSHAKES {
            return self.rejections.add(from, TransportError::Full("too many handshakes at once"));
        }
        let (accept, limit) = (self.accept.clone(), self.limit);
        self.handshakes.spawn(async move {
            let until = Instant::now() + limit;
            let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let nodelay = stream.set_nodelay(true).map_err(|error| TransportError::io(&from, error));
            let link = match nodelay {
                Ok(()) => timeout_at(until, accept.accept(stream, from.clone())).await,
                Err(error) => Ok(Err(error)),
            };
            (from, link.unwrap_or(Err(TransportError::HandshakeTimeout { limit_ms })))
        });
    }
}
