//! Shares of a link that is full, and what honest peers get while another one attacks.
//!
//! Two things are measured, both without a wall clock: body bytes that arrive over links of a fixed bandwidth in
//! virtual time (what the attack costs on the wire), and rows of the store that are touched for frames of honest peers
//! (what it costs inside: every search that an attack makes longer shows there).

use bytes::Bytes;
use hedgerow_proto::{GroupId, MessageId, Span, Visibility};
use hedgerow_sync_core::testing::{descriptor, peer};
use hedgerow_sync_core::{
    Config, Draft, Engine, Event, LinkId, LinkProfile, MemoryStore, PushPolicy, Time, Verdict,
};

use crate::support::{
    Hand, ack, announce, batch, encode, hello, message, no_id, offer, request, unavailable,
};

const NOW: Time = Time(1_700_000_000_000);

fn engine(n: usize) -> Engine<MemoryStore> {
    let seed = [u8::try_from(n).unwrap(); 32];
    Engine::open(MemoryStore::new(), Config::default(), seed, NOW).unwrap()
}

/// Messages without dependencies and with bodies of 200 bytes.
fn write(engine: &mut Engine<MemoryStore>, group: GroupId, name: &str, count: u64) -> Vec<MessageId> {
    let write = |n| {
        let body = Bytes::from(format!("{name} {n:08} {}", "x".repeat(180)));
        let draft = Draft { timestamp_ms: 5, deps: vec![], body };
        engine.publish(group, draft, NOW).unwrap()
    };
    (0..count).map(write).collect()
}

/// 1 when all have the same, 1/n when one has everything.
fn jain(shares: &[u64]) -> f64 {
    let sum: f64 = shares.iter().map(|&x| x as f64).sum();
    let squares: f64 = shares.iter().map(|&x| (x as f64).powi(2)).sum();
    sum * sum / (shares.len() as f64 * squares)
}

/// Takes what happened; gives the verdicts.
fn drain(engine: &mut Engine<MemoryStore>) {
    while let Some(event) = engine.poll_event().unwrap() {
        if let Event::Validate { id, .. } = event {
            engine.judge(id, Verdict::VALID, NOW).unwrap();
        }
    }
}

/// One group has a hundred times what each other has, all for the same peer. What each got is looked at when the first
/// of them is through.
fn groups_on_a_link(groups: u64, profile: &LinkProfile, each: u64) -> f64 {
    let (mut from, mut to) = (engine(0), engine(1));
    let names: Vec<String> = (0..groups).map(|n| format!("group {n}")).collect();
    let ids: Vec<GroupId> = names.iter().map(|name| descriptor(name).id()).collect();
    for (n, name) in (0..).zip(&names) {
        for (engine, other) in [(&mut from, 1), (&mut to, 0)] {
            engine.add_group(&descriptor(name), false).unwrap();
            engine.set_visibility(peer(other), descriptor(name).id(), Visibility::Shared).unwrap();
        }
        write(&mut from, ids[n], name, if n == 0 { 100 * each } else { each });
    }
    let (out, back) = (
        from.link_up(peer(1), profile.clone(), NOW).unwrap(),
        to.link_up(peer(0), profile.clone(), NOW).unwrap(),
    );
    let mut now = NOW;
    for _ in 0..1_000_000 {
        // The way back is wide; the way there takes a frame at a time.
        now = now + 1;
        from.handle_timeout(now).unwrap();
        to.handle_timeout(now).unwrap();
        drain(&mut from);
        drain(&mut to);
        if let Some(frame) = from.poll_transmit(out, now, usize::MAX).unwrap() {
            to.receive(back, frame, now).unwrap();
        }
        drain(&mut to);
        while let Some(frame) = to.poll_transmit(back, now, usize::MAX).unwrap() {
            from.receive(out, frame, now).unwrap();
        }
        let got: Vec<u64> = ids.iter().map(|&id| to.group(id).unwrap().head).collect();
        if got.contains(&each) && got[1..].contains(&each) {
            return jain(&got);
        }
    }
    panic!("a group was never through");
}

#[test]
fn groups_share_a_full_link_fairly() {
    let offers = LinkProfile { push: PushPolicy::OfferFirst, ..LinkProfile::reliable() };
    for (groups, profile, each) in [
        (10, LinkProfile::reliable(), 200),
        (10, LinkProfile::lossy(1_200), 200),
        (100, LinkProfile::reliable(), 100),
        (10, offers, 300),
    ] {
        let index = groups_on_a_link(groups, &profile, each);
        assert!(index >= 0.9, "{index} with {groups} groups on {profile:?}");
    }
}

/// A node serves ten peers through one uplink. One of them lacks a hundred times what each other lacks.
#[test]
fn peers_share_an_uplink_fairly() {
    let mut from = engine(0);
    let mut others: Vec<Engine<MemoryStore>> = (1..=10).map(engine).collect();
    let mut links: Vec<(LinkId, LinkId)> = Vec::new();
    let each = 300;
    for (n, other) in others.iter_mut().enumerate() {
        let name = format!("with {n}");
        let group = descriptor(&name).id();
        from.add_group(&descriptor(&name), false).unwrap();
        other.add_group(&descriptor(&name), false).unwrap();
        from.set_visibility(peer(n + 1), group, Visibility::Shared).unwrap();
        other.set_visibility(peer(0), group, Visibility::Shared).unwrap();
        write(&mut from, group, &name, if n == 0 { 100 * each } else { each });
        links.push((
            from.link_up(peer(n + 1), LinkProfile::reliable(), NOW).unwrap(),
            other.link_up(peer(0), LinkProfile::reliable(), NOW).unwrap(),
        ));
    }
    // One frame of 4 KiB at a time leaves the node, for whichever link it names next.
    let mut bytes = vec![0_u64; 10];
    loop {
        drain(&mut from);
        let Some(link) = from.poll_link() else { panic!("nothing more to say") };
        let n = links.iter().position(|(out, _)| *out == link).unwrap();
        if let Some(frame) = from.poll_transmit(link, NOW, 4_096).unwrap() {
            bytes[n] += frame.len() as u64;
            others[n].receive(links[n].1, frame, NOW).unwrap();
            drain(&mut others[n]);
            while let Some(frame) = others[n].poll_transmit(links[n].1, NOW, usize::MAX).unwrap() {
                from.receive(link, frame, NOW).unwrap();
            }
        }
        let through = |n: usize| others[n].groups()[0].head == each;
        if (1..10).any(through) {
            break;
        }
    }
    assert!(jain(&bytes) >= 0.9, "{bytes:?}");
}

/// A link of a fixed bandwidth between node 0 and another engine.
struct Pipe {
    ends: (LinkId, LinkId),
    /// Bytes that may cross still, in each direction.
    credit: (i64, i64),
}

/// What honest peers got while something was going on.
#[derive(Debug, Clone, Copy)]
struct Got {
    /// Their messages delivered.
    messages: u64,
    /// Rows touched for their frames.
    rows: u64,
}

/// Bytes a second on every honest link, each way.
const BANDWIDTH: i64 = 20_000;
/// How long it goes on, in virtual seconds.
const SECONDS: u64 = 20;

/// What the attacker says in one tick of 100 ms: `n` counts ticks.
type Attack = fn(group: GroupId, n: u64, honest: &[MessageId]) -> Vec<hedgerow_proto::Frame>;

/// Two honest peers, one that pushes and one that offers first, have more to send than their links take.
fn honest_under(attack: Option<Attack>) -> Got {
    let group = descriptor("g").id();
    let mut nodes: Vec<Engine<MemoryStore>> = (0..3).map(engine).collect();
    for node in &mut nodes {
        node.add_group(&descriptor("g"), true).unwrap();
    }
    let mut honest = Vec::new();
    let mut pipes = Vec::new();
    for (n, push) in [(1, PushPolicy::Always), (2, PushPolicy::OfferFirst)] {
        honest.extend(write(&mut nodes[n], group, &format!("from {n}"), 3_000));
        nodes[0].set_visibility(peer(n), group, Visibility::Shared).unwrap();
        nodes[n].set_visibility(peer(0), group, Visibility::Shared).unwrap();
        let profile = LinkProfile { push, ..LinkProfile::reliable() };
        let ends = (
            nodes[0].link_up(peer(n), profile.clone(), NOW).unwrap(),
            nodes[n].link_up(peer(0), profile, NOW).unwrap(),
        );
        pipes.push((n, Pipe { ends, credit: (0, 0) }));
    }
    let mut hand = attack.map(|_| Hand::meet(&mut nodes[0], 99, &[group], NOW));
    let mut rows = 0;
    for tick in 0..SECONDS * 10 {
        let now = NOW + tick * 100;
        for node in &mut nodes {
            node.handle_timeout(now).unwrap();
            drain(node);
        }
        if let (Some(attack), Some(attacker)) = (attack, &mut hand) {
            for frame in attack(group, tick, &honest) {
                if nodes[0].receive(attacker.link, encode(&frame), now).is_err() {
                    *attacker = Hand::meet(&mut nodes[0], 99, &[group], now);
                }
                drain(&mut nodes[0]);
            }
            // It takes a hundred times what an honest link takes.
            let mut credit = 10 * BANDWIDTH;
            while credit > 0
                && let Some(frame) = nodes[0].poll_transmit(attacker.link, now, 65_536).unwrap()
            {
                credit -= i64::try_from(frame.len()).unwrap();
            }
        }
        for (n, pipe) in &mut pipes {
            pipe.credit.0 = (pipe.credit.0 + BANDWIDTH / 10).min(BANDWIDTH);
            pipe.credit.1 = (pipe.credit.1 + BANDWIDTH / 10).min(BANDWIDTH);
            while pipe.credit.1 > 0
                && let Some(frame) = nodes[*n].poll_transmit(pipe.ends.1, now, 1_500).unwrap()
            {
                pipe.credit.1 -= i64::try_from(frame.len()).unwrap();
                let before = nodes[0].store().touched();
                nodes[0].receive(pipe.ends.0, frame, now).unwrap();
                drain(&mut nodes[0]);
                rows += nodes[0].store().touched() - before;
            }
            while pipe.credit.0 > 0
                && let Some(frame) = nodes[0].poll_transmit(pipe.ends.0, now, 1_500).unwrap()
            {
                pipe.credit.0 -= i64::try_from(frame.len()).unwrap();
                nodes[*n].receive(pipe.ends.1, frame, now).unwrap();
                drain(&mut nodes[*n]);
            }
        }
    }
    let there = honest.iter().filter(|id| {
        let entry = nodes[0].message(id).unwrap();
        entry.is_some_and(|entry| entry.position > 0)
    });
    Got { messages: there.count() as u64, rows }
}

#[test]
fn honest_peers_keep_their_throughput_under_every_attack() {
    let alone = honest_under(None);
    assert!(alone.messages > 2_500, "{alone:?}");
    let attacks: &[(&str, Attack)] = &[
        ("orphans", |group, n, _| {
            let orphans: Vec<_> =
                (n * 500..n * 500 + 500).map(|n| message(group, "orphan", n, &[no_id(n)])).collect();
            vec![batch(0, &orphans)]
        }),
        ("greedy orphans", |group, n, _| {
            let deps = |n: u64| (n * 64..n * 64 + 64).map(no_id).collect::<Vec<_>>();
            let orphans: Vec<_> =
                (n * 25..n * 25 + 25).map(|n| message(group, "greedy", n, &deps(n))).collect();
            vec![batch(1 + 25 * n, &orphans)]
        }),
        ("children of what is under way", |group, n, honest| {
            let named = honest.iter().cycle().skip(usize::try_from(n).unwrap() * 37).take(500);
            let orphans: Vec<_> =
                (0..).zip(named).map(|(k, &id)| message(group, "c", n * 500 + k, &[id])).collect();
            vec![batch(0, &orphans)]
        }),
        ("offers of nothing", |_, n, _| {
            vec![offer(n * 1_000 + 1, (n * 1_000..n * 1_000 + 1_000).map(no_id))]
        }),
        ("offers withheld", |_, n, honest| {
            let at = usize::try_from(n).unwrap() * 500 % honest.len();
            let ids = honest.iter().cycle().skip(at).take(500).copied();
            vec![offer(n * 500 + 1, ids)]
        }),
        ("requests for everything", |_, _, honest| {
            vec![request(&[Span { first: 1, last: u64::MAX }], &honest[..500])]
        }),
        ("requests after each answer", |_, _, honest| {
            vec![ack(&[Span { first: 1, last: u64::MAX }], &[], &[]), request(&[], &honest[..1_000])]
        }),
        ("holding nothing any more", |group, n, _| {
            let number = u32::try_from(n).unwrap() + 2;
            let announces = vec![announce(group, number)];
            vec![
                ack(&[Span { first: 1, last: u64::MAX }], &[], &[]),
                hedgerow_proto::Frame { announces, ..Default::default() },
            ]
        }),
        ("requests for nothing", |_, n, _| {
            vec![request(
                &[Span { first: 1 << 50, last: u64::MAX }],
                &(n..n + 1_000).map(no_id).collect::<Vec<_>>(),
            )]
        }),
        ("acknowledging everything", |_, _, honest| {
            vec![ack(
                &[Span { first: 1, last: u64::MAX }],
                &[Span { first: 1, last: 1 << 40 }],
                &honest[..500],
            )]
        }),
        ("announcements", |group, _, _| {
            let announces = vec![announce(group, 1); 1_000];
            vec![hedgerow_proto::Frame { announces, ..Default::default() }]
        }),
        ("greetings", |_, _, _| {
            vec![hedgerow_proto::Frame { hello: Some(hello(99)), ..Default::default() }; 100]
        }),
        ("unavailable", |_, n, honest| {
            vec![
                unavailable(&[Span { first: 1, last: u64::MAX }], &honest[..500]),
                offer(n * 9 + 1, (0..500).map(no_id)),
            ]
        }),
        ("one message", |group, _, _| vec![batch(1, &vec![message(group, "again", 1, &[]); 500])]),
        ("valid messages", |group, n, _| {
            let many: Vec<_> = (n * 500..n * 500 + 500).map(|n| message(group, "many", n, &[])).collect();
            vec![batch(n * 500 + 1, &many)]
        }),
        ("new links", |group, n, _| {
            // A HELLO that differs ends the link.
            let hello = Some(hello(n));
            vec![
                hedgerow_proto::Frame { hello, announces: vec![announce(group, 1)], ..Default::default() };
                20
            ]
        }),
    ];
    for (name, attack) in attacks {
        let got = honest_under(Some(*attack));
        println!("{name}: {got:?} of {alone:?}");
        assert!(got.messages * 10 >= alone.messages * 8, "{name}: {got:?} of {alone:?}");
        // Rows for each message: within a quarter of what they were.
        let (now, before) = (got.rows * alone.messages, alone.rows * got.messages);
        // These are good messages, and are delivered together with what they depend on.
        let delivers = *name == "children of what is under way";
        assert!(delivers || now * 4 <= before * 5, "{name}: {got:?} of {alone:?}");
    }
}
