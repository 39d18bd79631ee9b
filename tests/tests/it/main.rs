//! Processes that meet on the loopback: killed, cut off, fed with nonsense. No test asserts how long anything takes; each
//! waits for what must come, within a bound that only a fault exceeds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod bad_input;
mod bad_links;
mod contacts;
mod control;
mod crash;
mod demo;
mod disk_errors;
mod full_disk;
mod interop;
mod kill;
mod migration;
mod proxy;
mod relay;
mod repair;
mod retention;
mod secrets;
mod stores;
mod support;
