//! The deepest chain and the widest fan, on a thread with a stack of 64 KiB.

use hedgerow_proto::{Message, MessageId};
use hedgerow_sync_core::store::check;
use hedgerow_sync_core::testing::{Net, descriptor};
use hedgerow_sync_core::{Config, Engine, Event, MemoryStore, Time, Verdict};

use crate::support::{Hand, batch, message, no_id};

const NOW: Time = Time(1_700_000_000_000);
const STACK: usize = 64 * 1024;

/// Runs what has no room for recursion.
fn on_a_small_stack(run: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap().join().unwrap();
}

/// Room for all of them: it is the depth that is tried here.
fn roomy(count: u64) -> Config {
    let mut config = Config::default();
    config.max_parked_messages = count;
    config.max_parked_deps = 2 * count;
    config.max_unvalidated = count;
    config.max_parked_bytes = count * 64;
    config
}

/// A chain comes as frames of a thousand messages, last first or first first; all is delivered in order, and nothing
/// but the tombstones is left when its first message is invalid.
fn chain(count: u64, reverse: bool, valid: bool) {
    on_a_small_stack(move || {
        let group = descriptor("g").id();
        let mut engine = Engine::open(MemoryStore::new(), roomy(count), [1; 32], NOW).unwrap();
        engine.add_group(&descriptor("g"), true).unwrap();
        let hand = Hand::meet(&mut engine, 99, &[group], NOW);
        let mut chain: Vec<Message> = Vec::new();
        for n in 0..count {
            let deps: Vec<MessageId> = chain.last().iter().map(|m| m.id()).collect();
            chain.push(message(group, "m", n, &deps));
        }
        let first = chain[0].id();
        if reverse {
            chain.reverse();
        }
        let mut delivered = 0;
        for part in chain.chunks(500) {
            hand.tell(&mut engine, &batch(0, part), NOW).unwrap();
            while let Some(event) = engine.poll_event().unwrap() {
                match event {
                    Event::Validate { id, .. } => {
                        let verdict = if valid || id != first { Verdict::VALID } else { Verdict::Invalid };
                        engine.judge(id, verdict, NOW).unwrap();
                    }
                    Event::Delivered { first, last, .. } => delivered += last + 1 - first,
                    _ => {}
                }
            }
        }
        let status = engine.status().groups[0];
        if valid {
            assert_eq!((delivered, status.delivered, status.waiting), (count, count, 0));
            let last = engine.entry(group, count).unwrap().unwrap();
            assert_eq!(last.key.height, count);
        } else {
            assert_eq!((delivered, status.invalid, status.waiting), (0, count, 0));
        }
        assert_eq!((status.missing, status.unvalidated), (0, 0));
        let report = check(engine.store()).unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    });
}

/// Children of one missing parent, and messages that each lack as many parents as there may be.
fn fan(count: u64) {
    on_a_small_stack(move || {
        let mut net = Net::with(1, 1, roomy(count));
        let group = net.group("g", false);
        let hand = Hand::new(&mut net, 99, &[group]);
        let parent = message(group, "parent", 0, &[]);
        for from in (0..count).step_by(500) {
            let children: Vec<Message> =
                (from..from + 500).map(|n| message(group, "child", n, &[parent.id()])).collect();
            hand.send(&mut net, 0, &children);
            hand.hear(&mut net);
        }
        let status = net.engines[0].status().groups[0];
        assert_eq!((status.waiting, status.missing), (count, 1));
        for n in 0..1_000_u64 {
            let deps: Vec<MessageId> = (0..64).map(|dep| no_id(n * 64 + dep)).collect();
            hand.send(&mut net, 0, &[message(group, "greedy", n, &deps)]);
            hand.hear(&mut net);
        }
        assert!(net.engines[0].status().groups[0].missing <= 2 * net.config.max_wanted);
        hand.send(&mut net, 0, &[parent]);
        assert_eq!(net.engines[0].status().groups[0].delivered, count + 1);
        let report = check(net.engines[0].store()).unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
    });
}

#[test]
fn a_deep_chain_needs_no_stack() {
    chain(20_000, true, true);
    chain(20_000, false, true);
}

#[test]
fn a_deep_chain_on_an_invalid_message_needs_no_stack() {
    chain(20_000, true, false);
    chain(20_000, false, false);
}

#[test]
fn a_wide_fan_is_delivered_when_its_parent_comes() {
    fan(10_000);
}

/// `cargo test --release -p hedgerow-tests --test adversaries -- --ignored deepest`
#[test]
#[ignore = "takes minutes unless it is optimised: run it with --release and --ignored"]
fn the_deepest_chain_needs_no_stack() {
    chain(1_000_000, true, true);
    chain(1_000_000, false, true);
    chain(1_000_000, true, false);
}

/// `cargo test --release -p hedgerow-tests --test adversaries -- --ignored widest`
#[test]
#[ignore = "takes minutes unless it is optimised: run it with --release and --ignored"]
fn the_widest_fan_is_delivered_when_its_parent_comes() {
    fan(100_000);
}
