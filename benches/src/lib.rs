//! What the benches share: two engines, a workload, and a duplex link in memory.

pub mod limits;

use std::fmt::Debug;

use bytes::Bytes;
use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, PeerId, Visibility};
use hedgerow_sync_core::store::check;
use hedgerow_sync_core::{Config, Draft, Engine, EngineError, Event, LinkId, LinkProfile, Store, Time};

/// Two engines that share one group, and the link between them.
#[derive(Debug)]
pub struct Pair<S> {
    /// Who writes.
    pub a: Engine<S>,
    /// Who has nothing.
    pub b: Engine<S>,
    /// Their group.
    pub group: GroupId,
    profile: LinkProfile,
    links: Option<(LinkId, LinkId)>,
    now: Time,
}

/// What a sync took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Frames, both ways.
    pub frames: u64,
    /// Bytes, both ways.
    pub bytes: u64,
    /// Messages delivered to the empty side.
    pub delivered: u64,
}

/// Why a run failed.
pub type Failure = Box<dyn std::error::Error>;

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes([n; 32])
}

impl<S: Store + Debug> Pair<S> {
    /// Two engines on these stores, with a group that both share.
    ///
    /// # Errors
    /// When a store fails.
    pub fn new(a: S, b: S) -> Result<Self, Failure> {
        Self::over(a, b, LinkProfile::reliable())
    }

    /// The same over another wire, with a group of its scheme.
    ///
    /// # Errors
    /// When a store fails.
    pub fn over(a: S, b: S, profile: LinkProfile) -> Result<Self, Failure> {
        let now = Time(1_700_000_000_000);
        let scheme = profile.dialect.id_scheme();
        let descriptor = match scheme {
            IdScheme::Mvds => GroupDescriptor::of_id(GroupId::from_bytes([1; 32])),
            _ => GroupDescriptor::new("org.example.bench", 0, vec![])?,
        };
        let mut a = Engine::open(a, Config::default(), [1; 32], now)?;
        let mut b = Engine::open(b, Config::default(), [2; 32], now)?;
        let group = a.add_group_of(scheme, &descriptor, false)?;
        b.add_group_of(scheme, &descriptor, false)?;
        a.set_visibility(peer(2), group, Visibility::Shared)?;
        b.set_visibility(peer(1), group, Visibility::Shared)?;
        Ok(Self { a, b, group, profile, links: None, now })
    }

    /// Publishes `count` messages of `size` bytes on the first engine, each after the one before, with a commit
    /// after every `batch`. The bodies do not repeat.
    ///
    /// # Errors
    /// When the store fails.
    pub fn publish(&mut self, count: u64, size: usize, batch: u64) -> Result<(), EngineError> {
        for n in 0..count {
            self.now = self.now + 1;
            let deps = self.a.heads(self.group, 1)?;
            let draft = Draft { timestamp_ms: self.now.as_timestamp_ms(), deps, body: body(n, size) };
            self.a.publish(self.group, draft, self.now)?;
            if n % batch.max(1) == batch.max(1) - 1 {
                while self.a.poll_event()?.is_some() {}
            }
        }
        while self.a.poll_event()?.is_some() {}
        Ok(())
    }

    /// Takes their link down, if there is one: the next sync is another contact, a minute later.
    pub fn part(&mut self) {
        if let Some((to_b, to_a)) = self.links.take() {
            self.a.link_down(to_b, self.now);
            self.b.link_down(to_a, self.now);
        }
        self.now = self.now + 60_000;
    }

    /// Opens a link and syncs until nothing is left to say; calls `progress` with the messages delivered so far.
    ///
    /// # Errors
    /// When a store fails or an engine refuses the other's frame.
    pub fn sync(&mut self, progress: &mut dyn FnMut(u64)) -> Result<Cost, Failure> {
        let mut cost = Cost::default();
        let (to_b, to_a) = match self.links {
            Some(links) => links,
            None => {
                let profile = self.profile.clone();
                let to_b = self.a.link_up(peer(2), profile.clone(), self.now)?;
                (to_b, self.b.link_up(peer(1), profile, self.now)?)
            }
        };
        self.links = Some((to_b, to_a));
        loop {
            let (mut there, mut back) = (Vec::new(), Vec::new());
            // A socket's worth of frames, then the other side's turn.
            for _ in 0..16 {
                there.extend(self.a.poll_transmit(to_b, self.now, usize::MAX)?);
            }
            for frame in there.iter().cloned() {
                self.b.receive(to_a, frame, self.now)?;
            }
            while let Some(event) = self.b.poll_event()? {
                if let Event::Delivered { first, last, .. } = event {
                    cost.delivered += last - first + 1;
                }
            }
            progress(cost.delivered);
            back.extend(self.b.poll_transmit(to_a, self.now, usize::MAX)?);
            for frame in back.iter().cloned() {
                self.a.receive(to_b, frame, self.now)?;
            }
            while self.a.poll_event()?.is_some() {}
            cost.frames += (there.len() + back.len()) as u64;
            cost.bytes += there.iter().chain(&back).map(|frame| frame.len() as u64).sum::<u64>();
            if there.is_empty() && back.is_empty() {
                return Ok(cost);
            }
        }
    }

    /// Whether both hold `count` messages, each got all that the other has, and both stores are sound.
    ///
    /// # Errors
    /// When that is not so, or a store fails.
    pub fn verify(&self, count: u64) -> Result<(), Failure> {
        for engine in [&self.a, &self.b] {
            let head = engine.groups().first().map_or(0, |group| group.head);
            if head != count {
                return Err(format!("{head} of {count} messages were delivered").into());
            }
            let report = check(engine.store())?;
            if !report.is_clean() {
                return Err(format!("a store is not sound: {:?}", report.problems.first()).into());
            }
        }
        Ok(())
    }

    /// Reads the whole log of the second engine; returns the bytes of its bodies.
    ///
    /// # Errors
    /// When the store fails.
    pub fn read_back(&self) -> Result<u64, EngineError> {
        let (mut after, mut bytes) = (0, 0);
        loop {
            let page = self.b.log(self.group, after, 1024, 1 << 20)?;
            let Some(last) = page.last() else { return Ok(bytes) };
            after = last.position;
            bytes += page
                .iter()
                .filter_map(|entry| entry.body.as_ref())
                .map(|body| body.len() as u64)
                .sum::<u64>();
        }
    }
}

/// Bytes that do not compress and differ for each `n`.
fn body(n: u64, size: usize) -> Bytes {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}
