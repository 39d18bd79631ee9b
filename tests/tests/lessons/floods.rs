//! Many messages, many offers, many promises: no stall, no growth, no small counter.

use hedgerow_proto::{Message, MessageId};
use hedgerow_sync_core::testing::{CLEAN, Net};
use hedgerow_sync_core::{Config, LinkProfile, PushPolicy, store};

use crate::support::{FAKE, Fake, assert_sound, batch, message, requested, wire};

fn offer_first() -> LinkProfile {
    LinkProfile { push: PushPolicy::OfferFirst, ..LinkProfile::reliable() }
}

/// BSP offers without end, keeps 1,000 of them and drops the rest unseen: 5,000 messages on one machine take 200 s,
/// 105 s of them idle. Here each answer opens the window again: five windows, five round trips, no timer.
#[test]
fn five_thousand_offers_to_a_peer_that_keeps_a_thousand_stall() {
    const ROUND_TRIP_MS: u64 = 20;
    let mut config = Config::default();
    (config.max_offers, config.max_requests) = (1_000, 1_000);
    let mut net = Net::with(2, 1, config.clone());
    let group = net.group("g", false);
    for n in 0..5_000 {
        net.publish(0, group, &format!("message {n}"));
    }
    net.connect_with(0, 1, offer_first(), CLEAN);
    // HELLO takes half of one and the last bodies a half more.
    net.run(5 * ROUND_TRIP_MS + 2 * ROUND_TRIP_MS);
    net.assert_converged(group, 5_000);
    assert_eq!((net.messages_sent(), net.engines[1].traffic().refused), (5_000, 0));

    // The same from somebody who offers all at once, whatever the window. Not a millisecond passes.
    let mut net = Net::with(1, 1, config);
    let group = net.group("g", true);
    let messages: Vec<Message> = (0..5_000).map(|n| message(group, &format!("message {n}"), &[])).collect();
    let fake = Fake::new(&mut net, &[group]);
    let items: Vec<(u64, MessageId)> = (1..).zip(messages.iter().map(Message::id)).collect();
    items.chunks(500).for_each(|items| fake.offer(&mut net, items));
    let mut rounds = 0;
    loop {
        let (spans, ids) = requested(&fake.hear(&mut net));
        let positions: Vec<u64> = spans.iter().flat_map(|span| span.first..=span.last).collect();
        if positions.is_empty() {
            break;
        }
        assert!(ids.is_empty() && positions.len() <= 1_000);
        rounds += 1;
        let at = |position: u64| &messages[usize::try_from(position - 1).unwrap()];
        for part in positions.chunks(100) {
            let batched = part.iter().map(|&position| wire(at(position), Some(position))).collect();
            fake.say(&mut net, batch(1, batched));
        }
    }
    assert_eq!(net.bodies(0, group).len(), 5_000);
    assert!(rounds <= 6, "{rounds} round trips");
}

/// BSP takes offers without bound, and its queue grows until a flood of 32 KiB records takes all memory. Here
/// 100,000 offers of what does not exist make no row and at most 512 open requests, and an honest peer notices
/// nothing.
#[test]
fn a_hundred_thousand_empty_offers_fill_the_store_and_hold_up_others() {
    let honest_takes = |flood: bool| {
        let mut net = Net::new(2, 1);
        let group = net.group("g", true);
        let fake = Fake::new(&mut net, &[group]);
        net.connect_with(0, 1, offer_first(), CLEAN);
        net.run(1_000);
        for round in 0..200_u64 {
            if flood {
                // Far apart, so that they do not make one span.
                let items: Vec<(u64, MessageId)> = (0..500)
                    .map(|n| (round * 500 + n) * 3 + 1)
                    .map(|position| {
                        let mut id = [0; 32];
                        id[..8].copy_from_slice(&position.to_be_bytes());
                        (position, MessageId::from_bytes(id))
                    })
                    .collect();
                fake.offer(&mut net, &items);
                let open =
                    net.engines[0].status().peers.iter().find(|pair| pair.peer == FAKE).unwrap().requested;
                assert!(open <= 512, "{open} requests");
            }
            if round % 4 == 0 {
                net.publish(1, group, &format!("honest {round}"));
            }
            let (spans, ids) = requested(&fake.hear(&mut net));
            let asked: u64 = spans.iter().map(|span| span.count()).sum();
            assert!(asked + ids.len() as u64 <= 512, "{asked} positions in one round");
        }
        // An offer, a request and a body: three half round trips of 10 ms.
        let began = net.now;
        while net.bodies(0, group).len() < 50 {
            net.run(1);
        }
        let took = net.now.since(began);
        assert_eq!(store::check(net.engines[0].store()).unwrap().messages, 50, "no rows for promises");
        assert!(net.engines[0].missing(group).is_empty());
        if flood {
            // For an hour it does not answer: what is asked again stays within the limit.
            for _ in 0..360 {
                net.run(10_000);
                let (spans, ids) = requested(&fake.hear(&mut net));
                let asked: u64 = spans.iter().map(|span| span.count()).sum();
                assert!(asked + ids.len() as u64 <= 2 * 512, "{asked} positions in 10 s");
            }
            net.publish(1, group, "still here");
            net.run(1_000);
            assert_eq!(net.bodies(0, group).len(), 51);
        }
        assert_sound(&net, 0);
        took
    };
    let (alone, flooded) = (honest_takes(false), honest_takes(true));
    assert_eq!(alone, flooded, "ms until the honest peer's messages are here");
}

/// subduction 0.20 puts counts into 16 bits and fails at 66,000 items. Here 70,000 messages, each after the one
/// before, come in one catch-up, pushed and offered, and nothing has wrapped around.
#[test]
fn seventy_thousand_messages_in_one_catch_up_wrap_a_counter() {
    for push in [PushPolicy::Always, PushPolicy::OfferFirst] {
        let mut net = Net::new(2, 1);
        let group = net.group("g", false);
        for n in 0..70_000 {
            net.publish(0, group, &n.to_string());
        }
        net.connect_with(0, 1, LinkProfile { push, ..LinkProfile::reliable() }, CLEAN);
        net.run(30_000);
        let log = net.log(1, group);
        assert_eq!(log.len(), 70_000);
        for (n, entry) in log.iter().enumerate() {
            assert_eq!(entry.body.as_deref(), Some(n.to_string().as_bytes()));
            assert_eq!((entry.position, entry.key.height), (n as u64 + 1, n as u64 + 1));
        }
        let pair = net.engines[0].status().peers[0];
        assert_eq!((pair.acked, pair.settled, pair.in_flight), (70_000, true, 0));
        assert_eq!(net.messages_sent(), 70_000);
        net.assert_silent();
    }
}
