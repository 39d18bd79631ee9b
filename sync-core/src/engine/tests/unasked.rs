//! What its author sends to everybody is not offered to them meanwhile, and nobody else waits for that.

use crate::testing::{CLEAN, Faults, Net};
use crate::{Config, LinkProfile};

/// Nodes that are all linked, with links of very different speed.
fn all_linked(config: Config) -> (Net, hedgerow_proto::GroupId) {
    let mut net = Net::with(8, 3, config);
    let group = net.group("g", false);
    for a in 0..8 {
        for b in a + 1..8 {
            let faults = Faults { delay_ms: (10, 50), ..CLEAN };
            net.connect_with(a, b, LinkProfile::reliable(), faults);
        }
    }
    net.run(10_000);
    (net, group)
}

#[test]
fn whoever_is_sent_a_message_by_its_author_does_not_ask_others_for_it() {
    let (mut net, group) = all_linked(Config::default());
    net.publish(0, group, "x");
    net.run(10_000);
    net.assert_converged(group, 1);
    assert_eq!(net.messages_sent(), 7);
    net.assert_silent();
    // Without a moment's patience some are sent it twice.
    let (mut net, group) = all_linked(Config { offer_delay_ms: 0, ..Config::default() });
    net.publish(0, group, "x");
    net.run(10_000);
    net.assert_converged(group, 1);
    assert!(net.messages_sent() > 7, "{}", net.messages_sent());
}

#[test]
fn only_who_got_it_from_its_author_waits_before_it_offers_it() {
    let mut net = Net::new(5, 1);
    let group = net.group("g", false);
    for n in 0..4 {
        net.connect_with(n, n + 1, LinkProfile::reliable(), CLEAN);
    }
    net.run(10_000);
    net.publish(0, group, "x");
    // A way of 10 ms, a moment of 100 ms, and three times offer, request and message.
    net.run(10 + 100 + 3 * 30 - 1);
    assert_eq!(net.bodies(4, group).len(), 0);
    net.run(2);
    assert_eq!(net.bodies(4, group), ["x"]);
    // What is asked for does not wait: here all is offered that somebody wrote before they met.
    let mut net = Net::new(3, 1);
    let group = net.group("g", false);
    net.publish(0, group, "x");
    net.connect_with(
        0,
        1,
        LinkProfile { push: crate::PushPolicy::OfferFirst, ..LinkProfile::reliable() },
        CLEAN,
    );
    net.connect_with(
        1,
        2,
        LinkProfile { push: crate::PushPolicy::OfferFirst, ..LinkProfile::reliable() },
        CLEAN,
    );
    // HELLO, then twice offer, request and message.
    net.run(10 + 2 * 30 + 1);
    assert_eq!(net.bodies(2, group), ["x"]);
}

#[test]
fn a_message_that_waits_for_a_verdict_is_offered_a_moment_after_it_came() {
    let mut net = Net::new(3, 1);
    let group = net.group("g", true);
    net.connect_with(0, 1, LinkProfile::reliable(), CLEAN);
    net.connect_with(1, 2, LinkProfile::reliable(), CLEAN);
    net.run(1_000);
    net.publish(0, group, "x");
    net.run(10 + 100 + 30 - 1);
    assert_eq!(net.bodies(2, group).len(), 0);
    net.run(2);
    assert_eq!(net.bodies(2, group), ["x"]);
}
