//! What comes over the control socket, and what stands in a row of the store.

use hedgerow_cli::fuzzing::{read_lines, rewrite_reply, rewrite_request};
use hedgerow_sync_core::store::MessageNum;
use hedgerow_sync_sqlite::rewrite_deps;

use super::carriers::runtime;
use super::tape::Tape;

/// A request is refused, or stands on one line in one way.
pub fn request(bytes: &[u8]) {
    let Ok(line) = rewrite_request(bytes) else { return };
    assert!(!line.contains(&b'\n'));
    assert_eq!(rewrite_request(&line).as_ref(), Ok(&line));
}

/// A reply is refused, or stands on one line that is a reply.
pub fn reply(bytes: &[u8]) {
    let Ok(line) = rewrite_reply(bytes) else { return };
    assert!(!line.contains(&b'\n'));
    rewrite_reply(&line).expect("what was written is a reply");
}

/// A stream gives the lines that it holds, up to the first that is too long or has no end.
pub fn lines(bytes: &[u8]) {
    let mut tape = Tape::new(bytes);
    let max = tape.below(40);
    let stream = tape.rest();
    let (found, end) = runtime().block_on(read_lines(stream, max));
    let parts: Vec<&[u8]> = stream.split(|byte| *byte == b'\n').collect();
    let (last, whole) = parts.split_last().unwrap();
    let good = whole.iter().take_while(|line| line.len() <= max).count();
    assert_eq!(found, whole[..good]);
    assert_eq!(end.is_ok(), good == whole.len() && last.is_empty());
}

/// The dependencies in a row are refused, or written again in a form that stays.
pub fn row(bytes: &[u8]) {
    let mut tape = Tape::new(bytes);
    let num = MessageNum(tape.u64());
    let Some(written) = rewrite_deps(num, tape.rest()) else { return };
    assert_eq!(rewrite_deps(num, &written).as_ref(), Some(&written));
}
