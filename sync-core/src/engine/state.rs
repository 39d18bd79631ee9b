//! What the engine keeps in memory: small rows of groups and peers, and what is outstanding.

mod window;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;

use bytes::Bytes;
use hedgerow_proto::limits::{NONCE_LEN, TAG_LEN};
use hedgerow_proto::{
    Announce, Capabilities, Codec, GroupDescriptor, GroupId, GroupRef, Hello, IdScheme, MessageId, PeerId,
    Span, Visibility,
};

use super::LinkId;
use super::chains::Unreckoned;
use super::idqueue::IdQueue;
use super::in_step::Steps;
use super::lossy::Lossy;
use super::quota::Quota;
use super::repeats::{Paid, Repeats};
use super::resend::Resend;
use super::unasked::Unasked;
use crate::config::LinkProfile;
use crate::event::Traffic;
use crate::reconcile::Sample;
use crate::record::InFlight;
use crate::small::{SmallMap, SmallSet};
use crate::spanset::SpanSet;
use crate::store::{GroupNum, MESSAGE_WEIGHT, MessageNum, MessageState, PeerNum};
use crate::time::Time;
pub(super) use window::{REF_WINDOW, Refs};

/// A group.
#[derive(Debug, Clone)]
pub(super) struct Group {
    pub(super) num: GroupNum,
    pub(super) id: GroupId,
    pub(super) scheme: IdScheme,
    pub(super) descriptor: GroupDescriptor,
    pub(super) judged: bool,
    pub(super) head: u64,
    pub(super) chain: u64,
    pub(super) heads: SmallSet<MessageNum>,
    /// Which heads came (`true`) and went since the last commit, one after the other.
    pub(super) changed_heads: Vec<(MessageNum, bool)>,
    /// First position delivered since the last `Delivered` event.
    pub(super) delivered_from: Option<u64>,
    pub(super) counts: Counts,
    pub(super) quota: Quota,
    /// What its messages may count for, in bytes, if the configuration does not say it.
    pub(super) max_bytes: Option<u64>,
    /// Positions of what is delivered without a body: never sent, and nobody is behind for lack of it.
    pub(super) gone: SpanSet,
    /// Those whose bodies went since the last `Pruned` event.
    pub(super) fresh_pruned: SpanSet,
    /// What came unasked a moment ago.
    pub(super) unasked: Unasked,
    /// Grows whenever a message moves on, so that another may find room.
    pub(super) moves: u64,
    /// Peers to whom the group is not invisible.
    pub(super) peers: SmallSet<PeerNum>,
    /// Of what was delivered, once it was needed.
    pub(super) sample: Option<Sample>,
}

/// How many messages of a group stand where, and what they weigh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) wanted: u64,
    pub(super) unvalidated: u64,
    pub(super) waiting: u64,
    pub(super) early: u64,
    pub(super) invalid: u64,
    pub(super) pruned: u64,
    pub(super) lapsed: u64,
    pub(super) gaps: u64,
    /// The bodies of those that are delivered, in bytes.
    pub(super) body_bytes: u64,
    /// What those with a body count for against a cap, in bytes; and of it, those not delivered yet.
    pub(super) weight: u64,
    pub(super) parked_weight: u64,
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
            MessageState::Lapsed => Some(&mut self.lapsed),
            MessageState::Gap => Some(&mut self.gaps),
            MessageState::Delivered => None,
        }
    }

    pub(super) fn enter(&mut self, state: MessageState, body_len: u32) {
        if let Some(count) = self.slot(state) {
            *count += 1;
        }
        if state.has_body() {
            let weight = u64::from(body_len) + MESSAGE_WEIGHT;
            self.weight += weight;
            if state == MessageState::Delivered {
                self.body_bytes += u64::from(body_len);
            } else {
                self.parked_weight += weight;
            }
        }
    }

    /// Adds what is in the delivery order with a body, of which only the bytes are known; everything else is in.
    pub(super) fn enter_delivered(&mut self, head: u64) {
        let count = head.saturating_sub(self.pruned + self.gaps);
        self.weight += self.body_bytes + count * MESSAGE_WEIGHT;
    }

    pub(super) fn leave(&mut self, state: MessageState, body_len: u32) {
        if let Some(count) = self.slot(state) {
            *count = count.saturating_sub(1);
        }
        if state.has_body() {
            let weight = u64::from(body_len) + MESSAGE_WEIGHT;
            self.weight = self.weight.saturating_sub(weight);
            if state == MessageState::Delivered {
                self.body_bytes = self.body_bytes.saturating_sub(u64::from(body_len));
            } else {
                self.parked_weight = self.parked_weight.saturating_sub(weight);
            }
        }
    }
}

impl Group {
    /// A message that nothing depends on yet was delivered.
    pub(super) fn add_head(&mut self, num: MessageNum) {
        self.heads.insert(num);
        self.changed_heads.push((num, true));
    }

    /// Something that depends on these was delivered.
    pub(super) fn drop_heads(&mut self, nums: &[MessageNum]) {
        for &num in nums {
            if self.heads.remove(&num) && self.changed_heads.pop_if(|last| *last == (num, true)).is_none() {
                self.changed_heads.push((num, false));
            }
        }
    }

    /// Which heads went and which came since the last commit, ascending; one that came and went is neither.
    pub(super) fn take_changed_heads(&mut self) -> (Vec<MessageNum>, Vec<MessageNum>) {
        let mut changed = std::mem::take(&mut self.changed_heads);
        changed.sort_by_key(|(num, _)| *num);
        let (mut removed, mut added) = (Vec::new(), Vec::new());
        for of_one in changed.chunk_by(|(a, _), (b, _)| a == b) {
            match (of_one.first(), of_one.last()) {
                // It was there before and is not now, or the other way round.
                (Some(&(num, false)), Some((_, false))) => removed.push(num),
                (Some(&(num, true)), Some((_, true))) => added.push(num),
                _ => {}
            }
        }
        (removed, added)
    }
}

/// A peer, with or without a link.
#[derive(Debug, Clone)]
pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) install: Option<u64>,
    /// Each on its own: a map has room for several values, and most peers share one group.
    pub(super) groups: SmallMap<GroupNum, Box<PeerGroup>>,
    pub(super) links: SmallSet<LinkId>,
    /// Grows with every HELLO of it.
    pub(super) session: u64,
    /// How many messages we have asked of it.
    pub(super) requested: usize,
    /// How many of its offers are open.
    pub(super) offered: usize,
    /// Groups in which something that came was turned away.
    pub(super) turned: BTreeSet<GroupNum>,
    /// The latest of what we asked it for did not come in time: others are asked first.
    pub(super) unanswering: bool,
    /// What we would ask it for, were there fewer open requests; and where its turns stand.
    pub(super) waiting: BTreeSet<MessageId>,
    pub(super) waiting_after: Option<MessageId>,
    /// How often it sent something that it was asked for after it had been unanswering.
    pub(super) answers: u64,
    /// What it is not asked for for a while, as it did not answer.
    pub(super) resting: BTreeSet<MessageId>,
    /// How many guesses it got in this second that were no hits.
    pub(super) guesses: u32,
    /// What we would ask it for on a guess, by the peer whose message made us look for it; and whose turn was last.
    pub(super) guess_waiting: BTreeSet<(Option<PeerNum>, MessageId)>,
    pub(super) guess_after: Option<PeerNum>,
}

/// A peer in a group.
#[derive(Debug, Clone, Default)]
pub(super) struct PeerGroup {
    pub(super) visibility: Visibility,
    /// Our positions that the peer is known to hold.
    pub(super) has: SpanSet,
    /// The peer's positions that we hold durably.
    pub(super) got: SpanSet,
    pub(super) mark: u64,
    pub(super) mark_chain: u64,
    /// At each position up to this one, the peer has the message or nobody can send it. Found again from 0 when the
    /// peer is known to hold less.
    pub(super) settled_to: u64,
    /// Commits since the row was last written.
    pub(super) unsaved: usize,
    /// Since when the peer lacks something, and whether that was reported.
    pub(super) behind: Option<(Time, bool)>,
    /// `has` grew since the last `PeerHas` event.
    pub(super) has_grew: bool,
    /// What it was sent and offered in this and in earlier sessions.
    pub(super) repeats: Repeats,
    /// When a set of ours was last made to find out what we differ by.
    pub(super) reconciled_at: Option<Time>,
    pub(super) session: Session,
}

/// What is outstanding between us and a peer in a group, while links are up.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    /// The peer's side of the sharing, as it announced it: the most of what it said on all links, since what it
    /// says on one may take long.
    pub(super) theirs: Option<Visibility>,
    /// Records name messages by id alone: what stands for the peer's positions is numbers of our own.
    pub(super) by_id: bool,
    /// The last such number that was given to an offer.
    pub(super) next_offer: u64,
    /// Every position of ours below was considered since the peer announced the group.
    pub(super) next: u64,
    /// Positions below `next` that are due again.
    pub(super) again: SpanSet,
    /// Positions that would be offered if they had not come unasked a moment ago.
    pub(super) too_fresh: SpanSet,
    /// What did not fit through a link, with the size of its record, in bytes: it waits for a wider one.
    pub(super) too_large: BTreeMap<u64, usize>,
    /// No record in it is smaller, in bytes.
    pub(super) least_large: usize,
    pub(super) in_flight: BTreeMap<u64, Sent>,
    /// Our positions that the peer asked for.
    pub(super) asked: SpanSet,
    /// Those that do not fit through every link, with the size of their records, in bytes.
    pub(super) asked_large: BTreeSet<(usize, u64)>,
    /// Messages outside our log that the peer asked for.
    pub(super) asked_ids: IdQueue,
    /// What the peer asked for in vain.
    pub(super) unavailable: SpanSet,
    pub(super) unavailable_ids: IdQueue,
    /// What the peer was told we do not have, though we hold it or wait for it: it hears of it if it is delivered
    /// without a body.
    pub(super) in_vain: IdQueue,
    /// The peer's positions that we owe an ACK.
    pub(super) acks: SpanSet,
    pub(super) ack_ids: IdQueue,
    /// Our positions at which we hold what the peer sent, which it does not know yet.
    pub(super) known: SpanSet,
    /// The last of the peer's positions that became owed an ACK, and what stands there.
    pub(super) last_owed: Option<(u64, MessageId)>,
    /// The peer can reckon the chain value of our log at this position, or at a later one.
    pub(super) told: u64,
    /// What stands at positions of the peer above its mark of which no chain value was said.
    pub(super) unreckoned: Unreckoned,
    /// Duplicates to be reported with the next ACK.
    pub(super) duplicates: u32,
    /// The peer's positions that it offers and we lack.
    pub(super) offered: BTreeMap<u64, MessageId>,
    /// What we are to ask of it: by its position where there is one.
    pub(super) to_request: IdQueue<Option<u64>>,
    /// The peer's positions that came, as offers or messages, when there was no room: asked for when there is.
    pub(super) turned_away: SpanSet,
    /// Those of them that are asked for, and when that is given up.
    pub(super) called_back: SpanSet,
    pub(super) call_timer: Option<Time>,
    /// How often they were asked for, one time after the other, and none came.
    pub(super) calls_in_vain: u32,
    /// The last one that came again and was turned away again, and [`Group::moves`] at that time.
    pub(super) turned_at: Option<(u64, u64)>,
    /// What came when there was no room for it, where there are no positions.
    pub(super) turned_ids: IdQueue,
    /// Not 0: what the peer remembers of our log is void, and every link has to say so, by this value, before anything else.
    pub(super) voided: u32,
    /// The same of the peer's log: the value that was heard last.
    pub(super) their_reset: u32,
    /// Learned from the answers to our offers and pushes: how many answers in a row asked for all that we offered;
    /// below 0 when the peer has even what we wrote.
    pub(super) lacks: i32,
    /// Our positions that the peer was found to lack.
    pub(super) surely_lacks: SpanSet,
    /// Over which link, and under which salt, it was last found out what we differ by.
    pub(super) reconciled: Option<(LinkId, u32)>,
    /// Since then the peer is to learn at which positions it holds what we do, once it does up to this one.
    pub(super) tell_known: Option<u64>,
    /// The peer is to be told that nothing comes of reconciliation.
    pub(super) reconcile_stop: bool,
}

/// Something under way to a peer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sent {
    pub(super) link: LinkId,
    /// Number of the frame, on a lossy link.
    pub(super) frame: u64,
    pub(super) kind: InFlight,
    pub(super) bytes: u32,
    pub(super) paid: Paid,
}

/// One link.
#[derive(Debug, Clone)]
pub(super) struct Link {
    pub(super) peer: PeerNum,
    pub(super) profile: LinkProfile,
    pub(super) codec: Box<dyn Codec>,
    pub(super) caps: Capabilities,
    /// How the groups are named that it carries.
    pub(super) scheme: IdScheme,
    /// The codec's own beginning is to be sent.
    pub(super) opening_due: bool,
    /// Groups that are spoken of without sessions.
    pub(super) carried: SmallMap<GroupNum, GroupId>,
    /// What the peer asked for that is not here, on wires that do not name its group.
    pub(super) unavailable_ids: IdQueue,
    pub(super) nonce: [u8; NONCE_LEN],
    /// When it came up.
    pub(super) since: Time,
    pub(super) hello_due: bool,
    /// The peer is known to have our HELLO.
    pub(super) hello_arrived: bool,
    pub(super) hello: Option<Hello>,
    /// The largest frame that both sides take, in bytes.
    pub(super) max_frame: usize,
    /// Most offers that the peer takes.
    pub(super) max_offers: usize,
    /// What we call the groups.
    pub(super) ours: SmallMap<GroupNum, OurName>,
    pub(super) next_number: u32,
    /// How often we left each group while the link was up: should we join it again, the peer must void what it knows of our
    /// log.
    pub(super) left: BTreeMap<GroupId, u32>,
    /// How often we said symbols, in any group.
    pub(super) reconciles: u32,
    pub(super) announce_due: BTreeSet<GroupNum>,
    /// What the next frame says of groups though it was said before: on a lossy link, until it is known to be heard.
    pub(super) announce_again: BTreeSet<GroupNum>,
    /// Names went with a frame in which nothing needed them: not again before something is heard.
    pub(super) names_in_vain: bool,
    /// What is named by values in place of announcements, on links that lose nothing.
    pub(super) steps: Steps,
    /// Names and tags of groups that we left, to be announced as such.
    pub(super) farewells: VecDeque<(u32, [u8; TAG_LEN])>,
    /// What the peer calls them; `None` for those we do not know.
    pub(super) theirs: SmallMap<u32, Option<GroupNum>>,
    /// The `reset` of the last announcement of each group.
    pub(super) resets: SmallMap<GroupNum, u32>,
    /// The peer's side of the sharing of each group, as it announced it on this link.
    pub(super) stances: BTreeMap<GroupNum, Visibility>,
    /// Tags of the groups visible to the peer, under its nonce.
    pub(super) tags: BTreeMap<[u8; TAG_LEN], GroupNum>,
    /// The last announcement of each group, should we come to know it later, or again; and on a lossy link the
    /// number of its frame, so that one that was overtaken is known.
    pub(super) announced: BTreeMap<[u8; TAG_LEN], (u64, Announce)>,
    /// Groups that may have something to say, in turn.
    pub(super) ready: VecDeque<GroupNum>,
    pub(super) ready_set: SmallSet<GroupNum>,
    pub(super) refs: SmallMap<GroupNum, Refs>,
    /// Positions of the peer that were acknowledged here while it had other links, on a reliable link.
    pub(super) acked: SmallMap<GroupNum, SpanSet>,
    /// Messages that were reported not to fit through it.
    pub(super) large_told: BTreeSet<MessageNum>,
    pub(super) ephemerals: VecDeque<(GroupNum, i64, Bytes)>,
    pub(super) in_flight_bytes: u64,
    pub(super) open_offers: usize,
    pub(super) lossy: Option<Lossy>,
    /// For links that lose frames, where the wire cannot number them.
    pub(super) resend: Option<Resend>,
    pub(super) queued: bool,
    pub(super) traffic: Traffic,
}

/// What we call a group on a link.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OurName {
    pub(super) number: u32,
    /// The peer must void what it knows of our positions, and is not known to have heard it.
    pub(super) reset: bool,
    /// The name may be used: it was announced (reliable), or is known to have arrived (lossy, or given by a value),
    /// with the `reset` if there is one.
    pub(super) usable: bool,
    /// On a lossy link: the first frame that announced it as it is, and the last one.
    pub(super) since: u64,
    pub(super) frame: u64,
}

/// After so many answers that asked for all that we offered, a peer is sent everything at once.
const MANY_LACKED: i32 = 8;

impl PeerGroup {
    /// The first of our positions that the peer lacks and could get, be it one that is not given yet.
    pub(super) fn first_lacking(&self, gone: &SpanSet) -> u64 {
        #[cfg(test)]
        tests::LOOKS.with(|looks| looks.set(looks.get() + 1));
        self.has.first_absent_of_both(gone, self.settled_to + 1)
    }

    /// The peer's log is another one: what we hold of it, and owe it an ACK for, is not known any more.
    pub(super) fn forget_their_log(&mut self) {
        self.got.clear();
        self.mark = 0;
        self.mark_chain = 0;
        self.session.acks.clear();
        self.session.known.clear();
        self.session.last_owed = None;
        self.session.unreckoned = Unreckoned::default();
    }

    /// Notes that positions of the peer are held here.
    pub(super) fn note_got(&mut self, span: Span) {
        self.got.insert_span(span);
        self.session.turned_away.remove_span(span);
        self.session.came_back(span);
    }
}

impl Session {
    /// Notes that a record does not fit through a link.
    pub(super) fn put_off(&mut self, size: usize, position: u64) {
        self.least_large = if self.too_large.is_empty() { size } else { self.least_large.min(size) };
        self.too_large.insert(position, size);
    }

    /// Whether nothing new is to be sent about a position: it is there, under way, or about to be answered.
    pub(super) fn is_dealt_with(&self, has: &SpanSet, gone: &SpanSet, position: u64) -> bool {
        has.contains(position)
            || gone.contains(position)
            || self.in_flight.contains_key(&position)
            || self.asked.contains(position)
    }

    /// The first of what was put off that fits into a record of `room` bytes, with its size; none of those in `but`.
    pub(super) fn first_large(&mut self, room: usize, but: Option<&SpanSet>) -> Option<(u64, usize)> {
        if self.too_large.is_empty() || self.least_large > room {
            return None;
        }
        let fits = |at: &u64, size: &usize| *size <= room && but.is_none_or(|but| !but.contains(*at));
        let found = self.too_large.iter().find(|(at, size)| fits(at, size)).map(|(&at, &size)| (at, size));
        if found.is_none() {
            self.least_large = self.too_large.values().copied().min().unwrap_or(usize::MAX);
        }
        found
    }

    /// The peer asked for something that we offered.
    pub(super) fn note_lacked(&mut self) {
        self.lacks = (self.lacks + 1).min(MANY_LACKED);
    }

    /// The peer had something that we offered, or got it from somebody else meanwhile.
    pub(super) fn note_had(&mut self) {
        self.lacks = self.lacks.min(0);
    }

    /// The peer had something that we sent; `once`: it was not a repetition of ours.
    pub(super) fn note_duplicate(&mut self, once: bool) {
        self.lacks = if once { -2 * MANY_LACKED } else { self.lacks.min(0) };
    }

    /// Whether all that the peer is not known to have is likely to be new to it.
    pub(super) fn lacks_everything(&self) -> bool {
        self.lacks >= MANY_LACKED
    }

    /// Whether something of ours is offered to the peer, and not answered.
    pub(super) fn is_offered(&self, position: u64) -> bool {
        self.in_flight.get(&position).is_some_and(|sent| sent.kind == InFlight::Offer)
    }

    /// What was called back came, or is not there.
    pub(super) fn came_back(&mut self, span: Span) {
        if self.called_back.first_from(span.first).is_some_and(|at| at <= span.last) {
            self.called_back.remove_span(span);
            self.calls_in_vain = 0;
        }
    }

    /// What was asked for in vain is to be asked for again.
    pub(super) fn call_back_again(&mut self) {
        let Self { turned_away, called_back, .. } = self;
        called_back.spans().for_each(|span| turned_away.insert_span(span));
        called_back.clear();
    }
}

impl Peer {
    pub(super) fn new(id: PeerId, install: Option<u64>) -> Self {
        Self {
            id,
            install,
            groups: SmallMap::new(),
            links: SmallSet::new(),
            session: 0,
            requested: 0,
            offered: 0,
            turned: BTreeSet::new(),
            unanswering: false,
            waiting: BTreeSet::new(),
            waiting_after: None,
            answers: 0,
            resting: BTreeSet::new(),
            guesses: 0,
            guess_waiting: BTreeSet::new(),
            guess_after: None,
        }
    }

    /// It is not to be asked for a message that a message of `origin` depends on.
    pub(super) fn forget(&mut self, id: &MessageId, origin: Option<PeerNum>) {
        self.waiting.remove(id);
        self.resting.remove(id);
        self.guess_waiting.remove(&(origin, *id));
    }

    /// What is next to be asked for on a guess: whoever made us look for it has its turn.
    pub(super) fn next_guess(&mut self) -> Option<MessageId> {
        let last = (self.guess_after, MessageId::from_bytes([0xff; 32]));
        let after = self.guess_waiting.range((Bound::Excluded(last), Bound::Unbounded)).next();
        let (whose, id) = *after.or_else(|| self.guess_waiting.first())?;
        self.guess_after = whose;
        self.guess_waiting.remove(&(whose, id));
        Some(id)
    }

    /// What is next in turn to be asked for.
    pub(super) fn next_waiting(&mut self) -> Option<MessageId> {
        let after = self.waiting_after.map_or(Bound::Unbounded, Bound::Excluded);
        let next =
            self.waiting.range((after, Bound::Unbounded)).next().or_else(|| self.waiting.first()).copied();
        self.waiting_after = next;
        if let Some(id) = &next {
            self.waiting.remove(id);
        }
        next
    }
}

impl Link {
    /// Whether both sides said HELLO, where that is said.
    pub(super) fn is_ready(&self) -> bool {
        self.hello.is_some() || !self.caps.sessions
    }

    /// Notes that a group may have something to say.
    pub(super) fn mark(&mut self, group: GroupNum) {
        if self.ready_set.insert(group) {
            self.ready.push_back(group);
        }
    }

    /// Notes that the peer must void what it knows of our positions in a group before it hears more of them.
    pub(super) fn void(&mut self, group: GroupNum) {
        let name = self.ours.or_default(group);
        name.reset = true;
        name.usable = false;
        self.announce_due.insert(group);
    }

    /// The name of a group for records, if it may be used: it is known to the peer, or stands in the same frame.
    pub(super) fn name_of(&self, group: GroupNum) -> Option<GroupRef> {
        if !self.caps.sessions {
            return self.carried.get(&group).map(|id| GroupRef::Id(*id));
        }
        let frame = self.lossy.as_ref().map(Lossy::next_number);
        let name = self
            .ours
            .get(&group)
            .filter(|name| name.usable || (!name.reset && name.number > 0 && Some(name.frame) == frame));
        name.map(|name| GroupRef::Number(name.number))
    }

    /// The longest frame that may be made, given the room that the carrier has.
    pub(super) fn frame_room(&self, room: usize) -> usize {
        room.min(self.max_frame)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use hedgerow_proto::GroupDescriptor;

    use super::*;
    use crate::{Config, Draft, Engine, MemoryStore, Time};

    thread_local! {
        /// How often it was looked at what a peer lacks.
        pub(in crate::engine) static LOOKS: Cell<u64> = const { Cell::new(0) };
    }

    /// Devices meet thousands of others, with most of which they share one group.
    #[test]
    fn a_peer_without_a_link_takes_little_memory() {
        const LEAF: usize = 11;
        let map = LEAF * size_of::<(GroupNum, Box<PeerGroup>)>();
        let taken = size_of::<Peer>() + map + size_of::<PeerGroup>();
        assert!(taken < 2_048, "{taken} bytes");
    }

    #[test]
    fn peers_that_are_away_are_looked_at_once_and_not_with_each_message() {
        let now = Time(1_700_000_000_000);
        let mut engine = Engine::open(MemoryStore::new(), Config::default(), [1; 32], now).unwrap();
        let descriptor = GroupDescriptor::new("org.example.chat", 0, vec![]).unwrap();
        let group = engine.add_group(&descriptor, false).unwrap();
        for peer in 1..=100 {
            engine.set_visibility(PeerId::from_bytes([peer; 32]), group, Visibility::Shared).unwrap();
        }
        let before = LOOKS.with(Cell::get);
        for n in 0..50 {
            let timestamp_ms = now.as_timestamp_ms() + n;
            engine.publish(group, Draft { timestamp_ms, deps: vec![], body: "x".into() }, now).unwrap();
            while engine.poll_event().unwrap().is_some() {}
        }
        let looks = LOOKS.with(Cell::get) - before;
        assert!((100..=200).contains(&looks), "{looks} looks");
        assert!(engine.outstanding().iter().all(|one| one.lacking == 50));
    }
}
