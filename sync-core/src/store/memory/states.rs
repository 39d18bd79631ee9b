//! Which messages are in which state: a bit for each message, so that one that moves on costs no search.

use std::iter;

use crate::store::{MessageNum, MessageState};

/// How many states there are.
const STATES: usize = 9;
/// Messages in a word.
const BITS: u64 = 64;

/// Messages by state.
#[derive(Clone, Default)]
pub(in crate::store) struct States([Vec<u64>; STATES]);

impl States {
    /// Puts a message in; whether it was not there.
    pub(in crate::store) fn insert(&mut self, (state, num): (MessageState, MessageNum)) -> bool {
        let (word, bit) = place(num);
        let Some(words) = self.0.get_mut(state as usize) else { return false };
        if word >= words.len() {
            words.resize(word + 1, 0);
        }
        let Some(word) = words.get_mut(word) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    /// Takes a message out; whether it was there.
    pub(in crate::store) fn remove(&mut self, (state, num): &(MessageState, MessageNum)) -> bool {
        let (word, bit) = place(*num);
        let words = self.0.get_mut(*state as usize);
        let Some(word) = words.and_then(|words| words.get_mut(word)) else { return false };
        let there = *word & bit != 0;
        *word &= !bit;
        there
    }

    /// The messages in a state with numbers above `after`, ascending.
    pub(in crate::store) fn after(
        &self,
        state: MessageState,
        after: MessageNum,
    ) -> impl Iterator<Item = MessageNum> {
        let first = after.0.saturating_add(1);
        let (start, bit) = place(MessageNum(first));
        let words = self.0.get(state as usize).map_or(&[][..], Vec::as_slice);
        let words = words.get(start..).unwrap_or_default().iter().copied();
        // Of the first word those from `first` on.
        let masks = iter::once(!(bit - 1)).chain(iter::repeat(u64::MAX));
        let starts = (start as u64..).map(|word| word * BITS);
        words.zip(masks).zip(starts).flat_map(|((word, mask), start)| {
            let mut left = word & mask;
            iter::from_fn(move || {
                let bit = (left != 0).then(|| u64::from(left.trailing_zeros()))?;
                left &= left - 1;
                Some(MessageNum(start + bit))
            })
        })
    }
}

/// The word of a message, and its bit in it.
fn place(num: MessageNum) -> (usize, u64) {
    (usize::try_from(num.0 / BITS).unwrap_or(usize::MAX), 1 << (num.0 % BITS))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::Bound;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_a_tree_is(steps in prop::collection::vec((any::<bool>(), 0..9_u8, 1..300_u64), 0..200)) {
            let mut states = States::default();
            let mut tree = BTreeSet::new();
            for (put, code, num) in steps {
                let (state, num) = (MessageState::from_code(code).unwrap(), MessageNum(num));
                if put {
                    prop_assert_eq!(states.insert((state, num)), tree.insert((state, num)));
                } else {
                    prop_assert_eq!(states.remove(&(state, num)), tree.remove(&(state, num)));
                }
                for after in [MessageNum(0), num, MessageNum(num.0 - 1), MessageNum(u64::MAX)] {
                    let of_tree = tree.range((Bound::Excluded((state, after)), Bound::Unbounded));
                    let of_tree = of_tree.take_while(|(of, _)| *of == state).map(|(_, num)| *num);
                    prop_assert!(states.after(state, after).eq(of_tree));
                }
            }
        }
    }
}
