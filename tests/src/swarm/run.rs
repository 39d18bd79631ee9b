//! A seed from its first step to its last, and what came of it.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use hedgerow_sync_core::{EngineError, StoreError};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::options::Options;
use super::store::Sabotage;
use super::world::{Stats, World, rng_of};

/// The rule that two runs of a seed are compared by.
pub(super) const DIFFERS: &str = "the same seed gives the same run";

/// What to run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// What everything is drawn from.
    pub seed: u64,
    /// Only so many steps of the safety phase, if it has more.
    pub steps: Option<usize>,
    /// Makes a digest of every frame, event and store.
    pub digest: bool,
    /// What is broken on purpose, at the first node.
    pub sabotage: Option<Sabotage>,
    /// How many lines of the past a failure shows.
    pub trace: usize,
}

/// What came of a seed.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// Everything that was drawn before the first step.
    pub options: Options,
    /// What happened, by kind.
    pub stats: Stats,
    /// How much time passed in the swarm, in ms.
    pub simulated_ms: u64,
    /// How long it took from healing until all agreed, in simulated ms.
    pub agreed_ms: u64,
    /// The digest, if one was asked for.
    pub digest: Option<String>,
    /// The nonces of all sessions and the seeds of all engines: they must not be found in logs.
    pub secrets: Vec<Vec<u8>>,
    /// The texts of all errors that engines gave.
    pub errors: Vec<String>,
    /// What was broken, if anything was.
    pub failed: Option<Failed>,
}

impl Outcome {
    /// Fails unless another run of the same seed was the same.
    pub fn compare(&mut self, again: &Self) {
        if self.failed.is_none() && (self.digest != again.digest || self.stats != again.stats) {
            let text = format!("{:?} and {:?}", self.digest, again.digest);
            self.failed = Some(Failed { rule: DIFFERS, text, step: None, trace: Vec::new() });
        }
    }
}

/// A rule that did not hold.
#[derive(Debug, Clone)]
pub struct Failed {
    /// The rule.
    pub rule: &'static str,
    /// What was found.
    pub text: String,
    /// After how many steps; `None` in the liveness phase.
    pub step: Option<usize>,
    /// What happened last, oldest first.
    pub trace: Vec<String>,
}

/// A rule that does not hold, found inside a run.
#[derive(Debug, thiserror::Error)]
#[error("{rule}: {text}")]
pub(super) struct Broken {
    pub(super) rule: &'static str,
    pub(super) text: String,
}

impl Broken {
    pub(super) fn new(rule: &'static str, text: String) -> Self {
        Self { rule, text }
    }
}

impl From<EngineError> for Broken {
    fn from(error: EngineError) -> Self {
        Self::new("no engine fails", error.to_string())
    }
}

impl From<StoreError> for Broken {
    fn from(error: StoreError) -> Self {
        Self::new("no store fails", error.to_string())
    }
}

/// The randomness of a seed, and what it draws first.
fn draw(seed: u64) -> (Options, ChaCha12Rng) {
    let mut rng = rng_of(seed, 1);
    let options = Options::draw(&mut rng);
    let rest = rng_of(rng.random(), 2);
    (options, rest)
}

/// What a seed draws before its first step.
#[must_use]
pub fn options_of(seed: u64) -> Options {
    draw(seed).0
}

/// Runs a seed. A panic anywhere in it is a failure like others.
#[must_use]
pub fn run_seed(setup: Setup) -> Outcome {
    listen_for_panics();
    let (options, rng) = draw(setup.seed);
    let mut outcome = Outcome {
        seed: setup.seed,
        options: options.clone(),
        stats: Stats::new(),
        simulated_ms: 0,
        agreed_ms: 0,
        digest: None,
        secrets: Vec::new(),
        errors: Vec::new(),
        failed: None,
    };
    let mut world = match World::new(options, rng, setup) {
        Ok(world) => world,
        Err(broken) => {
            let Broken { rule, text } = broken;
            outcome.failed = Some(Failed { rule, text, step: Some(0), trace: Vec::new() });
            return outcome;
        }
    };
    let mut step = Some(0);
    let result = catch_unwind(AssertUnwindSafe(|| go(&mut world, &mut step, &mut outcome.agreed_ms)));
    let broken = match result {
        Ok(Ok(())) => None,
        Ok(Err(broken)) => Some(broken),
        Err(_) => Some(Broken::new("nothing panics", LAST_PANIC.take())),
    };
    outcome.failed = broken.map(|Broken { rule, text }| {
        let trace = world.log.all();
        Failed { rule, text, step, trace }
    });
    outcome.simulated_ms = world.now;
    outcome.digest = world.log.digest();
    outcome.stats = std::mem::take(&mut world.stats);
    outcome.secrets = std::mem::take(&mut world.secrets);
    outcome.errors = std::mem::take(&mut world.errors);
    outcome
}

fn go(world: &mut World, step: &mut Option<usize>, agreed_ms: &mut u64) -> Result<(), Broken> {
    for _ in 0..world.options.first_links {
        world.connect_some()?;
    }
    let steps = world.options.steps.min(world.setup.steps.unwrap_or(usize::MAX));
    for at in 0..steps {
        *step = Some(at + 1);
        world.note(|| format!("step {}", at + 1));
        world.step()?;
    }
    *step = None;
    *agreed_ms = world.come_to_rest()?;
    if world.setup.digest {
        world.digest_stores()?;
    }
    Ok(())
}

/// The fewest first steps of a seed after which it fails, and how it fails then. `None` if it does not fail.
#[must_use]
pub fn smallest_prefix(setup: Setup, failed: &Failed) -> Option<(usize, Failed)> {
    let most = failed.step.unwrap_or(options_of(setup.seed).steps);
    let most = most.min(setup.steps.unwrap_or(usize::MAX));
    (0..=most).find_map(|steps| {
        let failed = run_seed(Setup { steps: Some(steps), ..setup }).failed?;
        Some((steps, failed))
    })
}

thread_local! {
    static LAST_PANIC: RefCell<String> = const { RefCell::new(String::new()) };
    static LISTENING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Keeps the text of a panic for the report instead of printing it.
fn listen_for_panics() {
    static ONCE: Once = Once::new();
    LISTENING.set(true);
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if LISTENING.get() {
                LAST_PANIC.set(info.to_string());
            } else {
                before(info);
            }
        }));
    });
}
