//! The seam for other wires: a dialect is a codec, an id scheme and a set of capabilities.

use bytes::Bytes;

use crate::frame::{DecodeError, EncodeError, Frame};
use crate::ids::{GroupId, MessageId};
use crate::message::{GroupDescriptor, Message};
use crate::native::NativeCodec;

/// One wire that the engine can speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Our own: protobuf frames, BLAKE3 ids, everything.
    #[default]
    Native,
}

impl Dialect {
    /// A new codec for one link.
    #[must_use]
    pub fn codec(self) -> Box<dyn Codec> {
        match self {
            Self::Native => Box::new(NativeCodec::new()),
        }
    }

    /// How this dialect names groups and messages. A group has one scheme for life, and only links of dialects
    /// with that scheme carry it.
    #[must_use]
    pub fn id_scheme(self) -> IdScheme {
        match self {
            Self::Native => IdScheme::Native,
        }
    }
}

/// How groups and messages are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IdScheme {
    /// BLAKE3 over every field.
    #[default]
    Native,
}

impl IdScheme {
    /// The id of a message.
    #[must_use]
    pub fn message_id(self, message: &Message) -> MessageId {
        match self {
            Self::Native => message.id(),
        }
    }

    /// The id of a group.
    #[must_use]
    pub fn group_id(self, descriptor: &GroupDescriptor) -> GroupId {
        match self {
            Self::Native => descriptor.id(),
        }
    }

    /// The number that stands for the scheme in stores; it never changes.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Native => 1,
        }
    }

    /// The scheme that a store's number stands for.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Native),
            _ => None,
        }
    }
}

/// What a wire can say. The engine switches off what is not there; it never asks which dialect it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// A session begins with HELLO and ANNOUNCE, and what a peer holds is stated there.
    pub sessions: bool,
    /// Records name messages by position.
    pub positions: bool,
    /// There is an UNAVAILABLE record.
    pub unavailable: bool,
    /// There is an ephemeral record.
    pub ephemeral: bool,
    /// MESSAGE carries dependencies.
    pub deps: bool,
    /// Frames can be numbered and acknowledged, so that lossy links repair themselves.
    pub frame_numbers: bool,
}

/// Frames to bytes and back, for one link. A codec may keep state (numbers, back-references) between calls.
pub trait Codec: Send + std::fmt::Debug {
    /// What this wire can say.
    fn capabilities(&self) -> Capabilities;

    /// Appends `frame` to `out`.
    ///
    /// # Errors
    /// When the frame holds what the dialect cannot say; then `out` is as it was.
    fn encode(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), EncodeError>;

    /// Reads one whole frame. Bodies are slices of `bytes`, not copies. Unknown fields and records are skipped.
    ///
    /// # Errors
    /// When the bytes are not a frame; this never panics, and takes memory in proportion to the input only.
    fn decode(&mut self, bytes: Bytes) -> Result<Frame, DecodeError>;

    /// A codec in the same state.
    fn clone_box(&self) -> Box<dyn Codec>;
}

impl Clone for Box<dyn Codec> {
    fn clone(&self) -> Self {
        // Not of the box, which would call itself.
        (**self).clone_box()
    }
}
