//! A peer has several links, and what it says on one overtakes what it said on another.

use hedgerow_proto::{Batch, DepRef, Frame, GroupRef, Message, Span, Unavailable, WireMessage};

use super::faults::{Liar, message};
use crate::Config;
use crate::testing::Net;

fn wire(message: &Message, position: u64) -> Frame {
    let wire = WireMessage {
        position: Some(position),
        timestamp_ms: message.timestamp_ms(),
        deps: message.deps().iter().copied().map(DepRef::Id).collect(),
        body: message.body().clone(),
    };
    let batch = Batch { group: GroupRef::Number(1), messages: vec![wire], chain: 0 };
    Frame { batches: vec![batch], ..Frame::default() }
}

#[test]
fn what_was_turned_away_is_not_given_up_for_an_older_unavailable() {
    let mut net = Net::with(1, 1, Config { max_parked_messages: 1, ..Config::default() });
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    let parents = [message(group, "one", &[]), message(group, "other", &[])];
    let children = [message(group, "waits", &[&parents[0]]), message(group, "no room", &[&parents[1]])];
    liar.say(&mut net, &wire(&children[0], 5)).unwrap();
    liar.say(&mut net, &wire(&children[1], 6)).unwrap();
    // It was asked for on another link before, where it did not fit.
    let late = Unavailable { group: GroupRef::Number(1), positions: vec![Span::one(6)], ids: vec![] };
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
