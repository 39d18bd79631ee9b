//! Ed25519 signatures, checked alone or many at once, with the same outcome on every peer.
//!
//! RFC 8032 leaves open whether points of small order count, and implementations differ; some even differ
//! between their single and their batched check. If one peer took what another refuses, the two would
//! disagree about all that depends on it, for ever. So the rule here is exact (ZIP 215: the equation times
//! the cofactor, `s` below the group order), holds for one signature as for many, and is tightened by a rule
//! on keys that is checked for each signature on its own ([`is_sound_key`]).

use ed25519_zebra::{Signature, VerificationKeyBytes, batch};
use hedgerow_proto::PeerId;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng as _;

use crate::limits::MAX_BATCH;

const TRANSCRIPT_CONTEXT: &str = "hedgerow 2026-11 signature batch";

/// So few are checked one by one: together they would not be cheaper.
const TOO_FEW: usize = 2;

/// Among so few, what is false is looked for one by one: halving them again would not be cheaper.
const ONE_BY_ONE: usize = 16;

/// Length of a signature, in bytes.
pub(crate) const SIGNATURE_LEN: usize = 64;

/// Signatures to be checked together.
#[derive(Default)]
pub(crate) struct Batch {
    /// `None` where the key alone decides against it.
    claims: Vec<Option<Claim>>,
}

struct Claim {
    item: batch::Item,
    /// Hash of the key, the signature and what is signed.
    digest: [u8; 32],
}

impl Batch {
    /// Adds the claim that `signer` signed `bytes`; its index.
    pub(crate) fn add(&mut self, signer: &PeerId, bytes: &[u8], signature: &[u8; SIGNATURE_LEN]) -> usize {
        self.claims.push(is_sound_key(signer).then(|| Claim::new(signer, bytes, signature)));
        self.claims.len() - 1
    }

    /// For each claim, by index, whether it is true.
    pub(crate) fn verify(&self) -> Vec<bool> {
        let mut good = vec![false; self.claims.len()];
        let open: Vec<_> =
            self.claims.iter().enumerate().filter_map(|(i, c)| c.as_ref().map(|c| (i, c))).collect();
        for claims in open.chunks(MAX_BATCH) {
            settle(claims, false, &mut good);
        }
        good
    }
}

impl Claim {
    fn new(signer: &PeerId, bytes: &[u8], signature: &[u8; SIGNATURE_LEN]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(signer.as_bytes()).update(signature).update(bytes);
        let key = VerificationKeyBytes::from(*signer.as_bytes());
        let item = batch::Item::from((key, Signature::from_bytes(signature), bytes));
        Self { item, digest: *hasher.finalize().as_bytes() }
    }

    fn is_true(&self) -> bool {
        self.item.clone().verify_single().is_ok()
    }
}

/// Whether `signer` signed `bytes`.
pub(crate) fn verify_one(signer: &PeerId, bytes: &[u8], signature: &[u8; SIGNATURE_LEN]) -> bool {
    is_sound_key(signer) && Claim::new(signer, bytes, signature).is_true()
}

/// Settles the claims, by halves where some are false; whether all are true. `some_false` if that is known
/// before. At worst, when nearly all are false, it costs two and a half times what one by one would.
fn settle(claims: &[(usize, &Claim)], some_false: bool, good: &mut [bool]) -> bool {
    if !some_false && claims.len() > TOO_FEW && all_true(claims) {
        claims.iter().for_each(|(index, _)| set(good, *index, true));
        return true;
    }
    if claims.len() <= ONE_BY_ONE {
        let mut all = true;
        for (index, claim) in claims {
            let is_true = claim.is_true();
            set(good, *index, is_true);
            all &= is_true;
        }
        return all;
    }
    let (left, right) = claims.split_at(claims.len() / 2);
    let left_true = settle(left, false, good);
    settle(right, left_true, good);
    false
}

fn set(good: &mut [bool], index: usize, is_true: bool) {
    if let Some(slot) = good.get_mut(index) {
        *slot = is_true;
    }
}

/// One equation for all claims, each weighted by a number that nobody could know when the signatures were
/// made: it comes of a hash of all of them. So no source of randomness is needed, and false claims do not
/// cancel out but with a chance of 2^-128 for each attempt.
fn all_true(claims: &[(usize, &Claim)]) -> bool {
    let mut transcript = blake3::Hasher::new_derive_key(TRANSCRIPT_CONTEXT);
    let mut verifier = batch::Verifier::new();
    for (_, claim) in claims {
        transcript.update(&claim.digest);
        verifier.queue(claim.item.clone());
    }
    verifier.verify(ChaCha20Rng::from_seed(*transcript.finalize().as_bytes())).is_ok()
}

/// The `y` of the points of small order, as they are encoded, without the bit for the sign of `x`.
const SMALL_ORDER: [[u8; 32]; 5] = {
    let mut zero = [0; 32];
    zero[31] = 0;
    let mut one = [0; 32];
    one[0] = 1;
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    minus_one[31] = 0x7f;
    [
        zero,
        one,
        minus_one,
        [
            0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0,
            0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
        ],
        [
            0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f,
            0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
        ],
    ]
};

/// Whether a key may sign at all: it is in the one canonical form, so that a device has one name, and not of
/// small order, since anybody can sign for such a key. (Whether it is on the curve is seen when a signature
/// is checked.)
pub(crate) fn is_sound_key(key: &PeerId) -> bool {
    let mut y = *key.as_bytes();
    y[31] &= 0x7f;
    is_below_p(&y) && !SMALL_ORDER.contains(&y)
}

/// Whether 32 little-endian bytes without the highest bit are below 2^255 - 19.
fn is_below_p(y: &[u8; 32]) -> bool {
    let [low, middle @ .., high] = y;
    *low < 0xed || *high != 0x7f || middle.iter().any(|&byte| byte != 0xff)
}

#[cfg(test)]
mod tests;
