//! `sim compare`.

use std::path::{Path, PathBuf};

use hedgerow_sim::output::{OutputError, compare as compared, plain};
use serde_json::json;

use super::width;
use crate::error::CliError;
use crate::output::Output;

pub(super) fn compare(folders: &[PathBuf], out: Option<&Path>, output: Output) -> Result<(), CliError> {
    let all = compared(folders)?;
    if let Some(out) = out {
        let html = all.to_html().map_err(OutputError::from)?;
        let path = out.join("report.html");
        std::fs::create_dir_all(out)
            .and_then(|()| std::fs::write(&path, html))
            .map_err(|source| OutputError::File { path, source })?;
    }
    if output.is_json() {
        for (folder, batch) in folders.iter().zip(&all.batches) {
            output.json(&json!({
                "folder": folder, "scenario": batch.scenario, "build": batch.build, "first_seed": batch.first_seed,
                "runs": batch.runs.len(), "passed": batch.passed, "totals": batch.totals, "pooled": batch.pooled,
            }))?;
        }
        return Ok(());
    }
    let width = width();
    output.text(&plain(&all.heads, &all.rows, width))?;
    if !all.differences.is_empty() {
        let heads: Vec<String> =
            std::iter::once("differs".to_owned()).chain(all.heads.iter().skip(1).cloned()).collect();
        output.text(&plain(&heads, &all.differences, width))?;
    }
    if let Some(out) = out {
        output.text(&format!("\nwritten  {}", out.join("report.html").display()))?;
    }
    Ok(())
}
