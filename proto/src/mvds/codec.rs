//! Payloads as frames for the engine, and back.

use bytes::Bytes;

use super::{Metadata, Payload, PayloadMessage};
use crate::dialect::{Capabilities, Codec};
use crate::frame::{
    Ack, Batch, DecodeError, DepRef, EncodeError, Ephemeral, Frame, GroupRef, Offer, OfferItem, Request,
    WireMessage,
};
use crate::ids::{GroupId, MessageId};

/// Milliseconds in the unit of the wire's timestamps.
const SECOND_MS: i64 = 1000;

/// Codec of MVDS. It keeps no state between frames.
#[derive(Debug, Clone)]
pub struct MvdsCodec {
    metadata: bool,
}

impl MvdsCodec {
    /// A codec that reads metadata (field 6004), and writes it if `metadata` says so. Peers that do not know the field
    /// skip it.
    #[must_use]
    pub const fn new(metadata: bool) -> Self {
        Self { metadata }
    }

    fn message(&self, batch: &Batch, message: &WireMessage) -> Result<PayloadMessage, EncodeError> {
        let parents: Result<Vec<MessageId>, _> = message.deps.iter().map(id_of).collect();
        let parents = parents?;
        if message.position.is_some() {
            return Err(EncodeError("a position"));
        }
        if !parents.is_empty() && !self.metadata {
            return Err(EncodeError("dependencies without metadata"));
        }
        Ok(PayloadMessage {
            group: group_of(batch.group)?,
            timestamp_s: seconds(message.timestamp_ms)?,
            body: message.body.clone(),
            metadata: (!parents.is_empty()).then_some(Metadata { parents, ephemeral: false }),
        })
    }

    fn payload(&self, frame: &Frame) -> Result<Payload, EncodeError> {
        let mut payload = Payload::default();
        let lossy = frame.number.is_some() || frame.ping || !frame.frame_acks.is_empty();
        if frame.speaks_by_keys() {
            return Err(EncodeError("RECONCILE or a short id"));
        }
        if frame.hello.is_some() || frame.names_groups() || !frame.unavailables.is_empty() || lossy {
            return Err(EncodeError("HELLO, ANNOUNCE, UNAVAILABLE or a frame number"));
        }
        for ack in &frame.acks {
            if !ack.held.is_empty() || !ack.known.is_empty() {
                return Err(EncodeError("a position"));
            }
            payload.acks.extend(&ack.ids);
        }
        for offer in &frame.offers {
            for item in &offer.items {
                if item.position.is_some() {
                    return Err(EncodeError("a position"));
                }
                payload.offers.push(item.id);
            }
        }
        for request in &frame.requests {
            if !request.positions.is_empty() {
                return Err(EncodeError("a position"));
            }
            payload.requests.extend(&request.ids);
        }
        for batch in &frame.batches {
            for message in &batch.messages {
                payload.messages.push(self.message(batch, message)?);
            }
        }
        for ephemeral in &frame.ephemerals {
            if !self.metadata {
                return Err(EncodeError("an ephemeral message without metadata"));
            }
            payload.messages.push(PayloadMessage {
                group: group_of(ephemeral.group)?,
                timestamp_s: seconds(ephemeral.timestamp_ms)?,
                body: ephemeral.body.clone(),
                metadata: Some(Metadata { parents: Vec::new(), ephemeral: true }),
            });
        }
        Ok(payload)
    }
}

impl Codec for MvdsCodec {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            sessions: false,
            positions: false,
            unavailable: false,
            ephemeral: self.metadata,
            deps: self.metadata,
            frame_numbers: false,
            opening: false,
            // Peers do not answer an offer of what they hold, so that a window might never open again.
            max_offers: usize::MAX,
            // Group 36, timestamp 13, body 6, metadata 6, the message itself 6, all with their tags and lengths.
            message_overhead: 72,
            dep_size: 34,
        }
    }

    fn encode(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        self.payload(frame)?.encode(out);
        Ok(())
    }

    fn decode(&mut self, bytes: Bytes) -> Result<Frame, DecodeError> {
        let payload = Payload::decode(bytes)?;
        let mut frame = Frame::default();
        if !payload.acks.is_empty() {
            let (held, known) = (Vec::new(), Vec::new());
            let group = GroupRef::Unnamed;
            frame.acks.push(Ack { group, held, known, ids: payload.acks, duplicates: 0, chain: 0, reset: 0 });
        }
        if !payload.requests.is_empty() {
            let (group, positions) = (GroupRef::Unnamed, Vec::new());
            frame.requests.push(Request { group, positions, ids: payload.requests });
        }
        let item = |id| OfferItem { position: None, id };
        if !payload.offers.is_empty() {
            let items = payload.offers.into_iter().map(item).collect();
            frame.offers.push(Offer { group: GroupRef::Unnamed, items, chain: 0 });
        }
        for (group, id) in payload.group_offers {
            match frame.offers.last_mut() {
                Some(offer) if offer.group == GroupRef::Id(group) => offer.items.push(item(id)),
                _ => {
                    frame.offers.push(Offer { group: GroupRef::Id(group), items: vec![item(id)], chain: 0 });
                }
            }
        }
        for message in payload.messages {
            take_message(message, &mut frame);
        }
        Ok(frame)
    }

    fn clone_box(&self) -> Box<dyn Codec> {
        Box::new(self.clone())
    }
}

fn take_message(message: PayloadMessage, frame: &mut Frame) {
    let group = GroupRef::Id(message.group);
    // A time that milliseconds cannot hold is out of every bound; so is the lowest number, which no message may have.
    let timestamp_ms = message.timestamp_s.checked_mul(SECOND_MS).unwrap_or(i64::MIN);
    let Metadata { parents, ephemeral } = message.metadata.unwrap_or_default();
    let body = message.body;
    if ephemeral {
        frame.ephemerals.push(Ephemeral { group, timestamp_ms, body });
        return;
    }
    // Their order says nothing, and no id depends on it.
    let mut deps = parents;
    deps.sort_unstable();
    deps.dedup();
    let deps = deps.into_iter().map(DepRef::Id).collect();
    let message = WireMessage { position: None, timestamp_ms, deps, body };
    match frame.batches.last_mut() {
        Some(batch) if batch.group == group => batch.messages.push(message),
        _ => frame.batches.push(Batch { group, messages: vec![message], chain: 0 }),
    }
}

fn group_of(group: GroupRef) -> Result<GroupId, EncodeError> {
    match group {
        GroupRef::Id(id) => Ok(id),
        GroupRef::Number(_) | GroupRef::Unnamed => Err(EncodeError("a group without its id")),
    }
}

fn id_of(dep: &DepRef) -> Result<MessageId, EncodeError> {
    match dep {
        DepRef::Id(id) => Ok(*id),
        DepRef::Position(_) => Err(EncodeError("a position")),
    }
}

fn seconds(timestamp_ms: i64) -> Result<i64, EncodeError> {
    match timestamp_ms % SECOND_MS {
        0 => Ok(timestamp_ms / SECOND_MS),
        _ => Err(EncodeError("a timestamp that is no whole second")),
    }
}
