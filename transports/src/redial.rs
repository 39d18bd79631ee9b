//! Keeping in touch with one peer: dialling until there is a link, and again when it ends.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hedgerow_proto::PeerId;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::{Address, Backoff, CloseReason, Link, LinkError, Transport, TransportError};

/// No wait is shorter, in ms, whatever the settings: who hangs up at once must not have us dial all the time.
const MIN_WAIT_MS: u64 = 10;
/// The longest wait, in ms, if another device uses our key: about a quarter of an hour.
const REPLACED_CAP_MS: u64 = 900_000;

/// Settings of a [`Redial`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedialConfig {
    /// The shortest wait after all addresses have failed, in ms. No wait at all is shorter than 10. Default: 250.
    pub base_ms: u64,
    /// The longest wait, in ms. Default: 60,000.
    pub cap_ms: u64,
    /// About how long to wait after the peer has said that we are not among its contacts, in ms: it may add us at
    /// any time, but there is no hurry. Default: 30,000.
    pub refused_ms: u64,
    /// A link that lived at least this long, in ms, begins the waits anew. Default: 10,000.
    pub stable_ms: u64,
    /// What the random part of the waits is drawn from.
    pub seed: u64,
}

impl Default for RedialConfig {
    fn default() -> Self {
        Self { base_ms: 250, cap_ms: 60_000, refused_ms: 30_000, stable_ms: 10_000, seed: 0 }
    }
}

/// A try that did not come to a link.
#[derive(Debug, Clone)]
pub struct DialFailure {
    /// Where it was tried.
    pub address: Address,
    /// Why it failed.
    pub error: TransportError,
}

type Dialling = Pin<Box<dyn Future<Output = Result<Box<dyn Link>, TransportError>> + Send>>;

/// Keeps dialling one peer, at all its addresses in turn, with growing waits in between.
///
/// ```no_run
/// # async fn example(transport: std::sync::Arc<dyn hedgerow_transports::Transport>,
/// #     peer: hedgerow_proto::PeerId, address: hedgerow_transports::Address) {
/// use hedgerow_transports::{Redial, RedialConfig};
///
/// let mut redial = Redial::new(vec![transport], peer, vec![address], RedialConfig::default());
/// loop {
///     let (_sender, mut receiver) = redial.next().await.split();
///     let why = loop {
///         if let Err(error) = receiver.recv().await {
///             break error;
///         }
///     };
///     redial.ended(&why);
/// }
/// # }
/// ```
pub struct Redial {
    transports: Vec<Arc<dyn Transport>>,
    peer: PeerId,
    config: RedialConfig,
    backoff: Backoff,
    handle: RedialHandle,
    /// Addresses of this round that are still to be tried, last one first.
    round: Vec<Address>,
    dialling: Option<(Address, Dialling)>,
    wait_until: Option<Instant>,
    /// How many links in a row the peer has ended in favour of another one with our key.
    replaced: u32,
    /// Since when the link that was given out last is up.
    up_since: Option<Instant>,
}

/// A handle to a [`Redial`] that is waiting in `next`. Clones belong to the same one.
#[derive(Clone)]
pub struct RedialHandle(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// `woken` was set.
    wake: Notify,
}

struct State {
    addresses: Vec<Address>,
    last_error: Option<DialFailure>,
    refused: bool,
    /// Somebody wants the next wait, or the one that is on, to end.
    woken: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until somebody wants the wait to end. Cancel safe.
    async fn woken(&self) {
        // A notification may be left over from one who was heard already, so that it alone says nothing.
        while !std::mem::take(&mut self.state().woken) {
            self.wake.notified().await;
        }
    }
}

impl Redial {
    /// Begins with a try at once, when [`Redial::next`] is called. Each address is served by the first of the
    /// transports that has its scheme.
    #[must_use]
    pub fn new(
        transports: Vec<Arc<dyn Transport>>,
        peer: PeerId,
        addresses: Vec<Address>,
        config: RedialConfig,
    ) -> Self {
        let state = State { addresses: addresses.clone(), last_error: None, refused: false, woken: false };
        let handle = RedialHandle(Arc::new(Shared { state: Mutex::new(state), wake: Notify::new() }));
        let backoff = Backoff::new(config.base_ms, config.cap_ms, config.seed);
        let mut redial = Self {
            transports,
            peer,
            config,
            backoff,
            handle,
            round: Vec::new(),
            dialling: None,
            wait_until: None,
            replaced: 0,
            up_since: None,
        };
        redial.begin_round();
        redial
    }

    /// A handle for whoever does not hold the `Redial` itself.
    #[must_use]
    pub fn handle(&self) -> RedialHandle {
        self.handle.clone()
    }

    /// The peer that is dialled.
    #[must_use]
    pub const fn peer(&self) -> PeerId {
        self.peer
    }

    /// Tries until there is a link. If the link given out last has not been reported as [ended](Redial::ended), it
    /// is taken to end now.
    ///
    /// # Cancel safety
    /// Safe: a dial in progress and the time already waited are kept for the next call.
    pub async fn next(&mut self) -> Box<dyn Link> {
        if self.up_since.is_some() {
            self.ended(&LinkError::Lost);
        }
        loop {
            if let Some(until) = self.wait_until {
                tokio::select! {
                    biased;
                    () = self.handle.0.woken() => self.backoff.reset(),
                    () = sleep_until(until) => {}
                }
                self.wait_until = None;
                self.begin_round();
            }
            if self.dialling.is_none() {
                let Some(address) = self.round.pop() else {
                    self.wait_ms_from_now(None);
                    continue;
                };
                let dialling = self.dial(address.clone());
                self.dialling = Some((address, dialling));
            }
            let Some((_, dialling)) = &mut self.dialling else { continue };
            let dialled = dialling.await;
            let address = self.dialling.take().map(|(address, _)| address);
            match dialled {
                Ok(link) => {
                    self.handle.state().last_error = None;
                    self.up_since = Some(Instant::now());
                    return link;
                }
                Err(error) => {
                    tracing::debug!(peer = %self.peer.short(), %error, "dial failed");
                    self.handle.state().last_error = address.map(|address| DialFailure { address, error });
                }
            }
        }
    }

    /// Says that the link given out last has ended, and why. What decides how long the next try waits: whether
    /// the link lived long, and whether the peer refused us.
    pub fn ended(&mut self, why: &LinkError) {
        let Some(since) = self.up_since.take() else { return };
        let reason = why.close_reason();
        let refused = reason == Some(CloseReason::NotAContact);
        let mut state = self.handle.state();
        state.refused = refused;
        // Who wanted a try got it: there was a link.
        state.woken = false;
        drop(state);
        let stable = since.elapsed() >= Duration::from_millis(self.config.stable_ms);
        if stable {
            self.backoff.reset();
        }
        match reason {
            Some(CloseReason::Duplicate) => self.replaced = self.replaced.saturating_add(1),
            _ if stable => self.replaced = 0,
            _ => {}
        }
        let near_ms = match reason {
            Some(CloseReason::NotAContact) => Some(self.config.refused_ms),
            // Two devices with one key would take the link from each other for ever, however long each has it.
            Some(CloseReason::Duplicate) if self.replaced > 1 => Some(self.replaced_ms()),
            _ => None,
        };
        self.wait_ms_from_now(near_ms);
    }

    /// Says that there is a link to the peer that was not dialled here, so that a link of ours which the peer has ended
    /// in favour of another was not one too many of a stranger's: the waits for that case begin anew.
    pub fn met_otherwise(&mut self) {
        if std::mem::take(&mut self.replaced) > 1 && self.wait_until.is_some() {
            self.backoff.reset();
            self.wait_ms_from_now(None);
        }
    }

    /// How many links in a row the peer has ended in favour of another one
    /// ([`CloseReason::Duplicate`]). More than one, without any link of the peer's own, tells that another device uses
    /// the same key.
    #[must_use]
    pub const fn replaced(&self) -> u32 {
        self.replaced
    }

    /// Four times as long with each link that another one took the place of.
    fn replaced_ms(&self) -> u64 {
        let factor = 4_u64.saturating_pow(self.replaced);
        self.config.base_ms.max(1).saturating_mul(factor).min(REPLACED_CAP_MS)
    }

    /// The same as [`RedialHandle::wake`].
    pub fn wake(&self) {
        self.handle.wake();
    }

    /// The same as [`RedialHandle::last_error`].
    #[must_use]
    pub fn last_error(&self) -> Option<DialFailure> {
        self.handle.last_error()
    }

    fn wait_ms_from_now(&mut self, near_ms: Option<u64>) {
        let wait = match near_ms {
            Some(ms) => self.backoff.near_ms(ms),
            None => self.backoff.next_ms(),
        };
        let wait = wait.max(MIN_WAIT_MS);
        // A year, so that no setting overflows the clock.
        let wait = Duration::from_millis(wait).min(Duration::from_hours(24 * 365));
        self.wait_until = Some(Instant::now() + wait);
    }

    fn begin_round(&mut self) {
        self.round.clone_from(&self.handle.state().addresses);
        self.round.reverse();
    }

    fn dial(&self, address: Address) -> Dialling {
        let peer = self.peer;
        match self.transports.iter().find(|transport| transport.scheme() == address.scheme()) {
            Some(transport) => {
                let transport = transport.clone();
                Box::pin(async move { transport.dial(&address, peer).await })
            }
            None => Box::pin(async move {
                Err(TransportError::Unresolvable {
                    address,
                    reason: "no transport serves this scheme".to_owned(),
                })
            }),
        }
    }
}

impl fmt::Debug for Redial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redial")
            .field("peer", &self.peer)
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

impl RedialHandle {
    /// Ends the wait: all addresses are tried at once, and waits begin small again. If a round is under way,
    /// another follows it unless it comes to a link. Does nothing for the wait after a link that is up.
    pub fn wake(&self) {
        self.state().woken = true;
        self.0.wake.notify_one();
    }

    /// Sets the addresses of the peer. If any is new, they are tried at once.
    pub fn set_addresses(&self, addresses: Vec<Address>) {
        let mut state = self.state();
        let is_new = addresses.iter().any(|address| !state.addresses.contains(address));
        state.addresses = addresses;
        drop(state);
        if is_new {
            self.wake();
        }
    }

    /// The addresses that are tried.
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        self.state().addresses.clone()
    }

    /// Why the last try failed; None after a success and before the first failure.
    #[must_use]
    pub fn last_error(&self) -> Option<DialFailure> {
        self.state().last_error.clone()
    }

    /// Whether the peer ended the last link because we are not among its contacts.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.state().refused
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state()
    }
}

impl fmt::Debug for RedialHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("RedialHandle")
            .field("addresses", &state.addresses)
            .field("last_error", &state.last_error)
            .field("refused", &state.refused)
            .finish()
    }
}
