//! Contacts and strangers, and how many links there are.

use hedgerow::transports::{CloseReason, Transport as _};
use hedgerow::{Identity, MemoryNetwork, Node, NodeError, NodeEvent, PeerTicket};

use crate::support::{befriend, connected, in_memory, on_disk, quick, soon, texts, until};

#[tokio::test]
async fn a_stranger_is_refused_and_listed_until_it_is_added() {
    let network = MemoryNetwork::new();
    let folder = tempfile::tempdir().unwrap();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let ben = on_disk(&network, folder.path(), "ben").spawn().await.unwrap();
    let mut at_ada = ada.events();
    ada.add_peer(&ben.ticket().unwrap()).await.unwrap();
    let refused = async {
        loop {
            if let Some(NodeEvent::Refused { peer, reason }) = at_ada.next().await {
                return (peer, reason);
            }
        }
    };
    assert_eq!(soon(refused).await, (ben.peer_id(), CloseReason::NotAContact));
    until(|| async { !ben.waiting().await.unwrap().is_empty() }).await;
    ada.direct(ben.peer_id()).await.unwrap().send("are you there?").await.unwrap();
    assert!(!connected(&ada, ben.peer_id()).await);

    // The list survives a restart.
    ben.shutdown().await.unwrap();
    let ben = on_disk(&network, folder.path(), "ben").spawn().await.unwrap();
    let waiting = ben.waiting().await.unwrap();
    assert_eq!((waiting.len(), waiting[0].peer), (1, ada.peer_id()));
    assert_eq!(ben.find_peer(&ada.peer_id().to_string()[..8]).await.unwrap(), ada.peer_id());

    // Once added, what was said before comes through. Ben has no address of Ada: it is Ada who dials again.
    ben.add_peer(&PeerTicket::new(ada.peer_id(), None, vec![]).unwrap()).await.unwrap();
    assert!(ben.waiting().await.unwrap().is_empty());
    let mut stream = ben.direct(ada.peer_id()).await.unwrap().stream("inbox").await.unwrap();
    assert_eq!(texts(&mut stream, 1).await, ["are you there?"]);

    // Removed, it is a stranger again; the chat stays to be read.
    until(|| connected(&ben, ada.peer_id())).await;
    assert!(ben.remove_peer(ada.peer_id()).await.unwrap());
    until(|| async { !ben.waiting().await.unwrap().is_empty() }).await;
    until(|| async { !connected(&ada, ben.peer_id()).await }).await;
    assert_eq!(ben.direct(ada.peer_id()).await.unwrap().history(0, 10).await.unwrap().len(), 1);
    assert!(ben.remove_peer(ada.peer_id()).await.unwrap());
}

#[tokio::test]
async fn two_that_dial_each_other_keep_one_link() {
    for round in 0..10 {
        let network = MemoryNetwork::new();
        let ada = in_memory(&network, "ada").seed(round).spawn().await.unwrap();
        let ben = in_memory(&network, "ben").seed(round + 100).spawn().await.unwrap();
        let (to_ben, to_ada) = (ben.ticket().unwrap(), ada.ticket().unwrap());
        let (one, other) = tokio::join!(ada.add_peer(&to_ben), ben.add_peer(&to_ada));
        one.and(other).unwrap();
        until(|| async { connected(&ada, ben.peer_id()).await && connected(&ben, ada.peer_id()).await })
            .await;
        // Whichever was kept, it is one, the same on both sides, and stays.
        let mut same = 0;
        until(|| {
            same += 1;
            let same = same;
            let (ada, ben) = (ada.clone(), ben.clone());
            async move {
                let (one, other) = (ada.status().await.unwrap().links, ben.status().await.unwrap().links);
                one.len() == 1 && other.len() == 1 && one[0].dialled != other[0].dialled && same > 3
            }
        })
        .await;
        let mut events = ada.events();
        let direct = ada.direct(ben.peer_id()).await.unwrap();
        direct.send("still there").await.unwrap();
        let mut stream = ben.direct(ada.peer_id()).await.unwrap().stream("inbox").await.unwrap();
        assert_eq!(texts(&mut stream, 1).await, ["still there"]);
        ada.shutdown().await.unwrap();
        drop(direct);
        drop(ada);
        while let Some(event) = soon(events.next()).await {
            assert!(!matches!(event, NodeEvent::PeerDown { .. }), "the link flapped in round {round}");
        }
    }
}

#[tokio::test]
async fn a_newer_ticket_brings_a_newer_address() {
    let network = MemoryNetwork::new();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let key = [7; 32];
    let old =
        Node::builder().memory_with_key(key).network(&network, "old").redial(quick()).spawn().await.unwrap();
    ada.add_peer_as(&old.ticket().unwrap(), "ben").await.unwrap();
    old.shutdown().await.unwrap();
    let new =
        Node::builder().memory_with_key(key).network(&network, "new").redial(quick()).spawn().await.unwrap();
    new.add_peer(&PeerTicket::new(ada.peer_id(), None, vec![]).unwrap()).await.unwrap();
    let contact = ada.add_peer(&new.ticket().unwrap()).await.unwrap();
    assert_eq!((contact.alias.as_deref(), contact.addresses), (Some("ben"), new.local_addresses()));
    until(|| connected(&new, ada.peer_id())).await;
}

#[tokio::test]
async fn names_find_what_they_name() {
    let network = MemoryNetwork::new();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let ben = in_memory(&network, "ben").spawn().await.unwrap();
    let cyn = in_memory(&network, "cyn").spawn().await.unwrap();
    assert!(matches!(ada.add_peer(&ada.ticket().unwrap()).await, Err(NodeError::OwnTicket)));
    befriend(&ada, &ben).await;
    ada.add_peer_as(&cyn.ticket().unwrap(), "c").await.unwrap();
    let taken = ada.add_peer_as(&ben.ticket().unwrap(), "c").await;
    assert!(matches!(taken, Err(NodeError::AliasTaken { peer, .. }) if peer == cyn.peer_id()));
    assert_eq!(ada.find_peer("ben").await.unwrap(), ben.peer_id());
    assert_eq!(ada.find_peer("c").await.unwrap(), cyn.peer_id());
    assert!(matches!(ada.find_chat("nobody").await, Err(NodeError::NotFound { .. })));
    let garden = ada.create_group("garden").await.unwrap();
    assert_eq!(ada.find_chat("garden").await.unwrap().group(), garden.group());
    ada.create_public("garden").await.unwrap();
    assert!(matches!(ada.find_chat("garden").await, Err(NodeError::Ambiguous { .. })));
    let by_id = ada.find_chat(&garden.group().to_string()).await.unwrap();
    assert_eq!(by_id.group(), garden.group());
    assert_eq!(ada.chats().await.unwrap().len(), 4);
    assert!(matches!(
        ada.leave(ada.direct(ben.peer_id()).await.unwrap().group()).await,
        Err(NodeError::DirectChat(_))
    ));
    assert!(ada.create_group("").await.is_err());
}

#[tokio::test]
async fn two_devices_with_one_key_do_not_take_a_link_from_each_other_for_ever() {
    let network = MemoryNetwork::new();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let twin = |name: &'static str| in_memory(&network, name).memory_with_key([7; 32]).spawn();
    let (one, other) = (twin("one").await.unwrap(), twin("other").await.unwrap());
    let key = one.peer_id();
    let (mut at_ada, mut at_one, mut at_other) = (ada.events(), one.events(), other.events());
    // Ada dials nobody: it is the twins who dial.
    ada.add_peer(&PeerTicket::new(key, None, vec![]).unwrap()).await.unwrap();
    for twin in [&one, &other] {
        twin.add_peer(&ada.ticket().unwrap()).await.unwrap();
    }
    let told_ada = async {
        let mut gone = 0;
        loop {
            match at_ada.next().await {
                Some(NodeEvent::SameKey { peer }) => break (peer, gone),
                Some(NodeEvent::PeerDown { .. }) => gone += 1,
                _ => {}
            }
        }
    };
    let (peer, gone) = soon(told_ada).await;
    assert_eq!(peer, key);
    assert!(gone <= 8, "the link changed hands {gone} times before");
    // One of the two learns it as well, and dials ever more rarely.
    let told_twin = async {
        loop {
            let event = tokio::select! {
                event = at_one.next() => event,
                event = at_other.next() => event,
            };
            if let NodeEvent::SameKey { peer } = event.expect("both are there") {
                break peer;
            }
        }
    };
    assert_eq!(soon(told_twin).await, key);
}

#[tokio::test]
async fn a_contact_that_makes_a_thousand_links_has_one_and_keeps_out_nobody() {
    let network = MemoryNetwork::new();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let ben = in_memory(&network, "ben").spawn().await.unwrap();
    let greedy = Identity::from_seed(&[9; 32]);
    ada.add_peer(&PeerTicket::new(greedy.peer_id(), None, vec![]).unwrap()).await.unwrap();
    let transport = network.transport(greedy);
    let mut links = Vec::new();
    for _ in 0..1_000 {
        let link = soon(transport.dial(&"mem://ada".parse().unwrap(), ada.peer_id())).await.unwrap();
        links.push(link.split());
    }
    befriend(&ada, &ben).await;
    until(|| connected(&ben, ada.peer_id())).await;
    let mut ended = 0;
    for (_, receiver) in &mut links {
        // What the engine said comes first.
        let end = async {
            loop {
                if let Err(end) = receiver.recv().await {
                    break end.close_reason();
                }
            }
        };
        match tokio::time::timeout(std::time::Duration::from_secs(5), end).await {
            Ok(Some(CloseReason::Duplicate)) => ended += 1,
            Ok(other) => panic!("{other:?}"),
            Err(_) => {}
        }
    }
    assert_eq!(ended, 999, "one is kept");
}
