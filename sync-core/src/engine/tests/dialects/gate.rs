//! Dependencies that a client finds in the body, where neither id nor wire knows them.

use bytes::Bytes;
use hedgerow_proto::{GroupId, IdScheme, MessageId};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::{foreign_group, write};
use crate::testing::{CLEAN, Net};
use crate::{Draft, EngineError, Event, InvalidReason, LinkProfile, MessageFacts, Verdict};

/// Gives the verdicts that a node is asked for. The body names what a message comes after.
fn judge(net: &mut Net, n: usize, mut deps_of: impl FnMut(&Bytes) -> Option<Vec<MessageId>>) -> Vec<Event> {
    let mut others = Vec::new();
    while let Some(event) = net.engines[n].poll_event().unwrap() {
        let Event::Validate { id, message } = &event else {
            others.push(event);
            continue;
        };
        match deps_of(message.body()) {
            Some(deps) => net.engines[n].judge_after(*id, MessageFacts::default(), &deps, net.now).unwrap(),
            None => net.engines[n].judge(*id, Verdict::Invalid, net.now).unwrap(),
        }
    }
    others
}

/// Carries frames between the nodes 0 and 1 by hand, so that verdicts are given by hand.
fn carry(net: &mut Net) {
    let links = [0, 1].map(|n| net.engines[n].status().links[0].link);
    loop {
        let mut said = false;
        for n in 0..2 {
            while let Some(frame) = net.engines[n].poll_transmit(links[n], net.now, usize::MAX).unwrap() {
                said = true;
                net.engines[1 - n].receive(links[1 - n], frame, net.now).unwrap();
            }
        }
        if !said {
            return;
        }
    }
}

fn bodies(net: &Net, n: usize, group: GroupId) -> Vec<String> {
    net.bodies(n, group)
}

#[test]
fn dialect_bramble_dependencies_given_with_the_verdict_gate_delivery() {
    let mut net = Net::new(2, 1);
    let group = foreign_group(&mut net, IdScheme::Bramble, "g", true);
    let ids: Vec<MessageId> = (0..6).map(|n| write(&mut net, 0, group, &n.to_string())).collect();
    net.connect_with(0, 1, LinkProfile::bramble(None), CLEAN);
    carry(&mut net);
    // In this group each message comes after the next one.
    let deps_of = |body: &Bytes| {
        let n: usize = std::str::from_utf8(body).unwrap().parse().unwrap();
        Some(ids.get(n + 1).copied().into_iter().collect())
    };
    judge(&mut net, 1, deps_of);
    assert_eq!(bodies(&net, 1, group), ["5", "4", "3", "2", "1", "0"]);
    assert!(crate::store::check(net.engines[1].store()).unwrap().problems.is_empty());
    assert!(net.engines[1].audit_books().unwrap().is_empty());
}

#[test]
fn dialect_bramble_a_dependency_that_is_not_held_is_asked_for() {
    let mut net = Net::new(2, 2);
    let group = foreign_group(&mut net, IdScheme::Bramble, "g", true);
    let child = write(&mut net, 0, group, "child");
    net.connect_with(0, 1, LinkProfile::bramble(None), CLEAN);
    carry(&mut net);
    let missing = MessageId::from_bytes([9; 32]);
    judge(&mut net, 1, |_| Some(vec![missing]));
    assert!(bodies(&net, 1, group).is_empty());
    assert_eq!(net.engines[1].missing(group).iter().map(|m| m.id).collect::<Vec<_>>(), [missing]);
    assert_eq!(net.engines[1].message(&child).unwrap().unwrap().deps, [missing]);
    let asked = net.engines[1].traffic().requests_out;
    carry(&mut net);
    assert_eq!(net.engines[1].traffic().requests_out, asked + 1);
    assert!(crate::store::check(net.engines[1].store()).unwrap().problems.is_empty());
    // After a restart it still waits, and the verdict is not asked for again.
    net.restart(1, 3);
    assert!(net.engines[1].poll_event().unwrap().is_none());
    assert_eq!(net.engines[1].missing(group).len(), 1);
}

#[test]
fn dialect_bramble_dependencies_of_other_groups_and_of_invalid_messages_make_invalid() {
    let mut net = Net::new(2, 3);
    let group = foreign_group(&mut net, IdScheme::Bramble, "g", true);
    let elsewhere = net.group("elsewhere", false);
    let foreign = net.publish(1, elsewhere, "elsewhere");
    let bad = write(&mut net, 0, group, "bad");
    write(&mut net, 0, group, "after bad");
    write(&mut net, 0, group, "after elsewhere");
    net.connect_with(0, 1, LinkProfile::bramble(None), CLEAN);
    carry(&mut net);
    let events = judge(&mut net, 1, |body| match &body[..] {
        b"bad" => None,
        b"after bad" => Some(vec![bad]),
        _ => Some(vec![foreign]),
    });
    assert!(bodies(&net, 1, group).is_empty());
    let mut reasons: Vec<InvalidReason> = events
        .into_iter()
        .filter_map(|event| match event {
            Event::Invalid { reason, .. } => Some(reason),
            _ => None,
        })
        .collect();
    reasons.sort_by_key(|reason| reason.code());
    let expected =
        [InvalidReason::Client, InvalidReason::ForeignDependency, InvalidReason::InvalidDependency];
    assert_eq!(reasons, expected);
    assert!(crate::store::check(net.engines[1].store()).unwrap().problems.is_empty());
}

#[test]
fn dialect_bramble_a_circle_of_dependencies_holds_up_nobody() {
    let mut net = Net::new(2, 4);
    let group = foreign_group(&mut net, IdScheme::Bramble, "g", true);
    let ids: Vec<MessageId> = (0..3).map(|n| write(&mut net, 0, group, &n.to_string())).collect();
    net.connect_with(0, 1, LinkProfile::bramble(None), CLEAN);
    carry(&mut net);
    judge(&mut net, 1, |body| {
        let n: usize = std::str::from_utf8(body).unwrap().parse().unwrap();
        Some(vec![ids[(n + 1) % 3], ids[n]])
    });
    assert_eq!(bodies(&net, 1, group).len(), 3);
    assert!(crate::store::check(net.engines[1].store()).unwrap().problems.is_empty());
    assert!(net.engines[1].audit_books().unwrap().is_empty());
}

#[test]
fn dialect_native_messages_get_no_dependencies_besides_their_own() {
    let mut net = Net::new(2, 5);
    let group = net.group("g", true);
    let draft = Draft { timestamp_ms: net.now.as_timestamp_ms(), deps: vec![], body: "a".into() };
    net.engines[0].publish(group, draft, net.now).unwrap();
    net.connect(0, 1);
    carry(&mut net);
    let Some(Event::Validate { id, .. }) = std::iter::from_fn(|| net.engines[1].poll_event().unwrap())
        .find(|e| matches!(e, Event::Validate { .. }))
    else {
        panic!("no verdict is asked for");
    };
    let refused = net.engines[1].judge_after(id, MessageFacts::default(), &[], net.now);
    assert!(matches!(refused, Err(EngineError::CoveredDeps(_))), "{refused:?}");
    let many = vec![id; 65];
    assert!(matches!(
        net.engines[1].judge_after(id, MessageFacts::default(), &many, net.now),
        Err(EngineError::Message(_))
    ));
    net.engines[1].judge(id, Verdict::VALID, net.now).unwrap();
    assert_eq!(net.log(1, group).len(), 1);
}

/// The ids that a body begins with, behind their number.
fn deps_in(body: &Bytes) -> Vec<MessageId> {
    let (count, rest) = body.split_first().unwrap();
    let (ids, _) = rest.as_chunks::<32>();
    ids.iter().take((*count).into()).map(|id| MessageId::from_bytes(*id)).collect()
}

/// Members write after some of what they hold, meet at random, restart, and hear of verdicts late and in any order.
#[test]
fn dialect_bramble_random_dependencies_from_the_body_hold_on_every_peer() {
    for seed in 0..40 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut net = Net::new(4, seed);
        net.deps_of = Some(deps_in);
        net.verdict_delay_ms = if seed % 2 == 0 { (0, 0) } else { (0, 400) };
        let group = foreign_group(&mut net, IdScheme::Bramble, "g", true);
        net.run(1);
        let mut written = 0_u8;
        let mut wires = Vec::new();
        for step in 0..80 {
            let n = rng.random_range(0..4);
            match rng.random_range(0..8) {
                0..4 => {
                    net.now = net.now + 1_000;
                    let held: Vec<MessageId> = net.log(n, group).iter().map(|entry| entry.id).collect();
                    let count = rng.random_range(0..=held.len().min(4));
                    let mut deps: Vec<MessageId> =
                        (0..count).map(|_| held[rng.random_range(0..held.len())]).collect();
                    deps.sort_unstable();
                    deps.dedup();
                    let mut body = vec![u8::try_from(deps.len()).unwrap()];
                    deps.iter().for_each(|dep| body.extend_from_slice(dep.as_bytes()));
                    body.push(written);
                    let timestamp_ms = net.now.as_timestamp_ms();
                    let draft = Draft { timestamp_ms, deps, body: body.into() };
                    net.engines[n].publish(group, draft, net.now).unwrap();
                    net.drain(n);
                    written += 1;
                }
                4..6 => {
                    let other = (n + rng.random_range(1..4)) % 4;
                    if net.engines[n].status().links.len() < 6 {
                        wires.push(net.connect_with(n, other, LinkProfile::bramble(None), CLEAN));
                    }
                }
                6 if !wires.is_empty() => {
                    let at = rng.random_range(0..wires.len());
                    net.disconnect(wires.swap_remove(at));
                }
                _ => net.restart(n, seed * 1000 + step),
            }
            net.run(rng.random_range(1..300));
        }
        for a in 0..4 {
            for b in 0..a {
                net.connect_with(a, b, LinkProfile::bramble(None), CLEAN);
            }
        }
        net.run(600_000);
        for n in 0..4 {
            let log = net.log(n, group);
            assert_eq!(log.len(), usize::from(written), "seed {seed}, node {n}");
            let mut before = std::collections::BTreeSet::new();
            for entry in log {
                let deps = deps_in(entry.body.as_ref().unwrap());
                assert!(
                    deps.iter().all(|dep| before.contains(dep)),
                    "seed {seed}, node {n}: a child before a parent"
                );
                let held = net.engines[n].message(&entry.id).unwrap().unwrap().deps;
                assert_eq!(held, deps, "seed {seed}, node {n}");
                before.insert(entry.id);
            }
            assert_eq!(net.canonical(n, group), net.canonical(0, group), "seed {seed}, node {n}");
            assert!(net.engines[n].audit_books().unwrap().is_empty(), "seed {seed}, node {n}");
            let report = crate::store::check(net.engines[n].store()).unwrap();
            assert!(report.problems.is_empty(), "seed {seed}, node {n}: {:?}", report.problems);
        }
        net.assert_silent();
    }
}
