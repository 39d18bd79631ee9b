//! A peer whose frames are made by hand, on a link to an engine.

use hedgerow_proto::{
    Ack, Frame, GroupId, GroupRef, Message, MessageId, Offer, OfferItem, PeerId, Request, Span, Unavailable,
    Visibility,
};
use hedgerow_sync_core::testing::Net;
use hedgerow_sync_core::testing::by_hand;
pub(crate) use hedgerow_sync_core::testing::by_hand::{announce, encode, hello, offers_in};
use hedgerow_sync_core::{Engine, LinkId, LinkProfile, MemoryStore, ReceiveError, Time, Traffic};

/// A peer whose frames are made by hand.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hand {
    pub(crate) id: PeerId,
    pub(crate) link: LinkId,
}

impl Hand {
    /// A peer that an engine shares groups with, which it names 1, 2, and so on. The session is open.
    pub(crate) fn meet(engine: &mut Engine<MemoryStore>, name: u8, groups: &[GroupId], now: Time) -> Self {
        let id = PeerId::from_bytes([name; 32]);
        for &group in groups {
            engine.set_visibility(id, group, Visibility::Shared).unwrap();
        }
        let link = engine.link_up(id, LinkProfile::reliable(), now).unwrap();
        let hand = Self { id, link };
        let hello = Some(hello(u64::from(name)));
        hand.tell(engine, &Frame { hello, ..by_hand::greeting(groups) }, now).unwrap();
        hand
    }

    /// The same for node 0 of a network.
    pub(crate) fn new(net: &mut Net, name: u8, groups: &[GroupId]) -> Self {
        let hand = Self::meet(&mut net.engines[0], name, groups, net.now);
        net.drain(0);
        hand
    }

    /// Gives an engine a frame.
    pub(crate) fn tell(
        self,
        engine: &mut Engine<MemoryStore>,
        frame: &Frame,
        now: Time,
    ) -> Result<(), ReceiveError> {
        engine.receive(self.link, encode(frame), now)
    }

    /// Gives node 0 a frame, and lets it do what follows.
    pub(crate) fn say(self, net: &mut Net, frame: &Frame) {
        self.tell(&mut net.engines[0], frame, net.now).unwrap();
        net.drain(0);
    }

    /// Gives node 0 messages of the first group, the first of them under this position (0 for none).
    pub(crate) fn send(self, net: &mut Net, first: u64, messages: &[Message]) {
        self.say(net, &batch(first, messages));
    }

    /// Every frame that node 0 has for it.
    pub(crate) fn hear(self, net: &mut Net) -> Vec<Frame> {
        by_hand::hear(&mut net.engines[0], self.link, net.now)
    }

    /// What crossed its link, as node 0 counts it.
    pub(crate) fn traffic(self, net: &Net) -> Traffic {
        let links = net.engines[0].status().links;
        links.iter().find(|link| link.link == self.link).unwrap().traffic
    }
}

/// A frame of messages of the first group, the first under this position (0 for none), the others after it.
pub(crate) fn batch(first: u64, messages: &[Message]) -> Frame {
    let position = |n| (first > 0).then_some(first + n);
    let wires = (0..).zip(messages).map(|(n, message)| by_hand::wire(message, position(n)));
    by_hand::batch(1, wires.collect())
}

/// A frame that offers ids of the first group, the first under this position.
pub(crate) fn offer(first: u64, ids: impl IntoIterator<Item = MessageId>) -> Frame {
    let items = (0..).zip(ids).map(|(n, id)| OfferItem { position: Some(first + n), id });
    let offer = Offer { group: GroupRef::Number(1), items: items.collect(), chain: 0 };
    Frame { offers: vec![offer], ..Frame::default() }
}

/// A frame that asks for positions and ids in the first group.
pub(crate) fn request(positions: &[Span], ids: &[MessageId]) -> Frame {
    let request = Request { group: GroupRef::Number(1), positions: positions.to_vec(), ids: ids.to_vec() };
    Frame { requests: vec![request], ..Frame::default() }
}

/// A frame that says that positions and ids in the first group are not there.
pub(crate) fn unavailable(positions: &[Span], ids: &[MessageId]) -> Frame {
    let unavailable = Unavailable {
        group: GroupRef::Number(1),
        positions: positions.to_vec(),
        ids: ids.to_vec(),
        tombstones: vec![],
    };
    Frame { unavailables: vec![unavailable], ..Frame::default() }
}

/// A frame that acknowledges positions of the engine in the first group, and names own ones.
pub(crate) fn ack(held: &[Span], known: &[Span], ids: &[MessageId]) -> Frame {
    let (held, known, ids) = (held.to_vec(), known.to_vec(), ids.to_vec());
    let ack = Ack { group: GroupRef::Number(1), held, known, ids, duplicates: 0, chain: 7, reset: 0 };
    Frame { acks: vec![ack], ..Frame::default() }
}

/// A message with a body made of a name and a number.
pub(crate) fn message(group: GroupId, name: &str, n: u64, deps: &[MessageId]) -> Message {
    let mut deps = deps.to_vec();
    deps.sort_unstable();
    Message::new(group, 5, deps, format!("{name} {n}").into_bytes().into()).unwrap()
}

/// An id that no message has.
pub(crate) fn no_id(n: u64) -> MessageId {
    let mut bytes = [0xee; 32];
    bytes[..8].copy_from_slice(&n.to_le_bytes());
    MessageId::from_bytes(bytes)
}
