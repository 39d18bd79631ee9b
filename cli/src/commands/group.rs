//! `group`: making, joining, inviting.

use crate::access::Access;
use crate::args::GroupCommand;
use crate::error::CliError;
use crate::items::{CapItem, GroupItem, TicketItem};
use crate::output::{Output, on_one_line};
use crate::request::Request;

pub(super) async fn run(access: &Access, command: GroupCommand, output: Output) -> Result<(), CliError> {
    let request = match command {
        GroupCommand::Create { name, public } => Request::GroupCreate { name, public },
        GroupCommand::Join { ticket } => Request::GroupJoin { ticket },
        GroupCommand::Invite { name, peer } => {
            return ticket(access, Request::GroupInvite { name, peer }, output).await;
        }
        GroupCommand::Link { name } => return ticket(access, Request::GroupLink { name }, output).await,
        GroupCommand::List => return list(access, output).await,
        GroupCommand::Cap { name, bytes } => {
            let request = Request::GroupCap { name, max_bytes: bytes.0 };
            let set: CapItem = access.ask_one(request).await?;
            return output.item(&set, |set| match set.max_bytes {
                Some(bytes) => format!("{}  at most {bytes} bytes", set.group),
                None => format!("{}  no cap of its own", set.group),
            });
        }
    };
    let group: GroupItem = access.ask_one(request).await?;
    output.item(&group, line)
}

async fn ticket(access: &Access, request: Request, output: Output) -> Result<(), CliError> {
    let ticket: TicketItem = access.ask_one(request).await?;
    output.item(&ticket, |item| item.ticket.clone())
}

async fn list(access: &Access, output: Output) -> Result<(), CliError> {
    let groups: Vec<GroupItem> = access.ask(Request::GroupList {}).await?;
    if groups.is_empty() && !output.is_json() {
        return output.text("no groups yet: make one with `hedgerow group create NAME`");
    }
    groups.iter().try_for_each(|group| output.item(group, line))
}

fn line(group: &GroupItem) -> String {
    match group {
        GroupItem::Joined { group, name, kind, last_position, .. } => {
            on_one_line(&format!("{group}  {kind}  {name}  {last_position} messages"))
        }
        GroupItem::Invited { group, name, from, .. } => {
            on_one_line(&format!("{group}  invited by {from}: join with `hedgerow group join {name:?}`"))
        }
    }
}
