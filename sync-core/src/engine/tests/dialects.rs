//! Wires of other makers: groups of their schemes, no sessions, no positions.

mod bramble;
mod gate;
mod hand;
mod mvds;
mod together;

use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, MessageId, Visibility};

use crate::testing::{Net, peer};
use crate::{Draft, LinkProfile, PushPolicy};

/// A group of a scheme that every node has and shares with every other.
fn foreign_group(net: &mut Net, scheme: IdScheme, name: &str, judged: bool) -> GroupId {
    let descriptor = match scheme {
        IdScheme::Mvds => {
            let mut id = [7; 32];
            id[..name.len()].copy_from_slice(name.as_bytes());
            GroupDescriptor::of_id(GroupId::from_bytes(id))
        }
        _ => GroupDescriptor::new("org.example.test", 0, name.into()).unwrap(),
    };
    let count = net.engines.len();
    let mut id = None;
    for n in 0..count {
        let group = net.engines[n].add_group_of(scheme, &descriptor, judged).unwrap();
        for other in (0..count).filter(|other| *other != n) {
            net.engines[n].set_visibility(peer(other), group, Visibility::Shared).unwrap();
        }
        id = Some(group);
    }
    id.unwrap()
}

/// A message of a node after all that it holds, a second after the one before.
fn write(net: &mut Net, n: usize, group: GroupId, body: &str) -> MessageId {
    net.now = net.now + 1_000;
    let deps = net.engines[n].heads(group, 16).unwrap();
    let draft = Draft { timestamp_ms: net.now.as_timestamp_ms(), deps, body: body.to_owned().into() };
    let id = net.engines[n].publish(group, draft, net.now).unwrap();
    net.drain(n);
    id
}

fn batch() -> LinkProfile {
    LinkProfile::mvds(true, PushPolicy::Always)
}

fn interactive() -> LinkProfile {
    LinkProfile::mvds(true, PushPolicy::OfferFirst)
}

/// Every way to speak to a deployed peer, with the scheme of its groups.
fn ways() -> [(&'static str, IdScheme, LinkProfile); 5] {
    [
        ("mvds batch", IdScheme::Mvds, batch()),
        ("mvds interactive", IdScheme::Mvds, interactive()),
        ("mvds adaptive", IdScheme::Mvds, LinkProfile::mvds(true, PushPolicy::Adaptive)),
        ("bramble", IdScheme::Bramble, LinkProfile::bramble(Some([1; 16]))),
        (
            "bramble batch",
            IdScheme::Bramble,
            LinkProfile { push: PushPolicy::Always, ..LinkProfile::bramble(Some([1; 16])) },
        ),
    ]
}
