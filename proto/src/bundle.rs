//! Bundles: our own messages over a carrier that goes one way, so that nobody says HELLO and nothing is named by a number.

use bytes::Bytes;
use prost::Message as _;

use crate::dialect::{Capabilities, Codec};
use crate::frame::{
    Ack, Batch, DecodeError, DepRef, EncodeError, Frame, GroupRef, Offer, OfferItem, Request, Unavailable,
    WireMessage,
};
use crate::ids::{GroupId, MessageId};

/// The structs that the protobuf compiler made of `proto/hedgerow/v1/bundle.proto`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
mod v1 {
    include!(concat!(env!("OUT_DIR"), "/hedgerow.bundle.v1.rs"));
}

const VERSION: u32 = 1;

/// Codec of bundles (`docs/protocol.md`, section 12). It keeps no state between frames.
#[derive(Debug, Clone, Default)]
pub struct BundleCodec(());

impl BundleCodec {
    /// A new codec.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Codec for BundleCodec {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            sessions: false,
            positions: false,
            unavailable: true,
            ephemeral: false,
            deps: true,
            frame_numbers: false,
            opening: false,
            max_offers: usize::MAX,
            // Timestamp 11, and three tags and lengths.
            message_overhead: 24,
            dep_size: 32,
        }
    }

    fn encode(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let lossy = frame.number.is_some() || frame.ping || !frame.frame_acks.is_empty();
        if frame.hello.is_some() || frame.names_groups() || lossy {
            return Err(EncodeError("HELLO, ANNOUNCE or a frame number"));
        }
        if frame.speaks_by_keys() {
            return Err(EncodeError("RECONCILE or a short id"));
        }
        if !frame.ephemerals.is_empty() {
            return Err(EncodeError("an ephemeral message"));
        }
        let mut bundle = v1::Bundle { version: VERSION, ..v1::Bundle::default() };
        let (mut acks, mut requests, mut offers, mut gone) = (vec![], vec![], vec![], vec![]);
        for ack in &frame.acks {
            unplaced(ack.held.is_empty() && ack.known.is_empty())?;
            acks.extend(&ack.ids);
        }
        for request in &frame.requests {
            unplaced(request.positions.is_empty())?;
            requests.extend(&request.ids);
        }
        for offer in &frame.offers {
            unplaced(offer.items.iter().all(|item| item.position.is_none()))?;
            offers.extend(offer.items.iter().map(|item| item.id));
        }
        for unavailable in &frame.unavailables {
            unplaced(unavailable.positions.is_empty() && unavailable.tombstones.is_empty())?;
            gone.extend(&unavailable.ids);
        }
        (bundle.acks, bundle.requests) = (joined(&acks), joined(&requests));
        (bundle.offers, bundle.unavailable) = (joined(&offers), joined(&gone));
        for batch in &frame.batches {
            let GroupRef::Id(group) = batch.group else { return Err(EncodeError("a group without its id")) };
            let letters: Result<Vec<_>, _> = batch.messages.iter().map(letter).collect();
            let group = Bytes::copy_from_slice(group.as_bytes());
            bundle.letters.push(v1::Letters { group, letters: letters? });
        }
        // A Vec grows, so that there is always room.
        bundle.encode(out).map_err(|_| EncodeError("a frame of this size"))
    }

    fn decode(&mut self, bytes: Bytes) -> Result<Frame, DecodeError> {
        let bundle = v1::Bundle::decode(bytes).map_err(|error| DecodeError::Malformed(error.to_string()))?;
        if bundle.version != VERSION {
            return Err(DecodeError::Rule { record: "BUNDLE", rule: "the version is 1" });
        }
        let mut frame = Frame::default();
        let group = GroupRef::Unnamed;
        let acks = ids("ACK", &bundle.acks)?;
        if !acks.is_empty() {
            let (held, known) = (Vec::new(), Vec::new());
            frame.acks.push(Ack { group, held, known, ids: acks, duplicates: 0, chain: 0, reset: 0 });
        }
        let requests = ids("REQUEST", &bundle.requests)?;
        if !requests.is_empty() {
            frame.requests.push(Request { group, positions: Vec::new(), ids: requests });
        }
        let offers = ids("OFFER", &bundle.offers)?;
        if !offers.is_empty() {
            let items = offers.into_iter().map(|id| OfferItem { position: None, id }).collect();
            frame.offers.push(Offer { group, items, chain: 0 });
        }
        let gone = ids("UNAVAILABLE", &bundle.unavailable)?;
        if !gone.is_empty() {
            let (positions, tombstones) = (Vec::new(), Vec::new());
            frame.unavailables.push(Unavailable { group, positions, ids: gone, tombstones });
        }
        frame.batches.reserve_exact(bundle.letters.len());
        for letters in bundle.letters {
            let group = <[u8; 32]>::try_from(&letters.group[..])
                .map_err(|_| DecodeError::Rule { record: "MESSAGE", rule: "a group id has 32 bytes" })?;
            let mut messages = Vec::with_capacity(letters.letters.len());
            for letter in letters.letters {
                let deps = ids("MESSAGE", &letter.deps)?.into_iter().map(DepRef::Id).collect();
                let (timestamp_ms, body) = (letter.timestamp_ms, letter.body);
                messages.push(WireMessage { position: None, timestamp_ms, deps, body });
            }
            let group = GroupRef::Id(GroupId::from_bytes(group));
            frame.batches.push(Batch { group, messages, chain: 0 });
        }
        Ok(frame)
    }

    fn clone_box(&self) -> Box<dyn Codec> {
        Box::new(self.clone())
    }
}

fn unplaced(by_id: bool) -> Result<(), EncodeError> {
    if by_id { Ok(()) } else { Err(EncodeError("a position or a tombstone")) }
}

fn letter(message: &WireMessage) -> Result<v1::Letter, EncodeError> {
    unplaced(message.position.is_none())?;
    let mut deps = Vec::with_capacity(message.deps.len());
    for dep in &message.deps {
        let DepRef::Id(id) = dep else { return Err(EncodeError("a position")) };
        deps.push(*id);
    }
    let (timestamp_ms, body) = (message.timestamp_ms, message.body.clone());
    Ok(v1::Letter { timestamp_ms, deps: joined(&deps), body })
}

fn joined(ids: &[MessageId]) -> Bytes {
    let mut bytes = Vec::with_capacity(32 * ids.len());
    ids.iter().for_each(|id| bytes.extend_from_slice(id.as_bytes()));
    bytes.into()
}

fn ids(record: &'static str, bytes: &[u8]) -> Result<Vec<MessageId>, DecodeError> {
    let (ids, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        return Err(DecodeError::Rule { record, rule: "an id has 32 bytes" });
    }
    Ok(ids.iter().map(|id| MessageId::from_bytes(*id)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> MessageId {
        MessageId::from_bytes([n; 32])
    }

    fn everything() -> Frame {
        let group = GroupRef::Unnamed;
        let message = |timestamp_ms, deps: &[u8], body: &'static str| WireMessage {
            position: None,
            timestamp_ms,
            deps: deps.iter().map(|n| DepRef::Id(id(*n))).collect(),
            body: body.into(),
        };
        let batch =
            |n: u8, messages| Batch { group: GroupRef::Id(GroupId::from_bytes([n; 32])), messages, chain: 0 };
        Frame {
            acks: vec![Ack {
                group,
                held: vec![],
                known: vec![],
                ids: vec![id(1), id(2)],
                duplicates: 0,
                chain: 0,
                reset: 0,
            }],
            requests: vec![Request { group, positions: vec![], ids: vec![id(3)] }],
            offers: vec![Offer { group, items: vec![OfferItem { position: None, id: id(4) }], chain: 0 }],
            unavailables: vec![Unavailable {
                group,
                positions: vec![],
                ids: vec![id(5)],
                tombstones: vec![],
            }],
            batches: vec![
                batch(7, vec![message(0, &[], ""), message(i64::MAX, &[1, 2], "two")]),
                batch(8, vec![message(-1, &[9], "x")]),
            ],
            ..Frame::default()
        }
    }

    fn encoded(frame: &Frame) -> Result<Bytes, EncodeError> {
        let mut out = Vec::new();
        BundleCodec::new().encode(frame, &mut out).map(|()| out.into())
    }

    #[test]
    fn everything_that_a_bundle_says_comes_out_as_it_went_in() {
        let frame = everything();
        assert_eq!(BundleCodec::new().decode(encoded(&frame).unwrap()).unwrap(), frame);
        let empty = Frame::default();
        assert_eq!(BundleCodec::new().decode(encoded(&empty).unwrap()).unwrap(), empty);
    }

    /// Written by hand from the text of the specification.
    // spec: bundle
    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let group = GroupRef::Id(GroupId::from_bytes([7; 32]));
        let message = WireMessage {
            position: None,
            timestamp_ms: 300,
            deps: vec![DepRef::Id(id(1))],
            body: "hi".into(),
        };
        let batches = vec![Batch { group, messages: vec![message], chain: 0 }];
        let bytes = encoded(&Frame { batches, ..Frame::default() }).unwrap();
        let letter = [&[0x08, 0xac, 0x02, 0x12, 32][..], &[1; 32], &[0x1a, 2, b'h', b'i']].concat();
        let letters = [&[0x0a, 32][..], &[7; 32], &[0x12, 41], &letter].concat();
        assert_eq!(bytes, [&[0x08, 1, 0x12, 77][..], &letters].concat());
        let ids = [&[0x08, 1, 0x1a, 32][..], &[1; 32], &[0x22, 32], &[2; 32], &[0x2a, 32], &[3; 32]].concat();
        let frame = BundleCodec::new().decode(ids.into()).unwrap();
        assert_eq!(
            (frame.acks[0].ids[0], frame.requests[0].ids[0], frame.offers[0].items[0].id),
            (id(1), id(2), id(3))
        );
    }

    #[test]
    fn what_a_bundle_cannot_say_is_refused() {
        let refused = |change: &dyn Fn(&mut Frame)| {
            let mut frame = everything();
            change(&mut frame);
            assert!(encoded(&frame).is_err(), "{frame:?}");
        };
        let hello =
            crate::Hello { major: 1, minor: 0, nonce: [1; 16], install: 1, max_frame: 1_000, max_offers: 1 };
        refused(&|frame| frame.hello = Some(hello.clone()));
        refused(&|frame| frame.matched = vec![crate::Span { first: 1, last: 1 }]);
        refused(&|frame| frame.number = Some(1));
        refused(&|frame| frame.ping = true);
        refused(&|frame| frame.frame_acks = vec![crate::Span { first: 1, last: 1 }]);
        refused(&|frame| frame.batches[0].group = GroupRef::Number(1));
        refused(&|frame| frame.batches[0].messages[0].position = Some(1));
        refused(&|frame| frame.batches[0].messages[0].deps = vec![DepRef::Position(1)]);
        refused(&|frame| frame.acks[0].held = vec![crate::Span { first: 1, last: 1 }]);
        refused(&|frame| frame.acks[0].known = vec![crate::Span { first: 1, last: 1 }]);
        refused(&|frame| frame.requests[0].positions = vec![crate::Span { first: 1, last: 1 }]);
        refused(&|frame| frame.offers[0].items[0].position = Some(1));
        refused(&|frame| frame.unavailables[0].positions = vec![crate::Span { first: 1, last: 1 }]);
        let tombstone = crate::Tombstone { id: id(1), eff_ms: 0, height: 1 };
        refused(&|frame| frame.unavailables[0].tombstones = vec![tombstone]);
        let group = GroupRef::Unnamed;
        let ephemeral = crate::Ephemeral { group, timestamp_ms: 0, body: Bytes::new() };
        refused(&|frame| frame.ephemerals = vec![ephemeral.clone()]);
    }

    #[test]
    fn wrong_bytes_get_an_error() {
        let wrong: [&[u8]; 6] = [
            &[],
            &[0x08, 2],
            &[0x08, 1, 0x1a, 31],
            &[0x08, 1, 0x1a, 1, 0],
            &[0x08, 1, 0x12, 3, 0x0a, 1, 0],
            &[0x08, 1, 0x12, 2, 0x12, 0],
        ];
        for bytes in wrong {
            assert!(BundleCodec::new().decode(Bytes::copy_from_slice(bytes)).is_err(), "{bytes:?}");
        }
        let unknown = [&[0x08, 1][..], &[0x7a, 1, 0]].concat();
        assert_eq!(BundleCodec::new().decode(unknown.into()).unwrap(), Frame::default());
    }
}
