//! Other sync libraries at the same work as Hedgerow, side by side: messages of 200 bytes to a peer that has none of
//! them, or all but the last hundred, over a duplex in memory, from memory and from files. Each run is a process of its
//! own. Exit codes: 0 when all ran, 1 when one failed, 2 on wrong usage.

mod bodies;
mod by_automerge;
mod by_hedgerow;
mod by_iroh_docs;
mod by_loro;
mod by_negentropy;
mod by_p2panda;
mod plot;
mod table;
mod work;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use work::{Kept, Outcome, Work};

/// Runs the same work on several sync libraries and compares them.
#[derive(Debug, Parser)]
struct Options {
    /// How many messages; may be given again.
    #[arg(long, default_values_t = [10_000, 100_000])]
    messages: Vec<usize>,
    /// How many of them are new in the second case.
    #[arg(long, default_value_t = 100)]
    missing: usize,
    /// These libraries alone; may be given again.
    #[arg(long, value_enum)]
    only: Vec<Library>,
    /// Where messages are kept; both if not given.
    #[arg(long, value_enum)]
    kept: Vec<Kept>,
    /// How often each case of up to 10,000 messages runs; its median counts. Larger ones run once.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Write a picture for each question into this folder.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print one JSON object for each case.
    #[arg(long)]
    json: bool,
    /// One run in this process, as the program calls itself.
    #[arg(long, hide = true)]
    one: Option<String>,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Library {
    /// This project's engine; its clients' signatures are not part of it.
    Hedgerow,
    /// The same with bodies signed by their author, verified in batches where they arrive.
    HedgerowSigned,
    /// p2panda-sync's log sync, with signatures.
    P2panda,
    /// iroh-docs' replica, with signatures; bodies beside it.
    IrohDocs,
    /// automerge's sync.
    Automerge,
    /// loro's updates.
    Loro,
    /// Range-based reconciliation of ids; bodies beside it.
    Negentropy,
}

impl Library {
    fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// One line of the result.
#[derive(Debug, Clone, Serialize)]
pub struct Case {
    /// Who did it.
    library: Library,
    /// What was to be done.
    #[serde(flatten)]
    work: Work,
    /// What it took: the run with the median of CPU time.
    #[serde(flatten)]
    outcome: Outcome,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match &options.one {
        Some(one) => alone(one).map(|()| 0),
        None => compare(&options),
    };
    match result {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!("peers: {failed} cases failed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does one run and prints what it took.
fn alone(one: &str) -> Result<()> {
    let (name, work) = one.split_once(' ').context("expected a library and its work")?;
    let library = Library::from_str(name, false).map_err(anyhow::Error::msg)?;
    let work: Work = serde_json::from_str(work)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = match library {
        Library::Hedgerow | Library::HedgerowSigned => bail!("it is measured by a program of its own"),
        Library::P2panda => runtime.block_on(by_p2panda::run(work)),
        Library::IrohDocs => runtime.block_on(by_iroh_docs::run(work)),
        Library::Automerge => by_automerge::run(work),
        Library::Loro => by_loro::run(work),
        Library::Negentropy => by_negentropy::run(work),
    }?;
    println!("{}", serde_json::to_string(&outcome)?);
    Ok(())
}

fn compare(options: &Options) -> Result<usize> {
    let libraries =
        if options.only.is_empty() { Library::value_variants().to_vec() } else { options.only.clone() };
    let kept = if options.kept.is_empty() { vec![Kept::Memory, Kept::File] } else { options.kept.clone() };
    let ours = libraries
        .iter()
        .any(|library| matches!(library, Library::Hedgerow | Library::HedgerowSigned))
        .then(by_hedgerow::build)
        .transpose()?;
    let mut plan = Vec::new();
    for &messages in &options.messages {
        if options.missing >= messages {
            bail!("of {messages} messages not {} can be missing", options.missing);
        }
        for missing in [messages, options.missing] {
            for &kept in &kept {
                plan.extend(libraries.iter().map(|&library| (library, Work { messages, missing, kept })));
            }
        }
    }
    let bar = if options.json { ProgressBar::hidden() } else { ProgressBar::new(plan.len() as u64) };
    bar.set_style(ProgressStyle::with_template("{pos}/{len} {wide_bar} {msg}")?);
    let (mut cases, mut failed) = (Vec::new(), 0);
    for (library, work) in plan {
        bar.set_message(format!("{} {}/{}", library.name(), work.missing, work.messages));
        let runs = if work.messages > 10_000 { 1 } else { options.runs.max(1) };
        let outcomes: Result<Vec<Outcome>> =
            (0..runs).map(|_| apart(library, work, ours.as_deref())).collect();
        match outcomes {
            Ok(mut outcomes) => {
                outcomes.sort_by(|a, b| a.cpu_ms.total_cmp(&b.cpu_ms));
                let case = Case { library, work, outcome: outcomes.swap_remove(outcomes.len() / 2) };
                if options.json {
                    println!("{}", serde_json::to_string(&case)?);
                }
                cases.push(case);
            }
            Err(error) => {
                failed += 1;
                bar.suspend(|| eprintln!("{} {work:?}: {error:#}", library.name()));
            }
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if !options.json {
        table::print(&cases);
    }
    if let Some(folder) = &options.out {
        plot::all(&cases, folder)?;
    }
    Ok(failed)
}

/// One run in a process of its own.
fn apart(library: Library, work: Work, ours: Option<&std::path::Path>) -> Result<Outcome> {
    let mut command = match (library, ours) {
        (Library::Hedgerow | Library::HedgerowSigned, Some(program)) => {
            by_hedgerow::command(program, work, library == Library::HedgerowSigned)
        }
        _ => {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["--one", &format!("{} {}", library.name(), serde_json::to_string(&work)?)]);
            command
        }
    };
    let output = command.output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}
