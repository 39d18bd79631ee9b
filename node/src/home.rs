//! A home: the folder of one device, with its keys, its store and a lock.
//!
//! | file | content |
//! |---|---|
//! | `identity` | the secret seed of the device, 64 hexadecimal digits |
//! | `name` | the name that others see; may be missing |
//! | `store.db` | messages and everything else |
//! | `lock` | locked by the one process that uses the home; says who that is |
//!
//! The folder and all files in it are for their owner alone; if others have access, it is taken from them.

mod lock;
mod private;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use hedgerow_clients::{NameError, check_name};
use hedgerow_proto::PeerId;
use hedgerow_transports::Identity;
use zeroize::Zeroizing;

use self::lock::Lock;
use crate::limits::STORE_FILE;

const IDENTITY_FILE: &str = "identity";
const NAME_FILE: &str = "name";

/// Why a home could not be made or opened. Nothing in it was changed, if not said otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HomeError {
    /// There is no home in this folder, or no such folder.
    #[error("there is no home in {0}: it has no identity file")]
    NotAHome(PathBuf),
    /// There is a home in this folder already.
    #[error("there is a home in {0} already")]
    Exists(PathBuf),
    /// Another process uses the home.
    #[error("the home {path} is in use by {holder}")]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Who uses it.
        holder: Holder,
    },
    /// The folder holds other things already, and others than its owner have access to it.
    #[error(
        "others have access to the folder {0}, which is not empty: take it from them (chmod 700), or name another"
    )]
    NotPrivate(PathBuf),
    /// The identity file does not hold 64 hexadecimal digits.
    #[error("the identity file {0} is damaged: it must hold 64 hexadecimal digits")]
    BadIdentity(PathBuf),
    /// The name breaks a rule.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The system has no randomness for new keys.
    #[error("the system gave no randomness for new keys: {0}")]
    Random(getrandom::Error),
    /// The file system reported an error.
    #[error("{path}: {error}")]
    Io {
        /// The file or folder in question.
        path: PathBuf,
        /// What the system said.
        #[source]
        error: io::Error,
    },
}

impl HomeError {
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { path, error }
    }
}

/// As what a process uses a home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// A long-running process that keeps the links.
    Daemon,
    /// A command that is done soon.
    Command,
    /// An application with a node of its own.
    Node,
}

impl Role {
    const ALL: [Self; 3] = [Self::Daemon, Self::Command, Self::Node];

    const fn word(self) -> &'static str {
        match self {
            Self::Daemon => "daemon",
            Self::Command => "command",
            Self::Node => "node",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The process that uses a home, as far as the lock file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Holder {
    /// As what; `None` in the moment before it has said so.
    pub role: Option<Role>,
    /// Its process number; `None` in the moment before it has said so.
    pub pid: Option<u32>,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Some(role) => write!(f, "a {role}")?,
            None => f.write_str("another process")?,
        }
        match self.pid {
            Some(pid) => write!(f, " (process {pid})"),
            None => Ok(()),
        }
    }
}

/// The folder of one device, locked: no other process uses it until this value is dropped.
///
/// The methods block on the file system; none needs an async runtime.
pub struct Home {
    path: PathBuf,
    name: Option<String>,
    seed: Zeroizing<[u8; 32]>,
    identity: Identity,
    _lock: Lock,
}

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The seed is secret.
        f.debug_struct("Home")
            .field("path", &self.path)
            .field("name", &self.name)
            .field("peer_id", &self.identity.peer_id())
            .finish_non_exhaustive()
    }
}

impl Home {
    /// Whether there is a home in this folder.
    #[must_use]
    pub fn exists(path: impl AsRef<Path>) -> bool {
        path.as_ref().join(IDENTITY_FILE).exists()
    }

    /// Makes a home with new keys in the folder `path`, which is made as well if need be, and opens it. The folder and
    /// its files are for their owner alone. `name` is what others see.
    ///
    /// # Errors
    /// [`HomeError::Exists`] if there is one; [`HomeError::NotPrivate`] if the folder has other content and lets others
    /// in; [`HomeError::Locked`] if another process is about to do the same.
    pub fn create(path: impl AsRef<Path>, name: Option<&str>, role: Role) -> Result<Self, HomeError> {
        let path = path.as_ref();
        if let Some(name) = name {
            check_name(name)?;
        }
        private::make_folder(path)?;
        let lock = Lock::take(path, role, Duration::ZERO)?;
        if Self::exists(path) {
            return Err(HomeError::Exists(path.to_owned()));
        }
        if let Some(name) = name {
            write_whole(path, NAME_FILE, name.as_bytes())?;
        }
        let mut seed = Zeroizing::new([0; 32]);
        getrandom::fill(seed.as_mut()).map_err(HomeError::Random)?;
        let text = Zeroizing::new(format!("{}\n", HEXLOWER_PERMISSIVE.encode(seed.as_ref())));
        // The last file to be written is the one that makes the folder a home.
        write_whole(path, IDENTITY_FILE, text.as_bytes())?;
        Self::load(path, lock)
    }

    /// Opens the home in the folder `path`, waiting up to `wait` for a process that uses it. Makes nothing.
    ///
    /// # Errors
    /// [`HomeError::NotAHome`], or [`HomeError::Locked`] with who uses it.
    pub fn open(path: impl AsRef<Path>, role: Role, wait: Duration) -> Result<Self, HomeError> {
        let path = path.as_ref();
        if !Self::exists(path) {
            return Err(HomeError::NotAHome(path.to_owned()));
        }
        let lock = Lock::take(path, role, wait)?;
        Self::load(path, lock)
    }

    /// Opens the home in the folder `path`, or makes one.
    ///
    /// # Errors
    /// As [`Home::open`] and [`Home::create`].
    pub fn open_or_create(
        path: impl AsRef<Path>,
        name: Option<&str>,
        role: Role,
        wait: Duration,
    ) -> Result<Self, HomeError> {
        let path = path.as_ref();
        if !Self::exists(path) {
            match Self::create(path, name, role) {
                // Another process was faster.
                Err(HomeError::Exists(_) | HomeError::Locked { .. }) if Self::exists(path) => {}
                done => return done,
            }
        }
        Self::open(path, role, wait)
    }

    /// Who uses the home in this folder at present.
    ///
    /// # Errors
    /// When there is no home, or the file system fails.
    pub fn holder(path: impl AsRef<Path>) -> Result<Option<Holder>, HomeError> {
        let path = path.as_ref();
        if !Self::exists(path) {
            return Err(HomeError::NotAHome(path.to_owned()));
        }
        Lock::holder(path)
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The store file in it, which may not be there yet.
    #[must_use]
    pub fn store_path(&self) -> PathBuf {
        self.path.join(STORE_FILE)
    }

    /// The name that others see.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Changes the name that others see.
    ///
    /// # Errors
    /// [`HomeError::Name`], or the file system fails.
    pub fn set_name(&mut self, name: &str) -> Result<(), HomeError> {
        check_name(name)?;
        write_whole(&self.path, NAME_FILE, name.as_bytes())?;
        self.name = Some(name.to_owned());
        Ok(())
    }

    /// Takes all access to the home and to the files in it from everybody but their owner. Opening a home does this too.
    ///
    /// # Errors
    /// The file system fails, as it does for folders of others.
    pub fn make_private(path: impl AsRef<Path>) -> Result<(), HomeError> {
        private::make_private(path.as_ref())
    }

    /// The keys.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// The public name of the device.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.identity.peer_id()
    }

    pub(crate) fn seed(&self) -> Zeroizing<[u8; 32]> {
        self.seed.clone()
    }

    fn load(path: &Path, lock: Lock) -> Result<Self, HomeError> {
        private::make_private(path)?;
        let file = path.join(IDENTITY_FILE);
        let text = Zeroizing::new(fs::read_to_string(&file).map_err(HomeError::io(&file))?);
        let bytes = HEXLOWER_PERMISSIVE.decode(text.trim().as_bytes()).map(Zeroizing::new);
        let seed = bytes.ok().and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        let seed = Zeroizing::new(seed.ok_or(HomeError::BadIdentity(file))?);
        let identity = Identity::from_seed(&seed);
        Ok(Self { path: path.to_owned(), name: read_name(path)?, seed, identity, _lock: lock })
    }
}

fn read_name(folder: &Path) -> Result<Option<String>, HomeError> {
    let file = folder.join(NAME_FILE);
    match fs::read_to_string(&file) {
        Ok(text) => {
            let name = text.trim().to_owned();
            check_name(&name)?;
            Ok(Some(name))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HomeError::Io { path: file, error }),
    }
}

/// Writes a file that is there whole or not at all, even after a power failure, and that its owner alone can read.
fn write_whole(folder: &Path, name: &str, content: &[u8]) -> Result<(), HomeError> {
    let (target, part) = (folder.join(name), folder.join(format!("{name}.part")));
    let mut file = private::create(&part).map_err(HomeError::io(&part))?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(HomeError::io(&part))?;
    fs::rename(&part, &target).map_err(HomeError::io(&target))?;
    #[cfg(unix)]
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(HomeError::io(folder))?;
    Ok(())
}

#[cfg(test)]
mod tests;
