//! MESSAGE batches, read from the bytes of the frame in one pass: they are most of what is received. What is accepted, and
//! what is made of it, is what the protobuf compiler's own structs would (the test beside this compares the two).

use bytes::Bytes;
use prost::bytes::Buf as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::ids_from_wire;
use crate::frame::{Batch, DecodeError, DepRef, GroupRef, WireMessage};

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
    let mut batch = Batch { group: GroupRef::Number(0), messages: Vec::new(), chain: 0 };
    let (mut first, mut timestamp_ms) = (0, 0);
    while !bytes.is_empty() {
        match decode_key(&mut bytes).map_err(malformed)? {
            (1, wire) => batch.group = GroupRef::Number(as_u32(varint(wire, &mut bytes)?)),
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
            (tag, wire) => skip_field(wire, tag, &mut bytes, DecodeContext::default()).map_err(malformed)?,
        }
    }
    settle(&mut batch, first, timestamp_ms)?;
    Ok(batch)
}

/// One message, with gap, delta and distances where position, timestamp and positions are to be.
fn read_message(frame: &Bytes, mut bytes: &[u8]) -> Result<WireMessage, DecodeError> {
    let mut message = WireMessage { position: None, timestamp_ms: 0, deps: Vec::new(), body: Bytes::new() };
    let (mut gap, mut ids) = (0, &[][..]);
    while !bytes.is_empty() {
        match decode_key(&mut bytes).map_err(malformed)? {
            (1, wire) => gap = varint(wire, &mut bytes)?,
            (2, wire) => {
                let delta = varint(wire, &mut bytes)?;
                message.timestamp_ms = (delta >> 1).cast_signed() ^ -((delta & 1).cast_signed());
            }
            (3, WireType::LengthDelimited) => {
                let mut distances = delimited(WireType::LengthDelimited, &mut bytes)?;
                message.deps.reserve(1);
                while !distances.is_empty() {
                    let back = decode_varint(&mut distances).map_err(malformed)?;
                    message.deps.push(DepRef::Position(back));
                }
            }
            (3, wire) => message.deps.push(DepRef::Position(varint(wire, &mut bytes)?)),
            (4, wire) => ids = delimited(wire, &mut bytes)?,
            (5, wire) => message.body = frame.slice_ref(delimited(wire, &mut bytes)?),
            (tag, wire) => skip_field(wire, tag, &mut bytes, DecodeContext::default()).map_err(malformed)?,
        }
    }
    message.position = Some(gap);
    if !ids.is_empty() {
        message.deps.extend(ids_from_wire("MESSAGE", ids)?.into_iter().map(DepRef::Id));
    }
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
