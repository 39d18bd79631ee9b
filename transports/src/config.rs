//! What can be set for links, with defaults that suit most.

use std::time::Duration;

use crate::limits::{DEFAULT_MAX_FRAME, MAX_FRAME, MIN_MAX_FRAME};

/// Settings of one link over a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkConfig {
    /// The largest frame, in bytes, that we send or take. Brought into 512 bytes to 1 MiB. What a link really
    /// carries is the lesser of what its two ends say. Default: 65 KiB.
    pub max_frame: usize,
    /// How long a handshake may take, in ms, the connecting included. Default: 10,000.
    pub handshake_limit_ms: u64,
    /// When nothing was sent for this many ms, a sign of life is. Default: 15,000.
    pub keepalive_ms: u64,
    /// When nothing was heard for this many ms, the link is over. It must be well above the other end's
    /// `keepalive_ms`. Default: 45,000.
    pub silence_ms: u64,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            max_frame: DEFAULT_MAX_FRAME,
            handshake_limit_ms: 10_000,
            keepalive_ms: 15_000,
            silence_ms: 45_000,
        }
    }
}

impl LinkConfig {
    pub(crate) fn max_frame(&self) -> usize {
        self.max_frame.clamp(MIN_MAX_FRAME, MAX_FRAME)
    }

    pub(crate) fn handshake_limit(&self) -> Duration {
        Duration::from_millis(self.handshake_limit_ms)
    }

    /// At least a millisecond, since a timer that is always due would never let anything else run.
    pub(crate) fn keepalive(&self) -> Duration {
        Duration::from_millis(self.keepalive_ms.max(1))
    }

    pub(crate) fn silence(&self) -> Duration {
        Duration::from_millis(self.silence_ms)
    }
}
