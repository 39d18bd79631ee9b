//! What the application asks: publishing, reading, status, values.

use bytes::Bytes;
use hedgerow_proto::{GroupId, Message, MessageId, Visibility, limits};

use super::Engine;
use crate::error::EngineError;
use crate::event::{Draft, Entry, GroupStatus, LinkStatus, Missing, PeerGroupStatus, Status, Traffic};
use crate::order::OrderKey;
use crate::reading;
use crate::record::InFlight;
use crate::store::{Direction, KeyValue, MESSAGE_WEIGHT, MessageRow, Store, StoreError};
use crate::time::Time;
use crate::verdict::MessageFacts;

impl<S: Store> Engine<S> {
    /// Publishes a message of our own in a group; it is delivered at birth. It is durable once
    /// [`commit`](Self::commit), or any poll, returned. Where the group's id scheme knows seconds only, the timestamp is
    /// that of the second.
    ///
    /// # Errors
    /// When a limit is broken, a dependency is not delivered here, the very same message exists, or the store
    /// fails.
    pub fn publish(&mut self, group: GroupId, draft: Draft, now: Time) -> Result<MessageId, EngineError> {
        self.publish_with(group, draft, MessageFacts::default(), now)
    }

    /// The same for a message of which the group's client knows more.
    ///
    /// # Errors
    /// As [`publish`](Self::publish); and when its time is over already, or there is no room for it under a cap.
    pub fn publish_with(
        &mut self,
        group: GroupId,
        draft: Draft,
        facts: MessageFacts,
        now: Time,
    ) -> Result<MessageId, EngineError> {
        self.usable()?;
        self.now = now;
        let num = self.group_num(group)?;
        let Draft { timestamp_ms, mut deps, body } = draft;
        let scheme = self.groups.get(&num).map(|g| g.scheme).unwrap_or_default();
        let timestamp_ms = timestamp_ms - timestamp_ms.rem_euclid(scheme.timestamp_unit_ms());
        deps.sort_unstable();
        deps.dedup();
        let message = Message::new(group, timestamp_ms, deps, body)?;
        scheme.admit(&message)?;
        let id = scheme.message_id(&message);
        let result = self.keep_own(num, id, &message, facts);
        self.guard(result)?;
        Ok(id)
    }

    /// Whether so many messages of our own, whose bodies have so many bytes together, can be published in a group
    /// under the caps: for an application that wants all of them or none. Nothing is pruned yet.
    ///
    /// # Errors
    /// When there is no such group, or the store fails.
    pub fn has_room(&mut self, group: GroupId, count: u64, body_bytes: u64) -> Result<bool, EngineError> {
        self.usable()?;
        let num = self.group_num(group)?;
        let result =
            self.has_room_for_own(num, body_bytes.saturating_add(count.saturating_mul(MESSAGE_WEIGHT)));
        self.guard(result)
    }

    /// Sends a message once to every peer that a link is up to: never stored, acknowledged or repeated. For
    /// typing signs and the like.
    ///
    /// # Errors
    /// When there is no such group, or the body is too long.
    pub fn publish_ephemeral(&mut self, group: GroupId, body: Bytes, now: Time) -> Result<(), EngineError> {
        self.usable()?;
        self.now = now;
        let num = self.group_num(group)?;
        if body.len() > limits::MAX_BODY {
            return Err(hedgerow_proto::MessageError::BodyTooLong(body.len()).into());
        }
        let max = self.config.max_ephemerals;
        let mut awake = Vec::new();
        for (&id, link) in self.links.iter_mut() {
            let pair = self.peers.get(&link.peer).and_then(|peer| peer.groups.get(&num));
            let shared = pair.is_some_and(|pair| {
                pair.visibility == Visibility::Shared && pair.session.theirs >= Some(Visibility::Visible)
            });
            if shared && link.caps.ephemeral && (link.name_of(num).is_some() || link.awaits_answer(num)) {
                link.ephemerals.push_back((num, now.as_timestamp_ms(), body.clone()));
                while link.ephemerals.len() > max {
                    link.ephemerals.pop_front();
                }
                awake.push(id);
            }
        }
        for id in awake {
            self.wake_link(id);
        }
        Ok(())
    }

    /// Messages of a group without a successor, at most `limit`, the newest if there are more; ascending by id,
    /// as dependencies of the next message.
    ///
    /// # Errors
    /// When there is no such group, or the store fails.
    pub fn heads(&self, group: GroupId, limit: usize) -> Result<Vec<MessageId>, EngineError> {
        let num = self.group_num(group)?;
        let Some(state) = self.groups.get(&num) else { return Ok(Vec::new()) };
        let mut rows = Vec::new();
        // Numbers of messages that waited are older than their positions, so all heads of a small set are read.
        let newest = state.heads.iter().rev().take(limit.max(limits::MAX_DEPS));
        for &head in newest {
            rows.extend(self.store.row(head)?);
        }
        rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.position));
        rows.truncate(limit);
        let mut ids: Vec<MessageId> = rows.into_iter().map(|row| row.id).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// Whether a peer is known to hold what stands at a position of the delivery order.
    #[must_use]
    pub fn is_held_by(&self, peer: hedgerow_proto::PeerId, group: GroupId, position: u64) -> bool {
        let peer = self.peer_nums.get(&peer).and_then(|num| self.peers.get(num));
        let pair = peer.and_then(|peer| peer.groups.get(self.group_nums.get(&group)?));
        pair.is_some_and(|pair| pair.has.contains(position))
    }

    /// Groups whose delivery order has grown and whose [`Event::Delivered`](crate::Event::Delivered) was not polled yet, with
    /// its last position. For a layer that keeps what follows from messages in the same transaction as these.
    pub fn grown(&self) -> impl Iterator<Item = (GroupId, u64)> {
        let groups = self.fresh_groups.iter().filter_map(|num| self.groups.get(num));
        groups.filter(|group| group.delivered_from.is_some()).map(|group| (group.id, group.head))
    }

    /// The message at a position of the delivery order.
    ///
    /// # Errors
    /// When there is no such group, or the store fails.
    pub fn entry(&self, group: GroupId, position: u64) -> Result<Option<Entry>, EngineError> {
        let num = self.group_num(group)?;
        Ok(self.store.at(num, position)?.map(|row| self.read_entry(&row)).transpose()?)
    }

    /// Messages in delivery order, from after position `after`: at most `max_count`, and no more after
    /// `max_bytes` of bodies are reached. At least one, if there is one.
    ///
    /// # Errors
    /// When there is no such group, or the store fails.
    pub fn log(
        &self,
        group: GroupId,
        after: u64,
        max_count: usize,
        max_bytes: usize,
    ) -> Result<Vec<Entry>, EngineError> {
        let num = self.group_num(group)?;
        let head = self.groups.get(&num).map_or(0, |g| g.head);
        let part = (after, max_count, max_bytes);
        Ok(reading::log(&self.store, num, head, part, |row| self.read_entry(row))?)
    }

    /// At most `limit` delivered messages in canonical order, from after a key (from the first or last one if
    /// `None`), in either direction.
    ///
    /// # Errors
    /// When there is no such group, or the store fails.
    pub fn page(
        &self,
        group: GroupId,
        after: Option<&OrderKey>,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Entry>, EngineError> {
        let num = self.group_num(group)?;
        let rows = self.store.page(num, after, direction, limit)?;
        Ok(rows.iter().map(|row| self.read_entry(row)).collect::<Result<_, _>>()?)
    }

    /// A message by its id, wherever it stands.
    ///
    /// # Errors
    /// When the store fails.
    pub fn message(&self, id: &MessageId) -> Result<Option<Entry>, EngineError> {
        Ok(self.store.find(id)?.map(|row| self.read_entry(&row)).transpose()?)
    }

    fn read_entry(&self, row: &MessageRow) -> Result<Entry, StoreError> {
        let content = match self.groups.get(&row.group) {
            Some(group) => reading::sound_content(&self.store, row, group.id, group.scheme)?,
            None => self.store.content(row.num)?,
        };
        let origin = row.origin.and_then(|peer| self.peers.get(&peer)).map(|peer| peer.id);
        reading::entry(&self.store, row, content, origin, self.now)
    }

    /// Dependencies of held messages that are not held, and since when.
    #[must_use]
    pub fn missing(&self, group: GroupId) -> Vec<Missing> {
        self.group_nums.get(&group).map(|&num| self.wants.missing(num)).unwrap_or_default()
    }

    /// How many messages wait for a verdict. A driver stops reading links while there are many.
    #[must_use]
    pub fn unvalidated(&self) -> u64 {
        self.groups.values().map(|group| group.counts.unvalidated).sum()
    }

    /// How everything stands.
    #[must_use]
    pub fn status(&self) -> Status {
        let groups = self.groups.values().map(|group| {
            let counts = group.counts;
            let delivered = group.head;
            GroupStatus {
                id: group.id,
                held: delivered.saturating_sub(counts.pruned + counts.gaps)
                    + counts.waiting
                    + counts.unvalidated
                    + counts.early,
                delivered,
                waiting: counts.waiting + counts.lapsed,
                unvalidated: counts.unvalidated,
                early: counts.early,
                missing: counts.wanted,
                invalid: counts.invalid,
                pruned: counts.pruned,
                gaps: counts.gaps,
                heads: group.heads.len() as u64,
                bytes: counts.weight,
                max_bytes: self.cap_of(group),
            }
        });
        let groups = groups.collect();
        let mut peers = Vec::new();
        for (peer_num, peer) in self.peers.iter() {
            for (num, pair) in peer.groups.iter() {
                let Some(group) = self.groups.get(num) else { continue };
                if pair.visibility == Visibility::Invisible {
                    continue;
                }
                let under_way =
                    |kind| pair.session.in_flight.values().filter(|sent| sent.kind == kind).count() as u64;
                let (parked, unvalidated) = group.quota.messages_of(*peer_num);
                peers.push(PeerGroupStatus {
                    peer: peer.id,
                    group: group.id,
                    visibility: pair.visibility,
                    peer_visibility: pair.session.theirs,
                    acked: pair.has.len(),
                    in_flight: under_way(InFlight::Message),
                    offered: under_way(InFlight::Offer),
                    requested: peer.requested as u64,
                    parked,
                    unvalidated,
                    held_back: self.held_back(*peer_num, *num),
                    settled: pair.first_lacking(&group.gone) > group.head,
                });
            }
        }
        let links = self.links.iter().filter_map(|(&id, link)| {
            Some(LinkStatus {
                link: id,
                peer: self.peers.get(&link.peer)?.id,
                reliable: link.profile.reliable,
                ready: link.is_ready(),
                traffic: link.traffic,
                round_trip_ms: match (&link.lossy, &link.resend) {
                    (Some(lossy), _) => lossy.round_trip_ms(),
                    (_, Some(resend)) => resend.round_trip_ms(),
                    (None, None) => None,
                },
            })
        });
        let links = links.collect();
        let bytes = self.groups.values().map(|group| group.counts.weight).sum();
        Status { groups, peers, links, bytes, max_bytes: self.config.max_store_bytes }
    }

    /// What crossed all links since the engine was opened.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let mut sum = self.traffic;
        for link in self.links.values() {
            sum += link.traffic;
        }
        sum
    }

    /// Whether a link may have something to send.
    #[must_use]
    pub fn is_queued(&self, link: super::LinkId) -> bool {
        self.links.get(&link).is_some_and(|link| link.queued)
    }

    /// A value of the layers above ([`Store::value`]).
    ///
    /// # Errors
    /// When the store fails.
    pub fn value(&self, space: &str, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
        Ok(self.store.value(space, key)?)
    }

    /// Sets or removes such a value, in the same transaction as everything else that is fed now.
    ///
    /// # Errors
    /// When the store fails.
    pub fn set_value(&mut self, space: &str, key: &[u8], value: Option<&[u8]>) -> Result<(), EngineError> {
        self.usable()?;
        self.dirty = true;
        let result = self.store.set_value(space, key, value).map_err(EngineError::from);
        self.guard(result)
    }

    /// Such values by key ([`Store::values`]).
    ///
    /// # Errors
    /// When the store fails.
    pub fn values(
        &self,
        space: &str,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<KeyValue>, EngineError> {
        Ok(self.store.values(space, after, limit)?)
    }
}
