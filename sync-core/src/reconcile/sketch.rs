//! The symbols of a set.

use hedgerow_proto::limits::SYMBOL_OVERHEAD;

use super::key::Key;

/// One symbol: what the ids of a set that go to this place have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Symbol {
    /// The short ids, by exclusive or.
    pub sum: u64,
    /// Their checks, by exclusive or.
    pub check: u16,
    /// How many they are, less a multiple of 256.
    pub count: u8,
}

impl Symbol {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Puts an id in, or takes it out.
    pub(super) fn add(&mut self, item: &Item, out: bool) {
        self.sum ^= item.short;
        self.check ^= item.check;
        self.count = if out { self.count.wrapping_sub(1) } else { self.count.wrapping_add(1) };
    }

    pub(super) fn subtract(&mut self, other: &Self) {
        self.sum ^= other.sum;
        self.check ^= other.check;
        self.count = self.count.wrapping_sub(other.count);
    }

    /// Writes it, with short ids of `width` bytes.
    pub fn write(&self, width: u8, out: &mut Vec<u8>) {
        let sum = self.sum.to_be_bytes();
        out.extend_from_slice(sum.get(8 - usize::from(width.min(8))..).unwrap_or_default());
        out.extend_from_slice(&self.check.to_be_bytes());
        out.push(self.count);
    }

    /// Reads those that were written with short ids of `width` bytes; a rest that is none is left out.
    pub fn read(bytes: &[u8], width: u8) -> impl Iterator<Item = Self> + '_ {
        bytes.chunks_exact(usize::from(width) + SYMBOL_OVERHEAD).filter_map(move |bytes| {
            let (short, rest) = bytes.split_at_checked(usize::from(width))?;
            let &[a, b, count] = rest else { return None };
            let sum = short.iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            Some(Self { sum, check: u16::from_be_bytes([a, b]), count })
        })
    }
}

/// An id and the next place that it goes to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    pub(super) short: u64,
    state: u64,
    pub(super) next: u32,
    pub(super) check: u16,
}

impl Item {
    pub(super) fn new(key: &Key, short: u64) -> Self {
        let mix = key.mix(short);
        let [.., a, b] = mix.to_be_bytes();
        Self { short, check: u16::from_be_bytes([a, b]), state: mix | 1, next: 0 }
    }

    /// Goes on to the next place. An id goes to place i with a chance of 1 / (1 + i/2): the gap is drawn by inverting the
    /// distribution of the next one (section 4.2 of the paper).
    pub(super) fn advance(&mut self) {
        // A multiplier of Lehmer's kind with good spectra (Steele and Vigna 2021).
        self.state = self.state.wrapping_mul(0xda94_2042_e4dd_58b5);
        #[expect(clippy::cast_precision_loss, reason = "a draw; every machine rounds it in the same way")]
        let draw = self.state as f64;
        let gap = ((f64::from(self.next) + 1.5) * (4_294_967_296.0 / (draw + 1.0).sqrt() - 1.0)).ceil();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is not negative"
        )]
        let gap = gap.max(1.0) as u32;
        self.next = self.next.saturating_add(gap);
    }

    /// Whether it goes to a place.
    pub(super) fn goes_to(mut self, place: usize) -> bool {
        while usize::try_from(self.next).is_ok_and(|next| next < place) {
            self.advance();
        }
        usize::try_from(self.next).is_ok_and(|next| next == place)
    }
}

/// A set of short ids that says its symbols, one block after the other. A short id that comes twice is as good as not there.
#[derive(Debug, Clone)]
pub struct Sketch {
    pub(super) key: Key,
    items: Vec<Item>,
    said: u32,
}

impl Sketch {
    /// A sketch of a set: 24 bytes for each id.
    #[must_use]
    pub fn new(key: Key, short_ids: impl IntoIterator<Item = u64>) -> Self {
        let items = short_ids.into_iter().map(|short| Item::new(&key, short)).collect();
        Self { key, items, said: 0 }
    }

    /// How many ids it is of.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether it is of nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many symbols were said.
    #[must_use]
    pub fn said(&self) -> u32 {
        self.said
    }

    /// The short ids, in the order in which they came.
    pub fn short_ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.items.iter().map(|item| item.short)
    }

    /// The next `count` symbols. Each call goes through the whole set, so that blocks should grow.
    #[must_use]
    pub fn next_symbols(&mut self, count: usize) -> Vec<Symbol> {
        let count = count.min(usize::try_from(u32::MAX - self.said).unwrap_or(usize::MAX));
        let mut symbols = vec![Symbol::default(); count];
        let first = self.said;
        for item in &mut self.items {
            while let Ok(at) = usize::try_from(item.next - first)
                && let Some(symbol) = symbols.get_mut(at)
            {
                symbol.add(item, false);
                item.advance();
            }
        }
        self.said = first.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        symbols
    }
}

/// How many symbols are likely to be enough for so many differences.
#[must_use]
pub fn symbols_for(differences: u64) -> u64 {
    let root = differences.isqrt();
    differences.saturating_add(differences / 3).saturating_add(root.saturating_mul(2) + 2)
}

/// How many symbols to write where the other side cannot ask for more, for a difference that is known roughly.
#[must_use]
pub fn one_way_symbols(differences: usize) -> usize {
    differences.saturating_mul(2).saturating_add(8).max(16)
}
