//! `demo`: real nodes with real stores in one process, in a ring of links that lose, repeat and reorder frames. One node
//! goes off line and comes back, the network splits and heals; at the end all must have the same.
//!
//! The plan and the faults are drawn from a seed. The clock and the scheduler are real, so two runs of one seed hold the
//! same conversation under the same odds, and differ in message ids and in how many frames it took.

mod peer;
mod plan;
mod report;
mod verdict;
mod wires;

use std::path::Path;
use std::time::{Duration, Instant};

use hedgerow::{MemoryNetwork, NodeError};
use tokio::task::JoinHandle;

use self::peer::{Peer, SharedLog, lock};
use self::plan::{Act, Plan, Talk};
use self::report::{Stage, Verdict};
use self::verdict::{Said, agree, all_arrived, digests, lacking, problems};
use self::wires::Wires;
use crate::args::DemoArgs;
use crate::error::CliError;
use crate::output::Output;

/// How long all peers may take to have the same after the last message, and how much longer for each message.
const PATIENCE: Duration = Duration::from_secs(400);
const PATIENCE_PER_MESSAGE: Duration = Duration::from_millis(20);
/// How often it is looked whether they have.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the demonstration.
pub(crate) async fn run(args: DemoArgs, output: Output) -> Result<(), CliError> {
    let seed = match args.seed {
        Some(seed) => seed,
        // Short enough to be typed again.
        None => u64::from(getrandom::u32().map_err(CliError::Random)?),
    };
    let folder =
        tempfile::tempdir().map_err(|error| CliError::Demo(format!("no temporary folder: {error}")))?;
    tokio::select! {
        done = show(&args, Plan::new(&args, seed), folder.path(), output) => done,
        // So that the temporary folder goes.
        _ = tokio::signal::ctrl_c() => Err(CliError::Demo("interrupted".to_owned())),
    }
}

async fn show(args: &DemoArgs, plan: Plan, folder: &Path, output: Output) -> Result<(), CliError> {
    let deliveries = plan.acts.iter().map(|(_, act)| match act {
        Act::Say { talk, .. } => talk.members(plan.peers.len()),
        _ => 0,
    });
    let stage = Stage::new(output, u64::try_from(deliveries.sum::<usize>()).unwrap_or(u64::MAX));
    stage.begin(&plan, args.messages)?;
    let begun = Instant::now();
    let wires = Wires::new(plan.loss, plan.link_seed);
    let mut peers = gather(&plan, folder, &wires).await?;
    let progress = show_progress(&peers, &stage);

    let said = talk(&plan, &mut peers, &wires, &stage).await?;
    stage.message("catching up");
    let patience = PATIENCE + PATIENCE_PER_MESSAGE.saturating_mul(args.messages);
    let mut verdict = judge(&plan, &peers, &said, patience).await?;
    progress.abort();

    let carried = wires.carried();
    verdict.wire_bytes = carried.bytes;
    verdict.frames = carried.frames;
    verdict.frames_dropped = carried.dropped;
    verdict.elapsed_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    stage.end(&plan, &peers, carried, &verdict).await?;
    disperse(peers).await;
    match verdict.converged {
        true => Ok(()),
        false => Err(CliError::Demo(format!("the peers did not converge (seed {})", plan.seed))),
    }
}

/// Starts all peers, makes neighbours in the ring contacts of each other, and brings all into their chats.
async fn gather(plan: &Plan, folder: &Path, wires: &Wires) -> Result<Vec<Peer>, NodeError> {
    let network = MemoryNetwork::new();
    let mut peers = Vec::new();
    for (index, person) in plan.peers.iter().enumerate() {
        let store = folder.join(format!("{}.db", person.name.to_lowercase()));
        peers.push(Peer::start(index, person.clone(), store, network.clone(), wires.clone()).await?);
    }
    for (one, other) in peers.iter().zip(peers.iter().cycle().skip(1)) {
        one.node.add_peer(&other.node.ticket()?).await?;
        other.node.add_peer(&one.node.ticket()?).await?;
    }
    let count = peers.len();
    let [ada, ben, ..] = peers.as_mut_slice() else { return Ok(peers) };
    let direct = ada.node.direct(ben.node.peer_id()).await?.group();
    ada.join(Talk::Direct, direct);
    ben.join(Talk::Direct, direct);

    let garden = ada.node.create_group(Talk::Private.name()).await?.group();
    let square = ada.node.create_public(Talk::Public.name()).await?.group();
    let link = ada.node.link(square).await?;
    ada.join(Talk::Private, garden);
    ada.join(Talk::Public, square);
    let host = ada.node.clone();
    for peer in peers.iter_mut().skip(1) {
        if peer.index < Talk::Private.members(count) {
            let invitation = host.invite(garden, peer.node.peer_id()).await?;
            peer.node.join(&invitation).await?;
            peer.join(Talk::Private, garden);
        }
        peer.node.join(&link).await?;
        peer.join(Talk::Public, square);
    }
    peers.iter_mut().for_each(Peer::start_reading);
    Ok(peers)
}

/// Does what is planned.
async fn talk(plan: &Plan, peers: &mut [Peer], wires: &Wires, stage: &Stage) -> Result<Said, CliError> {
    let mut said: Said = Talk::ALL.into_iter().map(|talk| (talk, Vec::new())).collect();
    for (pause, act) in &plan.acts {
        tokio::time::sleep(*pause).await;
        stage.act(plan, act)?;
        match act {
            Act::Say { who, talk, text } => {
                if let Some(peer) = peers.get(*who) {
                    let id = peer.say(*talk, text).await?;
                    said.entry(*talk).or_default().push(id);
                }
            }
            Act::GoOffline | Act::ComeBack => {
                if let Some(peer) = peers.get_mut(plan.hermit) {
                    peer.restart(*act == Act::ComeBack).await?;
                }
            }
            Act::Split => wires.split(|peer| plan.is_inside(peer)),
            Act::Heal => wires.heal(),
        }
    }
    Ok(said)
}

/// Waits until all peers have the same, or too long, and looks at all of it.
async fn judge(plan: &Plan, peers: &[Peer], said: &Said, patience: Duration) -> Result<Verdict, NodeError> {
    let name = |peer: usize| plan.name(peer).to_owned();
    let begun = Instant::now();
    let order_digests = loop {
        let late = begun.elapsed() > patience;
        if late || all_arrived(peers, said) {
            let digests = digests(peers, name).await?;
            if late || agree(&digests) {
                break digests;
            }
        }
        tokio::time::sleep(LOOK).await;
    };
    let mut problems = problems(peers, name).await?;
    for (peer, talk, count) in lacking(peers, said) {
        problems.push(format!(
            "{} lacks {count} messages of the {} {}",
            name(peer),
            talk.kind(),
            talk.name()
        ));
    }
    if !agree(&order_digests) {
        problems.push("the canonical orders differ".to_owned());
    }
    let logs: Vec<_> = peers.iter().flat_map(Peer::logs).collect();
    let duplicates = logs.iter().map(|log| lock(log).duplicates()).sum();
    if duplicates > 0 {
        problems.push(format!("{duplicates} messages were delivered more than once"));
    }
    let body_bytes = plan.acts.iter().map(|(_, act)| match act {
        Act::Say { talk, text, .. } => text.len() * (talk.members(peers.len()) - 1),
        _ => 0,
    });
    Ok(Verdict {
        converged: problems.is_empty(),
        peers: peers.len(),
        messages: said.values().map(|ids| u64::try_from(ids.len()).unwrap_or(u64::MAX)).sum(),
        delivered: logs.iter().map(|log| lock(log).delivered()).sum(),
        duplicates,
        order_digests,
        wire_bytes: 0,
        body_bytes: u64::try_from(body_bytes.sum::<usize>()).unwrap_or(u64::MAX),
        seed: plan.seed,
        loss: plan.loss,
        frames: 0,
        frames_dropped: 0,
        elapsed_ms: 0,
        problems,
    })
}

fn show_progress(peers: &[Peer], stage: &Stage) -> JoinHandle<()> {
    let logs: Vec<SharedLog> = peers.iter().flat_map(Peer::logs).collect();
    let bar = stage.bar();
    tokio::spawn(async move {
        loop {
            bar.set_position(logs.iter().map(|log| lock(log).delivered()).sum());
            tokio::time::sleep(LOOK).await;
        }
    })
}

/// Ends all nodes at once: each may have something to say to its neighbours.
async fn disperse(peers: Vec<Peer>) {
    let mut ending = tokio::task::JoinSet::new();
    for mut peer in peers {
        peer.stop_reading();
        ending.spawn(async move {
            let _ = peer.node.shutdown().await;
        });
    }
    while ending.join_next().await.is_some() {}
}
