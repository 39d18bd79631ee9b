//! A diagram of space and time (Lamport 1978): a line for each node, time goes down, an arrow for each frame.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::html::escaped;
use super::show::whole;
use crate::Run;
use crate::record::{FrameEnd, FrameLog, Happening, Log};

/// Runs of more nodes have no diagram.
const MAX_NODES: usize = 16;
/// So many frames are drawn, from the beginning.
const MAX_FRAMES: usize = 200;
/// Where the first node's line is: left of it are the times.
const LEFT: f64 = 92.0;
const TOP: f64 = 40.0;

/// A drawn diagram.
#[derive(Debug, Clone)]
pub struct Diagram {
    /// The drawing, to stand in a page or in a file of its own.
    pub svg: String,
    /// What is to be known beside it.
    pub note: String,
}

/// Where times and nodes are on the drawing.
struct Places {
    rows: BTreeMap<u64, f64>,
    bottom: f64,
    between: f64,
}

impl Places {
    /// One after the other, far apart if much time lies between: so that both a round trip and a night can be seen.
    fn of(times: &BTreeSet<u64>, nodes: usize) -> Self {
        let mut rows = BTreeMap::new();
        let mut at = TOP + 12.0;
        let mut before = times.first().copied().unwrap_or_default();
        for &time in times {
            let gap = (time - before) as f64 / 1e3;
            at += if gap > 0.0 { (5.0 + 7.0 * (1.0 + gap).log10()).min(46.0) } else { 0.0 };
            rows.insert(time, at);
            before = time;
        }
        Self { rows, bottom: at + 18.0, between: if nodes <= 6 { 120.0 } else { 84.0 } }
    }

    fn x(&self, node: u32) -> f64 {
        LEFT + 30.0 + f64::from(node) * self.between
    }

    /// Times between those that have a row are at the next one; what is after the last, below it.
    fn y(&self, time: u64) -> f64 {
        self.rows.range(time..).next().map_or(self.bottom, |(_, y)| *y)
    }
}

/// Draws a run.
///
/// # Errors
/// Says why there is none: the run is too large, or was not recorded one by one.
pub fn diagram(run: &Run) -> Result<Diagram, String> {
    let Some(log) = &run.record.log else {
        return Err("the run was not recorded event by event".to_owned());
    };
    let nodes = run.record.nodes.len();
    if nodes > MAX_NODES {
        return Err(format!("it is for runs of at most {MAX_NODES} nodes, this one has {nodes}"));
    }
    let frames: Vec<&FrameLog> = log.frames.iter().take(MAX_FRAMES).collect();
    let until = match log.frames.get(MAX_FRAMES) {
        Some(next) => next.sent_us,
        None => run.record.stopped_us,
    };
    let mut times: BTreeSet<u64> = BTreeSet::new();
    for frame in &frames {
        times.insert(frame.sent_us);
        times.extend(frame.fates.iter().map(|fate| fate.at_us).filter(|at| *at <= until));
    }
    times.extend(
        log.events
            .iter()
            .filter(|event| event.at_us <= until && is_drawn(&event.what))
            .map(|event| event.at_us),
    );
    let places = Places::of(&times, nodes);
    let width = places.x(u32::try_from(nodes.saturating_sub(1)).unwrap_or_default()) + 74.0;
    let height = places.bottom + 10.0;
    let mut svg = format!(
        "<svg class=\"spacetime\" xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         style=\"width:{width:.0}px;max-width:none\" font-family=\"sans-serif\" font-size=\"11\" role=\"img\" \
         aria-label=\"space and time\">\n"
    );
    time_labels(&mut svg, &places, width);
    lifelines(&mut svg, log, &places, nodes, until);
    for frame in &frames {
        draw_frame(&mut svg, frame, &places);
    }
    draw_events(&mut svg, log, &places, until);
    svg.push_str("</svg>\n");
    let shown = match log.frames.len() {
        many if many > MAX_FRAMES => {
            format!(" The first {MAX_FRAMES} of {} frames.", whole(many as u64))
        }
        _ => String::new(),
    };
    let note = format!(
        "Time goes down, not evenly: long pauses are drawn short. Blue arrows carry messages, grey ones anything else, \
         orange ones are lost. ■ written, ● delivered, ○ stored but waiting for what it depends on, ✓ the author \
         knows.{shown}"
    );
    Ok(Diagram { svg, note })
}

const fn is_drawn(what: &Happening) -> bool {
    !matches!(what, Happening::LinkUp { .. } | Happening::LinkDown { .. } | Happening::Missing { .. })
}

fn time_labels(svg: &mut String, places: &Places, width: f64) {
    let mut last = f64::MIN;
    let mut told = String::new();
    for (&time, &y) in &places.rows {
        let text = precise(time);
        if y - last < 20.0 || text == told {
            continue;
        }
        let _ = writeln!(
            svg,
            "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{width:.0}\" y2=\"{y:.1}\" stroke=\"#D8DCE1\" stroke-width=\"0.6\"/>"
        );
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#5C5C5C\">{text}</text>",
            LEFT - 6.0,
            y + 4.0
        );
        last = y;
        told = text;
    }
}

/// A time of the clock: all of it to the ms, so that neighbours differ.
fn precise(us: u64) -> String {
    let (ms, s) = (us / 1_000 % 1_000, us / 1_000_000);
    let (min, h, d) = (s / 60 % 60, s / 3_600 % 24, s / 86_400);
    let tail = format!("{:02}.{ms:03}", s % 60);
    match (d, h, min) {
        (0, 0, 0) => format!("{}.{ms:03} s", s % 60),
        (0, 0, min) => format!("{min}:{tail}"),
        (0, h, min) => format!("{h}:{min:02}:{tail}"),
        (d, h, min) => format!("{d} d {h:02}:{min:02}:{tail}"),
    }
}

fn lifelines(svg: &mut String, log: &Log, places: &Places, nodes: usize, until: u64) {
    for node in (0_u32..).take(nodes) {
        let x = places.x(node);
        let _ = writeln!(
            svg,
            "<text x=\"{x:.1}\" y=\"18\" text-anchor=\"middle\" font-size=\"13\" font-weight=\"600\" fill=\"#33373D\">node {node}</text>"
        );
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{:.1}\" x2=\"{x:.1}\" y2=\"{:.1}\" stroke=\"#D8DCE1\" stroke-width=\"1\" stroke-dasharray=\"3 3\"/>",
            TOP - 12.0,
            places.bottom
        );
        let mut from = None;
        let mut draw_on = |from: f64, to: f64| {
            let _ = writeln!(
                svg,
                "<line x1=\"{x:.1}\" y1=\"{from:.1}\" x2=\"{x:.1}\" y2=\"{to:.1}\" stroke=\"#33373D\" stroke-width=\"2.5\"/>"
            );
        };
        for event in log.events.iter().filter(|event| event.at_us <= until) {
            match event.what {
                Happening::NodeOn { node: which } if which == node => {
                    let at = if event.at_us == 0 { TOP - 12.0 } else { places.y(event.at_us) };
                    from.get_or_insert(at);
                }
                Happening::NodeOff { node: which } if which == node => {
                    if let Some(from) = from.take() {
                        draw_on(from, places.y(event.at_us));
                    }
                }
                _ => {}
            }
        }
        if let Some(from) = from {
            draw_on(from, places.bottom);
        }
    }
}

fn draw_frame(svg: &mut String, frame: &FrameLog, places: &Places) {
    let (x1, y1) = (places.x(frame.from), places.y(frame.sent_us));
    let x2 = places.x(frame.to);
    for fate in &frame.fates {
        let y2 = places.y(fate.at_us);
        let lost = !matches!(fate.end, FrameEnd::Arrived | FrameEnd::UnderWay);
        let (colour, thick) = match (lost, frame.messages.is_empty()) {
            (true, _) => ("#D55E00", 1.2),
            (false, false) => ("#0072B2", 1.6),
            (false, true) => ("#5C5C5C", 0.9),
        };
        let part = if lost { 0.6 } else { 1.0 };
        // Not into the line of the node, so that the head can be seen.
        let short = if lost { 0.0 } else { 3.0 * (x2 - x1).signum() };
        let (xe, ye) = (x1 + (x2 - x1) * part - short, y1 + (y2 - y1) * part);
        let dashes = if lost { " stroke-dasharray=\"4 3\"" } else { "" };
        let what: Vec<String> = frame
            .kinds
            .each()
            .into_iter()
            .filter(|(name, count)| count.records > 0 && *name != "frame")
            .map(|(name, count)| format!("{} {name}", count.records))
            .collect();
        let end = match fate.end {
            FrameEnd::Arrived => "arrived",
            FrameEnd::UnderWay => "under way",
            FrameEnd::Lost => "lost",
            FrameEnd::Corrupted => "damaged",
            FrameEnd::CutOff => "cut off",
        };
        let title = format!(
            "{} to {}, sent {}, {end} {}, {} B: {}",
            frame.from,
            frame.to,
            precise(frame.sent_us),
            precise(fate.at_us),
            frame.bytes,
            if what.is_empty() { "nothing but the frame".to_owned() } else { what.join(", ") }
        );
        let _ = writeln!(
            svg,
            "<g><title>{}</title><line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{xe:.1}\" y2=\"{ye:.1}\" stroke=\"{colour}\" stroke-width=\"{thick}\"{dashes}/>",
            escaped(&title)
        );
        if lost {
            let _ = writeln!(
                svg,
                "<path d=\"M{:.1} {:.1}l7 7m0 -7l-7 7\" stroke=\"{colour}\" stroke-width=\"1.6\" fill=\"none\"/></g>",
                xe - 3.5,
                ye - 3.5
            );
        } else {
            let (dx, dy) = (xe - x1, ye - y1);
            let length = (dx * dx + dy * dy).sqrt().max(1e-6);
            let (ux, uy) = (dx / length, dy / length);
            let (bx, by) = (xe - 7.0 * ux, ye - 7.0 * uy);
            let _ = writeln!(
                svg,
                "<polygon points=\"{xe:.1},{ye:.1} {:.1},{:.1} {:.1},{:.1}\" fill=\"{colour}\"/></g>",
                bx - 2.8 * uy,
                by + 2.8 * ux,
                bx + 2.8 * uy,
                by - 2.8 * ux
            );
        }
    }
}

/// What happened at a node at one time, told together.
#[derive(Default)]
struct Marks {
    written: Vec<u32>,
    stored: Vec<u32>,
    delivered: Vec<u32>,
    known: Vec<u32>,
    other: Vec<&'static str>,
}

fn draw_events(svg: &mut String, log: &Log, places: &Places, until: u64) {
    let mut at: BTreeMap<(u64, u32), Marks> = BTreeMap::new();
    for event in log.events.iter().filter(|event| event.at_us <= until) {
        let mut note = |node: u32, put: &dyn Fn(&mut Marks)| put(at.entry((event.at_us, node)).or_default());
        match &event.what {
            Happening::Published { message, node } => note(*node, &|marks| marks.written.push(*message)),
            Happening::Stored { message, node } => note(*node, &|marks| marks.stored.push(*message)),
            Happening::Delivered { message, node, .. } => {
                note(*node, &|marks| marks.delivered.push(*message))
            }
            Happening::Acknowledged { message, node, .. } => note(*node, &|marks| marks.known.push(*message)),
            Happening::DiskLost { node } => note(*node, &|marks| marks.other.push("disk lost")),
            Happening::Restored { node } => note(*node, &|marks| marks.other.push("restored")),
            Happening::Joined { node, .. } => note(*node, &|marks| marks.other.push("joins")),
            Happening::Left { node, .. } => note(*node, &|marks| marks.other.push("leaves")),
            Happening::Split { nodes } => {
                nodes.iter().for_each(|node| note(*node, &|marks| marks.other.push("split off")));
            }
            Happening::Healed { nodes } => {
                nodes.iter().for_each(|node| note(*node, &|marks| marks.other.push("healed")));
            }
            _ => {}
        }
    }
    for ((time, node), marks) in &at {
        let (x, y) = (places.x(*node), places.y(*time));
        let mut words = Vec::new();
        if !marks.written.is_empty() {
            let _ = writeln!(
                svg,
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"8\" height=\"8\" fill=\"#0072B2\"/>",
                x - 4.0,
                y - 4.0
            );
            words.push(named(&marks.written));
        }
        let waiting: Vec<u32> =
            marks.stored.iter().copied().filter(|message| !marks.delivered.contains(message)).collect();
        if !waiting.is_empty() {
            let _ = writeln!(
                svg,
                "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"none\" stroke=\"#0072B2\" stroke-width=\"1.5\"/>"
            );
            words.push(format!("({})", named(&waiting)));
        }
        if !marks.delivered.is_empty() {
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4.5\" fill=\"#009E73\"/>");
            words.push(named(&marks.delivered));
        }
        if !marks.known.is_empty() {
            let mut known = marks.known.clone();
            known.dedup();
            words.push(format!("✓ {}", named(&known)));
        }
        words.extend(marks.other.iter().map(|word| (*word).to_owned()));
        if !words.is_empty() {
            let _ = writeln!(
                svg,
                "<text class=\"halo\" x=\"{:.1}\" y=\"{:.1}\" font-size=\"10\" fill=\"#33373D\">{}</text>",
                x + 8.0,
                y + 3.5,
                escaped(&words.join(" "))
            );
        }
    }
}

/// Numbers of messages, runs of them as one.
fn named(messages: &[u32]) -> String {
    match messages {
        [] => String::new(),
        [one] => format!("m{one}"),
        [first, .., last] if last.abs_diff(*first) as usize == messages.len() - 1 => {
            format!("m{first}–m{last}")
        }
        [first, rest @ ..] => format!("m{first} +{}", rest.len()),
    }
}

/// The drawing as a file of its own: on white, for it has no page.
#[must_use]
pub(super) fn as_file(diagram: &Diagram) -> String {
    let end = diagram.svg.find('>').map_or(0, |at| at + 1);
    let (head, rest) = diagram.svg.split_at(end);
    format!("{head}\n<rect width=\"100%\" height=\"100%\" fill=\"#FFFFFF\"/>{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_to_the_ms() {
        assert_eq!(precise(1_500), "0.001 s");
        assert_eq!(precise(61_234_000), "1:01.234");
        assert_eq!(precise(90_061_000_000), "1 d 01:01:01.000");
    }

    #[test]
    fn messages_in_a_row_are_one() {
        assert_eq!(
            (named(&[4]), named(&[4, 5, 6]), named(&[6, 5, 4])),
            ("m4".into(), "m4–m6".into(), "m6–m4".into())
        );
        assert_eq!(named(&[4, 7, 5]), "m4 +2");
    }
}
