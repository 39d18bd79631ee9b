//! What is in our set: all that was delivered, and all that is held and was not delivered.

use hedgerow_proto::MessageId;

use crate::engine::{Engine, LinkId};
use crate::error::EngineError;
use crate::reconcile::{Key, Sample};
use crate::store::{Direction, GroupNum, MessageNum, MessageState, Store};

/// How many messages are read at a time.
const CHUNK: usize = 1024;

/// A set of ours. What it is of comes in this order: all positions, then messages without one.
#[derive(Debug, Clone)]
pub(super) struct Set<T> {
    /// Its short ids, in whichever form.
    pub(super) of: T,
    pub(super) width: u8,
    /// The last position.
    pub(super) head: u64,
    /// What has no position.
    pub(super) others: Vec<MessageNum>,
    /// How many messages are in it.
    pub(super) count: u64,
}

impl<T> Set<T> {
    pub(super) fn map<U>(self, form: impl FnOnce(T) -> U) -> Set<U> {
        let Self { of, width, head, others, count } = self;
        Set { of: form(of), width, head, others, count }
    }

    /// Parts its messages, given its short ids in order: positions for which `is_lacked`, and messages without a position
    /// for which it is not.
    pub(super) fn part(
        &self,
        short_ids: impl Iterator<Item = u64>,
        is_lacked: impl Fn(u64) -> bool,
    ) -> (Vec<u64>, Vec<MessageNum>) {
        let (mut lacking, mut held) = (Vec::new(), Vec::new());
        let mut others = self.others.iter();
        for (position, short) in (1..).zip(short_ids) {
            let lacked = is_lacked(short);
            if position <= self.head {
                if lacked {
                    lacking.push(position);
                }
            } else if let Some(&num) = others.next()
                && !lacked
            {
                held.push(num);
            }
        }
        (lacking, held)
    }
}

impl<S: Store> Engine<S> {
    /// The short ids of our set under a key; `None` if there is no such group.
    pub(super) fn set_of(
        &self,
        group: GroupNum,
        key: Key,
        width: u8,
    ) -> Result<Option<Set<Vec<u64>>>, EngineError> {
        let Some(head) = self.groups.get(&group).map(|state| state.head) else { return Ok(None) };
        let mut short_ids = vec![0; usize::try_from(head).unwrap_or(usize::MAX)];
        self.each_delivered(group, |position, id| {
            let at = position.checked_sub(1).and_then(|at| usize::try_from(at).ok());
            if let Some(short) = at.and_then(|at| short_ids.get_mut(at)) {
                *short = key.short_id(id, width);
            }
        })?;
        let mut others = Vec::new();
        for state in [
            MessageState::Unvalidated,
            MessageState::Waiting,
            MessageState::Early,
            MessageState::Lapsed,
            MessageState::Invalid,
        ] {
            let mut after = MessageNum(0);
            loop {
                let rows = self.store.in_state(state, after, CHUNK)?;
                let Some(last) = rows.last() else { break };
                after = last.num;
                for row in rows.iter().filter(|row| row.group == group) {
                    others.push(row.num);
                    short_ids.push(key.short_id(&row.id, width));
                }
            }
        }
        let count = short_ids.len() as u64;
        Ok(Some(Set { of: short_ids, width, head, others, count }))
    }

    /// The sample of what was delivered in a group: found by going through all of it once, and kept from then on.
    pub(super) fn sample_of(&mut self, group: GroupNum) -> Result<Sample, EngineError> {
        let Some(state) = self.groups.get(&group) else { return Ok(Sample::default()) };
        if let Some(sample) = state.sample {
            return Ok(sample);
        }
        let (mut sample, of) = (Sample::default(), state.id);
        self.each_delivered(group, |_, id| sample.toggle(&of, id))?;
        if let Some(state) = self.groups.get_mut(&group) {
            state.sample = Some(sample);
        }
        Ok(sample)
    }

    /// Makes ready what is to be said of groups where the peer's log is not known.
    pub(in crate::engine) fn sample_announced(&mut self, id: LinkId) -> Result<(), EngineError> {
        let least = self.config.reconcile_from;
        let Some(link) = self.links.get(&id).filter(|link| link.lossy.is_none()) else { return Ok(()) };
        let bare = |group: &GroupNum| {
            let state = self.groups.get(group);
            let pair = self.peers.get(&link.peer).and_then(|peer| peer.groups.get(group));
            state.is_some_and(|state| state.head > least && state.sample.is_none())
                && (pair.is_some_and(|pair| pair.mark == 0)
                    || link.ours.get(group).is_some_and(|name| name.reset))
        };
        let bare: Vec<GroupNum> = link.announce_due.iter().copied().filter(bare).collect();
        for group in bare {
            self.sample_of(group)?;
        }
        Ok(())
    }

    /// Goes through all that was delivered in a group, with or without a body.
    fn each_delivered(
        &self,
        group: GroupNum,
        mut take: impl FnMut(u64, &MessageId),
    ) -> Result<(), EngineError> {
        let mut after = None;
        loop {
            let rows = self.store.page(group, after.as_ref(), Direction::Forward, CHUNK)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = Some(last.key());
            rows.iter().for_each(|row| take(row.position, &row.id));
        }
    }
}
