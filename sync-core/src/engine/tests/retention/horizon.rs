//! What was pruned before it came here: asked for everywhere, and then taken as a gap.

use hedgerow_proto::{Frame, GroupId, GroupRef, MessageId, PeerId, Tombstone, Unavailable};

use super::{CAP, checked, held, judge, said, state_of};
use crate::engine::tests::faults::{LIAR, Liar, message};
use crate::store::MessageState;
use crate::testing::{Net, peer};
use crate::{Config, Event, Horizon};

fn gaps(net: &Net, n: usize) -> Vec<(MessageId, PeerId)> {
    let gaps = net.events[n].iter().filter_map(|event| match event {
        Event::HistoryGap { id, peer, .. } => Some((*id, *peer)),
        _ => None,
    });
    gaps.collect()
}

/// A chain of 600 messages by node 1, of which node 0 still holds the last two hundred or so.
fn pruned_history(net: &mut Net, judged: bool) -> GroupId {
    net.judge = judge;
    let group = net.group("g", judged);
    net.engines[0].set_max_bytes(group, Some(CAP)).unwrap();
    let wire = net.connect(0, 1);
    for n in 0..600 {
        net.publish(1, group, &said("a", n, 1_000));
    }
    net.run(60_000);
    net.disconnect(wire);
    assert!(held(net, 0, group).len() < 300);
    group
}

// spec: unavailable-tombstones
#[test]
fn a_new_member_gets_all_that_is_left_and_hears_of_the_gap() {
    for (judged, restart) in [(false, false), (true, true)] {
        let mut net = Net::new(3, 1);
        let group = pruned_history(&mut net, judged);
        net.connect(0, 2);
        net.run(30_000);
        // It still hopes.
        assert_eq!((held(&net, 2, group).len(), gaps(&net, 2)), (0, vec![]));
        if restart {
            net.restart(2, 4);
            net.connect(0, 2);
        }
        net.run(90_000);
        assert_eq!(held(&net, 2, group), held(&net, 0, group));
        let first_held = net.log(0, group).into_iter().find(|entry| entry.body.is_some()).unwrap();
        assert_eq!(gaps(&net, 2), [(first_held.deps[0], peer(0))]);
        let gap = net.engines[2].message(&first_held.deps[0]).unwrap().unwrap();
        assert_eq!((gap.state, gap.position, gap.body.as_ref()), (MessageState::Gap, 1, None));
        let known = net.engines[0].message(&gap.id).unwrap().unwrap();
        assert_eq!((gap.key, gap.timestamp_ms), (known.key, 0));
        // Both have what both know in the same order.
        let order = net.canonical(2, group);
        let other = net.canonical(0, group);
        assert_eq!(order, other[other.len() - order.len()..]);
        checked(&net, 2);
        for n in [0, 2] {
            let pairs = net.engines[n].status().peers;
            assert!(
                pairs.iter().filter(|pair| pair.peer == peer(2 - n)).all(|pair| pair.settled),
                "{pairs:?}"
            );
        }
        net.assert_silent();
        // What it writes reaches the others, and its gap is no riddle to who has everything.
        net.publish(2, group, &said("c", 0, 100));
        net.connect(1, 2);
        net.run(60_000);
        assert!(held(&net, 1, group).last().unwrap().starts_with("c:-:0"));
        checked(&net, 2);
        net.assert_silent();
    }
}

#[test]
fn under_never_it_is_reported_and_waits() {
    let mut net = Net::with(3, 1, Config { horizon: Horizon::Never, ..Config::default() });
    let group = pruned_history(&mut net, true);
    net.connect(0, 2);
    net.run(24 * 3_600_000);
    assert_eq!((held(&net, 2, group).len(), gaps(&net, 2)), (0, vec![]));
    assert_eq!(net.events[2].iter().filter(|event| matches!(event, Event::Missing { .. })).count(), 1);
    // When somebody comes who has it, all of it comes.
    net.connect(1, 2);
    net.run(60_000);
    assert_eq!(held(&net, 2, group).len(), 600);
    checked(&net, 2);
}

#[test]
fn an_honest_holder_in_reach_is_always_preferred() {
    // Whoever is asked first, and however long the patience.
    for (first, second) in [(0, 1), (1, 0)] {
        let mut net = Net::with(3, 1, Config { horizon_patience_ms: 0, ..Config::default() });
        let group = pruned_history(&mut net, true);
        net.connect(first, 2);
        net.connect(second, 2);
        net.run(60_000);
        assert_eq!((held(&net, 2, group).len(), gaps(&net, 2)), (600, vec![]));
        checked(&net, 2);
    }
    // It comes within the patience.
    let mut net = Net::new(3, 1);
    let group = pruned_history(&mut net, true);
    net.connect(0, 2);
    net.run(50_000);
    net.connect(1, 2);
    net.run(120_000);
    assert_eq!((held(&net, 2, group).len(), gaps(&net, 2)), (600, vec![]));
}

#[test]
fn a_peer_that_never_answers_does_not_hold_it_up() {
    let mut net = Net::new(3, 1);
    let group = pruned_history(&mut net, false);
    // It shares the group with node 0 of the network, which is the new member here.
    net.engines.swap(0, 2);
    let _silent = Liar::new(&mut net, &[group]);
    net.engines[0].set_visibility(peer(2), group, hedgerow_proto::Visibility::Shared).unwrap();
    net.engines.swap(0, 2);
    net.connect(0, 2);
    net.run(300_000);
    assert_eq!(held(&net, 2, group), held(&net, 0, group));
    assert_eq!(gaps(&net, 2).len(), 1);
}

fn claim(id: MessageId, eff_ms: i64, height: u64) -> Frame {
    let tombstones = vec![Tombstone { id, eff_ms, height }];
    let unavailable =
        Unavailable { group: GroupRef::Number(1), positions: vec![], ids: vec![id], tombstones };
    Frame { unavailables: vec![unavailable], ..Frame::default() }
}

#[test]
fn a_claim_that_cannot_be_is_refused_and_counted() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    let parent = message(group, "parent", &[]);
    let child = message(group, "child", &[&parent]);
    liar.send(&mut net, 1, &child);
    liar.hear(&mut net);
    let latest = (net.now + 24 * 3_600_000).as_timestamp_ms();
    let refused = |net: &Net| net.engines[0].traffic().refused;
    let mut count = 0;
    for (eff_ms, height) in
        [(-1, 1), (latest + 1, 1), (i64::MAX, 1), (5, 0), (5, (1 << 48) + 1), (5, u64::MAX)]
    {
        liar.say(&mut net, &claim(parent.id(), eff_ms, height)).unwrap();
        count += 1;
        assert_eq!(refused(&net), count, "{eff_ms} {height}");
    }
    net.run(600_000);
    assert_eq!(state_of(&net, 0, &child.id()), Some(MessageState::Waiting));
    // One that can be; another one by somebody else changes nothing.
    let other = Liar::named(&mut net, PeerId::from_bytes([98; 32]), &[group]);
    let now = net.now.as_timestamp_ms();
    liar.say(&mut net, &claim(parent.id(), now, 1 << 48)).unwrap();
    other.say(&mut net, &claim(parent.id(), 5, 1)).unwrap();
    assert_eq!(refused(&net), count + 1);
    net.run(600_000);
    assert_eq!(gaps(&net, 0), [(parent.id(), PeerId::from_bytes(LIAR))]);
    let entry = net.engines[0].message(&child.id()).unwrap().unwrap();
    assert_eq!((entry.key.eff_ms, entry.key.height, entry.position), (now, (1 << 48) + 1, 2));
    // It contradicts what is known.
    liar.say(&mut net, &claim(parent.id(), 5, 1)).unwrap();
    liar.say(&mut net, &claim(child.id(), 5, 1)).unwrap();
    assert_eq!(refused(&net), count + 3);
    checked(&net, 0);
    // The body comes after all: it is acknowledged, and the gap stays.
    liar.send(&mut net, 1, &parent);
    let acked = liar.hear(&mut net).into_iter().flat_map(|frame| frame.acks).flat_map(|ack| ack.ids);
    assert!(acked.collect::<Vec<_>>().contains(&parent.id()));
    assert_eq!(state_of(&net, 0, &parent.id()), Some(MessageState::Gap));
    checked(&net, 0);
}

#[test]
fn what_nothing_waits_for_is_not_made_a_gap() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    for n in 0..100 {
        liar.say(&mut net, &claim(MessageId::from_bytes([n; 32]), 5, 1)).unwrap();
    }
    net.run(600_000);
    assert_eq!(checked(&net, 0).messages, 0);
}

#[test]
fn a_claim_in_one_group_does_not_bury_what_belongs_to_another() {
    let mut net = Net::new(1, 1);
    let (theirs, victim) = (net.group("theirs", false), net.group("victim", false));
    let parent = message(victim, "parent", &[]);
    let child = message(victim, "child", &[&parent]);
    let bait = message(theirs, "bait", &[&parent]);
    // The liar names a message of another group as a dependency, and says that it is gone.
    let liar = Liar::new(&mut net, &[theirs]);
    liar.send(&mut net, 1, &bait);
    liar.say(&mut net, &claim(parent.id(), 5, 1)).unwrap();
    net.run(600_000);
    assert_eq!(state_of(&net, 0, &parent.id()), Some(MessageState::Gap));
    // Nobody can tell whether it lied. Nothing of the other group is found invalid for it.
    let friend = Liar::named(&mut net, PeerId::from_bytes([98; 32]), &[victim]);
    friend.send(&mut net, 1, &child);
    assert_eq!(state_of(&net, 0, &child.id()), None);
    assert!(net.events[0].iter().all(|event| !matches!(event, Event::Invalid { .. })));
    checked(&net, 0);
    // If the other group was waiting already, there is no gap at all.
    let mut net = Net::new(1, 1);
    net.group("theirs", false);
    net.group("victim", false);
    let friend = Liar::named(&mut net, PeerId::from_bytes([98; 32]), &[victim]);
    let liar = Liar::new(&mut net, &[theirs]);
    liar.send(&mut net, 1, &bait);
    friend.send(&mut net, 1, &child);
    liar.say(&mut net, &claim(parent.id(), 5, 1)).unwrap();
    let now = net.now;
    net.engines[0].link_down(friend.link, now);
    net.run(600_000);
    assert_eq!(state_of(&net, 0, &parent.id()), Some(MessageState::Wanted));
    let friend = Liar::named(&mut net, PeerId::from_bytes([98; 32]), &[victim]);
    friend.send(&mut net, 1, &parent);
    assert_eq!(state_of(&net, 0, &child.id()), Some(MessageState::Delivered));
    assert_eq!(state_of(&net, 0, &bait.id()), Some(MessageState::Invalid));
    checked(&net, 0);
}

#[test]
fn a_gap_is_taken_under_a_cap_too() {
    let mut net = Net::new(3, 1);
    let group = pruned_history(&mut net, true);
    net.engines[2].set_max_bytes(group, Some(CAP)).unwrap();
    net.connect(0, 2);
    net.run(300_000);
    assert_eq!(held(&net, 2, group).len(), held(&net, 0, group).len());
    assert!(checked(&net, 2).bytes <= CAP);
    net.assert_silent();
}
