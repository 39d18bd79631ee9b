//! A peer made by hand, that says what a deployed one may say.

use bytes::Bytes;
use hedgerow_proto::mvds::{Metadata, Payload, PayloadMessage};
use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, MessageId, Visibility};

use super::{batch, interactive};
use crate::testing::peer;
use crate::{Config, Draft, Engine, LinkId, LinkProfile, MemoryStore, Time};

const G: GroupId = GroupId::from_bytes([5; 32]);
const NOW: Time = Time(1_700_000_000_000);

/// An engine with one group, and a link to a peer made by hand.
pub(super) struct Hand {
    pub(super) engine: Engine<MemoryStore>,
    pub(super) link: LinkId,
    pub(super) now: Time,
}

impl Hand {
    pub(super) fn new(profile: LinkProfile, config: Config) -> Self {
        let mut engine = Engine::open(MemoryStore::new(), config, [1; 32], NOW).unwrap();
        engine.add_group_of(IdScheme::Mvds, &GroupDescriptor::of_id(G), false).unwrap();
        engine.set_visibility(peer(1), G, Visibility::Shared).unwrap();
        let link = engine.link_up(peer(1), profile, NOW).unwrap();
        Self { engine, link, now: NOW }
    }

    fn publish(&mut self, body: &str) -> MessageId {
        let draft =
            Draft { timestamp_ms: self.now.as_timestamp_ms(), deps: vec![], body: body.to_owned().into() };
        self.engine.publish(G, draft, self.now).unwrap()
    }

    fn say(&mut self, payload: &Payload) {
        let mut out = Vec::new();
        payload.encode(&mut out);
        self.engine.receive(self.link, out.into(), self.now).unwrap();
    }

    fn send(&mut self, message: &PayloadMessage) {
        self.say(&Payload { messages: vec![message.clone()], ..Payload::default() });
    }

    /// Everything that the engine has to say now.
    fn hear(&mut self) -> Payload {
        let mut all = Payload::default();
        while let Some(frame) = self.engine.poll_transmit(self.link, self.now, usize::MAX).unwrap() {
            let payload = Payload::decode(frame).unwrap();
            all.acks.extend(payload.acks);
            all.offers.extend(payload.offers);
            all.requests.extend(payload.requests);
            all.messages.extend(payload.messages);
        }
        all
    }

    fn delivered(&self) -> Vec<Bytes> {
        let log = self.engine.log(G, 0, usize::MAX, usize::MAX).unwrap();
        log.into_iter().map(|entry| entry.body.unwrap()).collect()
    }
}

fn message(body: &str, parents: &[MessageId]) -> PayloadMessage {
    let metadata = (!parents.is_empty()).then(|| Metadata { parents: parents.to_vec(), ephemeral: false });
    PayloadMessage { group: G, timestamp_s: 1_700_000_000, body: body.to_owned().into(), metadata }
}

fn id(n: u32) -> MessageId {
    let mut id = [0xee; 32];
    id[..4].copy_from_slice(&n.to_be_bytes());
    MessageId::from_bytes(id)
}

fn acks(ids: &[MessageId]) -> Payload {
    Payload { acks: ids.to_vec(), ..Payload::default() }
}

#[test]
fn dialect_mvds_an_offer_of_what_is_held_is_acknowledged() {
    let mut hand = Hand::new(batch(), Config::default());
    let m = message("hello", &[]);
    hand.send(&m);
    assert_eq!(hand.hear(), acks(&[m.id()]));
    let offer = Payload { offers: vec![m.id()], ..Payload::default() };
    for _ in 0..3 {
        hand.say(&offer);
        assert_eq!(hand.hear(), acks(&[m.id()]));
    }
    hand.send(&m);
    assert_eq!(hand.hear(), acks(&[m.id()]), "the same again is acknowledged");
    assert_eq!(hand.delivered(), ["hello"]);
}

#[test]
fn dialect_mvds_empty_payloads_are_not_answered() {
    let mut hand = Hand::new(batch(), Config::default());
    for _ in 0..10 {
        hand.say(&Payload::default());
        assert_eq!(hand.hear(), Payload::default());
    }
    assert_eq!(hand.engine.traffic().frames_out, 0);
    assert_eq!(hand.engine.poll_timeout(), None, "and nothing is to be done later");
}

#[test]
fn dialect_mvds_offers_are_requested_with_their_group_or_without() {
    let mut hand = Hand::new(interactive(), Config::default());
    let (a, b) = (message("a", &[]), message("b", &[]));
    let group_offers = vec![(G, b.id()), (GroupId::from_bytes([6; 32]), id(1))];
    hand.say(&Payload { offers: vec![a.id()], group_offers, ..Payload::default() });
    let mut asked = hand.hear().requests;
    asked.sort_unstable();
    let mut both = vec![a.id(), b.id()];
    both.sort_unstable();
    assert_eq!(asked, both, "what is offered for a group that is not shared is not asked for");
    assert_eq!(hand.engine.traffic().refused, 1);
    // The same offers again change nothing while the requests are open.
    hand.say(&Payload { offers: vec![a.id(), b.id()], ..Payload::default() });
    assert_eq!(hand.hear(), Payload::default());
    hand.send(&a);
    hand.send(&b);
    assert_eq!(hand.hear(), acks(&[a.id(), b.id()]));
}

#[test]
fn dialect_mvds_both_modes_answer_requests_and_take_acks() {
    for (profile, offers) in [(batch(), false), (interactive(), true)] {
        let mut hand = Hand::new(profile, Config::default());
        let a = hand.publish("a");
        let first = hand.hear();
        assert_eq!((first.offers.len(), first.messages.len()), (usize::from(offers), usize::from(!offers)));
        assert_eq!(hand.hear(), Payload::default(), "nothing is said twice on a reliable link");
        hand.say(&Payload { requests: vec![a, id(1)], ..Payload::default() });
        let answer = hand.hear();
        assert_eq!(answer.messages.iter().map(PayloadMessage::id).collect::<Vec<_>>(), [a]);
        assert_eq!(answer.messages[0].timestamp_s, 1_700_000_000);
        hand.say(&acks(&[a]));
        assert_eq!(hand.hear(), Payload::default());
        assert!(hand.engine.status().peers[0].settled);
        // It has lost it.
        hand.say(&Payload { requests: vec![a], ..Payload::default() });
        assert_eq!(hand.hear().messages.len(), 1);
    }
}

#[test]
fn dialect_mvds_what_is_not_shared_is_neither_taken_nor_given() {
    let mut hand = Hand::new(batch(), Config::default());
    let other = GroupId::from_bytes([9; 32]);
    hand.engine.add_group_of(IdScheme::Mvds, &GroupDescriptor::of_id(other), false).unwrap();
    let draft = Draft { timestamp_ms: NOW.as_timestamp_ms(), deps: vec![], body: "secret".into() };
    let secret = hand.engine.publish(other, draft, NOW).unwrap();
    hand.say(&Payload { requests: vec![secret], ..Payload::default() });
    hand.say(&Payload { offers: vec![secret], ..Payload::default() });
    hand.send(&PayloadMessage { group: other, ..message("intruder", &[]) });
    hand.say(&acks(&[secret]));
    assert_eq!(hand.hear(), Payload::default());
    assert_eq!(hand.engine.traffic().refused, 4);
    assert_eq!(hand.engine.log(other, 0, 10, 1_000).unwrap().len(), 1);
    // It is shared now, on the running link.
    hand.engine.set_visibility(peer(1), other, Visibility::Shared).unwrap();
    assert_eq!(hand.hear().messages.len(), 1);
    hand.engine.set_visibility(peer(1), other, Visibility::Invisible).unwrap();
    hand.say(&Payload { requests: vec![secret], ..Payload::default() });
    assert_eq!(hand.hear(), Payload::default());
}

#[test]
fn dialect_mvds_messages_beyond_the_limits_are_refused_and_the_rest_counts() {
    let mut hand = Hand::new(batch(), Config::default());
    let bad = [
        PayloadMessage { timestamp_s: -1, ..message("before 1970", &[]) },
        PayloadMessage { timestamp_s: i64::MAX, ..message("never", &[]) },
        PayloadMessage { body: vec![0; 32_769].into(), ..message("", &[]) },
        message("too many", &(0..65).map(id).collect::<Vec<_>>()),
    ];
    let good = message("good", &[]);
    let mut messages = bad.to_vec();
    messages.push(good.clone());
    hand.say(&Payload { messages, ..Payload::default() });
    assert_eq!(hand.hear(), acks(&[good.id()]));
    assert_eq!(hand.engine.traffic().refused, 4);
}

#[test]
fn dialect_mvds_parents_gate_and_the_first_ones_stay() {
    let mut hand = Hand::new(batch(), Config::default());
    let (a, other) = (message("a", &[]), id(1));
    let b = message("b", &[a.id()]);
    hand.send(&b);
    assert!(hand.delivered().is_empty(), "its parent is not there");
    let said = hand.hear();
    assert_eq!((said.acks, said.requests), (vec![b.id()], vec![a.id()]));
    // The same message with other parents: nothing changes, and it is counted.
    let changed = message("b", &[other]);
    assert_eq!(changed.id(), b.id());
    hand.send(&changed);
    assert_eq!(hand.engine.traffic().changed_deps, 1);
    // Who does not speak of parents does not contradict.
    hand.send(&message("b", &[]));
    assert_eq!(hand.engine.traffic().changed_deps, 1);
    hand.send(&a);
    assert_eq!(hand.delivered(), ["a", "b"]);
    hand.send(&changed);
    assert_eq!(hand.engine.traffic().changed_deps, 2);
    assert_eq!(hand.engine.message(&b.id()).unwrap().unwrap().deps, [a.id()]);
}

#[test]
fn dialect_mvds_parents_in_a_circle_hold_up_nobody() {
    let names = ["a", "b", "c"];
    let ids: Vec<MessageId> = names.iter().map(|name| message(name, &[]).id()).collect();
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        let mut hand = Hand::new(batch(), Config::default());
        for n in order {
            // Each after the one before, and the first after the last; and all after themselves.
            hand.send(&message(names[n], &[ids[(n + 2) % 3], ids[n]]));
        }
        assert_eq!(hand.delivered().len(), 3, "{order:?}");
        assert!(hand.engine.traffic().refused > 0);
        hand.engine.commit().unwrap();
        let report = crate::store::check(hand.engine.store()).unwrap();
        assert!(report.problems.is_empty(), "{:?}", report.problems);
        assert!(hand.engine.audit_books().unwrap().is_empty());
    }
}

#[test]
fn dialect_mvds_a_chain_that_comes_backwards_is_delivered_forwards() {
    let mut hand = Hand::new(batch(), Config::default());
    let mut chain = vec![message("0", &[])];
    for n in 1..3_000 {
        let parent = chain.last().unwrap().id();
        chain.push(message(&n.to_string(), &[parent]));
    }
    for message in chain.iter().rev() {
        hand.send(message);
    }
    let expected: Vec<String> = (0..3_000).map(|n| n.to_string()).collect();
    assert_eq!(hand.delivered(), expected);
}

#[test]
fn dialect_mvds_ephemeral_messages_are_told_and_not_kept() {
    let mut hand = Hand::new(batch(), Config::default());
    let metadata = Some(Metadata { parents: vec![], ephemeral: true });
    hand.send(&PayloadMessage { metadata, ..message("typing", &[]) });
    assert_eq!(hand.hear(), Payload::default());
    assert!(hand.delivered().is_empty());
    let mut told = 0;
    while let Some(event) = hand.engine.poll_event().unwrap() {
        told += u32::from(matches!(event, crate::Event::Ephemeral { .. }));
    }
    assert_eq!(told, 1);
    hand.engine.publish_ephemeral(G, "typing too".into(), NOW).unwrap();
    let said = hand.hear();
    assert!(said.messages[0].metadata.as_ref().unwrap().ephemeral);
}

#[test]
fn dialect_mvds_more_offers_than_are_kept_are_taken_up_as_there_is_room() {
    let config = Config { max_offers: 8, max_requests: 4, ..Config::default() };
    let mut hand = Hand::new(interactive(), config);
    let all: Vec<PayloadMessage> = (0..300).map(|n| message(&n.to_string(), &[])).collect();
    hand.say(&Payload { offers: all.iter().map(PayloadMessage::id).collect(), ..Payload::default() });
    let mut rounds = 0;
    loop {
        let asked = hand.hear().requests;
        assert!(asked.len() <= 4, "{} at a time", asked.len());
        assert!(hand.engine.audit_books().unwrap().is_empty());
        if asked.is_empty() {
            break;
        }
        let messages = all.iter().filter(|message| asked.contains(&message.id())).cloned().collect();
        hand.say(&Payload { messages, ..Payload::default() });
        rounds += 1;
    }
    assert_eq!(hand.delivered().len(), 300, "after {rounds} rounds");
    assert!(hand.engine.outstanding()[0].is_settled());
}

#[test]
fn dialect_mvds_what_found_no_room_is_asked_for_when_there_is() {
    let config = Config { max_parked_messages: 4, peer_shares: 1, ..Config::default() };
    let mut hand = Hand::new(batch(), config);
    let root = message("root", &[]);
    let children: Vec<PayloadMessage> = (0..100).map(|n| message(&n.to_string(), &[root.id()])).collect();
    for child in &children {
        hand.send(child);
    }
    let said = hand.hear();
    assert!(said.acks.len() < 20, "{} are held", said.acks.len());
    hand.send(&root);
    let mut now = hand.now;
    for _ in 0..200 {
        let asked = hand.hear().requests;
        let messages = children.iter().filter(|m| asked.contains(&m.id())).cloned().collect();
        hand.say(&Payload { messages, ..Payload::default() });
        now = now + 1_000;
        hand.now = now;
        hand.engine.handle_timeout(now).unwrap();
    }
    assert_eq!(hand.delivered().len(), 101);
}

#[test]
fn dialect_mvds_what_is_not_answered_is_asked_for_once_in_each_contact() {
    let mut hand = Hand::new(interactive(), Config::default());
    // A parent that nobody has, and an offer that is not kept.
    hand.send(&message("child", &[id(1)]));
    hand.say(&Payload { offers: vec![id(2)], ..Payload::default() });
    let mut asked = hand.hear().requests;
    asked.sort_unstable();
    assert_eq!(asked, [id(1), id(2)]);
    for _ in 0..200 {
        hand.now = hand.now + 20_000;
        hand.engine.handle_timeout(hand.now).unwrap();
        assert_eq!(hand.hear(), Payload::default());
    }
    assert!(hand.engine.audit_books().unwrap().is_empty());
    assert_eq!(hand.engine.missing(G).len(), 1, "it is awaited all the same");
    hand.say(&Payload { offers: vec![id(2)], ..Payload::default() });
    assert_eq!(hand.hear().requests, [id(2)], "offered again, it is asked for again");
    hand.engine.link_down(hand.link, hand.now);
    hand.link = hand.engine.link_up(peer(1), interactive(), hand.now).unwrap();
    assert_eq!(hand.hear().requests, [id(1)]);
}

#[test]
fn dialect_mvds_a_group_is_left_and_its_offers_with_it() {
    let mut hand = Hand::new(interactive(), Config::default());
    hand.say(&Payload { offers: (0..50).map(id).collect(), ..Payload::default() });
    assert_eq!(hand.hear().requests.len(), 50);
    hand.engine.remove_group(G).unwrap();
    hand.say(&Payload { offers: (0..50).map(id).collect(), ..Payload::default() });
    assert_eq!(hand.hear(), Payload::default());
    assert!(hand.engine.audit_books().unwrap().is_empty());
}

#[test]
fn dialect_mvds_timestamps_are_those_of_the_second() {
    let mut hand = Hand::new(batch(), Config::default());
    hand.now = NOW + 750;
    hand.publish("a");
    assert_eq!(hand.hear().messages[0].timestamp_s, 1_700_000_000);
    let draft = Draft { timestamp_ms: NOW.as_timestamp_ms() + 999, deps: vec![], body: "a".into() };
    let again = hand.engine.publish(G, draft, NOW);
    assert!(matches!(again, Err(crate::EngineError::Exists(_))), "{again:?}");
}
