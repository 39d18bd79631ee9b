//! Opening a store: the file, its settings, its schema.

use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::GroupNum;
use rusqlite::{Connection, OpenFlags};

use crate::cache::Cache;
use crate::error::{Misuse, backend, corrupt, store_error};
use crate::log::Log;
use crate::longlog::LongLog;
use crate::schema;
use crate::store::{Phase, SqliteStore};
use crate::tag::TagKey;

/// How a store is opened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// How long a write waits for another process that writes before it fails with [`StoreError::Busy`].
    /// Default: 5 s.
    pub busy_timeout: Duration,
    /// Size of the database file that is not exceeded, in bytes; what would exceed it fails with
    /// [`StoreError::Full`]. The write-ahead log beside it has a few MiB more. Default: no limit but the disk.
    pub max_bytes: Option<u64>,
    /// How many message rows are remembered, some 300 bytes each. Default: 4,096.
    pub cached_rows: usize,
    /// How many of the latest messages are found by their ids in memory, some 60 bytes each, before all of these
    /// get into the index on the disk at once: the more, the fewer of its pages each of them costs. They are read
    /// when the store is opened. Default: 32,768.
    pub recent_ids: usize,
    /// How much of the file is kept in memory, in bytes. Default: 2 MiB.
    pub page_cache_bytes: u64,
    /// Pages in the write-ahead log after which a commit moves them into the database. Default: 2,000.
    pub checkpoint_pages: u32,
    /// The file system of SQLite (its VFS) that has the file, by the name under which it was made known to SQLite.
    /// It makes the file itself, with access as it sees fit. Default: that of the operating system.
    pub vfs: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            busy_timeout: Duration::from_secs(5),
            max_bytes: None,
            cached_rows: 4_096,
            recent_ids: 32_768,
            page_cache_bytes: 2 << 20,
            checkpoint_pages: 2_000,
            vfs: None,
        }
    }
}

impl Options {
    /// To what length the write-ahead log is cut when it is started over; if it is longer, readers are waited for.
    fn max_log_bytes(&self) -> u64 {
        LOG_LENGTHS * u64::from(self.checkpoint_pages) * u64::from(PAGE_SIZE)
    }
}

/// Bytes of a page of a new store.
const PAGE_SIZE: u32 = 4_096;
/// The write-ahead log may have so many times the bytes after which it is moved into the database.
const LOG_LENGTHS: u64 = 2;
/// Kept for the statements, each compiled once.
const STATEMENTS: usize = 64;

impl SqliteStore {
    /// Opens the store at `path` for writing. Makes it if there is none, for the user alone (mode 0600); brings
    /// it to the current schema if it has an older one.
    ///
    /// One process at a time should write a store: its lock is for a layer above. A second writer does no harm,
    /// it gets [`StoreError::Busy`] at the first write after the other one's.
    ///
    /// # Errors
    /// [`StoreError::Newer`] for a newer schema and [`StoreError::Corrupt`] for what is no store; neither changes the
    /// file. [`StoreError::Busy`], [`StoreError::Full`] or [`StoreError::Backend`] as SQLite has it.
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        if options.vfs.is_none() {
            create_private(path).map_err(backend)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect(path, flags, &options)?;
        let real = options.vfs.is_none().then_some(path);
        Self::set_up(connection, &options, real)
    }

    /// A store in memory, for tests: SQLite without a file.
    ///
    /// # Errors
    /// When SQLite has no memory.
    pub fn in_memory() -> Result<Self, StoreError> {
        Self::set_up(Connection::open_in_memory().map_err(store_error)?, &Options::default(), None)
    }

    /// Opens the store at `path` for reading, beside one that writes it. Every read sees what is committed at that
    /// moment; [`SqliteStore::check`] sees one moment. Every write fails with [`StoreError::Backend`].
    ///
    /// # Errors
    /// As [`SqliteStore::open`]; also when there is no store, or it has an older schema.
    pub fn open_read_only(path: &Path, options: Options) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = connect(path, flags, &options)?;
        connection.busy_timeout(options.busy_timeout).map_err(store_error)?;
        schema::admit(&connection)?;
        if !schema::is_current(&connection)? {
            return Err(backend(Misuse::OldSchema));
        }
        // Another process writes: nothing may be remembered.
        Self::with(connection, &Options { cached_rows: 0, ..options }, Phase::ReadOnly)
    }

    fn set_up(
        mut connection: Connection,
        options: &Options,
        path: Option<&Path>,
    ) -> Result<Self, StoreError> {
        connection.busy_timeout(options.busy_timeout).map_err(store_error)?;
        schema::admit(&connection)?;
        settings(&connection, options).map_err(store_error)?;
        schema::migrate(&mut connection)?;
        // Who writes now is not waited for.
        connection.busy_timeout(std::time::Duration::ZERO).map_err(store_error)?;
        make_durable(&connection, path)?;
        connection.busy_timeout(options.busy_timeout).map_err(store_error)?;
        let mut store = Self::with(connection, options, Phase::Idle)?;
        store.long_log = path.map(|path| LongLog::new(path, options.max_log_bytes(), options.busy_timeout));
        Ok(store)
    }

    fn with(connection: Connection, options: &Options, phase: Phase) -> Result<Self, StoreError> {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let key: Vec<u8> =
            connection.query_row("SELECT tag_key FROM store", [], |row| row.get(0)).map_err(store_error)?;
        let key = <[u8; 16]>::try_from(key).map_err(|_| corrupt("the key for tags has not 16 bytes"))?;
        let mut store = Self {
            connection,
            tags: TagKey::new(&key),
            cache: RefCell::new(Cache::new(options.cached_rows)),
            log: RefCell::new(Log::new(TagKey::new(&key), false)),
            recent: RefCell::default(),
            max_recent: options.recent_ids,
            groups: std::collections::BTreeSet::new(),
            last_message: 0,
            data_version: 0,
            phase,
            long_log: None,
        };
        store.refresh()?;
        Ok(store)
    }

    /// Reads again what is remembered of the committed rows.
    pub(crate) fn refresh(&mut self) -> Result<(), StoreError> {
        self.cache.borrow_mut().clear();
        self.log.borrow_mut().clear();
        let (removed, begin, version) = {
            let sql = "SELECT last_removed, (SELECT max(first) FROM block) FROM store";
            let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
            let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?));
            let (removed, begin) = statement.query_row([], read).map_err(store_error)?;
            (removed, begin, self.read_data_version()?)
        };
        self.read_recent(version)?;
        let number = |n| u64::try_from(n).map_err(|_| corrupt("a message has a negative number"));
        let mut last = number(removed)?;
        if let Some(begin) = begin {
            self.each_block(number(begin)?, |block| {
                last = last.max(block.end().saturating_sub(1));
                Ok(true)
            })?;
        }
        self.last_message = last;
        self.data_version = version;
        let mut statement = self.connection.prepare_cached("SELECT num FROM grp").map_err(store_error)?;
        let nums = statement.query_map([], |row| row.get(0).map(GroupNum)).map_err(store_error)?;
        self.groups = nums.collect::<Result<_, _>>().map_err(store_error)?;
        Ok(())
    }
}

/// Makes durable what is there. After a process was killed in the middle of a commit, or after a sync that failed, the
/// log may hold a whole transaction that was written and never synced: it is read, so that peers are told of it, and
/// a power failure would take it away. So it is moved into the database, which is synced, before anything is read. Where
/// the disk has no room for that, or others use the log, a commit that changes nothing syncs it.
fn make_durable(connection: &Connection, path: Option<&Path>) -> Result<(), StoreError> {
    let moved = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
    match moved.map_err(store_error) {
        Ok(false) => return Ok(()),
        Ok(true) | Err(StoreError::Full) => {}
        Err(error) => return Err(error),
    }
    match connection.execute("UPDATE store SET install = install", []).map_err(store_error) {
        // Somebody is writing, whose commit syncs the log.
        Err(StoreError::Busy) => Ok(()),
        // Not even a page fits.
        Err(StoreError::Full) if let Some(path) = path => sync_log(path).map_err(backend),
        done => done.map(|_| ()),
    }
}

/// Syncs the log beside a database, if there is one.
fn sync_log(path: &Path) -> std::io::Result<()> {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match std::fs::File::open(log) {
        Ok(log) => log.sync_all(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

pub(crate) fn connect(path: &Path, flags: OpenFlags, options: &Options) -> Result<Connection, StoreError> {
    match &options.vfs {
        None => Connection::open_with_flags(path, flags),
        Some(vfs) => Connection::open_with_flags_and_vfs(path, flags, vfs.as_str()),
    }
    .map_err(store_error)
}

/// Makes an empty file that only its owner may read, if there is none. SQLite gives its companions the same mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn settings(connection: &Connection, options: &Options) -> rusqlite::Result<()> {
    let set = |name: &str, value: i64| connection.pragma_update(None, name, value);
    // Only a new file takes the page size, and only before the log is switched on.
    set("page_size", PAGE_SIZE.into())?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // In this mode SQLite syncs the log at every commit: a power failure loses nothing that was committed.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    set("foreign_keys", 1)?;
    set("trusted_schema", 0)?;
    set("cell_size_check", 1)?;
    set("wal_autocheckpoint", options.checkpoint_pages.into())?;
    set("journal_size_limit", i64::try_from(options.max_log_bytes()).unwrap_or(i64::MAX))?;
    let kib = i64::try_from(options.page_cache_bytes >> 10).unwrap_or(i64::MAX);
    // Negative: in KiB, not in pages.
    set("cache_size", kib.saturating_neg())?;
    if let Some(bytes) = options.max_bytes {
        let page_size: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page_size.max(1);
        set("max_page_count", pages.clamp(1, i64::from(u32::MAX - 1)))?;
    }
    let application: i64 = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if application != schema::APPLICATION_ID {
        set("application_id", schema::APPLICATION_ID)?;
    }
    Ok(())
}
