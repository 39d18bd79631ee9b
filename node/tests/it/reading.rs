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
