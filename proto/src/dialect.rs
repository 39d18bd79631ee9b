//! The seam for other wires: a dialect is a codec, an id scheme and a set of capabilities.

use bytes::Bytes;

use crate::bramble::{self, BrambleCodec};
use crate::bundle::BundleCodec;
use crate::frame::{DecodeError, EncodeError, Frame};
use crate::ids::{GroupId, MessageId};
use crate::limits::NONCE_LEN;
use crate::message::{GroupDescriptor, Message, MessageError};
use crate::mvds::{self, MvdsCodec};
use crate::native::NativeCodec;

/// One wire that the engine can speak.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dialect {
    /// Our own: protobuf frames, BLAKE3 ids, everything.
    #[default]
    Native,
    /// Our own without sessions: everything named by id, so that it can cross a carrier that goes one way.
    Bundle,
    /// MVDS, as Status ships it: protobuf payloads, SHA-256 ids.
    Mvds {
        /// Whether dependencies are written (field 6004); they are read in any case.
        metadata: bool,
    },
    /// BSP version 0, as Briar ships it: binary records, BLAKE2b-256 ids.
    Bramble {
        /// For the side that made the stream: 16 random bytes, by which the peers tell their streams apart.
        priority: Option<[u8; NONCE_LEN]>,
    },
}

impl Dialect {
    /// A new codec for one link.
    #[must_use]
    pub fn codec(self) -> Box<dyn Codec> {
        match self {
            Self::Native => Box::new(NativeCodec::new()),
            Self::Bundle => Box::new(BundleCodec::new()),
            Self::Mvds { metadata } => Box::new(MvdsCodec::new(metadata)),
            Self::Bramble { priority } => Box::new(BrambleCodec::new(priority)),
        }
    }

    /// How this dialect names groups and messages. A group has one scheme for life, and only links of dialects
    /// with that scheme carry it.
    #[must_use]
    pub fn id_scheme(self) -> IdScheme {
        match self {
            Self::Native | Self::Bundle => IdScheme::Native,
            Self::Mvds { .. } => IdScheme::Mvds,
            Self::Bramble { .. } => IdScheme::Bramble,
        }
    }
}

/// How groups and messages are named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum IdScheme {
    /// BLAKE3 over every field.
    #[default]
    Native,
    /// SHA-256 over group, timestamp in seconds and body. A group is whatever its 32 bytes say.
    Mvds,
    /// BLAKE2b-256 over group, timestamp in ms and body; of a group, over client, version and descriptor.
    Bramble,
}

impl IdScheme {
    /// The id of a message.
    #[must_use]
    pub fn message_id(self, message: &Message) -> MessageId {
        match self {
            Self::Native => message.id(),
            Self::Mvds => {
                let timestamp_s = message.timestamp_ms() / self.timestamp_unit_ms();
                mvds::message_id(message.group(), timestamp_s, message.body())
            }
            Self::Bramble => bramble::message_id(message.group(), message.timestamp_ms(), message.body()),
        }
    }

    /// The id of a group; `None` if there is none for this descriptor ([`GroupDescriptor::of_id`] has one in a scheme
    /// that names groups by 32 bytes of any kind).
    #[must_use]
    pub fn group_id(self, descriptor: &GroupDescriptor) -> Option<GroupId> {
        match self {
            Self::Native => Some(descriptor.id()),
            Self::Mvds => GroupId::try_from(descriptor.descriptor()).ok(),
            Self::Bramble => Some(bramble::group_id(descriptor)),
        }
    }

    /// Whether the id of a message covers its dependencies. If not, whoever passes a message on can give it others.
    #[must_use]
    pub const fn covers_deps(self) -> bool {
        matches!(self, Self::Native)
    }

    /// The unit of timestamps in ms. A message whose timestamp is no multiple of it has no place on the wire.
    #[must_use]
    pub const fn timestamp_unit_ms(self) -> i64 {
        match self {
            Self::Native | Self::Bramble => 1,
            Self::Mvds => 1000,
        }
    }

    /// Whether a message is within what the scheme adds to the limits that hold for all messages.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn admit(self, message: &Message) -> Result<(), MessageError> {
        if message.timestamp_ms() % self.timestamp_unit_ms() != 0 {
            return Err(MessageError::TimestampUnit(message.timestamp_ms()));
        }
        if self == Self::Bramble && message.body().is_empty() {
            return Err(MessageError::EmptyBody);
        }
        Ok(())
    }

    /// The number that stands for the scheme in stores; it never changes.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Native => 1,
            Self::Mvds => 2,
            Self::Bramble => 3,
        }
    }

    /// The scheme that a store's number stands for.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Native),
            2 => Some(Self::Mvds),
            3 => Some(Self::Bramble),
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
    /// The codec begins with records of its own, so that the first frame is due at once, be there anything to say or
    /// not.
    pub opening: bool,
    /// How many unanswered offers peers take. Where there are sessions, HELLO may say less.
    pub max_offers: usize,
    /// What a MESSAGE record adds to its body and its dependencies, in bytes, at most.
    pub message_overhead: usize,
    /// What a dependency takes in a MESSAGE record, in bytes, at most.
    pub dep_size: usize,
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
