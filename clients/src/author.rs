//! The key with which a device signs what it says.

use std::fmt;

use ed25519_zebra::{SigningKey, VerificationKeyBytes};
use hedgerow_proto::PeerId;
use zeroize::Zeroizing;

/// A device as an author: its Ed25519 signing key.
///
/// It signs posts ([`PostDraft`](crate::PostDraft)) and credentials
/// ([`PrivateGroup::admit`](crate::PrivateGroup::admit)) and nothing else: there is no way to have it sign
/// bytes of somebody's choice. Signing is deterministic (RFC 8032): the same input gives the same bytes. The
/// key is wiped from memory when the author is dropped, and is not shown by `Debug`.
pub struct Author {
    // In a box, so that moving an author leaves no copy of the key behind.
    key: Box<Zeroizing<SigningKey>>,
    id: PeerId,
}

impl Author {
    /// The author whose key comes of these 32 secret, random bytes. The caller wipes its own copy.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = Box::new(Zeroizing::new(SigningKey::from_bytes(seed)));
        let id = PeerId::from_bytes(VerificationKeyBytes::from(&**key).into());
        Self { key, id }
    }

    /// The public key: the name of the device.
    #[must_use]
    pub fn id(&self) -> PeerId {
        self.id
    }

    pub(crate) fn sign(&self, bytes: &[u8]) -> [u8; 64] {
        self.key.sign(bytes).to_bytes()
    }
}

impl fmt::Debug for Author {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Author").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::Signer as _;

    use super::*;

    #[test]
    fn another_signer_gives_the_same_bytes() {
        for seed in [[0; 32], [7; 32], [255; 32]] {
            let ours = Author::from_seed(&seed);
            let other = ed25519_dalek::SigningKey::from_bytes(&seed);
            assert_eq!(ours.id().as_bytes(), other.verifying_key().as_bytes());
            for bytes in [&b""[..], b"hedgerow", &[9; 1000]] {
                assert_eq!(ours.sign(bytes), other.sign(bytes).to_bytes());
            }
        }
    }

    #[test]
    fn debug_shows_the_public_key_alone() {
        let author = Author::from_seed(&[0x5a; 32]);
        let text = format!("{author:?}");
        assert_eq!(text, format!("Author {{ id: {:?}, .. }}", author.id()));
    }
}
