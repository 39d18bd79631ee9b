//! The store: its transactions, and the [`Store`] trait over the other files.

use std::cell::{RefCell, RefMut};
use std::collections::BTreeSet;

use bytes::Bytes;
use hedgerow_proto::{GroupId, MessageId};
use hedgerow_sync_core::store::{
    AuthorNum, AuthorRow, Content, Direction, Edge, GroupNum, GroupRow, KeyValue, MessageNum, MessageRow,
    MessageState, PeerGroupRow, PeerNum, PeerRow, Snapshot,
};
use hedgerow_sync_core::{OrderKey, Store, StoreError};
use rusqlite::Connection;

use crate::cache::Cache;
use crate::error::{Misuse, backend, store_error};
use crate::log::Log;
use crate::longlog::LongLog;
use crate::recent::Recent;
use crate::rows::after;
use crate::tag::TagKey;

/// A [`Store`] in a file of SQLite.
///
/// The first write begins a transaction, [`Store::commit`] makes it durable. After any write that failed, nothing
/// of its transaction is kept and further writes are refused until [`Store::rollback`]. Dropping the store undoes
/// what is not committed. All calls block on the disk: run it on a thread of its own. [`SqliteStore::open_read_only`] reads beside it without waiting.
pub struct SqliteStore {
    pub(crate) connection: Connection,
    pub(crate) tags: TagKey,
    pub(crate) cache: RefCell<Cache>,
    pub(crate) log: RefCell<Log>,
    pub(crate) recent: RefCell<Recent>,
    pub(crate) max_recent: usize,
    pub(crate) groups: BTreeSet<GroupNum>,
    /// The highest number that a message was given.
    pub(crate) last_message: u64,
    /// SQLite's count of the commits of others.
    pub(crate) data_version: i64,
    pub(crate) phase: Phase,
    /// `None` where no other connection can read.
    pub(crate) long_log: Option<LongLog>,
}

/// Where the store stands between commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing is written.
    Idle,
    /// A transaction is open.
    Open,
    /// A write failed, and its transaction is gone.
    Failed,
    /// Nothing can be written.
    ReadOnly,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore")
            .field("path", &self.connection.path())
            .field("phase", &self.phase)
            .field("last_message", &self.last_message)
            .finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// Does a write in the open transaction, which it begins if there is none.
    fn write<T>(&mut self, write: impl FnOnce(&mut Self) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.begin()?;
        write(self).inspect_err(|_| self.fail())
    }

    /// The messages. Where another process writes, nothing is remembered from one moment to the next.
    pub(crate) fn log(&self) -> RefMut<'_, Log> {
        let mut log = self.log.borrow_mut();
        if self.phase == Phase::ReadOnly && self.connection.is_autocommit() {
            log.clear();
        }
        log
    }

    /// The size of the write-ahead log beside the store at `path`, in bytes; 0 if there is none.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn log_bytes(path: &std::path::Path) -> std::io::Result<u64> {
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        match std::fs::metadata(log) {
            Ok(file) => Ok(file.len()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Reads one moment of the store, whatever another process or thread commits meanwhile: in one transaction, which
    /// costs fewer locks of the file than as many reads alone and, for a reader, remembers within it what was read.
    /// Keep it short: the log cannot be started over while it is open, and grows with what is committed meanwhile.
    ///
    /// # Errors
    /// Those of `read`, and when the transaction cannot begin.
    pub fn at_one_moment<T>(
        &self,
        read: impl FnOnce(&Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if !self.connection.is_autocommit() {
            return read(self);
        }
        // For a reader this forgets what another moment was like.
        drop(self.log());
        self.execute("BEGIN", [])?;
        let answer = read(self);
        self.execute("COMMIT", [])?;
        answer
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        if self.log.get_mut().lost {
            self.fail();
        }
        match self.phase {
            Phase::Open => return Ok(()),
            Phase::Failed => return Err(backend(Misuse::Failed)),
            Phase::ReadOnly => return Err(backend(Misuse::ReadOnly)),
            Phase::Idle => {}
        }
        self.execute("BEGIN IMMEDIATE", [])?;
        self.phase = Phase::Open;
        // What is remembered here, and in the layers above, is no longer what the store holds.
        if self.read_data_version()? != self.data_version {
            self.fail();
            return Err(StoreError::Busy);
        }
        Ok(())
    }

    /// Everything that the transaction has changed, and its end.
    fn write_out(&self) -> Result<(), StoreError> {
        let mut log = self.log();
        if log.lost {
            return Err(backend(Misuse::Failed));
        }
        log.end_block();
        log.flush(&self.connection)?;
        self.execute("COMMIT", [])?;
        log.committed();
        Ok(())
    }

    pub(crate) fn read_data_version(&self) -> Result<i64, StoreError> {
        let mut statement = self.connection.prepare_cached("PRAGMA data_version").map_err(store_error)?;
        statement.query_row([], |row| row.get(0)).map_err(store_error)
    }

    /// Gives the transaction up, so that nothing of it can be committed.
    fn fail(&mut self) {
        self.phase = Phase::Failed;
        self.cache.borrow_mut().clear();
        self.log.borrow_mut().clear();
        // SQLite may have undone it already. If this fails too, closing the connection will do it.
        if !self.connection.is_autocommit() {
            let _undone = self.execute("ROLLBACK", []);
        }
    }
}

impl Store for SqliteStore {
    fn commit(&mut self) -> Result<(), StoreError> {
        match self.phase {
            Phase::Idle | Phase::ReadOnly => Ok(()),
            Phase::Failed => Err(backend(Misuse::Failed)),
            Phase::Open => {
                self.write_out().inspect_err(|_| self.fail())?;
                self.phase = Phase::Idle;
                if let Some(log) = &mut self.long_log {
                    log.cut(&self.connection);
                }
                Ok(())
            }
        }
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        if matches!(self.phase, Phase::Idle | Phase::ReadOnly) {
            return Ok(());
        }
        if !self.connection.is_autocommit() {
            self.execute("ROLLBACK", [])?;
        }
        let version = self.data_version;
        self.refresh()?;
        // If others wrote, that is not forgotten: the layers above do not know.
        self.data_version = version;
        self.phase = Phase::Idle;
        Ok(())
    }

    fn load(&self) -> Result<Snapshot, StoreError> {
        self.snapshot()
    }

    fn group(&self, id: &GroupId) -> Result<Option<GroupRow>, StoreError> {
        self.find_group(id)
    }

    fn peer(&self, num: PeerNum) -> Result<Option<PeerRow>, StoreError> {
        self.find_peer(num)
    }

    fn set_install(&mut self, install: u64) -> Result<(), StoreError> {
        self.write(|store| store.execute("UPDATE store SET install = ?1", [install.cast_signed()]).map(drop))
    }

    fn put_group(&mut self, group: &GroupRow) -> Result<(), StoreError> {
        self.write(|store| store.write_group(group))
    }

    fn set_head(
        &mut self,
        group: GroupNum,
        head: u64,
        chain: u64,
        body_bytes: u64,
    ) -> Result<(), StoreError> {
        self.write(|store| store.write_head(group, head, chain, body_bytes))
    }

    fn remove_group(&mut self, group: GroupNum) -> Result<(), StoreError> {
        self.write(|store| store.delete_group(group))
    }

    fn put_peer(&mut self, peer: &PeerRow) -> Result<(), StoreError> {
        self.write(|store| store.write_peer(peer))
    }

    fn remove_peer(&mut self, peer: PeerNum) -> Result<(), StoreError> {
        self.write(|store| store.delete_peer(peer))
    }

    fn put_peer_group(&mut self, row: &PeerGroupRow) -> Result<(), StoreError> {
        self.write(|store| store.write_peer_group(row))
    }

    fn author_num(&self, group: GroupNum, key: &[u8; 32]) -> Result<Option<AuthorNum>, StoreError> {
        self.find_author(group, key)
    }

    fn add_author(&mut self, group: GroupNum, key: &[u8; 32]) -> Result<AuthorNum, StoreError> {
        self.write(|store| store.insert_author(group, key))
    }

    fn author(&self, num: AuthorNum) -> Result<Option<AuthorRow>, StoreError> {
        self.read_author(num)
    }

    fn find(&self, id: &MessageId) -> Result<Option<MessageRow>, StoreError> {
        self.find_message(id)
    }

    fn row(&self, num: MessageNum) -> Result<Option<MessageRow>, StoreError> {
        self.message(num)
    }

    fn at(&self, group: GroupNum, position: u64) -> Result<Option<MessageRow>, StoreError> {
        self.message_at(group, position)
    }

    fn content(&self, num: MessageNum) -> Result<Option<Content>, StoreError> {
        self.message_content(num)
    }

    fn insert(
        &mut self,
        row: &MessageRow,
        deps: &[MessageNum],
        body: Option<&Bytes>,
    ) -> Result<MessageNum, StoreError> {
        self.write(|store| store.insert_message(row, deps, body))
    }

    fn fill(&mut self, row: &MessageRow, deps: &[MessageNum], body: &Bytes) -> Result<(), StoreError> {
        self.write(|store| store.fill_message(row, deps, body))
    }

    fn update(&mut self, row: &MessageRow) -> Result<(), StoreError> {
        self.write(|store| store.update_message(row))
    }

    fn set_deps(&mut self, num: MessageNum, deps: &[MessageNum]) -> Result<(), StoreError> {
        self.write(|store| store.set_message_deps(num, deps))
    }

    fn remove(&mut self, num: MessageNum) -> Result<(), StoreError> {
        self.write(|store| store.remove_message(num))
    }

    fn add_edge(&mut self, parent: MessageNum, child: MessageNum) -> Result<(), StoreError> {
        self.write(|store| {
            store.admit_message(parent)?;
            store.admit_message(child)?;
            store
                .execute("INSERT OR IGNORE INTO edge VALUES (?1, ?2)", (after(parent), after(child)))
                .map(drop)
        })
    }

    fn remove_edge(&mut self, parent: MessageNum, child: MessageNum) -> Result<(), StoreError> {
        let sql = "DELETE FROM edge WHERE parent = ?1 AND child = ?2";
        self.write(|store| store.execute(sql, (after(parent), after(child))).map(drop))
    }

    fn children(
        &self,
        parent: MessageNum,
        after: MessageNum,
        limit: usize,
    ) -> Result<Vec<MessageNum>, StoreError> {
        self.child_list(parent, after, limit)
    }

    fn in_state(
        &self,
        state: MessageState,
        after: MessageNum,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        self.state_list(state, after, limit)
    }

    fn expiring(&self, until_ms: i64, limit: usize) -> Result<Vec<MessageRow>, StoreError> {
        self.expiry_list(until_ms, limit)
    }

    fn page(
        &self,
        group: GroupNum,
        after: Option<&OrderKey>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        self.canonical_page(group, after, direction, limit)
    }

    fn heads(&self, group: GroupNum) -> Result<Vec<MessageNum>, StoreError> {
        self.head_list(group)
    }

    fn change_heads(
        &mut self,
        group: GroupNum,
        removed: &[MessageNum],
        added: &[MessageNum],
    ) -> Result<(), StoreError> {
        self.write(|store| store.write_heads(group, removed, added))
    }

    fn scan(&self, after: MessageNum, limit: usize) -> Result<Vec<MessageRow>, StoreError> {
        self.scan_list(after, limit)
    }

    fn edges(&self, after: Edge, limit: usize) -> Result<Vec<Edge>, StoreError> {
        self.edge_list(after, limit)
    }

    fn value(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.read_value(space, key)
    }

    fn set_value(&mut self, space: &str, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        self.write(|store| store.write_value(space, key, value))
    }

    fn values(&self, space: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>, StoreError> {
        self.value_list(space, after, limit)
    }
}
