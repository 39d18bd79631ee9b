//! Two peers that hold nearly the same, and do not know it of each other.

mod liars;
mod places;
mod random;

use hedgerow_proto::{GroupId, ReconcileStep, Visibility};

use crate::testing::by_hand::offers_in;
use crate::testing::{Net, Sent, peer};
use crate::{Config, LinkProfile};

/// Nodes 0 and 1 got `common` messages from node 2, which is not met again, and each wrote `own` of its own that no
/// two nodes know of. Their logs differ in order.
fn strangers(config: Config, seed: u64, common: usize, own: usize) -> (Net, GroupId) {
    let mut net = Net::with(3, seed, config);
    let group = net.group("g", false);
    let write = |net: &mut Net, n: usize, count: usize| {
        for k in 0..count {
            net.publish_after(n, group, &format!("{n} wrote {k}"), vec![]);
        }
    };
    write(&mut net, 2, common / 2);
    write(&mut net, 0, own / 2);
    for n in [0, 1] {
        let wire = net.connect(2, n);
        net.run(60_000);
        net.disconnect(wire);
        write(&mut net, n, own - own / 2);
    }
    // What node 2 has from node 0 is no part of it: it goes to node 1 from there.
    write(&mut net, 2, common - common / 2);
    for n in [1, 0] {
        let wire = net.connect(2, n);
        net.run(60_000);
        net.disconnect(wire);
    }
    write(&mut net, 0, 1);
    write(&mut net, 1, 1);
    net.tap = Some(Vec::new());
    (net, group)
}

fn heads(net: &Net, group: GroupId) -> (usize, usize) {
    (net.log(0, group).len(), net.log(1, group).len())
}

/// What crossed since the tap was opened.
#[derive(Debug, Default, PartialEq, Eq)]
struct Crossed {
    bodies: usize,
    offers: usize,
    symbols: usize,
    asks: usize,
    stops: usize,
    lacks: usize,
}

fn crossed(tap: &[Sent]) -> Crossed {
    let mut all = Crossed::default();
    for sent in tap {
        all.bodies += sent.messages().count();
        all.offers += offers_in(&sent.frame);
        for record in &sent.frame.reconciles {
            match &record.step {
                ReconcileStep::Symbols(symbols) => {
                    all.symbols += symbols.bytes.len() / (usize::from(symbols.width) + 3);
                }
                ReconcileStep::Ask => all.asks += 1,
                ReconcileStep::Stop => all.stops += 1,
                ReconcileStep::Lacks(lacks) => all.lacks += lacks.ids.len() / usize::from(lacks.cut),
                ReconcileStep::More(_) | ReconcileStep::Known { .. } => {}
            }
        }
    }
    all
}

fn take_tap(net: &mut Net) -> Vec<Sent> {
    net.tap.replace(Vec::new()).unwrap()
}

/// Nodes 0 and 1 hold the same, and know it of each other.
fn assert_level(net: &Net, group: GroupId) {
    let (a, b) = (net.canonical(0, group), net.canonical(1, group));
    assert_eq!(a, b);
    for (n, other) in [(0, 1), (1, 0)] {
        let report = crate::store::check(net.engines[n].store()).unwrap();
        assert!(report.problems.is_empty(), "node {n}: {:?}", report.problems);
        assert_eq!(net.engines[n].audit(), Vec::<String>::new());
        let left = net.engines[n].outstanding();
        let left = left.into_iter().find(|left| left.peer == peer(other) && left.group == group).unwrap();
        assert!(left.is_settled(), "node {n}: {left:?}");
        assert!(net.engines[n].reconciles.is_empty());
    }
}

// spec: reconcile-when, reconcile-result
#[test]
fn two_that_hold_nearly_the_same_find_out_what_they_differ_by() {
    let (mut net, group) = strangers(Config::default(), 1, 2_000, 20);
    let (a, b) = heads(&net, group);
    net.connect(0, 1);
    net.run(20_000);
    assert_level(&net, group);
    let after = net.log(0, group).len();
    let differ = 2 * after - a - b;
    assert!((10..60).contains(&differ), "{differ}");
    let tap = take_tap(&mut net);
    let said = crossed(&tap);
    println!("{differ} differ: {said:?}");
    assert_eq!(
        (said.bodies, said.offers, said.stops),
        (differ, 0, 0),
        "each body crosses once, nothing is offered"
    );
    assert!(said.symbols < 4 * differ + 16, "{said:?}");
    net.assert_silent();
}

/// What they told each other of their logs is remembered.
// spec: reconcile-known
#[test]
fn the_next_contact_needs_nothing_of_it() {
    let (mut net, group) = strangers(Config::default(), 2, 500, 10);
    let wire = net.connect(0, 1);
    net.run(20_000);
    net.disconnect(wire);
    net.restart(0, 77);
    net.restart(1, 78);
    take_tap(&mut net);
    net.connect(0, 1);
    net.run(20_000);
    assert_level(&net, group);
    let tap = take_tap(&mut net);
    assert_eq!(crossed(&tap), Crossed::default());
    assert_eq!(tap.len(), 4, "a value and an answer each way");
    assert!(tap.iter().all(|sent| sent.frame.announces.is_empty() && sent.frame.unmatched.is_empty()));
}

// spec: announce-summary
#[test]
fn who_knows_the_other_log_says_nothing_of_its_own() {
    let mut net = Net::new(2, 3);
    let group = net.group("g", false);
    for n in 0..40 {
        net.publish(0, group, &format!("message {n}"));
    }
    net.tap = Some(Vec::new());
    let wire = net.connect(0, 1);
    net.run(10_000);
    let summaries = |tap: &[Sent]| -> Vec<(usize, Option<u64>)> {
        let announces = tap.iter().flat_map(|sent| sent.frame.announces.iter().map(move |a| (sent.from, a)));
        announces.map(|(from, a)| (from, a.summary.map(|summary| summary.count))).collect()
    };
    let mut said = summaries(&take_tap(&mut net));
    said.sort_unstable();
    // Node 0 has 40, and knows nothing of node 1, which has nothing.
    assert_eq!(said, [(0, Some(40)), (1, None)]);
    assert_eq!(net.log(1, group).len(), 40);
    net.disconnect(wire);
    take_tap(&mut net);
    net.publish(1, group, "answer");
    net.connect(0, 1);
    net.run(10_000);
    let mut said = summaries(&take_tap(&mut net));
    said.sort_unstable();
    assert_eq!(said, [(1, None)], "node 1 said where in its log these are, so that node 0 is in step");
}

/// A new member lacks nearly everything: to find out what it has would cost more than it saves.
// spec: reconcile-when
#[test]
fn a_new_member_is_sent_everything_without_it() {
    let mut net = Net::new(2, 4);
    let group = net.group("g", false);
    for n in 0..300 {
        net.publish_after(0, group, &format!("message {n}"), vec![]);
    }
    for n in 0..50 {
        net.publish_after(1, group, &format!("mine {n}"), vec![]);
    }
    net.tap = Some(Vec::new());
    net.connect(0, 1);
    net.run(20_000);
    assert_level(&net, group);
    let said = crossed(&take_tap(&mut net));
    assert_eq!((said.bodies, said.symbols, said.asks), (350, 0, 0));
}

#[test]
fn frames_of_256_bytes_are_enough() {
    let (mut net, group) = strangers(Config::default(), 5, 1_500, 120);
    let profile = LinkProfile { max_frame: 256, ..LinkProfile::reliable() };
    net.connect_with(0, 1, profile, crate::testing::CLEAN);
    net.run(60_000);
    assert_level(&net, group);
    let tap = take_tap(&mut net);
    assert!(tap.iter().all(|sent| sent.bytes <= 256));
    let said = crossed(&tap);
    assert!(said.symbols > 60 && said.offers == 0 && said.stops == 0, "{said:?}");
    assert!(said.lacks > 60, "{said:?}");
}

/// One of the two was set back to a backup: the other holds more of its log than it has itself.
// spec: chain-reset, reconcile-when
#[test]
fn a_restored_backup_is_brought_up_to_date_by_it() {
    let mut net = Net::new(2, 6);
    let group = net.group("g", false);
    for n in 0..1_000 {
        net.publish_after(n % 2, group, &format!("message {n}"), vec![]);
    }
    let wire = net.connect(0, 1);
    net.run(60_000);
    net.disconnect(wire);
    let backup = net.engines[0].store().clone();
    for n in 0..30 {
        net.publish_after(n % 2, group, &format!("later {n}"), vec![]);
    }
    let wire = net.connect(0, 1);
    net.run(60_000);
    net.assert_converged(group, 1_030);
    net.disconnect(wire);
    net.engines[0] = crate::testing::open(backup, &net.config, 0, 99, net.now);
    net.publish_after(0, group, "after the backup", vec![]);
    net.tap = Some(Vec::new());
    net.run(120_000);
    net.connect(0, 1);
    net.run(20_000);
    assert_level(&net, group);
    assert_eq!(net.log(0, group).len(), 1_031);
    let said = crossed(&take_tap(&mut net));
    println!("{said:?}");
    assert!(said.bodies <= 31 + 2 && said.offers < 40 && said.symbols > 0, "{said:?}");
}

// spec: reconcile-ends
#[test]
fn a_link_that_ends_on_the_way_costs_another_try_or_offers_and_nothing_is_lost() {
    for cut in 0..8 {
        let (mut net, group) = strangers(Config::default(), 7, 400, 30);
        let wire = net.connect(0, 1);
        net.run(cut * 10);
        net.disconnect(wire);
        if cut % 2 == 0 {
            net.restart(usize::try_from(cut / 2 % 2).unwrap(), cut);
        }
        net.connect(0, 1);
        net.run(60_000);
        assert_level(&net, group);
        net.assert_silent();
    }
}

#[test]
fn what_is_written_meanwhile_goes_the_usual_way() {
    let (mut net, group) = strangers(Config::default(), 8, 400, 30);
    net.connect(0, 1);
    for n in 0..30 {
        net.publish_after(n % 2, group, &format!("meanwhile {n}"), vec![]);
        net.run(3);
    }
    net.run(60_000);
    assert_level(&net, group);
    let said = crossed(&take_tap(&mut net));
    assert_eq!(said.offers, 0, "{said:?}");
}

/// Each takes memory and a look at every message: only some at a time, and with the others there are offers.
// spec: reconcile-seldom
#[test]
fn no_more_than_so_many_are_under_way_at_a_time() {
    let config = Config { max_reconciles: 0, ..Config::default() };
    let (mut net, group) = strangers(config, 9, 200, 10);
    net.connect(0, 1);
    net.run(60_000);
    assert_level(&net, group);
    let said = crossed(&take_tap(&mut net));
    assert!(said.symbols == 0 && said.offers > 100, "{said:?}");
}

/// One that has too many under way says so at once.
// spec: reconcile-who
#[test]
fn who_takes_no_part_says_so_and_offers_come_instead() {
    let (mut net, group) = strangers(Config::default(), 10, 200, 10);
    let config = Config { max_reconciles: 0, ..Config::default() };
    let store = net.engines[1].store().clone();
    net.engines[1] = crate::testing::open(store, &config, 1, 3, net.now);
    net.connect(0, 1);
    net.run(5_000);
    assert_level(&net, group);
    let said = crossed(&take_tap(&mut net));
    assert_eq!(said.stops, 1, "{said:?}");
    assert!(said.offers > 100, "{said:?}");
}

// spec: reconcile-ends
#[test]
fn a_group_that_is_no_longer_shared_ends_it() {
    for visibility in [Visibility::Invisible, Visibility::Visible] {
        let (mut net, group) = strangers(Config::default(), 11, 400, 30);
        net.connect(0, 1);
        net.run(11);
        assert_eq!(net.engines[0].reconciles.len() + net.engines[1].reconciles.len(), 2);
        net.engines[0].set_visibility(peer(1), group, visibility).unwrap();
        net.run(1_000);
        assert!(net.engines.iter().all(|engine| engine.reconciles.is_empty()));
        net.engines[0].set_visibility(peer(1), group, Visibility::Shared).unwrap();
        net.run(60_000);
        assert_level(&net, group);
    }
}

/// On links that lose frames everything is offered, as nothing of this is said twice.
// spec: reconcile-reliable
#[test]
fn lossy_links_have_no_part_in_it() {
    let (mut net, group) = strangers(Config::default(), 12, 100, 10);
    net.connect_lossy(0, 1, crate::testing::Faults { loss: 0.2, duplication: 0.1, delay_ms: (1, 30) });
    net.run(600_000);
    assert_level(&net, group);
    let tap = take_tap(&mut net);
    assert!(tap.iter().flat_map(|sent| &sent.frame.announces).all(|announce| announce.summary.is_none()));
    let said = crossed(&tap);
    assert!(said.symbols + said.asks + said.stops == 0 && said.offers > 50, "{said:?}");
}
