//! Offers by short ids: what is understood by them, and what a wrong one costs.

use hedgerow_proto::{
    Frame, GroupId, GroupRef, Message, MessageId, Offer, OfferItem, PeerId, ShortOffer, Span, Unavailable,
    Visibility,
};

use super::faults::{Liar, message};
use crate::reconcile::Key;
use crate::testing::by_hand::{batch, greeting, hello, wire};
use crate::testing::{CLEAN, Faults, Net};
use crate::{LinkProfile, PushPolicy};

const ONE: GroupRef = GroupRef::Number(1);

fn node() -> (Net, GroupId) {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    (net, group)
}

fn offer(position: u64, id: MessageId) -> Frame {
    let items = vec![OfferItem { position: Some(position), id }];
    Frame { offers: vec![Offer { group: ONE, items, chain: 0 }], ..Frame::default() }
}

fn short_offer(items: Vec<(u64, u64)>) -> Frame {
    Frame { short_offers: vec![ShortOffer { group: ONE, items, chain: 0 }], ..Frame::default() }
}

fn unavailable(position: u64) -> Frame {
    let (positions, ids, tombstones) = (vec![Span::one(position)], vec![], vec![]);
    Frame { unavailables: vec![Unavailable { group: ONE, positions, ids, tombstones }], ..Frame::default() }
}

/// What node 0 asks for, and what it acknowledges.
#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    asked: Vec<u64>,
    asked_ids: Vec<MessageId>,
    held: Vec<u64>,
}

fn hear(net: &mut Net, liar: &Liar) -> Heard {
    let numbers = |spans: &[Span]| -> Vec<u64> { spans.iter().flat_map(|s| s.first..=s.last).collect() };
    let mut all = Heard::default();
    for frame in liar.hear(net) {
        for request in frame.requests {
            all.asked.extend(numbers(&request.positions));
            all.asked_ids.extend(request.ids);
        }
        all.held.extend(frame.acks.iter().flat_map(|ack| numbers(&ack.held)));
    }
    assert_eq!(net.engines[0].audit(), Vec::<String>::new());
    all
}

/// A peer, and the key by which node 0 understands it.
fn met(net: &mut Net, name: u8, group: GroupId) -> (Liar, Key) {
    let liar = Liar::named(net, PeerId::from_bytes([name; 32]), &[group]);
    let hello = liar.hear(net).into_iter().find_map(|frame| frame.hello).unwrap();
    (liar, Key::of_offers(hello.install, &group))
}

fn say_short(net: &mut Net, liar: &Liar, key: Key, position: u64, message: &Message) -> Heard {
    liar.say(net, &short_offer(vec![(position, key.short_id(&message.id(), 8))])).unwrap();
    hear(net, liar)
}

// spec: offer-short, offer-short-asked
#[test]
fn what_is_offered_by_a_short_id_is_asked_for_or_acknowledged() {
    let (mut net, group) = node();
    let before = net.publish(0, group, "before");
    let (liar, key) = met(&mut net, 80, group);
    let second = message(group, "second", &[]);
    let asked = Heard { asked: vec![2], ..Heard::default() };
    assert_eq!(say_short(&mut net, &liar, key, 2, &second), asked);
    liar.send_at(&mut net, 2, &second);
    assert_eq!(hear(&mut net, &liar), Heard { held: vec![2], ..Heard::default() });
    assert_eq!(net.bodies(0, group), ["before", "second"]);
    // What is held already is acknowledged, from whomever it came, and our own too, of before as well.
    let ours = net.publish(0, group, "ours");
    let items = (3..).zip([ours, second.id(), before].map(|id| key.short_id(&id, 8))).collect();
    liar.say(&mut net, &short_offer(items)).unwrap();
    assert_eq!(hear(&mut net, &liar), Heard { held: vec![3, 4, 5], ..Heard::default() });
    assert!(net.engines[0].outstanding()[0].is_settled());
}

// spec: one-request
#[test]
fn of_two_that_offer_one_message_by_short_ids_one_is_asked() {
    let (mut net, group) = node();
    let (ann, key) = met(&mut net, 80, group);
    let (bob, same) = met(&mut net, 81, group);
    let wanted = message(group, "wanted", &[]);
    assert_eq!(say_short(&mut net, &ann, key, 7, &wanted).asked, [7]);
    assert_eq!(say_short(&mut net, &bob, same, 9, &wanted), Heard::default());
    ann.send_at(&mut net, 7, &wanted);
    assert_eq!(hear(&mut net, &ann).held, [7]);
    assert_eq!(hear(&mut net, &bob).held, [9]);
    // If the first one does not have it, or does not answer, the other one is asked.
    let lost = message(group, "lost", &[]);
    assert_eq!(say_short(&mut net, &ann, key, 8, &lost).asked, [8]);
    assert_eq!(say_short(&mut net, &bob, same, 10, &lost), Heard::default());
    ann.say(&mut net, &unavailable(8)).unwrap();
    assert_eq!(hear(&mut net, &bob).asked, [10]);
    bob.send_at(&mut net, 10, &lost);
    assert_eq!(hear(&mut net, &bob).held, [10]);
    let late = message(group, "late", &[]);
    assert_eq!(say_short(&mut net, &ann, key, 11, &late).asked, [11]);
    assert_eq!(say_short(&mut net, &bob, same, 12, &late), Heard::default());
    net.run(15_000);
    assert_eq!(hear(&mut net, &bob).asked, [12]);
    // Its link ends as well.
    net.engines[0].link_down(bob.link, net.now);
    assert_eq!(hear(&mut net, &ann).asked, [11]);
}

#[test]
fn a_short_id_a_full_one_and_a_dependency_are_of_one_message() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let (mut net, group) = node();
        let (ann, key) = met(&mut net, 80, group);
        let (bob, _) = met(&mut net, 81, group);
        let (cas, _) = met(&mut net, 82, group);
        let parent = message(group, "parent", &[]);
        let child = message(group, "child", &[&parent]);
        let mut asked = Vec::new();
        for step in order {
            match step {
                0 => asked.push(say_short(&mut net, &ann, key, 5, &parent)),
                1 => bob.say(&mut net, &offer(6, parent.id())).unwrap(),
                _ => cas.send_at(&mut net, 7, &child),
            }
            asked.extend([&ann, &bob, &cas].map(|liar| hear(&mut net, liar)));
        }
        let asked: Vec<_> =
            asked.iter().filter(|heard| !heard.asked.is_empty() || !heard.asked_ids.is_empty()).collect();
        assert_eq!(asked.len(), 1, "{order:?}: {asked:?}");
        assert_eq!(net.engines[0].missing(group)[0].id, parent.id(), "{order:?}");
        cas.send_at(&mut net, 8, &parent);
        assert_eq!(net.bodies(0, group), ["parent", "child"], "{order:?}");
        assert_eq!(hear(&mut net, &ann).held, [5], "{order:?}");
        assert_eq!(hear(&mut net, &bob).held, [6], "{order:?}");
        assert!(
            net.engines[0].outstanding().iter().all(|pair| pair.offered + pair.to_request == 0),
            "{order:?}"
        );
    }
}

#[test]
fn who_sends_something_else_than_its_short_id_says_hides_nothing() {
    let (mut net, group) = node();
    let (ann, key) = met(&mut net, 80, group);
    let (bob, _) = met(&mut net, 81, group);
    let (wanted, other) = (message(group, "wanted", &[]), message(group, "other", &[]));
    assert_eq!(say_short(&mut net, &ann, key, 5, &wanted).asked, [5]);
    assert_eq!(say_short(&mut net, &bob, key, 6, &wanted), Heard::default());
    ann.send_at(&mut net, 5, &other);
    assert_eq!(hear(&mut net, &bob).asked, [6]);
    bob.send_at(&mut net, 6, &wanted);
    assert_eq!(net.bodies(0, group), ["other", "wanted"]);
}

#[test]
fn short_ids_under_another_key_cost_a_body_and_no_more() {
    let (mut net, group) = node();
    let ours = net.publish(0, group, "ours");
    let ann = Liar::named(&mut net, PeerId::from_bytes([80; 32]), &[group]);
    let bob = Liar::named(&mut net, PeerId::from_bytes([81; 32]), &[group]);
    for liar in [&ann, &bob] {
        hear(&mut net, liar);
        liar.say(&mut net, &short_offer(vec![(1, 77), (2, 78)])).unwrap();
    }
    assert_eq!(hear(&mut net, &ann).asked, [1, 2]);
    assert_eq!(hear(&mut net, &bob).asked, []);
    let first = message(group, "first", &[]);
    // What comes is none of what was offered, so that the other one is asked.
    ann.send_at(&mut net, 1, &first);
    ann.say(&mut net, &batch(1, vec![wire(&message(group, "ours", &[]), Some(2))])).unwrap();
    assert_eq!(hear(&mut net, &ann).held, [1, 2]);
    assert_eq!(hear(&mut net, &bob).asked, [1, 2]);
    bob.send_at(&mut net, 1, &first);
    bob.say(&mut net, &unavailable(2)).unwrap();
    assert_eq!(hear(&mut net, &bob).held, [1]);
    assert_eq!(net.log(0, group).len(), 3);
    assert!(net.log(0, group).iter().any(|entry| entry.id == ours));
}

#[test]
fn what_came_too_long_ago_costs_a_body() {
    let (mut net, group) = node();
    let (liar, key) = met(&mut net, 80, group);
    let old = message(group, "old", &[]);
    assert_eq!(say_short(&mut net, &liar, key, 2, &old).asked, [2]);
    liar.send_at(&mut net, 2, &old);
    assert_eq!(say_short(&mut net, &liar, key, 7, &old).held, [2, 7]);
    for n in 0..super::super::shorts::LATEST {
        net.publish(0, group, &n.to_string());
    }
    hear(&mut net, &liar);
    assert_eq!(say_short(&mut net, &liar, key, 3, &old).asked, [3]);
    liar.send_at(&mut net, 3, &old);
    assert_eq!(hear(&mut net, &liar).held, [3]);
}

/// What node 0 offers: how many by full ids, and by which short ones.
fn offers(net: &mut Net, liar: &Liar) -> (usize, Vec<(u64, u64)>) {
    let frames = liar.hear(net);
    let full = frames.iter().flat_map(|frame| &frame.offers).map(|offer| offer.items.len()).sum();
    (full, frames.into_iter().flat_map(|frame| frame.short_offers).flat_map(|offer| offer.items).collect())
}

// spec: offer-short, offer-short-id
#[test]
fn what_was_written_since_the_link_is_up_is_offered_by_a_short_id() {
    let (mut net, group) = node();
    net.publish(0, group, "before");
    net.now = net.now + 10;
    let name = PeerId::from_bytes([80; 32]);
    let profile = LinkProfile { push: PushPolicy::OfferFirst, ..LinkProfile::reliable() };
    net.engines[0].set_visibility(name, group, Visibility::Shared).unwrap();
    for install in [1, 77] {
        let liar = Liar { link: net.engines[0].link_up(name, profile.clone(), net.now).unwrap() };
        liar.say(&mut net, &Frame { hello: Some(hello(install)), ..greeting(&[group]) }).unwrap();
        let known = net.log(0, group).len();
        assert_eq!(offers(&mut net, &liar), (known, vec![]), "all that was there before");
        let new = ["two", "three"].map(|text| net.publish(0, group, text));
        let other = Liar::named(&mut net, PeerId::from_bytes([81; 32]), &[group]);
        other.send_at(&mut net, install, &message(group, &format!("old {install}"), &[]));
        let key = Key::of_offers(install, &group);
        let short = (known as u64 + 1..).zip(new.map(|id| key.short_id(&id, 8))).collect();
        net.now = net.now + 200;
        assert_eq!(offers(&mut net, &liar), (1, short), "the other one was written long ago");
        net.engines[0].link_down(liar.link, net.now);
        net.engines[0].link_down(other.link, net.now);
    }
}

#[test]
fn short_ids_in_a_group_that_is_not_shared_are_ignored() {
    let (mut net, group) = node();
    let liar = Liar::named(&mut net, PeerId::from_bytes([80; 32]), &[group]);
    for number in [2, 9] {
        let offer = ShortOffer { group: GroupRef::Number(number), items: vec![(1, 1)], chain: 0 };
        liar.say(&mut net, &Frame { short_offers: vec![offer], ..Frame::default() }).unwrap();
    }
    assert_eq!(hear(&mut net, &liar), Heard::default());
    assert_eq!(net.engines[0].traffic().refused, 2);
}

/// Offers cross between all; `Faults` decide whether anything is lost.
fn mesh(seed: u64, faults: Option<Faults>) -> (usize, usize) {
    let mut net = Net::new(4, seed);
    let group = net.group("g", false);
    let profile = if faults.is_none() { LinkProfile::reliable() } else { LinkProfile::lossy(1_200) };
    let profile = LinkProfile { push: PushPolicy::OfferFirst, ..profile };
    for a in 0..4 {
        for b in 0..a {
            net.connect_with(a, b, profile.clone(), faults.unwrap_or(CLEAN));
        }
    }
    net.tap = Some(Vec::new());
    for n in 0..40 {
        net.publish(n % 4, group, &n.to_string());
        net.run(50);
    }
    net.run(120_000);
    net.assert_converged(group, 40);
    net.assert_silent();
    for engine in &net.engines {
        assert_eq!(engine.audit(), Vec::<String>::new());
    }
    let sent = net.tap.take().unwrap();
    let short = sent.iter().flat_map(|sent| &sent.frame.short_offers).map(|offer| offer.items.len()).sum();
    if faults.is_none() {
        let bodies: usize = sent.iter().map(|sent| sent.messages().count()).sum();
        assert_eq!(bodies, 40 * 3, "each body crosses once to each node");
    }
    (sent.iter().flat_map(|sent| &sent.frame.offers).map(|offer| offer.items.len()).sum(), short)
}

#[test]
fn a_mesh_offers_by_short_ids() {
    let (full, short) = mesh(1, None);
    assert!(full == 0 && short > 100, "{full} by full ids, {short} by short ones");
    assert_eq!(mesh(1, None), (full, short));
    for seed in 0..6 {
        let (full, short) = mesh(seed, Some(Faults { loss: 0.4, duplication: 0.1, ..CLEAN }));
        assert!(full == 0 && short > 100, "seed {seed}: {full} by full ids, {short} by short ones");
    }
}
