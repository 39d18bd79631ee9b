//! What can go wrong for a command, and its exit code.

use std::io;
use std::path::PathBuf;

use hedgerow::clients::TicketError;
use hedgerow::{HomeError, NodeError, StoreError};
use hedgerow_sim::RunError;
use hedgerow_sim::output::OutputError;
use hedgerow_sim::scenario::ScenarioError;
use hedgerow_sim::sweep::SweepError;
use serde::{Deserialize, Serialize};

/// Why a command did not do its job.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// It was called in a wrong way.
    #[error("{0}")]
    Usage(String),
    /// No home was named and the system knows none of the user's.
    #[error("there is no home directory for this user: name a folder with --home or HEDGEROW_HOME")]
    NoHome,
    /// The home cannot be used.
    #[error("{0}{hint}", hint = home_hint(.0))]
    Home(#[from] HomeError),
    /// A second daemon on one home.
    #[error("a daemon runs on the home {0} already: one home has one daemon")]
    DaemonRuns(PathBuf),
    /// The request was refused, or failed.
    #[error("{0}")]
    Fault(#[from] Fault),
    /// The connection to the daemon broke before it had answered.
    #[error("the daemon went away before it had answered: {0}")]
    Lost(io::Error),
    /// The daemon says what this program does not understand.
    #[error("the answer of the daemon cannot be read, is it of another version? {0}")]
    Reply(String),
    /// The control socket cannot be made or reached.
    #[error("the control socket {path}: {error}")]
    Socket {
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Standard output cannot be written.
    #[error("standard output: {0}")]
    Output(io::Error),
    /// Standard input cannot be read, or a line of it breaks a rule.
    #[error("line {line} of standard input: {reason}; {accepted} messages were accepted before it")]
    Input {
        /// Which line, from 1.
        line: u64,
        /// What is wrong.
        reason: String,
        /// How many messages were accepted.
        accepted: u64,
    },
    /// Sending from a pipe did not come to an end.
    #[error("{accepted} messages were accepted, then it did not go on: {why}")]
    SendStopped {
        /// How many messages were accepted.
        accepted: u64,
        /// The last obstacle.
        why: Box<CliError>,
    },
    /// The store breaks rules.
    #[error("the store is not in order: {0} problems; run `hedgerow repair`")]
    NotClean(u64),
    /// The demonstration did not end well.
    #[error("{0}")]
    Demo(String),
    /// A scenario is wrong.
    #[error("{0}")]
    Scenario(#[from] ScenarioError),
    /// A run of the simulator failed.
    #[error("{0}")]
    Run(#[from] RunError),
    /// Results of the simulator cannot be written or read.
    #[error("{0}")]
    Results(#[from] OutputError),
    /// A sweep of the simulator failed.
    #[error("{0}")]
    Sweep(#[from] SweepError),
    /// The simulator did its work, and the outcome is not what it must be.
    #[error("{0}")]
    Simulator(String),
    /// The system gave no randomness.
    #[error("the system gave no randomness: {0}")]
    Random(getrandom::Error),
    /// The system gave no threads or signals.
    #[error("the program could not start: {0}")]
    Runtime(io::Error),
}

fn home_hint(error: &HomeError) -> &'static str {
    match error {
        HomeError::NotAHome(_) => "; make one with `hedgerow init`",
        _ => "",
    }
}

impl CliError {
    /// 1 when the job failed, 2 when the command was called in a wrong way.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::NoHome | Self::Scenario(_) | Self::Run(RunError::Plan(_)) => 2,
            Self::Sweep(
                SweepError::Scenario(_)
                | SweepError::Vary(_)
                | SweepError::Other { .. }
                | SweepError::Run { source: RunError::Plan(_), .. },
            ) => 2,
            _ => 1,
        }
    }

    /// Whether nobody reads the output any more.
    pub(crate) fn is_broken_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the same may work in a moment.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Socket { .. } | Self::Home(HomeError::Locked { .. }) => true,
            Self::Fault(fault) => fault.kind.may_pass(),
            _ => false,
        }
    }
}

impl From<NodeError> for CliError {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Home(error) => Self::Home(error),
            other => Self::Fault(other.into()),
        }
    }
}

/// Why a request was not carried out, in a form that crosses the control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Fault {
    pub(crate) kind: FaultKind,
    /// For people; says what, who and which rule.
    pub(crate) message: String,
}

/// What is to be done about a [`Fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultKind {
    /// It breaks a rule, or means nothing here: trying again does not help.
    Refused,
    /// The request is not one that this version knows.
    Request,
    /// The daemon has too many clients.
    Busy,
    /// The node was shut down in the middle.
    Stopped,
    /// The store failed, and may work again.
    Store,
    /// The disk is full.
    Full,
}

impl FaultKind {
    const fn may_pass(self) -> bool {
        matches!(self, Self::Busy | Self::Stopped | Self::Store)
    }
}

impl Fault {
    pub(crate) fn new(kind: FaultKind, message: impl ToString) -> Self {
        Self { kind, message: message.to_string() }
    }

    pub(crate) fn refused(message: impl ToString) -> Self {
        Self::new(FaultKind::Refused, message)
    }
}

impl From<NodeError> for Fault {
    fn from(error: NodeError) -> Self {
        let kind = match &error {
            NodeError::Stopped => FaultKind::Stopped,
            NodeError::Store(error) => match **error {
                StoreError::Full => FaultKind::Full,
                StoreError::Newer { .. } | StoreError::Corrupt(_) => FaultKind::Refused,
                _ => FaultKind::Store,
            },
            _ => FaultKind::Refused,
        };
        match (&error, kind) {
            // Nothing is opened again by itself in these cases.
            (NodeError::Store(inner), FaultKind::Refused | FaultKind::Full) => match **inner {
                StoreError::Corrupt(_) => Self::new(kind, format!("{inner}; run `hedgerow repair`")),
                _ => Self::new(kind, inner),
            },
            _ => Self::new(kind, error),
        }
    }
}

impl From<TicketError> for Fault {
    fn from(error: TicketError) -> Self {
        Self::refused(error)
    }
}
