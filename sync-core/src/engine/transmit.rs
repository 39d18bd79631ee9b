//! Frames are made when a carrier asks for one: acknowledgements first, then answers to requests, then requests,
//! then messages and offers, the groups taking turns.

mod answers;
mod due;
mod items;
mod news;

use bytes::Bytes;
use hedgerow_proto::{
    Announce, Ephemeral, Frame, GroupRef, Hello, Reconcile, Span, Summary, Visibility, limits,
};

use super::lossy::{Item, Lossy};
use super::state::Link;
use super::{Engine, LinkId, Timer};
use crate::config::Direction;
use crate::error::EngineError;
use crate::store::{GroupNum, PeerNum, Store};
use crate::time::Time;

/// What a frame itself takes at most beside acknowledgements of frames: its number and the rest, in bytes.
const FRAME_OVERHEAD: usize = 24;
/// What any record takes at most beside its spans, ids and bodies, in bytes.
pub(super) const RECORD_OVERHEAD: usize = 48;
/// What the count and the sample of a group take at most, in bytes.
const SUMMARY_SIZE: usize = 32;
/// Room for the first symbols of some groups, in bytes.
const SYMBOLS_ROOM: usize = 16_384;
/// What one span takes at most, in bytes.
pub(super) const SPAN_SIZE: usize = 20;
/// What one id takes at most, in bytes, with the room that its position takes.
pub(super) const ID_SIZE: usize = 32 + SPAN_SIZE;
/// What one short id takes at most, in bytes, with the room that its position takes.
const SHORT_ID_SIZE: usize = 8 + SPAN_SIZE;
/// What one tombstone takes at most, in bytes.
const TOMBSTONE_SIZE: usize = 60;
/// How many groups are looked at for one frame.
const GROUPS_PER_FRAME: usize = 256;
/// What a group may put into a frame before the next one has its turn, in bytes, at least.
const LEAST_TURN: usize = 2048;

/// How many bytes of frame acknowledgements a frame of a lossy link holds at most.
fn ack_room(max_frame: usize) -> usize {
    (max_frame / 16).clamp(64, 512)
}

/// A frame in the making.
pub(super) struct Draft {
    frame: Frame,
    items: Vec<Item>,
    room: usize,
    /// There is something in it besides acknowledgements of frames.
    filled: bool,
}

impl Draft {
    pub(super) fn room(&self) -> usize {
        self.room
    }

    /// Puts in a record for which room was taken.
    pub(super) fn say(&mut self, record: Reconcile) {
        self.frame.reconciles.push(record);
    }

    /// Takes `size` bytes of the room, if they are there.
    pub(super) fn take(&mut self, size: usize) -> bool {
        let fits = size <= self.room;
        if fits {
            self.room -= size;
            self.filled = true;
        }
        fits
    }
}

impl Link {
    /// What a frame of this link takes for itself, in bytes.
    fn overhead(&self) -> usize {
        if self.lossy.is_some() { FRAME_OVERHEAD + ack_room(self.max_frame) } else { FRAME_OVERHEAD }
    }

    /// The longest record that a frame of this link can hold, in bytes.
    fn record_room(&self) -> usize {
        self.max_frame.saturating_sub(RECORD_OVERHEAD + self.overhead())
    }
}

impl<S: Store> Engine<S> {
    /// The next frame for a link, of at most `max_bytes`; `None` when there is nothing to say, or nothing that
    /// fits, or the link is not up. What was fed before is committed first.
    ///
    /// # Errors
    /// When the store fails.
    pub fn poll_transmit(
        &mut self,
        id: LinkId,
        now: Time,
        max_bytes: usize,
    ) -> Result<Option<Bytes>, EngineError> {
        self.now = now;
        // What expired since the last input does not go out any more.
        let result = self.usable().and_then(|()| self.expire());
        self.guard(result)?;
        self.commit()?;
        let result = self.make_frame(id, max_bytes);
        self.guard(result)
    }

    fn make_frame(&mut self, id: LinkId, max_bytes: usize) -> Result<Option<Bytes>, EngineError> {
        let sends = |link: &&Link| link.profile.direction != Direction::In;
        let Some(link) = self.links.get(&id).filter(sends) else { return Ok(None) };
        let overhead = link.overhead();
        let Some(room) = link.frame_room(max_bytes).checked_sub(overhead) else { return Ok(None) };
        let mut draft = Draft { frame: Frame::default(), items: Vec::new(), room, filled: false };
        if link.caps.sessions {
            self.say_again(id);
            self.put_hello(id, &mut draft);
            self.sample_announced(id)?;
            self.put_steps(id, &mut draft);
            self.put_announces(id, &mut draft);
        }
        let Some(link) = self.links.get_mut(&id) else { return Ok(None) };
        if link.opening_due {
            // The codec writes it, be there anything else to say or not.
            link.opening_due = !draft.take(RECORD_OVERHEAD);
        }
        if link.is_ready() && !link.opening_due {
            let names = draft.items.len();
            self.put_unknown(id, &mut draft);
            self.put_ephemerals(id, &mut draft);
            self.put_records(id, &mut draft)?;
            if let Some(link) = self.links.get_mut(&id) {
                link.names_in_vain |= names > 0 && draft.items.len() == names;
            }
        }
        self.finish(id, draft, max_bytes)
    }

    /// Numbers the frame where frames are numbered, and writes it.
    fn finish(
        &mut self,
        id: LinkId,
        mut draft: Draft,
        max_bytes: usize,
    ) -> Result<Option<Bytes>, EngineError> {
        let now = self.now;
        let Some(link) = self.links.get_mut(&id) else { return Ok(None) };
        if let Some(lossy) = &mut link.lossy {
            let ping = !draft.filled && lossy.pings_due > 0;
            if !draft.filled && !ping && lossy.acks_due == 0 {
                return Ok(None);
            }
            draft.frame.ping = ping;
            draft.frame.ack_delay_ms = lossy.ack_delay_ms(now);
            draft.frame.frame_acks = lossy.acks(ack_room(link.max_frame));
            if draft.filled || ping {
                lossy.pings_due = lossy.pings_due.saturating_sub(1);
                draft.frame.number = Some(lossy.send(draft.items, now));
            }
            lossy.acks_due = lossy.acks_due.saturating_sub(1);
        } else if !draft.filled {
            return Ok(None);
        }
        let mut bytes = Vec::with_capacity(1024);
        link.codec.encode(&draft.frame, &mut bytes)?;
        debug_assert!(bytes.len() <= link.frame_room(max_bytes), "a frame of {} bytes", bytes.len());
        link.traffic.frames_out += 1;
        link.traffic.bytes_out += bytes.len() as u64;
        self.arm_link(id);
        self.arm_resend(id);
        Ok(Some(bytes.into()))
    }

    fn put_hello(&mut self, id: LinkId, draft: &mut Draft) {
        let (install, config) = (self.install, &self.config);
        let Some(link) = self.links.get_mut(&id) else { return };
        // Nothing else is heard before HELLO, so that it goes with every probe until it has arrived.
        let probing = !link.hello_arrived && link.lossy.as_ref().is_some_and(Lossy::says_again);
        if !(link.hello_due || probing) || !draft.take(RECORD_OVERHEAD + limits::NONCE_LEN) {
            return;
        }
        link.hello_due = false;
        let max_frame = config.max_frame.min(link.profile.max_frame);
        draft.frame.hello = Some(Hello {
            major: limits::MAJOR,
            minor: limits::MINOR,
            nonce: link.nonce,
            install,
            max_frame: u32::try_from(max_frame).unwrap_or(u32::MAX),
            max_offers: config.max_offers,
        });
        draft.items.push(Item::Hello);
    }

    /// Groups in step, and answers to what the peer said of such.
    fn put_steps(&mut self, id: LinkId, draft: &mut Draft) {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.hello_due && link.lossy.is_none())
        else {
            return;
        };
        if link.is_ready() && link.steps.has_answers() {
            let most = draft.room.saturating_sub(RECORD_OVERHEAD) / SPAN_SIZE;
            let (matched, unmatched) = link.steps.take_answers(most);
            let spans = matched.len() + unmatched.len();
            if spans > 0 {
                draft.take(RECORD_OVERHEAD + spans * SPAN_SIZE);
                (draft.frame.matched, draft.frame.unmatched) = (matched, unmatched);
            }
        }
        let most = draft.room.saturating_sub(RECORD_OVERHEAD) / limits::STEP_LEN;
        if most > 0
            && let Some(in_step) = self.say_in_step(id, most)
        {
            draft.take(RECORD_OVERHEAD + in_step.values.len() * limits::STEP_LEN);
            draft.frame.in_step = Some(in_step);
        }
        self.announce_urgent(id);
    }

    fn put_announces(&mut self, id: LinkId, draft: &mut Draft) {
        let least = self.config.reconcile_from;
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.hello_due {
            return;
        }
        while let Some(&(number, tag)) = link.farewells.front() {
            if !draft.take(RECORD_OVERHEAD) {
                return;
            }
            link.farewells.pop_front();
            draft.items.push(Item::Farewell(number, tag));
            draft.frame.announces.push(Announce {
                number,
                tag,
                visibility: Visibility::Invisible,
                held: Vec::new(),
                mark: 0,
                mark_chain: 0,
                reset: 0,
                summary: None,
            });
        }
        while let Some(&group_num) = link.announce_due.first().or_else(|| link.announce_again.first()) {
            let again = !link.announce_due.contains(&group_num);
            let pair = self.peers.get(&link.peer).and_then(|peer| peer.groups.get(&group_num));
            let (Some(group), Some(pair)) = (self.groups.get(&group_num), pair) else {
                link.announce_due.remove(&group_num);
                link.announce_again.remove(&group_num);
                continue;
            };
            let held: Vec<Span> = pair.got.spans().collect();
            // Who knows the peer's log needs no other way to find out what they differ by.
            let unknown = pair.mark == 0 || link.ours.get(&group_num).is_some_and(|name| name.reset);
            let shared = pair.visibility == Visibility::Shared && link.lossy.is_none();
            // Symbols in the same frame say more.
            let unknown = unknown
                && !(self.reconciles.contains_key(&(link.peer, group_num)) && draft.room >= SYMBOLS_ROOM);
            let summary = group.sample.filter(|_| unknown && shared && group.head > least).map(|sample| {
                let mask = Announce::mask_of(&link.nonce, group.id);
                Summary { count: group.head, sample: sample.0 ^ mask }
            });
            let size = RECORD_OVERHEAD + if summary.is_some() { SUMMARY_SIZE } else { 0 };
            // Too many spans for one frame: the lowest matter most, and the rest is offered and acknowledged.
            let most = (draft.room.saturating_sub(size) / SPAN_SIZE).min(held.len());
            let whole = most == held.len() || draft.room >= link.max_frame / 2;
            if !whole || !draft.take(size + most * SPAN_SIZE) {
                return;
            }
            link.announce_due.remove(&group_num);
            link.announce_again.remove(&group_num);
            let frame = link.lossy.as_ref().map(Lossy::next_number);
            let name = link.ours.or_default(group_num);
            if name.number == 0 {
                name.number = link.next_number;
                link.next_number = link.next_number.saturating_add(1);
            }
            let reset = name.reset;
            if let Some(frame) = frame {
                name.frame = frame;
                name.since = if again { name.since } else { frame };
            } else {
                name.usable = true;
                name.reset = false;
                link.steps.forget(name.number);
            }
            let since = name.since;
            draft.frame.announces.push(Announce {
                number: name.number,
                tag: Announce::tag_of(&link.nonce, group.id),
                visibility: pair.visibility,
                held: held.into_iter().take(most).collect(),
                mark: pair.mark,
                mark_chain: pair.mark_chain,
                reset: pair.session.voided,
                summary,
            });
            draft.items.push(Item::Announce { group: group_num, number: name.number, reset, since });
            link.mark(group_num);
        }
    }

    fn put_ephemerals(&mut self, id: LinkId, draft: &mut Draft) {
        let Some(link) = self.links.get_mut(&id) else { return };
        while let Some((group, timestamp_ms, body)) = link.ephemerals.pop_front() {
            let Some(name) = link.name_of(group) else { continue };
            if !draft.take(RECORD_OVERHEAD + body.len()) {
                // It fits into the next frame, or through no frame at all.
                if body.len() + RECORD_OVERHEAD + link.overhead() < link.max_frame {
                    link.ephemerals.push_front((group, timestamp_ms, body));
                    return;
                }
                continue;
            }
            draft.frame.ephemerals.push(Ephemeral { group: name, timestamp_ms, body });
        }
    }

    /// Everything about groups. A group stays in line until it has nothing to say.
    fn put_records(&mut self, id: LinkId, draft: &mut Draft) -> Result<(), EngineError> {
        let mut left = self.links.get(&id).map_or(0, |link| link.ready.len());
        while left > 0 && self.put_turn(id, draft)? {
            // All of these only wait; somebody behind them may have something to say.
            left = left.saturating_sub(GROUPS_PER_FRAME);
        }
        Ok(())
    }

    /// The next groups in line; true if others may try.
    fn put_turn(&mut self, id: LinkId, draft: &mut Draft) -> Result<bool, EngineError> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(false) };
        let peer = link.peer;
        let can_send = link.lossy.as_ref().is_none_or(Lossy::has_room);
        let count = link.ready.len().min(GROUPS_PER_FRAME);
        // With how much of the frame each of them got.
        let named = |&group: &GroupNum| Some((group, link.name_of(group)?, 0));
        let mut turn: Vec<(GroupNum, GroupRef, usize)> =
            link.ready.iter().take(count).filter_map(named).collect();
        // Groups without a name that can be used have to wait; they are marked again when they get one.
        let waiting: Vec<GroupNum> = link.ready.drain(..count).collect();
        for group in &waiting {
            link.ready_set.remove(group);
        }
        let turns = turn.len().max(1);
        if can_send {
            // Most are in line because something came of which nothing is to be said to this peer.
            turn.retain(|&(group, ..)| self.has_turn(id, peer, group));
        }
        let mut more = Vec::new();
        if can_send {
            for &(group, name, _) in &turn {
                self.put_reconcile(id, peer, group, name, draft)?;
            }
            for &(group, name, _) in &turn {
                self.put_acks(id, peer, group, name, draft)?;
            }
            for (group, name, served) in &mut turn {
                let (group, name) = (*group, *name);
                let before = draft.room;
                self.put_answers(id, peer, group, name, draft)?;
                *served += before - draft.room;
                // What turned out not to be there is said at once: there may be no other frame for long.
                self.put_unavailable(id, peer, group, name, draft)?;
            }
            for &(group, name, _) in &turn {
                self.put_requests(id, peer, group, name, draft)?;
            }
            let share = (draft.room / turns).max(LEAST_TURN);
            for (group, name, served) in &mut turn {
                let (group, name) = (*group, *name);
                let before = draft.room;
                self.put_news(id, peer, group, name, draft, share)?;
                *served += before - draft.room;
            }
        }
        for (group, _, served) in turn {
            self.await_allowance(id, peer, group);
            if !can_send || self.has_more(id, peer, group) {
                more.push((served, group));
            }
        }
        // Whoever got little of this frame has its turn first in the next one.
        more.sort_by_key(|(served, _)| *served);
        if let Some(link) = self.links.get_mut(&id) {
            for (_, group) in more {
                link.mark(group);
            }
        }
        Ok(can_send && !draft.filled)
    }

    /// Whether anything can come of a group's turn: a record, or a look at what may be due.
    fn has_turn(&self, id: LinkId, peer: PeerNum, group: GroupNum) -> bool {
        let pair = self.peers.get(&peer).and_then(|state| state.groups.get(&group));
        pair.is_none_or(|pair| !pair.session.again.is_empty())
            || self.has_due_unasked(group)
            || self.has_more(id, peer, group)
    }

    /// Whether a group has something to say to a peer still. What waits for room on the link counts, and so does what
    /// has to be looked at.
    fn has_more(&self, id: LinkId, peer: PeerNum, group_num: GroupNum) -> bool {
        let Some(group) = self.groups.get(&group_num) else { return false };
        let Some(pair) = self.peers.get(&peer).and_then(|state| state.groups.get(&group_num)) else {
            return false;
        };
        let Some(link) = self.links.get(&id) else { return false };
        let session = &pair.session;
        let wider = !session.too_large.is_empty() && session.least_large <= link.record_room();
        let sends = pair.visibility == Visibility::Shared
            && session.theirs.is_some_and(|theirs| theirs != Visibility::Invisible)
            && (session.next <= group.head || !session.again.is_empty() || wider);
        sends || self.owes(id, peer, group_num)
    }

    /// Whether a group has something to say to a peer, for all that is known without making a frame.
    pub(super) fn speaks(&self, id: LinkId, peer: PeerNum, group: GroupNum) -> bool {
        self.has_urgent(peer, group) || self.owes(id, peer, group)
    }

    /// Whether there is something to say to a peer beside what it lacks.
    fn owes(&self, id: LinkId, peer: PeerNum, group_num: GroupNum) -> bool {
        let Some(pair) = self.peers.get(&peer).and_then(|state| state.groups.get(&group_num)) else {
            return false;
        };
        let session = &pair.session;
        let owes = session.reconcile_stop
            || self.has_reconcile(id, peer, group_num)
            || !session.acks.is_empty()
            || !session.ack_ids.is_empty()
            || !session.asked.is_empty()
            || !session.asked_ids.is_empty()
            || !session.unavailable.is_empty()
            || !session.unavailable_ids.is_empty()
            || !session.to_request.is_empty()
            || self.call_back_quota(peer, group_num) > 0
            || self.turned_ids_quota(peer, group_num) > 0;
        let Some(link) = self.links.get(&id) else { return false };
        let room = link.record_room();
        owes || session.asked_large.first().is_some_and(|&(size, _)| size <= room)
    }

    /// Sets the timer of a lossy link.
    pub(super) fn arm_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(lossy) = &mut link.lossy else { return };
        let at = lossy.timeout();
        if lossy.armed != at {
            if let Some(before) = lossy.armed {
                self.timers.remove(&(before, Timer::Link(id)));
            }
            if let Some(at) = at {
                self.timers.insert((at, Timer::Link(id)));
            }
            lossy.armed = at;
        }
    }

    pub(super) fn link_timeout(&mut self, id: LinkId, now: Time) {
        self.resend_timeout(id, now);
        let Some(lossy) = self.links.get_mut(&id).and_then(|link| link.lossy.as_mut()) else { return };
        lossy.armed = None;
        let lost = lossy.handle_timeout(now);
        self.items_lost(id, lost);
        self.arm_link(id);
        self.wake_link(id);
    }
}
