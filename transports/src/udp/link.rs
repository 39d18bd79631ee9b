//! The halves of a link over UDP.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::endpoint::Endpoint;
use super::packet::SessionId;
use super::session::{CLOSE, FRAME, Session};
use crate::{CloseReason, FrameReceiver, FrameSender, Link, LinkError, LinkInfo};

/// How often a close is said, since nobody confirms it.
const CLOSES: u32 = 3;
/// The pause between two of them, so that one burst of loss does not take all.
const CLOSE_PAUSE: Duration = Duration::from_millis(20);

pub(super) struct UdpLink {
    info: LinkInfo,
    sender: UdpSender,
    receiver: UdpReceiver,
}

/// Ends the session when the last half is dropped.
struct Membership {
    endpoint: Arc<Endpoint>,
    id: SessionId,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.endpoint.core().remove(self.id);
    }
}

impl UdpLink {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        id: SessionId,
        info: LinkInfo,
        session: Arc<Session>,
        frames: mpsc::Receiver<Bytes>,
    ) -> Self {
        let membership = Arc::new(Membership { endpoint, id });
        let sender =
            UdpSender { membership: membership.clone(), session: session.clone(), max_frame: info.max_frame };
        Self { info, sender, receiver: UdpReceiver { _membership: membership, session, frames } }
    }
}

impl Link for UdpLink {
    fn info(&self) -> &LinkInfo {
        &self.info
    }

    fn split(self: Box<Self>) -> (Box<dyn FrameSender>, Box<dyn FrameReceiver>) {
        (Box::new(self.sender), Box::new(self.receiver))
    }
}

struct UdpSender {
    membership: Arc<Membership>,
    session: Arc<Session>,
    max_frame: usize,
}

impl UdpSender {
    /// What the system will not send is lost, as it may be on any other part of the way; if that goes on, silence
    /// ends the link.
    async fn put(&self, kind: u8, content: &[u8]) -> Result<(), LinkError> {
        let (packet, place) = self.session.seal(kind, content)?;
        if let Err(error) = self.membership.endpoint.core().socket.send_to(&packet, place).await {
            tracing::debug!(%error, "a packet was not sent");
        }
        Ok(())
    }
}

#[async_trait]
impl FrameSender for UdpSender {
    async fn send(&mut self, frame: Bytes) -> Result<(), LinkError> {
        if let Some(why) = self.session.ending.why() {
            return Err(why);
        }
        if frame.len() > self.max_frame {
            return Err(LinkError::TooLarge { len: frame.len(), max: self.max_frame });
        }
        self.put(FRAME, &frame).await
    }

    async fn close(&mut self, reason: CloseReason) {
        let was_over = self.session.ending.why().is_some();
        self.session.ending.end(LinkError::Closed(reason));
        for n in 0..CLOSES {
            if was_over || self.put(CLOSE, &[reason.code()]).await.is_err() {
                break;
            }
            if n + 1 < CLOSES {
                sleep(CLOSE_PAUSE).await;
            }
        }
        self.membership.endpoint.core().remove(self.membership.id);
    }
}

struct UdpReceiver {
    _membership: Arc<Membership>,
    session: Arc<Session>,
    frames: mpsc::Receiver<Bytes>,
}

#[async_trait]
impl FrameReceiver for UdpReceiver {
    async fn recv(&mut self) -> Result<Bytes, LinkError> {
        tokio::select! {
            biased;
            // What came before the end is still to be had. The session holds the other side of this queue, so that
            // it never ends by itself.
            Some(frame) = self.frames.recv() => Ok(frame),
            why = self.session.ending.wait() => Err(why),
        }
    }
}
