//! The pure function of one peer and one message, checked alone: every state on every input, and two peers with the
//! records between them.

use std::collections::{HashMap, VecDeque};

use hedgerow_proto::Visibility;
use hedgerow_sync_core::record::{AckState, Due, Facts, Hold, INPUTS, InFlight, Input, due, possible, step};

use super::report::Breach;

/// What was found.
#[derive(Debug, Clone)]
pub struct RecordReport {
    /// Combinations of all facts, reachable or not, times all inputs.
    pub pairs: u64,
    /// Distinct states of two peers and the channels between them.
    pub states: u64,
    /// Steps between them.
    pub transitions: u64,
    /// What is wrong, if something is.
    pub breach: Option<Breach>,
}

/// A transition function: the real one, or a broken one in the tests of this checker.
pub type StepFn = fn(Facts, Input) -> Facts;

/// Every combination of facts.
fn all_facts() -> Vec<Facts> {
    let mut all = Vec::new();
    for hold in [Hold::Absent, Hold::Held, Hold::Tombstone] {
        for ack in [AckState::Settled, AckState::Owed, AckState::Sent] {
            for in_flight in [InFlight::Nothing, InFlight::Offer, InFlight::Message] {
                for bits in 0..16_u8 {
                    let bit = |n: u8| bits & 1 << n != 0;
                    let (peer_has, requested_by_peer) = (bit(0), bit(1));
                    let (offered_by_peer, requested) = (bit(2), bit(3));
                    all.push(Facts {
                        hold,
                        peer_has,
                        ack,
                        requested_by_peer,
                        offered_by_peer,
                        requested,
                        in_flight,
                    });
                }
            }
        }
    }
    all
}

/// What every state must keep to that the function can lead to.
fn sound(facts: Facts) -> Option<&'static str> {
    let holds = facts.hold != Hold::Absent;
    if facts.ack != AckState::Settled && !holds {
        return Some("an ACK is owed or sent for what is not held");
    }
    if facts.in_flight != InFlight::Nothing && facts.hold != Hold::Held {
        return Some("something is under way that is not held");
    }
    if holds && facts.offered_by_peer {
        return Some("what is held is still wanted of the peer");
    }
    None
}

/// What one step must keep to, from whatever state.
fn sound_step(before: Facts, input: Input, after: Facts) -> Option<&'static str> {
    let said_to_have = matches!(input, Input::Message | Input::Offer | Input::Ack);
    if !before.peer_has && after.peer_has && !said_to_have {
        return Some("the peer is taken to have what it did not say that it has");
    }
    if before.hold != Hold::Absent && after.hold == Hold::Absent {
        return Some("what was held is gone");
    }
    let lost = matches!(input, Input::Lost | Input::LinkDown);
    if before.ack == AckState::Owed && !matches!(after.ack, AckState::Owed) && input != Input::SentAck {
        return Some("an ACK that is owed is forgotten");
    }
    if before.ack == AckState::Sent && after.ack == AckState::Settled && input != Input::AckArrived {
        return Some("an ACK under way is taken for arrived");
    }
    if lost && (after.in_flight != InFlight::Nothing || after.ack == AckState::Sent) {
        return Some("what was lost still counts as under way");
    }
    None
}

/// Runs both checks on the real function.
#[must_use]
pub fn check() -> RecordReport {
    check_with(step)
}

/// Runs both checks on a given function.
#[must_use]
pub fn check_with(step: StepFn) -> RecordReport {
    let mut report = RecordReport { pairs: 0, states: 0, transitions: 0, breach: None };
    report.breach = each_step(step, &mut report.pairs).or_else(|| two_peers(step, &mut report));
    report
}

fn each_step(step: StepFn, pairs: &mut u64) -> Option<Breach> {
    for facts in all_facts() {
        for input in INPUTS {
            *pairs += 1;
            if sound(facts).is_some() || !possible(facts, input) {
                continue;
            }
            let after = step(facts, input);
            let wrong = sound(after).or_else(|| sound_step(facts, input, after));
            if let Some(what) = wrong {
                let path = vec![format!("{facts:?}"), format!("{input:?}"), format!("{after:?}")];
                return Some(Breach { what: what.into(), path });
            }
        }
    }
    None
}

/// A record about the one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Record {
    Message,
    Offer,
    Request,
    Ack,
    Unavailable,
}

/// Two peers, one message, a channel each way that holds at most so many records.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Two {
    peers: [Facts; 2],
    /// Records from each peer. On a lossy channel any may come first, or none.
    channels: [Vec<Record>; 2],
    linked: bool,
    /// What may still go wrong.
    cuts: u8,
    losses: u8,
    repeats: u8,
    /// How often each peer may answer a record with something other than the truth.
    lies: u8,
    /// Messages that one may get from elsewhere.
    gifts: u8,
}

const CAPACITY: usize = 3;

fn two_peers(step: StepFn, report: &mut RecordReport) -> Option<Breach> {
    let holder = Facts { hold: Hold::Held, ..Facts::default() };
    let start = Two {
        peers: [holder, Facts::default()],
        channels: [Vec::new(), Vec::new()],
        linked: true,
        cuts: 1,
        losses: 2,
        repeats: 1,
        lies: 1,
        gifts: 1,
    };
    let mut origins: Vec<(usize, String)> = vec![(0, "A holds the message".into())];
    let mut numbers = HashMap::from([(start.clone(), 0)]);
    let mut frontier = VecDeque::from([start]);
    while let Some(two) = frontier.pop_front() {
        let number = numbers[&two];
        let path = |origins: &[(usize, String)], last: &str| {
            let mut path = vec![last.to_owned()];
            let mut at = number;
            loop {
                path.push(origins[at].1.clone());
                if at == 0 {
                    break;
                }
                at = origins[at].0;
            }
            path.reverse();
            path
        };
        if let Err(what) = comes_to_rest(step, &two) {
            return Some(Breach { what, path: path(&origins, "a fair network from here") });
        }
        for (action, next) in followers(step, &two) {
            report.transitions += 1;
            if let Some(what) = next.peers.iter().find_map(|&facts| sound(facts)) {
                return Some(Breach { what: what.into(), path: path(&origins, &action) });
            }
            if !numbers.contains_key(&next) {
                numbers.insert(next.clone(), origins.len());
                origins.push((number, action));
                frontier.push_back(next);
            }
        }
    }
    report.states = origins.len() as u64;
    None
}

/// What a peer does on a record.
fn input_of(record: Record) -> Input {
    match record {
        Record::Message => Input::Message,
        Record::Offer => Input::Offer,
        Record::Request => Input::Request,
        Record::Ack => Input::Ack,
        Record::Unavailable => Input::Unavailable,
    }
}

/// What a peer can say now: what is due, in both forms where there are two.
fn sayable(facts: Facts) -> Vec<(Record, Input)> {
    match due(facts, Visibility::Shared, true) {
        None => Vec::new(),
        Some(Due::Ack) => vec![(Record::Ack, Input::SentAck)],
        Some(Due::Answer) => vec![(Record::Message, Input::SentMessage)],
        Some(Due::Unavailable) => vec![(Record::Unavailable, Input::SentUnavailable)],
        Some(Due::Request) => vec![(Record::Request, Input::SentRequest)],
        Some(Due::Send) => vec![(Record::Message, Input::SentMessage), (Record::Offer, Input::SentOffer)],
    }
}

fn followers(step: StepFn, two: &Two) -> Vec<(String, Two)> {
    let mut out = Vec::new();
    for me in 0..2 {
        let name = ['A', 'B'][me];
        let facts = two.peers[me];
        if two.linked && two.channels[me].len() < CAPACITY {
            for (record, sent) in sayable(facts) {
                let mut next = two.clone();
                next.peers[me] = step(facts, sent);
                next.channels[me].push(record);
                out.push((format!("{name} says {record:?}"), next));
            }
            for record in [Record::Message, Record::Offer, Record::Request, Record::Ack, Record::Unavailable]
            {
                // A lie changes nothing at the liar, who knows better.
                if two.lies > 0 && (record != Record::Message || facts.hold == Hold::Held) {
                    let mut next = two.clone();
                    next.lies -= 1;
                    next.channels[me].push(record);
                    out.push((format!("{name} lies: {record:?}"), next));
                }
            }
        }
        for at in 0..two.channels[me].len() {
            let record = two.channels[me][at];
            let mut next = two.clone();
            next.channels[me].remove(at);
            next.peers[1 - me] = step(two.peers[1 - me], input_of(record));
            settle(step, &mut next, me, record);
            out.push((format!("{name}'s {record:?} arrives"), next.clone()));
            if two.repeats > 0 {
                next.channels[me].insert(at, record);
                next.repeats -= 1;
                out.push((format!("{name}'s {record:?} arrives, and will again"), next));
            }
            if two.losses > 0 {
                let mut next = two.clone();
                next.losses -= 1;
                next.channels[me].remove(at);
                next.peers[me] = step(facts, Input::Lost);
                out.push((format!("{name}'s {record:?} is lost"), next));
            }
        }
        if two.gifts > 0 && possible(facts, Input::Stored) {
            let mut next = two.clone();
            next.gifts -= 1;
            next.peers[me] = step(facts, Input::Stored);
            out.push((format!("{name} gets it from elsewhere"), next));
        }
    }
    if two.linked && two.cuts > 0 {
        let mut next = two.clone();
        next.cuts -= 1;
        next.linked = false;
        next.channels = [Vec::new(), Vec::new()];
        next.peers = two.peers.map(|facts| step(facts, Input::LinkDown));
        out.push(("the link breaks".into(), next));
    }
    if !two.linked {
        out.push(("the link is up again".into(), meet(two)));
    }
    out
}

/// The frame of an ACK is acknowledged when it arrives.
fn settle(step: StepFn, two: &mut Two, me: usize, record: Record) {
    if record == Record::Ack && two.peers[me].ack == AckState::Sent {
        two.peers[me] = step(two.peers[me], Input::AckArrived);
    }
}

/// A new session: each side states what it holds, and that replaces what was believed.
fn meet(two: &Two) -> Two {
    let mut next = two.clone();
    next.linked = true;
    for me in 0..2 {
        next.peers[me].peer_has = two.peers[1 - me].hold != Hold::Absent;
    }
    next
}

/// From here on nothing goes wrong and nobody lies. What a lie made the other believe is put right by the next
/// session, so there is one.
fn comes_to_rest(step: StepFn, from: &Two) -> Result<(), String> {
    let mut two = from.clone();
    two.channels = [Vec::new(), Vec::new()];
    two.peers = two.peers.map(|facts| step(facts, Input::LinkDown));
    two = meet(&two);
    for _ in 0..40 {
        if let Some(me) = (0..2).find(|&me| !two.channels[me].is_empty()) {
            let record = two.channels[me].remove(0);
            two.peers[1 - me] = step(two.peers[1 - me], input_of(record));
            settle(step, &mut two, me, record);
        } else if let Some(me) = (0..2).find(|&me| !sayable(two.peers[me]).is_empty()) {
            let (record, sent) = *sayable(two.peers[me]).last().unwrap();
            two.peers[me] = step(two.peers[me], sent);
            two.channels[me].push(record);
        } else {
            let delivered = two.peers.iter().all(|facts| facts.hold != Hold::Absent);
            let known = two.peers.iter().all(|facts| facts.peer_has);
            return match (delivered, known) {
                (true, true) => Ok(()),
                (false, _) => Err("in a fair network, the message never arrives".into()),
                (true, false) => Err("in a fair network, its arrival is never known".into()),
            };
        }
    }
    Err("in a fair network, the two do not fall silent".into())
}
