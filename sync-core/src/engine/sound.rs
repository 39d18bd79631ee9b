//! What the store gives back is looked at before it is used: content that is not what its id names is neither
//! delivered, nor sent, nor shown.

use hedgerow_proto::Message;

use super::Engine;
use crate::error::EngineError;
use crate::order::chain;
use crate::store::{Content, GroupNum, MessageRow, Store, StoreError};

impl<S: Store> Engine<S> {
    /// Dependencies and body of a message. With a body, the id is computed again: it covers group, timestamp
    /// and body, and dependencies where the scheme has them in the id, so that nothing of these can have changed.
    pub(super) fn sound_content(&self, row: &MessageRow) -> Result<Option<Content>, EngineError> {
        let content = self.store.content(row.num)?;
        if !row.state.has_body() || self.store.keeps_in_memory() {
            return Ok(content);
        }
        let Some(group) = self.groups.get(&row.group) else { return Ok(content) };
        let named = content.as_ref().and_then(|content| {
            let deps = content.deps.iter().map(|dep| dep.id).collect();
            let message = Message::new(group.id, row.timestamp_ms, deps, content.body.clone()?).ok()?;
            group.scheme.admit(&message).ok()?;
            Some(group.scheme.message_id(&message))
        });
        if named == Some(row.id) {
            return Ok(content);
        }
        Err(damaged(format!(
            "message {} (number {}): its content is not what its id names",
            row.id, row.num.0
        )))
    }

    /// The chain value at a position that is in the log; 0 before the first.
    pub(super) fn chain_at(&self, group: GroupNum, position: u64) -> Result<u64, EngineError> {
        if position == 0 {
            return Ok(0);
        }
        match self.store.at(group, position)? {
            Some(row) => Ok(row.chain),
            None => Err(gap(group, position)),
        }
    }

    /// The message at a position that is in the log, after one with the chain value `before`: another one in its
    /// place would have another value.
    pub(super) fn sound_row_at(
        &self,
        group: GroupNum,
        position: u64,
        before: u64,
    ) -> Result<MessageRow, EngineError> {
        let row = self.store.at(group, position)?.ok_or_else(|| gap(group, position))?;
        if row.chain != chain(before, &row.id) || !row.state.is_delivered() {
            let what = format!("message {} (number {}) does not belong to", row.id, row.num.0);
            return Err(damaged(format!("{what} position {position} of group number {}", group.0)));
        }
        Ok(row)
    }
}

fn gap(group: GroupNum, position: u64) -> EngineError {
    damaged(format!("there is no message at position {position} of group number {}", group.0))
}

fn damaged(what: String) -> EngineError {
    StoreError::Corrupt(what).into()
}
