//! Samples and symbols of `tests/vectors/native.json`, which a script made without this crate.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::path::PathBuf;

use data_encoding::HEXLOWER;
use hedgerow_sync_core::proto::{GroupId, MessageId, Reconcile};
use hedgerow_sync_core::reconcile::{Key, Sample, Sketch, Symbol};
use serde_json::Value;

fn section(name: &str) -> Vec<Value> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors/native.json");
    let mut all: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let Value::Array(vectors) = all[name].take() else { panic!("no section {name}") };
    assert!(!vectors.is_empty());
    vectors
}

fn array<const N: usize>(v: &Value) -> [u8; N] {
    HEXLOWER.decode(v.as_str().unwrap().as_bytes()).unwrap().try_into().unwrap()
}

fn ids(v: &Value) -> Vec<MessageId> {
    v["ids"].as_array().unwrap().iter().map(|id| MessageId::from_bytes(array(id))).collect()
}

// spec: announce-sample
#[test]
fn samples() {
    for v in section("samples") {
        let group = GroupId::from_bytes(array(&v["group"]));
        let mut sample = Sample::default();
        ids(&v).iter().for_each(|id| sample.toggle(&group, id));
        assert_eq!(sample.0, u128::from_be_bytes(array(&v["sample"])), "{}", v["name"]);
    }
}

// spec: reconcile-key, reconcile-symbols
#[test]
fn symbols() {
    for v in section("reconciliations") {
        let salt = v["salt"].as_u64().unwrap().try_into().unwrap();
        let group = GroupId::from_bytes(array(&v["group"]));
        let key = Key::new(Reconcile::secret_of(&array(&v["sayer"]), &array(&v["solver"]), group, salt));
        let width = v["width"].as_u64().unwrap().try_into().unwrap();
        let mut sketch = Sketch::new(key, ids(&v).iter().map(|id| key.short_id(id, width)));
        let symbols = sketch.next_symbols(v["count"].as_u64().unwrap().try_into().unwrap());
        let mut bytes = Vec::new();
        symbols.iter().for_each(|symbol| symbol.write(width, &mut bytes));
        assert_eq!(HEXLOWER.encode(&bytes), v["symbols"].as_str().unwrap(), "{}", v["name"]);
        assert_eq!(Symbol::read(&bytes, width).collect::<Vec<_>>(), symbols);
    }
}

// spec: offer-short-id
#[test]
fn short_ids_of_offers() {
    for v in section("short_ids") {
        let key = Key::of_offers(
            v["install"].as_str().unwrap().parse().unwrap(),
            &GroupId::from_bytes(array(&v["group"])),
        );
        let short = key.short_id(&MessageId::from_bytes(array(&v["id"])), 8);
        assert_eq!(short, u64::from_be_bytes(array(&v["short"])), "{}", v["name"]);
    }
}
