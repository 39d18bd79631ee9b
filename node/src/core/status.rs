//! Reports on how the node stands.

use hedgerow_proto::GroupId;
use hedgerow_sync_core::store::{CheckReport, check};
use hedgerow_sync_core::{LinkStatus, PeerGroupStatus};

use super::{Core, rows};
use crate::chat::ChatKind;
use crate::error::NodeError;
use crate::status::{GroupReport, LinkReport, NodeStatus, PeerReport};

/// A cap, if it is one.
fn capped(max_bytes: u64) -> Option<u64> {
    Some(max_bytes).filter(|max| *max < u64::MAX)
}

impl Core {
    pub(crate) fn status(&self) -> Result<NodeStatus, NodeError> {
        let status = self.engine.status();
        let mut groups = Vec::with_capacity(status.groups.len());
        for group in &status.groups {
            let (name, kind) = self.name_and_kind(group.id);
            groups.push(GroupReport {
                id: group.id.to_string(),
                name,
                kind,
                held: group.held,
                delivered: group.delivered,
                waiting: group.waiting,
                unvalidated: group.unvalidated,
                early: group.early,
                missing: group.missing,
                invalid: group.invalid,
                heads: group.heads,
                pruned: group.pruned,
                gaps: group.gaps,
                bytes: group.bytes,
                max_bytes: capped(group.max_bytes),
                quarantined: rows::number(self.engine.store(), rows::QUARANTINED, group.id.as_bytes())?,
            });
        }
        Ok(NodeStatus {
            peer_id: self.me.peer.to_string(),
            name: self.me.name.clone(),
            listening: self.shared.listening().iter().map(ToString::to_string).collect(),
            groups,
            peers: status.peers.iter().map(|peer| self.peer_report(peer)).collect(),
            links: status.links.iter().filter_map(|link| self.link_report(link)).collect(),
            waiting: u64::try_from(self.waiting()?.len()).unwrap_or(u64::MAX),
            bytes: status.bytes,
            max_bytes: capped(status.max_bytes),
            traffic: self.engine.traffic().into(),
        })
    }

    fn peer_report(&self, status: &PeerGroupStatus) -> PeerReport {
        PeerReport {
            peer_id: status.peer.to_string(),
            peer: self.shown(status.peer),
            group: status.group.to_string(),
            group_name: self.name_and_kind(status.group).0,
            acked: status.acked,
            in_flight: status.in_flight,
            offered: status.offered,
            requested: status.requested,
            settled: status.settled,
            connected: self.is_connected(status.peer),
        }
    }

    fn link_report(&self, status: &LinkStatus) -> Option<LinkReport> {
        let info = self.link_info(status.link)?;
        Some(LinkReport {
            peer_id: status.peer.to_string(),
            address: info.address.to_string(),
            dialled: info.initiator,
            reliable: status.reliable,
            ready: status.ready,
            round_trip_ms: status.round_trip_ms,
            traffic: status.traffic.into(),
        })
    }

    fn name_and_kind(&self, id: GroupId) -> (String, &'static str) {
        match self.chat_info(id) {
            Ok(info) => (
                info.name,
                match info.kind {
                    ChatKind::Direct(_) => "direct",
                    ChatKind::Private { .. } => "private",
                    ChatKind::Public => "public",
                    ChatKind::Carried => "carried",
                },
            ),
            Err(_) => (id.short(), "carried"),
        }
    }

    /// Verifies the store on the engine's thread, for a store that has no readers.
    pub(crate) fn check(&self) -> Result<CheckReport, NodeError> {
        Ok(check(self.engine.store())?)
    }
}
