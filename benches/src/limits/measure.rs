//! Time, and medians of runs that take turns.

use std::time::Instant;

use cpu_time::ThreadTime;

use crate::Failure;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    /// All within two minutes.
    pub(crate) quick: bool,
}

impl Scale {
    /// One or the other.
    pub(crate) const fn pick<T: Copy>(self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }

    /// How often what takes part of a second is done.
    pub(crate) const fn times(self) -> usize {
        self.pick(5, 9)
    }
}

/// What `work` gave, and the CPU time of this thread that it took, in s.
pub(crate) fn cpu<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, f64), Failure> {
    let start = ThreadTime::try_now()?;
    let value = work()?;
    Ok((value, start.try_elapsed()?.as_secs_f64()))
}

/// What `work` gave, and how long it took by the clock, in s.
pub(crate) fn wall<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(T, f64), Failure> {
    let start = Instant::now();
    let value = work()?;
    Ok((value, start.elapsed().as_secs_f64()))
}

/// Medians of what the anchor and ours gave, after they took turns `times` times.
pub(crate) fn alternate(
    times: usize,
    mut anchor: impl FnMut() -> Result<f64, Failure>,
    mut ours: impl FnMut() -> Result<f64, Failure>,
) -> Result<(f64, f64), Failure> {
    let (mut theirs, mut own) = (Vec::with_capacity(times), Vec::with_capacity(times));
    for _ in 0..times.max(1) {
        theirs.push(anchor()?);
        own.push(ours()?);
    }
    Ok((median(theirs), median(own)))
}

/// The middle one, the lower of two; not a number if there is none.
pub(crate) fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// For counts, which are far below 2^53.
#[allow(clippy::cast_precision_loss)]
pub(crate) const fn to_f64(n: u64) -> f64 {
    n as f64
}

/// The same of a size.
#[allow(clippy::cast_precision_loss)]
pub(crate) const fn size_f64(n: usize) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_does_not_mind_one_bad_run() {
        assert_eq!(median(vec![3.0, 1.0, 100.0]), 3.0);
        assert_eq!(median(vec![2.0, 1.0]), 1.0);
        assert!(median(vec![]).is_nan());
    }

    #[test]
    fn they_take_turns() -> Result<(), Failure> {
        let order = std::cell::RefCell::new(String::new());
        let turn = |who, value| {
            order.borrow_mut().push(who);
            Ok(value)
        };
        assert_eq!(alternate(3, || turn('a', 1.0), || turn('o', 2.0))?, (1.0, 2.0));
        assert_eq!(order.into_inner(), "aoaoao");
        Ok(())
    }
}
