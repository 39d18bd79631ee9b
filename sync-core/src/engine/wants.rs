//! What we lack and know of: offered by peers, or awaited as a dependency. Each message is asked of one peer at a
//! time; the next is asked on UNAVAILABLE, on a timeout, or when the link goes down.

mod answers;
mod later;
mod rename;
mod sources;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hedgerow_proto::{MessageId, Visibility};

use self::later::Later;
use super::retention::Claim;
use super::{Engine, Timer};
use crate::error::EngineError;
use crate::event::{Event, Missing};
use crate::seeded::SeededMap;
use crate::store::{GroupNum, PeerNum, Store};
use crate::time::Time;

/// The time in which guesses are counted, in ms.
const GUESS_MS: u64 = 1_000;

/// How many peers are added at a time that may have a needed message.
const GUESSES: usize = 16;
/// How many sources of a needed message are kept that did not offer it.
const MAX_SOURCES: usize = 64;
/// A peer that does not answer is asked for the same again after so long at most, in ms.
pub(super) const MAX_PAUSE_MS: u64 = 600_000;
/// How many messages that nobody had are looked for again when a peer's log has grown.
const AGAIN: usize = 16;

/// Everything that is wanted.
#[derive(Debug, Clone, Default)]
pub(super) struct Wants {
    map: SeededMap<MessageId, Want>,
    by_group: BTreeMap<GroupNum, SeededMap<MessageId, ()>>,
    /// Needed, and nobody is asked: all that could be said that they do not have it.
    exhausted: BTreeSet<(GroupNum, MessageId)>,
    /// Which of them was looked for again last.
    again_after: Option<(GroupNum, MessageId)>,
    later: Later,
}

#[derive(Debug, Clone)]
struct Want {
    group: GroupNum,
    since: Time,
    /// A held message depends on it.
    needed: bool,
    /// Who may have it, best first, with their position where they offered it.
    sources: VecDeque<(PeerNum, Option<u64>)>,
    asked: Option<PeerNum>,
    /// Whose message depends on it, if it is needed: the first of them.
    origin: Option<PeerNum>,
    /// It was asked for on a guess.
    guessed: bool,
    /// The request stands in a frame.
    said: bool,
    /// It was asked for by its id, not by a position.
    by_id: bool,
    /// Nobody is asked before.
    not_before: Time,
    /// How often it came and there was no room for it, and [`Group::moves`](super::state::Group::moves) the last
    /// time.
    no_room: (u32, u64),
    /// How many times peers were added that may have it.
    round: usize,
    /// How often it was looked for again, and not before when the next time.
    again: (u32, Time),
    timer: Option<Time>,
    reported: bool,
    /// Who was asked, and did not answer in time.
    tried: BTreeMap<PeerNum, Tried>,
    /// What the first peer said that delivered it and holds it no longer.
    claim: Option<Claim>,
}

/// What a peer that was asked for a message left unanswered.
#[derive(Debug, Clone, Copy, Default)]
struct Tried {
    /// How many requests one after the other.
    times: u32,
    /// It is not asked before, unless it answers something else.
    until: Time,
    /// [`Peer::answers`](super::state::Peer::answers) when it was asked last.
    answers: u64,
}

impl Want {
    /// Until when a peer is not asked for it.
    fn rests(&self, peer: PeerNum, answers: u64, now: Time) -> Option<Time> {
        let until = self.tried.get(&peer).filter(|tried| tried.answers == answers)?.until;
        // A clock that was set back does not make it longer than it may be.
        (until > now && until.since(now) <= MAX_PAUSE_MS).then_some(until)
    }

    /// A peer let a request for it time out. The time from one request to the next doubles with each.
    fn note_silence(&mut self, peer: PeerNum, answers: u64, now: Time, timeout_ms: u64) {
        let tried = self.tried.entry(peer).or_default();
        tried.times = if tried.answers == answers { tried.times.saturating_add(1) } else { 1 };
        tried.answers = answers;
        let pause_ms = pause_ms(timeout_ms, tried.times - 1);
        tried.until = now + pause_ms.saturating_sub(timeout_ms);
    }
}

/// How long a peer has for an answer after so many requests for the same in vain, in ms.
pub(super) fn pause_ms(timeout_ms: u64, in_vain: u32) -> u64 {
    timeout_ms.saturating_mul(1 << in_vain.min(16)).min(MAX_PAUSE_MS.max(timeout_ms))
}

impl Wants {
    /// Whether `peer` is the one that was asked.
    pub(super) fn is_asked(&self, id: &MessageId, peer: PeerNum) -> bool {
        self.map.get(id).is_some_and(|want| want.asked == Some(peer))
    }

    /// Whether `peer` was asked, and the request stands in a frame.
    pub(super) fn is_said(&self, id: &MessageId, peer: PeerNum) -> bool {
        self.map.get(id).is_some_and(|want| want.asked == Some(peer) && want.said)
    }

    /// Notes whether the request for a message stands in a frame.
    pub(super) fn set_said(&mut self, id: &MessageId, said: bool) {
        if let Some(want) = self.map.get_mut(id) {
            want.said = said;
        }
    }

    /// The number under which a peer offers a message.
    pub(super) fn number_of(&self, id: &MessageId, peer: PeerNum) -> Option<u64> {
        let mut sources = self.map.get(id)?.sources.iter();
        sources.find(|(source, _)| *source == peer).and_then(|(_, theirs)| *theirs)
    }

    /// The group in which it is awaited, if it is.
    pub(super) fn group_of(&self, id: &MessageId) -> Option<GroupNum> {
        self.map.get(id).map(|want| want.group)
    }

    pub(super) fn of_group(&self, group: GroupNum) -> Vec<MessageId> {
        let mut ids: Vec<_> =
            self.by_group.get(&group).into_iter().flat_map(|ids| ids.keys()).copied().collect();
        ids.sort_unstable();
        ids
    }

    /// Everything that is wanted, in no order.
    pub(super) fn ids(&self) -> impl Iterator<Item = &MessageId> {
        self.map.keys()
    }

    /// How many messages a peer is asked for.
    pub(super) fn asked_of(&self, peer: PeerNum) -> usize {
        self.map.values().filter(|want| want.asked == Some(peer)).count()
    }

    /// What is to be looked at again, and when.
    pub(super) fn timers(&self) -> impl Iterator<Item = (MessageId, Time)> {
        self.map.iter().filter_map(|(&id, want)| Some((id, want.timer?)))
    }

    pub(super) fn missing(&self, group: GroupNum) -> Vec<Missing> {
        let wants = self.of_group(group).into_iter().filter_map(|id| Some((id, self.map.get(&id)?)));
        let needed = wants.filter(|(_, want)| want.needed);
        needed.map(|(id, want)| Missing { id, since: want.since }).collect()
    }
}

impl<S: Store> Engine<S> {
    /// A held message depends on one that is not: ask for it, first whoever sent the message.
    pub(super) fn await_dependency(&mut self, id: MessageId, group: GroupNum, origin: PeerNum) {
        // On a lossy link it is probably just late.
        let links = self.peers.get(&origin).into_iter().flat_map(|peer| peer.links.iter());
        let patience =
            links.filter_map(|link| self.links.get(link)?.lossy.as_ref()).map(|l| l.patience_ms()).max();
        let not_before = self.now + patience.unwrap_or(0);
        self.want_dependency(id, group, Some(origin), self.now, not_before);
    }

    pub(super) fn want_dependency(
        &mut self,
        id: MessageId,
        group: GroupNum,
        first: Option<PeerNum>,
        since: Time,
        not_before: Time,
    ) {
        let want = self.want_mut(id, group, since, not_before);
        if !want.needed {
            want.needed = true;
            want.since = since;
            want.origin = first;
        }
        if let Some(first) = first
            && want.sources.len() < MAX_SOURCES
            && !want.sources.iter().any(|(known, _)| *known == first)
        {
            want.sources.push_back((first, None));
        }
        if want.round == 0 {
            self.add_guesses(id);
        }
        self.dispatch(id);
    }

    /// Adds peers that may have a needed message, since they share its group: some at a time.
    fn add_guesses(&mut self, id: MessageId) {
        let Some(want) = self.wants.map.get(&id).filter(|want| want.needed) else { return };
        let (round, group) = (want.round, want.group);
        let sharing = self.groups.get(&group).into_iter().flat_map(|group| group.peers.iter()).copied();
        let sharing = sharing.filter(|&peer| self.may_serve(peer, group));
        let guesses: Vec<PeerNum> = sharing.skip(round.saturating_mul(GUESSES)).take(GUESSES).collect();
        let Some(want) = self.wants.map.get_mut(&id) else { return };
        want.round += usize::from(!guesses.is_empty());
        for peer in guesses {
            if !want.sources.iter().any(|(known, _)| *known == peer) {
                want.sources.push_back((peer, None));
            }
        }
    }

    /// Adds peers that may have a needed message when none is left that answers.
    fn look_further(&mut self, id: MessageId) {
        let answers = |peer| self.peers.get(&peer).is_some_and(|state| !state.unanswering);
        let want = self.wants.map.get(&id);
        if want.is_some_and(|want| !want.sources.iter().any(|&(peer, _)| answers(peer))) {
            self.add_guesses(id);
        }
    }

    fn want_mut(&mut self, id: MessageId, group: GroupNum, since: Time, not_before: Time) -> &mut Want {
        if !self.wants.map.contains_key(&id) {
            if let Some(stand_in) = self.stand_in_of(group, &id) {
                self.rename_want(&stand_in, id);
            } else if self.shorts.is_stand_in(&id) {
                self.shorts.stand_ins += 1;
            } else {
                self.note_wanted(group, &id);
            }
        }
        let by_group = &mut self.wants.by_group;
        self.wants.map.entry(id).or_insert_with(|| {
            by_group.entry(group).or_default().insert(id, ());
            Want {
                group,
                since,
                needed: false,
                sources: VecDeque::new(),
                asked: None,
                origin: None,
                guessed: false,
                said: false,
                by_id: false,
                not_before,
                no_room: (0, 0),
                round: 0,
                again: (0, not_before),
                timer: None,
                reported: false,
                tried: BTreeMap::new(),
                claim: None,
            }
        })
    }

    /// A peer offers a message that we lack.
    pub(super) fn want_offered(&mut self, id: MessageId, group: GroupNum, peer: PeerNum, theirs: u64) {
        let now = self.now;
        let want = self.want_mut(id, group, now, now);
        want.sources.retain(|(known, _)| *known != peer);
        want.sources.push_back((peer, Some(theirs)));
        if let Some(tried) = want.tried.get_mut(&peer) {
            tried.until = now;
        }
        let asked = want.asked.filter(|&asked| asked != peer);
        let unanswering = |peer| self.peers.get(&peer).is_some_and(|state| state.unanswering);
        if let Some(asked) = asked.filter(|&asked| unanswering(asked) && !unanswering(peer)) {
            // Whoever was asked for lack of a better source does not count as asked once there is one.
            self.answered(asked, group, &id);
            if let Some(want) = self.wants.map.get_mut(&id) {
                want.asked = None;
            }
        }
        self.dispatch(id);
    }

    /// Whether a peer is at hand and sends us messages of a group.
    fn may_serve(&self, peer: PeerNum, group: GroupNum) -> bool {
        let Some(state) = self.peers.get(&peer) else { return false };
        let pair = state.groups.get(&group);
        !state.links.is_empty()
            && pair.is_some_and(|pair| {
                pair.visibility != Visibility::Invisible && pair.session.theirs == Some(Visibility::Shared)
            })
    }

    /// Asks the best source, if nobody was asked yet.
    pub(super) fn dispatch(&mut self, id: MessageId) {
        let Some(want) = self.wants.map.get(&id) else { return };
        let (group, asked, needed) = (want.group, want.asked, want.needed);
        let (not_before, report_at) = (want.not_before, want.since + self.config.missing_report_ms);
        let report_at = (needed && !want.reported).then_some(report_at);
        let report_at = [report_at, self.horizon_at(want)].into_iter().flatten().min();
        if asked.is_some() {
            return;
        }
        if not_before > self.now {
            // If there was no room for it, that may change before.
            let (times, moves) = want.no_room;
            let moved = times > 0 && self.groups.get(&group).is_some_and(|g| g.moves != moves);
            let look = self.now + self.config.request_timeout_ms.max(1);
            let at = if times > 0 { not_before.min(look) } else { not_before };
            if !moved {
                self.set_want_timer(id, Some(at.min(report_at.unwrap_or(at))));
                return;
            }
        }
        let serving = || want.sources.iter().copied().filter(|&(peer, _)| self.may_serve(peer, group));
        let has_room = |peer| self.peers.get(&peer).is_some_and(|s| s.requested < self.config.max_requests);
        let answers = |peer| self.peers.get(&peer).is_some_and(|state| !state.unanswering);
        let origin = want.origin;
        // A peer may have what it neither offered nor built upon: that is a guess, and whoever makes us look for what
        // does not exist must not fill everybody else's links with guesses.
        let is_guess = |peer, theirs: Option<u64>| theirs.is_none() && origin != Some(peer);
        let may_guess = |peer| self.peers.get(&peer).is_some_and(|s| s.guesses < self.config.max_guesses);
        let now = self.now;
        let rests = |peer| want.rests(peer, self.peers.get(&peer).map_or(0, |state| state.answers), now);
        let mut open = serving().filter(|&(peer, theirs)| {
            has_room(peer) && (!is_guess(peer, theirs) || may_guess(peer)) && rests(peer).is_none()
        });
        let first = open.clone().find(|&(peer, _)| answers(peer)).or_else(|| open.next());
        let Some((peer, theirs)) = first else {
            let serving: Vec<(PeerNum, Option<u64>)> = serving().collect();
            let resting: Vec<Option<Time>> = serving.iter().map(|&(peer, _)| rests(peer)).collect();
            if needed && serving.is_empty() && !self.is_claimed(&id) {
                self.wants.exhausted.insert((group, id));
            }
            let report_at = resting.iter().flatten().copied().chain(report_at).min();
            for ((peer, theirs), rests) in serving.into_iter().zip(resting) {
                let Some(state) = self.peers.get_mut(&peer) else { continue };
                if rests.is_some() {
                    state.resting.insert(id);
                } else if theirs.is_none() && origin != Some(peer) {
                    state.guess_waiting.insert((origin, id));
                } else {
                    state.waiting.insert(id);
                }
            }
            self.set_want_timer(id, report_at);
            return;
        };
        self.wants.exhausted.remove(&(group, id));
        if let Some(want) = self.wants.map.get_mut(&id) {
            want.asked = Some(peer);
            want.said = false;
            want.by_id = theirs.is_none();
            want.guessed = theirs.is_none() && origin != Some(peer);
            if want.guessed
                && let Some(state) = self.peers.get_mut(&peer)
            {
                state.guesses += 1;
                if state.guesses == 1 {
                    self.timers.insert((self.now + GUESS_MS, Timer::Guess(peer)));
                }
            }
        }
        if let Some(state) = self.peers.get_mut(&peer) {
            state.requested += 1;
            if let Some(pair) = state.groups.get_mut(&group) {
                pair.session.to_request.push_back_with(id, theirs);
            }
        }
        let deadline = self.now + self.config.request_timeout_ms.max(1);
        self.set_want_timer(id, Some(report_at.map_or(deadline, |at| at.min(deadline))));
        self.wake(peer, group);
    }

    fn set_want_timer(&mut self, id: MessageId, at: Option<Time>) {
        let Some(want) = self.wants.map.get_mut(&id) else { return };
        let before = std::mem::replace(&mut want.timer, at);
        if before != at {
            before.map(|before| self.timers.remove(&(before, Timer::Want(id))));
            at.map(|at| self.timers.insert((at, Timer::Want(id))));
        }
    }

    /// When an awaited message may be taken as a gap: a peer said that it is gone, and nobody is left to ask.
    fn horizon_at(&self, want: &Want) -> Option<Time> {
        let claim = want.claim.filter(|_| want.needed && self.takes_gaps())?;
        let is_open = |peer: PeerNum| self.may_serve(peer, want.group) && !want.tried.contains_key(&peer);
        let open = want.sources.iter().map(|(peer, _)| *peer).chain(want.asked).any(is_open);
        (!open).then(|| claim.at + self.config.horizon_patience_ms)
    }

    /// Notes that a peer delivered an awaited message and holds it no longer; false if another one said otherwise.
    pub(super) fn note_claim(&mut self, id: &MessageId, group: GroupNum, claim: Claim) -> bool {
        let Some(want) = self.wants.map.get_mut(id).filter(|want| want.group == group) else { return false };
        let first = want.claim.get_or_insert(claim);
        (first.eff_ms, first.height) == (claim.eff_ms, claim.height)
    }

    /// A request was not answered in time, a wait is over, a gap is to be reported, or to be taken.
    pub(super) fn want_timeout(&mut self, id: MessageId, now: Time) -> Result<(), EngineError> {
        let report_ms = self.config.missing_report_ms;
        let Some(want) = self.wants.map.get_mut(&id) else { return Ok(()) };
        want.timer = None;
        let Some(want) = self.wants.map.get(&id) else { return Ok(()) };
        if self.horizon_at(want).is_some_and(|at| at <= now)
            && let Some(claim) = self.wants.map.get_mut(&id).and_then(|want| want.claim.take())
        {
            self.accept_gap(id, claim)?;
        }
        let Some(want) = self.wants.map.get_mut(&id) else { return Ok(()) };
        let group_num = want.group;
        if want.needed && !want.reported && now >= want.since + report_ms {
            want.reported = true;
            let since = want.since;
            if let Some(group) = self.groups.get(&group_num) {
                self.events.push_back(Event::Missing { group: group.id, id, since });
            }
        }
        let Some(want) = self.wants.map.get_mut(&id) else { return Ok(()) };
        if let Some(peer) = want.asked {
            let answers = self.peers.get(&peer).map_or(0, |state| state.answers);
            if want.said {
                want.note_silence(peer, answers, now, self.config.request_timeout_ms.max(1));
            } else {
                // It never heard the question.
                want.tried.entry(peer).or_default();
            }
            // Whoever did not answer is asked again after everybody else, whatever it offers.
            if let Some(state) = self.peers.get_mut(&peer) {
                state.unanswering = true;
            }
            if let Some(at) = want.sources.iter().position(|(source, _)| *source == peer)
                && let Some(source) = want.sources.remove(at)
            {
                want.sources.push_back(source);
            }
            // Others that wait have their turn first.
            self.answered(peer, group_num, &id);
            if let Some(want) = self.wants.map.get_mut(&id) {
                want.asked = None;
            }
            if self.is_mute(peer, group_num) {
                self.unanswered_by_id(id, peer);
                return Ok(());
            }
            self.look_further(id);
        }
        self.dispatch(id);
        Ok(())
    }
}
