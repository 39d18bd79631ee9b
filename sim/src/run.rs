//! A run: a pure function of scenario and seed.

use std::path::Path;

use hedgerow_sync_core::EngineError;
use serde::Serialize;

use crate::oracle;
use crate::plan::{Plan, PlanError};
use crate::record::Record;
use crate::scenario::Scenario;
use crate::summary::Summary;
use crate::world::World;

/// Why a run gave no figures.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Nothing can be planned for this scenario.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An engine failed. With memory stores that is a fault of the engine.
    #[error("an engine failed: {0}")]
    Engine(#[from] EngineError),
    /// Two runs of one scenario and seed differ. That is a fault of the simulator or of the engine.
    #[error("two runs with seed {seed} differ: {first}")]
    Differs {
        /// The seed.
        seed: u64,
        /// The first difference, in words.
        first: String,
    },
}

/// How much of a run is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Detail {
    /// Messages, deliveries, acknowledgements, and sums of everything else.
    #[default]
    Sums,
    /// Also everything one by one ([`Log`](crate::record::Log)), up to so many events and frames. Each takes about
    /// 300 bytes of memory.
    Events {
        /// Events and frames that are kept. How many more there were is counted.
        most: u64,
    },
}

/// A run and all that came of it.
#[derive(Debug, Serialize)]
#[non_exhaustive]
pub struct Run {
    /// What was run.
    pub scenario: Scenario,
    /// With which seed.
    pub seed: u64,
    /// What was drawn before it began.
    pub plan: Plan,
    /// What happened.
    pub record: Record,
    /// The figures.
    pub summary: Summary,
}

/// Runs a scenario with a seed. `folder` is where files that the scenario names are; `watch` is called now and then
/// with the part of the time that is over (0 to 1), and stops the run by returning `false`.
///
/// # Errors
/// When the scenario is impossible, or an engine fails.
pub fn run(
    scenario: &Scenario,
    seed: u64,
    folder: &Path,
    watch: impl FnMut(f64) -> bool,
) -> Result<Summary, RunError> {
    Ok(run_with(scenario, seed, folder, Detail::Sums, watch)?.summary)
}

/// The same, with everything that came of it.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    scenario: &Scenario,
    seed: u64,
    folder: &Path,
    detail: Detail,
    mut watch: impl FnMut(f64) -> bool,
) -> Result<Run, RunError> {
    let plan = Plan::draw(scenario, seed, folder)?;
    let length = plan.length.us().max(1) as f64;
    let mut world = World::new(scenario, &plan, seed, detail)?;
    world.run(|now| watch(now as f64 / length))?;
    let record = world.record;
    let best = scenario.oracle.then(|| oracle::best(&plan, scenario, &record));
    let summary = Summary::of(scenario, seed, &record, best);
    Ok(Run { scenario: scenario.clone(), seed, plan, record, summary })
}

/// Runs a scenario twice and compares everything that is recorded, byte for byte.
///
/// # Errors
/// As [`run`]; and when the two differ.
pub fn doublecheck(
    scenario: &Scenario,
    seed: u64,
    folder: &Path,
    detail: Detail,
    mut watch: impl FnMut(f64) -> bool,
) -> Result<Run, RunError> {
    let one = run_with(scenario, seed, folder, detail, |part| watch(part / 2.0))?;
    let two = run_with(scenario, seed, folder, detail, |part| watch(0.5 + part / 2.0))?;
    let text = |run: &Run| serde_json::to_vec(run).map_err(|error| error.to_string());
    match (text(&one), text(&two)) {
        (Ok(first), Ok(second)) if first == second => Ok(one),
        (Ok(first), Ok(second)) => {
            let at = first.iter().zip(&second).take_while(|(a, b)| a == b).count();
            let around = |text: &[u8]| {
                let part = text.get(at.saturating_sub(60)..(at + 60).min(text.len())).unwrap_or_default();
                String::from_utf8_lossy(part).into_owned()
            };
            let first = format!("at byte {at} of the record: …{}… and …{}…", around(&first), around(&second));
            Err(RunError::Differs { seed, first })
        }
        (Err(error), _) | (_, Err(error)) => Err(RunError::Differs { seed, first: error }),
    }
}
