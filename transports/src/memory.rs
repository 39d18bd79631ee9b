//! Links inside one process: for tests, simulations and the first steps with the library.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use hedgerow_proto::PeerId;
use tokio::sync::mpsc;

use crate::limits::{DEFAULT_MAX_FRAME, MEMORY_BACKLOG, MEMORY_QUEUE_FRAMES};
use crate::link::Ending;
use crate::{
    Address, CloseReason, FrameReceiver, FrameSender, Identity, Link, LinkError, LinkInfo, Listener,
    Rejections, Transport, TransportError,
};

const SCHEME: &str = "mem";

/// A network inside this process. Clones are the same network.
///
/// Its links are reliable and bounded: a few frames wait in each direction, then the writer waits for the reader.
#[derive(Clone, Default)]
pub struct MemoryNetwork(Arc<Mutex<HashMap<Address, Entrance>>>);

/// What a dialler finds at an address.
struct Entrance {
    peer: PeerId,
    incoming: mpsc::Sender<Box<dyn Link>>,
}

impl MemoryNetwork {
    /// A network with nobody in it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The way into this network for one device. Its `listen` and `dial` take addresses like `mem://alice`.
    #[must_use]
    pub fn transport(&self, identity: Identity) -> MemoryTransport {
        MemoryTransport { network: self.clone(), identity }
    }

    fn entrances(&self) -> MutexGuard<'_, HashMap<Address, Entrance>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entrances().keys()).finish()
    }
}

/// One device's way into a [`MemoryNetwork`].
#[derive(Debug, Clone)]
pub struct MemoryTransport {
    network: MemoryNetwork,
    identity: Identity,
}

#[async_trait]
impl Transport for MemoryTransport {
    fn scheme(&self) -> &'static str {
        SCHEME
    }

    async fn listen(&self, at: &Address) -> Result<Box<dyn Listener>, TransportError> {
        check_scheme(at)?;
        let (incoming, links) = mpsc::channel(MEMORY_BACKLOG);
        match self.network.entrances().entry(at.clone()) {
            // A listener that was dropped a moment ago may still stand here.
            Entry::Occupied(entry) if !entry.get().incoming.is_closed() => {
                return Err(TransportError::AddressInUse(at.clone()));
            }
            entry => entry.insert_entry(Entrance { peer: self.identity.peer_id(), incoming }),
        };
        let rejections = Rejections::default();
        Ok(Box::new(MemoryListener { network: self.network.clone(), address: at.clone(), links, rejections }))
    }

    async fn dial(&self, to: &Address, expect: PeerId) -> Result<Box<dyn Link>, TransportError> {
        check_scheme(to)?;
        let (found, incoming) = match self.network.entrances().get(to) {
            Some(entrance) => (entrance.peer, entrance.incoming.clone()),
            None => return Err(TransportError::NobodyListens(to.clone())),
        };
        if found != expect {
            return Err(TransportError::WrongPeer { expected: expect, found });
        }
        let place = incoming.reserve().await.map_err(|_| TransportError::NobodyListens(to.clone()))?;
        let from = name_of(self.identity.peer_id());
        let (ours, theirs) = pair((self.identity.peer_id(), from), (found, to.clone()));
        place.send(theirs);
        Ok(ours)
    }
}

fn check_scheme(address: &Address) -> Result<(), TransportError> {
    if address.scheme() == SCHEME {
        return Ok(());
    }
    Err(TransportError::WrongScheme { address: address.clone(), scheme: SCHEME })
}

/// Where a dialler is said to come from, since it need not listen anywhere.
fn name_of(peer: PeerId) -> Address {
    Address::of_text(SCHEME, &peer.short())
}

struct MemoryListener {
    network: MemoryNetwork,
    address: Address,
    links: mpsc::Receiver<Box<dyn Link>>,
    rejections: Rejections,
}

#[async_trait]
impl Listener for MemoryListener {
    fn address(&self) -> Address {
        self.address.clone()
    }

    async fn accept(&mut self) -> Result<Box<dyn Link>, TransportError> {
        self.links.recv().await.ok_or(TransportError::Shutdown)
    }

    fn rejections(&self) -> Rejections {
        self.rejections.clone()
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        self.links.close();
        let mut entrances = self.network.entrances();
        if entrances.get(&self.address).is_some_and(|entrance| entrance.incoming.is_closed()) {
            entrances.remove(&self.address);
        }
    }
}

/// Two ends of one link between the peers `a` and `b`: the first is the end that `a` holds, and `a` counts as the
/// one who dialled.
#[must_use]
pub fn memory_pair(a: PeerId, b: PeerId) -> (Box<dyn Link>, Box<dyn Link>) {
    pair((a, name_of(a)), (b, name_of(b)))
}

fn pair(a: (PeerId, Address), b: (PeerId, Address)) -> (Box<dyn Link>, Box<dyn Link>) {
    let (a_to_b, from_a) = direction();
    let (b_to_a, from_b) = direction();
    let end = |(peer, address): (PeerId, Address), initiator, (outward, inward)| -> Box<dyn Link> {
        let info = LinkInfo { peer, reliable: true, max_frame: DEFAULT_MAX_FRAME, initiator, address };
        Box::new(MemoryLink { info, outward, inward })
    };
    (end(b, true, (a_to_b, from_b)), end(a, false, (b_to_a, from_a)))
}

/// One direction of a link.
struct Outward {
    frames: mpsc::Sender<Bytes>,
    /// Set by the sender before it goes away, if it has a reason to give.
    farewell: Arc<OnceLock<CloseReason>>,
}

struct Inward {
    frames: mpsc::Receiver<Bytes>,
    farewell: Arc<OnceLock<CloseReason>>,
}

fn direction() -> (Outward, Inward) {
    let (sender, receiver) = mpsc::channel(MEMORY_QUEUE_FRAMES);
    let farewell = Arc::new(OnceLock::new());
    (Outward { frames: sender, farewell: farewell.clone() }, Inward { frames: receiver, farewell })
}

/// How the other end went: with a word or without.
fn farewell(word: &OnceLock<CloseReason>) -> LinkError {
    word.get().map_or(LinkError::Lost, |reason| LinkError::Closed(*reason))
}

struct MemoryLink {
    info: LinkInfo,
    outward: Outward,
    inward: Inward,
}

impl Link for MemoryLink {
    fn info(&self) -> &LinkInfo {
        &self.info
    }

    fn split(self: Box<Self>) -> (Box<dyn FrameSender>, Box<dyn FrameReceiver>) {
        let ending = Arc::new(Ending::default());
        let sender = MemorySender {
            max_frame: self.info.max_frame,
            frames: Some(self.outward.frames),
            farewell: self.outward.farewell,
            their_farewell: self.inward.farewell.clone(),
            ending: ending.clone(),
        };
        (Box::new(sender), Box::new(MemoryReceiver { inward: self.inward, ending }))
    }
}

struct MemorySender {
    max_frame: usize,
    /// None once the link is closed.
    frames: Option<mpsc::Sender<Bytes>>,
    farewell: Arc<OnceLock<CloseReason>>,
    their_farewell: Arc<OnceLock<CloseReason>>,
    ending: Arc<Ending>,
}

#[async_trait]
impl FrameSender for MemorySender {
    async fn send(&mut self, frame: Bytes) -> Result<(), LinkError> {
        if let Some(why) = self.ending.why() {
            return Err(why);
        }
        if frame.len() > self.max_frame {
            return Err(LinkError::TooLarge { len: frame.len(), max: self.max_frame });
        }
        let Some(frames) = &self.frames else {
            return Err(LinkError::Lost);
        };
        tokio::select! {
            biased;
            why = self.ending.wait() => Err(why),
            sent = frames.send(frame) => sent.map_err(|_| farewell(&self.their_farewell)),
        }
    }

    async fn close(&mut self, reason: CloseReason) {
        // The word must be in place before the channel ends, for the receiver looks in this order.
        let _ = self.farewell.set(reason);
        self.frames = None;
        self.ending.end(LinkError::Closed(reason));
    }
}

struct MemoryReceiver {
    inward: Inward,
    ending: Arc<Ending>,
}

#[async_trait]
impl FrameReceiver for MemoryReceiver {
    async fn recv(&mut self) -> Result<Bytes, LinkError> {
        tokio::select! {
            biased;
            why = self.ending.wait() => Err(why),
            frame = self.inward.frames.recv() => match frame {
                Some(frame) => Ok(frame),
                None => Err(self.ending.end(farewell(&self.inward.farewell))),
            },
        }
    }
}
