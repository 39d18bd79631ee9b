//! Integers of few bytes where they are small: LEB128, signed ones zigzag-coded.

/// Appends `n`.
pub(crate) fn put(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push((n & 0x7f) as u8);
}

/// Appends a signed number.
pub(crate) fn put_signed(out: &mut Vec<u8>, n: i64) {
    put(out, (n.wrapping_shl(1) ^ (n >> 63)).cast_unsigned());
}

/// Takes a number off the front; `None` if there is none.
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut n = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        n |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(n);
        }
    }
    None
}

/// Takes a signed number off the front.
pub(crate) fn take_signed(bytes: &mut &[u8]) -> Option<i64> {
    take(bytes).map(|n| (n >> 1).cast_signed() ^ (n & 1).cast_signed().wrapping_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_go_round() {
        for n in [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN, 1_700_000_000_000] {
            let mut bytes = Vec::new();
            put_signed(&mut bytes, n);
            put(&mut bytes, n.cast_unsigned());
            let mut rest = &bytes[..];
            assert_eq!(take_signed(&mut rest), Some(n));
            assert_eq!(take(&mut rest), Some(n.cast_unsigned()));
            assert!(rest.is_empty());
        }
        let mut small = Vec::new();
        put_signed(&mut small, -64);
        assert_eq!(small.len(), 1);
        assert_eq!(take(&mut &[0x80_u8][..]), None);
        assert_eq!(take(&mut &[0xff_u8; 11][..]), None);
    }
}
