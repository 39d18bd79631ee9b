//! The secret of two peers by which ids are shortened and placed.

use std::hash::Hasher as _;

use hedgerow_proto::{GroupId, MessageId};
use siphasher::sip::SipHasher13;

/// A secret of two peers for one group.
#[derive(Clone, Copy)]
pub struct Key {
    short: [u64; 2],
    place: [u64; 2],
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(secret)")
    }
}

impl Key {
    /// A key of 32 bytes that nobody else knows.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        let (parts, _) = secret.as_chunks::<8>();
        let mut parts = parts.iter().map(|part| u64::from_be_bytes(*part));
        let mut pair = || [parts.next().unwrap_or_default(), parts.next().unwrap_or_default()];
        Self { short: pair(), place: pair() }
    }

    /// The key of short ids in offers of a group to the store with this `install` (`docs/protocol.md`, section 6).
    #[must_use]
    pub fn of_offers(install: u64, group: &GroupId) -> Self {
        let (words, _) = group.as_bytes().as_chunks::<8>();
        let first = words.first().map_or(0, |word| u64::from_be_bytes(*word));
        Self { short: [install, first], place: [0; 2] }
    }

    /// The short id of a message: the first `width` bytes (at least 1, at most 8) of SipHash-1-3 of its id.
    #[must_use]
    pub fn short_id(&self, id: &MessageId, width: u8) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.short[0], self.short[1]);
        hasher.write(id.as_bytes());
        hasher.finish() >> (64 - 8 * u32::from(width.clamp(1, 8)))
    }

    /// What decides where a short id goes; its last two bytes are the check.
    pub(super) fn mix(&self, short: u64) -> u64 {
        let mut hasher = SipHasher13::new_with_keys(self.place[0], self.place[1]);
        hasher.write(&short.to_be_bytes());
        hasher.finish()
    }
}
