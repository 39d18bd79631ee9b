//! The engine: inputs are method calls that carry the time, outputs are polled.

mod audit;
#[cfg(feature = "testing")]
mod books;
mod chains;
mod edges;
mod facts;
#[cfg(feature = "testing")]
mod fingerprint;
mod gate;
mod groups;
mod idqueue;
mod in_step;
mod lossy;
mod parents;
mod quota;
mod read;
mod receive;
mod reconcile;
mod repeats;
mod resend;
mod retention;
mod session;
mod shorts;
mod sound;
mod state;
mod transmit;
mod turned;
mod unasked;
mod unnamed;
mod waits;
mod wants;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hedgerow_proto::{GroupId, Message, MessageId, PeerId, Visibility};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha12Rng;

pub use self::audit::Outstanding;
use self::edges::Edges;
#[cfg(feature = "testing")]
pub use self::fingerprint::fingerprint_rows;
use self::reconcile::Run;
use self::retention::{Ledger, check_cap};
use self::shorts::Shorts;
use self::state::{Group, Link, Peer, PeerGroup};
use self::waits::Waits;
use self::wants::Wants;
use crate::config::Config;
use crate::error::{EngineError, Rule};
use crate::event::{Event, Traffic};
use crate::seeded::SeededMap;
use crate::small::{SmallMap, SmallSet};
use crate::store::{AuthorNum, GroupNum, MessageNum, MessageState, PeerGroupRow, PeerNum, Store, StoreError};
use crate::time::Time;

/// Names a link for as long as it is up; never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(u64);

/// The sync engine of one device: who has what, what is due to whom, and in which order messages are delivered.
///
/// It is a plain value. It has no thread, socket or clock, and its randomness comes from a seed: the same calls
/// give the same outputs, byte for byte. A driver
///
/// 1. feeds everything that waits: [`link_up`](Self::link_up), [`link_down`](Self::link_down),
///    [`receive`](Self::receive), [`publish`](Self::publish), [`judge`](Self::judge),
///    [`handle_timeout`](Self::handle_timeout);
/// 2. polls [`poll_event`](Self::poll_event) until `None`;
/// 3. for each [`poll_link`](Self::poll_link), polls [`poll_transmit`](Self::poll_transmit) while the carrier can
///    take bytes, until `None`;
/// 4. waits for input, at most until [`poll_timeout`](Self::poll_timeout).
///
/// Everything fed before the first poll is one transaction, which that poll commits: nothing that the engine says
/// is ahead of what its store holds durably. Frames are pulled, never queued, so a slow peer costs no memory.
///
/// When a call fails with [`EngineError::Store`] the engine is at odds with its store and only gives errors; drop
/// it and open another one from the store. Nothing that a peer was told is lost by that.
///
/// ```
/// use hedgerow_proto::{GroupDescriptor, PeerId, Visibility};
/// use hedgerow_sync_core::{Config, Draft, Engine, LinkProfile, MemoryStore, Time};
///
/// let now = Time(1_700_000_000_000);
/// let (a, b) = (PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]));
/// let mut ann = Engine::open(MemoryStore::new(), Config::default(), [1; 32], now)?;
/// let mut bob = Engine::open(MemoryStore::new(), Config::default(), [2; 32], now)?;
/// let descriptor = GroupDescriptor::new("org.example.chat", 0, vec![])?;
/// let group = ann.add_group(&descriptor, false)?;
/// bob.add_group(&descriptor, false)?;
/// ann.set_visibility(b, group, Visibility::Shared)?;
/// bob.set_visibility(a, group, Visibility::Shared)?;
/// let draft = Draft { timestamp_ms: now.as_timestamp_ms(), deps: vec![], body: "hello".into() };
/// ann.publish(group, draft, now)?;
///
/// let to_bob = ann.link_up(b, LinkProfile::reliable(), now)?;
/// let to_ann = bob.link_up(a, LinkProfile::reliable(), now)?;
/// loop {
///     let from_ann = ann.poll_transmit(to_bob, now, 65_536)?;
///     let from_bob = bob.poll_transmit(to_ann, now, 65_536)?;
///     if from_ann.is_none() && from_bob.is_none() {
///         break;
///     }
///     if let Some(frame) = from_ann {
///         bob.receive(to_ann, frame, now)?;
///     }
///     if let Some(frame) = from_bob {
///         ann.receive(to_bob, frame, now)?;
///     }
/// }
/// assert_eq!(bob.entry(group, 1)?.unwrap().body.unwrap(), "hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Engine<S> {
    store: S,
    config: Config,
    rng: ChaCha12Rng,
    install: u64,
    poisoned: bool,
    /// Something was written since the last commit.
    dirty: bool,
    groups: SmallMap<GroupNum, Group>,
    group_nums: BTreeMap<GroupId, GroupNum>,
    /// Numbers of authors that were looked up.
    authors: BTreeMap<(GroupNum, [u8; 32]), AuthorNum>,
    /// Who takes how much of the store, while a cap is set.
    ledger: Option<Ledger>,
    /// Something was turned away for lack of room under the store's cap, and there is none yet.
    store_full: bool,
    peers: SmallMap<PeerNum, Peer>,
    peer_nums: BTreeMap<PeerId, PeerNum>,
    last_nums: (u32, u32),
    links: SmallMap<LinkId, Link>,
    last_link: u64,
    wants: Wants,
    shorts: Shorts,
    waits: Waits,
    edges: Edges,
    /// What came unasked a moment ago and is not delivered yet, and until when it would not be offered.
    unasked: SeededMap<MessageNum, Time>,
    /// With whom it is being found out what we differ by.
    reconciles: BTreeMap<(PeerNum, GroupNum), Run>,
    /// Which peers are known to hold a message that is not delivered here, and since which session: what a peer
    /// held before its latest one may be gone, and positions, which it states anew, are not known of these.
    holders: SeededMap<MessageNum, Vec<(PeerNum, u64)>>,
    events: VecDeque<Event>,
    /// Where to go on asking for verdicts that an earlier engine was not given.
    validate_after: Option<MessageNum>,
    /// Groups that something was delivered in since the last commit.
    changed_groups: SmallSet<GroupNum>,
    /// Pairs whose rows changed since the last commit.
    changed_pairs: SmallSet<(PeerNum, GroupNum)>,
    /// Groups with `Delivered` events to give.
    fresh_groups: SmallSet<GroupNum>,
    /// Groups with `Pruned` events to give.
    pruned_groups: BTreeSet<GroupNum>,
    /// Pairs with `PeerHas` events to give.
    grown_pairs: SmallSet<(PeerNum, GroupNum)>,
    link_queue: VecDeque<LinkId>,
    timers: BTreeSet<(Time, Timer)>,
    /// When the first of the held messages expires.
    expiry_at: Option<Time>,
    /// What crossed links that are down.
    traffic: Traffic,
    /// The time of the latest input that carried one.
    now: Time,
}

/// What came of a record: the rule that it broke if that ends the link, unless the store failed.
type Taken = Result<Result<(), Rule>, EngineError>;

/// What is to be done at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    /// The timer of a link that loses frames.
    Link(LinkId),
    /// A message that is awaited: ask the next peer, or report it.
    Want(MessageId),
    /// A message's time has come.
    Early(MessageNum),
    /// What was turned away and is asked for again should have come.
    CallBack(PeerNum, GroupNum),
    /// A peer may be asked again for what it is only guessed to have.
    Guess(PeerNum),
    /// A peer may be sent something again.
    Repeat(PeerNum, GroupNum),
    /// A peer lacks something for too long.
    Behind(PeerNum, GroupNum),
    /// A peer was silent while it was to be found out what we differ by.
    Reconcile(PeerNum, GroupNum),
    /// The time of a message is over.
    Expiry,
    /// What came unasked may be offered.
    Unasked(GroupNum),
}

impl<S: Store> Engine<S> {
    /// Opens the engine on a store, new or used. `seed` is all the randomness it will ever use: give it 32 fresh
    /// random bytes, or a fixed seed in tests and simulations.
    ///
    /// # Errors
    /// When the store fails or is damaged, or a cap in the configuration is too small.
    pub fn open(store: S, config: Config, seed: [u8; 32], now: Time) -> Result<Self, EngineError> {
        check_cap(config.max_store_bytes)?;
        check_cap(config.max_group_bytes)?;
        let snapshot = store.load()?;
        let rng = ChaCha12Rng::from_seed(seed);
        // What links draw does not depend on it.
        let mut own_stream = rng.clone();
        own_stream.set_stream(1);
        let mut engine = Self {
            store,
            config,
            rng,
            install: 0,
            poisoned: false,
            dirty: false,
            groups: SmallMap::new(),
            group_nums: BTreeMap::new(),
            authors: BTreeMap::new(),
            ledger: None,
            store_full: false,
            peers: SmallMap::new(),
            peer_nums: BTreeMap::new(),
            last_nums: snapshot.last_nums,
            links: SmallMap::new(),
            last_link: 0,
            wants: Wants::default(),
            shorts: Shorts::new(own_stream),
            waits: Waits::default(),
            edges: Edges::default(),
            unasked: SeededMap::default(),
            holders: SeededMap::default(),
            reconciles: BTreeMap::new(),
            events: VecDeque::new(),
            validate_after: Some(MessageNum(0)),
            changed_groups: SmallSet::new(),
            changed_pairs: SmallSet::new(),
            fresh_groups: SmallSet::new(),
            pruned_groups: BTreeSet::new(),
            grown_pairs: SmallSet::new(),
            link_queue: VecDeque::new(),
            timers: BTreeSet::new(),
            expiry_at: None,
            traffic: Traffic::default(),
            now,
        };
        match snapshot.install {
            Some(install) => engine.install = install,
            None => {
                engine.install = engine.rng.next_u64();
                engine.store.set_install(engine.install)?;
                engine.dirty = true;
            }
        }
        engine.restore(snapshot, now)?;
        Ok(engine)
    }

    /// The store. What was not committed is in it too, but for who waits for whom.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Gives the store back. What was not committed is lost when it is dropped.
    #[must_use]
    pub fn into_store(self) -> S {
        self.store
    }

    /// Makes everything fed so far durable. Polling does it too.
    ///
    /// # Errors
    /// When the store fails; then the engine is to be opened again.
    pub fn commit(&mut self) -> Result<(), EngineError> {
        self.usable()?;
        let result = self.write_back();
        self.guard(result)
    }

    /// A link that may have something to send, each once until something new happens to it.
    pub fn poll_link(&mut self) -> Option<LinkId> {
        self.spread_news();
        while let Some(id) = self.link_queue.pop_front() {
            if let Some(link) = self.links.get_mut(&id) {
                link.queued = false;
                return Some(id);
            }
        }
        None
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due next; `None` while nothing is outstanding.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.timers.first().map(|&(at, _)| at)
    }

    /// Does what is due by `now`.
    ///
    /// # Errors
    /// When the store fails.
    pub fn handle_timeout(&mut self, now: Time) -> Result<(), EngineError> {
        self.usable()?;
        self.now = now;
        while let Some(&(at, timer)) = self.timers.first()
            && at <= now
        {
            self.timers.pop_first();
            let result = match timer {
                Timer::Link(link) => {
                    self.link_timeout(link, now);
                    Ok(())
                }
                Timer::Want(id) => self.want_timeout(id, now),
                Timer::Early(num) => self.early_timeout(num, now),
                Timer::CallBack(peer, group) => {
                    self.call_timeout(peer, group);
                    Ok(())
                }
                Timer::Guess(peer) => {
                    self.guess_timeout(peer);
                    Ok(())
                }
                Timer::Repeat(peer, group) => {
                    self.repeat_timeout(peer, group);
                    Ok(())
                }
                Timer::Behind(peer, group) => {
                    self.behind_timeout(peer, group, now);
                    Ok(())
                }
                Timer::Reconcile(peer, group) => {
                    self.reconcile_timeout(peer, group);
                    Ok(())
                }
                Timer::Expiry => self.expire(),
                Timer::Unasked(group) => {
                    self.offer_unasked(group, now);
                    Ok(())
                }
            };
            self.guard(result)?;
        }
        Ok(())
    }

    /// The next thing that happened. What the event speaks of is durable.
    ///
    /// # Errors
    /// When the store fails.
    pub fn poll_event(&mut self) -> Result<Option<Event>, EngineError> {
        self.commit()?;
        if self.events.is_empty() {
            let result = self.ask_again();
            self.guard(result)?;
        }
        if let Some(event) = self.events.pop_front() {
            return Ok(Some(event));
        }
        while let Some(num) = self.fresh_groups.pop_first() {
            if let Some(group) = self.groups.get_mut(&num)
                && let Some(first) = group.delivered_from.take()
            {
                return Ok(Some(Event::Delivered { group: group.id, first, last: group.head }));
            }
        }
        while let Some(num) = self.pruned_groups.pop_first() {
            if let Some(group) = self.groups.get_mut(&num) {
                let positions = std::mem::take(&mut group.fresh_pruned).spans().collect();
                return Ok(Some(Event::Pruned { group: group.id, positions }));
            }
        }
        while let Some((peer_num, num)) = self.grown_pairs.pop_first() {
            let (Some(peer), Some(group)) = (self.peers.get_mut(&peer_num), self.groups.get(&num)) else {
                continue;
            };
            if let Some(pair) = peer.groups.get_mut(&num)
                && std::mem::take(&mut pair.has_grew)
            {
                return Ok(Some(Event::PeerHas { peer: peer.id, group: group.id, count: pair.has.len() }));
            }
        }
        Ok(None)
    }

    /// Rows and counts of small things, from the store.
    fn restore(&mut self, snapshot: crate::store::Snapshot, now: Time) -> Result<(), EngineError> {
        for row in snapshot.groups {
            self.restore_group(row)?;
        }
        for row in snapshot.peers {
            self.peer_nums.insert(row.id, row.num);
            self.peers.insert(row.num, Peer::new(row.id, row.install));
        }
        let mut pairs = Vec::with_capacity(snapshot.peer_groups.len());
        for row in snapshot.peer_groups {
            pairs.push((row.peer, row.group));
            self.restore_pair(row)?;
        }
        for state in [
            MessageState::Wanted,
            MessageState::Unvalidated,
            MessageState::Waiting,
            MessageState::Early,
            MessageState::Invalid,
            MessageState::Pruned,
            MessageState::Lapsed,
            MessageState::Gap,
        ] {
            let mut after = MessageNum(0);
            loop {
                let rows = self.store.in_state(state, after, 256)?;
                let Some(last) = rows.last() else { break };
                after = last.num;
                for row in rows {
                    self.restore_message(&row, now)?;
                }
            }
        }
        for group in self.groups.values_mut() {
            group.counts.enter_delivered(group.head);
        }
        // What is behind us only now is what a peer may lack.
        for (peer, group) in pairs {
            self.note_behind(peer, group, now);
        }
        self.open_ledger()?;
        self.arm_expiry()?;
        self.expire()?;
        self.enforce_caps()
    }

    fn restore_message(&mut self, row: &crate::store::MessageRow, now: Time) -> Result<(), EngineError> {
        self.count_in(row);
        match row.state {
            MessageState::Wanted => {
                let origin = self.count_wanted(row)?;
                self.want_dependency(row.id, row.group, origin, now, now);
            }
            MessageState::Early => self.set_early_timer(row),
            MessageState::Lapsed if row.missing == 0 => self.set_early_timer(row),
            _ => {}
        }
        Ok(())
    }

    fn restore_pair(&mut self, row: PeerGroupRow) -> Result<(), EngineError> {
        let damaged = || StoreError::Corrupt(format!("the positions of {:?} in {:?}", row.peer, row.group));
        let (Some(peer), Some(group)) = (self.peers.get_mut(&row.peer), self.groups.get_mut(&row.group))
        else {
            return Err(damaged().into());
        };
        let pair = PeerGroup {
            visibility: row.visibility,
            has: crate::SpanSet::from_bytes(&row.has).ok_or_else(damaged)?,
            got: crate::SpanSet::from_bytes(&row.got).ok_or_else(damaged)?,
            mark: row.mark,
            mark_chain: row.mark_chain,
            ..PeerGroup::default()
        };
        if row.visibility != Visibility::Invisible {
            group.peers.insert(row.peer);
        }
        peer.groups.insert(row.group, Box::new(pair));
        Ok(())
    }

    /// Asks for the verdicts on messages that were stored before this engine was opened, some at a time.
    fn ask_again(&mut self) -> Result<(), EngineError> {
        let Some(after) = self.validate_after else { return Ok(()) };
        let rows = self.store.in_state(MessageState::Unvalidated, after, 64)?;
        self.validate_after = rows.last().map(|row| row.num);
        for row in rows {
            self.ask_verdict(&row)?;
        }
        Ok(())
    }

    fn ask_verdict(&mut self, row: &crate::store::MessageRow) -> Result<(), EngineError> {
        let Some(group) = self.groups.get(&row.group) else { return Ok(()) };
        let Some(content) = self.sound_content(row)? else { return Ok(()) };
        let deps = content.deps.iter().map(|dep| dep.id).collect();
        let Some(body) = content.body else { return Ok(()) };
        let message = Message::new(group.id, row.timestamp_ms, deps, body)
            .map_err(|e| StoreError::Corrupt(format!("message {}: {e}", row.id)))?;
        self.events.push_back(Event::Validate { id: row.id, message });
        Ok(())
    }

    fn usable(&self) -> Result<(), EngineError> {
        if self.poisoned { Err(EngineError::Poisoned) } else { Ok(()) }
    }

    /// Stops the engine when the store failed.
    fn guard<T>(&mut self, result: Result<T, EngineError>) -> Result<T, EngineError> {
        if matches!(result, Err(EngineError::Store(_))) {
            self.poisoned = true;
        }
        result
    }

    /// Writes the rows that changed and commits.
    fn write_back(&mut self) -> Result<(), EngineError> {
        if self.is_over_cap() {
            self.enforce_caps()?;
        }
        self.spread_news();
        while let Some(num) = self.changed_groups.pop_first() {
            let Some(group) = self.groups.get_mut(&num) else { continue };
            self.store.set_head(num, group.head, group.chain, group.counts.body_bytes)?;
            if !group.changed_heads.is_empty() {
                let (removed, added) = group.take_changed_heads();
                self.store.change_heads(num, &removed, &added)?;
            }
        }
        self.write_edges()?;
        while let Some((peer, group)) = self.changed_pairs.pop_first() {
            self.save_pair(peer, group, false)?;
        }
        if self.dirty {
            self.store.commit()?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Writes the row of a pair. One with many spans is written every few commits only, unless `now`: what it
    /// lacks after a crash is offered and acknowledged again.
    fn save_pair(&mut self, peer_num: PeerNum, group: GroupNum, now: bool) -> Result<(), EngineError> {
        let max_spans = self.config.max_spans.max(1);
        let Some(pair) = self.peers.get_mut(&peer_num).and_then(|peer| peer.groups.get_mut(&group)) else {
            return Ok(());
        };
        pair.unsaved += 1;
        let spans = pair.has.span_count() + pair.got.span_count();
        if !now && pair.unsaved < spans / 128 {
            return Ok(());
        }
        pair.unsaved = 0;
        while pair.got.span_count() > max_spans {
            pair.got.forget_lowest();
        }
        self.store.put_peer_group(&PeerGroupRow {
            peer: peer_num,
            group,
            visibility: pair.visibility,
            has: pair.has.to_bytes(),
            got: pair.got.to_bytes(),
            mark: pair.mark,
            mark_chain: pair.mark_chain,
        })?;
        self.dirty = true;
        Ok(())
    }

    /// Tells links that something was delivered which their peers may lack.
    fn spread_news(&mut self) {
        if self.changed_groups.is_empty() {
            return;
        }
        self.note_store_room();
        // Whoever lacks something already and has no link learns nothing by it, and most peers are away.
        let concerns = |group: &Group, peer: &PeerNum| {
            self.peers.get(peer).is_some_and(|state| {
                let behind = state.groups.get(&group.num).is_some_and(|pair| pair.behind.is_some());
                !(behind && group.gone.is_empty() && state.links.is_empty())
            })
        };
        let news: Vec<(GroupNum, PeerNum)> = self
            .changed_groups
            .iter()
            .filter_map(|num| self.groups.get(num))
            .flat_map(|group| group.peers.iter().map(move |&peer| (group, peer)))
            .filter(|(group, peer)| concerns(group, peer))
            .map(|(group, peer)| (group.num, peer))
            .collect();
        for (group, peer) in news {
            self.note_behind(peer, group, self.now);
            self.wake(peer, group);
        }
    }

    /// Notes that there may be something to say to a peer about a group.
    fn wake(&mut self, peer: PeerNum, group: GroupNum) {
        let Some(peer) = self.peers.get(&peer) else { return };
        for id in peer.links.iter() {
            if let Some(link) = self.links.get_mut(id) {
                link.mark(group);
                if !link.queued {
                    link.queued = true;
                    self.link_queue.push_back(*id);
                }
            }
        }
    }

    /// Notes that a link has something to say.
    fn wake_link(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id)
            && !link.queued
        {
            link.queued = true;
            self.link_queue.push_back(id);
        }
    }

    fn pair_mut(&mut self, peer: PeerNum, group: GroupNum) -> Option<&mut PeerGroup> {
        self.peers.get_mut(&peer)?.groups.get_mut(&group).map(Box::as_mut)
    }
}

#[cfg(test)]
mod tests;
