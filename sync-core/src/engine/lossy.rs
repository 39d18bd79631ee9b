//! Frame numbers, acknowledgement and loss on links that lose frames.
//!
//! The manner is QUIC's (RFC 9002): frames are numbered and never repeated, what was in a lost frame is due again
//! and goes into a new one. Round trips are estimated as in RFC 6298. One thing is stricter: silence is no proof
//! of loss. When acknowledgements stay out, small probes ask for them, and only a frame that is still
//! unacknowledged when a later one is acknowledged counts as lost. So a body crosses 1/(1-p) times at a loss of p,
//! however many acknowledgements are lost too.
//!
//! The more is lost, the more often what is small is said: acknowledgements, probes, and what opens the session. Where
//! most frames are lost even that leaves a line silent for most of the time. There, and only while little is
//! under way, a body is repeated in silence, a little more often than answers can come: 1.21/(1-p) times at p = 0.9, on average.

mod item;
mod round_trip;

use std::collections::BTreeMap;

use hedgerow_proto::Span;

pub(super) use self::item::Item;
pub(super) use self::round_trip::RoundTrip;
use crate::spanset::SpanSet;
use crate::store::GroupNum;
use crate::time::Time;

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
    /// So many frames with acknowledgements are to be sent.
    pub(super) acks_due: u32,
    /// Not before then acknowledgements are said several times again: what answers them is answered too.
    copies_at: Time,
    /// No later frame says again what an earlier one says.
    copies_until: u64,
    /// How much of what we send is lost, in thousandths, as the peer's acknowledgements show.
    loss_there: Option<u64>,
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
/// Most probes at once, unless more are needed for one of them to arrive.
const MAX_PINGS: u32 = 4;
/// Most probes at once before anything was heard, and for how many turns.
const MAX_PINGS_DEAF: u32 = 16;
const DEAF_TURNS: u32 = 8;
/// For so many turns without an answer a line that loses much is probed as often as answers could come.
const LOSSY_TURNS: u32 = 40;
/// The loss, in thousandths, from which on what is small is said several times; from which on silence is more likely
/// than an answer, so that bodies are repeated in silence; and from which on hardly anything arrives.
const LOSSY: u64 = 250;
const BAD: u64 = 700;
const WORST: u64 = 780;
/// The loss is estimated over so many frames, and if fewer were sent, as if the others had arrived, up to so many.
const LOSS_WINDOW: u64 = 32;
const LEAST_WINDOW: u64 = 16;
/// Bodies are repeated in silence while no more frames with bodies are under way.
const FEW_BODIES: usize = 2;
/// So many different things are said again with one probe.
const MAX_AGAIN: usize = 8;
/// How many probes in vain a line may need, as one does that loses nine frames of ten.
const EAGER_PROBES: u32 = 200;
impl Lossy {
    pub(super) fn new(round_trip_ms: u64, max_probe_ms: u64) -> Self {
        Self {
            next: 1,
            sent: BTreeMap::new(),
            loaded: 0,
            largest_acked: 0,
            received: SpanSet::new(),
            newest_at: Time(0),
            acks_due: 0,
            copies_at: Time(0),
            copies_until: 0,
            loss_there: None,
            pings_due: 0,
            rtt: RoundTrip::new(round_trip_ms),
            probes: 0,
            probe_at: None,
            max_probe_ms,
            armed: None,
        }
    }

    /// The highest number of a frame that came.
    pub(super) fn newest_received(&self) -> u64 {
        self.received.max()
    }

    /// The measured round trip in ms.
    pub(super) fn round_trip_ms(&self) -> Option<u64> {
        self.rtt.measured_ms()
    }

    /// The log of which we acknowledged positions is none any more: they are not said again.
    pub(super) fn forget_positions(&mut self, group: GroupNum) {
        for item in self.sent.values_mut().flat_map(|frame| &mut frame.items) {
            if let Item::Ack { group: of, held, known, .. } = item
                && *of == group
            {
                held.clear();
                known.clear();
            }
        }
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
            self.acks_due = self.acks_due.max(1);
            return false;
        }
        if let Some(old) = newest.checked_sub(RECEIVE_WINDOW)
            && old > 0
        {
            // One span for all that is too old to come again keeps the set small.
            self.received.insert_span(Span { first: 1, last: old });
        }
        let mut copies = 1;
        if now >= self.copies_at {
            copies = self.copies();
            self.copies_at = now + (self.rtt.smoothed / 2).max(1);
        }
        self.acks_due = self.acks_due.max(copies);
        true
    }

    /// The loss in thousandths; 0 before anything was heard. Of what we send if that is known, else of what we get.
    fn loss(&self) -> u64 {
        self.loss_there.unwrap_or_else(|| loss_of(self.received.spans().rev(), self.received.max()))
    }

    /// How often something small is said, so that it is likely to arrive.
    fn copies(&self) -> u32 {
        match self.loss() {
            WORST.. => 16,
            650.. => 6,
            400.. => 3,
            LOSSY.. => 2,
            _ => 1,
        }
    }

    /// Whether the line loses much, and an answer can still be hoped for.
    fn is_lossy(&self) -> bool {
        self.probes <= LOSSY_TURNS && self.loss() >= LOSSY
    }

    /// Whether the line loses most, and an answer can still be hoped for.
    fn is_bad(&self) -> bool {
        self.probes <= LOSSY_TURNS && self.loss() >= BAD
    }

    /// Whether nothing was heard yet, and something can be hoped for still.
    fn is_deaf(&self) -> bool {
        self.probes <= DEAF_TURNS && self.received.is_empty()
    }

    /// Whether the next frame says again what is small.
    pub(super) fn says_again(&self) -> bool {
        self.pings_due > 0 || self.acks_due > 1
    }

    /// What the next frame says again: unacknowledged things that are small, newest first.
    pub(super) fn again(&mut self) -> Vec<Item> {
        let mut again: Vec<Item> = Vec::new();
        if self.says_again() {
            let frames = self.sent.values().rev().filter(|frame| !frame.items.is_empty()).take(MAX_AGAIN);
            for item in frames.flat_map(|frame| &frame.items).filter(|item| item.can_be_copied()) {
                if again.len() < MAX_AGAIN && !again.iter().any(|other| other.says_the_same(item)) {
                    again.push(item.again());
                }
            }
            self.copies_until = self.next;
        }
        again
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
        let wait = if self.is_bad() && self.rtt.measured {
            // Where hardly anything arrives, the next attempt goes before the last one can have been answered.
            let smoothed = self.rtt.smoothed;
            if self.loss() >= WORST { smoothed * 3 / 4 } else { smoothed + smoothed / 4 }.max(10)
        } else if self.is_lossy() || self.is_deaf() {
            self.rtt.timeout() << u32::from(!self.rtt.measured && self.probes > 0)
        } else {
            // A line is probed at a steady pace; one that has been silent for very long, ever less often.
            let doublings = self.probes.min(3) + self.probes.saturating_sub(EAGER_PROBES);
            self.rtt.timeout() << doublings.min(16)
        };
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
        if let Some(span) = spans.last().filter(|span| newest.is_some() && span.last >= LEAST_WINDOW / 2) {
            self.loss_there = Some(loss_of(spans.iter().rev().copied(), span.last));
        }
        self.forget_copies(&arrived);
        (arrived, self.lost(now))
    }

    /// What has arrived in one frame need not arrive in another.
    fn forget_copies(&mut self, arrived: &[Item]) {
        for item in arrived.iter().filter(|item| item.can_be_copied()) {
            let frames = self.sent.range_mut(..=self.copies_until).map(|(_, frame)| frame);
            for frame in frames.filter(|frame| !frame.items.is_empty()) {
                frame.items.retain(|other| !other.says_the_same(item));
                self.loaded -= usize::from(frame.items.is_empty());
            }
        }
    }

    /// Takes what is left of a frame out of the list; what a later one says too is not lost with it.
    fn lose(&mut self, number: u64) -> Vec<Item> {
        let Some(frame) = self.sent.remove(&number) else { return Vec::new() };
        self.loaded -= usize::from(!frame.items.is_empty());
        let said_later = |item: &Item| {
            let last = self.copies_until.max(number);
            let mut later = self.sent.range(number..=last).flat_map(|(_, frame)| &frame.items);
            item.can_be_copied() && later.any(|other| other.says_the_same(item))
        };
        frame.items.into_iter().filter(|item| !said_later(item)).collect()
    }

    /// In the silence of a bad line: the bodies of the oldest frame that has any, if few have, to be sent again.
    fn bodies_again(&mut self) -> Vec<Item> {
        let with_bodies = |frame: &SentFrame| frame.items.iter().any(Item::is_sent);
        if self.sent.values().filter(|frame| with_bodies(frame)).nth(FEW_BODIES).is_some() {
            return Vec::new();
        }
        let Some(frame) = self.sent.values_mut().find(|frame| with_bodies(frame)) else { return Vec::new() };
        let bodies: Vec<Item> = frame.items.extract_if(.., |item| item.is_sent()).collect();
        self.loaded -= usize::from(frame.items.is_empty());
        bodies
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
        let items: Vec<Item> = numbers.into_iter().flat_map(|number| self.lose(number)).collect();
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
        let mut lost = self.lost(now);
        if self.probe_at.is_some_and(|at| at <= now) {
            self.probes += 1;
            self.pings_due = self.probes.min(MAX_PINGS);
            if self.is_deaf() {
                self.pings_due = (1 << (self.probes - 1).min(16)).min(MAX_PINGS_DEAF);
            } else if self.is_lossy() {
                self.pings_due = self.pings_due.max(self.copies());
            }
            if self.is_bad() {
                let bodies = self.bodies_again();
                // They ask for an answer too.
                self.pings_due = if bodies.is_empty() { self.pings_due } else { MAX_PINGS };
                lost.extend(bodies);
            }
            self.arm(now);
        }
        lost
    }
}

/// The share of the newest frames up to `newest` that spans do not have, in thousandths. A few frames do not say much:
/// it is as if others had arrived besides.
fn loss_of(newest_first: impl IntoIterator<Item = Span>, newest: u64) -> u64 {
    let window = newest.min(LOSS_WINDOW);
    let first = newest - window + 1;
    let had = newest_first.into_iter().take_while(|span| span.last >= first);
    let had: u64 = had.map(|span| span.last - span.first.max(first) + 1).sum();
    window.saturating_sub(had) * 1_000 / window.max(LEAST_WINDOW)
}

/// Length of a number as a protobuf varint, in bytes.
fn varint_len(n: u64) -> usize {
    usize::try_from((64 - n.leading_zeros()).div_ceil(7)).unwrap_or(10).max(1)
}

#[cfg(test)]
mod tests;
