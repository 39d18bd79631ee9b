//! What back-references on a link may name.

use std::collections::{BTreeMap, VecDeque};

use hedgerow_proto::MessageId;

/// What back-references may name, in both directions of one group on one reliable link.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Refs {
    pub(in crate::engine) sent: Window<()>,
    pub(in crate::engine) received: Window<MessageId>,
}

/// The last [`REF_WINDOW`] positions that crossed a link.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Window<T> {
    /// In the order in which they crossed.
    order: VecDeque<u64>,
    /// Those that were above all before them, as nearly all are.
    ascending: VecDeque<(u64, T)>,
    late: BTreeMap<u64, T>,
}

/// How many messages back a back-reference reaches. Sender and receiver count alike (`docs/protocol.md`).
pub(in crate::engine) const REF_WINDOW: usize = 1024;

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), ascending: VecDeque::new(), late: BTreeMap::new() }
    }
}

impl<T> Window<T> {
    pub(in crate::engine) fn push(&mut self, position: u64, value: T) {
        if let Some(there) = self.late.get_mut(&position) {
            *there = value;
            return;
        }
        if self.ascending.back().is_none_or(|(last, _)| *last < position) {
            self.ascending.push_back((position, value));
        } else if let Ok(at) = self.ascending.binary_search_by_key(&position, |(at, _)| *at) {
            if let Some((_, there)) = self.ascending.get_mut(at) {
                *there = value;
            }
            return;
        } else {
            self.late.insert(position, value);
        }
        self.order.push_back(position);
        if self.order.len() > REF_WINDOW
            && let Some(oldest) = self.order.pop_front()
        {
            if self.ascending.front().is_some_and(|(first, _)| *first == oldest) {
                self.ascending.pop_front();
            } else {
                self.late.remove(&oldest);
            }
        }
    }

    pub(in crate::engine) fn get(&self, position: u64) -> Option<&T> {
        match self.ascending.binary_search_by_key(&position, |(at, _)| *at) {
            Ok(at) => self.ascending.get(at).map(|(_, value)| value),
            Err(_) => self.late.get(&position),
        }
    }

    pub(in crate::engine) fn len(&self) -> usize {
        self.order.len()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

    use super::*;

    /// Against the plain way: a list in the order of crossing, and a search through all of it.
    #[test]
    fn a_window_has_the_latest_positions_whatever_their_order() {
        let mut window = Window::default();
        let mut list: VecDeque<(u64, u32)> = VecDeque::new();
        let mut state = 7_u32;
        let mut next = 0;
        for n in 0..20_000 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // Runs that ascend, with others from far back between them.
            next += 1 + u64::from(state >> 30);
            let position = if n / 700 % 3 == 1 { u64::from(state >> 16) % (next + 2) } else { next };
            window.push(position, n);
            match list.iter_mut().find(|(at, _)| *at == position) {
                Some((_, value)) => *value = n,
                None => list.push_back((position, n)),
            }
            if list.len() > REF_WINDOW {
                list.pop_front();
            }
            assert_eq!(window.len(), list.len());
            let looked = u64::from(state >> 8) % (next + 2);
            let found = list.iter().find(|(at, _)| *at == looked).map(|(_, value)| value);
            assert_eq!(window.get(looked), found, "{looked}");
            assert_eq!(window.get(position), Some(&n));
        }
        assert!(list.iter().all(|(at, value)| window.get(*at) == Some(value)));
    }
}
