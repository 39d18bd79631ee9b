//! The frames under way on a lossy link, by the time at which they are due.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::time::Instant;

use super::dice::Dice;
use super::{LossCounts, LossProfile, is_cut};
use crate::CloseReason;

pub(super) struct Queue {
    profile: LossProfile,
    dice: Dice,
    /// The number makes keys unique, and keeps what is due at the same time in order. With each frame, which turn of
    /// being cut and healed it was sent in.
    frames: BTreeMap<(Instant, u64), (u64, Bytes)>,
    next_number: u64,
    /// When the frames sent so far have passed the bottleneck.
    free_at: Option<Instant>,
    /// When the last frame that is not held back is due; none after it comes earlier.
    last_due: Option<Instant>,
    /// No more frames will come; the reason if the link was closed in order.
    finished: Option<Option<CloseReason>>,
}

impl Queue {
    pub(super) fn new(profile: LossProfile, seed: u64) -> Self {
        Self {
            profile,
            dice: Dice::new(seed),
            frames: BTreeMap::new(),
            next_number: 0,
            free_at: None,
            last_due: None,
            finished: None,
        }
    }

    pub(super) fn push(&mut self, frame: Bytes, now: Instant, turns: u64, counts: &mut LossCounts) {
        let fate = self.dice.cast(&self.profile);
        counts.frames_sent += 1;
        counts.bytes_sent += u64::try_from(frame.len()).unwrap_or(u64::MAX);
        if is_cut(turns) {
            counts.cut_off += 1;
            return;
        }
        if self.is_full() {
            counts.overflowed += 1;
            return;
        }
        // What is lost on the way has taken its time at the bottleneck all the same.
        let through = self.pass(frame.len(), now);
        if fate.lost {
            counts.lost += 1;
            return;
        }
        let frame = match fate.flip {
            Some(bit) if !frame.is_empty() => {
                counts.corrupted += 1;
                flip(&frame, bit)
            }
            _ => frame,
        };
        let mut due = through + Duration::from_millis(fate.delay_ms);
        if fate.held {
            counts.reordered += 1;
            due += Duration::from_millis(self.profile.reorder_ms);
        } else {
            due = self.last_due.map_or(due, |last| last.max(due));
            self.last_due = Some(due);
        }
        if let Some(copy_ms) = fate.copy_ms {
            counts.duplicated += 1;
            self.insert(due.max(through + Duration::from_millis(copy_ms)), turns, frame.clone());
        }
        self.insert(due, turns, frame);
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.frames.first_key_value().map(|((due, _), _)| *due)
    }

    /// The next frame, and the turn that it was sent in.
    pub(super) fn pop(&mut self) -> Option<(u64, Bytes)> {
        self.frames.pop_first().map(|(_, frame)| frame)
    }

    /// Says that no more frames will come. The first word counts.
    pub(super) fn finish(&mut self, reason: Option<CloseReason>) {
        self.finished.get_or_insert(reason);
    }

    pub(super) const fn finished(&self) -> Option<Option<CloseReason>> {
        self.finished
    }

    fn is_full(&self) -> bool {
        self.frames.len() >= self.profile.queue_frames.max(1)
    }

    fn insert(&mut self, due: Instant, turns: u64, frame: Bytes) {
        self.frames.insert((due, self.next_number), (turns, frame));
        self.next_number += 1;
    }

    /// When a frame of this length that comes now has passed the bottleneck.
    fn pass(&mut self, len: usize, now: Instant) -> Instant {
        let Some(rate) = self.profile.bytes_per_second else { return now };
        let nanos =
            u128::try_from(len).unwrap_or(u128::MAX).saturating_mul(1_000_000_000) / u128::from(rate.max(1));
        let start = self.free_at.map_or(now, |free_at| free_at.max(now));
        let through = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX / 4));
        self.free_at = Some(through);
        through
    }
}

fn flip(frame: &Bytes, bit: u64) -> Bytes {
    let mut altered = BytesMut::from(&frame[..]);
    let bits = u64::try_from(altered.len()).unwrap_or(u64::MAX).saturating_mul(8).max(1);
    let bit = bit % bits;
    if let Some(byte) = usize::try_from(bit / 8).ok().and_then(|at| altered.get_mut(at)) {
        *byte ^= 1 << (bit % 8);
    }
    altered.freeze()
}
