//! A peer that makes its frames by hand. Carriers have proven its key, and it is in every group: it may say anything
//! in its own name.

use std::collections::BTreeMap;

use bytes::Bytes;
use hedgerow_proto::{
    Ack, Announce, Batch, Codec as _, DepRef, Ephemeral, Frame, GroupId, GroupRef, Hello, InStep, Lacks,
    Message, MessageId, NativeCodec, Offer, OfferItem, Reconcile, ReconcileStep, Request, ShortOffer, Span,
    Summary, Symbols, Tombstone, Unavailable, Visibility, WireMessage, limits,
};
use hedgerow_sync_core::reconcile::Key;
use rand::{Rng as _, RngExt as _};
use rand_chacha::ChaCha12Rng;

use super::options::{Deed, pick};
use super::run::Broken;
use super::world::{BAD, BODY_MARK, World, damage, rng_of};

/// How many ids it remembers.
const MAX_KNOWN: usize = 500;

pub(super) struct Liar {
    rng: ChaCha12Rng,
    /// What it says next on each of its lossy wires; 0 on reliable ones.
    numbers: BTreeMap<usize, u64>,
    /// Ids that it heard of or made up, with their groups.
    known: Vec<(GroupId, MessageId)>,
    /// Of the stores that it met: these make short ids.
    installs: Vec<u64>,
    /// Its highest position so far, of no log in particular.
    position: u64,
    made: u64,
    /// It says of messages that they were pruned.
    false_tombstones: bool,
}

impl Liar {
    pub(super) fn new(n: usize, seed: u64, false_tombstones: bool) -> Self {
        let rng = rng_of(seed, 100 + n as u64);
        Self {
            rng,
            numbers: BTreeMap::new(),
            known: Vec::new(),
            installs: Vec::new(),
            position: 0,
            made: 0,
            false_tombstones,
        }
    }

    /// Its first frames on a wire.
    pub(super) fn greet(&mut self, at: usize, reliable: bool, groups: &[GroupId]) -> Vec<Bytes> {
        self.numbers.insert(at, u64::from(!reliable));
        let hello = self.hello();
        let announces =
            (1..).zip(groups).map(|(number, &group)| self.announce(number, &hello, group)).collect();
        let frame = Frame { hello: Some(hello), announces, ..Frame::default() };
        vec![self.encode(at, frame)]
    }

    fn hello(&mut self) -> Hello {
        Hello {
            major: 1,
            minor: self.rng.random_range(0..2),
            nonce: [9; limits::NONCE_LEN],
            install: *pick(&mut self.rng, &[1, 1, 1, 2]),
            max_frame: *pick(&mut self.rng, &[65_536, 65_536, 256, 1_200]),
            max_offers: *pick(&mut self.rng, &[0, 1, 512, u32::MAX]),
        }
    }

    fn announce(&mut self, number: u32, hello: &Hello, group: GroupId) -> Announce {
        let lies = self.rng.random_bool(0.3);
        Announce {
            number,
            tag: Announce::tag_of(&hello.nonce, group),
            visibility: *pick(&mut self.rng, &[Visibility::Shared, Visibility::Shared, Visibility::Visible]),
            held: if lies { self.spans(200) } else { Vec::new() },
            mark: if lies { self.rng.random_range(0..200) } else { 0 },
            mark_chain: if lies { self.rng.random() } else { 0 },
            reset: self.rng.random_bool(0.2).into(),
            summary: self
                .rng
                .random_bool(0.3)
                .then(|| Summary { count: self.rng.random_range(1..500), sample: self.rng.random() }),
        }
    }

    fn spans(&mut self, up_to: u64) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut last = 0;
        for _ in 0..self.rng.random_range(1..6) {
            let first = last + 1 + self.rng.random_range(0..up_to);
            last = first + self.rng.random_range(0..up_to);
            spans.push(Span { first, last });
            last += 1;
        }
        spans
    }

    /// A frame as bytes. Lies that no encoder writes are left out.
    fn encode(&mut self, at: usize, mut frame: Frame) -> Bytes {
        let number = self.numbers.entry(at).or_default();
        if *number > 0 {
            frame.number = Some(*number);
            *number += 1;
            if self.rng.random_bool(0.5) {
                // Whatever was sent, it arrived.
                frame.frame_acks = vec![Span { first: 1, last: self.rng.random_range(1..2_000) }];
            }
        }
        let mut bytes = Vec::new();
        let _ = NativeCodec::new().encode(&frame, &mut bytes);
        bytes.into()
    }

    /// A wire is gone.
    pub(super) fn forget(&mut self, at: usize) {
        self.numbers.remove(&at);
    }

    /// Hears what somebody says.
    pub(super) fn take(&mut self, _at: usize, frame: &Bytes) {
        let Ok(frame) = NativeCodec::new().decode(frame.clone()) else { return };
        let ids = frame.offers.iter().flat_map(|offer| &offer.items).map(|item| item.id);
        for id in ids.chain(frame.requests.iter().flat_map(|request| &request.ids).copied()) {
            if self.known.len() < MAX_KNOWN {
                // It cannot tell the group, and need not.
                self.known.push((GroupId::from_bytes([0; 32]), id));
            }
        }
        let install = frame.hello.map(|hello| hello.install);
        if let Some(install) = install.filter(|install| !self.installs.contains(install))
            && self.installs.len() < MAX_KNOWN
        {
            self.installs.push(install);
        }
    }

    fn any_id(&mut self) -> MessageId {
        match self.known.len() {
            0 => MessageId::from_bytes(self.rng.random()),
            _ if self.rng.random_bool(0.3) => MessageId::from_bytes(self.rng.random()),
            _ => pick(&mut self.rng, &self.known).1,
        }
    }

    fn of(&mut self, groups: usize) -> GroupRef {
        GroupRef::Number(u32::try_from(self.rng.random_range(1..=groups + 1)).unwrap_or(1))
    }

    /// The frames of one deed on one of its wires.
    fn lie(&mut self, at: usize, deed: Deed, groups: &[GroupId], now_ms: i64) -> Vec<Bytes> {
        let group = self.of(groups.len());
        let mut frame = Frame::default();
        match deed {
            Deed::FalseAcks => {
                let ids = (0..self.rng.random_range(0..20)).map(|_| self.any_id()).collect();
                let (held, known) = (self.spans(60), self.spans(60));
                let duplicates = self.rng.random_range(0..3);
                frame.acks =
                    vec![Ack { group, held, known, ids, duplicates, chain: self.rng.random(), reset: 0 }];
            }
            Deed::EmptyOffers if self.rng.random_bool(0.5) => {
                let count = *pick(&mut self.rng, &[1, 10, 100, 600]);
                let of = *pick(&mut self.rng, groups);
                let install = if self.installs.is_empty() { 1 } else { *pick(&mut self.rng, &self.installs) };
                let key = Key::of_offers(install, &of);
                let items = (0..count).map(|_| (self.next(), key.short_id(&self.any_id(), 8))).collect();
                frame.short_offers = vec![ShortOffer { group, items, chain: self.rng.random() }];
            }
            Deed::EmptyOffers => {
                let count = *pick(&mut self.rng, &[1, 10, 100, 600]);
                let items = (0..count).map(|_| OfferItem { position: Some(self.next()), id: self.any_id() });
                let items: Vec<OfferItem> = items.collect();
                frame.offers = vec![Offer { group, items, chain: self.rng.random() }];
            }
            Deed::AsksAll => {
                let ids = (0..self.rng.random_range(0..300)).map(|_| self.any_id()).collect();
                let positions = match self.rng.random_range(0..3) {
                    0 => vec![Span { first: 1, last: u64::MAX - 1 }],
                    1 => (0..500).map(|at| Span::one(1 + 2 * at)).collect(),
                    _ => self.spans(100),
                };
                frame.requests = vec![Request { group, positions, ids }];
            }
            Deed::Floods => {
                let orphans = self.rng.random_bool(0.5);
                let count = self.rng.random_range(1..60);
                let messages = (0..count).map(|_| self.message(orphans, now_ms)).collect();
                frame.batches = vec![Batch { group, messages, chain: self.rng.random() }];
            }
            Deed::WrongChains => {
                let hello = Hello { nonce: [9; limits::NONCE_LEN], ..self.hello() };
                let id = *pick(&mut self.rng, groups);
                let number = self.rng.random_range(1..=groups.len() + 4);
                let number = u32::try_from(number).unwrap_or(1);
                let mut announce = self.announce(number, &hello, id);
                announce.visibility =
                    *pick(&mut self.rng, &[Visibility::Shared, Visibility::Visible, Visibility::Invisible]);
                frame.announces = vec![announce];
                if self.rng.random_bool(0.5) {
                    // An empty log's value, which may be the right one, among others.
                    let empty = InStep::value_of(&hello.nonce, id, 0, 0);
                    let mut values = vec![self.rng.random(); self.rng.random_range(0..3)];
                    values.push(empty);
                    frame.in_step = Some(InStep { first: number, values });
                    (frame.matched, frame.unmatched) = (self.spans(6), self.spans(6));
                }
                if self.rng.random_bool(0.5) {
                    let messages = vec![self.message(false, now_ms)];
                    frame.batches = vec![Batch { group, messages, chain: self.rng.random() }];
                }
            }
            Deed::BadMessages => {
                let mut messages = self.bad_messages(groups, now_ms);
                if self.rng.random_bool(0.5) {
                    messages.reverse();
                }
                frame.batches = vec![Batch { group, messages, chain: 0 }];
            }
            Deed::Withholds => {
                let ids = (0..self.rng.random_range(1..20)).map(|_| self.any_id()).collect();
                let positions = self.spans(self.position.max(10));
                let tombstones = if self.false_tombstones { self.tombstones(now_ms) } else { Vec::new() };
                frame.unavailables = vec![Unavailable { group, positions, ids, tombstones }];
                frame.reconciles = (0..self.rng.random_range(0..4)).map(|_| self.reconcile(group)).collect();
                let body = Bytes::from(format!("{BODY_MARK} whatever"));
                frame.ephemerals = vec![Ephemeral { group, timestamp_ms: now_ms, body }];
            }
            Deed::OddHello => {
                let mut hello = self.hello();
                match self.rng.random_range(0..3) {
                    0 => hello.major = 2,
                    1 => hello.max_frame = 10,
                    _ => hello.nonce = [8; limits::NONCE_LEN],
                }
                frame.hello = Some(hello);
            }
            Deed::Replays | Deed::Garbage => return Vec::new(),
        }
        vec![self.encode(at, frame)]
    }

    /// A step that fits nothing, or fits and is wrong.
    fn reconcile(&mut self, group: GroupRef) -> Reconcile {
        let width = self.rng.random_range(5..=8_u8);
        let count = self.rng.random_range(0..40_usize);
        let small = *pick(&mut self.rng, &[0, 1, 20, 200, u32::MAX]);
        let step = match self.rng.random_range(0..5) {
            0 => ReconcileStep::Ask,
            1 => {
                let mut bytes = vec![0; count * (usize::from(width) + limits::SYMBOL_OVERHEAD)];
                if self.rng.random_bool(0.7) {
                    self.rng.fill_bytes(&mut bytes);
                }
                let (first, rest) = (if self.rng.random_bool(0.7) { 0 } else { small }, small);
                ReconcileStep::Symbols(Symbols {
                    first,
                    count: small.into(),
                    width,
                    rest,
                    bytes: bytes.into(),
                })
            }
            2 => ReconcileStep::More(small),
            3 => {
                let mut ids = vec![0; count * usize::from(width)];
                self.rng.fill_bytes(&mut ids);
                ReconcileStep::Lacks(Lacks { cut: width, ids: ids.into(), more: self.rng.random_bool(0.3) })
            }
            _ => ReconcileStep::Stop,
        };
        Reconcile { group, salt: *pick(&mut self.rng, &[0, 0, 0, 1, 2, 9]), step }
    }

    fn tombstones(&mut self, now_ms: i64) -> Vec<Tombstone> {
        let claim = |liar: &mut Self| Tombstone {
            id: liar.any_id(),
            eff_ms: *pick(&mut liar.rng, &[0, 1, now_ms, now_ms + 60_000, i64::MAX]),
            height: *pick(&mut liar.rng, &[0, 1, 2, 1 << 40, u64::MAX]),
        };
        (0..self.rng.random_range(0..20)).map(|_| claim(self)).collect()
    }

    fn next(&mut self) -> u64 {
        self.position += *pick(&mut self.rng, &[1, 1, 1, 2, 50]);
        self.position
    }

    fn body(&mut self, begins: &str) -> Bytes {
        self.made += 1;
        Bytes::from(format!("{begins}{BODY_MARK} lie {} {:x}", self.made, self.rng.random::<u64>()))
    }

    fn message(&mut self, orphan: bool, now_ms: i64) -> WireMessage {
        let mut deps = Vec::new();
        if orphan {
            deps.extend((0..self.rng.random_range(1..4)).map(|_| MessageId::from_bytes(self.rng.random())));
        } else if self.rng.random_bool(0.3) {
            deps.push(self.any_id());
        }
        deps.sort_unstable();
        WireMessage {
            position: self.rng.random_bool(0.9).then(|| self.next()),
            timestamp_ms: now_ms,
            deps: deps.into_iter().map(DepRef::Id).collect(),
            body: self.body(""),
        }
    }

    fn bad_messages(&mut self, groups: &[GroupId], now_ms: i64) -> Vec<WireMessage> {
        let mut one = self.message(false, now_ms);
        match self.rng.random_range(0..9) {
            0 => one.timestamp_ms = i64::MAX,
            1 => one.timestamp_ms = 0,
            2 => one.body = vec![b'x'; limits::MAX_BODY + 1].into(),
            3 => one.deps = vec![DepRef::Position(self.rng.random_range(1..100))],
            4 => {
                one.deps = (0..limits::MAX_DEPS + 1).map(|_| DepRef::Id(self.any_id())).collect();
            }
            5 => {
                let id = self.any_id();
                one.deps = vec![DepRef::Id(id), DepRef::Id(id)];
            }
            6 => {
                // The same twice, under two positions.
                let again = WireMessage { position: Some(self.next()), ..one.clone() };
                return vec![one, again];
            }
            7 => {
                // Two under one position.
                let other = WireMessage { body: self.body(""), ..one.clone() };
                return vec![one, other];
            }
            _ => {
                // One that clients refuse, and its child.
                let group = *pick(&mut self.rng, groups);
                let bad = self.body(&String::from_utf8_lossy(BAD));
                let parent = Message::new(group, now_ms, Vec::new(), bad.clone());
                let Ok(parent) = parent else { return Vec::new() };
                one.deps = Vec::new();
                one.body = bad;
                let mut child = self.message(false, now_ms);
                child.deps = vec![DepRef::Id(parent.id())];
                return vec![one, child];
            }
        }
        vec![one]
    }
}

impl World {
    /// A liar does up to `most` of its deeds.
    pub(super) fn lie(&mut self, most: usize) -> Result<(), Broken> {
        if self.liars.is_empty() || self.options.deeds.is_empty() {
            return Ok(());
        }
        let liar = self.rng.random_range(0..self.liars.len());
        let n = self.options.nodes + liar;
        let deeds: Vec<Deed> = self.options.deeds.iter().copied().collect();
        for _ in 0..self.rng.random_range(1..=most) {
            let wires: Vec<usize> = self.liars[liar].numbers.keys().copied().collect();
            if wires.is_empty() {
                let other = self.rng.random_range(0..self.options.nodes);
                let profile = match self.rng.random_bool(0.7) {
                    true => hedgerow_sync_core::LinkProfile::reliable(),
                    false => hedgerow_sync_core::LinkProfile::lossy(1_200),
                };
                self.connect_with(other, n, profile, 0.0, (5, 20))?;
                continue;
            }
            let at = *pick(&mut self.rng, &wires);
            if self.wires[at].is_none() {
                self.liars[liar].forget(at);
                continue;
            }
            let deed = *pick(&mut self.rng, &deeds);
            self.note(|| format!("liar {n} on link {at}: {deed:?}"));
            self.count("lies");
            let frames = self.frames_of(liar, at, deed);
            self.liar_sends(n, at, frames)?;
        }
        Ok(())
    }

    fn frames_of(&mut self, liar: usize, at: usize, deed: Deed) -> Vec<Bytes> {
        let old: Vec<Bytes> = self.old_frames.iter().map(|(.., frame)| frame.clone()).collect();
        match deed {
            Deed::Replays if old.is_empty() => Vec::new(),
            Deed::Replays => (0..3).map(|_| pick(&mut self.rng, &old).clone()).collect(),
            Deed::Garbage if old.is_empty() || self.rng.random_bool(0.5) => {
                let length = *pick(&mut self.rng, &[0, 1, 30, 400, 70_000]);
                vec![(0..length).map(|_| self.rng.random::<u8>()).collect()]
            }
            Deed::Garbage => {
                let frame = pick(&mut self.rng, &old).clone();
                vec![damage(&mut self.rng, &frame)]
            }
            _ => {
                let clock =
                    self.wires[at].as_ref().map_or(0, |wire| wire.ends[0].node.min(wire.ends[1].node));
                let now_ms = self.clock(clock).as_timestamp_ms();
                let groups = self.groups.clone();
                self.liars[liar].lie(at, deed, &groups, now_ms)
            }
        }
    }
}
