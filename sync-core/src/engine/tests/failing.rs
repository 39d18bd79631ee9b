//! A store that fails at any of its calls: the engine says so, says nothing more until it is opened again, and then
//! goes on as if there had been a crash.

mod disk;

use std::collections::BTreeMap;

use bytes::Bytes;
use hedgerow_proto::{
    Codec as _, Frame, GroupId, GroupRef, Message, MessageId, NativeCodec, Offer, OfferItem, PeerId, Request,
    Span, Tombstone, Unavailable, Visibility,
};

use self::disk::{Disk, Lie};
use crate::store::{Direction, MessageState, check};
use crate::testing::by_hand::{batch, encode, greeting, message, wire};
use crate::testing::{descriptor, open, peer};
use crate::{
    Config, Draft, Engine, EngineError, Event, LinkId, LinkProfile, MemoryStore, MessageFacts, ReceiveError,
    StoreError, Time, Verdict,
};

const START: Time = Time(1_000_000);
const HOUR: u64 = 3_600_000;
/// What expires does so then.
const OVER: Time = Time(START.0 + HOUR);
/// The clock shows this when what was too early comes.
const DUE: Time = Time(START.0 + 48 * HOUR);
const HAND: PeerId = PeerId::from_bytes([99; 32]);
const HONEST: &str = "shared with an honest peer";
const UNJUDGED: &str = "without a client";
const GAPS: &str = "with gaps";
const LEFT: &str = "that is left";

fn id(name: &str) -> GroupId {
    descriptor(name).id()
}

fn draft(body: &str, timestamp_ms: i64) -> Draft {
    Draft { timestamp_ms, deps: vec![], body: Bytes::copy_from_slice(body.as_bytes()) }
}

fn judge(message: &Message) -> Verdict {
    if message.body().starts_with(b"bad") {
        return Verdict::Invalid;
    }
    let expires_ms = message.body().starts_with(b"goes").then(|| OVER.as_timestamp_ms());
    Verdict::Valid(MessageFacts {
        author: Some([message.body().first().copied().unwrap_or(0); 32]),
        expires_ms,
    })
}

/// An engine on a disk that fails, an honest peer of it, and one whose frames are made by hand.
struct Scene {
    disk: Disk,
    /// `None` when it could not be opened.
    engine: Option<Engine<Disk>>,
    friend: Engine<MemoryStore>,
    link: Option<(LinkId, LinkId)>,
    hand: Option<LinkId>,
    heard: Vec<Frame>,
    now: Time,
    /// What the application was given.
    given: BTreeMap<GroupId, Vec<MessageId>>,
    silent_client: bool,
    /// It was a question that failed, which does not stop the engine.
    question_failed: bool,
}

type Done = Result<(), EngineError>;
type Step = fn(&mut Scene) -> Done;

impl Scene {
    fn new(disk: Disk) -> Self {
        let mut friend = open(MemoryStore::new(), &config(), 1, 1, START);
        for (name, judged) in [(HONEST, true), (UNJUDGED, false)] {
            friend.add_group(&descriptor(name), judged).unwrap();
            friend.set_visibility(peer(0), id(name), Visibility::Shared).unwrap();
        }
        for n in 0..3 {
            let deps = friend.heads(id(HONEST), 16).unwrap();
            let theirs = Draft { deps, ..draft(&format!("theirs {n}"), 20 + n) };
            friend.publish(id(HONEST), theirs, START).unwrap();
        }
        Self {
            disk,
            engine: None,
            friend,
            link: None,
            hand: None,
            heard: Vec::new(),
            now: START,
            given: BTreeMap::new(),
            silent_client: false,
            question_failed: false,
        }
    }

    fn open(&mut self) -> Done {
        self.engine = None;
        self.disk.crash();
        self.hand = None;
        if let Some((_, theirs)) = self.link.take() {
            self.friend.link_down(theirs, self.now);
        }
        let engine = Engine::open(self.disk.clone(), config(), [0; 32], self.now)?;
        for info in engine.groups() {
            let log = engine.log(info.id, 0, usize::MAX, usize::MAX)?;
            let ids: Vec<_> = log.iter().map(|entry| entry.id).collect();
            let given = self.given.entry(info.id).or_default();
            assert!(ids.starts_with(given), "what the application was given is gone");
            // It goes on where it stood, also with what was kept and not told.
            *given = ids;
        }
        self.engine = Some(engine);
        Ok(())
    }

    /// Asks the engine something.
    fn ask<T>(
        &mut self,
        question: impl FnOnce(&Engine<Disk>) -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        let answer = question(self.engine.as_ref().unwrap());
        self.question_failed |= answer.is_err();
        answer
    }

    fn a(&mut self) -> &mut Engine<Disk> {
        self.engine.as_mut().unwrap()
    }

    /// Publishes, or finds that it was done before a failure.
    fn publish(&mut self, group: &str, draft: Draft, facts: MessageFacts) -> Done {
        let now = self.now;
        match self.a().publish_with(id(group), draft, facts, now) {
            Ok(_) | Err(EngineError::Exists(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn connect(&mut self, profile: &LinkProfile) -> Done {
        if self.link.is_none() {
            let now = self.now;
            let ours = self.a().link_up(peer(1), profile.clone(), now)?;
            self.link = Some((ours, self.friend.link_up(peer(0), profile.clone(), now).unwrap()));
        }
        self.pump()
    }

    fn disconnect(&mut self) {
        let now = self.now;
        if let Some((ours, theirs)) = self.link.take() {
            self.a().link_down(ours, now);
            self.friend.link_down(theirs, now);
        }
    }

    /// The peer made by hand says something, after it has said who it is.
    fn say(&mut self, frame: &Frame) -> Done {
        let now = self.now;
        if self.hand.is_none() {
            let link = self.a().link_up(HAND, LinkProfile::reliable(), now)?;
            self.hand = Some(link);
            self.receive(link, encode(&greeting(&[id(HONEST), id(GAPS), id(LEFT), id(UNJUDGED)])))?;
        }
        self.receive(self.hand.unwrap(), encode(frame))?;
        self.pump()
    }

    fn receive(&mut self, link: LinkId, frame: Bytes) -> Done {
        let now = self.now;
        match self.a().receive(link, frame, now) {
            Ok(()) => Ok(()),
            Err(ReceiveError::Engine(error)) => Err(error),
            Err(error) => panic!("{error}"),
        }
    }

    /// Everything that can happen now happens.
    fn pump(&mut self) -> Done {
        loop {
            self.drain()?;
            let mut moved = false;
            while let Some(link) = self.a().poll_link() {
                let now = self.now;
                while let Some(frame) = self.a().poll_transmit(link, now, usize::MAX)? {
                    moved = true;
                    match self.link {
                        Some((ours, theirs)) if ours == link => {
                            self.friend.receive(theirs, frame, now).unwrap();
                        }
                        _ => self.heard.push(NativeCodec::new().decode(frame).unwrap()),
                    }
                }
            }
            while let Some(event) = self.friend.poll_event().unwrap() {
                if let Event::Validate { id, message } = event {
                    self.friend.judge(id, judge(&message), self.now).unwrap();
                }
            }
            while let Some(link) = self.friend.poll_link() {
                while let Some(frame) = self.friend.poll_transmit(link, self.now, usize::MAX).unwrap() {
                    moved = true;
                    if let Some((ours, _)) = self.link {
                        self.receive(ours, frame)?;
                    }
                }
            }
            if !moved {
                return Ok(());
            }
        }
    }

    fn drain(&mut self) -> Done {
        let now = self.now;
        while let Some(event) = self.a().poll_event()? {
            match event {
                Event::Validate { id, message } if !self.silent_client => {
                    self.a().judge(id, judge(&message), now)?;
                }
                Event::Delivered { group, first, last } => {
                    let known = self.given.get(&group).map_or(0, |given| given.len() as u64);
                    assert!(first <= known + 1, "a gap before {first}");
                    let fresh = self.ask(|a| a.log(group, known, usize::MAX, usize::MAX))?;
                    let given = self.given.entry(group).or_default();
                    for entry in fresh {
                        assert!(!given.contains(&entry.id), "given twice");
                        given.push(entry.id);
                    }
                    assert!(given.len() as u64 >= last);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets the clock go on to a time, if it is not past it.
    fn wait(&mut self, until: Time) -> Done {
        self.pump()?;
        loop {
            let next = [self.a().poll_timeout(), self.friend.poll_timeout()].into_iter().flatten().min();
            let Some(at) = next.filter(|&at| at <= until) else { break };
            self.now = self.now.max(at);
            let now = self.now;
            self.a().handle_timeout(now)?;
            self.friend.handle_timeout(now).unwrap();
            self.pump()?;
        }
        self.now = self.now.max(until);
        Ok(())
    }
}

fn config() -> Config {
    Config { undelivered_report_ms: 12 * HOUR, max_offers: 4, ..Config::default() }
}

fn groups(scene: &mut Scene) -> Done {
    let a = scene.a();
    for (name, judged) in [(HONEST, true), (UNJUDGED, false), (GAPS, true), (LEFT, true)] {
        a.add_group(&descriptor(name), judged)?;
        a.set_visibility(HAND, id(name), Visibility::Shared)?;
    }
    for name in [HONEST, UNJUDGED] {
        a.set_visibility(peer(1), id(name), Visibility::Shared)?;
    }
    a.set_visibility(peer(2), id(HONEST), Visibility::Visible)?;
    a.set_max_bytes(id(GAPS), Some(1 << 20))?;
    a.set_value("space", b"key", Some(b"value"))?;
    a.commit()
}

fn own_messages(scene: &mut Scene) -> Done {
    for n in 0..6 {
        let facts = MessageFacts { author: Some([7; 32]), expires_ms: None };
        scene.publish(HONEST, draft(&format!("own {n}"), n), facts)?;
        scene.publish(UNJUDGED, draft(&format!("own {n}"), n), MessageFacts::default())?;
    }
    let facts = MessageFacts { author: None, expires_ms: Some(OVER.as_timestamp_ms()) };
    scene.publish(HONEST, draft("goes in time", 9), facts)?;
    // An orphan and its parent, in the wrong order: it waits, is judged, and follows.
    let parent = message(id(LEFT), "parent", &[]);
    scene.say(&batch(3, vec![wire(&message(id(LEFT), "child", &[&parent]), None)]))?;
    scene.say(&batch(3, vec![wire(&parent, Some(1))]))
}

fn met(scene: &mut Scene) -> Done {
    scene.connect(&LinkProfile::reliable())?;
    let now = scene.now;
    scene.a().publish_ephemeral(id(HONEST), "typing".into(), now)?;
    scene.pump()
}

fn refused(scene: &mut Scene) -> Done {
    let bad = message(id(HONEST), "bad", &[]);
    let child = message(id(HONEST), "child of bad", &[&bad]);
    scene.say(&batch(
        1,
        vec![wire(&child, Some(2)), wire(&message(id(HONEST), "of both", &[&bad, &child]), Some(3))],
    ))?;
    scene.say(&batch(1, vec![wire(&bad, Some(1))]))?;
    scene.say(&batch(1, vec![wire(&message(id(HONEST), "late child", &[&bad]), Some(4))]))?;
    // Its parent is in another group, which turns out when the parent comes, or is known.
    let elsewhere = message(id(UNJUDGED), "elsewhere", &[]);
    scene.say(&batch(1, vec![wire(&message(id(HONEST), "stray", &[&elsewhere]), Some(5))]))?;
    scene.say(&batch(4, vec![wire(&elsewhere, Some(1))]))?;
    scene.say(&batch(1, vec![wire(&message(id(HONEST), "second stray", &[&elsewhere]), Some(6))]))
}

fn asked(scene: &mut Scene) -> Done {
    let unknown = MessageId::from_bytes([8; 32]);
    let known = scene.ask(|a| a.log(id(HONEST), 0, 2, usize::MAX))?[1].id;
    let items =
        vec![OfferItem { position: Some(9), id: unknown }, OfferItem { position: Some(10), id: known }];
    let group = GroupRef::Number(1);
    let offer = Offer { group, items, chain: 0 };
    let request = Request { group, positions: vec![Span { first: 1, last: 40 }], ids: vec![unknown, known] };
    scene.say(&Frame { offers: vec![offer], requests: vec![request], ..Frame::default() })?;
    let unavailable =
        Unavailable { group, positions: vec![Span::one(9)], ids: vec![unknown], tombstones: vec![] };
    scene.say(&Frame { unavailables: vec![unavailable], ..Frame::default() })
}

fn early_and_gone(scene: &mut Scene) -> Done {
    let at = DUE.as_timestamp_ms();
    let early = Message::new(id(HONEST), at, vec![], "early".into()).unwrap();
    let behind = Message::new(id(HONEST), at, vec![early.id()], "behind it".into()).unwrap();
    scene.say(&batch(1, vec![wire(&behind, Some(31)), wire(&early, Some(32))]))?;
    let goes = Message::new(id(HONEST), at, vec![], "goes before its time".into()).unwrap();
    scene.say(&batch(1, vec![wire(&goes, Some(33))]))?;
    // Claimed to be gone everywhere, and asked of nobody else: it is passed over in the end.
    let lost = message(id(GAPS), "lost", &[]);
    let kept = message(id(GAPS), "kept", &[&lost]);
    scene.say(&batch(2, vec![wire(&kept, Some(2))]))?;
    let offer = Offer {
        group: GroupRef::Number(2),
        items: vec![OfferItem { position: Some(1), id: lost.id() }],
        chain: 0,
    };
    scene.say(&Frame { offers: vec![offer], ..Frame::default() })?;
    let tombstones = vec![Tombstone { id: lost.id(), eff_ms: 5, height: 1 }];
    let group = GroupRef::Number(2);
    let gone = Unavailable { group, positions: vec![Span::one(1)], ids: vec![lost.id()], tombstones };
    scene.say(&Frame { unavailables: vec![gone], ..Frame::default() })?;
    scene.wait(Time(START.0 + 600_000))
}

fn later(scene: &mut Scene) -> Done {
    scene.disconnect();
    scene.wait(Time(OVER.0 + 1))?;
    scene.publish(HONEST, draft("while apart", 50), MessageFacts::default())?;
    scene.connect(&LinkProfile::lossy(1_200))?;
    scene.wait(Time(OVER.0 + HOUR))?;
    scene.wait(Time(DUE.0 + 1))
}

/// What waits in every way, and a client that says nothing.
fn unread(scene: &mut Scene) -> Done {
    scene.silent_client = true;
    let parent = message(id(LEFT), "never judged", &[]);
    scene.say(&batch(
        3,
        vec![wire(&parent, Some(7)), wire(&message(id(LEFT), "nor this", &[&parent]), Some(8))],
    ))?;
    let wanted = message(id(HONEST), "wanted by two", &[]);
    scene.say(&batch(3, vec![wire(&message(id(LEFT), "wants it too", &[&wanted]), Some(9))]))?;
    scene.say(&batch(4, vec![wire(&message(id(UNJUDGED), "wants it wrongly", &[&wanted]), Some(9))]))
}

fn opened_again(scene: &mut Scene) -> Done {
    scene.a().commit()?;
    scene.open()?;
    scene.silent_client = false;
    scene.pump()
}

fn client_gone(scene: &mut Scene) -> Done {
    scene.silent_client = true;
    let late = message(id(LEFT), "judged by nobody", &[]);
    scene.say(&batch(3, vec![wire(&late, Some(10))]))?;
    scene.a().add_group(&descriptor(LEFT), false)?;
    scene.silent_client = false;
    scene.pump()
}

fn left(scene: &mut Scene) -> Done {
    let now = scene.now;
    match scene.a().remove_group(id(LEFT)) {
        Ok(()) | Err(EngineError::UnknownGroup(_)) => {}
        Err(error) => return Err(error),
    }
    scene.given.remove(&id(LEFT));
    scene.a().remove_peer(HAND, now)?;
    scene.a().remove_peer(PeerId::from_bytes([77; 32]), now)?;
    scene.hand = None;
    scene.a().commit()?;
    scene.connect(&LinkProfile::reliable())?;
    scene.wait(Time(DUE.0 + HOUR))
}

/// Every question that an application can ask.
fn read(scene: &mut Scene) -> Done {
    scene.ask(questions)
}

fn questions(a: &Engine<Disk>) -> Done {
    let log = a.log(id(HONEST), 0, 3, usize::MAX)?;
    let last = log.last().unwrap();
    assert_eq!(a.entry(id(HONEST), last.position)?.as_ref(), Some(last));
    assert_eq!(a.message(&last.id)?.as_ref(), Some(last));
    for direction in [Direction::Forward, Direction::Backward] {
        assert_eq!(a.page(id(HONEST), None, direction, 2)?.len(), 2);
        assert!(a.page(id(HONEST), Some(&last.key), direction, 2)?.iter().all(|entry| entry.id != last.id));
    }
    let gone = a.page(id(HONEST), None, Direction::Forward, usize::MAX >> 1)?;
    assert!(gone.iter().any(|entry| entry.state == MessageState::Pruned && entry.body.is_none()));
    assert_eq!(a.heads(id(HONEST), 1)?.len(), 1);
    assert_eq!(a.value("space", b"key")?.unwrap(), b"value");
    assert_eq!(a.values("space", None, 5)?.len(), 1);
    Ok(())
}

const STEPS: [(&str, Step); 12] = [
    ("groups", groups),
    ("own messages", own_messages),
    ("met", met),
    ("refused", refused),
    ("asked", asked),
    ("early and gone", early_and_gone),
    ("later", later),
    ("unread", unread),
    ("opened again", opened_again),
    ("client gone", client_gone),
    ("left", left),
    ("read", read),
];

/// What a store fails at, a step, and what the engine holds in the end.
fn run(left_over: u64, keeps: bool) -> (Option<&'static str>, Vec<String>, u64) {
    let disk = Disk::new(left_over, keeps);
    let mut scene = Scene::new(disk.clone());
    let mut failed = None;
    for (name, step) in [("open", Scene::open as Step)].into_iter().chain(STEPS) {
        let Err(error) = step(&mut scene) else { continue };
        assert!(matches!(error, EngineError::Store(_)), "{name}: {error}");
        assert_eq!((disk.left(), failed), (0, None), "{name}: nothing has failed: {error}");
        failed = Some(name);
        disk.mend();
        if let Some(engine) = &mut scene.engine {
            let now = scene.now;
            let after = engine.handle_timeout(now);
            let stopped = matches!(after, Err(EngineError::Poisoned));
            assert_eq!(stopped, !scene.question_failed, "{name}: {after:?}");
            if stopped {
                assert!(matches!(engine.commit(), Err(EngineError::Poisoned)));
                assert!(matches!(engine.poll_event(), Err(EngineError::Poisoned)));
                assert!(matches!(engine.set_value("x", b"x", None), Err(EngineError::Poisoned)));
                let refused = engine.publish(id(HONEST), draft("refused", 1), now);
                assert!(matches!(refused, Err(EngineError::Poisoned)), "{refused:?}");
            }
        }
        scene.open().unwrap();
        step(&mut scene).unwrap();
    }
    let calls = u64::MAX - disk.left();
    let engine = scene.engine.as_ref().unwrap();
    let report = check(engine.store()).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(engine.audit(), Vec::<String>::new());
    let mut held = Vec::new();
    for name in [HONEST, UNJUDGED, GAPS] {
        let ours = engine.page(id(name), None, Direction::Forward, 1_000).unwrap();
        if name != GAPS {
            let theirs = scene.friend.page(id(name), None, Direction::Forward, 1_000).unwrap();
            // What expired before it was delivered here never reached the other one.
            let ids = |page: &[crate::Entry]| -> Vec<MessageId> {
                page.iter().filter(|entry| entry.body.is_some()).map(|entry| entry.id).collect()
            };
            assert_eq!(ids(&ours), ids(&theirs), "{name}");
        }
        let text =
            |entry: &crate::Entry| entry.body.as_ref().map_or("gone".into(), |body| format!("{body:?}"));
        held.extend(ours.iter().map(|entry| format!("{name}: {:?} {}", entry.state, text(entry))));
    }
    (failed, held, calls)
}

#[test]
fn a_store_that_fails_at_any_call_is_a_crash_at_that_call() {
    let (failed, held, calls) = run(u64::MAX, false);
    assert_eq!(failed, None);
    for text in ["own 5", "theirs 2", "early", "behind it", "elsewhere", "while apart", "kept"] {
        assert!(held.iter().any(|held| held.contains(text)), "{text}: {held:#?}");
    }
    assert!(!held.iter().any(|held| held.contains("bad") || held.contains("stray")), "{held:#?}");
    let mut seen = std::collections::BTreeSet::new();
    for at in 0..calls {
        let (failed, after, _) = run(at, at % 2 == 0);
        assert!(failed.is_some(), "call {at} of {calls}");
        assert_eq!(after, held, "after call {at}, in {failed:?}");
        seen.extend(failed);
    }
    assert_eq!(seen.len(), STEPS.len() + 1, "{seen:?}");
}

/// What the engine says of a store that gives back something else than was written.
fn told<T: std::fmt::Debug>(answer: Result<T, EngineError>) -> String {
    match answer {
        Err(EngineError::Store(StoreError::Corrupt(what))) => what,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_store_gives_back_is_not_believed() {
    let disk = Disk::new(u64::MAX, false);
    let mut engine = Engine::open(disk.clone(), config(), [0; 32], START).unwrap();
    let group = engine.add_group(&descriptor(HONEST), false).unwrap();
    for n in 0..3 {
        engine.publish(group, draft(&format!("own {n}"), n), START).unwrap();
    }
    engine.commit().unwrap();
    let last = engine.entry(group, 3).unwrap().unwrap();

    disk.lie(Lie::Bodies);
    assert!(told(engine.message(&last.id)).contains("its content is not what its id names"));
    assert!(told(engine.log(group, 0, 9, 999)).contains("its content is not what its id names"));
    disk.lie(Lie::NothingAt(2));
    assert!(told(engine.log(group, 0, 9, 999)).contains("no message at position 2"));
    assert!(told(engine.log(group, 2, 9, 999)).contains("no message at position 2"));
    disk.lie(Lie::FirstAt(3));
    assert!(told(engine.log(group, 0, 9, 999)).contains("does not belong to position 3"));
    disk.lie(Lie::Nothing);
    assert_eq!(engine.log(group, 0, 9, 999).unwrap().last(), Some(&last), "a question does not stop it");

    // Nor is it sent.
    engine.set_visibility(HAND, group, Visibility::Shared).unwrap();
    let link = engine.link_up(HAND, LinkProfile::reliable(), START).unwrap();
    engine.receive(link, encode(&greeting(&[group])), START).unwrap();
    disk.lie(Lie::Bodies);
    let mut sent = engine.poll_transmit(link, START, usize::MAX);
    if matches!(sent, Ok(Some(_))) {
        sent = engine.poll_transmit(link, START, usize::MAX);
    }
    assert!(told(sent).contains("its content is not what its id names"));
    assert!(matches!(engine.commit(), Err(EngineError::Poisoned)));
}
