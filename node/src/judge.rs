//! The judge: a thread that checks signatures, many at once, while the engine goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc as sync_mpsc;

use hedgerow_clients::Client;
use hedgerow_proto::{GroupDescriptor, Message, MessageId};
use hedgerow_sync_core::Verdict;
use tokio::sync::mpsc;

use crate::error::NodeError;

/// Messages of one group to be judged.
pub(crate) struct Task {
    pub(crate) client: Arc<dyn Client>,
    pub(crate) descriptor: GroupDescriptor,
    pub(crate) ids: Vec<MessageId>,
    pub(crate) messages: Vec<Message>,
}

/// What became of a task: a verdict for each message, none if the client failed.
pub(crate) type Verdicts = Vec<(MessageId, Verdict)>;

/// Hands tasks to the judge's thread, which ends when this is dropped.
pub(crate) struct Judge {
    tasks: sync_mpsc::SyncSender<Task>,
    /// How many tasks are with the thread.
    running: usize,
}

/// How many tasks are with the judge at a time: one to work on and one to go on with.
const TASKS: usize = 2;

impl Judge {
    /// Starts the thread. Its verdicts come out of the receiver, one batch for each task, in order.
    pub(crate) fn start() -> Result<(Self, mpsc::Receiver<Verdicts>), NodeError> {
        let (tasks, todo) = sync_mpsc::sync_channel(TASKS);
        let (done, verdicts) = mpsc::channel(TASKS);
        std::thread::Builder::new()
            .name("hedgerow-judge".to_owned())
            .spawn(move || work(&todo, &done))
            .map_err(NodeError::Thread)?;
        Ok((Self { tasks, running: 0 }, verdicts))
    }

    pub(crate) fn has_room(&self) -> bool {
        self.running < TASKS
    }

    /// Hands over a task; the caller has seen that there is room.
    pub(crate) fn give(&mut self, task: Task) {
        match self.tasks.try_send(task) {
            Ok(()) => self.running += 1,
            // The engine asks again when it is opened again.
            Err(error) => tracing::error!(%error, "the judge is gone"),
        }
    }

    /// Notes that a task is done.
    pub(crate) fn done(&mut self) {
        self.running = self.running.saturating_sub(1);
    }
}

fn work(todo: &sync_mpsc::Receiver<Task>, done: &mpsc::Sender<Verdicts>) {
    while let Ok(Task { client, descriptor, ids, messages }) = todo.recv() {
        // A client may be anybody's code. Messages that it fails on stay without a verdict, and harm nobody.
        let verdicts = catch_unwind(AssertUnwindSafe(|| client.judge(&descriptor, &messages)));
        let verdicts = verdicts.unwrap_or_else(|_| {
            tracing::error!(client = descriptor.client_id(), "the client panicked");
            Vec::new()
        });
        if done.blocking_send(ids.into_iter().zip(verdicts).collect()).is_err() {
            return;
        }
    }
}
