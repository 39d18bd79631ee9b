//! Where the control socket is, also when the path of the home is longer than an address of a socket can be.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};

use crate::error::CliError;
use crate::limits::MAX_SOCKET_PATH;

const SOCKET_FILE: &str = "control.sock";

/// The bound socket; its file goes when this is dropped.
pub(super) struct Bound {
    pub(super) listener: UnixListener,
    /// The user who is served.
    pub(super) user: u32,
    path: PathBuf,
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

/// Binds the socket of a home. The caller holds the home's lock, so a socket that is there was left by a daemon that
/// was killed.
pub(super) fn bind(home: &Path) -> Result<Bound, CliError> {
    let path = home.join(SOCKET_FILE);
    let failed = |error| CliError::Socket { path: path.clone(), error };
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let short = Short::of(home).map_err(failed)?;
    let listener = UnixListener::bind(short.socket()).map_err(failed)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(failed)?;
    let user = fs::metadata(&path).map_err(failed)?.uid();
    Ok(Bound { listener, user, path })
}

/// Connects to the daemon of a home; `None` if there is none.
pub(super) async fn connect(home: &Path) -> Result<Option<UnixStream>, CliError> {
    let path = home.join(SOCKET_FILE);
    if !path.exists() {
        return Ok(None);
    }
    let connected = match Short::of(home) {
        Ok(short) => UnixStream::connect(short.socket()).await,
        Err(error) => Err(error),
    };
    match connected {
        Ok(stream) => Ok(Some(stream)),
        // Left by a daemon that was killed, or removed in this moment.
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            Ok(None)
        }
        Err(error) => Err(CliError::Socket { path, error }),
    }
}

/// A path to the home that is short enough.
enum Short {
    Itself(PathBuf),
    /// A symbolic link to the home, in a folder that only this user can enter.
    Link(TempDir),
}

impl Short {
    fn of(home: &Path) -> io::Result<Self> {
        if home.join(SOCKET_FILE).as_os_str().len() <= MAX_SOCKET_PATH {
            return Ok(Self::Itself(home.to_owned()));
        }
        let folder = tempfile::tempdir()?;
        symlink(fs::canonicalize(home)?, folder.path().join("h"))?;
        Ok(Self::Link(folder))
    }

    fn socket(&self) -> PathBuf {
        match self {
            Self::Itself(home) => home.join(SOCKET_FILE),
            Self::Link(folder) => folder.path().join("h").join(SOCKET_FILE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_is_found_also_in_a_home_with_a_long_path() {
        for depth in [0, 5] {
            let folder = tempfile::tempdir().unwrap();
            let home = folder.path().join("a-rather-long-name-of-a-folder/".repeat(depth));
            fs::create_dir_all(&home).unwrap();
            assert!(connect(&home).await.unwrap().is_none(), "nobody listens yet");

            let bound = bind(&home).unwrap();
            let (there, here) = tokio::join!(connect(&home), bound.listener.accept());
            assert!(there.unwrap().is_some());
            assert_eq!(here.unwrap().0.peer_cred().unwrap().uid(), bound.user);
            let mode = fs::metadata(home.join(SOCKET_FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);

            drop(bound);
            assert!(!home.join(SOCKET_FILE).exists());
        }
    }

    #[tokio::test]
    async fn a_socket_that_was_left_behind_is_no_daemon_and_no_obstacle() {
        let home = tempfile::tempdir().unwrap();
        drop(std::os::unix::net::UnixListener::bind(home.path().join(SOCKET_FILE)).unwrap());
        assert!(connect(home.path()).await.unwrap().is_none());
        let _bound = bind(home.path()).unwrap();
        assert!(connect(home.path()).await.unwrap().is_some());
    }
}
