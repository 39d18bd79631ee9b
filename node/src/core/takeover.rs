//! Links of one peer that take each other's place.
//!
//! Who dials again has given up the old link, so the new one is kept. Two devices that run with the same key would take
//! the link from each other in this way for ever, and so could a peer that dials in a loop. Hence only the first few
//! times are free; then the link that is there is kept for a while, ever longer.

use std::collections::BTreeMap;

use hedgerow_proto::PeerId;
use hedgerow_sync_core::Time;

/// How often a peer may dial again without any wait.
const FREE: u32 = 3;
/// How long the link that is there is kept after the first times, in ms; it doubles with each further one.
const FIRST_REST_MS: u64 = 1_000;
/// The longest such time, in ms.
const LONGEST_REST_MS: u64 = 300_000;
/// After this time, in ms, without any link that took the place of another one all is forgotten.
const CALM_MS: u64 = 600_000;

/// How often links took the place of others, per contact.
#[derive(Default)]
pub(super) struct Takeovers(BTreeMap<PeerId, Streak>);

struct Streak {
    count: u32,
    last: Time,
}

/// Whether a link takes the place of another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takeover {
    Granted,
    /// Granted, and so often by now that two devices seem to use the same key.
    Suspicious,
    /// The one that is there is kept.
    Refused,
}

impl Takeovers {
    /// Decides on a new link that this peer has dialled in place of an old one that it had dialled too.
    pub(super) fn decide(&mut self, peer: PeerId, now: Time) -> Takeover {
        self.0.retain(|_, streak| now.since(streak.last) < CALM_MS);
        let streak = self.0.entry(peer).or_insert(Streak { count: 0, last: now });
        if now.since(streak.last) < rest_ms(streak.count) {
            return Takeover::Refused;
        }
        *streak = Streak { count: streak.count.saturating_add(1), last: now };
        if streak.count == FREE + 1 { Takeover::Suspicious } else { Takeover::Granted }
    }
}

fn rest_ms(count: u32) -> u64 {
    match count.checked_sub(FREE) {
        None => 0,
        Some(more) => FIRST_REST_MS.saturating_mul(2_u64.saturating_pow(more)).min(LONGEST_REST_MS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_devices_with_one_key_get_the_link_ever_more_rarely() {
        let (mut takeovers, peer) = (Takeovers::default(), PeerId::from_bytes([1; 32]));
        let mut granted = Vec::new();
        let mut suspicious = 0;
        // Somebody tries ten times a second for an hour.
        for tenth in 0..36_000_u64 {
            match takeovers.decide(peer, Time(tenth * 100)) {
                Takeover::Granted => granted.push(tenth),
                Takeover::Suspicious => suspicious += 1,
                Takeover::Refused => {}
            }
        }
        assert_eq!(suspicious, 1, "told once");
        assert!((8..=30).contains(&granted.len()), "{granted:?}");
        // Others are not touched by it, and after some calm all is well again.
        assert_eq!(takeovers.decide(PeerId::from_bytes([2; 32]), Time(3_600_000)), Takeover::Granted);
        let later = Time(3_600_000 + CALM_MS);
        assert_eq!(takeovers.decide(peer, later), Takeover::Granted);
        assert_eq!(takeovers.decide(peer, later), Takeover::Granted);
    }
}
