//! The records of BSP version 0, the Bramble sync protocol that Briar ships, byte for byte.
//!
//! [`Record`] is one record; [`BrambleCodec`] makes frames of whole records for the engine. A carrier that has a plain
//! byte stream finds where a record ends with [`record_len`]. `docs/interop.md` in the repository says what is known of
//! those who speak it.

mod codec;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest as _};
use bytes::{Buf as _, Bytes};

pub use self::codec::BrambleCodec;
use crate::frame::DecodeError;
use crate::ids::{GroupId, MessageId};
use crate::limits::{BSP_HEADER_LEN, BSP_MAX_IDS, BSP_MAX_RECORD, BSP_MAX_VERSIONS, MAX_BODY, NONCE_LEN};
use crate::message::GroupDescriptor;

/// The only version of the record format.
const VERSION: u8 = 0;
/// What a group id and a timestamp take in a MESSAGE record, in bytes.
const MESSAGE_HEADER_LEN: usize = 40;

const ACK: u8 = 0;
const MESSAGE: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const VERSIONS: u8 = 4;
const PRIORITY: u8 = 5;
/// Ours: deployed peers skip it, as they do with all types that they do not know.
const UNAVAILABLE: u8 = 0x48;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// Type 0: the sender holds these, 1 to 1,536 of them.
    Ack(Vec<MessageId>),
    /// Type 1.
    Message {
        /// The group.
        group: GroupId,
        /// When it was written, in ms since 1970-01-01 UTC, not negative.
        timestamp_ms: i64,
        /// What it says, 1 to 32,768 bytes.
        body: Bytes,
    },
    /// Type 2: the sender offers these, 1 to 1,536 of them.
    Offer(Vec<MessageId>),
    /// Type 3: the sender wants these, 1 to 1,536 of them.
    Request(Vec<MessageId>),
    /// Type 4: the versions of the protocol that the sender speaks, 1 to 10 of them.
    Versions(Vec<u8>),
    /// Type 5: of several streams between two peers, the one whose initiator drew the lower nonce is kept.
    Priority([u8; NONCE_LEN]),
    /// Type 72, ours: the sender was asked for these and does not have them, 1 to 1,536 of them.
    Unavailable(Vec<MessageId>),
    /// A type that is not known, to be skipped.
    Unknown(u8),
}

impl Record {
    /// Takes the next record from the front of `bytes`.
    ///
    /// # Errors
    /// When it is not whole, of another version of the format, or breaks a limit.
    pub fn decode(bytes: &mut Bytes) -> Result<Self, DecodeError> {
        let Some(len) = record_len(bytes)?.filter(|len| *len <= bytes.len()) else {
            return Err(DecodeError::Malformed("a record that is cut off".to_owned()));
        };
        let mut payload = bytes.split_to(len);
        let kind = payload.get(1).copied().unwrap_or_default();
        payload.advance(BSP_HEADER_LEN);
        Ok(match kind {
            ACK => Self::Ack(ids("ACK", &payload)?),
            MESSAGE => message(payload)?,
            OFFER => Self::Offer(ids("OFFER", &payload)?),
            REQUEST => Self::Request(ids("REQUEST", &payload)?),
            VERSIONS if (1..=BSP_MAX_VERSIONS).contains(&payload.len()) => Self::Versions(payload.to_vec()),
            VERSIONS => return Err(rule("VERSIONS", "there are 1 to 10 versions")),
            PRIORITY => {
                let nonce = payload[..].try_into().map_err(|_| rule("PRIORITY", "the nonce has 16 bytes"))?;
                Self::Priority(nonce)
            }
            UNAVAILABLE => Self::Unavailable(ids("UNAVAILABLE", &payload)?),
            unknown => Self::Unknown(unknown),
        })
    }

    /// Appends the record to `out`. Lists of ids that are longer than a record may be become several records; an empty
    /// list, and [`Record::Unknown`], becomes none.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ack(ids) => put_ids(ACK, ids, out),
            Self::Offer(ids) => put_ids(OFFER, ids, out),
            Self::Request(ids) => put_ids(REQUEST, ids, out),
            Self::Unavailable(ids) => put_ids(UNAVAILABLE, ids, out),
            Self::Versions(versions) => {
                put_header(VERSIONS, versions.len(), out);
                out.extend_from_slice(versions);
            }
            Self::Priority(nonce) => {
                put_header(PRIORITY, nonce.len(), out);
                out.extend_from_slice(nonce);
            }
            Self::Message { group, timestamp_ms, body } => {
                put_header(MESSAGE, MESSAGE_HEADER_LEN + body.len(), out);
                out.extend_from_slice(group.as_bytes());
                out.extend_from_slice(&timestamp_ms.to_be_bytes());
                out.extend_from_slice(body);
            }
            Self::Unknown(_) => {}
        }
    }
}

/// How long the record at the front of a stream is, with its header, in bytes; `None` as long as its header is not
/// there.
///
/// # Errors
/// When it is of another version of the format, or longer than a record may be.
pub fn record_len(stream: &[u8]) -> Result<Option<usize>, DecodeError> {
    let Some(&[version, _, high, low]) = stream.first_chunk::<BSP_HEADER_LEN>() else { return Ok(None) };
    if version != VERSION {
        return Err(rule("RECORD", "the version of the format is 0"));
    }
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > BSP_MAX_RECORD {
        return Err(rule("RECORD", "a record has at most 49,152 bytes after its header"));
    }
    Ok(Some(BSP_HEADER_LEN + len))
}

/// The id of a group: BLAKE2b-256 over label, format version, client id, major version and descriptor, each with its
/// length before it.
#[must_use]
pub fn group_id(descriptor: &GroupDescriptor) -> GroupId {
    GroupId::from_bytes(hash(
        "org.briarproject.bramble/GROUP_ID",
        &[
            &[1],
            descriptor.client_id().as_bytes(),
            &descriptor.major_version().to_be_bytes(),
            descriptor.descriptor(),
        ],
    ))
}

/// The id of a message of a group, at a time in ms, with a body.
#[must_use]
pub fn message_id(group: GroupId, timestamp_ms: i64, body: &[u8]) -> MessageId {
    let root = hash("org.briarproject.bramble/MESSAGE_BLOCK", &[&[1], body]);
    MessageId::from_bytes(hash(
        "org.briarproject.bramble/MESSAGE_ID",
        &[&[1], group.as_bytes(), &timestamp_ms.to_be_bytes(), &root],
    ))
}

fn hash(label: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Blake2b::<U32>::new();
    for part in std::iter::once(&label.as_bytes()).chain(parts) {
        // Nothing hashed here is longer than a body or a descriptor.
        hasher.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn message(mut payload: Bytes) -> Result<Record, DecodeError> {
    let Some((header, body)) = payload.split_first_chunk::<MESSAGE_HEADER_LEN>() else {
        return Err(rule("MESSAGE", "there is a group, a timestamp and a body"));
    };
    if body.is_empty() || body.len() > MAX_BODY {
        return Err(rule("MESSAGE", "a body has 1 to 32,768 bytes"));
    }
    let (mut group, mut time) = ([0; 32], [0; 8]);
    header.iter().zip(group.iter_mut().chain(&mut time)).for_each(|(from, to)| *to = *from);
    let timestamp_ms = i64::from_be_bytes(time);
    if timestamp_ms < 0 {
        return Err(rule("MESSAGE", "a timestamp is not negative"));
    }
    let body = payload.split_off(MESSAGE_HEADER_LEN);
    Ok(Record::Message { group: GroupId::from_bytes(group), timestamp_ms, body })
}

fn ids(record: &'static str, payload: &[u8]) -> Result<Vec<MessageId>, DecodeError> {
    let (ids, rest) = payload.as_chunks::<32>();
    if !rest.is_empty() || !(1..=BSP_MAX_IDS).contains(&ids.len()) {
        return Err(rule(record, "there are 1 to 1,536 ids of 32 bytes"));
    }
    Ok(ids.iter().map(|id| MessageId::from_bytes(*id)).collect())
}

fn put_ids(kind: u8, ids: &[MessageId], out: &mut Vec<u8>) {
    for ids in ids.chunks(BSP_MAX_IDS) {
        put_header(kind, ids.len() * 32, out);
        ids.iter().for_each(|id| out.extend_from_slice(id.as_bytes()));
    }
}

fn put_header(kind: u8, len: usize, out: &mut Vec<u8>) {
    // What is written here is within the limits.
    let len = u16::try_from(len).unwrap_or(u16::MAX);
    out.extend_from_slice(&[VERSION, kind]);
    out.extend_from_slice(&len.to_be_bytes());
}

fn rule(record: &'static str, rule: &'static str) -> DecodeError {
    DecodeError::Rule { record, rule }
}
