//! A flood of messages whose parents never come, while honest peers work.

use hedgerow_proto::Message;
use hedgerow_sync_core::Config;
use hedgerow_sync_core::store::check;
use hedgerow_sync_core::testing::Net;

use crate::support::{Hand, message, no_id};

/// How many orphans there are in one frame.
const PER_FRAME: u64 = 400;
/// After so many frames the honest peers say something.
const PAUSE: u64 = 10;

/// One peer sends `count` orphans. Others write, and send children before their parents; `honest` says how many such
/// families each time. Nothing of theirs is lost or turned away, and rows stay within the limits.
fn flood(count: u64, config: Config, judged: bool) {
    let limits = config.clone();
    let mut net = Net::with(3, 1, config);
    let group = net.group("g", judged);
    net.connect(0, 1);
    net.connect(0, 2);
    let honest = Hand::new(&mut net, 50, &[group]);
    let flooder = Hand::new(&mut net, 99, &[group]);
    net.run(1_000);
    let (mut sent, mut written) = (0, 0);
    while sent < count {
        // Some lack one parent of their own, some share one, some lack as many as there may be.
        let orphans: Vec<Message> = (sent..sent + PER_FRAME)
            .map(|n| match n % 100 {
                0 => {
                    let deps: Vec<_> = (0..64).map(|dep| no_id(n * 64 + dep)).collect();
                    message(group, "many", n, &deps)
                }
                1..50 => message(group, "one", n, &[no_id(n * 64)]),
                _ => message(group, "shared", n, &[no_id(n / 10_000 * 64)]),
            })
            .collect();
        // With positions and without.
        let first = if sent % 800 == 0 { sent + 1 } else { 0 };
        flooder.send(&mut net, first, &orphans);
        sent += PER_FRAME;
        if sent % (PAUSE * PER_FRAME) != 0 && sent < count {
            continue;
        }
        net.publish(1, group, &format!("from 1, {sent}"));
        net.publish(2, group, &format!("from 2, {sent}"));
        let root = message(group, "root", sent, &[]);
        let mut family = vec![root];
        for n in 0..12 {
            family.push(message(group, "child", sent + n, &[family.last().unwrap().id()]));
        }
        family.reverse();
        // No positions: what is turned away would not come again.
        honest.send(&mut net, 0, &family);
        written += 2 + family.len();
        net.run(100);
        let status = net.engines[0].status();
        assert_eq!(status.groups[0].delivered, written as u64, "after {sent} orphans");
        assert!(status.groups[0].waiting <= 2 * limits.max_parked_messages);
        assert!(status.groups[0].missing <= 2 * limits.max_wanted);
        flooder.hear(&mut net);
        honest.hear(&mut net);
    }
    assert_eq!(honest.traffic(&net).refused, 0);
    assert!(flooder.traffic(&net).refused > count / 2);
    net.run(120_000);
    for n in 0..3 {
        assert_eq!(net.log(n, group).len(), written, "node {n}");
    }
    let report = check(net.engines[0].store()).unwrap();
    assert!(report.is_clean(), "{:?}", report.problems);
    assert!(report.edges <= 2 * limits.max_parked_deps);
    let held = report.waiting + report.unvalidated + report.early;
    assert!(held <= 2 * limits.max_parked_messages + 2 * limits.max_unvalidated);
    assert_eq!(report.messages, written as u64 + held + report.wanted);
    // What a restart counts is what was counted.
    let before = net.engines[0].status().groups[0];
    net.restart(0, 7);
    let after = net.engines[0].status().groups[0];
    assert_eq!((before.waiting, before.missing), (after.waiting, after.missing));
    let honest = Hand::new(&mut net, 50, &[group]);
    let family = [message(group, "late child", 0, &[message(group, "late", 0, &[]).id()])];
    honest.send(&mut net, 0, &family);
    assert_eq!(honest.traffic(&net).refused, 0);
}

#[test]
fn a_flood_of_orphans_turns_away_nothing_of_others() {
    for judged in [false, true] {
        let mut config = Config::default();
        config.max_parked_messages = 2_000;
        config.max_parked_bytes = 1 << 20;
        config.max_parked_deps = 4_000;
        config.max_unvalidated = 1_000;
        config.max_wanted = 1_024;
        flood(20_000, config, judged);
    }
}

/// With the limits that a node has. `cargo test --release -p hedgerow-tests --test adversaries -- --ignored million`
#[test]
#[ignore = "takes minutes unless it is optimised: run it with --release and --ignored"]
fn a_flood_of_a_million_orphans_turns_away_nothing_of_others() {
    flood(1_000_000, Config::default(), false);
}
