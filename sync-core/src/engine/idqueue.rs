//! Ids in a line, each once.

use std::collections::BTreeMap;
use std::fmt;

use hedgerow_proto::MessageId;

/// A queue of ids that knows what is in it.
#[derive(Clone, Default)]
pub(super) struct IdQueue {
    order: BTreeMap<i64, MessageId>,
    places: BTreeMap<MessageId, i64>,
}

impl IdQueue {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn contains(&self, id: &MessageId) -> bool {
        self.places.contains_key(id)
    }

    /// Adds an id at the end, unless it is in the line.
    pub(super) fn push_back(&mut self, id: MessageId) {
        let place = self.order.last_key_value().map_or(0, |(place, _)| place + 1);
        self.put(place, id);
    }

    /// Adds an id at the front, unless it is in the line.
    pub(super) fn push_front(&mut self, id: MessageId) {
        let place = self.order.first_key_value().map_or(0, |(place, _)| place - 1);
        self.put(place, id);
    }

    fn put(&mut self, place: i64, id: MessageId) {
        if !self.contains(&id) {
            self.places.insert(id, place);
            self.order.insert(place, id);
        }
    }

    pub(super) fn pop_front(&mut self) -> Option<MessageId> {
        let (_, id) = self.order.pop_first()?;
        self.places.remove(&id);
        Some(id)
    }

    /// Takes up to `count` ids from the front.
    pub(super) fn take(&mut self, count: usize) -> Vec<MessageId> {
        (0..count).map_while(|_| self.pop_front()).collect()
    }

    pub(super) fn remove(&mut self, id: &MessageId) {
        if let Some(place) = self.places.remove(id) {
            self.order.remove(&place);
        }
    }

    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.places.clear();
    }

    /// Moves everything of another line to the end of this one.
    pub(super) fn append(&mut self, other: &mut Self) {
        while let Some(id) = other.pop_front() {
            self.push_back(id);
        }
    }
}

impl Extend<MessageId> for IdQueue {
    fn extend<T: IntoIterator<Item = MessageId>>(&mut self, ids: T) {
        ids.into_iter().for_each(|id| self.push_back(id));
    }
}

/// Where in the numbers the line stands follows from its past and decides nothing.
impl fmt::Debug for IdQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.order.values()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_leave_in_order_and_stand_there_once() {
        let id = |n| MessageId::from_bytes([n; 32]);
        let mut queue = IdQueue::default();
        queue.extend([id(2), id(3), id(2)]);
        queue.push_front(id(1));
        queue.push_back(id(4));
        assert_eq!((queue.len(), queue.contains(&id(3))), (4, true));
        queue.remove(&id(3));
        assert!(!queue.contains(&id(3)));
        let mut other = IdQueue::default();
        other.extend([id(4), id(5)]);
        queue.append(&mut other);
        assert!(other.is_empty());
        assert_eq!(queue.take(9), [id(1), id(2), id(4), id(5)]);
        assert!(queue.is_empty() && queue.pop_front().is_none());
    }
}
