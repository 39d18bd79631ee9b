//! A store in memory: the twin of the durable ones, for tests, benches and simulations.

pub(super) mod places;
pub(super) mod states;
pub(super) mod tables;

use bytes::Bytes;
use hedgerow_proto::{GroupId, MessageId};

use self::tables::{Change, Deps, Entry, Tables};
use super::{
    AuthorNum, AuthorRow, Content, Direction, Edge, GroupNum, GroupRow, KeyValue, MessageNum, MessageRow,
    MessageState, PeerGroupRow, PeerNum, PeerRow, Snapshot, Store, StoreError, StoredDep,
};
use crate::order::OrderKey;

/// A [`Store`] that lives as long as the value does. It keeps transactions as durable stores do: what is not
/// committed goes with [`Store::rollback`] or [`MemoryStore::crash`]. A clone is a copy of everything.
#[derive(Clone, Default)]
pub struct MemoryStore {
    tables: Tables,
    /// What undoes the open transaction, in the order in which it was done; but for the messages that it put in, which
    /// go whole.
    undo: Vec<Change>,
    /// The number of the last message that was there before the open transaction.
    committed: u64,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a crash and a restart leave: everything committed, nothing else.
    pub fn crash(&mut self) {
        while self.tables.last_message().0 > self.committed {
            self.tables.pop();
        }
        while let Some(change) = self.undo.pop() {
            self.tables.apply(change);
        }
    }

    /// How many rows were read or written since the store was made, by the store that it is a copy of too: a measure
    /// of work that is the same on every machine.
    #[must_use]
    pub fn touched(&self) -> u64 {
        self.tables.touched.count()
    }

    /// Whether something was written since the last commit.
    #[must_use]
    pub fn is_dirty(&self) -> bool {
        !self.undo.is_empty() || self.tables.last_message().0 > self.committed
    }

    /// The rows themselves, for tests that break an invariant.
    #[cfg(test)]
    pub(super) fn tables(&mut self) -> &mut Tables {
        &mut self.tables
    }

    fn apply(&mut self, change: Change) {
        let inverse = self.tables.apply(change);
        self.undo.push(inverse);
    }

    /// Writes the row of a message that is there.
    fn put_row(&mut self, row: MessageRow) {
        self.tables.touched.add();
        let before = self.tables.set_row(row);
        if let Some(before) = before.filter(|_| row.num.0 <= self.committed) {
            self.undo.push(Change::Row(before));
        }
    }

    /// Writes a message that is there, or takes it away.
    fn put_entry(&mut self, num: MessageNum, entry: Option<Entry>) {
        self.tables.touched.add();
        let before = self.tables.set_message(num, entry);
        if num.0 <= self.committed {
            self.undo.push(Change::Message(num, before.map(Box::new)));
        }
    }

    fn entry(&self, num: MessageNum) -> Result<&Entry, StoreError> {
        self.tables.message(num).ok_or_else(|| absent("message", num.0))
    }

    fn group_row(&self, num: GroupNum) -> Result<&GroupRow, StoreError> {
        self.tables.groups.get(&num).ok_or_else(|| absent("group", num.0.into()))
    }

    /// What must hold of a row before it is written; the uniqueness of its position among it.
    fn admit(&self, row: &MessageRow, has_body: bool) -> Result<(), StoreError> {
        self.group_row(row.group)?;
        row.admit(has_body)?;
        if row.position == 0 {
            return Ok(());
        }
        match self.tables.at(row.group, row.position) {
            Some(other) if other != row.num => {
                corrupt(format!("position {} of group {} is taken", row.position, row.group.0))
            }
            _ => Ok(()),
        }
    }

    fn admit_deps(&self, deps: &[MessageNum]) -> Result<(), StoreError> {
        deps.iter().try_for_each(|&dep| self.entry(dep).map(drop))
    }

    fn put(&mut self, row: MessageRow, deps: Deps, body: Option<Bytes>) {
        let body = body.filter(|_| row.state.has_body());
        self.put_entry(row.num, Some(Entry { row, deps, body }));
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore")
            .field("groups", &self.tables.groups.len())
            .field("last_message", &self.tables.last_message())
            .field("uncommitted", &self.is_dirty())
            .finish_non_exhaustive()
    }
}

fn corrupt<T>(what: String) -> Result<T, StoreError> {
    Err(StoreError::Corrupt(what))
}

fn absent(what: &str, num: u64) -> StoreError {
    StoreError::Corrupt(format!("there is no {what} {num}"))
}

impl Store for MemoryStore {
    fn keeps_in_memory(&self) -> bool {
        true
    }

    fn commit(&mut self) -> Result<(), StoreError> {
        self.undo.clear();
        self.committed = self.tables.last_message().0;
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        self.crash();
        Ok(())
    }

    fn load(&self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot {
            install: self.tables.install,
            groups: self.tables.groups.values().cloned().collect(),
            peers: self.tables.peers.values().copied().collect(),
            peer_groups: self.tables.peer_groups.values().cloned().collect(),
            last_nums: self.tables.last_nums,
        })
    }

    fn group(&self, id: &GroupId) -> Result<Option<GroupRow>, StoreError> {
        let num = self.tables.group_ids.get(id);
        Ok(num.and_then(|num| self.tables.groups.get(num)).cloned())
    }

    fn peer(&self, num: PeerNum) -> Result<Option<PeerRow>, StoreError> {
        Ok(self.tables.peers.get(&num).copied())
    }

    fn set_install(&mut self, install: u64) -> Result<(), StoreError> {
        self.apply(Change::Install(Some(install)));
        Ok(())
    }

    fn put_group(&mut self, group: &GroupRow) -> Result<(), StoreError> {
        if self.tables.group_ids.get(&group.id).is_some_and(|&num| num != group.num) {
            return corrupt(format!("group {} is there under another number", group.id));
        }
        self.apply(Change::Group(group.num, Some(group.clone())));
        let (last_group, last_peer) = self.tables.last_nums;
        if group.num.0 > last_group {
            self.apply(Change::LastNums((group.num.0, last_peer)));
        }
        Ok(())
    }

    fn set_head(
        &mut self,
        group: GroupNum,
        head: u64,
        chain: u64,
        body_bytes: u64,
    ) -> Result<(), StoreError> {
        self.group_row(group)?;
        self.apply(Change::GroupHead(group, (head, chain, body_bytes)));
        Ok(())
    }

    fn remove_group(&mut self, group: GroupNum) -> Result<(), StoreError> {
        self.group_row(group)?;
        let nums: Vec<_> = self.tables.rows().filter(|row| row.group == group).map(|row| row.num).collect();
        for edge in self.tables.edges_of(&nums) {
            self.apply(Change::Edge(edge, false));
        }
        for head in self.tables.heads_of(group) {
            self.apply(Change::Head(group, head, false));
        }
        for num in nums {
            self.put_entry(num, None);
        }
        let pairs: Vec<_> = self.tables.peer_groups.keys().filter(|key| key.1 == group).copied().collect();
        for pair in pairs {
            self.apply(Change::PeerGroup(pair, None));
        }
        for author in self.tables.authors_of(group) {
            self.apply(Change::Author(author, None));
        }
        self.apply(Change::Group(group, None));
        Ok(())
    }

    fn put_peer(&mut self, peer: &PeerRow) -> Result<(), StoreError> {
        if self.tables.peer_ids.get(&peer.id).is_some_and(|&num| num != peer.num) {
            return corrupt(format!("peer {} is there under another number", peer.id));
        }
        self.apply(Change::Peer(peer.num, Some(*peer)));
        let (last_group, last_peer) = self.tables.last_nums;
        if peer.num.0 > last_peer {
            self.apply(Change::LastNums((last_group, peer.num.0)));
        }
        Ok(())
    }

    fn remove_peer(&mut self, peer: PeerNum) -> Result<(), StoreError> {
        if !self.tables.peers.contains_key(&peer) {
            return Err(absent("peer", peer.0.into()));
        }
        let pairs: Vec<_> = self.tables.peer_groups.keys().filter(|key| key.0 == peer).copied().collect();
        for pair in pairs {
            self.apply(Change::PeerGroup(pair, None));
        }
        self.apply(Change::Peer(peer, None));
        Ok(())
    }

    fn put_peer_group(&mut self, row: &PeerGroupRow) -> Result<(), StoreError> {
        self.group_row(row.group)?;
        if !self.tables.peers.contains_key(&row.peer) {
            return Err(absent("peer", row.peer.0.into()));
        }
        self.apply(Change::PeerGroup((row.peer, row.group), Some(row.clone())));
        Ok(())
    }

    fn author_num(&self, group: GroupNum, key: &[u8; 32]) -> Result<Option<AuthorNum>, StoreError> {
        Ok(self.tables.author_nums.get(&(group, *key)).copied())
    }

    fn add_author(&mut self, group: GroupNum, key: &[u8; 32]) -> Result<AuthorNum, StoreError> {
        self.group_row(group)?;
        if self.tables.author_nums.contains_key(&(group, *key)) {
            return corrupt("an author is there already".to_owned());
        }
        let last = self.tables.authors.last_key_value().map_or(0, |(num, _)| num.0);
        let num = AuthorNum(last.saturating_add(1));
        self.apply(Change::Author(num, Some(AuthorRow { num, group, key: *key })));
        Ok(num)
    }

    fn author(&self, num: AuthorNum) -> Result<Option<AuthorRow>, StoreError> {
        Ok(self.tables.authors.get(&num).copied())
    }

    fn find(&self, id: &MessageId) -> Result<Option<MessageRow>, StoreError> {
        self.tables.touched.add();
        self.tables.message_ids.get(id).map_or(Ok(None), |&num| self.row(num))
    }

    fn row(&self, num: MessageNum) -> Result<Option<MessageRow>, StoreError> {
        Ok(self.tables.message(num).map(|entry| entry.row))
    }

    fn at(&self, group: GroupNum, position: u64) -> Result<Option<MessageRow>, StoreError> {
        self.tables.at(group, position).map_or(Ok(None), |num| self.row(num))
    }

    fn content(&self, num: MessageNum) -> Result<Option<Content>, StoreError> {
        let Some(entry) = self.tables.message(num) else { return Ok(None) };
        let mut deps = Vec::with_capacity(entry.deps.len());
        for &dep in entry.deps.iter() {
            match self.tables.message(dep) {
                Some(Entry { row, .. }) => {
                    deps.push(StoredDep { num: dep, id: row.id, position: row.position });
                }
                // It belonged to another group and went with it.
                None if entry.row.state == MessageState::Invalid => {}
                None => return corrupt(format!("message {} depends on {}, which is gone", num.0, dep.0)),
            }
        }
        Ok(Some(Content { deps, body: entry.body.clone() }))
    }

    fn insert(
        &mut self,
        row: &MessageRow,
        deps: &[MessageNum],
        body: Option<&Bytes>,
    ) -> Result<MessageNum, StoreError> {
        let num = MessageNum(self.tables.last_message().0.saturating_add(1));
        let row = MessageRow { num, ..*row };
        self.admit(&row, body.is_some())?;
        self.admit_deps(deps)?;
        let body = body.filter(|_| row.state.has_body()).cloned();
        if !self.tables.push(Entry { row, deps: deps.into(), body }) {
            return corrupt(format!("message {} is there already", row.id));
        }
        Ok(num)
    }

    fn fill(&mut self, row: &MessageRow, deps: &[MessageNum], body: &Bytes) -> Result<(), StoreError> {
        let row = self.entry(row.num)?.row.filled(row)?;
        self.admit(&row, true)?;
        self.admit_deps(deps)?;
        self.put(row, deps.into(), Some(body.clone()));
        Ok(())
    }

    fn update(&mut self, row: &MessageRow) -> Result<(), StoreError> {
        let Entry { row: old, body, .. } = self.entry(row.num)?;
        let row = old.updated(row);
        self.admit(&row, body.is_some())?;
        if row.state == MessageState::Invalid || (body.is_some() && !row.state.has_body()) {
            let Entry { deps, body, .. } = self.entry(row.num)?.clone();
            let deps = if row.state == MessageState::Invalid { Deps::new() } else { deps };
            self.put(row, deps, body);
        } else {
            self.put_row(row);
        }
        Ok(())
    }

    fn set_deps(&mut self, num: MessageNum, deps: &[MessageNum]) -> Result<(), StoreError> {
        let Entry { row, body, .. } = self.entry(num)?.clone();
        if row.state != MessageState::Unvalidated {
            return corrupt(format!("message {} is {:?}, not unvalidated", row.id, row.state));
        }
        self.admit_deps(deps)?;
        self.put(row, deps.into(), body);
        Ok(())
    }

    fn remove(&mut self, num: MessageNum) -> Result<(), StoreError> {
        let Entry { row, deps, .. } = self.entry(num)?.clone();
        if !self.children(num, MessageNum(0), 1)?.is_empty() {
            return corrupt(format!("message {} cannot be removed: others wait for it", row.id));
        }
        for &dep in deps.iter() {
            self.remove_edge(dep, num)?;
        }
        self.change_heads(row.group, &[num], &[])?;
        self.put_entry(num, None);
        Ok(())
    }

    fn add_edge(&mut self, parent: MessageNum, child: MessageNum) -> Result<(), StoreError> {
        self.admit_deps(&[parent, child])?;
        self.apply(Change::Edge((parent, child), true));
        Ok(())
    }

    fn remove_edge(&mut self, parent: MessageNum, child: MessageNum) -> Result<(), StoreError> {
        self.apply(Change::Edge((parent, child), false));
        Ok(())
    }

    fn children(
        &self,
        parent: MessageNum,
        after: MessageNum,
        limit: usize,
    ) -> Result<Vec<MessageNum>, StoreError> {
        let edges = self.tables.edges_after((parent, after));
        Ok(edges.take_while(|edge| edge.0 == parent).take(limit).map(|edge| edge.1).collect())
    }

    fn in_state(
        &self,
        state: MessageState,
        after: MessageNum,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        if state == MessageState::Delivered {
            let rows = self.tables.rows_after(after).filter(|row| row.state == state);
            return Ok(rows.take(limit).copied().collect());
        }
        Ok(self.tables.in_state_after(state, after).take(limit).copied().collect())
    }

    fn expiring(&self, until_ms: i64, limit: usize) -> Result<Vec<MessageRow>, StoreError> {
        Ok(self.tables.expiring(until_ms).take(limit).copied().collect())
    }

    fn page(
        &self,
        group: GroupNum,
        after: Option<&OrderKey>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        Ok(match direction {
            Direction::Forward => self.tables.order_after(group, after).take(limit).copied().collect(),
            Direction::Backward => self.tables.order_before(group, after).take(limit).copied().collect(),
        })
    }

    fn heads(&self, group: GroupNum) -> Result<Vec<MessageNum>, StoreError> {
        Ok(self.tables.heads_of(group))
    }

    fn change_heads(
        &mut self,
        group: GroupNum,
        removed: &[MessageNum],
        added: &[MessageNum],
    ) -> Result<(), StoreError> {
        self.group_row(group)?;
        self.admit_deps(added)?;
        for &num in removed {
            self.apply(Change::Head(group, num, false));
        }
        for &num in added {
            self.apply(Change::Head(group, num, true));
        }
        Ok(())
    }

    fn scan(&self, after: MessageNum, limit: usize) -> Result<Vec<MessageRow>, StoreError> {
        Ok(self.tables.rows_after(after).take(limit).copied().collect())
    }

    fn edges(&self, after: Edge, limit: usize) -> Result<Vec<Edge>, StoreError> {
        Ok(self.tables.edges_after(after).take(limit).collect())
    }

    fn value(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.tables.values.get(space).and_then(|space| space.get(key)).cloned())
    }

    fn set_value(&mut self, space: &str, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        self.apply(Change::Value(space.to_owned(), key.to_vec(), value.map(<[u8]>::to_vec)));
        Ok(())
    }

    fn values(&self, space: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>, StoreError> {
        let pairs = self.tables.values_after(space, after);
        Ok(pairs.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

#[cfg(test)]
mod tests;
