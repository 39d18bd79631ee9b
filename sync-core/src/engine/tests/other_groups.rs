//! Messages of one group, named in another.

use hedgerow_proto::{Frame, GroupRef, MessageId, Offer, OfferItem, Visibility};

use super::faults::{Liar, message};
use crate::testing::{Net, peer};

fn offer(number: u32, position: u64, id: MessageId) -> Frame {
    let items = vec![OfferItem { position: Some(position), id }];
    Frame { offers: vec![Offer { group: GroupRef::Number(number), items, chain: 0 }], ..Frame::default() }
}

#[test]
fn an_offer_tells_nothing_of_what_another_group_holds() {
    let mut net = Net::new(1, 1);
    let (shared, secret) = (net.group("shared", false), net.group("secret", false));
    for n in 0..5 {
        net.publish(0, secret, &format!("{n}"));
    }
    let id = net.publish(0, secret, "secret");
    let unknown = MessageId::from_bytes([7; 32]);
    let liar = Liar::new(&mut net, &[shared]);
    liar.say(&mut net, &offer(1, 1, id)).unwrap();
    liar.say(&mut net, &offer(1, 2, unknown)).unwrap();
    let frames = liar.hear(&mut net);
    assert!(frames.iter().all(|frame| frame.acks.is_empty()), "{frames:?}");
    let asked: Vec<_> = frames.iter().flat_map(|frame| &frame.requests).flat_map(|r| &r.positions).collect();
    assert_eq!(asked, [&hedgerow_proto::Span { first: 1, last: 2 }], "both are asked for alike");
    assert_eq!(net.engines[0].audit(), Vec::<String>::new());
}

#[test]
fn a_false_dependency_in_another_group_does_not_hold_up_an_offer() {
    let mut net = Net::new(2, 1);
    let (one, other) = (net.group("one", false), net.group("other", false));
    let liar = Liar::new(&mut net, &[other]);
    // A message of node 1 that node 0 has not got, named by the liar in another group.
    let id = net.publish(1, one, "wanted");
    let wanted = net.engines[1].message(&id).unwrap().unwrap().to_message(one).unwrap();
    liar.send(&mut net, 1, &message(other, "child", &[&wanted]));
    net.engines[1].set_visibility(peer(0), other, Visibility::Shared).unwrap();
    let profile =
        crate::LinkProfile { push: crate::PushPolicy::OfferFirst, ..crate::LinkProfile::reliable() };
    net.connect_with(0, 1, profile, crate::testing::CLEAN);
    net.run(1_000);
    assert_eq!(net.bodies(0, one), ["wanted"]);
    assert_eq!(net.engines[0].audit(), Vec::<String>::new());
}
