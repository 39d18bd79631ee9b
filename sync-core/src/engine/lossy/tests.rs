//! One end of a link that loses frames.

use super::*;

fn item(position: u64) -> Vec<Item> {
    vec![Item::Sent { group: GroupNum(1), position, frame: 1 }]
}

// spec: probe, frame-lost
#[test]
fn silence_is_probed_and_only_a_later_ack_proves_loss() {
    let mut link = Lossy::new(100, 2000);
    assert_eq!(link.send(item(1), Time(0)), 1);
    let probe = link.timeout().unwrap();
    assert!(link.handle_timeout(probe).is_empty(), "nothing is known to be lost");
    assert_eq!(link.pings_due, 1);
    assert_eq!(link.send(vec![], probe), 2);
    let (arrived, lost) = link.acknowledged(&[Span::one(2)], 0, probe + 100);
    assert!(arrived.is_empty());
    let lost = if lost.is_empty() { link.handle_timeout(link.timeout().unwrap()) } else { lost };
    assert_eq!(lost, item(1));
    assert_eq!(link.timeout(), None);
}

// spec: frame-repeated
#[test]
fn a_repeated_frame_is_known() {
    let mut link = Lossy::new(100, 2000);
    assert!(link.receive(3, Time(0)));
    assert!(!link.receive(3, Time(0)));
    assert!(link.receive(1, Time(0)));
    assert_eq!(link.acks(64), vec![Span::one(1), Span::one(3)]);
    assert_eq!(link.acks(3), vec![Span::one(3)]);
    assert!(link.receive(3 + RECEIVE_WINDOW, Time(0)));
    assert!(!link.receive(2, Time(0)), "too old to tell");
}

#[test]
fn probes_come_again_until_an_answer() {
    let mut link = Lossy::new(10, 100);
    link.send(item(1), Time(0));
    for _ in 0..50 {
        let at = link.timeout().unwrap();
        link.handle_timeout(at);
        assert!(link.pings_due >= 1);
        assert!(link.timeout().unwrap().since(at) <= 100);
        link.send(vec![], at);
    }
}

// spec: probe
#[test]
fn what_is_small_goes_with_every_probe_until_one_of_them_arrives() {
    let mut link = Lossy::new(100, 2000);
    let announce = Item::Announce { group: GroupNum(1), number: 1, reset: false, since: 1 };
    link.send([vec![Item::Hello, announce.clone()], item(1)].concat(), Time(0));
    assert!(link.again().is_empty(), "no probe is due");
    let mut numbers = Vec::new();
    let mut now = Time(0);
    while numbers.len() < 7 {
        now = link.timeout().unwrap();
        assert!(link.handle_timeout(now).is_empty());
        while link.pings_due > 0 {
            let again = link.again();
            assert_eq!(again, [Item::Hello, announce.clone()], "a body is no small thing");
            link.pings_due -= 1;
            numbers.push(link.send(again, now));
        }
    }
    assert_eq!(numbers, [2, 3, 4, 5, 6, 7, 8], "one, two, four");
    let (arrived, lost) = link.acknowledged(&[Span::one(4)], 0, now + 100);
    assert_eq!(arrived, [Item::Hello, announce]);
    let lost = if lost.is_empty() { link.handle_timeout(now + 1_000) } else { lost };
    assert_eq!(lost, item(1), "nothing that arrived is due again");
    assert_eq!(link.timeout(), None);
}

// spec: lossy-cost
#[test]
fn a_body_is_repeated_in_silence_on_a_bad_line_only_and_for_a_while() {
    for (sent, loses) in [(1, false), (10, false), (40, true)] {
        let mut link = Lossy::new(100, 2000);
        (0..sent).for_each(|_| {
            link.send(vec![], Time(0));
        });
        link.send(item(7), Time(0));
        link.acknowledged(&[Span::one(sent)], 0, Time(100));
        let (mut repeated, mut now) = (0, Time(100));
        for _ in 0..500 {
            now = link.timeout().unwrap().max(now);
            let again = link.handle_timeout(now);
            repeated += u32::from(!again.is_empty());
            let first = (!again.is_empty()).then_some(again);
            link.send(first.unwrap_or_default(), now);
        }
        assert_eq!(repeated, if loses { LOSSY_TURNS } else { 0 }, "one of {sent} arrived");
    }
}

#[test]
fn the_more_is_lost_the_more_often_an_acknowledgement_is_said() {
    for (number, copies) in [(1, 1), (6, 2), (8, 3), (12, 6), (14, 16)] {
        let mut link = Lossy::new(100, 2000);
        link.receive(number, Time(0));
        assert_eq!(link.acks_due, copies, "frame {number} was the first that arrived");
        // What answers the answers is not answered as often.
        link.acks_due = 0;
        link.receive(number + 1, Time(10));
        assert_eq!(link.acks_due, 1);
    }
}

#[test]
fn loss_is_estimated_over_the_newest_frames() {
    let loss = |spans: &[(u64, u64)]| {
        let spans: Vec<Span> = spans.iter().map(|&(first, last)| Span { first, last }).collect();
        loss_of(spans.iter().rev().copied(), spans.last().map_or(0, |span| span.last))
    };
    assert_eq!(loss(&[]), 0);
    assert_eq!(loss(&[(1, 1)]), 0);
    assert_eq!(loss(&[(4, 4)]), 187, "three frames say little");
    assert_eq!(loss(&[(1, 100)]), 0);
    assert_eq!(loss(&[(1, 84), (101, 116)]), 500);
    assert_eq!(loss(&[(1, 50), (100, 100)]), 968);
}
