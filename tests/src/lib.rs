//! Whole-system tests of Hedgerow: real processes, stores, links and faults. The tests are in `tests/it`; `vectors`
//! has the golden vectors of ids and frames, and the independent program that made them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

pub mod crash;
pub mod fuzz;
pub mod model;
pub mod swarm;
