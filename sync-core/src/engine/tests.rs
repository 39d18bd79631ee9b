//! Engines on a fake clock.

mod answers;
mod asked_again;
mod chains;
mod dialects;
mod failing;
mod faults;
mod graph;
mod in_step;
mod known;
mod linear;
mod links;
mod loss;
mod one_way;
mod other_groups;
mod overtaken;
mod questions;
mod reconcile;
mod rejoined;
mod repeats;
mod retention;
mod room;
mod sessions;
mod short_ids;
mod unasked;
mod wire;
