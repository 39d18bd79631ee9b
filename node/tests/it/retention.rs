//! Caps, messages that expire, and what a reader sees of those that are gone.

use std::time::Duration;

use hedgerow::{ChatLine, Config, Direction, Gone, MemoryNetwork, NodeError, NodeEvent};

use crate::support::{befriend, canonical, in_memory, on_disk, soon, until};

/// The least cap, in bytes.
const CAP: u64 = 263_168;

fn gone(lines: &[ChatLine]) -> Vec<(u64, Gone)> {
    let gone = lines.iter().filter_map(|line| match line {
        ChatLine::Gone(item) => Some((item.position, item.why)),
        ChatLine::Message(_) => None,
    });
    gone.collect()
}

#[tokio::test]
async fn a_message_expires_on_both_sides_and_is_shown_as_expired() {
    let network = MemoryNetwork::new();
    let home = tempfile::tempdir().unwrap();
    let ada = on_disk(&network, home.path(), "ada").spawn().await.unwrap();
    let ben = in_memory(&network, "ben").spawn().await.unwrap();
    befriend(&ada, &ben).await;
    let to_ben = ada.direct(ben.peer_id()).await.unwrap();
    let to_ada = ben.direct(ada.peer_id()).await.unwrap();
    let mut events = ben.events();
    to_ben.send("stays").await.unwrap();
    let secret = to_ben.send_expiring("burn after reading", Duration::from_secs(3)).await.unwrap();
    to_ben.send("stays too").await.unwrap();
    let mut stream = to_ada.stream_from(0).await.unwrap();
    let mut seen = soon(stream.next()).await.unwrap();
    while seen.id != secret {
        seen = soon(stream.next()).await.unwrap();
    }
    let expires_ms = seen.expires_ms.unwrap();
    assert!(expires_ms >= seen.timestamp_ms + 3_000);
    soon(async {
        loop {
            if let Some(NodeEvent::Pruned { group, count }) = events.next().await {
                assert_eq!((group, count), (to_ada.group(), 1));
                return;
            }
        }
    })
    .await;
    until(|| async { canonical(&to_ben).await.unwrap() == ["stays", "stays too"] }).await;
    for chat in [&to_ben, &to_ada] {
        assert_eq!(canonical(chat).await.unwrap(), ["stays", "stays too"]);
        let lines = chat.lines(0, 100).await.unwrap();
        assert_eq!(gone(&lines), [(seen.position, Gone::Expired)]);
        let ChatLine::Gone(item) = &lines[usize::try_from(seen.position).unwrap() - 1] else { panic!() };
        assert_eq!((item.id, item.author, item.expires_ms), (secret, Some(ada.peer_id()), Some(expires_ms)));
        assert_eq!(item.author_name.as_deref(), Some("ada"));
        let page = chat.line_page(None, Direction::Forward, 100).await.unwrap();
        assert_eq!(gone(&page), gone(&lines));
        assert_eq!(chat.page(None, Direction::Forward, 100).await.unwrap().len(), page.len() - 1);
    }
    // It is over for who reads before the body is gone from the store.
    until(|| async { ada.check().await.unwrap().pruned == 1 }).await;
    let report = ada.check().await.unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(ada.status().await.unwrap().bytes, report.bytes);
    // What comes after it is not held up.
    to_ada.send("and more").await.unwrap();
    until(|| async { canonical(&to_ben).await.unwrap().len() == 3 }).await;
}

#[tokio::test]
async fn a_capped_node_keeps_the_latest_and_says_what_went() {
    let network = MemoryNetwork::new();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let ben = in_memory(&network, "ben").max_store_bytes(CAP).spawn().await.unwrap();
    befriend(&ada, &ben).await;
    let to_ben = ada.direct(ben.peer_id()).await.unwrap();
    let to_ada = ben.direct(ada.peer_id()).await.unwrap();
    for part in 0..10 {
        let texts = (0..10).map(|n| format!("{} {}", part * 10 + n, "x".repeat(5_000))).collect();
        to_ben.send_many(texts).await.unwrap();
    }
    let delivered = |chat: hedgerow::Chat| async move { chat.lines(0, 1_000).await.unwrap().len() };
    until(|| async { delivered(to_ada.clone()).await == 100 }).await;
    let report = ben.check().await.unwrap();
    assert!(report.is_clean() && report.bytes <= CAP, "{report}");
    let lines = to_ada.lines(0, 1_000).await.unwrap();
    let lost = gone(&lines);
    assert_eq!(lost.len() as u64, report.pruned);
    assert!(lost.len() > 40 && lost.iter().all(|(_, why)| *why == Gone::Pruned));
    // The oldest went, in order.
    assert_eq!(
        lost.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
        (1..=lost.len() as u64).collect::<Vec<_>>()
    );
    let status = ben.status().await.unwrap();
    assert_eq!((status.bytes, status.max_bytes), (report.bytes, Some(CAP)));
    assert_eq!((status.groups[0].pruned, status.groups[0].max_bytes), (report.pruned, None));
    until(|| async { ada.status().await.unwrap().peers.iter().all(|pair| pair.settled) }).await;
    assert_eq!(ada.status().await.unwrap().max_bytes, None);
}

#[tokio::test]
async fn without_room_all_of_a_list_is_refused_and_no_number_is_used_twice() {
    let network = MemoryNetwork::new();
    let home = tempfile::tempdir().unwrap();
    let ada = on_disk(&network, home.path(), "ada").spawn().await.unwrap();
    let garden = ada.create_group("garden").await.unwrap();
    garden.set_max_bytes(Some(CAP)).await.unwrap();
    let sent = |texts: usize| (0..texts).map(|n| format!("{n} {}", "x".repeat(5_000))).collect::<Vec<_>>();
    garden.send_many(sent(40)).await.unwrap();
    // Nobody else has any of it.
    let before = ada.check().await.unwrap();
    let error = garden.send_many(sent(20)).await.unwrap_err();
    assert!(matches!(error, NodeError::NoRoom { messages: 20 }), "{error}");
    assert_eq!(ada.check().await.unwrap(), before);
    garden.send_many(sent(5)).await.unwrap();
    assert!(matches!(garden.set_max_bytes(Some(CAP - 1)).await, Err(NodeError::Engine(_))));
    ada.shutdown().await.unwrap();
    // The cap of the group is kept.
    let ada = on_disk(&network, home.path(), "ada").spawn().await.unwrap();
    let garden = ada.chat(garden.group()).await.unwrap();
    assert_eq!(ada.status().await.unwrap().groups[0].max_bytes, Some(CAP));
    assert!(matches!(garden.send_many(sent(20)).await, Err(NodeError::NoRoom { .. })));
    garden.set_max_bytes(None).await.unwrap();
    garden.send_many(sent(20)).await.unwrap();
    let items = garden.history(0, 1_000).await.unwrap();
    assert!(items.iter().all(|item| !item.gap && !item.fork));
    let error = in_memory(&network, "cap").max_group_bytes(1).spawn().await.map(drop).unwrap_err();
    assert!(error.to_string().contains("at least 263168 bytes"), "{error}");
}

#[tokio::test]
async fn who_comes_after_the_pruning_is_told_what_is_missing() {
    let network = MemoryNetwork::new();
    let mut config = Config::default();
    config.horizon_patience_ms = 0;
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let ben = in_memory(&network, "ben").max_store_bytes(CAP).spawn().await.unwrap();
    let cyn = in_memory(&network, "cyn").config(config).spawn().await.unwrap();
    befriend(&ada, &ben).await;
    befriend(&ben, &cyn).await;
    let plaza = ada.create_public("plaza").await.unwrap();
    let link = ada.link(plaza.group()).await.unwrap();
    let at_ben = ben.join(&link).await.unwrap();
    for _ in 0..10 {
        plaza.send_many((0..10).map(|_| "x".repeat(5_000)).collect()).await.unwrap();
    }
    until(|| async {
        at_ben.lines(0, 1_000).await.unwrap().iter().filter(|line| line.position() > 0).count() > 100
    })
    .await;
    ada.shutdown().await.unwrap();
    let mut events = cyn.events();
    let at_cyn = cyn.join(&link).await.unwrap();
    soon(async {
        loop {
            if let Some(NodeEvent::HistoryGap { group, peer, .. }) = events.next().await {
                assert_eq!((group, peer), (plaza.group(), ben.peer_id()));
                return;
            }
        }
    })
    .await;
    until(|| async {
        let texts = |chat: &hedgerow::Chat| {
            let chat = chat.clone();
            async move {
                chat.history(0, 1_000).await.unwrap().iter().filter(|item| item.text().is_some()).count()
            }
        };
        texts(&at_cyn).await > 0 && texts(&at_cyn).await == texts(&at_ben).await
    })
    .await;
    let lines = at_cyn.lines(0, 1_000).await.unwrap();
    assert!(gone(&lines).iter().any(|(_, why)| *why == Gone::Missing));
    assert!(cyn.check().await.unwrap().is_clean());
}
