//! What a demonstration prints.

use std::collections::BTreeMap;
use std::time::Duration;

use hedgerow::PeerId;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::peer::Peer;
use super::plan::{Act, Plan, Talk};
use super::verdict::{OrderDigest, conversation};
use super::wires::Carried;
use crate::error::CliError;
use crate::output::{Output, shown};

/// How many messages of a chat are printed at its begin and at its end.
const SHOWN: usize = 15;

/// The last line of a demonstration with `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Verdict {
    pub(super) converged: bool,
    pub(super) peers: usize,
    /// Text messages that were written.
    pub(super) messages: u64,
    /// Times that one of them came out of the stream of a peer, its author's own included.
    pub(super) delivered: u64,
    /// Times beyond the first.
    pub(super) duplicates: u64,
    pub(super) order_digests: Vec<OrderDigest>,
    /// Bytes of all frames on all links, lost ones included, before encryption.
    pub(super) wire_bytes: u64,
    /// Bytes of text, counted once for each peer that had to get it.
    pub(super) body_bytes: u64,
    pub(super) seed: u64,
    pub(super) loss: f64,
    pub(super) frames: u64,
    pub(super) frames_dropped: u64,
    pub(super) elapsed_ms: u64,
    /// What is wrong; empty if all is well.
    pub(super) problems: Vec<String>,
}

/// Prints what happens, above a bar that shows how far it is.
pub(super) struct Stage {
    output: Output,
    bar: ProgressBar,
}

impl Stage {
    pub(super) fn new(output: Output, deliveries: u64) -> Self {
        // indicatif hides it too when standard error is no terminal.
        let target =
            if output.is_json() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        let bar = ProgressBar::with_draw_target(Some(deliveries), target);
        if let Ok(style) = ProgressStyle::with_template("{elapsed} [{bar:30}] {pos}/{len} deliveries, {msg}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_message("talking");
        Self { output, bar }
    }

    pub(super) fn begin(&self, plan: &Plan, messages: u32) -> Result<(), CliError> {
        let peers = plan.peers.len();
        if self.output.is_json() {
            let (seed, loss) = (plan.seed, plan.loss);
            let line = serde_json::json!({
                "event": "begin", "seed": seed, "peers": peers, "messages": messages, "loss": loss
            });
            return self.output.json(&line);
        }
        let loss = plan.loss * 100.0;
        self.output.text(&format!(
            "seed {}: {peers} peers in a ring, {messages} messages; each link loses {loss:.0} % of its frames, repeats \
             10 % and reorders 10 %",
            plan.seed
        ))
    }

    /// Says what happens, unless it is a message.
    pub(super) fn act(&self, plan: &Plan, act: &Act) -> Result<(), CliError> {
        let hermit = plan.name(plan.hermit);
        let inside = plan.names(|peer| plan.is_inside(peer));
        let outside = plan.names(|peer| !plan.is_inside(peer));
        let (event, text) = match act {
            Act::Say { .. } => return Ok(()),
            Act::GoOffline => ("offline", format!("{hermit} goes off line, and writes on")),
            Act::ComeBack => ("online", format!("{hermit} comes back")),
            Act::Split => {
                ("split", format!("the network splits: {} | {}", inside.join(", "), outside.join(", ")))
            }
            Act::Heal => ("heal", "the network is whole again".to_owned()),
        };
        if self.output.is_json() {
            let line = match act {
                Act::Split => serde_json::json!({ "event": event, "sides": [inside, outside] }),
                Act::Heal => serde_json::json!({ "event": event }),
                _ => serde_json::json!({ "event": event, "peer": hermit }),
            };
            return self.output.json(&line);
        }
        self.bar.suspend(|| self.output.text(&format!("* {text}")))
    }

    pub(super) fn message(&self, text: &'static str) {
        self.bar.set_message(text);
    }

    pub(super) fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// Prints the conversations and the verdict.
    pub(super) async fn end(
        &self,
        plan: &Plan,
        peers: &[Peer],
        carried: Carried,
        verdict: &Verdict,
    ) -> Result<(), CliError> {
        self.bar.finish_and_clear();
        if self.output.is_json() {
            return self.output.json(verdict);
        }
        for talk in Talk::ALL {
            self.talk(plan, peers, talk, &verdict.order_digests).await?;
        }
        let ratio = |part: u64, whole: u64| {
            // For people to read: all digits that matter are kept.
            let thousandths = u128::from(part) * 100 / u128::from(whole.max(1));
            format!("{}.{:02}", thousandths / 100, thousandths % 100)
        };
        let Verdict { wire_bytes, body_bytes, messages, delivered, duplicates, .. } = verdict;
        self.output.text(&format!(
            "\non the wire  {wire_bytes} bytes in {} frames, for {body_bytes} bytes of text that had to be carried: {} to 1\n\
             faults       {} frames lost, {} repeated, {} overtaken",
            carried.frames,
            ratio(*wire_bytes, *body_bytes),
            carried.dropped,
            carried.duplicated,
            carried.reordered,
        ))?;
        for problem in &verdict.problems {
            self.output.text(&format!("wrong        {}", shown(problem)))?;
        }
        let verb = if verdict.converged { "converged" } else { "DID NOT CONVERGE" };
        let seconds = Duration::from_millis(verdict.elapsed_ms).as_secs_f64();
        self.output.text(&format!(
            "verdict      {verb}: {messages} messages, {delivered} deliveries, {duplicates} duplicates, in {seconds:.1} s \
             (seed {})",
            plan.seed
        ))
    }

    /// Prints a chat as each of its members sees it: once, if they all see the same.
    async fn talk(
        &self,
        plan: &Plan,
        peers: &[Peer],
        talk: Talk,
        digests: &[OrderDigest],
    ) -> Result<(), CliError> {
        let mut views: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for digest in digests.iter().filter(|digest| digest.group == talk.name()) {
            views.entry(&digest.digest).or_default().push(&digest.node);
        }
        let names: BTreeMap<PeerId, &str> =
            peers.iter().map(|peer| (peer.node.peer_id(), plan.name(peer.index))).collect();
        for (digest, nodes) in &views {
            let seen_by = peers.iter().find(|peer| nodes.contains(&plan.name(peer.index)));
            let Some(peer) = seen_by else { continue };
            let lines = conversation(peer, talk).await?;
            let same = if views.len() == 1 { "the same order on" } else { "seen so by" };
            self.output.text(&format!(
                "\n{} \"{}\": {} messages, {same} {} (digest {digest})",
                talk.kind(),
                talk.name(),
                lines.len(),
                nodes.join(", ")
            ))?;
            let count = lines.len();
            for (index, (author, text)) in lines.iter().enumerate() {
                if index == SHOWN && count > 2 * SHOWN {
                    self.output.text(&format!("    … {} more …", count - 2 * SHOWN))?;
                }
                if index < SHOWN || index + SHOWN >= count {
                    let author = names.get(author).copied().unwrap_or("?");
                    self.output.text(&format!("  {author}: {}", shown(text)))?;
                }
            }
        }
        Ok(())
    }
}
