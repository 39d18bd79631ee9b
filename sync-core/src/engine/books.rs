//! The engine's accounts, counted anew from its store, for tests that look after every step.

use hedgerow_proto::{GroupId, PeerId};

use super::Engine;
use super::quota::Quota;
use super::state::Counts;
use crate::spanset::SpanSet;
use crate::store::{GroupNum, MessageNum, MessageState, Store, StoreError};

impl<S: Store> Engine<S> {
    /// Our positions that a peer is believed to hold.
    #[must_use]
    pub fn believed(&self, peer: PeerId, group: GroupId) -> SpanSet {
        let pair = self
            .peer_nums
            .get(&peer)
            .and_then(|num| self.peers.get(num))
            .and_then(|peer| self.group_nums.get(&group).and_then(|group| peer.groups.get(group)));
        pair.map(|pair| pair.has.clone()).unwrap_or_default()
    }

    /// [`audit`](Self::audit), and what is counted by group against what the store holds. Reads the whole store.
    ///
    /// # Errors
    /// When the store fails.
    pub fn audit_books(&self) -> Result<Vec<String>, StoreError> {
        let mut wrong = self.audit();
        for &num in self.groups.keys() {
            self.audit_group(num, &mut wrong)?;
        }
        Ok(wrong)
    }

    fn audit_group(&self, num: GroupNum, wrong: &mut Vec<String>) -> Result<(), StoreError> {
        let Some(group) = self.groups.get(&num) else { return Ok(()) };
        let mut counts = Counts::default();
        let mut quota = Quota::default();
        let mut gone = SpanSet::new();
        let mut delivered = 0;
        let mut after = MessageNum(0);
        loop {
            let rows = self.store.scan(after, 64)?;
            let Some(last) = rows.last() else { break };
            after = last.num;
            for row in rows.iter().filter(|row| row.group == num) {
                counts.enter(row.state, row.body_len);
                quota.change(None, Some(row), self.config.max_clock_skew_ms);
                delivered += u64::from(row.state.is_delivered());
                if matches!(row.state, MessageState::Pruned | MessageState::Gap) {
                    gone.insert(row.position);
                }
                if let Some(peer) = group.quota.who_wants(row.num) {
                    if row.state == MessageState::Wanted {
                        quota.want(row.num, peer);
                    } else {
                        wrong.push(format!(
                            "{num:?}: {:?} is counted as wanted, and is {:?}",
                            row.num, row.state
                        ));
                    }
                }
            }
        }
        if counts != group.counts {
            wrong.push(format!("{num:?}: counted {:?}, there are {counts:?}", group.counts));
        }
        if quota != group.quota {
            wrong.push(format!("{num:?}: what waits is counted {:?}, there is {quota:?}", group.quota));
        }
        if gone != group.gone {
            wrong.push(format!("{num:?}: gone are {:?}, counted {:?}", gone, group.gone));
        }
        if delivered != group.head {
            wrong.push(format!("{num:?}: {delivered} delivered, the head is {}", group.head));
        }
        Ok(())
    }
}
