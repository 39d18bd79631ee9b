//! Messages whose time is over: one timer for all of them, at the time of the first.

use crate::engine::{Engine, Timer};
use crate::error::EngineError;
use crate::store::{MessageRow, MessageState, Store};
use crate::time::Time;

/// How many rows are read at a time.
const CHUNK: usize = 256;

impl<S: Store> Engine<S> {
    /// Whether the time of a message is over.
    pub(in crate::engine) fn is_over(&self, row: &MessageRow) -> bool {
        row.is_over(self.now)
    }

    /// Notes that a held message expires.
    pub(in crate::engine) fn note_expiry(&mut self, expires_ms: Option<i64>) {
        let Some(at) = expires_ms.map(|at| Time(u64::try_from(at).unwrap_or(0))) else { return };
        if self.expiry_at.is_none_or(|before| at < before) {
            self.set_expiry_timer(Some(at));
        }
    }

    fn set_expiry_timer(&mut self, at: Option<Time>) {
        if let Some(before) = std::mem::replace(&mut self.expiry_at, at) {
            self.timers.remove(&(before, Timer::Expiry));
        }
        at.map(|at| self.timers.insert((at, Timer::Expiry)));
    }

    /// Sets the timer for the first message that expires.
    pub(in crate::engine) fn arm_expiry(&mut self) -> Result<(), EngineError> {
        let first = self.store.expiring(i64::MAX, 1)?.first().and_then(|row| row.expires_ms);
        self.set_expiry_timer(first.map(|at| Time(u64::try_from(at).unwrap_or(0))));
        Ok(())
    }

    /// Takes the bodies away of all messages whose time is over.
    pub(in crate::engine) fn expire(&mut self) -> Result<(), EngineError> {
        if self.expiry_at.is_none_or(|at| at > self.now) {
            return Ok(());
        }
        loop {
            let rows = self.store.expiring(self.now.as_timestamp_ms(), CHUNK)?;
            if rows.is_empty() {
                return self.arm_expiry();
            }
            for mut row in rows {
                match row.state {
                    MessageState::Delivered => self.prune(row)?,
                    // It keeps its place among what waits, so that what depends on it is delivered in turn.
                    _ => self.change_state(&mut row, MessageState::Lapsed)?,
                }
            }
        }
    }
}
