//! An exhaustive check of the engine: every state that two or three peers can reach within stated budgets.
//!
//! [`records`] checks the pure function of one peer and one message. [`explore`] checks the whole engine: the world
//! is two or three real engines on their stores, the frames between them, and how much of each fault was used up;
//! a breadth-first search visits every state, checks what must always hold, and runs from each what a fair network
//! would do. `docs/checking.md` says what that proves and what it leaves out.
//!
//! Engines are values and deterministic, so one that was seen before need not run again: each distinct engine is
//! kept once, and what it does on an input is looked up. A world is a few numbers.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::cast_possible_truncation)]

mod actions;
mod fair;
mod frames;
mod liar;
mod node;
pub mod records;
mod report;
mod safety;
mod scenario;
mod search;
mod table;
mod world;

pub use report::{Breach, Report, Stopped};
pub use scenario::{Budgets, Post, Sabotage, Scenario, catalogue};
pub use search::{Options, explore};

#[cfg(test)]
mod tests;
