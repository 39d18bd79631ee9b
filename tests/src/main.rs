//! The `hedgerow` command, built for the tests of this package.

use std::process::ExitCode;

fn main() -> ExitCode {
    hedgerow_cli::main()
}
