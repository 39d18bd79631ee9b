//! The keys of one device.

use std::fmt;
use std::sync::Arc;

use ed25519_dalek::{Signer, SigningKey};
use hedgerow_proto::PeerId;
use zeroize::Zeroizing;

/// What separates the X25519 key of the links from every other use of the seed.
const LINK_KEY_CONTEXT: &str = "hedgerow 2026-11 link x25519 static key";

/// Key pair of one device: an Ed25519 key that is its name, and an X25519 key, derived from the same seed, with
/// which it agrees on the keys of a link.
///
/// Cloning is cheap and shares the keys. They are wiped from memory when the last clone is dropped.
#[derive(Clone)]
pub struct Identity(Arc<Keys>);

struct Keys {
    /// Wipes itself on drop.
    signing: SigningKey,
    link: Zeroizing<[u8; 32]>,
    peer_id: PeerId,
}

impl Identity {
    /// The keys that belong to this secret seed of 32 bytes. Same seed, same peer.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let signing = SigningKey::from_bytes(seed);
        let peer_id = PeerId::from_bytes(signing.verifying_key().to_bytes());
        let link = Zeroizing::new(blake3::derive_key(LINK_KEY_CONTEXT, seed));
        Self(Arc::new(Keys { signing, link, peer_id }))
    }

    /// The public name of this device.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.0.peer_id
    }

    pub(crate) fn sign(&self, text: &[u8]) -> [u8; 64] {
        self.0.signing.sign(text).to_bytes()
    }

    pub(crate) fn link_key(&self) -> &[u8; 32] {
        &self.0.link
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("peer_id", &self.0.peer_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_same_peer_and_no_key_in_the_debug_text() {
        let one = Identity::from_seed(&[7; 32]);
        assert_eq!(one.peer_id(), Identity::from_seed(&[7; 32]).peer_id());
        assert_ne!(one.peer_id(), Identity::from_seed(&[8; 32]).peer_id());
        let text = format!("{one:?}");
        assert_eq!(text, format!("Identity {{ peer_id: {:?}, .. }}", one.peer_id()));
    }

    #[test]
    fn the_link_key_is_not_the_seed() {
        assert_ne!(Identity::from_seed(&[7; 32]).link_key(), &[7; 32]);
    }
}
