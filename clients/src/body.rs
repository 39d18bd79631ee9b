//! The layout of a post's body, and what its author signs.
//!
//! ```text
//! version 1 || kind 1 || author 32 || number 8 || [credential 64] || content || signature 64
//! ```
//!
//! Integers are big-endian. The highest bit of the kind says that a credential is there; the one below it, that
//! the content begins with the time at which the post expires. There is exactly one way to write a post: a carrier
//! that wrote the same post differently would make a second message of it.

use hedgerow_proto::{GroupDescriptor, GroupId, Message, MessageId, PeerId};

use crate::credential::Credential;
use crate::signature::SIGNATURE_LEN;

const CONTEXT: &[u8] = b"hedgerow 2026-11 chat post 1\0";

/// The version of the layout. Another layout is another major version of the client, thus another group: if
/// peers of one group took different layouts, they would disagree on what is valid.
const VERSION: u8 = 1;

const HAS_CREDENTIAL: u8 = 0x80;
/// Part of the kind: to a version that does not know of expiry, such a post is one of an unknown kind, and as valid.
const EXPIRES: u8 = 0x40;

/// A body, taken apart. Whether it is true is another matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Body<'a> {
    pub(crate) kind: u8,
    pub(crate) author: PeerId,
    pub(crate) number: u64,
    pub(crate) credential: Option<Credential>,
    pub(crate) content: &'a [u8],
    pub(crate) signature: [u8; SIGNATURE_LEN],
}

/// Which rule of the layout a body breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Too short for the fields of a post.
    #[error("the body ends within the fields of a post")]
    Short,
    /// Not the version of this client.
    #[error("the body is of version {0}, posts are of version {VERSION}")]
    Version(u8),
    /// Running numbers start at 1.
    #[error("a post has a running number from 1 on, this one has 0")]
    NumberZero,
    /// A post that expires says when: in ms since 1970-01-01 UTC, not negative. Such a post is valid, cannot be read,
    /// and does not expire.
    #[error("a post that expires says when, in ms since 1970-01-01 UTC, and this one does not")]
    Expiry,
}

impl<'a> Body<'a> {
    /// The body that these bytes are: `encode` of it gives the same bytes.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, BodyError> {
        let (&version, rest) = bytes.split_first().ok_or(BodyError::Short)?;
        if version != VERSION {
            return Err(BodyError::Version(version));
        }
        let (&kind, rest) = rest.split_first().ok_or(BodyError::Short)?;
        let (author, rest) = rest.split_first_chunk().ok_or(BodyError::Short)?;
        let (number, mut rest) = rest.split_first_chunk().ok_or(BodyError::Short)?;
        let number = u64::from_be_bytes(*number);
        if number == 0 {
            return Err(BodyError::NumberZero);
        }
        let mut credential = None;
        if kind & HAS_CREDENTIAL != 0 {
            let (bytes, after) = rest.split_first_chunk().ok_or(BodyError::Short)?;
            credential = Some(Credential::from_bytes(*bytes));
            rest = after;
        }
        let (content, signature) = rest.split_last_chunk().ok_or(BodyError::Short)?;
        let author = PeerId::from_bytes(*author);
        Ok(Self { kind: kind & !HAS_CREDENTIAL, author, number, credential, content, signature: *signature })
    }

    /// The kind of the content, when it expires, and the content itself.
    pub(crate) fn parts(&self) -> Result<(u8, Option<i64>, &'a [u8]), BodyError> {
        if self.kind & EXPIRES == 0 {
            return Ok((self.kind, None, self.content));
        }
        let (at, content) = self.content.split_first_chunk().ok_or(BodyError::Expiry)?;
        let at = Some(i64::from_be_bytes(*at)).filter(|at| *at >= 0).ok_or(BodyError::Expiry)?;
        Ok((self.kind & !EXPIRES, Some(at), content))
    }

    /// The kind and the content of a post that expires, as they stand in its body.
    pub(crate) fn expiring(kind: u8, expires_ms: i64, content: &[u8]) -> (u8, Vec<u8>) {
        (kind | EXPIRES, [&expires_ms.to_be_bytes(), content].concat())
    }

    /// The body without its signature.
    pub(crate) fn encode_unsigned(&self) -> Vec<u8> {
        let flag = if self.credential.is_some() { HAS_CREDENTIAL } else { 0 };
        let mut out = Vec::with_capacity(self.content.len() + 256);
        out.extend_from_slice(&[VERSION, self.kind | flag]);
        out.extend_from_slice(self.author.as_bytes());
        out.extend_from_slice(&self.number.to_be_bytes());
        if let Some(credential) = &self.credential {
            out.extend_from_slice(credential.as_bytes());
        }
        out.extend_from_slice(self.content);
        out
    }
}

/// Where a post stands: everything outside of the body that its signature covers.
pub(crate) struct Place<'a> {
    pub(crate) group: &'a GroupDescriptor,
    pub(crate) group_id: GroupId,
    pub(crate) timestamp_ms: i64,
    pub(crate) deps: &'a [MessageId],
}

impl<'a> Place<'a> {
    pub(crate) fn of(group: &'a GroupDescriptor, message: &'a Message) -> Self {
        let (timestamp_ms, deps) = (message.timestamp_ms(), message.deps());
        Self { group, group_id: message.group(), timestamp_ms, deps }
    }

    /// What the author signs, into `out`: the context, the client, the group, the time, the place in the
    /// graph and the whole body up to the signature. Each part has a fixed length or its length before it;
    /// the body ends it.
    pub(crate) fn signed_bytes(&self, unsigned_body: &[u8], out: &mut Vec<u8>) {
        // A client id has at most 100 bytes and a message at most 64 dependencies.
        let client_len = u16::try_from(self.group.client_id().len()).unwrap_or(u16::MAX);
        let dep_count = u16::try_from(self.deps.len()).unwrap_or(u16::MAX);
        out.clear();
        out.extend_from_slice(CONTEXT);
        out.extend_from_slice(&client_len.to_be_bytes());
        out.extend_from_slice(self.group.client_id().as_bytes());
        out.extend_from_slice(&self.group.major_version().to_be_bytes());
        out.extend_from_slice(self.group_id.as_bytes());
        out.extend_from_slice(&self.timestamp_ms.to_be_bytes());
        out.extend_from_slice(&dep_count.to_be_bytes());
        for dep in self.deps {
            out.extend_from_slice(dep.as_bytes());
        }
        out.extend_from_slice(unsigned_body);
    }
}

/// A body up to its signature.
pub(crate) fn unsigned(body: &[u8]) -> &[u8] {
    body.split_last_chunk::<SIGNATURE_LEN>().map_or(&[], |(unsigned, _)| unsigned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{CREDENTIAL_LEN, POST_OVERHEAD};

    fn encode(body: &Body<'_>) -> Vec<u8> {
        let mut bytes = body.encode_unsigned();
        bytes.extend_from_slice(&body.signature);
        bytes
    }

    proptest! {
        #[test]
        fn a_body_goes_round(
            kind in 0_u8..128, author: [u8; 32], number in 1_u64.., credential in any::<Option<[u8; 32]>>(),
            content in proptest::collection::vec(any::<u8>(), 0..300), signature: [u8; 32],
        ) {
            let body = Body {
                kind, author: PeerId::from_bytes(author), number,
                credential: credential.map(|half| Credential::from_bytes([half; 2].concat().try_into().unwrap())),
                content: &content, signature: [signature; 2].concat().try_into().unwrap(),
            };
            let bytes = encode(&body);
            prop_assert_eq!(Body::parse(&bytes), Ok(body));
            let credential = if credential.is_some() { CREDENTIAL_LEN } else { 0 };
            prop_assert_eq!(bytes.len(), POST_OVERHEAD + credential + content.len());
        }

        #[test]
        fn what_parses_is_written_in_one_way(mut bytes in proptest::collection::vec(any::<u8>(), 0..260)) {
            if let Some(version) = bytes.first_mut() {
                *version = VERSION;
            }
            if let Ok(body) = Body::parse(&bytes) {
                prop_assert_eq!(encode(&body), bytes);
            }
        }
    }

    #[test]
    fn rules_are_named() {
        let mut bytes = vec![1; POST_OVERHEAD];
        assert!(Body::parse(&bytes).is_ok());
        assert_eq!(Body::parse(&bytes[1..]), Err(BodyError::Short));
        assert_eq!(Body::parse(&[]), Err(BodyError::Short));
        bytes[1] = HAS_CREDENTIAL;
        assert_eq!(Body::parse(&bytes), Err(BodyError::Short));
        bytes[1] = 1;
        bytes[34..42].fill(0);
        assert_eq!(Body::parse(&bytes), Err(BodyError::NumberZero));
        bytes[0] = 2;
        assert_eq!(Body::parse(&bytes), Err(BodyError::Version(2)));
    }
}
