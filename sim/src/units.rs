//! Values with units, as scenario files write them: `30 ms`, `200 B`, `250 kB/s`, `10 %`.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::{Serialize, Serializer};

/// A length of time. Written with `us`, `ms`, `s`, `min`, `h` or `d`; kept in us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

/// A length of time ahead, or behind with a minus sign. Written like a [`Span`]; kept in us.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(i64);

/// A number of bytes. Written with `B`, `kB`, `MB`, `GB` (powers of 1000) or `KiB`, `MiB`, `GiB` (of 1024).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

/// Bytes per second. Written like a [`Size`] with `/s`, or as `bit/s`, `kbit/s`, `Mbit/s`, `Gbit/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(u64);

/// A share from 0 to 1. Written as a number, or in `%`.
#[derive(Debug, Clone, Copy, Default, PartialEq, PartialOrd)]
pub struct Share(f64);

const SPANS: &[(&str, f64)] =
    &[("us", 1.0), ("ms", 1e3), ("s", 1e6), ("min", 60e6), ("h", 3_600e6), ("d", 86_400e6)];
const SIZES: &[(&str, f64)] = &[
    ("B", 1.0),
    ("kB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("KiB", 1_024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
];
const RATES: &[(&str, f64)] = &[
    ("B/s", 1.0),
    ("kB/s", 1e3),
    ("MB/s", 1e6),
    ("GB/s", 1e9),
    ("KiB/s", 1_024.0),
    ("MiB/s", 1_048_576.0),
    ("bit/s", 0.125),
    ("kbit/s", 125.0),
    ("Mbit/s", 125e3),
    ("Gbit/s", 125e6),
];

/// No scenario has values beyond this, in its smallest unit (285 years in us, 9 PB).
const LARGEST: f64 = 9e15;

/// A number and one of the units, as a whole number of the smallest unit.
fn parse(text: &str, what: &str, units: &[(&str, f64)]) -> Result<u64, String> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '_')).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    let wrong = || format!("`{text}` is no {what}: a number and one of {}", names.join(", "));
    let number: f64 = number.replace('_', "").parse().map_err(|_| wrong())?;
    let unit = unit.trim();
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor).ok_or_else(wrong)?;
    let value = (number * factor).round();
    if !(0.0..=LARGEST).contains(&value) {
        return Err(format!("`{text}` is too large"));
    }
    // Whole and below 2^53.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked above")]
    Ok(value as u64)
}

impl Span {
    /// A span of this many us.
    #[must_use]
    pub const fn from_us(us: u64) -> Self {
        Self(us)
    }

    /// A span of this many ms.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms.saturating_mul(1_000))
    }

    /// A span of this many s.
    #[must_use]
    pub const fn from_s(s: u64) -> Self {
        Self(s.saturating_mul(1_000_000))
    }

    /// In us.
    #[must_use]
    pub const fn us(self) -> u64 {
        self.0
    }

    /// In ms, rounded down.
    #[must_use]
    pub const fn ms(self) -> u64 {
        self.0 / 1_000
    }

    /// In s.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1e6
    }
}

impl Offset {
    /// In ms, rounded towards 0.
    #[must_use]
    pub const fn ms(self) -> i64 {
        self.0 / 1_000
    }
}

impl Size {
    /// A size of this many bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// In bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Rate {
    /// In bytes per second.
    #[must_use]
    pub const fn bytes_per_s(self) -> u64 {
        self.0
    }

    /// How long this many bytes take, in us, at least 1.
    #[must_use]
    pub fn us_for(self, bytes: usize) -> u64 {
        let us = bytes as u128 * 1_000_000 / u128::from(self.0.max(1));
        u64::try_from(us).unwrap_or(u64::MAX).max(1)
    }
}

impl Share {
    /// A share, brought into 0 to 1.
    #[must_use]
    pub fn new(value: f64) -> Self {
        Self(if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) })
    }

    /// From 0 to 1.
    #[must_use]
    pub const fn value(self) -> f64 {
        self.0
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, "time", SPANS).map(Self)
    }
}

impl FromStr for Offset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (sign, rest) = text.trim().strip_prefix('-').map_or((1, text), |rest| (-1, rest));
        let us = parse(rest, "time", SPANS)?;
        i64::try_from(us).map(|us| Self(sign * us)).map_err(|_| format!("`{text}` is too large"))
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text, "size", SIZES).map(Self)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match parse(text, "rate", RATES)? {
            0 => Err(format!("`{text}`: a rate must be at least 1 B/s")),
            rate => Ok(Self(rate)),
        }
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no share: 0 to 1, or 0 % to 100 %");
        let (number, scale) = match text.trim().strip_suffix('%') {
            Some(number) => (number.trim_end(), 100.0),
            None => (text.trim(), 1.0),
        };
        let value: f64 = number.parse().map_err(|_| wrong())?;
        if (0.0..=scale).contains(&value) { Ok(Self(value / scale)) } else { Err(wrong()) }
    }
}

/// The largest unit in which a value is a whole number.
fn write(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, f64)]) -> fmt::Result {
    let whole = |factor: f64| factor >= 1.0 && value as f64 % factor == 0.0 && value as f64 >= factor;
    let best = units.iter().filter(|(_, factor)| whole(*factor)).max_by(|a, b| a.1.total_cmp(&b.1));
    match best {
        Some((name, factor)) => write!(f, "{} {name}", value as f64 / factor),
        None => write!(f, "{value} {}", units.first().map_or("", |(name, _)| name)),
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, SPANS)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < 0 {
            f.write_str("-")?;
        }
        write(f, self.0.unsigned_abs(), SPANS)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, SIZES.get(..4).unwrap_or(SIZES))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(f, self.0, RATES.get(..4).unwrap_or(RATES))
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", (self.0 * 1e8).round() / 1e6)
    }
}

struct Text<T>(std::marker::PhantomData<T>);

impl<T: FromStr<Err = String>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value with its unit, in quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

macro_rules! as_text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text(std::marker::PhantomData))
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

as_text!(Span, Offset, Size, Rate);

/// A number with a unit as it is written, for editors.
fn schema_of(what: &str, sign: &str, units: &[(&str, f64)]) -> Schema {
    let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
    let pattern = format!(r"^\s*{sign}[0-9][0-9._]*\s*({})\s*$", names.join("|"));
    json_schema!({ "type": "string", "description": what, "pattern": pattern })
}

macro_rules! as_schema {
    ($($type:ident: $what:literal, $sign:literal, $units:ident;)*) => {$(
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                schema_of($what, $sign, $units)
            }
        }
    )*};
}

as_schema! {
    Span: "A time, as `30 ms`.", "", SPANS;
    Offset: "A time ahead, or behind with a minus sign, as `-5 min`.", r"-?\s*", SPANS;
    Size: "A size, as `200 B`.", "", SIZES;
    Rate: "A rate, as `250 kB/s`.", "", RATES;
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A share, as `0.1` or `10 %`.",
            "anyOf": [
                { "type": "number", "minimum": 0, "maximum": 1 },
                { "type": "string", "pattern": r"^\s*[0-9][0-9.]*\s*%?\s*$" },
            ],
        })
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl Visitor<'_> for Any {
            type Value = Share;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a share: 0 to 1, or \"0 %\" to \"100 %\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Share, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Share, E> {
                if (0.0..=1.0).contains(&value) {
                    Ok(Share(value))
                } else {
                    Err(E::custom(format!("{value} is no share: 0 to 1, or \"0 %\" to \"100 %\"")))
                }
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Share, E> {
                self.visit_f64(value as f64)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_and_written() {
        for (text, us) in [("30 ms", 30_000), ("1.5 s", 1_500_000), ("2d", 172_800_000_000), ("0 s", 0)] {
            let span: Span = text.parse().unwrap();
            assert_eq!(span.us(), us, "{text}");
            assert_eq!(span.to_string().parse::<Span>().unwrap(), span);
        }
        assert_eq!("32 KiB".parse::<Size>().unwrap().bytes(), 32_768);
        assert_eq!("200 B".parse::<Size>().unwrap().to_string(), "200 B");
        assert_eq!("1 Mbit/s".parse::<Rate>().unwrap().bytes_per_s(), 125_000);
        assert_eq!("250 kB/s".parse::<Rate>().unwrap().us_for(1_000), 4_000);
        assert_eq!("10 %".parse::<Share>().unwrap(), Share::new(0.1));
        assert_eq!("0.25".parse::<Share>().unwrap().to_string(), "25 %");
    }

    #[test]
    fn what_is_none_is_refused_with_what_is_allowed() {
        assert!("30".parse::<Span>().unwrap_err().contains("one of us, ms, s"));
        for text in ["", "ms", "-1 s", "1 parsec", "1e9 s", "99999999999 d"] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        assert!("0 B/s".parse::<Rate>().is_err());
        assert!("101 %".parse::<Share>().is_err());
        assert!("1.1".parse::<Share>().is_err());
    }
}
