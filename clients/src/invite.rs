//! Invitations: how a peer comes to know a group, and to be a member of it.

use hedgerow_proto::{GroupDescriptor, PeerId};

use crate::chat::GroupError;
use crate::credential::Credential;
use crate::group::PrivateGroup;
use crate::public::PublicGroup;

const PRIVATE: u8 = 1;
const PUBLIC: u8 = 2;

/// An invitation into a private group, for one member, or the link of a public group, for anybody.
///
/// Said in a direct chat it is [`Content::Invite`](crate::Content::Invite); as text (`to_string`, `parse`) it
/// is a group ticket, with the prefix `hedgerow-group:`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum GroupInvite {
    /// Into a private group. What it says is the inviter's word until [`verify`](Self::verify) passed.
    Private {
        /// The group.
        group: PrivateGroup,
        /// Whom it lets in.
        member: PeerId,
        /// The creator's signature over both.
        credential: Credential,
    },
    /// Into a public group.
    Public(PublicGroup),
}

/// Which rule an invitation or a credential breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InviteError {
    /// A form of invitation that this version does not know.
    #[error("an invitation of form {0}, which this version does not know")]
    Form(u8),
    /// It ends before its fields do.
    #[error("the invitation ends within its fields")]
    Short,
    /// The group in it breaks a rule.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// It is for somebody else.
    #[error("the invitation is for {member}, not for {me}")]
    OtherMember {
        /// Whom it lets in.
        member: PeerId,
        /// Who wanted to use it.
        me: PeerId,
    },
    /// It is for the creator, who is a member without one.
    #[error("{0} created the group and needs no invitation")]
    ForCreator(PeerId),
    /// The credential is not the creator's signature over this group and this member.
    #[error("{creator}, who created the group, did not sign that {member} is a member")]
    Credential {
        /// Who created the group.
        creator: PeerId,
        /// Who was to be a member.
        member: PeerId,
    },
    /// Only the creator lets members in.
    #[error("only {creator}, who created the group, can invite into it, not {author}")]
    NotCreator {
        /// Who created the group.
        creator: PeerId,
        /// Who wanted to invite.
        author: PeerId,
    },
    /// Anybody could sign for this key, or it is the second form of another.
    #[error("{0} is not a key that can sign")]
    UnsoundKey(PeerId),
}

impl GroupInvite {
    /// The group that it leads into.
    #[must_use]
    pub fn descriptor(&self) -> &GroupDescriptor {
        match self {
            Self::Private { group, .. } => group.descriptor(),
            Self::Public(group) => group.descriptor(),
        }
    }

    /// What the group is called.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Private { group, .. } => group.name(),
            Self::Public(group) => group.name(),
        }
    }

    /// The credential that a private group's invitation brings; `None` for the link of a public group.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        match self {
            Self::Private { credential, .. } => Some(credential),
            Self::Public(_) => None,
        }
    }

    /// Whether `me` can join with it.
    ///
    /// # Errors
    /// [`InviteError::OtherMember`] if it is for somebody else, [`InviteError::Credential`] if the creator
    /// did not sign it, [`InviteError::ForCreator`] if it is for the creator. The link of a public group is
    /// for everybody.
    pub fn verify(&self, me: PeerId) -> Result<(), InviteError> {
        match self {
            Self::Private { member, .. } if *member != me => {
                Err(InviteError::OtherMember { member: *member, me })
            }
            Self::Private { group, member, credential } => group.verify(*member, credential),
            Self::Public(_) => Ok(()),
        }
    }

    /// `1 || member 32 || credential 64 || descriptor` or `2 || descriptor`.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let descriptor = self.descriptor().descriptor();
        match self {
            Self::Private { member, credential, .. } => {
                [&[PRIVATE], member.as_bytes().as_slice(), credential.as_bytes(), descriptor].concat()
            }
            Self::Public(_) => [&[PUBLIC], descriptor].concat(),
        }
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, InviteError> {
        let (&form, rest) = bytes.split_first().ok_or(InviteError::Short)?;
        match form {
            PRIVATE => {
                let (member, rest) = rest.split_first_chunk().ok_or(InviteError::Short)?;
                let (credential, descriptor) = rest.split_first_chunk().ok_or(InviteError::Short)?;
                Ok(Self::Private {
                    group: PrivateGroup::from_bytes(descriptor)?,
                    member: PeerId::from_bytes(*member),
                    credential: Credential::from_bytes(*credential),
                })
            }
            PUBLIC => Ok(Self::Public(PublicGroup::from_bytes(rest)?)),
            _ => Err(InviteError::Form(form)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::author;

    fn group() -> PrivateGroup {
        PrivateGroup::new(author(1).id(), [7; 16], "garden").unwrap()
    }

    #[test]
    fn an_invitation_lets_one_member_in() {
        let (one, two, three) = (author(1), author(2), author(3));
        let invite = group().invite(&one, two.id()).unwrap();
        assert_eq!(invite.verify(two.id()), Ok(()));
        assert_eq!(
            invite.verify(three.id()),
            Err(InviteError::OtherMember { member: two.id(), me: three.id() })
        );
        assert_eq!(invite.name(), "garden");
    }

    #[test]
    fn only_the_creator_invites() {
        let (one, two, three) = (author(1), author(2), author(3));
        let not_creator = InviteError::NotCreator { creator: one.id(), author: two.id() };
        assert_eq!(group().invite(&two, three.id()), Err(not_creator));
        assert_eq!(group().invite(&one, one.id()), Err(InviteError::ForCreator(one.id())));
        let unsound = PeerId::from_bytes([0; 32]);
        assert_eq!(group().invite(&one, unsound), Err(InviteError::UnsoundKey(unsound)));
    }

    #[test]
    fn a_credential_holds_for_its_group_and_its_member() {
        let (one, two, three) = (author(1), author(2), author(3));
        let GroupInvite::Private { credential, .. } = group().invite(&one, two.id()).unwrap() else {
            panic!()
        };
        let refused = |group: PrivateGroup, member: PeerId| {
            let creator = group.creator();
            let invite = GroupInvite::Private { group, member, credential };
            assert_eq!(invite.verify(member), Err(InviteError::Credential { creator, member }));
        };
        refused(group(), three.id());
        refused(PrivateGroup::new(one.id(), [8; 16], "garden").unwrap(), two.id());
        refused(PrivateGroup::new(one.id(), [7; 16], "Garden").unwrap(), two.id());
        refused(PrivateGroup::new(three.id(), [7; 16], "garden").unwrap(), two.id());
    }

    #[test]
    fn what_is_no_invitation_is_refused() {
        let bytes = group().invite(&author(1), author(2).id()).unwrap().to_bytes();
        assert_eq!(GroupInvite::from_bytes(&[]), Err(InviteError::Short));
        assert_eq!(GroupInvite::from_bytes(&bytes[..50]), Err(InviteError::Short));
        assert_eq!(
            GroupInvite::from_bytes(&bytes[..100]),
            Err(InviteError::Group(GroupError::Length("private")))
        );
        assert_eq!(GroupInvite::from_bytes(&[3]), Err(InviteError::Form(3)));
    }
}
