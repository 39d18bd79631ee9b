//! The wires of deployed messengers: golden vectors of other implementations, limits, and bytes of any kind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::PathBuf;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hedgerow_proto::bramble::{self, BrambleCodec, Record, record_len};
use hedgerow_proto::limits::{BSP_MAX_IDS, BSP_MAX_RECORD, MAX_BODY};
use hedgerow_proto::mvds::{self, Metadata, MvdsCodec, Payload, PayloadMessage};
use hedgerow_proto::{
    Ack, Announce, Batch, Codec, DecodeError, DepRef, Ephemeral, Frame, GroupDescriptor, GroupId, GroupRef,
    Hello, IdScheme, InStep, Message, MessageError, MessageId, Offer, OfferItem, Reconcile, ReconcileStep,
    Request, ShortOffer, Span, Unavailable, Visibility, WireMessage,
};
use proptest::prelude::*;
use serde_json::Value;

fn vectors(file: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(file);
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn list<'a>(of: &'a Value, name: &str) -> &'a Vec<Value> {
    let list = of[name].as_array().unwrap();
    assert!(!list.is_empty(), "there is no {name}");
    list
}

fn hex(value: &Value) -> Vec<u8> {
    HEXLOWER.decode(value.as_str().unwrap().as_bytes()).unwrap()
}

fn ids(value: &Value) -> Vec<MessageId> {
    value.as_array().unwrap().iter().map(|id| id.as_str().unwrap().parse().unwrap()).collect()
}

fn message_of(vector: &Value) -> PayloadMessage {
    let metadata = vector["metadata"].as_object().map(|metadata| Metadata {
        parents: ids(&metadata["parents"]),
        ephemeral: metadata["ephemeral"].as_bool().unwrap(),
    });
    PayloadMessage {
        group: vector["group"].as_str().unwrap().parse().unwrap(),
        timestamp_s: vector["timestamp_s"].as_i64().unwrap(),
        body: hex(&vector["body"]).into(),
        metadata,
    }
}

/// A payload with this one message, as the field `tag` holds it.
fn wrapped(tag: &[u8], message: &[u8]) -> Bytes {
    let mut out = tag.to_vec();
    let mut len = message.len();
    while len > 127 {
        out.push(u8::try_from(len % 128).unwrap() | 128);
        len /= 128;
    }
    out.push(u8::try_from(len).unwrap());
    out.extend_from_slice(message);
    out.into()
}

fn encoded(payload: &Payload) -> Vec<u8> {
    let mut out = Vec::new();
    payload.encode(&mut out);
    out
}

#[test]
fn dialect_mvds_messages_are_read_and_written_byte_for_byte() {
    for vector in list(&vectors("mvds.json"), "messages") {
        let (name, bytes) = (vector["name"].as_str().unwrap(), &vector["bytes"]);
        let message = message_of(vector);
        assert_eq!(message.id().to_string(), vector["id"].as_str().unwrap(), "{name}");
        let plain = PayloadMessage { metadata: None, ..message.clone() };
        let deployed = [0xe2, 0xb8, 0x02];
        for (bytes, message) in [(&bytes["metadata"], &message), (&bytes["deployed"], &plain)] {
            let wire = wrapped(&deployed, &hex(bytes));
            let payload = Payload { messages: vec![message.clone()], ..Payload::default() };
            assert_eq!(Payload::decode(wire.clone()), Ok(payload.clone()), "{name}");
            assert_eq!(encoded(&payload), wire, "{name}");
        }
        let old = Payload::decode(wrapped(&[0x22], &hex(&bytes["old"])));
        assert_eq!(old.unwrap().messages, [message], "{name}");
    }
}

#[test]
fn dialect_mvds_payloads_are_read_and_written_byte_for_byte() {
    let all = vectors("mvds.json");
    let named = |name: &Value| list(&all, "messages").iter().find(|m| m["name"] == *name).map(message_of);
    for vector in list(&all, "payloads") {
        let name = vector["name"].as_str().unwrap();
        let messages = vector["messages"].as_array().unwrap();
        let messages: Vec<PayloadMessage> = messages.iter().map(|name| named(name).unwrap()).collect();
        let payload = Payload {
            acks: ids(&vector["acks"]),
            offers: ids(&vector["offers"]),
            requests: ids(&vector["requests"]),
            messages,
            group_offers: vec![],
        };
        let bytes = |wire: &str| Bytes::from(hex(&vector["bytes"][wire]));
        assert_eq!(Payload::decode(bytes("metadata")), Ok(payload.clone()), "{name}");
        assert_eq!(encoded(&payload), bytes("metadata"), "{name}");
        assert_eq!(Payload::decode(bytes("old")), Ok(payload.clone()), "{name}");
        // The same through the codec, with metadata written and not.
        for (wire, metadata) in [("metadata", true), ("deployed", false)] {
            let mut codec = MvdsCodec::new(metadata);
            let frame = codec.decode(bytes(wire)).unwrap();
            let mut out = Vec::new();
            codec.encode(&frame, &mut out).unwrap();
            assert_eq!(out, bytes(wire), "{name}, {wire}");
        }
    }
}

#[test]
fn dialect_mvds_ids_of_messages_in_the_engine_are_those_of_the_wire() {
    for vector in list(&vectors("mvds.json"), "messages") {
        let wire = message_of(vector);
        let Some(timestamp_ms) = wire.timestamp_s.checked_mul(1000).filter(|ms| *ms >= 0) else { continue };
        let message = Message::new(wire.group, timestamp_ms, vec![], wire.body.clone()).unwrap();
        assert_eq!(IdScheme::Mvds.admit(&message), Ok(()));
        assert_eq!(IdScheme::Mvds.message_id(&message), wire.id());
        let between = Message::new(wire.group, timestamp_ms + 1, vec![], wire.body).unwrap();
        assert_eq!(IdScheme::Mvds.admit(&between), Err(MessageError::TimestampUnit(timestamp_ms + 1)));
    }
}

#[test]
fn dialect_mvds_group_ids_of_another_length_are_refused() {
    for len in [0, 1, 31, 33, 64] {
        let mut message = vec![0x8a, 0xf7, 0x02, len];
        message.extend(std::iter::repeat_n(7, usize::from(len)));
        let refused = Payload::decode(wrapped(&[0xe2, 0xb8, 0x02], &message));
        let rule = DecodeError::Rule { record: "MESSAGE", rule: "the id of a group has 32 bytes" };
        assert_eq!(refused, Err(rule), "{len} bytes");
    }
    assert_eq!(IdScheme::Mvds.group_id(&GroupDescriptor::new("x", 0, vec![0; 31]).unwrap()), None);
    let id = GroupId::from_bytes([9; 32]);
    assert_eq!(IdScheme::Mvds.group_id(&GroupDescriptor::of_id(id)), Some(id));
}

#[test]
fn dialect_mvds_ids_of_another_length_are_refused() {
    for tag in [[0xca, 0xb8, 0x02], [0xd2, 0xb8, 0x02], [0xda, 0xb8, 0x02]] {
        for len in [0, 31, 33] {
            assert!(Payload::decode(wrapped(&tag, &vec![1; len])).is_err(), "{tag:?}, {len} bytes");
        }
    }
}

#[test]
fn dialect_mvds_offers_that_name_their_group_are_read() {
    let (group, other) = (GroupId::from_bytes([1; 32]), GroupId::from_bytes([2; 32]));
    let id = |n| MessageId::from_bytes([n; 32]);
    let group_offers = vec![(group, id(1)), (group, id(2)), (other, id(3))];
    let payload = Payload { group_offers, ..Payload::default() };
    assert_eq!(Payload::decode(encoded(&payload).into()), Ok(payload.clone()));
    let frame = MvdsCodec::new(false).decode(encoded(&payload).into()).unwrap();
    let offer = |group, ids: &[u8]| Offer {
        group: GroupRef::Id(group),
        items: ids.iter().map(|n| OfferItem { position: None, id: id(*n) }).collect(),
        chain: 0,
    };
    assert_eq!(frame.offers, [offer(group, &[1, 2]), offer(other, &[3])]);
}

#[test]
fn dialect_mvds_a_time_beyond_milliseconds_is_one_that_no_message_may_have() {
    let message = PayloadMessage {
        group: GroupId::from_bytes([1; 32]),
        timestamp_s: i64::MAX,
        body: Bytes::new(),
        metadata: None,
    };
    let payload = Payload { messages: vec![message], ..Payload::default() };
    let frame = MvdsCodec::new(false).decode(encoded(&payload).into()).unwrap();
    assert_eq!(frame.batches[0].messages[0].timestamp_ms, i64::MIN);
}

/// Neighbours of one group make one batch of the engine's frame; a batch never takes what is of another group.
#[test]
fn dialect_mvds_messages_of_several_groups_stay_in_their_groups() {
    let message = |group: u8, body: u8| PayloadMessage {
        group: GroupId::from_bytes([group; 32]),
        timestamp_s: 1,
        body: vec![body].into(),
        metadata: None,
    };
    let messages = vec![message(1, 1), message(1, 2), message(2, 3), message(1, 4)];
    let payload = Payload { messages, ..Payload::default() };
    let frame = MvdsCodec::new(true).decode(encoded(&payload).into()).unwrap();
    let said: Vec<(GroupRef, Vec<u8>)> = frame
        .batches
        .iter()
        .map(|batch| (batch.group, batch.messages.iter().map(|message| message.body[0]).collect()))
        .collect();
    let group = |group: u8| GroupRef::Id(GroupId::from_bytes([group; 32]));
    assert_eq!(said, [(group(1), vec![1, 2]), (group(2), vec![3]), (group(1), vec![4])]);
}

#[test]
fn dialect_what_a_wire_has_no_word_for_is_not_written() {
    let message = |timestamp_ms, deps, position| {
        let group = GroupRef::Id(GroupId::from_bytes([1; 32]));
        let messages = vec![WireMessage { position, timestamp_ms, deps, body: "x".into() }];
        Frame { batches: vec![Batch { group, messages, chain: 0 }], ..Frame::default() }
    };
    let dep = || vec![DepRef::Id(MessageId::from_bytes([1; 32]))];
    let mut out = b"before".to_vec();
    for frame in [message(1500, vec![], None), message(1000, dep(), None), message(1000, vec![], Some(1))] {
        assert!(MvdsCodec::new(false).encode(&frame, &mut out).is_err(), "{frame:?}");
    }
    assert!(MvdsCodec::new(true).encode(&message(1000, dep(), None), &mut vec![]).is_ok());
    for frame in [message(-1, vec![], None), message(1, dep(), None), message(1, vec![], Some(1))] {
        assert!(BrambleCodec::new(None).encode(&frame, &mut out).is_err(), "{frame:?}");
    }
    assert_eq!(out, b"before");
}

/// Each thing that only our own wire can say, alone in a frame.
fn unsayable() -> Vec<(&'static str, Frame)> {
    let (one, id) = (Span { first: 1, last: 1 }, MessageId::from_bytes([1; 32]));
    let group = GroupRef::Id(GroupId::from_bytes([7; 32]));
    let ack = |held: &[Span], known: &[Span]| {
        let (held, known) = (held.to_vec(), known.to_vec());
        vec![Ack { group, held, known, ids: vec![id], duplicates: 0, chain: 0, reset: 0 }]
    };
    let hello = Hello { major: 1, minor: 0, nonce: [1; 16], install: 1, max_frame: 1_000, max_offers: 1 };
    let (tag, visibility) = ([1; 8], Visibility::Shared);
    let announce = Announce {
        number: 1,
        tag,
        visibility,
        held: vec![],
        mark: 0,
        mark_chain: 0,
        reset: 0,
        summary: None,
    };
    let message = |position, deps| WireMessage { position, timestamp_ms: 1_000, deps, body: "x".into() };
    let batch = |message| vec![Batch { group, messages: vec![message], chain: 0 }];
    let items = vec![OfferItem { position: Some(1), id }];
    let frame = Frame::default;
    vec![
        ("a number", Frame { number: Some(1), ..frame() }),
        ("a ping", Frame { ping: true, ..frame() }),
        ("acknowledged frames", Frame { frame_acks: vec![one], ..frame() }),
        ("HELLO", Frame { hello: Some(hello), ..frame() }),
        ("ANNOUNCE", Frame { announces: vec![announce], ..frame() }),
        ("IN-STEP", Frame { in_step: Some(InStep { first: 1, values: vec![[0; 7]] }), ..frame() }),
        ("matched numbers", Frame { matched: vec![one], ..frame() }),
        ("unmatched numbers", Frame { unmatched: vec![one], ..frame() }),
        (
            "RECONCILE",
            Frame { reconciles: vec![Reconcile { group, salt: 0, step: ReconcileStep::Ask }], ..frame() },
        ),
        (
            "an offer by short ids",
            Frame { short_offers: vec![ShortOffer { group, items: vec![(1, 1)], chain: 0 }], ..frame() },
        ),
        ("held positions", Frame { acks: ack(&[one], &[]), ..frame() }),
        ("known positions", Frame { acks: ack(&[], &[one]), ..frame() }),
        ("an offered position", Frame { offers: vec![Offer { group, items, chain: 0 }], ..frame() }),
        (
            "requested positions",
            Frame { requests: vec![Request { group, positions: vec![one], ids: vec![] }], ..frame() },
        ),
        (
            "unavailable positions",
            Frame {
                unavailables: vec![Unavailable {
                    group,
                    positions: vec![one],
                    ids: vec![id],
                    tombstones: vec![],
                }],
                ..frame()
            },
        ),
        ("a message's position", Frame { batches: batch(message(Some(1), vec![])), ..frame() }),
        (
            "a dependency's position",
            Frame { batches: batch(message(None, vec![DepRef::Position(1)])), ..frame() },
        ),
        (
            "a group without its id",
            Frame {
                batches: vec![Batch {
                    group: GroupRef::Number(1),
                    messages: vec![message(None, vec![])],
                    chain: 0,
                }],
                ..frame()
            },
        ),
    ]
}

#[test]
fn dialect_each_thing_that_only_our_own_wire_says_is_refused_by_the_others() {
    for (what, frame) in unsayable() {
        let codecs: [Box<dyn Codec>; 2] = [Box::new(MvdsCodec::new(true)), Box::new(BrambleCodec::new(None))];
        for mut codec in codecs {
            let mut out = b"before".to_vec();
            let refused = codec.encode(&frame, &mut out);
            assert!(refused.is_err(), "{what}: {codec:?}");
            assert_eq!(out, b"before", "{what}: {codec:?}");
        }
    }
    // And what only one of them has no word for.
    let group = GroupRef::Id(GroupId::from_bytes([7; 32]));
    let ephemeral = Ephemeral { group, timestamp_ms: 1_000, body: "x".into() };
    let frame = Frame { ephemerals: vec![ephemeral], ..Frame::default() };
    assert!(BrambleCodec::new(None).encode(&frame, &mut Vec::new()).is_err());
    assert!(MvdsCodec::new(false).encode(&frame, &mut Vec::new()).is_err());
    assert!(MvdsCodec::new(true).encode(&frame, &mut Vec::new()).is_ok());
    for (timestamp_ms, body) in [(-1, "x".into()), (1, Bytes::new()), (1, vec![0; MAX_BODY + 1].into())] {
        let message = WireMessage { position: None, timestamp_ms, deps: vec![], body };
        let frame =
            Frame { batches: vec![Batch { group, messages: vec![message], chain: 0 }], ..Frame::default() };
        assert!(BrambleCodec::new(None).encode(&frame, &mut Vec::new()).is_err());
    }
}

#[test]
fn dialect_bramble_messages_at_the_limits_go_in_batches_of_their_group() {
    let groups = [7, 7, 8, 7].map(|n| GroupRef::Id(GroupId::from_bytes([n; 32])));
    let mut frame = Frame::default();
    for (n, group) in groups.into_iter().enumerate() {
        let body = vec![1; if n == 0 { MAX_BODY } else { 1 }].into();
        let message = WireMessage { position: None, timestamp_ms: 0, deps: vec![], body };
        frame.batches.push(Batch { group, messages: vec![message], chain: 0 });
    }
    let mut out = Vec::new();
    BrambleCodec::new(None).encode(&frame, &mut out).unwrap();
    let read = BrambleCodec::new(None).decode(out.into()).unwrap();
    let batches: Vec<_> = read.batches.iter().map(|batch| (batch.group, batch.messages.len())).collect();
    assert_eq!(batches, [(groups[0], 2), (groups[2], 1), (groups[3], 1)]);
    assert_eq!(read.batches[0].messages[0].body.len(), MAX_BODY);
}

#[test]
fn dialect_bramble_ids_are_those_of_the_vectors() {
    let all = vectors("bramble.json");
    for vector in list(&all, "groups") {
        let client = vector["client_id"].as_str().unwrap();
        let major = u32::try_from(vector["major_version"].as_u64().unwrap()).unwrap();
        let descriptor = GroupDescriptor::new(client, major, hex(&vector["descriptor"])).unwrap();
        let id = IdScheme::Bramble.group_id(&descriptor).unwrap();
        assert_eq!(id.to_string(), vector["id"].as_str().unwrap());
    }
    for vector in list(&all, "messages") {
        let group = vector["group"].as_str().unwrap().parse().unwrap();
        let timestamp_ms = vector["timestamp_ms"].as_i64().unwrap();
        let message = Message::new(group, timestamp_ms, vec![], hex(&vector["body"]).into()).unwrap();
        assert_eq!(IdScheme::Bramble.message_id(&message).to_string(), vector["id"].as_str().unwrap());
    }
}

fn records(bytes: Vec<u8>) -> Vec<Record> {
    let mut bytes = Bytes::from(bytes);
    let mut all = Vec::new();
    while !bytes.is_empty() {
        all.push(Record::decode(&mut bytes).unwrap());
    }
    all
}

#[test]
fn dialect_bramble_records_of_a_real_session_are_read_and_written_byte_for_byte() {
    let session = &vectors("bramble.json")["session"];
    for side in ["initiator", "responder"] {
        let bytes = hex(&session[side]);
        let records = records(bytes.clone());
        let mut out = Vec::new();
        records.iter().for_each(|record| record.encode(&mut out));
        assert_eq!(out, bytes, "{side}");
    }
    // The ids that are offered are those of the messages that follow.
    let mut offered = Vec::new();
    let mut sent = Vec::new();
    for record in records(hex(&session["initiator"])) {
        match record {
            Record::Offer(ids) => offered = ids,
            Record::Message { group, timestamp_ms, body } => {
                assert_eq!(group.to_string(), session["group"].as_str().unwrap());
                sent.push(bramble::message_id(group, timestamp_ms, &body));
            }
            _ => {}
        }
    }
    assert_eq!(offered, sent);
    assert_eq!(sent.len(), 3);
}

fn record(version: u8, kind: u8, payload: &[u8]) -> Bytes {
    let mut out = vec![version, kind];
    out.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
    out.extend_from_slice(payload);
    out.into()
}

#[test]
fn dialect_bramble_records_within_the_limits_are_read_and_those_beyond_are_not() {
    let takes = |kind, payload: &[u8]| Record::decode(&mut record(0, kind, payload)).is_ok();
    for kind in [0, 2, 3, 0x48] {
        assert!(takes(kind, &[1; 32]) && takes(kind, &vec![1; 32 * BSP_MAX_IDS]), "type {kind}");
        for len in [0, 1, 31, 33, 32 * BSP_MAX_IDS + 32] {
            assert!(!takes(kind, &vec![1; len]), "type {kind}, {len} bytes");
        }
    }
    assert!(takes(1, &[0; 41]) && takes(1, &vec![0; 40 + MAX_BODY]));
    for len in [0, 31, 40, 41 + MAX_BODY] {
        assert!(!takes(1, &vec![0; len]), "MESSAGE of {len} bytes");
    }
    let mut negative = vec![0; 41];
    negative[32] = 0x80;
    assert!(!takes(1, &negative));
    assert!(takes(4, &[0]) && takes(4, &[0; 10]) && !takes(4, &[]) && !takes(4, &[0; 11]));
    assert!(takes(5, &[0; 16]) && !takes(5, &[0; 15]) && !takes(5, &[0; 17]));
    // An unknown type is skipped, another version of the format is not.
    assert_eq!(Record::decode(&mut record(0, 9, b"anything")), Ok(Record::Unknown(9)));
    assert!(Record::decode(&mut record(1, 0, &[1; 32])).is_err());
    assert!(Record::decode(&mut record(0, 9, &vec![0; BSP_MAX_RECORD + 1])).is_err());
    assert!(Record::decode(&mut record(0, 0, &[1; 32]).slice(..20)).is_err());
    assert_eq!(record_len(&[0, 0, 0]), Ok(None));
    assert_eq!(record_len(&[0, 0, 0, 32]), Ok(Some(36)));
}

#[test]
fn dialect_bramble_peers_without_version_0_are_refused() {
    let mut codec = BrambleCodec::new(None);
    assert!(codec.decode(record(0, 4, &[0, 1])).is_ok());
    let rule = DecodeError::Rule { record: "VERSIONS", rule: "version 0 is among them" };
    assert_eq!(codec.decode(record(0, 4, &[1, 2])), Err(rule));
}

#[test]
fn dialect_bramble_a_stream_begins_with_versions_and_the_priority_of_its_maker() {
    for (priority, begins) in [(None, "0004000100"), (Some([0; 16]), "0004000100000500100000")] {
        let mut codec = BrambleCodec::new(priority);
        let mut out = Vec::new();
        codec.encode(&Frame::default(), &mut out).unwrap();
        assert!(HEXLOWER.encode(&out).starts_with(begins));
        let mut again = Vec::new();
        codec.encode(&Frame::default(), &mut again).unwrap();
        assert!(again.is_empty());
    }
}

#[test]
fn dialect_bramble_long_lists_become_several_records() {
    let ids: Vec<MessageId> = (0..4000_u32)
        .map(|n| {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&n.to_be_bytes());
            MessageId::from_bytes(id)
        })
        .collect();
    let mut out = Vec::new();
    Record::Ack(ids.clone()).encode(&mut out);
    let read = records(out);
    assert_eq!(read.len(), 3);
    let read = read.into_iter().flat_map(|record| match record {
        Record::Ack(ids) => ids,
        other => panic!("{other:?}"),
    });
    assert_eq!(read.collect::<Vec<_>>(), ids);
}

fn any_id() -> impl Strategy<Value = MessageId> {
    any::<[u8; 32]>().prop_map(MessageId::from_bytes)
}

fn any_payload() -> impl Strategy<Value = Payload> {
    let metadata = proptest::option::of((proptest::collection::vec(any_id(), 0..4), any::<bool>()));
    let message = (any::<[u8; 32]>(), any::<i64>(), proptest::collection::vec(any::<u8>(), 0..64), metadata);
    let message = message.prop_map(|(group, timestamp_s, body, metadata)| PayloadMessage {
        group: GroupId::from_bytes(group),
        timestamp_s,
        body: body.into(),
        metadata: metadata.map(|(parents, ephemeral)| Metadata { parents, ephemeral }),
    });
    let ids = || proptest::collection::vec(any_id(), 0..4);
    let offers = proptest::collection::vec((any::<[u8; 32]>().prop_map(GroupId::from_bytes), any_id()), 0..4);
    (ids(), ids(), ids(), proptest::collection::vec(message, 0..4), offers).prop_map(
        |(acks, offers, requests, messages, group_offers)| Payload {
            acks,
            offers,
            requests,
            messages,
            group_offers,
        },
    )
}

proptest! {
    #[test]
    fn dialect_mvds_payloads_go_round(payload in any_payload()) {
        prop_assert_eq!(Payload::decode(encoded(&payload).into()), Ok(payload));
    }

    /// Whatever bytes are read have one canonical form, and the same is read of that.
    #[test]
    fn dialect_mvds_bytes_of_any_kind_are_refused_or_have_one_form(
        payload in any_payload(),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = encoded(&payload);
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = with;
            let len = bytes.len() + 1;
            bytes.truncate(cut.index(len * 2).min(len));
        }
        if let Ok(read) = Payload::decode(bytes.clone().into()) {
            prop_assert_eq!(Payload::decode(encoded(&read).into()), Ok(read));
            prop_assert!(MvdsCodec::new(true).decode(bytes.into()).is_ok());
        }
    }

    #[test]
    fn dialect_bramble_bytes_of_any_kind_are_refused_or_read(
        bytes in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(32), any::<u8>()], 0..200),
    ) {
        let mut rest = Bytes::from(bytes.clone());
        while let Ok(record) = Record::decode(&mut rest) {
            let mut out = Vec::new();
            record.encode(&mut out);
            if !matches!(record, Record::Unknown(_)) {
                prop_assert_eq!(Record::decode(&mut Bytes::from(out)), Ok(record));
            }
        }
        let _ = BrambleCodec::new(None).decode(bytes.into());
    }

    /// No two messages have the same id unless group, time and body are the same.
    #[test]
    fn dialect_ids_follow_from_group_time_and_body(
        a in (any::<[u8; 32]>(), 0..4_i64, proptest::collection::vec(0..3_u8, 0..4)),
        b in (any::<[u8; 32]>(), 0..4_i64, proptest::collection::vec(0..3_u8, 0..4)),
    ) {
        let mvds = |(group, time, body): &([u8; 32], i64, Vec<u8>)| {
            mvds::message_id(GroupId::from_bytes(*group), *time, body)
        };
        let bsp = |(group, time, body): &([u8; 32], i64, Vec<u8>)| {
            bramble::message_id(GroupId::from_bytes(*group), *time, body)
        };
        prop_assert_eq!(mvds(&a) == mvds(&b), a == b);
        prop_assert_eq!(bsp(&a) == bsp(&b), a == b);
    }
}
