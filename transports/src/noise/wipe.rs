//! Keys that `snow` holds are overwritten when it lets go of them, which it does not do by itself.
//!
//! What is out of reach here are copies on the stack, and the chaining key of a handshake.

use std::hint::black_box;

use snow::Error;
use snow::params::{CipherChoice, DHChoice, HashChoice};
use snow::resolvers::{CryptoResolver, DefaultResolver};
use snow::types::{Cipher, Dh, Hash, Random};

const BLANK: [u8; 32] = [0; 32];

/// The usual algorithms of `snow`, wrapped.
pub(super) struct Wiping;

impl CryptoResolver for Wiping {
    fn resolve_rng(&self) -> Option<Box<dyn Random>> {
        DefaultResolver.resolve_rng()
    }

    fn resolve_dh(&self, choice: &DHChoice) -> Option<Box<dyn Dh>> {
        DefaultResolver.resolve_dh(choice).map(|inner| Box::new(WipedDh(inner)) as Box<dyn Dh>)
    }

    fn resolve_hash(&self, choice: &HashChoice) -> Option<Box<dyn Hash>> {
        DefaultResolver.resolve_hash(choice)
    }

    fn resolve_cipher(&self, choice: &CipherChoice) -> Option<Box<dyn Cipher>> {
        DefaultResolver.resolve_cipher(choice).map(|inner| Box::new(WipedCipher(inner)) as Box<dyn Cipher>)
    }
}

/// A key pair, of 32 bytes each.
struct WipedDh(Box<dyn Dh>);

impl Drop for WipedDh {
    fn drop(&mut self) {
        self.0.set(&BLANK);
        // Nothing reads it any more, but the compiler must not leave out the write for that.
        black_box(&mut self.0);
    }
}

impl Dh for WipedDh {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn pub_len(&self) -> usize {
        self.0.pub_len()
    }

    fn priv_len(&self) -> usize {
        self.0.priv_len()
    }

    fn set(&mut self, privkey: &[u8]) {
        self.0.set(privkey);
    }

    fn generate(&mut self, rng: &mut dyn Random) -> Result<(), Error> {
        self.0.generate(rng)
    }

    fn pubkey(&self) -> &[u8] {
        self.0.pubkey()
    }

    fn privkey(&self) -> &[u8] {
        self.0.privkey()
    }

    fn dh(&self, pubkey: &[u8], out: &mut [u8]) -> Result<(), Error> {
        self.0.dh(pubkey, out)
    }

    fn dh_len(&self) -> usize {
        self.0.dh_len()
    }
}

/// One direction of a channel, or the key of a handshake.
struct WipedCipher(Box<dyn Cipher>);

impl Drop for WipedCipher {
    fn drop(&mut self) {
        self.0.set(&BLANK);
        black_box(&mut self.0);
    }
}

impl Cipher for WipedCipher {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn set(&mut self, key: &[u8; 32]) {
        self.0.set(key);
    }

    fn encrypt(&self, nonce: u64, authtext: &[u8], plaintext: &[u8], out: &mut [u8]) -> usize {
        self.0.encrypt(nonce, authtext, plaintext, out)
    }

    fn decrypt(
        &self,
        nonce: u64,
        authtext: &[u8],
        ciphertext: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Error> {
        self.0.decrypt(nonce, authtext, ciphertext, out)
    }

    fn rekey(&mut self) {
        self.0.rekey();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Notes the keys that it is set to.
    #[derive(Clone, Default)]
    struct Spy(Arc<Mutex<Vec<Vec<u8>>>>);

    impl Cipher for Spy {
        fn name(&self) -> &'static str {
            "spy"
        }

        fn set(&mut self, key: &[u8; 32]) {
            self.0.lock().unwrap().push(key.to_vec());
        }

        fn encrypt(&self, _: u64, _: &[u8], _: &[u8], _: &mut [u8]) -> usize {
            0
        }

        fn decrypt(&self, _: u64, _: &[u8], _: &[u8], _: &mut [u8]) -> Result<usize, Error> {
            Err(Error::Decrypt)
        }
    }

    #[test]
    fn keys_are_overwritten_when_they_are_let_go() {
        let spy = Spy::default();
        let mut cipher = WipedCipher(Box::new(spy.clone()));
        cipher.set(&[7; 32]);
        drop(cipher);
        assert_eq!(*spy.0.lock().unwrap(), [vec![7; 32], BLANK.to_vec()]);

        let mut dh = Wiping.resolve_dh(&DHChoice::Curve25519).unwrap();
        dh.set(&[7; 32]);
        assert_eq!(dh.privkey(), [7; 32]);
        // What drop does with a pair that is still to be seen.
        let mut pair = DefaultResolver.resolve_dh(&DHChoice::Curve25519).unwrap();
        pair.set(&[7; 32]);
        pair.set(&BLANK);
        assert_eq!(pair.privkey(), BLANK);
    }
}
