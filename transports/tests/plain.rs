//! Plain streams to peers of other makers: frames are found, bounds hold, half a frame is not waited for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;
use hedgerow_proto::PeerId;
use hedgerow_proto::mvds::peer_id;
use hedgerow_transports::plain::{BspTcpTransport, MvdsTcpTransport, bsp_peer_id, is_plain, mvds_key_of};
use hedgerow_transports::{
    Address, CloseReason, FrameReceiver, LinkConfig, LinkError, Listener, Transport, TransportError,
};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

fn mvds(n: u8) -> (MvdsTcpTransport, [u8; 65]) {
    let key = mvds_key_of(PeerId::from_bytes([n; 32]));
    (MvdsTcpTransport::new(key, LinkConfig::default()), key)
}

fn bsp() -> BspTcpTransport {
    BspTcpTransport::new(LinkConfig::default())
}

async fn raw(listener: &dyn Listener) -> TcpStream {
    let address = listener.address();
    TcpStream::connect(address.rest().split('/').next().unwrap()).await.unwrap()
}

async fn receiver(listener: &mut Box<dyn Listener>) -> (Box<dyn FrameReceiver>, PeerId) {
    let link = listener.accept().await.unwrap();
    let peer = link.info().peer;
    (link.split().1, peer)
}

#[tokio::test]
async fn dialect_mvds_frames_go_both_ways_between_those_who_say_who_they_are() {
    let ((ann, ann_key), (bob, bob_key)) = (mvds(1), mvds(2));
    let mut listener = bob.listen(&"mvds+tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.address();
    assert!(is_plain(&address));
    let (dialled, accepted) = tokio::join!(ann.dial(&address, peer_id(&bob_key)), listener.accept());
    let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
    assert_eq!(accepted.info().peer, peer_id(&ann_key));
    let ((mut to_bob, mut from_bob), (mut to_ann, mut from_ann)) = (dialled.split(), accepted.split());
    assert_eq!(from_ann.recv().await.unwrap(), "", "who dials says who it is, with an empty payload");
    for frame in ["", "one", "two"] {
        to_bob.send(frame.into()).await.unwrap();
        to_ann.send(frame.into()).await.unwrap();
        assert_eq!(from_ann.recv().await.unwrap(), frame);
        assert_eq!(from_bob.recv().await.unwrap(), frame);
    }
    let large = Bytes::from(vec![7; 1 << 20]);
    let (sent, received) = tokio::join!(to_bob.send(large.clone()), from_ann.recv());
    sent.unwrap();
    assert_eq!(received.unwrap(), large);
    assert!(matches!(to_bob.send(vec![7; (1 << 20) + 1].into()).await, Err(LinkError::TooLarge { .. })));
    to_bob.close(CloseReason::Done).await;
    assert!(matches!(from_ann.recv().await, Err(LinkError::Lost)));
}

#[tokio::test]
async fn dialect_mvds_a_frame_of_another_sender_ends_the_link() {
    let ((ann, _), (bob, bob_key)) = (mvds(1), mvds(2));
    let mut listener = bob.listen(&"mvds+tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.address();
    // Ann expects somebody else at this place.
    let (dialled, accepted) =
        tokio::join!(ann.dial(&address, PeerId::from_bytes([9; 32])), listener.accept());
    let ((_to_bob, mut from_bob), (mut to_ann, _from_ann)) =
        (dialled.unwrap().split(), accepted.unwrap().split());
    to_ann.send("hello".into()).await.unwrap();
    assert!(matches!(from_bob.recv().await, Err(LinkError::Malformed(_))));
    let mut stream = raw(&*listener).await;
    let frame = |key: &[u8; 65]| [&65_u32.to_be_bytes()[..], key].concat();
    stream.write_all(&frame(&bob_key)).await.unwrap();
    let (mut from, peer) = receiver(&mut listener).await;
    assert_eq!(peer, peer_id(&bob_key));
    from.recv().await.unwrap();
    stream.write_all(&frame(&[4; 65])).await.unwrap();
    assert!(matches!(from.recv().await, Err(LinkError::Malformed(_))));
}

#[tokio::test]
async fn dialect_mvds_lengths_beyond_the_limit_end_the_link_before_they_are_read() {
    let (bob, key) = mvds(2);
    let mut listener = bob.listen(&"mvds+tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut stream = raw(&*listener).await;
    stream.write_all(&[&65_u32.to_be_bytes()[..], &key].concat()).await.unwrap();
    let (mut from, _) = receiver(&mut listener).await;
    from.recv().await.unwrap();
    stream.write_all(&(65_u32 + (1 << 20) + 1).to_be_bytes()).await.unwrap();
    assert!(matches!(from.recv().await, Err(LinkError::TooLarge { .. })));
}

/// Time stands still but for waits that nothing else ends.
#[tokio::test(start_paused = true)]
async fn dialect_who_does_not_say_who_it_is_is_turned_away() {
    let (bob, _) = mvds(2);
    let mut listener = bob.listen(&"mvds+tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let rejections = listener.rejections();
    let stream = raw(&*listener).await;
    let waits = tokio::time::timeout(std::time::Duration::from_secs(60), listener.accept()).await;
    assert!(waits.is_err());
    let rejected = rejections.take();
    assert!(matches!(rejected[0].error, TransportError::HandshakeTimeout { .. }), "{rejected:?}");
    drop(stream);
}

#[tokio::test]
async fn dialect_bsp_records_are_found_in_whatever_pieces_they_come() {
    let mut listener = bsp().listen(&"bsp+tcp://127.0.0.1:0/anna".parse().unwrap()).await.unwrap();
    let address = listener.address();
    assert!(address.rest().ends_with("/anna"), "{address}");
    let mut stream = raw(&*listener).await;
    let (mut from, peer) = receiver(&mut listener).await;
    assert_eq!(peer, bsp_peer_id("anna"));
    let records: Vec<u8> = [&[0, 4, 0, 1, 0][..], &[0, 9, 0, 3, 1, 2, 3], &[0, 0, 0, 32], &[5; 32]].concat();
    for byte in &records {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    let mut heard = Vec::new();
    while heard.len() < records.len() {
        heard.extend_from_slice(&from.recv().await.unwrap());
    }
    assert_eq!(heard, records);
    // What is whole counts, and then it ends.
    stream.write_all(&[0, 4, 0, 1, 0, 1, 0, 0, 0]).await.unwrap();
    assert_eq!(from.recv().await.unwrap(), vec![0, 4, 0, 1, 0]);
    assert!(matches!(from.recv().await, Err(LinkError::Malformed(_))));
}

#[tokio::test(start_paused = true)]
async fn dialect_bsp_the_rest_of_a_record_is_not_waited_for_for_ever_and_silence_is_borne() {
    let mut listener = bsp().listen(&"bsp+tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let mut stream = raw(&*listener).await;
    let (mut from, peer) = receiver(&mut listener).await;
    assert_eq!(peer, bsp_peer_id("bsp"));
    let hour = std::time::Duration::from_secs(3_600);
    assert!(tokio::time::timeout(hour, from.recv()).await.is_err(), "who says nothing is not turned away");
    stream.write_all(&[0, 0, 0]).await.unwrap();
    assert!(matches!(from.recv().await, Err(LinkError::Timeout { .. })));
    let mut stream = raw(&*listener).await;
    let (mut from, _) = receiver(&mut listener).await;
    stream.write_all(&[0, 0, 0, 32, 1]).await.unwrap();
    drop(stream);
    assert!(matches!(from.recv().await, Err(LinkError::Truncated)));
}

#[tokio::test]
async fn dialect_bsp_an_address_says_who_is_dialled() {
    let listener = bsp().listen(&"bsp+tcp://127.0.0.1:0/anna".parse().unwrap()).await.unwrap();
    let address = listener.address();
    let wrong = bsp().dial(&address, bsp_peer_id("bert")).await.map(drop);
    assert!(matches!(wrong, Err(TransportError::WrongPeer { .. })));
    let link = bsp().dial(&address, bsp_peer_id("anna")).await.unwrap();
    assert!(link.info().initiator && link.info().peer == bsp_peer_id("anna"));
    let other: Address = "tcp://127.0.0.1:1".parse().unwrap();
    assert!(!is_plain(&other));
    assert!(matches!(bsp().listen(&other).await.map(drop), Err(TransportError::WrongScheme { .. })));
}
