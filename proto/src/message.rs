//! Messages and group descriptors, and the native ids that name them.

use std::cell::RefCell;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::ids::{GroupId, MessageId};
use crate::limits::{MAX_BODY, MAX_CLIENT_ID, MAX_DEPS, MAX_DESCRIPTOR};

const GROUP_CONTEXT: &str = "hedgerow 2026-11 group id";
const MESSAGE_CONTEXT: &str = "hedgerow 2026-11 message id";
/// What the id covers before the dependencies, in bytes: group, timestamp, number of dependencies.
const HEAD_LEN: usize = 32 + 8 + 2;
/// So many dependencies are hashed together with that.
const DEPS_IN_HEAD: usize = 3;

/// Which rule a message or a group descriptor breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MessageError {
    /// The body is longer than [`MAX_BODY`].
    #[error("a body has at most {MAX_BODY} bytes, this one has {0}")]
    BodyTooLong(usize),
    /// More than [`MAX_DEPS`] dependencies.
    #[error("a message has at most {MAX_DEPS} dependencies, this one has {0}")]
    TooManyDeps(usize),
    /// The dependencies are not strictly ascending: unsorted, or one stands there twice.
    #[error("dependencies must be strictly ascending by id")]
    DepsNotAscending,
    /// The timestamp is negative.
    #[error("a timestamp is not negative, this one is {0} ms")]
    NegativeTimestamp(i64),
    /// The client id of a group is empty or longer than [`MAX_CLIENT_ID`].
    #[error("a client id has 1 to {MAX_CLIENT_ID} bytes, this one has {0}")]
    ClientIdLength(usize),
    /// The descriptor of a group is longer than [`MAX_DESCRIPTOR`].
    #[error("a group descriptor has at most {MAX_DESCRIPTOR} bytes, this one has {0}")]
    DescriptorTooLong(usize),
    /// The timestamp is no multiple of the unit that the group's id scheme has.
    #[error("a timestamp of this group is a whole second, this one is {0} ms")]
    TimestampUnit(i64),
    /// The body is empty, which the group's id scheme does not allow.
    #[error("a body of this group has at least 1 byte")]
    EmptyBody,
}

/// An immutable message. Its fields are within the limits, always: it can only be made by [`Message::new`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    group: GroupId,
    timestamp_ms: i64,
    /// Most messages have one, which stands in place.
    deps: SmallVec<[MessageId; 1]>,
    body: Bytes,
}

impl Message {
    /// A message of `group`, at `timestamp_ms` (ms since 1970-01-01 UTC, not negative), that comes after
    /// `deps` (strictly ascending, at most [`MAX_DEPS`]) and says `body` (at most [`MAX_BODY`] bytes).
    ///
    /// # Errors
    /// The rule that is broken; nothing is cut to fit.
    pub fn new(
        group: GroupId,
        timestamp_ms: i64,
        deps: Vec<MessageId>,
        body: Bytes,
    ) -> Result<Self, MessageError> {
        Self::check(timestamp_ms, &deps, &body)?;
        Ok(Self { group, timestamp_ms, deps: deps.into(), body })
    }

    /// The same with a copy of the dependencies.
    ///
    /// # Errors
    /// The rule that is broken; nothing is cut to fit.
    pub fn after(
        group: GroupId,
        timestamp_ms: i64,
        deps: &[MessageId],
        body: Bytes,
    ) -> Result<Self, MessageError> {
        Self::check(timestamp_ms, deps, &body)?;
        Ok(Self { group, timestamp_ms, deps: SmallVec::from_slice(deps), body })
    }

    fn check(timestamp_ms: i64, deps: &[MessageId], body: &Bytes) -> Result<(), MessageError> {
        if body.len() > MAX_BODY {
            return Err(MessageError::BodyTooLong(body.len()));
        }
        if deps.len() > MAX_DEPS {
            return Err(MessageError::TooManyDeps(deps.len()));
        }
        if !deps.is_sorted_by(|a, b| a < b) {
            return Err(MessageError::DepsNotAscending);
        }
        if timestamp_ms < 0 {
            return Err(MessageError::NegativeTimestamp(timestamp_ms));
        }
        Ok(())
    }

    /// The group that the message belongs to.
    #[must_use]
    pub fn group(&self) -> GroupId {
        self.group
    }

    /// When its author says it was written, in ms since 1970-01-01 UTC.
    #[must_use]
    pub fn timestamp_ms(&self) -> i64 {
        self.timestamp_ms
    }

    /// What it comes after: strictly ascending, at most [`MAX_DEPS`].
    #[must_use]
    pub fn deps(&self) -> &[MessageId] {
        &self.deps
    }

    /// What it says, at most [`MAX_BODY`] bytes. The engine never looks inside.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The native id: BLAKE3 in key derivation mode over every field, in a layout without ambiguity
    /// (`docs/protocol.md`, section 1).
    #[must_use]
    pub fn id(&self) -> MessageId {
        // The number of dependencies is at most MAX_DEPS.
        let count = u16::try_from(self.deps.len()).unwrap_or(u16::MAX);
        // Together with the first dependencies in one piece, as each piece costs some.
        let mut head = [0; HEAD_LEN + 32 * DEPS_IN_HEAD];
        let (first, later) = self.deps.split_at(self.deps.len().min(DEPS_IN_HEAD));
        let (group, rest) = head.split_at_mut(32);
        let (timestamp, rest) = rest.split_at_mut(8);
        let (number, slots) = rest.split_at_mut(2);
        group.copy_from_slice(self.group.as_bytes());
        timestamp.copy_from_slice(&self.timestamp_ms.to_be_bytes());
        number.copy_from_slice(&count.to_be_bytes());
        slots.as_chunks_mut().0.iter_mut().zip(first).for_each(|(slot, dep)| *slot = *dep.as_bytes());
        let (head, _) = head.split_at(HEAD_LEN + 32 * first.len());
        HASHER.with_borrow_mut(|hasher| {
            hasher.reset();
            hasher.update(head);
            for dep in later {
                hasher.update(dep.as_bytes());
            }
            hasher.update(&self.body);
            MessageId::from_bytes(*hasher.finalize().as_bytes())
        })
    }

    /// Takes the message apart into its dependencies and its body.
    #[must_use]
    pub fn into_parts(self) -> (Vec<MessageId>, Bytes) {
        (self.deps.into_vec(), self.body)
    }
}

thread_local! {
    /// Deriving the key from the context costs a hash of its own, and copying a hasher as much as a tenth of a message:
    /// there is one for each thread.
    static HASHER: RefCell<blake3::Hasher> = RefCell::new(blake3::Hasher::new_derive_key(MESSAGE_CONTEXT));
}

/// What a group is: the client that reads it, that client's major version, and bytes of the client's own.
/// Two groups with the same three are the same group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GroupDescriptor {
    client_id: String,
    major_version: u32,
    descriptor: Vec<u8>,
}

impl GroupDescriptor {
    /// A descriptor for a client id of 1 to [`MAX_CLIENT_ID`] bytes and at most [`MAX_DESCRIPTOR`] bytes of
    /// the client's own.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn new(
        client_id: impl Into<String>,
        major_version: u32,
        descriptor: Vec<u8>,
    ) -> Result<Self, MessageError> {
        let client_id = client_id.into();
        if client_id.is_empty() || client_id.len() > MAX_CLIENT_ID {
            return Err(MessageError::ClientIdLength(client_id.len()));
        }
        if descriptor.len() > MAX_DESCRIPTOR {
            return Err(MessageError::DescriptorTooLong(descriptor.len()));
        }
        Ok(Self { client_id, major_version, descriptor })
    }

    /// Which client reads this group.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The client's major version: another one is another group.
    #[must_use]
    pub fn major_version(&self) -> u32 {
        self.major_version
    }

    /// The client's own bytes.
    #[must_use]
    pub fn descriptor(&self) -> &[u8] {
        &self.descriptor
    }

    /// A descriptor that says nothing but the 32 bytes that are the group's id, for
    /// [`IdScheme::Mvds`](crate::IdScheme::Mvds).
    #[must_use]
    pub fn of_id(group: GroupId) -> Self {
        Self { client_id: "mvds".to_owned(), major_version: 0, descriptor: group.as_bytes().to_vec() }
    }

    /// The native group id: BLAKE3 in key derivation mode over
    /// `u16 length || client id || u32 major version || descriptor`, integers big-endian.
    #[must_use]
    pub fn id(&self) -> GroupId {
        // The length is at most MAX_CLIENT_ID.
        let length = u16::try_from(self.client_id.len()).unwrap_or(u16::MAX);
        let mut hasher = blake3::Hasher::new_derive_key(GROUP_CONTEXT);
        hasher.update(&length.to_be_bytes());
        hasher.update(self.client_id.as_bytes());
        hasher.update(&self.major_version.to_be_bytes());
        hasher.update(&self.descriptor);
        GroupId::from_bytes(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> GroupId {
        GroupId::from_bytes([7; 32])
    }

    // spec: message-id
    #[test]
    fn each_field_changes_the_id() {
        let dep = MessageId::from_bytes([1; 32]);
        let base = Message::new(group(), 5, vec![], "x".into()).unwrap();
        let others = [
            Message::new(GroupId::from_bytes([8; 32]), 5, vec![], "x".into()).unwrap(),
            Message::new(group(), 6, vec![], "x".into()).unwrap(),
            Message::new(group(), 5, vec![dep], "x".into()).unwrap(),
            Message::new(group(), 5, vec![], "y".into()).unwrap(),
        ];
        for other in others {
            assert_ne!(base.id(), other.id(), "{other:?}");
        }
    }

    #[test]
    fn what_went_in_comes_out() {
        let dep = MessageId::from_bytes([1; 32]);
        let message = Message::new(group(), 5, vec![dep], "x".into()).unwrap();
        assert_eq!((message.group(), message.timestamp_ms()), (group(), 5));
        assert_eq!((message.deps(), &message.body()[..]), (&[dep][..], &b"x"[..]));
        assert_eq!(message.into_parts(), (vec![dep], Bytes::from("x")));
        let group = GroupDescriptor::new("org.example.client", 3, vec![9, 8]).unwrap();
        assert_eq!((group.client_id(), group.major_version()), ("org.example.client", 3));
        assert_eq!(group.descriptor(), [9, 8]);
    }

    #[test]
    fn a_dependency_and_a_body_cannot_pass_for_each_other() {
        let dep = MessageId::from_bytes([1; 32]);
        let as_dep = Message::new(group(), 5, vec![dep], Bytes::new()).unwrap();
        let as_body = Message::new(group(), 5, vec![], Bytes::copy_from_slice(dep.as_bytes())).unwrap();
        assert_ne!(as_dep.id(), as_body.id());
    }

    // spec: message-limits, group-limits
    #[test]
    fn limits_are_kept() {
        let id = |n: u8| MessageId::from_bytes([n; 32]);
        let new = |time, deps, body| Message::new(group(), time, deps, body);
        assert!(new(0, vec![], Bytes::from(vec![0; MAX_BODY])).is_ok());
        assert_eq!(
            new(0, vec![], Bytes::from(vec![0; MAX_BODY + 1])),
            Err(MessageError::BodyTooLong(MAX_BODY + 1))
        );
        assert_eq!(new(-1, vec![], Bytes::new()), Err(MessageError::NegativeTimestamp(-1)));
        assert_eq!(new(0, vec![id(2), id(1)], Bytes::new()), Err(MessageError::DepsNotAscending));
        assert_eq!(new(0, vec![id(1), id(1)], Bytes::new()), Err(MessageError::DepsNotAscending));
        let many: Vec<_> = (0..=u8::try_from(MAX_DEPS).unwrap()).map(id).collect();
        assert!(new(0, many[1..].to_vec(), Bytes::new()).is_ok());
        assert_eq!(new(0, many, Bytes::new()), Err(MessageError::TooManyDeps(MAX_DEPS + 1)));
        let group = |id: usize, descriptor| GroupDescriptor::new("x".repeat(id), 0, vec![0; descriptor]);
        assert!(group(1, 0).is_ok() && group(MAX_CLIENT_ID, MAX_DESCRIPTOR).is_ok());
        assert_eq!(group(0, 0), Err(MessageError::ClientIdLength(0)));
        assert_eq!(group(MAX_CLIENT_ID + 1, 0), Err(MessageError::ClientIdLength(MAX_CLIENT_ID + 1)));
        assert_eq!(group(1, MAX_DESCRIPTOR + 1), Err(MessageError::DescriptorTooLong(MAX_DESCRIPTOR + 1)));
    }
}
