//! Frame numbers, acknowledgement and loss on links that lose frames.
//!
//! The manner is QUIC's (RFC 9002): frames are numbered and never repeated, what was in a lost frame is due again
//! and goes into a new one. Round trips are estimated as in RFC 6298. One thing is stricter: silence is no proof
//! of loss. When acknowledgements stay out, a small PING asks for them, and only a frame that is still
//! unacknowledged when a later one is acknowledged counts as lost. So a body crosses 1/(1-p) times at a loss of p,
//! however many acknowledgements are lost too.

use std::collections::BTreeMap;

use hedgerow_proto::limits::TAG_LEN;
use hedgerow_proto::{MessageId, Span};

use crate::spanset::SpanSet;
use crate::store::GroupNum;
use crate::time::Time;

/// What was in a frame and is due again if it is lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    Hello,
    /// Under which number, and whether it said that the peer must void what it knows.
    Announce(GroupNum, u32, bool),
    Farewell(u32, [u8; TAG_LEN]),
    Ack {
        group: GroupNum,
        held: Vec<Span>,
        known: Vec<Span>,
        ids: Vec<MessageId>,
        duplicates: u32,
    },
    Sent {
        group: GroupNum,
        position: u64,
        frame: u64,
    },
    Answer {
        group: GroupNum,
        id: MessageId,
    },
    Request {
        group: GroupNum,
        id: MessageId,
    },
    /// Positions of the peer that are asked for again.
    CallBack {
        group: GroupNum,
        positions: Vec<Span>,
    },
    Unavailable {
        group: GroupNum,
        positions: Vec<Span>,
        ids: Vec<MessageId>,
    },
}

#[derive(Debug, Clone)]
struct SentFrame {
    at: Time,
    items: Vec<Item>,
}

/// The state of one lossy link.
#[derive(Debug, Clone)]
pub(super) struct Lossy {
    next: u64,
    sent: BTreeMap<u64, SentFrame>,
    /// How many of them hold something.
    loaded: usize,
    largest_acked: u64,
    received: SpanSet,
    /// When the newest frame was received.
    newest_at: Time,
    /// An acknowledgement is to be sent.
    pub(super) ack_due: bool,
    /// PINGs that are to be sent.
    pub(super) pings_due: u32,
    rtt: RoundTrip,
    /// Probes since the last acknowledgement.
    probes: u32,
    probe_at: Option<Time>,
    max_probe_ms: u64,
    /// When the engine's timer for this link is set.
    pub(super) armed: Option<Time>,
}

/// How many frames may be unacknowledged.
const MAX_SENT: usize = 4096;
/// Frames older than this, counted from the newest, are taken for repeated.
const RECEIVE_WINDOW: u64 = 16_384;
/// Most PINGs at once.
const MAX_PINGS: u32 = 4;
/// How many probes in vain a line may need, as one does that loses nine frames of ten.
const EAGER_PROBES: u32 = 200;
/// Longest round trip that is believed, in ms: a clock that is set, or a device that slept, shows longer ones.
const MAX_ROUND_TRIP_MS: u64 = 60_000;

#[derive(Debug, Clone)]
pub(super) struct RoundTrip {
    smoothed: u64,
    variation: u64,
    measured: bool,
}

impl Lossy {
    pub(super) fn new(round_trip_ms: u64, max_probe_ms: u64) -> Self {
        Self {
            next: 1,
            sent: BTreeMap::new(),
            loaded: 0,
            largest_acked: 0,
            received: SpanSet::new(),
            newest_at: Time(0),
            ack_due: false,
            pings_due: 0,
            rtt: RoundTrip::new(round_trip_ms),
            probes: 0,
            probe_at: None,
            max_probe_ms,
            armed: None,
        }
    }

    /// The measured round trip in ms.
    pub(super) fn round_trip_ms(&self) -> Option<u64> {
        self.rtt.measured_ms()
    }

    /// How long to wait, in ms, before something that is missing is asked for: it may only be late.
    pub(super) fn patience_ms(&self) -> u64 {
        2 * self.rtt.timeout()
    }

    /// Whether another frame with contents may be sent.
    pub(super) fn has_room(&self) -> bool {
        // The peer must not take the oldest for repeated.
        let oldest = self.sent.keys().next().copied().unwrap_or(self.next);
        self.sent.len() < MAX_SENT && self.next - oldest < RECEIVE_WINDOW / 2
    }

    /// The number that the next frame gets.
    pub(super) fn next_number(&self) -> u64 {
        self.next
    }

    /// Notes a frame of the peer; false if it came before.
    pub(super) fn receive(&mut self, number: u64, now: Time) -> bool {
        if number > self.received.max() {
            self.newest_at = now;
        }
        let newest = self.received.max().max(number);
        if number <= newest.saturating_sub(RECEIVE_WINDOW) || !self.received.insert(number) {
            self.ack_due = true;
            return false;
        }
        self.ack_due = true;
        if let Some(old) = newest.checked_sub(RECEIVE_WINDOW)
            && old > 0
        {
            // One span for all that is too old to come again keeps the set small.
            self.received.insert_span(Span { first: 1, last: old });
        }
        true
    }

    /// How long ago the newest frame was received, in ms: the other side's estimate of the round trip must not
    /// count how long an acknowledgement took that was told late, or told again.
    pub(super) fn ack_delay_ms(&self, now: Time) -> u32 {
        if self.received.is_empty() {
            return 0;
        }
        u32::try_from(now.since(self.newest_at)).unwrap_or(u32::MAX)
    }

    /// The newest spans of frames received, ascending: as many as take at most `room` bytes on the wire.
    pub(super) fn acks(&self, room: usize) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        // Each span takes its length and its distance to the one before; the first one, its absolute start.
        let mut between = 0;
        for span in self.received.spans().rev() {
            let distance = spans.last().map_or(0, |newer| varint_len(newer.first - span.last));
            let size = between + distance + varint_len(span.count()) + varint_len(span.first);
            if size > room {
                break;
            }
            between += distance + varint_len(span.count());
            spans.push(span);
        }
        spans.reverse();
        spans
    }

    /// Notes that a frame with `items` is sent, and returns its number.
    pub(super) fn send(&mut self, items: Vec<Item>, now: Time) -> u64 {
        let number = self.next;
        self.next += 1;
        if items.is_empty() && self.sent.len() >= MAX_SENT {
            // Nothing is lost with the record of an old probe.
            let oldest = self.sent.iter().find(|(_, frame)| frame.items.is_empty()).map(|(&n, _)| n);
            oldest.and_then(|n| self.sent.remove(&n));
        }
        self.loaded += usize::from(!items.is_empty());
        self.sent.insert(number, SentFrame { at: now, items });
        self.arm(now);
        number
    }

    fn arm(&mut self, now: Time) {
        // A bad line is probed at a steady pace; one that has been silent for very long, ever less often.
        let doublings = self.probes.min(3) + self.probes.saturating_sub(EAGER_PROBES);
        let wait = self.rtt.timeout() << doublings.min(16);
        self.probe_at = (!self.sent.is_empty()).then(|| now + wait.min(self.max_probe_ms.max(1)));
    }

    /// Takes the peer's acknowledgements, the newest of them `delay_ms` old; returns what arrived, and then what
    /// was lost.
    pub(super) fn acknowledged(
        &mut self,
        spans: &[Span],
        delay_ms: u32,
        now: Time,
    ) -> (Vec<Item>, Vec<Item>) {
        let mut arrived = Vec::new();
        let mut newest: Option<(u64, Time)> = None;
        for span in spans {
            let numbers: Vec<u64> = self.sent.range(span.first..=span.last).map(|(&n, _)| n).collect();
            for number in numbers {
                if let Some(frame) = self.sent.remove(&number) {
                    newest = newest.max(Some((number, frame.at)));
                    self.loaded -= usize::from(!frame.items.is_empty());
                    arrived.extend(frame.items);
                }
            }
        }
        if let Some((number, at)) = newest {
            if number > self.largest_acked {
                self.largest_acked = number;
                // The delay is that of the newest frame that the peer received.
                if spans.last().is_some_and(|span| span.last == number) {
                    self.rtt.sample(now.since(at).saturating_sub(delay_ms.into()));
                }
            }
            self.probes = 0;
            self.arm(now);
        }
        (arrived, self.lost(now))
    }

    /// Frames older than an acknowledged one that had time enough to be acknowledged with it.
    fn lost(&mut self, now: Time) -> Vec<Item> {
        let patience = self.rtt.reorder();
        let numbers: Vec<u64> = self
            .sent
            .range(..self.largest_acked)
            .filter(|(_, frame)| now.since(frame.at) >= patience)
            .map(|(&n, _)| n)
            .collect();
        let mut items = Vec::new();
        for frame in numbers.iter().filter_map(|number| self.sent.remove(number)) {
            self.loaded -= usize::from(!frame.items.is_empty());
            items.extend(frame.items);
        }
        if self.loaded == 0 {
            // What became of mere probes does not matter.
            self.sent.clear();
            self.probe_at = None;
            self.pings_due = 0;
        }
        items
    }

    /// The link ends: everything of which nobody knows whether it arrived.
    pub(super) fn take_all(&mut self) -> Vec<Item> {
        self.loaded = 0;
        std::mem::take(&mut self.sent).into_values().flat_map(|frame| frame.items).collect()
    }

    /// When something is to be done at the latest.
    pub(super) fn timeout(&self) -> Option<Time> {
        let patience = self.rtt.reorder();
        let late = self.sent.range(..self.largest_acked).next().map(|(_, frame)| frame.at + patience);
        [late, self.probe_at].into_iter().flatten().min()
    }

    /// Does what is due by `now`; returns what was lost.
    pub(super) fn handle_timeout(&mut self, now: Time) -> Vec<Item> {
        let lost = self.lost(now);
        if self.probe_at.is_some_and(|at| at <= now) {
            self.probes += 1;
            self.pings_due = self.probes.min(MAX_PINGS);
            self.arm(now);
        }
        lost
    }
}

impl RoundTrip {
    /// Before anything is measured: a guess.
    pub(super) fn new(guess_ms: u64) -> Self {
        Self { smoothed: guess_ms.max(1), variation: guess_ms / 2, measured: false }
    }

    pub(super) fn measured_ms(&self) -> Option<u64> {
        self.measured.then_some(self.smoothed)
    }

    /// RFC 6298, section 2.
    pub(super) fn sample(&mut self, ms: u64) {
        let ms = ms.min(MAX_ROUND_TRIP_MS);
        if self.measured {
            let error = self.smoothed.abs_diff(ms);
            self.variation = (3 * self.variation + error).div_ceil(4);
            self.smoothed = (7 * self.smoothed + ms).div_ceil(8);
        } else {
            self.smoothed = ms.max(1);
            self.variation = ms / 2;
            self.measured = true;
        }
    }

    pub(super) fn timeout(&self) -> u64 {
        (self.smoothed + (4 * self.variation).max(10)).max(10)
    }

    /// How long a frame may lag behind a later one before it is lost (RFC 9002, section 6.1.2, with room for
    /// carriers that reorder more than the Internet does).
    fn reorder(&self) -> u64 {
        self.smoothed + self.smoothed / 4 + 2 * self.variation + 2
    }
}

/// Length of a number as a protobuf varint, in bytes.
fn varint_len(n: u64) -> usize {
    usize::try_from((64 - n.leading_zeros()).div_ceil(7)).unwrap_or(10).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(position: u64) -> Vec<Item> {
        vec![Item::Sent { group: GroupNum(1), position, frame: 1 }]
    }

    // spec: probe, frame-lost
    #[test]
    fn silence_is_probed_and_only_a_later_ack_proves_loss() {
        let mut link = Lossy::new(100, 2000);
        assert_eq!(link.send(item(1), Time(0)), 1);
        let probe = link.timeout().unwrap();
        assert!(link.handle_timeout(probe).is_empty(), "nothing is known to be lost");
        assert_eq!(link.pings_due, 1);
        assert_eq!(link.send(vec![], probe), 2);
        let (arrived, lost) = link.acknowledged(&[Span::one(2)], 0, probe + 100);
        assert!(arrived.is_empty());
        let lost = if lost.is_empty() { link.handle_timeout(link.timeout().unwrap()) } else { lost };
        assert_eq!(lost, item(1));
        assert_eq!(link.timeout(), None);
    }

    // spec: frame-repeated
    #[test]
    fn a_repeated_frame_is_known() {
        let mut link = Lossy::new(100, 2000);
        assert!(link.receive(3, Time(0)));
        assert!(!link.receive(3, Time(0)));
        assert!(link.receive(1, Time(0)));
        assert_eq!(link.acks(64), vec![Span::one(1), Span::one(3)]);
        assert_eq!(link.acks(3), vec![Span::one(3)]);
        assert!(link.receive(3 + RECEIVE_WINDOW, Time(0)));
        assert!(!link.receive(2, Time(0)), "too old to tell");
    }

    #[test]
    fn probes_come_again_until_an_answer() {
        let mut link = Lossy::new(10, 100);
        link.send(item(1), Time(0));
        for _ in 0..50 {
            let at = link.timeout().unwrap();
            link.handle_timeout(at);
            assert!(link.pings_due >= 1);
            assert!(link.timeout().unwrap().since(at) <= 100);
            link.send(vec![], at);
        }
    }
}
