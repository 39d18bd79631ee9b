//! The handle to a node.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hedgerow_clients::limits::{MAX_ADDRESSES, SALT_LEN};
use hedgerow_clients::{GroupInvite, PeerTicket, check_name};
use hedgerow_proto::limits::MVDS_PEER_LEN;
use hedgerow_proto::{GroupDescriptor, GroupId, MessageId, PeerId};
use hedgerow_sync_core::store::CheckReport;
use hedgerow_transports::Address;
use hedgerow_transports::plain::{is_plain, mvds_key_of};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use crate::builder::Builder;
use crate::chat::{Chat, ChatInfo, ChatKind, Invitation};
use crate::contact::{Contact, WaitingPeer};
use crate::core::Core;
use crate::error::NodeError;
use crate::events::Events;
use crate::foreign::{ForeignDraft, ForeignGroup, ForeignMessage, ForeignPeer};
use crate::limits::FLUSH_MS;
use crate::net::reachable;
use crate::shared::{Control, Shared};
use crate::status::NodeStatus;
use crate::view::View;

/// A running node: an engine with its store, links to contacts, and chats. Clones are handles to the same node; it ends
/// with [`Node::shutdown`], or abruptly (but losing nothing) when the last handle is dropped; chats and streams hold one.
///
/// Calls that write, and those that ask how things stand, wait for the engine's thread; reads of chats do not. Dropped early, a call that changes something is made whole or not at all, and those
/// that only read are safe to drop.
///
/// The first example in the [crate's documentation](crate) shows the whole of it.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    name: Option<String>,
    /// Fresh randomness for new groups.
    dice: std::sync::Mutex<rand_chacha::ChaCha20Rng>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.shared.intake.cancel();
        self.shared.stop.cancel();
    }
}

impl Node {
    pub(crate) fn new(shared: Arc<Shared>, name: Option<String>, dice: rand_chacha::ChaCha20Rng) -> Self {
        Self(Arc::new(Inner { shared, name, dice: std::sync::Mutex::new(dice) }))
    }

    /// What a node may be made of. It must be spawned within a tokio runtime.
    pub fn builder() -> Builder {
        Builder::new()
    }

    /// The public key of this node.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.0.shared.me
    }

    /// The name that others see.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.0.name.as_deref()
    }

    /// Where others may dial this node, plain listeners for peers of other makers aside. For a listener on an unspecified address (`0.0.0.0`) these are the address from
    /// which the device speaks to the world, and the loopback.
    #[must_use]
    pub fn local_addresses(&self) -> Vec<Address> {
        self.0.shared.listening().iter().filter(|address| !is_plain(address)).flat_map(reachable).collect()
    }

    /// The node's ticket for others to [add](Node::add_peer): its key, name and present addresses. Its text is URL-safe.
    ///
    /// # Errors
    /// [`NodeError::Ticket`] if a listener has an address that is too long for a ticket.
    pub fn ticket(&self) -> Result<PeerTicket, NodeError> {
        let addresses = self.local_addresses().iter().map(ToString::to_string).take(MAX_ADDRESSES).collect();
        Ok(PeerTicket::new(self.peer_id(), self.0.name.clone(), addresses)?)
    }

    /// Ends the node: what was sent is durable already; what waits for the links goes out if it can within two seconds,
    /// links are closed in good order, the store and the home are free when this returns. More than one call does no harm.
    ///
    /// # Errors
    /// [`NodeError::Stopped`] if the node was ended before.
    ///
    /// # Cancel safety
    /// When the future is dropped early the node ends all the same.
    pub async fn shutdown(&self) -> Result<(), NodeError> {
        let shared = &self.0.shared;
        shared.intake.cancel();
        let (done, is_done) = oneshot::channel();
        shared.control.send(Control::Shutdown(done)).await.map_err(|_| NodeError::Stopped)?;
        let ended = is_done.await.map_err(|_| NodeError::Stopped);
        shared.tasks.close();
        let _ = timeout(Duration::from_millis(FLUSH_MS), shared.tasks.wait()).await;
        shared.stop.cancel();
        ended
    }

    /// Adds a contact, or takes over the addresses and name of a newer ticket of one. It is dialled at once; a link stays
    /// up once the other side has added this node as well, in whatever order. All joined groups are shared with
    /// it as far as it has joined them too; it learns nothing of others.
    ///
    /// # Errors
    /// [`NodeError::OwnTicket`], or the node does not work.
    ///
    /// # Cancel safety
    /// When the future is dropped early the contact may or may not be added.
    pub async fn add_peer(&self, ticket: &PeerTicket) -> Result<Contact, NodeError> {
        let ticket = ticket.clone();
        self.call(move |core| core.add_contact(&ticket, None)).await
    }

    /// As [`Node::add_peer`], with what the user calls the contact.
    ///
    /// # Errors
    /// [`NodeError::AliasTaken`] if another contact has this alias; else as [`Node::add_peer`].
    pub async fn add_peer_as(&self, ticket: &PeerTicket, alias: &str) -> Result<Contact, NodeError> {
        let (ticket, alias) = (ticket.clone(), alias.to_owned());
        self.call(move |core| core.add_contact(&ticket, Some(alias))).await
    }

    /// Removes a contact, whose links end at once, or a stranger from the list of the waiting; whether there was
    /// any. The direct chat stays to be read.
    ///
    /// # Errors
    /// When the node does not work.
    pub async fn remove_peer(&self, peer: PeerId) -> Result<bool, NodeError> {
        self.call(move |core| core.remove_contact(peer)).await
    }

    /// The contacts, by key.
    ///
    /// # Errors
    /// When the node does not work.
    pub async fn peers(&self) -> Result<Vec<Contact>, NodeError> {
        self.call(|core| core.contacts()).await
    }

    /// Strangers that proved their key, wanted a link and were refused, until they are added or removed; the last one to come
    /// last, at most [`MAX_WAITING`](crate::limits::MAX_WAITING).
    ///
    /// # Errors
    /// When the node does not work.
    pub async fn waiting(&self) -> Result<Vec<WaitingPeer>, NodeError> {
        self.call(|core| core.waiting()).await
    }

    /// The contact or waiting stranger that goes by this text: an alias, a name that a contact gave itself, or at least
    /// 8 digits of a key.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] or [`NodeError::Ambiguous`], or the node does not work.
    pub async fn find_peer(&self, text: &str) -> Result<PeerId, NodeError> {
        let text = text.to_owned();
        self.call(move |core| core.find_peer(&text)).await
    }

    /// The direct chat with a contact.
    ///
    /// # Errors
    /// [`NodeError::UnknownPeer`] if there is none, or the node does not work.
    pub async fn direct(&self, peer: PeerId) -> Result<Chat, NodeError> {
        let info = self.call(move |core| core.direct_chat(peer)).await?;
        Ok(self.handle(&info))
    }

    /// The chat of a group.
    ///
    /// # Errors
    /// [`NodeError::UnknownGroup`], or the node does not work.
    pub async fn chat(&self, group: GroupId) -> Result<Chat, NodeError> {
        let info = self.call(move |core| core.chat_info(group)).await?;
        Ok(self.handle(&info))
    }

    /// The chat that goes by this text: the name of a group, what [`Node::find_peer`] takes, or at least 8 digits of a
    /// group's id.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] or [`NodeError::Ambiguous`], or the node does not work.
    pub async fn find_chat(&self, text: &str) -> Result<Chat, NodeError> {
        let text = text.to_owned();
        let info = self.call(move |core| core.find_chat(&text)).await?;
        Ok(self.handle(&info))
    }

    /// All chats.
    ///
    /// # Errors
    /// When the node does not work.
    pub async fn chats(&self) -> Result<Vec<ChatInfo>, NodeError> {
        self.call(|core| core.chat_infos()).await
    }

    /// All chats but the direct ones.
    ///
    /// # Errors
    /// When the node does not work.
    pub async fn groups(&self) -> Result<Vec<ChatInfo>, NodeError> {
        let mut chats = self.chats().await?;
        chats.retain(|chat| !matches!(chat.kind, ChatKind::Direct(_)));
        Ok(chats)
    }

    /// Makes a private group, whose members this node [invites](Node::invite). Its name has 1 to 64 bytes and need not be
    /// unique.
    ///
    /// # Errors
    /// When the name breaks a rule, or the node does not work.
    pub async fn create_group(&self, name: &str) -> Result<Chat, NodeError> {
        let (name, salt) = (name.to_owned(), self.salt());
        let info = self.call(move |core| {
            let id = core.create_private(&name, salt)?;
            core.chat_info(id)
        });
        Ok(self.handle(&info.await?))
    }

    /// Makes a public group: whoever has its [link](Node::link) reads and posts.
    ///
    /// # Errors
    /// When the name breaks a rule, or the node does not work.
    pub async fn create_public(&self, name: &str) -> Result<Chat, NodeError> {
        let (name, salt) = (name.to_owned(), self.salt());
        let info = self.call(move |core| {
            let id = core.create_public(&name, "", salt)?;
            core.chat_info(id)
        });
        Ok(self.handle(&info.await?))
    }

    /// Invites a peer into a group: into a private one as its creator, into a public one as anybody. The ticket
    /// is for that peer; if it is a contact, it gets the invitation in the direct chat as well.
    ///
    /// # Errors
    /// When the group is private and not this node's own, or a direct chat; or the node does not work.
    pub async fn invite(&self, group: GroupId, peer: PeerId) -> Result<GroupInvite, NodeError> {
        self.call(move |core| core.invite(group, peer)).await
    }

    /// Joins a group with a ticket, and says so to its members if this node has a name. Joining twice is joining once.
    ///
    /// # Errors
    /// When the ticket is for somebody else or not signed by the group's creator, or the node does not work.
    pub async fn join(&self, ticket: &GroupInvite) -> Result<Chat, NodeError> {
        let ticket = ticket.clone();
        let info = self.call(move |core| core.join(&ticket)).await?;
        Ok(self.handle(&info))
    }

    /// The ticket that lets anybody into a public group.
    ///
    /// # Errors
    /// [`NodeError::PrivateGroup`] for a private one; or the node does not work.
    pub async fn link(&self, group: GroupId) -> Result<GroupInvite, NodeError> {
        self.call(move |core| core.link(group)).await
    }

    /// Invitations that came in direct chats and were not accepted yet, the last one to come last.
    ///
    /// # Errors
    /// When the node does not work.
    pub async fn invitations(&self) -> Result<Vec<Invitation>, NodeError> {
        self.call(|core| core.invitations()).await
    }

    /// Accepts the invitation into a group.
    ///
    /// # Errors
    /// [`NodeError::NoInvitation`], or the node does not work.
    pub async fn accept(&self, group: GroupId) -> Result<Chat, NodeError> {
        let info = self.call(move |core| core.accept(group)).await?;
        Ok(self.handle(&info))
    }

    /// Leaves a group and forgets its messages; whether it was there. It can be joined again with a ticket, but not by the
    /// creator of a private group, for whom there is none.
    ///
    /// # Errors
    /// [`NodeError::DirectChat`] for a direct chat, or the node does not work.
    pub async fn leave(&self, group: GroupId) -> Result<bool, NodeError> {
        self.call(move |core| core.leave(group)).await
    }

    /// Joins a group of any client without reading it: the node stores it and passes it on between contacts that are in
    /// it.
    ///
    /// # Errors
    /// When the node does not work.
    pub async fn carry(&self, group: &GroupDescriptor) -> Result<GroupId, NodeError> {
        let group = group.clone();
        self.call(move |core| core.carry(&group)).await
    }

    /// Where this node listens for peers of other makers, without any protection.
    #[must_use]
    pub fn plain_addresses(&self) -> Vec<Address> {
        self.0.shared.listening().into_iter().filter(is_plain).collect()
    }

    /// What this node is known by to MVDS peers.
    #[must_use]
    pub fn mvds_key(&self) -> [u8; MVDS_PEER_LEN] {
        mvds_key_of(self.peer_id())
    }

    /// Adds a peer of another maker, or changes what was said of it. It is dialled at once if it has addresses, in plain
    /// text, and nothing but groups that are [shared](Node::share_foreign) with it is spoken of.
    ///
    /// # Errors
    /// [`NodeError::Foreign`] when name, key and addresses do not go together; or the node does not work.
    pub async fn add_foreign(&self, draft: ForeignDraft) -> Result<ForeignPeer, NodeError> {
        self.call(move |core| core.add_foreign(draft)).await
    }

    /// Removes a peer of another maker, whose links end at once; whether there was any. Its groups and their messages
    /// stay.
    ///
    /// # Errors
    /// When the node does not work.
    pub async fn remove_foreign(&self, name: &str) -> Result<bool, NodeError> {
        let name = name.to_owned();
        self.call(move |core| core.remove_foreign(&name)).await
    }

    /// The peers of other makers.
    ///
    /// # Errors
    /// When the node does not work.
    pub async fn foreign_peers(&self) -> Result<Vec<ForeignPeer>, NodeError> {
        self.call(|core| core.foreign_peers()).await
    }

    /// Shares a group with a peer of another maker, in both directions.
    ///
    /// # Errors
    /// [`NodeError::NotFound`] or [`NodeError::Foreign`]; or the node does not work.
    pub async fn share_foreign(&self, name: &str, group: ForeignGroup) -> Result<GroupId, NodeError> {
        let name = name.to_owned();
        self.call(move |core| core.share_foreign(&name, &group)).await
    }

    /// Writes in a group of another maker. The body goes as it is.
    ///
    /// # Errors
    /// [`NodeError::UnknownGroup`], the body breaks a rule, the very same was written in this second (MVDS); or the node
    /// does not work.
    pub async fn post_foreign(&self, group: GroupId, body: Bytes) -> Result<MessageId, NodeError> {
        self.call(move |core| core.post_foreign(group, body)).await
    }

    /// Messages of a group of another maker in delivery order, from after a position, at most `max_count`.
    ///
    /// # Errors
    /// [`NodeError::UnknownGroup`]; or the node does not work.
    pub async fn read_foreign(
        &self,
        group: GroupId,
        after: u64,
        max_count: usize,
    ) -> Result<Vec<ForeignMessage>, NodeError> {
        self.read(move |view| view.read_foreign(group, after, max_count)).await
    }

    /// What happens from now on, messages aside.
    #[must_use]
    pub fn events(&self) -> Events {
        Events::new(self.0.shared.events.subscribe())
    }

    /// How everything stands.
    ///
    /// # Errors
    /// When the node does not work.
    pub async fn status(&self) -> Result<NodeStatus, NodeError> {
        self.call(|core| core.status()).await
    }

    /// Verifies the store, as it is at one moment, while the node goes on; one check at a time. Only a store in memory, or one
    /// of [`Builder::store`], is held up by it.
    ///
    /// # Errors
    /// When the store cannot be read; what is wrong in it stands in the report. [`NodeError::CheckOutrun`] when more was
    /// written meanwhile than the store is large, and more than [`CHECK_LOG_BYTES`](crate::limits::CHECK_LOG_BYTES).
    ///
    /// # Cancel safety
    /// Safe: a check that nobody waits for any more is given up.
    pub async fn check(&self) -> Result<CheckReport, NodeError> {
        match &self.0.shared.reads {
            Some(reads) => reads.check().await,
            None => self.call(|core| core.check()).await,
        }
    }

    pub(crate) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Core) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, NodeError> {
        self.0.shared.call(call).await
    }

    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&View<'_>) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, NodeError> {
        self.0.shared.read(read).await
    }

    pub(crate) fn try_call(&self, call: impl FnOnce(&mut Core) -> Result<(), NodeError> + Send + 'static) {
        self.0.shared.try_call(call);
    }

    pub(crate) fn watch(&self, group: GroupId) -> watch::Receiver<u64> {
        self.0.shared.watch(group)
    }

    /// Waits until the engine's thread is gone.
    pub(crate) async fn stopped(&self) {
        self.0.shared.jobs.closed().await;
    }

    fn handle(&self, info: &ChatInfo) -> Chat {
        Chat { node: self.clone(), group: info.group, kind: info.kind }
    }

    fn salt(&self) -> [u8; SALT_LEN] {
        rand::RngExt::random(&mut *crate::shared::lock(&self.0.dice))
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node")
            .field("peer_id", &self.peer_id())
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

/// Whether a text may be the name of a node.
pub(crate) fn checked_name(name: &str) -> Result<String, NodeError> {
    check_name(name)?;
    Ok(name.to_owned())
}
