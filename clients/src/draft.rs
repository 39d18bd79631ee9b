//! Writing posts.

use bytes::Bytes;
use hedgerow_proto::{GroupDescriptor, Message, MessageError, MessageId};

use crate::author::Author;
use crate::body::{Body, Place};
use crate::chat::{ChatGroup, ContentRule, GroupError, StandingError};
use crate::content::{Content, ContentError};
use crate::credential::Credential;
use crate::limits::MAX_KIND;

/// Where and when a post is to stand. All of it is signed together with what the post says, so that the post
/// is valid there and nowhere else.
#[derive(Debug, Clone, Copy)]
pub struct PostDraft<'a> {
    /// The group.
    pub group: &'a GroupDescriptor,
    /// When, in ms since 1970-01-01 UTC; not negative.
    pub timestamp_ms: i64,
    /// What it comes after: strictly ascending, at most [`MAX_DEPS`](hedgerow_proto::limits::MAX_DEPS).
    pub deps: &'a [MessageId],
    /// The author's running number in the group, from 1:
    /// [`AuthorState::next_number`](crate::AuthorState::next_number).
    pub number: u64,
    /// In a private group the author's credential, unless the author is its creator; `None` elsewhere. It is
    /// not verified here: that was done when the invitation was
    /// ([`GroupInvite::verify`](crate::GroupInvite::verify)).
    pub credential: Option<&'a Credential>,
    /// From when on no device may hold the post, in ms since 1970-01-01 UTC: after its timestamp. `None`: for ever.
    /// Devices whose clients do not know of expiry keep it all the same.
    pub expires_ms: Option<i64>,
}

/// Why a post cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DraftError {
    /// The group is not a chat group.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The author may not post here.
    #[error(transparent)]
    Standing(#[from] StandingError),
    /// This may not be said here, or not by this author.
    #[error(transparent)]
    Rule(#[from] ContentRule),
    /// What is to be said breaks a rule of its kind.
    #[error(transparent)]
    Content(#[from] ContentError),
    /// Running numbers start at 1.
    #[error("a post has a running number from 1 on, this one has 0")]
    NumberZero,
    /// The kind does not fit into a body.
    #[error("a kind of content is a number up to {MAX_KIND}, this one is {0}")]
    Kind(u8),
    /// A post that expires before it is written.
    #[error("a post expires after it is written, this one at {expires_ms} ms")]
    Expiry {
        /// When it expires, in ms since 1970-01-01 UTC.
        expires_ms: i64,
    },
    /// The timestamp, the dependencies or the length of the body break a rule of the protocol.
    #[error(transparent)]
    Message(#[from] MessageError),
}

impl PostDraft<'_> {
    /// The body of a post, signed by `author`, that says `content`: for
    /// [`Message::new`] with the group, the timestamp and the dependencies of this draft, and with no others.
    ///
    /// # Errors
    /// What is signed is valid and can be read; otherwise the rule that is broken.
    pub fn body(&self, author: &Author, content: &Content) -> Result<Bytes, DraftError> {
        Ok(self.message(author, content)?.into_parts().1)
    }

    /// The whole message, signed by `author`, that says `content`.
    ///
    /// # Errors
    /// As [`body`](Self::body).
    pub fn message(&self, author: &Author, content: &Content) -> Result<Message, DraftError> {
        let chat = ChatGroup::parse(self.group)?;
        chat.may_say(&author.id(), content.kind())?;
        self.sign(&chat, author, content.kind().code(), &content.encode()?)
    }

    /// The whole message, signed by `author`, with content of any kind up to [`MAX_KIND`], also of a kind
    /// that this version does not know: it is valid everywhere, and read where its kind is known.
    ///
    /// # Errors
    /// The rule that is broken, if the message would not be valid.
    pub fn message_of_kind(&self, author: &Author, kind: u8, content: &[u8]) -> Result<Message, DraftError> {
        self.sign(&ChatGroup::parse(self.group)?, author, kind, content)
    }

    fn sign(
        &self,
        chat: &ChatGroup,
        author: &Author,
        kind: u8,
        content: &[u8],
    ) -> Result<Message, DraftError> {
        chat.standing(&author.id(), self.credential.is_some())?;
        if self.number == 0 {
            return Err(DraftError::NumberZero);
        }
        if kind > MAX_KIND {
            return Err(DraftError::Kind(kind));
        }
        let expiring = match self.expires_ms {
            Some(expires_ms) if expires_ms <= self.timestamp_ms => {
                return Err(DraftError::Expiry { expires_ms });
            }
            Some(expires_ms) => Some(Body::expiring(kind, expires_ms, content)),
            None => None,
        };
        let (kind, content) = expiring.as_ref().map_or((kind, content), |(kind, content)| (*kind, content));
        let body = Body {
            kind,
            author: author.id(),
            number: self.number,
            credential: self.credential.copied(),
            content,
            signature: [0; 64],
        };
        self.seal(author, &body)
    }

    /// Signs the body as it is, whoever it names.
    pub(crate) fn seal(&self, author: &Author, body: &Body<'_>) -> Result<Message, DraftError> {
        let group_id = self.group.id();
        let (timestamp_ms, deps) = (self.timestamp_ms, self.deps);
        let mut bytes = body.encode_unsigned();
        let mut signed = Vec::new();
        Place { group: self.group, group_id, timestamp_ms, deps }.signed_bytes(&bytes, &mut signed);
        bytes.extend_from_slice(&author.sign(&signed));
        Ok(Message::new(group_id, timestamp_ms, deps.to_vec(), bytes.into())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{author, chats, draft, message, text};

    #[test]
    fn rules_are_named() {
        let [direct, private, public] = chats();
        let two = author(2);
        let credential = Credential::from_bytes([0; 64]);
        let say = |draft: PostDraft<'_>, content: &Content| draft.message(&two, content).unwrap_err();
        let base = draft(public.descriptor());

        assert_eq!(say(PostDraft { number: 0, ..base }, &text("a")), DraftError::NumberZero);
        assert_eq!(say(base, &text("")), DraftError::Content(ContentError::TextLength(0)));
        assert_eq!(
            say(PostDraft { timestamp_ms: -1, ..base }, &text("a")),
            DraftError::Message(MessageError::NegativeTimestamp(-1))
        );
        let twice = [MessageId::from_bytes([1; 32]); 2];
        assert_eq!(
            say(PostDraft { deps: &twice, ..base }, &text("a")),
            DraftError::Message(MessageError::DepsNotAscending)
        );
        assert_eq!(
            say(PostDraft { credential: Some(&credential), ..base }, &text("a")),
            DraftError::Standing(StandingError::NeedlessCredential(two.id()))
        );
        assert_eq!(
            say(draft(private.descriptor()), &text("a")),
            DraftError::Standing(StandingError::NoCredential(two.id()))
        );
        assert_eq!(
            draft(direct.descriptor()).message(&author(3), &text("a")).unwrap_err(),
            DraftError::Standing(StandingError::ThirdPeer(author(3).id()))
        );
        let added = Content::Added { member: two.id(), name: "Two".to_owned() };
        assert!(matches!(say(base, &added), DraftError::Rule(ContentRule::OtherClient { .. })));
        assert_eq!(base.message_of_kind(&two, 64, b""), Err(DraftError::Kind(64)));
        let late = PostDraft { expires_ms: Some(base.timestamp_ms), ..base };
        assert_eq!(say(late, &text("a")), DraftError::Expiry { expires_ms: base.timestamp_ms });
        let foreign = GroupDescriptor::new("org.example.other", 1, vec![]).unwrap();
        assert!(matches!(say(draft(&foreign), &text("a")), DraftError::Group(_)));
    }

    #[test]
    fn the_longest_text_fits_with_a_credential() {
        let private = &chats()[1];
        let longest = text(&"x".repeat(crate::limits::MAX_TEXT));
        let credential = Credential::from_bytes([0; 64]);
        assert!(message(private.descriptor(), 2, &longest, Some(&credential)).body().len() > 30_000);
    }

    #[test]
    fn signing_twice_gives_the_same_message() {
        let group = &chats()[2];
        let base = draft(group.descriptor());
        let once = base.message(&author(1), &text("a")).unwrap();
        assert_eq!(base.message(&author(1), &text("a")), Ok(once.clone()));
        assert_eq!(base.body(&author(1), &text("a")).as_ref(), Ok(once.body()));
    }
}
