//! Readers: slow ones, forgetful ones, and messages that nobody can read.

use hedgerow::clients::Content;
use hedgerow::{Direction, GroupId, MemoryNetwork, Node, NodeEvent};

use crate::support::{Forged, befriend, in_memory, soon, texts, until};

#[tokio::test]
async fn a_slow_reader_gets_everything_in_order() {
    let network = MemoryNetwork::new();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let ben = in_memory(&network, "ben").spawn().await.unwrap();
    befriend(&ada, &ben).await;
    let direct = ada.direct(ben.peer_id()).await.unwrap();
    let mut slow = ben.direct(ada.peer_id()).await.unwrap().stream("slow").await.unwrap();
    // More than any queue between the two holds, before the first is read.
    let lines: Vec<_> = (0..3000).map(|n| format!("line {n}")).collect();
    for part in lines.chunks(1000) {
        direct.send_many(part.to_vec()).await.unwrap();
    }
    until(|| async { ben.chats().await.unwrap()[0].last_position == 3000 }).await;
    assert_eq!(texts(&mut slow, 3000).await, lines);
    // Backwards, in pages.
    let newest = direct.page(None, Direction::Backward, 300).await.unwrap();
    assert_eq!(newest.len(), 300);
    assert_eq!(newest[0].text(), Some("line 2999"));
    assert_eq!(newest[299].text(), Some("line 2700"));
    let older = direct.page(Some(newest[299].key), Direction::Backward, 1).await.unwrap();
    assert_eq!(older[0].text(), Some("line 2699"));
    assert_eq!(direct.history(2990, 5).await.unwrap()[0].position, 2991);
}

#[tokio::test]
async fn a_cursor_keeps_its_place_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let network = MemoryNetwork::new();
    let spawn = || crate::support::on_disk(&network, folder.path(), "ada").offline().spawn();
    let ada = spawn().await.unwrap();
    let plaza = ada.create_public("plaza").await.unwrap();
    plaza.send_many((0..10).map(|n| n.to_string()).collect()).await.unwrap();
    let mut stream = plaza.stream("reader").await.unwrap();
    assert_eq!(texts(&mut stream, 3).await, ["0", "1", "2"]);
    // The last one was given out, and not said to be done with.
    drop(stream);
    let mut stream = plaza.stream("reader").await.unwrap();
    assert_eq!(texts(&mut stream, 2).await, ["2", "3"]);
    let position = stream.position();
    stream.commit(position).await.unwrap();
    ada.shutdown().await.unwrap();
    drop((stream, plaza, ada));

    let ada = spawn().await.unwrap();
    let plaza = ada.find_chat("plaza").await.unwrap();
    assert_eq!(texts(&mut plaza.stream("reader").await.unwrap(), 1).await, ["4"]);
    assert_eq!(texts(&mut plaza.stream("other").await.unwrap(), 1).await, ["0"]);
    assert_eq!(texts(&mut plaza.stream_from(position).await.unwrap(), 1).await, ["4"]);
    assert!(plaza.stream("").await.is_err());
}

/// Ben runs, and has a chat with Ada, who does not run: her store can be written.
struct Half {
    network: MemoryNetwork,
    forged: Forged,
    ben: Node,
    group: GroupId,
    _folder: tempfile::TempDir,
}

/// Ada has written `text` to Ben, and ended.
async fn half_forged(text: &str) -> Half {
    let folder = tempfile::tempdir().unwrap();
    let network = MemoryNetwork::new();
    let forged = Forged { seed: [5; 32], path: folder.path().join("store.db") };
    let ben = in_memory(&network, "ben").spawn().await.unwrap();
    let ada = forged.node(&network, "ada").spawn().await.unwrap();
    befriend(&ada, &ben).await;
    let direct = ada.direct(ben.peer_id()).await.unwrap();
    direct.send(text).await.unwrap();
    ada.shutdown().await.unwrap();
    Half { network, forged, ben, group: direct.group(), _folder: folder }
}

#[tokio::test]
async fn what_cannot_be_read_is_set_aside_and_the_stream_goes_on() {
    let Half { network, forged, ben, group, _folder } = half_forged("before").await;
    // A kind of content that a later version may know, rightly signed.
    let later = |draft: &hedgerow::clients::PostDraft<'_>, author: &_| {
        draft.message_of_kind(author, 59, b"from the future").unwrap().body().clone()
    };
    forged.publish(group, later, 2);

    let mut events = ben.events();
    let ada = forged.node(&network, "ada").spawn().await.unwrap();
    ada.direct(ben.peer_id()).await.unwrap().send("after").await.unwrap();
    let at_ben = ben.direct(ada.peer_id()).await.unwrap();
    assert_eq!(texts(&mut at_ben.stream("inbox").await.unwrap(), 2).await, ["before", "after"]);
    let quarantined = async {
        loop {
            if let Some(NodeEvent::Quarantined { position, .. }) = events.next().await {
                return position;
            }
        }
    };
    assert_eq!(soon(quarantined).await, 2);
    let quarantine = at_ben.quarantine().await.unwrap();
    assert_eq!((quarantine.count, quarantine.last.len(), quarantine.last[0].position), (1, 1, 2));
    assert!(quarantine.last[0].reason.contains("59"), "{}", quarantine.last[0].reason);
    let page = at_ben.page(None, Direction::Forward, 10).await.unwrap();
    assert_eq!(page.len(), 2);
}

#[tokio::test]
async fn gaps_and_forks_in_what_an_author_said_show() {
    let Half { network, forged, ben, group, _folder } = half_forged("one").await;
    let say = |text: &str| {
        let content = Content::Text(text.to_owned());
        move |draft: &hedgerow::clients::PostDraft<'_>, author: &_| draft.body(author, &content).unwrap()
    };
    forged.publish(group, say("five"), 5);
    forged.publish(group, say("five again"), 5);
    let ada = forged.node(&network, "ada").spawn().await.unwrap();
    // One's own numbers go on after all that is known.
    ada.direct(ben.peer_id()).await.unwrap().send("six").await.unwrap();
    let at_ben = ben.direct(ada.peer_id()).await.unwrap();
    texts(&mut at_ben.stream("inbox").await.unwrap(), 4).await;
    let flags: Vec<_> =
        at_ben.history(0, 10).await.unwrap().iter().map(|i| (i.number, i.gap, i.fork)).collect();
    assert_eq!(flags, [(1, false, false), (5, true, true), (5, false, true), (6, false, false)]);
    let canonical = at_ben.page(None, Direction::Forward, 10).await.unwrap();
    assert_eq!(canonical.iter().filter(|item| item.fork).count(), 2, "both, whichever came first");
}

#[tokio::test]
async fn a_restored_twin_is_seen_as_a_fork() {
    let network = MemoryNetwork::new();
    let ben = in_memory(&network, "ben").spawn().await.unwrap();
    let twin = |name: &str| in_memory(&network, name).memory_with_key([3; 32]).spawn();
    let one = twin("one").await.unwrap();
    befriend(&one, &ben).await;
    one.direct(ben.peer_id()).await.unwrap().send("I am the one").await.unwrap();
    let mut stream = ben.direct(one.peer_id()).await.unwrap().stream("inbox").await.unwrap();
    texts(&mut stream, 1).await;
    one.shutdown().await.unwrap();
    let two = twin("two").await.unwrap();
    two.add_peer(&hedgerow::PeerTicket::new(ben.peer_id(), None, vec![]).unwrap()).await.unwrap();
    two.direct(ben.peer_id()).await.unwrap().send("no, I am").await.unwrap();
    befriend(&two, &ben).await;
    let second = soon(stream.next()).await.unwrap();
    assert_eq!((second.text(), second.number, second.fork), (Some("no, I am"), 1, true));
}

/// A node whose store is in a file, so that it is read beside the engine.
async fn alone(folder: &std::path::Path) -> Node {
    let network = MemoryNetwork::new();
    crate::support::on_disk(&network, folder, "ada").offline().spawn().await.unwrap()
}

#[tokio::test]
async fn what_was_written_is_in_the_next_read() {
    let folder = tempfile::tempdir().unwrap();
    let ada = alone(folder.path()).await;
    let plaza = ada.create_public("plaza").await.unwrap();
    let before = plaza.history(0, usize::MAX).await.unwrap().len();
    for n in 0..200 {
        let text = format!("line {n}");
        let id = plaza.send(&text).await.unwrap();
        // Both orders, and no waiting in between.
        let last = plaza.page(None, Direction::Backward, 1).await.unwrap();
        assert_eq!((last[0].id, last[0].text()), (id, Some(text.as_str())));
        let log = plaza.history(0, usize::MAX).await.unwrap();
        assert_eq!(log.len(), before + n + 1);
        assert_eq!(log.last().map(|item| item.id), Some(id));
    }
    // Many at once: each finds its own.
    let tasks = (0..50).map(|n| {
        let plaza = plaza.clone();
        tokio::spawn(async move {
            let id = plaza.send(&format!("at once {n}")).await.unwrap();
            plaza.history(0, usize::MAX).await.unwrap().iter().any(|item| item.id == id)
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert!(task.await.unwrap());
    }
    // What is left is not found any more, and a stream on it ends its wait.
    let mut stream = plaza.stream_from(u64::MAX >> 1).await.unwrap();
    let waiting = tokio::spawn(async move { stream.next().await.map(drop) });
    let group = plaza.group();
    ada.leave(group).await.unwrap();
    assert!(matches!(plaza.history(0, 1).await, Err(hedgerow::NodeError::UnknownGroup(id)) if id == group));
    let ended = soon(waiting).await.unwrap();
    assert!(matches!(ended, Err(hedgerow::NodeError::UnknownGroup(_))), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_holds_up_neither_writers_nor_readers() {
    let folder = tempfile::tempdir().unwrap();
    let ada = alone(folder.path()).await;
    let plaza = ada.create_public("plaza").await.unwrap();
    for part in 0..8 {
        plaza.send_many((0..1000).map(|n| format!("line {part}/{n}")).collect()).await.unwrap();
    }
    // A check sees its moment only: what is counted above that was sent while it ran. Were it to hold up the node, that
    // would be one or two at most. It may be through before the first is sent; then the next one shows it.
    let mut beside = 0;
    for _ in 0..50 {
        let checker = ada.clone();
        let check = tokio::spawn(async move { checker.check().await });
        while !check.is_finished() {
            let id = plaza.send("meanwhile").await.unwrap();
            assert_eq!(plaza.page(None, Direction::Backward, 1).await.unwrap()[0].id, id);
        }
        let report = soon(check).await.unwrap().unwrap();
        assert!(report.is_clean(), "{:?}", report.problems);
        beside = plaza.info().await.unwrap().last_position - report.messages;
        if beside >= 5 {
            break;
        }
    }
    assert!(beside >= 5, "{beside} messages were sent while the store was checked");
    let report = ada.check().await.unwrap();
    assert!(report.is_clean());
    assert_eq!(report.messages, plaza.info().await.unwrap().last_position);
}

#[tokio::test]
async fn a_check_is_given_up_when_the_node_ends() {
    let folder = tempfile::tempdir().unwrap();
    let ada = alone(folder.path()).await;
    let plaza = ada.create_public("plaza").await.unwrap();
    plaza.send_many((0..1000).map(|n| n.to_string()).collect()).await.unwrap();
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let ada = ada.clone();
            tokio::spawn(async move { ada.check().await })
        })
        .collect();
    tokio::task::yield_now().await;
    ada.shutdown().await.unwrap();
    for task in tasks {
        match soon(task).await.unwrap() {
            Ok(report) => assert!(report.is_clean()),
            Err(error) => assert!(matches!(error, hedgerow::NodeError::Stopped), "{error}"),
        }
    }
    assert!(matches!(plaza.history(0, 1).await, Err(hedgerow::NodeError::Stopped)));
    // The home is free: nobody has the store open any more.
    let ada = alone(folder.path()).await;
    assert!(ada.check().await.unwrap().is_clean());
}
