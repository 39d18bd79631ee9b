//! What a link seals: never twice under one key and nonce.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hedgerow_transports::stream::{accept_over, dial_over};
use hedgerow_transports::{Identity, Link, LinkConfig, Transport as _, UdpTransport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::net::UdpSocket;

use crate::support::soon;

/// Everything that crossed, in pieces: a direction of a stream, or a datagram.
type Seen = Arc<Mutex<Vec<Vec<u8>>>>;

const SESSIONS: usize = 4;
/// As long as any block of a cipher; two equal ones by chance are out of the question.
const WINDOW: usize = 16;

fn identity(seed: u8) -> Identity {
    // The same in each session: all that a backup holds of keys.
    Identity::from_seed(&[seed; 32])
}

async fn watch(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>, seen: Seen, place: usize) {
    let mut room = [0; 4096];
    while let Ok(len @ 1..) = from.read(&mut room).await {
        seen.lock().unwrap()[place].extend_from_slice(&room[..len]);
        if to.write_all(&room[..len]).await.is_err() {
            return;
        }
    }
}

/// The same frames, of nothing but zeros, both ways: what is sealed shows the stream of the cipher itself.
async fn say_the_same(one: Box<dyn Link>, other: Box<dyn Link>) {
    let ((mut tx_one, mut rx_one), (mut tx_other, mut rx_other)) = (one.split(), other.split());
    for _ in 0..3 {
        tx_one.send(Bytes::from(vec![0; 1_000])).await.unwrap();
        tx_other.send(Bytes::from(vec![0; 1_000])).await.unwrap();
        assert_eq!(soon(rx_other.recv()).await.unwrap().len(), 1_000);
        assert_eq!(soon(rx_one.recv()).await.unwrap().len(), 1_000);
    }
}

/// No bytes occur twice anywhere in what was sealed.
fn assert_never_the_same(seen: &Seen, pieces: usize) {
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), pieces);
    let mut windows = HashSet::new();
    for piece in seen.iter() {
        assert!(piece.len() >= 1_000);
        for window in piece.windows(WINDOW) {
            assert!(windows.insert(window.to_vec()), "the same {WINDOW} bytes again");
        }
    }
}

/// A counter kept in a store is set back by a backup, and what follows is sealed under a key and a nonce that were
/// used. Here a device has the same long-lived keys in each session and nothing else: keys of links come of fresh
/// ones on both sides, so that the same words between the same two are never sealed alike, on streams and on
/// datagrams.
#[tokio::test]
async fn a_device_restored_from_a_backup_uses_a_key_and_a_nonce_again() {
    let seen = Seen::default();
    for session in 0..SESSIONS {
        seen.lock().unwrap().extend([vec![], vec![]]);
        let (a, a_far) = duplex(1 << 16);
        let (b, b_far) = duplex(1 << 16);
        let ((from_a, to_a), (from_b, to_b)) = (split(a_far), split(b_far));
        tokio::spawn(watch(from_a, to_b, seen.clone(), 2 * session));
        tokio::spawn(watch(from_b, to_a, seen.clone(), 2 * session + 1));
        let (dialler, listener, config) = (identity(1), identity(2), LinkConfig::default());
        let address = || "pipe://test".parse().unwrap();
        let ((a_in, a_out), (b_in, b_out)) = (split(a), split(b));
        let dial = dial_over(a_in, a_out, address(), &dialler, listener.peer_id(), &config);
        let accept = accept_over(b_in, b_out, address(), &listener, &config);
        let (one, other) = tokio::join!(dial, accept);
        say_the_same(one.unwrap(), other.unwrap()).await;
    }
    // The preamble says which protocol it is, and is not sealed.
    for piece in seen.lock().unwrap().iter_mut() {
        piece.drain(..8);
    }
    assert_never_the_same(&seen, 2 * SESSIONS);

    let seen = Seen::default();
    for _ in 0..SESSIONS {
        let listening = UdpTransport::new(identity(2));
        let mut listener = listening.listen(&"udp://127.0.0.1:0".parse().unwrap()).await.unwrap();
        let to: std::net::SocketAddr = listener.address().rest().parse().unwrap();
        let middle = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = format!("udp://{}", middle.local_addr().unwrap()).parse().unwrap();
        let (noted, mut dialler) = (seen.clone(), to);
        let relay = tokio::spawn(async move {
            let mut room = [0; 2_048];
            while let Ok((len, from)) = middle.recv_from(&mut room).await {
                // Frames, and not the greetings, which repeat themselves.
                if len >= 1_000 {
                    noted.lock().unwrap().push(room[..len].to_vec());
                }
                let next = if from == to { dialler } else { to };
                dialler = if from == to { dialler } else { from };
                let _ = middle.send_to(&room[..len], next).await;
            }
        });
        let dialling = UdpTransport::new(identity(1));
        let dial = dialling.dial(&address, identity(2).peer_id());
        let (one, other) = tokio::join!(dial, listener.accept());
        say_the_same(one.unwrap(), other.unwrap()).await;
        relay.abort();
    }
    assert_never_the_same(&seen, 6 * SESSIONS);
}
