//! A link over a plain stream, for any way of finding where a frame ends.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Instant, timeout, timeout_at};

use crate::limits::{PLAIN_PARTIAL_MS, PLAIN_WRITE_MS};
use crate::link::Ending;
use crate::{CloseReason, FrameReceiver, FrameSender, Link, LinkError, LinkInfo};

/// How much is read at a time, in bytes.
const READ_SIZE: usize = 16 * 1024;
/// How long an end that is closed may take to write what is left, in ms.
const CLOSE_MS: u64 = 2_000;

/// Where a frame begins and ends on a stream.
pub(super) trait Framing: Clone + Send + Sync + 'static {
    /// What stands before a frame.
    fn header(&self, frame: &Bytes) -> Vec<u8>;

    /// Takes the next frame from the front of what was read, if it is whole.
    fn next(&mut self, read: &mut BytesMut) -> Result<Option<Bytes>, LinkError>;
}

/// One end of a link over a plain stream.
pub(super) struct PlainLink<F> {
    pub(super) info: LinkInfo,
    pub(super) stream: TcpStream,
    pub(super) framing: F,
    /// What was read of the stream already.
    pub(super) read: BytesMut,
}

impl<F: Framing> Link for PlainLink<F> {
    fn info(&self) -> &LinkInfo {
        &self.info
    }

    fn split(self: Box<Self>) -> (Box<dyn FrameSender>, Box<dyn FrameReceiver>) {
        let Self { info, stream, framing, read } = *self;
        let (reader, writer) = stream.into_split();
        let ending = Arc::new(Ending::default());
        let sender = PlainSender {
            writer,
            framing: framing.clone(),
            max_frame: info.max_frame,
            unwritten: BytesMut::new(),
            ending: ending.clone(),
        };
        (Box::new(sender), Box::new(PlainReceiver { reader, framing, read, partial: None, ending }))
    }
}

struct PlainSender<F> {
    writer: OwnedWriteHalf,
    framing: F,
    max_frame: usize,
    /// Of frames that were handed over: what a call that was dropped left behind.
    unwritten: BytesMut,
    ending: Arc<Ending>,
}

impl<F: Framing> PlainSender<F> {
    async fn flush(&mut self) -> Result<(), LinkError> {
        while self.unwritten.has_remaining() {
            let limit = Duration::from_millis(PLAIN_WRITE_MS);
            let written = tokio::select! {
                biased;
                why = self.ending.wait() => return Err(why),
                written = timeout(limit, self.writer.write_buf(&mut self.unwritten)) => written,
            };
            match written {
                Ok(Ok(0)) => return Err(self.ending.end(LinkError::Lost)),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(self.ending.end(error.into())),
                Err(_) => return Err(self.ending.end(LinkError::Timeout { silence_ms: PLAIN_WRITE_MS })),
            }
        }
        Ok(())
    }
}

#[async_trait]
impl<F: Framing> FrameSender for PlainSender<F> {
    async fn send(&mut self, frame: Bytes) -> Result<(), LinkError> {
        if let Some(why) = self.ending.why() {
            return Err(why);
        }
        if frame.len() > self.max_frame {
            return Err(LinkError::TooLarge { len: frame.len(), max: self.max_frame });
        }
        self.flush().await?;
        self.unwritten.extend_from_slice(&self.framing.header(&frame));
        self.unwritten.extend_from_slice(&frame);
        self.flush().await
    }

    async fn close(&mut self, reason: CloseReason) {
        // The stream has no word for a reason.
        let _ = timeout(Duration::from_millis(CLOSE_MS), self.flush()).await;
        self.ending.end(LinkError::Closed(reason));
        let _ = timeout(Duration::from_millis(CLOSE_MS), self.writer.shutdown()).await;
    }
}

struct PlainReceiver<F> {
    reader: OwnedReadHalf,
    framing: F,
    read: BytesMut,
    /// Since when a frame is there in part.
    partial: Option<Instant>,
    ending: Arc<Ending>,
}

#[async_trait]
impl<F: Framing> FrameReceiver for PlainReceiver<F> {
    async fn recv(&mut self) -> Result<Bytes, LinkError> {
        loop {
            if let Some(why) = self.ending.why() {
                return Err(why);
            }
            match self.framing.next(&mut self.read) {
                Ok(Some(frame)) => {
                    self.partial = None;
                    return Ok(frame);
                }
                Ok(None) => {}
                Err(error) => return Err(self.ending.end(error)),
            }
            // Somebody who sends half a frame and nothing more is not waited for; who says nothing at all, is.
            let until = match self.read.is_empty() {
                true => None,
                false => Some(
                    *self.partial.get_or_insert_with(Instant::now) + Duration::from_millis(PLAIN_PARTIAL_MS),
                ),
            };
            self.read.reserve(READ_SIZE);
            let reading = async {
                let read = self.reader.read_buf(&mut self.read);
                match until {
                    Some(until) => timeout_at(until, read).await.ok(),
                    None => Some(read.await),
                }
            };
            let read = tokio::select! {
                biased;
                why = self.ending.wait() => return Err(why),
                read = reading => read,
            };
            match read {
                Some(Ok(0)) if self.read.is_empty() => return Err(self.ending.end(LinkError::Lost)),
                Some(Ok(0)) => return Err(self.ending.end(LinkError::Truncated)),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(self.ending.end(error.into())),
                None => return Err(self.ending.end(LinkError::Timeout { silence_ms: PLAIN_PARTIAL_MS })),
            }
        }
    }
}
