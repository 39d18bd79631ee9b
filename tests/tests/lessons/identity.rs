//! Who said what: restored devices, authors who say two things at once, and people who are not in the group.

use std::path::Path;

use bytes::Bytes;
use hedgerow::{ChatItem, Direction, MemoryNetwork, Node, NodeEvent};
use hedgerow_clients::{
    Author, Client as _, Content, Credential, GroupClient, PostDraft, PrivateGroup, PublicGroup,
};
use hedgerow_proto::{Message, MessageId, Visibility};
use hedgerow_sync_core::testing::{Net, open, peer};
use hedgerow_sync_core::{Config, Draft, Engine, Event, InvalidReason, Store as _, Time, Verdict};
use hedgerow_sync_sqlite::{Options, SqliteStore};

use crate::support::{
    Fake, acked, assert_sound, befriend, bodies, canonical, in_memory, invalid, message, offered, on_disk,
    requested, soon, until,
};

/// In a log that only grows, as p2panda keeps one for each author, a device that is restored from a backup writes
/// other entries under numbers that it has used: its log is forked for ever. Here it gets its own messages back
/// from whoever has them, and goes on after them; neither side sees a fork or a gap.
#[tokio::test]
async fn a_device_restored_from_a_backup_forks_its_own_stream() {
    let folder = tempfile::tempdir().unwrap();
    let [home, backup] = ["ada", "backup"].map(|name| folder.path().join(name));
    let network = MemoryNetwork::new();
    let ben = in_memory(&network, "ben").spawn().await.unwrap();
    let ada = on_disk(&network, &home, "ada").spawn().await.unwrap();
    befriend(&ada, &ben).await;
    let at_ben = ben.direct(ada.peer_id()).await.unwrap();
    let say = async |node: &Node, from: u64, to: u64| {
        let lines = (from..=to).map(|n| format!("line {n}")).collect();
        node.direct(ben.peer_id()).await.unwrap().send_many(lines).await.unwrap();
        until(|| async { at_ben.info().await.unwrap().last_position == to }).await;
    };
    say(&ada, 1, 5).await;
    ada.shutdown().await.unwrap();
    drop(ada);
    copy(&home, &backup);
    let ada = on_disk(&network, &home, "ada").spawn().await.unwrap();
    say(&ada, 6, 10).await;
    ada.shutdown().await.unwrap();
    drop(ada);
    std::fs::remove_dir_all(&home).unwrap();
    copy(&backup, &home);

    let ada = on_disk(&network, &home, "ada").spawn().await.unwrap();
    let at_ada = ada.direct(ben.peer_id()).await.unwrap();
    until(|| async { at_ada.info().await.unwrap().last_position == 10 }).await;
    say(&ada, 11, 15).await;
    let expected: Vec<_> = (1..=15).map(|n| (n, format!("line {n}"), false, false)).collect();
    for chat in [&at_ada, &at_ben] {
        let items = chat.page(None, Direction::Forward, 100).await.unwrap();
        let said = |item: &ChatItem| (item.number, item.text().unwrap().to_owned(), item.fork, item.gap);
        assert_eq!(items.iter().map(said).collect::<Vec<_>>(), expected);
    }
    assert!(ada.check().await.unwrap().is_clean());
    written_before_anybody_was_met();
}

/// The worse case: the restored device writes before it meets anybody, so that positions of its log mean two things.
/// Neither what it wrote then nor what it had written before is hidden or lost.
fn written_before_anybody_was_met() {
    for more in [0, 3, 10, 40] {
        let mut net = Net::new(2, more);
        let group = net.group("g", true);
        let wire = net.connect(0, 1);
        let write = |net: &mut Net, what: &str, count: u64| {
            for n in 0..count {
                net.publish(0, group, &format!("{what} {n}"));
                net.run(30);
            }
        };
        write(&mut net, "before the backup", 10);
        let (backup, delivered) = (net.engines[0].store().clone(), net.delivered[0].clone());
        write(&mut net, "after the backup", 10);
        net.disconnect(wire);
        net.engines[0] = open(backup, &net.config, 0, 99, net.now);
        net.delivered[0] = delivered;
        write(&mut net, "after it was restored", more);
        net.connect(0, 1);
        net.run(60_000);
        net.assert_converged(group, usize::try_from(20 + more).unwrap());
        net.assert_silent();
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
    // As the home itself: for its owner alone.
    std::fs::set_permissions(to, std::fs::metadata(from).unwrap().permissions()).unwrap();
}

/// What a reader sees of a chat, in the order that is the same everywhere.
async fn seen(chat: &hedgerow::Chat) -> Vec<(MessageId, u64, bool)> {
    let items = chat.page(None, Direction::Forward, 10_000).await.unwrap();
    items.iter().map(|item| (item.id, item.number, item.fork)).collect()
}

/// Where the later of two posts under one number is dropped, as logs of one entry for each number must, peers that
/// met them in another order disagree for ever. Here both are kept, and both are shown as a fork, by every peer, in
/// the same order, whichever it got first.
#[tokio::test]
async fn an_author_who_says_two_things_under_one_number_is_believed_once() {
    let network = MemoryNetwork::new();
    let spawn = |name: &'static str| in_memory(&network, name).spawn();
    let twin = |name: &'static str| in_memory(&network, name).memory_with_key([3; 32]).spawn();
    let (ben, cat) = (spawn("ben").await.unwrap(), spawn("cat").await.unwrap());
    let plaza = ben.create_public("plaza").await.unwrap();
    let (group, link) = (plaza.group(), ben.link(plaza.group()).await.unwrap());
    cat.join(&link).await.unwrap();
    // Two devices with one key, each with one reader.
    for (name, reader, text) in [("left", &ben, "yes"), ("right", &cat, "no")] {
        let device = twin(name).await.unwrap();
        befriend(&device, reader).await;
        let chat = device.join(&link).await.unwrap();
        chat.send(text).await.unwrap();
        let at_reader = reader.chat(group).await.unwrap();
        until(|| async { canonical(&at_reader).await.unwrap() == [text] }).await;
        device.shutdown().await.unwrap();
    }
    let [at_ben, at_cat] = [ben.chat(group).await.unwrap(), cat.chat(group).await.unwrap()];
    assert!(seen(&at_ben).await.iter().all(|(.., fork)| !fork), "nobody knows of both yet");
    befriend(&ben, &cat).await;
    let mut events = cat.events();
    for chat in [&at_ben, &at_cat] {
        until(|| async { canonical(chat).await.unwrap().len() == 2 }).await;
    }
    // The notice comes to whoever saw the first already.
    let forked = async {
        loop {
            if let Some(NodeEvent::Forked { group: of, number, .. }) = events.next().await {
                return (of, number);
            }
        }
    };
    assert_eq!(soon(forked).await.0, group);
    let dan = spawn("dan").await.unwrap();
    let at_dan = dan.join(&link).await.unwrap();
    befriend(&cat, &dan).await;
    until(|| async { canonical(&at_dan).await.unwrap().len() == 2 }).await;
    // All four names said too: each twin once, under number 1, and the three others.
    for chat in [&at_ben, &at_cat, &at_dan] {
        until(|| async { seen(chat).await.len() == 7 }).await;
    }
    let order = seen(&at_ben).await;
    assert_eq!(seen(&at_cat).await, order);
    assert_eq!(seen(&at_dan).await, order);
    let twins = Author::from_seed(&[3; 32]).id();
    let items = at_dan.history(0, 100).await.unwrap();
    let forks: Vec<_> = items.iter().map(|item| (item.author == twins, item.fork)).collect();
    assert_eq!(forks.iter().filter(|said| **said == (true, true)).count(), 4, "both under 1, both under 2");
    assert_eq!(forks.iter().filter(|said| **said == (false, false)).count(), 3, "nobody else");
    let delivery = async |chat: &hedgerow::Chat| {
        let items = chat.history(0, 100).await.unwrap();
        items.iter().filter_map(|item| item.text().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(delivery(&at_ben).await, ["yes", "no"]);
    assert_eq!(delivery(&at_cat).await, ["no", "yes"], "they came in another order");
}

/// Where what is known of an author's numbers is cut to a fixed size, a fork below the cut is not seen, or seen by
/// those alone who got it early. Here an author who leaves a gap after each number hides no fork from anybody.
#[tokio::test]
async fn an_author_who_leaves_many_gaps_hides_a_fork() {
    const COUNT: u64 = 600;
    let network = MemoryNetwork::new();
    let folder = tempfile::tempdir().unwrap();
    let plaza = PublicGroup::new([5; 16], "plaza", "").unwrap();
    let author = Author::from_seed(&[3; 32]);
    let post = |number: u64, text: &str| {
        let timestamp_ms = i64::try_from(number).unwrap();
        let draft = PostDraft {
            group: plaza.descriptor(),
            timestamp_ms,
            deps: &[],
            number,
            credential: None,
            expires_ms: None,
        };
        let body = draft.body(&author, &Content::Text(text.to_owned())).unwrap();
        Draft { timestamp_ms, deps: vec![], body }
    };
    let mut posts: Vec<Draft> = (1..=COUNT).map(|n| post(n * 3, "once")).collect();
    let forked = [3, 600, 900, COUNT * 3];
    posts.extend(forked.map(|number| post(number, "and once more")));
    let mut views = Vec::new();
    for name in ["forwards", "backwards"] {
        let path = folder.path().join(name);
        let now = Time(1_700_000_000_000);
        let store = SqliteStore::open(&path, Options::default()).unwrap();
        let mut engine = Engine::open(store, Config::default(), [1; 32], now).unwrap();
        let group = engine.add_group(plaza.descriptor(), true).unwrap();
        for draft in &posts {
            engine.publish(group, draft.clone(), now).unwrap();
        }
        engine.commit().unwrap();
        drop(engine);
        posts.reverse();
        let open = move || SqliteStore::open(&path, Options::default());
        let reader = in_memory(&network, name).store([8; 32], open).spawn().await.unwrap();
        let chat = reader.join(&plaza.link()).await.unwrap();
        let count = COUNT + forked.len() as u64;
        until(|| async { seen(&chat).await.len() as u64 >= count }).await;
        let mut view = seen(&chat).await;
        view.retain(|(_, number, _)| *number > 1);
        let mut numbers: Vec<u64> = view.iter().filter(|(.., fork)| *fork).map(|(_, n, _)| *n).collect();
        numbers.dedup();
        assert_eq!(numbers, forked, "{name}");
        views.push(view);
        reader.shutdown().await.unwrap();
    }
    assert_eq!(views[0], views[1]);
}

/// Ada's garden, and the posts that show who is in it.
fn garden() -> PrivateGroup {
    PrivateGroup::new(Author::from_seed(&[1; 32]).id(), [7; 16], "garden").unwrap()
}

fn judge(message: &Message) -> Verdict {
    GroupClient::default().judge(garden().descriptor(), std::slice::from_ref(message))[0]
}

fn post(author: &Author, credential: Option<&Credential>, text: &str, deps: &[MessageId]) -> Message {
    let garden = garden();
    let draft = PostDraft {
        group: garden.descriptor(),
        timestamp_ms: 5,
        deps,
        number: 1,
        credential,
        expires_ms: None,
    };
    draft.message(author, &Content::Text(text.to_owned())).unwrap()
}

/// A node that keeps and passes on what it did not judge carries anybody's load. Here what a peer that the group
/// is not shared with sends is ignored, and tells it nothing; what somebody who is not a member wrote is a tombstone,
/// with all that follows it: no body is kept and none passed on, whoever brought it.
#[test]
fn a_message_from_a_non_member_is_stored_and_relayed() {
    let [ada, ben, eve] = [1, 2, 66].map(|seed| Author::from_seed(&[seed; 32]));
    let group = garden().descriptor().id();
    let mut net = Net::new(2, 1);
    net.judge = judge;
    for n in 0..2 {
        net.engines[n].add_group(garden().descriptor(), true).unwrap();
        net.engines[n].set_visibility(peer(1 - n), group, Visibility::Shared).unwrap();
    }
    net.connect(0, 1);
    net.run(1_000);

    // A peer that the group is not shared with, with a post that would be valid.
    let good = post(&ada, None, "good", &[]);
    let stranger = Fake::link(&mut net, &[group]);
    stranger.send(&mut net, &[&good]);
    stranger.offer(&mut net, &[(1, good.id())]);
    stranger.request(&mut net, vec![], vec![good.id()]);
    let frames = stranger.hear(&mut net);
    assert!(frames.iter().all(|f| f.announces.is_empty()), "it is not told that the group is here");
    assert_eq!((acked(&frames), requested(&frames)), ((0, vec![]), (vec![], vec![])));
    assert!(bodies(&frames).is_empty() && offered(&frames).is_empty());
    assert!(frames.iter().all(|f| f.unavailables.is_empty()));
    assert!(net.engines[0].store().find(&good.id()).unwrap().is_none(), "not stored");
    assert_eq!(net.engines[0].status().links.last().unwrap().traffic.refused, 3);
    net.engines[0].link_down(stranger.link, net.now);

    // A member's device brings what others wrote.
    let fake = Fake::new(&mut net, &[group]);
    let bens = garden().admit(&ada, ben.id()).unwrap();
    let eves = PrivateGroup::new(eve.id(), [7; 16], "garden").unwrap().admit(&eve, ben.id()).unwrap();
    let forged = {
        // A member's post with another text.
        let real = post(&ben, Some(&bens), "forged", &[]);
        let mut body = real.body().to_vec();
        let at = body.len() - 65;
        body[at] ^= 1;
        Message::new(group, 5, vec![], body.into()).unwrap()
    };
    let alone = PublicGroup::new([7; 16], "garden", "").unwrap();
    let without = PostDraft {
        group: alone.descriptor(),
        timestamp_ms: 5,
        deps: &[],
        number: 1,
        credential: None,
        expires_ms: None,
    };
    let without = without.message(&eve, &Content::Text("none at all".to_owned())).unwrap();
    let bad = [
        Message::new(group, 5, vec![], without.body().clone()).unwrap(),
        post(&eve, Some(&bens), "another's credential", &[]),
        post(&eve, Some(&eves), "a credential of one's own", &[]),
        forged,
        message(group, "no post at all", &[]),
    ];
    let follows = post(&ben, Some(&bens), "after a bad one", &[bad[0].id()]);
    let members = post(&ben, Some(&bens), "from a member", &[]);
    let all: Vec<&Message> = bad.iter().chain([&follows, &members, &good]).collect();
    fake.send(&mut net, &all);
    net.run(10_000);
    assert_eq!(acked(&fake.hear(&mut net)).1.len(), all.len(), "so that they are not sent again");
    for n in 0..2 {
        let log: Vec<MessageId> = net.log(n, group).iter().map(|entry| entry.id).collect();
        assert_eq!(log, [members.id(), good.id()], "node {n}");
        assert_sound(&net, n);
    }
    let invalid = invalid(&net);
    for message in &bad {
        assert!(invalid.contains(&(message.id(), InvalidReason::Client)));
        let entry = net.engines[0].message(&message.id()).unwrap().unwrap();
        assert_eq!(entry.body, None::<Bytes>, "no body is kept");
        assert!(net.engines[1].message(&message.id()).unwrap().is_none(), "not even offered");
    }
    assert!(invalid.contains(&(follows.id(), InvalidReason::InvalidDependency)));
    assert_eq!(net.messages_sent(), 2, "the two good ones, to node 1");
    assert!(!net.events[1].iter().any(|event| matches!(event, Event::Invalid { .. })));
}
