//! The check of a store in SQLite: every invariant of any store, and those of this schema.

use hedgerow_sync_core::StoreError;
use hedgerow_sync_core::store::{self, CheckReport, Invariant, Problem, Subject};

use crate::cache::Cache;
use crate::error::store_error;
use crate::store::SqliteStore;

/// Queries that find rows which nothing leads to, and what is wrong with these.
const ORPHANS: &[(&str, &str)] = &[
    ("a tag names message {}, which is not there", "SELECT num FROM message_tag EXCEPT SELECT num FROM message"),
    (
        "message {} does not have one tag, or has one too early",
        "SELECT message.num FROM message LEFT JOIN (SELECT num, count(*) AS tags FROM message_tag GROUP BY num) AS t
         USING (num) WHERE ifnull(tags, 0) <> (message.num <= (SELECT tagged FROM store))",
    ),
    (
        "the long body of message {} belongs to none that needs it",
        "SELECT body.num FROM body LEFT JOIN message USING (num)
         WHERE message.num IS NULL OR message.body IS NOT NULL OR state NOT IN (1, 2, 3, 4)",
    ),
    (
        "message {} has a body in its row that its state does not have",
        "SELECT num FROM message WHERE body IS NOT NULL AND state NOT IN (1, 2, 3, 4)",
    ),
    (
        "message {} is called a head of a group that it is not in",
        "SELECT head.num FROM head LEFT JOIN message USING (num) WHERE message.grp IS NOT head.grp",
    ),
    (
        "author {} belongs to a group that is not there",
        "SELECT num FROM author WHERE grp NOT IN (SELECT num FROM grp)",
    ),
    (
        "an edge leads from message {}, which is not there",
        "SELECT DISTINCT parent FROM edge WHERE parent NOT IN (SELECT num FROM message)",
    ),
];

impl SqliteStore {
    /// Verifies the store: every invariant of `docs/storage.md`, SQLite's own structures, rows that nothing leads
    /// to. Sees one moment of the store, also while another process writes it. Reads everything once or more.
    ///
    /// # Errors
    /// When the store cannot be read at all; what is damaged is in the report.
    pub fn check(&self) -> Result<CheckReport, StoreError> {
        let alone = self.connection.is_autocommit();
        if alone {
            self.execute("BEGIN", [])?;
        }
        // What is remembered would hide what the file says.
        let cache = self.cache.replace(Cache::new(0));
        let report = self.check_moment();
        self.cache.replace(cache);
        if alone {
            self.execute("COMMIT", [])?;
        }
        report
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
        for (detail, sql) in ORPHANS {
            for num in self.texts(&format!("SELECT CAST(num AS TEXT) FROM ({})", named(sql)))? {
                add(detail.replace("{}", &num));
            }
        }
        Ok(report)
    }

    fn texts(&self, sql: &str) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare(sql).map_err(store_error)?;
        let lines = statement.query_map([], |row| row.get(0)).map_err(store_error)?;
        lines.collect::<Result<_, _>>().map_err(store_error)
    }
}

/// Names the one column of a query `num`, and bounds its rows.
fn named(sql: &str) -> String {
    format!("WITH found (num) AS ({sql}) SELECT num FROM found LIMIT 1000")
}
