//! The groups that the node has joined, and what is kept of each in memory.

use std::sync::Arc;

use hedgerow_clients::limits::SALT_LEN;
use hedgerow_clients::{ChatGroup, Client, Credential, PrivateGroup, PublicGroup, check_name};
use hedgerow_proto::{GroupDescriptor, GroupId, PeerId, Visibility};
use serde::{Deserialize, Serialize};

use super::contacts::id_matches;
use super::{Core, rows};
use crate::chat::{ChatInfo, ChatKind};
use crate::error::NodeError;
use crate::events::NodeEvent;

/// A joined group.
pub(crate) struct ChatState {
    pub(crate) descriptor: GroupDescriptor,
    /// `None` for a group that the node merely carries.
    pub(crate) group: Option<ChatGroup>,
    /// `None` if the node cannot read it.
    pub(crate) client: Option<Arc<dyn Client>>,
    pub(crate) credential: Option<Credential>,
    /// Messages up to this position were delivered without having been judged.
    pub(crate) unjudged_to: u64,
    /// The last position that is indexed, and thus may be read.
    pub(crate) indexed: u64,
    /// The last position, as far as it is there to be indexed.
    pub(crate) head: u64,
    /// Where that was when the indexer was last there.
    pub(crate) seen: u64,
    joined_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ChatRow {
    joined_ms: u64,
    /// In base64.
    credential: Option<String>,
    pub(crate) unjudged_to: u64,
}

impl ChatState {
    /// Whether it is no direct chat, and so is shared with every contact.
    pub(crate) fn is_group(&self) -> bool {
        !matches!(self.group, Some(ChatGroup::Direct(_)))
    }

    /// Whether there are messages to be indexed.
    pub(super) fn is_behind(&self) -> bool {
        self.client.is_some() && self.indexed < self.head
    }

    fn kind(&self, me: PeerId) -> ChatKind {
        match &self.group {
            Some(ChatGroup::Direct(group)) => group.other(me).map_or(ChatKind::Carried, ChatKind::Direct),
            Some(ChatGroup::Private(group)) => ChatKind::Private { creator: group.creator() },
            Some(ChatGroup::Public(_)) => ChatKind::Public,
            _ => ChatKind::Carried,
        }
    }

    fn row(&self) -> ChatRow {
        ChatRow {
            joined_ms: self.joined_ms,
            credential: self.credential.map(|c| data_encoding::BASE64.encode(c.as_bytes())),
            unjudged_to: self.unjudged_to,
        }
    }
}

impl Core {
    pub(super) fn load_chats(&mut self) -> Result<(), NodeError> {
        let mut joined = Vec::new();
        rows::scan(self.engine.store(), rows::CHAT, &[], |key, value| {
            let id = GroupId::try_from(key).map_err(|error| rows::damaged(rows::CHAT, error))?;
            joined.push((id, rows::json::<ChatRow>(rows::CHAT, value)?));
            Ok(true)
        })?;
        for (id, row) in joined {
            self.load_chat(id, row)?;
        }
        Ok(())
    }

    fn load_chat(&mut self, id: GroupId, row: ChatRow) -> Result<(), NodeError> {
        let info = self.engine.group(id).ok_or(NodeError::UnknownGroup(id))?;
        let mut chat = ChatState {
            group: ChatGroup::parse(&info.descriptor).ok(),
            client: self.me.client_of(&info.descriptor),
            descriptor: info.descriptor,
            credential: row.credential.as_deref().map(read_credential).transpose()?,
            unjudged_to: row.unjudged_to,
            indexed: rows::number(self.engine.store(), rows::INDEX, id.as_bytes())?,
            head: info.head,
            seen: info.head,
            joined_ms: row.joined_ms,
        };
        if info.judged != chat.client.is_some() {
            if chat.client.is_some() {
                chat.unjudged_to = info.head;
                rows::set_json(&mut self.engine, rows::CHAT, id.as_bytes(), &chat.row())?;
            }
            self.engine.add_group(&chat.descriptor, chat.client.is_some())?;
        }
        if chat.is_behind() {
            self.unindexed.insert(id);
        }
        self.shared.wake_readers(id, chat.indexed);
        self.chats.insert(id, chat);
        Ok(())
    }

    /// Adds a group to those joined, without sharing it with anybody. One that is there stays, and takes the
    /// credential if it had none.
    pub(super) fn add_chat(
        &mut self,
        descriptor: &GroupDescriptor,
        credential: Option<Credential>,
    ) -> Result<GroupId, NodeError> {
        let client = self.me.client_of(descriptor);
        let id = self.engine.add_group(descriptor, client.is_some())?;
        let joined_ms = self.now().0;
        let chat = self.chats.entry(id).or_insert_with(|| ChatState {
            descriptor: descriptor.clone(),
            group: ChatGroup::parse(descriptor).ok(),
            client,
            credential,
            unjudged_to: 0,
            indexed: 0,
            head: 0,
            seen: 0,
            joined_ms,
        });
        chat.credential = chat.credential.or(credential);
        rows::set_json(&mut self.engine, rows::CHAT, id.as_bytes(), &chat.row())?;
        Ok(id)
    }

    /// Joins a group and shares it with every contact.
    pub(super) fn join_chat(
        &mut self,
        descriptor: &GroupDescriptor,
        credential: Option<Credential>,
    ) -> Result<GroupId, NodeError> {
        let id = self.add_chat(descriptor, credential)?;
        self.engine.set_value(rows::INVITE, id.as_bytes(), None)?;
        for peer in self.contacts.keys() {
            self.engine.set_visibility(*peer, id, Visibility::Shared)?;
        }
        Ok(id)
    }

    pub(crate) fn create_private(&mut self, name: &str, salt: [u8; SALT_LEN]) -> Result<GroupId, NodeError> {
        let group = PrivateGroup::new(self.me.peer, salt, name)?;
        let id = self.join_chat(group.descriptor(), None)?;
        self.say_joined(id)?;
        Ok(id)
    }

    pub(crate) fn create_public(
        &mut self,
        name: &str,
        note: &str,
        salt: [u8; SALT_LEN],
    ) -> Result<GroupId, NodeError> {
        let group = PublicGroup::new(salt, name, note)?;
        let id = self.join_chat(group.descriptor(), None)?;
        self.say_joined(id)?;
        Ok(id)
    }

    /// Joins a group without reading it: it is stored, and passed on to contacts that are in it.
    pub(crate) fn carry(&mut self, descriptor: &GroupDescriptor) -> Result<GroupId, NodeError> {
        self.join_chat(descriptor, None)
    }

    /// Leaves a group and forgets its messages; whether it was there.
    pub(crate) fn leave(&mut self, id: GroupId) -> Result<bool, NodeError> {
        let Some(chat) = self.chats.get(&id) else { return Ok(false) };
        if !chat.is_group() {
            return Err(NodeError::DirectChat(id));
        }
        self.engine.remove_group(id)?;
        for space in rows::OF_GROUP {
            rows::remove_all(&mut self.engine, space, id.as_bytes())?;
        }
        self.chats.remove(&id);
        self.unindexed.remove(&id);
        self.woken.insert(id, 0);
        Ok(true)
    }

    /// The delivery order of a group has grown. Chats that are read here are indexed by then.
    pub(super) fn delivered(&mut self, id: GroupId, position: u64) {
        match self.chats.get_mut(&id) {
            Some(chat) if chat.client.is_none() => self.tell(NodeEvent::Arrived { group: id, position }),
            Some(chat) if chat.indexed < position => {
                chat.head = position;
                self.unindexed.insert(id);
            }
            _ => {}
        }
    }

    pub(super) fn chat_state(&self, id: GroupId) -> Result<&ChatState, NodeError> {
        self.chats.get(&id).ok_or(NodeError::UnknownGroup(id))
    }

    /// The client that reads a chat.
    pub(super) fn client_for(&self, id: GroupId) -> Result<Arc<dyn Client>, NodeError> {
        let chat = self.chat_state(id)?;
        chat.client.clone().ok_or_else(|| NodeError::NoClient {
            group: id,
            client_id: chat.descriptor.client_id().to_owned(),
        })
    }

    pub(crate) fn chat_info(&self, id: GroupId) -> Result<ChatInfo, NodeError> {
        let chat = self.chat_state(id)?;
        Ok(ChatInfo {
            group: id,
            kind: chat.kind(self.me.peer),
            name: self.chat_name(chat),
            can_read: chat.client.is_some(),
            last_position: chat.indexed,
            joined_ms: chat.joined_ms,
        })
    }

    pub(crate) fn chat_infos(&self) -> Result<Vec<ChatInfo>, NodeError> {
        self.chats.keys().map(|id| self.chat_info(*id)).collect()
    }

    fn chat_name(&self, chat: &ChatState) -> String {
        match (&chat.group, chat.kind(self.me.peer)) {
            (_, ChatKind::Direct(peer)) => self.shown(peer),
            (Some(ChatGroup::Private(group)), _) => group.name().to_owned(),
            (Some(ChatGroup::Public(group)), _) => group.name().to_owned(),
            _ => chat.descriptor.client_id().to_owned(),
        }
    }

    /// What people here call a peer.
    pub(super) fn shown(&self, peer: PeerId) -> String {
        let name = self.contacts.get(&peer).and_then(|row| row.shown().map(str::to_owned));
        let name = name.or_else(|| self.foreign_name(peer).map(str::to_owned));
        name.unwrap_or_else(|| peer.short())
    }

    pub(crate) fn direct_chat(&self, peer: PeerId) -> Result<ChatInfo, NodeError> {
        let is_it = |chat: &ChatState| chat.kind(self.me.peer) == ChatKind::Direct(peer);
        match self.chats.iter().find(|(_, chat)| is_it(chat)) {
            Some((id, _)) => self.chat_info(*id),
            None => Err(NodeError::UnknownPeer(peer)),
        }
    }

    /// The chat that goes by this text: the name of a group, or a peer.
    pub(crate) fn find_chat(&self, text: &str) -> Result<ChatInfo, NodeError> {
        let mut found = Vec::new();
        for (id, chat) in &self.chats {
            let named = chat.is_group() && self.chat_name(chat) == text;
            if named || id_matches(&id.to_string(), text) {
                found.push(*id);
            }
        }
        match self.find_peer(text) {
            // A stranger has no chat.
            Ok(peer) => found.extend(self.direct_chat(peer).ok().map(|info| info.group)),
            Err(error @ NodeError::Ambiguous { .. }) if found.is_empty() => return Err(error),
            Err(NodeError::Ambiguous { .. } | NodeError::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        found.dedup();
        match found.as_slice() {
            [id] => self.chat_info(*id),
            [] => Err(NodeError::NotFound { what: "chat", text: text.to_owned() }),
            _ => Err(NodeError::Ambiguous {
                text: text.to_owned(),
                candidates: found.iter().map(|id| self.candidate(*id)).collect(),
            }),
        }
    }

    fn candidate(&self, id: GroupId) -> String {
        match self.chats.get(&id).map(|chat| chat.kind(self.me.peer)) {
            Some(ChatKind::Direct(peer)) => format!("peer {peer}"),
            _ => format!("group {id}"),
        }
    }

    /// Notes a name. What authors say of themselves (`own`) counts more than what the creator says of them.
    pub(super) fn note_name(
        &mut self,
        id: GroupId,
        peer: PeerId,
        name: &str,
        own: bool,
    ) -> Result<(), NodeError> {
        check_name(name)?;
        let key = rows::key(id, peer.as_bytes());
        let old = self.engine.value(rows::NAME, &key)?;
        if !own && old.is_some_and(|value| value.first() == Some(&1)) {
            return Ok(());
        }
        let value = [&[u8::from(own)], name.as_bytes()].concat();
        Ok(self.engine.set_value(rows::NAME, &key, Some(&value))?)
    }
}

pub(crate) fn read_name(value: &[u8]) -> Result<(bool, String), NodeError> {
    let (own, name) = value.split_first().ok_or_else(|| rows::damaged(rows::NAME, "empty"))?;
    let name = String::from_utf8(name.to_vec()).map_err(|error| rows::damaged(rows::NAME, error))?;
    Ok((*own == 1, name))
}

fn read_credential(text: &str) -> Result<Credential, NodeError> {
    let bytes = data_encoding::BASE64.decode(text.as_bytes()).ok();
    let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(Credential::from_bytes)
        .ok_or_else(|| rows::damaged(rows::CHAT, "the credential is not 64 bytes"))
}
