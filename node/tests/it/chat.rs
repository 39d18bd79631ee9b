//! Conversations: direct, private and public, over memory links and TCP.

use hedgerow::{ChatKind, Content, MemoryNetwork, Node, NodeError, NodeEvent};

use crate::support::{befriend, canonical, connected, in_memory, quick, soon, texts, until};

#[tokio::test]
async fn two_nodes_talk_and_see_the_same() {
    let network = MemoryNetwork::new();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let ben = in_memory(&network, "ben").spawn().await.unwrap();
    befriend(&ada, &ben).await;
    let to_ben = ada.direct(ben.peer_id()).await.unwrap();
    let to_ada = ben.find_chat("ada").await.unwrap();
    assert_eq!((to_ben.group(), to_ada.kind()), (to_ada.group(), ChatKind::Direct(ada.peer_id())));

    let mut at_ada = to_ben.stream("inbox").await.unwrap();
    let mut at_ben = to_ada.stream("inbox").await.unwrap();
    let id = to_ben.send("hello").await.unwrap();
    let first = soon(at_ben.next()).await.unwrap();
    assert_eq!((first.id, first.text(), first.author), (id, Some("hello"), ada.peer_id()));
    assert_eq!((first.shown_author(), first.number, first.position), ("ada".to_owned(), 1, 1));
    let answer = to_ada.send("hello yourself").await.unwrap();
    assert_eq!(texts(&mut at_ada, 2).await, ["hello", "hello yourself"]);
    let second = soon(at_ben.next()).await.unwrap();
    assert_eq!((second.id, second.deps), (answer, vec![id]));
    assert_eq!(canonical(&to_ben).await.unwrap(), canonical(&to_ada).await.unwrap());

    // All is acknowledged, and the reports say so.
    until(|| async { ada.status().await.unwrap().peers.iter().all(|p| p.settled && p.in_flight == 0) }).await;
    let status = serde_json::to_value(ada.status().await.unwrap()).unwrap();
    assert_eq!(status["groups"][0]["delivered"], 2);
    assert_eq!(status["groups"][0]["heads"], 1);
    assert!(ada.check().await.unwrap().is_clean());
    ada.shutdown().await.unwrap();
    assert!(matches!(to_ben.send("late").await, Err(NodeError::Stopped)));
    assert!(matches!(soon(at_ada.next()).await, Err(NodeError::Stopped)));
}

#[tokio::test]
async fn a_post_crosses_a_node_in_the_middle() {
    let network = MemoryNetwork::new();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let ben = in_memory(&network, "ben").spawn().await.unwrap();
    let cyn = in_memory(&network, "cyn").spawn().await.unwrap();
    befriend(&ada, &ben).await;
    befriend(&ben, &cyn).await;
    let garden = ada.create_group("garden").await.unwrap();
    let for_ben = ada.invite(garden.group(), ben.peer_id()).await.unwrap();
    // The ticket for Cyn goes by another way: the two never meet.
    let for_cyn = ada.invite(garden.group(), cyn.peer_id()).await.unwrap();
    assert!(matches!(cyn.join(&for_ben).await, Err(NodeError::Invite(_))));
    ben.join(&for_ben).await.unwrap();
    let at_cyn = cyn.join(&for_cyn.to_string().parse().unwrap()).await.unwrap();

    let one = garden.send("one").await.unwrap();
    let two = garden.send("two").await.unwrap();
    let mut stream = at_cyn.stream("inbox").await.unwrap();
    let mut got = Vec::new();
    while got.len() < 2 {
        let item = soon(stream.next()).await.unwrap();
        if item.text().is_some() {
            assert_eq!((item.author, item.shown_author()), (ada.peer_id(), "ada".to_owned()));
            got.push(item);
        }
    }
    assert_eq!([got[0].id, got[1].id], [one, two]);
    assert!(got[1].deps.contains(&one));
    at_cyn.send("three").await.unwrap();
    until(|| async { canonical(&garden).await.unwrap() == ["one", "two", "three"] }).await;
    until(|| async {
        let names: Vec<_> = garden.members().await.unwrap().into_iter().filter_map(|m| m.name).collect();
        ["ada", "ben", "cyn"].iter().all(|name| names.iter().any(|known| known == name))
    })
    .await;
    assert!(matches!(ada.link(garden.group()).await, Err(NodeError::PrivateGroup(_))));
    assert!(matches!(ben.invite(garden.group(), ada.peer_id()).await, Err(NodeError::Invite(_))));
}

#[tokio::test]
async fn whoever_has_the_link_is_in_a_public_chat() {
    let network = MemoryNetwork::new();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let ben = in_memory(&network, "ben").spawn().await.unwrap();
    let plaza = ada.create_public("plaza").await.unwrap();
    plaza.send("first").await.unwrap();
    let link = ada.link(plaza.group()).await.unwrap();
    let at_ben = ben.join(&link).await.unwrap();
    // Contacts that are made after the group share it as well.
    befriend(&ada, &ben).await;
    assert_eq!(texts(&mut at_ben.stream("inbox").await.unwrap(), 1).await, ["first"]);
    ben.join(&link).await.unwrap();
    at_ben.send("second").await.unwrap();
    until(|| async { canonical(&plaza).await.unwrap() == ["first", "second"] }).await;
    let joined = plaza.history(0, 100).await.unwrap();
    let by_ben = |item: &&hedgerow::ChatItem| item.author == ben.peer_id();
    let names = joined.iter().filter(by_ben).filter(|i| matches!(i.content, Content::Joined { .. })).count();
    assert_eq!(names, 1, "joining twice is joining once");
    assert_eq!(ben.groups().await.unwrap()[0].name, "plaza");
}

#[tokio::test]
async fn an_invitation_comes_in_the_direct_chat_and_is_accepted() {
    let network = MemoryNetwork::new();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let ben = in_memory(&network, "ben").spawn().await.unwrap();
    befriend(&ada, &ben).await;
    let mut events = ben.events();
    let garden = ada.create_group("garden").await.unwrap();
    ada.invite(garden.group(), ben.peer_id()).await.unwrap();
    let invited = async {
        loop {
            if let Some(NodeEvent::Invited { from, group }) = events.next().await {
                return (from, group);
            }
        }
    };
    assert_eq!(soon(invited).await, (ada.peer_id(), garden.group()));
    let invitations = ben.invitations().await.unwrap();
    assert_eq!((invitations.len(), invitations[0].name.as_str()), (1, "garden"));
    let at_ben = ben.accept(garden.group()).await.unwrap();
    assert!(ben.invitations().await.unwrap().is_empty());
    assert!(matches!(ben.accept(garden.group()).await, Err(NodeError::NoInvitation(_))));
    at_ben.send("thanks").await.unwrap();
    until(|| async { canonical(&garden).await.unwrap() == ["thanks"] }).await;

    // Who left can come back with the same ticket, and does not use a number twice.
    assert!(ben.leave(garden.group()).await.unwrap());
    assert!(!ben.leave(garden.group()).await.unwrap());
    assert!(matches!(at_ben.send("gone").await, Err(NodeError::UnknownGroup(_))));
    ben.join(&invitations[0].invite).await.unwrap();
    at_ben.send("back").await.unwrap();
    // Ben did not hold the first any more when he said the second: at the same millisecond either may stand first.
    until(|| async {
        let mut all = canonical(&garden).await.unwrap();
        all.sort_unstable();
        all == ["back", "thanks"]
    })
    .await;
    assert!(garden.history(0, 100).await.unwrap().iter().all(|item| !item.fork && !item.gap));
}

#[tokio::test]
async fn two_homes_talk_over_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let spawn = |name: &str| {
        let home = folder.path().join(name);
        Node::builder().home(home).name(name).listen("tcp://127.0.0.1:0").redial(quick()).spawn()
    };
    let ada = spawn("ada").await.unwrap();
    let ben = spawn("ben").await.unwrap();
    assert_eq!(ada.local_addresses()[0].scheme(), "tcp");
    let ticket = ben.ticket().unwrap().to_string();
    ada.add_peer_as(&ticket.parse().unwrap(), "Benny").await.unwrap();
    // One side needs no address of the other.
    ben.add_peer(&hedgerow::PeerTicket::new(ada.peer_id(), None, vec![]).unwrap()).await.unwrap();
    let to_ben = ada.find_chat("Benny").await.unwrap();
    let lines: Vec<_> = (0..500).map(|n| format!("line {n}")).collect();
    to_ben.send_many(lines.clone()).await.unwrap();
    let mut stream = ben.direct(ada.peer_id()).await.unwrap().stream("inbox").await.unwrap();
    assert_eq!(texts(&mut stream, 500).await, lines);
    until(|| connected(&ben, ada.peer_id())).await;
    for node in [ada, ben] {
        assert!(node.check().await.unwrap().is_clean());
        node.shutdown().await.unwrap();
    }
}

#[tokio::test]
async fn lossy_links_lose_nothing_in_the_end() {
    let network = MemoryNetwork::new();
    let spawn = |name: &str, seed: u64| {
        let profile = hedgerow::LossProfile { loss: 0.3, duplicate: 0.1, reorder: 0.1, ..Default::default() };
        let builder = in_memory(&network, name).seed(seed);
        builder.wrap_links(move |link| hedgerow::Lossy::wrap(link, profile.clone(), seed)).spawn()
    };
    let ada = spawn("ada", 1).await.unwrap();
    let ben = spawn("ben", 2).await.unwrap();
    befriend(&ada, &ben).await;
    let lines: Vec<_> = (0..100).map(|n| format!("line {n}")).collect();
    ada.direct(ben.peer_id()).await.unwrap().send_many(lines.clone()).await.unwrap();
    let mut stream = ben.direct(ada.peer_id()).await.unwrap().stream("inbox").await.unwrap();
    assert_eq!(texts(&mut stream, 100).await, lines);
}
