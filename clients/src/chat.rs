//! What the three kinds of chat have in common: who may post, and who may say what.

use hedgerow_proto::{GroupDescriptor, MessageError, PeerId};

use crate::content::Kind;
use crate::direct::{self, DirectGroup};
use crate::group::{self, PrivateGroup};
use crate::limits::MAX_NOTE;
use crate::name::NameError;
use crate::public::{self, PublicGroup};

/// A group of one of the three chat clients, its descriptor read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChatGroup {
    /// Two peers.
    Direct(DirectGroup),
    /// A creator and invited members.
    Private(PrivateGroup),
    /// Whoever knows the group.
    Public(PublicGroup),
}

/// Why a descriptor is not that of a chat group, or cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupError {
    /// The group belongs to another client, or to another major version of this one.
    #[error("the group is one of {client_id} {major_version}, which this client does not read")]
    OtherClient {
        /// The client that the group names.
        client_id: String,
        /// The major version that the group names.
        major_version: u32,
    },
    /// The descriptor has the wrong length.
    #[error("the descriptor of a {0} group ends too early or too late")]
    Length(&'static str),
    /// A direct chat of a peer with itself.
    #[error("a direct chat needs two different peers")]
    SamePeer,
    /// The two peers of a direct chat stand in the wrong order, which would make a second group of the same
    /// two.
    #[error("the two peers of a direct chat must be in ascending order")]
    Order,
    /// The name of the group breaks a rule.
    #[error("the name of the group: {0}")]
    Name(#[from] NameError),
    /// The note of a public group is too long, in bytes.
    #[error("a note has at most {MAX_NOTE} bytes, this one has {0}")]
    NoteLength(usize),
    /// The note of a public group is not UTF-8, or has control characters other than line feeds.
    #[error("a note is UTF-8 without control characters other than line feeds")]
    NoteText,
    /// The descriptor breaks a rule of the protocol.
    #[error(transparent)]
    Descriptor(#[from] MessageError),
}

/// Why an author may not post in a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StandingError {
    /// The author is neither of the two peers of a direct chat.
    #[error("{0} is not one of the two peers of this chat")]
    ThirdPeer(PeerId),
    /// A post in a private group that is not the creator's has no credential.
    #[error("{0} is not the creator of the group and shows no credential of the creator's")]
    NoCredential(PeerId),
    /// A credential where none belongs: the same post could be written in two ways.
    #[error("{0} needs no credential here, so that none may stand in the post")]
    NeedlessCredential(PeerId),
}

/// Why something may not be said where it was said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentRule {
    /// This kind of content belongs to another client.
    #[error("{kind} has no place in a group of {client_id}")]
    OtherClient {
        /// What was said.
        kind: &'static str,
        /// Where.
        client_id: &'static str,
    },
    /// Only the creator of the group may say it.
    #[error("{kind} is for the creator of the group to say, not for {author}")]
    CreatorOnly {
        /// What was said.
        kind: &'static str,
        /// By whom.
        author: PeerId,
    },
}

/// Whether an author may post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Yes.
    Granted,
    /// If the credential is the signature of this creator.
    GrantedBy(PeerId),
}

impl ChatGroup {
    /// Reads the descriptor of a direct, a private or a public group.
    ///
    /// # Errors
    /// [`GroupError`] names the rule that the descriptor breaks.
    pub fn parse(group: &GroupDescriptor) -> Result<Self, GroupError> {
        match group.client_id() {
            direct::CLIENT_ID => DirectGroup::parse(group).map(Self::Direct),
            group::CLIENT_ID => PrivateGroup::parse(group).map(Self::Private),
            public::CLIENT_ID => PublicGroup::parse(group).map(Self::Public),
            _ => Err(other_client(group)),
        }
    }

    /// The descriptor, which names the group.
    #[must_use]
    pub fn descriptor(&self) -> &GroupDescriptor {
        match self {
            Self::Direct(group) => group.descriptor(),
            Self::Private(group) => group.descriptor(),
            Self::Public(group) => group.descriptor(),
        }
    }

    /// What the group is called; a direct chat has no name.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Direct(_) => None,
            Self::Private(group) => Some(group.name()),
            Self::Public(group) => Some(group.name()),
        }
    }

    pub(crate) fn standing(&self, author: &PeerId, has_credential: bool) -> Result<Standing, StandingError> {
        match self {
            Self::Direct(group) if group.other(*author).is_none() => Err(StandingError::ThirdPeer(*author)),
            Self::Private(group) if group.creator() != *author => match has_credential {
                true => Ok(Standing::GrantedBy(group.creator())),
                false => Err(StandingError::NoCredential(*author)),
            },
            _ if has_credential => Err(StandingError::NeedlessCredential(*author)),
            _ => Ok(Standing::Granted),
        }
    }

    pub(crate) fn may_say(&self, author: &PeerId, kind: Kind) -> Result<(), ContentRule> {
        match (self, kind) {
            (_, Kind::Text | Kind::Joined) | (Self::Direct(_), Kind::Invite) => Ok(()),
            (Self::Private(group), Kind::Added) if group.creator() == *author => Ok(()),
            (Self::Private(_), Kind::Added) => {
                Err(ContentRule::CreatorOnly { kind: kind.name(), author: *author })
            }
            _ => Err(ContentRule::OtherClient { kind: kind.name(), client_id: self.client_id() }),
        }
    }

    fn client_id(&self) -> &'static str {
        match self {
            Self::Direct(_) => direct::CLIENT_ID,
            Self::Private(_) => group::CLIENT_ID,
            Self::Public(_) => public::CLIENT_ID,
        }
    }
}

/// Refuses a descriptor that is not of this client and major version.
pub(crate) fn check_client(group: &GroupDescriptor, id: &str, major: u32) -> Result<(), GroupError> {
    if group.client_id() == id && group.major_version() == major { Ok(()) } else { Err(other_client(group)) }
}

fn other_client(group: &GroupDescriptor) -> GroupError {
    GroupError::OtherClient { client_id: group.client_id().to_owned(), major_version: group.major_version() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{author, chats, descriptor};

    #[test]
    fn a_descriptor_goes_round() {
        for chat in chats() {
            assert_eq!(ChatGroup::parse(chat.descriptor()), Ok(chat.clone()));
        }
        assert_eq!(chats().each_ref().map(ChatGroup::name), [None, Some("garden"), Some("plaza")]);
    }

    #[test]
    fn the_version_of_another_day_is_not_read() {
        for chat in chats() {
            let ours = chat.descriptor();
            let other = GroupDescriptor::new(ours.client_id(), 2, ours.descriptor().to_vec()).unwrap();
            let error = GroupError::OtherClient { client_id: ours.client_id().to_owned(), major_version: 2 };
            assert_eq!(ChatGroup::parse(&other), Err(error));
        }
        assert!(matches!(
            ChatGroup::parse(&descriptor("org.example.other", &[])),
            Err(GroupError::OtherClient { .. })
        ));
    }

    #[test]
    fn who_may_say_what() {
        let kinds = [Kind::Text, Kind::Joined, Kind::Added, Kind::Invite];
        let [direct, private, public] = chats();
        let may = |chat: &ChatGroup, seed| kinds.map(|kind| chat.may_say(&author(seed).id(), kind).is_ok());
        assert_eq!(may(&direct, 1), [true, true, false, true]);
        assert_eq!(may(&private, 1), [true, true, true, false]);
        assert_eq!(may(&private, 2), [true, true, false, false]);
        assert_eq!(may(&public, 1), [true, true, false, false]);
    }
}
