//! What every store keeps to when it writes the row of a message.

use hedgerow_proto::MessageId;

use super::{GroupNum, MessageNum, MessageRow, MessageState, StoreError};
use crate::time::Time;

impl MessageRow {
    /// A row of which only id and group are known, without a number.
    #[must_use]
    pub const fn wanted(id: MessageId, group: GroupNum) -> Self {
        Self {
            num: MessageNum(0),
            group,
            id,
            state: MessageState::Wanted,
            timestamp_ms: 0,
            eff_ms: 0,
            height: 0,
            position: 0,
            chain: 0,
            origin: None,
            arrived: Time(0),
            body_len: 0,
            missing: 0,
            reason: 0,
            author: None,
            expires_ms: None,
        }
    }

    /// This row after [`Store::fill`](super::Store::fill) with `row`.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is not wanted.
    pub fn filled(&self, row: &Self) -> Result<Self, StoreError> {
        if self.state != MessageState::Wanted {
            return Err(StoreError::Corrupt(format!("message {} is {:?}, not wanted", self.id, self.state)));
        }
        Ok(Self { num: self.num, id: self.id, ..*row })
    }

    /// This row after [`Store::update`](super::Store::update) with `row`.
    #[must_use]
    pub const fn updated(&self, row: &Self) -> Self {
        Self {
            group: row.group,
            state: row.state,
            eff_ms: row.eff_ms,
            height: row.height,
            position: row.position,
            chain: row.chain,
            missing: row.missing,
            reason: row.reason,
            author: row.author,
            expires_ms: row.expires_ms,
            ..*self
        }
    }

    /// What must hold of a row alone before it is written: what is delivered has a position, nothing else has one,
    /// and there is a body where the state says so.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when one of these does not hold.
    pub fn admit(&self, has_body: bool) -> Result<(), StoreError> {
        let Self { id, state, position, .. } = self;
        if state.is_delivered() != (*position > 0) {
            return Err(StoreError::Corrupt(format!("message {id} is {state:?} at position {position}")));
        }
        if state.has_body() && !has_body {
            return Err(StoreError::Corrupt(format!("message {id} is {state:?} without a body")));
        }
        Ok(())
    }
}
