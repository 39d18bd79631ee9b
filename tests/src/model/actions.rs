//! What can happen next, and what it leads to.

use super::liar;
use super::node::{Input, Setup};
use super::scenario::Sabotage;
use super::table::Table;
use super::world::{Session, World};

/// One step of the world. Ends are 0 and 1; a frame of end 0 goes to end 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Action {
    /// A frame arrives: the first, or on a lossy link any.
    Deliver { slot: u8, from: u8, at: u8 },
    /// A frame arrives and stays under way.
    Repeat { slot: u8, from: u8, at: u8 },
    /// A frame is lost.
    Lose { slot: u8, from: u8, at: u8 },
    /// The carrier takes the next frame.
    Pull { slot: u8, end: u8 },
    /// A link breaks.
    Cut { slot: u8 },
    /// An end learns of it.
    Notice { slot: u8, end: u8 },
    /// Two nodes meet.
    Up { pair: u8 },
    /// The driver of a node polls it.
    Poll { node: u8 },
    /// A node's next timer fires.
    Timer { node: u8 },
    /// A node publishes.
    Publish { node: u8, post: u8 },
    /// A node stops and starts again.
    Crash { node: u8 },
    /// The liar says something.
    Lie { slot: u8, lie: u8 },
}

impl Setup {
    /// The node at an end of a pair, unless it is the liar.
    pub(super) fn node_at(&self, pair: u8, end: u8) -> Option<u8> {
        let (a, b) = self.scenario.pairs[usize::from(pair)];
        Some(if end == 0 { a } else { b }).filter(|&node| node < self.scenario.peers)
    }

    fn peer_at(&self, pair: u8, end: u8) -> u8 {
        let (a, b) = self.scenario.pairs[usize::from(pair)];
        if end == 0 { a } else { b }
    }

    pub(super) fn is_lying(&self, pair: u8) -> bool {
        self.node_at(pair, 1).is_none()
    }
}

/// Everything that can happen, in a fixed order.
pub(super) fn possible(table: &Table, world: &World, out: &mut Vec<Action>) {
    out.clear();
    let setup = &table.setup;
    let (budgets, used) = (setup.scenario.budgets, world.used);
    for session in &world.sessions {
        links(table, world, session, out);
    }
    for pair in 0..setup.scenario.pairs.len() as u8 {
        if !world.sessions.iter().any(|session| session.pair == pair && session.alive) {
            out.push(Action::Up { pair });
        }
    }
    for (node, &id) in (0..).zip(&world.nodes) {
        let view = table.view(id);
        if view.fed {
            out.push(Action::Poll { node });
        } else if view.timeout.is_some() && used.timers < budgets.timers {
            out.push(Action::Timer { node });
        }
        let posts = setup.scenario.posts.len() as u8;
        out.extend(
            (0..posts)
                .filter(|post| view.publishable & 1 << post != 0)
                .map(|post| Action::Publish { node, post }),
        );
        if used.crashes < budgets.crashes {
            out.push(Action::Crash { node });
        }
    }
}

fn links(table: &Table, world: &World, session: &Session, out: &mut Vec<Action>) {
    let setup = &table.setup;
    let (budgets, used) = (setup.scenario.budgets, world.used);
    let slot = session.slot;
    let lossy = !setup.scenario.profile.reliable;
    for from in 0..2 {
        let queue = &session.queues[usize::from(from)];
        let count = if lossy { queue.len() } else { queue.len().min(1) };
        for at in 0..count {
            if at > 0 && queue[at] == queue[at - 1] {
                continue;
            }
            let at = at as u8;
            out.push(Action::Deliver { slot, from, at });
            if lossy && used.repeats < budgets.repeats {
                out.push(Action::Repeat { slot, from, at });
            }
            let drops = lossy || setup.scenario.sabotage == Sabotage::CarrierDrops;
            if drops && used.losses < budgets.losses {
                out.push(Action::Lose { slot, from, at });
            }
        }
    }
    for end in 0..2 {
        if !session.open[usize::from(end)] {
            continue;
        }
        if let Some(node) = setup.node_at(session.pair, end) {
            let view = table.view(world.nodes[usize::from(node)]);
            let room = session.queues[usize::from(end)].len() < usize::from(budgets.capacity);
            if !view.fed && view.ready & 1 << slot != 0 && room {
                out.push(Action::Pull { slot, end });
            }
        }
        if !session.alive {
            out.push(Action::Notice { slot, end });
        }
    }
    if session.alive && used.cuts < budgets.cuts {
        out.push(Action::Cut { slot });
    }
    if session.alive && setup.is_lying(session.pair) && used.lies < budgets.lies {
        let said = liar::sayable(table, world);
        out.extend((0..liar::LIES).filter(|lie| said & 1 << lie != 0).map(|lie| Action::Lie { slot, lie }));
    }
}

/// Where an action leads to. An error is a property that does not hold.
pub(super) fn apply(table: &mut Table, world: &World, action: Action) -> Result<World, String> {
    let mut next = world.clone();
    match action {
        Action::Deliver { slot, from, at } => arrive(table, &mut next, slot, from, at, false)?,
        Action::Repeat { slot, from, at } => {
            next.used.repeats += 1;
            arrive(table, &mut next, slot, from, at, true)?;
        }
        Action::Lose { slot, from, at } => {
            next.used.losses += 1;
            lose(table, &mut next, slot, from, at)?;
        }
        Action::Pull { slot, end } => pull(table, &mut next, slot, end)?,
        Action::Cut { slot } => {
            next.used.cuts += 1;
            next.cut(slot);
        }
        Action::Notice { slot, end } => {
            let Some(session) = next.session_mut(slot) else { return Ok(next) };
            session.open[usize::from(end)] = false;
            let pair = session.pair;
            feed(table, &mut next, pair, end, Input::Down { slot })?;
        }
        Action::Up { pair } => up(table, &mut next, pair)?,
        Action::Poll { node } => step(table, &mut next, node, Input::Poll)?,
        Action::Timer { node } => {
            next.used.timers += 1;
            step(table, &mut next, node, Input::Timer)?;
        }
        Action::Publish { node, post } => step(table, &mut next, node, Input::Publish(post))?,
        Action::Crash { node } => {
            next.used.crashes += 1;
            crash(table, &mut next, node)?;
        }
        Action::Lie { slot, lie } => {
            let frame = liar::frame(table, world, lie);
            next.used.lies += 1;
            receive(table, &mut next, slot, 0, frame, false)?;
        }
    }
    next.tidy();
    Ok(next)
}

/// Feeds one node.
pub(super) fn step(table: &mut Table, world: &mut World, node: u8, input: Input) -> Result<(), String> {
    let id = &mut world.nodes[usize::from(node)];
    *id = table.step(*id, input).map_err(|what| format!("{}: {what}", letter(node)))?.node;
    Ok(())
}

fn feed(table: &mut Table, world: &mut World, pair: u8, end: u8, input: Input) -> Result<(), String> {
    match table.setup.node_at(pair, end) {
        Some(node) => step(table, world, node, input),
        None => Ok(()),
    }
}

fn arrive(
    table: &mut Table,
    world: &mut World,
    slot: u8,
    from: u8,
    at: u8,
    stays: bool,
) -> Result<(), String> {
    let Some(session) = world.session_mut(slot) else { return Ok(()) };
    let queue = &mut session.queues[usize::from(from)];
    let frame = queue[usize::from(at)];
    if !stays {
        queue.remove(usize::from(at));
    }
    let mut slot = slot;
    if table.setup.scenario.sabotage == Sabotage::WrongSession {
        slot = world.sessions.iter().map(|other| other.slot).find(|&other| other != slot).unwrap_or(slot);
    }
    receive(table, world, slot, 1 - from, frame, true)
}

/// A node takes a frame. When that ends the link, the other end learns of it later.
fn receive(
    table: &mut Table,
    world: &mut World,
    slot: u8,
    end: u8,
    frame: u32,
    honest: bool,
) -> Result<(), String> {
    let Some(session) = world.session(slot) else { return Ok(()) };
    if !session.open[usize::from(end)] {
        return Ok(());
    }
    let Some(node) = table.setup.node_at(session.pair, end) else { return Ok(()) };
    let id = world.nodes[usize::from(node)];
    let input = Input::Receive { slot, frame, honest };
    let done = table.step(id, input).map_err(|what| format!("{}: {what}", letter(node)))?;
    world.nodes[usize::from(node)] = done.node;
    if done.output.ended {
        world.cut(slot);
        if let Some(session) = world.session_mut(slot) {
            session.open[usize::from(end)] = false;
        }
    }
    Ok(())
}

fn lose(table: &mut Table, world: &mut World, slot: u8, from: u8, at: u8) -> Result<(), String> {
    let Some(session) = world.session_mut(slot) else { return Ok(()) };
    let frame = session.queues[usize::from(from)].remove(usize::from(at));
    if table.setup.scenario.sabotage == Sabotage::FramesAcknowledgedBlindly
        && let Some(number) = table.frames.get(frame).frame.number
    {
        let forged = liar::blind_ack(table, number);
        receive(table, world, slot, from, forged, true)?;
    }
    Ok(())
}

fn pull(table: &mut Table, world: &mut World, slot: u8, end: u8) -> Result<(), String> {
    let Some(session) = world.session(slot) else { return Ok(()) };
    let (pair, alive) = (session.pair, session.alive);
    let Some(node) = table.setup.node_at(pair, end) else { return Ok(()) };
    let id = world.nodes[usize::from(node)];
    let done = table.step(id, Input::Pull { slot }).map_err(|what| format!("{}: {what}", letter(node)))?;
    world.nodes[usize::from(node)] = done.node;
    let Some(mut frame) = done.frame else { return Ok(()) };
    if table.setup.scenario.sabotage == Sabotage::AcksTooMuch {
        frame = liar::exaggerate(table, frame);
    }
    let other = table.setup.peer_at(pair, 1 - end);
    super::safety::frame(table, world, node, other, frame)?;
    if !alive || table.setup.is_lying(pair) {
        // Into the void.
        return Ok(());
    }
    let lossy = !table.setup.scenario.profile.reliable;
    if let Some(session) = world.session_mut(slot) {
        let queue = &mut session.queues[usize::from(end)];
        queue.push(frame);
        if lossy {
            queue.sort_unstable();
        }
    }
    Ok(())
}

fn up(table: &mut Table, world: &mut World, pair: u8) -> Result<(), String> {
    let slot = world.free_slot();
    let lying = table.setup.is_lying(pair);
    let queues = [Vec::new(), Vec::new()];
    world.sessions.push(Session { slot, pair, alive: true, open: [true, !lying], queues });
    for end in 0..2 {
        let peer = table.setup.peer_at(pair, 1 - end);
        feed(table, world, pair, end, Input::Up { slot, peer })?;
    }
    if lying {
        let hello = liar::hello(table);
        receive(table, world, slot, 0, hello, false)?;
    }
    Ok(())
}

fn crash(table: &mut Table, world: &mut World, node: u8) -> Result<(), String> {
    let slots: Vec<u8> = world.sessions.iter().map(|session| session.slot).collect();
    for slot in slots {
        for end in 0..2 {
            let pair = world.session(slot).map_or(0, |session| session.pair);
            if table.setup.node_at(pair, end) == Some(node) {
                world.cut(slot);
                if let Some(session) = world.session_mut(slot) {
                    session.open[usize::from(end)] = false;
                }
            }
        }
    }
    step(table, world, node, Input::Crash)
}

/// What a node is called in reports.
pub(super) fn letter(node: u8) -> char {
    char::from(b'A' + node)
}

/// An action in words.
pub(super) fn describe(table: &Table, world: &World, action: Action) -> String {
    let setup = &table.setup;
    let ends = |slot: u8| {
        let pair = world.session(slot).map_or(0, |session| session.pair);
        (letter(setup.peer_at(pair, 0)), letter(setup.peer_at(pair, 1)))
    };
    let way = |slot: u8, from: u8| {
        let (a, b) = ends(slot);
        if from == 0 { format!("{a} to {b}, link {slot}") } else { format!("{b} to {a}, link {slot}") }
    };
    let name = |id: &hedgerow_proto::MessageId| setup.name(id);
    let text = |slot: u8, from: u8, at: u8| {
        let queue = world.session(slot).map(|session| &session.queues[usize::from(from)]);
        let frame = queue.and_then(|queue| queue.get(usize::from(at)).copied());
        frame.map(|frame| table.frames.describe(frame, &name)).unwrap_or_default()
    };
    match action {
        Action::Deliver { slot, from, at } => {
            format!("{}: arrives: {}", way(slot, from), text(slot, from, at))
        }
        Action::Repeat { slot, from, at } => {
            format!("{}: arrives, and will again: {}", way(slot, from), text(slot, from, at))
        }
        Action::Lose { slot, from, at } => format!("{}: is lost: {}", way(slot, from), text(slot, from, at)),
        Action::Pull { slot, end } => {
            let pair = world.session(slot).map_or(0, |session| session.pair);
            let made = setup.node_at(pair, end).and_then(|node| {
                table.known_step(world.nodes[usize::from(node)], Input::Pull { slot })?.frame
            });
            let made = made.map_or_else(|| "nothing".into(), |frame| table.frames.describe(frame, &name));
            format!("{}: is made: {made}", way(slot, end))
        }
        Action::Cut { slot } => format!("link {slot} between {} and {} breaks", ends(slot).0, ends(slot).1),
        Action::Notice { slot, end } => {
            let (a, b) = ends(slot);
            format!("{} learns that link {slot} is down", if end == 0 { a } else { b })
        }
        Action::Up { pair } => {
            let slot = world.free_slot();
            format!(
                "{} and {} meet: link {slot}",
                letter(setup.peer_at(pair, 0)),
                letter(setup.peer_at(pair, 1))
            )
        }
        Action::Poll { node } => format!("{} commits and hands on its events", letter(node)),
        Action::Timer { node } => format!("{}: the next timer fires", letter(node)),
        Action::Publish { node, post } => format!("{} publishes m{}", letter(node), post + 1),
        Action::Crash { node } => format!("{} crashes and starts again", letter(node)),
        Action::Lie { slot, lie } => {
            let frame = liar::known(table, world, lie);
            let frame = frame.map(|frame| table.frames.describe(frame, &name)).unwrap_or_default();
            format!("the liar says to {}: {frame}", ends(slot).0)
        }
    }
}
