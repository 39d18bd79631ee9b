//! What comes from the network: garbage, foreign versions, wrong keys, altered and cut streams. A daemon refuses it,
//! and serves its friends as before.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use hedgerow::transports::{TcpTransport, TransportError};
use hedgerow::{Identity, PeerId, PeerTicket, Transport as _};
use rand::{Rng as _, RngExt as _};

use crate::proxy::{Fault, Proxy};
use crate::support::{Device, Seed, befriend, eventually, text};

/// The first bytes of a link, up to the version.
const MAGIC: &[u8] = &[0xE8, b'H', b'G', b'R', b'O', b'W'];

/// Writes bytes to a port and reads until the other side closes or says nothing more.
fn throw(port: u16, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    // It may be closed before all is written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn nonsense_on_the_port_does_not_disturb_a_daemon() {
    let seed = Seed::new(31);
    let mut dice = seed.dice();
    let (mut ada, mut ben) = (Device::new("Ada"), Device::new("Ben"));
    ada.start();
    ben.start();
    befriend(&ada, &ben);
    ada.ok(&["send", "Ben", "before"]);
    eventually("they are linked", || ben.texts("Ada") == ["before"]);

    let port = ada.port();
    assert_eq!(throw(port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), b"");
    for length in [1, 5, 100, 70_000] {
        let mut garbage = vec![0; length];
        dice.fill_bytes(&mut garbage);
        assert_eq!(throw(port, &garbage), b"", "garbage gets no answer");
    }
    // A foreign version is told ours, so that it can say what is wrong.
    let foreign = [MAGIC, &[0x7f, 0xff]].concat();
    let answer = throw(port, &foreign);
    assert_eq!((answer.len(), answer.starts_with(MAGIC)), (8, true), "{answer:?}");
    let ours = &answer[6..];
    // A handshake that ends too early, and one of random bytes.
    let begin = [MAGIC, ours].concat();
    throw(port, &begin);
    let mut keys = vec![0; 32];
    dice.fill_bytes(&mut keys);
    throw(port, &[begin.as_slice(), &[0, 32], &keys].concat());
    throw(port, &[begin.as_slice(), &[0xff, 0xff], &keys].concat());
    // One that says nothing at all, and stays.
    let _silent = TcpStream::connect(("127.0.0.1", port)).unwrap();

    assert!(ada.daemon_runs());
    assert!(
        ada.json(&["peer", "list"]).iter().all(|line| line["state"] == "contact"),
        "nobody has proven any key"
    );
    ben.ok(&["send", "Ada", "after"]);
    eventually("the friend is served as before", || ada.texts("Ben") == ["before", "after"]);
    ben.kill();
    ben.start();
    ben.ok(&["send", "Ada", "again"]);
    eventually("also over a new link", || ada.texts("Ben") == ["before", "after", "again"]);
    ada.check();
}

#[test]
fn a_dialler_that_expects_another_key_learns_who_is_there_and_a_stranger_waits() {
    let mut ada = Device::new("Ada");
    ada.start();
    let (stranger, other) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]).peer_id());
    let ada_id: PeerId = ada.peer_id().parse().unwrap();
    let address = format!("tcp://127.0.0.1:{}", ada.port()).parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let dialled = runtime.block_on(TcpTransport::new(stranger.clone()).dial(&address, other));
    let error = dialled.err().expect("it is not the peer that was expected");
    assert!(
        matches!(error, TransportError::WrongPeer { expected, found } if expected == other && found == ada_id)
    );
    let text = error.to_string();
    assert!(text.contains(&other.to_string()) && text.contains(&ada_id.to_string()), "{text}");
    // The key is proven all the same: it is somebody, and waits.
    eventually("the stranger waits", || {
        let id = stranger.peer_id().to_string();
        ada.json(&["peer", "list"]).iter().any(|line| line["peer_id"] == id && line["state"] == "waiting")
    });
    assert!(ada.daemon_runs());
}

#[test]
fn streams_that_are_cut_or_altered_anywhere_lose_nothing() {
    let seed = Seed::new(32);
    let mut dice = seed.dice();
    let (mut ada, mut ben) = (Device::new("Ada"), Device::new("Ben"));
    ada.start();
    // In the preamble, the keys and the proofs, at the first frames, and in the midst of frames.
    let mut faults = vec![Fault::Flip(3), Fault::Flip(7), Fault::Flip(20), Fault::Flip(60), Fault::Flip(120)];
    faults.extend([Fault::Cut(1), Fault::Cut(9), Fault::Cut(50), Fault::Cut(150)]);
    for _ in 0..8 {
        let at = dice.random_range(200..30_000);
        faults.push(if dice.random() { Fault::Cut(at) } else { Fault::Flip(at) });
    }
    let count = faults.len();
    let proxy = Proxy::start(ada.port(), faults);
    let through = vec![format!("tcp://127.0.0.1:{}", proxy.port)];
    let through = PeerTicket::new(ada.peer_id().parse().unwrap(), None, through).unwrap();
    ben.ok(&["peer", "add", &through.to_string(), "--alias", "Ada"]);
    // Made while Ben's daemon does not run, so Ada has no other way to Ben.
    ada.ok(&["peer", "add", &ben.ticket()]);

    let mut sent: Vec<String> = Vec::new();
    for round in 1..=count + 1 {
        // More than any connection carries before its fault.
        let lines: Vec<String> =
            (0..20).map(|line| format!("{round}.{line} {}", "x".repeat(2_000))).collect();
        assert!(ben.with_input(&["send", "Ada", "-"], lines.join("\n").as_bytes()).status.success());
        sent.extend(lines);
        // A daemon that has just started dials at once.
        ben.start();
        if round <= count {
            eventually("the connection has met its fault", || proxy.faults_done() >= round);
            ben.kill();
        }
    }
    eventually("everything has arrived, whole", || ada.texts("Ben").len() >= sent.len());
    assert!(ada.texts("Ben") == sent, "what arrived is not what was sent");
    eventually("they agree", || {
        let ids = |device: &Device, chat| -> Vec<String> {
            let lines = device.json(&["read", chat, "--order", "canonical"]);
            lines.iter().map(|line| text(&line["id"])).collect()
        };
        ids(&ada, "Ben") == ids(&ben, "Ada")
    });
    ada.check();
    ben.check();
}
