//! Chain values (`docs/protocol.md`, section 2): which are said, and which are reckoned.

use std::collections::BTreeMap;

use hedgerow_proto::{Ack, MessageId, Span};

use super::{Engine, LinkId};
use crate::error::EngineError;
use crate::order::chain;
use crate::store::{GroupNum, PeerNum, Store};

/// How many positions of a peer in a group are kept of which the chain value was not said and cannot be reckoned yet.
pub(super) const MAX_UNRECKONED: usize = 128;

/// At each such position the value is said though it could be reckoned, should a peer have lost track of them.
const SAID_EVERY: u64 = 64;

/// What stands at positions of a peer above its mark. Chain values left out there are reckoned from it, from the mark on.
#[derive(Debug, Clone, Default)]
pub(super) struct Unreckoned(BTreeMap<u64, MessageId>);

impl Unreckoned {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What goes by a stand-in at a position is known by its id; false if nothing goes by it there.
    pub(super) fn rename(&mut self, position: u64, stand_in: &MessageId, id: MessageId) -> bool {
        let there = self.0.get_mut(&position).filter(|there| *there == stand_in);
        there.map(|there| *there = id).is_some()
    }
}

impl<S: Store> Engine<S> {
    /// The chain value that a record says whose last position of ours is given with it: 0, for none, if the peer can reckon
    /// it. `alone`: the record names one position of ours, and says which message stands there.
    pub(super) fn chain_said(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        (position, chain): (u64, u64),
        alone: bool,
    ) -> u64 {
        let in_order = self.links.get(&id).is_some_and(|link| link.lossy.is_none() && link.caps.sessions);
        // One link overtakes the other.
        let Some(state) = self.peers.get_mut(&peer).filter(|state| in_order && state.links.len() == 1) else {
            return chain;
        };
        let Some(pair) = state.groups.get_mut(&group) else { return chain };
        let told = &mut pair.session.told;
        let follows = position <= told.saturating_add(1);
        *told = position.max(*told);
        if alone && follows && !position.is_multiple_of(SAID_EVERY) { 0 } else { chain }
    }

    /// Keeps the chain value of the highest position of a peer's log that we know one for. Where none is said (0), it is
    /// reckoned from the message that the record names there, be it now or when what stands before it is known.
    pub(super) fn note_mark(
        &mut self,
        peer: PeerNum,
        group: GroupNum,
        (position, said): (u64, u64),
        named: Option<MessageId>,
    ) {
        let Some(pair) = self.pair_mut(peer, group).filter(|pair| position > pair.mark) else { return };
        let unreckoned = &mut pair.session.unreckoned.0;
        if said != 0 {
            pair.mark = position;
            pair.mark_chain = said;
            while unreckoned.first_key_value().is_some_and(|(&at, _)| at <= position) {
                unreckoned.pop_first();
            }
            self.changed_pairs.insert((peer, group));
        } else if let Some(id) = named.filter(|_| unreckoned.len() < MAX_UNRECKONED) {
            unreckoned.insert(position, id);
        }
        self.reckon(peer, group);
        self.look_again(peer, group);
    }

    /// Reckons the chain values of a peer's log from the mark on, as far as it is known what stands there.
    pub(super) fn reckon(&mut self, peer: PeerNum, group: GroupNum) {
        let pair = self.peers.get_mut(&peer).and_then(|state| state.groups.get_mut(&group));
        let Some(pair) = pair else { return };
        let before = pair.mark;
        while let Some(there) = pair.session.unreckoned.0.first_entry()
            && pair.mark.checked_add(1) == Some(*there.key())
            && !self.shorts.is_stand_in(there.get())
        {
            pair.mark += 1;
            pair.mark_chain = chain(pair.mark_chain, &there.remove());
        }
        if pair.mark > before {
            self.changed_pairs.insert((peer, group));
        }
    }

    /// The message at the only position of the peer that an ACK names, if that is one which it holds as the only one of ours.
    pub(super) fn named_by(&self, group: GroupNum, ack: &Ack) -> Result<Option<MessageId>, EngineError> {
        let one = |spans: &[Span]| match spans {
            [span] if span.first == span.last => Some(span.first),
            _ => None,
        };
        let Some(ours) = one(&ack.known).and(one(&ack.held)).filter(|_| ack.chain == 0) else {
            return Ok(None);
        };
        Ok(self.store.at(group, ours)?.map(|row| row.id))
    }
}
