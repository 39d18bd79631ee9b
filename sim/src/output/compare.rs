//! Several results side by side.

use std::fs;
use std::path::{Path, PathBuf};

use super::OutputError;
use super::batch::Batch;
use super::html::Page;
use super::metrics::METRICS;
use super::plot::{Axis, Bar, Line, PlotError, bars as bars_of, lines};
use super::report::{rules, steps};
use super::show::{Unit, whole};
use crate::Times;

type TimesOf = fn(&Batch) -> &Times;

/// Results of [`Writer`](super::Writer) side by side.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Compared {
    /// The names of the results, in front of them an empty one for the names of the figures.
    pub heads: Vec<String>,
    /// The figures: its name, and its value in each result.
    pub rows: Vec<Vec<String>>,
    /// The scenario keys in which they differ: the key, and its value in each result.
    pub differences: Vec<Vec<String>>,
    /// The results.
    pub batches: Vec<Batch>,
}

/// Reads the results in these folders.
///
/// # Errors
/// When one has none.
pub fn compare(folders: &[PathBuf]) -> Result<Compared, OutputError> {
    let batches = folders.iter().map(|folder| read(folder)).collect::<Result<Vec<_>, _>>()?;
    let names = folders.iter().map(|folder| folder.display().to_string());
    let heads: Vec<String> = std::iter::once(String::new()).chain(names).collect();
    let mut rows = vec![
        row("scenario", &batches, |batch| batch.scenario.clone()),
        row("runs", &batches, |batch| whole(batch.runs.len() as u64)),
        row("build", &batches, |batch| batch.build.clone()),
        row("rules", &batches, |batch| if batch.passed { "hold" } else { "BROKEN" }.to_owned()),
    ];
    for metric in METRICS.iter().filter(|metric| batches.iter().any(|b| b.totals.contains_key(metric.key))) {
        rows.push(row(metric.name, &batches, |batch| match batch.totals.get(metric.key) {
            None => "–".to_owned(),
            Some(stat) if stat.count > 1 && stat.sd > 0.0 => {
                format!("{} ± {}", metric.unit.show(stat.mean), metric.unit.show(stat.sd))
            }
            Some(stat) => metric.unit.show(stat.mean),
        }));
    }
    let mut keys: Vec<&String> = batches.iter().flat_map(|batch| batch.options.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let value = |batch: &Batch, key: &str| batch.options.get(key).cloned().unwrap_or_else(|| "–".to_owned());
    let differences = keys
        .iter()
        .filter(|key| {
            let mut values = batches.iter().map(|batch| batch.options.get(**key));
            let first = values.next();
            values.any(|other| Some(other) != first)
        })
        .map(|key| row(key, &batches, |batch| value(batch, key)))
        .collect();
    Ok(Compared { heads, rows, differences, batches })
}

fn row(name: &str, batches: &[Batch], of: impl Fn(&Batch) -> String) -> Vec<String> {
    std::iter::once(name.to_owned()).chain(batches.iter().map(of)).collect()
}

fn read(folder: &Path) -> Result<Batch, OutputError> {
    let path = if folder.is_dir() { folder.join("summary.json") } else { folder.to_owned() };
    let text = fs::read_to_string(&path).map_err(OutputError::file(&path))?;
    serde_json::from_str(&text).map_err(|error| OutputError::Wrong {
        path,
        what: format!("this is not the summary of `sim run`: {error}"),
    })
}

impl Compared {
    /// The page that shows them.
    ///
    /// # Errors
    /// When a plot cannot be drawn.
    pub fn to_html(&self) -> Result<String, PlotError> {
        let mut page = Page::new("Side by side");
        let names: Vec<&str> = self.heads.iter().skip(1).map(String::as_str).collect();
        page.table(&self.heads, &self.rows);
        if !self.differences.is_empty() {
            page.heading("In what the scenarios differ");
            page.table(&self.heads, &self.differences);
        }
        page.heading("Latency");
        page.begin_figures();
        let kinds: [(&str, TimesOf); 4] = [
            ("Delivered", |batch| &batch.pooled.delivery),
            ("Delivered to all", |batch| &batch.pooled.delivery_to_all),
            ("Stored", |batch| &batch.pooled.storing),
            ("Acknowledged", |batch| &batch.pooled.acknowledgement),
        ];
        for (title, of) in kinds {
            let all: Vec<Line> = names
                .iter()
                .zip(&self.batches)
                .map(|(name, batch)| Line {
                    name: (*name).to_owned(),
                    points: steps(of(batch)),
                    ..Line::default()
                })
                .collect();
            let values = self.batches.iter().flat_map(|batch| of(batch).cdf.iter().map(|(ms, _)| *ms));
            let x = Axis::new("time since the message was written", Unit::Ms).log_for(values);
            let y = Axis { up_to: Some(1.0), ..Axis::new("share of all", Unit::Share) };
            page.figure(title, lines(&x, &y, &all)?, &names, "");
        }
        page.end_figures();
        page.heading("Figures");
        page.begin_figures();
        for metric in &METRICS {
            let bars: Vec<Bar> = names
                .iter()
                .zip(&self.batches)
                .enumerate()
                .filter_map(|(n, (name, batch))| {
                    let value = batch.totals.get(metric.key)?.mean;
                    Some(Bar { name: (*name).to_owned(), parts: vec![(n, value)] })
                })
                .collect();
            if bars.len() > 1 {
                page.figure(metric.name, bars_of(&Axis::new("", metric.unit), &bars)?, &[], "");
            }
        }
        page.end_figures();
        for (name, batch) in names.iter().zip(&self.batches).filter(|(_, batch)| !batch.passed) {
            page.heading(&format!("Rules of {name}"));
            rules(&mut page, &batch.checks);
        }
        Ok(page.finish())
    }
}
