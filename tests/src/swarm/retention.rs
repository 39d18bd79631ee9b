//! What must hold where caps are set and messages expire: nodes hold different bodies then, and agree on the rest.

use std::collections::{BTreeMap, BTreeSet};

use hedgerow_proto::{GroupId, Message, MessageId, Span};
use hedgerow_sync_core::store::{CheckReport, MESSAGE_WEIGHT, MessageState};
use hedgerow_sync_core::{Entry, Horizon, MessageFacts, OrderKey, Verdict};

use super::run::Broken;
use super::world::{BAD, World, peer};

/// What a share loses at most below three quarters of a cap, in bytes: room for the two largest messages.
const SLACK: u64 = 66 << 10;

/// On whose account a message is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Share {
    Ours,
    Author(usize),
    Peer(hedgerow_proto::PeerId),
}

/// What the bodies of nodes end with: the author, and until when the message is to be held.
pub(super) fn signature(author: usize, expires_ms: Option<i64>) -> String {
    expires_ms.map_or(format!("of {author} for ever"), |at| format!("of {author} until {at}"))
}

/// What clients make of a message.
pub(super) fn judge(message: &Message) -> Verdict {
    if message.body().starts_with(BAD) { Verdict::Invalid } else { Verdict::Valid(facts(message.body())) }
}

fn facts(body: &[u8]) -> MessageFacts {
    let none = MessageFacts::default();
    let Some((_, said)) = std::str::from_utf8(body).ok().and_then(|text| text.rsplit_once("of ")) else {
        return none;
    };
    let mut words = said.split_whitespace();
    let author = words.next().and_then(|word| word.parse::<usize>().ok());
    let Some(author) = author else { return none };
    let expires_ms = words.nth(1).and_then(|word| word.parse().ok());
    MessageFacts { author: Some(*peer(author).as_bytes()), expires_ms }
}

fn weight(entry: &Entry) -> u64 {
    entry.body.as_ref().map_or(0, |body| body.len() as u64 + MESSAGE_WEIGHT)
}

impl World {
    /// Every cap holds to the byte in what is committed.
    pub(super) fn look_at_caps(&self, n: usize, report: &CheckReport) -> Result<(), Broken> {
        let too_much = |what: String, found: u64, cap: u64| {
            let text = format!("node {n}: {found} bytes in {what}, {cap} are allowed");
            Err(Broken::new("caps hold", text))
        };
        let config = &self.options.configs[n];
        if report.bytes > config.max_store_bytes {
            return too_much("the store".into(), report.bytes, config.max_store_bytes);
        }
        match report.group_bytes.iter().find(|(_, bytes)| *bytes > config.max_group_bytes) {
            Some(&(group, bytes)) => too_much(group.to_string(), bytes, config.max_group_bytes),
            None => Ok(()),
        }
    }

    /// Bodies are gone: for their time is over, or those of a share that is not small.
    ///
    /// When the last of them went, its share had no more than what is left of it and that one together.
    pub(super) fn look_at_pruned(&mut self, n: usize, group: GroupId, gone: &[Span]) -> Result<(), Broken> {
        let at = self.groups.iter().position(|id| *id == group).unwrap_or(0);
        let now_ms = self.clock(n).as_timestamp_ms();
        let log = self.reads(n).log(group, 0, usize::MAX, usize::MAX)?;
        let mut last: BTreeMap<usize, (u64, MessageId)> = BTreeMap::new();
        let (mut own, mut pruned) = (0, 0);
        for entry in gone
            .iter()
            .flat_map(|span| span.first..=span.last)
            .filter_map(|position| log.get(usize::try_from(position).ok()?.checked_sub(1)?))
        {
            if entry.body.is_some() || !matches!(entry.state, MessageState::Pruned) {
                let text = format!("node {n}: {} of {group} is told to be pruned", entry.id);
                return Err(Broken::new("what is told to be pruned is", text));
            }
            if entry.expires_ms.is_some_and(|at| at <= now_ms) {
                continue;
            }
            pruned += 1;
            let Some(&(author, weight)) = self.written.get(&entry.id) else { continue };
            own += if author == n { weight } else { 0 };
            last.insert(author, (weight, entry.id));
        }
        self.count_many("messages pruned under a cap", pruned);
        // Where no author is named, whoever passes on what a small author wrote pays as a whole.
        if !self.options.groups[at].by(n) || last.is_empty() {
            return Ok(());
        }
        // Where a message came from is not told once that peer is forgotten.
        let share_of = |entry: &Entry| match (entry.origin, self.written.get(&entry.id)) {
            (None, Some(&(author, _))) if author == n => Share::Ours,
            (_, Some(&(author, _))) => Share::Author(author),
            (Some(peer), None) => Share::Peer(peer),
            (None, None) => Share::Ours,
        };
        let mut bytes: BTreeMap<Share, u64> = BTreeMap::new();
        for entry in &log {
            *bytes.entry(share_of(entry)).or_default() += weight(entry);
        }
        // What was written here and is nowhere else pays nothing, so that less is left for the others.
        for &other in self.groups.iter().filter(|id| self.reads(n).group(**id).is_some()) {
            let log = self.reads(n).log(other, 0, usize::MAX, usize::MAX)?;
            own += log.iter().filter(|entry| entry.origin.is_none()).map(weight).sum::<u64>();
        }
        let config = &self.options.configs[n];
        let (shares, groups) = (bytes.len() as u64, self.nodes[n].member.len() as u64 + 1);
        let fair = |cap: u64, parts: u64| (cap / 4 * 3).saturating_sub(SLACK + own) / parts.max(1);
        let fair = fair(config.max_group_bytes, shares).min(fair(config.max_store_bytes, shares * groups));
        for (author, (weight, id)) in last.into_iter().filter(|(author, _)| *author != n) {
            let had = bytes.get(&Share::Author(author)).copied().unwrap_or(0) + weight;
            if had <= fair {
                let text = format!(
                    "node {n}: {id} of {author} in {group} is gone, of {had} bytes, {fair} were due to it: \
                     own {own}, others {bytes:?}"
                );
                return Err(Broken::new("who takes little loses nothing", text));
            }
        }
        Ok(())
    }

    /// What keeps the core from agreeing where not everybody holds everything. Whatever a node still holds, those it
    /// has links to know; what two know stands in the same place on both. Further than that nothing goes for sure:
    /// who pruned a message does not pass it on.
    pub(super) fn lacks_after_pruning(&self, core: &BTreeSet<usize>) -> Result<Option<String>, Broken> {
        let core: Vec<usize> = core.iter().copied().collect();
        for (group, &id) in self.groups.iter().enumerate() {
            let members = self.members(&core, group);
            let mut held: BTreeMap<usize, BTreeMap<MessageId, Vec<MessageId>>> = BTreeMap::new();
            let mut keys: BTreeMap<MessageId, OrderKey> = BTreeMap::new();
            for &n in &members {
                let of_node = held.entry(n).or_default();
                for entry in self.reads(n).log(id, 0, usize::MAX, usize::MAX)? {
                    let key = *keys.entry(entry.id).or_insert(entry.key);
                    if key != entry.key {
                        return Ok(Some(format!("group {group}: {} has two places", entry.id)));
                    }
                    if entry.body.is_some() && self.valid.get(&entry.id).copied().unwrap_or(true) {
                        of_node.insert(entry.id, entry.deps);
                    }
                }
            }
            for &n in &members {
                let linked = members.iter().copied().filter(|other| self.reliably_linked(n, *other));
                let linked: Vec<usize> = linked.collect();
                let near: BTreeMap<MessageId, Vec<MessageId>> = linked
                    .iter()
                    .filter_map(|other| held.get(other))
                    .flatten()
                    .map(|(id, deps)| (*id, deps.clone()))
                    .collect();
                for message in near.keys() {
                    if !self.is_known(n, group, message)?
                        && !self.is_out_of_reach(n, group, message, (&linked, &near))?
                    {
                        let why = self.lineage(n, group, message, &linked)?;
                        return Ok(Some(format!("group {group}: node {n} lacks {message}\n{why}")));
                    }
                }
            }
        }
        Ok(None)
    }

    fn is_known(&self, n: usize, group: usize, id: &MessageId) -> Result<bool, Broken> {
        let entry = self.reads(n).message(id)?;
        Ok(entry.is_some_and(|entry| {
            // What hangs on something refused is refused where that was seen, and not where it was a gap.
            let refused = entry.state == MessageState::Invalid;
            entry.position > 0 || (refused && (self.is_mixed(group) || self.options.liars > 0))
        }))
    }

    /// Whether a message comes after one that nobody near holds, and that is not taken as a gap: not at all, or for
    /// nobody near ever heard of it. That is so if they all took what comes after it as a gap.
    fn is_out_of_reach(
        &self,
        n: usize,
        group: usize,
        id: &MessageId,
        (linked, near): (&[usize], &BTreeMap<MessageId, Vec<MessageId>>),
    ) -> Result<bool, Broken> {
        if self.is_stuffed() {
            return Ok(true);
        }
        // A dependency that messages of two groups name, as liars have it, is not taken as a gap either.
        let gaps_stay_open = self.gaps_stay_open();
        // What waits for it for ever may fill the room of all that has to wait, and what is turned away then is asked
        // for in order: the first that cannot be kept stands before the others.
        if gaps_stay_open
            && self.reads(n).outstanding().iter().any(|pair| pair.turned_away + pair.called_back > 0)
        {
            return Ok(true);
        }
        let mut queue = vec![*id];
        let mut seen = BTreeSet::new();
        while let Some(id) = queue.pop() {
            if !seen.insert(id) || self.is_known(n, group, &id)? {
                continue;
            }
            let here = self.reads(n).message(&id)?.filter(|entry| entry.state != MessageState::Wanted);
            if let Some(deps) = near.get(&id).cloned().or(here.map(|entry| entry.deps)) {
                queue.extend(deps);
                continue;
            }
            let mut gone = false;
            for &other in linked {
                gone |= self.is_known(other, group, &id)?;
            }
            if gaps_stay_open || !gone {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What a message comes after that a node did not deliver, and how that stands there and with its neighbours.
    fn lineage(&self, n: usize, group: usize, id: &MessageId, linked: &[usize]) -> Result<String, Broken> {
        let mut lines = Vec::new();
        let mut queue = vec![*id];
        let mut seen = BTreeSet::new();
        while let Some(id) = queue.pop() {
            if !seen.insert(id) || self.is_known(n, group, &id)? {
                continue;
            }
            let mut line = format!("  {id}:");
            for at in std::iter::once(&n).chain(linked) {
                let entry = self.reads(*at).message(&id)?;
                queue.extend(entry.iter().flat_map(|entry| &entry.deps));
                line.push_str(&format!(" {at} {:?},", entry.map(|entry| entry.state)));
            }
            lines.push(line);
        }
        Ok(lines.join("\n"))
    }

    /// Some node could not write for lack of room: what it wrote and nobody holds leaves no room for what others
    /// wrote, and two such nodes take nothing from each other.
    pub(super) fn is_stuffed(&self) -> bool {
        self.stats.contains_key("messages not written for lack of room")
    }

    /// Whether something may wait for ever for what was pruned.
    pub(super) fn gaps_stay_open(&self) -> bool {
        let never = self.options.configs.iter().any(|config| config.horizon == Horizon::Never);
        self.options.prunes() && (never || self.options.liars > 0)
    }
}
