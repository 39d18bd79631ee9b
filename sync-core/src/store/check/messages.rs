//! The part of a check that goes message by message.

use hedgerow_proto::{IdScheme, Message};

use super::edges::waits;
use super::{Checker, Invariant, Subject};
use crate::order::OrderKey;
use crate::store::{Content, GroupRow, MessageNum, MessageRow, MessageState, Store, StoreError, StoredDep};
use crate::verdict::InvalidReason;

impl<S: Store> Checker<'_, S> {
    pub(super) fn message(&mut self, row: &MessageRow) -> Result<(), StoreError> {
        let subject = Subject::Message(row.num);
        self.report.count(row.state);
        let found = self.store.find(&row.id);
        if let Some(found) = self.readable(subject, found)?
            && found != Some(*row)
        {
            self.problem(subject, Invariant::Lookup, "another row, or none, is found by its id");
        }
        self.row_alone(row);
        let Some(group) = self.groups.get(&row.group).cloned() else {
            self.problem(subject, Invariant::Group, format!("there is no group {}", row.group.0));
            return Ok(());
        };
        let content = self.store.content(row.num);
        let Some(content) = self.readable(subject, content)? else { return Ok(()) };
        let Some(content) = content else {
            self.problem(subject, Invariant::Lookup, "its content is not found");
            return Ok(());
        };
        self.body(row, &content);
        self.retention(row)?;
        self.id(row, &group, &content);
        if row.state == MessageState::Wanted {
            return self.wanted(row, &content);
        }
        if !content.deps.is_sorted_by(|a, b| a.id < b.id) {
            self.problem(subject, Invariant::Deps, "its dependencies are not strictly ascending");
        }
        self.dependencies(row, &content.deps)
    }

    /// Every delivered message that no delivered one depends on is listed as a head, and no other.
    pub(super) fn is_head_as_listed(&mut self, row: &MessageRow) -> Result<(), StoreError> {
        let head = row.state.is_delivered() && !self.parents.contains(row.num);
        if head != self.heads.contains(row.num) {
            let detail = if head { "is a head, and not listed" } else { "is listed as a head, and is none" };
            self.problem(Subject::Message(row.num), Invariant::Heads, detail);
        }
        Ok(())
    }

    /// What the row itself shows.
    fn row_alone(&mut self, row: &MessageRow) {
        let subject = Subject::Message(row.num);
        if row.state.is_delivered() != self.walked.contains(row.num) {
            let detail = format!("{:?} at position {} of its group", row.state, row.position);
            self.problem(subject, Invariant::Positions, detail);
        }
        if !row.state.is_delivered() && (row.position, row.height) != (0, 0) {
            let detail = format!("{:?}, position {}, height {}", row.state, row.position, row.height);
            self.problem(subject, Invariant::Positions, detail);
        }
        let known = InvalidReason::from_code(row.reason).is_some();
        if known != (row.state == MessageState::Invalid) || (row.reason != 0 && !known) {
            self.problem(subject, Invariant::Reason, format!("{:?}, reason {}", row.state, row.reason));
        }
    }

    fn body(&mut self, row: &MessageRow, content: &Content) {
        let len = content.body.as_ref().map(|body| u32::try_from(body.len()).unwrap_or(u32::MAX));
        let right = match len {
            Some(len) => row.state.has_body() && len == row.body_len,
            None => !row.state.has_body(),
        };
        if !right {
            let detail = format!("{:?}, length {}, body of {len:?} bytes", row.state, row.body_len);
            self.problem(Subject::Message(row.num), Invariant::Body, detail);
        }
    }

    /// Computes the id again, where there is everything that it is made of.
    fn id(&mut self, row: &MessageRow, group: &GroupRow, content: &Content) {
        let (Some(body), Some(scheme)) = (&content.body, IdScheme::from_code(group.scheme)) else { return };
        let deps = content.deps.iter().map(|dep| dep.id).collect();
        match Message::new(group.id, row.timestamp_ms, deps, body.clone()) {
            Err(error) => self.problem(Subject::Message(row.num), Invariant::MessageId, error.to_string()),
            Ok(message) => {
                if let Err(error) = scheme.admit(&message) {
                    self.problem(Subject::Message(row.num), Invariant::MessageId, error.to_string());
                }
                let id = scheme.message_id(&message);
                if id != row.id {
                    let detail = format!("is {}, should be {id}", row.id);
                    self.problem(Subject::Message(row.num), Invariant::MessageId, detail);
                }
            }
        }
    }

    fn wanted(&mut self, row: &MessageRow, content: &Content) -> Result<(), StoreError> {
        let subject = Subject::Message(row.num);
        if !content.deps.is_empty() || row.body_len != 0 || row.timestamp_ms != 0 {
            self.problem(subject, Invariant::Wanted, "has content");
        }
        let children = self.store.children(row.num, MessageNum(0), 1);
        if self.readable(subject, children)?.is_some_and(|children| children.is_empty()) {
            self.problem(subject, Invariant::Wanted, "nothing waits for it");
        }
        Ok(())
    }

    fn dependencies(&mut self, row: &MessageRow, deps: &[StoredDep]) -> Result<(), StoreError> {
        let subject = Subject::Message(row.num);
        let delivered = row.state.is_delivered();
        let judged = delivered
            || matches!(row.state, MessageState::Waiting | MessageState::Early | MessageState::Lapsed);
        let mut keys = Vec::with_capacity(deps.len());
        let mut undelivered = Vec::new();
        for dep in deps {
            let parent = self.store.row(dep.num);
            let Some(parent) = self.readable(subject, parent)? else { continue };
            let Some(parent) = parent else {
                self.problem(subject, Invariant::Deps, format!("there is no message {}", dep.num.0));
                continue;
            };
            if (parent.id, parent.position) != (dep.id, dep.position) {
                let detail = format!("its dependency {} and its row do not agree", dep.num.0);
                self.problem(subject, Invariant::Lookup, detail);
            }
            keys.push((parent.eff_ms, parent.height));
            if !parent.state.is_delivered() {
                undelivered.push(*dep);
            }
            if delivered {
                self.parents.insert(dep.num);
            }
            if delivered && !(parent.state.is_delivered() && parent.position < row.position) {
                let detail =
                    format!("message {} is {:?} at position {}", dep.num.0, parent.state, parent.position);
                self.problem(subject, Invariant::DeliveryOrder, detail);
            }
            // Of a wanted message the group is not known yet.
            if judged && parent.state != MessageState::Wanted && parent.group != row.group {
                let detail = format!("message {} is in group {}", dep.num.0, parent.group.0);
                self.problem(subject, Invariant::DeliveryOrder, detail);
            }
            if judged && parent.state == MessageState::Invalid {
                self.problem(
                    subject,
                    Invariant::InvalidDependency,
                    format!("message {} is invalid", dep.num.0),
                );
            }
        }
        if delivered {
            self.order_key(row, keys);
        }
        self.missing(row, undelivered.len());
        if waits(row.state) { self.has_edges(row, &undelivered) } else { Ok(()) }
    }

    fn order_key(&mut self, row: &MessageRow, deps: Vec<(i64, u64)>) {
        if row.state == MessageState::Gap {
            // Its key is what a peer said: what it depends on is not known.
            if row.height == 0 || row.eff_ms < 0 {
                let detail = format!("a gap at {} ms, height {}", row.eff_ms, row.height);
                self.problem(Subject::Message(row.num), Invariant::OrderKey, detail);
            }
            return;
        }
        let key = OrderKey::of(row.timestamp_ms, row.id, deps);
        if key != row.key() {
            let detail = format!(
                "is ({} ms, height {}), should be ({} ms, height {})",
                row.eff_ms, row.height, key.eff_ms, key.height
            );
            self.problem(Subject::Message(row.num), Invariant::OrderKey, detail);
        }
    }

    fn missing(&mut self, row: &MessageRow, undelivered: usize) {
        let counted = u32::try_from(undelivered).unwrap_or(u32::MAX);
        let right = match row.state {
            // A tombstone is not kept up to date.
            MessageState::Invalid => true,
            MessageState::Waiting => row.missing == counted && counted > 0,
            MessageState::Early => row.missing == counted && counted == 0,
            _ => row.missing == counted,
        };
        if !right {
            let detail = format!("{:?}, says {}, {counted} are not delivered", row.state, row.missing);
            self.problem(Subject::Message(row.num), Invariant::Missing, detail);
        }
    }
}
