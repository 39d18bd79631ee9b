//! The three 32-byte names of the protocol.

use std::fmt;
use std::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;

/// Why a text or a byte string is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text is not hexadecimal.
    #[error("an id is 64 hexadecimal digits; this is not hexadecimal")]
    NotHex,
    /// The wrong number of bytes.
    #[error("an id has 32 bytes, this has {0}")]
    Length(usize),
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// The id that these 32 bytes are.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes of the id.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first eight hexadecimal digits, for people and logs; not unique.
            #[must_use]
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(8);
                text
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = IdError;

            fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
                bytes.try_into().map(Self).map_err(|_| IdError::Length(bytes.len()))
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).map_err(|_| IdError::NotHex)?;
                Self::try_from(bytes.as_slice())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&HEXLOWER_PERMISSIVE.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({}…)"), self.short())
            }
        }
    };
}

id! {
    /// One device: its Ed25519 public key.
    PeerId
}
id! {
    /// One group: a hash of the client that it belongs to and of its descriptor.
    GroupId
}
id! {
    /// One message: a hash of everything in it.
    MessageId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_bytes_go_round() {
        let id = MessageId::from_bytes(std::array::from_fn(|i| i.try_into().unwrap()));
        assert_eq!(id.to_string().parse::<MessageId>(), Ok(id));
        assert_eq!(MessageId::try_from(&id.as_bytes()[..]), Ok(id));
        assert_eq!(id.short(), "00010203");
    }

    #[test]
    fn what_is_no_id_is_refused() {
        assert_eq!("zz".parse::<PeerId>(), Err(IdError::NotHex));
        assert_eq!("00ff".parse::<PeerId>(), Err(IdError::Length(2)));
        assert_eq!(GroupId::try_from(&[0_u8; 33][..]), Err(IdError::Length(33)));
    }
}
