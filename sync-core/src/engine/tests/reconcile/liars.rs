//! Peers that lie: it costs themselves, and nobody else.

use std::collections::BTreeSet;

use hedgerow_proto::{
    Announce, Frame, GroupId, GroupRef, InStep, Lacks, Message, MessageId, Reconcile, ReconcileStep, Summary,
    Symbols, limits::NONCE_LEN,
};

use crate::engine::tests::faults::{LIAR, Liar, message};
use crate::reconcile::{Key, Sample, Sketch, Symbol};
use crate::testing::by_hand::{NONCE, announce, encode, hear, hello, offers_in};
use crate::testing::{Net, descriptor};
use crate::{Config, LinkProfile};
use hedgerow_proto::{PeerId, Visibility};

pub(super) const MANY: usize = 200;

/// Node 0 with messages of its own, and a peer that says it holds some of them, or all.
pub(super) struct Scene {
    pub(super) net: Net,
    pub(super) group: GroupId,
    ids: Vec<MessageId>,
    pub(super) liar: Liar,
    /// The nonce of node 0.
    nonce: [u8; NONCE_LEN],
    /// What node 0 said first.
    pub(super) first: Vec<Frame>,
}

/// `asks`: node 0 has said HELLO when the peer comes, whose nonce is lower.
pub(super) fn scene(asks: bool, held: usize) -> Scene {
    let config = Config { reconcile_interval_ms: 0, ..Config::default() };
    scene_with(config, asks, held)
}

fn scene_with(config: Config, asks: bool, held: usize) -> Scene {
    let mut net = Net::with(1, 5, config);
    let group = net.group("g", false);
    let ids: Vec<MessageId> =
        (0..MANY).map(|n| net.publish_after(0, group, &format!("message {n}"), vec![])).collect();
    net.engines[0].set_visibility(PeerId::from_bytes(LIAR), group, Visibility::Shared).unwrap();
    let now = net.now;
    let link = net.engines[0].link_up(PeerId::from_bytes(LIAR), LinkProfile::reliable(), now).unwrap();
    let mut first = if asks { hear(&mut net.engines[0], link, now) } else { Vec::new() };
    let mut sample = Sample::default();
    ids.iter().take(held).for_each(|id| sample.toggle(&group, id));
    let summary = Summary { count: held as u64, sample: sample.0 ^ Announce::mask_of(&NONCE, group) };
    let announces = vec![Announce { summary: Some(summary), ..announce(group, 1) }];
    let greeting = Frame { hello: Some(hello(1)), announces, ..Frame::default() };
    net.engines[0].receive(link, encode(&greeting), now).unwrap();
    first.extend(hear(&mut net.engines[0], link, now));
    let nonce = first.iter().find_map(|frame| frame.hello.as_ref()).unwrap().nonce;
    assert_eq!(descriptor("g").id(), group);
    assert!(NONCE < nonce, "the seed is to be another one");
    Scene { net, group, ids, liar: Liar { link }, nonce, first }
}

impl Scene {
    pub(super) fn say(&mut self, salt: u32, step: ReconcileStep) {
        let record = Reconcile { group: GroupRef::Number(1), salt, step };
        self.liar.say(&mut self.net, &Frame { reconciles: vec![record], ..Frame::default() }).unwrap();
    }

    pub(super) fn hear(&mut self) -> Vec<Frame> {
        self.liar.hear(&mut self.net)
    }

    /// The key of this session. `saying`: the peer says symbols.
    fn key(&self, salt: u32, saying: bool) -> Key {
        let (sayer, solver) = if saying { (&NONCE, &self.nonce) } else { (&self.nonce, &NONCE) };
        Key::new(Reconcile::secret_of(sayer, solver, self.group, salt))
    }

    fn symbols(&self, salt: u32, ids: &[MessageId], width: u8, count: usize) -> Vec<Symbol> {
        let key = self.key(salt, true);
        Sketch::new(key, ids.iter().map(|id| key.short_id(id, width))).next_symbols(count)
    }

    /// Node 0 is in order, and gives in the end what the peer was not found to hold.
    fn ends_in_offers(mut self) -> BTreeSet<MessageId> {
        self.net.run(120_000);
        let mut offered = BTreeSet::new();
        for _ in 0..100 {
            for frame in self.hear() {
                let pushed = frame.batches.iter().flat_map(|batch| &batch.messages);
                offered.extend(pushed.map(|m| message_of(self.group, &m.body).id()));
                offered.extend(frame.offers.iter().flat_map(|offer| &offer.items).map(|item| item.id));
            }
        }
        assert!(self.net.engines[0].reconciles.is_empty());
        assert_eq!(self.net.engines[0].audit(), Vec::<String>::new());
        offered
    }
}

fn message_of(group: GroupId, body: &[u8]) -> Message {
    Message::new(group, 1_700_000_000_000, vec![], bytes::Bytes::copy_from_slice(body)).unwrap()
}

pub(super) fn steps(frames: &[Frame]) -> Vec<ReconcileStep> {
    frames.iter().flat_map(|frame| &frame.reconciles).map(|record| record.step.clone()).collect()
}

fn block(first: u32, width: u8, count: u64, rest: u32, symbols: &[Symbol]) -> ReconcileStep {
    let mut bytes = Vec::new();
    symbols.iter().for_each(|symbol| symbol.write(width, &mut bytes));
    ReconcileStep::Symbols(Symbols { first, count, width, rest, bytes: bytes.into() })
}

fn said(frames: &[Frame]) -> Symbols {
    let step = steps(frames).into_iter().find_map(|step| match step {
        ReconcileStep::Symbols(symbols) => Some(symbols),
        _ => None,
    });
    step.unwrap()
}

fn stops(frames: &[Frame]) -> bool {
    steps(frames).contains(&ReconcileStep::Stop)
}

/// The other side of the specification, written again: symbols that node 0 says are those of its set.
// spec: reconcile-who, reconcile-key, reconcile-symbols
#[test]
fn who_has_not_said_hello_says_symbols_of_its_set_at_once() {
    let scene = scene(false, MANY - 4);
    let symbols = said(&scene.first);
    assert_eq!((symbols.first, symbols.count, symbols.rest), (0, MANY as u64, 0));
    let key = scene.key(0, false);
    let shorts = scene.ids.iter().map(|id| key.short_id(id, symbols.width));
    let came: Vec<Symbol> = Symbol::read(&symbols.bytes, symbols.width).collect();
    assert_eq!(Sketch::new(key, shorts).next_symbols(came.len()), came);
    assert!((4..40).contains(&came.len()));
    assert!(scene.first.iter().all(|frame| offers_in(frame) == 0 && frame.batches.is_empty()));
}

// spec: reconcile-who
#[test]
fn who_has_said_hello_and_has_the_higher_nonce_asks() {
    let mut scene = scene(true, MANY - 4);
    assert_eq!(steps(&scene.first), [ReconcileStep::Ask]);
    let ids = scene.ids[..MANY - 4].to_vec();
    let symbols = scene.symbols(0, &ids, 6, 40);
    scene.say(0, block(0, 6, ids.len() as u64, 0, &symbols));
    let frames = scene.hear();
    let told = steps(&frames);
    let [ReconcileStep::Lacks(lacks)] = &told[..] else { panic!("{told:?}") };
    assert!(lacks.ids.is_empty() && !lacks.more);
    // What the peer lacks is sent at once.
    assert_eq!(
        frames.iter().flat_map(|frame| &frame.batches).map(|batch| batch.messages.len()).sum::<usize>(),
        4
    );
    assert!(frames.iter().all(|frame| offers_in(frame) == 0));
}

/// Both begin at once, as their HELLOs crossed and both think it is theirs to do: the lower nonce says symbols.
// spec: reconcile-who
#[test]
fn of_two_that_began_the_one_with_the_lower_nonce_goes_on() {
    let mut scene = scene(false, MANY - 4);
    assert_eq!(said(&scene.first).first, 0);
    let ids = scene.ids[..MANY - 4].to_vec();
    let symbols = scene.symbols(0, &ids, 6, 40);
    scene.say(0, block(0, 6, ids.len() as u64, 0, &symbols));
    assert!(matches!(steps(&scene.hear())[..], [ReconcileStep::Lacks(_)]), "ours is higher");
}

// spec: reconcile-result
#[test]
fn what_a_peer_says_it_lacks_is_sent_and_nothing_else() {
    let mut scene = scene(false, MANY - 4);
    let symbols = said(&scene.first);
    let key = scene.key(0, false);
    let cut = 3;
    let name = |id: &MessageId| key.short_id(id, symbols.width) >> (8 * u32::from(symbols.width - cut));
    let mut ids = Vec::new();
    for id in &scene.ids[MANY - 4..] {
        ids.extend_from_slice(&name(id).to_be_bytes()[8 - usize::from(cut)..]);
    }
    let rest = ids.split_off(6);
    scene.say(0, ReconcileStep::Lacks(Lacks { cut, ids: ids.into(), more: true }));
    assert!(scene.hear().is_empty(), "there is more to come");
    scene.say(0, ReconcileStep::Lacks(Lacks { cut, ids: rest.into(), more: false }));
    let frames = scene.hear();
    assert_eq!(
        frames.iter().flat_map(|frame| &frame.batches).map(|batch| batch.messages.len()).sum::<usize>(),
        4
    );
    assert!(scene.net.engines[0].is_held_by(PeerId::from_bytes(LIAR), scene.group, 1));
    assert!(scene.ends_in_offers().is_empty());
}

// spec: reconcile-timeout
#[test]
fn a_peer_that_never_answers_is_offered_everything_in_the_end() {
    for asks in [false, true] {
        let mut scene = scene(asks, MANY - 4);
        scene.net.run(29_000);
        assert!(scene.hear().is_empty());
        assert_eq!(scene.ends_in_offers().len(), MANY, "{asks}");
    }
}

// spec: reconcile-growing, reconcile-bounds
#[test]
fn whoever_never_has_enough_is_told_no_more() {
    let mut scene = scene(false, MANY - 4);
    let mut told = said(&scene.first).bytes.len() / (5 + 3);
    for _ in 0..1_000 {
        scene.say(0, ReconcileStep::More(u32::try_from(told / 8 + 1).unwrap()));
        let frames = scene.hear();
        if stops(&frames) {
            assert!(told <= 2 * MANY + 64 && told > MANY, "{told}");
            assert_eq!(scene.ends_in_offers().len(), 0, "offers came with the stop");
            return;
        }
        told += said(&frames).bytes.len() / (5 + 3);
    }
    panic!("there is no end to it");
}

// spec: reconcile-growing
#[test]
fn one_symbol_at_a_time_is_not_given() {
    let mut scene = scene(false, MANY - 20);
    for _ in 0..30 {
        scene.say(0, ReconcileStep::More(1));
        if stops(&scene.hear()) {
            return;
        }
    }
    panic!("each of these costs a look at each message");
}

/// Symbols of nothing, of everything, and of made-up ids; counts that are wrong; more than was asked for.
// spec: reconcile-bounds, reconcile-in-order
#[test]
fn symbols_of_no_set_end_in_offers() {
    let junk = |n: u64| Symbol {
        sum: n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16,
        check: u16::try_from(n * 7 % 65_536).unwrap(),
        count: u8::try_from(n % 5).unwrap(),
    };
    for (first, count, rest) in [(0, 200, 0), (0, u64::MAX, u32::MAX), (0, 0, 0), (0, 200, 7)] {
        for size in [1, 10, 300, 464] {
            let mut scene = scene(true, MANY - 4);
            let mut next: u32 = first;
            for round in 0..200_u64 {
                let symbols: Vec<Symbol> = (0..size).map(|n| junk(n + 1 + round * 1_000)).collect();
                scene.say(0, block(next, 6, count, rest, &symbols));
                next += u32::try_from(size).unwrap();
                let frames = scene.hear();
                if stops(&frames) || scene.net.engines[0].reconciles.is_empty() {
                    break;
                }
                // It is asked for more, or for another key; the next ones come unasked all the same.
            }
            assert!(scene.net.engines[0].reconciles.len() <= 1);
            scene.net.run(31_000);
            assert!(scene.net.engines[0].reconciles.is_empty());
            assert_eq!(scene.net.engines[0].audit(), Vec::<String>::new());
        }
    }
}

// spec: reconcile-in-order
#[test]
fn symbols_that_were_not_asked_for_end_it() {
    let all = MANY as u64;
    for (first, second) in [(8, 0), (9, 8), (7, 8), (8, 8)] {
        let mut scene = scene(true, MANY - 4);
        let ids = scene.ids.clone();
        let symbols = scene.symbols(0, &ids[..MANY - 40], 6, 30);
        scene.say(0, block(0, 6, all, 0, &symbols[..8]));
        let told = steps(&scene.hear());
        let [ReconcileStep::More(more)] = told[..] else { panic!("{told:?}") };
        let count = if second == 0 { usize::try_from(more).unwrap() + 1 } else { second };
        let block = block(first, 6, 0, 0, &vec![symbols[9]; count]);
        scene.say(0, block);
        let ended = stops(&scene.hear());
        assert_eq!(ended, (first, second) != (8, 8), "{first} {second}");
    }
}

/// A set in which two ids cancel each other under every key cannot be: the peer says each twice. It is noticed, tried under
/// other keys, and given up.
// spec: reconcile-salt
#[test]
fn sets_that_cancel_are_tried_under_other_keys_and_given_up() {
    let mut scene = scene(true, MANY - 4);
    let twice: Vec<MessageId> = vec![message(scene.group, "x", &[]).id(); 2];
    let ids = [&scene.ids[..MANY - 4], &twice].concat();
    for salt in 0..3 {
        let symbols = scene.symbols(salt, &ids, 6, 80);
        scene.say(salt, block(0, 6, ids.len() as u64, 0, &symbols));
        let frames = scene.hear();
        if salt < 2 {
            assert!(matches!(steps(&frames)[..], [ReconcileStep::More(_)]), "{salt}: {:?}", steps(&frames));
            let next = frames.iter().flat_map(|frame| &frame.reconciles).next().unwrap().salt;
            assert_eq!(next, salt + 1);
        } else {
            assert!(stops(&frames));
            let offers: usize = frames.iter().map(offers_in).sum();
            let bodies: usize = frames.iter().flat_map(|f| &f.batches).map(|b| b.messages.len()).sum();
            assert_eq!(offers + bodies, MANY);
        }
    }
}

/// A salt that is chance's: node 0 says symbols under the next key when it is asked to.
// spec: reconcile-salt
#[test]
fn another_key_is_had_for_the_asking_twice() {
    let mut scene = scene(false, MANY - 4);
    for salt in 1..3 {
        scene.say(salt, ReconcileStep::More(20));
        let symbols = said(&scene.hear());
        let key = scene.key(salt, false);
        let shorts = scene.ids.iter().map(|id| key.short_id(id, symbols.width));
        let came: Vec<Symbol> = Symbol::read(&symbols.bytes, symbols.width).collect();
        assert_eq!(Sketch::new(key, shorts).next_symbols(20), came);
    }
    scene.say(3, ReconcileStep::More(20));
    assert!(scene.hear().is_empty());
}

/// Where our messages stand in the log of another one counts while we hold what was compared.
// spec: reconcile-known
#[test]
fn what_is_known_counts_once_it_was_compared_and_not_after_leaving() {
    let known = |last| {
        let positions = vec![hedgerow_proto::Span { first: 1, last }];
        ReconcileStep::Known { positions, chain: 7 }
    };
    let stated = |scene: &mut Scene| {
        let (me, now, link) = (PeerId::from_bytes(LIAR), scene.net.now, scene.liar.link);
        let engine = &mut scene.net.engines[0];
        engine.link_down(link, now);
        scene.liar.link = engine.link_up(me, LinkProfile::reliable(), now).unwrap();
        let frames = scene.hear();
        if let Some(in_step) = frames.iter().find_map(|frame| frame.in_step.as_ref()) {
            let nonce = frames[0].hello.as_ref().unwrap().nonce;
            assert_eq!(in_step.values, [InStep::value_of(&nonce, scene.group, 50, 7)]);
            return (1, 50);
        }
        let announce = frames.into_iter().flat_map(|frame| frame.announces).next().unwrap();
        (announce.held.len(), announce.mark)
    };
    for (compared, leaves, salt, expected) in [
        (true, false, 0, (1, 50)),
        (true, false, 4, (0, 0)),
        (true, true, 0, (0, 0)),
        (false, false, 0, (0, 0)),
    ] {
        let mut scene = scene(false, MANY - 4);
        if compared {
            scene.say(0, ReconcileStep::Lacks(Lacks { cut: 1, ids: vec![].into(), more: false }));
        }
        if leaves {
            let (me, group) = (PeerId::from_bytes(LIAR), scene.group);
            for visibility in [Visibility::Invisible, Visibility::Shared] {
                scene.net.engines[0].set_visibility(me, group, visibility).unwrap();
                scene.hear();
            }
        }
        scene.say(salt, known(50));
        assert_eq!(stated(&mut scene), expected, "{compared} {leaves} {salt}");
    }
}

/// Whoever says that it holds all, or lacks all, is believed, and nobody else is worse off for it.
// spec: reconcile-result
#[test]
fn a_lie_about_what_is_lacked_costs_the_liar() {
    let mut scene = scene(false, MANY - 4);
    scene.say(0, ReconcileStep::Lacks(Lacks { cut: 1, ids: vec![].into(), more: false }));
    assert!(scene.net.engines[0].is_held_by(PeerId::from_bytes(LIAR), scene.group, 200));
    let group = scene.group;
    // Another peer that holds nothing gets all.
    let other = Liar::named(&mut scene.net, PeerId::from_bytes([98; 32]), &[group]);
    let frames = other.hear(&mut scene.net);
    let offers: usize = frames.iter().map(offers_in).sum();
    let bodies: usize = frames.iter().flat_map(|f| &f.batches).map(|b| b.messages.len()).sum();
    assert_eq!(offers + bodies, MANY);
}

// spec: reconcile-bounds
#[test]
fn more_names_than_there_are_messages_are_not_kept() {
    let mut scene = scene(false, MANY - 4);
    for n in 0..100_u32 {
        let ids: Vec<u8> = (0..50_u32).flat_map(|k| (n * 50 + k).to_be_bytes()).collect();
        scene.say(0, ReconcileStep::Lacks(Lacks { cut: 4, ids: ids.into(), more: true }));
        if scene.net.engines[0].reconciles.is_empty() {
            assert!(n <= 4, "{n}");
            assert!(stops(&scene.hear()));
            return;
        }
    }
    panic!("all are kept");
}

/// A peer that begins in many groups and falls silent keeps nobody else out, and what it gives up it is offered. Another
/// one that has as many is not pushed aside.
// spec: reconcile-seldom
#[test]
fn a_silent_peer_keeps_nobody_out() {
    let mut net = Net::with(1, 5, Config { max_reconciles: 4, ..Config::default() });
    let groups: Vec<GroupId> = (0..6).map(|n| net.group(&format!("g{n}"), false)).collect();
    let mut ids = Vec::new();
    for group in &groups {
        ids.push(
            (0..MANY).map(|n| net.publish_after(0, *group, &format!("{n}"), vec![])).collect::<Vec<_>>(),
        );
    }
    let come = |net: &mut Net, name: u8| {
        let now = net.now;
        let me = PeerId::from_bytes([name; 32]);
        groups
            .iter()
            .for_each(|group| net.engines[0].set_visibility(me, *group, Visibility::Shared).unwrap());
        let link = net.engines[0].link_up(me, LinkProfile::reliable(), now).unwrap();
        let mut announces = Vec::new();
        for ((&group, number), ids) in groups.iter().zip(1..).zip(&ids) {
            let mut sample = Sample::default();
            ids[..MANY - 4].iter().for_each(|id| sample.toggle(&group, id));
            let summary = Summary { count: 196, sample: sample.0 ^ Announce::mask_of(&NONCE, group) };
            announces.push(Announce { summary: Some(summary), ..announce(group, number) });
        }
        let greeting = Frame { hello: Some(hello(1)), announces, ..Frame::default() };
        net.engines[0].receive(link, encode(&greeting), now).unwrap();
        hear(&mut net.engines[0], link, now)
    };
    let begun = |frames: &[Frame]| {
        let symbols = |step: &&ReconcileStep| matches!(step, ReconcileStep::Symbols(_));
        steps(frames).iter().filter(symbols).count()
    };
    let of = |net: &Net| {
        let mut each: Vec<usize> = Vec::new();
        let peers: BTreeSet<_> = net.engines[0].reconciles.keys().map(|(peer, _)| *peer).collect();
        peers.iter().for_each(|of| {
            each.push(net.engines[0].reconciles.keys().filter(|(peer, _)| peer == of).count());
        });
        each
    };
    assert_eq!((begun(&come(&mut net, 99)), of(&net)), (4, vec![4]));
    // It is told that two of them end, and offered what is in these groups.
    assert_eq!((begun(&come(&mut net, 98)), of(&net)), (2, vec![2, 2]));
    let link = net.engines[0].links.keys().next().copied().unwrap();
    let frames = hear(&mut net.engines[0], link, net.now);
    assert_eq!(steps(&frames), [ReconcileStep::Stop, ReconcileStep::Stop]);
    let bodies = frames.iter().flat_map(|frame| &frame.batches).map(|batch| batch.messages.len());
    assert!(bodies.sum::<usize>() + frames.iter().map(offers_in).sum::<usize>() >= 2 * MANY);
    assert_eq!((begun(&come(&mut net, 97)), of(&net)), (1, vec![2, 1, 1]));
    assert_eq!((begun(&come(&mut net, 96)), of(&net)), (1, vec![1, 1, 1, 1]));
    assert_eq!((begun(&come(&mut net, 95)), of(&net)), (0, vec![1, 1, 1, 1]));
    assert_eq!(net.engines[0].audit(), Vec::<String>::new());
}

/// A peer that has a set made again and again is offered everything instead.
// spec: reconcile-seldom
#[test]
fn it_is_not_done_again_at_once() {
    let mut scene = scene_with(Config::default(), true, MANY - 4);
    scene.say(0, block(0, 6, 1, 0, &[Symbol::default(); 8]));
    scene.hear();
    scene.say(0, ReconcileStep::Stop);
    scene.hear();
    for _ in 0..3 {
        let symbols = [Symbol { sum: 1, check: 2, count: 3 }; 8];
        scene.say(0, block(0, 6, 1, 0, &symbols));
        assert_eq!(steps(&scene.hear()), [ReconcileStep::Stop]);
        scene.say(0, ReconcileStep::Ask);
        assert_eq!(steps(&scene.hear()), [ReconcileStep::Stop]);
    }
    scene.net.run(31_000);
    scene.say(0, ReconcileStep::Ask);
    assert!(matches!(steps(&scene.hear())[..], [ReconcileStep::Symbols(_)]));
}

/// Records that fit nothing are ignored.
#[test]
fn what_comes_out_of_place_does_nothing() {
    for asks in [false, true] {
        let mut scene = scene(asks, MANY - 4);
        for salt in [0, 1, 2, 3, u32::MAX] {
            for step in [
                ReconcileStep::Lacks(Lacks { cut: 8, ids: vec![1; 8].into(), more: true }),
                ReconcileStep::More(0),
                ReconcileStep::More(u32::MAX),
                block(5, 8, 3, 9, &[Symbol::default()]),
                block(u32::MAX, 8, u64::MAX, u32::MAX, &[]),
                ReconcileStep::Ask,
                ReconcileStep::Stop,
                ReconcileStep::Stop,
                ReconcileStep::Lacks(Lacks { cut: 1, ids: vec![1; 8].into(), more: false }),
            ] {
                scene.say(salt, step);
                scene.hear();
            }
        }
        scene.net.run(120_000);
        scene.hear();
        assert!(scene.net.engines[0].reconciles.is_empty());
        assert_eq!(scene.net.engines[0].audit(), Vec::<String>::new());
    }
}
