//! Frames made by hand, for peers that are no engines.

use bytes::Bytes;
use hedgerow_proto::{
    Announce, Batch, Codec as _, DepRef, Frame, GroupId, GroupRef, Hello, Message, MessageId, NativeCodec,
    Visibility, WireMessage,
};

use crate::engine::{Engine, LinkId};
use crate::store::MemoryStore;
use crate::time::Time;

/// The key of the tags of every peer that is made by hand.
pub const NONCE: [u8; 16] = [3; 16];

/// A HELLO with this install number and usual limits.
pub fn hello(install: u64) -> Hello {
    Hello { major: 1, minor: 0, nonce: NONCE, install, max_frame: 65_536, max_offers: 512 }
}

/// The ANNOUNCE of a group that is shared, of which nothing is held, and which its sender calls `number`.
pub fn announce(group: GroupId, number: u32) -> Announce {
    Announce {
        number,
        tag: Announce::tag_of(&NONCE, group),
        visibility: Visibility::Shared,
        held: vec![],
        mark: 0,
        mark_chain: 0,
        reset: 0,
        summary: None,
    }
}

/// The first frame of a session that shares these groups, which are called 1, 2, and so on.
pub fn greeting(groups: &[GroupId]) -> Frame {
    let announces = groups.iter().zip(1..).map(|(&group, number)| announce(group, number)).collect();
    Frame { hello: Some(hello(1)), announces, ..Frame::default() }
}

/// A message that nobody has published.
pub fn message(group: GroupId, body: &str, deps: &[&Message]) -> Message {
    let mut deps: Vec<MessageId> = deps.iter().map(|dep| dep.id()).collect();
    deps.sort_unstable();
    Message::new(group, 5, deps, Bytes::copy_from_slice(body.as_bytes())).unwrap()
}

/// A message as it crosses, its dependencies by their ids.
pub fn wire(message: &Message, position: Option<u64>) -> WireMessage {
    WireMessage {
        position,
        timestamp_ms: message.timestamp_ms(),
        deps: message.deps().iter().copied().map(DepRef::Id).collect(),
        body: message.body().clone(),
    }
}

/// A frame with messages of the group that its sender calls `number`.
pub fn batch(number: u32, messages: Vec<WireMessage>) -> Frame {
    let batch = Batch { group: GroupRef::Number(number), messages, chain: 0 };
    Frame { batches: vec![batch], ..Frame::default() }
}

/// How many messages a frame offers.
pub fn offers_in(frame: &Frame) -> usize {
    let full: usize = frame.offers.iter().map(|offer| offer.items.len()).sum();
    full + frame.short_offers.iter().map(|offer| offer.items.len()).sum::<usize>()
}

/// A frame in bytes.
pub fn encode(frame: &Frame) -> Bytes {
    let mut bytes = Vec::new();
    NativeCodec::new().encode(frame, &mut bytes).unwrap();
    bytes.into()
}

/// Every frame that an engine has for a link.
pub fn hear(engine: &mut Engine<MemoryStore>, link: LinkId, now: Time) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(bytes) = engine.poll_transmit(link, now, usize::MAX).unwrap() {
        frames.push(NativeCodec::new().decode(bytes).unwrap());
    }
    frames
}
