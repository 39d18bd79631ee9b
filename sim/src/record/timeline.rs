//! Samples at even intervals of a run whose length nobody knows beforehand: when there are too many, the interval is
//! doubled. Of each interval the last sample is kept: what came to be early in it may stand for long after.

use super::Sample;

/// At most so many samples are kept.
const MAX_SAMPLES: usize = 512;

#[derive(Debug)]
pub(super) struct Timeline {
    step_us: u64,
    next_us: u64,
    samples: Vec<Sample>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { step_us: 1_000, next_us: 0, samples: Vec::new() }
    }
}

impl Timeline {
    /// Whether a sample is due before what happens at `now`.
    pub(super) fn is_due(&self, now: u64) -> bool {
        now >= self.next_us
    }

    /// Takes a sample of how everything stood until `now`.
    pub(super) fn take(&mut self, now: u64, sample: Sample) {
        // Nothing changed since the event before, so the latest of the times that are due will do.
        let at_us = now - now % self.step_us;
        self.samples.push(Sample { at_us, ..sample });
        self.next_us = at_us + self.step_us;
        if self.samples.len() > MAX_SAMPLES {
            self.step_us *= 2;
            let step = self.step_us;
            self.samples.iter_mut().for_each(|sample| sample.at_us -= sample.at_us % step);
            self.samples.dedup_by(|later, kept| {
                let same = later.at_us == kept.at_us;
                if same {
                    *kept = *later;
                }
                same
            });
            self.next_us = self.next_us.next_multiple_of(step);
        }
    }

    /// The samples, and one for the end.
    pub(super) fn finish(&mut self, now: u64, sample: Sample) -> Vec<Sample> {
        let mut samples = std::mem::take(&mut self.samples);
        samples.retain(|sample| sample.at_us < now);
        samples.push(Sample { at_us: now, ..sample });
        samples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_run_has_no_more_samples_than_a_short_one() {
        let mut timeline = Timeline::default();
        let mut now = 0;
        for n in 0..100_000_u64 {
            now += n % 977 * 300;
            if timeline.is_due(now) {
                timeline.take(now, Sample::default());
            }
        }
        let samples = timeline.finish(now, Sample::default());
        assert!((100..=MAX_SAMPLES + 1).contains(&samples.len()), "{}", samples.len());
        assert!(samples.windows(2).all(|pair| pair[0].at_us < pair[1].at_us));
        assert_eq!(samples.last().unwrap().at_us, now);
    }

    #[test]
    fn what_came_to_be_at_once_is_not_forgotten() {
        let mut timeline = Timeline::default();
        let sample = |nodes_on| Sample { nodes_on, ..Sample::default() };
        timeline.take(0, sample(0));
        timeline.take(5_000, sample(7));
        for n in 0..2_000_u64 {
            let now = 300_000_000 + n * 1_000_000;
            if timeline.is_due(now) {
                timeline.take(now, sample(7));
            }
        }
        let samples = timeline.finish(3_000_000_000, sample(7));
        assert_eq!((samples[0].at_us, samples[0].nodes_on), (0, 7));
        assert!(samples.windows(2).all(|pair| pair[0].at_us < pair[1].at_us));
    }
}
