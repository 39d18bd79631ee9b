//! The fuzz targets on stable: over the seeds in the repository, over damaged copies of them, and over random bytes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hedgerow_tests::fuzz::{TARGETS, Target};
use proptest::prelude::*;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

/// The seeds of a target, by name.
fn seeds(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = folder().join("seeds").join(target);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut seeds: Vec<_> =
        files.map(|file| file.unwrap().path()).map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    seeds.sort();
    seeds
}

fn all_seeds() -> &'static [Vec<Vec<u8>>] {
    static ALL: OnceLock<Vec<Vec<Vec<u8>>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let bytes = |target: &Target| seeds(target.name).into_iter().map(|(_, bytes)| bytes).collect();
        TARGETS.iter().map(bytes).collect()
    })
}

#[test]
fn every_seed_passes() {
    for target in TARGETS {
        let seeds = seeds(target.name);
        assert!(seeds.len() >= 4, "{} has {} seeds", target.name, seeds.len());
        for (path, bytes) in seeds {
            eprintln!("{}", path.display());
            (target.run)(&bytes);
        }
    }
}

#[test]
fn every_target_is_a_program_with_seeds_and_nothing_else_is() {
    let listed: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let found = |what: &str| -> BTreeSet<String> {
        let files = fs::read_dir(folder().join(what)).unwrap();
        files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
    };
    assert_eq!(found("fuzz_targets"), listed);
    assert_eq!(found("seeds"), listed);
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    for name in &listed {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is not built");
    }
    let bytes: usize = all_seeds().iter().flatten().map(Vec::len).sum();
    assert!(bytes < 100_000, "{bytes} bytes of seeds: make them fewer");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn random_bytes_pass(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for target in TARGETS {
            (target.run)(&bytes);
        }
    }

    /// A seed with some bytes altered, cut off or put in, and the tail of another after it.
    #[test]
    fn damaged_seeds_pass(
        at in any::<prop::sample::Index>(),
        other in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4_u8, any::<u8>()), 1..6),
        spliced in any::<bool>(),
    ) {
        for (target, seeds) in TARGETS.iter().zip(all_seeds()) {
            let mut bytes = at.get(seeds).clone();
            for (place, what, byte) in &changes {
                let place = place.index(bytes.len() + 1);
                match what {
                    0 => bytes.insert(place, *byte),
                    1 => bytes.truncate(place.max(1)),
                    _ if place == bytes.len() => bytes.push(*byte),
                    2 => bytes[place] = *byte,
                    _ => drop(bytes.remove(place)),
                }
            }
            if spliced {
                let tail = other.get(seeds);
                bytes.extend_from_slice(&tail[tail.len() / 2..]);
            }
            (target.run)(&bytes);
        }
    }
}
