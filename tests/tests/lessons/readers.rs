//! Applications that read slowly, or not at all for a while.

use hedgerow::MemoryNetwork;
use hedgerow::limits::PAGE_MESSAGES;
use hedgerow_proto::{MessageId, Visibility};
use hedgerow_sync_core::testing::{descriptor, open, peer};
use hedgerow_sync_core::{Config, Draft, Event, LinkProfile, MemoryStore, Time};

use crate::support::{befriend, in_memory, on_disk, soon, until};

const BURST: usize = 5_000;

/// p2panda 0.7 hands messages over through a bounded channel that drops: of 5,000 in a burst 2,304 are kept, and
/// nobody is told. Here nothing is between the store and the application that could drop. An engine that is not
/// asked for events for an hour holds one event in the end, and a stream that nobody reads gives all of them
/// afterwards.
#[tokio::test]
async fn an_application_that_does_not_read_loses_what_comes() {
    engine_unasked_for_an_hour();

    let folder = tempfile::tempdir().unwrap();
    let network = MemoryNetwork::new();
    let ada = in_memory(&network, "ada").spawn().await.unwrap();
    let ben = on_disk(&network, folder.path(), "ben").spawn().await.unwrap();
    befriend(&ada, &ben).await;
    let direct = ada.direct(ben.peer_id()).await.unwrap();
    let at_ben = ben.direct(ada.peer_id()).await.unwrap();
    let mut unread = at_ben.stream("reads nothing").await.unwrap();
    let mut slow = at_ben.stream("reads slowly").await.unwrap();
    let lines: Vec<String> = (0..BURST).map(|n| format!("line {n}")).collect();
    let mut read = 0;
    for part in lines.chunks(500) {
        direct.send_many(part.to_vec()).await.unwrap();
        for _ in 0..10 {
            assert_eq!(soon(slow.next()).await.unwrap().text(), Some(lines[read].as_str()));
            read += 1;
        }
    }
    until(|| async { at_ben.info().await.unwrap().last_position == BURST as u64 }).await;
    for line in &lines {
        assert_eq!(soon(unread.next()).await.unwrap().text(), Some(line.as_str()));
    }
    for line in &lines[read..] {
        assert_eq!(soon(slow.next()).await.unwrap().text(), Some(line.as_str()));
    }
    assert_eq!(unread.position(), BURST as u64);
    // What a stream holds itself is what it can give when its node is gone: a page at most, however much there is.
    let mut begun = at_ben.stream("reads one").await.unwrap();
    assert_eq!(soon(begun.next()).await.unwrap().text(), Some("line 0"));
    ben.shutdown().await.unwrap();
    let mut held = 0;
    while soon(begun.next()).await.is_ok() {
        held += 1;
    }
    assert!(held < PAGE_MESSAGES, "{held} messages in memory");
    drop((unread, slow, begun, at_ben, ben));
    // Nothing was said to be done with but what was read: the rest comes after a restart.
    let ben = on_disk(&network, folder.path(), "ben").offline().spawn().await.unwrap();
    let mut again = ben.direct(ada.peer_id()).await.unwrap().stream("reads one").await.unwrap();
    let first = soon(again.next()).await.unwrap();
    assert_eq!(first.text(), Some("line 0"), "it was given out, and never committed");
    assert!(ben.check().await.unwrap().is_clean());
}

/// Two engines, one of which is driven by an application that asks for no event for an hour.
fn engine_unasked_for_an_hour() {
    for judged in [false, true] {
        let mut now = Time(1_700_000_000_000);
        let mut config = Config::default();
        config.max_unvalidated = 500;
        let mut engines = [0, 1].map(|n| open(MemoryStore::new(), &config, n, 1, now));
        let group = descriptor("g").id();
        for (n, engine) in engines.iter_mut().enumerate() {
            engine.add_group(&descriptor("g"), judged && n == 1).unwrap();
            engine.set_visibility(peer(1 - n), group, Visibility::Shared).unwrap();
        }
        let [writer, reader] = &mut engines;
        let to_reader = writer.link_up(peer(1), LinkProfile::reliable(), now).unwrap();
        let to_writer = reader.link_up(peer(0), LinkProfile::reliable(), now).unwrap();
        let mut ids: Vec<MessageId> = Vec::new();
        for second in 0..3_600_usize {
            now = now + 1_000;
            // The burst is over in 50 s.
            for n in (0..BURST).skip(second * 100).take(100) {
                let draft =
                    Draft { timestamp_ms: now.as_timestamp_ms(), deps: vec![], body: n.to_string().into() };
                ids.push(writer.publish(group, draft, now).unwrap());
            }
            writer.handle_timeout(now).unwrap();
            reader.handle_timeout(now).unwrap();
            while let Some(frame) = writer.poll_transmit(to_reader, now, usize::MAX).unwrap() {
                reader.receive(to_writer, frame, now).unwrap();
            }
            while let Some(frame) = reader.poll_transmit(to_writer, now, usize::MAX).unwrap() {
                writer.receive(to_reader, frame, now).unwrap();
            }
        }
        if judged {
            // Nobody says what they are: what is held meanwhile is bounded, and nothing more is fetched. The writer
            // has the common room, and a sixteenth of it for itself.
            let status = reader.status().groups[0];
            assert_eq!((status.unvalidated, status.delivered), (500 + 500 / 16, 0));
        }
        let (mut events, mut delivered) = (0, Vec::new());
        loop {
            while let Some(event) = reader.poll_event().unwrap() {
                events += 1;
                match event {
                    Event::Validate { id, .. } => {
                        reader.judge(id, hedgerow_sync_core::Verdict::VALID, now).unwrap();
                    }
                    Event::Delivered { first, last, .. } => {
                        for entry in reader.log(group, first - 1, BURST, usize::MAX).unwrap() {
                            assert!((first..=last).contains(&entry.position));
                            delivered.push(entry.id);
                        }
                    }
                    _ => {}
                }
            }
            if !judged {
                // The link is ready, all is delivered, and nothing else is to be told.
                assert!(events <= 3, "{events} events were kept for whoever did not ask");
            }
            let mut moved = false;
            while let Some(frame) = reader.poll_transmit(to_writer, now, usize::MAX).unwrap() {
                writer.receive(to_reader, frame, now).unwrap();
                moved = true;
            }
            while let Some(frame) = writer.poll_transmit(to_reader, now, usize::MAX).unwrap() {
                reader.receive(to_writer, frame, now).unwrap();
                moved = true;
            }
            if !moved {
                break;
            }
        }
        assert_eq!(delivered.len(), BURST, "judged: {judged}");
        if !judged {
            assert_eq!(delivered, ids);
        }
        delivered.sort_unstable();
        ids.sort_unstable();
        assert_eq!(delivered, ids);
    }
}
