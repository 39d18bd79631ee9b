//! Links inside one process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;
use hedgerow_transports::limits::{DEFAULT_MAX_FRAME, MEMORY_QUEUE_FRAMES};
use hedgerow_transports::{
    Address, CloseReason, Identity, LinkError, MemoryNetwork, Transport as _, TransportError, memory_pair,
};
use tokio::time::{Duration, timeout};

fn identity(n: u8) -> Identity {
    Identity::from_seed(&[n; 32])
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

#[tokio::test]
async fn a_pair_carries_frames_both_ways_in_order() {
    let (a, b) = (identity(1).peer_id(), identity(2).peer_id());
    let (at_a, at_b) = memory_pair(a, b);
    assert_eq!((at_a.info().peer, at_a.info().initiator), (b, true));
    assert_eq!((at_b.info().peer, at_b.info().initiator), (a, false));
    assert!(at_a.info().reliable && at_b.info().reliable);
    let ((mut a_tx, mut a_rx), (mut b_tx, mut b_rx)) = (at_a.split(), at_b.split());
    let write = tokio::spawn(async move {
        for n in 0..100_u8 {
            a_tx.send(Bytes::from(vec![n])).await.unwrap();
        }
        a_tx
    });
    for n in 0..100_u8 {
        assert_eq!(b_rx.recv().await.unwrap(), vec![n]);
    }
    b_tx.send("back".into()).await.unwrap();
    assert_eq!(a_rx.recv().await.unwrap(), "back");
    drop(write.await.unwrap());
    assert!(matches!(b_rx.recv().await, Err(LinkError::Lost)));
    assert!(matches!(b_rx.recv().await, Err(LinkError::Lost)), "the error stays");
}

#[tokio::test(start_paused = true)]
async fn a_slow_reader_slows_the_writer() {
    let (at_a, at_b) = memory_pair(identity(1).peer_id(), identity(2).peer_id());
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (at_a.split(), at_b.split());
    for _ in 0..MEMORY_QUEUE_FRAMES {
        tx.send("x".into()).await.unwrap();
    }
    assert!(timeout(Duration::from_secs(3600), tx.send("y".into())).await.is_err());
    rx.recv().await.unwrap();
    tx.send("z".into()).await.unwrap();
}

#[tokio::test]
async fn a_close_comes_after_all_frames_and_ends_both_sides() {
    let (at_a, at_b) = memory_pair(identity(1).peer_id(), identity(2).peer_id());
    let ((mut a_tx, mut a_rx), (mut b_tx, mut b_rx)) = (at_a.split(), at_b.split());
    a_tx.send("last words".into()).await.unwrap();
    a_tx.close(CloseReason::NotAContact).await;
    let reason = |result: Result<(), LinkError>| result.unwrap_err().close_reason();
    assert_eq!(reason(a_rx.recv().await.map(drop)), Some(CloseReason::NotAContact));
    assert_eq!(reason(a_tx.send("x".into()).await), Some(CloseReason::NotAContact));
    assert_eq!(b_rx.recv().await.unwrap(), "last words");
    assert_eq!(reason(b_rx.recv().await.map(drop)), Some(CloseReason::NotAContact));
    assert_eq!(reason(b_tx.send("x".into()).await), Some(CloseReason::NotAContact));
}

#[tokio::test]
async fn a_frame_over_the_limit_leaves_the_link_usable() {
    let (at_a, at_b) = memory_pair(identity(1).peer_id(), identity(2).peer_id());
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (at_a.split(), at_b.split());
    let large = Bytes::from(vec![0; DEFAULT_MAX_FRAME + 1]);
    assert!(matches!(tx.send(large).await, Err(LinkError::TooLarge { max: DEFAULT_MAX_FRAME, .. })));
    let largest = Bytes::from(vec![1; DEFAULT_MAX_FRAME]);
    tx.send(largest.clone()).await.unwrap();
    assert_eq!(rx.recv().await.unwrap(), largest);
}

#[tokio::test]
async fn dialling_needs_the_right_peer_at_the_right_place() {
    let network = MemoryNetwork::new();
    let (alice, bob) = (identity(1), identity(2));
    let (at_alice, at_bob) = (network.transport(alice.clone()), network.transport(bob.clone()));
    let nowhere = at_alice.dial(&address("mem://bob"), bob.peer_id()).await;
    assert!(matches!(nowhere.map(drop), Err(TransportError::NobodyListens(_))));

    let mut listener = at_bob.listen(&address("mem://bob")).await.unwrap();
    assert_eq!(listener.address(), address("mem://bob"));
    let taken = at_alice.listen(&address("mem://bob")).await;
    assert!(matches!(taken.map(drop), Err(TransportError::AddressInUse(_))));
    let wrong = at_alice.dial(&address("mem://bob"), alice.peer_id()).await;
    assert!(matches!(
        wrong.map(drop),
        Err(TransportError::WrongPeer { expected, found }) if expected == alice.peer_id() && found == bob.peer_id()
    ));
    let foreign = at_alice.dial(&address("tcp://bob"), bob.peer_id()).await;
    assert!(matches!(foreign.map(drop), Err(TransportError::WrongScheme { .. })));

    let link = at_alice.dial(&address("mem://bob"), bob.peer_id()).await.unwrap();
    let other = listener.accept().await.unwrap();
    assert_eq!((link.info().peer, other.info().peer), (bob.peer_id(), alice.peer_id()));
    assert_eq!(link.info().address, address("mem://bob"));

    drop(listener);
    let gone = at_alice.dial(&address("mem://bob"), bob.peer_id()).await;
    assert!(matches!(gone.map(drop), Err(TransportError::NobodyListens(_))));
    at_bob.listen(&address("mem://bob")).await.unwrap();
}

#[tokio::test]
async fn recv_is_cancel_safe() {
    let (at_a, at_b) = memory_pair(identity(1).peer_id(), identity(2).peer_id());
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (at_a.split(), at_b.split());
    for n in 0..50_u8 {
        assert!(timeout(Duration::ZERO, rx.recv()).await.is_err());
        tx.send(Bytes::from(vec![n])).await.unwrap();
        assert_eq!(rx.recv().await.unwrap(), vec![n]);
    }
}
