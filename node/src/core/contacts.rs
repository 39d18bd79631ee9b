//! Contacts, and strangers that wait to become contacts.

use hedgerow_clients::{DirectGroup, PeerTicket, check_name};
use hedgerow_proto::{PeerId, Visibility};
use hedgerow_transports::plain::is_plain;
use hedgerow_transports::{Address, CloseReason};
use serde::{Deserialize, Serialize};

use super::{Core, rows};
use crate::contact::{Contact, WaitingPeer};
use crate::error::NodeError;
use crate::events::NodeEvent;
use crate::limits::{MAX_CONTACTS, MAX_WAITING};

/// How long a stranger's further attempts go unrecorded, in ms: it must not make us write all the time.
const WAITING_REST_MS: u64 = 60_000;
/// The fewest digits of an id that stand for it.
const MIN_ID_DIGITS: usize = 8;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct ContactRow {
    pub(crate) alias: Option<String>,
    pub(crate) name: Option<String>,
    pub(crate) addresses: Vec<String>,
    pub(crate) added_ms: u64,
}

impl ContactRow {
    /// What people here call the contact.
    pub(crate) fn shown(&self) -> Option<&str> {
        self.alias.as_deref().or(self.name.as_deref())
    }

    /// The addresses that are addresses: a ticket of a newer version may hold others.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        // A ticket is somebody else's text: nothing in it makes us speak where nobody has to prove who it is.
        let addresses = self.addresses.iter().filter_map(|text| text.parse().ok());
        addresses.filter(|address| !is_plain(address)).collect()
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct WaitingRow {
    address: String,
    first_ms: u64,
    last_ms: u64,
    attempts: u64,
}

impl Core {
    pub(super) fn load_contacts(&mut self) -> Result<(), NodeError> {
        let contacts = &mut self.contacts;
        rows::scan(self.engine.store(), rows::CONTACT, &[], |key, value| {
            let peer = PeerId::try_from(key).map_err(|error| rows::damaged(rows::CONTACT, error))?;
            contacts.insert(peer, rows::json(rows::CONTACT, value)?);
            Ok(true)
        })?;
        for (peer, row) in &self.contacts {
            self.shared.dial(*peer, row.addresses());
        }
        Ok(())
    }

    /// Adds a contact, or takes over what a newer ticket says of one.
    pub(crate) fn add_contact(
        &mut self,
        ticket: &PeerTicket,
        alias: Option<String>,
    ) -> Result<Contact, NodeError> {
        let peer = ticket.peer();
        if peer == self.me.peer {
            return Err(NodeError::OwnTicket);
        }
        if let Some(alias) = &alias {
            check_name(alias)?;
            self.check_alias(peer, alias)?;
        }
        if self.contacts.len() >= MAX_CONTACTS && !self.contacts.contains_key(&peer) {
            return Err(NodeError::TooMany { what: "contacts", limit: MAX_CONTACTS });
        }
        let old = self.contacts.get(&peer).cloned();
        let is_new = old.is_none();
        let mut row = old.unwrap_or_else(|| ContactRow {
            alias: None,
            name: None,
            addresses: Vec::new(),
            added_ms: self.now().0,
        });
        row.alias = alias.or(row.alias);
        row.name = ticket.name().map(str::to_owned).or(row.name);
        // A ticket made off line has none, and says nothing against those that are known.
        if !ticket.addresses().is_empty() {
            row.addresses = ticket.addresses().to_vec();
        }
        let direct = DirectGroup::new(self.me.peer, peer)?;
        rows::set_json(&mut self.engine, rows::CONTACT, peer.as_bytes(), &row)?;
        self.engine.set_value(rows::WAITING, peer.as_bytes(), None)?;
        let addresses = row.addresses();
        self.contacts.insert(peer, row);
        if is_new {
            let group = self.add_chat(direct.descriptor(), None)?;
            self.engine.set_visibility(peer, group, Visibility::Shared)?;
            let joined: Vec<_> = self.chats.iter().filter(|(_, c)| c.is_group()).map(|(id, _)| *id).collect();
            for group in joined {
                self.engine.set_visibility(peer, group, Visibility::Shared)?;
            }
        }
        self.shared.dial(peer, addresses);
        self.contact(peer)
    }

    fn check_alias(&self, peer: PeerId, alias: &str) -> Result<(), NodeError> {
        let same = |(id, row): &(&PeerId, &ContactRow)| **id != peer && row.alias.as_deref() == Some(alias);
        match self.contacts.iter().find(same) {
            Some((peer, _)) => Err(NodeError::AliasTaken { alias: alias.to_owned(), peer: *peer }),
            None => Ok(()),
        }
    }

    /// Removes a contact, or a stranger from the list of the waiting; whether there was any.
    pub(crate) fn remove_contact(&mut self, peer: PeerId) -> Result<bool, NodeError> {
        let waited = self.engine.value(rows::WAITING, peer.as_bytes())?.is_some();
        self.engine.set_value(rows::WAITING, peer.as_bytes(), None)?;
        if self.contacts.remove(&peer).is_none() {
            return Ok(waited);
        }
        self.engine.set_value(rows::CONTACT, peer.as_bytes(), None)?;
        self.shared.undial(peer);
        self.drop_peer(peer, CloseReason::NotAContact);
        let now = self.now();
        self.engine.remove_peer(peer, now)?;
        Ok(true)
    }

    pub(crate) fn contact(&self, peer: PeerId) -> Result<Contact, NodeError> {
        let row = self.contacts.get(&peer).ok_or(NodeError::UnknownPeer(peer))?;
        Ok(Contact {
            peer,
            alias: row.alias.clone(),
            name: row.name.clone(),
            addresses: row.addresses(),
            connected: self.is_connected(peer),
            direct: DirectGroup::new(self.me.peer, peer)?.descriptor().id(),
            added_ms: row.added_ms,
        })
    }

    pub(crate) fn contacts(&self) -> Result<Vec<Contact>, NodeError> {
        self.contacts.keys().map(|peer| self.contact(*peer)).collect()
    }

    /// Notes that a stranger wanted a link.
    pub(super) fn stranger(&mut self, peer: PeerId, address: &Address) -> Result<(), NodeError> {
        let now_ms = self.now().0;
        let old: Option<WaitingRow> = rows::get_json(self.engine.store(), rows::WAITING, peer.as_bytes())?;
        let is_new = old.is_none();
        let mut row = match old {
            Some(row) if now_ms.saturating_sub(row.last_ms) < WAITING_REST_MS => return Ok(()),
            Some(row) => row,
            None => WaitingRow { address: String::new(), first_ms: now_ms, last_ms: 0, attempts: 0 },
        };
        row.address = address.to_string();
        row.last_ms = now_ms;
        row.attempts = row.attempts.saturating_add(1);
        rows::set_json(&mut self.engine, rows::WAITING, peer.as_bytes(), &row)?;
        if is_new {
            self.bound_waiting()?;
            self.notices.push(NodeEvent::Waiting { peer });
        }
        Ok(())
    }

    fn bound_waiting(&mut self) -> Result<(), NodeError> {
        let waiting = self.waiting()?;
        for stranger in waiting.iter().take(waiting.len().saturating_sub(MAX_WAITING)) {
            self.engine.set_value(rows::WAITING, stranger.peer.as_bytes(), None)?;
        }
        Ok(())
    }

    /// The strangers that wait, the last one to come last.
    pub(crate) fn waiting(&self) -> Result<Vec<WaitingPeer>, NodeError> {
        let mut waiting = Vec::new();
        rows::scan(self.engine.store(), rows::WAITING, &[], |key, value| {
            let peer = PeerId::try_from(key).map_err(|error| rows::damaged(rows::WAITING, error))?;
            let row: WaitingRow = rows::json(rows::WAITING, value)?;
            let WaitingRow { address, first_ms, last_ms, attempts } = row;
            waiting.push(WaitingPeer { peer, address, first_ms, last_ms, attempts });
            Ok(true)
        })?;
        waiting.sort_by_key(|stranger| (stranger.last_ms, stranger.peer));
        Ok(waiting)
    }

    /// The peer, contact or waiting stranger, that goes by this text.
    pub(crate) fn find_peer(&self, text: &str) -> Result<PeerId, NodeError> {
        let waiting = self.waiting()?;
        let known = self.contacts.keys().copied().chain(waiting.iter().map(|stranger| stranger.peer));
        let mut found: Vec<PeerId> = known.filter(|peer| id_matches(&peer.to_string(), text)).collect();
        found.extend(self.contacts.iter().filter(|(_, r)| r.alias.as_deref() == Some(text)).map(|(p, _)| *p));
        if found.is_empty() {
            // What peers call themselves counts only where nobody here chose that name.
            found.extend(
                self.contacts.iter().filter(|(_, r)| r.name.as_deref() == Some(text)).map(|(p, _)| *p),
            );
        }
        found.sort_unstable();
        found.dedup();
        match found.as_slice() {
            [peer] => Ok(*peer),
            [] => Err(NodeError::NotFound { what: "peer", text: text.to_owned() }),
            _ => Err(NodeError::Ambiguous {
                text: text.to_owned(),
                candidates: found.iter().map(|peer| format!("peer {peer}")).collect(),
            }),
        }
    }
}

/// Whether a text is an id, or enough of its beginning.
pub(super) fn id_matches(id: &str, text: &str) -> bool {
    text.len() >= MIN_ID_DIGITS && id.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_does_not_make_us_speak_in_plain_text() {
        let addresses =
            ["tcp://127.0.0.1:1", "mvds+tcp://127.0.0.1:2", "bsp+tcp://127.0.0.1:3/x", "no address"];
        let addresses = addresses.map(str::to_owned).to_vec();
        let row = ContactRow { alias: None, name: None, addresses, added_ms: 0 };
        assert_eq!(row.addresses(), ["tcp://127.0.0.1:1".parse().unwrap()]);
    }
}
