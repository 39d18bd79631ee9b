//! `sim replay`: what happened in a run, line by line.

use std::sync::atomic::{AtomicBool, Ordering};

use hedgerow_sim::output::options;
use hedgerow_sim::record::{FrameEnd, FrameLog, Happening, Log};
use hedgerow_sim::{Detail, Run, run_with};
use serde_json::json;

use super::args::ReplayArgs;
use super::{origin, read};
use crate::error::CliError;
use crate::output::Output;

/// What is told.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    message: Option<u32>,
    node: Option<u32>,
}

/// One line: when, the nodes that it concerns, and in words.
struct Line {
    at_us: u64,
    text: String,
    json: serde_json::Value,
}

pub(super) fn replay(args: &ReplayArgs, output: Output, stop: &AtomicBool) -> Result<(), CliError> {
    let loaded = read(&args.scenario)?;
    let detail = Detail::Events { most: args.most };
    let run =
        run_with(&loaded.scenario, args.seed, &loaded.folder, detail, |_| !stop.load(Ordering::Relaxed))?;
    let wanted = Wanted {
        message: args.message.as_deref().map(|text| message_of(&run, text)).transpose()?,
        node: args.node.map(|node| node_of(&run, node)).transpose()?,
    };
    let Some(log) = &run.record.log else { return Ok(()) };
    let all = options(&loaded.scenario);
    let build = env!("CARGO_PKG_VERSION");
    let begin = json!({
        "event": "begin", "scenario": run.scenario.name, "first_seed": args.seed, "build": build, "options": all,
    });
    output.item(&begin, |_| {
        format!("scenario {}\n{}\n", run.scenario.name, origin(&args.seed.to_string(), build, &all))
    })?;
    for line in lines(&run, log, wanted, args.trace) {
        if stop.load(Ordering::Relaxed) {
            return Err(CliError::Simulator("interrupted".to_owned()));
        }
        output.item(&line.json, |_| format!("{:>16}  {}", clock(line.at_us), line.text))?;
    }
    if log.left_out > 0 {
        let text = format!("{} later events and frames are not told: see --most", log.left_out);
        output.item(&json!({ "event": "left-out", "count": log.left_out }), |_| text)?;
    }
    let summary = &run.summary;
    let end = json!({
        "event": "end", "first_seed": args.seed, "build": build, "options": all, "passed": summary.passed(),
        "delivered": summary.delivered, "wanted": summary.wanted,
    });
    output.item(&end, |_| {
        let told = format!("{} of {} deliveries", summary.delivered, summary.wanted);
        format!(
            "\nthe end  {} ({told})\n{}",
            clock(run.record.stopped_us),
            origin(&args.seed.to_string(), build, &all)
        )
    })?;
    match run.summary.checks.iter().find(|check| check.broken > 0) {
        Some(check) => {
            let case = check.cases.first().cloned().unwrap_or_default();
            Err(CliError::Simulator(format!("{} was broken: {case} (seed {})", check.rule.name(), args.seed)))
        }
        None => Ok(()),
    }
}

/// A message by number, with or without an `m`, or by the beginning of its id.
fn message_of(run: &Run, text: &str) -> Result<u32, CliError> {
    let messages = &run.record.messages;
    let number = text.strip_prefix('m').unwrap_or(text).parse::<u32>().ok();
    if let Some(number) = number.filter(|number| (*number as usize) < messages.len()) {
        return Ok(number);
    }
    let start = text.to_lowercase();
    let has_start = |id: String| text.len() >= 4 && id.starts_with(&start);
    let found: Vec<u32> = (0_u32..)
        .zip(messages)
        .filter(|(_, message)| has_start(message.id.to_string()))
        .map(|(n, _)| n)
        .collect();
    match found.as_slice() {
        [one] => Ok(*one),
        [] => Err(CliError::Usage(format!(
            "--message {text}: no message has this number or id; this run wrote {}",
            messages.len()
        ))),
        several => Err(CliError::Usage(format!("--message {text}: {} ids begin so", several.len()))),
    }
}

fn node_of(run: &Run, node: u32) -> Result<u32, CliError> {
    let count = run.record.nodes.len();
    if (node as usize) < count {
        Ok(node)
    } else {
        Err(CliError::Usage(format!("--node {node}: the nodes are 0 to {}", count.saturating_sub(1))))
    }
}

/// A time, to the us.
pub(super) fn clock(us: u64) -> String {
    let (s, rest) = (us / 1_000_000, us % 1_000_000);
    let (d, h, min, s) = (s / 86_400, s / 3_600 % 24, s / 60 % 60, s % 60);
    let days = if d > 0 { format!("{d}d ") } else { String::new() };
    format!("{days}{h:02}:{min:02}:{s:02}.{rest:06}")
}

fn lines(run: &Run, log: &Log, wanted: Wanted, frames: bool) -> Vec<Line> {
    let mut lines: Vec<Line> = log
        .events
        .iter()
        .filter(|event| concerns(log, &event.what, wanted))
        .map(|event| Line {
            at_us: event.at_us,
            text: told(run, log, &event.what),
            json: serde_json::to_value(event).unwrap_or_default(),
        })
        .collect();
    if frames {
        let of_node =
            |frame: &FrameLog| wanted.node.is_none_or(|node| frame.from == node || frame.to == node);
        let of_message =
            |frame: &FrameLog| wanted.message.is_none_or(|message| frame.messages.contains(&message));
        for frame in log.frames.iter().filter(|frame| of_node(frame) && of_message(frame)) {
            let json = json!({ "event": "frame", "at_us": frame.sent_us, "frame": frame });
            lines.push(Line { at_us: frame.sent_us, text: frame_told(frame), json });
        }
        lines.sort_by_key(|line| line.at_us);
    }
    lines
}

fn concerns(log: &Log, what: &Happening, wanted: Wanted) -> bool {
    let link =
        |number: &u32| log.links.get(*number as usize).map(|link| vec![link.a, link.b]).unwrap_or_default();
    let (nodes, message) = match what {
        Happening::NodeOn { node }
        | Happening::NodeOff { node }
        | Happening::DiskLost { node }
        | Happening::Restored { node }
        | Happening::Missing { node }
        | Happening::Joined { node, .. }
        | Happening::Left { node, .. } => (vec![*node], None),
        Happening::LinkUp { link: number } | Happening::LinkDown { link: number } => (link(number), None),
        Happening::Split { nodes } | Happening::Healed { nodes } => (nodes.clone(), None),
        Happening::Published { message, node }
        | Happening::Stored { message, node }
        | Happening::Delivered { message, node, .. } => (vec![*node], Some(*message)),
        Happening::Acknowledged { message, node, peer } => (vec![*node, *peer], Some(*message)),
        _ => (Vec::new(), None),
    };
    wanted.node.is_none_or(|node| nodes.contains(&node))
        && wanted.message.is_none_or(|one| message == Some(one))
}

pub(super) fn told(run: &Run, log: &Log, what: &Happening) -> String {
    let group = |number: &u32| {
        run.plan.groups.get(*number as usize).map_or_else(|| number.to_string(), |(name, _)| name.clone())
    };
    let link = |number: &u32| match log.links.get(*number as usize) {
        Some(link) => format!("{} – {}", link.a, link.b),
        None => format!("of number {number}"),
    };
    let list = |nodes: &[u32]| nodes.iter().map(u32::to_string).collect::<Vec<_>>().join(", ");
    let written = |message: &u32| match run.record.messages.get(*message as usize) {
        Some(record) => {
            let id: String = record.id.to_string().chars().take(8).collect();
            format!("m{message} ({id}…, {} B, of node {})", record.size, record.author)
        }
        None => format!("m{message}"),
    };
    match what {
        Happening::NodeOn { node } => format!("node {node}: on"),
        Happening::NodeOff { node } => format!("node {node}: off"),
        Happening::DiskLost { node } => format!("node {node}: its disk is lost"),
        Happening::Restored { node } => format!("node {node}: restored from a backup"),
        Happening::LinkUp { link: number } => format!("link {} is up", link(number)),
        Happening::LinkDown { link: number } => format!("link {} is down", link(number)),
        Happening::Split { nodes } => format!("the network splits: {} | the others", list(nodes)),
        Happening::Healed { nodes } => format!("the split is healed: {} | the others", list(nodes)),
        Happening::Joined { node, group: number } => format!("node {node}: joins {}", group(number)),
        Happening::Left { node, group: number } => format!("node {node}: leaves {}", group(number)),
        Happening::Published { message, node } => format!("node {node}: writes {}", written(message)),
        Happening::Stored { message, node } => format!("node {node}: stores m{message}"),
        Happening::Delivered { message, node, position } => {
            format!("node {node}: delivers m{message}, as number {position} of its order")
        }
        Happening::Acknowledged { message, node, peer } => {
            format!("node {node}: knows that node {peer} has m{message}")
        }
        Happening::Missing { node } => format!("node {node}: reports a dependency as missing"),
        other => format!("{other:?}"),
    }
}

fn frame_told(frame: &FrameLog) -> String {
    let parts: Vec<String> = frame
        .kinds
        .each()
        .into_iter()
        .filter(|(name, count)| count.records > 0 && *name != "frame")
        .map(|(name, count)| format!("{} {name}", count.records))
        .collect();
    let parts = if parts.is_empty() { "nothing else".to_owned() } else { parts.join(", ") };
    let messages: Vec<String> = frame.messages.iter().map(|message| format!("m{message}")).collect();
    let messages = if messages.is_empty() { String::new() } else { format!(" [{}]", messages.join(" ")) };
    let fates: Vec<String> = frame
        .fates
        .iter()
        .map(|fate| {
            let end = match fate.end {
                FrameEnd::Arrived => "arrives",
                FrameEnd::UnderWay => "under way, due",
                FrameEnd::Lost => "LOST, due",
                FrameEnd::Corrupted => "DAMAGED, due",
                FrameEnd::CutOff => "CUT OFF, due",
                _ => "ends",
            };
            format!("{end} {}", clock(fate.at_us))
        })
        .collect();
    format!("  {} > {}  {} B: {parts}{messages}; {}", frame.from, frame.to, frame.bytes, fates.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_to_the_us() {
        assert_eq!(clock(0), "00:00:00.000000");
        assert_eq!(clock(3_723_000_004), "01:02:03.000004");
        assert_eq!(clock(90_061_000_000), "1d 01:01:01.000000");
    }
}
