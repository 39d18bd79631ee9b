//! `sim trace`: contacts as they are among people who carry phones.

use std::fs;

use hedgerow_sim::output::OutputError;
use hedgerow_sim::plan::{Synthetic, synthetic, write_trace};
use hedgerow_sim::scenario::TraceFormat;
use serde_json::json;

use super::args::{Format, TraceArgs};
use crate::error::CliError;
use crate::output::Output;

pub(super) fn trace(args: &TraceArgs, output: Output) -> Result<(), CliError> {
    let wish = Synthetic {
        nodes: args.nodes,
        length: args.length,
        contacts: args.contacts,
        exponent: args.exponent,
        pairs: args.pairs,
        mean: args.mean,
        night: args.night,
    };
    let contacts = synthetic(&wish, args.seed).map_err(|error| CliError::Usage(error.to_string()))?;
    let format = match args.format {
        Format::One => TraceFormat::One,
        Format::Csv => TraceFormat::Csv,
    };
    let mut lines = write_trace(&contacts, format);
    if args.format == Format::One {
        // Its readers take lines like this one as comments.
        let head = format!(
            "# hedgerow {} sim trace --nodes {} --length '{}' --contacts {} --exponent {} --pairs {} --mean '{}' \
             --night '{}' --seed {}\n",
            env!("CARGO_PKG_VERSION"),
            args.nodes,
            args.length,
            args.contacts,
            args.exponent,
            args.pairs.value(),
            args.mean,
            args.night,
            args.seed
        );
        lines = head + &lines;
    }
    let Some(path) = &args.out else {
        return output.text(lines.trim_end());
    };
    fs::write(path, lines).map_err(|source| OutputError::File { path: path.clone(), source })?;
    output.item(&json!({ "file": path, "contacts": contacts.len(), "seed": args.seed }), |_| {
        format!("written  {} ({} contacts, seed {})", path.display(), contacts.len(), args.seed)
    })
}
