//! MESSAGE batches, read from the bytes of the frame in one pass: they are most of what is received. What is accepted, and
//! what is made of it, is what the protobuf compiler's own structs would (the test beside this compares the two).

use bytes::Bytes;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::{group_of, ids_from_wire};
use crate::frame::{Batch, DecodeError, DepRef, WireMessage};

/// The number of the field of a frame that batches are in.
pub(super) const FIELD: u32 = 6;
/// The least that a message takes in a batch: its key and its length, in bytes.
const MIN_MESSAGE: usize = 2;
/// For how many messages there is room taken in advance, from the size of the first.
const MAX_RESERVED: usize = 1_023;

fn malformed(error: impl std::fmt::Display) -> DecodeError {
    DecodeError::Malformed(error.to_string())
}

fn rule(rule: &'static str) -> DecodeError {
    DecodeError::Rule { record: "MESSAGE", rule }
}

/// Reads a batch. Bodies are parts of `frame`, whose content `bytes` is.
pub(super) fn read(frame: &Bytes, mut bytes: &[u8]) -> Result<Batch, DecodeError> {
    let mut batch = Batch { group: group_of(0), messages: Vec::new(), chain: 0 };
    let (mut first, mut timestamp_ms) = (0, 0);
    let mut lone = Parts::default();
    while !bytes.is_empty() {
        match decode_key(&mut bytes).map_err(malformed)? {
            (1, wire) => batch.group = group_of(as_u32(varint(wire, &mut bytes)?)),
            (2, wire) => first = varint(wire, &mut bytes)?,
            (3, wire) => timestamp_ms = varint(wire, &mut bytes)?.cast_signed(),
            (4, wire) => {
                let content = delimited(wire, &mut bytes)?;
                if batch.messages.capacity() == 0 {
                    // Messages of a batch are mostly of one size.
                    let more = bytes.len() / (content.len() + MIN_MESSAGE);
                    batch.messages.reserve(1 + more.min(MAX_RESERVED));
                }
                batch.messages.push(read_message(frame, content)?);
            }
            (5, wire) => batch.chain = fixed64(wire, &mut bytes)?,
            (tag @ 6..=8, wire) => lone.read(frame, tag - 3, wire, &mut bytes)?,
            (tag, wire) => skip_field(wire, tag, &mut bytes, DecodeContext::default()).map_err(malformed)?,
        }
    }
    if !lone.is_empty() {
        if lone.body.is_empty() || !batch.messages.is_empty() {
            return Err(rule("messages, or one with a body in their place"));
        }
        batch.messages.push(lone.into_message()?);
    }
    settle(&mut batch, first, timestamp_ms)?;
    Ok(batch)
}

/// What a message holds beside its position and its time.
#[derive(Default)]
struct Parts<'a> {
    deps: Vec<DepRef>,
    ids: &'a [u8],
    body: Bytes,
}

impl<'a> Parts<'a> {
    /// Reads one of them, by its field in a message.
    fn read(
        &mut self,
        frame: &Bytes,
        field: u32,
        wire: WireType,
        bytes: &mut &'a [u8],
    ) -> Result<(), DecodeError> {
        match (field, wire) {
            (3, WireType::LengthDelimited) => {
                let mut distances = delimited(wire, bytes)?;
                self.deps.reserve(1);
                while !distances.is_empty() {
                    let back = decode_varint(&mut distances).map_err(malformed)?;
                    self.deps.push(DepRef::Position(back));
                }
            }
            (3, wire) => self.deps.push(DepRef::Position(varint(wire, bytes)?)),
            (4, wire) => self.ids = delimited(wire, bytes)?,
            (_, wire) => self.body = frame.slice_ref(delimited(wire, bytes)?),
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        self.deps.is_empty() && self.ids.is_empty() && self.body.is_empty()
    }

    /// With distances where positions are to be.
    fn into_message(mut self) -> Result<WireMessage, DecodeError> {
        if !self.ids.is_empty() {
            self.deps.extend(ids_from_wire("MESSAGE", self.ids)?.into_iter().map(DepRef::Id));
        }
        Ok(WireMessage { position: Some(0), timestamp_ms: 0, deps: self.deps, body: self.body })
    }
}

/// One message, with gap, delta and distances where position, timestamp and positions are to be.
fn read_message(frame: &Bytes, mut bytes: &[u8]) -> Result<WireMessage, DecodeError> {
    let (mut gap, mut delta_ms, mut parts) = (0, 0, Parts::default());
    while !bytes.is_empty() {
        match decode_key(&mut bytes).map_err(malformed)? {
            (1, wire) => gap = varint(wire, &mut bytes)?,
            (2, wire) => {
                let delta = varint(wire, &mut bytes)?;
                delta_ms = (delta >> 1).cast_signed() ^ -((delta & 1).cast_signed());
            }
            (tag @ 3..=5, wire) => parts.read(frame, tag, wire, &mut bytes)?,
            (tag, wire) => skip_field(wire, tag, &mut bytes, DecodeContext::default()).map_err(malformed)?,
        }
    }
    let mut message = parts.into_message()?;
    (message.position, message.timestamp_ms) = (Some(gap), delta_ms);
    Ok(message)
}

/// What is said by differences becomes what it is.
fn settle(batch: &mut Batch, first: u64, timestamp_ms: i64) -> Result<(), DecodeError> {
    let (mut next, mut time) = (first, timestamp_ms);
    for message in &mut batch.messages {
        let gap = message.position.take().unwrap_or(0);
        if first != 0 {
            let position = next.checked_add(gap).ok_or(rule("positions have 64 bits"))?;
            next = position.checked_add(1).ok_or(rule("positions have 64 bits"))?;
            message.position = Some(position);
        }
        time = time.checked_add(message.timestamp_ms).ok_or(rule("timestamps have 64 bits"))?;
        message.timestamp_ms = time;
        for dep in &mut message.deps {
            let DepRef::Position(back) = dep else { break };
            let distance = *back;
            *back = message
                .position
                .and_then(|position| position.checked_sub(distance))
                .filter(|&earlier| earlier > 0 && distance > 0)
                .ok_or(rule("a back-reference names an earlier position"))?;
        }
    }
    Ok(())
}

fn varint(wire: WireType, bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    match wire {
        WireType::Varint => decode_varint(bytes).map_err(malformed),
        _ => Err(malformed("a number is not one")),
    }
}

fn fixed64(wire: WireType, bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    match wire {
        WireType::SixtyFourBit => bytes.try_get_u64_le().map_err(malformed),
        _ => Err(malformed("a number of 8 bytes is not one")),
    }
}

/// The next so many bytes that are said to follow.
fn delimited<'a>(wire: WireType, bytes: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    if wire != WireType::LengthDelimited {
        return Err(malformed("bytes are not bytes"));
    }
    let length = decode_varint(bytes).map_err(malformed)?;
    let split = usize::try_from(length).ok().and_then(|length| bytes.split_at_checked(length));
    let (content, rest) = split.ok_or_else(|| malformed("bytes end too early"))?;
    *bytes = rest;
    Ok(content)
}

/// As protobuf has it: what does not fit is cut off.
fn as_u32(value: u64) -> u32 {
    u32::try_from(value & u64::from(u32::MAX)).unwrap_or_default()
}
