//! The simulator: its event loop, what its engines deliver, and a trace of contacts.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fmt::Write as _;
use std::path::Path;

use hedgerow_sim::Summary;
use hedgerow_sim::checks::Verdict;
use hedgerow_sim::scenario::{Scenario, load_text};

use super::measure::{Scale, alternate, cpu, median, to_f64};
use super::row::{Goal, Row};
use crate::Failure;

fn scenario(text: &str) -> Result<Scenario, Failure> {
    Ok(load_text(text, Path::new("scenario.toml"), &[])?)
}

/// A run whose checks all passed, and its CPU seconds.
fn run(scenario: &Scenario, seed: u64) -> Result<(Summary, f64), Failure> {
    let (summary, seconds) = cpu(|| Ok(hedgerow_sim::run(scenario, seed, Path::new("."), |_| true)?))?;
    if !summary.passed() {
        let failed = summary.checks.iter().find(|check| check.verdict == Verdict::Broken);
        return Err(format!("a rule was broken in the simulator: {failed:?}").into());
    }
    Ok((summary, seconds))
}

/// The least: events on a heap, of which each puts the next one on it. Events in a CPU second.
fn bare_heap(waiting: usize, events: u64) -> Result<f64, Failure> {
    let (sum, seconds) = cpu(|| {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state % 1_000_000
        };
        let mut heap: BinaryHeap<Reverse<(u64, u64, usize)>> = BinaryHeap::new();
        for n in 0..waiting {
            heap.push(Reverse((draw(), n as u64, n)));
        }
        let mut sum = 0_u64;
        for n in 0..events {
            let Some(Reverse((at, _, node))) = heap.pop() else { break };
            sum = sum.wrapping_add(at);
            heap.push(Reverse((at + draw(), n + waiting as u64, node)));
        }
        Ok(sum)
    })?;
    if sum == 0 {
        return Err("nothing happened".into());
    }
    Ok(to_f64(events) / seconds)
}

/// Nodes that go on and off and have nobody to talk to: the event loop with next to nothing in it.
pub(crate) fn events(scale: Scale) -> Result<Vec<Row>, Failure> {
    let seconds = scale.pick(1_000, 20_000);
    let text = format!(
        "name = \"clock\"\n[stop]\nafter = \"{seconds} s\"\n[nodes]\ncount = 100\n\
         [nodes.uptime]\nmodel = \"windows\"\nshare = \"50 %\"\nmean = \"1 s\"\n\
         [topology]\nkind = \"edges\"\nedges = []\n"
    );
    let scenario = scenario(&text)?;
    let (anchor, ours) = alternate(
        scale.times(),
        || bare_heap(100, 100 * seconds),
        || {
            let (summary, seconds) = run(&scenario, 1)?;
            Ok(to_f64(summary.events) / seconds)
        },
    )?;
    let what = "events of a simulation in a CPU second: 100 nodes go on and off, drawing the times included";
    let anchor = ("binary heap: take one, put the next one in", anchor);
    Ok(vec![Row::new("sim-events", Goal::TimesAtLeast(0.5), "/s", ours, anchor, what)])
}

/// Ten pairs that write to each other: messages delivered in a CPU second.
pub(crate) fn delivered(scale: Scale) -> Result<Vec<Row>, Failure> {
    let seconds = scale.pick(20, 100);
    let mut text = format!("name = \"pairs\"\n[stop]\nafter = \"{seconds} s\"\n[nodes]\ncount = 20\n");
    let edges: Vec<String> = (0..10).map(|n| format!("[{}, {}]", 2 * n, 2 * n + 1)).collect();
    let _ = writeln!(text, "[topology]\nkind = \"edges\"\nedges = [{}]", edges.join(", "));
    for n in 0..10 {
        let _ = writeln!(text, "[[group]]\nname = \"g{n}\"\nmembers = [{}, {}]", 2 * n, 2 * n + 1);
        let _ = writeln!(
            text,
            "[[workload]]\nkind = \"poisson\"\ngroup = \"g{n}\"\nevery = \"10 ms\"\nsize = \"200 B\"\nend = \"{} s\"",
            seconds - 5
        );
    }
    let scenario = scenario(&text)?;
    let mut rates = Vec::new();
    for seed in 0..scale.pick(3, 7) {
        let (summary, seconds) = run(&scenario, seed)?;
        if summary.delivered != summary.wanted {
            return Err(format!("{} of {} were delivered", summary.delivered, summary.wanted).into());
        }
        rates.push(to_f64(summary.delivered) / seconds);
    }
    let what = "messages of 200 B delivered in a CPU second, ten pairs, each message a frame of its own";
    let row = Row::alone("sim-delivered", Goal::AtLeast(100_000.0), "/s", median(rates), what);
    Ok(vec![row.published("turmoil, 10 pairs, tick 10 ms", 21_600.0)])
}

/// Contacts of 36 people over eleven days.
pub(crate) fn trace(_: Scale) -> Result<Vec<Row>, Failure> {
    let scenario = scenario(include_str!("../../../scenarios/contacts-36.toml"))?;
    let (summary, seconds) = run(&scenario, 1)?;
    let best = summary.oracle.ok_or("the best was not worked out")?;
    let what = format!(
        "CPU of {} contacts among 36 over 11.4 days, {} messages, with the oracle",
        summary.contacts, summary.messages
    );
    let one = "Epidemic in the ONE simulator, a trace of the same size";
    Ok(vec![
        Row::alone("trace-cpu", Goal::TimesAtMost(0.05), "s", seconds, what).published(one, 197.0),
        Row::new(
            "trace-delivery",
            Goal::TimesAtLeast(1.0),
            "",
            to_f64(best.reached),
            ("pairs that any path of contacts reaches in time", to_f64(best.reachable)),
            "the same: (message, member) pairs that were reached (Epidemic, published: 0.91)",
        ),
        Row::alone(
            "trace-sends",
            Goal::AtMost(1.0),
            "",
            summary.sends_per_delivery,
            "the same: MESSAGE records for each delivery",
        ),
    ])
}
