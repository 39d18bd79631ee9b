//! Lines of standard input, in batches of what is there.

use std::io::{self, BufRead, Read as _};

use hedgerow::clients::limits::MAX_TEXT;
use tokio::sync::mpsc;

use crate::limits::{BATCH_BYTES, BATCH_LINES, INPUT_LINES};

/// A line that cannot be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadLine {
    /// Which one, from 1.
    pub(super) line: u64,
    pub(super) reason: String,
}

/// Lines that are there, and how the input ended if it did.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lines: Vec<String>,
    pub(super) end: Option<Result<(), BadLine>>,
}

/// The lines of standard input that are not empty.
pub(super) struct Input {
    lines: mpsc::Receiver<Result<String, BadLine>>,
    /// Read, and too much for the batch before.
    kept: Option<String>,
}

impl Input {
    /// Begins to read, a few lines ahead. The thread that reads ends with the process at the latest.
    pub(super) fn start() -> Self {
        let (sender, lines) = mpsc::channel(INPUT_LINES);
        std::thread::spawn(move || read(io::stdin().lock(), &sender));
        Self { lines, kept: None }
    }

    /// Waits for a line, and takes those that follow it without a pause.
    pub(super) async fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        let mut bytes = 0;
        let mut next = match self.kept.take() {
            Some(line) => Some(Ok(line)),
            None => self.lines.recv().await,
        };
        loop {
            match next {
                None => batch.end = Some(Ok(())),
                Some(Err(bad)) => batch.end = Some(Err(bad)),
                Some(Ok(line)) if bytes + line.len() > BATCH_BYTES && bytes > 0 => {
                    self.kept = Some(line);
                    return batch;
                }
                Some(Ok(line)) => {
                    bytes += line.len();
                    batch.lines.push(line);
                }
            }
            if batch.end.is_some() || batch.lines.len() >= BATCH_LINES {
                return batch;
            }
            next = match self.lines.try_recv() {
                Ok(next) => Some(next),
                Err(mpsc::error::TryRecvError::Empty) => return batch,
                Err(mpsc::error::TryRecvError::Disconnected) => None,
            };
        }
    }
}

fn read(mut input: impl BufRead, lines: &mpsc::Sender<Result<String, BadLine>>) {
    let mut number = 0;
    loop {
        number += 1;
        let line = match read_line(&mut input) {
            Ok(None) => return,
            Ok(Some(line)) if line.is_empty() => continue,
            Ok(Some(line)) => Ok(line),
            Err(reason) => Err(BadLine { line: number, reason }),
        };
        let is_last = line.is_err();
        if lines.blocking_send(line).is_err() || is_last {
            return;
        }
    }
}

/// One line without its end, `None` after the last one. No more is read of a line than a message can hold.
fn read_line(input: &mut impl BufRead) -> Result<Option<String>, String> {
    let mut line = Vec::new();
    // Two more for the end of the line.
    let limit = u64::try_from(MAX_TEXT).unwrap_or(u64::MAX).saturating_add(2);
    input.by_ref().take(limit).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    if line.is_empty() {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    if line.len() > MAX_TEXT {
        return Err(format!("a text has at most {MAX_TEXT} bytes, this one has more"));
    }
    String::from_utf8(line).map(Some).map_err(|_| "a text is UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn batches(input: Vec<u8>) -> (Vec<String>, Result<(), BadLine>) {
        let (sender, lines) = mpsc::channel(INPUT_LINES);
        std::thread::spawn(move || read(input.as_slice(), &sender));
        let (mut input, mut all) = (Input { lines, kept: None }, Vec::new());
        loop {
            let batch = input.batch().await;
            let bytes: usize = batch.lines.iter().map(String::len).sum();
            assert!(batch.lines.len() <= BATCH_LINES && (bytes <= BATCH_BYTES || batch.lines.len() == 1));
            all.extend(batch.lines);
            if let Some(end) = batch.end {
                return (all, end);
            }
        }
    }

    #[tokio::test]
    async fn lines_come_in_order_without_their_ends() {
        let (lines, end) = batches(b"one\r\n\n two \nthree".to_vec()).await;
        assert_eq!(lines, ["one", " two ", "three"]);
        assert_eq!(end, Ok(()));
        let many: Vec<String> = (0..3000).map(|n| format!("{n}-{}", "x".repeat(n % 997))).collect();
        assert_eq!(batches(many.join("\n").into_bytes()).await, (many, Ok(())));
    }

    #[tokio::test]
    async fn what_cannot_be_sent_ends_the_input_and_keeps_what_was_before() {
        let longest = "x".repeat(MAX_TEXT);
        let (lines, end) = batches(format!("{longest}\n{longest}y\nz\n").into_bytes()).await;
        assert_eq!(lines, [longest]);
        assert_eq!(end.unwrap_err().line, 2);
        let (lines, end) = batches(b"ok\n\n\xff\n".to_vec()).await;
        assert_eq!((lines, end.unwrap_err().line), (vec!["ok".to_owned()], 3));
    }
}
