//! Sweeps: one scenario with several values of some keys, each with several seeds.
//!
//! The work is cut into *units*: one point of the grid with one seed. Units can be spread over threads, and over
//! shards on several machines. Each shard writes a file of its own; [`merge`] makes the results of all of them, which
//! are the same, byte for byte, however the work was spread. What a shard has done is kept when it is stopped: it goes
//! on from there.

mod parts;
mod vary;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use self::parts::{Head, Part};
pub use self::parts::{Merged, Swept, SweptPoint, merge};
pub use self::vary::{Shard, Vary};
use crate::output::{OutputError, full_key, options};
use crate::parallel::in_order;
use crate::record::Ended;
use crate::scenario::{Scenario, ScenarioError, Setting, load};
use crate::{RunError, run};

/// Sweeps of more units are refused.
const MAX_UNITS: u64 = 10_000_000;

/// Why a sweep cannot be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// The scenario is wrong, or a value of a key that is varied.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// What is to be varied makes no sense.
    #[error("{0}")]
    Vary(String),
    /// Files.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The folder holds another sweep.
    #[error("{folder} holds another sweep ({what} differs): name another folder", folder = folder.display())]
    Other {
        /// The folder.
        folder: PathBuf,
        /// What differs.
        what: &'static str,
    },
    /// A run failed.
    #[error("{point}, seed {seed}: {source}")]
    Run {
        /// Which point.
        point: String,
        /// Which seed.
        seed: u64,
        /// Why.
        source: RunError,
    },
}

/// A sweep that can be done.
#[derive(Debug)]
pub struct Sweep {
    folder: PathBuf,
    head: Head,
    points: Vec<(String, Scenario)>,
}

impl Sweep {
    /// Reads the scenario at every point of the grid. A key may be short where only one ends so, as `loss` for
    /// `links.loss`.
    ///
    /// # Errors
    /// When a point is no scenario, or there are more than ten million units.
    pub fn plan(
        file: &Path,
        settings: &[Setting],
        vary: &[Vary],
        first_seed: u64,
        seeds: u64,
    ) -> Result<Self, SweepError> {
        let base = load(file, settings)?;
        let mut varied: Vec<Vary> = Vec::new();
        for one in vary {
            let key = full_key(&base, &one.key).map_err(SweepError::Vary)?;
            if varied.iter().any(|other| other.key == key) {
                return Err(SweepError::Vary(format!("`{key}` is varied twice")));
            }
            varied.push(Vary { key, values: one.values.clone() });
        }
        let count = varied.iter().try_fold(seeds, |count, one| count.checked_mul(one.values.len() as u64));
        if count.is_none_or(|count| count > MAX_UNITS) {
            return Err(SweepError::Vary(format!("these are more than {MAX_UNITS} runs")));
        }
        let mut points = Vec::new();
        for values in vary::grid(&varied) {
            let mut all = settings.to_vec();
            let mut name = Vec::new();
            for (one, value) in varied.iter().zip(&values) {
                let text = format!("{}={value}", one.key);
                all.push(text.parse::<Setting>().map_err(SweepError::Vary)?);
                name.push(text);
            }
            points.push((name.join(" "), load(file, &all)?));
        }
        let head = Head {
            format: parts::FORMAT.to_owned(),
            build: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: base.name.clone(),
            question: base.question.clone(),
            options: options(&base),
            settings: settings.iter().map(ToString::to_string).collect(),
            vary: varied,
            first_seed,
            seeds,
            shard: Shard::default(),
        };
        let folder = file.parent().unwrap_or(Path::new(".")).to_owned();
        Ok(Self { folder, head, points })
    }

    /// What is varied, with full keys.
    #[must_use]
    pub fn vary(&self) -> &[Vary] {
        &self.head.vary
    }

    /// Every key of the scenario with its value, before anything is varied.
    #[must_use]
    pub const fn options(&self) -> &std::collections::BTreeMap<String, String> {
        &self.head.options
    }

    /// Points of the grid, and seeds at each.
    #[must_use]
    pub fn size(&self) -> (usize, u64) {
        (self.points.len(), self.head.seeds)
    }

    /// How many units a shard has.
    #[must_use]
    pub fn units_of(&self, shard: Shard) -> u64 {
        (0..self.units()).filter(|unit| shard.has(*unit)).count() as u64
    }

    fn units(&self) -> u64 {
        // Checked when it was planned.
        self.points.len() as u64 * self.head.seeds
    }

    /// Does the units of a shard that are not done yet, and writes each into the folder as soon as it is done. `done` is
    /// called with the units of the shard that are done, and whether the latest kept the rules. Stops soon after `stop`
    /// is set.
    ///
    /// # Errors
    /// When a run fails, a file cannot be written, or the folder holds another sweep.
    pub fn run(
        &self,
        out: &Path,
        shard: Shard,
        jobs: usize,
        stop: &AtomicBool,
        mut done: impl FnMut(u64, bool),
    ) -> Result<(), SweepError> {
        let head = Head { shard, ..self.head.clone() };
        let mut part = Part::open(out, &head)?;
        let mut count = part.done().len() as u64;
        let left: Vec<u64> =
            (0..self.units()).filter(|unit| shard.has(*unit) && !part.done().contains(unit)).collect();
        done(count, true);
        let work = |number: usize| {
            let unit = left.get(number).copied().unwrap_or_default();
            let seed = self.head.first_seed.wrapping_add(unit % self.head.seeds);
            let point = usize::try_from(unit / self.head.seeds).ok().and_then(|point| self.points.get(point));
            let (name, scenario) = point?;
            let result = run(scenario, seed, &self.folder, |_| !stop.load(Ordering::Relaxed));
            let failed = |source| SweepError::Run { point: name.clone(), seed, source };
            Some((unit, result.map_err(failed)))
        };
        let mut failure = None;
        in_order(jobs, left.len(), work, |_, result| {
            let added = match result {
                Some((unit, Ok(summary))) if summary.ended != Ended::Interrupted => {
                    count += 1;
                    let passed = summary.passed();
                    part.add(unit, &summary).map(|()| done(count, passed))
                }
                Some((_, Err(error))) => Err(error),
                _ => Ok(()),
            };
            if let Err(error) = added {
                failure = Some(error);
                stop.store(true, Ordering::Relaxed);
            }
            !stop.load(Ordering::Relaxed)
        });
        match failure {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}
