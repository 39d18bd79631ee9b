//! A peer whose frames are made by hand, and small things that several tests need.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hedgerow::{Builder, Chat, Direction, MemoryNetwork, Node, NodeError, RedialConfig};
use hedgerow_proto::{
    Ack, Frame, GroupId, GroupRef, Hello, Message, MessageId, Offer, OfferItem, PeerId, Request, Span,
    Visibility,
};
use hedgerow_sync_core::testing::Net;
use hedgerow_sync_core::testing::by_hand;
pub(crate) use hedgerow_sync_core::testing::by_hand::{announce, batch, encode, message, wire};
use hedgerow_sync_core::{Event, InvalidReason, LinkId, LinkProfile, ReceiveError, store};

/// A peer of node 0 that says whatever a test wants. It calls its groups 1, 2, 3, … in the order given.
pub(crate) struct Fake {
    pub(crate) link: LinkId,
}

pub(crate) const FAKE: PeerId = PeerId::from_bytes([99; 32]);

impl Fake {
    /// Node 0 shares the groups with it, and it shares them with node 0.
    pub(crate) fn new(net: &mut Net, groups: &[GroupId]) -> Self {
        for &group in groups {
            net.engines[0].set_visibility(FAKE, group, Visibility::Shared).unwrap();
        }
        Self::link(net, groups)
    }

    /// It says that it shares the groups, whatever node 0 thinks of that.
    pub(crate) fn link(net: &mut Net, groups: &[GroupId]) -> Self {
        let fake = Self { link: net.engines[0].link_up(FAKE, LinkProfile::reliable(), net.now).unwrap() };
        fake.say(net, Frame { hello: Some(hello()), ..by_hand::greeting(groups) });
        fake
    }

    pub(crate) fn try_say(&self, net: &mut Net, frame: &Frame) -> Result<(), ReceiveError> {
        let result = net.engines[0].receive(self.link, encode(frame), net.now);
        net.drain(0);
        result
    }

    pub(crate) fn say(&self, net: &mut Net, frame: Frame) {
        self.try_say(net, &frame).unwrap();
    }

    /// Sends messages of its first group, without positions.
    pub(crate) fn send(&self, net: &mut Net, messages: &[&Message]) {
        self.send_in(net, 1, messages);
    }

    pub(crate) fn send_in(&self, net: &mut Net, number: u32, messages: &[&Message]) {
        let messages = messages.iter().map(|message| wire(message, None)).collect();
        self.say(net, batch(number, messages));
    }

    /// Offers messages of its first group under positions of its own.
    pub(crate) fn offer(&self, net: &mut Net, items: &[(u64, MessageId)]) {
        let items = items.iter().map(|&(position, id)| OfferItem { position: Some(position), id }).collect();
        let offer = Offer { group: GroupRef::Number(1), items, chain: 0 };
        self.say(net, Frame { offers: vec![offer], ..Frame::default() });
    }

    pub(crate) fn request(&self, net: &mut Net, positions: Vec<Span>, ids: Vec<MessageId>) {
        let request = Request { group: GroupRef::Number(1), positions, ids };
        self.say(net, Frame { requests: vec![request], ..Frame::default() });
    }

    pub(crate) fn ack(&self, net: &mut Net, held: Vec<Span>, ids: Vec<MessageId>) {
        let ack =
            Ack { group: GroupRef::Number(1), held, known: vec![], ids, duplicates: 0, chain: 0, reset: 0 };
        self.say(net, Frame { acks: vec![ack], ..Frame::default() });
    }

    /// All that node 0 has to say to it.
    pub(crate) fn hear(&self, net: &mut Net) -> Vec<Frame> {
        by_hand::hear(&mut net.engines[0], self.link, net.now)
    }
}

/// The HELLO of the fake.
pub(crate) fn hello() -> Hello {
    Hello { max_offers: 65_536, ..by_hand::hello(1) }
}

/// The positions of the fake, and the ids, that were acknowledged.
pub(crate) fn acked(frames: &[Frame]) -> (u64, Vec<MessageId>) {
    let acks = || frames.iter().flat_map(|frame| &frame.acks);
    let positions = acks().flat_map(|ack| &ack.held).map(Span::count).sum();
    (positions, acks().flat_map(|ack| ack.ids.iter().copied()).collect())
}

/// The positions of the fake, and the ids, that were requested.
pub(crate) fn requested(frames: &[Frame]) -> (Vec<Span>, Vec<MessageId>) {
    let requests = || frames.iter().flat_map(|frame| &frame.requests);
    let positions = requests().flat_map(|request| request.positions.iter().copied()).collect();
    (positions, requests().flat_map(|request| request.ids.iter().copied()).collect())
}

/// The bodies that were sent.
pub(crate) fn bodies(frames: &[Frame]) -> Vec<Bytes> {
    let batches = frames.iter().flat_map(|frame| &frame.batches);
    batches.flat_map(|batch| &batch.messages).map(|message| message.body.clone()).collect()
}

/// The ids that were offered.
pub(crate) fn offered(frames: &[Frame]) -> Vec<MessageId> {
    frames.iter().flat_map(|frame| &frame.offers).flat_map(|offer| &offer.items).map(|item| item.id).collect()
}

/// Which messages node 0 reported as invalid, and why.
pub(crate) fn invalid(net: &Net) -> Vec<(MessageId, InvalidReason)> {
    let invalid = |event: &Event| match event {
        Event::Invalid { id, reason, .. } => Some((*id, *reason)),
        _ => None,
    };
    net.events[0].iter().filter_map(invalid).collect()
}

/// Every invariant of a node's store holds.
pub(crate) fn assert_sound(net: &Net, n: usize) {
    let report = store::check(net.engines[n].store()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

/// How long anything in a real node may take before the test counts as hung.
const HUNG: Duration = Duration::from_secs(300);

pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(HUNG, future).await.expect("hung")
}

/// Waits until the condition holds.
pub(crate) async fn until<F: Future<Output = bool>>(mut condition: impl FnMut() -> F) {
    soon(async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

pub(crate) fn in_memory(network: &MemoryNetwork, name: &str) -> Builder {
    let quick = RedialConfig { base_ms: 10, cap_ms: 100, refused_ms: 50, ..RedialConfig::default() };
    Node::builder().name(name).network(network, name).redial(quick)
}

pub(crate) fn on_disk(network: &MemoryNetwork, home: &Path, name: &str) -> Builder {
    in_memory(network, name).home(home)
}

pub(crate) async fn befriend(one: &Node, other: &Node) {
    one.add_peer(&other.ticket().unwrap()).await.unwrap();
    other.add_peer(&one.ticket().unwrap()).await.unwrap();
}

/// All texts of a chat that are there, in canonical order.
pub(crate) async fn canonical(chat: &Chat) -> Result<Vec<String>, NodeError> {
    let items = chat.page(None, Direction::Forward, usize::MAX).await?;
    Ok(items.iter().filter_map(|item| item.text().map(str::to_owned)).collect())
}
