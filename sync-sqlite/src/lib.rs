//! A durable [`Store`](hedgerow_sync_core::Store) on SQLite, in one file.
//!
//! One [`SqliteStore`] writes; any number of [`SqliteStore::open_read_only`] may read beside it, in this process
//! or in others. `docs/storage.md` in the repository gives the schema, its invariants and why a crash at any
//! instruction is safe.
//!
//! ```
//! use hedgerow_sync_core::Store as _;
//! use hedgerow_sync_sqlite::{Options, SqliteStore};
//!
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("store.db");
//! let mut store = SqliteStore::open(&path, Options::default())?;
//! store.set_install(42)?;
//! store.commit()?; // durable from here on
//! drop(store);
//!
//! let store = SqliteStore::open(&path, Options::default())?;
//! assert_eq!(store.load()?.install, Some(42));
//! assert!(store.check()?.is_clean());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod block;
mod cache;
mod check;
mod deps;
mod error;
#[cfg(feature = "forging")]
#[doc(hidden)]
pub mod forge;
mod lists;
mod log;
mod longlog;
mod messages;
mod open;
mod places;
mod recent;
mod rows;
mod salvage;
mod schema;
mod small;
mod store;
mod tag;
mod varint;

/// Reads dependencies as they stand in a row and writes them again; `None` if they are none. For fuzzers.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
#[must_use]
pub fn rewrite_deps(num: hedgerow_sync_core::store::MessageNum, bytes: &[u8]) -> Option<Vec<u8>> {
    deps::decode(num, bytes).map(|deps| deps::encode(num, &deps))
}

pub use open::Options;
pub use salvage::Repaired;
pub use store::SqliteStore;
