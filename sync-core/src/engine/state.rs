//! What the engine keeps in memory: small rows of groups and peers, and what is outstanding.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use hedgerow_proto::limits::{NONCE_LEN, TAG_LEN};
use hedgerow_proto::{
    Announce, Capabilities, Codec, GroupDescriptor, GroupId, Hello, IdScheme, MessageId, PeerId, Visibility,
};

use super::LinkId;
use super::lossy::Lossy;
use crate::config::LinkProfile;
use crate::event::Traffic;
use crate::record::InFlight;
use crate::spanset::SpanSet;
use crate::store::{GroupNum, MessageNum, MessageState, PeerNum};
use crate::time::Time;

/// A group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) num: GroupNum,
    pub(super) id: GroupId,
    pub(super) scheme: IdScheme,
    pub(super) descriptor: GroupDescriptor,
    pub(super) judged: bool,
    pub(super) head: u64,
    pub(super) chain: u64,
    pub(super) heads: BTreeSet<MessageNum>,
    /// The heads as the store has them, if they changed since the last commit.
    pub(super) stored_heads: Option<BTreeSet<MessageNum>>,
    /// First position delivered since the last `Delivered` event.
    pub(super) delivered_from: Option<u64>,
    pub(super) counts: Counts,
    /// Peers to whom the group is not invisible.
    pub(super) peers: BTreeSet<PeerNum>,
}

/// How many messages of a group stand where, and what the parked ones weigh.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) wanted: u64,
    pub(super) unvalidated: u64,
    pub(super) waiting: u64,
    pub(super) early: u64,
    pub(super) invalid: u64,
    pub(super) pruned: u64,
    pub(super) parked_bytes: u64,
}

impl Counts {
    fn slot(&mut self, state: MessageState) -> Option<&mut u64> {
        match state {
            MessageState::Wanted => Some(&mut self.wanted),
            MessageState::Unvalidated => Some(&mut self.unvalidated),
            MessageState::Waiting => Some(&mut self.waiting),
            MessageState::Early => Some(&mut self.early),
            MessageState::Invalid => Some(&mut self.invalid),
            MessageState::Pruned => Some(&mut self.pruned),
            MessageState::Delivered => None,
        }
    }

    pub(super) fn enter(&mut self, state: MessageState, body_len: u32) {
        if let Some(count) = self.slot(state) {
            *count += 1;
        }
        if matches!(state, MessageState::Waiting | MessageState::Early) {
            self.parked_bytes += u64::from(body_len);
        }
    }

    pub(super) fn leave(&mut self, state: MessageState, body_len: u32) {
        if let Some(count) = self.slot(state) {
            *count = count.saturating_sub(1);
        }
        if matches!(state, MessageState::Waiting | MessageState::Early) {
            self.parked_bytes = self.parked_bytes.saturating_sub(u64::from(body_len));
        }
    }
}

/// A peer, with or without a link.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) install: Option<u64>,
    pub(super) groups: BTreeMap<GroupNum, PeerGroup>,
    pub(super) links: BTreeSet<LinkId>,
    /// How many messages we have asked of it.
    pub(super) requested: usize,
    /// How many of its offers are open.
    pub(super) offered: usize,
}

/// A peer in a group.
#[derive(Debug, Default)]
pub(super) struct PeerGroup {
    pub(super) visibility: Visibility,
    /// Our positions that the peer is known to hold.
    pub(super) has: SpanSet,
    /// The peer's positions that we hold durably.
    pub(super) got: SpanSet,
    pub(super) mark: u64,
    pub(super) mark_chain: u64,
    /// Commits since the row was last written.
    pub(super) unsaved: usize,
    /// Since when the peer lacks something, and whether that was reported.
    pub(super) behind: Option<(Time, bool)>,
    /// `has` grew since the last `PeerHas` event.
    pub(super) has_grew: bool,
    pub(super) session: Session,
}

/// What is outstanding between us and a peer in a group, while links are up.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// The peer's side of the sharing, as it announced it.
    pub(super) theirs: Option<Visibility>,
    /// Every position of ours below was considered since the peer announced the group.
    pub(super) next: u64,
    /// Positions below `next` that are due again.
    pub(super) again: SpanSet,
    /// Positions that do not fit through any link that is up.
    pub(super) too_large: SpanSet,
    pub(super) in_flight: BTreeMap<u64, Sent>,
    /// Our positions that the peer asked for.
    pub(super) asked: SpanSet,
    /// Messages outside our log that the peer asked for.
    pub(super) asked_ids: VecDeque<MessageId>,
    /// What the peer asked for in vain.
    pub(super) unavailable: SpanSet,
    pub(super) unavailable_ids: VecDeque<MessageId>,
    /// The peer's positions that we owe an ACK.
    pub(super) acks: SpanSet,
    pub(super) ack_ids: VecDeque<MessageId>,
    /// Our positions at which we hold what the peer sent, which it does not know yet.
    pub(super) known: SpanSet,
    /// Duplicates to be reported with the next ACK.
    pub(super) duplicates: u32,
    /// The peer's positions that it offers and we lack.
    pub(super) offered: BTreeMap<u64, MessageId>,
    /// What we are to ask of it: by its position where there is one.
    pub(super) to_request: VecDeque<(MessageId, Option<u64>)>,
    /// Learned from the answers to our offers and pushes: high when the peer tends to lack what we have from
    /// others, low when it has even what we wrote.
    pub(super) lacks: i32,
}

/// Something under way to a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) link: LinkId,
    /// Number of the frame, on a lossy link.
    pub(super) frame: u64,
    pub(super) kind: InFlight,
    pub(super) bytes: u32,
}

/// One link.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) peer: PeerNum,
    pub(super) profile: LinkProfile,
    pub(super) codec: Box<dyn Codec>,
    pub(super) caps: Capabilities,
    pub(super) nonce: [u8; NONCE_LEN],
    pub(super) hello_due: bool,
    /// The peer is known to have our HELLO.
    pub(super) hello_arrived: bool,
    pub(super) hello: Option<Hello>,
    /// The largest frame that both sides take, in bytes.
    pub(super) max_frame: usize,
    /// Most offers that the peer takes.
    pub(super) max_offers: usize,
    /// What we call the groups.
    pub(super) ours: BTreeMap<GroupNum, OurName>,
    pub(super) next_number: u32,
    pub(super) announce_due: BTreeSet<GroupNum>,
    /// Names and tags of groups that we left, to be announced as such.
    pub(super) farewells: VecDeque<(u32, [u8; TAG_LEN])>,
    /// What the peer calls them; `None` for those we do not know.
    pub(super) theirs: BTreeMap<u32, Option<GroupNum>>,
    /// Tags of the groups visible to the peer, under its nonce.
    pub(super) tags: BTreeMap<[u8; TAG_LEN], GroupNum>,
    /// The last announcement of each group, should we come to know it later, or again.
    pub(super) announced: BTreeMap<[u8; TAG_LEN], Announce>,
    /// Groups that may have something to say, in turn.
    pub(super) ready: VecDeque<GroupNum>,
    pub(super) ready_set: BTreeSet<GroupNum>,
    pub(super) refs: BTreeMap<GroupNum, Refs>,
    pub(super) ephemerals: VecDeque<(GroupNum, i64, Bytes)>,
    pub(super) in_flight_bytes: u64,
    pub(super) open_offers: usize,
    pub(super) lossy: Option<Lossy>,
    pub(super) queued: bool,
    pub(super) traffic: Traffic,
}

/// What we call a group on a link.
#[derive(Debug, Clone, Copy)]
pub(super) struct OurName {
    pub(super) number: u32,
    /// The peer must void what it knows of our positions.
    pub(super) reset: bool,
    /// The name may be used: it was sent (reliable), or is known to have arrived (lossy).
    pub(super) usable: bool,
}

/// What back-references may name, in both directions of one group on one reliable link.
#[derive(Debug, Default)]
pub(super) struct Refs {
    pub(super) sent: Window<()>,
    pub(super) received: Window<MessageId>,
}

/// The last [`REF_WINDOW`] positions that crossed a link.
#[derive(Debug)]
pub(super) struct Window<T> {
    order: VecDeque<u64>,
    values: BTreeMap<u64, T>,
}

/// How many messages back a back-reference reaches. Sender and receiver count alike (`docs/protocol.md`).
pub(super) const REF_WINDOW: usize = 1024;

impl<T> Default for Window<T> {
    fn default() -> Self {
        Self { order: VecDeque::new(), values: BTreeMap::new() }
    }
}

impl<T> Window<T> {
    pub(super) fn push(&mut self, position: u64, value: T) {
        if self.values.insert(position, value).is_none() {
            self.order.push_back(position);
        }
        if self.order.len() > REF_WINDOW
            && let Some(oldest) = self.order.pop_front()
        {
            self.values.remove(&oldest);
        }
    }

    pub(super) fn get(&self, position: u64) -> Option<&T> {
        self.values.get(&position)
    }
}

impl Peer {
    pub(super) fn new(id: PeerId, install: Option<u64>) -> Self {
        Self { id, install, groups: BTreeMap::new(), links: BTreeSet::new(), requested: 0, offered: 0 }
    }
}

impl Link {
    /// Whether both sides said HELLO.
    pub(super) fn is_ready(&self) -> bool {
        self.hello.is_some()
    }

    /// Notes that a group may have something to say.
    pub(super) fn mark(&mut self, group: GroupNum) {
        if self.ready_set.insert(group) {
            self.ready.push_back(group);
        }
    }

    /// The name of a group for records, if it may be used.
    pub(super) fn name_of(&self, group: GroupNum) -> Option<u32> {
        self.ours.get(&group).filter(|name| name.usable).map(|name| name.number)
    }

    /// The longest frame that may be made, given the room that the carrier has.
    pub(super) fn frame_room(&self, room: usize) -> usize {
        room.min(self.max_frame)
    }
}
