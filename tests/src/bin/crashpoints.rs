//! Stops the store at every write and sync of scripted sessions, and looks what is left.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use hedgerow_tests::crash::{Failure, Kind, Medium, Mode, Point, Script, disturbed, operations, points};
use serde_json::json;

/// Stops the real store of real engines at every operation on a disk in memory, in every way, and goes on.
#[derive(Parser)]
struct Arguments {
    /// At least 100,000 points.
    #[arg(long, conflicts_with = "points")]
    full: bool,
    /// At least so many points, spread over at least ten scripts: of each at most a tenth of these, evenly.
    #[arg(long, default_value_t = 2_000)]
    points: u64,
    /// The number of the first script.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// One point alone, such as 3:217:power, as a failure names it.
    #[arg(long, conflicts_with_all = ["full", "points", "from"])]
    point: Option<Point>,
    /// How many at a time; as many as there are processors if it is not given.
    #[arg(long)]
    jobs: Option<usize>,
    /// Prints one object of JSON instead of text.
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Default)]
struct Tally {
    scripts: u64,
    by_mode: BTreeMap<String, u64>,
    failures: Vec<(Point, Failure)>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic is a failure of its point, which is printed with it.
    std::panic::set_hook(Box::new(|_| {}));
    let begun = Instant::now();
    let goal = if arguments.full { 100_000 } else { arguments.points };
    let tally = Mutex::new(Tally::default());
    match arguments.point {
        Some(point) => try_points(&Script::new(point.script), [point].into_iter(), &tally, arguments.json),
        None => {
            let (next, done) = (AtomicU64::new(arguments.from), AtomicU64::new(0));
            let processors = || std::thread::available_parallelism().map_or(1, usize::from);
            std::thread::scope(|scope| {
                for _ in 0..arguments.jobs.unwrap_or_else(processors).max(1) {
                    scope.spawn(|| {
                        while done.load(Ordering::Relaxed) < goal {
                            let number = next.fetch_add(1, Ordering::Relaxed);
                            let script = Script::new(number);
                            match operations(&script) {
                                Ok(ops) => {
                                    let count = points(number, &ops).count() as u64;
                                    let share = (goal / 10).max(1);
                                    let stride = usize::try_from(count.div_ceil(share).max(1)).unwrap();
                                    // Not of every script the same operations.
                                    let first = usize::try_from(number).unwrap() % stride;
                                    let chosen = points(number, &ops).skip(first).step_by(stride);
                                    done.fetch_add(chosen.clone().count() as u64, Ordering::Relaxed);
                                    try_points(&script, chosen, &tally, arguments.json);
                                }
                                Err(failure) => {
                                    let point = Point { script: number, at: u64::MAX, mode: Mode::Kill };
                                    fail(point, failure, &tally, arguments.json);
                                    done.fetch_add(1, Ordering::Relaxed);
                                }
                            }
                            tally.lock().unwrap().scripts += 1;
                        }
                    });
                }
            });
        }
    }
    let tally = tally.into_inner().unwrap();
    report(&tally, begun.elapsed().as_secs_f64(), arguments.json);
    if tally.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn try_points(script: &Script, points: impl Iterator<Item = Point>, tally: &Mutex<Tally>, quiet: bool) {
    for point in points {
        let result = disturbed(script, point, Medium::Honest);
        *tally.lock().unwrap().by_mode.entry(point.mode.name()).or_default() += 1;
        if let Err(failure) = result {
            fail(point, failure, tally, quiet);
        }
    }
}

fn fail(point: Point, failure: Failure, tally: &Mutex<Tally>, quiet: bool) {
    if !quiet {
        println!("{:?} at {point}: {}", failure.kind, failure.detail);
        if point.at == u64::MAX {
            println!(
                "  to repeat: cargo run --release -p hedgerow-tests --bin crashpoints -- --from {} --points 1",
                point.script
            );
        } else {
            println!(
                "  to repeat: cargo run --release -p hedgerow-tests --bin crashpoints -- --point {point}"
            );
        }
    }
    tally.lock().unwrap().failures.push((point, failure));
}

fn report(tally: &Tally, seconds: f64, as_json: bool) {
    let points: u64 = tally.by_mode.values().sum();
    let count = |kind| tally.failures.iter().filter(|(_, failure)| failure.kind == kind).count();
    let (lost, repeated, corrupt) = (count(Kind::Lost), count(Kind::Repeated), count(Kind::Corrupt));
    if as_json {
        let failures = tally.failures.iter();
        let failures: Vec<_> = failures
            .map(|(point, failure)| json!({"point": point.to_string(), "kind": format!("{:?}", failure.kind), "detail": failure.detail}))
            .collect();
        let line = json!({
            "scripts": tally.scripts, "points": points, "modes": tally.by_mode, "seconds": seconds,
            "lost": lost, "repeated": repeated, "corrupt": corrupt, "failures": failures,
        });
        println!("{line}");
        return;
    }
    for (mode, count) in &tally.by_mode {
        println!("{mode}: {count}");
    }
    println!("{} scripts, {seconds:.0} s", tally.scripts);
    println!("{points} points, {lost} lost, {repeated} repeated, {corrupt} corrupt");
}
