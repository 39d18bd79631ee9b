//! What the store gives back is looked at before it is used: content that is not what its id names is neither
//! delivered, nor sent, nor shown.

use super::Engine;
use crate::error::EngineError;
use crate::reading;
use crate::store::{Content, MessageRow, Store};

impl<S: Store> Engine<S> {
    /// Dependencies and body of a message, whose id is computed again if it has a body.
    pub(super) fn sound_content(&self, row: &MessageRow) -> Result<Option<Content>, EngineError> {
        Ok(match self.groups.get(&row.group) {
            Some(group) => reading::sound_content(&self.store, row, group.id, group.scheme)?,
            None => self.store.content(row.num)?,
        })
    }
}
