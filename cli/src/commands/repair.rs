//! `repair`: a new store of what is sound in a damaged one.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use hedgerow::{Home, NodeError, Repaired, Role, repair_store};
use serde::Serialize;

use crate::error::CliError;
use crate::output::{Output, on_one_line};

/// What `repair` prints.
#[derive(Debug, Serialize)]
struct RepairItem {
    /// Whether a new store was made; else nothing was wrong, and nothing was changed.
    repaired: bool,
    /// Where the damaged store is kept.
    kept: Option<String>,
    /// Copied.
    messages: u64,
    values: u64,
    groups: Vec<GroupItem>,
    /// Left behind in the damaged store.
    quarantined_count: u64,
    /// The first thousand.
    quarantined: Vec<LeftItem>,
}

#[derive(Debug, Serialize)]
struct GroupItem {
    id: String,
    old_head: u64,
    head: u64,
    unchanged_to: u64,
}

#[derive(Debug, Serialize)]
struct LeftItem {
    what: String,
    id: Option<String>,
    why: String,
}

pub(super) fn repair(path: &Path, output: Output) -> Result<(), CliError> {
    let home = Home::open(path, Role::Command, Duration::ZERO)?;
    let repaired = repair_store(&home).map_err(NodeError::from)?;
    output.item(&RepairItem::new(repaired), |item| {
        let RepairItem { kept, messages, values, quarantined_count, .. } = item;
        let Some(kept) = kept else { return "the store is in order, nothing was changed".to_owned() };
        let mut text = format!(
            "{messages} messages and {values} values copied, {quarantined_count} left behind in {}",
            on_one_line(kept)
        );
        for LeftItem { what, id, why } in &item.quarantined {
            let id = id.as_deref().unwrap_or("-");
            let _ = write!(text, "\n  {what} ({id}): {}", on_one_line(why));
        }
        text
    })
}

impl RepairItem {
    fn new(repaired: Option<Repaired>) -> Self {
        let kept = repaired.as_ref().map(|repaired| repaired.kept.display().to_string());
        let report = repaired.map(|repaired| repaired.report).unwrap_or_default();
        let group = |group: &hedgerow::RepairedGroup| GroupItem {
            id: group.id.to_string(),
            old_head: group.old_head,
            head: group.head,
            unchanged_to: group.unchanged_to,
        };
        let left = |left: hedgerow::LeftBehind| LeftItem {
            what: left.what,
            id: left.id.map(|id| id.to_string()),
            why: left.why,
        };
        Self {
            repaired: kept.is_some(),
            kept,
            messages: report.messages,
            values: report.values,
            groups: report.groups.iter().map(group).collect(),
            quarantined_count: report.quarantined_count,
            quarantined: report.quarantined.into_iter().map(left).collect(),
        }
    }
}
