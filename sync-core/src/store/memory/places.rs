//! Where the messages of one group stand, by position and by canonical key. Nearly all of them come to the end of both
//! orders, and are appended without a search.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::order::OrderKey;
use crate::store::MessageNum;

/// What stands where something was taken away.
const NONE: MessageNum = MessageNum(0);

/// The two orders of one group.
#[derive(Clone, Default)]
pub(in crate::store) struct Places {
    /// From position 1 on.
    log: Vec<MessageNum>,
    /// Those that came before the ones below them.
    strays: BTreeMap<u64, MessageNum>,
    /// Those whose keys were above all before them. Those that were taken away are there still, with [`NONE`].
    pub(in crate::store) ascending: Vec<(OrderKey, MessageNum)>,
    /// All others.
    late: BTreeMap<OrderKey, MessageNum>,
}

impl Places {
    pub(in crate::store) fn is_empty(&self) -> bool {
        self.log.is_empty() && self.strays.is_empty() && self.ascending.is_empty() && self.late.is_empty()
    }

    /// The message at a position.
    pub(in crate::store) fn at(&self, position: u64) -> Option<MessageNum> {
        let there = slot(position).and_then(|slot| self.log.get(slot)).filter(|num| **num != NONE);
        there.or_else(|| self.strays.get(&position)).copied()
    }

    pub(in crate::store) fn set_at(&mut self, position: u64, num: MessageNum) {
        match slot(position) {
            Some(slot) if slot == self.log.len() => self.log.push(num),
            Some(slot) if slot < self.log.len() => {
                if let Some(there) = self.log.get_mut(slot) {
                    *there = num;
                }
            }
            _ => {
                self.strays.insert(position, num);
                return;
            }
        }
        if !self.strays.is_empty() {
            self.strays.remove(&position);
        }
    }

    pub(in crate::store) fn clear_at(&mut self, position: u64) {
        self.strays.remove(&position);
        if let Some(there) = slot(position).and_then(|slot| self.log.get_mut(slot)) {
            *there = NONE;
        }
        while self.log.pop_if(|last| *last == NONE).is_some() {}
    }

    pub(in crate::store) fn set_key(&mut self, key: OrderKey, num: MessageNum) {
        if self.ascending.last().is_none_or(|(last, _)| *last < key) {
            // What is late is below something that was there, and that may be gone.
            if self.late.is_empty() || self.late.last_key_value().is_none_or(|(last, _)| *last < key) {
                self.ascending.push((key, num));
                return;
            }
        } else if let Ok(at) = self.ascending.binary_search_by_key(&key, |(key, _)| *key) {
            if let Some((_, there)) = self.ascending.get_mut(at) {
                *there = num;
            }
            return;
        }
        self.late.insert(key, num);
    }

    pub(in crate::store) fn clear_key(&mut self, key: &OrderKey) {
        let at = match self.ascending.last() {
            Some((last, _)) if last == key => Ok(self.ascending.len() - 1),
            _ => self.ascending.binary_search_by_key(key, |(key, _)| *key),
        };
        match at.ok().and_then(|at| self.ascending.get_mut(at)) {
            Some((_, there)) => *there = NONE,
            None => drop(self.late.remove(key)),
        }
        while self.ascending.pop_if(|(_, last)| *last == NONE).is_some() {}
    }

    /// Messages with ascending keys, from after a key or from the first.
    pub(in crate::store) fn after(&self, key: Option<&OrderKey>) -> impl Iterator<Item = MessageNum> {
        let from = key.map_or(0, |key| self.ascending.partition_point(|(at, _)| at <= key));
        let late =
            self.late.range((key.map_or(Bound::Unbounded, |key| Bound::Excluded(*key)), Bound::Unbounded));
        merge(self.ascending.get(from..).unwrap_or_default().iter(), late, |one, other| one < other)
    }

    /// Messages with descending keys, from before a key or from the last.
    pub(in crate::store) fn before(&self, key: Option<&OrderKey>) -> impl Iterator<Item = MessageNum> {
        let to = key.map_or(self.ascending.len(), |key| self.ascending.partition_point(|(at, _)| at < key));
        let late =
            self.late.range((Bound::Unbounded, key.map_or(Bound::Unbounded, |key| Bound::Excluded(*key))));
        merge(self.ascending.get(..to).unwrap_or_default().iter().rev(), late.rev(), |one, other| one > other)
    }
}

/// Two lists in one, in the order that both have.
fn merge<'a>(
    main: impl Iterator<Item = &'a (OrderKey, MessageNum)>,
    late: impl Iterator<Item = (&'a OrderKey, &'a MessageNum)>,
    comes_first: fn(&OrderKey, &OrderKey) -> bool,
) -> impl Iterator<Item = MessageNum> {
    let mut main = main.filter(|(_, num)| *num != NONE).peekable();
    let mut late = late.peekable();
    std::iter::from_fn(move || {
        let from_main = match (main.peek(), late.peek()) {
            (Some((key, _)), Some((other, _))) => comes_first(key, other),
            (main, _) => main.is_some(),
        };
        if from_main { main.next().map(|(_, num)| *num) } else { late.next().map(|(_, num)| *num) }
    })
}

/// Where a position is in the log.
fn slot(position: u64) -> Option<usize> {
    usize::try_from(position.checked_sub(1)?).ok()
}

#[cfg(test)]
mod tests {
    use hedgerow_proto::MessageId;
    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> OrderKey {
        OrderKey { eff_ms: i64::from(n / 4), height: 1, id: MessageId::from_bytes([n; 32]) }
    }

    proptest! {
        /// Whatever is set and taken away in whatever order, both orders are what maps would be.
        #[test]
        fn they_are_what_maps_would_be(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), 1_u8..40, 1_u64..9), 0..80),
            from in 0_u8..45,
        ) {
            let mut places = Places::default();
            let (mut positions, mut keys) = (BTreeMap::new(), BTreeMap::new());
            for (by_key, set, n, num) in steps {
                match (by_key, set) {
                    (true, true) => {
                        places.set_key(key(n), MessageNum(num));
                        keys.insert(key(n), MessageNum(num));
                    }
                    (true, false) => {
                        places.clear_key(&key(n));
                        keys.remove(&key(n));
                    }
                    (false, true) => {
                        places.set_at(n.into(), MessageNum(num));
                        positions.insert(u64::from(n), MessageNum(num));
                    }
                    (false, false) => {
                        places.clear_at(n.into());
                        positions.remove(&u64::from(n));
                    }
                }
                prop_assert_eq!(places.is_empty(), positions.is_empty() && keys.is_empty());
            }
            for position in 0..50 {
                prop_assert_eq!(places.at(position), positions.get(&position).copied());
            }
            prop_assert!(places.after(None).eq(keys.values().copied()));
            prop_assert!(places.before(None).eq(keys.values().rev().copied()));
            let from = key(from);
            let above = keys.range((Bound::Excluded(from), Bound::Unbounded)).map(|(_, num)| *num);
            prop_assert!(places.after(Some(&from)).eq(above));
            let below = keys.range(..from).rev().map(|(_, num)| *num);
            prop_assert!(places.before(Some(&from)).eq(below));
        }
    }
}
