//! The daemon's end of the control socket.

use std::io;
use std::path::Path;
use std::sync::Arc;

use hedgerow::Node;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader, BufWriter};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::lines::read_line;
use super::socket::{Bound, bind};
use crate::error::{CliError, Fault, FaultKind};
use crate::limits::{MAX_CLIENTS, MAX_REQUEST, REQUEST_TIME, RETRY_PAUSE};
use crate::request::{Reply, ReplyLine, Request, RequestLine, VERSION, VersionOnly};
use crate::service::{Sink, Stop, answer};

/// The user who may do everything.
const ROOT: u32 = 0;

/// Serves the control socket until it is dropped.
pub(crate) struct Server(JoinHandle<()>);

impl Drop for Server {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    /// Binds the socket of a home, whose lock the caller holds, and begins to serve it.
    pub(crate) fn start(home: &Path, node: Node) -> Result<Self, CliError> {
        let bound = bind(home)?;
        Ok(Self(tokio::spawn(accept(bound, node))))
    }

    /// Serves no more clients, and removes the socket. Those that are served already are told by the node's end.
    pub(crate) async fn stop(mut self) {
        self.0.abort();
        let _ = (&mut self.0).await;
    }
}

async fn accept(bound: Bound, node: Node) {
    let room = Arc::new(Semaphore::new(MAX_CLIENTS));
    loop {
        let stream = match bound.listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file handles, most likely.
                tracing::warn!(%error, "the control socket does not accept");
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
        };
        match stream.peer_cred() {
            // Root may read and write the home anyway.
            Ok(peer) if peer.uid() == bound.user || peer.uid() == ROOT => {}
            peer => {
                tracing::warn!(?peer, "a client of another user is refused");
                continue;
            }
        }
        let (node, place) = (node.clone(), room.clone().try_acquire_owned());
        tokio::spawn(async move {
            let (reader, writer) = stream.into_split();
            let mut client = Client { reader: BufReader::new(reader), writer: BufWriter::new(writer) };
            let done = match place {
                Ok(_place) => client.serve(&node).await,
                Err(_) => client.refuse().await,
            };
            if let Err(error) = done {
                tracing::debug!(%error, "a client of the control socket went away");
            }
        });
    }
}

struct Client {
    reader: BufReader<OwnedReadHalf>,
    writer: BufWriter<OwnedWriteHalf>,
}

impl Client {
    async fn serve(&mut self, node: &Node) -> io::Result<()> {
        let reply = match self.request().await? {
            Ok(request) => self.answer(node, request).await?,
            Err(fault) => Reply::Error(fault),
        };
        write_reply(&mut self.writer, reply).await?;
        self.writer.flush().await
    }

    async fn refuse(&mut self) -> io::Result<()> {
        let fault = Fault::new(FaultKind::Busy, format!("the daemon serves {MAX_CLIENTS} commands already"));
        write_reply(&mut self.writer, Reply::Error(fault)).await?;
        self.writer.flush().await
    }

    async fn request(&mut self) -> io::Result<Result<Request, Fault>> {
        let line = match timeout(REQUEST_TIME, read_line(&mut self.reader, MAX_REQUEST)).await {
            Ok(Ok(Some(line))) => line,
            Ok(Ok(None)) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                return Ok(Err(Fault::new(FaultKind::Request, error)));
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                let time = REQUEST_TIME.as_secs();
                return Ok(Err(Fault::new(FaultKind::Request, format!("no request came within {time} s"))));
            }
        };
        Ok(parse(&line))
    }

    /// Writes the items, and gives what is to be said last.
    async fn answer(&mut self, node: &Node, request: Request) -> io::Result<Reply> {
        let endless = request.is_endless();
        let mut sink = SocketSink { writer: &mut self.writer, endless };
        let answered = tokio::select! {
            answered = answer(node, request, &mut sink) => answered,
            // Who has gone will not say so by reading no further, as long as there is nothing to read.
            () = gone(&mut self.reader), if endless => return Err(io::ErrorKind::BrokenPipe.into()),
        };
        match answered {
            Ok(()) => Ok(Reply::Done {}),
            Err(Stop::Fault(fault)) => Ok(Reply::Error(fault)),
            Err(Stop::Sink(error)) => Err(error),
        }
    }
}

async fn gone(reader: &mut BufReader<OwnedReadHalf>) {
    while reader.read_u8().await.is_ok() {}
}

pub(crate) fn parse(line: &[u8]) -> Result<Request, Fault> {
    let wrong = |error: serde_json::Error| Fault::new(FaultKind::Request, format!("not a request: {error}"));
    let version: VersionOnly = serde_json::from_slice(line).map_err(wrong)?;
    if version.v != VERSION {
        let message = format!(
            "the request is of version {}, the daemon speaks version {VERSION}: stop the daemon and start it again \
             with the newer program",
            version.v
        );
        return Err(Fault::new(FaultKind::Request, message));
    }
    Ok(serde_json::from_slice::<RequestLine>(line).map_err(wrong)?.request)
}

async fn write_reply(writer: &mut BufWriter<OwnedWriteHalf>, reply: Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(&ReplyLine { v: VERSION, reply })?;
    line.push(b'\n');
    writer.write_all(&line).await
}

struct SocketSink<'a> {
    writer: &'a mut BufWriter<OwnedWriteHalf>,
    /// Whether an item should be on its way before the next one is there.
    endless: bool,
}

impl Sink for SocketSink<'_> {
    async fn put(&mut self, item: impl Serialize + Send) -> Result<(), Stop> {
        let item = serde_json::to_value(item).map_err(io::Error::from)?;
        write_reply(self.writer, Reply::Item(item)).await?;
        if self.endless {
            self.writer.flush().await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_another_version_is_told_so_whatever_it_asks() {
        let fault = parse(br#"{"v":2,"request":{"dance":{}}}"#).unwrap_err();
        assert!(fault.message.contains("version 2"), "{fault}");
        for line in [
            "",
            "x",
            "{}",
            r#"{"v":1}"#,
            r#"{"v":1,"request":{"dance":{}}}"#,
            r#"{"v":1,"request":{"id":{}},"#,
        ] {
            assert_eq!(parse(line.as_bytes()).unwrap_err().kind, FaultKind::Request, "{line}");
        }
        assert_eq!(parse(br#"{"v":1,"request":{"id":{}}}"#).unwrap(), Request::Id {});
    }

    async fn ask(home: &Path, text: &[u8]) -> ReplyLine {
        let stream = super::super::socket::connect(home).await.unwrap().unwrap();
        let (reader, mut writer) = stream.into_split();
        writer.write_all(text).await.unwrap();
        let line = read_line(&mut BufReader::new(reader), 1 << 20).await.unwrap().unwrap();
        serde_json::from_slice(&line).unwrap()
    }

    #[tokio::test]
    async fn a_client_that_talks_nonsense_is_told_so_and_the_next_one_is_served() {
        let home = tempfile::tempdir().unwrap();
        let node = Node::builder().memory().offline().spawn().await.unwrap();
        let server = Server::start(home.path(), node.clone()).unwrap();
        let long = [vec![b'x'; MAX_REQUEST + 2], b"\n".to_vec()].concat();
        for text in [b"hello\n".as_slice(), b"\n", &long] {
            let reply = ask(home.path(), text).await.reply;
            assert!(matches!(reply, Reply::Error(Fault { kind: FaultKind::Request, .. })), "{reply:?}");
        }
        let reply = ask(home.path(), b"{\"v\":1,\"request\":{\"id\":{}}}\n").await.reply;
        let Reply::Item(item) = reply else { panic!("{reply:?}") };
        assert_eq!(item["peer_id"], node.peer_id().to_string());
        server.stop().await;
        assert!(super::super::socket::connect(home.path()).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn clients_beyond_the_limit_are_told_so() {
        let home = tempfile::tempdir().unwrap();
        let node = Node::builder().memory().offline().spawn().await.unwrap();
        let _server = Server::start(home.path(), node).unwrap();
        let mut silent = Vec::new();
        for _ in 0..MAX_CLIENTS {
            silent.push(super::super::socket::connect(home.path()).await.unwrap().unwrap());
        }
        // Clients are accepted in order, so these are all served by now.
        let stream = super::super::socket::connect(home.path()).await.unwrap().unwrap();
        let line = read_line(&mut BufReader::new(stream), 1 << 20).await.unwrap().unwrap();
        let reply: ReplyLine = serde_json::from_slice(&line).unwrap();
        assert!(matches!(reply.reply, Reply::Error(Fault { kind: FaultKind::Busy, .. })));
    }
}
