//! Reading beside the engine: one thread reads chats, one checks the store, each with a connection of its own. Neither
//! waits for what the engine writes, nor does the engine wait for them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::CheckReport;
use hedgerow_sync_sqlite::{Options, SqliteStore};
use tokio::sync::{mpsc, oneshot};

use crate::core::Me;
use crate::error::NodeError;
use crate::limits::{CHECK_LOG_BYTES, WAITING_CHECKS, WAITING_READS};
use crate::view::View;

/// A read, on a moment of the store or on why there is none.
type Read = Box<dyn FnOnce(Result<&View<'_>, NodeError>) + Send>;
type Check = oneshot::Sender<Result<CheckReport, NodeError>>;
/// `None` only wakes the thread.
type ReadEnd = mpsc::Receiver<Option<Read>>;
type CheckEnd = mpsc::Receiver<Option<Check>>;

/// Where reads are handed in.
pub(crate) struct Reads {
    reads: mpsc::Sender<Option<Read>>,
    checks: mpsc::Sender<Option<Check>>,
}

impl Reads {
    /// Reads a moment that begins after this call did.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, NodeError> {
        let (answer, answered) = oneshot::channel();
        let read: Read = Box::new(move |view| {
            // Nobody may be waiting any more.
            if !answer.is_closed() {
                let _ = answer.send(view.and_then(read));
            }
        });
        self.reads.send(Some(read)).await.map_err(|_| NodeError::Stopped)?;
        answered.await.map_err(|_| NodeError::Stopped)?
    }

    /// Verifies a moment of the store that begins after this call did.
    pub(crate) async fn check(&self) -> Result<CheckReport, NodeError> {
        let (answer, answered) = oneshot::channel();
        self.checks.send(Some(answer)).await.map_err(|_| NodeError::Stopped)?;
        answered.await.map_err(|_| NodeError::Stopped)?
    }
}

/// The threads that read.
pub(crate) struct Readers {
    file: PathBuf,
    me: Arc<Me>,
    /// What the threads take over when they start.
    ends: Option<(ReadEnd, CheckEnd)>,
    /// Wakes them at the end.
    wake: (mpsc::WeakSender<Option<Read>>, mpsc::WeakSender<Option<Check>>),
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Readers of the store in this file, and where to hand in what they read. They are to be started when the store is there.
pub(crate) fn readers(file: PathBuf, me: &Arc<Me>) -> (Reads, Readers) {
    let (reads, read_end) = mpsc::channel(WAITING_READS);
    let (checks, check_end) = mpsc::channel(WAITING_CHECKS);
    let readers = Readers {
        file,
        me: me.clone(),
        ends: Some((read_end, check_end)),
        wake: (reads.downgrade(), checks.downgrade()),
        over: Arc::default(),
        threads: Vec::new(),
    };
    (Reads { reads, checks }, readers)
}

impl Readers {
    /// Starts the threads, if they do not run.
    pub(crate) fn start(&mut self) -> Result<(), NodeError> {
        let Some((mut reads, mut checks)) = self.ends.take() else { return Ok(()) };
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let (file, me, over) = (self.file.clone(), self.me.clone(), self.over.clone());
        let read = move || {
            let mut store = None;
            while let Some(Some(read)) = reads.blocking_recv() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                give(&mut store, &file, &me, read);
            }
        };
        self.threads.push(thread("hedgerow-reader").spawn(read).map_err(NodeError::Thread)?);
        let (file, over) = (self.file.clone(), self.over.clone());
        let check = move || {
            while let Some(Some(answer)) = checks.blocking_recv() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let answer = Arc::new(Answer { waiting: answer, over: over.clone() });
                let report = check(&file, CHECK_LOG_BYTES, &answer);
                if let Some(answer) = Arc::into_inner(answer) {
                    let _ = answer.waiting.send(report);
                }
            }
        };
        self.threads.push(thread("hedgerow-check").spawn(check).map_err(NodeError::Thread)?);
        Ok(())
    }

    /// Ends the threads: a read is finished, a check is given up. When this returns the store is closed.
    pub(crate) fn end(self) {
        self.over.store(true, Ordering::Release);
        // Those that wait for something to do. Where the queue is full there is something to wake them.
        if let Some(reads) = self.wake.0.upgrade() {
            let _ = reads.try_send(None);
        }
        if let Some(checks) = self.wake.1.upgrade() {
            let _ = checks.try_send(None);
        }
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

/// Gives a moment of the store to a read. The store is opened when it is first needed, and again after it failed.
fn give(store: &mut Option<SqliteStore>, file: &Path, me: &Me, read: Read) {
    let opened = match store.take() {
        Some(store) => Ok(store),
        None => SqliteStore::open_read_only(file, Options::default()),
    };
    let reader = match opened {
        Ok(reader) => reader,
        Err(error) => return read(Err(error.into())),
    };
    let mut read = Some(read);
    let done = reader.at_one_moment(|store| {
        if let Some(read) = read.take() {
            read(Ok(&View { store, me, now: me.clock.now() }));
        }
        Ok(())
    });
    match (done, read) {
        (Ok(()), _) => *store = Some(reader),
        (Err(error), Some(read)) => read(Err(error.into())),
        // It has its answer; the connection is not used again.
        (Err(error), None) => tracing::warn!(%error, "a reader is opened again"),
    }
}

/// Who waits for a check.
struct Answer {
    waiting: Check,
    over: Arc<AtomicBool>,
}

/// Checks the store until its log is as long as itself, and longer than `least`.
fn check(file: &Path, least: u64, answer: &Arc<Answer>) -> Result<CheckReport, NodeError> {
    let store = SqliteStore::open_read_only(file, Options::default())?;
    let size = std::fs::metadata(file).map_err(|error| StoreError::Backend(Box::new(error)))?.len();
    let outrun = Arc::new(AtomicU64::new(0));
    let (seen, path, asked) = (outrun.clone(), file.to_owned(), answer.clone());
    let report = store.check_while(move || {
        let log = SqliteStore::log_bytes(&path).unwrap_or(0);
        if log > size.max(least) {
            seen.store(log, Ordering::Relaxed);
            return false;
        }
        !asked.over.load(Ordering::Acquire) && !asked.waiting.is_closed()
    })?;
    match (report, outrun.load(Ordering::Relaxed)) {
        (Some(report), _) => Ok(report),
        (None, 0) => Err(NodeError::Stopped),
        (None, log_bytes) => Err(NodeError::CheckOutrun { log_bytes }),
    }
}

#[cfg(test)]
mod tests {
    use hedgerow_sync_core::Store as _;

    use super::*;

    #[test]
    fn a_check_is_given_up_when_the_log_outgrows_the_store_or_nobody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("store.db");
        let mut options = Options::default();
        options.checkpoint_pages = 1_000_000;
        let mut store = SqliteStore::open(&file, options).unwrap();
        for n in 0..2_000_u32 {
            store.set_value("space", &n.to_be_bytes(), Some(&[7; 1_000])).unwrap();
        }
        store.commit().unwrap();
        let log = SqliteStore::log_bytes(&file).unwrap();
        assert!(log > 2_000_000 && log > std::fs::metadata(&file).unwrap().len());

        let (waiting, answered) = oneshot::channel();
        let answer = Arc::new(Answer { waiting, over: Arc::default() });
        assert!(check(&file, log, &answer).unwrap().is_clean());
        let outrun = check(&file, log - 1, &answer);
        assert!(
            matches!(outrun, Err(NodeError::CheckOutrun { log_bytes }) if log_bytes == log),
            "{outrun:?}"
        );
        drop(answered);
        assert!(matches!(check(&file, log, &answer), Err(NodeError::Stopped)));
        let (waiting, _answered) = oneshot::channel();
        let answer = Arc::new(Answer { waiting, over: Arc::new(AtomicBool::new(true)) });
        assert!(matches!(check(&file, log, &answer), Err(NodeError::Stopped)));
    }
}
