//! The engine's thread: takes everything that waits, commits once, answers, and lets the links pull.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hedgerow_sync_core::{StoreError, Time};
use hedgerow_transports::CloseReason;
use rand::RngExt as _;
use rand_chacha::ChaCha20Rng;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use crate::core::{Closing, Core, Me};
use crate::error::NodeError;
use crate::events::NodeEvent;
use crate::home::Home;
use crate::judge::{Judge, Verdicts};
use crate::limits::{
    CALLS_PER_COMMIT, FIRST_REOPEN_MS, FRAMES_PER_COMMIT, MAX_REOPEN_MS, VERDICTS_PER_BATCH, WAITING_VERDICTS,
};
use crate::pace::Pace;
use crate::reads::Readers;
use crate::shared::{Answer, Control, Ends, Job, Shared, WireInput};
use crate::store::Opener;

/// The longest sleep without a look at the clock, in ms: the wall clock may jump.
const MAX_SLEEP_MS: u64 = 60_000;

/// Everything that the engine's thread owns.
pub(crate) struct Driver {
    pub(crate) me: Arc<Me>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) ends: Ends,
    pub(crate) opener: Opener,
    pub(crate) dice: ChaCha20Rng,
    pub(crate) judge: Judge,
    pub(crate) verdicts: mpsc::Receiver<Verdicts>,
    /// Those who read beside the engine; they have the store open until they are ended.
    pub(crate) readers: Option<Readers>,
    /// Locked until the store is closed.
    pub(crate) home: Option<Home>,
    pub(crate) pace: Pace,
}

/// The engine, or why there is none.
enum State {
    Up(Box<Core>),
    Down { error: Arc<StoreError>, until: Time, pause_ms: u64 },
}

/// What is taken into one transaction.
#[derive(Default)]
struct Batch {
    jobs: Vec<Job>,
    inputs: Vec<WireInput>,
    verdicts: Vec<Verdicts>,
}

/// Why the thread stopped waiting.
enum Wake {
    Input,
    Shutdown(oneshot::Sender<()>),
    Abandoned,
}

impl Driver {
    /// Opens the engine for the first time.
    pub(crate) fn open(&mut self) -> Result<Box<Core>, NodeError> {
        let store = (self.opener)()?;
        let seed = self.dice.random();
        let core = Core::open(store, self.me.clone(), self.shared.clone(), seed).map(Box::new)?;
        // Not earlier: readers find a store that is there and has the newest schema.
        if let Some(readers) = &mut self.readers {
            readers.start()?;
        }
        Ok(core)
    }

    /// Runs until the node is shut down or nobody holds it any more.
    pub(crate) async fn run(mut self, core: Box<Core>) {
        let mut state = State::Up(core);
        loop {
            let mut batch = Batch::default();
            match self.wait(&state, &mut batch).await {
                Wake::Input => state = self.step(state, batch),
                Wake::Shutdown(done) => {
                    self.end(state, true);
                    let _ = done.send(());
                    return;
                }
                Wake::Abandoned => return self.end(state, false),
            }
        }
    }

    fn end(self, state: State, flush: bool) {
        if let State::Up(mut core) = state {
            if let Err(error) = core.commit().and_then(|()| core.pump()).and_then(|()| core.commit()) {
                tracing::error!(%error, "the store failed at the end");
            }
            core.drop_all(Closing { reason: CloseReason::Done, flush });
        }
        if let Some(readers) = self.readers {
            readers.end();
        }
        // After the store, so that who waits for the lock finds a store that is closed.
        drop(self.home);
    }

    /// Waits until there is something to do, and takes all that waits.
    async fn wait(&mut self, state: &State, batch: &mut Batch) -> Wake {
        let takes_frames = match state {
            State::Up(core) => core.waiting_verdicts() < WAITING_VERDICTS,
            State::Down { .. } => true,
        };
        let limit = Duration::from_millis(self.sleep_ms(state));
        tokio::select! {
            biased;
            control = self.ends.control.recv() => return match control {
                Some(Control::Shutdown(done)) => Wake::Shutdown(done),
                None => Wake::Abandoned,
            },
            () = self.shared.stop.cancelled() => return Wake::Abandoned,
            Some(job) = self.ends.jobs.recv() => batch.jobs.push(job),
            Some(verdicts) = self.verdicts.recv() => batch.verdicts.push(verdicts),
            Some(input) = self.ends.inputs.recv(), if takes_frames => batch.inputs.push(input),
            () = self.shared.room.notified() => {}
            () = sleep(limit) => {}
        }
        self.take_waiting(takes_frames, batch);
        self.gather(takes_frames, batch).await;
        Wake::Input
    }

    /// Takes what is there, as far as one transaction goes.
    fn take_waiting(&mut self, takes_frames: bool, batch: &mut Batch) {
        while batch.jobs.len() < CALLS_PER_COMMIT
            && let Ok(job) = self.ends.jobs.try_recv()
        {
            batch.jobs.push(job);
        }
        while let Ok(verdicts) = self.verdicts.try_recv() {
            batch.verdicts.push(verdicts);
        }
        while takes_frames
            && batch.inputs.len() < FRAMES_PER_COMMIT
            && let Ok(input) = self.ends.inputs.try_recv()
        {
            batch.inputs.push(input);
        }
    }

    /// Waits a little for callers who are about to come, where the last commit had many ([`Pace`]).
    async fn gather(&mut self, takes_frames: bool, batch: &mut Batch) {
        let patience = self.pace.patience(batch.jobs.len());
        if patience.is_zero() {
            return;
        }
        let over = sleep(patience);
        tokio::pin!(over);
        while !self.pace.patience(batch.jobs.len()).is_zero() {
            let (calls, frames) =
                (batch.jobs.len() < CALLS_PER_COMMIT, takes_frames && batch.inputs.len() < FRAMES_PER_COMMIT);
            tokio::select! {
                biased;
                () = self.shared.stop.cancelled() => return,
                Some(job) = self.ends.jobs.recv(), if calls => batch.jobs.push(job),
                Some(input) = self.ends.inputs.recv(), if frames => batch.inputs.push(input),
                () = &mut over => return,
            }
            self.take_waiting(takes_frames, batch);
        }
    }

    fn sleep_ms(&self, state: &State) -> u64 {
        let now = self.me.clock.now();
        match state {
            State::Up(core) if core.is_busy() => 0,
            State::Up(core) => {
                core.next_timeout().map_or(MAX_SLEEP_MS, |due| due.since(now)).min(MAX_SLEEP_MS)
            }
            State::Down { until, .. } => until.since(now),
        }
    }

    fn step(&mut self, state: State, batch: Batch) -> State {
        for _ in &batch.verdicts {
            self.judge.done();
        }
        match state {
            State::Up(mut core) => match self.step_up(&mut core, batch) {
                Ok(()) => State::Up(core),
                Err(error) => self.fail(core, error),
            },
            State::Down { error, until, pause_ms } => {
                for job in batch.jobs {
                    (job(Err(&error)).give)(Ok(()));
                }
                if self.me.clock.now() < until {
                    return State::Down { error, until, pause_ms };
                }
                self.reopen(pause_ms)
            }
        }
    }

    /// One transaction and what follows of it.
    fn step_up(&mut self, core: &mut Core, batch: Batch) -> Result<(), Arc<StoreError>> {
        let mut answers = Vec::with_capacity(batch.jobs.len());
        let calls = batch.jobs.len();
        let done = apply(core, batch, &mut answers);
        let began = Instant::now();
        let committed = done.and_then(|()| core.commit().map_err(failure));
        self.pace.committed(calls, self.ends.jobs.len(), began.elapsed());
        let pumped = match &committed {
            Ok(()) => core.pump().map_err(failure),
            Err(error) => Err(error.clone()),
        };
        for answer in answers {
            (answer.give)(committed.clone());
        }
        while self.judge.has_room()
            && let Some(task) = core.next_task(VERDICTS_PER_BATCH)
        {
            self.judge.give(task);
        }
        pumped
    }

    fn fail(&mut self, mut core: Box<Core>, error: Arc<StoreError>) -> State {
        tracing::error!(%error, "the store failed, links are dropped until it works again");
        core.drop_all(Closing { reason: CloseReason::Busy, flush: false });
        drop(core);
        self.shared.tell(NodeEvent::StoreFailed { error: error.clone() });
        // Those who wait for messages learn it from their next read.
        self.shared.wake_all_readers();
        State::Down { error, until: self.me.clock.now() + FIRST_REOPEN_MS, pause_ms: FIRST_REOPEN_MS }
    }

    fn reopen(&mut self, pause_ms: u64) -> State {
        match self.open() {
            Ok(core) => {
                self.shared.tell(NodeEvent::StoreBack);
                self.shared.wake_all_readers();
                State::Up(core)
            }
            Err(error) => {
                tracing::warn!(%error, "the store cannot be opened again yet");
                let pause_ms = pause_ms.saturating_mul(2).min(MAX_REOPEN_MS);
                State::Down { error: failure(error), until: self.me.clock.now() + pause_ms, pause_ms }
            }
        }
    }
}

fn apply(core: &mut Core, batch: Batch, answers: &mut Vec<Answer>) -> Result<(), Arc<StoreError>> {
    let mut failed = None;
    for verdicts in batch.verdicts {
        if failed.is_none() {
            failed = core.judge(&verdicts).map_err(failure).err();
        }
    }
    for input in batch.inputs {
        if failed.is_some() {
            break;
        }
        match input {
            WireInput::Frame(wire, frame) => failed = core.receive(wire, frame).map_err(failure).err(),
            WireInput::Ended(wire, why) => core.wire_ended(wire, why),
        }
    }
    for job in batch.jobs {
        let answer = match &failed {
            None => job(Ok(core)),
            Some(error) => job(Err(error)),
        };
        failed = failed.or_else(|| answer.failed.clone());
        answers.push(answer);
    }
    if failed.is_none() {
        failed = core.timeout().and_then(|()| core.index()).map_err(failure).err();
    }
    failed.map_or(Ok(()), Err)
}

/// Whatever ends a step is the store's: nothing else that can be wrong inside is left to a step. What still is wrong
/// is a fault of this program or of the rows, and opening everything again is the best that can be done about it.
fn failure(error: NodeError) -> Arc<StoreError> {
    match error {
        NodeError::Store(error) => error,
        other => Arc::new(StoreError::Backend(Box::new(other))),
    }
}
