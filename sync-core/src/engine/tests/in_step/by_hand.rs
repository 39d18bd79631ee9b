//! A peer that says values, and answers those of others, by hand.

use hedgerow_proto::{Ack, Frame, GroupId, GroupRef, InStep, PeerId, Span, Visibility};

use crate::engine::tests::faults::LIAR;
use crate::order::chain;
use crate::testing::by_hand::{NONCE, encode, greeting, hear, hello};
use crate::testing::{Net, descriptor};
use crate::{Config, LinkId, LinkProfile, ReceiveError, Rule};

/// Node 0, which has met the liar and shares `groups` with it, and its next link to it.
fn met(names: &[&str], config: Config) -> (Net, Vec<GroupId>, LinkId) {
    let mut net = Net::with(1, 1, config);
    let groups: Vec<GroupId> = names.iter().map(|name| net.group(name, false)).collect();
    let liar = PeerId::from_bytes(LIAR);
    for &group in &groups {
        net.engines[0].set_visibility(liar, group, Visibility::Shared).unwrap();
    }
    let link = net.engines[0].link_up(liar, LinkProfile::reliable(), net.now).unwrap();
    say(&mut net, link, &greeting(&groups)).unwrap();
    net.drain(0);
    hear(&mut net.engines[0], link, net.now);
    net.engines[0].link_down(link, net.now);
    let link = net.engines[0].link_up(liar, LinkProfile::reliable(), net.now).unwrap();
    (net, groups, link)
}

fn say(net: &mut Net, link: LinkId, frame: &Frame) -> Result<(), ReceiveError> {
    let result = net.engines[0].receive(link, encode(frame), net.now);
    net.drain(0);
    result
}

fn listen(net: &mut Net, link: LinkId) -> Vec<Frame> {
    hear(&mut net.engines[0], link, net.now)
}

fn values(first: u32, values: Vec<[u8; 7]>) -> Frame {
    Frame { in_step: Some(InStep { first, values }), ..Frame::default() }
}

fn opening(values_said: Vec<[u8; 7]>) -> Frame {
    Frame { hello: Some(hello(1)), ..values(1, values_said) }
}

fn value(group: GroupId, mark: u64, mark_chain: u64) -> [u8; 7] {
    InStep::value_of(&NONCE, group, mark, mark_chain)
}

/// What of a peer's numbers was matched and what was not.
fn answers(frames: &[Frame]) -> (Vec<Span>, Vec<Span>) {
    let matched = frames.iter().flat_map(|frame| &frame.matched).copied().collect();
    (matched, frames.iter().flat_map(|frame| &frame.unmatched).copied().collect())
}

fn announced(frames: &[Frame]) -> Vec<u32> {
    frames.iter().flat_map(|frame| &frame.announces).map(|announce| announce.number).collect()
}

// spec: in-step-answer
#[test]
fn nobody_learns_by_a_value_which_groups_there_are() {
    let (mut net, groups, link) = met(&["shared"], Config::default());
    // Node 0 has it, but not for the liar.
    let hidden = net.group("hidden", false);
    net.publish(0, hidden, "secret");
    let secret = net.log(0, hidden)[0].id;
    let unknown = descriptor("unknown").id();
    let said = vec![
        value(hidden, 0, 0),
        value(hidden, 1, chain(0, &secret)),
        value(unknown, 0, 0),
        value(groups[0], 1, chain(0, &secret)),
        [0; 7],
        value(groups[0], 0, 0),
    ];
    say(&mut net, link, &opening(said)).unwrap();
    let heard = listen(&mut net, link);
    assert_eq!(answers(&heard), (vec![Span::one(6)], vec![Span { first: 1, last: 5 }]));
    // Numbers that were not matched name nothing.
    let refused = net.engines[0].traffic().refused;
    for number in 1..=5 {
        let (held, known, ids) = (vec![], vec![], vec![secret]);
        let ack =
            Ack { group: GroupRef::Number(number), held, known, ids, duplicates: 0, chain: 0, reset: 0 };
        say(&mut net, link, &Frame { acks: vec![ack], ..Frame::default() }).unwrap();
    }
    assert_eq!(net.engines[0].traffic().refused - refused, 5);
    net.publish(0, groups[0], "for the liar");
    let frames = listen(&mut net, link);
    assert_eq!(frames.iter().flat_map(|frame| &frame.batches).count(), 1);
}

// spec: in-step-once
#[test]
fn a_value_counts_once_and_endless_values_end_the_link() {
    let (mut net, groups, link) = met(&["g"], Config { max_announces: 10, ..Config::default() });
    say(&mut net, link, &opening(vec![value(groups[0], 0, 0); 3])).unwrap();
    assert_eq!(answers(&listen(&mut net, link)), (vec![Span::one(1)], vec![Span { first: 2, last: 3 }]));
    say(&mut net, link, &values(100, vec![[1; 7]; 7])).unwrap();
    assert_eq!(answers(&listen(&mut net, link)), (vec![], vec![Span { first: 100, last: 106 }]));
    match say(&mut net, link, &values(200, vec![[1; 7]])) {
        Err(ReceiveError::Violation(violation)) => assert_eq!(violation.rule, Rule::TooManyAnnounces(10)),
        other => panic!("{other:?}"),
    }
    assert_eq!(net.engines[0].audit(), Vec::<String>::new());
}

// spec: in-step
#[test]
fn values_are_ignored_on_links_that_lose_frames() {
    let (mut net, groups, link) = met(&["g"], Config::default());
    net.engines[0].link_down(link, net.now);
    let liar = PeerId::from_bytes(LIAR);
    let link = net.engines[0].link_up(liar, LinkProfile::lossy(1_200), net.now).unwrap();
    let frame = Frame { number: Some(1), ..opening(vec![value(groups[0], 0, 0)]) };
    say(&mut net, link, &frame).unwrap();
    let heard = listen(&mut net, link);
    assert!(heard.iter().all(|frame| frame.in_step.is_none()));
    assert_eq!((answers(&heard), announced(&heard)), ((vec![], vec![]), vec![1]));
    assert_eq!(net.engines[0].traffic().refused, 1);
}

// spec: in-step-name
#[test]
fn a_name_given_by_a_value_is_announced_with_what_needs_it_until_it_is_matched() {
    for matched in [false, true] {
        let (mut net, groups, link) = met(&["one", "two"], Config::default());
        let opened = listen(&mut net, link);
        let said: Vec<_> = opened.iter().filter_map(|frame| frame.in_step.as_ref()).collect();
        assert_eq!((said[0].first, said[0].values.len()), (1, 2));
        say(&mut net, link, &greeting(&groups)).unwrap();
        assert_eq!(listen(&mut net, link), []);
        if matched {
            let matched = vec![Span { first: 1, last: 2 }];
            say(&mut net, link, &Frame { matched, ..Frame::default() }).unwrap();
        }
        net.publish(0, groups[1], "new");
        let heard = listen(&mut net, link);
        assert_eq!(heard.len(), 1);
        assert_eq!(heard[0].batches[0].group, GroupRef::Number(2));
        assert_eq!(announced(&heard), if matched { vec![] } else { vec![2] });
        // So does what is never stored.
        net.engines[0].publish_ephemeral(groups[0], "typing".into(), net.now).unwrap();
        let heard = listen(&mut net, link);
        assert_eq!(heard[0].ephemerals[0].group, GroupRef::Number(1));
        assert_eq!(announced(&heard), if matched { vec![] } else { vec![1] });
        // An answer that comes now says nothing new.
        let unmatched = vec![Span { first: 1, last: 2 }];
        say(&mut net, link, &Frame { unmatched, ..Frame::default() }).unwrap();
        assert_eq!(listen(&mut net, link), []);
    }
}

// spec: in-step-answer
#[test]
fn whoever_wants_everything_in_full_gets_one_announcement_each() {
    let (mut net, groups, link) = met(&["one", "two", "three"], Config::default());
    listen(&mut net, link);
    say(&mut net, link, &greeting(&groups)).unwrap();
    let all = Span { first: 1, last: u64::MAX };
    let ask = Frame { unmatched: vec![all], ..Frame::default() };
    say(&mut net, link, &ask).unwrap();
    assert_eq!(announced(&listen(&mut net, link)), [1, 2, 3]);
    for _ in 0..10 {
        say(&mut net, link, &ask).unwrap();
        say(&mut net, link, &Frame { matched: vec![all], ..Frame::default() }).unwrap();
        assert_eq!(listen(&mut net, link), []);
    }
    assert_eq!(net.engines[0].audit(), Vec::<String>::new());
}

// spec: in-step-name
#[test]
fn only_the_name_that_is_not_matched_is_announced_and_only_to_a_peer_that_said_hello() {
    let (mut net, groups, link) = met(&["one", "two"], Config::default());
    listen(&mut net, link);
    net.publish(0, groups[0], "before HELLO");
    assert_eq!(announced(&listen(&mut net, link)), []);
    say(&mut net, link, &greeting(&groups)).unwrap();
    say(&mut net, link, &Frame { matched: vec![Span::one(2)], ..Frame::default() }).unwrap();
    assert_eq!(announced(&listen(&mut net, link)), [1]);
    // Only now is one of them named by a value that was matched, and the other one by a value that was not.
    let (mut net, groups, link) = met(&["one", "two"], Config::default());
    listen(&mut net, link);
    say(&mut net, link, &greeting(&groups)).unwrap();
    say(&mut net, link, &Frame { matched: vec![Span::one(2)], ..Frame::default() }).unwrap();
    net.publish(0, groups[1], "new");
    let heard = listen(&mut net, link);
    assert_eq!(heard[0].batches[0].group, GroupRef::Number(2));
    assert_eq!(announced(&heard), []);
}

// spec: in-step
#[test]
fn who_has_another_store_than_the_one_that_was_met_is_told_everything_in_full() {
    let (mut net, groups, link) = met(&["g"], Config::default());
    say(&mut net, link, &Frame { hello: Some(hello(2)), ..greeting(&groups) }).unwrap();
    let heard = listen(&mut net, link);
    assert!(heard.iter().all(|frame| frame.in_step.is_none()));
    assert_eq!(announced(&heard), [1]);
}

// spec: in-step
#[test]
fn a_group_that_is_added_later_is_announced_in_full() {
    let (mut net, groups, link) = met(&["one"], Config::default());
    listen(&mut net, link);
    say(&mut net, link, &greeting(&groups)).unwrap();
    let later = net.group("later", false);
    net.engines[0].set_visibility(PeerId::from_bytes(LIAR), later, Visibility::Shared).unwrap();
    let heard = listen(&mut net, link);
    assert!(heard.iter().all(|frame| frame.in_step.is_none()));
    assert_eq!(announced(&heard), [2]);
}

#[test]
fn no_number_is_given_twice_when_there_are_no_more() {
    let (mut net, _, link) = met(&["one", "two", "three"], Config::default());
    net.engines[0].links.get_mut(&link).unwrap().next_number = u32::MAX - 2;
    let said: Vec<InStep> = listen(&mut net, link).into_iter().filter_map(|frame| frame.in_step).collect();
    assert_eq!(said.len(), 1);
    assert_eq!((said[0].first, said[0].values.len()), (u32::MAX - 2, 2));
}

/// A group that was hidden and is shown again has another name, which answers to the old one do not concern.
#[test]
fn an_answer_for_a_name_that_is_void_says_nothing_of_the_next_one() {
    let (mut net, groups, link) = met(&["one", "two"], Config::default());
    listen(&mut net, link);
    say(&mut net, link, &greeting(&groups)).unwrap();
    for visibility in [Visibility::Invisible, Visibility::Shared] {
        net.engines[0].set_visibility(PeerId::from_bytes(LIAR), groups[1], visibility).unwrap();
        net.drain(0);
    }
    let back = announced(&listen(&mut net, link));
    assert_eq!(back, [2, 3], "a farewell, and the new name");
    let unmatched = vec![Span { first: 1, last: 2 }];
    say(&mut net, link, &Frame { unmatched, ..Frame::default() }).unwrap();
    assert_eq!(announced(&listen(&mut net, link)), [1]);
}
