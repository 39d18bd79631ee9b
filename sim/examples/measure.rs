//! Runs a scenario with some seeds and tells what it cost: `measure FILE [--seeds N] [--set key=value]… [--json]`.
//! Prints a line for each seed with little of it, and the means over all seeds; `--json` prints the last summary too.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use hedgerow_sim::scenario::{Setting, load};
use hedgerow_sim::{Summary, Times, run};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let file = args.next().ok_or("measure FILE [--seeds N] [--seed S] [--set key=value]… [--json]")?;
    let (mut seeds, mut first, mut settings, mut json) = (1_u64, 1_u64, Vec::<Setting>::new(), false);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seeds" => seeds = args.next().ok_or("--seeds N")?.parse()?,
            "--seed" => first = args.next().ok_or("--seed S")?.parse()?,
            "--set" => settings.push(args.next().ok_or("--set key=value")?.parse()?),
            "--json" => json = true,
            other => return Err(format!("{other}: no such option").into()),
        }
    }
    let path = Path::new(&file);
    let scenario = load(path, &settings)?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let (mut simulated, mut events) = (0.0, 0);
    let mut all: Vec<Summary> = Vec::new();
    let (start, before) = (Instant::now(), cpu_s());
    for seed in first..first + seeds {
        let summary = run(&scenario, seed, folder, |_| true)?;
        simulated += summary.simulated_s;
        events += summary.events;
        for check in summary.checks.iter().filter(|check| check.broken > 0) {
            println!("seed {seed}: {} broken {} times: {:?}", check.rule.name(), check.broken, check.cases);
        }
        all.push(summary);
    }
    // On a machine with other work, the time of the processor is what the runs took.
    let wall = start.elapsed().as_secs_f64();
    let cpu = cpu_s().zip(before).map_or(wall, |(now, before)| now - before);
    let pooled = |of: fn(&Summary) -> &Times| {
        Times::of(all.iter().map(|summary| micros(of(summary).mean_ms)).collect())
    };
    let sum = |of: fn(&Summary) -> u64| all.iter().map(of).sum::<u64>() as f64;
    let messages = sum(|s| s.messages).max(1.0);
    let delivered = sum(|s| s.delivered);
    for (name, times) in [
        ("delivery", pooled(|s| &s.delivery)),
        ("delivery to all", pooled(|s| &s.delivery_to_all)),
        ("acknowledgement", pooled(|s| &s.acknowledgement)),
    ] {
        println!(
            "{name:16} mean {:.2} s  p50 {:.2}  p90 {:.2}  max {:.2}",
            times.mean_ms / 1e3,
            times.p50_ms / 1e3,
            times.p90_ms / 1e3,
            times.max_ms / 1e3
        );
    }
    let mut ends: Vec<f64> = all.iter().map(|s| s.convergence.at_s.unwrap_or(f64::INFINITY)).collect();
    ends.sort_by(f64::total_cmp);
    println!(
        "all have all     mean {:.0} s  p50 {:.0}  p90 {:.0}",
        ends.iter().sum::<f64>() / ends.len() as f64,
        ends.get(ends.len() / 2).copied().unwrap_or_default(),
        ends.get(ends.len() * 9 / 10).copied().unwrap_or_default()
    );
    println!(
        "messages {messages}, delivered {delivered} of {}, sends per delivery {:.3}, bytes over bodies delivered {:.3}, \
         frames per message {:.2}, duplicates {}",
        sum(|s| s.wanted),
        sum(|s| s.kinds.message.records) / delivered.max(1.0),
        sum(|s| s.wire_bytes) / sum(|s| s.delivered_bytes).max(1.0),
        sum(|s| s.frames) / messages,
        sum(|s| s.duplicates),
    );
    println!(
        "{events} events in {cpu:.2} s of computing time ({wall:.2} s by the clock): {:.0} events/s, {:.0} deliveries/s, \
         simulated to computing time {:.0}, peak {} MiB",
        events as f64 / cpu,
        delivered / cpu,
        simulated / cpu,
        peak_kib()? / 1024
    );
    if let Some(last) = all.last().filter(|_| json) {
        println!("{}", serde_json::to_string_pretty(last)?);
    }
    Ok(())
}

/// The most memory that this process ever had, in KiB; 0 where the system does not say.
fn peak_kib() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default())
}

/// The processor time that this thread had so far, in s, where the system tells.
fn cpu_s() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(text.split_whitespace().next()?.parse::<f64>().ok()? / 1e9)
}

/// Milliseconds as whole microseconds.
#[allow(clippy::cast_possible_truncation)] // Clamped by the cast itself.
fn micros(ms: f64) -> u64 {
    (ms * 1e3).round().max(0.0) as u64
}
