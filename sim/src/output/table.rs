//! Tables for terminals.

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::batch::Batch;
use super::metrics::{METRICS, Stat};
use super::show::Unit;
use crate::Times;
use crate::checks::{Check, Verdict};

/// A table of this many columns of text.
fn table(width: u16) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table
}

/// Numbers stand below each other: all columns but the first.
fn right_aligned(mut table: Table) -> String {
    table.column_iter_mut().skip(1).for_each(|column| {
        column.set_cell_alignment(CellAlignment::Right);
    });
    table.to_string()
}

/// The figures of runs, for a terminal of so many columns.
#[must_use]
pub fn figures(batch: &Batch, width: u16) -> String {
    let many = batch.runs.len() > 1;
    let mut times = table(width);
    times.set_header(["time since writing", "count", "mean", "50 %", "90 %", "99 %", "longest"]);
    let pooled = &batch.pooled;
    let rows = [
        ("stored", &pooled.storing),
        ("delivered", &pooled.delivery),
        ("delivered to all", &pooled.delivery_to_all),
        ("acknowledged", &pooled.acknowledgement),
    ];
    for (name, all) in rows {
        times.add_row(times_row(name, all));
    }
    let mut others = table(width);
    if many {
        others.set_header(["of each run", "mean", "deviation", "least", "50 %", "90 %", "most"]);
    } else {
        others.set_header(["", ""]);
    }
    for metric in METRICS.iter().filter(|metric| many || !is_time_of_messages(metric.key)) {
        if let Some(stat) = batch.totals.get(metric.key) {
            others.add_row(stat_row(metric.name, metric.unit, stat, many));
        }
    }
    format!("{}\n{}", right_aligned(times), right_aligned(others))
}

/// These stand in the table of times already.
fn is_time_of_messages(key: &str) -> bool {
    ["delivery_", "storing_", "to_all_", "acknowledgement_"].iter().any(|start| key.starts_with(start))
        && key.ends_with("_ms")
}

fn times_row(name: &str, times: &Times) -> Vec<String> {
    let show = |ms: f64| if times.count == 0 { "–".to_owned() } else { Unit::Ms.show(ms) };
    let values = [times.mean_ms, times.p50_ms, times.p90_ms, times.p99_ms, times.max_ms].map(show);
    [name.to_owned(), super::show::whole(times.count)].into_iter().chain(values).collect()
}

fn stat_row(name: &str, unit: Unit, stat: &Stat, many: bool) -> Vec<String> {
    let values = [stat.mean, stat.sd, stat.min, stat.p50, stat.p90, stat.max].map(|value| unit.show(value));
    let shown = if many { values.len() } else { 1 };
    std::iter::once(name.to_owned()).chain(values.into_iter().take(shown)).collect()
}

/// The verdicts on the rules, for a terminal of so many columns.
#[must_use]
pub fn verdicts(checks: &[Check], width: u16) -> String {
    let mut rules = table(width);
    rules.set_header(["rule", "verdict", "looked at", "broken", ""]);
    for check in checks {
        let verdict = verdict_word(check.verdict);
        let case = check.cases.first().cloned().unwrap_or_default();
        let (looked, broken) = (super::show::whole(check.looked), super::show::whole(check.broken));
        rules.add_row([check.rule.name(), verdict, &looked, &broken, &case]);
    }
    for number in [2, 3] {
        if let Some(column) = rules.column_mut(number) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    rules.to_string()
}

/// A verdict in a word.
pub(crate) const fn verdict_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::Broken => "BROKEN",
        Verdict::Untested => "untested",
    }
}

/// A table of texts, with names of its columns, for a terminal of so many columns.
#[must_use]
pub fn plain(heads: &[String], rows: &[Vec<String>], width: u16) -> String {
    let mut all = table(width);
    all.set_header(heads.iter().map(String::as_str));
    for row in rows {
        all.add_row(row.iter().map(String::as_str));
    }
    right_aligned(all)
}
