//! The arguments of the command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use hedgerow::Address;

use crate::sim::SimCommand;

const EXIT_CODES: &str = "\
Exit codes:
  0  the command has done its job
  1  the job failed: standard error says in one line what, and which rule (as JSON with --json)
  2  wrong usage: an unknown command or option, or a value that cannot be one

Environment:
  HEDGEROW_HOME  the home, if --home does not name it; else ~/.hedgerow
  HEDGEROW_LOG   what to log to standard error, like `debug` or `hedgerow=trace`

A home is the folder of one device: its keys, its messages, and the socket of its daemon. Every command works whether
or not the daemon runs.";

/// Chat without a server, with friends who are rarely on line at the same time.
#[derive(Debug, Parser)]
#[command(name = "hedgerow", bin_name = "hedgerow", version, after_help = EXIT_CODES)]
pub(crate) struct Args {
    /// The folder with keys and messages
    #[arg(long, global = true, env = "HEDGEROW_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Print one JSON object a line
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows several nodes in this process that chat over lossy links until all have the same
    Demo(DemoArgs),
    /// Simulates networks that are described in files: the real engine, in virtual time
    #[command(subcommand)]
    Sim(SimCommand),
    /// Makes a home: keys and an empty store
    Init {
        /// The name that others see, 1 to 64 bytes
        #[arg(long)]
        name: Option<String>,
    },
    /// Shows the id of this device, and the ticket to hand to a friend (with addresses while the daemon runs)
    Id,
    /// Friends: a link needs the ticket of each on the side of the other, in any order
    #[command(subcommand)]
    Peer(PeerCommand),
    /// Groups: private ones with invited members, public ones for whoever has the link
    #[command(subcommand)]
    Group(GroupCommand),
    /// Peers of other makers, that speak MVDS or BSP: links with them are plain text, and prove nothing
    #[command(subcommand)]
    Foreign(ForeignCommand),
    /// Runs the daemon: keeps links with friends, until it gets SIGINT or SIGTERM
    Run {
        /// Where to listen, like tcp://0.0.0.0:7438 or udp://[::]:7438, and for foreign peers mvds+tcp://127.0.0.1:7439
        /// or bsp+tcp://127.0.0.1:7440/NAME (plain text!); may be repeated. Without it: TCP port 7438 on
        /// all interfaces, or any free port if that one is taken. A port of 0 is any free one, the same again after a
        /// restart if it is still free
        #[arg(long, value_name = "ADDR")]
        listen: Vec<Address>,
        /// What all messages may take in the store while the daemon runs: their bodies, and 128 bytes for each; a number
        /// of bytes, or of KiB, MiB, GiB with that word behind it, at least 257KiB. When there is no room for a message,
        /// the oldest of the author who takes most goes
        #[arg(long, value_name = "BYTES", value_parser = bytes)]
        max_store: Option<u64>,
        /// The same for each group without a cap of its own (see `group cap`)
        #[arg(long, value_name = "BYTES", value_parser = bytes)]
        max_group: Option<u64>,
    },
    /// Sends a message, or one for each line of standard input
    Send {
        /// A friend (alias, name or id) or a group (name or id)
        target: String,
        /// The text, 1 to 30,000 bytes; a lone - takes one message from each line of standard input, without empty
        /// lines, and sends each exactly once even if the daemon is killed and started again meanwhile
        #[arg(required = true, value_name = "TEXT")]
        text: Vec<String>,
        /// The message is gone after this time, here and on every device that got it: a number with s, m, h or d behind
        /// it, like 30s or 7d
        #[arg(long, value_name = "TIME", value_parser = duration)]
        expire_after: Option<Duration>,
        /// How long to go on trying without a single message accepted, while the daemon or the store fails
        #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
        patience: Duration,
    },
    /// Shows the messages of a chat
    Read {
        /// A friend (alias, name or id) or a group (name or id)
        target: String,
        /// Go on with what comes, until interrupted
        #[arg(long)]
        follow: bool,
        /// Only what came here at this position of the delivery order or later; the first is 1
        #[arg(long, value_name = "N", default_value_t = 1)]
        from: u64,
        /// delivery: as it came to this device; canonical: the same on every device that has the same messages
        #[arg(long, value_enum, default_value_t = Order::Delivery)]
        order: Order,
    },
    /// Shows per peer and group what is held, in flight, missing and acknowledged, and which links are up
    Status,
    /// Verifies every message and every row of the store; exit code 1 if anything is wrong
    Check,
    /// Makes a new store of what is sound in a damaged one, and keeps the damaged one beside it; the rest is fetched again
    /// from friends who have it. Changes nothing if `check` finds nothing wrong. Not while the daemon runs
    Repair,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PeerCommand {
    /// Adds a friend by ticket, or takes over the addresses of a newer ticket
    Add {
        /// What the friend's `hedgerow id` shows
        ticket: String,
        /// What to call the friend here
        #[arg(long)]
        alias: Option<String>,
    },
    /// Lists friends, and strangers that want a link and wait
    List,
    /// Removes a friend, or a stranger that waits
    Remove {
        /// Alias, name or id
        #[arg(value_name = "A")]
        peer: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum ForeignCommand {
    /// Shows what this device is known by to MVDS peers, and the foreign peers
    List,
    /// Adds a foreign peer, or changes what was said of it
    Add {
        /// What to call it; a BSP peer is known by this name, which stands in addresses (bsp+tcp://HOST:PORT/NAME)
        name: String,
        /// What it speaks
        #[arg(long, value_enum)]
        wire: Wire,
        /// MVDS: the 65 bytes that it is known by, in hexadecimal
        #[arg(long, value_name = "HEX")]
        key: Option<String>,
        /// Whether messages are sent at once (batch) or offered first (interactive)
        #[arg(long, value_enum)]
        mode: Option<Mode>,
        /// MVDS: write what messages come after (field 6004)
        #[arg(long)]
        parents: bool,
        /// Where to dial it; may be repeated
        #[arg(long, value_name = "ADDR")]
        dial: Vec<Address>,
    },
    /// Removes a foreign peer; its groups and messages stay
    Remove {
        /// Its name
        name: String,
    },
    /// Shares a group with a foreign peer: one of MVDS by --group, one of BSP by --client, --major and --descriptor
    Share {
        /// The peer's name
        name: String,
        /// The id of the group, 64 hexadecimal digits
        #[arg(long, value_name = "HEX")]
        group: Option<String>,
        /// The client that the group belongs to, like org.briarproject.briar.messaging
        #[arg(long, value_name = "ID", conflicts_with = "group")]
        client: Option<String>,
        /// The client's major version
        #[arg(long, default_value_t = 0)]
        major: u32,
        /// The client's own bytes, in hexadecimal
        #[arg(long, value_name = "HEX", default_value = "")]
        descriptor: String,
    },
    /// Writes a message in a foreign group; the bytes go as they are
    Send {
        /// The id of the group
        group: String,
        /// What it says
        text: String,
        /// The text is bytes in hexadecimal
        #[arg(long)]
        hex: bool,
    },
    /// Shows the messages of a foreign group, in delivery order
    Read {
        /// The id of the group
        group: String,
        /// Only those from this position on; the first is 1
        #[arg(long, value_name = "N", default_value_t = 1)]
        from: u64,
    },
}

/// What a foreign peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wire {
    Mvds,
    Bsp,
}

/// How messages go to a foreign peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Mode {
    Batch,
    Interactive,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Makes a group
    Create {
        /// 1 to 64 bytes
        name: String,
        /// Whoever has the link reads and posts
        #[arg(long)]
        public: bool,
    },
    /// Invites a friend into a group: shows the ticket, and sends it in the chat with the friend
    Invite {
        /// Name or id of the group
        name: String,
        /// Alias, name or id of the friend; the id or ticket of anybody else, to whom you hand the ticket yourself
        peer: String,
    },
    /// Joins a group
    Join {
        /// The ticket of `group invite` or `group link`, or the name of a group to which an invitation has come
        ticket: String,
    },
    /// Shows the ticket that lets anybody into a public group
    Link {
        /// Name or id of the group
        name: String,
    },
    /// Lists groups, and invitations that have come
    List,
    /// Sets what the messages of a chat may take on this device, and prunes what is above it
    Cap {
        /// A group, or a friend for the chat with the friend (name or id)
        name: String,
        /// A number of bytes, or of KiB, MiB, GiB with that word behind it, at least 257KiB; `none` goes back to what
        /// the daemon is started with
        #[arg(value_name = "BYTES|none", value_parser = cap)]
        bytes: Cap,
    },
}

/// A cap that is set or taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cap(pub(crate) Option<u64>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Order {
    Delivery,
    Canonical,
}

/// What the demonstration shows.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DemoArgs {
    /// How many nodes, 2 to 32
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(2..=32))]
    pub(crate) peers: u32,
    /// How many messages they write, 10 to 100,000
    #[arg(long, default_value_t = 120, value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub(crate) messages: u32,
    /// Chance that a frame is lost, 0 to 0.95
    #[arg(long, value_name = "P", default_value_t = 0.2, value_parser = loss)]
    pub(crate) loss: f64,
    /// Draws keys, conversation and faults from this number; without it a new one is made up
    #[arg(long, value_name = "S")]
    pub(crate) seed: Option<u64>,
}

fn loss(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(loss) if (0.0..=0.95).contains(&loss) => Ok(loss),
        _ => Err("a chance from 0 to 0.95 is wanted".to_owned()),
    }
}

fn cap(text: &str) -> Result<Cap, String> {
    if text == "none" { Ok(Cap(None)) } else { bytes(text).map(|bytes| Cap(Some(bytes))) }
}

/// The least cap that a node takes, in bytes.
const LEAST_CAP: u64 = 257 * 1024;

fn bytes(text: &str) -> Result<u64, String> {
    let units = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let (number, unit) = units
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, *unit)))
        .unwrap_or((text, 1_u64));
    let bytes = number.trim().parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match bytes {
        Some(bytes) if bytes >= LEAST_CAP => Ok(bytes),
        Some(_) => Err("a cap is at least 257KiB".to_owned()),
        None => Err("a number of bytes is wanted, like 500000000, 500MiB or 2GiB".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let units = [('s', 1), ('m', 60), ('h', 3_600), ('d', 86_400)];
    let parse =
        |(unit, seconds): (char, u64)| text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(seconds);
    match units.into_iter().find_map(parse) {
        Some(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("a time is wanted, like 30s, 90m, 1h or 7d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_times_are_read() {
        assert_eq!(bytes("263168"), Ok(263_168));
        assert_eq!(bytes("257KiB"), Ok(263_168));
        assert_eq!(bytes("2GiB"), Ok(2 << 30));
        for wrong in ["", "1", "-5", "256KiB", "5MB", "99999999999GiB", "KiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        assert_eq!(cap("none"), Ok(Cap(None)));
        assert_eq!(cap("1MiB"), Ok(Cap(Some(1 << 20))));
        assert_eq!(duration("90m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "5", "0s", "-1h", "1w", "h", "99999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
