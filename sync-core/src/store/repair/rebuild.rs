//! Putting messages into the new store: positions, keys, edges and heads are made anew.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use hedgerow_proto::{IdScheme, Message, MessageId};

use super::{RepairReport, RepairedGroup, Repairer, Salvage, readable};
use crate::order::{OrderKey, chain};
use crate::store::{
    Content, GroupNum, GroupRow, MessageNum, MessageRow, MessageState, Store, StoreError, StoredDep,
};
use crate::verdict::InvalidReason;

/// How many children are read at a time.
const CHUNK: usize = 256;

/// A group as it grows in the new store.
pub(super) struct Rebuilt {
    row: GroupRow,
    scheme: IdScheme,
    old_head: u64,
    heads: BTreeSet<MessageNum>,
    unchanged_to: u64,
}

impl Rebuilt {
    pub(super) fn new(row: GroupRow, scheme: IdScheme, old_head: u64) -> Self {
        Self { row, scheme, old_head, heads: BTreeSet::new(), unchanged_to: 0 }
    }

    /// Gives a message the next position.
    fn append(&mut self, row: &mut MessageRow, key: OrderKey, old_position: u64) {
        self.row.head += 1;
        self.row.chain = chain(self.row.chain, &row.id);
        (row.eff_ms, row.height) = (key.eff_ms, key.height);
        (row.position, row.chain) = (self.row.head, self.row.chain);
        if row.position == old_position && self.unchanged_to + 1 == old_position {
            self.unchanged_to = old_position;
        }
        if row.state == MessageState::Delivered {
            self.row.body_bytes += u64::from(row.body_len);
        }
    }

    fn settle(&mut self, num: MessageNum, deps: &[MessageNum]) {
        for dep in deps {
            self.heads.remove(dep);
        }
        self.heads.insert(num);
    }
}

/// A dependency in the new store; `None` for what is not there.
type Dep = (MessageId, Option<MessageRow>);

impl<O: Salvage, N: Store> Repairer<'_, O, N> {
    /// Copies one message if it is sound. `placed`: its place in the chain shows that it was delivered.
    pub(super) fn take(&mut self, row: &MessageRow, placed: bool) -> Result<(), StoreError> {
        let Some(group) = self.groups.get(&row.group) else {
            self.report.leave_message(row, "its group is not sound or not there");
            return Ok(());
        };
        let (id, scheme) = (group.row.id, group.scheme);
        match self.content(row.num)? {
            Ok(Some(Content { deps, body: Some(body) })) => {
                let ids = deps.iter().map(|dep| dep.id).collect();
                match Message::new(id, row.timestamp_ms, ids, body) {
                    Ok(message)
                        if scheme.admit(&message).is_ok() && scheme.message_id(&message) == row.id =>
                    {
                        self.held(row, &message, placed)
                    }
                    _ => {
                        self.report.leave_message(row, "its content is not what its id names");
                        Ok(())
                    }
                }
            }
            Ok(Some(Content { deps, body: None })) => self.tombstone(row, &deps, placed),
            Ok(None) => {
                self.report.leave_message(row, "its content is not there");
                Ok(())
            }
            Err(why) => {
                self.report.leave_message(row, why);
                Ok(())
            }
        }
    }

    /// Content of a message in the old store, with the right ids where those are known.
    fn content(&self, num: MessageNum) -> Result<Result<Option<Content>, String>, StoreError> {
        let mut content = readable(self.old.content(num))?;
        if let Ok(Some(content)) = &mut content
            && !self.ids.is_empty()
        {
            for dep in &mut content.deps {
                dep.id = self.ids.get(&dep.num).copied().unwrap_or(dep.id);
            }
        }
        Ok(content)
    }

    /// The id that the content of a message in the old store makes, if it is there and within the limits.
    pub(super) fn id_of_content(&self, row: &MessageRow) -> Result<Option<MessageId>, StoreError> {
        let Some(group) = self.groups.get(&row.group) else { return Ok(None) };
        let Ok(Some(Content { deps, body: Some(body) })) = self.content(row.num)? else { return Ok(None) };
        let ids = deps.iter().map(|dep| dep.id).collect();
        let message = Message::new(group.row.id, row.timestamp_ms, ids, body).ok();
        Ok(message.map(|message| group.scheme.message_id(&message)))
    }

    fn held(&mut self, old: &MessageRow, message: &Message, placed: bool) -> Result<(), StoreError> {
        let wanted = match self.new.find(&old.id)? {
            Some(row) if row.state != MessageState::Wanted => {
                self.report.leave_message(old, "it is there twice");
                return Ok(());
            }
            Some(row) if row.group != old.group => {
                self.report.leave_message(old, "a message of another group depends on it");
                return Ok(());
            }
            found => found,
        };
        let deps = self.look_up(message.deps())?;
        let bad = |row: &MessageRow| row.group != old.group || row.state == MessageState::Invalid;
        if deps.iter().any(|(_, row)| row.as_ref().is_some_and(bad)) {
            self.report.leave_message(old, "it depends on what is invalid or of another group");
            return Ok(());
        }
        let delivered = |dep: &Dep| dep.1.is_some_and(|row| row.state.is_delivered());
        let missing = deps.iter().filter(|dep| !delivered(dep)).count();
        let judged = self.groups.get(&old.group).is_none_or(|group| group.row.judged);
        let state = if judged && !placed {
            MessageState::Unvalidated
        } else if missing > 0 {
            MessageState::Waiting
        } else if !placed && old.timestamp_ms > self.early_after_ms {
            MessageState::Early
        } else {
            MessageState::Delivered
        };
        let mut row = MessageRow {
            num: wanted.map_or(MessageNum(0), |row| row.num),
            state,
            origin: old.origin,
            arrived: old.arrived,
            timestamp_ms: old.timestamp_ms,
            body_len: u32::try_from(message.body().len()).unwrap_or(u32::MAX),
            missing: u32::try_from(missing).unwrap_or(u32::MAX),
            ..MessageRow::wanted(old.id, old.group)
        };
        // What a client said of it goes with its verdict.
        if placed {
            row.author = self.author(old)?;
            row.expires_ms = old.expires_ms;
        }
        if state == MessageState::Delivered {
            let keys = deps.iter().filter_map(|dep| dep.1).map(|dep| (dep.eff_ms, dep.height));
            self.append(&mut row, keys, old.position);
        }
        let nums = self.place(old.group, &deps)?;
        self.write(&mut row, &nums, message.body(), wanted.is_some())?;
        if state != MessageState::Delivered {
            for (_, &num) in deps.iter().zip(&nums).filter(|(dep, _)| !delivered(dep)) {
                self.new.add_edge(num, row.num)?;
            }
            return Ok(());
        }
        self.settle(&row, &nums);
        if wanted.is_some() { self.free_children(row.num) } else { Ok(()) }
    }

    fn write(
        &mut self,
        row: &mut MessageRow,
        deps: &[MessageNum],
        body: &Bytes,
        wanted: bool,
    ) -> Result<(), StoreError> {
        self.report.messages += 1;
        if wanted {
            return self.new.fill(row, deps, body);
        }
        row.num = self.new.insert(row, deps, Some(body))?;
        Ok(())
    }

    /// Copies what has no body, where something shows that it is sound.
    fn tombstone(&mut self, old: &MessageRow, deps: &[StoredDep], placed: bool) -> Result<(), StoreError> {
        if old.state == MessageState::Wanted {
            // What is still wanted is wanted again by what names it.
            return Ok(());
        }
        if self.new.find(&old.id)?.is_some() {
            self.report.leave_message(old, "a tombstone of what is held, or depended on");
            return Ok(());
        }
        let mut row = MessageRow {
            state: old.state,
            origin: old.origin,
            arrived: old.arrived,
            timestamp_ms: old.timestamp_ms,
            body_len: old.body_len,
            ..MessageRow::wanted(old.id, old.group)
        };
        match old.state {
            MessageState::Invalid => {
                let known = InvalidReason::from_code(old.reason).is_some();
                if !known || (old.position, old.height) != (0, 0) {
                    self.report.leave_message(old, "an invalid message with a position, or without a reason");
                    return Ok(());
                }
                row.reason = old.reason;
                self.report.messages += 1;
                self.new.insert(&row, &[], None).map(drop)
            }
            MessageState::Pruned if placed => {
                let ids: Vec<_> = deps.iter().map(|dep| dep.id).collect();
                let deps = self.look_up(&ids)?;
                let there: Option<Vec<MessageRow>> = deps
                    .iter()
                    .map(|dep| dep.1.filter(|row| row.state.is_delivered() && row.group == old.group))
                    .collect();
                let Some(there) = there else {
                    self.report.leave_message(old, "pruned, and what it depends on is not delivered");
                    return Ok(());
                };
                let keys = there.iter().map(|dep| (dep.eff_ms, dep.height));
                if OrderKey::of(old.timestamp_ms, old.id, keys.clone()) != old.key() {
                    self.report
                        .leave_message(old, "pruned, and its place does not follow from what is known");
                    return Ok(());
                }
                row.author = self.author(old)?;
                row.expires_ms = old.expires_ms;
                self.append(&mut row, keys, old.position);
                let nums: Vec<_> = there.iter().map(|dep| dep.num).collect();
                row.num = self.new.insert(&row, &nums, None)?;
                self.report.messages += 1;
                self.settle(&row, &nums);
                Ok(())
            }
            MessageState::Gap if placed && old.eff_ms >= 0 && old.height > 0 => {
                row.timestamp_ms = 0;
                if let Some(group) = self.groups.get_mut(&old.group) {
                    group.append(&mut row, old.key(), old.position);
                }
                row.num = self.new.insert(&row, &[], None)?;
                self.report.messages += 1;
                self.settle(&row, &[]);
                Ok(())
            }
            state => {
                self.report.leave_message(old, format!("{state:?}, without a body, and nothing shows why"));
                Ok(())
            }
        }
    }

    fn look_up(&self, ids: &[MessageId]) -> Result<Vec<Dep>, StoreError> {
        ids.iter().map(|id| Ok((*id, self.new.find(id)?))).collect()
    }

    /// Numbers for all dependencies; those that are not there are wanted.
    fn place(&mut self, group: GroupNum, deps: &[Dep]) -> Result<Vec<MessageNum>, StoreError> {
        let mut nums = Vec::with_capacity(deps.len());
        for (id, row) in deps {
            nums.push(match row {
                Some(row) => row.num,
                None => self.new.insert(&MessageRow::wanted(*id, group), &[], None)?,
            });
        }
        Ok(nums)
    }

    fn author(&mut self, old: &MessageRow) -> Result<Option<crate::store::AuthorNum>, StoreError> {
        let Some(num) = old.author else { return Ok(None) };
        match readable(self.old.author(num))? {
            Ok(Some(author)) if author.group == old.group => {
                match self.new.author_num(old.group, &author.key)? {
                    None => self.new.add_author(old.group, &author.key).map(Some),
                    known => Ok(known),
                }
            }
            _ => Ok(None),
        }
    }

    fn append(&mut self, row: &mut MessageRow, keys: impl Iterator<Item = (i64, u64)>, old_position: u64) {
        let key = OrderKey::of(row.timestamp_ms, row.id, keys);
        if let Some(group) = self.groups.get_mut(&row.group) {
            group.append(row, key, old_position);
        }
    }

    fn settle(&mut self, row: &MessageRow, deps: &[MessageNum]) {
        if let Some(group) = self.groups.get_mut(&row.group) {
            group.settle(row.num, deps);
        }
    }

    /// Delivers what waited for a message, and what waited for that.
    fn free_children(&mut self, parent: MessageNum) -> Result<(), StoreError> {
        let mut delivered = VecDeque::from([parent]);
        while let Some(parent) = delivered.pop_front() {
            loop {
                let children = self.new.children(parent, MessageNum(0), CHUNK)?;
                if children.is_empty() {
                    break;
                }
                for child in children {
                    self.new.remove_edge(parent, child)?;
                    if self.free(child)? {
                        delivered.push_back(child);
                    }
                }
            }
        }
        Ok(())
    }

    /// One dependency of `child` was delivered; whether that delivered it too.
    fn free(&mut self, child: MessageNum) -> Result<bool, StoreError> {
        let Some(mut row) = self.new.row(child)? else { return Ok(false) };
        row.missing = row.missing.saturating_sub(1);
        let free = row.missing == 0 && row.state == MessageState::Waiting;
        let early = free && row.timestamp_ms > self.early_after_ms;
        if early {
            row.state = MessageState::Early;
        }
        if !free || early {
            self.new.update(&row)?;
            return Ok(false);
        }
        let deps = self.new.content(child)?.map(|content| content.deps).unwrap_or_default();
        let nums: Vec<_> = deps.iter().map(|dep| dep.num).collect();
        let mut keys = Vec::with_capacity(nums.len());
        for &num in &nums {
            keys.extend(self.new.row(num)?.map(|dep| (dep.eff_ms, dep.height)));
        }
        row.state = MessageState::Delivered;
        self.append(&mut row, keys.into_iter(), 0);
        self.new.update(&row)?;
        self.settle(&row, &nums);
        Ok(true)
    }

    /// Writes what is known of the groups only now, and commits.
    pub(super) fn finish(self) -> Result<RepairReport, StoreError> {
        let Self { new, mut report, groups, .. } = self;
        for group in groups.into_values() {
            let GroupRow { num, id, head, chain, body_bytes, .. } = group.row;
            new.set_head(num, head, chain, body_bytes)?;
            let heads: Vec<_> = group.heads.into_iter().collect();
            new.change_heads(num, &[], &heads)?;
            let (old_head, unchanged_to) = (group.old_head, group.unchanged_to);
            report.groups.push(RepairedGroup { id, old_head, head, unchanged_to });
        }
        new.commit()?;
        Ok(report)
    }
}
