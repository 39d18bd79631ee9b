//! Over which link a peer is told what it waits for.

use hedgerow_proto::{Frame, Span};

use super::faults::{Liar, message};
use crate::testing::Net;

#[test]
fn what_came_over_one_link_is_acknowledged_over_another() {
    let mut net = Net::new(1, 1);
    let group = net.group("g", false);
    let one = Liar::new(&mut net, &[group]);
    let other = Liar::new(&mut net, &[group]);
    one.hear(&mut net);
    other.hear(&mut net);
    one.send_at(&mut net, 1, &message(group, "said", &[]));
    let acks = |frames: Vec<Frame>| -> Vec<Span> {
        frames.into_iter().flat_map(|frame| frame.acks).flat_map(|ack| ack.held).collect()
    };
    assert_eq!(acks(other.hear(&mut net)), [Span::one(1)]);
    assert_eq!(acks(one.hear(&mut net)), [], "once");
    // Whether it was heard there is not known: when that link is gone, it is said again on the other.
    let now = net.now;
    net.engines[0].link_down(other.link, now);
    assert_eq!(acks(one.hear(&mut net)), [Span::one(1)]);
}
