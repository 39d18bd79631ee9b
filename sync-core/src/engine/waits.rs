//! What the messages that wait here depend on, by number, so that delivering one reads nothing of it again.
//!
//! It is what was written to the store, and a part of it: what an earlier engine left, and what is too much to be
//! remembered, is read, and looked at before it is used.

use smallvec::SmallVec;

use crate::seeded::SeededMap;
use crate::store::MessageNum;

/// The dependencies of so many messages are remembered.
const MAX_KNOWN: usize = 65_536;

/// Numbers of messages, a few of them in place.
pub(super) type Nums = SmallVec<[MessageNum; 4]>;

/// Dependencies of messages that were taken and are not delivered yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits {
    deps: SeededMap<MessageNum, Nums>,
}

impl Waits {
    /// A message waits for others, its time or a verdict, and depends on these.
    pub(super) fn note(&mut self, num: MessageNum, deps: &[MessageNum]) {
        if self.deps.len() < MAX_KNOWN {
            self.deps.insert(num, deps.into());
        } else {
            self.deps.remove(&num);
        }
    }

    /// What a message depends on, if it is remembered. It is on its way into the delivery order.
    pub(super) fn take(&mut self, num: MessageNum) -> Option<Nums> {
        self.deps.remove(&num)
    }

    /// A message will not be delivered.
    pub(super) fn forget(&mut self, num: MessageNum) {
        self.deps.remove(&num);
    }

    /// Whatever belonged to a group that was left.
    pub(super) fn clear(&mut self) {
        self.deps.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_bounded_and_never_old() {
        let mut waits = Waits::default();
        let most = MAX_KNOWN as u64;
        for n in 1..=most + 10 {
            waits.note(MessageNum(n), &[MessageNum(n + 1)]);
        }
        assert_eq!(waits.deps.len(), MAX_KNOWN);
        assert_eq!(waits.take(MessageNum(1)), Some(Nums::from_slice(&[MessageNum(2)])));
        assert_eq!(waits.take(MessageNum(1)), None);
        waits.note(MessageNum(most + 1), &[]);
        assert_eq!(waits.deps.len(), MAX_KNOWN);
        waits.note(MessageNum(2), &[MessageNum(9)]);
        assert_eq!(waits.take(MessageNum(2)), None, "there was no room for what is true now");
        waits.forget(MessageNum(3));
        assert_eq!(waits.take(MessageNum(3)), None);
        waits.clear();
        assert_eq!(waits.take(MessageNum(4)), None);
    }
}
