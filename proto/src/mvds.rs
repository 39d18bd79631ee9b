//! The payloads of MVDS, the data sync protocol that Status ships, byte for byte.
//!
//! [`Payload`] is what stands in one payload; [`MvdsCodec`] makes frames of them for the engine. The numbering of the
//! deployed wire (5001 to 5005, 6001 to 6004) is read and written, that of the older reference (1 to 4) is read only.
//! `docs/interop.md` in the repository says what is known of those who speak it.

mod codec;

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

pub use self::codec::MvdsCodec;
use crate::frame::DecodeError;
use crate::ids::{GroupId, MessageId, PeerId};
use crate::limits::MVDS_PEER_LEN;

/// The structs that the protobuf compiler made of `proto/mvds/payload.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
mod wire {
    include!(concat!(env!("OUT_DIR"), "/mvds.rs"));
}

/// Everything in one payload, in the order in which it stands there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Payload {
    /// 5001: messages that the sender holds.
    pub acks: Vec<MessageId>,
    /// 5002: messages that the sender offers.
    pub offers: Vec<MessageId>,
    /// 5003: messages that the sender wants.
    pub requests: Vec<MessageId>,
    /// 5004: messages.
    pub messages: Vec<PayloadMessage>,
    /// 5005: offers that name the group.
    pub group_offers: Vec<(GroupId, MessageId)>,
}

/// One message in a payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadMessage {
    /// 6001: its group.
    pub group: GroupId,
    /// 6002: when it was written, in seconds since 1970-01-01 UTC, as it came.
    pub timestamp_s: i64,
    /// 6003: what it says.
    pub body: Bytes,
    /// 6004: what is not part of its id. Absent and empty are two things on the wire.
    pub metadata: Option<Metadata>,
}

/// What goes with a message and is not part of its id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Metadata {
    /// What it comes after, as it came.
    pub parents: Vec<MessageId>,
    /// It is not to be stored and not to be acknowledged.
    pub ephemeral: bool,
}

impl PayloadMessage {
    /// The id: SHA-256 over `"MESSAGE_ID"`, group, timestamp (8 bytes, little-endian, two's complement) and body. The
    /// metadata is not in it.
    #[must_use]
    pub fn id(&self) -> MessageId {
        message_id(self.group, self.timestamp_s, &self.body)
    }
}

/// The id of a message of a group, at a time in seconds, with a body.
#[must_use]
pub fn message_id(group: GroupId, timestamp_s: i64, body: &[u8]) -> MessageId {
    let mut hasher = Sha256::new();
    hasher.update(b"MESSAGE_ID");
    hasher.update(group.as_bytes());
    hasher.update(timestamp_s.to_le_bytes());
    hasher.update(body);
    MessageId::from_bytes(hasher.finalize().into())
}

/// What a peer that is known by its public key (an uncompressed point of secp256k1) is called here: a hash of the key.
/// That it has the key is for the carrier to prove.
#[must_use]
pub fn peer_id(key: &[u8; MVDS_PEER_LEN]) -> PeerId {
    PeerId::from_bytes(blake3::derive_key("hedgerow 2026-11 mvds peer", key))
}

impl Payload {
    /// Reads a payload of either numbering. Unknown fields are skipped.
    ///
    /// # Errors
    /// When the bytes are not a payload, or an id has another length than 32 bytes: ids of groups of any other length
    /// would let two messages have the same id.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let wire = wire::Payload::decode(bytes).map_err(|e| DecodeError::Malformed(e.to_string()))?;
        let deployed = !(wire.acks.is_empty()
            && wire.offers.is_empty()
            && wire.requests.is_empty()
            && wire.messages.is_empty()
            && wire.group_offers.is_empty());
        if !deployed {
            return Ok(Self {
                acks: all(wire.old_acks, |id| message("ACK", &id))?,
                offers: all(wire.old_offers, |id| message("OFFER", &id))?,
                requests: all(wire.old_requests, |id| message("REQUEST", &id))?,
                messages: all(wire.old_messages, |m| read(&m.group_id, m.timestamp, m.body, m.metadata))?,
                group_offers: Vec::new(),
            });
        }
        Ok(Self {
            acks: all(wire.acks, |id| message("ACK", &id))?,
            offers: all(wire.offers, |id| message("OFFER", &id))?,
            requests: all(wire.requests, |id| message("REQUEST", &id))?,
            messages: all(wire.messages, |m| read(&m.group_id, m.timestamp, m.body, m.metadata))?,
            group_offers: all(wire.group_offers, |offer| {
                Ok((group("OFFER", &offer.group_id)?, message("OFFER", &offer.message_id)?))
            })?,
        })
    }

    /// Appends the payload to `out`, in the deployed numbering.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let wire = wire::Payload {
            acks: bytes_of(&self.acks),
            offers: bytes_of(&self.offers),
            requests: bytes_of(&self.requests),
            messages: self.messages.iter().map(write).collect(),
            group_offers: self
                .group_offers
                .iter()
                .map(|(group, id)| wire::GroupOffer {
                    group_id: Bytes::copy_from_slice(group.as_bytes()),
                    message_id: Bytes::copy_from_slice(id.as_bytes()),
                })
                .collect(),
            ..wire::Payload::default()
        };
        out.extend_from_slice(&wire.encode_to_vec());
    }
}

fn all<W, T>(items: Vec<W>, read: impl Fn(W) -> Result<T, DecodeError>) -> Result<Vec<T>, DecodeError> {
    // Not by `collect`, which does not know how many there are.
    let mut out = Vec::with_capacity(items.len());
    for item in items {
        out.push(read(item)?);
    }
    Ok(out)
}

fn message(record: &'static str, bytes: &[u8]) -> Result<MessageId, DecodeError> {
    MessageId::try_from(bytes).map_err(|_| DecodeError::Rule { record, rule: "ids have 32 bytes each" })
}

fn group(record: &'static str, bytes: &[u8]) -> Result<GroupId, DecodeError> {
    GroupId::try_from(bytes).map_err(|_| DecodeError::Rule { record, rule: "the id of a group has 32 bytes" })
}

fn read(
    group_id: &[u8],
    timestamp_s: i64,
    body: Bytes,
    metadata: Option<wire::Metadata>,
) -> Result<PayloadMessage, DecodeError> {
    let metadata = match metadata {
        Some(metadata) => Some(Metadata {
            parents: all(metadata.parents, |id| message("MESSAGE", &id))?,
            ephemeral: metadata.ephemeral,
        }),
        None => None,
    };
    Ok(PayloadMessage { group: group("MESSAGE", group_id)?, timestamp_s, body, metadata })
}

fn write(message: &PayloadMessage) -> wire::Message {
    wire::Message {
        group_id: Bytes::copy_from_slice(message.group.as_bytes()),
        timestamp: message.timestamp_s,
        body: message.body.clone(),
        metadata: message.metadata.as_ref().map(|metadata| wire::Metadata {
            parents: bytes_of(&metadata.parents),
            ephemeral: metadata.ephemeral,
        }),
    }
}

fn bytes_of(ids: &[MessageId]) -> Vec<Bytes> {
    ids.iter().map(|id| Bytes::copy_from_slice(id.as_bytes())).collect()
}
