//! The two orders of a group: canonical keys, and the chain value that names a prefix of the delivery order.

use std::hash::Hasher as _;

use hedgerow_proto::MessageId;
use siphasher::sip::SipHasher13;

/// Where a message stands in the canonical order of its group, which is the same on every peer that holds the
/// same messages, whatever the order of arrival.
///
/// `eff_ms` is the greater of the message's own timestamp and the greatest `eff_ms` of its dependencies;
/// `height` is one more than the greatest height of its dependencies (1 without any). Both depend on ancestors
/// only, neither falls along an edge, and height rises: so comparing keys is a linear extension of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey {
    /// Effective timestamp, in ms since 1970-01-01 UTC.
    pub eff_ms: i64,
    /// Length of the longest path of dependencies that ends here.
    pub height: u64,
    /// Decides between equals.
    pub id: MessageId,
}

impl OrderKey {
    /// The key of a message from its own timestamp and id and the keys of its dependencies.
    pub fn of(timestamp_ms: i64, id: MessageId, deps: impl IntoIterator<Item = (i64, u64)>) -> Self {
        let start = Self { eff_ms: timestamp_ms, height: 1, id };
        deps.into_iter().fold(start, |key, (eff_ms, height)| Self {
            eff_ms: key.eff_ms.max(eff_ms),
            height: key.height.max(height.saturating_add(1)),
            id,
        })
    }
}

/// The chain value of a log of which `before` is the chain value without its last message `id` (0 for the
/// empty log). Two logs with the same value at a position are the same up to there; it guards against accidents
/// (a store that went back in time), not against forgers, who gain nothing by it: 64 bits of SipHash-1-3.
#[must_use]
pub fn chain(before: u64, id: &MessageId) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(before, 0x6865_6467_6572_6f77);
    hasher.write(id.as_bytes());
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values come from another implementation of SipHash-1-3.
    // spec: chain-value
    #[test]
    fn chain_values_are_those_of_the_specification() {
        let first = chain(0, &MessageId::from_bytes(std::array::from_fn(|i| i.try_into().unwrap())));
        assert_eq!(first, 0xd21e_b8ef_d4d7_dc7e);
        assert_eq!(chain(first, &MessageId::from_bytes([7; 32])), 0x14c6_1d05_0895_ec29);
    }

    // spec: canonical-order
    #[test]
    fn keys_never_fall_along_an_edge() {
        let id = MessageId::from_bytes([0; 32]);
        let parent = OrderKey::of(100, id, []);
        let child = OrderKey::of(5, id, [(parent.eff_ms, parent.height), (7, 40)]);
        assert_eq!((child.eff_ms, child.height), (100, 41));
        assert!(child > parent);
    }
}
