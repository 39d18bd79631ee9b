//! What two sets differ by, from the symbols of both.

use std::collections::{BTreeMap, BinaryHeap};

use super::sketch::{Item, Sketch, Symbol, symbols_for};

/// Why no difference was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReconcileError {
    /// The sets differ by too much, or the symbols are not those of a set.
    #[error("{symbols} symbols did not tell what differs, which is all that was allowed")]
    TooMany {
        /// How many symbols came.
        symbols: usize,
    },
    /// Two messages have the same short id, or the symbols are not those of any set. Another key helps if it is chance.
    #[error("the symbols are not those of a set of short ids that differ")]
    Contradiction,
}

/// What two sets of short ids differ by, each part ascending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// What we have and they lack.
    pub ours: Vec<u64>,
    /// What they have and we lack.
    pub theirs: Vec<u64>,
}

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// More symbols are needed: so many are likely to be enough.
    More(usize),
    /// All is known.
    Solved(Difference),
}

/// Finds the difference between a set of our own and one whose symbols come.
#[derive(Debug, Clone)]
pub struct Solver {
    ours: Sketch,
    /// Our own symbols at places of which theirs did not come yet, last one first.
    ahead: Vec<Symbol>,
    /// How many more are in their set than in ours.
    surplus: i64,
    their_count: u64,
    max_symbols: usize,
    /// Theirs less ours, less what was found.
    symbols: Vec<Symbol>,
    /// What was found: whether it is ours.
    found: BTreeMap<u64, (Item, bool)>,
    /// How often something was found.
    finds: usize,
    /// By how much the counts vary, and how much of that one difference would make.
    variance: f64,
    each: f64,
}

impl Solver {
    /// A solver for our own set, of which no symbol was taken yet, and for one of `their_count`; it gives up after
    /// `max_symbols`.
    #[must_use]
    pub fn new(ours: Sketch, their_count: u64, max_symbols: usize) -> Self {
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let surplus = count(their_count).saturating_sub(count(ours.len() as u64));
        Self {
            ours,
            ahead: Vec::new(),
            surplus,
            their_count,
            max_symbols,
            symbols: Vec::new(),
            found: BTreeMap::new(),
            finds: 0,
            variance: 0.0,
            each: 0.0,
        }
    }

    /// How many symbols came so far.
    #[must_use]
    pub fn symbols(&self) -> usize {
        self.symbols.len()
    }

    /// How many messages the other set was said to have.
    #[must_use]
    pub fn their_count(&self) -> u64 {
        self.their_count
    }

    /// The short ids of our own set, in the order in which they came.
    pub fn short_ids(&self) -> impl Iterator<Item = u64> + '_ {
        self.ours.short_ids()
    }

    /// Takes the next symbols of the other set, and solves what can be solved. `rest`: so many more come next; our own
    /// for these are made in one go with those for the ones that came, as that takes a look at each id.
    ///
    /// # Errors
    /// When these are more than are allowed, or contradict each other. The solver is of no use then.
    pub fn take(&mut self, theirs: &[Symbol], rest: usize) -> Result<Progress, ReconcileError> {
        let first = self.symbols.len();
        let symbols = first.saturating_add(theirs.len());
        if symbols > self.max_symbols {
            return Err(ReconcileError::TooMany { symbols });
        }
        if self.ahead.len() < theirs.len() {
            let open = (self.max_symbols - first).min(theirs.len().saturating_add(rest));
            let mut made = self.ours.next_symbols(open - self.ahead.len());
            made.reverse();
            made.append(&mut self.ahead);
            self.ahead = made;
        }
        for theirs in theirs {
            let mut symbol = *theirs;
            symbol.subtract(&self.ahead.pop().unwrap_or_default());
            self.note_count(self.symbols.len(), symbol.count);
            self.symbols.push(symbol);
        }
        for (item, ours) in self.found.values_mut() {
            remove(item, *ours, &mut self.symbols, |_| {});
        }
        self.peel(first)?;
        if self.symbols.iter().all(Symbol::is_empty) && !self.symbols.is_empty() {
            return Ok(Progress::Solved(self.difference()));
        }
        let differences = self.differences();
        let alike = self.symbols.iter().all(|symbol| symbol.sum == 0 && symbol.check == 0);
        if !self.symbols.is_empty()
            && (alike || symbols as u64 > differences.saturating_mul(3).saturating_add(64))
        {
            return Err(ReconcileError::Contradiction);
        }
        let likely = usize::try_from(symbols_for(differences)).unwrap_or(usize::MAX);
        let least = (symbols / 8).max(2);
        let more = likely.saturating_sub(symbols).max(least).min(self.max_symbols - symbols);
        if more < least {
            return Err(ReconcileError::TooMany { symbols });
        }
        Ok(Progress::More(more))
    }

    /// Takes the count of one place for a guess at how many differences there are. At place i the count is spread by
    /// each with a variance of p (1 - p), where p = 2 / (2 + i), around p times the surplus.
    fn note_count(&mut self, place: usize, count: u8) {
        let place = f64::from(u32::try_from(place).unwrap_or(u32::MAX));
        #[expect(clippy::cast_precision_loss, reason = "a guess")]
        let expected = self.surplus as f64 * 2.0 / (2.0 + place);
        // Counts are known less a multiple of 256: the nearest one is the likely one.
        let off = (f64::from(count) - expected).rem_euclid(256.0);
        let off = if off > 128.0 { 256.0 - off } else { off };
        self.variance += off * off;
        self.each += 2.0 * place / ((2.0 + place) * (2.0 + place));
    }

    /// What few counts show may be far off: rather less than too much, as more can be asked for.
    fn trust(&self) -> f64 {
        let places = f64::from(u32::try_from(self.symbols.len()).unwrap_or(u32::MAX));
        places / (places + 4.0)
    }

    /// How many differences there are likely to be.
    fn differences(&self) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and is positive"
        )]
        let guess =
            if self.each > 0.0 { (self.variance / self.each * self.trust()).ceil() as u64 } else { 0 };
        guess.max(self.surplus.unsigned_abs()).max(self.found.len() as u64)
    }

    /// Takes out what stands alone somewhere, and then what stands alone because of that.
    fn peel(&mut self, first: usize) -> Result<(), ReconcileError> {
        // The last place first: to the first ones so much goes that chance looks like an id there now and then, until all
        // but the last few are out.
        let mut queue: BinaryHeap<usize> = (first..self.symbols.len()).collect();
        while let Some(at) = queue.pop() {
            let Some(symbol) = self.symbols.get(at) else { continue };
            let ours = match symbol.count {
                1 => false,
                u8::MAX => true,
                _ => continue,
            };
            let mut item = Item::new(&self.ours.key, symbol.sum);
            if item.check != symbol.check || !item.goes_to(at) {
                continue;
            }
            // Each of a set's ids stands alone once; and what was none, found by chance, is taken back once.
            self.finds += 1;
            if self.finds > self.symbols.len().saturating_mul(2) + 64 {
                return Err(ReconcileError::Contradiction);
            }
            remove(&mut item, ours, &mut self.symbols, |place| queue.push(place));
            match self.found.remove(&item.short) {
                None => {
                    self.found.insert(item.short, (item, ours));
                }
                Some((_, before)) if before == ours => return Err(ReconcileError::Contradiction),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn difference(&self) -> Difference {
        let part = |which: bool| {
            let part = self.found.iter().filter(move |(_, (_, ours))| *ours == which);
            part.map(|(&short, _)| short).collect()
        };
        Difference { ours: part(true), theirs: part(false) }
    }
}

/// Takes an id out of all places that it goes to, from its next one on. What is ours was subtracted.
fn remove(item: &mut Item, ours: bool, symbols: &mut [Symbol], mut changed: impl FnMut(usize)) {
    while let Ok(at) = usize::try_from(item.next)
        && let Some(symbol) = symbols.get_mut(at)
    {
        symbol.add(item, !ours);
        changed(at);
        item.advance();
    }
}
