//! Peers of other makers, written in Python without a look at our code, against a real daemon.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::support::{Device, eventually, text};

/// The group that the MVDS peer speaks of.
const MVDS_GROUP: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn mvds_key() -> String {
    format!("04{}", "70".repeat(64))
}

/// Whether there is a Python; if not, the test says that it was skipped.
fn has_python(test: &str) -> bool {
    let found = Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        eprintln!("{test}: skipped, there is no python3");
    }
    found
}

fn peer(script: &str, args: &[&str]) -> Command {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("interop").join(script);
    let mut command = Command::new("python3");
    command.arg("-B").arg(path).args(args);
    command
}

/// Runs a scenario that must succeed, and gives the lines that it prints.
#[track_caller]
fn play(script: &str, args: &[&str]) -> Vec<String> {
    let output = peer(script, args).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// Where the daemon listens for this wire, as the Python peers want it.
fn place(device: &Device, scheme: &str) -> String {
    let addresses = device.events();
    let addresses = addresses.iter().filter(|line| line["event"] == "listening");
    let found = addresses.map(|line| text(&line["address"])).find(|address| address.starts_with(scheme));
    let rest = found.unwrap().split_once("://").unwrap().1.to_owned();
    rest.split('/').next().unwrap().to_owned()
}

fn bodies(device: &Device, group: &str) -> Vec<String> {
    let messages = device.json(&["foreign", "read", group]);
    let body =
        |hex: &str| String::from_utf8(data_encoding::HEXLOWER.decode(hex.as_bytes()).unwrap()).unwrap();
    messages.iter().map(|message| body(message["body"].as_str().unwrap())).collect()
}

/// A device with a foreign peer of this mode.
fn mvds(mode: &str) -> Device {
    let mut device = Device::new("ada");
    device.start_with(&["--listen", "mvds+tcp://127.0.0.1:0"]);
    device.ok(&["foreign", "add", "py", "--wire", "mvds", "--key", &mvds_key(), "--mode", mode, "--parents"]);
    device.ok(&["foreign", "share", "py", "--group", MVDS_GROUP]);
    device
}

/// A device with a foreign peer, and the group that is shared with it.
fn bsp(mode: &str) -> (Device, String) {
    let mut device = Device::new("ada");
    device.start_with(&["--listen", "bsp+tcp://127.0.0.1:0/py"]);
    device.ok(&["foreign", "add", "py", "--wire", "bsp", "--mode", mode]);
    let share =
        ["foreign", "share", "py", "--client", "org.example.interop", "--major", "3", "--descriptor", "0102"];
    let group = text(&device.json(&share)[0]["group"]);
    (device, group)
}

#[test]
fn interop_dialect_mvds_goes_both_ways_in_both_modes() {
    if !has_python("mvds") {
        return;
    }
    for mode in ["batch", "interactive"] {
        let mut device = mvds(mode);
        let at = place(&device, "mvds+tcp");
        play("mvds_peer.py", &[&at, "push", "40"]);
        // Each came twice and names the one before, so that they are delivered in order and once.
        let pushed: Vec<String> = (0..40).map(|n| format!("pushed {n}")).collect();
        assert_eq!(bodies(&device, MVDS_GROUP), pushed);
        play("mvds_peer.py", &[&at, "offer", "60"]);
        assert_eq!(bodies(&device, MVDS_GROUP).len(), 100);
        let written: Vec<String> = (0..12).map(|n| format!("written {n:02}")).collect();
        for body in &written {
            device.ok(&["foreign", "send", MVDS_GROUP, body]);
        }
        // The connection is lost after five of them, before any is acknowledged.
        assert_eq!(play("mvds_peer.py", &[&at, "receive", "12", "5", mode]), written);
        play("mvds_peer.py", &[&at, "silent"]);
        play("mvds_peer.py", &[&at, "half", "20"]);
        assert_eq!(bodies(&device, MVDS_GROUP).len(), 132);
        device.kill();
        device.start_with(&["--listen", "mvds+tcp://127.0.0.1:0"]);
        play("mvds_peer.py", &[&place(&device, "mvds+tcp"), "silent"]);
        device.stop();
        device.check();
    }
}

#[test]
fn interop_dialect_mvds_malformed_input_ends_its_link_alone() {
    if !has_python("mvds") {
        return;
    }
    let device = mvds("batch");
    play("mvds_peer.py", &[&place(&device, "mvds+tcp"), "malformed"]);
    assert_eq!(bodies(&device, MVDS_GROUP), ["good"]);
    device.check();
}

/// A peer that waits to be dialled, and the port at which it does.
fn waiting(script: &str, args: &[&str]) -> (Child, u16) {
    let mut process = peer(script, args).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (process, line.trim().rsplit_once(' ').unwrap().1.parse().unwrap())
}

#[test]
fn interop_dialect_the_node_dials_peers_of_both_wires() {
    if !has_python("dial") {
        return;
    }
    let mut device = Device::new("ada");
    device.start();
    let (mut process, port) = waiting("mvds_peer.py", &["listen", "push", "10"]);
    let (at, key) = (format!("mvds+tcp://127.0.0.1:{port}"), mvds_key());
    device.ok(&["foreign", "add", "py", "--wire", "mvds", "--key", &key]);
    device.ok(&["foreign", "share", "py", "--group", MVDS_GROUP]);
    device.ok(&["foreign", "add", "py", "--wire", "mvds", "--key", &key, "--dial", &at]);
    assert!(process.wait().unwrap().success());
    assert_eq!(bodies(&device, MVDS_GROUP).len(), 10);

    let (mut process, port) = waiting("bsp_peer.py", &["listen", "offer", "10"]);
    let at = format!("bsp+tcp://127.0.0.1:{port}/briar");
    device.ok(&["foreign", "add", "briar", "--wire", "bsp"]);
    let share = [
        "foreign",
        "share",
        "briar",
        "--client",
        "org.example.interop",
        "--major",
        "3",
        "--descriptor",
        "0102",
    ];
    let group = text(&device.json(&share)[0]["group"]);
    device.ok(&["foreign", "add", "briar", "--wire", "bsp", "--dial", &at]);
    assert!(process.wait().unwrap().success());
    assert_eq!(bodies(&device, &group).len(), 10);
    assert_eq!(bodies(&device, MVDS_GROUP).len(), 10, "the other group is not its own");
    device.check();
}

#[test]
fn interop_dialect_bsp_goes_both_ways_in_both_modes() {
    if !has_python("bsp") {
        return;
    }
    for mode in ["interactive", "batch"] {
        let (mut device, group) = bsp(mode);
        let at = place(&device, "bsp+tcp");
        play("bsp_peer.py", &[&at, "push", "40"]);
        play("bsp_peer.py", &[&at, "offer", "60"]);
        assert_eq!(bodies(&device, &group).len(), 100);
        let written: Vec<String> = (0..12).map(|n| format!("written {n:02}")).collect();
        for body in &written {
            device.ok(&["foreign", "send", &group, body]);
        }
        assert_eq!(play("bsp_peer.py", &[&at, "receive", "12", "5", mode]), written);
        play("bsp_peer.py", &[&at, "silent"]);
        play("bsp_peer.py", &[&at, "half", "20"]);
        play("bsp_peer.py", &[&at, "unavailable"]);
        assert_eq!(bodies(&device, &group).len(), 132);
        device.kill();
        device.start_with(&["--listen", "bsp+tcp://127.0.0.1:0/py"]);
        play("bsp_peer.py", &[&place(&device, "bsp+tcp"), "silent"]);
        device.stop();
        device.check();
    }
}

#[test]
fn interop_dialect_bsp_offers_more_than_a_window_and_takes_more_than_one() {
    if !has_python("bsp") {
        return;
    }
    // What one peer wrote goes on to another one, within its window.
    let (device, group) = bsp("interactive");
    play("bsp_peer.py", &[&place(&device, "bsp+tcp"), "offer", "2500"]);
    assert_eq!(bodies(&device, &group).len(), 2500);
    let (mut process, port) = waiting("bsp_peer.py", &["listen", "window", "2500"]);
    device.ok(&["foreign", "add", "other", "--wire", "bsp"]);
    let share = [
        "foreign",
        "share",
        "other",
        "--client",
        "org.example.interop",
        "--major",
        "3",
        "--descriptor",
        "0102",
    ];
    device.ok(&share);
    let at = format!("bsp+tcp://127.0.0.1:{port}/other");
    device.ok(&["foreign", "add", "other", "--wire", "bsp", "--dial", &at]);
    assert!(process.wait().unwrap().success());
}

#[test]
fn interop_dialect_bsp_malformed_records_end_their_link_alone() {
    if !has_python("bsp") {
        return;
    }
    let (device, group) = bsp("interactive");
    play("bsp_peer.py", &[&place(&device, "bsp+tcp"), "malformed"]);
    assert_eq!(bodies(&device, &group), ["good"]);
    device.check();
}

#[test]
fn interop_dialect_foreign_peers_are_configured_and_nobody_else_gets_in() {
    let mut device = Device::new("ada");
    assert!(!device.ticket().is_empty());
    device.start_with(&["--listen", "mvds+tcp://127.0.0.1:0", "--listen", "bsp+tcp://127.0.0.1:0/briar"]);
    // A ticket has no plain addresses: friends would dial them in vain.
    let addresses = device.json(&["id"])[0]["addresses"].as_array().unwrap().clone();
    assert!(addresses.iter().all(|address| text(address).starts_with("tcp://")), "{addresses:?}");
    device.fails(1, &["foreign", "share", "py", "--group", MVDS_GROUP]);
    device.fails(1, &["foreign", "add", "py", "--wire", "mvds"]);
    device.fails(1, &["foreign", "add", "py", "--wire", "bsp", "--key", &mvds_key()]);
    device.fails(1, &["foreign", "add", "py", "--wire", "mvds", "--key", "0400"]);
    device.fails(1, &["foreign", "add", "py", "--wire", "bsp", "--dial", "tcp://127.0.0.1:1"]);
    assert_eq!(device.run(&["foreign", "add", "py", "--wire", "smoke"]).status.code(), Some(2));
    device.ok(&["foreign", "add", "py", "--wire", "bsp"]);
    device.fails(1, &["foreign", "add", "py", "--wire", "mvds", "--key", &mvds_key()]);
    device.fails(1, &["foreign", "share", "py", "--group", MVDS_GROUP]);
    device.fails(2, &["foreign", "share", "py"]);
    device.fails(1, &["foreign", "read", MVDS_GROUP]);
    device.fails(1, &["foreign", "send", MVDS_GROUP, "x"]);
    if has_python("strangers") {
        // Nobody added this peer: its link ends at once.
        let refused = peer("mvds_peer.py", &[&place(&device, "mvds+tcp"), "push", "1"]).output().unwrap();
        assert!(!refused.status.success());
        let refused = peer("bsp_peer.py", &[&place(&device, "bsp+tcp"), "push", "1"]).output().unwrap();
        assert!(!refused.status.success());
    }
    device.ok(&["foreign", "remove", "py"]);
    device.fails(1, &["foreign", "remove", "py"]);
    eventually("only the node itself is listed", || device.json(&["foreign", "list"]).len() == 1);
}
