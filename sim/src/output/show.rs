//! Figures as people read them, and where the marks of an axis are.

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A time, in ms.
    Ms,
    /// Bytes.
    Bytes,
    /// A share of 1.
    Share,
    /// Anything else.
    Number,
}

const SECOND: f64 = 1e3;
const MINUTE: f64 = 60e3;
const HOUR: f64 = 3_600e3;
const DAY: f64 = 86_400e3;

impl Unit {
    /// A value of this unit, with three digits.
    pub(crate) fn show(self, value: f64) -> String {
        if !value.is_finite() {
            return "–".to_owned();
        }
        match self {
            Self::Ms => time(value),
            Self::Bytes => scaled(value, 1_000.0, &["B", "kB", "MB", "GB", "TB", "PB"]),
            Self::Share => format!("{} %", digits(value * 100.0)),
            Self::Number if value.abs() < 10_000.0 => digits(value),
            Self::Number => scaled(value, 1_000.0, &["", "k", "M", "G", "T", "P"]).trim_end().to_owned(),
        }
    }
}

fn time(ms: f64) -> String {
    let units = [(DAY, "d"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s"), (1.0, "ms"), (1e-3, "us")];
    // A value that rounds up to the next unit is shown in it.
    let found = units.iter().find(|(size, _)| ms.abs() / size >= 0.9995);
    match found {
        Some((size, name)) => format!("{} {name}", digits(ms / size)),
        None if ms == 0.0 => "0 s".to_owned(),
        None => format!("{} us", digits(ms * 1e3)),
    }
}

fn scaled(mut value: f64, step: f64, names: &[&str]) -> String {
    let mut names = names.iter();
    let mut name = names.next();
    while value.abs() >= step * 0.9995 {
        let Some(next) = names.next() else { break };
        name = Some(next);
        value /= step;
    }
    format!("{} {}", digits(value), name.copied().unwrap_or_default())
}

/// Three digits, or all of those before the point.
pub(crate) fn digits(value: f64) -> String {
    let size = value.abs();
    let after = match size {
        0.0 => 0,
        _ if size < 0.000_5 => return format!("{value:.1e}"),
        _ if size < 0.1 => 4,
        _ if size < 1.0 => 3,
        _ if size < 9.995 => 2,
        _ if size < 99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.after$}");
    if !text.contains('.') {
        return text;
    }
    let short = text.trim_end_matches('0').trim_end_matches('.');
    short.to_owned()
}

/// A whole number with a comma before every third digit.
pub(crate) fn whole(value: u64) -> String {
    let text = value.to_string();
    let mut parts = Vec::new();
    let mut rest = text.as_str();
    while rest.len() > 3 {
        let (front, last) = rest.split_at(rest.len() - 3);
        parts.push(last);
        rest = front;
    }
    parts.push(rest);
    parts.reverse();
    parts.join(",")
}

/// To six digits after the point.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// About `want` round values from `low` to `high`.
pub(crate) fn ticks(unit: Unit, low: f64, high: f64, want: usize) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 || want == 0 {
        return vec![low];
    }
    let rough = span / want as f64;
    let step = if unit == Unit::Ms && rough >= SECOND { time_step(rough) } else { round_step(rough) };
    let first = (low / step - 1e-9).ceil();
    let count = (high / step + 1e-9).floor() - first;
    // A handful by construction of the step.
    (0_u32..100).map(f64::from).take_while(|n| *n <= count).map(|n| (first + n) * step).collect()
}

/// The least of 1, 2, 5, 10, 20, 50 … that is not below.
fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999);
    factor.unwrap_or(10.0) * power
}

fn time_step(rough: f64) -> f64 {
    let steps = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0].map(|s| s * SECOND);
    let minutes = [1.0, 2.0, 5.0, 10.0, 15.0, 30.0].map(|min| min * MINUTE);
    let hours = [1.0, 2.0, 3.0, 6.0, 12.0].map(|h| h * HOUR);
    let all = steps.into_iter().chain(minutes).chain(hours);
    all.into_iter().find(|step| *step >= rough * 0.999).unwrap_or_else(|| round_step(rough / DAY) * DAY)
}

/// Round values from `low` to `high` for a logarithmic axis, at most `most`. Both are above zero.
pub(crate) fn log_ticks(unit: Unit, low: f64, high: f64, most: usize) -> Vec<f64> {
    let all: Vec<f64> = match unit {
        Unit::Ms => {
            let small = [1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0];
            let large = [SECOND, 10.0 * SECOND, MINUTE, 10.0 * MINUTE, HOUR, 6.0 * HOUR];
            let days = [1.0, 10.0, 100.0, 1_000.0, 10_000.0].map(|days| days * DAY);
            small.into_iter().chain(large).chain(days).collect()
        }
        _ => (-9..=18).map(|power| 10_f64.powi(power)).collect(),
    };
    let inside = |value: &f64| (low * 0.999..=high * 1.001).contains(value);
    let mut found: Vec<f64> = all.iter().copied().filter(inside).collect();
    if found.len() < 3 {
        found = all.iter().flat_map(|value| [*value, 2.0 * value, 5.0 * value]).filter(inside).collect();
        found.sort_by(f64::total_cmp);
        found.dedup();
    }
    if found.len() < 2 {
        found = ticks(unit, low, high, most.min(4)).into_iter().filter(|value| *value > 0.0).collect();
    }
    let stride = found.len().div_ceil(most.max(1)).max(1);
    found.into_iter().step_by(stride).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_digits_and_a_unit() {
        for (ms, text) in [
            (0.0, "0 s"),
            (0.25, "250 us"),
            (30.0, "30 ms"),
            (999.9, "1 s"),
            (1_500.0, "1.5 s"),
            (59_990.0, "1 min"),
            (9_970_000.0, "2.77 h"),
            (86_400e3 * 60.0, "60 d"),
        ] {
            assert_eq!(Unit::Ms.show(ms), text);
        }
        for (bytes, text) in
            [(0.0, "0 B"), (200.0, "200 B"), (1_234.0, "1.23 kB"), (999_999.0, "1 MB"), (5e9, "5 GB")]
        {
            assert_eq!(Unit::Bytes.show(bytes), text);
        }
        assert_eq!(Unit::Share.show(0.995), "99.5 %");
        assert_eq!(Unit::Number.show(1_269.0), "1269");
        assert_eq!(Unit::Number.show(37_520.0), "37.5 k");
        assert_eq!(Unit::Number.show(1.041_7), "1.04");
        assert_eq!(Unit::Number.show(f64::NAN), "–");
        assert_eq!(whole(1), "1");
        assert_eq!(whole(999), "999");
        assert_eq!(whole(1_234_567), "1,234,567");
    }

    #[test]
    fn marks_are_round_and_few() {
        assert_eq!(ticks(Unit::Number, 0.0, 10.0, 5), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(Unit::Ms, 0.0, 3_600e3, 4), [0.0, 900e3, 1_800e3, 2_700e3, 3_600e3]);
        assert_eq!(log_ticks(Unit::Ms, 40.0, 70e3, 6), [100.0, 1e3, 10e3, 60e3]);
        for (low, high) in [(1e-3, 1e12), (5.0, 6.0), (900.0, 1_100.0), (1.0, 1.000_001)] {
            for unit in [Unit::Ms, Unit::Bytes, Unit::Share, Unit::Number] {
                let marks = log_ticks(unit, low, high, 6);
                assert!(marks.len() <= 6, "{unit:?} {low} {high}: {marks:?}");
                let marks = ticks(unit, low, high, 5);
                assert!((1..=12).contains(&marks.len()), "{unit:?} {low} {high}: {marks:?}");
            }
        }
        assert_eq!(ticks(Unit::Number, 3.0, 3.0, 5), [3.0]);
    }
}
