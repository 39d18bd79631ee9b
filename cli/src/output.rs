//! What goes to standard output: for people, or as JSON lines.

use std::io::{self, Write as _};

use serde::Serialize;

use crate::error::CliError;

/// Standard output in one of the two forms.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints an item: as it is in JSON, or as these lines for people.
    pub(crate) fn item<T: Serialize>(
        self,
        item: &T,
        text: impl FnOnce(&T) -> String,
    ) -> Result<(), CliError> {
        match self.json {
            true => self.json(item),
            false => self.text(&text(item)),
        }
    }

    /// Prints a line of JSON.
    pub(crate) fn json(self, item: &impl Serialize) -> Result<(), CliError> {
        let line = serde_json::to_string(item).map_err(|error| CliError::Output(error.into()))?;
        self.text(&line)
    }

    /// Prints text and ends the line.
    pub(crate) fn text(self, text: &str) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).map_err(CliError::Output)
    }
}

/// Text of somebody else, safe to show on a terminal: control characters become visible, line breaks stay if they are
/// those of a message.
pub(crate) fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => safe.push_str("\n    "),
            '\t' => safe.push(c),
            c if c.is_control() || is_bidi_control(c) => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    safe
}

/// Like [`shown`], on one line.
pub(crate) fn on_one_line(text: &str) -> String {
    shown(text).replace("\n    ", " ")
}

/// Characters that turn the direction of what follows, with which one name can be made to look like another.
const fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A time in ms since 1970-01-01 UTC, to the second.
pub(crate) fn utc(ms: i64) -> String {
    let seconds = ms.div_euclid(1000);
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(day);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day that is counted from 1970-01-01, by the proleptic Gregorian calendar: years are
/// counted from March, so that the day that comes every fourth year is the last one.
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + (month <= 2) as i64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        for (ms, text) in [
            (0, "1970-01-01 00:00:00Z"),
            (-1, "1969-12-31 23:59:59Z"),
            (951_782_400_000, "2000-02-29 00:00:00Z"),
            (1_709_251_199_999, "2024-02-29 23:59:59Z"),
            (4_107_542_400_000, "2100-03-01 00:00:00Z"),
        ] {
            assert_eq!(utc(ms), text);
        }
        // No number is too large for it.
        utc(i64::MAX);
        utc(i64::MIN);
    }

    #[test]
    fn nothing_that_moves_the_cursor_is_shown() {
        assert_eq!(shown("a\u{1b}[2Jb\rc"), "a\\u{1b}[2Jb\\u{d}c");
        assert_eq!(shown("one\ntwo"), "one\n    two");
        assert_eq!(on_one_line("one\ntwo\u{202e}"), "one two\\u{202e}");
        assert_eq!(shown("Zoë 🦔"), "Zoë 🦔");
    }
}
