//! Measures every goal beside its anchor in the same run, and says which are reached.

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser};
use hedgerow_benches::limits;

/// Measures every goal beside its anchor in the same run. Exits with 0 when all are reached, 1 when one falls short, 2
/// on wrong usage.
#[derive(Debug, Parser)]
struct Options {
    /// Fewer repetitions and smaller sizes: all within two minutes.
    #[arg(long)]
    quick: bool,
    /// Print one JSON object a row.
    #[arg(long)]
    json: bool,
    /// Measure this row alone; may be given again.
    #[arg(long, value_name = "NAME", value_parser = clap::builder::PossibleValuesParser::new(limits::names()))]
    only: Vec<String>,
    /// Measure the memory of this process, for the program itself.
    #[arg(long, hide = true)]
    probe: Option<limits::MemoryProbe>,
}

fn main() -> ExitCode {
    let Options { quick, json, only, probe } = Options::parse();
    if let Some(probe) = probe {
        return measure(probe);
    }
    if let Some(name) = only.iter().find(|name| quick && limits::full_names().contains(&name.as_str())) {
        let kind = clap::error::ErrorKind::ArgumentConflict;
        Options::command().error(kind, format!("a quick run has no row `{name}`")).exit();
    }
    match limits::run(&limits::Options { quick, json, only }) {
        Ok(limits::Counts { short: 0, failed: 0, .. }) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(1),
        Err(error) => {
            eprintln!("limits: {error}");
            ExitCode::from(1)
        }
    }
}

fn measure(probe: limits::MemoryProbe) -> ExitCode {
    match probe.measure() {
        Ok(bytes) => {
            println!("{bytes}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(1)
        }
    }
}
