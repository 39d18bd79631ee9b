//! Crash points of the store, some hundred of the many that the program `crashpoints` tries.

use hedgerow_tests::crash::{Medium, Mode, Point, Script, disturbed, operations, points};

/// Every so many of the points of a script.
const STRIDE: usize = 23;

#[test]
fn crash_points_lose_nothing_and_repeat_nothing() {
    let mut tried = 0;
    for number in 0..3 {
        let script = Script::new(number);
        let ops = operations(&script).unwrap_or_else(|failure| panic!("script {number}: {failure:?}"));
        for point in points(number, &ops).skip(usize::try_from(number).unwrap()).step_by(STRIDE) {
            if let Err(failure) = disturbed(&script, point, Medium::Honest) {
                panic!("{failure:?}; crashpoints --point {point}");
            }
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried} points");
}

/// The harness must see what a store does that does not sync: on a disk whose syncs do nothing, it must fail.
#[test]
fn crash_points_find_a_disk_that_lies_about_syncs() {
    let script = Script::new(0);
    let ops = operations(&script).unwrap();
    let last = u64::try_from(ops.len()).unwrap();
    let found = (last / 2..last)
        .map(|at| Point { script: 0, at, mode: Mode::Power })
        .filter(|point| point.mode.meets(ops[usize::try_from(point.at).unwrap()]))
        .take(20)
        .filter_map(|point| disturbed(&script, point, Medium::Lying).err())
        .count();
    assert!(found > 0, "nothing was noticed of a disk that never syncs");
}
