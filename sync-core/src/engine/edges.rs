//! Who waits for whom. What comes and goes between two commits, as most does when messages come out of order, is never
//! written to the store.

use std::collections::BTreeSet;

use super::Engine;
use crate::error::EngineError;
use crate::store::{Edge, MessageNum, Store};

/// Edges that were added since the last commit.
#[derive(Debug, Clone, Default)]
pub(super) struct Edges {
    fresh: BTreeSet<Edge>,
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
        self.edges.fresh.insert((parent, child));
    }

    /// `child` waits for `parent` no longer.
    pub(super) fn remove_edge(&mut self, parent: MessageNum, child: MessageNum) -> Result<(), EngineError> {
        let fresh = self.edges.fresh.remove(&(parent, child));
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
        let next = (parent, MessageNum(after.0.saturating_add(1)));
        let fresh = self.edges.fresh.range(next..=(parent, MessageNum(u64::MAX)));
        let stored = children.len();
        children.extend(fresh.take(limit).map(|&(_, child)| child));
        if stored > 0 && children.len() > stored {
            children.sort_unstable();
            children.dedup();
        }
        children.truncate(limit);
        Ok(children)
    }

    /// Writes the edges that are there still.
    pub(super) fn write_edges(&mut self) -> Result<(), EngineError> {
        let Edges { fresh, .. } = std::mem::take(&mut self.edges);
        for (parent, child) in fresh {
            self.store.add_edge(parent, child)?;
        }
        Ok(())
    }
}
