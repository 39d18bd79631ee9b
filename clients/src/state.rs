//! What is known of the running numbers of one author in one group.

use hedgerow_proto::Span;
use hedgerow_sync_core::SpanSet;

use crate::limits::MAX_AUTHOR_SPANS;

/// Which running numbers of one author in one group were delivered.
///
/// Authors number what they say: 1, 2, 3… Each delivered post is noted exactly once, so that a second one
/// under the same number means that the author said two different things under it (a *fork*: a device that
/// was restored from a backup, or a liar). A number that is passed over means that something is missing.
///
/// However an author counts, memory stays bounded: at most [`MAX_AUTHOR_SPANS`] spans of numbers are kept,
/// and of what was forgotten is only known that it lies at or below a certain number. Whoever is to know of
/// every fork keeps elsewhere what is forgotten ([`note_forgetting`](Self::note_forgetting)): which numbers
/// are forked is then the same for all who got the same posts, in whatever order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuthorState {
    /// Numbers up to here were forgotten: one of them may or may not have been delivered.
    forgotten: u64,
    /// Delivered, above `forgotten`.
    seen: SpanSet,
    /// Delivered more than once; the highest spans only.
    forked: SpanSet,
}

/// How a number stands to those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// The next number.
    InOrder,
    /// Higher than the next: these were passed over, and may come late.
    Gap(Span),
    /// Lower, and not seen before: it fills a gap.
    Late,
    /// Delivered before: the author said two things under one number.
    Fork,
    /// So low that it was forgotten whether it was delivered before.
    Forgotten,
}

/// Why bytes are not an [`AuthorState`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StateError {
    /// Of a version that this program does not know.
    #[error("the state of an author is of version {0}, this program knows version {VERSION}")]
    Version(u8),
    /// It ends before its fields do.
    #[error("the state of an author ends within its fields")]
    Short,
    /// A set of numbers is malformed, or has too many spans.
    #[error("the state of an author holds a set of numbers that is malformed or too large")]
    Numbers,
}

const VERSION: u8 = 1;
/// A span takes at most two integers of ten bytes each.
const MAX_SET_BYTES: usize = MAX_AUTHOR_SPANS * 20;

impl AuthorState {
    /// The state before the first post.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes the number of a delivered post, from 1.
    pub fn note(&mut self, number: u64) -> Note {
        self.note_forgetting(number).0
    }

    /// Notes the number of a delivered post, from 1; also gives the delivered numbers that were forgotten to
    /// make room, if any. After [`Note::Forgotten`] the number itself was not noted: whoever keeps what was
    /// forgotten looks there, keeps it if it is new, and calls [`note_fork`](Self::note_fork) if it is not.
    pub fn note_forgetting(&mut self, number: u64) -> (Note, Option<Span>) {
        if number <= self.forgotten {
            return (Note::Forgotten, None);
        }
        let highest = self.highest();
        if !self.seen.insert(number) {
            self.note_fork(number);
            return (Note::Fork, None);
        }
        let forgotten = bound(&mut self.seen);
        self.forgotten = forgotten.map_or(self.forgotten, |span| span.last);
        let note = match number {
            _ if number < highest => Note::Late,
            _ if number - highest == 1 => Note::InOrder,
            _ => Note::Gap(Span { first: highest + 1, last: number - 1 }),
        };
        (note, forgotten)
    }

    /// Notes that the author said two things under a number.
    pub fn note_fork(&mut self, number: u64) {
        self.forked.insert(number);
        bound(&mut self.forked);
    }

    /// The number of the author's next post; `None` after the last number there is.
    #[must_use]
    pub fn next_number(&self) -> Option<u64> {
        self.highest().checked_add(1)
    }

    /// The highest number that was delivered; 0 if there is none.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.seen.max().max(self.forgotten)
    }

    /// The numbers that were passed over and have not come, ascending; none below what was forgotten.
    pub fn missing(&self) -> impl Iterator<Item = Span> + '_ {
        let mut after = self.forgotten;
        self.seen.spans().filter_map(move |span| {
            let gap = (span.first - after > 1).then(|| Span { first: after + 1, last: span.first - 1 });
            after = span.last;
            gap
        })
    }

    /// The numbers under which the author said more than one thing; of very many, the highest.
    #[must_use]
    pub fn forked(&self) -> &SpanSet {
        &self.forked
    }

    /// The state in bytes, at most some 10 KiB, mostly below 20 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let seen = self.seen.to_bytes();
        // At most MAX_SET_BYTES.
        let seen_len = u16::try_from(seen.len()).unwrap_or(u16::MAX);
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.forgotten.to_be_bytes());
        out.extend_from_slice(&seen_len.to_be_bytes());
        out.extend_from_slice(&seen);
        out.extend_from_slice(&self.forked.to_bytes());
        out
    }

    /// The state that these bytes are.
    ///
    /// # Errors
    /// The rule that is broken.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, StateError> {
        let (&version, rest) = bytes.split_first().ok_or(StateError::Short)?;
        if version != VERSION {
            return Err(StateError::Version(version));
        }
        let (forgotten, rest) = rest.split_first_chunk().ok_or(StateError::Short)?;
        let (seen_len, rest) = rest.split_first_chunk().ok_or(StateError::Short)?;
        let seen_len = usize::from(u16::from_be_bytes(*seen_len));
        let (seen, forked) = rest.split_at_checked(seen_len).ok_or(StateError::Short)?;
        let forgotten = u64::from_be_bytes(*forgotten);
        let (seen, forked) = (read_set(seen)?, read_set(forked)?);
        if seen.spans().next().is_some_and(|span| span.first <= forgotten) {
            return Err(StateError::Numbers);
        }
        Ok(Self { forgotten, seen, forked })
    }
}

/// Forgets the lowest span of a set that has grown too large.
fn bound(set: &mut SpanSet) -> Option<Span> {
    if set.span_count() <= MAX_AUTHOR_SPANS {
        return None;
    }
    let lowest = set.spans().next()?;
    set.forget_lowest();
    Some(lowest)
}

fn read_set(bytes: &[u8]) -> Result<SpanSet, StateError> {
    if bytes.len() > MAX_SET_BYTES {
        return Err(StateError::Numbers);
    }
    let set = SpanSet::from_bytes(bytes).ok_or(StateError::Numbers)?;
    if set.span_count() > MAX_AUTHOR_SPANS { Err(StateError::Numbers) } else { Ok(set) }
}

#[cfg(test)]
mod tests;
