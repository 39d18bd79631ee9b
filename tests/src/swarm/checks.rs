//! What must hold after every step.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;

use bytes::Bytes;
use hedgerow_proto::limits::NONCE_LEN;
use hedgerow_proto::{Announce, Codec as _, Frame, GroupId, GroupRef, InStep, MessageId, NativeCodec, Span};
use hedgerow_sync_core::chain;
use rand::RngExt as _;

use super::options::Judging;
use super::run::Broken;
use super::world::{BAD, World};

/// Stores with more messages in all are checked after one step of ten only.
const SMALL: usize = 400;

impl World {
    /// Each delivery order has only grown, each message stands in it once, after its dependencies; nothing that
    /// judging clients refuse stands in it; the engines' accounts are right; stores are sound.
    pub(super) fn look(&mut self) -> Result<(), Broken> {
        for n in 0..self.nodes.len() {
            let groups: Vec<GroupId> = self.nodes[n].logs.keys().copied().collect();
            for group in groups {
                self.look_at_log(n, group)?;
            }
            let engine = self.reads(n);
            // The books are recounted from the whole store.
            let small = self.nodes[n].logs.values().map(Vec::len).sum::<usize>() < SMALL;
            let wrong = if small { engine.audit_books()? } else { engine.audit() };
            if !wrong.is_empty() {
                return Err(Broken::new("accounts are right", format!("node {n}: {}", wrong.join("; "))));
            }
        }
        let messages: usize = self.nodes.iter().flat_map(|node| node.logs.values()).map(Vec::len).sum();
        if messages / self.nodes.len().max(1) < SMALL || self.rng.random_bool(0.1) {
            self.check_stores(0.1)?;
        }
        Ok(())
    }

    fn look_at_log(&mut self, n: usize, group: GroupId) -> Result<(), Broken> {
        let at = self.groups.iter().position(|id| *id == group).unwrap_or(0);
        let judged = self.options.groups[at].by(n);
        let log = std::mem::take(self.nodes[n].logs.entry(group).or_default());
        let (mut looked, mut set) = self.nodes[n].seen.remove(&group).unwrap_or_default();
        let mut result = Ok(());
        while result.is_ok() && looked < log.len() {
            result = self.look_at_entry(n, group, looked, log[looked], judged, &mut set);
            looked += 1;
        }
        self.nodes[n].logs.insert(group, log);
        self.nodes[n].seen.insert(group, (looked, set));
        result
    }

    fn look_at_entry(
        &mut self,
        n: usize,
        group: GroupId,
        at: usize,
        id: MessageId,
        judged: bool,
        before: &mut BTreeSet<MessageId>,
    ) -> Result<(), Broken> {
        let position = at as u64 + 1;
        let Some(entry) = self.reads(n).entry(group, position)? else {
            let text = format!("node {n}: nothing at position {position} of {group}");
            return Err(Broken::new("positions have no gaps", text));
        };
        if !before.insert(entry.id) {
            let text = format!("node {n}: {} at position {position} of {group}", entry.id);
            return Err(Broken::new("nothing is delivered twice", text));
        }
        if entry.id != id {
            let text = format!("node {n}: {} at position {position} of {group}, it was {id}", entry.id);
            return Err(Broken::new("a log only grows", text));
        }
        if let Some(dep) = entry.deps.iter().find(|dep| !before.contains(dep)) {
            let text = format!("node {n}: {id} at position {position} of {group} before {dep}");
            return Err(Broken::new("parents come first", text));
        }
        let gone = entry.body.is_none() && self.options.prunes();
        let bad = match &entry.body {
            Some(body) => body.starts_with(BAD),
            None => !self.valid.get(&id).copied().unwrap_or(true),
        };
        let valid = !bad && entry.deps.iter().all(|dep| self.valid.get(dep).copied().unwrap_or(true));
        self.valid.insert(id, valid);
        // Of what was pruned before it came nobody can tell what clients say of it.
        let refused = if self.options.prunes() { bad && !gone } else { !valid };
        if judged && refused {
            let text = format!("node {n}: {id} at position {position} of {group}");
            return Err(Broken::new("what a client refuses is not delivered", text));
        }
        if !gone && entry.to_message(group).map(|message| message.id()) != Some(id) {
            let text = format!("node {n}: {id} at position {position} of {group} has other contents");
            return Err(Broken::new("an id names its contents", text));
        }
        Ok(())
    }

    /// Every store is sound. Those in memory are looked at as a crash would leave them; the others as they are, with
    /// a commit before it in most cases.
    pub(super) fn check_stores(&mut self, share_of_disks: f64) -> Result<(), Broken> {
        for n in 0..self.nodes.len() {
            if !self.reads(n).store().checks_committed() {
                if !self.rng.random_bool(share_of_disks) {
                    continue;
                }
                self.engine(n).commit()?;
            }
            self.count("checks of stores");
            let report = self.reads(n).store().check()?;
            if !report.is_clean() {
                return Err(Broken::new("stores are sound", format!("node {n}: {report}")));
            }
            self.look_at_caps(n, &report)?;
        }
        Ok(())
    }

    /// What an engine says over a wire: whatever it acknowledges it holds.
    pub(super) fn look_at_frame(&mut self, at: usize, end: usize, frame: &Bytes) -> Result<(), Broken> {
        let frame = match NativeCodec::new().decode(frame.clone()) {
            Ok(frame) => frame,
            Err(error) => return Err(Broken::new("engines make frames", error.to_string())),
        };
        let groups = self.groups.clone();
        let Some(wire) = &mut self.wires[at] else { return Ok(()) };
        let (from, to) = (wire.ends[end].node, wire.ends[1 - end].node);
        let me = &mut wire.ends[end];
        if let Some(hello) = &frame.hello {
            me.nonce = Some(hello.nonce);
            self.secrets.push(hello.nonce.to_vec());
        }
        let Some(nonce) = me.nonce else { return Ok(()) };
        for announce in &frame.announces {
            if let Some(&group) =
                groups.iter().find(|group| Announce::tag_of(&nonce, **group) == announce.tag)
            {
                me.names.insert(announce.number, group);
            }
        }
        // A liar has no log, and its numbers come after those of all nodes.
        let stated = frame.in_step.as_ref().zip(self.nodes.get(to));
        let stated =
            stated.map(|(in_step, node)| in_step_groups(&node.logs, &nonce, in_step)).unwrap_or_default();
        me.names.extend(stated.iter().map(|&(number, group, _)| (number, group)));
        let names = me.names.clone();
        if wire.ends[1 - end].gone || self.is_liar(to) || self.is_tainted(from, to) {
            return Ok(());
        }
        for &(_, group, mark) in stated.iter().filter(|(.., mark)| *mark > 0) {
            if self.nodes[to].rewound_at.is_none() {
                self.look_at_held(from, to, group, &[Span { first: 1, last: mark }])?;
            }
        }
        self.look_at_acks(from, to, &frame, |group| match group {
            GroupRef::Number(number) => names.get(&number).copied(),
            GroupRef::Id(group) => Some(group),
            GroupRef::Unnamed => None,
        })
    }

    fn look_at_acks(
        &mut self,
        from: usize,
        to: usize,
        frame: &Frame,
        group_of: impl Fn(GroupRef) -> Option<GroupId>,
    ) -> Result<(), Broken> {
        let rewound = self.nodes[to].rewound_at;
        let links = self.wires.iter().flatten();
        let between = links.filter(|wire| wire.ends.iter().all(|end| end.node == from || end.node == to));
        let since = between.map(|wire| wire.up_since).min().unwrap_or(0);
        // What was said of a log that is another one now cannot be compared with it.
        let acks_count = rewound.is_none_or(|at| at < since);
        for ack in frame.acks.iter().filter(|_| acks_count) {
            if let Some(group) = group_of(ack.group) {
                self.look_at_held(from, to, group, &ack.held)?;
            }
        }
        for announce in frame.announces.iter().filter(|_| rewound.is_none()) {
            if let Some(group) = group_of(GroupRef::Number(announce.number)) {
                self.look_at_held(from, to, group, &announce.held)?;
            }
        }
        Ok(())
    }

    fn look_at_held(&mut self, from: usize, to: usize, group: GroupId, held: &[Span]) -> Result<(), Broken> {
        let Some(log) = self.nodes[to].logs.get(&group) else { return Ok(()) };
        let count = log.len() as u64;
        let positions = held.iter().flat_map(|span| span.first..=span.last.min(count));
        let ids: Vec<MessageId> = positions
            .filter_map(|position| log.get(usize::try_from(position).ok()?.checked_sub(1)?))
            .copied()
            .collect();
        for id in ids {
            if self.nodes[from].acked.entry(group).or_default().contains(&id) {
                continue;
            }
            if !self.holds(from, &id)? {
                let text = format!("node {from} acknowledges {id} to {to} and does not hold it");
                return Err(Broken::new("what is acknowledged is held", text));
            }
            self.count("acknowledged messages looked for");
            self.nodes[from].acked.entry(group).or_default().insert(id);
        }
        Ok(())
    }

    /// After a crash: the logs that events told of are still there, and so is what was acknowledged.
    pub(super) fn look_after_crash(&mut self, n: usize) -> Result<(), Broken> {
        for (group, before) in std::mem::take(&mut self.nodes[n].logs) {
            if self.reads(n).group(group).is_none() {
                let text = format!("node {n}: group {group} is gone after a crash");
                return Err(Broken::new("a crash loses nothing that was told", text));
            }
            let now: Vec<MessageId> = self.read_log(n, group)?;
            if !now.starts_with(&before) {
                let text =
                    format!("node {n}: {} of {} deliveries in {group} are there", now.len(), before.len());
                return Err(Broken::new("a crash loses nothing that was told", text));
            }
            self.nodes[n].logs.insert(group, now);
        }
        let acked: Vec<MessageId> = self.nodes[n].acked.values().flatten().copied().collect();
        for id in acked {
            if !self.holds(n, &id)? {
                let text = format!("node {n} had acknowledged {id}, which is gone after a crash");
                return Err(Broken::new("what is acknowledged is held", text));
            }
        }
        Ok(())
    }

    pub(super) fn read_log(&self, n: usize, group: GroupId) -> Result<Vec<MessageId>, Broken> {
        let log = self.reads(n).log(group, 0, usize::MAX, usize::MAX)?;
        Ok(log.into_iter().map(|entry| entry.id).collect())
    }

    /// Whether some members of a group judge and others do not.
    pub(super) fn is_mixed(&self, group: usize) -> bool {
        self.options.groups[group] == Judging::Some
    }
}

/// What values say of logs: numbers of groups, and up to which position all is held.
fn in_step_groups(
    logs: &BTreeMap<GroupId, Vec<MessageId>>,
    nonce: &[u8; NONCE_LEN],
    in_step: &InStep,
) -> Vec<(u32, GroupId, u64)> {
    let mut found = Vec::new();
    for (&group, log) in logs {
        let chains = log.iter().scan(0, |value, id| {
            *value = chain(*value, id);
            Some(*value)
        });
        for (mark, value) in (0..).zip(iter::once(0).chain(chains)) {
            let value = InStep::value_of(nonce, group, mark, value);
            let said = in_step.numbered().find(|(_, said)| *said == value);
            found.extend(said.map(|(number, _)| (number, group, mark)));
        }
    }
    found
}
