//! When nodes are on.

use std::path::Path;

use rand::RngExt as _;

use super::{PlanError, Window, impossible, no_node};
use crate::random::{exponential, stream};
use crate::scenario::{Scenario, Uptime};
use crate::units::Span;

const DAY: u64 = 86_400_000_000;

pub(super) fn draw(scenario: &Scenario, seed: u64, folder: &Path) -> Result<Vec<Vec<Window>>, PlanError> {
    let count = scenario.nodes.count;
    let mut models = vec![&scenario.nodes.uptime; count];
    for exception in &scenario.nodes.exceptions {
        let Some(uptime) = &exception.uptime else { continue };
        for &node in &exception.nodes {
            if let Some(model) = models.get_mut(node) {
                *model = uptime;
            }
        }
    }
    let length = scenario.stop.after;
    let windows = models.into_iter().zip(0..).map(|(model, node)| match model {
        Uptime::Trace { file } => from_file(&folder.join(file), node, length, count),
        model => of_node(model, length, seed, node),
    });
    windows.collect()
}

fn from_file(file: &Path, node: u64, length: Span, count: usize) -> Result<Vec<Window>, PlanError> {
    let text = super::read(file)?;
    let wrong = |source| PlanError::Trace { file: file.to_owned(), source };
    let all = super::trace::read_uptimes(&text).map_err(wrong)?;
    if let Some((_, node)) = all.iter().find(|(_, node)| *node >= count) {
        return Err(impossible("nodes.uptime.file", no_node(*node, count)));
    }
    Ok(tidy(all.into_iter().filter(|(_, of)| *of as u64 == node).map(|(window, _)| window), length))
}

/// Windows in order, apart, and within the run.
fn tidy(windows: impl Iterator<Item = Window>, length: Span) -> Vec<Window> {
    let mut windows: Vec<Window> = windows
        .filter(|w| w.start < length && w.start < w.end)
        .map(|w| Window { end: w.end.min(length), ..w })
        .collect();
    windows.sort_unstable();
    let mut tidy: Vec<Window> = Vec::new();
    for window in windows {
        match tidy.last_mut() {
            Some(last) if window.start <= last.end => last.end = last.end.max(window.end),
            _ => tidy.push(window),
        }
    }
    tidy
}

fn of_node(model: &Uptime, length: Span, seed: u64, node: u64) -> Result<Vec<Window>, PlanError> {
    let mut rng = stream(seed, "uptime", node);
    match model {
        Uptime::Always => Ok(vec![Window { start: Span::default(), end: length }]),
        Uptime::Windows { share, mean } => {
            let share = share.value();
            if share <= 0.0 || mean.us() == 0 {
                return Err(impossible("nodes.uptime", "`share` and `mean` must be above 0"));
            }
            if share >= 1.0 {
                return of_node(&Uptime::Always, length, seed, node);
            }
            let pause = Span::from_us(whole(mean.us() as f64 * (1.0 - share) / share));
            let mut windows = Vec::new();
            // Exponential times have no memory: it is as if it had gone on like this for ever.
            let mut on = rng.random_bool(share);
            let mut at = 0;
            while at < length.us() {
                let end = at + exponential(&mut rng, if on { *mean } else { pause }).us().max(1);
                if on {
                    let end = Span::from_us(end.min(length.us()));
                    windows.push(Window { start: Span::from_us(at), end });
                }
                (at, on) = (end, !on);
            }
            Ok(windows)
        }
        Uptime::Diurnal { length: day } => {
            let day = day.us();
            if day == 0 || day > DAY {
                return Err(impossible("nodes.uptime.length", "a day's window is above 0 and at most 1 d"));
            }
            let first = rng.random_range(0..DAY);
            // The window of the day before may reach into the first.
            let starts = (0..).map(|n| n * DAY + first).take_while(|start| *start < length.us() + DAY);
            let windows = starts.filter_map(|start| {
                let (start, end) = (start.saturating_sub(DAY), (start + day).saturating_sub(DAY));
                (start < length.us() && end > 0)
                    .then(|| Window { start: Span::from_us(start), end: Span::from_us(end.min(length.us())) })
            });
            Ok(windows.collect())
        }
        Uptime::Times { on } => match on.iter().find(|(start, end)| end <= start) {
            Some((start, end)) => Err(impossible(
                "nodes.uptime.on",
                format!("from {start} to {end}: a window ends after it starts"),
            )),
            None => Ok(tidy(on.iter().map(|&(start, end)| Window { start, end }), length)),
        },
        Uptime::Trace { .. } => Ok(Vec::new()),
    }
}

fn whole(us: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    let whole = us.clamp(1.0, 9e15) as u64;
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Share;

    #[test]
    fn windows_make_up_their_share() {
        let model = Uptime::Windows { share: Share::new(0.1), mean: Span::from_s(300) };
        let length = Span::from_s(30_000_000);
        let windows = of_node(&model, length, 1, 0).unwrap();
        let on: u64 = windows.iter().map(|w| w.end.us() - w.start.us()).sum();
        let share = on as f64 / length.us() as f64;
        assert!((0.095..0.105).contains(&share), "{share}");
        assert!(windows.windows(2).all(|pair| pair[0].end < pair[1].start));
    }

    #[test]
    fn each_day_has_its_window() {
        let model = Uptime::Diurnal { length: Span::from_s(3_600) };
        for node in 0..50 {
            let windows = of_node(&model, Span::from_s(10 * 86_400), 1, node).unwrap();
            let on: u64 = windows.iter().map(|w| w.end.us() - w.start.us()).sum();
            assert!((9 * 3_600..=10 * 3_600).contains(&(on / 1_000_000)), "node {node}: {on}");
        }
    }
}
