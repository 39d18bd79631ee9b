//! Dependencies as bytes: LEB128 integers, the distance of each from the message, so that the one before it
//! takes a byte.

use hedgerow_sync_core::store::MessageNum;

use crate::varint;

/// Dependencies of message `num` as bytes.
pub(crate) fn encode(num: MessageNum, deps: &[MessageNum]) -> Vec<u8> {
    let mut out = Vec::with_capacity(deps.len() * 2);
    for dep in deps {
        // Below 0 where a dependency came later than the message.
        varint::put_signed(&mut out, num.0.cast_signed().wrapping_sub(dep.0.cast_signed()));
    }
    out
}

/// Dependencies of message `num` from bytes; `None` if they are none.
pub(crate) fn decode(num: MessageNum, mut bytes: &[u8]) -> Option<Vec<MessageNum>> {
    let mut deps = Vec::new();
    while !bytes.is_empty() {
        let distance = varint::take_signed(&mut bytes)?;
        deps.push(MessageNum(num.0.cast_signed().wrapping_sub(distance).cast_unsigned()));
    }
    Some(deps)
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
