//! What is varied, and how the work is cut into shards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A key and the values that it takes, as in `links.loss=0,0.5,0.9`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vary {
    /// The key, in the spelling of `--set`.
    pub key: String,
    /// Its values, as text.
    pub values: Vec<String>,
}

impl FromStr for Vary {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, values) =
            text.split_once('=').ok_or_else(|| format!("`{text}`: written as key=a,b,c, like loss=0,0.5"))?;
        let (key, values) = (key.trim().to_owned(), split(values));
        if key.is_empty() || values.iter().any(String::is_empty) {
            return Err(format!(
                "`{text}`: a key and at least one value, none of them empty, like loss=0,0.5"
            ));
        }
        if let Some(twice) =
            values.iter().enumerate().find(|(n, value)| values.iter().take(*n).any(|v| v == *value))
        {
            return Err(format!("`{text}`: the value {} comes twice", twice.1));
        }
        Ok(Self { key, values })
    }
}

impl fmt::Display for Vary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.values.join(","))
    }
}

/// Cuts at commas that are not inside brackets or quotes: values may be lists and tables.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut depth, mut quote) = (0_usize, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).collect()
}

/// Every combination of the values, the last key changing fastest.
pub(super) fn grid(vary: &[Vary]) -> Vec<Vec<String>> {
    vary.iter().fold(vec![Vec::new()], |points, one| {
        let longer = |point: Vec<String>| {
            one.values.iter().map(move |value| {
                let mut point = point.clone();
                point.push(value.clone());
                point
            })
        };
        points.into_iter().flat_map(longer).collect()
    })
}

/// One of several equal parts of the work, as `2/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shard {
    /// Which, from 1.
    pub number: u64,
    /// Of how many.
    pub of: u64,
}

impl Default for Shard {
    fn default() -> Self {
        Self { number: 1, of: 1 }
    }
}

impl Shard {
    /// Whether a unit is in it.
    #[must_use]
    pub const fn has(self, unit: u64) -> bool {
        unit % self.of == self.number - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}`: a shard is written i/n, from 1/n to n/n");
        let (number, of) = text.split_once('/').ok_or_else(wrong)?;
        let (number, of) =
            (number.trim().parse().map_err(|_| wrong())?, of.trim().parse().map_err(|_| wrong())?);
        if number == 0 || number > of { Err(wrong()) } else { Ok(Self { number, of }) }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_may_be_lists_and_tables() {
        let vary: Vary = "links.loss = 0, 0.5,90 %".parse().unwrap();
        assert_eq!(
            vary,
            Vary { key: "links.loss".into(), values: vec!["0".into(), "0.5".into(), "90 %".into()] }
        );
        let vary: Vary = "topology={kind=\"ring\"},{kind=\"grid\", width=3}".parse().unwrap();
        assert_eq!(vary.values, ["{kind=\"ring\"}", "{kind=\"grid\", width=3}"]);
        let vary: Vary = "workload.0.from=[0,1],[2]".parse().unwrap();
        assert_eq!(vary.values, ["[0,1]", "[2]"]);
        for wrong in ["loss", "=1", "loss=", "loss=1,,2", "loss=1,1"] {
            assert!(wrong.parse::<Vary>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_grid_has_every_combination() {
        let vary: Vec<Vary> = vec!["a=1,2".parse().unwrap(), "b=x,y,z".parse().unwrap()];
        let points: Vec<String> = grid(&vary).into_iter().map(|point| point.concat()).collect();
        assert_eq!(points, ["1x", "1y", "1z", "2x", "2y", "2z"]);
        assert_eq!(grid(&[]), [Vec::<String>::new()]);
    }

    #[test]
    fn every_unit_is_in_one_shard() {
        let shards: Vec<Shard> = ["1/3", "2/3", "3/3"].map(|text| text.parse().unwrap()).to_vec();
        assert!((0..100).all(|unit| shards.iter().filter(|shard| shard.has(unit)).count() == 1));
        for wrong in ["", "1", "0/3", "4/3", "1/0", "a/b", "-1/2"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
