//! A damaged store is made whole again: what is sound is kept, what is not is fetched again from a peer, and nothing
//! altered is delivered or sent on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hedgerow_proto::{GroupDescriptor, GroupId, MessageId, PeerId, Visibility};
use hedgerow_sync_core::store::RepairReport;
use hedgerow_sync_core::{
    Config, Draft, Engine, EngineError, Event, LinkProfile, Store, StoreError, Time, Verdict,
};
use hedgerow_sync_sqlite::forge::forge;
use hedgerow_sync_sqlite::{Options, SqliteStore};
use rusqlite::Connection;
use rusqlite::types::Value;

use crate::content::num_at;
use crate::tamper::{change, columns, flips, values};

const NOW: Time = Time(1_700_000_000_000);
const ANN: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];

type Disk = Engine<SqliteStore>;

/// What each message says, by its id: what an engine may deliver.
type Truth = BTreeMap<MessageId, bytes::Bytes>;

fn options() -> Options {
    let mut options = Options::default();
    options.recent_ids = 12;
    options
}

fn open(path: &Path, seed: u8) -> Result<Disk, EngineError> {
    Engine::open(SqliteStore::open(path, options())?, Config::default(), [seed; 32], NOW)
}

fn descriptor(name: &str) -> GroupDescriptor {
    GroupDescriptor::new(format!("org.example.{name}"), 1, b"d".to_vec()).unwrap()
}

fn share(engine: &mut Disk, with: [u8; 32]) -> Vec<GroupId> {
    let mut ids = Vec::new();
    for (name, judged) in [("judged", true), ("relayed", false)] {
        let group = engine.add_group(&descriptor(name), judged).unwrap();
        engine.set_visibility(PeerId::from_bytes(with), group, Visibility::Shared).unwrap();
        ids.push(group);
    }
    ids
}

fn say(engine: &mut Disk, group: GroupId, text: &str, len: usize) {
    let heads = engine.heads(group, 16).unwrap();
    let body: Vec<u8> = text.bytes().cycle().take(len).collect();
    let draft = Draft { timestamp_ms: NOW.as_timestamp_ms() - 5_000, deps: heads, body: body.into() };
    engine.publish(group, draft, NOW).unwrap();
}

/// Gives verdicts, commits, and moves frames until nothing is left to be said. The error of the first engine that
/// stops, with the engine's number.
fn meet(engines: &mut [Disk; 2]) -> Result<(), (usize, EngineError)> {
    let links = {
        let [a, b] = engines;
        let to_b = a.link_up(PeerId::from_bytes(BOB), LinkProfile::reliable(), NOW).map_err(|e| (0, e))?;
        let to_a = b.link_up(PeerId::from_bytes(ANN), LinkProfile::reliable(), NOW).map_err(|e| (1, e))?;
        [to_b, to_a]
    };
    loop {
        let mut quiet = true;
        for from in [0, 1] {
            while let Some(event) = engines[from].poll_event().map_err(|e| (from, e))? {
                if let Event::Validate { id, .. } = event {
                    engines[from].judge(id, Verdict::VALID, NOW).map_err(|e| (from, e))?;
                    quiet = false;
                }
            }
            while let Some(frame) =
                engines[from].poll_transmit(links[from], NOW, 65_536).map_err(|e| (from, e))?
            {
                quiet = false;
                engines[1 - from].receive(links[1 - from], frame, NOW).map_err(|error| match error {
                    hedgerow_sync_core::ReceiveError::Engine(error) => (1 - from, error),
                    other => panic!("{other}"),
                })?;
            }
        }
        if quiet {
            break;
        }
    }
    engines[0].link_down(links[0], NOW);
    engines[1].link_down(links[1], NOW);
    for at in [0, 1] {
        engines[at].commit().map_err(|e| (at, e))?;
    }
    Ok(())
}

/// Everything delivered, which must be the truth.
fn read(engine: &Disk, truth: &Truth) -> Result<BTreeSet<MessageId>, EngineError> {
    let mut all = BTreeSet::new();
    for group in engine.groups() {
        for entry in engine.log(group.id, 0, 1_000, usize::MAX)? {
            assert_eq!(truth.get(&entry.id), entry.body.as_ref(), "{} is not what was written", entry.id);
            all.insert(entry.id);
        }
    }
    Ok(all)
}

/// Two stores that have met, with messages of both in two groups; and after that some of Ann's that only she has.
fn scene(folder: &Path) -> (Truth, BTreeSet<MessageId>) {
    let paths = [folder.join("ann.db"), folder.join("bob.db")];
    let mut engines = [open(&paths[0], 1).unwrap(), open(&paths[1], 2).unwrap()];
    let groups = share(&mut engines[0], BOB);
    share(&mut engines[1], ANN);
    for round in 0..4 {
        for &group in &groups {
            say(&mut engines[0], group, &format!("ann {round}"), 40);
            say(&mut engines[1], group, &format!("bob {round}"), if round == 1 { 1_500 } else { 40 });
        }
        meet(&mut engines).unwrap();
    }
    for &group in &groups {
        say(&mut engines[0], group, "ann alone", 60);
    }
    engines[0].set_value("note", b"key", Some(b"value")).unwrap();
    engines[0].commit().unwrap();
    let [ann, bob] = engines;
    let mut truth = Truth::new();
    for engine in [&ann, &bob] {
        for group in engine.groups() {
            for entry in engine.log(group.id, 0, 1_000, usize::MAX).unwrap() {
                truth.insert(entry.id, entry.body.unwrap());
            }
        }
    }
    let at_bob = read(&bob, &truth).unwrap();
    (truth, at_bob)
}

fn copy(from: &Path, to: &Path) {
    for suffix in ["-wal", "-shm", ".repaired", ".damaged-1", ".damaged-2"] {
        let _none = std::fs::remove_file(format!("{}{suffix}", to.display()));
    }
    std::fs::copy(from, to).unwrap();
}

fn repair(path: &Path) -> RepairReport {
    let early = NOW.as_timestamp_ms() + 300_000;
    let repaired = SqliteStore::repair(path, options(), early, |_, _| Ok(())).unwrap();
    assert!(repaired.kept.exists());
    repaired.report
}

#[test]
fn a_repaired_store_and_an_honest_peer_end_with_the_same_messages() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, at_bob) = scene(folder.path());
    let sound = folder.path().join("ann.db");
    let path = folder.path().join("changed.db");
    let bob_path = folder.path().join("bob-again.db");
    let (mut tried, mut left, mut lost) = (0, 0, BTreeMap::new());
    for (table, column) in columns(&sound) {
        let rows = Connection::open(&sound).unwrap();
        let found = values(&rows, &table, &column);
        drop(rows);
        // The lowest, the middle and the highest value, each changed in up to two ways.
        let chosen: BTreeSet<usize> = [0, found.len() / 2, found.len().saturating_sub(1)]
            .into_iter()
            .filter(|at| *at < found.len())
            .collect();
        for at in chosen {
            let changed: Vec<Value> = flips(&found[at]);
            let step = changed.len().div_ceil(2).max(1);
            for to in changed.iter().step_by(step) {
                copy(&sound, &path);
                if !change(&path, &table, &column, &found[at], to) {
                    continue;
                }
                let what = format!("{table}.{column}, value {at}, now {to:?}");
                tried += 1;
                let report = repair(&path);
                left += report.quarantined_count;
                let store = SqliteStore::open(&path, options()).unwrap();
                let check = store.check().unwrap();
                assert!(check.is_clean(), "{what}: {check}");
                drop(store);

                copy(&folder.path().join("bob.db"), &bob_path);
                let mut engines = [open(&path, 3).unwrap(), open(&bob_path, 4).unwrap()];
                // Who shares what is no content: if that was lost, it is said again.
                share(&mut engines[0], BOB);
                meet(&mut engines).unwrap_or_else(|(who, error)| panic!("{what}: {who}: {error}"));
                let ends = engines.each_ref().map(|engine| read(engine, &truth).unwrap());
                assert_eq!(ends[0], ends[1], "{what}: {report:?}");
                assert!(ends[0].is_superset(&at_bob), "{what}: what a peer has is there again");
                let gone = truth.keys().filter(|id| !ends[0].contains(id)).count();
                if gone > 0 {
                    *lost.entry(format!("{table}.{column}")).or_insert(0_usize) += 1;
                }
                for engine in &engines {
                    let check = engine.store().check().unwrap();
                    assert!(check.is_clean(), "{what}: {check}");
                }
            }
        }
    }
    println!(
        "{tried} changes, {left} rows left behind; what only the damaged store had was lost by: {lost:?}"
    );
    assert!(tried > 100, "{tried}");
    // What only the damaged store had is lost only with the block or body that was changed itself, or its group's row.
    let own = ["block.", "body.", "grp."];
    assert!(lost.keys().all(|column| own.iter().any(|of| column.starts_with(of))), "{lost:?}");
}

#[test]
fn a_sound_store_is_the_same_after_a_repair() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, _) = scene(folder.path());
    let path = folder.path().join("ann.db");
    let before = {
        let engine = open(&path, 1).unwrap();
        engine.groups().iter().map(|g| engine.log(g.id, 0, 1_000, usize::MAX).unwrap()).collect::<Vec<_>>()
    };
    let report = repair(&path);
    assert_eq!((report.quarantined_count, report.values, report.peers), (0, 1, 1), "{report:?}");
    assert_eq!(report.messages, truth.len() as u64);
    assert!(report.groups.iter().all(|g| g.unchanged_to == g.old_head && g.head == g.old_head), "{report:?}");
    let engine = open(&path, 3).unwrap();
    let after: Vec<_> =
        engine.groups().iter().map(|g| engine.log(g.id, 0, 1_000, usize::MAX).unwrap()).collect();
    assert_eq!(before, after);
    assert_eq!(engine.value("note", b"key").unwrap().unwrap(), b"value");
}

#[test]
fn own_messages_behind_a_damaged_one_survive_and_wait_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, at_bob) = scene(folder.path());
    let path = folder.path().join("ann.db");
    // A message in the middle that the peer has, too.
    let num = num_at(&path, 1, 3);
    forge(&path, num, |message| message.as_mut().unwrap().body = Some(vec![0].into())).unwrap();
    let report = repair(&path);
    assert_eq!(report.quarantined_count, 1, "{report:?}");
    assert_eq!(report.groups[0].unchanged_to, 2);
    let mut engines = [open(&path, 3).unwrap(), open(&folder.path().join("bob.db"), 4).unwrap()];
    let shown = read(&engines[0], &truth).unwrap();
    assert!(shown.len() < truth.len());
    meet(&mut engines).unwrap();
    assert!(at_bob.len() < truth.len(), "some were Ann's alone");
    for engine in &engines {
        assert_eq!(read(engine, &truth).unwrap().len(), truth.len(), "all of them are everywhere");
    }
}

#[test]
fn a_tampered_body_is_not_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, _) = scene(folder.path());
    let path = folder.path().join("ann.db");
    // The one that the peer lacks: it is about to be sent.
    let head = SqliteStore::open(&path, options()).unwrap().load().unwrap().groups[0].head;
    let num = num_at(&path, 1, head);
    forge(&path, num, |message| {
        let message = message.as_mut().unwrap();
        message.body = Some(b"forged"[..].into());
        message.row.body_len = 6;
    })
    .unwrap();
    let mut engines = [open(&path, 3).unwrap(), open(&folder.path().join("bob.db"), 4).unwrap()];
    let (who, error) = meet(&mut engines).unwrap_err();
    assert_eq!(who, 0);
    assert!(matches!(error, EngineError::Store(StoreError::Corrupt(_))), "{error}");
    // The peer has nothing but what was written, and is as well as before.
    read(&engines[1], &truth).unwrap();
    assert!(engines[1].store().check().unwrap().is_clean());

    drop(engines);
    repair(&path);
    let mut engines = [open(&path, 3).unwrap(), open(&folder.path().join("bob.db"), 4).unwrap()];
    meet(&mut engines).unwrap();
    let ends = engines.each_ref().map(|engine| read(engine, &truth).unwrap());
    assert_eq!(ends[0], ends[1]);
    assert_eq!(ends[0].len() + 1, truth.len(), "only the forged one is gone");
}

#[test]
fn a_page_of_rubbish_costs_its_rows_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.db");
    let mut engine = open(&path, 1).unwrap();
    let group = share(&mut engine, BOB)[0];
    for n in 0..1_000 {
        say(&mut engine, group, &format!("line {n}"), 200);
    }
    engine.commit().unwrap();
    drop(engine);
    let connection = Connection::open(&path).unwrap();
    // A leaf of the table of messages, neither the first nor the last.
    let sql =
        "SELECT pageno FROM dbstat WHERE name = 'block' AND pagetype = 'leaf' ORDER BY path LIMIT 1 OFFSET 5";
    let page = connection.query_row(sql, [], |row| row.get::<_, u32>(0));
    connection.close().unwrap();
    let Ok(page) = page else {
        panic!("this build of SQLite cannot say which page is which: {page:?}");
    };
    let mut bytes = std::fs::read(&path).unwrap();
    let at = (page as usize - 1) * 4_096;
    bytes[at..at + 4_096].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let report = repair(&path);
    assert!(report.messages > 900, "{} messages", report.messages);
    assert!(report.quarantined_count > 0);
    assert!(SqliteStore::open(&path, options()).unwrap().check().unwrap().is_clean());
}

#[test]
fn a_store_that_is_open_is_not_repaired() {
    let folder = tempfile::tempdir().unwrap();
    scene(folder.path());
    let path = folder.path().join("ann.db");
    let reader = SqliteStore::open(&path, options()).unwrap();
    reader.load().unwrap();
    let mut quick = options();
    quick.busy_timeout = std::time::Duration::ZERO;
    let refused = SqliteStore::repair(&path, quick, 0, |_, _| Ok(()));
    assert!(matches!(refused, Err(StoreError::Busy)), "{refused:?}");
    assert!(reader.check().unwrap().is_clean());
    drop(reader);
    repair(&path);
}

#[test]
fn a_repair_that_does_not_end_leaves_the_old_store() {
    let folder = tempfile::tempdir().unwrap();
    scene(folder.path());
    let path = folder.path().join("ann.db");
    let before = std::fs::read(&path).unwrap();
    let failed = SqliteStore::repair(&path, options(), 0, |_, _| Err(StoreError::Full));
    assert!(matches!(failed, Err(StoreError::Full)));
    assert_eq!(std::fs::read(&path).unwrap(), before);
    // What it left beside it is in nobody's way.
    repair(&path);
}

#[test]
fn a_changed_id_is_made_again_from_content_and_chain() {
    let folder = tempfile::tempdir().unwrap();
    let (truth, _) = scene(folder.path());
    let path = folder.path().join("ann.db");
    for (group, position) in [(1, 2), (1, 9), (2, 2), (2, 9)] {
        let num = num_at(&path, group, position);
        forge(&path, num, |message| {
            let id = &mut message.as_mut().unwrap().row.id;
            let mut bytes = *id.as_bytes();
            bytes[3] ^= 1;
            *id = MessageId::from_bytes(bytes);
        })
        .unwrap();
    }
    let report = repair(&path);
    assert_eq!(report.quarantined_count, 0, "{report:?}");
    assert_eq!(read(&open(&path, 3).unwrap(), &truth).unwrap().len(), truth.len());
}
