//! Stores of the nodes: in memory, in SQLite without a file, or in a file; and ones that are broken on purpose, to
//! see that the checks find it.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use hedgerow_proto::MessageId;
use hedgerow_sync_core::store::{
    AuthorNum, AuthorRow, CheckReport, Content, Direction, Edge, GroupNum, GroupRow, KeyValue, MessageNum,
    MessageRow, MessageState, PeerGroupRow, PeerNum, PeerRow, Snapshot, check,
};
use hedgerow_sync_core::{MemoryStore, OrderKey, Store, StoreError};
use hedgerow_sync_sqlite::{Options, SqliteStore};

/// What a node keeps its messages in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreKind {
    /// The twin in memory.
    Memory,
    /// SQLite without a file.
    Sqlite,
    /// SQLite in a file.
    File,
}

/// What is wrong with a store on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sabotage {
    /// From the tenth commit on, commits are promised and not done. In memory only.
    ForgetsCommits,
    /// The fourth position of a log reads as the third.
    RepeatsDelivery,
    /// A message is kept without its dependencies.
    ForgetsDependencies,
}

/// A store of a node.
pub struct SwarmStore {
    inner: Inner,
    sabotage: Option<Sabotage>,
    commits: u32,
}

enum Inner {
    Memory(Box<MemoryStore>),
    Sqlite(Box<SqliteStore>),
    File(Box<SqliteStore>, PathBuf),
}

/// A copy of a store as it was.
pub enum Backup {
    /// Of one in memory.
    Memory(Box<MemoryStore>),
    /// Of a file.
    File(PathBuf),
}

impl SwarmStore {
    /// A new store. `path` is where the file goes, if there is one.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn new(kind: StoreKind, path: PathBuf, sabotage: Option<Sabotage>) -> Result<Self, StoreError> {
        let inner = match kind {
            StoreKind::Memory => Inner::Memory(Box::default()),
            StoreKind::Sqlite => Inner::Sqlite(Box::new(SqliteStore::in_memory()?)),
            StoreKind::File => {
                remove(&path)?;
                Inner::File(Box::new(SqliteStore::open(&path, Options::default())?), path)
            }
        };
        Ok(Self { inner, sabotage, commits: 0 })
    }

    /// What a crash and a restart leave.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn crash(mut self) -> Result<Self, StoreError> {
        self.inner = match self.inner {
            Inner::Memory(mut store) => {
                store.crash();
                Inner::Memory(store)
            }
            // It has no file to be opened again from.
            Inner::Sqlite(mut store) => {
                store.rollback()?;
                Inner::Sqlite(store)
            }
            Inner::File(store, path) => {
                drop(store);
                Inner::File(Box::new(SqliteStore::open(&path, Options::default())?), path)
            }
        };
        Ok(self)
    }

    /// A copy of what is committed; `None` where there is no file to copy.
    ///
    /// # Errors
    /// When the file cannot be copied.
    pub fn backup(&self) -> Result<Option<Backup>, StoreError> {
        Ok(match &self.inner {
            Inner::Memory(store) => {
                let mut copy = store.clone();
                copy.crash();
                Some(Backup::Memory(copy))
            }
            Inner::Sqlite(_) => None,
            Inner::File(_, path) => {
                let copy = path.with_extension("backup");
                copy_store(path, &copy)?;
                Some(Backup::File(copy))
            }
        })
    }

    /// Puts a copy in the place of this store.
    ///
    /// # Errors
    /// When a file cannot be copied, or SQLite fails.
    pub fn restore(mut self, backup: Backup) -> Result<Self, StoreError> {
        self.inner = match (self.inner, backup) {
            (Inner::File(store, path), Backup::File(copy)) => {
                drop(store);
                copy_store(&copy, &path)?;
                Inner::File(Box::new(SqliteStore::open(&path, Options::default())?), path)
            }
            (_, Backup::Memory(copy)) => Inner::Memory(copy),
            (inner, Backup::File(_)) => inner,
        };
        Ok(self)
    }

    /// Verifies what is committed, or, in SQLite, what is there.
    ///
    /// # Errors
    /// When SQLite fails.
    pub fn check(&self) -> Result<CheckReport, StoreError> {
        match &self.inner {
            Inner::Memory(store) if store.is_dirty() => {
                let mut copy = store.clone();
                copy.crash();
                check(&*copy)
            }
            Inner::Memory(store) => check(&**store),
            Inner::Sqlite(store) | Inner::File(store, _) => store.check(),
        }
    }

    /// Whether a check sees only what is committed.
    #[must_use]
    pub fn checks_committed(&self) -> bool {
        matches!(self.inner, Inner::Memory(_))
    }

    fn inner(&self) -> &dyn Store {
        match &self.inner {
            Inner::Memory(store) => &**store,
            Inner::Sqlite(store) | Inner::File(store, _) => &**store,
        }
    }

    fn inner_mut(&mut self) -> &mut dyn Store {
        match &mut self.inner {
            Inner::Memory(store) => &mut **store,
            Inner::Sqlite(store) | Inner::File(store, _) => &mut **store,
        }
    }
}

fn companions(path: &Path) -> [PathBuf; 3] {
    let name = |suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    [name(""), name("-wal"), name("-shm")]
}

fn remove(path: &Path) -> Result<(), StoreError> {
    for file in companions(path) {
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    Ok(())
}

fn copy_store(from: &Path, to: &Path) -> Result<(), StoreError> {
    remove(to)?;
    // The index of the log is made anew.
    for (from, to) in companions(from).iter().zip(companions(to)).take(2) {
        match std::fs::copy(from, to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
    }
    Ok(())
}

fn io(error: std::io::Error) -> StoreError {
    StoreError::Backend(Box::new(error))
}

/// Hands calls on to the store inside.
macro_rules! hand_on {
    ($(fn $name:ident(&self $(, $arg:ident: $type:ty)*) -> $out:ty;)*
     mut $(fn $mut_name:ident(&mut self $(, $mut_arg:ident: $mut_type:ty)*) -> $mut_out:ty;)*) => {
        $(fn $name(&self $(, $arg: $type)*) -> Result<$out, StoreError> { self.inner().$name($($arg),*) })*
        $(fn $mut_name(&mut self $(, $mut_arg: $mut_type)*) -> Result<$mut_out, StoreError> {
            self.inner_mut().$mut_name($($mut_arg),*)
        })*
    };
}

impl Store for SwarmStore {
    fn commit(&mut self) -> Result<(), StoreError> {
        self.commits += 1;
        if self.sabotage == Some(Sabotage::ForgetsCommits) && self.commits >= 10 {
            return Ok(());
        }
        self.inner_mut().commit()
    }

    fn at(&self, group: GroupNum, position: u64) -> Result<Option<MessageRow>, StoreError> {
        if self.sabotage == Some(Sabotage::RepeatsDelivery) && position == 4 {
            return self.inner().at(group, 3);
        }
        self.inner().at(group, position)
    }

    fn content(&self, num: MessageNum) -> Result<Option<Content>, StoreError> {
        self.inner().content(num)
    }

    fn insert(
        &mut self,
        row: &MessageRow,
        deps: &[MessageNum],
        body: Option<&Bytes>,
    ) -> Result<MessageNum, StoreError> {
        let forgets = self.sabotage == Some(Sabotage::ForgetsDependencies);
        let deps = if forgets && row.missing > 0 { &[] } else { deps };
        self.inner_mut().insert(row, deps, body)
    }

    hand_on! {
        fn load(&self) -> Snapshot;
        fn author_num(&self, group: GroupNum, key: &[u8; 32]) -> Option<AuthorNum>;
        fn author(&self, num: AuthorNum) -> Option<AuthorRow>;
        fn expiring(&self, until_ms: i64, limit: usize) -> Vec<MessageRow>;
        fn find(&self, id: &MessageId) -> Option<MessageRow>;
        fn row(&self, num: MessageNum) -> Option<MessageRow>;
        fn children(&self, parent: MessageNum, after: MessageNum, limit: usize) -> Vec<MessageNum>;
        fn in_state(&self, state: MessageState, after: MessageNum, limit: usize) -> Vec<MessageRow>;
        fn page(
            &self, group: GroupNum, after: Option<&OrderKey>, direction: Direction, limit: usize
        ) -> Vec<MessageRow>;
        fn heads(&self, group: GroupNum) -> Vec<MessageNum>;
        fn scan(&self, after: MessageNum, limit: usize) -> Vec<MessageRow>;
        fn edges(&self, after: Edge, limit: usize) -> Vec<Edge>;
        fn value(&self, space: &str, key: &[u8]) -> Option<Vec<u8>>;
        fn values(&self, space: &str, after: Option<&[u8]>, limit: usize) -> Vec<KeyValue>;
        mut
        fn rollback(&mut self) -> ();
        fn set_install(&mut self, install: u64) -> ();
        fn put_group(&mut self, group: &GroupRow) -> ();
        fn set_head(&mut self, group: GroupNum, head: u64, chain: u64, body_bytes: u64) -> ();
        fn add_author(&mut self, group: GroupNum, key: &[u8; 32]) -> AuthorNum;
        fn remove_group(&mut self, group: GroupNum) -> ();
        fn put_peer(&mut self, peer: &PeerRow) -> ();
        fn remove_peer(&mut self, peer: PeerNum) -> ();
        fn put_peer_group(&mut self, row: &PeerGroupRow) -> ();
        fn fill(&mut self, row: &MessageRow, deps: &[MessageNum], body: &Bytes) -> ();
        fn update(&mut self, row: &MessageRow) -> ();
        fn set_deps(&mut self, num: MessageNum, deps: &[MessageNum]) -> ();
        fn remove(&mut self, num: MessageNum) -> ();
        fn add_edge(&mut self, parent: MessageNum, child: MessageNum) -> ();
        fn remove_edge(&mut self, parent: MessageNum, child: MessageNum) -> ();
        fn change_heads(&mut self, group: GroupNum, removed: &[MessageNum], added: &[MessageNum]) -> ();
        fn set_value(&mut self, space: &str, key: &[u8], value: Option<&[u8]>) -> ();
    }
}
