//! A large group: publish, sync to an empty peer, read back. Prints what each step took, the bytes that crossed,
//! and the peak memory.

use std::fmt::Debug;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use hedgerow_benches::{Failure, Pair};
use hedgerow_sync_core::{MemoryStore, Store};
use hedgerow_sync_sqlite::SqliteStore;
use indicatif::{ProgressBar, ProgressStyle};

/// Publishes many messages in one group, syncs them to an empty peer, and reads them back.
#[derive(Debug, Parser)]
struct Options {
    /// How many messages.
    #[arg(long, default_value_t = 100_000)]
    messages: u64,
    /// Length of each body in bytes.
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// How many messages are published in one transaction.
    #[arg(long, default_value_t = 1000)]
    batch: u64,
    /// Where the stores are.
    #[arg(long, value_enum, default_value_t = Kind::Sqlite)]
    store: Kind,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Memory,
    Sqlite,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let result = match options.store {
        Kind::Memory => run(&options, MemoryStore::new(), MemoryStore::new(), None),
        Kind::Sqlite => sqlite(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("large: {error}");
            ExitCode::FAILURE
        }
    }
}

fn sqlite(options: &Options) -> Result<(), Failure> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("b.db");
    let a = SqliteStore::open(&folder.path().join("a.db"), Default::default())?;
    let b = SqliteStore::open(&path, Default::default())?;
    run(options, a, b, Some(&path))
}

fn run<S: Store + Debug>(
    options: &Options,
    a: S,
    b: S,
    file: Option<&std::path::Path>,
) -> Result<(), Failure> {
    let count = options.messages;
    let bar = if options.json { ProgressBar::hidden() } else { ProgressBar::new(count) };
    bar.set_style(ProgressStyle::with_template("{msg:10} {wide_bar} {pos}/{len}")?);
    let mut pair = Pair::new(a, b)?;

    bar.set_message("publishing");
    let publish = timed(|| Ok(pair.publish(count, options.size, options.batch)?))?.1;
    bar.set_message("syncing");
    let (cost, sync) = timed(|| pair.sync(&mut |delivered| bar.set_position(delivered)))?;
    bar.finish_and_clear();
    let (bytes, read) = timed(|| Ok(pair.read_back()?))?;

    let body_bytes = count * options.size as u64;
    if cost.delivered != count || bytes != body_bytes {
        return Err(format!(
            "{} of {count} messages and {bytes} of {body_bytes} bytes arrived",
            cost.delivered
        )
        .into());
    }
    let disk = file.and_then(|path| std::fs::metadata(path).ok()).map(|meta| meta.len());
    let per_message = |seconds: f64| seconds * 1e6 / to_f64(count.max(1));
    if options.json {
        println!(
            "{}",
            serde_json::json!({
                "messages": count, "body_bytes": body_bytes, "wire_bytes": cost.bytes, "frames": cost.frames,
                "publish_s": publish, "sync_s": sync, "read_s": read, "peak_rss_kib": peak_kib(), "disk_bytes": disk,
            })
        );
        return Ok(());
    }
    println!("{count} messages of {} bytes", options.size);
    println!("publish    {publish:8.3} s   {:8.2} us each", per_message(publish));
    println!("sync       {sync:8.3} s   {:8.2} us each", per_message(sync));
    println!("read back  {read:8.3} s   {:8.2} us each", per_message(read));
    println!(
        "wire       {} bytes in {} frames, {:.4} x the bodies",
        cost.bytes,
        cost.frames,
        to_f64(cost.bytes) / to_f64(body_bytes.max(1))
    );
    if let Some(disk) = disk {
        println!("disk       {disk} bytes, {:.3} x the bodies", to_f64(disk) / to_f64(body_bytes.max(1)));
    }
    if let Some(kib) = peak_kib() {
        println!("peak       {} MiB for both sides", kib / 1024);
    }
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, f64), Failure> {
    let start = Instant::now();
    let value = work()?;
    Ok((value, start.elapsed().as_secs_f64()))
}

#[allow(clippy::cast_precision_loss)]
fn to_f64(n: u64) -> f64 {
    n as f64
}

/// The most memory that the process held, where the system tells.
fn peak_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
