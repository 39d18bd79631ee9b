//! Messages, frames that hold them, and an engine that takes these from a peer that is no engine.

use std::collections::HashMap;
use std::fmt::Debug;

use bytes::Bytes;
use hedgerow_proto::{
    Batch, Codec as _, DepRef, Frame, GroupDescriptor, GroupId, GroupRef, Message, MessageId, NativeCodec,
    PeerId, Visibility, WireMessage,
};
use hedgerow_sync_core::store::check;
use hedgerow_sync_core::testing::by_hand;
use hedgerow_sync_core::{Config, Engine, Event, LinkId, LinkProfile, MemoryStore, Store, Time, chain};

use crate::{Failure, body};

/// When all runs begin.
pub(crate) const START: Time = Time(1_700_000_000_000);

/// The group of all messages here.
pub(crate) fn descriptor() -> Result<GroupDescriptor, Failure> {
    Ok(GroupDescriptor::new("org.example.bench", 0, vec![])?)
}

/// The id of a peer by number.
pub(crate) fn peer(n: u64) -> PeerId {
    let mut bytes = [0xee; 32];
    for (byte, of_n) in bytes.iter_mut().zip(n.to_be_bytes()) {
        *byte = of_n;
    }
    PeerId::from_bytes(bytes)
}

/// Messages as an author writes them, one each ms: message `n` after those that `parents` names, all lower than `n`.
pub(crate) fn graph(
    count: u64,
    size: usize,
    parents: impl Fn(u64) -> Vec<u64>,
) -> Result<Vec<Message>, Failure> {
    let group = descriptor()?.id();
    let mut messages: Vec<Message> = Vec::new();
    let mut ids: Vec<MessageId> = Vec::new();
    for n in 0..count {
        let mut deps: Vec<MessageId> = parents(n)
            .into_iter()
            .filter_map(|parent| ids.get(usize::try_from(parent).ok()?).copied())
            .collect();
        deps.sort_unstable();
        deps.dedup();
        let at = START + n;
        let message = Message::new(group, at.as_timestamp_ms(), deps, body(n, size))?;
        ids.push(message.id());
        messages.push(message);
    }
    Ok(messages)
}

/// Each after the one before.
pub(crate) fn line(count: u64, size: usize) -> Result<Vec<Message>, Failure> {
    graph(count, size, |n| n.checked_sub(1).into_iter().collect())
}

/// Frames with these messages in this order, at the positions 1, 2, 3, …, `each` in a frame or as many as fit into
/// 64 KiB. Dependencies among the last 1,024 are back-references, as an engine makes them.
pub(crate) fn frames(messages: &[Message], each: usize) -> Result<Vec<Bytes>, Failure> {
    let mut frames = Vec::new();
    let mut sent: HashMap<MessageId, u64> = HashMap::new();
    let mut value = 0;
    let mut position = 0_u64;
    let mut rest = messages;
    while !rest.is_empty() {
        let mut room = 64_000_usize;
        let mut take = 0;
        for message in rest.iter().take(each.max(1)) {
            let need = message.body().len() + 16 + 34 * message.deps().len();
            if need > room && take > 0 {
                break;
            }
            room = room.saturating_sub(need);
            take += 1;
        }
        let (now, later) = rest.split_at(take);
        rest = later;
        let mut batch = Vec::with_capacity(take);
        for message in now {
            position += 1;
            let reference = |id: &MessageId| match sent.get(id) {
                Some(&at) if position - at <= 1024 => DepRef::Position(at),
                _ => DepRef::Id(*id),
            };
            let mut deps: Vec<DepRef> = message.deps().iter().map(reference).collect();
            // The wire has references before ids; both stay ascending.
            deps.sort_by_key(|dep| matches!(dep, DepRef::Id(_)));
            batch.push(WireMessage {
                position: Some(position),
                timestamp_ms: message.timestamp_ms(),
                deps,
                body: message.body().clone(),
            });
            let id = message.id();
            sent.insert(id, position);
            value = chain(value, &id);
        }
        let batch = Batch { group: GroupRef::Number(1), messages: batch, chain: value };
        let frame = Frame { batches: vec![batch], ..Frame::default() };
        let mut bytes = Vec::new();
        NativeCodec::new().encode(&frame, &mut bytes)?;
        frames.push(bytes.into());
    }
    Ok(frames)
}

/// An engine with an open session to a peer that sends what it is told to.
pub(crate) struct Receiver<S> {
    pub(crate) engine: Engine<S>,
    pub(crate) group: GroupId,
    link: LinkId,
    now: Time,
    /// Deliveries that events told of.
    pub(crate) delivered: u64,
}

impl<S: Store + Debug> Receiver<S> {
    /// On an empty store. `peers`: how many share the group. `judged`: whether each message awaits a verdict.
    pub(crate) fn new(store: S, config: Config, peers: u64, judged: bool) -> Result<Self, Failure> {
        let now = START + 86_400_000;
        let mut engine = Engine::open(store, config, [7; 32], now)?;
        let group = engine.add_group(&descriptor()?, judged)?;
        for n in 0..peers.max(1) {
            engine.set_visibility(peer(n), group, Visibility::Shared)?;
        }
        let link = engine.link_up(peer(0), LinkProfile::reliable(), now)?;
        let greeting = by_hand::encode(&by_hand::greeting(&[group]));
        engine.receive(link, greeting, now)?;
        let mut receiver = Self { engine, group, link, now, delivered: 0 };
        while receiver.engine.poll_transmit(link, now, usize::MAX)?.is_some() {}
        receiver.drain()?;
        Ok(receiver)
    }

    /// Takes a frame; what it brought is durable and its events are taken when this returns.
    pub(crate) fn feed(&mut self, frame: &Bytes) -> Result<(), Failure> {
        self.engine.receive(self.link, frame.clone(), self.now)?;
        self.drain()
    }

    /// Takes several frames in one commit.
    pub(crate) fn feed_all(&mut self, frames: &[Bytes]) -> Result<(), Failure> {
        for frame in frames {
            self.engine.receive(self.link, frame.clone(), self.now)?;
        }
        self.drain()
    }

    /// Meets every peer that shares the group, each a new engine in memory, until all have everything; how many are
    /// settled.
    pub(crate) fn bring_into_step(&mut self) -> Result<u64, Failure> {
        let peers: Vec<PeerId> = self.engine.status().peers.iter().map(|pair| pair.peer).collect();
        self.engine.link_down(self.link, self.now);
        // What came unasked is offered a moment later.
        self.now = self.now + 1_000;
        self.engine.handle_timeout(self.now)?;
        for (other, seed) in peers.iter().zip(20..) {
            let mut engine = Engine::open(MemoryStore::new(), Config::default(), [seed; 32], self.now)?;
            engine.add_group(&descriptor()?, false)?;
            engine.set_visibility(peer(u64::MAX), self.group, Visibility::Shared)?;
            let to_them = self.engine.link_up(*other, LinkProfile::reliable(), self.now)?;
            let to_us = engine.link_up(peer(u64::MAX), LinkProfile::reliable(), self.now)?;
            loop {
                let mut quiet = true;
                while let Some(frame) = self.engine.poll_transmit(to_them, self.now, usize::MAX)? {
                    quiet = false;
                    engine.receive(to_us, frame, self.now)?;
                }
                while engine.poll_event()?.is_some() {}
                while let Some(frame) = engine.poll_transmit(to_us, self.now, usize::MAX)? {
                    quiet = false;
                    self.engine.receive(to_them, frame, self.now)?;
                }
                self.drain()?;
                if quiet {
                    break;
                }
            }
            self.engine.link_down(to_them, self.now);
        }
        self.drain()?;
        let head = self.engine.groups().first().map_or(0, |group| group.head);
        Ok(self.engine.status().peers.iter().filter(|pair| pair.acked == head).count() as u64)
    }

    /// Ends the session.
    pub(crate) fn leave(mut self) -> Engine<S> {
        self.engine.link_down(self.link, self.now);
        self.engine
    }

    fn drain(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.engine.poll_event()? {
            if let Event::Delivered { first, last, .. } = event {
                self.delivered += last - first + 1;
            }
        }
        Ok(())
    }

    /// Whether everything was delivered and the store is sound.
    pub(crate) fn verify(&self, count: usize) -> Result<(), Failure> {
        if self.delivered != count as u64 {
            return Err(format!("{} of {count} messages were delivered", self.delivered).into());
        }
        sound(self.engine.store())
    }
}

/// Whether `check` finds nothing wrong.
pub(crate) fn sound<S: Store>(store: &S) -> Result<(), Failure> {
    let report = check(store)?;
    match report.problems.first() {
        None if report.is_clean() => Ok(()),
        problem => Err(format!("the store is not sound: {problem:?}").into()),
    }
}
