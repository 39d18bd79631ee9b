//! Sending again on links that lose frames, where the wire cannot number them.
//!
//! All that can be measured there is how long a message or an offer takes to be answered. What was not answered for
//! longer than that is due again, with a wait that doubles each time it was in vain; while nothing at all is answered,
//! one at a time is tried. Nothing is given up: the longest wait is a limit of its own.

use std::collections::BTreeMap;

use super::lossy::RoundTrip;
use super::{Engine, LinkId, Timer};
use crate::store::{GroupNum, PeerNum, Store};
use crate::time::Time;

/// How many times the wait for an answer doubles.
const MAX_DOUBLINGS: u32 = 16;

/// What waits for an answer on one link.
#[derive(Debug, Clone)]
pub(super) struct Resend {
    rtt: RoundTrip,
    max_ms: u64,
    open: BTreeMap<(GroupNum, u64), Try>,
    /// Timeouts since the last answer.
    silence: u32,
    /// Nothing is tried before, while nothing is answered.
    quiet_until: Time,
    /// When the engine's timer for this link is set.
    armed: Option<Time>,
}

#[derive(Debug, Clone, Copy)]
struct Try {
    at: Time,
    /// How many times it was sent before.
    before: u32,
    /// It is due again, or was sent over another link.
    idle: bool,
}

impl Resend {
    pub(super) fn new(round_trip_ms: u64, max_ms: u64) -> Self {
        let (open, rtt) = (BTreeMap::new(), RoundTrip::new(round_trip_ms));
        Self { rtt, max_ms: max_ms.max(1), open, silence: 0, quiet_until: Time(0), armed: None }
    }

    pub(super) fn armed(&self) -> Option<Time> {
        self.armed
    }

    /// The measured round trip in ms.
    pub(super) fn round_trip_ms(&self) -> Option<u64> {
        self.rtt.measured_ms()
    }

    /// Notes that something was sent.
    pub(super) fn sent(&mut self, group: GroupNum, position: u64, now: Time) {
        let before = self.open.get(&(group, position)).map_or(0, |old| old.before.saturating_add(1));
        self.open.insert((group, position), Try { at: now, before, idle: false });
    }

    /// Notes an answer.
    pub(super) fn answered(&mut self, group: GroupNum, position: u64, now: Time) {
        let Some(sent) = self.open.remove(&(group, position)) else { return };
        self.silence = 0;
        self.quiet_until = Time(0);
        if sent.before == 0 {
            // Of what was sent more than once nobody knows which one was answered.
            self.rtt.sample(now.since(sent.at));
        }
    }

    fn wait(&self, sent: &Try) -> u64 {
        self.backoff(sent.before)
    }

    fn backoff(&self, times: u32) -> u64 {
        (self.rtt.timeout() << times.min(MAX_DOUBLINGS)).min(self.max_ms)
    }

    fn timeout(&self) -> Option<Time> {
        let first = self.open.values().filter(|sent| !sent.idle).map(|sent| sent.at + self.wait(sent)).min();
        first.map(|at| at.max(self.quiet_until))
    }

    /// What is due again by `now`: all of it after an answer, else the one that waits longest.
    fn overdue(&mut self, now: Time) -> Vec<(GroupNum, u64)> {
        if now < self.quiet_until {
            return Vec::new();
        }
        let late = |sent: &Try| !sent.idle && sent.at + self.wait(sent) <= now;
        let mut overdue: Vec<_> =
            self.open.iter().filter(|(_, sent)| late(sent)).map(|(&what, sent)| (sent.at, what)).collect();
        overdue.sort_unstable();
        if self.silence > 0 {
            overdue.truncate(1);
        }
        if !overdue.is_empty() {
            self.silence = self.silence.saturating_add(1);
            self.quiet_until = now + self.backoff(self.silence);
        }
        for (_, what) in &overdue {
            if let Some(sent) = self.open.get_mut(what) {
                sent.idle = true;
            }
        }
        overdue.into_iter().map(|(_, what)| what).collect()
    }
}

impl<S: Store> Engine<S> {
    /// Sets the timer of a link whose frames cannot be numbered.
    pub(super) fn arm_resend(&mut self, id: LinkId) {
        let Some(resend) = self.links.get_mut(&id).and_then(|link| link.resend.as_mut()) else { return };
        let at = resend.timeout();
        if resend.armed != at {
            if let Some(before) = std::mem::replace(&mut resend.armed, at) {
                self.timers.remove(&(before, Timer::Link(id)));
            }
            at.map(|at| self.timers.insert((at, Timer::Link(id))));
        }
    }

    /// What was not answered in time is due again.
    pub(super) fn resend_timeout(&mut self, id: LinkId, now: Time) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let peer = link.peer;
        let Some(resend) = &mut link.resend else { return };
        resend.armed = None;
        for (group, position) in resend.overdue(now) {
            self.send_again(id, peer, group, position);
        }
        self.arm_resend(id);
        self.wake_link(id);
    }

    fn send_again(&mut self, id: LinkId, peer: PeerNum, group: GroupNum, position: u64) {
        let Some(allowance) = self.groups.get(&group).map(|group| self.allowance(group)) else { return };
        let pair = self.peers.get_mut(&peer).and_then(|state| state.groups.get_mut(&group));
        let under_way = pair.and_then(|pair| {
            let session = &mut pair.session;
            let sent = session.in_flight.get(&position).filter(|sent| sent.link == id)?;
            let sent = *sent;
            session.in_flight.remove(&position);
            session.again.insert(position);
            pair.repeats.unsay(position, &sent, allowance);
            Some(sent)
        });
        match under_way {
            Some(sent) => {
                self.release(&sent);
                self.wake(peer, group);
            }
            // It was answered in another way, or is under way elsewhere.
            None => {
                if let Some(resend) = self.links.get_mut(&id).and_then(|link| link.resend.as_mut()) {
                    resend.open.remove(&(group, position));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const G: GroupNum = GroupNum(1);

    #[test]
    fn silence_doubles_the_wait_and_one_at_a_time_is_tried() {
        let mut link = Resend::new(100, 10_000);
        (1..=5).for_each(|position| link.sent(G, position, Time(0)));
        let first = link.timeout().unwrap();
        assert_eq!(link.overdue(first).len(), 5, "the first time nobody knows better");
        (1..=5).for_each(|position| link.sent(G, position, first));
        let mut now = first;
        let mut waits = Vec::new();
        for _ in 0..12 {
            let at = link.timeout().unwrap();
            waits.push(at.since(now));
            now = at;
            let overdue = link.overdue(now);
            assert_eq!(overdue.len(), 1);
            link.sent(overdue[0].0, overdue[0].1, now);
        }
        assert!(waits.iter().all(|wait| *wait <= 10_000), "{waits:?}");
        assert!(link.timeout().is_some(), "it is never given up");
        link.answered(G, 1, now);
        assert_eq!(link.silence, 0);
    }

    #[test]
    fn answers_measure_the_round_trip_unless_they_are_ambiguous() {
        let mut link = Resend::new(1_000, 60_000);
        link.sent(G, 1, Time(0));
        link.answered(G, 1, Time(20));
        assert_eq!(link.round_trip_ms(), Some(20));
        link.sent(G, 2, Time(100));
        link.sent(G, 2, Time(200));
        link.answered(G, 2, Time(5_000));
        assert_eq!(link.round_trip_ms(), Some(20));
        assert_eq!(link.timeout(), None);
    }
}
