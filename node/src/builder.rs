//! What a node is made of.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hedgerow_clients::{Author, Client, Registry};
use hedgerow_sync_core::{Config, MemoryStore, Store, StoreError};
use hedgerow_sync_sqlite::{Options, SqliteStore};
use hedgerow_transports::plain::{BspTcpTransport, MvdsTcpTransport, mvds_key_of};
use hedgerow_transports::{
    Address, Identity, Link, LinkConfig, MemoryNetwork, RedialConfig, TcpTransport, Transport, UdpTransport,
};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;
use zeroize::Zeroizing;

use crate::clock::Clock;
use crate::core::Me;
use crate::driver::Driver;
use crate::error::NodeError;
use crate::home::{Home, Role};
use crate::judge::Judge;
use crate::net;
use crate::node::{Node, checked_name};
use crate::pace::Pace;
use crate::reads::readers;
use crate::shared::{Parts, Shared, Wrap};
use crate::store::{AnyStore, Opener};

/// How long a refused dial waits for the other side to change its mind, in ms.
const REFUSED_MS: u64 = 3_000;
/// The longest wait between two dials, in ms.
const LONGEST_WAIT_MS: u64 = 30_000;

type MakeTransport = Box<dyn FnOnce(Identity) -> Arc<dyn Transport> + Send>;

/// What a node is made of; [`Builder::spawn`] makes it. Without any setting it is a node in memory with a new key, with
/// transports for TCP and UDP, that listens nowhere.
#[must_use]
pub struct Builder {
    place: Place,
    name: Option<String>,
    listen: Vec<String>,
    offline: bool,
    transports: Vec<MakeTransport>,
    wrap: Option<Wrap>,
    config: Config,
    redial: RedialConfig,
    seed: Option<u64>,
    registry: Registry,
    without: BTreeSet<String>,
}

enum Place {
    Memory { seed: Option<Zeroizing<[u8; 32]>> },
    Path(PathBuf),
    Home(Box<Home>),
    Store { seed: Zeroizing<[u8; 32]>, opener: Opener },
}

impl Builder {
    pub(crate) fn new() -> Self {
        Self {
            place: Place::Memory { seed: None },
            name: None,
            listen: Vec::new(),
            offline: false,
            transports: Vec::new(),
            wrap: None,
            config: Config::default(),
            redial: RedialConfig {
                refused_ms: REFUSED_MS,
                cap_ms: LONGEST_WAIT_MS,
                ..RedialConfig::default()
            },
            seed: None,
            registry: Registry::standard(),
            without: BTreeSet::new(),
        }
    }

    /// Keeps keys and messages in this folder, which is made if need be. Nobody else can use it meanwhile.
    pub fn home(mut self, path: impl Into<PathBuf>) -> Self {
        self.place = Place::Path(path.into());
        self
    }

    /// Keeps keys and messages in a home that is open already. It is free again when the node has been shut down.
    pub fn open_home(mut self, home: Home) -> Self {
        self.place = Place::Home(Box::new(home));
        self
    }

    /// Keeps everything in memory, under a new key. This is the default.
    pub fn memory(mut self) -> Self {
        self.place = Place::Memory { seed: None };
        self
    }

    /// Keeps everything in memory, under the key that comes of this secret seed.
    pub fn memory_with_key(mut self, seed: [u8; 32]) -> Self {
        self.place = Place::Memory { seed: Some(Zeroizing::new(seed)) };
        self
    }

    /// Keeps messages in a store of your own, under the key that comes of this secret seed. `open` is called once now,
    /// and again whenever the store has failed and the old one was dropped.
    pub fn store<S: Store + Send + 'static>(
        mut self,
        seed: [u8; 32],
        mut open: impl FnMut() -> Result<S, StoreError> + Send + 'static,
    ) -> Self {
        let opener: Opener = Box::new(move || open().map(AnyStore::new));
        self.place = Place::Store { seed: Zeroizing::new(seed), opener };
        self
    }

    /// The name that others see, 1 to 64 bytes; it takes the place of the home's.
    pub fn name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Listens at this address, like `tcp://127.0.0.1:0`. May be called more than once.
    pub fn listen(mut self, address: &str) -> Self {
        self.listen.push(address.to_owned());
        self
    }

    /// Makes no links at all: neither listens nor dials. What is sent goes out when the home is opened again on line.
    pub fn offline(mut self) -> Self {
        self.offline = true;
        self
    }

    /// Adds a transport, made for the keys of this node. It goes before the usual one for the same scheme.
    pub fn transport<T: Transport + 'static>(
        mut self,
        make: impl FnOnce(Identity) -> T + Send + 'static,
    ) -> Self {
        self.transports.push(Box::new(|identity| Arc::new(make(identity))));
        self
    }

    /// Puts the node into a network inside this process, where it listens at `mem://` and this name.
    pub fn network(self, network: &MemoryNetwork, name: &str) -> Self {
        let network = network.clone();
        self.transport(move |identity| network.transport(identity)).listen(&format!("mem://{name}"))
    }

    /// Puts every link through this function before it is used: to make it [lossy](hedgerow_transports::Lossy), to
    /// count, to cut.
    pub fn wrap_links(
        mut self,
        wrap: impl Fn(Box<dyn Link>) -> Box<dyn Link> + Send + Sync + 'static,
    ) -> Self {
        self.wrap = Some(Box::new(wrap));
        self
    }

    /// The limits and periods of the engine.
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// What all messages may take in the store, in bytes: their bodies, and 128 bytes for each. At least 263,168. When
    /// there is no room for a message, the oldest of the author who takes most goes.
    pub fn max_store_bytes(mut self, bytes: u64) -> Self {
        self.config.max_store_bytes = bytes;
        self
    }

    /// The same for each group that has no cap of its own ([`Chat::set_max_bytes`](crate::Chat::set_max_bytes)).
    pub fn max_group_bytes(mut self, bytes: u64) -> Self {
        self.config.max_group_bytes = bytes;
        self
    }

    /// The waits between dials. Their seed is that of the node.
    pub fn redial(mut self, redial: RedialConfig) -> Self {
        self.redial = redial;
        self
    }

    /// Draws all randomness but the keys from this seed, for tests that repeat.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Adds a client, in place of one of the same client id and major version.
    pub fn client(mut self, client: impl Client + 'static) -> Self {
        self.registry = self.registry.with(client);
        self
    }

    /// Does without the clients of this client id: such groups are stored and passed on, and not read.
    pub fn without_client(mut self, client_id: &str) -> Self {
        self.without.insert(client_id.to_owned());
        self
    }

    /// Starts the node: within a tokio runtime, which must live as long as the node is to keep its links.
    ///
    /// # Errors
    /// When the home is in use, the store cannot be opened, a name, an address or a cap breaks a rule, or an address is
    /// taken.
    ///
    /// # Cancel safety
    /// When the future is dropped early there is no node; a home that was made stays.
    pub async fn spawn(self) -> Result<Node, NodeError> {
        let mut listen = Vec::new();
        for text in &self.listen {
            listen.push(text.parse::<Address>()?);
        }
        let name = self.name.as_deref().map(checked_name).transpose()?;
        let (place, wanted) = (self.place, name.clone());
        let settle = move || settle(place, wanted.as_deref());
        let settled = tokio::task::spawn_blocking(settle).await.map_err(|_| NodeError::Stopped)??;
        let name = name.or_else(|| settled.home.as_ref().and_then(|home| home.name().map(str::to_owned)));

        let identity = Identity::from_seed(&settled.seed);
        let mut dice = self.seed.map_or_else(fresh_dice, |seed| Ok(ChaCha20Rng::seed_from_u64(seed)))?;
        let mut transports: Vec<_> = self.transports.into_iter().map(|make| make(identity.clone())).collect();
        transports.push(Arc::new(TcpTransport::new(identity.clone())));
        transports.push(Arc::new(UdpTransport::new(identity.clone())));
        // Used where a plain address is listened at, or a foreign peer has one, and nowhere else.
        let key = mvds_key_of(identity.peer_id());
        transports.push(Arc::new(MvdsTcpTransport::new(key, LinkConfig::default())));
        transports.push(Arc::new(BspTcpTransport::new(LinkConfig::default())));
        let parts = Parts {
            me: identity.peer_id(),
            transports,
            wrap: self.wrap,
            redial: RedialConfig { seed: dice.random(), ..self.redial },
            offline: self.offline,
        };
        let me = Arc::new(Me {
            author: Author::from_seed(&settled.seed),
            peer: identity.peer_id(),
            name: name.clone(),
            registry: self.registry,
            without: self.without,
            clock: Clock::new(),
            config: self.config,
        });
        let (reads, readers) = settled.file.map(|file| readers(file, &me)).unzip();
        let (shared, ends) = Shared::new(parts, reads);
        let node = Node::new(shared.clone(), name, ChaCha20Rng::from_rng(&mut dice));
        // Before the store is opened and the contacts are dialled, so that a ticket has all addresses.
        if !self.offline {
            for address in &listen {
                net::listen(&shared, address).await?;
            }
        }
        let (judge, verdicts) = Judge::start()?;
        let (home, opener) = (settled.home, settled.opener);
        let pace = Pace::default();
        let driver = Driver { me, shared, ends, opener, dice, judge, verdicts, readers, home, pace };
        start(driver).await?;
        Ok(node)
    }
}

/// Opens the store on the engine's thread, which then runs for as long as the node.
async fn start(mut driver: Driver) -> Result<(), NodeError> {
    let (opened, is_open) = tokio::sync::oneshot::channel();
    let run = move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(opened.send(Err(NodeError::Thread(error)))),
        };
        match driver.open() {
            Ok(core) => {
                if opened.send(Ok(())).is_ok() {
                    runtime.block_on(driver.run(core));
                }
            }
            Err(error) => {
                // The home is free when the caller learns of it.
                drop(driver);
                drop(opened.send(Err(error)));
            }
        }
    };
    std::thread::Builder::new().name("hedgerow-engine".to_owned()).spawn(run).map_err(NodeError::Thread)?;
    is_open.await.map_err(|_| NodeError::Stopped)?
}

/// Keys and store of a node.
struct Settled {
    seed: Zeroizing<[u8; 32]>,
    home: Option<Home>,
    opener: Opener,
    /// The file of the store, if it can be read beside the engine.
    file: Option<PathBuf>,
}

fn settle(place: Place, name: Option<&str>) -> Result<Settled, NodeError> {
    match place {
        Place::Memory { seed } => {
            let seed = seed.map_or_else(fresh_seed, Ok)?;
            // A store in memory has nothing that can fail.
            let opener: Opener = Box::new(|| Ok(AnyStore::new(MemoryStore::new())));
            Ok(Settled { seed, home: None, opener, file: None })
        }
        Place::Store { seed, opener } => Ok(Settled { seed, home: None, opener, file: None }),
        Place::Path(path) => {
            let home = Home::open_or_create(path, name, Role::Node, Duration::ZERO)?;
            Ok(in_home(home))
        }
        Place::Home(home) => Ok(in_home(*home)),
    }
}

fn in_home(home: Home) -> Settled {
    let path = home.store_path();
    let file = Some(path.clone());
    let open = move || SqliteStore::open(&path, Options::default()).map(AnyStore::new);
    Settled { seed: home.seed(), opener: Box::new(open), home: Some(home), file }
}

fn fresh_seed() -> Result<Zeroizing<[u8; 32]>, NodeError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut()).map_err(NodeError::Random)?;
    Ok(seed)
}

fn fresh_dice() -> Result<ChaCha20Rng, NodeError> {
    Ok(ChaCha20Rng::from_seed(*fresh_seed()?))
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("name", &self.name)
            .field("listen", &self.listen)
            .finish_non_exhaustive()
    }
}
