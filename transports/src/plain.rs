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

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use hedgerow_proto::PeerId;
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

/// How a handshake ended: its place among all that began, and with whom.
type Done = (u64, Address, Result<Box<dyn Link>, TransportError>);

struct PlainListener {
    listener: TcpListener,
    address: Address,
    scheme: &'static str,
    accept: Arc<dyn Accept>,
    limit: Duration,
    handshakes: JoinSet<Done>,
    order: Order,
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
        order: Order::default(),
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
                Some(done) = self.handshakes.join_next() => {
                    let Ok((number, address, link)) = done else { continue };
                    self.order.end(number);
                    match link {
                        Ok(link) if self.order.admit(number, link.info().peer) => return Ok(link),
                        Ok(_) => self.rejections.add(address, TransportError::Replaced),
                        Err(error) => self.rejections.add(address, error),
                    }
                }
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
        let number = self.order.begin();
        let (accept, limit) = (self.accept.clone(), self.limit);
        self.handshakes.spawn(async move {
            let until = Instant::now() + limit;
            let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
            let nodelay = stream.set_nodelay(true).map_err(|error| TransportError::io(&from, error));
            let link = match nodelay {
                Ok(()) => timeout_at(until, accept.accept(stream, from.clone())).await,
                Err(error) => Ok(Err(error)),
            };
            (number, from, link.unwrap_or(Err(TransportError::HandshakeTimeout { limit_ms })))
        });
    }
}

/// For fuzzers: what a link to a peer of another maker takes of a stream that comes in pieces of `piece` bytes: frames, and the
/// error that ended it. In MVDS everything has to come from the sender whose id is 65 times the byte 4.
#[cfg(feature = "fuzzing")]
#[must_use]
pub fn plain_frames(
    mvds: bool,
    stream: &[u8],
    piece: usize,
) -> (Vec<bytes::Bytes>, Option<crate::LinkError>) {
    match mvds {
        true => take_frames(
            mvds::MvdsFraming::from_sender([4; hedgerow_proto::limits::MVDS_PEER_LEN]),
            stream,
            piece,
        ),
        false => take_frames(bsp::BspFraming, stream, piece),
    }
}

#[cfg(feature = "fuzzing")]
fn take_frames(
    mut framing: impl link::Framing,
    stream: &[u8],
    piece: usize,
) -> (Vec<bytes::Bytes>, Option<crate::LinkError>) {
    let (mut read, mut taken) = (bytes::BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece.max(1)) {
        read.extend_from_slice(piece);
        loop {
            match framing.next(&mut read) {
                Ok(Some(frame)) => taken.push(frame),
                Ok(None) => break,
                Err(error) => return (taken, Some(error)),
            }
        }
    }
    (taken, None)
}

/// Which connections began before which. Handshakes end in any order, and of two connections that a peer made the
/// newer is the one that it means.
#[derive(Default)]
struct Order {
    next: u64,
    /// Handshakes under way.
    open: BTreeSet<u64>,
    /// The newest connection of a peer, as long as an older handshake is under way.
    newest: HashMap<PeerId, u64>,
}

impl Order {
    fn begin(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        self.open.insert(number);
        number
    }

    fn end(&mut self, number: u64) {
        self.open.remove(&number);
    }

    /// Whether the peer has no newer connection that was admitted.
    fn admit(&mut self, number: u64, peer: PeerId) -> bool {
        match self.open.first() {
            Some(&oldest) => self.newest.retain(|_, newest| *newest > oldest),
            None => {
                let newer = self.newest.get(&peer).is_some_and(|newest| *newest > number);
                self.newest.clear();
                return !newer;
            }
        }
        if self.newest.get(&peer).is_some_and(|newest| *newest > number) {
            return false;
        }
        // Who makes connections of ever new names while a handshake is held up must not fill the memory.
        if self.newest.len() < 4 * PLAIN_HANDSHAKES {
            self.newest.insert(peer, number);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: PeerId = PeerId::from_bytes([1; 32]);
    const OTHER: PeerId = PeerId::from_bytes([2; 32]);

    #[test]
    fn an_older_connection_does_not_take_the_place_of_a_newer_one() {
        let mut order = Order::default();
        let [first, second, third] = [(); 3].map(|()| order.begin());
        order.end(second);
        assert!(order.admit(second, PEER));
        order.end(third);
        assert!(order.admit(third, OTHER));
        order.end(first);
        assert!(!order.admit(first, PEER), "the second was made later");
        let again = order.begin();
        order.end(again);
        assert!(order.admit(again, PEER));
        assert!(order.newest.is_empty(), "nothing is kept while no handshake is under way");
    }

    #[test]
    fn names_do_not_fill_the_memory_while_a_handshake_is_held_up() {
        let mut order = Order::default();
        order.begin();
        for n in 0..100_000_u32 {
            let mut name = [0; 32];
            name[..4].copy_from_slice(&n.to_be_bytes());
            let number = order.begin();
            order.end(number);
            assert!(order.admit(number, PeerId::from_bytes(name)));
        }
        assert!(order.newest.len() <= 4 * PLAIN_HANDSHAKES);
    }
}
