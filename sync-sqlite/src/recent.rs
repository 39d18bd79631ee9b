//! Finding messages by id: the latest in memory, the others through `message_tag`.
//!
//! Tags are random, so that each new one is on another page of its table, and a commit would write one page for
//! each message. Therefore the tags of the latest messages are not written one by one: they are in memory, made
//! again from the rows when the store is opened, and go into the table some thousands at a time, in order.

use std::collections::HashMap;

use hedgerow_proto::MessageId;
use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::{MessageNum, MessageRow};

use crate::error::{corrupt, store_error};
use crate::rows::signed;
use crate::small::message_num;
use crate::store::{Phase, SqliteStore};

/// The messages whose tags are not in the table.
#[derive(Default)]
pub(crate) struct Recent {
    nums: HashMap<MessageId, MessageNum>,
    /// SQLite's count of the commits of others when this was read.
    version: i64,
}

impl SqliteStore {
    /// The number of a message, if it is one of the latest.
    pub(crate) fn recent_num(&self, id: &MessageId) -> Result<Option<MessageNum>, StoreError> {
        if self.phase == Phase::ReadOnly {
            self.follow_writer()?;
        }
        Ok(self.recent.borrow().nums.get(id).copied())
    }

    /// A message that is none of the latest.
    pub(crate) fn find_by_tag(&self, id: &MessageId) -> Result<Option<MessageRow>, StoreError> {
        let sql = "SELECT num FROM message_tag WHERE tag = ?1";
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        let mut rows = statement.query([self.tags.tag(id)]).map_err(store_error)?;
        while let Some(row) = rows.next().map_err(store_error)? {
            let found = self.message(message_num(row, 0)?)?;
            if found.is_some_and(|row| row.id == *id) {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Another process writes: what is recent changes with each of its commits.
    fn follow_writer(&self) -> Result<(), StoreError> {
        let version = self.read_data_version()?;
        if self.recent.borrow().version != version {
            self.read_recent(version)?;
        }
        Ok(())
    }

    /// Reads the recent messages from their rows.
    pub(crate) fn read_recent(&self, version: i64) -> Result<(), StoreError> {
        let sql = "SELECT tagged FROM store";
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        let tagged: i64 = statement.query_row([], |row| row.get(0)).map_err(store_error)?;
        let tagged = u64::try_from(tagged).map_err(|_| corrupt("a message has a negative number"))?;
        let mut nums = HashMap::new();
        self.each_block(tagged.saturating_add(1), |block| {
            for entry in block.entries() {
                let row = entry?.row;
                if row.num.0 > tagged {
                    nums.insert(row.id, row.num);
                }
            }
            Ok(true)
        })?;
        *self.recent.borrow_mut() = Recent { nums, version };
        Ok(())
    }

    /// A message was inserted: it is found by its id from now on.
    pub(crate) fn note_id(&self, row: &MessageRow) -> Result<(), StoreError> {
        let mut recent = self.recent.borrow_mut();
        recent.nums.insert(row.id, row.num);
        if recent.nums.len() < self.max_recent {
            return Ok(());
        }
        let mut tags: Vec<_> = recent.nums.drain().map(|(id, num)| (self.tags.tag(&id), num)).collect();
        // In the order of the table, so that each page is visited once.
        tags.sort_unstable();
        let sql = "INSERT INTO message_tag VALUES (?1, ?2)";
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        for (tag, num) in tags {
            statement.execute((tag, signed(num.0, "message number")?)).map_err(store_error)?;
        }
        let tagged = signed(row.num.0, "message number")?;
        self.execute("UPDATE store SET tagged = ?1", [tagged]).map(drop)
    }

    /// A message was removed: it is not found any more.
    pub(crate) fn forget_id(&self, row: &MessageRow) -> Result<(), StoreError> {
        if self.recent.borrow_mut().nums.remove(&row.id).is_some() {
            return Ok(());
        }
        let num = signed(row.num.0, "message number")?;
        let sql = "DELETE FROM message_tag WHERE tag = ?1 AND num = ?2";
        self.execute(sql, (self.tags.tag(&row.id), num)).map(drop)
    }
}
