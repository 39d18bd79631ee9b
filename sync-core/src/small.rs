//! Maps and sets that hold one or a few entries nearly always, and may hold thousands: peers, groups, links, and what
//! changed of them. A few stand in a sorted list, which is found without following pointers; more stand in a tree.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

/// So many entries stand in a list at most.
const FEW: usize = 16;

/// An ordered map. It behaves, and is shown, as a [`BTreeMap`].
#[derive(Clone)]
pub(crate) struct SmallMap<K, V>(Entries<K, V>);

#[derive(Clone)]
enum Entries<K, V> {
    /// Ascending keys, and their values at the same places.
    Few(Vec<K>, Vec<V>),
    Many(BTreeMap<K, V>),
}

impl<K, V> Default for SmallMap<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> SmallMap<K, V> {
    pub(crate) const fn new() -> Self {
        Self(Entries::Few(Vec::new(), Vec::new()))
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Entries::Few(keys, _) => keys.len(),
            Entries::Many(tree) => tree.len(),
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Either of both is empty.
    #[inline]
    fn parts(&self) -> (&[K], &[V], Option<&BTreeMap<K, V>>) {
        match &self.0 {
            Entries::Few(keys, values) => (keys, values, None),
            Entries::Many(tree) => (&[], &[], Some(tree)),
        }
    }

    /// Keys and values, ascending.
    #[inline]
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = (&K, &V)> + Clone {
        let (keys, values, tree) = self.parts();
        keys.iter().zip(values).chain(tree.into_iter().flatten())
    }

    /// Keys, ascending.
    #[inline]
    pub(crate) fn keys(&self) -> impl DoubleEndedIterator<Item = &K> + Clone {
        let (keys, _, tree) = self.parts();
        keys.iter().chain(tree.into_iter().flat_map(BTreeMap::keys))
    }

    /// Values, in the order of their keys.
    #[inline]
    pub(crate) fn values(&self) -> impl DoubleEndedIterator<Item = &V> + Clone {
        let (_, values, tree) = self.parts();
        values.iter().chain(tree.into_iter().flat_map(BTreeMap::values))
    }

    /// Keys and values, ascending.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        let (keys, values, tree) = match &mut self.0 {
            Entries::Few(keys, values) => (keys.as_slice(), values.as_mut_slice(), None),
            Entries::Many(tree) => (<&[K]>::default(), <&mut [V]>::default(), Some(tree)),
        };
        keys.iter().zip(values).chain(tree.into_iter().flatten())
    }

    /// Values, in the order of their keys.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.iter_mut().map(|(_, value)| value)
    }
}

impl<K: Ord + Copy, V> SmallMap<K, V> {
    #[inline]
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        match &self.0 {
            Entries::Few(keys, values) => values.get(place(keys, key)?),
            Entries::Many(tree) => tree.get(key),
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        match &mut self.0 {
            Entries::Few(keys, values) => values.get_mut(place(keys, key)?),
            Entries::Many(tree) => tree.get_mut(key),
        }
    }

    #[inline]
    pub(crate) fn contains_key(&self, key: &K) -> bool {
        match &self.0 {
            Entries::Few(keys, _) => place(keys, key).is_some(),
            Entries::Many(tree) => tree.contains_key(key),
        }
    }

    /// Puts a value in; gives back what was there.
    pub(crate) fn insert(&mut self, key: K, value: V) -> Option<V> {
        if let Some(there) = self.get_mut(&key) {
            return Some(std::mem::replace(there, value));
        }
        self.put(key, value);
        None
    }

    /// Puts in what is not there.
    fn put(&mut self, key: K, value: V) {
        match &mut self.0 {
            Entries::Few(keys, values) if keys.len() < FEW => {
                let at = keys.partition_point(|other| *other < key);
                keys.insert(at, key);
                values.insert(at, value);
            }
            Entries::Few(keys, values) => {
                let (keys, values) = (std::mem::take(keys), std::mem::take(values));
                let mut tree: BTreeMap<K, V> = keys.into_iter().zip(values).collect();
                tree.insert(key, value);
                self.0 = Entries::Many(tree);
            }
            Entries::Many(tree) => drop(tree.insert(key, value)),
        }
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        match &mut self.0 {
            Entries::Few(keys, values) => {
                let at = place(keys, key)?;
                keys.remove(at);
                Some(values.remove(at))
            }
            Entries::Many(tree) => {
                let value = tree.remove(key);
                if tree.is_empty() {
                    self.clear();
                }
                value
            }
        }
    }
}

impl<K: Ord + Copy, V: Default> SmallMap<K, V> {
    /// The value of a key; if there is none, the default is put in.
    #[inline]
    pub(crate) fn or_default(&mut self, key: K) -> &mut V {
        if !self.contains_key(&key) {
            self.put(key, V::default());
        }
        match &mut self.0 {
            Entries::Few(keys, values) => {
                let at = place(keys, &key).unwrap_or_default();
                #[expect(clippy::indexing_slicing, reason = "it was put in above")]
                &mut values[at]
            }
            Entries::Many(tree) => tree.entry(key).or_default(),
        }
    }
}

/// Where a key stands.
#[inline]
fn place<K: Ord>(keys: &[K], key: &K) -> Option<usize> {
    match keys {
        // Most of them hold one.
        [one] => (one == key).then_some(0),
        _ => keys.binary_search(key).ok(),
    }
}

impl<K: fmt::Debug, V: fmt::Debug> fmt::Debug for SmallMap<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<K: PartialEq, V: PartialEq> PartialEq for SmallMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<K: Eq, V: Eq> Eq for SmallMap<K, V> {}

impl<K: Ord + Copy, V> FromIterator<(K, V)> for SmallMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::new();
        entries.into_iter().for_each(|(key, value)| drop(map.insert(key, value)));
        map
    }
}

/// An ordered set. It behaves, and is shown, as a [`BTreeSet`](std::collections::BTreeSet).
#[derive(Clone)]
pub(crate) struct SmallSet<T>(SmallMap<T, ()>);

impl<T> Default for SmallSet<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> SmallSet<T> {
    pub(crate) const fn new() -> Self {
        Self(SmallMap::new())
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Members, ascending.
    #[inline]
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> + Clone {
        self.0.keys()
    }

    #[inline]
    pub(crate) fn first(&self) -> Option<&T> {
        self.iter().next()
    }
}

impl<T: Ord + Copy> SmallSet<T> {
    #[inline]
    pub(crate) fn contains(&self, member: &T) -> bool {
        self.0.contains_key(member)
    }

    /// Puts a member in; whether it was not there.
    #[inline]
    pub(crate) fn insert(&mut self, member: T) -> bool {
        let new = !self.contains(&member);
        if new {
            self.0.put(member, ());
        }
        new
    }

    /// Takes a member out; whether it was there.
    #[inline]
    pub(crate) fn remove(&mut self, member: &T) -> bool {
        self.0.remove(member).is_some()
    }

    pub(crate) fn pop_first(&mut self) -> Option<T> {
        let first = *self.first()?;
        self.remove(&first);
        Some(first)
    }

    /// Members above `after`, ascending.
    pub(crate) fn after(&self, after: T) -> impl Iterator<Item = &T> {
        let (few, _, tree) = self.0.parts();
        let few = few.get(few.partition_point(|member| *member <= after)..).unwrap_or_default();
        let many = tree.map(|tree| tree.range((Bound::Excluded(after), Bound::Unbounded)));
        few.iter().chain(many.into_iter().flatten().map(|(member, ())| member))
    }

    /// Keeps those for which `keep` is true.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        *self = self.iter().copied().filter(keep).collect();
    }
}

impl<T: fmt::Debug> fmt::Debug for SmallSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<T: Ord + Copy> FromIterator<T> for SmallSet<T> {
    fn from_iter<I: IntoIterator<Item = T>>(members: I) -> Self {
        Self(members.into_iter().map(|member| (member, ())).collect())
    }
}

impl<T: Ord + Copy> Extend<T> for SmallSet<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, members: I) {
        for member in members {
            self.insert(member);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Few entries and many, growing and shrinking.
        #[test]
        fn it_is_what_a_tree_is(steps in prop::collection::vec((0..4_u8, 0..40_u16), 0..200), all in 0..60_u16) {
            let mut map = SmallMap::new();
            let mut tree = BTreeMap::new();
            for key in 0..all {
                prop_assert_eq!(map.insert(key * 3, 0), tree.insert(key * 3, 0));
            }
            for (n, (what, key)) in (1_u32..).zip(steps) {
                match what {
                    0 => prop_assert_eq!(map.insert(key, n), tree.insert(key, n)),
                    1 => *map.or_default(key) += n,
                    _ => prop_assert_eq!(map.remove(&key), tree.remove(&key)),
                }
                if what == 1 {
                    *tree.entry(key).or_default() += n;
                }
                prop_assert_eq!(map.get(&key), tree.get(&key));
                prop_assert_eq!(map.get_mut(&key), tree.get_mut(&key));
                prop_assert_eq!(map.contains_key(&key), tree.contains_key(&key));
                prop_assert_eq!((map.len(), map.is_empty()), (tree.len(), tree.is_empty()));
                prop_assert!(map.iter().eq(&tree) && map.iter().rev().eq(tree.iter().rev()));
                prop_assert!(map.keys().eq(tree.keys()) && map.values().eq(tree.values()));
                prop_assert!(map.values_mut().eq(tree.values_mut()));
                prop_assert_eq!(format!("{map:?} {map:#?}"), format!("{tree:?} {tree:#?}"));
            }
            let entries: SmallMap<_, _> = tree.clone().into_iter().collect();
            prop_assert!(entries.iter().eq(&tree));
            prop_assert!(entries == map);
        }

        #[test]
        fn a_set_is_what_a_tree_is(steps in prop::collection::vec((0..4_u8, 0..40_u16), 0..200), all in 0..60_u16) {
            let mut set: SmallSet<u16> = (0..all).collect();
            let mut tree: BTreeSet<u16> = (0..all).collect();
            for (what, member) in steps {
                match what {
                    0 => prop_assert_eq!(set.insert(member), tree.insert(member)),
                    1 => prop_assert_eq!(set.pop_first(), tree.pop_first()),
                    2 => {
                        set.retain(|other| other % 16 != member % 16);
                        tree.retain(|other| other % 16 != member % 16);
                    }
                    _ => prop_assert_eq!(set.remove(&member), tree.remove(&member)),
                }
                prop_assert_eq!(set.first(), tree.first());
                prop_assert_eq!(set.contains(&member), tree.contains(&member));
                prop_assert_eq!((set.len(), set.is_empty()), (tree.len(), tree.is_empty()));
                prop_assert!(set.iter().eq(&tree));
                prop_assert!(set.after(member).eq(tree.range((Bound::Excluded(member), Bound::Unbounded))));
                prop_assert_eq!(format!("{set:?}"), format!("{tree:?}"));
            }
        }
    }
}
