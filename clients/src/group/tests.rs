use ed25519_dalek::Verifier as _;

use super::*;
use crate::name::NameError;
use crate::testing::{author, descriptor, message, text, verdict};

fn garden() -> PrivateGroup {
    PrivateGroup::new(author(1).id(), [7; 16], "garden").unwrap()
}

#[test]
fn the_creator_and_members_may_post() {
    let (client, group) = (GroupClient::default(), garden());
    let credential = group.admit(&author(1), author(2).id()).unwrap();
    let judge = |seed, credential| {
        verdict(&client, group.descriptor(), &message(group.descriptor(), seed, &text("hi"), credential))
    };
    assert_eq!(judge(1, None), Verdict::VALID);
    assert_eq!(judge(2, Some(&credential)), Verdict::VALID);
    assert_eq!(judge(2, None), Verdict::Invalid);
    assert_eq!(judge(3, None), Verdict::Invalid);
    // Another member's credential, once before and once after that member's own was remembered.
    assert_eq!(judge(3, Some(&credential)), Verdict::Invalid);
    // The creator has none: the same post could be written in two ways.
    assert_eq!(judge(1, Some(&credential)), Verdict::Invalid);
}

#[test]
fn a_credential_of_anybody_else_is_worth_nothing() {
    let (client, group) = (GroupClient::default(), garden());
    let (two, three) = (author(2), author(3));
    let theirs = PrivateGroup::new(three.id(), [7; 16], "garden").unwrap();
    let other = PrivateGroup::new(author(1).id(), [8; 16], "garden").unwrap();
    let signed_by_three =
        Credential::from_bytes(three.sign(&credential_bytes(group.descriptor().id(), &two.id())));
    for credential in [
        theirs.admit(&three, two.id()).unwrap(),
        other.admit(&author(1), two.id()).unwrap(),
        signed_by_three,
        Credential::from_bytes([0; 64]),
    ] {
        let message = message(group.descriptor(), 2, &text("hi"), Some(&credential));
        assert_eq!(verdict(&client, group.descriptor(), &message), Verdict::Invalid);
    }
}

#[test]
fn what_is_remembered_changes_no_verdict() {
    let group = garden();
    let good = group.admit(&author(1), author(2).id()).unwrap();
    let bad = Credential::from_bytes([5; 64]);
    let say = |seed, credential| message(group.descriptor(), seed, &text("hi"), Some(credential));
    let messages =
        [say(2, &good), say(2, &bad), say(3, &good), say(3, &bad), say(2, &good), say(4, &bad), say(4, &bad)];
    let want = [true, false, false, false, true, false, false]
        .map(|valid| if valid { Verdict::VALID } else { Verdict::Invalid });

    let client = GroupClient::default();
    for _ in 0..3 {
        let verdicts: Vec<bool> =
            client.judge(group.descriptor(), &messages).iter().map(Verdict::is_valid).collect();
        assert_eq!(verdicts, want.map(|verdict| verdict.is_valid()));
    }
    for room in [0, 1] {
        let forgetful = GroupClient { known: KnownCredentials::new(room) };
        let one_by_one = || messages.iter().map(|message| verdict(&forgetful, group.descriptor(), message));
        assert!(one_by_one().chain(one_by_one()).eq(want.into_iter().chain(want)));
        assert_eq!(forgetful.known.len(), room);
    }
}

#[test]
fn credentials_take_bounded_memory() {
    let client = GroupClient { known: KnownCredentials::new(4) };
    let group = garden();
    let messages: Vec<_> = (2..12)
        .map(|seed| {
            let credential = group.admit(&author(1), author(seed).id()).unwrap();
            message(group.descriptor(), seed, &text("hi"), Some(&credential))
        })
        .collect();
    assert!(client.judge(group.descriptor(), &messages).iter().all(Verdict::is_valid));
    assert_eq!(client.known.len(), 4);
}

#[test]
fn what_the_creator_signs() {
    let (group, member) = (garden(), author(2).id());
    let credential = group.admit(&author(1), member).unwrap();
    let signed = [
        b"hedgerow 2026-11 group credential 1\0".as_slice(),
        group.descriptor().id().as_bytes(),
        member.as_bytes(),
    ]
    .concat();
    let key = ed25519_dalek::VerifyingKey::from_bytes(author(1).id().as_bytes()).unwrap();
    assert!(key.verify(&signed, &ed25519_dalek::Signature::from_bytes(credential.as_bytes())).is_ok());
}

#[test]
fn rules_are_named() {
    let new = |name| PrivateGroup::new(author(1).id(), [7; 16], name);
    assert_eq!(new(""), Err(GroupError::Name(NameError::Length(0))));
    assert_eq!(new("a\nb"), Err(GroupError::Name(NameError::Control)));
    let parse = |bytes: &[u8]| PrivateGroup::parse(&descriptor(CLIENT_ID, bytes)).unwrap_err();
    assert_eq!(parse(&[1; 31]), GroupError::Length("private"));
    assert_eq!(parse(&[1; 47]), GroupError::Length("private"));
    assert_eq!(parse(&[1; 48]), GroupError::Name(NameError::Length(0)));
    assert_eq!(parse(&[[1; 48].as_slice(), &[0xff]].concat()), GroupError::Name(NameError::NotUtf8));
    assert_eq!(parse(&[1; 48 + 65]), GroupError::Name(NameError::Length(65)));
}
