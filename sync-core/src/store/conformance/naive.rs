//! The model of a store: every answer by looking at everything, every transaction by copying everything.

use bytes::Bytes;
use hedgerow_proto::MessageId;

use crate::order::OrderKey;
use crate::store::{
    AuthorNum, AuthorRow, Content, Direction, Edge, GroupNum, GroupRow, KeyValue, MessageNum, MessageRow,
    MessageState, PeerGroupRow, PeerNum, PeerRow, Snapshot, Store, StoreError, StoredDep,
};

#[derive(Clone, Default)]
struct Everything {
    small: Snapshot,
    messages: Vec<(MessageRow, Vec<MessageNum>, Option<Bytes>)>,
    last: u64,
    edges: Vec<Edge>,
    heads: Vec<(GroupNum, MessageNum)>,
    values: Vec<(String, KeyValue)>,
    authors: Vec<AuthorRow>,
}

/// A store that is right because it is simple.
#[derive(Default)]
pub(super) struct NaiveStore {
    now: Everything,
    committed: Everything,
}

fn no<T>() -> Result<T, StoreError> {
    Err(StoreError::Corrupt("the model refuses".to_owned()))
}

/// An error if something that has to be is not.
fn must(holds: bool) -> Result<(), StoreError> {
    if holds { Ok(()) } else { no() }
}

fn put<T>(rows: &mut Vec<T>, row: T, same: impl Fn(&T) -> bool) {
    rows.retain(|row| !same(row));
    rows.push(row);
}

impl NaiveStore {
    fn has(&self, num: MessageNum) -> bool {
        self.now.messages.iter().any(|(row, ..)| row.num == num)
    }

    fn has_group(&self, group: GroupNum) -> bool {
        self.now.small.groups.iter().any(|row| row.num == group)
    }

    fn rows(&self, keep: impl Fn(&MessageRow) -> bool, limit: usize) -> Vec<MessageRow> {
        let mut rows: Vec<_> = self.now.messages.iter().map(|(row, ..)| *row).filter(keep).collect();
        rows.sort_by_key(|row| row.num);
        rows.truncate(limit);
        rows
    }

    fn write(
        &mut self,
        row: &MessageRow,
        deps: &[MessageNum],
        body: Option<Bytes>,
    ) -> Result<(), StoreError> {
        let others = || self.now.messages.iter().map(|(row, ..)| row).filter(|other| other.num != row.num);
        must(self.has_group(row.group))?;
        must(row.state.is_delivered() == (row.position > 0))?;
        must(!row.state.has_body() || body.is_some())?;
        must(deps.iter().all(|dep| self.has(*dep)))?;
        must(others().all(|other| other.id != row.id))?;
        must(others().all(|o| row.position == 0 || (o.group, o.position) != (row.group, row.position)))?;
        let body = body.filter(|_| row.state.has_body());
        put(&mut self.now.messages, (*row, deps.to_vec(), body), |(other, ..)| other.num == row.num);
        Ok(())
    }
}

impl Store for NaiveStore {
    fn commit(&mut self) -> Result<(), StoreError> {
        self.committed = self.now.clone();
        Ok(())
    }

    fn rollback(&mut self) -> Result<(), StoreError> {
        self.now = self.committed.clone();
        Ok(())
    }

    fn load(&self) -> Result<Snapshot, StoreError> {
        let mut small = self.now.small.clone();
        small.groups.sort_by_key(|row| row.num);
        small.peers.sort_by_key(|row| row.num);
        small.peer_groups.sort_by_key(|row| (row.peer, row.group));
        Ok(small)
    }

    fn set_install(&mut self, install: u64) -> Result<(), StoreError> {
        self.now.small.install = Some(install);
        Ok(())
    }

    fn put_group(&mut self, group: &GroupRow) -> Result<(), StoreError> {
        let small = &mut self.now.small;
        must(small.groups.iter().all(|row| row.num == group.num || row.id != group.id))?;
        put(&mut small.groups, group.clone(), |row| row.num == group.num);
        small.last_nums.0 = small.last_nums.0.max(group.num.0);
        Ok(())
    }

    fn set_head(&mut self, group: GroupNum, head: u64, chain: u64, bytes: u64) -> Result<(), StoreError> {
        let row = self.now.small.groups.iter_mut().find(|row| row.num == group);
        row.map_or(no(), |row| {
            (row.head, row.chain, row.body_bytes) = (head, chain, bytes);
            Ok(())
        })
    }

    fn author_num(&self, group: GroupNum, key: &[u8; 32]) -> Result<Option<AuthorNum>, StoreError> {
        let found = self.now.authors.iter().find(|row| (row.group, row.key) == (group, *key));
        Ok(found.map(|row| row.num))
    }

    fn add_author(&mut self, group: GroupNum, key: &[u8; 32]) -> Result<AuthorNum, StoreError> {
        must(self.has_group(group) && self.author_num(group, key)?.is_none())?;
        let num = AuthorNum(1 + self.now.authors.iter().map(|row| row.num.0).max().unwrap_or(0));
        self.now.authors.push(AuthorRow { num, group, key: *key });
        Ok(num)
    }

    fn author(&self, num: AuthorNum) -> Result<Option<AuthorRow>, StoreError> {
        Ok(self.now.authors.iter().find(|row| row.num == num).copied())
    }

    fn remove_group(&mut self, group: GroupNum) -> Result<(), StoreError> {
        must(self.has_group(group))?;
        self.now.messages.retain(|(row, ..)| row.group != group);
        let edges = std::mem::take(&mut self.now.edges);
        self.now.edges = edges.into_iter().filter(|edge| self.has(edge.0) && self.has(edge.1)).collect();
        self.now.heads.retain(|head| head.0 != group);
        self.now.small.peer_groups.retain(|row| row.group != group);
        self.now.small.groups.retain(|row| row.num != group);
        self.now.authors.retain(|row| row.group != group);
        Ok(())
    }

    fn put_peer(&mut self, peer: &PeerRow) -> Result<(), StoreError> {
        let small = &mut self.now.small;
        must(small.peers.iter().all(|row| row.num == peer.num || row.id != peer.id))?;
        put(&mut small.peers, *peer, |row| row.num == peer.num);
        small.last_nums.1 = small.last_nums.1.max(peer.num.0);
        Ok(())
    }

    fn remove_peer(&mut self, peer: PeerNum) -> Result<(), StoreError> {
        must(self.now.small.peers.iter().any(|row| row.num == peer))?;
        self.now.small.peers.retain(|row| row.num != peer);
        self.now.small.peer_groups.retain(|row| row.peer != peer);
        Ok(())
    }

    fn put_peer_group(&mut self, row: &PeerGroupRow) -> Result<(), StoreError> {
        must(self.has_group(row.group))?;
        must(self.now.small.peers.iter().any(|peer| peer.num == row.peer))?;
        put(&mut self.now.small.peer_groups, row.clone(), |other| {
            (other.peer, other.group) == (row.peer, row.group)
        });
        Ok(())
    }

    fn find(&self, id: &MessageId) -> Result<Option<MessageRow>, StoreError> {
        Ok(self.rows(|row| row.id == *id, 1).pop())
    }

    fn row(&self, num: MessageNum) -> Result<Option<MessageRow>, StoreError> {
        Ok(self.rows(|row| row.num == num, 1).pop())
    }

    fn at(&self, group: GroupNum, position: u64) -> Result<Option<MessageRow>, StoreError> {
        Ok(self.rows(|row| position > 0 && (row.group, row.position) == (group, position), 1).pop())
    }

    fn content(&self, num: MessageNum) -> Result<Option<Content>, StoreError> {
        let Some((row, nums, body)) = self.now.messages.iter().find(|(row, ..)| row.num == num) else {
            return Ok(None);
        };
        let mut deps = Vec::new();
        for &dep in nums {
            match self.row(dep)? {
                Some(dep) => deps.push(StoredDep { num: dep.num, id: dep.id, position: dep.position }),
                None => must(row.state == MessageState::Invalid)?,
            }
        }
        Ok(Some(Content { deps, body: body.clone() }))
    }

    fn insert(
        &mut self,
        row: &MessageRow,
        deps: &[MessageNum],
        body: Option<&Bytes>,
    ) -> Result<MessageNum, StoreError> {
        let num = MessageNum(self.now.last + 1);
        self.write(&MessageRow { num, ..*row }, deps, body.cloned())?;
        self.now.last = num.0;
        Ok(num)
    }

    fn fill(&mut self, row: &MessageRow, deps: &[MessageNum], body: &Bytes) -> Result<(), StoreError> {
        let Some(old) = self.row(row.num)? else { return no() };
        must(old.state == MessageState::Wanted)?;
        self.write(&MessageRow { id: old.id, ..*row }, deps, Some(body.clone()))
    }

    fn update(&mut self, row: &MessageRow) -> Result<(), StoreError> {
        let Some((old, deps, body)) = self.now.messages.iter().find(|(old, ..)| old.num == row.num).cloned()
        else {
            return no();
        };
        let MessageRow { num, id, timestamp_ms, origin, arrived, body_len, .. } = old;
        let row = MessageRow { num, id, timestamp_ms, origin, arrived, body_len, ..*row };
        let state = row.state;
        // The dependencies stay, whatever became of them; but those of what is invalid go.
        let deps = if state == MessageState::Invalid { Vec::new() } else { deps };
        self.write(&row, &[], body)?;
        let written = self.now.messages.iter_mut().find(|(written, ..)| written.num == row.num);
        written.map_or(no(), |written| {
            written.1 = deps;
            Ok(())
        })
    }

    fn set_deps(&mut self, num: MessageNum, deps: &[MessageNum]) -> Result<(), StoreError> {
        let found = self.now.messages.iter().find(|(row, ..)| row.num == num).cloned();
        let Some((row, _, body)) = found else { return no() };
        must(row.state == MessageState::Unvalidated)?;
        self.write(&row, deps, body)
    }

    fn remove(&mut self, num: MessageNum) -> Result<(), StoreError> {
        must(self.has(num))?;
        must(self.now.edges.iter().all(|edge| edge.0 != num))?;
        let deps: Vec<_> = self.content(num)?.into_iter().flat_map(|content| content.deps).collect();
        self.now.edges.retain(|edge| edge.1 != num || deps.iter().all(|dep| dep.num != edge.0));
        self.now.heads.retain(|head| head.1 != num);
        self.now.messages.retain(|(row, ..)| row.num != num);
        Ok(())
    }

    fn add_edge(&mut self, parent: MessageNum, child: MessageNum) -> Result<(), StoreError> {
        must(self.has(parent) && self.has(child))?;
        put(&mut self.now.edges, (parent, child), |edge| *edge == (parent, child));
        Ok(())
    }

    fn remove_edge(&mut self, parent: MessageNum, child: MessageNum) -> Result<(), StoreError> {
        self.now.edges.retain(|edge| *edge != (parent, child));
        Ok(())
    }

    fn children(
        &self,
        parent: MessageNum,
        after: MessageNum,
        limit: usize,
    ) -> Result<Vec<MessageNum>, StoreError> {
        let mut children: Vec<_> =
            self.now.edges.iter().filter(|e| e.0 == parent && e.1 > after).map(|e| e.1).collect();
        children.sort();
        children.truncate(limit);
        Ok(children)
    }

    fn in_state(
        &self,
        state: MessageState,
        after: MessageNum,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        Ok(self.rows(|row| row.state == state && row.num > after, limit))
    }

    fn expiring(&self, until_ms: i64, limit: usize) -> Result<Vec<MessageRow>, StoreError> {
        let expires = |row: &MessageRow| row.expires_ms.filter(|_| row.state.has_body());
        let mut rows = self.rows(|row| expires(row).is_some_and(|at| at <= until_ms), usize::MAX);
        rows.sort_by_key(|row| (expires(row), row.num));
        rows.truncate(limit);
        Ok(rows)
    }

    fn page(
        &self,
        group: GroupNum,
        after: Option<&OrderKey>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<MessageRow>, StoreError> {
        let mut rows = self.rows(|row| row.group == group && row.state.is_delivered(), usize::MAX);
        rows.sort_by_key(MessageRow::key);
        match direction {
            Direction::Forward => rows.retain(|row| after.is_none_or(|after| row.key() > *after)),
            Direction::Backward => {
                rows.retain(|row| after.is_none_or(|after| row.key() < *after));
                rows.reverse();
            }
        }
        rows.truncate(limit);
        Ok(rows)
    }

    fn heads(&self, group: GroupNum) -> Result<Vec<MessageNum>, StoreError> {
        let mut heads: Vec<_> =
            self.now.heads.iter().filter(|head| head.0 == group).map(|head| head.1).collect();
        heads.sort();
        Ok(heads)
    }

    fn change_heads(
        &mut self,
        group: GroupNum,
        removed: &[MessageNum],
        added: &[MessageNum],
    ) -> Result<(), StoreError> {
        must(self.has_group(group) && added.iter().all(|num| self.has(*num)))?;
        self.now.heads.retain(|head| head.0 != group || !removed.contains(&head.1));
        for &num in added {
            put(&mut self.now.heads, (group, num), |head| *head == (group, num));
        }
        Ok(())
    }

    fn scan(&self, after: MessageNum, limit: usize) -> Result<Vec<MessageRow>, StoreError> {
        Ok(self.rows(|row| row.num > after, limit))
    }

    fn edges(&self, after: Edge, limit: usize) -> Result<Vec<Edge>, StoreError> {
        let mut edges: Vec<_> = self.now.edges.iter().copied().filter(|edge| *edge > after).collect();
        edges.sort();
        edges.truncate(limit);
        Ok(edges)
    }

    fn value(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self.now.values.iter().find(|(s, (k, _))| s == space && k == key);
        Ok(found.map(|(_, (_, value))| value.clone()))
    }

    fn set_value(&mut self, space: &str, key: &[u8], value: Option<&[u8]>) -> Result<(), StoreError> {
        self.now.values.retain(|(s, (k, _))| s != space || k != key);
        if let Some(value) = value {
            self.now.values.push((space.to_owned(), (key.to_vec(), value.to_vec())));
        }
        Ok(())
    }

    fn values(&self, space: &str, after: Option<&[u8]>, limit: usize) -> Result<Vec<KeyValue>, StoreError> {
        let mut values: Vec<_> =
            self.now.values.iter().filter(|(s, _)| s == space).map(|(_, pair)| pair.clone()).collect();
        values.retain(|(key, _)| after.is_none_or(|after| key.as_slice() > after));
        values.sort();
        values.truncate(limit);
        Ok(values)
    }
}
