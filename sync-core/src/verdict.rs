//! What a client says of a message, and why a message is invalid.

/// A client's judgement of one message. It must depend on the message and its group alone, so that every peer
/// comes to the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The message may be delivered once its dependencies are.
    Valid,
    /// The message, and all that depends on it, is never delivered.
    Invalid,
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
