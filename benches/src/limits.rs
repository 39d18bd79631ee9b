//! What the program `limits` measures: every figure that is to be reached, beside its anchor in the same run.
//!
//! A figure counts only if the run converged and `check` found the stores sound; otherwise its row says `failed`.

mod cold;
mod cpu;
mod crypto;
mod difference;
mod durable;
mod gate;
mod measure;
mod memory;
mod mesh;
pub mod parts;
mod row;
mod session;
mod simulator;
mod table;
mod wire;
mod workload;

use std::io::{IsTerminal as _, Write as _};

use self::measure::Scale;
pub use self::memory::Probe as MemoryProbe;
use self::row::{Outcome, Row};
use crate::Failure;

/// One measurement, of one row or several.
struct Probe {
    /// The rows that it gives in every run, by name.
    names: &'static [&'static str],
    /// Those that only a full run has.
    full: &'static [&'static str],
    measure: fn(Scale) -> Result<Vec<Row>, Failure>,
}

const fn probe(names: &'static [&'static str], measure: fn(Scale) -> Result<Vec<Row>, Failure>) -> Probe {
    Probe { names, full: &[], measure }
}

/// Families of rows and what measures them, in the order of the table.
const FAMILIES: &[(&str, &[Probe])] = &[
    (
        "bytes on the wire",
        &[
            probe(&["push"], wire::push),
            probe(&["in-step"], wire::step),
            Probe {
                names: &["diff-10k-10", "diff-10k-100", "diff-10k-1000", "diff-rounds"],
                full: &["diff-100k-100", "diff-1m-1000"],
                measure: difference::differences,
            },
            probe(&["mesh-bytes", "mesh-sends", "full-mesh", "silence"], mesh::mesh),
            probe(&["loss-0.1", "loss-0.3", "loss-0.5", "loss-0.9"], mesh::loss),
            probe(&["idle"], mesh::idle),
        ],
    ),
    (
        "CPU",
        &[
            probe(&["sync"], cpu::sync),
            probe(&["sync-linear"], cpu::linear),
            probe(&["receive"], cpu::receive),
            probe(&["gate"], gate::gate),
            probe(&["gate-chain", "gate-fan"], gate::linear),
            probe(&["shuffled-memory", "shuffled-sqlite"], gate::shuffled),
            probe(&["session-start"], session::start),
            probe(&["sealing"], crypto::sealing),
            probe(&["signatures"], crypto::signatures),
        ],
    ),
    (
        "store",
        &[
            probe(&["durable-1", "durable-100", "durable-1000"], durable::receive_durably),
            probe(&["durable-rows"], durable::beside_rows),
            probe(&["sqlite-cpu-100", "sqlite-cpu-1000"], durable::sqlite_cpu),
            probe(&["open"], session::open),
            probe(&["disk", "disk-peers"], durable::disk),
        ],
    ),
    ("memory", &[probe(&["memory", "peak-10k", "peak-100k"], memory::memory)]),
    (
        "simulator",
        &[
            probe(&["sim-events"], simulator::events),
            probe(&["sim-delivered"], simulator::delivered),
            probe(&["trace-cpu", "trace-delivery", "trace-sends"], simulator::trace),
        ],
    ),
    (
        "the work of other libraries",
        &[probe(
            &[
                "cold-memory",
                "cold-file",
                "delta-memory",
                "delta-file",
                "cold-bytes",
                "delta-bytes",
                "cold-linear",
            ],
            cold::cold,
        )],
    ),
];

/// What to measure, and how to show it.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// All within two minutes.
    pub quick: bool,
    /// One JSON object a row in place of the table.
    pub json: bool,
    /// The rows to measure; all of them if there is none.
    pub only: Vec<String>,
}

/// How a run came out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that reached their goals.
    pub passed: usize,
    /// Rows that did not.
    pub short: usize,
    /// Rows without a figure.
    pub failed: usize,
}

/// The names of all rows, in the order of the table.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let probes = FAMILIES.iter().flat_map(|(_, probes)| probes.iter());
    probes.flat_map(|probe| probe.names.iter().chain(probe.full)).copied().collect()
}

/// The names of those that only a full run has.
#[must_use]
pub fn full_names() -> Vec<&'static str> {
    FAMILIES.iter().flat_map(|(_, probes)| probes.iter()).flat_map(|probe| probe.full).copied().collect()
}

/// Measures and prints to standard output.
///
/// # Errors
/// When nothing can be written. What cannot be measured is a row that has failed.
pub fn run(options: &Options) -> Result<Counts, Failure> {
    let scale = Scale { quick: options.quick };
    let colours = std::io::stdout().is_terminal();
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut out = std::io::stdout().lock();
    let mut counts = Counts::default();
    if !options.json {
        writeln!(out, "{}", table::head())?;
    }
    for (family, probes) in FAMILIES {
        let mut titled = false;
        for probe in *probes {
            if !probe.names.iter().chain(probe.full).any(|name| wanted(name)) {
                continue;
            }
            for row in rows_of(probe, scale).iter().filter(|row| wanted(row.name)) {
                match row.outcome() {
                    Outcome::Pass => counts.passed += 1,
                    Outcome::Short => counts.short += 1,
                    Outcome::Failed => counts.failed += 1,
                }
                if options.json {
                    writeln!(out, "{}", row.to_json())?;
                } else {
                    if !titled {
                        writeln!(out, "{family}")?;
                        titled = true;
                    }
                    write!(out, "{}", table::line(row, colours))?;
                }
                out.flush()?;
            }
        }
    }
    if !options.json {
        let Counts { passed, short, failed } = counts;
        writeln!(out, "\n{passed} passed, {short} short, {failed} failed")?;
    }
    Ok(counts)
}

fn rows_of(probe: &Probe, scale: Scale) -> Vec<Row> {
    match (probe.measure)(scale) {
        Ok(rows) => rows,
        Err(error) => {
            let full = if scale.quick { &[] } else { probe.full };
            probe.names.iter().chain(full).map(|name| Row::failed(name, error.to_string())).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_fit_into_their_column() {
        let mut all = names();
        assert!(all.iter().all(|name| name.len() <= 17), "{all:?}");
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn what_cannot_be_measured_is_a_row_all_the_same() {
        let broken = Probe { names: &["a", "b"], full: &["c"], measure: |_| Err("it broke".into()) };
        let rows = rows_of(&broken, Scale { quick: true });
        assert_eq!(rows.iter().map(|row| row.name).collect::<Vec<_>>(), ["a", "b"]);
        assert!(rows.iter().all(|row| row.outcome() == Outcome::Failed && row.what == "it broke"));
        assert_eq!(rows_of(&broken, Scale { quick: false }).len(), 3);
    }

    #[test]
    fn every_probe_gives_the_rows_that_it_names() -> Result<(), Failure> {
        let rows = wire::step(Scale { quick: true })?;
        assert_eq!(rows.iter().map(|row| row.name).collect::<Vec<_>>(), ["in-step"]);
        Ok(())
    }
}
