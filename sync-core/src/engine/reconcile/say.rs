//! RECONCILE records that go.

use hedgerow_proto::limits::SYMBOL_OVERHEAD;
use hedgerow_proto::{GroupRef, Lacks, Reconcile, ReconcileStep, Span, Symbols};

use super::{Role, Run, Saying};
use crate::engine::state::PeerGroup;
use crate::engine::transmit::{Draft, RECORD_OVERHEAD};
use crate::engine::{Engine, LinkId};
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
        self.reconciles.get(&(peer, group)).is_some_and(|run| run.has_more(id))
    }

    /// Once the peer holds all that it was found to lack, it is told where in our log it stands: so that it is one span, and
    /// the next contact needs nothing of this.
    pub(in crate::engine) fn note_known(&mut self, peer: PeerNum, group: GroupNum) {
        let Some(state) = self.groups.get(&group) else { return };
        let pair = self.peers.get_mut(&peer).and_then(|peer| peer.groups.get_mut(&group));
        let Some(PeerGroup { has, session, .. }) = pair.map(Box::as_mut) else { return };
        let Some(last) = session.tell_known else { return };
        if has.first_absent_of_both(&state.gone, 1) <= last {
            return;
        }
        session.tell_known = None;
        for span in has.spans().filter(|span| span.first <= last) {
            session.known.insert_span(Span { first: span.first, last: span.last.min(last) });
        }
        session.known_due = !session.known.is_empty();
    }

    /// What is to be said about a reconciliation.
    pub(in crate::engine) fn put_reconcile(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        name: GroupRef,
        draft: &mut Draft,
    ) {
        let speaks = self.links.get(&id).is_some_and(|link| link.caps.sessions && link.lossy.is_none());
        if !speaks {
            return;
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
    }
}
