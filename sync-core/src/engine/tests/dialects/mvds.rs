//! Two and three engines over every foreign wire, and lossy carriers under MVDS.

use super::{batch, foreign_group, interactive, ways, write};
use crate::testing::{CLEAN, Faults, Net};
use crate::{Config, LinkProfile, PushPolicy};
use hedgerow_proto::IdScheme;

#[test]
fn dialect_two_engines_come_to_the_same_and_fall_silent() {
    for (name, scheme, profile) in ways() {
        let mut net = Net::new(2, 1);
        let group = foreign_group(&mut net, scheme, "g", false);
        for n in 0..50 {
            write(&mut net, 0, group, &format!("before {n}"));
        }
        net.connect_with(0, 1, profile, CLEAN);
        net.run(10_000);
        for n in 0..20 {
            write(&mut net, n % 2, group, &format!("between {n}"));
            net.run(100);
        }
        net.run(10_000);
        net.assert_converged(group, 70);
        net.assert_silent();
        assert_eq!(net.messages_sent(), 70, "{name}: each message crosses once");
        let status = [0, 1].map(|n| net.engines[n].status());
        for status in status {
            assert!(
                status.peers.iter().all(|pair| pair.settled && pair.in_flight == 0),
                "{name}: {status:?}"
            );
        }
        for engine in &net.engines {
            assert!(engine.audit_books().unwrap().is_empty(), "{name}");
        }
    }
}

#[test]
fn dialect_a_relay_passes_on_what_it_got() {
    for (name, scheme, profile) in ways() {
        let mut net = Net::new(3, 2);
        let group = foreign_group(&mut net, scheme, "g", false);
        net.connect_with(0, 1, profile.clone(), CLEAN);
        net.connect_with(1, 2, profile.clone(), CLEAN);
        for n in 0..30 {
            write(&mut net, n % 3, group, &format!("message {n}"));
            net.run(500);
        }
        net.connect_with(2, 0, profile.clone(), CLEAN);
        net.run(10_000);
        net.assert_converged(group, 30);
        net.assert_silent();
        // Where everything is pushed, what was passed on crosses once more over the third link, in both directions.
        let most = if profile.push == PushPolicy::OfferFirst { 60 } else { 150 };
        assert!(net.messages_sent() <= most, "{name}: {} sent", net.messages_sent());
    }
}

#[test]
fn dialect_settled_peers_that_meet_again_say_nothing_but_what_a_stream_begins_with() {
    for (name, scheme, profile) in ways() {
        let mut net = Net::new(2, 3);
        let group = foreign_group(&mut net, scheme, "g", false);
        for n in 0..100 {
            write(&mut net, n % 2, group, &format!("message {n}"));
        }
        let wire = net.connect_with(0, 1, profile.clone(), CLEAN);
        net.run(10_000);
        net.disconnect(wire);
        for restart in [false, true] {
            if restart {
                net.restart(0, 8);
            }
            let before = net.frames;
            let wire = net.connect_with(0, 1, profile.clone(), CLEAN);
            net.run(10_000);
            let opening = if scheme == IdScheme::Bramble { 2 } else { 0 };
            assert_eq!(net.frames - before, opening, "{name}, restart: {restart}");
            net.disconnect(wire);
        }
    }
}

#[test]
fn dialect_what_was_under_way_on_a_link_that_ended_is_sent_at_the_next_contact() {
    for (name, scheme, profile) in ways() {
        for cut_ms in [1, 20, 35, 60] {
            let mut net = Net::new(2, 4);
            let group = foreign_group(&mut net, scheme, "g", false);
            for n in 0..300 {
                write(&mut net, n % 2, group, &format!("message {n} {}", "x".repeat(600)));
            }
            let slow = Faults { delay_ms: (10, 15), ..CLEAN };
            let wire = net.connect_with(0, 1, profile.clone(), slow);
            net.run(cut_ms);
            net.disconnect(wire);
            net.connect_with(0, 1, profile.clone(), slow);
            net.run(60_000);
            net.assert_converged(group, 300);
            net.assert_silent();
            assert!(net.messages_sent() <= 600, "{name}: {}", net.messages_sent());
        }
    }
}

#[test]
fn dialect_a_crash_loses_nothing_that_was_acknowledged() {
    for (name, scheme, profile) in ways() {
        let mut net = Net::new(2, 5);
        let group = foreign_group(&mut net, scheme, "g", false);
        for n in 0..60 {
            write(&mut net, n % 2, group, &format!("message {n}"));
            if n % 15 == 14 {
                net.connect_with(0, 1, profile.clone(), Faults { delay_ms: (1, 9), ..CLEAN });
                net.run(u64::try_from(n).unwrap());
                net.restart(n % 2, 9);
            }
        }
        net.connect_with(0, 1, profile, CLEAN);
        net.run(60_000);
        net.assert_silent();
        for n in 0..2 {
            assert_eq!(net.log(n, group).len(), 60, "{name}");
            let report = crate::store::check(net.engines[n].store()).unwrap();
            assert!(report.problems.is_empty(), "{name}: {:?}", report.problems);
        }
    }
}

fn lossy(profile: LinkProfile) -> LinkProfile {
    LinkProfile { reliable: false, max_frame: 1_400, round_trip_ms: 50, ..profile }
}

#[test]
fn dialect_mvds_repairs_a_carrier_that_loses_repeats_and_reorders() {
    for profile in [batch(), interactive()] {
        for loss in [0.0, 0.1, 0.3, 0.5] {
            let mut net = Net::new(2, 6);
            let group = foreign_group(&mut net, IdScheme::Mvds, "g", false);
            net.connect_with(
                0,
                1,
                lossy(profile.clone()),
                Faults { loss, duplication: 0.05, delay_ms: (5, 40) },
            );
            for n in 0..200 {
                write(&mut net, n % 2, group, &format!("message {n}"));
                net.run(50);
            }
            net.run(3_600_000);
            net.assert_converged(group, 200);
            let status = net.engines[0].status();
            assert!(status.peers.iter().all(|pair| pair.settled), "{loss}: {status:?}");
            net.assert_silent();
            let ideal = 200.0 / ((1.0 - loss) * (1.0 - loss));
            let sent = f64::from(u32::try_from(net.messages_sent()).unwrap());
            assert!(sent <= 1.6 * ideal + 10.0, "loss {loss}: {sent} sent, {ideal} are ideal");
        }
    }
}

#[test]
fn dialect_mvds_a_silent_carrier_is_tried_ever_less_often_and_never_given_up() {
    let config = Config { max_resend_ms: 60_000, ..Config::default() };
    let mut net = Net::with(2, 7, config);
    let group = foreign_group(&mut net, IdScheme::Mvds, "g", false);
    for n in 0..50 {
        write(&mut net, 0, group, &format!("message {n}"));
    }
    let wire = net.connect_with(0, 1, lossy(batch()), Faults { loss: 1.0, ..CLEAN });
    net.run(3_600_000);
    let tried = net.messages_sent();
    assert!((100..=200).contains(&tried), "{tried} in an hour");
    // It is heard again.
    net.wires[wire].as_mut().unwrap().faults = CLEAN;
    net.run(600_000);
    net.assert_converged(group, 50);
    net.assert_silent();
}

#[test]
fn dialect_mvds_without_metadata_dependencies_stay_at_home() {
    let mut net = Net::new(2, 8);
    let group = foreign_group(&mut net, IdScheme::Mvds, "g", false);
    let (a, b) = (write(&mut net, 0, group, "a"), write(&mut net, 0, group, "b"));
    net.connect_with(0, 1, LinkProfile::mvds(false, PushPolicy::Always), CLEAN);
    net.run(1_000);
    let deps = |n: usize, id| net.engines[n].message(&id).unwrap().unwrap().deps;
    assert_eq!(deps(0, b), [a]);
    assert!(deps(1, b).is_empty());
    assert_eq!(net.log(1, group).len(), 2);
}
