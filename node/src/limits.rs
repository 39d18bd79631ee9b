//! Every limit of the node, in one place, with its unit.

/// How many calls of the application wait for the engine; further callers wait for their turn.
pub const WAITING_CALLS: usize = 256;
/// How many frames, of all links together, wait for the engine; then the links are read no further.
pub const WAITING_FRAMES: usize = 64;
/// How many calls are taken into one transaction.
pub const CALLS_PER_COMMIT: usize = 256;
/// How many frames are taken into one transaction.
pub const FRAMES_PER_COMMIT: usize = 64;
/// How many bytes may wait in front of one link before the engine makes no more for it.
pub const LINK_QUEUE_BYTES: usize = 256 * 1024;
/// How many frames may wait in front of one link before the engine makes no more for it.
pub const LINK_QUEUE_FRAMES: usize = 256;
/// How many messages wait for the verdict of their client before links are read no further.
pub const WAITING_VERDICTS: usize = 4096;
/// How many messages are judged together.
pub const VERDICTS_PER_BATCH: usize = 256;
/// How many links one node keeps.
pub const MAX_LINKS: usize = 1024;
/// How many contacts one node keeps.
pub const MAX_CONTACTS: usize = 4096;
/// How many peers of other makers one node keeps.
pub const MAX_FOREIGN: usize = 256;
/// How many strangers are remembered; the oldest are forgotten first.
pub const MAX_WAITING: usize = 64;
/// How many invitations are remembered; the oldest are forgotten first (they stay in their chats).
pub const MAX_INVITATIONS: usize = 256;
/// How many unreadable messages of one group are listed; older ones are only counted.
pub const MAX_QUARANTINE: u64 = 256;
/// How many new dependencies a message gets: the heads it refers to.
pub const MAX_HEADS: usize = 16;
/// How many lines one batch may have.
pub const MAX_BATCH_LINES: usize = 1024;
/// How many bytes of text one batch may have.
pub const MAX_BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How many sending sessions are remembered; the oldest are forgotten first.
pub const MAX_SESSIONS: usize = 1024;
/// How long a sending session is remembered after its last batch, in ms.
pub const SESSION_LIFE_MS: u64 = 30 * 24 * 3600 * 1000;
/// Longest name of a durable cursor, in bytes.
pub const MAX_CURSOR_NAME: usize = 128;
/// How many messages a stream reads at a time.
pub const PAGE_MESSAGES: usize = 256;
/// How many body bytes a stream reads at a time; at least one message is read.
pub const PAGE_BYTES: usize = 512 * 1024;
/// How many messages the indexer takes into one transaction.
pub const INDEX_MESSAGES: usize = 1024;
/// How many body bytes the indexer takes at a time.
pub const INDEX_BYTES: usize = 2 * 1024 * 1024;
/// How many notifications wait for a slow listener before it misses some.
pub const EVENT_QUEUE: usize = 1024;
/// First pause before a store that failed is opened again, in ms; it doubles up to [`MAX_REOPEN_MS`].
pub const FIRST_REOPEN_MS: u64 = 100;
/// Longest pause before a store that failed is opened again, in ms.
pub const MAX_REOPEN_MS: u64 = 10_000;
/// How long a link may take to write what waits for it when the node is shut down, in ms.
pub const FLUSH_MS: u64 = 2_000;
/// How many reads of chats wait for the reader; further callers wait for their turn.
pub const WAITING_READS: usize = 256;
/// How many calls for a check wait for the one that runs; further callers wait for their turn.
pub const WAITING_CHECKS: usize = 8;
/// The least that the store's write-ahead log may grow to during a check before that is given up, in bytes; for a store that
/// is larger, it is the size of the store.
pub const CHECK_LOG_BYTES: u64 = 64 * 1024 * 1024;
/// The name of the store file in a home.
pub const STORE_FILE: &str = "store.db";
