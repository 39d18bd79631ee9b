//! The work of the comparison with other libraries (`benches/peers`), done by the engine: one side has messages of 200
//! bytes, the other all but the last of them. Prints one JSON object: what it took until both were in step.

use std::fmt::Debug;
use std::process::ExitCode;

use bytes::Bytes;
use clap::{Parser, ValueEnum};
use hedgerow_benches::Failure;
use hedgerow_clients::{Author, Client as _, Content, PostDraft, PublicClient, PublicGroup};
use hedgerow_proto::{GroupDescriptor, GroupId, Message, PeerId, Visibility};
use hedgerow_sync_core::store::check;
use hedgerow_sync_core::{Config, Draft, Engine, Event, LinkId, LinkProfile, MemoryStore, Store, Time};
use hedgerow_sync_sqlite::SqliteStore;

/// Syncs messages of 200 bytes between two engines and says what it took.
#[derive(Debug, Parser)]
struct Options {
    /// How many messages the one side has.
    #[arg(long)]
    messages: u64,
    /// How many of them the other side lacks.
    #[arg(long)]
    missing: u64,
    /// Where the stores are.
    #[arg(long, value_enum)]
    kept: Kept,
    /// Bodies are signed by their author, and verified in batches where they arrive.
    #[arg(long)]
    signed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kept {
    Memory,
    File,
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.missing > options.messages {
        eprintln!("beside: of {} messages not {} can be missing", options.messages, options.missing);
        return ExitCode::from(2);
    }
    let result = match options.kept {
        Kept::Memory => run(&options, MemoryStore::new(), MemoryStore::new()),
        Kept::File => on_files(&options),
    };
    match result {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("beside: {error}");
            ExitCode::FAILURE
        }
    }
}

fn on_files(options: &Options) -> Result<String, Failure> {
    let folder = tempfile::tempdir()?;
    let open = |name| SqliteStore::open(&folder.path().join(name), Default::default());
    run(options, open("a.db")?, open("b.db")?)
}

fn peer(n: u8) -> PeerId {
    PeerId::from_bytes([n; 32])
}

struct Sides<S> {
    engines: [Engine<S>; 2],
    links: Option<[LinkId; 2]>,
    descriptor: GroupDescriptor,
    group: GroupId,
    author: Option<Author>,
    written: u64,
    now: Time,
}

/// What crossed: bytes both ways, and one-way trips one after the other.
#[derive(Debug, Default)]
struct Crossed {
    bytes: u64,
    trips: u32,
}

impl<S: Store + Debug> Sides<S> {
    fn new(a: S, b: S, signed: bool) -> Result<Self, Failure> {
        let now = Time(1_700_000_000_000);
        let descriptor = PublicGroup::new([1; 16], "plaza", "")?.descriptor().clone();
        let mut engines = [
            Engine::open(a, Config::default(), [1; 32], now)?,
            Engine::open(b, Config::default(), [2; 32], now)?,
        ];
        for (engine, other) in engines.iter_mut().zip([peer(2), peer(1)]) {
            engine.add_group(&descriptor, signed)?;
            engine.set_visibility(other, descriptor.id(), Visibility::Shared)?;
        }
        let author = signed.then(|| Author::from_seed(&[9; 32]));
        Ok(Self { engines, links: None, group: descriptor.id(), descriptor, author, written: 0, now })
    }

    /// Writes messages on the first engine, each after the one before, a thousand in a commit.
    fn write(&mut self, count: u64) -> Result<(), Failure> {
        let [a, _] = &mut self.engines;
        for n in 0..count {
            self.now = self.now + 1;
            self.written += 1;
            let deps = a.heads(self.group, 1)?;
            let timestamp_ms = self.now.as_timestamp_ms();
            let body = match &self.author {
                None => body(self.written),
                Some(author) => {
                    let draft = PostDraft {
                        group: &self.descriptor,
                        timestamp_ms,
                        deps: &deps,
                        number: self.written,
                        credential: None,
                        expires_ms: None,
                    };
                    let text = Content::Text(format!("{:0200}", self.written));
                    draft.message(author, &text)?.body().clone()
                }
            };
            a.publish(self.group, Draft { timestamp_ms, deps, body }, self.now)?;
            if n % 1000 == 999 {
                while a.poll_event()?.is_some() {}
            }
        }
        while a.poll_event()?.is_some() {}
        Ok(())
    }

    /// A contact, until nothing is left to say.
    fn meet(&mut self) -> Result<Crossed, Failure> {
        let [a, b] = &mut self.engines;
        let links = match self.links {
            Some(links) => links,
            None => {
                let profile = LinkProfile::reliable();
                [a.link_up(peer(2), profile.clone(), self.now)?, b.link_up(peer(1), profile, self.now)?]
            }
        };
        self.links = Some(links);
        let [to_b, to_a] = links;
        let mut crossed = Crossed::default();
        // What each side heard is of so many trips; what it says then is of one more.
        let (mut heard_by_a, mut heard_by_b) = (0, 0);
        loop {
            let there = carry((&mut *a, to_b), (&mut *b, to_a), &self.descriptor, self.now)?;
            if there > 0 {
                heard_by_b = heard_by_b.max(heard_by_a + 1);
            }
            if crossed.trips == 0 && b.groups().first().is_some_and(|group| group.head == self.written) {
                crossed.trips = heard_by_b;
            }
            let back = carry((&mut *b, to_a), (&mut *a, to_b), &self.descriptor, self.now)?;
            if back > 0 {
                heard_by_a = heard_by_a.max(heard_by_b + 1);
            }
            crossed.bytes += there + back;
            if there + back == 0 {
                return Ok(crossed);
            }
        }
    }

    fn part(&mut self) {
        if let Some(links) = self.links.take() {
            self.engines.iter_mut().zip(links).for_each(|(engine, link)| engine.link_down(link, self.now));
        }
        self.now = self.now + 60_000;
    }

    fn verify(&self) -> Result<(), Failure> {
        for engine in &self.engines {
            let head = engine.groups().first().map_or(0, |group| group.head);
            if head != self.written {
                return Err(format!("{head} of {} messages were delivered", self.written).into());
            }
            let report = check(engine.store())?;
            if !report.is_clean() {
                return Err(format!("a store is not sound: {:?}", report.problems.first()).into());
            }
        }
        Ok(())
    }
}

/// Brings over all that is to be said, then it is the other side's turn; how many bytes that were.
fn carry<S: Store>(
    (from, out): (&mut Engine<S>, LinkId),
    (to, into): (&mut Engine<S>, LinkId),
    group: &GroupDescriptor,
    now: Time,
) -> Result<u64, Failure> {
    let mut bytes = 0;
    while let Some(frame) = from.poll_transmit(out, now, usize::MAX)? {
        bytes += frame.len() as u64;
        to.receive(into, frame, now)?;
    }
    take_events(to, group, now)?;
    Ok(bytes)
}

/// Commits what came, and judges it where that is asked for.
fn take_events<S: Store>(engine: &mut Engine<S>, group: &GroupDescriptor, now: Time) -> Result<(), Failure> {
    let mut messages: Vec<Message> = Vec::new();
    loop {
        while let Some(event) = engine.poll_event()? {
            if let Event::Validate { message, .. } = event {
                messages.push(message);
            }
        }
        if messages.is_empty() {
            return Ok(());
        }
        for part in messages.chunks(256) {
            for (message, verdict) in part.iter().zip(PublicClient.judge(group, part)) {
                engine.judge(message.id(), verdict, now)?;
            }
        }
        messages.clear();
    }
}

fn run<S: Store + Debug>(options: &Options, a: S, b: S) -> Result<String, Failure> {
    let mut sides = Sides::new(a, b, options.signed)?;
    let before = options.messages - options.missing;
    sides.write(before)?;
    if before > 0 {
        sides.meet()?;
        sides.part();
    }
    sides.write(options.missing)?;
    // What it took to get here does not count.
    std::fs::write("/proc/self/clear_refs", "5")?;
    let start = cpu_time::ProcessTime::try_now()?;
    let crossed = sides.meet()?;
    let cpu_ms = start.try_elapsed()?.as_secs_f64() * 1e3;
    let peak_mib = peak_mib()?;
    sides.verify()?;
    Ok(serde_json::json!({
        "cpu_ms": cpu_ms, "bytes": crossed.bytes, "trips": crossed.trips, "peak_mib": peak_mib,
    })
    .to_string())
}

fn body(n: u64) -> Bytes {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(208);
    while bytes.len() < 200 {
        // xorshift64 (Marsaglia, 2003).
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(200);
    bytes.into()
}

fn peak_mib() -> Result<f64, Failure> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("the system does not say")?;
    let kib: f64 = line.split_whitespace().next().ok_or("the system does not say")?.parse()?;
    Ok(kib / 1024.0)
}
