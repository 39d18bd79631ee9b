//! Links over TCP.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;
use hedgerow_proto::PeerId;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::stream::{accept_over, dial_over};
use crate::{Address, Identity, Link, LinkConfig, Listener, Rejections, Transport, TransportError};

const SCHEME: &str = "tcp";

/// When the listener is full, a handshake that has lasted this long makes room for the next one.
const CROWDED: Duration = Duration::from_secs(1);
/// Rest after the system refused to accept (too many open files, mostly).
const ACCEPT_REST: Duration = Duration::from_millis(100);
/// After so many refusals in a row the listener is taken for dead.
const ACCEPT_FAILURES: u32 = 100;

/// Settings of a [`TcpTransport`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TcpConfig {
    /// Settings of each link.
    pub link: LinkConfig,
    /// How many handshakes a listener has going at the same time. When there are so many, further diallers wait
    /// until one is done or is a second old, which then has to make room. Default: 64.
    pub max_handshakes: usize,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self { link: LinkConfig::default(), max_handshakes: 64 }
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

    async fn connect(&self, to: &Address, expect: PeerId) -> Result<Box<dyn Link>, TransportError> {
        let mut failure = None;
        for socket in resolve(SCHEME, to).await? {
            match TcpStream::connect(socket).await {
                Ok(stream) => {
                    // Frames are whole when they are written; waiting for more only delays them.
                    stream.set_nodelay(true).map_err(|error| TransportError::io(to, error))?;
                    let (reader, writer) = stream.into_split();
                    let config = &self.config.link;
                    return dial_over(reader, writer, to.clone(), &self.identity, expect, config).await;
                }
                Err(error) => failure = Some(TransportError::io(to, error)),
            }
        }
        Err(failure.unwrap_or_else(|| TransportError::NobodyListens(to.clone())))
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
            failures: 0,
            rejections: Rejections::default(),
        }))
    }

    async fn dial(&self, to: &Address, expect: PeerId) -> Result<Box<dyn Link>, TransportError> {
        let limit_ms = self.config.link.handshake_limit_ms;
        match timeout(self.config.link.handshake_limit(), self.connect(to, expect)).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::HandshakeTimeout { limit_ms }),
        }
    }
}

/// The sockets that an address like `tcp://host:port` stands for; at least one.
pub(crate) async fn resolve(
    scheme: &'static str,
    address: &Address,
) -> Result<Vec<SocketAddr>, TransportError> {
    if address.scheme() != scheme {
        return Err(TransportError::WrongScheme { address: address.clone(), scheme });
    }
    let unresolvable = |reason: String| TransportError::Unresolvable { address: address.clone(), reason };
    let found = lookup_host(address.rest()).await.map_err(|error| unresolvable(error.to_string()))?;
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        return Err(unresolvable("the name has no address".to_owned()));
    }
    Ok(found)
}

/// How a handshake ended, and with whom.
type Done = (Address, Result<Box<dyn Link>, TransportError>);

/// A handshake that has not come to its end.
struct Running {
    address: Address,
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
    failures: u32,
    rejections: Rejections,
}

impl TcpListener {
    fn begin(&mut self, stream: TcpStream, from: SocketAddr) {
        let address = Address::of_socket(SCHEME, from);
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
        self.running.push_back(Running { address, since: Instant::now(), task });
    }

    /// Ends the oldest handshake, which is old enough for that.
    fn make_room(&mut self) {
        if let Some(oldest) = self.running.pop_front() {
            oldest.task.abort();
            self.rejections.add(oldest.address, TransportError::Full("too many handshakes at once"));
        }
    }
}

#[async_trait]
impl Listener for TcpListener {
    fn address(&self) -> Address {
        self.address.clone()
    }

    async fn accept(&mut self) -> Result<Box<dyn Link>, TransportError> {
        loop {
            self.running.retain(|handshake| !handshake.task.is_finished());
            let room = self.handshakes.len() < self.config.max_handshakes.max(1);
            let crowded_at = self.running.front().map_or_else(Instant::now, |oldest| oldest.since) + CROWDED;
            tokio::select! {
                biased;
                Some(done) = self.handshakes.join_next() => match done {
                    Ok((_, Ok(link))) => return Ok(link),
                    Ok((address, Err(error))) => self.rejections.add(address, error),
                    // It had to make room, and was counted then.
                    Err(_) => {}
                },
                accepted = self.listener.accept(), if room => match accepted {
                    Ok((stream, from)) => {
                        self.failures = 0;
                        self.begin(stream, from);
                    }
                    Err(error) if self.failures < ACCEPT_FAILURES => {
                        tracing::warn!(%error, address = %self.address, "cannot accept at present");
                        self.failures += 1;
                        sleep(ACCEPT_REST).await;
                    }
                    Err(error) => return Err(TransportError::io(&self.address, error)),
                },
                () = sleep_until(crowded_at), if !room => self.make_room(),
            }
        }
    }

    fn rejections(&self) -> Rejections {
        self.rejections.clone()
    }
}
