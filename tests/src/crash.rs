//! Crash points: scripted sessions of engines on the real SQLite store, stopped at every operation on the disk.
//!
//! A session runs once undisturbed, to count the operations. Then it runs again for each operation and each
//! [`Mode`]: there the machine stops, or the process, or the operation fails. The store is opened again, checked,
//! and the session goes on to its end; nothing that was told to anybody may be missing, nothing may come twice.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod network;
mod script;
mod witness;

use std::panic::{AssertUnwindSafe, catch_unwind};

use hedgerow_faulty_vfs::{Fault, Loss, Op};

use self::network::Network;
pub use self::script::Script;

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mode {
    /// The power fails, and nothing is left but what was synced.
    Power,
    /// The power fails, and of what was not synced any sectors are left; variants draw other sectors.
    Torn(u8),
    /// The process is killed.
    Kill,
    /// The process is killed and started again, and soon after the power fails.
    KillThenPower,
    /// The operation fails with an I/O error.
    Io,
    /// The sync fails, the system forgets what it should have written, and later the power fails.
    SyncForgets,
    /// The disk is full for a while.
    Full,
    /// Somebody else holds the lock for a while.
    Busy,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Power,
        Self::Torn(0),
        Self::Torn(1),
        Self::Kill,
        Self::KillThenPower,
        Self::Io,
        Self::SyncForgets,
        Self::Full,
        Self::Busy,
    ];

    /// Whether it can meet this operation.
    #[must_use]
    pub fn meets(self, op: Op) -> bool {
        let changes = !matches!(op, Op::Read | Op::Lock);
        match self {
            Self::Power | Self::Torn(_) | Self::Kill | Self::KillThenPower => changes,
            Self::Io => true,
            Self::SyncForgets => op == Op::Sync,
            Self::Full => matches!(op, Op::Create | Op::Write | Op::Truncate),
            Self::Busy => op == Op::Lock,
        }
    }

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Power => "power".to_owned(),
            Self::Torn(variant) => format!("torn{variant}"),
            Self::Kill => "kill".to_owned(),
            Self::KillThenPower => "kill-power".to_owned(),
            Self::Io => "io".to_owned(),
            Self::SyncForgets => "sync-forgets".to_owned(),
            Self::Full => "full".to_owned(),
            Self::Busy => "busy".to_owned(),
        }
    }

    /// The mode of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == name)
    }

    fn fault(self, at: u64) -> Fault {
        let more = [0, 0, 2, 40][usize::try_from(at % 4).unwrap()];
        match self {
            Self::Power | Self::Torn(_) | Self::Kill | Self::KillThenPower => Fault::Stop,
            Self::Io => Fault::Io { more },
            Self::SyncForgets => Fault::SyncForgets,
            Self::Full => Fault::Full { more },
            Self::Busy => Fault::Busy { more },
        }
    }

    fn loss(self, at: u64) -> Loss {
        match self {
            Self::Torn(variant) => Loss::Some(at << 8 | u64::from(variant)),
            Self::Kill | Self::KillThenPower => Loss::Nothing,
            _ => Loss::Unsynced,
        }
    }
}

/// Where a session is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// The number of the script, from which all of it follows.
    pub script: u64,
    /// The number of the operation.
    pub at: u64,
    /// What happens.
    pub mode: Mode,
}

impl std::fmt::Display for Point {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}:{}", self.script, self.at, self.mode.name())
    }
}

impl std::str::FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        let wrong = || format!("{text:?} is no point: they look like 3:217:power");
        let [script, at, mode] = parts[..] else { return Err(wrong()) };
        let number = |part: &str| part.parse().map_err(|_| wrong());
        Ok(Self { script: number(script)?, at: number(at)?, mode: Mode::from_name(mode).ok_or_else(wrong)? })
    }
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Something that was told to somebody is not there.
    Lost,
    /// Something came twice.
    Repeated,
    /// The store is not sound, or cannot be used.
    Corrupt,
}

/// A session that did not end as it must.
#[derive(Debug, Clone)]
pub struct Failure {
    /// In which way.
    pub kind: Kind,
    /// What was found.
    pub detail: String,
}

impl Failure {
    fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

/// How the disks of a session are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Medium {
    /// Syncs are syncs.
    #[default]
    Honest,
    /// Syncs do nothing: what every store must fail on.
    Lying,
}

/// The operations of a script that nothing disturbs.
///
/// # Errors
/// When even so it does not end as it must.
pub fn operations(script: &Script) -> Result<Vec<Op>, Failure> {
    guarded(|| {
        let mut network = Network::new(script, Medium::Honest);
        network.list_ops();
        network.play(script)?;
        network.finish()?;
        Ok(network.ops())
    })
}

/// Runs a script with one disturbance.
///
/// # Errors
/// How it did not end as it must.
pub fn disturbed(script: &Script, point: Point, medium: Medium) -> Result<(), Failure> {
    guarded(|| {
        let mut network = Network::new(script, medium);
        network.disturb(point);
        network.play(script)?;
        network.finish()?;
        if network.was_met() {
            return Ok(());
        }
        Err(Failure::new(Kind::Corrupt, "the session did not come to this operation again"))
    })
}

/// A panic is a failure too.
fn guarded<T>(run: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(Failure::new(Kind::Corrupt, format!("panic: {}", text.unwrap_or_default())))
    })
}

/// All points of a script with these operations.
pub fn points(script: u64, ops: &[Op]) -> impl Iterator<Item = Point> + Clone + '_ {
    (0..).zip(ops).flat_map(move |(at, &op)| {
        let born = Script::is_born_in_session(script);
        // A known limit: a database whose very first syncs were forgotten is not whole, and SQLite cannot know it.
        let modes = Mode::ALL.into_iter().filter(move |mode| !(born && *mode == Mode::SyncForgets));
        let modes = modes.filter(move |mode| mode.meets(op));
        modes.map(move |mode| Point { script, at, mode })
    })
}
