//! One link: admitted by the engine's thread, then read by one task and written by another.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hedgerow_transports::{CloseReason, FrameReceiver, FrameSender, Link, LinkError};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::core::{Admission, Closing, NewWire, WireId};
use crate::limits::{FLUSH_MS, LINK_QUEUE_BYTES, LINK_QUEUE_FRAMES};
use crate::shared::{Shared, WireInput};

/// Runs a link to its end, and says why it ended. `id` is the higher, the later the link was made. `place` is given back
/// once the link is kept, or gone.
pub(crate) async fn run_link(
    shared: Arc<Shared>,
    id: WireId,
    link: Box<dyn Link>,
    place: Option<OwnedSemaphorePermit>,
) -> LinkError {
    let link = match &shared.wrap {
        Some(wrap) => wrap(link),
        None => link,
    };
    let (frames, waiting) = mpsc::channel(LINK_QUEUE_FRAMES);
    let (close, closing) = oneshot::channel();
    let queued = Arc::new(AtomicUsize::new(0));
    let new = NewWire { id, info: link.info().clone(), frames, queued: queued.clone(), close };
    let admission = shared.call(move |core| core.admit(new)).await;
    let (sender, receiver) = link.split();
    let refusal = match admission {
        Ok(Admission::Kept) => {
            drop(place);
            let writer = Writer { shared: shared.clone(), sender, waiting, queued };
            shared.tasks.spawn(writer.run(closing));
            return read(&shared, id, receiver).await;
        }
        Ok(Admission::Refused(reason)) => reason,
        Err(_) => CloseReason::Busy,
    };
    let mut sender = sender;
    sender.close(refusal).await;
    LinkError::Closed(refusal)
}

/// Feeds frames to the engine. When the engine does not keep up this waits, and so, in the end, does the peer.
async fn read(shared: &Shared, id: WireId, mut receiver: Box<dyn FrameReceiver>) -> LinkError {
    let why = loop {
        let received = tokio::select! {
            received = receiver.recv() => received,
            () = shared.stop.cancelled() => Err(LinkError::Closed(CloseReason::Done)),
        };
        match received {
            Ok(frame) => {
                if shared.inputs.send(WireInput::Frame(id, frame)).await.is_err() {
                    return LinkError::Closed(CloseReason::Done);
                }
            }
            Err(why) => break why,
        }
    };
    tracing::debug!(%why, "link ended");
    // If there is no engine any more, it needs not know.
    let _ = shared.inputs.send(WireInput::Ended(id, why.close_reason())).await;
    why
}

struct Writer {
    shared: Arc<Shared>,
    sender: Box<dyn FrameSender>,
    waiting: mpsc::Receiver<Bytes>,
    queued: Arc<AtomicUsize>,
}

impl Writer {
    /// Writes what the engine makes, until the engine or the link ends it.
    async fn run(mut self, mut closing: oneshot::Receiver<Closing>) {
        let stop = self.shared.stop.clone();
        loop {
            let frame = tokio::select! {
                biased;
                closing = &mut closing => return self.close(closing.ok()).await,
                () = stop.cancelled() => return,
                frame = self.waiting.recv() => frame,
            };
            let Some(frame) = frame else { return self.close(closing.await.ok()).await };
            let len = frame.len();
            let Some((sent, closing)) = self.send(frame, &mut closing, &stop).await else { return };
            let before = self.queued.fetch_sub(len, Ordering::AcqRel);
            if before >= LINK_QUEUE_BYTES / 2 || self.waiting.len() >= LINK_QUEUE_FRAMES / 2 {
                self.shared.room.notify_one();
            }
            match (sent, closing) {
                (Ok(()) | Err(LinkError::TooLarge { .. }), None) => {}
                (Ok(()), Some(closing)) => return self.close(Some(closing)).await,
                (Err(_), Some(closing)) => {
                    return self.close(Some(Closing { flush: false, ..closing })).await;
                }
                // The reader learns better why.
                (Err(_), None) => return,
            }
        }
    }

    /// Writes one frame: whether it was written, and whether the link is to end. `None` if everything is to end.
    async fn send(
        &mut self,
        frame: Bytes,
        closing: &mut oneshot::Receiver<Closing>,
        stop: &CancellationToken,
    ) -> Option<(Result<(), LinkError>, Option<Closing>)> {
        let mut sending = self.sender.send(frame);
        tokio::select! {
            sent = &mut sending => Some((sent, None)),
            () = stop.cancelled() => None,
            closing = closing => match closing {
                // What follows must not overtake the frame that is being written.
                Ok(closing) if closing.flush => {
                    let sent = timeout(Duration::from_millis(FLUSH_MS), sending).await;
                    Some((sent.unwrap_or(Err(LinkError::Lost)), Some(closing)))
                }
                closing => Some((Err(LinkError::Lost), Some(closing.unwrap_or(GONE)))),
            },
        }
    }

    async fn close(mut self, closing: Option<Closing>) {
        let closing = closing.unwrap_or(GONE);
        if closing.flush {
            let flush = async {
                while let Ok(frame) = self.waiting.try_recv() {
                    if self.sender.send(frame).await.is_err() {
                        return;
                    }
                }
            };
            let _ = timeout(Duration::from_millis(FLUSH_MS), flush).await;
        }
        self.sender.close(closing.reason).await;
    }
}

/// How a link ends when the engine is gone without a word.
const GONE: Closing = Closing { reason: CloseReason::Done, flush: false };
