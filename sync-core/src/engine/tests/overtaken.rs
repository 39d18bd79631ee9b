//! UNAVAILABLE: what it ends, when it comes late, and what it must name.

use hedgerow_proto::{Frame, GroupRef, Request, Span, Unavailable};

use super::faults::{Liar, message};
use crate::Config;
use crate::testing::Net;

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
    let profile = crate::LinkProfile { max_frame: 1_000, ..crate::LinkProfile::reliable() };
    let liar = Liar::with(&mut net, &[group], profile);
    liar.hear(&mut net);
    let request = Request { group: GroupRef::Number(1), positions: vec![], ids: vec![id] };
    liar.say(&mut net, &Frame { requests: vec![request], ..Frame::default() }).unwrap();
    let answers: Vec<_> = liar.hear(&mut net).into_iter().flat_map(|frame| frame.unavailables).collect();
    assert_eq!(answers.iter().flat_map(|answer| &answer.ids).collect::<Vec<_>>(), [&id]);
}
