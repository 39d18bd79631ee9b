//! What frames say that has to arrive.

use hedgerow_proto::limits::TAG_LEN;
use hedgerow_proto::{MessageId, Span};

use crate::store::GroupNum;

/// What was in a frame and is due again if it is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) enum Item {
    Hello,
    Announce {
        group: GroupNum,
        /// What we call it.
        number: u32,
        /// It said that the peer must void what it knows.
        reset: bool,
        /// The first frame in which we said this: later ones only say it again.
        since: u64,
    },
    Farewell(u32, [u8; TAG_LEN]),
    Ack {
        group: GroupNum,
        held: Vec<Span>,
        known: Vec<Span>,
        ids: Vec<MessageId>,
        duplicates: u32,
    },
    Sent {
        group: GroupNum,
        position: u64,
        frame: u64,
    },
    Answer {
        group: GroupNum,
        id: MessageId,
    },
    Request {
        group: GroupNum,
        id: MessageId,
        /// The peer's position of it, if it was asked for by that.
        theirs: Option<u64>,
    },
    /// Positions of the peer that are asked for again.
    CallBack {
        group: GroupNum,
        positions: Vec<Span>,
    },
    Unavailable {
        group: GroupNum,
        positions: Vec<Span>,
        ids: Vec<MessageId>,
    },
}

impl Item {
    /// Whether it may be said in several frames at once: it is small, and nothing comes of hearing it twice.
    pub(super) fn can_be_copied(&self) -> bool {
        matches!(self, Self::Hello | Self::Announce { .. } | Self::Ack { .. })
    }

    /// Whether it is a message or an offer of our log: the peer says itself that it has it.
    pub(super) fn is_sent(&self) -> bool {
        matches!(self, Self::Sent { .. })
    }

    /// Whether both say the same.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            // Duplicates are reported once.
            (
                Self::Ack { group, held, known, ids, .. },
                Self::Ack { group: group_2, held: held_2, known: known_2, ids: ids_2, .. },
            ) => (group, held, known, ids) == (group_2, held_2, known_2, ids_2),
            _ => self == other,
        }
    }

    /// The same, to be said again while nobody knows whether it arrived.
    pub(super) fn again(&self) -> Self {
        let mut again = self.clone();
        if let Self::Ack { duplicates, .. } = &mut again {
            *duplicates = 0;
        }
        again
    }
}
