//! What the tests of several modules need.

use hedgerow_proto::{GroupDescriptor, Message, PeerId};
use hedgerow_sync_core::Verdict;
use proptest::prelude::*;

use crate::{
    Author, ChatGroup, Client, Content, Credential, DirectGroup, GroupInvite, PostDraft, PrivateGroup,
    PublicGroup,
};

pub(crate) fn author(seed: u8) -> Author {
    Author::from_seed(&[seed; 32])
}

pub(crate) fn text(text: &str) -> Content {
    Content::Text(text.to_owned())
}

pub(crate) fn descriptor(client_id: &str, bytes: &[u8]) -> GroupDescriptor {
    GroupDescriptor::new(client_id, 1, bytes.to_vec()).unwrap()
}

/// A direct, a private and a public group; author 1 created the private one, authors 1 and 2 talk in the
/// direct one.
pub(crate) fn chats() -> [ChatGroup; 3] {
    [
        ChatGroup::Direct(DirectGroup::new(author(1).id(), author(2).id()).unwrap()),
        ChatGroup::Private(PrivateGroup::new(author(1).id(), [7; 16], "garden").unwrap()),
        ChatGroup::Public(PublicGroup::new([9; 16], "plaza", "All are welcome.").unwrap()),
    ]
}

pub(crate) fn draft(group: &GroupDescriptor) -> PostDraft<'_> {
    PostDraft {
        group,
        timestamp_ms: 1_700_000_000_000,
        deps: &[],
        number: 1,
        credential: None,
        expires_ms: None,
    }
}

/// A message that the author of `seed` signed, whether or not it may.
pub(crate) fn message(
    group: &GroupDescriptor,
    seed: u8,
    content: &Content,
    credential: Option<&Credential>,
) -> Message {
    let author = author(seed);
    let content_bytes = content.encode().unwrap();
    let body = crate::body::Body {
        kind: content.kind().code(),
        author: author.id(),
        number: 1,
        credential: credential.copied(),
        content: &content_bytes,
        signature: [0; 64],
    };
    draft(group).seal(&author, &body).unwrap()
}

pub(crate) fn verdict(client: &dyn Client, group: &GroupDescriptor, message: &Message) -> Verdict {
    let [verdict] = client.judge(group, std::slice::from_ref(message))[..] else {
        panic!("one verdict for one")
    };
    // Whatever else is said of the message.
    if verdict.is_valid() { Verdict::VALID } else { verdict }
}

pub(crate) fn names() -> impl Strategy<Value = String> {
    "[\\PC]{1,16}"
}

pub(crate) fn invites() -> impl Strategy<Value = GroupInvite> {
    let private = (any::<[u8; 32]>(), any::<[u8; 16]>(), names(), any::<[u8; 32]>(), any::<[u8; 32]>());
    let private = private.prop_map(|(creator, salt, name, member, credential)| GroupInvite::Private {
        group: PrivateGroup::new(PeerId::from_bytes(creator), salt, &name).unwrap(),
        member: PeerId::from_bytes(member),
        credential: Credential::from_bytes([credential; 2].concat().try_into().unwrap()),
    });
    let public = (any::<[u8; 16]>(), names(), "[\\PC\n]{0,40}");
    let public = public.prop_map(|(salt, name, note)| PublicGroup::new(salt, &name, &note).unwrap().link());
    prop_oneof![private, public]
}
