//! Swarms: random networks of engines, on all kinds of links, to which everything happens that happens to devices,
//! drawn from a seed.
//!
//! A seed has a *safety phase*: random steps, and after every step no store is unsound, nothing is delivered twice or
//! before a parent, nothing is lost that was acknowledged, and nothing grows beyond its limit. Then it has a *liveness
//! phase*: a random core of the honest nodes is healed, and must come to hold the same messages in the same order, and
//! fall silent.

mod checks;
mod heal;
mod liar;
mod options;
mod report;
mod retention;
mod run;
mod steps;
mod store;
mod trace;
mod world;

pub use options::{Deed, Happening, Judging, LinkOptions, Options};
pub use report::explain;
pub use run::{Failed, Outcome, Setup, options_of, run_seed, smallest_prefix};
pub use store::{Sabotage, StoreKind, SwarmStore};
pub use world::{BODY_MARK, Stats};

#[cfg(test)]
mod tests;
