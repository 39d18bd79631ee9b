//! What somebody on the path can and cannot do to the handshake of a stream: alter, cut, replay, reflect, splice, flood.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;
use hedgerow_proto::PeerId;
use hedgerow_transports::stream::{accept_over, dial_over};
use hedgerow_transports::{
    Address, Identity, Link, LinkConfig, LinkError, TcpConfig, TcpTransport, Transport as _, TransportError,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::time::{Duration, timeout};

type Outcome = Result<Box<dyn Link>, TransportError>;

/// Lengths of the messages of a handshake, in order: of the dialler the first and the second part, of the listener the
/// answer to each.
const MESSAGES: [usize; 4] = [42, 106, 184, 118];

fn identity(n: u8) -> Identity {
    Identity::from_seed(&[n; 32])
}

fn peer(n: u8) -> PeerId {
    identity(n).peer_id()
}

fn address() -> Address {
    "pipe://test".parse().unwrap()
}

fn config() -> LinkConfig {
    LinkConfig { handshake_limit_ms: 500, ..LinkConfig::default() }
}

async fn dial_as(n: u8, stream: DuplexStream, expect: PeerId) -> Outcome {
    let (reader, writer) = split(stream);
    dial_over(reader, writer, address(), &identity(n), expect, &config()).await
}

async fn accept_as(n: u8, stream: DuplexStream) -> Outcome {
    let (reader, writer) = split(stream);
    accept_over(reader, writer, address(), &identity(n), &config()).await
}

/// What went over a line.
#[derive(Default, Clone)]
struct Record {
    messages: Vec<Vec<u8>>,
}

/// Device 1 dials device 2; `change` may alter each of the four messages of the handshake, or shorten it, after which
/// the line is cut.
async fn meet(mut change: impl FnMut(usize, &mut Vec<u8>)) -> (Outcome, Outcome, Record) {
    let (a, mut to_a) = duplex(4096);
    let (b, mut to_b) = duplex(4096);
    let (dialling, accepting) = (tokio::spawn(dial_as(1, a, peer(2))), tokio::spawn(accept_as(2, b)));
    let mut record = Record::default();
    for (n, len) in MESSAGES.into_iter().enumerate() {
        let (from, to) = if n % 2 == 0 { (&mut to_a, &mut to_b) } else { (&mut to_b, &mut to_a) };
        let mut message = vec![0; len];
        if from.read_exact(&mut message).await.is_err() {
            break;
        }
        record.messages.push(message.clone());
        change(n, &mut message);
        if to.write_all(&message).await.is_err() || message.len() < len {
            break;
        }
    }
    drop((to_a, to_b));
    (dialling.await.unwrap(), accepting.await.unwrap(), record)
}

#[tokio::test(start_paused = true)]
async fn no_edit_of_any_byte_of_the_handshake_leads_to_a_link_or_to_another_peer() {
    let mut ends = std::collections::BTreeSet::new();
    for (n, len) in MESSAGES.into_iter().enumerate() {
        for place in 0..len {
            for flip in [0x01, 0x80, 0xff] {
                let (dialled, accepted, _) = meet(|at, message| {
                    if at == n {
                        message[place] ^= flip;
                    }
                })
                .await;
                let what = format!("message {n}, byte {place}, flip {flip:#04x}");
                // Whatever was altered, the dialler has seen it by the end.
                ends.insert(format!(
                    "{:?}",
                    kind(&dialled.err().unwrap_or_else(|| panic!("a link: {what}")))
                ));
                match accepted {
                    Err(error) => drop(ends.insert(format!("{:?}", kind(&error)))),
                    // Only of its own last message the listener cannot know whether it arrived.
                    Ok(link) => {
                        assert_eq!((n, link.info().peer), (3, peer(1)), "{what}");
                        assert!(link.split().1.recv().await.is_err(), "{what}");
                    }
                }
            }
        }
    }
    // Each end is one of the errors that stand for it.
    let known = ["ForeignVersion", "Interrupted", "KeyAgreement", "Malformed", "NotHedgerow"];
    assert_eq!(ends.iter().map(String::as_str).collect::<Vec<_>>(), known);
}

/// The name of an error alone.
fn kind(error: &TransportError) -> impl std::fmt::Debug + use<> {
    let text = format!("{error:?}");
    let name: String = text.chars().take_while(|c| c.is_alphanumeric()).collect();
    struct Name(String);
    impl std::fmt::Debug for Name {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str(&self.0)
        }
    }
    Name(name)
}

#[tokio::test(start_paused = true)]
async fn a_handshake_cut_anywhere_is_interrupted_on_both_sides() {
    for (n, len) in MESSAGES.into_iter().enumerate() {
        for keep in 0..len {
            let (dialled, accepted, _) = meet(|at, message| {
                if at == n {
                    message.truncate(keep);
                }
            })
            .await;
            let error = dialled.map(drop).unwrap_err();
            assert!(matches!(error, TransportError::Interrupted), "message {n}, {keep} bytes: {error}");
            match accepted {
                Err(error) => assert!(matches!(error, TransportError::Interrupted), "{n}, {keep}: {error}"),
                Ok(link) => {
                    assert_eq!(n, 3, "message {n}, {keep} bytes");
                    assert!(link.split().1.recv().await.is_err());
                }
            }
        }
    }
}

/// Says to a stream what was said before, whatever it answers.
async fn play(mut stream: DuplexStream, messages: Vec<Vec<u8>>) {
    for message in messages {
        if stream.write_all(&message).await.is_err() {
            return;
        }
    }
    let mut room = [0; 4096];
    while let Ok(1..) = stream.read(&mut room).await {}
}

#[tokio::test(start_paused = true)]
async fn a_recorded_handshake_opens_no_link() {
    let (dialled, accepted, record) = meet(|_, _| {}).await;
    let (_dialled, _accepted) = (dialled.unwrap(), accepted.unwrap());
    let said = |parity| record.messages.iter().skip(parity).step_by(2).cloned().collect::<Vec<_>>();
    // To the listener, what the dialler said; to the dialler, what the listener said.
    let (b, to_b) = duplex(4096);
    let (error, ()) =
        tokio::join!(async { accept_as(2, b).await.map(drop).unwrap_err() }, play(to_b, said(0)));
    assert!(matches!(error, TransportError::KeyAgreement), "{error}");
    let (a, to_a) = duplex(4096);
    let dialling = async { dial_as(1, a, peer(2)).await.map(drop).unwrap_err() };
    let (error, ()) = tokio::join!(dialling, play(to_a, said(1)));
    assert!(matches!(error, TransportError::KeyAgreement), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_dialler_that_hears_itself_has_no_link() {
    for expect in [peer(1), peer(2)] {
        let (a, far) = duplex(4096);
        let (mut from_a, mut to_a) = split(far);
        let echo = async { tokio::io::copy(&mut from_a, &mut to_a).await };
        tokio::select! {
            dialled = dial_as(1, a, expect) => {
                let error = dialled.map(drop).unwrap_err();
                assert!(matches!(error, TransportError::Malformed(_)), "{error}");
            }
            _ = echo => panic!("the line ended first"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_is_dialled_by_its_own_words_has_no_link() {
    // Two handshakes at once with one listener; each hears what it said in the other.
    let (one, far_one) = duplex(4096);
    let (other, far_other) = duplex(4096);
    let (mut far_one, mut far_other) = (far_one, far_other);
    let both = async { tokio::join!(accept_as(2, one), accept_as(2, other)) };
    tokio::select! {
        (one, other) = both => {
            for end in [one, other] {
                let error = end.map(drop).unwrap_err();
                assert!(matches!(error, TransportError::HandshakeTimeout { .. }), "{error}");
            }
        }
        _ = tokio::io::copy_bidirectional(&mut far_one, &mut far_other) => panic!("the lines ended first"),
    }
}

/// The rest of a stream in both directions, after a handshake that was passed on.
struct Line {
    to_a: DuplexStream,
    to_b: DuplexStream,
}

async fn linked(a_seed: u8, b_seed: u8) -> (Box<dyn Link>, Box<dyn Link>, Line) {
    let (a, mut to_a) = duplex(1 << 16);
    let (b, mut to_b) = duplex(1 << 16);
    let (dialling, accepting) =
        (tokio::spawn(dial_as(a_seed, a, peer(b_seed))), tokio::spawn(accept_as(b_seed, b)));
    for (n, len) in MESSAGES.into_iter().enumerate() {
        let (from, to) = if n % 2 == 0 { (&mut to_a, &mut to_b) } else { (&mut to_b, &mut to_a) };
        let mut message = vec![0; len];
        from.read_exact(&mut message).await.unwrap();
        to.write_all(&message).await.unwrap();
    }
    (dialling.await.unwrap().unwrap(), accepting.await.unwrap().unwrap(), Line { to_a, to_b })
}

/// A frame of five bytes as it goes over the line: two bytes of length, a kind, the content and a tag.
const RECORD: usize = 2 + 1 + 5 + 16;

#[tokio::test(start_paused = true)]
async fn records_of_another_session_sent_back_or_repeated_end_the_link_unread() {
    let (first, _first_b, mut line) = linked(1, 2).await;
    let (mut tx, _rx) = first.split();
    tx.send("first".into()).await.unwrap();
    let mut old = vec![0; RECORD];
    line.to_a.read_exact(&mut old).await.unwrap();
    // Into another session of the same two, in either direction, and back to the one who said it.
    for to_listener in [true, false] {
        let (dialled, accepted, mut other) = linked(1, 2).await;
        let ((_a_tx, mut a_rx), (_b_tx, mut b_rx)) = (dialled.split(), accepted.split());
        let (line, rx) =
            if to_listener { (&mut other.to_b, &mut b_rx) } else { (&mut other.to_a, &mut a_rx) };
        line.write_all(&old).await.unwrap();
        assert!(matches!(rx.recv().await, Err(LinkError::Tampered)), "to the listener: {to_listener}");
    }
    let (dialled, accepted, mut other) = linked(1, 2).await;
    let ((mut a_tx, mut a_rx), (_b_tx, mut b_rx)) = (dialled.split(), accepted.split());
    a_tx.send("hello".into()).await.unwrap();
    let mut said = vec![0; RECORD];
    other.to_a.read_exact(&mut said).await.unwrap();
    other.to_a.write_all(&said).await.unwrap();
    assert!(matches!(a_rx.recv().await, Err(LinkError::Tampered)), "its own words");
    other.to_b.write_all(&[said.clone(), said].concat()).await.unwrap();
    assert_eq!(b_rx.recv().await.unwrap(), "hello");
    assert!(matches!(b_rx.recv().await, Err(LinkError::Tampered)), "the same again");
}

#[tokio::test(start_paused = true)]
async fn who_sits_between_two_is_known_to_each_by_the_own_name_alone() {
    // Mallory (3) speaks with each of the two as himself, as well as he can: he is nobody else to either.
    let (a, to_alice) = duplex(4096);
    let (b, to_bob) = duplex(4096);
    let (alice, with_alice, bob, with_bob) = tokio::join!(
        dial_as(1, a, peer(2)),
        accept_as(3, to_alice),
        accept_as(2, b),
        dial_as(3, to_bob, peer(2))
    );
    let error = alice.map(drop).unwrap_err();
    assert!(
        matches!(error, TransportError::WrongPeer { expected, found } if expected == peer(2) && found == peer(3))
    );
    assert_eq!(with_alice.unwrap().info().peer, peer(1));
    assert_eq!((bob.unwrap().info().peer, with_bob.unwrap().info().peer), (peer(3), peer(2)));
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_is_passed_on_binds_both_to_each_other_and_to_nobody_else() {
    // Who dials Mallory and is passed on to Bob does not take Bob for Mallory, nor Bob the dialler for Mallory.
    let (a, mut to_a) = duplex(4096);
    let (b, mut to_b) = duplex(4096);
    let passing = async { tokio::io::copy_bidirectional(&mut to_a, &mut to_b).await };
    let ends = async { tokio::join!(dial_as(1, a, peer(3)), accept_as(2, b)) };
    tokio::select! {
        (dialled, accepted) = ends => {
            let error = dialled.map(drop).unwrap_err();
            let fits = matches!(error, TransportError::WrongPeer { expected, found }
                if expected == peer(3) && found == peer(2));
            assert!(fits, "{error}");
            assert_eq!(accepted.unwrap().info().peer, peer(1));
        }
        _ = passing => panic!("the line ended first"),
    }
}

#[tokio::test(start_paused = true)]
async fn records_and_frames_over_the_limit_end_the_link_before_they_are_kept() {
    // A record may be up to 65,535 bytes, and is worth nothing if it is not authentic.
    let (_dialled, accepted, mut line) = linked(1, 2).await;
    let (_tx, mut rx) = accepted.split();
    let long = [&[0xff, 0xff][..], &[0; 65_535]].concat();
    let (written, end) = tokio::join!(line.to_b.write_all(&long), rx.recv());
    written.unwrap();
    assert!(matches!(end, Err(LinkError::Tampered)));
    // A record too short to be one.
    let (_dialled, accepted, mut line) = linked(1, 2).await;
    let (_tx, mut rx) = accepted.split();
    line.to_b.write_all(&[0, 16]).await.unwrap();
    line.to_b.write_all(&[0; 16]).await.unwrap();
    assert!(matches!(rx.recv().await, Err(LinkError::Malformed(_))));
    // A handshake message that says it is long is not waited for.
    let (b, mut to_b) = duplex(4096);
    let accepting = tokio::spawn(accept_as(2, b));
    to_b.write_all(b"\xE8HGROW\x00\x01\xff\xff").await.unwrap();
    let error = accepting.await.unwrap().map(drop).unwrap_err();
    assert!(matches!(error, TransportError::Malformed(_)), "{error}");
}

#[tokio::test]
async fn a_thousand_connections_to_one_listener_all_become_links() {
    let config = TcpConfig::default();
    let mut listener = TcpTransport::with_config(identity(2), config)
        .listen(&"tcp://127.0.0.1:0".parse().unwrap())
        .await
        .unwrap();
    let to = listener.address();
    let dialler = TcpTransport::new(identity(1));
    let mut links = Vec::new();
    for _ in 0..20 {
        let dials: Vec<_> = (0..50)
            .map(|_| {
                let (dialler, to) = (dialler.clone(), to.clone());
                tokio::spawn(async move { dialler.dial(&to, peer(2)).await })
            })
            .collect();
        for _ in 0..50 {
            links.push(listener.accept().await.unwrap().split());
        }
        for dial in dials {
            links.push(dial.await.unwrap().unwrap().split());
        }
    }
    assert_eq!(links.len(), 2_000);
    assert_eq!(listener.rejections().count(), 0);
    let (mut last, mut other) = (links.pop().unwrap(), TcpTransport::new(identity(9)));
    last.0.send(Bytes::from("still up")).await.unwrap();
    // And there is room for somebody else.
    let (dialled, accepted) = tokio::join!(other.dial(&to, peer(2)), listener.accept());
    assert_eq!((dialled.unwrap().info().peer, accepted.unwrap().info().peer), (peer(2), peer(9)));
    other = TcpTransport::new(identity(10));
    let accepting = timeout(Duration::from_secs(300), async { listener.accept().await.unwrap().info().peer });
    let (dialled, accepted) = tokio::join!(other.dial(&to, peer(2)), accepting);
    assert_eq!((dialled.unwrap().info().peer, accepted.unwrap()), (peer(2), peer(10)));
}
