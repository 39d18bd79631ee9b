//! What a check says.

use std::fmt;

use hedgerow_proto::GroupId;

use crate::store::{Edge, GroupNum, MessageNum, MessageState, PeerNum};

/// How many problems a report lists at most.
const MAX_LISTED: usize = 1_000;

/// What a store holds and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// Message rows of any state.
    pub messages: u64,
    /// Of these: only the id is known.
    pub wanted: u64,
    /// Of these: held, not judged.
    pub unvalidated: u64,
    /// Of these: valid, waiting for dependencies.
    pub waiting: u64,
    /// Of these: waiting for their time.
    pub early: u64,
    /// Of these: delivered, with a body.
    pub delivered: u64,
    /// Of these: tombstones of invalid ones.
    pub invalid: u64,
    /// Of these: delivered, their bodies no longer held.
    pub pruned: u64,
    /// Of these: waiting, their bodies gone because their time was over.
    pub lapsed: u64,
    /// Of these: taken as delivered, never held.
    pub gaps: u64,
    /// What the messages with a body count for against a cap, in bytes
    /// ([`MessageRow::weight`](crate::store::MessageRow::weight)).
    pub bytes: u64,
    /// The same for each group, by the group's number.
    pub group_bytes: Vec<(GroupId, u64)>,
    /// Edges from a dependency that is waited for to a message that waits.
    pub edges: u64,
    /// Groups.
    pub groups: u64,
    /// Peers.
    pub peers: u64,
    /// The first thousand problems.
    pub problems: Vec<Problem>,
    /// How many problems there are.
    pub problem_count: u64,
}

impl CheckReport {
    /// Whether no invariant is broken.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.problem_count == 0
    }

    /// Adds a problem: for stores that know invariants of their own.
    pub fn add(&mut self, problem: Problem) {
        self.problem_count = self.problem_count.saturating_add(1);
        if self.problems.len() < MAX_LISTED {
            self.problems.push(problem);
        }
    }

    /// How many messages are in a state.
    #[must_use]
    pub fn in_state(&self, state: MessageState) -> u64 {
        match state {
            MessageState::Wanted => self.wanted,
            MessageState::Unvalidated => self.unvalidated,
            MessageState::Waiting => self.waiting,
            MessageState::Early => self.early,
            MessageState::Delivered => self.delivered,
            MessageState::Invalid => self.invalid,
            MessageState::Pruned => self.pruned,
            MessageState::Lapsed => self.lapsed,
            MessageState::Gap => self.gaps,
        }
    }

    pub(super) fn count(&mut self, state: MessageState) {
        self.messages += 1;
        *match state {
            MessageState::Wanted => &mut self.wanted,
            MessageState::Unvalidated => &mut self.unvalidated,
            MessageState::Waiting => &mut self.waiting,
            MessageState::Early => &mut self.early,
            MessageState::Delivered => &mut self.delivered,
            MessageState::Invalid => &mut self.invalid,
            MessageState::Pruned => &mut self.pruned,
            MessageState::Lapsed => &mut self.lapsed,
            MessageState::Gap => &mut self.gaps,
        } += 1;
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} messages ({} delivered, {} waiting, {} invalid, {} bytes held) in {} groups, {} peers: ",
            self.messages, self.delivered, self.waiting, self.invalid, self.bytes, self.groups, self.peers
        )?;
        match self.problem_count {
            0 => write!(f, "no problems"),
            count => {
                write!(f, "{count} problems")?;
                self.problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
            }
        }
    }
}

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which row breaks it.
    pub subject: Subject,
    /// Which invariant it is.
    pub invariant: Invariant,
    /// What was found.
    pub detail: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, invariant, detail } = self;
        write!(f, "{subject}: invariant {} ({invariant}): {detail}", invariant.number())
    }
}

/// The row that a [`Problem`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// No row in particular.
    Store,
    /// A message.
    Message(MessageNum),
    /// An edge.
    Edge(Edge),
    /// A group.
    Group(GroupNum),
    /// A peer.
    Peer(PeerNum),
    /// A peer in a group.
    PeerGroup(PeerNum, GroupNum),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store => write!(f, "store"),
            Self::Message(num) => write!(f, "message {}", num.0),
            Self::Edge((parent, child)) => write!(f, "edge {} to {}", parent.0, child.0),
            Self::Group(num) => write!(f, "group {}", num.0),
            Self::Peer(num) => write!(f, "peer {}", num.0),
            Self::PeerGroup(peer, group) => write!(f, "peer {} in group {}", peer.0, group.0),
        }
    }
}

macro_rules! invariants {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// The invariants of a store, numbered as in `docs/storage.md`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Invariant {
            $($(#[$doc])* $name = $number,)*
        }

        impl Invariant {
            /// Every invariant, by number.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its number in `docs/storage.md`.
            #[must_use]
            pub const fn number(self) -> u8 {
                self as u8
            }
        }

        impl fmt::Display for Invariant {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $text,)*
                })
            }
        }
    };
}

invariants! {
    /// Every row can be read.
    Readable = 1, "rows can be read";
    /// A group has a known id scheme and is named by the hash of its descriptor.
    GroupId = 2, "group ids are hashes";
    /// Every message is in a group that is there.
    Group = 3, "messages are in groups";
    /// A held message is within the limits and named by the hash of everything in it.
    MessageId = 4, "message ids are hashes";
    /// There is a body exactly where the state has one, as long as the row says.
    Body = 5, "bodies where they belong";
    /// Dependencies are strictly ascending by id, and are there.
    Deps = 6, "dependencies are there and ascending";
    /// Delivered messages have the positions from 1 to the group's head, one each; others have none.
    Positions = 7, "positions without gaps";
    /// Chain values follow from the ids in delivery order; the group has the last one.
    Chain = 8, "chain values";
    /// The dependencies of a delivered message are delivered before it; those of a judged one are in its group.
    DeliveryOrder = 9, "dependencies first";
    /// Effective timestamp and height of a delivered message follow from those of its dependencies.
    OrderKey = 10, "canonical keys";
    /// The canonical order of a group lists its delivered messages by key.
    CanonicalOrder = 11, "canonical order";
    /// `missing` is the number of dependencies that are not delivered; one waits if and only if there are some.
    Missing = 12, "missing dependencies are counted";
    /// There is an edge for each undelivered dependency of a held, undelivered message, and no other.
    Edges = 13, "edges to what is waited for";
    /// A wanted message is waited for, and has no content.
    Wanted = 14, "wanted messages are waited for";
    /// An invalid message has a known reason, others have none.
    Reason = 15, "reasons of the invalid";
    /// Nothing judged valid depends on what is invalid.
    InvalidDependency = 16, "nothing valid depends on the invalid";
    /// The heads of a group are its delivered messages without delivered children.
    Heads = 17, "heads";
    /// What is known of a peer in a group names rows that are there, is readable, and claims no more than there is.
    PeerGroup = 18, "peers in groups";
    /// Numbers and ids are unique, and no number is higher than the highest one given.
    Numbers = 19, "numbers and ids are unique";
    /// The ways to find a row agree.
    Lookup = 20, "lookups agree";
    /// The storage engine finds its own structures in order.
    Storage = 21, "storage engine";
    /// A group's row says how many bytes its delivered bodies have.
    BytesHeld = 22, "bytes held";
    /// The author of a message is there, in the message's group.
    Author = 23, "authors";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_bounded_and_the_count_is_not() {
        let mut report = CheckReport::default();
        assert!(report.is_clean());
        for _ in 0..MAX_LISTED + 5 {
            report.add(Problem { subject: Subject::Store, invariant: Invariant::Lookup, detail: "x".into() });
        }
        assert_eq!((report.problems.len(), report.problem_count), (MAX_LISTED, 1_005));
        assert!(report.to_string().contains("1005 problems\nstore: invariant 20 (lookups agree): x\n"));
    }

    #[test]
    fn invariants_are_numbered_from_one() {
        let numbers: Vec<usize> = Invariant::ALL.iter().map(|invariant| invariant.number().into()).collect();
        assert_eq!(numbers, (1..=Invariant::ALL.len()).collect::<Vec<_>>());
    }
}
