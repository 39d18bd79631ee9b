//! The dependency gate: a message is delivered when its client judged it valid, its dependencies are delivered
//! and its time has come. Everything here is iterative, and one call is part of one transaction.

use std::collections::VecDeque;

use bytes::Bytes;
use hedgerow_proto::{Message, MessageId, Visibility};
use smallvec::SmallVec;

use super::facts::Named;
use super::quota::Load;
use super::waits::Nums;
use super::{Engine, Timer};
use crate::error::EngineError;
use crate::event::Event;
use crate::order::{OrderKey, chain};
use crate::record::Input;
use crate::store::{GroupNum, MessageNum, MessageRow, MessageState, PeerNum, Store};
use crate::time::Time;
use crate::verdict::{InvalidReason, MessageFacts, Verdict};

/// What became of a message from a peer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kept {
    /// It is held now, or a tombstone.
    Row(MessageRow),
    /// Too much waits already; nothing was kept.
    NoRoom,
}

/// What the dependencies of a message come to.
#[derive(Default)]
pub(super) struct Deps {
    entries: SmallVec<[Dep; 4]>,
    /// `eff` and `height` of those delivered.
    keys: SmallVec<[(i64, u64); 4]>,
    missing: u32,
    pub(super) invalid: Option<InvalidReason>,
    /// One of them was taken as delivered in another group at a peer's word, which proves nothing.
    doubtful: bool,
}

impl Deps {
    /// Whether one of them was taken as delivered in another group at a peer's word.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }
}

struct Dep {
    id: MessageId,
    /// Its row, if there is one.
    num: Option<MessageNum>,
    delivered: bool,
    /// Not even held.
    wanted: bool,
}

/// How many waiting messages are looked at in one go.
const CHUNK: usize = 256;

impl<S: Store> Engine<S> {
    /// Answers [`Event::Validate`]. A message that is unknown, or judged already, is left as it is.
    ///
    /// # Errors
    /// When the store fails.
    pub fn judge(&mut self, id: MessageId, verdict: Verdict, now: Time) -> Result<(), EngineError> {
        self.usable()?;
        self.now = now;
        let result = self.take_verdict(&id, verdict);
        self.guard(result)
    }

    fn take_verdict(&mut self, id: &MessageId, verdict: Verdict) -> Result<(), EngineError> {
        let Some(row) = self.store.find(id)? else { return Ok(()) };
        if row.state != MessageState::Unvalidated {
            return Ok(());
        }
        match verdict {
            Verdict::Invalid => self.bury(row, InvalidReason::Client),
            Verdict::Valid(facts) => self.admit_with(row, facts),
        }
    }

    /// A group is no longer judged: what waited for a verdict is valid.
    pub(super) fn admit_all(&mut self, group: GroupNum) -> Result<(), EngineError> {
        let mut after = MessageNum(0);
        loop {
            let rows = self.store.in_state(MessageState::Unvalidated, after, CHUNK)?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.num;
            for num in rows.iter().filter(|row| row.group == group).map(|row| row.num) {
                // Another one's delivery may have changed it meanwhile.
                if let Some(row) = self.store.row(num)? {
                    self.admit(row)?;
                }
            }
        }
    }

    /// Stores a message from a peer that is not held yet, and delivers what it sets free. `wanted` is the row
    /// under which it was awaited, `last` as for [`has_room_for`](Self::has_room_for).
    pub(super) fn keep_message(
        &mut self,
        origin: PeerNum,
        group_num: GroupNum,
        (id, message): (MessageId, &Message),
        wanted: Option<MessageRow>,
        last: bool,
    ) -> Result<Kept, EngineError> {
        let deps = self.look_up_deps(group_num, message.deps())?;
        let Some(group) = self.groups.get(&group_num) else { return Ok(Kept::NoRoom) };
        let judged = group.judged;
        let body_len = u32::try_from(message.body().len()).unwrap_or(u32::MAX);
        let mut row = MessageRow {
            origin: Some(origin),
            timestamp_ms: message.timestamp_ms(),
            arrived: self.now,
            body_len,
            missing: deps.missing,
            num: wanted.map_or(MessageNum(0), |row| row.num),
            ..MessageRow::wanted(id, group_num)
        };
        if let Some(reason) = deps.invalid {
            return self.keep_tombstone(row, reason, wanted).map(Kept::Row);
        }
        let early = self.is_early(row.timestamp_ms);
        row.state = match (judged, row.missing > 0, early) {
            (true, ..) => MessageState::Unvalidated,
            (false, true, _) => MessageState::Waiting,
            (false, false, true) => MessageState::Early,
            (false, false, false) => MessageState::Delivered,
        };
        let parks = row.missing > 0 || early;
        let unheard = deps.entries.iter().filter(|dep| dep.num.is_none()).count() as u64;
        let load = Load::of(&row, self.config.max_clock_skew_ms).naming(unheard);
        let last = last && row.missing > 0;
        if deps.doubtful
            || !self.has_room_for(origin, group_num, load, last)
            || !self.make_room(&row, parks, last)?
        {
            return Ok(Kept::NoRoom);
        }
        let nums = self.place_deps(origin, group_num, &deps)?;
        if row.state == MessageState::Delivered {
            self.give_position(&mut row, &deps.keys);
        }
        let sources = self.take_want(&id);
        self.write_new(&mut row, &nums, message.body(), wanted)?;
        let waits = row.state != MessageState::Delivered;
        if waits {
            self.waits.note(row.num, &nums);
            for (dep, &num) in deps.entries.iter().zip(&nums).filter(|(dep, _)| !dep.delivered) {
                self.add_edge(num, row.num);
                if dep.wanted {
                    self.await_named((num, dep.id), group_num, origin)?;
                }
            }
        }
        if wanted.is_some() {
            // Not before its own edges are there: what one of these awaited too would go with it.
            self.bury_foreign_children(&row)?;
        }
        if !waits {
            self.after_delivery(&row, &nums, wanted.is_some())?;
        }
        match row.state {
            MessageState::Unvalidated => {
                self.events.push_back(Event::Validate { id, message: message.clone() });
            }
            MessageState::Early => self.set_early_timer(&row),
            _ => {}
        }
        self.close_offers(group_num, row, sources);
        Ok(Kept::Row(row))
    }

    /// Publishes a message of our own: delivered at birth.
    pub(super) fn keep_own(
        &mut self,
        group: GroupNum,
        id: MessageId,
        message: &Message,
        facts: MessageFacts,
    ) -> Result<(), EngineError> {
        let wanted = match self.store.find(&id)? {
            Some(row) if row.state == MessageState::Wanted => Some(row),
            Some(_) => return Err(EngineError::Exists(id)),
            None => None,
        };
        let mut nums = Vec::with_capacity(message.deps().len());
        let mut keys = Vec::with_capacity(message.deps().len());
        for dep in message.deps() {
            match self.store.find(dep)? {
                Some(row) if row.group == group && row.state.is_delivered() => {
                    nums.push(row.num);
                    keys.push((row.eff_ms, row.height));
                }
                _ => return Err(EngineError::UnknownDependency(*dep)),
            }
        }
        let mut row = MessageRow {
            state: MessageState::Delivered,
            timestamp_ms: message.timestamp_ms(),
            arrived: self.now,
            body_len: u32::try_from(message.body().len()).unwrap_or(u32::MAX),
            num: wanted.map_or(MessageNum(0), |row| row.num),
            expires_ms: facts.expires_ms,
            ..MessageRow::wanted(id, group)
        };
        if self.is_over(&row) {
            return Err(EngineError::Expired { expires_ms: facts.expires_ms.unwrap_or_default() });
        }
        row.author = facts.author.map(|key| self.author_num(group, &key)).transpose()?;
        if !self.make_room(&row, false, false)? {
            let group_cap = self.groups.get(&group).map_or(u64::MAX, |group| self.cap_of(group));
            let cap = self.config.max_store_bytes.min(group_cap);
            return Err(EngineError::NoRoom { needed: row.weight(), cap });
        }
        self.note_expiry(row.expires_ms);
        let sources = self.take_want(&id);
        self.give_position(&mut row, &keys);
        self.write_new(&mut row, &nums, message.body(), wanted)?;
        if wanted.is_some() {
            self.bury_foreign_children(&row)?;
        }
        self.after_delivery(&row, &nums, wanted.is_some())?;
        self.close_offers(group, row, sources);
        Ok(())
    }

    pub(super) fn look_up_deps(&self, group: GroupNum, ids: &[MessageId]) -> Result<Deps, EngineError> {
        let mut deps = Deps {
            entries: SmallVec::with_capacity(ids.len()),
            keys: SmallVec::with_capacity(ids.len()),
            ..Deps::default()
        };
        for &id in ids {
            let row = self.store.find(&id)?;
            let mut dep = Dep { id, num: row.map(|row| row.num), delivered: false, wanted: true };
            match row {
                None => deps.missing += 1,
                Some(row) if row.state == MessageState::Wanted => deps.missing += 1,
                Some(row) if row.state == MessageState::Gap && row.group != group => deps.doubtful = true,
                Some(row) if row.group != group => deps.invalid = Some(InvalidReason::ForeignDependency),
                Some(row) if row.state == MessageState::Invalid => {
                    deps.invalid.get_or_insert(InvalidReason::InvalidDependency);
                }
                Some(row) => {
                    dep.wanted = false;
                    dep.delivered = row.state.is_delivered();
                    if dep.delivered {
                        deps.keys.push((row.eff_ms, row.height));
                    } else {
                        deps.missing += 1;
                    }
                }
            }
            deps.entries.push(dep);
        }
        Ok(deps)
    }

    /// Numbers for all dependencies, with new rows for those never heard of.
    fn place_deps(&mut self, origin: PeerNum, group: GroupNum, deps: &Deps) -> Result<Nums, EngineError> {
        let mut nums = Nums::with_capacity(deps.entries.len());
        for dep in &deps.entries {
            let num = match dep.num {
                Some(num) => num,
                None => {
                    self.dirty = true;
                    let num = self.store.insert(&MessageRow::wanted(dep.id, group), &[], None)?;
                    self.edges.note_new(num);
                    if let Some(group) = self.groups.get_mut(&group) {
                        group.counts.enter(MessageState::Wanted, 0);
                        group.quota.want(num, origin);
                    }
                    num
                }
            };
            nums.push(num);
        }
        Ok(nums)
    }

    fn write_new(
        &mut self,
        row: &mut MessageRow,
        deps: &[MessageNum],
        body: &Bytes,
        wanted: Option<MessageRow>,
    ) -> Result<(), EngineError> {
        self.dirty = true;
        match wanted {
            Some(wanted) => {
                self.store.fill(row, deps, body)?;
                if let Some(group) = self.groups.get_mut(&wanted.group) {
                    group.counts.leave(MessageState::Wanted, 0);
                    group.quota.unwant(wanted.num);
                }
            }
            None => {
                row.num = self.store.insert(row, deps, Some(body))?;
                self.edges.note_new(row.num);
            }
        }
        self.note_latest(row.group, &row.id);
        self.count_in(row);
        Ok(())
    }

    /// Messages of other groups that named this one as a dependency before it came are invalid.
    fn bury_foreign_children(&mut self, parent: &MessageRow) -> Result<(), EngineError> {
        let mut after = MessageNum(0);
        loop {
            let children = self.children(parent.num, after, CHUNK)?;
            let Some(&last) = children.last() else { return Ok(()) };
            after = last;
            let all = children.len() < CHUNK;
            for child in children {
                if let Some(row) = self.store.row(child)?
                    && row.group != parent.group
                {
                    self.bury(row, InvalidReason::ForeignDependency)?;
                }
            }
            if all {
                return Ok(());
            }
        }
    }

    /// A message was judged valid, by a client that knows more of it.
    pub(super) fn admit_with(&mut self, mut row: MessageRow, facts: MessageFacts) -> Result<(), EngineError> {
        row.author = facts.author.map(|key| self.author_num(row.group, &key)).transpose()?;
        row.expires_ms = facts.expires_ms;
        self.note_expiry(row.expires_ms);
        self.admit(row)
    }

    /// A message was judged valid: on to the next gate.
    fn admit(&mut self, mut row: MessageRow) -> Result<(), EngineError> {
        let state = if row.missing > 0 {
            MessageState::Waiting
        } else if self.is_early(row.timestamp_ms) {
            MessageState::Early
        } else {
            return self.deliver(row);
        };
        let over = self.is_over(&row);
        self.change_state(&mut row, if over { MessageState::Lapsed } else { state })?;
        if state == MessageState::Early {
            self.set_early_timer(&row);
        }
        Ok(())
    }

    pub(super) fn change_state(
        &mut self,
        row: &mut MessageRow,
        state: MessageState,
    ) -> Result<(), EngineError> {
        let before = *row;
        row.state = state;
        self.put_state(&before, row)
    }

    /// Writes a row that moved on.
    fn put_state(&mut self, before: &MessageRow, row: &MessageRow) -> Result<(), EngineError> {
        self.count_change(before, row);
        self.dirty = true;
        // There may be room for what was turned away.
        self.changed_groups.insert(row.group);
        Ok(self.store.update(row)?)
    }

    /// Delivers a message whose gates are all open, and what it sets free.
    fn deliver(&mut self, mut row: MessageRow) -> Result<(), EngineError> {
        let before = row;
        let deps = self.promote(&before, &mut row)?;
        self.after_delivery(&row, &deps, true)
    }

    /// Gives a held message its position and makes it delivered; returns its dependencies. `before` is its row as it is
    /// counted.
    fn promote(&mut self, before: &MessageRow, row: &mut MessageRow) -> Result<Nums, EngineError> {
        let deps = match self.waits.take(row.num) {
            Some(deps) => deps,
            None => {
                let content = self.sound_content(row)?;
                content.iter().flat_map(|content| &content.deps).map(|dep| dep.num).collect()
            }
        };
        let mut keys: SmallVec<[(i64, u64); 4]> = SmallVec::with_capacity(deps.len());
        for &dep in &deps {
            if let Some(dep) = self.store.row(dep)? {
                keys.push((dep.eff_ms, dep.height));
            }
        }
        self.give_position(row, &keys);
        if row.state == MessageState::Lapsed || self.is_over(row) {
            self.note_pruned(row.group, row.position);
            row.state = MessageState::Pruned;
            self.put_state(before, row)?;
            self.tell_who_asked(row.group, &row.id);
        } else {
            row.state = MessageState::Delivered;
            self.put_state(before, row)?;
        }
        Ok(deps)
    }

    /// Gives a message the next position of its group, and its place in the canonical order.
    fn give_position(&mut self, row: &mut MessageRow, keys: &[(i64, u64)]) {
        let key = OrderKey::of(row.timestamp_ms, row.id, keys.iter().copied());
        row.eff_ms = key.eff_ms;
        row.height = key.height;
        self.append(row);
    }

    /// Gives a message the next position of its group.
    pub(super) fn append(&mut self, row: &mut MessageRow) {
        if let Some(group) = self.groups.get_mut(&row.group) {
            group.head += 1;
            group.moves += 1;
            group.chain = chain(group.chain, &row.id);
            if let Some(sample) = &mut group.sample {
                sample.toggle(&group.id, &row.id);
            }
            group.delivered_from.get_or_insert(group.head);
            row.position = group.head;
            row.chain = group.chain;
        }
    }

    /// Heads, peers that have it, and the messages that waited for it. Parents come before children, each once,
    /// without recursion.
    pub(super) fn after_delivery(
        &mut self,
        row: &MessageRow,
        deps: &[MessageNum],
        awaited: bool,
    ) -> Result<(), EngineError> {
        self.settle_delivered(row, deps);
        if !awaited {
            return Ok(());
        }
        let mut delivered = VecDeque::from([row.num]);
        while let Some(parent) = delivered.pop_front() {
            loop {
                let children = self.take_children(parent, CHUNK)?;
                let all = children.len() < CHUNK;
                for child in children {
                    if let Some(freed) = self.free(child)? {
                        delivered.push_back(freed);
                    }
                }
                if all {
                    break;
                }
            }
        }
        Ok(())
    }

    /// One dependency of `child` was delivered; gives it back if that delivered it too.
    fn free(&mut self, child: MessageNum) -> Result<Option<MessageNum>, EngineError> {
        let Some(before) = self.store.row(child)? else { return Ok(None) };
        let mut row = MessageRow { missing: before.missing.saturating_sub(1), ..before };
        if row.missing > 0 || !matches!(row.state, MessageState::Waiting | MessageState::Lapsed) {
            self.recount(&before, &row);
            self.store.update(&row)?;
            return Ok(None);
        }
        if self.is_early(row.timestamp_ms) {
            let lapsed = row.state == MessageState::Lapsed;
            row.state = if lapsed { MessageState::Lapsed } else { MessageState::Early };
            self.put_state(&before, &row)?;
            self.set_early_timer(&row);
            return Ok(None);
        }
        let deps = self.promote(&before, &mut row)?;
        self.settle_delivered(&row, &deps);
        Ok(Some(child))
    }

    fn settle_delivered(&mut self, row: &MessageRow, deps: &[MessageNum]) {
        self.dirty = true;
        self.changed_groups.insert(row.group);
        self.fresh_groups.insert(row.group);
        if let Some(group) = self.groups.get_mut(&row.group) {
            group.drop_heads(deps);
            group.add_head(row.num);
        }
        if !self.unasked.is_empty() {
            self.place_unasked(row);
        }
        if self.holders.is_empty() {
            return;
        }
        for (peer, session) in self.holders.remove(&row.num).unwrap_or_default() {
            if self.peers.get(&peer).is_none_or(|state| state.session != session) {
                continue;
            }
            if let Some(pair) = self.pair_mut(peer, row.group) {
                pair.has.insert(row.position);
                pair.has_grew = true;
                if !pair.session.by_id {
                    pair.session.known.insert(row.position);
                }
            }
            self.changed_pairs.insert((peer, row.group));
            self.grown_pairs.insert((peer, row.group));
        }
    }

    /// Makes a message and everything that waits for it tombstones.
    pub(super) fn bury(&mut self, row: MessageRow, reason: InvalidReason) -> Result<(), EngineError> {
        let mut queue = VecDeque::from([(row.num, reason)]);
        while let Some((num, reason)) = queue.pop_front() {
            let Some(mut row) = self.store.row(num)? else { continue };
            if row.state == MessageState::Invalid || row.state.is_delivered() {
                continue;
            }
            let unawaited = self.drop_edges_of(num)?;
            if row.state == MessageState::Early || (row.state == MessageState::Lapsed && row.missing == 0) {
                self.timers.remove(&(self.early_at(row.timestamp_ms), Timer::Early(num)));
            }
            self.waits.forget(num);
            let before = row;
            row.reason = reason.code();
            row.missing = 0;
            self.recount(&before, &row);
            self.change_state(&mut row, MessageState::Invalid)?;
            self.remove_unawaited(unawaited)?;
            self.report_buried(&row, reason);
            self.bury_children(num, &mut queue)?;
        }
        Ok(())
    }

    /// Removes what is not held and nobody waits for any more.
    pub(super) fn remove_unawaited(&mut self, rows: Vec<MessageRow>) -> Result<(), EngineError> {
        for dep in rows {
            self.store.remove(dep.num)?;
            if let Some(group) = self.groups.get_mut(&dep.group) {
                group.counts.leave(MessageState::Wanted, 0);
                group.quota.unwant(dep.num);
            }
        }
        Ok(())
    }

    /// A held message without dependencies gets some.
    pub(super) fn wait_for(&mut self, row: &mut MessageRow, deps: &Deps) -> Result<(), EngineError> {
        // What is held came from somebody, unless that peer is forgotten since.
        let origin = row.origin.unwrap_or(PeerNum(0));
        let nums = self.place_deps(origin, row.group, deps)?;
        let before = *row;
        row.missing = deps.missing;
        self.dirty = true;
        self.store.set_deps(row.num, &nums)?;
        self.waits.note(row.num, &nums);
        self.store.update(row)?;
        self.recount(&before, row);
        for (dep, &num) in deps.entries.iter().zip(&nums).filter(|(dep, _)| !dep.delivered) {
            self.add_edge(num, row.num);
            if dep.wanted {
                self.await_dependency(dep.id, row.group, origin);
            }
        }
        Ok(())
    }

    fn bury_children(
        &mut self,
        parent: MessageNum,
        queue: &mut VecDeque<(MessageNum, InvalidReason)>,
    ) -> Result<(), EngineError> {
        loop {
            let children = self.children(parent, MessageNum(0), CHUNK)?;
            if children.is_empty() {
                return Ok(());
            }
            for child in children {
                self.remove_edge(parent, child)?;
                queue.push_back((child, InvalidReason::InvalidDependency));
            }
        }
    }

    /// `child` waits no longer: its edges go. Returns what was awaited for its sake only.
    pub(super) fn drop_edges_of(&mut self, child: MessageNum) -> Result<Vec<MessageRow>, EngineError> {
        let mut unawaited = Vec::new();
        let Some(content) = self.store.content(child)? else { return Ok(unawaited) };
        for dep in content.deps.iter().filter(|dep| dep.position == 0) {
            self.remove_edge(dep.num, child)?;
            let Some(row) = self.store.row(dep.num)? else { continue };
            if row.state == MessageState::Wanted && self.children(dep.num, MessageNum(0), 1)?.is_empty() {
                self.forget_want(&row.id);
                unawaited.push(row);
            }
        }
        Ok(unawaited)
    }

    /// A message that is invalid from the start.
    fn keep_tombstone(
        &mut self,
        mut row: MessageRow,
        reason: InvalidReason,
        wanted: Option<MessageRow>,
    ) -> Result<MessageRow, EngineError> {
        row.state = MessageState::Invalid;
        row.reason = reason.code();
        row.missing = 0;
        self.dirty = true;
        let sources = self.take_want(&row.id);
        if let Some(wanted) = wanted {
            self.bury(wanted, reason)?;
        } else {
            row.num = self.store.insert(&row, &[], None)?;
            self.edges.note_new(row.num);
            self.note_latest(row.group, &row.id);
            self.count_in(&row);
            self.report_buried(&row, reason);
        }
        self.close_offers(row.group, row, sources);
        Ok(row)
    }

    fn report_buried(&mut self, row: &MessageRow, reason: InvalidReason) {
        self.holders.remove(&row.num);
        if let Some(group) = self.groups.get(&row.group) {
            self.events.push_back(Event::Invalid { group: group.id, id: row.id, reason });
        }
    }

    fn is_early(&self, timestamp_ms: i64) -> bool {
        timestamp_ms > (self.now + self.config.max_clock_skew_ms).as_timestamp_ms()
    }

    fn early_at(&self, timestamp_ms: i64) -> Time {
        Time(u64::try_from(timestamp_ms).unwrap_or(0).saturating_sub(self.config.max_clock_skew_ms))
    }

    pub(super) fn set_early_timer(&mut self, row: &MessageRow) {
        self.timers.insert((self.early_at(row.timestamp_ms), Timer::Early(row.num)));
    }

    pub(super) fn early_timeout(&mut self, num: MessageNum, now: Time) -> Result<(), EngineError> {
        self.now = now;
        match self.store.row(num)? {
            Some(row)
                if row.state == MessageState::Early
                    || (row.state == MessageState::Lapsed && row.missing == 0) =>
            {
                self.deliver(row)
            }
            _ => Ok(()),
        }
    }

    /// Looks again at what peers offered, now that it has come: each gets an ACK, and its offer ends.
    pub(super) fn close_offers(
        &mut self,
        group: GroupNum,
        row: MessageRow,
        sources: Vec<(PeerNum, GroupNum, u64)>,
    ) {
        for (peer, noted, theirs) in sources {
            let pair = self.peers.get(&peer).and_then(|state| state.groups.get(&group));
            if let Some(pair) = pair.filter(|pair| pair.visibility != Visibility::Invisible) {
                let theirs = (!pair.session.by_id).then_some(theirs);
                self.apply(peer, group, &Named { id: row.id, theirs, row: Some(row) }, Input::Offer);
            }
            self.close_offer(peer, noted, theirs);
        }
    }
}
