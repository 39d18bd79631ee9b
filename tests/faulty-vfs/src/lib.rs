//! Disks in memory under SQLite, with every fault that a disk can have.
//!
//! A [`Disk`] is a folder of files that SQLite opens through the VFS named [`VFS`]. It knows what was written and
//! what was synced, counts the operations, and can stop at any of them as a power failure or a killed process does,
//! or answer with an error and go on. What unsafe code there is, is in the module `ffi`; the disk has none.
//!
//! ```
//! use hedgerow_faulty_vfs::{Disk, Loss, VFS};
//! use rusqlite::{Connection, OpenFlags};
//!
//! let disk = Disk::new();
//! let open = || Connection::open_with_flags_and_vfs(disk.path("a.db"), OpenFlags::default(), VFS);
//! let db = open()?;
//! db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1)")?;
//! disk.stop_now();
//! drop(db);
//! disk.restart(Loss::Unsynced);
//! assert_eq!(open()?.query_row("SELECT n FROM t", [], |row| row.get::<_, i64>(0))?, 1);
//! # Ok::<(), rusqlite::Error>(())
//! ```

mod disk;
mod ffi;
mod file;
mod locks;

pub use disk::{Disk, Fault, Image, Loss, Op};

/// The name under which SQLite knows these disks; the first [`Disk`] makes it known.
pub const VFS: &str = "hedgerow-faulty";
