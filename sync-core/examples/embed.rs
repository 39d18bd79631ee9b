//! The engine under a messenger that exists already: its own transport, its own encryption, its own event loop. There
//! is no tokio here, no thread and no socket; time is a number that the host counts.
//!
//! The messenger of this example moves sealed envelopes through a relay that is slow and loses some of them, as Status
//! moves MVDS payloads. Run it with `cargo run --release -p hedgerow-sync-core --example embed`.
#![allow(clippy::indexing_slicing)]

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, Message, PeerId, Visibility, mvds};
use hedgerow_sync_core::{
    Config, Draft, Engine, EngineError, Event, LinkId, LinkProfile, MemoryStore, PushPolicy, Time, Verdict,
};

type Failure = Box<dyn std::error::Error>;

/// What the messenger had before: a key, and envelopes that only the holder of the other key can open.
struct Envelope {
    to: usize,
    sealed: Vec<u8>,
}

/// The messenger's own encryption; an example has no better one than this.
fn seal(key: u8, payload: &[u8]) -> Vec<u8> {
    payload.iter().map(|byte| byte ^ key).collect()
}

/// The relay: an envelope comes after a while, or not at all.
#[derive(Default)]
struct Relay {
    under_way: BTreeMap<(Time, u64), Envelope>,
    count: u64,
    lost: u64,
}

impl Relay {
    fn post(&mut self, now: Time, envelope: Envelope) {
        self.count += 1;
        if self.count.is_multiple_of(5) {
            self.lost += 1;
            return;
        }
        let delay_ms = 80 + self.count * 7 % 50;
        self.under_way.insert((now + delay_ms, self.count), envelope);
    }
}

/// One user of the messenger: the engine, and what is around it.
struct Host {
    name: &'static str,
    key: u8,
    engine: Engine<MemoryStore>,
    link: LinkId,
    /// What the user sees, in the order of delivery.
    screen: Vec<String>,
    /// Where the user has read to.
    cursor: u64,
    /// Messages of others that the messenger has yet to judge.
    unjudged: VecDeque<Message>,
}

impl Host {
    fn new(name: &'static str, n: u8, friend: u8, group: GroupId, now: Time) -> Result<Self, EngineError> {
        let mut engine = Engine::open(MemoryStore::new(), Config::default(), [n; 32], now)?;
        // The messenger knows its groups and who is in them: that is said here, not on the wire.
        engine.add_group_of(IdScheme::Mvds, &GroupDescriptor::of_id(group), true)?;
        engine.set_visibility(peer_of(friend), group, Visibility::Shared)?;
        // Envelopes get lost and overtake each other, which the engine repairs.
        let carrier = LinkProfile { reliable: false, max_frame: 4_096, round_trip_ms: 200, ..wire() };
        let link = engine.link_up(peer_of(friend), carrier, now)?;
        let (screen, unjudged) = (Vec::new(), VecDeque::new());
        Ok(Self { name, key: n, engine, link, screen, cursor: 0, unjudged })
    }

    fn write(&mut self, group: GroupId, text: String, now: Time) -> Result<(), EngineError> {
        let deps = self.engine.heads(group, 16)?;
        let draft = Draft { timestamp_ms: now.as_timestamp_ms(), deps, body: text.into() };
        self.engine.publish(group, draft, now).map(drop)
    }

    /// What has to be done after anything was fed: events first, then whatever the link has to say.
    fn turn(&mut self, group: GroupId, now: Time, relay: &mut Relay, friend: usize) -> Result<(), Failure> {
        loop {
            while let Some(event) = self.engine.poll_event()? {
                match event {
                    Event::Validate { message, .. } => self.unjudged.push_back(message),
                    Event::Delivered { last, .. } => self.read(group, last)?,
                    Event::Undelivered { count, .. } => println!("{} still owes {count}", self.name),
                    _ => {}
                }
            }
            // The messenger's own rules: who may write, and what.
            let Some(message) = self.unjudged.pop_front() else { break };
            let valid = std::str::from_utf8(message.body()).is_ok_and(|text| text.contains(": "));
            let verdict = if valid { Verdict::VALID } else { Verdict::Invalid };
            self.engine.judge(IdScheme::Mvds.message_id(&message), verdict, now)?;
        }
        while self.engine.poll_link().is_some() {
            while let Some(payload) = self.engine.poll_transmit(self.link, now, 4_096)? {
                relay.post(now, Envelope { to: friend, sealed: seal(self.key, &payload) });
            }
        }
        Ok(())
    }

    fn read(&mut self, group: GroupId, to: u64) -> Result<(), EngineError> {
        for entry in self.engine.log(group, self.cursor, usize::MAX, usize::MAX)? {
            let body = entry.body.unwrap_or_default();
            self.screen.push(String::from_utf8_lossy(&body).into_owned());
        }
        self.cursor = to;
        Ok(())
    }
}

/// MVDS in batch mode, with dependencies.
const fn wire() -> LinkProfile {
    LinkProfile::mvds(true, PushPolicy::Always)
}

/// A deployed peer is known by its public key; the engine knows it by the hash of that.
fn peer_of(n: u8) -> PeerId {
    let mut key = [n; 65];
    key[0] = 4;
    mvds::peer_id(&key)
}

fn main() -> Result<(), Failure> {
    let group = GroupId::from_bytes([42; 32]);
    let mut now = Time(1_700_000_000_000);
    let mut relay = Relay::default();
    let mut hosts = [Host::new("ada", 1, 2, group, now)?, Host::new("bob", 2, 1, group, now)?];
    let mut to_write: VecDeque<(Time, usize, String)> = (0..20_u64)
        .map(|n| {
            let who = usize::from(n % 3 == 0);
            (now + n * 1_300, who, format!("{}: message {n}", hosts[who].name))
        })
        .collect();

    // The event loop: whatever is due first, an envelope, a timer, or the user's fingers.
    loop {
        for (n, host) in hosts.iter_mut().enumerate() {
            host.turn(group, now, &mut relay, 1 - n)?;
        }
        let envelope = relay.under_way.first_key_value().map(|((at, _), _)| *at);
        let timer = hosts.iter().filter_map(|host| host.engine.poll_timeout()).min();
        let user = to_write.front().map(|(at, ..)| *at);
        // The report on what is not delivered is days away: it does not hold up an example.
        let timer = timer.filter(|at| *at < now + 24 * 3_600_000);
        let Some(next) = [envelope, timer, user].into_iter().flatten().min() else { break };
        now = now.max(next);
        while let Some(entry) = relay.under_way.first_entry().filter(|entry| entry.key().0 <= now) {
            let Envelope { to, sealed } = entry.remove();
            let opened = seal(hosts[1 - to].key, &sealed);
            let host = &mut hosts[to];
            host.engine.receive(host.link, Bytes::from(opened), now)?;
        }
        for host in &mut hosts {
            host.engine.handle_timeout(now)?;
        }
        while let Some((_, who, text)) = to_write.pop_front_if(|(at, ..)| *at <= now) {
            hosts[who].write(group, text, now)?;
        }
    }

    let [ada, bob] = &hosts;
    println!("{} envelopes, {} of them lost", relay.count, relay.lost);
    for line in &bob.screen {
        println!("  {line}");
    }
    let (mut theirs, mut ours) = (bob.screen.clone(), ada.screen.clone());
    theirs.sort();
    ours.sort();
    if theirs != ours || theirs.len() != 20 {
        return Err(format!("{} and {} messages", ours.len(), theirs.len()).into());
    }
    println!("both have the same 20 messages, and nothing is left to say");
    Ok(())
}
