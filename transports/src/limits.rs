//! Every limit of this crate that is not a field of a config, with its unit.

/// The largest frame that any link may be configured for, in bytes.
pub const MAX_FRAME: usize = 1024 * 1024;

/// The largest frame of a stream or memory link unless configured otherwise, in bytes: 64 KiB of records and
/// 1 KiB of room for what a codec wraps around them.
pub const DEFAULT_MAX_FRAME: usize = 65 * 1024;

/// The smallest `max_frame` that a link works with, in bytes. A peer that announces less is refused.
pub const MIN_MAX_FRAME: usize = 512;

/// How many rejected diallers a listener remembers; older ones are only counted.
pub const REMEMBERED_REJECTIONS: usize = 64;

/// How many frames wait in each direction of a memory link before the writer has to wait.
pub const MEMORY_QUEUE_FRAMES: usize = 4;

/// How many dialled memory links wait for a listener to accept them before the next dialler has to wait.
pub const MEMORY_BACKLOG: usize = 16;

/// How many diallers of a plain listener may be about to say who they are.
pub const PLAIN_HANDSHAKES: usize = 64;

/// How long the rest of a frame that has come in part is waited for on a plain stream, in ms.
pub const PLAIN_PARTIAL_MS: u64 = 30_000;

/// How long the other end of a plain stream may take nothing of what is written to it, in ms.
pub const PLAIN_WRITE_MS: u64 = 45_000;
