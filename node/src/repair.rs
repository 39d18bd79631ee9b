//! A home whose store is damaged gets a new one of what is sound in it.

use std::time::{SystemTime, UNIX_EPOCH};

use hedgerow_proto::GroupId;
use hedgerow_sync_core::store::{KeyValue, RepairReport};
use hedgerow_sync_core::{Config, Store, StoreError};
use hedgerow_sync_sqlite::{Options, Repaired, SqliteStore};

use crate::core::{ChatRow, rows};
use crate::home::Home;

/// How many rows are read at a time.
const PAGE: usize = 256;

/// Makes a new store of what is sound in that of a home, if it is damaged, and puts it in its place; the damaged one is
/// kept beside it. `None`, and nothing is changed, if its check finds nothing wrong.
///
/// What was left behind is fetched again from the contacts that have it. Where the delivery order of a chat is no longer
/// what it was, its readers go on at the last position up to which it is: they may be given messages again, and miss
/// none. A chat whose group cannot be verified is left. Blocks on the disk.
///
/// # Errors
/// As [`SqliteStore::repair`]; the store is as it was then.
pub fn repair_store(home: &Home) -> Result<Option<Repaired>, StoreError> {
    let path = home.store_path();
    // It may be too damaged to be opened or checked.
    match SqliteStore::open(&path, Options::default()).and_then(|store| store.check()) {
        Ok(report) if report.is_clean() => return Ok(None),
        Ok(_) | Err(StoreError::Corrupt(_)) => {}
        Err(error) => return Err(error),
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let skew_ms = i64::try_from(Config::default().max_clock_skew_ms).unwrap_or(i64::MAX);
    SqliteStore::repair(&path, Options::default(), now_ms.saturating_add(skew_ms), settle).map(Some)
}

/// Brings the node's own rows in line with the logs that they follow.
fn settle(store: &mut SqliteStore, report: &RepairReport) -> Result<(), StoreError> {
    for (key, row) in all(store, rows::CHAT, &[])? {
        let Ok(id) = GroupId::try_from(key.as_slice()) else { continue };
        let Some(group) = report.groups.iter().find(|group| group.id == id) else {
            for space in rows::OF_GROUP {
                remove(store, space, id)?;
            }
            continue;
        };
        for (key, position) in all(store, rows::CURSOR, id.as_bytes())? {
            let position = <[u8; 8]>::try_from(position.as_slice()).map_or(u64::MAX, u64::from_be_bytes);
            if position > group.unchanged_to {
                store.set_value(rows::CURSOR, &key, Some(&group.unchanged_to.to_be_bytes()))?;
            }
        }
        if group.unchanged_to == group.head && group.head == group.old_head {
            continue;
        }
        // What follows from the log is made again from its beginning.
        for space in rows::OF_LOG {
            remove(store, space, id)?;
        }
        if let Ok(mut row) = serde_json::from_slice::<ChatRow>(&row)
            && row.unjudged_to > group.unchanged_to
        {
            // What was delivered without having been judged may stand further on: each is judged when it is read.
            row.unjudged_to = u64::MAX;
            let row = serde_json::to_vec(&row).map_err(|error| StoreError::Backend(Box::new(error)))?;
            store.set_value(rows::CHAT, &key, Some(&row))?;
        }
    }
    Ok(())
}

/// The rows of a space whose key begins with `prefix`.
fn all(store: &SqliteStore, space: &str, prefix: &[u8]) -> Result<Vec<KeyValue>, StoreError> {
    let mut all = Vec::new();
    if !prefix.is_empty() {
        all.extend(store.value(space, prefix)?.map(|value| (prefix.to_vec(), value)));
    }
    let mut after = (!prefix.is_empty()).then(|| prefix.to_vec());
    loop {
        let page = store.values(space, after.as_deref(), PAGE)?;
        let Some((last, _)) = page.last() else { return Ok(all) };
        after = Some(last.clone());
        let read = page.len();
        all.extend(page.into_iter().take_while(|(key, _)| key.starts_with(prefix)));
        if read < PAGE || !after.as_ref().is_some_and(|key| key.starts_with(prefix)) {
            return Ok(all);
        }
    }
}

fn remove(store: &mut SqliteStore, space: &str, group: GroupId) -> Result<(), StoreError> {
    for (key, _) in all(store, space, group.as_bytes())? {
        store.set_value(space, &key, None)?;
    }
    Ok(())
}
