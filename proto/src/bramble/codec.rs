//! Records as frames for the engine, and back.

use bytes::Bytes;

use super::{Record, VERSION};
use crate::dialect::{Capabilities, Codec};
use crate::frame::{
    Ack, Batch, DecodeError, EncodeError, Frame, GroupRef, Offer, OfferItem, Request, Unavailable,
    WireMessage,
};
use crate::limits::{BSP_MAX_OFFERS, MAX_BODY, NONCE_LEN};

/// Codec of BSP: a frame is any number of whole records. The first one that it writes begins with VERSIONS, and
/// PRIORITY if it has a nonce for it.
#[derive(Debug, Clone)]
pub struct BrambleCodec {
    /// What is to be said before anything else.
    opening: Option<Option<[u8; NONCE_LEN]>>,
}

impl BrambleCodec {
    /// A codec for a new stream; the side that made the stream gives 16 random bytes for PRIORITY.
    #[must_use]
    pub const fn new(priority: Option<[u8; NONCE_LEN]>) -> Self {
        Self { opening: Some(priority) }
    }
}

impl Codec for BrambleCodec {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            sessions: false,
            positions: false,
            unavailable: true,
            ephemeral: false,
            deps: false,
            frame_numbers: false,
            opening: true,
            max_offers: BSP_MAX_OFFERS,
            message_overhead: 44,
            dep_size: 0,
        }
    }

    fn encode(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let records = records_of(frame)?;
        if let Some(priority) = self.opening.take() {
            Record::Versions(vec![VERSION]).encode(out);
            priority.into_iter().for_each(|nonce| Record::Priority(nonce).encode(out));
        }
        records.iter().for_each(|record| record.encode(out));
        Ok(())
    }

    fn decode(&mut self, mut bytes: Bytes) -> Result<Frame, DecodeError> {
        let mut frame = Frame::default();
        while !bytes.is_empty() {
            take(Record::decode(&mut bytes)?, &mut frame)?;
        }
        Ok(frame)
    }

    fn clone_box(&self) -> Box<dyn Codec> {
        Box::new(self.clone())
    }
}

fn records_of(frame: &Frame) -> Result<Vec<Record>, EncodeError> {
    let lossy = frame.number.is_some() || frame.ping || !frame.frame_acks.is_empty();
    if frame.hello.is_some() || frame.names_groups() || !frame.ephemerals.is_empty() || lossy {
        return Err(EncodeError("HELLO, ANNOUNCE, an ephemeral message or a frame number"));
    }
    if frame.speaks_by_keys() {
        return Err(EncodeError("RECONCILE or a short id"));
    }
    let mut records = Vec::new();
    for ack in &frame.acks {
        if !ack.held.is_empty() || !ack.known.is_empty() {
            return Err(EncodeError("a position"));
        }
        records.push(Record::Ack(ack.ids.clone()));
    }
    for unavailable in &frame.unavailables {
        if !unavailable.positions.is_empty() {
            return Err(EncodeError("a position"));
        }
        records.push(Record::Unavailable(unavailable.ids.clone()));
    }
    for batch in &frame.batches {
        for message in &batch.messages {
            records.push(message_of(batch.group, message)?);
        }
    }
    for request in &frame.requests {
        if !request.positions.is_empty() {
            return Err(EncodeError("a position"));
        }
        records.push(Record::Request(request.ids.clone()));
    }
    for offer in &frame.offers {
        if offer.items.iter().any(|item| item.position.is_some()) {
            return Err(EncodeError("a position"));
        }
        records.push(Record::Offer(offer.items.iter().map(|item| item.id).collect()));
    }
    Ok(records)
}

fn message_of(group: GroupRef, message: &WireMessage) -> Result<Record, EncodeError> {
    let GroupRef::Id(group) = group else { return Err(EncodeError("a group without its id")) };
    if message.position.is_some() || !message.deps.is_empty() {
        return Err(EncodeError("a position or dependencies"));
    }
    if message.body.is_empty() || message.body.len() > MAX_BODY || message.timestamp_ms < 0 {
        return Err(EncodeError("a message without a body, or beyond its limits"));
    }
    Ok(Record::Message { group, timestamp_ms: message.timestamp_ms, body: message.body.clone() })
}

fn take(record: Record, frame: &mut Frame) -> Result<(), DecodeError> {
    let group = GroupRef::Unnamed;
    match record {
        Record::Ack(ids) => {
            let (held, known) = (Vec::new(), Vec::new());
            frame.acks.push(Ack { group, held, known, ids, duplicates: 0, chain: 0, reset: 0 });
        }
        Record::Offer(ids) => {
            let items = ids.into_iter().map(|id| OfferItem { position: None, id }).collect();
            frame.offers.push(Offer { group, items, chain: 0 });
        }
        Record::Request(ids) => frame.requests.push(Request { group, positions: Vec::new(), ids }),
        Record::Unavailable(ids) => {
            let (positions, tombstones) = (Vec::new(), Vec::new());
            frame.unavailables.push(Unavailable { group, positions, ids, tombstones });
        }
        Record::Message { group, timestamp_ms, body } => {
            let group = GroupRef::Id(group);
            let message = WireMessage { position: None, timestamp_ms, deps: Vec::new(), body };
            match frame.batches.last_mut() {
                Some(batch) if batch.group == group => batch.messages.push(message),
                _ => frame.batches.push(Batch { group, messages: vec![message], chain: 0 }),
            }
        }
        Record::Versions(versions) if !versions.contains(&VERSION) => {
            return Err(DecodeError::Rule { record: "VERSIONS", rule: "version 0 is among them" });
        }
        // Which of several streams to keep is for the carrier to say.
        Record::Versions(_) | Record::Priority(_) | Record::Unknown(_) => {}
    }
    Ok(())
}
