//! What is drawn once for a seed.

use std::collections::BTreeSet;

use hedgerow_sync_core::{Config, Horizon};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::store::StoreKind;

/// Everything that a seed decides before the first step. A failure prints all of it.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many honest nodes there are.
    pub nodes: usize,
    /// How many peers make their frames by hand.
    pub liars: usize,
    /// Who judges the messages of each group.
    pub groups: Vec<Judging>,
    /// How many steps the safety phase has.
    pub steps: usize,
    /// How many links there are at the start.
    pub first_links: usize,
    /// How each node is configured: its small limits.
    pub configs: Vec<Config>,
    /// What each node keeps its messages in.
    pub stores: Vec<StoreKind>,
    /// How far each node's clock is off at first, in ms.
    pub skews_ms: Vec<i64>,
    /// All bodies and frames are tiny.
    pub tiny: bool,
    /// Nodes have caps near the least that can be set, and bodies are large.
    pub capped: bool,
    /// Clients name a time for some messages, at which they are gone.
    pub expiring: bool,
    /// Liars say of messages that they were pruned.
    pub false_tombstones: bool,
    /// What links do to frames.
    pub links: LinkOptions,
    /// How long clients think about a message, in ms: drawn between the two.
    pub verdict_delay_ms: (u64, u64),
    /// What happens beside publishing, connecting and waiting.
    pub happens: BTreeSet<Happening>,
    /// What liars do.
    pub deeds: BTreeSet<Deed>,
}

/// What links do to frames, as shares from 0 to 1.
#[derive(Debug, Clone, Copy)]
pub struct LinkOptions {
    /// How many links are reliable.
    pub reliable: f64,
    /// The worst loss on a lossy link.
    pub max_loss: f64,
    /// Frames of lossy links that come again.
    pub duplication: f64,
    /// Frames after which one of an earlier session between the two comes again.
    pub replay: f64,
    /// Frames that are damaged.
    pub corruption: f64,
    /// Damaged and replayed frames reach the engine, as if no cipher stood before it. Otherwise they are dropped on
    /// lossy links and end reliable ones.
    pub bare: bool,
    /// How often a direction of a link is cut.
    pub partitioned: f64,
    /// How often a carrier has no room for the next frame.
    pub congestion: f64,
}

/// Who judges the messages of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judging {
    /// All that are in it.
    All,
    /// Nobody: it is relayed only.
    Nobody,
    /// Every second node; the others relay it.
    Some,
}

impl Judging {
    /// Whether a node judges.
    #[must_use]
    pub fn by(self, node: usize) -> bool {
        match self {
            Self::All => true,
            Self::Nobody => false,
            Self::Some => node.is_multiple_of(2),
        }
    }
}

/// What happens to devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Happening {
    /// A crash, and a restart.
    Crash,
    /// A crash between two frames, before what they brought is committed.
    CrashInside,
    /// A store is copied, or such a copy takes its place.
    Backup,
    /// A store is gone.
    LostStore,
    /// A group is left or joined.
    Leave,
    /// A group is shown, hidden or shared.
    Visibility,
    /// A clock is set, by up to 40 years.
    ClockJump,
    /// A crash of which the others learn late.
    HalfOpen,
    /// A peer is forgotten and added again.
    Forget,
    /// Messages that are not stored.
    Ephemeral,
    /// Clients publish what other clients refuse.
    Invalid,
}

const HAPPENINGS: [Happening; 11] = [
    Happening::Crash,
    Happening::CrashInside,
    Happening::Backup,
    Happening::LostStore,
    Happening::Leave,
    Happening::Visibility,
    Happening::ClockJump,
    Happening::HalfOpen,
    Happening::Forget,
    Happening::Ephemeral,
    Happening::Invalid,
];

/// What a liar does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// Acknowledges what it does not have, and what was never sent.
    FalseAcks,
    /// Offers what does not exist.
    EmptyOffers,
    /// Asks for everything, and for what does not exist.
    AsksAll,
    /// Many messages, or many with parents that never come.
    Floods,
    /// Wrong chain values, announcements that contradict each other, resets.
    WrongChains,
    /// Frames that others sent.
    Replays,
    /// Bytes that are no frame, or one that is damaged.
    Garbage,
    /// Messages that break rules: dependencies of other groups, unsorted, too many, too long, from the far future.
    BadMessages,
    /// Says that it lacks what it has offered.
    Withholds,
    /// HELLOs that ask for the least, or for the impossible.
    OddHello,
}

const DEEDS: [Deed; 10] = [
    Deed::FalseAcks,
    Deed::EmptyOffers,
    Deed::AsksAll,
    Deed::Floods,
    Deed::WrongChains,
    Deed::Replays,
    Deed::Garbage,
    Deed::BadMessages,
    Deed::Withholds,
    Deed::OddHello,
];

pub(super) const YEAR_MS: i64 = 365 * 86_400_000;

impl Options {
    /// Draws them.
    #[must_use]
    pub fn draw(rng: &mut ChaCha12Rng) -> Self {
        let nodes = rng.random_range(3..=12);
        let tiny = rng.random_bool(0.15);
        let judging = [Judging::All, Judging::Nobody, Judging::Some];
        let groups = (0..rng.random_range(1..=3)).map(|_| *pick(rng, &judging)).collect();
        let capped = !tiny && rng.random_bool(0.2);
        let expiring = rng.random_bool(0.15);
        let config = draw_config(rng, tiny, capped);
        let alike = rng.random_bool(0.4);
        let configs: Vec<Config> =
            (0..nodes).map(|_| if alike { config.clone() } else { draw_config(rng, tiny, capped) }).collect();
        // At its word a peer's tombstone is taken, and then it may lie about the place of a message.
        let no_gaps = configs.iter().all(|config| config.horizon == Horizon::Never);
        let disks = *pick(rng, &[0.0, 0.0, 0.0, 0.0, 0.2, 0.5]);
        let stores = (0..nodes)
            .map(|_| match rng.random_bool(disks) {
                false => StoreKind::Memory,
                true => *pick(rng, &[StoreKind::Sqlite, StoreKind::File]),
            })
            .collect();
        let worst_skew = *pick(rng, &[0, 0, 60_000, 3_600_000, 5 * YEAR_MS]);
        let skews_ms = (0..nodes).map(|_| rng.random_range(-worst_skew..=worst_skew)).collect();
        let often = *pick(rng, &[0.0, 0.2, 0.5, 0.8]);
        let liars = *pick(rng, &[0, 0, 1, 1, 2]);
        let lying = *pick(rng, &[0.2, 0.5, 1.0]);
        Self {
            nodes,
            liars,
            groups,
            steps: *pick(rng, &[10, 30, 60, 100, 150]) + rng.random_range(0..20),
            first_links: rng.random_range(0..=2 * nodes),
            configs,
            stores,
            skews_ms,
            tiny,
            capped,
            expiring,
            false_tombstones: no_gaps,
            links: LinkOptions {
                reliable: *pick(rng, &[0.0, 0.3, 0.5, 0.8, 1.0]),
                max_loss: *pick(rng, &[0.0, 0.1, 0.5, 0.8, 0.95]),
                duplication: *pick(rng, &[0.0, 0.1, 0.5]),
                replay: *pick(rng, &[0.0, 0.0, 0.1, 0.5]),
                corruption: *pick(rng, &[0.0, 0.0, 0.01, 0.1]),
                // Damage may make a false claim of a true one.
                bare: rng.random_bool(0.3) && !(capped || expiring),
                partitioned: *pick(rng, &[0.0, 0.0, 0.1, 0.5, 0.9, 0.99]),
                congestion: *pick(rng, &[0.0, 0.0, 0.1, 0.4]),
            },
            verdict_delay_ms: *pick(rng, &[(0, 0), (0, 0), (0, 500), (100, 5_000)]),
            happens: HAPPENINGS.into_iter().filter(|_| rng.random_bool(often)).collect(),
            deeds: DEEDS.into_iter().filter(|_| liars > 0 && rng.random_bool(lying)).collect(),
        }
    }

    /// Whether bodies go that were delivered.
    pub(super) fn prunes(&self) -> bool {
        self.capped || self.expiring
    }
}

/// The least cap, in bytes.
const LEAST_CAP: u64 = 263_168;

/// Small limits, each drawn for itself. New limits of the engine are drawn here.
fn draw_config(rng: &mut ChaCha12Rng, tiny: bool, capped: bool) -> Config {
    let mut config = Config::default();
    if tiny {
        config.max_frame = rng.random_range(256..1_200);
    } else if !capped && rng.random_bool(0.3) {
        // Large bodies would not fit.
        config.max_frame = rng.random_range(4_096..20_000);
    }
    if rng.random_bool(0.4) {
        config.max_offers = rng.random_range(2..600);
    }
    if rng.random_bool(0.2) {
        config.max_offers = rng.random_range(2..6);
    }
    if rng.random_bool(0.4) {
        config.max_requests = rng.random_range(1..20);
    }
    if rng.random_bool(0.3) {
        config.max_parked_messages = rng.random_range(3..40);
    }
    if rng.random_bool(0.1) {
        config.max_parked_bytes = rng.random_range(3_000..20_000) + if capped { 40_000 } else { 0 };
    }
    if rng.random_bool(0.2) {
        config.max_parked_deps = rng.random_range(3..80);
    }
    if rng.random_bool(0.2) {
        config.max_wanted = rng.random_range(1..40);
    }
    if rng.random_bool(0.3) {
        config.peer_shares = *pick(rng, &[1, 2, 4, 64]);
    }
    if rng.random_bool(0.2) {
        config.max_guesses = rng.random_range(1..4);
    }
    if rng.random_bool(0.1) {
        config.max_links = rng.random_range(1..4);
    }
    if rng.random_bool(0.3) {
        config.horizon = Horizon::Never;
    }
    config.horizon_patience_ms = *pick(rng, &[0, 1_000, 60_000]);
    if capped && rng.random_bool(0.6) {
        config.max_store_bytes = LEAST_CAP + *pick(rng, &[0, 1, 50_000, 300_000]);
    }
    if capped && rng.random_bool(0.6) {
        config.max_group_bytes = LEAST_CAP + *pick(rng, &[0, 1, 50_000, 300_000]);
    }
    if rng.random_bool(0.2) {
        config.max_unvalidated = rng.random_range(2..20);
    }
    if rng.random_bool(0.3) {
        config.max_in_flight_bytes = rng.random_range(1..20_000);
    }
    if rng.random_bool(0.2) {
        config.max_spans = rng.random_range(1..10);
    }
    if rng.random_bool(0.2) {
        config.max_ephemerals = rng.random_range(1..4);
    }
    if rng.random_bool(0.3) {
        config.repeats = rng.random_range(0..2);
        config.min_repeat_bytes = rng.random_range(4_000..20_000);
        // What waits for it must be through before the patience of the healed is over.
        config.repeat_period_ms = 5_000;
    }
    if rng.random_bool(0.5) {
        config.reconcile_from = rng.random_range(1..8);
        config.max_reconciles = *pick(rng, &[1, 4, 100]);
        config.reconcile_interval_ms = *pick(rng, &[0, 1_000, 60_000]);
        config.reconcile_timeout_ms = *pick(rng, &[10, 1_000, 30_000]);
        config.max_symbols = *pick(rng, &[5, 100, 65_536]);
    }
    config
}

pub(super) fn pick<'a, T>(rng: &mut ChaCha12Rng, from: &'a [T]) -> &'a T {
    &from[rng.random_range(0..from.len())]
}
