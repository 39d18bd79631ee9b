//! Engines on a fake clock.

mod faults;
mod graph;
mod loss;
mod net;
mod sessions;
mod swarm;
