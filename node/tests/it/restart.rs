//! Restarts and repeats: nothing is lost, nothing is said twice.

use hedgerow::{Home, HomeError, MemoryNetwork, NodeError, Role};

use crate::support::{befriend, canonical, in_memory, on_disk, texts, until};

#[tokio::test]
async fn both_sides_restart_in_the_middle_and_miss_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let network = MemoryNetwork::new();
    let spawn = |name: &'static str| on_disk(&network, &folder.path().join(name), name).spawn();
    let (mut ada, mut ben) = (spawn("ada").await.unwrap(), spawn("ben").await.unwrap());
    befriend(&ada, &ben).await;
    let lines: Vec<_> = (0..600).map(|n| format!("line {n}")).collect();
    for (round, part) in lines.chunks(100).enumerate() {
        let direct = ada.direct(ben.peer_id()).await.unwrap();
        for pair in part.chunks(20) {
            direct.send_many(pair.to_vec()).await.unwrap();
        }
        // Dropped, not shut down: like a process that ends here, but for what the system does then.
        if round % 2 == 0 {
            drop(direct);
            let id = ada.peer_id();
            drop(ada);
            free(folder.path().join("ada")).await;
            ada = spawn("ada").await.unwrap();
            assert_eq!(ada.peer_id(), id);
        } else {
            drop(ben);
            free(folder.path().join("ben")).await;
            ben = spawn("ben").await.unwrap();
        }
    }
    let at_ben = ben.direct(ada.peer_id()).await.unwrap();
    assert_eq!(texts(&mut at_ben.stream("inbox").await.unwrap(), 600).await, lines);
    let at_ada = ada.direct(ben.peer_id()).await.unwrap();
    assert_eq!(canonical(&at_ada).await.unwrap(), canonical(&at_ben).await.unwrap());
    let items = at_ben.history(0, 1000).await.unwrap();
    assert!(items.iter().zip(1..).all(|(item, n)| item.number == n && !item.gap && !item.fork));
    for node in [ada, ben] {
        assert!(node.check().await.unwrap().is_clean());
    }
}

async fn free(home: std::path::PathBuf) {
    until(|| {
        let home = home.clone();
        async move { Home::holder(&home).unwrap().is_none() }
    })
    .await;
}

#[tokio::test]
async fn a_batch_that_is_tried_again_is_sent_once() {
    let folder = tempfile::tempdir().unwrap();
    let network = MemoryNetwork::new();
    let spawn = || on_disk(&network, folder.path(), "ada").offline().spawn();
    let lines = |from: u64, to: u64| (from..to).map(|n| format!("line {n}")).collect::<Vec<_>>();
    let session = [9; 16];

    let ada = spawn().await.unwrap();
    let plaza = ada.create_public("plaza").await.unwrap();
    let answer = plaza.send_batch(session, 0, lines(0, 10)).await.unwrap();
    assert_eq!((answer.next_line, answer.ids.len()), (10, 10));
    // The caller is cut off before it hears the answer, and the process dies.
    let lost = plaza.send_batch(session, 10, lines(10, 20));
    let cut_off = tokio::time::timeout(std::time::Duration::ZERO, lost).await.is_err();
    drop((plaza, ada));
    free(folder.path().to_owned()).await;

    let ada = spawn().await.unwrap();
    let plaza = ada.find_chat("plaza").await.unwrap();
    // It tries again, with what was sent before and something new.
    let answer = plaza.send_batch(session, 5, lines(5, 25)).await.unwrap();
    assert_eq!(answer.next_line, 25, "cut off: {cut_off}");
    let again = plaza.send_batch(session, 5, lines(5, 25)).await.unwrap();
    assert_eq!((again.next_line, again.ids.len()), (25, 0));
    assert_eq!(canonical(&plaza).await.unwrap(), lines(0, 25));
    let gap = plaza.send_batch(session, 26, lines(26, 27)).await;
    assert!(matches!(gap, Err(NodeError::BatchGap { expected: 25, found: 26 })));
    let other = ada.create_public("other").await.unwrap();
    let elsewhere = other.send_batch(session, 25, lines(25, 26)).await;
    assert!(matches!(elsewhere, Err(NodeError::BatchElsewhere(group)) if group == plaza.group()));
}

#[tokio::test]
async fn a_batch_is_sent_whole_or_not_at_all() {
    let network = MemoryNetwork::new();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let plaza = ada.create_public("plaza").await.unwrap();
    let too_long = "x".repeat(hedgerow::clients::limits::MAX_TEXT + 1);
    for bad in [String::new(), too_long] {
        assert!(matches!(plaza.send_many(vec!["good".to_owned(), bad]).await, Err(NodeError::Draft(_))));
    }
    let many = vec!["x".to_owned(); hedgerow::limits::MAX_BATCH_LINES + 1];
    assert!(matches!(plaza.send_many(many).await, Err(NodeError::BatchTooLarge { .. })));
    assert!(canonical(&plaza).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_home_has_one_user_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let network = MemoryNetwork::new();
    let ada = on_disk(&network, folder.path(), "ada").spawn().await.unwrap();
    let second = on_disk(&network, folder.path(), "twin").spawn().await;
    let Err(NodeError::Home(HomeError::Locked { holder, .. })) = second else { panic!("{second:?}") };
    assert_eq!((holder.role, holder.pid), (Some(Role::Node), Some(std::process::id())));
    ada.shutdown().await.unwrap();
    assert!(matches!(ada.shutdown().await, Err(NodeError::Stopped)));
    // Free the moment that it is down, though a handle is still there.
    let ada = on_disk(&network, folder.path(), "ada").spawn().await.unwrap();
    assert_eq!(ada.name(), Some("ada"));
}
