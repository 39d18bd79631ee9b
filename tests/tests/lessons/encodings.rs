//! A message is its fields, all of them and nothing else: not its bytes on a wire, and not a part of it.

use bytes::Bytes;
use hedgerow_clients::{
    Author, ChatGroup, Content, Credential, DirectGroup, PostDraft, PrivateGroup, PublicGroup, Registry,
};
use hedgerow_proto::{
    Batch, Codec as _, DepRef, Frame, GroupDescriptor, GroupRef, Message, MessageId, NativeCodec,
};
use hedgerow_sync_core::Verdict;
use hedgerow_sync_core::testing::Net;
use proptest::prelude::*;

use crate::support::{Fake, assert_sound, batch, encode, message, wire};

/// A field of a protobuf message; with padding, in a form that no encoder writes and every decoder takes.
fn field(number: u8, value: &[u8], kind: u8, padded: bool) -> Vec<u8> {
    let mut out = vec![number << 3 | kind];
    if kind == 2 {
        out.extend(varint(value.len() as u64, padded));
    }
    out.extend_from_slice(value);
    out
}

fn varint(mut value: u64, padded: bool) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 || (padded && out.len() < 4) {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
    out
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

/// One batch with one message, written by hand: its time in two parts, its fields in any order.
fn by_hand(split: i64, dep: MessageId, body: &[u8], padded: bool, reversed: bool, extra: bool) -> Bytes {
    let unknown = || if extra { [vec![0x98, 0x06], varint(7, padded)].concat() } else { vec![] };
    let mut fields = [
        field(2, &varint(zigzag(5 - split), padded), 0, padded),
        field(4, dep.as_bytes(), 2, padded),
        field(5, body, 2, padded),
        unknown(),
    ];
    if reversed {
        fields.reverse();
    }
    let mut fields = [
        field(1, &varint(1, padded), 0, padded),
        field(3, &varint(split.cast_unsigned(), padded && split < 1 << 20), 0, padded),
        field(4, &fields.concat(), 2, padded),
        unknown(),
    ];
    if reversed {
        fields.reverse();
    }
    [unknown(), field(6, &fields.concat(), 2, padded)].concat().into()
}

/// The id of an MVDS message leaves its parents out and has no lengths in it, so that a carrier can make two
/// messages of one, or one of two. Here the receiver computes the id over every field: however a frame is written,
/// it is one message; and whatever field differs, it is another.
#[test]
fn two_encodings_of_one_message_become_two_messages() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let fake = Fake::new(&mut net, &[group]);
    let parent = message(group, "parent", &[]);
    let child = message(group, "child", &[&parent]);
    // By id in the codec's own words, and by its distance from the parent.
    fake.say(&mut net, batch(1, vec![wire(&parent, Some(1)), wire(&child, Some(9))]));
    let back = hedgerow_proto::WireMessage { deps: vec![DepRef::Position(1)], ..wire(&child, Some(10)) };
    fake.say(&mut net, batch(1, vec![back]));
    let mut forms = 2;
    for split in [0, 5, 3, 1 << 40, -77] {
        for (padded, reversed, extra) in (0..8).map(|bits| (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0)) {
            let bytes = by_hand(split, parent.id(), b"child", padded, reversed, extra);
            let frame = NativeCodec::new().decode(bytes.clone()).unwrap();
            assert_eq!(frame, batch(1, vec![wire(&child, None)]), "{split} {padded} {reversed} {extra}");
            net.engines[0].receive(fake.link, bytes, net.now).unwrap();
            forms += 1;
        }
    }
    net.drain(0);
    assert_eq!(net.log(0, group).iter().map(|e| e.id).collect::<Vec<_>>(), [parent.id(), child.id()]);
    let traffic = net.engines[0].status().links[0].traffic;
    assert_eq!((traffic.messages_in, traffic.duplicates_in, traffic.refused), (forms + 1, forms - 1, 0));

    // One body in four places of the graph and of time are four messages; a dependency does not pass for a body.
    let id = |deps: Vec<MessageId>, body: Vec<u8>, time| {
        Message::new(group, time, deps, body.into()).unwrap().id()
    };
    let dep = parent.id();
    let ids = [
        id(vec![], b"child".to_vec(), 5),
        id(vec![dep], b"child".to_vec(), 5),
        id(vec![dep], b"child".to_vec(), 6),
        id(vec![child.id()], b"child".to_vec(), 5),
        id(vec![], [dep.as_bytes().as_slice(), b"child"].concat(), 5),
        id(vec![dep], b"childchild".to_vec(), 5),
    ];
    for (n, id) in ids.iter().enumerate() {
        assert!(!ids[..n].contains(id), "{n}");
    }
    assert_sound(&net, 0);
}

/// How bytes are altered: where, and what with.
#[derive(Debug, Clone)]
enum Change {
    Set(usize, u8),
    Insert(usize, u8),
    Remove(usize),
    Repeat(usize, usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let at = || any::<usize>();
    let change = prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        at().prop_map(Change::Remove),
        (at(), at()).prop_map(|(from, len)| Change::Repeat(from, len)),
    ];
    proptest::collection::vec(change, 1..4)
}

fn alter(bytes: &[u8], changes: &[Change]) -> Bytes {
    let mut bytes = bytes.to_vec();
    for change in changes {
        let len = bytes.len();
        match *change {
            Change::Set(at, byte) if len > 0 => bytes[at % len] = byte,
            Change::Insert(at, byte) => bytes.insert(at % (len + 1), byte),
            Change::Remove(at) if len > 0 => drop(bytes.remove(at % len)),
            Change::Repeat(from, count) if len > 0 => {
                let part = bytes[from % len..].iter().take(count % 40).copied().collect::<Vec<_>>();
                bytes.extend(part);
            }
            _ => {}
        }
    }
    bytes.into()
}

/// A conversation of five messages in one frame, with references of every kind.
fn conversation(net: &mut Net) -> (Fake, Frame) {
    let group = net.group("g", false);
    let fake = Fake::new(net, &[group]);
    let a = message(group, "a", &[]);
    let b = message(group, "b", &[&a]);
    let c = message(group, "c", &[&a, &b]);
    let by_position = |m: &Message, at, deps: &[u64]| hedgerow_proto::WireMessage {
        deps: deps.iter().map(|&dep| DepRef::Position(dep)).collect(),
        ..wire(m, Some(at))
    };
    let messages = vec![wire(&a, Some(1)), by_position(&b, 2, &[1]), by_position(&c, 5, &[1, 2])];
    let loose = vec![wire(&message(group, "d", &[&c]), None), wire(&message(group, "e", &[&a, &c]), None)];
    let batches = [messages, loose].map(|messages| Batch { group: GroupRef::Number(1), messages, chain: 0 });
    (fake, Frame { batches: batches.into(), ..Frame::default() })
}

/// What node 0 has of the group after these bytes; `None` if they ended the link.
fn taken(bytes: &Bytes) -> Option<Vec<MessageId>> {
    let mut net = Net::new(1, 1);
    let (fake, _) = conversation(&mut net);
    net.engines[0].receive(fake.link, bytes.clone(), net.now).ok()?;
    net.drain(0);
    assert_sound(&net, 0);
    let group = hedgerow_sync_core::testing::descriptor("g").id();
    let mut ids: Vec<MessageId> = net.log(0, group).into_iter().map(|entry| entry.id).collect();
    ids.extend(net.engines[0].missing(group).iter().map(|missing| missing.id));
    Some(ids)
}

/// A body of each chat, rightly signed.
fn posts() -> Vec<(GroupDescriptor, Message)> {
    let [ada, ben] = [1, 2].map(|seed| Author::from_seed(&[seed; 32]));
    let garden = PrivateGroup::new(ada.id(), [7; 16], "garden").unwrap();
    let credential = garden.admit(&ada, ben.id()).unwrap();
    let chats = [
        (ChatGroup::Direct(DirectGroup::new(ada.id(), ben.id()).unwrap()), None),
        (ChatGroup::Private(garden), Some(&credential)),
        (ChatGroup::Public(PublicGroup::new([9; 16], "plaza", "").unwrap()), None),
    ];
    let post = |(chat, credential): &(ChatGroup, Option<&Credential>)| {
        let group = chat.descriptor().clone();
        let draft = PostDraft {
            group: &group,
            timestamp_ms: 5,
            deps: &[],
            number: 1,
            credential: *credential,
            expires_ms: None,
        };
        let message = draft.message(&ben, &Content::Text("The beans are up.".to_owned())).unwrap();
        (group, message)
    };
    chats.iter().map(post).collect()
}

fn is_valid(group: &GroupDescriptor, body: Bytes) -> bool {
    let message = Message::new(group.id(), 5, vec![], body).unwrap();
    Registry::standard().of_group(group).unwrap().judge(group, &[message]).iter().all(Verdict::is_valid)
}

/// The order of the Ed25519 group, little-endian.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

/// The same signature, with `s` grown by the order of the group.
fn second_signature(bytes: &mut [u8]) {
    let mut carry = 0;
    for (byte, more) in bytes[32..64].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(more) + carry;
        *byte = u8::try_from(sum & 0xff).unwrap();
        carry = sum >> 8;
    }
}

/// A signature that has a second form makes a second message of a post, as valid as the first, in the hands of any
/// carrier. Here each body has one form: a credential or a signature in its other form is refused.
#[test]
fn a_second_form_of_a_signature_makes_a_second_post() {
    for (group, post) in posts() {
        let body = post.body().to_vec();
        assert!(is_valid(&group, body.clone().into()));
        let at = body.len() - 64;
        let mut places = vec![at];
        if body[1] & 0x80 > 0 {
            places.push(1 + 1 + 32 + 8);
        }
        for place in places {
            let mut other = body.clone();
            second_signature(&mut other[place..place + 64]);
            assert_ne!(other, body);
            assert!(!is_valid(&group, other.into()), "{} at {place}", group.client_id());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Bytes that were altered are no frame, or the same frame in other words, or another frame: what is taken of
    /// them follows from the fields alone.
    #[test]
    fn altered_frames_are_refused_or_mean_what_their_fields_say(changes in changes()) {
        let (_, frame) = conversation(&mut Net::new(1, 1));
        let bytes = alter(&encode(&frame), &changes);
        if let Ok(decoded) = NativeCodec::new().decode(bytes.clone()) {
            let mut normal = Vec::new();
            // What cannot be written again was never written by anybody who may.
            if NativeCodec::new().encode(&decoded, &mut normal).is_ok() {
                let normal = Bytes::from(normal);
                prop_assert_eq!(NativeCodec::new().decode(normal.clone()), Ok(decoded));
                prop_assert_eq!(taken(&bytes), taken(&normal));
            }
        }
    }

    /// No body but the one that its author signed is valid.
    #[test]
    fn altered_bodies_are_refused(which in 0_usize..3, changes in changes()) {
        let (group, post) = posts().swap_remove(which);
        let altered = alter(post.body(), &changes);
        prop_assert_eq!(is_valid(&group, altered.clone()), altered == post.body());
    }
}
