//! How fast the simulator's event loop is beside a bare loop over a binary heap: `event_loop [CONTACTS]`. Its events are
//! contacts of devices that are never on, so that no engine has anything to do.
#![allow(clippy::print_stdout)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::error::Error;
use std::path::Path;

use hedgerow_sim::run;
use hedgerow_sim::scenario::load_text;

fn main() -> Result<(), Box<dyn Error>> {
    let contacts: u64 = std::env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    let text = format!(
        r#"
            name = "event-loop"
            stop = {{ after = "10 d" }}
            nodes = {{ count = 1000, uptime = {{ model = "times", on = [] }} }}
            topology = {{ kind = "heavy-tailed", contacts = {contacts}, mean = "2 h", pairs = 1.0 }}
        "#
    );
    let scenario = load_text(&text, Path::new("event-loop.toml"), &[])?;
    // The first look comes after 4,096 events: planning is over by then.
    let mut first = None;
    let mut last = cpu_s();
    let summary = run(&scenario, 1, Path::new("."), |_| {
        last = cpu_s();
        first.get_or_insert(last);
        true
    })?;
    let events = summary.events / 4_096 * 4_096 - 4_096;
    let ours = events as f64 / (last - first.unwrap_or(last));

    // As many events, as large, with as many that wait as contacts do at a time; each leads to another one.
    let mut heap: BinaryHeap<Reverse<(u64, u64, [u64; 3])>> = BinaryHeap::new();
    let waiting = (contacts * 7_200 / 864_000).max(1);
    let mut order = 0;
    let mut random = 1_u64;
    let mut next = |now: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        order += 1;
        (now + random % 14_400_000_000, order, [order; 3])
    };
    heap.extend((0..waiting).map(|_| Reverse(next(0))));
    let before = cpu_s();
    let mut sum = 0_u64;
    for _ in 0..events {
        let Some(Reverse((at, _, what))) = heap.pop() else { break };
        sum = sum.wrapping_add(what.iter().sum());
        heap.push(Reverse(next(at)));
    }
    let bare = events as f64 / (cpu_s() - before);
    println!(
        "{events} events, {waiting} wait: {ours:.0} events/s, a bare heap {bare:.0} ({sum}), {:.2} of it",
        ours / bare
    );
    Ok(())
}

/// The processor time that this thread had so far, in s; the time of day where the system does not tell.
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = text.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    let clock = || {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).ok().map(|t| t.as_nanos() as f64)
    };
    ns.or_else(clock).unwrap_or_default() / 1e9
}
