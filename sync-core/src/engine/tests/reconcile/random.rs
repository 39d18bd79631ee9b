//! Any two sets: what was pruned, what waits, what was written long ago.

use proptest::prelude::*;

use hedgerow_proto::{GroupId, Message, PeerId, Visibility};

use super::{crossed, take_tap};
use crate::store::{MessageState, Store as _};
use crate::testing::by_hand::{batch, encode, greeting, message, wire};
use crate::testing::{Net, peer};
use crate::{Config, LinkProfile, MessageFacts, Verdict};

/// Who gets each message from the outside: nobody else can have told the two of each other.
#[derive(Debug, Clone, Copy)]
enum Who {
    Both,
    Zero,
    One,
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![8 => Just(Who::Both), 1 => Just(Who::Zero), 1 => Just(Who::One)]
}

/// Some bodies are over at once: they are pruned where they are held.
fn judge(message: &Message) -> Verdict {
    let expires_ms = message.body().starts_with(b"brief").then_some(1_700_000_000_000 + 60_000);
    Verdict::Valid(MessageFacts { expires_ms, ..MessageFacts::default() })
}

/// A peer that is not met again tells a node of messages.
fn teach<'a>(net: &mut Net, n: usize, group: GroupId, messages: impl Iterator<Item = &'a Message>) {
    let teacher = PeerId::from_bytes([90; 32]);
    net.engines[n].set_visibility(teacher, group, Visibility::Shared).unwrap();
    let link = net.engines[n].link_up(teacher, LinkProfile::reliable(), net.now).unwrap();
    net.engines[n].receive(link, encode(&greeting(&[group])), net.now).unwrap();
    for (position, message) in (1..).zip(messages) {
        let frame = batch(1, vec![wire(message, Some(position))]);
        net.engines[n].receive(link, encode(&frame), net.now).unwrap();
        net.drain(n);
    }
    net.engines[n].link_down(link, net.now);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    // spec: reconcile-set, reconcile-result
    #[test]
    fn any_two_that_differ_by_little_come_level(
        all in prop::collection::vec((who(), 0..6_usize, any::<u8>()), 60..240),
        seed in any::<u64>(),
        small in any::<bool>(),
    ) {
        let config = Config { reconcile_from: if small { 2 } else { 32 }, ..Config::default() };
        let mut net = Net::with(2, seed, config);
        net.judge = judge;
        let group = net.group("g", true);
        let mut written: Vec<(Who, Message)> = Vec::new();
        for (n, &(who, back, kind)) in all.iter().enumerate() {
            let word = if kind % 16 == 0 { "brief" } else { "lasting" };
            // After another one, which is not there where only the other node has it: it waits.
            let parent = n.checked_sub(back + 1).and_then(|at| written.get(at));
            let deps: Vec<&Message> = parent.filter(|_| back > 0).map(|(_, parent)| parent).into_iter().collect();
            written.push((who, message(group, &format!("{word} {n}"), &deps)));
        }
        for pupil in [0, 1] {
            let own = written.iter().filter(|(who, _)| {
                matches!((who, pupil), (Who::Both, _) | (Who::Zero, 0) | (Who::One, 1))
            });
            teach(&mut net, pupil, group, own.map(|(_, message)| message));
        }
        net.tap = Some(Vec::new());
        // Some of it is over by now.
        net.run(100_000);
        let at = net.connect(0, 1);
        net.run(200_000);
        for (n, other) in [(0, 1), (1, 0)] {
            let left = net.engines[n].outstanding();
            let left = left.into_iter().find(|left| left.peer == peer(other)).unwrap();
            prop_assert!(left.is_settled(), "node {}: {:?}", n, left);
            prop_assert!(net.engines[n].audit().is_empty());
        }
        let lasting = |n: usize| {
            let mut ids: Vec<_> =
                net.log(n, group).into_iter().filter(|entry| entry.body.is_some()).map(|entry| entry.id).collect();
            ids.sort_unstable();
            ids
        };
        prop_assert_eq!(lasting(0), lasting(1));
        let tap = take_tap(&mut net);
        // What they say they hold at the next contact, they hold.
        net.disconnect(at);
        net.connect(0, 1);
        net.run(1_000);
        for sent in take_tap(&mut net) {
            for announce in &sent.frame.announces {
                for position in announce.held.iter().flat_map(|span| span.first..=span.last) {
                    let id = net.log(sent.to, group)[usize::try_from(position).unwrap() - 1].id;
                    let row = net.engines[sent.from].store().find(&id).unwrap();
                    let held = row.is_some_and(|row| row.state != MessageState::Wanted);
                    prop_assert!(held, "{} says it holds {} of {}", sent.from, position, sent.to);
                }
            }
        }
        let said = crossed(&tap);
        // What waits asks for what it waits for, which may be under way already.
        let asked = tap.iter().flat_map(|sent| &sent.frame.requests).map(|request| request.ids.len()).sum::<usize>();
        let differ = written.iter().filter(|(who, message)| {
            !matches!(who, Who::Both) && !message.body().starts_with(b"brief")
        });
        let differ = differ.count();
        prop_assert!((differ..=differ + asked).contains(&said.bodies), "{} differ, {} asked: {:?}", differ, asked, said);
    }
}
