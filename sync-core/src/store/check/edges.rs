//! The part of a check that goes along the edges.

use super::{BATCH, Checker, Invariant, Subject};
use crate::store::{Edge, MessageNum, MessageRow, MessageState, Store, StoreError, StoredDep};

/// Whether a message in this state has edges from its undelivered dependencies.
pub(super) fn waits(state: MessageState) -> bool {
    matches!(
        state,
        MessageState::Unvalidated | MessageState::Waiting | MessageState::Early | MessageState::Lapsed
    )
}

impl<S: Store> Checker<'_, S> {
    /// Every undelivered dependency of a message that waits has its edge.
    pub(super) fn has_edges(
        &mut self,
        row: &MessageRow,
        undelivered: &[StoredDep],
    ) -> Result<(), StoreError> {
        for dep in undelivered {
            self.expected_edges += 1;
            let before = MessageNum(row.num.0.saturating_sub(1));
            let children = self.store.children(dep.num, before, 1);
            let Some(children) = self.readable(Subject::Message(dep.num), children)? else { continue };
            if children != [row.num] {
                self.problem(Subject::Edge((dep.num, row.num)), Invariant::Edges, "is not there");
            }
        }
        Ok(())
    }

    /// There is no other edge.
    pub(super) fn edges(&mut self) -> Result<(), StoreError> {
        let mut after: Edge = (MessageNum(0), MessageNum(0));
        loop {
            let batch = self.store.edges(after, BATCH);
            let Some(edges) = self.readable(Subject::Store, batch)? else { return Ok(()) };
            let (Some(first), Some(last)) = (edges.first(), edges.last()) else { break };
            if *first <= after || !edges.is_sorted_by(|a, b| a < b) {
                self.problem(Subject::Edge(after), Invariant::Lookup, "the edges after it do not ascend");
                return Ok(());
            }
            after = *last;
            for &edge in &edges {
                self.report.edges += 1;
                if let Some(fault) = self.edge_fault(edge)? {
                    self.problem(Subject::Edge(edge), Invariant::Edges, fault);
                }
            }
        }
        if self.report.edges != self.expected_edges {
            let detail = format!("{} edges, should be {}", self.report.edges, self.expected_edges);
            self.problem(Subject::Store, Invariant::Edges, detail);
        }
        Ok(())
    }

    fn edge_fault(&mut self, (parent, child): Edge) -> Result<Option<&'static str>, StoreError> {
        let subject = Subject::Edge((parent, child));
        let row = self.store.row(child);
        let Some(Some(row)) = self.readable(subject, row)? else { return Ok(Some("leads to nothing")) };
        if !waits(row.state) {
            return Ok(Some("leads to a message that does not wait"));
        }
        let content = self.store.content(child);
        let Some(Some(content)) = self.readable(subject, content)? else {
            return Ok(Some("leads to a message without content"));
        };
        Ok(match content.deps.iter().find(|dep| dep.num == parent) {
            None => Some("comes from what is no dependency"),
            Some(dep) if dep.position > 0 => Some("comes from a delivered message"),
            Some(_) => None,
        })
    }
}
