//! `run`: the daemon.

mod events;
mod ports;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hedgerow::transports::TransportError;
use hedgerow::{Address, Builder, Home, HomeError, Node, NodeError, Role};
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::events::{Line, Printer};
use self::ports::Ports;
use crate::control::client::Client;
use crate::control::server::Server;
use crate::error::CliError;
use crate::limits::{PATIENCE, RETRY_PAUSE};
use crate::output::Output;

/// What may be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caps {
    pub(super) max_store: Option<u64>,
    pub(super) max_group: Option<u64>,
}

impl Caps {
    fn set(self, builder: Builder) -> Builder {
        let builder = self.max_store.into_iter().fold(builder, Builder::max_store_bytes);
        self.max_group.into_iter().fold(builder, Builder::max_group_bytes)
    }
}

/// Runs the daemon until a signal ends it.
pub(super) async fn run(
    path: PathBuf,
    caps: Caps,
    listen: Vec<Address>,
    output: Output,
) -> Result<(), CliError> {
    // From here on a signal is an orderly end.
    let mut signals = Signals::new()?;
    let node = tokio::select! {
        started = start(&path, caps, &listen) => started?,
        () = signals.next() => return Ok(()),
    };
    let mut events = node.events();
    let server = match Server::start(&path, node.clone()) {
        Ok(server) => server,
        Err(error) => {
            node.shutdown().await?;
            return Err(error);
        }
    };
    let printer = Printer::start(output);
    for address in node.local_addresses() {
        printer.print(Line::Listening { address: address.to_string() }).await;
    }
    for address in node.plain_addresses() {
        // Whoever can reach it can read along, and be anybody.
        eprintln!("warning: {address} is plain text: nothing is encrypted, and no peer proves who it is");
        printer.print(Line::Listening { address: address.to_string() }).await;
    }
    let ticket = node.ticket()?.to_string();
    printer.print(Line::Ready { peer_id: node.peer_id().to_string(), ticket }).await;

    let ended = loop {
        tokio::select! {
            () = signals.next() => break Ok(()),
            event = events.next() => match event {
                // A reader of our output that is slow must not hold up the signals.
                Some(event) => tokio::select! {
                    () = events::print(&node, &event, &printer) => {}
                    () = signals.next() => break Ok(()),
                },
                None => break Err(NodeError::Stopped.into()),
            },
        }
    };
    server.stop().await;
    node.shutdown().await?;
    printer.end(Line::Stopped {}).await;
    ended
}

/// Locks the home. A command that uses it is done in a moment; another daemon is not.
async fn lock(path: &Path) -> Result<Home, CliError> {
    let begun = Instant::now();
    loop {
        match Home::open(path, Role::Daemon, Duration::ZERO) {
            Err(HomeError::Locked { .. }) if Client::connect(path).await?.is_some() => {
                return Err(CliError::DaemonRuns(path.to_owned()));
            }
            Err(HomeError::Locked { .. }) if begun.elapsed() < PATIENCE => {
                tokio::time::sleep(RETRY_PAUSE).await
            }
            done => return Ok(done?),
        }
    }
}

/// Starts the node at the best of the addresses that are not taken.
async fn start(path: &Path, caps: Caps, listen: &[Address]) -> Result<Node, CliError> {
    let mut home = lock(path).await?;
    let ports = Ports::new(path, listen);
    let mut choices = ports.choices.iter().peekable();
    loop {
        let addresses = choices.next().map_or(&[][..], Vec::as_slice);
        let builder = caps.set(Node::builder().open_home(home));
        let builder = addresses.iter().fold(builder, |builder, address| builder.listen(address));
        match builder.spawn().await {
            Ok(node) => {
                ports.keep(path, node.status().await?.listening);
                return Ok(node);
            }
            Err(NodeError::Transport(TransportError::AddressInUse(_))) if choices.peek().is_some() => {
                home = lock(path).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The signals that end the daemon.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, CliError> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).map_err(CliError::Runtime)?,
            terminate: signal(SignalKind::terminate()).map_err(CliError::Runtime)?,
        })
    }

    /// Waits for one. Cancel safe.
    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
