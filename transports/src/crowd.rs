//! Who has to make room when there are as many handshakes as may be.
//!
//! A handshake costs its dialler nothing, so a listener that is full must not turn away whoever comes next: one address
//! could keep all others out. Instead, handshakes are shared out among the networks that they come from.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

/// A handshake that has lasted this long may have to make room, also for one from a network that has no fewer.
pub(crate) const CROWDED: Duration = Duration::from_secs(1);

/// The network that an address belongs to, as far as one who dials can choose addresses: an address of IPv4, or the first
/// 64 bits of one of IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin(IpAddr);

impl Origin {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self(ip.into()),
            IpAddr::V6(ip) => Self(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into()),
        }
    }
}

/// Which of the handshakes makes room for one from `newcomer`: one of the network that has the most, if that is more than
/// the newcomer's would have then; if all have about as many, the oldest of all, once it is [`CROWDED`]. Of one network
/// always the oldest. None if the newcomer has to go.
pub(crate) fn who_makes_room<K: Copy>(
    held: &[(K, Origin, Instant)],
    newcomer: Origin,
    now: Instant,
) -> Option<K> {
    let count = |origin| held.iter().filter(|(_, other, _)| *other == origin).count();
    let oldest = |origin: Option<Origin>| {
        let of_origin = held.iter().filter(|(_, other, _)| origin.is_none_or(|origin| *other == origin));
        of_origin.min_by_key(|(_, _, since)| *since)
    };
    let busiest = held.iter().map(|(_, origin, _)| (count(*origin), *origin)).max_by_key(|(count, _)| *count);
    if let Some((most, origin)) = busiest
        && most > count(newcomer) + 1
    {
        return oldest(Some(origin)).map(|(key, ..)| *key);
    }
    oldest(None).filter(|(_, _, since)| now.duration_since(*since) >= CROWDED).map(|(key, ..)| *key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap())
    }

    #[test]
    fn a_network_of_ipv6_is_one_origin_and_a_mapped_address_is_its_ipv4() {
        assert_eq!(origin("2001:db8:1:2::1"), origin("2001:db8:1:2:ffff::9"));
        assert_ne!(origin("2001:db8:1:2::1"), origin("2001:db8:1:3::1"));
        assert_eq!(origin("::ffff:1.2.3.4"), origin("1.2.3.4"));
        assert_ne!(origin("1.2.3.4"), origin("1.2.3.5"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_busiest_network_makes_room_and_else_the_oldest_once_it_is_old() {
        let (a, b, c) = (origin("1.1.1.1"), origin("2.2.2.2"), origin("3.3.3.3"));
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let flood = [(0, b, at(0)), (1, a, at(1)), (2, a, at(2)), (3, a, at(3))];
        assert_eq!(who_makes_room(&flood, c, at(5)), Some(1), "not the one of b, though it is older");
        assert_eq!(who_makes_room(&flood, b, at(5)), Some(1));
        assert_eq!(who_makes_room(&flood, a, at(5)), None, "it has the most itself");
        assert_eq!(who_makes_room(&flood, a, at(1_000)), Some(0));
        let spread = [(0, a, at(0)), (1, b, at(1))];
        assert_eq!(who_makes_room(&spread, c, at(5)), None);
        assert_eq!(who_makes_room(&spread, c, at(1_000)), Some(0));
        assert_eq!(who_makes_room::<u8>(&[], c, at(5)), None);
    }
}
