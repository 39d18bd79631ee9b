//! Links come and go: HELLO, ANNOUNCE, and what is outstanding when a link ends.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hedgerow_proto::{Announce, Capabilities, Hello, PeerId, Span, Visibility, limits};
use rand::Rng as _;

use super::idqueue::IdQueue;
use super::in_step::Steps;
use super::lossy::Lossy;
use super::resend::Resend;
use super::state::{Link, PeerGroup, Sent};
use super::{Engine, LinkId, Taken, Timer};
use crate::config::{Direction, LinkProfile};
use crate::error::{EngineError, Rule};
use crate::event::{Event, Traffic};
use crate::small::{SmallMap, SmallSet};
use crate::spanset::SpanSet;
use crate::store::{GroupNum, PeerNum, PeerRow, Store};
use crate::time::Time;

/// An announcement with more spans than this is kept without them; what they say is found out by offers.
const MAX_KEPT_SPANS: usize = 16;

impl<S: Store> Engine<S> {
    /// A carrier to a peer, whose key the carrier has proven, is ready for frames. A peer may have several links
    /// at once; what is due goes over whichever asks first.
    ///
    /// # Errors
    /// When the carrier takes too small frames, the peer has as many links as it may have, or the store fails.
    pub fn link_up(&mut self, peer: PeerId, profile: LinkProfile, now: Time) -> Result<LinkId, EngineError> {
        self.usable()?;
        self.now = now;
        if profile.max_frame < limits::MIN_MAX_FRAME {
            return Err(EngineError::FrameTooSmall {
                found: profile.max_frame,
                least: limits::MIN_MAX_FRAME,
            });
        }
        let peer_num = self.peer_num(peer)?;
        let most = self.config.max_links;
        if self.peers.get(&peer_num).is_some_and(|state| state.links.len() >= most) {
            return Err(EngineError::TooManyLinks { peer, most });
        }
        let codec = profile.dialect.codec();
        let caps: Capabilities = codec.capabilities();
        let scheme = profile.dialect.id_scheme();
        if caps.sessions && profile.direction != Direction::Both {
            return Err(EngineError::OneWaySessions);
        }
        let mixed = |link: &Link| link.scheme == scheme && link.caps.sessions != caps.sessions;
        if self.links.values().any(|link| link.peer == peer_num && mixed(link)) {
            return Err(EngineError::MixedLinks { peer });
        }
        self.last_link += 1;
        let id = LinkId(self.last_link);
        let mut nonce = [0; limits::NONCE_LEN];
        self.rng.fill_bytes(&mut nonce);
        let lossy = (!profile.reliable && caps.frame_numbers)
            .then(|| Lossy::new(profile.round_trip_ms, self.config.max_probe_ms));
        let resend = (!profile.reliable && !caps.frame_numbers)
            .then(|| Resend::new(profile.round_trip_ms, self.config.max_resend_ms));
        let max_frame = profile.max_frame.min(self.config.max_frame).min(limits::MAX_FRAME);
        let Some(state) = self.peers.get_mut(&peer_num) else { return Err(EngineError::TooMany("peers")) };
        let met = state.install.is_some();
        state.links.insert(id);
        let groups = &self.groups;
        let carries = |group: &GroupNum| groups.get(group).is_some_and(|group| group.scheme == scheme);
        let visible = state.groups.iter().filter(|(_, pair)| pair.visibility != Visibility::Invisible);
        let visible = visible.filter(|(group, _)| caps.sessions && carries(group));
        let announce_due: BTreeSet<GroupNum> = visible.map(|(&group, _)| group).collect();
        let voided: Vec<GroupNum> = state
            .groups
            .iter()
            .filter(|(_, pair)| pair.session.voided != 0)
            .map(|(&group, _)| group)
            .collect();
        self.links.insert(
            id,
            Link {
                peer: peer_num,
                profile,
                codec,
                caps,
                scheme,
                opening_due: caps.opening,
                carried: SmallMap::new(),
                unavailable_ids: IdQueue::default(),
                nonce,
                since: now,
                hello_due: caps.sessions,
                hello_arrived: false,
                hello: None,
                max_frame,
                max_offers: if caps.sessions { 0 } else { caps.max_offers },
                ours: SmallMap::new(),
                next_number: 1,
                reconciles: 0,
                announce_due,
                announce_again: BTreeSet::new(),
                names_in_vain: false,
                steps: Steps::new(met),
                farewells: VecDeque::new(),
                theirs: SmallMap::new(),
                resets: SmallMap::new(),
                left: BTreeMap::new(),
                stances: BTreeMap::new(),
                tags: BTreeMap::new(),
                announced: BTreeMap::new(),
                ready: VecDeque::new(),
                ready_set: SmallSet::new(),
                refs: SmallMap::new(),
                acked: SmallMap::new(),
                large_told: BTreeSet::new(),
                ephemerals: VecDeque::new(),
                in_flight_bytes: 0,
                open_offers: 0,
                lossy,
                resend,
                queued: false,
                traffic: Traffic::default(),
            },
        );
        if let Some(link) = self.links.get_mut(&id) {
            voided.into_iter().for_each(|group| link.void(group));
        }
        if !caps.sessions {
            self.open_without_session(id);
        }
        self.wake_link(id);
        tracing::debug!(link = id.0, peer = %peer.short(), %now, "link up");
        Ok(id)
    }

    /// A carrier ended. What was under way on it is due again. Nothing happens if the link is not up.
    pub fn link_down(&mut self, id: LinkId, now: Time) {
        self.keep_paid(id);
        let unsettled = self.links.get_mut(&id).and_then(|link| link.lossy.as_mut()).map(Lossy::take_all);
        self.items_lost(id, unsettled.unwrap_or_default());
        let Some(link) = self.links.remove(&id) else { return };
        self.traffic += link.traffic;
        let armed =
            link.lossy.and_then(|lossy| lossy.armed).or(link.resend.and_then(|resend| resend.armed()));
        if let Some(at) = armed {
            self.timers.remove(&(at, Timer::Link(id)));
        }
        self.end_reconciles_of(link.peer, id);
        let Some(peer) = self.peers.get_mut(&link.peer) else { return };
        peer.links.remove(&id);
        let last = peer.links.is_empty();
        let groups: Vec<GroupNum> = peer.groups.keys().copied().collect();
        for &group in &groups {
            let Some(pair) = peer.groups.get_mut(&group) else { continue };
            let lost: Vec<u64> =
                pair.session.in_flight.iter().filter(|(_, sent)| sent.link == id).map(|(&p, _)| p).collect();
            for position in lost {
                pair.session.in_flight.remove(&position);
                pair.session.again.insert(position);
            }
            pair.session.call_back_again();
            // What was said there may not have arrived.
            pair.session.told = 0;
            // Acknowledgements of what came over other links may have died with this one.
            let acked = link.acked.get(&group).into_iter().flat_map(SpanSet::spans);
            acked.for_each(|span| pair.session.acks.insert_span(span));
        }
        if last {
            for &group in &groups {
                self.end_session(link.peer, group);
            }
        }
        for &group in link.stances.keys() {
            self.renew_stance(link.peer, group);
        }
        for group in groups {
            // A row that was put off is written now, with the next commit.
            if self.pair_mut(link.peer, group).is_some_and(|pair| pair.unsaved > 0) {
                if let Some(pair) = self.pair_mut(link.peer, group) {
                    pair.unsaved = usize::MAX / 2;
                }
                self.changed_pairs.insert((link.peer, group));
            }
            self.wake(link.peer, group);
        }
        self.retry_wants_of(link.peer, now);
    }

    /// Forgets what is outstanding with a peer in a group; what is owed is stated anew at the next contact.
    fn end_session(&mut self, peer: PeerNum, group: GroupNum) {
        self.drop_sources(peer, group);
        self.end_reconcile(peer, group);
        if let Some(pair) = self.pair_mut(peer, group) {
            let lacks = pair.session.lacks;
            pair.session = super::state::Session { lacks, ..Default::default() };
        }
    }

    /// A group is no longer to be spoken of with a peer.
    pub(super) fn leave_group(&mut self, peer: PeerNum, group: GroupNum) {
        let Some(state) = self.peers.get(&peer) else { return };
        let links: Vec<LinkId> = state.links.iter().copied().collect();
        self.void_in_flight(peer, group, |_| true);
        self.end_session(peer, group);
        let Some(group_id) = self.groups.get(&group).map(|g| g.id) else { return };
        for id in links {
            let Some(link) = self.links.get_mut(&id) else { continue };
            // Should the group be shared again, it gets another name, by which the peer knows that we were away.
            if let Some(name) = link.ours.remove(&group).filter(|name| name.number > 0) {
                link.farewells.push_back((name.number, Announce::tag_of(&link.nonce, group_id)));
            }
            link.announce_due.remove(&group);
            link.announce_again.remove(&group);
            link.carried.remove(&group);
            link.refs.remove(&group);
            link.resets.remove(&group);
            link.stances.remove(&group);
            self.wake_link(id);
        }
    }

    /// Takes up a change of our side of the sharing on running links.
    pub(super) fn visibility_changed(
        &mut self,
        peer: PeerNum,
        group: GroupNum,
        visibility: Visibility,
    ) -> Result<(), EngineError> {
        if visibility == Visibility::Invisible {
            self.leave_group(peer, group);
            for link in self.links.values_mut().filter(|link| link.peer == peer) {
                link.tags.retain(|_, tagged| *tagged != group);
                for named in link.theirs.values_mut().filter(|named| **named == Some(group)) {
                    *named = None;
                }
            }
            return Ok(());
        }
        if visibility != Visibility::Shared {
            self.give_up_reconcile(peer, group, true);
        }
        let Some((id, scheme)) = self.groups.get(&group).map(|g| (g.id, g.scheme)) else { return Ok(()) };
        let links: Vec<LinkId> =
            self.peers.get(&peer).map(|state| state.links.iter().copied().collect()).unwrap_or_default();
        for link_id in links {
            let Some(link) = self.links.get_mut(&link_id) else { continue };
            if link.scheme != scheme {
                continue;
            }
            if !link.caps.sessions {
                self.carry(link_id, group);
                continue;
            }
            link.announce_due.insert(group);
            if link.left.contains_key(&id) && !link.ours.contains_key(&group) {
                self.void_log(link_id, peer, group);
            }
            let Some(link) = self.links.get_mut(&link_id) else { continue };
            if let Some(hello) = &link.hello {
                let tag = Announce::tag_of(&hello.nonce, id);
                link.tags.insert(tag, group);
                if let Some((frame, announce)) = link.announced.get(&tag).cloned() {
                    // It counted against the limits when it came.
                    let _within_limits = self.take_announce(link_id, announce, frame)?;
                }
            }
            self.wake_link(link_id);
            self.wake(peer, group);
        }
        Ok(())
    }

    /// Takes the peer's HELLO.
    pub(super) fn take_hello(&mut self, id: LinkId, hello: Hello) -> Taken {
        let Some(link) = self.links.get_mut(&id) else { return Ok(Ok(())) };
        if let Some(known) = &link.hello {
            return Ok(if *known == hello { Ok(()) } else { Err(Rule::SecondHello) });
        }
        if hello.major != limits::MAJOR {
            return Ok(Err(Rule::Version { found: hello.major, ours: limits::MAJOR }));
        }
        let their_frame = usize::try_from(hello.max_frame).unwrap_or(usize::MAX);
        if their_frame < limits::MIN_MAX_FRAME {
            return Ok(Err(Rule::BadHello("frames of less than 256 bytes hold no records")));
        }
        link.max_frame = link.max_frame.min(their_frame);
        link.max_offers = usize::try_from(hello.max_offers.min(self.config.max_offers)).unwrap_or(0);
        let (nonce, install) = (hello.nonce, hello.install);
        link.hello = Some(hello);
        let peer_num = link.peer;
        let Some(peer) = self.peers.get_mut(&peer_num) else { return Ok(Ok(())) };
        peer.session += 1;
        if peer.install != Some(install) {
            // A new store at the other end: what it held, and what its positions meant, is void.
            let known = peer.install.replace(install).is_some();
            let id = peer.id;
            if known {
                for (&group, pair) in peer.groups.iter_mut() {
                    pair.has.clear();
                    pair.settled_to = 0;
                    pair.got.clear();
                    pair.mark = 0;
                    pair.mark_chain = 0;
                    self.changed_pairs.insert((peer_num, group));
                }
                // So is what is outstanding with the store before it, on links that are not known to be dead yet.
                let groups: Vec<GroupNum> = peer.groups.keys().copied().collect();
                for &group in &groups {
                    self.void_in_flight(peer_num, group, |_| true);
                    self.end_session(peer_num, group);
                }
                for link in self.links.values_mut().filter(|link| link.peer == peer_num) {
                    link.stances.clear();
                    link.steps.give_up();
                }
                // Links without sessions have no HELLO of their own that would begin again.
                let others: Vec<LinkId> = self
                    .links
                    .iter()
                    .filter(|(_, link)| link.peer == peer_num && !link.caps.sessions)
                    .map(|(&id, _)| id)
                    .collect();
                for other in others {
                    groups.iter().for_each(|&group| self.carry(other, group));
                }
            }
            self.store.put_peer(&PeerRow { num: peer_num, id, install: Some(install) })?;
            self.dirty = true;
        }
        let Some(peer) = self.peers.get(&peer_num) else { return Ok(Ok(())) };
        let peer_id = peer.id;
        let visible: Vec<GroupNum> = peer
            .groups
            .iter()
            .filter(|(_, pair)| pair.visibility != Visibility::Invisible)
            .map(|(&group, _)| group)
            .collect();
        if let Some(link) = self.links.get_mut(&id) {
            for group in visible {
                if let Some(state) = self.groups.get(&group).filter(|state| state.scheme == link.scheme) {
                    link.tags.insert(Announce::tag_of(&nonce, state.id), group);
                }
            }
        }
        self.events.push_back(Event::LinkReady { link: id, peer: peer_id });
        self.wake_link(id);
        Ok(Ok(()))
    }

    /// Takes an ANNOUNCE: the peer's side of the sharing, and what it holds of our log, which replaces what we
    /// believed about that. `frame` is the number of its frame on a lossy link, else 0.
    pub(super) fn take_announce(&mut self, id: LinkId, announce: Announce, frame: u64) -> Taken {
        let now = self.now;
        let limit = self.config.max_announces;
        let Some(link) = self.links.get_mut(&id) else { return Ok(Ok(())) };
        let before = link.announced.get(&announce.tag).map(|(frame, before)| (before.number, *frame));
        if link.lossy.is_some() && before.is_some_and(|before| (announce.number, frame) < before) {
            // A later one overtook it.
            return Ok(Ok(()));
        }
        let stance = link.tags.get(&announce.tag).map(|group| link.stances.get(group));
        if link.lossy.is_some()
            && stance.is_none_or(|stance| stance == Some(&announce.visibility))
            && let Some((newest, before)) = link.announced.get_mut(&announce.tag)
            && *before == announce
        {
            // Said again because nobody knows whether it was heard. We may have learned more since.
            *newest = frame;
            return Ok(Ok(()));
        }
        if (link.theirs.len() >= limit && !link.theirs.contains_key(&announce.number))
            || (link.announced.len() >= limit && before.is_none())
        {
            return Ok(Err(Rule::TooManyAnnounces(limit)));
        }
        let group = link.tags.get(&announce.tag).copied();
        // Another name: the peer was away meanwhile, and ignored what came.
        let renamed = before.map(|(number, _)| number).filter(|&number| number != announce.number);
        // Its positions mean something else than before.
        let pair = group.and_then(|group| self.peers.get(&link.peer)?.groups.get(&group));
        let anew = announce.reset != 0 && pair.is_some_and(|pair| pair.session.their_reset != announce.reset);
        // What it acknowledged in later frames it holds, though this one does not say so.
        let overtaken = link.lossy.as_ref().is_some_and(|lossy| lossy.newest_received() > frame)
            && before.is_some()
            && renamed.is_none()
            && !anew;
        renamed.map(|number| link.theirs.remove(&number));
        link.theirs.insert(announce.number, group);
        let mut kept = announce.clone();
        if kept.held.len() > MAX_KEPT_SPANS {
            kept.held.clear();
        }
        link.announced.insert(announce.tag, (frame, kept));
        let Some(group) = group else { return Ok(Ok(())) };
        link.resets.insert(group, announce.reset);
        if renamed.is_some() {
            link.refs.remove(&group);
        }
        let before = link.stances.insert(group, announce.visibility);
        let same = before == Some(announce.visibility) && renamed.is_none() && !anew;
        let peer = link.peer;
        let Some(head) = self.groups.get(&group).map(|g| g.head) else { return Ok(Ok(())) };
        let agreed = self.log_agrees(group, &announce)?;
        let Some(pair) = self.pair_mut(peer, group) else { return Ok(Ok(())) };
        if anew {
            pair.session.their_reset = announce.reset;
            pair.forget_their_log();
        }
        pair.session.call_back_again();
        pair.has = if agreed {
            let mut has: SpanSet = announce.held.iter().copied().collect();
            has.truncate(announce.mark.min(head));
            if overtaken {
                pair.has.spans().for_each(|span| has.insert_span(span));
            }
            has
        } else {
            SpanSet::new()
        };
        pair.settled_to = 0;
        pair.session.next = 1;
        pair.session.again.clear();
        // What was under way on a link that ended, and is to be sent again, may have arrived.
        let PeerGroup { has, session, .. } = &mut *pair;
        has.spans().for_each(|span| session.asked.remove_span(span));
        pair.has_grew = true;
        let void = !agreed && pair.session.voided == 0;
        // Of a log that it is to forget, it may not have heard yet that it is.
        pair.session.told = if agreed && pair.session.voided == 0 { announce.mark.min(head) } else { 0 };
        self.grown_pairs.insert((peer, group));
        self.changed_pairs.insert((peer, group));
        if announce.visibility != Visibility::Shared || renamed.is_some() {
            // It takes no part any more.
            self.end_reconcile(peer, group);
        }
        if announce.visibility == Visibility::Invisible || renamed.is_some() {
            // What was under way when the peer left the group was refused there.
            self.void_in_flight(peer, group, |sent| sent.link == id);
            // It may have given up what it sent before.
            if let Some(pair) = self.pair_mut(peer, group) {
                pair.session.known.clear();
            }
        }
        self.settle_in_flight(peer, group);
        self.renew_stance(peer, group);
        if anew {
            self.holders.values_mut().for_each(|peers| peers.retain(|(of, _)| *of != peer));
            for link in self.links.values_mut().filter(|link| link.peer == peer) {
                link.acked.remove(&group);
                if let Some(lossy) = &mut link.lossy {
                    lossy.forget_positions(group);
                }
            }
        }
        if void {
            // What the peer holds of our log is not what stands in it: our store went back in time.
            self.void_log(id, peer, group);
        }
        self.note_behind(peer, group, now);
        self.consider_reconcile(id, peer, group, &announce, agreed)?;
        if !same {
            self.add_source_to_wants(peer, group);
        }
        self.wake(peer, group);
        Ok(Ok(()))
    }

    /// What a peer remembers of our log is of another one: it is to forget that, and until it says that it heard so, its
    /// acknowledgements count for nothing.
    fn void_log(&mut self, id: LinkId, peer: PeerNum, group: GroupNum) {
        let group_id = self.groups.get(&group).map(|group| group.id);
        let (Some(link), Some(group_id)) = (self.links.get(&id), group_id) else { return };
        // Another value each time: a link has a nonce of its own.
        let [a, b, c, d, ..] = link.nonce;
        let times = link.left.get(&group_id).copied().unwrap_or_default();
        let value = (u32::from_be_bytes([a, b, c, d]) ^ times).max(1);
        if let Some(pair) = self.pair_mut(peer, group) {
            pair.session.voided = value;
            pair.session.told = 0;
        }
        self.links.values_mut().filter(|link| link.peer == peer).for_each(|link| link.void(group));
    }

    /// Takes what a peer says of a group on all links together. One that left it everywhere offers nothing.
    pub(super) fn renew_stance(&mut self, peer: PeerNum, group: GroupNum) {
        let Some(state) = self.peers.get_mut(&peer) else { return };
        let links = state.links.iter().filter_map(|id| self.links.get(id));
        let theirs = links.filter_map(|link| link.stances.get(&group)).max().copied();
        let Some(pair) = state.groups.get_mut(&group) else { return };
        pair.session.theirs = theirs;
        if theirs.unwrap_or_default() == Visibility::Invisible {
            pair.session.turned_away.clear();
            pair.session.called_back.clear();
            self.drop_sources(peer, group);
        }
    }

    /// Forgets what is under way to a peer and fits `which`.
    fn void_in_flight(&mut self, peer: PeerNum, group: GroupNum, which: impl Fn(&Sent) -> bool) {
        let Some(pair) = self.pair_mut(peer, group) else { return };
        let gone: Vec<Sent> =
            pair.session.in_flight.extract_if(.., |_, sent| which(sent)).map(|(_, sent)| sent).collect();
        gone.iter().for_each(|sent| self.release(sent));
    }

    /// What was under way to a peer and is known to be there is no longer under way.
    pub(super) fn settle_in_flight(&mut self, peer: PeerNum, group: GroupNum) {
        let Some(pair) = self.pair_mut(peer, group) else { return };
        let PeerGroup { has, session, .. } = pair;
        let there = |span: Span| session.in_flight.range(span.first..=span.last).map(|(&at, _)| at);
        let there: Vec<u64> = has.spans().flat_map(there).collect();
        let there: Vec<Sent> = there.iter().filter_map(|at| session.in_flight.remove(at)).collect();
        there.iter().for_each(|sent| self.release(sent));
    }

    /// Whether a peer's memory of our log is of the log that we have.
    fn log_agrees(&self, group: GroupNum, announce: &Announce) -> Result<bool, EngineError> {
        if announce.mark == 0 {
            return Ok(true);
        }
        let row = self.store.at(group, announce.mark)?;
        Ok(row.is_some_and(|row| row.chain == announce.mark_chain))
    }
}
