//! The golden vectors of `tests/vectors`, which a script made without this crate, against this crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use hedgerow_proto::{
    Ack, Announce, Batch, Codec, DecodeError, DepRef, Ephemeral, Frame, GroupDescriptor, GroupId, GroupRef,
    Hello, InStep, Lacks, Message, MessageId, NativeCodec, Offer, OfferItem, Reconcile, ReconcileStep,
    Request, ShortOffer, Span, Summary, Symbols, Tombstone, Unavailable, Visibility, WireMessage,
};
use serde_json::Value;

/// Every field that the description of a frame may have.
const FRAME_FIELDS: [&str; 17] = [
    "number",
    "frame_acks",
    "ack_delay_ms",
    "ping",
    "hello",
    "announces",
    "acks",
    "batches",
    "offers",
    "requests",
    "unavailables",
    "ephemerals",
    "reconciles",
    "short_offers",
    "in_step",
    "matched",
    "unmatched",
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors")
}

/// The vectors of one section: never none, and each with a name of its own.
fn section(name: &str) -> Vec<Value> {
    let text = fs::read_to_string(folder().join("native.json")).unwrap();
    let mut all: Value = serde_json::from_str(&text).unwrap();
    let Value::Array(vectors) = all[name].take() else { panic!("no section {name}") };
    let names: HashSet<_> = vectors.iter().map(|v| v["name"].as_str().unwrap()).collect();
    assert!(!names.is_empty(), "section {name} is empty");
    assert_eq!(names.len(), vectors.len(), "a name stands twice in {name}");
    vectors
}

fn encode(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    NativeCodec::new().encode(frame, &mut out).unwrap();
    out
}

fn decode(bytes: Vec<u8>) -> Result<Frame, DecodeError> {
    NativeCodec::new().decode(bytes.into())
}

// spec: group-id
#[test]
fn group_ids() {
    for v in section("group_ids") {
        let client = v["client_id"].as_str().unwrap();
        let group = GroupDescriptor::new(client, small(&v["major_version"]), blob(&v["descriptor"])).unwrap();
        assert_eq!(group.id(), GroupId::from_bytes(array(&v["id"])), "{}", v["name"]);
    }
}

// spec: message-id
#[test]
fn message_ids() {
    for v in section("message_ids") {
        let group = GroupId::from_bytes(array(&v["group"]));
        let body = Bytes::from(blob(&v["body"]));
        let message = Message::new(group, time(&v["timestamp_ms"]), ids(&v["deps"]), body).unwrap();
        assert_eq!(message.id(), id(&v["id"]), "{}", v["name"]);
    }
}

// spec: announce-tag
#[test]
fn group_tags() {
    for v in section("group_tags") {
        let tag = Announce::tag_of(&array(&v["nonce"]), GroupId::from_bytes(array(&v["group"])));
        assert_eq!(tag, array(&v["tag"]), "{}", v["name"]);
    }
}

// spec: in-step-value
#[test]
fn values_of_groups_in_step() {
    for v in section("step_values") {
        let group = GroupId::from_bytes(array(&v["group"]));
        let value = InStep::value_of(&array(&v["nonce"]), group, large(&v["mark"]), large(&v["mark_chain"]));
        assert_eq!(value, array(&v["value"]), "{}", v["name"]);
    }
}

// spec: announce-sample-mask
#[test]
fn masks_of_samples() {
    for v in section("samples") {
        let mask = Announce::mask_of(&array(&v["nonce"]), GroupId::from_bytes(array(&v["group"])));
        let (sample, said) =
            (u128::from_be_bytes(array(&v["sample"])), u128::from_be_bytes(array(&v["said"])));
        assert_eq!(sample ^ mask, said, "{}", v["name"]);
    }
}

// spec: batch, offer, ack
#[test]
fn frames_are_written_and_read() {
    for v in section("frames") {
        let described = frame(&v["frame"]);
        let bytes = blob(&v["hex"]);
        let decoded = decode(bytes.clone()).unwrap_or_else(|e| panic!("{}: {e}", v["name"]));
        assert_eq!(decoded, described, "{}", v["name"]);
        assert_eq!(HEXLOWER.encode(&encode(&described)), HEXLOWER.encode(&bytes), "{}", v["name"]);
    }
}

// spec: unknown-skipped
#[test]
fn lenient_frames_are_read_and_written_otherwise() {
    for v in section("lenient_frames") {
        let described = frame(&v["frame"]);
        let bytes = blob(&v["hex"]);
        assert_ne!(encode(&described), bytes, "{}: belongs into frames", v["name"]);
        let decoded = decode(bytes).unwrap_or_else(|e| panic!("{}: {e}", v["name"]));
        assert_eq!(decoded, described, "{}", v["name"]);
    }
}

// spec: span-list, offer
#[test]
fn bad_frames_are_refused_by_the_rule_they_break() {
    for v in section("bad_frames") {
        let error = match decode(blob(&v["hex"])) {
            Ok(frame) => panic!("{}: read as {frame:?}", v["name"]),
            Err(error) => error,
        };
        let named = match &error {
            DecodeError::Malformed(_) => (None, None),
            DecodeError::Rule { record, rule } => (Some(*record), Some(*rule)),
            _ => panic!("{}: {error}", v["name"]),
        };
        assert_eq!(named, (v["record"].as_str(), v["rule"].as_str()), "{}: {error}", v["name"]);
    }
}

#[test]
fn the_script_writes_these_vectors() {
    let script = folder().join("make.py");
    assert!(script.is_file(), "no script at {}", script.display());
    match Command::new("python3").arg(script).arg("--check").output() {
        Err(error) if error.kind() == ErrorKind::NotFound => eprintln!("skipped: no python3 on the PATH"),
        Err(error) => panic!("python3 does not start: {error}"),
        Ok(output) => assert!(
            output.status.success(),
            "make.py --check: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ),
    }
}

// Descriptions. A frame leaves out what it does not have; whatever else is missing or of another type is a failure.

fn frame(v: &Value) -> Frame {
    for field in v.as_object().unwrap().keys() {
        assert!(FRAME_FIELDS.contains(&field.as_str()), "unknown field {field}");
    }
    Frame {
        number: v.get("number").map(large),
        frame_acks: v.get("frame_acks").map(spans).unwrap_or_default(),
        ack_delay_ms: v.get("ack_delay_ms").map(small).unwrap_or_default(),
        ping: v.get("ping").is_some_and(|p| p.as_bool().unwrap()),
        hello: v.get("hello").map(hello),
        announces: records(v, "announces", announce),
        in_step: v
            .get("in_step")
            .map(|s| InStep { first: small(&s["first"]), values: list(&s["values"], array) }),
        matched: v.get("matched").map(spans).unwrap_or_default(),
        unmatched: v.get("unmatched").map(spans).unwrap_or_default(),
        acks: records(v, "acks", ack),
        batches: records(v, "batches", batch),
        offers: records(v, "offers", offer),
        requests: records(v, "requests", |r| Request {
            group: group(r),
            positions: spans(&r["positions"]),
            ids: ids(&r["ids"]),
        }),
        unavailables: records(v, "unavailables", |u| Unavailable {
            group: group(u),
            positions: spans(&u["positions"]),
            ids: ids(&u["ids"]),
            tombstones: list(&u["tombstones"], |t| Tombstone {
                id: id(&t["id"]),
                eff_ms: time(&t["eff_ms"]),
                height: large(&t["height"]),
            }),
        }),
        reconciles: records(v, "reconciles", reconcile),
        short_offers: records(v, "short_offers", short_offer),
        ephemerals: records(v, "ephemerals", |e| Ephemeral {
            group: group(e),
            timestamp_ms: time(&e["timestamp_ms"]),
            body: blob(&e["body"]).into(),
        }),
    }
}

fn hello(v: &Value) -> Hello {
    Hello {
        major: small(&v["major"]),
        minor: small(&v["minor"]),
        nonce: array(&v["nonce"]),
        install: large(&v["install"]),
        max_frame: small(&v["max_frame"]),
        max_offers: small(&v["max_offers"]),
    }
}

fn announce(v: &Value) -> Announce {
    Announce {
        number: small(&v["number"]),
        tag: array(&v["tag"]),
        visibility: match v["visibility"].as_str().unwrap() {
            "invisible" => Visibility::Invisible,
            "visible" => Visibility::Visible,
            "shared" => Visibility::Shared,
            other => panic!("unknown visibility {other}"),
        },
        held: spans(&v["held"]),
        mark: large(&v["mark"]),
        mark_chain: large(&v["mark_chain"]),
        reset: small(&v["reset"]),
        summary: v.get("summary").map(|summary| Summary {
            count: large(&summary["count"]),
            sample: u128::from_be_bytes(array(&summary["sample"])),
        }),
    }
}

fn reconcile(v: &Value) -> Reconcile {
    let step = if v.get("ask").is_some() {
        ReconcileStep::Ask
    } else if let Some(symbols) = v.get("symbols") {
        ReconcileStep::Symbols(Symbols {
            first: small(&symbols["first"]),
            count: large(&symbols["count"]),
            width: symbols["width"].as_u64().unwrap().try_into().unwrap(),
            rest: small(&symbols["rest"]),
            bytes: blob(&symbols["symbols"]).into(),
        })
    } else if let Some(more) = v.get("more") {
        ReconcileStep::More(small(more))
    } else if let Some(lacks) = v.get("lacks") {
        ReconcileStep::Lacks(Lacks {
            cut: lacks["cut"].as_u64().unwrap().try_into().unwrap(),
            ids: blob(&lacks["ids"]).into(),
            more: lacks["more"].as_bool().unwrap(),
        })
    } else if let Some(known) = v.get("known") {
        ReconcileStep::Known { positions: spans(&known["positions"]), chain: large(&known["chain"]) }
    } else {
        assert!(v["stop"].as_bool().unwrap());
        ReconcileStep::Stop
    };
    Reconcile { group: group(v), salt: small(&v["salt"]), step }
}

fn ack(v: &Value) -> Ack {
    Ack {
        group: group(v),
        held: spans(&v["held"]),
        known: spans(&v["known"]),
        ids: ids(&v["ids"]),
        duplicates: small(&v["duplicates"]),
        chain: large(&v["chain"]),
        reset: small(&v["reset"]),
    }
}

fn batch(v: &Value) -> Batch {
    let dep = |d: &Value| match d.get("position") {
        Some(position) => DepRef::Position(large(position)),
        None => DepRef::Id(id(&d["id"])),
    };
    let message = |m: &Value| WireMessage {
        position: (!m["position"].is_null()).then(|| large(&m["position"])),
        timestamp_ms: time(&m["timestamp_ms"]),
        deps: list(&m["deps"], dep),
        body: blob(&m["body"]).into(),
    };
    Batch { group: group(v), messages: list(&v["messages"], message), chain: large(&v["chain"]) }
}

fn offer(v: &Value) -> Offer {
    let item = |i: &Value| OfferItem { position: Some(large(&i["position"])), id: id(&i["id"]) };
    Offer { group: group(v), items: list(&v["items"], item), chain: large(&v["chain"]) }
}

fn short_offer(v: &Value) -> ShortOffer {
    let item = |i: &Value| (large(&i["position"]), u64::from_be_bytes(array(&i["short"])));
    ShortOffer { group: group(v), items: list(&v["items"], item), chain: large(&v["chain"]) }
}

/// The records of one kind: none if the frame has no such field.
fn records<T>(v: &Value, field: &str, read: impl Fn(&Value) -> T) -> Vec<T> {
    v.get(field).map(|records| list(records, read)).unwrap_or_default()
}

fn list<T>(v: &Value, read: impl Fn(&Value) -> T) -> Vec<T> {
    v.as_array().unwrap().iter().map(read).collect()
}

fn group(v: &Value) -> GroupRef {
    GroupRef::Number(small(&v["group"]))
}

fn spans(v: &Value) -> Vec<Span> {
    list(v, |pair| {
        assert_eq!(pair.as_array().unwrap().len(), 2);
        Span { first: large(&pair[0]), last: large(&pair[1]) }
    })
}

fn ids(v: &Value) -> Vec<MessageId> {
    list(v, id)
}

fn id(v: &Value) -> MessageId {
    MessageId::from_bytes(array(v))
}

fn array<const N: usize>(v: &Value) -> [u8; N] {
    blob(v).try_into().unwrap()
}

/// Bytes: hexadecimal, or one byte repeated.
fn blob(v: &Value) -> Vec<u8> {
    if let Some(hex) = v.as_str() {
        return HEXLOWER.decode(hex.as_bytes()).unwrap();
    }
    let [byte] = array(&v["repeat"]);
    vec![byte; v["count"].as_u64().unwrap().try_into().unwrap()]
}

/// An integer of 32 bits.
fn small(v: &Value) -> u32 {
    v.as_u64().unwrap().try_into().unwrap()
}

/// An unsigned integer of 64 bits.
fn large(v: &Value) -> u64 {
    v.as_str().unwrap().parse().unwrap()
}

/// A signed integer of 64 bits.
fn time(v: &Value) -> i64 {
    v.as_str().unwrap().parse().unwrap()
}
