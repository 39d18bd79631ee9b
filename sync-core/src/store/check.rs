//! Verifies every invariant of a store, whichever it is. `docs/storage.md` in the repository numbers and explains
//! them; [`Invariant`] names them.

mod edges;
mod groups;
mod messages;
mod numset;
mod report;
mod retention;

use std::collections::BTreeMap;

use self::numset::NumSet;
pub use self::report::{CheckReport, Invariant, Problem, Subject};
use super::{
    AuthorNum, GroupNum, GroupRow, MessageNum, MessageRow, MessageState, Snapshot, Store, StoreError,
};

/// How many rows are read at a time.
const BATCH: usize = 512;

/// Reads a whole store and verifies it. What is broken stands in the report; the first thousand problems are
/// listed, all are counted. Memory does not grow with the bodies: it takes some bits for each message, and the
/// small rows. Costs a handful of lookups for each message.
///
/// # Errors
/// When the store cannot be read. Rows that it refuses as damaged ([`StoreError::Corrupt`]) are problems in the
/// report instead.
pub fn check<S: Store>(store: &S) -> Result<CheckReport, StoreError> {
    let snapshot = store.load()?;
    let groups = snapshot.groups.iter().map(|group| (group.num, group.clone())).collect();
    let mut checker = Checker {
        store,
        groups,
        report: CheckReport::default(),
        walked: NumSet::default(),
        parents: NumSet::default(),
        heads: NumSet::default(),
        expected_edges: 0,
        bytes: BTreeMap::new(),
        expiring: 0,
        authors: BTreeMap::new(),
    };
    checker.run(&snapshot)?;
    Ok(checker.report)
}

/// One run of [`check`].
struct Checker<'a, S> {
    store: &'a S,
    groups: BTreeMap<GroupNum, GroupRow>,
    report: CheckReport,
    /// Messages that the delivery order of their group leads to.
    walked: NumSet,
    /// Messages that a delivered message depends on.
    parents: NumSet,
    /// Messages that the store calls heads.
    heads: NumSet,
    /// How many edges the dependencies of the rows ask for.
    expected_edges: u64,
    /// What the messages of each group count for, and the bytes of its delivered bodies.
    bytes: BTreeMap<GroupNum, (u64, u64)>,
    /// How many messages with a body expire.
    expiring: u64,
    /// The group of each author that was looked up.
    authors: BTreeMap<AuthorNum, Option<GroupNum>>,
}

impl<S: Store> Checker<'_, S> {
    fn run(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.small_rows(snapshot);
        for group in &snapshot.groups {
            self.delivery_order(group)?;
            self.canonical_order(group)?;
            self.head_list(group)?;
        }
        self.each_message(Self::message)?;
        // Only now is it known who has delivered children.
        self.each_message(Self::is_head_as_listed)?;
        self.edges()?;
        self.state_lists()?;
        self.expiry_list()?;
        self.bytes_held(snapshot);
        Ok(())
    }

    fn each_message(
        &mut self,
        mut look: impl FnMut(&mut Self, &MessageRow) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut after = MessageNum(0);
        loop {
            let batch = self.store.scan(after, BATCH);
            let Some(rows) = self.readable(Subject::Store, batch)? else { return Ok(()) };
            let Some(last) = rows.last() else { return Ok(()) };
            if !ascends(after, &rows) {
                self.problem(Subject::Message(after), Invariant::Lookup, "the scan after it does not ascend");
                return Ok(());
            }
            after = last.num;
            for row in &rows {
                look(self, row)?;
            }
        }
    }

    /// The lists by state and the rows agree in number and state.
    fn state_lists(&mut self) -> Result<(), StoreError> {
        for code in 0..=u8::MAX {
            let Some(state) = MessageState::from_code(code) else { break };
            let mut after = MessageNum(0);
            let mut listed = 0_u64;
            loop {
                let batch = self.store.in_state(state, after, BATCH);
                let Some(rows) = self.readable(Subject::Store, batch)? else { break };
                let Some(last) = rows.last() else { break };
                if !ascends(after, &rows) || rows.iter().any(|row| row.state != state) {
                    let detail =
                        format!("the list of {state:?} after it is out of order or has others in it");
                    self.problem(Subject::Message(after), Invariant::Lookup, detail);
                    break;
                }
                after = last.num;
                listed = listed.saturating_add(rows.len().try_into().unwrap_or(u64::MAX));
            }
            let counted = self.report.in_state(state);
            if listed != counted {
                let detail = format!("{listed} messages are listed as {state:?}, {counted} are");
                self.problem(Subject::Store, Invariant::Lookup, detail);
            }
        }
        Ok(())
    }

    fn problem(&mut self, subject: Subject, invariant: Invariant, detail: impl Into<String>) {
        self.report.add(Problem { subject, invariant, detail: detail.into() });
    }

    /// What was read, or `None` and a problem if the store says that it is damaged.
    fn readable<T>(
        &mut self,
        subject: Subject,
        answer: Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        match answer {
            Ok(value) => Ok(Some(value)),
            Err(StoreError::Corrupt(what)) => {
                self.problem(subject, Invariant::Readable, what);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Whether rows come by number, each after the one before it: else reading on could go in a circle.
fn ascends(after: MessageNum, rows: &[MessageRow]) -> bool {
    rows.first().is_some_and(|first| first.num > after) && rows.is_sorted_by(|a, b| a.num < b.num)
}

#[cfg(test)]
mod tests;
