//! The picture of a run at a time, as lines of coloured text.

use std::collections::{BTreeSet, HashMap};

use hedgerow_sim::Run;
use hedgerow_sim::output::{SIDE, places, walks};
use hedgerow_sim::record::{FrameEnd, Happening, Log};

use super::super::replay::{clock, told};
use crate::error::CliError;

/// Larger networks have no room on a screen.
const MAX_NODES: usize = 200;
/// Lines below the picture.
const NEWS: usize = 5;

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colour {
    /// Text.
    Plain,
    /// Links, and nodes that are off.
    Dim,
    /// A node that has everything.
    All,
    /// A node that has something.
    Some,
    /// A node that has nothing.
    None,
    /// A frame.
    Frame,
}

/// Pieces of a line of text.
pub(super) type Pieces = Vec<(Colour, String)>;

/// A run that can be played.
pub(super) struct Film<'a> {
    run: &'a Run,
    log: &'a Log,
    /// Times at which something happens, and how far into the film they are.
    marks: Vec<(u64, f64)>,
    places: Vec<(f64, f64)>,
    walks: Option<Vec<Vec<(u64, f64, f64)>>>,
}

impl<'a> Film<'a> {
    pub(super) fn of(run: &'a Run) -> Result<Self, CliError> {
        let nodes = run.record.nodes.len();
        if nodes > MAX_NODES {
            return Err(CliError::Usage(format!("watch shows up to {MAX_NODES} nodes, these are {nodes}")));
        }
        let log = run.record.log.as_ref();
        let log = log.ok_or_else(|| CliError::Simulator("the run was not recorded".to_owned()))?;
        Ok(Self { run, log, marks: marks(run, log), places: places(run), walks: walks(run) })
    }

    /// The time at a part of the film, from 0 to 1: pauses in which nothing happens are shortened.
    fn time_at(&self, part: f64) -> u64 {
        let whole = self.marks.last().map_or(0.0, |(_, at)| *at);
        let at = part * whole;
        let next = self.marks.partition_point(|(_, mark)| *mark <= at);
        let before = self.marks.get(next.saturating_sub(1)).copied().unwrap_or_default();
        let Some(after) = self.marks.get(next) else { return before.0 };
        let share = if after.1 > before.1 { (at - before.1) / (after.1 - before.1) } else { 0.0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time between two times"
        )]
        let between = ((after.0 - before.0) as f64 * share) as u64;
        before.0 + between
    }

    /// So many lines of so many columns.
    pub(super) fn picture(
        &self,
        part: f64,
        columns: usize,
        rows: usize,
        speed: f64,
        paused: bool,
    ) -> Vec<Pieces> {
        let now = self.time_at(part);
        let state = State::at(self, now);
        let mut canvas = Canvas::new(columns, rows.saturating_sub(NEWS + 3));
        let spots: Vec<(i64, i64)> =
            (0..self.places.len()).map(|node| canvas.spot(self.place(node, now))).collect();
        let spot = |node: u32| spots.get(node as usize).copied().unwrap_or_default();
        for &(a, b) in &state.links {
            canvas.line(spot(a), spot(b));
        }
        for (from, to, way, lost, carries) in &state.frames {
            let ((xa, ya), (xb, yb)) = (spot(*from), spot(*to));
            let between = |a: i64, b: i64| rounded(a as f64 + (b - a) as f64 * way);
            let sign = if *lost {
                'x'
            } else if *carries {
                '●'
            } else {
                '∙'
            };
            canvas.put(
                between(xa, xb),
                between(ya, yb),
                sign,
                if *lost { Colour::None } else { Colour::Frame },
            );
        }
        for (node, &(x, y)) in spots.iter().enumerate() {
            let (has, on) =
                (state.has.get(node).copied().unwrap_or_default(), state.on.contains(&(node as u64)));
            let colour = match (on, has) {
                (false, _) => Colour::Dim,
                (true, has) if has >= state.written => Colour::All,
                (true, 0) => Colour::None,
                (true, _) => Colour::Some,
            };
            let name = if self.places.len() > 60 { "o".to_owned() } else { format!("[{node}:{has}]") };
            let left = x - (name.chars().count() / 2) as i64;
            for (at, c) in (left..).zip(name.chars()) {
                canvas.put(at, y, c, colour);
            }
        }
        let mut lines = vec![self.head(now, speed, paused)];
        lines.extend(canvas.lines());
        lines.push(vec![(Colour::Dim, "─".repeat(columns))]);
        let last = self.log.events.partition_point(|event| event.at_us <= now);
        let told_now = self.log.events.iter().take(last).rev().take(NEWS);
        let mut news: Vec<Pieces> = told_now
            .map(|event| {
                let text = format!("{}  {}", clock(event.at_us), told(self.run, self.log, &event.what));
                vec![(Colour::Plain, text.chars().take(columns).collect())]
            })
            .collect();
        news.resize(NEWS, Vec::new());
        lines.extend(news);
        let keys = "space pause   ← → move   + - speed   q quit   [node:messages that it has]";
        lines.push(vec![(Colour::Dim, keys.chars().take(columns).collect())]);
        lines
    }

    fn head(&self, now: u64, speed: f64, paused: bool) -> Pieces {
        let summary = &self.run.summary;
        let state = if paused { "paused".to_owned() } else { format!("x{speed}") };
        vec![
            (Colour::Plain, format!("{}  seed {}  ", summary.scenario, summary.seed)),
            (Colour::All, clock(now)),
            (Colour::Plain, format!(" of {}  {state}", clock(self.run.record.stopped_us))),
        ]
    }

    fn place(&self, node: usize, now: u64) -> (f64, f64) {
        let still = self.places.get(node).copied().unwrap_or_default();
        let Some(walk) = self.walks.as_ref().and_then(|walks| walks.get(node)) else { return still };
        let next = walk.partition_point(|(at, _, _)| *at <= now);
        let (Some(a), Some(b)) = (walk.get(next.saturating_sub(1)), walk.get(next).or(walk.last())) else {
            return still;
        };
        let share =
            if b.0 > a.0 { ((now.saturating_sub(a.0)) as f64 / (b.0 - a.0) as f64).min(1.0) } else { 0.0 };
        (a.1 + (b.1 - a.1) * share, a.2 + (b.2 - a.2) * share)
    }
}

/// Times at which something happens. A pause counts as far as it is usual, and little beyond that.
fn marks(run: &Run, log: &Log) -> Vec<(u64, f64)> {
    let mut times: BTreeSet<u64> = [0, run.record.stopped_us].into();
    times.extend(log.events.iter().map(|event| event.at_us));
    for frame in &log.frames {
        times.insert(frame.sent_us);
        times.extend(frame.fates.iter().map(|fate| fate.at_us.min(run.record.stopped_us)));
    }
    let gaps = || times.iter().zip(times.iter().skip(1)).map(|(a, b)| b - a);
    let mut sorted: Vec<u64> = gaps().collect();
    sorted.sort_unstable();
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(1).max(1) as f64;
    let mut at = 0.0;
    let mut marks = vec![(0, 0.0)];
    for (time, gap) in times.iter().skip(1).zip(gaps()) {
        let gap = gap as f64;
        at += if gap <= usual { gap } else { usual * (1.0 + 2.0 * (gap / usual).ln()) };
        marks.push((*time, at));
    }
    marks
}

/// How everything stands at a time.
struct State {
    on: BTreeSet<u64>,
    links: Vec<(u32, u32)>,
    /// From, to, which part of the way, lost, with messages.
    frames: Vec<(u32, u32, f64, bool, bool)>,
    /// Messages that each node has.
    has: Vec<u64>,
    written: u64,
}

impl State {
    fn at(film: &Film<'_>, now: u64) -> Self {
        let mut state =
            Self { on: BTreeSet::new(), links: Vec::new(), frames: Vec::new(), has: Vec::new(), written: 0 };
        let mut has: HashMap<u32, u64> = HashMap::new();
        for event in film.log.events.iter().take_while(|event| event.at_us <= now) {
            match event.what {
                Happening::NodeOn { node } => {
                    state.on.insert(u64::from(node));
                }
                Happening::NodeOff { node } => {
                    state.on.remove(&u64::from(node));
                }
                Happening::Published { node, .. } => {
                    state.written += 1;
                    *has.entry(node).or_default() += 1;
                }
                Happening::Delivered { node, .. } => *has.entry(node).or_default() += 1,
                _ => {}
            }
        }
        state.has =
            (0_u32..).take(film.places.len()).map(|node| has.get(&node).copied().unwrap_or(0)).collect();
        let up = film
            .log
            .links
            .iter()
            .filter(|link| link.up_us <= now && link.down_us.is_none_or(|down| now < down));
        state.links = up.map(|link| (link.a, link.b)).collect();
        let sent = film.log.frames.partition_point(|frame| frame.sent_us <= now);
        // What was sent long before is not under way any more.
        for frame in film.log.frames.iter().take(sent).rev().take(2_000) {
            let Some(fate) = frame.fates.first().filter(|fate| fate.at_us > now) else { continue };
            let way = (now - frame.sent_us) as f64 / (fate.at_us - frame.sent_us).max(1) as f64;
            let lost = !matches!(fate.end, FrameEnd::Arrived | FrameEnd::UnderWay);
            if !lost || way < 0.7 {
                state.frames.push((frame.from, frame.to, way, lost, !frame.messages.is_empty()));
            }
        }
        state
    }
}

/// Signs on a grid.
struct Canvas {
    columns: usize,
    rows: usize,
    cells: Vec<(char, Colour)>,
}

impl Canvas {
    fn new(columns: usize, rows: usize) -> Self {
        Self { columns, rows, cells: vec![(' ', Colour::Plain); columns * rows] }
    }

    /// Where a place of the picture is on the grid.
    fn spot(&self, (x, y): (f64, f64)) -> (i64, i64) {
        let (columns, rows) = (self.columns as f64, self.rows as f64);
        // Room for the names at the sides.
        (rounded(4.0 + x / SIDE * (columns - 9.0)), rounded(y / SIDE * (rows - 1.0)))
    }

    fn put(&mut self, x: i64, y: i64, c: char, colour: Colour) {
        let (Ok(x), Ok(y)) = (usize::try_from(x), usize::try_from(y)) else { return };
        if x < self.columns
            && y < self.rows
            && let Some(cell) = self.cells.get_mut(y * self.columns + x)
        {
            *cell = (c, colour);
        }
    }

    fn line(&mut self, (xa, ya): (i64, i64), (xb, yb): (i64, i64)) {
        let steps = (xb - xa).abs().max((yb - ya).abs()).max(1);
        for step in 0..=steps {
            let share = step as f64 / steps as f64;
            let x = rounded(xa as f64 + (xb - xa) as f64 * share);
            let y = rounded(ya as f64 + (yb - ya) as f64 * share);
            self.put(x, y, '·', Colour::Dim);
        }
    }

    fn lines(&self) -> Vec<Pieces> {
        let pieces = |row: &[(char, Colour)]| {
            let mut pieces: Pieces = Vec::new();
            for &(c, colour) in row {
                match pieces.last_mut() {
                    Some((last, text)) if *last == colour => text.push(c),
                    _ => pieces.push((colour, c.to_string())),
                }
            }
            pieces
        };
        self.cells.chunks(self.columns.max(1)).map(pieces).collect()
    }
}

fn rounded(value: f64) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a place on a screen")]
    let value = value.round().clamp(-1e6, 1e6) as i64;
    value
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use hedgerow_sim::Detail;

    use super::*;

    #[test]
    fn the_picture_shows_who_has_what() {
        let text = r#"
            name = "line"
            stop = { after = "1 min", when_delivered = true }
            nodes = { count = 3 }
            topology = { kind = "line" }
            workload = [{ kind = "burst", from = [0], count = 2, size = "200 B", at = "1 s" }]
        "#;
        let scenario = hedgerow_sim::scenario::load_text(text, Path::new("line.toml"), &[]).unwrap();
        let detail = Detail::Events { most: 10_000 };
        let run = hedgerow_sim::run_with(&scenario, 1, Path::new("."), detail, |_| true).unwrap();
        let film = Film::of(&run).unwrap();
        let text = |part: f64| {
            let lines = film.picture(part, 80, 24, 1.0, false);
            assert_eq!(lines.len(), 24);
            let line = |pieces: &Pieces| pieces.iter().map(|(_, text)| text.as_str()).collect::<String>();
            lines.iter().map(line).collect::<Vec<_>>().join("\n")
        };
        let (begin, end) = (text(0.0), text(1.0));
        assert!(begin.contains("[0:0]") && begin.contains("[2:0]"), "{begin}");
        assert!(end.contains("[0:2]") && end.contains("[1:2]") && end.contains("[2:2]"), "{end}");
        assert!(end.contains("delivers m1"), "{end}");
        // No size of a terminal makes it fail.
        for (columns, rows) in [(0, 0), (1, 1), (9, 3), (300, 80)] {
            film.picture(0.5, columns, rows, 1.0, true);
        }
    }
}
