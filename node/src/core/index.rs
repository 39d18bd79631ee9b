//! The indexer: it follows the delivery order of each chat, notes what authors said of themselves, and what cannot be
//! read. Its cursor moves in the same transaction as the rows that it writes, so a crash repeats it or not at all.

use std::collections::BTreeMap;

use hedgerow_clients::{AuthorState, ChatGroup, Content, Note, Post};
use hedgerow_proto::{GroupId, PeerId, Span};
use hedgerow_sync_core::{Entry, Verdict};

use super::chats::ChatState;
use super::{Core, rows};
use crate::chat::Quarantined;
use crate::error::NodeError;
use crate::events::NodeEvent;
use crate::limits::{INDEX_BYTES, INDEX_MESSAGES, MAX_QUARANTINE};

/// The author passed over numbers before this message.
pub(super) const GAP: u8 = 1;

/// What an entry of the delivery order is to a reader.
pub(super) enum Reading {
    Post(Box<Post>),
    /// The body is no longer held.
    Gone,
    Unreadable(String),
}

/// What one author's message says, by the rules of its chat.
pub(super) fn read_entry(chat: &ChatState, group: GroupId, entry: &Entry) -> Reading {
    let (Some(client), Some(message)) = (&chat.client, entry.to_message(group)) else { return Reading::Gone };
    if entry.position <= chat.unjudged_to {
        // It was delivered when there was nobody here to judge it.
        let verdicts = client.judge(&chat.descriptor, std::slice::from_ref(&message));
        if !verdicts.first().is_some_and(Verdict::is_valid) {
            return Reading::Unreadable("it is not what its author signed".to_owned());
        }
    }
    match client.read(&chat.descriptor, &message) {
        Ok(post) => Reading::Post(Box::new(post)),
        Err(error) => Reading::Unreadable(error.to_string()),
    }
}

impl Core {
    /// Indexes a part of each chat that has grown.
    pub(super) fn index(&mut self) -> Result<(), NodeError> {
        for group in self.unindexed.clone() {
            self.index_chat(group)?;
        }
        Ok(())
    }

    fn index_chat(&mut self, group: GroupId) -> Result<(), NodeError> {
        let Some(chat) = self.chats.get(&group) else {
            self.unindexed.remove(&group);
            return Ok(());
        };
        let entries = self.engine.log(group, chat.indexed, INDEX_MESSAGES, INDEX_BYTES)?;
        let Some(last) = entries.last().map(|entry| entry.position) else {
            self.unindexed.remove(&group);
            return Ok(());
        };
        let mut authors = BTreeMap::new();
        for entry in &entries {
            let chat = self.chat_state(group)?;
            match read_entry(chat, group, entry) {
                Reading::Post(post) => self.index_post(group, entry, &post, &mut authors)?,
                Reading::Gone => {}
                Reading::Unreadable(reason) => self.quarantine(group, entry, reason)?,
            }
        }
        for (author, state) in authors {
            let key = rows::key(group, author.as_bytes());
            self.engine.set_value(rows::AUTHOR, &key, Some(&state.to_bytes()))?;
        }
        rows::set_number(&mut self.engine, rows::INDEX, group.as_bytes(), last)?;
        self.uncommitted = true;
        if let Some(chat) = self.chats.get_mut(&group) {
            chat.indexed = last;
        }
        self.shared.wake_readers(group, last);
        self.tell(NodeEvent::Arrived { group, position: last });
        Ok(())
    }

    fn index_post(
        &mut self,
        group: GroupId,
        entry: &Entry,
        post: &Post,
        authors: &mut BTreeMap<PeerId, AuthorState>,
    ) -> Result<(), NodeError> {
        let state = match authors.entry(post.author) {
            std::collections::btree_map::Entry::Occupied(slot) => slot.into_mut(),
            std::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(self.author_state(group, post.author)?)
            }
        };
        match self.note_number(group, post, state)? {
            Note::Gap(_) => {
                let key = rows::key(group, &entry.position.to_be_bytes());
                self.engine.set_value(rows::FLAG, &key, Some(&[GAP]))?;
            }
            Note::Fork => {
                let key = numbered(group, post.author, post.number);
                self.engine.set_value(rows::FORK, &key, Some(&[1]))?;
                let (author, number, position) = (post.author, post.number, entry.position);
                self.notices.push(NodeEvent::Forked { group, author, number, position });
            }
            _ => {}
        }
        match &post.content {
            Content::Joined { name } => self.note_name(group, post.author, name, true),
            Content::Added { member, name } => self.note_name(group, *member, name, false),
            Content::Invite(invite) if post.author != self.me.peer && self.is_direct(group) => {
                self.invited(post.author, invite)
            }
            _ => Ok(()),
        }
    }

    /// Notes the number of a post. What an author's state has no room for is in rows, so that no fork is overlooked
    /// and the order of arrival makes no difference.
    fn note_number(
        &mut self,
        group: GroupId,
        post: &Post,
        state: &mut AuthorState,
    ) -> Result<Note, NodeError> {
        let (author, number) = (post.author, post.number);
        let (note, forgotten) = state.note_forgetting(number);
        if let Some(span) = forgotten {
            self.keep_old(group, author, span)?;
        }
        if note != Note::Forgotten {
            return Ok(note);
        }
        if self.is_old(group, author, number)? {
            state.note_fork(number);
            return Ok(Note::Fork);
        }
        self.keep_old(group, author, Span::one(number))?;
        Ok(Note::Late)
    }

    fn keep_old(&mut self, group: GroupId, author: PeerId, span: Span) -> Result<(), NodeError> {
        let key = numbered(group, author, span.last);
        Ok(self.engine.set_value(rows::OLD, &key, Some(&span.first.to_be_bytes()))?)
    }

    /// Whether a number lies in a span that was kept: in the first that ends at it or above.
    fn is_old(&self, group: GroupId, author: PeerId, number: u64) -> Result<bool, NodeError> {
        let before = numbered(group, author, number.saturating_sub(1));
        let found = self.engine.values(rows::OLD, Some(&before), 1)?;
        let Some((key, first)) = found.first() else { return Ok(false) };
        let same = key.starts_with(&rows::key(group, author.as_bytes()));
        Ok(same && rows::to_number(rows::OLD, first)? <= number)
    }

    /// Whether an author said two things under a number, given the author's state.
    pub(super) fn is_forked(
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
        Ok(self.engine.value(rows::FORK, &numbered(group, author, number))?.is_some())
    }

    fn is_direct(&self, group: GroupId) -> bool {
        self.chats.get(&group).is_some_and(|chat| matches!(chat.group, Some(ChatGroup::Direct(_))))
    }

    fn quarantine(&mut self, group: GroupId, entry: &Entry, reason: String) -> Result<(), NodeError> {
        let count = rows::number(&self.engine, rows::QUARANTINED, group.as_bytes())?.saturating_add(1);
        rows::set_number(&mut self.engine, rows::QUARANTINED, group.as_bytes(), count)?;
        let key = rows::key(group, &entry.position.to_be_bytes());
        let value = [entry.id.as_bytes().as_slice(), reason.as_bytes()].concat();
        self.engine.set_value(rows::QUARANTINE, &key, Some(&value))?;
        if count > MAX_QUARANTINE {
            // One in, one out: the oldest.
            let oldest = self.engine.values(rows::QUARANTINE, Some(group.as_bytes()), 1)?;
            if let Some((key, _)) = oldest.first() {
                self.engine.set_value(rows::QUARANTINE, key, None)?;
            }
        }
        let (id, position) = (entry.id, entry.position);
        tracing::warn!(group = %group.short(), position, %reason, "unreadable message");
        self.notices.push(NodeEvent::Quarantined { group, id, position, reason });
        Ok(())
    }

    /// The unreadable messages of a chat: how many there are in all, and the last ones.
    pub(crate) fn quarantined(&self, group: GroupId) -> Result<(u64, Vec<Quarantined>), NodeError> {
        self.chat_state(group)?;
        let mut listed = Vec::new();
        rows::scan(&self.engine, rows::QUARANTINE, group.as_bytes(), |key, value| {
            let damaged = || rows::damaged(rows::QUARANTINE, "too short");
            let (id, reason) = value.split_first_chunk().ok_or_else(damaged)?;
            listed.push(Quarantined {
                position: rows::to_number(rows::QUARANTINE, key)?,
                id: hedgerow_proto::MessageId::from_bytes(*id),
                reason: String::from_utf8_lossy(reason).into_owned(),
            });
            Ok(true)
        })?;
        Ok((rows::number(&self.engine, rows::QUARANTINED, group.as_bytes())?, listed))
    }
}

/// The key of a row about one number of an author in a group.
fn numbered(group: GroupId, author: PeerId, number: u64) -> Vec<u8> {
    [group.as_bytes().as_slice(), author.as_bytes(), &number.to_be_bytes()].concat()
}
