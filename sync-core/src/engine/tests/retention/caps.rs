//! The cap holds to the byte, and who takes most pays for it.

use std::collections::BTreeMap;

use hedgerow_proto::{GroupId, PeerId, Visibility};
use proptest::prelude::*;

use super::{CAP, capped, checked, held, held_of, judge, pruned, said, state_of, weight};
use crate::engine::tests::faults::{LIAR, Liar, message};
use crate::store::MessageState;
use crate::testing::{Net, peer};
use crate::{Draft, EngineError};

/// A store of one node under a cap, and somebody who sends it whatever a test wants.
struct Flood {
    net: Net,
    liar: Liar,
    group: GroupId,
}

impl Flood {
    fn new(judged: bool) -> Self {
        let mut net = Net::with(1, 7, capped(CAP));
        net.judge = judge;
        let group = net.group("g", judged);
        let liar = Liar::new(&mut net, &[group]);
        Self { net, liar, group }
    }

    fn receive(&mut self, text: &str) {
        self.liar.send(&mut self.net, 1, &message(self.group, text, &[]));
        self.net.drain(0);
    }
}

#[test]
fn ten_times_the_cap_from_one_author_leaves_the_others_all_they_said() {
    let mut flood = Flood::new(true);
    // Five friends take less than half of the store between them.
    let friends = ["ann", "ben", "cho", "dee", "eve"];
    for n in 0..10 {
        for friend in friends {
            flood.receive(&said(friend, n, 1_000));
        }
    }
    let (mut sent, mut of_friends) = (0, 50);
    for n in 0.. {
        let text = said("mob", n, 300 + n % 4_000);
        sent += weight(text.len());
        flood.receive(&text);
        if n % 23 == 0 && of_friends < 60 {
            flood.receive(&said(friends[n % 5], 100 + n, 100));
            of_friends += 1;
        }
        let report = checked(&flood.net, 0);
        assert!(report.bytes <= CAP, "{} bytes after {n} messages", report.bytes);
        if sent > 10 * CAP {
            break;
        }
    }
    let kept: usize = friends.iter().map(|friend| held_of(&flood.net, 0, flood.group, friend)).sum();
    assert_eq!(kept, of_friends);
    let log = flood.net.log(0, flood.group);
    let gone = log.iter().filter(|entry| entry.state == MessageState::Pruned).count();
    assert_eq!(held(&flood.net, 0, flood.group).len() + gone, log.len());
    assert_eq!(pruned(&flood.net, 0), gone as u64);
}

#[test]
fn many_authors_overload_ten_times_and_each_keeps_its_fair_share() {
    let mut flood = Flood::new(true);
    let quiet = said("zoe", 0, 2_000);
    flood.receive(&quiet);
    let mut sent = 0;
    let mut n = 0;
    while sent <= 10 * CAP {
        let text = said(["ann", "ben", "cho"][n % 3], n, 1_500 - n % 700);
        sent += weight(text.len());
        flood.receive(&text);
        assert!(checked(&flood.net, 0).bytes <= CAP);
        n += 1;
    }
    assert_eq!(held(&flood.net, 0, flood.group)[0], quiet);
    let counts = ["ann", "ben", "cho"].map(|author| held_of(&flood.net, 0, flood.group, author));
    assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{counts:?}");
    // The latest of each, in the order of their arrival.
    let log = flood.net.log(0, flood.group);
    let first_held = log.iter().skip(1).position(|entry| entry.body.is_some()).unwrap();
    assert!(log.iter().skip(1 + first_held).all(|entry| entry.body.is_some()));
}

#[test]
fn where_no_author_is_named_the_peer_pays() {
    let mut net = Net::with(3, 7, capped(CAP));
    let group = net.group("g", false);
    net.connect(0, 1);
    net.connect(0, 2);
    for n in 0..20 {
        net.publish(1, group, &said("x", n, 1_000));
    }
    net.run(10_000);
    for n in 0..1_000 {
        net.publish(2, group, &said("y", n, 700));
        if n % 50 == 0 {
            net.run(10_000);
            assert!(checked(&net, 0).bytes <= CAP);
        }
    }
    net.run(60_000);
    assert!(checked(&net, 0).bytes <= CAP);
    assert_eq!(held_of(&net, 0, group, "x"), 20);
    assert!(held_of(&net, 0, group, "y") > 50);
    // Everybody has everything, with or without the bodies, and there is nothing left to say.
    assert_eq!(net.log(0, group).len(), 1_020);
    assert!(net.engines[0].status().peers.iter().all(|pair| pair.settled));
    // What was pruned before a peer had it is not outstanding.
    assert!(net.engines[0].outstanding().iter().all(|pair| pair.is_settled()));
    net.assert_silent();
}

#[test]
fn the_group_with_most_bytes_pays_first() {
    let mut net = Net::with(1, 7, capped(CAP));
    let (small, large) = (net.group("small", false), net.group("large", false));
    let liar = Liar::new(&mut net, &[small, large]);
    for n in 0..20 {
        liar.send(&mut net, 1, &message(small, &said("x", n, 1_000), &[]));
    }
    for n in 0..400 {
        liar.send(&mut net, 2, &message(large, &said("x", n, 1_000), &[]));
        assert!(checked(&net, 0).bytes <= CAP);
    }
    assert_eq!(held_of(&net, 0, small, "x"), 20);
}

/// What nobody else has cannot go. The group that it is in does not pay for that.
#[test]
fn what_was_written_here_is_not_charged_to_the_others_of_its_group() {
    let mut net = Net::with(1, 7, capped(CAP));
    let (mine, busy) = (net.group("mine", true), net.group("busy", true));
    net.judge = judge;
    let liar = Liar::new(&mut net, &[mine, busy]);
    for n in 0..20 {
        liar.send(&mut net, 1, &message(mine, &said("x", n, 1_000), &[]));
    }
    let now = net.now;
    for n in 0..120 {
        let body = said("me", n, 1_000).into();
        let draft = Draft { timestamp_ms: now.as_timestamp_ms(), deps: vec![], body };
        net.engines[0].publish(mine, draft, now).unwrap();
        net.drain(0);
    }
    for n in 0..400 {
        liar.send(&mut net, 2, &message(busy, &said("y", n, 1_000), &[]));
        assert!(checked(&net, 0).bytes <= CAP);
    }
    assert_eq!((held_of(&net, 0, mine, "x"), held_of(&net, 0, mine, "me")), (20, 120));
    assert!(pruned(&net, 0) > 0);
}

#[test]
fn a_group_that_is_added_to_an_open_engine_is_under_the_cap_for_groups() {
    let mut net = Net::with(2, 7, crate::Config { max_group_bytes: CAP, ..crate::Config::default() });
    let group = net.group("g", false);
    net.connect(0, 1);
    for n in 0..400 {
        net.publish(1, group, &said("x", n, 1_000));
        net.run(200);
        assert!(checked(&net, 0).bytes <= CAP && checked(&net, 1).bytes <= CAP);
    }
    net.run(60_000);
    assert_eq!(net.log(0, group).len(), 400);
    assert_eq!(pruned(&net, 0), 400 - held(&net, 0, group).len() as u64);
    net.assert_silent();
}

#[test]
fn a_cap_of_a_group_is_kept_across_a_restart() {
    let mut net = Net::new(2, 7);
    let (group, other) = (net.group("g", false), net.group("other", false));
    net.connect(0, 1);
    for n in 0..400 {
        net.publish(1, group, &said("x", n, 1_000));
        net.publish(1, other, &said("x", n, 100));
    }
    net.run(60_000);
    let before = checked(&net, 0).bytes;
    assert!(matches!(
        net.engines[0].set_max_bytes(group, Some(CAP - 1)),
        Err(EngineError::CapTooSmall { least: CAP, .. })
    ));
    assert_eq!(checked(&net, 0).bytes, before);
    net.engines[0].set_max_bytes(group, Some(CAP)).unwrap();
    net.drain(0);
    for restart in [false, true] {
        if restart {
            net.restart(0, 9);
            net.connect(0, 1);
            for n in 400..800 {
                net.publish(1, group, &said("x", n, 1_000));
            }
            net.run(60_000);
        }
        let report = checked(&net, 0);
        let of = |id| report.group_bytes.iter().find(|(group, _)| *group == id).unwrap().1;
        assert!(of(group) <= CAP && of(group) > CAP - 2 * weight(1_000));
        assert_eq!(of(other), 400 * weight(100));
    }
    let status = net.engines[0].status();
    assert_eq!(status.groups.iter().map(|group| group.max_bytes).collect::<Vec<_>>(), [CAP, u64::MAX]);
    net.engines[0].set_max_bytes(group, None).unwrap();
    assert_eq!(net.engines[0].status().groups[0].max_bytes, u64::MAX);
}

#[test]
fn a_cap_that_is_set_later_prunes_when_the_store_is_opened() {
    let mut net = Net::new(2, 7);
    net.judge = judge;
    let group = net.group("g", true);
    net.connect(0, 1);
    for n in 0..400 {
        net.publish(1, group, &said("x", n, 1_000));
    }
    net.run(60_000);
    assert!(checked(&net, 0).bytes > 3 * CAP / 2);
    net.config = capped(CAP);
    net.restart(0, 9);
    net.drain(0);
    assert!(checked(&net, 0).bytes <= CAP);
    assert_eq!(pruned(&net, 0), 400 - held(&net, 0, group).len() as u64);
    net.connect(0, 1);
    net.run(60_000);
    assert!(net.engines[0].status().peers[0].settled);
    net.assert_silent();
    assert!(matches!(
        crate::Engine::open(crate::MemoryStore::new(), capped(CAP - 1), [0; 32], net.now),
        Err(EngineError::CapTooSmall { .. })
    ));
}

#[test]
fn what_no_peer_holds_yet_is_not_pruned() {
    let mut net = Net::with(2, 7, capped(CAP));
    let group = net.group("g", false);
    let draft = |n: usize, now| Draft { timestamp_ms: now, deps: vec![], body: said("me", n, 1_000).into() };
    let now = net.now;
    let mut written = 0;
    let error = loop {
        match net.engines[0].publish(group, draft(written, now.as_timestamp_ms()), now) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, EngineError::NoRoom { cap: CAP, needed } if needed == weight(1_000)), "{error}");
    assert_eq!(written as u64, CAP / weight(1_000));
    net.drain(0);
    assert_eq!(checked(&net, 0).delivered, written as u64);
    // Not for others' messages either.
    let liar = Liar::new(&mut net, &[group]);
    liar.send(&mut net, 1, &message(group, &said("mob", 0, 1_000), &[]));
    assert_eq!((checked(&net, 0).messages, held_of(&net, 0, group, "mob")), (written as u64, 0));
    // Once a friend has it, there is room for more.
    net.config.max_store_bytes = u64::MAX;
    net.drain(1);
    net.restart(1, 5);
    net.connect(0, 1);
    net.run(60_000);
    assert_eq!(held_of(&net, 1, group, "me"), written);
    let now = net.now;
    net.engines[0].publish(group, draft(written, now.as_timestamp_ms()), now).unwrap();
    net.drain(0);
    assert!(checked(&net, 0).bytes <= CAP);
    assert_eq!(pruned(&net, 0), 1);
    net.run(60_000);
    assert_eq!(held_of(&net, 1, group, "me"), written + 1);
}

#[test]
fn what_is_turned_away_for_lack_of_room_comes_when_there_is_room() {
    let mut net = Net::with(2, 7, capped(CAP));
    let group = net.group("g", false);
    let now = net.now.as_timestamp_ms();
    // All of it our own, and nobody has it.
    for n in 0.. {
        let draft = Draft { timestamp_ms: now, deps: vec![], body: said("me", n, 1_000).into() };
        if net.engines[0].publish(group, draft, net.now).is_err() {
            break;
        }
    }
    net.drain(0);
    net.config.max_store_bytes = u64::MAX;
    net.drain(1);
    net.restart(1, 5);
    let theirs = net.publish(1, group, &said("you", 0, 1_000));
    // The friend does not take ours yet, so that there is no room for theirs.
    net.engines[1].set_visibility(peer(0), group, Visibility::Shared).unwrap();
    net.connect(0, 1);
    net.run(120_000);
    // It came, and what it took the place of is at the friend's.
    assert_eq!(state_of(&net, 0, &theirs), Some(MessageState::Delivered));
    assert!(checked(&net, 0).bytes <= CAP);
    for entry in net.log(0, group).into_iter().filter(|entry| entry.body.is_none()) {
        assert_eq!(state_of(&net, 1, &entry.id), Some(MessageState::Delivered));
    }
    net.assert_silent();
}

#[test]
fn a_flood_of_what_waits_takes_no_more_than_its_part() {
    let mut flood = Flood::new(true);
    for n in 0..80 {
        flood.receive(&said("ann", n, 1_500));
    }
    // Each depends on something that never comes.
    for n in 0..500 {
        let parent = message(flood.group, &said("mob", 1_000_000 + n, 10), &[]);
        let child = message(flood.group, &said("mob", n, 1_000), &[&parent]);
        flood.liar.send(&mut flood.net, 1, &child);
        flood.net.drain(0);
        let report = checked(&flood.net, 0);
        assert!(report.bytes <= CAP);
        assert!(report.waiting * weight(1_000) <= CAP / 8);
    }
    assert_eq!(held_of(&flood.net, 0, flood.group, "ann"), 80);
    // And what others say finds room.
    for n in 80..200 {
        flood.receive(&said("ann", n, 1_500));
    }
    assert!(checked(&flood.net, 0).bytes <= CAP);
    assert!(held(&flood.net, 0, flood.group).last().unwrap().starts_with("ann:-:199"));
}

#[test]
fn peers_under_different_caps_come_to_rest() {
    for (seed, judged) in [(1, false), (2, true), (3, true)] {
        let mut net = Net::with(4, seed, capped(CAP));
        net.judge = judge;
        let group = net.group("g", judged);
        for (a, b) in [(0, 1), (1, 2), (2, 3), (3, 0)] {
            net.connect(a, b);
        }
        net.engines[2].set_max_bytes(group, Some(2 * CAP)).unwrap();
        for n in 0..400 {
            net.publish(n % 4, group, &said(["a", "b", "c", "d"][n % 4], n, 900));
            if n % 40 == 0 {
                net.run(5_000);
            }
        }
        net.run(600_000);
        for n in 0..4 {
            assert!(checked(&net, n).bytes <= CAP);
            assert_eq!(net.log(n, group).len(), 400, "seed {seed}, node {n}");
            assert!(net.engines[n].status().peers.iter().all(|pair| pair.in_flight == 0));
        }
        assert_eq!(net.canonical(0, group), net.canonical(2, group));
        net.assert_silent();
    }
}

/// The rule in its simplest form: one group, everything delivered at once, all messages of others.
fn model(cap: u64, arrivals: &[(u8, u16)]) -> BTreeMap<u8, Vec<usize>> {
    let mut shares: BTreeMap<u8, Vec<(usize, u64)>> = BTreeMap::new();
    let bytes = |share: &[(usize, u64)]| share.iter().map(|(_, weight)| weight).sum::<u64>();
    for (n, &(author, len)) in arrivals.iter().enumerate() {
        let new = weight(usize::from(len));
        while shares.values().map(|share| bytes(share)).sum::<u64>() + new > cap {
            let size =
                |(name, share): (&u8, &Vec<_>)| (bytes(share) + if *name == author { new } else { 0 }, *name);
            let (_, largest) = shares.iter().filter(|(_, share)| !share.is_empty()).map(size).max().unwrap();
            shares.get_mut(&largest).unwrap().remove(0);
        }
        shares.entry(author).or_default().push((n, new));
    }
    shares.into_iter().map(|(name, share)| (name, share.into_iter().map(|(n, _)| n).collect())).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn shares_are_as_the_model_says(
        arrivals in proptest::collection::vec((0_u8..6, 4_000_u16..30_000), 1..60),
        restarts in proptest::collection::vec(0_usize..60, 0..3),
    ) {
        let mut net = Net::with(1, 7, capped(CAP));
        let group = net.group("g", false);
        // One peer for each author: peers pay where no author is named.
        let peers: Vec<PeerId> = (0..6).map(|n| PeerId::from_bytes([n + 100; 32])).collect();
        let mut liars: Vec<Liar> = peers.iter().map(|id| Liar::named(&mut net, *id, &[group])).collect();
        let mut positions = [0; 6];
        for (n, &(author, len)) in arrivals.iter().enumerate() {
            if restarts.contains(&n) {
                net.restart(0, n as u64);
                liars = peers.iter().map(|id| Liar::named(&mut net, *id, &[group])).collect();
            }
            let at = usize::from(author);
            positions[at] += 1;
            let text = said(&author.to_string(), n, usize::from(len));
            liars[at].send(&mut net, 1, &message(group, &text, &[]));
            let expected = model(CAP, &arrivals[..=n]);
            let report = checked(&net, 0);
            prop_assert!(report.bytes <= CAP);
            let mut found: BTreeMap<u8, Vec<usize>> = expected.keys().map(|name| (*name, vec![])).collect();
            for text in held(&net, 0, group) {
                let (name, rest) = text.split_once(":-:").unwrap();
                let n = rest.split_once(' ').unwrap().0.parse().unwrap();
                found.get_mut(&name.parse().unwrap()).unwrap().push(n);
            }
            prop_assert_eq!(found, expected);
        }
        // Nobody below the fair share lost anything, but for one message that did not fit.
        let authors = positions.iter().filter(|count| **count > 0).count() as u64;
        for (author, name) in (0_u8..6).enumerate() {
            let sizes = || arrivals.iter().filter(|(of, _)| *of == name).map(|(_, len)| weight((*len).into()));
            if sizes().sum::<u64>() + super::super::super::retention::MAX_WEIGHT <= CAP / authors.max(1) {
                prop_assert_eq!(held_of(&net, 0, group, &name.to_string()) as u64, positions[author]);
            }
        }
    }
}

#[test]
fn who_is_removed_takes_nothing_along() {
    let mut flood = Flood::new(false);
    for n in 0..200 {
        flood.receive(&said("x", n, 1_000));
    }
    let now = flood.net.now;
    flood.net.engines[0].remove_peer(PeerId::from_bytes(LIAR), now).unwrap();
    flood.net.drain(0);
    assert!(checked(&flood.net, 0).bytes <= CAP);
    flood.net.engines[0].remove_group(flood.group).unwrap();
    flood.net.drain(0);
    assert_eq!(checked(&flood.net, 0).bytes, 0);
    // The whole cap is there for another group.
    let other = flood.net.group("other", false);
    let draft = Draft { timestamp_ms: 1, deps: vec![], body: said("me", 0, 30_000).into() };
    for n in 0..4 {
        let draft = Draft { timestamp_ms: n, ..draft.clone() };
        flood.net.engines[0].publish(other, draft, now).unwrap();
    }
    flood.net.drain(0);
    assert_eq!(checked(&flood.net, 0).bytes, 4 * weight(30_000));
}
