//! What the lying peer says, and frames that broken worlds forge.

use bytes::Bytes;
use hedgerow_proto::{
    Ack, Announce, Batch, DepRef, Frame, GroupRef, Hello, MessageId, Offer, OfferItem, Request, Span,
    Tombstone, Unavailable, Visibility, WireMessage,
};
use hedgerow_sync_core::Draft;

use super::frames::FrameId;
use super::node::{Message, START, Set, Setup};
use super::table::Table;
use super::world::World;

/// How many different things it says.
pub(super) const LIES: u8 = 15;
/// All of them, as a set.
pub(super) const ALL_LIES: u32 = (1 << LIES) - 1;

const NONCE: [u8; 16] = [0xee; 16];
const NOBODYS: [u8; 32] = [0xdd; 32];

/// The liar's own: a message after one that does not exist, and before it that one, which can still be taken for one
/// that was pruned everywhere.
pub(super) fn own(group: hedgerow_proto::GroupId, posts: u8) -> [Message; 2] {
    let timestamp_ms = START.as_timestamp_ms() - 1;
    let of = |id, deps, body: &'static [u8], after: Vec<u8>| Message {
        id,
        deps: after,
        draft: Draft { timestamp_ms, deps, body: Bytes::from_static(body) },
        by: None,
    };
    let nobodys = MessageId::from_bytes(NOBODYS);
    let body: &[u8] = b"orphan";
    let orphan = hedgerow_proto::Message::new(group, timestamp_ms, vec![nobodys], Bytes::from_static(body));
    [of(nobodys, vec![], b"", vec![]), of(orphan.unwrap().id(), vec![nobodys], body, vec![posts])]
}

/// How it begins every session.
pub(super) fn hello(table: &mut Table) -> FrameId {
    let hello = Hello { major: 1, minor: 7, nonce: NONCE, install: 666, max_frame: 65_536, max_offers: 512 };
    let number = number(&table.setup, 0);
    let announces = vec![announce(&table.setup, 1)];
    table.frames.intern_frame(&Frame { number, hello: Some(hello), announces, ..Frame::default() })
}

fn announce(setup: &Setup, number: u32) -> Announce {
    let tag = Announce::tag_of(&NONCE, setup.group);
    let visibility = Visibility::Shared;
    Announce { number, tag, visibility, held: vec![], mark: 0, mark_chain: 0, reset: 0, summary: None }
}

fn number(setup: &Setup, said: u8) -> Option<u64> {
    (!setup.scenario.profile.reliable).then(|| u64::from(said) + 1)
}

/// Messages that the liar can know: those that somebody wrote and holds.
fn written(table: &Table, world: &World) -> Set {
    let posts = (1 << table.setup.scenario.posts.len()) - 1;
    world.nodes.iter().map(|&node| table.view(node).durable).fold(0, |all, set| all | set) & posts
}

/// Which of its lies it can say now.
pub(super) fn sayable(table: &Table, world: &World) -> u32 {
    let all = table.setup.scenario.lies;
    // These speak of messages; before there are any they say nothing.
    let about_messages = 1 << 4 | 1 << 8 | 1 << 9 | 1 << 13;
    if written(table, world) == 0 { all & !about_messages } else { all }
}

/// The frame of a lie.
pub(super) fn frame(table: &mut Table, world: &World, lie: u8) -> FrameId {
    let frame = make(table, world, lie);
    table.frames.intern_frame(&frame)
}

/// The same, if it was said before.
pub(super) fn known(table: &Table, world: &World, lie: u8) -> Option<FrameId> {
    table.frames.find(&make(table, world, lie))
}

fn make(table: &Table, world: &World, lie: u8) -> Frame {
    let setup = &table.setup;
    let group = GroupRef::Number(1);
    let five = vec![Span { first: 1, last: 5 }];
    let written = written(table, world);
    let there = || (0..).zip(&setup.messages).filter(move |(at, _)| written & 1 << at != 0);
    let ids = || there().map(|(_, message)| message.id).collect::<Vec<_>>();
    let message = |message: &Message, position| WireMessage {
        position,
        timestamp_ms: message.draft.timestamp_ms,
        deps: message.draft.deps.iter().copied().map(DepRef::Id).collect(),
        body: message.draft.body.clone(),
    };
    let batch = |messages, chain| vec![Batch { group, messages, chain }];
    let gone = |message: &Message| {
        let tombstone = Tombstone { id: message.id, eff_ms: message.draft.timestamp_ms, height: 1 };
        Unavailable { group, positions: vec![], ids: vec![message.id], tombstones: vec![tombstone] }
    };
    let mut frame = Frame { number: number(setup, world.used.lies + 1), ..Frame::default() };
    match lie {
        // It holds what it was never sent, of another log.
        0 => frame.announces = vec![Announce { held: five, mark: 3, mark_chain: 7, ..announce(setup, 2) }],
        // Its store is new.
        1 => frame.announces = vec![Announce { reset: 1, ..announce(setup, 1) }],
        // It left the group.
        2 => frame.announces = vec![Announce { visibility: Visibility::Invisible, ..announce(setup, 1) }],
        // It holds everything, and so do you.
        3 => {
            frame.acks = vec![Ack {
                group,
                held: five.clone(),
                known: five,
                ids: ids(),
                duplicates: 3,
                chain: 7,
                reset: 0,
            }];
        }
        // It offers what it does not send.
        4 => {
            let items = (1..).zip(ids()).map(|(at, id)| OfferItem { position: Some(at), id }).collect();
            frame.offers = vec![Offer { group, items, chain: 7 }];
        }
        // It offers what does not exist.
        5 => {
            let item = OfferItem { position: Some(1), id: MessageId::from_bytes(NOBODYS) };
            frame.offers = vec![Offer { group, items: vec![item], chain: 7 }];
        }
        // It asks for everything.
        6 => {
            let mut ids = ids();
            ids.push(MessageId::from_bytes(NOBODYS));
            frame.requests = vec![Request { group, positions: five, ids }];
        }
        // It has nothing.
        7 => {
            frame.unavailables = vec![Unavailable { group, positions: five, ids: ids(), tombstones: vec![] }]
        }
        // The newest message first, at a position that is another's.
        8 => {
            let newest = there().last().map(|(_, newest)| message(newest, Some(1)));
            frame.batches = batch(newest.into_iter().collect(), 7);
        }
        // The oldest, far up.
        9 => {
            let oldest = there().next().map(|(_, oldest)| message(oldest, Some(9)));
            frame.batches = batch(oldest.into_iter().collect(), 9);
        }
        // A message after one that does not exist.
        10 => {
            let orphan = setup.messages.iter().rfind(|message| message.by.is_none());
            frame.batches = batch(orphan.map(|orphan| message(orphan, None)).into_iter().collect(), 0);
        }
        // It is somebody else now, which ends the link.
        11 => {
            let nonce = [0xcc; 16];
            let hello = Hello { major: 1, minor: 0, nonce, install: 1, max_frame: 65_536, max_offers: 1 };
            frame.hello = Some(hello);
        }
        // It got frames that were never sent.
        12 => frame.frame_acks = vec![Span { first: 1, last: 50 }],
        // The oldest message was pruned everywhere.
        13 => {
            let oldest = there().next().map(|(_, oldest)| gone(oldest));
            frame.unavailables = oldest.into_iter().collect();
        }
        // So was one that does not exist.
        _ => {
            let nobodys = setup.messages.iter().find(|message| message.by.is_none());
            frame.unavailables = nobodys.map(gone).into_iter().collect();
        }
    }
    frame
}

/// An acknowledgement of a frame that was lost.
pub(super) fn blind_ack(table: &mut Table, number: u64) -> FrameId {
    table.frames.intern_frame(&Frame { frame_acks: vec![Span::one(number)], ..Frame::default() })
}

/// The same frame with its acknowledgements one position too long.
pub(super) fn exaggerate(table: &mut Table, frame: FrameId) -> FrameId {
    let mut frame = table.frames.get(frame).frame.clone();
    for ack in &mut frame.acks {
        if let Some(last) = ack.held.last_mut() {
            last.last += 1;
        }
    }
    table.frames.intern_frame(&frame)
}
