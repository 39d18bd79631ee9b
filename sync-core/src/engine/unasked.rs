//! What came unasked is offered to others a moment later: its author most likely sends it to them too.

use std::collections::VecDeque;

use hedgerow_proto::Span;

use super::{Engine, Timer};
use crate::spanset::SpanSet;
use crate::store::{GroupNum, MessageRow, PeerNum, Store};
use crate::time::Time;

/// Positions of what came unasked a moment ago.
#[derive(Debug, Clone, Default)]
pub(super) struct Unasked {
    positions: SpanSet,
    /// Until when they are not offered, the first to be offered first.
    until: VecDeque<(Time, Span)>,
}

impl Unasked {
    /// False if others before it wait just as long.
    fn push(&mut self, position: u64, until: Time) -> bool {
        self.positions.insert(position);
        match self.until.back_mut() {
            Some((last, span)) if *last == until && span.last + 1 == position => {
                span.last = position;
                false
            }
            _ => {
                self.until.push_back((until, Span::one(position)));
                true
            }
        }
    }

    /// What may be offered now: it has waited, or would have to for too long, as the clock was set back.
    fn due(&self, now: Time, delay_ms: u64) -> Option<Span> {
        let &(until, span) = self.until.front()?;
        (until <= now || until.since(now) > delay_ms).then_some(span)
    }

    fn release(&mut self, now: Time, delay_ms: u64) {
        while let Some(span) = self.due(now, delay_ms) {
            self.until.pop_front();
            self.positions.remove_span(span);
        }
    }
}

impl<S: Store> Engine<S> {
    /// A message came, and its peer was not asked for it.
    pub(super) fn note_unasked(&mut self, row: &MessageRow) {
        let delay_ms = self.config.offer_delay_ms;
        // By the time that what it waits for has come, others have it most likely.
        if delay_ms == 0 || !row.state.has_body() || row.missing > 0 {
            return;
        }
        let until = self.now + delay_ms;
        if row.position == 0 {
            self.unasked.insert(row.num, until);
        } else if let Some(group) = self.groups.get_mut(&row.group)
            && !group.unasked.push(row.position, until)
        {
            // The timer is set.
            return;
        }
        self.timers.insert((until, Timer::Unasked(row.group)));
    }

    /// A message that had come unasked was delivered later.
    pub(super) fn place_unasked(&mut self, row: &MessageRow) {
        if let Some(until) = self.unasked.remove(&row.num).filter(|until| *until > self.now)
            && let Some(group) = self.groups.get_mut(&row.group)
        {
            group.unasked.push(row.position, until);
        }
    }

    /// Whether a position of ours is not offered yet.
    pub(super) fn is_too_fresh(&self, group: GroupNum, position: u64) -> bool {
        self.groups.get(&group).is_some_and(|group| group.unasked.positions.contains(position))
    }

    /// Looks whether something is not too fresh any more though no timer has said so.
    pub(super) fn look_at_unasked(&mut self, group: GroupNum) {
        if self.has_due_unasked(group) {
            self.offer_unasked(group, self.now);
        }
    }

    /// Whether something is not too fresh any more, be the timer late or not.
    pub(super) fn has_due_unasked(&self, group: GroupNum) -> bool {
        let (now, delay_ms) = (self.now, self.config.offer_delay_ms);
        self.groups.get(&group).is_some_and(|group| group.unasked.due(now, delay_ms).is_some())
    }

    /// What is not too fresh any more is offered.
    pub(super) fn offer_unasked(&mut self, group_num: GroupNum, now: Time) {
        self.unasked.retain(|_, until| *until > now);
        let delay_ms = self.config.offer_delay_ms;
        let Some(group) = self.groups.get_mut(&group_num) else { return };
        group.unasked.release(now, delay_ms);
        let peers: Vec<_> = group.peers.iter().copied().collect();
        for peer in peers {
            if self.take_up_offers(peer, group_num) {
                self.wake(peer, group_num);
            }
        }
    }

    /// Makes due again what a peer is to be offered and is not too fresh any more; false if nothing is.
    fn take_up_offers(&mut self, peer: PeerNum, group_num: GroupNum) -> bool {
        let pair = self.peers.get_mut(&peer).and_then(|state| state.groups.get_mut(&group_num));
        let (Some(group), Some(pair)) = (self.groups.get(&group_num), pair) else { return false };
        let session = &mut pair.session;
        if session.too_fresh.is_empty() {
            return false;
        }
        let mut rest = SpanSet::new();
        let mut from = 1;
        while let Some(span) = session.too_fresh.common_from(&group.unasked.positions, from) {
            rest.insert_span(span);
            session.too_fresh.remove_span(span);
            from = span.last.saturating_add(1);
        }
        let due = std::mem::replace(&mut session.too_fresh, rest);
        due.spans().for_each(|span| session.again.insert_span(span));
        !due.is_empty()
    }
}
