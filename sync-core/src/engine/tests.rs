//! Engines on a fake clock.

mod faults;
mod graph;
mod links;
mod loss;
mod retention;
mod room;
mod sessions;
mod swarm;
