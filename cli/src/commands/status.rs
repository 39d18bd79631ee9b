//! `status` and `check`: how things stand.

use std::fmt::Write as _;

use serde_json::Value;

use crate::access::Access;
use crate::error::CliError;
use crate::items::CheckItem;
use crate::output::{Output, on_one_line};
use crate::request::Request;

pub(super) async fn check(access: &Access, output: Output) -> Result<(), CliError> {
    let report: CheckItem = access.ask_one(Request::Check {}).await?;
    output.item(&report, |report| {
        let CheckItem { messages, delivered, bytes, groups, peers, problem_count, .. } = report;
        let mut text = format!(
            "{messages} messages, {delivered} delivered, {bytes} bytes, {groups} groups, {peers} peers: "
        );
        match problem_count {
            0 => text.push_str("the store is in order"),
            count => {
                let _ = write!(text, "{count} problems");
                report.problems.iter().for_each(|problem| text.extend(["\n", &on_one_line(problem)]));
            }
        }
        text
    })?;
    match report.clean {
        true => Ok(()),
        false => Err(CliError::NotClean(report.problem_count)),
    }
}

pub(super) async fn status(access: &Access, output: Output) -> Result<(), CliError> {
    // Printed as it comes, so that a field of a newer daemon is not lost.
    let status: Value = access.ask_one(Request::Status {}).await?;
    output.item(&status, text)
}

fn text(status: &Value) -> String {
    let word = |value: &Value, field: &str| match value.get(field) {
        Some(Value::String(text)) => on_one_line(text),
        Some(Value::Null) | None => "-".to_owned(),
        Some(other) => other.to_string(),
    };
    let list = |field: &str| status.get(field).and_then(Value::as_array).into_iter().flatten();
    let mut text = format!("{}  {}", word(status, "peer_id"), word(status, "name"));
    for address in list("listening") {
        let _ = write!(text, "\n  listens at {}", on_one_line(address.as_str().unwrap_or_default()));
    }
    let _ = write!(text, "\n  {} strangers wait", word(status, "waiting"));
    let _ = write!(text, "\n  {} bytes of {} held", word(status, "bytes"), word(status, "max_bytes"));
    let mut columns = |title: &str, rows: &str, fields: &[&str]| {
        let mut any = false;
        for row in list(rows) {
            if !any {
                let _ = write!(text, "\n{title}");
                any = true;
            }
            text.push_str("\n ");
            for field in fields {
                let _ = write!(text, " {field} {}", word(row, field));
            }
        }
    };
    columns(
        "groups",
        "groups",
        &[
            "name",
            "kind",
            "held",
            "delivered",
            "missing",
            "waiting",
            "heads",
            "invalid",
            "pruned",
            "gaps",
            "bytes",
            "max_bytes",
        ],
    );
    columns(
        "peers in groups",
        "peers",
        &["peer", "group_name", "acked", "in_flight", "requested", "settled", "connected"],
    );
    columns("links", "links", &["peer_id", "address", "ready", "reliable", "round_trip_ms"]);
    text
}
