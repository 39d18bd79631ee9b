//! Bytes drive everything that happens to devices: publishing, links, frames that are lost, repeated, overtaken or
//! altered, crashes, restored backups, clocks that jump, and peers that lie. Whatever they do, no engine panics, no
//! store breaks, parents come first and each message comes once; and when all is well again, all agree.

use bytes::Bytes;
use hedgerow_proto::Visibility;
use hedgerow_sync_core::testing::peer;
use hedgerow_sync_core::{Config, Draft, LinkProfile, MemoryStore, PushPolicy};

use super::heal;
use super::liar::{LIARS, Liar};
use super::tape::Tape;
use super::world::World;

/// Most operations that an input drives, so that a run takes milliseconds.
const MAX_STEPS: usize = 400;
/// The clock does not jump further than this in all, in ms: 400 days.
const MAX_JUMPS_MS: u64 = 400 * 24 * 3_600_000;

/// Two or three engines go through what the input says, and are healed at its end.
pub fn interaction(bytes: &[u8]) {
    let mut tape = Tape::new(bytes);
    let setting = tape.byte();
    let config = if setting & 2 == 0 { Config::default() } else { small() };
    let mut world = World::new(2 + usize::from(setting & 1), config);
    let mut liars: [Option<Liar>; LIARS] = [const { None }; LIARS];
    let mut jumped = 0;
    for _ in 0..MAX_STEPS {
        if tape.is_empty() {
            break;
        }
        let op = tape.byte();
        step(&mut world, &mut liars, &mut jumped, op & 0x7f, &mut tape);
        // What is not listened to is not committed, and joins the next transaction.
        if op < 0x80 {
            world.listen();
        }
    }
    world.check();
    heal::heal(&mut world);
}

/// Limits so small that they are met, but for those that a liar can fill for good.
fn small() -> Config {
    let mut config = Config::default();
    config.max_frame = 1_024;
    config.max_offers = 3;
    config.max_requests = 2;
    config.max_in_flight_bytes = 500;
    config.max_spans = 3;
    config.max_ephemerals = 2;
    config
}

fn step(world: &mut World, liars: &mut [Option<Liar>; LIARS], jumped: &mut u64, op: u8, tape: &mut Tape<'_>) {
    let n = tape.below(world.nodes.len());
    match op % 26 {
        0..4 => publish(world, n, tape),
        4 => {
            let other = tape.below(world.nodes.len());
            let how = tape.byte();
            let push = [PushPolicy::Adaptive, PushPolicy::Always, PushPolicy::OfferFirst];
            let push = push[usize::from(how >> 1) % 3];
            let profile = match how & 1 {
                0 => LinkProfile { push, ..LinkProfile::reliable() },
                _ => LinkProfile { push, ..LinkProfile::lossy(256 + 8 * usize::from(how)) },
            };
            world.connect(n, other, &profile);
        }
        5 | 6 => on_wire(world, tape, |world, wire, tape| {
            let most = 1 + tape.below(40);
            world.flow(wire, most);
        }),
        7 => on_wire(world, tape, |world, wire, tape| {
            let room = if tape.bit() { usize::MAX } else { tape.below(3_000) };
            let end = tape.below(2);
            world.pull(wire, end, room);
        }),
        8 | 9 => on_wire(world, tape, |world, wire, tape| {
            let end = tape.below(2);
            let at = if world.wires[wire].reliable { 0 } else { tape.below(8) };
            world.deliver(wire, end, at);
        }),
        10 => on_wire(world, tape, |world, wire, tape| {
            let end = tape.below(2);
            if world.wires[wire].reliable {
                world.cut(wire);
            } else {
                world.wires[wire].queues[end].pop_front();
            }
        }),
        11 => on_wire(world, tape, |world, wire, tape| {
            let end = tape.below(2);
            if !world.wires[wire].reliable
                && let Some(frame) = world.wires[wire].queues[end].front().cloned()
            {
                world.wires[wire].queues[end].push_back(frame);
            }
        }),
        12 => on_wire(world, tape, |world, wire, tape| {
            let end = tape.below(2);
            if let Some(frame) = world.wires[wire].queues[end].front_mut() {
                let mut bytes = frame.to_vec();
                let place = tape.below(bytes.len());
                bytes[place] ^= 1 << tape.below(8);
                *frame = Bytes::from(bytes);
            }
        }),
        13 => on_wire(world, tape, |world, wire, _| world.cut(wire)),
        14 => {
            let ms = tape.pick(&[0, 1, 30, 400, 3_000, 11_000, 3_600_000, 40 * 24 * 3_600_000]);
            if *jumped + ms <= MAX_JUMPS_MS {
                *jumped += ms;
                world.wait(ms);
            }
        }
        15 | 16 => {
            let at = tape.below(4);
            world.judge_one(n, at);
        }
        17 => {
            forget(liars, n);
            world.crash(n, None);
        }
        18 => {
            if let Some(store) = world.nodes[n].backup.take() {
                forget(liars, n);
                world.crash(n, Some(store));
            } else {
                world.nodes[n].engine.commit().unwrap();
                world.nodes[n].backup = Some(MemoryStore::clone(world.nodes[n].engine.store()));
            }
        }
        19 => {
            let (other, group) = (tape.below(world.nodes.len()), tape.below(2));
            let to = tape.pick(&[Visibility::Invisible, Visibility::Visible, Visibility::Shared]);
            let (group, engine) = (world.groups[group], &mut world.nodes[n].engine);
            if other != n && engine.group(group).is_some() {
                engine.set_visibility(peer(other), group, to).unwrap();
            }
        }
        20 => {
            let group = tape.below(2);
            if world.nodes[n].engine.group(world.groups[group]).is_some() {
                world.leave(n, group);
            } else {
                world.join(n, group);
            }
        }
        21 => world.nodes[n].skew_ms += u64::from(tape.byte()) * 600_000,
        22 => {
            let (group, now) = (world.groups[tape.below(2)], world.clock(n));
            let body = Bytes::copy_from_slice(tape.bytes(3));
            if world.nodes[n].engine.group(group).is_some() {
                world.nodes[n].engine.publish_ephemeral(group, body, now).unwrap();
            }
        }
        23 => {
            let (liar, reliable) = (tape.below(LIARS), tape.bit());
            liars[liar] = Liar::meet(world, liar, n, reliable);
        }
        _ => {
            let liar = &mut liars[tape.below(LIARS)];
            if let Some(who) = liar {
                let goes_on = match tape.byte() % 8 {
                    0 => {
                        while who.listen(world) {}
                        true
                    }
                    1 => who.babble(world, tape),
                    _ => who.speak(world, tape),
                };
                if !goes_on {
                    *liar = None;
                }
            }
        }
    }
}

/// A node that was opened again knows no links.
fn forget(liars: &mut [Option<Liar>; LIARS], n: usize) {
    for liar in liars {
        liar.take_if(|liar| liar.node == n);
    }
}

fn on_wire(world: &mut World, tape: &mut Tape<'_>, what: impl FnOnce(&mut World, usize, &mut Tape<'_>)) {
    if !world.wires.is_empty() {
        let wire = tape.below(world.wires.len());
        what(world, wire, tape);
    }
}

fn publish(world: &mut World, n: usize, tape: &mut Tape<'_>) {
    let group = world.groups[tape.below(2)];
    let how = tape.byte();
    let now = world.clock(n);
    let engine = &mut world.nodes[n].engine;
    let Some(info) = engine.group(group) else { return };
    let mut deps = Vec::new();
    if how & 1 == 0 {
        deps = engine.heads(group, 8).unwrap();
    } else if info.head > 0 {
        for _ in 0..how >> 6 {
            let position = 1 + tape.number() % info.head;
            deps.push(engine.entry(group, position).unwrap().unwrap().id);
        }
    }
    world.published += 1;
    let mut body = format!("{n}.{}", world.published).into_bytes();
    if how & 2 != 0 {
        body.resize((usize::from(how) * 32).min(world.max_body), b' ');
    }
    let draft = Draft { timestamp_ms: now.as_timestamp_ms(), deps, body: body.into() };
    let id = engine.publish(group, draft, now).unwrap();
    if world.ids.len() < 256 {
        world.ids.push(id);
    }
}
