//! Invitations, given and got.

use hedgerow_clients::{ChatGroup, Content, GroupInvite, check_name};
use hedgerow_proto::{GroupId, PeerId};
use serde::{Deserialize, Serialize};

use super::{Core, rows};
use crate::chat::{ChatInfo, Invitation};
use crate::error::NodeError;
use crate::events::NodeEvent;
use crate::limits::MAX_INVITATIONS;

#[derive(Debug, Serialize, Deserialize)]
struct InviteRow {
    ticket: String,
    from: String,
    at_ms: u64,
}

impl Core {
    /// Invites a peer into a group: the ticket, which is also sent in the direct chat if there is one.
    pub(crate) fn invite(&mut self, id: GroupId, peer: PeerId) -> Result<GroupInvite, NodeError> {
        self.client_for(id)?;
        let invite = match &self.chat_state(id)?.group {
            Some(ChatGroup::Private(group)) => group.invite(&self.me.author, peer)?,
            Some(ChatGroup::Public(group)) => group.link(),
            _ => return Err(NodeError::DirectChat(id)),
        };
        if matches!(invite, GroupInvite::Private { .. }) {
            let name = self.shown(peer);
            check_name(&name)?;
            self.post(id, &[Content::Added { member: peer, name }], None)?;
        }
        if self.contacts.contains_key(&peer) {
            let direct = self.direct_chat(peer)?;
            if direct.can_read {
                self.post(direct.group, &[Content::Invite(invite.clone())], None)?;
            }
        }
        Ok(invite)
    }

    /// The ticket that lets anybody into a public group.
    pub(crate) fn link(&self, id: GroupId) -> Result<GroupInvite, NodeError> {
        match &self.chat_state(id)?.group {
            Some(ChatGroup::Public(group)) => Ok(group.link()),
            Some(ChatGroup::Private(_)) => Err(NodeError::PrivateGroup(id)),
            _ => Err(NodeError::DirectChat(id)),
        }
    }

    /// Joins a group with a ticket.
    pub(crate) fn join(&mut self, invite: &GroupInvite) -> Result<ChatInfo, NodeError> {
        invite.verify(self.me.peer)?;
        let known = self.chats.get(&invite.descriptor().id());
        let is_new = known.is_none_or(|chat| chat.credential.as_ref() != invite.credential());
        let id = self.join_chat(invite.descriptor(), invite.credential().copied())?;
        if is_new {
            self.say_joined(id)?;
        }
        self.chat_info(id)
    }

    pub(crate) fn accept(&mut self, id: GroupId) -> Result<ChatInfo, NodeError> {
        let row: Option<InviteRow> = rows::get_json(self.engine.store(), rows::INVITE, id.as_bytes())?;
        let row = row.ok_or(NodeError::NoInvitation(id))?;
        self.join(&read(id, &row)?.invite)
    }

    /// The invitations that were not accepted yet, the last one to come last.
    pub(crate) fn invitations(&self) -> Result<Vec<Invitation>, NodeError> {
        let mut invitations = Vec::new();
        rows::scan(self.engine.store(), rows::INVITE, &[], |key, value| {
            let id = GroupId::try_from(key).map_err(|error| rows::damaged(rows::INVITE, error))?;
            invitations.push(read(id, &rows::json(rows::INVITE, value)?)?);
            Ok(true)
        })?;
        invitations.sort_by_key(|invitation| (invitation.at_ms, invitation.group));
        Ok(invitations)
    }

    /// Notes an invitation that a contact has sent, if it is good and not needed any more.
    pub(super) fn invited(&mut self, from: PeerId, invite: &GroupInvite) -> Result<(), NodeError> {
        let id = invite.descriptor().id();
        let is_member = self
            .chats
            .get(&id)
            .is_some_and(|chat| invite.credential().is_none() || chat.credential.is_some());
        if is_member || invite.verify(self.me.peer).is_err() {
            return Ok(());
        }
        let row = InviteRow { ticket: invite.to_string(), from: from.to_string(), at_ms: self.now().0 };
        rows::set_json(&mut self.engine, rows::INVITE, id.as_bytes(), &row)?;
        let invitations = self.invitations()?;
        for old in invitations.iter().take(invitations.len().saturating_sub(MAX_INVITATIONS)) {
            self.engine.set_value(rows::INVITE, old.group.as_bytes(), None)?;
        }
        self.notices.push(NodeEvent::Invited { from, group: id });
        Ok(())
    }
}

fn read(group: GroupId, row: &InviteRow) -> Result<Invitation, NodeError> {
    let invite: GroupInvite = row.ticket.parse().map_err(|error| rows::damaged(rows::INVITE, error))?;
    Ok(Invitation {
        group,
        name: invite.name().to_owned(),
        from: row.from.parse().map_err(|error| rows::damaged(rows::INVITE, error))?,
        at_ms: row.at_ms,
        invite,
    })
}
