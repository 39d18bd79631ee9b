//! `peer`: friends and strangers.

use crate::access::Access;
use crate::args::PeerCommand;
use crate::error::CliError;
use crate::items::{PeerItem, RemovedItem};
use crate::output::{Output, on_one_line, utc};
use crate::request::Request;

pub(super) async fn run(access: &Access, command: PeerCommand, output: Output) -> Result<(), CliError> {
    match command {
        PeerCommand::Add { ticket, alias } => {
            let ticket = ticket_in(&ticket).to_owned();
            let added: PeerItem = access.ask_one(Request::PeerAdd { ticket, alias }).await?;
            output.item(&added, line)
        }
        PeerCommand::List => {
            let peers: Vec<PeerItem> = access.ask(Request::PeerList {}).await?;
            if peers.is_empty() && !output.is_json() {
                return output.text("nobody yet: add a friend with `hedgerow peer add TICKET`");
            }
            peers.iter().try_for_each(|peer| output.item(peer, line))
        }
        PeerCommand::Remove { peer } => {
            let removed: RemovedItem = access.ask_one(Request::PeerRemove { peer }).await?;
            output.item(&removed, |item| format!("removed {}", item.removed))
        }
    }
}

/// The ticket in a text that people have copied, which may be all that `hedgerow id` prints.
fn ticket_in(text: &str) -> &str {
    let is_ticket = |word: &&str| word.to_ascii_lowercase().starts_with("hedgerow-");
    text.split_whitespace().find(is_ticket).unwrap_or(text)
}

fn line(peer: &PeerItem) -> String {
    match peer {
        PeerItem::Contact { peer_id, alias, name, addresses, connected, .. } => {
            let called = match (alias, name) {
                (Some(alias), Some(name)) if alias != name => format!("{alias} ({name})"),
                (Some(name), _) | (None, Some(name)) => name.clone(),
                (None, None) => "-".to_owned(),
            };
            let link = if *connected { "linked" } else { "no link" };
            on_one_line(&format!("{peer_id}  {called}  {link}  {}", addresses.join(" ")))
        }
        PeerItem::Waiting { peer_id, address, last_ms, attempts, .. } => {
            let last = utc(i64::try_from(*last_ms).unwrap_or(i64::MAX));
            on_one_line(&format!("{peer_id}  waiting: came {attempts} times, last {last}, from {address}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_found_in_what_id_prints() {
        assert_eq!(ticket_in("peer id  ab\nticket   hedgerow-peer:xyz\n"), "hedgerow-peer:xyz");
        assert_eq!(ticket_in(" hedgerow-peer:xyz"), "hedgerow-peer:xyz");
        assert_eq!(ticket_in("nonsense here"), "nonsense here");
    }
}
