//! A store that fails at a given call, and from then on until it is mended.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use hedgerow_proto::MessageId;

use crate::order::OrderKey;
use crate::store::{
    AuthorNum, AuthorRow, Content, Direction, Edge, GroupNum, GroupRow, KeyValue, MemoryStore, MessageNum,
    MessageRow, MessageState, PeerGroupRow, PeerNum, PeerRow, Snapshot, Store, StoreError,
};

/// Clones are the same disk, so that an engine on it can be opened again.
#[derive(Clone)]
pub(super) struct Disk {
    rows: Rc<RefCell<MemoryStore>>,
    /// How many calls go well before one fails.
    left: Rc<Cell<u64>>,
    /// Whether a commit that fails is kept all the same.
    keeps: bool,
    lie: Rc<Cell<Lie>>,
}

/// What a disk gives back wrongly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Lie {
    #[default]
    Nothing,
    /// Bodies have another first byte.
    Bodies,
    /// There is nothing at this position.
    NothingAt(u64),
    /// At this position is what is at the first.
    FirstAt(u64),
}

impl Disk {
    pub(super) fn new(left: u64, keeps: bool) -> Self {
        Self { rows: Rc::default(), left: Rc::new(Cell::new(left)), keeps, lie: Rc::default() }
    }

    pub(super) fn left(&self) -> u64 {
        self.left.get()
    }

    /// Whether the next call fails.
    fn fails(&self) -> bool {
        self.left.get() == 0
    }

    pub(super) fn lie(&self, lie: Lie) {
        self.lie.set(lie);
    }

    /// No call fails any more.
    pub(super) fn mend(&self) {
        self.left.set(u64::MAX);
    }

    /// What was not committed is gone, as after a crash.
    pub(super) fn crash(&self) {
        self.rows.borrow_mut().crash();
    }

    fn call<T>(&self, call: impl FnOnce(&mut MemoryStore) -> Result<T, StoreError>) -> Result<T, StoreError> {
        if self.fails() {
            return Err(StoreError::Backend(Box::new(std::io::Error::other("a call that fails"))));
        }
        self.left.set(self.left.get() - 1);
        call(&mut self.rows.borrow_mut())
    }
}

macro_rules! calls {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*
     mut $(fn $mut_name:ident($($mut_arg:ident: $mut_type:ty),*) -> $mut_out:ty;)*) => {
        $(fn $name(&self, $($arg: $type),*) -> Result<$out, StoreError> {
            self.call(|rows| rows.$name($($arg),*))
        })*
        $(fn $mut_name(&mut self, $($mut_arg: $mut_type),*) -> Result<$mut_out, StoreError> {
            self.call(|rows| rows.$mut_name($($mut_arg),*))
        })*
    };
}

impl Store for Disk {
    fn commit(&mut self) -> Result<(), StoreError> {
        if self.fails() && self.keeps {
            self.rows.borrow_mut().commit()?;
        }
        self.call(MemoryStore::commit)
    }

    fn at(&self, group: GroupNum, position: u64) -> Result<Option<MessageRow>, StoreError> {
        self.call(|rows| match self.lie.get() {
            Lie::NothingAt(lost) if lost == position => Ok(None),
            Lie::FirstAt(taken) if taken == position => rows.at(group, 1),
            _ => rows.at(group, position),
        })
    }

    fn content(&self, num: MessageNum) -> Result<Option<Content>, StoreError> {
        let mut content = self.call(|rows| rows.content(num))?;
        if self.lie.get() == Lie::Bodies
            && let Some(body) = content.as_mut().and_then(|content| content.body.as_mut())
        {
            *body = body.iter().enumerate().map(|(at, byte)| if at == 0 { !byte } else { *byte }).collect();
        }
        Ok(content)
    }

    calls! {
        fn load() -> Snapshot;
        fn author_num(group: GroupNum, key: &[u8; 32]) -> Option<AuthorNum>;
        fn author(num: AuthorNum) -> Option<AuthorRow>;
        fn find(id: &MessageId) -> Option<MessageRow>;
        fn row(num: MessageNum) -> Option<MessageRow>;
        fn children(parent: MessageNum, after: MessageNum, limit: usize) -> Vec<MessageNum>;
        fn in_state(state: MessageState, after: MessageNum, limit: usize) -> Vec<MessageRow>;
        fn expiring(until_ms: i64, limit: usize) -> Vec<MessageRow>;
        fn page(
            group: GroupNum, after: Option<&OrderKey>, direction: Direction, limit: usize
        ) -> Vec<MessageRow>;
        fn heads(group: GroupNum) -> Vec<MessageNum>;
        fn scan(after: MessageNum, limit: usize) -> Vec<MessageRow>;
        fn edges(after: Edge, limit: usize) -> Vec<Edge>;
        fn value(space: &str, key: &[u8]) -> Option<Vec<u8>>;
        fn values(space: &str, after: Option<&[u8]>, limit: usize) -> Vec<KeyValue>;
        mut
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
}
