//! What a post says.

use hedgerow_proto::PeerId;

use crate::invite::{GroupInvite, InviteError};
use crate::limits::{MAX_KIND, MAX_TEXT};
use crate::name::{NameError, check_name, read_name};

/// What a post says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Content {
    /// A text of 1 to [`MAX_TEXT`] bytes. Any character may stand in it: who shows it on a terminal takes out
    /// the control characters.
    Text(String),
    /// The author's name for itself in this group, at first or from now on.
    Joined {
        /// The name, as [`check_name`] wants it.
        name: String,
    },
    /// The creator of a private group makes a member known to the others.
    Added {
        /// Who is a member now.
        member: PeerId,
        /// What the creator calls the member, as [`check_name`] wants it.
        name: String,
    },
    /// In a direct chat: an invitation into a private group, or the link of a public one.
    Invite(GroupInvite),
}

/// Why the content of a post cannot be read, or not be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// A text is empty or longer than [`MAX_TEXT`].
    #[error("a text has 1 to {MAX_TEXT} bytes, this one has {0}")]
    TextLength(usize),
    /// A text is not UTF-8.
    #[error("a text is UTF-8")]
    TextNotUtf8,
    /// A name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The content ends before the member's id does.
    #[error("the content ends within the id of a member")]
    Short,
    /// An invitation breaks a rule.
    #[error("an invitation in the post: {0}")]
    Invite(#[from] InviteError),
}

/// The kinds of content, by the number that stands for them in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Joined,
    Added,
    Invite,
}

impl Kind {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Joined => 2,
            Self::Added => 3,
            Self::Invite => 4,
        }
    }

    pub(crate) const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Text),
            2 => Some(Self::Joined),
            3 => Some(Self::Added),
            4 => Some(Self::Invite),
            _ => None,
        }
    }

    /// What people call it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Joined => "joined",
            Self::Added => "added",
            Self::Invite => "invite",
        }
    }
}

const _: () = assert!(Kind::Invite.code() <= MAX_KIND);

impl Content {
    pub(crate) const fn kind(&self) -> Kind {
        match self {
            Self::Text(_) => Kind::Text,
            Self::Joined { .. } => Kind::Joined,
            Self::Added { .. } => Kind::Added,
            Self::Invite(_) => Kind::Invite,
        }
    }

    /// How many bytes it takes in a body.
    ///
    /// # Errors
    /// When it breaks a rule, so that no post can say it.
    pub fn encoded_len(&self) -> Result<usize, ContentError> {
        self.encode().map(|bytes| bytes.len())
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, ContentError> {
        match self {
            Self::Text(text) => check_text(text.as_bytes()).map(|()| text.clone().into_bytes()),
            Self::Joined { name } => {
                check_name(name)?;
                Ok(name.clone().into_bytes())
            }
            Self::Added { member, name } => {
                check_name(name)?;
                Ok([member.as_bytes(), name.as_bytes()].concat())
            }
            Self::Invite(invite) => Ok(invite.to_bytes()),
        }
    }

    pub(crate) fn decode(kind: Kind, bytes: &[u8]) -> Result<Self, ContentError> {
        match kind {
            Kind::Text => {
                check_text(bytes)?;
                let text = std::str::from_utf8(bytes).map_err(|_| ContentError::TextNotUtf8)?;
                Ok(Self::Text(text.to_owned()))
            }
            Kind::Joined => Ok(Self::Joined { name: read_name(bytes)? }),
            Kind::Added => {
                let (member, name) = bytes.split_first_chunk().ok_or(ContentError::Short)?;
                Ok(Self::Added { member: PeerId::from_bytes(*member), name: read_name(name)? })
            }
            Kind::Invite => Ok(Self::Invite(GroupInvite::from_bytes(bytes)?)),
        }
    }
}

fn check_text(bytes: &[u8]) -> Result<(), ContentError> {
    if bytes.is_empty() || bytes.len() > MAX_TEXT {
        return Err(ContentError::TextLength(bytes.len()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{invites, names};

    pub(crate) fn contents() -> impl Strategy<Value = Content> {
        prop_oneof![
            "(?s).{1,200}".prop_map(Content::Text),
            names().prop_map(|name| Content::Joined { name }),
            (any::<[u8; 32]>(), names())
                .prop_map(|(member, name)| Content::Added { member: PeerId::from_bytes(member), name }),
            invites().prop_map(Content::Invite),
        ]
    }

    proptest! {
        #[test]
        fn a_content_goes_round(content in contents()) {
            let bytes = content.encode().unwrap();
            prop_assert_eq!(Content::decode(content.kind(), &bytes), Ok(content));
        }

        #[test]
        fn what_decodes_is_written_in_one_way(
            code in 1_u8..5, form in 1_u8..3, mut bytes in proptest::collection::vec(0x20_u8..0x7f, 0..250),
        ) {
            let kind = Kind::from_code(code).unwrap();
            if let (Kind::Invite, Some(first)) = (kind, bytes.first_mut()) {
                *first = form;
            }
            if let Ok(content) = Content::decode(kind, &bytes) {
                prop_assert_eq!(content.encode(), Ok(bytes));
            }
        }
    }

    #[test]
    fn codes_go_round() {
        for code in 0..=u8::MAX {
            if let Some(kind) = Kind::from_code(code) {
                assert_eq!(kind.code(), code);
            }
        }
    }

    #[test]
    fn the_limits_of_a_text() {
        let text = |len| Content::Text("x".repeat(len)).encode();
        assert!(text(1).is_ok());
        assert!(text(MAX_TEXT).is_ok());
        assert_eq!(text(0), Err(ContentError::TextLength(0)));
        assert_eq!(text(MAX_TEXT + 1), Err(ContentError::TextLength(MAX_TEXT + 1)));
        assert_eq!(Content::decode(Kind::Text, &[0xff]), Err(ContentError::TextNotUtf8));
        assert_eq!(Content::decode(Kind::Added, &[1; 31]), Err(ContentError::Short));
        assert_eq!(Content::decode(Kind::Added, &[1; 32]), Err(ContentError::Name(NameError::Length(0))));
    }
}
