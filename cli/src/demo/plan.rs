//! The plan of a demonstration: who says what, in which chat and when, and what goes wrong meanwhile. All of it is
//! drawn from one seed.

use std::time::Duration;

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha20Rng;

use crate::args::DemoArgs;

const NAMES: [&str; 32] = [
    "Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gus", "Hana", "Ivo", "June", "Kit", "Lou", "Mia", "Ned",
    "Oda", "Pia", "Quinn", "Rosa", "Sam", "Tilda", "Uma", "Vic", "Wim", "Xenia", "Yara", "Zoe", "Abel",
    "Bea", "Curt", "Dora", "Emil", "Flora",
];
const WHO: [&str; 12] = [
    "The hedgehog",
    "A wren",
    "My neighbour",
    "The old badger",
    "Somebody",
    "The blackbird",
    "A dormouse",
    "The postman",
    "The cat next door",
    "A robin",
    "The fox",
    "Nobody",
];
const DOES: [&str; 12] = [
    "has found",
    "is looking for",
    "forgot",
    "guards",
    "sleeps under",
    "sings about",
    "has hidden",
    "dug up",
    "knows all about",
    "wants to borrow",
    "carried off",
    "writes about",
];
const WHAT: [&str; 12] = [
    "the sloes",
    "a way through the hawthorn",
    "the last of the brambles",
    "the elder by the gate",
    "a quiet spot",
    "the ladder",
    "three hazelnuts",
    "the rain barrel",
    "the gap in the hedge",
    "a pair of gloves",
    "the moon",
    "what we said yesterday",
];
const WHEN: [&str; 8] =
    ["", " again", " at last", " this morning", " in the rain", ", I think", ", of all things", "?"];

/// The mean pause between two messages of a short conversation, in ms.
const PAUSE_MS: u64 = 30;
/// How long a long conversation takes, pauses alone, in ms.
const TALK_MS: u64 = 8_000;

/// The chats that go on at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Talk {
    Direct,
    Private,
    Public,
}

impl Talk {
    pub(super) const ALL: [Self; 3] = [Self::Direct, Self::Private, Self::Public];

    /// What it is called.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Direct => "Ada and Ben",
            Self::Private => "garden",
            Self::Public => "square",
        }
    }

    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Direct => "1:1 chat",
            Self::Private => "private group",
            Self::Public => "public chat",
        }
    }

    /// Who is in it: the first so many of all peers.
    pub(super) fn members(self, peers: usize) -> usize {
        match self {
            Self::Direct => 2,
            // One has to pass by, where there are enough.
            Self::Private => {
                if peers > 2 {
                    peers - 1
                } else {
                    peers
                }
            }
            Self::Public => peers,
        }
    }
}

/// Something that happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    Say { who: usize, talk: Talk, text: String },
    GoOffline,
    ComeBack,
    Split,
    Heal,
}

/// What happens in a demonstration.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) loss: f64,
    pub(super) peers: Vec<Person>,
    pub(super) acts: Vec<(Duration, Act)>,
    /// Who goes off line.
    pub(super) hermit: usize,
    /// Who is on one side when the network splits: from the first to before the second, in the ring.
    pub(super) side: (usize, usize),
    /// What the faults of the links are drawn from.
    pub(super) link_seed: u64,
}

/// A peer of the demonstration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) key: [u8; 32],
    pub(super) seed: u64,
}

impl Plan {
    pub(super) fn new(args: &DemoArgs, seed: u64) -> Self {
        let mut dice = ChaCha20Rng::seed_from_u64(seed);
        let count = usize::try_from(args.peers).unwrap_or(2).clamp(2, NAMES.len());
        let person =
            |name: &&str| Person { name: (*name).to_owned(), key: dice.random(), seed: dice.random() };
        let peers: Vec<Person> = NAMES.iter().take(count).map(person).collect();
        let hermit = dice.random_range(0..count);
        let first = dice.random_range(0..count);
        let side = (first, first + dice.random_range(1..count));
        let link_seed = dice.random();
        let acts = acts(&mut dice, u64::from(args.messages), count, hermit);
        Self { seed, loss: args.loss, peers, acts, hermit, side, link_seed }
    }

    /// Whether a peer is on the one side when the network splits.
    pub(super) fn is_inside(&self, peer: usize) -> bool {
        let (first, end) = self.side;
        (first..end).contains(&peer) || (first..end).contains(&(peer + self.peers.len()))
    }

    /// The names of the peers with these numbers.
    pub(super) fn names(&self, wanted: impl Fn(usize) -> bool) -> Vec<&str> {
        let all = self.peers.iter().enumerate();
        all.filter(|(index, _)| wanted(*index)).map(|(_, peer)| peer.name.as_str()).collect()
    }

    pub(super) fn name(&self, peer: usize) -> &str {
        self.peers.get(peer).map_or("?", |peer| &peer.name)
    }
}

fn acts(dice: &mut ChaCha20Rng, messages: u64, peers: usize, hermit: usize) -> Vec<(Duration, Act)> {
    let mean = PAUSE_MS.min(TALK_MS / messages.max(1));
    let mut acts = Vec::new();
    for number in 0..messages {
        let pause = Duration::from_millis(dice.random_range(0..=2 * mean));
        let turn = |tenth: u64| number == messages * tenth / 10;
        for (tenth, act) in [(4, Act::GoOffline), (6, Act::ComeBack), (7, Act::Split), (9, Act::Heal)] {
            if turn(tenth) {
                acts.push((pause, act));
            }
        }
        let talk = Talk::ALL.get(dice.random_range(0..Talk::ALL.len())).copied().unwrap_or(Talk::Public);
        let who = dice.random_range(0..talk.members(peers));
        // Off line one has time to write.
        let alone = (messages * 4 / 10..messages * 6 / 10).contains(&number) && number % 2 == 0;
        let (who, talk) = if alone { (hermit, Talk::Public) } else { (who, talk) };
        acts.push((pause, Act::Say { who, talk, text: sentence(dice) }));
    }
    acts
}

fn sentence(dice: &mut ChaCha20Rng) -> String {
    let mut pick =
        |words: &[&'static str]| words.get(dice.random_range(0..words.len())).copied().unwrap_or_default();
    format!("{} {} {}{}", pick(&WHO), pick(&DOES), pick(&WHAT), pick(&WHEN))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(peers: u32, messages: u32, seed: u64) -> Plan {
        Plan::new(&DemoArgs { peers, messages, loss: 0.5, seed: Some(seed) }, seed)
    }

    #[test]
    fn a_seed_makes_one_plan() {
        assert_eq!(plan(5, 100, 7), plan(5, 100, 7));
        assert_ne!(plan(5, 100, 7).acts, plan(5, 100, 8).acts);
    }

    #[test]
    fn everything_happens_whatever_the_size() {
        for (peers, messages, seed) in [(2, 10, 1), (3, 11, 2), (5, 120, 3), (32, 1000, 4)] {
            let plan = plan(peers, messages, seed);
            let happens = |act: Act| plan.acts.iter().filter(|(_, other)| *other == act).count();
            for act in [Act::GoOffline, Act::ComeBack, Act::Split, Act::Heal] {
                assert_eq!(happens(act), 1);
            }
            let away: Vec<_> = plan
                .acts
                .iter()
                .map(|(_, act)| act)
                .skip_while(|act| **act != Act::GoOffline)
                .take_while(|act| **act != Act::ComeBack)
                .collect();
            assert!(away.iter().any(|act| matches!(act, Act::Say { who, .. } if *who == plan.hermit)));
            let inside = (0..plan.peers.len()).filter(|peer| plan.is_inside(*peer)).count();
            assert!(inside > 0 && inside < plan.peers.len());
            for (_, act) in &plan.acts {
                if let Act::Say { who, talk, .. } = act {
                    assert!(*who < talk.members(plan.peers.len()));
                }
            }
        }
    }
}
