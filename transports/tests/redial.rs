//! Keeping in touch with a peer, on a clock that the test drives.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hedgerow_proto::PeerId;
use hedgerow_transports::{
    Address, CloseReason, Identity, Link, LinkError, Listener, MemoryNetwork, MemoryTransport, Redial,
    RedialConfig, Transport, TransportError,
};
use tokio::time::{Duration, Instant, sleep, timeout};

fn identity(n: u8) -> Identity {
    Identity::from_seed(&[n; 32])
}

fn addresses(texts: &[&str]) -> Vec<Address> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// Notes when what was dialled; each dial takes a while.
struct Noting {
    inner: MemoryTransport,
    begin: Instant,
    dials: Arc<Mutex<Vec<(Duration, String)>>>,
    takes: Duration,
}

#[async_trait]
impl Transport for Noting {
    fn scheme(&self) -> &'static str {
        "mem"
    }

    async fn listen(&self, at: &Address) -> Result<Box<dyn Listener>, TransportError> {
        self.inner.listen(at).await
    }

    async fn dial(&self, to: &Address, expect: PeerId) -> Result<Box<dyn Link>, TransportError> {
        self.dials.lock().unwrap().push((self.begin.elapsed(), to.rest().to_owned()));
        sleep(self.takes).await;
        self.inner.dial(to, expect).await
    }
}

struct Scene {
    network: MemoryNetwork,
    redial: Redial,
    dials: Arc<Mutex<Vec<(Duration, String)>>>,
}

fn scene(to: &[&str], takes_ms: u64) -> Scene {
    scene_with(RedialConfig { seed: 5, ..RedialConfig::default() }, to, takes_ms)
}

fn scene_with(config: RedialConfig, to: &[&str], takes_ms: u64) -> Scene {
    let network = MemoryNetwork::new();
    let dials = Arc::new(Mutex::new(Vec::new()));
    let noting = Noting {
        inner: network.transport(identity(1)),
        begin: Instant::now(),
        dials: dials.clone(),
        takes: Duration::from_millis(takes_ms),
    };
    let redial = Redial::new(vec![Arc::new(noting)], identity(2).peer_id(), addresses(to), config);
    Scene { network, redial, dials }
}

async fn listen(network: &MemoryNetwork, at: &str) -> Box<dyn Listener> {
    network.transport(identity(2)).listen(&at.parse().unwrap()).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn all_addresses_are_tried_in_turn_until_one_answers() {
    let mut scene = scene(&["mem://one", "quic://two", "mem://three"], 0);
    let mut listener = listen(&scene.network, "mem://three").await;
    let link = scene.redial.next().await;
    assert_eq!(link.info().peer, identity(2).peer_id());
    assert_eq!(link.info().address, "mem://three".parse().unwrap());
    listener.accept().await.unwrap();
    let names: Vec<_> = scene.dials.lock().unwrap().iter().map(|(_, name)| name.clone()).collect();
    assert_eq!(names, ["one", "three"]);
    assert!(scene.redial.last_error().is_none(), "forgotten after a success");
}

#[tokio::test(start_paused = true)]
async fn waits_grow_up_to_the_cap() {
    let mut scene = scene(&["mem://nobody"], 0);
    assert!(timeout(Duration::from_hours(2), scene.redial.next()).await.is_err());
    let times: Vec<_> = scene.dials.lock().unwrap().iter().map(|(at, _)| *at).collect();
    let waits: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(waits[0] <= Duration::from_millis(751), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(60_001)));
    assert!(waits.iter().any(|wait| *wait > Duration::from_secs(30)));
    let error = scene.redial.last_error().unwrap();
    assert!(matches!(error.error, TransportError::NobodyListens(_)));
    assert_eq!(error.address, "mem://nobody".parse().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_nudge_or_a_new_address_is_tried_at_once() {
    let mut scene = scene(&["mem://old"], 0);
    let handle = scene.redial.handle();
    // Long enough for the waits to be long.
    assert!(timeout(Duration::from_secs(600), scene.redial.next()).await.is_err());
    let before = scene.dials.lock().unwrap().len();
    handle.set_addresses(addresses(&["mem://old"]));
    assert!(timeout(Duration::from_millis(1), scene.redial.next()).await.is_err());
    assert_eq!(scene.dials.lock().unwrap().len(), before, "nothing is new");
    handle.wake();
    assert!(timeout(Duration::from_millis(1), scene.redial.next()).await.is_err());
    assert_eq!(scene.dials.lock().unwrap().len(), before + 1);
    let _listener = listen(&scene.network, "mem://new").await;
    handle.set_addresses(addresses(&["mem://old", "mem://new"]));
    timeout(Duration::from_millis(1), scene.redial.next()).await.expect("at once");
    assert_eq!(handle.addresses(), addresses(&["mem://old", "mem://new"]));
}

#[tokio::test(start_paused = true)]
async fn next_is_cancel_safe() {
    let mut scene = scene(&["mem://slow"], 500);
    let _listener = listen(&scene.network, "mem://slow").await;
    let mut dropped = 0;
    loop {
        if timeout(Duration::from_millis(10), scene.redial.next()).await.is_ok() {
            break;
        }
        dropped += 1;
    }
    assert!(dropped >= 40);
    assert_eq!(scene.dials.lock().unwrap().len(), 1, "the dial went on where it was");
}

/// How long the next try waits after a link that lived so long and ended so.
async fn wait_after(scene: &mut Scene, lived: Duration, why: &LinkError) -> Duration {
    let _link = scene.redial.next().await;
    sleep(lived).await;
    scene.redial.ended(why);
    let ended = Instant::now();
    let _next = scene.redial.next().await;
    ended.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_link_that_lived_long_begins_the_waits_anew() {
    let mut scene = scene(&["mem://here"], 0);
    let _listener = listen(&scene.network, "mem://here").await;
    let mut longest = Duration::ZERO;
    for _ in 0..7 {
        longest = longest.max(wait_after(&mut scene, Duration::ZERO, &LinkError::Lost).await);
    }
    assert!(longest > Duration::from_secs(3), "short lives make waits grow: {longest:?}");
    let wait = wait_after(&mut scene, Duration::from_secs(60), &LinkError::Lost).await;
    assert!(wait <= Duration::from_millis(751), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_tried_again_at_a_modest_pace() {
    let mut scene = scene(&["mem://here"], 0);
    let mut listener = listen(&scene.network, "mem://here").await;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let refused = LinkError::Closed(CloseReason::NotAContact);
    for _ in 0..20 {
        let wait = wait_after(&mut scene, Duration::ZERO, &refused).await;
        assert!((22_500..=37_501).contains(&wait.as_millis()), "{wait:?}");
        assert!(scene.redial.handle().is_refused());
    }
    // The peer has added us: the user says try now.
    let handle = scene.redial.handle();
    scene.redial.ended(&refused);
    handle.wake();
    timeout(Duration::from_millis(1), scene.redial.next()).await.expect("at once");
    scene.redial.ended(&LinkError::Lost);
    assert!(!handle.is_refused());
}

#[tokio::test(start_paused = true)]
async fn a_nudge_while_a_link_is_up_does_not_skip_the_wait_after_it() {
    let mut scene = scene(&["mem://here"], 0);
    let mut listener = listen(&scene.network, "mem://here").await;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    for _ in 0..5 {
        let _link = scene.redial.next().await;
        scene.redial.wake();
        scene.redial.wake();
        let ended = Instant::now();
        scene.redial.ended(&LinkError::Lost);
        let _link = scene.redial.next().await;
        assert!(ended.elapsed() >= Duration::from_millis(250), "{:?}", ended.elapsed());
        scene.redial.ended(&LinkError::Lost);
    }
}

#[tokio::test(start_paused = true)]
async fn waits_of_zero_are_no_busy_loop() {
    let config = RedialConfig { base_ms: 0, cap_ms: 0, refused_ms: 0, stable_ms: 0, seed: 5 };
    let Scene { network, mut redial, dials } = scene_with(config, &["mem://here"], 0);
    assert!(timeout(Duration::from_secs(1), redial.next()).await.is_err());
    let tries = dials.lock().unwrap().len();
    assert!((10..=101).contains(&tries), "{tries} in a second");
    let mut listener = listen(&network, "mem://here").await;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    for reason in [CloseReason::NotAContact, CloseReason::Duplicate, CloseReason::Done] {
        let begin = Instant::now();
        for _ in 0..10 {
            let _link = redial.next().await;
            redial.ended(&LinkError::Closed(reason));
        }
        assert!(begin.elapsed() >= Duration::from_millis(90), "{reason}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_whose_links_are_replaced_again_and_again_slows_down() {
    let mut scene = scene(&["mem://here"], 0);
    let mut listener = listen(&scene.network, "mem://here").await;
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let replaced = LinkError::Closed(CloseReason::Duplicate);
    let mut waits = Vec::new();
    for n in 1..=9 {
        // Each lives long, as when two devices take turns.
        waits.push(wait_after(&mut scene, Duration::from_secs(60), &replaced).await.as_secs());
        assert_eq!(scene.redial.replaced(), n);
    }
    assert!(waits[0] <= 1, "a link that crosses another is common: {waits:?}");
    assert!(waits[7] > 600 && waits[8] > 600 && waits.iter().all(|wait| *wait <= 1_125), "{waits:?}");
    // A link of the peer's own shows that all is well.
    let _link = scene.redial.next().await;
    scene.redial.ended(&replaced);
    scene.redial.met_otherwise();
    assert_eq!(scene.redial.replaced(), 0);
    let begin = Instant::now();
    let _link = scene.redial.next().await;
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
}
