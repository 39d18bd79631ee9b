//! Every limit of the command line, in one place, with its unit.

use std::time::Duration;

/// How many clients the control socket serves at a time.
pub(crate) const MAX_CLIENTS: usize = 64;
/// Longest line of a request, in bytes.
pub(crate) const MAX_REQUEST: usize = 1 << 20;
/// Longest line of a reply, in bytes. A status names every contact in every group.
pub(crate) const MAX_REPLY: usize = 64 << 20;
/// How long a client may take to send its request.
pub(crate) const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How long a command waits for a home that another process uses, or for a daemon that is about to start.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long to pause between two attempts to reach the daemon or the store.
pub(crate) const RETRY_PAUSE: Duration = Duration::from_millis(25);
/// How often a command that follows a chat looks again while no daemon runs.
pub(crate) const FOLLOW_PAUSE: Duration = Duration::from_millis(500);
/// How many messages are asked for at a time.
pub(crate) const READ_PAGE: usize = 512;
/// How many messages are given at a time.
pub(crate) const MAX_PAGE: usize = 1024;
/// How many lines wait between standard input and the sender.
pub(crate) const INPUT_LINES: usize = 256;
/// Most lines in one batch.
pub(crate) const BATCH_LINES: usize = 512;
/// Most bytes of text in one batch, if it is more than one line. Written as JSON a byte may become six.
pub(crate) const BATCH_BYTES: usize = 96 << 10;
/// The port at which the daemon listens when it is not told otherwise.
pub(crate) const DEFAULT_PORT: u16 = 7438;
/// Longest path of a socket, in bytes, that every Unix takes.
pub(crate) const MAX_SOCKET_PATH: usize = 100;
