//! Offers by short ids (`docs/protocol.md`, section 6): a peer that offers messages is given a key, by which 8 bytes name a
//! message. The key is the same for all peers of this engine, so that it can tell that two of them offer the same message.
//!
//! A short id of something that is not known here is awaited under a *stand-in*, an id that nobody else can make; it gets
//! its own id when that is known.

use std::collections::{BTreeMap, VecDeque};

use hedgerow_proto::{GroupRef, MessageId, OfferKey, ShortOffer};
use rand::Rng as _;
use rand_chacha::ChaCha12Rng;

use super::transmit::{Draft, RECORD_OVERHEAD};
use super::{Engine, LinkId};
use crate::engine::lossy::Item;
use crate::error::EngineError;
use crate::reconcile::Key;
use crate::seeded::SeededMap;
use crate::store::{GroupNum, PeerNum, Store};

/// How many of the latest messages are known by their short ids.
pub(super) const LATEST: usize = 4096;

/// Short ids that are said to us.
#[derive(Clone)]
pub(super) struct Shorts {
    key: u64,
    /// Of all stand-ins: nobody knows it.
    tail: [u8; 24],
    /// How many stand-ins are awaited.
    pub(super) stand_ins: usize,
    known: Option<Known>,
}

/// What is known by its short id, since a peer offered something.
#[derive(Debug, Clone, Default)]
struct Known {
    /// The latest messages that came, and those that are awaited.
    ids: SeededMap<u64, MessageId>,
    /// Groups and short ids of the latest messages, oldest first, each with the head of the log at that time.
    latest: VecDeque<(GroupNum, u64, u64)>,
    /// Of these groups, the latest messages are those after this position.
    since: BTreeMap<GroupNum, u64>,
}

impl std::fmt::Debug for Shorts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shorts")
            .field("stand_ins", &self.stand_ins)
            .field("known", &self.known)
            .finish_non_exhaustive()
    }
}

impl Shorts {
    pub(super) fn new(mut rng: ChaCha12Rng) -> Self {
        let mut tail = [0; 24];
        rng.fill_bytes(&mut tail);
        Self { key: rng.next_u64().max(1), tail, stand_ins: 0, known: None }
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
        self.known.as_ref().map_or(0, |known| known.latest.len())
    }

    /// A group was removed.
    pub(super) fn forget(&mut self, group: GroupNum) {
        if let Some(known) = &mut self.known {
            known.since.remove(&group);
        }
    }
}

impl<S: Store> Engine<S> {
    fn short_of(&self, group: GroupNum, id: &MessageId) -> u64 {
        let key = self.groups.get(&group).map(|group| Key::of_offers(self.shorts.key, &group.id));
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
        if self.shorts.known.is_none() {
            return;
        }
        let (short, head) = (self.short_of(group, id), self.groups.get(&group).map_or(0, |group| group.head));
        let Some(known) = &mut self.shorts.known else { return };
        known.ids.insert(short, *id);
        known.latest.push_back((group, short, head));
        if known.latest.len() > LATEST
            && let Some((group, short, head)) = known.latest.pop_front()
        {
            known.ids.remove(&short);
            if let Some(since) = known.since.get_mut(&group) {
                *since = head.max(*since);
            }
        }
    }

    /// A message is awaited: whoever offers it by its short id is understood.
    pub(super) fn note_wanted(&mut self, group: GroupNum, id: &MessageId) {
        if self.shorts.known.is_none() {
            return;
        }
        let short = self.short_of(group, id);
        if let Some(known) = &mut self.shorts.known {
            known.ids.insert(short, *id);
        }
    }

    /// A message is awaited no longer.
    pub(super) fn note_unwanted(&mut self, group: GroupNum, id: &MessageId) {
        if self.shorts.is_stand_in(id) {
            self.shorts.stand_ins = self.shorts.stand_ins.saturating_sub(1);
        } else if self.shorts.known.is_some() {
            let short = self.short_of(group, id);
            if let Some(known) = &mut self.shorts.known {
                known.ids.remove(&short);
            }
        }
    }

    /// A peer offers by full ids what it could offer by short ones.
    pub(super) fn note_full_offer(&mut self, peer: PeerNum, group: GroupNum) {
        let Some(head) = self.groups.get(&group).map(|group| group.head) else { return };
        if self.shorts.known.is_none() {
            self.shorts.known = Some(Known::default());
            for (group, id) in self.wants.all() {
                self.note_wanted(group, &id);
            }
        }
        if let Some(known) = &mut self.shorts.known {
            known.since.entry(group).or_insert(head);
        }
        if let Some(pair) = self.pair_mut(peer, group) {
            pair.session.offers_in_full = true;
        }
    }

    /// Gives a peer that offers something the key of short ids, once it is known to have all that would not be understood
    /// by them.
    pub(super) fn put_offer_key(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        name: GroupRef,
        draft: &mut Draft,
    ) {
        let Some(&since) = self.shorts.known.as_ref().and_then(|known| known.since.get(&group)) else {
            return;
        };
        if !self.links.get(&id).is_some_and(|link| link.caps.positions) {
            return;
        }
        let Some(state) = self.groups.get(&group) else { return };
        let pair = self.peers.get_mut(&peer).and_then(|peer| peer.groups.get_mut(&group));
        let Some(pair) = pair.filter(|pair| pair.session.offers_in_full && !pair.session.key_said) else {
            return;
        };
        if pair.first_lacking(&state.gone) > since && draft.take(RECORD_OVERHEAD) {
            pair.session.key_said = true;
            draft.put_offer_key(OfferKey { group: name, key: self.shorts.key }, Item::OfferKey { group });
        }
    }

    pub(super) fn take_offer_key(&mut self, id: LinkId, record: OfferKey) {
        let Some((peer, group)) = self.group_of(id, record.group) else { return };
        let Some(group_id) = self.groups.get(&group).map(|group| group.id) else { return };
        if let Some(pair) = self.pair_mut(peer, group) {
            pair.session.offer_key = Some(Key::of_offers(record.key, &group_id));
        }
    }

    pub(super) fn take_short_offer(&mut self, id: LinkId, offer: &ShortOffer) -> Result<(), EngineError> {
        let Some((peer, group)) = self.group_of(id, offer.group) else { return Ok(()) };
        for &(position, short) in &offer.items {
            let known = self.shorts.known.as_ref().and_then(|known| known.ids.get(&short)).copied();
            let message = known.unwrap_or_else(|| self.shorts.stand_in(short));
            self.take_offered(id, peer, group, message, position)?;
        }
        if let Some(&(last, _)) = offer.items.last() {
            self.note_mark(peer, group, last, offer.chain);
        }
        Ok(())
    }

    /// What peers were given, or gave us, with a session that is over at their end.
    pub(super) fn forget_offer_keys(&mut self, peer: PeerNum) {
        for pair in self.peers.get_mut(&peer).into_iter().flat_map(|peer| peer.groups.values_mut()) {
            pair.session.key_said = false;
            pair.session.offer_key = None;
        }
    }
}
