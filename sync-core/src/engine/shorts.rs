//! Offers by short ids (`docs/protocol.md`, section 6): 8 bytes name a message, under a key that follows from the receiver's
//! `install`. It is the same for all its peers, so that it can tell that two of them offer the same message.
//!
//! A short id of something that is not known here is awaited under a *stand-in*, an id that nobody else can make; it gets
//! its own id when that is known.

use std::collections::{BTreeSet, VecDeque};

use hedgerow_proto::{MessageId, ShortOffer};
use rand::Rng as _;
use rand_chacha::ChaCha12Rng;

use super::state::Link;
use super::{Engine, LinkId};
use crate::error::EngineError;
use crate::reconcile::Key;
use crate::seeded::SeededMap;
use crate::store::{GroupNum, MessageRow, Store};

/// How many of the latest messages are known by their short ids, in all groups.
pub(super) const LATEST: usize = 4096;
/// How many of a group's delivered messages are, when somebody offers by short ids for the first time.
const FIRST: u64 = 1024;

/// Short ids that are said to us.
#[derive(Clone)]
pub(super) struct Shorts {
    /// Of all stand-ins: nobody knows it.
    tail: [u8; 24],
    /// How many stand-ins are awaited.
    pub(super) stand_ins: usize,
    /// Groups in which somebody offered by short ids.
    groups: BTreeSet<GroupNum>,
    /// Of these groups: the latest messages that came, and those that are awaited.
    ids: SeededMap<u64, MessageId>,
    /// Short ids of the latest messages, oldest first.
    latest: VecDeque<u64>,
}

impl std::fmt::Debug for Shorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { tail: _, stand_ins, groups, ids, latest } = self;
        f.debug_tuple("Shorts").field(&(stand_ins, groups, ids, latest)).finish()
    }
}

impl Shorts {
    pub(super) fn new(mut rng: ChaCha12Rng) -> Self {
        let mut tail = [0; 24];
        rng.fill_bytes(&mut tail);
        let (groups, ids, latest) = (BTreeSet::new(), SeededMap::default(), VecDeque::new());
        Self { tail, stand_ins: 0, groups, ids, latest }
    }

    /// What a message is awaited under of which nothing is known but its short id.
    fn stand_in(&self, short: u64) -> MessageId {
        let mut id = [0; 32];
        let bytes = short.to_be_bytes();
        id.iter_mut().zip(bytes.iter().chain(&self.tail)).for_each(|(to, from)| *to = *from);
        MessageId::from_bytes(id)
    }

    pub(super) fn is_stand_in(&self, id: &MessageId) -> bool {
        id.as_bytes().ends_with(&self.tail)
    }

    /// How many of the latest messages are known by their short ids.
    pub(super) fn latest(&self) -> usize {
        self.latest.len()
    }

    /// A group was removed.
    pub(super) fn forget(&mut self, group: GroupNum) {
        self.groups.remove(&group);
    }
}

impl<S: Store> Engine<S> {
    /// By which key a message is offered over a link; none if it is offered by its full id. What was written and came since
    /// the link is up is among the latest messages of the peer, should it hold it without our knowing.
    pub(super) fn short_ids_for(&self, link: &Link, row: &MessageRow) -> Option<Key> {
        let install = link.hello.as_ref().filter(|_| link.caps.positions)?.install;
        let fresh = row.arrived >= link.since && row.timestamp_ms >= link.since.as_timestamp_ms();
        let group = self.groups.get(&row.group).filter(|_| fresh)?;
        Some(Key::of_offers(install, &group.id))
    }

    fn short_of(&self, group: GroupNum, id: &MessageId) -> u64 {
        let key = self.groups.get(&group).map(|group| Key::of_offers(self.install, &group.id));
        key.map_or(0, |key| key.short_id(id, 8))
    }

    /// The stand-in under which a message is awaited, if it is.
    pub(super) fn stand_in_of(&self, group: GroupNum, id: &MessageId) -> Option<MessageId> {
        if self.shorts.stand_ins == 0 {
            return None;
        }
        let stand_in = self.shorts.stand_in(self.short_of(group, id));
        self.wants.group_of(&stand_in).filter(|of| *of == group).map(|_| stand_in)
    }

    /// A message came: whoever offers it by its short id is understood.
    pub(super) fn note_latest(&mut self, group: GroupNum, id: &MessageId) {
        if !self.shorts.groups.contains(&group) {
            return;
        }
        let short = self.short_of(group, id);
        let shorts = &mut self.shorts;
        if shorts.ids.insert(short, *id).is_none() {
            shorts.latest.push_back(short);
        }
        if shorts.latest.len() > LATEST
            && let Some(short) = shorts.latest.pop_front()
        {
            shorts.ids.remove(&short);
        }
    }

    /// A message is awaited: whoever offers it by its short id is understood.
    pub(super) fn note_wanted(&mut self, group: GroupNum, id: &MessageId) {
        if self.shorts.groups.contains(&group) {
            let short = self.short_of(group, id);
            self.shorts.ids.insert(short, *id);
        }
    }

    /// A message is awaited no longer.
    pub(super) fn note_unwanted(&mut self, group: GroupNum, id: &MessageId) {
        if self.shorts.is_stand_in(id) {
            self.shorts.stand_ins = self.shorts.stand_ins.saturating_sub(1);
        } else if self.shorts.groups.contains(&group) {
            let short = self.short_of(group, id);
            self.shorts.ids.remove(&short);
        }
    }

    pub(super) fn take_short_offer(&mut self, id: LinkId, offer: &ShortOffer) -> Result<(), EngineError> {
        let Some((peer, group)) = self.group_of(id, offer.group) else { return Ok(()) };
        if self.shorts.groups.insert(group) {
            self.note_first(group)?;
        }
        let mut named = None;
        for &(position, short) in &offer.items {
            let known = self.shorts.ids.get(&short).copied();
            let message = known.unwrap_or_else(|| self.shorts.stand_in(short));
            self.take_offered(id, peer, group, message, position)?;
            named = Some(message).filter(|_| offer.items.len() == 1);
        }
        if let Some(&(last, _)) = offer.items.last() {
            self.note_mark(peer, group, (last, offer.chain), named);
        }
        Ok(())
    }

    /// Somebody offers by short ids in a group for the first time.
    fn note_first(&mut self, group: GroupNum) -> Result<(), EngineError> {
        let head = self.groups.get(&group).map_or(0, |group| group.head);
        for position in head.saturating_sub(FIRST) + 1..=head {
            if let Some(row) = self.store.at(group, position)? {
                self.note_latest(group, &row.id);
            }
        }
        for id in self.wants.of_group(group) {
            self.note_wanted(group, &id);
        }
        Ok(())
    }
}
