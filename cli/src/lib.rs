//! The `hedgerow` command line: chat from a shell, a daemon that keeps the links, a demonstration, and a simulator.
//!
//! Every command but `init`, `run`, `demo` and `sim` is a request that is answered by the same code, whether that
//! code runs in the daemon, reached through its control socket, or in the command itself, straight on
//! the store, when no daemon runs.

mod access;
mod args;
mod commands;
mod control;
mod demo;
mod error;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod items;
mod limits;
mod output;
mod request;
mod service;
mod sim;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, Command};
use crate::error::CliError;
use crate::output::Output;

/// Runs the command that the arguments of this process name, and gives its exit code: 0 when it has done its job, 1 when
/// the job failed, 2 when it was called in a wrong way.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let json = args.json;
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report(&error, json),
    }
}

fn start(args: Args) -> Result<(), CliError> {
    start_log(matches!(args.command, Command::Run { .. }))?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(CliError::Runtime)?;
    let output = Output::new(args.json);
    let done = runtime.block_on(commands::run(args, output));
    // Not dropped: a thread that still waits for standard input or output would hold up the end.
    runtime.shutdown_background();
    done
}

/// Says on standard error what went wrong, in one line.
fn report(error: &CliError, json: bool) -> ExitCode {
    if error.is_broken_pipe() {
        // Who reads the output has seen enough.
        return ExitCode::SUCCESS;
    }
    let code = error.exit_code();
    let line = match json {
        true => serde_json::json!({ "error": error.to_string(), "exit": code }).to_string(),
        false => format!("hedgerow: {}", output::on_one_line(&error.to_string())),
    };
    let _ = writeln!(std::io::stderr(), "{line}");
    ExitCode::from(code)
}

/// Writes the log to standard error, as far as `HEDGEROW_LOG` wants it. Without it the daemon logs warnings, and
/// the other commands nothing.
fn start_log(daemon: bool) -> Result<(), CliError> {
    let wanted = std::env::var("HEDGEROW_LOG").ok().filter(|filter| !filter.is_empty());
    let filter = match wanted {
        Some(filter) => EnvFilter::try_new(&filter)
            .map_err(|error| CliError::Usage(format!("HEDGEROW_LOG is no filter: {filter:?}: {error}")))?,
        None => EnvFilter::new(if daemon { "warn" } else { "off" }),
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An embedding program may have a log of its own.
    let _ = subscriber.with_ansi(false).try_init();
    Ok(())
}
