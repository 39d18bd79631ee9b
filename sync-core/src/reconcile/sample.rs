//! A guess at how much two sets differ by, from 16 bytes of each.

use std::hash::Hasher as _;

use hedgerow_proto::{GroupId, MessageId};
use siphasher::sip::SipHasher13;

/// Bits in each of four levels; level j takes one id of 4^j.
const BITS: u32 = 32;
/// A difference beyond this is not told from a larger one.
const MOST: u64 = 4096;

/// Of the messages of a group: each of some toggles one of 128 bits, so that those of two peers differ where
/// their sets do. Who is in the group can make messages that spoil it: it is a guess, and nothing more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample(pub u128);

impl Sample {
    /// Puts a message in, or takes it out.
    pub fn toggle(&mut self, group: &GroupId, id: &MessageId) {
        let (parts, _) = group.as_bytes().as_chunks::<8>();
        let mut keys = parts.iter().map(|part| u64::from_be_bytes(*part));
        let mut hasher =
            SipHasher13::new_with_keys(keys.next().unwrap_or_default(), keys.next().unwrap_or_default());
        hasher.write(id.as_bytes());
        let hash = hasher.finish();
        // Three levels beyond the first, as far as the lowest bits are 0 in pairs.
        for level in 0..=(hash.trailing_zeros() / 2).min(3) {
            let bit = hash >> (16 + 5 * level) & u64::from(BITS - 1);
            self.0 ^= 1 << (u64::from(BITS * level) + bit);
        }
    }

    /// By how many messages two sets are most likely to differ.
    #[must_use]
    pub fn difference(self, other: Self) -> u64 {
        let odd = self.0 ^ other.0;
        let (mut best, mut most, mut count) = (0, 0.0, 0);
        while count < MOST {
            // How likely just these bits are odd. With products alone, so that every machine finds the same.
            let likely: f64 = (0..4_u32)
                .map(|level| {
                    let bits = (odd >> (BITS * level) & u128::from(u32::MAX)).count_ones();
                    let each = 1.0 - 2.0 / f64::from(BITS << (2 * level));
                    let even = power(each, count);
                    power((1.0 - even) / 2.0, bits.into()) * power((1.0 + even) / 2.0, (BITS - bits).into())
                })
                .product();
            if likely > most {
                (best, most) = (count, likely);
            }
            count += 1 + count / 16;
        }
        best
    }
}

fn power(base: f64, exponent: u64) -> f64 {
    let (mut value, mut square, mut left) = (1.0, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            value *= square;
        }
        square *= square;
        left >>= 1;
    }
    value
}
