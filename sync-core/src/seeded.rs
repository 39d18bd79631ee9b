//! Hash maps for keys that are hashes or numbers already.
//!
//! Peers choose what stands in these maps, and with enough work also what the first bytes of an id are; so the keys are
//! mixed with a seed that is drawn once for each process. Nothing may depend on the order in a map.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::OnceLock;

/// Makes hashers that all have the seed of this process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seeded;

impl BuildHasher for Seeded {
    type Hasher = Mix;

    #[inline]
    fn build_hasher(&self) -> Mix {
        static SEED: OnceLock<Mix> = OnceLock::new();
        *SEED.get_or_init(|| {
            let random = RandomState::new();
            Mix { state: random.hash_one(0_u8), factor: random.hash_one(1_u8) | 1 }
        })
    }
}

/// Folds each word in by a multiplication to 128 bits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mix {
    state: u64,
    factor: u64,
}

impl Mix {
    #[inline]
    fn word(&mut self, word: u64) {
        let (low, high) = (self.state ^ word).carrying_mul(self.factor, 0);
        // Without the turn a word that gives 0 would take everything before it away.
        self.state = (low ^ high).wrapping_add(self.state.rotate_left(23));
    }
}

impl Hasher for Mix {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            self.word(u64::from_le_bytes(last));
        }
    }

    #[inline]
    fn write_u32(&mut self, n: u32) {
        self.word(u64::from(n));
    }

    #[inline]
    fn write_u64(&mut self, n: u64) {
        self.word(n);
    }

    /// Lengths: all keys of a map here are equally long.
    #[inline]
    fn write_usize(&mut self, _: usize) {}

    #[inline]
    fn finish(&self) -> u64 {
        // The last word went through one multiplication only, which leaves its high bits in few places.
        let (low, high) = (self.state ^ self.factor).carrying_mul(self.factor.rotate_left(32) | 1, 0);
        low ^ high
    }
}

/// A map whose keys are mixed with a few multiplications. It is shown in the order of the keys.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SeededMap<K: Eq + Hash, V>(HashMap<K, V, Seeded>);

impl<K: Eq + Hash, V> Default for SeededMap<K, V> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Eq + Hash, V> std::ops::Deref for SeededMap<K, V> {
    type Target = HashMap<K, V, Seeded>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<K: Eq + Hash, V> std::ops::DerefMut for SeededMap<K, V> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl<K: Ord + Hash + fmt::Debug, V: fmt::Debug> fmt::Debug for SeededMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entries: Vec<_> = self.0.iter().collect();
        entries.sort_unstable_by_key(|(key, _)| *key);
        f.debug_map().entries(entries).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use hedgerow_proto::MessageId;

    use super::*;

    /// Ids that differ in one place only, as whoever grinds for them would have them, spread over all buckets.
    #[test]
    fn ids_that_are_alike_spread() {
        let seeded = Seeded;
        for byte in 0..32 {
            let hashes: Vec<u64> = (0..=255)
                .map(|n| {
                    let mut id = [7; 32];
                    id[byte] = n;
                    seeded.hash_one(MessageId::from_bytes(id))
                })
                .collect();
            for shift in [0, 20, 57] {
                // A hash table looks at the lowest bits, and at the highest seven.
                let parts: BTreeSet<u64> = hashes.iter().map(|hash| hash >> shift & 0x7f).collect();
                assert!(parts.len() > 64, "byte {byte}, from bit {shift} on: {} of 128", parts.len());
            }
        }
    }

    #[test]
    fn each_part_of_a_key_counts() {
        let seeded = Seeded;
        let hashes: BTreeSet<u64> = (0..4_u32)
            .flat_map(|a| (0..64_u64).map(move |b| (a, b)))
            .map(|key| seeded.hash_one(key))
            .collect();
        assert_eq!(hashes.len(), 256);
        assert_ne!(seeded.hash_one([1_u8, 2, 3]), seeded.hash_one([1_u8, 2, 4]));
    }

    #[test]
    fn a_map_is_shown_in_order() {
        let mut map = SeededMap::default();
        for n in [3, 1, 2] {
            map.insert(MessageId::from_bytes([n; 32]), n);
        }
        let shown = format!("{map:?}");
        let places: Vec<_> =
            ["01010101", "02020202", "03030303"].iter().map(|id| shown.find(id).unwrap()).collect();
        assert!(places.is_sorted(), "{shown}");
    }
}
