//! The part of a check that is about what is held for how long, and on whose account.

use super::{BATCH, Checker, Invariant, Subject};
use crate::store::{MessageRow, MessageState, Snapshot, Store, StoreError};

impl<S: Store> Checker<'_, S> {
    /// Adds a message up, and looks for its author.
    pub(super) fn retention(&mut self, row: &MessageRow) -> Result<(), StoreError> {
        let (weight, bodies) = self.bytes.entry(row.group).or_default();
        *weight = weight.saturating_add(row.weight());
        if row.state == MessageState::Delivered {
            *bodies = bodies.saturating_add(row.body_len.into());
        }
        if row.expires_ms.is_some() && row.state.has_body() {
            self.expiring += 1;
        }
        let Some(num) = row.author else { return Ok(()) };
        let subject = Subject::Message(row.num);
        let home = match self.authors.get(&num) {
            Some(home) => *home,
            None => {
                let author = self.store.author(num);
                let home = self.readable(subject, author)?.flatten().map(|author| author.group);
                self.authors.insert(num, home);
                home
            }
        };
        if home != Some(row.group) {
            self.problem(subject, Invariant::Author, format!("there is no author {} in its group", num.0));
        }
        Ok(())
    }

    /// The list of what expires has every message that does, and no other.
    pub(super) fn expiry_list(&mut self) -> Result<(), StoreError> {
        let mut listed = 0_u64;
        let mut limit = BATCH;
        // The list has no place to go on from, since a reader empties it: it is read again, longer.
        loop {
            let rows = self.store.expiring(i64::MAX, limit);
            let Some(rows) = self.readable(Subject::Store, rows)? else { return Ok(()) };
            let key = |row: &MessageRow| (row.expires_ms, row.num);
            if !rows.is_sorted_by(|a, b| key(a) < key(b))
                || rows.iter().any(|row| row.expires_ms.is_none() || !row.state.has_body())
            {
                self.problem(Subject::Store, Invariant::Lookup, "the list of what expires has others in it");
                return Ok(());
            }
            listed = listed.max(rows.len().try_into().unwrap_or(u64::MAX));
            if rows.len() < limit {
                break;
            }
            limit = limit.saturating_mul(8);
        }
        if listed != self.expiring {
            let detail = format!("{listed} messages are listed to expire, {} do", self.expiring);
            self.problem(Subject::Store, Invariant::Lookup, detail);
        }
        Ok(())
    }

    /// What the groups hold, in the report and in their rows.
    pub(super) fn bytes_held(&mut self, snapshot: &Snapshot) {
        for group in &snapshot.groups {
            let (weight, bodies) = self.bytes.get(&group.num).copied().unwrap_or_default();
            self.report.bytes = self.report.bytes.saturating_add(weight);
            self.report.group_bytes.push((group.id, weight));
            if group.body_bytes != bodies {
                let detail = format!("says {}, its delivered bodies have {bodies}", group.body_bytes);
                self.problem(Subject::Group(group.num), Invariant::BytesHeld, detail);
            }
        }
    }
}
