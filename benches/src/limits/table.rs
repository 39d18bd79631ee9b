//! The table, 100 columns wide.

use std::fmt::Write as _;

use super::row::{Goal, Outcome, Row};

const WIDTH: usize = 100;
/// Cells of a bar up to the goal; as many again stand beyond it.
const CELLS: usize = 10;

/// What stands above the rows.
pub(crate) fn head() -> String {
    format!(
        "{:<18}{:>12}{:>12}{:>12}{:>9}  {:<24}outcome\n{}",
        "row",
        "goal",
        "ours",
        "anchor",
        "ratio",
        "0         |goal     2 x",
        "-".repeat(WIDTH)
    )
}

/// A row: its figures and its bar, and below what they are of.
pub(crate) fn line(row: &Row, colours: bool) -> String {
    let outcome = row.outcome();
    let word = outcome.word();
    let word = match (colours, outcome) {
        (false, _) => word.to_owned(),
        (true, Outcome::Pass) => format!("\x1b[32m{word}\x1b[0m"),
        (true, _) => format!("\x1b[31m{word}\x1b[0m"),
    };
    let mut text = if outcome == Outcome::Failed {
        format!("{:<89}{word}\n", row.name)
    } else {
        let anchor = row.anchor.as_ref();
        format!(
            "{:<18}{:>12}{:>12}{:>12}{:>9}  {:<24}{word}\n",
            row.name,
            goal(row),
            amount(row.figure, row.unit),
            anchor.map_or("-".to_owned(), |anchor| amount(anchor.value, row.unit)),
            row.ratio().map_or("-".to_owned(), times),
            bar(row.used()),
        )
    };
    let beside = match &row.anchor {
        Some(anchor) if anchor.here => format!("{}. Anchor: {}", row.what, anchor.name),
        Some(anchor) => format!("{}. Anchor (published): {}", row.what, anchor.name),
        None => row.what.clone(),
    };
    for part in wrap(&beside, WIDTH - 2) {
        let _ = writeln!(text, "  {part}");
    }
    text
}

fn times(ratio: f64) -> String {
    match ratio {
        r if r > 0.0 && r < 0.0005 => "<0.001 x".to_owned(),
        r if r < 0.01 => format!("{r:.3} x"),
        r => format!("{} x", plain(r)),
    }
}

fn goal(row: &Row) -> String {
    match row.goal {
        Goal::AtMost(_) | Goal::TimesAtMost(_) if row.figure.is_nan() => String::new(),
        Goal::AtMost(goal) => format!("<= {}", amount(goal, row.unit)),
        Goal::AtLeast(goal) => format!(">= {}", amount(goal, row.unit)),
        Goal::TimesAtMost(goal) => format!("<= {} x", plain(goal)),
        Goal::TimesAtLeast(goal) => format!(">= {} x", plain(goal)),
    }
}

/// Filled as far as the goal is used up; the goal stands in the middle.
pub(crate) fn bar(used: f64) -> String {
    let half = to_f64(CELLS);
    let filled = (used * half).ceil().clamp(0.0, 2.0 * half + 1.0);
    let cell = |n: usize| if to_f64(n) < filled { '#' } else { '.' };
    let mut bar: String = (0..CELLS).map(cell).collect();
    bar.push('|');
    bar.extend((CELLS..2 * CELLS).map(cell));
    if used > 2.0 {
        bar.push('>');
    }
    bar
}

/// A number with a unit, in at most about ten characters: `2.11 MB`, `850 k/s`, `1.057`.
pub(crate) fn amount(value: f64, unit: &str) -> String {
    let (scaled, prefix) = match value.abs() {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let number = plain(scaled);
    if prefix.is_empty() && unit.is_empty() { number } else { format!("{number} {prefix}{unit}") }
}

/// Four digits that count; none after the point from 1000 on.
pub(crate) fn plain(value: f64) -> String {
    let places = match value.abs() {
        v if v >= 999.5 => 0,
        v if v >= 99.95 => 1,
        v if v >= 9.995 => 2,
        v if v >= 0.01 || v == 0.0 => 3,
        _ => 5,
    };
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Lines of at most `width` characters, cut between words.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let full = lines
            .last()
            .is_some_and(|line| !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width);
        if full {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

#[allow(clippy::cast_precision_loss)]
fn to_f64(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_ends_before_the_mark_when_the_goal_is_reached() {
        assert_eq!(bar(0.0), "..........|..........");
        assert_eq!(bar(0.5), "#####.....|..........");
        assert_eq!(bar(1.0), "##########|..........");
        assert_eq!(bar(1.01), "##########|#.........");
        assert_eq!(bar(2.0), "##########|##########");
        assert_eq!(bar(40.0), "##########|##########>");
        assert_eq!(bar(f64::INFINITY), "##########|##########>");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(amount(2_113_409.0, "B"), "2.113 MB");
        assert_eq!(amount(850_123.0, "/s"), "850.1 k/s");
        assert_eq!(amount(1.0569, ""), "1.057");
        assert_eq!(amount(16.0, "B"), "16 B");
        assert_eq!(amount(0.0, "B"), "0 B");
        assert_eq!(amount(0.00123, "ms"), "0.00123 ms");
        assert_eq!(amount(9_876.0, "us"), "9876 us");
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let what = "a long text of what was measured and how, ".repeat(5);
        for used in [0.0, 0.7, 1e9] {
            let row = Row::new("a-name-of-the-size", Goal::TimesAtMost(1.0), "ms", used, ("x", 1.0), &*what);
            let text = line(&row, false);
            assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        }
        assert!(head().lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn there_are_colours_only_where_they_are_asked_for() {
        let row = Row::alone("row", Goal::AtMost(1.0), "B", 2.0, "what");
        assert!(!line(&row, false).contains('\x1b'));
        assert!(line(&row, true).contains("\x1b[31mshort\x1b[0m"));
    }
}
