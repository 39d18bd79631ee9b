//! The files of shards, and what is made of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::vary::grid;
use super::{Shard, SweepError, Vary};
use crate::Summary;
use crate::checks::{Check, Verdict};
use crate::output::{OutputError, Pooled, Stat, merged, runs_csv, sweep_report, totals, write_whole};

pub(super) const FORMAT: &str = "hedgerow-sweep/1";

/// The first line of a part: what the sweep is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) format: String,
    pub(super) build: String,
    pub(super) scenario: String,
    pub(super) question: String,
    pub(super) options: BTreeMap<String, String>,
    pub(super) settings: Vec<String>,
    pub(super) vary: Vec<Vary>,
    pub(super) first_seed: u64,
    pub(super) seeds: u64,
    pub(super) shard: Shard,
}

impl Head {
    /// In what two sweeps differ, shards apart.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        [
            ("the build", self.build == other.build && self.format == other.format),
            ("the scenario", self.scenario == other.scenario && self.options == other.options),
            ("what is varied", self.vary == other.vary),
            ("the seeds", (self.first_seed, self.seeds) == (other.first_seed, other.seeds)),
        ]
        .into_iter()
        .find(|(_, same)| !same)
        .map(|(what, _)| what)
    }
}

/// A line of a part.
#[derive(Debug, Serialize, Deserialize)]
struct Unit {
    unit: u64,
    summary: Summary,
}

/// The file of a shard, open at its end.
pub(super) struct Part {
    path: PathBuf,
    file: File,
    done: BTreeSet<u64>,
}

impl Part {
    /// Goes on where the shard was stopped, or begins.
    pub(super) fn open(folder: &Path, head: &Head) -> Result<Self, SweepError> {
        fs::create_dir_all(folder).map_err(OutputError::file(folder))?;
        for path in part_files(folder)? {
            let (other, _) = read(&path)?;
            if let Some(what) = head.difference(&other) {
                return Err(SweepError::Other { folder: folder.to_owned(), what });
            }
        }
        let name = format!("part-{}-of-{}.jsonl", head.shard.number, head.shard.of);
        let path = folder.join(&name);
        let mut done = BTreeSet::new();
        let mut text = json(head)?;
        if path.exists() {
            // The last line may be half of one. What is whole stays as it is.
            for (unit, line) in read(&path)?.1 {
                done.insert(unit.unit);
                text.push_str(&line);
                text.push('\n');
            }
        }
        write_whole(folder, &name, &text)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(OutputError::file(&path))?;
        Ok(Self { path, file, done })
    }

    /// The units that are in it.
    pub(super) const fn done(&self) -> &BTreeSet<u64> {
        &self.done
    }

    pub(super) fn add(&mut self, unit: u64, summary: &Summary) -> Result<(), SweepError> {
        let line = json(&Unit { unit, summary: summary.clone() })?;
        self.file.write_all(line.as_bytes()).map_err(OutputError::file(&self.path))?;
        Ok(())
    }
}

fn json(value: &impl Serialize) -> Result<String, OutputError> {
    let mut text = serde_json::to_string(value)?;
    text.push('\n');
    Ok(text)
}

fn part_files(folder: &Path) -> Result<Vec<PathBuf>, OutputError> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(OutputError::file(folder))? {
        let path = entry.map_err(OutputError::file(folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("part-") && name.ends_with(".jsonl") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// A part: what it is of, and its units with their lines. A last line without an end is no line.
fn read(path: &Path) -> Result<(Head, Vec<(Unit, String)>), OutputError> {
    let text = fs::read_to_string(path).map_err(OutputError::file(path))?;
    let whole = text.rfind('\n').and_then(|end| text.get(..end)).unwrap_or_default();
    let wrong = |line: usize, error: serde_json::Error| OutputError::Wrong {
        path: path.to_owned(),
        what: format!("line {line} is not one of a sweep: {error}"),
    };
    let mut lines = whole.lines();
    let head = serde_json::from_str(lines.next().unwrap_or_default()).map_err(|error| wrong(1, error))?;
    let units = lines.zip(2..).map(|(line, number)| match serde_json::from_str(line) {
        Ok(unit) => Ok((unit, line.to_owned())),
        Err(error) => Err(wrong(number, error)),
    });
    Ok((head, units.collect::<Result<_, _>>()?))
}

/// The results of a sweep, as they stand in its `summary.json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Swept {
    /// Name of the scenario.
    pub scenario: String,
    /// What question it answers.
    pub question: String,
    /// Version of this software.
    pub build: String,
    /// What was set on the command line for all points.
    pub settings: Vec<String>,
    /// Every key of the scenario with its value, before anything was varied.
    pub options: BTreeMap<String, String>,
    /// What was varied.
    pub vary: Vec<Vary>,
    /// The first seed at each point; the others follow it.
    pub first_seed: u64,
    /// How many seeds each point has.
    pub seeds: u64,
    /// Runs that are not there yet.
    pub missing: u64,
    /// Whether no rule was broken.
    pub passed: bool,
    /// The points, the last key changing fastest.
    pub points: Vec<SweptPoint>,
}

/// The results at one point of a sweep.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SweptPoint {
    /// The value of each key that was varied.
    pub values: Vec<String>,
    /// How many runs there are.
    pub runs: u64,
    /// Whether no rule was broken.
    pub passed: bool,
    /// The rules over its runs.
    pub checks: Vec<Check>,
    /// Each figure over the runs that have it.
    pub totals: BTreeMap<String, Stat>,
    /// The times of its runs together.
    pub pooled: Pooled,
}

/// What a merge found.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Merged {
    /// The results.
    pub swept: Swept,
    /// The rules over all runs.
    pub checks: Vec<Check>,
}

/// Puts together what shards have left in some folders, and writes `summary.json`, `runs.csv` and `report.html` into
/// `out`. Runs may be missing: the results say how many.
///
/// # Errors
/// When the folders have no parts, parts of several sweeps, or parts that contradict each other.
pub fn merge(folders: &[PathBuf], out: &Path) -> Result<Merged, SweepError> {
    let mut first: Option<Head> = None;
    let mut units: BTreeMap<u64, Summary> = BTreeMap::new();
    for folder in folders {
        for path in part_files(folder)? {
            let (head, lines) = read(&path)?;
            if let Some(what) = first.as_ref().and_then(|first| first.difference(&head)) {
                return Err(SweepError::Other { folder: folder.clone(), what });
            }
            first.get_or_insert(head);
            for (Unit { unit, summary }, _) in lines {
                if units.get(&unit).is_some_and(|other| *other != summary) {
                    let what = format!("unit {unit} differs from the same one in another part");
                    return Err(OutputError::Wrong { path, what }.into());
                }
                units.insert(unit, summary);
            }
        }
    }
    let head = first.ok_or_else(|| {
        let names: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        SweepError::Vary(format!("there is nothing of a sweep in {}", names.join(", ")))
    })?;
    let runs: Vec<Summary> = units.values().cloned().collect();
    let checks = merged(&runs);
    let mut points = Vec::new();
    let mut rows: Vec<(Vec<String>, Summary)> = Vec::new();
    for (number, values) in (0_u64..).zip(grid(&head.vary)) {
        let range = number * head.seeds..(number + 1) * head.seeds;
        let runs: Vec<Summary> = units.range(range).map(|(_, summary)| summary.clone()).collect();
        let checks = merged(&runs);
        rows.extend(runs.iter().map(|run| (values.clone(), run.clone())));
        points.push(SweptPoint {
            values,
            runs: runs.len() as u64,
            passed: checks.iter().all(|check| check.verdict != Verdict::Broken),
            checks,
            totals: totals(&runs),
            pooled: Pooled::of(&runs),
        });
    }
    let all = points.len() as u64 * head.seeds;
    let swept = Swept {
        scenario: head.scenario,
        question: head.question,
        build: head.build,
        settings: head.settings,
        options: head.options,
        first_seed: head.first_seed,
        seeds: head.seeds,
        missing: all.saturating_sub(units.len() as u64),
        passed: points.iter().all(|point| point.passed),
        vary: head.vary,
        points,
    };
    fs::create_dir_all(out).map_err(OutputError::file(out))?;
    let mut text = serde_json::to_string_pretty(&swept).map_err(OutputError::from)?;
    text.push('\n');
    write_whole(out, "summary.json", &text)?;
    let keys: Vec<String> = swept.vary.iter().map(|vary| vary.key.clone()).collect();
    let lines = rows.iter().map(|(values, run)| (values.as_slice(), run));
    write_whole(out, "runs.csv", &runs_csv(&keys, lines))?;
    write_whole(out, "report.html", &sweep_report(&swept, &checks).map_err(OutputError::from)?)?;
    Ok(Merged { swept, checks })
}
