//! The tables of a [`super::MemoryStore`] with their indexes, and changes that return their inverse.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hedgerow_proto::{GroupId, MessageId, PeerId};
use smallvec::SmallVec;

use super::places::Places;
use super::states::States;
use crate::order::OrderKey;
use crate::seeded::SeededMap;
use crate::small::SmallMap;
use crate::store::{
    AuthorNum, AuthorRow, Edge, GroupNum, GroupRow, MessageNum, MessageRow, MessageState, PeerGroupRow,
    PeerNum, PeerRow,
};

/// Dependencies: a few of them stand in place, without an allocation.
pub(in crate::store) type Deps = SmallVec<[MessageNum; 3]>;

/// A message: its row, its dependencies in ascending order of id, its body.
#[derive(Debug, Clone)]
pub(in crate::store) struct Entry {
    pub(in crate::store) row: MessageRow,
    pub(in crate::store) deps: Deps,
    pub(in crate::store) body: Option<Bytes>,
}

/// One change to one row: `None` (or `false`) takes it away. Applying a change gives the one that undoes it.
#[derive(Debug, Clone)]
pub(in crate::store) enum Change {
    Install(Option<u64>),
    LastNums((u32, u32)),
    Group(GroupNum, Option<GroupRow>),
    /// Head, chain value, bytes of bodies.
    GroupHead(GroupNum, (u64, u64, u64)),
    Author(AuthorNum, Option<AuthorRow>),
    Peer(PeerNum, Option<PeerRow>),
    PeerGroup((PeerNum, GroupNum), Option<PeerGroupRow>),
    Message(MessageNum, Option<Box<Entry>>),
    /// The row alone of a message that is there.
    Row(MessageRow),
    Edge(Edge, bool),
    Head(GroupNum, MessageNum, bool),
    Value(String, Vec<u8>, Option<Vec<u8>>),
}

/// All rows. Hash maps are never walked, so that the order of anything does not depend on their seed.
#[derive(Clone, Default)]
pub(in crate::store) struct Tables {
    pub(in crate::store) install: Option<u64>,
    pub(in crate::store) last_nums: (u32, u32),
    pub(in crate::store) groups: SmallMap<GroupNum, GroupRow>,
    pub(in crate::store) group_ids: HashMap<GroupId, GroupNum>,
    pub(in crate::store) authors: BTreeMap<AuthorNum, AuthorRow>,
    pub(in crate::store) author_nums: HashMap<(GroupNum, [u8; 32]), AuthorNum>,
    pub(in crate::store) peers: BTreeMap<PeerNum, PeerRow>,
    pub(in crate::store) peer_ids: HashMap<PeerId, PeerNum>,
    pub(in crate::store) peer_groups: BTreeMap<(PeerNum, GroupNum), PeerGroupRow>,
    /// Message 1 is the first element. Removed ones leave a hole: numbers are not given twice.
    pub(in crate::store) messages: Vec<Option<Entry>>,
    pub(in crate::store) message_ids: SeededMap<MessageId, MessageNum>,
    pub(in crate::store) places: SmallMap<GroupNum, Places>,
    /// Every message but the delivered ones.
    pub(in crate::store) states: States,
    /// Messages with a body that expire.
    pub(in crate::store) expiries: BTreeSet<(i64, MessageNum)>,
    pub(in crate::store) heads: BTreeSet<(GroupNum, MessageNum)>,
    pub(in crate::store) edges: BTreeSet<Edge>,
    pub(in crate::store) values: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>,
    pub(in crate::store) touched: Touched,
}

/// Counts rows as they are read and written.
#[derive(Debug, Default)]
pub(in crate::store) struct Touched(AtomicU64);

impl Touched {
    pub(in crate::store) fn add(&self) {
        // Who counts uses one thread, and needs no step that nothing can come between.
        self.0.store(self.count() + 1, Ordering::Relaxed);
    }

    pub(in crate::store) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Clone for Touched {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.count()))
    }
}

impl Tables {
    /// Makes the change and returns its inverse.
    pub(in crate::store) fn apply(&mut self, change: Change) -> Change {
        self.touched.add();
        match change {
            Change::Install(install) => Change::Install(std::mem::replace(&mut self.install, install)),
            Change::LastNums(nums) => Change::LastNums(std::mem::replace(&mut self.last_nums, nums)),
            Change::Group(num, row) => Change::Group(num, self.set_group(num, row)),
            Change::GroupHead(num, values) => match self.groups.get_mut(&num) {
                Some(row) => {
                    let before = Change::GroupHead(num, (row.head, row.chain, row.body_bytes));
                    (row.head, row.chain, row.body_bytes) = values;
                    before
                }
                None => Change::GroupHead(num, values),
            },
            Change::Author(num, row) => Change::Author(num, self.set_author(num, row)),
            Change::Peer(num, row) => Change::Peer(num, self.set_peer(num, row)),
            Change::PeerGroup(key, row) => {
                let before = match row {
                    Some(row) => self.peer_groups.insert(key, row),
                    None => self.peer_groups.remove(&key),
                };
                Change::PeerGroup(key, before)
            }
            Change::Message(num, entry) => {
                Change::Message(num, self.set_message(num, entry.map(|entry| *entry)).map(Box::new))
            }
            Change::Row(row) => match self.set_row(row) {
                Some(before) => Change::Row(before),
                None => Change::Row(row),
            },
            Change::Edge(edge, there) => Change::Edge(edge, set_member(&mut self.edges, edge, there)),
            Change::Head(group, num, there) => {
                Change::Head(group, num, set_member(&mut self.heads, (group, num), there))
            }
            Change::Value(space, key, value) => {
                let values = self.values.entry(space.clone()).or_default();
                let before = match value {
                    Some(value) => values.insert(key.clone(), value),
                    None => values.remove(&key),
                };
                Change::Value(space, key, before)
            }
        }
    }

    fn set_group(&mut self, num: GroupNum, row: Option<GroupRow>) -> Option<GroupRow> {
        let before = self.groups.remove(&num);
        if let Some(before) = &before {
            self.group_ids.remove(&before.id);
        }
        if let Some(row) = row {
            self.group_ids.insert(row.id, num);
            self.groups.insert(num, row);
        }
        before
    }

    fn set_author(&mut self, num: AuthorNum, row: Option<AuthorRow>) -> Option<AuthorRow> {
        let before = self.authors.remove(&num);
        if let Some(before) = &before {
            self.author_nums.remove(&(before.group, before.key));
        }
        if let Some(row) = row {
            self.author_nums.insert((row.group, row.key), num);
            self.authors.insert(num, row);
        }
        before
    }

    fn set_peer(&mut self, num: PeerNum, row: Option<PeerRow>) -> Option<PeerRow> {
        let before = self.peers.remove(&num);
        if let Some(before) = &before {
            self.peer_ids.remove(&before.id);
        }
        if let Some(row) = row {
            self.peer_ids.insert(row.id, num);
            self.peers.insert(num, row);
        }
        before
    }

    pub(in crate::store) fn set_message(&mut self, num: MessageNum, entry: Option<Entry>) -> Option<Entry> {
        let slot = self.messages.get_mut(index(num)?)?;
        let row = entry.as_ref().map(|entry| entry.row);
        let before = std::mem::replace(slot, entry);
        self.index(num, before.as_ref().map(|entry| &entry.row), row.as_ref());
        before
    }

    pub(in crate::store) fn set_row(&mut self, row: MessageRow) -> Option<MessageRow> {
        let entry = self.messages.get_mut(index(row.num)?)?.as_mut()?;
        let before = std::mem::replace(&mut entry.row, row);
        self.index(row.num, Some(&before), Some(&row));
        Some(before)
    }

    /// Changes what finds a message, as far as that follows from what changed in its row.
    fn index(&mut self, num: MessageNum, before: Option<&MessageRow>, after: Option<&MessageRow>) {
        let (old, new) = (before.map(|row| &row.id), after.map(|row| &row.id));
        if old != new {
            old.map(|id| self.message_ids.remove(id));
            new.map(|id| self.message_ids.insert(*id, num));
        }
        self.place(num, before, after);
    }

    /// The same for all but its id.
    fn place(&mut self, num: MessageNum, before: Option<&MessageRow>, after: Option<&MessageRow>) {
        let stands = |row: &&MessageRow| row.position > 0;
        let (old, new) = (before.filter(stands), after.filter(stands));
        let spot = |row: &MessageRow| (row.position, row.group, row.eff_ms, row.height);
        if old.map(spot) != new.map(spot) || old.map(|row| &row.id) != new.map(|row| &row.id) {
            if let Some(row) = old {
                self.leave_place(row.group, row.position, &row.key());
            }
            if let Some(row) = new {
                let places = self.places.or_default(row.group);
                places.set_at(row.position, num);
                places.set_key(row.key(), num);
            }
        }
        let state = |row: &MessageRow| (row.state != MessageState::Delivered).then_some((row.state, num));
        let (old, new) = (before.and_then(state), after.and_then(state));
        if old != new {
            old.map(|state| self.states.remove(&state));
            new.map(|state| self.states.insert(state));
        }
        let expiry = |row: &MessageRow| row.expires_ms.filter(|_| row.state.has_body()).map(|at| (at, num));
        let (old, new) = (before.and_then(expiry), after.and_then(expiry));
        if old != new {
            old.map(|expiry| self.expiries.remove(&expiry));
            new.map(|expiry| self.expiries.insert(expiry));
        }
    }

    fn leave_place(&mut self, group: GroupNum, position: u64, key: &OrderKey) {
        let Some(places) = self.places.get_mut(&group) else { return };
        places.clear_at(position);
        places.clear_key(key);
        if places.is_empty() {
            self.places.remove(&group);
        }
    }

    /// Puts a new message after the last one, if no other has its id.
    pub(in crate::store) fn push(&mut self, entry: Entry) -> bool {
        self.touched.add();
        match self.message_ids.entry(entry.row.id) {
            hash_map::Entry::Occupied(_) => return false,
            hash_map::Entry::Vacant(slot) => slot.insert(entry.row.num),
        };
        self.place(entry.row.num, None, Some(&entry.row));
        self.messages.push(Some(entry));
        true
    }

    /// Takes the last message away, and its number back.
    pub(in crate::store) fn pop(&mut self) {
        self.touched.add();
        if let Some(entry) = self.messages.pop().flatten() {
            self.index(entry.row.num, Some(&entry.row), None);
        }
    }

    /// The message at a position of a group.
    pub(in crate::store) fn at(&self, group: GroupNum, position: u64) -> Option<MessageNum> {
        self.places.get(&group)?.at(position)
    }

    /// The highest number ever given to a message; 0 for none.
    pub(in crate::store) fn last_message(&self) -> MessageNum {
        MessageNum(u64::try_from(self.messages.len()).unwrap_or(u64::MAX))
    }

    pub(in crate::store) fn message(&self, num: MessageNum) -> Option<&Entry> {
        self.touched.add();
        self.messages.get(index(num)?)?.as_ref()
    }

    pub(in crate::store) fn rows(&self) -> impl Iterator<Item = &MessageRow> {
        self.rows_after(MessageNum(0))
    }

    pub(in crate::store) fn rows_after(&self, after: MessageNum) -> impl Iterator<Item = &MessageRow> {
        let first = usize::try_from(after.0).unwrap_or(usize::MAX);
        self.messages.get(first..).unwrap_or_default().iter().flatten().map(|entry| &entry.row)
    }

    pub(in crate::store) fn in_state_after(
        &self,
        state: MessageState,
        after: MessageNum,
    ) -> impl Iterator<Item = &MessageRow> {
        self.states.after(state, after).filter_map(|num| Some(&self.message(num)?.row))
    }

    /// Messages with a body that expire at `until_ms` or before, those that expire first coming first.
    pub(in crate::store) fn expiring(&self, until_ms: i64) -> impl Iterator<Item = &MessageRow> {
        let keys = self.expiries.range(..=(until_ms, MessageNum(u64::MAX)));
        keys.filter_map(|&(_, num)| Some(&self.message(num)?.row))
    }

    pub(in crate::store) fn authors_of(&self, group: GroupNum) -> Vec<AuthorNum> {
        self.authors.values().filter(|row| row.group == group).map(|row| row.num).collect()
    }

    /// Delivered messages of a group in canonical order, after a key or from the first.
    pub(in crate::store) fn order_after(
        &self,
        group: GroupNum,
        after: Option<&OrderKey>,
    ) -> impl Iterator<Item = &MessageRow> {
        let nums = self.places.get(&group).map(|places| places.after(after));
        nums.into_iter().flatten().filter_map(|num| Some(&self.message(num)?.row))
    }

    /// Delivered messages of a group against the canonical order, before a key or from the last.
    pub(in crate::store) fn order_before(
        &self,
        group: GroupNum,
        before: Option<&OrderKey>,
    ) -> impl Iterator<Item = &MessageRow> {
        let nums = self.places.get(&group).map(|places| places.before(before));
        nums.into_iter().flatten().filter_map(|num| Some(&self.message(num)?.row))
    }

    pub(in crate::store) fn heads_of(&self, group: GroupNum) -> Vec<MessageNum> {
        let heads = self.heads.range((group, MessageNum(0))..=(group, MessageNum(u64::MAX)));
        heads.map(|&(_, num)| num).collect()
    }

    pub(in crate::store) fn edges_after(&self, after: Edge) -> impl Iterator<Item = Edge> {
        self.edges.range((Bound::Excluded(after), Bound::Unbounded)).copied()
    }

    /// Every edge from or to one of these messages, which are ascending.
    pub(in crate::store) fn edges_of(&self, nums: &[MessageNum]) -> Vec<Edge> {
        let named = |num| nums.binary_search(num).is_ok();
        self.edges.iter().filter(|(parent, child)| named(parent) || named(child)).copied().collect()
    }

    pub(in crate::store) fn values_after(
        &self,
        space: &str,
        after: Option<&[u8]>,
    ) -> impl Iterator<Item = (&Vec<u8>, &Vec<u8>)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.values
            .get(space)
            .into_iter()
            .flat_map(move |values| values.range::<[u8], _>((from, Bound::Unbounded)))
    }
}

/// Where a message stands among the messages; there is none with number 0.
fn index(num: MessageNum) -> Option<usize> {
    usize::try_from(num.0.checked_sub(1)?).ok()
}

/// Puts a member in or takes it out; whether it was there before.
fn set_member<T: Ord>(set: &mut BTreeSet<T>, member: T, there: bool) -> bool {
    if there { !set.insert(member) } else { set.remove(&member) }
}
