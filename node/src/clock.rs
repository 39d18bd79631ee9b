//! The node's time: the wall clock, but never backwards while the node runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use hedgerow_sync_core::Time;

/// Reads the time. Clones share it.
///
/// It follows the wall clock forwards (a device that slept is told so at once) and goes on at the pace of the
/// monotonic clock when the wall clock is set back, so that no timer waits for an hour to come round again.
#[derive(Debug, Clone)]
pub(crate) struct Clock(Arc<Mutex<Anchor>>);

#[derive(Debug)]
struct Anchor {
    wall_ms: u64,
    at: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(Anchor { wall_ms: wall_ms(), at: Instant::now() })))
    }

    pub(crate) fn now(&self) -> Time {
        let mut anchor = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        anchor.read(wall_ms(), Instant::now())
    }
}

impl Anchor {
    fn read(&mut self, wall_ms: u64, at: Instant) -> Time {
        let passed = u64::try_from(at.saturating_duration_since(self.at).as_millis()).unwrap_or(u64::MAX);
        let steady = self.wall_ms.saturating_add(passed);
        if wall_ms > steady {
            *self = Self { wall_ms, at };
        }
        Time(wall_ms.max(steady))
    }
}

fn wall_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_follows_the_wall_forwards_and_the_steady_clock_when_the_wall_goes_back() {
        let start = Instant::now();
        let mut anchor = Anchor { wall_ms: 1000, at: start };
        assert_eq!(anchor.read(1010, start + Duration::from_millis(10)), Time(1010));
        // An hour forwards: taken at once.
        assert_eq!(anchor.read(3_601_010, start + Duration::from_millis(20)), Time(3_601_010));
        // Back again: goes on from where it was.
        assert_eq!(anchor.read(1040, start + Duration::from_millis(40)), Time(3_601_030));
    }
}
