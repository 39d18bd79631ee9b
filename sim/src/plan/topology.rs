//! Networks that do not change: pairs of nodes, the lower number first, each pair once.

use std::collections::BTreeSet;

use rand::RngExt as _;

use super::{PlanError, Point, impossible, no_node};
use crate::random::stream;
use crate::scenario::Topology;

/// Pairs of nodes, the lower number first.
type Pairs = Vec<(usize, usize)>;

/// The links, and where nodes are if that decides about links.
pub(super) fn edges(
    topology: &Topology,
    count: usize,
    seed: u64,
) -> Result<(Pairs, Vec<Vec<Point>>), PlanError> {
    let mut positions = Vec::new();
    let mut edges = Edges { count, pairs: BTreeSet::new() };
    let mut rng = stream(seed, "topology", 0);
    match topology {
        Topology::Full => {
            for a in 0..count {
                (a + 1..count).for_each(|b| edges.add(a, b));
            }
        }
        Topology::Ring => (0..count).for_each(|a| edges.add(a, (a + 1) % count)),
        Topology::Line => (1..count).for_each(|b| edges.add(b - 1, b)),
        Topology::Grid { width } => {
            if *width == 0 {
                return Err(impossible("topology.width", "a row has one node at least"));
            }
            for a in 0..count {
                if (a + 1) % width != 0 {
                    edges.add(a, a + 1);
                }
                edges.add(a, a + width);
            }
        }
        Topology::Star { hub } => {
            if *hub >= count {
                return Err(impossible("topology.hub", no_node(*hub, count)));
            }
            (0..count).for_each(|a| edges.add(a, *hub));
        }
        Topology::Geometric { radius } => {
            let points: Vec<(f64, f64)> = (0..count).map(|_| (rng.random(), rng.random())).collect();
            // The square is told as one of a km.
            let still = |(x, y): &(f64, f64)| vec![super::mobility::point(0, (x * 1e3, y * 1e3))];
            positions = points.iter().map(still).collect();
            for (a, p) in points.iter().enumerate() {
                for (b, q) in points.iter().enumerate().skip(a + 1) {
                    let (x, y) = (p.0 - q.0, p.1 - q.1);
                    if x * x + y * y <= radius * radius {
                        edges.add(a, b);
                    }
                }
            }
        }
        Topology::SmallWorld { degree, rewire } => {
            if degree % 2 != 0 || *degree >= count {
                let message = format!("{degree} is not an even number below the number of nodes ({count})");
                return Err(impossible("topology.degree", message));
            }
            for a in 0..count {
                for step in 1..=degree / 2 {
                    let b = (a + step) % count;
                    if !rng.random_bool(rewire.value()) {
                        edges.add(a, b);
                        continue;
                    }
                    let free = (0..64).map(|_| rng.random_range(0..count)).find(|b| edges.lacks(a, *b));
                    edges.add(a, free.unwrap_or(b));
                }
            }
        }
        Topology::ScaleFree { links } => {
            if *links == 0 || *links >= count {
                let message = format!("{links} is not from 1 to below the number of nodes ({count})");
                return Err(impossible("topology.links", message));
            }
            // Each end of each link stands here once: who has more links is drawn more often.
            let mut ends: Vec<usize> = Vec::new();
            for a in 0..=*links {
                for b in 0..a {
                    edges.add(a, b);
                    ends.extend([a, b]);
                }
            }
            for a in *links + 1..count {
                let mut chosen = BTreeSet::new();
                while chosen.len() < *links {
                    chosen.extend(ends.get(rng.random_range(0..ends.len())));
                }
                for b in chosen {
                    edges.add(a, b);
                    ends.extend([a, b]);
                }
            }
        }
        Topology::Edges { edges: pairs } => {
            for (index, &(a, b)) in pairs.iter().enumerate() {
                let key = format!("topology.edges.{index}");
                if let Some(node) = [a, b].into_iter().find(|node| *node >= count) {
                    return Err(impossible(&key, no_node(node, count)));
                }
                if a == b {
                    return Err(impossible(&key, "a node is not linked to itself"));
                }
                edges.add(a, b);
            }
        }
        Topology::Trace { .. }
        | Topology::Contacts { .. }
        | Topology::Courier { .. }
        | Topology::HeavyTailed { .. }
        | Topology::RandomWaypoint { .. } => {}
    }
    Ok((edges.pairs.into_iter().collect(), positions))
}

struct Edges {
    count: usize,
    pairs: BTreeSet<(usize, usize)>,
}

impl Edges {
    /// Adds a pair, if it is one.
    fn add(&mut self, a: usize, b: usize) {
        if a != b && a.max(b) < self.count {
            self.pairs.insert((a.min(b), a.max(b)));
        }
    }

    fn lacks(&self, a: usize, b: usize) -> bool {
        a != b && !self.pairs.contains(&(a.min(b), a.max(b)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Share;

    fn count(topology: &Topology, nodes: usize) -> usize {
        edges(topology, nodes, 7).unwrap().0.len()
    }

    #[test]
    fn each_kind_has_its_links() {
        assert_eq!(count(&Topology::Full, 20), 190);
        assert_eq!(count(&Topology::Ring, 20), 20);
        assert_eq!(count(&Topology::Ring, 2), 1);
        assert_eq!(count(&Topology::Line, 20), 19);
        assert_eq!(count(&Topology::Grid { width: 5 }, 20), 4 * 4 + 3 * 5);
        assert_eq!(count(&Topology::Star { hub: 3 }, 20), 19);
        assert_eq!(count(&Topology::Geometric { radius: 1.5 }, 20), 190);
        assert_eq!(count(&Topology::ScaleFree { links: 2 }, 100), 3 + 97 * 2);
        let rewire = Share::new(0.1);
        let small = count(&Topology::SmallWorld { degree: 4, rewire }, 1_000);
        assert!((1_990..=2_000).contains(&small), "{small} links");
    }

    #[test]
    fn what_is_impossible_is_told() {
        for wrong in [
            Topology::Grid { width: 0 },
            Topology::Star { hub: 9 },
            Topology::SmallWorld { degree: 3, rewire: Share::default() },
            Topology::ScaleFree { links: 9 },
            Topology::Edges { edges: vec![(0, 9)] },
            Topology::Edges { edges: vec![(1, 1)] },
        ] {
            assert!(edges(&wrong, 9, 1).is_err(), "{wrong:?}");
        }
    }
}
