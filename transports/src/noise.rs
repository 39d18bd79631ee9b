//! The key agreement that streams and datagrams share: Noise XX, and the proof that binds a [`PeerId`] to it.
//!
//! Noise gives a secret channel to *somebody*. Who it is, each side then proves inside the channel with an Ed25519
//! signature over a text that names the protocol, the carrier, the role of the signer and the channel (the final
//! hash of the handshake, which covers every byte of it and the X25519 keys of both). A proof is therefore worth
//! nothing on any other channel, nor for the other role.

mod wipe;

use ed25519_dalek::{Signature, VerifyingKey};
use hedgerow_proto::PeerId;
use snow::{Builder, HandshakeState, StatelessTransportState};
use zeroize::Zeroizing;

use crate::{Identity, TransportError};
use wipe::Wiping;

/// The version of the link protocol that is spoken here.
pub(crate) const VERSION: u16 = 1;

const PATTERN: &str = "Noise_XX_25519_ChaChaPoly_BLAKE2s";
const PROOF_CONTEXT: &[u8] = b"hedgerow 2026-11 link proof v1";

/// Bytes that sealing adds.
pub(crate) const TAG: usize = 16;
/// The largest Noise message, in bytes.
pub(crate) const MAX_NOISE: usize = 65_535;
/// The first message of the handshake: an ephemeral key.
pub(crate) const FIRST: usize = 32;
/// The second: an ephemeral key, a sealed static key, a sealed empty payload.
pub(crate) const SECOND: usize = 32 + 32 + TAG + TAG;
/// The second over datagrams, where the payload is the id that the listener has chosen for the session.
pub(crate) const SECOND_WITH_ID: usize = SECOND + 4;
/// The third: a sealed static key, a sealed empty payload.
pub(crate) const THIRD: usize = 32 + TAG + TAG;
/// No message is longer.
const MAX_MESSAGE: usize = SECOND_WITH_ID;
/// A proof before it is sealed: peer id, signature, largest frame as u32.
pub(crate) const PROOF: usize = 32 + 64 + 4;

/// Which kind of carrier the channel runs on; part of the prologue and of every proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carrier {
    Stream,
    Datagram,
}

impl Carrier {
    const fn prologue(self) -> &'static [u8] {
        match self {
            Self::Stream => b"hedgerow 2026-11 link v1 stream",
            Self::Datagram => b"hedgerow 2026-11 link v1 datagram",
        }
    }
}

/// A handshake in progress.
///
/// `snow` does not come back whole from a message that fails in its last part, where keys have been mixed already.
/// Over datagrams anybody can send such a message, and it must not harm the handshake. So the steps taken are kept,
/// and after a failure they are taken again from the start, with the same ephemeral key; this gives the same bytes.
pub(crate) struct Handshake {
    state: HandshakeState,
    identity: Identity,
    ephemeral: Zeroizing<[u8; 32]>,
    initiator: bool,
    carrier: Carrier,
    steps: Vec<Step>,
}

enum Step {
    /// The payload that was written.
    Write(Vec<u8>),
    /// The message that was read.
    Read(Vec<u8>),
}

impl Handshake {
    pub(crate) fn initiator(identity: &Identity, carrier: Carrier) -> Result<Self, TransportError> {
        Self::new(identity, carrier, true)
    }

    pub(crate) fn responder(identity: &Identity, carrier: Carrier) -> Result<Self, TransportError> {
        Self::new(identity, carrier, false)
    }

    fn new(identity: &Identity, carrier: Carrier, initiator: bool) -> Result<Self, TransportError> {
        let mut ephemeral = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *ephemeral).map_err(|_| TransportError::KeyAgreement)?;
        let state = begin(identity, carrier, initiator, &ephemeral)?;
        Ok(Self { state, identity: identity.clone(), ephemeral, initiator, carrier, steps: Vec::new() })
    }

    /// The next message of the handshake that is ours; `LEN` is its length with the payload, which is known for
    /// each step. The payload is sealed from the second message on.
    pub(crate) fn write<const LEN: usize>(&mut self, payload: &[u8]) -> Result<[u8; LEN], TransportError> {
        let (message, len) = write(&mut self.state, payload)?;
        self.steps.push(Step::Write(payload.to_vec()));
        message.get(..len).and_then(|message| message.try_into().ok()).ok_or(TransportError::KeyAgreement)
    }

    /// Takes the next message of the handshake that is theirs, and returns its payload of `LEN` bytes. A message
    /// that does not fit leaves the handshake where it was.
    pub(crate) fn read<const LEN: usize>(&mut self, message: &[u8]) -> Result<[u8; LEN], TransportError> {
        let mut room = [0; MAX_MESSAGE];
        let read = self.state.read_message(message, &mut room).map_err(failed);
        let payload = read.and_then(|len| {
            room.get(..len).and_then(|payload| payload.try_into().ok()).ok_or(TransportError::KeyAgreement)
        });
        match payload {
            Ok(_) => self.steps.push(Step::Read(message.to_vec())),
            Err(_) => self.take_steps_again()?,
        }
        payload
    }

    fn take_steps_again(&mut self) -> Result<(), TransportError> {
        self.state = begin(&self.identity, self.carrier, self.initiator, &self.ephemeral)?;
        for step in &self.steps {
            match step {
                Step::Write(payload) => {
                    write(&mut self.state, payload)?;
                }
                Step::Read(message) => {
                    self.state.read_message(message, &mut [0; MAX_MESSAGE]).map_err(failed)?;
                }
            }
        }
        Ok(())
    }

    /// The finished channel; call it after the third message.
    pub(crate) fn finish(self) -> Result<Channel, TransportError> {
        let hash = self.state.get_handshake_hash().try_into().map_err(|_| TransportError::KeyAgreement)?;
        let state = self.state.into_stateless_transport_mode().map_err(failed)?;
        Ok(Channel { state, hash, carrier: self.carrier, initiator: self.initiator })
    }
}

fn begin(
    identity: &Identity,
    carrier: Carrier,
    initiator: bool,
    ephemeral: &[u8; 32],
) -> Result<HandshakeState, TransportError> {
    let params = PATTERN.parse().map_err(failed)?;
    // The name warns of keys that are not fresh, or are used again. This one is drawn from the system's randomness for
    // each handshake, and never leaves it. Within one handshake it may meet several messages of the other end, of which
    // at most one is good. That gives nothing away: each is answered by success or failure alone, keys are derived from
    // the whole transcript, and what is written again is the same plaintext under the same key and nonce, thus the same
    // bytes. A library that took a message whole or not at all would need none of this; `snow` restores its hashes
    // after a failure, but not the key of its cipher.
    let builder = Builder::with_resolver(params, Box::new(Wiping))
        .fixed_ephemeral_key_for_testing_only(ephemeral)
        .local_private_key(identity.link_key())
        .and_then(|builder| builder.prologue(carrier.prologue()))
        .map_err(failed)?;
    if initiator { builder.build_initiator() } else { builder.build_responder() }.map_err(failed)
}

/// The message and its length.
fn write(
    state: &mut HandshakeState,
    payload: &[u8],
) -> Result<([u8; MAX_MESSAGE + TAG], usize), TransportError> {
    // Asks for room for a tag even where there is none.
    let mut message = [0; MAX_MESSAGE + TAG];
    let len = state.write_message(payload, &mut message).map_err(failed)?;
    Ok((message, len))
}

fn failed(_: snow::Error) -> TransportError {
    TransportError::KeyAgreement
}

/// The keys of a channel that is agreed on. Nonces are the caller's: none may be used twice to seal.
pub(crate) struct Channel {
    state: StatelessTransportState,
    hash: [u8; 32],
    carrier: Carrier,
    initiator: bool,
}

/// Sealing or opening did not work: altered bytes, a wrong nonce, or all nonces used up.
#[derive(Debug)]
pub(crate) struct SealBroken;

impl Channel {
    /// Seals `plain` into the front of `out`, which has room for [`TAG`] bytes more.
    pub(crate) fn seal(&self, nonce: u64, plain: &[u8], out: &mut [u8]) -> Result<usize, SealBroken> {
        self.state.write_message(nonce, plain, out).map_err(|_| SealBroken)
    }

    /// Opens `sealed` into the front of `out`.
    pub(crate) fn open(&self, nonce: u64, sealed: &[u8], out: &mut [u8]) -> Result<usize, SealBroken> {
        if sealed.len() < TAG {
            return Err(SealBroken);
        }
        self.state.read_message(nonce, sealed, out).map_err(|_| SealBroken)
    }

    /// What we show the other end before anything else.
    pub(crate) fn prove(&self, identity: &Identity, max_frame: usize) -> [u8; PROOF] {
        let signature = identity.sign(&self.proof_text(self.initiator));
        let max_frame = u32::try_from(max_frame).unwrap_or(u32::MAX);
        let mut proof = [0; PROOF];
        let peer_id = identity.peer_id();
        let parts = peer_id.as_bytes().iter().chain(&signature).copied();
        for (place, byte) in proof.iter_mut().zip(parts.chain(max_frame.to_be_bytes())) {
            *place = byte;
        }
        proof
    }

    /// Checks what the other end shows: who it is, and the largest frame that it takes.
    pub(crate) fn check(&self, proof: &[u8]) -> Result<(PeerId, usize), TransportError> {
        let malformed = TransportError::Malformed("a proof has 100 bytes");
        let Some((peer, rest)) = proof.split_first_chunk::<32>() else { return Err(malformed) };
        let Some((signature, rest)) = rest.split_first_chunk::<64>() else { return Err(malformed) };
        let Ok(max_frame) = <[u8; 4]>::try_from(rest) else { return Err(malformed) };
        let claimed = PeerId::from_bytes(*peer);
        // Strict: refuses keys of small order, for which one signature can fit many texts.
        VerifyingKey::from_bytes(peer)
            .and_then(|key| {
                key.verify_strict(&self.proof_text(!self.initiator), &Signature::from_bytes(signature))
            })
            .map_err(|_| TransportError::BadProof { claimed })?;
        let max_frame = usize::try_from(u32::from_be_bytes(max_frame)).unwrap_or(usize::MAX);
        if max_frame < crate::limits::MIN_MAX_FRAME {
            return Err(TransportError::Malformed("a frame limit below the least that is allowed"));
        }
        Ok((claimed, max_frame))
    }

    fn proof_text(&self, by_initiator: bool) -> Vec<u8> {
        let role: &[u8] = if by_initiator { b"initiator" } else { b"responder" };
        // Each part is zero-terminated or of fixed length, so that no two texts run into each other.
        [PROOF_CONTEXT, &[0], self.carrier.prologue(), &[0], role, &[0], &self.hash].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channels(carrier: Carrier) -> (Channel, Channel) {
        let (a, b) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let mut a = Handshake::initiator(&a, carrier).unwrap();
        let mut b = Handshake::responder(&b, carrier).unwrap();
        b.read::<0>(&a.write::<FIRST>(&[]).unwrap()).unwrap();
        a.read::<0>(&b.write::<SECOND>(&[]).unwrap()).unwrap();
        b.read::<0>(&a.write::<THIRD>(&[]).unwrap()).unwrap();
        (a.finish().unwrap(), b.finish().unwrap())
    }

    #[test]
    fn a_proof_holds_for_its_channel_and_role_alone() {
        let alice = Identity::from_seed(&[1; 32]);
        let (a, b) = channels(Carrier::Stream);
        let proof = a.prove(&alice, 70_000);
        assert_eq!(b.check(&proof).unwrap(), (alice.peer_id(), 70_000));
        // Played back to the one who made it, whose peer has the other role.
        assert!(matches!(a.check(&proof), Err(TransportError::BadProof { .. })));
        // Played on another channel between the very same two.
        let (_, other) = channels(Carrier::Stream);
        assert!(matches!(other.check(&proof), Err(TransportError::BadProof { .. })));
    }

    #[test]
    fn a_proof_with_any_altered_byte_is_refused() {
        let alice = Identity::from_seed(&[1; 32]);
        let (a, b) = channels(Carrier::Datagram);
        let proof = a.prove(&alice, 70_000);
        for place in 0..96 {
            let mut proof = proof;
            proof[place] ^= 1;
            assert!(matches!(b.check(&proof), Err(TransportError::BadProof { .. })), "byte {place}");
        }
        assert!(matches!(b.check(&proof[1..]), Err(TransportError::Malformed(_))));
        let small = a.prove(&alice, crate::limits::MIN_MAX_FRAME - 1);
        assert!(matches!(b.check(&small), Err(TransportError::Malformed(_))));
    }

    #[test]
    fn carriers_do_not_mix() {
        let alice = Identity::from_seed(&[1; 32]);
        let mut a = Handshake::initiator(&alice, Carrier::Stream).unwrap();
        let mut b = Handshake::responder(&alice, Carrier::Datagram).unwrap();
        b.read::<0>(&a.write::<FIRST>(&[]).unwrap()).unwrap();
        assert!(matches!(a.read::<0>(&b.write::<SECOND>(&[]).unwrap()), Err(TransportError::KeyAgreement)));
    }

    #[test]
    fn a_bad_handshake_message_leaves_the_handshake_as_it_was() {
        let (alice, bob) = (Identity::from_seed(&[1; 32]), Identity::from_seed(&[2; 32]));
        let forgeries = |good: &[u8]| {
            let good = good.to_vec();
            (0..good.len()).map(move |place| {
                let mut forged = good.clone();
                forged[place] ^= 1;
                forged
            })
        };
        let mut a = Handshake::initiator(&alice, Carrier::Datagram).unwrap();
        let mut b = Handshake::responder(&bob, Carrier::Datagram).unwrap();
        b.read::<0>(&a.write::<FIRST>(&[]).unwrap()).unwrap();
        let second = b.write::<SECOND_WITH_ID>(b"abcd").unwrap();
        for forged in forgeries(&second) {
            assert!(a.read::<4>(&forged).is_err());
        }
        assert_eq!(&a.read::<4>(&second).unwrap(), b"abcd");
        let third = a.write::<THIRD>(&[]).unwrap();
        for forged in forgeries(&third) {
            assert!(b.read::<0>(&forged).is_err());
        }
        b.read::<0>(&third).unwrap();
        let (a, b) = (a.finish().unwrap(), b.finish().unwrap());
        assert!(b.check(&a.prove(&alice, 1024)).is_ok());
    }

    #[test]
    fn ephemeral_keys_are_fresh() {
        let alice = Identity::from_seed(&[1; 32]);
        let first = || Handshake::initiator(&alice, Carrier::Stream).unwrap().write::<FIRST>(&[]).unwrap();
        assert_ne!(first(), first());
    }
}
