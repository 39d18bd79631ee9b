//! Direct chats: two peers, and nobody else.

use hedgerow_proto::{GroupDescriptor, Message, PeerId};
use hedgerow_sync_core::Verdict;

use crate::chat::{ChatGroup, GroupError, check_client};
use crate::client::{Client, Post, ReadError};
use crate::judge;

/// The client id of direct chats.
pub const CLIENT_ID: &str = "hedgerow.direct";
/// The major version of direct chats.
pub const MAJOR_VERSION: u32 = 1;

/// The one direct chat of two peers: both come to the same group without a word to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectGroup {
    /// Ascending.
    peers: [PeerId; 2],
    descriptor: GroupDescriptor,
}

impl DirectGroup {
    /// The direct chat of two peers, in any order.
    ///
    /// # Errors
    /// [`GroupError::SamePeer`] if the two are one.
    pub fn new(one: PeerId, other: PeerId) -> Result<Self, GroupError> {
        if one == other {
            return Err(GroupError::SamePeer);
        }
        let peers = [one.min(other), one.max(other)];
        let bytes = peers.map(|peer| *peer.as_bytes()).concat();
        Ok(Self { peers, descriptor: GroupDescriptor::new(CLIENT_ID, MAJOR_VERSION, bytes)? })
    }

    /// Reads the descriptor of a direct chat.
    ///
    /// # Errors
    /// The rule that the descriptor breaks.
    pub fn parse(group: &GroupDescriptor) -> Result<Self, GroupError> {
        check_client(group, CLIENT_ID, MAJOR_VERSION)?;
        let (low, rest) = group.descriptor().split_first_chunk().ok_or(GroupError::Length("direct"))?;
        let high = rest.try_into().map_err(|_| GroupError::Length("direct"))?;
        let parsed = Self::new(PeerId::from_bytes(*low), PeerId::from_bytes(high))?;
        if parsed.descriptor == *group { Ok(parsed) } else { Err(GroupError::Order) }
    }

    /// The descriptor, which names the group.
    #[must_use]
    pub fn descriptor(&self) -> &GroupDescriptor {
        &self.descriptor
    }

    /// The two peers, ascending.
    #[must_use]
    pub fn peers(&self) -> [PeerId; 2] {
        self.peers
    }

    /// With whom `me` talks here; `None` if `me` is not one of the two.
    #[must_use]
    pub fn other(&self, me: PeerId) -> Option<PeerId> {
        let [low, high] = self.peers;
        match me {
            _ if me == low => Some(high),
            _ if me == high => Some(low),
            _ => None,
        }
    }
}

/// The client of direct chats. A post is valid if one of the two peers signed it.
#[derive(Debug, Default, Clone, Copy)]
pub struct DirectClient;

impl Client for DirectClient {
    fn client_id(&self) -> &'static str {
        CLIENT_ID
    }

    fn major_version(&self) -> u32 {
        MAJOR_VERSION
    }

    fn judge(&self, group: &GroupDescriptor, messages: &[Message]) -> Vec<Verdict> {
        judge::judge(DirectGroup::parse(group).map(ChatGroup::Direct), messages, None)
    }

    fn read(&self, group: &GroupDescriptor, message: &Message) -> Result<Post, ReadError> {
        judge::read(&ChatGroup::Direct(DirectGroup::parse(group)?), message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{author, descriptor, message, text, verdict};

    #[test]
    fn both_sides_come_to_the_same_group() {
        let (a, b) = (author(1).id(), author(2).id());
        let group = DirectGroup::new(a, b).unwrap();
        assert_eq!(DirectGroup::new(b, a), Ok(group.clone()));
        assert_eq!([group.other(a), group.other(b), group.other(author(3).id())], [Some(b), Some(a), None]);
        assert_ne!(group.descriptor().id(), DirectGroup::new(a, author(3).id()).unwrap().descriptor().id());
    }

    #[test]
    fn rules_are_named() {
        let (a, b) = (author(1).id(), author(2).id());
        let [low, high] = DirectGroup::new(a, b).unwrap().peers();
        let parse = |parts: &[&[u8]]| DirectGroup::parse(&descriptor(CLIENT_ID, &parts.concat()));
        assert!(parse(&[low.as_bytes(), high.as_bytes()]).is_ok());
        assert_eq!(parse(&[high.as_bytes(), low.as_bytes()]), Err(GroupError::Order));
        assert_eq!(parse(&[low.as_bytes(), low.as_bytes()]), Err(GroupError::SamePeer));
        assert_eq!(parse(&[low.as_bytes()]), Err(GroupError::Length("direct")));
        assert_eq!(parse(&[low.as_bytes(), high.as_bytes(), &[0]]), Err(GroupError::Length("direct")));
        assert_eq!(parse(&[]), Err(GroupError::Length("direct")));
    }

    #[test]
    fn the_two_may_post_and_no_third() {
        let group = DirectGroup::new(author(1).id(), author(2).id()).unwrap();
        let group = group.descriptor();
        assert_eq!(verdict(&DirectClient, group, &message(group, 1, &text("a"), None)), Verdict::VALID);
        assert_eq!(verdict(&DirectClient, group, &message(group, 2, &text("b"), None)), Verdict::VALID);
        assert_eq!(verdict(&DirectClient, group, &message(group, 3, &text("c"), None)), Verdict::Invalid);
    }
}
