//! Plots as SVG text. Colours are those of [`Paint`]; a page that has others for the dark names them by these.

use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::show::{Unit, log_ticks, ticks};

/// The drawing's own units for one pixel of a page: plotters places everything on whole units.
const FINE: f64 = 4.0;
const WIDTH: u32 = 440;

/// Colours: told apart by colour-blind readers too (Okabe, Ito 2008).
pub(crate) const SERIES: [(u8, u8, u8); 8] = [
    (0x00, 0x72, 0xb2),
    (0xd5, 0x5e, 0x00),
    (0x00, 0x9e, 0x73),
    (0xcc, 0x79, 0xa7),
    (0x8a, 0x6d, 0x00),
    (0x3d, 0x9c, 0xd6),
    (0x6a, 0x4c, 0x93),
    (0x5c, 0x5c, 0x5c),
];
const TEXT: RGBColor = RGBColor(0x33, 0x37, 0x3d);
const GRID: RGBColor = RGBColor(0xd8, 0xdc, 0xe1);

/// Why a plot cannot be drawn.
#[derive(Debug, thiserror::Error)]
#[error("a plot cannot be drawn: {0}")]
pub struct PlotError(String);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// One axis.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    pub(crate) log: bool,
    /// Begins at zero even if no value is near it.
    pub(crate) from_zero: bool,
    /// Ends here even if no value is near it.
    pub(crate) up_to: Option<f64>,
    /// Has room for these, even if no value is there.
    pub(crate) with: Vec<f64>,
    /// Marks with names instead of numbers, at 0, 1, 2 …
    pub(crate) names: Vec<String>,
}

impl Axis {
    pub(crate) fn new(name: impl Into<String>, unit: Unit) -> Self {
        let name = name.into();
        Self { name, unit, log: false, from_zero: true, up_to: None, with: Vec::new(), names: Vec::new() }
    }

    /// Logarithmic if the values are far apart and none is below zero.
    pub(crate) fn log_for(mut self, values: impl Iterator<Item = f64>) -> Self {
        let above = values.filter(|value| *value > 0.0);
        let (low, high) = above.fold((f64::MAX, 0.0_f64), |(low, high), v| (low.min(v), high.max(v)));
        self.log = high > 0.0 && high / low > 30.0;
        self
    }

    /// Room for the names of marks with so many letters, in pixels.
    fn room(&self, widest: usize) -> f64 {
        let name = if self.name.is_empty() { 12.0 } else { 30.0 };
        name + 8.0 * widest as f64
    }

    fn place(&self, value: f64) -> f64 {
        // What took no time at all is at the left edge.
        if self.log { value.max(LEAST).log10() } else { value }
    }

    /// The ends of the axis, where values are placed, and its marks.
    fn range(&self, values: impl Iterator<Item = f64>, marks: usize) -> (f64, f64, Vec<f64>) {
        if !self.names.is_empty() {
            let count = self.names.len();
            return (-0.6, count as f64 - 0.4, (0..count).map(|n| n as f64).collect());
        }
        let values = values.chain(self.with.iter().copied());
        let values = values.filter(|value| value.is_finite() && (!self.log || *value > 0.0));
        let (mut low, mut high) =
            values.fold((f64::MAX, f64::MIN), |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            (low, high) = if self.log { (1.0, 10.0) } else { (0.0, 1.0) };
        }
        if self.log {
            (low, high) = if high / low < 1.5 { (low / 2.0, high * 2.0) } else { (low / 1.1, high * 1.1) };
            let marks = log_ticks(self.unit, low, high, marks);
            return (low.log10(), high.log10(), marks.into_iter().map(f64::log10).collect());
        }
        if self.from_zero {
            low = low.min(0.0);
        }
        high = self.up_to.map_or(high, |least| high.max(least));
        if high - low <= f64::EPSILON * high.abs() {
            high = low + if low == 0.0 { 1.0 } else { low.abs() };
        }
        if self.up_to.is_none() {
            high += (high - low) * 0.04;
        }
        (low, high, ticks(self.unit, low, high, marks))
    }

    fn mark(&self, at: f64) -> String {
        if self.names.is_empty() {
            return self.unit.show(if self.log { 10_f64.powf(at) } else { at });
        }
        let name = self.names.iter().enumerate().find(|(n, _)| (*n as f64 - at).abs() < 0.25);
        name.map(|(_, name)| name.clone()).unwrap_or_default()
    }
}

const LEAST: f64 = 1e-3;

/// An axis with marks at these places.
struct Scale {
    low: f64,
    high: f64,
    marks: Vec<f64>,
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let part = (value - self.low) / (self.high - self.low);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "places on a drawing; a cast stops at the largest"
        )]
        let at = (f64::from(from) + part * f64::from(to - from)).round() as i32;
        at
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.marks.clone() }
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.low..self.high
    }
}

/// Points that belong together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Least and most at each point, if known.
    pub(crate) spread: Vec<(f64, f64)>,
    /// Whether each point has a dot.
    pub(crate) dots: bool,
}

/// Lines over a plane. `None` if there is not one point.
pub(crate) fn lines(x: &Axis, y: &Axis, lines: &[Line]) -> Result<Option<String>, PlotError> {
    if lines.iter().all(|line| line.points.is_empty()) {
        return Ok(None);
    }
    let xs = || lines.iter().flat_map(|line| &line.points).map(|(x, _)| *x);
    let ends = lines.iter().flat_map(|line| &line.spread).flat_map(|(low, high)| [*low, *high]);
    let ys = lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y).chain(ends);
    let (left, right, x_marks) = x.range(xs(), 5);
    let (bottom, top, y_marks) = y.range(ys, 5);
    drawn(300, &[&x.name, &y.name], |area| {
        let widest = y_marks.iter().map(|mark| y.mark(*mark).chars().count()).max().unwrap_or(1);
        let mut chart = ChartBuilder::on(area)
            .margin_right(fine(18.0))
            .margin_top(fine(10.0))
            .x_label_area_size(fine(50.0))
            .y_label_area_size(fine(y.room(widest)))
            .build_cartesian_2d(
                Scale { low: left, high: right, marks: x_marks.clone() },
                Scale { low: bottom, high: top, marks: y_marks.clone() },
            )
            .map_err(failed)?;
        chart
            .configure_mesh()
            .bold_line_style(GRID.stroke_width(stroke(1.0)))
            .light_line_style(TRANSPARENT)
            .axis_style(TEXT.stroke_width(stroke(1.0)))
            .label_style(font(14.0))
            .axis_desc_style(font(14.0))
            .x_desc(x.name.clone())
            .y_desc(y.name.clone())
            .x_label_formatter(&|at| x.mark(*at))
            .y_label_formatter(&|at| y.mark(*at))
            .set_all_tick_mark_size(fine(4.0))
            .draw()
            .map_err(failed)?;
        for (line, colour) in lines.iter().zip(SERIES.iter().cycle()) {
            let colour = RGBColor(colour.0, colour.1, colour.2);
            let placed: Vec<(f64, f64)> =
                line.points.iter().map(|&(a, b)| (x.place(a), y.place(b).clamp(bottom, top))).collect();
            for (&(at, _), &(low, high)) in placed.iter().zip(&line.spread) {
                let ends = [(at, y.place(low).max(bottom)), (at, y.place(high).min(top))];
                let bar = PathElement::new(ends, colour.mix(0.35).stroke_width(stroke(5.0)));
                chart.draw_series([bar]).map_err(failed)?;
            }
            let path = PathElement::new(placed.clone(), colour.stroke_width(stroke(2.0)));
            chart.draw_series([path]).map_err(failed)?;
            if line.dots || placed.len() == 1 {
                let dots = placed.iter().map(|at| Circle::new(*at, stroke(3.5), colour.filled()));
                chart.draw_series(dots).map_err(failed)?;
            }
        }
        Ok(())
    })
    .map(Some)
}

/// A bar of parts, each with the number of its colour.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    pub(crate) name: String,
    pub(crate) parts: Vec<(usize, f64)>,
}

/// Bars that lie, one below the other, each with its sum behind it. `None` if there is none.
pub(crate) fn bars(axis: &Axis, bars: &[Bar]) -> Result<Option<String>, PlotError> {
    if bars.is_empty() {
        return Ok(None);
    }
    let sum = |bar: &Bar| bar.parts.iter().map(|(_, value)| value).sum::<f64>();
    let (left, right, marks) = axis.range(bars.iter().map(sum), 4);
    // Room for the text behind the longest bar.
    let right = left + (right - left) * 1.22;
    let widest = bars.iter().map(|bar| bar.name.chars().count()).max().unwrap_or(1);
    let below = if axis.name.is_empty() { 28.0 } else { 50.0 };
    let height = below + 20.0 + 26.0 * bars.len() as f64;
    drawn(whole(height), &[&axis.name], |area| {
        let count = bars.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .margin_right(fine(10.0))
            .margin_top(fine(6.0))
            .x_label_area_size(fine(below))
            .y_label_area_size(fine((14.0 + 8.0 * widest as f64).min(210.0)))
            .build_cartesian_2d(
                Scale { low: left, high: right, marks: marks.clone() },
                Scale { low: 0.0, high: count, marks: (0..bars.len()).map(|n| n as f64 + 0.5).collect() },
            )
            .map_err(failed)?;
        let name_at = |at: &f64| {
            let from_top = count - at;
            let found = bars.iter().enumerate().find(|(n, _)| (*n as f64 + 0.5 - from_top).abs() < 0.25);
            found.map(|(_, bar)| shortened(&bar.name, 26)).unwrap_or_default()
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .bold_line_style(GRID.stroke_width(stroke(1.0)))
            .light_line_style(TRANSPARENT)
            .axis_style(TEXT.stroke_width(stroke(1.0)))
            .label_style(font(14.0))
            .axis_desc_style(font(14.0))
            .x_desc(axis.name.clone())
            .x_label_formatter(&|at| axis.mark(*at))
            .y_label_formatter(&name_at)
            .set_all_tick_mark_size(fine(3.0))
            .draw()
            .map_err(failed)?;
        for (n, bar) in bars.iter().enumerate() {
            let middle = count - n as f64 - 0.5;
            let mut from = left.max(0.0);
            for &(number, value) in &bar.parts {
                let colour = SERIES.get(number % SERIES.len()).copied().unwrap_or_default();
                let shape = [(from, middle - 0.34), (from + value, middle + 0.34)];
                let fill = RGBColor(colour.0, colour.1, colour.2).filled();
                chart.draw_series([Rectangle::new(shape, fill)]).map_err(failed)?;
                from += value;
            }
            let style = font(13.0).pos(Pos::new(HPos::Left, VPos::Center));
            let beside = from + (right - left) * 0.012;
            chart
                .draw_series([Text::new(axis.unit.show(sum(bar)), (beside, middle), style)])
                .map_err(failed)?;
        }
        Ok(())
    })
    .map(Some)
}

/// Bars that stand, one for each value, side by side without names: for many. `None` if there is none.
pub(crate) fn columns(x: &Axis, y: &Axis, parts: &[Vec<f64>]) -> Result<Option<String>, PlotError> {
    let count = parts.iter().map(Vec::len).max().unwrap_or(0);
    if count == 0 {
        return Ok(None);
    }
    let at = |part: &Vec<f64>, n: usize| part.get(n).copied().unwrap_or_default();
    let sums = (0..count).map(|n| parts.iter().map(|part| at(part, n)).sum::<f64>());
    let (bottom, top, y_marks) = y.range(sums, 5);
    let x_marks = ticks(Unit::Number, 0.0, count as f64 - 1.0, 6).into_iter().filter(|at| at.fract() == 0.0);
    let x_marks: Vec<f64> = x_marks.collect();
    drawn(260, &[&x.name, &y.name], |area| {
        let widest = y_marks.iter().map(|mark| y.mark(*mark).chars().count()).max().unwrap_or(1);
        let mut chart = ChartBuilder::on(area)
            .margin_right(fine(14.0))
            .margin_top(fine(10.0))
            .x_label_area_size(fine(50.0))
            .y_label_area_size(fine(y.room(widest)))
            .build_cartesian_2d(
                Scale { low: -0.5, high: count as f64 - 0.5, marks: x_marks.clone() },
                Scale { low: bottom, high: top, marks: y_marks.clone() },
            )
            .map_err(failed)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID.stroke_width(stroke(1.0)))
            .light_line_style(TRANSPARENT)
            .axis_style(TEXT.stroke_width(stroke(1.0)))
            .label_style(font(14.0))
            .axis_desc_style(font(14.0))
            .x_desc(x.name.clone())
            .y_desc(y.name.clone())
            .x_label_formatter(&|at| format!("{at:.0}"))
            .y_label_formatter(&|at| y.mark(*at))
            .set_all_tick_mark_size(fine(4.0))
            .draw()
            .map_err(failed)?;
        let side = if count > 120 { 0.5 } else { 0.42 };
        let mut from = vec![0.0; count];
        for (part, colour) in parts.iter().zip(SERIES.iter().cycle()) {
            let fill = RGBColor(colour.0, colour.1, colour.2).filled();
            let shapes = from.iter_mut().enumerate().filter_map(|(n, from)| {
                let value = at(part, n);
                let low = *from;
                *from += value;
                let shape = [(n as f64 - side, low), (n as f64 + side, low + value)];
                (value > 0.0).then(|| Rectangle::new(shape, fill))
            });
            chart.draw_series(shapes).map_err(failed)?;
        }
        Ok(())
    })
    .map(Some)
}

/// Draws, and makes the result fit into any width. `about` says to those who do not see it what it shows.
fn drawn(
    height: u32,
    about: &[&str],
    draw: impl FnOnce(&Area<'_>) -> Result<(), PlotError>,
) -> Result<String, PlotError> {
    let mut text = String::new();
    let size = (fine(f64::from(WIDTH)), fine(f64::from(height)));
    {
        let area = SVGBackend::with_string(&mut text, size).into_drawing_area();
        draw(&area)?;
        area.present().map_err(failed)?;
    }
    let about = about
        .iter()
        .filter(|name| !name.is_empty())
        .map(|name| super::html::escaped(name))
        .collect::<Vec<_>>()
        .join(" / ");
    let fixed = format!("<svg width=\"{}\" height=\"{}\"", size.0, size.1);
    let fluid = format!("<svg class=\"plot\" role=\"img\" aria-label=\"{about}\"");
    Ok(text.replacen(&fixed, &fluid, 1))
}

fn failed(error: impl std::fmt::Display) -> PlotError {
    PlotError(error.to_string())
}

/// Text of this size, in pixels of a page.
fn font(px: f64) -> TextStyle<'static> {
    // plotters takes a size for the height of a line.
    ("sans-serif", px * FINE * 1.24).into_text_style(&(0, 0)).color(&TEXT)
}

fn fine(px: f64) -> u32 {
    whole(px * FINE)
}

fn stroke(px: f64) -> u32 {
    whole((px * FINE).max(1.0))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "sizes of drawings, from 0 up")]
fn whole(value: f64) -> u32 {
    value.round().clamp(0.0, 1e6) as u32
}

fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}
