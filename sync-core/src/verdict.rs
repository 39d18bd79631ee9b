//! What a client says of a message, and why a message is invalid.

/// A client's judgement of one message. It must depend on the message and its group alone, so that every peer
/// comes to the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The message may be delivered once its dependencies are.
    Valid(MessageFacts),
    /// The message, and all that depends on it, is never delivered.
    Invalid,
}

impl Verdict {
    /// Valid, and the client has nothing more to say.
    pub const VALID: Self = Self::Valid(MessageFacts { author: None, expires_ms: None });

    /// Whether the message is valid.
    #[must_use]
    pub const fn is_valid(&self) -> bool {
        matches!(self, Self::Valid(_))
    }
}

/// What a client says of a valid message besides. It must depend on the message and its group alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct MessageFacts {
    /// Who wrote it: whatever the client calls its authors by. What an author's messages take of a store is charged
    /// to it; those without an author are charged to the peer that they came from.
    pub author: Option<[u8; 32]>,
    /// From when on no device may hold or send what it says, in ms since 1970-01-01 UTC; `None`: for ever.
    pub expires_ms: Option<i64>,
}

/// Why a message became a tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum InvalidReason {
    /// Its group's client refused it.
    Client,
    /// One of its dependencies belongs to another group.
    ForeignDependency,
    /// One of its dependencies is invalid.
    InvalidDependency,
}

impl InvalidReason {
    /// The number that stands for it in stores; it never changes and is not 0.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Client => 1,
            Self::ForeignDependency => 2,
            Self::InvalidDependency => 3,
        }
    }

    /// The reason that a store's number stands for.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Client),
            2 => Some(Self::ForeignDependency),
            3 => Some(Self::InvalidDependency),
            _ => None,
        }
    }
}
