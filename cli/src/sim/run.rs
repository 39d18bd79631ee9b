//! `sim run`.

use std::sync::atomic::{AtomicBool, Ordering};

use hedgerow_sim::output::{Batch, Writer, detail_for, figures, options, verdicts};
use hedgerow_sim::record::Ended;
use hedgerow_sim::{Detail, RunError, Summary, doublecheck, parallel, run_with};
use serde::Serialize;
use serde_json::json;

use super::args::RunArgs;
use super::{Loaded, bar, jobs, origin, read, seeds_text, width};
use crate::error::CliError;
use crate::output::Output;

/// The line of a run with `--json`.
#[derive(Serialize)]
struct RunLine<'a> {
    event: &'static str,
    #[serde(flatten)]
    summary: &'a Summary,
}

/// What a worker hands over.
struct Done {
    summary: Summary,
    rows: Vec<String>,
    run: Option<hedgerow_sim::Run>,
}

pub(super) fn run(args: &RunArgs, output: Output, stop: &AtomicBool) -> Result<(), CliError> {
    let loaded = read(&args.scenario)?;
    let Loaded { scenario, settings, folder } = &loaded;
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    let all = options(scenario);
    let (first, count) = (args.seed, args.seeds);
    if first.checked_add(count - 1).is_none() {
        return Err(CliError::Usage(format!("--seed {first} --seeds {count}: there are no such seeds")));
    }
    let build = env!("CARGO_PKG_VERSION");
    let begin = json!({
        "event": "begin", "scenario": scenario.name, "first_seed": first, "seeds": count, "build": build,
        "settings": settings, "options": all, "doublecheck": args.doublecheck,
    });
    output.item(&begin, |_| {
        let origin = origin(&seeds_text(first, count), build, &all);
        format!("scenario {}: {}\n{origin}\n", scenario.name, scenario.question)
    })?;
    let mut writer = args.out.as_deref().map(|out| Writer::new(out, args.deliveries)).transpose()?;

    // One run shows how far it is, several how many are done.
    let one = count == 1;
    let template = match one {
        true => "{elapsed} [{bar:30}] {percent} % of the time at most, {eta} left",
        false => "{elapsed} [{bar:30}] {pos}/{len} runs, {eta} left",
    };
    let bar = bar(output, if one { 1_000 } else { count }, template);
    let seed_of = |number: usize| first + number as u64;
    let writes = writer.is_some();
    let work = |number: usize| -> Result<Done, RunError> {
        let detail = if writes && number == 0 { detail_for(scenario) } else { Detail::Sums };
        let watch = |part: f64| {
            if one {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of 1")]
                bar.set_position((part.clamp(0.0, 1.0) * 1_000.0) as u64);
            }
            !stop.load(Ordering::Relaxed)
        };
        let seed = seed_of(number);
        let run = match args.doublecheck {
            true => doublecheck(scenario, seed, folder, detail, watch)?,
            false => run_with(scenario, seed, folder, detail, watch)?,
        };
        let rows = if writes { Writer::rows(&run, args.deliveries) } else { Vec::new() };
        let summary = run.summary.clone();
        Ok(Done { summary, rows, run: (writes && number == 0).then_some(run) })
    };
    let mut runs: Vec<Summary> = Vec::new();
    let mut failure: Option<CliError> = None;
    let size = usize::try_from(count).unwrap_or(usize::MAX);
    parallel::in_order(jobs(args.jobs), size, work, |_, done| {
        let taken = done.map_err(CliError::from).and_then(|done| {
            // Of several runs, one that was stopped in the middle does not count.
            if done.summary.ended == Ended::Interrupted && count > 1 {
                return Ok(());
            }
            if let Some(writer) = &mut writer {
                writer.add(&done.rows, done.run)?;
            }
            if output.is_json() {
                output.json(&RunLine { event: "run", summary: &done.summary })?;
            }
            runs.push(done.summary);
            if !one {
                bar.inc(1);
            }
            Ok(())
        });
        if let Err(error) = taken {
            failure = Some(error);
        }
        failure.is_none() && !stop.load(Ordering::Relaxed)
    });
    bar.finish_and_clear();
    if let Some(error) = failure {
        return Err(error);
    }
    let batch = Batch::of(scenario, &settings, first, count, runs);
    if let Some(writer) = writer {
        writer.finish(&batch)?;
    }
    end(args, &batch, output)
}

fn end(args: &RunArgs, batch: &Batch, output: Output) -> Result<(), CliError> {
    let done = batch.runs.len() as u64;
    let interrupted = done < batch.seeds || batch.runs.iter().any(|run| run.ended == Ended::Interrupted);
    let line = json!({
        "event": "end", "scenario": batch.scenario, "first_seed": batch.first_seed, "seeds": batch.seeds,
        "build": batch.build, "settings": batch.settings, "options": batch.options, "runs": done,
        "interrupted": interrupted, "passed": batch.passed, "checks": batch.checks, "totals": batch.totals,
        "pooled": batch.pooled, "out": args.out,
    });
    output.item(&line, |_| {
        let width = width();
        let mut text = format!("{}\n{}\n", figures(batch, width), verdicts(&batch.checks, width));
        if let Some(out) = &args.out {
            text += &format!("\nwritten  {}\n", out.join("report.html").display());
        }
        if args.doublecheck {
            text += &format!("\ntwice    {done} runs, both times the same\n");
        }
        let seeds = seeds_text(batch.first_seed, batch.seeds);
        format!("{text}\n{}", origin(&seeds, &batch.build, &batch.options))
    })?;
    let broken: Vec<&str> =
        batch.checks.iter().filter(|check| check.broken > 0).map(|check| check.rule.name()).collect();
    if !broken.is_empty() {
        let seeds: Vec<String> =
            batch.runs.iter().filter(|run| !run.passed()).take(5).map(|run| run.seed.to_string()).collect();
        return Err(CliError::Simulator(format!(
            "rules were broken: {} (seed {})",
            broken.join(", "),
            seeds.join(", ")
        )));
    }
    if interrupted {
        return Err(CliError::Simulator(format!("interrupted: {done} of {} runs are done", batch.seeds)));
    }
    Ok(())
}
