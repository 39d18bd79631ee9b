//! The record state machine: what one peer and one message are to each other, as a pure function.
//!
//! The engine keeps these facts in a compact form (sets of positions, and rows for what is outstanding only),
//! but every record that comes, is made, or is lost goes through [`step`], and what is to be sent follows from
//! [`due`]. [`table`] prints the function; `docs/protocol.md` section 5 is that print.

use hedgerow_proto::Visibility;

/// Whether we have the message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Hold {
    /// No.
    #[default]
    Absent,
    /// Durably, with its body.
    Held,
    /// We know it and keep no body: invalid or pruned.
    Tombstone,
}

/// Whether the peer must hear that we have it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum AckState {
    /// No.
    #[default]
    Settled,
    /// Yes.
    Owed,
    /// An ACK is under way, and counts as owed again if it is lost.
    Sent,
}

/// What of ours is under way to the peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum InFlight {
    /// Nothing.
    #[default]
    Nothing,
    /// An OFFER.
    Offer,
    /// A MESSAGE.
    Message,
}

/// Everything that one peer and one message are to each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Whether we have it.
    pub hold: Hold,
    /// The peer is known to have it.
    pub peer_has: bool,
    /// Whether we owe an ACK.
    pub ack: AckState,
    /// The peer asked for it and has no answer yet.
    pub requested_by_peer: bool,
    /// The peer offered it, and we lack it.
    pub offered_by_peer: bool,
    /// We asked the peer for it.
    pub requested: bool,
    /// What is under way.
    pub in_flight: InFlight,
}

/// What happens to a peer and a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Input {
    /// A MESSAGE came from the peer, and is now held.
    Message,
    /// An OFFER came from the peer.
    Offer,
    /// A REQUEST came from the peer.
    Request,
    /// An ACK came from the peer.
    Ack,
    /// An UNAVAILABLE came from the peer.
    Unavailable,
    /// We hold it now, from elsewhere.
    Stored,
    /// It became a tombstone.
    Buried,
    /// We made a MESSAGE for the peer.
    SentMessage,
    /// We made an OFFER for the peer.
    SentOffer,
    /// We made an ACK for the peer.
    SentAck,
    /// We made a REQUEST for the peer.
    SentRequest,
    /// We made an UNAVAILABLE for the peer.
    SentUnavailable,
    /// A sign came that our ACK arrived.
    AckArrived,
    /// What we sent last did not arrive, or the peer did not answer in time.
    Lost,
    /// The last link to the peer went down.
    LinkDown,
}

/// Every input, in the order of the table.
pub const INPUTS: [Input; 15] = [
    Input::Message,
    Input::Offer,
    Input::Request,
    Input::Ack,
    Input::Unavailable,
    Input::Stored,
    Input::Buried,
    Input::SentMessage,
    Input::SentOffer,
    Input::SentAck,
    Input::SentRequest,
    Input::SentUnavailable,
    Input::AckArrived,
    Input::Lost,
    Input::LinkDown,
];

/// The one transition function.
#[must_use]
pub fn step(facts: Facts, input: Input) -> Facts {
    let mut next = facts;
    match input {
        Input::Message => {
            // The caller stores first: an ACK is owed only for what is held.
            if next.hold == Hold::Absent {
                next.hold = Hold::Held;
            }
            next.peer_has = true;
            next.ack = AckState::Owed;
            next.requested_by_peer = false;
            next.offered_by_peer = false;
            next.requested = false;
            next.in_flight = InFlight::Nothing;
        }
        Input::Offer => {
            next.peer_has = true;
            next.requested_by_peer = false;
            next.in_flight = InFlight::Nothing;
            if next.hold == Hold::Absent {
                next.offered_by_peer = true;
            } else {
                next.ack = AckState::Owed;
            }
        }
        Input::Request => {
            next.peer_has = false;
            next.requested_by_peer = true;
            next.in_flight = InFlight::Nothing;
        }
        Input::Ack => {
            next.peer_has = true;
            next.requested_by_peer = false;
            next.in_flight = InFlight::Nothing;
        }
        Input::Unavailable => {
            next.peer_has = false;
            next.offered_by_peer = false;
            next.requested = false;
        }
        Input::Stored => {
            next.hold = Hold::Held;
            if next.offered_by_peer {
                next.offered_by_peer = false;
                next.ack = AckState::Owed;
            }
            next.requested = false;
        }
        Input::Buried => {
            next.hold = Hold::Tombstone;
            next.in_flight = InFlight::Nothing;
        }
        Input::SentMessage => {
            next.requested_by_peer = false;
            next.in_flight = InFlight::Message;
        }
        Input::SentOffer => next.in_flight = InFlight::Offer,
        Input::SentAck => next.ack = AckState::Sent,
        Input::SentRequest => next.requested = true,
        Input::SentUnavailable => next.requested_by_peer = false,
        Input::AckArrived => {
            if next.ack == AckState::Sent {
                next.ack = AckState::Settled;
            }
        }
        Input::Lost => {
            next.in_flight = InFlight::Nothing;
            next.requested = false;
            if next.ack == AckState::Sent {
                next.ack = AckState::Owed;
            }
        }
        Input::LinkDown => {
            next.requested_by_peer = false;
            next.offered_by_peer = false;
            next.requested = false;
            next.in_flight = InFlight::Nothing;
            if next.ack == AckState::Sent {
                next.ack = AckState::Owed;
            }
        }
    }
    next
}

/// A record to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Due {
    /// An ACK.
    Ack,
    /// A MESSAGE in answer to a REQUEST.
    Answer,
    /// An UNAVAILABLE in answer to a REQUEST.
    Unavailable,
    /// A REQUEST.
    Request,
    /// A MESSAGE at once, or an OFFER: which of the two, the link's policy says.
    Send,
}

/// What is to be sent to the peer about the message, most urgent first; `None`: nothing, which is where every
/// pair of peers comes to rest. `wanted`: no other peer has been asked for it.
#[must_use]
pub fn due(facts: Facts, visibility: Visibility, wanted: bool) -> Option<Due> {
    if visibility == Visibility::Invisible {
        return None;
    }
    if facts.ack == AckState::Owed {
        return Some(Due::Ack);
    }
    if facts.requested_by_peer && visibility == Visibility::Shared {
        return Some(if facts.hold == Hold::Held { Due::Answer } else { Due::Unavailable });
    }
    if facts.offered_by_peer && !facts.requested && wanted {
        return Some(Due::Request);
    }
    let idle = !facts.peer_has && facts.in_flight == InFlight::Nothing;
    (facts.hold == Hold::Held && visibility == Visibility::Shared && idle).then_some(Due::Send)
}

/// The transition function as the Markdown table that stands in `docs/protocol.md`: for each input, what it does
/// to each fact. `·` leaves the fact as it is.
#[must_use]
pub fn table() -> String {
    let mut out = String::from(
        "| input | hold | peer has | ack | requested by peer | offered by peer | requested | in flight |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for input in INPUTS {
        let all = reachable();
        let column = |show: &dyn Fn(Facts) -> String| -> String {
            let mut rules: Vec<(String, String)> =
                all.iter().map(|&f| (show(f), show(step(f, input)))).collect();
            rules.sort();
            rules.dedup();
            describe(&rules)
        };
        out += &format!(
            "| {input:?} | {} | {} | {} | {} | {} | {} | {} |\n",
            column(&|f| format!("{:?}", f.hold)),
            column(&|f| yes_no(f.peer_has)),
            column(&|f| format!("{:?}", f.ack)),
            column(&|f| yes_no(f.requested_by_peer)),
            column(&|f| yes_no(f.offered_by_peer)),
            column(&|f| yes_no(f.requested)),
            column(&|f| format!("{:?}", f.in_flight)),
        );
    }
    out
}

fn yes_no(fact: bool) -> String {
    if fact { "yes".into() } else { "no".into() }
}

/// Says what a column does, from all its (before, after) pairs.
fn describe(rules: &[(String, String)]) -> String {
    if rules.iter().all(|(before, after)| before == after) {
        return "·".into();
    }
    let first = rules.first().map(|(_, after)| after.clone()).unwrap_or_default();
    if rules.iter().all(|(_, after)| *after == first) {
        return first;
    }
    let mut parts: Vec<String> = Vec::new();
    for (before, after) in rules.iter().filter(|(before, after)| before != after) {
        let stays = rules.contains(&(before.clone(), before.clone()));
        parts.push(format!("{before} → {after}{}", if stays { " (see below)" } else { "" }));
    }
    parts.join(", ")
}

/// Every state that inputs can lead to from a message that nobody spoke of, by breadth-first search.
#[must_use]
pub fn reachable() -> Vec<Facts> {
    let mut found = vec![Facts::default()];
    let mut at = 0;
    while let Some(&facts) = found.get(at) {
        for input in INPUTS.into_iter().filter(|&input| possible(facts, input)) {
            let next = step(facts, input);
            if !found.contains(&next) {
                found.push(next);
            }
        }
        at += 1;
    }
    found
}

/// Whether an input can happen in a state: the engine makes only the records that are due. What a peer sends can
/// always happen.
#[must_use]
pub fn possible(facts: Facts, input: Input) -> bool {
    match input {
        Input::SentMessage | Input::SentOffer => facts.hold == Hold::Held,
        Input::SentAck => facts.ack == AckState::Owed,
        Input::SentRequest => facts.offered_by_peer && !facts.requested,
        Input::SentUnavailable => facts.requested_by_peer && facts.hold != Hold::Held,
        Input::Buried => facts.hold == Hold::Held,
        Input::Stored => facts.hold == Hold::Absent,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // spec: ack-durable
    #[test]
    fn an_ack_is_owed_only_for_what_is_held() {
        for facts in reachable() {
            assert!(facts.ack == AckState::Settled || facts.hold != Hold::Absent, "{facts:?}");
        }
    }

    #[test]
    fn nothing_is_sent_to_who_has_it() {
        for facts in reachable() {
            if facts.peer_has && !facts.requested_by_peer {
                assert_ne!(due(facts, Visibility::Shared, true), Some(Due::Send), "{facts:?}");
                assert_ne!(due(facts, Visibility::Shared, true), Some(Due::Answer), "{facts:?}");
            }
        }
    }

    /// Row by row what the document says is due, and that the rows above come first.
    // spec: due
    #[test]
    fn what_is_due_is_what_the_document_says() {
        use Visibility::{Invisible, Shared, Visible};
        let absent = Facts::default();
        let held = Facts { hold: Hold::Held, ..absent };
        let buried = Facts { hold: Hold::Tombstone, ..absent };
        let asked = |facts| Facts { requested_by_peer: true, ..facts };
        let offered = Facts { offered_by_peer: true, ..absent };
        let owed = |facts| Facts { ack: AckState::Owed, ..facts };
        let rows = [
            (owed(held), Some(Due::Ack), Some(Due::Ack)),
            (owed(asked(held)), Some(Due::Ack), Some(Due::Ack)),
            (owed(asked(buried)), Some(Due::Ack), Some(Due::Ack)),
            (asked(held), Some(Due::Answer), None),
            (asked(absent), Some(Due::Unavailable), None),
            (asked(buried), Some(Due::Unavailable), None),
            (asked(offered), Some(Due::Unavailable), Some(Due::Request)),
            (offered, Some(Due::Request), Some(Due::Request)),
            (Facts { requested: true, ..offered }, None, None),
            (held, Some(Due::Send), None),
            (Facts { peer_has: true, ..held }, None, None),
            (Facts { in_flight: InFlight::Message, ..held }, None, None),
            (Facts { in_flight: InFlight::Offer, ..held }, None, None),
            (Facts { ack: AckState::Sent, peer_has: true, ..held }, None, None),
            (absent, None, None),
            (buried, None, None),
        ];
        for (facts, if_shared, if_visible) in rows {
            assert_eq!(due(facts, Shared, true), if_shared, "{facts:?}");
            assert_eq!(due(facts, Visible, true), if_visible, "{facts:?}");
            assert_eq!(due(facts, Invisible, true), None, "{facts:?}");
            let unless_asked_elsewhere = if_shared.filter(|due| *due != Due::Request);
            assert_eq!(due(facts, Shared, false), unless_asked_elsewhere, "{facts:?}");
        }
    }

    // spec: tombstone
    #[test]
    fn a_tombstone_never_crosses() {
        for facts in reachable().into_iter().filter(|f| f.hold == Hold::Tombstone) {
            let due = due(facts, Visibility::Shared, true);
            assert!(!matches!(due, Some(Due::Send | Due::Answer)), "{facts:?}");
        }
    }

    #[test]
    fn what_is_due_is_not_due_again_when_it_was_sent() {
        for facts in reachable() {
            for visibility in [Visibility::Invisible, Visibility::Visible, Visibility::Shared] {
                let Some(first) = due(facts, visibility, true) else { continue };
                let input = match first {
                    Due::Ack => Input::SentAck,
                    Due::Answer | Due::Send => Input::SentMessage,
                    Due::Unavailable => Input::SentUnavailable,
                    Due::Request => Input::SentRequest,
                };
                assert_ne!(due(step(facts, input), visibility, true), Some(first), "{facts:?}");
            }
        }
    }

    #[test]
    fn every_session_of_two_honest_peers_comes_to_rest() {
        // Whatever the state, answering everything that is due, and the peer answering it, ends in silence.
        for start in reachable() {
            let mut facts = start;
            let mut steps = 0;
            while let Some(next) = due(facts, Visibility::Shared, true) {
                facts = match next {
                    Due::Ack => step(step(facts, Input::SentAck), Input::AckArrived),
                    Due::Answer | Due::Send => step(step(facts, Input::SentMessage), Input::Ack),
                    Due::Unavailable => step(facts, Input::SentUnavailable),
                    Due::Request => step(step(facts, Input::SentRequest), Input::Message),
                };
                steps += 1;
                assert!(steps < 10, "{start:?} does not come to rest");
            }
        }
    }

    #[test]
    fn only_what_is_due_is_sent_and_only_what_is_held_is_buried() {
        let absent = Facts::default();
        let held = Facts { hold: Hold::Held, ..absent };
        let buried = Facts { hold: Hold::Tombstone, ..absent };
        let may = |input| [absent, held, buried].map(|facts| possible(facts, input));
        assert_eq!(may(Input::SentMessage), [false, true, false]);
        assert_eq!(may(Input::SentOffer), [false, true, false]);
        assert_eq!(may(Input::Buried), [false, true, false]);
        assert_eq!(may(Input::Stored), [true, false, false]);
        let asked = [absent, held, buried].map(|facts| Facts { requested_by_peer: true, ..facts });
        assert_eq!(asked.map(|facts| possible(facts, Input::SentUnavailable)), [true, false, true]);
        assert_eq!(may(Input::SentUnavailable), [false; 3]);
        let offered = Facts { offered_by_peer: true, ..absent };
        let requests = [absent, offered, Facts { requested: true, ..offered }];
        assert_eq!(requests.map(|facts| possible(facts, Input::SentRequest)), [false, true, false]);
        let acks = [AckState::Settled, AckState::Owed, AckState::Sent].map(|ack| Facts { ack, ..held });
        assert_eq!(acks.map(|facts| possible(facts, Input::SentAck)), [false, true, false]);
        for input in [Input::Message, Input::Offer, Input::Request, Input::Ack, Input::Unavailable] {
            assert_eq!(may(input), [true; 3], "a peer can say anything: {input:?}");
        }
    }

    // spec: record-table
    #[test]
    fn the_documents_table_is_the_code() {
        let doc = include_str!("../../docs/protocol.md");
        assert_eq!(table().lines().count(), 2 + INPUTS.len(), "a row for each input");
        assert!(doc.contains(&table()), "docs/protocol.md must contain this table:\n{}", table());
    }
}
