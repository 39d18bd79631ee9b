//! What the tests have in common.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hedgerow::{Builder, ChatStream, MemoryNetwork, Node, NodeError, PeerId, RedialConfig};
use hedgerow_sync_core::{Config, Draft, Engine, Time};
use hedgerow_sync_sqlite::{Options, SqliteStore};

/// How long anything may take before the test counts as hung.
const HUNG: Duration = Duration::from_secs(300);

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HUNG, future).await.expect("hung")
}

/// Waits until the condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    soon(async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// Waits that suit a test.
pub(crate) fn quick() -> RedialConfig {
    RedialConfig { base_ms: 10, cap_ms: 100, refused_ms: 50, ..RedialConfig::default() }
}

pub(crate) fn in_memory(network: &MemoryNetwork, name: &str) -> Builder {
    Node::builder().name(name).network(network, name).redial(quick())
}

pub(crate) fn on_disk(network: &MemoryNetwork, home: &Path, name: &str) -> Builder {
    Node::builder().home(home).name(name).network(network, name).redial(quick())
}

pub(crate) async fn befriend(one: &Node, other: &Node) {
    one.add_peer(&other.ticket().unwrap()).await.unwrap();
    other.add_peer(&one.ticket().unwrap()).await.unwrap();
}

/// The next texts of a stream.
pub(crate) async fn texts(stream: &mut ChatStream, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let item = soon(stream.next()).await.unwrap();
        texts.extend(item.text().map(str::to_owned));
    }
    texts
}

pub(crate) async fn connected(node: &Node, peer: PeerId) -> bool {
    node.peers().await.unwrap().iter().any(|contact| contact.peer == peer && contact.connected)
}

/// All texts that are there, in canonical order.
pub(crate) async fn canonical(chat: &hedgerow::Chat) -> Result<Vec<String>, NodeError> {
    let items = chat.page(None, hedgerow::Direction::Forward, usize::MAX).await?;
    Ok(items.iter().filter_map(|item| item.text().map(str::to_owned)).collect())
}

/// A device whose store a test can write past the node: its key is known, and its store is a file.
pub(crate) struct Forged {
    pub(crate) seed: [u8; 32],
    pub(crate) path: PathBuf,
}

impl Forged {
    pub(crate) fn node(&self, network: &MemoryNetwork, name: &str) -> Builder {
        let path = self.path.clone();
        let open = move || SqliteStore::open(&path, Options::default());
        Node::builder().store(self.seed, open).name(name).network(network, name).redial(quick())
    }

    /// Publishes a body as it is; the node must not run.
    pub(crate) fn publish(
        &self,
        group: hedgerow::GroupId,
        body: impl FnOnce(&hedgerow::clients::PostDraft<'_>, &hedgerow::clients::Author) -> bytes::Bytes,
        number: u64,
    ) {
        let store = SqliteStore::open(&self.path, Options::default()).unwrap();
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let now = Time(u64::try_from(since.as_millis()).unwrap());
        let mut engine = Engine::open(store, Config::default(), [1; 32], now).unwrap();
        let info = engine.group(group).unwrap();
        let deps = engine.heads(group, 16).unwrap();
        let timestamp_ms = now.as_timestamp_ms();
        let draft = hedgerow::clients::PostDraft {
            group: &info.descriptor,
            timestamp_ms,
            deps: &deps,
            number,
            credential: None,
            expires_ms: None,
        };
        let author = hedgerow::clients::Author::from_seed(&self.seed);
        let body = body(&draft, &author);
        engine.publish(group, Draft { timestamp_ms, deps: deps.clone(), body }, now).unwrap();
        engine.commit().unwrap();
    }
}
