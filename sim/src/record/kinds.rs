//! What is in a frame, by kind of record, read off its bytes without making anything of them.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

/// So many records, and the bytes that they take in frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Records. Of MESSAGE, OFFER and REQUEST, the messages that they speak of.
    pub records: u64,
    /// Bytes, with the tag and length of each record.
    pub bytes: u64,
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
    }
}

/// Records and bytes by kind. The bytes of all kinds together are those of the frames.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kinds {
    /// MESSAGE records, with their headers.
    pub message: Count,
    /// Messages offered.
    pub offer: Count,
    /// Messages requested.
    pub request: Count,
    /// ACK records.
    pub ack: Count,
    /// UNAVAILABLE records.
    pub unavailable: Count,
    /// HELLO records.
    pub hello: Count,
    /// ANNOUNCE and IN-STEP records.
    pub announce: Count,
    /// Ephemeral records.
    pub ephemeral: Count,
    /// Frames, and what is theirs: numbers, acknowledgements of frames, pings.
    pub frame: Count,
}

impl Kinds {
    /// Every kind with its name, in a fixed order.
    #[must_use]
    pub fn each(&self) -> [(&'static str, Count); 9] {
        [
            ("message", self.message),
            ("offer", self.offer),
            ("request", self.request),
            ("ack", self.ack),
            ("unavailable", self.unavailable),
            ("hello", self.hello),
            ("announce", self.announce),
            ("ephemeral", self.ephemeral),
            ("frame", self.frame),
        ]
    }

    /// Bytes of all kinds.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.each().iter().map(|(_, count)| count.bytes).sum()
    }
}

impl AddAssign for Kinds {
    fn add_assign(&mut self, other: Self) {
        self.message += other.message;
        self.offer += other.offer;
        self.request += other.request;
        self.ack += other.ack;
        self.unavailable += other.unavailable;
        self.hello += other.hello;
        self.announce += other.announce;
        self.ephemeral += other.ephemeral;
        self.frame += other.frame;
    }
}

/// Counts what is in a frame of the native wire. `body` is called with each body of a MESSAGE record. What is no frame
/// counts as bytes of a frame.
pub(crate) fn scan(frame: &[u8], mut body: impl FnMut(&[u8])) -> Kinds {
    let mut kinds = Kinds { frame: Count { records: 1, bytes: 0 }, ..Kinds::default() };
    let mut rest = frame;
    while let Some((field, value, after)) = field(rest) {
        let bytes = (rest.len() - after.len()) as u64;
        let (to, records) = match field {
            3 => (&mut kinds.hello, 1),
            4 | 14 => (&mut kinds.announce, 1),
            5 => (&mut kinds.ack, 1),
            6 => (&mut kinds.message, bodies(value, &mut body)),
            7 => (&mut kinds.offer, ids(value)),
            17 => (&mut kinds.offer, positions(value, 5)),
            8 => (&mut kinds.request, ids(value) + positions(value, 4)),
            9 => (&mut kinds.unavailable, 1),
            10 => (&mut kinds.ephemeral, 1),
            _ => (&mut kinds.frame, 0),
        };
        *to += Count { records, bytes };
        rest = after;
    }
    kinds.frame.bytes += rest.len() as u64;
    kinds
}

/// The messages of a batch.
fn bodies(mut batch: &[u8], body: &mut impl FnMut(&[u8])) -> u64 {
    let mut count = 0;
    while let Some((number, mut message, after)) = field(batch) {
        batch = after;
        if number == 8 {
            // The only one, in place of a list.
            count += 1;
            body(message);
        }
        if number != 4 {
            continue;
        }
        count += 1;
        while let Some((number, value, after)) = field(message) {
            message = after;
            if number == 5 {
                body(value);
            }
        }
    }
    count
}

/// How many ids of 32 bytes stand in field 3.
fn ids(mut record: &[u8]) -> u64 {
    let mut count = 0;
    while let Some((number, value, after)) = field(record) {
        record = after;
        count += if number == 3 { value.len() as u64 / 32 } else { 0 };
    }
    count
}

/// How many positions the span list of field 2 has; one if it stands in the field `one` in its place.
fn positions(mut record: &[u8], one: u64) -> u64 {
    let mut count = 0_u64;
    while let Some((number, mut value, after)) = field(record) {
        record = after;
        count += u64::from(number == one);
        while number == 2
            && let Some((_, rest)) = varint(value)
            && let Some((more, rest)) = varint(rest)
        {
            count = count.saturating_add(more).saturating_add(1);
            value = rest;
        }
    }
    count
}

/// The first field of a protobuf message: its number, its contents if they have a length, and what follows.
fn field(bytes: &[u8]) -> Option<(u64, &[u8], &[u8])> {
    let (key, rest) = varint(bytes)?;
    let empty: &[u8] = &[];
    let (value, rest) = match key & 7 {
        0 => (empty, varint(rest)?.1),
        1 => (empty, rest.get(8..)?),
        2 => {
            let (length, rest) = varint(rest)?;
            rest.split_at_checked(usize::try_from(length).ok()?)?
        }
        5 => (empty, rest.get(4..)?),
        _ => return None,
    };
    Some((key >> 3, value, rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).ok()?)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use hedgerow_sync_core::proto::{
        Ack, Batch, Codec as _, Frame, GroupRef, Hello, MessageId, NativeCodec, Offer, OfferItem, Request,
        ShortOffer, Span, WireMessage,
    };

    use super::*;

    fn bytes_of(frame: &Frame) -> Vec<u8> {
        let mut bytes = Vec::new();
        NativeCodec::new().encode(frame, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_frame_is_taken_apart() {
        let group = GroupRef::Number(1);
        let id = MessageId::from_bytes([7; 32]);
        let message = |position: u64| WireMessage {
            position: Some(position),
            timestamp_ms: 5,
            deps: Vec::new(),
            body: vec![9_u8; 200].into(),
        };
        let frame = Frame {
            number: Some(300),
            frame_acks: vec![Span { first: 1, last: 9 }],
            hello: Some(Hello {
                major: 1,
                minor: 0,
                nonce: [1; 16],
                install: 3,
                max_frame: 65_536,
                max_offers: 512,
            }),
            acks: vec![Ack {
                group,
                held: vec![Span { first: 1, last: 4 }],
                known: Vec::new(),
                ids: Vec::new(),
                duplicates: 0,
                chain: 0,
                reset: 0,
            }],
            batches: vec![Batch { group, messages: vec![message(4), message(6)], chain: 1 }],
            offers: vec![Offer { group, items: vec![OfferItem { position: Some(3), id }], chain: 2 }],
            requests: vec![Request {
                group,
                positions: vec![Span { first: 2, last: 4 }, Span::one(9)],
                ids: vec![id, MessageId::from_bytes([8; 32])],
            }],
            ping: true,
            ..Frame::default()
        };
        let bytes = bytes_of(&frame);
        let mut found = Vec::new();
        let kinds = scan(&bytes, |body| found.push(body.len()));
        assert_eq!(found, [200, 200]);
        assert_eq!(kinds.bytes(), bytes.len() as u64);
        assert_eq!(kinds.message.records, 2);
        assert!((400..450).contains(&kinds.message.bytes), "{kinds:?}");
        assert_eq!((kinds.offer.records, kinds.request.records, kinds.ack.records), (1, 6, 1));
        assert_eq!((kinds.hello.records, kinds.frame.records, kinds.announce.records), (1, 1, 0));
    }

    #[test]
    fn what_stands_in_short_forms_counts_as_much() {
        let group = GroupRef::Number(1);
        let body = vec![9_u8; 200].into();
        let message = WireMessage { position: Some(4), timestamp_ms: 5, deps: Vec::new(), body };
        let frame = Frame {
            batches: vec![Batch { group, messages: vec![message], chain: 0 }],
            offers: vec![Offer {
                group,
                items: vec![OfferItem { position: Some(3), id: MessageId::from_bytes([7; 32]) }],
                chain: 0,
            }],
            short_offers: vec![ShortOffer { group, items: vec![(5, 6)], chain: 0 }],
            requests: vec![Request { group, positions: vec![Span::one(9)], ids: Vec::new() }],
            ..Frame::default()
        };
        let bytes = bytes_of(&frame);
        let mut found = Vec::new();
        let kinds = scan(&bytes, |body| found.push(body.len()));
        assert_eq!(found, [200]);
        assert_eq!(kinds.bytes(), bytes.len() as u64);
        let counts = [kinds.message, kinds.offer, kinds.request].map(|count| count.records);
        assert_eq!(counts, [1, 2, 1]);
    }

    #[test]
    fn what_is_no_frame_counts_as_bytes() {
        for garbage in [&[0xff_u8; 40][..], &[0x0a, 200, 1], &[]] {
            let kinds = scan(garbage, |_| ());
            assert_eq!(kinds.bytes(), garbage.len() as u64);
        }
    }
}
