//! Credentials: a creator's word that somebody is a member, and the memory of those already verified.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER_PERMISSIVE;
use hedgerow_proto::{GroupId, PeerId};

use crate::limits::CREDENTIAL_LEN;

const CONTEXT: &[u8] = b"hedgerow 2026-11 group credential 1\0";

/// The signature of a private group's creator over the group and one member. A member carries it in every
/// post, so that whether the post is valid can be seen from the post alone.
///
/// It is no secret: it serves only together with the member's own key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Credential([u8; CREDENTIAL_LEN]);

impl Credential {
    /// The credential that these bytes are; whether it is good shows when it is verified.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; CREDENTIAL_LEN]) -> Self {
        Self(bytes)
    }

    /// The bytes of the credential.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; CREDENTIAL_LEN] {
        &self.0
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Credential({}…)",
            HEXLOWER_PERMISSIVE.encode(&[self.0[0], self.0[1], self.0[2], self.0[3]])
        )
    }
}

/// What the creator signs to make `member` a member of `group`. Every part has a fixed length.
pub(crate) fn credential_bytes(group: GroupId, member: &PeerId) -> Vec<u8> {
    [CONTEXT, group.as_bytes(), member.as_bytes()].concat()
}

/// One verified credential, by a hash of the group (which names the creator), the member and the signature.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct CredentialKey([u8; 32]);

impl CredentialKey {
    pub(crate) fn of(group: GroupId, member: &PeerId, credential: &Credential) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(group.as_bytes()).update(member.as_bytes()).update(&credential.0);
        Self(*hasher.finalize().as_bytes())
    }
}

/// Credentials that were found good, the oldest forgotten when there is no more room. It spares work and
/// never changes a verdict: only what was verified is in it, and what is not in it is verified.
pub(crate) struct KnownCredentials {
    known: Mutex<Known>,
    room: usize,
}

#[derive(Default)]
struct Known {
    keys: HashSet<CredentialKey>,
    by_age: VecDeque<CredentialKey>,
}

impl KnownCredentials {
    pub(crate) fn new(room: usize) -> Self {
        Self { known: Mutex::default(), room }
    }

    pub(crate) fn contains(&self, key: &CredentialKey) -> bool {
        self.lock().keys.contains(key)
    }

    pub(crate) fn insert(&self, key: CredentialKey) {
        let mut known = self.lock();
        if !known.keys.insert(key) {
            return;
        }
        known.by_age.push_back(key);
        while known.by_age.len() > self.room
            && let Some(oldest) = known.by_age.pop_front()
        {
            known.keys.remove(&oldest);
        }
    }

    /// Nothing panics while the lock is held, so that what it guards is whole even if it is poisoned.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        let known = self.lock();
        assert_eq!(known.keys.len(), known.by_age.len());
        known.keys.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten() {
        let known = KnownCredentials::new(3);
        let key = |n: u8| {
            let group = GroupId::from_bytes([n; 32]);
            CredentialKey::of(group, &PeerId::from_bytes([1; 32]), &Credential::from_bytes([2; 64]))
        };
        for n in [1, 2, 2, 3, 1, 4] {
            known.insert(key(n));
        }
        assert_eq!(known.len(), 3);
        assert_eq!([1, 2, 3, 4].map(|n| known.contains(&key(n))), [false, true, true, true]);
    }
}
