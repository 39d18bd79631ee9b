//! A run is a pure function of scenario and seed: whatever else goes on, and however many run at a time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use hedgerow_sim::record::Ended;
use hedgerow_sim::scenario::{Scenario, load_text};
use hedgerow_sim::{Detail, doublecheck, run, run_with};

/// Something of everything that is drawn.
const TEXT: &str = r#"
    name = "everything"
    stop = { after = "20 min" }

    [nodes]
    count = 12
    clock_skew = "20 s"
    uptime = { model = "windows", share = "70 %", mean = "5 min" }
    relays = [4]

    [topology]
    kind = "random-waypoint"
    side = 300.0
    range = 120.0
    slowest = 0.5
    fastest = 2.0

    [links]
    carrier = "datagram"
    mtu = "1200 B"
    latency = { median = "40 ms", sigma = 0.7 }
    loss = { good = "1 %", bad = "50 %", to_bad = "5 %", to_good = "20 %" }
    duplication = "3 %"
    reordering = "5 %"
    corruption = "1 %"
    bandwidth = "1 Mbit/s"
    breaks = "3 min"
    half_open = "5 s"

    [[workload]]
    kind = "chat"
    every = "20 s"
    reply = "4 %"
    think = "5 s"
    size = "300 B"

    [[workload]]
    kind = "churn"
    every = "3 min"

    [[fault]]
    kind = "crashes"
    every = "2 min"
    off = "10 s"

    [[fault]]
    kind = "partition"
    nodes = [1, 2, 3]
    from = "5 min"
    to = "8 min"

    [[fault]]
    kind = "restore"
    node = 2
    backup = "4 min"
    at = "15 min"

    [[adversary]]
    nodes = [7]
    deeds = ["lying-acks", "flood-orphans", "replay"]
"#;

fn scenario() -> Scenario {
    load_text(TEXT, Path::new("everything.toml"), &[]).unwrap()
}

fn summaries(jobs: usize) -> BTreeMap<u64, Vec<u8>> {
    let scenario = scenario();
    let (next, all) = (AtomicU64::new(0), Mutex::new(BTreeMap::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= 3 {
                        break;
                    }
                    let summary = run(&scenario, seed, Path::new("."), |_| true).unwrap();
                    all.lock().unwrap().insert(seed, serde_json::to_vec(&summary).unwrap());
                }
            });
        }
    });
    all.into_inner().unwrap()
}

#[test]
fn summaries_are_the_same_whatever_the_number_of_jobs() {
    let alone = summaries(1);
    assert_eq!(alone.len(), 3);
    assert_ne!(alone[&0], alone[&1], "seeds differ");
    assert_eq!(summaries(3), alone);
}

#[test]
fn a_run_is_the_same_twice_in_every_detail() {
    let detail = Detail::Events { most: 1_000_000 };
    let run = doublecheck(&scenario(), 3, Path::new("."), detail, |_| true).unwrap();
    let log = run.record.log.as_ref().unwrap();
    assert!(log.left_out == 0 && log.events.len() > 500 && log.frames.len() > 500, "{}", log.events.len());
    assert!(log.events.windows(2).all(|pair| pair[0].at_us <= pair[1].at_us));
    let alive: u64 = run.record.nodes.iter().map(|node| node.starts).sum();
    assert!(alive > 12);
    assert!(run.summary.passed(), "{:#?}", run.summary.checks);
}

#[test]
fn a_log_changes_nothing_and_has_its_bounds() {
    let with = run_with(&scenario(), 3, Path::new("."), Detail::Events { most: 100 }, |_| true).unwrap();
    let without = run(&scenario(), 3, Path::new("."), |_| true).unwrap();
    assert_eq!(serde_json::to_vec(&with.summary).unwrap(), serde_json::to_vec(&without).unwrap());
    let log = with.record.log.unwrap();
    assert_eq!(log.events.len() + log.frames.len(), 100);
    assert!(log.left_out > 1_000);
}

#[test]
fn a_run_that_is_stopped_keeps_what_is_done() {
    let mut calls = 0;
    let summary = run(&scenario(), 1, Path::new("."), |_| {
        calls += 1;
        false
    });
    let summary = summary.unwrap();
    assert_eq!((calls, summary.ended), (1, Ended::Interrupted));
    assert_eq!(summary.events, 4_096);
}
