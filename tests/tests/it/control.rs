//! Commands with and without a daemon, and what becomes of them when it comes and goes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::Value;

use crate::support::{Device, befriend, eventually, failure, hedgerow, signal};

#[test]
fn every_command_does_the_same_with_and_without_the_daemon() {
    let (mut ada, ben) = (Device::new("Ada"), Device::new("Ben"));
    befriend(&ada, &ben);
    for round in 0..2 {
        if round == 1 {
            ada.start();
        }
        ada.ok(&["send", "Ben", "several", "words"]);
        let group = format!("group {round}");
        ada.ok(&["group", "create", &group, "--public"]);
        ada.ok(&["send", &group, "hi"]);
        assert_eq!(ada.texts(&group), ["hi"]);
        assert!(
            ada.json(&["group", "link", &group])[0]["ticket"]
                .as_str()
                .unwrap()
                .starts_with("hedgerow-group:")
        );
        assert_eq!(ada.texts("Ben"), vec!["several words"; round + 1]);
        assert_eq!(ada.json(&["group", "list"]).len(), round + 1);
        assert_eq!(ada.json(&["peer", "list"])[0]["name"], "Ben");
        assert_eq!(ada.json(&["id"])[0]["addresses"].as_array().unwrap().is_empty(), round == 0);
        let status = &ada.json(&["status"])[0];
        let direct =
            status["groups"].as_array().unwrap().iter().find(|group| group["kind"] == "direct").unwrap();
        for (field, count) in [("held", round + 1), ("delivered", round + 1), ("missing", 0), ("heads", 1)] {
            assert_eq!(direct[field], count, "{field}");
        }
        assert!(status["peers"].as_array().unwrap().iter().all(|peer| peer["in_flight"] == 0));
        ada.check();
    }
    let mode = |name: &str| fs::metadata(ada.home().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("control.sock")), (0o700, 0o600));
    assert!(ada.stop().success());
    assert!(!ada.home().join("control.sock").exists());
}

#[test]
fn read_pages_through_both_orders_and_from_a_position() {
    let (ada, ben) = (Device::new("Ada"), Device::new("Ben"));
    befriend(&ada, &ben);
    let sent: Vec<String> = (1..=1_100).map(|number| number.to_string()).collect();
    assert!(ada.with_input(&["send", "Ben", "-"], sent.join("\n").as_bytes()).status.success());
    assert_eq!(ada.texts("Ben"), sent);
    let positions = |args: &[&str]| -> Vec<u64> {
        ada.json(args).iter().map(|line| line["position"].as_u64().unwrap()).collect()
    };
    assert_eq!(positions(&["read", "Ben", "--from", "1099"]), [1_099, 1_100]);
    assert_eq!(positions(&["read", "Ben", "--from", "1099", "--order", "canonical"]), [1_099, 1_100]);
    assert_eq!(positions(&["read", "Ben", "--order", "canonical"]), (1..=1_100).collect::<Vec<_>>());
    assert!(positions(&["read", "Ben", "--from", "1101"]).is_empty());
}

#[test]
fn a_second_daemon_on_one_home_is_refused_and_the_first_goes_on() {
    let mut ada = Device::new("Ada");
    ada.start();
    let error = ada.fails(1, &["run", "--listen", "tcp://127.0.0.1:0"]);
    assert!(
        error.contains("a daemon runs on the home") && error.contains(&*ada.home().to_string_lossy()),
        "{error}"
    );
    assert!(ada.daemon_runs());
    ada.ok(&["status"]);
    // One that was killed leaves its socket behind, which is no obstacle.
    ada.kill();
    assert!(ada.home().join("control.sock").exists());
    ada.ok(&["status"]);
    ada.start();
    ada.ok(&["status"]);
}

#[test]
fn a_home_may_have_a_long_path() {
    let mut ada = Device::at(&"a folder with quite a long name/".repeat(6), "Ada");
    ada.start();
    assert!(!ada.json(&["id"])[0]["addresses"].as_array().unwrap().is_empty(), "the daemon answers");
    assert!(failure(&ada.run(&["run"]), 1).contains("a daemon runs"));
}

#[test]
fn follow_goes_on_over_the_end_and_the_start_of_daemons() {
    let (mut ada, ben) = (Device::new("Ada"), Device::new("Ben"));
    befriend(&ada, &ben);
    ada.ok(&["send", "Ben", "1"]);
    let mut follower = hedgerow(ada.home(), &["read", "Ben", "--follow", "--json"]);
    let mut follower = follower.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let mut next = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert_eq!(next()["text"], "1");
    ada.ok(&["send", "Ben", "2"]);
    assert_eq!(next()["text"], "2");
    ada.start();
    ada.ok(&["send", "Ben", "3"]);
    assert_eq!(next()["text"], "3");
    ada.kill();
    ada.ok(&["send", "Ben", "4"]);
    ada.start();
    ada.ok(&["send", "Ben", "5"]);
    assert_eq!((next()["text"].clone(), next()["position"].clone()), (Value::from("4"), Value::from(5)));
    assert!(ada.stop().success());
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn both_signals_end_a_daemon_in_good_order() {
    for name in ["INT", "TERM"] {
        let ada = Device::new("Ada");
        let mut command = hedgerow(ada.home(), &["run", "--json", "--listen", "tcp://127.0.0.1:0"]);
        let mut daemon = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
        let mut until = |event: &str| {
            while let Some(Ok(line)) = lines.next() {
                if serde_json::from_str::<Value>(&line).unwrap()["event"] == event {
                    return true;
                }
            }
            false
        };
        assert!(until("ready"));
        signal(name, daemon.id());
        assert!(until("stopped"));
        assert_eq!(daemon.wait().unwrap().code(), Some(0));
        ada.check();
    }
}

#[test]
fn who_reads_the_output_may_stop() {
    let (mut ada, ben) = (Device::new("Ada"), Device::new("Ben"));
    befriend(&ada, &ben);
    let sent: Vec<String> = (0..2_000).map(|number| format!("{number} {}", "x".repeat(100))).collect();
    assert!(ada.with_input(&["send", "Ben", "-"], sent.join("\n").as_bytes()).status.success());
    for _ in 0..2 {
        let mut reader = hedgerow(ada.home(), &["read", "Ben"]);
        let mut reader = reader.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(reader.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let output = reader.wait_with_output().unwrap();
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
        if !ada.daemon_runs() {
            ada.start();
        }
    }
    // A reader that stops without going holds up nobody.
    let mut slow = hedgerow(ada.home(), &["read", "Ben"]);
    let mut slow = slow.stdout(Stdio::piped()).spawn().unwrap();
    eventually("others are served", || ada.run(&["send", "Ben", "meanwhile"]).status.success());
    assert!(ada.stop().success());
    slow.kill().unwrap();
    slow.wait().unwrap();
}
