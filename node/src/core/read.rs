//! Reading chats: pages of the two orders, and durable cursors.

use std::collections::{BTreeMap, HashMap};

use hedgerow_clients::{AuthorState, Post};
use hedgerow_proto::{GroupId, PeerId};
use hedgerow_sync_core::store::{Direction, MessageState};
use hedgerow_sync_core::{Entry, OrderKey};

use super::index::{GAP, Reading, read_entry};
use super::{Core, rows};
use crate::chat::{ChatItem, ChatLine, Gone, GoneItem};
use crate::error::NodeError;
use crate::limits::MAX_CURSOR_NAME;

/// A part of the delivery order.
pub(crate) struct LogPage {
    pub(crate) items: Vec<ChatLine>,
    /// The position up to which it reaches, unreadable messages included.
    pub(crate) to: u64,
}

impl Core {
    /// Reads on in the delivery order.
    pub(crate) fn read_log(
        &self,
        group: GroupId,
        after: u64,
        max_count: usize,
        max_bytes: usize,
    ) -> Result<LogPage, NodeError> {
        self.client_for(group)?;
        let indexed = self.chat_state(group)?.indexed;
        let room = usize::try_from(indexed.saturating_sub(after)).unwrap_or(usize::MAX);
        if room == 0 || max_count == 0 {
            return Ok(LogPage { items: Vec::new(), to: after });
        }
        let entries = self.engine.log(group, after, max_count.min(room), max_bytes)?;
        let to = entries.last().map_or(after, |entry| entry.position);
        let mut flags = BTreeMap::new();
        let from = rows::key(group, &after.to_be_bytes());
        for (key, value) in self.engine.values(rows::FLAG, Some(&from), entries.len())? {
            if let Some(position) = key.strip_prefix(group.as_bytes().as_slice()) {
                flags.insert(rows::to_number(rows::FLAG, position)?, value);
            }
        }
        let items = self.items(group, entries, |position| Ok(flags.get(&position).cloned()))?;
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
        self.client_for(group)?;
        let mut found = Vec::new();
        let mut after = after;
        // Pages until there are enough: some entries may be unreadable.
        while found.len() < limit {
            let entries = self.engine.page(group, after.as_ref(), direction, limit - found.len())?;
            let Some(last) = entries.last() else { break };
            after = Some(last.key);
            let lines = self.items(group, entries, |position| {
                Ok(self.engine.value(rows::FLAG, &rows::key(group, &position.to_be_bytes()))?)
            })?;
            found.extend(lines.into_iter().filter(|line| with_gone || matches!(line, ChatLine::Message(_))));
        }
        Ok(found)
    }

    fn items(
        &self,
        group: GroupId,
        entries: Vec<Entry>,
        flags: impl Fn(u64) -> Result<Option<Vec<u8>>, NodeError>,
    ) -> Result<Vec<ChatLine>, NodeError> {
        let chat = self.chat_state(group)?;
        let mut names: HashMap<PeerId, Option<String>> = HashMap::new();
        let mut states: HashMap<PeerId, AuthorState> = HashMap::new();
        let mut items = Vec::with_capacity(entries.len());
        for entry in entries {
            let post = match read_entry(chat, group, &entry) {
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
        let over = entry.expires_ms.is_some_and(|at| at <= self.now().as_timestamp_ms());
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

    /// Sets what the messages of a chat may take here.
    pub(crate) fn set_max_bytes(&mut self, group: GroupId, max_bytes: Option<u64>) -> Result<(), NodeError> {
        self.chat_state(group)?;
        Ok(self.engine.set_max_bytes(group, max_bytes)?)
    }

    /// Where a durable cursor stands.
    pub(crate) fn cursor(&self, group: GroupId, name: &str) -> Result<u64, NodeError> {
        self.client_for(group)?;
        check_cursor(name)?;
        rows::number(&self.engine, rows::CURSOR, &rows::key(group, name.as_bytes()))
    }

    /// Moves a durable cursor; never back.
    pub(crate) fn move_cursor(&mut self, group: GroupId, name: &str, position: u64) -> Result<(), NodeError> {
        let old = self.cursor(group, name)?;
        // Not beyond what there is, or what comes would never be read.
        let position = position.min(self.chat_state(group)?.indexed);
        if position <= old {
            return Ok(());
        }
        rows::set_number(&mut self.engine, rows::CURSOR, &rows::key(group, name.as_bytes()), position)
    }
}

fn check_cursor(name: &str) -> Result<(), NodeError> {
    if (1..=MAX_CURSOR_NAME).contains(&name.len()) { Ok(()) } else { Err(NodeError::CursorName(name.len())) }
}
