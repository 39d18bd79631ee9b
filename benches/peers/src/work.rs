//! What is to be done, what it took, and how that is measured.

use std::path::PathBuf;

use anyhow::{Context, Result};
use cpu_time::ProcessTime;
use serde::{Deserialize, Serialize};

/// Length of a body, in bytes.
pub const SIZE: usize = 200;
/// After so many messages a receiver makes what came durable.
pub const BATCH: usize = 1000;

/// Where messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Kept {
    /// Nowhere else.
    Memory,
    /// In a file, durable when the contact is over.
    File,
}

/// One side has `messages`, the other all but the last `missing` of them, from a contact before this one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Work {
    /// How many messages.
    pub messages: usize,
    /// How many of them are new to the other side.
    pub missing: usize,
    /// Where they are kept.
    pub kept: Kept,
}

impl Work {
    /// What both had before.
    pub fn before(&self) -> usize {
        self.messages - self.missing
    }
}

/// What it took until the other side had everything.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// CPU time of both sides, all threads, in ms.
    pub cpu_ms: f64,
    /// Bytes both ways.
    pub bytes: u64,
    /// One-way trips one after the other: half of this are round trips.
    pub trips: u32,
    /// The most memory that the process held meanwhile, both sides, in MiB.
    pub peak_mib: f64,
}

/// A body: bytes that do not compress and differ for each `n`.
pub fn body(n: usize) -> Vec<u8> {
    let mut state = (n as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(SIZE + 8);
    while bytes.len() < SIZE {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(SIZE);
    bytes
}

/// Counts what crosses between two sides. Whoever says something has heard what came before, so that the longest chain
/// of such is how many trips it took, whatever the order in which the two run here.
#[derive(Debug, Default, Clone, Copy)]
pub struct Wire {
    bytes: u64,
    heard: [u32; 2],
    trips: u32,
}

impl Wire {
    /// Side `from` says so many bytes; the result goes with them.
    pub fn say(&mut self, from: usize, bytes: usize) -> u32 {
        self.bytes += bytes as u64;
        self.heard[from] + 1
    }

    /// Side `to` hears what was said with `trip`.
    pub fn hear(&mut self, to: usize, trip: u32) {
        self.heard[to] = self.heard[to].max(trip);
        self.trips = self.trips.max(trip);
    }

    /// Both at once.
    pub fn cross(&mut self, from: usize, bytes: usize) {
        let trip = self.say(from, bytes);
        self.hear(1 - from, trip);
    }
}

/// Measures this process from now on.
#[derive(Debug)]
pub struct Meter {
    cpu: ProcessTime,
}

impl Meter {
    /// Begins.
    pub fn start() -> Result<Self> {
        // What was needed to get here does not count.
        std::fs::write("/proc/self/clear_refs", "5").context("the peak cannot be set back")?;
        Ok(Self { cpu: ProcessTime::try_now()? })
    }

    /// Ends.
    pub fn stop(self, wire: &Wire) -> Result<Outcome> {
        let cpu_ms = self.cpu.try_elapsed()?.as_secs_f64() * 1e3;
        Ok(Outcome { cpu_ms, bytes: wire.bytes, trips: wire.trips, peak_mib: peak_mib()? })
    }
}

fn peak_mib() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kib: f64 = line.split_whitespace().next().context("no VmHWM")?.parse()?;
    Ok(kib / 1024.0)
}

/// A folder of this run for files, which goes with the value.
pub fn folder() -> Result<(tempfile::TempDir, PathBuf)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().to_owned();
    Ok((folder, path))
}

/// What a file holds is in its place when this returns.
pub fn append(path: &std::path::Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    Ok(())
}
