//! What a user gives to the simulator: scenarios and traces of contacts.

use std::path::Path;

use hedgerow_sim::plan::{read_trace, write_trace};
use hedgerow_sim::scenario::{self, Setting, TraceFormat};
use hedgerow_sim::units::Span;

/// A scenario is refused with a place and a reason, or read the same way twice; so is a setting, which is the first
/// line if that has `=` and no space.
pub fn scenario(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    // What else lies on this machine is nothing that an input says.
    if text.contains("include") {
        return;
    }
    let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
    let setting = Some(first).filter(|first| !first.contains([' ', '#', '[']));
    let setting: Vec<Setting> = setting.into_iter().filter_map(|first| first.parse().ok()).collect();
    let text = if setting.is_empty() { text } else { rest };
    let read = || scenario::load_text(text, Path::new("nowhere/scenario.toml"), &setting);
    match (read(), read()) {
        (Ok(first), Ok(second)) => assert_eq!(format!("{first:?}"), format!("{second:?}")),
        (Err(first), Err(second)) => {
            assert_eq!(first.to_string(), second.to_string());
            assert!(!first.to_string().trim().is_empty());
        }
        _ => panic!("read twice, it is two things"),
    }
}

/// A trace is refused, naming a line that it has, or its contacts are in order, do not touch within a pair, and are
/// read again from either way of writing them.
pub fn trace(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for format in [TraceFormat::One, TraceFormat::Csv] {
        let scan = Span::from_us(1_000_000);
        let contacts = match read_trace(text, format, scan) {
            Ok(contacts) => contacts,
            Err(error) => {
                let line = error.to_string();
                let line = line.strip_prefix("line ").and_then(|line| line.split(':').next()?.parse().ok());
                let line: usize = line.expect("an error names its line");
                assert!((1..=text.lines().count()).contains(&line));
                continue;
            }
        };
        assert!(contacts.is_sorted());
        let mut last = std::collections::BTreeMap::new();
        for contact in &contacts {
            assert!(contact.a != contact.b && contact.start < contact.end, "{contact:?}");
            let before = last.insert((contact.a, contact.b), contact.end);
            assert!(before.is_none_or(|end| end < contact.start), "contacts of a pair do not touch");
        }
        // Times are written as decimals of a second, which hold microseconds exactly for some thousand years.
        if contacts.iter().any(|contact| contact.end.us() > 1 << 52) {
            continue;
        }
        for format in [TraceFormat::One, TraceFormat::Csv] {
            let written = write_trace(&contacts, format);
            assert_eq!(read_trace(&written, format, scan).expect("what was written is read"), contacts);
        }
    }
}
