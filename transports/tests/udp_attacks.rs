//! What somebody on or off the path of datagrams can and cannot do to dials, links and listeners over UDP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/middleman.rs"]
mod middleman;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hedgerow_proto::PeerId;
use hedgerow_transports::{
    Address, CloseReason, FrameReceiver, Identity, Link, LinkError, Listener, Transport as _, TransportError,
    UdpConfig, UdpTransport,
};
use middleman::{DATA, FINISH, HELLO, Middleman, OTHER_VERSION, REPLY, RETRY, on, pass};
use tokio::net::UdpSocket;
use tokio::time::{Duration, timeout};

/// Bytes of a DATA packet with a proof, and of one with a challenge or its answer.
const PROOF_LEN: usize = 130;
const CHALLENGE_LEN: usize = 38;

fn identity(n: u8) -> Identity {
    Identity::from_seed(&[n; 32])
}

/// Quick to repeat itself, so that tests are short.
fn config() -> UdpConfig {
    UdpConfig { retry_ms: 20, ..UdpConfig::default() }
}

fn hurried(handshake_limit_ms: u64) -> UdpConfig {
    UdpConfig { handshake_limit_ms, ..config() }
}

async fn listen(config: UdpConfig) -> Box<dyn Listener> {
    let at = "udp://127.0.0.1:0".parse().unwrap();
    UdpTransport::with_config(identity(2), config).listen(&at).await.unwrap()
}

async fn dial(config: UdpConfig, to: &Address) -> Result<Box<dyn Link>, TransportError> {
    UdpTransport::with_config(identity(1), config).dial(to, identity(2).peer_id()).await
}

async fn next(rx: &mut Box<dyn FrameReceiver>) -> Option<Bytes> {
    timeout(Duration::from_secs(1), rx.recv()).await.ok().map(Result::unwrap)
}

async fn pair(listener: &mut Box<dyn Listener>, to: &Address) -> (Box<dyn Link>, Box<dyn Link>) {
    let (dialled, accepted) = tokio::join!(dial(config(), to), listener.accept());
    (dialled.unwrap(), accepted.unwrap())
}

#[tokio::test]
async fn a_forged_other_version_does_not_end_a_dial() {
    let mut listener = listen(config()).await;
    // With each answer of the listener comes a forged one, before it and after it.
    let inward = Box::new(|datagram: Vec<u8>| {
        let forged = [&[OTHER_VERSION], &datagram[1..5], &[0, 9]].concat();
        vec![forged.clone(), datagram, forged]
    });
    let middleman = Middleman::new(&listener.address(), pass(), inward).await;
    let (dialled, _accepted) = pair(&mut listener, &middleman.address).await;
    assert_eq!(dialled.info().peer, identity(2).peer_id());
}

#[tokio::test]
async fn forged_cookies_neither_end_a_dial_nor_provoke_a_flood() {
    // Before each true cookie come three that are no good.
    let mut listener = listen(config()).await;
    let mut n = 0_u8;
    let inward = on(RETRY, move |datagram| {
        let forged = (0..3).map(|_| {
            n = n.wrapping_add(1);
            [&datagram[..5], &[n; 16]].concat()
        });
        forged.chain([datagram.clone()]).collect()
    });
    let middleman = Middleman::new(&listener.address(), pass(), inward).await;
    let (_dialled, _accepted) = pair(&mut listener, &middleman.address).await;

    // Nobody listens; each HELLO is answered by twenty cookies.
    let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = Address::new("udp", server.local_addr().unwrap()).unwrap();
    let hellos = Arc::new(Mutex::new(0_u32));
    let count = hellos.clone();
    let flood = tokio::spawn(async move {
        let (mut room, mut cookie) = ([0; 300], 0_u128);
        loop {
            let (_, from) = server.recv_from(&mut room).await.unwrap();
            *count.lock().unwrap() += 1;
            for _ in 0..20 {
                cookie += 1;
                let retry = [&[RETRY], &room[9..13], &cookie.to_be_bytes()[..]].concat();
                server.send_to(&retry, from).await.unwrap();
            }
        }
    });
    let limits = UdpConfig { retry_ms: 100, ..hurried(500) };
    let error = dial(limits, &to).await.map(drop).unwrap_err();
    assert!(matches!(error, TransportError::HandshakeTimeout { limit_ms: 500 }), "{error}");
    flood.abort();
    // No wait is shorter than 75 ms, so there are at most 8 tries, each with 4 hurried ones after it.
    let hellos = *hellos.lock().unwrap();
    assert!((2..=40).contains(&hellos), "{hellos} HELLOs");
}

#[tokio::test]
async fn duplicates_during_a_dial_are_no_sign_of_forgery_and_a_failed_dial_is_closed() {
    let mut listener = listen(config()).await;
    // The proof never arrives; all else arrives twice.
    let inward = on(DATA, |datagram| match datagram.len() {
        PROOF_LEN => vec![],
        _ => vec![datagram.clone(), datagram],
    });
    let middleman = Middleman::new(&listener.address(), pass(), inward).await;
    let dialling = tokio::spawn(async move {
        let middleman = middleman;
        dial(hurried(2_000), &middleman.address).await.map(drop)
    });
    let (mut tx, mut rx) = listener.accept().await.unwrap().split();
    for _ in 0..5 {
        tx.send("too early".into()).await.unwrap();
    }
    let error = dialling.await.unwrap().unwrap_err();
    assert!(matches!(error, TransportError::HandshakeTimeout { limit_ms: 2_000 }), "{error}");
    // The listener had a link, and learns at once that there is none.
    assert_eq!(rx.recv().await.unwrap_err().close_reason(), Some(CloseReason::Done));
}

#[tokio::test]
async fn a_dial_that_is_given_up_is_closed() {
    let mut listener = listen(config()).await;
    let inward = on(DATA, |_| vec![]);
    let middleman = Middleman::new(&listener.address(), pass(), inward).await;
    let dialling = tokio::spawn(async move {
        let middleman = middleman;
        dial(config(), &middleman.address).await.map(drop)
    });
    let (_tx, mut rx) = listener.accept().await.unwrap().split();
    dialling.abort();
    let end = rx.recv().await.unwrap_err();
    assert_eq!(end.close_reason(), Some(CloseReason::Done), "{end}");
}

#[tokio::test]
async fn a_listener_that_is_dropped_still_shows_its_proof_to_those_it_has_accepted() {
    let mut listener = listen(config()).await;
    let lost = Arc::new(AtomicBool::new(true));
    let losing = lost.clone();
    let inward = on(DATA, move |datagram| match losing.load(Ordering::SeqCst) {
        true => vec![],
        false => vec![datagram],
    });
    let middleman = Middleman::new(&listener.address(), pass(), inward).await;
    let to = middleman.address.clone();
    let dialling = tokio::spawn(async move { dial(config(), &to).await });
    let accepted = listener.accept().await.unwrap();
    drop(listener);
    // What the listener sent while it lived is lost.
    let is_lost = || middleman.seen.lock().unwrap().iter().any(|(out, datagram)| !out && datagram[0] == DATA);
    while !is_lost() {
        tokio::task::yield_now().await;
    }
    lost.store(false, Ordering::SeqCst);
    let dialled = dialling.await.unwrap().unwrap();
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (dialled.split(), accepted.split());
    tx.send("here we are".into()).await.unwrap();
    assert_eq!(next(&mut rx).await.unwrap(), "here we are");
}

#[tokio::test]
async fn an_address_that_has_not_answered_a_challenge_gets_nothing_else() {
    // Datagrams of the dialler are stolen on their way and delivered first from elsewhere.
    let mut listener = listen(config()).await;
    let stolen = Arc::new(Mutex::new(None::<Vec<Vec<u8>>>));
    let loot = stolen.clone();
    let outward = on(DATA, move |datagram| match loot.lock().unwrap().as_mut() {
        Some(loot) => {
            loot.push(datagram);
            vec![]
        }
        None => vec![datagram],
    });
    let middleman = Middleman::new(&listener.address(), outward, pass()).await;
    let (dialled, accepted) = pair(&mut listener, &middleman.address).await;
    let ((mut a_tx, mut a_rx), (mut b_tx, mut b_rx)) = (dialled.split(), accepted.split());

    *stolen.lock().unwrap() = Some(Vec::new());
    for n in 0..10_u8 {
        a_tx.send(Bytes::from(vec![n; 20])).await.unwrap();
    }
    let loot = loop {
        let full = stolen.lock().unwrap().take_if(|loot| loot.len() == 10);
        match full {
            Some(loot) => break loot,
            None => tokio::task::yield_now().await,
        }
    };
    let thief = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    thief.connect(listener.address().rest()).await.unwrap();
    let mut given = 0;
    for datagram in &loot {
        given += thief.send(datagram).await.unwrap();
        assert!(next(&mut b_rx).await.is_some(), "it is authentic and new");
    }
    // Much is said to the dialler now; it goes where the dialler is.
    for _ in 0..100 {
        b_tx.send(Bytes::from(vec![7; 1000])).await.unwrap();
        assert_eq!(next(&mut a_rx).await.unwrap().len(), 1000);
    }
    let (mut taken, mut room) = (0, [0; 2048]);
    while let Ok(len) = thief.try_recv(&mut room) {
        assert_eq!((room[0], len), (DATA, CHALLENGE_LEN), "a challenge and no more");
        taken += len;
    }
    assert!(taken > 0 && taken <= 3 * given, "{taken} bytes for {given}");
    // The thief cannot answer, and the dialler speaks from where it was.
    a_tx.send("still here".into()).await.unwrap();
    assert_eq!(next(&mut b_rx).await.unwrap(), "still here");
    b_tx.send("so am I".into()).await.unwrap();
    assert_eq!(next(&mut a_rx).await.unwrap(), "so am I");
}

/// A HELLO with this cookie, and what it is answered.
async fn hello(socket: &UdpSocket, number: u32, cookie: &[u8], wait_ms: u64) -> Option<Vec<u8>> {
    let number = number.to_be_bytes();
    let hello = [b"\x01\xE8HGROW\x00\x01", &number[..], &[9; 32], cookie, &[0; 131]].concat();
    assert_eq!(hello.len(), 192);
    socket.send(&hello).await.unwrap();
    let mut answer = [0; 300];
    let len = timeout(Duration::from_millis(wait_ms), socket.recv(&mut answer)).await.ok()?.unwrap();
    Some(answer[..len].to_vec())
}

#[tokio::test]
async fn a_flood_of_half_open_handshakes_from_one_address_does_not_keep_out_another() {
    let mut listener = listen(UdpConfig { max_half_open: 16, ..config() }).await;
    let to = listener.address();
    // Of another address, which has shown that it receives there.
    let flooder = UdpSocket::bind("127.0.0.2:0").await.unwrap();
    flooder.connect(to.rest()).await.unwrap();
    let mut replies = 0;
    for number in 0..40 {
        let cookie = hello(&flooder, number, &[0; 16], 8_000).await.unwrap()[5..].to_vec();
        replies += u32::from(hello(&flooder, number, &cookie, 50).await.is_some());
    }
    assert!(replies > 0, "the flood is answered");
    for _ in 0..3 {
        let (dialled, accepted) = tokio::join!(dial(hurried(8_000), &to), listener.accept());
        dialled.expect("before the time of any of the flood is over");
        accepted.unwrap();
    }
    let rejected = listener.rejections().take();
    assert!(rejected.iter().any(|one| matches!(one.error, TransportError::Full(_))), "{rejected:?}");
}

#[tokio::test]
async fn a_recorded_handshake_and_recorded_frames_are_worth_nothing_later() {
    let mut listener = listen(config()).await;
    let middleman = Middleman::new(&listener.address(), pass(), pass()).await;
    let (dialled, accepted) = pair(&mut listener, &middleman.address).await;
    let ((mut a_tx, _a_rx), (_b_tx, mut b_rx)) = (dialled.split(), accepted.split());
    a_tx.send("said once".into()).await.unwrap();
    assert_eq!(next(&mut b_rx).await.unwrap(), "said once");
    let recorded: Vec<_> = middleman.seen.lock().unwrap().iter().map(|(_, bytes)| bytes.clone()).collect();
    let kinds: Vec<_> = recorded.iter().map(|datagram| datagram[0]).collect();
    assert!([HELLO, RETRY, REPLY, FINISH, DATA].iter().all(|kind| kinds.contains(kind)), "{kinds:?}");

    // Another session of the same two; into it goes all that was ever said in the first one, from both ends.
    let (dialled, accepted) = pair(&mut listener, &middleman.address).await;
    let ((mut c_tx, mut c_rx), (mut d_tx, mut d_rx)) = (dialled.split(), accepted.split());
    let ids: Vec<Vec<u8>> = {
        let seen = middleman.seen.lock().unwrap();
        let finishes = seen.iter().rev().filter(|(out, datagram)| *out && datagram[0] == FINISH);
        finishes.take(1).map(|(_, datagram)| datagram[1..5].to_vec()).collect()
    };
    let thrower = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = listener.address();
    for datagram in &recorded {
        thrower.send_to(datagram, at.rest()).await.unwrap();
        // Also under the id of the new session.
        for id in &ids {
            let renamed = [&datagram[..1], id, &datagram[5..]].concat();
            thrower.send_to(&renamed, at.rest()).await.unwrap();
        }
    }
    assert!(timeout(Duration::from_millis(200), listener.accept()).await.is_err(), "no link comes of it");
    assert_eq!((next(&mut b_rx).await, next(&mut d_rx).await), (None, None), "and no frame");
    for (tx, rx, word) in [(&mut c_tx, &mut d_rx, "to"), (&mut d_tx, &mut c_rx, "fro")] {
        tx.send(word.into()).await.unwrap();
        assert_eq!(next(rx).await.unwrap(), word, "the new session is as it was");
    }
}

#[tokio::test]
async fn a_device_is_not_linked_to_its_own_reflection() {
    // A socket that both listens and dials is sent back whatever it sends.
    let transport = UdpTransport::with_config(identity(1), hurried(600));
    let mut listener = transport.listen(&"udp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    let me = listener.address();
    let rejections = listener.rejections();
    let mirror = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = Address::new("udp", mirror.local_addr().unwrap()).unwrap();
    let mirroring = tokio::spawn(async move {
        let mut room = [0; 2048];
        loop {
            let (len, from) = mirror.recv_from(&mut room).await.unwrap();
            mirror.send_to(&room[..len], from).await.unwrap();
        }
    });
    let accepting = tokio::spawn(async move { listener.accept().await.map(|link| link.info().peer) });
    for expect in [identity(2), identity(3)] {
        let error = transport.dial(&to, expect.peer_id()).await.map(drop).unwrap_err();
        let fits = match &error {
            TransportError::WrongPeer { found, .. } => *found == identity(1).peer_id(),
            other => matches!(other, TransportError::HandshakeTimeout { .. } | TransportError::KeyAgreement),
        };
        assert!(fits, "{error} (listening at {me})");
    }
    // If it spoke to itself, it knows itself by its name, and by no other.
    if accepting.is_finished() {
        assert_eq!(accepting.await.unwrap().unwrap(), identity(1).peer_id());
    }
    assert!(rejections.take().iter().all(|one| !matches!(one.error, TransportError::BadProof { .. })));
    mirroring.abort();
}

#[tokio::test]
async fn frames_of_one_link_sent_back_or_into_another_are_ignored() {
    let mut listener = listen(config()).await;
    // Each DATA of the dialler's is sent on, and sent back to the dialler under the dialler's own id.
    let back = Arc::new(Mutex::new(Vec::<Vec<u8>>::new()));
    let (copy, mine) = (back.clone(), Arc::new(Mutex::new(Vec::new())));
    let id = mine.clone();
    let outward = Box::new(move |datagram: Vec<u8>| {
        match datagram[0] {
            HELLO => *id.lock().unwrap() = datagram[9..13].to_vec(),
            DATA => copy.lock().unwrap().push([&[DATA], &id.lock().unwrap()[..], &datagram[5..]].concat()),
            _ => {}
        }
        vec![datagram]
    });
    let inward =
        Box::new(move |datagram| [vec![datagram], std::mem::take(&mut *back.lock().unwrap())].concat());
    let middleman = Middleman::new(&listener.address(), outward, inward).await;
    let (dialled, accepted) = pair(&mut listener, &middleman.address).await;
    let ((mut a_tx, mut a_rx), (mut b_tx, mut b_rx)) = (dialled.split(), accepted.split());
    for n in 0..20_u8 {
        a_tx.send(Bytes::from(vec![n; 3])).await.unwrap();
        assert_eq!(next(&mut b_rx).await.unwrap(), vec![n; 3]);
        b_tx.send(Bytes::from(vec![n + 100; 3])).await.unwrap();
        assert_eq!(next(&mut a_rx).await.unwrap(), vec![n + 100; 3], "and never its own");
    }
    assert_eq!(next(&mut a_rx).await, None);
}

/// Each packet of a handshake: its kind, its length in bytes, and whether the dialler sends it.
const HANDSHAKE: [(u8, usize, bool); 5] = [
    (HELLO, 192, true),
    (RETRY, 21, false),
    (REPLY, 105, false),
    (FINISH, 194, true),
    (DATA, PROOF_LEN, false),
];
/// How many handshakes run at the same time.
const AT_ONCE: usize = 64;

/// Dials through a middleman that alters one byte in packets of one kind: in the first, or in all. What the two ends
/// know in the end, if there is a link.
async fn dial_altered(
    (kind, place, dialler): (u8, usize, bool),
    flip: u8,
    always: bool,
    limit_ms: u64,
) -> Result<(PeerId, PeerId, usize), TransportError> {
    let mut done = false;
    let rule = on(kind, move |mut datagram: Vec<u8>| {
        if (always || !done)
            && let Some(byte) = datagram.get_mut(place)
        {
            *byte ^= flip;
            done = true;
        }
        vec![datagram]
    });
    let (outward, inward) = if dialler { (rule, pass()) } else { (pass(), rule) };
    let mut listener = listen(config()).await;
    let middleman = Middleman::new(&listener.address(), outward, inward).await;
    let accepting = tokio::spawn(async move {
        let link = listener.accept().await.unwrap();
        // The listener stays, to show its proof again.
        (link.info().clone(), link, listener)
    });
    let dialled = dial(hurried(limit_ms), &middleman.address).await;
    if dialled.is_err() {
        accepting.abort();
    }
    let dialled = dialled?.info().clone();
    let (accepted, ..) = accepting.await.unwrap();
    assert_eq!(dialled.max_frame, accepted.max_frame);
    Ok((dialled.peer, accepted.peer, dialled.max_frame))
}

/// All places of all packets, so many at a time.
fn places() -> Vec<Vec<(u8, usize, bool)>> {
    let all =
        HANDSHAKE.iter().flat_map(|(kind, len, dialler)| (0..*len).map(|place| (*kind, place, *dialler)));
    all.collect::<Vec<_>>().chunks(AT_ONCE).map(<[_]>::to_vec).collect()
}

#[tokio::test]
async fn an_altered_byte_anywhere_in_the_handshake_is_survived() {
    // The repetition is let through: whatever the byte, there is a link in the end, between the right two.
    let expected = (identity(2).peer_id(), identity(1).peer_id(), 1_170);
    for (flip, batch) in [0x01, 0x80, 0xff].into_iter().cycle().zip(places()) {
        let tries: Vec<_> =
            batch.into_iter().map(|at| (at, tokio::spawn(dial_altered(at, flip, false, 8_000)))).collect();
        for (at, dialled) in tries {
            let dialled = dialled.await.unwrap();
            assert!(matches!(&dialled, Ok(known) if *known == expected), "{at:?} {flip:#04x}: {dialled:?}");
        }
    }
}

#[tokio::test]
async fn an_edit_of_every_copy_of_any_byte_ends_the_dial_or_changes_nothing() {
    let expected = (identity(2).peer_id(), identity(1).peer_id(), 1_170);
    // At the zeros of a HELLO nobody looks; all else counts.
    let counts = |(kind, place, _)| kind != HELLO || place < 61;
    for (flip, batch) in [0xff, 0x01, 0x80].into_iter().cycle().zip(places()) {
        let limit_ms = |at| if counts(at) { 300 } else { 8_000 };
        let dial = |at| tokio::spawn(dial_altered(at, flip, true, limit_ms(at)));
        let tries: Vec<_> = batch.into_iter().map(|at| (at, dial(at))).collect();
        for (at, dialled) in tries {
            let dialled = dialled.await.unwrap();
            let fits = match &dialled {
                Ok(known) => !counts(at) && *known == expected,
                Err(
                    TransportError::HandshakeTimeout { .. }
                    | TransportError::KeyAgreement
                    | TransportError::ForeignVersion { .. },
                ) => counts(at),
                Err(_) => false,
            };
            assert!(fits, "{at:?} {flip:#04x}: {dialled:?}");
        }
    }
}

#[tokio::test]
async fn a_thousand_links_of_one_peer_to_one_listener_work_and_the_next_one_is_refused() {
    let mut listener = listen(UdpConfig { max_sessions: 1_000, ..config() }).await;
    let to = listener.address();
    let dialler = UdpTransport::with_config(identity(1), config());
    let mut links = Vec::new();
    for n in 0..1_000 {
        let (dialled, accepted) = tokio::join!(dialler.dial(&to, identity(2).peer_id()), listener.accept());
        let (dialled, accepted) = (dialled.unwrap_or_else(|error| panic!("{n}: {error}")), accepted.unwrap());
        links.push((dialled.split(), accepted.split()));
    }
    let error = dial(hurried(200), &to).await.map(drop).unwrap_err();
    assert!(matches!(error, TransportError::HandshakeTimeout { .. }), "{error}");
    for (n, ((tx, _), (_, rx))) in links.iter_mut().enumerate().step_by(97) {
        tx.send(n.to_string().into()).await.unwrap();
        assert_eq!(next(rx).await.unwrap(), n.to_string());
    }
}

#[tokio::test]
async fn garbage_of_every_length_harms_neither_listener_nor_link() {
    let mut listener = listen(config()).await;
    let to = listener.address();
    let (dialled, accepted) = pair(&mut listener, &to).await;
    let ((mut tx, _a_rx), (_b_tx, mut rx)) = (dialled.split(), accepted.split());
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut state = 1_u32;
    let mut random = || {
        // A linear congruential generator is random enough for garbage.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    for len in (0..260).chain([1_199, 1_200, 1_201, 9_000, 65_000]) {
        for kind in 0..=7 {
            let mut garbage: Vec<u8> = (0..len).map(|_| random()).collect();
            if let Some(first) = garbage.first_mut() {
                *first = kind;
            }
            socket.send_to(&garbage, to.rest()).await.unwrap();
        }
        tokio::task::yield_now().await;
    }
    let mut sent = 0;
    // Some of what is sent may be lost in the flood, as datagrams may be.
    while next(&mut rx).await.is_none() {
        sent += 1;
        assert!(sent < 50, "the link is dead");
        tx.send("still up".into()).await.unwrap();
    }
    let (dialled, accepted) = tokio::join!(dial(config(), &to), async {
        loop {
            if let Ok(link) = listener.accept().await {
                break link;
            }
        }
    });
    assert_eq!(
        (dialled.unwrap().info().peer, accepted.info().peer),
        (identity(2).peer_id(), identity(1).peer_id())
    );
    assert!(matches!(tx.send(vec![0; 70_000].into()).await, Err(LinkError::TooLarge { .. })));
}
