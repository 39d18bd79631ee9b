//! Rows that were read or written lately, and where ids led lately. Bounded.

use std::collections::HashMap;
use std::hash::Hash;

use hedgerow_proto::MessageId;
use hedgerow_sync_core::store::{MessageNum, MessageRow};

/// What is remembered of the messages. Only the one who writes the store may use it.
pub(crate) struct Cache {
    rows: Generations<MessageNum, MessageRow>,
    ids: Generations<MessageId, MessageNum>,
    /// There is no message with this id. What is received is looked for first and inserted then.
    absent: Option<MessageId>,
}

impl Cache {
    /// A cache of about `rows` rows; none at all if that is 0.
    pub(crate) fn new(rows: usize) -> Self {
        Self { rows: Generations::new(rows), ids: Generations::new(rows), absent: None }
    }

    pub(crate) fn row(&mut self, num: MessageNum) -> Option<MessageRow> {
        self.rows.get(&num)
    }

    pub(crate) fn put_row(&mut self, row: &MessageRow) {
        self.rows.put(row.num, *row);
    }

    pub(crate) fn id(&mut self, id: &MessageId) -> Option<MessageNum> {
        self.ids.get(id)
    }

    pub(crate) fn put_id(&mut self, row: &MessageRow) {
        self.ids.put(row.id, row.num);
    }

    /// Whether this id was the last one that was looked for in vain.
    pub(crate) fn is_absent(&self, id: &MessageId) -> bool {
        self.absent.as_ref() == Some(id)
    }

    /// Notes that there is no message with this id; `None`: that there may be one with any id.
    pub(crate) fn set_absent(&mut self, id: Option<MessageId>) {
        self.absent = id.filter(|_| self.ids.half > 0);
    }

    pub(crate) fn remove(&mut self, row: &MessageRow) {
        self.rows.remove(&row.num);
        self.ids.remove(&row.id);
    }

    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.ids.clear();
        self.absent = None;
    }
}

/// A map that forgets what was not used for long: when the young half is full, it becomes the old half.
struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    half: usize,
}

impl<K: Eq + Hash + Copy, V: Copy> Generations<K, V> {
    fn new(size: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), half: size / 2 }
    }

    fn get(&mut self, key: &K) -> Option<V> {
        if let Some(value) = self.young.get(key) {
            return Some(*value);
        }
        let value = self.old.remove(key)?;
        self.put(*key, value);
        Some(value)
    }

    fn put(&mut self, key: K, value: V) {
        if self.half == 0 {
            return;
        }
        if self.young.len() >= self.half {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    fn remove(&mut self, key: &K) {
        self.young.remove(key);
        self.old.remove(key);
    }

    fn clear(&mut self) {
        self.young.clear();
        self.old.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_bounded_and_never_stale() {
        let mut map = Generations::new(8);
        for n in 0..100_u32 {
            map.put(n % 20, n);
            assert_eq!(map.get(&(n % 20)), Some(n));
            assert!(map.young.len() <= 4 && map.old.len() <= 4);
        }
        assert_eq!((map.get(&19), map.get(&0)), (Some(99), None));
        map.remove(&19);
        assert_eq!(map.get(&19), None);
    }

    #[test]
    fn of_size_zero_it_remembers_nothing() {
        let mut map = Generations::new(0);
        map.put(1, 1);
        assert_eq!(map.get(&1), None);
    }
}
