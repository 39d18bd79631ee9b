//! The `hedgerow` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    hedgerow_cli::main()
}
