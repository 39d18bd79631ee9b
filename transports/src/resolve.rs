//! From the name in an address to sockets, and from several sockets to one link.

use std::net::SocketAddr;

use tokio::net::lookup_host;
use tokio::time::Instant;

use crate::{Address, Link, TransportError};

/// Of a name with more addresses than this only the first ones are dialled, so that each gets a fair share of the time.
const MAX_PLACES: usize = 8;

/// The sockets that an address like `tcp://host:port` stands for; at least one.
pub(crate) async fn resolve(
    scheme: &'static str,
    address: &Address,
) -> Result<Vec<SocketAddr>, TransportError> {
    if address.scheme() != scheme {
        return Err(TransportError::WrongScheme { address: address.clone(), scheme });
    }
    let unresolvable = |reason: String| TransportError::Unresolvable { address: address.clone(), reason };
    let found = lookup_host(address.rest()).await.map_err(|error| unresolvable(error.to_string()))?;
    let found: Vec<_> = found.collect();
    if found.is_empty() {
        return Err(unresolvable("the name has no address".to_owned()));
    }
    Ok(found)
}

/// Dials the sockets of one name in turn until one makes a link. Each may take, until the time that `dial` is given, an
/// equal share of what is left of the time until `until`; what one does not use is for those that follow.
pub(crate) async fn first_link<F>(
    to: &Address,
    sockets: &[SocketAddr],
    until: Instant,
    mut dial: impl FnMut(SocketAddr, Instant) -> F,
) -> Result<Box<dyn Link>, TransportError>
where
    F: Future<Output = Result<Box<dyn Link>, TransportError>>,
{
    let places = sockets.get(..MAX_PLACES).unwrap_or(sockets);
    let mut failure = TransportError::NobodyListens(to.clone());
    for (socket, left) in places.iter().zip((1..=places.len()).rev()) {
        let now = Instant::now();
        let share = until.saturating_duration_since(now) / u32::try_from(left).unwrap_or(u32::MAX);
        match dial(*socket, now + share).await {
            Ok(link) => return Ok(link),
            // That somebody answered in a wrong way says more than that nobody did.
            Err(error) if says_little(&failure) => failure = error,
            Err(_) => {}
        }
    }
    Err(failure)
}

/// Whether an error tells only that nobody could be reached.
const fn says_little(error: &TransportError) -> bool {
    use TransportError::{HandshakeTimeout, Io, NobodyListens};
    matches!(error, NobodyListens(_) | Io { .. } | HandshakeTimeout { .. })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Identity, memory_pair};

    fn sockets(ports: std::ops::Range<u16>) -> Vec<SocketAddr> {
        ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
    }

    fn link() -> Box<dyn Link> {
        let peer = |n| Identity::from_seed(&[n; 32]).peer_id();
        memory_pair(peer(1), peer(2)).0
    }

    #[tokio::test(start_paused = true)]
    async fn a_place_that_is_silent_leaves_time_for_the_next() {
        let (to, begin) = ("tcp://x:1".parse().unwrap(), Instant::now());
        let until = begin + Duration::from_secs(10);
        let dial = |socket: SocketAddr, until| async move {
            if socket.port() == 3 {
                return Ok(link());
            }
            tokio::time::sleep_until(until).await;
            Err(TransportError::HandshakeTimeout { limit_ms: 10_000 })
        };
        assert!(first_link(&to, &sockets(1..5), until, dial).await.is_ok());
        assert_eq!(
            begin.elapsed(),
            Duration::from_secs(5),
            "a quarter of the time for each of the first two"
        );
        assert!(first_link(&to, &sockets(5..9), Instant::now(), dial).await.is_err());
    }

    #[tokio::test]
    async fn what_somebody_answered_is_told_rather_than_that_nobody_did() {
        let to: Address = "tcp://x:1".parse().unwrap();
        let dial = |socket: SocketAddr, _| {
            let error = match socket.port() {
                2 => TransportError::KeyAgreement,
                _ => TransportError::NobodyListens("tcp://x:1".parse().unwrap()),
            };
            async { Err::<Box<dyn Link>, _>(error) }
        };
        let mut tried = 0;
        let counted = |socket, until| {
            tried += 1;
            dial(socket, until)
        };
        let error = first_link(&to, &sockets(1..40), Instant::now(), counted).await.map(drop).unwrap_err();
        assert!(matches!(error, TransportError::KeyAgreement), "{error}");
        assert_eq!(tried, MAX_PLACES);
    }
}
