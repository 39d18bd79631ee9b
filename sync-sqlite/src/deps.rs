//! Dependencies as bytes: LEB128 integers, the distance of each from the message, so that the one before it
//! takes a byte.

use hedgerow_sync_core::store::MessageNum;

/// Dependencies of message `num` as bytes.
pub(crate) fn encode(num: MessageNum, deps: &[MessageNum]) -> Vec<u8> {
    let mut out = Vec::with_capacity(deps.len() * 2);
    for dep in deps {
        let distance = num.0.cast_signed().wrapping_sub(dep.0.cast_signed());
        // Zigzag: a dependency may have come later than the message.
        let mut n = (distance.wrapping_shl(1) ^ (distance >> 63)).cast_unsigned();
        while n >= 0x80 {
            out.push((n & 0x7f) as u8 | 0x80);
            n >>= 7;
        }
        out.push((n & 0x7f) as u8);
    }
    out
}

/// Dependencies of message `num` from bytes; `None` if they are none.
pub(crate) fn decode(num: MessageNum, mut bytes: &[u8]) -> Option<Vec<MessageNum>> {
    let mut deps = Vec::new();
    while !bytes.is_empty() {
        let n = take(&mut bytes)?;
        let distance = (n >> 1).cast_signed() ^ (n & 1).cast_signed().wrapping_neg();
        deps.push(MessageNum(num.0.cast_signed().wrapping_sub(distance).cast_unsigned()));
    }
    Some(deps)
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deps_go_round() {
        let deps: Vec<_> = [1, 99, 101, 5, u64::MAX >> 1].map(MessageNum).into();
        let bytes = encode(MessageNum(100), &deps);
        assert_eq!(decode(MessageNum(100), &bytes), Some(deps));
        assert_eq!(encode(MessageNum(100), &[MessageNum(99)]), [2]);
        assert_eq!(encode(MessageNum(100), &[MessageNum(101)]), [1]);
        assert_eq!(decode(MessageNum(100), &[]), Some(vec![]));
        assert_eq!(decode(MessageNum(100), &[0x80]), None);
        assert_eq!(decode(MessageNum(100), &[0xff; 11]), None);
    }
}
