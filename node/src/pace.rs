//! How long the engine's thread waits for more input before it commits: group commit.
//!
//! Whatever waits when a transaction begins goes into it, so that what comes in while a commit runs shares the next
//! one. That alone makes every other batch a small one: those who were answered by a commit come back one after the
//! other, and the first of them would be committed alone while the rest wait for its commit. So, when several callers
//! shared the last commit, or came while it ran, a part of the time that it took is spent waiting until as many are
//! there. Who is alone never waits.

use std::time::Duration;

/// Of the last commit's duration, how much is waited at most: one part in this many.
const SHARE: u32 = 4;
/// What is shorter is not waited: timers are no finer.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest wait, however long commits take.
const LONGEST: Duration = Duration::from_millis(10);

/// What the last commits were like.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// How long the last commit took.
    took: Duration,
    /// How many callers may come together for the next one.
    expected: usize,
}

impl Pace {
    /// A commit of so many calls took so long (one that had nothing to write takes no time), and so many others came
    /// meanwhile. Nobody was answered yet.
    pub(crate) fn committed(&mut self, calls: usize, others: usize, took: Duration) {
        (self.took, self.expected) = (took, calls.saturating_add(others));
        if calls == 0 {
            // Nobody comes back.
            self.expected = others;
        }
    }

    /// How long to wait for more, with so many calls at hand.
    pub(crate) fn patience(&self, calls: usize) -> Duration {
        if self.expected < 2 || calls == 0 || calls >= self.expected {
            return Duration::ZERO;
        }
        let patience = (self.took / SHARE).min(LONGEST);
        if patience < SHORTEST { Duration::ZERO } else { patience }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In virtual time: `writers` that each write again `rest` after their answer, as often as `each`; a commit takes
    /// `commit`. How many commits there were, and the longest that one writer waited for its answer.
    fn run(writers: usize, each: usize, rest: Duration, commit: Duration) -> (usize, Duration) {
        let mut pace = Pace::default();
        // When each writer's next input comes, and how many it has left.
        let mut next: Vec<(Duration, usize)> =
            (0_u32..).take(writers).map(|n| (rest / u32::try_from(writers).unwrap() * n, each)).collect();
        let (mut now, mut commits, mut longest) = (Duration::ZERO, 0, Duration::ZERO);
        loop {
            let open = next.iter().filter(|(_, left)| *left > 0);
            let Some(first) = open.map(|(at, _)| *at).min() else { return (commits, longest) };
            now = now.max(first);
            let there = |now, next: &[(Duration, usize)]| {
                next.iter().filter(|(at, left)| *left > 0 && *at <= now).count()
            };
            // As the driver does it: wait until there are as many as last time, or the time is over.
            let until = now + pace.patience(there(now, &next));
            while now < until && !pace.patience(there(now, &next)).is_zero() {
                let coming = next.iter().filter(|(at, left)| *left > 0 && *at > now).map(|(at, _)| *at).min();
                now = coming.map_or(until, |at| at.min(until));
            }
            let inputs = there(now, &next);
            commits += 1;
            let answered = now + commit;
            for (at, left) in next.iter_mut().filter(|(at, left)| *left > 0 && *at <= now) {
                longest = longest.max(answered - *at);
                *left -= 1;
                *at = answered + rest;
            }
            let others = there(answered, &next);
            pace.committed(inputs, others, commit);
            now = answered;
        }
    }

    const COMMIT: Duration = Duration::from_millis(8);
    const REST: Duration = Duration::from_micros(200);

    #[test]
    fn many_small_writers_share_their_commits() {
        for writers in [2, 8, 64, 256] {
            let (commits, _) = run(writers, 100, REST, COMMIT);
            // One for each round of all of them, and a few until they are in step.
            assert!(commits <= 110, "{writers} writers: {commits} commits for {} inputs", writers * 100);
        }
    }

    #[test]
    fn a_single_writer_never_waits() {
        let (commits, longest) = run(1, 100, REST, COMMIT);
        assert_eq!((commits, longest), (100, COMMIT));
        // Nor one after a time in which there were many.
        let mut pace = Pace::default();
        pace.committed(60, 4, COMMIT);
        assert_eq!(pace.patience(1), COMMIT / SHARE);
        pace.committed(1, 0, COMMIT);
        assert_eq!(pace.patience(1), Duration::ZERO);
    }

    #[test]
    fn nobody_waits_longer_than_a_part_of_a_commit() {
        for rest in [REST, COMMIT / 2, COMMIT * 3] {
            let (_, longest) = run(16, 50, rest, COMMIT);
            assert!(longest <= COMMIT * 2 + COMMIT / SHARE, "{longest:?}");
        }
        let mut pace = Pace::default();
        pace.committed(9, 0, Duration::from_secs(3));
        assert_eq!(pace.patience(8), LONGEST);
        pace.committed(9, 0, SHORTEST * SHARE - Duration::from_nanos(4));
        assert_eq!(pace.patience(8), Duration::ZERO);
        pace.committed(9, 0, Duration::from_secs(3));
        assert_eq!((pace.patience(0), pace.patience(9)), (Duration::ZERO, Duration::ZERO));
    }
}
