//! Explores every state of small worlds of real engines, and says how many there are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::process::ExitCode;

use clap::Parser;
use hedgerow_tests::model::{Breach, Options, Report, catalogue, explore, records};
use indicatif::{ProgressBar, ProgressStyle};

/// Explores every state that two or three engines can reach within stated budgets of faults.
///
/// Exit code 0: every property holds; 1: one does not, and the shortest way there is printed; 2: wrong usage.
#[derive(Debug, Parser)]
#[command(name = "model", version)]
struct Arguments {
    /// Explore the large scenarios too.
    #[arg(long)]
    full: bool,
    /// Print one JSON object per scenario, and one with the sums.
    #[arg(long)]
    json: bool,
    /// Explore only scenarios whose name contains this.
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Stop each scenario after so many states; the report says then that it is not complete.
    #[arg(long, value_name = "COUNT", default_value_t = 2_000_000)]
    max_states: u64,
    /// The same for distinct states of single engines, which take 20 to 40 kB each.
    #[arg(long, value_name = "COUNT", default_value_t = 120_000)]
    max_nodes: u64,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen = |name: &str| arguments.only.as_ref().is_none_or(|part| name.contains(part.as_str()));
    let scenarios: Vec<_> =
        catalogue().into_iter().filter(|s| chosen(s.name) && (arguments.full || !s.full)).collect();
    if scenarios.is_empty() {
        eprintln!("no scenario is called that; without --only all are explored");
        return ExitCode::from(2);
    }
    if arguments.only.is_none()
        && let Some(breach) = records(arguments.json)
    {
        print_breach("records", "the pure function of one peer and one message", &breach);
        return ExitCode::from(1);
    }
    let options = Options { max_states: arguments.max_states, max_nodes: arguments.max_nodes };
    let mut sum = (0, 0);
    for scenario in &scenarios {
        let bar = ProgressBar::new_spinner();
        bar.set_style(ProgressStyle::with_template("{spinner} {msg} [{elapsed}]").unwrap());
        let report = explore(scenario, options, |states, waiting| {
            bar.set_message(format!("{}: {states} states, {waiting} to expand", scenario.name));
            bar.tick();
        });
        bar.finish_and_clear();
        sum.0 += report.states;
        sum.1 += report.transitions;
        print(&report, arguments.json);
        if report.breach.is_some() {
            return ExitCode::from(1);
        }
    }
    if arguments.json {
        println!(
            "{}",
            serde_json::json!({ "scenarios": scenarios.len(), "states": sum.0, "transitions": sum.1 })
        );
    } else {
        println!("{} scenarios, {} states, {} transitions, no breach", scenarios.len(), sum.0, sum.1);
    }
    ExitCode::SUCCESS
}

fn print(report: &Report, json: bool) {
    if json {
        println!("{}", report.to_json());
        return;
    }
    let ended = if report.complete { "complete" } else { "ended by a breach" };
    println!(
        "{:<16} {:>9} states {:>10} transitions depth {:>3} {} | {} node states, {} engine steps, {} frames, {} fair runs | {:.1} s",
        report.name,
        report.states,
        report.transitions,
        report.depth,
        report.stopped.map_or(ended.to_owned(), |stopped| stopped.to_string()),
        report.nodes,
        report.engine_steps,
        report.frames,
        report.fair_runs,
        report.elapsed.as_secs_f64(),
    );
    if let Some(breach) = &report.breach {
        print_breach(report.name, report.about, breach);
    }
}

fn print_breach(name: &str, about: &str, breach: &Breach) {
    println!("BREACH in {name} ({about}): {}", breach.what);
    for (at, step) in (1..).zip(&breach.path) {
        println!("{at:>4}. {step}");
    }
}

/// The function alone; what is wrong with it, if something is.
fn records(json: bool) -> Option<Breach> {
    let report = records::check();
    if json {
        let (pairs, states, transitions) = (report.pairs, report.states, report.transitions);
        println!(
            "{}",
            serde_json::json!({
                "scenario": "records", "pairs": pairs, "states": states, "transitions": transitions, "complete": true,
            })
        );
    } else {
        println!(
            "{:<16} {:>9} states {:>10} transitions complete | {} pairs of facts and input",
            "records", report.states, report.transitions, report.pairs
        );
    }
    report.breach
}
