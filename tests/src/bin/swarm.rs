//! Runs swarms of random networks, one for each seed, until one breaks a rule.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use hedgerow_tests::swarm::{Outcome, Setup, Stats, explain, run_seed};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

/// What this was built from.
const BUILD: &str = env!("HEDGEROW_BUILD");
/// How many failures are looked into.
const MAX_EXPLAINED: usize = 3;

/// Random networks of 3 to 12 engines, on all kinds of links, with crashes, lost stores, liars and clocks that are
/// wrong: whatever happens no rule is broken, and a healed core agrees and falls silent.
///
/// The last line says how many seeds passed and how many failed; the exit code is 1 if any failed. A failure is shown
/// with its seed, its options, the fewest steps that lead to it, what happened last, and the command that repeats it.
#[derive(Debug, Parser)]
#[command(name = "swarm", version = BUILD)]
struct Arguments {
    /// How many seeds to run [default: 100, or no limit with --minutes].
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// Begins no more seeds after so many minutes.
    #[arg(long, value_name = "M")]
    minutes: Option<f64>,
    /// How many seeds run at a time [default: one for each core].
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: Option<u16>,
    /// Only so many steps of each seed before it is healed.
    #[arg(long, value_name = "K")]
    steps: Option<usize>,
    /// Runs each seed twice and compares every frame, event and store, byte for byte.
    #[arg(long)]
    doublecheck: bool,
    /// One JSON object for each seed, and one for all.
    #[arg(long)]
    json: bool,
    /// How many lines of what happened last a failure shows.
    #[arg(long, value_name = "LINES", default_value_t = 60)]
    trace: usize,
    /// Prints the options and figures of every seed.
    #[arg(long)]
    verbose: bool,
}

/// What all seeds came to.
#[derive(Default)]
struct Total {
    passed: u64,
    failed: Vec<Outcome>,
    stats: Stats,
    simulated_ms: u64,
    slowest: Option<(u64, u64)>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.minutes.is_some_and(|minutes| !(0.0..1e6).contains(&minutes)) {
        eprintln!("error: --minutes takes a number from 0 to 1000000");
        return ExitCode::from(2);
    }
    let count = arguments.seeds.unwrap_or(if arguments.minutes.is_some() { u64::MAX } else { 100 });
    let end = arguments.from.saturating_add(count);
    let begun = Instant::now();
    let busy = cpu_time();
    let time = arguments.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let jobs = arguments.jobs.map_or_else(cores, usize::from);
    let bar = progress(&arguments, count, time);
    let next = AtomicU64::new(arguments.from);
    let total = Mutex::new(Total::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while time.is_none_or(|time| begun.elapsed() < time) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        return;
                    }
                    let outcome = run(seed, &arguments);
                    add(&total, outcome, &arguments, &bar);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut total = total.into_inner().unwrap();
    total.failed.sort_by_key(|outcome| outcome.seed);
    let busy = cpu_time().zip(busy).map(|(now, before)| now.saturating_sub(before));
    report(&total, &arguments, begun.elapsed(), busy);
    if total.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn progress(arguments: &Arguments, count: u64, time: Option<Duration>) -> ProgressBar {
    if arguments.json || arguments.verbose {
        return ProgressBar::hidden();
    }
    // Nothing is drawn where stderr is no terminal.
    let bar = if time.is_some() { ProgressBar::no_length() } else { ProgressBar::new(count) };
    let style =
        ProgressStyle::with_template("{elapsed_precise} {wide_bar} {human_pos}/{human_len} seeds {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn run(seed: u64, arguments: &Arguments) -> Outcome {
    let setup = Setup { seed, steps: arguments.steps, digest: arguments.doublecheck, ..Setup::default() };
    let mut outcome = run_seed(setup);
    if arguments.doublecheck {
        outcome.compare(&run_seed(setup));
    }
    outcome
}

fn add(total: &Mutex<Total>, outcome: Outcome, arguments: &Arguments, bar: &ProgressBar) {
    if arguments.json {
        println!("{}", outcome_json(&outcome));
    } else if arguments.verbose {
        let state = if outcome.failed.is_some() { "FAILED" } else { "passed" };
        println!("seed {} {state}: {:#?}\n{:?}", outcome.seed, outcome.options, outcome.stats);
    } else if let Some(failed) = &outcome.failed {
        bar.suspend(|| println!("seed {} breaks a rule: {}: {}", outcome.seed, failed.rule, failed.text));
    }
    let mut total = total.lock().unwrap();
    for (&what, &many) in &outcome.stats {
        *total.stats.entry(what).or_default() += many;
    }
    total.simulated_ms += outcome.simulated_ms;
    if outcome.failed.is_some() {
        total.failed.push(outcome);
    } else {
        total.passed += 1;
        total.slowest = total.slowest.max(Some((outcome.agreed_ms, outcome.seed)));
    }
    bar.inc(1);
    bar.set_message(format!("{} failed", total.failed.len()));
}

fn outcome_json(outcome: &Outcome) -> serde_json::Value {
    json!({
        "seed": outcome.seed,
        "passed": outcome.failed.is_none(),
        "rule": outcome.failed.as_ref().map(|failed| failed.rule),
        "found": outcome.failed.as_ref().map(|failed| failed.text.as_str()),
        "simulated_ms": outcome.simulated_ms,
        "agreed_ms": outcome.agreed_ms,
        "digest": outcome.digest,
        "options": format!("{:?}", outcome.options),
        "counts": outcome.stats,
    })
}

fn report(total: &Total, arguments: &Arguments, took: Duration, busy: Option<Duration>) {
    let hours = |ms: u64| ms as f64 / 3_600_000.0;
    let rate = busy.map(|busy| hours(total.simulated_ms) / (busy.as_secs_f64() / 3_600.0).max(1e-9));
    let seeds = total.passed + total.failed.len() as u64;
    if arguments.json {
        let failed: BTreeSet<u64> = total.failed.iter().map(|outcome| outcome.seed).collect();
        let summary = json!({
            "build": BUILD,
            "seeds": seeds,
            "from": arguments.from,
            "passed": total.passed,
            "failed": failed,
            "seconds": took.as_secs_f64(),
            "simulated_hours": hours(total.simulated_ms),
            "simulated_hours_per_cpu_hour": rate,
            "slowest": total.slowest.map(|(ms, seed)| json!({ "seed": seed, "agreed_ms": ms })),
            "counts": total.stats,
        });
        println!("{summary}");
        return;
    }
    for outcome in total.failed.iter().take(MAX_EXPLAINED) {
        let setup =
            Setup { seed: outcome.seed, steps: arguments.steps, trace: arguments.trace, ..Setup::default() };
        if let Some(failed) = &outcome.failed {
            println!("\n{}", explain(setup, failed, BUILD));
        }
    }
    if total.failed.len() > MAX_EXPLAINED {
        let seeds: Vec<String> = total.failed.iter().map(|outcome| outcome.seed.to_string()).collect();
        println!("not looked into: {}", seeds[MAX_EXPLAINED..].join(" "));
    }
    println!("build {BUILD}, {seeds} seeds from {}, {:.1} s", arguments.from, took.as_secs_f64());
    print!("{:.0} simulated hours", hours(total.simulated_ms));
    match rate {
        Some(rate) => println!(", {rate:.0} per CPU hour"),
        None => println!(),
    }
    if let Some((ms, seed)) = total.slowest {
        println!("slowest to agree: {:.1} simulated seconds with seed {seed}", ms as f64 / 1_000.0);
    }
    for (what, many) in &total.stats {
        println!("{many:>14} {what}");
    }
    println!("{} passed, {} failed", total.passed, total.failed.len());
}

/// The processor time that this process has used, where the system tells.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // After the name in parentheses: user and system time are the 12th and 13th field, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}
