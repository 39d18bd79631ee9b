//! `sim sweep` and `sim merge`.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use hedgerow_sim::output::{plain, verdicts};
use hedgerow_sim::sweep::{self, Merged, Shard, Sweep};
use serde_json::json;

use super::args::SweepArgs;
use super::{bar, jobs, origin, seeds_text, settings, width};
use crate::error::CliError;
use crate::output::Output;

pub(super) fn sweep(args: &SweepArgs, output: Output, stop: &AtomicBool) -> Result<(), CliError> {
    let settings = settings(&args.scenario.file, &args.scenario.set)?;
    let plan = Sweep::plan(&args.scenario.file, &settings, &args.vary, args.seed, args.seeds)?;
    let (points, seeds) = plan.size();
    let build = env!("CARGO_PKG_VERSION");
    let begin = json!({
        "event": "begin", "vary": plan.vary(), "points": points, "first_seed": args.seed, "seeds": seeds,
        "build": build, "options": plan.options(), "shard": args.shard,
    });
    output.item(&begin, |_| {
        let vary: Vec<String> = plan.vary().iter().map(ToString::to_string).collect();
        format!(
            "vary     {}: {points} points\n{}\n",
            vary.join(", "),
            origin(&seeds_text(args.seed, seeds), build, plan.options())
        )
    })?;
    let all = plan.units_of(args.shard);
    let bar = bar(output, all, "{elapsed} [{bar:30}] {pos}/{len} runs, {eta} left{msg}");
    let mut broken = 0_u64;
    plan.run(&args.out, args.shard, jobs(args.jobs), stop, |done, passed| {
        broken += u64::from(!passed);
        bar.set_position(done);
        if broken > 0 {
            bar.set_message(format!(", {broken} BROKE A RULE"));
        }
    })?;
    bar.finish_and_clear();
    let merged = sweep::merge(std::slice::from_ref(&args.out), &args.out)?;
    show(&merged, &args.out, output)?;
    let missing = merged.swept.missing;
    if stop.load(Ordering::Relaxed) {
        return Err(CliError::Simulator(format!(
            "interrupted: {missing} runs are missing; the same command goes on from here"
        )));
    }
    verdict(&merged, args.shard)
}

pub(super) fn merge(folders: &[PathBuf], out: Option<&Path>, output: Output) -> Result<(), CliError> {
    let first = folders.first().map(PathBuf::as_path).unwrap_or(Path::new("."));
    let out = out.unwrap_or(first);
    let merged = sweep::merge(folders, out)?;
    show(&merged, out, output)?;
    if merged.swept.missing > 0 {
        return Err(CliError::Simulator(format!("{} runs are missing", merged.swept.missing)));
    }
    verdict(&merged, Shard::default())
}

fn verdict(merged: &Merged, shard: Shard) -> Result<(), CliError> {
    let broken: Vec<&str> =
        merged.checks.iter().filter(|check| check.broken > 0).map(|check| check.rule.name()).collect();
    if !broken.is_empty() {
        return Err(CliError::Simulator(format!("rules were broken: {}", broken.join(", "))));
    }
    if shard.of == 1 && merged.swept.missing > 0 {
        return Err(CliError::Simulator(format!("{} runs are missing", merged.swept.missing)));
    }
    Ok(())
}

fn show(merged: &Merged, out: &Path, output: Output) -> Result<(), CliError> {
    let swept = &merged.swept;
    if output.is_json() {
        for point in &swept.points {
            let mut line = json!(point);
            if let Some(line) = line.as_object_mut() {
                line.insert("event".to_owned(), json!("point"));
            }
            output.json(&line)?;
        }
        return output.json(&json!({
            "event": "end", "scenario": swept.scenario, "vary": swept.vary, "points": swept.points.len(),
            "first_seed": swept.first_seed, "seeds": swept.seeds, "build": swept.build, "options": swept.options,
            "missing": swept.missing, "passed": swept.passed, "out": out,
        }));
    }
    let shown = [
        ("delivery_ratio", "delivered"),
        ("delivery_mean_ms", "mean s"),
        ("delivery_p50_ms", "50 % s"),
        ("delivery_p90_ms", "90 % s"),
        ("acknowledgement_mean_ms", "known, mean s"),
        ("sends_per_delivery", "sends"),
        ("overhead", "wire/body"),
    ];
    let heads: Vec<String> = swept
        .vary
        .iter()
        .map(|vary| vary.key.clone())
        .chain(["runs".to_owned()])
        .chain(shown.iter().map(|(_, name)| (*name).to_owned()))
        .collect();
    let rows: Vec<Vec<String>> = swept
        .points
        .iter()
        .map(|point| {
            let mut row = point.values.clone();
            row.push(point.runs.to_string());
            row.extend(shown.iter().map(|(key, _)| match point.totals.get(*key) {
                None => "–".to_owned(),
                Some(stat) if key.ends_with("_ms") => format!("{:.2}", stat.mean / 1e3),
                Some(stat) => format!("{:.3}", stat.mean),
            }));
            row
        })
        .collect();
    let width = width();
    output.text(&plain(&heads, &rows, width))?;
    output.text(&verdicts(&merged.checks, width))?;
    if swept.missing > 0 {
        output.text(&format!("\nmissing  {} runs", swept.missing))?;
    }
    output.text(&format!("\nwritten  {}\n", out.join("report.html").display()))?;
    output.text(&origin(&seeds_text(swept.first_seed, swept.seeds), &swept.build, &swept.options))
}
