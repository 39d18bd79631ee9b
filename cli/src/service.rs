//! Answers requests on a node: in the daemon, or in the command itself.

use std::io;
use std::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use hedgerow::{
    Address, Chat, ChatLine, Direction, ForeignDraft, ForeignGroup, ForeignWire, GroupDescriptor, GroupId,
    GroupInvite, Node, NodeError, PeerId, PeerTicket,
};
use serde::Serialize;

use crate::error::{Fault, FaultKind};
use crate::items::{
    CapItem, CheckItem, ForeignGroupItem, ForeignItem, ForeignMessageItem, ForeignSentItem, GroupItem,
    IdItem, MessageItem, PeerItem, RemovedItem, SentItem, TicketItem,
};
use crate::limits::MAX_PAGE;
use crate::request::{self, Page, Request, SendRequest};

/// Where the items of an answer go.
pub(crate) trait Sink {
    /// Hands on one item; waits while the other side does not keep up.
    fn put(&mut self, item: impl Serialize + Send) -> impl Future<Output = Result<(), Stop>> + Send;
}

/// Why an answer ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The request is refused or failed.
    Fault(Fault),
    /// The items cannot be handed on.
    Sink(io::Error),
}

impl From<NodeError> for Stop {
    fn from(error: NodeError) -> Self {
        Self::Fault(error.into())
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Sink(error)
    }
}

/// Carries out a request.
pub(crate) async fn answer(node: &Node, request: Request, sink: &mut (impl Sink + Send)) -> Result<(), Stop> {
    match request {
        Request::Id {} => sink.put(id(node)?).await,
        Request::PeerAdd { ticket, alias } => {
            let ticket: PeerTicket = ticket.parse().map_err(Fault::from)?;
            let contact = match alias {
                Some(alias) => node.add_peer_as(&ticket, &alias).await?,
                None => node.add_peer(&ticket).await?,
            };
            sink.put(PeerItem::from(contact)).await
        }
        Request::PeerList {} => {
            for contact in node.peers().await? {
                sink.put(PeerItem::from(contact)).await?;
            }
            for stranger in node.waiting().await? {
                sink.put(PeerItem::from(stranger)).await?;
            }
            Ok(())
        }
        Request::PeerRemove { peer } => {
            let peer = node.find_peer(&peer).await?;
            node.remove_peer(peer).await?;
            sink.put(RemovedItem { removed: peer.to_string() }).await
        }
        Request::ForeignAdd { name, wire, key, addresses } => {
            sink.put(foreign_add(node, name, wire, key, &addresses).await?).await
        }
        Request::ForeignList {} => {
            sink.put(ForeignItem::Own { mvds_key: HEXLOWER_PERMISSIVE.encode(&node.mvds_key()) }).await?;
            for peer in node.foreign_peers().await? {
                sink.put(ForeignItem::from(peer)).await?;
            }
            Ok(())
        }
        Request::ForeignRemove { name } => {
            if !node.remove_foreign(&name).await? {
                return Err(NodeError::NotFound { what: "foreign peer", text: name }.into());
            }
            sink.put(RemovedItem { removed: name }).await
        }
        Request::ForeignShare { name, group } => {
            let group = node.share_foreign(&name, foreign_group(group)?).await?;
            sink.put(ForeignGroupItem { group: group.to_string() }).await
        }
        Request::ForeignSend { group, body } => {
            let id = node.post_foreign(group_id(&group)?, hex(&body)?.into()).await?;
            sink.put(ForeignSentItem { group, id: id.to_string() }).await
        }
        Request::ForeignRead { group, mut after } => {
            let group = group_id(&group)?;
            loop {
                let page = node.read_foreign(group, after, MAX_PAGE).await?;
                let Some(last) = page.last() else { return Ok(()) };
                after = last.position;
                for message in page {
                    sink.put(ForeignMessageItem::from(message)).await?;
                }
            }
        }
        Request::GroupCreate { name, public } => {
            let chat =
                if public { node.create_public(&name).await? } else { node.create_group(&name).await? };
            sink.put(GroupItem::from(chat.info().await?)).await
        }
        Request::GroupInvite { name, peer } => {
            let chat = node.find_chat(&name).await?;
            let peer = invited(node, &peer).await?;
            let invite = node.invite(chat.group(), peer).await?;
            sink.put(ticket(&chat, &invite)).await
        }
        Request::GroupJoin { ticket } => {
            sink.put(GroupItem::from(join(node, &ticket).await?.info().await?)).await
        }
        Request::GroupLink { name } => {
            let chat = node.find_chat(&name).await?;
            let invite = node.link(chat.group()).await?;
            sink.put(ticket(&chat, &invite)).await
        }
        Request::GroupList {} => {
            for group in node.groups().await? {
                sink.put(GroupItem::from(group)).await?;
            }
            for invitation in node.invitations().await? {
                sink.put(GroupItem::from(invitation)).await?;
            }
            Ok(())
        }
        Request::GroupCap { name, max_bytes } => {
            let chat = node.find_chat(&name).await?;
            chat.set_max_bytes(max_bytes).await?;
            sink.put(CapItem { group: chat.group().to_string(), max_bytes }).await
        }
        Request::Send(send) => sink.put(post(node, send).await?).await,
        Request::Read { target, page, limit } => {
            let chat = node.find_chat(&target).await?;
            for item in read(&chat, page, limit).await? {
                sink.put(MessageItem::from(item)).await?;
            }
            Ok(())
        }
        Request::Follow { target, after } => {
            let mut stream = node.find_chat(&target).await?.stream_from(after).await?;
            loop {
                let item = stream.next().await?;
                sink.put(MessageItem::from(item)).await?;
            }
        }
        Request::Status {} => sink.put(node.status().await?).await,
        Request::Check {} => sink.put(check(node).await?).await,
    }
}

fn hex(text: &str) -> Result<Vec<u8>, Fault> {
    let refused = |_| Fault::new(FaultKind::Request, "hexadecimal digits are wanted, two for each byte");
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(refused)
}

fn group_id(text: &str) -> Result<GroupId, Fault> {
    text.parse().map_err(|error| Fault::new(FaultKind::Request, error))
}

fn foreign_group(group: request::ForeignGroup) -> Result<ForeignGroup, Fault> {
    Ok(match group {
        request::ForeignGroup::Id { id } => ForeignGroup::Id(group_id(&id)?),
        request::ForeignGroup::Descriptor { client, major, descriptor } => {
            let descriptor = GroupDescriptor::new(client, major, hex(&descriptor)?);
            ForeignGroup::Descriptor(descriptor.map_err(|error| Fault::new(FaultKind::Request, error))?)
        }
    })
}

async fn foreign_add(
    node: &Node,
    name: String,
    wire: ForeignWire,
    key: Option<String>,
    addresses: &[String],
) -> Result<ForeignItem, Stop> {
    let key = key.map(|key| hex(&key)).transpose()?;
    let long = |_| Fault::new(FaultKind::Request, "a key of MVDS has 65 bytes");
    let key = key.map(|key| key.try_into().map_err(long)).transpose()?;
    let addresses: Result<Vec<Address>, _> = addresses.iter().map(|text| text.parse()).collect();
    let addresses = addresses.map_err(|error| Fault::new(FaultKind::Request, error))?;
    Ok(node.add_foreign(ForeignDraft { name, wire, key, addresses }).await?.into())
}

fn id(node: &Node) -> Result<IdItem, NodeError> {
    let ticket = node.ticket()?;
    Ok(IdItem {
        peer_id: node.peer_id().to_string(),
        name: node.name().map(str::to_owned),
        addresses: ticket.addresses().to_vec(),
        ticket: ticket.to_string(),
    })
}

fn ticket(chat: &Chat, invite: &GroupInvite) -> TicketItem {
    TicketItem { group: chat.group().to_string(), name: invite.name().to_owned(), ticket: invite.to_string() }
}

/// Who is to be invited: somebody known here, or anybody by id or ticket, who then gets the invitation by hand.
async fn invited(node: &Node, text: &str) -> Result<PeerId, NodeError> {
    match node.find_peer(text).await {
        Err(error @ NodeError::NotFound { .. }) => {
            let ticket = text.parse::<PeerTicket>().map(|ticket| ticket.peer()).ok();
            ticket.or_else(|| text.parse().ok()).ok_or(error)
        }
        found => found,
    }
}

/// Joins with a ticket, or with the invitation into a group of this name.
async fn join(node: &Node, text: &str) -> Result<Chat, Stop> {
    let named: Vec<_> =
        node.invitations().await?.into_iter().filter(|invited| invited.name == text).collect();
    match named.as_slice() {
        [] => Ok(node.join(&text.parse::<GroupInvite>().map_err(Fault::from)?).await?),
        [invited] => Ok(node.accept(invited.group).await?),
        _ => Err(Fault::refused(format!(
            "there are {} invitations into groups of the name {text:?}: join with the ticket of one",
            named.len()
        ))
        .into()),
    }
}

async fn post(node: &Node, send: SendRequest) -> Result<SentItem, Stop> {
    let session = HEXLOWER_PERMISSIVE.decode(send.session.as_bytes()).ok();
    let session = session.and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    let session = session.ok_or_else(|| {
        Fault::new(FaultKind::Request, "a sending session is named by 32 hexadecimal digits")
    })?;
    let chat = node.find_chat(&send.target).await?;
    let after = send.expire_after_ms.map(Duration::from_millis);
    let answer = chat.send_batch_expiring(session, send.first_line, send.lines, after).await?;
    Ok(SentItem {
        group: chat.group().to_string(),
        next_line: answer.next_line,
        ids: answer.ids.iter().map(ToString::to_string).collect(),
    })
}

async fn check(node: &Node) -> Result<CheckItem, NodeError> {
    let report = node.check().await?;
    Ok(CheckItem {
        clean: report.is_clean(),
        messages: report.messages,
        delivered: report.delivered,
        waiting: report.waiting,
        wanted: report.wanted,
        invalid: report.invalid,
        pruned: report.pruned,
        gaps: report.gaps,
        bytes: report.bytes,
        group_bytes: report.group_bytes.iter().map(|(id, bytes)| (id.to_string(), *bytes)).collect(),
        groups: report.groups,
        peers: report.peers,
        problem_count: report.problem_count,
        problems: report.problems.iter().map(ToString::to_string).collect(),
    })
}

async fn read(chat: &Chat, page: Page, limit: usize) -> Result<Vec<ChatLine>, Stop> {
    let limit = limit.min(MAX_PAGE);
    match page {
        Page::Delivery { after } => Ok(chat.lines(after, limit).await?),
        Page::Canonical { after } => {
            let after = after.map(|key| key.parse()).transpose()?;
            Ok(chat.line_page(after, Direction::Forward, limit).await?)
        }
    }
}
