//! A disk: files by name, the operations on them, and the faults among these.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;
use rusqlite::ffi as sqlite;

use crate::ffi;
use crate::file::{File, Region};

/// What SQLite asks of a disk, as far as faults can meet it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// A file is made.
    Create,
    /// Bytes are written.
    Write,
    /// A file is cut.
    Truncate,
    /// A file is synced; its folder is, too, as SQLite does it for files that are new.
    Sync,
    /// A file is deleted.
    Delete,
    /// Bytes are read.
    Read,
    /// A lock is taken.
    Lock,
}

/// What happens at an operation. A write that fails is half done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine, or the process, stops before the operation is done. Everything after it fails until
    /// [`Disk::restart`].
    Stop,
    /// An I/O error, at this operation and the `more` after it that are of the same kind.
    Io {
        /// How many more.
        more: u32,
    },
    /// As `Io` at a sync; and the system forgets what it should have written, as Linux does: it can be read still,
    /// but never reaches the medium.
    SyncForgets,
    /// No space, at this operation and the `more` writes after it.
    Full {
        /// How many more.
        more: u32,
    },
    /// Somebody else has the lock, at this operation and the `more` locks after it.
    Busy {
        /// How many more.
        more: u32,
    },
}

/// What a stop leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Everything that was written: the process was killed. What was not synced is still not on the medium.
    Nothing,
    /// What was synced, and nothing else.
    Unsynced,
    /// What was synced, and some sectors of what was not, drawn by this seed.
    Some(u64),
}

/// The files of a disk at one moment, from which others are made.
#[derive(Debug)]
pub struct Image(BTreeMap<String, File>);

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct Disk {
    number: u64,
    state: Arc<Mutex<State>>,
}

/// A [`Disk`] inside.
#[derive(Debug, Default)]
pub(crate) struct State {
    files: HashMap<u64, File>,
    names: BTreeMap<String, u64>,
    /// The names that are on the medium.
    durable_names: BTreeMap<String, u64>,
    last_file: u64,
    /// How many connections to files are open.
    open: usize,
    ops: u64,
    /// The operations so far, if they are to be listed.
    listed: Option<Vec<Op>>,
    plan: Option<(u64, Fault)>,
    /// What still fails of a fault that meets more than one operation.
    failing: Option<(Fault, u32)>,
    met: bool,
    /// The operation that a fault meets now is a write, and half of it happens.
    midway: bool,
    /// The sync that a fault meets now forgets what it should have written.
    forgets: bool,
    stopped: bool,
    paused: bool,
    lies: bool,
}

static DISKS: LazyLock<Mutex<HashMap<u64, std::sync::Weak<Mutex<State>>>>> = LazyLock::new(Mutex::default);
static LAST_DISK: AtomicU64 = AtomicU64::new(0);

/// A panic in a test must not make all others fail.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Disk {
    fn default() -> Self {
        Self::new()
    }
}

impl Disk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::with(State::default())
    }

    /// A disk with the files of an image, all of them synced or not as they were.
    #[must_use]
    pub fn from_image(image: &Image) -> Self {
        let mut state = State::default();
        for (name, file) in &image.0 {
            state.last_file += 1;
            state.files.insert(state.last_file, file.copy());
            state.names.insert(name.clone(), state.last_file);
        }
        state.durable_names.clone_from(&state.names);
        Self::with(state)
    }

    fn with(state: State) -> Self {
        ffi::register();
        let number = LAST_DISK.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
        let state = Arc::new(Mutex::new(state));
        lock(&DISKS).insert(number, Arc::downgrade(&state));
        Self { number, state }
    }

    /// The path under which SQLite finds the file `name` of this disk, with the VFS [`crate::VFS`].
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/{}/{name}", self.number))
    }

    /// A copy of all files.
    #[must_use]
    pub fn image(&self) -> Image {
        let state = lock(&self.state);
        let copy = |(name, number): (&String, &u64)| Some((name.clone(), state.files.get(number)?.copy()));
        Image(state.names.iter().filter_map(copy).collect())
    }

    /// Lists the operations from now on, which are counted from 0 again.
    pub fn list_ops(&self) {
        let mut state = lock(&self.state);
        state.ops = 0;
        state.listed = Some(Vec::new());
    }

    /// The operations since [`Disk::list_ops`].
    #[must_use]
    pub fn ops(&self) -> Vec<Op> {
        lock(&self.state).listed.clone().unwrap_or_default()
    }

    /// The fault that meets operation number `at`, counted from 0 and from now.
    pub fn plan(&self, at: u64, fault: Fault) {
        let mut state = lock(&self.state);
        state.ops = 0;
        state.met = false;
        state.plan = Some((at, fault));
    }

    /// Whether the fault that was planned has happened.
    #[must_use]
    pub fn met(&self) -> bool {
        lock(&self.state).met
    }

    /// Whether the disk has stopped: everything fails until [`Disk::restart`].
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        lock(&self.state).stopped
    }

    /// Stops between two operations.
    pub fn stop_now(&self) {
        lock(&self.state).stopped = true;
    }

    /// Ends a fault that meets many operations, and takes back one that is planned.
    pub fn heal(&self) {
        let mut state = lock(&self.state);
        (state.failing, state.plan) = (None, None);
    }

    /// While it is paused, operations are neither counted nor disturbed.
    pub fn pause(&self, paused: bool) {
        lock(&self.state).paused = paused;
    }

    /// A disk that lies says that it has synced, and has not.
    pub fn lie(&self, lies: bool) {
        lock(&self.state).lies = lies;
    }

    /// Starts again after a stop, with what that has left. All connections must be closed before.
    ///
    /// # Panics
    /// When a connection is open: a machine that is off has none.
    pub fn restart(&self, loss: Loss) {
        let mut state = lock(&self.state);
        assert_eq!(state.open, 0, "a disk is restarted under open connections");
        state.stopped = false;
        state.failing = None;
        state.plan = None;
        match loss {
            Loss::Nothing => {}
            Loss::Unsynced => {
                state.names = state.durable_names.clone();
                state.files.values_mut().for_each(File::lose_unsynced);
            }
            Loss::Some(seed) => {
                let mut dice = ChaCha12Rng::seed_from_u64(seed);
                state.lose_some_names(&mut dice);
                let mut numbers: Vec<u64> = state.files.keys().copied().collect();
                numbers.sort_unstable();
                for number in numbers {
                    if let Some(file) = state.files.get_mut(&number) {
                        file.lose_some(&mut dice);
                    }
                }
            }
        }
        if loss != Loss::Nothing {
            state.durable_names = state.names.clone();
        }
        for file in state.files.values_mut() {
            file.shared.clear();
        }
    }
}

/// The disk and the name of the file that a path means.
pub(crate) fn find(path: &str) -> Option<(Arc<Mutex<State>>, String)> {
    let (number, name) = path.strip_prefix('/')?.split_once('/')?;
    let state = lock(&DISKS).get(&number.parse().ok()?)?.upgrade()?;
    Some((state, name.to_owned()))
}

impl Drop for Disk {
    fn drop(&mut self) {
        if Arc::strong_count(&self.state) == 1 {
            lock(&DISKS).remove(&self.number);
        }
    }
}

/// An open file.
pub(crate) struct Handle {
    state: Arc<Mutex<State>>,
    file: u64,
    who: u64,
}

/// SQLite's code for what went wrong.
pub(crate) type Code = std::ffi::c_int;

impl State {
    /// Counts an operation, and says how it fails if it does.
    fn enter(&mut self, op: Op) -> Result<(), Code> {
        if self.paused {
            return Ok(());
        }
        if self.stopped {
            return Err(io_error(op));
        }
        let number = self.ops;
        self.ops += 1;
        if let Some(listed) = &mut self.listed {
            listed.push(op);
        }
        if let Some((at, fault)) = self.plan
            && at == number
        {
            self.plan = None;
            self.met = true;
            self.midway = op == Op::Write;
            return Err(match fault {
                Fault::Stop => {
                    self.stopped = true;
                    io_error(op)
                }
                Fault::SyncForgets => {
                    self.forgets = true;
                    io_error(op)
                }
                Fault::Io { more } => {
                    self.failing = Some((fault, more));
                    io_error(op)
                }
                Fault::Full { more } => {
                    self.failing = Some((fault, more));
                    sqlite::SQLITE_FULL
                }
                Fault::Busy { more } => {
                    self.failing = Some((fault, more));
                    sqlite::SQLITE_BUSY
                }
            });
        }
        let Some((fault, left)) = self.failing.filter(|(_, left)| *left > 0) else { return Ok(()) };
        let writes = matches!(op, Op::Create | Op::Write | Op::Truncate);
        let code = match fault {
            Fault::Io { .. } if op != Op::Lock => io_error(op),
            Fault::Full { .. } if writes => sqlite::SQLITE_FULL,
            Fault::Busy { .. } if op == Op::Lock => sqlite::SQLITE_BUSY,
            _ => return Ok(()),
        };
        self.failing = Some((fault, left - 1));
        Err(code)
    }

    fn lose_some_names(&mut self, dice: &mut ChaCha12Rng) {
        let names: Vec<String> = self.names.keys().chain(self.durable_names.keys()).cloned().collect();
        for name in names {
            if self.names.get(&name) != self.durable_names.get(&name) && dice.random_bool(0.5) {
                match self.durable_names.get(&name) {
                    Some(&file) => self.names.insert(name, file),
                    None => self.names.remove(&name),
                };
            }
        }
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    pub(crate) fn delete(&mut self, name: &str, sync_folder: bool) -> Result<(), Code> {
        self.enter(Op::Delete)?;
        if self.names.remove(name).is_none() {
            return Err(sqlite::SQLITE_IOERR_DELETE_NOENT);
        }
        if sync_folder && !self.lies {
            self.durable_names = self.names.clone();
        }
        Ok(())
    }
}

const fn io_error(op: Op) -> Code {
    match op {
        Op::Create => sqlite::SQLITE_CANTOPEN,
        Op::Write => sqlite::SQLITE_IOERR_WRITE,
        Op::Truncate => sqlite::SQLITE_IOERR_TRUNCATE,
        Op::Sync => sqlite::SQLITE_IOERR_FSYNC,
        Op::Delete => sqlite::SQLITE_IOERR_DELETE,
        Op::Read => sqlite::SQLITE_IOERR_READ,
        Op::Lock => sqlite::SQLITE_IOERR_LOCK,
    }
}

impl Handle {
    pub(crate) fn open(state: Arc<Mutex<State>>, name: &str, create: bool) -> Result<Self, Code> {
        let mut inner = lock(&state);
        let file = match inner.names.get(name) {
            Some(&file) => file,
            None if create => {
                inner.enter(Op::Create)?;
                inner.last_file += 1;
                let file = inner.last_file;
                inner.files.insert(file, File::default());
                inner.names.insert(name.to_owned(), file);
                file
            }
            None => return Err(sqlite::SQLITE_CANTOPEN),
        };
        inner.open += 1;
        inner.last_file += 1;
        // Numbers of connections are of the same series as those of files.
        let who = inner.last_file;
        drop(inner);
        Ok(Self { state, file, who })
    }

    /// Does an operation on the file.
    fn at<T>(&self, op: Op, act: impl FnOnce(&mut File) -> T) -> Result<T, Code> {
        let mut state = lock(&self.state);
        state.enter(op)?;
        state.files.get_mut(&self.file).map(act).ok_or(sqlite::SQLITE_IOERR)
    }

    pub(crate) fn read(&self, at: usize, out: &mut [u8]) -> Result<usize, Code> {
        self.at(Op::Read, |file| file.read(at, out))
    }

    pub(crate) fn write(&self, at: usize, data: &[u8]) -> Result<(), Code> {
        let mut state = lock(&self.state);
        let entered = state.enter(Op::Write);
        let half = std::mem::take(&mut state.midway);
        let done = match entered {
            Ok(()) => data.len(),
            Err(_) if half => data.len() / 2,
            Err(_) => 0,
        };
        if let (Some(file), Some(part)) = (state.files.get_mut(&self.file), data.get(..done))
            && !part.is_empty()
        {
            file.write(at, part);
        }
        entered
    }

    pub(crate) fn truncate(&self, len: usize) -> Result<(), Code> {
        self.at(Op::Truncate, |file| file.truncate(len))
    }

    pub(crate) fn sync(&self) -> Result<(), Code> {
        let mut state = lock(&self.state);
        let entered = state.enter(Op::Sync);
        if std::mem::take(&mut state.forgets)
            && let Some(file) = state.files.get_mut(&self.file)
        {
            file.forget_changes();
        }
        entered?;
        if state.lies {
            return Ok(());
        }
        state.durable_names = state.names.clone();
        state.files.get_mut(&self.file).map(File::sync).ok_or(sqlite::SQLITE_IOERR)
    }

    pub(crate) fn size(&self) -> Result<usize, Code> {
        let state = lock(&self.state);
        if state.stopped && !state.paused {
            return Err(sqlite::SQLITE_IOERR_FSTAT);
        }
        state.files.get(&self.file).map(File::len).ok_or(sqlite::SQLITE_IOERR_FSTAT)
    }

    pub(crate) fn lock(&self, level: i32) -> Result<(), Code> {
        let who = self.who;
        let taken = self.at(Op::Lock, |file| file.locks.raise(who, level))?;
        if taken { Ok(()) } else { Err(sqlite::SQLITE_BUSY) }
    }

    pub(crate) fn unlock(&self, level: i32) {
        self.quietly(|file| file.locks.lower(self.who, level));
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.quietly(|file| file.locks.is_reserved()).unwrap_or(false)
    }

    /// What no fault meets.
    fn quietly<T>(&self, act: impl FnOnce(&mut File) -> T) -> Option<T> {
        lock(&self.state).files.get_mut(&self.file).map(act)
    }

    /// The region `number` of the shared memory, of `size` bytes; none if it is not there and not to be made.
    pub(crate) fn region(&self, number: usize, size: usize, make: bool) -> Option<Region> {
        self.quietly(|file| {
            file.locks.join(self.who);
            while make && file.shared.len() <= number {
                file.shared.push((0..size.div_ceil(8)).map(|_| AtomicU64::new(0)).collect());
            }
            file.shared.get(number).cloned()
        })
        .flatten()
    }

    pub(crate) fn take_slots(&self, first: usize, count: usize, exclusive: bool) -> Result<(), Code> {
        let taken = self.at(Op::Lock, |file| file.locks.take_slots(self.who, first, count, exclusive))?;
        if taken { Ok(()) } else { Err(sqlite::SQLITE_BUSY) }
    }

    pub(crate) fn free_slots(&self, first: usize, count: usize) {
        self.quietly(|file| file.locks.free_slots(self.who, first, count));
    }

    /// The connection gives the shared memory back, which is gone with the last one.
    pub(crate) fn leave_regions(&self) {
        self.quietly(|file| {
            if file.locks.leave(self.who) {
                file.shared.clear();
            }
        });
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.quietly(|file| file.locks.forget(self.who));
        let mut state = lock(&self.state);
        state.open = state.open.saturating_sub(1);
    }
}
