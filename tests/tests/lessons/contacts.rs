//! Devices that are rarely on line together, lose their stores, and lose their links at the worst moment.

use std::collections::BTreeMap;

use hedgerow_proto::{Span, Visibility};
use hedgerow_sync_core::testing::{CLEAN, Faults, Net, descriptor, open, peer};
use hedgerow_sync_core::{Config, LinkProfile, MemoryStore};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use crate::support::{Fake, bodies};

const DAY_MS: u64 = 24 * 3_600_000;

/// MVDS makes its rows of what is due when a message is written, one for each peer of that moment: who is added later
/// gets nothing. Here what is due follows from what is held, own messages and those of others.
#[test]
fn a_peer_added_later_gets_nothing_of_what_was_written_before() {
    let mut net = Net::new(3, 1);
    let group = descriptor("g").id();
    let add = |net: &mut Net, n: usize, others: &[usize]| {
        net.engines[n].add_group(&descriptor("g"), true).unwrap();
        for &other in others {
            net.engines[n].set_visibility(peer(other), group, Visibility::Shared).unwrap();
        }
    };
    add(&mut net, 0, &[1]);
    add(&mut net, 1, &[0]);
    net.connect(0, 1);
    // The link to the third is up all the time, and nobody shares the group over it yet.
    net.connect(1, 2);
    for n in 0..200 {
        net.publish(n % 2, group, &format!("message {n}"));
        net.run(50);
    }
    net.run(10_000);
    assert_eq!(net.messages_sent(), 200);
    add(&mut net, 2, &[1]);
    net.run(1_000);
    assert!(net.bodies(2, group).is_empty(), "node 1 does not share it with node 2");
    net.engines[1].set_visibility(peer(2), group, Visibility::Shared).unwrap();
    net.run(1_000);
    net.assert_converged(group, 200);
    assert_eq!(net.messages_sent(), 400);
    net.assert_silent();
}

/// In MVDS what was acknowledged once is never offered again, so that a peer which lost its database stays without.
/// Here what is asked for is served, acknowledged or not; a new store is told by its number and gets everything
/// back.
#[test]
fn a_peer_that_lost_its_database_asks_in_vain() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let id = net.publish(0, group, "one");
    net.publish(0, group, "two");
    let fake = Fake::new(&mut net, &[group]);
    fake.hear(&mut net);
    fake.ack(&mut net, vec![Span { first: 1, last: 2 }], vec![]);
    assert!(net.engines[0].status().peers[0].settled);
    for _ in 0..3 {
        fake.request(&mut net, vec![Span { first: 2, last: 2 }], vec![id]);
        let mut sent = bodies(&fake.hear(&mut net));
        sent.sort();
        assert_eq!(sent, ["one", "two"]);
        fake.ack(&mut net, vec![Span { first: 1, last: 2 }], vec![]);
    }

    for while_linked in [false, true] {
        let mut net = Net::new(2, 1);
        let group = net.group("g", true);
        let wire = net.connect(0, 1);
        for n in 0..60 {
            net.publish(n % 2, group, &format!("message {n}"));
            net.run(30);
        }
        net.run(1_000);
        // The link dies first, or the survivor learns of the new store while it still has it.
        if while_linked {
            net.vanish(1);
        } else {
            net.disconnect(wire);
        }
        net.engines[1] = open(MemoryStore::new(), &net.config, 1, 99, net.now);
        net.delivered[1].clear();
        net.group("g", true);
        net.connect(0, 1);
        net.run(2_000);
        if while_linked {
            // What was put on the dead link is due again when the carrier notices.
            net.hang_up(0);
            net.run(12_000);
        }
        net.assert_converged(group, 60);
    }
}

/// MVDS backs off by its clock, on line or not, and status-go drops a message after 15 sends: whole contacts pass
/// unused. Here 30 days in the dark, each with a contact that dies before a frame has crossed, end with one contact
/// of 60 s, and 1 MB each way goes through it at 20 kB/s.
#[test]
fn thirty_dark_days_make_the_one_contact_pass_unused() {
    const COUNT: u64 = 3_500;
    let mut net = Net::new(2, 1);
    let group = net.group("g", true);
    for n in 0..COUNT {
        net.publish(0, group, &format!("{n:0>300}"));
        net.publish(1, group, &format!("{n:1>300}"));
        net.run(30 * DAY_MS / COUNT);
        if n % (COUNT / 30) == 0 {
            let faults = Faults { delay_ms: (10_000, 10_000), ..CLEAN };
            let wire = net.connect_with(0, 1, LinkProfile::reliable(), faults);
            net.run(5_000);
            net.disconnect(wire);
        }
        if n == COUNT / 2 {
            net.restart(1, n);
        }
    }
    let wire = net.connect_with(0, 1, LinkProfile::reliable(), Faults { delay_ms: (50, 50), ..CLEAN });
    net.wires[wire].as_mut().unwrap().bytes_per_second = Some(20_000);
    net.run(60_000);
    net.disconnect(wire);
    net.assert_converged(group, 7_000);
    let settled = net.engines.iter().all(|engine| engine.status().peers.iter().all(|pair| pair.settled));
    assert!(settled, "both know it");
}

/// MVDS answers empty payloads with empty payloads, and repeats offers, for ever. Here two settled nodes exchange not
/// one frame in a day, on a reliable link and on a lossy one.
#[test]
fn settled_nodes_go_on_talking() {
    for lossy in [false, true] {
        let mut net = Net::new(2, 1);
        let group = net.group("g", true);
        if lossy {
            net.connect_lossy(0, 1, Faults { loss: 0.2, duplication: 0.2, delay_ms: (5, 90) });
        } else {
            net.connect(0, 1);
        }
        for n in 0..50 {
            net.publish(n % 2, group, &format!("message {n}"));
            net.run(100);
        }
        net.run(10 * 60_000);
        net.assert_converged(group, 50);
        let before = net.frames;
        net.run(DAY_MS);
        assert_eq!(net.frames - before, 0, "lossy: {lossy}");
        // And they are awake all the same.
        net.publish(0, group, "good morning");
        net.run(60_000);
        net.assert_converged(group, 51);
    }
}

/// With MVDS 32 of 40 runs with churn lost messages. Here five nodes, each pair linked a tenth of the time in random
/// windows, get everything, and in no contact does a body cross more than twice.
#[test]
fn with_one_tenth_of_uptime_messages_are_lost_or_storm() {
    for seed in 0..6 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut net = Net::new(5, seed);
        let group = net.group("g", true);
        net.tap = Some(Vec::new());
        // For each pair: the wire, if it is up, and for how many more seconds this lasts.
        let mut pairs: BTreeMap<(usize, usize), (Option<usize>, u64)> = BTreeMap::new();
        for a in 0..5 {
            for b in a + 1..5 {
                pairs.insert((a, b), (None, rng.random_range(0..1_000)));
            }
        }
        let mut up = 0;
        for second in 0..12_000 {
            for (&(a, b), (wire, left)) in &mut pairs {
                up += u64::from(wire.is_some());
                *left = left.saturating_sub(1);
                if *left > 0 {
                    continue;
                }
                match wire.take() {
                    Some(wire) => {
                        net.disconnect(wire);
                        *left = rng.random_range(0..1_000);
                    }
                    None => {
                        let jitter = Faults { delay_ms: (20, 400), ..CLEAN };
                        let lossy = rng.random_bool(0.5);
                        let profile = if lossy { LinkProfile::lossy(1_200) } else { LinkProfile::reliable() };
                        *wire = Some(net.connect_with(a, b, profile, jitter));
                        *left = rng.random_range(1..110);
                    }
                }
            }
            if second < 8_000 && second % 40 == 0 {
                net.publish(rng.random_range(0..5), group, &format!("message at {second}"));
            }
            net.run(1_000);
        }
        assert!((80_000..16 * 10_000).contains(&(up * 10)), "seed {seed}: up {up} of 120,000 s");
        net.assert_converged(group, 200);
        let mut crossed = BTreeMap::new();
        for sent in net.tap.iter().flatten() {
            for message in sent.messages() {
                *crossed.entry((sent.wire, message.body.clone())).or_insert(0) += 1;
            }
        }
        let most = crossed.values().max().copied().unwrap();
        assert!(most <= 2, "seed {seed}: {most} transmissions of one message in one contact");
    }
}

/// BSP takes the mark that an acknowledgement is owed when it writes the record: if the session dies, the ACK is
/// lost until the peer offers again. Here, whenever it dies, no body that had arrived crosses again, and nothing is
/// offered.
#[test]
fn a_dying_session_takes_acknowledgements_with_it() {
    for cut in 0..90 {
        for crash in [false, true] {
            let mut config = Config::default();
            config.max_in_flight_bytes = 10_000;
            let mut net = Net::with(2, cut, config);
            let group = net.group("g", true);
            for n in 0..60 {
                net.publish(0, group, &format!("message {n} {}", "x".repeat(1_000)));
            }
            let wire = net.connect(0, 1);
            net.run(cut);
            if crash {
                net.restart(1, cut);
            } else {
                net.disconnect(wire);
            }
            net.connect(0, 1);
            net.run(5_000);
            net.assert_converged(group, 60);
            assert_eq!(net.engines[1].traffic().duplicates_in, 0, "cut after {cut} ms, crash: {crash}");
            assert_eq!(net.engines[0].traffic().offers_out, 0, "cut after {cut} ms, crash: {crash}");
            assert!(net.engines[0].status().peers[0].settled, "cut after {cut} ms, crash: {crash}");
        }
    }
}
