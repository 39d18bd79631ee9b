//! `sim`: the simulator.

mod args;
mod compare;
mod library;
mod replay;
mod run;
mod sweep;
mod trace;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hedgerow_sim::output::full_key;
use hedgerow_sim::scenario::{Scenario, Setting, load};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::args::ScenarioArgs;
pub(crate) use self::args::SimCommand;
use crate::error::CliError;
use crate::output::Output;

/// Runs a command of the simulator.
pub(crate) async fn run(command: SimCommand, output: Output) -> Result<(), CliError> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    tokio::spawn(async move {
        // Asked once, it keeps what is done; asked twice, it is gone.
        while tokio::signal::ctrl_c().await.is_ok() {
            if flag.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
        }
    });
    let work = tokio::task::spawn_blocking(move || dispatch(command, output, &stop));
    work.await.map_err(|error| CliError::Simulator(format!("a run broke off: {error}")))?
}

fn dispatch(command: SimCommand, output: Output, stop: &AtomicBool) -> Result<(), CliError> {
    match command {
        SimCommand::Run(args) => run::run(&args, output, stop),
        SimCommand::Sweep(args) => sweep::sweep(&args, output, stop),
        SimCommand::Merge { folders, out } => sweep::merge(&folders, out.as_deref(), output),
        SimCommand::Replay(args) => replay::replay(&args, output, stop),
        SimCommand::Watch(args) => watch::watch(&args, output, stop),
        SimCommand::List { folder } => library::list(&folder, output),
        SimCommand::New { name } => library::new(&name, output),
        SimCommand::Schema => library::schema(output),
        SimCommand::Trace(args) => trace::trace(&args, output),
        SimCommand::Compare { folders, out } => compare::compare(&folders, out.as_deref(), output),
    }
}

/// A scenario that was read.
struct Loaded {
    scenario: Scenario,
    settings: Vec<Setting>,
    /// Where files that it names are.
    folder: PathBuf,
}

fn read(args: &ScenarioArgs) -> Result<Loaded, CliError> {
    let settings = settings(&args.file, &args.set)?;
    let scenario = load(&args.file, &settings)?;
    let folder = match args.file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    Ok(Loaded { scenario, settings, folder })
}

/// What is set, with whole keys.
fn settings(file: &Path, texts: &[String]) -> Result<Vec<Setting>, CliError> {
    // A scenario may lack something that is set here: then keys are taken as they are.
    let base = load(file, &[]).ok();
    let whole = |text: &String| {
        let (key, value) = text
            .split_once('=')
            .ok_or_else(|| CliError::Usage(format!("--set {text}: a setting is written key=value")))?;
        let key = match &base {
            Some(base) => full_key(base, key.trim()).map_err(CliError::Usage)?,
            None => key.trim().to_owned(),
        };
        format!("{key}={value}").parse::<Setting>().map_err(CliError::Usage)
    };
    texts.iter().map(whole).collect()
}

/// How many runs at once.
fn jobs(wanted: Option<u16>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    wanted.map_or_else(cores, usize::from)
}

/// A bar on standard error, unless that is no terminal or JSON is wanted.
fn bar(output: Output, length: u64, template: &str) -> ProgressBar {
    let target = if output.is_json() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(length), target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

/// What repeats a result, for people: printed first and last.
fn origin(seeds: &str, build: &str, options: &BTreeMap<String, String>) -> String {
    let options: Vec<String> = options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("seed     {seeds}\nbuild    {build}\noptions  {}", options.join(", "))
}

fn seeds_text(first: u64, count: u64) -> String {
    match count {
        1 => first.to_string(),
        _ => format!("{first} to {} ({count} runs)", first.saturating_add(count - 1)),
    }
}

/// How many columns the terminal has.
fn width() -> u16 {
    use std::io::IsTerminal as _;
    let of_terminal = || crossterm::terminal::size().ok().map(|(columns, _)| columns);
    let found = if std::io::stdout().is_terminal() { of_terminal() } else { None };
    found.unwrap_or(110).clamp(60, 160)
}
