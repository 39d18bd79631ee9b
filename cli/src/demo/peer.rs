//! A peer of a demonstration: a node with its store, that can be shut down and started again, and what its
//! application has read of each chat.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hedgerow::{Config, GroupId, MemoryNetwork, MessageId, Node, NodeError, RedialConfig};
use hedgerow_sync_sqlite::{Options, SqliteStore};
use tokio::task::JoinHandle;

use super::plan::{Person, Talk};
use super::wires::Wires;

/// How long a reader pauses after an error before it reads on.
const READ_AGAIN: Duration = Duration::from_millis(100);

/// What a peer's application has got from the stream of a chat.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// How often each text message came.
    times: HashMap<MessageId, u64>,
    position: u64,
}

impl Log {
    pub(super) fn has(&self, id: &MessageId) -> bool {
        self.times.contains_key(id)
    }

    pub(super) fn duplicates(&self) -> u64 {
        self.times.values().map(|times| times - 1).sum()
    }

    pub(super) fn delivered(&self) -> u64 {
        self.times.values().sum()
    }
}

/// A log that its reader writes, and others look at.
pub(super) type SharedLog = Arc<Mutex<Log>>;

pub(super) struct Peer {
    pub(super) index: usize,
    person: Person,
    store: PathBuf,
    network: MemoryNetwork,
    wires: Wires,
    pub(super) node: Node,
    /// The chats of this peer.
    pub(super) groups: BTreeMap<Talk, GroupId>,
    logs: BTreeMap<Talk, SharedLog>,
    readers: Vec<JoinHandle<()>>,
}

impl Peer {
    pub(super) async fn start(
        index: usize,
        person: Person,
        store: PathBuf,
        network: MemoryNetwork,
        wires: Wires,
    ) -> Result<Self, NodeError> {
        let node = spawn(index, &person, &store, &network, &wires, true).await?;
        wires.know(node.peer_id(), index);
        let (groups, logs, readers) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Ok(Self { index, person, store, network, wires, node, groups, logs, readers })
    }

    /// Ends the node, and starts it again on the same store.
    pub(super) async fn restart(&mut self, online: bool) -> Result<(), NodeError> {
        self.stop_reading();
        self.node.shutdown().await?;
        self.node = spawn(self.index, &self.person, &self.store, &self.network, &self.wires, online).await?;
        self.start_reading();
        Ok(())
    }

    /// Takes part in a chat from now on.
    pub(super) fn join(&mut self, talk: Talk, group: GroupId) {
        self.groups.insert(talk, group);
        self.logs.insert(talk, SharedLog::default());
    }

    /// Reads every chat as it comes.
    pub(super) fn start_reading(&mut self) {
        for (talk, group) in &self.groups {
            if let Some(log) = self.logs.get(talk) {
                self.readers.push(tokio::spawn(read(self.node.clone(), *group, log.clone())));
            }
        }
    }

    pub(super) fn stop_reading(&mut self) {
        self.readers.drain(..).for_each(|reader| reader.abort());
    }

    pub(super) async fn say(&self, talk: Talk, text: &str) -> Result<MessageId, NodeError> {
        let Some(group) = self.groups.get(&talk) else {
            return Err(NodeError::NotFound { what: "chat", text: talk.name().to_owned() });
        };
        self.node.chat(*group).await?.send(text).await
    }

    /// What was read of a chat so far; `None` if this peer is not in it.
    pub(super) fn log(&self, talk: Talk) -> Option<MutexGuard<'_, Log>> {
        self.logs.get(&talk).map(|log| lock(log))
    }

    pub(super) fn logs(&self) -> Vec<SharedLog> {
        self.logs.values().cloned().collect()
    }
}

pub(super) fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn spawn(
    index: usize,
    person: &Person,
    store: &std::path::Path,
    network: &MemoryNetwork,
    wires: &Wires,
    online: bool,
) -> Result<Node, NodeError> {
    let (path, wires) = (store.to_owned(), wires.clone());
    let mut config = Config::default();
    // The links are a few ms long: a probe that is lost is soon worth another, and so is a request.
    config.max_probe_ms = 200;
    config.request_timeout_ms = 1_000;
    let builder = Node::builder()
        .store(person.key, move || SqliteStore::open(&path, Options::default()))
        .name(&person.name)
        .seed(person.seed)
        .config(config)
        .redial(RedialConfig { base_ms: 50, cap_ms: 500, refused_ms: 200, ..RedialConfig::default() })
        .network(network, &person.name.to_lowercase())
        .wrap_links(move |link| wires.wrap(index, link));
    if online { builder.spawn().await } else { builder.offline().spawn().await }
}

/// Reads on from where the log ends, until the node does.
async fn read(node: Node, group: GroupId, log: SharedLog) {
    loop {
        match read_on(&node, group, &log).await {
            NodeError::Stopped => return,
            error => tracing::warn!(%error, "a chat cannot be read at present"),
        }
        tokio::time::sleep(READ_AGAIN).await;
    }
}

async fn read_on(node: &Node, group: GroupId, log: &SharedLog) -> NodeError {
    let position = lock(log).position;
    let chat = match node.chat(group).await {
        Ok(chat) => chat,
        Err(error) => return error,
    };
    let mut stream = match chat.stream_from(position).await {
        Ok(stream) => stream,
        Err(error) => return error,
    };
    loop {
        match stream.next().await {
            Ok(item) => {
                let mut log = lock(log);
                log.position = item.position;
                if item.text().is_some() {
                    *log.times.entry(item.id).or_default() += 1;
                }
            }
            Err(error) => return error,
        }
    }
}
