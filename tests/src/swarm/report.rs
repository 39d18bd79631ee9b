//! A failure as text: what to know to understand it, and how to have it again.

use std::fmt::Write as _;

use super::run::{DIFFERS, Failed, Setup, options_of, smallest_prefix};

/// The seed, its options, the fewest steps that lead to the failure, what happened last, the rule that was broken and
/// the command that repeats it. Runs the seed again, with ever more steps.
#[must_use]
pub fn explain(setup: Setup, failed: &Failed, build: &str) -> String {
    let seed = setup.seed;
    let mut text = format!("seed {seed}, build {build}, with {:#?}\n", options_of(seed));
    let differs = failed.rule == DIFFERS;
    let smallest = if differs { None } else { smallest_prefix(setup, failed) };
    let failed = smallest.as_ref().map_or(failed, |(_, failed)| failed);
    for line in &failed.trace {
        let _ = writeln!(text, "{line}");
    }
    let place = match failed.step {
        Some(step) => format!("in step {step}"),
        None => "after healing".to_owned(),
    };
    let _ = writeln!(text, "seed {seed} breaks a rule {place}: {}: {}", failed.rule, failed.text);
    let mut again = format!("cargo run --release -p hedgerow-tests --bin swarm -- --from {seed} --seeds 1");
    match smallest {
        Some((steps, _)) => {
            let _ = writeln!(text, "the first {steps} steps are enough, and no fewer are");
            let _ = write!(again, " --steps {steps}");
        }
        None if differs => again.push_str(" --doublecheck"),
        None => text.push_str("it does not fail again: something in it does not follow from the seed\n"),
    }
    let _ = writeln!(text, "again: {again} --verbose");
    text
}
