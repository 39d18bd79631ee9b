//! The lossy links of a demonstration: counted, and cut when the network splits.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hedgerow::transports::LossyCounters;
use hedgerow::{Link, LossProfile, Lossy, PeerId};

/// All links of all peers. Clones are the same.
#[derive(Clone)]
pub(super) struct Wires(Arc<Mutex<State>>);

struct State {
    profile: LossProfile,
    seed: u64,
    index: HashMap<PeerId, usize>,
    cut: BTreeSet<(usize, usize)>,
    made: u64,
    links: Vec<Wire>,
}

struct Wire {
    from: usize,
    to: usize,
    counters: LossyCounters,
}

/// What all links together have carried.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Carried {
    pub(super) bytes: u64,
    pub(super) frames: u64,
    pub(super) dropped: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
}

impl Wires {
    pub(super) fn new(loss: f64, seed: u64) -> Self {
        let profile = LossProfile {
            loss,
            duplicate: 0.1,
            reorder: 0.1,
            reorder_ms: 15,
            min_delay_ms: 1,
            max_delay_ms: 8,
            ..LossProfile::default()
        };
        let index = HashMap::new();
        let (cut, links) = (BTreeSet::new(), Vec::new());
        Self(Arc::new(Mutex::new(State { profile, seed, index, cut, made: 0, links })))
    }

    /// Says which peer has this key.
    pub(super) fn know(&self, peer: PeerId, index: usize) {
        self.state().index.insert(peer, index);
    }

    /// Makes one end of a link lossy.
    pub(super) fn wrap(&self, from: usize, link: Box<dyn Link>) -> Box<dyn Link> {
        let mut state = self.state();
        let Some(to) = state.index.get(&link.info().peer).copied() else { return link };
        state.made += 1;
        // Each end of each link has faults of its own.
        let seed = state.seed.rotate_left(17).wrapping_add(state.made.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let (link, counters) = Lossy::wrap_counted(link, state.profile.clone(), seed);
        if state.cut.contains(&(from, to)) {
            counters.cut();
        }
        state.links.push(Wire { from, to, counters });
        link
    }

    /// Cuts every link, present or to come, between peers that are not on the same side.
    pub(super) fn split(&self, is_inside: impl Fn(usize) -> bool) {
        let mut state = self.state();
        let all: Vec<usize> = state.index.values().copied().collect();
        let pairs = all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to)));
        state.cut = pairs.filter(|(from, to)| is_inside(*from) != is_inside(*to)).collect();
        let State { cut, links, .. } = &*state;
        links.iter().filter(|wire| cut.contains(&(wire.from, wire.to))).for_each(|wire| wire.counters.cut());
    }

    /// Joins what was cut.
    pub(super) fn heal(&self) {
        let mut state = self.state();
        state.cut.clear();
        state.links.iter().for_each(|wire| wire.counters.heal());
    }

    pub(super) fn carried(&self) -> Carried {
        self.state().links.iter().map(|wire| wire.counters.counts()).fold(
            Carried::default(),
            |sum, counts| Carried {
                bytes: sum.bytes + counts.bytes_sent,
                frames: sum.frames + counts.frames_sent,
                dropped: sum.dropped + counts.dropped(),
                duplicated: sum.duplicated + counts.duplicated,
                reordered: sum.reordered + counts.reordered,
            },
        )
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
