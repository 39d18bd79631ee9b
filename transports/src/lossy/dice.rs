//! What befalls each frame, decided by a seed.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::LossProfile;

pub(super) struct Dice(ChaCha8Rng);

/// What befalls one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) lost: bool,
    /// Held back so that others overtake it.
    pub(super) held: bool,
    /// Delay in ms.
    pub(super) delay_ms: u64,
    /// Delay of the second copy in ms, if there is one.
    pub(super) copy_ms: Option<u64>,
    /// Which bit is flipped, if any; to be taken modulo the number of bits.
    pub(super) flip: Option<u64>,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// All dice are cast for each frame, whatever comes of the first, so that the fate of a frame does not depend
    /// on the fates that are switched on for others.
    pub(super) fn cast(&mut self, profile: &LossProfile) -> Fate {
        let lost = self.chance(profile.loss);
        let held = self.chance(profile.reorder);
        let copied = self.chance(profile.duplicate);
        let corrupted = self.chance(profile.corrupt);
        let delay_ms = self.delay(profile);
        let copy_ms = self.delay(profile);
        let bit = self.0.random::<u64>();
        Fate { lost, held, delay_ms, copy_ms: copied.then_some(copy_ms), flip: corrupted.then_some(bit) }
    }

    /// The number drawn is in 0.0..1.0, so that a chance of 0.0 never and one of 1.0 always comes true.
    fn chance(&mut self, chance: f64) -> bool {
        self.0.random::<f64>() < chance
    }

    fn delay(&mut self, profile: &LossProfile) -> u64 {
        let (min, max) = (profile.min_delay_ms, profile.max_delay_ms.max(profile.min_delay_ms));
        self.0.random_range(min..=max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(profile: &LossProfile, seed: u64) -> Vec<Fate> {
        let mut dice = Dice::new(seed);
        (0..10_000).map(|_| dice.cast(profile)).collect()
    }

    #[test]
    fn same_seed_same_fates() {
        let profile = LossProfile { loss: 0.3, duplicate: 0.2, max_delay_ms: 50, ..LossProfile::default() };
        assert_eq!(fates(&profile, 5), fates(&profile, 5));
        assert_ne!(fates(&profile, 5), fates(&profile, 6));
    }

    #[test]
    fn fates_come_as_often_as_asked() {
        let profile = LossProfile {
            loss: 0.5,
            duplicate: 0.1,
            reorder: 1.0,
            min_delay_ms: 3,
            max_delay_ms: 9,
            ..LossProfile::default()
        };
        let fates = fates(&profile, 1);
        let count = |test: fn(&Fate) -> bool| fates.iter().filter(|fate| test(fate)).count();
        assert!((4_800..5_200).contains(&count(|fate| fate.lost)));
        assert!((900..1_100).contains(&count(|fate| fate.copy_ms.is_some())));
        assert_eq!(count(|fate| fate.held), 10_000);
        assert_eq!(count(|fate| fate.flip.is_some()), 0);
        assert_eq!(count(|fate| (3..=9).contains(&fate.delay_ms)), 10_000);
    }
}
