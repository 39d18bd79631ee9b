//! `sim watch`: plays a run in the terminal.

mod picture;

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{Event, KeyCode, KeyModifiers, poll, read as read_event};
use crossterm::style::{Color, Print, ResetColor, SetForegroundColor};
use crossterm::terminal::{
    Clear, ClearType, EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode, size,
};
use crossterm::{execute, queue};
use hedgerow_sim::output::RECORDED;
use hedgerow_sim::{Detail, run_with};

use self::picture::{Colour, Film};
use super::args::WatchArgs;
use super::read;
use crate::error::CliError;
use crate::output::Output;

/// Time between two pictures.
const TICK: Duration = Duration::from_millis(60);

pub(super) fn watch(args: &WatchArgs, output: Output, stop: &AtomicBool) -> Result<(), CliError> {
    if output.is_json() || !io::stdout().is_terminal() {
        return Err(CliError::Usage(
            "watch plays in a terminal; `sim replay` tells the same in lines, also with --json".to_owned(),
        ));
    }
    let loaded = read(&args.scenario)?;
    let detail = Detail::Events { most: RECORDED };
    let run =
        run_with(&loaded.scenario, args.seed, &loaded.folder, detail, |_| !stop.load(Ordering::Relaxed))?;
    let film = Film::of(&run)?;
    let screen = Screen::open().map_err(CliError::Output)?;
    let played = play(&film, args, stop);
    drop(screen);
    played.map_err(CliError::Output)?;
    let summary = &run.summary;
    output.text(&format!(
        "{}, seed {}, build {}: {} of {} deliveries",
        summary.scenario, summary.seed, summary.build, summary.delivered, summary.wanted
    ))
}

/// The terminal while it shows pictures: as it was before, when this goes.
struct Screen;

impl Screen {
    fn open() -> io::Result<Self> {
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(Self)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

/// What was asked for with a key.
enum Asked {
    Nothing,
    Pause,
    Quit,
    Move(f64),
    Faster(f64),
}

fn play(film: &Film<'_>, args: &WatchArgs, stop: &AtomicBool) -> io::Result<()> {
    let (mut part, mut speed, mut paused) = (0.0_f64, 1.0_f64, false);
    let mut last = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let passed = last.elapsed().as_secs_f64();
        last = Instant::now();
        if !paused {
            part = (part + passed * speed / f64::from(args.seconds)).min(1.0);
        }
        draw(film, part, speed, paused)?;
        match asked()? {
            Asked::Nothing => {}
            Asked::Pause => {
                // Played to the end, it begins again.
                if part >= 1.0 {
                    part = 0.0;
                }
                paused = !paused;
            }
            Asked::Quit => break,
            Asked::Move(by) => part = (part + by).clamp(0.0, 1.0),
            Asked::Faster(by) => speed = (speed * by).clamp(1.0 / 64.0, 64.0),
        }
        paused |= part >= 1.0;
    }
    Ok(())
}

fn asked() -> io::Result<Asked> {
    if !poll(TICK)? {
        return Ok(Asked::Nothing);
    }
    let Event::Key(key) = read_event()? else { return Ok(Asked::Nothing) };
    Ok(match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Asked::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Asked::Quit,
        KeyCode::Char(' ') => Asked::Pause,
        KeyCode::Left => Asked::Move(-0.02),
        KeyCode::Right => Asked::Move(0.02),
        KeyCode::Home => Asked::Move(-1.0),
        KeyCode::End => Asked::Move(1.0),
        KeyCode::Char('+') | KeyCode::Up => Asked::Faster(2.0),
        KeyCode::Char('-') | KeyCode::Down => Asked::Faster(0.5),
        _ => Asked::Nothing,
    })
}

fn draw(film: &Film<'_>, part: f64, speed: f64, paused: bool) -> io::Result<()> {
    let (columns, rows) = size()?;
    let picture = film.picture(part, usize::from(columns), usize::from(rows), speed, paused);
    let mut out = io::stdout().lock();
    for (row, cells) in (0_u16..rows).zip(picture) {
        queue!(out, MoveTo(0, row))?;
        for (colour, text) in cells {
            queue!(out, SetForegroundColor(shade(colour)), Print(text))?;
        }
        queue!(out, ResetColor, Clear(ClearType::UntilNewLine))?;
    }
    out.flush()
}

const fn shade(colour: Colour) -> Color {
    match colour {
        Colour::Plain => Color::Reset,
        Colour::Dim => Color::DarkGrey,
        Colour::All => Color::Green,
        Colour::Some => Color::Yellow,
        Colour::None => Color::Red,
        Colour::Frame => Color::Cyan,
    }
}
