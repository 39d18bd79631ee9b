//! A set of message numbers, a bit each.

use std::collections::BTreeMap;

use crate::store::MessageNum;

/// Bits in chunks that are there only where a member is, so that a wild number in a damaged store costs one chunk.
#[derive(Debug, Default)]
pub(super) struct NumSet {
    chunks: BTreeMap<u64, Box<[u64; WORDS]>>,
}

const WORDS: usize = 64;

impl NumSet {
    /// Adds a number; whether it was new.
    pub(super) fn insert(&mut self, num: MessageNum) -> bool {
        let (chunk, word, bit) = place(num);
        let chunk = self.chunks.entry(chunk).or_insert_with(|| Box::new([0; WORDS]));
        let Some(word) = chunk.get_mut(word) else { return false };
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    pub(super) fn contains(&self, num: MessageNum) -> bool {
        let (chunk, word, bit) = place(num);
        let word = self.chunks.get(&chunk).and_then(|chunk| chunk.get(word));
        word.is_some_and(|word| word & bit != 0)
    }
}

/// Chunk, word in the chunk, bit in the word.
fn place(num: MessageNum) -> (u64, usize, u64) {
    let word = usize::try_from((num.0 >> 6) % 64).unwrap_or_default();
    (num.0 >> 12, word, 1 << (num.0 & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_set() {
        let mut set = NumSet::default();
        let members = [0, 1, 63, 64, 4095, 4096, 1 << 40, u64::MAX];
        for n in members {
            assert!(!set.contains(MessageNum(n)));
            assert!(set.insert(MessageNum(n)));
            assert!(!set.insert(MessageNum(n)));
        }
        for n in members {
            assert!(set.contains(MessageNum(n)));
            assert_eq!(members.contains(&(n ^ 2)), set.contains(MessageNum(n ^ 2)));
        }
        assert_eq!(set.chunks.len(), 4);
    }
}
