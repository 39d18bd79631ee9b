//! What can go wrong, and whose fault it is.

use hedgerow_proto::{DecodeError, GroupId, IdScheme, MessageError, MessageId, PeerId};

use crate::engine::LinkId;
use crate::store::StoreError;

/// Why the engine could not do what the application asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The store failed. Whether the last transaction was kept is in the store's error; the engine does nothing
    /// more until it is opened again from the store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store failed before. Open the engine again.
    #[error("the store failed before; open the engine again")]
    Poisoned,
    /// No such group here. Nothing was changed.
    #[error("group {0} is not known here")]
    UnknownGroup(GroupId),
    /// Dependencies were given beside a message whose id covers its own. Nothing was changed.
    #[error("the id of message {0} covers its dependencies: no others can be given")]
    CoveredDeps(MessageId),
    /// The descriptor names no group in the id scheme. Nothing was changed.
    #[error("this descriptor names no group in the scheme {0:?}")]
    NoGroupId(IdScheme),
    /// There is a group of another id scheme with this id, and a group has one scheme for life. Nothing was changed.
    #[error("group {0} is known here under another id scheme")]
    OtherScheme(GroupId),
    /// No such link. Nothing was changed.
    #[error("link {0:?} is not up")]
    UnknownLink(LinkId),
    /// The message breaks a limit. Nothing was changed.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// A dependency of a message to be published is not delivered here, or in another group. Nothing was changed.
    #[error("a message can only depend on messages delivered in its group, and {0} is not")]
    UnknownDependency(MessageId),
    /// The very same message is there already: give it another body or time. Nothing was changed.
    #[error("message {0} exists already")]
    Exists(MessageId),
    /// The message does not fit under a cap, and nothing can be pruned for it: what is held was written here and is
    /// held by no peer yet, or is not delivered yet. Nothing was changed.
    #[error(
        "a message of {needed} bytes does not fit under a cap of {cap} bytes, and nothing may be pruned for it"
    )]
    NoRoom {
        /// What the message counts for, in bytes.
        needed: u64,
        /// The cap, in bytes: the lower one of the group's and the store's.
        cap: u64,
    },
    /// A cap that is too small for the largest message. Nothing was changed.
    #[error("a cap is at least {least} bytes, this one is {found}")]
    CapTooSmall {
        /// The cap, in bytes.
        found: u64,
        /// What it has to be, in bytes.
        least: u64,
    },
    /// The time of a message to be published is over already. Nothing was changed.
    #[error("the message expires at {expires_ms} ms, which has passed")]
    Expired {
        /// When, in ms since 1970-01-01 UTC.
        expires_ms: i64,
    },
    /// There are as many groups, peers or links as the engine can number.
    #[error("no more {0} can be numbered")]
    TooMany(&'static str),
    /// The frame size of a link is too small for any record. Nothing was changed.
    #[error("a link must carry frames of at least {least} bytes, this one carries {found}")]
    FrameTooSmall {
        /// What the link carries, in bytes.
        found: usize,
        /// What it must carry, in bytes.
        least: usize,
    },
    /// The peer has as many links as one may have. Nothing was changed.
    #[error("peer {peer} has {most} links already")]
    TooManyLinks {
        /// Who.
        peer: PeerId,
        /// How many it may have: [`Config::max_links`](crate::Config).
        most: usize,
    },
    /// A link that goes one way needs a wire without sessions: nobody would answer a HELLO. Nothing was changed.
    #[error("a link that goes one way cannot have sessions, as its wire has")]
    OneWaySessions,
    /// The peer has a link on which groups are spoken of in sessions, and this one would not, or the other way round.
    /// Nothing was changed.
    #[error("peer {peer} has a link of the other kind: with sessions, or without")]
    MixedLinks {
        /// Who.
        peer: PeerId,
    },
    /// A frame is said to have come over a link that only goes to the peer. It was ignored.
    #[error("a frame on a link that only goes out")]
    OutOnly,
    /// A wire could not say what the engine wanted to say on it.
    #[error(transparent)]
    Encode(#[from] hedgerow_proto::EncodeError),
}

/// A rule that a peer broke so that its link had to end. Nothing of the frame was kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("peer {peer}: {rule}")]
pub struct Violation {
    /// Who.
    pub peer: PeerId,
    /// Which rule.
    pub rule: Rule,
}

/// The rules that end a link when they are broken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rule {
    /// The frame is longer than we said we take.
    #[error("a frame of {found} bytes where at most {limit} were agreed")]
    OversizedFrame {
        /// Its length in bytes.
        found: usize,
        /// What was agreed, in bytes.
        limit: usize,
    },
    /// The bytes are not a frame.
    #[error(transparent)]
    Garbage(#[from] DecodeError),
    /// A record came before HELLO.
    #[error("a record before HELLO")]
    NoHello,
    /// A second, different HELLO.
    #[error("a second HELLO that differs from the first")]
    SecondHello,
    /// A foreign major version of the wire.
    #[error("speaks version {found} of the wire, this is version {ours}")]
    Version {
        /// The peer's major version.
        found: u32,
        /// Ours.
        ours: u32,
    },
    /// The peer's HELLO asks for something impossible.
    #[error("HELLO: {0}")]
    BadHello(&'static str),
    /// More groups announced on one link than we take.
    #[error("more than {0} groups announced")]
    TooManyAnnounces(usize),
    /// A frame without a number on a lossy link holds records, or one on a reliable link has a number.
    #[error("frames are numbered on lossy links and only there")]
    FrameNumber,
}

/// Why a frame was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiveError {
    /// The peer's fault. The engine has taken the link down already; the driver closes the carrier.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// Ours.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<StoreError> for ReceiveError {
    fn from(error: StoreError) -> Self {
        Self::Engine(error.into())
    }
}
