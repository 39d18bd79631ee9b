//! What nobody had, or there was no room for, is asked for again when that may help.

use hedgerow_proto::{
    Batch, DepRef, Frame, GroupRef, Message, MessageId, Offer, OfferItem, PeerId, Tombstone, Unavailable,
    WireMessage,
};

use super::faults::{Liar, message};
use crate::store::MessageState;
use crate::testing::Net;
use crate::{Config, Horizon};

fn at(message: &Message, position: u64) -> Frame {
    let wire = WireMessage {
        position: Some(position),
        timestamp_ms: message.timestamp_ms(),
        deps: message.deps().iter().copied().map(DepRef::Id).collect(),
        body: message.body().clone(),
    };
    let batch = Batch { group: GroupRef::Number(1), messages: vec![wire], chain: 0 };
    Frame { batches: vec![batch], ..Frame::default() }
}

fn not_here(id: MessageId, tombstone: Option<(i64, u64)>) -> Frame {
    let tombstones = tombstone.map(|(eff_ms, height)| Tombstone { id, eff_ms, height });
    let tombstones = tombstones.into_iter().collect();
    let answer = Unavailable { group: GroupRef::Number(1), positions: vec![], ids: vec![id], tombstones };
    Frame { unavailables: vec![answer], ..Frame::default() }
}

/// The ids and the positions that a peer is asked for.
fn asked(liar: &Liar, net: &mut Net) -> (Vec<MessageId>, Vec<u64>) {
    let requests: Vec<_> = liar.hear(net).into_iter().flat_map(|frame| frame.requests).collect();
    let positions = requests.iter().flat_map(|request| &request.positions);
    let positions = positions.flat_map(|span| span.first..=span.last).collect();
    (requests.into_iter().flat_map(|request| request.ids).collect(), positions)
}

fn taking_gaps() -> Config {
    Config { horizon: Horizon::Accept, horizon_patience_ms: 1_000, ..Config::default() }
}

// spec: waiting-lowest
#[test]
fn what_all_wait_for_is_kept_without_room_though_it_waits_for_what_is_gone() {
    let mut net = Net::with(1, 1, Config { max_parked_messages: 5, ..taking_gaps() });
    let group = net.group("g", false);
    let gone = message(group, "gone", &[]);
    let first = message(group, "first", &[&gone]);
    let liar = Liar::new(&mut net, &[group]);
    for n in 0..5 {
        liar.say(&mut net, &at(&message(group, &format!("child {n}"), &[&first]), n + 3)).unwrap();
    }
    // There is no room for it, it is called back, and then there is.
    liar.say(&mut net, &at(&first, 2)).unwrap();
    assert_eq!(net.engines[0].status().groups[0].waiting, 5);
    assert!(asked(&liar, &mut net).1.contains(&2));
    liar.say(&mut net, &at(&first, 2)).unwrap();
    assert_eq!(net.engines[0].status().groups[0].waiting, 6);
    // No other is kept in the same way.
    let second = message(group, "second", &[&gone]);
    for _ in 0..3 {
        liar.say(&mut net, &at(&second, 1)).unwrap();
        liar.hear(&mut net);
    }
    assert_eq!(net.engines[0].status().groups[0].waiting, 6);
    liar.say(&mut net, &not_here(gone.id(), Some((5, 1)))).unwrap();
    net.run(5_000);
    // With the gap.
    assert_eq!(net.log(0, group).len(), 7);
}

// spec: gap-again
#[test]
fn who_did_not_have_it_is_asked_again_when_its_log_has_grown() {
    let mut net = Net::with(1, 1, taking_gaps());
    let group = net.group("g", false);
    let gone = message(group, "gone", &[]);
    let child = message(group, "child", &[&gone]);
    let liar = Liar::new(&mut net, &[group]);
    liar.say(&mut net, &at(&child, 1)).unwrap();
    assert_eq!(asked(&liar, &mut net).0, [gone.id()]);
    liar.say(&mut net, &not_here(gone.id(), None)).unwrap();
    net.run(600_000);
    assert_eq!(asked(&liar, &mut net).0, []);
    // It hears of it from others, and delivers something.
    let mut pauses = Vec::new();
    for position in 2..200 {
        liar.say(&mut net, &at(&message(group, &format!("{position}"), &[]), position)).unwrap();
        if asked(&liar, &mut net).0 == [gone.id()] {
            pauses.push(position);
            liar.say(&mut net, &not_here(gone.id(), None)).unwrap();
        }
        net.run(1_000);
    }
    // At once, and then after longer and longer pauses.
    assert_eq!(pauses.first(), Some(&2));
    assert!((3..=6).contains(&pauses.len()), "{pauses:?}");
    assert!(pauses.windows(3).all(|at| at[2] - at[1] >= at[1] - at[0]), "{pauses:?}");
    net.run(3_600_000);
    liar.say(&mut net, &at(&message(group, "last", &[]), 200)).unwrap();
    assert_eq!(asked(&liar, &mut net).0, [gone.id()]);
    liar.say(&mut net, &not_here(gone.id(), Some((5, 1)))).unwrap();
    net.run(60_000);
    assert_eq!(net.engines[0].message(&child.id()).unwrap().unwrap().state, MessageState::Delivered);
}

#[test]
fn a_guess_has_its_turn_when_another_request_is_over() {
    let mut net = Net::with(1, 1, Config { max_requests: 1, ..Config::default() });
    let group = net.group("g", false);
    let missing = message(group, "missing", &[]);
    let child = message(group, "child", &[&missing]);
    let offered = message(group, "offered", &[]);
    let liar = Liar::new(&mut net, &[group]);
    let other = Liar::named(&mut net, PeerId::from_bytes([98; 32]), &[group]);
    // The other one has as many requests as it may have.
    let items = vec![OfferItem { position: Some(1), id: offered.id() }];
    let offers = vec![Offer { group: GroupRef::Number(1), items, chain: 0 }];
    other.say(&mut net, &Frame { offers, ..Frame::default() }).unwrap();
    assert_eq!(asked(&other, &mut net), (vec![], vec![1]));
    liar.say(&mut net, &at(&child, 1)).unwrap();
    assert_eq!(asked(&liar, &mut net).0, [missing.id()]);
    liar.say(&mut net, &not_here(missing.id(), None)).unwrap();
    other.say(&mut net, &at(&offered, 1)).unwrap();
    assert_eq!(asked(&other, &mut net).0, [missing.id()]);
    other.say(&mut net, &at(&missing, 2)).unwrap();
    assert_eq!(net.bodies(0, group).len(), 3);
}

#[test]
fn answers_that_come_late_take_no_guesses_away() {
    let mut net = Net::with(1, 1, Config { max_guesses: 2, horizon: Horizon::Never, ..Config::default() });
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    let other = Liar::named(&mut net, PeerId::from_bytes([98; 32]), &[group]);
    for n in 0..10 {
        let missing = message(group, &format!("missing {n}"), &[]);
        liar.say(&mut net, &at(&message(group, &format!("child {n}"), &[&missing]), n + 1)).unwrap();
        assert_eq!(asked(&liar, &mut net).0, [missing.id()]);
        liar.say(&mut net, &not_here(missing.id(), None)).unwrap();
        assert_eq!(asked(&other, &mut net).0, [missing.id()], "{n}");
        // The second in which guesses are counted is over before it is answered.
        net.run(2_000);
        match n {
            0 => other.say(&mut net, &at(&missing, 1)).unwrap(),
            _ => other.say(&mut net, &not_here(missing.id(), None)).unwrap(),
        }
    }
}

// spec: one-request
#[test]
fn who_does_not_answer_is_asked_ever_less_often_and_at_once_when_it_answers() {
    let mut net = Net::with(1, 1, Config { horizon: Horizon::Never, ..Config::default() });
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    let [silent, other] = ["silent", "other"].map(|text| message(group, text, &[]));
    liar.say(&mut net, &at(&message(group, "child", &[&silent]), 1)).unwrap();
    let mut times = Vec::new();
    for second in 0..7_200_u64 {
        if asked(&liar, &mut net).0.contains(&silent.id()) {
            times.push(second);
        }
        net.run(1_000);
    }
    let pauses: Vec<u64> = times.windows(2).map(|at| at[1] - at[0]).collect();
    assert_eq!(pauses[..7], [10, 20, 40, 80, 160, 320, 600], "seconds");
    assert!(pauses[7..].iter().all(|pause| *pause == 600), "{pauses:?}");
    // It answers something else, late: it can be asked for the first again.
    liar.say(&mut net, &at(&message(group, "another child", &[&other]), 2)).unwrap();
    assert_eq!(asked(&liar, &mut net).0, [other.id()]);
    net.run(15_000);
    liar.hear(&mut net);
    liar.say(&mut net, &at(&other, 3)).unwrap();
    assert_eq!(asked(&liar, &mut net).0, [silent.id()]);
    net.run(9_000);
    assert_eq!(asked(&liar, &mut net).0, []);
    net.run(2_000);
    assert_eq!(asked(&liar, &mut net).0, [silent.id()], "from the beginning");
    liar.say(&mut net, &at(&silent, 4)).unwrap();
    assert_eq!(net.bodies(0, group).len(), 4);
    assert_eq!(net.engines[0].audit(), [] as [&str; 0]);
}

// spec: one-request
#[test]
fn what_is_called_back_in_vain_is_called_ever_less_often() {
    let config = Config { max_parked_messages: 2, horizon: Horizon::Never, ..Config::default() };
    let mut net = Net::with(1, 1, config);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    let root = message(group, "root", &[]);
    for n in 0..3 {
        liar.say(&mut net, &at(&message(group, &format!("child {n}"), &[&root]), n + 2)).unwrap();
    }
    // What was turned away is called back once there is room, and does not come.
    liar.say(&mut net, &at(&root, 1)).unwrap();
    let mut times = Vec::new();
    for second in 0..3_600_u64 {
        if !asked(&liar, &mut net).1.is_empty() {
            times.push(second);
        }
        net.run(1_000);
    }
    let pauses: Vec<u64> = times.windows(2).map(|at| at[1] - at[0]).collect();
    assert_eq!(pauses[..7], [10, 20, 40, 80, 160, 320, 600], "seconds");
    liar.say(&mut net, &at(&message(group, "child 2", &[&root]), 4)).unwrap();
    assert_eq!(net.bodies(0, group).len(), 4);
}
