//! Two at one store: readers beside the writer, and a second writer.

use std::time::Duration;

use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::{Direction, MessageNum, Store as _};
use hedgerow_sync_sqlite::{Options, SqliteStore};

use crate::content::{GROUP, assert_clean, head, prepare, write_batch};

fn impatient() -> Options {
    let mut options = Options::default();
    options.busy_timeout = Duration::ZERO;
    options
}

#[test]
fn readers_see_each_commit_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut options = Options::default();
    options.recent_ids = 700;
    let mut store = SqliteStore::open(&path, options).unwrap();
    prepare(&mut store).unwrap();
    store.commit().unwrap();
    let mut reader = SqliteStore::open_read_only(&path, Options::default()).unwrap();
    // In the middle, the tags of the first messages go into their table.
    for _ in 0..3 {
        let before = head(&reader);
        write_batch(&mut store, 500, 20).unwrap();
        assert_eq!(head(&reader), before);
        let written = store.at(GROUP, before + 1).unwrap().unwrap();
        assert_eq!(reader.find(&written.id).unwrap(), None);
        store.commit().unwrap();
        assert_eq!(head(&reader), before + 500);
        assert_eq!(reader.find(&written.id).unwrap(), Some(written));
        assert_eq!(reader.row(written.num).unwrap(), Some(written));
    }
    let tags = rusqlite::Connection::open(&path).unwrap();
    let tags: i64 = tags.query_row("SELECT count(*) FROM message_tag", [], |row| row.get(0)).unwrap();
    assert_eq!(tags, 1_400);
    assert_clean(&reader);
    assert_clean(&store);

    let rows = reader.scan(MessageNum(0), usize::MAX).unwrap();
    assert!(rows.iter().all(|row| reader.find(&row.id).unwrap() == Some(*row)));
    for result in [reader.set_install(1), reader.remove(MessageNum(1)), reader.set_value("x", b"", None)] {
        let error = result.unwrap_err();
        assert!(
            matches!(error, StoreError::Backend(_)) && error.to_string().contains("reading only"),
            "{error}"
        );
    }
    reader.commit().unwrap();
    reader.rollback().unwrap();
}

/// More is written than the store keeps in memory until the commit, so that some of it is in the log already.
#[test]
fn a_read_returns_while_a_write_is_open() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut store = SqliteStore::open(&path, impatient()).unwrap();
    prepare(&mut store).unwrap();
    write_batch(&mut store, 300, 200).unwrap();
    store.set_value("cursor", b"k", Some(b"old")).unwrap();
    store.commit().unwrap();
    write_batch(&mut store, 9_000, 200).unwrap();
    store.set_value("cursor", b"k", Some(b"new")).unwrap();

    let reader = SqliteStore::open_read_only(&path, impatient()).unwrap();
    let log = |reader: &SqliteStore| {
        let rows = (1..=head(reader)).map(|position| reader.at(GROUP, position).unwrap().unwrap());
        rows.map(|row| reader.content(row.num).unwrap().unwrap().body.unwrap().len()).sum::<usize>()
    };
    assert_eq!(log(&reader), 300 * 200);
    assert_eq!(reader.value("cursor", b"k").unwrap(), Some(b"old".to_vec()));
    assert_eq!(reader.page(GROUP, None, Direction::Backward, 500).unwrap().len(), 300);
    // A moment stays what it was, also when the write is done.
    reader
        .at_one_moment(|reader| {
            assert_eq!(log(reader), 300 * 200);
            store.commit()?;
            assert_eq!(log(reader), 300 * 200);
            assert_eq!(reader.at(GROUP, 301)?, None);
            Ok(())
        })
        .unwrap();
    assert_eq!(reader.value("cursor", b"k").unwrap(), Some(b"new".to_vec()));
    reader
        .at_one_moment(|reader| {
            assert_eq!(log(reader), 9_300 * 200);
            Ok(())
        })
        .unwrap();
}

/// A store whose log is started over after 100 pages, and a reader of it; the folder goes when it is dropped.
fn writer_and_reader() -> (tempfile::TempDir, std::path::PathBuf, SqliteStore, SqliteStore) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut options = Options::default();
    options.checkpoint_pages = 100;
    let mut store = SqliteStore::open(&path, options).unwrap();
    prepare(&mut store).unwrap();
    store.commit().unwrap();
    let reader = SqliteStore::open_read_only(&path, impatient()).unwrap();
    (folder, path, store, reader)
}

/// Moments that follow each other without a pause leave SQLite none in which to start the log over, so that the writer
/// waits for one.
#[test]
fn short_moments_one_after_the_other_do_not_make_the_log_grow() {
    let (_folder, path, mut store, reader) = writer_and_reader();
    let over = std::sync::atomic::AtomicBool::new(false);
    let mut most = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let reader = reader;
            while !over.load(std::sync::atomic::Ordering::Relaxed) {
                let page = |reader: &SqliteStore| reader.page(GROUP, None, Direction::Backward, 100);
                assert!(reader.at_one_moment(page).unwrap().len() <= 100);
            }
        });
        for _ in 0..200 {
            write_batch(&mut store, 500, 200).unwrap();
            store.commit().unwrap();
            most = most.max(SqliteStore::log_bytes(&path).unwrap());
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    // Of 30 MB that are written: twice the 100 pages, and what comes until readers let go.
    assert!(most < 4 << 20, "the log had {most} bytes");
    assert_clean(&store);
}

/// What is committed during a moment stays in the log until it ends, and not longer.
#[test]
fn a_long_moment_keeps_the_log_and_its_end_frees_it() {
    let (_folder, path, mut store, reader) = writer_and_reader();
    reader
        .at_one_moment(|reader| {
            assert_eq!(head(reader), 0);
            for _ in 0..50 {
                write_batch(&mut store, 500, 200)?;
                store.commit()?;
            }
            assert_eq!(head(reader), 0);
            Ok(())
        })
        .unwrap();
    let most = SqliteStore::log_bytes(&path).unwrap();
    assert!(most > 6 << 20, "the log had {most} bytes");
    for _ in 0..50 {
        write_batch(&mut store, 500, 200).unwrap();
        store.commit().unwrap();
    }
    let left = SqliteStore::log_bytes(&path).unwrap();
    assert!(left < 2 << 20, "{left} bytes are left of {most}");
    assert_eq!(head(&reader), 50_000);
    assert_clean(&store);
}

#[test]
fn a_check_that_is_given_up_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut store = SqliteStore::open(&path, impatient()).unwrap();
    prepare(&mut store).unwrap();
    write_batch(&mut store, 3_000, 200).unwrap();
    store.commit().unwrap();
    let reader = SqliteStore::open_read_only(&path, impatient()).unwrap();
    let looks = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = looks.clone();
    let count = move || counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < u64::MAX;
    assert!(reader.check_while(count).unwrap().unwrap().is_clean());
    let looks = looks.load(std::sync::atomic::Ordering::Relaxed);
    assert!(looks > 10, "{looks} looks");
    for last in [0, 1, looks / 2, looks - 1] {
        let mut left = last;
        let some = move || {
            let goes_on = left > 0;
            left = left.saturating_sub(1);
            goes_on
        };
        assert_eq!(reader.check_while(some).unwrap(), None, "after {last} of {looks} looks");
        // The next read is of another moment, and the log is as free as before.
        write_batch(&mut store, 1, 200).unwrap();
        store.commit().unwrap();
        assert_eq!(head(&reader), head(&store));
    }
    assert!(reader.check().unwrap().is_clean());
    // A writer gives one up too, and loses nothing that is not committed.
    write_batch(&mut store, 1, 200).unwrap();
    assert_eq!(store.check_while(|| false).unwrap(), None);
    store.commit().unwrap();
    assert_eq!(head(&reader), 3_005);
    assert!(store.check().unwrap().is_clean());
}

#[test]
fn a_second_writer_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut first = SqliteStore::open(&path, impatient()).unwrap();
    prepare(&mut first).unwrap();
    first.commit().unwrap();
    first.set_install(1).unwrap();
    let mut second = SqliteStore::open(&path, impatient()).unwrap();
    assert!(matches!(second.set_install(2), Err(StoreError::Busy)));
    first.commit().unwrap();
    // What it knows of the store is no longer so.
    assert!(matches!(second.set_install(2), Err(StoreError::Busy)));
    second.rollback().unwrap();
    assert!(matches!(second.set_install(2), Err(StoreError::Busy)));
    assert_eq!(second.load().unwrap().install, Some(1));

    let mut second = SqliteStore::open(&path, impatient()).unwrap();
    second.set_install(3).unwrap();
    second.commit().unwrap();
    assert!(matches!(first.set_install(4), Err(StoreError::Busy)));
    assert_eq!(first.load().unwrap().install, Some(3));
}
