//! Memory: measured in processes of their own, since what a process once held it may keep.

use std::fmt::Debug;
use std::process::Command;
use std::str::FromStr;

use hedgerow_sync_sqlite::{Options, SqliteStore};

use super::measure::{Scale, to_f64};
use super::row::{Goal, Row};
use crate::{Failure, Pair};

/// What a process of its own measures. Its answer is one number on standard output, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// The most that it held while so many messages of 600 bytes went from one SQLite store to another.
    Peak(u64),
    /// By how much it grew for each message, from so many messages on both sides to twice as many.
    Growth(u64),
}

impl FromStr for Probe {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not like `peak:1000` or `growth:1000`");
        let (kind, count) = text.split_once(':').ok_or_else(wrong)?;
        let count = count.parse().map_err(|_| wrong())?;
        match kind {
            "peak" => Ok(Self::Peak(count)),
            "growth" => Ok(Self::Growth(count)),
            _ => Err(wrong()),
        }
    }
}

impl Probe {
    fn text(self) -> String {
        match self {
            Self::Peak(count) => format!("peak:{count}"),
            Self::Growth(count) => format!("growth:{count}"),
        }
    }

    /// Measures in this process.
    ///
    /// # Errors
    /// When the run does not converge, a store fails, or the system does not say what a process holds.
    pub fn measure(self) -> Result<f64, Failure> {
        let folder = tempfile::tempdir()?;
        let open = |name| SqliteStore::open(&folder.path().join(name), Options::default());
        let mut pair = Pair::new(open("a.db")?, open("b.db")?)?;
        match self {
            Self::Peak(count) => {
                pair.publish(count, 600, 1000)?;
                pair.sync(&mut |_| {})?;
                let peak = status("VmHWM:")?;
                pair.verify(count)?;
                Ok(peak)
            }
            Self::Growth(count) => {
                pair.publish(count, 200, 1000)?;
                pair.sync(&mut |_| {})?;
                let before = status("VmRSS:")?;
                pair.publish(count, 200, 1000)?;
                pair.sync(&mut |_| {})?;
                let after = status("VmRSS:")?;
                pair.verify(2 * count)?;
                // Both sides are in this process.
                Ok((after - before).max(0.0) / to_f64(count) / 2.0)
            }
        }
    }

    /// Measures in a process of its own.
    fn apart(self) -> Result<f64, Failure> {
        let output = Command::new(std::env::current_exe()?).args(["--probe", &self.text()]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    }
}

/// A line of what the system says of this process, in bytes.
fn status(name: &str) -> Result<f64, Failure> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find(|line| line.starts_with(name)).ok_or("the system does not say")?;
    let kib: f64 = line.split_whitespace().nth(1).ok_or("the system does not say")?.parse()?;
    Ok(kib * 1024.0)
}

/// Memory of what is held on disk, and the peak of a sync.
pub(crate) fn memory(scale: Scale) -> Result<Vec<Row>, Failure> {
    let count = scale.pick(50_000, 500_000);
    let what = format!(
        "growth of the process for each message held in SQLite, from {count} to {} messages of 200 B",
        2 * count
    );
    let growth = Row::alone("memory", Goal::AtMost(64.0), "B", Probe::Growth(count).apart()?, what)
        .published("floor: id and state", 37.0);
    let peak = |name, count| -> Result<Row, Failure> {
        let figure = Probe::Peak(count).apart()? / f64::from(1 << 20);
        let what = format!("most memory of a process with both sides, {count} x 600 B from SQLite to SQLite");
        let row = Row::alone(name, Goal::AtMost(32.0), "MiB", figure, what);
        Ok(row.published("plain loop on file, 10,000", 42.0))
    };
    Ok(vec![growth, peak("peak-10k", 10_000)?, peak("peak-100k", 100_000)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_read_as_it_is_written() {
        for probe in [Probe::Peak(5), Probe::Growth(12)] {
            assert_eq!(probe.text().parse(), Ok(probe));
        }
        assert!("peak".parse::<Probe>().is_err());
        assert!("rest:5".parse::<Probe>().is_err());
        assert!("peak:-1".parse::<Probe>().is_err());
    }
}
