//! The horizon of a group: what was delivered elsewhere and is held nowhere that we can ask. A peer's word for it is
//! taken when nobody is left to ask, and after some patience; then what waits behind it is delivered, and the
//! application learns that something is missing there.

use hedgerow_proto::{MessageId, Tombstone};

use crate::config::Horizon;
use crate::engine::receive::MAX_ASKED_IDS;
use crate::engine::{Engine, LinkId};
use crate::error::EngineError;
use crate::event::Event;
use crate::store::{GroupNum, MessageNum, MessageRow, MessageState, PeerNum, Store};
use crate::time::Time;

/// No message has a height above this one, which no group comes to.
const MAX_HEIGHT: u64 = 1 << 48;
/// How many waiting messages are looked at in one go.
const CHUNK: usize = 256;

/// What a peer said of a message that it delivered and no longer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Claim {
    pub(in crate::engine) peer: PeerNum,
    pub(in crate::engine) eff_ms: i64,
    pub(in crate::engine) height: u64,
    pub(in crate::engine) at: Time,
}

impl<S: Store> Engine<S> {
    /// Takes a claim. One that cannot be true, or contradicts what is known here, is counted and ignored.
    pub(in crate::engine) fn take_claim(
        &mut self,
        link: LinkId,
        peer: PeerNum,
        group: GroupNum,
        tombstone: Tombstone,
    ) -> Result<(), EngineError> {
        let Tombstone { id, eff_ms, height } = tombstone;
        let latest = (self.now + self.config.max_clock_skew_ms).as_timestamp_ms();
        let possible = (0..=latest).contains(&eff_ms) && (1..=MAX_HEIGHT).contains(&height);
        let row = self.store.find(&id)?;
        let agrees = row.is_none_or(|row| {
            row.group == group
                && match row.state {
                    MessageState::Wanted => true,
                    _ if row.state.is_delivered() => (row.eff_ms, row.height) == (eff_ms, height),
                    _ => row.timestamp_ms <= eff_ms,
                }
        });
        let claim = Claim { peer, eff_ms, height, at: self.now };
        let wanted = row.is_some_and(|row| row.state == MessageState::Wanted);
        if !possible || !agrees || (wanted && !self.note_claim(&id, group, claim)) {
            self.refuse(link);
        } else if wanted {
            // It may come without being asked for, after the peer had said that it has no such message.
            self.dispatch(id);
        }
        Ok(())
    }

    /// Whether gaps are taken at all.
    pub(in crate::engine) fn takes_gaps(&self) -> bool {
        self.config.horizon == Horizon::Accept
    }

    /// Takes an awaited message as delivered, at a peer's word, and delivers what waited for it.
    pub(in crate::engine) fn accept_gap(&mut self, id: MessageId, claim: Claim) -> Result<(), EngineError> {
        let Some(mut row) = self.store.find(&id)?.filter(|row| row.state == MessageState::Wanted) else {
            return Ok(());
        };
        if !self.is_wanted_in_one_group(&row)? {
            // Which of the groups it belongs to would be anybody's guess, and the guess would bury the others.
            return Ok(());
        }
        let sources = self.take_want(&id);
        row.eff_ms = claim.eff_ms;
        row.height = claim.height;
        self.append(&mut row);
        self.change_state(&mut row, MessageState::Gap)?;
        self.tell_who_asked(row.group, &id);
        self.after_delivery(&row, &[], true)?;
        self.close_offers(row.group, row, sources);
        if let (Some(group), Some(peer)) = (self.groups.get(&row.group), self.peers.get(&claim.peer)) {
            self.events.push_back(Event::HistoryGap { group: group.id, id, peer: peer.id });
        }
        Ok(())
    }

    /// A message was delivered without a body: it is never offered, so whoever asked for it in vain is told.
    pub(in crate::engine) fn tell_who_asked(&mut self, group: GroupNum, id: &MessageId) {
        let mut told = Vec::new();
        for link in self.links.values() {
            let pair = self.peers.get_mut(&link.peer).and_then(|state| state.groups.get_mut(&group));
            let Some(session) = pair.map(|pair| &mut pair.session) else { continue };
            let full = session.asked_ids.len() + session.unavailable_ids.len() >= MAX_ASKED_IDS;
            if session.in_vain.contains(id) && !full {
                session.in_vain.remove(id);
                session.unavailable_ids.push_back(*id);
                told.push(link.peer);
            }
        }
        told.into_iter().for_each(|peer| self.wake(peer, group));
    }

    fn is_wanted_in_one_group(&self, row: &MessageRow) -> Result<bool, EngineError> {
        let mut after = MessageNum(0);
        loop {
            let children = self.children(row.num, after, CHUNK)?;
            let Some(&last) = children.last() else { return Ok(true) };
            after = last;
            for child in children {
                if self.store.row(child)?.is_some_and(|child| child.group != row.group) {
                    return Ok(false);
                }
            }
        }
    }
}
