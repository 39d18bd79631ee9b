//! What only a store on a disk has: processes that die, disks that are full, files of others, older schemas.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "sqlite/content.rs"]
mod content;
#[path = "sqlite/damage.rs"]
mod damage;
#[path = "sqlite/dialects.rs"]
mod dialects;
#[path = "sqlite/files.rs"]
mod files;
#[path = "sqlite/kill.rs"]
mod kill;
#[path = "sqlite/migration.rs"]
mod migration;
#[path = "sqlite/repair.rs"]
mod repair;
#[path = "sqlite/tamper.rs"]
mod tamper;
#[path = "sqlite/two.rs"]
mod two;
