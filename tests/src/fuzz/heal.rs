//! The end of a run: all is well again, and what must come of that.

use std::collections::BTreeSet;

use hedgerow_proto::MessageId;
use hedgerow_sync_core::LinkProfile;
use hedgerow_sync_core::store::Direction;

use super::liar::{LIARS, name};
use super::world::{GROUPS, World};

/// How long all may take to agree, in ms.
const PATIENCE_MS: u64 = 3_600_000;

/// Liars are gone, clocks agree, everybody shares everything, and a line of reliable links joins all. Then all come to
/// hold all that anybody had delivered, in one canonical order, and fall silent.
pub(super) fn heal(world: &mut World) {
    let count = world.nodes.len();
    while !world.wires.is_empty() {
        world.cut(0);
    }
    let ahead = world.nodes.iter().map(|node| node.skew_ms).max().unwrap_or(0);
    world.nodes.iter_mut().for_each(|node| node.skew_ms = ahead);
    for n in 0..count {
        let now = world.clock(n);
        for liar in 0..LIARS {
            world.nodes[n].engine.remove_peer(name(liar), now).unwrap();
        }
        for group in 0..GROUPS.len() {
            world.join(n, group);
        }
    }
    world.wait(1);
    settle(world);
    let before: [BTreeSet<MessageId>; GROUPS.len()] = world.groups.map(|group| {
        let logs = world.nodes.iter().filter_map(|node| node.log.get(&group));
        logs.flatten().copied().collect()
    });
    for n in 1..count {
        world.connect(n - 1, n, &LinkProfile::reliable());
    }
    let start = world.now;
    loop {
        while (0..count - 1).map(|wire| world.flow(wire, 10_000)).sum::<usize>() > 0 {
            settle(world);
        }
        settle(world);
        assert_eq!(world.wires.len(), count - 1, "an honest link ended");
        if agreed(world) {
            break;
        }
        let next = world.nodes.iter().filter_map(|node| node.engine.poll_timeout()).min();
        let next = next.unwrap_or_else(|| panic!("not agreed, and nothing more is going to happen"));
        let ms = next.0.saturating_sub(world.now.0 + ahead).max(1);
        world.wait(ms);
        assert!(world.now.since(start) <= PATIENCE_MS, "not agreed after {PATIENCE_MS} ms");
    }
    for (group, before) in world.groups.iter().zip(&before) {
        for (n, node) in world.nodes.iter().enumerate() {
            let log: BTreeSet<MessageId> = node.log.get(group).into_iter().flatten().copied().collect();
            assert!(before.is_subset(&log), "node {n}: messages that were held are gone");
        }
    }
    world.check();
    assert_silent(world);
}

/// Everything is judged, and what follows is heard.
fn settle(world: &mut World) {
    world.listen();
    while world.nodes.iter().any(|node| !node.verdicts.is_empty()) {
        for n in 0..world.nodes.len() {
            world.judge_one(n, 0);
        }
        world.listen();
    }
}

fn agreed(world: &World) -> bool {
    world.groups.iter().all(|group| {
        let mut pages = world.nodes.iter().map(|node| {
            let page = node.engine.page(*group, None, Direction::Forward, usize::MAX >> 1).unwrap();
            page.into_iter().map(|entry| entry.id).collect::<Vec<_>>()
        });
        let first = pages.next();
        pages.all(|page| Some(page) == first)
    })
}

/// Two hours later nobody says anything any more.
fn assert_silent(world: &mut World) {
    for ms in [PATIENCE_MS, 60_000, 60_000] {
        world.wait(ms);
        settle(world);
        let frames: usize = (0..world.wires.len()).map(|wire| world.flow(wire, 10_000)).sum();
        assert!(ms == PATIENCE_MS || frames == 0, "{frames} frames between settled peers");
    }
}
