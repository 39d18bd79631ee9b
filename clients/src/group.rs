//! Private groups: a creator, and the members that the creator lets in.

use std::fmt;

use hedgerow_proto::{GroupDescriptor, Message, PeerId};
use hedgerow_sync_core::Verdict;

use crate::author::Author;
use crate::chat::{ChatGroup, GroupError, check_client};
use crate::client::{Client, Post, ReadError};
use crate::credential::{Credential, KnownCredentials, credential_bytes};
use crate::invite::{GroupInvite, InviteError};
use crate::judge;
use crate::limits::{MAX_KNOWN_CREDENTIALS, SALT_LEN};
use crate::name::{check_name, read_name};
use crate::signature::{is_sound_key, verify_one};

/// The client id of private groups.
pub const CLIENT_ID: &str = "hedgerow.group";
/// The major version of private groups.
pub const MAJOR_VERSION: u32 = 1;

/// A private group, as its descriptor says: `creator 32 || salt 16 || name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateGroup {
    creator: PeerId,
    name: String,
    descriptor: GroupDescriptor,
}

impl PrivateGroup {
    /// The group that `creator` makes, with `salt` of random bytes, which keep it apart from others of the
    /// same name and its id from being guessed.
    ///
    /// # Errors
    /// [`GroupError::Name`] if the name is not as [`check_name`] wants it.
    pub fn new(creator: PeerId, salt: [u8; SALT_LEN], name: &str) -> Result<Self, GroupError> {
        check_name(name)?;
        let bytes = [creator.as_bytes().as_slice(), &salt, name.as_bytes()].concat();
        let descriptor = GroupDescriptor::new(CLIENT_ID, MAJOR_VERSION, bytes)?;
        Ok(Self { creator, name: name.to_owned(), descriptor })
    }

    /// Reads the descriptor of a private group.
    ///
    /// # Errors
    /// The rule that the descriptor breaks.
    pub fn parse(group: &GroupDescriptor) -> Result<Self, GroupError> {
        check_client(group, CLIENT_ID, MAJOR_VERSION)?;
        Self::from_bytes(group.descriptor())
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, GroupError> {
        let (creator, rest) = bytes.split_first_chunk().ok_or(GroupError::Length("private"))?;
        let (salt, name) = rest.split_first_chunk().ok_or(GroupError::Length("private"))?;
        Self::new(PeerId::from_bytes(*creator), *salt, &read_name(name)?)
    }

    /// The descriptor, which names the group.
    #[must_use]
    pub fn descriptor(&self) -> &GroupDescriptor {
        &self.descriptor
    }

    /// Who made the group and lets members in.
    #[must_use]
    pub fn creator(&self) -> PeerId {
        self.creator
    }

    /// What the creator called it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The creator's word that `member` is a member. It cannot be taken back.
    ///
    /// # Errors
    /// [`InviteError::NotCreator`] if `author` did not make the group, [`InviteError::ForCreator`] if
    /// `member` did, [`InviteError::UnsoundKey`] if no post of `member` could be valid.
    pub fn admit(&self, author: &Author, member: PeerId) -> Result<Credential, InviteError> {
        if author.id() != self.creator {
            return Err(InviteError::NotCreator { creator: self.creator, author: author.id() });
        }
        if member == self.creator {
            return Err(InviteError::ForCreator(member));
        }
        if !is_sound_key(&member) {
            return Err(InviteError::UnsoundKey(member));
        }
        Ok(Credential::from_bytes(author.sign(&credential_bytes(self.descriptor.id(), &member))))
    }

    /// An invitation for `member`, with the credential in it.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub fn invite(&self, author: &Author, member: PeerId) -> Result<GroupInvite, InviteError> {
        let credential = self.admit(author, member)?;
        Ok(GroupInvite::Private { group: self.clone(), member, credential })
    }

    /// Whether `credential` makes `member` a member.
    ///
    /// # Errors
    /// [`InviteError::ForCreator`] if `member` is the creator, who has no credential;
    /// [`InviteError::Credential`] if it is not the creator's signature over this group and this member.
    pub fn verify(&self, member: PeerId, credential: &Credential) -> Result<(), InviteError> {
        if member == self.creator {
            return Err(InviteError::ForCreator(member));
        }
        let bytes = credential_bytes(self.descriptor.id(), &member);
        if verify_one(&self.creator, &bytes, credential.as_bytes()) {
            Ok(())
        } else {
            Err(InviteError::Credential { creator: self.creator, member })
        }
    }
}

/// The client of private groups. A post is valid if its author signed it and is the creator, or shows a
/// credential of the creator's. Up to [`MAX_KNOWN_CREDENTIALS`] credentials are remembered, so that a
/// member's is verified once.
pub struct GroupClient {
    known: KnownCredentials,
}

impl Default for GroupClient {
    fn default() -> Self {
        Self { known: KnownCredentials::new(MAX_KNOWN_CREDENTIALS) }
    }
}

impl fmt::Debug for GroupClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupClient").finish_non_exhaustive()
    }
}

impl Client for GroupClient {
    fn client_id(&self) -> &'static str {
        CLIENT_ID
    }

    fn major_version(&self) -> u32 {
        MAJOR_VERSION
    }

    fn judge(&self, group: &GroupDescriptor, messages: &[Message]) -> Vec<Verdict> {
        judge::judge(PrivateGroup::parse(group).map(ChatGroup::Private), messages, Some(&self.known))
    }

    fn read(&self, group: &GroupDescriptor, message: &Message) -> Result<Post, ReadError> {
        judge::read(&ChatGroup::Private(PrivateGroup::parse(group)?), message)
    }
}

#[cfg(test)]
mod tests;
