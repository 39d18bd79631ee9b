//! Parts of the path of a message, set up so that each can be measured alone.

use std::fmt::Debug;

use bytes::Bytes;
use hedgerow_proto::{Message, MessageId};
use hedgerow_sync_core::store::{GroupNum, GroupRow, MessageNum, MessageRow, MessageState};
use hedgerow_sync_core::{Config, Event, OrderKey, Store, Verdict, chain};

use super::workload::{self, Receiver, START};
use crate::Failure;

/// Messages of `size` bytes, each after the one before.
///
/// # Errors
/// When `size` is over the limit.
pub fn line(count: u64, size: usize) -> Result<Vec<Message>, Failure> {
    workload::line(count, size)
}

/// Frames with these messages in this order, at most `each` in one.
///
/// # Errors
/// When one of them is too large for a frame.
pub fn frames(messages: &[Message], each: usize) -> Result<Vec<Bytes>, Failure> {
    workload::frames(messages, each)
}

/// An engine that has messages and awaits verdicts on them.
pub struct Waiting<S> {
    receiver: Receiver<S>,
    order: Vec<MessageId>,
}

impl<S: Store + Debug> Waiting<S> {
    /// On an empty store. `backwards`: whether the last message is judged first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn new(store: S, messages: &[Message], backwards: bool) -> Result<Self, Failure> {
        let mut config = Config::default();
        config.max_unvalidated = config.max_unvalidated.max(2 * messages.len() as u64);
        let mut receiver = Receiver::new(store, config, 1, true)?;
        for frame in workload::frames(messages, usize::MAX)? {
            receiver.feed(&frame)?;
        }
        let mut order: Vec<MessageId> = messages.iter().map(Message::id).collect();
        if backwards {
            order.reverse();
        }
        Ok(Self { receiver, order })
    }

    /// Judges all of them as valid; how many were delivered.
    ///
    /// # Errors
    /// When the store fails.
    pub fn judge(&mut self) -> Result<u64, Failure> {
        let now = START + 2 * 86_400_000;
        let mut delivered = 0;
        for id in &self.order {
            self.receiver.engine.judge(*id, Verdict::VALID, now)?;
        }
        while let Some(event) = self.receiver.engine.poll_event()? {
            if let Event::Delivered { first, last, .. } = event {
                delivered += last - first + 1;
            }
        }
        Ok(delivered)
    }
}

/// The group of [`rows`].
const GROUP: GroupNum = GroupNum(1);

/// A store with the group that [`insert`] writes to.
///
/// # Errors
/// When the store fails.
pub fn prepared<S: Store>(mut store: S) -> Result<S, Failure> {
    let group = workload::descriptor()?;
    store.put_group(&GroupRow {
        num: GROUP,
        id: group.id(),
        scheme: 1,
        client_id: group.client_id().to_owned(),
        major_version: group.major_version(),
        descriptor: group.descriptor().to_vec(),
        judged: false,
        head: 0,
        chain: 0,
        body_bytes: 0,
        max_bytes: None,
    })?;
    store.commit()?;
    Ok(store)
}

/// The rows of messages that come in order, and their bodies.
///
/// # Errors
/// When a body is longer than a row can say.
pub fn rows(messages: &[Message]) -> Result<Vec<(MessageRow, Bytes)>, Failure> {
    let (mut value, mut last, mut rows) = (0, (0, 0), Vec::new());
    for (position, message) in (1..).zip(messages) {
        let id = message.id();
        let key = OrderKey::of(message.timestamp_ms(), id, [last]);
        (last, value) = ((key.eff_ms, key.height), chain(value, &id));
        let row = MessageRow {
            num: MessageNum(0),
            group: GROUP,
            id,
            state: MessageState::Delivered,
            timestamp_ms: message.timestamp_ms(),
            eff_ms: key.eff_ms,
            height: key.height,
            position,
            chain: value,
            origin: None,
            arrived: START,
            body_len: u32::try_from(message.body().len())?,
            missing: 0,
            reason: 0,
            author: None,
            expires_ms: None,
        };
        rows.push((row, message.body().clone()));
    }
    Ok(rows)
}

/// Inserts rows as an engine does with what comes in order: each is looked up, and all are committed by thousands.
///
/// # Errors
/// When the store fails, or a row is there already.
pub fn insert<S: Store>(store: &mut S, rows: &[(MessageRow, Bytes)]) -> Result<(), Failure> {
    let (mut last, mut bytes): (Option<MessageNum>, u64) = (None, 0);
    for part in rows.chunks(1_000) {
        let before = last;
        for (row, body) in part {
            if store.find(&row.id)?.is_some() {
                return Err("the row is there already".into());
            }
            last = Some(store.insert(row, last.as_slice(), Some(body))?);
            bytes += body.len() as u64;
        }
        if let Some((row, _)) = part.last() {
            store.set_head(GROUP, row.position, row.chain, bytes)?;
        }
        store.change_heads(GROUP, before.as_slice(), last.as_slice())?;
        store.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hedgerow_sync_core::MemoryStore;

    use super::*;

    #[test]
    fn rows_that_are_inserted_are_a_sound_store() -> Result<(), Failure> {
        let messages = line(1_500, 20)?;
        let mut store = prepared(MemoryStore::new())?;
        insert(&mut store, &rows(&messages)?)?;
        workload::sound(&store)
    }

    #[test]
    fn all_are_delivered_in_either_order() -> Result<(), Failure> {
        for backwards in [false, true] {
            let mut waiting = Waiting::new(MemoryStore::new(), &line(300, 20)?, backwards)?;
            assert_eq!(waiting.judge()?, 300);
            workload::sound(waiting.receiver.engine.store())?;
        }
        Ok(())
    }
}
