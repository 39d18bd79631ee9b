//! Two and more engines over links that come and go.

use hedgerow_proto::Visibility;

use crate::testing::{CLEAN, Faults, Net, descriptor, peer};
use crate::{Event, LinkProfile, PushPolicy};

// spec: settled-silence, deliver-own
#[test]
fn two_talk() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", true);
    net.publish(0, group, "before");
    net.connect(0, 1);
    assert!(net.run(10_000) || net.engines[0].poll_timeout().is_none());
    net.publish(1, group, "answer");
    net.publish(0, group, "more");
    net.run(10_000);
    net.assert_converged(group, 3);
    net.assert_silent();
    assert_eq!(net.messages_sent(), 3, "each body crossed once");
}

#[test]
fn a_relay_passes_messages_on() {
    let mut net = Net::new(3, 2);
    let group = net.group("g", true);
    net.connect(0, 1);
    net.connect(1, 2);
    for n in 0..20 {
        net.publish(n % 3, group, &format!("message {n}"));
        net.run(5);
    }
    net.run(60_000);
    net.assert_converged(group, 20);
    net.assert_silent();
}

#[test]
fn a_full_mesh_sends_each_body_once_to_each() {
    let mut net = Net::new(20, 3);
    let group = net.group("g", false);
    for a in 0..20 {
        for b in a + 1..20 {
            net.connect(a, b);
        }
    }
    net.run(1_000);
    net.publish(7, group, "to all");
    net.run(10_000);
    net.assert_converged(group, 1);
    assert_eq!(net.messages_sent(), 19);
    net.assert_silent();
}

// spec: announce-held, settled-silence
#[test]
fn what_is_settled_stays_settled_over_contacts() {
    let mut net = Net::new(2, 4);
    let group = net.group("g", true);
    for n in 0..100 {
        net.publish(n % 2, group, &format!("message {n}"));
    }
    let wire = net.connect(0, 1);
    net.run(60_000);
    net.assert_converged(group, 100);
    net.disconnect(wire);
    let (sent, before) = (net.messages_sent(), net.frames);
    let offers: u64 = net.engines.iter().map(|e| e.traffic().offers_out).sum();
    net.connect(0, 1);
    net.run(60_000);
    assert_eq!(net.messages_sent(), sent);
    assert_eq!(net.engines.iter().map(|e| e.traffic().offers_out).sum::<u64>(), offers);
    assert_eq!(net.frames - before, 4, "a value and its answer each way");
}

// spec: ack-settled, no-repeats
#[test]
fn a_link_that_dies_at_any_moment_costs_nothing() {
    for cut in 0..60 {
        let mut net = Net::new(2, 5);
        let group = net.group("g", true);
        for n in 0..50 {
            net.publish(n % 2, group, &format!("message {n} {}", "x".repeat(2000)));
        }
        let mut wire = net.connect(0, 1);
        for _ in 0..cut % 7 + 1 {
            net.run(cut);
            net.disconnect(wire);
            wire = net.connect(0, 1);
        }
        net.run(60_000);
        net.assert_converged(group, 50);
        net.assert_silent();
    }
}

// spec: ack-durable
#[test]
fn a_crash_at_any_moment_loses_nothing() {
    for cut in 0..60 {
        let mut net = Net::new(2, 6);
        let group = net.group("g", true);
        for n in 0..50 {
            net.publish(n % 2, group, &format!("message {n} {}", "x".repeat(2000)));
        }
        net.connect(0, 1);
        net.run(cut);
        net.restart(usize::try_from(cut % 2).unwrap(), cut);
        net.connect(0, 1);
        net.run(60_000);
        net.assert_converged(group, 50);
        net.assert_silent();
    }
}

// spec: push-or-offer, offer-window
#[test]
fn offers_come_first_where_the_link_says_so() {
    let mut net = Net::new(2, 7);
    let group = net.group("g", false);
    for n in 0..2_000 {
        net.publish(0, group, &format!("message {n}"));
    }
    let profile = LinkProfile { push: PushPolicy::OfferFirst, ..LinkProfile::reliable() };
    net.connect_with(0, 1, profile, CLEAN);
    // Four windows of 512 offers, each a round trip of 20 ms and a half for the bodies: no timer is waited for.
    net.run(400);
    net.assert_converged(group, 2_000);
    assert_eq!(net.messages_sent(), 2_000);
    assert_eq!(net.engines[0].traffic().offers_out, 2_000);
}

/// Three nodes of which 0 and 1 have ten messages of each of the two, and what was offered so far by 0.
fn two_that_met(profile: &LinkProfile) -> (Net, hedgerow_proto::GroupId, u64) {
    let mut net = Net::new(3, 12);
    let group = net.group("g", false);
    for n in 0..20 {
        net.publish(n % 2, group, &format!("message {n}"));
    }
    let link = net.connect_with(0, 1, profile.clone(), CLEAN);
    net.run(1_000);
    net.disconnect(link);
    net.run(1_000);
    assert_eq!(net.messages_sent(), 20);
    let offers = net.engines[0].traffic().offers_out;
    assert_eq!(offers, 0, "nobody else can have given to a peer what only its author has");
    (net, group, offers)
}

// spec: push-or-offer
#[test]
fn what_somebody_else_may_have_given_to_a_peer_is_offered() {
    for profile in [LinkProfile::reliable(), LinkProfile::lossy(1_200)] {
        let (mut net, group, _) = two_that_met(&profile);
        net.connect_with(1, 2, profile.clone(), CLEAN);
        net.run(1_000);
        assert_eq!(net.messages_sent(), 40);
        assert_eq!(net.engines[1].traffic().offers_out, 20, "its own too, as node 0 has them");
        net.connect_with(0, 2, profile.clone(), CLEAN);
        net.run(1_000);
        assert_eq!(net.messages_sent(), 40, "what node 2 has from node 1 is not sent to it");
        // What is new is nobody's yet: it goes to both at once.
        let offers = net.engines[0].traffic().offers_out;
        net.publish(0, group, "new");
        net.run(15);
        assert_eq!(net.bodies(2, group).len(), 21, "no round trip is spent on an offer");
        net.run(1_000);
        assert_eq!((net.messages_sent(), net.engines[0].traffic().offers_out), (42, offers));
        net.assert_silent();
    }
}

// spec: push-learned
#[test]
fn a_peer_that_lacks_whatever_is_offered_is_sent_everything() {
    for profile in [LinkProfile::reliable(), LinkProfile::lossy(1_200)] {
        let mut net = Net::new(4, 13);
        let group = net.group("g", false);
        net.connect_with(0, 1, profile.clone(), CLEAN);
        net.connect_with(1, 2, profile.clone(), CLEAN);
        for n in 0..12 {
            net.publish(0, group, &format!("message {n}"));
            net.run(1_000);
        }
        assert_eq!(net.engines[1].traffic().offers_out, 8, "node 2 asked for each of eight");
        // Now node 2 hears of everything from node 3 first.
        let quick = profile.clone();
        let slow = Faults { delay_ms: (200, 200), ..CLEAN };
        for wire in net.wires.iter_mut().flatten().filter(|wire| wire.ends[1].0 == 2) {
            wire.faults = slow;
        }
        net.connect_with(0, 3, quick.clone(), CLEAN);
        net.connect_with(3, 2, quick, CLEAN);
        net.run(5_000);
        let offers = net.engines[1].traffic().offers_out;
        net.publish(0, group, "sent by both");
        net.run(5_000);
        assert_eq!(net.engines[1].traffic().offers_out, offers, "not known yet");
        net.publish(0, group, "offered again");
        net.run(5_000);
        assert_eq!(net.engines[1].traffic().offers_out, offers + 1);
        net.assert_converged(group, 14);
        net.assert_silent();
    }
}

// spec: announce-visibility
#[test]
fn visibility_is_kept() {
    let mut net = Net::new(2, 8);
    let group = net.group("g", false);
    net.engines[1].set_visibility(peer(0), group, Visibility::Invisible).unwrap();
    net.publish(0, group, "for your eyes");
    net.connect(0, 1);
    net.run(10_000);
    assert_eq!(net.bodies(1, group).len(), 0);
    assert_eq!(net.messages_sent(), 0, "who did not announce the group is not sent its messages");
    // Visible takes and does not give.
    net.publish(1, group, "mine");
    net.engines[1].set_visibility(peer(0), group, Visibility::Visible).unwrap();
    net.run(10_000);
    assert_eq!(net.bodies(1, group).len(), 2);
    assert_eq!(net.bodies(0, group).len(), 1);
    net.engines[1].set_visibility(peer(0), group, Visibility::Shared).unwrap();
    net.run(10_000);
    net.assert_converged(group, 2);
    net.assert_silent();
}

// spec: send-on-contact
#[test]
fn a_group_joined_later_is_caught_up_on_the_running_link() {
    let mut net = Net::new(2, 9);
    let group = descriptor("late").id();
    net.engines[0].add_group(&descriptor("late"), false).unwrap();
    net.engines[0].set_visibility(peer(1), group, Visibility::Shared).unwrap();
    net.connect(0, 1);
    net.publish(0, group, "early bird");
    net.run(1_000);
    net.engines[1].add_group(&descriptor("late"), false).unwrap();
    net.engines[1].set_visibility(peer(0), group, Visibility::Shared).unwrap();
    net.run(1_000);
    net.assert_converged(group, 1);
}

// spec: announce-number
#[test]
fn a_group_can_be_left_and_joined_again() {
    let mut net = Net::new(2, 10);
    let group = net.group("g", false);
    net.connect(0, 1);
    net.publish(0, group, "one");
    net.run(1_000);
    net.engines[1].remove_group(group).unwrap();
    net.publish(0, group, "two");
    net.run(1_000);
    net.delivered[1].clear();
    net.engines[1].add_group(&descriptor("g"), false).unwrap();
    net.engines[1].set_visibility(peer(0), group, Visibility::Shared).unwrap();
    net.run(1_000);
    net.assert_converged(group, 2);
    net.assert_silent();
}

// spec: hello-install
#[test]
fn a_lost_store_gets_everything_back() {
    let mut net = Net::new(2, 11);
    let group = net.group("g", true);
    for n in 0..40 {
        net.publish(n % 2, group, &format!("message {n}"));
    }
    let wire = net.connect(0, 1);
    net.run(10_000);
    net.disconnect(wire);
    net.engines[1] =
        crate::Engine::open(crate::MemoryStore::new(), net.config.clone(), [9; 32], net.now).unwrap();
    net.delivered[1].clear();
    net.group("g", true);
    net.connect(0, 1);
    net.run(10_000);
    net.assert_converged(group, 40);
    net.assert_silent();
}

// spec: chain-reset
#[test]
fn a_store_that_went_back_in_time_neither_loses_nor_hides_anything() {
    // The other side's memory of node 0's log is of positions that now mean something else.
    for more in [0, 5, 30] {
        let mut net = Net::new(2, 12);
        let group = net.group("g", true);
        for n in 0..20 {
            net.publish(n % 2, group, &format!("message {n}"));
        }
        let wire = net.connect(0, 1);
        net.run(10_000);
        net.disconnect(wire);
        let backup = net.engines[0].store().clone();
        let delivered = net.delivered[0].clone();
        let wire = net.connect(0, 1);
        for n in 20..40 {
            net.publish(n % 2, group, &format!("message {n}"));
            net.run(5);
        }
        net.run(10_000);
        net.assert_converged(group, 40);
        net.disconnect(wire);
        net.engines[0] = crate::Engine::open(backup, net.config.clone(), [9; 32], net.now).unwrap();
        net.delivered[0] = delivered;
        for n in 0..more {
            net.publish(0, group, &format!("after the backup {n}"));
        }
        net.connect(0, 1);
        net.run(60_000);
        net.assert_converged(group, 40 + more);
        net.assert_silent();
    }
}

// spec: chain-reset, reset-value
#[test]
fn a_restored_store_comes_over_new_links_while_the_old_ones_are_not_known_to_be_dead() {
    const LOSSY: Faults = Faults { loss: 0.2, duplication: 0.1, delay_ms: (5, 80) };
    for seed in 0..40 {
        let mut net = Net::new(2, seed);
        let group = net.group("g", true);
        net.connect(0, 1);
        net.connect_lossy(0, 1, LOSSY);
        for n in 0..20 {
            net.publish(n % 2, group, &format!("message {n}"));
        }
        net.run(30_000);
        let backup = net.engines[0].store().clone();
        let delivered = net.delivered[0].clone();
        for n in 20..40 {
            net.publish(n % 2, group, &format!("message {n}"));
            net.run(5);
        }
        net.run(30_000);
        net.assert_converged(group, 40);
        net.vanish(0);
        assert_eq!(net.half_open.len(), 2);
        net.engines[0] = crate::Engine::open(backup, net.config.clone(), [9; 32], net.now).unwrap();
        net.delivered[0] = delivered;
        let more = usize::try_from(seed % 4).unwrap() * 7;
        for n in 0..more {
            net.publish(0, group, &format!("after the backup {n}"));
        }
        net.connect_lossy(0, 1, LOSSY);
        net.run(seed * 3);
        net.hang_up(0);
        net.connect(0, 1);
        net.run(seed * 2);
        net.publish(1, group, "meanwhile");
        net.run(seed);
        net.hang_up(0);
        net.run(120_000);
        net.assert_converged(group, 41 + more);
        net.assert_silent();
    }
}

// spec: ephemeral
#[test]
fn ephemeral_messages_are_sent_once_and_never_stored() {
    let mut net = Net::new(2, 13);
    let group = net.group("g", true);
    net.engines[0].publish_ephemeral(group, "nobody is there".into(), net.now).unwrap();
    net.connect(0, 1);
    net.run(1_000);
    net.engines[0].publish_ephemeral(group, "typing".into(), net.now).unwrap();
    net.run(1_000);
    let heard =
        net.events[1].iter().filter(|e| matches!(e, Event::Ephemeral { body, .. } if body == "typing"));
    assert_eq!(heard.count(), 1);
    let any = net.events[1].iter().filter(|e| matches!(e, Event::Ephemeral { .. }));
    assert_eq!(any.count(), 1);
    net.assert_converged_empty(group);
    net.assert_silent();
}

#[test]
fn transports_can_be_swapped_in_mid_conversation() {
    let mut net = Net::new(2, 14);
    let group = net.group("g", true);
    for n in 0..200 {
        net.publish(n % 2, group, &format!("message {n} {}", "y".repeat(500)));
    }
    let first = net.connect(0, 1);
    net.run(25);
    net.connect_lossy(0, 1, CLEAN);
    net.run(15);
    net.disconnect(first);
    net.run(60_000);
    net.assert_converged(group, 200);
    net.assert_silent();
}

impl Net {
    fn assert_converged_empty(&self, group: hedgerow_proto::GroupId) {
        assert!(self.engines.iter().all(|engine| engine.group(group).unwrap().head == 0));
    }
}
