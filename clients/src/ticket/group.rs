//! Group tickets: an invitation as text.

use std::fmt;
use std::str::FromStr;

use super::{Kind, TicketError, open, seal};
use crate::invite::GroupInvite;

impl fmt::Display for GroupInvite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&seal(Kind::Group, &self.to_bytes()))
    }
}

impl FromStr for GroupInvite {
    type Err = TicketError;

    /// Reads a group ticket. That an invitation is good for somebody shows only in
    /// [`verify`](GroupInvite::verify).
    fn from_str(text: &str) -> Result<Self, TicketError> {
        Ok(Self::from_bytes(&open(Kind::Group, text)?)?)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::invites;

    proptest! {
        #[test]
        fn a_ticket_goes_round(invite in invites()) {
            let text = invite.to_string();
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b':'));
            prop_assert_eq!(text.parse::<GroupInvite>(), Ok(invite));
        }
    }
}
