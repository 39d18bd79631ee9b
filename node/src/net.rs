//! The tasks around the engine: listeners, diallers, and two tasks for each link.

pub(crate) mod dial;
mod link;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;

use hedgerow_transports::{Address, Listener};
use tokio::sync::Semaphore;

pub(crate) use self::link::run_link;
use crate::error::NodeError;
use crate::events::NodeEvent;
use crate::shared::{Shared, lock};

/// How many accepted links may wait for the engine's decision, or for their end after a refusal.
const UNDECIDED_LINKS: usize = 64;

/// Begins to listen, and accepts links until the node ends.
pub(crate) async fn listen(shared: &Arc<Shared>, at: &Address) -> Result<(), NodeError> {
    let transport = shared.transports.iter().find(|transport| transport.scheme() == at.scheme());
    let transport = transport.ok_or_else(|| NodeError::NoTransport(at.clone()))?;
    let listener = transport.listen(at).await?;
    lock(&shared.listening).push(listener.address());
    let task = accept(shared.clone(), listener);
    shared.tasks.spawn(shared.intake.clone().run_until_cancelled_owned(task));
    Ok(())
}

async fn accept(shared: Arc<Shared>, mut listener: Box<dyn Listener>) {
    let room = Arc::new(Semaphore::new(UNDECIDED_LINKS));
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok(link) => {
                // Here, since the tasks may run in any order.
                let id = shared.new_wire();
                shared.tasks.spawn(run_link(shared.clone(), id, link, Some(place)));
            }
            Err(error) => {
                let address = listener.address();
                tracing::error!(%address, %error, "the listener died");
                lock(&shared.listening).retain(|other| *other != address);
                let (address, reason) = (address.to_string(), error.to_string());
                return shared.tell(NodeEvent::ListenerDied { address, reason });
            }
        }
    }
}

/// Where others may dial a listener: for one that listens everywhere, the loopback and the address from which this device
/// would speak to the world.
pub(crate) fn reachable(address: &Address) -> Vec<Address> {
    let Ok(socket) = address.rest().parse::<SocketAddr>() else { return vec![address.clone()] };
    if !socket.ip().is_unspecified() {
        return vec![address.clone()];
    }
    let (loopback, outside) = match socket.ip() {
        IpAddr::V4(_) => (IpAddr::from([127, 0, 0, 1]), outside_ip("0.0.0.0:0", "192.0.2.1:9")),
        IpAddr::V6(_) => {
            (IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1_u16]), outside_ip("[::]:0", "[2001:db8::1]:9"))
        }
    };
    let at = |ip| Address::new(address.scheme(), SocketAddr::new(ip, socket.port())).ok();
    // The one that works from elsewhere goes first.
    outside.into_iter().chain([loopback]).filter_map(at).collect()
}

/// The address that the system would speak from; asking sends nothing.
fn outside_ip(from: &str, to: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_everywhere_is_found_at_the_loopback_with_its_port() {
        let all = reachable(&"tcp://0.0.0.0:4711".parse().unwrap());
        assert_eq!(all.last(), Some(&"tcp://127.0.0.1:4711".parse().unwrap()));
        let all = reachable(&"udp://[::]:4711".parse().unwrap());
        assert_eq!(all.last(), Some(&"udp://[::1]:4711".parse().unwrap()));
        for one in ["tcp://127.0.0.1:4711", "mem://alice"] {
            let one: Address = one.parse().unwrap();
            assert_eq!(reachable(&one), [one]);
        }
    }
}
