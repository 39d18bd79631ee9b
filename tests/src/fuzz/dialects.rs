//! Wires beside the native one: bundles, MVDS payloads, BSP records, and where one ends on a plain stream.

use bytes::Bytes;
use hedgerow_proto::bramble::{BrambleCodec, Record, record_len};
use hedgerow_proto::mvds::{MvdsCodec, Payload};
use hedgerow_proto::{BundleCodec, Codec as _, DepRef, Frame, GroupId, Message};
use hedgerow_transports::LinkError;
use hedgerow_transports::fuzzing::plain_frames;

/// A bundle is refused, or what is written of it is read as the same.
pub fn bundle(bytes: &[u8]) {
    let mut codec = BundleCodec::new();
    let Ok(frame) = codec.decode(Bytes::copy_from_slice(bytes)) else { return };
    let mut written = b"before".to_vec();
    codec.encode(&frame, &mut written).expect("what was read can be written");
    let written = Bytes::from(written).slice(6..);
    assert_eq!(codec.decode(written.clone()).as_ref(), Ok(&frame));
    let mut again = Vec::new();
    codec.encode(&frame, &mut again).expect("it was written before");
    assert_eq!(again, written);
    bounded(&frame);
}

/// A payload is refused, or written again in the deployed numbering to one that says the same; and so is the frame
/// that the engine gets of it.
pub fn mvds(bytes: &[u8]) {
    let read = Payload::decode(Bytes::copy_from_slice(bytes));
    let mut codec = MvdsCodec::new(true);
    let frame = codec.decode(Bytes::copy_from_slice(bytes));
    assert_eq!(read.is_ok(), frame.is_ok());
    let (Ok(payload), Ok(frame)) = (read, frame) else { return };
    let mut written = Vec::new();
    payload.encode(&mut written);
    assert_eq!(Payload::decode(written.clone().into()).as_ref(), Ok(&payload), "it says the same");
    let mut again = Vec::new();
    payload.encode(&mut again);
    assert_eq!(again, written);
    for message in &payload.messages {
        let mut bare = message.clone();
        bare.metadata = None;
        assert_eq!(bare.id(), message.id(), "metadata is not in the id");
    }
    // What the engine would say of it; an offer that names its group is read only.
    if !payload.group_offers.is_empty() {
        return;
    }
    let out_of_range = |time: i64| time.checked_mul(1000).is_none();
    let mut written = b"before".to_vec();
    if payload.messages.iter().any(|message| out_of_range(message.timestamp_s)) {
        codec.encode(&frame, &mut written).expect_err("a time that milliseconds cannot hold");
        assert_eq!(written, b"before");
        return;
    }
    codec.encode(&frame, &mut written).expect("what was read can be written");
    let written = Bytes::from(written).slice(6..);
    assert_eq!(codec.decode(written).as_ref(), Ok(&frame));
    bounded(&frame);
}

/// Records are refused, or written again as they were; and so is the frame that the engine gets of them.
pub fn bsp(bytes: &[u8]) {
    let mut rest = Bytes::copy_from_slice(bytes);
    let (mut records, mut whole) = (Vec::new(), true);
    while !rest.is_empty() {
        let before = rest.clone();
        let Ok(record) = Record::decode(&mut rest) else {
            whole = false;
            break;
        };
        let len = before.len() - rest.len();
        assert_eq!(record_len(&before), Ok(Some(len)));
        let mut written = Vec::new();
        record.encode(&mut written);
        match record {
            Record::Unknown(_) => assert!(written.is_empty()),
            _ => assert_eq!(written, before[..len], "{record:?}"),
        }
        records.push(record);
    }
    let version = |record: &Record| !matches!(record, Record::Versions(versions) if !versions.contains(&0));
    let mut codec = BrambleCodec::new(None);
    let frame = codec.decode(Bytes::copy_from_slice(bytes));
    assert_eq!(frame.is_ok(), whole && records.iter().all(version));
    let Ok(frame) = frame else { return };
    let mut written = Vec::new();
    codec.encode(&frame, &mut written).expect("what was read can be written");
    assert_eq!(codec.decode(written.into()).as_ref(), Ok(&frame));
    bounded(&frame);
}

/// No record of these wires has what only ours can say, and a message within the limits has one id.
fn bounded(frame: &Frame) {
    assert!(frame.hello.is_none() && frame.announces.is_empty() && frame.number.is_none());
    for message in frame.batches.iter().flat_map(|batch| &batch.messages) {
        assert!(message.position.is_none());
        let id = |dep: &DepRef| match dep {
            DepRef::Id(id) => *id,
            DepRef::Position(_) => panic!("a position in a record that has none"),
        };
        assert!(message.deps.is_sorted_by(|a, b| id(a) < id(b)));
        let group = GroupId::from_bytes([7; 32]);
        if let Ok(whole) = Message::new(group, message.timestamp_ms, vec![], message.body.clone()) {
            assert_eq!(whole.body(), &message.body);
        }
    }
}

/// A stream is cut into the same frames in whatever pieces it comes, nothing is lost between them, and what is no
/// frame ends it.
pub fn plain(bytes: &[u8]) {
    let Some((&first, stream)) = bytes.split_first() else { return };
    let (is_mvds, piece) = (first & 1 == 1, usize::from(first >> 1) + 1);
    let (whole, error) = plain_frames(is_mvds, stream, usize::MAX);
    let (parts, error_of_parts) = plain_frames(is_mvds, stream, piece);
    let said = |error: Option<LinkError>| error.map(|error| error.to_string());
    assert_eq!(said(error), said(error_of_parts.clone()));
    // A frame of BSP is as many whole records as are there: where it ends depends on the pieces.
    let joined = |frames: &[Bytes]| frames.concat();
    if is_mvds {
        assert_eq!(whole, parts);
        let of = |frame: &Bytes| {
            let length = u32::try_from(65 + frame.len()).unwrap();
            [&length.to_be_bytes()[..], &[4; 65], frame].concat()
        };
        let again: Vec<u8> = whole.iter().flat_map(of).collect();
        assert!(stream.starts_with(&again));
    } else {
        assert_eq!(joined(&whole), joined(&parts));
        assert!(stream.starts_with(&joined(&whole)));
        for mut frame in whole {
            while !frame.is_empty() {
                let len = record_len(&frame).unwrap().unwrap();
                drop(frame.split_to(len));
            }
        }
    }
    if error_of_parts.is_none() {
        let taken: usize = parts.iter().map(|frame| frame.len() + if is_mvds { 69 } else { 0 }).sum();
        let rest = &stream[taken..];
        let header = if is_mvds { 4 } else { 4.min(rest.len()) };
        assert!(rest.len() < header || rest.len() < 1 + (1 << 20) + 69, "what is left is less than a frame");
    }
}
