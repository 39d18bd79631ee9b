//! Runs a scenario file with some seeds: `cargo run --release -p hedgerow-sim --example run -- FILE [SEEDS] [key=value]…`
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

use std::path::Path;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let file = Path::new(args.first().ok_or("which file?")?);
    let seeds: u64 = args.get(1).map_or(Ok(1), |seeds| seeds.parse())?;
    let settings = args.iter().skip(2).map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?;
    let scenario = hedgerow_sim::scenario::load(file, &settings)?;
    for seed in 0..seeds {
        let folder = file.parent().unwrap_or(Path::new("."));
        let summary = hedgerow_sim::run(&scenario, seed, folder, |_| true)?;
        println!("{}", serde_json::to_string(&summary)?);
    }
    Ok(())
}
