//! Groups, peers, and who shares what with whom.

use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, PeerId, Visibility};

use super::quota::Quota;
use super::state::{Counts, Group, Peer};
use super::unasked::Unasked;
use super::{Engine, Timer};
use crate::error::EngineError;
use crate::event::{Event, GroupInfo};
use crate::reading::read_descriptor;
use crate::small::SmallSet;
use crate::spanset::SpanSet;
use crate::store::{GroupNum, GroupRow, MessageNum, MessageState, PeerNum, PeerRow, Store};
use crate::time::Time;

impl<S: Store> Engine<S> {
    /// Adds a group of ours, or finds it: nothing changes if it is there, but `judged`. With `judged`, a client here
    /// is asked about every message ([`Event::Validate`]); without, every message is taken as valid, so that a
    /// node without the client stores and forwards all the same.
    ///
    /// # Errors
    /// When the store fails, or a group of another scheme has this id.
    pub fn add_group(&mut self, descriptor: &GroupDescriptor, judged: bool) -> Result<GroupId, EngineError> {
        self.add_group_of(IdScheme::Native, descriptor, judged)
    }

    /// Adds or finds a group that is named, with its messages, by a scheme of another dialect. A group has one scheme
    /// for life, and only links of dialects with that scheme carry it.
    ///
    /// # Errors
    /// When the descriptor names no group in the scheme ([`GroupDescriptor::of_id`] is for
    /// [`IdScheme::Mvds`]), a group of another scheme has this id, or the store fails.
    pub fn add_group_of(
        &mut self,
        scheme: IdScheme,
        descriptor: &GroupDescriptor,
        judged: bool,
    ) -> Result<GroupId, EngineError> {
        self.usable()?;
        let id = scheme.group_id(descriptor).ok_or(EngineError::NoGroupId(scheme))?;
        let known = self.group_nums.get(&id).and_then(|num| self.groups.get(num));
        if known.is_some_and(|group| group.scheme != scheme) {
            return Err(EngineError::OtherScheme(id));
        }
        if let Some(group) = self.group_nums.get(&id).and_then(|num| self.groups.get_mut(num)) {
            if group.judged != judged {
                group.judged = judged;
                let row = row_of(group);
                let result = self.store.put_group(&row).map_err(EngineError::from);
                self.dirty = true;
                self.guard(result)?;
                if !judged {
                    let result = self.admit_all(row.num);
                    self.guard(result)?;
                }
            }
            return Ok(id);
        }
        let num = self.last_nums.0.checked_add(1).ok_or(EngineError::TooMany("groups"))?;
        let row = GroupRow {
            num: GroupNum(num),
            id,
            scheme: scheme.code(),
            client_id: descriptor.client_id().into(),
            major_version: descriptor.major_version(),
            descriptor: descriptor.descriptor().into(),
            judged,
            head: 0,
            chain: 0,
            body_bytes: 0,
            max_bytes: None,
        };
        self.last_nums.0 = num;
        self.dirty = true;
        let result = self.store.put_group(&row).map_err(EngineError::from);
        self.guard(result)?;
        let result = self.restore_group(row);
        self.guard(result)?;
        Ok(id)
    }

    /// Leaves a group: its messages are removed, and peers are told that it is no longer shared.
    ///
    /// # Errors
    /// When there is no such group, or the store fails.
    pub fn remove_group(&mut self, group: GroupId) -> Result<(), EngineError> {
        self.usable()?;
        let num = self.group_num(group)?;
        let peers: Vec<PeerNum> =
            self.groups.get(&num).map(|g| g.peers.iter().copied().collect()).unwrap_or_default();
        for peer in peers {
            self.leave_group(peer, num);
        }
        for id in self.wants.of_group(num) {
            self.take_want(&id);
        }
        self.waits.clear();
        for peer in self.peers.values_mut() {
            peer.groups.remove(&num);
        }
        for link in self.links.values_mut() {
            link.ours.remove(&num);
            *link.left.entry(group).or_default() += 1;
            link.carried.remove(&num);
            link.refs.remove(&num);
            link.acked.remove(&num);
            link.tags.retain(|_, tagged| *tagged != num);
            link.ephemerals.retain(|(of, ..)| *of != num);
            for named in link.theirs.values_mut().filter(|named| **named == Some(num)) {
                *named = None;
            }
        }
        if let (Some(group), Some(ledger)) = (self.groups.remove(&num), &mut self.ledger) {
            ledger.remove_group(num, group.counts.parked_weight);
        }
        self.shorts.forget(num);
        self.authors.retain(|(of, _), _| *of != num);
        self.pruned_groups.remove(&num);
        self.group_nums.remove(&group);
        self.changed_groups.remove(&num);
        self.fresh_groups.remove(&num);
        self.changed_pairs.retain(|(_, of)| *of != num);
        self.grown_pairs.retain(|(_, of)| *of != num);
        self.dirty = true;
        let result = self.move_wanted_out(num).and_then(|()| Ok(self.store.remove_group(num)?));
        self.edges.forget_stored();
        self.guard(result)?;
        let result = self.forget_removed_holders();
        self.guard(result)
    }

    /// What only other groups' messages still wait for moves over to them before its group goes.
    fn move_wanted_out(&mut self, group: GroupNum) -> Result<(), EngineError> {
        // Those of the group go with it, which is the store's work.
        self.write_edges()?;
        let mut after = MessageNum(0);
        loop {
            let rows = self.store.in_state(MessageState::Wanted, after, 256)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.num;
            for mut row in rows.into_iter().filter(|row| row.group == group) {
                let mut child_after = MessageNum(0);
                while let Some(child) = self.children(row.num, child_after, 1)?.first().copied() {
                    child_after = child;
                    let home = self.store.row(child)?.map(|child| child.group).filter(|&home| home != group);
                    if let Some(home) = home {
                        row.group = home;
                        self.store.update(&row)?;
                        if let Some(home) = self.groups.get_mut(&home) {
                            home.counts.enter(MessageState::Wanted, 0);
                        }
                        self.count_wanted(&row)?;
                        self.want_dependency(row.id, home, None, self.now, self.now);
                        break;
                    }
                }
            }
        }
    }

    /// Messages that are gone are held by nobody.
    fn forget_removed_holders(&mut self) -> Result<(), EngineError> {
        let nums: Vec<MessageNum> = self.holders.keys().copied().collect();
        for num in nums {
            if self.store.row(num)?.is_none() {
                self.holders.remove(&num);
            }
        }
        Ok(())
    }

    /// Every group.
    #[must_use]
    pub fn groups(&self) -> Vec<GroupInfo> {
        self.groups.values().map(info_of).collect()
    }

    /// One group.
    #[must_use]
    pub fn group(&self, group: GroupId) -> Option<GroupInfo> {
        self.group_nums.get(&group).and_then(|num| self.groups.get(num)).map(info_of)
    }

    /// Sets how a group stands between us and a peer; running links take it up at once. A peer that was not known
    /// is from now on.
    ///
    /// # Errors
    /// When there is no such group, or the store fails.
    pub fn set_visibility(
        &mut self,
        peer: PeerId,
        group: GroupId,
        visibility: Visibility,
    ) -> Result<(), EngineError> {
        self.usable()?;
        let group_num = self.group_num(group)?;
        let peer_num = self.peer_num(peer)?;
        let Some(state) = self.peers.get_mut(&peer_num) else { return Ok(()) };
        let pair = state.groups.or_default(group_num);
        if pair.visibility == visibility {
            return Ok(());
        }
        pair.visibility = visibility;
        if let Some(group) = self.groups.get_mut(&group_num) {
            if visibility == Visibility::Invisible {
                group.peers.remove(&peer_num);
            } else {
                group.peers.insert(peer_num);
            }
        }
        let result = self.save_pair(peer_num, group_num, true);
        self.guard(result)?;
        let result = self.visibility_changed(peer_num, group_num, visibility);
        self.guard(result)
    }

    /// How a group stands between us and a peer.
    #[must_use]
    pub fn visibility(&self, peer: PeerId, group: GroupId) -> Visibility {
        let pair = self
            .peer_nums
            .get(&peer)
            .and_then(|num| self.peers.get(num))
            .and_then(|peer| self.group_nums.get(&group).and_then(|group| peer.groups.get(group)));
        pair.map_or(Visibility::Invisible, |pair| pair.visibility)
    }

    /// Forgets a peer and takes its links down. What it sent stays.
    ///
    /// # Errors
    /// When the store fails.
    pub fn remove_peer(&mut self, peer: PeerId, now: Time) -> Result<(), EngineError> {
        self.usable()?;
        let Some(num) = self.peer_nums.remove(&peer) else { return Ok(()) };
        let links: Vec<_> =
            self.peers.get(&num).map(|p| p.links.iter().copied().collect()).unwrap_or_default();
        for link in links {
            self.link_down(link, now);
        }
        self.peers.remove(&num);
        for group in self.groups.values_mut() {
            group.peers.remove(&num);
        }
        self.holders.values_mut().for_each(|peers| peers.retain(|(of, _)| *of != num));
        self.changed_pairs.retain(|(of, _)| *of != num);
        self.grown_pairs.retain(|(of, _)| *of != num);
        self.dirty = true;
        let result = self.store.remove_peer(num).map_err(EngineError::from);
        self.guard(result)
    }

    pub(super) fn group_num(&self, group: GroupId) -> Result<GroupNum, EngineError> {
        self.group_nums.get(&group).copied().ok_or(EngineError::UnknownGroup(group))
    }

    /// The number of a peer, a new one if need be.
    pub(super) fn peer_num(&mut self, peer: PeerId) -> Result<PeerNum, EngineError> {
        if let Some(&num) = self.peer_nums.get(&peer) {
            return Ok(num);
        }
        let num = self.last_nums.1.checked_add(1).ok_or(EngineError::TooMany("peers"))?;
        self.last_nums.1 = num;
        let num = PeerNum(num);
        let result =
            self.store.put_peer(&PeerRow { num, id: peer, install: None }).map_err(EngineError::from);
        self.dirty = true;
        self.guard(result)?;
        self.peer_nums.insert(peer, num);
        self.peers.insert(num, Peer::new(peer, None));
        Ok(num)
    }

    pub(super) fn restore_group(&mut self, row: GroupRow) -> Result<(), EngineError> {
        let (scheme, descriptor) = read_descriptor(&row)?;
        let heads = self.store.heads(row.num)?.into_iter().collect();
        self.group_nums.insert(row.id, row.num);
        self.groups.insert(
            row.num,
            Group {
                num: row.num,
                id: row.id,
                scheme,
                descriptor,
                judged: row.judged,
                head: row.head,
                chain: row.chain,
                heads,
                changed_heads: Vec::new(),
                unasked: Unasked::default(),
                delivered_from: None,
                counts: Counts { body_bytes: row.body_bytes, ..Counts::default() },
                quota: Quota::default(),
                max_bytes: row.max_bytes,
                gone: SpanSet::new(),
                fresh_pruned: SpanSet::new(),
                moves: 0,
                peers: SmallSet::new(),
                sample: None,
            },
        );
        Ok(())
    }

    /// Keeps track of since when a peer lacks something.
    pub(super) fn note_behind(&mut self, peer: PeerNum, group: GroupNum, now: Time) {
        let report = self.config.undelivered_report_ms;
        let Some(group_state) = self.groups.get(&group) else { return };
        let head = group_state.head;
        let pair = self.peers.get_mut(&peer).and_then(|peer| peer.groups.get_mut(&group));
        let Some(pair) = pair else { return };
        let lacking = pair.first_lacking(&group_state.gone);
        pair.settled_to = lacking.saturating_sub(1);
        let behind = pair.visibility == Visibility::Shared && lacking <= head;
        match pair.behind {
            None if behind => {
                pair.behind = Some((now, false));
                self.timers.insert((now + report, Timer::Behind(peer, group)));
            }
            Some((since, reported)) if !behind => {
                pair.behind = None;
                if !reported {
                    self.timers.remove(&(since + report, Timer::Behind(peer, group)));
                }
            }
            _ => {}
        }
    }

    pub(super) fn behind_timeout(&mut self, peer_num: PeerNum, group_num: GroupNum, now: Time) {
        self.note_behind(peer_num, group_num, now);
        let Some(group) = self.groups.get(&group_num) else { return };
        let Some(peer) = self.peers.get_mut(&peer_num) else { return };
        let id = peer.id;
        let Some(pair) = peer.groups.get_mut(&group_num) else { return };
        if let Some((since, reported)) = &mut pair.behind
            && !*reported
        {
            *reported = true;
            let mut done = pair.has.clone();
            group.gone.spans().for_each(|span| done.insert_span(span));
            let count = group.head.saturating_sub(done.len());
            self.events.push_back(Event::Undelivered { peer: id, group: group.id, since: *since, count });
        }
    }
}

fn info_of(group: &Group) -> GroupInfo {
    let (id, scheme, descriptor) = (group.id, group.scheme, group.descriptor.clone());
    GroupInfo { id, scheme, descriptor, judged: group.judged, head: group.head }
}

pub(super) fn row_of(group: &Group) -> GroupRow {
    GroupRow {
        num: group.num,
        id: group.id,
        scheme: group.scheme.code(),
        client_id: group.descriptor.client_id().into(),
        major_version: group.descriptor.major_version(),
        descriptor: group.descriptor.descriptor().into(),
        judged: group.judged,
        head: group.head,
        chain: group.chain,
        body_bytes: group.counts.body_bytes,
        max_bytes: group.max_bytes,
    }
}
