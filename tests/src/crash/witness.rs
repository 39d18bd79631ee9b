//! What was told to whom, and whether it is still so.

use std::collections::{BTreeMap, BTreeSet};

use hedgerow_proto::{GroupId, MessageId, PeerId};
use hedgerow_sync_core::store::{Direction, MessageState};
use hedgerow_sync_core::{Entry, SpanSet, Store as _};

use super::network::Node;
use super::{Failure, Kind};

/// Where clients keep their cursors: the group, and the last position that they have dealt with.
pub(super) const CURSORS: &str = "cursor";

/// Where clients keep what they did in a group: the position, and the message that was there.
pub(super) fn effects(group: GroupId) -> String {
    format!("effect {group}")
}

pub(super) fn effect_key(position: u64) -> [u8; 8] {
    position.to_be_bytes()
}

type InGroup = (usize, GroupId);

/// All that may not be forgotten.
#[derive(Debug, Default)]
pub(super) struct Witness {
    /// What others were told that a node holds.
    told: BTreeMap<InGroup, BTreeSet<MessageId>>,
    /// What a node has written, durably.
    own: BTreeMap<InGroup, BTreeSet<MessageId>>,
    /// What a node has written since its last commit.
    written: BTreeMap<usize, Vec<(GroupId, MessageId)>>,
    /// What a node has written before a commit of which it never heard.
    unknown: BTreeMap<usize, Vec<(GroupId, MessageId)>>,
    /// What a node has written in a transaction of which nothing was kept, as its store has said.
    undone: BTreeMap<usize, Vec<MessageId>>,
    /// What a client has dealt with, durably, in the order of positions.
    seen: BTreeMap<InGroup, Vec<MessageId>>,
    /// What a client has dealt with since the last commit.
    seeing: BTreeMap<InGroup, Vec<MessageId>>,
    /// What a client has dealt with before a commit of which it never heard.
    unknown_seen: BTreeMap<InGroup, Vec<MessageId>>,
    /// Groups that a node has left: others may believe what was so before.
    left: BTreeSet<InGroup>,
}

impl Witness {
    pub(super) fn published(&mut self, node: usize, group: GroupId, id: MessageId) {
        self.written.entry(node).or_default().push((group, id));
    }

    pub(super) fn read(&mut self, node: usize, group: GroupId, entries: Vec<Entry>) {
        let seeing = self.seeing.entry((node, group)).or_default();
        for entry in entries {
            let body = entry.body.as_ref().expect("nothing is pruned here");
            assert!(!body.starts_with(b"bad "), "an invalid message was delivered");
            seeing.push(entry.id);
        }
    }

    pub(super) fn committed(&mut self, node: usize) {
        for (group, id) in self.written.remove(&node).unwrap_or_default() {
            self.own.entry((node, group)).or_default().insert(id);
        }
        for ((_, group), ids) in self.seeing.extract_if(.., |(of, _), _| *of == node) {
            self.seen.entry((node, group)).or_default().extend(ids);
        }
    }

    /// A node is gone. `undone`: its store has said that nothing of the last transaction was kept.
    pub(super) fn node_lost(&mut self, node: usize, undone: bool) {
        let written = self.written.remove(&node).unwrap_or_default();
        let seeing: Vec<_> = self.seeing.extract_if(.., |(of, _), _| *of == node).collect();
        if undone {
            self.undone.entry(node).or_default().extend(written.into_iter().map(|(_, id)| id));
            return;
        }
        self.unknown.entry(node).or_default().extend(written);
        for (key, ids) in seeing {
            self.unknown_seen.entry(key).or_default().extend(ids);
        }
    }

    pub(super) fn left(&mut self, node: usize, group: GroupId) {
        self.left.insert((node, group));
        self.told.remove(&(node, group));
        self.own.remove(&(node, group));
        self.seen.remove(&(node, group));
        self.seeing.remove(&(node, group));
        self.unknown_seen.remove(&(node, group));
        for waiting in [&mut self.written, &mut self.unknown] {
            waiting.entry(node).or_default().retain(|(of, _)| *of != group);
        }
    }

    pub(super) fn note_beliefs(&mut self, about: usize, peer: PeerId, believer: &Node) {
        let store = believer.store();
        let rows = store.load().expect("this disk is not disturbed");
        let Some(num) = rows.peers.iter().find(|row| row.id == peer).map(|row| row.num) else { return };
        for pair in rows.peer_groups.iter().filter(|pair| pair.peer == num) {
            let group = rows.groups.iter().find(|row| row.num == pair.group).unwrap();
            if self.left.contains(&(about, group.id)) {
                continue;
            }
            let told = self.told.entry((about, group.id)).or_default();
            let has = SpanSet::from_bytes(&pair.has).unwrap();
            for position in has.spans().flat_map(|span| span.first..=span.last) {
                told.insert(store.at(group.num, position).unwrap().unwrap().id);
            }
        }
    }

    /// Looks whether a node still has everything.
    pub(super) fn verify(&mut self, node: usize, engine: &Node) -> Result<(), Failure> {
        let corrupt = |what: String| Failure::new(Kind::Corrupt, format!("node {node}: {what}"));
        let store = engine.store();
        let report = store.check().map_err(|error| corrupt(error.to_string()))?;
        if !report.is_clean() {
            return Err(corrupt(format!("{:?}", report.problems)));
        }
        let state = |id: &MessageId| store.find(id).map(|row| row.map(|row| row.state));
        let state = |id: &MessageId| state(id).map_err(|error| corrupt(error.to_string()));
        for (group, id) in self.unknown.remove(&node).unwrap_or_default() {
            // A commit of which the node never heard: if it is there, it stays.
            if state(&id)? == Some(MessageState::Delivered) {
                self.own.entry((node, group)).or_default().insert(id);
            }
        }
        for id in self.undone.get(&node).into_iter().flatten() {
            if state(id)?.is_some_and(|state| state != MessageState::Wanted) {
                return Err(corrupt(format!("{id} was kept, although the store said that it was not")));
            }
        }
        for (what, all) in [("told to others", &self.told), ("written here", &self.own)] {
            for ((_, group), ids) in all.iter().filter(|((of, _), _)| *of == node) {
                for id in ids {
                    let lost = match state(id)? {
                        None | Some(MessageState::Wanted) => true,
                        Some(state) => what == "written here" && state != MessageState::Delivered,
                    };
                    if lost {
                        let detail = format!("node {node}: {id} in {group}, {what}, is not there");
                        return Err(Failure::new(Kind::Lost, detail));
                    }
                }
            }
        }
        for group in engine.groups() {
            self.verify_client(node, group.id, engine)?;
        }
        Ok(())
    }

    /// What a client did is what the log says, each once, and none of what it did durably is gone.
    fn verify_client(&mut self, node: usize, group: GroupId, engine: &Node) -> Result<(), Failure> {
        let fail =
            |kind, what: &str| Err(Failure::new(kind, format!("node {node}, client in {group}: {what}")));
        let store = engine.store();
        let cursor = store.value(CURSORS, group.as_bytes()).expect("it was checked");
        let cursor = cursor.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()));
        let rows = store.values(&effects(group), None, usize::MAX >> 1).expect("it was checked");
        let did: Vec<MessageId> =
            rows.into_iter().map(|(_, id)| MessageId::from_bytes(id.try_into().unwrap())).collect();
        if cursor != did.len() as u64 {
            return fail(Kind::Corrupt, "the cursor and what was done with it are not of one transaction");
        }
        let log = engine.log(group, 0, usize::MAX >> 1, usize::MAX).expect("it was checked");
        if !log.iter().map(|entry| entry.id).take(did.len()).eq(did.iter().copied()) {
            return fail(Kind::Repeated, "what was delivered is not what the log says");
        }
        let once: BTreeSet<&MessageId> = did.iter().collect();
        if once.len() < did.len() {
            return fail(Kind::Repeated, "a message was delivered twice");
        }
        let mut known = self.seen.remove(&(node, group)).unwrap_or_default();
        if !did.starts_with(&known) {
            return fail(Kind::Lost, "a commit that the client heard of is not there");
        }
        known.extend(self.unknown_seen.remove(&(node, group)).unwrap_or_default());
        if !known.starts_with(&did) {
            return fail(Kind::Repeated, "the client has done what it was never given");
        }
        self.seen.insert((node, group), did);
        Ok(())
    }

    /// All members have the same, and all that was ever written durably.
    pub(super) fn verify_agreement(&self, group: GroupId, members: &[&Node]) -> Result<(), Failure> {
        let lost = |what: &str| Err(Failure::new(Kind::Lost, format!("in {group} {what}")));
        let all = |node: &Node| -> Vec<MessageId> {
            let page = node.page(group, None, Direction::Forward, usize::MAX >> 1).expect("it was checked");
            page.into_iter().map(|entry| entry.id).collect()
        };
        let Some(first) = members.first().map(|node| all(node)) else { return Ok(()) };
        if members.iter().any(|node| all(node) != first) {
            return lost("not all members have the same messages in the same order");
        }
        if self.left.iter().any(|(_, left)| *left == group) {
            return Ok(());
        }
        let there: BTreeSet<MessageId> = first.into_iter().collect();
        let own = self.own.iter().filter(|((node, of), _)| *of == group && *node != super::script::LIAR);
        if own.flat_map(|(_, ids)| ids).any(|id| !there.contains(id)) {
            return lost("a message that was written durably has not arrived");
        }
        Ok(())
    }
}
