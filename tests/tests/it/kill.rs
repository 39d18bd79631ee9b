//! Two daemons that are killed again and again while messages stream from one to the other.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use rand::RngExt as _;
use serde_json::Value;

use crate::support::{Device, Seed, befriend, eventually, hedgerow};

const MESSAGES: usize = 2_000;
const KILLS: usize = 20;

#[test]
fn messages_from_a_pipe_arrive_in_order_once_each_while_both_daemons_are_killed_at_random() {
    let seed = Seed::new(20);
    let mut dice = seed.dice();
    let (mut ada, mut ben) = (Device::new("Ada"), Device::new("Ben"));
    ada.start();
    ben.start();
    befriend(&ada, &ben);

    let mut sender = hedgerow(ada.home(), &["send", "Ben", "-", "--json"]);
    let mut sender = sender.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut pipe = sender.stdin.take().unwrap();
    let sent: Vec<String> = (1..=MESSAGES).map(|number| format!("message {number}")).collect();
    for lines in sent.chunks(MESSAGES / KILLS) {
        let (early, late) = lines.split_at(dice.random_range(0..lines.len()));
        writeln!(pipe, "{}", early.join("\n")).unwrap();
        // Mostly so short that batches and frames are under way.
        let longest = if dice.random_ratio(1, 4) { 200 } else { 25 };
        std::thread::sleep(Duration::from_millis(dice.random_range(0..longest)));
        let victim = if dice.random() { &mut ada } else { &mut ben };
        victim.kill();
        // The pipe does not stop while the daemon is down.
        writeln!(pipe, "{}", late.join("\n")).unwrap();
        victim.check();
        victim.start();
    }
    drop(pipe);
    let done = sender.wait_with_output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let done: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(done["accepted"], MESSAGES);

    assert!(ada.texts("Ben") == sent, "what was sent is not what is there");
    eventually("all messages are at Ben", || ben.texts("Ada").len() >= MESSAGES);
    assert!(ben.texts("Ada") == sent, "what arrived is not what was sent");
    let canonical = |device: &Device, chat| device.ok(&["read", chat, "--json", "--order", "canonical"]);
    assert!(canonical(&ada, "Ben") == canonical(&ben, "Ada"), "the canonical orders differ");
    for device in [&mut ada, &mut ben] {
        assert!(device.stop().success());
        device.check();
    }
}
