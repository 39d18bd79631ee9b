//! What the node's handles, its tasks and its engine thread share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hedgerow_proto::{GroupId, PeerId};
use hedgerow_sync_core::StoreError;
use hedgerow_transports::{Address, CloseReason, Link, Transport};
use tokio::runtime::Handle;
use tokio::sync::{Notify, broadcast, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::core::{Core, WireId};
use crate::error::NodeError;
use crate::events::NodeEvent;
use crate::net::dial::Dialler;
use crate::reads::Reads;
use crate::view::View;

/// A call of the application, to be run on the engine's thread, once.
pub(crate) type Job = Box<dyn FnOnce(Result<&mut Core, &Arc<StoreError>>) -> Answer + Send>;

/// What came of a call, to be given after the commit.
pub(crate) struct Answer {
    /// The store failed in the course of the call.
    pub(crate) failed: Option<Arc<StoreError>>,
    /// Gives the answer, or the failure of the commit.
    pub(crate) give: Box<dyn FnOnce(Result<(), Arc<StoreError>>) + Send>,
}

/// What comes from the links.
pub(crate) enum WireInput {
    Frame(WireId, Bytes),
    Ended(WireId, Option<CloseReason>),
}

/// What comes to the engine's thread besides jobs and frames.
pub(crate) enum Control {
    /// Flush, close and end; then answer.
    Shutdown(oneshot::Sender<()>),
}

/// Changes a link before it is used.
pub(crate) type Wrap = Box<dyn Fn(Box<dyn Link>) -> Box<dyn Link> + Send + Sync>;

pub(crate) struct Shared {
    pub(crate) me: PeerId,
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) inputs: mpsc::Sender<WireInput>,
    pub(crate) control: mpsc::Sender<Control>,
    /// `None`: the engine's thread reads as well.
    pub(crate) reads: Option<Reads>,
    pub(crate) events: broadcast::Sender<NodeEvent>,
    /// A link has room again.
    pub(crate) room: Notify,
    /// Ends what makes new links.
    pub(crate) intake: CancellationToken,
    /// Ends everything.
    pub(crate) stop: CancellationToken,
    pub(crate) tasks: TaskTracker,
    pub(crate) runtime: Handle,
    pub(crate) transports: Vec<Arc<dyn Transport>>,
    pub(crate) wrap: Option<Wrap>,
    pub(crate) redial: hedgerow_transports::RedialConfig,
    pub(crate) offline: bool,
    pub(crate) listening: Mutex<Vec<Address>>,
    pub(crate) diallers: Mutex<HashMap<PeerId, Dialler>>,
    readers: Mutex<HashMap<GroupId, watch::Sender<u64>>>,
    next_wire: AtomicU64,
}

/// The receiving ends that belong to the engine's thread.
pub(crate) struct Ends {
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) inputs: mpsc::Receiver<WireInput>,
    pub(crate) control: mpsc::Receiver<Control>,
}

/// What [`Shared`] is made of.
pub(crate) struct Parts {
    pub(crate) me: PeerId,
    pub(crate) transports: Vec<Arc<dyn Transport>>,
    pub(crate) wrap: Option<Wrap>,
    pub(crate) redial: hedgerow_transports::RedialConfig,
    pub(crate) offline: bool,
}

impl Shared {
    pub(crate) fn new(parts: Parts, reads: Option<Reads>) -> (Arc<Self>, Ends) {
        let (jobs, job_end) = mpsc::channel(crate::limits::WAITING_CALLS);
        let (inputs, input_end) = mpsc::channel(crate::limits::WAITING_FRAMES);
        let (control, control_end) = mpsc::channel(1);
        let intake = CancellationToken::new();
        let shared = Self {
            me: parts.me,
            jobs,
            inputs,
            control,
            reads,
            events: broadcast::Sender::new(crate::limits::EVENT_QUEUE),
            room: Notify::new(),
            stop: CancellationToken::new(),
            intake,
            tasks: TaskTracker::new(),
            runtime: Handle::current(),
            transports: parts.transports,
            wrap: parts.wrap,
            redial: parts.redial,
            offline: parts.offline,
            listening: Mutex::default(),
            diallers: Mutex::default(),
            readers: Mutex::default(),
            next_wire: AtomicU64::new(1),
        };
        (Arc::new(shared), Ends { jobs: job_end, inputs: input_end, control: control_end })
    }

    /// Runs a call on the engine's thread; the answer comes after what it did is durable.
    ///
    /// Cancel safety: dropped early, the call is either not made at all or made whole.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Core) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, NodeError> {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(job(call, answer)).await.map_err(|_| NodeError::Stopped)?;
        answered.await.map_err(|_| NodeError::Stopped)?
    }

    /// Reads one moment of the store, with all in it that any call has returned for.
    ///
    /// Cancel safety: a read may be dropped at any time.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, NodeError> {
        match &self.reads {
            Some(reads) => reads.read(read).await,
            None => self.call(move |core| read(&core.view())).await,
        }
    }

    /// Runs a call if there is room for it, and cares no further.
    pub(crate) fn try_call(&self, call: impl FnOnce(&mut Core) -> Result<(), NodeError> + Send + 'static) {
        let _ = self.jobs.try_send(job(call, oneshot::channel().0));
    }

    /// Tells all listeners, if there are any.
    pub(crate) fn tell(&self, event: NodeEvent) {
        let _ = self.events.send(event);
    }

    pub(crate) fn new_wire(&self) -> WireId {
        WireId(self.next_wire.fetch_add(1, Ordering::Relaxed))
    }

    /// Wakes those who wait for more of a chat.
    pub(crate) fn wake_readers(&self, group: GroupId, position: u64) {
        if let Some(readers) = lock(&self.readers).get(&group) {
            readers.send_replace(position);
        }
    }

    /// Wakes everybody who waits for more of any chat, to look again.
    pub(crate) fn wake_all_readers(&self) {
        for readers in lock(&self.readers).values() {
            readers.send_modify(|_| ());
        }
    }

    /// Where the node listens, as the listeners say.
    pub(crate) fn listening(&self) -> Vec<Address> {
        lock(&self.listening).clone()
    }

    pub(crate) fn watch(&self, group: GroupId) -> watch::Receiver<u64> {
        lock(&self.readers).entry(group).or_insert_with(|| watch::Sender::new(0)).subscribe()
    }
}

fn job<T: Send + 'static>(
    call: impl FnOnce(&mut Core) -> Result<T, NodeError> + Send + 'static,
    answer: oneshot::Sender<Result<T, NodeError>>,
) -> Job {
    Box::new(move |core| {
        let result = match core {
            Ok(core) => call(core),
            Err(error) => Err(NodeError::Store(error.clone())),
        };
        let failed = match &result {
            Err(NodeError::Store(error)) => Some(error.clone()),
            _ => None,
        };
        // Nobody may be waiting any more.
        let give = move |committed: Result<(), Arc<StoreError>>| {
            let _ = answer.send(committed.map_err(NodeError::Store).and(result));
        };
        Answer { failed, give: Box::new(give) }
    })
}

/// Nothing panics while one of these locks is held, so that what it guards is whole even if it is poisoned.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
