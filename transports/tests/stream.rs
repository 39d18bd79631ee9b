//! Links over streams whose bytes are under the test's control, mostly on a clock that the test drives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;
use hedgerow_proto::PeerId;
use hedgerow_transports::stream::{accept_over, dial_over};
use hedgerow_transports::{Address, CloseReason, Identity, Link, LinkConfig, LinkError, TransportError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::time::{Duration, Instant, sleep, timeout};

/// Bytes of the handshake that the dialler sends, and those of the listener.
const DIALLER_BYTES: usize = 8 + 34 + 66 + 118;
const LISTENER_BYTES: usize = 8 + 98 + 118;

fn identity(n: u8) -> Identity {
    Identity::from_seed(&[n; 32])
}

fn address() -> Address {
    "pipe://test".parse().unwrap()
}

type Outcome = Result<Box<dyn Link>, TransportError>;

async fn dial(stream: DuplexStream, expect: PeerId) -> Outcome {
    let (reader, writer) = split(stream);
    dial_over(reader, writer, address(), &identity(1), expect, &LinkConfig::default()).await
}

async fn accept(stream: DuplexStream) -> Outcome {
    let (reader, writer) = split(stream);
    accept_over(reader, writer, address(), &identity(2), &LinkConfig::default()).await
}

/// What a middleman does with each byte that passes, given its place in the stream: None drops the line.
type Rule = Box<dyn FnMut(usize, u8) -> Option<u8> + Send>;

fn pass() -> Rule {
    Box::new(|_, byte| Some(byte))
}

fn flip_at(at: usize) -> Rule {
    Box::new(move |place, byte| Some(if place == at { byte ^ 1 } else { byte }))
}

async fn relay(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>, mut rule: Rule) {
    let mut place = 0;
    let mut room = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut room).await {
        for byte in &room[..len] {
            let Some(byte) = rule(place, *byte) else { return drop(to.shutdown().await) };
            place += 1;
            if to.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    }
    let _ = to.shutdown().await;
}

/// The device 1 dials the device 2 through a middleman.
async fn meet(outward: Rule, inward: Rule) -> (Outcome, Outcome) {
    let (a, a_far) = duplex(1 << 16);
    let (b, b_far) = duplex(1 << 16);
    let (from_a, to_a) = split(a_far);
    let (from_b, to_b) = split(b_far);
    tokio::spawn(relay(from_a, to_b, outward));
    tokio::spawn(relay(from_b, to_a, inward));
    tokio::join!(dial(a, identity(2).peer_id()), accept(b))
}

async fn pair(buffer: usize) -> (Box<dyn Link>, Box<dyn Link>) {
    let (a, b) = duplex(buffer);
    let (dialled, accepted) = tokio::join!(dial(a, identity(2).peer_id()), accept(b));
    (dialled.unwrap(), accepted.unwrap())
}

#[tokio::test]
async fn every_altered_byte_of_the_handshake_ends_it_with_an_error() {
    for at in 0..DIALLER_BYTES {
        let (dialled, accepted) = meet(flip_at(at), pass()).await;
        assert!(dialled.is_err(), "dialler, with its own byte {at} altered");
        assert!(accepted.is_err(), "listener, with byte {at} of the dialler altered");
    }
    for at in 0..LISTENER_BYTES {
        let (dialled, accepted) = meet(pass(), flip_at(at)).await;
        assert!(dialled.is_err(), "dialler, with byte {at} of the listener altered");
        // The last message of the handshake is the listener's: it cannot know whether that arrived.
        if let Ok(link) = accepted {
            assert!(at >= LISTENER_BYTES - 118, "listener, with its own byte {at} altered");
            let (_tx, mut rx) = link.split();
            assert!(rx.recv().await.is_err());
        }
    }
}

#[tokio::test]
async fn the_handshake_has_the_documented_length() {
    // One byte less and it fails, and not one byte more is needed.
    let cut = |at| -> Rule { Box::new(move |place, byte| (place < at).then_some(byte)) };
    let (dialled, accepted) = meet(cut(DIALLER_BYTES), cut(LISTENER_BYTES)).await;
    assert!(dialled.is_ok() && accepted.is_ok());
    let (dialled, accepted) = meet(cut(DIALLER_BYTES - 1), pass()).await;
    assert!(matches!(dialled.map(drop), Err(TransportError::Interrupted)));
    assert!(matches!(accepted.map(drop), Err(TransportError::Interrupted)));
    let (dialled, _) = meet(pass(), cut(LISTENER_BYTES - 1)).await;
    assert!(matches!(dialled.map(drop), Err(TransportError::Interrupted)));
}

/// Somebody in the middle agrees on keys with each side by itself, and passes on what each says inside.
mod splice {
    use super::*;

    pub(super) const PREAMBLE: &[u8] = b"\xE8HGROW\x00\x01";

    fn builder(key: &[u8; 32]) -> snow::Builder<'_> {
        snow::Builder::new("Noise_XX_25519_ChaChaPoly_BLAKE2s".parse().unwrap())
            .local_private_key(key)
            .unwrap()
            .prologue(b"hedgerow 2026-11 link v1 stream")
            .unwrap()
    }

    async fn put(stream: &mut DuplexStream, message: &[u8]) {
        stream.write_u16(message.len().try_into().unwrap()).await.unwrap();
        stream.write_all(message).await.unwrap();
    }

    pub(super) async fn get(stream: &mut DuplexStream) -> Option<Vec<u8>> {
        let len = stream.read_u16().await.ok()?;
        let mut message = vec![0; len.into()];
        stream.read_exact(&mut message).await.ok()?;
        Some(message)
    }

    pub(super) async fn as_listener(stream: &mut DuplexStream) -> snow::TransportState {
        let mut noise = builder(&[66; 32]).build_responder().unwrap();
        let mut room = [0; 200];
        stream.read_exact(&mut [0; 8]).await.unwrap();
        noise.read_message(&get(stream).await.unwrap(), &mut room).unwrap();
        let len = noise.write_message(&[], &mut room).unwrap();
        stream.write_all(PREAMBLE).await.unwrap();
        put(stream, &room[..len]).await;
        noise.read_message(&get(stream).await.unwrap(), &mut room).unwrap();
        noise.into_transport_mode().unwrap()
    }

    pub(super) async fn as_dialler(stream: &mut DuplexStream) -> snow::TransportState {
        let mut noise = builder(&[67; 32]).build_initiator().unwrap();
        let mut room = [0; 200];
        let len = noise.write_message(&[], &mut room).unwrap();
        stream.write_all(PREAMBLE).await.unwrap();
        put(stream, &room[..len]).await;
        stream.read_exact(&mut [0; 8]).await.unwrap();
        noise.read_message(&get(stream).await.unwrap(), &mut room).unwrap();
        let len = noise.write_message(&[], &mut room).unwrap();
        put(stream, &room[..len]).await;
        noise.into_transport_mode().unwrap()
    }

    pub(super) async fn say(stream: &mut DuplexStream, noise: &mut snow::TransportState, plain: &[u8]) {
        let mut room = [0; 200];
        let len = noise.write_message(plain, &mut room).unwrap();
        put(stream, &room[..len]).await;
    }

    pub(super) async fn hear(stream: &mut DuplexStream, noise: &mut snow::TransportState) -> Vec<u8> {
        let mut room = [0; 200];
        let len = noise.read_message(&get(stream).await.unwrap(), &mut room).unwrap();
        room[..len].to_vec()
    }
}

#[tokio::test]
async fn a_spliced_channel_is_found_out_by_the_listener() {
    let (a, mut to_alice) = duplex(4096);
    let (b, mut to_bob) = duplex(4096);
    let alice = tokio::spawn(dial(a, identity(2).peer_id()));
    let bob = tokio::spawn(accept(b));
    let mut with_alice = splice::as_listener(&mut to_alice).await;
    let mut with_bob = splice::as_dialler(&mut to_bob).await;
    // Alice proves herself, on her channel to the middleman; he passes it on to Bob.
    let proof = splice::hear(&mut to_alice, &mut with_alice).await;
    splice::say(&mut to_bob, &mut with_bob, &proof).await;
    let claimed = identity(1).peer_id();
    let error = bob.await.unwrap().map(drop).unwrap_err();
    assert!(matches!(error, TransportError::BadProof { claimed: c } if c == claimed), "{error}");
    assert!(splice::get(&mut to_bob).await.is_none(), "Bob has said nothing of himself");
    // All that the middleman has for Alice is her own proof, which is for the other role.
    splice::say(&mut to_alice, &mut with_alice, &proof).await;
    let error = alice.await.unwrap().map(drop).unwrap_err();
    assert!(matches!(error, TransportError::BadProof { .. }), "{error}");
}

#[tokio::test]
async fn a_peer_that_claims_another_name_is_found_out_by_the_dialler() {
    let (a, mut to_alice) = duplex(4096);
    let alice = tokio::spawn(dial(a, identity(2).peer_id()));
    let mut with_alice = splice::as_listener(&mut to_alice).await;
    let _ = splice::hear(&mut to_alice, &mut with_alice).await;
    let forged = [&identity(2).peer_id().as_bytes()[..], &[5; 64], &[0, 1, 0, 0]].concat();
    splice::say(&mut to_alice, &mut with_alice, &forged).await;
    let claimed = identity(2).peer_id();
    let error = alice.await.unwrap().map(drop).unwrap_err();
    assert!(matches!(error, TransportError::BadProof { claimed: c } if c == claimed), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_runs_out_of_time() {
    let (a, _silent) = duplex(4096);
    let begin = Instant::now();
    let error = dial(a, identity(2).peer_id()).await.map(drop).unwrap_err();
    assert!(matches!(error, TransportError::HandshakeTimeout { limit_ms: 10_000 }), "{error}");
    assert_eq!(begin.elapsed(), Duration::from_secs(10));
    // One that says the first byte of all and then no more.
    let (b, mut mute) = duplex(4096);
    mute.write_all(&splice::PREAMBLE[..1]).await.unwrap();
    let error = accept(b).await.map(drop).unwrap_err();
    assert!(matches!(error, TransportError::HandshakeTimeout { limit_ms: 10_000 }), "{error}");
}

/// A pair of which the accepted end hears nothing beyond so many bytes.
async fn pair_stalled_after(hold: usize) -> (Box<dyn Link>, Box<dyn Link>) {
    let (a, a_far) = duplex(1 << 16);
    let (b, b_far) = duplex(1 << 16);
    let ((mut from_a, to_a), (from_b, mut to_b)) = (split(a_far), split(b_far));
    tokio::spawn(relay(from_b, to_a, pass()));
    tokio::spawn(async move {
        for _ in 0..hold {
            let byte = from_a.read_u8().await.unwrap();
            to_b.write_all(&[byte]).await.unwrap();
        }
        sleep(Duration::from_hours(1)).await;
        drop((from_a, to_b));
    });
    let (dialled, accepted) = tokio::join!(dial(a, identity(2).peer_id()), accept(b));
    (dialled.unwrap(), accepted.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_stall_within_a_frame_ends_the_link_after_45_seconds() {
    let begin = Instant::now();
    // The handshake and a part of the frame, then nothing more.
    let (dialled, accepted) = pair_stalled_after(DIALLER_BYTES + 700).await;
    let ((mut tx, _a_rx), (mut b_tx, mut rx)) = (dialled.split(), accepted.split());
    tx.send(Bytes::from(vec![1; 2000])).await.unwrap();
    let end = rx.recv().await.unwrap_err();
    assert!(matches!(end, LinkError::Timeout { silence_ms: 45_000 }), "{end}");
    assert_eq!(begin.elapsed(), Duration::from_secs(45));
    assert!(matches!(b_tx.send("x".into()).await, Err(LinkError::Timeout { .. })), "the sender learns it");
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_comes_byte_by_byte_does_not_keep_a_link_for_ever() {
    // One byte just before the silence would be too long, again and again.
    let begin = Instant::now();
    let (a, a_far) = duplex(1 << 17);
    let (b, b_far) = duplex(1 << 17);
    let ((mut from_a, to_a), (from_b, mut to_b)) = (split(a_far), split(b_far));
    tokio::spawn(relay(from_b, to_a, pass()));
    tokio::spawn(async move {
        let mut place = 0;
        while let Ok(byte) = from_a.read_u8().await {
            if place >= DIALLER_BYTES {
                sleep(Duration::from_secs(44)).await;
            }
            place += 1;
            if to_b.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    let (dialled, accepted) = tokio::join!(dial(a, identity(2).peer_id()), accept(b));
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (dialled.unwrap().split(), accepted.unwrap().split());
    tx.send(Bytes::from(vec![1; 60_000])).await.unwrap();
    let end = rx.recv().await.unwrap_err();
    assert!(matches!(end, LinkError::Timeout { silence_ms: 45_000 }), "{end}");
    assert_eq!(begin.elapsed(), Duration::from_secs(4 * 45));
}

#[tokio::test(start_paused = true)]
async fn a_slow_line_may_take_long_for_a_chunk() {
    let (a, a_far) = duplex(1 << 17);
    let (b, b_far) = duplex(1 << 17);
    let ((mut from_a, to_a), (from_b, mut to_b)) = (split(a_far), split(b_far));
    tokio::spawn(relay(from_b, to_a, pass()));
    tokio::spawn(async move {
        let mut room = [0; 600];
        // 600 bytes a second.
        while let Ok(len @ 1..) = from_a.read(&mut room).await {
            sleep(Duration::from_secs(1)).await;
            to_b.write_all(&room[..len]).await.unwrap();
        }
    });
    let (dialled, accepted) = tokio::join!(dial(a, identity(2).peer_id()), accept(b));
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (dialled.unwrap().split(), accepted.unwrap().split());
    for _ in 0..3 {
        tx.send(Bytes::from(vec![1; 60_000])).await.unwrap();
    }
    for _ in 0..3 {
        assert_eq!(rx.recv().await.unwrap().len(), 60_000);
    }
}

/// A stream from which nothing can be read at first when it is polled, as on a socket whose readiness the runtime has
/// not seen yet.
struct Sleepy<R>(R, bool);

impl<R: tokio::io::AsyncRead + Unpin> tokio::io::AsyncRead for Sleepy<R> {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        room: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        self.1 = !self.1;
        if self.1 {
            context.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        std::pin::Pin::new(&mut self.0).poll_read(context, room)
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_was_away_for_long_finds_what_has_come_meanwhile() {
    let (a, b) = duplex(1 << 17);
    let (reader, writer) = split(b);
    let (me, config) = (identity(2), LinkConfig::default());
    let accept = accept_over(Sleepy(reader, false), writer, address(), &me, &config);
    let (dialled, accepted) = tokio::join!(dial(a, identity(2).peer_id()), accept);
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (dialled.unwrap().split(), accepted.unwrap().split());
    for _ in 0..3 {
        tx.send("while nobody asked".into()).await.unwrap();
        sleep(Duration::from_secs(300)).await;
        assert_eq!(rx.recv().await.unwrap(), "while nobody asked");
    }
}

#[tokio::test(start_paused = true)]
async fn asking_now_and_then_does_not_prolong_the_silence() {
    let (dialled, accepted) = pair_stalled_after(DIALLER_BYTES).await;
    let (_dialled, (_b_tx, mut rx)) = (dialled.split(), accepted.split());
    let begin = Instant::now();
    let end = loop {
        // Mostly not asking, so that the silence ends in between.
        match timeout(Duration::from_millis(100), rx.recv()).await {
            Ok(end) => break end.unwrap_err(),
            Err(_) => sleep(Duration::from_secs(3)).await,
        }
    };
    assert!(matches!(end, LinkError::Timeout { silence_ms: 45_000 }), "{end}");
    assert!(begin.elapsed() <= Duration::from_secs(45 + 6 + 4), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn an_idle_link_stays_up() {
    let (dialled, accepted) = pair(1 << 16).await;
    let ((mut tx, mut a_rx), (_b_tx, mut rx)) = (dialled.split(), accepted.split());
    tokio::select! {
        end = rx.recv() => panic!("{end:?}"),
        end = a_rx.recv() => panic!("{end:?}"),
        () = sleep(Duration::from_hours(1)) => {}
    }
    tx.send("after an hour".into()).await.unwrap();
    assert_eq!(rx.recv().await.unwrap(), "after an hour");
}

#[tokio::test(start_paused = true)]
async fn what_came_while_nobody_asked_counts_as_heard() {
    let (dialled, accepted) = pair(1 << 16).await;
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (dialled.split(), accepted.split());
    tx.send("early".into()).await.unwrap();
    sleep(Duration::from_hours(1)).await;
    assert_eq!(rx.recv().await.unwrap(), "early");
}

#[tokio::test]
async fn altered_and_cut_frames_end_the_link() {
    // A frame of 100 bytes is a record of 119: two bytes of length, the content, its kind and the tag.
    for at in 0..119 {
        let (dialled, accepted) = meet(flip_at(DIALLER_BYTES + at), pass()).await;
        let ((mut tx, a_rx), (_b_tx, mut rx)) = (dialled.unwrap().split(), accepted.unwrap().split());
        tx.send(Bytes::from(vec![1; 100])).await.unwrap();
        drop((tx, a_rx));
        let end = rx.recv().await.unwrap_err();
        // An altered length asks for more bytes than come.
        let fits = match at {
            0 | 1 => matches!(end, LinkError::Truncated | LinkError::Tampered),
            _ => matches!(end, LinkError::Tampered),
        };
        assert!(fits, "byte {at}: {end}");
        assert!(rx.recv().await.is_err(), "the error stays");
    }
    for at in [1, 2, 50, 118, 119] {
        let cut: Rule = Box::new(move |place, byte| (place < DIALLER_BYTES + at).then_some(byte));
        let (dialled, accepted) = meet(cut, pass()).await;
        let ((mut tx, _a_rx), (_b_tx, mut rx)) = (dialled.unwrap().split(), accepted.unwrap().split());
        tx.send(Bytes::from(vec![1; 100])).await.unwrap();
        let _ = tx.send(Bytes::from(vec![2; 100])).await;
        if at == 119 {
            assert_eq!(rx.recv().await.unwrap(), vec![1; 100]);
            assert!(matches!(rx.recv().await, Err(LinkError::Lost)), "between two frames");
        } else {
            assert!(matches!(rx.recv().await, Err(LinkError::Truncated)), "after {at} bytes");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_slows_the_writer() {
    let (dialled, accepted) = pair(10_000).await;
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (dialled.split(), accepted.split());
    let sent = tokio::spawn(async move {
        let mut sent = 0;
        while timeout(Duration::from_secs(5), tx.send(Bytes::from(vec![1; 3000]))).await.is_ok() {
            sent += 1;
        }
        (sent, tx)
    });
    let (sent, _tx) = sent.await.unwrap();
    assert_eq!(sent, 3, "what fits into the pipe");
    for _ in 0..4 {
        assert_eq!(rx.recv().await.unwrap().len(), 3000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_half_way_leaves_the_link_sound() {
    let (dialled, accepted) = pair(1000).await;
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (dialled.split(), accepted.split());
    assert!(timeout(Duration::from_millis(1), tx.send(Bytes::from(vec![1; 5000]))).await.is_err());
    let write = tokio::spawn(async move {
        tx.send(Bytes::from(vec![2; 5000])).await.unwrap();
        tx
    });
    assert_eq!(rx.recv().await.unwrap(), vec![1; 5000]);
    assert_eq!(rx.recv().await.unwrap(), vec![2; 5000]);
    write.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn recv_is_cancel_safe_at_every_byte() {
    // Every byte of the frames comes by itself, and recv is dropped and begun again in between.
    let slow: Rule = pass();
    let (a, a_far) = duplex(1 << 16);
    let (b, b_far) = duplex(1 << 16);
    let ((mut from_a, to_a), (from_b, mut to_b)) = (split(a_far), split(b_far));
    tokio::spawn(relay(from_b, to_a, slow));
    tokio::spawn(async move {
        while let Ok(byte) = from_a.read_u8().await {
            sleep(Duration::from_millis(2)).await;
            if to_b.write_all(&[byte]).await.is_err() {
                return;
            }
        }
    });
    let (dialled, accepted) = tokio::join!(dial(a, identity(2).peer_id()), accept(b));
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (dialled.unwrap().split(), accepted.unwrap().split());
    for n in 0..5_u8 {
        tx.send(Bytes::from(vec![n; 100])).await.unwrap();
    }
    for n in 0..5_u8 {
        let mut dropped = 0;
        let frame = loop {
            match timeout(Duration::from_millis(1), rx.recv()).await {
                Ok(frame) => break frame.unwrap(),
                Err(_) => dropped += 1,
            }
        };
        assert_eq!(frame, vec![n; 100]);
        assert!(dropped > 100);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_gives_up_on_a_peer_that_does_not_read() {
    let (dialled, _accepted) = pair(500).await;
    let (mut tx, mut rx) = dialled.split();
    assert!(timeout(Duration::from_millis(1), tx.send(Bytes::from(vec![1; 5000]))).await.is_err());
    timeout(Duration::from_secs(6), tx.close(CloseReason::Done)).await.unwrap();
    assert_eq!(rx.recv().await.unwrap_err().close_reason(), Some(CloseReason::Done));
    assert_eq!(tx.send("x".into()).await.unwrap_err().close_reason(), Some(CloseReason::Done));
}

#[tokio::test]
async fn a_close_comes_after_all_frames_and_ends_both_sides() {
    let (dialled, accepted) = pair(1 << 16).await;
    let ((mut a_tx, mut a_rx), (mut b_tx, mut b_rx)) = (dialled.split(), accepted.split());
    a_tx.send("last words".into()).await.unwrap();
    a_tx.close(CloseReason::Duplicate).await;
    assert_eq!(a_rx.recv().await.unwrap_err().close_reason(), Some(CloseReason::Duplicate));
    assert_eq!(b_rx.recv().await.unwrap(), "last words");
    assert_eq!(b_rx.recv().await.unwrap_err().close_reason(), Some(CloseReason::Duplicate));
    assert_eq!(b_tx.send("x".into()).await.unwrap_err().close_reason(), Some(CloseReason::Duplicate));
}

#[tokio::test(start_paused = true)]
async fn who_closed_still_reads_until_the_other_end_has_seen_it() {
    // Were it to hang up at once, an operating system may drop the close that the other end has not read yet.
    let (dialled, accepted) = pair(1000).await;
    let ((mut a_tx, a_rx), (mut b_tx, mut b_rx)) = (dialled.split(), accepted.split());
    a_tx.close(CloseReason::Busy).await;
    drop((a_tx, a_rx));
    b_tx.send(Bytes::from(vec![1; 5000])).await.unwrap();
    assert_eq!(b_rx.recv().await.unwrap_err().close_reason(), Some(CloseReason::Busy));
}

#[tokio::test(start_paused = true)]
async fn who_closed_after_an_error_still_reads_until_the_other_end_has_seen_it() {
    let (dialled, accepted) = meet(pass(), flip_at(LISTENER_BYTES + 5)).await;
    let ((mut a_tx, mut a_rx), (mut b_tx, mut b_rx)) = (dialled.unwrap().split(), accepted.unwrap().split());
    b_tx.send("altered on its way".into()).await.unwrap();
    assert!(matches!(a_rx.recv().await, Err(LinkError::Tampered)));
    a_tx.close(CloseReason::Violation).await;
    drop((a_tx, a_rx));
    // More than fits into all that is between the two.
    for n in 0..60 {
        b_tx.send(Bytes::from(vec![1; 5000])).await.unwrap_or_else(|error| panic!("frame {n}: {error}"));
    }
    assert_eq!(b_rx.recv().await.unwrap_err().close_reason(), Some(CloseReason::Violation));
}
