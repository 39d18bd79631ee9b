//! The clients, as the node sees them.

use std::sync::Arc;

use hedgerow_proto::{GroupDescriptor, Message, PeerId};
use hedgerow_sync_core::Verdict;

use crate::body::BodyError;
use crate::chat::{ContentRule, GroupError};
use crate::content::{Content, ContentError};
use crate::direct::DirectClient;
use crate::group::GroupClient;
use crate::public::PublicClient;

/// Knows what the bodies of its groups mean. It keeps no state that changes an answer, does no I/O and never
/// blocks for long: a call may run on any thread, several at once.
pub trait Client: Send + Sync {
    /// The client id that its groups name.
    fn client_id(&self) -> &'static str;

    /// The major version that its groups name.
    fn major_version(&self) -> u32;

    /// Judges each message, in order. A verdict depends on the message and the group alone: the same alone or
    /// among others, in any order, on every peer. Signatures are verified together, so that many messages at
    /// once cost less.
    ///
    /// It takes some 200 bytes of memory for each message besides the messages: the caller bounds how many
    /// there are. A message of another group, and any message of a group that is not this client's, is
    /// [`Verdict::Invalid`].
    ///
    /// With [`Verdict::Valid`] it names the author of the message, on whose account it is kept, and the time at which
    /// it expires.
    fn judge(&self, group: &GroupDescriptor, messages: &[Message]) -> Vec<Verdict>;

    /// What a message says. It does not verify anything: only messages that were judged [`Verdict::Valid`]
    /// say what their author says.
    ///
    /// # Errors
    /// A valid message may be unreadable: of a kind that a later version will know, or written by a faulty
    /// program.
    fn read(&self, group: &GroupDescriptor, message: &Message) -> Result<Post, ReadError>;
}

/// What an author said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Post {
    /// Who said it.
    pub author: PeerId,
    /// The author's running number in the group, from 1: a gap or a repeat shows in an
    /// [`AuthorState`](crate::AuthorState).
    pub number: u64,
    /// What was said.
    pub content: Content,
    /// From when on no device may hold it, in ms since 1970-01-01 UTC; `None`: for ever.
    pub expires_ms: Option<i64>,
}

/// Why a message cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The group is not one of this client.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The body is not in the layout of a post. A valid message never is so.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// A kind of content that this version does not know.
    #[error("content of kind {0}, which this version does not know")]
    UnknownKind(u8),
    /// Said where, or by whom, it has no meaning.
    #[error(transparent)]
    Rule(#[from] ContentRule),
    /// The content is not in the form of its kind.
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// The clients of a node, by client id and major version.
#[derive(Clone, Default)]
pub struct Registry {
    clients: Vec<Arc<dyn Client>>,
}

impl Registry {
    /// A registry without clients: such a node stores and forwards, and reads nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The clients of this crate: direct, group and public chat.
    #[must_use]
    pub fn standard() -> Self {
        Self::new().with(DirectClient).with(GroupClient::default()).with(PublicClient)
    }

    /// Adds a client, in place of one of the same client id and major version.
    #[must_use]
    pub fn with(mut self, client: impl Client + 'static) -> Self {
        let same = |c: &Arc<dyn Client>| (c.client_id(), c.major_version());
        let client: Arc<dyn Client> = Arc::new(client);
        self.clients.retain(|other| same(other) != same(&client));
        self.clients.push(client);
        self
    }

    /// The client of this client id and major version.
    #[must_use]
    pub fn get(&self, client_id: &str, major_version: u32) -> Option<&Arc<dyn Client>> {
        self.clients.iter().find(|c| c.client_id() == client_id && c.major_version() == major_version)
    }

    /// The client that reads `group`.
    #[must_use]
    pub fn of_group(&self, group: &GroupDescriptor) -> Option<&Arc<dyn Client>> {
        self.get(group.client_id(), group.major_version())
    }

    /// The clients, in the order in which they were added.
    pub fn clients(&self) -> impl ExactSizeIterator<Item = &Arc<dyn Client>> {
        self.clients.iter()
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.clients.iter().map(|c| (c.client_id(), c.major_version()))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{chats, descriptor};

    #[test]
    fn each_group_finds_its_client() {
        let registry = Registry::standard();
        for chat in chats() {
            let client = registry.of_group(chat.descriptor()).unwrap();
            assert_eq!(client.client_id(), chat.descriptor().client_id());
        }
        assert!(registry.of_group(&descriptor("org.example.other", &[])).is_none());
        assert!(registry.get(crate::direct::CLIENT_ID, 2).is_none());
        assert!(Registry::new().of_group(chats()[0].descriptor()).is_none());
    }

    #[test]
    fn a_client_takes_the_place_of_its_like() {
        let registry = Registry::standard().with(DirectClient);
        assert_eq!(registry.clients().len(), 3);
        assert_eq!(
            format!("{registry:?}"),
            r#"[("hedgerow.group", 1), ("hedgerow.public", 1), ("hedgerow.direct", 1)]"#
        );
    }
}
