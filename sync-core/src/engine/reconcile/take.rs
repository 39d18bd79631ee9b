//! RECONCILE records that come.

use hedgerow_proto::limits::SYMBOL_OVERHEAD;
use hedgerow_proto::{Lacks, Reconcile, ReconcileStep, Span, Symbols};

use super::{MAX_SALTS, Role, Run, SALTS_EACH, Solving, Telling, cut_for};
use crate::engine::{Engine, LinkId};
use crate::error::EngineError;
use crate::reconcile::{Difference, Progress, ReconcileError, Solver, Symbol};
use crate::store::{GroupNum, PeerNum, Store};

impl<S: Store> Engine<S> {
    /// Takes a RECONCILE record. What comes too late, or for another one than the one that runs, is ignored.
    pub(in crate::engine) fn take_reconcile(
        &mut self,
        id: LinkId,
        record: Reconcile,
    ) -> Result<(), EngineError> {
        let Some((peer, group)) = self.group_of(id, record.group) else { return Ok(()) };
        let salt = record.salt;
        let runs_elsewhere = self.reconciles.get(&(peer, group)).is_some_and(|run| run.link != id);
        let lossy = self.links.get(&id).is_none_or(|link| link.lossy.is_some());
        if lossy || runs_elsewhere || salt % SALTS_EACH >= MAX_SALTS {
            self.refuse(id);
            return Ok(());
        }
        match record.step {
            ReconcileStep::Ask => self.take_ask(id, peer, group),
            ReconcileStep::Symbols(symbols) => self.take_symbols(id, peer, group, salt, &symbols),
            ReconcileStep::More(count) => self.take_more(id, peer, group, salt, count),
            ReconcileStep::Lacks(lacks) => {
                self.take_lacks(id, peer, group, salt, &lacks);
                Ok(())
            }
            ReconcileStep::Stop => {
                self.give_up_reconcile(peer, group, false);
                Ok(())
            }
            ReconcileStep::Known { positions, chain } => {
                self.take_known(peer, group, (id, salt), &positions, chain);
                Ok(())
            }
        }
    }

    /// The peer says where in its log it has what we hold. If we left the group since it was found out what we differ
    /// by, we do not hold it any more.
    fn take_known(
        &mut self,
        peer: PeerNum,
        group: GroupNum,
        over: (LinkId, u32),
        positions: &[Span],
        chain: u64,
    ) {
        let max_spans = self.config.max_spans;
        let Some(pair) = self.pair_mut(peer, group).filter(|pair| pair.session.reconciled == Some(over))
        else {
            return;
        };
        for span in positions.iter().take(max_spans.saturating_sub(pair.got.span_count())) {
            pair.note_got(*span);
        }
        if let Some(last) = positions.last() {
            self.note_mark(peer, group, (last.last, chain), None);
        }
        self.changed_pairs.insert((peer, group));
    }

    /// The peer wants us to begin.
    fn take_ask(&mut self, id: LinkId, peer: PeerNum, group: GroupNum) -> Result<(), EngineError> {
        match self.reconciles.get(&(peer, group)) {
            None | Some(Run { role: Role::Asking { .. }, .. }) => {}
            Some(_) => return Ok(()),
        }
        self.give_up_reconcile(peer, group, false);
        if !self.may_reconcile(id, peer, group, self.config.reconcile_interval_ms / 2) {
            self.decline(peer, group);
            return Ok(());
        }
        let tag = self.links.get(&id).zip(self.groups.get(&group)).and_then(|(link, state)| {
            let nonce = link.hello.as_ref()?.nonce;
            Some(hedgerow_proto::Announce::tag_of(&nonce, state.id))
        });
        let announced = self.links.get(&id).zip(tag).and_then(|(link, tag)| link.announced.get(&tag));
        let expected = match announced.map(|(_, announce)| announce.clone()) {
            Some(announce) => self.expected_difference(id, group, &announce)?,
            None => super::EXPECTED,
        };
        self.begin_anew(id, peer, group, super::first_for(expected))
    }

    fn decline(&mut self, peer: PeerNum, group: GroupNum) {
        if let Some(pair) = self.pair_mut(peer, group) {
            pair.session.reconcile_stop = true;
        }
        self.wake(peer, group);
    }

    fn take_symbols(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        salt: u32,
        symbols: &Symbols,
    ) -> Result<(), EngineError> {
        let yields = self.links.get(&id).is_some_and(|link| {
            // Both began at once: the one with the lower nonce goes on.
            link.hello.as_ref().is_none_or(|hello| hello.nonce < link.nonce)
        });
        let runs_salt = self.reconciles.get(&(peer, group)).map(|run| run.salt);
        match self.reconciles.get(&(peer, group)).map(|run| &run.role) {
            Some(Role::Solving(_)) => {}
            Some(Role::Telling(_)) => return Ok(()),
            Some(Role::Saying(_)) if !yields => return Ok(()),
            Some(Role::Again { .. }) if symbols.first == 0 && runs_salt == Some(salt) => {
                self.begin_solving(id, peer, group, salt, symbols)?;
            }
            Some(Role::Saying(_) | Role::Asking { .. })
                if symbols.first == 0 && salt.is_multiple_of(SALTS_EACH) =>
            {
                self.begin_solving(id, peer, group, salt, symbols)?;
            }
            None if symbols.first == 0 && salt.is_multiple_of(SALTS_EACH) => {
                let interval = self.config.reconcile_interval_ms / 2;
                if !self.may_reconcile(id, peer, group, interval) {
                    self.decline(peer, group);
                    return Ok(());
                }
                self.begin_solving(id, peer, group, salt, symbols)?;
            }
            _ => return Ok(()),
        }
        self.solve(id, peer, group, salt, symbols)
    }

    /// Makes our set to solve with. The first symbols said how many come at once.
    fn begin_solving(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        salt: u32,
        symbols: &Symbols,
    ) -> Result<(), EngineError> {
        let Some(key) = self.reconcile_key(id, group, salt, false) else { return Ok(()) };
        let Some(set) = self.set_of(group, key, symbols.width)? else { return Ok(()) };
        let max_symbols = self.most_symbols(set.count.min(symbols.count));
        let set = set.map(|short_ids| {
            let sketch = crate::reconcile::Sketch::new(key, short_ids);
            Solver::new(sketch, symbols.count, usize::try_from(max_symbols).unwrap_or(usize::MAX))
        });
        let open = count_of(symbols).saturating_add(symbols.rest).min(max_symbols);
        let head = set.head;
        let solving = Solving { set, open, more: None };
        self.set_run(id, peer, group, salt, head, Role::Solving(solving));
        self.note_reconciled(peer, group);
        Ok(())
    }

    /// Takes symbols that are the next ones.
    fn solve(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        salt: u32,
        symbols: &Symbols,
    ) -> Result<(), EngineError> {
        let Some(run) = self.reconciles.get_mut(&(peer, group)) else { return Ok(()) };
        let Role::Solving(solving) = &mut run.role else { return Ok(()) };
        if run.salt != salt {
            return Ok(());
        }
        let count = count_of(symbols);
        let next = u32::try_from(solving.set.of.symbols()).unwrap_or(u32::MAX);
        if symbols.first != next || count > solving.open || count == 0 || symbols.width != solving.set.width {
            self.refuse(id);
            self.give_up_reconcile(peer, group, true);
            return Ok(());
        }
        solving.open -= count;
        let theirs: Vec<Symbol> = Symbol::read(&symbols.bytes, symbols.width).collect();
        let open = usize::try_from(solving.open).unwrap_or(usize::MAX);
        let snapshot = run.snapshot;
        let taken = solving.set.of.take(&theirs, open);
        self.put_off_deadline(peer, group);
        match taken {
            Ok(Progress::Solved(difference)) => self.solved(peer, group, &difference),
            Ok(Progress::More(more)) => {
                if open == 0
                    && let Some(Run { role: Role::Solving(solving), .. }) =
                        self.reconciles.get_mut(&(peer, group))
                {
                    solving.open = u32::try_from(more).unwrap_or(u32::MAX);
                    solving.more = Some(solving.open);
                    self.wake(peer, group);
                }
            }
            Err(ReconcileError::Contradiction) if salt % SALTS_EACH + 1 < MAX_SALTS => {
                // As many under the next key.
                let came = next.saturating_add(count);
                self.set_run(id, peer, group, salt + 1, snapshot, Role::Again { more: Some(came) });
            }
            Err(_) => self.give_up_reconcile(peer, group, true),
        }
        Ok(())
    }

    /// The difference is known: what the peer lacks is due, and it is told what we lack.
    fn solved(&mut self, peer: PeerNum, group: GroupNum, difference: &Difference) {
        let Some(run) = self.reconciles.get_mut(&(peer, group)) else { return };
        let Role::Solving(solving) = &run.role else { return };
        let lacked = |short: u64| difference.ours.binary_search(&short).is_ok();
        let set = &solving.set;
        let (lacking, others) = set.part(set.of.short_ids(), lacked);
        let (cut, snapshot) = (cut_for(set.of.their_count(), set.width), run.snapshot);
        let over = (run.link, run.salt);
        let shift = 8 * u32::from(set.width - cut);
        let mut lacks: Vec<u64> = difference.theirs.iter().map(|short| short >> shift).collect();
        lacks.dedup();
        run.role = Role::Telling(Telling { cut, lacks: lacks.into() });
        self.settle_reconciled((peer, group), over, snapshot, &lacking, &others);
    }

    /// The peer could not solve it yet.
    fn take_more(
        &mut self,
        id: LinkId,
        peer: PeerNum,
        group: GroupNum,
        salt: u32,
        count: u32,
    ) -> Result<(), EngineError> {
        let Some(run) = self.reconciles.get_mut(&(peer, group)) else { return Ok(()) };
        let Role::Saying(saying) = &mut run.role else { return Ok(()) };
        if salt == run.salt + 1 {
            return self.begin_saying(id, peer, group, salt, count.max(1).into());
        }
        if salt != run.salt {
            return Ok(());
        }
        let said = saying.set.of.said();
        // Each block costs a look at each message: they have to grow.
        if count < said / 8 || count == 0 || said.saturating_add(count) > saying.max_symbols {
            self.give_up_reconcile(peer, group, true);
            return Ok(());
        }
        saying.prepare(count);
        self.put_off_deadline(peer, group);
        self.wake(peer, group);
        Ok(())
    }

    /// The peer solved it.
    fn take_lacks(&mut self, id: LinkId, peer: PeerNum, group: GroupNum, salt: u32, lacks: &Lacks) {
        let Some(run) = self.reconciles.get_mut(&(peer, group)) else { return };
        let Role::Saying(saying) = &mut run.role else { return };
        if run.salt != salt {
            return;
        }
        let width = saying.set.width;
        let others = saying.cut != 0 && saying.cut != lacks.cut;
        let said = lacks.ids.chunks_exact(usize::from(lacks.cut.max(1)));
        if lacks.cut > width || others || saying.lacks.len() + said.len() > saying.set.of.len() {
            self.refuse(id);
            self.give_up_reconcile(peer, group, true);
            return;
        }
        saying.cut = lacks.cut;
        let value = |bytes: &[u8]| bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
        saying.lacks.extend(said.map(value));
        if lacks.more {
            self.put_off_deadline(peer, group);
            return;
        }
        let shift = 8 * u32::from(width - lacks.cut);
        let set = &saying.set;
        let (lacking, held) = set.part(set.of.short_ids(), |short| saying.lacks.contains(&(short >> shift)));
        let snapshot = run.snapshot;
        self.end_reconcile(peer, group);
        self.settle_reconciled((peer, group), (id, salt), snapshot, &lacking, &held);
    }
}

fn count_of(symbols: &Symbols) -> u32 {
    let each = usize::from(symbols.width) + SYMBOL_OVERHEAD;
    u32::try_from(symbols.bytes.len() / each).unwrap_or(u32::MAX)
}
