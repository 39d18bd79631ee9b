//! Peers that lie, flood and withhold, against real engines: each test is something that such a peer cannot do.
//!
//! Time is virtual. Counts are smaller than the full ones in a plain `cargo test`; the full ones are tests that are
//! ignored: `cargo test --release -p hedgerow-tests --test adversaries -- --ignored`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod deep;
mod fair;
mod flood;
mod lies;
mod links;
mod quota;
mod support;
mod wire;
