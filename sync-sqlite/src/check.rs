//! The check of a store in SQLite: every invariant of any store, and those of this schema.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::{
    self, CheckReport, GroupNum, Invariant, MessageNum, MessageRow, MessageState, Problem, Subject,
};

use crate::block::Entry;
use crate::cache::Cache;
use crate::error::{corrupt, store_error};
use crate::log::{Log, late_key};
use crate::small::message_num;
use crate::store::{Phase, SqliteStore};

/// How many problems of a kind are listed.
const LISTED: usize = 1_000;
/// After how many steps of SQLite's machine it is asked whether a check is to go on.
const STEPS_BETWEEN_LOOKS: i32 = 1_000;

impl SqliteStore {
    /// Verifies the store: every invariant of `docs/storage.md`, SQLite's own structures, rows that nothing leads
    /// to. Sees one moment of the store, also while another process writes it. Reads everything once or more.
    ///
    /// # Errors
    /// When the store cannot be read at all; what is damaged is in the report.
    pub fn check(&self) -> Result<CheckReport, StoreError> {
        self.at_one_moment(|store| {
            // What is remembered would hide what the file says.
            store.log().flush(&store.connection)?;
            let log = store.log.replace(Log::new(store.tags.clone(), false));
            let cache = store.cache.replace(Cache::new(0));
            let report = store.check_moment();
            store.cache.replace(cache);
            store.log.replace(log);
            report
        })
    }

    /// The same, given up with `None` as soon as `goes_on` says no. It is asked every so many steps of SQLite, thousands of
    /// times a second: for a check beside a writer, whose log cannot be started over before the check ends.
    ///
    /// # Errors
    /// As [`check`](Self::check).
    pub fn check_while(
        &self,
        mut goes_on: impl FnMut() -> bool + Send + 'static,
    ) -> Result<Option<CheckReport>, StoreError> {
        // Not later: a write that is interrupted takes its whole transaction with it.
        self.log().flush(&self.connection)?;
        let given_up = Arc::new(AtomicBool::new(false));
        let seen = given_up.clone();
        let stop =
            move || seen.load(Ordering::Relaxed) || (!goes_on() && !seen.swap(true, Ordering::Relaxed));
        self.connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(stop)).map_err(store_error)?;
        let report = self.check();
        self.connection.progress_handler(0, None::<fn() -> bool>).map_err(store_error)?;
        if !given_up.load(Ordering::Relaxed) {
            return report.map(Some);
        }
        // The end of the moment was interrupted too.
        if self.phase == Phase::ReadOnly && !self.connection.is_autocommit() {
            self.execute("ROLLBACK", [])?;
        }
        Ok(None)
    }

    fn check_moment(&self) -> Result<CheckReport, StoreError> {
        let mut report = store::check(self)?;
        let mut add = |detail| {
            report.add(Problem { subject: Subject::Store, invariant: Invariant::Storage, detail });
        };
        for line in self.texts("PRAGMA integrity_check")? {
            if line != "ok" {
                add(line);
            }
        }
        for table in self.texts("SELECT \"table\" FROM pragma_foreign_key_check")? {
            add(format!("a row of {table} refers to what is not there"));
        }
        for detail in self.strays()? {
            add(detail);
        }
        Ok(report)
    }

    /// Rows that nothing leads to, and lists that do not say what the messages do.
    fn strays(&self) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        // By number: its state and whether its body is long.
        let mut states: Vec<(MessageNum, u8)> = Vec::new();
        let mut expected = Expected::default();
        let walked = self.each_block(0, |block| {
            for entry in block.entries() {
                let Entry { row, body, .. } = entry?;
                let long = row.state.has_body() && body.is_none();
                states.push((row.num, row.state as u8 | if long { LONG } else { 0 }));
                expected.unsettled += u64::from(row.state != MessageState::Delivered);
                expected.expiring += u64::from(row.state.has_body() && row.expires_ms.is_some());
                expected.placed += u64::from(row.state.is_delivered());
            }
            Ok(true)
        });
        match walked {
            // That is a problem of its own, and the rest would be many more.
            Err(StoreError::Corrupt(what)) => return Ok(vec![what]),
            walked => walked?,
        }
        let state = |num: MessageNum| {
            let at = states.binary_search_by_key(&num, |state| state.0).ok()?;
            states.get(at).map(|state| state.1)
        };
        self.stray_tags(&states, &mut found)?;
        let nums = |sql: &str| self.list(sql, [], |row| message_num(row, 0));
        for num in nums("SELECT num FROM body")? {
            if state(num).is_none_or(|state| state & LONG == 0) {
                found.push(format!("the long body of message {} belongs to none that needs it", num.0));
            }
        }
        let sql = "SELECT num, grp FROM head";
        for (num, group) in
            self.list(sql, [], |row| Ok((message_num(row, 0)?, row.get(1).map_err(store_error)?)))?
        {
            if self.message(num)?.is_none_or(|row| row.group != GroupNum(group)) {
                found.push(format!("message {} is called a head of a group that it is not in", num.0));
            }
        }
        for author in self.texts("SELECT num FROM author WHERE grp NOT IN (SELECT num FROM grp)")? {
            found.push(format!("author {author} belongs to a group that is not there"));
        }
        for num in nums("SELECT DISTINCT parent FROM edge")? {
            if state(num).is_none() {
                found.push(format!("an edge leads from message {}, which is not there", num.0));
            }
        }
        // What the lists have is what the messages say: the check of any store has read each of them. Nor more.
        for (table, expected) in [("unsettled", expected.unsettled), ("expiry", expected.expiring)] {
            let count = self.count(&format!("SELECT count(*) FROM {table}"))?;
            if count != expected {
                found.push(format!("the list {table} has {count} messages instead of {expected}"));
            }
        }
        self.stray_places(expected.placed, &mut found)?;
        found.truncate(LISTED);
        Ok(found)
    }

    fn stray_tags(&self, states: &[(MessageNum, u8)], found: &mut Vec<String>) -> Result<(), StoreError> {
        let tagged = self.count("SELECT tagged FROM store")?;
        let mut tags = vec![0_u8; states.len()];
        for num in self.list("SELECT num FROM message_tag", [], |row| message_num(row, 0))? {
            let at = states.binary_search_by_key(&num, |state| state.0).ok();
            match at.and_then(|at| tags.get_mut(at)) {
                Some(tags) => *tags = tags.saturating_add(1),
                None => found.push(format!("a tag names message {}, which is not there", num.0)),
            }
        }
        for ((num, _), tags) in states.iter().zip(&tags) {
            let expected = u8::from(num.0 <= tagged);
            if *tags != expected {
                let num = num.0;
                found.push(format!("message {num} has {tags} tags instead of {expected}"));
            }
        }
        Ok(())
    }

    /// The rows of positions: whose place is taken, which messages are main ones, which are late.
    fn stray_places(&self, expected: u64, found: &mut Vec<String>) -> Result<(), StoreError> {
        let (mut placed, mut late) = (0_u64, 0_u64);
        let groups =
            self.list("SELECT DISTINCT grp FROM place", [], |row| row.get(0).map_err(store_error))?;
        for group in groups.into_iter().map(GroupNum) {
            let (mut top, mut last) = (0, None);
            let mut places = Vec::new();
            self.log().each_place(&self.connection, group, &mut |_, part, place| {
                places.push((part, place));
                Ok(())
            })?;
            for (part, place) in places {
                for (position, stand) in place.stands(part) {
                    placed += 1;
                    late += u64::from(stand.late);
                    let row = self.message(MessageNum(stand.num))?;
                    let Some(row) = row.filter(|row| (row.group, row.position) == (group, position)) else {
                        found
                            .push(format!("message {} is not at {position} of group {}", stand.num, group.0));
                        continue;
                    };
                    if stand.late && !self.is_late(&row)? {
                        found.push(format!("message {} is not among the late ones", stand.num));
                    }
                    if !stand.late {
                        if last.is_some_and(|last| last >= row.key()) {
                            found.push(format!("message {} is late and not called so", stand.num));
                        }
                        (top, last) = (position, Some(row.key()));
                    }
                }
                if place.top != top {
                    found.push(format!("row {part} of positions of group {} has a wrong top", group.0));
                }
            }
        }
        for (what, count, expected) in
            [("have a place", placed, expected), ("are late", self.count("SELECT count(*) FROM late")?, late)]
        {
            if count != expected {
                found.push(format!("{count} messages {what} instead of {expected}"));
            }
        }
        Ok(())
    }

    fn is_late(&self, row: &MessageRow) -> Result<bool, StoreError> {
        let sql =
            "SELECT 1 FROM late WHERE grp = ?1 AND eff = ?2 AND height = ?3 AND id_head = ?4 AND num = ?5";
        let mut statement = self.connection.prepare_cached(sql).map_err(store_error)?;
        statement.exists(late_key(row)?).map_err(store_error)
    }

    fn count(&self, sql: &str) -> Result<u64, StoreError> {
        let count: i64 = self.connection.query_row(sql, [], |row| row.get(0)).map_err(store_error)?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    fn texts(&self, sql: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare(sql).map_err(store_error)?;
        let mut rows = statement.query([]).map_err(store_error)?;
        let mut texts = Vec::new();
        while let Some(row) = rows.next().map_err(store_error)? {
            texts.push(match row.get_ref(0).map_err(store_error)? {
                rusqlite::types::ValueRef::Integer(n) => n.to_string(),
                value => value.as_str().map_err(|error| corrupt(error.to_string()))?.to_owned(),
            });
        }
        Ok(texts)
    }
}

/// A flag beside a state: the message has a body of its own row.
const LONG: u8 = 0x80;

/// What the messages say of the lists.
#[derive(Debug, Default)]
struct Expected {
    unsettled: u64,
    expiring: u64,
    placed: u64,
}
