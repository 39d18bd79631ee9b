//! The report on the runs of one scenario: a page with everything inside.

use super::batch::Batch;
use super::html::Page;
use super::metrics::METRICS;
use super::picture;
use super::plot::{Axis, Bar, Line, PlotError, bars, columns, lines};
use super::show::{Unit, whole};
use super::spacetime;
use super::table::verdict_word;
use crate::checks::{Check, Verdict};
use crate::record::{Ended, Kinds, Sample};
use crate::{Run, Times};

/// The report as HTML. `first` is the run with the first seed; what is told of one run alone is told of it.
///
/// # Errors
/// When a plot cannot be drawn.
pub fn report(batch: &Batch, first: Option<&Run>) -> Result<String, PlotError> {
    let mut page = Page::new(&batch.scenario);
    head(&mut page, batch);
    page.heading("Latency");
    latency(&mut page, batch)?;
    page.heading("Cost");
    cost(&mut page, batch)?;
    if let Some(run) = first {
        let seed = if batch.runs.len() > 1 { format!(" (seed {})", run.seed) } else { String::new() };
        page.heading(&format!("Over time{seed}"));
        over_time(&mut page, run)?;
        page.heading(&format!("Nodes and links{seed}"));
        nodes_and_links(&mut page, run)?;
        page.heading(&format!("Message by message{seed}"));
        pictures(&mut page, run);
    }
    page.heading("Rules");
    rules(&mut page, &batch.checks);
    page.heading("All figures");
    totals(&mut page, batch);
    let options: Vec<(String, String)> = batch.options.iter().map(|(a, b)| (a.clone(), b.clone())).collect();
    page.details(&format!("The scenario ({} keys)", options.len()), &options);
    foot(&mut page, &batch.build, &seeds_of(batch));
    Ok(page.finish())
}

fn seeds_of(batch: &Batch) -> String {
    match batch.seeds {
        1 => format!("seed {}", batch.first_seed),
        many => format!("seeds {} to {}", batch.first_seed, batch.first_seed.saturating_add(many - 1)),
    }
}

pub(super) fn foot(page: &mut Page, build: &str, seeds: &str) {
    page.raw("<footer>");
    page.paragraph(
        "",
        &format!("hedgerow {build}, {seeds}. The same scenario, seed and build give the same figures."),
    );
    page.raw("</footer>");
}

fn head(page: &mut Page, batch: &Batch) {
    if !batch.question.is_empty() {
        page.paragraph("question", &batch.question);
    }
    let done = batch.runs.len() as u64;
    if done < batch.seeds {
        page.paragraph("verdict bad", &format!("Stopped after {done} of {} runs.", batch.seeds));
    }
    if batch.runs.iter().any(|run| run.ended == Ended::Interrupted) {
        page.paragraph("verdict bad", "Stopped before the end of the run.");
    }
    verdict(page, &batch.checks, done);
    let mut command = format!("hedgerow sim run FILE --seed {}", batch.first_seed);
    if batch.seeds > 1 {
        command += &format!(" --seeds {}", batch.seeds);
    }
    batch.settings.iter().for_each(|setting| command += &format!(" --set '{setting}'"));
    page.paragraph("command", &command);
    let sum = |f: fn(&crate::Summary) -> u64| batch.runs.iter().map(f).sum::<u64>();
    let (delivered, wanted) = (sum(|s| s.delivered), sum(|s| s.wanted));
    let ratio =
        if wanted == 0 { "–".to_owned() } else { Unit::Share.show(delivered as f64 / wanted as f64) };
    let time = |times: &Times| {
        if times.count == 0 { "–".to_owned() } else { Unit::Ms.show(times.p50_ms) }
    };
    let ninety = |times: &Times| match times.count {
        0 => "none".to_owned(),
        _ => format!("90 % within {}", Unit::Ms.show(times.p90_ms)),
    };
    let mean = |key: &str, unit: Unit| {
        batch.totals.get(key).map_or_else(|| "–".to_owned(), |stat| unit.show(stat.mean))
    };
    let nodes = batch.runs.first().map_or(0, |run| run.nodes);
    let runs = if done == 1 { "1 run".to_owned() } else { format!("{} runs", whole(done)) };
    let pooled = &batch.pooled;
    page.tiles(&[
        ("runs", runs, format!("{}, {} nodes", seeds_of(batch), whole(nodes))),
        ("delivered", ratio, format!("{} of {}", whole(delivered), whole(wanted))),
        ("delivery, median", time(&pooled.delivery), ninety(&pooled.delivery)),
        ("acknowledged, median", time(&pooled.acknowledgement), ninety(&pooled.acknowledgement)),
        (
            "sends per delivery",
            mean("sends_per_delivery", Unit::Number),
            format!("1 / (1 - loss) is {}", mean("sends_lower_bound", Unit::Number)),
        ),
        (
            "wire over bodies",
            mean("overhead", Unit::Number),
            format!("{} on the wire", mean("wire_bytes", Unit::Bytes)),
        ),
    ]);
}

/// What the rules say, in one line.
pub(super) fn verdict(page: &mut Page, checks: &[Check], runs: u64) {
    let broken: Vec<&str> = checks
        .iter()
        .filter(|check| check.verdict == Verdict::Broken)
        .map(|check| check.rule.name())
        .collect();
    let held = checks.iter().filter(|check| check.verdict == Verdict::Passed).count();
    let untested = checks.len() - held - broken.len();
    let runs = if runs == 1 { "1 run".to_owned() } else { format!("{} runs", whole(runs)) };
    if broken.is_empty() {
        let rest = if untested == 0 { String::new() } else { format!(", {untested} had no occasion") };
        page.paragraph("verdict good", &format!("✓ {held} rules hold in {runs}{rest}."));
    } else {
        page.paragraph("verdict bad", &format!("✗ Broken in {runs}: {}.", broken.join(", ")));
    }
}

/// The points of a distribution, as a line that climbs in steps.
pub(super) fn steps(times: &Times) -> Vec<(f64, f64)> {
    let mut points = Vec::with_capacity(times.cdf.len() * 2 + 1);
    let mut below = 0.0;
    for &(ms, share) in &times.cdf {
        points.push((ms, below));
        points.push((ms, share));
        below = share;
    }
    points
}

fn latency(page: &mut Page, batch: &Batch) -> Result<(), PlotError> {
    let pooled = &batch.pooled;
    let all = [
        ("stored", &pooled.storing),
        ("delivered", &pooled.delivery),
        ("delivered to all", &pooled.delivery_to_all),
        ("acknowledged", &pooled.acknowledgement),
    ];
    let shown: Vec<Line> = all
        .iter()
        .map(|(name, times)| Line { name: (*name).to_owned(), points: steps(times), ..Line::default() })
        .collect();
    let values = all.iter().flat_map(|(_, times)| times.cdf.iter().map(|(ms, _)| *ms));
    let x = Axis::new("time since the message was written", Unit::Ms).log_for(values);
    let y = Axis { up_to: Some(1.0), ..Axis::new("share of all", Unit::Share) };
    page.begin_figures();
    let names = all.map(|(name, _)| name);
    let plot = lines(&x, &y, &shown)?;
    let note = "Each curve tells which share had happened after so much time. Of what happened: what never \
                happened is not in it.";
    page.figure("How long it takes", plot, &names, note);
    let heads = ["", "count", "mean", "50 %", "90 %", "99 %", "longest"].map(str::to_owned);
    let rows: Vec<Vec<String>> = all
        .iter()
        .filter(|(_, times)| times.count > 0)
        .map(|(name, times)| {
            let values = [times.mean_ms, times.p50_ms, times.p90_ms, times.p99_ms, times.max_ms];
            let start = [(*name).to_owned(), whole(times.count)];
            start.into_iter().chain(values.map(|ms| Unit::Ms.show(ms))).collect()
        })
        .collect();
    page.raw("<div class=\"beside\">");
    page.table(&heads, &rows);
    page.raw("</div>");
    page.end_figures();
    Ok(())
}

fn cost(page: &mut Page, batch: &Batch) -> Result<(), PlotError> {
    let runs = batch.runs.len().max(1) as f64;
    let mut kinds = Kinds::default();
    batch.runs.iter().for_each(|run| kinds += run.kinds);
    page.begin_figures();
    let of_kinds: Vec<Bar> = kinds
        .each()
        .into_iter()
        .filter(|(_, count)| count.bytes > 0)
        .map(|(name, count)| Bar { name: name.to_owned(), parts: vec![(0, count.bytes as f64 / runs)] })
        .collect();
    let per_run = if batch.runs.len() > 1 { "bytes, mean of the runs" } else { "bytes" };
    let note = "Records with their tags and lengths; “frame” is what belongs to none: numbers and acknowledgements \
                of frames, pings. Before encryption.";
    page.figure("Bytes by kind", bars(&Axis::new(per_run, Unit::Bytes), &of_kinds)?, &[], note);

    let bodies = batch.runs.iter().map(|run| run.delivered_bytes).sum::<u64>() as f64 / runs;
    let messages = kinds.message.bytes as f64 / runs;
    let all = kinds.bytes() as f64 / runs;
    let shares = [
        Bar { name: "bodies delivered".to_owned(), parts: vec![(2, bodies)] },
        Bar {
            name: "message records".to_owned(),
            parts: vec![(2, bodies.min(messages)), (1, (messages - bodies).max(0.0))],
        },
        Bar {
            name: "all bytes".to_owned(),
            parts: vec![
                (2, bodies.min(all)),
                (1, (messages - bodies).max(0.0)),
                (7, (all - messages.max(bodies)).max(0.0)),
            ],
        },
    ];
    let note = "Green: what had to be carried. Orange: headers of messages, and messages sent again. Grey: everything else.";
    page.figure("What the bytes were", bars(&Axis::new(per_run, Unit::Bytes), &shares)?, &[], note);
    if batch.runs.len() > 1 {
        for (key, title) in
            [("sends_per_delivery", "Sends per delivery"), ("overhead", "Bytes on the wire over bodies")]
        {
            page.figure(title, over_runs(batch, key)?, &[], "The share of the runs with at most so much.");
        }
    }
    page.end_figures();
    Ok(())
}

/// How a figure is distributed over the runs.
fn over_runs(batch: &Batch, key: &str) -> Result<Option<String>, PlotError> {
    let Some(metric) = METRICS.iter().find(|metric| metric.key == key) else { return Ok(None) };
    let mut values: Vec<f64> = batch.runs.iter().filter_map(metric.of).collect();
    values.sort_by(f64::total_cmp);
    let count = values.len().max(1) as f64;
    let mut points = Vec::new();
    for (n, value) in values.iter().enumerate() {
        points.push((*value, n as f64 / count));
        points.push((*value, (n + 1) as f64 / count));
    }
    let x = Axis::new(metric.name, metric.unit).log_for(values.iter().copied());
    let y = Axis { up_to: Some(1.0), ..Axis::new("share of the runs", Unit::Share) };
    lines(&x, &y, &[Line { points, ..Line::default() }])
}

fn over_time(page: &mut Page, run: &Run) -> Result<(), PlotError> {
    let samples = &run.record.timeline;
    // Between two looks, what was true at the first still was.
    let line = |name: &str, of: fn(&Sample) -> u64| {
        let mut points: Vec<(f64, f64)> = Vec::with_capacity(samples.len() * 2);
        for sample in samples {
            let (at, value) = (sample.at_us as f64 / 1e3, of(sample) as f64);
            if let Some(&(_, before)) = points.last().filter(|(_, before)| *before != value) {
                points.push((at, before));
            }
            points.push((at, value));
        }
        Line { name: name.to_owned(), points, ..Line::default() }
    };
    let x = Axis::new("simulated time", Unit::Ms);
    page.begin_figures();
    let spread = [line("to be delivered", |s| s.wanted), line("delivered", |s| s.delivered)];
    let y = Axis::new("messages times members", Unit::Number);
    page.figure("Spread", lines(&x, &y, &spread)?, &["to be delivered", "delivered"], "");
    let network = [line("nodes on", |s| s.nodes_on), line("links up", |s| s.links_up)];
    page.figure(
        "Network",
        lines(&x, &Axis::new("count", Unit::Number), &network)?,
        &["nodes on", "links up"],
        "",
    );
    let traffic = [line("bytes", |s| s.wire_bytes)];
    page.figure("Bytes sent so far", lines(&x, &Axis::new("bytes", Unit::Bytes), &traffic)?, &[], "");
    if samples.iter().any(|sample| sample.parked > 0) {
        let y = Axis::new("messages at all nodes", Unit::Number);
        let note = "Stored, but something that they depend on is not there yet.";
        page.figure("Parked", lines(&x, &y, &[line("parked", |s| s.parked)])?, &[], note);
    }
    page.end_figures();
    Ok(())
}

/// So many links are shown by name.
const MAX_LINKS: usize = 20;

fn nodes_and_links(page: &mut Page, run: &Run) -> Result<(), PlotError> {
    let nodes = &run.record.nodes;
    page.begin_figures();
    let of_nodes = |f: fn(&crate::record::NodeRecord) -> u64| {
        nodes.iter().map(|node| f(node) as f64).collect::<Vec<_>>()
    };
    let x = Axis::new("node", Unit::Number);
    let messages = of_nodes(|node| node.sent.message.bytes);
    let rest = of_nodes(|node| node.sent.bytes() - node.sent.message.bytes);
    let plot = columns(&x, &Axis::new("bytes sent", Unit::Bytes), &[messages, rest])?;
    page.figure("Bytes sent by each node", plot, &["messages", "everything else"], "");
    let delivered = of_nodes(|node| node.delivered);
    let plot = columns(&x, &Axis::new("messages", Unit::Number), &[delivered])?;
    page.figure("Delivered to each node", plot, &[], "Messages of others.");
    let plot = columns(&x, &Axis::new("bytes", Unit::Bytes), &[of_nodes(|node| node.state_most)])?;
    page.figure("Memory for what it knows of others", plot, &[], "The most at any time; an estimate.");
    let mut links: Vec<_> = run.record.links.iter().collect();
    let bytes = |link: &crate::record::LinkRecord| link.forth.sent.bytes() + link.back.sent.bytes();
    links.sort_by_key(|link| (std::cmp::Reverse(bytes(link)), link.a, link.b));
    let shown: Vec<Bar> = links
        .iter()
        .take(MAX_LINKS)
        .map(|link| Bar {
            name: format!("{} – {}", link.a, link.b),
            parts: vec![(0, link.forth.sent.bytes() as f64), (1, link.back.sent.bytes() as f64)],
        })
        .collect();
    let note = match links.len() {
        many if many > MAX_LINKS => format!("The {MAX_LINKS} busiest of {} pairs.", whole(many as u64)),
        _ => String::new(),
    };
    let plot = bars(&Axis::new("bytes, both ways", Unit::Bytes), &shown)?;
    page.figure("Bytes of each link", plot, &["from the lower number", "from the higher"], &note);
    page.end_figures();
    Ok(())
}

fn pictures(page: &mut Page, run: &Run) {
    match picture::player(run) {
        Ok(player) => page.raw(&player),
        Err(why) => page.paragraph("note", &format!("The network cannot be played: {why}.")),
    }
    match spacetime::diagram(run) {
        Ok(diagram) => {
            page.raw(
                "<figure class=\"full\"><figcaption><b>Space and time</b></figcaption><div class=\"scroll\">",
            );
            page.raw(&diagram.svg);
            page.raw("</div>");
            page.paragraph("note", &diagram.note);
            page.raw("</figure>");
        }
        Err(why) => page.paragraph("note", &format!("There is no diagram of space and time: {why}.")),
    }
}

pub(super) fn rules(page: &mut Page, checks: &[Check]) {
    let heads = ["rule", "verdict", "looked at", "broken", "cases"].map(str::to_owned);
    let rows: Vec<Vec<String>> = checks
        .iter()
        .map(|check| {
            vec![
                check.rule.name().to_owned(),
                verdict_word(check.verdict).to_owned(),
                whole(check.looked),
                whole(check.broken),
                check.cases.join("; "),
            ]
        })
        .collect();
    page.table(&heads, &rows);
}

fn totals(page: &mut Page, batch: &Batch) {
    let many = batch.runs.len() > 1;
    let heads: Vec<String> = match many {
        true => ["figure", "runs", "mean", "deviation", "least", "50 %", "90 %", "most"]
            .map(str::to_owned)
            .to_vec(),
        false => vec!["figure".to_owned(), "value".to_owned()],
    };
    let rows: Vec<Vec<String>> = METRICS
        .iter()
        .filter_map(|metric| {
            let stat = batch.totals.get(metric.key)?;
            let show = |value| metric.unit.show(value);
            let values = [stat.sd, stat.min, stat.p50, stat.p90, stat.max].map(show);
            Some(match many {
                true => [metric.name.to_owned(), whole(stat.count), show(stat.mean)]
                    .into_iter()
                    .chain(values)
                    .collect(),
                false => vec![metric.name.to_owned(), show(stat.mean)],
            })
        })
        .collect();
    page.table(&heads, &rows);
}
