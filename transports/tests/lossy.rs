//! Links with seeded faults, on a clock that the test drives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;
use hedgerow_transports::{
    CloseReason, FrameReceiver, FrameSender, Identity, LinkError, LossCounts, LossProfile, Lossy,
    LossyCounters, memory_pair,
};
use tokio::time::{Duration, Instant, timeout};

struct Line {
    tx: Box<dyn FrameSender>,
    counters: LossyCounters,
    rx: Box<dyn FrameReceiver>,
    _others: (Box<dyn FrameReceiver>, Box<dyn FrameSender>),
}

fn line(profile: LossProfile, seed: u64) -> Line {
    let peer = |n| Identity::from_seed(&[n; 32]).peer_id();
    let (a, b) = memory_pair(peer(1), peer(2));
    let max_frame = a.info().max_frame;
    let (a, counters) = Lossy::wrap_counted(a, profile, seed);
    assert!(!a.info().reliable);
    assert_eq!(a.info().max_frame, max_frame);
    let ((tx, a_rx), (b_tx, rx)) = (a.split(), b.split());
    Line { tx, counters, rx, _others: (a_rx, b_tx) }
}

fn frame(n: u32) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

/// All that arrives until an hour passes without anything.
async fn all(rx: &mut Box<dyn FrameReceiver>) -> Vec<u32> {
    let mut got = Vec::new();
    while let Ok(frame) = timeout(Duration::from_hours(1), rx.recv()).await {
        got.push(u32::from_be_bytes(frame.unwrap()[..].try_into().unwrap()));
    }
    got
}

async fn run(profile: LossProfile, seed: u64, frames: u32) -> (Vec<u32>, LossCounts) {
    let mut line = line(LossProfile { queue_frames: 100_000, ..profile }, seed);
    let mut rx = line.rx;
    let reader = tokio::spawn(async move { all(&mut rx).await });
    for n in 0..frames {
        line.tx.send(frame(n)).await.unwrap();
    }
    let got = reader.await.unwrap();
    (got, line.counters.counts())
}

#[tokio::test(start_paused = true)]
async fn without_faults_all_pass_in_order() {
    let (got, counts) = run(LossProfile::default(), 1, 500).await;
    assert_eq!(got, (0..500).collect::<Vec<_>>());
    assert_eq!((counts.frames_sent, counts.bytes_sent, counts.dropped()), (500, 2000, 0));
    assert_eq!((counts.frames_delivered, counts.bytes_delivered), (500, 2000));
}

#[tokio::test(start_paused = true)]
async fn same_seed_same_frames() {
    let profile = LossProfile {
        loss: 0.3,
        duplicate: 0.1,
        reorder: 0.1,
        min_delay_ms: 5,
        max_delay_ms: 80,
        ..LossProfile::default()
    };
    let first = run(profile.clone(), 7, 1000).await;
    assert_eq!(first, run(profile.clone(), 7, 1000).await);
    assert_ne!(first.0, run(profile, 8, 1000).await.0);
    assert_ne!(
        first.0,
        {
            let mut sorted = first.0.clone();
            sorted.sort_unstable();
            sorted
        },
        "some were overtaken"
    );
}

#[tokio::test(start_paused = true)]
async fn counters_account_for_every_frame() {
    for loss in [0.0, 0.1, 0.5, 0.9, 1.0] {
        let (got, counts) =
            run(LossProfile { loss, duplicate: 0.2, ..LossProfile::default() }, 3, 2000).await;
        assert_eq!(counts.frames_sent, 2000);
        assert_eq!(counts.frames_delivered, 2000 - counts.lost + counts.duplicated);
        assert_eq!(u64::try_from(got.len()).unwrap(), counts.frames_delivered);
        let expected = 2000.0 * loss;
        let lost = f64::from(u32::try_from(counts.lost).unwrap());
        assert!((lost - expected).abs() < 100.0, "{lost} of 2000 at {loss}");
    }
}

#[tokio::test(start_paused = true)]
async fn delays_keep_the_order_of_what_is_not_held_back() {
    let delayed = LossProfile { min_delay_ms: 10, max_delay_ms: 200, ..LossProfile::default() };
    assert_eq!(run(delayed, 5, 300).await.0, (0..300).collect::<Vec<_>>());
    let mut line = line(LossProfile { min_delay_ms: 250, max_delay_ms: 250, ..LossProfile::default() }, 5);
    let begin = Instant::now();
    line.tx.send(frame(1)).await.unwrap();
    line.rx.recv().await.unwrap();
    assert_eq!(begin.elapsed(), Duration::from_millis(250));
}

#[tokio::test(start_paused = true)]
async fn bandwidth_spaces_frames_and_a_full_queue_drops() {
    let profile = LossProfile { bytes_per_second: Some(1000), queue_frames: 10, ..LossProfile::default() };
    let mut line = line(profile, 1);
    let begin = Instant::now();
    for _ in 0..50 {
        line.tx.send(Bytes::from(vec![0; 100])).await.unwrap();
    }
    for n in 1..=10 {
        line.rx.recv().await.unwrap();
        assert_eq!(begin.elapsed(), Duration::from_millis(100 * n));
    }
    let counts = line.counters.counts();
    assert_eq!((counts.overflowed, counts.frames_delivered), (40, 10));
}

#[tokio::test(start_paused = true)]
async fn a_cut_drops_what_is_under_way_and_heals() {
    let mut line = line(LossProfile { min_delay_ms: 50, max_delay_ms: 50, ..LossProfile::default() }, 1);
    line.tx.send(frame(1)).await.unwrap();
    line.counters.cut();
    line.tx.send(frame(2)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(line.counters.is_cut());
    line.counters.heal();
    line.tx.send(frame(3)).await.unwrap();
    assert_eq!(all(&mut line.rx).await, [3]);
    assert_eq!(line.counters.counts().cut_off, 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_when_it_was_cut_does_not_arrive_after_it_is_healed() {
    let mut line = line(LossProfile { min_delay_ms: 500, max_delay_ms: 500, ..LossProfile::default() }, 1);
    line.tx.send(frame(1)).await.unwrap();
    for _ in 0..2 {
        line.counters.cut();
    }
    assert!(line.counters.is_cut());
    for _ in 0..2 {
        line.counters.heal();
    }
    assert!(!line.counters.is_cut());
    line.tx.send(frame(2)).await.unwrap();
    assert_eq!(all(&mut line.rx).await, [2]);
    assert_eq!(line.counters.counts().cut_off, 1);
}

#[tokio::test(start_paused = true)]
async fn corruption_flips_one_bit() {
    let mut line = line(LossProfile { corrupt: 1.0, ..LossProfile::default() }, 1);
    for n in 0..100 {
        line.tx.send(frame(n)).await.unwrap();
        let got = u32::from_be_bytes(line.rx.recv().await.unwrap()[..].try_into().unwrap());
        assert_eq!((got ^ n).count_ones(), 1);
    }
    assert_eq!(line.counters.counts().corrupted, 100);
}

#[tokio::test(start_paused = true)]
async fn a_close_comes_after_what_is_under_way() {
    let mut line = line(LossProfile { min_delay_ms: 300, max_delay_ms: 300, ..LossProfile::default() }, 1);
    line.tx.send(frame(1)).await.unwrap();
    line.tx.close(CloseReason::NotAContact).await;
    assert_eq!(line.rx.recv().await.unwrap(), frame(1));
    assert_eq!(line.rx.recv().await.unwrap_err().close_reason(), Some(CloseReason::NotAContact));
    assert_eq!(line.tx.send(frame(2)).await.unwrap_err().close_reason(), Some(CloseReason::NotAContact));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_inner_link_shows() {
    let mut line = line(LossProfile::default(), 1);
    drop(line.rx);
    drop(line._others);
    let end = loop {
        if let Err(end) = line.tx.send(frame(1)).await {
            break end;
        }
    };
    assert!(matches!(end, LinkError::Lost), "{end}");
    let too_large = Bytes::from(vec![0; 1 << 20]);
    assert!(line.tx.send(too_large).await.is_err());
}
