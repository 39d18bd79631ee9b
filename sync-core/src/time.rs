//! Time as the engine sees it: a number that the caller passes in.

use std::fmt;
use std::ops::Add;

/// Milliseconds since 1970-01-01 UTC, as the caller's clock has it. The engine never reads a clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The time as the signed milliseconds of a message's timestamp.
    #[must_use]
    pub fn as_timestamp_ms(self) -> i64 {
        i64::try_from(self.0).unwrap_or(i64::MAX)
    }

    /// Milliseconds from `earlier` to this time; 0 if it is later (clocks are set back).
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<u64> for Time {
    type Output = Self;

    /// This many milliseconds later; the end of time is not passed.
    fn add(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ms", self.0)
    }
}
