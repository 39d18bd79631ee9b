//! Some seeds, and that the checks find what is broken on purpose.

use super::{Failed, Outcome, Sabotage, Setup, explain, run_seed};

/// A seed with few steps: what is optimised little is slow.
fn short(seed: u64) -> Setup {
    Setup { seed, steps: Some(30), ..Setup::default() }
}

fn assert_passed(outcome: &Outcome) {
    if let Some(failed) = &outcome.failed {
        panic!("{}", explain(short(outcome.seed), failed, "test"));
    }
}

#[test]
fn a_few_dozen_seeds_pass() {
    (1_000..1_024).for_each(|seed| assert_passed(&run_seed(short(seed))));
}

#[test]
fn a_seed_runs_the_same_twice() {
    for seed in 0..6 {
        let setup = Setup { digest: true, ..short(seed) };
        let mut once = run_seed(setup);
        assert!(once.digest.is_some());
        once.compare(&run_seed(setup));
        assert_passed(&once);
        let other = run_seed(Setup { seed: seed + 1_000, ..setup });
        once.compare(&other);
        assert!(once.failed.is_some(), "other runs have another digest");
    }
}

/// The first failure of a broken store among some seeds, with the text that is shown of it.
fn first_failure(sabotage: Sabotage) -> (u64, Failed, String) {
    let failed = (0..200).find_map(|seed| {
        let setup = Setup { sabotage: Some(sabotage), ..short(seed) };
        Some((setup, run_seed(setup).failed?))
    });
    let (setup, failed) = failed.expect("a seed that fails");
    assert!(run_seed(short(setup.seed)).failed.is_none(), "it fails for no other reason");
    let text = explain(setup, &failed, "a build");
    (setup.seed, failed, text)
}

fn assert_tells(seed: u64, text: &str) {
    for part in [
        &format!("seed {seed}, build a build, with Options {{"),
        &format!("seed {seed} breaks a rule"),
        "steps are enough, and no fewer are",
        &format!("--bin swarm -- --from {seed} --seeds 1 --steps"),
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
}

#[test]
fn a_repeated_delivery_is_found() {
    let (seed, failed, text) = first_failure(Sabotage::RepeatsDelivery);
    assert_eq!(failed.rule, "nothing is delivered twice");
    assert_tells(seed, &text);
}

#[test]
fn a_forgotten_commit_is_found() {
    let (seed, failed, text) = first_failure(Sabotage::ForgetsCommits);
    let rules = ["a crash loses nothing that was told", "what is acknowledged is held"];
    assert!(rules.contains(&failed.rule), "{failed:?}");
    assert_tells(seed, &text);
}

#[test]
fn forgotten_dependencies_are_found() {
    let (seed, failed, text) = first_failure(Sabotage::ForgetsDependencies);
    let rules = ["stores are sound", "parents come first", "an id names its contents", "no engine fails"];
    assert!(rules.contains(&failed.rule), "{failed:?}");
    assert_tells(seed, &text);
}
