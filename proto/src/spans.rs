//! Spans of positions, and their form on the wire.

/// The positions from `first` to `last`, both included. Positions start at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first position.
    pub first: u64,
    /// The last position, not before `first`.
    pub last: u64,
}

impl Span {
    /// The span of a single position.
    #[must_use]
    pub const fn one(position: u64) -> Self {
        Self { first: position, last: position }
    }

    /// How many positions it holds.
    #[must_use]
    pub const fn count(&self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

/// Spans as the wire's span list: pairs (gap, more). `None` if they do not ascend with a gap or more between
/// them, or hold 0.
pub(crate) fn to_wire(spans: &[Span]) -> Option<Vec<u64>> {
    let mut after = 0_u64;
    let mut list = Vec::with_capacity(spans.len() * 2);
    for span in spans {
        list.push(span.first.checked_sub(after)?.checked_sub(1)?);
        list.push(span.last.checked_sub(span.first)?);
        after = span.last;
    }
    Some(list)
}

/// The spans that a span list names; `None` if it is odd in length or leaves the 64 bits.
pub(crate) fn from_wire(list: &[u64]) -> Option<Vec<Span>> {
    if !list.len().is_multiple_of(2) {
        return None;
    }
    let mut after = 0_u64;
    let mut spans = Vec::with_capacity(list.len() / 2);
    for pair in list.chunks_exact(2) {
        let &[gap, more] = pair else { return None };
        let first = after.checked_add(gap)?.checked_add(1)?;
        let last = first.checked_add(more)?;
        spans.push(Span { first, last });
        after = last;
    }
    Some(spans)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_list_goes_round(pairs in proptest::collection::vec((0_u64..1 << 40, 0_u64..1 << 40), 0..20)) {
            let list: Vec<u64> = pairs.iter().flat_map(|&(gap, more)| [gap, more]).collect();
            let spans = from_wire(&list).unwrap();
            prop_assert!(spans.windows(2).all(|w| w[0].last < w[1].first));
            prop_assert_eq!(to_wire(&spans), Some(list));
        }
    }

    #[test]
    fn spans_that_do_not_ascend_are_refused() {
        assert_eq!(to_wire(&[Span::one(0)]), None);
        assert_eq!(to_wire(&[Span::one(2), Span::one(2)]), None);
        assert_eq!(to_wire(&[Span { first: 3, last: 2 }]), None);
    }

    // spec: span-list
    #[test]
    fn what_is_no_list_is_refused() {
        assert_eq!(from_wire(&[1]), None);
        assert_eq!(from_wire(&[u64::MAX, 0]), None);
        assert_eq!(from_wire(&[0, u64::MAX]), None);
        assert_eq!(from_wire(&[u64::MAX - 1, 0]), Some(vec![Span::one(u64::MAX)]));
    }
}
