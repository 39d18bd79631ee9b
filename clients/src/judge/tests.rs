use std::sync::Arc;

use hedgerow_proto::{GroupDescriptor, MessageId, PeerId};

use super::*;
use crate::BodyError;
use crate::testing::{author, chats, draft, message, text, verdict};
use crate::{
    Author, Client, Content, ContentError, ContentRule, Credential, GroupInvite, PostDraft, Registry,
};

/// A chat with a client, a member who is not its creator, and that member's credential.
type TestCase = (ChatGroup, Arc<dyn Client>, Author, Option<Credential>);

fn cases() -> Vec<TestCase> {
    let case = |chat: ChatGroup| {
        // A client of its own, without any credential remembered.
        let client = Registry::standard().of_group(chat.descriptor()).unwrap().clone();
        let credential = match &chat {
            ChatGroup::Private(group) => Some(group.admit(&author(1), author(2).id()).unwrap()),
            _ => None,
        };
        (chat, client, author(2), credential)
    };
    chats().into_iter().map(case).collect()
}

fn with_body(message: &Message, body: Vec<u8>) -> Message {
    Message::new(message.group(), message.timestamp_ms(), message.deps().to_vec(), body.into()).unwrap()
}

#[test]
fn what_a_member_says_is_valid_and_can_be_read() {
    for (chat, client, member, credential) in cases() {
        let group = chat.descriptor();
        let draft = PostDraft { credential: credential.as_ref(), number: 9, ..draft(group) };
        for content in [text("hello"), Content::Joined { name: "Ben".to_owned() }] {
            let message = draft.message(&member, &content).unwrap();
            assert_eq!(verdict(&*client, group, &message), Verdict::VALID);
            let post = Post { author: member.id(), number: 9, content, expires_ms: None };
            assert_eq!(client.read(group, &message), Ok(post));
        }
    }
}

#[test]
fn any_changed_bit_of_a_body_makes_it_invalid() {
    for (chat, client, member, credential) in cases() {
        let group = chat.descriptor();
        let draft = PostDraft { credential: credential.as_ref(), ..draft(group) };
        let message = draft.message(&member, &text("hi")).unwrap();
        let damaged: Vec<_> = (0..message.body().len() * 8)
            .map(|bit| {
                let mut body = message.body().to_vec();
                body[bit / 8] ^= 1 << (bit % 8);
                with_body(&message, body)
            })
            .collect();
        assert!(client.judge(group, &damaged).iter().all(|verdict| *verdict == Verdict::Invalid));
        // Also when the client knows the member's credential already.
        assert_eq!(verdict(&*client, group, &message), Verdict::VALID);
        assert!(client.judge(group, &damaged).iter().all(|verdict| *verdict == Verdict::Invalid));
    }
}

#[test]
fn a_longer_or_shorter_body_is_invalid() {
    for (chat, client, member, credential) in cases() {
        let group = chat.descriptor();
        let draft = PostDraft { credential: credential.as_ref(), ..draft(group) };
        let message = draft.message(&member, &text("hi")).unwrap();
        let body = message.body().to_vec();
        let mut others: Vec<_> =
            (0..body.len()).map(|len| with_body(&message, body[..len].to_vec())).collect();
        others.push(with_body(&message, [&body[..], &[0]].concat()));
        others.push(with_body(&message, [&[1], &body[..]].concat()));
        assert!(client.judge(group, &others).iter().all(|verdict| *verdict == Verdict::Invalid));
    }
}

#[test]
fn a_body_is_valid_at_its_place_and_nowhere_else() {
    let ids: Vec<_> = (1..4).map(|n| MessageId::from_bytes([n; 32])).collect();
    for (chat, client, member, credential) in cases() {
        let group = chat.descriptor();
        let draft = PostDraft { credential: credential.as_ref(), deps: &ids[..2], ..draft(group) };
        let message = draft.message(&member, &text("hi")).unwrap();
        assert_eq!(verdict(&*client, group, &message), Verdict::VALID);
        let (time, body) = (message.timestamp_ms(), message.body());
        let moved = |time: i64, deps: &[MessageId]| {
            Message::new(message.group(), time, deps.to_vec(), body.clone()).unwrap()
        };
        for moved in [
            moved(time + 1, &ids[..2]),
            moved(0, &ids[..2]),
            moved(time, &[]),
            moved(time, &ids[..1]),
            moved(time, &ids[1..]),
            moved(time, &ids),
        ] {
            assert_eq!(verdict(&*client, group, &moved), Verdict::Invalid);
        }
        // In the group that it was moved to, and under the descriptor of the one that it came from.
        for other in chats() {
            if other != chat {
                let elsewhere =
                    Message::new(other.descriptor().id(), time, ids[..2].to_vec(), body.clone()).unwrap();
                for (_, client, ..) in cases() {
                    for group in [group, other.descriptor()] {
                        assert_eq!(verdict(&*client, group, &elsewhere), Verdict::Invalid);
                    }
                }
            }
        }
    }
}

#[test]
fn nobody_posts_in_the_name_of_another() {
    for (chat, client, member, credential) in cases() {
        let group = chat.descriptor();
        let body =
            Body { kind: 1, author: member.id(), number: 1, credential, content: b"hi", signature: [0; 64] };
        let sealed = |signer: &Author| draft(group).seal(signer, &body).unwrap();
        assert_eq!(verdict(&*client, group, &sealed(&member)), Verdict::VALID);
        assert_eq!(verdict(&*client, group, &sealed(&author(1))), Verdict::Invalid);
        assert_eq!(verdict(&*client, group, &sealed(&author(3))), Verdict::Invalid);
    }
}

#[test]
fn a_name_that_anybody_could_sign_for_posts_nowhere() {
    // y = 1, the neutral element: R = s B is a signature of anything.
    let mut key = [0; 32];
    key[0] = 1;
    let one = key;
    for (chat, client, _, credential) in cases() {
        let body = Body {
            kind: 1,
            author: PeerId::from_bytes(key),
            number: 1,
            credential,
            content: b"hi",
            signature: [0; 64],
        };
        let mut bytes = body.encode_unsigned();
        bytes.extend_from_slice(&[one, [0; 32]].concat());
        let group = chat.descriptor();
        let message = Message::new(group.id(), 1, vec![], bytes.into()).unwrap();
        assert_eq!(verdict(&*client, group, &message), Verdict::Invalid);
    }
}

#[test]
fn a_client_judges_its_own_groups_alone() {
    for (chat, client, member, credential) in cases() {
        let draft = PostDraft { credential: credential.as_ref(), ..draft(chat.descriptor()) };
        let message = draft.message(&member, &text("hi")).unwrap();
        let ours = chat.descriptor();
        let later = GroupDescriptor::new(ours.client_id(), 2, ours.descriptor().to_vec()).unwrap();
        assert_eq!(verdict(&*client, &later, &message), Verdict::Invalid);
        assert!(matches!(client.read(&later, &message), Err(ReadError::Group(_))));
        for (other, ..) in cases() {
            if other != chat {
                assert_eq!(verdict(&*client, other.descriptor(), &message), Verdict::Invalid);
            }
        }
    }
}

#[test]
fn a_kind_of_another_day_is_valid_and_unreadable() {
    for (chat, client, member, credential) in cases() {
        let group = chat.descriptor();
        let draft = PostDraft { credential: credential.as_ref(), ..draft(group) };
        for kind in [0, 5, 63] {
            let message = draft.message_of_kind(&member, kind, b"\xff from a later day").unwrap();
            assert_eq!(verdict(&*client, group, &message), Verdict::VALID);
            assert_eq!(client.read(group, &message), Err(ReadError::UnknownKind(kind)));
        }
    }
}

#[test]
fn a_post_says_who_wrote_it_and_when_it_expires() {
    for (chat, client, member, credential) in cases() {
        let group = chat.descriptor();
        for expires_ms in [None, Some(1_700_000_000_001), Some(i64::MAX)] {
            let draft = PostDraft { credential: credential.as_ref(), expires_ms, ..draft(group) };
            let message = draft.message(&member, &text("soon gone")).unwrap();
            let facts = MessageFacts { author: Some(*member.id().as_bytes()), expires_ms };
            assert_eq!(client.judge(group, std::slice::from_ref(&message)), [Verdict::Valid(facts)]);
            let post = client.read(group, &message).unwrap();
            assert_eq!((post.content, post.expires_ms), (text("soon gone"), expires_ms));
        }
        // The time is signed as everything else.
        let draft = PostDraft { credential: credential.as_ref(), expires_ms: Some(i64::MAX), ..draft(group) };
        let message = draft.message(&member, &text("soon gone")).unwrap();
        let at = if credential.is_some() { 42 + 64 } else { 42 };
        let mut body = message.body().to_vec();
        assert_eq!(body[at..at + 8], i64::MAX.to_be_bytes());
        body[at] ^= 1;
        let forged = Message::new(group.id(), message.timestamp_ms(), vec![], body.into()).unwrap();
        assert_eq!(verdict(&*client, group, &forged), Verdict::Invalid);
    }
}

#[test]
fn an_expiry_that_is_none_is_valid_and_unreadable_and_never_comes() {
    for (chat, client, member, credential) in cases() {
        let group = chat.descriptor();
        for content in [&b""[..], b"1234567", &(-1_i64).to_be_bytes(), &i64::MIN.to_be_bytes()] {
            let body = crate::body::Body {
                kind: 0x41,
                author: member.id(),
                number: 1,
                credential,
                content,
                signature: [0; 64],
            };
            let message = draft(group).seal(&member, &body).unwrap();
            let facts = MessageFacts { author: Some(*member.id().as_bytes()), expires_ms: None };
            assert_eq!(client.judge(group, std::slice::from_ref(&message)), [Verdict::Valid(facts)]);
            assert_eq!(client.read(group, &message), Err(ReadError::Body(BodyError::Expiry)));
        }
    }
}

#[test]
fn content_that_breaks_a_rule_is_valid_and_unreadable() {
    for (chat, client, member, credential) in cases() {
        let group = chat.descriptor();
        let draft = PostDraft { credential: credential.as_ref(), ..draft(group) };
        for (kind, content) in [(1, &b""[..]), (1, b"\xff"), (2, b"a\nb"), (2, &[b'x'; 65])] {
            let message = draft.message_of_kind(&member, kind, content).unwrap();
            assert_eq!(verdict(&*client, group, &message), Verdict::VALID);
            assert!(matches!(client.read(group, &message), Err(ReadError::Content(_))));
        }
        let added = [member.id().as_bytes().as_slice(), b"Ben"].concat();
        let message = draft.message_of_kind(&member, 3, &added).unwrap();
        assert_eq!(verdict(&*client, group, &message), Verdict::VALID);
        assert!(matches!(client.read(group, &message), Err(ReadError::Rule(_))));
    }
}

#[test]
fn an_invitation_stands_in_a_direct_chat() {
    let [direct, private, public] = chats();
    let ChatGroup::Private(garden) = &private else { panic!() };
    let ChatGroup::Public(plaza) = &public else { panic!() };
    let client = Registry::standard().of_group(direct.descriptor()).unwrap().clone();
    for invite in [garden.invite(&author(1), author(2).id()).unwrap(), plaza.link()] {
        let said = Content::Invite(invite.clone());
        let message = draft(direct.descriptor()).message(&author(1), &said).unwrap();
        assert_eq!(verdict(&*client, direct.descriptor(), &message), Verdict::VALID);
        let Content::Invite(read) = client.read(direct.descriptor(), &message).unwrap().content else {
            panic!()
        };
        assert_eq!(read, invite);
        assert_eq!(GroupInvite::verify(&read, author(2).id()), Ok(()));
        let misplaced = message_in(&public, &said);
        let reader = Registry::standard().of_group(public.descriptor()).unwrap().clone();
        assert!(matches!(
            reader.read(public.descriptor(), &misplaced),
            Err(ReadError::Rule(ContentRule::OtherClient { .. }))
        ));
    }
    let broken = draft(direct.descriptor()).message_of_kind(&author(1), 4, &[9]).unwrap();
    assert!(matches!(
        client.read(direct.descriptor(), &broken),
        Err(ReadError::Content(ContentError::Invite(_)))
    ));
}

fn message_in(chat: &ChatGroup, content: &Content) -> Message {
    message(chat.descriptor(), 1, content, None)
}

/// One body of each client, in full: whoever changes the layout changes the protocol.
#[test]
fn the_layout_stays() {
    for ((chat, client, member, credential), golden) in cases().into_iter().zip(GOLDEN) {
        let group = chat.descriptor();
        let deps = [MessageId::from_bytes([3; 32])];
        let draft = PostDraft { credential: credential.as_ref(), deps: &deps, number: 258, ..draft(group) };
        let message = draft.message(&member, &text("hedgerow")).unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(message.body()), golden.concat(), "{}", client.client_id());

        // What is signed, written out once more, and another library's verdict on it.
        let (unsigned, signature) = message.body().split_last_chunk::<64>().unwrap();
        let client_id = group.client_id().as_bytes();
        let signed = [
            b"hedgerow 2026-11 chat post 1\0".as_slice(),
            &[0, u8::try_from(client_id.len()).unwrap()],
            client_id,
            &[0, 0, 0, 1],
            group.id().as_bytes(),
            &1_700_000_000_000_i64.to_be_bytes(),
            &[0, 1],
            &[3; 32],
            unsigned,
        ]
        .concat();
        let key = ed25519_dalek::VerifyingKey::from_bytes(member.id().as_bytes()).unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(signature);
        assert!(key.verify_strict(&signed, &signature).is_ok());
    }
}

const GOLDEN: [&[&str]; 3] = [
    &[
        "01018139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b3940000000000000102686564676572",
        "6f77e3902023acc3de2d05de2463aeb9e1d325d2559c56b2f13fe9401a9f0c78fc3d13397af74088540cca57ccb63642",
        "d102b6206eb3c2901e560be106a8dd0c6b0f",
    ],
    &[
        "01818139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b3940000000000000102e554a4349967",
        "5076dac345d266962a7a36ab50f02c046c082c8c5c3e276e0b9412a258bc65822ec6bf17e4e178125adb6542839e13fc",
        "a61442e77c00c1abc50f6865646765726f773c3014b217d0767e1e62ddb7d5b00cd6c84e86b0594cacd68c0733268492",
        "d9e8393fdf5bc81e489542a6574bce9b887e3fa9f69377bcda82f39963760347280e",
    ],
    &[
        "01018139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b3940000000000000102686564676572",
        "6f7749da01231dc51a3c95bf4d1b494b1d9bae67439fcc869f9bde19ccf4fdc918e1cb4dd6658ac9e7e21b863920d9a9",
        "57e2030e0713fc7b9396890fc950b73e9506",
    ],
];
