//! What is read from stored rows alone: chats in their two orders, names, members. On one moment of the store, beside the
//! engine or on its thread.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hedgerow_clients::{AuthorState, ChatGroup, Client, Post};
use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, MessageId, PeerId};
use hedgerow_sync_core::store::{Direction, MessageState};
use hedgerow_sync_core::{Entry, GroupReader, OrderKey, Store, Time};

use crate::chat::{ChatItem, ChatLine, Gone, GoneItem, Member, Quarantined};
use crate::core::index::{GAP, Reading, numbered, read_entry};
use crate::core::{ChatRow, ContactRow, Me, read_name, rows};
use crate::error::NodeError;
use crate::foreign::ForeignMessage;
use crate::limits::PAGE_BYTES;

/// A part of the delivery order.
pub(crate) struct LogPage {
    pub(crate) items: Vec<ChatLine>,
    /// The position up to which it reaches, unreadable messages included.
    pub(crate) to: u64,
}

/// The store as it is at one moment, and who reads it.
pub(crate) struct View<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) me: &'a Me,
    pub(crate) now: Time,
}

/// A joined group as its rows have it.
struct ChatView<'a> {
    id: GroupId,
    reader: GroupReader<'a, dyn Store + 'a>,
    descriptor: GroupDescriptor,
    client: Option<Arc<dyn Client>>,
    unjudged_to: u64,
}

impl<'a> View<'a> {
    /// A group that was joined.
    fn chat(&self, id: GroupId) -> Result<ChatView<'a>, NodeError> {
        let unknown = || NodeError::UnknownGroup(id);
        let row: ChatRow = rows::get_json(self.store, rows::CHAT, id.as_bytes())?.ok_or_else(unknown)?;
        let reader = GroupReader::open(self.store, id, self.now)?.ok_or_else(unknown)?;
        let descriptor = reader.descriptor()?;
        let client = self.me.client_of(&descriptor);
        Ok(ChatView { id, reader, descriptor, client, unjudged_to: row.unjudged_to })
    }

    /// One that is read here.
    fn readable(&self, id: GroupId) -> Result<ChatView<'a>, NodeError> {
        let chat = self.chat(id)?;
        if chat.client.is_none() {
            let client_id = chat.descriptor.client_id().to_owned();
            return Err(NodeError::NoClient { group: id, client_id });
        }
        Ok(chat)
    }

    /// Reads on in the delivery order, as far as it is indexed.
    pub(crate) fn read_log(
        &self,
        group: GroupId,
        after: u64,
        max_count: usize,
        max_bytes: usize,
    ) -> Result<LogPage, NodeError> {
        let chat = self.readable(group)?;
        let indexed = rows::number(self.store, rows::INDEX, group.as_bytes())?;
        let room = usize::try_from(indexed.saturating_sub(after)).unwrap_or(usize::MAX);
        if room == 0 || max_count == 0 {
            return Ok(LogPage { items: Vec::new(), to: after });
        }
        let entries = chat.reader.log(after, max_count.min(room), max_bytes)?;
        let to = entries.last().map_or(after, |entry| entry.position);
        let mut flags = BTreeMap::new();
        let from = rows::key(group, &after.to_be_bytes());
        for (key, value) in self.store.values(rows::FLAG, Some(&from), entries.len())? {
            if let Some(position) = key.strip_prefix(group.as_bytes().as_slice()) {
                flags.insert(rows::to_number(rows::FLAG, position)?, value);
            }
        }
        let items = self.items(&chat, entries, |position| Ok(flags.get(&position).cloned()))?;
        Ok(LogPage { items, to })
    }

    /// Reads in the canonical order.
    pub(crate) fn read_page(
        &self,
        group: GroupId,
        after: Option<OrderKey>,
        direction: Direction,
        limit: usize,
        with_gone: bool,
    ) -> Result<Vec<ChatLine>, NodeError> {
        let chat = self.readable(group)?;
        let mut found = Vec::new();
        let mut after = after;
        // Pages until there are enough: some entries may be unreadable.
        while found.len() < limit {
            let entries = chat.reader.page(after.as_ref(), direction, limit - found.len())?;
            let Some(last) = entries.last() else { break };
            after = Some(last.key);
            let lines = self.items(&chat, entries, |position| {
                Ok(self.store.value(rows::FLAG, &rows::key(group, &position.to_be_bytes()))?)
            })?;
            found.extend(lines.into_iter().filter(|line| with_gone || matches!(line, ChatLine::Message(_))));
        }
        Ok(found)
    }

    fn items(
        &self,
        chat: &ChatView<'_>,
        entries: Vec<Entry>,
        flags: impl Fn(u64) -> Result<Option<Vec<u8>>, NodeError>,
    ) -> Result<Vec<ChatLine>, NodeError> {
        let group = chat.id;
        let mut names: HashMap<PeerId, Option<String>> = HashMap::new();
        let mut states: HashMap<PeerId, AuthorState> = HashMap::new();
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries {
            let client = chat.client.as_deref();
            let post = match read_entry(client, &chat.descriptor, chat.unjudged_to, group, &entry) {
                Reading::Post(post) => post,
                Reading::Gone => {
                    items.push(ChatLine::Gone(Box::new(self.gone_item(group, &entry)?)));
                    continue;
                }
                Reading::Unreadable(_) => continue,
            };
            let Post { author, number, content, expires_ms } = *post;
            let author_name = match names.get(&author) {
                Some(name) => name.clone(),
                None => names.entry(author).or_insert(self.author_name(group, author)?).clone(),
            };
            let state = match states.entry(author) {
                std::collections::hash_map::Entry::Occupied(slot) => slot.into_mut(),
                std::collections::hash_map::Entry::Vacant(slot) => {
                    slot.insert(self.author_state(group, author)?)
                }
            };
            let fork = self.is_forked(group, author, number, state)?;
            let flags = flags(entry.position)?.and_then(|flags| flags.first().copied()).unwrap_or(0);
            items.push(ChatLine::Message(Box::new(ChatItem {
                position: entry.position,
                id: entry.id,
                key: entry.key,
                author,
                author_name,
                number,
                timestamp_ms: entry.timestamp_ms,
                content,
                expires_ms,
                deps: entry.deps,
                gap: flags & GAP != 0,
                fork,
            })));
        }
        Ok(items)
    }

    /// What is left of a message without a body.
    fn gone_item(&self, group: GroupId, entry: &Entry) -> Result<GoneItem, NodeError> {
        let author = entry.author.map(PeerId::from_bytes);
        let author_name = match author {
            Some(author) => self.author_name(group, author)?,
            None => None,
        };
        let over = entry.expires_ms.is_some_and(|at| at <= self.now.as_timestamp_ms());
        let why = match entry.state {
            MessageState::Gap => Gone::Missing,
            _ if over => Gone::Expired,
            _ => Gone::Pruned,
        };
        Ok(GoneItem {
            position: entry.position,
            id: entry.id,
            key: entry.key,
            author,
            author_name,
            timestamp_ms: entry.timestamp_ms,
            expires_ms: entry.expires_ms,
            why,
        })
    }

    /// What was noted of an author's running numbers.
    pub(crate) fn author_state(&self, group: GroupId, author: PeerId) -> Result<AuthorState, NodeError> {
        match self.store.value(rows::AUTHOR, &rows::key(group, author.as_bytes()))? {
            Some(row) => AuthorState::from_bytes(&row).map_err(|error| rows::damaged(rows::AUTHOR, error)),
            None => Ok(AuthorState::new()),
        }
    }

    /// Whether an author said two things under a number, given the author's state.
    fn is_forked(
        &self,
        group: GroupId,
        author: PeerId,
        number: u64,
        state: &AuthorState,
    ) -> Result<bool, NodeError> {
        // The state has the latest ones, and at least one if there is any.
        if state.forked().is_empty() || state.forked().contains(number) {
            return Ok(!state.forked().is_empty());
        }
        Ok(self.store.value(rows::FORK, &numbered(group, author, number))?.is_some())
    }

    /// What an author is called in a chat.
    fn author_name(&self, id: GroupId, peer: PeerId) -> Result<Option<String>, NodeError> {
        match self.store.value(rows::NAME, &rows::key(id, peer.as_bytes()))? {
            Some(value) => Ok(Some(read_name(&value)?.1)),
            None => self.known_name(peer),
        }
    }

    /// What a peer is called outside of any chat.
    fn known_name(&self, peer: PeerId) -> Result<Option<String>, NodeError> {
        if peer == self.me.peer {
            return Ok(self.me.name.clone());
        }
        let row: Option<ContactRow> = rows::get_json(self.store, rows::CONTACT, peer.as_bytes())?;
        Ok(row.and_then(|row| row.shown().map(str::to_owned)))
    }

    /// Who is known to be in a chat.
    pub(crate) fn members(&self, id: GroupId) -> Result<Vec<Member>, NodeError> {
        let chat = self.chat(id)?;
        let mut members = BTreeMap::new();
        match ChatGroup::parse(&chat.descriptor) {
            Ok(ChatGroup::Direct(group)) => members.extend(group.peers().map(|peer| (peer, None))),
            Ok(ChatGroup::Private(group)) => {
                members.insert(group.creator(), None);
            }
            _ => {}
        }
        rows::scan(self.store, rows::NAME, id.as_bytes(), |key, value| {
            let peer = PeerId::try_from(key).map_err(|error| rows::damaged(rows::NAME, error))?;
            members.insert(peer, Some(read_name(value)?.1));
            Ok(true)
        })?;
        let named = |(peer, name): (PeerId, Option<String>)| {
            let name = name.map_or_else(|| self.known_name(peer), |name| Ok(Some(name)))?;
            Ok(Member { peer, name })
        };
        members.into_iter().map(named).collect()
    }

    /// The unreadable messages of a chat: how many there are in all, and the last ones.
    pub(crate) fn quarantined(&self, group: GroupId) -> Result<(u64, Vec<Quarantined>), NodeError> {
        self.chat(group)?;
        let mut listed = Vec::new();
        rows::scan(self.store, rows::QUARANTINE, group.as_bytes(), |key, value| {
            let damaged = || rows::damaged(rows::QUARANTINE, "too short");
            let (id, reason) = value.split_first_chunk().ok_or_else(damaged)?;
            listed.push(Quarantined {
                position: rows::to_number(rows::QUARANTINE, key)?,
                id: MessageId::from_bytes(*id),
                reason: String::from_utf8_lossy(reason).into_owned(),
            });
            Ok(true)
        })?;
        Ok((rows::number(self.store, rows::QUARANTINED, group.as_bytes())?, listed))
    }

    /// Messages of a group of another maker in delivery order, from after a position.
    pub(crate) fn read_foreign(
        &self,
        group: GroupId,
        after: u64,
        max_count: usize,
    ) -> Result<Vec<ForeignMessage>, NodeError> {
        let reader = GroupReader::open(self.store, group, self.now)?;
        let foreign = reader.filter(|reader| reader.scheme() != IdScheme::Native);
        let entries = foreign.ok_or(NodeError::UnknownGroup(group))?.log(after, max_count, PAGE_BYTES)?;
        let message = |entry: Entry| ForeignMessage {
            position: entry.position,
            id: entry.id,
            key: entry.key,
            timestamp_ms: entry.timestamp_ms,
            deps: entry.deps,
            body: entry.body,
            origin: entry.origin,
        };
        Ok(entries.into_iter().map(message).collect())
    }
}
