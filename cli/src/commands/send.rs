//! `send`: one message, or one for each line of standard input, exactly once each.
//!
//! The messages of one command are a sending session: numbered from 1 under a random name. The node keeps in the
//! same transaction as the messages how far a session has come, so a batch can be handed over again, after whatever
//! became of the daemon or the connection, until it is answered.

mod input;

use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use serde::Serialize;

use self::input::Input;
use crate::access::{Access, Way};
use crate::error::CliError;
use crate::items::SentItem;
use crate::limits::RETRY_PAUSE;
use crate::output::Output;
use crate::request::{Request, SendRequest};

/// What `send` prints at the end.
#[derive(Debug, Serialize)]
struct DoneItem {
    /// How many messages were sent.
    accepted: u64,
    /// The chat; missing when there was nothing to send.
    group: Option<String>,
    /// The id of the message, if it was one on the command line. (It is missing too if the daemon died between
    /// publishing and saying so.)
    id: Option<String>,
}

/// How messages are sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    /// When they are gone.
    pub(super) expire_after: Option<Duration>,
    /// How long to go on without a single line accepted.
    pub(super) patience: Duration,
}

pub(super) async fn send(
    access: &Access,
    target: String,
    text: Vec<String>,
    manner: Manner,
    output: Output,
) -> Result<(), CliError> {
    let mut session = Session::new(access, target, manner)?;
    let id = if text == ["-"] {
        pipe(&mut session).await?;
        None
    } else {
        session.send(vec![text.join(" ")]).await?
    };
    let done = DoneItem { accepted: session.accepted, group: session.group, id };
    output.item(&done, |done| match &done.id {
        Some(id) => id.clone(),
        None => format!("{} messages", done.accepted),
    })
}

async fn pipe(session: &mut Session<'_>) -> Result<(), CliError> {
    let mut input = Input::start();
    loop {
        // The next lines are read no faster than these are taken.
        let batch = input.batch().await;
        if !batch.lines.is_empty() {
            session.send(batch.lines).await?;
        }
        match batch.end {
            None => {}
            Some(Ok(())) => return Ok(()),
            Some(Err(bad)) => {
                let accepted = session.accepted;
                return Err(CliError::Input { line: bad.line, reason: bad.reason, accepted });
            }
        }
    }
}

struct Session<'a> {
    access: &'a Access,
    target: String,
    name: String,
    group: Option<String>,
    accepted: u64,
    manner: Manner,
}

impl<'a> Session<'a> {
    fn new(access: &'a Access, target: String, manner: Manner) -> Result<Self, CliError> {
        let mut name = [0; 16];
        getrandom::fill(&mut name).map_err(CliError::Random)?;
        Ok(Self { access, target, name: HEXLOWER.encode(&name), group: None, accepted: 0, manner })
    }

    /// Sends lines, however often it takes; gives the id of the last one if it is known.
    async fn send(&mut self, lines: Vec<String>) -> Result<Option<String>, CliError> {
        let count = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let first_line = self.accepted + 1;
        let request = Request::Send(SendRequest {
            target: self.target.clone(),
            session: self.name.clone(),
            first_line,
            lines,
            expire_after_ms: self
                .manner
                .expire_after
                .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        });
        let begun = Instant::now();
        let sent = loop {
            match self.access.try_ask::<SentItem>(request.clone()).await {
                Ok((mut items, way)) => {
                    let sent = items.pop().ok_or_else(|| CliError::Reply("it is empty".to_owned()))?;
                    if way == Way::Store {
                        // Whoever else waits for the home gets it now.
                        tokio::time::sleep(RETRY_PAUSE).await;
                    }
                    break sent;
                }
                Err(error) if error.may_pass() && begun.elapsed() < self.manner.patience => {
                    tracing::debug!(%error, "not accepted yet");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                Err(error) if self.accepted == 0 && !error.may_pass() => return Err(error),
                Err(error) => {
                    return Err(CliError::SendStopped { accepted: self.accepted, why: Box::new(error) });
                }
            }
        };
        if sent.next_line != first_line + count {
            return Err(CliError::Reply(format!(
                "line {} is due after lines {first_line} to {}",
                sent.next_line,
                self.accepted + count
            )));
        }
        self.accepted += count;
        // The same chat from now on, whatever is renamed meanwhile.
        self.target = sent.group.clone();
        self.group = Some(sent.group);
        Ok(sent.ids.into_iter().next_back())
    }
}
