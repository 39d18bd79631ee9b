//! The arguments of `hedgerow sim`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use hedgerow_sim::sweep::{Shard, Vary};
use hedgerow_sim::units::{Share, Span};

#[derive(Debug, Subcommand)]
pub(crate) enum SimCommand {
    /// Runs a scenario, and shows what came of it; exit code 1 if a rule was broken
    Run(RunArgs),
    /// Runs a scenario with several values of some keys; can be stopped, and goes on where it was
    Sweep(SweepArgs),
    /// Puts together what the shards of a sweep have left, and makes the report
    Merge {
        /// Folders of the shards
        #[arg(required = true, value_name = "DIR")]
        folders: Vec<PathBuf>,
        /// Where the results go; the first of the folders without it
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
    /// Runs a scenario once, and tells what happened, one line for each thing
    Replay(ReplayArgs),
    /// Plays a run in the terminal: nodes, links, who has what
    Watch(WatchArgs),
    /// Lists scenarios with the questions that they answer
    List {
        /// Where they are
        #[arg(value_name = "DIR", default_value = "scenarios")]
        folder: PathBuf,
    },
    /// Writes a scenario to begin with, with comments
    New {
        /// Its name; the file is NAME.toml
        name: String,
    },
    /// Prints the JSON schema of scenario files, for editors and other programs
    Schema,
    /// Draws a trace of contacts between people who carry phones, with heavy-tailed times between two contacts
    Trace(TraceArgs),
    /// Shows the results of several runs side by side
    Compare {
        /// Folders that `sim run --out` made
        #[arg(required = true, num_args = 2.., value_name = "DIR")]
        folders: Vec<PathBuf>,
        /// Also writes report.html there
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Which scenario, and what is changed in it.
#[derive(Debug, Clone, Args)]
pub(crate) struct ScenarioArgs {
    /// The scenario
    pub(crate) file: PathBuf,
    /// Sets a key of it, like links.loss=0.1, or loss=0.1 where only one key ends so; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArgs,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How many seeds, one after the other
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) seeds: u64,
    /// Writes figures, tables and a report there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Also writes one line for each delivery; many
    #[arg(long, requires = "out")]
    pub(crate) deliveries: bool,
    /// Does every run twice, and compares all that is recorded
    #[arg(long)]
    pub(crate) doublecheck: bool,
    /// How many runs at once; as many as there are cores without it
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
}

#[derive(Debug, Args)]
pub(crate) struct SweepArgs {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArgs,
    /// A key and its values, like links.loss=0,0.5,0.9; may be repeated: then every combination
    #[arg(long, required = true, value_name = "KEY=A,B,C")]
    pub(crate) vary: Vec<Vary>,
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How many seeds at each point
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) seeds: u64,
    /// Where the results go; a sweep that was stopped goes on from what is there
    #[arg(long, value_name = "DIR")]
    pub(crate) out: PathBuf,
    /// How many runs at once; as many as there are cores without it
    #[arg(long, value_name = "J", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,
    /// Only the i-th of n equal parts of the work, for several machines with one folder, or with `merge` afterwards
    #[arg(long, value_name = "I/N", default_value_t = Shard::default())]
    pub(crate) shard: Shard,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArgs,
    /// The seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Also every frame
    #[arg(long)]
    pub(crate) trace: bool,
    /// Only what concerns this message: its number, or the beginning of its id
    #[arg(long, value_name = "ID")]
    pub(crate) message: Option<String>,
    /// Only what concerns this node
    #[arg(long, value_name = "N")]
    pub(crate) node: Option<u32>,
    /// Tells at most so many things, from the beginning
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(crate) most: u64,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) scenario: ScenarioArgs,
    /// The seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How long the whole run takes on the screen, in seconds
    #[arg(long, value_name = "S", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) seconds: u32,
}

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// How many nodes
    #[arg(long, value_name = "N", default_value_t = 36)]
    pub(crate) nodes: usize,
    /// How long it is
    #[arg(long, value_name = "TIME", default_value = "11 d")]
    pub(crate) length: Span,
    /// How many contacts, unless so many have no room
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) contacts: usize,
    /// The exponent of the tail of times between two contacts of a pair, 1.1 to 3
    #[arg(long, value_name = "X", default_value_t = 1.5)]
    pub(crate) exponent: f64,
    /// The share of pairs that ever meet
    #[arg(long, value_name = "SHARE", default_value = "60 %")]
    pub(crate) pairs: Share,
    /// How long a contact is on average
    #[arg(long, value_name = "TIME", default_value = "5 min")]
    pub(crate) mean: Span,
    /// Nobody meets anybody for so long at the end of each day
    #[arg(long, value_name = "TIME", default_value = "8 h")]
    pub(crate) night: Span,
    /// The seed
    #[arg(long, value_name = "S", default_value_t = 0)]
    pub(crate) seed: u64,
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::One)]
    pub(crate) format: Format,
    /// Where it goes; standard output without it
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// As the ONE simulator reads it: time CONN a b up|down
    One,
    /// start,end,a,b
    Csv,
}
