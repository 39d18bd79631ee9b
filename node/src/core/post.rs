//! Publishing: signed, numbered, after the current heads, exactly once.

use std::time::Duration;

use hedgerow_clients::limits::{CREDENTIAL_LEN, EXPIRY_LEN, MAX_TEXT, POST_OVERHEAD};
use hedgerow_clients::{Content, ContentError, DraftError, PostDraft};
use hedgerow_proto::{GroupId, MessageId};
use hedgerow_sync_core::{Draft, EngineError, MessageFacts};

use super::{Core, rows};
use crate::chat::BatchAnswer;
use crate::error::NodeError;
use crate::limits::{MAX_BATCH_BYTES, MAX_BATCH_LINES, MAX_HEADS, MAX_SESSIONS, SESSION_LIFE_MS};

/// A sending session: its name and its first line in this batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) id: [u8; 16],
    pub(crate) first_line: u64,
}

/// The last that was published here in a group.
#[derive(Debug, Clone, Copy, Default)]
struct Own {
    number: u64,
    timestamp_ms: i64,
}

impl Core {
    /// Publishes texts, all or none.
    pub(crate) fn post_texts(
        &mut self,
        group: GroupId,
        texts: Vec<String>,
        lifetime: Option<Duration>,
    ) -> Result<Vec<MessageId>, NodeError> {
        check_texts(&texts)?;
        let contents: Vec<_> = texts.into_iter().map(Content::Text).collect();
        self.post(group, &contents, lifetime)
    }

    /// Publishes those lines of a batch that were not published before.
    pub(crate) fn post_batch(
        &mut self,
        group: GroupId,
        session: Session,
        lines: Vec<String>,
        lifetime: Option<Duration>,
    ) -> Result<BatchAnswer, NodeError> {
        check_texts(&lines)?;
        let now_ms = self.now().0;
        let next = match self.engine.value(rows::SESSION, &session.id)? {
            Some(row) => {
                let (next, _, at) = read_session(&row)?;
                if at != group {
                    return Err(NodeError::BatchElsewhere(at));
                }
                next
            }
            None => {
                self.bound_sessions(now_ms)?;
                session.first_line
            }
        };
        let Some(done) = next.checked_sub(session.first_line) else {
            return Err(NodeError::BatchGap { expected: next, found: session.first_line });
        };
        let skip = usize::try_from(done).unwrap_or(usize::MAX);
        let fresh: Vec<_> = lines.into_iter().skip(skip).map(Content::Text).collect();
        let ids = self.post(group, &fresh, lifetime)?;
        let next = next.saturating_add(u64::try_from(ids.len()).unwrap_or(u64::MAX));
        let row = [&next.to_be_bytes(), &now_ms.to_be_bytes(), group.as_bytes().as_slice()].concat();
        self.engine.set_value(rows::SESSION, &session.id, Some(&row))?;
        Ok(BatchAnswer { next_line: next, ids })
    }

    /// Makes room for one more session.
    fn bound_sessions(&mut self, now_ms: u64) -> Result<(), NodeError> {
        let mut sessions = Vec::new();
        rows::scan(self.engine.store(), rows::SESSION, &[], |key, value| {
            sessions.push((read_session(value)?.1, key.to_vec()));
            Ok(true)
        })?;
        sessions.sort_unstable();
        let over = (sessions.len() + 1).saturating_sub(MAX_SESSIONS);
        for (index, (at_ms, key)) in sessions.iter().enumerate() {
            if index < over || now_ms.saturating_sub(*at_ms) > SESSION_LIFE_MS {
                self.engine.set_value(rows::SESSION, key, None)?;
            }
        }
        Ok(())
    }

    /// Says to a group under which name this node is in it, if it has a name.
    pub(super) fn say_joined(&mut self, group: GroupId) -> Result<(), NodeError> {
        match self.me.name.clone() {
            Some(name) if self.chat_state(group)?.client.is_some() => {
                self.post(group, &[Content::Joined { name }], None).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// Signs and publishes. Whatever can be wrong with the contents shows before the first is published.
    pub(super) fn post(
        &mut self,
        group: GroupId,
        contents: &[Content],
        lifetime: Option<Duration>,
    ) -> Result<Vec<MessageId>, NodeError> {
        self.client_for(group)?;
        self.check_room(group, contents)?;
        let mut own = self.own(group)?;
        let mut ids = Vec::with_capacity(contents.len());
        for content in contents {
            ids.push(self.post_one(group, content, lifetime, &mut own)?);
        }
        if !ids.is_empty() {
            self.posted.insert(group);
            let row = [own.number.to_be_bytes(), own.timestamp_ms.to_be_bytes()].concat();
            self.engine.set_value(rows::OWN, group.as_bytes(), Some(&row))?;
        }
        Ok(ids)
    }

    /// Refuses what does not fit under a cap, all of it.
    fn check_room(&mut self, group: GroupId, contents: &[Content]) -> Result<(), NodeError> {
        let mut bytes = 0;
        for content in contents {
            let len = content.encoded_len().map_err(DraftError::from)?
                + POST_OVERHEAD
                + CREDENTIAL_LEN
                + EXPIRY_LEN;
            bytes += u64::try_from(len).unwrap_or(u64::MAX);
        }
        let count = u64::try_from(contents.len()).unwrap_or(u64::MAX);
        if count > 0 && !self.engine.has_room(group, count, bytes)? {
            return Err(NodeError::NoRoom { messages: count });
        }
        Ok(())
    }

    fn post_one(
        &mut self,
        group: GroupId,
        content: &Content,
        lifetime: Option<Duration>,
        own: &mut Own,
    ) -> Result<MessageId, NodeError> {
        let now = self.now();
        let deps = self.engine.heads(group, MAX_HEADS)?;
        let number =
            own.number.checked_add(1).ok_or(NodeError::TooMany { what: "messages", limit: usize::MAX })?;
        let mut timestamp_ms = now.as_timestamp_ms().max(own.timestamp_ms);
        // A clock that went back does not make it shorter.
        let expires_ms = lifetime.map(|lifetime| after(timestamp_ms, lifetime));
        loop {
            let chat = self.chat_state(group)?;
            let draft = PostDraft {
                group: &chat.descriptor,
                timestamp_ms,
                deps: &deps,
                number,
                credential: chat.credential.as_ref(),
                expires_ms,
            };
            let body = draft.body(&self.me.author, content)?;
            let facts = MessageFacts { author: Some(*self.me.peer.as_bytes()), expires_ms };
            let draft = Draft { timestamp_ms, deps: deps.clone(), body };
            match self.engine.publish_with(group, draft, facts, now) {
                Ok(id) => {
                    *own = Own { number, timestamp_ms };
                    return Ok(id);
                }
                // A twin of this device said the very same: say it a millisecond later.
                Err(EngineError::Exists(_)) => timestamp_ms = timestamp_ms.saturating_add(1),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The last number and time, be they of this device or of a twin that was restored from a backup.
    fn own(&self, group: GroupId) -> Result<Own, NodeError> {
        let mut own = match self.engine.value(rows::OWN, group.as_bytes())? {
            Some(row) => read_own(&row)?,
            None => Own::default(),
        };
        own.number = own.number.max(self.view().author_state(group, self.me.peer)?.highest());
        Ok(own)
    }
}

fn check_texts(texts: &[String]) -> Result<(), NodeError> {
    let bytes = texts.iter().map(String::len).sum();
    if texts.len() > MAX_BATCH_LINES || bytes > MAX_BATCH_BYTES {
        return Err(NodeError::BatchTooLarge { messages: texts.len(), bytes });
    }
    match texts.iter().find(|text| text.is_empty() || text.len() > MAX_TEXT) {
        Some(text) => Err(DraftError::Content(ContentError::TextLength(text.len())).into()),
        None => Ok(()),
    }
}

fn read_own(row: &[u8]) -> Result<Own, NodeError> {
    let parts = row.split_first_chunk().zip(row.split_last_chunk());
    match parts {
        Some(((number, _), (_, timestamp))) if row.len() == 16 => {
            Ok(Own { number: u64::from_be_bytes(*number), timestamp_ms: i64::from_be_bytes(*timestamp) })
        }
        _ => Err(rows::damaged(rows::OWN, "not 16 bytes")),
    }
}

/// The time after another one by a duration, in ms; at least one later, and never beyond what a post can say.
fn after(timestamp_ms: i64, lifetime: Duration) -> i64 {
    let ms = i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX);
    timestamp_ms.saturating_add(ms.max(1))
}

/// Next line, time of the last batch in ms, group.
fn read_session(row: &[u8]) -> Result<(u64, u64, GroupId), NodeError> {
    let read = || {
        let (next, rest) = row.split_first_chunk()?;
        let (at_ms, group) = rest.split_first_chunk()?;
        Some((u64::from_be_bytes(*next), u64::from_be_bytes(*at_ms), GroupId::try_from(group).ok()?))
    };
    read().ok_or_else(|| rows::damaged(rows::SESSION, "not 48 bytes"))
}
