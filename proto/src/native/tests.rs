use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::frame::{Lacks, Reconcile, ReconcileStep, ShortOffer, Symbols, WireMessage};

fn encode(frame: &Frame) -> Bytes {
    let mut out = Vec::new();
    NativeCodec::new().encode(frame, &mut out).unwrap();
    out.into()
}

fn decode(bytes: &[u8]) -> Result<Frame, DecodeError> {
    NativeCodec::new().decode(Bytes::copy_from_slice(bytes))
}

fn ids() -> impl Strategy<Value = Vec<MessageId>> {
    vec(any::<[u8; 32]>().prop_map(MessageId::from_bytes), 0..4)
}

fn span_lists() -> impl Strategy<Value = Vec<Span>> {
    vec((0_u64..1000, 0_u64..1000), 0..5).prop_map(|pairs| {
        spans::from_wire(&pairs.iter().flat_map(|&(gap, more)| [gap, more]).collect::<Vec<_>>()).unwrap()
    })
}

fn bodies() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

prop_compose! {
    fn batches()(
        group in 1_u32..,
        positions in any::<bool>(),
        chain in any::<u64>(),
        rows in vec((1_u64..50, 0_i64..1 << 40, vec(1_u64..40, 0..3), ids(), bodies()), 1..6),
    ) -> Batch {
        let mut position = 0;
        let messages = rows.into_iter().map(|(gap, timestamp_ms, back, ids, body)| {
            position += gap;
            let here = positions.then_some(position);
            let back = back.into_iter().filter(|b| positions && *b < position);
            let mut deps: Vec<_> = back.map(|b| DepRef::Position(position - b)).collect();
            deps.extend(ids.into_iter().map(DepRef::Id));
            WireMessage { position: here, timestamp_ms, deps, body }
        }).collect();
        Batch { group: GroupRef::Number(group), messages, chain }
    }
}

fn steps() -> impl Strategy<Value = ReconcileStep> {
    prop_oneof![
        Just(ReconcileStep::Ask),
        Just(ReconcileStep::Stop),
        any::<u32>().prop_map(ReconcileStep::More),
        (span_lists(), any::<u64>()).prop_map(|(positions, chain)| ReconcileStep::Known { positions, chain }),
        (any::<u32>(), any::<u64>(), 5_u8..=8, any::<u32>(), 0_usize..5).prop_map(
            |(first, count, width, rest, n)| {
                let bytes = vec![width; n * (usize::from(width) + 3)].into();
                ReconcileStep::Symbols(Symbols { first, count, width, rest, bytes })
            }
        ),
        (1_u8..=8, 0_usize..5, any::<bool>()).prop_map(|(cut, n, more)| {
            ReconcileStep::Lacks(Lacks { cut, ids: vec![cut; n * usize::from(cut)].into(), more })
        }),
    ]
}

prop_compose! {
    fn frames()(
        number in option::of(1_u64..),
        frame_acks in span_lists(),
        ping in any::<bool>(),
        hello in option::of((any::<[u8; 16]>(), any::<u64>(), any::<u32>())),
        announces in vec((any::<[u8; 8]>(), span_lists(), any::<u64>(), any::<bool>()), 0..3),
        acks in vec((span_lists(), span_lists(), ids(), any::<u32>()), 0..3),
        batches in vec(batches(), 0..3),
        asks in vec((span_lists(), ids()), 0..3),
        offers in vec((span_lists(), any::<u8>()), 0..3),
        ephemerals in vec((any::<i64>(), bodies()), 0..3),
        reconciles in vec((any::<u32>(), steps()), 0..3),
        short in vec((span_lists(), any::<u64>()), 0..3),
        in_step in option::of((1_u32.., vec(any::<[u8; 7]>(), 1..5))),
        answers in (span_lists(), span_lists()),
    ) -> Frame {
        let group = GroupRef::Number(9);
        Frame {
            number,
            frame_acks,
            ack_delay_ms: 9,
            ping,
            hello: hello.map(|(nonce, install, n)| Hello {
                major: 1, minor: n, nonce, install, max_frame: n, max_offers: n,
            }),
            announces: announces.into_iter().map(|(tag, held, mark, reset)| Announce {
                number: 3, tag, visibility: Visibility::Visible, held, mark, mark_chain: !mark, reset: reset.into(),
                summary: (mark % 3 > 0).then_some(Summary { count: mark, sample: u128::from(!mark) << 64 | 5 }),
            }).collect(),
            acks: acks.into_iter().map(|(held, known, ids, duplicates)| Ack { group, held, known, ids, duplicates, chain: 77, reset: 0 }).collect(),
            batches,
            requests: asks.iter().cloned().map(|(positions, ids)| Request { group, positions, ids }).collect(),
            unavailables: asks.into_iter().map(|(positions, ids)| {
                let claim = |&id: &MessageId| Tombstone { id, eff_ms: i64::from(id.as_bytes()[0]) - 9, height: u64::from(id.as_bytes()[1]) << 56 };
                let tombstones = ids.iter().map(claim).collect();
                Unavailable { group, positions, ids, tombstones }
            }).collect(),
            offers: offers.into_iter().map(|(spans, byte)| Offer {
                group,
                items: spans.iter().flat_map(|s| s.first..=s.last).take(20)
                    .map(|p| OfferItem { position: Some(p), id: MessageId::from_bytes([byte; 32]) }).collect(),
                chain: 5,
            }).collect(),
            short_offers: short.into_iter().map(|(spans, short)| ShortOffer {
                group,
                items: spans.iter().flat_map(|s| s.first..=s.last).take(20).map(|p| (p, short ^ p)).collect(),
                chain: 6,
            }).collect(),
            ephemerals: ephemerals.into_iter().map(|(timestamp_ms, body)| Ephemeral { group, timestamp_ms, body }).collect(),
            in_step: in_step.map(|(first, values)| InStep { first: first.min(u32::MAX - 9), values }),
            matched: answers.0,
            unmatched: answers.1,
            reconciles: reconciles.into_iter().map(|(salt, step)| Reconcile { group, salt, step }).collect(),
        }
    }
}

proptest! {
    #[test]
    fn a_frame_goes_round(frame in frames()) {
        prop_assert_eq!(decode(&encode(&frame)), Ok(frame));
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn no_damage_panics(frame in frames(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = encode(&frame).to_vec();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = decode(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            let _ = decode(&bytes);
        }
    }
}

// spec: unknown-skipped
#[test]
fn unknown_fields_are_skipped() {
    let frame = Frame { ping: true, ..Frame::default() };
    let mut bytes = encode(&frame).to_vec();
    // Field 2000, length-delimited, three bytes; field 2001, varint.
    bytes.extend([0x82, 0x7d, 3, 1, 2, 3, 0x88, 0x7d, 5]);
    assert_eq!(decode(&bytes), Ok(frame));
}

#[test]
fn a_body_is_a_slice_of_the_frame() {
    let message =
        WireMessage { position: Some(1), timestamp_ms: 1, deps: vec![], body: Bytes::from(vec![7; 5000]) };
    let batch = Batch { group: GroupRef::Number(1), messages: vec![message], chain: 0 };
    let bytes = encode(&Frame { batches: vec![batch], ..Frame::default() });
    let frame = NativeCodec::new().decode(bytes.clone()).unwrap();
    let body = &frame.batches[0].messages[0].body;
    assert!(bytes.as_ptr_range().contains(&body.as_ptr()));
}

#[test]
fn rules_are_named() {
    let bad = |wire: v1::Frame| decode(&wire.encode_to_vec()).unwrap_err().to_string();
    let batch = |messages: Vec<v1::Message>, first, timestamp_ms| v1::Frame {
        batches: vec![v1::Batch { group: 1, first, timestamp_ms, messages, ..Default::default() }],
        ..Default::default()
    };
    let message = v1::Message::default();
    let back = v1::Message { back: vec![5], ..Default::default() };
    assert_eq!(bad(batch(vec![back.clone()], 5, 0)), "MESSAGE: a back-reference names an earlier position");
    assert_eq!(bad(batch(vec![back], 0, 0)), "MESSAGE: a back-reference names an earlier position");
    assert_eq!(
        bad(batch(vec![message.clone(), message.clone()], u64::MAX, 0)),
        "MESSAGE: positions have 64 bits"
    );
    let late = v1::Message { delta_ms: 1, ..Default::default() };
    assert_eq!(bad(batch(vec![late], 1, i64::MAX)), "MESSAGE: timestamps have 64 bits");
    let odd = v1::Message { deps: vec![1; 33].into(), ..Default::default() };
    assert_eq!(bad(batch(vec![odd], 1, 0)), "MESSAGE: ids have 32 bytes each");
    let offer = v1::Offer { group: 1, positions: vec![0, u64::MAX - 1], ids: Bytes::new(), chain: 0, at: 0 };
    assert_eq!(
        bad(v1::Frame { offers: vec![offer], ..Default::default() }),
        "OFFER: as many positions as ids"
    );
}

// spec: one-position
#[test]
fn one_position_and_the_group_one_take_two_bytes_less_and_their_long_forms_are_read() {
    let ack = |known: Vec<Span>| Ack {
        group: GroupRef::Number(1),
        held: vec![Span::one(7)],
        known,
        ids: vec![],
        duplicates: 0,
        chain: 0,
        reset: 0,
    };
    let said = |known| Frame { acks: vec![ack(known)], ..Frame::default() };
    let short = said(vec![Span::one(8)]);
    assert_eq!(encode(&short)[..], [0x2a, 4, 0x40, 7, 0x48, 8]);
    // As it was written before: the number of the group, and lists of one span.
    let long = [0x2a, 10, 0x08, 1, 0x12, 2, 6, 0, 0x1a, 2, 7, 0];
    assert_eq!(decode(&long), Ok(short));
    let several = said(vec![Span { first: 8, last: 9 }]);
    assert_eq!(encode(&several)[..], [0x2a, 6, 0x1a, 2, 7, 1, 0x40, 7]);
    assert_eq!(decode(&encode(&several)), Ok(several));
    let offer = |short| {
        let items = vec![(7, short)];
        let offers = vec![ShortOffer { group: GroupRef::Number(1), items, chain: 0 }];
        Frame { short_offers: offers, ..Frame::default() }
    };
    assert_eq!(encode(&offer(5))[..], [0x8a, 1, 11, 0x28, 7, 0x31, 5, 0, 0, 0, 0, 0, 0, 0]);
    let long = [0x8a, 1, 16, 0x08, 1, 0x12, 2, 6, 0, 0x1a, 8, 0, 0, 0, 0, 0, 0, 0, 5];
    assert_eq!(decode(&long), Ok(offer(5)));
    assert_eq!(decode(&encode(&offer(0))), Ok(offer(0)));
}

#[test]
fn what_cannot_be_read_back_is_not_written() {
    let refused = |frame: &Frame| NativeCodec::new().encode(frame, &mut Vec::new()).is_err();
    let at = |position, timestamp_ms, deps| WireMessage { position, timestamp_ms, deps, body: Bytes::new() };
    let batch = |messages| Frame {
        batches: vec![Batch { group: GroupRef::Number(1), messages, chain: 0 }],
        ..Frame::default()
    };
    let id = DepRef::Id(MessageId::from_bytes([1; 32]));
    let unnamed = Request { group: GroupRef::Number(0), positions: vec![], ids: vec![] };
    assert!(refused(&Frame { requests: vec![unnamed], ..Frame::default() }));
    assert!(refused(&Frame { number: Some(0), ..Frame::default() }));
    assert!(refused(&Frame { frame_acks: vec![Span { first: 5, last: 1 }], ..Frame::default() }));
    assert!(refused(&batch(vec![at(Some(0), 0, vec![])])));
    assert!(refused(&batch(vec![at(Some(u64::MAX), 0, vec![])])));
    assert!(refused(&batch(vec![at(Some(2), 0, vec![]), at(Some(2), 0, vec![])])));
    assert!(refused(&batch(vec![at(Some(2), 0, vec![]), at(None, 0, vec![])])));
    assert!(refused(&batch(vec![at(Some(1), i64::MAX, vec![]), at(Some(2), i64::MIN, vec![])])));
    assert!(refused(&batch(vec![at(Some(2), 0, vec![DepRef::Position(0)])])));
    assert!(refused(&batch(vec![at(Some(2), 0, vec![DepRef::Position(2)])])));
    assert!(refused(&batch(vec![at(Some(2), 0, vec![id, DepRef::Position(1)])])));
    let offer = |positions: &[Option<u64>]| {
        let item = |&position| OfferItem { position, id: MessageId::from_bytes([1; 32]) };
        let items = positions.iter().map(item).collect();
        Frame { offers: vec![Offer { group: GroupRef::Number(1), items, chain: 0 }], ..Frame::default() }
    };
    assert!(refused(&offer(&[None])));
    assert!(refused(&offer(&[Some(5), Some(6), Some(6)])));
    assert!(refused(&offer(&[Some(u64::MAX), Some(5)])));
    let ack = Ack {
        group: GroupRef::Unnamed,
        held: vec![],
        known: vec![],
        ids: vec![],
        duplicates: 0,
        chain: 0,
        reset: 0,
    };
    assert!(refused(&Frame { acks: vec![ack], ..Frame::default() }));
    let step = |step| {
        let record = Reconcile { group: GroupRef::Number(1), salt: 0, step };
        Frame { reconciles: vec![record], ..Frame::default() }
    };
    let symbols = |width, bytes| {
        let bytes = Bytes::from_static(bytes);
        step(ReconcileStep::Symbols(Symbols { first: 0, count: 0, width, rest: 0, bytes }))
    };
    assert!(refused(&symbols(4, &[0; 7])) && refused(&symbols(9, &[0; 12])) && refused(&symbols(5, &[0; 7])));
    let lacks =
        |cut, ids| step(ReconcileStep::Lacks(Lacks { cut, ids: Bytes::from_static(ids), more: false }));
    assert!(refused(&lacks(0, &[])) && refused(&lacks(9, &[0; 9])) && refused(&lacks(2, &[0; 3])));
}

// spec: reconcile-unknown
#[test]
fn a_step_that_is_unknown_is_skipped() {
    // Field 13, a record of group 1 with a field 99 of one byte in place of a step.
    let bytes = [0x6a, 6, 0x08, 1, 0x9a, 0x06, 1, 7];
    assert_eq!(decode(&bytes), Ok(Frame::default()));
}

/// What [`batch::read`] is to be the same as: by way of the structs that the protobuf compiler made.
fn batch_by_structs(bytes: &[u8]) -> Result<Batch, DecodeError> {
    let wire = v1::Batch::decode(bytes).map_err(|error| DecodeError::Malformed(error.to_string()))?;
    let rule = |rule| DecodeError::Rule { record: "MESSAGE", rule };
    let v1::Batch { mut messages, back, deps, body, .. } = wire;
    if !(back.is_empty() && deps.is_empty() && body.is_empty()) {
        if body.is_empty() || !messages.is_empty() {
            return Err(rule("messages, or one with a body in their place"));
        }
        messages.push(v1::Message { back, deps, body, ..Default::default() });
    }
    let mut batch = Batch {
        group: group_of(wire.group),
        messages: Vec::with_capacity(messages.len()),
        chain: wire.chain,
    };
    let mut next = wire.first;
    let mut time = wire.timestamp_ms;
    for message in messages {
        let position = if wire.first == 0 {
            None
        } else {
            let position = next.checked_add(message.gap).ok_or(rule("positions have 64 bits"))?;
            next = position.checked_add(1).ok_or(rule("positions have 64 bits"))?;
            Some(position)
        };
        time = time.checked_add(message.delta_ms).ok_or(rule("timestamps have 64 bits"))?;
        let mut deps = Vec::with_capacity(message.back.len() + message.deps.len() / 32);
        for back in message.back {
            let earlier = position
                .and_then(|p| p.checked_sub(back))
                .filter(|&p| p > 0 && back > 0)
                .ok_or(rule("a back-reference names an earlier position"))?;
            deps.push(DepRef::Position(earlier));
        }
        deps.extend(ids_from_wire("MESSAGE", &message.deps)?.into_iter().map(DepRef::Id));
        batch.messages.push(WireMessage { position, timestamp_ms: time, deps, body: message.body });
    }
    Ok(batch)
}

proptest! {
    /// Whatever stands in a batch, well-formed or not: what is read, and whether it is refused, is the same.
    #[test]
    fn batches_are_read_as_their_structs_would_be(
        batch in batches(),
        cuts in vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 0..4),
        twice in any::<bool>(),
    ) {
        let mut bytes = batch_to_wire(&batch).unwrap().encode_to_vec();
        if twice {
            // Fields that come again, numbers after the messages that they count for.
            bytes.extend_from_within(..);
        }
        for (at, byte, how) in cuts {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                _ => bytes.truncate(at),
            }
        }
        let whole = Bytes::from(bytes);
        match (batch::read(&whole, &whole), batch_by_structs(&whole)) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
            (Err(DecodeError::Rule { .. } | DecodeError::Malformed(_)), Err(_)) => {}
            (ours, theirs) => prop_assert!(false, "{:?}, and not {:?}", ours, theirs),
        }
    }
}

/// Room for a batch is taken once, for as many messages as are there.
#[test]
fn room_for_the_messages_of_a_batch_is_taken_in_advance() {
    let message = |position| WireMessage {
        position: Some(position),
        timestamp_ms: 5,
        deps: Vec::new(),
        body: Bytes::from_static(&[7; 40]),
    };
    let messages: Vec<WireMessage> = (1..=100).map(message).collect();
    let batch = Batch { group: GroupRef::Number(1), messages, chain: 0 };
    let frame = decode(&encode(&Frame { batches: vec![batch], ..Frame::default() })).unwrap();
    let room = frame.batches[0].messages.capacity();
    assert!((100..128).contains(&room), "{room} for 100");
}
