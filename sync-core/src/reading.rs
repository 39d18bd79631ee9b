//! Reading the messages of a group from a store alone, beside the engine that writes it.

use std::collections::HashMap;

use bytes::Bytes;
use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, Message, PeerId};

use crate::event::Entry;
use crate::order::{OrderKey, chain};
use crate::store::{Content, Direction, GroupNum, GroupRow, MessageRow, PeerNum, Store, StoreError};
use crate::time::Time;

/// One group of a store, for reading without an [`Engine`](crate::Engine). Everything is looked at as the engine looks
/// at it: content that is not what its id names, or a message that is not what the chain says, is an error.
///
/// Calls on it see one moment only if the store gives one, as that of SQLite does with `at_one_moment`.
#[derive(Debug)]
pub struct GroupReader<'a, S: ?Sized> {
    store: &'a S,
    row: GroupRow,
    scheme: IdScheme,
    now: Time,
}

impl<'a, S: Store + ?Sized> GroupReader<'a, S> {
    /// A group of a store; `None` if it is not there. The time decides which messages are over.
    ///
    /// # Errors
    /// When the store fails, or the row of the group is not what its id names.
    pub fn open(store: &'a S, group: GroupId, now: Time) -> Result<Option<Self>, StoreError> {
        let Some(row) = store.group(&group)? else { return Ok(None) };
        let scheme = read_descriptor(&row)?.0;
        Ok(Some(Self { store, row, scheme, now }))
    }

    /// How the group and its messages are named.
    #[must_use]
    pub fn scheme(&self) -> IdScheme {
        self.scheme
    }

    /// What the group is.
    ///
    /// # Errors
    /// Does not fail for a group that was opened.
    pub fn descriptor(&self) -> Result<GroupDescriptor, StoreError> {
        Ok(read_descriptor(&self.row)?.1)
    }

    /// The last position of its delivery order.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.row.head
    }

    /// Messages in delivery order, as [`Engine::log`](crate::Engine::log) gives them.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn log(&self, after: u64, max_count: usize, max_bytes: usize) -> Result<Vec<Entry>, StoreError> {
        let (num, head) = (self.row.num, self.row.head);
        let mut peers = HashMap::new();
        log(self.store, num, head, (after, max_count, max_bytes), |row| self.entry(row, &mut peers))
    }

    /// Messages in canonical order, as [`Engine::page`](crate::Engine::page) gives them.
    ///
    /// # Errors
    /// When the store fails or is damaged.
    pub fn page(
        &self,
        after: Option<&OrderKey>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let mut peers = HashMap::new();
        let rows = self.store.page(self.row.num, after, direction, limit)?;
        rows.iter().map(|row| self.entry(row, &mut peers)).collect()
    }

    fn entry(
        &self,
        row: &MessageRow,
        peers: &mut HashMap<PeerNum, Option<PeerId>>,
    ) -> Result<Entry, StoreError> {
        let origin = match row.origin {
            None => None,
            Some(num) => match peers.get(&num) {
                Some(id) => *id,
                None => *peers.entry(num).or_insert(self.store.peer(num)?.map(|peer| peer.id)),
            },
        };
        let content = sound_content(self.store, row, self.row.id, self.scheme)?;
        entry(self.store, row, content, origin, self.now)
    }
}

/// What a group's row says that it is.
pub(crate) fn read_descriptor(row: &GroupRow) -> Result<(IdScheme, GroupDescriptor), StoreError> {
    let damaged = |what: &str| StoreError::Corrupt(format!("group {}: {what}", row.id));
    let scheme = IdScheme::from_code(row.scheme).ok_or_else(|| damaged("unknown id scheme"))?;
    let descriptor = GroupDescriptor::new(row.client_id.clone(), row.major_version, row.descriptor.clone())
        .map_err(|error| damaged(&error.to_string()))?;
    if scheme.group_id(&descriptor) != Some(row.id) {
        return Err(damaged("its descriptor is not what its id names"));
    }
    Ok((scheme, descriptor))
}

/// The messages after position `after`, at most `max_count`, and no more after `max_bytes` of bodies; at least one.
pub(crate) fn log<S: Store + ?Sized>(
    store: &S,
    group: GroupNum,
    head: u64,
    (after, max_count, max_bytes): (u64, usize, usize),
    mut entry: impl FnMut(&MessageRow) -> Result<Entry, StoreError>,
) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::new();
    let mut bytes = 0_usize;
    let mut position = after;
    let mut chain = chain_at(store, group, after.min(head))?;
    while position < head && entries.len() < max_count.max(1) && (bytes < max_bytes || entries.is_empty()) {
        position += 1;
        let row = sound_row_at(store, group, position, chain)?;
        chain = row.chain;
        let entry = entry(&row)?;
        bytes += entry.body.as_ref().map_or(0, Bytes::len);
        entries.push(entry);
    }
    Ok(entries)
}

/// What an application reads of a message.
pub(crate) fn entry<S: Store + ?Sized>(
    store: &S,
    row: &MessageRow,
    content: Option<Content>,
    origin: Option<PeerId>,
    now: Time,
) -> Result<Entry, StoreError> {
    let (deps, body) = content.map_or((Vec::new(), None), |content| (content.deps, content.body));
    // Not even for the moment until it is pruned.
    let body = body.filter(|_| !row.is_over(now));
    let author = match row.author.filter(|_| body.is_none()) {
        Some(num) => store.author(num)?.map(|author| author.key),
        None => None,
    };
    Ok(Entry {
        id: row.id,
        position: row.position,
        key: row.key(),
        state: row.state,
        timestamp_ms: row.timestamp_ms,
        deps: deps.into_iter().map(|dep| dep.id).collect(),
        body,
        origin,
        arrived: row.arrived,
        expires_ms: row.expires_ms,
        author,
    })
}

/// Dependencies and body of a message. With a body, the id is computed again: it covers group, timestamp
/// and body, and dependencies where the scheme has them in the id, so that nothing of these can have changed.
pub(crate) fn sound_content<S: Store + ?Sized>(
    store: &S,
    row: &MessageRow,
    group: GroupId,
    scheme: IdScheme,
) -> Result<Option<Content>, StoreError> {
    let content = store.content(row.num)?;
    if !row.state.has_body() || store.keeps_in_memory() {
        return Ok(content);
    }
    let named = content.as_ref().and_then(|content| {
        let deps = content.deps.iter().map(|dep| dep.id).collect();
        let message = Message::new(group, row.timestamp_ms, deps, content.body.clone()?).ok()?;
        scheme.admit(&message).ok()?;
        Some(scheme.message_id(&message))
    });
    if named == Some(row.id) {
        return Ok(content);
    }
    Err(StoreError::Corrupt(format!(
        "message {} (number {}): its content is not what its id names",
        row.id, row.num.0
    )))
}

/// The chain value at a position that is in the log; 0 before the first.
pub(crate) fn chain_at<S: Store + ?Sized>(
    store: &S,
    group: GroupNum,
    position: u64,
) -> Result<u64, StoreError> {
    if position == 0 {
        return Ok(0);
    }
    Ok(store.at(group, position)?.ok_or_else(|| gap(group, position))?.chain)
}

/// The message at a position that is in the log, after one with the chain value `before`: another one in its
/// place would have another value.
pub(crate) fn sound_row_at<S: Store + ?Sized>(
    store: &S,
    group: GroupNum,
    position: u64,
    before: u64,
) -> Result<MessageRow, StoreError> {
    let row = store.at(group, position)?.ok_or_else(|| gap(group, position))?;
    if row.chain != chain(before, &row.id) || !row.state.is_delivered() {
        let what = format!("message {} (number {}) does not belong to", row.id, row.num.0);
        return Err(StoreError::Corrupt(format!("{what} position {position} of group number {}", group.0)));
    }
    Ok(row)
}

fn gap(group: GroupNum, position: u64) -> StoreError {
    StoreError::Corrupt(format!("there is no message at position {position} of group number {}", group.0))
}
