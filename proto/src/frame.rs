//! Frames and records, as every dialect's codec gives and takes them.

use bytes::Bytes;

use crate::ids::{GroupId, MessageId};
use crate::limits::{NONCE_LEN, SAMPLE_LEN, STEP_LEN, TAG_LEN};
use crate::spans::Span;

/// What crosses a link at once: any number of records, in the order in which they are to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frame {
    /// Lossy links only: the number of this frame, from 1.
    pub number: Option<u64>,
    /// Lossy links only: which of the other side's frames were processed and made durable.
    pub frame_acks: Vec<Span>,
    /// Lossy links only: how long ago the newest of those was received, in ms.
    pub ack_delay_ms: u32,
    /// Lossy links only: asks for an answer and says nothing else.
    pub ping: bool,
    /// Opens the session.
    pub hello: Option<Hello>,
    /// Groups that the sender shares.
    pub announces: Vec<Announce>,
    /// Groups in step. Only on links that lose nothing.
    pub in_step: Option<InStep>,
    /// Numbers that the receiver gave by [`InStep`] and the sender matched.
    pub matched: Vec<Span>,
    /// Numbers that the receiver gave by [`InStep`] and the sender could not match: they are to be announced.
    pub unmatched: Vec<Span>,
    /// ACK records.
    pub acks: Vec<Ack>,
    /// MESSAGE records, by group.
    pub batches: Vec<Batch>,
    /// OFFER records.
    pub offers: Vec<Offer>,
    /// OFFER records by short ids.
    pub short_offers: Vec<ShortOffer>,
    /// REQUEST records.
    pub requests: Vec<Request>,
    /// UNAVAILABLE records.
    pub unavailables: Vec<Unavailable>,
    /// RECONCILE records.
    pub reconciles: Vec<Reconcile>,
    /// Messages that are not stored.
    pub ephemerals: Vec<Ephemeral>,
}

impl Frame {
    /// Whether groups are named in it for the session, or what names them is answered.
    pub(crate) fn names_groups(&self) -> bool {
        let answers = !self.matched.is_empty() || !self.unmatched.is_empty();
        !self.announces.is_empty() || self.in_step.is_some() || answers
    }

    /// Whether messages are named in it by what two peers alone can read.
    pub(crate) fn speaks_by_keys(&self) -> bool {
        !self.reconciles.is_empty() || !self.short_offers.is_empty()
    }
}

/// HELLO: the first record of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Major version of the wire; another one ends the link.
    pub major: u32,
    /// Minor version of the wire: what is unknown is skipped.
    pub minor: u32,
    /// New random bytes in every session, the key of the sender's group tags.
    pub nonce: [u8; NONCE_LEN],
    /// Random number of the sender's store.
    pub install: u64,
    /// Largest frame that the sender takes, in bytes.
    pub max_frame: u32,
    /// How many unanswered offers the sender takes.
    pub max_offers: u32,
}

/// How a group stands between us and one peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Visibility {
    /// The peer's records for the group are refused, and nothing is said.
    #[default]
    Invisible,
    /// The peer's messages are taken and acknowledged; none are sent.
    Visible,
    /// Both directions.
    Shared,
}

/// Which group a record speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupRef {
    /// The number that the sender of the record gave it in an [`Announce`].
    Number(u32),
    /// Its id in full.
    Id(GroupId),
    /// The record names messages by id alone (dialects without group names in their records).
    Unnamed,
}

/// ANNOUNCE: a group that the sender shares, and what it holds of the receiver's log of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announce {
    /// What the sender calls the group for the rest of the session.
    pub number: u32,
    /// Keyed hash of the group id: [`Announce::tag_of`].
    pub tag: [u8; TAG_LEN],
    /// The sender's side of the sharing.
    pub visibility: Visibility,
    /// The receiver's positions that the sender holds durably.
    pub held: Vec<Span>,
    /// The highest of the receiver's positions with a known chain value; 0 for none.
    pub mark: u64,
    /// That chain value.
    pub mark_chain: u64,
    /// If not 0, the receiver is to forget what it holds of the sender's positions, unless it heard this value before:
    /// the sender's store went back in time, or it left the group and is in it again.
    pub reset: u32,
    /// What the sender has of the group, where it does not know the receiver's log.
    pub summary: Option<Summary>,
}

/// ANNOUNCE records of groups in which the receiver most likely knows what the sender holds: one value for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InStep {
    /// What the sender calls the first group; each further one has the next number. Not 0.
    pub first: u32,
    /// Of each group: [`InStep::value_of`]. Not empty.
    pub values: Vec<[u8; STEP_LEN]>,
}

impl InStep {
    /// What stands for the ANNOUNCE of `group` with visibility `Shared`, without a reset and a summary, that says: all
    /// positions up to `mark` are held, and the chain value there is `mark_chain`. `nonce` is that of the announcing
    /// side's HELLO: who does not know all of this learns nothing.
    #[must_use]
    pub fn value_of(nonce: &[u8; NONCE_LEN], group: GroupId, mark: u64, mark_chain: u64) -> [u8; STEP_LEN] {
        let mut hasher = blake3::Hasher::new_derive_key("hedgerow 2026-11 in step");
        hasher.update(nonce).update(group.as_bytes());
        hasher.update(&mark.to_be_bytes()).update(&mark_chain.to_be_bytes());
        let mut value = [0; STEP_LEN];
        hasher.finalize_xof().fill(&mut value);
        value
    }

    /// The groups' numbers, each with its value.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, [u8; STEP_LEN])> + '_ {
        (self.first..=u32::MAX).zip(self.values.iter().copied())
    }
}

/// How many messages a peer has of a group, and roughly which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// How many it delivered. Not 0.
    pub count: u64,
    /// Bits of the ids of some of these, masked by [`Announce::mask_of`].
    pub sample: u128,
}

impl Announce {
    /// The tag of `group` under the nonce of the announcing side's HELLO: who is not in the group learns nothing.
    #[must_use]
    pub fn tag_of(nonce: &[u8; NONCE_LEN], group: GroupId) -> [u8; TAG_LEN] {
        let (tag, _) = Self::tag_and_mask(nonce, group);
        tag
    }

    /// What the sample of `group` is masked by, by exclusive or, under the nonce of the announcing side's HELLO: who is
    /// not in the group learns nothing.
    #[must_use]
    pub fn mask_of(nonce: &[u8; NONCE_LEN], group: GroupId) -> u128 {
        let (_, mask) = Self::tag_and_mask(nonce, group);
        u128::from_be_bytes(mask)
    }

    fn tag_and_mask(nonce: &[u8; NONCE_LEN], group: GroupId) -> ([u8; TAG_LEN], [u8; SAMPLE_LEN]) {
        let mut hasher = blake3::Hasher::new_derive_key("hedgerow 2026-11 group tag");
        hasher.update(nonce);
        hasher.update(group.as_bytes());
        let mut output = hasher.finalize_xof();
        let (mut tag, mut mask) = ([0; TAG_LEN], [0; SAMPLE_LEN]);
        output.fill(&mut tag);
        output.fill(&mut mask);
        (tag, mask)
    }
}

/// ACK: durably stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// The group.
    pub group: GroupRef,
    /// Positions of the receiver of this record.
    pub held: Vec<Span>,
    /// Positions of the sender at which it holds what the receiver sent it.
    pub known: Vec<Span>,
    /// Messages by id, where there are no positions.
    pub ids: Vec<MessageId>,
    /// How many of the acknowledged were held already when they came.
    pub duplicates: u32,
    /// The sender's chain value at the last position in `known`; 0 where there is none.
    pub chain: u64,
    /// [`Announce::reset`] of the receiver's last ANNOUNCE of the group that the sender heard on this link: the positions
    /// are of that log.
    pub reset: u32,
}

/// MESSAGE records of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The group.
    pub group: GroupRef,
    /// The messages; those with a position ascend by it.
    pub messages: Vec<WireMessage>,
    /// The sender's chain value at the position of the last message; 0 where there are no positions.
    pub chain: u64,
}

/// One MESSAGE record. The id is not in it: the receiver computes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WireMessage {
    /// The sender's position of the message, if it has one.
    pub position: Option<u64>,
    /// The author's timestamp, in ms since 1970-01-01 UTC, as it came: not checked yet.
    pub timestamp_ms: i64,
    /// Dependencies, as they came: not checked yet. Those by position stand first.
    pub deps: Vec<DepRef>,
    /// The body, as it came: not checked yet.
    pub body: Bytes,
}

/// A dependency as a MESSAGE record names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DepRef {
    /// The sender's position of a message that it sent earlier in this session.
    Position(u64),
    /// The id in full.
    Id(MessageId),
}

/// OFFER: the sender holds these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The group.
    pub group: GroupRef,
    /// What is offered; those with a position ascend by it.
    pub items: Vec<OfferItem>,
    /// The sender's chain value at the last position; 0 where there are no positions.
    pub chain: u64,
}

/// One offered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferItem {
    /// The sender's position, if the dialect has positions.
    pub position: Option<u64>,
    /// The id.
    pub id: MessageId,
}

/// OFFER by short ids: the sender holds these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShortOffer {
    /// The group.
    pub group: GroupRef,
    /// Positions of the sender, ascending, each with a short id: a hash of the message's id under a key of the receiver.
    pub items: Vec<(u64, u64)>,
    /// The sender's chain value at the last position.
    pub chain: u64,
}

/// REQUEST: send me these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The group.
    pub group: GroupRef,
    /// Positions of the receiver of this record.
    pub positions: Vec<Span>,
    /// Messages by id.
    pub ids: Vec<MessageId>,
}

/// UNAVAILABLE: asked for, but pruned, deleted or never held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// The group.
    pub group: GroupRef,
    /// Positions of the sender of this record.
    pub positions: Vec<Span>,
    /// Messages by id.
    pub ids: Vec<MessageId>,
    /// What of these the sender delivered and no longer holds. A claim: nothing proves it.
    pub tombstones: Vec<Tombstone>,
}

/// A message that the sender says it delivered and no longer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tombstone {
    /// Its id.
    pub id: MessageId,
    /// Its effective timestamp, in ms since 1970-01-01 UTC, as it came: not checked yet.
    pub eff_ms: i64,
    /// Its height, as it came: not checked yet.
    pub height: u64,
}

/// RECONCILE: a step on the way to what two peers differ by in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconcile {
    /// The group.
    pub group: GroupRef,
    /// Which of the keys of the session it speaks of, from 0.
    pub salt: u32,
    /// The step.
    pub step: ReconcileStep,
}

impl Reconcile {
    /// The secret under which two peers compare a group in one session: of the nonces in the HELLO of the side that says
    /// symbols and of the other, the group, and a salt.
    #[must_use]
    pub fn secret_of(
        sayer: &[u8; NONCE_LEN],
        solver: &[u8; NONCE_LEN],
        group: GroupId,
        salt: u32,
    ) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("hedgerow 2026-11 reconcile");
        hasher.update(sayer).update(solver).update(group.as_bytes()).update(&salt.to_be_bytes());
        *hasher.finalize().as_bytes()
    }
}

/// What a [`Reconcile`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReconcileStep {
    /// The receiver is to say the symbols of its set.
    Ask,
    /// Symbols of the sender's set.
    Symbols(Symbols),
    /// So many further symbols are wanted.
    More(u32),
    /// What the sender lacks of the receiver's set; it holds all the rest of it.
    Lacks(Lacks),
    /// The sender takes no part, or no longer.
    Stop,
    /// It is over, and the receiver holds what stands at these positions of the sender.
    Known {
        /// Positions of the sender.
        positions: Vec<Span>,
        /// The sender's chain value at the last of them.
        chain: u64,
    },
}

/// Symbols of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbols {
    /// The place of the first one.
    pub first: u32,
    /// How many messages are in the sender's set.
    pub count: u64,
    /// How many bytes of a short id are in each: 5 to 8.
    pub width: u8,
    /// How many further ones follow at once, in other records.
    pub rest: u32,
    /// The symbols, `width` + [`SYMBOL_OVERHEAD`](crate::limits::SYMBOL_OVERHEAD) bytes each.
    pub bytes: Bytes,
}

/// Messages that the sender lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lacks {
    /// How many bytes of each short id are said: 1 to 8.
    pub cut: u8,
    /// The first bytes of short ids, one after the other.
    pub ids: Bytes,
    /// Further ones follow in another record.
    pub more: bool,
}

/// A message that is sent once, never stored, never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ephemeral {
    /// The group.
    pub group: GroupRef,
    /// When the sender says that it was said, in ms since 1970-01-01 UTC.
    pub timestamp_ms: i64,
    /// The body, as it came: not checked yet.
    pub body: Bytes,
}

/// Why bytes are not a frame. Each one is the peer's fault and ends the link; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are not in the form of the wire.
    #[error("not a frame: {0}")]
    Malformed(String),
    /// A field has a value that the specification does not allow.
    #[error("{record}: {rule}")]
    Rule {
        /// The record that it stands in.
        record: &'static str,
        /// The rule that is broken.
        rule: &'static str,
    },
}

/// Why a frame cannot be written in a dialect: the engine asked for what the dialect's
/// [`Capabilities`](crate::Capabilities) do not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this dialect has no way to say {0}")]
pub struct EncodeError(pub &'static str);
