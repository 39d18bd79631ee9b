//! The store in a file and the one in memory behave as every store must.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod on_file {
    use hedgerow_sync_core::store::conformance::Harness;
    use hedgerow_sync_sqlite::{Options, SqliteStore};

    struct OnFile {
        folder: tempfile::TempDir,
        store: Option<SqliteStore>,
    }

    impl OnFile {
        fn open(&mut self) {
            let path = self.folder.path().join("store.db");
            let mut options = Options::default();
            // Small, so that short tests get to the ends of them.
            (options.cached_rows, options.recent_ids) = (4, 5);
            self.store = Some(SqliteStore::open(&path, options).unwrap());
        }
    }

    impl Harness for OnFile {
        type Store = SqliteStore;

        fn new() -> Self {
            let mut place = Self { folder: tempfile::tempdir().unwrap(), store: None };
            place.open();
            place
        }

        fn store(&mut self) -> &mut SqliteStore {
            self.store.as_mut().unwrap()
        }

        fn crash(&mut self) {
            self.store = None;
            self.open();
        }
    }

    hedgerow_sync_core::store_conformance!(OnFile);
}

mod in_memory {
    use hedgerow_sync_core::Store as _;
    use hedgerow_sync_core::store::conformance::Harness;
    use hedgerow_sync_sqlite::SqliteStore;

    struct InMemory(SqliteStore);

    impl Harness for InMemory {
        type Store = SqliteStore;

        fn new() -> Self {
            Self(SqliteStore::in_memory().unwrap())
        }

        fn store(&mut self) -> &mut SqliteStore {
            &mut self.0
        }

        /// Closing it would lose everything.
        fn crash(&mut self) {
            self.0.rollback().unwrap();
        }
    }

    hedgerow_sync_core::store_conformance!(InMemory);
}
