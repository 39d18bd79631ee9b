//! Several links to one peer, links that are slow to say what changed, and peers that forget.

use hedgerow_proto::Visibility;

use crate::testing::{CLEAN, Faults, Net, descriptor, open, peer};
use crate::{Config, Draft, LinkProfile, MemoryStore, PushPolicy};

/// A lossy link that offers first.
fn narrow() -> LinkProfile {
    LinkProfile { push: PushPolicy::OfferFirst, ..LinkProfile::lossy(1_200) }
}

#[test]
fn what_is_too_large_for_a_link_is_not_asked_for_again_and_again() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    net.publish(0, group, &"x".repeat(5_000));
    net.connect_with(0, 1, narrow(), CLEAN);
    net.assert_silent();
    // The narrow link is still up, and asks for something to send as often as the wide one does.
    net.connect(0, 1);
    net.run(1_000);
    net.assert_converged(group, 1);
    net.publish(0, group, &"y".repeat(5_000));
    net.run(1_000);
    net.assert_converged(group, 2);
    net.assert_silent();
}

// spec: announce-other-links
#[test]
fn acknowledgements_that_die_with_a_link_are_said_again_on_another() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    let first = net.connect(0, 1);
    let second = net.connect(0, 1);
    net.run(1_000);
    let ends = |net: &Net, wire: usize| net.wires[wire].as_ref().unwrap().ends.map(|(_, link)| link);
    let ([_, first_at_1], [second_at_0, second_at_1]) = (ends(&net, first), ends(&net, second));
    net.publish(0, group, "hello");
    let now = net.now;
    let frame = net.engines[0].poll_transmit(second_at_0, now, usize::MAX).unwrap().unwrap();
    net.engines[1].receive(second_at_1, frame, now).unwrap();
    let ack = net.engines[1].poll_transmit(first_at_1, now, usize::MAX).unwrap();
    assert!(ack.is_some(), "the acknowledgement takes the first link");
    net.disconnect(first);
    net.run(1_000);
    let status = net.engines[0].status();
    assert!(status.peers.iter().all(|pair| pair.settled && pair.in_flight == 0), "{status:?}");
}

// spec: hello-max-offers, offer-window
#[test]
fn two_links_carry_no_more_offers_than_the_peer_takes() {
    let config = Config { max_offers: 4, max_requests: 4, ..Config::default() };
    let mut net = Net::with(2, 1, config);
    let group = net.group("g", false);
    for n in 0..100 {
        net.publish_after(0, group, &format!("message {n} {}", "x".repeat(900)), vec![]);
    }
    let offer_first = LinkProfile { push: PushPolicy::OfferFirst, ..LinkProfile::reliable() };
    net.connect_with(0, 1, offer_first.clone(), CLEAN);
    net.connect_with(0, 1, offer_first, CLEAN);
    net.run(5_000);
    net.assert_converged(group, 100);
    assert_eq!(net.engines[1].traffic().refused, 0);
    assert_eq!(net.messages_sent(), 100);
}

#[test]
fn a_peer_that_was_away_for_a_moment_gets_what_it_ignored() {
    for leaves in [false, true] {
        let mut net = Net::new(2, 1);
        let group = net.group("g", false);
        let wire = net.connect(0, 1);
        net.run(1_000);
        net.publish(0, group, "ignored");
        let [(_, to_1), (_, to_0)] = net.wires[wire].as_ref().unwrap().ends;
        let frame = net.engines[0].poll_transmit(to_1, net.now, usize::MAX).unwrap().unwrap();
        if leaves {
            net.engines[1].remove_group(group).unwrap();
        } else {
            net.engines[1].set_visibility(peer(0), group, Visibility::Invisible).unwrap();
        }
        net.engines[1].receive(to_0, frame, net.now).unwrap();
        net.engines[1].add_group(&descriptor("g"), false).unwrap();
        net.engines[1].set_visibility(peer(0), group, Visibility::Shared).unwrap();
        net.run(1_000);
        net.assert_converged(group, 1);
        net.assert_silent();
    }
}

// spec: announce-again
#[test]
fn announcements_may_overtake_each_other() {
    for seed in 0..30 {
        let mut net = Net::new(2, seed);
        let group = net.group("g", false);
        net.connect_lossy(0, 1, Faults { loss: 0.0, duplication: 0.3, delay_ms: (5, 300) });
        net.run(2_000);
        for n in 0..12 {
            let to = [Visibility::Shared, Visibility::Invisible][n % 2];
            net.engines[1].set_visibility(peer(0), group, to).unwrap();
            net.publish(n % 2, group, &format!("message {n}"));
            net.run(20);
        }
        net.engines[1].set_visibility(peer(0), group, Visibility::Shared).unwrap();
        net.run(600_000);
        net.assert_converged(group, 12);
        net.assert_silent();
    }
}

// spec: chain-reset
#[test]
fn a_store_that_went_back_in_time_is_believed_over_a_bad_line_too() {
    for seed in 0..30 {
        let mut net = Net::new(2, seed);
        let group = net.group("g", false);
        let wire = net.connect(0, 1);
        net.run(1_000);
        let backup = net.engines[0].store().clone();
        for n in 0..30 {
            net.publish(0, group, &format!("forgotten {n}"));
        }
        net.run(1_000);
        net.disconnect(wire);
        net.engines[0] = open(backup, &net.config, 0, seed + 1_000, net.now);
        net.delivered[0].clear();
        for n in 0..40 {
            net.publish(0, group, &format!("remembered {n} {}", "x".repeat(500)));
        }
        // The line dies in between.
        let faults = Faults { loss: 0.5, duplication: 0.1, delay_ms: (5, 30) };
        for ms in [60, 90, 120, 160, 200, 250, 300] {
            let wire = net.connect_lossy(0, 1, faults);
            net.run(ms);
            net.disconnect(wire);
        }
        net.connect_lossy(0, 1, faults);
        net.run(3_600_000);
        net.assert_converged(group, 70);
        net.assert_silent();
    }
}

#[test]
fn a_peer_that_lost_its_store_gets_what_it_wrote_even_if_it_is_judged_late() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", true);
    net.verdict_delay_ms = (5_000, 5_000);
    net.publish(1, group, "lost and found");
    let wire = net.connect(0, 1);
    net.run(1_000);
    assert_eq!(net.engines[0].unvalidated(), 1);
    net.disconnect(wire);
    net.engines[1] = open(MemoryStore::new(), &net.config, 1, 99, net.now);
    net.delivered[1].clear();
    net.group("g", true);
    net.connect(0, 1);
    net.run(60_000);
    net.assert_converged(group, 1);
}

#[test]
fn a_clock_that_jumps_does_not_stop_a_lossy_link() {
    for seed in 0..10 {
        let mut net = Net::new(2, seed);
        let group = net.group("g", false);
        net.connect_lossy(0, 1, Faults { loss: 0.3, duplication: 0.0, delay_ms: (10, 30) });
        for n in 0..40 {
            net.publish(n % 2, group, &format!("message {n}"));
            net.run(15);
            if n == 10 {
                net.now = net.now + 40 * 24 * 3_600_000;
            }
        }
        net.run(10 * 60_000);
        net.assert_converged(group, 40);
    }
}

// spec: hello-max-frame
#[test]
fn a_small_frame_limit_holds_once_the_other_side_can_know_it() {
    let mut net = Net::new(2, 1);
    let small = Config { max_frame: 256, ..Config::default() };
    net.engines[1] = open(MemoryStore::new(), &small, 1, 1, net.now);
    let groups: Vec<_> = (0..100).map(|n| net.group(&format!("group {n}"), false)).collect();
    for &group in &groups {
        net.publish(0, group, "hello");
    }
    // A violation of the limit would end the link, and this test.
    net.connect(0, 1);
    net.run(10_000);
    groups.iter().for_each(|&group| net.assert_converged(group, 1));
}

#[test]
fn hundreds_of_groups_that_wait_for_room_do_not_keep_one_silent_that_does_not() {
    // Everything waits for an acknowledgement, which stands far behind in line.
    let config = Config { max_in_flight_bytes: 1, ..Config::default() };
    let mut net = Net::with(2, 1, config);
    let groups: Vec<_> = (0..600).map(|n| net.group(&format!("group {n}"), false)).collect();
    for &group in &groups {
        for n in 0..2 {
            let draft = Draft { timestamp_ms: 1, deps: vec![], body: format!("from {n}").into() };
            net.engines[n].publish(group, draft, net.now).unwrap();
        }
    }
    net.connect(0, 1);
    net.run(60_000);
    for group in groups {
        assert_eq!(net.bodies(0, group).len(), 2);
        assert_eq!(net.bodies(1, group).len(), 2);
    }
}
