//! What lies in a home is for its owner alone, whatever the umask, and whoever made the folder.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{Home, HomeError};

#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};

/// Makes the folder of a home that is to be made. One that is there already and lets others in is made private if it is
/// empty; else it is refused, since it was made for something else.
pub(super) fn make_folder(path: &Path) -> Result<(), HomeError> {
    let is_new = !path.exists();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    builder.mode(0o700);
    builder.create(path).map_err(HomeError::io(path))?;
    let is_empty = || fs::read_dir(path).map(|mut entries| entries.next().is_none());
    if is_open(path)? && !is_new && !Home::exists(path) && !is_empty().map_err(HomeError::io(path))? {
        return Err(HomeError::NotPrivate(path.to_owned()));
    }
    tighten(path, 0o700)
}

/// Takes all access to a home and to the files in it from everybody but their owner, and says so in the log.
pub(super) fn make_private(path: &Path) -> Result<(), HomeError> {
    tighten(path, 0o700)?;
    for entry in fs::read_dir(path).map_err(HomeError::io(path))? {
        let entry = entry.map_err(HomeError::io(path))?;
        // Neither links nor sockets nor folders: none of them holds anything of the home.
        let is_file = entry.file_type().map(|kind| kind.is_file());
        match is_file.and_then(|is_file| if is_file { tighten_io(&entry.path(), 0o600) } else { Ok(()) }) {
            // SQLite and other processes may remove files in this moment.
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(HomeError::Io { path: entry.path(), error });
            }
            _ => {}
        }
    }
    Ok(())
}

/// Opens a file for a new content that its owner alone can read from the first byte on.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    options.mode(0o600);
    let file = options.open(path)?;
    // One that was left by an earlier attempt, or a umask, may say otherwise.
    #[cfg(unix)]
    file.set_permissions(fs::Permissions::from_mode(0o600))?;
    Ok(file)
}

fn tighten(path: &Path, mode: u32) -> Result<(), HomeError> {
    tighten_io(path, mode).map_err(HomeError::io(path))
}

#[cfg(unix)]
fn is_open(path: &Path) -> Result<bool, HomeError> {
    let mode = fs::metadata(path).map_err(HomeError::io(path))?.permissions().mode();
    Ok(mode & 0o077 != 0)
}

#[cfg(unix)]
fn tighten_io(path: &Path, mode: u32) -> io::Result<()> {
    let was = fs::metadata(path)?.permissions().mode() & 0o777;
    if was & 0o077 != 0 {
        tracing::warn!(path = %path.display(), was = format_args!("{was:o}"), now = format_args!("{mode:o}"),
            "others had access, and have no longer");
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn is_open(_: &Path) -> Result<bool, HomeError> {
    Ok(false)
}

#[cfg(not(unix))]
fn tighten_io(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}
