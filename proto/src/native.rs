//! The native codec: frames as protobuf.

use bytes::Bytes;
use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint};

use crate::dialect::{Capabilities, Codec};
use crate::frame::{
    Ack, Announce, Batch, DecodeError, DepRef, EncodeError, Ephemeral, Frame, GroupRef, Hello, InStep, Offer,
    OfferItem, Request, Summary, Tombstone, Unavailable, Visibility,
};
use crate::ids::MessageId;
use crate::limits::STEP_LEN;
use crate::spans::{self, Span};

mod batch;
mod reconcile;
mod short_offer;

/// The structs that the protobuf compiler made of `proto/hedgerow/v1/frame.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
mod v1 {
    include!(concat!(env!("OUT_DIR"), "/hedgerow.v1.rs"));
}

/// Codec of the native dialect (`docs/protocol.md`, section 3). It keeps no state between frames.
#[derive(Debug, Clone, Default)]
pub struct NativeCodec(());

impl NativeCodec {
    /// A new codec.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Codec for NativeCodec {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            sessions: true,
            positions: true,
            unavailable: true,
            ephemeral: true,
            deps: true,
            frame_numbers: true,
            opening: false,
            max_offers: usize::MAX,
            message_overhead: crate::limits::MESSAGE_OVERHEAD,
            dep_size: 33,
        }
    }

    fn encode(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let wire = v1::Frame {
            number: number_to_wire(frame.number)?,
            frame_acks: spans_to_wire(&frame.frame_acks)?,
            ping: frame.ping,
            ack_delay_ms: frame.ack_delay_ms,
            hello: frame.hello.as_ref().map(hello_to_wire),
            announces: collect(&frame.announces, announce_to_wire)?,
            in_step: frame.in_step.as_ref().map(in_step_to_wire).transpose()?,
            matched: spans_to_wire(&frame.matched)?,
            unmatched: spans_to_wire(&frame.unmatched)?,
            acks: collect(&frame.acks, ack_to_wire)?,
            batches: collect(&frame.batches, batch_to_wire)?,
            offers: collect(&frame.offers, offer_to_wire)?,
            short_offers: collect(&frame.short_offers, short_offer::to_wire)?,
            requests: collect(&frame.requests, request_to_wire)?,
            unavailables: collect(&frame.unavailables, unavailable_to_wire)?,
            ephemerals: collect(&frame.ephemerals, ephemeral_to_wire)?,
            reconciles: collect(&frame.reconciles, reconcile::to_wire)?,
        };
        // A Vec grows, so that there is always room.
        wire.encode(out).map_err(|_| EncodeError("a frame of this size"))
    }

    fn decode(&mut self, bytes: Bytes) -> Result<Frame, DecodeError> {
        let (wire, batches) = split(bytes)?;
        Ok(Frame {
            number: (wire.number != 0).then_some(wire.number),
            frame_acks: spans_of("FRAME", &wire.frame_acks)?,
            ping: wire.ping,
            ack_delay_ms: wire.ack_delay_ms,
            hello: wire.hello.map(hello_from_wire).transpose()?,
            announces: gather(wire.announces, announce_from_wire)?,
            in_step: wire.in_step.map(in_step_from_wire).transpose()?,
            matched: spans_of("IN-STEP", &wire.matched)?,
            unmatched: spans_of("IN-STEP", &wire.unmatched)?,
            acks: gather(wire.acks, ack_from_wire)?,
            batches,
            offers: gather(wire.offers, offer_from_wire)?,
            short_offers: gather(wire.short_offers, short_offer::from_wire)?,
            requests: gather(wire.requests, request_from_wire)?,
            unavailables: gather(wire.unavailables, unavailable_from_wire)?,
            ephemerals: wire
                .ephemerals
                .into_iter()
                .map(|e| Ephemeral { group: group_of(e.group), timestamp_ms: e.timestamp_ms, body: e.body })
                .collect(),
            reconciles: reconcile::all_from_wire(wire.reconciles)?,
        })
    }

    fn clone_box(&self) -> Box<dyn Codec> {
        Box::new(self.clone())
    }
}

fn collect<T, W>(records: &[T], write: fn(&T) -> Result<W, EncodeError>) -> Result<Vec<W>, EncodeError> {
    records.iter().map(write).collect()
}

fn gather<W, T>(records: Vec<W>, read: fn(W) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
    // Not by `collect`, which does not know how many there are, and would take up to three times the room.
    let mut all = Vec::with_capacity(records.len());
    for record in records {
        all.push(read(record)?);
    }
    Ok(all)
}

/// The batches of a frame, and everything else in it.
fn split(bytes: Bytes) -> Result<(v1::Frame, Vec<Batch>), DecodeError> {
    let malformed = |error: prost::DecodeError| DecodeError::Malformed(error.to_string());
    let (mut wire, mut batches) = (v1::Frame::default(), Vec::new());
    let mut rest = bytes.clone();
    while !rest.is_empty() {
        let (tag, kind) = decode_key(&mut rest).map_err(malformed)?;
        if (tag, kind) == (batch::FIELD, WireType::LengthDelimited) {
            let length = decode_varint(&mut rest).map_err(malformed)?;
            let length = usize::try_from(length).ok().filter(|length| *length <= rest.len());
            let length = length.ok_or_else(|| DecodeError::Malformed("a batch ends too early".to_owned()))?;
            batches.push(batch::read(&bytes, &rest.split_to(length))?);
        } else {
            wire.merge_field(tag, kind, &mut rest, DecodeContext::default()).map_err(malformed)?;
        }
    }
    Ok((wire, batches))
}

fn hello_to_wire(hello: &Hello) -> v1::Hello {
    v1::Hello {
        major: hello.major,
        minor: hello.minor,
        nonce: Bytes::copy_from_slice(&hello.nonce),
        install: hello.install,
        max_frame: hello.max_frame,
        max_offers: hello.max_offers,
    }
}

fn hello_from_wire(hello: v1::Hello) -> Result<Hello, DecodeError> {
    // A foreign major version is judged by its number, whatever its other fields have become.
    let nonce = match <[u8; 16]>::try_from(&hello.nonce[..]) {
        Ok(nonce) => nonce,
        Err(_) if hello.major != crate::limits::MAJOR => [0; 16],
        Err(_) => return Err(DecodeError::Rule { record: "HELLO", rule: "the nonce has 16 bytes" }),
    };
    Ok(Hello {
        major: hello.major,
        minor: hello.minor,
        nonce,
        install: hello.install,
        max_frame: hello.max_frame,
        max_offers: hello.max_offers,
    })
}

fn announce_to_wire(announce: &Announce) -> Result<v1::Announce, EncodeError> {
    if announce.summary.is_some_and(|summary| summary.count == 0) {
        return Err(EncodeError("a sample of nothing"));
    }
    Ok(v1::Announce {
        number: announce.number,
        tag: Bytes::copy_from_slice(&announce.tag),
        visibility: match announce.visibility {
            Visibility::Invisible => 0,
            Visibility::Visible => 1,
            Visibility::Shared => 2,
        },
        held: spans_to_wire(&announce.held)?,
        mark: announce.mark,
        mark_chain: announce.mark_chain,
        reset: announce.reset,
        count: announce.summary.map_or(0, |summary| summary.count),
        sample: announce
            .summary
            .map_or(Bytes::new(), |summary| Bytes::copy_from_slice(&summary.sample.to_be_bytes())),
    })
}

fn announce_from_wire(announce: v1::Announce) -> Result<Announce, DecodeError> {
    Ok(Announce {
        number: announce.number,
        tag: announce.tag[..]
            .try_into()
            .map_err(|_| DecodeError::Rule { record: "ANNOUNCE", rule: "the tag has 8 bytes" })?,
        visibility: match announce.visibility {
            0 => Visibility::Invisible,
            1 => Visibility::Visible,
            2 => Visibility::Shared,
            _ => return Err(DecodeError::Rule { record: "ANNOUNCE", rule: "visibility is 0, 1 or 2" }),
        },
        held: spans_of("ANNOUNCE", &announce.held)?,
        mark: announce.mark,
        mark_chain: announce.mark_chain,
        reset: announce.reset,
        summary: summary_of(announce.count, &announce.sample)?,
    })
}

fn in_step_to_wire(in_step: &InStep) -> Result<v1::InStep, EncodeError> {
    if last_number(in_step.first, in_step.values.len()).is_none() {
        return Err(EncodeError("groups in step without numbers"));
    }
    Ok(v1::InStep { first: in_step.first, values: in_step.values.iter().flatten().copied().collect() })
}

fn in_step_from_wire(in_step: v1::InStep) -> Result<InStep, DecodeError> {
    let rule = |rule| DecodeError::Rule { record: "IN-STEP", rule };
    let (values, rest) = in_step.values.as_chunks::<STEP_LEN>();
    if !rest.is_empty() || values.is_empty() {
        return Err(rule("values have 7 bytes each, and there is one"));
    }
    last_number(in_step.first, values.len()).ok_or(rule("numbers are not 0 and have 32 bits"))?;
    Ok(InStep { first: in_step.first, values: values.to_vec() })
}

/// The last of `count` numbers from `first` on; `None` if there is none, or not all of them are numbers of groups.
fn last_number(first: u32, count: usize) -> Option<u32> {
    let more = u32::try_from(count.checked_sub(1)?).ok()?;
    first.checked_add(more).filter(|_| first > 0)
}

fn summary_of(count: u64, sample: &[u8]) -> Result<Option<Summary>, DecodeError> {
    if count == 0 && sample.is_empty() {
        return Ok(None);
    }
    let sample = sample.try_into().ok().filter(|_| count > 0).map(u128::from_be_bytes);
    let wrong = DecodeError::Rule { record: "ANNOUNCE", rule: "a sample has 16 bytes, and is of something" };
    Ok(Some(Summary { count, sample: sample.ok_or(wrong)? }))
}

fn ack_to_wire(ack: &Ack) -> Result<v1::Ack, EncodeError> {
    let (held, held_at) = positions_or_one(&ack.held)?;
    let (known, known_at) = positions_or_one(&ack.known)?;
    Ok(v1::Ack {
        group: number_of(ack.group)?,
        held,
        known,
        ids: ids_to_wire(&ack.ids),
        duplicates: ack.duplicates,
        chain: ack.chain,
        reset: ack.reset,
        held_at,
        known_at,
    })
}

fn ack_from_wire(ack: v1::Ack) -> Result<Ack, DecodeError> {
    Ok(Ack {
        group: group_of(ack.group),
        held: spans_or_one("ACK", &ack.held, ack.held_at)?,
        known: spans_or_one("ACK", &ack.known, ack.known_at)?,
        ids: ids_from_wire("ACK", &ack.ids)?,
        duplicates: ack.duplicates,
        chain: ack.chain,
        reset: ack.reset,
    })
}

fn batch_to_wire(batch: &Batch) -> Result<v1::Batch, EncodeError> {
    let first = batch.messages.first();
    let mut wire = v1::Batch {
        group: number_of(batch.group)?,
        first: number_to_wire(first.and_then(|m| m.position))?,
        timestamp_ms: first.map_or(0, |m| m.timestamp_ms),
        messages: Vec::with_capacity(batch.messages.len()),
        chain: batch.chain,
        ..v1::Batch::default()
    };
    let mut next = wire.first;
    let mut last_time = wire.timestamp_ms;
    for message in &batch.messages {
        let position = number_to_wire(message.position)?;
        if (position == 0) != (wire.first == 0) {
            return Err(EncodeError("messages with and without positions in one batch"));
        }
        let gap = position.checked_sub(next).ok_or(EncodeError("positions that do not ascend"))?;
        if position > 0 {
            next = position.checked_add(1).ok_or(EncodeError("the last position of 64 bits"))?;
        }
        let delta_ms =
            message.timestamp_ms.checked_sub(last_time).ok_or(EncodeError("timestamps this far apart"))?;
        last_time = message.timestamp_ms;
        let mut back = Vec::new();
        let mut deps = Vec::new();
        for dep in &message.deps {
            match dep {
                DepRef::Id(id) => deps.extend_from_slice(id.as_bytes()),
                DepRef::Position(_) if !deps.is_empty() => return Err(EncodeError("a position after an id")),
                DepRef::Position(earlier) if (1..position).contains(earlier) => back.push(position - earlier),
                DepRef::Position(_) => return Err(EncodeError("a dependency that does not come before")),
            }
        }
        wire.messages.push(v1::Message {
            gap,
            delta_ms,
            back,
            deps: deps.into(),
            body: message.body.clone(),
        });
    }
    if wire.messages.len() == 1
        && let Some(message) = wire.messages.pop_if(|message| !message.body.is_empty())
    {
        (wire.back, wire.deps, wire.body) = (message.back, message.deps, message.body);
    }
    Ok(wire)
}

fn offer_to_wire(offer: &Offer) -> Result<v1::Offer, EncodeError> {
    let positions: Option<Vec<u64>> = offer.items.iter().map(|item| item.position).collect();
    let positions = positions.ok_or(EncodeError("an offer without a position"))?;
    let ids: Vec<MessageId> = offer.items.iter().map(|item| item.id).collect();
    let (positions, at) = positions_or_one(&spans_from(positions)?)?;
    let group = number_of(offer.group)?;
    Ok(v1::Offer { group, positions, ids: ids_to_wire(&ids), chain: offer.chain, at })
}

fn offer_from_wire(offer: v1::Offer) -> Result<Offer, DecodeError> {
    let ids = ids_from_wire("OFFER", &offer.ids)?;
    let spans = positions_of("OFFER", (&offer.positions, offer.at), ids.len())?;
    let positions = spans.iter().flat_map(|span| span.first..=span.last);
    let items = positions.zip(ids).map(|(position, id)| OfferItem { position: Some(position), id }).collect();
    Ok(Offer { group: group_of(offer.group), items, chain: offer.chain })
}

fn request_to_wire(request: &Request) -> Result<v1::Request, EncodeError> {
    let (positions, at) = positions_or_one(&request.positions)?;
    Ok(v1::Request { group: number_of(request.group)?, positions, ids: ids_to_wire(&request.ids), at })
}

fn request_from_wire(request: v1::Request) -> Result<Request, DecodeError> {
    Ok(Request {
        group: group_of(request.group),
        positions: spans_or_one("REQUEST", &request.positions, request.at)?,
        ids: ids_from_wire("REQUEST", &request.ids)?,
    })
}

fn unavailable_to_wire(unavailable: &Unavailable) -> Result<v1::Unavailable, EncodeError> {
    Ok(v1::Unavailable {
        group: number_of(unavailable.group)?,
        positions: spans_to_wire(&unavailable.positions)?,
        ids: ids_to_wire(&unavailable.ids),
        tombstones: unavailable
            .tombstones
            .iter()
            .map(|tombstone| v1::Tombstone {
                id: Bytes::copy_from_slice(tombstone.id.as_bytes()),
                eff_ms: tombstone.eff_ms,
                height: tombstone.height,
            })
            .collect(),
    })
}

fn unavailable_from_wire(unavailable: v1::Unavailable) -> Result<Unavailable, DecodeError> {
    Ok(Unavailable {
        group: group_of(unavailable.group),
        positions: spans_of("UNAVAILABLE", &unavailable.positions)?,
        ids: ids_from_wire("UNAVAILABLE", &unavailable.ids)?,
        tombstones: gather(unavailable.tombstones, tombstone_from_wire)?,
    })
}

fn tombstone_from_wire(tombstone: v1::Tombstone) -> Result<Tombstone, DecodeError> {
    let id = tombstone.id[..]
        .try_into()
        .map_err(|_| DecodeError::Rule { record: "UNAVAILABLE", rule: "ids have 32 bytes each" })?;
    Ok(Tombstone { id: MessageId::from_bytes(id), eff_ms: tombstone.eff_ms, height: tombstone.height })
}

fn ephemeral_to_wire(ephemeral: &Ephemeral) -> Result<v1::Ephemeral, EncodeError> {
    Ok(v1::Ephemeral {
        group: number_of(ephemeral.group)?,
        timestamp_ms: ephemeral.timestamp_ms,
        body: ephemeral.body.clone(),
    })
}

/// On the wire, 0 stands for the group 1: it is the only one in many sessions.
fn number_of(group: GroupRef) -> Result<u32, EncodeError> {
    match group {
        GroupRef::Number(0) => Err(EncodeError("the group number 0")),
        GroupRef::Number(1) => Ok(0),
        GroupRef::Number(number) => Ok(number),
        GroupRef::Id(_) | GroupRef::Unnamed => Err(EncodeError("a group without a number")),
    }
}

fn group_of(number: u32) -> GroupRef {
    GroupRef::Number(number.max(1))
}

fn spans_of(record: &'static str, list: &[u64]) -> Result<Vec<Span>, DecodeError> {
    spans::from_wire(list).ok_or(DecodeError::Rule { record, rule: "a span list has pairs within 64 bits" })
}

fn spans_to_wire(spans: &[Span]) -> Result<Vec<u64>, EncodeError> {
    spans::to_wire(spans).ok_or(EncodeError("spans that do not ascend"))
}

/// A span list; or nothing in it, and the only position that there is.
fn positions_or_one(spans: &[Span]) -> Result<(Vec<u64>, u64), EncodeError> {
    match spans {
        [span] if span.first == span.last && span.first > 0 => Ok((Vec::new(), span.first)),
        _ => Ok((spans_to_wire(spans)?, 0)),
    }
}

/// The spans of a span list, or the one position that stands in its place.
fn spans_or_one(record: &'static str, list: &[u64], at: u64) -> Result<Vec<Span>, DecodeError> {
    match (list, at) {
        (_, 0) => spans_of(record, list),
        ([], _) => Ok(vec![Span::one(at)]),
        _ => Err(DecodeError::Rule { record, rule: "a span list, or one position in its place" }),
    }
}

/// Positions that ascend, as spans.
fn spans_from(positions: impl IntoIterator<Item = u64>) -> Result<Vec<Span>, EncodeError> {
    let mut spans: Vec<Span> = Vec::new();
    for position in positions {
        match spans.last_mut() {
            Some(span) if position <= span.last => return Err(EncodeError("positions that do not ascend")),
            Some(span) if position == span.last + 1 => span.last = position,
            _ => spans.push(Span::one(position)),
        }
    }
    Ok(spans)
}

/// A span list of `count` positions, or one in its place.
fn positions_of(
    record: &'static str,
    (list, at): (&[u64], u64),
    count: usize,
) -> Result<Vec<Span>, DecodeError> {
    let spans = spans_or_one(record, list, at)?;
    let positions = spans.iter().fold(0_u64, |sum, span| sum.saturating_add(span.count()));
    if positions != count as u64 {
        return Err(DecodeError::Rule { record, rule: "as many positions as ids" });
    }
    Ok(spans)
}

/// Numbers start at 1: on the wire, 0 stands for none.
fn number_to_wire(number: Option<u64>) -> Result<u64, EncodeError> {
    match number {
        Some(0) => Err(EncodeError("the number 0")),
        number => Ok(number.unwrap_or(0)),
    }
}

fn ids_to_wire(ids: &[MessageId]) -> Bytes {
    ids.iter().flat_map(|id| *id.as_bytes()).collect()
}

fn ids_from_wire(record: &'static str, bytes: &[u8]) -> Result<Vec<MessageId>, DecodeError> {
    let (ids, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(DecodeError::Rule { record, rule: "ids have 32 bytes each" });
    }
    Ok(ids.iter().map(|id| MessageId::from_bytes(*id)).collect())
}

#[cfg(test)]
mod tests;
