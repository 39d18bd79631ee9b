//! Contacts as they are among people who carry phones: of the pairs that ever meet, some meet often; times between two
//! contacts have a heavy tail (Chaintreau et al. 2007); nobody meets anybody at night.

use rand::RngExt as _;
use rand::seq::IteratorRandom as _;
use serde::Serialize;

use super::{Contact, PlanError, impossible};
use crate::random::{exponential, stream};
use crate::units::{Share, Span};

/// What a synthetic trace is to be like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Synthetic {
    /// How many nodes there are.
    pub nodes: usize,
    /// How long it is.
    pub length: Span,
    /// How many contacts there are to be, exactly, unless so many have no room.
    pub contacts: usize,
    /// The exponent of the tail of times between two contacts of a pair: P(T > t) = (t / t0)^-(exponent - 1). 1.1 to 3.
    pub exponent: f64,
    /// The share of pairs that ever meet.
    pub pairs: Share,
    /// How long a contact is on average, exponentially distributed; 1 s at least.
    pub mean: Span,
    /// Nobody meets anybody for this part of each day, at its end; less than 1 d.
    pub night: Span,
}

const DAY: u64 = 86_400_000_000;

/// Draws contacts. Times are whole seconds, as in measured traces.
///
/// # Errors
/// When a value is beyond what is said there.
pub fn synthetic(wish: &Synthetic, seed: u64) -> Result<Vec<Contact>, PlanError> {
    if !(1.1..=3.0).contains(&wish.exponent) {
        return Err(impossible("topology.exponent", format!("{}: must be from 1.1 to 3", wish.exponent)));
    }
    if wish.night.us() >= DAY || wish.mean.us() < 1_000_000 {
        return Err(impossible("topology.night", "`night` is less than 1 d, `mean` 1 s at least"));
    }
    let mut rng = stream(seed, "synthetic", 0);
    let all: Vec<(usize, usize)> = (0..wish.nodes).flat_map(|b| (0..b).map(move |a| (a, b))).collect();
    let acquainted: Vec<(usize, usize)> =
        all.into_iter().filter(|_| rng.random_bool(wish.pairs.value())).collect();
    if acquainted.is_empty() {
        return Ok(Vec::new());
    }
    // How often a pair meets is spread over two orders of magnitude, log-uniformly.
    let rates: Vec<f64> = acquainted.iter().map(|_| libm::pow(100.0, rng.random::<f64>())).collect();
    let sum: f64 = rates.iter().sum();
    // Days without their nights.
    let day = DAY - wish.night.us();
    let awake = wish.length.us() / DAY * day + (wish.length.us() % DAY).min(day);
    let mut contacts = Vec::new();
    for (&(a, b), rate) in acquainted.iter().zip(&rates) {
        let count = wish.contacts as f64 * rate / sum;
        // More than are needed, as what overlaps is merged: the surplus is drawn out below.
        let gap = awake as f64 / (count * 1.3 + 1.0);
        let mut at = Gap { mean: gap, exponent: wish.exponent, most: awake as f64 }.first(&mut rng);
        while at < awake {
            let long = whole(exponential(&mut rng, wish.mean).us());
            let start = at / day * DAY + at % day;
            let start = start - start % 1_000_000;
            let end = (start + long).min(wish.length.us());
            if start < end {
                contacts.push(Contact { start: Span::from_us(start), end: Span::from_us(end), a, b });
            }
            at += long + whole(Gap { mean: gap, exponent: wish.exponent, most: awake as f64 }.draw(&mut rng));
        }
    }
    if contacts.len() > wish.contacts {
        contacts = contacts.into_iter().sample(&mut rng, wish.contacts);
    }
    contacts.sort_unstable();
    Ok(contacts)
}

/// At least a second, in whole ones.
fn whole(us: u64) -> u64 {
    (us - us % 1_000_000).max(1_000_000)
}

/// Times with a power law from a least one to a most one.
struct Gap {
    mean: f64,
    exponent: f64,
    most: f64,
}

impl Gap {
    fn draw(&self, rng: &mut rand_chacha::ChaCha12Rng) -> u64 {
        // Cut at the length of the trace, the mean of the law depends on its least value; found by halving.
        let tail = self.exponent - 1.0;
        let (mut low, mut high) = (1.0_f64, self.mean.max(2.0));
        for _ in 0..40 {
            let least = (low + high) / 2.0;
            if mean_of(least, self.most, tail) < self.mean { low = least } else { high = least }
        }
        let least = low;
        let unit: f64 = rng.random();
        let share = libm::pow(least / self.most, tail);
        let time = least * libm::pow(1.0 - unit * (1.0 - share), -1.0 / tail);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
        let us = time.clamp(1.0, 9e15) as u64;
        us
    }

    /// Somewhere within a gap, as it is for who comes at any time.
    fn first(&self, rng: &mut rand_chacha::ChaCha12Rng) -> u64 {
        let gap = self.draw(rng);
        rng.random_range(0..=gap)
    }
}

/// The mean of a power law between two values.
fn mean_of(least: f64, most: f64, tail: f64) -> f64 {
    let norm = 1.0 - libm::pow(least / most, tail);
    if norm <= 0.0 {
        return least;
    }
    if (tail - 1.0).abs() < 1e-9 {
        return least * libm::log(most / least) / norm;
    }
    tail / (tail - 1.0) * least * (1.0 - libm::pow(least / most, tail - 1.0)) / norm
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_as_it_is_wished_for() {
        let wish = Synthetic {
            nodes: 36,
            length: Span::from_s(984_960),
            contacts: 10_641,
            exponent: 1.6,
            pairs: Share::new(0.8),
            mean: Span::from_s(300),
            night: Span::from_s(8 * 3_600),
        };
        let contacts = synthetic(&wish, 1).unwrap();
        assert_eq!(contacts.len(), 10_641);
        assert!(contacts.iter().all(|c| c.start < c.end && c.a < c.b && c.end <= wish.length));
        assert!(contacts.iter().all(|c| c.start.us() % DAY <= DAY - wish.night.us()), "asleep");
        let mut gaps = Vec::new();
        let mut last = std::collections::BTreeMap::new();
        for c in &contacts {
            if let Some(end) = last.insert((c.a, c.b), c.end) {
                assert!(c.start >= end, "{c:?} overlaps");
                gaps.push(c.start.us() - end.us());
            }
        }
        // A heavy tail: the mean is far above the median, and a hundredth of the times is far above the mean.
        gaps.sort_unstable();
        let mean = gaps.iter().sum::<u64>() / gaps.len() as u64;
        assert!(mean > 2 * gaps[gaps.len() / 2], "mean {mean}, median {}", gaps[gaps.len() / 2]);
        assert!(gaps[gaps.len() * 99 / 100] > 5 * mean);
        assert_eq!(synthetic(&wish, 1).unwrap(), contacts);
        assert_ne!(synthetic(&wish, 2).unwrap(), contacts);
    }
}
