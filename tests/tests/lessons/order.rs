//! Parents come first, each message exactly once, whatever the order of arrival.

use hedgerow_proto::{GroupId, Message};
use hedgerow_sync_core::testing::Net;
use hedgerow_sync_core::{InvalidReason, Verdict};
use rand::seq::SliceRandom;
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use crate::support::{Fake, acked, assert_sound, invalid, message, requested};

/// Feeds the messages one frame each, and gives back the bodies in delivery order after each of them.
fn deliver(net: &mut Net, group: GroupId, messages: &[&Message]) -> Vec<Vec<String>> {
    let fake = Fake::new(net, &[group]);
    messages
        .iter()
        .map(|message| {
            fake.send(net, &[message]);
            net.bodies(0, group)
        })
        .collect()
}

/// MVDS in its consistent mode delivers `c b a`: it looks for parents that are held, not for those delivered.
/// Here `a b c` is delivered the moment that `a` comes.
#[test]
fn a_chain_that_arrives_child_first_is_delivered_child_first() {
    for order in [[2, 1, 0], [1, 2, 0]] {
        for judged in [false, true] {
            let mut net = Net::new(1, 1);
            let group = net.group("g", judged);
            let a = message(group, "a", &[]);
            let b = message(group, "b", &[&a]);
            let c = message(group, "c", &[&b]);
            let steps = deliver(&mut net, group, &order.map(|at| [&a, &b, &c][at]));
            assert_eq!(steps, [vec![], vec![], vec!["a".to_owned(), "b".into(), "c".into()]], "{order:?}");
            assert_sound(&net, 0);
        }
    }
}

/// p2panda 0.7 keeps a row for each pair of parents and never releases C of `A<-B, {A,B}<-C` when C, B, A come in
/// that order. Here each message counts its missing parents; graphs full of redundant edges come in any order.
#[test]
fn redundant_edges_keep_a_message_waiting_for_ever() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", true);
    let a = message(group, "A", &[]);
    let b = message(group, "B", &[&a]);
    let c = message(group, "C", &[&a, &b]);
    assert_eq!(deliver(&mut net, group, &[&c, &b, &a])[2], ["A", "B", "C"]);
    for seed in 0..40 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut net = Net::new(1, seed);
        let group = net.group("g", seed % 2 == 0);
        let mut graph: Vec<Message> = Vec::new();
        for n in 0..60 {
            // Up to all of the last ones: a parent, its parents, and theirs.
            let reach = graph.len().min(8);
            let parents: Vec<&Message> =
                graph[graph.len() - reach..].iter().filter(|_| rng.random_bool(0.7)).collect();
            graph.push(message(group, &format!("{n}"), &parents));
        }
        let mut shuffled: Vec<&Message> = graph.iter().collect();
        shuffled.shuffle(&mut rng);
        let steps = deliver(&mut net, group, &shuffled);
        assert_eq!(steps[59].len(), 60, "seed {seed}");
        let log = net.log(0, group);
        for entry in &log {
            let before = |dep| log.iter().any(|other| other.id == dep && other.position < entry.position);
            assert!(entry.deps.iter().all(|&dep| before(dep)), "seed {seed}");
        }
        assert_eq!(net.delivered[0][&group], log.iter().map(|e| e.id).collect::<Vec<_>>(), "seed {seed}");
        assert_sound(&net, 0);
    }
}

/// MVDS in its consistent mode delivers one of three children of a late parent twice and another one never.
/// Here each is told once, after the parent.
#[test]
fn of_three_children_of_a_missing_parent_one_comes_twice_and_one_never() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", true);
    let parent = message(group, "parent", &[]);
    let children = ["one", "two", "three"].map(|body| message(group, body, &[&parent]));
    let [one, two, three] = &children;
    let steps = deliver(&mut net, group, &[one, two, three, &parent]);
    assert!(steps[2].is_empty());
    assert_eq!(steps[3], ["parent", "one", "two", "three"]);
    let told: Vec<_> = [&parent, one, two, three].map(Message::id).into();
    assert_eq!(net.delivered[0][&group], told, "each exactly once");
    assert!(net.engines[0].missing(group).is_empty());
}

/// Where a message is released by any parent that comes, it overtakes the others. Here it waits for all, and what
/// is still missing is known by name.
#[test]
fn one_of_two_missing_parents_arrives_and_the_child_is_delivered() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", true);
    let parents = ["left", "right"].map(|body| message(group, body, &[]));
    let child = message(group, "child", &[&parents[0], &parents[1]]);
    let steps = deliver(&mut net, group, &[&child, &parents[1]]);
    assert_eq!(steps[1], ["right"]);
    let missing: Vec<_> = net.engines[0].missing(group).iter().map(|missing| missing.id).collect();
    assert_eq!(missing, [parents[0].id()]);
    let fake = Fake::link(&mut net, &[group]);
    fake.send(&mut net, &[&parents[0]]);
    assert_eq!(net.bodies(0, group), ["right", "left", "child"]);
}

/// MVDS takes a parent that is stored for one that was delivered. Here a message whose parent is there and waits
/// itself, waits too; and so it does when the parent is not judged yet.
#[test]
fn a_parent_that_is_stored_but_waits_itself_lets_its_child_through() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let root = message(group, "root", &[]);
    let parent = message(group, "parent", &[&root]);
    let child = message(group, "child", &[&parent]);
    let steps = deliver(&mut net, group, &[&parent, &child, &root]);
    assert_eq!(steps, [vec![], vec![], vec!["root".to_owned(), "parent".into(), "child".into()]]);

    let mut net = Net::new(1, 1);
    let group = net.group("g", true);
    net.verdict_delay_ms = (1_000, 1_000);
    let parent = message(group, "parent", &[]);
    let child = message(group, "child", &[&parent]);
    let fake = Fake::new(&mut net, &[group]);
    fake.send(&mut net, &[&parent]);
    net.run(500);
    fake.send(&mut net, &[&child]);
    net.engines[0].judge(child.id(), Verdict::VALID, net.now).unwrap();
    net.drain(0);
    assert!(net.bodies(0, group).is_empty(), "valid, and its parent is stored, not delivered");
    net.run(1_000);
    assert_eq!(net.bodies(0, group), ["parent", "child"]);
}

/// In BSP a message whose dependency cannot come stays pending for ever. Here one that names another group's
/// message is a tombstone as soon as that is known, with all that follows it; it is acknowledged, and nothing is
/// asked for.
#[test]
fn a_dependency_in_another_group_waits_in_a_pool_for_ever() {
    for parent_first in [true, false] {
        let mut net = Net::new(1, 1);
        let (one, two) = (net.group("one", true), net.group("two", true));
        let fake = Fake::new(&mut net, &[one, two]);
        let here = message(one, "here", &[]);
        let there = message(two, "there", &[&here]);
        let child = message(two, "child of there", &[&there]);
        if parent_first {
            fake.send_in(&mut net, 1, &[&here]);
        }
        fake.send_in(&mut net, 2, &[&child, &there]);
        if !parent_first {
            assert_eq!(net.engines[0].missing(two).len(), 1, "nobody can know yet");
            assert!(invalid(&net).is_empty());
            fake.send_in(&mut net, 1, &[&here]);
        }
        let mut reasons = invalid(&net);
        reasons.sort_unstable_by_key(|(id, _)| *id == child.id());
        let expected =
            [(there.id(), InvalidReason::ForeignDependency), (child.id(), InvalidReason::InvalidDependency)];
        assert_eq!(reasons, expected, "parent first: {parent_first}");
        assert_eq!(net.bodies(0, one), ["here"]);
        assert!(net.bodies(0, two).is_empty());
        let status = net.engines[0].status();
        let two_status = status.groups.iter().find(|group| group.id == two).unwrap();
        assert_eq!((two_status.waiting, two_status.missing, two_status.held), (0, 0, 0), "no pool");
        assert!(net.engines[0].missing(two).is_empty());
        let frames = fake.hear(&mut net);
        assert_eq!(acked(&frames).1.len(), 3, "so that none of it is sent again");
        if parent_first {
            assert_eq!(requested(&frames), (vec![], vec![]));
        }
        assert_sound(&net, 0);
    }
}
