//! Peer tickets: who a peer is, and where it may be found.

use std::fmt;
use std::str::FromStr;

use hedgerow_proto::PeerId;

use super::{Kind, TicketError, open, seal};
use crate::limits::{MAX_ADDRESS, MAX_ADDRESSES};
use crate::name::{check_name, read_name};

/// A peer's key, what it calls itself, and addresses under which it may be reached. As text (`to_string`,
/// `parse`) it has the prefix `hedgerow-peer:`.
///
/// What it says is within the limits, always: it can only be made by [`PeerTicket::new`] and by parsing. The
/// name and the addresses are hints; who answers at an address has to prove the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerTicket {
    peer: PeerId,
    name: Option<String>,
    addresses: Vec<String>,
}

impl PeerTicket {
    /// A ticket with a name as [`check_name`] wants it, or none, and at most [`MAX_ADDRESSES`] addresses of 1
    /// to [`MAX_ADDRESS`] bytes without control characters, in the order in which they are to be tried.
    ///
    /// # Errors
    /// The rule that is broken; nothing is cut to fit.
    pub fn new(peer: PeerId, name: Option<String>, addresses: Vec<String>) -> Result<Self, TicketError> {
        if let Some(name) = &name {
            check_name(name)?;
        }
        if addresses.len() > MAX_ADDRESSES {
            return Err(TicketError::TooManyAddresses(addresses.len()));
        }
        for address in &addresses {
            if address.is_empty() || address.len() > MAX_ADDRESS {
                return Err(TicketError::AddressLength(address.len()));
            }
            if address.chars().any(char::is_control) {
                return Err(TicketError::AddressText);
            }
        }
        Ok(Self { peer, name, addresses })
    }

    /// Whose ticket it is.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// What the peer calls itself.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Where the peer may be reached, the best first.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// `peer 32 || name length 1 || name || count 1 || (length 2 || address)*`.
    fn to_bytes(&self) -> Vec<u8> {
        let name = self.name.as_deref().unwrap_or_default();
        // The limits of `new`: 64 bytes, 16 addresses, 256 bytes.
        let mut out = self.peer.as_bytes().to_vec();
        out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        out.extend_from_slice(name.as_bytes());
        out.push(u8::try_from(self.addresses.len()).unwrap_or(u8::MAX));
        for address in &self.addresses {
            out.extend_from_slice(&u16::try_from(address.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(address.as_bytes());
        }
        out
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, TicketError> {
        let (peer, rest) = bytes.split_first_chunk().ok_or(TicketError::Length)?;
        let (&name_len, rest) = rest.split_first().ok_or(TicketError::Length)?;
        let (name, rest) = rest.split_at_checked(name_len.into()).ok_or(TicketError::Length)?;
        let name = if name.is_empty() { None } else { Some(read_name(name)?) };
        let (&count, mut rest) = rest.split_first().ok_or(TicketError::Length)?;
        let mut addresses = Vec::new();
        for _ in 0..count {
            let (len, after) = rest.split_first_chunk().ok_or(TicketError::Length)?;
            let len = usize::from(u16::from_be_bytes(*len));
            let (address, after) = after.split_at_checked(len).ok_or(TicketError::Length)?;
            addresses.push(std::str::from_utf8(address).map_err(|_| TicketError::AddressText)?.to_owned());
            rest = after;
        }
        if !rest.is_empty() {
            return Err(TicketError::Length);
        }
        Self::new(PeerId::from_bytes(*peer), name, addresses)
    }
}

impl fmt::Display for PeerTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&seal(Kind::Peer, &self.to_bytes()))
    }
}

impl FromStr for PeerTicket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        Self::from_bytes(&open(Kind::Peer, text)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limits::{MAX_NAME, MAX_TICKET};
    use crate::name::NameError;
    use crate::testing::names;

    proptest! {
        #[test]
        fn a_ticket_goes_round(
            peer: [u8; 32], name in proptest::option::of(names()),
            addresses in proptest::collection::vec("[ -~]{1,60}", 0..=MAX_ADDRESSES),
        ) {
            let ticket = PeerTicket::new(PeerId::from_bytes(peer), name, addresses).unwrap();
            let text = ticket.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b':'));
            prop_assert_eq!(text.parse::<PeerTicket>(), Ok(ticket));
        }

        #[test]
        fn what_parses_is_written_in_one_way(mut bytes in proptest::collection::vec(0_u8..4, 32..60)) {
            bytes.iter_mut().skip(36).filter(|b| **b == 3).for_each(|b| *b = b'x');
            if let Ok(ticket) = PeerTicket::from_bytes(&bytes) {
                prop_assert_eq!(ticket.to_bytes(), bytes);
            }
        }
    }

    #[test]
    fn the_largest_ticket_can_be_read() {
        let addresses = vec!["x".repeat(MAX_ADDRESS); MAX_ADDRESSES];
        let ticket =
            PeerTicket::new(PeerId::from_bytes([1; 32]), Some("x".repeat(MAX_NAME)), addresses).unwrap();
        let text = ticket.to_string();
        assert!(text.len() <= MAX_TICKET, "{}", text.len());
        assert_eq!(text.parse(), Ok(ticket));
    }

    #[test]
    fn limits_are_kept() {
        let new = |name: Option<&str>, addresses: &[&str]| {
            let addresses = addresses.iter().map(|&a| a.to_owned()).collect();
            PeerTicket::new(PeerId::from_bytes([1; 32]), name.map(str::to_owned), addresses)
        };
        assert!(new(None, &["a"; MAX_ADDRESSES]).is_ok());
        assert_eq!(new(None, &["a"; 17]), Err(TicketError::TooManyAddresses(17)));
        assert_eq!(new(None, &[""]), Err(TicketError::AddressLength(0)));
        assert_eq!(new(None, &["x".repeat(257).as_str()]), Err(TicketError::AddressLength(257)));
        assert_eq!(new(None, &["a\n"]), Err(TicketError::AddressText));
        assert_eq!(new(Some(""), &[]), Err(TicketError::Name(NameError::Length(0))));
        let text = |payload: &[u8]| seal(Kind::Peer, payload).parse::<PeerTicket>();
        assert_eq!(text(&[1; 20]), Err(TicketError::Length));
        assert_eq!(text(&[[1; 32].as_slice(), &[0, 0, 0]].concat()), Err(TicketError::Length));
        assert_eq!(text(&[[1; 32].as_slice(), &[0, 1, 0, 1, 0xff]].concat()), Err(TicketError::AddressText));
        let many = [[1; 32].as_slice(), &[0, 17], &[0, 1, b'a'].repeat(17)].concat();
        assert_eq!(text(&many), Err(TicketError::TooManyAddresses(17)));
    }
}
