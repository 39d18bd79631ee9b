//! Frames to sealed chunks and back, without any input or output.

use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};

use crate::noise::{Channel, MAX_NOISE, TAG};
use crate::{CloseReason, LinkError};

/// The most content of a frame that one chunk takes, in bytes: a Noise message less the tag and the kind.
pub(crate) const CHUNK: usize = MAX_NOISE - TAG - 1;

const MORE: u8 = 0;
const LAST: u8 = 1;
const CLOSE: u8 = 2;
const ALIVE: u8 = 3;

/// A send buffer larger than this is given back when it has been written, in bytes.
const KEEP_BUFFER: usize = 256 * 1024;

/// Seals what is sent. What it has sealed stands in `pending` until it is written, in order.
pub(crate) struct Sealer {
    channel: Arc<Channel>,
    nonce: u64,
    pub(crate) pending: BytesMut,
    plain: Vec<u8>,
}

impl Sealer {
    /// Nonce 0 has been used for the proof.
    pub(crate) fn new(channel: Arc<Channel>) -> Self {
        Self { channel, nonce: 1, pending: BytesMut::new(), plain: Vec::new() }
    }

    pub(crate) fn frame(&mut self, mut frame: &[u8]) -> Result<(), LinkError> {
        while let Some((chunk, rest)) = frame.split_at_checked(CHUNK)
            && !rest.is_empty()
        {
            self.chunk(MORE, chunk)?;
            frame = rest;
        }
        self.chunk(LAST, frame)
    }

    pub(crate) fn close(&mut self, reason: CloseReason) -> Result<(), LinkError> {
        self.chunk(CLOSE, &[reason.code()])
    }

    pub(crate) fn alive(&mut self) -> Result<(), LinkError> {
        self.chunk(ALIVE, &[])
    }

    /// To be called when all is written.
    pub(crate) fn trim(&mut self) {
        if self.pending.is_empty() && self.pending.capacity() > KEEP_BUFFER {
            self.pending = BytesMut::new();
        }
    }

    pub(crate) fn chunk(&mut self, kind: u8, content: &[u8]) -> Result<(), LinkError> {
        self.plain.clear();
        self.plain.push(kind);
        self.plain.extend_from_slice(content);
        let len = self.plain.len() + TAG;
        let header = u16::try_from(len).map_err(|_| LinkError::TooLarge { len, max: MAX_NOISE })?;
        self.pending.extend_from_slice(&header.to_be_bytes());
        let start = self.pending.len();
        self.pending.resize(start + len, 0);
        let out = self.pending.get_mut(start..).unwrap_or_default();
        self.channel
            .seal(self.nonce, &self.plain, out)
            .map_err(|_| LinkError::Malformed("the nonces of this link are used up"))?;
        self.nonce += 1;
        Ok(())
    }
}

/// What has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    Frame(Bytes),
    Close(CloseReason),
}

/// Opens what is received. It keeps the parts of a frame until the last has come.
pub(crate) struct Opener {
    channel: Arc<Channel>,
    nonce: u64,
    max_frame: usize,
    frame: BytesMut,
    /// Parts of a frame have come and more are due.
    within: bool,
}

impl Opener {
    pub(crate) fn new(channel: Arc<Channel>, max_frame: usize) -> Self {
        Self { channel, nonce: 1, max_frame, frame: BytesMut::new(), within: false }
    }

    /// Takes the next thing out of `input`, or None if that needs more bytes.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Arrival>, LinkError> {
        while let Some(sealed) = take_record(input) {
            if sealed.len() < TAG + 1 {
                return Err(LinkError::Malformed("a chunk without a kind"));
            }
            let mut plain = BytesMut::zeroed(sealed.len() - TAG);
            self.channel.open(self.nonce, &sealed, &mut plain).map_err(|_| LinkError::Tampered)?;
            self.nonce += 1;
            if let Some(arrival) = self.sort(plain.get_u8(), plain)? {
                return Ok(Some(arrival));
            }
        }
        Ok(None)
    }

    /// How many chunks have been authentic.
    pub(crate) const fn opened(&self) -> u64 {
        self.nonce
    }

    /// Whether the end of the stream here would cut a frame.
    pub(crate) const fn is_within(&self) -> bool {
        self.within
    }

    fn sort(&mut self, kind: u8, content: BytesMut) -> Result<Option<Arrival>, LinkError> {
        match (kind, &content[..]) {
            (MORE, bytes) if bytes.len() == CHUNK => {
                self.add(content)?;
                self.within = true;
                Ok(None)
            }
            (MORE, _) => Err(LinkError::Malformed("a part of a frame that goes on is not full")),
            (LAST, _) => {
                self.add(content)?;
                self.within = false;
                Ok(Some(Arrival::Frame(std::mem::take(&mut self.frame).freeze())))
            }
            (CLOSE, [code]) if !self.within => Ok(Some(Arrival::Close(CloseReason::from_code(*code)))),
            (ALIVE, []) if !self.within => Ok(None),
            (CLOSE | ALIVE, _) => {
                Err(LinkError::Malformed("a close or sign of life in the wrong form or place"))
            }
            _ => Err(LinkError::Malformed("a chunk of unknown kind")),
        }
    }

    fn add(&mut self, content: BytesMut) -> Result<(), LinkError> {
        let len = self.frame.len() + content.len();
        if len > self.max_frame {
            return Err(LinkError::TooLarge { len, max: self.max_frame });
        }
        if self.frame.is_empty() {
            // Most frames are of one chunk, and need no copy.
            self.frame = content;
        } else {
            self.frame.extend_from_slice(&content);
        }
        Ok(())
    }
}

/// How many bytes are missing until `input` holds a whole record; 0 if it does.
pub(crate) fn missing(input: &[u8]) -> usize {
    let whole = input.first_chunk::<2>().map_or(2, |len| 2 + usize::from(u16::from_be_bytes(*len)));
    whole.saturating_sub(input.len())
}

fn take_record(input: &mut BytesMut) -> Option<BytesMut> {
    if missing(input) > 0 || input.is_empty() {
        return None;
    }
    let len = usize::from(input.get_u16());
    Some(input.split_to(len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Identity;
    use crate::noise::{Carrier, FIRST, Handshake, SECOND, THIRD};
    use proptest::prelude::*;

    pub(super) fn pair(max_frame: usize) -> (Sealer, Opener) {
        let (a, b) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let mut a = Handshake::initiator(&a, Carrier::Stream).unwrap();
        let mut b = Handshake::responder(&b, Carrier::Stream).unwrap();
        b.read::<0>(&a.write::<FIRST>(&[]).unwrap()).unwrap();
        a.read::<0>(&b.write::<SECOND>(&[]).unwrap()).unwrap();
        b.read::<0>(&a.write::<THIRD>(&[]).unwrap()).unwrap();
        let channel = Arc::new(a.finish().unwrap());
        (Sealer::new(channel), Opener::new(Arc::new(b.finish().unwrap()), max_frame))
    }

    fn bytes(len: usize) -> Vec<u8> {
        (0..=250).cycle().take(len).collect()
    }

    /// The records in a stream, one by one.
    fn records(sealer: &mut Sealer) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        let mut rest = sealer.pending.split();
        while let Some(record) = take_record(&mut rest) {
            all.push([&u16::try_from(record.len()).unwrap().to_be_bytes()[..], &record].concat());
        }
        all
    }

    fn drain(opener: &mut Opener, stream: &[u8]) -> Result<Vec<Arrival>, LinkError> {
        let mut input = BytesMut::from(stream);
        let mut all = Vec::new();
        while let Some(arrival) = opener.next(&mut input)? {
            all.push(arrival);
        }
        Ok(all)
    }

    #[test]
    fn chunks_have_the_documented_sizes() {
        for (len, chunks) in [(0, 1), (1, 1), (CHUNK, 1), (CHUNK + 1, 2), (2 * CHUNK, 2), (1024 * 1024, 17)] {
            let (mut sealer, mut opener) = pair(1024 * 1024);
            sealer.frame(&bytes(len)).unwrap();
            assert_eq!(sealer.pending.len(), len + chunks * (2 + 1 + TAG), "frame of {len} bytes");
            let stream = sealer.pending.split();
            assert_eq!(drain(&mut opener, &stream).unwrap(), [Arrival::Frame(bytes(len).into())]);
        }
    }

    #[test]
    fn every_flipped_bit_in_a_chunk_ends_it() {
        let (mut sealer, _) = pair(4096);
        sealer.frame(b"hello").unwrap();
        let good = sealer.pending.split();
        for bit in 16..good.len() * 8 {
            // Keys differ per pair, so each try needs its own.
            let (mut sealer, mut opener) = pair(4096);
            sealer.frame(b"hello").unwrap();
            let mut stream = sealer.pending.split();
            stream[bit / 8] ^= 1 << (bit % 8);
            assert!(matches!(drain(&mut opener, &stream), Err(LinkError::Tampered)), "bit {bit}");
        }
    }

    #[test]
    fn repeated_missing_and_reordered_chunks_are_told() {
        let orders: [&[usize]; 4] = [&[0, 0], &[1], &[1, 0], &[0, 2]];
        for order in orders {
            let (mut sealer, mut opener) = pair(4096);
            for frame in ["one", "two", "three"] {
                sealer.frame(frame.as_bytes()).unwrap();
            }
            let records = records(&mut sealer);
            let stream: Vec<u8> = order.iter().flat_map(|at| records[*at].clone()).collect();
            assert!(matches!(drain(&mut opener, &stream), Err(LinkError::Tampered)), "{order:?}");
        }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_before_it_is_whole() {
        let (mut sealer, mut opener) = pair(100_000);
        sealer.frame(&bytes(300_000)).unwrap();
        let two = records(&mut sealer)[..2].concat();
        let error = drain(&mut opener, &two).unwrap_err();
        assert!(matches!(error, LinkError::TooLarge { max: 100_000, .. }));
    }

    #[test]
    fn what_breaks_the_format_is_told() {
        let cases: [(u8, &[u8]); 5] =
            [(9, b""), (MORE, b"short"), (CLOSE, b""), (CLOSE, b"ab"), (ALIVE, b"x")];
        for (kind, content) in cases {
            let (mut sealer, mut opener) = pair(4096);
            sealer.chunk(kind, content).unwrap();
            let stream = sealer.pending.split();
            assert!(
                matches!(drain(&mut opener, &stream), Err(LinkError::Malformed(_))),
                "{kind} {content:?}"
            );
        }
        for (kind, content) in [(ALIVE, &[][..]), (CLOSE, &[0])] {
            let (mut sealer, mut opener) = pair(1 << 20);
            sealer.chunk(MORE, &bytes(CHUNK)).unwrap();
            sealer.chunk(kind, content).unwrap();
            let stream = sealer.pending.split();
            assert!(
                matches!(drain(&mut opener, &stream), Err(LinkError::Malformed(_))),
                "{kind} within a frame"
            );
        }
        let (_, mut opener) = pair(4096);
        assert!(matches!(drain(&mut opener, &[0, 16]), Ok(none) if none.is_empty()));
        assert!(matches!(
            drain(&mut opener, &[&[0, 16][..], &[0; 16]].concat()),
            Err(LinkError::Malformed(_))
        ));
    }

    #[test]
    fn close_and_signs_of_life_go_between_frames() {
        let (mut sealer, mut opener) = pair(4096);
        sealer.alive().unwrap();
        sealer.frame(b"x").unwrap();
        sealer.alive().unwrap();
        sealer.close(CloseReason::Unknown(77)).unwrap();
        let stream = sealer.pending.split();
        let expected = [Arrival::Frame("x".into()), Arrival::Close(CloseReason::Unknown(77))];
        assert_eq!(drain(&mut opener, &stream).unwrap(), expected);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever the sizes of the frames, and however the stream is cut on its way, the frames arrive.
        #[test]
        fn frames_survive_any_cut(
            sizes in prop::collection::vec(prop_oneof![0..300_usize, CHUNK - 2..CHUNK + 3, 2 * CHUNK - 1..2 * CHUNK + 2], 1..5),
            cuts in prop::collection::vec(1..70_000_usize, 1..20),
        ) {
            let (mut sealer, mut opener) = pair(1 << 20);
            for size in &sizes {
                sealer.frame(&bytes(*size)).unwrap();
            }
            let mut stream = sealer.pending.split();
            let mut input = BytesMut::new();
            let mut got = Vec::new();
            let mut cuts = cuts.into_iter().cycle();
            while !stream.is_empty() {
                let piece = stream.split_to(cuts.next().unwrap().min(stream.len()));
                input.extend_from_slice(&piece);
                while let Some(Arrival::Frame(frame)) = opener.next(&mut input).unwrap() {
                    got.push(frame.to_vec());
                }
            }
            prop_assert_eq!(got, sizes.iter().map(|size| bytes(*size)).collect::<Vec<_>>());
            prop_assert!(input.is_empty() && !opener.is_within());
        }
    }
}
