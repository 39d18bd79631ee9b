use curve25519_dalek::constants::EIGHT_TORSION;
use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::Identity as _;
use ed25519_dalek::{Digest as _, Sha512, Signer as _};
use proptest::prelude::*;

use super::*;

const BYTES: &[u8] = b"what is signed";

#[derive(Debug, Clone)]
struct Crafted {
    signer: PeerId,
    bytes: Vec<u8>,
    signature: [u8; 64],
}

impl Crafted {
    fn add_to(&self, batch: &mut Batch) {
        batch.add(&self.signer, &self.bytes, &self.signature);
    }

    fn alone(&self) -> bool {
        verify_one(&self.signer, &self.bytes, &self.signature)
    }
}

fn honest(seed: u8) -> Crafted {
    let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
    let bytes = vec![seed; 40];
    let signer = PeerId::from_bytes(key.verifying_key().to_bytes());
    Crafted { signer, signature: key.sign(&bytes).to_bytes(), bytes }
}

fn forged(seed: u8) -> Crafted {
    Crafted { bytes: vec![seed, 0], ..honest(seed) }
}

/// `s = r + k a` for the key `a B + key_torsion` and the commitment `r B + r_torsion`, with the encodings
/// given.
fn sign_with(a: Scalar, key: [u8; 32], r: Scalar, commitment: [u8; 32]) -> Crafted {
    let k = Sha512::new().chain_update(commitment).chain_update(key).chain_update(BYTES).finalize();
    let s = r + Scalar::from_bytes_mod_order_wide(&k.into()) * a;
    let signature = [commitment, s.to_bytes()].concat().try_into().unwrap();
    Crafted { signer: PeerId::from_bytes(key), bytes: BYTES.to_vec(), signature }
}

fn with_torsion(key_torsion: EdwardsPoint, r_torsion: EdwardsPoint, nonce: u64) -> Crafted {
    let (a, r) = (Scalar::from(0x1234_5678_9abc_u64), Scalar::from(nonce + 2));
    let key = EdwardsPoint::mul_base(&a) + key_torsion;
    let commitment = EdwardsPoint::mul_base(&r) + r_torsion;
    sign_with(a, key.compress().to_bytes(), r, commitment.compress().to_bytes())
}

/// Every encoding of a point of small order that decoders take: 8 canonical ones and 6 that are not.
fn small_order_encodings() -> Vec<[u8; 32]> {
    let mut all = Vec::new();
    for low in [0_u8, 1, 0xec, 0xed, 0xee] {
        for sign in [0, 0x80] {
            let mut bytes = if low < 2 { [0; 32] } else { [0xff; 32] };
            bytes[0] = low;
            bytes[31] = if low < 2 { sign } else { 0x7f | sign };
            all.push(bytes);
        }
    }
    all.extend(EIGHT_TORSION.iter().map(|point| point.compress().to_bytes()));
    all.sort_unstable();
    all.dedup();
    all.retain(|bytes| CompressedEdwardsY(*bytes).decompress().is_some_and(|point| point.is_small_order()));
    all
}

/// Each of `crafted` has the same outcome alone, among honest ones at every place, among its like, and with a
/// forgery.
fn assert_agrees(crafted: &[Crafted]) {
    for (i, one) in crafted.iter().enumerate() {
        for others in [1, 2, 3, 9] {
            for at in 0..=others {
                let mut batch = Batch::default();
                (0..at).for_each(|n| honest(n).add_to(&mut batch));
                one.add_to(&mut batch);
                (at..others).for_each(|n| honest(n).add_to(&mut batch));
                let good = batch.verify();
                assert_eq!(good[usize::from(at)], one.alone(), "{i} at {at} of {others}");
                assert_eq!(
                    good.iter().filter(|good| **good).count(),
                    usize::from(others) + usize::from(one.alone())
                );
            }
        }
    }
    let mut batch = Batch::default();
    crafted.iter().for_each(|one| one.add_to(&mut batch));
    forged(1).add_to(&mut batch);
    let mut alone: Vec<bool> = crafted.iter().map(Crafted::alone).collect();
    alone.push(false);
    assert_eq!(batch.verify(), alone);
}

#[test]
fn a_commitment_with_torsion_counts_alone_and_in_a_batch() {
    let crafted: Vec<_> = EIGHT_TORSION
        .iter()
        .flat_map(|&torsion| (0..3).map(move |n| with_torsion(EdwardsPoint::identity(), torsion, n)))
        .collect();
    assert!(crafted.iter().all(Crafted::alone));
    assert_agrees(&crafted);
}

#[test]
fn a_key_with_torsion_counts_alone_and_in_a_batch() {
    let crafted: Vec<_> = EIGHT_TORSION
        .iter()
        .zip(EIGHT_TORSION.iter().rev())
        .flat_map(|(&key, &r)| (0..3).map(move |n| with_torsion(key, r, n)))
        .collect();
    assert!(crafted.iter().all(Crafted::alone));
    assert_agrees(&crafted);
}

/// Two signatures whose torsion cancels out in an unweighted sum, and the whole group of eight.
#[test]
fn torsion_that_cancels_out_changes_nothing() {
    let crafted: Vec<_> =
        (1..8).map(|n| with_torsion(EdwardsPoint::identity(), EIGHT_TORSION[n], 7)).collect();
    for (one, other) in crafted.iter().zip(crafted.iter().rev()) {
        assert_agrees(&[one.clone(), other.clone()]);
    }
}

/// The reason for the rule: the same library gives two answers where the cofactor is left out.
#[test]
fn without_the_cofactor_alone_and_together_differ() {
    let crafted = |nonce| with_torsion(EdwardsPoint::identity(), EIGHT_TORSION[4], nonce);
    let differs = (0..64).any(|nonce| {
        let one = crafted(nonce);
        let key = ed25519_dalek::VerifyingKey::from_bytes(one.signer.as_bytes()).unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(&one.signature);
        let alone = ed25519_dalek::Verifier::verify(&key, BYTES, &signature).is_ok();
        alone != ed25519_dalek::verify_batch(&[BYTES], &[signature], &[key]).is_ok()
    });
    assert!(differs);
}

#[test]
fn a_key_of_small_order_never_signs() {
    let encodings = small_order_encodings();
    assert_eq!(encodings.len(), 14);
    let mut crafted = Vec::new();
    for key in encodings {
        assert!(!is_sound_key(&PeerId::from_bytes(key)));
        for r in [Scalar::ZERO, Scalar::from(5_u64)] {
            let commitment = EdwardsPoint::mul_base(&r).compress().to_bytes();
            let one = sign_with(Scalar::ZERO, key, r, commitment);
            // It would pass without the rule on keys.
            assert!(Claim::new(&one.signer, &one.bytes, &one.signature).is_true());
            assert!(!one.alone());
            crafted.push(one);
        }
    }
    assert_agrees(&crafted);
}

#[test]
fn a_commitment_of_small_order_is_no_different_in_a_batch() {
    let a = Scalar::from(77_u64);
    let key = EdwardsPoint::mul_base(&a).compress().to_bytes();
    let crafted: Vec<_> =
        small_order_encodings().into_iter().map(|r| sign_with(a, key, Scalar::ZERO, r)).collect();
    assert!(crafted.iter().all(Crafted::alone));
    assert_agrees(&crafted);
}

#[test]
fn a_key_has_one_form() {
    // Every y from p to 2^255 - 1, with either sign: the second forms of y = 0 to 18.
    for low in 0xed..=0xff {
        for high in [0x7f, 0xff] {
            let mut bytes = [0xff; 32];
            (bytes[0], bytes[31]) = (low, high);
            assert!(!is_sound_key(&PeerId::from_bytes(bytes)));
        }
    }
    let mut greatest = [0xff; 32];
    (greatest[0], greatest[31]) = (0xeb, 0x7f);
    assert!(is_sound_key(&PeerId::from_bytes(greatest)));
    assert!((0..=255).all(|seed| is_sound_key(&honest(seed).signer)));
}

#[test]
fn s_is_below_the_group_order() {
    // The order of the group, little-endian.
    let order: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut raised = honest(1);
    let mut carry = 0;
    for (byte, add) in raised.signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = (sum & 0xff) as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert!(!raised.alone());
    assert_agrees(&[raised, honest(1)]);
}

#[test]
fn points_off_the_curve_are_false_not_fatal() {
    let off = (2_u8..)
        .map(|n| {
            let mut bytes = [0; 32];
            bytes[0] = n;
            bytes
        })
        .find(|bytes| CompressedEdwardsY(*bytes).decompress().is_none())
        .unwrap();
    let mut signature = honest(1).signature;
    signature[..32].copy_from_slice(&off);
    assert_agrees(&[
        Crafted { signer: PeerId::from_bytes(off), ..honest(1) },
        Crafted { signature, ..honest(1) },
    ]);
}

#[test]
fn nothing_to_verify() {
    assert_eq!(Batch::default().verify(), Vec::<bool>::new());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is false, and wherever it stands, in one batch or over several.
    #[test]
    fn the_false_ones_are_found(
        count in 0_usize..300, false_at in proptest::collection::btree_set(0_usize..300, 0..6), mostly_false: bool,
    ) {
        let is_false = |i: usize| false_at.contains(&i) != (mostly_false && count < 70);
        let mut batch = Batch::default();
        for i in 0..count {
            let seed = u8::try_from(i % 7).unwrap();
            (if is_false(i) { forged(seed) } else { honest(seed) }).add_to(&mut batch);
        }
        prop_assert_eq!(batch.verify(), (0..count).map(|i| !is_false(i)).collect::<Vec<_>>());
    }
}
