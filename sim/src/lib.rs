//! Simulates Hedgerow networks: the real engine, byte for byte, in virtual time.
//!
//! A run is a pure function of a [`Scenario`](scenario::Scenario) and a seed:
//!
//! ```
//! use std::path::Path;
//!
//! let text = r#"
//!     name = "pair"
//!     stop = { after = "1 min", when_delivered = true }
//!     nodes = { count = 2 }
//!     links = { loss = 0.5, carrier = "datagram", mtu = "1200 B" }
//!     workload = [{ kind = "burst", from = [0], count = 1, size = "200 B" }]
//! "#;
//! let scenario = hedgerow_sim::scenario::load_text(text, Path::new("pair.toml"), &[])?;
//! let summary = hedgerow_sim::run(&scenario, 7, Path::new("."), |_| true)?;
//! assert_eq!(summary.delivery_ratio, 1.0);
//! assert_eq!(summary, hedgerow_sim::run(&scenario, 7, Path::new("."), |_| true)?);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`run_with`] gives everything that came of a run: its [`Plan`](plan::Plan), its [`Record`](record::Record) and its
//! [`Summary`]. All of them are written with serde, and are the same, byte for byte, on every machine.

pub mod checks;
pub mod oracle;
pub mod output;
pub mod parallel;
pub mod plan;
mod random;
pub mod record;
mod run;
pub mod scenario;
mod summary;
pub mod sweep;
pub mod units;
mod world;

pub use run::{Detail, Run, RunError, doublecheck, run, run_with};
pub use summary::{Convergence, Fairness, Parking, Spread, StateMemory, Summary, Times, jain};
