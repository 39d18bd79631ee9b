//! The command's end of the control socket.

use std::io;
use std::path::Path;

use serde_json::Value;
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;

use super::lines::read_line;
use super::socket;
use crate::error::CliError;
use crate::limits::{MAX_REPLY, MAX_REQUEST};
use crate::request::{Reply, ReplyLine, Request, RequestLine, VERSION};

/// A connection to the daemon, for one request.
pub(crate) struct Client(UnixStream);

impl Client {
    /// Connects to the daemon of a home; `None` if there is none.
    pub(crate) async fn connect(home: &Path) -> Result<Option<Self>, CliError> {
        Ok(socket::connect(home).await?.map(Self))
    }

    /// Makes a request, and hands on each item of the answer.
    pub(crate) async fn ask(
        self,
        request: Request,
        take: &mut impl FnMut(Value) -> Result<(), CliError>,
    ) -> Result<(), CliError> {
        let (reader, mut writer) = self.0.into_split();
        let mut line = serde_json::to_vec(&RequestLine { v: VERSION, request })
            .map_err(|error| CliError::Reply(error.to_string()))?;
        if line.len() > MAX_REQUEST {
            return Err(CliError::Usage(format!(
                "a request has at most {MAX_REQUEST} bytes, this one has {}",
                line.len()
            )));
        }
        line.push(b'\n');
        // A daemon that has too many clients answers without having read.
        let written = writer.write_all(&line).await;
        let mut reader = BufReader::new(reader);
        loop {
            let line = match read_line(&mut reader, MAX_REPLY).await {
                Ok(Some(line)) => line,
                Ok(None) => return Err(CliError::Lost(io::ErrorKind::UnexpectedEof.into())),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(CliError::Reply(error.to_string()));
                }
                Err(error) => return Err(CliError::Lost(written.err().unwrap_or(error))),
            };
            let line: ReplyLine =
                serde_json::from_slice(&line).map_err(|error| CliError::Reply(error.to_string()))?;
            match line.reply {
                Reply::Item(item) => take(item)?,
                Reply::Done {} => return Ok(()),
                Reply::Error(fault) => return Err(fault.into()),
            }
        }
    }
}
