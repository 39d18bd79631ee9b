//! Peers that are in step say a few bytes of each group.

mod by_hand;
mod random;

use hedgerow_proto::{GroupId, Span, Visibility};

use crate::testing::{Net, Sent, descriptor, peer};
use crate::{Config, Engine, MemoryStore};

/// Two nodes that share some groups, wrote in turns, and are settled, without a link.
fn settled(groups: usize, seed: u64) -> (Net, Vec<GroupId>) {
    let mut net = Net::new(2, seed);
    let groups: Vec<GroupId> = (0..groups).map(|n| net.group(&format!("group {n}"), false)).collect();
    for (n, &group) in groups.iter().enumerate() {
        for k in 0..n % 4 {
            net.publish(k % 2, group, &format!("message {k}"));
        }
    }
    let wire = net.connect(0, 1);
    net.run(10_000);
    net.disconnect(wire);
    (net, groups)
}

/// What crosses in a contact of ten seconds.
fn meet(net: &mut Net) -> Vec<Sent> {
    net.tap = Some(Vec::new());
    let wire = net.connect(0, 1);
    net.run(10_000);
    net.disconnect(wire);
    net.tap.take().unwrap()
}

fn values(tap: &[Sent], from: usize) -> usize {
    let said = tap.iter().filter(|sent| sent.from == from).filter_map(|sent| sent.frame.in_step.as_ref());
    said.map(|in_step| in_step.values.len()).sum()
}

fn announces(tap: &[Sent], from: usize) -> usize {
    tap.iter().filter(|sent| sent.from == from).map(|sent| sent.frame.announces.len()).sum()
}

fn spans(tap: &[Sent], from: usize, which: fn(&Sent) -> &Vec<Span>) -> Vec<Span> {
    tap.iter().filter(|sent| sent.from == from).flat_map(which).copied().collect()
}

fn messages(tap: &[Sent]) -> usize {
    tap.iter().flat_map(Sent::messages).count()
}

// spec: in-step, in-step-answer
#[test]
fn two_in_step_say_a_value_for_each_group_and_nothing_else() {
    let (mut net, groups) = settled(100, 1);
    for _ in 0..3 {
        let tap = meet(&mut net);
        for n in [0, 1] {
            assert_eq!((values(&tap, n), announces(&tap, n)), (100, 0), "node {n}");
            assert_eq!(spans(&tap, n, |sent| &sent.frame.matched), [Span { first: 1, last: 100 }]);
            assert_eq!(spans(&tap, n, |sent| &sent.frame.unmatched), []);
        }
        let bytes: usize = tap.iter().map(|sent| sent.bytes).sum();
        assert!(bytes <= 16 * groups.len(), "{bytes} bytes");
        assert!(net.engines.iter().all(|engine| engine.outstanding().iter().all(|one| one.is_settled())));
    }
    // It is as good as if everything had been announced: what is written now is sent.
    let wire = net.connect(0, 1);
    net.run(1_000);
    for (n, &group) in groups.iter().enumerate() {
        net.publish(n % 2, group, "new");
    }
    net.run(1_000);
    for (n, &group) in groups.iter().enumerate() {
        net.assert_converged(group, n % 4 + 1);
    }
    net.assert_silent();
    net.disconnect(wire);
}

/// Who knows the peer's log has nothing to find out, however long its own is.
#[test]
fn a_long_log_is_in_step_where_the_peer_has_one_that_is_known() {
    let config = Config { reconcile_from: 4, ..Config::default() };
    let mut net = Net::with(2, 11, config);
    let group = net.group("g", false);
    let wire = net.connect(0, 1);
    net.run(1_000);
    for k in 0..5 {
        net.publish(0, group, &format!("message {k}"));
    }
    net.run(1_000);
    net.disconnect(wire);
    let tap = meet(&mut net);
    for n in [0, 1] {
        assert_eq!((values(&tap, n), announces(&tap, n)), (1, 0));
    }
}

#[test]
fn what_was_written_since_crosses_once_whoever_wrote_it() {
    for writers in [&[0][..], &[1], &[0, 1]] {
        let (mut net, groups) = settled(8, 2);
        for &n in writers {
            net.publish(n, groups[3], &format!("{n} wrote"));
        }
        let tap = meet(&mut net);
        for n in [0, 1] {
            let full = usize::from(writers.contains(&n));
            assert_eq!(values(&tap, n), 8 - full, "who has something to say needs its name at once");
            assert_eq!(spans(&tap, n, |sent| &sent.frame.unmatched), [], "nothing is guessed wrong");
        }
        assert_eq!(messages(&tap), writers.len());
        net.assert_converged(groups[3], 3 + writers.len());
        assert_eq!(values(&meet(&mut net), 0), 8);
    }
}

#[test]
fn who_missed_the_last_acknowledgements_knows_it_by_the_value() {
    let (mut net, groups) = settled(4, 3);
    let wire = net.connect(0, 1);
    net.run(1_000);
    for k in 0..5 {
        net.publish(0, groups[1], &format!("more {k}"));
    }
    // There after 10 ms, and known to be after 20.
    net.run(15);
    net.disconnect(wire);
    let tap = meet(&mut net);
    assert_eq!(values(&tap, 1), 4);
    assert_eq!(spans(&tap, 0, |sent| &sent.frame.unmatched), []);
    assert_eq!(messages(&tap), 0);
    net.assert_converged(groups[1], 6);
    assert!(net.engines[0].outstanding().iter().all(|one| one.is_settled()));
}

// spec: in-step-answer
#[test]
fn what_does_not_match_is_announced_in_full() {
    let (mut net, groups) = settled(4, 4);
    let wire = net.connect(0, 1);
    net.run(1_000);
    net.publish(0, groups[1], "arrives, and nobody hears of it");
    net.run(15);
    net.disconnect(wire);
    net.publish(0, groups[1], "written since");
    let tap = meet(&mut net);
    // Groups are named in their order.
    assert_eq!(spans(&tap, 0, |sent| &sent.frame.unmatched), [Span::one(2)]);
    assert_eq!((values(&tap, 1), announces(&tap, 1)), (4, 1));
    assert_eq!(messages(&tap), 1);
    net.assert_converged(groups[1], 3);
}

#[test]
fn a_group_that_became_invisible_is_asked_for_in_full_like_one_that_is_unknown() {
    let (mut net, groups) = settled(4, 5);
    net.engines[1].set_visibility(peer(0), groups[0], Visibility::Invisible).unwrap();
    net.engines[1].remove_group(groups[2]).unwrap();
    let tap = meet(&mut net);
    assert_eq!(spans(&tap, 1, |sent| &sent.frame.unmatched), [Span::one(1), Span::one(3)]);
    assert_eq!((values(&tap, 1), announces(&tap, 0)), (2, 2));
    // Shown again on a running link, it is caught up with: what was announced in full was kept.
    let wire = net.connect(0, 1);
    net.run(1_000);
    net.publish(0, groups[0], "for who is allowed to");
    net.run(1_000);
    assert_eq!(net.bodies(1, groups[0]).len(), 0);
    net.engines[1].set_visibility(peer(0), groups[0], Visibility::Shared).unwrap();
    net.run(1_000);
    net.assert_converged(groups[0], 1);
    net.disconnect(wire);
}

#[test]
fn a_group_that_is_only_visible_is_announced() {
    let (mut net, groups) = settled(4, 6);
    net.engines[0].set_visibility(peer(1), groups[1], Visibility::Visible).unwrap();
    net.publish(0, groups[1], "kept back");
    net.publish(1, groups[1], "taken");
    let tap = meet(&mut net);
    assert_eq!((values(&tap, 0), announces(&tap, 0)), (3, 1));
    assert_eq!((net.bodies(0, groups[1]).len(), net.bodies(1, groups[1]).len()), (3, 2));
}

#[test]
fn a_group_left_before_its_value_is_answered_is_not_announced() {
    let (mut net, groups) = settled(2, 7);
    // Node 1 does not know it any more, so that node 0 is asked for it in full.
    net.engines[1].remove_group(groups[1]).unwrap();
    net.tap = Some(Vec::new());
    net.connect(0, 1);
    net.run(15);
    net.engines[0].remove_group(groups[1]).unwrap();
    net.run(1_000);
    let tap = net.tap.take().unwrap();
    assert_eq!(spans(&tap, 1, |sent| &sent.frame.unmatched), [Span::one(2)]);
    let said: Vec<Visibility> =
        tap.iter().flat_map(|sent| &sent.frame.announces).map(|a| a.visibility).collect();
    assert_eq!(said, [Visibility::Invisible]);
    net.assert_silent();
}

#[test]
fn who_lost_its_store_or_has_an_older_one_matches_nothing_that_it_cannot_hold() {
    for backup in [false, true] {
        let (mut net, groups) = settled(4, 8);
        let old = net.engines[1].store().clone();
        let before = net.delivered[1].clone();
        let wire = net.connect(0, 1);
        for k in 0..4 {
            net.publish(k % 2, groups[3], &format!("later {k}"));
            net.run(100);
        }
        net.disconnect(wire);
        if backup {
            net.engines[1] = Engine::open(old, net.config.clone(), [9; 32], net.now).unwrap();
            net.delivered[1] = before;
        } else {
            net.engines[1] = Engine::open(MemoryStore::new(), net.config.clone(), [9; 32], net.now).unwrap();
            net.delivered[1].clear();
            for n in 0..4 {
                net.group(&format!("group {n}"), false);
            }
            assert_eq!(groups[0], descriptor("group 0").id());
        }
        let tap = meet(&mut net);
        assert!(!spans(&tap, 1, |sent| &sent.frame.unmatched).is_empty());
        for (n, &group) in groups.iter().enumerate() {
            let count = if n == 3 { 7 } else { n };
            if count > 0 {
                net.assert_converged(group, count);
            }
        }
        let tap = meet(&mut net);
        assert_eq!((values(&tap, 0), values(&tap, 1)), (4, 4));
        assert_eq!(announces(&tap, 0) + announces(&tap, 1), 0);
        net.assert_silent();
    }
}

#[test]
fn a_second_link_names_the_groups_for_itself() {
    let (mut net, groups) = settled(3, 9);
    let first = net.connect(0, 1);
    net.run(1_000);
    let second = net.connect(0, 1);
    net.publish(0, groups[2], "over either");
    net.run(3);
    net.disconnect(first);
    net.run(1_000);
    net.assert_converged(groups[2], 3);
    net.disconnect(second);
    let lossy = net.connect_lossy(0, 1, crate::testing::CLEAN);
    net.tap = Some(Vec::new());
    net.connect(0, 1);
    net.run(1_000);
    net.publish(1, groups[1], "and this");
    net.run(1_000);
    net.assert_converged(groups[1], 2);
    let tap = net.tap.take().unwrap();
    assert!(tap.iter().all(|sent| sent.frame.in_step.is_none() || sent.wire != lossy));
    assert_eq!((values(&tap, 0), values(&tap, 1)), (3, 3));
    net.assert_silent();
}

#[test]
fn many_groups_take_several_frames() {
    let mut net = Net::new(2, 10);
    let groups: Vec<GroupId> = (0..150).map(|n| net.group(&format!("group {n}"), false)).collect();
    let connect = |net: &mut Net| {
        let profile = crate::LinkProfile { max_frame: 400, ..crate::LinkProfile::reliable() };
        net.connect_with(0, 1, profile, crate::testing::CLEAN)
    };
    let wire = connect(&mut net);
    net.run(10_000);
    net.disconnect(wire);
    net.tap = Some(Vec::new());
    connect(&mut net);
    net.run(10_000);
    let tap = net.tap.take().unwrap();
    assert!(tap.iter().filter(|sent| sent.from == 0 && sent.frame.in_step.is_some()).count() > 2);
    for n in [0, 1] {
        assert_eq!((values(&tap, n), announces(&tap, n)), (150, 0));
        let matched: u64 = spans(&tap, n, |sent| &sent.frame.matched).iter().map(Span::count).sum();
        assert_eq!(matched, 150);
    }
    for &group in &groups {
        net.publish(0, group, "new");
    }
    net.run(10_000);
    groups.iter().for_each(|&group| net.assert_converged(group, 1));
}
