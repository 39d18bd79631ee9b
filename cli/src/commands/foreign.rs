//! `foreign`: peers of other makers.

use data_encoding::HEXLOWER;
use hedgerow::ForeignWire;

use crate::access::Access;
use crate::args::{ForeignCommand, Mode, Wire};
use crate::error::CliError;
use crate::items::{ForeignGroupItem, ForeignItem, ForeignMessageItem, ForeignSentItem, RemovedItem};
use crate::output::{Output, on_one_line, shown, utc};
use crate::request::{ForeignGroup, Request};

pub(super) async fn run(access: &Access, command: ForeignCommand, output: Output) -> Result<(), CliError> {
    match command {
        ForeignCommand::List => {
            let peers: Vec<ForeignItem> = access.ask(Request::ForeignList {}).await?;
            peers.iter().try_for_each(|peer| output.item(peer, line))
        }
        ForeignCommand::Add { name, wire, key, mode, parents, dial } => {
            let wire = match wire {
                Wire::Mvds => ForeignWire::Mvds { interactive: mode == Some(Mode::Interactive), parents },
                Wire::Bsp => ForeignWire::Bsp { batch: mode == Some(Mode::Batch) },
            };
            let addresses = dial.iter().map(ToString::to_string).collect();
            let added: ForeignItem =
                access.ask_one(Request::ForeignAdd { name, wire, key, addresses }).await?;
            output.item(&added, line)
        }
        ForeignCommand::Remove { name } => {
            let removed: RemovedItem = access.ask_one(Request::ForeignRemove { name }).await?;
            output.item(&removed, |item| format!("removed {}", item.removed))
        }
        ForeignCommand::Share { name, group, client, major, descriptor } => {
            let group = match (group, client) {
                (Some(id), None) => ForeignGroup::Id { id },
                (None, Some(client)) => ForeignGroup::Descriptor { client, major, descriptor },
                _ => return Err(CliError::Usage("either --group or --client names the group".to_owned())),
            };
            let shared: ForeignGroupItem = access.ask_one(Request::ForeignShare { name, group }).await?;
            output.item(&shared, |item| item.group.clone())
        }
        ForeignCommand::Send { group, text, hex } => {
            let body = if hex { text } else { HEXLOWER.encode(text.as_bytes()) };
            let sent: ForeignSentItem = access.ask_one(Request::ForeignSend { group, body }).await?;
            output.item(&sent, |item| item.id.clone())
        }
        ForeignCommand::Read { group, from } => {
            let request = Request::ForeignRead { group, after: from.saturating_sub(1) };
            let messages: Vec<ForeignMessageItem> = access.ask(request).await?;
            messages.iter().try_for_each(|message| output.item(message, message_line))
        }
    }
}

fn line(item: &ForeignItem) -> String {
    match item {
        ForeignItem::Own { mvds_key } => format!("this device is known to MVDS peers by {mvds_key}"),
        ForeignItem::Peer { peer_id, name, wire, addresses, connected, groups } => {
            let wire = match wire {
                ForeignWire::Mvds { interactive: true, .. } => "mvds interactive",
                ForeignWire::Mvds { .. } => "mvds batch",
                ForeignWire::Bsp { batch: true } => "bsp batch",
                _ => "bsp",
            };
            let link = if *connected { "linked" } else { "no link" };
            let places = addresses.join(" ");
            on_one_line(&format!("{peer_id}  {name}  {wire}  {link}  {} groups  {places}", groups.len()))
        }
    }
}

fn message_line(message: &ForeignMessageItem) -> String {
    let bytes = message.body.as_deref().and_then(|body| HEXLOWER.decode(body.as_bytes()).ok());
    let body = match (bytes.map(String::from_utf8), &message.body) {
        (Some(Ok(text)), _) => shown(&text),
        (_, Some(body)) => body.clone(),
        (_, None) => "(gone)".to_owned(),
    };
    format!("{}  {}  {body}", message.position, utc(message.timestamp_ms))
}
