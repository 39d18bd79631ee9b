//! What each command does.

mod foreign;
mod group;
mod init;
mod peer;
mod read;
mod repair;
mod run;
mod send;
mod status;

use std::path::PathBuf;

use self::run::Caps;
use crate::access::Access;
use crate::args::{Args, Command};
use crate::error::CliError;
use crate::items::IdItem;
use crate::output::Output;
use crate::request::Request;

/// Runs a command.
pub(crate) async fn run(args: Args, output: Output) -> Result<(), CliError> {
    if let Command::Demo(demo) = args.command {
        return crate::demo::run(demo, output).await;
    }
    if let Command::Sim(sim) = args.command {
        return crate::sim::run(sim, output).await;
    }
    let home = home(args.home)?;
    match args.command {
        Command::Demo(_) | Command::Sim(_) => Ok(()),
        Command::Init { name } => init::init(&home, name.as_deref(), output).await,
        Command::Run { listen, max_store, max_group } => {
            run::run(home, Caps { max_store, max_group }, listen, output).await
        }
        Command::Repair => repair::repair(&home, output),
        command => {
            let access = Access::new(home)?;
            match command {
                Command::Peer(command) => peer::run(&access, command, output).await,
                Command::Foreign(command) => foreign::run(&access, command, output).await,
                Command::Group(command) => group::run(&access, command, output).await,
                Command::Send { target, text, expire_after, patience } => {
                    let manner = send::Manner { expire_after, patience };
                    send::send(&access, target, text, manner, output).await
                }
                Command::Read { target, follow, from, order } => {
                    let chat = read::Reading { target, from, order, follow };
                    read::read(&access, chat, output).await
                }
                Command::Status => status::status(&access, output).await,
                Command::Check => status::check(&access, output).await,
                _ => id(&access, output).await,
            }
        }
    }
}

/// The home that was named, or the usual one.
fn home(named: Option<PathBuf>) -> Result<PathBuf, CliError> {
    match named {
        Some(home) if home.as_os_str().is_empty() => {
            Err(CliError::Usage("the name of the home is empty".to_owned()))
        }
        Some(home) => Ok(home),
        None => std::env::home_dir().map(|user| user.join(".hedgerow")).ok_or(CliError::NoHome),
    }
}

async fn id(access: &Access, output: Output) -> Result<(), CliError> {
    let id: IdItem = access.ask_one(Request::Id {}).await?;
    output.item(&id, |id| {
        let IdItem { peer_id, name, ticket, addresses } = id;
        let name = name.as_deref().unwrap_or("-");
        let place = match addresses.as_slice() {
            [] => "no addresses in the ticket: no daemon runs".to_owned(),
            addresses => addresses.join(" "),
        };
        format!("peer id  {peer_id}\nname     {name}\nreached  {place}\nticket   {ticket}")
    })
}
