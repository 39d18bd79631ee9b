//! Salvage: what is sound in a damaged store goes into a new one, by the rules under which it came into the old one.
//!
//! Nothing of a message is taken on trust but what can be verified: its id from its content, and that it was judged
//! valid from its place in the chain of the delivery order. What cannot be verified stays behind. If something that
//! was kept depends on it, it is wanted, and so it is fetched again from the peers that have it.

mod rebuild;

use std::collections::BTreeMap;

use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, MessageId};

use self::rebuild::Rebuilt;
use super::{GroupNum, GroupRow, MessageNum, MessageRow, PeerGroupRow, PeerRow, Snapshot, Store, StoreError};
use crate::order::chain;

/// How many rows are read at a time, and messages written in a transaction.
const BATCH: usize = 512;
/// How many of the things that were left behind are listed.
const LISTED: usize = 1000;

/// Takes a value of the layers above: its name space, key and bytes; or why it cannot be read.
pub type TakeValue<'a> =
    &'a mut dyn FnMut(Result<(String, Vec<u8>, Vec<u8>), StoreError>) -> Result<(), StoreError>;

/// A store that may be damaged: what can be read of it, row by row.
pub trait Salvage: Store {
    /// The small rows that can be read, and what is wrong with the others.
    fn small_rows(&self) -> (Snapshot, Vec<String>);

    /// Up to `limit` numbers of messages, ascending, from after `after`, be their rows readable or not.
    ///
    /// # Errors
    /// When the list is damaged there.
    fn numbers(&self, after: MessageNum, limit: usize) -> Result<Vec<MessageNum>, StoreError>;

    /// Gives every value of the layers above to `take`.
    ///
    /// # Errors
    /// Those of `take`.
    fn each_value(&self, take: TakeValue<'_>) -> Result<(), StoreError>;
}

/// What came of a repair.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// The groups of the new store, by number.
    pub groups: Vec<RepairedGroup>,
    /// How many peers were copied.
    pub peers: u64,
    /// How many messages were copied, tombstones among them.
    pub messages: u64,
    /// How many values of the layers above were copied.
    pub values: u64,
    /// How many things were left behind.
    pub quarantined_count: u64,
    /// The first thousand of them.
    pub quarantined: Vec<LeftBehind>,
}

impl RepairReport {
    fn leave(&mut self, what: impl Into<String>, id: Option<MessageId>, why: impl Into<String>) {
        self.quarantined_count += 1;
        if self.quarantined.len() < LISTED {
            self.quarantined.push(LeftBehind { what: what.into(), id, why: why.into() });
        }
    }

    fn leave_message(&mut self, row: &MessageRow, why: impl Into<String>) {
        self.leave(format!("message number {}", row.num.0), Some(row.id), why);
    }
}

/// A group in the new store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairedGroup {
    /// Its id.
    pub id: GroupId,
    /// The last position of its delivery order in the old store, as that store said.
    pub old_head: u64,
    /// The same in the new store.
    pub head: u64,
    /// Up to this position the delivery order is what it was. Who has read further must read on from here.
    pub unchanged_to: u64,
}

/// Something that could not be verified, and stays in the old store alone.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeftBehind {
    /// What it is, with its number in the old store.
    pub what: String,
    /// Its id as the old store says, if it is a message with a readable row.
    pub id: Option<MessageId>,
    /// What is wrong with it.
    pub why: String,
}

/// Copies what is sound in `old` into `new`, which must be empty, and commits it. Nothing in `old` is changed.
///
/// Groups are copied when their descriptor is what their id names, peers and values as they are. A message is copied
/// when its content is what its id names. It is delivered if its place in the chain shows that it was, and what it
/// depends on is delivered; those of a judged group for which that is not shown are to be judged again. What peers
/// have is forgotten, and the new store has no install number yet: an engine draws one, and all peers state anew what
/// they hold.
///
/// Messages with a timestamp above `early_after_ms` (ms since 1970-01-01 UTC) that were not delivered wait for it.
/// Memory: 32 bytes for each message.
///
/// # Errors
/// When `new` cannot be written, or `old` cannot be read for a reason other than damage.
pub fn repair<O: Salvage, N: Store>(
    old: &O,
    new: &mut N,
    early_after_ms: i64,
) -> Result<RepairReport, StoreError> {
    let (snapshot, problems) = old.small_rows();
    let mut report = RepairReport::default();
    for problem in problems {
        report.leave("a small row", None, problem);
    }
    let (groups, ids) = (BTreeMap::new(), BTreeMap::new());
    let mut repairer = Repairer { old, new, early_after_ms, report, groups, ids, written: 0 };
    repairer.small_rows(snapshot)?;
    repairer.messages()?;
    repairer.values()?;
    repairer.finish()
}

/// One run of [`repair`].
struct Repairer<'a, O, N> {
    old: &'a O,
    new: &'a mut N,
    early_after_ms: i64,
    report: RepairReport,
    groups: BTreeMap<GroupNum, Rebuilt>,
    /// The right ids of messages in the old store that have wrong ones there.
    ids: BTreeMap<MessageNum, MessageId>,
    /// Messages since the last commit.
    written: usize,
}

/// A message in the old store, in the order in which it is looked at: group by group, as delivered, then the others.
type Place = (GroupNum, bool, u64, MessageNum);

impl<O: Salvage, N: Store> Repairer<'_, O, N> {
    fn small_rows(&mut self, snapshot: Snapshot) -> Result<(), StoreError> {
        for old in snapshot.groups {
            let what = format!("group number {}", old.num.0);
            let descriptor =
                GroupDescriptor::new(old.client_id.clone(), old.major_version, old.descriptor.clone());
            let scheme = IdScheme::from_code(old.scheme);
            let (Ok(descriptor), Some(scheme)) = (descriptor, scheme) else {
                self.report.leave(what, None, "its descriptor breaks the rules");
                continue;
            };
            if scheme.group_id(&descriptor) != Some(old.id) {
                self.report.leave(what, None, "its descriptor is not what its id names");
                continue;
            }
            let old_head = old.head;
            let row = GroupRow { head: 0, chain: 0, body_bytes: 0, ..old };
            self.new.put_group(&row)?;
            self.groups.insert(row.num, Rebuilt::new(row, scheme, old_head));
        }
        let mut peers = std::collections::BTreeSet::new();
        for peer in snapshot.peers {
            self.new.put_peer(&PeerRow { install: None, ..peer })?;
            peers.insert(peer.num);
            self.report.peers += 1;
        }
        for pair in snapshot.peer_groups {
            if self.groups.contains_key(&pair.group) && peers.contains(&pair.peer) {
                let (has, got) = (Vec::new(), Vec::new());
                self.new.put_peer_group(&PeerGroupRow { has, got, mark: 0, mark_chain: 0, ..pair })?;
            }
        }
        Ok(())
    }

    fn messages(&mut self) -> Result<(), StoreError> {
        let mut before: Option<(GroupNum, u64, u64)> = None;
        for (group, _, position, num) in self.order()? {
            let Some(mut row) = readable(self.old.row(num))?.ok().flatten() else { continue };
            let link = match before {
                _ if position == 1 => Some(0),
                Some((of, at, value)) if of == group && at.checked_add(1) == Some(position) => Some(value),
                _ => None,
            };
            let fits = |id| position > 0 && link.is_some_and(|value| chain(value, id) == row.chain);
            let mut sound = fits(&row.id);
            if !sound
                && let Some(id) = self.id_of_content(&row)?
                && fits(&id)
            {
                // The id itself was changed: content and chain agree on another one.
                self.ids.insert(num, id);
                (row.id, sound) = (id, true);
            }
            before = Some((group, position, row.chain));
            self.take(&row, sound)?;
            self.written += 1;
            if self.written.is_multiple_of(BATCH) {
                self.new.commit()?;
            }
        }
        Ok(())
    }

    /// All messages with a readable row, in order.
    fn order(&mut self) -> Result<Vec<Place>, StoreError> {
        let mut places = Vec::new();
        let mut after = MessageNum(0);
        loop {
            let nums = match readable(self.old.numbers(after, BATCH))? {
                Ok(nums) => nums,
                Err(why) => match self.behind_damage(after)? {
                    Some(nums) => nums,
                    None => {
                        self.report.leave(format!("the messages after number {}", after.0), None, why);
                        break;
                    }
                },
            };
            let Some(&last) = nums.last() else { break };
            if last <= after {
                self.report.leave(format!("the messages after number {}", after.0), None, "no order");
                break;
            }
            after = last;
            for num in nums {
                match readable(self.old.row(num))? {
                    Ok(Some(row)) => places.push((row.group, row.position == 0, row.position, num)),
                    Ok(None) => {}
                    Err(why) => self.report.leave(format!("message number {}", num.0), None, why),
                }
            }
        }
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }

    /// Numbers in and behind a damaged part of the list, every one that could be: the rows tell.
    fn behind_damage(&mut self, after: MessageNum) -> Result<Option<Vec<MessageNum>>, StoreError> {
        for step in 0..24 {
            let skipped = 1_u64 << step;
            let from = MessageNum(after.0.saturating_add(skipped));
            if let Ok(nums) = readable(self.old.numbers(from, 1))?
                && !nums.is_empty()
            {
                return Ok(Some((after.0 + 1..=from.0).map(MessageNum).chain(nums).collect()));
            }
        }
        Ok(None)
    }

    fn values(&mut self) -> Result<(), StoreError> {
        let (new, report) = (&mut *self.new, &mut self.report);
        self.old.each_value(&mut |value| match readable(value)? {
            Ok((space, key, value)) => {
                report.values += 1;
                new.set_value(&space, &key, Some(&value))
            }
            Err(why) => {
                report.leave("a value", None, why);
                Ok(())
            }
        })
    }
}

/// What was read, or what the store says is damaged about it.
fn readable<T>(answer: Result<T, StoreError>) -> Result<Result<T, String>, StoreError> {
    match answer {
        Ok(value) => Ok(Ok(value)),
        Err(StoreError::Corrupt(what)) => Ok(Err(what)),
        Err(error) => Err(error),
    }
}
