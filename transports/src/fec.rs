//! Bundles cut into symbols, for carriers that go one way and lose: any few more symbols than the bundle has pieces are
//! enough, whichever they are.
//!
//! A bundle of any bytes is cut into K source symbols of one size. Out of these as many *repair* symbols are made as the
//! sender likes, by RaptorQ (RFC 6330). Whoever gets K different symbols can put the bundle together with a chance of
//! 99 %, from K + 1 of 99.99 %, from K + 2 of 99.9999 %. The first K symbols are the bundle itself, so that nothing is
//! reckoned where nothing is lost.
//!
//! ```
//! use hedgerow_transports::fec::{Collector, SymbolMaker};
//!
//! # fn main() -> Result<(), hedgerow_transports::fec::FecError> {
//! let bundle = vec![7; 100_000];
//! let maker = SymbolMaker::new(&bundle, 1024)?;
//! // A third gets lost on the way.
//! let sent = maker.symbols(0, 2 * maker.source_count());
//! let mut collector = Collector::default();
//! let arrived = sent.iter().enumerate().filter(|(n, _)| n % 3 != 0);
//! let whole = arrived.map(|(_, symbol)| collector.take(symbol)).find_map(Result::transpose).transpose()?;
//! assert_eq!(whole.as_deref(), Some(&bundle[..]));
//! # Ok(())
//! # }
//! ```
//!
//! # Trust
//! Symbols are not authenticated one by one. A bundle comes out only if it has the hash that its symbols name, so a
//! forged symbol never makes a wrong bundle; but it can spoil the right one. What matters is therefore sealed before it is cut
//! up, and symbols of strangers are kept apart from those of contacts.
//!
//! # Layout of a symbol
//! Version (1 byte, 1), the first 16 bytes of the BLAKE3 hash of the bundle, its length (u32, bytes), the size of a symbol
//! (u16, bytes), the number of the symbol (u32, below 2^24), all integers big-endian; then that many bytes of data.

use std::collections::HashSet;

use bytes::Bytes;
use raptorq::{
    EncodingPacket, ObjectTransmissionInformation, PayloadId, SourceBlockDecoder, SourceBlockEncoder,
};
use thiserror::Error;

/// Bytes before the data of a symbol.
pub const HEADER_LEN: usize = 27;
/// The most bytes that a bundle may have, unless [`Collector::new`] says less: 16 MiB.
pub const MAX_BUNDLE: usize = 16 << 20;
/// The most source symbols that RaptorQ has for one block (RFC 6330, section 5.1.2).
pub const MAX_SOURCE_SYMBOLS: u32 = 56_403;
/// So many symbols more than K are tried before a bundle is given up: by then they contradict each other.
const MAX_EXTRA: usize = 16;
const VERSION: u8 = 1;
const NUMBERS: u32 = 1 << 24;

/// Why a bundle cannot be cut up, or does not come out.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FecError {
    /// A bundle has at least one byte, and at most so many.
    #[error("a bundle of {found} bytes; at least 1 and at most {most} are allowed")]
    BundleSize {
        /// Its bytes.
        found: usize,
        /// What is allowed.
        most: usize,
    },
    /// Symbols of this size would be none, or too many for the bundle.
    #[error(
        "symbols of {size} bytes make {count} of a bundle; at least 1 and at most {MAX_SOURCE_SYMBOLS} are allowed"
    )]
    SymbolSize {
        /// Bytes of a symbol.
        size: u16,
        /// How many that would be.
        count: u64,
    },
    /// Bytes that are no symbol.
    #[error("not a symbol: {0}")]
    Malformed(&'static str),
    /// A symbol of another bundle than those before.
    #[error("a symbol of another bundle")]
    OtherBundle,
    /// There are more symbols than enough, and no bundle with the hash that they name comes out: some are forged or
    /// damaged. All of them were dropped.
    #[error("{symbols} symbols contradict each other")]
    Contradiction {
        /// How many there were.
        symbols: usize,
    },
}

/// What all symbols of a bundle have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    digest: [u8; 16],
    length: u32,
    size: u16,
}

impl Cut {
    fn count(&self) -> u64 {
        u64::from(self.length).div_ceil(u64::from(self.size.max(1)))
    }

    fn checked(self) -> Result<Self, FecError> {
        let count = self.count();
        if self.size == 0 || count == 0 || count > u64::from(MAX_SOURCE_SYMBOLS) {
            return Err(FecError::SymbolSize { size: self.size, count });
        }
        Ok(self)
    }

    fn source_count(&self) -> u32 {
        u32::try_from(self.count()).unwrap_or(MAX_SOURCE_SYMBOLS)
    }

    /// One block, not divided further.
    fn config(&self) -> ObjectTransmissionInformation {
        ObjectTransmissionInformation::new(u64::from(self.length), self.size, 1, 1, 1)
    }

    fn block_len(&self) -> u64 {
        self.count() * u64::from(self.size)
    }
}

fn digest(bundle: &[u8]) -> [u8; 16] {
    let hash = blake3::hash(bundle);
    let mut digest = [0; 16];
    digest.iter_mut().zip(hash.as_bytes()).for_each(|(to, from)| *to = *from);
    digest
}

/// Makes symbols of a bundle.
pub struct SymbolMaker {
    cut: Cut,
    encoder: SourceBlockEncoder,
}

impl std::fmt::Debug for SymbolMaker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SymbolMaker").field("cut", &self.cut).finish_non_exhaustive()
    }
}

impl SymbolMaker {
    /// Cuts a bundle into symbols with `size` bytes of data each, and [`HEADER_LEN`] bytes before them.
    ///
    /// # Errors
    /// When the bundle is empty or has more than [`MAX_BUNDLE`] bytes, or the symbols would be too many.
    pub fn new(bundle: &[u8], size: u16) -> Result<Self, FecError> {
        let wrong = FecError::BundleSize { found: bundle.len(), most: MAX_BUNDLE };
        let length = u32::try_from(bundle.len()).ok().filter(|_| (1..=MAX_BUNDLE).contains(&bundle.len()));
        let cut = Cut { digest: digest(bundle), length: length.ok_or(wrong)?, size }.checked()?;
        let mut padded = bundle.to_vec();
        padded.resize(usize::try_from(cut.block_len()).unwrap_or(bundle.len()), 0);
        let encoder = SourceBlockEncoder::new(0, &cut.config(), &padded);
        Ok(Self { cut, encoder })
    }

    /// K: how many symbols the bundle itself is.
    #[must_use]
    pub fn source_count(&self) -> u32 {
        self.cut.source_count()
    }

    /// The symbols from number `first` on, `count` of them; fewer at the end of all numbers, 2^24. Those below
    /// [`Self::source_count`] are pieces of the bundle.
    #[must_use]
    pub fn symbols(&self, first: u32, count: u32) -> Vec<Bytes> {
        let source = self.source_count();
        let end = first.saturating_add(count).min(NUMBERS);
        let mut packets = Vec::new();
        if first < source {
            let pieces = self.encoder.source_packets().into_iter();
            packets.extend(pieces.skip(first as usize).take(end.min(source).saturating_sub(first) as usize));
        }
        let from = first.max(source);
        if end > from {
            packets.extend(self.encoder.repair_packets(from - source, end - from));
        }
        packets.into_iter().map(|packet| self.written(packet)).collect()
    }

    fn written(&self, packet: EncodingPacket) -> Bytes {
        let (id, data) = packet.split();
        let mut symbol = Vec::with_capacity(HEADER_LEN + data.len());
        symbol.push(VERSION);
        symbol.extend_from_slice(&self.cut.digest);
        symbol.extend_from_slice(&self.cut.length.to_be_bytes());
        symbol.extend_from_slice(&self.cut.size.to_be_bytes());
        symbol.extend_from_slice(&id.encoding_symbol_id().to_be_bytes());
        symbol.extend_from_slice(&data);
        symbol.into()
    }
}

/// Collects symbols until their bundle can be put together. Holds as many bytes as the bundle has, at most twice.
#[derive(Debug, Clone)]
pub struct Collector {
    max_bundle: usize,
    current: Option<Current>,
}

#[derive(Debug, Clone)]
struct Current {
    cut: Cut,
    decoder: SourceBlockDecoder,
    seen: HashSet<u32>,
}

impl Default for Collector {
    fn default() -> Self {
        Self::new(MAX_BUNDLE)
    }
}

impl Collector {
    /// Takes bundles of at most `max_bundle` bytes.
    #[must_use]
    pub fn new(max_bundle: usize) -> Self {
        Self { max_bundle, current: None }
    }

    /// How many different symbols came, and how many are enough at the least.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        let current = self.current.as_ref();
        current.map_or((0, 0), |current| (current.seen.len(), current.cut.source_count() as usize))
    }

    /// Takes a symbol, in any order; one that came before changes nothing. Gives the bundle as soon as it is whole, and
    /// then begins anew.
    ///
    /// # Errors
    /// When the bytes are no symbol, name a bundle that is too large or another one than before, or the symbols do not
    /// fit together. The symbol is not kept; in the last case none is.
    pub fn take(&mut self, symbol: &[u8]) -> Result<Option<Vec<u8>>, FecError> {
        let (cut, number, data) = read(symbol)?;
        if cut.length as usize > self.max_bundle {
            return Err(FecError::BundleSize { found: cut.length as usize, most: self.max_bundle });
        }
        let current = self.current.get_or_insert_with(|| Current {
            cut,
            decoder: SourceBlockDecoder::new(0, &cut.config(), cut.block_len()),
            seen: HashSet::new(),
        });
        if current.cut != cut {
            return Err(FecError::OtherBundle);
        }
        if !current.seen.insert(number) {
            return Ok(None);
        }
        let packet = EncodingPacket::new(PayloadId::new(0, number), data.to_vec());
        let whole = current.decoder.decode([packet]);
        let symbols = current.seen.len();
        let Some(mut bundle) = whole else {
            if symbols >= cut.source_count() as usize + MAX_EXTRA {
                self.current = None;
                return Err(FecError::Contradiction { symbols });
            }
            return Ok(None);
        };
        self.current = None;
        bundle.truncate(cut.length as usize);
        if digest(&bundle) != cut.digest {
            return Err(FecError::Contradiction { symbols });
        }
        Ok(Some(bundle))
    }
}

fn read(symbol: &[u8]) -> Result<(Cut, u32, &[u8]), FecError> {
    let short = FecError::Malformed("it is shorter than its header");
    let (version, rest) = symbol.split_first().ok_or(short.clone())?;
    let (digest, rest) = rest.split_first_chunk().ok_or(short.clone())?;
    let (length, rest) = rest.split_first_chunk().ok_or(short.clone())?;
    let (size, rest) = rest.split_first_chunk().ok_or(short.clone())?;
    let (number, data) = rest.split_first_chunk().ok_or(short)?;
    if *version != VERSION {
        return Err(FecError::Malformed("another version"));
    }
    let (length, size) = (u32::from_be_bytes(*length), u16::from_be_bytes(*size));
    let number = u32::from_be_bytes(*number);
    let cut = Cut { digest: *digest, length, size }.checked()?;
    if number >= NUMBERS {
        return Err(FecError::Malformed("its number is 2^24 or more"));
    }
    if data.len() != usize::from(size) {
        return Err(FecError::Malformed("it has not the size that it names"));
    }
    Ok((cut, number, data))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _, seq::SliceRandom as _};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn bundle(rng: &mut ChaCha8Rng, len: usize) -> Vec<u8> {
        (0..len).map(|_| rng.random()).collect()
    }

    /// How many symbols were taken until the bundle came out.
    fn needed(bundle: &[u8], symbols: &[Bytes]) -> Option<usize> {
        let mut collector = Collector::default();
        for (n, symbol) in symbols.iter().enumerate() {
            if let Some(whole) = collector.take(symbol).unwrap() {
                assert_eq!(whole, bundle);
                assert_eq!(collector.progress(), (0, 0));
                return Some(n + 1);
            }
        }
        None
    }

    #[test]
    fn any_two_symbols_more_than_the_bundle_has_are_enough() {
        for seed in 0..60 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (len, size) = (rng.random_range(1..30_000), rng.random_range(16..1_200));
            let bundle = bundle(&mut rng, len);
            let maker = SymbolMaker::new(&bundle, size).unwrap();
            let source = maker.source_count() as usize;
            let mut symbols = maker.symbols(0, 3 * maker.source_count() + 8);
            symbols.shuffle(&mut rng);
            symbols.truncate(source + 2);
            let needed = needed(&bundle, &symbols);
            assert!(needed.is_some_and(|needed| needed >= source), "seed {seed}: {needed:?} of {source}");
        }
    }

    #[test]
    fn without_loss_the_bundle_itself_is_enough_and_every_symbol_has_its_number() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let bundle = bundle(&mut rng, 10_001);
        let maker = SymbolMaker::new(&bundle, 100).unwrap();
        assert_eq!(maker.source_count(), 101);
        assert_eq!(needed(&bundle, &maker.symbols(0, 101)), Some(101));
        assert_eq!(maker.symbols(0, 101)[0][HEADER_LEN..], bundle[..100]);
        // However they are asked for.
        let parts = [maker.symbols(0, 90), maker.symbols(90, 30), maker.symbols(120, 5)].concat();
        assert_eq!(parts, maker.symbols(0, 125));
        assert_eq!(maker.symbols(NUMBERS - 1, 5).len(), 1);
        let repair = maker.symbols(5_000, 103);
        assert!(needed(&bundle, &repair).is_some());
    }

    #[test]
    fn a_symbol_that_comes_again_changes_nothing() {
        let bundle = vec![3; 1000];
        let maker = SymbolMaker::new(&bundle, 100).unwrap();
        let mut collector = Collector::default();
        for _ in 0..50 {
            assert_eq!(collector.take(&maker.symbols(4, 1)[0]), Ok(None));
        }
        assert_eq!(collector.progress(), (1, 10));
    }

    #[test]
    fn a_forged_symbol_makes_no_wrong_bundle_and_the_next_try_is_clean() {
        let bundle = vec![3; 1000];
        let maker = SymbolMaker::new(&bundle, 100).unwrap();
        let mut symbols = maker.symbols(0, 12);
        let mut forged = symbols[2].to_vec();
        forged[HEADER_LEN] ^= 1;
        symbols[2] = forged.into();
        let mut collector = Collector::default();
        let results: Vec<_> = symbols[..10].iter().map(|symbol| collector.take(symbol)).collect();
        assert_eq!(results[9], Err(FecError::Contradiction { symbols: 10 }));
        assert!(needed(&bundle, &maker.symbols(0, 10)).is_some());
        assert_eq!(collector.progress(), (0, 0));
    }

    #[test]
    fn made_up_symbols_end_in_an_error_and_never_in_a_bundle() {
        for seed in 0..300 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let (len, size) = (rng.random_range(1..2_000), rng.random_range(1..200));
            let maker = SymbolMaker::new(&bundle(&mut rng, len), size).unwrap();
            let genuine = maker.symbols(0, 2 * maker.source_count());
            let mut collector = Collector::default();
            let mut ended = false;
            for n in 0..maker.source_count() + 40 {
                let mut symbol = genuine[rng.random_range(0..genuine.len())].to_vec();
                // The first one is always forged.
                if n == 0 || rng.random_bool(0.5) {
                    let number: u32 = rng.random_range(0..NUMBERS);
                    symbol[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&number.to_be_bytes());
                    rng.fill(&mut symbol[HEADER_LEN..]);
                }
                match collector.take(&symbol) {
                    Ok(None) => {}
                    Err(FecError::Contradiction { .. }) => ended = true,
                    // After that, genuine ones may suffice.
                    other => assert!(ended, "seed {seed}: {other:?}"),
                }
            }
            assert!(ended, "seed {seed}: it waits for ever");
        }
    }

    #[test]
    fn wrong_bytes_are_told_apart() {
        let maker = SymbolMaker::new(&[1; 300], 100).unwrap();
        let good = maker.symbols(0, 1)[0].to_vec();
        let mut collector = Collector::new(1000);
        let mut say = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut symbol = good.clone();
            change(&mut symbol);
            collector.take(&symbol)
        };
        for len in 0..HEADER_LEN {
            assert!(matches!(say(&|symbol| symbol.truncate(len)), Err(FecError::Malformed(_))));
        }
        assert_eq!(say(&|symbol| symbol[0] = 2), Err(FecError::Malformed("another version")));
        assert!(matches!(say(&|symbol| symbol.push(0)), Err(FecError::Malformed(_))));
        assert!(matches!(say(&|symbol| symbol[23] = 1), Err(FecError::Malformed(_))));
        let large = FecError::BundleSize { found: 1 << 24 | 300, most: 1000 };
        // The size of symbols is large enough for that.
        let grow = |symbol: &mut Vec<u8>| {
            symbol[17] = 1;
            symbol[21] = 4;
            symbol.resize(HEADER_LEN + 1024 + 100, 0);
        };
        assert_eq!(say(&grow), Err(large));
        assert_eq!(say(&|_| {}), Ok(None));
        assert_eq!(say(&|symbol| symbol[3] ^= 1), Err(FecError::OtherBundle));
        let many = FecError::SymbolSize { size: 0, count: 300 };
        assert_eq!(say(&|symbol| symbol[21..23].fill(0)), Err(many));
        assert!(matches!(say(&|symbol| symbol[17..21].fill(0)), Err(FecError::SymbolSize { .. })));
    }

    #[test]
    fn what_cannot_be_cut_up_is_refused() {
        let refused = |bundle: &[u8], size| SymbolMaker::new(bundle, size).unwrap_err();
        assert_eq!(refused(&[], 10), FecError::BundleSize { found: 0, most: MAX_BUNDLE });
        let large = vec![0; MAX_BUNDLE + 1];
        assert_eq!(refused(&large, 1000), FecError::BundleSize { found: MAX_BUNDLE + 1, most: MAX_BUNDLE });
        assert_eq!(refused(&[1], 0), FecError::SymbolSize { size: 0, count: 1 });
        let count = u64::from(MAX_SOURCE_SYMBOLS) + 1;
        let bundle = vec![0; MAX_SOURCE_SYMBOLS as usize + 1];
        assert_eq!(refused(&bundle, 1), FecError::SymbolSize { size: 1, count });
    }
}
