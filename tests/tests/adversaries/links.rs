//! A thousand links to one engine, and as many of one peer as it may have.

use hedgerow_proto::{Announce, Codec as _, Frame, GroupId, NativeCodec, PeerId, Visibility};
use hedgerow_sync_core::store::check;
use hedgerow_sync_core::testing::Net;
use hedgerow_sync_core::{EngineError, LinkId, LinkProfile};

use crate::support::{Hand, announce, batch, encode, hello, message, no_id, offer, offers_in};

/// Opens a link of a peer.
fn open(net: &mut Net, id: PeerId, group: GroupId) -> Result<LinkId, EngineError> {
    let link = net.engines[0].link_up(id, LinkProfile::reliable(), net.now)?;
    let (hello, announces) = (Some(hello(99)), vec![announce(group, 1)]);
    let frame = Frame { hello, announces, ..Frame::default() };
    net.engines[0].receive(link, encode(&frame), net.now).unwrap();
    Ok(link)
}

/// Orphans and offers of what does not exist.
fn nonsense(group: GroupId, n: u64) -> [Frame; 2] {
    let orphan = message(group, "orphan", n, &[no_id(1 << 40 | n)]);
    [batch(2 * n + 1, &[orphan]), offer((1 << 20) | (20 * n), (20 * n..20 * n + 10).map(no_id))]
}

/// How many messages node 0 sends or offers on a link.
fn news(net: &mut Net, link: LinkId) -> usize {
    let mut count = 0;
    while let Some(bytes) = net.engines[0].poll_transmit(link, net.now, usize::MAX).unwrap() {
        let frame = NativeCodec::new().decode(bytes).unwrap();
        count += frame.batches.iter().map(|b| b.messages.len()).sum::<usize>();
        count += offers_in(&frame);
    }
    count
}

#[test]
fn a_thousand_peers_with_a_link_each_are_served() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    net.connect(0, 1);
    let mut links = Vec::new();
    for n in 0..1_000_u16 {
        let mut id = [0xcc; 32];
        id[..2].copy_from_slice(&n.to_le_bytes());
        let id = PeerId::from_bytes(id);
        net.engines[0].set_visibility(id, group, Visibility::Shared).unwrap();
        links.push(open(&mut net, id, group).unwrap());
    }
    for (n, &link) in (0..).zip(&links) {
        for frame in nonsense(group, n) {
            net.engines[0].receive(link, encode(&frame), net.now).unwrap();
        }
        if n % 100 == 0 {
            net.publish(1, group, &format!("honest {n}"));
            net.run(100);
        }
    }
    // The last one is offered a moment later.
    net.run(200);
    assert_eq!(net.engines[0].status().groups[0].delivered, 10);
    for link in links {
        assert_eq!(news(&mut net, link), 10);
        net.engines[0].link_down(link, net.now);
    }
    net.publish(1, group, "after");
    net.run(30_000);
    assert_eq!(net.log(0, group).len(), 11);
    assert!(check(net.engines[0].store()).unwrap().is_clean());
}

/// All that is bounded for a peer is bounded for all its links together, and it has only so many.
#[test]
fn many_links_of_one_peer_are_one_peer() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    net.connect(0, 1);
    let hand = Hand::new(&mut net, 99, &[group]);
    let mut links = vec![hand.link];
    while let Ok(link) = open(&mut net, hand.id, group) {
        links.push(link);
        assert!(links.len() <= 16);
    }
    let refused = open(&mut net, hand.id, group);
    assert!(matches!(refused, Err(EngineError::TooManyLinks { most: 16, .. })), "{refused:?}");
    for (n, &link) in (0..2_000).zip(links.iter().cycle()) {
        for frame in nonsense(group, n) {
            net.engines[0].receive(link, encode(&frame), net.now).unwrap();
        }
        if n % 200 == 0 {
            net.publish(1, group, &format!("honest {n}"));
            net.run(100);
        }
    }
    // The last one is offered a moment later.
    net.run(200);
    let status = net.engines[0].status();
    let pair = status.peers.iter().find(|pair| pair.peer == hand.id).unwrap();
    assert!(pair.requested <= 512, "{}", pair.requested);
    assert_eq!(status.groups[0].delivered, 10);
    // What it gets, it gets over one of them.
    let heard: usize = links.iter().map(|&link| news(&mut net, link)).sum();
    assert_eq!(heard, 10);
    for link in links {
        net.engines[0].link_down(link, net.now);
    }
    open(&mut net, hand.id, group).unwrap();
    net.publish(1, group, "after");
    net.run(30_000);
    assert_eq!(net.log(0, group).len(), 11);
    assert!(check(net.engines[0].store()).unwrap().is_clean());
}

#[test]
fn links_that_announce_as_many_groups_as_may_be_end_without_a_trace() {
    let mut net = Net::new(2, 1);
    let group = net.group("g", false);
    net.connect(0, 1);
    let hand = Hand::new(&mut net, 99, &[group]);
    let mut links = vec![hand.link];
    for _ in 1..16 {
        let link = open(&mut net, hand.id, group).unwrap();
        for from in (2..=16_384_u32).step_by(1_024) {
            let announces = (from..(from + 1_024).min(16_385)).map(|number| {
                let mut tag = [0xbb; 8];
                tag[..4].copy_from_slice(&number.to_le_bytes());
                Announce { number, tag, ..announce(group, 1) }
            });
            let frame = Frame { announces: announces.collect(), ..Frame::default() };
            net.engines[0].receive(link, encode(&frame), net.now).unwrap();
        }
        links.push(link);
    }
    net.publish(1, group, "honest");
    net.run(1_000);
    for link in links {
        net.engines[0].link_down(link, net.now);
    }
    assert_eq!(net.engines[0].status().links.len(), 1);
    net.publish(1, group, "after");
    net.run(1_000);
    net.assert_converged(group, 2);
    net.assert_silent();
}
