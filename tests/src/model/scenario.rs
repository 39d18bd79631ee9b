//! What is explored: who publishes what, over which links, and how much may go wrong.

use hedgerow_proto::limits;
use hedgerow_sync_core::{Config, LinkProfile, PushPolicy};

/// A message that somebody publishes as soon as its dependencies are delivered there, or any time later.
#[derive(Debug, Clone)]
pub struct Post {
    /// Which node.
    pub by: u8,
    /// Which earlier posts it comes after.
    pub deps: Vec<usize>,
}

/// How often each fault may happen in one run. Together they bound the search; nothing else does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Links that break, all frames on them lost; each end learns of it when it likes.
    pub cuts: u8,
    /// Nodes that stop, lose what was not committed, and are opened again from their store.
    pub crashes: u8,
    /// Frames that are lost (lossy links).
    pub losses: u8,
    /// Frames that arrive and stay under way, to arrive again (lossy links).
    pub repeats: u8,
    /// Timers that fire although frames are still under way.
    pub timers: u8,
    /// Frames that the lying peer says.
    pub lies: u8,
    /// How many frames a link holds in one direction before its carrier takes no more.
    pub capacity: u8,
}

/// What is broken on purpose, to show that the checker sees it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sabotage {
    /// Nothing.
    #[default]
    None,
    /// A store whose last commit before a crash is lost.
    CommitForgets,
    /// A reliable carrier that drops a frame and goes on.
    CarrierDrops,
    /// Acknowledgements say one position more than is held.
    AcksTooMuch,
    /// Frames of a lossy link are acknowledged whether they arrived or not.
    FramesAcknowledgedBlindly,
    /// The application is given everything again after a restart.
    CursorForgotten,
    /// Frames reach the other link of the same node.
    WrongSession,
    /// The client does not say that a message expires.
    ExpiryForgotten,
}

/// One world to explore.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name.
    pub name: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// Honest peers, 2 or 3.
    pub peers: u8,
    /// A peer beside them that says what it likes.
    pub liar: bool,
    /// Who can have a link with whom; the liar's number is that after the last honest one. Two entries for the same
    /// pair are two links at the same time.
    pub pairs: Vec<(u8, u8)>,
    /// What the links are.
    pub profile: LinkProfile,
    /// What the engines are opened with.
    pub config: Config,
    /// What is published.
    pub posts: Vec<Post>,
    /// How long after the start the first post expires on each node's clock, in ms; `None`: never.
    pub expires_ms: Option<u64>,
    /// What the lying peer may say, as a set of bits: those of `liar.rs`, by their numbers.
    pub lies: u32,
    /// How much may go wrong.
    pub budgets: Budgets,
    /// Whether honest peers may refuse each other's records, as they do when they have no room.
    pub refusals: bool,
    /// What is broken on purpose.
    pub sabotage: Sabotage,
    /// From every how many-th state the fair continuation is run; 1 for each.
    pub fair_every: u64,
    /// Only explored by the full run.
    pub full: bool,
}

impl Scenario {
    /// Two peers, one reliable link, no faults: a start for others.
    #[must_use]
    pub fn pair(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            about,
            peers: 2,
            liar: false,
            pairs: vec![(0, 1)],
            profile: LinkProfile::reliable(),
            config: config(),
            posts: Vec::new(),
            expires_ms: None,
            lies: super::liar::ALL_LIES,
            budgets: Budgets { capacity: 2, ..Budgets::default() },
            refusals: false,
            sabotage: Sabotage::None,
            fair_every: 1,
            full: false,
        }
    }

    /// The same over a link that loses, repeats and reorders frames.
    #[must_use]
    pub fn lossy(self) -> Self {
        let profile = LinkProfile { push: self.profile.push, ..LinkProfile::lossy(1200) };
        Self { profile, ..self }
    }

    /// The same with these posts: for each, who writes it and after which.
    #[must_use]
    pub fn posts(self, posts: &[(u8, &[usize])]) -> Self {
        let posts = posts.iter().map(|&(by, deps)| Post { by, deps: deps.to_vec() }).collect();
        Self { posts, ..self }
    }

    /// The same with these budgets.
    #[must_use]
    pub fn budgets(self, budgets: Budgets) -> Self {
        let capacity = if budgets.capacity == 0 { self.budgets.capacity } else { budgets.capacity };
        Self { budgets: Budgets { capacity, ..budgets }, ..self }
    }

    /// The same with messages offered before they are sent.
    #[must_use]
    pub fn offered(mut self) -> Self {
        self.profile.push = PushPolicy::OfferFirst;
        self
    }

    /// The same between three peers.
    #[must_use]
    pub fn three(self, pairs: &[(u8, u8)]) -> Self {
        Self { peers: 3, pairs: pairs.to_vec(), ..self }
    }

    /// The same with these links.
    #[must_use]
    pub fn links(self, pairs: &[(u8, u8)]) -> Self {
        Self { pairs: pairs.to_vec(), ..self }
    }

    /// The same with a lying peer that has a link to each of these nodes.
    #[must_use]
    pub fn with_liar(mut self, at: &[u8]) -> Self {
        self.liar = true;
        let liar = self.peers;
        self.pairs.extend(at.iter().map(|&node| (node, liar)));
        self
    }

    /// The same with a liar that says only these of its lies.
    #[must_use]
    pub fn lying(self, lies: &[u8]) -> Self {
        Self { lies: lies.iter().fold(0, |all, lie| all | 1 << lie), ..self }
    }

    /// The same with a first post that expires so many ms after the start.
    #[must_use]
    pub fn expiring(self, ms: u64) -> Self {
        Self { expires_ms: Some(ms), ..self }
    }

    /// The same, broken on purpose.
    #[must_use]
    pub fn broken(self, sabotage: Sabotage) -> Self {
        Self { sabotage, ..self }
    }

    /// The same, for the full run only.
    #[must_use]
    pub fn full(self) -> Self {
        Self { full: true, ..self }
    }

    /// The same with room for one waiting message only.
    #[must_use]
    pub fn narrow(mut self) -> Self {
        self.config.max_parked_messages = 1;
        self.config.max_parked_bytes = 2 * limits::MAX_BODY as u64;
        self.refusals = true;
        self
    }
}

const CHAIN: &[(u8, &[usize])] = &[(0, &[]), (1, &[0]), (0, &[1])];
const OWN_CHAIN: &[(u8, &[usize])] = &[(0, &[]), (0, &[0]), (0, &[1])];
const TRIANGLE: &[(u8, u8)] = &[(0, 1), (1, 2), (0, 2)];
const LINE: &[(u8, u8)] = &[(0, 1), (1, 2)];

/// Every scenario that is explored, the small ones first.
#[must_use]
pub fn catalogue() -> Vec<Scenario> {
    let mut all = small();
    all.extend(large().into_iter().map(Scenario::full));
    all
}

/// Those of the short run.
fn small() -> Vec<Scenario> {
    let none = Budgets::default();
    vec![
        Scenario::pair("pair", "two peers, three messages that follow each other")
            .posts(CHAIN)
            .budgets(Budgets { capacity: 1, ..none }),
        Scenario::pair("cut", "a link that breaks, which each end learns when it likes")
            .posts(&[(0, &[]), (1, &[])])
            .budgets(Budgets { cuts: 1, capacity: 1, ..none }),
        Scenario::pair("crash", "a node that stops at any moment")
            .posts(&[(0, &[])])
            .budgets(Budgets { crashes: 1, ..none }),
        Scenario::pair("offer", "a link that breaks, with messages offered before they are sent")
            .offered()
            .posts(&[(0, &[]), (0, &[0])])
            .budgets(Budgets { cuts: 1, capacity: 1, ..none }),
        Scenario::pair("fork", "two messages that do not know of each other, and one after both")
            .posts(&[(0, &[]), (1, &[]), (1, &[0, 1])])
            .budgets(Budgets { capacity: 1, ..none }),
        Scenario::pair("lossy", "a lossy link: any order, a loss, a repetition, a timer")
            .lossy()
            .posts(&[(0, &[])])
            .budgets(Budgets { losses: 1, repeats: 1, timers: 1, capacity: 1, ..none }),
        Scenario::pair("lie", "a third peer lies to the first once")
            .posts(&[(0, &[])])
            .with_liar(&[0])
            .budgets(Budgets { lies: 1, capacity: 1, ..none }),
        Scenario::pair("expiry", "a message that expires, at any moment, and one after it")
            .posts(&[(0, &[]), (0, &[0])])
            .expiring(1_000)
            .budgets(Budgets { timers: 2, capacity: 1, ..none }),
        Scenario::pair("tombstone", "a third peer says that messages were pruned everywhere")
            .posts(&[(1, &[]), (1, &[0])])
            .with_liar(&[0])
            .lying(&[8, 10, 13, 14])
            .full()
            .budgets(Budgets { lies: 2, timers: 1, capacity: 1, ..none }),
        Scenario::pair("line", "three peers in a line: what crosses is passed on")
            .three(LINE)
            .posts(&[(0, &[]), (2, &[])])
            .budgets(Budgets { capacity: 1, ..none }),
    ]
}

/// Those of the full run.
fn large() -> Vec<Scenario> {
    let none = Budgets::default();
    vec![
        Scenario::pair("pair-all", "three messages that follow each other, a cut, a crash")
            .posts(CHAIN)
            .budgets(Budgets { cuts: 1, crashes: 1, capacity: 1, ..none }),
        Scenario::pair("offer-all", "three messages offered before they are sent, a cut, a crash, a timer")
            .offered()
            .posts(OWN_CHAIN)
            .budgets(Budgets { cuts: 1, crashes: 1, timers: 1, capacity: 1, ..none }),
        Scenario::pair(
            "fork-all",
            "two messages that do not know of each other, one after both, a cut, a crash",
        )
        .posts(&[(0, &[]), (1, &[]), (1, &[0, 1])])
        .budgets(Budgets { cuts: 1, crashes: 1, capacity: 1, ..none }),
        Scenario::pair("two-links", "two links at the same time, one of which breaks")
            .links(&[(0, 1), (0, 1)])
            .posts(&[(0, &[]), (1, &[])])
            .budgets(Budgets { cuts: 1, capacity: 1, ..none }),
        Scenario::pair("lossy-all", "a lossy link: any order, two losses, a repetition, two timers")
            .lossy()
            .posts(&[(0, &[]), (1, &[0])])
            .budgets(Budgets { losses: 2, repeats: 1, timers: 2, ..none }),
        Scenario::pair("lossy-crash", "a lossy link, a loss, a timer, and a node that stops")
            .lossy()
            .posts(&[(0, &[]), (0, &[0])])
            .budgets(Budgets { losses: 1, crashes: 1, timers: 1, ..none }),
        Scenario::pair("narrow", "a lossy link that reorders, and room for one waiting message")
            .lossy()
            .narrow()
            .posts(OWN_CHAIN)
            .budgets(Budgets { losses: 1, timers: 1, capacity: 3, ..none }),
        Scenario::pair("lies", "a third peer lies to the first twice, and the first stops once")
            .posts(&[(0, &[]), (1, &[0])])
            .with_liar(&[0])
            .budgets(Budgets { lies: 2, crashes: 1, capacity: 1, ..none }),
        Scenario::pair("lies-offered", "a third peer lies to the second, to which messages are offered")
            .offered()
            .posts(&[(0, &[]), (0, &[0])])
            .with_liar(&[1])
            .budgets(Budgets { lies: 2, timers: 1, capacity: 1, ..none }),
        Scenario::pair("lies-lossy", "a third peer lies over a lossy link")
            .lossy()
            .posts(&[(0, &[])])
            .with_liar(&[0])
            .budgets(Budgets { lies: 2, losses: 1, timers: 1, capacity: 1, ..none }),
        Scenario::pair(
            "triangle",
            "three peers, each linked to both others; what comes from elsewhere is offered",
        )
        .three(TRIANGLE)
        .posts(&[(0, &[]), (1, &[0])])
        .budgets(Budgets { capacity: 1, ..none }),
        Scenario::pair("line-crash", "three peers in a line, of which one stops")
            .three(LINE)
            .posts(&[(0, &[]), (0, &[0])])
            .budgets(Budgets { crashes: 1, capacity: 1, ..none }),
    ]
}

/// Offers go out at once: that they might wait a moment only makes more states of the same.
fn config() -> Config {
    let mut config = Config::default();
    config.offer_delay_ms = 0;
    config
}
