//! Caps and messages that expire, from the command line.

use serde_json::Value;

use crate::support::{Device, befriend, eventually};

/// The least cap, in bytes.
const CAP: u64 = 263_168;

fn bytes(device: &Device) -> u64 {
    let report = &device.json(&["check"])[0];
    assert_eq!(report["clean"], true, "{report}");
    report["bytes"].as_u64().unwrap()
}

#[test]
fn a_daemon_keeps_its_cap_and_says_what_it_holds() {
    let (mut ada, mut ben) = (Device::new("Ada"), Device::new("Ben"));
    ada.start();
    ben.start_with(&["--max-store", "257KiB"]);
    befriend(&ada, &ben);
    let line = "x".repeat(5_000);
    let input: String = (0..100).map(|n| format!("{n} {line}\n")).collect();
    assert!(ada.with_input(&["send", "Ben", "-"], input.as_bytes()).status.success());
    eventually("all of it has come", || ben.json(&["read", "Ada"]).len() == 100);
    let lines = ben.json(&["read", "Ada"]);
    let kinds = |kind: &str| lines.iter().filter(|line| line["kind"] == kind).count();
    assert!(kinds("pruned") > 40 && kinds("pruned") + kinds("text") == 100);
    assert!(lines[0]["notice"].as_str().unwrap().contains("removed here"));
    assert_eq!(lines[0]["author"], ada.peer_id());
    let held = bytes(&ben);
    assert!(held <= CAP, "{held}");
    let status = &ben.json(&["status"])[0];
    assert_eq!((&status["bytes"], &status["max_bytes"]), (&Value::from(held), &Value::from(CAP)));
    assert_eq!(status["groups"][0]["pruned"], kinds("pruned"));
    assert!(ben.ok(&["status"]).contains(&format!("{held} bytes of {CAP} held")));
    assert_eq!(ada.json(&["status"])[0]["max_bytes"], Value::Null);
    assert!(ben.saw("pruned"));

    // The cap of one chat, which outlives the daemon.
    ada.ok(&["group", "cap", "Ben", "300KiB"]);
    assert!(bytes(&ada) <= 300 << 10);
    ada.stop();
    assert_eq!(ada.json(&["status"])[0]["groups"][0]["max_bytes"], 300 << 10);
    ada.ok(&["group", "cap", "Ben", "none"]);
    assert_eq!(ada.json(&["status"])[0]["groups"][0]["max_bytes"], Value::Null);
}

#[test]
fn what_is_said_for_a_time_is_gone_after_it_and_shown_as_expired() {
    let (mut ada, mut ben) = (Device::new("Ada"), Device::new("Ben"));
    ada.start();
    ben.start();
    befriend(&ada, &ben);
    ada.ok(&["send", "Ben", "stays"]);
    ada.ok(&["send", "--expire-after", "3s", "Ben", "goes"]);
    let kind = |device: &Device, chat: &str| device.json(&["read", chat])[1]["kind"].clone();
    eventually("it has come", || ben.json(&["read", "Ada"]).len() == 2);
    for (device, chat) in [(&ada, "Ben"), (&ben, "Ada")] {
        eventually("it has expired", || kind(device, chat) == "expired");
        let line = &device.json(&["read", chat])[1];
        assert_eq!((&line["text"], &line["author"]), (&Value::from(""), &Value::from(ada.peer_id())));
        assert!(device.ok(&["read", chat]).contains("[this message has expired]"));
        assert!(line["expires_ms"].as_i64() > line["timestamp_ms"].as_i64());
        assert_eq!(device.texts(chat), ["stays"]);
        device.check();
    }
    for wrong in [&["send", "--expire-after", "soon", "Ben", "x"][..], &["group", "cap", "Ben", "5"]] {
        assert_eq!(ada.run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
