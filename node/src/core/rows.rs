//! The rows that the node keeps in the engine's store: name spaces, keys and their forms.
//!
//! | space | key | value |
//! |---|---|---|
//! | `contact` | peer | JSON, a contact |
//! | `waiting` | peer | JSON, a stranger that wants a link |
//! | `foreign` | peer | JSON, a peer of another maker |
//! | `chat` | group | JSON, a group that the node has joined |
//! | `invite` | group | JSON, an invitation that was not accepted yet |
//! | `own` | group | number 8, timestamp 8: the last that was published here |
//! | `author` | group, author | the running numbers of an author |
//! | `name` | group, author | 1 if the author said it, 0 if the creator did; the name |
//! | `index` | group | position up to which the rows above and below are made |
//! | `old` | group, author, last 8 | first 8: numbers of an author that no longer fit into the row above |
//! | `fork` | group, author, number 8 | 1: the author said two things under this number |
//! | `flag` | group, position 8 | 1: the author passed over numbers before this message |
//! | `quarantine` | group, position 8 | id 32, the reason |
//! | `quarantined` | group | how many in all |
//! | `cursor` | group, name | position |
//! | `session` | session 16 | next line 8, time 8, group 32 |

use hedgerow_proto::GroupId;
use hedgerow_sync_core::{Engine, Store};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::NodeError;

pub(crate) const CONTACT: &str = "contact";
pub(crate) const WAITING: &str = "waiting";
pub(crate) const FOREIGN: &str = "foreign";
pub(crate) const CHAT: &str = "chat";
pub(crate) const INVITE: &str = "invite";
pub(crate) const OWN: &str = "own";
pub(crate) const AUTHOR: &str = "author";
pub(crate) const OLD: &str = "old";
pub(crate) const FORK: &str = "fork";
pub(crate) const NAME: &str = "name";
pub(crate) const INDEX: &str = "index";
pub(crate) const FLAG: &str = "flag";
pub(crate) const QUARANTINE: &str = "quarantine";
pub(crate) const QUARANTINED: &str = "quarantined";
pub(crate) const CURSOR: &str = "cursor";
pub(crate) const SESSION: &str = "session";

/// Rows that end when a group is left. What was published under one's own numbers stays, so that no number is used
/// twice if the group is joined again.
pub(crate) const OF_GROUP: [&str; 11] =
    [CHAT, AUTHOR, OLD, FORK, NAME, INDEX, FLAG, QUARANTINE, QUARANTINED, CURSOR, INVITE];

/// Rows that follow from the log of a group alone.
pub(crate) const OF_LOG: [&str; 7] = [AUTHOR, OLD, FORK, INDEX, FLAG, QUARANTINE, QUARANTINED];

/// How many rows are read at a time.
const PAGE: usize = 256;

/// The key of a row that belongs to a group and something in it.
pub(crate) fn key(group: GroupId, rest: &[u8]) -> Vec<u8> {
    [group.as_bytes(), rest].concat()
}

/// Reads a number of eight bytes.
pub(crate) fn number(
    store: &(impl Store + ?Sized),
    space: &'static str,
    key: &[u8],
) -> Result<u64, NodeError> {
    store.value(space, key)?.map_or(Ok(0), |bytes| to_number(space, &bytes))
}

pub(crate) fn to_number(space: &'static str, bytes: &[u8]) -> Result<u64, NodeError> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged(space, "not eight bytes"))
}

pub(crate) fn set_number(
    engine: &mut Engine<impl Store>,
    space: &'static str,
    key: &[u8],
    value: u64,
) -> Result<(), NodeError> {
    Ok(engine.set_value(space, key, Some(&value.to_be_bytes()))?)
}

pub(crate) fn json<T: DeserializeOwned>(space: &'static str, bytes: &[u8]) -> Result<T, NodeError> {
    serde_json::from_slice(bytes).map_err(|error| damaged(space, error))
}

pub(crate) fn get_json<T: DeserializeOwned>(
    store: &(impl Store + ?Sized),
    space: &'static str,
    key: &[u8],
) -> Result<Option<T>, NodeError> {
    store.value(space, key)?.map(|bytes| json(space, &bytes)).transpose()
}

pub(crate) fn set_json(
    engine: &mut Engine<impl Store>,
    space: &'static str,
    key: &[u8],
    value: &impl Serialize,
) -> Result<(), NodeError> {
    let bytes = serde_json::to_vec(value).map_err(|error| damaged(space, error))?;
    Ok(engine.set_value(space, key, Some(&bytes))?)
}

/// Calls `each` with every row of a space whose key begins with `prefix`, ascending, until it says `false`.
pub(crate) fn scan(
    store: &(impl Store + ?Sized),
    space: &'static str,
    prefix: &[u8],
    mut each: impl FnMut(&[u8], &[u8]) -> Result<bool, NodeError>,
) -> Result<(), NodeError> {
    // A prefix alone is no key of a row that is looked for, if it is not empty.
    let mut after = (!prefix.is_empty()).then(|| prefix.to_vec());
    loop {
        let page = store.values(space, after.as_deref(), PAGE)?;
        for (key, value) in &page {
            let Some(rest) = key.strip_prefix(prefix) else { return Ok(()) };
            if !each(rest, value)? {
                return Ok(());
            }
        }
        match page.last() {
            Some((key, _)) if page.len() == PAGE => after = Some(key.clone()),
            _ => return Ok(()),
        }
    }
}

/// Removes every row of a space whose key begins with `prefix`, that one included.
pub(crate) fn remove_all(
    engine: &mut Engine<impl Store>,
    space: &'static str,
    prefix: &[u8],
) -> Result<(), NodeError> {
    engine.set_value(space, prefix, None)?;
    loop {
        let mut keys = Vec::new();
        for (key, _) in engine.values(space, Some(prefix), PAGE)? {
            if key.starts_with(prefix) {
                keys.push(key);
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        for key in keys {
            engine.set_value(space, &key, None)?;
        }
    }
}

pub(crate) fn damaged(what: &'static str, reason: impl std::fmt::Display) -> NodeError {
    NodeError::Damaged { what, reason: reason.to_string() }
}
