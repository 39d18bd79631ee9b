//! The world: nodes, links, the frames on them, and what was used up of each budget.

use siphasher::sip128::{Hasher128 as _, SipHasher13};
use std::hash::Hasher as _;

use super::frames::FrameId;
use super::table::NodeId;

/// The whole state.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct World {
    /// The honest nodes.
    pub(super) nodes: Vec<NodeId>,
    /// Links that are up at one end at least, by slot.
    pub(super) sessions: Vec<Session>,
    pub(super) used: Used,
}

/// A link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Session {
    /// Its name; the lowest that was free.
    pub(super) slot: u8,
    /// Which of the scenario's pairs it is between.
    pub(super) pair: u8,
    /// Whether it carries anything.
    pub(super) alive: bool,
    /// Whether each end takes it for up. A lying end is never open.
    pub(super) open: [bool; 2],
    /// Frames under way from each end. Of a lossy link they are sorted, since any may come first.
    pub(super) queues: [Vec<FrameId>; 2],
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) cuts: u8,
    pub(super) crashes: u8,
    pub(super) losses: u8,
    pub(super) repeats: u8,
    pub(super) timers: u8,
    pub(super) lies: u8,
}

impl World {
    pub(super) fn session(&self, slot: u8) -> Option<&Session> {
        self.sessions.iter().find(|session| session.slot == slot)
    }

    pub(super) fn session_mut(&mut self, slot: u8) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.slot == slot)
    }

    /// The lowest name that no link has.
    pub(super) fn free_slot(&self) -> u8 {
        (0..).find(|&slot| self.session(slot).is_none()).unwrap_or(u8::MAX)
    }

    /// Forgets links that nobody takes for up.
    pub(super) fn tidy(&mut self) {
        self.sessions.retain(|session| session.alive || session.open[0] || session.open[1]);
        self.sessions.sort_unstable_by_key(|session| session.slot);
    }

    /// Takes a link down without a word; what was on it is lost.
    pub(super) fn cut(&mut self, slot: u8) {
        if let Some(session) = self.session_mut(slot) {
            session.alive = false;
            session.queues = [Vec::new(), Vec::new()];
        }
    }

    /// The state as a number, with what was used up or without.
    pub(super) fn print(&self, with_used: bool) -> u128 {
        let mut hasher = SipHasher13::new();
        for &node in &self.nodes {
            hasher.write_u32(node);
        }
        for session in &self.sessions {
            hasher.write(&[session.slot, session.pair, u8::from(session.alive)]);
            hasher.write(&session.open.map(u8::from));
            for queue in &session.queues {
                hasher.write_u8(queue.len() as u8);
                queue.iter().for_each(|&frame| hasher.write_u32(frame));
            }
        }
        if with_used {
            let Used { cuts, crashes, losses, repeats, timers, lies } = self.used;
            hasher.write(&[0xff, cuts, crashes, losses, repeats, timers, lies]);
        }
        hasher.finish128().as_u128()
    }
}
