//! `sim list`, `sim new` and `sim schema`.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use hedgerow_sim::output::{OutputError, plain};
use hedgerow_sim::scenario::load;
use serde_json::json;

use super::width;
use crate::error::CliError;
use crate::output::Output;

/// What `sim new` writes.
pub(super) const STARTER: &str = include_str!("starter.toml");

pub(super) fn list(folder: &Path, output: Output) -> Result<(), CliError> {
    let failed = |source| OutputError::File { path: folder.to_owned(), source };
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|end| end == "toml") {
            files.push(path);
        }
    }
    files.sort();
    let mut rows = Vec::new();
    let mut wrong = None;
    for file in &files {
        match load(file, &[]) {
            Ok(scenario) if output.is_json() => output.json(&json!({
                "file": file, "name": scenario.name, "question": scenario.question, "nodes": scenario.nodes.count,
            }))?,
            Ok(scenario) => rows.push(vec![
                file.display().to_string(),
                scenario.nodes.count.to_string(),
                scenario.question,
            ]),
            Err(error) => {
                if !output.is_json() {
                    rows.push(vec![file.display().to_string(), "–".to_owned(), format!("WRONG: {error}")]);
                }
                wrong.get_or_insert(error);
            }
        }
    }
    if !output.is_json() {
        let heads = ["scenario", "nodes", "question"].map(str::to_owned);
        output.text(&plain(&heads, &rows, width()))?;
    }
    match wrong {
        Some(error) => Err(error.into()),
        None => Ok(()),
    }
}

pub(super) fn new(name: &str, output: Output) -> Result<(), CliError> {
    let path = PathBuf::from(if name.ends_with(".toml") { name.to_owned() } else { format!("{name}.toml") });
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if stem.is_empty() || !stem.chars().all(plain) {
        return Err(CliError::Usage(format!(
            "{name}: names of scenarios have letters, digits, `-`, `_` and `.`"
        )));
    }
    let made = OpenOptions::new().write(true).create_new(true).open(&path);
    let made = made.and_then(|mut file| file.write_all(STARTER.replace("NAME", stem).as_bytes()));
    made.map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => CliError::Usage(format!("{} is there already", path.display())),
        _ => OutputError::File { path: path.clone(), source }.into(),
    })?;
    output.item(&json!({ "file": path }), |_| {
        format!("written  {0}\nrun it   hedgerow sim run {0} --seeds 10 --out {stem}-results", path.display())
    })
}

pub(super) fn schema(output: Output) -> Result<(), CliError> {
    let schema = hedgerow_sim::scenario::schema();
    output.item(&schema, |schema| format!("{schema:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_starter_runs() {
        let text = STARTER.replace("NAME", "mine");
        let scenario = hedgerow_sim::scenario::load_text(&text, Path::new("mine.toml"), &[]).unwrap();
        assert_eq!(scenario.name, "mine");
        let summary = hedgerow_sim::run(&scenario, 1, Path::new("."), |_| true).unwrap();
        assert!(summary.passed() && summary.delivered > 0, "{summary:?}");
    }
}
