//! Sets of positions that collapse into a few spans.

use std::collections::BTreeMap;

use hedgerow_proto::Span;

/// A set of numbers from 1, kept as spans: its size is the number of gaps in it, not the number of members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpanSet {
    /// First of each span to its last; spans neither touch nor overlap.
    spans: BTreeMap<u64, u64>,
}

impl SpanSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { spans: BTreeMap::new() }
    }

    /// Whether `n` is in the set.
    #[must_use]
    pub fn contains(&self, n: u64) -> bool {
        self.spans.range(..=n).next_back().is_some_and(|(_, &last)| last >= n)
    }

    /// Adds `n`; whether it was new.
    pub fn insert(&mut self, n: u64) -> bool {
        if self.contains(n) {
            return false;
        }
        self.insert_span(Span::one(n));
        true
    }

    /// Adds every number of `span`.
    pub fn insert_span(&mut self, span: Span) {
        let Span { mut first, mut last } = span;
        if let Some((&start, &end)) = self.spans.range(..=first).next_back()
            && end >= first.saturating_sub(1)
        {
            if end >= last {
                return;
            }
            first = start;
        }
        while let Some((&start, &end)) = self.spans.range(first..=last.saturating_add(1)).next() {
            self.spans.remove(&start);
            last = last.max(end);
        }
        self.spans.insert(first, last);
    }

    /// Removes `n`; whether it was there.
    pub fn remove(&mut self, n: u64) -> bool {
        let Some((&start, &end)) = self.spans.range(..=n).next_back() else { return false };
        if end < n {
            return false;
        }
        self.spans.remove(&start);
        if start < n {
            self.spans.insert(start, n - 1);
        }
        if n < end {
            self.spans.insert(n + 1, end);
        }
        true
    }

    /// Removes every number of `span`.
    pub fn remove_span(&mut self, span: Span) {
        if let Some((&start, &end)) = self.spans.range(..span.first).next_back()
            && end >= span.first
        {
            self.spans.insert(start, span.first - 1);
            if end > span.last {
                self.spans.insert(span.last + 1, end);
            }
        }
        while let Some((&start, &end)) = self.spans.range(span.first..=span.last).next() {
            self.spans.remove(&start);
            if end > span.last {
                self.spans.insert(span.last + 1, end);
            }
        }
    }

    /// Removes everything above `n`.
    pub fn truncate(&mut self, n: u64) {
        let Some(above) = n.checked_add(1) else { return };
        drop(self.spans.split_off(&above));
        if let Some(mut entry) = self.spans.last_entry()
            && *entry.get() > n
        {
            *entry.get_mut() = n;
        }
    }

    /// The smallest number from `from` on that is not in the set.
    #[must_use]
    pub fn first_absent(&self, from: u64) -> u64 {
        match self.spans.range(..=from).next_back() {
            Some((_, &last)) if last >= from => last.saturating_add(1),
            _ => from,
        }
    }

    /// The greatest member; 0 if there is none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.spans.last_key_value().map_or(0, |(_, &last)| last)
    }

    /// The smallest member.
    #[must_use]
    pub fn first(&self) -> Option<u64> {
        self.spans.keys().next().copied()
    }

    /// The smallest member from `from` on.
    #[must_use]
    pub fn first_from(&self, from: u64) -> Option<u64> {
        if self.contains(from) {
            return Some(from);
        }
        self.spans.range(from..).next().map(|(&first, _)| first)
    }

    /// The smallest member that is in `other` too.
    #[must_use]
    pub fn first_common(&self, other: &Self) -> Option<u64> {
        let mut at = self.first()?;
        loop {
            let theirs = other.first_from(at)?;
            if theirs == at {
                return Some(at);
            }
            at = self.first_from(theirs)?;
        }
    }

    /// The first members in a row, from `from` on, that are in `other` too.
    #[must_use]
    pub fn common_from(&self, other: &Self, from: u64) -> Option<Span> {
        let mut at = from;
        loop {
            let ours = self.first_from(at)?;
            at = other.first_from(ours)?;
            if at == ours {
                let last = self.span_from(at)?.last.min(other.span_from(at)?.last);
                return Some(Span { first: at, last });
            }
        }
    }

    /// The smallest member from `from` on that is not in `other`.
    #[must_use]
    pub fn first_outside(&self, other: &Self, from: u64) -> Option<u64> {
        let mut at = from;
        loop {
            let ours = self.first_from(at)?;
            match other.span_from(ours) {
                None => return Some(ours),
                Some(span) => at = span.last.checked_add(1)?,
            }
        }
    }

    /// The rest, from `n` on, of the span that `n` is in.
    #[must_use]
    pub fn span_from(&self, n: u64) -> Option<Span> {
        let (_, &last) = self.spans.range(..=n).next_back()?;
        (last >= n).then_some(Span { first: n, last })
    }

    /// Adds what lies between the two lowest spans, so that they are one.
    pub fn close_first_gap(&mut self) {
        let mut spans = self.spans();
        if let (Some(low), Some(high)) = (spans.next(), spans.next()) {
            drop(spans);
            self.insert_span(Span { first: low.last, last: high.first });
        }
    }

    /// The smallest number from `from` on that is neither in the set nor in `other`.
    #[must_use]
    pub fn first_absent_of_both(&self, other: &Self, from: u64) -> u64 {
        let mut at = from;
        loop {
            let next = other.first_absent(self.first_absent(at));
            if next == at {
                return at;
            }
            at = next;
        }
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.spans().map(|span| span.count()).fold(0, u64::saturating_add)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// How many spans there are.
    #[must_use]
    pub fn span_count(&self) -> usize {
        self.spans.len()
    }

    /// The spans, ascending.
    pub fn spans(&self) -> impl DoubleEndedIterator<Item = Span> + '_ {
        self.spans.iter().map(|(&first, &last)| Span { first, last })
    }

    /// Takes up to `count` spans out, lowest first.
    pub fn take_spans(&mut self, count: usize) -> Vec<Span> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some((first, last)) = self.spans.pop_first()
        {
            taken.push(Span { first, last });
        }
        taken
    }

    /// Takes the smallest member out.
    pub fn pop_first(&mut self) -> Option<u64> {
        let (first, last) = self.spans.pop_first()?;
        if first < last {
            self.spans.insert(first + 1, last);
        }
        Some(first)
    }

    /// Removes the lowest span; used to keep a set within a bound where forgetting is harmless.
    pub fn forget_lowest(&mut self) {
        self.spans.pop_first();
    }

    /// Empties the set.
    pub fn clear(&mut self) {
        self.spans.clear();
    }

    /// The set in bytes: LEB128 integers, a gap and a length less one for each span.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.spans.len() * 4);
        let mut after = 0;
        for span in self.spans() {
            put_varint(&mut out, span.first - after);
            put_varint(&mut out, span.last - span.first);
            after = span.last;
        }
        out
    }

    /// The set that these bytes are; `None` if they are none.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let mut set = Self::new();
        let mut after = 0_u64;
        while !bytes.is_empty() {
            let first = after.checked_add(take_varint(&mut bytes)?)?;
            let last = first.checked_add(take_varint(&mut bytes)?)?;
            // A gap of one at least lies between two spans, and 0 is no member.
            if first == 0 || (after != 0 && first < after.checked_add(2)?) {
                return None;
            }
            set.spans.insert(first, last);
            after = last;
        }
        Some(set)
    }
}

impl FromIterator<Span> for SpanSet {
    fn from_iter<I: IntoIterator<Item = Span>>(spans: I) -> Self {
        let mut set = Self::new();
        spans.into_iter().for_each(|span| set.insert_span(span));
        set
    }
}

fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push((n & 0x7f) as u8);
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        n |= bits << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Op {
        Insert(u64),
        Span(u64, u64),
        Remove(u64),
        RemoveSpan(u64, u64),
        Truncate(u64),
        Pop,
    }

    fn ops() -> impl Strategy<Value = Vec<Op>> {
        let op = prop_oneof![
            (1_u64..60).prop_map(Op::Insert),
            (1_u64..60, 0_u64..10).prop_map(|(a, n)| Op::Span(a, a + n)),
            (1_u64..60).prop_map(Op::Remove),
            (1_u64..60, 0_u64..20).prop_map(|(a, n)| Op::RemoveSpan(a, a + n)),
            (0_u64..60).prop_map(Op::Truncate),
            Just(Op::Pop),
        ];
        proptest::collection::vec(op, 0..60)
    }

    proptest! {
        #[test]
        fn it_is_a_set(ops in ops(), others in proptest::collection::vec((1_u64..60, 0_u64..10), 0..6)) {
            let mut set = SpanSet::new();
            let mut model = BTreeSet::new();
            for op in ops {
                match op {
                    Op::Insert(n) => prop_assert_eq!(set.insert(n), model.insert(n)),
                    Op::Span(first, last) => {
                        set.insert_span(Span { first, last });
                        model.extend(first..=last);
                    }
                    Op::Remove(n) => prop_assert_eq!(set.remove(n), model.remove(&n)),
                    Op::RemoveSpan(first, last) => {
                        set.remove_span(Span { first, last });
                        model.retain(|m| !(first..=last).contains(m));
                    }
                    Op::Truncate(n) => {
                        set.truncate(n);
                        model.retain(|&m| m <= n);
                    }
                    Op::Pop => prop_assert_eq!(set.pop_first(), model.pop_first()),
                }
                prop_assert_eq!(set.spans().flat_map(|s| s.first..=s.last).collect::<BTreeSet<_>>(), model.clone());
                prop_assert!(set.spans().zip(set.spans().skip(1)).all(|(a, b)| a.last + 1 < b.first));
                let other: SpanSet = others.iter().map(|&(first, n)| Span { first, last: first + n }).collect();
                let common = model.iter().copied().find(|&n| other.contains(n));
                prop_assert_eq!(set.first_common(&other), common);
                for n in 1..75 {
                    let absent = (n..).find(|m| !model.contains(m) && !other.contains(*m)).unwrap();
                    prop_assert_eq!(set.first_absent_of_both(&other, n), absent);
                    prop_assert_eq!(set.contains(n), model.contains(&n));
                    prop_assert_eq!(set.first_absent(n), (n..).find(|m| !model.contains(m)).unwrap());
                }
                prop_assert_eq!(set.len(), model.len() as u64);
                prop_assert_eq!(SpanSet::from_bytes(&set.to_bytes()), Some(set.clone()));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(set) = SpanSet::from_bytes(&bytes) {
                prop_assert_eq!(SpanSet::from_bytes(&set.to_bytes()), Some(set));
            }
        }
    }

    #[test]
    fn the_end_of_the_range_is_a_member_like_any_other() {
        let all: SpanSet = [Span::one(3), Span { first: u64::MAX - 1, last: u64::MAX }].into_iter().collect();
        let cut = |at| {
            let mut set = all.clone();
            set.truncate(at);
            set.spans().collect::<Vec<_>>()
        };
        assert_eq!(cut(u64::MAX), all.spans().collect::<Vec<_>>());
        assert_eq!(cut(u64::MAX - 1), [Span::one(3), Span::one(u64::MAX - 1)]);
        assert_eq!(cut(u64::MAX - 2), [Span::one(3)]);
        assert_eq!(cut(2), []);
        assert_eq!(all.first_absent(u64::MAX), u64::MAX, "there is no further number");
        let mut lone = SpanSet::new();
        assert!(lone.insert(u64::MAX) && !lone.insert(u64::MAX));
        assert!(lone.remove(u64::MAX) && lone.is_empty());
    }

    #[test]
    fn spans_are_taken_and_forgotten_from_below() {
        let spans: Vec<Span> = (1_u64..5).map(|n| Span { first: n * 10, last: n * 10 + n }).collect();
        let all: SpanSet = spans.iter().copied().collect();
        for count in 0..=5 {
            let mut rest = all.clone();
            assert_eq!(rest.take_spans(count), spans[..count.min(4)]);
            assert_eq!(rest.spans().collect::<Vec<_>>(), spans[count.min(4)..]);
        }
        let mut rest = all.clone();
        rest.forget_lowest();
        assert_eq!((rest.first(), rest.span_count(), rest.max()), (Some(20), 3, 44));
        assert_eq!((all.first(), all.span_count(), all.len(), all.is_empty()), (Some(10), 4, 14, false));
        rest.clear();
        assert_eq!((rest.first(), rest.span_count(), rest.max(), rest.is_empty()), (None, 0, 0, true));
    }

    #[test]
    fn bytes_that_are_no_set_are_refused() {
        assert_eq!(SpanSet::from_bytes(&[0, 0]), None, "0 is no member");
        assert_eq!(SpanSet::from_bytes(&[1, 0, 1, 0]), None, "spans that touch");
        assert_eq!(SpanSet::from_bytes(&[1, 0, 0, 0]), None, "spans that overlap");
        let two = SpanSet::from_bytes(&[1, 0, 2, 0]).unwrap();
        assert_eq!(two.spans().collect::<Vec<_>>(), [Span::one(1), Span::one(3)]);
        assert_eq!(SpanSet::from_bytes(&[0x80, 1, 0]).unwrap().spans().collect::<Vec<_>>(), [Span::one(128)]);
        assert_eq!(SpanSet::from_bytes(&[1]), None, "a span without an end");
        assert_eq!(SpanSet::from_bytes(&[0x80; 11]), None, "an integer without an end");
        let most = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(SpanSet::from_bytes(&[&most[..], &[0]].concat()).unwrap().max(), u64::MAX);
        assert_eq!(SpanSet::from_bytes(&[&most[..], &[1]].concat()), None, "beyond 64 bits");
        let over = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(SpanSet::from_bytes(&[&over[..], &[0]].concat()), None, "beyond 64 bits");
    }
}
