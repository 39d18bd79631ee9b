//! What is outstanding with each peer, and whether the engine's own accounts are right.

use hedgerow_proto::{GroupId, PeerId, Visibility};

use super::facts::MAX_OWED;
use super::receive::{MAX_ASKED_IDS, MAX_ASKED_SPANS};
use super::shorts::LATEST;
use super::state::{Peer, PeerGroup, REF_WINDOW};
use super::turned::MAX_TURNED_AWAY;
use super::{Engine, LinkId, Timer};
use crate::record::InFlight;
use crate::small::SmallMap;
use crate::store::{GroupNum, PeerNum, Store};

/// What is outstanding between us and a peer in a group. All but the ids are counts of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Outstanding {
    /// The peer.
    pub peer: PeerId,
    /// The group.
    pub group: GroupId,
    /// How many links to the peer are up.
    pub links: u64,
    /// Both sides share the group in this session.
    pub shared: bool,
    /// Held here as delivered, and not known to be there.
    pub lacking: u64,
    /// Of these, how many fit through no link that was tried.
    pub too_large: u64,
    /// Messages and offers under way to it.
    pub in_flight: u64,
    /// What it asked for and was not given yet.
    pub asked: u64,
    /// What it offers and we lack.
    pub offered: u64,
    /// What of that we are to ask it for, and have not yet.
    pub to_request: u64,
    /// What it sent or offered when there was no room, and is to be asked for again.
    pub turned_away: u64,
    /// What of that is asked for.
    pub called_back: u64,
    /// Acknowledgements that it is owed.
    pub acks_owed: u64,
    /// As how many spans of positions it is kept what it holds.
    pub spans: u64,
}

impl Outstanding {
    /// Whether nothing is to be done with the peer in the group until something new happens.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        let Self { in_flight, asked, offered, to_request, turned_away, called_back, acks_owed, .. } = *self;
        self.lacking <= self.too_large
            && [in_flight, asked, offered, to_request, turned_away, called_back, acks_owed] == [0; 7]
    }
}

impl<S: Store> Engine<S> {
    /// What is outstanding with every peer in every group that is not invisible to it, settled or not.
    #[must_use]
    pub fn outstanding(&self) -> Vec<Outstanding> {
        let mut all = Vec::new();
        for peer in self.peers.values() {
            for (num, pair) in peer.groups.iter() {
                let Some(group) = self.groups.get(num) else { continue };
                if pair.visibility == Visibility::Invisible {
                    continue;
                }
                let session = &pair.session;
                // What nobody can send is not lacking.
                let there = match group.gone.is_empty() {
                    true => pair.has.len(),
                    false => {
                        let mut there = pair.has.clone();
                        group.gone.spans().for_each(|span| there.insert_span(span));
                        there.len()
                    }
                };
                all.push(Outstanding {
                    peer: peer.id,
                    group: group.id,
                    links: peer.links.len() as u64,
                    shared: pair.visibility == Visibility::Shared
                        && session.theirs == Some(Visibility::Shared),
                    lacking: group.head.saturating_sub(there),
                    too_large: session.too_large.len() as u64,
                    in_flight: session.in_flight.len() as u64,
                    asked: session.asked.len() + session.asked_ids.len() as u64,
                    offered: session.offered.len() as u64,
                    to_request: session.to_request.len() as u64,
                    turned_away: session.turned_away.len() + session.turned_ids.len() as u64,
                    called_back: session.called_back.len(),
                    acks_owed: session.acks.len() + session.ack_ids.len() as u64,
                    spans: pair.has.span_count() as u64,
                });
            }
        }
        all
    }

    /// Compares the engine's accounts with what they count, and everything that a peer can make grow with its limit.
    /// Returns a line for each that is wrong; none means that all is well. Reads memory only, all of it.
    #[must_use]
    pub fn audit(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (&num, peer) in self.peers.iter() {
            self.audit_peer(num, peer, &mut wrong);
        }
        for &id in self.links.keys() {
            self.audit_link(id, &mut wrong);
        }
        for group in self.groups.values() {
            let counts = group.counts;
            let judged = if group.judged { self.config.max_unvalidated } else { 0 };
            // Shares of peers come on top of the common rest, and one message of each; and what was judged may wait
            // although it came when there was room to judge it only.
            let shares = self.config.max_parked_messages.saturating_mul(2);
            let most = shares.saturating_add(judged).saturating_add(group.quota.peers());
            expect_at_most(&mut wrong, group.id, "waiting messages", counts.waiting + counts.early, most);
        }
        let asleep = self.wants.timers().filter(|(id, at)| !self.timers.contains(&(*at, Timer::Want(*id))));
        for (id, at) in asleep {
            wrong.push(format!("{id} is awaited until {at}, and no timer says so"));
        }
        let stand_ins = self.wants.ids().filter(|id| self.shorts.is_stand_in(id)).count();
        if stand_ins != self.shorts.stand_ins {
            wrong.push(format!("{stand_ins} stand-ins are awaited, {} are counted", self.shorts.stand_ins));
        }
        expect_at_most(&mut wrong, "shorts", "latest messages", self.shorts.latest() as u64, LATEST as u64);
        for (num, holders) in self.holders.iter() {
            expect_at_most(&mut wrong, num.0, "holders", holders.len() as u64, self.peers.len() as u64);
        }
        wrong
    }

    fn audit_peer(&self, num: PeerNum, peer: &Peer, wrong: &mut Vec<String>) {
        let asked = self.wants.asked_of(num);
        if asked != peer.requested {
            wrong.push(format!("{}: {} requests are counted, {asked} are open", peer.id, peer.requested));
        }
        let offered: usize = peer.groups.values().map(|pair| pair.session.offered.len()).sum();
        if offered != peer.offered {
            wrong.push(format!("{}: {} offers are counted, {offered} are open", peer.id, peer.offered));
        }
        let most = u64::from(self.config.max_offers).saturating_add(self.config.max_requests as u64);
        expect_at_most(wrong, peer.id, "open offers", offered as u64, most);
        expect_at_most(wrong, peer.id, "open requests", asked as u64, self.config.max_requests as u64);
        for (&group, pair) in peer.groups.iter() {
            self.audit_pair(peer, group, pair, wrong);
        }
    }

    fn audit_pair(&self, peer: &Peer, num: GroupNum, pair: &PeerGroup, wrong: &mut Vec<String>) {
        let Some(group) = self.groups.get(&num) else {
            wrong.push(format!("{}: {num:?} is gone", peer.id));
            return;
        };
        let session = &pair.session;
        let who = format_args!("{} in {}", peer.id, group.id);
        let at_most = [
            ("spans of acknowledgements", session.acks.span_count(), 2 * MAX_OWED),
            ("ids to acknowledge", session.ack_ids.len(), MAX_OWED),
            ("spans that it asked for", session.asked.span_count(), MAX_ASKED_SPANS),
            ("spans that it asked for in vain", session.unavailable.span_count(), MAX_ASKED_SPANS),
            ("ids that it asked for", session.asked_ids.len() + session.unavailable_ids.len(), MAX_ASKED_IDS),
            ("ids that it asked for too early", session.in_vain.len(), MAX_ASKED_IDS),
            ("spans turned away", session.turned_away.span_count(), 2 * MAX_TURNED_AWAY),
            ("ids turned away", session.turned_ids.len(), MAX_TURNED_AWAY),
        ];
        for (what, found, most) in at_most {
            expect_at_most(wrong, who, what, found as u64, most as u64);
        }
        if pair.has.max() > group.head {
            wrong.push(format!("{who}: holds position {} of {}", pair.has.max(), group.head));
        }
        for (position, sent) in &session.in_flight {
            if !self.links.contains_key(&sent.link) {
                wrong.push(format!("{who}: position {position} is under way on a link that is down"));
            }
        }
        if peer.links.is_empty() && !session.in_flight.is_empty() {
            wrong.push(format!("{who}: something is under way without a link"));
        }
    }

    fn audit_link(&self, id: LinkId, wrong: &mut Vec<String>) {
        let Some(link) = self.links.get(&id) else { return };
        let mut bytes = 0;
        let mut offers = 0;
        let pairs = self.peers.get(&link.peer).map(|peer| &peer.groups);
        let pairs: &SmallMap<GroupNum, Box<PeerGroup>> = match pairs {
            Some(pairs) => pairs,
            None => {
                wrong.push(format!("{id:?} leads to a peer that is gone"));
                return;
            }
        };
        for sent in pairs.values().flat_map(|pair| pair.session.in_flight.values()).filter(|s| s.link == id) {
            bytes += if sent.kind == InFlight::Message { u64::from(sent.bytes) } else { 0 };
            offers += usize::from(sent.kind == InFlight::Offer);
        }
        if (bytes, offers) != (link.in_flight_bytes, link.open_offers) {
            wrong.push(format!(
                "{id:?}: {} bytes and {} offers are counted, {bytes} and {offers} are under way",
                link.in_flight_bytes, link.open_offers
            ));
        }
        for (what, found, most) in [
            ("names of groups", link.theirs.len(), self.config.max_announces),
            ("announced groups", link.announced.len(), self.config.max_announces),
            (
                "messages to refer to",
                link.refs.values().map(|r| r.received.len()).max().unwrap_or(0),
                REF_WINDOW,
            ),
            ("ephemeral messages", link.ephemerals.len(), self.config.max_ephemerals),
            ("ids that it asked for in vain", link.unavailable_ids.len(), MAX_ASKED_IDS),
        ] {
            expect_at_most(wrong, format_args!("{id:?}"), what, found as u64, most as u64);
        }
    }
}

fn expect_at_most(wrong: &mut Vec<String>, who: impl std::fmt::Display, what: &str, found: u64, most: u64) {
    if found > most {
        wrong.push(format!("{who}: {found} {what}, at most {most} are allowed"));
    }
}
