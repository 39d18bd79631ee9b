//! What must hold in every state and of every frame.

use hedgerow_proto::Span;

use super::actions::letter;
use super::frames::FrameId;
use super::node::Set;
use super::table::Table;
use super::world::World;

/// What one node believes of another is so: nothing that counts as there may be missing. Since messages never leave a
/// store here, this is the heart of it: an acknowledgement ahead of its commit, a statement of too much, a belief
/// that outlives what it stood on, all show as a belief that is false.
pub(super) fn state(table: &Table, world: &World) -> Result<(), String> {
    for (a, &id) in (0..).zip(&world.nodes) {
        let view = table.view(id);
        for (b, &other) in (0..).zip(&world.nodes) {
            let missing = view.believed[usize::from(b)] & !table.view(other).durable;
            if a != b && missing != 0 {
                let (a, b) = (letter(a), letter(b));
                return Err(format!(
                    "{a} believes that {b} holds {}, which it does not hold durably",
                    names(missing)
                ));
            }
        }
    }
    Ok(())
}

/// What `node` says to `other` in a frame is durable when it leaves.
pub(super) fn frame(table: &Table, world: &World, node: u8, other: u8, frame: FrameId) -> Result<(), String> {
    let frame = &table.frames.get(frame).frame;
    let mine = table.view(world.nodes[usize::from(node)]);
    let false_ack =
        |what: String| Err(format!("{} acknowledges {what}, which it does not hold durably", letter(node)));
    for ack in &frame.acks {
        for id in &ack.ids {
            if table.setup.index(id).is_none_or(|at| mine.durable & 1 << at == 0) {
                return false_ack(table.setup.name(id));
            }
        }
    }
    // Positions of a liar mean what it likes.
    if other >= table.setup.scenario.peers {
        return Ok(());
    }
    let theirs = table.view(world.nodes[usize::from(other)]);
    let held = frame.acks.iter().flat_map(|ack| &ack.held);
    for position in numbers(held) {
        match theirs.log.get(position as usize - 1) {
            Some(&at) if mine.durable & 1 << at != 0 => {}
            Some(&at) => return false_ack(names(1 << at)),
            None => {
                return false_ack(format!("position {position} of {}, where nothing stands", letter(other)));
            }
        }
    }
    // So is what an announcement states, as far as its mark: what lies beyond is not credited.
    for announce in &frame.announces {
        for position in numbers(announce.held.iter()).filter(|&position| position <= announce.mark) {
            match theirs.log.get(position as usize - 1) {
                Some(&at) if mine.durable & 1 << at == 0 => return false_ack(names(1 << at)),
                _ => {}
            }
        }
    }
    Ok(())
}

fn numbers<'a>(spans: impl Iterator<Item = &'a Span>) -> impl Iterator<Item = u64> {
    spans.flat_map(|span| span.first..=span.last)
}

/// The names of a set of messages.
pub(super) fn names(set: Set) -> String {
    let names: Vec<String> =
        (0..Set::BITS).filter(|at| set & 1 << at != 0).map(|at| format!("m{}", at + 1)).collect();
    names.join(" ")
}
