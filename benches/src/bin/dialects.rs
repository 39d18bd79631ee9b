//! 10,000 messages of 200 bytes from one engine to an empty one, over each wire, with memory stores: the CPU time of
//! both engines together, and the bytes that crossed, both ways.

use std::process::ExitCode;

use clap::Parser;
use hedgerow_benches::{Failure, Pair};
use hedgerow_sync_core::{LinkProfile, MemoryStore, PushPolicy};

/// Syncs a group of messages to an empty peer over every wire.
#[derive(Debug, Parser)]
struct Options {
    /// How many messages.
    #[arg(long, default_value_t = 10_000)]
    messages: u64,
    /// Length of each body in bytes.
    #[arg(long, default_value_t = 200)]
    size: usize,
    /// How many times each is done; the median counts.
    #[arg(long, default_value_t = 5)]
    times: usize,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// One way to speak, and what the deployed implementation took for 10,000 messages of 200 bytes: CPU seconds, and bytes
/// for each message.
struct Way {
    name: &'static str,
    profile: LinkProfile,
    deployed: Option<(f64, u32)>,
}

fn ways() -> Vec<Way> {
    let way = |name, profile, deployed| Way { name, profile, deployed };
    let mvds = |metadata, push| LinkProfile::mvds(metadata, push);
    vec![
        way("native", LinkProfile::reliable(), None),
        way("mvds batch, parents", mvds(true, PushPolicy::Always), Some((21.5, 316))),
        way("mvds batch", mvds(false, PushPolicy::Always), Some((21.5, 290))),
        way("mvds interactive, parents", mvds(true, PushPolicy::OfferFirst), Some((88.6, 418))),
        way("mvds interactive", mvds(false, PushPolicy::OfferFirst), Some((88.6, 398))),
        way("bsp interactive", LinkProfile::bramble(Some([0; 16])), None),
    ]
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dialects: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Failure> {
    if !options.json {
        println!("{} messages of {} bytes, each after the one before", options.messages, options.size);
        println!(
            "{:26} {:>8} {:>10} {:>10} {:>7}   deployed (Go)",
            "wire", "CPU ms", "bytes", "a message", "x body"
        );
    }
    for way in ways() {
        let mut times = Vec::with_capacity(options.times);
        let mut bytes = 0;
        for _ in 0..options.times.max(1) {
            let mut pair = Pair::over(MemoryStore::new(), MemoryStore::new(), way.profile.clone())?;
            pair.publish(options.messages, options.size, 1000)?;
            let before = cpu_ns()?;
            let cost = pair.sync(&mut |_| {})?;
            times.push(cpu_ns()? - before);
            if cost.delivered != options.messages {
                return Err(format!("{}: {} arrived", way.name, cost.delivered).into());
            }
            bytes = cost.bytes;
        }
        times.sort_unstable();
        let cpu_ms = to_f64(times.get(times.len() / 2).copied().unwrap_or(0)) / 1e6;
        let each = to_f64(bytes) / to_f64(options.messages.max(1));
        let times_body = each / to_f64(options.size.max(1) as u64);
        if options.json {
            let name = way.name;
            println!("{}", serde_json::json!({ "wire": name, "cpu_ms": cpu_ms, "bytes": bytes }));
            continue;
        }
        let deployed = match way.deployed {
            Some((seconds, each)) => format!("{seconds} CPU s, {each} bytes a message"),
            None => "-".to_owned(),
        };
        println!("{:26} {cpu_ms:8.1} {bytes:10} {each:10.1} {times_body:7.3}   {deployed}", way.name);
    }
    Ok(())
}

/// The CPU time of this thread, in ns.
fn cpu_ns() -> Result<u64, Failure> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    Ok(stat.split_whitespace().next().ok_or("no CPU time")?.parse()?)
}

#[allow(clippy::cast_precision_loss)]
fn to_f64(n: u64) -> f64 {
    n as f64
}
