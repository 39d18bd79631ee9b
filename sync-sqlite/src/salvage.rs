//! Reading a damaged store row by row, and putting a repaired one in its place.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::{self, MessageNum, RepairReport, Salvage, Snapshot, TakeValue};
use rusqlite::OpenFlags;

use crate::block::Slot;
use crate::cache::Cache;
use crate::error::{Misuse, backend, store_error};
use crate::log::Log;
use crate::open::{Options, connect};
use crate::schema;
use crate::store::{Phase, SqliteStore};
use crate::tag::TagKey;

/// A repair that is done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repaired {
    /// What was copied and what was left behind.
    pub report: RepairReport,
    /// Where the damaged store is kept.
    pub kept: PathBuf,
}

impl SqliteStore {
    /// Makes a new store of what is sound in the one at `path`, and puts it in its place. The damaged one is kept
    /// beside it, as `<name>.damaged-1` (or the next number that is free), with everything that was left behind.
    ///
    /// `settle` may change the new store before it is put in place, for values that follow from what was copied.
    /// `early_after_ms` as in [`repair`](hedgerow_sync_core::store::repair). The new store is checked before it is
    /// put in place, by one rename after a sync: a crash at any moment leaves the old store or the new one there.
    /// Nobody else may have the store open. It needs room on the disk for a second store.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when somebody else has the store open. [`StoreError::Corrupt`] when the file is no
    /// database any more. Then, and when the disk fails, the old store stays in place.
    pub fn repair(
        path: &Path,
        options: Options,
        early_after_ms: i64,
        settle: impl FnOnce(&mut Self, &RepairReport) -> Result<(), StoreError>,
    ) -> Result<Repaired, StoreError> {
        if options.vfs.is_some() {
            return Err(backend(Misuse::OtherFiles));
        }
        let fresh = beside(path, ".repaired");
        for suffix in ["", "-wal", "-shm"] {
            remove(&beside(&fresh, suffix)).map_err(backend)?;
        }
        let old = Self::open_damaged(path, &options)?;
        let mut new = Self::open(&fresh, options)?;
        let report = store::repair(&old, &mut new, early_after_ms)?;
        settle(&mut new, &report)?;
        hedgerow_sync_core::Store::commit(&mut new)?;
        let check = new.check()?;
        if !check.is_clean() {
            return Err(StoreError::Corrupt(format!("what was salvaged is not sound: {check}")));
        }
        // Closing moves what is in the logs into the databases, and removes the logs.
        for store in [old, new] {
            store.connection.close().map_err(|(_, error)| store_error(error))?;
        }
        for path in [path, &fresh] {
            for suffix in ["-wal", "-shm"] {
                // A log belongs to whatever database stands beside it: none may be there for the next one.
                if beside(path, suffix).exists() {
                    return Err(StoreError::Busy);
                }
            }
        }
        let kept = keep(path).map_err(backend)?;
        put_in_place(&fresh, path).map_err(backend)?;
        Ok(Repaired { report, kept })
    }

    /// Opens a store for [`Salvage`] whatever its rows are. Its log is moved into it first.
    fn open_damaged(path: &Path, options: &Options) -> Result<Self, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = connect(path, flags, options)?;
        connection.busy_timeout(options.busy_timeout).map_err(store_error)?;
        schema::admit(&connection)?;
        if !schema::is_current(&connection)? {
            schema::migrate(&mut connection)?;
        }
        let busy: bool = connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
            .map_err(store_error)?;
        if busy {
            return Err(StoreError::Busy);
        }
        let key = connection.query_row("SELECT tag_key FROM store", [], |row| row.get::<_, Vec<u8>>(0));
        // With another key no block is sound: all messages are judged again.
        let key = key.ok().and_then(|key| <[u8; 16]>::try_from(key).ok()).unwrap_or_default();
        Ok(Self {
            connection,
            tags: TagKey::new(&key),
            cache: RefCell::new(Cache::new(0)),
            log: RefCell::new(Log::new(TagKey::new(&key), true)),
            recent: RefCell::default(),
            max_recent: 0,
            groups: std::collections::BTreeSet::new(),
            last_message: 0,
            data_version: 0,
            phase: Phase::ReadOnly,
            long_log: None,
        })
    }
}

impl Salvage for SqliteStore {
    fn small_rows(&self) -> (Snapshot, Vec<String>) {
        self.sound_small_rows()
    }

    fn numbers(&self, from: MessageNum, rows: usize) -> Result<Vec<MessageNum>, StoreError> {
        let mut nums: Vec<MessageNum> = Vec::new();
        self.each_block(from.0.saturating_add(1), |block| {
            for (num, slot) in (block.first..).zip(&block.slots) {
                let num = MessageNum(num);
                // Blocks with damaged numbers may overlap.
                let ascends = num > nums.last().copied().unwrap_or(from);
                if *slot != Slot::Hole && ascends && nums.len() < rows {
                    nums.push(num);
                }
            }
            Ok(nums.len() < rows)
        })?;
        Ok(nums)
    }

    fn each_value(&self, take: TakeValue<'_>) -> Result<(), StoreError> {
        let sql = "SELECT space, key, value FROM value ORDER BY space, key";
        let mut statement = match self.connection.prepare(sql) {
            Ok(statement) => statement,
            Err(error) => return take(Err(store_error(error))),
        };
        let mut rows = match statement.query([]) {
            Ok(rows) => rows,
            Err(error) => return take(Err(store_error(error))),
        };
        loop {
            match rows.next() {
                Ok(None) => return Ok(()),
                // Nothing is read behind it.
                Err(error) => return take(Err(store_error(error))),
                Ok(Some(row)) => {
                    let read = || Ok((row.get(0)?, row.get(1)?, row.get(2)?));
                    take(read().map_err(store_error))?;
                }
            }
        }
    }
}

/// The path with something added to its last part.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Gives the file a second name, under which it stays. The first name is there all the time.
fn keep(path: &Path) -> io::Result<PathBuf> {
    let mut number = 1_u32;
    loop {
        let kept = beside(path, &format!(".damaged-{number}"));
        match fs::hard_link(path, &kept) {
            Ok(()) => return Ok(kept),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number = number.saturating_add(1),
            // Not every file system has second names.
            Err(_) if !kept.exists() => {
                fs::copy(path, &kept)?;
                File::open(&kept)?.sync_all()?;
                return Ok(kept);
            }
            Err(error) => return Err(error),
        }
    }
}

fn put_in_place(fresh: &Path, path: &Path) -> io::Result<()> {
    File::open(fresh)?.sync_all()?;
    sync_folder(path)?;
    fs::rename(fresh, path)?;
    sync_folder(path)
}

/// Makes names durable, where folders can be synced.
fn sync_folder(path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
}
