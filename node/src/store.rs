//! One type for every kind of store, so that nothing above it has a type parameter.

use bytes::Bytes;
use hedgerow_proto::{GroupId, MessageId};
use hedgerow_sync_core::store::{
    AuthorNum, AuthorRow, Content, Direction, Edge, GroupNum, GroupRow, KeyValue, MessageNum, MessageRow,
    MessageState, PeerGroupRow, PeerNum, PeerRow, Snapshot, StoreError,
};
use hedgerow_sync_core::{OrderKey, Store};

/// Opens a store, and opens it again after it failed.
pub(crate) type Opener = Box<dyn FnMut() -> Result<AnyStore, StoreError> + Send>;

/// Any store.
pub(crate) struct AnyStore(Box<dyn Store + Send>);

impl AnyStore {
    pub(crate) fn new(store: impl Store + Send + 'static) -> Self {
        Self(Box::new(store))
    }
}

/// Passes every method on.
macro_rules! pass {
    (write $(fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $name(&mut self, $($arg: $type),*) -> Result<$out, StoreError> { self.0.$name($($arg),*) })*
    };
    (read $(fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $type),*) -> Result<$out, StoreError> { self.0.$name($($arg),*) })*
    };
}

impl Store for AnyStore {
    fn keeps_in_memory(&self) -> bool {
        self.0.keeps_in_memory()
    }

    pass! { write
        fn commit() -> ();
        fn rollback() -> ();
        fn set_install(install: u64) -> ();
        fn put_group(group: &GroupRow) -> ();
        fn set_head(group: GroupNum, head: u64, chain: u64, body_bytes: u64) -> ();
        fn remove_group(group: GroupNum) -> ();
        fn put_peer(peer: &PeerRow) -> ();
        fn remove_peer(peer: PeerNum) -> ();
        fn put_peer_group(row: &PeerGroupRow) -> ();
        fn add_author(group: GroupNum, key: &[u8; 32]) -> AuthorNum;
        fn insert(row: &MessageRow, deps: &[MessageNum], body: Option<&Bytes>) -> MessageNum;
        fn fill(row: &MessageRow, deps: &[MessageNum], body: &Bytes) -> ();
        fn update(row: &MessageRow) -> ();
        fn set_deps(num: MessageNum, deps: &[MessageNum]) -> ();
        fn remove(num: MessageNum) -> ();
        fn add_edge(parent: MessageNum, child: MessageNum) -> ();
        fn remove_edge(parent: MessageNum, child: MessageNum) -> ();
        fn change_heads(group: GroupNum, removed: &[MessageNum], added: &[MessageNum]) -> ();
        fn set_value(space: &str, key: &[u8], value: Option<&[u8]>) -> ();
    }
    pass! { read
        fn load() -> Snapshot;
        fn group(id: &GroupId) -> Option<GroupRow>;
        fn peer(num: PeerNum) -> Option<PeerRow>;
        fn author_num(group: GroupNum, key: &[u8; 32]) -> Option<AuthorNum>;
        fn author(num: AuthorNum) -> Option<AuthorRow>;
        fn find(id: &MessageId) -> Option<MessageRow>;
        fn row(num: MessageNum) -> Option<MessageRow>;
        fn at(group: GroupNum, position: u64) -> Option<MessageRow>;
        fn content(num: MessageNum) -> Option<Content>;
        fn children(parent: MessageNum, after: MessageNum, limit: usize) -> Vec<MessageNum>;
        fn in_state(state: MessageState, after: MessageNum, limit: usize) -> Vec<MessageRow>;
        fn expiring(until_ms: i64, limit: usize) -> Vec<MessageRow>;
        fn page(group: GroupNum, after: Option<&OrderKey>, direction: Direction, limit: usize) -> Vec<MessageRow>;
        fn heads(group: GroupNum) -> Vec<MessageNum>;
        fn scan(after: MessageNum, limit: usize) -> Vec<MessageRow>;
        fn edges(after: Edge, limit: usize) -> Vec<Edge>;
        fn value(space: &str, key: &[u8]) -> Option<Vec<u8>>;
        fn values(space: &str, after: Option<&[u8]>, limit: usize) -> Vec<KeyValue>;
    }
}
