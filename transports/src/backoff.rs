//! How long to wait before the next try.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Waiting times that grow with each failure and are spread at random, so that many who lost the same peer at the
/// same time do not come back at the same time ("decorrelated jitter": each wait is drawn between the base and
/// three times the wait before, up to the cap). Same seed, same times.
#[derive(Debug, Clone)]
pub struct Backoff {
    base_ms: u64,
    cap_ms: u64,
    last_ms: u64,
    dice: ChaCha8Rng,
}

impl Backoff {
    /// Waits of at least `base_ms`, which is at least 1, and at most `cap_ms`, both in ms. A cap below the base is raised
    /// to it.
    #[must_use]
    pub fn new(base_ms: u64, cap_ms: u64, seed: u64) -> Self {
        // From zero no wait would grow.
        let base_ms = base_ms.max(1);
        let cap_ms = cap_ms.max(base_ms);
        Self { base_ms, cap_ms, last_ms: base_ms, dice: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// How long to wait now, in ms.
    pub fn next_ms(&mut self) -> u64 {
        let most = self.last_ms.saturating_mul(3).clamp(self.base_ms, self.cap_ms);
        self.last_ms = self.dice.random_range(self.base_ms..=most);
        self.last_ms
    }

    /// Begins again with short waits, after a success.
    pub fn reset(&mut self) {
        self.last_ms = self.base_ms;
    }

    /// A time near `ms`: between three and five quarters of it.
    pub(crate) fn near_ms(&mut self, ms: u64) -> u64 {
        let quarter = ms / 4;
        self.dice.random_range(ms - quarter..=ms.saturating_add(quarter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn waits_grow_to_the_cap_and_begin_again_after_a_success() {
        let mut backoff = Backoff::new(100, 10_000, 7);
        let waits: Vec<_> = (0..200).map(|_| backoff.next_ms()).collect();
        assert!(waits[0] <= 300);
        assert!(waits.iter().any(|wait| *wait > 5_000), "{waits:?}");
        backoff.reset();
        assert!(backoff.next_ms() <= 300);
    }

    #[test]
    fn waits_grow_from_a_base_of_zero_too() {
        let mut backoff = Backoff::new(0, 10_000, 7);
        assert!((0..200).map(|_| backoff.next_ms()).any(|wait| wait > 5_000));
    }

    #[test]
    fn same_seed_same_waits() {
        let waits = |seed| {
            let mut backoff = Backoff::new(100, 10_000, seed);
            std::array::from_fn::<_, 50, _>(|_| backoff.next_ms())
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
    }

    proptest! {
        #[test]
        fn no_bounds_make_it_leave_them(base in any::<u64>(), cap in any::<u64>(), seed in any::<u64>()) {
            let mut backoff = Backoff::new(base, cap, seed);
            for _ in 0..100 {
                let base = base.max(1);
                prop_assert!((base..=cap.max(base)).contains(&backoff.next_ms()));
            }
        }
    }
}
