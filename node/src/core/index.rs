//! The indexer: it follows the delivery order of each chat, notes what authors said of themselves, and what cannot be
//! read. Its cursor moves in the same transaction as the rows that it writes, so a crash repeats it or not at all.

use std::collections::BTreeMap;

use hedgerow_clients::{AuthorState, ChatGroup, Client, Content, Note, Post};
use hedgerow_proto::{GroupDescriptor, GroupId, PeerId, Span};
use hedgerow_sync_core::{Entry, Verdict};

use super::{Core, rows};
use crate::error::NodeError;
use crate::events::NodeEvent;
use crate::limits::{INDEX_BYTES, INDEX_MESSAGES, MAX_QUARANTINE};

/// The author passed over numbers before this message.
pub(crate) const GAP: u8 = 1;

/// What an entry of the delivery order is to a reader.
pub(crate) enum Reading {
    Post(Box<Post>),
    /// The body is no longer held.
    Gone,
    Unreadable(String),
}

/// What one author's message says, by the rules of its chat.
pub(crate) fn read_entry(
    client: Option<&dyn Client>,
    descriptor: &GroupDescriptor,
    unjudged_to: u64,
    group: GroupId,
    entry: &Entry,
) -> Reading {
    let (Some(client), Some(message)) = (client, entry.to_message(group)) else { return Reading::Gone };
    if entry.position <= unjudged_to {
        // It was delivered when there was nobody here to judge it.
        let verdicts = client.judge(descriptor, std::slice::from_ref(&message));
        if !verdicts.first().is_some_and(Verdict::is_valid) {
            return Reading::Unreadable("it is not what its author signed".to_owned());
        }
    }
    match client.read(descriptor, &message) {
        Ok(post) => Reading::Post(Box::new(post)),
        Err(error) => Reading::Unreadable(error.to_string()),
    }
}

impl Core {
    /// Indexes what each chat has grown by, in the transaction that delivered it, so that who reads after the commit has
    /// it. Of what was there before, as after a repair, some at a time: unless something was just written here in the
    /// same chat, whose author reads it next.
    pub(crate) fn index(&mut self) -> Result<(), NodeError> {
        for (group, head) in self.engine.grown().collect::<Vec<_>>() {
            let Some(chat) = self.chats.get_mut(&group).filter(|chat| chat.client.is_some()) else {
                continue;
            };
            chat.head = head;
            self.unindexed.insert(group);
        }
        let posted = std::mem::take(&mut self.posted);
        for group in self.unindexed.clone() {
            let Some(chat) = self.chats.get_mut(&group) else {
                self.unindexed.remove(&group);
                continue;
            };
            let grown = chat.head.saturating_sub(std::mem::replace(&mut chat.seen, chat.head));
            let mut room = match posted.contains(&group) {
                true => u64::MAX,
                false => grown.saturating_add(INDEX_MESSAGES as u64),
            };
            while room > 0 && self.chat_state(group)?.is_behind() {
                room = room.saturating_sub(self.index_part(group, room)?);
            }
            if !self.chat_state(group)?.is_behind() {
                self.unindexed.remove(&group);
            }
        }
        Ok(())
    }

    /// Indexes the next messages of a chat that is behind, at most so many; how many there were.
    fn index_part(&mut self, group: GroupId, room: u64) -> Result<u64, NodeError> {
        let from = self.chat_state(group)?.indexed;
        let count = usize::try_from(room).unwrap_or(usize::MAX).min(INDEX_MESSAGES);
        let entries = self.engine.log(group, from, count, INDEX_BYTES)?;
        let none = || rows::damaged(rows::INDEX, "it is behind a log that has no more");
        let last = entries.last().map(|entry| entry.position).ok_or_else(none)?;
        let mut authors = BTreeMap::new();
        for entry in &entries {
            let chat = self.chat_state(group)?;
            match read_entry(chat.client.as_deref(), &chat.descriptor, chat.unjudged_to, group, entry) {
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
        if let Some(chat) = self.chats.get_mut(&group) {
            chat.indexed = last;
        }
        self.woken.insert(group, last);
        Ok(last.saturating_sub(from))
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
                slot.insert(self.view().author_state(group, post.author)?)
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

    fn is_direct(&self, group: GroupId) -> bool {
        self.chats.get(&group).is_some_and(|chat| matches!(chat.group, Some(ChatGroup::Direct(_))))
    }

    fn quarantine(&mut self, group: GroupId, entry: &Entry, reason: String) -> Result<(), NodeError> {
        let count = rows::number(self.engine.store(), rows::QUARANTINED, group.as_bytes())?.saturating_add(1);
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
}

/// The key of a row about one number of an author in a group.
pub(crate) fn numbered(group: GroupId, author: PeerId, number: u64) -> Vec<u8> {
    [group.as_bytes().as_slice(), author.as_bytes(), &number.to_be_bytes()].concat()
}
