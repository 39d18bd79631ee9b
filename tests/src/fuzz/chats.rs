//! What people and authors hand over: tickets, descriptors, posts, and the state that is kept of an author.

use std::sync::OnceLock;

use data_encoding::BASE32_NOPAD;
use hedgerow_clients::limits::{MAX_AUTHOR_SPANS, MAX_KIND};
use hedgerow_clients::{
    Author, AuthorState, ChatGroup, Content, Credential, DirectGroup, DraftError, GroupInvite, PeerTicket,
    PostDraft, PrivateGroup, PublicGroup, Registry,
};
use hedgerow_proto::{GroupDescriptor, Message};
use hedgerow_sync_core::Verdict;

use super::tape::Tape;

/// A text is refused, or is the one way to write that ticket, but for case and white space around.
pub fn ticket(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let plain = text.trim_ascii().to_ascii_lowercase();
    let (peer, group) = (text.parse::<PeerTicket>(), text.parse::<GroupInvite>());
    assert!(peer.is_err() || group.is_err(), "two kinds of ticket in one text");
    if let Ok(ticket) = peer {
        assert_eq!(ticket.to_string(), plain);
        let (name, addresses) = (ticket.name().map(str::to_owned), ticket.addresses().to_vec());
        assert_eq!(PeerTicket::new(ticket.peer(), name, addresses), Ok(ticket));
    }
    if let Ok(invite) = group {
        assert_eq!(invite.to_string(), plain);
        let chat = ChatGroup::parse(invite.descriptor()).expect("a descriptor in a ticket was checked");
        assert_eq!(chat.name(), Some(invite.name()));
        if let GroupInvite::Private { member, .. } = &invite {
            let _ = invite.verify(*member);
            assert!(invite.verify(cast().ada.id()).is_err() || *member == cast().ada.id());
        }
    }
}

/// The input is the inside of a ticket: version and payload, to which the right checksum is added.
pub fn payload(bytes: &[u8]) {
    let mut tape = Tape::new(bytes);
    let prefix = tape.pick(&["hedgerow-peer:", "hedgerow-group:"]);
    let mut inside = tape.rest().to_vec();
    let mut hasher = blake3::Hasher::new_derive_key("hedgerow 2026-11 ticket checksum");
    hasher.update(prefix.as_bytes()).update(&inside);
    inside.extend_from_slice(&hasher.finalize().as_bytes()[..4]);
    ticket(format!("{prefix}{}", BASE32_NOPAD.encode(&inside)).as_bytes());
}

/// A descriptor is refused, or the group that it names has that very descriptor.
pub fn descriptor(bytes: &[u8]) {
    let mut tape = Tape::new(bytes);
    let client = tape.pick(&["hedgerow.direct", "hedgerow.group", "hedgerow.public", "org.example.other"]);
    let major = u32::from(tape.byte() % 3);
    let Ok(descriptor) = GroupDescriptor::new(client, major, tape.rest().to_vec()) else { return };
    let Ok(chat) = ChatGroup::parse(&descriptor) else { return };
    assert_eq!(chat.descriptor(), &descriptor);
    assert_eq!((client != "org.example.other", major), (true, 1));
}

/// Two authors, the three kinds of groups, and their clients.
struct Cast {
    ada: Author,
    ben: Author,
    groups: [GroupDescriptor; 3],
    credential: Credential,
    registry: Registry,
    /// A valid message of each group.
    samples: [Message; 3],
}

fn cast() -> &'static Cast {
    static CAST: OnceLock<Cast> = OnceLock::new();
    CAST.get_or_init(|| {
        let (ada, ben) = (Author::from_seed(&[1; 32]), Author::from_seed(&[2; 32]));
        let private = PrivateGroup::new(ada.id(), [7; 16], "garden").unwrap();
        let credential = *private.invite(&ada, ben.id()).unwrap().credential().unwrap();
        let groups = [
            DirectGroup::new(ada.id(), ben.id()).unwrap().descriptor().clone(),
            private.descriptor().clone(),
            PublicGroup::new([7; 16], "plaza", "").unwrap().descriptor().clone(),
        ];
        let samples = groups.each_ref().map(|group| {
            let draft = PostDraft {
                group,
                timestamp_ms: 1,
                deps: &[],
                number: 1,
                credential: None,
                expires_ms: None,
            };
            draft.message(&ada, &Content::Text("hello".to_owned())).unwrap()
        });
        Cast { ada, ben, groups, credential, registry: Registry::standard(), samples }
    })
}

/// A body is judged alike alone and among others. One that can be read says who wrote it in the place where it
/// stands; and no bytes but the author's pass.
pub fn body(bytes: &[u8]) {
    let mut tape = Tape::new(bytes);
    let at = tape.below(3);
    let Cast { groups, registry, samples, .. } = cast();
    let (group, sample) = (&groups[at], &samples[at]);
    let client = registry.of_group(group).unwrap();
    let body = tape.rest().to_vec();
    let Ok(message) = Message::new(group.id(), 1, vec![], body.clone().into()) else { return };
    let alone = client.judge(group, std::slice::from_ref(&message));
    let among = client.judge(group, &[sample.clone(), message.clone(), sample.clone(), message.clone()]);
    assert!(among[0].is_valid() && among[2].is_valid(), "what was said before is still valid");
    assert_eq!([among[1], among[3]], [alone[0]; 2]);
    let read = client.read(group, &message);
    if let Ok(post) = &read {
        assert_eq!(&body[2..34], post.author.as_bytes());
        assert_eq!(body[34..42], post.number.to_be_bytes());
    }
    if alone[0].is_valid() {
        let mut forged = body;
        *forged.last_mut().unwrap() ^= 1;
        let forged = Message::new(group.id(), 1, vec![], forged.into()).unwrap();
        assert_eq!(client.judge(group, &[forged]), [Verdict::Invalid]);
        let later = Message::new(group.id(), 2, vec![], message.body().clone()).unwrap();
        assert_eq!(client.judge(group, &[later]), [Verdict::Invalid], "moved to another time");
    }
}

/// Content of any kind, signed by a member, is valid; if it can be read, what it says is written in the same way.
pub fn content(bytes: &[u8]) {
    let mut tape = Tape::new(bytes);
    let Cast { ada, ben, groups, credential, registry, .. } = cast();
    let group = &groups[tape.below(3)];
    let by_ben = tape.bit();
    let private = group.client_id() == "hedgerow.group";
    let draft = PostDraft {
        group,
        timestamp_ms: 1,
        deps: &[],
        number: tape.number(),
        credential: (by_ben && private).then_some(credential),
        expires_ms: None,
    };
    let author = if by_ben { ben } else { ada };
    let kind = tape.byte();
    let message = match draft.message_of_kind(author, kind, tape.rest()) {
        Ok(message) => message,
        Err(DraftError::NumberZero) => return assert_eq!(draft.number, 0),
        Err(DraftError::Kind(_)) => return assert!(kind > MAX_KIND),
        Err(DraftError::Message(_)) => return,
        Err(error) => panic!("{error}"),
    };
    let client = registry.of_group(group).unwrap();
    assert!(client.judge(group, std::slice::from_ref(&message))[0].is_valid());
    if let Ok(post) = client.read(group, &message) {
        assert_eq!((post.author, post.number), (author.id(), draft.number));
        assert_eq!(draft.message(author, &post.content), Ok(message));
    }
}

/// The state of an author is refused, or written again to the same; whatever numbers come, it stays small and its
/// gaps ascend.
pub fn author(bytes: &[u8]) {
    let mut tape = Tape::new(bytes);
    let count = tape.below(256);
    let mut state = AuthorState::from_bytes(tape.bytes(count)).unwrap_or_default();
    loop {
        assert_eq!(AuthorState::from_bytes(&state.to_bytes()).as_ref(), Ok(&state));
        assert!(state.forked().span_count() <= MAX_AUTHOR_SPANS);
        let missing: Vec<_> = state.missing().collect();
        assert!(missing.len() <= MAX_AUTHOR_SPANS);
        assert!(missing.iter().all(|span| 0 < span.first && span.first <= span.last));
        assert!(missing.is_sorted_by(|a, b| a.last + 1 < b.first));
        assert!(missing.last().is_none_or(|span| span.last < state.highest()));
        if tape.is_empty() {
            break;
        }
        let number = tape.number();
        let before = state.highest();
        state.note(number);
        assert_eq!(state.highest(), before.max(number));
        assert_eq!(state.next_number(), state.highest().checked_add(1));
    }
}
