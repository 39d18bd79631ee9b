//! Sets of positions that collapse into a few spans.

use std::collections::BTreeMap;

use hedgerow_proto::Span;

/// A set of numbers from 1, kept as spans: its size is the number of gaps in it, not the number of members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpanSet {
    /// The highest span, [`NONE`] in the empty set: nearly all that is added lengthens it, and most sets are one span.
    top: Span,
    /// First of each span below it to its last; spans neither touch nor overlap.
    below: BTreeMap<u64, u64>,
}

/// No number is in it.
const NONE: Span = Span { first: 1, last: 0 };

impl Default for SpanSet {
    fn default() -> Self {
        Self::new()
    }
}

impl SpanSet {
    /// The empty set.
    #[must_use]
    pub const fn new() -> Self {
        Self { top: NONE, below: BTreeMap::new() }
    }

    /// Whether `n` is in the set.
    #[must_use]
    #[inline]
    pub fn contains(&self, n: u64) -> bool {
        if n >= self.top.first || self.below.is_empty() {
            return n >= self.top.first && n <= self.top.last;
        }
        self.below.range(..=n).next_back().is_some_and(|(_, &last)| last >= n)
    }

    /// Adds `n`; whether it was new.
    #[inline]
    pub fn insert(&mut self, n: u64) -> bool {
        if n > self.top.last && n - 1 == self.top.last && !self.is_empty() {
            self.top.last = n;
            return true;
        }
        if self.contains(n) {
            return false;
        }
        self.insert_span(Span::one(n));
        true
    }

    /// Adds every number of `span`.
    pub fn insert_span(&mut self, span: Span) {
        let Span { mut first, mut last } = span;
        let Span { first: start, last: end } = self.top;
        if self.is_empty() {
            self.top = span;
        } else if first >= start {
            if first <= end.saturating_add(1) {
                self.top.last = end.max(last);
            } else {
                self.below.insert(start, end);
                self.top = span;
            }
        } else if last.saturating_add(1) >= start {
            // It reaches the highest one, and maybe others below.
            while let Some(entry) = self.below.last_entry()
                && *entry.get() >= first.saturating_sub(1)
            {
                first = first.min(*entry.key());
                entry.remove();
            }
            self.top = Span { first, last: end.max(last) };
        } else {
            if let Some((&start, &end)) = self.below.range(..=first).next_back()
                && end >= first.saturating_sub(1)
            {
                if end >= last {
                    return;
                }
                first = start;
            }
            while let Some((&start, &end)) = self.below.range(first..=last.saturating_add(1)).next() {
                self.below.remove(&start);
                last = last.max(end);
            }
            self.below.insert(first, last);
        }
    }

    /// Removes `n`; whether it was there.
    pub fn remove(&mut self, n: u64) -> bool {
        let there = self.contains(n);
        if there {
            self.remove_span(Span::one(n));
        }
        there
    }

    /// Removes every number of `span`.
    #[inline]
    pub fn remove_span(&mut self, span: Span) {
        let Span { first, last } = self.top;
        if span.first <= last && span.last >= first {
            match (span.first > first, span.last < last) {
                (true, true) => {
                    self.below.insert(first, span.first - 1);
                    self.top.first = span.last + 1;
                }
                (true, false) => self.top.last = span.first - 1,
                (false, true) => self.top.first = span.last + 1,
                (false, false) => self.top = NONE,
            }
        }
        if span.first < first && !self.below.is_empty() {
            self.remove_below(span);
        }
        self.raise();
    }

    fn remove_below(&mut self, span: Span) {
        if let Some((&start, &end)) = self.below.range(..span.first).next_back()
            && end >= span.first
        {
            self.below.insert(start, span.first - 1);
            if end > span.last {
                self.below.insert(span.last + 1, end);
            }
        }
        while let Some((&start, &end)) = self.below.range(span.first..=span.last).next() {
            self.below.remove(&start);
            if end > span.last {
                self.below.insert(span.last + 1, end);
            }
        }
    }

    /// When the highest span is gone, the one below is the highest.
    fn raise(&mut self) {
        if self.is_empty()
            && let Some((first, last)) = self.below.pop_last()
        {
            self.top = Span { first, last };
        }
    }

    /// Removes everything above `n`.
    pub fn truncate(&mut self, n: u64) {
        if let Some(above) = n.checked_add(1) {
            self.remove_span(Span { first: above, last: u64::MAX });
        }
    }

    /// The smallest number from `from` on that is not in the set.
    #[must_use]
    #[inline]
    pub fn first_absent(&self, from: u64) -> u64 {
        self.span_from(from).map_or(from, |span| span.last.saturating_add(1))
    }

    /// The greatest member; 0 if there is none.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.top.last
    }

    /// The smallest member.
    #[must_use]
    #[inline]
    pub fn first(&self) -> Option<u64> {
        match self.below.first_key_value() {
            Some((&first, _)) => Some(first),
            None => (!self.is_empty()).then_some(self.top.first),
        }
    }

    /// The smallest member from `from` on.
    #[must_use]
    #[inline]
    pub fn first_from(&self, from: u64) -> Option<u64> {
        if from > self.top.last {
            return None;
        }
        if from >= self.top.first || self.below.is_empty() {
            return Some(from.max(self.top.first));
        }
        if self.contains(from) {
            return Some(from);
        }
        Some(self.below.range(from..).next().map_or(self.top.first, |(&first, _)| first))
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
    #[inline]
    pub fn span_from(&self, n: u64) -> Option<Span> {
        if n >= self.top.first || self.below.is_empty() {
            return (n >= self.top.first && n <= self.top.last).then_some(Span { first: n, ..self.top });
        }
        let (_, &last) = self.below.range(..=n).next_back()?;
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
        if self.below.is_empty() {
            return self.top.last.saturating_sub(self.top.first.saturating_sub(1));
        }
        self.spans().map(|span| span.count()).fold(0, u64::saturating_add)
    }

    /// Whether there are none.
    #[must_use]
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.top.first > self.top.last
    }

    /// How many spans there are.
    #[must_use]
    pub fn span_count(&self) -> usize {
        self.below.len() + usize::from(!self.is_empty())
    }

    /// The spans, ascending.
    pub fn spans(&self) -> impl DoubleEndedIterator<Item = Span> + '_ {
        let below = self.below.iter().map(|(&first, &last)| Span { first, last });
        below.chain((!self.is_empty()).then_some(self.top))
    }

    /// Takes up to `count` spans out, lowest first.
    pub fn take_spans(&mut self, count: usize) -> Vec<Span> {
        (0..count).map_while(|_| self.pop_span()).collect()
    }

    fn pop_span(&mut self) -> Option<Span> {
        if let Some((first, last)) = self.below.pop_first() {
            return Some(Span { first, last });
        }
        let top = std::mem::replace(&mut self.top, NONE);
        (top != NONE).then_some(top)
    }

    /// Takes the smallest member out.
    pub fn pop_first(&mut self) -> Option<u64> {
        let first = self.first()?;
        self.remove(first);
        Some(first)
    }

    /// Removes the lowest span; used to keep a set within a bound where forgetting is harmless.
    pub fn forget_lowest(&mut self) {
        self.pop_span();
    }

    /// Empties the set.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// The set in bytes: LEB128 integers, a gap and a length less one for each span.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.span_count() * 4);
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
            set.insert_span(Span { first, last });
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
                prop_assert_eq!((set.first(), set.max()), (model.first().copied(), model.last().copied().unwrap_or(0)));
                prop_assert_eq!(set.spans().flat_map(|s| s.first..=s.last).collect::<BTreeSet<_>>(), model.clone());
                prop_assert!(set.spans().zip(set.spans().skip(1)).all(|(a, b)| a.last + 1 < b.first));
                let other: SpanSet = others.iter().map(|&(first, n)| Span { first, last: first + n }).collect();
                let common = model.iter().copied().find(|&n| other.contains(n));
                prop_assert_eq!(set.first_common(&other), common);
                for n in 1..75 {
                    let absent = (n..).find(|m| !model.contains(m) && !other.contains(*m)).unwrap();
                    prop_assert_eq!(set.first_absent_of_both(&other, n), absent);
                    prop_assert_eq!(set.contains(n), model.contains(&n));
                    prop_assert_eq!(set.first_from(n), model.range(n..).next().copied());
                    prop_assert_eq!(set.first_absent(n), (n..).find(|m| !model.contains(m)).unwrap());
                    let end = |first: u64, within: &dyn Fn(u64) -> bool| (first..).take_while(|&m| within(m)).last();
                    let rest = end(n, &|m| model.contains(&m)).map(|last| Span { first: n, last });
                    prop_assert_eq!(set.span_from(n), rest);
                    let both = |m: u64| model.contains(&m) && other.contains(m);
                    let common = (n..75).find(|&m| both(m)).map(|first| Span { first, last: end(first, &both).unwrap() });
                    prop_assert_eq!(set.common_from(&other, n), common);
                    let outside = model.range(n..).copied().find(|&m| !other.contains(m));
                    prop_assert_eq!(set.first_outside(&other, n), outside);
                }
                let mut closed = set.clone();
                closed.close_first_gap();
                let gap = set.spans().next().map(|low| low.last).zip(set.spans().nth(1).map(|high| high.first));
                let between = gap.map_or(0..0, |(low, high)| low + 1..high);
                prop_assert!(closed.spans().zip(closed.spans().skip(1)).all(|(a, b)| a.last + 1 < b.first));
                prop_assert_eq!(
                    closed.spans().flat_map(|s| s.first..=s.last).collect::<BTreeSet<_>>(),
                    model.iter().copied().chain(between).collect::<BTreeSet<_>>()
                );
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
