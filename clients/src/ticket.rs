//! Tickets: what people hand each other outside of any link, as URL-safe text.
//!
//! ```text
//! "hedgerow-" kind ":" base32( version 1 || payload || checksum 4 )
//! ```
//!
//! Base32 is that of RFC 4648 without padding, written in lower case and read in either. The checksum is the
//! start of BLAKE3, in key derivation mode, over the prefix and all before the checksum, in every version; so
//! that a slip of the pen is told apart from a ticket of another kind or of a later version. It guards
//! against accidents, not against forgers.

mod group;
mod peer;

use data_encoding::{BASE32_NOPAD, BASE32_NOPAD_NOCASE};

use crate::invite::InviteError;
use crate::limits::{MAX_ADDRESS, MAX_ADDRESSES, MAX_TICKET};
use crate::name::NameError;

pub use peer::PeerTicket;

const CONTEXT: &str = "hedgerow 2026-11 ticket checksum";
const CHECKSUM_LEN: usize = 4;
const VERSION: u8 = 1;

/// Why a text is not the ticket that was wanted, or a ticket cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// Not a ticket at all: no known prefix.
    #[error("this is not a Hedgerow ticket")]
    NotATicket,
    /// Whole, but of another kind.
    #[error("this is a {found} ticket, a {expected} ticket is wanted")]
    WrongKind {
        /// What was wanted: `peer` or `group`.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// Mistyped, or cut off.
    #[error("the checksum of the ticket is wrong: it was mistyped or cut off")]
    Checksum,
    /// Of a version that this program does not know.
    #[error("the ticket is of version {0}, this program knows version {VERSION}")]
    Version(u8),
    /// Longer than [`MAX_TICKET`].
    #[error("a ticket has at most {MAX_TICKET} characters, this one has {0}")]
    TooLong(usize),
    /// The payload ends too early or too late.
    #[error("the ticket ends too early or too late")]
    Length,
    /// More than [`MAX_ADDRESSES`] addresses.
    #[error("a peer ticket has at most {MAX_ADDRESSES} addresses, this one has {0}")]
    TooManyAddresses(usize),
    /// An address is empty or longer than [`MAX_ADDRESS`].
    #[error("an address has 1 to {MAX_ADDRESS} bytes, this one has {0}")]
    AddressLength(usize),
    /// An address is not UTF-8, or has control characters.
    #[error("an address is UTF-8 without control characters")]
    AddressText,
    /// The name of the peer breaks a rule.
    #[error("the name of the peer: {0}")]
    Name(#[from] NameError),
    /// The invitation in the ticket breaks a rule.
    #[error(transparent)]
    Invite(#[from] InviteError),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Peer,
    Group,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Peer => "peer",
            Self::Group => "group",
        }
    }

    const fn prefix(self) -> &'static str {
        match self {
            Self::Peer => "hedgerow-peer:",
            Self::Group => "hedgerow-group:",
        }
    }

    fn checksum(self, bytes: &[u8]) -> [u8; CHECKSUM_LEN] {
        let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
        hasher.update(self.prefix().as_bytes()).update(bytes);
        let mut checksum = [0; CHECKSUM_LEN];
        hasher.finalize_xof().fill(&mut checksum);
        checksum
    }
}

fn seal(kind: Kind, payload: &[u8]) -> String {
    let mut bytes = [&[VERSION], payload].concat();
    let checksum = kind.checksum(&bytes);
    bytes.extend_from_slice(&checksum);
    let mut text = BASE32_NOPAD.encode(&bytes).to_ascii_lowercase();
    text.insert_str(0, kind.prefix());
    text
}

/// The payload of a ticket of the kind that is wanted. White space around the ticket does not count.
fn open(expected: Kind, text: &str) -> Result<Vec<u8>, TicketError> {
    let text = text.trim_ascii();
    if text.len() > MAX_TICKET {
        return Err(TicketError::TooLong(text.len()));
    }
    let (found, rest) = [Kind::Peer, Kind::Group]
        .into_iter()
        .find_map(|kind| Some((kind, strip_prefix(text, kind.prefix())?)))
        .ok_or(TicketError::NotATicket)?;
    let bytes = BASE32_NOPAD_NOCASE.decode(rest.as_bytes()).map_err(|_| TicketError::Checksum)?;
    let (signed, checksum) = bytes.split_last_chunk().ok_or(TicketError::Checksum)?;
    if found.checksum(signed) != *checksum {
        return Err(TicketError::Checksum);
    }
    if found != expected {
        return Err(TicketError::WrongKind { expected: expected.name(), found: found.name() });
    }
    match signed.split_first() {
        Some((&VERSION, payload)) => Ok(payload.to_vec()),
        Some((&version, _)) => Err(TicketError::Version(version)),
        None => Err(TicketError::Length),
    }
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GroupInvite;
    use crate::testing::{author, chats};
    use crate::{ChatGroup, PrivateGroup};

    fn peer() -> String {
        let addresses = vec!["192.0.2.7:4000".to_owned(), "[2001:db8::1]:4000".to_owned()];
        PeerTicket::new(author(1).id(), Some("Ada".to_owned()), addresses).unwrap().to_string()
    }

    fn group() -> String {
        let group = PrivateGroup::new(author(1).id(), [7; 16], "garden").unwrap();
        group.invite(&author(1), author(2).id()).unwrap().to_string()
    }

    fn parse(text: &str) -> [Result<(), TicketError>; 2] {
        [text.parse::<PeerTicket>().map(drop), text.parse::<GroupInvite>().map(drop)]
    }

    #[test]
    fn each_damaged_character_shows() {
        for text in [peer(), group()] {
            let prefix_len = text.find(':').unwrap() + 1;
            for at in 0..text.len() {
                for with in ["a", "7", "-", "1", "é", "\n"] {
                    if text[at..=at].eq_ignore_ascii_case(with) {
                        continue;
                    }
                    let damaged = [&text[..at], with, &text[at + 1..]].concat();
                    let want = if at < prefix_len { TicketError::NotATicket } else { TicketError::Checksum };
                    assert_eq!(parse(&damaged), [Err(want.clone()), Err(want)], "{damaged:?}");
                }
                let cut = text[..at].parse::<PeerTicket>().unwrap_err();
                assert!(matches!(cut, TicketError::NotATicket | TicketError::Checksum), "{cut}");
            }
            let longer = parse(&(text + "a"));
            assert_eq!(longer, [Err(TicketError::Checksum), Err(TicketError::Checksum)]);
        }
    }

    #[test]
    fn two_swapped_characters_show() {
        let text = peer();
        for at in text.find(':').unwrap() + 1..text.len() - 1 {
            let mut bytes = text.clone().into_bytes();
            bytes.swap(at, at + 1);
            if bytes != text.as_bytes() {
                let swapped = String::from_utf8(bytes).unwrap();
                assert_eq!(swapped.parse::<PeerTicket>(), Err(TicketError::Checksum));
            }
        }
    }

    #[test]
    fn a_ticket_of_another_kind_is_told_apart() {
        let wrong = |expected, found| Err(TicketError::WrongKind { expected, found });
        assert_eq!(parse(&peer()), [Ok(()), wrong("group", "peer")]);
        assert_eq!(parse(&group()), [wrong("peer", "group"), Ok(())]);
        // The prefix is part of the checksum.
        let renamed = peer().replace("hedgerow-peer:", "hedgerow-group:");
        assert_eq!(parse(&renamed), [Err(TicketError::Checksum), Err(TicketError::Checksum)]);
    }

    #[test]
    fn case_and_space_do_not_count() {
        for text in [peer(), group()] {
            let as_is = parse(&text);
            assert_eq!(parse(&text.to_ascii_uppercase()), as_is);
            assert_eq!(parse(&format!("  {text}\r\n")), as_is);
        }
    }

    #[test]
    fn what_is_no_ticket_is_refused() {
        for text in
            ["", "hello", "hedgerow", "hedgerow-peer", "https://example.org/", "é", "hedgerow-door:aaaa"]
        {
            assert_eq!(parse(text), [Err(TicketError::NotATicket), Err(TicketError::NotATicket)], "{text}");
        }
        for text in ["hedgerow-peer:", "hedgerow-peer:aa", "hedgerow-peer:a"] {
            assert_eq!(text.parse::<PeerTicket>(), Err(TicketError::Checksum), "{text}");
        }
        let long = "x".repeat(MAX_TICKET + 1);
        assert_eq!(long.parse::<PeerTicket>(), Err(TicketError::TooLong(MAX_TICKET + 1)));
    }

    #[test]
    fn a_ticket_of_another_day_is_told_apart() {
        let mut bytes = vec![2, 9, 9, 9];
        let checksum = Kind::Peer.checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        let text = format!("hedgerow-peer:{}", BASE32_NOPAD.encode(&bytes));
        assert_eq!(text.parse::<PeerTicket>(), Err(TicketError::Version(2)));
        let empty = format!("hedgerow-peer:{}", BASE32_NOPAD.encode(&Kind::Peer.checksum(&[])));
        assert_eq!(empty.parse::<PeerTicket>(), Err(TicketError::Length));
    }

    #[test]
    fn a_sound_ticket_with_an_unsound_payload_is_refused() {
        let text = seal(Kind::Group, &[9]);
        assert_eq!(text.parse::<GroupInvite>(), Err(TicketError::Invite(InviteError::Form(9))));
    }

    #[test]
    fn the_layout_stays() {
        let ticket = PeerTicket::new(author(1).id(), Some("Ada".to_owned()), vec!["a:1".to_owned()]).unwrap();
        assert_eq!(ticket.to_string(), PEER_GOLDEN);
        let ChatGroup::Public(public) = &chats()[2] else { panic!() };
        assert_eq!(public.link().to_string(), PUBLIC_GOLDEN);
        assert_eq!(group(), PRIVATE_GOLDEN);
    }

    const PEER_GOLDEN: &str =
        "hedgerow-peer:agfiry65oqe7dfp5klns2pf2lvzmuzyjx4ozieq36n2iqanub5xvya2bmrqqcaadme5ddtw36zkq";
    const PUBLIC_GOLDEN: &str =
        "hedgerow-group:aebascijbeeqscijbeeqscijbeeqsblqnrqxuykbnrwcaylsmuqhozlmmnxw2zjoxfuobnq";
    const PRIVATE_GOLDEN: &str = concat!(
        "hedgerow-group:aeaycolxb2uh2f27k2rvizwdjr7mzs4nrki3j3rxujo7md23r7e3hfhfkssdjglhkb3nvq2f2jt",
        "jmkt2g2vvb4bmarwaqlemlq7co3qlsqjkewf4mwbc5rv7c7soc6asllnwkqudtyj7zjquiltxyagbvpcq7cui4poxi",
        "cprsx6vfwznhs5f24wkm4e36hmucin7g5eiag2a6324a4dqobyha4dqobyha4dqobyha5twc4temvxcbq3nfu"
    );
}
