//! Who waits for whom. What comes and goes between two commits, as most does when messages come out of order, is never
//! written to the store.

use std::collections::hash_map::Entry;

use super::Engine;
use crate::error::EngineError;
use crate::seeded::SeededMap;
use crate::small::SmallSet;
use crate::store::{Edge, MessageNum, Store};

/// Edges that were added since the last commit.
#[derive(Debug, Clone, Default)]
pub(super) struct Edges {
    /// By parent.
    fresh: SeededMap<MessageNum, SmallSet<MessageNum>>,
    /// The first number that a message was given since the last commit: it and those after it are in no edge of the
    /// store.
    first_new: Option<MessageNum>,
}

impl Edges {
    /// A message was given a number.
    pub(super) fn note_new(&mut self, num: MessageNum) {
        self.first_new.get_or_insert(num);
    }

    /// Whether an edge with this message in it may be in the store.
    fn may_be_stored(&self, num: MessageNum) -> bool {
        self.first_new.is_none_or(|first| num < first)
    }
}

impl<S: Store> Engine<S> {
    /// `child` waits for `parent`.
    pub(super) fn add_edge(&mut self, parent: MessageNum, child: MessageNum) {
        self.dirty = true;
        self.edges.fresh.entry(parent).or_default().insert(child);
    }

    /// `child` waits for `parent` no longer.
    pub(super) fn remove_edge(&mut self, parent: MessageNum, child: MessageNum) -> Result<(), EngineError> {
        let mut fresh = false;
        if let Entry::Occupied(mut children) = self.edges.fresh.entry(parent) {
            fresh = children.get_mut().remove(&child);
            if children.get().is_empty() {
                children.remove();
            }
        }
        if !fresh && self.edges.may_be_stored(parent) && self.edges.may_be_stored(child) {
            self.dirty = true;
            self.store.remove_edge(parent, child)?;
        }
        Ok(())
    }

    /// Up to `limit` messages that wait for `parent`, ascending, from after `after`.
    pub(super) fn children(
        &self,
        parent: MessageNum,
        after: MessageNum,
        limit: usize,
    ) -> Result<Vec<MessageNum>, EngineError> {
        let mut children = Vec::new();
        if self.edges.may_be_stored(parent) {
            children = self.store.children(parent, after, limit)?;
        }
        let fresh = self.edges.fresh.get(&parent);
        let stored = children.len();
        children.extend(fresh.into_iter().flat_map(|fresh| fresh.after(after)).take(limit));
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
        let of_one = |(parent, children): (MessageNum, SmallSet<MessageNum>)| {
            children.iter().map(|child| (parent, *child)).collect::<Vec<Edge>>()
        };
        let mut fresh: Vec<Edge> = fresh.into_iter().flat_map(of_one).collect();
        fresh.sort_unstable();
        for (parent, child) in fresh {
            self.store.add_edge(parent, child)?;
        }
        Ok(())
    }
}
