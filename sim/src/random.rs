//! Randomness: each purpose has a stream of its own, so that a change in one place moves no other draw. The
//! distributions come without the platform's mathematics library, whose last bits differ between machines.

use rand::SeedableRng;
use rand_chacha::ChaCha12Rng;
use rand_distr::{Distribution as _, Exp1, LogNormal};

use crate::units::Span;

/// The stream of a purpose, and of the `index`-th thing of that kind.
pub(crate) fn stream(seed: u64, purpose: &str, index: u64) -> ChaCha12Rng {
    let mut key = [0_u8; 32];
    let (first, rest) = key.split_at_mut(8);
    first.copy_from_slice(&seed.to_le_bytes());
    let (second, name) = rest.split_at_mut(8);
    second.copy_from_slice(&index.to_le_bytes());
    for (to, from) in name.iter_mut().zip(purpose.bytes()) {
        *to = from;
    }
    ChaCha12Rng::from_seed(key)
}

/// An exponentially distributed span.
pub(crate) fn exponential(rng: &mut ChaCha12Rng, mean: Span) -> Span {
    let unit: f64 = Exp1.sample(rng);
    scaled(mean, unit)
}

/// A log-normally distributed span.
pub(crate) fn log_normal(rng: &mut ChaCha12Rng, median: Span, sigma: f64) -> Span {
    LogNormal::new(0.0, sigma).map_or(median, |factor| scaled(median, factor.sample(rng)))
}

fn scaled(span: Span, factor: f64) -> Span {
    let us = (span.us() as f64 * factor).clamp(0.0, 9e15);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to what fits")]
    Span::from_us(us as u64)
}
