//! Where the daemon listens: what is asked for, and at which port it did so the last time.
//!
//! Friends keep the addresses of a ticket. So a daemon that is free to choose its port takes the same one again after a
//! restart, if it can.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use hedgerow::Address;

use crate::limits::DEFAULT_PORT;

const FILE: &str = "listen.json";

/// Ways to listen, the best one first, for the next when an address is taken.
pub(super) struct Ports {
    asked: Vec<String>,
    pub(super) choices: Vec<Vec<String>>,
}

impl Ports {
    pub(super) fn new(home: &Path, asked: &[Address]) -> Self {
        let usual = format!("tcp://0.0.0.0:{DEFAULT_PORT}");
        let (asked, else_any) = match asked {
            [] => (vec![usual], Some("tcp://0.0.0.0:0".to_owned())),
            asked => (asked.iter().map(ToString::to_string).collect(), None),
        };
        let last = read(home);
        let may_move = |address: &String| else_any.is_some() || address.ends_with(":0");
        let same_again = asked
            .iter()
            .map(|address| last.get(address).filter(|_| may_move(address)).unwrap_or(address).clone())
            .collect();
        let mut choices = vec![same_again, asked.clone()];
        choices.extend(else_any.map(|any| vec![any]));
        choices.dedup();
        Self { asked, choices }
    }

    /// Notes where the daemon listens now, in the order of what was asked for. It does without if that cannot be
    /// written.
    pub(super) fn keep(&self, home: &Path, listening: Vec<String>) {
        let mut last = read(home);
        last.extend(self.asked.iter().cloned().zip(listening));
        let written = serde_json::to_vec(&last).map_err(std::io::Error::from);
        if let Err(error) = written.and_then(|bytes| write_private(&home.join(FILE), &bytes)) {
            tracing::warn!(%error, "the ports cannot be noted, the next start may choose others");
        }
    }
}

/// Writes a file for its owner alone.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

/// What was asked for, and what it became. A file that cannot be read says nothing.
fn read(home: &Path) -> BTreeMap<String, String> {
    let bytes = fs::read(home.join(FILE)).unwrap_or_default();
    let read: BTreeMap<String, String> = serde_json::from_slice(&bytes).unwrap_or_default();
    read.into_iter().filter(|(_, became)| became.parse::<Address>().is_ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices(home: &Path, asked: &[&str]) -> Vec<Vec<String>> {
        let asked: Vec<Address> = asked.iter().map(|text| text.parse().unwrap()).collect();
        Ports::new(home, &asked).choices
    }

    #[test]
    fn a_port_that_was_free_to_choose_is_taken_again() {
        let home = tempfile::tempdir().unwrap();
        let any = "tcp://127.0.0.1:0".parse().unwrap();
        Ports::new(home.path(), &[any]).keep(home.path(), vec!["tcp://127.0.0.1:4000".to_owned()]);
        assert_eq!(
            choices(home.path(), &["tcp://127.0.0.1:0", "tcp://[::1]:5"]),
            [["tcp://127.0.0.1:4000", "tcp://[::1]:5"], ["tcp://127.0.0.1:0", "tcp://[::1]:5"]]
        );
        assert_eq!(choices(home.path(), &["tcp://127.0.0.1:9"]), [["tcp://127.0.0.1:9"]]);
    }

    #[test]
    fn the_usual_port_gives_way_to_any() {
        let home = tempfile::tempdir().unwrap();
        let usual = format!("tcp://0.0.0.0:{DEFAULT_PORT}");
        assert_eq!(choices(home.path(), &[]), [[usual.clone()], ["tcp://0.0.0.0:0".to_owned()]]);
        Ports::new(home.path(), &[]).keep(home.path(), vec!["tcp://0.0.0.0:4000".to_owned()]);
        assert_eq!(
            choices(home.path(), &[]),
            [["tcp://0.0.0.0:4000".to_owned()], [usual], ["tcp://0.0.0.0:0".to_owned()]]
        );
        fs::write(home.path().join(FILE), "garbage").unwrap();
        assert_eq!(choices(home.path(), &[]).len(), 2);
    }
}
