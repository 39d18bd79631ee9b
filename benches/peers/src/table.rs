//! What came out, for reading.

use comfy_table::{CellAlignment, Table, presets};

use crate::Case;
use crate::work::{Kept, SIZE};

/// Prints a table for each work.
pub fn print(cases: &[Case]) {
    let mut rest = cases;
    while let Some(first) = rest.first() {
        let same = |case: &Case| {
            (case.work.messages, case.work.missing) == (first.work.messages, first.work.missing)
                && case.work.kept == first.work.kept
        };
        let count = rest.iter().take_while(|case| same(case)).count();
        let (these, after) = rest.split_at(count);
        let kept = if first.work.kept == Kept::Memory { "memory" } else { "files" };
        println!(
            "\n{} of {} messages of {SIZE} B are missing, {kept}",
            first.work.missing, first.work.messages
        );
        println!("{}", table(these));
        rest = after;
    }
}

fn table(cases: &[Case]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN);
    table.set_header(["library", "CPU ms", "bytes", "x bodies", "round trips", "peak MiB"]);
    for case in cases {
        let outcome = &case.outcome;
        let bodies = (case.work.missing * SIZE) as f64;
        table.add_row([
            case.library.name(),
            if outcome.cpu_ms < 10.0 {
                format!("{:.2}", outcome.cpu_ms)
            } else {
                format!("{:.0}", outcome.cpu_ms)
            },
            outcome.bytes.to_string(),
            format!("{:.3}", outcome.bytes as f64 / bodies),
            format!("{:.1}", f64::from(outcome.trips) / 2.0),
            format!("{:.0}", outcome.peak_mib),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
