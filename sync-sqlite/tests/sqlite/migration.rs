//! Stores of older schemas are opened, brought up to date, and sound.

use hedgerow_sync_core::Store as _;
use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::{Direction, MessageNum, MessageRow, MessageState};
use hedgerow_sync_sqlite::{Options, SqliteStore};

use crate::content::{assert_clean, head, write_batch};

/// A store of schema 1, as text: 8 delivered messages, and two of each of the other states.
const V1: &str = include_str!("v1.sql");

/// The same store in schema 2, with a value.
const V2: &str = include_str!("v2.sql");

/// The same store in schema 3: the first delivered message has an author and expires, the group has a cap.
const V3: &str = include_str!("v3.sql");

fn schema(path: &std::path::Path) -> Vec<(String, String)> {
    let connection = rusqlite::Connection::open(path).unwrap();
    let sql = "SELECT name, ifnull(sql, '') FROM sqlite_schema ORDER BY name";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn a_store_of_schema_1_is_brought_up_to_date() {
    bring_up_to_date(V1);
}

#[test]
fn a_store_of_schema_2_is_brought_up_to_date() {
    let path = bring_up_to_date(V2);
    let store = SqliteStore::open(&path.path().join("store.db"), Options::default()).unwrap();
    assert_eq!(store.value("cursor", b"old").unwrap(), Some(b"v".to_vec()));
}

#[test]
fn a_store_of_schema_3_is_brought_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(V3).unwrap();
    let mut store = SqliteStore::open(&path, Options::default()).unwrap();
    assert_clean(&store);
    let group = store.load().unwrap().groups.remove(0);
    assert_eq!(group.max_bytes, Some(1_000_000));
    let expiring = store.expiring(4, 9).unwrap();
    let author = store.author(expiring[0].author.unwrap()).unwrap().unwrap();
    assert_eq!((expiring.len(), expiring[0].state, author.key), (1, MessageState::Delivered, [0; 32]));
    write_batch(&mut store, 40, 300).unwrap();
    store.commit().unwrap();
    assert_eq!((head(&store), store.page(group.num, None, Direction::Forward, 99).unwrap().len()), (48, 48));
    assert_clean(&store);
}

/// Everything that the rows of messages said is said by the blocks.
#[test]
fn no_field_of_a_message_is_lost_on_the_way_from_schema_3() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let old = rusqlite::Connection::open(&path).unwrap();
    old.execute_batch(V3).unwrap();
    // Late ones, and numbers that are not in use any more.
    old.execute_batch(
        "UPDATE message SET eff = eff + 100000, lead = lead + 100000 WHERE position = 2;
         DELETE FROM edge; DELETE FROM message WHERE state = 2;",
    )
    .unwrap();
    let sql =
        "SELECT num, grp, state, position, eff, lead, height, chain, ifnull(origin, -1), delay, body_len,
        missing, reason, id_head, ifnull(author, -1), ifnull(expires, -1), lower(hex(id_tail)),
        lower(hex(ifnull(message.body, ifnull(body.body, x''))))
        FROM message LEFT JOIN body USING (num) ORDER BY num";
    let mut statement = old.prepare(sql).unwrap();
    let read = |row: &rusqlite::Row<'_>| {
        let numbers: Vec<i64> = (0..16).map(|column| row.get(column).unwrap()).collect();
        Ok((numbers, row.get::<_, String>(16).unwrap(), row.get::<_, String>(17).unwrap()))
    };
    let before: Vec<_> = statement.query_map([], read).unwrap().map(Result::unwrap).collect();
    drop(statement);
    drop(old);

    let store = SqliteStore::open(&path, Options::default()).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let rows = store.scan(MessageNum(0), 99).unwrap();
    let after = rows.iter().map(|row| {
        let (head, tail) = row.id.as_bytes().split_first_chunk::<4>().unwrap();
        let numbers = [
            row.num.0 as i64,
            row.group.0.into(),
            row.state as i64,
            row.position as i64,
            row.eff_ms,
            row.eff_ms - row.timestamp_ms,
            row.height as i64,
            row.chain as i64,
            row.origin.map_or(-1, |peer| peer.0.into()),
            row.arrived.0 as i64 - row.timestamp_ms,
            row.body_len.into(),
            row.missing.into(),
            row.reason.into(),
            i64::from((u32::from_be_bytes(*head) ^ (1 << 31)) as i32),
            row.author.map_or(-1, |author| author.0.into()),
            row.expires_ms.unwrap_or(-1),
        ];
        let body = store.content(row.num).map(|content| content.unwrap().body.unwrap_or_default());
        (numbers.to_vec(), hex(tail), hex(&body.unwrap_or_default()))
    });
    assert_eq!(after.collect::<Vec<_>>(), before);
    assert!(rows.len() < 16);
    for row in rows.iter().filter(|row| row.position > 0) {
        assert_eq!(store.at(row.group, row.position).unwrap().as_ref(), Some(row));
    }
    let page = store.page(rows[0].group, None, Direction::Forward, 99).unwrap();
    assert_eq!((page.len(), page.last().map(|row| row.position)), (8, Some(2)));
    assert!(page.is_sorted_by_key(MessageRow::key));
}

fn bring_up_to_date(old: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    rusqlite::Connection::open(&path).unwrap().execute_batch(old).unwrap();
    // Reading alone cannot bring it up to date.
    let error = SqliteStore::open_read_only(&path, Options::default()).unwrap_err();
    assert!(matches!(error, StoreError::Backend(_)) && error.to_string().contains("older schema"), "{error}");

    let mut store = SqliteStore::open(&path, Options::default()).unwrap();
    assert_clean(&store);
    let report = store.check().unwrap();
    assert_eq!((report.messages, report.delivered, report.waiting, report.invalid), (16, 8, 2, 2));
    assert_eq!(head(&store), 8);
    assert_eq!(store.load().unwrap().install, Some(7));
    assert_eq!(store.in_state(MessageState::Early, MessageNum(0), 9).unwrap().len(), 2);
    // What schema 3 brought: nothing is known of what was there before, but what it weighs.
    let group = store.load().unwrap().groups.remove(0);
    let rows = store.scan(MessageNum(0), 99).unwrap();
    assert!(rows.iter().all(|row| (row.author, row.expires_ms) == (None, None)));
    let bodies = rows.iter().filter(|row| row.state == MessageState::Delivered);
    assert_eq!(group.body_bytes, bodies.map(|row| u64::from(row.body_len)).sum::<u64>());
    assert_eq!(group.max_bytes, None);
    let author = store.add_author(group.num, &[1; 32]).unwrap();
    let row = rows.into_iter().find(|row| row.state == MessageState::Delivered).unwrap();
    store.update(&MessageRow { author: Some(author), expires_ms: Some(5), ..row }).unwrap();
    // What schema 2 brought, and what was there before.
    store.set_value("cursor", b"k", Some(b"v")).unwrap();
    write_batch(&mut store, 4, 2_000).unwrap();
    store.commit().unwrap();
    drop(store);
    let store = SqliteStore::open(&path, Options::default()).unwrap();
    assert_eq!(store.value("cursor", b"k").unwrap(), Some(b"v".to_vec()));
    assert_eq!(head(&store), 12);
    assert_eq!(store.expiring(5, 9).unwrap().len(), 1);
    assert_clean(&store);
    drop(store);

    let new = folder.path().join("new.db");
    drop(SqliteStore::open(&new, Options::default()).unwrap());
    assert_eq!(schema(&path), schema(&new));
    folder
}
