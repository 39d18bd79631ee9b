//! Where it may run: on one reliable link at a time.

use hedgerow_proto::{Frame, GroupRef, Lacks, PeerId, Reconcile, ReconcileStep, Visibility};

use super::liars::{MANY, scene, steps};
use crate::LinkProfile;
use crate::engine::tests::faults::{LIAR, Liar};
use crate::testing::Net;
use crate::testing::by_hand::{announce, encode, hear, hello};

fn record(step: ReconcileStep) -> Frame {
    let record = Reconcile { group: GroupRef::Number(1), salt: 0, step };
    Frame { reconciles: vec![record], ..Frame::default() }
}

// spec: reconcile-reliable
#[test]
fn a_lossy_link_that_speaks_of_it_is_not_heard() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    for n in 0..MANY {
        net.publish_after(0, group, &format!("message {n}"), vec![]);
    }
    let liar = Liar::with(&mut net, &[group], LinkProfile::lossy(1_200));
    let greeting = Frame { number: Some(1), announces: vec![announce(group, 1)], ..Frame::default() };
    liar.say(&mut net, &greeting).unwrap();
    let lacks = Lacks { cut: 1, ids: vec![1].into(), more: false };
    for (number, step) in (2..).zip([ReconcileStep::Ask, ReconcileStep::Lacks(lacks), ReconcileStep::Stop]) {
        let refused = net.engines[0].traffic().refused;
        liar.say(&mut net, &Frame { number: Some(number), ..record(step) }).unwrap();
        assert_eq!(net.engines[0].traffic().refused, refused + 1);
        assert!(net.engines[0].reconciles.is_empty());
        assert!(steps(&liar.hear(&mut net)).is_empty());
    }
}

// spec: reconcile-ends
#[test]
fn a_second_link_takes_no_part_until_the_first_one_ends() {
    let mut scene = scene(false, MANY - 4);
    assert!(matches!(steps(&scene.first)[..], [ReconcileStep::Symbols(_)]));
    let (now, me) = (scene.net.now, PeerId::from_bytes(LIAR));
    let second = scene.net.engines[0].link_up(me, LinkProfile::reliable(), now).unwrap();
    let greeting =
        Frame { hello: Some(hello(1)), announces: vec![announce(scene.group, 1)], ..Frame::default() };
    scene.net.engines[0].receive(second, encode(&greeting), now).unwrap();
    hear(&mut scene.net.engines[0], second, now);
    let refused = scene.net.engines[0].traffic().refused;
    scene.net.engines[0].receive(second, encode(&record(ReconcileStep::Ask)), now).unwrap();
    let lacks = Lacks { cut: 1, ids: vec![].into(), more: false };
    scene.net.engines[0].receive(second, encode(&record(ReconcileStep::Lacks(lacks))), now).unwrap();
    assert_eq!(scene.net.engines[0].traffic().refused, refused + 2);
    assert_eq!(scene.net.engines[0].reconciles.len(), 1);
    assert!(steps(&hear(&mut scene.net.engines[0], second, now)).is_empty());
    assert!(!scene.net.engines[0].is_held_by(me, scene.group, 1), "what it said there counts for nothing");
    // The link on which it ran ends, and with it what ran there.
    scene.net.engines[0].link_down(scene.liar.link, now);
    assert!(scene.net.engines[0].reconciles.is_empty());
    scene.net.engines[0].receive(second, encode(&record(ReconcileStep::Ask)), now).unwrap();
    let frames = hear(&mut scene.net.engines[0], second, now);
    assert!(steps(&frames).iter().any(|step| matches!(step, ReconcileStep::Symbols(_))), "{frames:?}");
}

// spec: reconcile-who
#[test]
fn of_two_that_ask_each_other_whoever_is_asked_begins_or_says_no() {
    for shared in [true, false] {
        let mut scene = scene(true, MANY - 4);
        assert_eq!(steps(&scene.first), [ReconcileStep::Ask]);
        let me = PeerId::from_bytes(LIAR);
        if !shared {
            scene.net.engines[0].set_visibility(me, scene.group, Visibility::Visible).unwrap();
            scene.hear();
        }
        scene.say(0, ReconcileStep::Ask);
        let said = steps(&scene.hear());
        match shared {
            true => assert!(matches!(said[..], [ReconcileStep::Symbols(_)]), "{said:?}"),
            false => assert_eq!(said, [ReconcileStep::Stop]),
        }
        assert_eq!(scene.net.engines[0].reconciles.len(), usize::from(shared));
    }
}
