//! The report on a sweep: each figure against what was varied.

use super::html::Page;
use super::metrics::{METRICS, Stat};
use super::plot::{Axis, Line, PlotError, lines};
use super::report::{foot, rules, steps, verdict};
use super::show::{Unit, whole};
use crate::checks::Check;
use crate::sweep::{Swept, SweptPoint, Vary};
use crate::units::{Rate, Size, Span};

/// So many distributions are drawn, each for one value of the keys after the first.
const MAX_CURVES: usize = 12;

/// The report as HTML.
///
/// # Errors
/// When a plot cannot be drawn.
pub(crate) fn sweep_report(swept: &Swept, checks: &[Check]) -> Result<String, PlotError> {
    let mut page = Page::new(&swept.scenario);
    if !swept.question.is_empty() {
        page.paragraph("question", &swept.question);
    }
    let runs = swept.points.iter().map(|point| point.runs).sum();
    if swept.missing > 0 {
        let all = runs + swept.missing;
        page.paragraph(
            "verdict bad",
            &format!("{} of {} runs are not there yet.", whole(swept.missing), whole(all)),
        );
    }
    verdict(&mut page, checks, runs);
    let mut command = "hedgerow sim sweep FILE".to_owned();
    swept.settings.iter().for_each(|setting| command += &format!(" --set '{setting}'"));
    swept.vary.iter().for_each(|vary| command += &format!(" --vary '{vary}'"));
    command += &format!(" --seed {} --seeds {} --out DIR", swept.first_seed, swept.seeds);
    page.paragraph("command", &command);

    let Some(first) = swept.vary.first() else {
        figures_of_points(&mut page, swept);
        return Ok(page.finish());
    };
    figures_of_points(&mut page, swept);
    page.heading("Figures");
    page.paragraph("note", "Dots: mean of the runs. Bars: where the mean is with 95 % confidence.");
    let (mut x, places) = axis_of(first);
    if x.names.is_empty() {
        x.with.clone_from(&places);
    }
    let groups = groups(swept);
    let names: Vec<&str> = groups.iter().map(|(name, _)| name.as_str()).collect();
    page.begin_figures();
    for metric in &METRICS {
        let all: Vec<Line> = groups
            .iter()
            .map(|(name, points)| {
                let mut line = Line { name: name.clone(), dots: true, ..Line::default() };
                for (point, at) in points.iter().zip(&places) {
                    if let Some(stat) = point.and_then(|point| point.totals.get(metric.key)) {
                        line.points.push((*at, stat.mean));
                        line.spread.push(likely(stat));
                    }
                }
                line
            })
            .collect();
        if all.iter().flat_map(|line| &line.points).all(|(_, value)| *value == 0.0) {
            continue;
        }
        let values = || all.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
        // The figure has its name above it.
        let mut y = Axis::new("", metric.unit);
        if metric.unit == Unit::Share {
            y.up_to = Some(1.0);
        } else if values().all(|value| value > 0.0) {
            y = y.log_for(values());
        }
        let scale = if y.log { ", logarithmic" } else { "" };
        page.figure(&format!("{}{scale}", metric.name), lines(&x, &y, &all)?, &names, "");
    }
    page.end_figures();
    page.heading("How long delivery takes");
    if groups.len() > MAX_CURVES {
        page.paragraph(
            "note",
            &format!("Not drawn: that would be {} figures; runs.csv has the numbers.", groups.len()),
        );
    } else {
        curves(&mut page, first, &groups)?;
    }
    page.heading("Rules");
    rules(&mut page, checks);
    let options: Vec<(String, String)> = swept.options.iter().map(|(a, b)| (a.clone(), b.clone())).collect();
    page.details(&format!("The scenario before anything is varied ({} keys)", options.len()), &options);
    let last = swept.first_seed.saturating_add(swept.seeds.saturating_sub(1));
    foot(&mut page, &swept.build, &format!("seeds {} to {last} at each point", swept.first_seed));
    Ok(page.finish())
}

/// Where the mean of all runs that there could be is, with 95 % confidence, as far as these runs tell.
fn likely(stat: &Stat) -> (f64, f64) {
    // Student's t for 1, 2, 3 … degrees of freedom.
    const T: [f64; 20] = [
        12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12,
        2.11, 2.10, 2.09, 2.09,
    ];
    let free = usize::try_from(stat.count).unwrap_or(usize::MAX).saturating_sub(2);
    let t = T.get(free).copied().unwrap_or(1.96);
    let half = if stat.count < 2 { 0.0 } else { t * stat.sd / (stat.count as f64).sqrt() };
    ((stat.mean - half).max(stat.min), (stat.mean + half).min(stat.max))
}

/// The points along the first key, for each combination of the others.
type Row<'a> = (String, Vec<Option<&'a SweptPoint>>);

fn groups(swept: &Swept) -> Vec<Row<'_>> {
    let mut groups: Vec<Row<'_>> = Vec::new();
    let Some(first) = swept.vary.first() else { return groups };
    for point in &swept.points {
        let others = swept.vary.iter().zip(&point.values).skip(1);
        let name = others
            .map(|(vary, value)| format!("{} {value}", last_of(&vary.key)))
            .collect::<Vec<_>>()
            .join(", ");
        let Some(at) = first.values.iter().position(|value| Some(value) == point.values.first()) else {
            continue;
        };
        if !groups.iter().any(|(other, _)| *other == name) {
            groups.push((name.clone(), vec![None; first.values.len()]));
        }
        let slot =
            groups.iter_mut().find(|(other, _)| *other == name).and_then(|(_, points)| points.get_mut(at));
        if let Some(slot) = slot {
            *slot = Some(point);
        }
    }
    groups
}

/// Makes a number of a value, if it is one of its kind.
type Reading<'a> = &'a dyn Fn(&str) -> Option<f64>;

fn last_of(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// An axis for the values of a key, and where each of them is on it: numbers if all are, else one after the other.
fn axis_of(vary: &Vary) -> (Axis, Vec<f64>) {
    let all = |of: Reading<'_>| vary.values.iter().map(|value| of(value)).collect::<Option<Vec<_>>>();
    let number = |text: &str| text.parse::<f64>().ok().filter(|value| value.is_finite());
    let percent = |text: &str| Some(number(text.strip_suffix('%')?.trim())? / 100.0);
    let span = |text: &str| Some(text.parse::<Span>().ok()?.us() as f64 / 1e3);
    let size = |text: &str| Some(text.parse::<Size>().ok()?.bytes() as f64);
    let rate = |text: &str| Some(text.parse::<Rate>().ok()?.bytes_per_s() as f64);
    let tries: [(Unit, Reading<'_>); 5] = [
        (Unit::Number, &number),
        (Unit::Share, &percent),
        (Unit::Ms, &span),
        (Unit::Bytes, &size),
        (Unit::Bytes, &rate),
    ];
    for (unit, of) in tries {
        if let Some(places) = all(of) {
            let mut axis = Axis::new(vary.key.clone(), unit);
            axis.from_zero = false;
            if places.iter().all(|place| *place > 0.0) {
                axis = axis.log_for(places.iter().copied());
            }
            return (axis, places);
        }
    }
    let mut axis = Axis::new(vary.key.clone(), Unit::Number);
    axis.names = vary.values.clone();
    (axis, (0..vary.values.len()).map(|n| n as f64).collect())
}

fn curves(page: &mut Page, first: &Vary, groups: &[Row<'_>]) -> Result<(), PlotError> {
    page.begin_figures();
    for (name, points) in groups {
        let all: Vec<Line> = first
            .values
            .iter()
            .zip(points)
            .map(|(value, point)| Line {
                name: format!("{} {value}", last_of(&first.key)),
                points: point.map(|point| steps(&point.pooled.delivery)).unwrap_or_default(),
                ..Line::default()
            })
            .collect();
        let values =
            points.iter().flatten().flat_map(|point| point.pooled.delivery.cdf.iter().map(|(ms, _)| *ms));
        let x = Axis::new("time since the message was written", Unit::Ms).log_for(values);
        let y = Axis { up_to: Some(1.0), ..Axis::new("share of all", Unit::Share) };
        let names: Vec<&str> = all.iter().map(|line| line.name.as_str()).collect();
        let title = if name.is_empty() { "Delivered" } else { name };
        page.figure(title, lines(&x, &y, &all)?, &names, "");
    }
    page.end_figures();
    Ok(())
}

fn figures_of_points(page: &mut Page, swept: &Swept) {
    const SHOWN: [&str; 9] = [
        "delivery_ratio",
        "delivery_mean_ms",
        "delivery_p50_ms",
        "delivery_p90_ms",
        "acknowledgement_mean_ms",
        "sends_per_delivery",
        "sends_lower_bound",
        "overhead",
        "wire_bytes",
    ];
    page.heading("Points");
    let shown = || METRICS.iter().filter(|metric| SHOWN.contains(&metric.key));
    let keys = swept.vary.iter().map(|vary| vary.key.clone());
    let heads: Vec<String> = keys
        .chain(["runs".to_owned(), "rules".to_owned()])
        .chain(shown().map(|metric| metric.name.to_owned()))
        .collect();
    let rows: Vec<Vec<String>> = swept
        .points
        .iter()
        .map(|point| {
            let mut row = point.values.clone();
            row.push(whole(point.runs));
            row.push(if point.passed { "hold" } else { "BROKEN" }.to_owned());
            row.extend(shown().map(|metric| {
                point
                    .totals
                    .get(metric.key)
                    .map_or_else(|| "–".to_owned(), |stat| metric.unit.show(stat.mean))
            }));
            row
        })
        .collect();
    page.table(&heads, &rows);
}
