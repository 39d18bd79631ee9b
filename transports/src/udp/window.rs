//! Which nonces have been seen (after RFC 6479): a bitmap over the newest ones that moves on with them.

/// How far behind the newest a nonce may be and still be taken.
pub(crate) const WINDOW: u64 = 2048;
/// Words of the bitmap. One more than the window needs, so that the word which is being filled and the one which
/// is leaving are never the same.
const WORDS: usize = 33;

pub(crate) struct ReplayWindow {
    words: [u64; WORDS],
    /// The highest nonce taken; None before the first.
    newest: Option<u64>,
}

impl ReplayWindow {
    pub(crate) const fn new() -> Self {
        Self { words: [0; WORDS], newest: None }
    }

    /// Whether this nonce has neither been taken nor fallen out of the window.
    pub(crate) fn is_fresh(&self, nonce: u64) -> bool {
        match self.newest {
            None => true,
            Some(newest) if nonce > newest => true,
            Some(newest) => newest - nonce < WINDOW && self.word(nonce) & bit(nonce) == 0,
        }
    }

    /// Takes a nonce that is fresh; returns whether it is the newest so far. Only for nonces of authentic packets,
    /// or anybody could move the window.
    pub(crate) fn take(&mut self, nonce: u64) -> bool {
        let is_newest = self.newest.is_none_or(|newest| nonce > newest);
        if is_newest {
            let from = self.newest.map_or(0, |newest| newest / 64 + 1);
            // However far the jump, each word is cleared once at most.
            for word in (from..=nonce / 64).rev().take(self.words.len()) {
                *self.word_mut(word * 64) = 0;
            }
            self.newest = Some(nonce);
        }
        *self.word_mut(nonce) |= bit(nonce);
        is_newest
    }

    fn word(&self, nonce: u64) -> u64 {
        self.words.get(place(nonce)).copied().unwrap_or_default()
    }

    #[expect(clippy::indexing_slicing, reason = "the place is below the number of words")]
    fn word_mut(&mut self, nonce: u64) -> &mut u64 {
        &mut self.words[place(nonce)]
    }
}

fn place(nonce: u64) -> usize {
    usize::try_from(nonce / 64 % (WINDOW / 64 + 1)).unwrap_or_default()
}

const fn bit(nonce: u64) -> u64 {
    1 << (nonce % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use proptest::prelude::*;

    /// What the window must do, said plainly.
    #[derive(Default)]
    struct Model {
        seen: HashSet<u64>,
        newest: Option<u64>,
    }

    impl Model {
        fn take(&mut self, nonce: u64) -> bool {
            let too_old = self.newest.is_some_and(|newest| nonce < newest && newest - nonce >= WINDOW);
            if too_old || !self.seen.insert(nonce) {
                return false;
            }
            self.newest = self.newest.max(Some(nonce));
            true
        }
    }

    fn try_take(window: &mut ReplayWindow, nonce: u64) -> bool {
        let fresh = window.is_fresh(nonce);
        if fresh {
            window.take(nonce);
        }
        fresh
    }

    fn agree(nonces: impl IntoIterator<Item = u64>) {
        let (mut window, mut model) = (ReplayWindow::new(), Model::default());
        for nonce in nonces {
            assert_eq!(try_take(&mut window, nonce), model.take(nonce), "nonce {nonce}");
        }
    }

    #[test]
    fn edges_of_the_window() {
        assert_eq!(u64::try_from((WORDS - 1) * 64), Ok(WINDOW));
        agree([0, 0, 1, 1, WINDOW - 1, WINDOW, 0, 1, 2, WINDOW + 1, 1, 2, 3]);
        agree([u64::MAX - 1, u64::MAX, 0, u64::MAX - WINDOW, u64::MAX - WINDOW + 1, u64::MAX]);
        agree((0..10_000).chain(0..10_000));
        agree((0..10_000).rev());
    }

    #[test]
    fn says_which_is_the_newest() {
        let mut window = ReplayWindow::new();
        assert!(window.take(0));
        assert!(window.take(9));
        assert!(!window.take(3));
        assert!(window.take(10));
    }

    proptest! {
        /// Steps near and far, forth and back, against the plain set.
        #[test]
        fn agrees_with_a_plain_set(
            start in prop_oneof![Just(0), any::<u64>()],
            steps in prop::collection::vec(
                (prop_oneof![0..4_u64, 0..100_u64, WINDOW - 2..WINDOW + 3, 0..5 * WINDOW], any::<bool>()),
                1..300,
            ),
        ) {
            let mut at = start;
            agree(steps.into_iter().map(|(step, forward)| {
                at = if forward { at.saturating_add(step) } else { at.saturating_sub(step) };
                at
            }));
        }
    }
}
