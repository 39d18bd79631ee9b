//! A group that is left and joined again while a link is up: its log begins anew, and what the peer says of the old
//! one may be under way.

use hedgerow_proto::{Ack, Frame, GroupId, GroupRef, PeerId, Span, Visibility};

use super::faults::{LIAR, Liar};
use crate::testing::by_hand::{encode, greeting, hear};
use crate::testing::{Faults, Net, descriptor, peer};
use crate::{Engine, LinkProfile, MemoryStore};

/// An ACK of a peer that calls the group 1, and heard of this `reset`.
fn ack(reset: u32, held: Vec<Span>, known: Vec<Span>, chain: u64) -> Frame {
    let (group, ids) = (GroupRef::Number(1), vec![]);
    Frame { acks: vec![Ack { group, held, known, ids, duplicates: 0, chain, reset }], ..Frame::default() }
}

fn join_again(engine: &mut Engine<MemoryStore>, group: GroupId, with: PeerId) {
    engine.remove_group(group).unwrap();
    engine.add_group(&descriptor("g"), false).unwrap();
    engine.set_visibility(with, group, Visibility::Shared).unwrap();
}

fn bodies(frames: &[Frame]) -> Vec<String> {
    let messages = frames.iter().flat_map(|frame| &frame.batches).flat_map(|batch| &batch.messages);
    messages.map(|message| String::from_utf8(message.body.to_vec()).unwrap()).collect()
}

// spec: ack-reset, announce-left
#[test]
fn an_acknowledgement_of_the_old_log_is_none_of_the_new_one() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let liar = Liar::new(&mut net, &[group]);
    net.publish(0, group, "old");
    assert_eq!(bodies(&liar.hear(&mut net)), ["old"]);
    let me = PeerId::from_bytes(LIAR);
    join_again(&mut net.engines[0], group, me);
    let theirs = liar.hear(&mut net).into_iter().flat_map(|frame| frame.announces);
    let theirs: Vec<_> = theirs.map(|said| (said.number, said.visibility, said.reset)).collect();
    // It was said before the peer heard of that.
    liar.say(&mut net, &ack(0, vec![Span::one(1)], vec![Span::one(7)], 70)).unwrap();
    net.publish(0, group, "new");
    assert!(!net.engines[0].is_held_by(me, group, 1));
    assert_eq!(bodies(&liar.hear(&mut net)), ["new"]);
    assert!(!net.engines[0].is_held_by(me, group, 1));
    let [(1, Visibility::Invisible, 0), (2, Visibility::Shared, reset @ 1..)] = theirs[..] else {
        panic!("{theirs:?}");
    };
    liar.say(&mut net, &ack(reset, vec![Span::one(1)], vec![], 0)).unwrap();
    assert!(net.engines[0].is_held_by(me, group, 1));
    // What the peer has at its position 7 we do not hold any more.
    net.engines[0].link_down(liar.link, net.now);
    let link = net.engines[0].link_up(me, LinkProfile::reliable(), net.now).unwrap();
    net.engines[0].receive(link, encode(&greeting(&[group])), net.now).unwrap();
    let said = hear(&mut net.engines[0], link, net.now);
    let said = said.iter().flat_map(|frame| &frame.announces).next().unwrap();
    assert!(said.held.is_empty() && said.mark == 0, "{said:?}");
}

/// Two engines over every kind of link, one of which leaves and comes again while messages and their
/// acknowledgements are under way.
#[test]
fn two_come_level_however_often_one_of_them_begins_anew() {
    for seed in 0..100 {
        let mut net = Net::new(2, seed);
        let group = net.group("g", false);
        let (profile, faults) = if seed % 2 == 0 {
            (LinkProfile::lossy(1_200), Faults { loss: 0.1, duplication: 0.1, delay_ms: (5, 200) })
        } else {
            (LinkProfile::reliable(), Faults { loss: 0.0, duplication: 0.0, delay_ms: (20, 60) })
        };
        net.connect_with(0, 1, profile, faults);
        for n in 0..10 {
            net.publish(1, group, &format!("theirs {n}"));
            net.publish(0, group, &format!("mine {n}"));
            net.run(15 + seed % 40);
            if n % 3 == 2 {
                join_again(&mut net.engines[0], group, peer(1));
                net.delivered[0].clear();
            }
        }
        net.run(600_000);
        let ids = |n: usize| {
            let mut ids: Vec<_> = net.log(n, group).iter().map(|entry| entry.id).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(ids(0), ids(1), "seed {seed}");
        net.assert_silent();
    }
}
