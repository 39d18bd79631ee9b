//! Many runs at once, with results in a fixed order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

/// Does `count` pieces of work on `jobs` threads (at least one), and hands their results to `take` in the order of
/// their numbers, on the calling thread. Goes on until `take` says `false` or all is done; no piece begins after that.
///
/// What is done does not depend on the number of threads as long as `work` depends on its number alone.
pub fn in_order<R: Send>(
    jobs: usize,
    count: usize,
    work: impl Fn(usize) -> R + Sync,
    mut take: impl FnMut(usize, R) -> bool,
) {
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, count.max(1)) {
            let (sender, next, stop, work) = (sender.clone(), &next, &stop, &work);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count || stop.load(Ordering::Relaxed) {
                        return;
                    }
                    if sender.send((number, work(number))).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut early = BTreeMap::new();
        let mut due = 0;
        for (number, result) in receiver {
            early.insert(number, result);
            while let Some(result) = early.remove(&due) {
                if !take(due, result) {
                    stop.store(true, Ordering::Relaxed);
                    return;
                }
                due += 1;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_whatever_the_number_of_threads() {
        for jobs in [0, 1, 2, 7] {
            let mut seen = Vec::new();
            let slow_first = |number: usize| {
                // The first pieces take longest.
                (0..(20 - number) * 1_000)
                    .fold(number as u64, |sum, n| sum.wrapping_mul(31).wrapping_add(n as u64));
                number * number
            };
            in_order(jobs, 20, slow_first, |number, result| {
                seen.push((number, result));
                true
            });
            let expected: Vec<_> = (0..20).map(|n| (n, n * n)).collect();
            assert_eq!(seen, expected, "{jobs} jobs");
        }
    }

    #[test]
    fn it_stops_when_it_is_told() {
        let mut seen = 0;
        in_order(
            3,
            1_000_000,
            |number| number,
            |number, _| {
                seen += 1;
                number < 4
            },
        );
        assert_eq!(seen, 5);
        in_order(3, 0, |_| panic!("there is nothing to do"), |_, ()| true);
    }
}
