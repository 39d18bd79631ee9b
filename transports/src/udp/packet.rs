//! The datagrams on the wire. Integers are big-endian; the layout is given in the module `udp`.

use crate::noise::{FIRST, PROOF, SECOND_WITH_ID, TAG, THIRD, VERSION};

const MAGIC: [u8; 6] = [0xE8, b'H', b'G', b'R', b'O', b'W'];

pub(crate) const COOKIE: usize = 16;
/// A HELLO is filled up to this length, above every answer it can get: who forges its sender gains nothing.
pub(crate) const HELLO_LEN: usize = 192;
/// What a DATA packet has before its sealed content, in bytes.
pub(crate) const DATA_HEADER: usize = 1 + 4 + 8;

const HELLO: u8 = 1;
const RETRY: u8 = 2;
const OTHER_VERSION: u8 = 3;
const REPLY: u8 = 4;
const FINISH: u8 = 5;
const DATA: u8 = 6;

/// The id under which one end knows a session. Each end chooses its own; packets bear the one of their receiver.
pub(crate) type SessionId = u32;

/// A datagram, read but not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    /// Opens a handshake. The cookie is all zero at first.
    Hello { from: SessionId, first: &'a [u8; FIRST], cookie: &'a [u8; COOKIE] },
    /// A HELLO of another version.
    ForeignHello { from: SessionId, version: u16 },
    /// Say hello again, with this cookie.
    Retry { to: SessionId, cookie: &'a [u8; COOKIE] },
    /// The listener speaks another version.
    OtherVersion { to: SessionId, version: u16 },
    /// The second message of the handshake; in it, sealed, the id of the listener's own for the session.
    Reply { to: SessionId, second: &'a [u8; SECOND_WITH_ID] },
    /// The third message, and the proof of the dialler.
    Finish { to: SessionId, third: &'a [u8; THIRD], nonce: u64, sealed: &'a [u8] },
    /// Anything of a session that has its keys.
    Data { to: SessionId, nonce: u64, sealed: &'a [u8] },
}

impl<'a> Packet<'a> {
    /// None for whatever is no packet of this protocol.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut input = Input(bytes);
        let packet = match input.array::<1>()? {
            [HELLO] => {
                if input.array()? != &MAGIC || bytes.len() < HELLO_LEN {
                    return None;
                }
                let version = input.u16()?;
                let from = input.u32()?;
                if version != VERSION {
                    return Some(Self::ForeignHello { from, version });
                }
                let hello = Self::Hello { from, first: input.array()?, cookie: input.array()? };
                return (bytes.len() == HELLO_LEN).then_some(hello);
            }
            [RETRY] => Self::Retry { to: input.u32()?, cookie: input.array()? },
            [OTHER_VERSION] => Self::OtherVersion { to: input.u32()?, version: input.u16()? },
            [REPLY] => Self::Reply { to: input.u32()?, second: input.array()? },
            [FINISH] => {
                let (to, third, nonce) = (input.u32()?, input.array()?, input.u64()?);
                let sealed = input.rest();
                return (sealed.len() == 1 + PROOF + TAG).then_some(Self::Finish {
                    to,
                    third,
                    nonce,
                    sealed,
                });
            }
            [DATA] => {
                let (to, nonce) = (input.u32()?, input.u64()?);
                let sealed = input.rest();
                return (sealed.len() > TAG).then_some(Self::Data { to, nonce, sealed });
            }
            _ => return None,
        };
        input.0.is_empty().then_some(packet)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let parts = |parts: &[&[u8]]| parts.concat();
        match self {
            Self::Hello { from, first, cookie } => {
                let mut hello =
                    parts(&[&[HELLO], &MAGIC, &VERSION.to_be_bytes(), &from.to_be_bytes(), *first, *cookie]);
                hello.resize(HELLO_LEN, 0);
                hello
            }
            Self::ForeignHello { from, version } => {
                let mut hello = parts(&[&[HELLO], &MAGIC, &version.to_be_bytes(), &from.to_be_bytes()]);
                hello.resize(HELLO_LEN, 0);
                hello
            }
            Self::Retry { to, cookie } => parts(&[&[RETRY], &to.to_be_bytes(), *cookie]),
            Self::OtherVersion { to, version } => {
                parts(&[&[OTHER_VERSION], &to.to_be_bytes(), &version.to_be_bytes()])
            }
            Self::Reply { to, second } => parts(&[&[REPLY], &to.to_be_bytes(), *second]),
            Self::Finish { to, third, nonce, sealed } => {
                parts(&[&[FINISH], &to.to_be_bytes(), *third, &nonce.to_be_bytes(), sealed])
            }
            Self::Data { to, nonce, sealed } => {
                parts(&[&[DATA], &to.to_be_bytes(), &nonce.to_be_bytes(), sealed])
            }
        }
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn array<const LEN: usize>(&mut self) -> Option<&'a [u8; LEN]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(array)
    }

    fn u16(&mut self) -> Option<u16> {
        self.array().copied().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.array().copied().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().copied().map(u64::from_be_bytes)
    }

    fn rest(self) -> &'a [u8] {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_packet_goes_round_and_no_answer_is_longer_than_its_question() {
        let packets = [
            Packet::Hello { from: 1, first: &[2; FIRST], cookie: &[3; COOKIE] },
            Packet::ForeignHello { from: 1, version: 9 },
            Packet::Retry { to: 4, cookie: &[5; COOKIE] },
            Packet::OtherVersion { to: 6, version: 7 },
            Packet::Reply { to: 8, second: &[10; SECOND_WITH_ID] },
            Packet::Finish { to: 11, third: &[12; THIRD], nonce: 13, sealed: &[14; 1 + PROOF + TAG] },
            Packet::Data { to: 15, nonce: 16, sealed: &[17; 30] },
        ];
        for packet in packets {
            assert_eq!(Packet::read(&packet.write()), Some(packet));
        }
        assert!(packets[2..5].iter().all(|answer| answer.write().len() < HELLO_LEN));
        let proof = Packet::Data { to: 0, nonce: 0, sealed: &[0; 1 + PROOF + TAG] };
        assert!(proof.write().len() < packets[5].write().len());
    }

    #[test]
    fn a_packet_of_any_other_length_is_none() {
        let hello = Packet::Hello { from: 1, first: &[2; FIRST], cookie: &[3; COOKIE] }.write();
        for len in 0..hello.len() {
            assert_eq!(Packet::read(&hello[..len]), None);
        }
        assert_eq!(Packet::read(&[hello, vec![0]].concat()), None);
        let retry = Packet::Retry { to: 4, cookie: &[5; COOKIE] }.write();
        assert_eq!(Packet::read(&[retry, vec![0]].concat()), None);
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Packet::read(&bytes);
        }
    }
}
