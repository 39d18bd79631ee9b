//! Nodes that move: random waypoint, where each node walks straight to a random place at a random speed, rests, and
//! walks on (Johnson, Maltz 1996), with a look each second at who is near whom; and couriers, who go round places.

use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::{Contact, Meetings, PlanError, Point, impossible, no_node};
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
    /// Where it went so far.
    track: Vec<Point>,
}

pub(super) fn walk(
    topology: &Topology,
    count: usize,
    length: Span,
    seed: u64,
) -> Result<Meetings, PlanError> {
    let Topology::RandomWaypoint { side, range, slowest, fastest, pause } = topology else {
        return Ok(Meetings::default());
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
            Walker { rng, from: at, to: at, left: 0, arrives: 0, rests: 0, track: Vec::new() }
        })
        .collect();
    // Whom a node can hear until the next search was no farther than `reach` at this one.
    let (every, reach) = searches(*range, *fastest);
    let mut grid = Grid::new(*side, reach, count);
    let mut close: Vec<(u32, u32)> = Vec::new();
    let mut points = vec![(0.0, 0.0); count];
    // Who is near, since when, by pair: of the second before, and of this one.
    let mut before: Vec<((u32, u32), u64)> = Vec::new();
    let mut contacts = Vec::new();
    let mut now = 0;
    while now < length.us() {
        for (walker, point) in walkers.iter_mut().zip(&mut points) {
            *point = walker.at(now, *side, (*slowest, *fastest), *pause);
        }
        if now % (every * TICK) == 0 {
            close = grid.pairs(&points, reach);
            close.sort_unstable();
        }
        let is_near = |(a, b): &&(u32, u32)| match (points.get(*a as usize), points.get(*b as usize)) {
            (Some(p), Some(q)) => are_within(*p, *q, *range),
            _ => false,
        };
        let mut near: Vec<((u32, u32), u64)> =
            close.iter().filter(is_near).map(|pair| (*pair, now)).collect();
        // Both are in order: those that are near still keep their time, those that are not any more have parted.
        let mut at = near.iter_mut().peekable();
        for (pair, since) in before {
            while at.next_if(|(other, _)| *other < pair).is_some() {}
            match at.next_if(|(other, _)| *other == pair) {
                Some((_, start)) => *start = since,
                None => contacts.push(contact(pair, since, now)),
            }
        }
        before = near;
        now += TICK;
    }
    contacts.extend(before.into_iter().map(|(pair, since)| contact(pair, since, length.us())));
    contacts.sort_unstable();
    let end = length.us();
    let positions = walkers.into_iter().map(|mut walker| {
        walker.track.retain(|point| point.at_us < end);
        let last = (end - 1).max(walker.left);
        let at = walker.at(last, *side, (*slowest, *fastest), *pause);
        walker.track.push(point(last, at));
        walker.track
    });
    Ok((contacts, positions.collect()))
}

/// Every how many seconds all pairs that may come near are searched for, and up to which distance, in m: two nodes
/// approach each other by no more than twice the fastest walk.
fn searches(range: f64, fastest: f64) -> (u64, f64) {
    let each = 2.0 * fastest * (TICK as f64 / 1e6);
    // With a margin of half a radio's reach the few more pairs cost less than the searches that are spared.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    let every = (range / 2.0 / each).clamp(1.0, 64.0) as u64;
    (every, (range + each * every as f64) * 1.001)
}

fn are_within(p: (f64, f64), q: (f64, f64), metres: f64) -> bool {
    let (dx, dy) = (p.0 - q.0, p.1 - q.1);
    dx * dx + dy * dy <= metres * metres
}

/// A point in m, at a time in us.
pub(super) fn point(at_us: u64, (x, y): (f64, f64)) -> Point {
    #[expect(clippy::cast_possible_truncation, reason = "sides are bounded")]
    let mm = |metres: f64| (metres * 1e3).round() as i64;
    Point { at_us, x_mm: mm(x), y_mm: mm(y) }
}

/// Cells that are at least as wide as what is searched for is far, so that it is in a node's cell or one around it.
struct Grid {
    width: f64,
    across: usize,
    cells: Vec<Vec<u32>>,
}

impl Grid {
    fn new(side: f64, reach: f64, count: usize) -> Self {
        // About one node to a cell is best; more cells than that cost time in each search.
        let width = reach.max(side / (count.max(1) as f64).sqrt());
        let across = index(side, width) + 1;
        Self { width, across, cells: vec![Vec::new(); across * across] }
    }

    fn cell(&self, (x, y): (f64, f64)) -> (usize, usize) {
        let last = self.across - 1;
        (index(x, self.width).min(last), index(y, self.width).min(last))
    }

    /// Pairs of points that are no farther apart than `reach`, in m.
    fn pairs(&mut self, points: &[(f64, f64)], reach: f64) -> Vec<(u32, u32)> {
        self.cells.iter_mut().for_each(Vec::clear);
        let mut pairs = Vec::new();
        for (a, p) in (0_u32..).zip(points) {
            let (x, y) = self.cell(*p);
            for row in y.saturating_sub(1)..=(y + 1).min(self.across - 1) {
                for column in x.saturating_sub(1)..=(x + 1).min(self.across - 1) {
                    // Only those that stand there already, so that each pair is seen once.
                    for &b in self.cells.get(row * self.across + column).into_iter().flatten() {
                        let Some(q) = points.get(b as usize) else { continue };
                        if are_within(*p, *q, reach) {
                            pairs.push((b, a));
                        }
                    }
                }
            }
            if let Some(cell) = self.cells.get_mut(y * self.across + x) {
                cell.push(a);
            }
        }
        pairs
    }
}

fn index(metres: f64, width: f64) -> usize {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sides are bounded and positive"
    )]
    let index = (metres / width).floor() as usize;
    index
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
            self.track.push(point(self.left, self.from));
            if self.rests > self.arrives {
                self.track.push(point(self.arrives, self.to));
            }
        }
        if now >= self.arrives {
            return self.to;
        }
        let part = (now - self.left) as f64 / (self.arrives - self.left) as f64;
        (self.from.0 + (self.to.0 - self.from.0) * part, self.from.1 + (self.to.1 - self.from.1) * part)
    }
}

fn contact((a, b): (u32, u32), start: u64, end: u64) -> Contact {
    Contact { start: Span::from_us(start), end: Span::from_us(end), a: a as usize, b: b as usize }
}

/// Contacts with couriers, and those of places where several nodes are.
pub(super) fn rounds(topology: &Topology, count: usize, length: Span) -> Result<Vec<Contact>, PlanError> {
    let Topology::Courier { couriers, stay, travel, place_size } = topology else { return Ok(Vec::new()) };
    if let Some(node) = couriers.iter().find(|node| **node >= count) {
        return Err(impossible("topology.couriers", no_node(*node, count)));
    }
    let settled: Vec<usize> = (0..count).filter(|node| !couriers.contains(node)).collect();
    if *place_size == 0 || settled.is_empty() || stay.us() == 0 {
        return Err(impossible(
            "topology.couriers",
            "there are places, nodes at each, and couriers stay a while",
        ));
    }
    let places: Vec<&[usize]> = settled.chunks(*place_size).collect();
    let mut contacts = Vec::new();
    let all = |a: usize, b: usize, start: u64, end: u64| Contact {
        start: Span::from_us(start),
        end: Span::from_us(end.min(length.us())),
        a: a.min(b),
        b: a.max(b),
    };
    for place in &places {
        for (at, a) in place.iter().enumerate() {
            contacts.extend(place.iter().skip(at + 1).map(|b| all(*a, *b, 0, length.us())));
        }
    }
    let leg = stay.us() + travel.us();
    let round = leg * places.len() as u64;
    for (number, courier) in couriers.iter().enumerate() {
        // The first is at the first place when all begins, the others are ahead of it.
        let ahead = round / couriers.len() as u64 * number as u64;
        let mut visit = ahead / leg;
        while visit * leg < length.us() + ahead {
            let (start, end) = (visit * leg, visit * leg + stay.us());
            let place = usize::try_from(visit % places.len() as u64).ok().and_then(|at| places.get(at));
            for node in place.copied().into_iter().flatten().filter(|_| end > ahead) {
                contacts.push(all(*courier, *node, start.saturating_sub(ahead), end - ahead));
            }
            visit += 1;
        }
    }
    contacts.retain(|contact| contact.start < contact.end);
    contacts.sort_unstable();
    Ok(contacts)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn contacts(range: f64) -> Vec<Contact> {
        let topology = Topology::RandomWaypoint {
            side: 1_000.0,
            range,
            slowest: 1.0,
            fastest: 2.0,
            pause: Span::from_s(60),
        };
        walk(&topology, 20, Span::from_s(3_600), 1).unwrap().0
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

    /// With a radio that reaches less far than nodes walk between two looks, each look is a search.
    #[test]
    fn what_is_searched_for_now_and_then_is_found_as_if_it_were_searched_for_each_second() {
        for (range, fastest) in [(50.0, 2.0), (80.0, 30.0), (10.0, 20.0)] {
            let topology = Topology::RandomWaypoint {
                side: 500.0,
                range,
                slowest: 1.0,
                fastest,
                pause: Span::from_s(20),
            };
            let length = Span::from_s(600);
            let (contacts, positions) = walk(&topology, 12, length, 3).unwrap();
            let place = |node: usize, at: u64| {
                let track: &Vec<Point> = &positions[node];
                let next = track.partition_point(|point| point.at_us <= at);
                let (from, to) = (track[next - 1], track[next.min(track.len() - 1)]);
                let part = (at - from.at_us) as f64 / (to.at_us - from.at_us).max(1) as f64;
                let between = |from: i64, to: i64| (from as f64 + (to - from) as f64 * part) / 1e3;
                (between(from.x_mm, to.x_mm), between(from.y_mm, to.y_mm))
            };
            let (mut seen, mut found) = (0, 0);
            for at in (0..length.us()).step_by(1_000_000) {
                for (a, b) in (0..12).flat_map(|b| (0..b).map(move |a| (a, b))) {
                    let (p, q) = (place(a, at), place(b, at));
                    // Tracks are rounded to the mm.
                    let (surely, perhaps) = (are_within(p, q, range - 0.01), are_within(p, q, range + 0.01));
                    let linked = contacts
                        .iter()
                        .any(|c| (c.a, c.b) == (a, b) && c.start.us() <= at && at < c.end.us());
                    assert!(linked || !surely, "{a} and {b} are near at {at} us, range {range}");
                    assert!(perhaps || !linked, "{a} and {b} are not near at {at} us, range {range}");
                    seen += usize::from(surely);
                    found += usize::from(linked);
                }
            }
            assert!(seen > 10 && found >= seen, "{seen} times near, {found} times linked");
        }
    }

    #[test]
    fn a_courier_is_at_one_place_at_a_time() {
        let (stay, travel) = (Span::from_s(600), Span::from_s(3_000));
        let topology = Topology::Courier { couriers: vec![4, 5], stay, travel, place_size: 2 };
        let contacts = rounds(&topology, 6, Span::from_s(36_000)).unwrap();
        let still = contacts.iter().filter(|c| c.b < 4).count();
        assert_eq!(still, 2, "two places of two");
        for courier in [4, 5] {
            let mut visits: Vec<(Span, Span, usize)> =
                contacts.iter().filter(|c| c.b == courier).map(|c| (c.start, c.end, c.a / 2)).collect();
            visits.sort_unstable();
            visits.dedup();
            assert_eq!(visits.len(), 10, "{visits:?}");
            assert!(visits.windows(2).all(|pair| pair[0].1 < pair[1].0 && pair[0].2 != pair[1].2));
        }
    }
}
