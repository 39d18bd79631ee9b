//! Where nodes are on a picture, and the player that shows a run: nodes, links, messages that spread.

use serde::Serialize;

use super::html::script_safe;
use super::show::whole;
use crate::Run;
use crate::record::{FrameEnd, Happening, Log};
use crate::scenario::Topology;

const SCRIPT: &str = include_str!("player.js");

/// Runs of more nodes are not played.
const MAX_NODES: usize = 200;
/// Deliveries and links beyond this make the page too heavy.
const MAX_CHANGES: usize = 60_000;

/// The side of the picture.
pub const SIDE: f64 = 1_000.0;

/// A place for each node, from 0 to [`SIDE`] both ways.
#[must_use]
pub fn places(run: &Run) -> Vec<(f64, f64)> {
    let count = run.record.nodes.len();
    if let Some(walks) = walks(run) {
        return walks.iter().map(|walk| walk.first().map_or((0.0, 0.0), |(_, x, y)| (*x, *y))).collect();
    }
    match &run.scenario.topology {
        Topology::Grid { width } => grid(count, (*width).max(1)),
        Topology::Line if count <= 12 => grid(count, count.max(1)),
        Topology::Star { hub } => {
            let around = circle(count.saturating_sub(1));
            let (before, after) = around.split_at((*hub).min(around.len()));
            [before, &[(SIDE / 2.0, SIDE / 2.0)], after].concat()
        }
        _ if count <= 3 => circle(count),
        Topology::Full | Topology::Ring | Topology::Line | Topology::SmallWorld { .. } => circle(count),
        _ => by_links(run, count),
    }
}

/// Where each node is by time, if the scenario gives nodes places: fitted into the picture, in us.
#[must_use]
pub fn walks(run: &Run) -> Option<Vec<Vec<(u64, f64, f64)>>> {
    let points = run.plan.positions.iter().flatten();
    let mut ends = None;
    for point in points {
        let (left, right, top, bottom) = ends.get_or_insert((point.x_mm, point.x_mm, point.y_mm, point.y_mm));
        (*left, *right) = ((*left).min(point.x_mm), (*right).max(point.x_mm));
        (*top, *bottom) = ((*top).min(point.y_mm), (*bottom).max(point.y_mm));
    }
    let (left, right, top, bottom) = ends?;
    let scale = SIDE * 0.92 / ((right - left).max(bottom - top).max(1) as f64);
    let (middle_x, middle_y) = ((left + right) as f64 / 2.0, (top + bottom) as f64 / 2.0);
    let place = |point: &crate::plan::Point| {
        let x = SIDE / 2.0 + (point.x_mm as f64 - middle_x) * scale;
        // Upwards on the ground is upwards on the picture.
        (point.at_us, x, SIDE / 2.0 - (point.y_mm as f64 - middle_y) * scale)
    };
    Some(run.plan.positions.iter().map(|walk| walk.iter().map(place).collect()).collect())
}

fn circle(count: usize) -> Vec<(f64, f64)> {
    let turn = std::f64::consts::TAU / count.max(1) as f64;
    // Two stand side by side.
    let first = if count == 2 { std::f64::consts::PI } else { -std::f64::consts::FRAC_PI_2 };
    let at = |n: usize| {
        let (sin, cos) = (first + turn * n as f64).sin_cos();
        (SIDE / 2.0 * (1.0 + 0.88 * cos), SIDE / 2.0 * (1.0 + 0.88 * sin))
    };
    (0..count).map(at).collect()
}

fn grid(count: usize, width: usize) -> Vec<(f64, f64)> {
    let across = width.min(count).max(1) as f64;
    let down = count.div_ceil(width).max(1) as f64;
    let step = SIDE * 0.9 / across.max(down);
    let at = |n: usize| {
        let (x, y) = ((n % width) as f64, (n / width) as f64);
        (SIDE / 2.0 + (x - (across - 1.0) / 2.0) * step, SIDE / 2.0 + (y - (down - 1.0) / 2.0) * step)
    };
    (0..count).map(at).collect()
}

/// Nodes pull each other the more, the longer they have a link, and push all others (Fruchterman, Reingold 1991).
fn by_links(run: &Run, count: usize) -> Vec<(f64, f64)> {
    let longest = run.record.links.iter().map(|link| link.up_us).max().unwrap_or(1).max(1) as f64;
    let pulls: Vec<(usize, usize, f64)> = run
        .record
        .links
        .iter()
        .map(|link| (link.a as usize, link.b as usize, 0.15 + 0.85 * (link.up_us as f64 / longest).sqrt()))
        .collect();
    let mut at = circle(count);
    let ideal = SIDE / (count.max(1) as f64).sqrt() * 0.8;
    let rounds = 150;
    for round in 0..rounds {
        let mut moves = vec![(0.0_f64, 0.0_f64); count];
        for (i, &(xi, yi)) in at.iter().enumerate() {
            for (&(xj, yj), away) in at.iter().zip(0_usize..).filter(|(_, j)| *j != i) {
                // Two at one place part along a direction of their own.
                let (mut dx, mut dy) = (xi - xj, yi - yj);
                if dx.abs() + dy.abs() < 1e-6 {
                    (dx, dy) = (0.01 * (i as f64 - away as f64), 0.01);
                }
                let square = dx * dx + dy * dy;
                let push = ideal * ideal / square;
                if let Some(to) = moves.get_mut(i) {
                    to.0 += dx * push;
                    to.1 += dy * push;
                }
            }
        }
        for &(a, b, weight) in &pulls {
            let (Some(&(xa, ya)), Some(&(xb, yb))) = (at.get(a), at.get(b)) else { continue };
            let (dx, dy) = (xa - xb, ya - yb);
            let pull = weight * (dx * dx + dy * dy).sqrt() / ideal;
            for (node, sign) in [(a, -1.0), (b, 1.0)] {
                if let Some(to) = moves.get_mut(node) {
                    to.0 += sign * dx * pull;
                    to.1 += sign * dy * pull;
                }
            }
        }
        let most = SIDE * 0.08 * (1.0 - f64::from(round) / f64::from(rounds)) + 0.5;
        for (place, (dx, dy)) in at.iter_mut().zip(moves) {
            let length = (dx * dx + dy * dy).sqrt().max(1e-9);
            let step = length.min(most) / length;
            place.0 += dx * step;
            place.1 += dy * step;
        }
    }
    fitted(at)
}

/// Brought into the picture, both ways by the same factor.
fn fitted(mut at: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let ends = |f: fn(&(f64, f64)) -> f64| {
        at.iter().map(f).fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
    };
    let ((left, right), (top, bottom)) = (ends(|p| p.0), ends(|p| p.1));
    let scale = SIDE * 0.9 / (right - left).max(bottom - top).max(1e-6);
    for place in &mut at {
        place.0 = SIDE / 2.0 + (place.0 - (left + right) / 2.0) * scale;
        place.1 = SIDE / 2.0 + (place.1 - (top + bottom) / 2.0) * scale;
    }
    at
}

/// What the player needs to know, in short names and few characters: times are in us.
#[derive(Debug, Default, Serialize)]
struct Film {
    /// When the run ended.
    end: u64,
    /// x and y of each node.
    at: Vec<(i64, i64)>,
    /// Time, x and y of each turn of each node, if they walk.
    walk: Vec<Vec<(u64, i64, i64)>>,
    /// When each node went on and off, in turn.
    on: Vec<Vec<u64>>,
    /// Links: a, b, up, and how long (-1: to the end).
    links: Vec<(u32, u32, u64, i64)>,
    /// Messages: author, and when.
    said: Vec<(u32, u64)>,
    /// Deliveries: time since the one before, node, message.
    got: Vec<(u64, u32, u32)>,
    /// Frames: time since the one before, from, to, how long under way, 1 if lost, first message (-1: none).
    frames: Vec<(u64, u32, u32, u64, u8, i64)>,
    /// Partitions: from, to, one side.
    cuts: Vec<(u64, u64, Vec<u32>)>,
    /// Other news: when, and in words.
    news: Vec<(u64, String)>,
}

fn film(run: &Run, log: &Log) -> Film {
    let mut film = Film { end: run.record.stopped_us, ..Film::default() };
    film.at = places(run).into_iter().map(|(x, y)| (rounded(x), rounded(y))).collect();
    if let Some(walks) = walks(run).filter(|walks| walks.iter().any(|walk| walk.len() > 1)) {
        let whole = |(at, x, y): (u64, f64, f64)| (at, rounded(x), rounded(y));
        film.walk = walks.into_iter().map(|walk| walk.into_iter().map(whole).collect()).collect();
    }
    film.on = vec![Vec::new(); run.record.nodes.len()];
    let mut before = 0;
    for event in &log.events {
        let at = event.at_us;
        match &event.what {
            Happening::NodeOn { node } | Happening::NodeOff { node } => {
                let on = matches!(event.what, Happening::NodeOn { .. });
                if let Some(turns) =
                    film.on.get_mut(*node as usize).filter(|turns| turns.len().is_multiple_of(2) == on)
                {
                    turns.push(at);
                }
            }
            Happening::Delivered { message, node, .. } => {
                film.got.push((at - before, *node, *message));
                before = at;
            }
            Happening::Split { nodes } => film.cuts.push((at, film.end, nodes.clone())),
            Happening::Healed { nodes } => {
                let open =
                    film.cuts.iter_mut().find(|(_, to, side)| *to == run.record.stopped_us && side == nodes);
                if let Some(cut) = open {
                    cut.1 = at;
                }
            }
            Happening::DiskLost { node } => film.news.push((at, format!("node {node} lost its disk"))),
            Happening::Restored { node } => {
                film.news.push((at, format!("node {node} was restored from a backup")))
            }
            Happening::Joined { node, group } => {
                film.news.push((at, format!("node {node} joined group {group}")))
            }
            Happening::Left { node, group } => {
                film.news.push((at, format!("node {node} left group {group}")))
            }
            _ => {}
        }
    }
    film.said = run.record.messages.iter().map(|message| (message.author, message.at_us)).collect();
    let length = |from: u64, to: Option<u64>| to.map_or(-1, |to| i64::try_from(to - from).unwrap_or(-1));
    film.links =
        log.links.iter().map(|link| (link.a, link.b, link.up_us, length(link.up_us, link.down_us))).collect();
    before = 0;
    for frame in &log.frames {
        let Some(fate) = frame.fates.first() else { continue };
        let lost = !matches!(fate.end, FrameEnd::Arrived | FrameEnd::UnderWay);
        let message = frame.messages.first().map_or(-1, |message| i64::from(*message));
        let took = fate.at_us.saturating_sub(frame.sent_us);
        film.frames.push((frame.sent_us - before, frame.from, frame.to, took, u8::from(lost), message));
        before = frame.sent_us;
    }
    film
}

/// The player with its film, as HTML.
///
/// # Errors
/// Says why there is none: the run is too large, or was not recorded one by one.
pub(super) fn player(run: &Run) -> Result<String, String> {
    let Some(log) = &run.record.log else {
        return Err("the run was not recorded event by event".to_owned());
    };
    let nodes = run.record.nodes.len();
    if nodes > MAX_NODES {
        return Err(format!("that is for runs of at most {MAX_NODES} nodes, this one has {nodes}"));
    }
    if log.left_out > 0 {
        return Err(format!("it is too long, {} events were not recorded", whole(log.left_out)));
    }
    let turns: usize = run.plan.positions.iter().map(Vec::len).sum();
    let changes = run.record.deliveries.len() + log.links.len() + turns;
    if changes > MAX_CHANGES {
        return Err(format!(
            "that is for runs of at most {} links, deliveries and turns, this one has {}",
            whole(MAX_CHANGES as u64),
            whole(changes as u64)
        ));
    }
    let data = serde_json::to_string(&film(run, log)).map_err(|error| error.to_string())?;
    Ok(format!(
        "<figure class=\"full screen\" id=\"player\"><figcaption><b>The network</b><span class=\"legend\" id=\"p-now\"></span>\
         </figcaption>\n<canvas id=\"p-view\" role=\"img\" aria-label=\"the network at a time\"></canvas>\n\
         <div class=\"player\"><button type=\"button\" id=\"p-play\">Play</button>\
         <input type=\"range\" id=\"p-at\" min=\"0\" max=\"10000\" value=\"0\" aria-label=\"time\"/>\
         <output id=\"p-time\"></output></div>\n\
         <div class=\"player\"><label>message <input type=\"number\" id=\"p-message\" min=\"0\" placeholder=\"all\"/></label>\
         <label>speed <select id=\"p-speed\"><option value=\"0.25\">¼</option><option value=\"1\" selected=\"selected\">1</option>\
         <option value=\"4\">4</option></select></label>\
         <label><input type=\"checkbox\" id=\"p-even\"/> time runs evenly</label></div>\n\
         <ul class=\"news\" id=\"p-news\"></ul>\n<p class=\"note\">Pie: the share of all messages so far that a node has. Blue dots \
         are frames with messages, grey ones others, orange ones are lost. Dashed nodes are off. Pauses in which nothing \
         happens are shortened, unless time runs evenly.</p></figure>\n\
         <script type=\"application/json\" id=\"p-data\">{}</script>\n<script>\n{SCRIPT}</script>",
        script_safe(&data)
    ))
}

fn rounded(value: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "within the picture")]
    let value = value.round().clamp(-1e6, 1e6) as i64;
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_inside_and_apart() {
        for places in [circle(1), circle(2), circle(40), grid(7, 3), grid(1, 5), grid(12, 12)] {
            for (n, (x, y)) in places.iter().enumerate() {
                assert!((0.0..=SIDE).contains(x) && (0.0..=SIDE).contains(y));
                for (xo, yo) in places.iter().skip(n + 1) {
                    assert!((x - xo).abs() + (y - yo).abs() > 20.0);
                }
            }
        }
    }
}
