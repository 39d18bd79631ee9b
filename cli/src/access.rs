//! The way to the node of a home: through its daemon if one runs, straight on the store if not.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hedgerow::{Home, HomeError, Node, Role};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::control::client::Client;
use crate::error::CliError;
use crate::limits::{PATIENCE, RETRY_PAUSE};
use crate::request::Request;
use crate::service::{Sink, Stop, answer};

/// The way to the node of one home.
pub(crate) struct Access {
    home: PathBuf,
}

/// By whom a request was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Daemon,
    /// By this process, on the store, which it has closed again.
    Store,
}

enum Door {
    Daemon(Client),
    Store(Home),
}

impl Access {
    /// For the home in this folder, which must be there.
    pub(crate) fn new(home: PathBuf) -> Result<Self, CliError> {
        if !Home::exists(&home) {
            return Err(HomeError::NotAHome(home).into());
        }
        Ok(Self { home })
    }

    /// Makes a request, and gives the items of the answer. Waits while another process uses the home for a moment.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, request: Request) -> Result<Vec<T>, CliError> {
        let begun = Instant::now();
        loop {
            match self.try_ask(request.clone()).await {
                // The daemon was about to end when it took the request.
                Err(error) if error.may_pass() && request.may_repeat() && begun.elapsed() < PATIENCE => {
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                done => return Ok(done?.0),
            }
        }
    }

    /// Makes a request that has one item for an answer.
    pub(crate) async fn ask_one<T: DeserializeOwned>(&self, request: Request) -> Result<T, CliError> {
        let item = self.ask(request).await?.pop();
        item.ok_or_else(|| CliError::Reply("it is empty".to_owned()))
    }

    /// Makes a request once.
    pub(crate) async fn try_ask<T: DeserializeOwned>(
        &self,
        request: Request,
    ) -> Result<(Vec<T>, Way), CliError> {
        match open(&self.home, PATIENCE).await? {
            Door::Daemon(client) => {
                let mut items = Vec::new();
                let mut take = |item| {
                    items.push(parse(item)?);
                    Ok(())
                };
                client.ask(request, &mut take).await?;
                Ok((items, Way::Daemon))
            }
            Door::Store(home) => {
                let items = on_store(home, request).await?;
                Ok((items.into_iter().map(parse).collect::<Result<_, _>>()?, Way::Store))
            }
        }
    }

    /// Makes a request of the daemon whose answer goes on and on; `false` if no daemon runs.
    pub(crate) async fn ask_daemon<T: DeserializeOwned>(
        &self,
        request: Request,
        mut take: impl FnMut(T) -> Result<(), CliError>,
    ) -> Result<bool, CliError> {
        let Some(client) = Client::connect(&self.home).await? else { return Ok(false) };
        client.ask(request, &mut |item| take(parse(item)?)).await.map(|()| true)
    }
}

fn parse<T: DeserializeOwned>(item: Value) -> Result<T, CliError> {
    serde_json::from_value(item).map_err(|error| CliError::Reply(error.to_string()))
}

/// Finds the daemon, or locks the home when there is none.
async fn open(home: &Path, patience: Duration) -> Result<Door, CliError> {
    let begun = Instant::now();
    loop {
        if let Some(client) = Client::connect(home).await? {
            return Ok(Door::Daemon(client));
        }
        match Home::open(home, Role::Command, Duration::ZERO) {
            Ok(home) => return Ok(Door::Store(home)),
            // By another command, or by a daemon that comes or goes.
            Err(HomeError::Locked { .. }) if begun.elapsed() < patience => {
                tokio::time::sleep(RETRY_PAUSE).await
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Carries out a request in this process. The home is free again when this returns.
async fn on_store(home: Home, request: Request) -> Result<Vec<Value>, CliError> {
    let node = Node::builder().open_home(home).offline().spawn().await?;
    let mut items = Items::default();
    let answered = answer(&node, request, &mut items).await;
    let ended = node.shutdown().await;
    match answered {
        Ok(()) => {
            ended?;
            Ok(items.0)
        }
        Err(Stop::Fault(fault)) => Err(fault.into()),
        Err(Stop::Sink(error)) => Err(CliError::Lost(error)),
    }
}

/// Items in memory: kept until the home is free again, so that a slow reader of the output holds up nobody.
#[derive(Default)]
struct Items(Vec<Value>);

impl Sink for Items {
    async fn put(&mut self, item: impl Serialize + Send) -> Result<(), Stop> {
        self.0.push(serde_json::to_value(item).map_err(std::io::Error::from)?);
        Ok(())
    }
}
