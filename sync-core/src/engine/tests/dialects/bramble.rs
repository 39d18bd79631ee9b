//! BSP: a real session again, the window of offers, and answers that deployed peers do not know.

use std::fs;

use bytes::Bytes;
use hedgerow_proto::bramble::Record;
use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, MessageId, Visibility};

use crate::testing::peer;
use crate::{Config, Draft, Engine, LinkId, LinkProfile, MemoryStore, ReceiveError, Rule, Time};

const NOW: Time = Time(1_700_000_100_000);

fn records(mut bytes: Bytes) -> Vec<Record> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        all.push(Record::decode(&mut bytes).unwrap());
    }
    all
}

fn descriptor() -> GroupDescriptor {
    GroupDescriptor::new("org.example.test", 0, vec![1, 2, 3]).unwrap()
}

fn engine(n: u8) -> (Engine<MemoryStore>, GroupId) {
    let mut engine = Engine::open(MemoryStore::new(), Config::default(), [n; 32], NOW).unwrap();
    let group = engine.add_group_of(IdScheme::Bramble, &descriptor(), false).unwrap();
    engine.set_visibility(peer(1), group, Visibility::Shared).unwrap();
    (engine, group)
}

fn publish(engine: &mut Engine<MemoryStore>, group: GroupId, timestamp_ms: i64, body: Bytes) -> MessageId {
    engine.publish(group, Draft { timestamp_ms, deps: vec![], body }, NOW).unwrap()
}

/// Everything that an engine has to say now.
fn hear(engine: &mut Engine<MemoryStore>, link: LinkId) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(frame) = engine.poll_transmit(link, NOW, usize::MAX).unwrap() {
        all.extend_from_slice(&frame);
    }
    all
}

/// What the two sides of a real session wrote.
fn session() -> (Bytes, Bytes) {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors/bramble.json");
    let text = fs::read_to_string(path).unwrap();
    // Two fields of one file are not worth a dependency.
    let field = |name: &str| {
        let (_, rest) = text.split_once(&format!("\"{name}\": \"")).unwrap();
        let hex = rest.split_once('"').unwrap().0;
        let digit = |at: usize| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap();
        Bytes::from((0..hex.len() / 2).map(digit).collect::<Vec<u8>>())
    };
    (field("initiator"), field("responder"))
}

/// The parts of what a side wrote, at the points where it had to hear the other side first.
fn turns(written: &Bytes, kinds: &[fn(&Record) -> bool]) -> Vec<Bytes> {
    let mut turns = Vec::new();
    let mut rest = written.clone();
    let mut start = 0;
    for begins in kinds {
        let mut at = 0;
        let mut next = rest.clone();
        loop {
            let before = next.clone();
            let record = Record::decode(&mut next).unwrap();
            if begins(&record) {
                break;
            }
            at += before.len() - next.len();
        }
        turns.push(rest.split_to(at));
        start += at;
    }
    assert!(start < written.len());
    turns.push(rest);
    turns
}

#[test]
fn dialect_bramble_the_engine_plays_the_initiator_of_a_real_session_byte_for_byte() {
    let (initiator, responder) = session();
    let (mut engine, group) = engine(1);
    for record in records(initiator.clone()) {
        if let Record::Message { timestamp_ms, body, .. } = record {
            publish(&mut engine, group, timestamp_ms, body);
        }
    }
    let link = engine.link_up(peer(1), LinkProfile::bramble(Some([0; 16])), NOW).unwrap();
    let theirs = turns(&responder, &[|r| matches!(r, Record::Request(_)), |r| matches!(r, Record::Ack(_))]);
    let mut written = hear(&mut engine, link);
    for turn in theirs {
        engine.receive(link, turn, NOW).unwrap();
        written.extend(hear(&mut engine, link));
    }
    assert_eq!(Bytes::from(written), initiator);
    assert!(engine.status().peers[0].settled);
}

#[test]
fn dialect_bramble_the_engine_plays_the_responder_of_a_real_session_byte_for_byte() {
    let (initiator, responder) = session();
    let (mut engine, group) = engine(2);
    let link = engine.link_up(peer(1), LinkProfile::bramble(None), NOW).unwrap();
    let theirs =
        turns(&initiator, &[|r| matches!(r, Record::Offer(_)), |r| matches!(r, Record::Message { .. })]);
    let mut written = hear(&mut engine, link);
    for turn in theirs {
        engine.receive(link, turn, NOW).unwrap();
        written.extend(hear(&mut engine, link));
    }
    assert_eq!(Bytes::from(written), responder);
    assert_eq!(engine.log(group, 0, 10, 10_000).unwrap().len(), 3);
}

#[test]
fn dialect_bramble_two_engines_write_what_two_real_sides_wrote() {
    let (initiator, responder) = session();
    let ((mut a, group), (mut b, _)) = (engine(1), engine(2));
    for record in records(initiator.clone()) {
        if let Record::Message { timestamp_ms, body, .. } = record {
            publish(&mut a, group, timestamp_ms, body);
        }
    }
    let to_b = a.link_up(peer(1), LinkProfile::bramble(Some([0; 16])), NOW).unwrap();
    let to_a = b.link_up(peer(1), LinkProfile::bramble(None), NOW).unwrap();
    let (mut by_a, mut by_b) = (Vec::new(), Vec::new());
    loop {
        let from_a = hear(&mut a, to_b);
        let from_b = hear(&mut b, to_a);
        if from_a.is_empty() && from_b.is_empty() {
            break;
        }
        by_a.extend_from_slice(&from_a);
        by_b.extend_from_slice(&from_b);
        b.receive(to_a, from_a.into(), NOW).unwrap();
        a.receive(to_b, from_b.into(), NOW).unwrap();
    }
    assert_eq!((Bytes::from(by_a), Bytes::from(by_b)), (initiator, responder));
}

#[test]
fn dialect_bramble_no_more_than_1000_offers_are_unanswered_and_a_drained_window_refills() {
    let (mut engine, group) = engine(1);
    for n in 0..3_500_i64 {
        publish(&mut engine, group, 1_700_000_000_000 + n, "x".into());
    }
    let link = engine.link_up(peer(1), LinkProfile::bramble(None), NOW).unwrap();
    let mut open: Vec<MessageId> = Vec::new();
    let mut held = 0;
    loop {
        for record in records(hear(&mut engine, link).into()) {
            match record {
                Record::Offer(ids) => open.extend(ids),
                Record::Message { .. } => held += 1,
                _ => {}
            }
        }
        assert!(open.len() <= 1000, "{} unanswered", open.len());
        assert_eq!(open.len(), 1000.min(3_500 - held), "a window that drains is filled at once");
        if open.is_empty() {
            break;
        }
        // Some are requested, others were held and are acknowledged.
        let answered: Vec<MessageId> = open.drain(..open.len().min(300)).collect();
        let (requested, acked) = answered.split_at(answered.len() / 2);
        held += acked.len();
        let mut out = Vec::new();
        Record::Request(requested.to_vec()).encode(&mut out);
        Record::Ack(acked.to_vec()).encode(&mut out);
        engine.receive(link, out.into(), NOW).unwrap();
    }
    assert_eq!(held, 3_500);
}

#[test]
fn dialect_bramble_what_is_not_there_is_said_to_be_unavailable() {
    let (mut engine, group) = engine(1);
    let link = engine.link_up(peer(1), LinkProfile::bramble(None), NOW).unwrap();
    hear(&mut engine, link);
    let mut out = Vec::new();
    let unknown = MessageId::from_bytes([3; 32]);
    Record::Request(vec![unknown]).encode(&mut out);
    engine.receive(link, out.into(), NOW).unwrap();
    assert_eq!(records(hear(&mut engine, link).into()), [Record::Unavailable(vec![unknown])]);
    // And a peer that says so is not asked again in this contact.
    let mut out = Vec::new();
    Record::Offer(vec![unknown]).encode(&mut out);
    engine.receive(link, out.into(), NOW).unwrap();
    assert_eq!(records(hear(&mut engine, link).into()), [Record::Request(vec![unknown])]);
    let mut out = Vec::new();
    Record::Unavailable(vec![unknown]).encode(&mut out);
    engine.receive(link, out.into(), NOW).unwrap();
    assert!(hear(&mut engine, link).is_empty());
    assert_eq!(engine.poll_timeout(), None);
    assert!(engine.audit_books().unwrap().is_empty());
    assert!(engine.missing(group).is_empty());
}

#[test]
fn dialect_bramble_another_version_of_the_format_ends_the_link() {
    for bytes in [&[1, 0, 0, 32][..], &[0, 0, 0, 31], &[0, 4, 0, 1, 7], b"GET / HTTP/1.1\r\n"] {
        let (mut engine, _) = engine(1);
        let link = engine.link_up(peer(1), LinkProfile::bramble(None), NOW).unwrap();
        let mut frame = bytes.to_vec();
        frame.resize(bytes.len().max(4 + 31), 0);
        let ended = engine.receive(link, frame.into(), NOW);
        let Err(ReceiveError::Violation(violation)) = ended else { panic!("{bytes:?}: {ended:?}") };
        assert!(matches!(violation.rule, Rule::Garbage(_)), "{violation}");
        assert!(engine.status().links.is_empty());
    }
}

#[test]
fn dialect_bramble_an_empty_body_is_no_message() {
    let (mut engine, group) = engine(1);
    let draft = Draft { timestamp_ms: 1, deps: vec![], body: Bytes::new() };
    assert!(engine.publish(group, draft, NOW).is_err());
}
