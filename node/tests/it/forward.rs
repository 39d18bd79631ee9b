//! A node without the client of a group: it stores and passes on, and reads nothing.

use hedgerow::clients::group;
use hedgerow::{MemoryNetwork, NodeError};

use crate::support::{befriend, canonical, in_memory, on_disk, texts, until};

#[tokio::test]
async fn a_node_without_the_client_stores_and_passes_on() {
    let network = MemoryNetwork::new();
    let folder = tempfile::tempdir().unwrap();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let ben = on_disk(&network, folder.path(), "ben").without_client(group::CLIENT_ID).spawn().await.unwrap();
    let cyn = in_memory(&network, "cyn").spawn().await.unwrap();
    befriend(&ada, &ben).await;
    befriend(&ben, &cyn).await;
    let garden = ada.create_group("garden").await.unwrap();
    let for_ben = ada.invite(garden.group(), ben.peer_id()).await.unwrap();
    let for_cyn = ada.invite(garden.group(), cyn.peer_id()).await.unwrap();
    let at_ben = ben.join(&for_ben).await.unwrap();
    let at_cyn = cyn.join(&for_cyn).await.unwrap();
    garden.send("past ben").await.unwrap();
    assert_eq!(texts(&mut at_cyn.stream("inbox").await.unwrap(), 1).await, ["past ben"]);
    assert!(matches!(at_ben.stream("inbox").await, Err(NodeError::NoClient { .. })));
    assert!(matches!(at_ben.send("hm").await, Err(NodeError::NoClient { .. })));
    assert!(!at_ben.info().await.unwrap().can_read);
    // It acknowledges what it holds.
    until(|| async { ada.status().await.unwrap().peers.iter().all(|peer| peer.settled) }).await;
    ben.shutdown().await.unwrap();

    // With the client it reads what it has stored, and verifies it now.
    let ben = on_disk(&network, folder.path(), "ben").spawn().await.unwrap();
    let at_ben = ben.chat(garden.group()).await.unwrap();
    assert_eq!(texts(&mut at_ben.stream("inbox").await.unwrap(), 1).await, ["past ben"]);
    at_ben.send("now I see").await.unwrap();
    until(|| async { canonical(&garden).await.unwrap().contains(&"now I see".to_owned()) }).await;
}

#[tokio::test]
async fn any_group_can_be_carried() {
    let network = MemoryNetwork::new();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let descriptor = hedgerow::GroupDescriptor::new("org.example.chess", 1, b"table 7".to_vec()).unwrap();
    let group = ada.carry(&descriptor).await.unwrap();
    let info = ada.chat(group).await.unwrap().info().await.unwrap();
    assert_eq!((info.kind, info.name.as_str()), (hedgerow::ChatKind::Carried, "org.example.chess"));
    assert!(matches!(ada.invite(group, ada.peer_id()).await, Err(NodeError::NoClient { .. })));
}
