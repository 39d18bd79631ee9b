//! What happened, for the reader of a failure, and a digest of all of it.

use std::collections::VecDeque;

use bytes::Bytes;
use hedgerow_proto::{Codec as _, DepRef, Frame, GroupRef, NativeCodec, ReconcileStep, Span};
use hedgerow_sync_core::store::{GroupNum, MessageNum};
use hedgerow_sync_core::{Event, Store, StoreError};

use super::store::SwarmStore;

/// What became of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Sent,
    Lost,
    Cut,
    Damaged,
    Nobody,
}

enum Line {
    Note(String),
    Frame { from: usize, to: usize, at: usize, fate: Fate, bytes: Bytes },
}

/// The last things that happened, and a digest of everything.
pub(super) struct Log {
    lines: VecDeque<(u64, Line)>,
    kept: usize,
    digest: Option<blake3::Hasher>,
}

impl Log {
    pub(super) fn new(digest: bool, kept: usize) -> Self {
        Self { lines: VecDeque::new(), kept, digest: digest.then(blake3::Hasher::new) }
    }

    fn push(&mut self, now: u64, line: Line) {
        if self.lines.len() > self.kept {
            self.lines.pop_front();
        }
        self.lines.push_back((now, line));
    }

    pub(super) fn note(&mut self, now: u64, text: impl FnOnce() -> String) {
        let text = text();
        if let Some(digest) = &mut self.digest {
            digest.update(&now.to_le_bytes()).update(text.as_bytes());
        }
        self.push(now, Line::Note(text));
    }

    pub(super) fn frame(&mut self, now: u64, from: usize, to: usize, at: usize, fate: Fate, bytes: &Bytes) {
        if let Some(digest) = &mut self.digest {
            for number in [now, from as u64, to as u64, at as u64, fate as u64, bytes.len() as u64] {
                digest.update(&number.to_le_bytes());
            }
            digest.update(bytes);
        }
        self.push(now, Line::Frame { from, to, at, fate, bytes: bytes.clone() });
    }

    pub(super) fn event(&mut self, n: usize, event: &Event) {
        if let Some(digest) = &mut self.digest {
            digest.update(format!("{n}: {event:?}").as_bytes());
        }
    }

    pub(super) fn store(&mut self, n: usize, store: &SwarmStore) -> Result<(), StoreError> {
        let Some(digest) = &mut self.digest else { return Ok(()) };
        digest.update(format!("{n}: {:?}", store.load()?).as_bytes());
        let mut after = MessageNum(0);
        loop {
            let rows = store.scan(after, 256)?;
            let Some(last) = rows.last() else { break };
            after = last.num;
            for row in rows {
                digest.update(format!("{row:?} {:?}", store.content(row.num)?).as_bytes());
            }
        }
        let edges = store.edges((MessageNum(0), MessageNum(0)), usize::MAX >> 1)?;
        let heads: Result<Vec<_>, _> = (0..8).map(|group| store.heads(GroupNum(group))).collect();
        digest.update(format!("{edges:?} {:?}", heads?).as_bytes());
        Ok(())
    }

    pub(super) fn digest(&self) -> Option<String> {
        self.digest.as_ref().map(|digest| digest.finalize().to_hex().to_string())
    }

    /// The last lines, oldest first.
    pub(super) fn all(&self) -> Vec<String> {
        self.lines.iter().map(|(now, line)| format!("{now:>10} ms  {}", describe(line))).collect()
    }
}

fn describe(line: &Line) -> String {
    let (from, to, at, fate, bytes) = match line {
        Line::Note(text) => return text.clone(),
        Line::Frame { from, to, at, fate, bytes } => (from, to, at, fate, bytes),
    };
    let fate = match fate {
        Fate::Sent => "",
        Fate::Lost => ", LOST",
        Fate::Cut => ", CUT OFF",
        Fate::Damaged => ", DAMAGED",
        Fate::Nobody => ", TO NOBODY",
    };
    let what = match NativeCodec::new().decode(bytes.clone()) {
        Ok(frame) => records(&frame),
        Err(error) => format!("no frame ({error})"),
    };
    format!("  {from} -> {to} on link {at}, {} bytes{fate}: {what}", bytes.len())
}

fn spans(spans: &[Span]) -> String {
    let text: Vec<String> = spans
        .iter()
        .take(6)
        .map(|span| {
            if span.first == span.last {
                format!("{}", span.first)
            } else {
                format!("{}-{}", span.first, span.last)
            }
        })
        .collect();
    let more = if spans.len() > 6 { " .." } else { "" };
    format!("{}{more}", text.join(" "))
}

fn group(group: GroupRef) -> String {
    match group {
        GroupRef::Number(number) => format!("group #{number}"),
        GroupRef::Id(id) => format!("group {}", id.short()),
        GroupRef::Unnamed => "no group".into(),
    }
}

/// The records of a frame, without bodies and nonces.
fn records(frame: &Frame) -> String {
    let mut parts = Vec::new();
    if let Some(number) = frame.number {
        parts.push(format!("number {number}"));
    }
    if !frame.frame_acks.is_empty() {
        parts.push(format!("frames {}", spans(&frame.frame_acks)));
    }
    if frame.ping {
        parts.push("PING".into());
    }
    if let Some(hello) = &frame.hello {
        let (major, max_frame, max_offers) = (hello.major, hello.max_frame, hello.max_offers);
        parts.push(format!(
            "HELLO {major}, frames of {max_frame}, {max_offers} offers, store {:x}",
            hello.install
        ));
    }
    for announce in &frame.announces {
        let reset = if announce.reset != 0 { ", reset" } else { "" };
        parts.push(format!(
            "ANNOUNCE #{} {:?}, holds {}, mark {}{reset}",
            announce.number,
            announce.visibility,
            spans(&announce.held),
            announce.mark
        ));
    }
    if let Some(in_step) = &frame.in_step {
        parts.push(format!("IN STEP {} from #{}", in_step.values.len(), in_step.first));
    }
    if !frame.matched.is_empty() || !frame.unmatched.is_empty() {
        parts.push(format!("matched {}, not {}", spans(&frame.matched), spans(&frame.unmatched)));
    }
    for ack in &frame.acks {
        let (of, held, known) = (group(ack.group), spans(&ack.held), spans(&ack.known));
        parts.push(format!("ACK {of} holds {held}, knows {known}, {} ids", ack.ids.len()));
    }
    for batch in &frame.batches {
        let positions: Vec<String> = batch
            .messages
            .iter()
            .take(6)
            .map(|message| {
                let deps: Vec<String> = message
                    .deps
                    .iter()
                    .take(4)
                    .map(|dep| match dep {
                        DepRef::Position(position) => position.to_string(),
                        DepRef::Id(id) => id.short(),
                    })
                    .collect();
                let position = message.position.map_or("?".into(), |position| position.to_string());
                format!("{position} (after {})", deps.join(" "))
            })
            .collect();
        let count = batch.messages.len();
        parts.push(format!("{count} MESSAGE {} at {}", group(batch.group), positions.join(", ")));
    }
    for offer in &frame.offers {
        let positions: Vec<String> =
            offer.items.iter().take(6).map(|item| item.position.unwrap_or(0).to_string()).collect();
        parts.push(format!("{} OFFER {} at {}", offer.items.len(), group(offer.group), positions.join(" ")));
    }
    for offer in &frame.short_offers {
        let positions: Vec<String> = offer.items.iter().take(6).map(|(at, _)| at.to_string()).collect();
        let (count, of) = (offer.items.len(), group(offer.group));
        parts.push(format!("{count} short OFFER {of} at {}", positions.join(" ")));
    }
    for request in &frame.requests {
        let of = group(request.group);
        parts.push(format!("REQUEST {of} {}, {} ids", spans(&request.positions), request.ids.len()));
    }
    for unavailable in &frame.unavailables {
        let of = group(unavailable.group);
        parts.push(format!(
            "UNAVAILABLE {of} {}, {} ids",
            spans(&unavailable.positions),
            unavailable.ids.len()
        ));
    }
    for record in &frame.reconciles {
        let step = match &record.step {
            ReconcileStep::Ask => "ask".to_owned(),
            ReconcileStep::Symbols(symbols) => {
                format!("{} bytes of symbols from {}", symbols.bytes.len(), symbols.first)
            }
            ReconcileStep::More(count) => format!("{count} more"),
            ReconcileStep::Lacks(lacks) => format!("lacks {} bytes of names", lacks.ids.len()),
            ReconcileStep::Stop => "stop".to_owned(),
            ReconcileStep::Known { positions, .. } => format!("known {}", spans(positions)),
        };
        parts.push(format!("RECONCILE {} {step}", group(record.group)));
    }
    if !frame.ephemerals.is_empty() {
        parts.push(format!("{} ephemeral", frame.ephemerals.len()));
    }
    if parts.is_empty() { "nothing".into() } else { parts.join("; ") }
}
