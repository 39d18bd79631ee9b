//! Nodes that lie. They run the engine, and what they send is altered and added to.

use std::collections::VecDeque;

use bytes::Bytes;
use hedgerow_sync_core::proto::{
    Ack, Batch, Codec as _, DepRef, Frame, GroupRef, MessageId, NativeCodec, Offer, OfferItem, Request, Span,
    WireMessage,
};
use hedgerow_sync_core::{EngineError, LinkId};
use rand::RngExt as _;
use rand_chacha::ChaCha12Rng;

use super::{What, World};
use crate::plan::Lies;
use crate::random::stream;
use crate::record::JUNK;
use crate::scenario::Deed;

/// So many old frames it remembers.
const MAX_OLD: usize = 64;
/// So many messages, offers and the like are in one lie.
const MANY: u64 = 20;

pub(super) struct Liar {
    node: usize,
    lies: Lies,
    rng: ChaCha12Rng,
    /// Its links, whether they lose frames, and a number that it gave a group there, as far as it said one.
    links: Vec<(LinkId, bool, Option<u32>)>,
    /// On these it has something to add to the next frame.
    due: Vec<LinkId>,
    old: VecDeque<Bytes>,
    /// Its highest position so far, of no log in particular.
    position: u64,
}

/// Who wrote what no honest node wrote.
pub(super) fn author_of_junk(body: &[u8]) -> Option<usize> {
    let node = body.strip_prefix(&JUNK)?.first_chunk().map(|start| u32::from_le_bytes(*start))?;
    usize::try_from(node).ok()
}

impl Liar {
    pub(super) fn new(node: usize, lies: &Lies, seed: u64) -> Self {
        let rng = stream(seed, "liar", node as u64);
        // No log is as long as that, so nothing that it says is true by chance.
        let position = 1 << 30;
        Self {
            node,
            lies: lies.clone(),
            rng,
            links: Vec::new(),
            due: Vec::new(),
            old: VecDeque::new(),
            position,
        }
    }

    fn does(&self, deed: Deed) -> bool {
        self.lies.deeds.contains(&deed)
    }

    /// What goes out instead of a frame.
    pub(super) fn alter(&mut self, link: LinkId, frame: &Bytes, now_ms: i64) -> Vec<Bytes> {
        let Ok(mut altered) = NativeCodec::new().decode(frame.clone()) else { return vec![frame.clone()] };
        let name = altered.announces.first().map(|announce| announce.number);
        let name = name.or(altered.in_step.as_ref().map(|in_step| in_step.first));
        match self.links.iter_mut().find(|(known, ..)| *known == link) {
            Some((.., number)) => *number = name.or(*number),
            None => self.links.push((link, altered.number.is_some(), name)),
        }
        if self.does(Deed::Withhold) {
            altered.batches.clear();
        }
        if let Some(at) = self.due.iter().position(|due| *due == link) {
            self.due.swap_remove(at);
            self.add(link, &mut altered, now_ms);
        }
        self.old.push_back(frame.clone());
        if self.old.len() > MAX_OLD {
            self.old.pop_front();
        }
        let is_empty =
            Frame { number: altered.number, ..Frame::default() } == altered && altered.number.is_none();
        if is_empty { Vec::new() } else { encode(&altered).into_iter().collect() }
    }

    /// What it sends of its own accord on a link.
    fn speak(&mut self, link: LinkId, lossy: bool, now_ms: i64) -> Vec<Bytes> {
        let mut frames = Vec::new();
        if lossy {
            // Its engine numbers the frames: what it adds goes with the next one.
            if !self.due.contains(&link) {
                self.due.push(link);
            }
        } else {
            let mut frame = Frame::default();
            self.add(link, &mut frame, now_ms);
            if frame != Frame::default() {
                frames.extend(encode(&frame));
            }
        }
        if self.does(Deed::Replay) && !self.old.is_empty() {
            let at = self.rng.random_range(0..self.old.len());
            frames.extend(self.old.get(at).cloned());
        }
        if self.does(Deed::Garbage) {
            let length = self.rng.random_range(1..400);
            frames.push((0..length).map(|_| self.rng.random::<u8>()).collect());
        }
        frames
    }

    /// Adds lies to a frame.
    fn add(&mut self, link: LinkId, frame: &mut Frame, now_ms: i64) {
        let number = self.links.iter().find(|(known, ..)| *known == link).and_then(|(.., number)| *number);
        let Some(group) = number.map(GroupRef::Number) else { return };
        let chain = self.rng.random();
        if self.does(Deed::EmptyOffers) {
            let items =
                (0..MANY).map(|_| OfferItem { position: Some(self.next()), id: self.any_id() }).collect();
            frame.offers.push(Offer { group, items, chain });
        }
        if self.does(Deed::LyingAcks) {
            let held = vec![Span { first: 1, last: 1 << 20 }];
            frame.acks.push(Ack {
                group,
                held,
                known: Vec::new(),
                ids: Vec::new(),
                duplicates: 0,
                chain: 0,
                reset: 0,
            });
        }
        if self.does(Deed::AskForAll) {
            let positions = vec![Span { first: 1, last: 1 << 20 }];
            let ids = (0..MANY).map(|_| self.any_id()).collect();
            frame.requests.push(Request { group, positions, ids });
        }
        for (deed, orphans) in [(Deed::FloodOrphans, true), (Deed::FloodMessages, false)] {
            if self.does(deed) {
                let messages = (0..MANY).map(|_| self.message(orphans, now_ms)).collect();
                frame.batches.push(Batch { group, messages, chain: 0 });
            }
        }
    }

    fn any_id(&mut self) -> MessageId {
        MessageId::from_bytes(self.rng.random())
    }

    fn next(&mut self) -> u64 {
        self.position += 1;
        self.position
    }

    fn message(&mut self, orphan: bool, now_ms: i64) -> WireMessage {
        let deps = if orphan { vec![DepRef::Id(self.any_id())] } else { Vec::new() };
        let mut body = JUNK.to_vec();
        body.extend(crate::record::number(self.node).to_le_bytes());
        body.extend(self.rng.random::<[u8; 24]>());
        WireMessage { position: None, timestamp_ms: now_ms, deps, body: body.into() }
    }
}

fn encode(frame: &Frame) -> Option<Bytes> {
    let mut bytes = Vec::new();
    NativeCodec::new().encode(frame, &mut bytes).ok()?;
    Some(bytes.into())
}

impl World<'_> {
    /// An adversary does something on each of its links.
    pub(super) fn lie(&mut self, node: usize) -> Result<(), EngineError> {
        let now_ms = self.local(node).as_timestamp_ms();
        let Some(state) = self.nodes.get_mut(node) else { return Ok(()) };
        let Some(liar) = &mut state.liar else { return Ok(()) };
        let every = liar.lies.every;
        liar.links.retain(|(link, ..)| state.links.contains_key(link));
        liar.due.retain(|link| state.links.contains_key(link));
        let mut says = Vec::new();
        for (link, &(conn, end, _)) in &state.links {
            // It greets first, as everybody does.
            let lossy = match liar.links.iter().find(|(known, ..)| known == link) {
                Some((_, lossy, _)) => *lossy,
                None => continue,
            };
            says.push((conn, end, liar.speak(*link, lossy, now_ms)));
        }
        for (conn, end, frames) in says {
            for frame in frames {
                self.send(conn, end, &frame);
            }
        }
        self.at_us(self.now + every.us(), What::Lie(node));
        Ok(())
    }
}
