//! A store that fails, and works again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hedgerow::{MemoryNetwork, Node, NodeError, NodeEvent, StoreError};
use hedgerow_sync_sqlite::{Options, SqliteStore};

use crate::support::{befriend, canonical, in_memory, quick, soon, texts, until};

#[tokio::test]
async fn a_full_disk_loses_nothing_and_all_goes_on_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let network = MemoryNetwork::new();
    let path = folder.path().join("store.db");
    let room = Arc::new(AtomicU64::new(400_000));
    let open = {
        let room = room.clone();
        move || {
            let mut options = Options::default();
            options.max_bytes = Some(room.load(Ordering::SeqCst));
            SqliteStore::open(&path, options)
        }
    };
    let ada = Node::builder().store([4; 32], open).name("ada").network(&network, "ada").redial(quick());
    let ada = ada.spawn().await.unwrap();
    let ben = in_memory(&network, "ben").spawn().await.unwrap();
    befriend(&ada, &ben).await;
    let mut events = ada.events();
    let at_ada = ada.direct(ben.peer_id()).await.unwrap();
    let mut stream = at_ada.stream("inbox").await.unwrap();

    // What Ada accepts until the disk is full she keeps, and nothing of what she refuses.
    let mut accepted = Vec::new();
    let refused = loop {
        let text = format!("{} {}", accepted.len(), "x".repeat(10_000));
        match at_ada.send(&text).await {
            Ok(_) => accepted.push(text),
            Err(error) => break error,
        }
        assert!(accepted.len() < 1000, "the disk is never full");
    };
    let NodeError::Store(error) = refused else { panic!("{refused}") };
    assert!(matches!(*error, StoreError::Full), "{error}");
    let failed = async { while !matches!(events.next().await, Some(NodeEvent::StoreFailed { .. })) {} };
    soon(failed).await;

    // More than there is room for comes from Ben meanwhile.
    let from_ben: Vec<_> = (0..40).map(|n| format!("ben {n} {}", "y".repeat(10_000))).collect();
    ben.direct(ada.peer_id()).await.unwrap().send_many(from_ben.clone()).await.unwrap();
    room.store(64 << 20, Ordering::SeqCst);

    // The stream goes on where it was, over errors.
    let mut read = Vec::new();
    soon(async {
        while read.len() < accepted.len() + from_ben.len() {
            match stream.next().await {
                Ok(item) => read.extend(item.text().map(str::to_owned)),
                Err(NodeError::Store(_)) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await;
    let (of_ben, of_ada): (Vec<_>, Vec<_>) = read.into_iter().partition(|text| text.starts_with("ben"));
    assert_eq!(of_ada, accepted);
    assert_eq!(of_ben, from_ben);
    until(|| async { at_ada.send("room again").await.is_ok() }).await;
    let at_ben = ben.direct(ada.peer_id()).await.unwrap();
    texts(&mut at_ben.stream("inbox").await.unwrap(), accepted.len() + from_ben.len() + 1).await;
    assert_eq!(canonical(&at_ada).await.unwrap(), canonical(&at_ben).await.unwrap());
    assert!(ada.check().await.unwrap().is_clean());
}
