//! Groups of every id scheme in one store: kept, checked, and repaired.

use hedgerow_proto::{GroupDescriptor, GroupId, IdScheme, MessageId, PeerId, Visibility};
use hedgerow_sync_core::store::check;
use hedgerow_sync_core::{Config, Draft, Engine, Event, LinkProfile, MessageFacts, PushPolicy, Time};
use hedgerow_sync_sqlite::forge::forge;
use hedgerow_sync_sqlite::{Options, SqliteStore};

const NOW: Time = Time(1_700_000_000_000);
const ANN: [u8; 32] = [1; 32];
const BOB: [u8; 32] = [2; 32];

type Disk = Engine<SqliteStore>;

fn open(path: &std::path::Path, seed: u8) -> Disk {
    let store = SqliteStore::open(path, Options::default()).unwrap();
    Engine::open(store, Config::default(), [seed; 32], NOW).unwrap()
}

/// A group of each scheme; the one of Bramble is judged.
fn groups(engine: &mut Disk, with: [u8; 32]) -> [GroupId; 3] {
    let descriptor = GroupDescriptor::new("org.example.test", 0, vec![1]).unwrap();
    let groups = [
        engine.add_group(&descriptor, false).unwrap(),
        engine
            .add_group_of(IdScheme::Mvds, &GroupDescriptor::of_id(GroupId::from_bytes([9; 32])), false)
            .unwrap(),
        engine.add_group_of(IdScheme::Bramble, &descriptor, true).unwrap(),
    ];
    for group in groups {
        engine.set_visibility(PeerId::from_bytes(with), group, Visibility::Shared).unwrap();
    }
    groups
}

fn write(engine: &mut Disk, group: GroupId, text: &str) -> MessageId {
    let deps = engine.heads(group, 16).unwrap();
    engine
        .publish(
            group,
            Draft { timestamp_ms: NOW.as_timestamp_ms(), deps, body: text.to_owned().into() },
            NOW,
        )
        .unwrap()
}

/// Takes events; what Bramble's client judges comes after `dep`.
fn judge(engine: &mut Disk, dep: &[MessageId]) {
    while let Some(event) = engine.poll_event().unwrap() {
        if let Event::Validate { id, .. } = event {
            let deps: Vec<MessageId> = dep.iter().copied().filter(|dep| *dep != id).collect();
            engine.judge_after(id, MessageFacts::default(), &deps, NOW).unwrap();
        }
    }
}

fn sync(a: &mut Disk, b: &mut Disk, dep: &[MessageId]) {
    let profiles = [
        LinkProfile::reliable(),
        LinkProfile::mvds(true, PushPolicy::OfferFirst),
        LinkProfile::bramble(None),
    ];
    for profile in profiles {
        let to_b = a.link_up(PeerId::from_bytes(BOB), profile.clone(), NOW).unwrap();
        let to_a = b.link_up(PeerId::from_bytes(ANN), profile, NOW).unwrap();
        loop {
            let there = a.poll_transmit(to_b, NOW, usize::MAX).unwrap();
            let back = b.poll_transmit(to_a, NOW, usize::MAX).unwrap();
            if there.is_none() && back.is_none() {
                break;
            }
            there.into_iter().for_each(|frame| b.receive(to_a, frame, NOW).unwrap());
            back.into_iter().for_each(|frame| a.receive(to_b, frame, NOW).unwrap());
            judge(a, dep);
            judge(b, dep);
        }
        a.link_down(to_b, NOW);
        b.link_down(to_a, NOW);
    }
}

fn bodies(engine: &Disk, group: GroupId) -> Vec<String> {
    let log = engine.log(group, 0, usize::MAX, usize::MAX).unwrap();
    log.into_iter().map(|e| String::from_utf8(e.body.unwrap().to_vec()).unwrap()).collect()
}

fn is_clean(engine: &Disk) {
    let report = check(engine.store()).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

#[test]
fn dialect_groups_of_all_schemes_are_kept_checked_and_repaired() {
    let folder = tempfile::tempdir().unwrap();
    let (at_a, at_b) = (folder.path().join("a.db"), folder.path().join("b.db"));
    let (mut a, mut b) = (open(&at_a, 1), open(&at_b, 2));
    let ids = groups(&mut a, BOB);
    assert_eq!(groups(&mut b, ANN), ids);
    let mut last = Vec::new();
    for n in 0..30 {
        for group in ids {
            let id = write(&mut a, group, &format!("{n}"));
            if group == ids[2] {
                last = vec![id];
            }
        }
    }
    // In the last group everything comes after the last message there.
    sync(&mut a, &mut b, &last);
    for group in &ids[..2] {
        assert_eq!(bodies(&b, *group), bodies(&a, *group));
    }
    assert_eq!(bodies(&b, ids[2]).len(), 30);
    assert_eq!(bodies(&b, ids[2])[0], "29");
    is_clean(&b);
    drop(b);
    let mut b = open(&at_b, 3);
    assert_eq!(bodies(&b, ids[2])[0], "29");
    assert_eq!(b.groups().iter().map(|group| group.scheme.code()).collect::<Vec<_>>(), [1, 2, 3]);
    b.commit().unwrap();
    drop(b);

    // A body of each group is altered: the id shows it, in every scheme.
    for group in 1..4 {
        let num = crate::content::num_at(&at_b, group, 7);
        forge(&at_b, num, |message| {
            let body = &mut message.as_mut().unwrap().body;
            assert!(body.is_some());
            *body = Some(b"X"[..].into());
        })
        .unwrap();
    }
    let damaged = SqliteStore::open(&at_b, Options::default()).unwrap();
    let report = check(&damaged).unwrap();
    assert!(report.problem_count >= 3, "{:?}", report.problems);
    drop(damaged);
    let repaired = SqliteStore::repair(&at_b, Options::default(), NOW.as_timestamp_ms(), |_, _| Ok(()));
    let report = repaired.unwrap().report;
    assert!(report.quarantined_count >= 3, "{:?}", report.quarantined);
    let mut b = open(&at_b, 4);
    judge(&mut b, &last);
    is_clean(&b);
    // What was lost comes again: the new store's HELLO tells the peer to remember nothing of what the old one had.
    sync(&mut a, &mut b, &last);
    is_clean(&b);
    assert_eq!(ids.map(|group| bodies(&b, group).len()), [30, 30, 30]);
}
