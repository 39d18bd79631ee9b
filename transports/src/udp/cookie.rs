//! Proof that a dialler receives at the address it sends from, without any memory on our side.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::Instant;
use zeroize::Zeroizing;

use super::packet::{COOKIE, SessionId};
use crate::noise::FIRST;

/// How long one secret makes cookies; they are taken for as long again.
const ROTATE: Duration = Duration::from_secs(60);

pub(crate) struct Cookies {
    current: Zeroizing<[u8; 32]>,
    previous: Zeroizing<[u8; 32]>,
    since: Instant,
}

impl Cookies {
    pub(crate) fn new(now: Instant) -> Result<Self, getrandom::Error> {
        Ok(Self { current: secret()?, previous: secret()?, since: now })
    }

    /// Takes a new secret when it is time.
    pub(crate) fn rotate(&mut self, now: Instant) {
        if now.duration_since(self.since) < ROTATE {
            return;
        }
        // Without randomness the old secret has to do; a later call tries again.
        if let Ok(fresh) = secret() {
            self.previous = std::mem::replace(&mut self.current, fresh);
            self.since = now;
        }
    }

    pub(crate) fn make(&self, from: SocketAddr, session: SessionId, first: &[u8; FIRST]) -> [u8; COOKIE] {
        cookie(&self.current, from, session, first)
    }

    pub(crate) fn is_good(
        &self,
        cookie_shown: &[u8; COOKIE],
        from: SocketAddr,
        session: SessionId,
        first: &[u8; FIRST],
    ) -> bool {
        // A hash of the two, so that the time of the comparison tells nothing of the cookie.
        let same = |secret| blake3::hash(&cookie(secret, from, session, first)) == blake3::hash(cookie_shown);
        same(&self.current) || same(&self.previous)
    }
}

fn secret() -> Result<Zeroizing<[u8; 32]>, getrandom::Error> {
    let mut secret = Zeroizing::new([0; 32]);
    getrandom::fill(secret.as_mut())?;
    Ok(secret)
}

fn cookie(secret: &[u8; 32], from: SocketAddr, session: SessionId, first: &[u8; FIRST]) -> [u8; COOKIE] {
    let mut hasher = blake3::Hasher::new_keyed(secret);
    match from.ip() {
        IpAddr::V4(ip) => hasher.update(&ip.to_ipv6_mapped().octets()),
        IpAddr::V6(ip) => hasher.update(&ip.octets()),
    };
    hasher.update(&from.port().to_be_bytes());
    hasher.update(&session.to_be_bytes());
    hasher.update(first);
    let mut cookie = [0; COOKIE];
    hasher.finalize_xof().fill(&mut cookie);
    cookie
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_cookie_holds_for_one_hello_and_one_to_two_minutes() {
        let mut cookies = Cookies::new(Instant::now()).unwrap();
        let (here, there) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        let cookie = cookies.make(here, 1, &[1; FIRST]);
        assert!(cookies.is_good(&cookie, here, 1, &[1; FIRST]));
        assert!(!cookies.is_good(&cookie, there, 1, &[1; FIRST]));
        assert!(!cookies.is_good(&cookie, here, 2, &[1; FIRST]));
        assert!(!cookies.is_good(&cookie, here, 1, &[2; FIRST]));
        assert!(!cookies.is_good(&[0; COOKIE], here, 1, &[1; FIRST]));
        tokio::time::advance(ROTATE).await;
        cookies.rotate(Instant::now());
        assert!(cookies.is_good(&cookie, here, 1, &[1; FIRST]));
        tokio::time::advance(ROTATE).await;
        cookies.rotate(Instant::now());
        assert!(!cookies.is_good(&cookie, here, 1, &[1; FIRST]));
    }
}
