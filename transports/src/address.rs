//! Where a peer can be reached.

use std::fmt;
use std::str::FromStr;

/// The longest address text that is read, in bytes.
const MAX_LEN: usize = 512;

/// Why a text is not an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// There is no `://` in the text.
    #[error("an address has the form scheme://rest, this has no \"://\": {0:?}")]
    NoScheme(String),
    /// The scheme is empty or has other characters than a-z, 0-9, `+`, `-`, `.`, or does not begin with a letter.
    #[error("the scheme of an address is a lower-case word, this is not: {0:?}")]
    BadScheme(String),
    /// The part after `://` is empty or holds white space or control characters.
    #[error("the part of an address after \"://\" must be printable and not empty: {0:?}")]
    BadRest(String),
    /// The text is longer than 512 bytes.
    #[error("an address has at most {MAX_LEN} bytes, this has {0}")]
    TooLong(usize),
}

/// Where a peer can be reached: a scheme that names the [`Transport`](crate::Transport), and a rest that only this
/// transport understands. `tcp://127.0.0.1:4711`, `udp://[::1]:9`, `mem://alice`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    text: String,
    /// Length of the scheme in bytes.
    scheme: usize,
}

impl Address {
    /// The address made of these two parts.
    ///
    /// # Errors
    /// The same as when a text is parsed.
    pub fn new(scheme: &str, rest: impl fmt::Display) -> Result<Self, AddressError> {
        format!("{scheme}://{rest}").parse()
    }

    /// The scheme: what stands before `://`.
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.text.get(..self.scheme).unwrap_or_default()
    }

    /// What stands after `://`.
    #[must_use]
    pub fn rest(&self) -> &str {
        self.text.get(self.scheme + 3..).unwrap_or_default()
    }

    /// The address of a socket, which is always well formed.
    pub(crate) fn of_socket(scheme: &'static str, socket: std::net::SocketAddr) -> Self {
        Self::of_text(scheme, &socket.to_string())
    }

    /// For a scheme and a rest that are known to be well formed.
    pub(crate) fn of_text(scheme: &'static str, rest: &str) -> Self {
        Self { text: format!("{scheme}://{rest}"), scheme: scheme.len() }
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if text.len() > MAX_LEN {
            return Err(AddressError::TooLong(text.len()));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(AddressError::NoScheme(text.to_owned()));
        };
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
        if !scheme.starts_with(|c: char| c.is_ascii_lowercase()) || !scheme.chars().all(letters) {
            return Err(AddressError::BadScheme(scheme.to_owned()));
        }
        if rest.is_empty() || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(AddressError::BadRest(rest.to_owned()));
        }
        Ok(Self { text: text.to_owned(), scheme: scheme.len() })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_text_go_round() {
        for (text, scheme, rest) in [
            ("tcp://127.0.0.1:4711", "tcp", "127.0.0.1:4711"),
            ("udp://[::1]:9", "udp", "[::1]:9"),
            ("mem://alice://x", "mem", "alice://x"),
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!((address.scheme(), address.rest()), (scheme, rest));
            assert_eq!(address.to_string(), text);
            assert_eq!(Address::new(scheme, rest), Ok(address));
        }
        let socket = "[::1]:9".parse().unwrap();
        assert_eq!(Address::of_socket("udp", socket), "udp://[::1]:9".parse().unwrap());
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let parse = |text: &str| text.parse::<Address>().unwrap_err();
        assert!(matches!(parse("127.0.0.1:1"), AddressError::NoScheme(_)));
        assert!(matches!(parse("://x"), AddressError::BadScheme(_)));
        assert!(matches!(parse("TCP://x"), AddressError::BadScheme(_)));
        assert!(matches!(parse("tcp://"), AddressError::BadRest(_)));
        assert!(matches!(parse("tcp://a b"), AddressError::BadRest(_)));
        assert_eq!(parse(&format!("tcp://{}", "x".repeat(600))), AddressError::TooLong(606));
    }
}
