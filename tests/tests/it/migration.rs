//! A store of an older schema is brought up to date, and the power fails on the way, at every operation on the disk.

use hedgerow_faulty_vfs::{Disk, Fault, Image, Loss, Op, VFS};
use hedgerow_sync_core::Store as _;
use hedgerow_sync_core::store::{Content, MessageNum, MessageRow};
use hedgerow_sync_sqlite::{Options, SqliteStore};
use rusqlite::{Connection, OpenFlags};

/// Stores of schema 1, 2 and 3, as text.
const OLD: [&str; 3] = [
    include_str!("../../../sync-sqlite/tests/sqlite/v1.sql"),
    include_str!("../../../sync-sqlite/tests/sqlite/v2.sql"),
    include_str!("../../../sync-sqlite/tests/sqlite/v3.sql"),
];

fn image_of(sql: &str) -> Image {
    let disk = Disk::new();
    let flags = OpenFlags::default();
    let old = Connection::open_with_flags_and_vfs(disk.path("a.db"), flags, VFS).unwrap();
    old.execute_batch(&format!("PRAGMA synchronous = FULL; {sql}")).unwrap();
    drop(old);
    disk.image()
}

fn open(disk: &Disk) -> Result<SqliteStore, hedgerow_sync_core::StoreError> {
    let mut options = Options::default();
    options.vfs = Some(VFS.to_owned());
    SqliteStore::open(&disk.path("a.db"), options)
}

/// All that is in a store, which has to be sound.
fn contents(store: &SqliteStore) -> (Vec<MessageRow>, Vec<Option<Content>>, String) {
    let report = store.check().unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    let rows = store.scan(MessageNum(0), 99).unwrap();
    let contents = rows.iter().map(|row| store.content(row.num).unwrap()).collect();
    (rows, contents, format!("{:?}", store.load().unwrap()))
}

#[test]
fn a_migration_that_is_cut_short_anywhere_is_done_at_the_next_start() {
    for (schema, sql) in (1..).zip(OLD) {
        let image = image_of(sql);
        let disk = Disk::from_image(&image);
        disk.list_ops();
        let whole = contents(&open(&disk).unwrap());
        assert_eq!(whole.0.len(), 16);
        let ops = disk.ops();
        let (mut points, mut cut) = (0, 0);
        for (at, op) in ops.iter().enumerate() {
            let at = u64::try_from(at).unwrap();
            let changes = !matches!(op, Op::Read | Op::Lock);
            let losses = [Loss::Nothing, Loss::Unsynced, Loss::Some(at), Loss::Some(at << 8)];
            let stops = losses.into_iter().filter(|_| changes).map(|loss| (Fault::Stop, loss));
            let full = matches!(op, Op::Create | Op::Write | Op::Truncate);
            let full = full.then_some((Fault::Full { more: 40 }, Loss::Nothing));
            for (fault, loss) in stops.chain([(Fault::Io { more: 0 }, Loss::Nothing)]).chain(full) {
                let disk = Disk::from_image(&image);
                disk.list_ops();
                disk.plan(at, fault);
                let opened = open(&disk);
                points += 1;
                cut += u32::from(opened.is_err());
                drop(opened);
                disk.heal();
                disk.restart(loss);
                let store = open(&disk).unwrap_or_else(|error| {
                    panic!("schema {schema}, {op:?} {at}, {fault:?}, {loss:?}: {error}")
                });
                assert_eq!(contents(&store), whole, "schema {schema}, {op:?} {at}, {fault:?}, {loss:?}");
            }
        }
        // What comes after the migration, checking included, may end well.
        assert!(points > 100 && cut > points / 4, "schema {schema}: {cut} of {points}");
    }
}
