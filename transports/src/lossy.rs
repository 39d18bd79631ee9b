//! Seeded faults: a link that loses, repeats, reorders, delays, throttles and corrupts, on purpose.

mod dice;
mod queue;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::link::Ending;
use crate::{CloseReason, FrameReceiver, FrameSender, Link, LinkError, LinkInfo};
use queue::Queue;

/// How long `close` waits for the frames that are under way.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

/// What happens to the frames of a [`Lossy`] link. Chances are from 0.0 (never) to 1.0 (always). The default lets
/// everything pass at once.
#[derive(Debug, Clone, PartialEq)]
pub struct LossProfile {
    /// Chance that a frame is lost.
    pub loss: f64,
    /// Chance that a frame arrives twice.
    pub duplicate: f64,
    /// Chance that a frame is held back so that later ones overtake it.
    pub reorder: f64,
    /// How long such a frame is held back, in ms, beyond the usual delay.
    pub reorder_ms: u64,
    /// Chance that one bit of a frame is flipped. Authenticated links never let this happen; it is here to test
    /// what stands above links that are not.
    pub corrupt: f64,
    /// The least delay, in ms.
    pub min_delay_ms: u64,
    /// The greatest delay, in ms. Frames that are not held back keep their order whatever their delays.
    pub max_delay_ms: u64,
    /// How many bytes a second pass; None for no limit.
    pub bytes_per_second: Option<u64>,
    /// How many frames wait or are under way at most; what comes beyond is dropped, as a router would. At least 1.
    pub queue_frames: usize,
}

impl Default for LossProfile {
    fn default() -> Self {
        Self {
            loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_ms: 20,
            corrupt: 0.0,
            min_delay_ms: 0,
            max_delay_ms: 0,
            bytes_per_second: None,
            queue_frames: 1024,
        }
    }
}

/// What has happened to the frames of a [`Lossy`] link so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct LossCounts {
    /// Frames that were handed in.
    pub frames_sent: u64,
    /// Bytes of these frames.
    pub bytes_sent: u64,
    /// Frames lost by chance.
    pub lost: u64,
    /// Frames dropped because too many were waiting.
    pub overflowed: u64,
    /// Frames dropped because the link was cut.
    pub cut_off: u64,
    /// Second copies that were made of frames.
    pub duplicated: u64,
    /// Frames held back.
    pub reordered: u64,
    /// Frames with a flipped bit.
    pub corrupted: u64,
    /// Frames that came out at the other end, copies included.
    pub frames_delivered: u64,
    /// Bytes of these frames.
    pub bytes_delivered: u64,
}

impl LossCounts {
    /// Frames dropped for any cause.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.lost.saturating_add(self.overflowed).saturating_add(self.cut_off)
    }
}

/// The counters of a [`Lossy`] link and the switch that cuts it. Clones belong to the same link.
#[derive(Debug, Clone, Default)]
pub struct LossyCounters(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    counts: Mutex<LossCounts>,
    /// How often the link was cut and healed, together: odd while it is cut.
    turns: AtomicU64,
}

impl LossyCounters {
    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> LossCounts {
        *self.counting()
    }

    /// Cuts the link in its sending direction: whatever is under way is dropped, and what is sent until it is healed.
    pub fn cut(&self) {
        self.0.turns.fetch_or(1, Ordering::SeqCst);
    }

    /// Joins the link again.
    pub fn heal(&self) {
        // From odd to the next even number; an even one stays.
        let _ = self.0.turns.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |turns| {
            (turns % 2 == 1).then_some(turns.wrapping_add(1))
        });
    }

    /// Whether the link is cut.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        is_cut(self.turns())
    }

    fn turns(&self) -> u64 {
        self.0.turns.load(Ordering::SeqCst)
    }

    fn counting(&self) -> MutexGuard<'_, LossCounts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const fn is_cut(turns: u64) -> bool {
    turns % 2 == 1
}

/// A link with seeded faults in its sending direction; wrap both ends to have them both ways.
///
/// Same seed and same sequence of sends: same decisions. It counts as unreliable. `send` does not wait for the
/// other end: what does not fit is dropped. Faults do not touch the close, except that a cut link brings none.
pub struct Lossy {
    info: LinkInfo,
    sender: LossySender,
    receiver: LossyReceiver,
}

impl Lossy {
    /// Wraps one end of a link. Needs a tokio runtime, on whose clock it runs.
    #[must_use]
    pub fn wrap(link: Box<dyn Link>, profile: LossProfile, seed: u64) -> Box<dyn Link> {
        Self::wrap_counted(link, profile, seed).0
    }

    /// Wraps one end of a link, and gives its counters and its switch.
    #[must_use]
    pub fn wrap_counted(
        link: Box<dyn Link>,
        profile: LossProfile,
        seed: u64,
    ) -> (Box<dyn Link>, LossyCounters) {
        let info = LinkInfo { reliable: false, ..link.info().clone() };
        let (inner_sender, inner_receiver) = link.split();
        let counters = LossyCounters::default();
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::new(profile, seed)),
            changed: Notify::new(),
            ending: Ending::default(),
            counters: counters.clone(),
        });
        let carrier = tokio::spawn(carry(shared.clone(), inner_sender));
        let sender = LossySender { shared: shared.clone(), max_frame: info.max_frame, carrier };
        let receiver = LossyReceiver { shared, inner: inner_receiver };
        (Box::new(Self { info, sender, receiver }), counters)
    }
}

impl Link for Lossy {
    fn info(&self) -> &LinkInfo {
        &self.info
    }

    fn split(self: Box<Self>) -> (Box<dyn FrameSender>, Box<dyn FrameReceiver>) {
        (Box::new(self.sender), Box::new(self.receiver))
    }
}

struct Shared {
    queue: Mutex<Queue>,
    changed: Notify,
    ending: Ending,
    counters: LossyCounters,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct LossySender {
    shared: Arc<Shared>,
    max_frame: usize,
    carrier: JoinHandle<()>,
}

#[async_trait]
impl FrameSender for LossySender {
    async fn send(&mut self, frame: Bytes) -> Result<(), LinkError> {
        if let Some(why) = self.shared.ending.why() {
            return Err(why);
        }
        if frame.len() > self.max_frame {
            return Err(LinkError::TooLarge { len: frame.len(), max: self.max_frame });
        }
        let turns = self.shared.counters.turns();
        self.shared.queue().push(frame, Instant::now(), turns, &mut self.shared.counters.counting());
        self.shared.changed.notify_one();
        // Lets the carrier take the frame, so that a burst without any pause does not overflow a fast link.
        tokio::task::yield_now().await;
        Ok(())
    }

    async fn close(&mut self, reason: CloseReason) {
        self.shared.ending.end(LinkError::Closed(reason));
        self.shared.queue().finish(Some(reason));
        self.shared.changed.notify_one();
        let _ = timeout(CLOSE_LIMIT, &mut self.carrier).await;
    }
}

impl Drop for LossySender {
    fn drop(&mut self) {
        self.shared.queue().finish(None);
        self.shared.changed.notify_one();
    }
}

struct LossyReceiver {
    shared: Arc<Shared>,
    inner: Box<dyn FrameReceiver>,
}

#[async_trait]
impl FrameReceiver for LossyReceiver {
    async fn recv(&mut self) -> Result<Bytes, LinkError> {
        tokio::select! {
            biased;
            why = self.shared.ending.wait() => Err(why),
            received = self.inner.recv() => received.map_err(|error| self.shared.ending.end(error)),
        }
    }
}

/// Brings each frame to the inner link when it is due, and at last the close.
async fn carry(shared: Arc<Shared>, mut inner: Box<dyn FrameSender>) {
    loop {
        let due = shared.queue().next_due();
        match due {
            Some(due) if due <= Instant::now() => {
                let Some((turns, frame)) = shared.queue().pop() else { continue };
                let len = frame.len();
                // Cut since it was sent, if only for a moment.
                if shared.counters.turns() != turns {
                    shared.counters.counting().cut_off += 1;
                } else if let Err(error) = inner.send(frame).await {
                    shared.ending.end(error);
                    return;
                } else {
                    let mut counts = shared.counters.counting();
                    counts.frames_delivered += 1;
                    counts.bytes_delivered += u64::try_from(len).unwrap_or(u64::MAX);
                }
            }
            Some(due) => tokio::select! {
                () = sleep_until(due) => {}
                () = shared.changed.notified() => {}
            },
            None => {
                let finished = shared.queue().finished();
                match finished {
                    None => shared.changed.notified().await,
                    Some(Some(reason)) if !shared.counters.is_cut() => return inner.close(reason).await,
                    Some(_) => return,
                }
            }
        }
    }
}
