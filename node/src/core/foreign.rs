//! Peers of other makers: rows, sharing, links, and the messages of their groups.

use bytes::Bytes;
use data_encoding::HEXLOWER_PERMISSIVE;
use hedgerow_clients::check_name;
use hedgerow_proto::limits::{DEFAULT_MAX_FRAME, NONCE_LEN};
use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, MessageId, PeerId, Visibility, mvds};
use hedgerow_sync_core::{Draft, LinkProfile, PushPolicy};
use hedgerow_transports::plain::{bsp_peer_id, is_plain};
use hedgerow_transports::{Address, CloseReason, LinkInfo};
use serde::{Deserialize, Serialize};

use super::{Core, rows};
use crate::error::NodeError;
use crate::foreign::{ForeignDraft, ForeignGroup, ForeignPeer, ForeignWire};
use crate::limits::{MAX_FOREIGN, MAX_HEADS};

/// A foreign peer as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ForeignRow {
    name: String,
    wire: ForeignWire,
    /// In hexadecimal.
    key: Option<String>,
    addresses: Vec<String>,
    added_ms: u64,
}

impl ForeignRow {
    fn addresses(&self) -> Vec<Address> {
        self.addresses.iter().filter_map(|text| text.parse().ok()).filter(is_plain).collect()
    }
}

impl Core {
    pub(super) fn load_foreign(&mut self) -> Result<(), NodeError> {
        let foreign = &mut self.foreign;
        rows::scan(self.engine.store(), rows::FOREIGN, &[], |key, value| {
            let peer = PeerId::try_from(key).map_err(|error| rows::damaged(rows::FOREIGN, error))?;
            foreign.insert(peer, rows::json(rows::FOREIGN, value)?);
            Ok(true)
        })?;
        for (peer, row) in &self.foreign {
            self.shared.dial(*peer, row.addresses());
        }
        Ok(())
    }

    /// Adds a foreign peer, or replaces how it is reached and what is spoken with it.
    pub(crate) fn add_foreign(&mut self, draft: ForeignDraft) -> Result<ForeignPeer, NodeError> {
        let ForeignDraft { name, wire, key, addresses } = draft;
        check_name(&name)?;
        let peer = match (wire, &key) {
            (ForeignWire::Mvds { .. }, Some(key)) => mvds::peer_id(key),
            (ForeignWire::Bsp { .. }, None) => bsp_peer_id(&name),
            _ => return Err(NodeError::Foreign("an MVDS peer has a key of 65 bytes, a BSP peer has none")),
        };
        let scheme = match wire {
            ForeignWire::Mvds { .. } => "mvds+tcp",
            ForeignWire::Bsp { .. } => "bsp+tcp",
        };
        if addresses.iter().any(|address| address.scheme() != scheme) {
            return Err(NodeError::Foreign("an address of this peer is of another wire"));
        }
        if self.foreign.iter().any(|(other, row)| row.name == name && *other != peer) {
            return Err(NodeError::Foreign("another foreign peer has this name"));
        }
        if self.foreign.len() >= MAX_FOREIGN && !self.foreign.contains_key(&peer) {
            return Err(NodeError::TooMany { what: "foreign peers", limit: MAX_FOREIGN });
        }
        let row = ForeignRow {
            name,
            wire,
            key: key.map(|key| HEXLOWER_PERMISSIVE.encode(&key)),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            added_ms: self.now().0,
        };
        rows::set_json(&mut self.engine, rows::FOREIGN, peer.as_bytes(), &row)?;
        // What is spoken may have changed.
        self.drop_peer(peer, CloseReason::Done);
        self.foreign.insert(peer, row);
        self.shared.undial(peer);
        self.shared.dial(peer, addresses);
        self.foreign_peer(peer)
    }

    /// Removes a foreign peer; whether there was one. Its groups and messages stay.
    pub(crate) fn remove_foreign(&mut self, name: &str) -> Result<bool, NodeError> {
        let Ok(peer) = self.find_foreign(name) else { return Ok(false) };
        self.foreign.remove(&peer);
        self.engine.set_value(rows::FOREIGN, peer.as_bytes(), None)?;
        self.shared.undial(peer);
        self.drop_peer(peer, CloseReason::NotAContact);
        let now = self.now();
        self.engine.remove_peer(peer, now)?;
        Ok(true)
    }

    pub(crate) fn foreign_peers(&self) -> Result<Vec<ForeignPeer>, NodeError> {
        self.foreign.keys().map(|peer| self.foreign_peer(*peer)).collect()
    }

    fn foreign_peer(&self, peer: PeerId) -> Result<ForeignPeer, NodeError> {
        let row = self.foreign.get(&peer).ok_or(NodeError::UnknownPeer(peer))?;
        let groups = self.engine.groups().into_iter().map(|group| group.id);
        Ok(ForeignPeer {
            peer,
            name: row.name.clone(),
            wire: row.wire,
            addresses: row.addresses(),
            connected: self.is_connected(peer),
            groups: groups
                .filter(|group| self.engine.visibility(peer, *group) == Visibility::Shared)
                .collect(),
        })
    }

    fn find_foreign(&self, name: &str) -> Result<PeerId, NodeError> {
        let found = self.foreign.iter().find(|(_, row)| row.name == name).map(|(peer, _)| *peer);
        found.ok_or_else(|| NodeError::NotFound { what: "foreign peer", text: name.to_owned() })
    }

    /// Shares a group with a foreign peer, in both directions. The group is added if it is not there.
    pub(crate) fn share_foreign(&mut self, name: &str, group: &ForeignGroup) -> Result<GroupId, NodeError> {
        let peer = self.find_foreign(name)?;
        let scheme = self.foreign.get(&peer).map_or(IdScheme::Native, |row| row.wire.scheme());
        let descriptor = match (scheme, group) {
            (IdScheme::Mvds, ForeignGroup::Id(id)) => GroupDescriptor::of_id(*id),
            (IdScheme::Bramble, ForeignGroup::Descriptor(descriptor)) => descriptor.clone(),
            _ => {
                return Err(NodeError::Foreign(
                    "a group of MVDS is named by its id, one of BSP by what it is",
                ));
            }
        };
        // There is no client here that could judge it.
        let id = self.engine.add_group_of(scheme, &descriptor, false)?;
        self.engine.set_visibility(peer, id, Visibility::Shared)?;
        Ok(id)
    }

    fn foreign_group(&self, group: GroupId) -> Result<(), NodeError> {
        match self.engine.group(group) {
            Some(info) if info.scheme != IdScheme::Native => Ok(()),
            _ => Err(NodeError::UnknownGroup(group)),
        }
    }

    /// Writes in a foreign group: what the body says is the caller's affair.
    pub(crate) fn post_foreign(&mut self, group: GroupId, body: Bytes) -> Result<MessageId, NodeError> {
        self.foreign_group(group)?;
        let now = self.now();
        let deps = self.engine.heads(group, MAX_HEADS)?;
        let draft = Draft { timestamp_ms: now.as_timestamp_ms(), deps, body };
        Ok(self.engine.publish(group, draft, now)?)
    }

    /// How to speak on a new link; `None` if it must not be: plain links are for foreign peers alone, and these have no
    /// other links.
    pub(super) fn profile_of(&self, info: &LinkInfo) -> Result<Option<LinkProfile>, NodeError> {
        let max_frame = info.max_frame.min(DEFAULT_MAX_FRAME);
        let (Some(row), true) = (self.foreign.get(&info.peer), is_plain(&info.address)) else {
            let native = !is_plain(&info.address) && self.contacts.contains_key(&info.peer);
            let max_frame = info.max_frame;
            return Ok(native.then(|| match info.reliable {
                true => LinkProfile { max_frame, ..LinkProfile::reliable() },
                false => LinkProfile::lossy(max_frame),
            }));
        };
        Ok(Some(match row.wire {
            ForeignWire::Mvds { interactive, parents } => {
                let push = if interactive { PushPolicy::OfferFirst } else { PushPolicy::Always };
                LinkProfile { max_frame, ..LinkProfile::mvds(parents, push) }
            }
            ForeignWire::Bsp { batch } => {
                let mut nonce = [0; NONCE_LEN];
                getrandom::fill(&mut nonce).map_err(NodeError::Random)?;
                let push = if batch { PushPolicy::Always } else { PushPolicy::OfferFirst };
                LinkProfile { max_frame, push, ..LinkProfile::bramble(info.initiator.then_some(nonce)) }
            }
        }))
    }

    /// What people here call a foreign peer.
    pub(super) fn foreign_name(&self, peer: PeerId) -> Option<&str> {
        self.foreign.get(&peer).map(|row| row.name.as_str())
    }
}
