//! Groups in which a peer most likely knows what we would announce: a few bytes of a hash stand for the ANNOUNCE
//! (`docs/protocol.md`, section 2).
//!
//! What a value says never rests on a guess. Whoever reads it looks it up among what it expects to hear, and a match
//! is taken as the ANNOUNCE that it stands for; the sender is asked for all others in full. A name that was given by a
//! value is used once the peer has matched it, or is announced in full in the frame that needs it.

use std::collections::{BTreeMap, BTreeSet};

use hedgerow_proto::limits::STEP_LEN;
use hedgerow_proto::{Announce, GroupId, InStep, Span, Visibility};

use super::state::Link;
use super::{Engine, LinkId, Taken};
use crate::error::{EngineError, Rule};
use crate::spanset::SpanSet;
use crate::store::{GroupNum, PeerNum, Store};

/// What the ends of a link say by values.
#[derive(Debug, Clone, Default)]
pub(super) struct Steps {
    /// Everything that was to be announced when the link came up is said, or the peer knows nothing of us: what comes
    /// now is announced in full.
    over: bool,
    /// Groups that we named by a value, by number, until it is answered or they are announced in full.
    said: BTreeMap<u64, GroupNum>,
    /// What the peer may say of groups, and which mark and chain value of our log that stands for. Made when it says
    /// the first value; each counts once.
    expected: Option<BTreeMap<[u8; STEP_LEN], Expected>>,
    /// How many values the peer said.
    heard: usize,
    /// Numbers of the peer's values that are to be answered.
    matched: SpanSet,
    unmatched: SpanSet,
}

#[derive(Debug, Clone, Copy)]
struct Expected {
    group: GroupNum,
    mark: u64,
    chain: u64,
}

/// A group that can be named by a value.
struct Sayable {
    group: GroupNum,
    id: GroupId,
    mark: u64,
    chain: u64,
}

impl Steps {
    /// For a new link to a peer; `met`: it was met before.
    pub(super) fn new(met: bool) -> Self {
        Self { over: !met, ..Self::default() }
    }

    /// The peer has another store than the one that was met: nothing is expected of us.
    pub(super) const fn give_up(&mut self) {
        self.over = true;
    }

    /// A group was announced in full: its number needs no answer.
    pub(super) fn forget(&mut self, number: u32) {
        self.said.remove(&u64::from(number));
    }

    /// Whether there is something to answer.
    pub(super) const fn has_answers(&self) -> bool {
        !self.matched.is_empty() || !self.unmatched.is_empty()
    }

    /// Up to `most` spans of numbers that were matched and that were not.
    pub(super) fn take_answers(&mut self, most: usize) -> (Vec<Span>, Vec<Span>) {
        let matched = self.matched.take_spans(most);
        let unmatched = self.unmatched.take_spans(most - matched.len());
        (matched, unmatched)
    }
}

impl Link {
    /// Whether a group was named by a value that is not answered: it can be announced in full at any time.
    pub(super) fn awaits_answer(&self, group: GroupNum) -> bool {
        let name = self.ours.get(&group).filter(|name| !name.usable && !name.reset);
        name.is_some_and(|name| self.steps.said.get(&u64::from(name.number)) == Some(&group))
    }
}

impl<S: Store> Engine<S> {
    /// Gives names, by values, to up to `most` of the groups that are to be announced.
    pub(super) fn say_in_step(&mut self, id: LinkId, most: usize) -> Option<InStep> {
        let link = self.links.get(&id)?;
        if link.lossy.is_some() || link.steps.over || link.hello_due {
            return None;
        }
        let numbers = usize::try_from(u32::MAX - link.next_number).unwrap_or(usize::MAX);
        let most = most.min(numbers);
        let said: Vec<Sayable> =
            link.announce_due.iter().filter_map(|&group| self.sayable(link, group)).take(most).collect();
        let link = self.links.get_mut(&id)?;
        link.steps.over = said.len() < most;
        let first = link.next_number;
        let mut values = Vec::with_capacity(said.len());
        for Sayable { group, id, mark, chain } in said {
            values.push(InStep::value_of(&link.nonce, id, mark, chain));
            let name = link.ours.or_default(group);
            name.number = link.next_number;
            link.steps.said.insert(u64::from(link.next_number), group);
            link.next_number = link.next_number.saturating_add(1);
            link.announce_due.remove(&group);
            link.announce_again.remove(&group);
        }
        (!values.is_empty()).then_some(InStep { first, values })
    }

    /// A group whose announcement a value can stand for, and most likely will: everything is settled.
    fn sayable(&self, link: &Link, group: GroupNum) -> Option<Sayable> {
        let state = self.groups.get(&group)?;
        let peer = self.peers.get(&link.peer)?;
        let pair = peer.groups.get(&group)?;
        let unnamed = link.ours.get(&group).is_none_or(|name| name.number == 0 && !name.reset);
        let (mark, chain) = (pair.mark, pair.mark_chain);
        let whole = pair.got.first_absent(1) > mark;
        // Who knows nothing of the peer's log may have to say how much it has.
        let bare = mark > 0 || state.head <= self.config.reconcile_from;
        let settled = || pair.first_lacking(&state.gone) > state.head;
        let shared = pair.visibility == Visibility::Shared;
        (unnamed && shared && whole && bare && settled()).then_some(Sayable {
            group,
            id: state.id,
            mark,
            chain,
        })
    }

    /// What was named by a value is announced in full if it has something to say before the value is answered.
    pub(super) fn announce_urgent(&mut self, id: LinkId) {
        let Some(link) = self.links.get(&id).filter(|link| link.is_ready() && !link.steps.said.is_empty())
        else {
            return;
        };
        let awaits = |group: &&GroupNum| link.awaits_answer(**group);
        let ready = link.ready.iter().filter(awaits).filter(|group| self.speaks(id, link.peer, **group));
        let short = link.ephemerals.iter().map(|(group, ..)| group).filter(awaits);
        let urgent: BTreeSet<GroupNum> = ready.chain(short).copied().collect();
        if let Some(link) = self.links.get_mut(&id) {
            link.announce_due.extend(urgent);
        }
    }

    /// Takes what the peer says of groups by values.
    pub(super) fn take_in_step(&mut self, id: LinkId, in_step: &InStep) -> Taken {
        let limit = self.config.max_announces;
        let Some(link) = self.links.get_mut(&id) else { return Ok(Ok(())) };
        if link.lossy.is_some() || link.hello.is_none() {
            self.refuse(id);
            return Ok(Ok(()));
        }
        link.steps.heard = link.steps.heard.saturating_add(in_step.values.len());
        if link.steps.heard > limit {
            return Ok(Err(Rule::TooManyAnnounces(limit)));
        }
        self.expect_in_step(id)?;
        for (number, value) in in_step.numbered() {
            let announce = self.matched(id, number, &value);
            let matches = announce.is_some();
            if let Some(announce) = announce
                && let Err(rule) = self.take_announce(id, announce, 0)?
            {
                return Ok(Err(rule));
            }
            if let Some(link) = self.links.get_mut(&id) {
                let answers = if matches { &mut link.steps.matched } else { &mut link.steps.unmatched };
                answers.insert(u64::from(number));
            }
        }
        self.wake_link(id);
        Ok(Ok(()))
    }

    /// The announcement that a value stands for, if it is one that was expected.
    fn matched(&mut self, id: LinkId, number: u32, value: &[u8; STEP_LEN]) -> Option<Announce> {
        let link = self.links.get_mut(&id)?;
        let Expected { group, mark, chain } = link.steps.expected.as_mut()?.remove(value)?;
        let nonce = &link.hello.as_ref()?.nonce;
        let tag = Announce::tag_of(nonce, self.groups.get(&group)?.id);
        // It may have become invisible since.
        link.tags.get(&tag).filter(|tagged| **tagged == group)?;
        Some(Announce {
            number,
            tag,
            visibility: Visibility::Shared,
            held: (mark > 0).then_some(Span { first: 1, last: mark }).into_iter().collect(),
            mark,
            mark_chain: chain,
            reset: 0,
            summary: None,
        })
    }

    /// Reckons what the peer may say of each group that is visible to it: that it holds what it is known to hold, or
    /// all of our log, as its last acknowledgements may have been lost.
    fn expect_in_step(&mut self, id: LinkId) -> Result<(), EngineError> {
        let Some(link) = self.links.get(&id).filter(|link| link.steps.expected.is_none()) else {
            return Ok(());
        };
        let (Some(hello), peer) = (&link.hello, link.peer) else { return Ok(()) };
        let mut expected = BTreeMap::new();
        for &group in link.tags.values() {
            let Some(state) = self.groups.get(&group) else { continue };
            let marks = [self.known_mark(peer, group)?, Some((state.head, state.chain))];
            for (mark, chain) in marks.into_iter().flatten() {
                let value = InStep::value_of(&hello.nonce, state.id, mark, chain);
                expected.insert(value, Expected { group, mark, chain });
            }
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.steps.expected = Some(expected);
        }
        Ok(())
    }

    /// Up to which position a peer is known to hold all of our log, and the chain value there; `None` if there are
    /// holes in what it holds.
    fn known_mark(&self, peer: PeerNum, group: GroupNum) -> Result<Option<(u64, u64)>, EngineError> {
        let pair = self.peers.get(&peer).and_then(|state| state.groups.get(&group));
        let Some(pair) = pair.filter(|pair| pair.has.span_count() <= 1) else { return Ok(None) };
        let mark = pair.has.first_absent(1).saturating_sub(1);
        if mark != pair.has.max() {
            return Ok(None);
        }
        if mark == 0 {
            return Ok(Some((0, 0)));
        }
        // The store may have gone back in time since.
        Ok(self.store.at(group, mark)?.map(|row| (mark, row.chain)))
    }

    /// The peer has matched what we named by values, or wants it announced.
    pub(super) fn take_step_answers(&mut self, id: LinkId, matched: &[Span], unmatched: &[Span]) {
        for (spans, is_matched) in [(matched, true), (unmatched, false)] {
            for span in spans {
                self.take_step_answer(id, *span, is_matched);
            }
        }
    }

    fn take_step_answer(&mut self, id: LinkId, numbers: Span, is_matched: bool) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let answered: Vec<(u64, GroupNum)> =
            link.steps.said.extract_if(numbers.first..=numbers.last, |_, _| true).collect();
        for (number, group) in answered {
            // It may have been left since, or be announced with a reset.
            let Some(name) = link.ours.get_mut(&group) else { continue };
            if u64::from(name.number) != number || name.reset {
                continue;
            }
            if is_matched {
                name.usable = true;
                link.mark(group);
            } else {
                link.announce_due.insert(group);
            }
        }
        self.wake_link(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_out_up_to_the_room_for_them_and_matches_go_first() {
        let spans = |from: u64| (0..3).map(|n| Span::one(from + 2 * n)).collect::<Vec<_>>();
        let all = Steps {
            matched: spans(1).into_iter().collect(),
            unmatched: spans(2).into_iter().collect(),
            ..Steps::new(true)
        };
        for room in 0..8 {
            let mut steps = all.clone();
            let (matched, unmatched) = steps.take_answers(room);
            assert_eq!(matched, spans(1)[..room.min(3)]);
            assert_eq!(unmatched, spans(2)[..room.saturating_sub(3).min(3)]);
            assert_eq!(steps.has_answers(), room < 6);
        }
    }
}
