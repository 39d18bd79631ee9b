//! A peer that says what it likes, in frames that are well formed or nearly so.

use bytes::Bytes;
use hedgerow_proto::limits::MAX_BODY;
use hedgerow_proto::{
    Ack, Announce, Batch, Codec as _, DepRef, Ephemeral, Frame, GroupRef, Hello, InStep, MessageId,
    NativeCodec, Offer, OfferItem, PeerId, Request, ShortOffer, Span, Summary, Unavailable, Visibility,
    WireMessage,
};
use hedgerow_sync_core::{EngineError, LinkId, LinkProfile};

use super::tape::Tape;
use super::world::World;
use hedgerow_proto::Visibility::Shared;

/// A link of a liar to a node.
pub(super) struct Liar {
    pub(super) node: usize,
    link: LinkId,
    number: u64,
    reliable: bool,
}

pub(super) const LIARS: usize = 2;

/// The name of a liar.
pub(super) fn name(liar: usize) -> PeerId {
    PeerId::from_bytes([200 + u8::try_from(liar).unwrap(); 32])
}

impl Liar {
    /// A liar whom a node lets into its groups, and the session that it opens; `None` if it has links enough.
    pub(super) fn meet(world: &mut World, liar: usize, node: usize, reliable: bool) -> Option<Self> {
        let now = world.clock(node);
        let profile = if reliable { LinkProfile::reliable() } else { LinkProfile::lossy(1_200) };
        for group in world.groups {
            if world.nodes[node].engine.group(group).is_some() {
                world.nodes[node].engine.set_visibility(name(liar), group, Shared).unwrap();
            }
        }
        match world.nodes[node].engine.link_up(name(liar), profile, now) {
            Ok(link) => Some(Self { node, link, number: 0, reliable }),
            Err(EngineError::TooManyLinks { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Says something; whether the link goes on.
    pub(super) fn speak(&mut self, world: &mut World, tape: &mut Tape<'_>) -> bool {
        let kinds = tape.byte();
        let mut frame = Frame::default();
        if self.number == 0 || kinds & 1 != 0 {
            frame.hello = Some(hello(tape));
            frame.announces = world
                .groups
                .iter()
                .zip(1..)
                .map(|(group, number)| Announce {
                    number,
                    tag: Announce::tag_of(&NONCE, *group),
                    visibility: Visibility::Shared,
                    held: vec![],
                    mark: 0,
                    mark_chain: 0,
                    reset: 0,
                    summary: None,
                })
                .collect();
        }
        self.number += 1;
        if !self.reliable {
            frame.number = Some(if kinds & 2 != 0 { tape.number().max(1) } else { self.number });
            if kinds & 4 != 0 {
                frame.frame_acks = spans(tape);
                frame.ack_delay_ms = tape.byte().into();
                frame.ping = tape.bit();
            }
        }
        for _ in 0..=kinds >> 6 {
            self.record(world, tape, &mut frame);
        }
        let mut bytes = Vec::new();
        if NativeCodec::new().encode(&frame, &mut bytes).is_err() {
            return true;
        }
        if kinds & 8 != 0 && !bytes.is_empty() {
            let place = tape.below(bytes.len());
            bytes[place] ^= 1 << tape.below(8);
        }
        world.receive(self.node, self.link, bytes.into())
    }

    /// Sends the bytes of the input as they are; whether the link goes on.
    pub(super) fn babble(&mut self, world: &mut World, tape: &mut Tape<'_>) -> bool {
        let count = tape.below(200);
        world.receive(self.node, self.link, Bytes::copy_from_slice(tape.bytes(count)))
    }

    /// Takes what it is sent, and forgets it; whether it was sent anything.
    pub(super) fn listen(&self, world: &mut World) -> bool {
        let now = world.clock(self.node);
        world.nodes[self.node].engine.poll_transmit(self.link, now, usize::MAX).unwrap().is_some()
    }

    fn record(&self, world: &World, tape: &mut Tape<'_>, frame: &mut Frame) {
        let group = tape.byte() % 4;
        let group_ref = GroupRef::Number(u32::from(group) + 1);
        let chain = if tape.bit() { tape.u64() } else { 0 };
        let kind = tape.byte();
        match kind % 8 {
            0 => frame.acks.push(Ack {
                group: group_ref,
                held: spans(tape),
                known: spans(tape),
                ids: ids(world, tape),
                duplicates: tape.byte().into(),
                chain,
                reset: 0,
            }),
            1 | 2 => {
                let first = tape.byte();
                let mut position = u64::from(first);
                let messages = (0..=tape.byte() % 4).map(|_| {
                    let mut message = self.message(world, tape, usize::from(group % 2));
                    message.position = (first > 0).then_some(position);
                    position += 1 + u64::from(tape.byte() % 3);
                    message
                });
                let messages = messages.collect();
                frame.batches.push(Batch { group: group_ref, messages, chain });
            }
            3 if kind >= 128 => {
                // Few numbers, so that several offer the same.
                let mut position = 0;
                let items = (0..=tape.below(4)).map(|_| {
                    position += 1 + u64::from(tape.byte() % 4);
                    (position, u64::from(tape.byte() % 4))
                });
                let items = items.collect();
                frame.short_offers.push(ShortOffer { group: group_ref, items, chain });
            }
            3 => {
                let mut position = 0;
                let items = ids(world, tape).into_iter().map(|id| {
                    position += 1 + u64::from(tape.byte() % 4);
                    OfferItem { position: Some(position), id }
                });
                let items = items.collect();
                frame.offers.push(Offer { group: group_ref, items, chain });
            }
            4 => frame.requests.push(Request {
                group: group_ref,
                positions: spans(tape),
                ids: ids(world, tape),
            }),
            5 => frame.unavailables.push(Unavailable {
                group: group_ref,
                positions: spans(tape),
                ids: ids(world, tape),
                tombstones: vec![],
            }),
            6 => frame.ephemerals.push(Ephemeral {
                group: group_ref,
                timestamp_ms: tape.number().cast_signed(),
                body: Bytes::copy_from_slice(tape.bytes(4)),
            }),
            7 if kind >= 128 => {
                // What it would be expected to say of an empty log, or anything.
                let first = u32::from(tape.byte()) + 1;
                let value =
                    InStep::value_of(&NONCE, world.groups[usize::from(group % 2)], tape.below(2) as u64, 0);
                frame.in_step = Some(InStep { first, values: vec![value; tape.below(3) + 1] });
                (frame.matched, frame.unmatched) = (spans(tape), spans(tape));
            }
            _ => frame.announces.push(Announce {
                number: tape.byte().into(),
                tag: Announce::tag_of(&NONCE, world.groups[usize::from(group % 2)]),
                visibility: tape.pick(&[Visibility::Invisible, Visibility::Visible, Visibility::Shared]),
                held: spans(tape),
                mark: tape.number(),
                mark_chain: chain,
                reset: tape.bit().into(),
                summary: (chain > 0).then_some(Summary { count: chain, sample: chain.into() }),
            }),
        }
    }

    /// A message that a node has, or one that was never written by anybody honest.
    fn message(&self, world: &World, tape: &mut Tape<'_>, group: usize) -> WireMessage {
        let mode = tape.byte();
        let engine = &world.nodes[tape.below(world.nodes.len())].engine;
        let known = ids(world, tape);
        let known = known.first().and_then(|id| engine.message(id).unwrap());
        if let Some(entry) = known.filter(|_| mode.is_multiple_of(4))
            && let Some(message) = entry.to_message(world.groups[group])
        {
            return WireMessage {
                position: None,
                timestamp_ms: message.timestamp_ms(),
                deps: message.deps().iter().copied().map(DepRef::Id).collect(),
                body: message.body().clone(),
            };
        }
        let timestamp_ms = match tape.byte() {
            255 => i64::MAX,
            254 => i64::MIN,
            253 => world.now.as_timestamp_ms() + 48 * 3_600_000,
            252 => -1,
            small => world.now.as_timestamp_ms() + i64::from(small),
        };
        let back = (0..mode >> 6).map(|_| DepRef::Position(tape.number()));
        let mut deps: Vec<DepRef> = back.collect();
        deps.extend(ids(world, tape).into_iter().map(DepRef::Id));
        let mut body = if mode & 16 != 0 { b"bad".to_vec() } else { Vec::new() };
        body.extend_from_slice(tape.bytes(2));
        if mode & 32 != 0 {
            let most = if world.max_body < MAX_BODY { world.max_body } else { 36_000 };
            body.resize((usize::from(tape.byte()) * 140).min(most), 0);
        }
        WireMessage { position: None, timestamp_ms, deps, body: body.into() }
    }
}

const NONCE: [u8; 16] = [7; 16];

fn hello(tape: &mut Tape<'_>) -> Hello {
    let odd = tape.byte();
    Hello {
        major: if odd == 1 { tape.byte().into() } else { 1 },
        minor: 0,
        nonce: NONCE,
        install: u64::from(odd),
        max_frame: if odd == 2 { u32::try_from(tape.number()).unwrap_or(u32::MAX) } else { 65_536 },
        max_offers: if odd == 3 { u32::try_from(tape.number()).unwrap_or(u32::MAX) } else { 9 },
    }
}

fn spans(tape: &mut Tape<'_>) -> Vec<Span> {
    let mut after = 0_u64;
    let mut list = Vec::new();
    for _ in 0..tape.byte() % 4 {
        let (gap, more) = (tape.number(), tape.number());
        let Some(first) = after.checked_add(gap).and_then(|at| at.checked_add(1)) else { break };
        let last = first.saturating_add(more);
        list.push(Span { first, last });
        after = last;
    }
    list
}

/// Mostly ascending, mostly of messages that there are.
fn ids(world: &World, tape: &mut Tape<'_>) -> Vec<MessageId> {
    let count = tape.byte();
    let mut ids: Vec<MessageId> = (0..count % 5)
        .map(|_| match tape.byte() {
            made_up @ 240.. => MessageId::from_bytes([made_up; 32]),
            at => world.ids[usize::from(at) % world.ids.len()],
        })
        .collect();
    if count < 240 {
        ids.sort_unstable();
        ids.dedup();
    }
    ids
}
