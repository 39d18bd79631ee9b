//! The native wire: frames, span lists, ids; and sets of positions as they are stored.

use bytes::Bytes;
use hedgerow_proto::{Codec as _, DepRef, Frame, GroupId, Message, MessageId, NativeCodec, PeerId, Span};
use hedgerow_sync_core::SpanSet;

use super::tape::Tape;

/// A frame is refused, or written again to one that says the same. Messages in it that are within the limits have
/// one id whichever way they came.
pub fn frame(bytes: &[u8]) {
    let mut codec = NativeCodec::new();
    let Ok(frame) = codec.decode(Bytes::copy_from_slice(bytes)) else { return };
    let mut written = b"before".to_vec();
    codec.encode(&frame, &mut written).expect("what was read can be written");
    let written = Bytes::from(written).slice(6..);
    assert_eq!(codec.decode(written.clone()).as_ref(), Ok(&frame), "what was written is read as it was");
    let mut again = Vec::new();
    codec.encode(&frame, &mut again).expect("as before");
    assert_eq!(again, written, "there is one way to write a frame");
    well_formed(&frame);
}

fn well_formed(frame: &Frame) {
    let spans = [&frame.frame_acks].into_iter().chain(frame.announces.iter().map(|announce| &announce.held));
    let spans = spans.chain(frame.acks.iter().flat_map(|ack| [&ack.held, &ack.known]));
    let spans = spans.chain(frame.requests.iter().map(|request| &request.positions));
    let spans = spans.chain(frame.unavailables.iter().map(|unavailable| &unavailable.positions));
    spans.chain([&frame.matched, &frame.unmatched]).for_each(|list| ascend(list));
    assert!(frame.in_step.iter().all(|in_step| in_step.numbered().count() == in_step.values.len()));
    for offer in &frame.offers {
        assert!(offer.items.iter().all(|item| item.position.is_some_and(|position| position > 0)));
        assert!(offer.items.is_sorted_by(|a, b| a.position < b.position));
    }
    for offer in &frame.short_offers {
        assert!(offer.items.iter().all(|(position, _)| *position > 0));
        assert!(offer.items.is_sorted_by(|a, b| a.0 < b.0));
    }
    for batch in &frame.batches {
        assert!(batch.messages.is_sorted_by(|a, b| a.position.is_none() || a.position < b.position));
        for message in &batch.messages {
            let by_position = |dep: &DepRef| matches!(dep, DepRef::Position(_));
            assert!(message.deps.is_sorted_by_key(|dep| !by_position(dep)), "positions stand first");
            let deps: Vec<MessageId> = message
                .deps
                .iter()
                .map(|dep| match dep {
                    DepRef::Id(id) => *id,
                    DepRef::Position(earlier) => {
                        assert!(*earlier > 0 && Some(*earlier) < message.position);
                        MessageId::from_bytes([1; 32])
                    }
                })
                .collect();
            let group = GroupId::from_bytes([7; 32]);
            if let Ok(whole) = Message::new(group, message.timestamp_ms, deps, message.body.clone()) {
                let (deps, body) = whole.clone().into_parts();
                let copy = Message::new(group, message.timestamp_ms, deps, body).expect("the same parts");
                assert_eq!(copy.id(), whole.id());
            }
        }
    }
}

fn ascend(spans: &[Span]) {
    assert!(spans.iter().all(|span| 0 < span.first && span.first <= span.last));
    assert!(spans.is_sorted_by(|a, b| a.last < b.first));
}

/// The input is the inside of a packed span list, in a frame.
pub fn spans(bytes: &[u8]) {
    const FRAME_ACKS: u8 = 2 << 3 | 2;
    let mut bytes_of_frame = vec![FRAME_ACKS];
    let mut len = bytes.len();
    while len >= 0x80 {
        bytes_of_frame.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    bytes_of_frame.push(u8::try_from(len).unwrap());
    bytes_of_frame.extend_from_slice(bytes);
    frame(&bytes_of_frame);
}

/// A stored set of positions is refused, or written again to the same set; whatever is done to it, its spans ascend
/// with gaps between them.
pub fn spanset(bytes: &[u8]) {
    let mut tape = Tape::new(bytes);
    let count = tape.below(64);
    let stored = tape.bytes(count);
    let mut set = SpanSet::from_bytes(stored).unwrap_or_default();
    sound(&set);
    while !tape.is_empty() {
        let op = tape.byte() % 6;
        let (first, more) = (tape.number().max(1), tape.number());
        let span = Span { first, last: first.saturating_add(more) };
        let before = set.clone();
        match op {
            0 => assert_eq!(set.insert(first), !before.contains(first)),
            1 => {
                set.insert_span(span);
                assert!(set.contains(span.first) && set.contains(span.last));
            }
            2 => {
                assert_eq!(set.remove(first), before.contains(first));
                assert!(!set.contains(first));
            }
            3 => {
                set.remove_span(span);
                assert!(!set.contains(span.first) && !set.contains(span.last));
            }
            4 => {
                set.truncate(first);
                assert!(set.max() <= first);
                assert_eq!(set.contains(first), before.contains(first));
            }
            _ => {
                let absent = set.first_absent(first);
                assert!(absent >= first && (!set.contains(absent) || absent == u64::MAX));
                assert!(absent == first || set.contains(first));
            }
        }
        // What lies just outside of what was done is as it was.
        let (below, above) = (first - 1, span.last.saturating_add(1));
        if below > 0 && op < 4 {
            assert_eq!(set.contains(below), before.contains(below));
        }
        if matches!(op, 1 | 3) && above > span.last {
            assert_eq!(set.contains(above), before.contains(above));
        }
        sound(&set);
    }
}

fn sound(set: &SpanSet) {
    let spans: Vec<Span> = set.spans().collect();
    assert!(spans.iter().all(|span| 0 < span.first && span.first <= span.last));
    assert!(spans.is_sorted_by(|a, b| a.last + 1 < b.first), "spans touch: {spans:?}");
    assert_eq!(spans.iter().fold(0, |sum: u64, span| sum.saturating_add(span.count())), set.len());
    assert_eq!(SpanSet::from_bytes(&set.to_bytes()).as_ref(), Some(set));
    assert_eq!(spans.iter().copied().collect::<SpanSet>(), *set);
}

/// An id in text is refused, or written again in lower case.
pub fn ids(bytes: &[u8]) {
    assert_eq!(MessageId::try_from(bytes).is_ok(), bytes.len() == 32);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(id) = text.parse::<PeerId>() {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
        assert_eq!(text.parse::<GroupId>().unwrap().as_bytes(), id.as_bytes());
    }
}
