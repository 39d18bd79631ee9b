//! What happens in a session, drawn from the number of the script.

use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha12Rng;

/// How many nodes there are. Node 0 is on the disk that is disturbed, sometimes node 1 too; [`LIAR`] writes what is
/// invalid.
pub(super) const NODES: usize = 4;
/// The node whose messages are all invalid.
pub(super) const LIAR: usize = 3;
/// How many groups there are.
pub(super) const GROUPS: usize = 3;

/// One thing that happens.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// A node writes messages, in one transaction.
    Publish { node: usize, group: usize, bodies: Vec<Vec<u8>> },
    /// Two nodes meet.
    Connect { a: usize, b: usize, lossy: bool },
    /// They part.
    Disconnect { a: usize, b: usize },
    /// Frames cross, in so many rounds.
    Exchange { rounds: u32 },
    /// Time passes, in ms.
    Wait { ms: u64 },
    /// The client of a node reads what is new, at most so much, and commits its cursor with what it did.
    Read { node: usize, most: usize },
    /// A node joins a group, and shares it with the others.
    Join { node: usize, group: usize },
    /// A node leaves a group.
    Leave { node: usize, group: usize },
    /// A node is closed and opened again.
    Reopen { node: usize },
    /// A node forgets a peer, and adds it again.
    Forget { node: usize, peer: usize },
}

/// A session.
#[derive(Debug, Clone)]
pub struct Script {
    /// Its number, from which all of it follows.
    pub number: u64,
    /// The stores are made in the session; otherwise they are there.
    pub(super) from_birth: bool,
    /// Nodes 0 and 1 are on the same disk.
    pub(super) shared_disk: bool,
    /// Pages in the log after which they are moved into the database.
    pub(super) checkpoint_pages: u32,
    pub(super) steps: Vec<Step>,
}

impl Script {
    /// The script of this number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        let mut dice = ChaCha12Rng::seed_from_u64(number);
        let count = dice.random_range(8..22);
        let mut script = Self {
            number,
            from_birth: Self::is_born_in_session(number),
            shared_disk: number % 3 == 2,
            checkpoint_pages: [3, 12, 2_000][usize::try_from(number % 3).unwrap()],
            steps: Vec::new(),
        };
        let mut connected = Vec::new();
        for _ in 0..count {
            let step = script.draw(&mut dice, &mut connected);
            script.steps.push(step);
        }
        script
    }

    /// Whether the stores are made in the session of this number.
    #[must_use]
    pub const fn is_born_in_session(number: u64) -> bool {
        number % 4 == 3
    }

    fn draw(&self, dice: &mut ChaCha12Rng, connected: &mut Vec<(usize, usize)>) -> Step {
        let node = if dice.random_bool(0.6) { 0 } else { dice.random_range(0..NODES) };
        let group = if dice.random_bool(0.6) { 0 } else { dice.random_range(0..GROUPS) };
        match dice.random_range(0..100) {
            0..30 => {
                let count =
                    if dice.random_bool(0.2) { dice.random_range(4..12) } else { dice.random_range(1..3) };
                Step::Publish { node, group, bodies: (0..count).map(|_| body(dice, node == LIAR)).collect() }
            }
            30..45 => {
                let (a, b) = [(0, 1), (0, 1), (0, 2), (0, 2), (1, 2), (0, LIAR)][dice.random_range(0..6)];
                if connected.contains(&(a, b)) && dice.random_bool(0.4) {
                    connected.retain(|pair| *pair != (a, b));
                    return Step::Disconnect { a, b };
                }
                connected.push((a, b));
                Step::Connect { a, b, lossy: dice.random_bool(0.4) }
            }
            45..75 => Step::Exchange { rounds: dice.random_range(1..5) },
            75..80 => Step::Wait { ms: [5, 200, 11_000][dice.random_range(0..3)] },
            80..90 => Step::Read { node: 0, most: dice.random_range(1..8) },
            90..93 => Step::Join { node, group: GROUPS - 1 },
            93..95 => Step::Leave { node, group: GROUPS - 1 },
            95..98 => Step::Reopen { node },
            _ => Step::Forget { node: 0, peer: dice.random_range(1..LIAR) },
        }
    }
}

/// Mostly short; some are beyond what has its place in a row.
fn body(dice: &mut ChaCha12Rng, bad: bool) -> Vec<u8> {
    let len = match dice.random_range(0..10) {
        0 => dice.random_range(1_000..6_000),
        1..4 => dice.random_range(100..600),
        _ => dice.random_range(0..60),
    };
    let kind: &[u8] = if bad { b"bad " } else { b"good" };
    kind.iter().copied().chain((0..len).map(|_| dice.random())).collect()
}
