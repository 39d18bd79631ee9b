//! The check finds what is wrong in the file.

use hedgerow_sync_core::Store as _;
use hedgerow_sync_core::store::Invariant::{self, *};
use hedgerow_sync_core::store::{AuthorNum, MessageNum, MessageState};
use hedgerow_sync_sqlite::forge::{Forged, forge};
use hedgerow_sync_sqlite::{Options, SqliteStore};

use crate::content::{assert_clean, prepare, write_batch};

/// What somebody does to a store.
enum Damage {
    /// A statement.
    Sql(&'static str),
    /// Message 35, which is delivered and has its body in its block, is written in another form.
    Message(&'static str, fn(&mut Forged)),
    /// So is a message that is wanted, with nothing in its place.
    WantedGone,
}
use Damage::{Message, Sql, WantedGone};

/// What breaks a store, and what is broken by it.
const DAMAGES: &[(Damage, Invariant)] = &[
    (Message("body", |m| m.body = Some(vec![0; 100].into())), MessageId),
    (Sql("UPDATE body SET body = zeroblob(length(body)) WHERE num = (SELECT max(num) FROM body)"), MessageId),
    (Message("no body", |m| m.body = None), Body),
    (Message("deps", |m| m.deps = vec![0x80]), Readable),
    (Message("other deps", |m| m.deps = vec![0xff, 0x01]), Readable),
    (Message("height", |m| m.row.height = u64::MAX), Readable),
    (Message("position", |m| m.row.position = 9), Readable),
    (Message("group", |m| m.row.group.0 += 1), Readable),
    (Message("state", |m| m.row.state = MessageState::Pruned), Body),
    (Message("chain", |m| m.row.chain += 1), Chain),
    (Message("effective time", |m| m.row.eff_ms += 1), OrderKey),
    (Message("reason", |m| m.row.reason = 1), Reason),
    (Message("missing", |m| m.row.missing = 1), Missing),
    (Message("author", |m| m.row.author = Some(AuthorNum(9))), Author),
    (WantedGone, Readable),
    (Sql("UPDATE block SET sum = sum + 1"), Readable),
    (Sql("UPDATE block SET first = first + 1 WHERE first = (SELECT max(first) FROM block)"), Readable),
    (Sql("UPDATE block SET data = x'' WHERE first = 1"), Readable),
    (Sql("DELETE FROM block WHERE first = (SELECT max(first) FROM block)"), Readable),
    (Sql("UPDATE place SET nums = x'80'"), Readable),
    (Sql("UPDATE place SET nums = x'0402'"), Positions),
    (Sql("UPDATE place SET top = -1"), Readable),
    (Sql("UPDATE place SET top = top - 1"), Storage),
    (Sql("DELETE FROM place"), Positions),
    (Sql("UPDATE place SET grp = 9"), Positions),
    (Sql("INSERT INTO late VALUES (1, 0, 0, 0, 35)"), Storage),
    (Sql("DELETE FROM unsettled WHERE state = 0"), Lookup),
    (Sql("INSERT INTO unsettled VALUES (2, 35)"), Readable),
    (Sql("DELETE FROM unsettled WHERE state = 5"), Storage),
    (Sql("INSERT INTO expiry VALUES (5, 35)"), Readable),
    (Sql("UPDATE grp SET body_bytes = body_bytes - 1"), BytesHeld),
    (Sql("INSERT INTO author VALUES (1, 9, zeroblob(32))"), Storage),
    (Sql("UPDATE peer_group SET has = x'00'"), PeerGroup),
    (Sql("UPDATE peer_group SET visibility = 9"), Readable),
    (Sql("UPDATE store SET last_group = 0"), Numbers),
    (Sql("UPDATE grp SET head = head + 1"), Positions),
    (Sql("DELETE FROM head"), Heads),
    (Sql("DELETE FROM edge"), Edges),
    (Sql("UPDATE store SET tagged = 1"), Lookup),
    (Sql("UPDATE store SET tagged = 1"), Storage),
    (Sql("UPDATE store SET tag_key = zeroblob(16)"), Readable),
    (Sql("INSERT INTO message_tag VALUES (1, 1)"), Storage),
    (Sql("INSERT INTO message_tag VALUES (1, 999)"), Storage),
    (Sql("INSERT INTO body VALUES (35, x'00')"), Storage),
    (Sql("INSERT INTO body VALUES (999, x'00')"), Storage),
    (Sql("INSERT INTO head VALUES (9, 35)"), Storage),
    (Sql("INSERT INTO edge VALUES (999, 35)"), Storage),
    (
        Sql("INSERT INTO peer_group SELECT 9, grp, visibility, has, got, mark, mark_chain FROM peer_group"),
        Storage,
    ),
];

/// Does it, and says what it was.
fn inflict(path: &std::path::Path, damage: &Damage) -> String {
    match damage {
        Sql(sql) => {
            let connection = rusqlite::Connection::open(path).unwrap();
            connection.pragma_update(None, "foreign_keys", 0).unwrap();
            connection.pragma_update(None, "journal_mode", "DELETE").unwrap();
            assert!(connection.execute(sql, []).unwrap() > 0, "{sql}");
            (*sql).to_owned()
        }
        Message(what, change) => {
            forge(path, 35, |message| change(message.as_mut().unwrap())).unwrap();
            (*what).to_owned()
        }
        WantedGone => {
            let store = SqliteStore::open(path, Options::default()).unwrap();
            let wanted = store.in_state(MessageState::Wanted, MessageNum(0), 1).unwrap()[0];
            drop(store);
            forge(path, wanted.num.0, |message| *message = None).unwrap();
            "a wanted message is gone".to_owned()
        }
    }
}

#[test]
fn each_damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound.db");
    let mut store = SqliteStore::open(&sound, Options::default()).unwrap();
    prepare(&mut store).unwrap();
    write_batch(&mut store, 30, 1_030).unwrap();
    write_batch(&mut store, 30, 100).unwrap();
    store.commit().unwrap();
    assert_clean(&store);
    drop(store);
    let path = folder.path().join("damaged.db");
    for (damage, invariant) in DAMAGES {
        for companion in ["damaged.db-wal", "damaged.db-shm"] {
            let _none = std::fs::remove_file(folder.path().join(companion));
        }
        std::fs::copy(&sound, &path).unwrap();
        let sql = inflict(&path, damage);
        match SqliteStore::open(&path, Options::default()) {
            // Already opening it reads the latest rows.
            Err(error) => assert_eq!((invariant, is_corrupt(&error)), (&Readable, true), "{sql}: {error}"),
            Ok(store) => match store.check() {
                // The small rows are needed for everything.
                Err(error) => {
                    assert_eq!((invariant, is_corrupt(&error)), (&Readable, true), "{sql}: {error}")
                }
                Ok(report) => {
                    let found = report.problems.iter().any(|problem| problem.invariant == *invariant);
                    assert!(found, "{sql}: {report}");
                }
            },
        }
    }
}

fn is_corrupt(error: &hedgerow_sync_core::StoreError) -> bool {
    matches!(error, hedgerow_sync_core::StoreError::Corrupt(_))
}

/// Pages of the file that were overwritten: an error or a problem, never a panic and never a clean report.
#[test]
fn overwritten_pages_are_found() {
    let folder = tempfile::tempdir().unwrap();
    let sound = folder.path().join("sound.db");
    let mut store = SqliteStore::open(&sound, Options::default()).unwrap();
    prepare(&mut store).unwrap();
    write_batch(&mut store, 100, 100).unwrap();
    store.commit().unwrap();
    drop(store);
    let bytes = std::fs::read(&sound).unwrap();
    let path = folder.path().join("damaged.db");
    // Pages that nothing uses are no damage.
    let connection = rusqlite::Connection::open(&sound).unwrap();
    let mut statement = connection.prepare("SELECT DISTINCT pageno FROM dbstat ORDER BY pageno").unwrap();
    let rows = statement.query_map([], |row| row.get::<_, u32>(0)).unwrap();
    let used: Vec<usize> = rows.map(|page| page.unwrap() as usize).collect();
    assert!(used.len() * 4_096 + 5 * 4_096 > bytes.len(), "{} of {} bytes", used.len() * 4_096, bytes.len());
    for page in used.into_iter().map(|page| page - 1) {
        let mut damaged = bytes.clone();
        damaged[page * 4_096..][..2_048].fill(0xa5);
        std::fs::write(&path, damaged).unwrap();
        let report = SqliteStore::open(&path, Options::default()).and_then(|store| store.check());
        match report {
            Ok(report) => assert!(!report.is_clean(), "page {page}"),
            Err(error) => assert!(is_corrupt(&error), "page {page}: {error}"),
        }
        for companion in ["damaged.db-wal", "damaged.db-shm"] {
            let _none = std::fs::remove_file(folder.path().join(companion));
        }
    }
}

#[test]
fn the_check_does_not_believe_what_is_remembered() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut store = SqliteStore::open(&path, Options::default()).unwrap();
    prepare(&mut store).unwrap();
    write_batch(&mut store, 3, 100).unwrap();
    store.commit().unwrap();
    assert_clean(&store);
    forge(&path, 1, |message| message.as_mut().unwrap().row.reason = 1).unwrap();
    assert!(!store.check().unwrap().is_clean());
}
