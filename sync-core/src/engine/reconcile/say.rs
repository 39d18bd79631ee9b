//! RECONCILE records that go.

use hedgerow_proto::limits::SYMBOL_OVERHEAD;
use hedgerow_proto::{GroupRef, Lacks, Reconcile, ReconcileStep, Span, Symbols};

use super::{Role, Run, Saying};
use crate::engine::transmit::{Draft, RECORD_OVERHEAD, SPAN_SIZE};
use crate::engine::{Engine, LinkId};
use crate::error::EngineError;
use crate::store::{GroupNum, PeerNum, Store};

impl Saying {
    /// Makes so many further symbols.
    pub(super) fn prepare(&mut self, count: u32) {
        let mut bytes = Vec::new();
        for symbol in self.set.of.next_symbols(usize::try_from(count).unwrap_or(usize::MAX)) {
            symbol.write(self.set.width, &mut bytes);
        }
        self.ready.extend(bytes);
    }

    /// As many of them as fit.
    fn next(&mut self, room: usize) -> Option<Symbols> {
        let each = usize::from(self.set.width) + SYMBOL_OVERHEAD;
        let count = (room / each).min(self.ready.len() / each);
        let said = u32::try_from(count).ok().filter(|&said| said > 0)?;
        let bytes: Vec<u8> = self.ready.drain(..count * each).collect();
        let first = self.first;
        self.first = first.saturating_add(said);
        let rest = u32::try_from(self.ready.len() / each).unwrap_or(u32::MAX);
        let count = if first == 0 { self.set.count } else { 0 };
        Some(Symbols { first, count, width: self.set.width, rest, bytes: bytes.into() })
    }
}

impl Run {
    /// Whether there is something to say over a link.
    fn has_more(&self, id: LinkId) -> bool {
        self.link == id
            && match &self.role {
                Role::Asking { said } => !said,
                Role::Again { more } => more.is_some(),
                Role::Saying(saying) => !saying.ready.is_empty(),
                Role::Solving(solving) => solving.more.is_some(),
                Role::Telling(_) => true,
            }
    }

    /// The next step, in so many bytes; and whether it is the last one.
    fn next(&mut self, room: usize) -> Option<(ReconcileStep, bool)> {
        let step = match &mut self.role {
            Role::Asking { said } if !*said => {
                *said = true;
                ReconcileStep::Ask
            }
            Role::Saying(saying) => ReconcileStep::Symbols(saying.next(room)?),
            Role::Again { more } => ReconcileStep::More(more.take()?),
            Role::Solving(solving) => ReconcileStep::More(solving.more.take()?),
            Role::Telling(telling) => {
                let each = usize::from(telling.cut);
                let count = (room / each.max(1)).min(telling.lacks.len());
                if count == 0 && !telling.lacks.is_empty() {
                    return None;
                }
                let mut ids = Vec::with_capacity(count * each);
                for short in telling.lacks.drain(..count) {
                    let bytes = short.to_be_bytes();
                    ids.extend_from_slice(bytes.get(8 - each.min(8)..).unwrap_or_default());
                }
                let more = !telling.lacks.is_empty();
                let lacks = Lacks { cut: telling.cut, ids: ids.into(), more };
                return Some((ReconcileStep::Lacks(lacks), !more));
            }
            Role::Asking { .. } => return None,
        };
        Some((step, false))
    }
}

impl<S: Store> Engine<S> {
    /// Whether something about a reconciliation is to be said to a peer over a link.
    pub(in crate::engine) fn has_reconcile(&self, id: LinkId, peer: PeerNum, group: GroupNum) -> bool {
        match self.reconciles.get(&(peer, group)) {
            Some(run) => run.has_more(id),
            None => self.knows_all(id, peer, group),
        }
    }

    /// Whether a peer holds all that it was found to lack over this link, and is to be told where in our log it stands: not
    /// before, so that it is one span, and the next contact needs nothing of this.
    fn knows_all(&self, id: LinkId, peer: PeerNum, group: GroupNum) -> bool {
        let Some((state, pair)) = self.group_and_pair(peer, group) else { return false };
        let over = pair.session.reconciled.is_some_and(|(link, _)| link == id);
        over && pair
            .session
            .tell_known
            .is_some_and(|last| pair.has.first_absent_of_both(&state.gone, 1) > last)
    }

    fn put_known(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        name: GroupRef,
        draft: &mut Draft,
    ) -> Result<(), EngineError> {
        let Some(spans) = draft.room().checked_sub(RECORD_OVERHEAD).map(|room| room / SPAN_SIZE) else {
            return Ok(());
        };
        if spans == 0 || !self.knows_all(id, peer, group) {
            return Ok(());
        }
        let Some(pair) = self.pair_mut(peer, group) else { return Ok(()) };
        pair.session.tell_known = None;
        let Some((_, salt)) = pair.session.reconciled else { return Ok(()) };
        let positions: Vec<Span> = pair.has.spans().take(spans).collect();
        // What the next ACK would say is said here.
        pair.session.known.clear();
        let Some(last) = positions.last().map(|span| span.last) else { return Ok(()) };
        let Some(chain) = self.store.at(group, last)?.map(|row| row.chain) else { return Ok(()) };
        draft.take(RECORD_OVERHEAD + positions.len() * SPAN_SIZE);
        draft.say(Reconcile { group: name, salt, step: ReconcileStep::Known { positions, chain } });
        Ok(())
    }

    /// What is to be said about a reconciliation.
    pub(in crate::engine) fn put_reconcile(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        name: GroupRef,
        draft: &mut Draft,
    ) -> Result<(), EngineError> {
        let speaks = self.links.get(&id).is_some_and(|link| link.caps.sessions && link.lossy.is_none());
        if !speaks {
            return Ok(());
        }
        if let Some(pair) = self.pair_mut(peer, group)
            && pair.session.reconcile_stop
            && draft.take(RECORD_OVERHEAD)
        {
            pair.session.reconcile_stop = false;
            draft.say(Reconcile { group: name, salt: 0, step: ReconcileStep::Stop });
        }
        while let Some(run) = self.reconciles.get_mut(&(peer, group))
            && run.has_more(id)
            && let Some(room) = draft.room().checked_sub(RECORD_OVERHEAD)
            && let Some((step, last)) = run.next(room)
        {
            let size = match &step {
                ReconcileStep::Symbols(symbols) => symbols.bytes.len(),
                ReconcileStep::Lacks(lacks) => lacks.ids.len(),
                _ => 0,
            };
            let salt = run.salt;
            draft.take(RECORD_OVERHEAD + size);
            draft.say(Reconcile { group: name, salt, step });
            if last {
                self.end_reconcile(peer, group);
            } else {
                self.put_off_deadline(peer, group);
            }
        }
        if self.reconciles.contains_key(&(peer, group)) {
            return Ok(());
        }
        self.put_known(id, peer, group, name, draft)
    }
}
