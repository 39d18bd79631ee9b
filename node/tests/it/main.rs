//! Whole nodes: in memory, on SQLite, over memory links and TCP.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod chat;
mod contacts;
mod faults;
mod forward;
mod reading;
mod restart;
mod retention;
mod support;
