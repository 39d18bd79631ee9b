//! What comes over carriers: addresses, datagrams, chunks and handshakes.

use std::io::Cursor;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hedgerow_transports::fuzzing::{DatagramPair, StreamPair, Taken, rewrite_packet};
use hedgerow_transports::stream::{accept_over, dial_over};
use hedgerow_transports::{Address, CloseReason, Identity, LinkConfig, LinkError};
use tokio::io::{AsyncRead, ReadBuf, duplex, sink, split};
use tokio::runtime::{Builder, Runtime};

use super::tape::Tape;

/// A runtime of one thread, for the moment.
pub(super) fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

/// An address is refused, or has the parts that it is made of.
pub fn address(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(address) = text.parse::<Address>() else { return };
    assert_eq!(address.to_string(), text);
    assert_eq!(Address::new(address.scheme(), address.rest()), Ok(address));
}

/// A datagram is no packet, or is written again as it was; only what fills up a HELLO may differ.
pub fn packet(bytes: &[u8]) {
    const HELLO: u8 = 1;
    let Some(written) = rewrite_packet(bytes) else { return };
    assert_eq!(rewrite_packet(&written).as_ref(), Some(&written));
    if bytes[0] != HELLO {
        assert_eq!(written, bytes);
    }
}

/// An end that has the keys sends packets of any kind, and the network damages, repeats and reorders them: each is
/// taken once at most, as it was sent.
pub fn datagrams(bytes: &[u8]) {
    const MAX_FRAME: usize = 600;
    const WINDOW: usize = 2048;
    let mut tape = Tape::new(bytes);
    let pair = DatagramPair::new(MAX_FRAME);
    let mut sent: Vec<(Vec<u8>, Taken, bool)> = Vec::new();
    while !tape.is_empty() && sent.len() < WINDOW {
        match tape.byte() % 4 {
            0 | 1 => {
                let (kind, count) = (tape.byte() % 6, tape.below(700));
                let mut content = tape.bytes(count.min(8)).to_vec();
                content.resize(count, kind);
                let taken = match (kind, &content[..]) {
                    (0, frame) if frame.len() <= MAX_FRAME => Taken::Frame(Bytes::copy_from_slice(frame)),
                    (1, [code]) => Taken::Close(CloseReason::from_code(*code)),
                    _ => Taken::Nothing,
                };
                sent.push((pair.seal(kind, &content).unwrap(), taken, true));
            }
            2 if !sent.is_empty() => {
                let at = tape.below(sent.len());
                let (packet, taken, fresh) = &mut sent[at];
                let expected = fresh.then(|| taken.clone());
                *fresh = false;
                assert_eq!(pair.arrive(packet), expected);
            }
            3 if !sent.is_empty() => {
                let at = tape.below(sent.len());
                let mut packet = sent[at].0.clone();
                // The session id is for finding the session, which is done here already.
                let place = 5 + tape.below(packet.len() - 5);
                packet[place] ^= 1 << tape.below(8);
                assert_eq!(pair.arrive(&packet), None, "a damaged packet was taken");
            }
            _ => {}
        }
    }
    assert_eq!(pair.arrive(bytes), None, "a packet was made without the keys");
}

/// An end that has the keys sends chunks of any kind and length, in pieces, one of them damaged: what is taken is
/// what a plain reading of the rules gives.
pub fn chunks(bytes: &[u8]) {
    const CHUNK: usize = 65_518;
    let mut tape = Tape::new(bytes);
    let max_frame = tape.pick(&[512, 1_000, 65_518, 70_000, 200_000]);
    let mut pair = StreamPair::new(max_frame);
    let (mut taken, mut expected, mut frame) = (Vec::new(), Vec::new(), Vec::new());
    let mut within = false;
    for _ in 0..64 {
        if tape.is_empty() {
            break;
        }
        let kind = tape.byte() % 6;
        let len = match tape.byte() {
            255 => CHUNK,
            254 => CHUNK - 1,
            253 => max_frame.min(CHUNK),
            252 => (max_frame + 1).min(CHUNK),
            small => small.into(),
        };
        let content = vec![tape.byte(); len];
        let mut record = pair.seal(kind, &content).unwrap().to_vec();
        let damage = tape.byte();
        let damaged = damage > 250;
        if damaged {
            // Not the length, which is not sealed: the rest of the stream would be read out of step.
            let place = 2 + tape.below(record.len() - 2);
            record[place] ^= 1 << (damage % 8);
        }
        let result = if damage.is_multiple_of(2) {
            pair.arrive(&record, &mut taken)
        } else {
            let at = tape.below(record.len());
            let (first, second) = record.split_at(at);
            pair.arrive(first, &mut taken).and_then(|()| pair.arrive(second, &mut taken))
        };
        let rule = match (kind, &content[..]) {
            _ if damaged => Some("damaged"),
            (0, full) if full.len() != CHUNK => Some("not full"),
            (0 | 1, more) if frame.len() + more.len() > max_frame => Some("too large"),
            (0, more) => {
                within = true;
                frame.extend_from_slice(more);
                None
            }
            (1, more) => {
                within = false;
                frame.extend_from_slice(more);
                expected.push(Taken::Frame(std::mem::take(&mut frame).into()));
                None
            }
            (2, [code]) if !within => {
                expected.push(Taken::Close(CloseReason::from_code(*code)));
                None
            }
            (3, []) if !within => None,
            _ => Some("form"),
        };
        assert_eq!(taken, expected);
        assert_eq!(result.is_err(), rule.is_some(), "{result:?}, {rule:?}");
        if let Err(error) = result {
            let named = match error {
                LinkError::Tampered => damaged,
                LinkError::TooLarge { .. } => rule == Some("too large"),
                LinkError::Malformed(_) => matches!(rule, Some("not full" | "form")),
                _ => false,
            };
            assert!(named, "{error:?} for {rule:?}");
            return;
        }
    }
}

/// Whoever talks at random gets no link, dialling or being dialled; and when two honest ends talk and somebody
/// alters a byte on the way, they do not both get one.
pub fn handshake(bytes: &[u8]) {
    let mut tape = Tape::new(bytes);
    let (ours, theirs) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
    let address: Address = "fuzz://here".parse().unwrap();
    let config = LinkConfig::default();
    let role = tape.byte() % 4;
    runtime().block_on(async {
        match role {
            0 => {
                let stream = Cursor::new(tape.rest().to_vec());
                let link = accept_over(stream, sink(), address, &ours, &config).await;
                assert!(link.is_err(), "a link without keys");
            }
            1 => {
                let stream = Cursor::new(tape.rest().to_vec());
                let link = dial_over(stream, sink(), address, &ours, theirs.peer_id(), &config).await;
                assert!(link.is_err(), "a link without keys");
            }
            _ => {
                // 8 bytes of preamble, and records: 34 + 66 + 118 to the listener, 98 + 118 to the dialler.
                let lengths = [8 + 34 + 66 + 118, 8 + 98 + 118];
                let to_dialler = usize::from(role - 2);
                let at = tape.below(lengths[to_dialler]);
                let xor = tape.byte();
                let (here, there) = duplex(1 << 16);
                let ((read_a, write_a), (read_b, write_b)) = (split(here), split(there));
                let altering =
                    |inner, on: bool| Altering { inner, at, xor: if on { xor } else { 0 }, seen: 0 };
                let dialled = dial_over(
                    altering(read_a, to_dialler == 1),
                    write_a,
                    address.clone(),
                    &ours,
                    theirs.peer_id(),
                    &config,
                );
                let accepted =
                    accept_over(altering(read_b, to_dialler == 0), write_b, address, &theirs, &config);
                let (dialled, accepted) = tokio::join!(dialled, accepted);
                let both = dialled.is_ok() && accepted.is_ok();
                assert_eq!(both, xor == 0, "byte {at} of {to_dialler}");
            }
        }
    });
}

/// A stream of which one byte is altered.
struct Altering<R> {
    inner: R,
    at: usize,
    xor: u8,
    seen: usize,
}

impl<R: AsyncRead + Unpin> AsyncRead for Altering<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let start = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        let (at, xor, seen) = (self.at, self.xor, self.seen);
        let fresh = &mut buf.filled_mut()[start..];
        if let Some(byte) = at.checked_sub(seen).and_then(|place| fresh.get_mut(place)) {
            *byte ^= xor;
        }
        self.seen += fresh.len();
        polled
    }
}
