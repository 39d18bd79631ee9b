//! Links over TCP and over streams in general.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::Arc;

use bytes::Bytes;
use hedgerow_transports::{
    Address, CloseReason, Identity, Link, LinkConfig, LinkError, Listener, TcpConfig, TcpTransport,
    Transport as _, TransportError,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};

fn identity(n: u8) -> Identity {
    Identity::from_seed(&[n; 32])
}

fn anywhere() -> Address {
    "tcp://127.0.0.1:0".parse().unwrap()
}

async fn listen(config: TcpConfig) -> Box<dyn Listener> {
    TcpTransport::with_config(identity(2), config).listen(&anywhere()).await.unwrap()
}

/// A link between the devices 1 (dialler) and 2.
async fn pair(config: TcpConfig) -> (Box<dyn Link>, Box<dyn Link>) {
    let mut listener = listen(config.clone()).await;
    let dialler = TcpTransport::with_config(identity(1), config);
    let to = listener.address();
    let (dialled, accepted) = tokio::join!(dialler.dial(&to, identity(2).peer_id()), listener.accept());
    (dialled.unwrap(), accepted.unwrap())
}

/// What a listener says to a dialler that sends these bytes and then waits.
async fn rejection_of(bytes: &[u8], then_close: bool) -> TransportError {
    let mut listener = listen(TcpConfig::default()).await;
    let rejections = listener.rejections();
    let mut stream = TcpStream::connect(listener.address().rest()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    if then_close {
        stream.shutdown().await.unwrap();
    }
    let accepting = tokio::spawn(async move { listener.accept().await.map(drop) });
    // The listener hangs up by itself, well before its time limit.
    let mut answer = Vec::new();
    let _ =
        timeout(Duration::from_secs(9), stream.read_to_end(&mut answer)).await.expect("turned away at once");
    let rejected = loop {
        if let Some(rejected) = rejections.take().pop() {
            break rejected;
        }
        tokio::task::yield_now().await;
    };
    assert!(!accepting.is_finished(), "the listener goes on");
    accepting.abort();
    assert_eq!(rejected.address.rest(), stream.local_addr().unwrap().to_string());
    rejected.error
}

#[tokio::test]
async fn both_ends_know_each_other() {
    let (dialled, accepted) = pair(TcpConfig::default()).await;
    assert_eq!(dialled.info().peer, identity(2).peer_id());
    assert_eq!(accepted.info().peer, identity(1).peer_id());
    assert!(dialled.info().initiator && !accepted.info().initiator);
    assert!(dialled.info().reliable);
    assert_eq!(dialled.info().max_frame, accepted.info().max_frame);
}

#[tokio::test]
async fn frames_of_all_sizes_go_both_ways_at_once() {
    let link = LinkConfig { max_frame: 1 << 20, ..LinkConfig::default() };
    let (dialled, accepted) = pair(TcpConfig { link, ..TcpConfig::default() }).await;
    let sizes = [0, 1, 65_517, 65_518, 65_519, 131_036, 131_037, 1 << 20];
    let frame = |size: usize| Bytes::from((0..=252).cycle().take(size).collect::<Vec<u8>>());
    let ends: Vec<_> = [dialled, accepted]
        .into_iter()
        .map(|link| {
            let (mut tx, mut rx) = link.split();
            let write = tokio::spawn(async move {
                for size in sizes {
                    tx.send(frame(size)).await.unwrap();
                }
                tx
            });
            tokio::spawn(async move {
                for size in sizes {
                    assert_eq!(rx.recv().await.unwrap(), frame(size));
                }
                (write.await.unwrap(), rx)
            })
        })
        .collect();
    let mut halves = Vec::new();
    for end in ends {
        halves.push(end.await.unwrap());
    }
}

#[tokio::test]
async fn the_lesser_frame_limit_holds_for_both() {
    let config = |max_frame| TcpConfig {
        link: LinkConfig { max_frame, ..LinkConfig::default() },
        ..TcpConfig::default()
    };
    let mut listener = listen(config(10_000)).await;
    let dialler = TcpTransport::with_config(identity(1), config(1 << 30));
    let to = listener.address();
    let (dialled, accepted) = tokio::join!(dialler.dial(&to, identity(2).peer_id()), listener.accept());
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    assert_eq!((dialled.info().max_frame, accepted.info().max_frame), (10_000, 10_000));
    let ((mut tx, _rx), (_tx, mut rx)) = (dialled.split(), accepted.split());
    let refused = tx.send(Bytes::from(vec![0; 10_001])).await;
    assert!(matches!(refused, Err(LinkError::TooLarge { len: 10_001, max: 10_000 })));
    tx.send(Bytes::from(vec![7; 10_000])).await.unwrap();
    assert_eq!(rx.recv().await.unwrap(), vec![7; 10_000]);
}

#[tokio::test]
async fn a_close_arrives_even_if_unread_frames_wait_at_the_one_who_closes() {
    for _ in 0..20 {
        let (dialled, accepted) = pair(TcpConfig::default()).await;
        let ((mut a_tx, a_rx), (mut b_tx, mut b_rx)) = (dialled.split(), accepted.split());
        for _ in 0..5 {
            b_tx.send(Bytes::from(vec![0; 5000])).await.unwrap();
        }
        a_tx.close(CloseReason::NotAContact).await;
        drop((a_tx, a_rx));
        let end = b_rx.recv().await.unwrap_err();
        assert_eq!(end.close_reason(), Some(CloseReason::NotAContact), "{end}");
        assert!(b_tx.send("x".into()).await.is_err());
    }
}

#[tokio::test]
async fn an_end_that_vanishes_is_lost() {
    let (dialled, accepted) = pair(TcpConfig::default()).await;
    drop(dialled);
    let (_tx, mut rx) = accepted.split();
    assert!(matches!(rx.recv().await, Err(LinkError::Lost)));
}

#[tokio::test]
async fn the_wrong_peer_is_named() {
    let mut listener = listen(TcpConfig::default()).await;
    let to = listener.address();
    let expected = identity(3).peer_id();
    let accepting = tokio::spawn(async move { listener.accept().await });
    let error = TcpTransport::new(identity(1)).dial(&to, expected).await.map(drop).unwrap_err();
    let found = identity(2).peer_id();
    assert!(
        matches!(error, TransportError::WrongPeer { expected: e, found: f } if e == expected && f == found)
    );
    // The listener had no way to know; its link is lost at once.
    let (_tx, mut rx) = accepting.await.unwrap().unwrap().split();
    assert!(matches!(rx.recv().await, Err(LinkError::Lost)));
}

#[tokio::test]
async fn garbage_is_told_from_a_foreign_version() {
    let error = rejection_of(b"GET / HTTP/1.1\r\n\r\n", false).await;
    assert!(matches!(error, TransportError::NotHedgerow), "{error}");
    let error = rejection_of(b"\xE8HGRO!", false).await;
    assert!(matches!(error, TransportError::NotHedgerow), "{error}");
    let error = rejection_of(b"\xE8HGROW\x00\x07", false).await;
    assert!(matches!(error, TransportError::ForeignVersion { ours: 1, theirs: 7 }), "{error}");
    let error = rejection_of(b"\xE8HGROW\x00\x01\x00\x21", false).await;
    assert!(matches!(error, TransportError::Malformed(_)), "{error}");
}

#[tokio::test]
async fn a_truncated_handshake_is_interrupted_wherever_it_ends() {
    let whole = [&b"\xE8HGROW\x00\x01\x00\x20"[..], &[9; 32]].concat();
    for len in 0..=whole.len() {
        let error = rejection_of(&whole[..len], true).await;
        assert!(matches!(error, TransportError::Interrupted), "after {len} bytes: {error}");
    }
}

#[tokio::test]
async fn the_dialler_too_tells_garbage_from_a_foreign_version() {
    for (answer, garbage) in [(&b"220 smtp.example ready\r\n"[..], true), (&b"\xE8HGROW\x00\x09"[..], false)]
    {
        let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = Address::new("tcp", server.local_addr().unwrap()).unwrap();
        let serve = tokio::spawn(async move {
            let (mut stream, _) = server.accept().await.unwrap();
            stream.write_all(answer).await.unwrap();
            stream
        });
        let error =
            TcpTransport::new(identity(1)).dial(&to, identity(2).peer_id()).await.map(drop).unwrap_err();
        if garbage {
            assert!(matches!(error, TransportError::NotHedgerow), "{error}");
        } else {
            assert!(matches!(error, TransportError::ForeignVersion { ours: 1, theirs: 9 }), "{error}");
        }
        serve.await.unwrap();
    }
}

#[tokio::test]
async fn a_closed_port_and_bad_addresses_are_told() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let to = Address::new("tcp", server.local_addr().unwrap()).unwrap();
    drop(server);
    let transport = TcpTransport::new(identity(1));
    let peer = identity(2).peer_id();
    let error = transport.dial(&to, peer).await.map(drop).unwrap_err();
    assert!(matches!(error, TransportError::NobodyListens(_)), "{error}");
    let error = transport.dial(&"tcp://no-port".parse().unwrap(), peer).await.map(drop).unwrap_err();
    assert!(matches!(error, TransportError::Unresolvable { .. }), "{error}");
    let error = transport.dial(&"udp://127.0.0.1:1".parse().unwrap(), peer).await.map(drop).unwrap_err();
    assert!(matches!(error, TransportError::WrongScheme { .. }), "{error}");
    let listener = listen(TcpConfig::default()).await;
    let error = transport.listen(&listener.address()).await.map(drop).unwrap_err();
    assert!(matches!(error, TransportError::AddressInUse(_)), "{error}");
}

/// Dials that go no further, from another address than that of honest diallers here.
async fn idle_dials(to: &Address, count: usize) -> Vec<TcpStream> {
    let mut idle = Vec::new();
    for _ in 0..count {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        idle.push(socket.connect(to.rest().parse().unwrap()).await.unwrap());
    }
    idle
}

#[tokio::test]
async fn a_flood_of_half_open_handshakes_from_one_address_does_not_keep_out_another() {
    let mut listener = listen(TcpConfig { max_handshakes: 8, ..TcpConfig::default() }).await;
    let rejections = listener.rejections();
    let to = listener.address();
    let accepting = tokio::spawn(async move {
        let mut peers = Vec::new();
        for _ in 0..5 {
            peers.push(listener.accept().await.unwrap().info().peer);
        }
        (peers, listener)
    });
    let mut idle = Vec::new();
    for n in 10..15 {
        idle.extend(idle_dials(&to, 200).await);
        // All at once, without waiting for any of the idle ones to grow old.
        let link = TcpTransport::new(identity(n)).dial(&to, identity(2).peer_id()).await;
        link.unwrap_or_else(|error| panic!("{n}: {error}"));
    }
    let (peers, _listener) = accepting.await.unwrap();
    assert_eq!(peers, (10..15).map(|n| identity(n).peer_id()).collect::<Vec<_>>());
    assert!(rejections.count() >= 900, "{}", rejections.count());
    assert!(rejections.take().iter().all(|rejected| matches!(rejected.error, TransportError::Full(_))));
}

#[tokio::test]
async fn who_floods_from_the_same_address_gets_old_and_makes_room() {
    let mut listener = listen(TcpConfig { max_handshakes: 4, ..TcpConfig::default() }).await;
    let to = listener.address();
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(to.rest()).await.unwrap());
    }
    let accepting = tokio::spawn(async move { listener.accept().await.map(|link| link.info().peer) });
    let dialler = TcpTransport::new(identity(1));
    let begin = std::time::Instant::now();
    let link = loop {
        // Turned away at first, since those that are there are new too.
        match dialler.dial(&to, identity(2).peer_id()).await {
            Ok(link) => break link,
            Err(TransportError::Interrupted) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => panic!("{error}"),
        }
        assert!(begin.elapsed() < Duration::from_secs(300), "never let in");
    };
    assert_eq!(accepting.await.unwrap().unwrap(), identity(1).peer_id());
    drop(link);
}

#[tokio::test]
async fn many_dial_at_once() {
    let mut listener = listen(TcpConfig::default()).await;
    let to = Arc::new(listener.address());
    let dials: Vec<_> = (10..60)
        .map(|n| {
            let to = to.clone();
            tokio::spawn(async move {
                TcpTransport::new(identity(n)).dial(&to, identity(2).peer_id()).await.unwrap()
            })
        })
        .collect();
    let mut peers = Vec::new();
    for _ in 10..60 {
        peers.push(listener.accept().await.unwrap().info().peer);
    }
    peers.sort();
    let mut expected: Vec<_> = (10..60).map(|n| identity(n).peer_id()).collect();
    expected.sort();
    assert_eq!(peers, expected);
    for dial in dials {
        dial.await.unwrap();
    }
}
