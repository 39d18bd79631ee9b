//! Doors for fuzzers to what is private otherwise: what comes over the control socket. Behind the feature `fuzzing`,
//! for tests alone.

use std::io;

use crate::control::{lines, server};
use crate::request::{ReplyLine, RequestLine, VERSION};

/// Reads a request as the daemon does, and writes it as a command does; or the text of the fault.
///
/// # Errors
/// It is no request.
pub fn rewrite_request(line: &[u8]) -> Result<Vec<u8>, String> {
    let request = server::parse(line).map_err(|fault| fault.to_string())?;
    serde_json::to_vec(&RequestLine { v: VERSION, request }).map_err(|error| error.to_string())
}

/// Reads a reply as a command does, and writes it as the daemon does.
///
/// # Errors
/// It is no reply.
pub fn rewrite_reply(line: &[u8]) -> Result<Vec<u8>, String> {
    let reply: ReplyLine = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    serde_json::to_vec(&reply).map_err(|error| error.to_string())
}

/// The lines of a stream, each of at most `max` bytes, and how the stream ended.
pub async fn read_lines(mut stream: &[u8], max: usize) -> (Vec<Vec<u8>>, io::Result<()>) {
    let mut all = Vec::new();
    loop {
        match lines::read_line(&mut stream, max).await {
            Ok(Some(line)) => all.push(line),
            Ok(None) => return (all, Ok(())),
            Err(error) => return (all, Err(error)),
        }
    }
}
