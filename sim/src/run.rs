//! A run: a pure function of scenario and seed.

use std::path::Path;

use hedgerow_sync_core::EngineError;

use crate::plan::{Plan, PlanError};
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
    mut watch: impl FnMut(f64) -> bool,
) -> Result<Summary, RunError> {
    let plan = Plan::draw(scenario, seed, folder)?;
    let mut world = World::new(scenario, &plan, seed)?;
    let length = plan.length.us().max(1) as f64;
    world.run(|now| watch(now as f64 / length))?;
    Ok(Summary::of(scenario, seed, &world.record))
}
