//! The folder that runs leave behind.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::batch::Batch;
use super::csv::{self, Rows};
use super::report::report;
use super::spacetime::{as_file, diagram};
use super::{OutputError, runs_csv};
use crate::scenario::Scenario;
use crate::{Detail, Run, Summary};

/// A run is played and drawn if it has at most this many events and frames.
pub const RECORDED: u64 = 100_000;

/// Networks of more nodes are not recorded one by one.
const MAX_NODES: usize = 200;

/// How much of a run is to be kept for the report on it: of small networks everything, of large ones the sums.
#[must_use]
pub fn detail_for(scenario: &Scenario) -> Detail {
    if scenario.nodes.count <= MAX_NODES { Detail::Events { most: RECORDED } } else { Detail::Sums }
}

/// Makes a folder of runs, given one by one in the order of their seeds. What was given is kept if it ends early.
#[derive(Debug)]
pub struct Writer {
    folder: PathBuf,
    tables: Vec<(PathBuf, BufWriter<File>)>,
    deliveries: bool,
    first: Option<Run>,
}

impl Writer {
    /// Makes the folder if there is none. Files of earlier runs in it are replaced. `deliveries.csv` is long, and
    /// written only if `deliveries` says so.
    ///
    /// # Errors
    /// When the folder or a file cannot be made.
    pub fn new(folder: &Path, deliveries: bool) -> Result<Self, OutputError> {
        fs::create_dir_all(folder).map_err(OutputError::file(folder))?;
        let mut tables = Vec::new();
        let names = [
            ("messages.csv", csv::MESSAGES),
            ("links.csv", csv::LINKS),
            ("nodes.csv", csv::NODES),
            ("deliveries.csv", csv::DELIVERIES),
        ];
        for (name, head) in names.into_iter().take(if deliveries { 4 } else { 3 }) {
            let path = folder.join(name);
            let mut file = BufWriter::new(File::create(&path).map_err(OutputError::file(&path))?);
            file.write_all(head.as_bytes()).map_err(OutputError::file(&path))?;
            tables.push((path, file));
        }
        Ok(Self { folder: folder.to_owned(), tables, deliveries, first: None })
    }

    /// The lines of a run for the tables. Apart from [`Writer::add`], so that it can be done on another thread.
    #[must_use]
    pub fn rows(run: &Run, deliveries: bool) -> Vec<String> {
        let rows = Rows::of(run, deliveries);
        vec![rows.messages, rows.links, rows.nodes, rows.deliveries]
    }

    /// Whether `deliveries.csv` is written.
    #[must_use]
    pub const fn has_deliveries(&self) -> bool {
        self.deliveries
    }

    /// Takes the lines of a run ([`Writer::rows`]), and the run itself if it is the first: the report shows that one.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn add(&mut self, rows: &[String], run: Option<Run>) -> Result<(), OutputError> {
        for ((path, file), lines) in self.tables.iter_mut().zip(rows) {
            file.write_all(lines.as_bytes()).map_err(OutputError::file(path.as_path()))?;
        }
        if self.first.is_none() {
            self.first = run;
        }
        Ok(())
    }

    /// Writes everything else.
    ///
    /// # Errors
    /// When a file cannot be written, or a plot not be drawn.
    pub fn finish(mut self, batch: &Batch) -> Result<(), OutputError> {
        for (path, file) in &mut self.tables {
            file.flush().map_err(OutputError::file(path.as_path()))?;
        }
        write(&self.folder, "summary.json", &batch.to_json()?)?;
        let runs = batch.runs.iter().map(|run: &Summary| (&[] as &[String], run));
        write(&self.folder, "runs.csv", &runs_csv(&[], runs))?;
        write(&self.folder, "report.html", &report(batch, self.first.as_ref())?)?;
        match self.first.as_ref().map(diagram) {
            Some(Ok(diagram)) => write(&self.folder, "spacetime.svg", &as_file(&diagram)),
            _ => Ok(()),
        }
    }
}

/// Replaces a file as a whole: who reads it never sees half of it.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<(), OutputError> {
    let path = folder.join(name);
    // Shards may come to their end at the same time.
    let half = folder.join(format!(".{name}.{}", std::process::id()));
    fs::write(&half, text).map_err(OutputError::file(&half))?;
    fs::rename(&half, &path).map_err(OutputError::file(&path))
}
