//! Ids in a line, each once.

use std::collections::VecDeque;
use std::fmt;

use hedgerow_proto::MessageId;

use crate::seeded::SeededMap;

/// A queue of ids that knows what is in it, with something beside each.
#[derive(Clone)]
pub(super) struct IdQueue<T = ()> {
    /// In line; what was taken out of the middle leaves a hole.
    slots: VecDeque<Option<(MessageId, T)>>,
    /// The place of the first slot: numbers go on for ever.
    first: i64,
    places: SeededMap<MessageId, i64>,
}

/// So many holes are left in any case.
const MIN_HOLES: usize = 16;

impl<T> Default for IdQueue<T> {
    fn default() -> Self {
        Self { slots: VecDeque::new(), first: 0, places: SeededMap::default() }
    }
}

impl<T> IdQueue<T> {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    pub(super) fn contains(&self, id: &MessageId) -> bool {
        self.places.contains_key(id)
    }

    /// Adds an id at the end, unless it is in the line.
    pub(super) fn push_back_with(&mut self, id: MessageId, beside: T) {
        if !self.contains(&id) {
            let place = self.first.saturating_add(i64::try_from(self.slots.len()).unwrap_or(i64::MAX));
            self.places.insert(id, place);
            self.slots.push_back(Some((id, beside)));
        }
    }

    /// Adds an id at the front, unless it is in the line.
    pub(super) fn push_front_with(&mut self, id: MessageId, beside: T) {
        if !self.contains(&id) {
            self.first -= 1;
            self.places.insert(id, self.first);
            self.slots.push_front(Some((id, beside)));
        }
    }

    pub(super) fn pop_front_with(&mut self) -> Option<(MessageId, T)> {
        let (id, beside) = self.slots.pop_front()??;
        self.first += 1;
        self.places.remove(&id);
        self.close_holes();
        Some((id, beside))
    }

    pub(super) fn remove(&mut self, id: &MessageId) {
        let Some(place) = self.places.remove(id) else { return };
        if let Some(slot) = usize::try_from(place - self.first).ok().and_then(|at| self.slots.get_mut(at)) {
            *slot = None;
        }
        self.close_holes();
    }

    /// The first slot is never a hole, and there are not many more holes than ids.
    fn close_holes(&mut self) {
        while let Some(None) = self.slots.front() {
            self.slots.pop_front();
            self.first += 1;
        }
        while let Some(None) = self.slots.back() {
            self.slots.pop_back();
        }
        // All of them at once, so that it costs as much as what made them.
        if self.slots.len() > 2 * self.places.len() + MIN_HOLES {
            #[cfg(test)]
            tests::WALKED.with(|walked| walked.set(walked.get() + self.slots.len() as u64));
            self.slots.retain(Option::is_some);
            for ((id, _), place) in self.slots.iter().flatten().zip(self.first..) {
                self.places.insert(*id, place);
            }
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl IdQueue {
    /// Adds an id at the end, unless it is in the line.
    pub(super) fn push_back(&mut self, id: MessageId) {
        self.push_back_with(id, ());
    }

    /// Adds an id at the front, unless it is in the line.
    pub(super) fn push_front(&mut self, id: MessageId) {
        self.push_front_with(id, ());
    }

    pub(super) fn pop_front(&mut self) -> Option<MessageId> {
        self.pop_front_with().map(|(id, ())| id)
    }

    /// Takes up to `count` ids from the front.
    pub(super) fn take(&mut self, count: usize) -> Vec<MessageId> {
        (0..count).map_while(|_| self.pop_front()).collect()
    }

    /// Moves everything of another line to the end of this one.
    pub(super) fn append(&mut self, other: &mut Self) {
        while let Some(id) = other.pop_front() {
            self.push_back(id);
        }
    }
}

impl Extend<MessageId> for IdQueue {
    fn extend<I: IntoIterator<Item = MessageId>>(&mut self, ids: I) {
        ids.into_iter().for_each(|id| self.push_back(id));
    }
}

/// Where in the numbers the line stands follows from its past and decides nothing; nor do holes.
impl<T: fmt::Debug> fmt::Debug for IdQueue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.slots.iter().flatten()).finish()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        /// How many places were gone through to close holes.
        pub(in crate::engine) static WALKED: Cell<u64> = const { Cell::new(0) };
    }

    fn id(n: u8) -> MessageId {
        MessageId::from_bytes([n; 32])
    }

    #[test]
    fn ids_leave_in_order_and_stand_there_once() {
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

    /// Against a plain list, with ids taken out from everywhere: order, places and holes.
    #[test]
    fn what_is_taken_out_leaves_the_rest_in_order() {
        let mut queue = IdQueue::<u8>::default();
        let mut list: Vec<u8> = Vec::new();
        let mut state = 1_u32;
        for step in 0..20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let n = (state >> 16 & 0x7f) as u8;
            // It fills up, and empties again.
            let fills = step / 500 % 2 == 0;
            match (state >> 24 & 7, fills) {
                (0, _) => assert_eq!(
                    queue.pop_front_with(),
                    (!list.is_empty()).then(|| list.remove(0)).map(|n| (id(n), n))
                ),
                (1, true) => {
                    queue.push_front_with(id(n), n);
                    if !list.contains(&n) {
                        list.insert(0, n);
                    }
                }
                (2.., true) => {
                    queue.push_back_with(id(n), n);
                    if !list.contains(&n) {
                        list.push(n);
                    }
                }
                _ => {
                    queue.remove(&id(n));
                    list.retain(|of| *of != n);
                }
            }
            assert_eq!((queue.len(), queue.is_empty()), (list.len(), list.is_empty()));
            assert!(queue.slots.len() <= 2 * list.len() + MIN_HOLES, "{} slots", queue.slots.len());
        }
        let rest: Vec<u8> = std::iter::from_fn(|| queue.pop_front_with()).map(|(_, n)| n).collect();
        assert_eq!(rest, list);
    }
}
