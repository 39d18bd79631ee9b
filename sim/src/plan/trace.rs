//! Contacts from a file: the events of the ONE simulator (`StandardEventsReader`), or a table.

use std::collections::BTreeMap;

use super::{Contact, PlanError, Window, impossible, no_node};
use crate::scenario::{ContactRow, TraceFormat};
use crate::units::Span;

/// What is wrong with a trace of contacts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceError {
    /// It cannot be read.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// A line is not what the format has.
    #[error("line {line}: {message}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong, and what is allowed.
        message: String,
    },
}

/// Reads contacts. A contact of no length counts as one of `scan`: such traces come of periodic scans. Contacts of
/// one pair that touch or overlap are one.
///
/// # Errors
/// Names the first line that the format does not have.
pub fn read_trace(text: &str, format: TraceFormat, scan: Span) -> Result<Vec<Contact>, TraceError> {
    let mut by_pair: BTreeMap<(usize, usize), Vec<(u64, u64)>> = BTreeMap::new();
    let mut open: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    let mut latest = 0;
    for (line, content) in text.lines().zip(1..).map(|(content, line)| (line, content.trim())) {
        let wrong = |message: &str| TraceError::Line { line, message: message.to_owned() };
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        match format {
            TraceFormat::One => {
                let words: Vec<&str> = content.split_whitespace().collect();
                let [time, event, a, b, change] = words.as_slice() else {
                    // Other events (messages, commands) have other words; only contacts count here.
                    if words.get(1).is_some_and(|event| *event != "CONN") {
                        continue;
                    }
                    return Err(wrong("a contact is `time CONN a b up` or `… down`"));
                };
                if *event != "CONN" {
                    continue;
                }
                let at = seconds(time).ok_or_else(|| wrong("the time is a number of seconds"))?;
                let pair = pair(a, b).ok_or_else(|| wrong("hosts are two different numbers"))?;
                latest = latest.max(at);
                match *change {
                    "up" => {
                        open.entry(pair).or_insert(at);
                    }
                    "down" => {
                        if let Some(start) = open.remove(&pair) {
                            by_pair.entry(pair).or_default().push((start, at));
                        }
                    }
                    _ => return Err(wrong("a contact goes `up` or `down`")),
                }
            }
            TraceFormat::Csv => {
                let fields: Vec<&str> = content.split(',').map(str::trim).collect();
                let [start, end, a, b] = fields.as_slice() else {
                    return Err(wrong("a contact is `start,end,a,b`"));
                };
                let (Some(start), Some(end)) = (seconds(start), seconds(end)) else {
                    // The first of them may name the columns.
                    if by_pair.is_empty() {
                        continue;
                    }
                    return Err(wrong("start and end are numbers of seconds"));
                };
                let pair = pair(a, b).ok_or_else(|| wrong("hosts are two different numbers"))?;
                if end < start {
                    return Err(wrong("a contact does not end before it starts"));
                }
                by_pair.entry(pair).or_default().push((start, end));
            }
        }
    }
    // What is still up at the end of the file lasts until there.
    for (pair, start) in open {
        by_pair.entry(pair).or_default().push((start, latest.max(start)));
    }
    let mut contacts = Vec::new();
    for ((a, b), mut spans) in by_pair {
        for (start, end) in &mut spans {
            if start == end {
                *end += scan.us();
            }
        }
        spans.sort_unstable();
        let mut merged: Vec<(u64, u64)> = Vec::new();
        for (start, end) in spans.into_iter().filter(|(start, end)| start < end) {
            match merged.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => merged.push((start, end)),
            }
        }
        contacts.extend(merged.into_iter().map(|(start, end)| Contact {
            start: Span::from_us(start),
            end: Span::from_us(end),
            a,
            b,
        }));
    }
    contacts.sort_unstable();
    Ok(contacts)
}

/// Writes contacts as [`read_trace`] reads them.
#[must_use]
pub fn write_trace(contacts: &[Contact], format: TraceFormat) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    match format {
        TraceFormat::Csv => {
            text.push_str("start,end,a,b\n");
            for Contact { start, end, a, b } in contacts {
                let _ = writeln!(text, "{},{},{a},{b}", start.seconds(), end.seconds());
            }
        }
        TraceFormat::One => {
            let ups = contacts.iter().map(|c| (c.start, 1, c.a, c.b, "up"));
            let downs = contacts.iter().map(|c| (c.end, 0, c.a, c.b, "down"));
            // Of two events at one time, the end of one contact comes before the start of the next.
            let mut events: Vec<_> = ups.chain(downs).collect();
            events.sort_unstable();
            for (at, _, a, b, change) in events {
                let _ = writeln!(text, "{} CONN {a} {b} {change}", at.seconds());
            }
        }
    }
    text
}

/// The contacts of a scenario.
pub(super) fn explicit(rows: &[ContactRow], count: usize, length: Span) -> Result<Vec<Contact>, PlanError> {
    let mut contacts = Vec::new();
    for (index, &ContactRow { from, to, a, b }) in rows.iter().enumerate() {
        let key = format!("topology.contacts.{index}");
        if let Some(node) = [a, b].into_iter().find(|node| *node >= count) {
            return Err(impossible(&key, no_node(node, count)));
        }
        if a == b || to <= from {
            return Err(impossible(&key, "two different nodes meet, from a time to a later one"));
        }
        contacts.push(Contact { start: from, end: to, a: a.min(b), b: a.max(b) });
    }
    let text = write_trace(&contacts, TraceFormat::Csv);
    let merged = read_trace(&text, TraceFormat::Csv, Span::default());
    cut(merged.map_err(|error| impossible("topology.contacts", error.to_string()))?, count, length)
}

/// When nodes are on, from lines `start,end,node`.
pub(super) fn read_uptimes(text: &str) -> Result<Vec<(Window, usize)>, TraceError> {
    let mut windows = Vec::new();
    for (line, content) in (1..).zip(text.lines().map(str::trim)) {
        let wrong = |message: &str| TraceError::Line { line, message: message.to_owned() };
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let fields: Vec<&str> = content.split(',').map(str::trim).collect();
        let [start, end, node] = fields.as_slice() else {
            return Err(wrong("a window is `start,end,node`"));
        };
        let (Some(start), Some(end)) = (seconds(start), seconds(end)) else {
            if windows.is_empty() {
                continue;
            }
            return Err(wrong("start and end are numbers of seconds"));
        };
        let node =
            number(node).ok_or_else(|| wrong("a host is a number, with or without a letter before it"))?;
        if end <= start {
            return Err(wrong("a window does not end before it starts"));
        }
        windows.push((Window { start: Span::from_us(start), end: Span::from_us(end) }, node));
    }
    Ok(windows)
}

/// The contacts that fall into a run.
pub(super) fn cut(contacts: Vec<Contact>, count: usize, length: Span) -> Result<Vec<Contact>, PlanError> {
    if let Some(most) = contacts.iter().map(|contact| contact.b).max().filter(|most| *most >= count) {
        let message = format!("the trace has a node {most}, so there must be {} at least", most + 1);
        return Err(impossible("nodes.count", message));
    }
    let inside = contacts.into_iter().filter(|contact| contact.start < length);
    Ok(inside.map(|contact| Contact { end: contact.end.min(length), ..contact }).collect())
}

fn seconds(text: &str) -> Option<u64> {
    let seconds: f64 = text.parse().ok()?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "in the range")]
    (0.0..=9e9).contains(&seconds).then(|| (seconds * 1e6).round() as u64)
}

/// Host ids come with or without a letter before the number.
fn number(text: &str) -> Option<usize> {
    text.trim_start_matches(|c: char| c.is_ascii_alphabetic()).parse().ok()
}

fn pair(a: &str, b: &str) -> Option<(usize, usize)> {
    let (a, b) = (number(a)?, number(b)?);
    (a != b).then_some((a.min(b), a.max(b)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact(start: u64, end: u64, a: usize, b: usize) -> Contact {
        Contact { start: Span::from_s(start), end: Span::from_s(end), a, b }
    }

    #[test]
    fn both_formats_say_the_same() {
        let one = "# a comment\n0 CONN p1 p0 up\n5.0\tCONN 0 2 up\n7 C M1 0 2 100\n10 CONN 0 1 down\n\
                   12 CONN 0 1 up\n12 CONN 1 0 down\n20 CONN 2 0 down\n25 CONN 1 2 up\n30 CONN 1 0 up\n";
        let csv = "start,end,a,b\n0,10,0,1\n5,20,2,0\n12,12,0,1\n25,30,1,2\n30,30,0,1\n";
        let expected =
            vec![contact(0, 10, 0, 1), contact(5, 20, 0, 2), contact(12, 15, 0, 1), contact(25, 30, 1, 2)];
        let scan = Span::from_s(3);
        let mut with_last = expected.clone();
        with_last.push(contact(30, 33, 0, 1));
        assert_eq!(read_trace(one, TraceFormat::One, scan).unwrap(), with_last);
        assert_eq!(read_trace(csv, TraceFormat::Csv, scan).unwrap(), with_last);
        let without = read_trace(csv, TraceFormat::Csv, Span::default()).unwrap();
        assert_eq!(without, [contact(0, 10, 0, 1), contact(5, 20, 0, 2), contact(25, 30, 1, 2)]);
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, format) in [
            ("0 CONN 1 1 up", TraceFormat::One),
            ("x CONN 1 2 up", TraceFormat::One),
            ("0 CONN 1 2 sideways", TraceFormat::One),
            ("0 CONN 1 2", TraceFormat::One),
            ("a,b,c,d\n1,2,0,1\na,b,c,d", TraceFormat::Csv),
            ("5,1,0,1", TraceFormat::Csv),
        ] {
            assert!(
                matches!(read_trace(text, format, Span::default()), Err(TraceError::Line { .. })),
                "{text}"
            );
        }
    }
}
