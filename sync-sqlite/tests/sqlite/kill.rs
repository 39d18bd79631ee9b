//! A process that is killed while it writes loses nothing that it committed, and leaves a sound store.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hedgerow_sync_core::Store as _;
use hedgerow_sync_sqlite::{Options, SqliteStore};

use crate::content::{assert_clean, head, prepare, write_batch};

/// Names the store to the child process.
const STORE: &str = "HEDGEROW_TEST_STORE";

#[test]
fn a_killed_writer_loses_no_commit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    for round in 0..6_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["kill::the_writer_that_is_killed", "--exact", "--ignored", "--nocapture"])
            .env(STORE, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut heads = lines.filter_map(|line| line.strip_prefix("head ")?.parse::<u64>().ok());
        // Killed after some commits, while the child is anywhere in the next ones.
        let mut committed = 0;
        for _ in 0..5 + 7 * round {
            committed = heads.next().expect("the child writes until it is killed");
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it still said before it died was committed too.
        committed = heads.last().unwrap_or(committed);

        let reader = SqliteStore::open_read_only(&path, Options::default()).unwrap();
        assert_clean(&reader);
        let store = SqliteStore::open(&path, Options::default()).unwrap();
        assert!(head(&store) >= committed, "round {round}: {} of {committed}", head(&store));
        assert_clean(&store);
    }
}

#[test]
#[ignore = "the other process of a_killed_writer_loses_no_commit"]
fn the_writer_that_is_killed() {
    let path = PathBuf::from(std::env::var_os(STORE).expect("the parent names the store"));
    let mut options = Options::default();
    // Every few batches, the tags of the latest messages go into their table.
    options.recent_ids = 300;
    let mut store = SqliteStore::open(&path, options).unwrap();
    prepare(&mut store).unwrap();
    for n in 0..100_000 {
        write_batch(&mut store, 1 + n * 37 % 200, 10 + n * 501 % 2_000).unwrap();
        store.commit().unwrap();
        println!("head {}", head(&store));
        std::io::stdout().flush().unwrap();
    }
    panic!("the parent did not kill it");
}
