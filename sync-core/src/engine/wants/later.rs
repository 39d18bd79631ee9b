//! What a batch depends on and may still bring: of messages that come out of order, most lack what stands further back in
//! the same batch. It is awaited when the batch is over, if it did not come with it.
//!
//! Nothing that is said depends on that: where more would come of awaiting it than a question to the sender, which the
//! rest of the batch takes back, it is awaited at once.

use hedgerow_proto::MessageId;

use super::{Engine, GroupNum, PeerNum, Store};
use crate::error::EngineError;
use crate::store::{MessageNum, MessageRow, MessageState};

/// What is awaited when the batch is over that is being taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Later {
    /// Whose batch it is, and its group.
    batch: Option<(PeerNum, GroupNum)>,
    /// In the order in which they were named. They may have come since.
    deps: Vec<(MessageNum, MessageId)>,
}

impl<S: Store> Engine<S> {
    /// A batch of messages begins.
    pub(in crate::engine) fn begin_batch(&mut self, peer: PeerNum, group: GroupNum) {
        self.wants.later.batch = Some((peer, group));
    }

    /// It is over: what it named and did not bring is awaited.
    pub(in crate::engine) fn end_batch(&mut self) -> Result<(), EngineError> {
        self.await_all_named()?;
        self.wants.later.batch = None;
        Ok(())
    }

    /// A message from a peer depends on one that is not held, of which there is a row: it is awaited now, or once the
    /// batch is over.
    pub(in crate::engine) fn await_named(
        &mut self,
        (num, id): (MessageNum, MessageId),
        group: GroupNum,
        origin: PeerNum,
    ) -> Result<(), EngineError> {
        if self.is_asked_for(&id, origin) {
            return Ok(());
        }
        if self.may_await_later(&id, group, origin) {
            self.wants.later.deps.push((num, id));
            self.wake(origin, group);
            return Ok(());
        }
        // In the order in which they were named.
        self.await_all_named()?;
        self.await_dependency(id, group, origin);
        Ok(())
    }

    /// Whether what was found to be awaited only is named by the batch that is being taken, so that its sender counts as
    /// asked for it.
    pub(in crate::engine) fn is_awaited_later(&self, id: &MessageId, found: Option<&MessageRow>) -> bool {
        let is_wanted = found.is_some_and(|row| row.state == MessageState::Wanted);
        // Whatever has a row of that kind is asked for, or will be.
        is_wanted && !self.wants.later.deps.is_empty() && !self.wants.map.contains_key(id)
    }

    /// Whether it is awaited already, so that nothing comes of awaiting it for a message of this peer.
    fn is_asked_for(&self, id: &MessageId, origin: PeerNum) -> bool {
        self.wants.map.get(id).is_some_and(|want| {
            let is_source = want.sources.iter().any(|(peer, _)| *peer == origin);
            want.needed && want.asked.is_some() && want.round > 0 && is_source
        })
    }

    fn await_all_named(&mut self) -> Result<(), EngineError> {
        let Some((origin, group)) = self.wants.later.batch else { return Ok(()) };
        for (num, id) in std::mem::take(&mut self.wants.later.deps) {
            let row = self.store.row(num)?;
            if row.is_some_and(|row| row.state == MessageState::Wanted && row.id == id) {
                self.await_dependency(id, group, origin);
            }
        }
        Ok(())
    }

    /// Whether all that would come of awaiting a message is that its sender is asked for it, and whether all that would
    /// come of its arrival is that this is over.
    fn may_await_later(&self, id: &MessageId, group: GroupNum, origin: PeerNum) -> bool {
        let later = &self.wants.later;
        if later.batch != Some((origin, group))
            || self.shorts.stand_ins > 0
            || self.wants.map.contains_key(id)
        {
            return false;
        }
        let Some(peer) = self.peers.get(&origin) else { return false };
        let has_room = peer.requested + later.deps.len() < self.config.max_requests;
        let is_idle = peer.waiting.is_empty() && peer.guess_waiting.is_empty() && peer.turned.is_empty();
        let answers = !peer.unanswering && peer.resting.is_empty();
        let mut links = peer.links.iter().filter_map(|link| self.links.get(link));
        has_room
            && is_idle
            && answers
            && self.may_serve(origin, group)
            && links.all(|link| link.lossy.is_none())
    }
}
