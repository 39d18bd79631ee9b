//! Every limit and period of the engine, with its unit.

use hedgerow_proto::{Dialect, limits};

/// Limits and periods. The defaults suit a phone or a laptop.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// A message whose timestamp is further ahead of our clock than this, in ms, is held back until its time
    /// comes.
    pub max_clock_skew_ms: u64,
    /// How many messages of one group may wait for dependencies or their time, besides those within the shares of
    /// their peers ([`peer_shares`](Self::peer_shares)). Beyond it, what comes is taken for an offer, and asked for
    /// when there is room.
    pub max_parked_messages: u64,
    /// How many body bytes of one group may wait for dependencies or their time, and as many again for a verdict,
    /// besides those within shares.
    pub max_parked_bytes: u64,
    /// How many dependencies the messages that wait in one group may lack together, besides those within shares. A
    /// dependency is counted for each message that lacks it.
    pub max_parked_deps: u64,
    /// How many dependencies of the messages that wait in one group may be unheard of: they are asked of every peer
    /// of the group, and again at every contact. Besides those within shares.
    pub max_wanted: u64,
    /// How many messages of one group may wait for their client's verdict, besides those within shares. A driver
    /// that stops reading links while verdicts are outstanding never comes near it.
    pub max_unvalidated: u64,
    /// Each peer of a group has a share of its own in the five limits above: a part of each in `peer_shares`, or in
    /// as many as the group has peers if these are more. What comes from a peer within its share is never turned
    /// away for what others have sent; what is over the shares takes from the limits themselves. So a group holds at
    /// most twice these limits.
    pub peer_shares: u64,
    /// How many unanswered offers we take from a peer, and at most make to one that says how many it takes.
    pub max_offers: u32,
    /// How many messages we ask of one peer at a time.
    pub max_requests: usize,
    /// How many body bytes may be under way, unacknowledged, on one link.
    pub max_in_flight_bytes: u64,
    /// The largest frame that we take, in bytes.
    pub max_frame: usize,
    /// How many links one peer may have at a time.
    pub max_links: usize,
    /// How many groups a peer may announce on one link.
    pub max_announces: usize,
    /// How many parts without a message in common the stored knowledge of a peer's log may have; the lowest are
    /// forgotten beyond it, which costs an offer each when the peer is met again.
    pub max_spans: usize,
    /// How many messages we ask of one peer in a second on the guess that it may have them, since a message from
    /// somebody else depends on them. Those that it has do not count.
    pub max_guesses: u32,
    /// A request that was not answered for so long, in ms, goes to the next peer.
    pub request_timeout_ms: u64,
    /// A dependency that is awaited for so long, in ms, is reported as missing.
    pub missing_report_ms: u64,
    /// A peer that has not acknowledged something for so long, in ms, is reported.
    pub undelivered_report_ms: u64,
    /// Longest wait between two probes on a lossy link, in ms.
    pub max_probe_ms: u64,
    /// Longest wait before something is sent again that was not answered, in ms, on links that lose frames where the
    /// wire cannot number these.
    pub max_resend_ms: u64,
    /// A peer may be sent again, at once, as many times all that a group holds: what it was sent, offered or told to be
    /// gone before, and asks for again or says that it does not hold. What it acknowledges for the first time counts
    /// twice on top. Beyond it, it waits: nothing is refused.
    pub repeats: u64,
    /// That is at least so many bytes, counted like a cap.
    pub min_repeat_bytes: u64,
    /// In so many ms all of it comes back, steadily.
    pub repeat_period_ms: u64,
    /// What came unasked, as it does from its author, is offered to others after so long, in ms: whoever is a neighbour
    /// of both has it by then. What others ask for, and what is sent to them without an offer, does not wait. 0: none
    /// does.
    pub offer_delay_ms: u64,
    /// Two peers that may differ by more messages of a group than this, and know too little of each other's logs, find out
    /// what they differ by, on reliable links, before they offer anything. `u64::MAX`: never.
    pub reconcile_from: u64,
    /// How often this is done at a time, over all peers and groups. Each takes 24 bytes of memory for each message of the
    /// group; with the others, everything is offered. A peer with two or more than another one gives one up to it.
    pub max_reconciles: usize,
    /// After this time, in ms, it is done again with the same peer in the same group; before, everything is offered. Each
    /// costs a look at each message. A peer may begin it after half of that.
    pub reconcile_interval_ms: u64,
    /// It is given up when the peer is silent for so long, in ms.
    pub reconcile_timeout_ms: u64,
    /// It is given up when so many symbols, of 8 to 11 bytes each, were not enough; two thirds of that is by how much two
    /// peers may differ. No more than twice the messages of a group are said.
    pub max_symbols: u32,
    /// How many ephemeral messages wait for one link; the oldest go first.
    pub max_ephemerals: usize,
    /// What all messages with a body may count for, in bytes: their bodies, and
    /// [`MESSAGE_WEIGHT`](crate::store::MESSAGE_WEIGHT) for each. `u64::MAX`: no cap. At least 263,168.
    pub max_store_bytes: u64,
    /// What the messages of one group may count for, in bytes, if not set for the group
    /// ([`Engine::set_max_bytes`](crate::Engine::set_max_bytes)). `u64::MAX`: no cap. At least 263,168.
    pub max_group_bytes: u64,
    /// What becomes of a dependency that a peer says is held no longer.
    pub horizon: Horizon,
    /// How long such a dependency is awaited all the same, in ms from the peer's word on.
    pub horizon_patience_ms: u64,
}

/// What becomes of a dependency that was pruned elsewhere before it came here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Horizon {
    /// It is taken as delivered, with a gap in its place, when no connected peer is left to ask for it.
    #[default]
    Accept,
    /// It is awaited for ever, and with it what depends on it.
    Never,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_clock_skew_ms: 24 * 3600 * 1000,
            max_parked_messages: 100_000,
            max_parked_bytes: 64 << 20,
            max_parked_deps: 400_000,
            max_wanted: 16_384,
            max_unvalidated: 65_536,
            peer_shares: 16,
            max_offers: 512,
            max_requests: 512,
            max_guesses: 16,
            max_in_flight_bytes: 8 << 20,
            max_frame: limits::DEFAULT_MAX_FRAME,
            max_links: 16,
            max_announces: 16_384,
            max_spans: 4096,
            request_timeout_ms: 10_000,
            missing_report_ms: 60_000,
            undelivered_report_ms: 7 * 24 * 3600 * 1000,
            max_probe_ms: 2_000,
            max_resend_ms: 60_000,
            repeats: 2,
            min_repeat_bytes: 1 << 20,
            repeat_period_ms: 6 * 3600 * 1000,
            offer_delay_ms: 100,
            reconcile_from: 32,
            max_reconciles: 4,
            reconcile_interval_ms: 60_000,
            reconcile_timeout_ms: 30_000,
            max_symbols: 65_536,
            max_ephemerals: 64,
            max_store_bytes: u64::MAX,
            max_group_bytes: u64::MAX,
            horizon: Horizon::Accept,
            horizon_patience_ms: 60_000,
        }
    }
}

/// What the engine must know of the carrier under a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkProfile {
    /// The wire that is spoken on it.
    pub dialect: Dialect,
    /// Whether frames arrive in order, once each, or the link ends. If not, they may be lost, repeated and
    /// reordered, and the engine repairs it.
    pub reliable: bool,
    /// The largest frame that the carrier takes, in bytes.
    pub max_frame: usize,
    /// Whether messages are sent at once or offered first.
    pub push: PushPolicy,
    /// A guess at the round trip, in ms, until one is measured. Lossy links only.
    pub round_trip_ms: u64,
    /// Which ways frames go. A link that goes one way needs a wire without sessions.
    pub direction: Direction,
}

/// Which ways frames go on a link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the peer and from it.
    #[default]
    Both,
    /// To the peer only. What it holds is learned from what it says over other links, if it says anything.
    Out,
    /// From the peer only. What it is owed goes over other links, if there are any.
    In,
}

impl LinkProfile {
    /// A reliable, ordered carrier such as a socket, for the native wire.
    #[must_use]
    pub const fn reliable() -> Self {
        Self {
            dialect: Dialect::Native,
            reliable: true,
            max_frame: limits::DEFAULT_MAX_FRAME,
            push: PushPolicy::Adaptive,
            round_trip_ms: 100,
            direction: Direction::Both,
        }
    }

    /// A carrier for MVDS. `metadata`: whether dependencies are written. With [`PushPolicy::Always`] it is what its
    /// specification calls batch mode, with [`PushPolicy::OfferFirst`] interactive mode.
    #[must_use]
    pub const fn mvds(metadata: bool, push: PushPolicy) -> Self {
        Self { dialect: Dialect::Mvds { metadata }, push, max_frame: limits::MAX_FRAME, ..Self::reliable() }
    }

    /// A plain byte stream for BSP, offering first as its deployed peers do. `priority`: 16 random bytes on the side
    /// that made the stream, none on the other.
    #[must_use]
    pub const fn bramble(priority: Option<[u8; limits::NONCE_LEN]>) -> Self {
        Self {
            dialect: Dialect::Bramble { priority },
            push: PushPolicy::OfferFirst,
            max_frame: limits::DEFAULT_MAX_FRAME,
            ..Self::reliable()
        }
    }

    /// A carrier that goes one way: a drive that is passed on, a broadcast, a receiver without a sender. Messages go at once,
    /// in bundles of at most `max_frame` bytes, and again at each contact as long as the peer has not acknowledged them
    /// over some other link, such as one that goes the other way. If the carrier is not `reliable`, they are also repeated
    /// during a contact, after twice the round trip at first and at longer and longer intervals. A peer cannot have a link of
    /// this kind and one with sessions at the same time.
    #[must_use]
    pub const fn one_way(direction: Direction, reliable: bool, max_frame: usize) -> Self {
        let (dialect, push) = (Dialect::Bundle, PushPolicy::Always);
        Self { dialect, push, direction, reliable, max_frame, ..Self::reliable() }
    }

    /// A carrier that loses frames, of at most `max_frame` bytes each, for the native wire.
    #[must_use]
    pub const fn lossy(max_frame: usize) -> Self {
        Self { reliable: false, max_frame, ..Self::reliable() }
    }
}

/// Whether messages are sent at once or offered first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum PushPolicy {
    /// Send what was written here and no peer is known to hold, offer everything else, and learn from what the peer
    /// asks for, and from what it had already.
    #[default]
    Adaptive,
    /// Send at once.
    Always,
    /// Offer first: for links where a body costs much more than a round trip.
    OfferFirst,
}
