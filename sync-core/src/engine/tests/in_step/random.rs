//! Whatever two nodes go through, they converge when they meet in peace, and say nothing but values after that.

use std::collections::BTreeMap;

use hedgerow_proto::{GroupId, MessageId, Visibility};
use proptest::prelude::*;

use super::{announces, meet, values};
use crate::store::MemoryStore;
use crate::testing::{CLEAN, Faults, Net, open, peer};

const GROUPS: usize = 3;

#[derive(Debug, Clone)]
enum Deed {
    Publish(usize, usize),
    Run(u64),
    Connect { lossy: bool },
    Disconnect(usize),
    Restart(usize),
    Keep(usize),
    Restore(usize),
    Lose(usize),
    See(usize, usize, Visibility),
    Leave(usize, usize),
}

fn deeds() -> impl Strategy<Value = Deed> {
    let (node, group) = (0..2_usize, 0..GROUPS);
    let seen = prop_oneof![Just(Visibility::Invisible), Just(Visibility::Visible), Just(Visibility::Shared)];
    prop_oneof![
        5 => (node.clone(), group.clone()).prop_map(|(n, g)| Deed::Publish(n, g)),
        5 => prop_oneof![0..40_u64, 1_000..5_000_u64].prop_map(Deed::Run),
        4 => prop::bool::weighted(0.2).prop_map(|lossy| Deed::Connect { lossy }),
        3 => any::<usize>().prop_map(Deed::Disconnect),
        1 => node.clone().prop_map(Deed::Restart),
        1 => node.clone().prop_map(Deed::Keep),
        1 => node.clone().prop_map(Deed::Restore),
        1 => node.clone().prop_map(Deed::Lose),
        2 => (node.clone(), group.clone(), seen).prop_map(|(n, g, seen)| Deed::See(n, g, seen)),
        1 => (node, group).prop_map(|(n, g)| Deed::Leave(n, g)),
    ]
}

/// A copy of a store, and what its node had delivered.
type Backup = (MemoryStore, BTreeMap<GroupId, Vec<MessageId>>);

struct Life {
    net: Net,
    groups: Vec<GroupId>,
    wires: Vec<usize>,
    backups: [Option<Backup>; 2],
    made: u64,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut net = Net::new(2, seed);
        let groups = Self::share(&mut net);
        Self { net, groups, wires: Vec::new(), backups: [None, None], made: 0 }
    }

    fn share(net: &mut Net) -> Vec<GroupId> {
        (0..GROUPS).map(|n| net.group(&format!("group {n}"), false)).collect()
    }

    fn part(&mut self) {
        self.wires.drain(..).for_each(|wire| self.net.disconnect(wire));
    }

    /// A node goes on with another store.
    fn become_of(&mut self, n: usize, (store, delivered): Backup) {
        self.part();
        self.made += 1;
        self.net.engines[n] = open(store, &self.net.config, n, 1_000 + self.made, self.net.now);
        self.net.delivered[n] = delivered;
    }

    fn has(&self, n: usize, group: usize) -> bool {
        self.net.engines[n].group(self.groups[group]).is_some()
    }

    fn take(&mut self, deed: Deed) {
        self.made += 1;
        match deed {
            Deed::Publish(n, group) if self.has(n, group) => {
                self.net.publish(n, self.groups[group], &format!("message {}", self.made));
            }
            Deed::Publish(..) => {}
            Deed::Run(ms) => {
                self.net.run(ms);
            }
            Deed::Connect { .. } if self.wires.len() >= 3 => {}
            Deed::Connect { lossy: false } => self.wires.push(self.net.connect(0, 1)),
            Deed::Connect { lossy: true } => {
                self.wires.push(self.net.connect_lossy(0, 1, Faults { loss: 0.2, ..CLEAN }));
            }
            Deed::Disconnect(at) if !self.wires.is_empty() => {
                let wire = self.wires.swap_remove(at % self.wires.len());
                self.net.disconnect(wire);
            }
            Deed::Disconnect(_) => {}
            Deed::Restart(n) => {
                self.part();
                self.net.restart(n, self.made);
            }
            Deed::Keep(n) => {
                self.net.drain(n);
                let store = self.net.engines[n].store().clone();
                self.backups[n] = Some((store, self.net.delivered[n].clone()));
            }
            Deed::Restore(n) => {
                if let Some(backup) = self.backups[n].clone() {
                    self.become_of(n, backup);
                }
            }
            Deed::Lose(n) => {
                self.become_of(n, (MemoryStore::new(), BTreeMap::new()));
                Self::share(&mut self.net);
            }
            Deed::See(n, group, seen) if self.has(n, group) => {
                self.net.engines[n].set_visibility(peer(1 - n), self.groups[group], seen).unwrap();
            }
            Deed::See(..) => {}
            Deed::Leave(n, group) if self.has(n, group) => {
                self.net.engines[n].remove_group(self.groups[group]).unwrap();
                self.net.engines[n].commit().unwrap();
                self.net.delivered[n].remove(&self.groups[group]);
            }
            Deed::Leave(..) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn two_with_any_history_converge_and_are_in_step_afterwards(
        seed in 0..1_000_u64,
        deeds in prop::collection::vec(deeds(), 1..40),
    ) {
        let mut life = Life::new(seed);
        for deed in deeds {
            life.take(deed);
        }
        life.part();
        Life::share(&mut life.net);
        meet(&mut life.net);
        meet(&mut life.net);
        for &group in &life.groups {
            let count = life.net.log(0, group).len();
            if count > 0 {
                life.net.assert_converged(group, count);
            }
            prop_assert_eq!(life.net.log(1, group).len(), count);
        }
        // What waits for what both lost is asked for at each contact, and a question goes with the full name of its group.
        let waits = |group: &&GroupId| life.net.engines.iter().any(|engine| !engine.missing(**group).is_empty());
        let waiting = life.groups.iter().filter(waits).count();
        let tap = meet(&mut life.net);
        for n in [0, 1] {
            prop_assert_eq!(values(&tap, n), GROUPS);
            prop_assert!(announces(&tap, n) <= waiting, "{} of {}", announces(&tap, n), waiting);
            prop_assert_eq!(life.net.engines[n].audit(), Vec::<String>::new());
        }
        let mut others = tap.iter().filter(|sent| !sent.frame.unmatched.is_empty() || sent.messages().next().is_some());
        prop_assert!(others.next().is_none());
    }
}
