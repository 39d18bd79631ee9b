//! A link that is up: its two halves, and the task that keeps it alive and lets it end well.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::chunk::{Arrival, Opener, Sealer, missing};
use crate::link::Ending;
use crate::noise::Channel;
use crate::{CloseReason, FrameReceiver, FrameSender, Link, LinkConfig, LinkError, LinkInfo};

type Source = Box<dyn AsyncRead + Send + Unpin>;
type Sink = Box<dyn AsyncWrite + Send + Unpin>;

/// How long `close` tries to bring its word to the other end.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// How long a closed link goes on to read what the other end still sends. Closing a socket with unread bytes
/// resets the connection, and that could overtake the word.
const LINGER: Duration = Duration::from_secs(2);
/// In how many times the allowed silence a chunk must be there whole. A slow line may take long for it, but who sends
/// single bytes must not keep a link by them.
const CHUNK_SILENCES: u32 = 4;
/// After a time in which nobody asked for frames, this part of the allowed silence is given for what has come meanwhile
/// to be seen.
const GRACE_PART: u32 = 8;
/// The least room for one read, in bytes.
const READ: usize = 4096;

pub(super) struct StreamLink {
    info: LinkInfo,
    sender: StreamSender,
    receiver: StreamReceiver,
}

/// What the halves and the keeper know of each other.
#[derive(Default)]
struct Shared {
    ending: Ending,
    /// A close was written, and should be read by the other end.
    said_close: AtomicBool,
    /// The sender is closed or dropped.
    sender_gone: CancellationToken,
    /// Where the receiver leaves the stream when it is dropped.
    left: Mutex<Option<Source>>,
    left_there: Notify,
}

impl StreamLink {
    /// Needs a tokio runtime: it starts the keeper.
    pub(super) fn new(
        info: LinkInfo,
        source: Source,
        sink: Sink,
        channel: Channel,
        config: &LinkConfig,
    ) -> Self {
        let channel = Arc::new(channel);
        let shared = Arc::new(Shared::default());
        let writer =
            Writer { sink, sealer: Sealer::new(channel.clone()), last_sent: Instant::now(), broken: None };
        let writer = Arc::new(tokio::sync::Mutex::new(writer));
        tokio::spawn(keep(shared.clone(), Arc::clone(&writer), config.keepalive()));
        let sender = StreamSender { shared: shared.clone(), writer, max_frame: info.max_frame };
        let receiver = StreamReceiver {
            shared,
            source: Some(source),
            input: BytesMut::new(),
            opener: Opener::new(channel, info.max_frame),
            heard: Heard::new(config.silence()),
        };
        Self { info, sender, receiver }
    }
}

impl Link for StreamLink {
    fn info(&self) -> &LinkInfo {
        &self.info
    }

    fn split(self: Box<Self>) -> (Box<dyn FrameSender>, Box<dyn FrameReceiver>) {
        (Box::new(self.sender), Box::new(self.receiver))
    }
}

/// Whoever writes holds it. A write that is dropped half-way leaves the rest in the sealer, and the next one goes on
/// from there, so that the stream never has a hole.
struct Writer {
    sink: Sink,
    sealer: Sealer,
    last_sent: Instant,
    broken: Option<LinkError>,
}

impl Writer {
    async fn write(&mut self) -> Result<(), LinkError> {
        if let Some(error) = &self.broken {
            return Err(error.clone());
        }
        let written = self.try_write().await;
        if let Err(error) = &written {
            self.broken = Some(error.clone());
        }
        written
    }

    async fn try_write(&mut self) -> Result<(), LinkError> {
        while !self.sealer.pending.is_empty() {
            if self.sink.write_buf(&mut self.sealer.pending).await? == 0 {
                return Err(LinkError::Lost);
            }
            self.last_sent = Instant::now();
        }
        self.sealer.trim();
        self.sink.flush().await?;
        Ok(())
    }
}

struct StreamSender {
    shared: Arc<Shared>,
    writer: Arc<tokio::sync::Mutex<Writer>>,
    max_frame: usize,
}

#[async_trait]
impl FrameSender for StreamSender {
    async fn send(&mut self, frame: Bytes) -> Result<(), LinkError> {
        let ending = &self.shared.ending;
        if let Some(why) = ending.why() {
            return Err(why);
        }
        if frame.len() > self.max_frame {
            return Err(LinkError::TooLarge { len: frame.len(), max: self.max_frame });
        }
        let send = async {
            let mut writer = self.writer.lock().await;
            // What a dropped send has left goes first, or the buffer would grow with each.
            writer.write().await?;
            writer.sealer.frame(&frame)?;
            writer.write().await
        };
        tokio::select! {
            biased;
            why = ending.wait() => Err(why),
            sent = send => sent,
        }
    }

    async fn close(&mut self, reason: CloseReason) {
        self.shared.ending.end(LinkError::Closed(reason));
        let farewell = async {
            let mut writer = self.writer.lock().await;
            writer.write().await?;
            writer.sealer.close(reason)?;
            writer.write().await?;
            self.shared.said_close.store(true, Ordering::Release);
            writer.sink.shutdown().await?;
            Ok::<(), LinkError>(())
        };
        match timeout(CLOSE_LIMIT, farewell).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "the other end will not learn why the link is closed"),
            Err(_) => {
                tracing::debug!("the other end does not read and will not learn why the link is closed")
            }
        }
        self.shared.sender_gone.cancel();
    }
}

impl Drop for StreamSender {
    fn drop(&mut self) {
        self.shared.sender_gone.cancel();
    }
}

struct StreamReceiver {
    shared: Arc<Shared>,
    /// Always there until the receiver is dropped.
    source: Option<Source>,
    /// Bytes that were read and not opened yet: less than one record, or what came behind it.
    input: BytesMut,
    opener: Opener,
    heard: Heard,
}

/// When something was heard last, and until when something must be.
struct Heard {
    silence: Duration,
    /// Anything at all.
    bytes_at: Instant,
    /// A chunk that was authentic.
    chunk_at: Instant,
    /// Nobody asked when the time was over; until then what has come may still be seen.
    grace: Option<Instant>,
}

impl Heard {
    fn new(silence: Duration) -> Self {
        let now = Instant::now();
        Self { silence, bytes_at: now, chunk_at: now, grace: None }
    }

    fn due(&self) -> Instant {
        let due = (self.bytes_at + self.silence).min(self.chunk_at + self.silence * CHUNK_SILENCES);
        self.grace.map_or(due, |grace| grace.max(due))
    }

    /// Somebody asks. Given once for each time that something was heard, lest asking often prolong the silence.
    fn asked(&mut self) {
        let now = Instant::now();
        if self.grace.is_none() && now > self.due() {
            self.grace = Some(now + self.silence / GRACE_PART);
        }
    }

    fn bytes(&mut self) {
        self.bytes_at = Instant::now();
        self.grace = None;
    }

    fn chunk(&mut self) {
        self.chunk_at = Instant::now();
    }
}

#[async_trait]
impl FrameReceiver for StreamReceiver {
    async fn recv(&mut self) -> Result<Bytes, LinkError> {
        let ending = &self.shared.ending;
        let Some(source) = &mut self.source else {
            return Err(ending.end(LinkError::Lost));
        };
        self.heard.asked();
        loop {
            if let Some(why) = ending.why() {
                return Err(why);
            }
            let opened = self.opener.opened();
            let next = self.opener.next(&mut self.input);
            if self.opener.opened() > opened {
                self.heard.chunk();
            }
            match next {
                Ok(Some(Arrival::Frame(frame))) => return Ok(frame),
                Ok(Some(Arrival::Close(reason))) => return Err(ending.end(LinkError::Closed(reason))),
                Ok(None) => {}
                Err(error) => return Err(ending.end(error)),
            }
            self.input.reserve(missing(&self.input).max(READ));
            let read = tokio::select! {
                biased;
                why = ending.wait() => return Err(why),
                // Before the timer: what has come while nobody asked counts as heard.
                read = source.read_buf(&mut self.input) => read,
                () = sleep_until(self.heard.due()) => {
                    let silence_ms = u64::try_from(self.heard.silence.as_millis()).unwrap_or(u64::MAX);
                    return Err(ending.end(LinkError::Timeout { silence_ms }));
                }
            };
            match read {
                Ok(0) if self.input.is_empty() && !self.opener.is_within() => {
                    return Err(ending.end(LinkError::Lost));
                }
                Ok(0) => return Err(ending.end(LinkError::Truncated)),
                Ok(_) => self.heard.bytes(),
                Err(error) => return Err(ending.end(error.into())),
            }
        }
    }
}

impl Drop for StreamReceiver {
    fn drop(&mut self) {
        *self.shared.left.lock().unwrap_or_else(PoisonError::into_inner) = self.source.take();
        self.shared.left_there.notify_one();
    }
}

/// Sends signs of life as long as there is a sender; then, if either side has said close, reads what the other end still
/// sends until it has seen the close too.
async fn keep(shared: Arc<Shared>, writer: Arc<tokio::sync::Mutex<Writer>>, keepalive: Duration) {
    let mut due = Instant::now() + keepalive;
    loop {
        tokio::select! {
            biased;
            () = shared.sender_gone.cancelled() => break,
            () = sleep_until(due) => {}
        }
        if shared.ending.why().is_some() {
            shared.sender_gone.cancelled().await;
            break;
        }
        // If somebody else is writing there is no need for a sign of life.
        let Ok(mut writer) = writer.try_lock() else {
            due = Instant::now() + keepalive;
            continue;
        };
        if writer.last_sent.elapsed() >= keepalive {
            let sign = async {
                writer.write().await?;
                writer.sealer.alive()?;
                writer.write().await
            };
            tokio::select! {
                biased;
                () = shared.sender_gone.cancelled() => break,
                _ = sign => {}
            }
            due = Instant::now() + keepalive;
        } else {
            due = writer.last_sent + keepalive;
        }
    }
    drop(writer);
    // A link that ended by an error may have been closed with a word all the same.
    let said_close = shared.said_close.load(Ordering::Acquire);
    if said_close || matches!(shared.ending.why(), Some(LinkError::Closed(_))) {
        let _ = timeout(LINGER, read_out(&shared)).await;
    }
    // The source goes here, if the receiver has left it.
    shared.left.lock().unwrap_or_else(PoisonError::into_inner).take();
}

async fn read_out(shared: &Shared) {
    shared.left_there.notified().await;
    let left = shared.left.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut source) = left else { return };
    let mut waste = [0; READ];
    while let Ok(1..) = source.read(&mut waste).await {}
}
