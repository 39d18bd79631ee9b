//! The part of a check that goes group by group: small rows, both orders, lists of heads.

use std::collections::HashSet;

use hedgerow_proto::{GroupDescriptor, IdScheme};

use super::{BATCH, Checker, Invariant, Subject};
use crate::order::{OrderKey, chain};
use crate::spanset::SpanSet;
use crate::store::{Direction, GroupRow, MessageNum, PeerGroupRow, Snapshot, Store, StoreError};

impl<S: Store> Checker<'_, S> {
    pub(super) fn small_rows(&mut self, snapshot: &Snapshot) {
        let (last_group, last_peer) = snapshot.last_nums;
        let (mut nums, mut ids) = (HashSet::new(), HashSet::new());
        for group in &snapshot.groups {
            self.report.groups += 1;
            let subject = Subject::Group(group.num);
            if !nums.insert(group.num) || !ids.insert(group.id) || group.num.0 > last_group {
                self.problem(subject, Invariant::Numbers, format!("{} is there twice or too high", group.id));
            }
            let descriptor =
                GroupDescriptor::new(&group.client_id, group.major_version, group.descriptor.clone());
            match (IdScheme::from_code(group.scheme), descriptor) {
                (None, _) => self.problem(subject, Invariant::GroupId, format!("id scheme {}", group.scheme)),
                (_, Err(error)) => self.problem(subject, Invariant::GroupId, error.to_string()),
                (Some(scheme), Ok(descriptor)) => {
                    let id = scheme.group_id(&descriptor);
                    if id != Some(group.id) {
                        let should = id.map_or("no group".to_owned(), |id| id.to_string());
                        self.problem(
                            subject,
                            Invariant::GroupId,
                            format!("is {}, should be {should}", group.id),
                        );
                    }
                }
            }
        }
        let (mut nums, mut ids) = (HashSet::new(), HashSet::new());
        for peer in &snapshot.peers {
            self.report.peers += 1;
            if !nums.insert(peer.num) || !ids.insert(peer.id) || peer.num.0 > last_peer {
                let detail = format!("{} is there twice or too high", peer.id);
                self.problem(Subject::Peer(peer.num), Invariant::Numbers, detail);
            }
        }
        let mut pairs = HashSet::new();
        for row in &snapshot.peer_groups {
            if !pairs.insert((row.peer, row.group)) {
                let subject = Subject::PeerGroup(row.peer, row.group);
                self.problem(subject, Invariant::Numbers, "is there twice");
            }
            self.peer_group(row, nums.contains(&row.peer));
        }
    }

    fn peer_group(&mut self, row: &PeerGroupRow, peer_is_there: bool) {
        let subject = Subject::PeerGroup(row.peer, row.group);
        if !peer_is_there {
            self.problem(subject, Invariant::PeerGroup, "there is no such peer");
        }
        if SpanSet::from_bytes(&row.got).is_none() {
            self.problem(subject, Invariant::PeerGroup, "`got` is not a set of positions");
        }
        let has = SpanSet::from_bytes(&row.has);
        let head = self.groups.get(&row.group).map(|group| group.head);
        match (has.map(|has| has.max()), head) {
            (_, None) => self.problem(subject, Invariant::PeerGroup, "there is no such group"),
            (None, _) => self.problem(subject, Invariant::PeerGroup, "`has` is not a set of positions"),
            (Some(has), Some(head)) if has > head => {
                let detail = format!("`has` goes to position {has}, the group to {head}");
                self.problem(subject, Invariant::PeerGroup, detail);
            }
            _ => {}
        }
    }

    /// Walks the delivery order, and notes where it leads.
    pub(super) fn delivery_order(&mut self, group: &GroupRow) -> Result<(), StoreError> {
        let subject = Subject::Group(group.num);
        let mut value = 0;
        for position in 1..=group.head {
            let row = self.store.at(group.num, position);
            let Some(row) = self.readable(subject, row)? else { return Ok(()) };
            let Some(row) = row else {
                // Not one problem for each position of a head that may be wild.
                let detail = format!("no message at position {position} of {}", group.head);
                self.problem(subject, Invariant::Positions, detail);
                return Ok(());
            };
            if (row.group, row.position) != (group.num, position) {
                let detail = format!("found at position {position}, says {}", row.position);
                self.problem(Subject::Message(row.num), Invariant::Positions, detail);
            }
            if !self.walked.insert(row.num) {
                let detail = format!("found a second time, at position {position}");
                self.problem(Subject::Message(row.num), Invariant::Positions, detail);
            }
            value = chain(value, &row.id);
            if row.chain != value {
                let detail = format!("is {:016x}, should be {value:016x}", row.chain);
                self.problem(Subject::Message(row.num), Invariant::Chain, detail);
            }
        }
        if group.chain != value {
            let detail = format!("is {:016x}, should be {value:016x}", group.chain);
            self.problem(subject, Invariant::Chain, detail);
        }
        Ok(())
    }

    /// Pages through the canonical order: every message of the delivery order, by key.
    pub(super) fn canonical_order(&mut self, group: &GroupRow) -> Result<(), StoreError> {
        let subject = Subject::Group(group.num);
        let mut after: Option<OrderKey> = None;
        let mut listed = 0_u64;
        loop {
            let page = self.store.page(group.num, after.as_ref(), Direction::Forward, BATCH);
            let Some(page) = self.readable(subject, page)? else { return Ok(()) };
            if page.is_empty() {
                break;
            }
            for row in &page {
                listed += 1;
                if after >= Some(row.key()) || row.group != group.num || !row.state.is_delivered() {
                    let detail = format!("is out of order, or not delivered here: {:?}", row.key());
                    self.problem(Subject::Message(row.num), Invariant::CanonicalOrder, detail);
                    return Ok(());
                }
                after = Some(row.key());
            }
        }
        if listed != group.head {
            let detail = format!("lists {listed} messages of {}", group.head);
            self.problem(subject, Invariant::CanonicalOrder, detail);
        }
        Ok(())
    }

    /// Notes the heads, which are looked at when all messages are known.
    pub(super) fn head_list(&mut self, group: &GroupRow) -> Result<(), StoreError> {
        let subject = Subject::Group(group.num);
        let heads = self.store.heads(group.num);
        let Some(heads) = self.readable(subject, heads)? else { return Ok(()) };
        if !heads.is_sorted_by(|a, b| a < b) {
            self.problem(subject, Invariant::Heads, "are not ascending");
        }
        for num in heads {
            if !self.is_delivered_in(group, num)? {
                let detail = format!("message {} is none: it is not delivered here", num.0);
                self.problem(subject, Invariant::Heads, detail);
            }
            self.heads.insert(num);
        }
        Ok(())
    }

    fn is_delivered_in(&mut self, group: &GroupRow, num: MessageNum) -> Result<bool, StoreError> {
        let row = self.store.row(num);
        let row = self.readable(Subject::Message(num), row)?.flatten();
        Ok(row.is_some_and(|row| row.group == group.num && row.state.is_delivered()))
    }
}
