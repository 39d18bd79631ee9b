//! One node: a real engine, the driver around it, and the application above it.

use hedgerow_proto::{GroupId, MessageId, PeerId};
use hedgerow_sync_core::store::{MessageState, check};
use hedgerow_sync_core::testing::{descriptor, fingerprint_rows, peer};
use hedgerow_sync_core::{
    Config, Draft, Engine, EngineError, Event, LinkId, LinkProfile, MemoryStore, MessageFacts, ReceiveError,
    Store as _, Time, Verdict,
};
use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::Hasher as _;

use super::frames::{self, FrameId};
use super::scenario::{Sabotage, Scenario};

/// When every clock starts. All messages are a little older.
pub(super) const START: Time = Time(1_700_000_000_000);

/// A set of messages, by their numbers.
pub(super) type Set = u16;

/// What happens to one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Input {
    /// A link to a peer is up.
    Up { slot: u8, peer: u8 },
    /// The node learns that a link is down.
    Down { slot: u8 },
    /// A frame comes; from an honest peer or not.
    Receive { slot: u8, frame: FrameId, honest: bool },
    /// The driver polls: commit, events, links.
    Poll,
    /// The carrier of a link takes the next frame.
    Pull { slot: u8 },
    /// The clock goes on to the next timer, which fires.
    Timer,
    /// The clock goes on by so many ms, and what is due happens.
    Wait(u64),
    /// A message is published.
    Publish(u8),
    /// The node stops and is opened again from its store.
    Crash,
}

/// What came of it, besides the next state.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Output {
    /// The link is down at this node, for the peer broke a rule.
    pub(super) ended: bool,
}

/// A message that the checker knows of.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: MessageId,
    pub(super) deps: Vec<u8>,
    pub(super) draft: Draft,
    /// Who publishes it; `None` for the liar's own.
    pub(super) by: Option<u8>,
}

/// What is the same in all states of a scenario.
pub(super) struct Setup {
    pub(super) scenario: Scenario,
    pub(super) group: GroupId,
    pub(super) messages: Vec<Message>,
}

impl Setup {
    pub(super) fn index(&self, id: &MessageId) -> Option<u8> {
        self.messages.iter().position(|message| message.id == *id).map(|at| at as u8)
    }

    /// When a message expires, if it does.
    fn expiry(&self, index: u8) -> Option<Time> {
        self.scenario.expires_ms.filter(|_| index == 0).map(|ms| START + ms)
    }

    /// What the client says of a message.
    fn facts(&self, id: Option<u8>) -> MessageFacts {
        let known = self.scenario.sabotage != Sabotage::ExpiryForgotten;
        let expiry = id.and_then(|index| self.expiry(index)).filter(|_| known);
        MessageFacts { expires_ms: expiry.map(Time::as_timestamp_ms), ..MessageFacts::default() }
    }

    pub(super) fn name(&self, id: &MessageId) -> String {
        self.index(id).map_or_else(|| "?".into(), |at| format!("m{}", at + 1))
    }
}

/// One end of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct End {
    slot: u8,
    peer: u8,
    link: LinkId,
}

/// A node.
#[derive(Clone)]
pub(super) struct Node {
    me: u8,
    engine: Engine<MemoryStore>,
    now: Time,
    /// What the application was given, in order. It keeps this and its cursor as durably as the engine its store.
    app: Vec<u8>,
    incarnation: u8,
    ends: Vec<End>,
    /// Links that may have frames to give.
    ready: u32,
    /// Something was fed since the last poll.
    fed: bool,
    /// The store before the last commit, for the store that forgets.
    before: Option<Box<MemoryStore>>,
    pub(super) view: View,
}

/// What others want to know of a node.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// What stands at each position of the log.
    pub(super) log: Vec<u8>,
    pub(super) delivered: Set,
    /// What of that is still there with its body.
    pub(super) held: Set,
    /// What would be there after a crash, with its body or as a tombstone.
    pub(super) durable: Set,
    /// What each peer is believed to hold.
    pub(super) believed: [Set; 4],
    /// How long until the next timer, in ms.
    pub(super) timeout: Option<u64>,
    /// Posts that can be published here.
    pub(super) publishable: Set,
    pub(super) fed: bool,
    pub(super) ready: u32,
    /// Every message is acknowledged by each honest peer, and nothing is under way.
    pub(super) settled: bool,
}

impl Node {
    /// A new node.
    pub(super) fn new(me: u8, setup: &Setup) -> Result<Self, String> {
        let mut engine = open(MemoryStore::new(), &setup.scenario.config, me, 0, START)?;
        // Only a client that judges knows that a message expires.
        let judged = setup.scenario.expires_ms.is_some();
        engine.add_group(&descriptor("model"), judged).map_err(say)?;
        let all = setup.scenario.peers + u8::from(setup.scenario.liar);
        for other in (0..all).filter(|&other| other != me) {
            let id = peer(other.into());
            engine.set_visibility(id, setup.group, hedgerow_proto::Visibility::Shared).map_err(say)?;
        }
        engine.commit().map_err(say)?;
        let mut node = Self {
            me,
            engine,
            now: START,
            app: Vec::new(),
            incarnation: 0,
            ends: Vec::new(),
            ready: 0,
            fed: false,
            before: None,
            view: View::default(),
        };
        node.poll(setup)?;
        node.look(setup)?;
        Ok(node)
    }

    /// Does one step; the frame if one was pulled. An error is a property that does not hold.
    pub(super) fn step(
        &mut self,
        input: Input,
        bytes: Option<bytes::Bytes>,
        setup: &Setup,
    ) -> Result<(Output, Option<bytes::Bytes>), String> {
        let mut output = Output::default();
        let mut frame = None;
        match input {
            Input::Up { slot, peer: other } => {
                let profile: LinkProfile = setup.scenario.profile.clone();
                let link = self.engine.link_up(peer(other.into()), profile, self.now).map_err(say)?;
                self.ends.push(End { slot, peer: other, link });
                self.ends.sort_unstable_by_key(|end| end.slot);
                self.fed = true;
            }
            Input::Down { slot } => {
                if let Some(end) = self.take_end(slot) {
                    self.engine.link_down(end.link, self.now);
                    self.fed = true;
                }
            }
            Input::Receive { slot, honest, .. } => {
                output.ended = self.receive(slot, honest, bytes.unwrap_or_default(), setup)?;
            }
            Input::Poll => self.poll(setup)?,
            Input::Pull { slot } => frame = self.pull(slot, setup)?,
            Input::Timer => {
                if let Some(at) = self.engine.poll_timeout() {
                    self.wait(at.since(self.now))?;
                }
            }
            Input::Wait(ms) => self.wait(ms)?,
            Input::Publish(which) => {
                let draft = setup.messages[usize::from(which)].draft.clone();
                let facts = setup.facts(Some(which));
                self.engine.publish_with(setup.group, draft, facts, self.now).map_err(say)?;
                self.fed = true;
            }
            Input::Crash => self.crash(setup)?,
        }
        self.look(setup)?;
        Ok((output, frame))
    }

    fn end(&self, slot: u8) -> Option<End> {
        self.ends.iter().copied().find(|end| end.slot == slot)
    }

    fn take_end(&mut self, slot: u8) -> Option<End> {
        let at = self.ends.iter().position(|end| end.slot == slot)?;
        self.ready &= !(1 << slot);
        Some(self.ends.remove(at))
    }

    /// Takes a frame; whether that ended the link.
    fn receive(
        &mut self,
        slot: u8,
        honest: bool,
        bytes: bytes::Bytes,
        setup: &Setup,
    ) -> Result<bool, String> {
        let Some(end) = self.end(slot) else { return Ok(false) };
        let refused = self.engine.traffic().refused;
        self.fed = true;
        match self.engine.receive(end.link, bytes, self.now) {
            Ok(()) => {}
            Err(ReceiveError::Violation(violation)) if honest => {
                return Err(format!("an honest peer is accused: {violation}"));
            }
            Err(ReceiveError::Violation(_)) => {
                self.take_end(slot);
                return Ok(true);
            }
            Err(other) => return Err(format!("the engine failed: {other}")),
        }
        let refused = self.engine.traffic().refused - refused;
        if honest && refused > 0 && !setup.scenario.refusals {
            return Err(format!("{refused} records of an honest peer were refused"));
        }
        Ok(false)
    }

    fn wait(&mut self, ms: u64) -> Result<(), String> {
        self.now = self.now + ms;
        if self.engine.poll_timeout().is_some_and(|at| at <= self.now) {
            self.engine.handle_timeout(self.now).map_err(say)?;
            self.fed = true;
        }
        Ok(())
    }

    /// What a driver does when nothing is left to feed.
    fn poll(&mut self, setup: &Setup) -> Result<(), String> {
        if setup.scenario.sabotage == Sabotage::CommitForgets && self.engine.store().is_dirty() {
            let mut before = self.engine.store().clone();
            before.crash();
            self.before = Some(Box::new(before));
        }
        while let Some(event) = self.engine.poll_event().map_err(say)? {
            self.take_event(event, setup)?;
        }
        while let Some(link) = self.engine.poll_link() {
            if let Some(end) = self.ends.iter().find(|end| end.link == link) {
                self.ready |= 1 << end.slot;
            }
        }
        self.fed = false;
        let report = check(self.engine.store()).map_err(|e| format!("the store cannot be checked: {e}"))?;
        if let Some(problem) = report.problems.first() {
            return Err(format!("the store is not sound: {problem:?}"));
        }
        Ok(())
    }

    fn take_event(&mut self, event: Event, setup: &Setup) -> Result<(), String> {
        match event {
            Event::Validate { id, .. } => {
                let verdict = Verdict::Valid(setup.facts(setup.index(&id)));
                self.engine.judge(id, verdict, self.now).map_err(say)
            }
            Event::Delivered { first, last, .. } => self.read(first, last, setup),
            Event::Invalid { id, reason, .. } => {
                Err(format!("{} was taken for invalid: {reason:?}", setup.name(&id)))
            }
            _ => Ok(()),
        }
    }

    /// The application reads what is new to it, and keeps it.
    fn read(&mut self, first: u64, last: u64, setup: &Setup) -> Result<(), String> {
        let expected = self.app.len() as u64 + 1;
        if first != expected {
            return Err(format!("delivery goes on at {first}, not at {expected}"));
        }
        for position in first..=last {
            let entry = self.engine.entry(setup.group, position).map_err(say)?;
            let entry = entry.ok_or_else(|| format!("nothing stands at position {position}"))?;
            let index = setup.index(&entry.id).ok_or("a message was delivered that nobody wrote")?;
            if self.app.contains(&index) {
                return Err(format!("{} was delivered twice", setup.name(&entry.id)));
            }
            let deps = &setup.messages[usize::from(index)].deps;
            if let Some(early) = deps.iter().find(|dep| !self.app.contains(dep)) {
                return Err(format!("{} was delivered before m{}", setup.name(&entry.id), early + 1));
            }
            self.app.push(index);
        }
        Ok(())
    }

    fn pull(&mut self, slot: u8, setup: &Setup) -> Result<Option<bytes::Bytes>, String> {
        let Some(end) = self.end(slot) else { return Ok(None) };
        let frame = self.engine.poll_transmit(end.link, self.now, usize::MAX).map_err(say)?;
        if frame.is_none() {
            self.ready &= !(1 << slot);
        }
        if self.engine.store().is_dirty() {
            return Err("a frame was made ahead of what is durable".into());
        }
        if setup.expiry(0).is_some_and(|expiry| expiry <= self.now)
            && let Some(bytes) = &frame
            && frames::carries(bytes, &setup.messages[0].draft.body)
        {
            return Err("a message is sent after its time".into());
        }
        while let Some(event) = self.engine.poll_event().map_err(say)? {
            self.take_event(event, setup)?;
        }
        Ok(frame)
    }

    /// Stops without a word and opens again.
    fn crash(&mut self, setup: &Setup) -> Result<(), String> {
        let mut store = self.engine.store().clone();
        store.crash();
        if let Some(before) = self.before.take() {
            store = *before;
        }
        self.incarnation += 1;
        self.engine = open(store, &setup.scenario.config, self.me, self.incarnation, self.now)?;
        self.ends.clear();
        self.ready = 0;
        self.fed = true;
        if setup.scenario.sabotage == Sabotage::CursorForgotten {
            let again = self.engine.log(setup.group, 0, 1, usize::MAX).map_err(say)?;
            if !again.is_empty() {
                return self.read(1, 1, setup);
            }
        }
        let log = self.log(setup)?;
        if !log.starts_with(&self.app) {
            return Err(format!("the application was given {:?}, the store has {log:?}", self.app));
        }
        if log.len() > self.app.len() {
            let first = self.app.len() as u64 + 1;
            return self.read(first, log.len() as u64, setup);
        }
        Ok(())
    }

    fn has_body(&self, id: &MessageId) -> Result<bool, String> {
        let store = self.engine.store();
        let Some(row) = store.find(id).map_err(|e| e.to_string())? else { return Ok(false) };
        let content = store.content(row.num).map_err(|e| e.to_string())?;
        Ok(content.is_some_and(|content| content.body.is_some()))
    }

    fn log(&self, setup: &Setup) -> Result<Vec<u8>, String> {
        let entries = self.engine.log(setup.group, 0, usize::MAX, usize::MAX).map_err(say)?;
        entries
            .iter()
            .map(|entry| {
                setup.index(&entry.id).ok_or_else(|| "the log has a message that nobody wrote".into())
            })
            .collect()
    }

    /// Looks at the new state: the engine's books, and what others want to know.
    fn look(&mut self, setup: &Setup) -> Result<(), String> {
        if let Some(wrong) = self.engine.audit_books().map_err(|e| e.to_string())?.first() {
            return Err(format!("the books do not agree: {wrong}"));
        }
        let log = self.log(setup)?;
        let mut durable_store;
        let durable = if self.engine.store().is_dirty() {
            durable_store = self.engine.store().clone();
            durable_store.crash();
            &durable_store
        } else {
            self.engine.store()
        };
        let due = self.engine.poll_timeout().map(|at| at.since(self.now));
        let mut view = View { fed: self.fed, ready: self.ready, timeout: due, ..View::default() };
        for (at, message) in setup.messages.iter().enumerate() {
            let row = durable.find(&message.id).map_err(|e| e.to_string())?;
            if row.is_some_and(|row| row.state != MessageState::Wanted) {
                view.durable |= 1 << at;
            }
            let held = self.engine.message(&message.id).map_err(say)?;
            if held.is_some_and(|entry| entry.state == MessageState::Delivered) {
                view.held |= 1 << at;
            }
            let over = setup.expiry(at as u8).is_some_and(|expiry| expiry <= self.now);
            if over && due == Some(0) {
                // Its timer is about to fire.
            } else if over && !self.fed && self.has_body(&message.id)? {
                return Err(format!("m{} is still there after its time", at + 1));
            }
            let ready =
                !over && message.deps.iter().all(|dep| log.contains(dep)) && !log.contains(&(at as u8));
            if message.by == Some(self.me) && ready {
                view.publishable |= 1 << at;
            }
        }
        for &index in &log {
            view.delivered |= 1 << index;
        }
        for other in 0..setup.scenario.peers {
            for span in self.engine.believed(peer(other.into()), setup.group).spans() {
                for position in span.first..=span.last {
                    let index = log
                        .get(position as usize - 1)
                        .ok_or("a peer is believed to hold what is not there")?;
                    view.believed[usize::from(other)] |= 1 << index;
                }
            }
        }
        view.log = log;
        let honest: Vec<PeerId> = (0..setup.scenario.peers).map(|n| peer(n.into())).collect();
        let status = self.engine.status();
        view.settled = status
            .peers
            .iter()
            .filter(|row| honest.contains(&row.peer))
            .all(|row| row.settled && row.in_flight == 0 && row.offered == 0);
        self.view = view;
        Ok(())
    }

    /// The state as a number: equal states are equal in everything that decides how they go on.
    pub(super) fn print(&self, setup: &Setup) -> u128 {
        let mut hasher = SipHasher13::new();
        if let Some(expiry) = setup.expiry(0) {
            // Here the time of day decides.
            hasher.write_u64(expiry.since(self.now));
        }
        self.engine.fingerprint(&mut hasher).unwrap();
        let mut store = self.engine.store().clone();
        if store.is_dirty() {
            store.crash();
            hasher.write_u8(1);
            fingerprint_rows(&store, &mut hasher).unwrap();
        }
        if let Some(before) = &self.before {
            hasher.write_u8(2);
            fingerprint_rows(&**before, &mut hasher).unwrap();
        }
        hasher.write(&self.app);
        hasher.write_u32(self.ready);
        hasher.write(&[self.me, self.incarnation, u8::from(self.fed)]);
        hasher.write(format!("{:?}", self.ends).as_bytes());
        hasher.finish128().as_u128()
    }

    /// What an application or an operator would see, for reports.
    pub(super) fn describe(&self, setup: &Setup) -> String {
        let names = |set: &[u8]| set.iter().map(|at| format!("m{}", at + 1)).collect::<Vec<_>>().join(" ");
        let missing = self.engine.missing(setup.group).len();
        format!("log [{}], awaits {missing}, {:?}", names(&self.view.log), self.engine.status().peers)
    }
}

/// Opens an engine; each time with other randomness.
fn open(
    store: MemoryStore,
    config: &Config,
    me: u8,
    incarnation: u8,
    now: Time,
) -> Result<Engine<MemoryStore>, String> {
    let mut seed = [me; 32];
    seed[0] = incarnation;
    Engine::open(store, config.clone(), seed, now).map_err(say)
}

fn say(error: EngineError) -> String {
    format!("the engine failed: {error}")
}
