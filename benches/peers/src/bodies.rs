//! Bodies by hash, for what reconciles names only: those that are lacking are asked for, and hashed again where they
//! arrive. On file, what came is appended.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::work::{BATCH, Wire, append};

/// What is held.
#[derive(Debug, Default)]
pub struct Bodies {
    held: HashMap<[u8; 32], Vec<u8>>,
    file: Option<PathBuf>,
}

impl Bodies {
    /// Nothing yet.
    pub fn new(file: Option<PathBuf>) -> Self {
        Self { held: HashMap::new(), file }
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether one is held.
    pub fn has(&self, hash: &[u8; 32]) -> bool {
        self.held.contains_key(hash)
    }

    /// Takes one that was written here.
    pub fn add(&mut self, body: Vec<u8>) -> [u8; 32] {
        let hash = *blake3::hash(&body).as_bytes();
        self.held.insert(hash, body);
        hash
    }

    /// Gets these from the other side.
    pub fn fetch(&mut self, wanted: &[[u8; 32]], other: &Self, wire: &mut Wire) -> Result<()> {
        wire.cross(1, 32 * wanted.len());
        for hashes in wanted.chunks(BATCH) {
            let mut said = Vec::new();
            for hash in hashes {
                let body = other.held.get(hash).context("the other side lacks it too")?;
                said.extend_from_slice(&u32::try_from(body.len())?.to_be_bytes());
                said.extend_from_slice(body);
            }
            let trip = wire.say(0, said.len());
            wire.hear(1, trip);
            let (mut rest, mut count) = (said.as_slice(), 0);
            while let Some((len, after)) = rest.split_first_chunk::<4>() {
                let len = u32::from_be_bytes(*len) as usize;
                let (body, after) = after.split_at_checked(len).context("cut off")?;
                let hash = self.add(body.to_vec());
                ensure!(hashes.get(count) == Some(&hash), "not what was asked for");
                (rest, count) = (after, count + 1);
            }
            if let Some(file) = &self.file {
                append(file, &said)?;
            }
        }
        Ok(())
    }
}
