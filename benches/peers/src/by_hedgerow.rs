//! Ours: the program `beside` of the workspace that this folder lies in, since two versions of SQLite do not link into
//! one program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use crate::work::{Kept, Work};

/// Builds the program and says where it is.
pub fn build() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).stderr(Stdio::inherit());
    cargo.args(["build", "--release", "--locked", "-p", "hedgerow-benches", "--bin", "beside"]);
    let output = cargo.arg("--message-format=json-render-diagnostics").output()?;
    ensure!(output.status.success(), "the program `beside` does not build");
    String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "beside")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo does not say where the program `beside` is")
}

/// How to run it.
pub fn command(program: &Path, work: Work, signed: bool) -> Command {
    let mut command = Command::new(program);
    command.args(["--messages", &work.messages.to_string(), "--missing", &work.missing.to_string()]);
    command.args(["--kept", if work.kept == Kept::Memory { "memory" } else { "file" }]);
    if signed {
        command.arg("--signed");
    }
    command
}
