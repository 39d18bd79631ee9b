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

pub mod plan;
mod random;
mod record;
mod run;
pub mod scenario;
mod summary;
pub mod units;
mod world;

pub use run::{RunError, run};
pub use summary::{Check, Summary, Times};
