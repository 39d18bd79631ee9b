//! Random waypoint: each node walks straight to a random place at a random speed, rests, and walks on (Johnson, Maltz
//! 1996). Who is near whom is looked at each second.

use std::collections::{BTreeMap, HashMap};

use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::{Contact, PlanError, impossible};
use crate::random::stream;
use crate::scenario::Topology;
use crate::units::Span;

/// How often positions are looked at, in us.
const TICK: u64 = 1_000_000;

struct Walker {
    rng: ChaCha12Rng,
    from: (f64, f64),
    to: (f64, f64),
    /// When it left, arrives, and walks on, in us.
    left: u64,
    arrives: u64,
    rests: u64,
}

pub(super) fn walk(
    topology: &Topology,
    count: usize,
    length: Span,
    seed: u64,
) -> Result<Vec<Contact>, PlanError> {
    let Topology::RandomWaypoint { side, range, slowest, fastest, pause } = topology else {
        return Ok(Vec::new());
    };
    for (key, value) in [("side", *side), ("range", *range), ("slowest", *slowest)] {
        if !(value > 0.0 && value < 1e7) {
            // With a slowest speed of 0, walks grow longer and longer, and there is no steady state.
            return Err(impossible(&format!("topology.{key}"), "must be above 0 and below 10,000,000"));
        }
    }
    if !(slowest..=&1e7).contains(&fastest) {
        return Err(impossible("topology.fastest", "must not be below `slowest`"));
    }
    let mut walkers: Vec<Walker> = (0..count as u64)
        .map(|node| {
            let mut rng = stream(seed, "waypoint", node);
            let at = (rng.random::<f64>() * side, rng.random::<f64>() * side);
            Walker { rng, from: at, to: at, left: 0, arrives: 0, rests: 0 }
        })
        .collect();
    let mut near: BTreeMap<(usize, usize), u64> = BTreeMap::new();
    let mut contacts = Vec::new();
    let mut cells: HashMap<(i64, i64), Vec<usize>> = HashMap::new();
    let mut points = vec![(0.0, 0.0); count];
    let mut now = 0;
    while now < length.us() {
        cells.clear();
        for (node, (walker, point)) in walkers.iter_mut().zip(&mut points).enumerate() {
            *point = walker.at(now, *side, (*slowest, *fastest), *pause);
            cells.entry(cell(*point, *range)).or_default().push(node);
        }
        let mut still: BTreeMap<(usize, usize), u64> = BTreeMap::new();
        for (a, p) in points.iter().enumerate() {
            let (x, y) = cell(*p, *range);
            let around = (-1..=1).flat_map(|dx| (-1..=1).map(move |dy| (x + dx, y + dy)));
            for &b in around.filter_map(|at| cells.get(&at)).flatten().filter(|b| **b > a) {
                let Some(q) = points.get(b) else { continue };
                let (dx, dy) = (p.0 - q.0, p.1 - q.1);
                if dx * dx + dy * dy <= range * range {
                    still.insert((a, b), near.remove(&(a, b)).unwrap_or(now));
                }
            }
        }
        // Who was near and is not any more.
        contacts.extend(near.iter().map(|(&pair, &start)| contact(pair, start, now)));
        near = still;
        now += TICK;
    }
    contacts.extend(near.iter().map(|(&pair, &start)| contact(pair, start, length.us())));
    contacts.sort_unstable();
    Ok(contacts)
}

impl Walker {
    fn at(&mut self, now: u64, side: f64, speed: (f64, f64), pause: Span) -> (f64, f64) {
        while now >= self.rests {
            self.from = self.to;
            self.left = self.rests;
            self.to = (self.rng.random::<f64>() * side, self.rng.random::<f64>() * side);
            let speed = speed.0 + self.rng.random::<f64>() * (speed.1 - speed.0);
            let (dx, dy) = (self.to.0 - self.from.0, self.to.1 - self.from.1);
            let us = ((dx * dx + dy * dy).sqrt() / speed * 1e6).clamp(1.0, 9e15);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
            let us = us as u64;
            self.arrives = self.left + us;
            self.rests = self.arrives + self.rng.random_range(0..=pause.us());
        }
        if now >= self.arrives {
            return self.to;
        }
        let part = (now - self.left) as f64 / (self.arrives - self.left) as f64;
        (self.from.0 + (self.to.0 - self.from.0) * part, self.from.1 + (self.to.1 - self.from.1) * part)
    }
}

fn cell(point: (f64, f64), range: f64) -> (i64, i64) {
    #[expect(clippy::cast_possible_truncation, reason = "sides and ranges are bounded")]
    let index = |value: f64| (value / range).floor() as i64;
    (index(point.0), index(point.1))
}

fn contact((a, b): (usize, usize), start: u64, end: u64) -> Contact {
    Contact { start: Span::from_us(start), end: Span::from_us(end), a, b }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contacts(range: f64) -> Vec<Contact> {
        let topology = Topology::RandomWaypoint {
            side: 1_000.0,
            range,
            slowest: 1.0,
            fastest: 2.0,
            pause: Span::from_s(60),
        };
        walk(&topology, 20, Span::from_s(3_600), 1).unwrap()
    }

    #[test]
    fn nodes_meet_and_part() {
        let contacts = contacts(50.0);
        assert!(contacts.len() > 50, "{} contacts", contacts.len());
        assert!(contacts.iter().all(|c| c.start < c.end && c.a < c.b && c.b < 20));
        let mut last: BTreeMap<(usize, usize), Span> = BTreeMap::new();
        for c in &contacts {
            let before = last.insert((c.a, c.b), c.end);
            assert!(before.is_none_or(|end| end < c.start), "{c:?} overlaps");
        }
    }

    #[test]
    fn within_reach_of_everybody_all_are_linked_for_ever() {
        let contacts = contacts(1_500.0);
        assert_eq!(contacts.len(), 190);
        assert!(contacts.iter().all(|c| c.start.us() == 0 && c.end == Span::from_s(3_600)));
    }
}
