//! Meshes, messages that do not fit, peers that are never met, and what is said once.

use hedgerow_proto::Visibility;
use hedgerow_sync_core::testing::{CLEAN, Faults, Net, peer};
use hedgerow_sync_core::{Event, LinkProfile, store};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

/// MVDS spends 50 times the least in a mesh of 20 without loss, and never stops. Here one message costs at most 1.05
/// transmissions for each of the 19 others, and an hour after it there was not one more frame.
#[test]
fn one_message_in_a_mesh_of_twenty_makes_a_storm() {
    for seed in 0..5 {
        let mut net = Net::new(20, seed);
        let group = net.group("g", true);
        // Nodes on a map: the farther apart, the slower the link.
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let places: Vec<(u64, u64)> =
            (0..20).map(|_| (rng.random_range(0..100), rng.random_range(0..100))).collect();
        for a in 0..20 {
            for b in a + 1..20 {
                let ((x, y), (u, v)) = (places[a], places[b]);
                let ms = (x.abs_diff(u).pow(2) + y.abs_diff(v).pow(2)).isqrt() + 1;
                net.connect_with(a, b, LinkProfile::reliable(), Faults { delay_ms: (ms, ms), ..CLEAN });
            }
        }
        net.run(1_000);
        net.publish(7, group, "to all");
        net.run(60_000);
        net.assert_converged(group, 1);
        // 1.05 x 19 is 19.95.
        assert!(net.messages_sent() <= 19, "{} transmissions", net.messages_sent());
        net.assert_silent();
        // Where the way over another node is faster than the direct one, a body may come by both, and no third time.
        for wire in net.wires.iter_mut().flatten() {
            wire.faults.delay_ms = (5, 200);
        }
        net.publish(7, group, "to all again");
        net.run(60_000);
        net.assert_converged(group, 2);
        assert!(net.messages_sent() <= 19 + 2 * 19, "{} transmissions", net.messages_sent());
        net.assert_silent();
    }
}

/// Where a message that does not fit stands at the head of a queue, nothing behind it ever moves. Here it is reported
/// once, waits for a link that can carry it, and the others go on.
#[test]
fn a_message_too_large_for_a_link_holds_up_the_others() {
    for lossy in [false, true] {
        let mut net = Net::new(2, 1);
        let group = net.group("g", false);
        net.publish_after(0, group, "before", vec![]);
        let large = net.publish_after(0, group, &"x".repeat(5_000), vec![]);
        for n in 0..50 {
            net.publish_after(0, group, &format!("after {n}"), vec![]);
        }
        let child = net.publish_after(0, group, "child of the large one", vec![large]);
        let narrow = if lossy {
            LinkProfile::lossy(1_200)
        } else {
            LinkProfile { max_frame: 1_200, ..LinkProfile::reliable() }
        };
        net.connect_with(0, 1, narrow, CLEAN);
        net.run(1_000);
        assert_eq!(net.bodies(1, group).len(), 51, "lossy: {lossy}");
        let missing: Vec<_> = net.engines[1].missing(group).iter().map(|missing| missing.id).collect();
        assert_eq!(missing, [large], "who lacks it knows it");
        net.run(10 * 60_000);
        let reported = |event: &&Event| matches!(event, Event::TooLarge { id, .. } if *id == large);
        assert!(net.events[0].iter().any(|event| reported(&event)), "who has it knows it");
        let others = net.events[0].iter().filter(|event| matches!(event, Event::TooLarge { .. }));
        assert!(others.clone().all(|event| reported(&event)), "no other is reported");
        assert_eq!(others.count(), 1, "it is reported once, however often the other side asks for it");
        net.connect(0, 1);
        net.run(1_000);
        net.assert_converged(group, 53);
        assert_eq!(net.log(1, group)[52].id, child);
    }
}

/// status-go drops a message after 15 sends without a word, and SDS reports as sent what nobody has acknowledged.
/// Here it is reported as undelivered, once, counts as held by nobody, and is delivered when the peer is met at
/// last.
#[test]
fn an_undeliverable_message_is_dropped_in_silence() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", true);
    for n in 0..3 {
        net.publish(0, group, &format!("message {n}"));
    }
    let undelivered = |net: &Net| -> Vec<(u64, u64)> {
        let of = |event: &Event| match event {
            Event::Undelivered { peer: to, group: of, since, count } => {
                assert_eq!((*to, *of), (peer(1), group));
                Some((net.now.since(*since), *count))
            }
            _ => None,
        };
        net.events[0].iter().filter_map(of).collect()
    };
    // A contact every few hours, in which nothing crosses: many more than 15 sends.
    for hour in 0..8 * 24 {
        let wire = net.connect_with(0, 1, LinkProfile::lossy(1_200), Faults { loss: 1.0, ..CLEAN });
        net.run(60_000);
        net.disconnect(wire);
        net.run(3_600_000 - 60_000);
        let expected = usize::from(hour + 1 >= 7 * 24);
        assert_eq!(undelivered(&net).len(), expected, "after {} hours", hour + 1);
    }
    assert_eq!(undelivered(&net)[0].1, 3);
    let pair = net.engines[0].status().peers[0];
    assert_eq!((pair.acked, pair.settled), (0, false), "nobody has acknowledged it");
    net.restart(0, 2);
    net.connect(0, 1);
    net.run(1_000);
    net.assert_converged(group, 3);
    let pair = net.engines[0].status().peers[0];
    assert_eq!((pair.acked, pair.settled), (3, true));
}

/// A protocol that has nothing but lasting messages keeps, acknowledges and repeats typing signs. Here an ephemeral
/// message crosses once, lost or not, leaves no trace in either store, is not acknowledged and not passed on.
#[test]
fn a_typing_sign_is_stored_acknowledged_and_repeated() {
    for (lossy, loss) in [(false, 0.0), (true, 0.0), (true, 1.0)] {
        let mut net = Net::new(3, 1);
        let group = net.group("g", true);
        let profile = if lossy { LinkProfile::lossy(1_200) } else { LinkProfile::reliable() };
        let wire = net.connect_with(0, 1, profile, CLEAN);
        net.connect(1, 2);
        net.engines[0].publish_ephemeral(group, "before anybody is there".into(), net.now).unwrap();
        net.run(60_000);
        let acked = net.engines.iter().map(|engine| engine.traffic().acks_out).sum::<u64>();
        net.tap = Some(Vec::new());
        net.wires[wire].as_mut().unwrap().faults.loss = loss;
        net.engines[0].publish_ephemeral(group, "typing".into(), net.now).unwrap();
        net.run(5_000);
        net.wires[wire].as_mut().unwrap().faults.loss = 0.0;
        net.run(600_000);
        let tap = net.tap.take().unwrap();
        let crossed = tap.iter().flat_map(|sent| &sent.frame.ephemerals).count();
        assert_eq!(crossed, 1, "lossy: {lossy}, loss: {loss}");
        assert!(tap.iter().all(|sent| sent.frame.acks.is_empty()), "no ACK");
        let heard = |n: usize| {
            let ephemeral = |event: &&Event| matches!(event, Event::Ephemeral { .. });
            net.events[n].iter().filter(ephemeral).count()
        };
        assert_eq!([heard(0), heard(1), heard(2)], [0, usize::from(loss < 1.0), 0]);
        for engine in &net.engines {
            assert_eq!(store::check(engine.store()).unwrap().messages, 0);
        }
        assert_eq!(net.engines.iter().map(|engine| engine.traffic().acks_out).sum::<u64>(), acked);
        // Who does not share the group with us hears nothing.
        net.engines[0].set_visibility(peer(1), group, Visibility::Visible).unwrap();
        net.engines[0].publish_ephemeral(group, "typing to nobody".into(), net.now).unwrap();
        net.tap = Some(Vec::new());
        net.run(60_000);
        assert!(net.tap.iter().flatten().all(|sent| sent.frame.ephemerals.is_empty()));
    }
}
