//! Durable cursors and caps of chats, and the view for reads on the engine's thread.

use hedgerow_proto::GroupId;

use super::{Core, rows};
use crate::error::NodeError;
use crate::limits::MAX_CURSOR_NAME;
use crate::view::View;

impl Core {
    /// The rows as they are now, what is not committed yet included.
    pub(crate) fn view(&self) -> View<'_> {
        View { store: self.engine.store(), me: &self.me, now: self.now() }
    }

    /// Sets what the messages of a chat may take here.
    pub(crate) fn set_max_bytes(&mut self, group: GroupId, max_bytes: Option<u64>) -> Result<(), NodeError> {
        self.chat_state(group)?;
        Ok(self.engine.set_max_bytes(group, max_bytes)?)
    }

    /// Where a durable cursor stands.
    pub(crate) fn cursor(&self, group: GroupId, name: &str) -> Result<u64, NodeError> {
        self.client_for(group)?;
        check_cursor(name)?;
        rows::number(self.engine.store(), rows::CURSOR, &rows::key(group, name.as_bytes()))
    }

    /// Moves a durable cursor; never back.
    pub(crate) fn move_cursor(&mut self, group: GroupId, name: &str, position: u64) -> Result<(), NodeError> {
        let old = self.cursor(group, name)?;
        // Not beyond what there is, or what comes would never be read.
        let position = position.min(self.chat_state(group)?.indexed);
        if position <= old {
            return Ok(());
        }
        rows::set_number(&mut self.engine, rows::CURSOR, &rows::key(group, name.as_bytes()), position)
    }
}

fn check_cursor(name: &str) -> Result<(), NodeError> {
    if (1..=MAX_CURSOR_NAME).contains(&name.len()) { Ok(()) } else { Err(NodeError::CursorName(name.len())) }
}
