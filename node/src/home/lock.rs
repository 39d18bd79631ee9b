//! The lock of a home: one process at a time, and the others can tell which one.

use std::fs::{self, File, TryLockError};
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Holder, HomeError, Role};

const LOCK_FILE: &str = "lock";
/// How long to pause between two attempts to get a lock that is taken.
const PAUSE: Duration = Duration::from_millis(10);

/// Held until dropped, or until the process ends in whatever way: the system takes it back.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    pub(super) fn take(folder: &Path, role: Role, wait: Duration) -> Result<Self, HomeError> {
        let path = folder.join(LOCK_FILE);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(HomeError::io(&path))?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < wait => std::thread::sleep(PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(HomeError::Locked { path: folder.to_owned(), holder: read(&path) });
                }
                Err(TryLockError::Error(error)) => return Err(HomeError::Io { path, error }),
            }
        }
        // Who holds it is a courtesy to the others; on a full disk the lock holds without it.
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| writeln!(file, "{role} {}", std::process::id()));
        if let Err(error) = written {
            tracing::warn!(%error, "the lock file cannot say who holds it");
        }
        Ok(Self(file))
    }

    pub(super) fn holder(folder: &Path) -> Result<Option<Holder>, HomeError> {
        let path = folder.join(LOCK_FILE);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(HomeError::Io { path, error }),
        };
        // A shared lock: two who ask at the same time do not take each other for the holder.
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read(&path))),
            Err(TryLockError::Error(error)) => Err(HomeError::Io { path, error }),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // So that nobody reads the name of one who is gone.
        let _ = self.0.set_len(0);
        let _ = self.0.unlock();
    }
}

fn read(path: &Path) -> Holder {
    let text = fs::read_to_string(path).unwrap_or_default();
    let mut words = text.split_whitespace();
    let role = words.next().and_then(|word| Role::ALL.into_iter().find(|role| role.word() == word));
    Holder { role, pid: words.next().and_then(|word| word.parse().ok()) }
}
