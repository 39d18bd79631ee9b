//! Who waits for whom. What comes and goes between two commits, as most does when messages come out of order, is never
//! written to the store; and what was written of messages that came here is remembered, so that nothing is asked of the
//! store for those that nobody waits for.

use std::collections::hash_map::Entry;
use std::fmt;

use super::Engine;
use super::waits::Nums;
use crate::error::EngineError;
use crate::seeded::SeededMap;
use crate::small::SmallSet;
use crate::store::{MessageNum, Store};

/// So many edges of the store are remembered; few in tests, so that both ways are gone there.
const MAX_KNOWN: usize = if cfg!(test) { 64 } else { 65_536 };

/// Edges by parent.
type Children = SeededMap<MessageNum, SmallSet<MessageNum>>;

/// Edges that were added since the last commit, and some of those in the store.
#[derive(Clone, Default)]
pub(super) struct Edges {
    fresh: Children,
    /// The first number that a message was given since the last commit: it and those after it are in no edge of the
    /// store.
    first_new: Option<MessageNum>,
    /// All edges of the store whose parents have numbers from `known_from` on.
    known: Children,
    known_from: Option<MessageNum>,
    /// How many they are.
    known_count: usize,
}

/// What is remembered of the store decides nothing.
impl fmt::Debug for Edges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Edges").field("fresh", &self.fresh).field("first_new", &self.first_new).finish()
    }
}

impl Edges {
    /// A message was given a number.
    pub(super) fn note_new(&mut self, num: MessageNum) {
        self.first_new.get_or_insert(num);
        self.known_from.get_or_insert(num);
    }

    /// Whether an edge with this message in it may be in the store.
    fn may_be_stored(&self, num: MessageNum) -> bool {
        self.first_new.is_none_or(|first| num < first)
    }

    /// Whether the edges from a parent that are in the store are remembered.
    fn knows(&self, parent: MessageNum) -> bool {
        self.known_from.is_some_and(|from| parent >= from)
    }

    /// Notes edges that were written.
    fn note_stored(&mut self, parent: MessageNum, children: SmallSet<MessageNum>) {
        if !self.knows(parent) {
            return;
        }
        match self.known.entry(parent) {
            Entry::Vacant(known) => {
                self.known_count += children.len();
                known.insert(children);
            }
            Entry::Occupied(mut known) => {
                let known = known.get_mut();
                let before = known.len();
                known.extend(children.iter().copied());
                self.known_count += known.len() - before;
            }
        }
    }

    /// Forgets what is in the store: only of messages that come from now on it is remembered.
    pub(super) fn forget_stored(&mut self) {
        self.known.clear();
        self.known_from = None;
        self.known_count = 0;
    }
}

/// Takes an edge out; whether it was there.
fn take(edges: &mut Children, parent: MessageNum, child: MessageNum) -> bool {
    let Entry::Occupied(mut children) = edges.entry(parent) else { return false };
    let there = children.get_mut().remove(&child);
    if children.get().is_empty() {
        children.remove();
    }
    there
}

impl<S: Store> Engine<S> {
    /// `child` waits for `parent`.
    pub(super) fn add_edge(&mut self, parent: MessageNum, child: MessageNum) {
        self.dirty = true;
        self.edges.fresh.entry(parent).or_default().insert(child);
    }

    /// `child` waits for `parent` no longer.
    pub(super) fn remove_edge(&mut self, parent: MessageNum, child: MessageNum) -> Result<(), EngineError> {
        let edges = &mut self.edges;
        if take(&mut edges.fresh, parent, child) {
            return Ok(());
        }
        let stored = if edges.knows(parent) {
            let there = take(&mut edges.known, parent, child);
            edges.known_count -= usize::from(there);
            there
        } else {
            edges.may_be_stored(parent) && edges.may_be_stored(child)
        };
        if stored {
            self.dirty = true;
            self.store.remove_edge(parent, child)?;
        }
        Ok(())
    }

    /// Takes out all edges from `parent` that lead to up to `limit` messages, and gives these, ascending.
    pub(super) fn take_children(&mut self, parent: MessageNum, limit: usize) -> Result<Nums, EngineError> {
        let edges = &self.edges;
        let knows = edges.knows(parent);
        let nobody = |of: &Children| of.is_empty() || !of.contains_key(&parent);
        if nobody(&edges.fresh) && if knows { nobody(&edges.known) } else { !edges.may_be_stored(parent) } {
            return Ok(Nums::new());
        }
        let children = self.children(parent, MessageNum(0), limit)?;
        for &child in &children {
            self.remove_edge(parent, child)?;
        }
        Ok(children)
    }

    /// Up to `limit` messages that wait for `parent`, ascending, from after `after`.
    pub(super) fn children(
        &self,
        parent: MessageNum,
        after: MessageNum,
        limit: usize,
    ) -> Result<Nums, EngineError> {
        let edges = &self.edges;
        let of = |edges: &Children, children: &mut Nums| {
            let found = edges.get(&parent).into_iter().flat_map(|children| children.after(after));
            children.extend(found.take(limit).copied());
        };
        let mut children = Nums::new();
        if edges.knows(parent) {
            of(&edges.known, &mut children);
        } else if edges.may_be_stored(parent) {
            children = self.store.children(parent, after, limit)?.into();
        }
        let stored = children.len();
        of(&edges.fresh, &mut children);
        if stored > 0 && children.len() > stored {
            children.sort_unstable();
            children.dedup();
        }
        children.truncate(limit);
        Ok(children)
    }

    /// Writes the edges that are there still.
    pub(super) fn write_edges(&mut self) -> Result<(), EngineError> {
        self.edges.first_new = None;
        if self.edges.fresh.is_empty() {
            return Ok(());
        }
        let fresh = std::mem::take(&mut *self.edges.fresh);
        let mut parents: Vec<(MessageNum, SmallSet<MessageNum>)> = fresh.into_iter().collect();
        parents.sort_unstable_by_key(|(parent, _)| *parent);
        for (parent, children) in parents {
            for &child in children.iter() {
                self.store.add_edge(parent, child)?;
            }
            self.edges.note_stored(parent, children);
        }
        if self.edges.known_count > MAX_KNOWN {
            self.edges.forget_stored();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only of messages that came since, and not of too many: what an earlier engine wrote is not known.
    #[test]
    fn what_is_in_the_store_is_remembered_from_the_first_message_that_came_here() {
        let mut edges = Edges::default();
        let num = MessageNum;
        assert!(!edges.knows(num(7)));
        edges.note_new(num(7));
        edges.note_new(num(8));
        assert!(!edges.knows(num(6)) && edges.knows(num(7)) && edges.knows(num(9)));
        let one = |n| [num(n)].into_iter().collect();
        edges.note_stored(num(6), one(7));
        edges.note_stored(num(7), one(8));
        edges.note_stored(num(7), one(8));
        edges.note_stored(num(7), one(9));
        assert_eq!((edges.known.len(), edges.known_count), (1, 2));
        assert!(take(&mut edges.known, num(7), num(8)) && !take(&mut edges.known, num(7), num(8)));
        edges.forget_stored();
        assert!(edges.known.is_empty() && edges.known_count == 0 && !edges.knows(num(9)));
        edges.note_new(num(10));
        assert!(!edges.knows(num(9)) && edges.knows(num(10)));
    }
}
