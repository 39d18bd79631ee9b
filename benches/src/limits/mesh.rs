//! Messages over links that lose frames and through networks, in virtual time.

use std::collections::VecDeque;

use hedgerow_proto::{Codec as _, Frame, GroupId, NativeCodec};
use hedgerow_sync_core::testing::{Faults, Net};

use super::measure::{Scale, median, size_f64, to_f64};
use super::row::{Goal, Row};
use super::workload::sound;
use crate::Failure;

/// Everybody delivered `count` messages, and every store is sound.
fn verify(net: &Net, group: GroupId, count: u64) -> Result<(), Failure> {
    for (n, engine) in net.engines.iter().enumerate() {
        let head = engine.groups().iter().find(|info| info.id == group).map_or(0, |info| info.head);
        if head != count {
            return Err(format!("node {n} delivered {head} of {count} messages").into());
        }
        sound(engine.store())?;
    }
    Ok(())
}

/// A text of 200 bytes.
fn text(n: u64) -> String {
    format!("message {n:05} {}", "z".repeat(186))
}

/// MESSAGE records sent and received for each message over a link that loses frames.
fn over_loss(loss: f64, seeds: u64, messages: u64) -> Result<(f64, f64), Failure> {
    let (mut sent, mut received) = (0, 0);
    for seed in 0..seeds {
        let mut net = Net::new(2, 100 + seed);
        let group = net.group("g", false);
        net.connect_lossy(0, 1, Faults { loss, duplication: 0.0, delay_ms: (20, 20) });
        net.run(10_000);
        for n in 0..messages {
            net.publish(0, group, &text(n));
            net.run(7);
        }
        net.run(24 * 3_600_000);
        verify(&net, group, messages)?;
        sent += net.messages_sent();
        received += net.engines.iter().map(|engine| engine.traffic().messages_in).sum::<u64>();
    }
    Ok((to_f64(sent) / to_f64(seeds * messages), to_f64(received) / to_f64(seeds * messages)))
}

/// A message with an acknowledgement of its own, which is lost as often: how often it is sent until one arrives.
fn single_acks(loss: f64, messages: u64) -> f64 {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut lost = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        to_f64(state >> 11) / to_f64(1 << 53) < loss
    };
    let mut sends = 0;
    for _ in 0..messages {
        loop {
            sends += 1;
            if !lost() && !lost() {
                break;
            }
        }
    }
    to_f64(sends) / to_f64(messages)
}

/// Sends for each message at several rates of loss. What was really lost is counted, so that luck has no part in it.
pub(crate) fn loss(scale: Scale) -> Result<Vec<Row>, Failure> {
    let rates = [
        ("loss-0.1", 0.1, 1.05, scale.pick(5, 20)),
        ("loss-0.3", 0.3, 1.05, scale.pick(5, 20)),
        ("loss-0.5", 0.5, 1.05, scale.pick(5, 20)),
        ("loss-0.9", 0.9, 1.2, scale.pick(3, 10)),
    ];
    let mut rows = Vec::new();
    for (name, rate, goal, seeds) in rates {
        let (sent, received) = over_loss(rate, seeds, 200)?;
        let lost = 1.0 - received / sent;
        let what = format!(
            "MESSAGE records sent for each message of 200 B; {:.1} % of them were lost; one ack for each message \
             would take {:.2}",
            100.0 * lost,
            single_acks(rate, 100_000)
        );
        let anchor = ("1/(1-p) at the share that was lost", 1.0 / (1.0 - lost));
        rows.push(Row::new(name, Goal::TimesAtMost(goal), "", sent, anchor, what));
    }
    Ok(rows)
}

/// Two rings through all nodes, the second in an order drawn from the seed: each node has four neighbours.
fn two_rings(nodes: usize, seed: u64) -> Vec<(usize, usize)> {
    let mut order: Vec<usize> = (0..nodes).collect();
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    for last in (1..nodes).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let limit = last as u64 + 1;
        order.swap(last, usize::try_from(state % limit).unwrap_or(0));
    }
    let ring = |order: &[usize]| -> Vec<(usize, usize)> {
        order.iter().zip(order.iter().cycle().skip(1)).map(|(&a, &b)| (a.min(b), a.max(b))).collect()
    };
    let first: Vec<usize> = (0..nodes).collect();
    let mut edges = ring(&first);
    edges.extend(ring(&order));
    edges.sort_unstable();
    edges.dedup();
    edges
}

/// Everybody passes on what is new to all neighbours but the one it came from; how often the message is sent.
fn eager_push(nodes: usize, edges: &[(usize, usize)]) -> u64 {
    let mut seen = vec![false; nodes];
    let mut sends = 0;
    let mut queue = VecDeque::from([(0, usize::MAX)]);
    while let Some((node, from)) = queue.pop_front() {
        match seen.get_mut(node) {
            Some(seen) if !*seen => *seen = true,
            _ => continue,
        }
        for &(a, b) in edges.iter().filter(|(a, b)| *a == node || *b == node) {
            let other = if a == node { b } else { a };
            if other != from {
                sends += 1;
                queue.push_back((other, node));
            }
        }
    }
    sends
}

/// What one message took in a settled network: bytes of all frames, those of offers and acknowledgements in them, MESSAGE
/// records, and frames in the hour after.
#[derive(Debug, Clone, Copy)]
struct Spread {
    bytes: u64,
    offers: usize,
    acks: usize,
    sends: u64,
    later: u64,
}

fn spread(nodes: usize, edges: &[(usize, usize)], seed: u64) -> Result<Spread, Failure> {
    let mut net = Net::new(nodes, seed);
    let group = net.group("g", false);
    for &(a, b) in edges {
        let faults = Faults { loss: 0.0, duplication: 0.0, delay_ms: (10, 50) };
        net.connect_with(a, b, hedgerow_sync_core::LinkProfile::reliable(), faults);
    }
    net.run(60_000);
    let before = net.messages_sent();
    net.tap = Some(Vec::new());
    net.publish(0, group, &text(1));
    net.run(120_000);
    verify(&net, group, 1)?;
    let tap = net.tap.take().unwrap_or_default();
    let bytes = tap.iter().map(|sent| sent.bytes as u64).sum();
    let (mut offers, mut acks) = (0, 0);
    for sent in tap {
        let (offers_in, short_offers) = (sent.frame.offers, sent.frame.short_offers);
        offers += encoded(&Frame { offers: offers_in, short_offers, ..Frame::default() })?;
        acks += encoded(&Frame { acks: sent.frame.acks, ..Frame::default() })?;
    }
    let frames = net.frames;
    net.run(3_600_000);
    let sends = net.messages_sent() - before;
    Ok(Spread { bytes, offers, acks, sends, later: net.frames - frames })
}

fn encoded(frame: &Frame) -> Result<usize, Failure> {
    let mut bytes = Vec::new();
    NativeCodec::new().encode(frame, &mut bytes)?;
    Ok(bytes.len())
}

/// One message through a hundred nodes with four links each, and through twenty that are all linked.
pub(crate) fn mesh(scale: Scale) -> Result<Vec<Row>, Failure> {
    let nodes = 100;
    let copies = size_f64(nodes - 1);
    let (mut bytes, mut sends, mut eager, mut later) = (Vec::new(), Vec::new(), Vec::new(), 0);
    let (mut offers, mut acks) = (Vec::new(), Vec::new());
    for seed in 0..scale.pick(3, 9) {
        let edges = two_rings(nodes, seed);
        let one = spread(nodes, &edges, seed)?;
        bytes.push(to_f64(one.bytes) / (copies * 200.0));
        sends.push(to_f64(one.sends) / copies);
        offers.push(size_f64(one.offers) / copies);
        acks.push(size_f64(one.acks) / copies);
        eager.push(to_f64(eager_push(nodes, &edges)) / copies);
        later += one.later;
    }
    let eager = median(eager);
    let what = format!(
        "one message of 200 B, 100 nodes of degree 4: bytes of all frames over 99 copies; offers take {:.0} B a copy, \
         acknowledgements {:.0} B",
        median(offers),
        median(acks)
    );
    let full = 20;
    let edges: Vec<(usize, usize)> = (0..full).flat_map(|a| (a + 1..full).map(move |b| (a, b))).collect();
    let one = spread(full, &edges, 1)?;
    later += one.later;
    Ok(vec![
        Row::new(
            "mesh-bytes",
            Goal::AtMost(1.35),
            "",
            median(bytes),
            ("eager push, bodies alone", eager),
            what,
        ),
        Row::new(
            "mesh-sends",
            Goal::AtMost(1.02),
            "",
            median(sends),
            ("eager push", eager),
            "the same: MESSAGE records for each delivery",
        ),
        Row::new(
            "full-mesh",
            Goal::TimesAtMost(1.05),
            "",
            to_f64(one.sends),
            ("one for each of the others", size_f64(full - 1)),
            "one message, 20 nodes all linked: MESSAGE records (MVDS interactive, published: 5,500 OFFERs)",
        ),
        Row::alone(
            "silence",
            Goal::AtMost(0.0),
            "",
            to_f64(later),
            "frames of all these networks in the hour after, and none of them lost",
        ),
    ])
}

/// Two that are settled, on a reliable link and on one that loses frames: bytes in an hour.
pub(crate) fn idle(_: Scale) -> Result<Vec<Row>, Failure> {
    let mut bytes = 0;
    for loss in [0.0, 0.5] {
        let mut net = Net::new(2, 7);
        let group = net.group("g", false);
        if loss > 0.0 {
            net.connect_lossy(0, 1, Faults { loss, duplication: 0.1, delay_ms: (5, 60) });
        } else {
            net.connect(0, 1);
        }
        for n in 0..50 {
            net.publish(if n % 2 == 0 { 0 } else { 1 }, group, &text(n));
            net.run(10);
        }
        net.run(600_000);
        verify(&net, group, 50)?;
        net.tap = Some(Vec::new());
        net.run(3_600_000);
        bytes += net.tap.take().unwrap_or_default().iter().map(|sent| sent.bytes as u64).sum::<u64>();
    }
    let what = "bytes in an hour between two that are settled, on a reliable link and at a loss of half";
    let row = Row::alone("idle", Goal::AtMost(0.0), "B", to_f64(bytes), what);
    Ok(vec![row.published("MVDS: about one empty payload a second", 3600.0)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eager_push_sends_over_every_link_but_those_that_it_came_by() {
        let edges = two_rings(100, 3);
        let ends = 2 * edges.len() as u64;
        assert_eq!(eager_push(100, &edges), ends - 99);
    }

    #[test]
    fn an_acknowledgement_for_each_message_is_lost_as_often_as_the_message() {
        assert_eq!(single_acks(0.0, 100), 1.0);
        assert!((single_acks(0.5, 100_000) - 4.0).abs() < 0.1);
    }
}
