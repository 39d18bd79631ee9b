//! The write-ahead log starts over when all of it is in the database and nobody reads it. SQLite does that by itself between
//! two reads; where one read follows the other there may be no such moment, and the log would only grow.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::Connection;

use crate::store::SqliteStore;

/// How long a writer with a log that is too long waits for readers to let go of it.
const PATIENCE: Duration = Duration::from_millis(50);

/// The log of a store, and when something is to be done about its length.
pub(crate) struct LongLog {
    /// The database beside it.
    path: PathBuf,
    /// What it may have, in bytes.
    limit: u64,
    /// When it is longer than this it is looked after again.
    next: u64,
    /// What the connection is set to otherwise.
    busy_timeout: Duration,
}

impl LongLog {
    pub(crate) fn new(path: &Path, limit: u64, busy_timeout: Duration) -> Self {
        Self { path: path.to_owned(), limit, next: limit, busy_timeout }
    }

    /// After a commit: where the log is longer than it may be, waits a little for its readers, and starts it over. A long
    /// read costs one such wait each time the log grew by as much again.
    pub(crate) fn cut(&mut self, connection: &Connection) {
        let Ok(bytes) = SqliteStore::log_bytes(&self.path) else { return };
        if bytes <= self.limit {
            self.next = self.limit;
        }
        if bytes <= self.next {
            return;
        }
        self.next = bytes.saturating_add(self.limit);
        // The transaction is durable whatever comes of this: it is tried again.
        let waits = connection.busy_timeout(PATIENCE);
        let cut = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
        if waits.is_ok() && matches!(cut, Ok(false)) {
            self.next = self.limit;
        }
        let _ = connection.busy_timeout(self.busy_timeout);
    }
}
