//! What comes late: an UNAVAILABLE, what it ends and what it must name; an announcement that a later frame overtook.

use hedgerow_proto::{Ack, Announce, Frame, GroupRef, Request, Span, Unavailable};

use super::faults::{Liar, message};
use crate::testing::Net;
use crate::testing::by_hand::{announce, greeting};
use crate::{Config, LinkProfile, SpanSet};

#[test]
fn what_was_turned_away_is_not_given_up_for_an_older_unavailable() {
    let mut net = Net::with(1, 1, Config { max_parked_messages: 1, ..Config::default() });
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    let parents = [message(group, "one", &[]), message(group, "other", &[])];
    let children = [message(group, "waits", &[&parents[0]]), message(group, "no room", &[&parents[1]])];
    liar.send_at(&mut net, 5, &children[0]);
    liar.send_at(&mut net, 6, &children[1]);
    // It was asked for on another link before, where it did not fit.
    let late = Unavailable {
        group: GroupRef::Number(1),
        positions: vec![Span::one(6)],
        ids: vec![],
        tombstones: vec![],
    };
    liar.say(&mut net, &Frame { unavailables: vec![late.clone()], ..Frame::default() }).unwrap();
    let asked = |net: &mut Net| -> Vec<Span> {
        let frames = liar.hear(net);
        frames.into_iter().flat_map(|frame| frame.requests).flat_map(|request| request.positions).collect()
    };
    assert_eq!(asked(&mut net), [Span::one(6)]);
    // Now it is the answer.
    liar.say(&mut net, &Frame { unavailables: vec![late], ..Frame::default() }).unwrap();
    net.run(100_000);
    assert_eq!(asked(&mut net), []);
    assert_eq!(net.engines[0].audit(), Vec::<String>::new());
}

#[test]
fn a_request_by_id_for_what_is_too_large_is_answered_by_id() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let id = net.publish(0, group, &"x".repeat(3_000));
    let profile = LinkProfile { max_frame: 1_000, ..LinkProfile::reliable() };
    let liar = Liar::with(&mut net, &[group], profile);
    liar.hear(&mut net);
    let request = Request { group: GroupRef::Number(1), positions: vec![], ids: vec![id] };
    liar.say(&mut net, &Frame { requests: vec![request], ..Frame::default() }).unwrap();
    let answers: Vec<_> = liar.hear(&mut net).into_iter().flat_map(|frame| frame.unavailables).collect();
    assert_eq!(answers.iter().flat_map(|answer| &answer.ids).collect::<Vec<_>>(), [&id]);
}

/// An announcement is made again when it may be lost, and may come after a later frame that acknowledged more.
// spec: lossy-announce
#[test]
fn an_announcement_that_was_overtaken_takes_no_acknowledgement_away() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    net.publish(0, group, "once");
    let liar = Liar::with(&mut net, &[group], LinkProfile::lossy(60_000));
    let mut seen = SpanSet::new();
    let mut bodies = 0;
    let mut listen = |net: &mut Net| {
        for frame in liar.hear(net) {
            bodies += frame.batches.iter().map(|batch| batch.messages.len()).sum::<usize>();
            frame.number.map(|number| seen.insert(number));
        }
        (bodies, seen.spans().collect::<Vec<_>>())
    };
    let greeting = Frame { hello: None, number: Some(1), ..greeting(&[group]) };
    liar.say(&mut net, &greeting).unwrap();
    let (_, frame_acks) = listen(&mut net);
    // The acknowledgement, in a frame that overtakes the one before it.
    let (number, held) = (GroupRef::Number(1), vec![Span::one(1)]);
    let ack = Ack { group: number, held, known: vec![], ids: vec![], duplicates: 0, chain: 0, reset: 0 };
    let later = Frame { number: Some(3), frame_acks, acks: vec![ack], ..Frame::default() };
    liar.say(&mut net, &later).unwrap();
    let (sent, frame_acks) = listen(&mut net);
    assert_eq!(sent, 1);
    // It was made before the message came, and is not the same as the first one.
    let announces = vec![Announce { held: vec![Span::one(7)], ..announce(group, 1) }];
    let earlier = Frame { number: Some(2), frame_acks, announces, ..Frame::default() };
    liar.say(&mut net, &earlier).unwrap();
    for _ in 0..60 {
        net.run(1_000);
        assert_eq!(listen(&mut net).0, 1, "it was acknowledged");
    }
}
