//! How a message is found by its id: by 32 bits of a keyed hash.
//!
//! The ids of wanted messages are chosen by peers, who could make any number of them begin alike. The key is
//! secret to the store, so nobody can make many ids share a tag; those few that do are told apart by the id.

use std::hash::Hasher as _;

use hedgerow_proto::MessageId;
use siphasher::sip::SipHasher13;

/// The store's key for tags, and for the sums of blocks.
#[derive(Clone)]
pub(crate) struct TagKey(SipHasher13);

impl TagKey {
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        Self(SipHasher13::new_with_key(key))
    }

    /// Low 32 bits of the keyed hash, as the integer that SQLite keeps in four bytes.
    pub(crate) fn tag(&self, id: &MessageId) -> i32 {
        let [a, b, c, d, ..] = self.0.hash(id.as_bytes()).to_le_bytes();
        i32::from_le_bytes([a, b, c, d])
    }

    /// What a block's bytes come to, with the number that it begins with.
    pub(crate) fn sum(&self, first: u64, data: &[u8]) -> i64 {
        let mut hasher = self.0;
        hasher.write_u64(first);
        hasher.write(data);
        hasher.finish().cast_signed()
    }
}

/// The first 4 bytes of an id as an integer that sorts as they do, and the other 28. The integer is what the table
/// `late` has of the id; schemas before 4 had both.
pub(crate) fn split(id: &MessageId) -> (i32, &[u8]) {
    let (head, tail) = id.as_bytes().split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
    ((u32::from_be_bytes(*head) ^ SIGN).cast_signed(), tail)
}

/// The id that was split; `None` if `tail` does not have 28 bytes.
pub(crate) fn join(head: i32, tail: &[u8]) -> Option<MessageId> {
    let mut id = [0; 32];
    let (first, rest) = id.split_first_chunk_mut::<4>()?;
    *first = (head.cast_unsigned() ^ SIGN).to_be_bytes();
    (tail.len() == rest.len()).then(|| rest.copy_from_slice(tail))?;
    Some(MessageId::from_bytes(id))
}

const SIGN: u32 = 1 << 31;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitting_keeps_the_order() {
        let ids = [[0; 32], [1; 32], [0x7f; 32], [0x80; 32], [0xff; 32]].map(MessageId::from_bytes);
        assert!(ids.is_sorted_by_key(|id| split(id).0));
        for id in ids {
            let (head, tail) = split(&id);
            assert_eq!(join(head, tail), Some(id));
        }
        assert_eq!(join(0, &[0; 27]), None);
    }

    #[test]
    fn tags_depend_on_the_key() {
        let id = MessageId::from_bytes([9; 32]);
        assert_ne!(TagKey::new(&[1; 16]).tag(&id), TagKey::new(&[2; 16]).tag(&id));
    }
}
