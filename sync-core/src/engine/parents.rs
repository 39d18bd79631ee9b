//! Dependencies that the id of a message does not cover: they come beside the message, or from its group's client.
//!
//! Such a graph is not acyclic by itself. What depends on itself, be it over others, would wait for ever; so what would
//! close a circle among messages that wait is left out when a message comes.

use std::collections::BTreeSet;

use hedgerow_proto::{Message, MessageError, MessageId, limits};

use super::{Engine, LinkId};
use crate::error::EngineError;
use crate::store::{GroupNum, MessageNum, MessageRow, MessageState, Store};
use crate::time::Time;
use crate::verdict::{InvalidReason, MessageFacts};

/// How many waiting messages are gone through to see whether one closes a circle. Beyond it, what waits itself is left
/// out of the dependencies.
const MAX_STEPS: usize = 4096;
/// How many waiting messages are read at a time.
const CHUNK: usize = 256;

impl<S: Store> Engine<S> {
    /// Answers [`Event::Validate`](crate::Event::Validate) for a message of a scheme whose ids do not cover
    /// dependencies: it is valid, and comes after `deps`, which its client found in what it says. They replace those that
    /// came with it. A message that is unknown, or judged already, is left as it is.
    ///
    /// # Errors
    /// When the ids of the group's scheme cover dependencies, there are more than 64, or the store fails.
    pub fn judge_after(
        &mut self,
        id: MessageId,
        facts: MessageFacts,
        deps: &[MessageId],
        now: Time,
    ) -> Result<(), EngineError> {
        self.usable()?;
        self.now = now;
        if deps.len() > limits::MAX_DEPS {
            return Err(MessageError::TooManyDeps(deps.len()).into());
        }
        let result = self.take_verdict_after(&id, facts, deps);
        self.guard(result)
    }

    fn take_verdict_after(
        &mut self,
        id: &MessageId,
        facts: MessageFacts,
        deps: &[MessageId],
    ) -> Result<(), EngineError> {
        let Some(mut row) = self.store.find(id)?.filter(|row| row.state == MessageState::Unvalidated) else {
            return Ok(());
        };
        if self.groups.get(&row.group).is_none_or(|group| group.scheme.covers_deps()) {
            return Err(EngineError::CoveredDeps(*id));
        }
        self.forget_deps(&mut row)?;
        let (deps, _) = self.without_circles(id, deps.to_vec())?;
        let deps = self.look_up_deps(row.group, &deps)?;
        if let Some(reason) = deps.invalid {
            return self.bury(row, reason);
        }
        if deps.is_doubtful() {
            // It is taken as delivered in another group, at a peer's word.
            return self.bury(row, InvalidReason::ForeignDependency);
        }
        self.wait_for(&mut row, &deps)?;
        self.admit_with(row, facts)
    }

    /// A held message waits for nothing any more.
    fn forget_deps(&mut self, row: &mut MessageRow) -> Result<(), EngineError> {
        let unawaited = self.drop_edges_of(row.num)?;
        let before = *row;
        row.missing = 0;
        self.dirty = true;
        self.recount(&before, row);
        self.store.update(row)?;
        self.store.set_deps(row.num, &[])?;
        self.waits.note(row.num, &[]);
        self.remove_unawaited(unawaited)
    }

    /// The dependencies without those that would close a circle of messages that wait for each other, strictly
    /// ascending; and whether there were such.
    pub(super) fn without_circles(
        &self,
        id: &MessageId,
        mut deps: Vec<MessageId>,
    ) -> Result<(Vec<MessageId>, bool), EngineError> {
        deps.sort_unstable();
        deps.dedup();
        let count = deps.len();
        deps.retain(|dep| dep != id);
        let mut waiting = Vec::new();
        for dep in &deps {
            let row = self.store.find(dep)?;
            waiting.extend(row.filter(|row| row.state.has_body() && !row.state.is_delivered()));
        }
        if !waiting.is_empty()
            && let Some(row) = self.store.find(id)?
        {
            let behind = self.waiting_behind(row.num)?;
            let closes = |row: &&MessageRow| behind.as_ref().is_none_or(|nums| nums.contains(&row.num));
            let circle: BTreeSet<MessageId> = waiting.iter().filter(closes).map(|row| row.id).collect();
            deps.retain(|dep| !circle.contains(dep));
        }
        let left_out = deps.len() < count;
        Ok((deps, left_out))
    }

    /// What waits for a message, and what waits for that; `None` if it is too much to go through.
    fn waiting_behind(&self, num: MessageNum) -> Result<Option<BTreeSet<MessageNum>>, EngineError> {
        let mut behind = BTreeSet::new();
        let mut open = vec![num];
        while let Some(parent) = open.pop() {
            let mut after = MessageNum(0);
            loop {
                let children = self.children(parent, after, CHUNK)?;
                let Some(&last) = children.last() else { break };
                after = last;
                open.extend(children.into_iter().filter(|child| behind.insert(*child)));
                if behind.len() > MAX_STEPS {
                    return Ok(None);
                }
            }
        }
        Ok(Some(behind))
    }

    /// A message without the dependencies that would close a circle, where its id does not rule these out.
    pub(super) fn with_sound_deps(
        &mut self,
        link: LinkId,
        group: GroupNum,
        id: &MessageId,
        message: Message,
    ) -> Result<Message, EngineError> {
        let group = self.groups.get(&group);
        if message.deps().is_empty() || group.is_none_or(|group| group.scheme.covers_deps()) {
            return Ok(message);
        }
        let (deps, left_out) = self.without_circles(id, message.deps().to_vec())?;
        if !left_out {
            return Ok(message);
        }
        self.refuse(link);
        Ok(Message::new(message.group(), message.timestamp_ms(), deps, message.body().clone())?)
    }

    /// A message that is held has come again: the dependencies that it came with first stay, and others are counted.
    pub(super) fn compare_deps(
        &mut self,
        link: LinkId,
        row: &MessageRow,
        message: &Message,
    ) -> Result<(), EngineError> {
        let covered = self.groups.get(&row.group).is_none_or(|group| group.scheme.covers_deps());
        // Who does not speak of dependencies does not contradict.
        if covered || message.deps().is_empty() || row.state == MessageState::Invalid {
            return Ok(());
        }
        let content = self.store.content(row.num)?;
        let known: Vec<MessageId> =
            content.iter().flat_map(|content| &content.deps).map(|dep| dep.id).collect();
        if known != message.deps()
            && let Some(link) = self.links.get_mut(&link)
        {
            link.traffic.changed_deps += 1;
        }
        Ok(())
    }
}
