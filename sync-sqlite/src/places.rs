//! Where in the delivery order of a group each message stands: 64 positions to a row.
//!
//! Those of a place that were in canonical order when they were delivered, each after all before it, are its *main*
//! ones. The others are *late*: the table `late` has their keys.

use hedgerow_sync_core::store::GroupNum;

use crate::varint;

/// Positions to a row.
pub(crate) const SPAN: u64 = STANDS as u64;
const STANDS: usize = 64;

/// What stands at one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stand {
    /// The number of the message; 0 for none.
    pub(crate) num: u64,
    /// Its key is in the table `late`.
    pub(crate) late: bool,
}

const NOBODY: Stand = Stand { num: 0, late: false };

/// Which row: a group and the number of the row in it, from 0.
pub(crate) type PlaceKey = (GroupNum, u64);

/// The positions of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    stands: [Stand; STANDS],
    /// The highest position of a main message in this row or a lower one; 0 for none.
    pub(crate) top: u64,
}

/// The row that has a position, and where in it.
pub(crate) fn place_of(position: u64) -> (u64, usize) {
    let index = position.saturating_sub(1);
    (index / SPAN, usize::try_from(index % SPAN).unwrap_or(0))
}

impl Place {
    pub(crate) fn new(top: u64) -> Self {
        Self { stands: [NOBODY; STANDS], top }
    }

    pub(crate) fn get(&self, slot: usize) -> Stand {
        self.stands.get(slot).copied().unwrap_or(NOBODY)
    }

    pub(crate) fn set(&mut self, slot: usize, num: u64, late: bool) {
        if let Some(stand) = self.stands.get_mut(slot) {
            *stand = Stand { num, late: late && num > 0 };
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.stands.iter().all(|stand| stand.num == 0)
    }

    /// What stands where, in order, with the positions of row `row`.
    pub(crate) fn stands(&self, row: u64) -> impl DoubleEndedIterator<Item = (u64, Stand)> {
        let first = row.saturating_mul(SPAN).saturating_add(1);
        (first..=first.saturating_add(SPAN - 1))
            .zip(self.stands)
            .collect::<Vec<_>>()
            .into_iter()
            .filter(|(_, stand)| stand.num > 0)
    }

    /// Runs of numbers that follow each other.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut rest = &self.stands[..];
        let mut expected = 0_u64;
        while let Some(&first) = rest.first() {
            let len = (0_u64..)
                .zip(rest)
                .take_while(|(n, stand)| {
                    let num = if first.num == 0 { 0 } else { first.num.wrapping_add(*n) };
                    stand.num == num && stand.late == first.late
                })
                .count();
            let (_, after) = rest.split_at_checked(len).unwrap_or_default();
            rest = after;
            if first.num == 0 && rest.is_empty() {
                break;
            }
            let flags = u64::from(first.num == 0) << 1 | u64::from(first.late);
            varint::put(&mut out, (len as u64) << 2 | flags);
            if first.num > 0 {
                varint::put_signed(&mut out, first.num.wrapping_sub(expected).cast_signed());
                expected = first.num.wrapping_add(len as u64);
            }
        }
        out
    }

    /// `None` if these are no positions.
    pub(crate) fn decode(mut bytes: &[u8], top: u64) -> Option<Self> {
        let mut place = Self::new(top);
        let mut stands = place.stands.iter_mut();
        let mut expected = 0_u64;
        while !bytes.is_empty() {
            let head = varint::take(&mut bytes)?;
            let (len, nobody, late) = (head >> 2, head & 2 != 0, head & 1 != 0);
            if !nobody {
                expected = expected.wrapping_add(varint::take_signed(&mut bytes)?.cast_unsigned());
            }
            if len == 0 || len > SPAN {
                return None;
            }
            for _ in 0..len {
                let stand = stands.next()?;
                if !nobody {
                    i64::try_from(expected).ok().filter(|num| *num > 0)?;
                    *stand = Stand { num: expected, late };
                    expected = expected.wrapping_add(1);
                }
            }
        }
        Some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_go_round() {
        let mut place = Place::new(7);
        assert_eq!(place.encode(), []);
        for slot in 0..64 {
            place.set(slot, 1_000_000 + slot as u64, false);
        }
        // 64 positions in 5 bytes.
        assert_eq!(place.encode().len(), 2 + 3);
        for (slot, num, late) in [(0, 0, false), (9, 5, true), (10, 6, true), (11, 7, false), (63, 0, false)]
        {
            place.set(slot, num, late);
        }
        let bytes = place.encode();
        let read = Place::decode(&bytes, 7).unwrap();
        assert_eq!(read, place);
        assert_eq!((read.get(0).num, read.get(10)), (0, Stand { num: 6, late: true }));
        assert_eq!(read.stands(1).next(), Some((66, Stand { num: 1_000_001, late: false })));
        assert_eq!(read.stands(1).count(), 62);
    }

    #[test]
    fn whatever_the_bytes_are_they_are_read_or_refused() {
        let mut place = Place::new(0);
        place.set(3, 9, true);
        let bytes = place.encode();
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.clone();
                changed[at] ^= 1 << bit;
                let _read = Place::decode(&changed, 0);
            }
        }
        // 65 positions in one run: 65 << 2 in two bytes.
        assert_eq!(Place::decode(&[0x84, 0x02, 2], 0), None);
        assert_eq!(Place::decode(&[0, 2], 0), None);
        // 65 positions in two runs, and a number below 1.
        let mut long = Vec::new();
        varint::put(&mut long, 64 << 2);
        varint::put_signed(&mut long, 1);
        varint::put(&mut long, 1 << 2);
        varint::put_signed(&mut long, 0);
        assert_eq!(Place::decode(&long, 0), None);
        assert_eq!(Place::decode(&[4, 0], 0), None);
    }

    #[test]
    fn positions_have_their_rows() {
        assert_eq!(place_of(1), (0, 0));
        assert_eq!(place_of(64), (0, 63));
        assert_eq!(place_of(65), (1, 0));
    }
}
