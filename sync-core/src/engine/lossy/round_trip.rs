//! How long an answer takes (RFC 6298).

/// Longest round trip that is believed, in ms: a clock that is set, or a device that slept, shows longer ones.
const MAX_ROUND_TRIP_MS: u64 = 60_000;

/// The estimate for one link.
#[derive(Debug, Clone)]
pub(in crate::engine) struct RoundTrip {
    /// The mean, in ms; a guess until something was measured.
    pub(super) smoothed: u64,
    variation: u64,
    pub(super) measured: bool,
}

impl RoundTrip {
    /// Before anything is measured: a guess.
    pub(in crate::engine) fn new(guess_ms: u64) -> Self {
        Self { smoothed: guess_ms.max(1), variation: guess_ms / 2, measured: false }
    }

    pub(in crate::engine) fn measured_ms(&self) -> Option<u64> {
        self.measured.then_some(self.smoothed)
    }

    /// RFC 6298, section 2.
    pub(in crate::engine) fn sample(&mut self, ms: u64) {
        let ms = ms.min(MAX_ROUND_TRIP_MS);
        if self.measured {
            let error = self.smoothed.abs_diff(ms);
            self.variation = (3 * self.variation + error).div_ceil(4);
            self.smoothed = (7 * self.smoothed + ms).div_ceil(8);
        } else {
            self.smoothed = ms.max(1);
            self.variation = ms / 2;
            self.measured = true;
        }
    }

    pub(in crate::engine) fn timeout(&self) -> u64 {
        (self.smoothed + (4 * self.variation).max(10)).max(10)
    }

    /// How long a frame may lag behind a later one before it is lost (RFC 9002, section 6.1.2, with room for
    /// carriers that reorder more than the Internet does).
    pub(super) fn reorder(&self) -> u64 {
        self.smoothed + self.smoothed / 4 + 2 * self.variation + 2
    }
}
