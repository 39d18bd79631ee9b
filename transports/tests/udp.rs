//! Links over UDP, through a middleman that loses, repeats, reorders and alters datagrams.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/middleman.rs"]
mod middleman;

use std::collections::HashSet;
use std::net::SocketAddr;

use bytes::Bytes;
use hedgerow_proto::PeerId;
use hedgerow_transports::{
    Address, CloseReason, FrameReceiver, Identity, Link, LinkError, Listener, Transport as _, TransportError,
    UdpConfig, UdpTransport,
};
use middleman::{DATA, Middleman, Rule, on, pass};
use tokio::net::UdpSocket;
use tokio::time::{Duration, timeout};

fn identity(n: u8) -> Identity {
    Identity::from_seed(&[n; 32])
}

/// Quick to repeat itself, so that tests are short.
fn config() -> UdpConfig {
    UdpConfig { retry_ms: 20, ..UdpConfig::default() }
}

async fn listen(config: UdpConfig) -> Box<dyn Listener> {
    let at = "udp://127.0.0.1:0".parse().unwrap();
    UdpTransport::with_config(identity(2), config).listen(&at).await.unwrap()
}

async fn dial(to: &Address, expect: PeerId) -> Result<Box<dyn Link>, TransportError> {
    UdpTransport::with_config(identity(1), config()).dial(to, expect).await
}

async fn next(rx: &mut Box<dyn FrameReceiver>) -> Option<Bytes> {
    timeout(Duration::from_millis(300), rx.recv()).await.ok().map(Result::unwrap)
}

async fn pair_through(
    outward: Rule,
    inward: Rule,
) -> (Box<dyn Link>, Box<dyn Link>, Middleman, Box<dyn Listener>) {
    let mut listener = listen(config()).await;
    let middleman = Middleman::new(&listener.address(), outward, inward).await;
    let (dialled, accepted) =
        tokio::join!(dial(&middleman.address, identity(2).peer_id()), listener.accept());
    (dialled.unwrap(), accepted.unwrap(), middleman, listener)
}

#[tokio::test]
async fn frames_go_both_ways() {
    let mut listener = listen(config()).await;
    let to = listener.address();
    let (dialled, accepted) = tokio::join!(dial(&to, identity(2).peer_id()), listener.accept());
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    assert_eq!((dialled.info().peer, accepted.info().peer), (identity(2).peer_id(), identity(1).peer_id()));
    assert!(!dialled.info().reliable && !accepted.info().reliable);
    assert!(dialled.info().initiator && !accepted.info().initiator);
    assert_eq!((dialled.info().max_frame, accepted.info().max_frame), (1170, 1170));
    let ((mut a_tx, mut a_rx), (mut b_tx, mut b_rx)) = (dialled.split(), accepted.split());
    for size in [0, 1, 1170] {
        let frame = Bytes::from(vec![7; size]);
        a_tx.send(frame.clone()).await.unwrap();
        assert_eq!(next(&mut b_rx).await, Some(frame.clone()));
        b_tx.send(frame.clone()).await.unwrap();
        assert_eq!(next(&mut a_rx).await, Some(frame));
    }
    let refused = a_tx.send(Bytes::from(vec![0; 1171])).await;
    assert!(matches!(refused, Err(LinkError::TooLarge { len: 1171, max: 1170 })));
    a_tx.send("still up".into()).await.unwrap();
    assert_eq!(next(&mut b_rx).await.unwrap(), "still up");
}

#[tokio::test]
async fn a_close_is_heard_with_its_reason() {
    let (dialled, accepted, _middleman, _listener) = pair_through(pass(), pass()).await;
    let ((mut a_tx, mut a_rx), (mut b_tx, mut b_rx)) = (dialled.split(), accepted.split());
    b_tx.close(CloseReason::NotAContact).await;
    assert_eq!(a_rx.recv().await.unwrap_err().close_reason(), Some(CloseReason::NotAContact));
    assert_eq!(a_tx.send("x".into()).await.unwrap_err().close_reason(), Some(CloseReason::NotAContact));
    assert_eq!(b_rx.recv().await.unwrap_err().close_reason(), Some(CloseReason::NotAContact));
}

#[tokio::test]
async fn a_close_survives_the_loss_of_most_of_its_copies() {
    let mut left = 3;
    let inward = on(DATA, move |datagram| {
        // The proof has 129 bytes, a close 31.
        if datagram.len() > 100 {
            return vec![datagram];
        }
        left -= 1;
        if left == 0 { vec![datagram] } else { vec![] }
    });
    let (dialled, accepted, _middleman, _listener) = pair_through(pass(), inward).await;
    let ((_a_tx, mut a_rx), (mut b_tx, _b_rx)) = (dialled.split(), accepted.split());
    b_tx.close(CloseReason::Busy).await;
    assert_eq!(a_rx.recv().await.unwrap_err().close_reason(), Some(CloseReason::Busy));
}

#[tokio::test]
async fn the_handshake_survives_loss_of_the_first_of_each_packet_and_copies_of_all() {
    let clumsy = || -> Rule {
        let mut seen = HashSet::new();
        Box::new(
            move |datagram| if seen.insert(datagram[0]) { vec![] } else { vec![datagram.clone(), datagram] },
        )
    };
    let (dialled, accepted, middleman, mut listener) = pair_through(clumsy(), clumsy()).await;
    let ((mut a_tx, _a_rx), (_b_tx, mut b_rx)) = (dialled.split(), accepted.split());
    // The middleman takes the first DATA of the dialler for the first of its kind.
    for frame in ["lost", "found"] {
        a_tx.send(frame.into()).await.unwrap();
    }
    assert_eq!(next(&mut b_rx).await.unwrap(), "found");
    assert_eq!(next(&mut b_rx).await, None, "the copy is not delivered");
    assert!(timeout(Duration::from_millis(50), listener.accept()).await.is_err(), "one link came of it");
    drop(middleman);
}

#[tokio::test]
async fn repeated_reordered_and_replayed_datagrams_are_delivered_once_each() {
    // Collects ten datagrams, then sends them on backwards and twice.
    let mut held = Vec::new();
    let outward = on(DATA, move |datagram| {
        held.push(datagram);
        if held.len() < 10 {
            return vec![];
        }
        held.drain(..).rev().flat_map(|datagram| [datagram.clone(), datagram]).collect()
    });
    let (dialled, accepted, _middleman, _listener) = pair_through(outward, pass()).await;
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (dialled.split(), accepted.split());
    for n in 0..20_u8 {
        tx.send(Bytes::from(vec![n])).await.unwrap();
    }
    let mut got = Vec::new();
    while let Some(frame) = next(&mut rx).await {
        got.push(frame[0]);
    }
    let expected: Vec<u8> = (0..10).rev().chain((10..20).rev()).collect();
    assert_eq!(got, expected);
}

#[tokio::test]
async fn altered_datagrams_are_dropped_and_the_link_lives() {
    let mut n = 0;
    let outward = on(DATA, move |mut datagram| {
        let place = 5 + n % (datagram.len() - 5);
        n += 1;
        if n % 2 == 0 {
            datagram[place] ^= 0x40;
        }
        vec![datagram]
    });
    let (dialled, accepted, _middleman, _listener) = pair_through(outward, pass()).await;
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (dialled.split(), accepted.split());
    for n in 0..100_u8 {
        tx.send(Bytes::from(vec![n; 5])).await.unwrap();
    }
    for n in (0..100_u8).step_by(2) {
        assert_eq!(next(&mut rx).await.unwrap(), vec![n; 5]);
    }
    assert_eq!(next(&mut rx).await, None);
}

#[tokio::test]
async fn no_nonce_is_used_twice_on_the_wire() {
    // The dialler has to show its proof several times.
    let mut swallowed = 0;
    let inward = on(DATA, move |datagram| {
        swallowed += 1;
        if swallowed <= 4 { vec![] } else { vec![datagram] }
    });
    let (dialled, accepted, middleman, _listener) = pair_through(pass(), inward).await;
    let ((mut a_tx, mut a_rx), (mut b_tx, mut b_rx)) = (dialled.split(), accepted.split());
    for _ in 0..50 {
        a_tx.send("a".into()).await.unwrap();
        b_tx.send("b".into()).await.unwrap();
        assert!(next(&mut b_rx).await.is_some() && next(&mut a_rx).await.is_some());
    }
    let seen = middleman.seen.lock().unwrap();
    let mut nonces = HashSet::new();
    for (outward, datagram) in seen.iter() {
        let nonce = match datagram[0] {
            5 => &datagram[69..77],
            DATA => &datagram[5..13],
            _ => continue,
        };
        assert!(nonces.insert((*outward, nonce.to_vec())), "a nonce comes again in {datagram:?}");
    }
    assert!(nonces.len() >= 108, "{}", nonces.len());
}

#[tokio::test]
async fn the_wrong_peer_is_named_and_its_link_closed() {
    let mut listener = listen(config()).await;
    let expected = identity(3).peer_id();
    let error = dial(&listener.address(), expected).await.map(drop).unwrap_err();
    let found = identity(2).peer_id();
    assert!(
        matches!(error, TransportError::WrongPeer { expected: e, found: f } if e == expected && f == found)
    );
    let (_tx, mut rx) = listener.accept().await.unwrap().split();
    assert_eq!(rx.recv().await.unwrap_err().close_reason(), Some(CloseReason::Done));
}

#[tokio::test]
async fn garbage_and_foreign_versions_are_told_apart() {
    let mut listener = listen(config()).await;
    let rejections = listener.rejections();
    let to = listener.address();
    let accepting = tokio::spawn(async move { listener.accept().await.map(drop) });
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(to.rest()).await.unwrap();
    socket.send(b"what is this").await.unwrap();
    let mut hello = [&b"\x01\xE8HGROW\x00\x09\x00\x00\x00\x2a"[..], &[0; 179]].concat();
    assert_eq!(hello.len(), 192);
    socket.send(&hello).await.unwrap();
    let mut answer = [0; 200];
    let len = socket.recv(&mut answer).await.unwrap();
    assert_eq!(&answer[..len], b"\x03\x00\x00\x00\x2a\x00\x01", "which version is spoken here");
    let rejected = rejections.take();
    assert!(matches!(rejected[0].error, TransportError::NotHedgerow));
    assert!(matches!(rejected[1].error, TransportError::ForeignVersion { ours: 1, theirs: 9 }));
    // A hello too short to be answered gets no answer at all: nobody can be flooded by it.
    hello.truncate(50);
    socket.send(&hello).await.unwrap();
    assert!(timeout(Duration::from_millis(100), socket.recv(&mut answer)).await.is_err());
    assert!(!accepting.is_finished());
    accepting.abort();
}

#[tokio::test]
async fn a_dialler_learns_that_the_version_is_foreign() {
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = Address::new("udp", server.local_addr().unwrap()).unwrap();
    tokio::spawn(async move {
        let mut hello = [0; 300];
        loop {
            let (_, from) = server.recv_from(&mut hello).await.unwrap();
            let answer = [&[3][..], &hello[9..13], &[0, 5]].concat();
            server.send_to(&answer, from).await.unwrap();
        }
    });
    // Anybody could have said so, which is why the dial goes on until its time is over.
    let config = UdpConfig { handshake_limit_ms: 200, ..config() };
    let dialler = UdpTransport::with_config(identity(1), config);
    let error = dialler.dial(&to, identity(2).peer_id()).await.map(drop).unwrap_err();
    assert!(matches!(error, TransportError::ForeignVersion { ours: 1, theirs: 5 }), "{error}");
}

#[tokio::test]
async fn hellos_without_a_cookie_leave_no_trace_and_get_less_than_they_send() {
    let mut listener = listen(UdpConfig { max_half_open: 2, ..config() }).await;
    let to = listener.address();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(to.rest()).await.unwrap();
    let mut answer = [0; 300];
    for n in 0..100_u8 {
        let hello = [&b"\x01\xE8HGROW\x00\x01\x00\x00\x00"[..], &[n], &[9; 32], &[0; 147]].concat();
        assert_eq!(hello.len(), 192);
        socket.send(&hello).await.unwrap();
        let len = socket.recv(&mut answer).await.unwrap();
        assert_eq!((answer[0], len), (2, 21), "a cookie and no more");
    }
    // Had they been remembered, there would be no room now.
    let (dialled, accepted) = tokio::join!(dial(&to, identity(2).peer_id()), listener.accept());
    dialled.unwrap();
    accepted.unwrap();
    assert_eq!(listener.rejections().count(), 0);
}

#[tokio::test]
async fn half_open_handshakes_are_bounded_and_expire() {
    let limit_ms = 300;
    let mut listener = listen(UdpConfig { max_half_open: 2, handshake_limit_ms: limit_ms, ..config() }).await;
    let to = listener.address();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(to.rest()).await.unwrap();
    let mut answer = [0; 300];
    for n in 0..3_u8 {
        let mut hello = [&b"\x01\xE8HGROW\x00\x01\x00\x00\x00"[..], &[n], &[9; 32], &[0; 147]].concat();
        socket.send(&hello).await.unwrap();
        socket.recv(&mut answer).await.unwrap();
        hello[45..61].copy_from_slice(&answer[5..21]);
        socket.send(&hello).await.unwrap();
        let reply = timeout(Duration::from_millis(100), socket.recv(&mut answer)).await;
        assert_eq!(reply.is_ok(), n < 2, "hello {n}");
    }
    let rejections = listener.rejections();
    assert!(rejections.take().iter().any(|rejected| matches!(rejected.error, TransportError::Full(_))));
    // They never go on, so their time runs out and there is room again.
    let (dialled, accepted) = tokio::join!(dial(&to, identity(2).peer_id()), listener.accept());
    dialled.unwrap();
    accepted.unwrap();
    let expired = rejections.take();
    assert!(expired.iter().any(|rejected| matches!(rejected.error, TransportError::HandshakeTimeout { .. })));
}

#[tokio::test]
async fn a_link_follows_its_peer_to_another_address() {
    // The middleman moves to a new port when it is told to, like an address translator that has forgotten.
    let mut listener = listen(config()).await;
    let to: SocketAddr = listener.address().rest().parse().unwrap();
    let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = Address::new("udp", front.local_addr().unwrap()).unwrap();
    let moves = std::sync::Arc::new(tokio::sync::Notify::new());
    let told = moves.clone();
    let mover = tokio::spawn(async move {
        let (mut a, mut b) = (vec![0; 2048], vec![0; 2048]);
        let mut back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut dialler: Option<SocketAddr> = None;
        loop {
            tokio::select! {
                biased;
                () = told.notified() => back = UdpSocket::bind("127.0.0.1:0").await.unwrap(),
                Ok((len, from)) = front.recv_from(&mut a) => {
                    dialler = Some(from);
                    back.send_to(&a[..len], to).await.unwrap();
                }
                Ok((len, _)) = back.recv_from(&mut b) => {
                    front.send_to(&b[..len], dialler.unwrap()).await.unwrap();
                }
            }
        }
    });
    let (dialled, accepted) = tokio::join!(dial(&address, identity(2).peer_id()), listener.accept());
    let ((mut a_tx, mut a_rx), (mut b_tx, mut b_rx)) = (dialled.unwrap().split(), accepted.unwrap().split());
    for round in 0..5 {
        moves.notify_one();
        tokio::time::sleep(Duration::from_millis(5)).await;
        a_tx.send("from a new place".into()).await.unwrap();
        assert_eq!(next(&mut b_rx).await.unwrap(), "from a new place");
        // What is said before the new place is known to be right goes to the old one, and is lost.
        let mut lost = 0;
        loop {
            b_tx.send("answer".into()).await.unwrap();
            if timeout(Duration::from_millis(20), a_rx.recv()).await.is_ok() {
                break;
            }
            lost += 1;
            assert!(lost < 100, "round {round}: it never follows");
        }
    }
    mover.abort();
}

#[tokio::test]
async fn silence_ends_a_link_and_signs_of_life_keep_it() {
    let short = |keepalive_ms| UdpConfig { keepalive_ms, silence_ms: 400, ..config() };
    // Both give signs of life: nothing happens for three times the limit.
    let mut listener = listen(short(100)).await;
    let to = listener.address();
    let dialler = UdpTransport::with_config(identity(1), short(100));
    let (dialled, accepted) = tokio::join!(dialler.dial(&to, identity(2).peer_id()), listener.accept());
    let ((_a_tx, mut a_rx), (_b_tx, mut b_rx)) = (dialled.unwrap().split(), accepted.unwrap().split());
    tokio::select! {
        end = a_rx.recv() => panic!("{end:?}"),
        end = b_rx.recv() => panic!("{end:?}"),
        () = tokio::time::sleep(Duration::from_millis(1200)) => {}
    }
    // One vanishes without a word.
    drop((_a_tx, a_rx));
    assert!(matches!(b_rx.recv().await, Err(LinkError::Timeout { silence_ms: 400 })));
}

#[tokio::test]
async fn one_socket_serves_many_links_and_sessions_are_bounded() {
    let mut listener = listen(UdpConfig { max_sessions: 20, ..config() }).await;
    let to = listener.address();
    let mut links = Vec::new();
    for n in 0..20 {
        let (dialled, accepted) = tokio::join!(
            async {
                UdpTransport::with_config(identity(10 + n), config()).dial(&to, identity(2).peer_id()).await
            },
            listener.accept()
        );
        links.push((dialled.unwrap().split(), accepted.unwrap().split()));
    }
    for (n, ((tx, _), _)) in links.iter_mut().enumerate() {
        tx.send(Bytes::from(vec![u8::try_from(n).unwrap()])).await.unwrap();
    }
    for (n, (_, (_, rx))) in links.iter_mut().enumerate() {
        assert_eq!(next(rx).await.unwrap(), vec![u8::try_from(n).unwrap()]);
    }
    let impatient = UdpConfig { handshake_limit_ms: 300, ..config() };
    let dialler = UdpTransport::with_config(identity(1), impatient);
    let error = dialler.dial(&to, identity(2).peer_id()).await.map(drop).unwrap_err();
    assert!(matches!(error, TransportError::HandshakeTimeout { limit_ms: 300 }), "{error}");
    assert!(
        listener.rejections().take().iter().any(|rejected| matches!(rejected.error, TransportError::Full(_)))
    );
    links.pop();
    let (dialled, accepted) = tokio::join!(dialler.dial(&to, identity(2).peer_id()), listener.accept());
    dialled.unwrap();
    accepted.unwrap();
}

#[tokio::test]
async fn a_listener_that_is_dropped_leaves_its_links_and_its_place() {
    let transport = UdpTransport::with_config(identity(2), config());
    let mut listener = transport.listen(&"udp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let to = listener.address();
    let (dialled, accepted) = tokio::join!(dial(&to, identity(2).peer_id()), listener.accept());
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (dialled.unwrap().split(), accepted.unwrap().split());
    let taken = transport.listen(&to).await.map(drop).unwrap_err();
    assert!(matches!(taken, TransportError::AddressInUse(_)), "{taken}");
    drop(listener);
    tx.send("x".into()).await.unwrap();
    assert_eq!(next(&mut rx).await.unwrap(), "x");
    let mut again = transport.listen(&to).await.unwrap();
    let (dialled, accepted) = tokio::join!(dial(&to, identity(2).peer_id()), again.accept());
    dialled.unwrap();
    accepted.unwrap();
}
