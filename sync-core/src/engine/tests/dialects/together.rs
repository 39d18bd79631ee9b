//! One node, groups of all schemes, and links of all wires at once.

use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, Visibility};
use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

use super::{batch, foreign_group, interactive, write};
use crate::testing::{CLEAN, Faults, Net, peer};
use crate::{EngineError, LinkProfile};

#[test]
fn dialect_one_node_speaks_all_three_at_once_and_mixes_nothing() {
    let mut net = Net::new(3, 1);
    let native = net.group("g", false);
    let mvds = foreign_group(&mut net, IdScheme::Mvds, "g", false);
    let bramble = foreign_group(&mut net, IdScheme::Bramble, "g", false);
    let groups = [native, mvds, bramble];
    // All three wires between the first two; only one of them to the third, so that no other group gets there.
    net.connect(0, 1);
    net.connect_with(0, 1, batch(), CLEAN);
    net.connect_with(0, 1, LinkProfile::bramble(Some([1; 16])), CLEAN);
    net.connect_with(1, 2, interactive(), CLEAN);
    for n in 0..60 {
        write(&mut net, n % 2, groups[n % 3], &format!("message {n}"));
        net.run(100);
    }
    net.run(10_000);
    for n in 0..2 {
        for group in groups {
            assert_eq!(net.log(n, group).len(), 20);
        }
    }
    assert_eq!(groups.map(|group| net.log(2, group).len()), [0, 20, 0]);
    net.assert_silent();
    assert_eq!(net.messages_sent(), 60 + 20);
    for engine in &net.engines {
        assert!(engine.audit_books().unwrap().is_empty());
        assert!(crate::store::check(engine.store()).unwrap().problems.is_empty());
    }
    net.restart(0, 2);
    assert_eq!(net.engines[0].groups().iter().map(|g| g.scheme.code()).collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn dialect_a_group_has_one_scheme_for_life() {
    let mut net = Net::new(1, 1);
    let native = net.group("g", false);
    let same_bytes = GroupDescriptor::of_id(native);
    let engine = &mut net.engines[0];
    let refused = engine.add_group_of(IdScheme::Mvds, &same_bytes, false);
    assert!(matches!(refused, Err(EngineError::OtherScheme(id)) if id == native), "{refused:?}");
    let short = GroupDescriptor::new("mvds", 0, vec![1; 31]).unwrap();
    let refused = engine.add_group_of(IdScheme::Mvds, &short, false);
    assert!(matches!(refused, Err(EngineError::NoGroupId(IdScheme::Mvds))), "{refused:?}");
    let id = GroupId::from_bytes([3; 32]);
    let added = engine.add_group_of(IdScheme::Mvds, &GroupDescriptor::of_id(id), false);
    assert_eq!(added.unwrap(), id);
}

/// Links of all kinds come and go at random times, among nodes that write, crash and change what they share.
#[test]
fn dialect_random_contacts_over_all_wires_converge() {
    for seed in 0..25 {
        let mut rng = ChaCha12Rng::seed_from_u64(seed);
        let mut net = Net::new(4, seed);
        let groups = [
            net.group("g", false),
            foreign_group(&mut net, IdScheme::Mvds, "g", false),
            foreign_group(&mut net, IdScheme::Bramble, "g", false),
        ];
        let profiles = [
            LinkProfile::reliable(),
            batch(),
            interactive(),
            LinkProfile { reliable: false, max_frame: 2_000, ..batch() },
            LinkProfile { reliable: false, max_frame: 2_000, ..interactive() },
            LinkProfile::bramble(None),
        ];
        let mut written = [0; 3];
        let mut wires = Vec::new();
        for step in 0..120 {
            match rng.random_range(0..10) {
                0..5 => {
                    let which = rng.random_range(0..3);
                    let node = rng.random_range(0..4);
                    write(&mut net, node, groups[which], &format!("{step}"));
                    written[which] += 1;
                }
                5..8 => {
                    let (a, b) = (rng.random_range(0..4), rng.random_range(0..4));
                    let profile = profiles[rng.random_range(0..profiles.len())].clone();
                    let loss = if profile.reliable { 0.0 } else { 0.2 };
                    let faults = Faults { loss, duplication: loss / 4.0, delay_ms: (1, 60) };
                    if a != b && net.engines[a].status().links.len() < 10 {
                        wires.push(net.connect_with(a, b, profile, faults));
                    }
                }
                8 => {
                    if !wires.is_empty() {
                        let at = rng.random_range(0..wires.len());
                        net.disconnect(wires.swap_remove(at));
                    }
                }
                _ => {
                    let (a, b) = (rng.random_range(0..4), rng.random_range(0..4));
                    let group = groups[rng.random_range(0..3)];
                    if a != b {
                        net.engines[a].set_visibility(peer(b), group, Visibility::Invisible).unwrap();
                        net.engines[a].set_visibility(peer(b), group, Visibility::Shared).unwrap();
                    } else {
                        net.restart(a, seed * 1000 + step);
                    }
                }
            }
            net.run(rng.random_range(0..200));
            for engine in &net.engines {
                let wrong = engine.audit_books().unwrap();
                assert!(wrong.is_empty(), "seed {seed}, step {step}: {wrong:?}");
            }
        }
        for wire in wires {
            net.disconnect(wire);
        }
        // A last contact of everybody with everybody.
        for a in 0..4 {
            for b in 0..a {
                for profile in [LinkProfile::reliable(), interactive(), LinkProfile::bramble(None)] {
                    net.connect_with(a, b, profile, CLEAN);
                }
            }
        }
        net.run(600_000);
        for (group, count) in groups.into_iter().zip(written) {
            for n in 0..4 {
                assert_eq!(net.log(n, group).len(), count, "seed {seed}, node {n}");
                let report = crate::store::check(net.engines[n].store()).unwrap();
                assert!(report.problems.is_empty(), "seed {seed}, node {n}: {:?}", report.problems);
                assert_eq!(net.canonical(n, group), net.canonical(0, group), "seed {seed}");
            }
        }
        net.assert_silent();
    }
}
